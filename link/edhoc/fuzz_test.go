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

// until makes a handshake that has come to message n, which is made and not taken.
func until(t testing.TB, ci, cr *Config, n int) *run {
	t.Helper()
	h := newRun(t, ci, cr)
	for k := 1; k < n; k++ {
		if err := h.step(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.make(n); err != nil {
		t.Fatal(err)
	}
	return h
}

func FuzzMessage1(f *testing.F) {
	ci, cr := pair(f, DHDH, 2, false)
	cr.Methods, cr.Suites = []Method{0, 1, 2, 3}, Suites()
	cr.EAD = func(int, EAD) error { return nil }
	f.Add(until(f, ci, cr, 1).m[1])
	f.Add(vector.Bytes(f, "03 820302 5820 8af6f430ebe18d34184017a9a11bf511c8dff8f834730b96c1b7c8dbca2fc3b6 4118 07 20 4100 00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewResponder(cr)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Message1(b); err != nil {
			var e *Error
			if !errors.As(err, &e) || len(AppendError(nil, err)) == 0 || r.state != failed {
				t.Fatalf("%v", err)
			}
			return
		}
		// What was taken is written again as it was, EAD apart.
		head := cbor.AppendUint(nil, uint64(r.method))
		if !bytes.HasPrefix(b, head) {
			t.Fatalf("method %d of %x", r.method, b)
		}
		tail := appendIdentifier(cbor.AppendBytes(nil, r.gx[:r.suite.point()]), r.cI.bytes())
		if !bytes.Contains(b, tail) {
			t.Fatalf("%x is not in %x", tail, b)
		}
		if m2, err := r.Message2(nil); err == nil && len(m2) < r.suite.point() {
			t.Fatalf("%x", m2)
		}
	})
}

// fuzzMessage hands anything in where message n is due, and then the right one.
func fuzzMessage(f *testing.F, n int) {
	for _, m := range []Method{SignSign, DHDH} {
		ci, cr := pair(f, m, 0, true)
		f.Add(byte(m), until(f, ci, cr, n).m[n])
	}
	f.Add(byte(0), []byte{1, 0x61, 'x'})
	f.Add(byte(0), []byte{2, 0x82, 2, 3})
	configs := map[Method][2]*Config{}
	for _, m := range []Method{SignSign, DHDH} {
		ci, cr := pair(f, m, 0, true)
		ci.Random, cr.Random = nil, nil
		configs[m] = [2]*Config{ci, cr}
	}
	f.Fuzz(func(t *testing.T, m byte, b []byte) {
		c := configs[Method(m%2)*3]
		h := until(t, c[0], c[1], n)
		if bytes.Equal(b, h.m[n]) {
			t.Skip("it is the very message")
		}
		p := &h.i.party
		if n%2 == 1 {
			p = &h.r.party
		}
		var e *Error
		if err := h.take(n, b); !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		if err := h.take(n, h.m[n]); !errors.Is(err, ErrState) {
			t.Fatalf("after that the right one: %v", err)
		}
		noKeys(t, "after", p)
	})
}

func FuzzMessage2(f *testing.F) { fuzzMessage(f, 2) }
func FuzzMessage3(f *testing.F) { fuzzMessage(f, 3) }
func FuzzMessage4(f *testing.F) { fuzzMessage(f, 4) }

// fuzzPlaintext encrypts anything as the peer would.
func fuzzPlaintext(f *testing.F, n int) {
	ci, cr := pair(f, DHDH, 0, false)
	ci.Random, cr.Random = nil, nil
	for _, s := range []string{
		"01 480000000000000000", "21 480000000000000000 00 07 4100", "a118220000", "a1 1822 82 2e 48 0000000000000000 40",
		"a1 1821 82 40 40 40", "a1 0e a1 08 a1 01 a3 01 01 20 04 21 40 40", "a1 0d 84 40 a0 40 40 40", "a1 1823 d820 6161 40", "a1 16 40 40",
	} {
		f.Add(vector.Bytes(f, s))
	}
	inline := func(id *ID, ead []EAD) ([]*Credential, error) {
		if c, err := id.Credential(); err != nil || c != nil {
			return []*Credential{c}, err
		}
		return nil, ErrUnknownCredential
	}
	ci.Peers, cr.Peers = inline, inline
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxMessage-64 {
			return
		}
		h := newRun(t, ci, cr)
		if err := errors.Join(h.step(1), h.make(2)); err != nil {
			t.Fatal(err)
		}
		p := &h.i.party
		var err error
		if n == 2 {
			err = h.i.Message2(h.forge2(append(appendIdentifier(nil, h.r.cR.bytes()), b...)))
		} else {
			p = &h.r.party
			err = h.r.Message3(h.forge3(t, b))
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		noKeys(t, "after", p)
	})
}

func FuzzPlaintext2(f *testing.F) { fuzzPlaintext(f, 2) }
func FuzzPlaintext3(f *testing.F) { fuzzPlaintext(f, 3) }

// FuzzCredential reads anything as credentials and identifiers. What is read is there
// as it was.
func FuzzCredential(f *testing.F) {
	for _, a := range side(f, "n", 1) {
		f.Add(a.cred.cred)
		f.Add(a.cred.id)
	}
	f.Add(newCWT(newKey(f, 1, 1), 61, 18))
	f.Add(newCertificate(f, "n", publicKey(f, newKey(f, 1, 1)), 0))
	f.Add(vector.Bytes(f, "a1 1822 82 2e 48 0000000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCCS(b); err == nil && !bytes.Equal(c.Bytes(), b) {
			t.Fatalf("%x became %x", b, c.Bytes())
		}
		if c, err := ParseCWT(b); err == nil && !bytes.HasSuffix(b, c.Bytes()) {
			t.Fatalf("%x became %x", b, c.Bytes())
		}
		if c, err := ParseX509(b); err == nil && !bytes.HasSuffix(c.Bytes(), b) {
			t.Fatalf("%x became %x", b, c.Bytes())
		}
		if id, err := ParseID(b); err == nil {
			if !bytes.Equal(id.Bytes(), b) {
				t.Fatalf("%x became %x", b, id.Bytes())
			}
			id.Credential()
		}
	})
}

// FuzzFrames reads anything as what CoAP carries, and as an error message.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{"f5 03", "27 4101", "4118 4101", "01 6161", "02 820206", "03 f5", "52e562097bc417dd5919485ac7891ffd90a9fc 61"} {
		f.Add(vector.Bytes(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if begin, id, message, err := SplitPrefixed(b); err == nil {
			again := AppendPrefixed(nil, id, message)
			if begin {
				again = AppendStart(nil, message)
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("%x became %x", b, again)
			}
		}
		if e, err := ParseError(b); err == nil {
			if len(e.Text) > MaxErrorText || len(e.Suites) > maxSuites || e.Code == Success {
				t.Fatalf("%+v", e)
			}
			e.FromPeer = false
			if c := e.Code; c >= 1 && c <= 3 && len(e.Text) < MaxErrorText && !bytes.Equal(AppendError(nil, e), b) {
				t.Fatalf("%x became %x", b, AppendError(nil, e))
			}
		}
	})
}
