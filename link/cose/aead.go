// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"math"
	"strconv"

	"golang.org/x/crypto/chacha20poly1305"
)

var (
	// ErrAlgorithm is returned for an algorithm that is unknown, or of another
	// sort than was asked for.
	ErrAlgorithm = errors.New("cose: algorithm unknown or of another sort")

	// ErrKey is returned for a key that is malformed, or that the algorithm or
	// the operation is not for.
	ErrKey = errors.New("cose: key malformed, or not for this use")
)

// info is what the registry says of an algorithm.
type info struct {
	name            string
	key, nonce, tag int // bytes; of a MAC the tag is the MAC; of a signature, the signature
	hash            crypto.Hash
	mode            mode
}

type mode uint8

const (
	none mode = iota
	gcm
	ccmMode
	chacha
	mac
	signature
	digest
)

func (a Algorithm) info() info {
	switch a {
	case A128GCM:
		return info{"A128GCM", 16, 12, 16, 0, gcm}
	case A192GCM:
		return info{"A192GCM", 24, 12, 16, 0, gcm}
	case A256GCM:
		return info{"A256GCM", 32, 12, 16, 0, gcm}
	case AESCCM16_64_128:
		return info{"AES-CCM-16-64-128", 16, 13, 8, 0, ccmMode}
	case AESCCM16_64_256:
		return info{"AES-CCM-16-64-256", 32, 13, 8, 0, ccmMode}
	case AESCCM64_64_128:
		return info{"AES-CCM-64-64-128", 16, 7, 8, 0, ccmMode}
	case AESCCM64_64_256:
		return info{"AES-CCM-64-64-256", 32, 7, 8, 0, ccmMode}
	case AESCCM16_128_128:
		return info{"AES-CCM-16-128-128", 16, 13, 16, 0, ccmMode}
	case AESCCM16_128_256:
		return info{"AES-CCM-16-128-256", 32, 13, 16, 0, ccmMode}
	case AESCCM64_128_128:
		return info{"AES-CCM-64-128-128", 16, 7, 16, 0, ccmMode}
	case AESCCM64_128_256:
		return info{"AES-CCM-64-128-256", 32, 7, 16, 0, ccmMode}
	case ChaCha20Poly1305:
		return info{"ChaCha20/Poly1305", 32, 12, 16, 0, chacha}
	case HMAC256_64:
		return info{"HMAC 256/64", 32, 0, 8, crypto.SHA256, mac}
	case HMAC256:
		return info{"HMAC 256/256", 32, 0, 32, crypto.SHA256, mac}
	case HMAC384:
		return info{"HMAC 384/384", 48, 0, 48, crypto.SHA384, mac}
	case HMAC512:
		return info{"HMAC 512/512", 64, 0, 64, crypto.SHA512, mac}
	case ES256:
		return info{"ES256", 32, 0, 64, crypto.SHA256, signature}
	case ESP256:
		return info{"ESP256", 32, 0, 64, crypto.SHA256, signature}
	case ES384:
		return info{"ES384", 48, 0, 96, crypto.SHA384, signature}
	case ESP384:
		return info{"ESP384", 48, 0, 96, crypto.SHA384, signature}
	case ES512:
		return info{"ES512", 66, 0, 132, crypto.SHA512, signature}
	case ESP512:
		return info{"ESP512", 66, 0, 132, crypto.SHA512, signature}
	case EdDSA:
		return info{"EdDSA", 32, 0, 64, 0, signature}
	case Ed25519:
		return info{"Ed25519", 32, 0, 64, 0, signature}
	case SHA256_64:
		return info{"SHA-256/64", 0, 0, 8, crypto.SHA256, digest}
	case SHA256:
		return info{"SHA-256", 0, 0, 32, crypto.SHA256, digest}
	case SHA384:
		return info{"SHA-384", 0, 0, 48, crypto.SHA384, digest}
	case SHA512:
		return info{"SHA-512", 0, 0, 64, crypto.SHA512, digest}
	}
	return info{}
}

// String is the algorithm's name in the registry, or its number.
func (a Algorithm) String() string {
	if i := a.info(); i.mode != none {
		return i.name
	}
	return strconv.Itoa(int(a))
}

// KeySize is how many bytes a secret key of the algorithm has. A key to make
// MACs may be of any length; this is the length of the hash, which RFC 9053
// section 3.1 asks for.
func (a Algorithm) KeySize() int { return a.info().key }

// NonceSize is how many bytes the nonce of an AEAD algorithm has, or zero.
func (a Algorithm) NonceSize() int { return a.info().nonce }

// TagSize is how many bytes an AEAD algorithm adds to the plaintext, a MAC, a
// signature or a digest has.
func (a Algorithm) TagSize() int { return a.info().tag }

// Hash is the hash function of a digest, a MAC or an ECDSA signature, or zero.
func (a Algorithm) Hash() crypto.Hash { return a.info().hash }

// newHash is Hash().New(), which works only if the hash was linked in.
func (a Algorithm) newHash() hash.Hash {
	switch a.Hash() {
	case crypto.SHA384:
		return sha512.New384()
	case crypto.SHA512:
		return sha512.New()
	}
	return sha256.New()
}

// AEAD reports whether [NewAEAD] knows the algorithm.
func (a Algorithm) AEAD() bool {
	m := a.info().mode
	return m == gcm || m == ccmMode || m == chacha
}

// NewAEAD returns the algorithm under a key, which it does not keep. Sealing
// and opening allocate nothing when dst has room; dst may be plaintext[:0] or
// ciphertext[:0], and must not overlap otherwise. When opening fails, nothing of
// the plaintext is left in dst. Goroutines may share it.
//
// It is [ErrAlgorithm] when the algorithm is not an AEAD algorithm, [ErrKey]
// when the key is of another length than KeySize. As [cipher.AEAD] says, a nonce
// of another length than NonceSize panics.
func NewAEAD(a Algorithm, key []byte) (cipher.AEAD, error) {
	i := a.info()
	if !a.AEAD() {
		return nil, ErrAlgorithm
	}
	if len(key) != i.key {
		return nil, ErrKey
	}
	switch i.mode {
	case chacha:
		return chacha20poly1305.New(key)
	case gcm:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}
	return newCCM(key, i.nonce, i.tag)
}

// maxPlaintext is how many bytes one message of an AEAD algorithm may have.
func (a Algorithm) maxPlaintext() int {
	switch i := a.info(); i.mode {
	case ccmMode:
		return maxPlaintext(i.nonce, i.tag)
	case gcm, chacha: // 2^32-2 blocks of 16, 2^32-1 of 64
		return int(min(uint64(math.MaxInt-i.tag), (1<<32-2)*16))
	}
	return 0
}
