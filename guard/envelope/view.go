// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
)

// A View is what the book knows about a device, for a page.
type View struct {
	Device     string
	Sums       []SumView
	Rate       [2]device.Quantity // least and most that runs now
	RateKnown  bool               // false: nobody said what runs, and nothing is counted for it
	Off        bool               // perhaps nothing is given, because a command stopped it
	Reported   time.Time          // when the device last said something, by the machine's clock; zero: never
	NotCounted string             // what the sums do not have, or ""
	ClockDoubt string             // why old doses may be counted longer than they matter, or ""
	Entries    int                // sections and doses that are told apart, of Room
	Room       int
	Doubts     []Doubt
}

// A SumView is a sum in the window that ends now.
type SumView struct {
	Sum                Sum
	Delivered, Counted device.Quantity // least and most that was given
	Planned            device.Quantity // the most that any window from now on will have, if nobody asks for more
}

// View returns what the book knows about a device. It allocates, and is not for
// judging.
func (b *Book) View(name string, e *Envelope) View {
	b.mu.Lock()
	defer b.unlock()
	now := b.tick()
	v := View{Device: name, Room: maxSections + maxDoses}
	if age := now.Least - b.clock.At.Least; b.clock.Doubt != "" && age < int64(MaxWindow) {
		v.ClockDoubt = b.clock.Doubt
	}
	for _, d := range b.doubts() {
		if d.Device == name {
			v.Doubts = append(v.Doubts, d)
		}
	}
	if errors.Is(b.broken, ErrDamaged) {
		v.NotCounted = "all doses: their journal is damaged, and a person has to look"
		return v
	}
	a := b.accounts[name]
	if a == nil {
		v.NotCounted = notReported
		return v
	}
	a.advance(now)
	v.RateKnown, v.NotCounted, v.Entries = a.Known, cmp.Or(a.Lost, a.unread), len(a.Past)+len(a.Doses)
	if a.Reported != 0 {
		v.Reported = time.Unix(0, a.Reported).UTC()
	}
	if v.NotCounted == "" && (a.Reported == 0 || !a.Known) {
		v.NotCounted = notReported
	}
	r := a.Runs.ahead(now, 0)
	v.Off = r.Off
	if e == nil || e.Unit == device.NoUnit || a.Unit != e.Unit {
		return v
	}
	v.Rate = [2]device.Quantity{{Coefficient: r.Lo, Exponent: -6, Unit: e.rateUnit}, {Coefficient: r.Hi, Exponent: -6, Unit: e.rateUnit}}
	for i := range e.Sums {
		s := &e.Sums[i]
		lo, hi, planned := a.sums(now, s)
		in := func(n int64) device.Quantity { return device.Quantity{Coefficient: n, Exponent: -6, Unit: e.Unit} }
		v.Sums = append(v.Sums, SumView{*s, in(lo), in(hi), in(planned)})
	}
	return v
}

const notReported = "what is given at the device's own keypad, or by its own loop: the device has not reported"

// sums are the least and the most in the window that ends now, and the most in any
// to come.
func (a *account) sums(now moment, s *Sum) (delivered, counted, planned int64) {
	c := &a.curve
	c.reset(s.Window)
	a.low(c, now, s, &a.Runs, false)
	delivered, _ = c.value.amount()
	c.reset(s.Window)
	a.high(c, now, s, &a.Runs, nil)
	_, counted = c.value.amount()
	_, most := c.slide(0, forever)
	_, planned = most.amount()
	return delivered, counted, planned
}

// Says has the limits in words, a line each, as a person reads who approves them.
func (e *Envelope) Says() (lines []string) {
	for i := range e.Verbs {
		o := &e.Verbs[i]
		name := o.Verb.String()
		var parts []string
		for _, r := range o.rules {
			if limit := strings.TrimSpace(strings.TrimPrefix(r.limit, name)); limit != "" {
				parts = append(parts, limit)
			}
		}
		if o.Confirm != NoConfirm {
			parts = append(parts, "held for "+said(o.Hold))
		}
		for _, r := range o.Confirmers {
			parts = append(parts, "confirmed by a "+r.String())
		}
		if o.Takes != 0 {
			parts = append(parts, "takes "+said(o.Takes))
		}
		if !o.Counts[1].IsNone() {
			parts = append(parts, "counts as "+dosed(o.Counts[0])+" to "+dosed(o.Counts[1]))
		}
		lines = append(lines, name+": "+strings.Join(parts, ", "))
	}
	for i := range e.Sums {
		s := &e.Sums[i]
		if !s.Highest.IsNone() {
			lines = append(lines, s.above.limit)
		}
		if !s.Lowest.IsNone() {
			lines = append(lines, s.below.limit)
		}
	}
	if e.Interruption != 0 {
		lines = append(lines, e.stays.limit)
	}
	if len(e.Emergency.Verbs) > 0 {
		var names []string
		for _, v := range e.Emergency.Verbs {
			names = append(names, v.String())
		}
		lines = append(lines, "in an emergency: "+strings.Join(names, ", "))
	}
	return lines
}
