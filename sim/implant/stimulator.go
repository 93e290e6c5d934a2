// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"fmt"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/patch"
)

// A program of a neurostimulator.
type stimulation struct {
	width     int64 // us
	frequency int64 // Hz
}

var programs = [...]stimulation{{60, 130}, {90, 130}, {60, 180}, {90, 60}}

const (
	mostCharge = 600      // nC in one phase, for the electrode and the tissue at it
	offAgain   = 4 * hour // within which another off is a repeated one
	perMilliA  = 10       // amplitudes are counted in tenths
)

// The alarms of a neurostimulator.
const (
	alarmStimulationOff = 1 << iota
	alarmStimulatorLow
)

var stimulatorAlarms = []string{"stimulation off", "battery low"}

// A stimulator stimulates the deep brain.
type stimulator struct {
	body
	on         int64
	program    int64 // 1 to 4
	amplitudes [len(programs)]int64
	offLast    int64 // when it was last turned off, plus one
	lead       int64
}

func newStimulator() *stimulator {
	return &stimulator{
		body: body{full: 200 * milliampereHour, drawn: 25_000},
		on:   1, program: 1, amplitudes: [...]int64{25, 20, 25, 15}, lead: 1100,
	}
}

func (s *stimulator) vars() []*int64 {
	v := []*int64{&s.now, &s.used, &s.alarms, &s.on, &s.program, &s.offLast, &s.lead}
	for i := range s.amplitudes {
		v = append(v, &s.amplitudes[i])
	}
	return v
}

func (s *stimulator) settings() []*int64 {
	v := []*int64{&s.program}
	for i := range s.amplitudes {
		v = append(v, &s.amplitudes[i])
	}
	return v
}

func (s *stimulator) activity() patch.Activity {
	a := s.alarming()
	if s.giving() {
		a |= patch.Delivering
	}
	return a
}

func (s *stimulator) giving() bool { return s.on == 1 && s.amplitude() > 0 }

func (s *stimulator) longevity() int { return s.days(s.draws()) }

// draws is what stimulation takes, in nA: two phases of so much charge, so many times
// a second.
func (s *stimulator) draws() int64 {
	return s.on * 2 * charge(s.amplitude(), s.program) * programs[s.program-1].frequency
}

func (s *stimulator) bounds() []bound {
	return []bound{
		{device.SetAmplitude, 0, 80, 1, -1, unitMilliA, "and no more than 0.6 uC in one phase"},
		{device.SelectProgram, 1, int64(len(programs)), 1, 0, unitOne, ""},
	}
}

func (s *stimulator) complete(c *device.Command) error {
	c.Therapy = device.Neurostimulation
	switch c.Verb {
	case device.SetAmplitude:
		c.Now = quantity(s.amplitude(), -1, unitMilliA)
	case device.SelectProgram:
		c.Now = quantity(s.program, 0, unitOne)
	case device.StimulationOff, device.Suspend, device.Resume:
	default:
		return errNotBuilt
	}
	return nil
}

func (s *stimulator) repeated(c *device.Command) bool {
	return c.Verb == device.StimulationOff && s.offLast != 0 && s.now-(s.offLast-1) < offAgain
}

func (s *stimulator) check(c *device.Command, _ bool) error {
	if !c.Limit.IsNone() {
		return fmt.Errorf("a time: %w", errNotBuilt)
	}
	if b := find(s.bounds(), c.Verb); b != nil {
		n, err := b.count(c.Value)
		if err != nil {
			return err
		}
		if c.Verb == device.SetAmplitude && charge(n, s.program) > mostCharge {
			return fmt.Errorf("%w: %v in one phase", errHard, quantity(charge(n, s.program), -3, unitMicroC))
		}
	}
	if c.Verb == device.Resume && s.on == 1 {
		return errNothing
	}
	return nil
}

// charge is nC in one phase, of an amplitude in 0.1 mA.
func charge(amplitude, program int64) int64 { return amplitude * programs[program-1].width / perMilliA }

func (s *stimulator) amplitude() int64 { return s.amplitudes[s.program-1] }

func (s *stimulator) apply(c *device.Command) {
	n := int64(0)
	if b := find(s.bounds(), c.Verb); b != nil {
		n, _ = b.count(c.Value)
	}
	switch c.Verb {
	case device.SetAmplitude:
		s.amplitudes[s.program-1] = n
	case device.SelectProgram:
		s.program = n
	case device.StimulationOff, device.Suspend:
		s.on, s.offLast = 0, s.now+1
		s.alarms |= alarmStimulationOff
	case device.Resume: // one step
		s.on = 1
		s.alarms &^= alarmStimulationOff
		s.say("back to program %d at %v", s.program, quantity(s.amplitude(), -1, unitMilliA))
	}
}

func (s *stimulator) advance(to int64, woke int64) {
	ms := max(0, to-s.now)
	draws := int64(0)
	if s.giving() && s.gives(ms) {
		draws = s.draws()
	}
	s.drain(ms, draws, woke)
	s.now += ms
	if s.percent().Coefficient < 10 && s.alarms&alarmStimulatorLow == 0 {
		s.alarms |= alarmStimulatorLow
		s.say("battery low")
	}
}

// restart: it goes on with the last confirmed program, or stays off.
func (s *stimulator) restart(to int64) { s.advance(to, 0) }

func (s *stimulator) detached() {}

func (s *stimulator) busy() bool { return false }

func (s *stimulator) therapy() therapy.Document {
	p := programs[s.program-1]
	return therapy.Document{
		therapy.Kind.Is(Neurostimulator.String()),
		therapy.Stimulation.Is(s.on == 1),
		therapy.Program.Is(s.program),
		therapy.Amplitude.Is(quantity(s.amplitude(), -1, unitMilliA)),
		therapy.PulseWidth.Is(quantity(p.width, 0, unitMicroS)),
		therapy.Frequency.Is(quantity(p.frequency, 0, unitHertz)),
		therapy.Charge.Is(quantity(charge(s.amplitude(), s.program), -3, unitMicroC)),
	}
}

func (s *stimulator) telemetry() therapy.Document {
	return therapy.Document{
		therapy.Battery.Is(s.percent()),
		therapy.Alarms.Is(alarmNames(s.alarms, stimulatorAlarms)),
		therapy.Lead.Is(quantity(s.lead, 0, unitOhm)),
	}
}
