// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"crypto/cipher"
	"crypto/subtle"
)

// An Encrypt0 is a COSE_Encrypt0: a plaintext encrypted with a key that both
// sides have (RFC 9052 section 5.2). The zero value is an empty message, tagged.
type Encrypt0 struct {
	Protected, Unprotected Headers

	// Ciphertext ends with the tag. Of a parsed message that is Detached it is nil:
	// put the ciphertext there before Decrypt.
	Ciphertext []byte
	Detached   bool // the ciphertext goes apart from the message

	Untagged bool // the CBOR tag 16 is left out

	raw []byte
}

// ParseEncrypt0 is [ParseSign1] of a COSE_Encrypt0.
func ParseEncrypt0(b []byte, understood ...int64) (*Encrypt0, error) {
	m, err := parse(b, tagEncrypt0, 3, understood)
	if err != nil {
		return nil, err
	}
	return &Encrypt0{m.protected, m.unprotected, m.content, m.detached, m.untagged, m.raw}, nil
}

// Decrypt appends the plaintext to dst, which may be Ciphertext[:0]. External is
// data that was authenticated with the message but is not in it. An error is
// [ErrVerification], [ErrAlgorithm], [ErrKey], [ErrHeader] for a nonce that is
// missing or of the wrong length, or [ErrDetached].
func (m *Encrypt0) Decrypt(dst []byte, k *Key, external []byte) ([]byte, error) {
	if m.Detached && m.Ciphertext == nil {
		return nil, ErrDetached
	}
	a, err := algorithm(&m.Protected, &m.Unprotected, k)
	if err != nil {
		return nil, err
	}
	aead, nonce, err := m.cipher(k, a, OpDecrypt)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(dst, nonce, m.Ciphertext, AppendEncStructure(nil, m.raw, external))
	if err != nil {
		return nil, ErrVerification
	}
	return plaintext, nil
}

// Encrypt encrypts a plaintext. It is by Protected.Alg or, if that is zero, by the
// key's Alg, and sets Protected.Alg and Ciphertext.
//
// The caller sets IV, or Partial IV when the key has a BaseIV, in either bucket.
// None may be used twice with a key: whoever sees two messages of one nonce reads
// both and can forge more.
func (m *Encrypt0) Encrypt(k *Key, plaintext, external []byte) error {
	a, err := algorithm(&m.Protected, &m.Unprotected, k)
	if err != nil {
		return err
	}
	raw, err := encodeBuckets(&m.Protected, &m.Unprotected, a)
	if err != nil {
		return err
	}
	aead, nonce, err := m.cipher(k, a, OpEncrypt)
	if err != nil {
		return err
	}
	if len(plaintext) > a.maxPlaintext() {
		return badHeader("nonce that leaves no room for so long a plaintext")
	}
	m.raw, m.Ciphertext = raw, aead.Seal(nil, nonce, plaintext, AppendEncStructure(nil, raw, external))
	return nil
}

// cipher returns the AEAD of a key, and the nonce of the message.
func (m *Encrypt0) cipher(k *Key, a Algorithm, op KeyOps) (cipher.AEAD, []byte, error) {
	if !a.AEAD() {
		return nil, nil, ErrAlgorithm
	}
	if err := k.secret(a, op); err != nil {
		return nil, nil, err
	}
	nonce := m.Protected.IV
	if nonce == nil {
		nonce = m.Unprotected.IV
	}
	partial := m.Protected.PartialIV
	if partial == nil {
		partial = m.Unprotected.PartialIV
	}
	size := a.NonceSize()
	if nonce == nil && partial != nil {
		// RFC 9052 section 3.1: with zeros in front, by exclusive or with the key's.
		if len(partial) > size || len(k.BaseIV) != size {
			return nil, nil, badHeader("Partial IV too long, or the key has no IV to add it to")
		}
		nonce = clone(k.BaseIV)
		tail := nonce[size-len(partial):]
		subtle.XORBytes(tail, tail, partial)
	}
	if len(nonce) != size {
		return nil, nil, badHeader("no nonce, or one of the wrong length")
	}
	aead, err := NewAEAD(a, k.K)
	return aead, nonce, err
}

// Append appends the message, as it was parsed or encrypted.
func (m *Encrypt0) Append(dst []byte) ([]byte, error) {
	x := message{m.Protected, m.Unprotected, m.raw, m.Ciphertext, m.Detached, m.Untagged, nil}
	return x.append(dst, tagEncrypt0, 3)
}

// AppendEncrypt0 encrypts a plaintext and appends the message, tagged and with its
// ciphertext. Either bucket may be nil; Alg is the key's unless protected has one.
// See [Encrypt0.Encrypt] for the nonce.
func AppendEncrypt0(dst []byte, protected, unprotected *Headers, plaintext, external []byte, k *Key) ([]byte, error) {
	m := Encrypt0{Protected: orNone(protected), Unprotected: orNone(unprotected)}
	if err := m.Encrypt(k, plaintext, external); err != nil {
		return nil, err
	}
	return m.Append(dst)
}
