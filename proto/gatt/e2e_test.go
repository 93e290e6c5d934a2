// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"bytes"
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
)

func TestCRC(t *testing.T) {
	for _, tt := range []struct {
		where, hex string
		want       uint16
	}{
		{"IDS 1.0.2, sample of the E2E-CRC", "3e 01 02 03 04 05 06 07 08 09", 0x2f01},
		{"check value of CRC-16/MCRF4XX", "31 32 33 34 35 36 37 38 39", 0x6f91},
		{"nothing", "", 0xffff},
	} {
		if got := CRC(unhex(t, tt.hex)); got != tt.want {
			t.Errorf("%s: %04x, want %04x", tt.where, got, tt.want)
		}
	}
	if got := AppendCRC(unhex(t, "ff 3e 01 02 03 04 05 06 07 08 09"), 1); !bytes.HasSuffix(got, []byte{0x09, 0x01, 0x2f}) {
		t.Errorf("on the wire: %x", got)
	}
}

// Each flipped bit of a protected value is found.
func TestE2EBits(t *testing.T) {
	b := AppendE2E(unhex(t, "55 33 90 e1 01"), 0, 255)
	payload, counter, ok := SplitE2E(b)
	if !ok || counter != 255 || !bytes.Equal(payload, unhex(t, "55 33 90 e1 01")) {
		t.Fatalf("%x %d %v", payload, counter, ok)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if got, _, ok := SplitE2E(b); ok || !bytes.Equal(got, b) {
			t.Errorf("bit %d", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range e2eBytes + 1 {
		if _, _, ok := SplitE2E(AppendCRC(make([]byte, n), 0)[:n]); ok {
			t.Errorf("%d bytes are protected", n)
		}
	}
}

// Read off the opcodes of the Command Control Point in IDS 1.0.2: from 0F55 on they are all words of
// the code in a row. 148E is the first that the document prohibits.
var commandOpcodes = []uint16{
	0x0f55, 0x0f5a, 0x0f66, 0x0f69, 0x0f96, 0x0f99, 0x0fa5, 0x0faa, 0x0fc3, 0x0fcc, 0x0ff0, 0x0fff, 0x1111, 0x111e, 0x1122, 0x112d, 0x1144, 0x114b,
	0x1177, 0x1178, 0x1187, 0x1188, 0x11b4, 0x11bb, 0x11d2, 0x11dd, 0x11e1, 0x11ee, 0x1212, 0x121d, 0x1221, 0x122e, 0x1247, 0x1248, 0x1274, 0x127b,
	0x1284, 0x128b, 0x12b7, 0x12b8, 0x12d1, 0x12de, 0x12e2, 0x12ed, 0x1414, 0x141b, 0x1427, 0x1428, 0x1441, 0x144e, 0x1472, 0x147d, 0x1482, 0x148d,
}

func TestHamming(t *testing.T) {
	i := 0
	for w := uint16(0x0f55); w <= 0x148d; w++ {
		listed := i < len(commandOpcodes) && commandOpcodes[i] == w
		if listed {
			i++
		}
		if hamming(w) != listed {
			t.Errorf("%04x: %v", w, !listed)
		}
	}
	for w := range uint16(0x100) {
		for bit := range 8 {
			if hamming(w) && hamming(w^1<<bit) {
				t.Errorf("%02x and %02x differ in one bit", w, w^1<<bit)
			}
		}
	}
	for w := range 1 << 16 {
		if hamming(uint16(w)) && w != 0 && bits.OnesCount16(uint16(w)) < 4 {
			t.Errorf("%04x is %d bits away from 0", w, bits.OnesCount16(uint16(w)))
		}
	}
}

func TestSFLOAT(t *testing.T) {
	for _, tt := range []struct {
		f    SFLOAT
		want string
	}{
		{0x0000, "0 [iU]"},
		{0x0072, "114 [iU]"},
		{0xf028, "4.0 [iU]"},
		{0xe0fa, "2.50 [iU]"},
		{0xffff, "-0.1 [iU]"},
		{0x0fff, "-1 [iU]"},
		{0x7001, "10000000 [iU]"},
		{0x8001, "0.00000001 [iU]"},
		{0x07fd, "2045 [iU]"},
		{0x0803, "-2045 [iU]"},
		{0xf7ff, "204.7 [iU]"}, // only with the exponent 0 it is NaN
		{0xf800, "-204.8 [iU]"},
		{NaN, ""},
		{NRes, ""},
		{Infinity, ""},
		{NegativeInfinity, ""},
		{ReservedSFLOAT, ""},
	} {
		if got := tt.f.Quantity(unitIU).String(); got != tt.want || tt.f.IsNumber() != (tt.want != "") {
			t.Errorf("%04x: %q, want %q", uint16(tt.f), got, tt.want)
		}
	}
	for _, tt := range []struct {
		q    device.Quantity
		want SFLOAT
		ok   bool
	}{
		{device.Quantity{Coefficient: 40, Exponent: -1}, 0xf028, true},
		{device.Quantity{Coefficient: 4000, Exponent: -3}, 0xe190, true},
		{device.Quantity{Coefficient: 25}, 0x0019, true},
		{device.Quantity{Coefficient: -25}, 0x0fe7, true},
		{device.Quantity{Coefficient: 1, Exponent: 9}, 0x7064, true},
		{device.Quantity{}, 0, true},
		{device.Quantity{Exponent: -20}, 0x8000, true},
		{device.Quantity{Coefficient: 2046}, NRes, false},
		{device.Quantity{Coefficient: 20460}, NRes, false},
		{device.Quantity{Coefficient: 1, Exponent: -9}, NRes, false},
		{device.Quantity{Coefficient: 1, Exponent: 12}, NRes, false},
		{device.Quantity{Coefficient: 123456}, NRes, false},
	} {
		if got, ok := SFLOATOf(tt.q); got != tt.want || ok != tt.ok {
			t.Errorf("%v: %04x %v, want %04x", tt.q, uint16(got), ok, uint16(tt.want))
		}
	}
}

func TestFLOAT(t *testing.T) {
	celsius := unit("Cel")
	for _, tt := range []struct {
		f    FLOAT
		want string
	}{
		{0xff00016c, "36.4 Cel"}, // ISO/IEEE 11073-20601, the example of FLOAT-Type
		{0xffffffff, "-0.1 Cel"},
		{0x00000025, "37 Cel"},
		{0x007fffff, ""},
		{0x00800000, ""},
		{0x007ffffe, ""},
		{0x00800001, ""},
		{0x00800002, ""},
	} {
		if got := tt.f.Quantity(celsius).String(); got != tt.want {
			t.Errorf("%08x: %q, want %q", uint32(tt.f), got, tt.want)
		}
	}
}

func TestSFLOATProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := SFLOAT(rapid.Uint16().Draw(t, "a")), SFLOAT(rapid.Uint16().Draw(t, "b"))
		q, r := a.Quantity(unitIU), b.Quantity(unitIU)
		if a.IsNumber() && q.Coefficient <= maxMantissa && q.Coefficient >= -maxMantissa {
			again, ok := SFLOATOf(q)
			if c, same := again.Quantity(unitIU).Cmp(q); !ok || !same || c != 0 {
				t.Fatalf("%04x came back as %04x", uint16(a), uint16(again))
			}
		}
		if !a.IsNumber() || !b.IsNumber() {
			if got := sum(a, b, 1, unitIU); !got.IsNone() {
				t.Fatalf("%v from what is no number", got)
			}
			return
		}
		want, err := q.Add(r) // by big rationals
		if err != nil {
			return // more digits than it holds
		}
		if c, ok := sum(a, b, 1, unitIU).Cmp(want); !ok || c != 0 {
			t.Fatalf("%v + %v = %v, want %v", q, r, sum(a, b, 1, unitIU), want)
		}
		back := sum(a, b, -1, unitIU)
		if again, err := back.Add(r); err == nil {
			if c, ok := again.Cmp(q); !ok || c != 0 {
				t.Fatalf("%v - %v = %v", q, r, back)
			}
		}
	})
}

func TestUnits(t *testing.T) {
	for _, u := range []device.Unit{unitOne, unitPercent, unitMinute, unitIU, unitIUPerH, unitMgPerDL} {
		if u == device.NoUnit {
			t.Error("a unit is not known")
		}
	}
}
