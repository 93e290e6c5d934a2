// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/device"
)

// A Report is what a device itself says that it gives: a history or status of
// the Insulin Delivery Service, a message of PCD-01 or PCD-10.
type Report struct {
	Rate   device.Quantity // running now, "0 mL/h" for none; zero when it does not say
	Amount device.Quantity // given as a bolus since the last report; zero when it does not say
	Total  device.Quantity // by its own counter of all that it ever gave, until somebody clears that; zero when it does not say
	State  string          // of the therapy; the gate's business
	Time   time.Time       // by the device's clock; never used to count

	Weight        device.Quantity // of the patient; zero when unknown
	Concentration device.Quantity // of the drug; zero when unknown

	// Reservation is the id of the reservation that Amount was given for, all of it so
	// far, and Final says that it is over: the amount is then exactly what was given.
	// 0: an amount of somebody else, at the keypad or by a local loop. One of our own
	// that the device does not name counts twice, which is safe and not welcome.
	Reservation uint64
	Final       bool

	// Record numbers the amount in the device's own history, from 1: none is counted
	// twice, nor when it comes again after a restart. 0: it has no numbers.
	Record uint64
}

// ErrNotCounted is of a report whose numbers cannot be counted; what it wraps says
// why. The sums lack them from then on, and [View] says so.
var ErrNotCounted = errors.New("envelope: a report that cannot be counted")

// Report takes what a device itself says that it gives. The envelope is the
// device's, for the unit in which its sums are counted; with none, or one without
// sums, only whether anything runs is known. It does not wait for the disk.
func (b *Book) Report(name string, e *Envelope, r *Report) error {
	b.mu.Lock()
	defer b.unlock()
	now := b.tick()
	a := b.account(name, now)
	if a == nil {
		return fmt.Errorf("%w: %s", ErrNotCounted, reasonRoom)
	}
	again := b.clock.Reading.Wall >= a.Reported && time.Duration(b.clock.Reading.Wall-a.Reported) < sameAgain
	v := record{Device: name, At: now, Wall: b.clock.Reading.Wall, ID: r.Reservation, Final: r.Final, Record: r.Record}
	basis := device.Basis{Weight: r.Weight, Concentration: r.Concentration}
	sums := e != nil && e.Unit != device.NoUnit
	if sums {
		v.Unit = e.Unit.String()
	}
	if sums && a.Unit != device.NoUnit && a.Unit != e.Unit {
		return b.lose(&v, reasonUnit)
	}
	if r.Rate.Unit != device.NoUnit {
		v.Op, v.Rate = opSays, &rate{Off: r.Rate.Coefficient == 0}
		if why := plain(r.Rate); why != "" {
			return b.lose(&v, why)
		}
		nothing := v.Rate.Off && (r.Rate.Unit.IsRate() || r.Rate.Unit.IsDoseRate()) // whatever the weight and the concentration
		if sums && !nothing {
			var why string
			if v.Rate.Lo, v.Rate.Hi, why = e.rate(r.Rate, basis); why != "" {
				return b.lose(&v, why)
			}
		}
		b.says(a, &v, again)
	}
	if r.Amount.Unit != device.NoUnit && sums {
		var why string
		if v.Lo, v.Hi, why = e.amount(r.Amount, basis); why != "" {
			return b.lose(&v, why)
		}
		v.Op = opGave
		b.do(&v)
	}
	if r.Total.Unit != device.NoUnit && sums {
		b.meter(a, e, &v, r, again)
	}
	b.signal()
	return nil
}

// says takes a rate. One that is the same again is not written down each time.
func (b *Book) says(a *account, v *record, again bool) {
	a.advance(v.At)
	before := len(a.Open)
	doubts := map[uint64]Doubt{}
	for _, e := range a.Open {
		doubts[e.ID] = e.doubt(v.Device)
	}
	if again && a.Known && a.Runs.over(a.Mark, v.At) == *v.Rate && a.settledBy(v.At) == 0 {
		reported := a.Reported
		a.says(v.At, *v.Rate)
		a.Reported = reported
		return
	}
	b.do(v)
	if len(a.Open) == before {
		return
	}
	for id, d := range doubts {
		if a.entry(id) == nil {
			d.Settled, d.By = true, "device"
			b.notices = append(b.notices, Notice{Device: v.Device, Doubt: &d})
		}
	}
}

// lose says that something was not counted.
func (b *Book) lose(v *record, why string) error {
	b.do(&record{Op: opLost, Device: v.Device, At: v.At, Why: why})
	b.signal()
	return fmt.Errorf("%w: %s", ErrNotCounted, why)
}
