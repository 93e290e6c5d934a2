// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"crypto/ecdh"
	"errors"

	"github.com/cloudflare/circl/dh/x448"
	"github.com/cloudflare/circl/sign/ed448"

	"github.com/myelin-health/myelin/link/cose"
)

// A public is a public key for Diffie-Hellman: one of the standard library, or of X448,
// which that does not have.
type public struct {
	key  *ecdh.PublicKey
	x448 *x448.Key
}

// A private agrees with a public key on the same curve.
type private interface {
	agree(with *public) ([]byte, error)
}

var (
	errCurve    = errors.New("public key on another curve")
	errLowOrder = errors.New("public key of low order")
	errLength   = errors.New("key of the wrong length")
)

// standard is a key of the standard library, or of a token behind its interface.
type standard struct{ ecdh.KeyExchanger }

func (s standard) agree(with *public) ([]byte, error) {
	if with.key == nil {
		return nil, errCurve
	}
	return s.ECDH(with.key)
}

type x448Secret x448.Key

func newX448(secret []byte) (k *x448Secret, x []byte, err error) {
	if len(secret) != x448.Size {
		return nil, nil, errLength
	}
	k = (*x448Secret)(secret)
	copied := *k
	var pub x448.Key
	x448.KeyGen(&pub, (*x448.Key)(&copied))
	return &copied, pub[:], nil
}

func (s *x448Secret) agree(with *public) ([]byte, error) {
	if with.x448 == nil {
		return nil, errCurve
	}
	var shared x448.Key
	if !x448.Shared(&shared, (*x448.Key)(s), with.x448) {
		return nil, errLowOrder
	}
	return shared[:], nil
}

// xOf is the x-coordinate of a public key, or all of an X25519 key.
func xOf(k *ecdh.PublicKey) []byte {
	b := k.Bytes()
	if k.Curve() == ecdh.X25519() {
		return b
	}
	return b[1 : 1+len(b)/2]
}

// newPrivate makes a key of a secret, and returns its public part: the x-coordinate.
func (s *suite) newPrivate(secret []byte) (private, []byte, error) {
	if s.curve == cose.X448 {
		return newX448(secret)
	}
	key, err := s.ecdh().NewPrivateKey(secret)
	if err != nil {
		return nil, nil, err
	}
	return standard{key}, xOf(key.PublicKey()), nil
}

// toPoint makes a public key of G_X or G_Y. A coordinate that is not on the curve, or
// not below its prime, is refused; low-order points of X25519 and X448 show when they
// are used (RFC 9528 section 9.2).
func (s *suite) toPoint(x []byte) (*public, error) {
	var key *ecdh.PublicKey
	var err error
	switch s.curve {
	case cose.P256:
		key, err = cose.P256PointFromX(x)
	case cose.P384:
		key, err = cose.P384PointFromX(x)
	case cose.X448:
		if len(x) != x448.Size {
			return nil, errLength
		}
		return &public{x448: (*x448.Key)(append([]byte(nil), x...))}, nil
	default:
		key, err = ecdh.X25519().NewPublicKey(x)
	}
	if err != nil {
		return nil, err
	}
	return &public{key: key}, nil
}

// verifySignature is Key.Verify, and knows Ed448 as well.
func verifySignature(k *cose.Key, a cose.Algorithm, message, sig []byte) error {
	if k.Curve != cose.CurveEd448 {
		return k.Verify(a, message, sig)
	}
	if a != cose.EdDSA || !ed448.Verify(k.X, message, sig, "") {
		return ErrVerification
	}
	return nil
}

type ed448Signer ed448.PrivateKey

// NewEd448Signer returns a signer for suite 25 with the secret of an Ed448 key, which
// is 57 bytes, and its public key.
func NewEd448Signer(secret []byte) (cose.Signer, []byte, error) {
	if len(secret) != ed448.SeedSize {
		return nil, nil, badCredential(errLength)
	}
	k := ed448.NewKeyFromSeed(secret)
	return ed448Signer(k), k[ed448.SeedSize:], nil
}

func (s ed448Signer) Algorithm() cose.Algorithm { return cose.EdDSA }

func (s ed448Signer) Sign(message []byte) ([]byte, error) {
	return ed448.Sign(ed448.PrivateKey(s), message, ""), nil
}
