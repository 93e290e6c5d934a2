// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

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

// TestSign signs by every algorithm and flips every bit of what was signed and of
// the signature.
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
			flip(message, func(b []byte) {
				if err := public.Verify(a, b, sig); !errors.Is(err, ErrVerification) {
					t.Fatalf("another message: %v", err)
				}
			})
			for _, b := range [][]byte{nil, sig[1:], sig[:len(sig)-1], append(clone(sig), 0), append([]byte{0}, sig...)} {
				if err := public.Verify(a, message, b); !errors.Is(err, ErrVerification) {
					t.Fatalf("a signature of %d bytes: %v", len(b), err)
				}
			}
			for i := range sig {
				b := clone(sig)
				b[i] ^= 1
				if err := public.Verify(a, message, b); !errors.Is(err, ErrVerification) {
					t.Fatalf("byte %d of the signature changed: %v", i, err)
				}
			}
		})
	}
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
