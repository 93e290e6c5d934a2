// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/link/cose"
)

// vectorFiles are the published envelopes, by their name under vectors-suit.
func vectorFiles(t testing.TB) map[string][]byte {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "vectors-suit")
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.suit"))
	if len(files) == 0 {
		t.Skip("the published envelopes are not beside the repository (vectors-suit)")
	}
	all := map[string][]byte{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, file)
		all[filepath.ToSlash(name)] = b
	}
	return all
}

// vectorKey is the key that they are signed with.
func vectorKey(t testing.TB) cose.Key {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors-suit", "suit-manifest-spec", "example_private_key.pem"))
	if err != nil {
		t.Skip("the published key is not beside the repository: ", err)
	}
	p, _ := pem.Decode(b)
	private, err := x509.ParsePKCS8PrivateKey(p.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	k, err := cose.NewSignatureKey(private.(*ecdsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestVectors decodes each published envelope, verifies those that are signed, and
// writes each again: as it came, and out of what was read of it.
func TestVectors(t *testing.T) {
	key := vectorKey(t)
	algorithms := map[cose.Algorithm]int{}
	for name, b := range vectorFiles(t) {
		t.Run(name, func(t *testing.T) {
			e, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			signed := !strings.Contains(name, "unsigned") && !strings.HasSuffix(name, ".severed.suit")
			if signed != (len(e.Blocks) == 1) {
				t.Fatalf("%d blocks", len(e.Blocks))
			}
			m, err := e.UnverifiedManifest()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Verify(key); (err == nil) != signed {
				t.Fatalf("signed: %t, and %v", signed, err)
			}
			if signed {
				algorithms[e.Blocks[0].Algorithm()]++
			}
			if again := e.Append(nil); !bytes.Equal(again, b) {
				t.Fatalf("written again: %x", again)
			}
			manifest, _, err := m.encode()
			if err != nil || !bytes.Equal(manifest, e.manifest) {
				t.Fatalf("manifest: %x\nwant %x, %v", manifest, e.manifest, err)
			}
		})
	}
	if algorithms[cose.ES256] == 0 || algorithms[cose.ESP256] == 0 {
		t.Errorf("%v: want both ES256 and ESP256", algorithms)
	}
}

// TestFlips changes each bit of each signed envelope, one at a time: all are refused.
// None of their bytes is outside of what is protected.
func TestFlips(t *testing.T) {
	key := vectorKey(t)
	signed, flipped := 0, 0
	for name, b := range vectorFiles(t) {
		e, err := Decode(b)
		if err != nil || len(e.Blocks) == 0 {
			continue
		}
		signed++
		b = bytes.Clone(b)
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if accepted(b, key) {
					t.Errorf("%s: accepted with bit %d of byte %d changed", name, bit, i)
				}
				b[i] ^= 1 << bit
				flipped++
			}
		}
		if !accepted(b, key) {
			t.Errorf("%s: refused as it is", name)
		}
		for n := range b {
			if accepted(b[:n], key) {
				t.Errorf("%s: accepted the first %d bytes", name, n)
			}
		}
	}
	if signed != 18 || flipped < 18*8*174 {
		t.Errorf("%d envelopes, %d bits", signed, flipped)
	}
}

func accepted(b []byte, keys ...cose.Key) bool {
	e, err := Decode(b)
	if err != nil {
		return false
	}
	_, err = e.Verify(keys...)
	return err == nil
}
