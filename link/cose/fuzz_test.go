// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
)

// known fails unless err is one of those that the parsers document.
func known(t *testing.T, err error) {
	t.Helper()
	var syntax *cbor.SyntaxError
	for _, want := range []error{ErrKey, ErrAlgorithm, ErrHeader, ErrCritical, ErrMessage} {
		if errors.Is(err, want) {
			return
		}
	}
	if !errors.As(err, &syntax) {
		t.Fatalf("an error that is not documented: %v", err)
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{
		"a40102200121 5820" + gx + "225820" + gy,
		"a4 0102 2001 215820" + gx + "22f5",
		"a3 0102 2001 235820" + one,
		"a8 0102 024101 0326 048102 054102 2001 215820" + gx + "225820" + gy,
		"a4 0101 2006 215820" + edX + "235820" + edD,
		"a3 0101 2004 215820" + one,
		"a3 0104 04820304 2041ff",
		"a5 0101 061863 2006 215820" + edX + "616100",
	} {
		f.Add(vector.Bytes(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKey(b)
		if err != nil {
			known(t, err)
			return
		}
		again, err := ParseKey(k.AppendSecret(nil))
		if err != nil {
			t.Fatalf("%x is not read again: %v", k.AppendSecret(nil), err)
		}
		// Compared field by field, for a Key prints nothing of itself.
		type fields Key
		if d := cmp.Diff(fields(k), fields(again)); d != "" {
			t.Fatal(d)
		}
		public := k.Public()
		if k.Type != Symmetric {
			if p, err := ParseKey(k.AppendPublic(nil)); err != nil || !p.Equal(&k) || p.D != nil {
				t.Fatalf("public half: %v, %v", p, err)
			}
		}
		k.Thumbprint()
		k.PrivateECDH()
		public.Verify(ES256, b, make([]byte, 64))
		public.Verify(EdDSA, b, make([]byte, 64))
		if s, err := NewSigner(k); err == nil {
			if _, err := s.Sign(b); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"a0", "a10126", "a3 0126 028104 0440", "a103183c", "a10369746578742f68746d6c", "a1054101", "a1064101",
		"a10d d28440a04040", "a10e a1026161", "a118218241ff41fe", "a11822822e480102030405060708",
		"a11823 d820 63613a62", "a5 0126 0ff6 18208141ff 3863f5 616100",
	} {
		f.Add(vector.Bytes(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeaders(b)
		if err != nil {
			known(t, err)
			return
		}
		if got, err := h.Append(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x is written again as %x: %v", b, got, err)
		}
		if h.X5T != nil {
			h.X5T.Match(b)
		}
	})
}

// fuzzSeeds are messages of all three kinds and in all forms.
func fuzzSeeds(f *testing.F) (sign1, mac0, encrypt0 [][]byte, k struct{ public, mac, secret Key }) {
	f.Helper()
	key, err := ParseKey(vector.Bytes(f, "a4 0101 2006 215820"+edX+"235820"+edD))
	if err != nil {
		f.Fatal(err)
	}
	signer, err := NewSigner(key)
	if err != nil {
		f.Fatal(err)
	}
	k.public = key.Public()
	k.mac = Key{Type: Symmetric, Alg: HMAC256_64, K: make([]byte, 32)}
	k.secret = Key{Type: Symmetric, Alg: AESCCM16_64_128, K: make([]byte, 16), BaseIV: make([]byte, 13)}
	protected := Headers{ContentType: "60", Crit: []int64{3}}
	for _, u := range []Headers{
		{},
		{KID: []byte{7}},
		{X5Chain: [][]byte{{1}, {2}}, X5T: &X5T{SHA256_64, make([]byte, 8)}, X5U: "a:b"},
		{Other: []Param{{[]byte{15}, []byte{0xa0}}}},
	} {
		for _, form := range []int{0, 1, 2, 3} {
			untagged, detached := form&1 != 0, form&2 != 0
			s := Sign1{Protected: protected, Unprotected: u, Payload: []byte("p"), Untagged: untagged, Detached: detached}
			m := Mac0{Protected: protected, Unprotected: u, Payload: []byte("p"), Untagged: untagged, Detached: detached}
			u.PartialIV = []byte{byte(form)}
			e := Encrypt0{Protected: protected, Unprotected: u, Untagged: untagged, Detached: detached}
			u.PartialIV = nil
			if err := errors.Join(s.Sign(signer, nil), m.Authenticate(&k.mac, nil), e.Encrypt(&k.secret, []byte("p"), nil)); err != nil {
				f.Fatal(err)
			}
			b1, err1 := s.Append(nil)
			b2, err2 := m.Append(nil)
			b3, err3 := e.Append(nil)
			if err := errors.Join(err1, err2, err3); err != nil {
				f.Fatal(err)
			}
			sign1, mac0, encrypt0 = append(sign1, b1), append(mac0, b2), append(encrypt0, b3)
		}
	}
	return sign1, mac0, encrypt0, k
}

// rewritten fails unless a parsed message is written again as it came.
func rewritten(t *testing.T, b, got []byte, err error) {
	t.Helper()
	if err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%x is written again as %x: %v", b, got, err)
	}
}

func FuzzSign1(f *testing.F) {
	seeds, _, _, k := fuzzSeeds(f)
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseSign1(b, 15)
		if err != nil {
			known(t, err)
			return
		}
		got, err := m.Append(nil)
		rewritten(t, b, got, err)
		again, err := ParseSign1(got, 15)
		if d := cmp.Diff(m, again, cmpopts.IgnoreUnexported(Sign1{})); err != nil || d != "" {
			t.Fatal(err, d)
		}
		if m.Detached {
			m.Payload = []byte("p")
		}
		if m.Verify(&k.public, nil) == nil && (string(m.Payload) != "p" || m.Protected.ContentType != "60") {
			t.Fatalf("forged: %+v", m)
		}
	})
}

func FuzzMac0(f *testing.F) {
	_, seeds, _, k := fuzzSeeds(f)
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMac0(b, 15)
		if err != nil {
			known(t, err)
			return
		}
		got, err := m.Append(nil)
		rewritten(t, b, got, err)
		again, err := ParseMac0(got, 15)
		if d := cmp.Diff(m, again, cmpopts.IgnoreUnexported(Mac0{})); err != nil || d != "" {
			t.Fatal(err, d)
		}
		if m.Detached {
			m.Payload = []byte("p")
		}
		if m.Verify(&k.mac, nil) == nil && (string(m.Payload) != "p" || m.Protected.ContentType != "60") {
			t.Fatalf("forged: %+v", m)
		}
	})
}

