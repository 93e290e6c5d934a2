// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	dialect "github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/sim/radio"
)

// A DefibrillatorState is what a pacemaker and defibrillator is and did.
type DefibrillatorState struct {
	Mode          string // of pacing: off, vvi, aai, ddd, voo, doo
	Rate          int    // pulses a minute
	OutputMV      int    // mV
	SensitivityUV int    // uV
	Therapies     bool   // shocks are on
	Detection     bool
	Preset        bool // the emergency pacing is on
	Shocks        int  // that were commanded
	LastShockDJ   int  // energy of the last one, in tenths of a joule
	Inductions    int  // of fibrillation
	Clock         uint32
	Session       bool  // one is open
	Written       int   // bytes of its memory that somebody wrote
	WakeUps       int   // of its radio
	Used          int64 // of the battery, microampere-hours
	BatteryMV     int
	Told          int // how often it sent who its patient is, in clear
}

var pacingModes = []string{"off", "vvi", "aai", "ddd", "voo", "doo"}

// A Defibrillator paces and shocks: the Rhythm S by dialect halden-mics, or the older
// Rhythm A by halden-wand, which only shocks.
type Defibrillator struct {
	transceiver
	s      DefibrillatorState
	cell   cell
	memory [1 << 16]byte
}

// Where things lie in the memory of a Rhythm S. Who writes to settings sets them.
const (
	MemorySettings = 0x0100 // mode, rate, output in 50 mV, therapies, detection: a byte each
	MemoryPatient  = 0x4000 // the patient's name, 20 bytes, and record number, 8 bytes
	MemoryProgram  = 0x8000
)

// micsReport is how much of the memory goes into one frame: its length has a byte,
// and there are 12 others in it.
const micsReport = 240

// NewRhythmS returns a Rhythm S.
func NewRhythmS(cfg Config) (*Defibrillator, error) {
	d := new(Defibrillator)
	d.begin()
	copy(d.memory[MemoryPatient:], radio.AnnaName)
	copy(d.memory[MemoryPatient+20:], radio.AnnaRecord[3:])
	for i := range 256 {
		d.memory[MemoryProgram+i] = byte(i*7 + 3)
	}
	d.remember()
	return d, d.tune(cfg, "halden-mics", radio.ICDAddress, d.mics)
}

// NewRhythmA returns a Rhythm A.
func NewRhythmA(cfg Config) (*Defibrillator, error) {
	d := new(Defibrillator)
	d.begin()
	return d, d.tune(cfg, "halden-wand", radio.WandSerial, d.wand)
}

func (d *Defibrillator) begin() {
	d.s = DefibrillatorState{Mode: "ddd", Rate: 60, OutputMV: 2500, SensitivityUV: 2500, Therapies: true, Detection: true}
	d.cell = cell{capacity: 1_200_000, used: 120_000}
}

// State returns a [DefibrillatorState].
func (d *Defibrillator) State() any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state()
}

func (d *Defibrillator) state() DefibrillatorState {
	s := d.s
	s.Used = d.cell.used
	s.BatteryMV = d.millivolts()
	return s
}

// millivolts falls from 3.2 to 2.2 V as the battery is used.
func (d *Defibrillator) millivolts() int { return 2200 + int(d.cell.permille()) }

func (d *Defibrillator) wake() {
	d.cell.draw(wakeCost)
	d.count(&d.s.WakeUps, "wake-ups")
}

// remember writes the settings to where they lie in the memory.
func (d *Defibrillator) remember() {
	mode := slices.Index(pacingModes, d.s.Mode)
	copy(d.memory[MemorySettings:], []byte{byte(mode), byte(d.s.Rate), byte(d.s.OutputMV / 50), bit(d.s.Therapies), bit(d.s.Detection)})
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Peek returns what lies in the memory of a Rhythm S.
func (d *Defibrillator) Peek(start uint16, n int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.memory[start:min(int(start)+n, len(d.memory))])
}

// WriteMemory writes to the memory of a Rhythm S as what is wired to it can; what does
// not fit is cut off.
func (d *Defibrillator) WriteMemory(start uint16, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write(int(start), b)
}

func (d *Defibrillator) write(start int, b []byte) {
	n := copy(d.memory[start:], b)
	d.s.Written += n
	d.note("%d bytes of memory written at %#04x", n, start)
	if start >= MemorySettings+5 || start+n <= MemorySettings {
		return
	}
	set := d.memory[MemorySettings:]
	if int(set[0]) < len(pacingModes) {
		d.s.Mode = pacingModes[set[0]]
	}
	d.s.Rate, d.s.OutputMV, d.s.Therapies, d.s.Detection = int(set[1]), 50*int(set[2]), set[3] != 0, set[4] != 0
	d.note("settings from memory: %s", d.settings())
}

