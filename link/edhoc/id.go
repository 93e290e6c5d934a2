// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// COSE header parameters that identify a credential (RFC 9052 section 3.1, RFC
// 9360 section 2, RFC 9528 section 10.6), and those of C509 certificates.
const (
	labelKID        = 4
	labelKIDContext = 10
	labelKCWT       = 13
	labelKCCS       = 14
	labelC5T        = 22
	labelC5U        = 23
	labelC5B        = 24
	labelC5C        = 25
	labelX5Bag      = 32
	labelX5Chain    = 33
	labelX5T        = 34
	labelX5U        = 35
)

const (
	// MaxChain is how many certificates an x5chain may have: the device's, two
	// authorities, a root.
	MaxChain = 4

	// MaxKID is how many bytes a key identifier may have.
	MaxKID = 32

	tagURI = 32 // RFC 8949 section 3.4.5.3
)

// ErrUnsupportedID is wrapped by the error for a credential identifier of a kind
// that is not supported, which it names: C509 certificates, bags, and what is not
// in the registry.
var ErrUnsupportedID = errors.New("edhoc: kind of credential identifier not supported")

var (
	errWrapped = errors.New("byte string that has to go as an integer")
	errCompact = errors.New("map where the key identifier has to go alone")
	errNoID    = errors.New("nothing in it identifies a credential")
	errChain   = errors.New("chain of too few or too many certificates")
	errKID     = errors.New("key identifier too long")
)

// An ID is an ID_CRED_x: what a party says its credential is. It proves nothing.
// Of its fields those are set that were in it; they alias the message.
type ID struct {
	KID        []byte // may be empty, and not nil
	KIDContext []byte
	X5T        CertHash
	X5U        string
	KCCS       []byte // the claims set itself
	KCWT       []byte // the token itself, as it was sent

	chain [MaxChain][]byte
	certs int
	raw   []byte // the header map
}

// A CertHash is a COSE_CertHash: a hash of a DER certificate.
type CertHash struct {
	Alg  cose.Algorithm
	Hash []byte
}

// X5Chain is the certificates of an x5chain, the party's own first.
func (id *ID) X5Chain() [][]byte { return id.chain[:id.certs:id.certs] }

// Bytes is ID_CRED_x as a CBOR header map, the uncompressed form.
func (id *ID) Bytes() []byte { return id.raw }

// Inline reports whether the credential itself was sent, and is not only referred to.
func (id *ID) Inline() bool { return id.KCCS != nil || id.KCWT != nil || id.certs > 0 }

// matches reports whether a certificate has this hash.
func (h *CertHash) matches(der []byte) bool {
	sum := certHash(h.Alg, der)
	return sum != nil && bytes.Equal(sum, h.Hash)
}

func certHash(a cose.Algorithm, der []byte) []byte {
	switch a {
	case cose.SHA256_64, cose.SHA256:
		s := sha256.Sum256(der)
		if a == cose.SHA256_64 {
			return s[:8]
		}
		return s[:]
	case cose.SHA384:
		s := sha512.Sum384(der)
		return s[:]
	case cose.SHA512:
		s := sha512.Sum512(der)
		return s[:]
	}
	return nil
}

// oneByteInt reports whether b is what the integers -24 to 23 encode as. A byte
// string that is goes as that integer (RFC 9528 section 3.3.2).
func oneByteInt(b []byte) bool { return len(b) == 1 && (b[0] < 0x18 || b[0] >= 0x20 && b[0] < 0x38) }

// appendIdentifier writes a connection or key identifier: bstr / -24..23.
func appendIdentifier(dst, id []byte) []byte {
	if oneByteInt(id) {
		return append(dst, id[0])
	}
	return cbor.AppendBytes(dst, id)
}

