// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"fmt"
	"time"
)

// A PumpState is what an insulin pump is and did. Insulin is in thousandths of a unit
// (milliunits), rates in milliunits an hour.
type PumpState struct {
	Delivered   int64 // since it was made, basal and boluses
	Ordered     int64 // boluses that it accepted, the loop's included
	Boluses     int   // how many these were
	BolusGiven  int64 // of Ordered
	BolusLeft   int64 // still to be given
	Loop        int64 // of Ordered, what the loop gave because of what the sensor said
	Basal       int64 // programmed
	Rate        int64 // now
	Suspended   bool
	Deactivated bool  // for good
	HighestBol  int64 // bolus that it takes
	LowAlarm    int   // glucose below which it makes a noise, mg/dL
	Glucose     int   // what it was told last, mg/dL
	Reservoir   int64
	Profile     int
	Accessories int // that are paired
	Clock       uint32
	WakeUps     int
	Used        int64 // of the battery, microampere-hours
	Told        int   // how often it sent what is patient data, in clear
}

const (
	milliunitHour = int64(time.Hour / time.Millisecond) // parts of a milliunit: milliunits an hour times milliseconds
	bolusSpeed    = 90_000                              // milliunits an hour: 1.5 units a minute
	longest       = 24 * time.Hour                      // of one step, so that no product overflows
)

// A flow is how a pump gives insulin, to the millisecond and without rounding.
type flow struct {
	s         *PumpState
	at        time.Time // up to which it was given
	temporary int64     // rate, until then
	until     time.Time // zero: no temporary rate
	resumes   time.Time // zero: not by itself
	basalPart int64
	bolusPart int64
}

// advance gives what is to be given until now. A clock that goes back gives nothing.
func (f *flow) advance(now time.Time) {
	if f.at.IsZero() {
		f.at = now
	}
	for f.at.Before(now) {
		end := now
		for _, t := range []time.Time{f.until, f.resumes, f.at.Add(longest)} {
			if t.After(f.at) && t.Before(end) {
				end = t
			}
		}
		ms := end.Sub(f.at).Milliseconds()
		if ms == 0 {
			break
		}
		f.give(ms)
		f.at = f.at.Add(time.Duration(ms) * time.Millisecond)
		if !f.until.IsZero() && !f.at.Before(f.until) {
			f.until = time.Time{}
		}
		if f.s.Suspended && !f.resumes.IsZero() && !f.at.Before(f.resumes) {
			f.s.Suspended, f.resumes = false, time.Time{}
		}
	}
	f.s.Rate = f.rate()
}

func (f *flow) rate() int64 {
	switch {
	case f.s.Suspended || f.s.Deactivated:
		return 0
	case !f.until.IsZero():
		return f.temporary
	}
	return f.s.Basal
}

func (f *flow) give(ms int64) {
	take := func(part *int64, rate, most int64) int64 {
		*part += rate * ms
		n := min(*part/milliunitHour, most, f.s.Reservoir)
		*part -= n * milliunitHour
		if n == most || n == f.s.Reservoir {
			*part = min(*part, milliunitHour-1)
		}
		f.s.Reservoir -= n
		f.s.Delivered += n
		return n
	}
	take(&f.basalPart, f.rate(), 1<<62)
	if f.s.BolusLeft > 0 && !f.s.Suspended && !f.s.Deactivated {
		n := take(&f.bolusPart, bolusSpeed, f.s.BolusLeft)
		f.s.BolusLeft -= n
		f.s.BolusGiven += n
	}
}

// bolus orders one.
func (f *flow) bolus(n int64) bool {
	if n > f.s.HighestBol || f.s.Suspended || f.s.Deactivated {
		return false
	}
	f.s.Ordered += n
	f.s.BolusLeft += n
	f.s.Boluses++
	return true
}

// set begins a temporary rate; for no time it only ends another one.
func (f *flow) set(rate int64, d time.Duration) {
	if f.temporary, f.until = rate, f.at.Add(d); d <= 0 {
		f.until = time.Time{}
	}
	f.s.Rate = f.rate()
}

// suspend stops, for a time or until it is resumed.
func (f *flow) suspend(d time.Duration) {
	f.s.Suspended, f.resumes, f.s.BolusLeft = true, time.Time{}, 0
	if d > 0 {
		f.resumes = f.at.Add(d)
	}
	f.s.Rate = 0
}

func (f *flow) resume() {
	f.s.Suspended, f.resumes = false, time.Time{}
	f.s.Rate = f.rate()
}

// sense takes what a sensor says, and gives what brings a high value down to 120 mg/dL,
// a unit for each 50: nobody is asked.
func (f *flow) sense(glucose int) int64 {
	f.s.Glucose = glucose
	const high, target, perUnit = 180, 120, 50
	if glucose <= high {
		return 0
	}
	n := int64(glucose-target) * 1000 / perUnit
	if !f.bolus(n) {
		return 0
	}
	f.s.Loop += n
	return n
}

// units writes milliunits as people do.
func units(n int64) string { return fmt.Sprintf("%d.%03d U", n/1000, n%1000) }

// newPumpState is a pump that is worn.
func newPumpState() PumpState {
	return PumpState{Basal: 850, Rate: 850, HighestBol: 10_000, LowAlarm: 70, Glucose: 109, Reservoir: 152_000, Profile: 1}
}