func (d *Defibrillator) settings() string {
	return d.s.Mode + ", therapies " + onOff(d.s.Therapies) + ", detection " + onOff(d.s.Detection)
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func (d *Defibrillator) shock(dj int) {
	d.s.Shocks++
	d.s.LastShockDJ = dj
	d.cell.draw(300)
	d.note("a shock of %d.%d J", dj/10, dj%10)
}

// sharedKey is what a programmer shows that it is one: the same in all devices.
var sharedKey = []byte("halden cardio 2011")

// proofOf is what opens a session of a Rhythm S: the front of SHA-256 of the key that
// all devices share and the clock of the programmer. It is the same whenever the
// clock says so.
func proofOf(clock uint32) []byte {
	h := sha256.Sum256(binary.LittleEndian.AppendUint32(bytes.Clone(sharedKey), clock))
	return h[:4]
}

// mics does what a frame of halden-mics asks for. Pacing is changed in a session that
// anybody opened, and everything else without one; session and sequence number of the frame are not looked at.
func (d *Defibrillator) mics(m *dialect.Message) {
	d.echo = []any{"device", int64(d.own), "programmer", int64(m.Peer.Value), "session", m.Bytes("session"), "sequence", number(m, "sequence")}
	const done, unknown, refused = 0, 1, 2
	status := done
	answer := func() { d.say("answer", "to", int(m.Number), "status", status) }
	switch m.Opcode.Name {
	case "wake":
		d.wake()
		d.say("awake", "battery", d.millivolts())
		return
	case "open-session":
		if !bytes.Equal(m.Bytes("proof"), proofOf(uint32(number(m, "clock")))) {
			status = refused
			break
		}
		d.s.Session = true
		d.note("a session is open")
	case "close-session":
		d.s.Session = false
		return
	case "interrogate":
		d.s.Told++
		mode := d.memory[MemorySettings]
		d.say("settings", "patient-name", radio.AnnaName, "record", radio.AnnaRecord[3:], "mode", int(mode&0xf), "therapies", int(bit(d.s.Therapies)),
			"detection", int(bit(d.s.Detection)), "rate", d.s.Rate, "output", d.s.OutputMV/50, "episodes", 2)
		return
	case "identify":
		d.say("identity", "model", "Rhythm S", "firmware", "4.2", "serial", radio.ICDSerial)
		return
	case "read-memory":
		start := number(m, "start")
		end := min(start+min(number(m, "size"), micsReport), len(d.memory))
		if start < MemoryPatient+28 && end > MemoryPatient {
			d.s.Told++
		}
		d.say("memory", "start", start, "contents", bytes.Clone(d.memory[start:end]))
		return
	case "write-memory":
		d.write(number(m, "start"), m.Bytes("contents"))
	case "pacing-rate", "output", "sensitivity", "pacing-mode":
		if !d.s.Session {
			status = refused
			break
		}
		d.pacing(m)
	case "emergency-pacing":
		d.s.Preset, d.s.Mode, d.s.Rate, d.s.OutputMV = true, "vvi", 70, 5000
		d.note("emergency pacing")
	case "therapies":
		d.s.Therapies = number(m, "state") == 1
		d.note("therapies %s", onOff(d.s.Therapies))
	case "detection":
		d.s.Detection = number(m, "state") == 1
		d.note("detection %s", onOff(d.s.Detection))
	case "shock":
		d.shock(2 * number(m, "energy"))
	case "abort":
		d.note("a shock aborted")
	case "clock":
		d.s.Clock = uint32(number(m, "clock"))
	default:
		status = unknown
	}
	d.remember()
	answer()
}

func (d *Defibrillator) pacing(m *dialect.Message) {
	switch m.Opcode.Name {
	case "pacing-rate":
		d.s.Rate = number(m, "rate")
		d.note("pacing at %d a minute", d.s.Rate)
	case "output":
		d.s.OutputMV = 50 * number(m, "output")
		d.note("output %d mV", d.s.OutputMV)
	case "sensitivity":
		d.s.SensitivityUV = 100 * number(m, "sensitivity")
		d.note("sensitivity %d uV", d.s.SensitivityUV)
	case "pacing-mode":
		if n := number(m, "mode"); n < len(pacingModes) {
			d.s.Mode = pacingModes[n]
			d.note("mode %s", d.s.Mode)
		}
	}
}

// wand does what a frame of halden-wand asks for.
func (d *Defibrillator) wand(m *dialect.Message) {
	d.echo = []any{"serial", int64(d.own)}
	switch m.Opcode.Name {
	case "wake":
		d.wake()
		d.say("awake", "battery", d.millivolts()/20)
		return
	case "read-patient":
		d.s.Told++
		d.say("patient", "patient-name", radio.AnnaName, "born", radio.AnnaBorn, "record", radio.AnnaRecord, "diagnosis", "long QT syndrome", "physician", radio.Physician)
		return
	case "read-electrogram":
		n := min(32*number(m, "seconds"), micsReport)
		samples := make([]byte, n)
		for i := range samples {
			samples[i] = 0x80 + byte(i%32)
		}
		d.say("electrogram", "rate", 71, "samples", samples)
		return
	case "therapies":
		d.s.Therapies = number(m, "state") == 0xa5
		d.note("therapies %s", onOff(d.s.Therapies))
	case "shock":
		d.shock(2 * number(m, "energy"))
	case "induce":
		d.s.Inductions++
		d.note("fibrillation induced")
	case "abort":
		d.note("a shock aborted")
	default:
		d.say("refused")
		return
	}
	d.say("done")
}
