// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/gatt"
)

// A pump is ipump-ben: the Insulin Delivery and Continuous Glucose Monitoring
// services of the standard. In its legacy form it does what anybody says who
// can count; in its protected form it wants an authenticated link, and does not
// take a counter twice.
type pump struct {
	*party
	s         *scene
	highest   gatt.SFLOAT // bolus, IU
	bolus     uint16      // id of the last
	offset    uint16      // minutes of the glucose session
	reservoir gatt.SFLOAT
}

// Errors of the attribute protocol that both services have for their
// end-to-end protection.
const (
	invalidCRC     = 0x81
	invalidCounter = 0x82
)

func sfloat(s string) gatt.SFLOAT {
	q, err := device.ParseQuantity(s + " 1")
	f, ok := gatt.SFLOATOf(q)
	if err != nil || !ok {
		panic(fmt.Sprint("radio: no SFLOAT: ", s)) // ours
	}
	return f
}

func (s *scene) pump() *pump {
	p := &pump{s: s, highest: sfloat("25"), reservoir: sfloat("187"), offset: 240}
	p.party = &party{identity: pumpAddress, name: "Dose One " + pumpSerial[4:], service: svcInsulin}
	_, p.says = featuresFor(ble.JustWorks, false)
	level := 0
	if s.form == Protected {
		p.private, p.irk, p.name = true, s.key(), "Dose One"
		_, p.says = featuresFor(ble.PasskeyEntry, true)
		level = 3
	}
	v := &server{}
	v.about(p.name, "Okapi Health", "Dose One", pumpSerial, "1.9", level)

	const read, write, notify, indicate = propertyRead, propertyWrite, propertyNotify, propertyIndicate
	features := gatt.IDDFeatures{Counter: 1, Concentration: sfloat("100"), Features: gatt.FeatureE2E | gatt.FeatureBasal | gatt.FeatureTBRAbsolute | gatt.FeatureFastBolus}
	status := gatt.IDDStatus{TherapyState: gatt.TherapyRun, OperationalState: 0x66, Reservoir: p.reservoir, Flags: 1}
	none := gatt.IDDAnnunciation{}
	e2e := func(b []byte) []byte { return gatt.AppendE2E(b, 0, 1) }
	v.service(svcInsulin)
	v.characteristic(chrIDDChanged, read|indicate, level, e2e(gatt.IDDStatusChanged(0).Append(nil)), nil)
	v.characteristic(chrIDDStatus, read|indicate, level, e2e(status.Append(nil)), nil)
	v.characteristic(chrIDDAnnunciation, read|indicate, level, e2e(none.Append(nil)), nil)
	v.characteristic(chrIDDFeatures, read, level, features.Append(nil), nil)
	v.characteristic(chrIDDStatusReader, write|indicate, level, nil, p.control(chrIDDStatusReader))
	v.characteristic(chrIDDCommand, write|indicate, level, nil, p.control(chrIDDCommand))
	v.characteristic(chrIDDCommandData, notify, level, nil, nil)
	v.characteristic(chrIDDRecordAccess, write|indicate, level, nil, nil)
	v.characteristic(chrIDDHistory, notify, level, nil, nil)

	crc := func(b []byte) []byte { return gatt.AppendCRC(b, 0) }
	glucose := gatt.CGMFeature{Feature: gatt.CGMFeatureE2E | 0x07, Type: 9, Location: 5} // calibration, patient and hypo alerts; interstitial fluid
	session := gatt.CGMStatus{TimeOffset: p.offset}
	start := gatt.CGMSessionStart{Start: gatt.DateTime{Year: 2026, Month: 3, Day: 1, Hours: 21}, TimeZone: 4}
	v.service(svcCGM)
	v.characteristic(chrCGMMeasurement, notify, level, nil, nil)
	v.characteristic(chrCGMFeature, read, level, glucose.Append(nil), nil)
	v.characteristic(chrCGMStatus, read, level, crc(session.Append(nil)), nil)
	v.characteristic(chrCGMSessionStart, read|write, level, crc(start.Append(nil)), nil)
	v.characteristic(chrCGMRunTime, read, level, crc(binary.LittleEndian.AppendUint16(nil, 10*24)), nil)
	v.characteristic(chrRecordAccess, write|indicate, level, nil, nil)
	v.characteristic(chrCGMControl, write|indicate, level, nil, p.glucoseControl)

	v.service(svcBond)
	v.characteristic(chrBondControl, write, level, nil, func(*link, []byte) uint8 { return 0 })
	v.characteristic(chrBondFeature, read, level, []byte{0x30, 0}, nil)
	p.server = v.close()
	return p
}

// count returns the next counter that one side uses for a characteristic on
// this connection: from 1, and behind 255 from 1 again.
func (l *link) count(u gatt.UUID, from ble.Side) uint8 {
	n, _ := u.Short()
	k := n<<2 | uint16(from)
	l.counters[k] = l.counters[k]%255 + 1
	return l.counters[k]
}

