// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"slices"

	"github.com/myelin-health/myelin/device"
)

// high tells a curve what was, is, and may be given at most, when a program runs
// from now on and a dose is added.
func (a *account) high(c *curve, now moment, s *Sum, p *program, extra *dose) {
	given := a.Doses
	if s.rates() {
		for i := range a.Past {
			end := a.end(i)
			for len(given) > 0 && given[0].To.Least < end.Least { // so that all comes in order
				c.highDose(now, s, &given[0])
				given = given[1:]
			}
			c.highSection(now, a.Past[i].Begin, end, a.Past[i].Hi)
		}
		c.highSection(now, a.Mark, now, a.Runs.over(a.Mark, now).Hi)
		c.ahead(now, p, highest)
	}
	for i := range given {
		c.highDose(now, s, &given[i])
	}
	for _, e := range a.Open {
		if e.Shape.Kind == doses {
			d := e.dose(now)
			c.highDose(now, s, &d)
		}
	}
	if extra != nil {
		c.highDose(now, s, extra)
	}
}

// glance is more than any window can have: all doses that one reaches, and all the
// time the highest rate. Mostly that is within the limit, and nothing has to slide.
func (a *account) glance(now moment, s *Sum, p *program, extra *dose) (most area) {
	window := int64(s.Window)
	reached := func(d *dose) bool { return s.dosesOf(d.Verb) && d.To.Least-now.Least >= -window }
	for i := range a.Doses {
		if d := &a.Doses[i]; reached(d) {
			most = most.plus(areaOfAmount(d.Hi))
		}
	}
	for _, e := range a.Open {
		if e.Shape.Kind == doses && s.dosesOf(e.Shape.Verb) {
			most = most.plus(areaOfAmount(e.Shape.Hi))
		}
	}
	if extra != nil && s.dosesOf(extra.Verb) {
		most = most.plus(areaOfAmount(extra.Hi))
	}
	if !s.rates() {
		return most
	}
	highest := a.Runs.over(a.Mark, now).Hi
	for i := range p {
		highest = max(highest, p[i].Hi)
	}
	_, doubtful := now.since(a.Mark)
	doubtful -= now.Least - a.Mark.Least
	for i := len(a.Past) - 1; i >= 0 && a.end(i).Least-now.Least >= -window; i-- {
		begin, end := a.Past[i].Begin, a.end(i)
		_, longest := end.since(begin)
		doubtful += longest - (end.Least - begin.Least)
		highest = max(highest, a.Past[i].Hi)
	}
	return most.plus(areaOf(highest, window+min(doubtful, forever/2)))
}

// highSection: on the slower scale old doses leave late. What passed more on the
// faster one may have been given as well, anywhere in the section.
func (c *curve) highSection(now, begin, end moment, hi int64) {
	from, to := begin.Least-now.Least, end.Least-now.Least
	if to > -c.window {
		c.runs(from, hi)
	}
	if _, most := end.since(begin); most > to-from {
		c.give(0, from, areaOf(hi, min(most-(to-from), c.window)))
	}
}

func (c *curve) highDose(now moment, s *Sum, d *dose) {
	if s.dosesOf(d.Verb) {
		c.give(0, d.To.Least-now.Least, areaOfAmount(d.Hi))
	}
}

// low tells a curve what was, is, and will be given at least.
func (a *account) low(c *curve, now moment, s *Sum, p *program, cut bool) {
	given := a.Doses
	if s.rates() {
		last := forever // the end of the section before
		for i := range a.Past {
			x := &a.Past[i]
			for len(given) > 0 && given[0].From.Most < x.Begin.Most { // so that all comes in order
				c.lowDose(now, s, &given[0], cut)
				given = given[1:]
			}
			last = c.lowSection(now, x.Begin, a.end(i), x.Lo, last)
		}
		c.lowSection(now, a.Mark, now, a.Runs.over(a.Mark, now).Lo, last)
		c.ahead(now, p, lowest)
	}
	for i := range given {
		c.lowDose(now, s, &given[i], cut)
	}
}

// lowGlance is less than any window can have that begins so long ago at most: all the time
// the lowest rate, as far as it is sure that this passed. Mostly that is enough, and
// nothing has to slide.
func (a *account) lowGlance(now moment, s *Sum, p *program, ago int64) area {
	if !s.rates() {
		return area{}
	}
	lowest, unsure, end := a.Runs.over(a.Mark, now).Lo, int64(0), now
	for i := range p {
		if p[i].Until != never {
			lowest = min(lowest, p[i].Lo)
		}
	}
	for i, begin := len(a.Past), a.Mark; ; i, begin, end = i-1, a.Past[i-1].Begin, begin {
		sure, _ := end.since(begin)
		unsure += end.Most - begin.Most - sure
		if now.Most-begin.Most >= ago {
			break
		}
		if i == 0 {
			return area{}
		}
		lowest = min(lowest, a.Past[i-1].Lo)
	}
	return areaOf(lowest, max(0, int64(s.Window)-unsure))
}

func (c *curve) lowDose(now moment, s *Sum, d *dose, cut bool) {
	if d.Lo > 0 && s.dosesOf(d.Verb) && !(cut && d.To.Least > now.Least) {
		c.give(d.To.Least-now.Least, d.From.Most-now.Most, areaOfAmount(d.Lo))
	}
}

// lowSection: on the faster scale old doses leave early, and what lies between
// the scales may not have passed.
func (c *curve) lowSection(now, begin, end moment, lo, last int64) (to int64) {
	to = end.Most - now.Most
	if to > -c.window {
		least, _ := end.since(begin)
		if last < to-least {
			c.runs(last, 0)
		}
		c.runs(to-least, lo)
	}
	return to
}

func highest(r rate) int64 { return r.Hi }

func lowest(r rate) int64 { return r.Lo }

// ahead tells a curve what runs from now on.
func (c *curve) ahead(now moment, p *program, of func(rate) int64) {
	var turns [2*int(base) + 1]int64 // 0 and where a layer may end, and has ended
	n := 1
	for i := range p[:base] {
		if u := p[i].Until; u != never {
			turns[n], turns[n+1] = max(0, u.Most-now.Most), max(0, u.Least-now.Least)
			n += 2
		}
	}
	slices.Sort(turns[:n])
	for i, at := range turns[:n] {
		if at < forever/2 && (i+1 == n || at < turns[i+1]) {
			c.runs(at, of(p.ahead(now, at)))
		}
	}
}

// rates reports whether the sum counts what runs.
func (s *Sum) rates() bool {
	return s.Verb != device.DeliverBolus && s.Verb != device.Prime
}

// dosesOf reports whether the sum counts the doses of a verb.
func (s *Sum) dosesOf(v device.Verb) bool { return s.Verb == device.NoVerb || s.Verb == v }

// off is how long at most nothing may have been given until now, by a command; 0
// when something is given for sure, or nobody stopped it.
func (a *account) off(now moment) int64 {
	if !a.Runs.over(a.Mark, now).Off {
		return 0
	}
	begin := a.Mark
	for i := len(a.Past) - 1; i >= 0 && a.Past[i].Off; i-- {
		begin = a.Past[i].Begin
	}
	_, most := now.since(begin)
	return most
}
