// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"crypto/hmac"
)

// A Mac0 is a COSE_Mac0: a payload and a tag made with a key that both sides have
// (RFC 9052 section 6.2). The zero value is an empty message, tagged.
type Mac0 struct {
	Protected, Unprotected Headers

	Payload  []byte // as in [Sign1]
	Detached bool

	Untagged bool // the CBOR tag 17 is left out
	Tag      []byte

	raw []byte
}

// ParseMac0 is [ParseSign1] of a COSE_Mac0.
func ParseMac0(b []byte, understood ...int64) (*Mac0, error) {
	m, err := parse(b, tagMac0, 4, understood)
	if err != nil {
		return nil, err
	}
	return &Mac0{m.protected, m.unprotected, m.content, m.detached, m.untagged, m.last, m.raw}, nil
}

// Verify checks the tag with a Symmetric key. External is data that was
// authenticated with the message but is not in it. An error is [ErrVerification],
// [ErrAlgorithm], [ErrKey] or [ErrDetached].
func (m *Mac0) Verify(k *Key, external []byte) error {
	if m.Detached && m.Payload == nil {
		return ErrDetached
	}
	a, err := algorithm(&m.Protected, &m.Unprotected, k)
	if err != nil {
		return err
	}
	want, err := k.mac(a, OpMACVerify, AppendMACStructure(nil, m.raw, external, m.Payload))
	if err != nil {
		return err
	}
	if !hmac.Equal(want, m.Tag) {
		return ErrVerification
	}
	return nil
}

// Authenticate makes the tag. It is by Protected.Alg or, if that is zero, by the
// key's Alg, and sets Protected.Alg and Tag.
func (m *Mac0) Authenticate(k *Key, external []byte) error {
	a, err := algorithm(&m.Protected, &m.Unprotected, k)
	if err != nil {
		return err
	}
	raw, err := encodeBuckets(&m.Protected, &m.Unprotected, a)
	if err != nil {
		return err
	}
	tag, err := k.mac(a, OpMACCreate, AppendMACStructure(nil, raw, external, m.Payload))
	if err != nil {
		return err
	}
	m.raw, m.Tag = raw, tag
	return nil
}

// Append appends the message, as it was parsed or authenticated.
func (m *Mac0) Append(dst []byte) ([]byte, error) {
	x := message{m.Protected, m.Unprotected, m.raw, m.Payload, m.Detached, m.Untagged, m.Tag}
	return x.append(dst, tagMac0, 4)
}

// AppendMac0 authenticates a payload and appends the message, tagged and with its
// payload. Either bucket may be nil; Alg is the key's unless protected has one.
func AppendMac0(dst []byte, protected, unprotected *Headers, payload, external []byte, k *Key) ([]byte, error) {
	m := Mac0{Protected: orNone(protected), Unprotected: orNone(unprotected), Payload: payload}
	if err := m.Authenticate(k, external); err != nil {
		return nil, err
	}
	return m.Append(dst)
}

// mac is the tag of a message. A key shorter than the hash is refused: it would
// be weaker than the algorithm's name says.
func (k *Key) mac(a Algorithm, op KeyOps, message []byte) ([]byte, error) {
	i := a.info()
	if i.mode != mac {
		return nil, ErrAlgorithm
	}
	if err := k.secret(a, op); err != nil {
		return nil, err
	}
	if len(k.K) < i.key {
		return nil, badKey("shorter than the hash")
	}
	h := hmac.New(a.newHash, k.K)
	h.Write(message)
	return h.Sum(nil)[:i.tag], nil
}
