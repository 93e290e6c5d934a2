// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import "math/bits"

// crcTable holds what each byte does to the shift register of [CRC24].
var crcTable = func() (t [256]uint32) {
	// Vol 6 Part B section 3.1.1: x^24 + x^10 + x^9 + x^6 + x^4 + x^3 + x + 1,
	// with the bits in the order in which they are sent.
	const polynomial = 0xda6000
	for i := range t {
		r := uint32(i)
		for range 8 {
			r = r>>1 ^ polynomial*(r&1)
		}
		t[i] = r
	}
	return t
}()

// CRC24 returns the CRC of a link-layer PDU, header included, as the
// little-endian number that follows it. init is the CRCInit of the
// connection, or 0x555555 for advertising.
func CRC24(init uint32, pdu []byte) uint32 {
	r := bits.Reverse32(init) >> 8
	for _, b := range pdu {
		r = r>>8 ^ crcTable[byte(r)^b]
	}
	return r
}

// ValidAccess reports whether a connection may have an access address (Vol 6
// Part B section 2.1.2). The capture of noise is known by addresses that may not be.
func ValidAccess(a uint32) bool {
	changes := a ^ a>>1 // bit i: bits i and i+1 differ; bit 31 is none
	transitions := bits.OnesCount32(changes &^ (1 << 31))
	switch {
	case bits.OnesCount32(a^AdvertisingAccess) <= 1:
		return false
	case byte(a) == byte(a>>8) && uint16(a) == uint16(a>>16):
		return false
	case transitions > 24:
		return false
	case bits.OnesCount32(changes>>26&0x1f) < 2: // between the six most significant bits
		return false
	}
	run := 1
	for i := range 31 {
		run++
		if changes>>i&1 != 0 {
			run = 1
		}
		if run > 6 {
			return false
		}
	}
	return true
}
