// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"encoding/binary"
	"slices"
)

// A resolver tells which resolvable addresses an identity resolving key made.
type resolver struct {
	block    cipher.Block
	identity Address
	in, out  [16]byte // not on the stack, which a call through an interface would not leave them
}

// newResolver returns the resolver of a key as SMP distributes it, least
// significant byte first.
func newResolver(irk []byte, identity Address) *resolver {
	return &resolver{block: newAES(irk), identity: identity}
}

// newAES returns the cipher of a key of 16 bytes, least significant byte first.
func newAES(key []byte) cipher.Block {
	k := [16]byte(key)
	slices.Reverse(k[:])
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // sixteen bytes are a key
	}
	return block
}

// made reports whether the key made a: the random address hash function ah
// (Vol 3 Part H section 2.2.2) of the upper half is the lower half.
func (r *resolver) made(a Address) bool {
	copy(r.in[13:], a.Bytes[:3])
	r.block.Encrypt(r.out[:], r.in[:])
	return [3]byte(r.out[13:]) == [3]byte(a.Bytes[3:])
}

// A session is what both sides said to make the key of an encrypted link.
type session struct {
	skd  [2]uint64 // the central's half, the peripheral's
	iv   [2]uint32
	have [2]bool
}

// Who sent, as the nonce says it.
const (
	fromPeripheral = 0
	fromCentral    = 1
)

// opens reports whether a link-layer PDU, the first that its side encrypted,
// is what the long-term key makes of it: header is the PDU's first byte, b
// payload and MIC (Vol 6 Part E section 2: CCM with nonces of 13 bytes).
func (s *session) opens(ltk []byte, direction int, header uint8, b []byte) bool {
	const micSize = 4
	n := len(b) - micSize
	if !s.have[0] || !s.have[1] || n < 1 || n > aes.BlockSize {
		return false
	}
	// Vol 6 Part B section 5.1.3.1: SKD is the peripheral's half before the
	// central's, most significant byte first.
	var skd, key [16]byte
	binary.BigEndian.PutUint64(skd[:], s.skd[1])
	binary.BigEndian.PutUint64(skd[8:], s.skd[0])
	newAES(ltk).Encrypt(key[:], skd[:])
	slices.Reverse(key[:])
	block := newAES(key[:])

	var nonce [13]byte
	nonce[4] = uint8(direction) << 7 // packet counter 0
	binary.LittleEndian.PutUint32(nonce[5:], s.iv[0])
	binary.LittleEndian.PutUint32(nonce[9:], s.iv[1])

	stream := func(i uint8) (out [16]byte) {
		a := [16]byte{0: 1, 15: i}
		copy(a[1:], nonce[:])
		block.Encrypt(out[:], a[:])
		return out
	}
	var plain [16]byte
	copy(plain[:], b[:n])
	for i, k := range stream(1) {
		if i < n {
			plain[i] ^= k
		}
	}
	// The authentication: block 0, the header without what changes when a PDU
	// is sent again, the payload.
	x := [16]byte{0: 0x49, 15: uint8(n)}
	copy(x[1:], nonce[:])
	block.Encrypt(x[:], x[:])
	aad := [16]byte{0, 1, header & 0xe3}
	for _, more := range [][16]byte{aad, plain} {
		for i := range x {
			x[i] ^= more[i]
		}
		block.Encrypt(x[:], x[:])
	}
	for i, k := range stream(0) {
		if i < micSize && x[i]^k != b[n+i] {
			return false
		}
	}
	return true
}

// debugX is the X coordinate of the public key of debug mode as SMP sends it,
// least significant byte first (Vol 3 Part H section 2.3.5.6.1).
var debugX = [32]byte{
	0xe6, 0x9d, 0x35, 0x0e, 0x48, 0x01, 0x03, 0xcc, 0xdb, 0xfd, 0xf4, 0xac, 0x11, 0x91, 0xf4, 0xef,
	0xb9, 0xa5, 0xf9, 0xe9, 0xa7, 0x83, 0x2c, 0x5e, 0x2c, 0xbe, 0x97, 0xf2, 0xd2, 0x03, 0xb0, 0x20,
}

// ofDebugMode reports whether everybody knows the private key of a public key. Y
// does not matter: a key and its negative make the same DHKey.
func ofDebugMode(b []byte) bool { return [32]byte(b) == debugX }

// onCurve reports whether a public key as SMP sends it, X and Y least
// significant byte first, is a point of P-256 (Vol 3 Part H section 2.3.5.6.1).
func onCurve(b []byte) bool {
	var point [65]byte
	point[0] = 4
	copy(point[1:], b)
	slices.Reverse(point[1:33])
	slices.Reverse(point[33:])
	_, err := ecdh.P256().NewPublicKey(point[:])
	return err == nil
}
