// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSlide holds what slides against windows that are added up one by one, hour by hour.
func TestSlide(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const span = 40 // hours before and after now
		window := int64(rapid.IntRange(1, 12).Draw(rt, "window"))
		c := curve{window: window * hour}
		var rates [2*span + 1]int64 // from -span on
		type mass struct{ in, out, n int64 }
		var masses []mass
		for range rapid.IntRange(0, 8).Draw(rt, "rates") {
			begin := int64(rapid.IntRange(-20, 15).Draw(rt, "begin"))
			end := begin + int64(rapid.IntRange(0, 20).Draw(rt, "long"))
			n := int64(rapid.IntRange(0, 9).Draw(rt, "rate"))
			c.turn(begin*hour, n)
			c.turn(end*hour, -n)
			for h := begin; h < end; h++ {
				rates[h+span] += n
			}
		}
		for range rapid.IntRange(0, 4).Draw(rt, "masses") {
			m := mass{in: int64(rapid.IntRange(-10, 10).Draw(rt, "in")), n: int64(rapid.IntRange(0, 9).Draw(rt, "mass"))}
			m.out = int64(rapid.IntRange(-15, 15).Draw(rt, "out"))
			c.give(m.in*hour, m.out*hour, areaOfAmount(m.n))
			if m.out >= -window && m.in <= m.out+window && m.n > 0 {
				masses = append(masses, m)
			}
		}
		first := int64(rapid.IntRange(0, 12).Draw(rt, "first"))
		last := first + int64(rapid.IntRange(0, 12).Draw(rt, "last"))
		value := func(x int64, before bool) (n int64) { // of the window that ends at hour x, before or after what jumps then
			for h := x - window; h < x; h++ {
				n += rates[h+span]
			}
			for _, m := range masses {
				if x > m.in || x == m.in && (!before || x == 0) {
					n += m.n
				}
				if x > m.out+window || x == m.out+window && !before {
					n -= m.n
				}
			}
			return n
		}
		least, most := int64(1)<<62, int64(0)
		for x := first; x <= last; x++ {
			for _, before := range []bool{true, false} {
				n := value(x, before)
				least, most = min(least, n), max(most, n)
			}
		}
		gotLeast, gotMost := c.slide(first*hour, last*hour)
		low, _ := gotLeast.amount()
		_, high := gotMost.amount()
		if high != most || low != least {
			rt.Fatalf("from %d to %d; %d to %d by the hour", low, high, least, most)
		}
	})
}
