// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"crypto/ecdh"
	"errors"
	"slices"
	"strconv"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// A Method says how each side proves who it is (RFC 9528 section 3.2).
type Method uint8

// The methods: I is the Initiator, R the Responder.
const (
	SignSign Method = iota // both sign
	SignDH                 // I signs, R has a static Diffie-Hellman key
	DHSign                 // I has a static Diffie-Hellman key, R signs
	DHDH                   // both have static Diffie-Hellman keys: the smallest messages
)

func (m Method) valid() bool { return m <= DHDH }

// signs reports whether a side proves itself by a signature.
func (m Method) signs(initiator bool) bool {
	if initiator {
		return m == SignSign || m == SignDH
	}
	return m == SignSign || m == DHSign
}

// A Suite is a number of IANA's registry "EDHOC Cipher Suites".
type Suite int32

// Suites is every suite that this package has, in the order of their numbers.
// Suites 2 and 3 are those that every implementation has.
func Suites() []Suite {
	s := make([]Suite, len(suites))
	for i := range suites {
		s[i] = suites[i].number
	}
	return s
}

// A suite is a row of the registry (RFC 9528 section 10.2).
type suite struct {
	number  Suite
	aead    cose.Algorithm
	hash    cose.Algorithm
	mac     int // bytes of a MAC of static Diffie-Hellman
	curve   cose.Curve
	sign    cose.Algorithm
	appAEAD cose.Algorithm
	appHash cose.Algorithm
}

var suites = [...]suite{
	{0, cose.AESCCM16_64_128, cose.SHA256, 8, cose.X25519, cose.EdDSA, cose.AESCCM16_64_128, cose.SHA256},
	{1, cose.AESCCM16_128_128, cose.SHA256, 16, cose.X25519, cose.EdDSA, cose.AESCCM16_64_128, cose.SHA256},
	{2, cose.AESCCM16_64_128, cose.SHA256, 8, cose.P256, cose.ES256, cose.AESCCM16_64_128, cose.SHA256},
	{3, cose.AESCCM16_128_128, cose.SHA256, 16, cose.P256, cose.ES256, cose.AESCCM16_64_128, cose.SHA256},
	{4, cose.ChaCha20Poly1305, cose.SHA256, 16, cose.X25519, cose.EdDSA, cose.ChaCha20Poly1305, cose.SHA256},
	{5, cose.ChaCha20Poly1305, cose.SHA256, 16, cose.P256, cose.ES256, cose.ChaCha20Poly1305, cose.SHA256},
	{6, cose.A128GCM, cose.SHA256, 16, cose.X25519, cose.ES256, cose.A128GCM, cose.SHA256},
	{24, cose.A256GCM, cose.SHA384, 16, cose.P384, cose.ES384, cose.A256GCM, cose.SHA384},
	{25, cose.ChaCha20Poly1305, shake256, 16, cose.X448, cose.EdDSA, cose.ChaCha20Poly1305, shake256},
}

// shake256 is the number of SHAKE256 in the registry of algorithms.
const shake256 cose.Algorithm = -45

func (s Suite) row() *suite {
	for i := range suites {
		if suites[i].number == s {
			return &suites[i]
		}
	}
	return nil
}

// String is the suite's number.
func (s Suite) String() string { return "suite " + strconv.Itoa(int(s)) }

// AEAD is the algorithm that protects application data, zero for an unknown
// suite.
func (s Suite) AEAD() cose.Algorithm {
	if r := s.row(); r != nil {
		return r.appAEAD
	}
	return 0
}

// Hash is the hash function for application data, zero for an unknown suite.
func (s Suite) Hash() cose.Algorithm {
	if r := s.row(); r != nil {
		return r.appHash
	}
	return 0
}

// ecdh is the curve as the standard library has it.
func (s *suite) ecdh() ecdh.Curve {
	switch s.curve {
	case cose.X25519:
		return ecdh.X25519()
	case cose.P256:
		return ecdh.P256()
	case cose.P384:
		return ecdh.P384()
	}
	return nil
}

// point is how many bytes G_X and G_Y have: the x-coordinate alone (RFC 9528
// section 3.7).
func (s *suite) point() int {
	switch s.curve {
	case cose.P384:
		return 48
	case cose.X448:
		return 56
	}
	return 32
}

// signCurve is the curve of the keys that sign in this suite.
func (s *suite) signCurve() cose.Curve {
	switch s.sign {
	case cose.ES256:
		return cose.P256
	case cose.ES384:
		return cose.P384
	}
	if s.curve == cose.X448 {
		return cose.CurveEd448 // what shares no algorithm with the others
	}
	return cose.CurveEd25519
}

// signature is how many bytes a signature has.
func (s *suite) signature() int {
	switch s.signCurve() {
	case cose.P384:
		return 96
	case cose.CurveEd448:
		return 114
	}
	return 64
}

// signsWith reports whether a signer's algorithm is the suite's. RFC 9864 has
// newer numbers for two of them, which say the curve too.
func (s *suite) signsWith(a cose.Algorithm) bool {
	switch a {
	case cose.ESP256:
		a = cose.ES256
	case cose.ESP384:
		a = cose.ES384
	case cose.Ed25519:
		a = cose.EdDSA
	}
	return a == s.sign
}

// maxSuites is how many suites SUITES_I and SUITES_R may name. The registry has
// nine, and four numbers for private use.
const maxSuites = 16

var (
	errOneSuite   = errors.New("an array of suites has two at least")
	errManySuites = errors.New("too many suites")
	errSuiteTwice = errors.New("suite named twice")
)

// readSuites reads suites = [ 2* int ] / int (RFC 9528 section 5.2.1).
func readSuites(r *cbor.Reader, into []Suite) []Suite {
	n := 1
	if r.Next() == cbor.Array {
		if n = r.Array(); n < 2 {
			r.Fail(errOneSuite)
		} else if n > maxSuites {
			r.Fail(errManySuites)
		}
	}
	for ; n > 0 && r.Err() == nil; n-- {
		s := r.Int()
		if s < -65536 || s > 65535 { // RFC 9528 section 10.2
			r.Fail(cbor.ErrRange)
		} else if slices.Contains(into, Suite(s)) {
			r.Fail(errSuiteTwice)
		} else {
			into = append(into, Suite(s))
		}
	}
	return into
}

// appendSuites writes one suite as an integer, more as an array.
func appendSuites(dst []byte, list []Suite) []byte {
	if len(list) > 1 {
		dst = cbor.AppendArray(dst, len(list))
	}
	for _, s := range list {
		dst = cbor.AppendInt(dst, int64(s))
	}
	return dst
}
