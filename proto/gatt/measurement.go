// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A DateTime is a local time; a month or day of 0 is not known.
type DateTime struct {
	Year                                uint16
	Month, Day, Hours, Minutes, Seconds uint8
}

func (t *DateTime) parse(c *wire.Cursor) {
	at := c.Off()
	t.Year = c.Uint16LE("Year")
	t.Month, t.Day = c.Uint8("Month"), c.Uint8("Day")
	t.Hours, t.Minutes, t.Seconds = c.Uint8("Hours"), c.Uint8("Minutes"), c.Uint8("Seconds")
	if t.Month > 12 || t.Day > 31 || t.Hours > 23 || t.Minutes > 59 || t.Seconds > 59 {
		c.FailAt("Date Time", at, wire.ErrInvalid)
	}
}

func (t *DateTime) append(dst []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(dst, t.Year), t.Month, t.Day, t.Hours, t.Minutes, t.Seconds)
}

// A HeartRate is a Heart Rate Measurement (HRS 1.0 section 3.1).
type HeartRate struct {
	Rate      uint16 // beats per minute
	Contact   uint8  // 0 or 1 not supported, 2 no contact, 3 contact
	HasEnergy bool
	Energy    uint16 // kJ
	RR        []byte // intervals between beats in 1/1024 s, two bytes each, little-endian
}

// Parse reads a value. RR aliases it.
func (m *HeartRate) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	m.parse(&c)
	return finish(&c)
}

func (m *HeartRate) parse(c *wire.Cursor) {
	flags := c.Uint8("Flags")
	*m = HeartRate{Contact: flags >> 1 & 3, HasEnergy: flags&8 != 0}
	if flags&1 != 0 {
		m.Rate = c.Uint16LE("Heart Rate Measurement Value")
	} else {
		m.Rate = uint16(c.Uint8("Heart Rate Measurement Value"))
	}
	if m.HasEnergy {
		m.Energy = c.Uint16LE("Energy Expended")
	}
	if flags&16 != 0 {
		at := c.Off()
		if m.RR = c.Rest(); len(m.RR) < 2 || len(m.RR)&1 != 0 {
			c.FailAt("RR-Interval", at, wire.ErrTruncated)
		}
	}
}

// Append writes m after dst.
func (m *HeartRate) Append(dst []byte) []byte {
	flags := m.Contact & 3 << 1
	if m.Rate > 0xff {
		flags |= 1
	}
	if m.HasEnergy {
		flags |= 8
	}
	if len(m.RR) > 0 {
		flags |= 16
	}
	dst = append(dst, flags, byte(m.Rate))
	if m.Rate > 0xff {
		dst = append(dst, byte(m.Rate>>8))
	}
	if m.HasEnergy {
		dst = binary.LittleEndian.AppendUint16(dst, m.Energy)
	}
	return append(dst, m.RR...)
}

// A GlucoseMeasurement is one record of a glucose meter (GLS 1.0 section 3.1).
type GlucoseMeasurement struct {
	Sequence      uint16
	Base          DateTime
	HasOffset     bool
	Offset        int16 // minutes from Base
	HasResult     bool
	Molar         bool // in mol/L, else in kg/L
	Concentration SFLOAT
	Type          uint8 // of fluid
	Location      uint8 // of the sample
	HasStatus     bool
	Status        uint16
	Context       bool // a Glucose Measurement Context follows
}

// Parse reads a value.
func (m *GlucoseMeasurement) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	m.parse(&c)
	return finish(&c)
}

func (m *GlucoseMeasurement) parse(c *wire.Cursor) {
	flags := c.Uint8("Flags")
	*m = GlucoseMeasurement{HasOffset: flags&1 != 0, HasResult: flags&2 != 0, Molar: flags&4 != 0, HasStatus: flags&8 != 0, Context: flags&16 != 0}
	m.Sequence = c.Uint16LE("Sequence Number")
	m.Base.parse(c)
	if m.HasOffset {
		m.Offset = int16(c.Uint16LE("Time Offset"))
	}
	if m.HasResult {
		m.Concentration = sfloat(c, "Glucose Concentration")
		m.Type, m.Location = nibbles(c)
	}
	if m.HasStatus {
		m.Status = c.Uint16LE("Sensor Status Annunciation")
	}
}

// Append writes m after dst.
func (m *GlucoseMeasurement) Append(dst []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint16(append(dst, 0), m.Sequence)
	dst = m.Base.append(dst)
	if m.HasOffset {
		dst[at] |= 1
		dst = binary.LittleEndian.AppendUint16(dst, uint16(m.Offset))
	}
	if m.HasResult {
		dst[at] |= 2
		dst = append(binary.LittleEndian.AppendUint16(dst, uint16(m.Concentration)), m.Location<<4|m.Type&0xf)
	}
	if m.Molar {
		dst[at] |= 4
	}
	if m.HasStatus {
		dst[at] |= 8
		dst = binary.LittleEndian.AppendUint16(dst, m.Status)
	}
	if m.Context {
		dst[at] |= 16
	}
	return dst
}

// nibbles reads a Type and Sample Location.
func nibbles(c *wire.Cursor) (kind, location uint8) {
	v := c.Uint8("Type-Sample Location")
	return v & 0xf, v >> 4
}

// A layout is the form of a characteristic whose values nobody here needs:
// flags, what is always there, and what each flag adds, in the order on the
// wire.
type layout struct {
	features bool // of the device, no measurement
	flags    int  // bytes
	always   []field
	optional []option
}

// A field has a name and a form: a number of bytes, or date and time.
type field struct {
	name  string
	bytes int
}

