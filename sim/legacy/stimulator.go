// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	dialect "github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/sim/radio"
)

// A StimulatorState is what a neurostimulator is and did.
type StimulatorState struct {
	On        bool
	Program   int
	Amplitude int // hundredths of a volt
	Highest   int // amplitude that it takes, hundredths of a volt
	WakeUps   int
	Used      int64 // of the battery, microampere-hours
	Told      int   // how often it sent who its patient is, in clear
}

// A Stimulator is a Calm, by dialect tessel-calm.
type Stimulator struct {
	transceiver
	s    StimulatorState
	cell cell
}

// NewCalm returns a Calm.
func NewCalm(cfg Config) (*Stimulator, error) {
	n := &Stimulator{s: StimulatorState{On: true, Program: 1, Amplitude: 230, Highest: 400}, cell: cell{capacity: 300_000, used: 69_000}}
	return n, n.tune(cfg, "tessel-calm", radio.StimulatorSerial, n.calm)
}

// State returns a [StimulatorState].
func (n *Stimulator) State() any {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.s
	s.Used = n.cell.used
	return s
}

// set changes the amplitude, as what is wired to it can too.
func (n *Stimulator) set(amplitude int) bool {
	if amplitude > n.s.Highest {
		n.note("an amplitude above the highest: refused")
		return false
	}
	n.s.Amplitude = amplitude
	n.note("amplitude %d.%02d V", amplitude/100, amplitude%100)
	return true
}

func (n *Stimulator) limit(highest int) {
	n.s.Highest = highest
	n.note("highest amplitude %d.%02d V", highest/100, highest%100)
}

// Program changes the amplitude and the highest one over a wire, as a programmer that
// lies on the device does; below 0 leaves one as it is.
func (n *Stimulator) Program(highest, amplitude int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if highest >= 0 {
		n.limit(highest)
	}
	return amplitude < 0 || n.set(amplitude)
}

// calm does what a frame of tessel-calm asks for.
func (n *Stimulator) calm(m *dialect.Message) {
	n.echo = []any{"serial", int64(n.own), "message", number(m, "message")}
	const done, unknown, refused = 0, 1, 2
	status := done
	switch m.Opcode.Name {
	case "wake":
		n.cell.draw(wakeCost)
		n.count(&n.s.WakeUps, "wake-ups")
		n.say("awake", "battery", int(n.cell.permille()/10))
		return
	case "read-program":
		n.say("program", "group", n.s.Program&0xf, "state", int(bit(n.s.On)), "amplitude", n.s.Amplitude, "frequency", 1300, "width", 60, "target", "STN left")
		return
	case "read-patient":
		n.s.Told++
		n.say("patient", "patient-name", radio.CleoName, "born", radio.CleoBorn)
		return
	case "amplitude":
		if !n.set(number(m, "amplitude")) {
			status = refused
		}
	case "highest-amplitude":
		n.limit(number(m, "amplitude"))
	case "select-program":
		n.s.Program = number(m, "group")
		n.note("program %d", n.s.Program)
	case "stimulation":
		n.s.On = number(m, "state") == 1
		n.note("stimulation %s", onOff(n.s.On))
	default:
		status = unknown
	}
	n.say("answer", "status", status)
}
