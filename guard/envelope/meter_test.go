// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
)

const meterEnvelope = head + `therapy: drug infusion
sums:
  unit: mL
  windows:
    - {window: 8h, highest: 1000 mL}
verbs:
  set-infusion-rate: {takes: 10s}
  deliver-bolus: {takes: 10m}
`

// A tap is a pump with a counter, as a book hears of it.
type tap struct {
	*world
	e      *Envelope
	report Report // what each has beside rate and total
}

func newTap(t *testing.T) *tap {
	return &tap{world: newWorldQuick(t), e: load(t, meterEnvelope)}
}

// says is a report after a time.
func (p *tap) says(after time.Duration, rate, total string) {
	p.Helper()
	p.wait(after)
	r := p.report
	for q, s := range map[*device.Quantity]string{&r.Rate: rate, &r.Total: total} {
		if s != "" {
			*q = quantity(p, s)
		}
	}
	if err := p.Report(ward, p.e, &r); err != nil {
		p.Fatal(err)
	}
}

func (p *tap) counted() float64 {
	return float64(p.View(ward, p.e).Sums[0].Counted.Coefficient) / 1e6
}

// TestMeter: what a counter shows counts once, and only where the rate has not counted it.
func TestMeter(t *testing.T) {
	p := newTap(t)
	defer func() { p.Book.Close() }()
	const minute = time.Minute
	counted := 0.0
	for _, test := range []struct {
		name        string
		after       time.Duration
		rate, total string  // mL/h, mL
		want        float64 // mL, since the report before
	}{
		{"the first only begins", 0, "60", "100", 0},
		{"what the rate gave", minute, "60", "101", 1},
		{"and a bolus at the keypad", minute, "60", "107", 6},
		{"the same again, and time has passed", 6 * time.Second, "60", "107", 0.1},
		{"what was told is not told again", 54 * time.Second, "60", "108", 0.9},
		{"an older one again, which is no reset", 6 * time.Second, "60", "107.5", 0.1},
		{"after twenty minutes", 20*minute - 6*time.Second, "60", "129", 20.9},
		{"the rate went up: the higher counts already", minute, "120", "131", 2},
		{"the rate went down", minute, "60", "133", 2},
		{"less than the rate: it was late", minute, "60", "133.6", 1},
		{"and came after", minute, "60", "135", 1},
		{"much less than the rate: it stood", 10 * minute, "60", "135", 10},
		{"what it may catch up with is bounded", minute, "60", "138", 2.5},
		{"its counters are cleared, and a bolus since", minute, "60", "4", 4},
		{"cleared, and nothing since", minute, "60", "0", 1},
		{"without a total", minute, "60", "", 1},
		{"two minutes after the last total, and it was behind", minute, "60", "3", 1.5},
		{"without a rate what is believed to run", minute, "", "5", 2},
		{"stopped, after a minute at most of it", minute, "0", "6", 1},
		{"stopped, and something is given", minute, "0", "8", 2},
		{"at the same moment", 0, "0", "9", 1},
		{"a number beyond all bounds", minute, "0", "99999999999999999", 0},
	} {
		rate, total := "", ""
		if test.rate != "" {
			rate = test.rate + " mL/h"
		}
		if test.total != "" {
			total = test.total + " mL"
		}
		p.says(test.after, rate, total)
		got := p.counted()
		if d := got - counted - test.want; d < -1e-9 || d > 3e-6 { // rounded up
			t.Errorf("%s: %v mL, want %v", test.name, got-counted, test.want)
		}
		counted = got
		p.kill() // and so it goes on in the next guard
		if got := p.counted(); got != counted {
			t.Errorf("%s: %v counted before a kill, and %v after", test.name, counted, got)
		}
	}
	p.says(time.Minute, "0 mL/h", "99999999999999999 mL")
	if why := p.View(ward, p.e).NotCounted; why != tooMuch {
		t.Errorf("not counted: %q", why)
	}
}

