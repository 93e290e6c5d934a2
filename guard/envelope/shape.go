// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"time"

	"github.com/myelin-health/myelin/device"
)

// How long after it was sent a command is begun, if ever, and a dose without a
// time of its own given, unless the envelope says otherwise.
const (
	takesToBegin = int64(2 * time.Minute)
	takesToGive  = int64(time.Hour)

	// What ends by itself after longer counts as if it did not.
	maxOwn = int64(MaxWindow / 2)
)

// What a value may not be. A pump is set to no more than nine decimal places.
const (
	leastExponent = -9
	mostExponent  = 9
)

// Why what a command delivers cannot be counted. Each is a sentence for a nurse.
const (
	noValue       = "it does not say how much"
	negativeValue = "it asks for less than nothing"
	fineValue     = "its number is finer or larger than any device can be set to"
	noTime        = "it does not say for how long"
	strangeTime   = "how long or how much it is limited to cannot be read"
	noWeight      = "the patient's weight or the drug's concentration is needed and missing"
	strangeUnit   = "its unit cannot be compared with the envelope's"
	noCounts      = "what the device gives afterwards is not in the envelope"
	tooMuch       = "its number is too large to count"
)

// plain reports what is wrong with a number before it is looked at.
func plain(q device.Quantity) string {
	switch {
	case q.Unit == device.NoUnit:
		return noValue
	case q.Coefficient < 0:
		return negativeValue
	case q.Coefficient == 0:
		return ""
	}
	n, e := q.Coefficient, q.Exponent
	for ; n%10 == 0; e++ {
		n /= 10
	}
	if e < leastExponent || e > mostExponent {
		return fineValue
	}
	return ""
}

// whyNot is a sentence for an error of the units.
func whyNot(err error) string {
	switch err {
	case device.ErrMissing:
		return noWeight
	case device.ErrRange:
		return tooMuch
	}
	return strangeUnit
}

// takes is how long after it was sent the command may be begun or given.
func (l *Limits) takes(k kind) int64 {
	switch {
	case l != nil && l.Takes > 0:
		return int64(l.Takes)
	case k == doses:
		return takesToGive
	}
	return takesToBegin
}

// counted says of a verb whether sums need to know what it delivers.
func counted(v device.Verb) bool {
	switch v {
	case device.DeliverBolus, device.Prime, device.SetBasalRate, device.SetInfusionRate, device.SetTemporaryBasal,
		device.SetProfile, device.SetClosedLoop:
		return true
	}
	return false
}

// shapeOf is what a command does to what a device gives. Why says why that cannot
// be counted; the shape is then what is known of it. It allocates nothing.
func (e *Envelope) shapeOf(c *device.Command, l *Limits, basis device.Basis) (s shape, why string) {
	s = shape{Verb: c.Verb, Most: forever}
	sums := e != nil && e.Unit != device.NoUnit
	effect := device.EffectOf(c)
	switch c.Verb {
	case device.DeliverBolus, device.Prime:
		s.Kind = doses
		s.Most = 0
		if sums {
			why = e.dose(&s, c, basis)
		}
	case device.SetBasalRate, device.SetInfusionRate:
		s.Kind = runs
		s.Off = c.Value.Unit != device.NoUnit && c.Value.Coefficient <= 0
		if sums {
			why = e.runs(&s, c, basis)
		}
	case device.SetTemporaryBasal:
		s.Kind = overlays
		s.Off = c.Value.Unit != device.NoUnit && c.Value.Coefficient <= 0
		if !s.lasts(c.Limit) {
			why = noTime
		} else if sums {
			s.Lo, s.Hi, why = e.rate(c.Value, basis)
		}
	case device.SetProfile, device.SetClosedLoop:
		s.Kind = runs
		if !sums {
			break
		}
		if l == nil || l.Counts[1].IsNone() {
			why = noCounts
			break
		}
		if s.Lo, _, why = e.rate(l.Counts[0], basis); why == "" {
			_, s.Hi, why = e.rate(l.Counts[1], basis)
		}
	case device.CancelTemporaryBasal:
		s.Kind = uncovers
	case device.CancelBolus, device.StopPriming:
		s.Kind = cancels
	case device.Suspend, device.StopInfusion, device.Standby, device.StimulationOff:
		s.stop(c.Limit)
	case device.Resume:
		s.Kind = restores
	case device.SetDetection, device.SetTherapies, device.SetAmplitude, device.SetOutput, device.SetPacingRate, device.SetVentilation:
		switch {
		case effect == device.Interrupts:
			s.stop(c.Limit)
		case c.Value.Coefficient > 0:
			s.Kind = restores
		}
	}
	return s, why
}

