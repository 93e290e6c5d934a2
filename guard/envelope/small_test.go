// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
)

// This file walks through every sequence of a small alphabet: commands, what comes of
// them, crashes, clocks that jump, with windows of a few minutes and a device that
// counts in whole numbers. What the walk finds is the shortest way to it.

const smallEnvelope = head + `therapy: drug infusion
sums:
  unit: mL
  windows:
    - {window: 3m, highest: 6 mL, lowest: 1 mL}
verbs:
  set-infusion-rate: {takes: 1m}
  deliver-bolus: {takes: 1m}
  suspend: {takes: 1m}
  resume: {takes: 1m}
`

// A small is a state of the walk: what the book knows, what is true, and what the
// clocks say. It is copied at each step.
type small struct {
	clock   clock
	now     Reading
	account *account
	durable []byte // the account as the journal has it
	clockAt clock  // with it
	open    *entry // in flight

	given     []int // mL in each minute
	rate      int   // mL in a minute
	stopUntil int
	arrives   int // 1: what is open reaches the device after the next minute
	command   *device.Command
	exact     bool // the clocks were right all the time
	foreign   bool // somebody gave at the keypad
	hidden    bool // and no reading was since, that is not forgotten
	told      int64
	late      int64 // what a device may have been behind, which the last readings take out
	path      []string
}

func (s *small) copy() *small {
	c := *s
	c.account = cloneAccount(s.account)
	if s.open != nil {
		c.open = c.account.entry(s.open.ID)
	}
	c.given = append([]int(nil), s.given...)
	c.path = append([]string(nil), s.path...)
	return &c
}

func cloneAccount(a *account) *account {
	c := *a
	c.curve = curve{}
	c.Past = append([]section(nil), a.Past...)
	c.Doses = append([]dose(nil), a.Doses...)
	c.Last = append([]latest(nil), a.Last...)
	c.Open = nil
	for _, e := range a.Open {
		f := *e
		c.Open = append(c.Open, &f)
	}
	return &c
}

func (s *small) tick() moment {
	s.clock.read(s.now)
	return s.clock.Now
}

// save is what the journal has: the account as it is.
func (s *small) save() {
	b, err := json.Marshal(s.account)
	if err != nil {
		panic(err)
	}
	s.durable, s.clockAt = b, s.clock
}

// crash takes the account back to the journal, with the machine or without.
func (s *small) crash(reboot bool) {
	a := new(account)
	if err := json.Unmarshal(s.durable, a); err != nil {
		panic(err)
	}
	a.Unit, _ = device.UnitOfUCUM(a.UnitText)
	s.account, s.clock, s.open = a, s.clockAt, nil
	if reboot {
		s.now = Reading{Wall: s.now.Wall, Uptime: 0, Boot: s.now.Boot + "'"}
		s.exact = false
	}
	s.hidden = s.hidden || s.foreign && a.Meter.Total < s.told
	a.died(s.clockAt.Now, s.tick(), false)
}

func (s *small) minute() {
	n := s.rate
	if s.stopUntil > len(s.given) {
		n = 0
	}
	if s.arrives == 2 { // after this minute's infusion was begun
		n += s.reach()
	}
	s.given = append(s.given, n)
	if s.arrives == 1 {
		n := s.reach()
		s.given[len(s.given)-1] += n
	}
	s.now.Wall += 60e9
	s.now.Uptime += 60e9
}

// reach is what the device does with a command, and gives at once.
func (s *small) reach() int {
	s.arrives = 0
	c := s.command
	switch c.Verb {
	case device.SetInfusionRate:
		s.rate = int(c.Value.Coefficient) / 60
	case device.DeliverBolus:
		return int(c.Value.Coefficient)
	case device.Suspend:
		s.stopUntil = len(s.given) + int(c.Limit.Coefficient)
	case device.Resume:
		s.stopUntil = 0
	}
	return 0
}

