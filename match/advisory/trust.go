// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A Check is how a signature or a hash came out.
type Check uint8

// The outcomes.
const (
	Unchecked  Check = iota // there was none
	Good                    // it is of this document
	Bad                     // it is not, or cannot be read
	UnknownKey              // signed by a key that is not in the keyring
	Expired                 // it is of this document, by a known key or signature that is no longer valid
)

// String is the outcome in a word or two.
func (c Check) String() string {
	return [...]string{"not there", "good", "bad", "by an unknown key", "expired"}[c]
}

// Trust is what speaks for a document being its publisher's (CSAF 2.0 §7.1.18
// to §7.1.20). Hashes alone tell of damage, not of forgery.
type Trust struct {
	Signature Check
	Signer    string // fingerprint of the key, in hexadecimal, where Signature is Good or Expired
	SHA256    Check
	SHA512    Check
}

// Damaged reports whether anything that lay beside the document speaks against it.
func (t Trust) Damaged() bool { return t.Signature == Bad || t.SHA256 == Bad || t.SHA512 == Bad }

// A Keyring holds the keys of publishers that are believed. The zero Keyring
// knows nobody.
type Keyring struct {
	keys openpgp.EntityList
	Now  func() time.Time // when nil, [time.Now]
}

// Len returns the number of keys.
func (k *Keyring) Len() int { return len(k.keys) }

// Add reads OpenPGP public keys, armored or not. Key files come from the
// operator, not from the publisher of the day.
func (k *Keyring) Add(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxKeyring))
	if err != nil {
		return err
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	if len(keys) == 0 {
		return errors.New("keyring: holds no key")
	}
	k.keys = append(k.keys, keys...)
	return nil
}

// Bounds of what lies beside a document: a signature of the largest key is
// under 20 kB, of a hash file the first word counts.
const (
	maxKeyring   = 16 << 20 // bytes
	maxSignature = 64 << 10 // bytes
	maxHashFile  = 4 << 10  // bytes
)

// Verify holds a document against the files beside it: its signature (.asc,
// armored or not) and its hashes (.sha256, .sha512, as sha256sum writes them).
// What is nil is not there. The document need not have been read before.
func Verify(doc, sig, sum256, sum512 []byte, keys *Keyring) Trust {
	var t Trust
	if sum256 != nil {
		h := sha256.Sum256(doc)
		t.SHA256 = checkHash(sum256, h[:])
	}
	if sum512 != nil {
		h := sha512.Sum512(doc)
		t.SHA512 = checkHash(sum512, h[:])
	}
	if sig != nil {
		t.Signature, t.Signer = keys.check(doc, sig)
	}
	return t
}

func checkHash(file, sum []byte) Check {
	words := bytes.Fields(file[:min(len(file), maxHashFile)])
	if len(words) == 0 {
		return Bad
	}
	if got, err := hex.DecodeString(string(words[0])); err != nil || !bytes.Equal(got, sum) {
		return Bad
	}
	return Good
}

func (k *Keyring) check(doc, sig []byte) (Check, string) {
	if len(sig) > maxSignature {
		return Bad, ""
	}
	var raw io.Reader = bytes.NewReader(sig)
	if bytes.HasPrefix(bytes.TrimSpace(sig), []byte("-----BEGIN")) {
		block, err := armor.Decode(raw)
		if err != nil || block.Type != openpgp.SignatureType {
			return Bad, ""
		}
		raw = block.Body
	}
	var keys openpgp.EntityList
	config := &packet.Config{}
	if k != nil {
		keys, config.Time = k.keys, k.Now
	}
	signer, err := openpgp.CheckDetachedSignature(keys, bytes.NewReader(doc), raw, config)
	switch {
	case err == nil:
		return Good, fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
	case signer != nil && (errors.Is(err, pgperrors.ErrKeyExpired) || errors.Is(err, pgperrors.ErrSignatureExpired)):
		return Expired, fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return UnknownKey, ""
	}
	return Bad, ""
}