// stop makes a stop of the shape: for a time, or until it is changed.
func (s *shape) stop(limit device.Quantity) {
	s.Kind, s.Off = stops, true
	if !s.lasts(limit) {
		s.Most = forever
	}
}

// lasts takes over a time that comes with a command, and reports whether there is one.
func (s *shape) lasts(limit device.Quantity) bool {
	if !limit.Unit.IsTime() || plain(limit) != "" || limit.Coefficient == 0 {
		return false
	}
	least, most, err := device.Basis{}.Fixed(limit, second, -9)
	if err != nil {
		return false
	}
	if s.Least, s.Most = least, most; most > maxOwn {
		s.Most = forever
	}
	return true
}

// dose counts an amount, or a rate for as long or as much as the command says.
func (e *Envelope) dose(s *shape, c *device.Command, basis device.Basis) (why string) {
	if !c.Value.Unit.IsDose() {
		r := *s
		if why = e.runs(&r, c, basis); why != "" {
			return why
		}
		if r.Kind != runsFor {
			return noTime
		}
		s.Lo, _ = areaOf(r.Lo, r.Least).amount()
		_, s.Hi = areaOf(r.Hi, r.Most).amount()
		s.Least, s.Most = r.Least, r.Most
		if s.Hi > maxAmount {
			return tooMuch
		}
	} else {
		if s.Lo, s.Hi, why = e.amount(c.Value, basis); why != "" {
			return why
		}
		if c.Limit.Unit.IsTime() && c.Limit.Coefficient != 0 && !s.lasts(c.Limit) {
			return strangeTime
		}
	}
	if c.Verb == device.Prime {
		s.Lo = 0 // it fills the tube, and should not reach the patient
	}
	return ""
}

// runs counts a rate, and until when it runs by itself.
func (e *Envelope) runs(s *shape, c *device.Command, basis device.Basis) (why string) {
	if s.Lo, s.Hi, why = e.rate(c.Value, basis); why != "" {
		return why
	}
	switch limit := c.Limit; {
	case limit.IsNone():
	case limit.Unit.IsTime():
		if !s.lasts(limit) {
			return strangeTime
		}
		s.Kind = runsFor
	default:
		lo, hi, why := e.amount(limit, basis)
		if why != "" || s.Lo == 0 {
			return strangeTime
		}
		s.Kind = runsFor
		s.Least, _ = areaOfAmount(lo).per(s.Hi)
		_, s.Most = areaOfAmount(hi).per(s.Lo)
		if s.Most > maxOwn {
			s.Most = forever
		}
	}
	return ""
}

// amount counts a dose in millionths of the unit of the sums.
func (e *Envelope) amount(q device.Quantity, basis device.Basis) (lo, hi int64, why string) {
	return fixed(q, e.Unit, basis)
}

// rate counts a rate in millionths of that per hour.
func (e *Envelope) rate(q device.Quantity, basis device.Basis) (lo, hi int64, why string) {
	return fixed(q, e.rateUnit, basis)
}

func fixed(q device.Quantity, to device.Unit, basis device.Basis) (lo, hi int64, why string) {
	if why = plain(q); why != "" {
		return 0, 0, why
	}
	lo, hi, err := basis.Fixed(q, to, -6)
	if err != nil {
		return 0, 0, whyNot(err)
	}
	if hi > maxAmount {
		return 0, 0, tooMuch
	}
	return lo, hi, ""
}

var second = unitOf("s")

func unitOf(ucum string) device.Unit {
	u, _ := device.UnitOfUCUM(ucum)
	return u
}
