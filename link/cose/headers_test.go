// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
)

func TestHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want Headers
	}{
		"none":              {"a0", Headers{}},
		"alg":               {"a10126", Headers{Alg: ES256}},
		"crit":              {"a2 0126 02820117", Headers{Alg: ES256, Crit: []int64{1, 23}}},
		"media type":        {"a103 69 746578742f68746d6c", Headers{ContentType: "text/html"}},
		"Content-Format 60": {"a103183c", Headers{ContentType: "60"}},
		"Content-Format 0":  {"a10300", Headers{ContentType: "0"}},
		"kid":               {"a10441ff", Headers{KID: []byte{0xff}}},
		"empty kid":         {"a10440", Headers{KID: []byte{}}},
		"IV":                {"a1054101", Headers{IV: []byte{1}}},
		"Partial IV":        {"a1064101", Headers{PartialIV: []byte{1}}},
		"kcwt":              {"a10d d28440a04040", Headers{KCWT: []byte{0xd2, 0x84, 0x40, 0xa0, 0x40, 0x40}}},
		"kcwt, untagged":    {"a10d 8440a04040", Headers{KCWT: []byte{0x84, 0x40, 0xa0, 0x40, 0x40}}},
		"kccs":              {"a10e a10261 61", Headers{KCCS: []byte{0xa1, 2, 0x61, 'a'}}},
		"x5chain":           {"a1182141ff", Headers{X5Chain: [][]byte{{0xff}}}},
		"x5chain of two":    {"a118218241ff41fe", Headers{X5Chain: [][]byte{{0xff}, {0xfe}}}},
		"x5t":               {"a11822822e48 0102030405060708", Headers{X5T: &X5T{SHA256_64, []byte{1, 2, 3, 4, 5, 6, 7, 8}}}},
		"x5u":               {"a11823 d82063 613a62", Headers{X5U: "a:b"}},
		"others": {"a5 0126 0ff6 182081 41ff 3863f5 616100", Headers{Alg: ES256, Other: []Param{
			{[]byte{15}, []byte{0xf6}},
			{[]byte{0x18, 32}, []byte{0x81, 0x41, 0xff}},
			{[]byte{0x38, 0x63}, []byte{0xf5}},
			{[]byte{0x61, 'a'}, []byte{0}},
		}}},
		"a label of 64 bits": {"a1 1bffffffffffffffff 00", Headers{Other: []Param{{vector.Bytes(t, "1bffffffffffffffff"), []byte{0}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := vector.Bytes(t, test.in)
			got, err := ParseHeaders(in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			slices.Reverse(got.Other) // in any order
			again, err := got.Append([]byte("head"))
			if err != nil || !bytes.Equal(again, append([]byte("head"), in...)) {
				t.Errorf("written again: %x, %v", again, err)
			}
		})
	}
	h, err := ParseHeaders(vector.Bytes(t, "a20f f6 20f5"))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Get(15); !bytes.Equal(got, []byte{0xf6}) {
		t.Errorf("Get(15) = %x", got)
	}
	if got := h.Get(-1); !bytes.Equal(got, []byte{0xf5}) {
		t.Errorf("Get(-1) = %x", got)
	}
	if got := h.Get(16); got != nil {
		t.Errorf("Get(16) = %x", got)
	}
}

func TestHeadersRefuse(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                   "",
		"no map":                    "80",
		"trailing byte":             "a000",
		"out of order":              "a204400126",
		"twice":                     "a201260126",
		"long form":                 "a1180126",
		"indefinite":                "bf0126ff",
		"label that is bytes":       "a1410100",
		"label that is an array":    "a18000",
		"label that is false":       "a1f400",
		"alg in text":               "a1016545533235 36",
		"alg zero":                  "a10100",
		"alg too large":             "a1011b0000000100000001",
		"alg a float":               "a101f93c00",
		"crit empty":                "a10280",
		"crit no array":             "a10201",
		"crit of a text":            "a102816161",
		"crit of bytes":             "a1028141ff",
		"crit of 33":                "a1 02 9821" + strings.Repeat("01", 33),
		"content type of no type":   "a1036161",
		"content type with a space": "a10364 20612f62",
		"content type of 65536":     "a1031a00010000",
		"content type negative":     "a10320",
		"kid in text":               "a1046161",
		"kid a number":              "a10401",
		"IV in text":                "a1056161",
		"Partial IV a number":       "a10601",
		"kcwt in bytes":             "a10d40",
		"kccs in bytes":             "a10e40",
		"x5chain empty":             "a1182180",
		"x5chain of one":            "a118218141ff",
		"x5chain of none":           "a1182140",
		"x5chain with an empty one": "a118218241ff40",
		"x5chain in text":           "a118216161",
		"x5chain of 33":             "a1 1821 9821" + strings.Repeat("41ff", 33),
		"x5t of one":                "a118228126",
		"x5t of three":              "a11822832e41ff00",
		"x5t by name":               "a118228261 6141ff",
		"x5t empty":                 "a11822822e40",
		"x5t in bytes":              "a1182241ff",
		"x5u without a tag":         "a118236161",
		"x5u of another tag":        "a11823c06161",
		"x5u in bytes":              "a11823d82041ff",
		"x5u empty":                 "a11823d82060",
		"33 parameters": "b821" + func() string {
			var b []byte
			for i := range int64(33) {
				b = cbor.AppendNull(cbor.AppendInt(b, 40+i))
			}
			return hex.EncodeToString(b)
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			h, err := ParseHeaders(vector.Bytes(t, in))
			var syntax *cbor.SyntaxError
			if !errors.Is(err, ErrHeader) && !errors.Is(err, ErrAlgorithm) && !errors.Is(err, ErrCritical) && !errors.As(err, &syntax) {
				t.Errorf("%+v, %v", h, err)
			}
		})
	}
}

