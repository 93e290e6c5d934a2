// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	pionccm "github.com/pion/dtls/v3/pkg/crypto/ccm"
)

// TestCCMVector holds CCM to packet vector #1 of RFC 3610 section 8.
func TestCCMVector(t *testing.T) {
	aead, err := newCCM(vector.Bytes(t, "C0C1C2C3C4C5C6C7C8C9CACBCCCDCECF"), 13, 8)
	if err != nil {
		t.Fatal(err)
	}
	nonce := vector.Bytes(t, "00000003020100A0A1A2A3A4A5")
	packet := vector.Bytes(t, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E")
	want := vector.Bytes(t, "588C979A61C663D2F066D0C2C0F989806D5F6B61DAC38417E8D12CFDF926E0")
	got := aead.Seal(nil, nonce, packet[8:], packet[:8])
	if !bytes.Equal(got, want) {
		t.Fatalf("Seal = %x, want %x", got, want)
	}
	back, err := aead.Open(nil, nonce, got, packet[:8])
	if err != nil || !bytes.Equal(back, packet[8:]) {
		t.Fatalf("Open = %x, %v", back, err)
	}
}

func BenchmarkAEAD(b *testing.B) {
	ours := func(a Algorithm) cipher.AEAD {
		aead, err := NewAEAD(a, make([]byte, a.KeySize()))
		if err != nil {
			b.Fatal(err)
		}
		return aead
	}
	block, _ := aes.NewCipher(make([]byte, 16))
	pion, err := pionccm.NewCCM(block, 8, 13)
	if err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name string
		aead cipher.AEAD
	}{
		{"ours", ours(AESCCM16_64_128)},
		{"pion", pion},
		{"GCM", ours(A128GCM)},
		{"ChaCha20", ours(ChaCha20Poly1305)},
	} {
		for _, size := range []struct {
			name string
			n    int
		}{{"64", 64}, {"1024", 1024}} {
			b.Run(bm.name+"/"+size.name, func(b *testing.B) {
				nonce, ad := make([]byte, bm.aead.NonceSize()), make([]byte, 20)
				buf := make([]byte, size.n, size.n+16)
				b.SetBytes(int64(size.n))
				b.ReportAllocs()
				for b.Loop() {
					sealed := bm.aead.Seal(buf[:0], nonce, buf, ad)
					if _, err := bm.aead.Open(sealed[:0], nonce, sealed, ad); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
