// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"
)

// TestSeal holds the form to what its description says, and every bit of it to matter.
func TestSeal(t *testing.T) {
	s := Secret([]byte("sixteen bytes ok"))
	b := s.Append([]byte("before"), ToDevice, 0x0102030405060708, []byte("message"))
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte("\x01\x01\x02\x03\x04\x05\x06\x07\x08message"))
	if want := append(append([]byte("before"), h.Sum(nil)[:16]...), "\x01\x02\x03\x04\x05\x06\x07\x08message"...); !bytes.Equal(b, want) {
		t.Fatalf("%x, want %x", b, want)
	}
	b = b[len("before"):]
	if m, n, ok := s.Open(ToDevice, b); !ok || n != 0x0102030405060708 || string(m) != "message" {
		t.Errorf("%q %d %v", m, n, ok)
	}
	if _, _, ok := s.Open(FromDevice, b); ok {
		t.Error("it is taken for what the device says")
	}
	for n := range b {
		if _, _, ok := s.Open(ToDevice, b[:n]); ok {
			t.Errorf("%d bytes are taken", n)
		}
	}
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		if _, _, ok := s.Open(ToDevice, b); ok {
			t.Errorf("bit %d changed, and it is taken", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

// FuzzOpen holds that what is opened has one form, and lies in what was given.
func FuzzOpen(f *testing.F) {
	s := Secret([]byte("sixteen bytes ok"))
	f.Add(s.Append(nil, FromDevice, 7, []byte("message")), byte(FromDevice))
	f.Fuzz(func(t *testing.T, b []byte, d byte) {
		if m, n, ok := s.Open(Direction(d), b); ok && !bytes.Equal(s.Append(nil, Direction(d), n, m), b) {
			t.Error("there is another form of it")
		}
	})
}
