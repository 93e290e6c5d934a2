// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// An SFLOAT is a number of ISO/IEEE 11073-20601 in 16 bits: 4 bits of exponent
// to the base of ten over 12 bits of mantissa, both in two's complement.
type SFLOAT uint16

// The values that are no numbers, which have the exponent 0.
const (
	Infinity         SFLOAT = 0x07fe
	NaN              SFLOAT = 0x07ff
	NRes             SFLOAT = 0x0800 // not at this resolution
	ReservedSFLOAT   SFLOAT = 0x0801
	NegativeInfinity SFLOAT = 0x0802
)

// A FLOAT is the same in 32 bits: 8 bits of exponent over 24 bits of mantissa.
type FLOAT uint32

const (
	floatInfinity         FLOAT = 0x007ffffe
	floatNegativeInfinity FLOAT = 0x00800002
)

// IsNumber reports whether f is a number, and not one of the values above.
func (f SFLOAT) IsNumber() bool { return f < Infinity || f > NegativeInfinity }

// IsNumber reports whether f is a number.
func (f FLOAT) IsNumber() bool { return f < floatInfinity || f > floatNegativeInfinity }

// Quantity returns the number with a unit, exactly, or none when f is no number.
func (f SFLOAT) Quantity(u device.Unit) device.Quantity {
	if !f.IsNumber() {
		return device.Quantity{}
	}
	return device.Quantity{Coefficient: int64(int16(f<<4) >> 4), Exponent: int8(int16(f) >> 12), Unit: u}
}

// Quantity returns the number with a unit, exactly, or none when f is no number.
func (f FLOAT) Quantity(u device.Unit) device.Quantity {
	if !f.IsNumber() {
		return device.Quantity{}
	}
	return device.Quantity{Coefficient: int64(int32(f<<8) >> 8), Exponent: int8(int32(f) >> 24), Unit: u}
}

// maxMantissa is the largest mantissa of an SFLOAT that means the same whatever
// the exponent: some readers take those beyond it for no numbers at any exponent.
const maxMantissa = 0x07fd

// SFLOATOf returns the number of q, whatever its unit. It is false when that
// has more digits or a larger exponent than an SFLOAT holds.
func SFLOATOf(q device.Quantity) (SFLOAT, bool) {
	m, e := q.Coefficient, int(q.Exponent)
	for m != 0 && m%10 == 0 && (e < -8 || m > maxMantissa || m < -maxMantissa) {
		m, e = m/10, e+1
	}
	for e > 7 && m <= maxMantissa/10 && m >= -maxMantissa/10 && m != 0 {
		m, e = m*10, e-1
	}
	if m == 0 {
		e = max(-8, min(e, 7))
	}
	if e < -8 || e > 7 || m > maxMantissa || m < -maxMantissa {
		return NRes, false
	}
	return SFLOAT(e&0xf)<<12 | SFLOAT(m&0xfff), true
}

// sum returns a + sign x b with a unit, exactly: at most 2047 x 10^15 each. It
// is none when one of them is no number.
func sum(a, b SFLOAT, sign int64, u device.Unit) device.Quantity {
	q, r := a.Quantity(u), b.Quantity(u)
	if !a.IsNumber() || !b.IsNumber() {
		return device.Quantity{}
	}
	r.Coefficient *= sign
	switch {
	case r.Coefficient == 0:
		return q
	case q.Coefficient == 0:
		return r
	}
	for ; q.Exponent > r.Exponent; q.Exponent-- {
		q.Coefficient *= 10
	}
	for ; r.Exponent > q.Exponent; r.Exponent-- {
		r.Coefficient *= 10
	}
	q.Coefficient += r.Coefficient
	return q
}

// The units that the profiles count in.
var (
	unitOne     = unit("1")
	unitPercent = unit("%")
	unitMinute  = unit("min")
	unitIU      = unit("[iU]")
	unitIUPerH  = unit("[iU]/h")
	unitMgPerDL = unit("mg/dL")
)

func unit(ucum string) device.Unit {
	u, _ := device.UnitOfUCUM(ucum)
	return u
}

// sfloat reads an SFLOAT.
func sfloat(c *wire.Cursor, field string) SFLOAT { return SFLOAT(c.Uint16LE(field)) }

// amount reads an SFLOAT that has to be a number: an amount that is to be
// given, a limit.
func amount(c *wire.Cursor, field string) SFLOAT {
	at := c.Off()
	f := sfloat(c, field)
	switch {
	case f == ReservedSFLOAT:
		c.FailAt(field, at, wire.ErrReserved)
	case !f.IsNumber():
		c.FailAt(field, at, wire.ErrInvalid)
	}
	return f
}
