// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// What can be wrong with a quantity. No error holds the text that was read.
var (
	ErrSyntax  = errors.New("not a decimal number")
	ErrRange   = errors.New("more digits than a quantity holds")
	ErrUnit    = errors.New("unknown unit")
	ErrKind    = errors.New("units of different kinds")
	ErrInexact = errors.New("not an exact decimal")
	ErrMissing = errors.New("a quantity that is needed is missing")
)

// A Quantity is an exact decimal number with a unit: Coefficient x 10^Exponent.
// The zero value is "none". It is comparable, but 1.0 mg and 1 mg differ:
// compare values with [Quantity.Cmp].
type Quantity struct {
	Coefficient int64
	Exponent    int8
	Unit        Unit
}

// IsNone reports whether there is no quantity at all. "0 mL/h" is one.
func (q Quantity) IsNone() bool { return q.Coefficient == 0 && q.Unit == NoUnit }

const (
	maxDigits = 18 // any number of so many digits fits an int64

	// The longest text that String writes: sign, "0.", an exponent's worth of
	// zeros (128) and 19 digits; with room for an exponent.
	maxDecimalBytes = 160
)

// ParseDecimal reads a number without a unit as HL7 v2 writes it (data type
// NM: sign, digits, point, digits) or XML Schema does (decimal, and double with
// an exponent). Trailing zeros are kept: "4.0" is 40 x 10^-1. Infinities, NaN
// and more than 18 significant digits are errors.
func ParseDecimal[T string | []byte](s T) (Quantity, error) {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	q, n, err := decimal(s)
	if err == nil && n != len(s) {
		err = ErrSyntax
	}
	if err != nil {
		return Quantity{}, err
	}
	return q, nil
}

// decimal reads the longest number at the front of s and returns its length.
func decimal[T string | []byte](s T) (Quantity, int, error) {
	if len(s) > maxDecimalBytes {
		s = s[:maxDecimalBytes+1]
	}
	i := 0
	negative := false
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		negative = s[i] == '-'
		i++
	}
	var (
		coefficient int64
		digits      int // of coefficient
		zeros       int // read, but not yet in coefficient
		exponent    int
		seen, point bool
	)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen = true
		if point {
			exponent--
		}
		if c == '0' {
			if digits > 0 {
				zeros++
			}
			continue
		}
		if digits+zeros+1 > maxDigits {
			return Quantity{}, 0, ErrRange
		}
		for ; zeros > 0; zeros-- {
			coefficient *= 10
			digits++
		}
		coefficient = coefficient*10 + int64(c-'0')
		digits++
	}
	if !seen {
		return Quantity{}, 0, ErrSyntax
	}
	for ; zeros > 0 && digits < maxDigits; zeros-- {
		coefficient *= 10
		digits++
	}
	exponent += zeros // those that did not fit say nothing but the scale
	if e, n := writtenExponent(s[i:]); n > 0 {
		exponent += e
		i += n
	}
	if i > maxDecimalBytes {
		return Quantity{}, 0, ErrRange
	}
	if coefficient == 0 {
		exponent = max(min(exponent, 0), math.MinInt8)
	}
	if exponent < math.MinInt8 || exponent > math.MaxInt8 {
		return Quantity{}, 0, ErrRange
	}
	if negative {
		coefficient = -coefficient
	}
	return Quantity{Coefficient: coefficient, Exponent: int8(exponent)}, i, nil
}

// writtenExponent reads "E-3". Without digits after the E there is no exponent
// (the E may begin a unit), and the length is 0.
func writtenExponent[T string | []byte](s T) (e, n int) {
	if len(s) < 2 || s[0] != 'E' && s[0] != 'e' {
		return 0, 0
	}
	i := 1
	if s[i] == '+' || s[i] == '-' {
		i++
	}
	first := i
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		e = min(e*10+int(s[i]-'0'), 1000) // far outside int8, and no overflow
	}
	if i == first {
		return 0, 0
	}
	if s[1] == '-' {
		e = -e
	}
	return e, i
}

// ParseQuantity reads a number and a unit as a person or a message writes them:
// "4.0 ug/kg/min", "12.5 ml/hr", "25 units". The unit may be missing.
func ParseQuantity(s string) (Quantity, error) {
	q, n, err := decimal(s)
	if err != nil {
		return Quantity{}, err
	}
	for n < len(s) && s[n] == ' ' {
		n++
	}
	if n == len(s) {
		return q, nil
	}
	u, ok := UnitOf(s[n:])
	if !ok {
		return Quantity{}, ErrUnit
	}
	q.Unit = u
	return q, nil
}

