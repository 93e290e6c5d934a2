// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"fmt"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/patch"
)

// Insulin is counted in thousandths of a unit (milliunits), and what is not a whole one
// yet in parts of it: milliunits per hour times milliseconds. So nothing is ever rounded.
const (
	milliunit       = hour       // parts
	bolusSpeed      = 25 * 3600  // milliunits per hour: 1.5 U/min
	reservoirFull   = 300_000    // 300 U
	reservoirLow    = 20_000     // 20 U
	profiles        = 3          // that can be selected
	insulinBuckets  = 48         // of five minutes: insulin acts for four hours
	bucket          = 5 * minute // also how often the sensor measures
	sensitivityISF  = 50         // one unit lowers the glucose by 50 mg/dL
	outputOfLiver   = 3333       // thousandths of mg/dL in five minutes; 0.8 U/h hold it
	mostInFourHours = 30_000     // milliunits of boluses and basal together
	suspendAgain    = 4 * hour   // within which another suspend is a repeated one
	glucoseLow      = 54_000     // thousandths of mg/dL
	glucoseHighest  = 400_000
	glucoseLowest   = 40_000
)

// The alarms of a pump.
const (
	alarmSuspended = 1 << iota
	alarmReservoirLow
	alarmReservoirEmpty
	alarmGlucoseLow
	alarmDoubt
)

var pumpAlarms = []string{"suspended", "reservoir low", "reservoir empty", "glucose low", "a dose is in doubt"}

// A pump gives insulin under the skin and measures glucose.
type pump struct {
	body

	profile        int64 // 1 to 3
	rates          [profiles][24]int64
	clock          int64 // the time of the day when the life began, in ms
	temporary      int64 // milliunits per hour
	temporaryUntil int64 // 0: no temporary basal
	suspendedUntil int64 // 0: not suspended
	suspendedLast  int64 // when a suspend ended, plus one; 0: never
	bolus          int64 // asked for; 0: none under way
	bolusLeft      int64
	priming        int64
	basalPart      int64 // parts of a milliunit
	bolusPart      int64
	reservoir      int64
	delivered      int64 // basal and boluses, for ever
	boluses        int64 // of it
	doubt          int64 // of it: may have been given
	glucose        int64 // thousandths of mg/dL
	buckets        [insulinBuckets]int64
	low            int64 // when the glucose was low last, plus one
}

// newPump returns one at a time of the day in milliseconds.
func newPump(clock int64) *pump {
	p := &pump{
		clock:   clock,
		body:    body{full: 1500 * milliampereHour, drawn: 400_000},
		profile: 1, reservoir: reservoirFull, glucose: 120_000,
	}
	for i := range 24 {
		p.rates[0][i] = 800
		p.rates[1][i] = 650
		p.rates[2][i] = 800
	}
	for i := 3; i < 8; i++ {
		p.rates[2][i] = 1100 // dawn
	}
	for i := range p.buckets {
		p.buckets[i] = 800 / 12
	}
	return p
}

func (p *pump) vars() []*int64 {
	v := []*int64{
		&p.now, &p.used, &p.alarms, &p.profile, &p.clock, &p.temporary, &p.temporaryUntil, &p.suspendedUntil, &p.suspendedLast,
		&p.bolus, &p.bolusLeft, &p.priming, &p.basalPart, &p.bolusPart, &p.reservoir, &p.delivered, &p.boluses, &p.doubt, &p.glucose,
	}
	for i := range p.rates {
		for j := range p.rates[i] {
			v = append(v, &p.rates[i][j])
		}
	}
	for i := range p.buckets {
		v = append(v, &p.buckets[i])
	}
	return append(v, &p.low)
}

func (p *pump) settings() []*int64 {
	v := []*int64{&p.profile}
	for i := range p.rates {
		for j := range p.rates[i] {
			v = append(v, &p.rates[i][j])
		}
	}
	return v
}

func (p *pump) activity() patch.Activity {
	a := p.alarming()
	if p.giving() {
		a |= patch.Delivering
	}
	if p.bolus != 0 || p.priming != 0 {
		a |= patch.Bolus
	}
	if p.within(p.low) {
		a |= patch.Episode
	}
	return a
}

