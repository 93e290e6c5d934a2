// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
)

// What people have at home: a glucose meter and a scale.

// A meter keeps the values of finger-pricks, and hands them over when it is
// asked for them (GLS 1.0). In its legacy form it does so for anybody; in the
// other to a phone that was paired with the passkey on its display.
type meter struct {
	*party
	s       *scene
	records []gatt.GlucoseMeasurement
}

func (s *scene) meter() *meter {
	m := &meter{s: s}
	m.party = &party{identity: meterAddress, name: "Dose Meter " + meterSerial[3:], service: svcGlucose}
	_, m.says = featuresFor(ble.JustWorks, false)
	level := 0
	if s.form == Protected {
		m.private, m.irk, m.name, level = true, s.key(), "Dose Meter", 2
		_, m.says = featuresFor(ble.PasskeyEntry, true)
	}
	v := &server{}
	v.about(m.name, "Okapi Health", "Dose Meter", meterSerial, "1.2", level)
	v.service(svcGlucose)
	v.characteristic(chrGlucose, propertyNotify, level, nil, nil)
	v.characteristic(chrGlucoseContext, propertyNotify, level, nil, nil)
	v.characteristic(chrGlucoseFeature, propertyRead, level, []byte{1, 4}, nil) // low battery, several bonds
	v.characteristic(chrRecordAccess, propertyWrite|propertyIndicate, level, nil, m.access)
	m.server = v.close()
	return m
}

// The Record Access Control Point (GLS 1.0 section 3.4).
const (
	reportRecords  = 0x01
	recordResponse = 0x06
	allRecords     = 0x01
	fromRecord     = 0x03 // with this number, or a higher one
	bySequence     = 0x01
	recordSuccess  = 0x01
)

// prick is the meter measuring, in mg/dL.
func (m *meter) prick(mgPerDL int16) {
	m.records = append(m.records, gatt.GlucoseMeasurement{
		Sequence: uint16(len(m.records) + 1), Base: dateTime(m.s.now), HasResult: true,
		Concentration: gatt.SFLOAT(0xb000 | uint16(mgPerDL)), // kg/L: of 10^-5 each is one
		Type:          1, Location: 1,                        // capillary whole blood, finger
		Context: len(m.records)%2 == 0,
	})
}

// access reports the records that are asked for.
func (m *meter) access(l *link, b []byte) uint8 {
	from := uint16(0)
	switch {
	case len(b) == 2 && b[0] == reportRecords && b[1] == allRecords:
	case len(b) == 5 && b[0] == reportRecords && b[1] == fromRecord && b[2] == bySequence:
		from = binary.LittleEndian.Uint16(b[3:])
	default:
		return unsupportedRequest
	}
	l.later(func() {
		for i := range m.records {
			r := &m.records[i]
			if r.Sequence < from {
				continue
			}
			l.wait(40 * time.Millisecond)
			l.notify(chrGlucose, r.Append(nil))
			if r.Context {
				const hasMeal, fasting = 1 << 1, 3
				l.notify(chrGlucoseContext, append(binary.LittleEndian.AppendUint16([]byte{hasMeal}, r.Sequence), fasting))
			}
		}
		l.indicate(chrRecordAccess, []byte{recordResponse, 0, reportRecords, recordSuccess})
	})
	return 0
}

// meterDownload is a phone that reads a week of values, and those of the next
// morning.
func (s *scene) meterDownload() {
	phone, m := s.benPhone(), s.meter()
	for _, v := range []int16{104, 131, 96, 187, 118, 72, 109} {
		m.prick(v)
	}
	l := s.connect(phone, m.party)
	if s.form == Protected {
		l.pair(true)
	}
	l.discover()
	l.introduce()
	l.read(chrGlucoseFeature)
	l.subscribe(byNotification, chrGlucose, chrGlucoseContext)
	l.subscribe(byIndication, chrRecordAccess)
	l.write(chrRecordAccess, []byte{reportRecords, allRecords})
	l.disconnect()

	s.after(23 * time.Hour)
	next := uint16(len(m.records) + 1)
	m.prick(101)
	m.prick(126)
	if l = s.again(phone, m.party); s.form != Protected {
		l.subscribe(byNotification, chrGlucose, chrGlucoseContext)
		l.subscribe(byIndication, chrRecordAccess)
	}
	l.write(chrRecordAccess, binary.LittleEndian.AppendUint16([]byte{reportRecords, fromRecord, bySequence}, next))
	l.disconnect()
}

// again connects two that know each other: by their bond where they have one.
func (s *scene) again(phone, p *party) *link {
	if s.form == Protected {
		p.renew(s)
		phone.renew(s)
		return s.reconnect(phone, p)
	}
	l := s.connect(phone, p)
	l.exchange()
	return l
}