// check holds every window of three minutes that ends now.
func (s *small) check(t *testing.T, e *Envelope) {
	now := s.tick()
	s.account.advance(now)
	lo, hi, planned := s.account.sums(now, &e.Sums[0])
	if _, glance := s.account.glance(now, &e.Sums[0], &s.account.Runs, nil).amount(); glance < planned {
		s.fail(t, "at a glance %d, and looked at %d", glance, planned)
	}
	if glance, least := s.account.lowest(now, &e.Sums[0]); glance > least {
		s.fail(t, "at a glance at least %d, and looked at %d", glance, least)
	}
	given := 0
	for _, n := range s.given[max(0, len(s.given)-3):] {
		given += n
	}
	given *= 1e6
	switch most := int(e.Sums[0].most); {
	case given > int(hi+s.late) && !s.hidden:
		s.fail(t, "more was given (%d) than is counted (%d)", given, hi)
	case given < int(lo):
		s.fail(t, "less was given (%d) than is thought (%d)", given, lo)
	case given > most && !s.foreign:
		s.fail(t, "more was given (%d) than is allowed (%d)", given, most)
	case s.exact && !s.foreign && (int(hi) > most || int(planned) > most):
		s.fail(t, "more is counted (%d, %d planned) than is allowed (%d)", hi, planned, most)
	}
}

func (s *small) fail(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Fatalf("%s\nminutes %v\n%s", fmt.Sprintf(format, args...), s.given, strings.Join(s.path, "\n"))
}

// A letter of the alphabet: what happens next; nil when it cannot.
type letter struct {
	name string
	do   func(s *small, e *Envelope) bool
}

func letters(t *testing.T, orders []*Request, outcomes ...string) []letter {
	var list []letter
	for _, r := range orders {
		for _, outcome := range outcomes {
			name := fmt.Sprintf("%v %v %v: %s", r.Command.Verb, r.Command.Value, r.Command.Limit, outcome)
			list = append(list, letter{name, func(s *small, e *Envelope) bool { return s.order(e, r, outcome) }})
		}
	}
	list = append(list,
		letter{"a minute", func(s *small, _ *Envelope) bool { s.minute(); return true }},
		letter{"the answer, and a minute", func(s *small, _ *Envelope) bool {
			if s.open == nil || s.arrives != 0 {
				return false
			}
			s.account.accepted(s.tick(), s.open)
			s.open = nil
			s.save()
			s.minute()
			return true
		}},
		letter{"killed", func(s *small, _ *Envelope) bool { s.crash(false); return true }},
		letter{"rebooted", func(s *small, _ *Envelope) bool { s.crash(true); return true }},
		letter{"rebooted for two minutes", func(s *small, _ *Envelope) bool { s.minute(); s.minute(); s.crash(true); return true }},
		letter{"clock forward", func(s *small, _ *Envelope) bool { s.now.Wall += 7200e9; s.exact = false; return true }},
		letter{"clock back", func(s *small, _ *Envelope) bool { s.now.Wall -= 90e9; s.exact = false; return true }},
		letter{"the device says what runs", func(s *small, _ *Envelope) bool {
			r := rate{Lo: int64(s.rate) * 60e6, Hi: int64(s.rate) * 60e6}
			if s.stopUntil > len(s.given) {
				r = rate{}
			}
			r.Off = r.Hi == 0
			s.account.says(s.tick(), r)
			s.save()
			s.exact = false
			return true
		}},
		letter{"2 mL at the keypad, and a minute", func(s *small, _ *Envelope) bool {
			if s.arrives != 0 {
				return false
			}
			s.minute()
			s.given[len(s.given)-1] += 2
			s.foreign, s.hidden = true, true
			return true
		}},
		letter{"the device's counter", func(s *small, _ *Envelope) bool {
			total := int64(0)
			for _, n := range s.given {
				total += int64(n) * 1e6
			}
			now := s.tick()
			m := s.account.Meter
			from := m.At
			s.told, s.late = total, max(s.late, m.Behind)
			gained, ok := m.read(now, total)
			if !ok {
				panic("a counter that only grows is read as an old one")
			}
			s.account.metered(&record{At: now, From: &from, Lo: gained, Hi: gained, Meter: &m})
			if len(s.path)%2 == 0 { // it does not wait for the disk
				s.save()
			}
			s.exact, s.hidden = false, false
			return true
		}},
	)
	return list
}