// TestMeterOfOrders: an order between two reports counts once, whatever ran meanwhile and whether
// it was done or not.
func TestMeterOfOrders(t *testing.T) {
	for _, test := range []struct {
		name, outcome string
		total         string
		counted       float64
	}{
		{"done at once", "accepted", "3", 3}, // 60 mL/h for a minute, and 120 for another
		{"rejected", "rejected", "2", 2},
		{"lost, and not done", "doubted", "2", 3},
		{"lost, and done", "doubted", "3", 3},
		{"it waits for a person who does not begin it", "proposed", "2", 3},
		{"rejected, and as much at the keypad", "rejected", "3", 3},
		{"done, and somebody gave more", "accepted", "4.5", 4.5},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newTap(t)
			defer func() { p.Book.Close() }()
			p.says(0, "60 mL/h", "0 mL")
			p.wait(time.Minute)
			_, res, err := p.Reserve(ward, p.e, ask(t, device.SetInfusionRate, "120 mL/h", ""))
			if err != nil {
				t.Fatal(err)
			}
			res.Sent()
			switch test.outcome {
			case "accepted":
				res.Accepted()
			case "rejected":
				res.Rejected()
			case "proposed":
				res.Proposed()
			default:
				res.Doubted()
			}
			p.says(time.Minute, "", test.total+" mL")
			if got := p.counted(); got != test.counted {
				t.Errorf("%v counted, want %v", got, test.counted)
			}
			p.kill()
			if got := p.counted(); got != test.counted {
				t.Errorf("%v counted after a kill, want %v", got, test.counted)
			}
		})
	}
}

// TestMeterOfDoses: the counter has a bolus that was ordered, too. If the device names it that is all of
// it, and else it counts beside it.
func TestMeterOfDoses(t *testing.T) {
	p := newTap(t)
	defer func() { p.Book.Close() }()
	reserve := func() *Reservation {
		t.Helper()
		d, res, err := p.Reserve(ward, p.e, ask(t, device.DeliverBolus, "4 mL", ""))
		if err != nil || d.Verdict != device.Allow {
			t.Fatal(d, err)
		}
		res.Sent()
		return res
	}
	counts := func(delivered, counted string) {
		t.Helper()
		s := p.View(ward, p.e).Sums[0]
		if c, _ := s.Counted.Cmp(quantity(t, counted+" mL")); c != 0 {
			t.Errorf("%v counted, want %s", s.Counted, counted)
		}
		if c, _ := s.Delivered.Cmp(quantity(t, delivered+" mL")); c != 0 {
			t.Errorf("%v delivered, want %s", s.Delivered, delivered)
		}
	}
	p.says(0, "0 mL/h", "0 mL")
	res := reserve()
	res.Accepted()
	counts("0", "4")
	p.says(time.Minute, "0 mL/h", "2 mL") // of it, perhaps, or all of it is still to come
	counts("0", "6")
	p.wait(10 * time.Minute)
	counts("4", "6")

	// One that the device names, and that is stopped there.
	for _, outcome := range []func(*Reservation){(*Reservation).Accepted, (*Reservation).Doubted} {
		before := p.accounts[ward].Meter.Total / 1e6
		total := func(more string) string {
			q, _ := quantity(t, more+" mL").Add(quantity(t, fmt.Sprintf("%d mL", before)))
			return q.String()
		}
		start := p.View(ward, p.e).Sums[0]
		gains := func(delivered, counted int64) {
			t.Helper()
			s := p.View(ward, p.e).Sums[0]
			if d := s.Delivered.Coefficient - start.Delivered.Coefficient - delivered*1e5; d < -3 || d > 0 {
				t.Errorf("%v to %v delivered", start.Delivered, s.Delivered)
			}
			if s.Counted.Coefficient-start.Counted.Coefficient != counted*1e5 {
				t.Errorf("%v to %v counted, not %d", start.Counted, s.Counted, counted)
			}
		}
		res = reserve()
		outcome(res)
		gains(0, 40)
		p.report = Report{Reservation: res.ID()}
		p.says(time.Minute, "0 mL/h", total("1"))
		gains(0, 40) // it may be given until its end
		p.report = Report{}
		p.kill()
		p.says(time.Minute, "0 mL/h", total("1.5")) // somebody at the keypad
		gains(0, 45)
		p.report = Report{Reservation: res.ID(), Final: true}
		p.says(time.Minute, "0 mL/h", total("2"))
		gains(15, 20)
		p.says(time.Minute, "0 mL/h", total("2")) // said again
		gains(15, 20)
		p.report = Report{}
		p.says(time.Minute, "0 mL/h", total("3"))
		gains(15, 30)
	}
}

