// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"errors"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
)

// TestForms makes each kind of message in each form, and reads it.
func TestForms(t *testing.T) {
	signing, signer := generate(t, ES256)
	signing = signing.Public()
	macs := Key{Type: Symmetric, Alg: HMAC256, K: make([]byte, 32)}
	secret := Key{Type: Symmetric, Alg: AESCCM16_64_128, K: make([]byte, 16)}
	payload, external := []byte("bolus 1.5 U"), []byte("pump 7")
	kid := Headers{KID: []byte{7}}
	for _, untagged := range []bool{false, true} {
		for _, detached := range []bool{false, true} {
			var signed, mac, encrypted []byte
			var ciphertext []byte
			var err error

			s := Sign1{Unprotected: kid, Payload: payload, Untagged: untagged, Detached: detached}
			if err = s.Sign(signer, external); err == nil {
				signed, err = s.Append(nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			m := Mac0{Unprotected: kid, Payload: payload, Untagged: untagged, Detached: detached}
			if err = m.Authenticate(&macs, external); err == nil {
				mac, err = m.Append(nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			e := Encrypt0{Unprotected: Headers{KID: []byte{7}, IV: make([]byte, 13)}, Untagged: untagged, Detached: detached}
			if err = e.Encrypt(&secret, payload, external); err == nil {
				ciphertext = e.Ciphertext
				encrypted, err = e.Append(nil)
			}
			if err != nil {
				t.Fatal(err)
			}

			for _, b := range [][]byte{signed, mac, encrypted} {
				if (b[0]>>5 != byte(cbor.Tag)) != untagged {
					t.Errorf("untagged %v: %x", untagged, b)
				}
			}
			if bytes.Contains(signed, payload) == detached || bytes.Contains(mac, payload) == detached || bytes.Contains(encrypted, ciphertext) == detached {
				t.Errorf("detached %v: %x, %x, %x", detached, signed, mac, encrypted)
			}

			ps, err := ParseSign1(signed)
			if err != nil {
				t.Fatal(err)
			}
			pm, err := ParseMac0(mac)
			if err != nil {
				t.Fatal(err)
			}
			pe, err := ParseEncrypt0(encrypted)
			if err != nil {
				t.Fatal(err)
			}
			if ps.Detached != detached || ps.Untagged != untagged || pm.Detached != detached || pm.Untagged != untagged || pe.Detached != detached || pe.Untagged != untagged {
				t.Errorf("untagged %v, detached %v: %+v %+v %+v", untagged, detached, ps, pm, pe)
			}
			if !bytes.Equal(ps.Unprotected.KID, kid.KID) || ps.Protected.Alg != ES256 || pm.Protected.Alg != HMAC256 || pe.Protected.Alg != AESCCM16_64_128 {
				t.Errorf("headers: %+v %+v %+v", ps, pm, pe)
			}
			if detached {
				if err := ps.Verify(&signing, external); !errors.Is(err, ErrDetached) {
					t.Errorf("Sign1 without its payload: %v", err)
				}
				if err := pm.Verify(&macs, external); !errors.Is(err, ErrDetached) {
					t.Errorf("Mac0 without its payload: %v", err)
				}
				if _, err := pe.Decrypt(nil, &secret, external); !errors.Is(err, ErrDetached) {
					t.Errorf("Encrypt0 without its ciphertext: %v", err)
				}
				ps.Payload, pm.Payload, pe.Ciphertext = payload, payload, ciphertext
			}
			if err := ps.Verify(&signing, external); err != nil {
				t.Errorf("Sign1: %v", err)
			}
			if err := pm.Verify(&macs, external); err != nil {
				t.Errorf("Mac0: %v", err)
			}
			if got, err := pe.Decrypt([]byte("head"), &secret, external); err != nil || string(got) != "head"+string(payload) {
				t.Errorf("Encrypt0: %q, %v", got, err)
			}
		}
	}
}

// TestKindsAreApart: what is one kind of message is not read as another.
func TestKindsAreApart(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                "",
		"a number":               "00",
		"null":                   "f6",
		"a map":                  "a0",
		"an empty array":         "80",
		"Sign1 with two items":   "d2 82 40a0",
		"Sign1 with three items": "d2 83 40a040",
		"Sign1 with five items":  "d2 85 40a0404040",
		"tag 18 twice":           "d2d2 84 40a04040",
		"tag of COSE_Sign":       "d862 84 40a04080",
		"tag of CWT":             "d83d d2 84 40a04040",
		"tag in long form":       "d812 84 40a04040",
		"protected null":         "84 f6a04040",
		"protected a map":        "84 a0a04040",
		"protected text":         "84 60a04040",
		"unprotected null":       "84 40f64040",
		"unprotected bytes":      "84 40404040",
		"payload text":           "84 40a06040",
		"payload an array":       "84 40a08040",
		"payload undefined":      "84 40a0f740",
		"payload false":          "84 40a0f440",
		"signature null":         "84 40a040f6",
		"signature text":         "84 40a04060",
		"trailing byte":          "84 40a04040 00",
		"twice":                  "84 40a04040 84 40a04040",
		"indefinite array":       "9f 40a04040 ff",
		"indefinite payload":     "84 40a0 5fff 40",
		"long form of a payload": "84 40a0 5800 40",
		"wrapped in bytes":       "45 8440a04040",
		"wrapped in an array":    "81 84 40a04040",
	} {
		b := vector.Bytes(t, in)
		if _, err := ParseSign1(b); err == nil {
			t.Errorf("Sign1, %s: accepted", name)
		}
		if _, err := ParseMac0(b); err == nil {
			t.Errorf("Mac0, %s: accepted", name)
		}
		if _, err := ParseEncrypt0(b); err == nil && name != "Sign1 with three items" {
			t.Errorf("Encrypt0, %s: accepted", name)
		}
	}
	sign1, mac0, encrypt0 := vector.Bytes(t, "d28440a04040"), vector.Bytes(t, "d18440a04040"), vector.Bytes(t, "d08340a040")
	for i, test := range []struct {
		b    []byte
		want [3]bool
	}{
		{sign1, [3]bool{true, false, false}},
		{mac0, [3]bool{false, true, false}},
		{encrypt0, [3]bool{false, false, true}},
		{sign1[1:], [3]bool{true, true, false}}, // without a tag these two look alike
		{encrypt0[1:], [3]bool{false, false, true}},
	} {
		_, err1 := ParseSign1(test.b)
		_, err2 := ParseMac0(test.b)
		_, err3 := ParseEncrypt0(test.b)
		for _, err := range []error{err1, err2, err3} {
			if err != nil && !errors.Is(err, ErrMessage) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if got := [3]bool{err1 == nil, err2 == nil, err3 == nil}; got != test.want {
			t.Errorf("%d: %v, want %v", i, got, test.want)
		}
	}
}

// TestMessageRefuses: a message is verified by its own algorithm, with a key that
// is for it, or not at all.
func TestMessageRefuses(t *testing.T) {
	k, signer := generate(t, ES256)
	public := k.Public()
	signed, err := AppendSign1(nil, nil, nil, []byte("p"), nil, signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Sign1, *Key)
		want   error
	}{
		"nothing changed":            {func(*Sign1, *Key) {}, nil},
		"payload":                    {func(m *Sign1, _ *Key) { m.Payload = nil }, ErrVerification},
		"signature":                  {func(m *Sign1, _ *Key) { m.Signature = nil }, ErrVerification},
		"algorithm of the same hash": {func(m *Sign1, _ *Key) { m.Protected.Alg = ESP256 }, ErrKey},
		"no algorithm, the key's":    {func(m *Sign1, _ *Key) { m.Protected.Alg = 0 }, nil},
		"no algorithm at all":        {func(m *Sign1, k *Key) { m.Protected.Alg, k.Alg = 0, 0 }, ErrAlgorithm},
		"the unprotected one alone":  {func(m *Sign1, k *Key) { m.Protected.Alg, k.Alg, m.Unprotected.Alg = 0, 0, ES256 }, ErrAlgorithm},
		"another unprotected one":    {func(m *Sign1, _ *Key) { m.Unprotected.Alg = ES384 }, ErrAlgorithm},
		"an algorithm of MACs":       {func(m *Sign1, k *Key) { m.Protected.Alg, k.Alg = HMAC256, HMAC256 }, ErrAlgorithm},
		"a symmetric key":            {func(_ *Sign1, k *Key) { *k = Key{Type: Symmetric, K: k.X} }, ErrKey},
		"key_ops":                    {func(_ *Sign1, k *Key) { k.Ops = OpMACVerify }, ErrKey},
	} {
		m, err := ParseSign1(signed)
		if err != nil {
			t.Fatal(err)
		}
		key := public
		test.change(m, &key)
		if err := m.Verify(&key, nil); !errors.Is(err, test.want) {
			t.Errorf("Sign1, %s: %v, want %v", name, err, test.want)
		}
	}

	secret := Key{Type: Symmetric, K: bytes.Repeat([]byte{1}, 64)}
	for name, test := range map[string]struct {
		h    Headers
		k    Key
		want error
	}{
		"HMAC 256/64":       {Headers{Alg: HMAC256_64}, secret, nil},
		"HMAC 256/256":      {Headers{Alg: HMAC256}, secret, nil},
		"HMAC 384/384":      {Headers{Alg: HMAC384}, secret, nil},
		"HMAC 512/512":      {Headers{Alg: HMAC512}, secret, nil},
		"the key's":         {Headers{}, Key{Type: Symmetric, Alg: HMAC256, K: secret.K}, nil},
		"key_ops":           {Headers{Alg: HMAC256}, Key{Type: Symmetric, Ops: OpMACCreate | OpMACVerify, K: secret.K}, nil},
		"other key_ops":     {Headers{Alg: HMAC256}, Key{Type: Symmetric, Ops: OpMACVerify | OpSign, K: secret.K}, ErrKey},
		"for another":       {Headers{Alg: HMAC256}, Key{Type: Symmetric, Alg: HMAC256_64, K: secret.K}, ErrKey},
		"a short key":       {Headers{Alg: HMAC256}, Key{Type: Symmetric, K: secret.K[:31]}, ErrKey},
		"a shorter key":     {Headers{Alg: HMAC512}, Key{Type: Symmetric, K: secret.K[:63]}, ErrKey},
		"no key":            {Headers{Alg: HMAC256}, Key{}, ErrKey},
		"a public key":      {Headers{Alg: HMAC256}, public, ErrKey}, // as a MAC's key everybody would have it
		"no algorithm":      {Headers{}, secret, ErrAlgorithm},
		"one that signs":    {Headers{Alg: ES256}, secret, ErrAlgorithm},
		"one that encrypts": {Headers{Alg: A128GCM}, secret, ErrAlgorithm},
		"AES-CBC-MAC":       {Headers{Alg: 15}, secret, ErrAlgorithm},
	} {
		b, err := AppendMac0(nil, &test.h, nil, []byte("p"), nil, &test.k)
		if !errors.Is(err, test.want) {
			t.Errorf("Mac0, %s: %v, want %v", name, err, test.want)
		}
		if err != nil {
			continue
		}
		m, err := ParseMac0(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(&test.k, nil); err != nil {
			t.Errorf("Mac0, %s: %v", name, err)
		}
		if len(m.Tag) != m.Protected.Alg.TagSize() {
			t.Errorf("Mac0, %s: a tag of %d bytes", name, len(m.Tag))
		}
		for _, tag := range [][]byte{nil, m.Tag[:len(m.Tag)-1], m.Tag[:4], append(clone(m.Tag), 0)} {
			short := *m
			short.Tag = tag
			if err := short.Verify(&test.k, nil); !errors.Is(err, ErrVerification) {
				t.Errorf("Mac0, %s: a tag of %d bytes: %v", name, len(tag), err)
			}
		}
	}
}

// locked is a token that wants a PIN first.
type locked struct{}

var errLocked = errors.New("locked")

func (locked) Algorithm() Algorithm        { return ES256 }
func (locked) Sign([]byte) ([]byte, error) { return nil, errLocked }

// TestMessageIsNotMade: what the other side would refuse is not signed.
func TestMessageIsNotMade(t *testing.T) {
	_, signer := generate(t, ES256)
	mac := Key{Type: Symmetric, Alg: HMAC256, K: make([]byte, 32)}
	secret := Key{Type: Symmetric, Alg: A128GCM, K: make([]byte, 16)}
	iv := make([]byte, 12)
	for name, test := range map[string]struct{ p, u Headers }{
		"another algorithm":        {Headers{Alg: EdDSA}, Headers{IV: iv}},
		"algorithm in both":        {Headers{}, Headers{Alg: ES256, IV: iv}},
		"kid in both":              {Headers{KID: iv}, Headers{KID: iv, IV: iv}},
		"crit not protected":       {Headers{}, Headers{Crit: []int64{5}, IV: iv}},
		"crit of what is not here": {Headers{Crit: []int64{15}}, Headers{IV: iv}},
		"IV and Partial IV":        {Headers{PartialIV: iv}, Headers{IV: iv}},
		"protected malformed":      {Headers{ContentType: "words"}, Headers{IV: iv}},
		"unprotected malformed":    {Headers{}, Headers{ContentType: "words", IV: iv}},
	} {
		if b, err := AppendSign1(nil, &test.p, &test.u, nil, nil, signer); err == nil {
			t.Errorf("Sign1, %s: %x", name, b)
		}
		if b, err := AppendMac0(nil, &test.p, &test.u, nil, nil, &mac); err == nil {
			t.Errorf("Mac0, %s: %x", name, b)
		}
		if b, err := AppendEncrypt0(nil, &test.p, &test.u, nil, nil, &secret); err == nil {
			t.Errorf("Encrypt0, %s: %x", name, b)
		}
	}
	// What is critical to who makes a message needs no declaration.
	p := Headers{Crit: []int64{15}, Other: []Param{{[]byte{15}, []byte{0xa0}}}}
	b, err := AppendSign1([]byte("head"), &p, nil, nil, nil, signer)
	if err != nil {
		t.Fatal(err)
	}
	if p.Alg != 0 {
		t.Error("the caller's headers were changed")
	}
	if _, err := ParseSign1(b[4:]); !errors.Is(err, ErrCritical) {
		t.Errorf("critical to us: %v", err)
	}
	if _, err := ParseSign1(b[4:], 15); err != nil {
		t.Error(err)
	}
	if _, err := AppendSign1(nil, nil, nil, nil, nil, locked{}); !errors.Is(err, errLocked) {
		t.Errorf("a token that fails: %v", err)
	}
}

func TestEncrypt0(t *testing.T) {
	key := func(n int) Key { return Key{Type: Symmetric, K: make([]byte, n)} }
	based := key(16)
	based.BaseIV = bytes.Repeat([]byte{0xf0}, 13)
	for name, test := range map[string]struct {
		p, u Headers
		k    Key
		want error
	}{
		"IV unprotected":  {Headers{Alg: AESCCM16_64_128}, Headers{IV: make([]byte, 13)}, key(16), nil},
		"IV protected":    {Headers{Alg: AESCCM16_64_128, IV: make([]byte, 13)}, Headers{}, key(16), nil},
		"Partial IV":      {Headers{Alg: AESCCM16_64_128}, Headers{PartialIV: []byte{1}}, based, nil},
		"Partial IV, all": {Headers{Alg: AESCCM16_64_128}, Headers{PartialIV: make([]byte, 13)}, based, nil},
		"Partial IV too long": {
			Headers{Alg: AESCCM16_64_128}, Headers{PartialIV: make([]byte, 14)}, based, ErrHeader,
		},
		"Partial IV, no base": {Headers{Alg: AESCCM16_64_128}, Headers{PartialIV: []byte{1}}, key(16), ErrHeader},
		"base of 12 bytes":    {Headers{Alg: A128GCM, PartialIV: []byte{1}}, Headers{}, based, ErrHeader},
		"both":                {Headers{Alg: AESCCM16_64_128, IV: make([]byte, 13)}, Headers{PartialIV: []byte{1}}, based, ErrHeader},
		"neither":             {Headers{Alg: AESCCM16_64_128}, Headers{}, based, ErrHeader},
		"IV empty":            {Headers{Alg: AESCCM16_64_128, IV: []byte{}}, Headers{}, key(16), ErrHeader},
		"IV of 12 bytes":      {Headers{Alg: AESCCM16_64_128, IV: make([]byte, 12)}, Headers{}, key(16), ErrHeader},
		"IV of 14 bytes":      {Headers{Alg: AESCCM16_64_128, IV: make([]byte, 14)}, Headers{}, key(16), ErrHeader},
		"IV of 13 for GCM":    {Headers{Alg: A256GCM, IV: make([]byte, 13)}, Headers{}, key(32), ErrHeader},
		"a key of 32 for 16":  {Headers{Alg: AESCCM16_64_128, IV: make([]byte, 13)}, Headers{}, key(32), ErrKey},
		"a key of 16 for 32":  {Headers{Alg: ChaCha20Poly1305, IV: make([]byte, 12)}, Headers{}, key(16), ErrKey},
		"no key":              {Headers{Alg: A128GCM, IV: make([]byte, 12)}, Headers{}, Key{}, ErrKey},
		"for another":         {Headers{Alg: A128GCM, IV: make([]byte, 12)}, Headers{}, Key{Type: Symmetric, Alg: AESCCM16_64_128, K: make([]byte, 16)}, ErrKey},
		"other key_ops":       {Headers{Alg: A128GCM, IV: make([]byte, 12)}, Headers{}, Key{Type: Symmetric, Ops: OpDecrypt, K: make([]byte, 16)}, ErrKey},
		"one for MACs":        {Headers{Alg: HMAC256, IV: make([]byte, 12)}, Headers{}, key(32), ErrAlgorithm},
		"none":                {Headers{IV: make([]byte, 12)}, Headers{}, key(16), ErrAlgorithm},
		"not protected":       {Headers{}, Headers{Alg: A128GCM, IV: make([]byte, 12)}, key(16), ErrAlgorithm},
	} {
		b, err := AppendEncrypt0(nil, &test.p, &test.u, []byte("plaintext"), []byte("aad"), &test.k)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if err != nil {
			continue
		}
		m, err := ParseEncrypt0(b)
		if err != nil {
			t.Fatal(err)
		}
		// In place of the ciphertext.
		if got, err := m.Decrypt(m.Ciphertext[:0], &test.k, []byte("aad")); err != nil || string(got) != "plaintext" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, n := range []int{1<<16 - 1, 1 << 16} {
		h := Headers{Alg: AESCCM16_64_128, IV: make([]byte, 13)}
		k := key(16)
		if _, err := AppendEncrypt0(nil, &h, nil, make([]byte, n), nil, &k); (err == nil) != (n < 1<<16) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func BenchmarkSign1(b *testing.B) {
	for _, a := range []Algorithm{ES256, EdDSA} {
		k, signer := generate(b, a)
		public := k.Public()
		payload := make([]byte, 64)
		message, err := AppendSign1(nil, nil, nil, payload, nil, signer)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(a.String()+"/sign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := AppendSign1(nil, nil, nil, payload, nil, signer); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(a.String()+"/verify", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := ParseSign1(message)
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Verify(&public, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseSign1(b *testing.B) {
	_, signer := generate(b, EdDSA)
	message, err := AppendSign1(nil, nil, &Headers{KID: []byte{7}}, make([]byte, 64), nil, signer)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if _, err := ParseSign1(message); err != nil {
			b.Fatal(err)
		}
	}
}
