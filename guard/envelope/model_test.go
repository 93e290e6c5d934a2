// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
)

// This file has the obvious twin of the book: a device that is simulated minute by
// minute in rational numbers, which knows what it gave. It knows nothing of
// moments, layers and areas.

const endless = 1 << 40 // minutes

// A pump is a device. What its maker left open is drawn at random.
type pump struct {
	given []*big.Rat // in each minute of real time

	base, temporary *big.Rat
	temporaryUntil  int
	stopUntil       int
	boluses         []*bolus

	rateEndsTemporary, rateResumes, stopEndsTemporary, temporaryResumes bool
}

type bolus struct {
	left, perMinute *big.Rat
	id              uint64
	total           *big.Rat
}

func newPump(personality int) *pump {
	return &pump{
		base: new(big.Rat), temporary: new(big.Rat),
		rateEndsTemporary: personality&1 != 0, rateResumes: personality&2 != 0,
		stopEndsTemporary: personality&4 != 0, temporaryResumes: personality&8 != 0,
	}
}

func (p *pump) now() int { return len(p.given) }

func (p *pump) rate() *big.Rat {
	switch {
	case p.stopUntil > p.now():
		return new(big.Rat)
	case p.temporaryUntil > p.now():
		return p.temporary
	}
	return p.base
}

func (p *pump) minute() {
	sum := new(big.Rat).Quo(p.rate(), big.NewRat(60, 1))
	for _, b := range p.boluses {
		n := b.perMinute
		if b.left.Cmp(n) < 0 {
			n = b.left
		}
		sum.Add(sum, n)
		b.left = new(big.Rat).Sub(b.left, n)
		b.total = new(big.Rat).Add(b.total, n)
	}
	p.given = append(p.given, sum)
}

// do is what the device does when a command reaches it.
func (p *pump) do(c *device.Command, id uint64, minutes int) {
	value := new(big.Rat)
	if c.Value.Unit != device.NoUnit {
		value, _ = new(big.Rat).SetString(number(c.Value))
	}
	long := endless
	if c.Limit.Unit != device.NoUnit {
		long = int(c.Limit.Coefficient)
	}
	switch c.Verb {
	case device.SetBasalRate:
		p.base = value
		if p.rateEndsTemporary {
			p.temporaryUntil = 0
		}
		if p.rateResumes {
			p.stopUntil = 0
		}
		if long != endless { // ends by itself, with nothing behind it
			p.base, p.temporary, p.temporaryUntil = new(big.Rat), value, p.now()+long
		}
	case device.SetTemporaryBasal:
		p.temporary, p.temporaryUntil = value, p.now()+long
		if p.temporaryResumes {
			p.stopUntil = 0
		}
	case device.CancelTemporaryBasal:
		p.temporaryUntil = 0
	case device.Suspend:
		p.stopUntil = p.now() + long
		if p.stopEndsTemporary {
			p.temporaryUntil = 0
		}
	case device.Resume:
		p.stopUntil = 0
	case device.DeliverBolus:
		// Its motor makes whole millionths, so that it can say exactly what it gave.
		perMinute, _ := new(big.Rat).SetString(floor(new(big.Rat).Quo(value, big.NewRat(int64(minutes), 1))))
		p.boluses = append(p.boluses, &bolus{value, perMinute.Add(perMinute, big.NewRat(1, 1e6)), id, new(big.Rat)})
	case device.CancelBolus:
		for _, b := range p.boluses {
			b.left = new(big.Rat)
		}
	}
}

func number(q device.Quantity) string {
	if q.Coefficient == 0 {
		return "0"
	}
	q.Unit = device.NoUnit
	return q.String()
}

// sum is what was given in the last minutes, of everything or as boluses... the
// naive way.
func (p *pump) sum(minutes int) *big.Rat {
	sum := new(big.Rat)
	for i := max(0, len(p.given)-minutes); i < len(p.given); i++ {
		sum.Add(sum, p.given[i])
	}
	return sum
}

const modelEnvelope = head + `therapy: insulin infusion
sums:
  unit: U
  windows:
    - {window: 30m, highest: 4 U}
    - {window: 2h, highest: 9 U, lowest: 0.5 U}
verbs:
  deliver-bolus: {takes: 5m}
  set-basal-rate: {takes: 3m}
  set-temporary-basal: {takes: 3m}
  cancel-temporary-basal: {takes: 3m}
  suspend: {takes: 3m}
  resume: {takes: 3m}
`

