// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"errors"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
)

func TestSplitPrefixed(t *testing.T) {
	for _, tt := range []struct {
		name, hex   string
		begin       bool
		id, message string
		err         error
	}{
		{"message_1", "f5 0302", true, "", "0302", nil},
		{"an identifier that is an integer", "27 4101", false, "27", "4101", nil},
		{"an identifier that is a byte string", "4118 4101", false, "18", "4101", nil},
		{"an empty identifier", "40 4101", false, "", "4101", nil},
		{"an error message from the Initiator", "27 0161 61", false, "27", "016161", nil},
		{"true alone", "f5", false, "", "", cbor.ErrKind},
		{"false", "f4 0302", false, "", "", cbor.ErrKind},
		{"nothing", "", false, "", "", cbor.ErrTruncated},
		{"an identifier alone", "27", false, "", "", cbor.ErrTruncated},
		{"an integer of two bytes", "1818 4101", false, "", "", cbor.ErrRange},
		{"a byte string that has to go as an integer", "4127 4101", false, "", "", errWrapped},
		{"an identifier too long", "51 0102030405060708090a0b0c0d0e0f1011 4101", false, "", "", errLong},
		{"text", "6127 4101", false, "", "", cbor.ErrKind},
	} {
		begin, id, message, err := SplitPrefixed(vector.Bytes(t, tt.hex))
		if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		if begin != tt.begin || !bytes.Equal(id, vector.Bytes(t, tt.id)) || !bytes.Equal(message, vector.Bytes(t, tt.message)) {
			t.Errorf("%s: %t, %x, %x", tt.name, begin, id, message)
		}
		again := AppendPrefixed(nil, id, message)
		if begin {
			again = AppendStart(nil, message)
		}
		if !bytes.Equal(again, vector.Bytes(t, tt.hex)) {
			t.Errorf("%s: written again as %x", tt.name, again)
		}
	}
	if _, _, _, err := SplitPrefixed(append([]byte{0xf5}, make([]byte, 2+MaxConnectionID+MaxMessage)...)); err != nil {
		t.Errorf("the longest: %v", err)
	}
	if _, _, _, err := SplitPrefixed(append([]byte{0xf5}, make([]byte, 3+MaxConnectionID+MaxMessage)...)); err == nil {
		t.Error("longer than the longest is taken")
	}
}

// TestFlows goes through both flows of RFC 9528 appendix A.2 as bytes.
func TestFlows(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		ci, cr := pair(t, DHDH, 2, true)
		h := newRun(t, ci, cr)
		for n := 1; n <= 4; n++ {
			if err := h.make(n); err != nil {
				t.Fatal(err)
			}
			payload := h.m[n]
			fromClient := n%2 == 1 != reverse
			if fromClient {
				switch {
				case n == 1:
					payload = AppendStart(nil, payload)
				case reverse:
					payload = AppendPrefixed(nil, h.i.cI.bytes(), payload)
				default:
					payload = AppendPrefixed(nil, h.r.cR.bytes(), payload)
				}
				begin, id, message, err := SplitPrefixed(payload)
				if err != nil || begin != (n == 1) {
					t.Fatalf("message_%d: begin %t: %v", n, begin, err)
				}
				own := h.r.cR.bytes()
				if reverse {
					own = h.i.cI.bytes()
				}
				if !begin && !bytes.Equal(id, own) {
					t.Fatalf("message_%d goes to %x, not %x", n, id, own)
				}
				payload = message
			}
			if err := h.take(n, payload); err != nil {
				t.Fatal(err)
			}
		}
		h.agree(t)
	}
}

func TestResponseCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want uint8
	}{
		{nil, 0x44},
		{&Error{Code: WrongSuite}, 0x80},
		{&Error{Err: badConfig("of ours")}, 0xa0},
	} {
		if got := ResponseCode(tt.err); got != tt.want {
			t.Errorf("%v: %#x; want %#x", tt.err, got, tt.want)
		}
	}
}
