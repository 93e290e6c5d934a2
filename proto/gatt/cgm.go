// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// A CGMMeasurement is one record of a CGM Measurement (CGMS 1.0.2 section 3.1).
type CGMMeasurement struct {
	Glucose    SFLOAT // mg/dL
	TimeOffset uint16 // minutes from the session's start

	// Sensor Status Annunciation: status, calibration and temperature, warning.
	HasStatus, HasCalTemp, HasWarning bool
	Status, CalTemp, Warning          uint8

	HasTrend   bool
	Trend      SFLOAT // mg/dL/min
	HasQuality bool
	Quality    SFLOAT // %
	HasCRC     bool   // E2E-Protection is in use
}

// The flags of a CGM Measurement.
const (
	cgmTrend   = 0x01
	cgmQuality = 0x02
	cgmWarning = 0x20
	cgmCalTemp = 0x40
	cgmStatus  = 0x80
)

// leastCGM is the size of a record with nothing optional.
const leastCGM = 6

// Parse reads the record at the front of b and returns how many bytes it took:
// several may stand in one value. The record's size tells whether it has a
// check value; one that is wrong is an error, and m holds the record.
func (m *CGMMeasurement) Parse(b []byte) (int, error) {
	c := wire.NewCursor(name, b)
	m.parse(&c)
	if !c.Ok() {
		return 0, c.Err()
	}
	return c.Off(), nil
}

func (m *CGMMeasurement) parse(c *wire.Cursor) {
	*m = CGMMeasurement{}
	at := c.Off()
	size := 0
	if b := c.Peek(1); b != nil {
		size = int(b[0])
	}
	record := c.Peek(size)
	body := c.Sub("Size", size)
	if c.Ok() && size < leastCGM {
		c.FailAt("Size", at, wire.ErrInvalid)
	}
	if !c.Ok() {
		return
	}
	body.Skip("Size", 1)
	flags := body.Uint8("Flags")
	m.Glucose = sfloat(&body, "CGM Glucose Concentration")
	m.TimeOffset = body.Uint16LE("Time Offset")
	if m.HasStatus = flags&cgmStatus != 0; m.HasStatus {
		m.Status = body.Uint8("Status")
	}
	if m.HasCalTemp = flags&cgmCalTemp != 0; m.HasCalTemp {
		m.CalTemp = body.Uint8("Cal/Temp")
	}
	if m.HasWarning = flags&cgmWarning != 0; m.HasWarning {
		m.Warning = body.Uint8("Warning")
	}
	if m.HasTrend = flags&cgmTrend != 0; m.HasTrend {
		m.Trend = sfloat(&body, "CGM Trend Information")
	}
	if m.HasQuality = flags&cgmQuality != 0; m.HasQuality {
		m.Quality = sfloat(&body, "CGM Quality")
	}
	if body.Len() == crcBytes {
		m.HasCRC = true
		if body.Uint16LE("E2E-CRC") != CRC(record[:size-crcBytes]) {
			body.FailAt("E2E-CRC", body.Off()-crcBytes, wire.ErrInvalid)
		}
	}
	if body.Len() > 0 {
		body.Fail("Size", wire.ErrTrailing)
	}
	c.Join(&body)
}

// Append writes m after dst.
func (m *CGMMeasurement) Append(dst []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint16(append(dst, 0, 0), uint16(m.Glucose))
	dst = binary.LittleEndian.AppendUint16(dst, m.TimeOffset)
	for _, o := range [...]struct {
		has   bool
		flag  uint8
		octet uint8
	}{{m.HasStatus, cgmStatus, m.Status}, {m.HasCalTemp, cgmCalTemp, m.CalTemp}, {m.HasWarning, cgmWarning, m.Warning}} {
		if o.has {
			dst[at+1] |= o.flag
			dst = append(dst, o.octet)
		}
	}
	if m.HasTrend {
		dst[at+1] |= cgmTrend
		dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Trend))
	}
	if m.HasQuality {
		dst[at+1] |= cgmQuality
		dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Quality))
	}
	dst[at] = uint8(len(dst) - at)
	if m.HasCRC {
		dst[at] += crcBytes
		dst = AppendCRC(dst, at)
	}
	return dst
}

// A CGMFeature is a CGM Feature (section 3.2). It always has a check value,
// FFFF where E2E-Protection is not in use.
type CGMFeature struct {
	Feature  uint32 // 24 bits, of which CGMFeatureE2E
	Type     uint8  // of fluid
	Location uint8  // of the sample
}

