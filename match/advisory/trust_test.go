// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A publisher has a key that lives for a day of 2026.
type publisher struct{ key *openpgp.Entity }

var signed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newPublisher(t testing.TB) publisher {
	t.Helper()
	key, err := openpgp.NewEntity("Pump Maker", "", "psirt@maker.example", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 86400, Time: func() time.Time { return signed.Add(-time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return publisher{key}
}

func (p publisher) sign(t testing.TB, doc []byte, armored bool) []byte {
	t.Helper()
	var b bytes.Buffer
	sign := openpgp.DetachSign
	if armored {
		sign = openpgp.ArmoredDetachSign
	}
	if err := sign(&b, p.key, bytes.NewReader(doc), &packet.Config{Time: func() time.Time { return signed }}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (p publisher) ring(t testing.TB, armored bool) *Keyring {
	t.Helper()
	var b bytes.Buffer
	if armored {
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.key.Serialize(w); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	} else if err := p.key.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	k := &Keyring{Now: func() time.Time { return signed.Add(time.Hour) }}
	if err := k.Add(&b); err != nil || k.Len() != 1 {
		t.Fatalf("%d keys, %v", k.Len(), err)
	}
	return k
}

func TestVerify(t *testing.T) {
	doc := sample(t)
	p := newPublisher(t)
	sig, ring := p.sign(t, doc, true), p.ring(t, true)
	sum256, sum512 := fmt.Appendf(nil, "%x  pm-2026-01.json\n", sha256.Sum256(doc)), fmt.Appendf(nil, "%X", sha512.Sum512(doc))
	late := p.ring(t, false)
	late.Now = func() time.Time { return signed.Add(48 * time.Hour) }
	touched := bytes.Replace(doc, []byte("2.1.5"), []byte("2.1.6"), 1)
	finger := fmt.Sprintf("%X", p.key.PrimaryKey.Fingerprint)
	for _, c := range []struct {
		name                     string
		doc, sig, sum256, sum512 []byte
		keys                     *Keyring
		want                     Trust
	}{
		{"all good", doc, sig, sum256, sum512, ring, Trust{Good, finger, Good, Good}},
		{"a binary signature", doc, p.sign(t, doc, false), nil, nil, ring, Trust{Signature: Good, Signer: finger}},
		{"nothing beside it", doc, nil, nil, nil, ring, Trust{}},
		{"another document", touched, sig, sum256, sum512, ring, Trust{Signature: Bad, SHA256: Bad, SHA512: Bad}},
		{"no keys", doc, sig, nil, nil, nil, Trust{Signature: UnknownKey}},
		{"another's key", doc, sig, nil, nil, newPublisher(t).ring(t, false), Trust{Signature: UnknownKey}},
		{"a day later", doc, sig, nil, nil, late, Trust{Signature: Expired, Signer: finger}},
		{"a day later, another document", touched, sig, nil, nil, late, Trust{Signature: Bad}},
		{"no signature", doc, []byte("hello"), []byte("hello"), []byte{}, ring, Trust{Signature: Bad, SHA256: Bad, SHA512: Bad}},
		{"empty files", doc, []byte{}, []byte{}, []byte{}, ring, Trust{Signature: UnknownKey, SHA256: Bad, SHA512: Bad}},
		{"a key for a signature", doc, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n=aaaa\n-----END PGP PUBLIC KEY BLOCK-----\n"), nil, nil, ring, Trust{Signature: Bad}},
		{"a short hash", doc, nil, sum256[:32], sum512[:64], ring, Trust{SHA256: Bad, SHA512: Bad}},
		{"the other hash", doc, nil, sum512, sum256, ring, Trust{SHA256: Bad, SHA512: Bad}},
		{"a signature without end", doc, append(bytes.Clone(sig), bytes.Repeat([]byte{'\n'}, maxSignature)...), nil, nil, ring, Trust{Signature: Bad}},
	} {
		got := Verify(c.doc, c.sig, c.sum256, c.sum512, c.keys)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if got.Damaged() != (c.want.Signature == Bad || c.want.SHA256 == Bad) {
			t.Errorf("%s: damaged %v", c.name, got.Damaged())
		}
	}
	// One bit, in what the signature covers (RFC 4880 §5.2.3: up to the hashed
	// subpackets, and the document) or in its last number.
	raw := p.sign(t, doc, false)
	const fixed = 2 + 6 // packet header; version to the length of the hashed subpackets
	hashed := fixed + (int(raw[6])<<8 | int(raw[7]))
	for i := range raw {
		flipped := bytes.Clone(raw)
		flipped[i] ^= 1
		if covered := i < hashed || i >= len(raw)-32; covered && Verify(doc, flipped, nil, nil, ring).Signature == Good {
			t.Errorf("good with a bit of byte %d of the signature changed", i)
		}
	}
	for i := 0; i < len(doc); i += 97 {
		flipped := bytes.Clone(doc)
		flipped[i] ^= 1
		if got := Verify(flipped, raw, sum256, sum512, ring); got != (Trust{Signature: Bad, SHA256: Bad, SHA512: Bad}) {
			t.Errorf("%+v with a bit of byte %d of the document changed", got, i)
		}
	}
	for _, text := range []string{"", "no key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"} {
		if err := new(Keyring).Add(strings.NewReader(text)); err == nil {
			t.Errorf("%q: read as keys", text)
		}
	}
}

func FuzzVerify(f *testing.F) {
	doc := []byte("{}")
	p := newPublisher(f)
	ring := p.ring(f, false)
	f.Add(p.sign(f, doc, true), []byte("00"))
	f.Add(p.sign(f, doc, false), []byte(""))
	f.Fuzz(func(t *testing.T, sig, sum []byte) {
		if got := Verify(doc, sig, sum, sum, ring); got.SHA256 == Good && got.SHA512 == Good {
			t.Fatal("one hash of two lengths")
		}
	})
}
