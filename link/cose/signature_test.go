// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
)

var signatureAlgorithms = []Algorithm{ES256, ESP256, ES384, ESP384, ES512, ESP512, EdDSA, Ed25519}

func generate(t testing.TB, a Algorithm) (Key, Signer) {
	t.Helper()
	k, err := GenerateKey(a.curve(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.Alg = a
	s, err := NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, s
}

// flip calls f with b after each bit of it was changed, one at a time.
func flip(b []byte, f func([]byte)) {
	b = clone(b)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			f(b)
			b[i] ^= 1 << bit
		}
	}
}

// TestSign signs by every algorithm and changes every byte of what was signed and
// of the signature.
func TestSign(t *testing.T) {
	for _, a := range signatureAlgorithms {
		t.Run(a.String(), func(t *testing.T) {
			k, s := generate(t, a)
			message := []byte("rate 60")
			sig, err := s.Sign(message)
			if err != nil {
				t.Fatal(err)
			}
			if len(sig) != a.TagSize() || s.Algorithm() != a {
				t.Fatalf("%d bytes by %v", len(sig), s.Algorithm())
			}
			public := k.Public()
			if err := public.Verify(a, message, sig); err != nil {
				t.Fatal(err)
			}
			for i := range message {
				b := clone(message)
				b[i] ^= 1
				if err := public.Verify(a, b, sig); !errors.Is(err, ErrVerification) {
					t.Fatalf("byte %d of the message changed: %v", i, err)
				}
			}
			for i := range sig {
				b := clone(sig)
				b[i] ^= 1
				if err := public.Verify(a, message, b); !errors.Is(err, ErrVerification) {
					t.Fatalf("byte %d of the signature changed: %v", i, err)
				}
			}
			half := len(sig) / 2
			padded := slices.Concat([]byte{0}, sig[:half], []byte{0}, sig[half:])
			for _, b := range [][]byte{nil, sig[1:], sig[:len(sig)-1], append(clone(sig), 0), append([]byte{0}, sig...), padded} {
				if err := public.Verify(a, message, b); !errors.Is(err, ErrVerification) {
					t.Fatalf("a signature of %d bytes: %v", len(b), err)
				}
			}
		})
	}
}