func (p *pump) giving() bool { return p.rate() > 0 }

// longevity: its battery is charged.
func (p *pump) longevity() int { return -1 }

func (p *pump) bounds() []bound {
	return []bound{
		{device.DeliverBolus, 25, 25_000, 25, -3, unitU, "and no more than 30 U of insulin on board"},
		{device.Prime, 25, 10_000, 25, -3, unitU, ""},
		{device.SetBasalRate, 0, 10_000, 25, -3, unitUPerH, ""},
		{device.SetTemporaryBasal, 0, 10_000, 25, -3, unitUPerH, "for 15 min to 24 h"},
		{device.SetProfile, 1, profiles, 1, 0, unitOne, ""},
		{device.Calibrate, 40, 400, 1, 0, unitMG, ""},
	}
}

func (p *pump) complete(c *device.Command) error {
	c.Therapy = device.InsulinInfusion
	switch c.Verb {
	case device.DeliverBolus, device.Prime, device.SetProfile, device.CancelBolus, device.StopPriming, device.Suspend, device.Resume:
	case device.SetBasalRate:
		c.Now = quantity(p.programmed(), -3, unitUPerH)
	case device.SetTemporaryBasal:
		c.Now = quantity(p.rate(), -3, unitUPerH)
	case device.CancelTemporaryBasal:
		c.Value, c.Now = quantity(p.programmed(), -3, unitUPerH), quantity(p.rate(), -3, unitUPerH)
	case device.Calibrate:
		c.Now = quantity(p.glucose, -3, unitMG)
	default:
		return errNotBuilt
	}
	return nil
}

func (p *pump) repeated(c *device.Command) bool {
	return c.Verb == device.Suspend && (p.suspendedUntil != 0 || p.suspendedLast != 0 && p.now-(p.suspendedLast-1) < suspendAgain)
}

func (p *pump) check(c *device.Command, _ bool) error {
	var n int64
	if b := find(p.bounds(), c.Verb); b != nil {
		var err error
		if n, err = b.count(c.Value); err != nil {
			return err
		}
	}
	d, err := durationOf(c.Limit)
	if err != nil {
		return err
	}
	switch c.Verb {
	case device.DeliverBolus:
		switch {
		case d != 0:
			return fmt.Errorf("a bolus over time: %w", errNotBuilt)
		case p.suspendedUntil != 0:
			return fmt.Errorf("%w: suspended", errBusy)
		case p.bolus != 0 || p.priming != 0:
			return errBusy
		case p.onBoard()+n > mostInFourHours:
			return fmt.Errorf("%w: more than 30 U on board", errHard)
		case n > p.reservoir:
			return errEmpty
		}
	case device.Prime:
		switch {
		case p.bolus != 0 || p.priming != 0:
			return errBusy
		case n > p.reservoir:
			return errEmpty
		}
	case device.SetTemporaryBasal:
		if d < 15*minute || d > day {
			return fmt.Errorf("%w: for 15 min to 24 h", errHard)
		}
	case device.Suspend:
		if d < 0 || d > day {
			return fmt.Errorf("%w: for 24 h", errHard)
		}
	case device.CancelBolus:
		if p.bolus == 0 {
			return errNothing
		}
	case device.StopPriming:
		if p.priming == 0 {
			return errNothing
		}
	case device.CancelTemporaryBasal:
		if p.temporaryUntil == 0 {
			return errNothing
		}
	case device.Resume:
		if p.suspendedUntil == 0 {
			return errNothing
		}
	}
	return nil
}

func (p *pump) apply(c *device.Command) {
	d, _ := durationOf(c.Limit)
	count := func() int64 {
		n, _ := find(p.bounds(), c.Verb).count(c.Value)
		return n
	}
	switch c.Verb {
	case device.DeliverBolus:
		p.bolus = count()
		p.bolusLeft, p.bolusPart = p.bolus, 0
	case device.CancelBolus:
		p.cancel("cancelled")
	case device.Prime:
		p.priming, p.bolusPart = count(), 0
	case device.StopPriming:
		p.priming = 0
	case device.SetBasalRate:
		n := count()
		for i := range 24 {
			p.rates[p.profile-1][i] = n
		}
	case device.SetTemporaryBasal:
		p.temporary, p.temporaryUntil = count(), p.now+d
	case device.CancelTemporaryBasal:
		p.temporary, p.temporaryUntil = 0, 0
	case device.SetProfile:
		p.profile = count()
	case device.Suspend:
		p.cancel("cancelled by the suspend")
		p.priming = 0
		p.suspendedUntil = forever
		if d > 0 {
			p.suspendedUntil = p.now + d
		}
		p.alarms |= alarmSuspended // loud
	case device.Resume:
		p.resume("resumed")
	case device.Calibrate:
		p.glucose = count() * 1000
	}
}

