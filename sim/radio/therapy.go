// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
)

// Normal use on Bluetooth.

// device makes a device by its name, and who talks to it.
func (s *scene) device(name string) (central, peripheral *party) {
	switch name {
	case "icd":
		return s.phone("HomeLink", monitorAddress), s.icd()
	case "strap":
		return s.benPhone(), s.strap()
	case "reader":
		return s.stranger(), s.reader()
	case "meter":
		return s.benPhone(), s.meter().party
	case "scale":
		return s.benPhone(), s.scale()
	}
	return s.benPhone(), s.pump().party
}

// pairBy lets a device be paired by a method, and then read.
func pairBy(name string, m ble.Method) func(*scene) {
	return func(s *scene) {
		central, peripheral := s.device(name)
		central.says, peripheral.says = featuresFor(m, s.form == Protected)
		l := s.connect(central, peripheral)
		l.pair(true)
		l.discover()
		l.introduce()
		if name == "pump" {
			l.listen()
			l.read(chrIDDStatus)
		}
		l.disconnect()
	}
}

// reconnection lets two connect that were bonded before.
func reconnection(name string, discover bool) func(*scene) {
	return func(s *scene) {
		central, peripheral := s.device(name)
		b := s.bonded(central, peripheral)
		for _, a := range peripheral.server.attributes { // what was asked for holds
			if a.typ == gatt.UUID16(clientConfig) {
				b.notified[a.handle-1] = true
			}
		}
		l := s.reconnect(central, peripheral)
		if discover {
			l.discover()
			l.introduce()
		}
		switch name {
		case "pump":
			l.read(chrIDDStatus)
			l.tell(gatt.IDDControl{Op: gatt.IDDGetActiveBasal})
			l.tell(bolusOf("4.0"))
		case "strap":
			l.beats(20)
		case "icd":
			for range 3 {
				l.write(chrHalden, s.random(60))
			}
		}
		l.disconnect()
	}
}

// knownPump is a phone and a pump that are bonded since long.
func (s *scene) knownPump() (*party, *pump) {
	phone, p := s.benPhone(), s.pump()
	s.bonded(phone, p.party)
	return phone, p
}

// breakfast is half an hour of a pump and its phone.
func (s *scene) breakfast(phone *party, p *pump) {
	l := s.reconnect(phone, p.party)
	l.discover()
	l.introduce()
	l.listen()
	l.read(chrIDDFeatures)
	l.read(chrIDDStatus)
	l.read(chrCGMFeature)
	l.tell(gatt.IDDControl{Op: gatt.IDDGetActiveBasal})
	p.glucose(l, "104", "106")
	l.tell(gatt.IDDControl{Op: gatt.IDDGetInsulinOnBoard})
	l.pause()
	l.tell(bolusOf("4.0"))
	l.pause()
	l.tell(gatt.IDDControl{Op: gatt.IDDGetActiveBolusIDs})
	p.glucose(l, "109", "121")
	l.disconnect()
}

// pumpDays begins with the pairing, the evening before the first morning.
func (s *scene) pumpDays() {
	phone, p := s.benPhone(), s.pump()
	morning := s.now
	const day = int64(24 * time.Hour)
	s.now = morning - 2*day - int64(11*time.Hour)
	l := s.connect(phone, p.party)
	l.pair(true)
	l.discover()
	l.introduce()
	l.disconnect()
	for i := range int64(3) {
		s.now = morning - (2-i)*day
		s.breakfast(phone, p)

		s.after(3 * time.Hour)
		const reservoirLow, batteryLow = 0x0066, 0x00c3
		l := s.reconnect(phone, p.party)
		n := uint16(2 * i)
		p.announce(l, n+1, reservoirLow)
		l.pause()
		l.tell(gatt.IDDControl{Op: gatt.IDDConfirmAnnunciation, ID: n + 1})
		p.announce(l, n+2, batteryLow)
		l.pause()
		l.tell(gatt.IDDControl{Op: gatt.IDDSnoozeAnnunciation, ID: n + 2})
		p.glucose(l, "118", "115", "111")
		l.disconnect()
		if p.private {
			p.renew(s)
			phone.renew(s)
		}
	}
}

// refusedStranger is a phone that reads and writes without being known.
func (s *scene) refusedStranger() {
	_, p := s.knownPump()
	l := s.connect(s.stranger(), p.party)
	l.discover()
	l.read(chrIDDStatus)
	l.read(chrCGMStatus)
	l.tell(bolusOf("25"))
	l.disconnect()
}

// beats lets the strap tell the heart rate every second.
func (l *link) beats(n int) {
	for i := range n {
		m := gatt.HeartRate{Rate: uint16(74 + i/4), Contact: 3, RR: []byte{byte(0x30 + i), 3}}
		l.notify(chrHeartRate, m.Append(nil))
		l.wait(time.Second)
	}
}

// training is a strap and a phone, which bond where the strap asks for it.
func (s *scene) training() {
	phone, strap := s.benPhone(), s.strap()
	l := s.connect(phone, strap)
	if s.form == Protected {
		phone.says, strap.says = featuresFor(ble.JustWorks, true)
		l.pair(true)
	}
	l.discover()
	l.introduce()
	l.subscribe(byNotification, chrHeartRate)
	l.beats(60)
	l.disconnect()
}

// readerApp is an app that uses the reader of an implant: one that nobody paired, or,
// where the reader asks, one that was paired with data that came another way.
func (s *scene) readerApp() {
	app, reader := s.device("reader")
	if s.form == Protected {
		app.says, reader.says = featuresFor(ble.OutOfBand, true)
	}
	l := s.connect(app, reader)
	if s.form == Protected {
		l.pair(true)
	}
	l.discover()
	l.introduce()
	l.read(chrSensorLocation)
	l.subscribe(byNotification, chrHeartRate)
	l.beats(30)
	l.disconnect()
}

// homeMonitor is the night's report of the implant.
func (s *scene) homeMonitor() {
	monitor, icd := s.device("icd")
	monitor.says, icd.says = featuresFor(ble.OutOfBand, true)
	l := s.connect(monitor, icd)
	l.pair(true)
	l.discover()
	l.introduce()
	l.subscribe(byNotification, chrHeartRate, chrHalden)
	l.disconnect()
	s.after(19 * time.Hour)
	icd.renew(s)
	monitor.renew(s)
	l = s.reconnect(monitor, icd)
	for range 5 {
		l.write(chrHalden, s.random(60))
	}
	l.beats(5)
	l.disconnect()
}
