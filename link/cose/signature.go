// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A Signer signs with one private key. That key may be here ([NewSigner]), or in
// a PKCS#11 token or a TPM ([NewCryptoSigner]). Goroutines may share the former, and
// the latter if they may share what it was made of.
type Signer interface {
	// Sign returns the signature of message, as COSE writes it. Message is not
	// hashed yet.
	Sign(message []byte) ([]byte, error)

	// Algorithm is how Sign signs. It does not change.
	Algorithm() Algorithm
}

// curve is the only curve an algorithm is used with here. RFC 9053 lets ES256 be
// used with any; RFC 9864 withdrew that.
func (a Algorithm) curve() Curve {
	switch a {
	case ES256, ESP256:
		return P256
	case ES384, ESP384:
		return P384
	case ES512, ESP512:
		return P521
	case EdDSA, Ed25519:
		return CurveEd25519
	}
	return 0
}

// fits is [ErrKey] unless a key is for an algorithm to sign with; [ErrAlgorithm]
// when there is no such algorithm.
func (k *Key) fits(a Algorithm, op KeyOps) error {
	switch {
	case a.info().mode != signature:
		return ErrAlgorithm
	case k.Curve != a.curve() || k.Type != k.Curve.keyType():
		return badKey("another curve than the algorithm's")
	case k.Alg != 0 && k.Alg != a:
		return badKey("for another algorithm")
	}
	return k.allow(op)
}

// Verify checks a signature of message. It is [ErrVerification] for one that is
// not the key's, [ErrKey] when the key is not for the algorithm or not to verify
// with, and [ErrAlgorithm] when the algorithm is not one to sign with.
func (k *Key) Verify(a Algorithm, message, sig []byte) error {
	if err := k.fits(a, OpVerify); err != nil {
		return err
	}
	if err := k.checkPublic(); err != nil {
		return err
	}
	if len(sig) != a.TagSize() {
		return ErrVerification
	}
	if k.Curve == CurveEd25519 {
		if !ed25519.Verify(k.X, message, sig) {
			return ErrVerification
		}
		return nil
	}
	public, err := ecdsa.ParseUncompressedPublicKey(k.Curve.elliptic(), k.point())
	if err != nil {
		return badKey("point not on the curve")
	}
	n := len(sig) / 2
	r, s := new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])
	// crypto/ecdsa refuses an r or s that is zero or not less than the order.
	if !ecdsa.Verify(public, a.digest(message), r, s) {
		return ErrVerification
	}
	return nil
}

// digest hashes a message for ECDSA.
func (a Algorithm) digest(message []byte) []byte {
	h := a.newHash()
	h.Write(message)
	return h.Sum(nil)
}

// NewSigner returns a signer with a private key. It signs by the key's Alg or, if
// that is zero, by ES256, ES384, ES512 or EdDSA as the curve says.
// ECDSA signatures are deterministic (RFC 6979), so that no bad randomness can
// give the key away. It is [ErrKey] when the key is not one to sign with.
func NewSigner(k Key) (Signer, error) {
	a := k.Alg
	if a == 0 {
		switch k.Curve {
		case P256:
			a = ES256
		case P384:
			a = ES384
		case P521:
			a = ES512
		case CurveEd25519:
			a = EdDSA
		default:
			return nil, badKey("not one to sign with")
		}
	}
	if err := k.fits(a, OpSign); err != nil {
		return nil, err
	}
	if k.D == nil {
		return nil, badKey("no private key")
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	if k.Curve == CurveEd25519 {
		return &signer{ed25519.NewKeyFromSeed(k.D), a, false}, nil
	}
	private, err := ecdsa.ParseRawPrivateKey(k.Curve.elliptic(), k.D)
	if err != nil {
		return nil, badKey("d out of range")
	}
	return &signer{private, a, true}, nil
}

// NewCryptoSigner returns a signer whose key another holds. It is [ErrKey] when
// its public key is not one of the algorithm, and [ErrAlgorithm] when that is not
// one to sign with. ECDSA signs with crypto/rand, where s wants randomness.
func NewCryptoSigner(s crypto.Signer, a Algorithm) (Signer, error) {
	if a.info().mode != signature {
		return nil, ErrAlgorithm
	}
	k, err := NewSignatureKey(s.Public())
	if err != nil {
		return nil, err
	}
	if err := k.fits(a, OpSign); err != nil {
		return nil, err
	}
	return &signer{s, a, false}, nil
}

// NewSignatureKey returns the COSE_Key of an *[ecdsa.PublicKey] or an
// [ed25519.PublicKey], as certificates have it.
func NewSignatureKey(public crypto.PublicKey) (Key, error) {
	var k Key
	switch public := public.(type) {
	case ed25519.PublicKey:
		k = Key{Type: OKP, Curve: CurveEd25519, X: clone(public)}
	case *ecdsa.PublicKey:
		p, err := public.ECDH()
		if err != nil {
			return Key{}, badKey("curve not known, or point not on it")
		}
		return NewECDHKey(p)
	default:
		return Key{}, badKey("neither ECDSA nor Ed25519")
	}
	return k, k.check()
}

type signer struct {
	key           crypto.Signer
	alg           Algorithm
	deterministic bool
}

func (s *signer) Algorithm() Algorithm { return s.alg }

func (s *signer) Sign(message []byte) ([]byte, error) {
	if s.alg.curve() == CurveEd25519 {
		sig, err := s.key.Sign(rand.Reader, message, crypto.Hash(0))
		if err == nil && len(sig) != ed25519.SignatureSize {
			err = badKey("signature of the wrong length")
		}
		if err != nil {
			return nil, err
		}
		return sig, nil
	}
	random := rand.Reader
	if s.deterministic {
		random = nil
	}
	der, err := s.key.Sign(random, s.alg.digest(message), s.alg.Hash())
	if err != nil {
		return nil, err
	}
	// crypto.Signer writes ECDSA as ASN.1, COSE as r and s (RFC 9053 section 2.1).
	var (
		r, v  = new(big.Int), new(big.Int)
		inner cryptobyte.String
		outer = cryptobyte.String(der)
		size  = s.alg.TagSize()
	)
	if !outer.ReadASN1(&inner, asn1.SEQUENCE) || !outer.Empty() ||
		!inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(v) || !inner.Empty() ||
		r.Sign() <= 0 || v.Sign() <= 0 || max(r.BitLen(), v.BitLen()) > size/2*8 {
		return nil, badKey("signature that is no ECDSA-Sig-Value")
	}
	sig := make([]byte, size)
	r.FillBytes(sig[:size/2])
	v.FillBytes(sig[size/2:])
	return sig, nil
}
