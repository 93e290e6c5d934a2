// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"fmt"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/patch"
)

// Pacing modes by their numbers in a command, in the NBG code. 0, which would not pace,
// is not among them.
var pacingModes = []string{"OOO", "VOO", "VVI", "AAI", "DOO", "DDI", "DDD", "VVIR", "DDDR"}

const (
	modeVVI = 2
	modeDDD = 6

	chargeTime       = 8 * second // of the capacitor, before a shock
	attendedLongest  = hour       // that detection stays off
	presetRate       = 65
	presetOutput     = 75   // tenths of a volt
	presetWidth      = 1000 // us
	presetSensitive  = 20   // tenths of a millivolt
	shocksPerCommand = 1
)

// The alarms of a pacemaker.
const (
	alarmDetectionOff = 1 << iota
	alarmPreset
	alarmShockDoubt
	alarmBatteryLow
)

var pacemakerAlarms = []string{"detection or therapies off", "emergency preset", "a shock is in doubt", "battery low"}

// pacingSetting is how it paces.
type pacingSetting struct {
	mode, rate, output, width, sensitivity int64 // rate in pulses/min, output in 0.1 V, width in us, sensitivity in 0.1 mV
}

// A pacemaker paces and defibrillates.
type pacemaker struct {
	body
	pacing    pacingSetting
	confirmed pacingSetting // before an emergency preset; rate 0: there was none
	detection int64         // 0 or 1
	therapies int64
	vfRate    int64 // beats/min at or above which it is fibrillation
	offSince  int64 // when detection or therapies went off, plus one
	charging  int64 // joule of a commanded shock; 0: none
	chargedAt int64
	shocks    int64
	doubt     int64 // shocks that may have been given
	beats     int64
	beatPart  int64 // parts of a beat: pulses/min times milliseconds
	lead      int64 // ohm
	shocked   int64 // when a shock was given last, plus one
}

func newPacemaker() *pacemaker {
	return &pacemaker{
		body:      body{full: 1800 * milliampereHour, drawn: 8_000},
		pacing:    pacingSetting{mode: modeDDD, rate: 60, output: 25, width: 400, sensitivity: 20},
		detection: 1, therapies: 1, vfRate: 200, lead: 512,
	}
}

func (p *pacemaker) vars() []*int64 {
	return []*int64{
		&p.now, &p.used, &p.alarms,
		&p.pacing.mode, &p.pacing.rate, &p.pacing.output, &p.pacing.width, &p.pacing.sensitivity,
		&p.confirmed.mode, &p.confirmed.rate, &p.confirmed.output, &p.confirmed.width, &p.confirmed.sensitivity,
		&p.detection, &p.therapies, &p.vfRate, &p.offSince, &p.charging, &p.chargedAt, &p.shocks, &p.doubt,
		&p.beats, &p.beatPart, &p.lead, &p.shocked,
	}
}

func (p *pacemaker) settings() []*int64 {
	return []*int64{
		&p.pacing.mode, &p.pacing.rate, &p.pacing.output, &p.pacing.width, &p.pacing.sensitivity, &p.detection, &p.therapies, &p.vfRate,
	}
}

func (p *pacemaker) activity() patch.Activity {
	a := p.alarming()
	if p.giving() {
		a |= patch.Delivering | patch.Dependent // nobody knows how the heart would do without
	}
	if p.charging != 0 {
		a |= patch.Charging
	}
	if p.within(p.shocked) {
		a |= patch.Episode
	}
	if mode := pacingModes[p.pacing.mode]; mode == "VOO" || mode == "DOO" {
		a |= patch.MRI // it senses nothing, as in a scanner
	}
	if p.offSince != 0 {
		a |= patch.Programming
	}
	return a
}

func (p *pacemaker) giving() bool { return p.pacing.rate > 0 }

func (p *pacemaker) longevity() int { return p.days(p.draws()) }

// draws is what pacing takes, in nA: 1 V for 1 ms into the lead, at the rate, is a
// microampere or so.
func (p *pacemaker) draws() int64 {
	return p.pacing.rate * p.pacing.output * p.pacing.output * p.pacing.width / 400 / 10
}