const dateTimeBytes = 7

type option struct {
	bit    uint
	fields []field
}

// layouts follow HTS 1.0, BLS 1.0 and 1.1, PLXS 1.0, WSS 1.0, BCS 1.0 and GLS
// 1.0, each in its section 3.1 and the next.
//
// Doubt: the enhanced blood pressure was not read in its document; its values
// are counted as measurements and not taken apart.
var layouts = map[uint16]*layout{
	chrTemperature:     &thermometer,
	chrInterimTemp:     &thermometer,
	chrTemperatureType: {features: true, always: []field{{"Temperature Type", 1}}},
	chrSensorLocation:  {features: true, always: []field{{"Body Sensor Location", 1}}},
	chrGlucoseFeature:  {features: true, always: []field{{"Glucose Feature", 2}}},
	chrBloodFeature:    {features: true, always: []field{{"Blood Pressure Feature", 2}}},
	chrWeightFeature:   {features: true, always: []field{{"Weight Scale Feature", 4}}},
	chrBodyFeature:     {features: true, always: []field{{"Body Composition Feature", 4}}},
	chrOximeterFeature: {features: true, flags: 2, optional: []option{
		{0, []field{{"Measurement Status Support", 2}}},
		{1, []field{{"Device and Sensor Status Support", 3}}},
	}},
	chrGlucoseContext: {flags: 1, always: []field{{"Sequence Number", 2}}, optional: []option{
		{7, []field{{"Extended Flags", 1}}},
		{0, []field{{"Carbohydrate ID", 1}, {"Carbohydrate", 2}}},
		{1, []field{{"Meal", 1}}},
		{2, []field{{"Tester-Health", 1}}},
		{3, []field{{"Exercise Duration", 2}, {"Exercise Intensity", 1}}},
		{4, []field{{"Medication ID", 1}, {"Medication", 2}}},
		{6, []field{{"HbA1c", 2}}},
	}},
	chrBloodPressure: &bloodPressure,
	chrCuffPressure:  &bloodPressure,
	chrSpotCheck: {flags: 1, always: []field{{"SpO2", 2}, {"PR", 2}}, optional: []option{
		{0, []field{{"Timestamp", dateTimeBytes}}},
		{1, []field{{"Measurement Status", 2}}},
		{2, []field{{"Device and Sensor Status", 3}}},
		{3, []field{{"Pulse Amplitude Index", 2}}},
	}},
	chrContinuousOx: {flags: 1, always: []field{{"SpO2PR-Normal SpO2", 2}, {"SpO2PR-Normal PR", 2}}, optional: []option{
		{0, []field{{"SpO2PR-Fast SpO2", 2}, {"SpO2PR-Fast PR", 2}}},
		{1, []field{{"SpO2PR-Slow SpO2", 2}, {"SpO2PR-Slow PR", 2}}},
		{2, []field{{"Measurement Status", 2}}},
		{3, []field{{"Device and Sensor Status", 3}}},
		{4, []field{{"Pulse Amplitude Index", 2}}},
	}},
	chrWeight: {flags: 1, always: []field{{"Weight", 2}}, optional: []option{
		{1, []field{{"Time Stamp", dateTimeBytes}}},
		{2, []field{{"User ID", 1}}},
		{3, []field{{"BMI", 2}, {"Height", 2}}},
	}},
	chrBodyComposition: {flags: 2, always: []field{{"Body Fat Percentage", 2}}, optional: []option{
		{1, []field{{"Time Stamp", dateTimeBytes}}},
		{2, []field{{"User ID", 1}}},
		{3, []field{{"Basal Metabolism", 2}}},
		{4, []field{{"Muscle Percentage", 2}}},
		{5, []field{{"Muscle Mass", 2}}},
		{6, []field{{"Fat Free Mass", 2}}},
		{7, []field{{"Soft Lean Mass", 2}}},
		{8, []field{{"Body Water Mass", 2}}},
		{9, []field{{"Impedance", 2}}},
		{10, []field{{"Weight", 2}}},
		{11, []field{{"Height", 2}}},
	}},
}

var thermometer = layout{flags: 1, always: []field{{"Temperature Measurement Value", 4}}, optional: []option{
	{1, []field{{"Time Stamp", dateTimeBytes}}},
	{2, []field{{"Temperature Type", 1}}},
}}

var bloodPressure = layout{
	flags:  1,
	always: []field{{"Systolic", 2}, {"Diastolic", 2}, {"Mean Arterial Pressure", 2}},
	optional: []option{
		{1, []field{{"Time Stamp", dateTimeBytes}}},
		{2, []field{{"Pulse Rate", 2}}},
		{3, []field{{"User ID", 1}}},
		{4, []field{{"Measurement Status", 2}}},
	},
}

func layoutOf(n uint16) *layout { return layouts[n] }

// walk reads a value by its layout. visit, unless nil, is given each field.
func (l *layout) walk(c *wire.Cursor, visit func(name string, value []byte)) {
	flags := uint16(0)
	for i, b := range c.Bytes("Flags", l.flags) {
		flags |= uint16(b) << (8 * i)
	}
	read := func(fields []field) {
		for _, f := range fields {
			b := c.Peek(f.bytes)
			if f.bytes == dateTimeBytes {
				var t DateTime
				t.parse(c)
			} else {
				c.Skip(f.name, f.bytes)
			}
			if visit != nil && c.Ok() {
				visit(f.name, b)
			}
		}
	}
	read(l.always)
	for _, o := range l.optional {
		if flags>>o.bit&1 != 0 {
			read(o.fields)
		}
	}
}
