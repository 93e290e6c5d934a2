// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

// An Algorithm is a number of IANA's registry "COSE Algorithms". Zero is none.
type Algorithm int32

// The algorithms.
const (
	A128GCM          Algorithm = 1
	A192GCM          Algorithm = 2
	A256GCM          Algorithm = 3
	HMAC256_64       Algorithm = 4
	HMAC256          Algorithm = 5
	HMAC384          Algorithm = 6
	HMAC512          Algorithm = 7
	AESCCM16_64_128  Algorithm = 10 // nonce of 13 bytes, tag of 8, key of 16
	AESCCM16_64_256  Algorithm = 11
	AESCCM64_64_128  Algorithm = 12 // nonce of 7 bytes
	AESCCM64_64_256  Algorithm = 13
	ChaCha20Poly1305 Algorithm = 24
	AESCCM16_128_128 Algorithm = 30 // tag of 16 bytes
	AESCCM16_128_256 Algorithm = 31
	AESCCM64_128_128 Algorithm = 32
	AESCCM64_128_256 Algorithm = 33

	ES256   Algorithm = -7 // RFC 9053; ECDSA with SHA-256 and, here, P-256
	EdDSA   Algorithm = -8
	ESP256  Algorithm = -9 // RFC 9864: fully specified
	Ed25519 Algorithm = -19
	ES384   Algorithm = -35
	ES512   Algorithm = -36
	ESP384  Algorithm = -51
	ESP512  Algorithm = -52 // with P-521

	SHA256_64 Algorithm = -15
	SHA256    Algorithm = -16
	SHA384    Algorithm = -43
	SHA512    Algorithm = -44
)

// A Curve is a number of IANA's registry "COSE Elliptic Curves". Zero is none.
type Curve int32

// The curves.
const (
	P256         Curve = 1
	P384         Curve = 2
	P521         Curve = 3
	X25519       Curve = 4
	X448         Curve = 5
	CurveEd25519 Curve = 6
	CurveEd448   Curve = 7
)