func (p *pacemaker) bounds() []bound {
	return []bound{
		{device.SetPacingMode, 1, int64(len(pacingModes)) - 1, 1, 0, unitOne, "it always paces"},
		{device.SetPacingRate, 40, 150, 1, 0, unitPPM, ""},
		{device.SetOutput, 15, 75, 1, -1, unitVolt, "1.5 V is twice the threshold"},
		{device.SetSensitivity, 6, 100, 1, -1, unitMilliV, "more sensitive inhibits pacing"},
		{device.DeliverShock, 1, 40, 1, 0, unitJoule, "attended"},
		{device.SetDetection, 170, 250, 1, 0, unitBPM, "or 0 and 1, off and on: attended, an external defibrillator at hand"},
		{device.SetTherapies, 0, 1, 1, 0, unitOne, "off: attended, an external defibrillator at hand"},
	}
}

func (p *pacemaker) complete(c *device.Command) error {
	c.Therapy = device.Pacing
	switch c.Verb {
	case device.SetPacingMode, device.EmergencyPreset, device.Resume, device.Suspend:
	case device.SetPacingRate:
		c.Now = quantity(p.pacing.rate, 0, unitPPM)
	case device.SetOutput:
		c.Now = quantity(p.pacing.output, -1, unitVolt)
	case device.SetSensitivity:
		c.Now = quantity(p.pacing.sensitivity, -1, unitMilliV)
	case device.SetDetection:
		c.Therapy, c.Now = device.Defibrillation, quantity(p.vfRate, 0, unitBPM)
	case device.SetTherapies:
		c.Therapy, c.Now = device.Defibrillation, quantity(p.therapies, 0, unitOne)
	case device.DeliverShock, device.AbortShock:
		c.Therapy = device.Defibrillation
	default:
		return errNotBuilt
	}
	return nil
}

func (p *pacemaker) repeated(*device.Command) bool { return false }

// isSwitch reports whether set-detection or set-therapies turns on or off.
func isSwitch(c *device.Command) bool {
	return (c.Verb == device.SetDetection || c.Verb == device.SetTherapies) && c.Value.Unit == unitOne
}

func (p *pacemaker) check(c *device.Command, confirm bool) error {
	if !c.Limit.IsNone() {
		return fmt.Errorf("a time: %w", errNotBuilt)
	}
	b := find(p.bounds(), c.Verb)
	switch {
	case isSwitch(c):
		n, err := countIn(c.Value, 0, unitOne)
		if err != nil {
			return err
		}
		if n != 0 && n != 1 {
			return errHard
		}
		if n == 0 && !confirm {
			return errConfirm
		}
	case b != nil:
		if _, err := b.count(c.Value); err != nil {
			return err
		}
	}
	switch c.Verb {
	case device.Suspend:
		return fmt.Errorf("to stop pacing: %w", errNever)
	case device.DeliverShock:
		if p.charging != 0 {
			return errBusy
		}
	case device.AbortShock:
		if p.charging == 0 {
			return errNothing
		}
	case device.Resume:
		if p.confirmed.rate == 0 {
			return errNothing
		}
	}
	return nil
}

func (p *pacemaker) apply(c *device.Command) {
	n := int64(0)
	if b := find(p.bounds(), c.Verb); b != nil && !isSwitch(c) {
		n, _ = b.count(c.Value)
	} else if b != nil {
		n, _ = countIn(c.Value, 0, unitOne)
	}
	switch c.Verb {
	case device.SetPacingMode:
		p.pacing.mode = n
	case device.SetPacingRate:
		p.pacing.rate = n
	case device.SetOutput:
		p.pacing.output = n
	case device.SetSensitivity:
		p.pacing.sensitivity = n
	case device.EmergencyPreset:
		if p.confirmed.rate == 0 {
			p.confirmed = p.pacing
		}
		p.pacing = pacingSetting{modeVVI, presetRate, presetOutput, presetWidth, presetSensitive}
		p.alarms |= alarmPreset
	case device.Resume:
		p.pacing, p.confirmed = p.confirmed, pacingSetting{}
		p.alarms &^= alarmPreset
	case device.SetDetection:
		if isSwitch(c) {
			p.detection = n
		} else {
			p.vfRate = n
		}
	case device.SetTherapies:
		p.therapies = n
	case device.DeliverShock:
		p.charging, p.chargedAt = n, p.now+chargeTime
	case device.AbortShock:
		p.say("shock of %v aborted", quantity(p.charging, 0, unitJoule))
		p.charging = 0
	}
	if off := p.detection == 0 || p.therapies == 0; off && p.offSince == 0 {
		p.offSince = p.now + 1
		p.alarms |= alarmDetectionOff
	} else if !off {
		p.offSince = 0
		p.alarms &^= alarmDetectionOff
	}
}

