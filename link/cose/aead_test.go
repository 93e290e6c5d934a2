// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"sync"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	pionccm "github.com/pion/dtls/v3/pkg/crypto/ccm"
	"pgregory.net/rapid"
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

var aeadAlgorithms = []Algorithm{
	A128GCM, A192GCM, A256GCM, ChaCha20Poly1305,
	AESCCM16_64_128, AESCCM16_64_256, AESCCM64_64_128, AESCCM64_64_256,
	AESCCM16_128_128, AESCCM16_128_256, AESCCM64_128_128, AESCCM64_128_256,
}

func newAEAD(t testing.TB, a Algorithm, key []byte) cipher.AEAD {
	t.Helper()
	aead, err := NewAEAD(a, key)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// TestAEAD holds every algorithm to what cipher.AEAD and NewAEAD promise.
func TestAEAD(t *testing.T) {
	for _, a := range aeadAlgorithms {
		t.Run(a.String(), func(t *testing.T) {
			aead := newAEAD(t, a, make([]byte, a.KeySize()))
			if aead.NonceSize() != a.NonceSize() || aead.Overhead() != a.TagSize() {
				t.Fatalf("nonce of %d, tag of %d bytes", aead.NonceSize(), aead.Overhead())
			}
			nonce, ad := make([]byte, a.NonceSize()), []byte("alarm")
			for n := range 70 {
				plaintext := bytes.Repeat([]byte{7}, n)
				sealed := aead.Seal([]byte("head"), nonce, plaintext, ad)
				if !bytes.HasPrefix(sealed, []byte("head")) || len(sealed) != 4+n+a.TagSize() {
					t.Fatalf("Seal = %x", sealed)
				}
				sealed = sealed[4:]

				// In place: sealed into the plaintext's own buffer and opened out of it.
				buf := append(make([]byte, 0, n+16), plaintext...)
				if got := aead.Seal(buf[:0], nonce, buf, ad); !bytes.Equal(got, sealed) {
					t.Fatalf("%d bytes sealed in place differ", n)
				} else if got, err := aead.Open(got[:0], nonce, got, ad); err != nil || !bytes.Equal(got, plaintext) {
					t.Fatalf("%d bytes opened in place: %v", n, err)
				}

				flip(sealed, func(b []byte) {
					room := bytes.Repeat([]byte{0xaa}, n)
					if _, err := aead.Open(room[:0], nonce, b, ad); err == nil {
						t.Fatalf("opened what was changed: %x", b)
					}
					if bytes.Contains(room, []byte{7}) {
						t.Fatalf("plaintext left after failure: %x", room)
					}
				})
			}
			sealed := aead.Seal(nil, nonce, []byte("bolus"), ad)
			for i := range sealed {
				if _, err := aead.Open(nil, nonce, sealed[:i], ad); err == nil {
					t.Fatalf("opened the first %d bytes", i)
				}
			}
			flip(nonce, func(b []byte) {
				if _, err := aead.Open(nil, b, sealed, ad); err == nil {
					t.Fatal("opened with another nonce")
				}
			})
			flip(ad, func(b []byte) {
				if _, err := aead.Open(nil, nonce, sealed, b); err == nil {
					t.Fatal("opened with other associated data")
				}
			})

			buf := make([]byte, 64, 80)
			if n := testing.AllocsPerRun(100, func() {
				sealed := aead.Seal(buf[:0], nonce, buf, ad)
				if _, err := aead.Open(sealed[:0], nonce, sealed, ad); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestNewAEADRefuses(t *testing.T) {
	for _, a := range aeadAlgorithms {
		for n := range 66 {
			if _, err := NewAEAD(a, make([]byte, n)); (n == a.KeySize()) != (err == nil) || err != nil && !errors.Is(err, ErrKey) {
				t.Errorf("%v with a key of %d bytes: %v", a, n, err)
			}
		}
	}
	for _, a := range []Algorithm{0, HMAC256, ES256, EdDSA, SHA256, 15, -65535} {
		if _, err := NewAEAD(a, make([]byte, 32)); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("%v: %v", a, err)
		}
	}
}

// TestCCMPanics: misuse by the program, not by a peer.
func TestCCMPanics(t *testing.T) {
	aead := newAEAD(t, AESCCM16_64_128, make([]byte, 16))
	nonce, buf := make([]byte, 13), make([]byte, 256)
	for name, f := range map[string]func(){
		"a short nonce, sealing":     func() { aead.Seal(nil, nonce[1:], nil, nil) },
		"a long nonce, opening":      func() { aead.Open(nil, append(nonce, 0), buf[:8], nil) },
		"64 KiB":                     func() { aead.Seal(nil, nonce, make([]byte, 1<<16), nil) },
		"overlap, sealing":           func() { aead.Seal(buf[1:1], nonce, buf[:32], nil) },
		"overlap, opening":           func() { aead.Open(buf[1:1], nonce, buf[:32], nil) },
		"overlap far off, sealing":   func() { aead.Seal(buf[100:100], nonce, buf[:120], nil) },
		"overlap far off, opening":   func() { aead.Open(buf[100:100], nonce, buf[:120], nil) },
		"overlap with the data":      func() { aead.Seal(buf[:0], nonce, buf[:32], buf[20:30]) },
		"overlap of data and opened": func() { aead.Open(buf[:0], nonce, buf[:32], buf[20:24]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			f()
		})
	}
	if _, err := aead.Open(nil, nonce, make([]byte, 1<<16+8), nil); !errors.Is(err, ErrVerification) {
		t.Errorf("opening 64 KiB: %v", err) // a peer can send that
	}
	if got := len(aead.Seal(nil, nonce, make([]byte, 1<<16-1), nil)); got != 1<<16+7 {
		t.Errorf("64 KiB less one: %d bytes", got)
	}
}

// TestCCMAgainstPion holds CCM to another implementation, with associated data of
// more than 0xff00 bytes too, whose length has another form.
func TestCCMAgainstPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := make([]byte, rapid.SampledFrom([]int{16, 24, 32}).Draw(t, "key"))
		key[0] = rapid.Byte().Draw(t, "k")
		size, tag := rapid.IntRange(7, 13).Draw(t, "nonce"), 2*rapid.IntRange(2, 8).Draw(t, "tag")
		ours, err := newCCM(key, size, tag)
		if err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := pionccm.NewCCM(block, tag, size)
		if err != nil {
			t.Fatal(err)
		}
		nonce := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "N")
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "plaintext")
		ad := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "ad")
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			ad = append(ad, make([]byte, rapid.IntRange(0xfef0, 0xff10).Draw(t, "more"))...)
		}
		want := theirs.Seal(nil, nonce, plaintext, ad)
		if got := ours.Seal(nil, nonce, plaintext, ad); !bytes.Equal(got, want) {
			t.Fatalf("Seal = %x, theirs %x", got, want)
		}
		if got, err := ours.Open(nil, nonce, want, ad); err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("Open = %x, %v", got, err)
		}
	})
}

// TestCCMConcurrent shares one AEAD among goroutines: the race detector looks on.
func TestCCMConcurrent(t *testing.T) {
	aead := newAEAD(t, AESCCM16_64_128, make([]byte, 16))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			nonce, message := make([]byte, 13), bytes.Repeat([]byte{byte(i)}, 100)
			for n := range 200 {
				nonce[12] = byte(n)
				if got, err := aead.Open(nil, nonce, aead.Seal(nil, nonce, message, nil), nil); err != nil || !bytes.Equal(got, message) {
					t.Errorf("goroutine %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkAEAD seals and opens.
func BenchmarkAEAD(b *testing.B) {
	ours := func(a Algorithm) cipher.AEAD { return newAEAD(b, a, make([]byte, a.KeySize())) }
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
