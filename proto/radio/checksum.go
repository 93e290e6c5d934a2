// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import "math/bits"

// The algorithms of a checksum.
const (
	_ = iota
	sum
	xor
	crc
)

var algorithms = []string{"", "sum", "xor", "crc"}

// A summing is how a checksum is computed.
type summing struct {
	algorithm  int
	width      int // bits: 8, 16, 24 or 32
	seed       uint32
	reflectIn  bool
	reflectOut bool
	xorOut     uint32
	table      [256]uint32 // of crc: what a byte does to the register
}

// compile fills the table of a CRC. The polynomial is written with its highest
// power first and without it, as in 0x1021.
func (s *summing) compile(polynomial uint32) {
	if s.reflectIn {
		polynomial = s.reflect(polynomial)
	}
	for i := range s.table {
		r := uint32(i)
		if !s.reflectIn {
			r <<= s.width - 8
		}
		for range 8 {
			var out bool
			if s.reflectIn {
				out = r&1 != 0
				r >>= 1
			} else {
				out = r>>(s.width-1)&1 != 0
				r <<= 1
			}
			if out {
				r ^= polynomial
			}
		}
		s.table[i] = r & s.mask()
	}
}

func (s *summing) mask() uint32 { return 1<<s.width - 1 }

func (s *summing) reflect(v uint32) uint32 { return bits.Reverse32(v) >> (32 - s.width) }

// of returns the checksum of b.
func (s *summing) of(b []byte) uint32 {
	r := s.seed
	switch {
	case s.algorithm == sum:
		for _, c := range b {
			r += uint32(c)
		}
	case s.algorithm == xor:
		for _, c := range b {
			r ^= uint32(c)
		}
	case s.reflectIn:
		r = s.reflect(r)
		for _, c := range b {
			r = r>>8 ^ s.table[byte(r)^c]
		}
	default:
		for _, c := range b {
			r = r<<8 ^ s.table[byte(r>>(s.width-8))^c]
		}
	}
	r &= s.mask()
	if s.algorithm == crc && s.reflectIn != s.reflectOut {
		r = s.reflect(r)
	}
	return r ^ s.xorOut
}