// control is the pump's reaction to a write of one of its control points.
func (p *pump) control(u gatt.UUID) func(*link, []byte) uint8 {
	return func(l *link, b []byte) uint8 {
		payload, counter, ok := gatt.SplitE2E(b)
		if !ok {
			return invalidCRC
		}
		if want := l.count(u, ble.Central); counter != want && p.s.form == Protected {
			return invalidCounter
		}
		var x gatt.IDDControl
		if err := x.Parse(payload); err != nil {
			p.s.note(err)
		}
		r := p.does(l, &x)
		l.later(func() {
			l.wait(80 * time.Millisecond)
			l.indicate(u, gatt.AppendE2E(r.Append(nil), 0, l.count(u, ble.Peripheral)))
			if r.Op == gatt.IDDSetBolusResponse {
				l.indicate(chrIDDChanged, gatt.AppendE2E(gatt.IDDStatusChanged(1<<6).Append(nil), 0, l.count(chrIDDChanged, ble.Peripheral)))
			}
		})
		return 0
	}
}

// does is what the pump does and answers.
func (p *pump) does(l *link, x *gatt.IDDControl) gatt.IDDControl {
	r := gatt.IDDControl{Op: gatt.IDDResponseCode, Request: x.Op, Code: gatt.IDDSuccess}
	switch x.Op {
	case gatt.IDDSetBolus:
		p.bolus++
		return gatt.IDDControl{Op: gatt.IDDSetBolusResponse, ID: p.bolus}
	case gatt.IDDConfirmAnnunciation:
		return gatt.IDDControl{Op: gatt.IDDConfirmAnnunciationResponse, ID: x.ID}
	case gatt.IDDSnoozeAnnunciation:
		return gatt.IDDControl{Op: gatt.IDDSnoozeAnnunciationResponse, ID: x.ID}
	case gatt.IDDGetMaxBolus:
		return gatt.IDDControl{Op: gatt.IDDGetMaxBolusResponse, Amount: p.highest}
	case gatt.IDDSetMaxBolus:
		p.highest = x.Amount
	case gatt.IDDGetActiveBasal:
		return gatt.IDDControl{Op: gatt.IDDGetActiveBasalResponse, Template: 1, Amount: sfloat("0.85")}
	case gatt.IDDGetInsulinOnBoard:
		return gatt.IDDControl{Op: gatt.IDDGetInsulinOnBoardResponse, Amount: sfloat("0.4")}
	case gatt.IDDGetActiveBolusIDs:
		return gatt.IDDControl{Op: gatt.IDDGetActiveBolusIDsResponse, Numbers: binary.LittleEndian.AppendUint16(nil, p.bolus)}
	}
	return r
}

// glucoseControl is the sensor's reaction to its control point.
func (p *pump) glucoseControl(l *link, b []byte) uint8 {
	payload, ok := gatt.SplitCRC(b)
	if !ok {
		return invalidCRC
	}
	var x gatt.CGMControl
	if err := x.Parse(payload); err != nil {
		p.s.note(err)
	}
	r := gatt.CGMControl{Op: gatt.CGMResponse, Request: x.Op, Code: 1}
	switch x.Op {
	case gatt.CGMGetInterval:
		r = gatt.CGMControl{Op: gatt.CGMInterval, Interval: 5}
	case gatt.CGMSetHypo + 1:
		r = gatt.CGMControl{Op: gatt.CGMSetHypo + 2, Level: sfloat("70")}
	}
	l.later(func() {
		l.wait(80 * time.Millisecond)
		l.indicate(chrCGMControl, gatt.AppendCRC(r.Append(nil), 0))
	})
	return 0
}

// tell sends a command to the pump, and returns it as it was sent.
func (l *link) tell(x gatt.IDDControl) []byte {
	u := chrIDDCommand
	if x.Op < gatt.IDDResponseCode {
		u = chrIDDStatusReader
	}
	b := gatt.AppendE2E(x.Append(nil), 0, l.count(u, ble.UnknownSide))
	l.write(u, b)
	return b
}

// tellSensor sends a command to the glucose sensor.
func (l *link) tellSensor(x gatt.CGMControl) {
	l.write(chrCGMControl, gatt.AppendCRC(x.Append(nil), 0))
}

// bolusOf is a meal's bolus, as a phone asks for it.
func bolusOf(amount string) gatt.IDDControl {
	return gatt.IDDControl{Op: gatt.IDDSetBolus, Bolus: gatt.Bolus{
		Type: gatt.BolusFast, Fast: sfloat(amount), Extended: sfloat("0"), Activation: gatt.ActivationRecommended, Meal: true,
	}}
}

// glucose is the sensor reporting some values, five minutes apart.
func (p *pump) glucose(l *link, values ...string) {
	for i, v := range values {
		if i > 0 {
			l.wait(299 * time.Second)
		}
		p.offset += 5
		m := gatt.CGMMeasurement{Glucose: sfloat(v), TimeOffset: p.offset, HasTrend: true, Trend: sfloat("0.4"), HasCRC: true}
		l.notify(chrCGMMeasurement, m.Append(nil))
	}
}

// announce is an alarm or reminder.
func (p *pump) announce(l *link, instance, kind uint16) {
	const pending = 0x33
	x := gatt.IDDAnnunciation{Present: true, Instance: instance, Type: kind, Status: pending}
	l.indicate(chrIDDAnnunciation, gatt.AppendE2E(x.Append(nil), 0, l.count(chrIDDAnnunciation, ble.Peripheral)))
}

// listen asks for all that the pump says by itself.
func (l *link) listen() {
	l.subscribe(byIndication, chrIDDChanged, chrIDDStatus, chrIDDAnnunciation, chrIDDStatusReader, chrIDDCommand, chrCGMControl)
	l.subscribe(byNotification, chrCGMMeasurement)
}
