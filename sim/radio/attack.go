// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
)

// Attacks on Bluetooth.

// foreignPhone begins with breakfast. A quarter of an hour after the story's
// beginning a stranger's phone bonds with the pump.
func (s *scene) foreignPhone() {
	begin := s.now
	phone, p := s.knownPump()
	s.breakfast(phone, p)
	s.now = max(s.now, begin+int64(15*time.Minute))
	s.strangerBonds(p)
}

// strangerBonds is a phone that is nobody's bonding with the pump.
func (s *scene) strangerBonds(p *pump) {
	l := s.connect(s.stranger(), p.party)
	l.pair(false)
	l.getToKnow()
	l.pause()
	l.tell(bolusOf("25"))
	l.tellSensor(gatt.CGMControl{Op: gatt.CGMSetHypo + 1})
	l.tellSensor(gatt.CGMControl{Op: gatt.CGMSetHypo, Level: sfloat("40")})
	l.disconnect()
}

// clear is the pump's phone, or another one, on a link without encryption.
func (s *scene) clear(phone *party, p *pump) *link {
	l := s.connect(phone, p.party)
	l.getToKnow()
	return l
}

// getToKnow looks at a pump for the first time.
func (l *link) getToKnow() {
	l.discover()
	l.introduce()
	l.listen()
	l.read(chrIDDFeatures)
	l.read(chrCGMFeature)
}

// approach is a stranger's phone on a link to the pump.
func (s *scene) approach() *link {
	p := s.pump()
	return s.connect(s.stranger(), p.party)
}

// pumpReplay injects what was recorded: first into the connection of the
// patient's phone, then in one of its own.
func (s *scene) pumpReplay() {
	p := s.pump()
	l := s.clear(s.benPhone(), p)
	recorded := l.tell(bolusOf("4.0"))
	p.glucose(l, "109")
	l.wait(40 * time.Second)
	l.write(chrIDDCommand, recorded)
	l.wait(5 * time.Second)
	l.disconnect()
	s.after(time.Hour)
	l = s.clear(s.stranger(), p)
	l.write(chrIDDCommand, recorded)
	l.disconnect()
}

// staticKey is a device whose key is not random.
func (s *scene) staticKey() {
	phone, p := s.benPhone(), s.pump()
	same := s.key().Short(7)
	for range 2 {
		l := s.connect(phone, p.party)
		request, response := featuresFor(ble.JustWorks, false)
		response.MaxKeySize = 7
		x := &pairing{l: l, request: request, response: response, ltk: same}
		x.run()
		l.discover()
		l.introduce()
		l.listen()
		l.read(chrIDDStatus)
		l.disconnect()
		s.after(20 * time.Minute)
	}
}

// pinInClear deletes the bonds of others with a code that everybody hears.
func (s *scene) pinInClear() {
	p := s.pump()
	l := s.clear(s.stranger(), p)
	const deleteOthers = 0x09 // all but the active bond on the server, LE
	l.write(chrBondControl, append([]byte{deleteOthers}, pin...))
	l.tell(gatt.IDDControl{Op: gatt.IDDGetMaxBolus})
	l.tell(gatt.IDDControl{Op: gatt.IDDSetMaxBolus, Amount: sfloat("60")})
	l.disconnect()
}

// spoofedSensor is a sensor that anybody could be.
func (s *scene) spoofedSensor() {
	p := s.pump()
	l := s.clear(s.benPhone(), p)
	p.glucose(l, "310", "342")
	l.tellSensor(gatt.CGMControl{Op: gatt.CGMSetCalibration, Level: sfloat("320"), Time: p.offset, Type: 1, Location: 1})
	l.disconnect()
}

// The shapes of SweynTooth. They are of the link layer.

func (s *scene) raw() *airLog { return s.log.(*airLog) }

// zeroKey encrypts with a key that the device has for nobody.
func (s *scene) zeroKey() {
	l := s.approach()
	request, _ := featuresFor(ble.JustWorks, true)
	l.smp(ble.Central, ble.SMP{Code: ble.PairingRequest, PairingFeatures: request})
	l.encrypt(&bond{security: security{method: ble.JustWorks, sc: true, size: 16}})
	l.discover()
	l.disconnect()
}

// keySize asks for a key that does not fit into the device's memory.
func (s *scene) keySize() {
	l := s.approach()
	l.discover()
	request, _ := featuresFor(ble.JustWorks, false)
	request.MaxKeySize = 253
	l.smp(ble.Central, ble.SMP{Code: ble.PairingRequest, PairingFeatures: request})
	l.smp(ble.Peripheral, ble.SMP{Code: ble.PairingResponse, PairingFeatures: l.party[ble.Peripheral].says})
	l.wait(2 * time.Second)
}

// dhKeySkip leaves out the proof that both sides have the same key.
func (s *scene) dhKeySkip() {
	l := s.approach()
	l.discover()
	request, response := featuresFor(ble.JustWorks, true)
	x := &pairing{l: l, request: request, response: response, unchecked: true}
	x.run()
	l.read(chrIDDStatus)
	l.disconnect()
}

// earlyEncryption starts encryption when the two have said no more than that
// they want to pair.
func (s *scene) earlyEncryption() {
	l := s.approach()
	l.discover()
	request, response := featuresFor(ble.JustWorks, false)
	l.smp(ble.Central, ble.SMP{Code: ble.PairingRequest, PairingFeatures: request})
	l.smp(ble.Peripheral, ble.SMP{Code: ble.PairingResponse, PairingFeatures: response})
	l.encrypt(&bond{ltk: s.key(), security: security{method: ble.JustWorks, size: 16}})
	l.read(chrIDDStatus)
	l.disconnect()
}

// llidDeadlock sends a PDU whose kind is reserved, after which the device hears
// nothing more.
func (s *scene) llidDeadlock() {
	l := s.approach()
	l.discover()
	a := s.raw()
	a.nextEvent(l)
	a.packet(l, ble.Central, ble.LLIDReserved, nil)
	s.after(10 * time.Second)
}

// attDeadlock asks and asks.
func (s *scene) attDeadlock() {
	l := s.approach()
	l.discover()
	for range 6 {
		l.att(ble.Central, ble.ATT{Opcode: ble.ReadRequest, Handle: l.handleOf(chrIDDStatus)})
	}
	l.wait(3 * time.Second)
}

// truncatedL2CAP sends less than an L2CAP header in a PDU.
func (s *scene) truncatedL2CAP() {
	l := s.approach()
	l.discover()
	s.raw().pdu(l, ble.Central, ble.LLIDStart, []byte{7, 0})
	s.after(3 * time.Second)
}