// scale makes a scale that measures what a body consists of. It knows no
// pairing in its legacy form; in the other it asks for an encrypted link.
func (s *scene) scale() *party {
	p := &party{identity: scaleAddress, name: "Weigh In", service: svcWeight}
	level := 0
	if s.form == Protected {
		p.private, p.irk, level = true, s.key(), 2
	}
	v := &server{}
	v.about("Weigh In", "Velo Sport", "Weigh In", scaleSerial, "1.1", level)
	le := binary.LittleEndian
	const fineMass, fineHeight = 7, 3 // 5 g and 1 mm (WSS 1.0 section 3.1, BCS 1.0 section 3.1)
	v.service(svcWeight)
	v.characteristic(chrWeightFeature, propertyRead, level, le.AppendUint32(nil, 0x07|fineMass<<3|fineHeight<<7), nil) // time, users, BMI
	v.characteristic(chrWeight, propertyIndicate, level, nil, nil)
	v.service(svcBody)
	v.characteristic(chrBodyFeature, propertyRead, level, le.AppendUint32(nil, 0x387|fineMass<<11|fineHeight<<15), nil) // time, users, metabolism, water, impedance, weight
	v.characteristic(chrBody, propertyIndicate, level, nil, nil)
	p.server = v.close()
	return p
}

// A weighing is somebody on the scale.
type weighing struct {
	at         int64 // nanoseconds since 1970-01-01 UTC
	user       uint8
	weight     uint16 // 5 g
	height     uint16 // mm
	fat        uint16 // 0.1 %
	water      uint16 // 5 g
	metabolism uint16 // kJ
	impedance  uint16 // 0.1 ohm
}

// appendWeight writes a Weight Measurement (WSS 1.0 section 3.2), in kilograms.
func (w *weighing) appendWeight(dst []byte) []byte {
	const timed, user, height = 1 << 1, 1 << 2, 1 << 3
	le := binary.LittleEndian
	dst = le.AppendUint16(append(dst, timed|user|height), w.weight)
	dst = append(appendDateTime(dst, w.at), w.user)
	bmi := uint32(w.weight) * 5 * 10000 / (uint32(w.height) * uint32(w.height)) // 0.1 kg/m²
	return le.AppendUint16(le.AppendUint16(dst, uint16(bmi)), w.height)
}

// appendBody writes a Body Composition Measurement (BCS 1.0 section 3.2), in
// kilograms.
func (w *weighing) appendBody(dst []byte) []byte {
	const timed, user, metabolism, water, impedance, weight = 1 << 1, 1 << 2, 1 << 3, 1 << 8, 1 << 9, 1 << 10
	le := binary.LittleEndian
	dst = le.AppendUint16(le.AppendUint16(dst, timed|user|metabolism|water|impedance|weight), w.fat)
	dst = append(appendDateTime(dst, w.at), w.user)
	for _, v := range [...]uint16{w.metabolism, w.water, w.impedance, w.weight} {
		dst = le.AppendUint16(dst, v)
	}
	return dst
}

// weighIn is a man on his scale, two mornings.
func (s *scene) weighIn() {
	phone, scale := s.benPhone(), s.scale()
	weighs := func(l *link, w weighing) {
		w.at, w.user, w.height = s.now, 2, 1820
		l.wait(3 * time.Second)
		l.indicate(chrWeight, w.appendWeight(nil))
		l.wait(5 * time.Second)
		l.indicate(chrBody, w.appendBody(nil))
		l.disconnect()
	}
	l := s.connect(phone, scale)
	if s.form == Protected {
		phone.says, scale.says = featuresFor(ble.JustWorks, true)
		l.pair(true)
	}
	l.discover()
	l.introduce()
	l.read(chrWeightFeature)
	l.read(chrBodyFeature)
	l.subscribe(byIndication, chrWeight, chrBody)
	weighs(l, weighing{weight: 16920, fat: 214, water: 9310, metabolism: 7440, impedance: 4875})

	s.after(24 * time.Hour)
	if l = s.again(phone, scale); s.form != Protected {
		l.subscribe(byIndication, chrWeight, chrBody)
	}
	weighs(l, weighing{weight: 16884, fat: 213, water: 9318, metabolism: 7433, impedance: 4860})
}

// dateTime is a time on the ward's clock.
func dateTime(at int64) gatt.DateTime {
	t := time.Unix(0, at).In(dayOfStories.Location())
	return gatt.DateTime{Year: uint16(t.Year()), Month: uint8(t.Month()), Day: uint8(t.Day()), Hours: uint8(t.Hour()), Minutes: uint8(t.Minute()), Seconds: uint8(t.Second())}
}

func appendDateTime(dst []byte, at int64) []byte {
	t := dateTime(at)
	return append(binary.LittleEndian.AppendUint16(dst, t.Year), t.Month, t.Day, t.Hours, t.Minutes, t.Seconds)
}