func (p *pacemaker) advance(to int64, woke int64) {
	p.drain(0, 0, woke)
	for p.now < to {
		end := to
		if p.charging != 0 {
			end = min(end, max(p.chargedAt, p.now))
		}
		if p.offSince != 0 {
			end = min(end, max(p.now, p.offSince-1+attendedLongest))
		}
		ms := end - p.now
		draws := int64(0)
		if p.gives(ms) {
			draws = p.draws()
			p.beatPart += p.pacing.rate * ms
		}
		p.drain(ms, draws, 0)
		p.beats += p.beatPart / minute
		p.beatPart %= minute
		p.now = end
		if p.charging != 0 && p.now >= p.chargedAt {
			p.shocks += shocksPerCommand
			p.shocked = p.now + 1
			p.say("shock delivered: %v", quantity(p.charging, 0, unitJoule))
			p.charging = 0
		}
		if p.offSince != 0 && p.now >= p.offSince-1+attendedLongest {
			p.detected("an hour is over")
		}
	}
	if p.percent().Coefficient < 5 && p.alarms&alarmBatteryLow == 0 {
		p.alarms |= alarmBatteryLow
		p.say("battery low")
	}
}

func (p *pacemaker) detected(why string) {
	if p.offSince == 0 {
		return
	}
	p.detection, p.therapies, p.offSince = 1, 1, 0
	p.alarms &^= alarmDetectionOff
	p.say("detection and therapies on again: %s", why)
}

// restart: a shock that was being charged counts as given and is not given again;
// detection is on.
func (p *pacemaker) restart(to int64) {
	if p.charging != 0 {
		p.say("shock of %v in doubt, counts as given, is not repeated", quantity(p.charging, 0, unitJoule))
		p.charging = 0
		p.shocks += shocksPerCommand
		p.shocked = p.now + 1
		p.doubt += shocksPerCommand
		p.alarms |= alarmShockDoubt
	}
	p.detected("restart")
	p.advance(to, 0)
}

func (p *pacemaker) detached() { p.detected("nobody attends") }

func (p *pacemaker) busy() bool { return p.charging != 0 || p.offSince != 0 }

func (p *pacemaker) therapy() therapy.Document {
	d := therapy.Document{
		therapy.Kind.Is(Defibrillator.String()),
		therapy.Mode.Is(pacingModes[p.pacing.mode]),
		therapy.LowerRate.Is(quantity(p.pacing.rate, 0, unitPPM)),
		therapy.Output.Is(quantity(p.pacing.output, -1, unitVolt)),
		therapy.PulseWidth.Is(quantity(p.pacing.width, 0, unitMicroS)),
		therapy.Sensitivity.Is(quantity(p.pacing.sensitivity, -1, unitMilliV)),
		therapy.Detection.Is(p.detection == 1),
		therapy.DetectionRate.Is(quantity(p.vfRate, 0, unitBPM)),
		therapy.Therapies.Is(p.therapies == 1),
		therapy.Preset.Is(p.confirmed.rate != 0),
	}
	if p.charging != 0 {
		d = append(d, therapy.Charging.Is(quantity(p.charging, 0, unitJoule)))
	}
	return d
}

func (p *pacemaker) telemetry() therapy.Document {
	return therapy.Document{
		therapy.Battery.Is(p.percent()),
		therapy.Alarms.Is(alarmNames(p.alarms, pacemakerAlarms)),
		therapy.Doubt.Is(quantity(p.doubt, 0, unitOne)),
		therapy.Lead.Is(quantity(p.lead, 0, unitOhm)),
		therapy.Shocks.Is(p.shocks),
		therapy.Beats.Is(p.beats),
	}
}