// order asks, and says what comes of it.
func (s *small) order(e *Envelope, r *Request, outcome string) bool {
	if s.open != nil || s.arrives != 0 {
		return false
	}
	now := s.tick()
	s.account.advance(now)
	q := candidate{Request: r}
	if d := e.decide(s.account, now, &q); d.Verdict != device.Allow {
		return false
	}
	a := s.account
	if a.adopt("mL") != nil {
		return false
	}
	x := &entry{ID: uint64(len(s.path) + 1), Shape: q.shape, Takes: q.limits.takes(q.shape.Kind)}
	a.reserve(now, x)
	s.save() // durable before it goes out
	s.command = &r.Command
	switch outcome {
	case "never sent":
		a.released(now, x)
	case "rejected":
		a.sent(now, x)
		a.released(now, x)
	case "lost":
		a.sent(now, x)
		x.Doubt = whyNoAnswer
	case "done":
		a.sent(now, x)
		s.givenNow(s.reach())
		a.accepted(now, x)
	case "done, answer lost":
		a.sent(now, x)
		s.givenNow(s.reach())
		x.Doubt = whyNoAnswer
	case "done later":
		a.sent(now, x)
		s.open, s.arrives = x, 1
	}
	// A crash may come before what was said then is durable, and after.
	if len(s.path)%2 == 0 {
		s.save()
	}
	return true
}

// givenNow is given in the minute that begins now.
func (s *small) givenNow(n int) {
	if n > 0 {
		s.arrives = 2
		s.command = &device.Command{Verb: device.DeliverBolus, Value: device.Quantity{Coefficient: int64(n)}}
	}
}

func (s *small) walk(t *testing.T, e *Envelope, list []letter, depth int) (n int) {
	if depth == 0 {
		end := s.copy() // what was begun may still exceed
		for range 4 {
			end.minute()
			end.check(t, e)
		}
		return 1
	}
	for _, l := range list {
		c := s.copy()
		c.path = append(c.path, l.name)
		if !l.do(c, e) {
			continue
		}
		c.check(t, e)
		n += c.walk(t, e, list, depth-1)
	}
	return n
}

func smallOrder(t *testing.T, verb device.Verb, value, limit string) *Request {
	r := ask(t, verb, value, limit)
	r.Command.Therapy = device.DrugInfusion
	return r
}

// TestEverySmallSequence walks wide, and then deep with fewer letters.
func TestEverySmallSequence(t *testing.T) {
	e := load(t, smallEnvelope)
	orders := []*Request{
		smallOrder(t, device.SetInfusionRate, "120 mL/h", ""), smallOrder(t, device.DeliverBolus, "2 mL", ""),
		smallOrder(t, device.SetInfusionRate, "60 mL/h", ""), smallOrder(t, device.SetInfusionRate, "0 mL/h", ""),
		smallOrder(t, device.DeliverBolus, "3 mL", ""), smallOrder(t, device.Suspend, "", "1 min"), smallOrder(t, device.Resume, "", ""),
	}
	wide := letters(t, orders, "done", "rejected", "lost", "done, answer lost", "done later", "never sent")
	deep := letters(t, orders[:2], "done", "done later")
	s := &small{now: Reading{Wall: 1772521200e9, Uptime: 3600e9, Boot: "a"}, exact: true}
	s.clock.Reading = s.now
	s.account = newAccount(moment{})
	s.account.adopt("mL")
	s.account.says(moment{}, rate{Off: true})
	s.account.Meter = meter{Unit: "mL"}
	s.save()
	if testing.Short() {
		t.Log(s.walk(t, e, wide, 2), "wide,", s.walk(t, e, deep, 4), "deep")
		return
	}
	t.Log(s.walk(t, e, wide, 3), "wide,", s.walk(t, e, deep, 5), "deep")
}
