// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"time"
)

// Proprietary radios. All of them are invented; see the dialects.

// flood wakes a device 1,000 times a minute, for a minute and a half.
func (e *ether) flood(frame func() []byte) {
	const times, every = 1500, 60 * time.Millisecond
	raw := frame()
	for i := range times {
		e.s.now += int64(every)
		e.again(raw, int8(-47-i%3))
		e.s.now -= int64(40 * time.Millisecond)
	}
}

// The defibrillator of Anna, with its programmer.

const (
	programmer = 0x91a2
	impostor   = 0x0b0b
)

// mics is the radio of the implant in its form, and the programmer's session.
func (s *scene) mics() *ether {
	if s.form == Protected {
		return s.sealedEther("halden-mics-protected", 4)
	}
	return s.ether("halden-mics", 4, "device", uint32(icdAddress))
}

// A programmed is a session of a programmer with the implant.
type programmed struct {
	e        *ether
	fields   []any
	sequence int
}

// session wakes the implant and opens a session.
func (e *ether) session(who uint32) *programmed {
	p := &programmed{e: e}
	if e.sealed != nil {
		e.say("wake")
		e.say("awake")
		e.say("open-session", "message", "edhoc message one of a session")
		e.say("session", "message", "edhoc message two of a session")
		return p
	}
	p.fields = []any{"programmer", who, "session", e.s.random(2)}
	p.say("wake")
	p.say("awake", "battery", 2790)
	p.say("open-session", "clock", 1772521200, "proof", e.s.random(4))
	return p
}

func (p *programmed) say(opcode string, fields ...any) []byte {
	if p.e.sealed != nil {
		return p.e.say(opcode, fields...)
	}
	p.sequence = p.sequence%255 + 1
	return p.e.say(opcode, append(append(fields, p.fields...), "sequence", p.sequence)...)
}

// readOut is a programmer reading what the implant has.
func (s *scene) readOut() { s.readOutOf(s.mics()) }

func (s *scene) readOutOf(e *ether) *programmed {
	p := e.session(programmer)
	p.say("interrogate")
	if e.sealed != nil {
		p.say("settings", "message", "patient, mode, therapies, rate, output, episodes")
		return p
	}
	p.say("settings", "patient-name", AnnaName, "record", annaRecord[3:], "mode", 3, "therapies", 1, "detection", 1, "rate", 60, "output", 50, "episodes", 2)
	p.say("identify")
	p.say("identity", "model", "Rhythm S", "firmware", "4.2", "serial", icdSerial)
	return p
}

// therapies switches shocks off or on, and returns the command as it was sent.
func (p *programmed) therapies(state int) []byte {
	if p.e.sealed != nil {
		raw := p.say("therapies", "message", string([]byte{byte(state)}))
		p.say("done", "message", "therapies")
		return raw
	}
	raw := p.say("therapies", "state", state)
	p.say("answer", "to", 0x30, "status", 0)
	return raw
}

// followUp is a visit to the clinic. It returns 'therapies off'.
func (s *scene) followUpOf(e *ether) []byte {
	p := s.readOutOf(e)
	e.pause(40 * time.Second)
	raw := p.therapies(0)
	e.pause(50 * time.Minute)
	p.therapies(1)
	if e.sealed == nil {
		p.say("close-session")
	}
	return raw
}

func (s *scene) followUp() { s.followUpOf(s.mics()) }

// icdReplay begins yesterday afternoon. 17 minutes after the story's beginning
// what was recorded then is sent again.
func (s *scene) icdReplay() {
	begin := s.now
	e := s.mics()
	s.now = begin - int64(15*time.Hour) + int64(20*time.Minute)
	recorded := s.followUpOf(e)
	s.now = begin + int64(17*time.Minute)
	wake := e.wake(impostor)
	e.again(wake, -44)
	e.again(recorded, -44)
	e.pause(time.Second)
	e.flood(func() []byte { return wake })
}

// wake makes a wake-up without sending it.
func (e *ether) wake(who uint32) []byte {
	var raw []byte
	if e.sealed != nil {
		raw = e.say("wake")
	} else {
		raw = e.say("wake", "programmer", who)
	}
	e.s.frames = e.s.frames[:len(e.s.frames)-1]
	return raw
}

func (s *scene) icdWakeFlood() {
	e := s.mics()
	e.flood(func() []byte { return e.wake(impostor) })
}

