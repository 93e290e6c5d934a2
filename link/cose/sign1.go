// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

// A Sign1 is a COSE_Sign1: a payload and one signature (RFC 9052 section 4.2).
// The zero value is an empty message, tagged.
type Sign1 struct {
	Protected, Unprotected Headers

	// Payload is what is signed. Of a parsed message that is Detached it is nil:
	// put the payload there before Verify. Nothing of it is to be believed before.
	Payload  []byte
	Detached bool // the payload goes apart from the message

	Untagged  bool // the tag 18 is left out
	Signature []byte

	raw []byte // the protected bucket as it was signed
}

// ParseSign1 reads b, a COSE_Sign1 and nothing else, tagged or not. It aliases b,
// and verifies nothing. Understood are labels that the caller takes care of, should
// they be critical. An error is [ErrMessage], [ErrHeader], [ErrCritical],
// [ErrAlgorithm] or a [cbor.SyntaxError].
func ParseSign1(b []byte, understood ...int64) (*Sign1, error) {
	m, err := parse(b, tagSign1, 4, understood)
	if err != nil {
		return nil, err
	}
	return &Sign1{m.protected, m.unprotected, m.content, m.detached, m.untagged, m.last, m.raw}, nil
}

// Verify checks the signature with a public key. External is data that was signed
// with the message but is not in it. An error is [ErrVerification],
// [ErrAlgorithm], [ErrKey] or [ErrDetached].
func (m *Sign1) Verify(k *Key, external []byte) error {
	if m.Detached && m.Payload == nil {
		return ErrDetached
	}
	a, err := algorithm(&m.Protected, &m.Unprotected, k)
	if err != nil {
		return err
	}
	return k.Verify(a, AppendSigStructure(nil, m.raw, external, m.Payload), m.Signature)
}

// Sign signs the message. It sets Protected.Alg, which if it is set already must
// be the signer's, and Signature.
func (m *Sign1) Sign(s Signer, external []byte) error {
	raw, err := encodeBuckets(&m.Protected, &m.Unprotected, s.Algorithm())
	if err != nil {
		return err
	}
	sig, err := s.Sign(AppendSigStructure(nil, raw, external, m.Payload))
	if err != nil {
		return err
	}
	m.raw, m.Signature = raw, sig
	return nil
}

// Append appends the message, as it was parsed or signed: what was changed in
// Protected since then is not seen.
func (m *Sign1) Append(dst []byte) ([]byte, error) {
	x := message{m.Protected, m.Unprotected, m.raw, m.Payload, m.Detached, m.Untagged, m.Signature}
	return x.append(dst, tagSign1, 4)
}

// AppendSign1 signs a payload and appends the message, tagged and with its payload.
// Either bucket may be nil; Alg is filled in. For other forms see [Sign1.Sign].
func AppendSign1(dst []byte, protected, unprotected *Headers, payload, external []byte, s Signer) ([]byte, error) {
	m := Sign1{Protected: orNone(protected), Unprotected: orNone(unprotected), Payload: payload}
	if err := m.Sign(s, external); err != nil {
		return nil, err
	}
	return m.Append(dst)
}
