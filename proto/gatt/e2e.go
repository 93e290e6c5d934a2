// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"
	"math/bits"

	"github.com/myelin-health/myelin/wire"
)

// End-to-end protection of the Insulin Delivery and Continuous Glucose
// Monitoring services, where their features say that it is in use: a check
// value behind the payload, and in insulin delivery a counter between the two,
// which begins at 1 with each connection. The check value has no key and the
// counter no memory: they find corruption, and a replay inside a connection,
// never an attacker who connects again.

const (
	crcBytes = 2
	e2eBytes = 1 + crcBytes
)

// CRC returns the check value of b: polynomial x^16 + x^12 + x^5 + 1, begun with
// ones, octets from their lowest bit (CRC-16/MCRF4XX).
func CRC(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, x := range b {
		x ^= byte(crc)
		x ^= x << 4
		crc = crc>>8 ^ uint16(x)<<8 ^ uint16(x)<<3 ^ uint16(x)>>4
	}
	return crc
}

// AppendCRC appends the check value of dst[start:].
func AppendCRC(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint16(dst, CRC(dst[start:]))
}

// AppendE2E appends a counter and the check value of dst[start:] with it.
func AppendE2E(dst []byte, start int, counter uint8) []byte {
	return AppendCRC(append(dst, counter), start)
}

// SplitCRC takes the check value off the end of b, if it is b's.
func SplitCRC(b []byte) (payload []byte, ok bool) {
	n := len(b) - crcBytes
	if n < 1 || CRC(b[:n]) != binary.LittleEndian.Uint16(b[n:]) {
		return b, false
	}
	return b[:n:n], true
}

// SplitE2E takes counter and check value off the end of b, if the latter is b's.
func SplitE2E(b []byte) (payload []byte, counter uint8, ok bool) {
	payload, ok = SplitCRC(b)
	n := len(payload) - 1
	if !ok || n < 1 {
		return b, 0, false
	}
	return payload[:n:n], payload[n], true
}

// hamming reports whether w may be a value of an insulin delivery enumeration
// or opcode. They are the words of the extended Hamming code, in 8 bits or in
// 16: an even number of ones whose places cancel out. Two words differ in four
// bits or more, so that a flipped bit never makes another command.
func hamming(w uint16) bool {
	places, ones := 0, 0
	for ; w != 0; w &= w - 1 {
		places ^= bits.TrailingZeros16(w)
		ones++
	}
	return places == 0 && ones&1 == 0
}

// enum reads a Hamming-coded octet that has to be one of values. Another word
// of the code is reserved, all else is prohibited.
func enum(c *wire.Cursor, field string, values string) uint8 {
	at := c.Off()
	v := c.Uint8(field)
	for i := range len(values) {
		if values[i] == v {
			return v
		}
	}
	if hamming(uint16(v)) {
		c.FailAt(field, at, wire.ErrReserved)
	} else {
		c.FailAt(field, at, wire.ErrInvalid)
	}
	return v
}