// icdMemory reads the implant's memory and writes to it.
func (s *scene) icdMemory() {
	e := s.mics()
	p := e.session(impostor)
	for i := range 4 {
		p.say("read-memory", "start", 0x4000+32*i, "size", 32)
		p.say("memory", "start", 0x4000+32*i, "contents", append([]byte(AnnaName), s.random(18)...))
	}
	p.say("write-memory", "start", 0x8000, "contents", s.random(24))
	p.say("answer", "to", 0x13, "status", 0)
}

// forgedSession opens a session with a proof that was computed, and makes the
// heart fast.
func (s *scene) forgedSession() {
	p := s.mics().session(impostor)
	p.say("pacing-rate", "rate", 180, "rate-now", 60)
	p.say("answer", "to", 0x20, "status", 0)
	p.say("output", "output", 0, "output-now", 50)
	p.say("answer", "to", 0x21, "status", 0)
}

// An old defibrillator under a programmer's wand.

func (s *scene) wand() *ether { return s.ether("halden-wand", 0, "serial", wandSerial) }

func (s *scene) wandReadOut() {
	e := s.wand()
	e.say("wake")
	e.say("awake", "battery", 148)
	e.say("read-patient")
	e.say("patient", "patient-name", AnnaName, "born", annaBorn, "record", annaRecord, "diagnosis", "Ventricular fibrillation", "physician", physician)
	e.say("read-electrogram", "seconds", 10)
	for range 10 {
		e.say("electrogram", "rate", 71, "samples", s.random(64))
	}
}

// wandReplay is a visit, and its commands again an hour later.
func (s *scene) wandReplay() {
	e := s.wand()
	e.say("wake")
	e.say("awake", "battery", 148)
	off := e.say("therapies", "state", 0x5a)
	e.say("done")
	shock := e.say("shock", "energy", 50)
	e.say("done")
	e.say("therapies", "state", 0xa5)
	e.say("done")
	e.pause(time.Hour)
	e.again(off, -41)
	e.say("done")
	e.again(shock, -41)
	e.say("done")
}

func (s *scene) wandWakeFlood() {
	e := s.wand()
	e.flood(func() []byte { return e.say("wake") })
}

// The neurostimulator of Cleo.

func (s *scene) calm() *ether {
	if s.form == Protected {
		return s.sealedEther("tessel-calm-protected", 1)
	}
	return s.ether("tessel-calm", 1, "serial", uint32(stimSerial))
}

// stimAdjust is the patient with her own programmer.
func (s *scene) stimAdjust() { s.stimAdjustOf(s.calm()) }

func (s *scene) stimAdjustOf(e *ether) []byte {
	if e.sealed != nil {
		e.say("wake")
		e.say("awake")
		e.say("agree", "message", "key agreement, first message")
		e.say("agreed", "message", "key agreement, second message")
		e.say("read-program")
		e.say("program", "message", "group, state, amplitude, frequency, width, target")
		raw := e.say("amplitude", "message", "2.40 V")
		e.say("done", "message", "amplitude")
		e.say("select-program", "message", "2")
		e.say("done", "message", "select-program")
		return raw
	}
	e.say("wake", "message", 1)
	e.say("awake", "message", 1, "battery", 77)
	e.say("read-program", "message", 2)
	e.say("program", "message", 2, "group", 1, "state", 1, "amplitude", 230, "frequency", 1300, "width", 60, "target", "STN left")
	raw := e.say("amplitude", "message", 3, "amplitude", 240, "amplitude-now", 230)
	e.say("answer", "message", 3, "status", 0)
	e.say("select-program", "message", 4, "group", 2)
	e.say("answer", "message", 4, "status", 0)
	return raw
}

// stimSpoof sends what was recorded, and what was made up.
func (s *scene) stimSpoof() {
	e := s.calm()
	recorded := s.stimAdjustOf(e)
	e.pause(30 * time.Minute)
	e.say("read-patient", "message", 5)
	e.say("patient", "message", 5, "patient-name", CleoName, "born", cleoBorn)
	e.again(recorded, -49)
	e.say("highest-amplitude", "message", 6, "amplitude", 1000, "amplitude-now", 400)
	e.say("answer", "message", 6, "status", 0)
	e.say("amplitude", "message", 7, "amplitude", 950, "amplitude-now", 240)
	e.say("answer", "message", 7, "status", 0)
	e.say("stimulation", "message", 8, "state", 0)
	e.say("answer", "message", 8, "status", 0)
}