// CGMFeatureE2E is the feature E2E-CRC Supported.
const CGMFeatureE2E = 1 << 12

// noCRC stands for the check value where E2E-Protection is not in use.
const noCRC = 0xffff

// Parse reads a value.
func (f *CGMFeature) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	f.Feature = uint24(&c, "CGM Feature")
	f.Type, f.Location = nibbles(&c)
	want := uint16(noCRC)
	if f.Feature&CGMFeatureE2E != 0 && len(b) >= crcBytes {
		want = CRC(b[:len(b)-crcBytes])
	}
	if c.Uint16LE("E2E-CRC") != want {
		c.FailAt("E2E-CRC", c.Off()-crcBytes, wire.ErrInvalid)
	}
	return finish(&c)
}

// Append writes f after dst.
func (f *CGMFeature) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, byte(f.Feature), byte(f.Feature>>8), byte(f.Feature>>16), f.Location<<4|f.Type&0xf)
	if f.Feature&CGMFeatureE2E != 0 {
		return AppendCRC(dst, at)
	}
	return binary.LittleEndian.AppendUint16(dst, noCRC)
}

func uint24(c *wire.Cursor, field string) uint32 {
	b := c.Bytes(field, 3)
	if b == nil {
		return 0
	}
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
}

// A CGMStatus is a CGM Status (section 3.3) without its check value: see
// [SplitCRC] and [AppendCRC].
type CGMStatus struct {
	TimeOffset uint16 // minutes
	Status     uint32 // 24 bits
}

// Parse reads a value.
func (s *CGMStatus) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	s.TimeOffset = c.Uint16LE("Time Offset")
	s.Status = uint24(&c, "CGM Status")
	return finish(&c)
}

// Append writes s after dst.
func (s *CGMStatus) Append(dst []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(dst, s.TimeOffset), byte(s.Status), byte(s.Status>>8), byte(s.Status>>16))
}

// A CGMSessionStart is a CGM Session Start Time (section 3.4) without its check value.
type CGMSessionStart struct {
	Start    DateTime
	TimeZone int8  // quarters of an hour; -128 unknown
	DST      uint8 // offset; 255 unknown
}

// Parse reads a value.
func (s *CGMSessionStart) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	s.Start.parse(&c)
	s.TimeZone = int8(c.Uint8("Time Zone"))
	s.DST = c.Uint8("DST-Offset")
	return finish(&c)
}

// Append writes s after dst.
func (s *CGMSessionStart) Append(dst []byte) []byte {
	return append(s.Start.append(dst), byte(s.TimeZone), s.DST)
}

// A CGMOp is an opcode of the CGM Specific Ops Control Point (section 3.7).
type CGMOp uint8

// The opcodes. Of the alert levels each is Set, Get, Response in a row.
const (
	CGMSetInterval       CGMOp = 0x01
	CGMGetInterval       CGMOp = 0x02
	CGMInterval          CGMOp = 0x03
	CGMSetCalibration    CGMOp = 0x04
	CGMGetCalibration    CGMOp = 0x05
	CGMCalibration       CGMOp = 0x06
	CGMSetPatientHigh    CGMOp = 0x07
	CGMSetPatientLow     CGMOp = 0x0a
	CGMSetHypo           CGMOp = 0x0d
	CGMSetHyper          CGMOp = 0x10
	CGMSetRateOfDecrease CGMOp = 0x13
	CGMSetRateOfIncrease CGMOp = 0x16
	CGMResetAlert        CGMOp = 0x19
	CGMStartSession      CGMOp = 0x1a
	CGMStopSession       CGMOp = 0x1b
	CGMResponse          CGMOp = 0x1c
	cgmVendor            CGMOp = 0x80 // and above: doubt, seen with one vendor
	cgmLevels                  = 6
	cgmFastest                 = 0xff // the shortest interval that the sensor can
	cgmSuccess                 = 0x01
	cgmLastLevelOp             = CGMSetRateOfIncrease + 2
	cgmCalibrationOctets       = 10
)