// String returns the number as it was written and the UCUM code of its unit:
// "4.0 ug/kg/min". None is "".
func (q Quantity) String() string {
	if q.IsNone() {
		return ""
	}
	digits := strconv.FormatUint(magnitude(q.Coefficient), 10)
	b := make([]byte, 0, len(digits)+32)
	if q.Coefficient < 0 {
		b = append(b, '-')
	}
	point := len(digits) + int(q.Exponent) // digits before the point
	switch {
	case q.Exponent >= 0:
		b = append(b, digits...)
		for range q.Exponent {
			b = append(b, '0')
		}
	case point > 0:
		b = append(b, digits[:point]...)
		b = append(b, '.')
		b = append(b, digits[point:]...)
	default:
		b = append(b, "0."...)
		for range -point {
			b = append(b, '0')
		}
		b = append(b, digits...)
	}
	if q.Unit != NoUnit {
		b = append(b, ' ')
		b = append(b, q.Unit.String()...)
	}
	return string(b)
}

// Cmp compares two quantities exactly: -1, 0 or +1. Units of the same kind
// are converted; ok is false when the units are of different kinds, such as
// mg/dL and mmol/L, which only knowledge of the substance would join. It
// allocates nothing.
func (q Quantity) Cmp(r Quantity) (c int, ok bool) {
	u, v := units[q.Unit.index()], units[r.Unit.index()]
	if q.Unit == r.Unit {
		u, v = units[NoUnit], units[NoUnit]
	} else if !q.Unit.SameKind(r.Unit) {
		return 0, false
	}
	if s, t := sign(q.Coefficient), sign(r.Coefficient); s != t || s == 0 {
		return compare(s, t), true
	}
	// |q| : |r| is x 10^d : y with x and y below 2^63 x 2^32 x 2^32.
	x := mul3(magnitude(q.Coefficient), u.num, v.den)
	y := mul3(magnitude(r.Coefficient), v.num, u.den)
	c = scaledCompare(x, y, int(q.Exponent)+int(u.exp)-int(r.Exponent)-int(v.exp))
	return c * sign(q.Coefficient), true
}

// A wide is an unsigned number of 128 bits.
type wide struct{ hi, lo uint64 }

// mul3 returns a*b*c, which must be below 2^128.
func mul3(a uint64, b, c uint32) wide {
	hi, lo := bits.Mul64(uint64(b)*uint64(c), a)
	return wide{hi, lo}
}

func (w wide) compare(x wide) int {
	if w.hi != x.hi {
		return compare(w.hi, x.hi)
	}
	return compare(w.lo, x.lo)
}

// scaledCompare compares x*10^d with y, neither of them zero. Once the scaled
// side no longer fits 128 bits it is the larger: at most 39 rounds.
func scaledCompare(x, y wide, d int) int {
	if d < 0 {
		return -scaledCompare(y, x, -d)
	}
	for ; d > 0; d-- {
		carry, lo := bits.Mul64(x.lo, 10)
		over, hi := bits.Mul64(x.hi, 10)
		hi, c := bits.Add64(hi, carry, 0)
		if over+c > 0 {
			return 1
		}
		x = wide{hi, lo}
	}
	return x.compare(y)
}