// TestMeterUncertain: where perhaps the higher rate ran, a window that reaches back into the last
// minute before a reading may have all that nobody was told of.
func TestMeterUncertain(t *testing.T) {
	p := newTap(t)
	defer func() { p.Book.Close() }()
	p.says(0, "0 mL/h", "0 mL")
	_, res, err := p.Reserve(ward, p.e, ask(t, device.SetInfusionRate, "120 mL/h", ""))
	if err != nil {
		t.Fatal(err)
	}
	res.Sent()
	res.Doubted()
	p.says(10*time.Minute, "", "6 mL") // or 6 mL at the keypad, just now
	if got := p.counted(); got != 20 {
		t.Fatal(got)
	}
	if err := p.Settle(res.ID(), false, "JR"); err != nil {
		t.Fatal(err)
	}
	p.wait(8*time.Hour - 10*time.Minute)
	if got := p.counted(); got != 20 {
		t.Error(got)
	}
	p.wait(7 * time.Minute)
	if got := p.counted(); got != 6 {
		t.Error("seven minutes of the ten are out:", got)
	}
	p.wait(3 * time.Minute)
	if got := p.counted(); got != 6 {
		t.Error("the end of the ten is in:", got)
	}
	p.wait(time.Second)
	if got := p.counted(); got != 0 {
		t.Error(got)
	}
}

// TestMeterCleared: that a counter was cleared is not forgotten by a guard that is killed.
func TestMeterCleared(t *testing.T) {
	p := newTap(t)
	defer func() { p.Book.Close() }()
	p.says(0, "0 mL/h", "5 mL")
	p.says(time.Second, "0 mL/h", "0 mL")
	p.kill()
	p.says(time.Minute, "0 mL/h", "6 mL")
	if got := p.counted(); got != 6 {
		t.Error(got)
	}
}

// TestMeterWritten: while it is certain what runs a reading is written down once a minute, and else each.
func TestMeterWritten(t *testing.T) {
	p := newTap(t)
	defer func() { p.Book.Close() }()
	written := func() int64 {
		p.flush()
		p.kill()
		return p.accounts[ward].Meter.Total / 1e6
	}
	p.says(0, "360 mL/h", "0 mL")
	p.says(10*time.Second, "360 mL/h", "1 mL")
	p.says(10*time.Second, "360 mL/h", "2 mL")
	p.says(50*time.Second, "360 mL/h", "7 mL")
	p.says(10*time.Second, "360 mL/h", "8 mL")
	if got := written(); got != 7 {
		t.Errorf("%d mL", got)
	}
	p.says(time.Minute, "360 mL/h", "9 mL") // it is behind
	_, res, err := p.Reserve(ward, p.e, ask(t, device.SetInfusionRate, "120 mL/h", ""))
	if err != nil {
		t.Fatal(err)
	}
	res.Sent()
	res.Doubted()
	p.says(10*time.Second, "", "10 mL")
	if got := written(); got != 10 {
		t.Errorf("%d mL", got)
	}
}

// TestMeterReboot: nobody knows how long the machine was off, and what the counter has gained since
// may have been given just now.
func TestMeterReboot(t *testing.T) {
	p := newTap(t)
	defer func() { p.Book.Close() }()
	p.says(0, "60 mL/h", "0 mL")
	p.wait(time.Minute)
	p.Book.Close()
	p.now = Reading{Wall: p.now.Wall + int64(time.Hour), Uptime: 1e9, Boot: "b"}
	p.start()
	p.says(0, "60 mL/h", "71 mL")
	if got := p.counted(); got < 71 {
		t.Error(got)
	}
}

// TestMeterUnread: without a weight mL are no ug/kg; that is said, nothing else becomes less certain
// by it, and with one all is counted.
func TestMeterUnread(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, strings.ReplaceAll(noradrenaline, "interruption: 2m\n", ""))
	say := func(total string, r Report) {
		t.Helper()
		r.Rate, r.Total = quantity(t, "0.1 ug/kg/min"), quantity(t, total)
		if err := w.Report(ward, e, &r); err != nil {
			t.Fatal(err)
		}
	}
	say("1 mL", Report{})
	w.wait(time.Minute)
	say("5 mL", Report{})
	w.has(e, 0, "0.1..0.1, planned 6")
	if why := w.View(ward, e).NotCounted; why != noWeight {
		t.Error(why)
	}
	w.wait(time.Minute)
	say("5 mL", Report{Weight: quantity(t, "80 kg"), Concentration: quantity(t, "0.08 mg/mL")}) // 4 mL are 4 ug/kg
	w.has(e, 0, "0.2..4, planned 9.8")
	if why := w.View(ward, e).NotCounted; why != "" {
		t.Error(why)
	}
}
