// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
)

// TestThumbprint holds the thumbprint to the example of RFC 9679 section 6.
func TestThumbprint(t *testing.T) {
	k := Key{
		Type: EC2, ID: []byte("not in it"), Alg: ES256, Curve: P256,
		X: vector.Bytes(t, "65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d"),
		Y: vector.Bytes(t, "1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"),
	}
	want := vector.Bytes(t, "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec")
	if got := k.Thumbprint(); !bytes.Equal(got[:], want) {
		t.Errorf("Thumbprint = %x, want %x", got, want)
	}
}

const (
	gx = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" // P-256's base point
	gy = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
	np = "b01cbd1c01e58065711814b583f061e9d431cca994cea1313449bf97c840ae0a" // p less gy

	one   = "0000000000000000000000000000000000000000000000000000000000000001"
	two   = "0000000000000000000000000000000000000000000000000000000000000002"
	order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
	prime = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"

	edX = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" // RFC 8032 section 7.1
	edD = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
)

// TestParseKey: what is read, and written again. An empty want is what was read.
func TestParseKey(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"EC2":                     {"a4 0102 2001 215820" + gx + "225820" + gy, ""},
		"EC2, compressed, odd":    {"a4 0102 2001 215820" + gx + "22f5", "a4 0102 2001 215820" + gx + "225820" + gy},
		"EC2, compressed, even":   {"a4 0102 2001 215820" + gx + "22f4", "a4 0102 2001 215820" + gx + "225820" + np},
		"EC2, private":            {"a5 0102 2001 215820" + gx + "225820" + gy + "235820" + one, ""},
		"EC2, private, y is sign": {"a5 0102 2001 215820" + gx + "22f5 235820" + one, "a5 0102 2001 215820" + gx + "225820" + gy + "235820" + one},
		"EC2, private alone":      {"a3 0102 2001 235820" + one, "a5 0102 2001 215820" + gx + "225820" + gy + "235820" + one},
		"EC2, all parameters":     {"a8 0102 024101 0326 048102 054102 2001 215820" + gx + "225820" + gy, ""},
		"EC2, empty kid":          {"a5 0102 0240 2001 215820" + gx + "225820" + gy, ""},
		"OKP, Ed25519":            {"a3 0101 2006 215820" + edX, ""},
		"OKP, Ed25519, private":   {"a3 0101 2006 235820" + edD, "a4 0101 2006 215820" + edX + "235820" + edD},
		"OKP, X25519":             {"a3 0101 2004 215820" + one, ""},
		"symmetric":               {"a2 0104 2041ff", ""},
		"symmetric, key_ops":      {"a3 0104 04820304 2041ff", ""},
		"a label not known":       {"a4 0101 061863 2006 215820" + edX, "a3 0101 2006 215820" + edX},
		"a text for a label":      {"a4 0101 2006 215820" + edX + "616100", "a3 0101 2006 215820" + edX},
	} {
		t.Run(name, func(t *testing.T) {
			in := vector.Bytes(t, test.in)
			k, err := ParseKey(in)
			if err != nil {
				t.Fatal(err)
			}
			clear(in) // the key owns its bytes
			if test.want == "" {
				test.want = test.in
			}
			if got := k.AppendSecret(nil); !bytes.Equal(got, vector.Bytes(t, test.want)) {
				t.Errorf("written again: %x", got)
			}
		})
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                     "",
		"no map":                      "80",
		"empty":                       "a0",
		"trailing byte":               "a3 0101 2006 215820" + edX + "00",
		"labels out of order":         "a3 2006 0101 215820" + edX,
		"label twice":                 "a4 0101 2006 215820" + edX + "215820" + edX,
		"label in its long form":      "a3 180101 2006 215820" + edX,
		"indefinite length":           "bf 0101 2006 215820" + edX + "ff",
		"label that is bytes":         "a4 0101 2006 215820" + edX + "4100 00",
		"no type":                     "a2 2006 215820" + edX,
		"type of zero":                "a3 0100 2006 215820" + edX,
		"type RSA":                    "a3 0103 2041ff 2141ff",
		"type in text":                "a3 016161 2006 215820" + edX,
		"type of 2^32+1":              "a3 011b0000000100000001 2006 215820" + edX,
		"no curve":                    "a2 0101 215820" + edX,
		"curve in text":               "a3 0101 206161 215820" + edX,
		"X448":                        "a3 0101 2005 215838" + strings.Repeat("01", 56),
		"Ed448":                       "a3 0101 2007 215839" + strings.Repeat("01", 57),
		"secp256k1":                   "a4 0102 2008 215820" + gx + "225820" + gy,
		"P-256 as OKP":                "a3 0101 2001 215820" + gx,
		"X25519 as EC2":               "a4 0102 2004 215820" + gx + "225820" + gy,
		"OKP, no x":                   "a2 0101 2006",
		"OKP, x short":                "a3 0101 2006 21581f" + edX[2:],
		"OKP, x long":                 "a3 0101 2006 215821" + edX + "00",
		"OKP, x in text":              "a3 0101 2004 217820" + strings.Repeat("61", 32),
		"OKP with y":                  "a4 0101 2006 215820" + edX + "225820" + gy,
		"OKP, d short":                "a4 0101 2006 215820" + edX + "23581f" + edD[2:],
		"OKP, d empty":                "a4 0101 2006 215820" + edX + "2340",
		"OKP, d of another key":       "a4 0101 2006 215820" + edX + "235820" + one,
		"EC2, no x":                   "a3 0102 2001 225820" + gy,
		"EC2, no y":                   "a3 0102 2001 215820" + gx,
		"EC2, neither":                "a2 0102 2001",
		"EC2, x short":                "a4 0102 2001 21581f" + gx[2:] + "225820" + gy,
		"EC2, x long, y short":        "a4 0102 2001 215821" + gx + gy[:2] + "22581f" + gy[2:],
		"EC2, x with a zero in front": "a4 0102 2001 21582100" + gx + "225820" + gy,
		"EC2, x short, compressed":    "a4 0102 2001 21581f" + gx[2:] + "22f5",
		"EC2, off the curve":          "a4 0102 2001 215820" + gx + "225820" + gy[:63] + "4",
		"EC2, zero":                   "a4 0102 2001 215820" + strings.Repeat("00", 32) + "225820" + strings.Repeat("00", 32),
		"EC2, x is p":                 "a4 0102 2001 215820" + prime + "22f5",
		"EC2, x of no point":          "a4 0102 2001 215820" + one + "22f5",
		"EC2, y null":                 "a4 0102 2001 215820" + gx + "22f6",
		"EC2, y a number":             "a4 0102 2001 215820" + gx + "2201",
		"EC2, d of another key":       "a5 0102 2001 215820" + gx + "225820" + gy + "235820" + two,
		"EC2, d zero":                 "a3 0102 2001 235820" + strings.Repeat("00", 32),
		"EC2, d is the order":         "a3 0102 2001 235820" + order,
		"EC2, d is the order plus 1":  "a5 0102 2001 215820" + gx + "225820" + gy + "235820" + order[:62] + "52",
		"EC2, d alone on no curve":    "a2 0102 235820" + one,
		"EC2, parameter not known":    "a5 0102 2001 215820" + gx + "225820" + gy + "2441ff",
		"symmetric, no k":             "a1 0104",
		"symmetric, k empty":          "a2 0104 2040",
		"symmetric, k in text":        "a2 0104 206161",
		"symmetric with x":            "a3 0104 2041ff 215820" + edX,
		"alg in text":                 "a4 0101 036161 2006 215820" + edX,
		"alg zero":                    "a4 0101 0300 2006 215820" + edX,
		"kid in text":                 "a4 0101 026161 2006 215820" + edX,
		"key_ops empty":               "a4 0101 0480 2006 215820" + edX,
		"key_ops in text":             "a4 0101 04816161 2006 215820" + edX,
		"key_ops not known":           "a4 0101 04810b 2006 215820" + edX,
		"key_ops twice":               "a4 0101 04820101 2006 215820" + edX,
		"key_ops no array":            "a4 0101 0401 2006 215820" + edX,
		"base IV in text":             "a4 0101 056161 2006 215820" + edX,
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseKey(vector.Bytes(t, in))
			var syntax *cbor.SyntaxError
			if !errors.Is(err, ErrKey) && !errors.As(err, &syntax) {
				t.Errorf("%v, %v", k, err)
			}
			if k.Type != 0 || k.D != nil {
				t.Errorf("a key beside an error: %v", k)
			}
		})
	}
}

