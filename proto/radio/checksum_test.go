// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// The check values of "123456789" that the common algorithms are known by.
func TestChecksum(t *testing.T) {
	for _, tt := range []struct {
		name       string
		polynomial uint32
		s          summing
		want       uint32
	}{
		{"CRC-8/SMBUS", 0x07, summing{algorithm: crc, width: 8}, 0xf4},
		{"CRC-8/MAXIM-DOW", 0x31, summing{algorithm: crc, width: 8, reflectIn: true, reflectOut: true}, 0xa1},
		{"CRC-8/LTE", 0x9b, summing{algorithm: crc, width: 8}, 0xea},
		{"CRC-16/IBM-3740", 0x1021, summing{algorithm: crc, width: 16, seed: 0xffff}, 0x29b1},
		{"CRC-16/XMODEM", 0x1021, summing{algorithm: crc, width: 16}, 0x31c3},
		{"CRC-16/KERMIT", 0x1021, summing{algorithm: crc, width: 16, reflectIn: true, reflectOut: true}, 0x2189},
		{"CRC-16/MCRF4XX", 0x1021, summing{algorithm: crc, width: 16, seed: 0xffff, reflectIn: true, reflectOut: true}, 0x6f91},
		{"CRC-16/IBM-SDLC", 0x1021, summing{algorithm: crc, width: 16, seed: 0xffff, reflectIn: true, reflectOut: true, xorOut: 0xffff}, 0x906e},
		{"CRC-16/GENIBUS", 0x1021, summing{algorithm: crc, width: 16, seed: 0xffff, xorOut: 0xffff}, 0xd64e},
		{"CRC-16/ARC", 0x8005, summing{algorithm: crc, width: 16, reflectIn: true, reflectOut: true}, 0xbb3d},
		{"CRC-16/MODBUS", 0x8005, summing{algorithm: crc, width: 16, seed: 0xffff, reflectIn: true, reflectOut: true}, 0x4b37},
		{"CRC-24/BLE", 0x00065b, summing{algorithm: crc, width: 24, seed: 0x555555, reflectIn: true, reflectOut: true}, 0xc25a56},
		{"CRC-24/OPENPGP", 0x864cfb, summing{algorithm: crc, width: 24, seed: 0xb704ce}, 0x21cf02},
		{"CRC-32/ISO-HDLC", 0x04c11db7, summing{algorithm: crc, width: 32, seed: 0xffffffff, reflectIn: true, reflectOut: true, xorOut: 0xffffffff}, 0xcbf43926},
		{"CRC-32/BZIP2", 0x04c11db7, summing{algorithm: crc, width: 32, seed: 0xffffffff, xorOut: 0xffffffff}, 0xfc891918},
		{"CRC-32/ISCSI", 0x1edc6f41, summing{algorithm: crc, width: 32, seed: 0xffffffff, reflectIn: true, reflectOut: true, xorOut: 0xffffffff}, 0xe3069283},
		{"sum", 0, summing{algorithm: sum, width: 8}, 0xdd},
		{"sum of 16 bits", 0, summing{algorithm: sum, width: 16}, 0x01dd},
		{"minus the sum", 0, summing{algorithm: sum, width: 8, seed: 0xff, xorOut: 0xff}, 0x23},
		{"xor", 0, summing{algorithm: xor, width: 8}, 0x31},
	} {
		if tt.s.algorithm == crc {
			tt.s.compile(tt.polynomial)
		}
		if got := tt.s.of([]byte("123456789")); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
}

// TestCRC holds the tables to the definition, a bit at a time.
func TestCRC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := summing{
			algorithm: crc, width: rapid.SampledFrom([]int{8, 16, 24, 32}).Draw(t, "width"),
			reflectIn: rapid.Bool().Draw(t, "in"), reflectOut: rapid.Bool().Draw(t, "out"),
		}
		top := uint64(1) << s.width
		polynomial := rapid.Uint64Range(0, top-1).Draw(t, "polynomial")
		s.seed = uint32(rapid.Uint64Range(0, top-1).Draw(t, "seed"))
		s.xorOut = uint32(rapid.Uint64Range(0, top-1).Draw(t, "xor"))
		b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "b")
		s.compile(uint32(polynomial))

		r := uint64(s.seed)
		for _, c := range b {
			if s.reflectIn {
				c = bits.Reverse8(c)
			}
			r ^= uint64(c) << (s.width - 8)
			for range 8 {
				if r <<= 1; r&top != 0 {
					r ^= top | polynomial
				}
			}
		}
		if s.reflectOut {
			r = bits.Reverse64(r) >> (64 - s.width)
		}
		if got := s.of(b); uint64(got) != r^uint64(s.xorOut) {
			t.Errorf("%#x, want %#x", got, r^uint64(s.xorOut))
		}
	})
}