func (p *pump) cancel(why string) {
	if p.bolus != 0 {
		p.say("bolus %s: %v of %v given", why, quantity(p.bolus-p.bolusLeft, -3, unitU), quantity(p.bolus, -3, unitU))
	}
	p.bolus, p.bolusLeft, p.bolusPart = 0, 0, 0
}

func (p *pump) resume(why string) {
	p.suspendedUntil, p.suspendedLast = 0, p.now+1
	p.alarms &^= alarmSuspended
	p.say("%s: back to the last confirmed basal", why)
}

// programmed is the rate of the profile at this time of the day.
func (p *pump) programmed() int64 { return p.rates[p.profile-1][(p.now+p.clock)%day/hour] }

// rate is what is given now, besides a bolus.
func (p *pump) rate() int64 {
	switch {
	case p.suspendedUntil != 0:
		return 0
	case p.temporaryUntil != 0:
		return p.temporary
	}
	return p.programmed()
}

// onBoard is the insulin that still acts: of each five minutes less, evenly over four
// hours; and what a bolus is yet to give.
func (p *pump) onBoard() int64 {
	n := int64(0)
	at := p.now / bucket
	for age := range int64(insulinBuckets) {
		n += p.buckets[(at-age+insulinBuckets)%insulinBuckets] * (insulinBuckets - age)
	}
	return n/insulinBuckets + p.bolusLeft
}

func (p *pump) advance(to int64, woke int64) {
	p.drain(0, 0, woke)
	for p.now < to {
		// Nothing changes before the end of these five minutes, which is also that of the
		// hour, but what ends by itself.
		end := min(to, (p.now/bucket+1)*bucket)
		if h := (p.now+p.clock)/hour*hour + hour - p.clock; h > p.now {
			end = min(end, h)
		}
		for _, e := range []int64{p.temporaryUntil, p.suspendedUntil} {
			if e > p.now {
				end = min(end, e)
			}
		}
		p.give(end - p.now)
		p.now = end
		if p.temporaryUntil != 0 && p.now >= p.temporaryUntil {
			p.temporary, p.temporaryUntil = 0, 0
			p.say("temporary basal is over")
		}
		if p.suspendedUntil != 0 && p.now >= p.suspendedUntil {
			p.resume("suspend is over")
		}
		if p.now%bucket == 0 {
			p.measure()
		}
	}
}

// give is the motor for some milliseconds.
func (p *pump) give(ms int64) {
	if p.giving() && !p.gives(ms) {
		p.drain(ms, 0, 0)
		return
	}
	p.drain(ms, p.rate()/10, 0)
	p.basalPart += p.rate() * ms
	n := p.basalPart / milliunit
	p.basalPart %= milliunit
	if p.bolus != 0 || p.priming != 0 {
		p.bolusPart += bolusSpeed * ms
		m := p.bolusPart / milliunit
		p.bolusPart %= milliunit
		switch {
		case p.bolus != 0:
			m = min(m, p.bolusLeft, p.reservoir)
			p.bolusLeft -= m
			p.boluses += m
			n += m
			if p.bolusLeft == 0 {
				p.say("bolus delivered: %v", quantity(p.bolus, -3, unitU))
				p.bolus, p.bolusPart = 0, 0
			}
		default: // into the tube, not into the body
			m = min(m, p.priming, p.reservoir)
			p.priming -= m
			p.reservoir -= m
		}
	}
	p.took(min(n, p.reservoir))
	if p.reservoir == 0 {
		p.cancel("stopped by an empty reservoir")
		p.priming = 0
	}
}

