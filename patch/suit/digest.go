// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"io"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// The digests of draft-ietf-suit-manifest that link/cose has no name for.
const (
	SHAKE128 cose.Algorithm = -18 // 32 bytes
	SHAKE256 cose.Algorithm = -45 // 64 bytes
)

// A Digest is a SUIT_Digest (section 10). The zero value is none.
type Digest struct {
	Alg   cose.Algorithm // cose.SHA256, SHA384, SHA512, or one of this package
	Bytes []byte
}

// shake is an extendable-output function cut to a length, as RFC 9054 says.
type shake struct {
	*sha3.SHAKE
	size int
}

func (s shake) Size() int { return s.size }

func (s shake) Sum(b []byte) []byte {
	x := *s.SHAKE // Read would end the writing
	out := make([]byte, s.size)
	x.Read(out)
	return append(b, out...)
}

// newHash is the function of a digest, or nil if there is none.
func newHash(a cose.Algorithm) hash.Hash {
	switch a {
	case cose.SHA256:
		return sha256.New()
	case cose.SHA384:
		return sha512.New384()
	case cose.SHA512:
		return sha512.New()
	case SHAKE128:
		return shake{sha3.NewSHAKE128(), 32}
	case SHAKE256:
		return shake{sha3.NewSHAKE256(), 64}
	}
	return nil
}

// Sum returns the SHA-256 digest of b, the one that every recipient knows.
func Sum(b []byte) Digest {
	h := sha256.Sum256(b)
	return Digest{cose.SHA256, h[:]}
}

// wrapped returns the digest of b within a byte string, its head included, which is
// how manifests and severable members are hashed (sections 8.3 and 8.4.12).
func (d Digest) wrapped(b []byte) Digest {
	h := newHash(d.Alg)
	h.Write(cbor.AppendBytesHead(make([]byte, 0, 9), len(b)))
	h.Write(b)
	return Digest{d.Alg, h.Sum(nil)}
}

// Equal reports whether two digests are the same, in time that does not depend on
// where they differ.
func (d Digest) Equal(other Digest) bool {
	return d.Alg == other.Alg && subtle.ConstantTimeCompare(d.Bytes, other.Bytes) == 1
}

// String is the algorithm's name and the digest in hexadecimal.
func (d Digest) String() string {
	name := d.Alg.String()
	switch d.Alg {
	case SHAKE128:
		name = "SHAKE128"
	case SHAKE256:
		name = "SHAKE256"
	}
	return name + ":" + hex.EncodeToString(d.Bytes)
}

func (d Digest) append(dst []byte) []byte {
	return cbor.AppendBytes(cbor.AppendInt(cbor.AppendArray(dst, 2), int64(d.Alg)), d.Bytes)
}

// digest reads a SUIT_Digest.
func (r *reader) digest() (Digest, error) {
	at := r.Off()
	if n := r.Array(); n != 2 {
		return Digest{}, r.bad(at, ErrStructure, "a digest is an algorithm and its bytes")
	}
	a := r.Int()
	h := newHash(cose.Algorithm(a))
	if h == nil || a != int64(cose.Algorithm(a)) {
		return Digest{}, r.bad(at, ErrUnsupported, "digest algorithm")
	}
	d := Digest{cose.Algorithm(a), r.Bytes()}
	if r.Err() != nil || len(d.Bytes) != h.Size() {
		return Digest{}, r.bad(at, ErrStructure, "a digest of another length than its algorithm's")
	}
	return d, nil
}

// SumReader returns the digest of what r has, and how many bytes that is. It is
// [ErrUnsupported] for an algorithm that makes no SUIT_Digest.
func SumReader(a cose.Algorithm, r io.Reader) (Digest, int64, error) {
	h := newHash(a)
	if h == nil {
		return Digest{}, 0, ErrUnsupported
	}
	n, err := io.Copy(h, r)
	return Digest{a, h.Sum(nil)}, n, err
}
