// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import "math/bits"

// A Basis is what turns one way of saying a dose into another: ug/kg/min into
// mL/h and back, mg into mL. Either may be missing, and is then not needed or the
// answer is [ErrMissing].
type Basis struct {
	Weight        Quantity // of the patient
	Concentration Quantity // of the drug
}

// Cmp compares two doses or rates exactly, as [Quantity.Cmp] does, but where need
// be by weight and concentration: -1, 0 or +1. It allocates nothing.
func (b Basis) Cmp(q, r Quantity) (int, error) {
	if c, ok := q.Cmp(r); ok {
		return c, nil
	}
	f, err := b.ratio(q, r.Unit)
	if err != nil {
		return 0, err
	}
	if s, t := sign(q.Coefficient), sign(r.Coefficient); s != t || s == 0 {
		return compare(s, t), nil
	}
	f.den.mul(magnitude(r.Coefficient))
	c := scaledCompareNatural(f.num, f.den, f.exp-int(r.Exponent))
	return c * sign(q.Coefficient), nil
}

// Fixed counts a dose or rate in steps of 10^exponent of a unit: the next whole
// number below it and the next above, which are the same when it comes out even.
// It allocates nothing.
func (b Basis) Fixed(q Quantity, to Unit, exponent int) (below, above int64, err error) {
	f, err := b.ratio(q, to)
	if err != nil || q.Coefficient == 0 {
		return 0, 0, err
	}
	below, above, ok := f.divide(exponent)
	if !ok {
		return 0, 0, ErrRange
	}
	if q.Coefficient < 0 {
		below, above = -above, -below
	}
	return below, above, nil
}

// A ratio is num/den x 10^exp, without a sign.
type ratio struct {
	num, den natural
	exp      int
}

// ratio is q as a number of the unit to.
func (b Basis) ratio(q Quantity, to Unit) (ratio, error) {
	f := ratio{num: natural{magnitude(q.Coefficient)}, den: natural{1}, exp: int(q.Exponent)}
	if q.Unit == to {
		return f, nil
	}
	if !q.Unit.converts() || !to.converts() {
		return f, ErrKind
	}
	have, want := q.Unit.kind(), to.kind()
	f.times(units[q.Unit.index()])
	f.over(units[to.index()])
	if have[bodyAxis] != want[bodyAxis] {
		if b.Weight.Coefficient <= 0 {
			return f, ErrMissing
		}
		if !b.Weight.Unit.IsMass() {
			return f, ErrKind
		}
		// The axis of drug mass counts in grams, that of body mass in kilograms.
		switch have[bodyAxis] - want[bodyAxis] {
		case -1: // per kg, and not to be
			f.timesQuantity(b.Weight)
			f.exp -= 3
		case 1:
			f.overQuantity(b.Weight)
			f.exp += 3
		default:
			return f, ErrKind
		}
		have[bodyAxis] = want[bodyAxis]
	}
	if have != want {
		k := b.Concentration.Unit
		if b.Concentration.Coefficient <= 0 {
			return f, ErrMissing
		}
		if !k.IsConcentration() {
			return f, ErrKind
		}
		switch k.kind() {
		case want.minus(have):
			f.timesQuantity(b.Concentration)
		case have.minus(want):
			f.overQuantity(b.Concentration)
		default:
			return f, ErrKind
		}
	}
	return f, nil
}

func (f *ratio) times(u unit) {
	f.num.mul(uint64(u.num))
	f.den.mul(uint64(u.den))
	f.exp += int(u.exp)
}

func (f *ratio) over(u unit) {
	f.num.mul(uint64(u.den))
	f.den.mul(uint64(u.num))
	f.exp -= int(u.exp)
}

func (f *ratio) timesQuantity(q Quantity) {
	f.times(units[q.Unit.index()])
	f.num.mul(magnitude(q.Coefficient))
	f.exp += int(q.Exponent)
}

func (f *ratio) overQuantity(q Quantity) {
	f.over(units[q.Unit.index()])
	f.den.mul(magnitude(q.Coefficient))
	f.exp -= int(q.Exponent)
}

// divide returns f in steps of 10^exponent, rounded down and up; not ok where
// that does not fit.
func (f *ratio) divide(exponent int) (below, above int64, ok bool) {
	e := f.exp - exponent
	for ; e > 0; e-- {
		if !f.num.mul(10) {
			return 0, 0, false
		}
	}
	for ; e < 0; e++ {
		if !f.den.mul(10) {
			return 0, 1, true // den has more bits than the 317 of num
		}
	}
	q, rest, ok := f.num.quo(f.den)
	if !ok || q >= 1<<63-1 {
		return 0, 0, false
	}
	if rest {
		return int64(q), int64(q) + 1, true
	}
	return int64(q), int64(q), true
}

// A natural is a whole number of 384 bits, the least word first. The longest
// product above has three coefficients of 63 bits and four factors of 32.
type natural [6]uint64

// mul multiplies n by m, and reports whether that fits.
func (n *natural) mul(m uint64) bool {
	var carry uint64
	for i := range n {
		hi, lo := bits.Mul64(n[i], m)
		var c uint64
		n[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	return carry == 0
}

func (n *natural) compare(m *natural) int {
	for i := len(n) - 1; i >= 0; i-- {
		if n[i] != m[i] {
			return compare(n[i], m[i])
		}
	}
	return 0
}

func (n *natural) sub(m *natural) {
	var borrow uint64
	for i := range n {
		n[i], borrow = bits.Sub64(n[i], m[i], borrow)
	}
}

// double returns 2n, and whether that fits.
func (n natural) double() (natural, bool) {
	var carry uint64
	for i := range n {
		n[i], carry = n[i]<<1|carry, n[i]>>63
	}
	return n, carry == 0
}

// short reports whether n has at most so many words.
func (n *natural) short(words int) bool {
	var rest uint64
	for _, w := range n[words:] {
		rest |= w
	}
	return rest == 0
}

// quo divides n by m, which is not 0, where the quotient has 64 bits at most.
func (n natural) quo(m natural) (q uint64, rest, ok bool) {
	if m.short(1) && n.short(2) && n[1] < m[0] { // nearly always
		q, r := bits.Div64(n[1], n[0], m[0])
		return q, r != 0, true
	}
	// By hand: what is the most often doubled m that is not more than n?
	var doubled [65]natural
	k := 0
	doubled[0] = m
	for doubled[k].compare(&n) <= 0 {
		if k == 64 {
			return 0, false, false
		}
		d, fits := doubled[k].double()
		if !fits {
			k++
			break
		}
		k++
		doubled[k] = d
	}
	for k--; k >= 0; k-- {
		if doubled[k].compare(&n) <= 0 {
			n.sub(&doubled[k])
			q |= 1 << k
		}
	}
	return q, !n.short(0), true
}

// scaledCompareNatural compares x*10^d with y, neither of them zero. Once the
// scaled side does not fit it is the larger: at most 116 rounds.
func scaledCompareNatural(x, y natural, d int) int {
	for ; d > 0; d-- {
		if !x.mul(10) {
			return 1
		}
	}
	for ; d < 0; d++ {
		if !y.mul(10) {
			return -1
		}
	}
	return x.compare(&y)
}