const takesDose, takesRate = 5, 3 // minutes, as above

// A twin is a book beside the device whose doses it counts.
type twin struct {
	*world
	rt      *rapid.T
	e       *Envelope
	p       *pump
	later   []errand
	foreign bool // somebody gave at the keypad
	hidden  bool // and the device has not said so yet
	cleared *big.Rat
	shown   []reading // by its counter, the newest last
	late    *big.Rat  // what it may be behind, which a reading took out, and the places that a counter has not
	blind   bool      // the clocks were not right all the time, or a report could be understood in two ways
	log     []string
}

// A reading is of the device's counter.
type reading struct {
	at    int
	total device.Quantity
}

// An errand is what happens at a time to come: the device begins, or answers.
type errand struct {
	at int
	do func()
}

func (w *twin) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4d ", w.p.now())+fmt.Sprintf(format, args...))
}

// pass is real time, as both see it.
func (w *twin) pass(minutes int) {
	for range minutes {
		w.p.minute()
		w.wait(time.Minute)
		w.run()
		w.check()
	}
}

func (w *twin) run() {
	for i := 0; i < len(w.later); {
		if e := w.later[i]; e.at <= w.p.now() {
			w.later = append(w.later[:i], w.later[i+1:]...)
			e.do()
			continue
		}
		i++
	}
}

func (w *twin) at(minutes int, do func()) {
	if minutes == 0 {
		do()
		return
	}
	w.later = append(w.later, errand{w.p.now() + minutes, do})
}

// check is the invariant, in the windows that end now.
func (w *twin) check() {
	v := w.View(ward, w.e)
	for _, s := range v.Sums {
		given := w.p.sum(int(s.Sum.Window / time.Minute))
		lo, _ := new(big.Rat).SetString(number(s.Delivered))
		hi, _ := new(big.Rat).SetString(number(s.Counted))
		most, _ := new(big.Rat).SetString(number(s.Sum.Highest))
		fail := func(what string) {
			w.rt.Helper()
			for _, l := range w.log {
				w.rt.Log(l)
			}
			w.rt.Fatalf("minute %d: %s in %v: %v given, %v to %v counted, %v allowed", w.p.now(), what, s.Sum.Window, given.FloatString(4), s.Delivered, s.Counted, s.Sum.Highest)
		}
		a := w.accounts[ward]
		if _, glance := a.glance(w.clock.Now, &s.Sum, &a.Runs, nil).amount(); glance < s.Planned.Coefficient {
			fail(fmt.Sprintf("at a glance %d, and looked at %v", glance, s.Planned))
		}
		if glance, least := a.lowest(w.clock.Now, &s.Sum); glance > least {
			fail(fmt.Sprintf("at a glance at least %d, and looked at %d", glance, least))
		}
		switch {
		case new(big.Rat).Sub(given, w.late).Cmp(hi) <= 0:
		case w.hidden:
		case given.Cmp(hi) > 0:
			fail("more was given than is counted")
		}
		switch {
		case given.Cmp(lo) < 0:
			fail("less was given than is thought")
		case !w.foreign && given.Cmp(most) > 0:
			fail("more was given than is allowed")
		case !w.foreign && !w.blind && hi.Cmp(most) > 0:
			fail("more is counted than is allowed")
		}
	}
}

// lowest is the least that any window will have of what runs, at a glance and looked at.
func (a *account) lowest(now moment, s *Sum) (glance, least int64) {
	_, known := now.since(a.Since)
	known = min(known, int64(s.Window))
	glance, _ = a.lowGlance(now, s, &a.Runs, known).amount()
	c := &a.curve
	c.reset(s.Window)
	a.low(c, now, s, &a.Runs, false)
	slid, _ := c.slide(int64(s.Window)-known, int64(s.Window))
	least, _ = slid.amount()
	return glance, least
}