var cgmNames = [...]string{
	"",
	"Set CGM Communication Interval", "Get CGM Communication Interval", "CGM Communication Interval Response",
	"Set Glucose Calibration Value", "Get Glucose Calibration Value", "Glucose Calibration Value Response",
	"Set Patient High Alert Level", "Get Patient High Alert Level", "Patient High Alert Level Response",
	"Set Patient Low Alert Level", "Get Patient Low Alert Level", "Patient Low Alert Level Response",
	"Set Hypo Alert Level", "Get Hypo Alert Level", "Hypo Alert Level Response",
	"Set Hyper Alert Level", "Get Hyper Alert Level", "Hyper Alert Level Response",
	"Set Rate of Decrease Alert Level", "Get Rate of Decrease Alert Level", "Rate of Decrease Alert Level Response",
	"Set Rate of Increase Alert Level", "Get Rate of Increase Alert Level", "Rate of Increase Alert Level Response",
	"Reset Device Specific Alert", "Start the Session", "Stop the Session", "Response Code",
}

func (o CGMOp) String() string {
	switch {
	case int(o) < len(cgmNames):
		return cgmNames[o]
	case o >= cgmVendor:
		return "vendor's"
	}
	return ""
}

// FromServer reports whether the sensor says it.
func (o CGMOp) FromServer() bool {
	return o <= cgmLastLevelOp && o%3 == 0 && o != 0 || o == CGMResponse
}

// level returns which alert level an opcode is about.
func (o CGMOp) level() (int, bool) {
	if o < CGMSetPatientHigh || o > cgmLastLevelOp {
		return 0, false
	}
	return int(o-CGMSetPatientHigh) / 3, true
}

// A CGMControl is a value of the CGM Specific Ops Control Point without its
// check value: see [SplitCRC] and [AppendCRC].
type CGMControl struct {
	Op       CGMOp
	Interval uint8  // minutes; 0 never, 255 as often as the sensor can
	Level    SFLOAT // of an alert: mg/dL, or mg/dL/min; of a calibration: mg/dL
	Record   uint16 // of a calibration
	Time     uint16 // of a calibration: minutes from the session's start
	Next     uint16 // time of the next calibration
	Type     uint8  // of fluid
	Location uint8  // of the sample
	Status   uint8  // of a calibration
	Request  CGMOp  // that a response is about
	Code     uint8  // of a response: 1 is success
}

// Parse reads a value. On an error x holds what was read before it.
func (x *CGMControl) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	x.parse(&c)
	return finish(&c)
}

func (x *CGMControl) parse(c *wire.Cursor) {
	*x = CGMControl{Op: CGMOp(c.Uint8("Op Code"))}
	_, level := x.Op.level()
	switch {
	case x.Op == CGMSetInterval || x.Op == CGMInterval:
		x.Interval = c.Uint8("CGM Communication Interval")
	case x.Op == CGMSetCalibration || x.Op == CGMCalibration:
		x.Level = sfloat(c, "Glucose Concentration of Calibration")
		x.Time = c.Uint16LE("Calibration Time")
		x.Type, x.Location = nibbles(c)
		x.Next = c.Uint16LE("Next Calibration Time")
		x.Record = c.Uint16LE("Calibration Data Record Number")
		x.Status = c.Uint8("Calibration Status")
	case x.Op == CGMGetCalibration:
		x.Record = c.Uint16LE("Calibration Data Record Number")
	case level && x.Op%3 != 2: // set and response, not get
		x.Level = sfloat(c, "Alert Level")
	case x.Op == CGMResponse:
		x.Request = CGMOp(c.Uint8("Request Op Code"))
		x.Code = c.Uint8("Response Code Value")
	case x.Op == 0 || x.Op > CGMResponse:
		c.FailAt("Op Code", 0, wire.ErrReserved)
	}
}

// Append writes x after dst.
func (x *CGMControl) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, uint8(x.Op))
	_, level := x.Op.level()
	switch {
	case x.Op == CGMSetInterval || x.Op == CGMInterval:
		dst = append(dst, x.Interval)
	case x.Op == CGMSetCalibration || x.Op == CGMCalibration:
		dst = le.AppendUint16(le.AppendUint16(dst, uint16(x.Level)), x.Time)
		dst = append(dst, x.Location<<4|x.Type&0xf)
		dst = append(le.AppendUint16(le.AppendUint16(dst, x.Next), x.Record), x.Status)
	case x.Op == CGMGetCalibration:
		dst = le.AppendUint16(dst, x.Record)
	case level && x.Op%3 != 2:
		dst = le.AppendUint16(dst, uint16(x.Level))
	case x.Op == CGMResponse:
		dst = append(dst, uint8(x.Request), x.Code)
	}
	return dst
}

// cgmState is what a decoder knows of a sensor.
type cgmState struct {
	e2e         protection
	levels      [cgmLevels]SFLOAT
	knownLevels [cgmLevels]bool
	interval    uint8
	hasInterval bool
	asked       CGMControl // and not answered
}

