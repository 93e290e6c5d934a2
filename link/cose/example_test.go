// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose_test

import (
	"crypto/rand"
	"fmt"
	"log"

	"github.com/myelin-health/myelin/link/cose"
)

// A clinic signs a prescription, and a pump that has the clinic's public key
// verifies it.
func ExampleAppendSign1() {
	key, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key.ID = []byte("clinic")
	signer, err := cose.NewSigner(key)
	if err != nil {
		log.Fatal(err)
	}
	message, err := cose.AppendSign1(nil, nil, &cose.Headers{KID: key.ID}, []byte("basal 0.8 U/h"), []byte("pump 7"), signer)
	if err != nil {
		log.Fatal(err)
	}

	public := key.Public()
	m, err := cose.ParseSign1(message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, kid %s\n", m.Protected.Alg, m.Unprotected.KID)
	if err := m.Verify(&public, []byte("pump 8")); err != nil {
		fmt.Println(err) // it was signed for another
	}
	if err := m.Verify(&public, []byte("pump 7")); err == nil {
		fmt.Printf("%s\n", m.Payload)
	}
	// Output:
	// ES256, kid clinic
	// cose: verification failed
	// basal 0.8 U/h
}

func ExampleAppendMac0() {
	key := cose.Key{Type: cose.Symmetric, Alg: cose.HMAC256_64, K: []byte("a key of 32 bytes, known to both")}
	message, err := cose.AppendMac0(nil, nil, nil, []byte("heart rate 62"), nil, &key)
	if err != nil {
		log.Fatal(err)
	}
	m, err := cose.ParseMac0(message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Verify(&key, nil), len(message)-len(m.Payload), "bytes more")
	m.Payload = []byte("heart rate 26")
	fmt.Println(m.Verify(&key, nil))
	// Output:
	// <nil> 17 bytes more
	// cose: verification failed
}

func ExampleAppendEncrypt0() {
	key := cose.Key{Type: cose.Symmetric, Alg: cose.AESCCM16_64_128, K: []byte("a key of 16 byte")}
	iv := make([]byte, key.Alg.NonceSize())
	rand.Read(iv) // never twice with one key
	message, err := cose.AppendEncrypt0(nil, nil, &cose.Headers{IV: iv}, []byte("glucose 5.4 mmol/L"), nil, &key)
	if err != nil {
		log.Fatal(err)
	}
	m, err := cose.ParseEncrypt0(message)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := m.Decrypt(nil, &key, nil)
	fmt.Printf("%s %v\n", plaintext, err)
	// Output: glucose 5.4 mmol/L <nil>
}

// Sealing in place: what is sent has the buffer of what was measured.
func ExampleNewAEAD() {
	aead, err := cose.NewAEAD(cose.AESCCM16_64_128, []byte("a key of 16 byte"))
	if err != nil {
		log.Fatal(err)
	}
	nonce := make([]byte, aead.NonceSize()) // a counter, say
	buf := make([]byte, 0, 64)
	buf = append(buf, "rate 60"...)
	sealed := aead.Seal(buf[:0], nonce, buf, []byte("pacemaker 3"))
	opened, err := aead.Open(sealed[:0], nonce, sealed, []byte("pacemaker 3"))
	fmt.Printf("%s %v, same buffer: %v\n", opened, err, &opened[0] == &buf[0])
	// Output: rate 60 <nil>, same buffer: true
}

func ExampleParseKey() {
	key, err := cose.GenerateKey(cose.CurveEd25519, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key.ID = []byte{7}
	public, err := cose.ParseKey(key.AppendPublic(nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key)
	fmt.Println(public, key.Thumbprint() == public.Thumbprint())
	// Output:
	// private key on Ed25519 with kid 07
	// public key on Ed25519 with kid 07 true
}
