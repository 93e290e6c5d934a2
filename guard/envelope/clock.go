// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"time"
)

// A clock makes moments of what the machine's clocks say, and survives in the
// journal.
//
// In one start of the machine the slower scale goes on by the smaller progress of
// wall clock and uptime, the faster by the larger: a clock that is set forward does
// not make doses old, one that is set back, or a machine that slept, does not hide
// what ran meanwhile. Over a restart of the machine nothing is known: the slower
// scale stands still, and the faster goes on by more than any window.
type clock struct {
	Reading Reading `json:"reading"`
	Now     moment  `json:"now"`

	Doubt string `json:"doubt,omitempty"` // the last time that the scales went apart, for a person
	At    moment `json:"at"`              // of Doubt

	Signed anchor `json:"signed"`
}

// An anchor is the last time that was proven.
type anchor struct {
	First  int64  `json:"first,omitempty"` // it was not before, nanoseconds since 1970; 0: none was
	Last   int64  `json:"last,omitempty"`  // nor after
	At     moment `json:"at"`
	Starts int    `json:"starts,omitempty"` // of the machine since
	Before moment `json:"before"`           // the last moment before the last start
	After  moment `json:"after"`            // the first after
}

// gap is what the faster scale goes on by when nobody knows.
const gap = int64(MaxWindow)

// What a clock may differ from the other without being doubted: it is steered.
const (
	steered   = int64(time.Second)
	steeredBy = 1000 // one part of so many
)

// ErrTime is of a signed time that cannot follow on the one before.
var ErrTime = errors.New("envelope: the signed time cannot follow on the one before")

// read brings the clock up to a reading, and reports whether the scales went apart.
func (c *clock) read(r Reading) (doubted bool) {
	old := c.Reading
	c.Reading = r
	if r.Boot != old.Boot {
		c.Signed.Starts++
		c.Signed.Before = c.Now
		c.Now.Most += gap
		c.Signed.After = c.Now
		c.Doubt, c.At = "the machine was restarted, and how long that took is not proven", c.Now
		return true
	}
	wall, up := r.Wall-old.Wall, max(0, r.Uptime-old.Uptime)
	wall = min(wall, gap) // what is more makes no difference
	c.Now.Least += max(0, min(wall, up))
	c.Now.Most += max(wall, up)
	if apart := wall - up; apart > steered+up/steeredBy || -apart > steered+up/steeredBy {
		c.Doubt, c.At = "the time was changed by "+time.Duration(apart).Round(time.Second).String(), c.Now
		return true
	}
	return false
}

// A shift is what a signed time moves everything by that came after a start of the
// machine.
type shift struct {
	From  moment `json:"from"`
	Least int64  `json:"least"`
	Most  int64  `json:"most"`
}

// of moves a moment. What came after the start is known by the faster scale, which
// went on by more than anything that is planned.
func (s shift) of(m *moment) {
	if m.Most >= s.From.Most && m.Most < forever/2 {
		m.Least += s.Least
		m.Most += s.Most
	}
}

// ofEnd moves the end of a layer, whose two scales may come from different commands:
// each is moved where that makes less certain.
func (s shift) ofEnd(m *moment) {
	if m.Least >= s.From.Least && m.Least < forever/2 {
		m.Least += s.Least
	}
	if m.Most >= s.From.Most && m.Most < forever/2 {
		m.Most += s.Most
	}
}

const rebaseAfter = forever / 8

// rebase begins both scales anew: what was before now is negative. A time that was
// proven before is forgotten.
func (c *clock) rebase() shift {
	s := shift{From: moment{1 - forever, 1 - forever}, Least: -c.Now.Least, Most: -c.Now.Most}
	s.of(&c.Now)
	s.of(&c.At)
	c.Signed = anchor{}
	return s
}

// sign takes a proven time: now is from first to last. When one was proven before
// the machine was started, once, then it is known how long that took.
func (c *clock) sign(first, last int64) (s shift, err error) {
	a := c.Signed
	if a.First != 0 && last < a.First {
		return s, ErrTime
	}
	if a.First != 0 && a.Starts == 1 {
		beforeLeast, beforeMost := a.Before.since(a.At)
		afterLeast, afterMost := c.Now.since(a.After)
		least := max(0, first-a.Last-beforeMost-afterMost)
		most := last - a.First - beforeLeast - afterLeast
		if most < least {
			return s, ErrTime
		}
		s = shift{From: a.After, Least: min(least, gap), Most: min(0, most-gap)}
		s.of(&c.Now)
		if c.At == a.After {
			c.Doubt = ""
		}
		s.of(&c.At)
	}
	c.Signed = anchor{First: first, Last: last, At: c.Now}
	return s, nil
}

// A Lapse is how much time has passed: at least, for sure, and at most. It goes on as
// the clock of a [Book] does, whatever is set on the machine. Written down with its
// reading, it goes on when it is read again: over a restart of the machine Least stands
// still. What is not to be forgotten too early ages by Least; what is not to be believed
// too long, by Most.
type Lapse struct {
	Least, Most time.Duration
	Reading     Reading // up to which it was brought; none: it begins
}

// Pass brings it up to a reading of the clocks.
func (l *Lapse) Pass(r Reading) {
	if l.Reading != (Reading{}) {
		c := clock{Reading: l.Reading, Now: moment{int64(l.Least), int64(l.Most)}}
		c.read(r)
		l.Least, l.Most = time.Duration(c.Now.Least), time.Duration(c.Now.Most)
	}
	l.Reading = r
}

// shift moves all moments of an account.
func (a *account) shift(s shift) {
	for _, m := range []*moment{&a.Since, &a.Mark, &a.Confirmed, &a.Meter.At, &a.Meter.Turned} {
		s.of(m)
	}
	programs := []*program{&a.Sure, &a.Runs}
	for i := range a.Waits {
		s.of(&a.Waits[i].Until)
		programs = append(programs, &a.Waits[i].Program)
	}
	for i := range a.Past {
		s.of(&a.Past[i].Begin)
	}
	for i := range a.Doses {
		s.of(&a.Doses[i].From)
		s.of(&a.Doses[i].To)
	}
	lists := [][]latest{a.Last}
	for _, e := range a.Open {
		s.of(&e.Begin)
		s.of(&e.Sent)
		programs = append(programs, &e.Under, &e.Program)
		lists = append(lists, e.Before)
	}
	for _, l := range lists {
		for i := range l {
			s.of(&l[i].At)
			s.of(&l[i].Until)
		}
	}
	for _, p := range programs {
		for i := range p {
			s.ofEnd(&p[i].Until)
		}
	}
}