// TestHeadersAppendRefuses: what could not be read back is not written.
func TestHeadersAppendRefuses(t *testing.T) {
	item := []byte{0}
	for name, h := range map[string]Headers{
		"label twice":           {Alg: ES256, Other: []Param{{[]byte{1}, item}}},
		"label in long form":    {Other: []Param{{[]byte{0x18, 1}, item}}},
		"label of two items":    {Other: []Param{{[]byte{15, 0}, item}}},
		"label of none":         {Other: []Param{{nil, item}}},
		"value of two items":    {Other: []Param{{[]byte{15}, []byte{0, 16}}}},
		"value of none":         {Other: []Param{{[]byte{15}, nil}}},
		"value indefinite":      {Other: []Param{{[]byte{15}, []byte{0x9f, 0xff}}}},
		"known label malformed": {Other: []Param{{[]byte{4}, item}}},
		"content type":          {ContentType: "70000"},
		"content type of words": {ContentType: "insulin"},
		"crit empty":            {Crit: []int64{}},
		"kccs that is none":     {KCCS: []byte{0x40}},
		"kcwt of two items":     {KCWT: []byte{0x80, 0x80}},
		"certificate empty":     {X5Chain: [][]byte{{}}},
		"x5t empty":             {X5T: &X5T{Alg: SHA256}},
		"x5u no text":           {X5U: "\xff"},
	} {
		if b, err := h.Append(nil); err == nil {
			t.Errorf("%s: %x", name, b)
		}
	}
}

// TestBuckets: what holds between the two buckets of a message.
func TestBuckets(t *testing.T) {
	for name, test := range map[string]struct {
		protected, unprotected string
		understood             []int64
		want                   error
	}{
		"none":                             {"", "a0", nil, nil},
		"an empty map":                     {"a0", "a0", nil, nil},
		"one each":                         {"a10126", "a10441ff", nil, nil},
		"label in both":                    {"a10126", "a10126", nil, ErrHeader},
		"label not known in both":          {"a10ff6", "a10ff6", nil, ErrHeader},
		"text in both":                     {"a1616100", "a1616100", nil, ErrHeader},
		"IV and Partial IV":                {"a2 054101 064101", "a0", nil, ErrHeader},
		"IV and Partial IV apart":          {"a1054101", "a1064101", nil, ErrHeader},
		"crit not protected":               {"", "a2 0126 028101", nil, ErrHeader},
		"crit":                             {"a3 0126 028104 0440", "a0", nil, nil},
		"crit of what is not there":        {"a2 0126 028104", "a0", nil, ErrHeader},
		"crit of what is not protected":    {"a2 0126 028104", "a10440", nil, ErrHeader},
		"crit not understood":              {"a3 0126 02810f 0ff6", "a0", nil, ErrCritical},
		"crit understood by the caller":    {"a3 0126 02810f 0ff6", "a0", []int64{15}, nil},
		"one of two crit understood":       {"a4 0126 02820f10 0ff6 10f6", "a0", []int64{15}, ErrCritical},
		"understood and not there":         {"a2 0126 02810f", "a0", []int64{15}, ErrHeader},
		"RFC 8152 appendix C.1.4's labels": {"a2 687265736572766564f4 028168 7265736572766564", "a0", nil, cbor.ErrOrder},
		"the same, in order":               {"a2 028168 7265736572766564 687265736572766564f4", "a0", nil, ErrCritical},
		"protected that is no map":         {"80", "a0", nil, cbor.ErrKind},
		"protected that is cut":            {"a1", "a0", nil, cbor.ErrTruncated},
		"unprotected that is no map":       {"", "80", nil, cbor.ErrKind},
	} {
		t.Run(name, func(t *testing.T) {
			protected, unprotected := vector.Bytes(t, test.protected), vector.Bytes(t, test.unprotected)
			if _, _, err := buckets(protected, unprotected, test.understood); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			// The same through the three kinds of message.
			b := cbor.AppendBytes([]byte{0xd2, 0x84}, protected)
			b = append(append(b, unprotected...), 0x40, 0x40)
			if _, err := ParseSign1(b, test.understood...); !errors.Is(err, test.want) {
				t.Errorf("Sign1: %v, want %v", err, test.want)
			}
			b[0] = 0xd1
			if _, err := ParseMac0(b, test.understood...); !errors.Is(err, test.want) {
				t.Errorf("Mac0: %v, want %v", err, test.want)
			}
			b[0], b[1] = 0xd0, 0x83
			if _, err := ParseEncrypt0(b[:len(b)-1], test.understood...); !errors.Is(err, test.want) {
				t.Errorf("Encrypt0: %v, want %v", err, test.want)
			}
		})
	}
}

func TestX5T(t *testing.T) {
	certificate := []byte("a certificate")
	for _, a := range []Algorithm{SHA256_64, SHA256, SHA384, SHA512} {
		x, err := NewX5T(a, certificate)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Hash) != a.TagSize() || !x.Match(certificate) || x.Match(certificate[1:]) {
			t.Errorf("%v: %x", a, x.Hash)
		}
		x.Hash = x.Hash[:len(x.Hash)-1]
		if x.Match(certificate) {
			t.Errorf("%v: matched by a part", a)
		}
	}
	if _, err := NewX5T(HMAC256, certificate); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("HMAC: %v", err)
	}
	if (&X5T{}).Match(certificate) || (&X5T{Alg: -14}).Match(certificate) {
		t.Error("a digest that is not known matched")
	}
}