// A protection is whether E2E-Protection is in use.
type protection uint8

const (
	unknownProtection protection = iota
	unprotected
	protected
)

// The range that sensors measure, in mg/dL. Where only one of two alert levels
// is known, the silent band is taken to end there.
const (
	sensorLowest  SFLOAT = 40
	sensorHighest SFLOAT = 400
)

// decodeCGM reads a characteristic of the Continuous Glucose Monitoring service.
func (d *Decoder) decodeCGM(n uint16, a *Access, r *Reading) error {
	switch n {
	case chrCGMMeasurement:
		return r.cgmMeasurements(a)
	case chrCGMFeature:
		r.Kind = Setting
		var f CGMFeature
		err := f.Parse(a.Value)
		if err == nil {
			d.cgm.e2e = unprotected
			if f.Feature&CGMFeatureE2E != 0 {
				d.cgm.e2e, r.Integrity = protected, Good
			}
		}
		return err
	}
	if payload, ok := SplitCRC(a.Value); ok && d.cgm.e2e != unprotected {
		r.Integrity = Good
		return d.cgmValue(n, payload, a, r)
	}
	return r.unproven(a.Value, crcBytes, d.cgm.e2e, func(b []byte) error { return d.cgmValue(n, b, a, r) })
}

func (d *Decoder) cgmValue(n uint16, b []byte, a *Access, r *Reading) error {
	switch n {
	case chrCGMStatus:
		r.measurement()
		var s CGMStatus
		return s.Parse(b)
	case chrCGMSessionStart:
		r.Kind = Status
		if !a.fromServer() { // all time offsets count from it
			r.command(device.SetClock)
		}
		var s CGMSessionStart
		return s.Parse(b)
	case chrCGMSessionRunTime:
		r.Kind = Status
		c := wire.NewCursor(name, b)
		c.Skip("CGM Session Run Time", 2)
		return finish(&c)
	}
	return d.cgmControl(b, a, r)
}

// maxCGMRecords bounds the records of one value: 512 bytes of 6 each.
const maxCGMRecords = maxValue / leastCGM

func (r *Reading) cgmMeasurements(a *Access) error {
	r.measurement()
	r.Records = 0
	r.Command.Verb = device.ReportGlucose
	c := wire.NewCursor(name, a.Value)
	var m CGMMeasurement
	for first := true; (first || c.Len() > 0) && r.Records < maxCGMRecords && c.Ok(); first = false {
		m.parse(&c)
		if c.Ok() {
			r.Records++
			if m.HasCRC {
				r.Integrity = Good
			}
		}
	}
	if m.HasCRC && !c.Ok() {
		r.Integrity = Bad
	}
	return finish(&c)
}

// cgmControl reads the CGM Specific Ops Control Point.
func (d *Decoder) cgmControl(b []byte, a *Access, r *Reading) error {
	var x CGMControl
	err := x.Parse(b)
	if said := x.Op.String(); said != "" {
		r.Operation = said
	}
	if x.Op >= cgmVendor {
		r.Opaque = true
		r.byMarks(a, MarkTherapy)
		return nil
	}
	if err == nil && x.Op.FromServer() != a.fromServer() {
		err = otherSide()
	}
	if a.fromServer() {
		d.cgmAnswer(&x, err, r)
		return err
	}
	d.cgm.command(&x, err == nil, r)
	d.cgm.asked = CGMControl{}
	if err == nil && r.Integrity != Bad {
		d.cgm.asked = x
	}
	return err
}

// command says what a client asks the sensor for. With ok false the operand
// was not read.
func (s *cgmState) command(x *CGMControl, ok bool, r *Reading) {
	r.command(cgmVerb(x.Op))
	c := &r.Command
	if r.Command.Verb != device.ReadSettings && r.Command.Verb != device.NoVerb {
		r.Fields = FieldOrder
	}
	if x.Op == CGMSetCalibration {
		r.Fields = FieldResult
	}
	i, level := x.Op.level()
	switch {
	case x.Op == CGMStopSession:
		c.Value = device.Quantity{Unit: unitOne} // off
	case !ok || c.Verb != device.SetAlarm:
	case x.Op == CGMSetInterval:
		if c.Value = interval(x.Interval); x.Interval == 0 {
			c.Value = device.Quantity{Unit: unitMinute} // off
		}
		if s.hasInterval {
			c.Now = interval(s.interval)
		}
	case level:
		if c.Value = s.band(i, x.Level); !x.Level.IsNumber() {
			c.Value = device.Quantity{Unit: unitMgPerDL} // off
		}
		r.Level = alertLevel(x.Level)
		if s.knownLevels[i] {
			c.Now, r.LevelNow = s.band(i, s.levels[i]), alertLevel(s.levels[i])
		}
	}
}