// An insulin pump of the years before Bluetooth.

func (s *scene) classic() *ether {
	if s.form == Protected {
		return s.sealedEther("okapi-classic-protected", 2)
	}
	return s.ether("okapi-classic", 2, "serial", classicSerial)
}

// classicMornings are three breakfasts with the same bolus by the remote control.
func (s *scene) classicMornings() {
	e := s.classic()
	for range 3 {
		e.say("wake")
		e.say("done")
		if e.sealed != nil {
			e.say("bolus", "message", "4.0 IU")
			e.say("done")
			e.say("bolus-given", "message", "4.0 IU")
		} else {
			e.say("bolus", "amount", 160)
			e.say("done")
			e.say("bolus-given", "amount", 160)
		}
		e.pause(24 * time.Hour)
	}
}

const (
	remoteSerial  = 0x21c0de
	foreignSerial = 0x0ff1ce
)

func (s *scene) classicReadOut() {
	e := s.classic()
	e.say("wake")
	e.say("done")
	e.say("identity", "model", "Dose Classic", "version", "3.1")
	e.say("read-status")
	e.say("status", "reservoir", 1520, "basal", 34, "glucose", 109)
	e.say("read-history", "page", 1)
	e.say("history", "page", 1, "records", s.random(64))
}

// classicReplay is a bolus by the remote control, which is sent again. The
// frame has nothing that must be fresh.
func (s *scene) classicReplay() {
	e := s.classic()
	e.say("wake")
	bolus := e.say("bolus", "amount", 160)
	e.say("done")
	e.say("bolus-given", "amount", 160)
	e.pause(25 * time.Minute)
	for range 3 {
		e.again(bolus, -43)
		e.say("done")
		e.pause(4 * time.Minute)
	}
}

func (s *scene) classicInject() {
	e := s.classic()
	e.say("wake")
	e.say("done")
	e.say("highest-bolus", "amount", 3000, "amount-now", 400)
	e.say("done")
	e.say("bolus", "amount", 1000)
	e.say("done")
	e.say("temporary-basal", "rate", 400, "rate-now", 34, "duration", 720)
	e.say("done")
	e.say("low-alarm", "threshold", 40)
	e.say("done")
	e.say("delivery", "state", 1, "duration", 0)
	e.say("done")
}

func (s *scene) classicSensor() {
	e := s.classic()
	for i := range 6 {
		e.say("glucose", "sensor", sensorSerial, "count", 40+i, "glucose", 300+9*i)
		e.pause(5 * time.Minute)
	}
	e.say("calibration", "glucose", 320)
	e.say("done")
}

// classicPairing is an accessory that pairs, and again a day later.
func (s *scene) classicPairing() {
	e := s.classic()
	for range 2 {
		e.say("pair", "accessory", foreignSerial)
		e.say("paired", "accessory", foreignSerial, "key", []byte{0x9d, 0x21, 0x07, 0x5c})
		e.say("bolus", "amount", 400)
		e.say("done")
		e.pause(24 * time.Hour)
	}
	e.say("pair", "accessory", remoteSerial)
	e.say("paired", "accessory", remoteSerial, "key", []byte{0x9d, 0x21, 0x07, 0x5c})
}

// patchInject is a handheld of somebody else that knows the pod's token.
func (s *scene) patchInject() {
	token := s.random(4)
	e := s.ether("okapi-patch", 0, "pod", uint32(podSerial), "token", token)
	e.say("version", "firmware", "2.8.1", "sequence-number", podSequence, "sequence", 1)
	e.say("read-status", "sequence", 2)
	e.say("status", "sequence", 2, "running", 1, "not-delivered", 0, "reservoir", 900, "minutes", 1190)
	e.say("bolus", "sequence", 3, "amount", 80)
	e.say("done", "sequence", 3)
	e.pause(2 * time.Hour)
	e.say("basal", "sequence", 4, "rate", 200)
	e.say("done", "sequence", 4)
	e.say("bolus", "sequence", 5, "amount", 500)
	e.say("done", "sequence", 5)
	e.say("deactivate", "sequence", 6)
	e.say("done", "sequence", 6)
}