// took counts insulin that is in the body.
func (p *pump) took(n int64) {
	p.reservoir -= n
	p.delivered += n
	p.buckets[p.now/bucket%insulinBuckets] += n
	if p.reservoir < reservoirLow && p.alarms&alarmReservoirLow == 0 {
		p.alarms |= alarmReservoirLow
		p.say("reservoir low")
	}
	if p.reservoir == 0 && p.alarms&alarmReservoirEmpty == 0 {
		p.alarms |= alarmReservoirEmpty
		p.say("reservoir empty")
	}
}

// measure is the sensor, every five minutes, and the body that it measures.
func (p *pump) measure() {
	acts := int64(0)
	for _, n := range p.buckets {
		acts += n
	}
	acts /= insulinBuckets
	p.glucose = max(glucoseLowest, min(glucoseHighest, p.glucose+outputOfLiver-sensitivityISF*acts))
	p.buckets[p.now/bucket%insulinBuckets] = 0 // four hours ago
	low := p.glucose < glucoseLow
	if low {
		p.low = p.now + 1
	}
	if low && p.alarms&alarmGlucoseLow == 0 {
		p.alarms |= alarmGlucoseLow
		p.say("glucose low")
	} else if !low {
		p.alarms &^= alarmGlucoseLow
	}
}

// restart: of a bolus that was under way, and of the basal since the last record, nobody
// knows what was given. It counts as given; the bolus is not taken up again.
func (p *pump) restart(to int64) {
	if p.bolus != 0 {
		n := min(p.bolusLeft, p.reservoir)
		p.say("bolus of %v: %v of it in doubt, counts as given, is not repeated", quantity(p.bolus, -3, unitU), quantity(n, -3, unitU))
		p.bolus, p.bolusLeft, p.bolusPart = 0, 0, 0
		p.boluses += n
		p.doubt += n
		p.took(n)
		p.alarms |= alarmDoubt
	}
	p.priming = 0
	before := p.delivered
	p.advance(to, 0)
	p.doubt += p.delivered - before
}

func (p *pump) detached() {}

func (p *pump) busy() bool { return p.bolus != 0 || p.temporaryUntil != 0 || p.suspendedUntil != 0 }

func (p *pump) therapy() therapy.Document {
	rates := make([]device.Quantity, 24)
	for i := range rates {
		rates[i] = quantity(p.rates[p.profile-1][i], -3, unitUPerH)
	}
	d := therapy.Document{
		therapy.Kind.Is(Pump.String()),
		therapy.BasalRate.Is(quantity(p.rate(), -3, unitUPerH)),
		therapy.Profile.Is(p.profile),
		therapy.ProfileRates.Is(rates),
	}
	if p.temporaryUntil != 0 {
		d = append(d, therapy.TemporaryBasal.Is(quantity(p.temporary, -3, unitUPerH)), therapy.TemporaryLeft.Is(left(p.now, p.temporaryUntil)))
	}
	switch p.suspendedUntil {
	case 0:
	case forever:
		d = append(d, therapy.SuspendedLeft.Is("until resumed"))
	default:
		d = append(d, therapy.SuspendedLeft.Is(left(p.now, p.suspendedUntil)))
	}
	if p.bolus != 0 {
		d = append(d, therapy.Bolus.Is(quantity(p.bolus, -3, unitU)), therapy.BolusLeft.Is(quantity(p.bolusLeft, -3, unitU)))
	}
	if p.priming != 0 {
		d = append(d, therapy.Priming.Is(quantity(p.priming, -3, unitU)))
	}
	return d
}

func (p *pump) telemetry() therapy.Document {
	return therapy.Document{
		therapy.Battery.Is(p.percent()),
		therapy.Alarms.Is(alarmNames(p.alarms, pumpAlarms)),
		therapy.Doubt.Is(quantity(p.doubt, -3, unitU)),
		therapy.Reservoir.Is(quantity(p.reservoir, -3, unitU)),
		therapy.Delivered.Is(quantity(p.delivered, -3, unitU)),
		therapy.OnBoard.Is(quantity(p.onBoard(), -3, unitU)),
		therapy.Glucose.Is(quantity(p.glucose/1000, 0, unitMG)),
	}
}

func alarmNames(set int64, names []string) []string {
	list := []string{}
	for i, name := range names {
		if set&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}