func (w *twin) command(t *rapid.T) {
	pick := func(list ...string) string { return rapid.SampledFrom(list).Draw(t, "value") }
	verb := rapid.SampledFrom([]device.Verb{
		device.SetBasalRate, device.SetBasalRate, device.SetTemporaryBasal, device.SetTemporaryBasal, device.DeliverBolus, device.DeliverBolus,
		device.DeliverBolus, device.Suspend, device.Resume, device.CancelTemporaryBasal, device.CancelBolus,
	}).Draw(t, "verb")
	value, limit := "", ""
	switch verb {
	case device.SetBasalRate:
		value, limit = pick("0 U/h", "0.3 U/h", "1 U/h", "2.7 U/h", "4 U/h", "7 U/h"), pick("", "", "", "25 min")
	case device.SetTemporaryBasal:
		value, limit = pick("0 U/h", "0.1 U/h", "1.5 U/h", "5 U/h", "7 U/h"), pick("7 min", "15 min", "40 min", "100 min")
	case device.DeliverBolus:
		value = pick("0.1 U", "0.7 U", "1.3 U", "2.9 U", "4 U")
	case device.Suspend:
		limit = pick("5 min", "30 min", "60 min", "")
	}
	r := ask(w, verb, value, limit)
	d, res, err := w.Reserve(ward, w.e, r)
	if err != nil {
		t.Fatal(err)
	}
	w.say("%v %s %s: %v %s", verb, value, limit, d.Verdict, d.Limit)
	if d.Verdict != device.Allow {
		return
	}
	begin, minutes := rapid.IntRange(0, takesRate-1).Draw(t, "begins after"), 1
	if verb == device.DeliverBolus {
		minutes = rapid.IntRange(1, takesDose-begin).Draw(t, "minutes")
	}
	reaches := func() { w.p.do(&r.Command, res.ID(), minutes) }
	switch rapid.SampledFrom([]string{"done", "done", "done", "done late", "rejected", "withdrawn", "lost", "answer lost", "no answer yet"}).Draw(t, "outcome") {
	case "done":
		res.Sent()
		reaches()
		res.Accepted()
	case "done late":
		res.Sent()
		answer := rapid.IntRange(0, 20).Draw(t, "answer after")
		w.say("  begins after %d, answers after %d", begin, begin+answer)
		w.at(begin, reaches)
		w.at(begin+answer, res.Accepted)
	case "rejected":
		res.Sent()
		w.say("  rejected")
		w.at(begin, res.Rejected)
	case "withdrawn":
		w.say("  withdrawn")
		res.Withdrawn()
	case "lost":
		res.Sent()
		w.say("  lost")
		w.at(begin, res.Doubted)
	case "answer lost":
		res.Sent()
		w.say("  begins after %d, the answer is lost", begin)
		w.at(begin, reaches)
		w.at(rapid.IntRange(begin, 10).Draw(t, "given up after"), res.Doubted)
	case "no answer yet":
		res.Sent()
		w.say("  begins after %d, no answer", begin)
		w.at(begin, reaches)
	}
}

// report is what the device says: what runs, and what it gave for our commands.
func (w *twin) report() {
	r := Report{Rate: quantity(w, w.p.rate().FloatString(6)+" U/h")}
	switch n := rapid.IntRange(0, 9).Draw(w.rt, "total"); {
	case n > 2 || w.hidden || len(w.shown) == 0:
		r.Total = quantity(w, floor(new(big.Rat).Sub(w.p.sum(w.p.now()), w.cleared))+" U")
	case n == 0: // the last reading again
		r.Total = w.shown[len(w.shown)-1].total
	case n == 1 && len(w.shown) > 1 && w.p.now()-w.shown[len(w.shown)-1].at < 1 && w.p.now()-w.shown[len(w.shown)-2].at <= 1: // one before the last comes again
		r.Total = w.shown[len(w.shown)-2].total
	}
	w.say("reports %v U/h, total %v", w.p.rate().FloatString(3), r.Total)
	if !r.Total.IsNone() {
		w.shown = append(w.shown, reading{w.p.now(), r.Total})
		if a := w.accounts[ward]; a != nil && len(w.shown) > 1 {
			if late := big.NewRat(a.Meter.Behind+10, 1e6); late.Cmp(w.late) > 0 {
				w.late = late
			}
		}
	}
	w.Report(ward, w.e, &r)
	w.hidden = false
	for _, b := range w.p.boluses {
		if b.id != 0 {
			w.Report(ward, w.e, &Report{Amount: quantity(w, floor(b.total)+" U"), Reservation: b.id, Final: b.left.Sign() == 0})
		}
	}
}

func floor(r *big.Rat) string {
	n := new(big.Rat).Mul(r, big.NewRat(1e6, 1))
	whole := new(big.Int).Quo(n.Num(), n.Denom())
	return new(big.Rat).SetFrac(whole, big.NewInt(1e6)).FloatString(6)
}

