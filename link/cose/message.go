// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"errors"

	"github.com/myelin-health/myelin/internal/cbor"
)

// Tags of the messages (RFC 9052 table 1).
const (
	tagEncrypt0 = 16
	tagMac0     = 17
	tagSign1    = 18
)

var (
	// ErrMessage is returned for what is in the profile of CBOR but not the message
	// that was asked for.
	ErrMessage = errors.New("cose: not this kind of message")

	// ErrDetached is returned when a message is looked at whose payload was sent
	// apart from it, and was not put into it.
	ErrDetached = errors.New("cose: the payload is detached")
)

// AppendSigStructure appends what a COSE_Sign1 signs (RFC 9052 section 4.4).
// Protected is the content of the protected bucket's byte string.
func AppendSigStructure(dst, protected, external, payload []byte) []byte {
	return cbor.AppendBytes(appendStructure(dst, 4, "Signature1", protected, external), payload)
}

// AppendMACStructure appends what a COSE_Mac0 authenticates (RFC 9052 section 6.3).
func AppendMACStructure(dst, protected, external, payload []byte) []byte {
	return cbor.AppendBytes(appendStructure(dst, 4, "MAC0", protected, external), payload)
}

// AppendEncStructure appends the associated data of a COSE_Encrypt0 (RFC 9052
// section 5.3). It allocates nothing when dst has room.
func AppendEncStructure(dst, protected, external []byte) []byte {
	return appendStructure(dst, 3, "Encrypt0", protected, external)
}

func appendStructure(dst []byte, n int, context string, protected, external []byte) []byte {
	if len(protected) == 1 && protected[0] == 0xa0 {
		protected = nil // RFC 9052 section 4.4: a map without parameters counts as none
	}
	dst = cbor.AppendText(cbor.AppendArray(dst, n), context)
	return cbor.AppendBytes(cbor.AppendBytes(dst, protected), external)
}

// A message is what the three kinds begin with.
type message struct {
	protected, unprotected Headers
	raw                    []byte // the content of the protected bucket's byte string
	content                []byte // payload or ciphertext
	detached, untagged     bool
	last                   []byte // signature or tag
}

// parse reads a message of 3 or 4 items.
func parse(b []byte, tag uint64, items int, understood []int64) (m message, err error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return m, err
	}
	if m.untagged = r.Next() != cbor.Tag; !m.untagged && r.Tag() != tag {
		return m, ErrMessage
	}
	if r.Next() != cbor.Array || r.Array() != items {
		return m, ErrMessage
	}
	m.raw = r.Bytes()
	unprotected := r.Raw()
	if m.detached = r.Null(); !m.detached {
		m.content = r.Bytes()
	}
	if items == 4 {
		m.last = r.Bytes()
	}
	if err := r.Done(); err != nil {
		return m, err
	}
	m.protected, m.unprotected, err = buckets(m.raw, unprotected, understood)
	return m, err
}

// append is what parse reads. The protected bucket goes out as it came in.
func (m *message) append(dst []byte, tag uint64, items int) ([]byte, error) {
	if !m.untagged {
		dst = cbor.AppendTag(dst, tag)
	}
	dst = cbor.AppendBytes(cbor.AppendArray(dst, items), m.raw)
	dst, err := m.unprotected.Append(dst)
	if err != nil {
		return nil, err
	}
	if m.detached {
		dst = cbor.AppendNull(dst)
	} else {
		dst = cbor.AppendBytes(dst, m.content)
	}
	if items == 4 {
		dst = cbor.AppendBytes(dst, m.last)
	}
	return dst, nil
}

// encodeBuckets encodes the protected bucket of a new message, which is by
// algorithm a, and checks it against the unprotected one.
func encodeBuckets(p, u *Headers, a Algorithm) ([]byte, error) {
	switch p.Alg {
	case 0:
		p.Alg = a
	case a:
	default:
		return nil, ErrAlgorithm
	}
	protected, err := p.Append(nil)
	if err != nil {
		return nil, err
	}
	unprotected, err := u.Append(nil)
	if err != nil {
		return nil, err
	}
	_, _, err = buckets(protected, unprotected, p.Crit) // who makes a message understands it
	return protected, err
}

// algorithm is by what a message was made: what its protected bucket says or, if
// that says nothing, what the key says. The unprotected one may repeat the key's,
// and is not believed: anybody could have written it.
func algorithm(p, u *Headers, k *Key) (Algorithm, error) {
	a := p.Alg
	if a == 0 {
		a = k.Alg
	}
	if a == 0 || u.Alg != 0 && u.Alg != a {
		return 0, ErrAlgorithm
	}
	return a, nil
}

// secret is [ErrKey] unless the key is symmetric, and for an algorithm and one of
// ops.
func (k *Key) secret(a Algorithm, ops KeyOps) error {
	switch {
	case k.Type != Symmetric:
		return badKey("not symmetric")
	case k.Alg != 0 && k.Alg != a:
		return badKey("for another algorithm")
	}
	return k.allow(ops)
}

func orNone(h *Headers) Headers {
	if h == nil {
		return Headers{}
	}
	return *h
}
