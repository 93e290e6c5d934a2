// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
)

// readVectors decodes a file of ../shared/vectors.
func readVectors(t *testing.T, v any, path ...string) {
	t.Helper()
	file := filepath.Join(append([]string{"..", "..", "..", "shared", "vectors"}, path...)...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("the published vectors are not beside the repository (%s)", filepath.Join(path...))
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// wycheproof is what we read of the four files; numbers of sizes are bits.
type wycheproof struct {
	TestGroups []struct {
		IVSize  int `json:"ivSize"`
		KeySize int
		TagSize int
		Tests   []struct {
			TCID                       int `json:"tcId"`
			Result                     string
			Key, IV, AAD, Msg, CT, Tag string
			Public, Private, Shared    string // X25519
			IKM, Salt, Info, OKM       string // HKDF
			Size                       int    // bytes of OKM
		}
	}
}

// TestWycheproofCCM runs all vectors whose sizes CCM can have; those of a COSE
// algorithm go through [NewAEAD].
func TestWycheproofCCM(t *testing.T) {
	var v wycheproof
	readVectors(t, &v, "wycheproof", "aes_ccm_test.json")
	ran, refused := map[string]int{}, 0
	for _, g := range v.TestGroups {
		nonce, tag := g.IVSize/8, g.TagSize/8
		if nonce < 7 || nonce > 13 || tag < 4 || tag > 16 || tag%2 != 0 {
			for _, test := range g.Tests {
				if test.Result == "valid" {
					t.Errorf("%d: valid with a nonce of %d and a tag of %d bytes", test.TCID, nonce, tag)
				}
				refused++
			}
			continue // no algorithm has these sizes
		}
		for _, test := range g.Tests {
			aead, err := newCCM(vector.Bytes(t, test.Key), nonce, tag)
			if err != nil {
				t.Fatal(err)
			}
			iv, ad, msg := vector.Bytes(t, test.IV), vector.Bytes(t, test.AAD), vector.Bytes(t, test.Msg)
			sealed := append(vector.Bytes(t, test.CT), vector.Bytes(t, test.Tag)...)
			got, err := aead.Open(nil, iv, sealed, ad)
			switch valid := test.Result == "valid"; {
			case valid != (err == nil):
				t.Errorf("%d: Open: %v, want %s", test.TCID, err, test.Result)
			case valid && !bytes.Equal(got, msg):
				t.Errorf("%d: Open = %x, want %x", test.TCID, got, msg)
			case valid && !bytes.Equal(aead.Seal(nil, iv, msg, ad), sealed):
				t.Errorf("%d: Seal differs", test.TCID)
			}
			ran[test.Result]++
		}
	}
	t.Logf("%d valid, %d invalid, %d of sizes that CCM has not", ran["valid"], ran["invalid"], refused)
	if ran["valid"] == 0 || ran["invalid"] == 0 {
		t.Error("no vector ran")
	}
}

func TestWycheproofGCM(t *testing.T) {
	var v wycheproof
	readVectors(t, &v, "wycheproof", "aes_gcm_test.json")
	ran := 0
	for _, g := range v.TestGroups {
		var alg Algorithm
		for _, a := range []Algorithm{A128GCM, A192GCM, A256GCM} {
			if a.KeySize() == g.KeySize/8 {
				alg = a
			}
		}
		if g.IVSize/8 != alg.NonceSize() {
			continue // COSE has nonces of 12 bytes only
		}
		for _, test := range g.Tests {
			aead, err := NewAEAD(alg, vector.Bytes(t, test.Key))
			if err != nil {
				t.Fatal(err)
			}
			sealed := append(vector.Bytes(t, test.CT), vector.Bytes(t, test.Tag)...)
			got, err := aead.Open(nil, vector.Bytes(t, test.IV), sealed, vector.Bytes(t, test.AAD))
			if (err == nil) != (test.Result == "valid") || err == nil && !bytes.Equal(got, vector.Bytes(t, test.Msg)) {
				t.Errorf("%d: Open: %v, want %s", test.TCID, err, test.Result)
			}
			ran++
		}
	}
	if t.Logf("%d vectors", ran); ran == 0 {
		t.Error("no vector ran")
	}
}

// TestWycheproofX25519 goes through keys as they come from peers: a point of low
// order gives no shared secret.
func TestWycheproofX25519(t *testing.T) {
	var v wycheproof
	readVectors(t, &v, "wycheproof", "x25519_test.json")
	ran, low := 0, 0
	for _, g := range v.TestGroups {
		for _, test := range g.Tests {
			k := Key{Type: OKP, Curve: X25519, X: vector.Bytes(t, test.Public)}
			k, err := ParseKey(k.AppendPublic(nil))
			if err != nil {
				t.Fatal(err)
			}
			public, err := k.PublicECDH()
			if err != nil {
				t.Fatal(err)
			}
			private, err := ecdh.X25519().NewPrivateKey(vector.Bytes(t, test.Private))
			if err != nil {
				t.Fatal(err)
			}
			shared, err := private.ECDH(public)
			want := vector.Bytes(t, test.Shared)
			if bytes.Equal(want, make([]byte, 32)) {
				low++
				if err == nil {
					t.Errorf("%d: a shared secret of zeros was accepted", test.TCID)
				}
			} else if err != nil || !bytes.Equal(shared, want) {
				t.Errorf("%d: %x, %v, want %x", test.TCID, shared, err, want)
			}
			ran++
		}
	}
	if t.Logf("%d vectors, %d of low order", ran, low); ran == 0 || low == 0 {
		t.Error("no vector ran")
	}
}

// TestWycheproofHKDF holds the library's HKDF, on which EDHOC and OSCORE stand.
func TestWycheproofHKDF(t *testing.T) {
	var v wycheproof
	readVectors(t, &v, "wycheproof", "hkdf_sha256_test.json")
	ran := 0
	for _, g := range v.TestGroups {
		for _, test := range g.Tests {
			got, err := hkdf.Key(sha256.New, vector.Bytes(t, test.IKM), vector.Bytes(t, test.Salt), string(vector.Bytes(t, test.Info)), test.Size)
			if (err == nil) != (test.Result == "valid") || err == nil && !bytes.Equal(got, vector.Bytes(t, test.OKM)) {
				t.Errorf("%d: %v, want %s", test.TCID, err, test.Result)
			}
			ran++
		}
	}
	if t.Logf("%d vectors", ran); ran == 0 {
		t.Error("no vector ran")
	}
}
