// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// TestHKDF compares with the standard library's HKDF, at the lengths around a digest,
// and at the longest.
func TestHKDF(t *testing.T) {
	for _, tt := range []struct {
		a cose.Algorithm
		h func() hash.Hash
	}{{cose.SHA256, sha256.New}, {cose.SHA384, sha512.New384}} {
		k := newKDF(tt.a)
		salt, ikm := bytes.Repeat([]byte{1}, k.size), []byte("secret")
		prk := make([]byte, k.size)
		k.extract(prk, salt, ikm)
		want, err := hkdf.Extract(tt.h, ikm, salt)
		if err != nil || !bytes.Equal(prk, want) {
			t.Errorf("%v: extract is %x, %v; want %x", tt.a, prk, err, want)
		}
		for _, n := range []int{0, 1, k.size - 1, k.size, k.size + 1, 3*k.size + 5, 255 * k.size} {
			for _, context := range [][]byte{nil, []byte("context"), make([]byte, 300)} {
				out := make([]byte, n)
				k.expand(out, prk, 300, context)
				info := cbor.AppendUint(cbor.AppendBytes(cbor.AppendUint(nil, 300), context), uint64(n))
				want, err := hkdf.Expand(tt.h, prk, string(info), n)
				if err != nil || !bytes.Equal(out, want) {
					t.Errorf("%v: %d bytes of a context of %d: %x, %v; want %x", tt.a, n, len(context), out, err, want)
				}
			}
		}
	}
}

// TestKMAC256 has NIST's sample 5 of KMAC256, the one without a customization string.
func TestKMAC256(t *testing.T) {
	k := newKDF(shake256)
	var key [32]byte
	for i := range key {
		key[i] = 0x40 + byte(i)
	}
	var data [200]byte
	for i := range data {
		data[i] = byte(i)
	}
	want := vector.Bytes(t, `75358CF39E41494E949707927CEE0AF20A3FF553904C86B08F21CC414BCFD691
		589D27CF5E15369CBBFF8B9A4C2EB17800855D0235FF635DA82533EC6B759B69`)
	out := make([]byte, 64)
	for range 2 {
		k.kmac256(out, key[:], data[:100], data[100:])
		if !bytes.Equal(out, want) {
			t.Errorf("%x; want %x", out, want)
		}
	}
	// FIPS 202: SHAKE256 of nothing.
	k.digest(out, nil)
	if want := vector.Bytes(t, `46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f
		d75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be`); !bytes.Equal(out, want) {
		t.Errorf("SHAKE256: %x; want %x", out, want)
	}
}
