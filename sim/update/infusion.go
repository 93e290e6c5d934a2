// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"encoding/binary"
	"time"

	"github.com/myelin-health/myelin/patch"
)

// An Infusion is the body of a pump on a stack, as the sample ward's Flow 500: it
// infuses a drug at a rate, gives boluses, and has a battery and the mains.
type Infusion struct {
	Clock   func() time.Duration
	Battery int // percent

	Alarm bool

	rate    int64 // 0.01 mL/h; 0 does not infuse
	until   time.Duration
	bolus   time.Duration // until when
	limit   int64         // hard limit of the rate, programmed
	held    bool
	stopped bool // by firmware that gives no therapy
	since   time.Duration
}

// factoryLimit is 1,200 mL/h.
const factoryLimit = 120_000

// NewInfusion returns the body of a pump that does not infuse.
func NewInfusion(clock func() time.Duration) *Infusion {
	return &Infusion{Clock: clock, Battery: 90, limit: 50_000}
}

// Infuse begins an infusion for a time, at a rate in hundredths of mL/h. It reports
// whether it did: it does not while an update begins, nor above the limit.
func (f *Infusion) Infuse(rate int64, d time.Duration) bool {
	if f.held || rate <= 0 || rate > f.limit {
		return false
	}
	f.rate, f.until = rate, f.Clock()+d
	return true
}

// Bolus begins one that takes so long.
func (f *Infusion) Bolus(d time.Duration) bool {
	if f.held {
		return false
	}
	f.bolus = f.Clock() + d
	return true
}

// Stop stops all that is given, whatever else happens.
func (f *Infusion) Stop() { f.rate, f.until, f.bolus = 0, 0, 0 }

// Infusing reports whether a drug is being given.
func (f *Infusion) Infusing() bool { return f.Clock() < f.until || f.Clock() < f.bolus }

// Condition implements [Body].
func (f *Infusion) Condition(s *patch.State) {
	s.Known, s.Battery, s.Mains, s.Link = patch.All, f.Battery, true, 100
	now := f.Clock()
	for a, on := range map[patch.Activity]bool{
		patch.Delivering | patch.Dependent: now < f.until, patch.Bolus: now < f.bolus, patch.Alarming: f.Alarm,
	} {
		if on {
			s.Doing |= a
		}
	}
}

// Settings implements [Body].
func (f *Infusion) Settings() []byte { return binary.BigEndian.AppendUint64(nil, uint64(f.limit)) }

// Program implements [Body].
func (f *Infusion) Program(b []byte) {
	f.limit = factoryLimit
	if len(b) == 8 {
		f.limit = int64(binary.BigEndian.Uint64(b))
	}
}

// Hold implements [Body].
func (f *Infusion) Hold(on bool) { f.held = on }

// Start implements [Body].
func (f *Infusion) Start(_ string, gives bool) { f.stopped, f.since = !gives, f.Clock() }

// Given implements [Body]. A pump that stands still is to give nothing; one that would
// not give is told apart by its motor's own test.
func (f *Infusion) Given() (time.Duration, bool) {
	if f.stopped {
		return 0, true
	}
	return f.Clock() - f.since, f.Infusing()
}