// TestPointFromX: of x alone either y will do.
func TestPointFromX(t *testing.T) {
	g, err := P256PointFromX(vector.Bytes(t, gx))
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdh.P256().NewPrivateKey(vector.Bytes(t, two))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := private.ECDH(g)
	if err != nil {
		t.Fatal(err)
	}
	if want := private.PublicKey().Bytes()[1:33]; !bytes.Equal(shared, want) {
		t.Errorf("twice the base point: %x, want %x", shared, want)
	}
	for _, x := range []byte{0, 5} {
		if _, err := P256PointFromX(append(make([]byte, 31), x)); err != nil {
			t.Errorf("%d is the coordinate of a point: %v", x, err)
		}
	}
	for name, x := range map[string][]byte{
		"p":          vector.Bytes(t, prime),
		"p + 5":      new(big.Int).Add(elliptic.P256().Params().P, big.NewInt(5)).Bytes(),
		"2^256 - 1":  bytes.Repeat([]byte{0xff}, 32),
		"of none":    vector.Bytes(t, one),
		"short":      vector.Bytes(t, gx)[1:],
		"long":       append([]byte{0}, vector.Bytes(t, gx)...),
		"compressed": append([]byte{2}, vector.Bytes(t, gx)...),
		"none":       nil,
	} {
		if _, err := P256PointFromX(x); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Half of all x are of a point: hold each to Euler's criterion.
	p := elliptic.P384().Params()
	on, off := 0, 0
	for i := range int64(40) {
		x := big.NewInt(i)
		y2 := new(big.Int).Exp(x, big.NewInt(3), nil)
		y2.Sub(y2, big.NewInt(3*i)).Add(y2, p.B).Mod(y2, p.P)
		want := big.Jacobi(y2, p.P) >= 0
		point, err := P384PointFromX(x.FillBytes(make([]byte, 48)))
		if (err == nil) != want || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("P-384, x = %d: %v", i, err)
		}
		if err != nil {
			off++
			continue
		}
		on++
		if got := new(big.Int).SetBytes(point.Bytes()[1:49]); got.Cmp(x) != 0 {
			t.Errorf("P-384, x = %d: %v", i, got)
		}
	}
	if on == 0 || off == 0 {
		t.Errorf("%d on the curve, %d off", on, off)
	}
}