// keypad is somebody at the device, who is reported at once.
func (w *twin) keypad(t *rapid.T) {
	w.foreign = true
	if rapid.Bool().Draw(t, "known by the counter only") {
		w.p.boluses = append(w.p.boluses, &bolus{big.NewRat(2, 1), big.NewRat(2, 1), 0, new(big.Rat)})
		w.say("2 U at the keypad, of which nobody tells")
		w.hidden = true
		w.pass(rapid.IntRange(1, 40).Draw(t, "minutes"))
		w.blind = true
		w.report()
		if rapid.IntRange(0, 3).Draw(t, "cleared") == 0 && w.accounts[ward].Meter.Floor > 0 {
			w.say("its counter is cleared")
			w.cleared = w.p.sum(w.p.now())
			w.shown = nil
			w.report()
		}
		return
	}
	if rapid.Bool().Draw(t, "a bolus") {
		w.p.boluses = append(w.p.boluses, &bolus{big.NewRat(2, 1), big.NewRat(2, 1), 0, new(big.Rat)})
		w.say("2 U at the keypad")
		w.p.minute()
		w.wait(time.Minute)
		w.Report(ward, w.e, &Report{Amount: quantity(w, "2 U")})
		w.run()
		return
	}
	rate := big.NewRat(int64(rapid.IntRange(0, 50).Draw(t, "rate")), 10)
	if rate.Cmp(w.p.rate()) == 0 {
		return // nobody would see what else it changed
	}
	w.p.base, w.p.temporaryUntil, w.p.stopUntil = rate, 0, 0
	w.say("%v U/h at the keypad", rate.FloatString(1))
	w.report()
}

func TestBookAgainstTwin(t *testing.T) {
	e := load(t, modelEnvelope)
	rapid.Check(t, func(rt *rapid.T) {
		w := &twin{world: newWorldQuick(t), rt: rt, e: e, cleared: new(big.Rat), late: new(big.Rat), p: newPump(rapid.IntRange(0, 15).Draw(rt, "device"))}
		defer func() { w.Book.Close() }()
		w.report()
		signed := func() {
			at := time.Unix(0, 1772521200e9).Add(time.Duration(w.p.now()) * time.Minute)
			late := time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second
			if err := w.SignedTime(at.Add(-late), 20*time.Second); err != nil {
				rt.Fatal(err)
			}
			w.say("signed time")
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{
				"command", "command", "command", "command", "command", "wait", "wait", "wait", "report", "settle", "clock", "kill", "close", "reboot", "signed", "keypad",
			}).Draw(rt, "step") {
			case "command":
				w.command(rt)
			case "wait":
				w.pass(rapid.IntRange(1, 50).Draw(rt, "minutes"))
			case "report":
				w.blind = true
				w.report()
			case "settle":
				for _, d := range w.Doubts() {
					given := false
					for _, b := range w.p.boluses {
						given = given || b.id == d.ID
					}
					if d.Verb == device.DeliverBolus && !w.busy() {
						w.say("settles %v: %v", d.Verb, given)
						if err := w.Settle(d.ID, given, "JR"); err != nil {
							rt.Fatal(err)
						}
					}
				}
			case "clock":
				jump := rapid.SampledFrom([]time.Duration{-24 * time.Hour, -time.Hour, -3 * time.Minute, time.Minute, 2 * time.Hour, 48 * time.Hour}).Draw(rt, "jump")
				w.say("the clock jumps by %v", jump)
				w.now.Wall += int64(jump)
				w.blind = true
			case "kill":
				w.say("kill -9")
				w.kill()
			case "close":
				w.say("restart")
				w.Book.Close()
				w.start()
			case "reboot":
				w.say("reboot")
				w.flush()
				w.stopHard()
				for range rapid.IntRange(1, 90).Draw(rt, "minutes") {
					w.p.minute()
					w.runDevice()
				}
				w.now = Reading{Wall: 1772521200e9 + int64(rapid.IntRange(-1000, 1000).Draw(rt, "wall"))*1e9, Uptime: 60e9, Boot: w.now.Boot + "'"}
				w.blind = true
				w.start()
				w.run()
			case "signed":
				signed()
			case "keypad":
				w.keypad(rt)
			}
			w.check()
		}
		w.pass(130)
	})
}

// busy reports whether something is still on its way.
func (w *twin) busy() bool { return len(w.later) > 0 }

// runDevice is what reaches the device while the guard is down. Answers come late.
func (w *twin) runDevice() { w.run() }