func FuzzEncrypt0(f *testing.F) {
	_, _, seeds, k := fuzzSeeds(f)
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseEncrypt0(b, 15)
		if err != nil {
			known(t, err)
			return
		}
		got, err := m.Append(nil)
		rewritten(t, b, got, err)
		again, err := ParseEncrypt0(got, 15)
		if d := cmp.Diff(m, again, cmpopts.IgnoreUnexported(Encrypt0{})); err != nil || d != "" {
			t.Fatal(err, d)
		}
		if p, err := m.Decrypt(nil, &k.secret, nil); err == nil && (string(p) != "p" || m.Protected.ContentType != "60") {
			t.Fatalf("forged: %+v", m)
		}
	})
}

// FuzzCCM opens what was not sealed, and seals and opens again.
func FuzzCCM(f *testing.F) {
	f.Add(make([]byte, 16), make([]byte, 13), []byte("plaintext"), []byte("ad"))
	f.Fuzz(func(t *testing.T, key, nonce, b, ad []byte) {
		if len(nonce) != 13 {
			return
		}
		for _, a := range []Algorithm{AESCCM16_64_128, AESCCM16_128_256} {
			aead, err := NewAEAD(a, key)
			if err != nil {
				known(t, err)
				continue
			}
			if len(b) >= 1<<16 {
				return
			}
			if p, err := aead.Open(nil, nonce, b, ad); err == nil && len(b) > 8 {
				if !bytes.Equal(aead.Seal(nil, nonce, p, ad), b) {
					t.Fatal("opened what is not sealed so")
				}
			}
			if p, err := aead.Open(nil, nonce, aead.Seal(nil, nonce, b, ad), ad); err != nil || !bytes.Equal(p, b) {
				t.Fatalf("%x, %v", p, err)
			}
		}
	})
}