func compare[T int | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sign(n int64) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// Convert returns the same quantity in another unit of the same kind. It fails
// with ErrKind rather than guess, with ErrInexact where the result has no end
// (100 min in hours), and with ErrRange where it has too many digits.
func (q Quantity) Convert(to Unit) (Quantity, error) {
	if q.Unit == to {
		return q, nil
	}
	if !q.Unit.SameKind(to) {
		return Quantity{}, ErrKind
	}
	return quantityOf(q.base(), to)
}

// Add returns q + r in the unit of q.
func (q Quantity) Add(r Quantity) (Quantity, error) {
	if q.Unit == r.Unit {
		return quantityIn(new(big.Rat).Add(q.rat(), r.rat()), q.Unit)
	}
	if !q.Unit.SameKind(r.Unit) {
		return Quantity{}, ErrKind
	}
	return quantityOf(new(big.Rat).Add(q.base(), r.base()), q.Unit)
}

// Mul returns q x r in the unit to, whose kind must be the product's: a rate
// times a duration is a dose.
func (q Quantity) Mul(r Quantity, to Unit) (Quantity, error) {
	if !q.Unit.converts() || !r.Unit.converts() || !to.converts() || q.Unit.kind().plus(r.Unit.kind()) != to.kind() {
		return Quantity{}, ErrKind
	}
	return quantityOf(new(big.Rat).Mul(q.base(), r.base()), to)
}

// RateOf returns the flow in mL/h at which a pump gives a dose rate: dose rate,
// times the patient's weight when it is per body mass, divided by the drug's
// concentration. A rate of volume needs neither.
//
// With ErrMissing nothing can be decided: weight or concentration is needed
// and absent or zero. With ErrInexact the quotient has no end; the returned
// rate is then the next millionth of a mL/h above it, good enough to hold
// against an upper limit and against nothing else. Other errors have no rate.
func RateOf(dose, weight, concentration Quantity) (Quantity, error) {
	k := dose.Unit.kind()
	if dose.IsNone() || !dose.Unit.converts() || k[timeAxis] != -1 {
		return Quantity{}, ErrKind
	}
	r := dose.base()
	if k[bodyAxis] == -1 {
		if weight.Coefficient <= 0 {
			return Quantity{}, ErrMissing
		}
		if weight.Unit.kind() != mass {
			return Quantity{}, ErrKind
		}
		// The axis of drug mass counts in grams, that of body mass in kilograms.
		r.Mul(r, weight.base())
		r.Quo(r, big.NewRat(1000, 1))
		k[bodyAxis] = 0
	}
	if k != volumeRate {
		if concentration.Coefficient <= 0 {
			return Quantity{}, ErrMissing
		}
		if k.minus(concentration.Unit.kind()) != volumeRate {
			return Quantity{}, ErrKind
		}
		r.Quo(r, concentration.base())
	}
	q, err := quantityOf(r, millilitresPerHour)
	if errors.Is(err, ErrInexact) {
		return roundUp(r)
	}
	return q, err
}

// roundUp returns the next millionth of a mL/h above r, and ErrInexact.
func roundUp(r *big.Rat) (Quantity, error) {
	n := new(big.Rat).Quo(r, millilitresPerHour.factor())
	n.Mul(n, big.NewRat(1e6, 1))
	up := new(big.Int).Div(n.Num(), n.Denom()) // rounds down, as the denominator is positive
	up.Add(up, big.NewInt(1))
	if !up.IsInt64() {
		return Quantity{}, ErrRange
	}
	return Quantity{up.Int64(), -6, millilitresPerHour}, ErrInexact
}

// rat returns the number without its unit.
func (q Quantity) rat() *big.Rat {
	r := new(big.Rat).SetInt64(q.Coefficient)
	return r.Mul(r, pow10(int(q.Exponent)))
}

// base returns the number in the base units of its kind.
func (q Quantity) base() *big.Rat {
	return new(big.Rat).Mul(q.rat(), q.Unit.factor())
}

func pow10(n int) *big.Rat {
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil)
	r := new(big.Rat).SetInt(p)
	if n < 0 {
		r.Inv(r)
	}
	return r
}

// quantityOf returns r, counted in base units, in the unit u.
func quantityOf(r *big.Rat, u Unit) (Quantity, error) {
	return quantityIn(new(big.Rat).Quo(r, u.factor()), u)
}

// quantityIn returns r as a decimal. A fraction ends in decimal only if its
// denominator has no prime factors but 2 and 5; then n places are enough,
// n being the larger of the two powers.
func quantityIn(r *big.Rat, u Unit) (Quantity, error) {
	den := new(big.Int).Set(r.Denom())
	places := 0
	for _, p := range []int64{2, 5} {
		n, prime, rest := 0, big.NewInt(p), new(big.Int)
		for {
			quo, rem := new(big.Int).QuoRem(den, prime, rest)
			if rem.Sign() != 0 {
				break
			}
			den, n = quo, n+1
		}
		places = max(places, n)
	}
	if den.Cmp(big.NewInt(1)) != 0 {
		return Quantity{}, ErrInexact
	}
	c := new(big.Rat).Mul(r, pow10(places)).Num()
	exponent := -places
	for ten, rem := big.NewInt(10), new(big.Int); !c.IsInt64(); exponent++ {
		quo, rem := new(big.Int).QuoRem(c, ten, rem)
		if rem.Sign() != 0 {
			return Quantity{}, ErrRange
		}
		c = quo
	}
	if exponent < math.MinInt8 || exponent > math.MaxInt8 {
		return Quantity{}, ErrRange
	}
	return Quantity{c.Int64(), int8(exponent), u}, nil
}