// TestKeyUse: a key is for its algorithm and its key_ops alone.
func TestKeyUse(t *testing.T) {
	p256, signer := generate(t, ES256)
	message := []byte("stop")
	sig, err := signer.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	set := func(f func(*Key)) *Key { k := p256; k.Alg = 0; f(&k); return &k }
	x25519, err := GenerateKey(X25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	symmetric := Key{Type: Symmetric, K: make([]byte, 64)}
	for name, test := range map[string]struct {
		k    *Key
		a    Algorithm
		want error
	}{
		"ES256":                      {set(func(*Key) {}), ES256, nil},
		"ESP256 with the same":       {set(func(*Key) {}), ESP256, nil},
		"a key for ES256":            {set(func(k *Key) { k.Alg = ES256 }), ES256, nil},
		"a key for ESP256":           {set(func(k *Key) { k.Alg = ESP256 }), ES256, ErrKey},
		"a key to verify":            {set(func(k *Key) { k.Ops = OpVerify }), ES256, nil},
		"a key to sign":              {set(func(k *Key) { k.Ops = OpSign }), ES256, ErrKey},
		"a key to derive":            {set(func(k *Key) { k.Ops = OpDeriveKey }), ES256, ErrKey},
		"ES384 with P-256":           {set(func(*Key) {}), ES384, ErrKey},
		"ES512 with P-256":           {set(func(*Key) {}), ES512, ErrKey},
		"EdDSA with P-256":           {set(func(*Key) {}), EdDSA, ErrKey},
		"an algorithm of MACs":       {set(func(*Key) {}), HMAC256, ErrAlgorithm},
		"no algorithm":               {set(func(*Key) {}), 0, ErrAlgorithm},
		"a symmetric key":            {&symmetric, ES256, ErrKey},
		"EdDSA with X25519":          {&x25519, EdDSA, ErrKey},
		"no key":                     {&Key{}, ES256, ErrKey},
		"P-256 in an octet key pair": {set(func(k *Key) { k.Type = OKP }), ES256, ErrKey},
		"a coordinate of 31 bytes":   {set(func(k *Key) { k.X = k.X[1:] }), ES256, ErrKey},
		"a byte from y to x":         {set(func(k *Key) { k.X = append(clone(k.X), k.Y[0]); k.Y = k.Y[1:] }), ES256, ErrKey},
		"a point off the curve":      {set(func(k *Key) { k.Y = clone(k.Y); k.Y[31] ^= 1 }), ES256, ErrKey},
		"the key of somebody else":   {set(func(k *Key) { k.X, k.Y = vector.Bytes(t, gx), vector.Bytes(t, gy) }), ES256, ErrVerification},
		"a curve that nobody knows":  {set(func(k *Key) { k.Curve = 99 }), ES256, ErrKey},
		"P-384 without a point":      {&Key{Type: EC2, Curve: P384}, ES384, ErrKey},
		"Ed25519 without 32 bytes":   {&Key{Type: OKP, Curve: CurveEd25519, X: make([]byte, 31)}, EdDSA, ErrKey},
		"Ed25519 that is no point":   {&Key{Type: OKP, Curve: CurveEd25519, X: bytes.Repeat([]byte{0xfe}, 32)}, EdDSA, ErrVerification},
		"Ed25519 of somebody else":   {&Key{Type: OKP, Curve: CurveEd25519, X: vector.Bytes(t, edX)}, EdDSA, ErrVerification},
	} {
		if err := test.k.Verify(test.a, message, sig); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	for name, k := range map[string]Key{
		"public":       p256.Public(),
		"to verify":    *set(func(k *Key) { k.Ops = OpVerify }),
		"symmetric":    symmetric,
		"X25519":       x25519,
		"d of another": *set(func(k *Key) { k.D = vector.Bytes(t, two) }),
		"none":         {},
	} {
		if _, err := NewSigner(k); !errors.Is(err, ErrKey) {
			t.Errorf("NewSigner, %s: %v", name, err)
		}
	}
}

// TestSmallOrder shows what a key of small order does to the standard library,
// and that we refuse it: a signature that needs no private key fits one message of
// eight, or all.
func TestSmallOrder(t *testing.T) {
	sig := append([]byte{1}, make([]byte, 63)...) // R is the neutral point, S is zero
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, sign := range []byte{0, 0x80} {
			x := vector.Bytes(t, s)
			x[31] |= sign
			k := Key{Type: OKP, Curve: CurveEd25519, X: x}
			forged := false
			for i := 0; i < 256 && !forged; i++ {
				message := []byte{byte(i)}
				forged = ed25519.Verify(x, message, sig)
				if err := k.Verify(EdDSA, message, sig); !errors.Is(err, ErrKey) {
					t.Fatalf("%x: %v", x, err)
				}
			}
			if !forged {
				t.Errorf("%x is not of small order", x)
			}
			if _, err := ParseKey(k.AppendPublic(nil)); !errors.Is(err, ErrKey) {
				t.Errorf("%x was read: %v", x, err)
			}
		}
	}
}

// TestECDSAEdges: r and s are neither zero nor as much as the order. With r + n the
// same signature would have a second form.
func TestECDSAEdges(t *testing.T) {
	k, signer := generate(t, ES256)
	message := []byte("rate 60")
	sig, err := signer.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	n, zero := vector.Bytes(t, order), make([]byte, 32)
	r, s := sig[:32], sig[32:]
	for name, parts := range map[string][2][]byte{
		"r = 0":     {zero, s},
		"s = 0":     {r, zero},
		"r = s = 0": {zero, zero},
		"r = n":     {n, s},
		"s = n":     {r, n},
		"r = n + 1": {append(clone(n[:31]), n[31]+1), s},
		"s = max":   {r, bytes.Repeat([]byte{0xff}, 32)},
		"swapped":   {s, r},
	} {
		if err := k.Verify(ES256, message, slices.Concat(parts[0], parts[1])); !errors.Is(err, ErrVerification) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestECDSADeterministic holds ES256 to RFC 6979 appendix A.2.5.
func TestECDSADeterministic(t *testing.T) {
	k, err := ParseKey(vector.Bytes(t, "a3 0102 2001 235820 C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	want := vector.Bytes(t, "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716 F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8")
	if got, err := s.Sign([]byte("sample")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v", got, err)
	}
}

// A token is a crypto.Signer that answers what it is told to.
type token struct {
	public crypto.PublicKey
	sig    []byte
}

func (t token) Public() crypto.PublicKey { return t.public }

func (t token) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return t.sig, nil }

func TestCryptoSigner(t *testing.T) {
	message := []byte("bolus")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		s crypto.Signer
		a Algorithm
	}{{key, ESP256}, {ed, Ed25519}} {
		s, err := NewCryptoSigner(test.s, test.a)
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewSignatureKey(test.s.Public())
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			sig, err := s.Sign(message)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Verify(test.a, message, sig); err != nil {
				t.Errorf("%v: %v", test.a, err)
			}
		}
	}

	for name, test := range map[string]struct {
		s    crypto.Signer
		a    Algorithm
		want error
	}{
		"another curve": {key, ES384, ErrKey},
		"another kind":  {key, EdDSA, ErrKey},
		"an AEAD":       {key, A128GCM, ErrAlgorithm},
		"no key":        {token{}, ES256, ErrKey},
		"Ed25519 short": {token{public: ed25519.PublicKey{1}}, EdDSA, ErrKey},
	} {
		if _, err := NewCryptoSigner(test.s, test.a); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// A token that is broken does not make us panic, nor send what it says.
	sign := func(sig string) ([]byte, error) {
		s, err := NewCryptoSigner(token{&key.PublicKey, vector.Bytes(t, sig)}, ES256)
		if err != nil {
			t.Fatal(err)
		}
		return s.Sign(message)
	}
	if got, err := sign("3006020101020102"); err != nil || !bytes.Equal(got, vector.Bytes(t, one+two)) {
		t.Errorf("r = 1, s = 2: %x, %v", got, err) // leading zeros are put back
	}
	for _, sig := range []string{
		"", "30", "3000", "3003020101", "3006020101020100", "3006020100020101", "3006020101020180",
		"30060201ff020101", "3007020101020101", "300702010102020001", "300602010102010200",
		"3026020101022101" + strings.Repeat("00", 32), "8006020101020101",
	} {
		if got, err := sign(sig); err == nil {
			t.Errorf("%s became %x", sig, got)
		}
	}
	s, err := NewCryptoSigner(token{edPublic, make([]byte, 63)}, EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(message); err == nil {
		t.Error("an EdDSA signature of 63 bytes")
	}
}