// alertLevel is the level of an alert as people set it.
func alertLevel(level SFLOAT) device.Quantity {
	if !level.IsNumber() {
		return device.Quantity{Unit: unitOne} // off
	}
	return level.Quantity(unitMgPerDL)
}

// cgmVerb returns what an opcode asks for.
func cgmVerb(op CGMOp) device.Verb {
	switch op {
	case CGMSetInterval, CGMStopSession:
		return device.SetAlarm // how long, or for good, nothing is heard
	case CGMSetCalibration:
		return device.Calibrate
	case CGMResetAlert:
		return device.AcknowledgeAlarm
	case CGMStartSession:
		return device.Resume
	case CGMGetInterval, CGMGetCalibration:
		return device.ReadSettings
	}
	if _, ok := op.level(); ok {
		switch op % 3 {
		case 1:
			return device.SetAlarm
		case 2:
			return device.ReadSettings
		}
	}
	return device.NoVerb
}

// interval is a communication interval as a delay. Never is a day: longer than
// any that can be set.
func interval(minutes uint8) device.Quantity {
	q := device.Quantity{Coefficient: int64(minutes), Unit: unitMinute}
	switch minutes {
	case 0:
		q.Coefficient = 24 * 60
	case cgmFastest:
		q.Coefficient = 1 // or less
	}
	return q
}

// band returns how much may pass without a sound when alert i is at a level:
// from a low level up to the high one, from a high level down to the low one;
// of a rate, how much glucose may change in a minute. A level that is no number
// is off: all that the sensor measures passes.
func (s *cgmState) band(i int, level SFLOAT) device.Quantity {
	if !level.IsNumber() {
		return sensorHighest.Quantity(unitMgPerDL)
	}
	var q device.Quantity
	switch CGMSetPatientHigh + 3*CGMOp(i) {
	case CGMSetPatientLow:
		q = sum(s.level(i-1, sensorHighest), level, -1, unitMgPerDL)
	case CGMSetHypo:
		q = sum(s.level(i+1, sensorHighest), level, -1, unitMgPerDL)
	case CGMSetPatientHigh:
		q = sum(level, s.level(i+1, sensorLowest), -1, unitMgPerDL)
	case CGMSetHyper:
		q = sum(level, s.level(i-1, sensorLowest), -1, unitMgPerDL)
	default:
		q = level.Quantity(unitMgPerDL)
		if q.Coefficient < 0 { // CGMS 1.0.2 section 3.7.2.6 compares a rate of decrease as a signed number, but gives no sample
			q.Coefficient = -q.Coefficient
		}
	}
	return q
}

func (s *cgmState) level(i int, otherwise SFLOAT) SFLOAT {
	if s.knownLevels[i] && s.levels[i].IsNumber() {
		return s.levels[i]
	}
	return otherwise
}

// cgmAnswer reads what the sensor says, and remembers what holds from now on.
func (d *Decoder) cgmAnswer(x *CGMControl, err error, r *Reading) {
	s := &d.cgm
	level, isLevel := x.Op.level()
	switch {
	case x.Op == CGMResponse:
		r.Code = x.Code
		r.response(cgmVerb(x.Request), x.Code == cgmSuccess)
		if s.asked.Op == x.Request && x.Code == cgmSuccess && err == nil && r.Integrity != Bad {
			s.settle()
		}
		s.asked = CGMControl{}
		return
	case isLevel && err == nil:
		s.levels[level], s.knownLevels[level] = x.Level, true
	case x.Op == CGMInterval && err == nil:
		s.interval, s.hasInterval = x.Interval, true
	}
	r.response(device.NoVerb, false)
	if x.Op.FromServer() {
		r.response(device.ReadSettings, err == nil)
	}
	if x.Op == CGMCalibration {
		r.Fields = FieldResult
	}
	s.asked = CGMControl{}
}

// settle takes over what was asked and granted.
func (s *cgmState) settle() {
	if i, ok := s.asked.Op.level(); ok && s.asked.Op%3 == 1 {
		s.levels[i], s.knownLevels[i] = s.asked.Level, true
	}
	if s.asked.Op == CGMSetInterval {
		s.interval, s.hasInterval = s.asked.Interval, true
	}
}
