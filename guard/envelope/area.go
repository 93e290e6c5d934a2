// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"math"
	"math/bits"
	"time"
)

// Amounts are counted in millionths of the unit of the sums, rates in
// millionths per hour, and time in nanoseconds. So an area, a rate for a time,
// has 3.6 x 10^12 to a millionth, and is exact.
const (
	hour    = int64(time.Hour)
	forever = int64(1) << 62

	// No amount and no rate is larger. With windows of at most MaxWindow (below 2^52
	// nanoseconds) an area has fewer than 2^106, and a thousand of them have room in
	// 128 bits.
	maxAmount = int64(1) << 53
)

// MaxWindow is the longest window of a sum.
const MaxWindow = 31 * 24 * time.Hour

// An area is a rate for a time, or an amount, without a sign.
type area struct{ hi, lo uint64 }

// areaOf is a rate for a time; neither is negative.
func areaOf(rate, time int64) area {
	hi, lo := bits.Mul64(uint64(rate), uint64(time))
	return area{hi, lo}
}

func areaOfAmount(n int64) area { return areaOf(n, hour) }

func (a area) plus(b area) area {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, carry := bits.Add64(a.hi, b.hi, carry)
	if carry != 0 {
		return area{math.MaxUint64, math.MaxUint64}
	}
	return area{hi, lo}
}

// minus returns a - b, or nothing where b is more.
func (a area) minus(b area) area {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, borrow := bits.Sub64(a.hi, b.hi, borrow)
	if borrow != 0 {
		return area{}
	}
	return area{hi, lo}
}

func (a area) less(b area) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

// amount is the area in millionths, rounded down, and up.
func (a area) amount() (below, above int64) { return a.per(hour) }

// per is how long a rate takes for the area, or the rate that does in a time,
// rounded down, and up.
func (a area) per(n int64) (below, above int64) {
	if a.hi >= uint64(n) {
		return math.MaxInt64, math.MaxInt64
	}
	q, rest := bits.Div64(a.hi, a.lo, uint64(n))
	if q >= math.MaxInt64 {
		return math.MaxInt64, math.MaxInt64
	}
	if rest != 0 {
		return int64(q), int64(q) + 1
	}
	return int64(q), int64(q)
}

// A curve is what is given over time, as windows of one length see it that slide
// on from the one which ends now. Time is counted from now: the past is negative.
//
//	rate
//	 |      ______
//	 |_____|      |____________      what runs
//	 |        #         #            what is given at once
//	 +--------------+---------------> time
//	       [ window ]                slides to the right: what its end reaches
//	                                 comes in, what its beginning has passed is out
type curve struct {
	window int64

	value area  // in the window that ends now
	slope int64 // of the value, from now on
	rate  int64 // what runs at last

	in, out []point // in order: where the window's end, its beginning, meets what changes
}

// A point changes what a window has: the slope, or at once.
type point struct {
	at   int64
	rate int64
	mass area
}

func (c *curve) reset(window time.Duration) {
	*c = curve{window: int64(window), in: c.in[:0], out: c.out[:0]}
}

// insert puts a point in its place. What is added comes nearly in order.
func insert(list []point, p point) []point {
	i := len(list)
	for i > 0 && list[i-1].at > p.at {
		i--
	}
	if i > 0 && list[i-1].at == p.at {
		list[i-1].rate += p.rate
		list[i-1].mass = list[i-1].mass.plus(p.mass)
		return list
	}
	list = append(list, p)
	if i == len(list)-1 {
		return list
	}
	copy(list[i+1:], list[i:])
	list[i] = p
	return list
}

// turn adds to the rate from a time on; what it takes away has been added before.
func (c *curve) turn(at, by int64) {
	if by == 0 {
		return
	}
	at = max(at, -c.window)
	c.out = insert(c.out, point{at: at, rate: by})
	switch {
	case at > 0:
		c.in = insert(c.in, point{at: at, rate: by})
		return
	case by > 0:
		c.value = c.value.plus(areaOf(by, -at))
	default:
		c.value = c.value.minus(areaOf(-by, -at))
	}
	c.slope += by
}

// runs says what runs from a time on, until it says so again, later.
func (c *curve) runs(from, rate int64) {
	c.turn(from, rate-c.rate)
	c.rate = rate
}

// give adds what is in a window if that ends at or after one time, and begins at
// or before another: none, if it is too short to do both.
func (c *curve) give(in, out int64, mass area) {
	if out < -c.window || in > out+c.window || mass == (area{}) {
		return
	}
	if in <= 0 {
		c.value = c.value.plus(mass)
	} else {
		c.in = insert(c.in, point{at: in, mass: mass})
	}
	if out < forever {
		c.out = insert(c.out, point{at: out, mass: mass})
	}
}

// slide returns the least and the most that a window has which ends at a time
// from first to last. Between two points the value is a straight line, so that
// only points need a look; where something is given, or leaves, at once, before and
// after that.
func (c *curve) slide(first, last int64) (least, most area) {
	least = area{math.MaxUint64, math.MaxUint64}
	in, out, x, value, slope := c.in, c.out, int64(0), c.value, c.slope
	for {
		if x >= first {
			if value.less(least) {
				least = value
			}
			if most.less(value) {
				most = value
			}
		}
		// What changes here; a second look after it if that is not the slope only.
		at, jumps := x, false
		for len(in) > 0 && in[0].at <= at {
			slope += in[0].rate
			if in[0].mass != (area{}) {
				value, jumps = value.plus(in[0].mass), true
			}
			in = in[1:]
		}
		for len(out) > 0 && out[0].at+c.window <= at {
			slope -= out[0].rate
			if out[0].mass != (area{}) {
				value, jumps = value.minus(out[0].mass), true
			}
			out = out[1:]
		}
		if jumps {
			continue
		}
		if x >= last || len(in)+len(out) == 0 && x >= first {
			return least, most
		}
		x = last
		if at < first {
			x = min(x, first)
		}
		if len(in) > 0 {
			x = min(x, in[0].at)
		}
		if len(out) > 0 {
			x = min(x, out[0].at+c.window)
		}
		if slope >= 0 {
			value = value.plus(areaOf(slope, x-at))
		} else {
			value = value.minus(areaOf(-slope, x-at))
		}
	}
}