func TestGenerateKey(t *testing.T) {
	for _, c := range []Curve{P256, P384, P521, X25519, CurveEd25519} {
		k, err := GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseKey(k.AppendSecret(nil))
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if !back.Equal(&k) || !bytes.Equal(back.D, k.D) {
			t.Errorf("%v: not the same key", c)
		}
		public, err := ParseKey(k.AppendPublic(nil))
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if public.D != nil || !public.Equal(&k) || bytes.Contains(k.AppendPublic(nil), k.D) {
			t.Errorf("%v: not its public half", c)
		}
		if public.Thumbprint() != k.Thumbprint() {
			t.Errorf("%v: another thumbprint", c)
		}
		if _, err := GenerateKey(c, bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
			t.Errorf("%v without randomness: %v", c, err)
		}
	}
	if _, err := GenerateKey(P256, zeros{}); !errors.Is(err, ErrKey) {
		t.Errorf("of zeros: %v", err)
	}
	if _, err := GenerateKey(X448, rand.Reader); !errors.Is(err, ErrKey) {
		t.Errorf("X448: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestKeyECDH: a key is for Diffie-Hellman where its curve, alg and key_ops are.
func TestKeyECDH(t *testing.T) {
	p256, _ := generate(t, ES256)
	set := func(f func(*Key)) *Key { k := p256; k.Alg = 0; f(&k); return &k }
	x25519, err := GenerateKey(X25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		k               *Key
		public, private bool
	}{
		"P-256":             {set(func(*Key) {}), true, true},
		"P-256, public":     {set(func(k *Key) { k.D = nil }), true, false},
		"X25519":            {&x25519, true, true},
		"to derive":         {set(func(k *Key) { k.Ops = OpDeriveBits }), true, true},
		"to sign":           {set(func(k *Key) { k.Ops = OpSign }), false, false},
		"to verify, public": {set(func(k *Key) { k.Ops, k.D = OpVerify, nil }), false, false},
		"for ES256":         {&p256, false, false},
		"Ed25519":           {&Key{Type: OKP, Curve: CurveEd25519, X: vector.Bytes(t, edX)}, false, false},
		"symmetric":         {&Key{Type: Symmetric, K: make([]byte, 32)}, false, false},
		"off the curve":     {set(func(k *Key) { k.Y = clone(k.Y); k.Y[0] ^= 1 }), false, false},
		"none":              {&Key{}, false, false},
	} {
		if _, err := test.k.PublicECDH(); (err == nil) != test.public || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("PublicECDH, %s: %v", name, err)
		}
		if _, err := test.k.PrivateECDH(); (err == nil) != test.private || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("PrivateECDH, %s: %v", name, err)
		}
	}
}

// TestKeyIsNotPrinted looks for the secret in all that a program could print.
func TestKeyIsNotPrinted(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	private, err := ParseKey(append(vector.Bytes(t, "a3 0101 2006 235820"), secret...))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Key{private, {Type: Symmetric, ID: []byte{7}, K: secret}} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k, "pointer", &k)
		out := log.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out += fmt.Sprintf(verb+verb, k, &k)
		}
		decimal := strings.Trim(fmt.Sprint(secret[:4]), "[]")
		for _, s := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), decimal} {
			if strings.Contains(out, s) {
				t.Errorf("the secret is printed: %s", out)
			}
		}
		if strings.Count(out, "key") < 18 {
			t.Errorf("nothing is printed: %s", out)
		}
	}
	if b := (&Key{Type: Symmetric, K: secret}).AppendPublic(nil); len(b) != 0 {
		t.Errorf("the public half of a symmetric key: %x", b)
	}
}