// readIdentifier reads a connection or key identifier. The slice aliases the input.
func readIdentifier(r *cbor.Reader) []byte {
	switch r.Next() {
	case cbor.Uint, cbor.NegInt:
		if b := r.Raw(); oneByteInt(b) {
			return b
		}
		r.Fail(cbor.ErrRange)
	default:
		b := r.Bytes()
		if !oneByteInt(b) {
			return b
		}
		r.Fail(errWrapped)
	}
	return nil
}

// readID reads ID_CRED_x as PLAINTEXT_2 and PLAINTEXT_3 have it.
func readID(r *cbor.Reader, id *ID) error {
	*id = ID{}
	if r.Next() == cbor.Map {
		raw := r.Raw()
		if r.Err() != nil {
			return r.Err()
		}
		if err := id.parse(raw); err != nil {
			return err
		}
		if raw[0] == 0xa1 && id.KID != nil {
			return errCompact // RFC 9528 section 3.5.3.2
		}
		return nil
	}
	kid := readIdentifier(r)
	if r.Err() != nil {
		return r.Err()
	}
	if len(kid) > MaxKID {
		return errKID
	}
	id.KID = kid
	id.raw = idKID(kid)
	return nil
}

func idKID(kid []byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(make([]byte, 0, 4+len(kid)), 1), labelKID), kid)
}

// ParseID reads a header map that identifies a credential.
func ParseID(b []byte) (*ID, error) {
	if _, err := cbor.Parse(b); err != nil {
		return nil, err
	}
	id := new(ID)
	if err := id.parse(b); err != nil {
		return nil, err
	}
	return id, nil
}

// parse reads a map whose encoding was checked.
func (id *ID) parse(b []byte) error {
	r, err := cbor.Parse(b)
	if err != nil {
		return err
	}
	id.raw = b
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		if r.Next() != cbor.Uint && r.Next() != cbor.NegInt {
			return fmt.Errorf("%w: a label that is not a number", ErrUnsupportedID)
		}
		switch label := r.Int(); label {
		case labelKID:
			id.KID = r.Bytes()
			if len(id.KID) > MaxKID {
				return errKID
			}
		case labelKIDContext:
			id.KIDContext = r.Bytes()
		case labelKCWT:
			if k := r.Next(); k != cbor.Array && k != cbor.Tag {
				r.Fail(cbor.ErrKind)
			}
			id.KCWT = r.Raw()
		case labelKCCS:
			if r.Next() != cbor.Map {
				r.Fail(cbor.ErrKind)
			}
			id.KCCS = r.Raw()
		case labelX5T:
			if r.Array() != 2 {
				r.Fail(cbor.ErrKind)
			}
			id.X5T = CertHash{cose.Algorithm(r.Int()), r.Bytes()}
		case labelX5U:
			if r.Tag() != tagURI {
				r.Fail(cbor.ErrKind)
			}
			id.X5U = r.Text()
		case labelX5Chain:
			if err := id.readChain(&r); err != nil {
				return err
			}
		case labelC5T, labelC5U, labelC5B, labelC5C:
			return fmt.Errorf("%w: C509 (%s)", ErrUnsupportedID, [...]string{"c5t", "c5u", "c5b", "c5c"}[label-labelC5T])
		case labelX5Bag:
			return fmt.Errorf("%w: x5bag", ErrUnsupportedID)
		default:
			return fmt.Errorf("%w: header parameter %d", ErrUnsupportedID, label)
		}
	}
	if err := r.Done(); err != nil {
		return err
	}
	if id.KID == nil && id.X5T.Hash == nil && id.X5U == "" && !id.Inline() {
		return errNoID
	}
	return nil
}

// readChain reads COSE_X509 = bstr / [ 2*certs: bstr ] (RFC 9360 section 2).
func (id *ID) readChain(r *cbor.Reader) error {
	n := 1
	if r.Next() == cbor.Array {
		if n = r.Array(); n < 2 || n > MaxChain {
			return errChain
		}
	}
	for i := range n {
		id.chain[i] = r.Bytes()
	}
	id.certs = n
	return r.Err()
}
