// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/wire"
)

// An hciLog is a capture of the host controller interface (link type 187) of a
// phone that connects to a peripheral.
type hciLog struct {
	b       []byte
	packets int
}

func newHCILog() *hciLog {
	l := &hciLog{}
	le := binary.LittleEndian
	l.b = le.AppendUint32(l.b, 0xa1b2c3d4)
	l.b = append(l.b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	l.b = le.AppendUint32(le.AppendUint32(l.b, 65535), 187)
	// LE Meta event, Connection Complete, handle 0x40, central, of a random address.
	l.frame([]byte{4, 0x3e, 0x13, 1, 0, 0x40, 0, 0, 1, 1, 0x53, 0, 0x5e, 0, 0xc0, 0x18, 0, 0, 0, 0x48, 0, 0})
	return l
}

func (l *hciLog) frame(b []byte) {
	l.packets++
	le := binary.LittleEndian
	l.b = le.AppendUint32(le.AppendUint32(l.b, 1772521200), uint32(l.packets))
	l.b = le.AppendUint32(le.AppendUint32(l.b, uint32(len(b))), uint32(len(b)))
	l.b = append(l.b, b...)
}

// att logs a PDU, and returns the number of its packet.
func (l *hciLog) att(pdu []byte) int {
	le := binary.LittleEndian
	flags := uint16(0x2000) // from the controller: the first fragment
	if len(pdu) > 0 && ble.ATTOpcode(pdu[0]).FromClient() {
		flags = 0
	}
	b := le.AppendUint16([]byte{2}, 0x40|flags)
	b = le.AppendUint16(b, uint16(len(pdu)+4))
	b = le.AppendUint16(le.AppendUint16(b, uint16(len(pdu))), 4)
	l.frame(append(b, pdu...))
	return l.packets
}

// A sample is one value that tshark reads, too. Its fields are named as tshark
// names them; what they should be is said by our types.
type sample struct {
	service, characteristic uint16
	op                      ble.ATTOpcode
	value                   []byte
	fields                  []string // name, value, name, value ...
}

func (s *sample) want(field string, value any) {
	s.fields = append(s.fields, field, fmt.Sprint(value))
}

// number writes an SFLOAT without trailing zeros.
func number(f SFLOAT) string { return plain(f.Quantity(0).String()) }

// plain writes a number of tshark's, which may be hexadecimal or have trailing
// zeros.
func plain(text string) string {
	if n, err := strconv.ParseUint(text, 0, 64); err == nil && strings.HasPrefix(text, "0x") {
		return strconv.FormatUint(n, 10)
	}
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func samples() []sample {
	var all []sample

	rate := HeartRate{Rate: 72, Contact: 3, HasEnergy: true, Energy: 1234, RR: []byte{0x40, 3, 0x20, 3}}
	s := sample{svcHeartRate, chrHeartRate, ble.HandleValueNotification, rate.Append(nil), nil}
	s.want("btatt.heart_rate_measurement.value.8", rate.Rate)
	s.want("btatt.heart_rate_measurement.energy_expended", rate.Energy)
	s.want("btatt.heart_rate_measurement.rr_interval", "832,800")
	s.want("btatt.heart_rate_measurement.flags.sensor_contact_status.contact", 1)
	all = append(all, s)
	rate = HeartRate{Rate: 301}
	s = sample{svcHeartRate, chrHeartRate, ble.HandleValueNotification, rate.Append(nil), nil}
	s.want("btatt.heart_rate_measurement.value.16", rate.Rate)
	all = append(all, s)

	meter := GlucoseMeasurement{
		Sequence: 7, Base: DateTime{2026, 3, 3, 7, 4, 5}, HasOffset: true, Offset: -60, HasResult: true, Concentration: 0xb07c, Type: 1, Location: 2,
		HasStatus: true, Status: 0x0021, Context: true,
	}
	s = sample{svcGlucose, chrGlucose, ble.HandleValueNotification, meter.Append(nil), nil}
	s.want("btatt.glucose_measurement.sequence_number", meter.Sequence)
	s.want("btatt.year", meter.Base.Year)
	s.want("btatt.month", meter.Base.Month)
	s.want("btatt.day", meter.Base.Day)
	s.want("btatt.hours", meter.Base.Hours)
	s.want("btatt.minutes", meter.Base.Minutes)
	s.want("btatt.seconds", meter.Base.Seconds)
	s.want("btatt.glucose_measurement.time_offset", meter.Offset)
	s.want("btatt.glucose_measurement.glucose_concentration.kg_per_l", number(meter.Concentration))
	s.want("btatt.glucose_measurement.type_and_sample_location.type", meter.Type)
	s.want("btatt.glucose_measurement.type_and_sample_location.sample_location", meter.Location)
	s.want("btatt.glucose_measurement.sensor_status_annunciation", meter.Status)
	s.want("btatt.glucose_measurement.flags.context_information_follows", 1)
	all = append(all, s)
	meter = GlucoseMeasurement{Sequence: 8, HasResult: true, Molar: true, Concentration: 0xd055}
	s = sample{svcGlucose, chrGlucose, ble.HandleValueNotification, meter.Append(nil), nil}
	s.want("btatt.glucose_measurement.glucose_concentration.mol_per_l", number(meter.Concentration))
	all = append(all, s)

	for _, m := range []CGMMeasurement{
		{Glucose: 118, TimeOffset: 5},
		{Glucose: 61, TimeOffset: 245, HasStatus: true, Status: 2, HasCalTemp: true, CalTemp: 4, HasWarning: true, Warning: 8, HasTrend: true, Trend: 0xfff4, HasQuality: true, Quality: 98, HasCRC: true},
	} {
		s = sample{svcCGM, chrCGMMeasurement, ble.HandleValueNotification, m.Append(nil), nil}
		s.want("btatt.cgm_measurement.size", len(s.value))
		s.want("btatt.cgm_measurement.glucose_concentration", number(m.Glucose))
		s.want("btatt.cgm_measurement.time_offset", m.TimeOffset)
		if m.HasCRC {
			s.want("btatt.cgm.sensor_status_annunciation.status", 2)
			s.want("btatt.cgm.sensor_status_annunciation.cal_temp", 4)
			s.want("btatt.cgm.sensor_status_annunciation.warning", 8)
			s.want("btatt.cgm_measurement.trend_information", number(m.Trend))
			s.want("btatt.cgm_measurement.quality", number(m.Quality))
			s.want("btatt.cgm.e2e_crc", CRC(s.value[:len(s.value)-2]))
		}
		all = append(all, s)
	}

	f := CGMFeature{Feature: 0x0117ff, Type: 9, Location: 5}
	s = sample{svcCGM, chrCGMFeature, ble.ReadResponse, f.Append(nil), nil}
	s.want("btatt.cgm_feature.feature", f.Feature)
	s.want("btatt.cgm_feature.feature.e2e_crc", 1)
	// tshark 4.0 takes the halves of the octet for type and location of a CGM the
	// other way around than those of a glucose meter. Both documents have one form.
	s.want("btatt.cgm.type_and_sample_location.type", f.Location)
	s.want("btatt.cgm.type_and_sample_location.sample_location", f.Type)
	s.want("btatt.cgm.e2e_crc", CRC(s.value[:4]))
	all = append(all, s)

	status := CGMStatus{TimeOffset: 245, Status: 0x080402}
	s = sample{svcCGM, chrCGMStatus, ble.ReadResponse, AppendCRC(status.Append(nil), 0), nil}
	s.want("btatt.cgm.time_offset", status.TimeOffset)
	s.want("btatt.cgm.status", status.Status)
	s.want("btatt.cgm.e2e_crc", CRC(s.value[:5]))
	all = append(all, s)

	start := CGMSessionStart{DateTime{2026, 3, 3, 7, 0, 0}, 4, 0}
	s = sample{svcCGM, chrCGMSessionStart, ble.WriteRequest, AppendCRC(start.Append(nil), 0), nil}
	s.want("btatt.year", start.Start.Year)
	s.want("btatt.hours", start.Start.Hours)
	s.want("btatt.timezone", start.TimeZone)
	s.want("btatt.dst_offset", start.DST)
	s.want("btatt.cgm.e2e_crc", CRC(s.value[:9]))
	all = append(all, s)

	const point = "btatt.cgm_specific_ops_control_point."
	for _, x := range []CGMControl{
		{Op: CGMSetInterval, Interval: 5},
		{Op: CGMResponse, Request: CGMSetInterval, Code: 1},
		{Op: CGMGetInterval},
		{Op: CGMInterval, Interval: 5},
		{Op: CGMSetCalibration, Level: 104, Time: 240, Next: 960, Record: 3, Status: 1, Type: 1, Location: 1},
		{Op: CGMResponse, Request: CGMSetCalibration, Code: 2},
		{Op: CGMGetCalibration, Record: 3},
		{Op: CGMCalibration, Level: 104, Time: 240, Next: 960, Record: 3, Status: 2},
		{Op: CGMSetPatientHigh, Level: 180},
		{Op: CGMResponse, Request: CGMSetPatientHigh, Code: 3},
		{Op: CGMSetPatientHigh + 1},
		{Op: CGMSetPatientHigh + 2, Level: 180},
		{Op: CGMSetPatientLow, Level: 70},
		{Op: CGMResponse, Request: CGMSetPatientLow, Code: 4},
		{Op: CGMSetPatientLow + 1},
		{Op: CGMSetPatientLow + 2, Level: 70},
		{Op: CGMSetHypo, Level: 55},
		{Op: CGMResponse, Request: CGMSetHypo, Code: 5},
		{Op: CGMSetHypo + 1},
		{Op: CGMSetHypo + 2, Level: 55},
		{Op: CGMSetHyper, Level: 250},
		{Op: CGMSetHyper + 1},
		{Op: CGMSetHyper + 2, Level: 250},
		{Op: CGMSetRateOfDecrease, Level: 0xffe2},
		{Op: CGMSetRateOfDecrease + 1},
		{Op: CGMSetRateOfDecrease + 2, Level: 0xffe2},
		{Op: CGMSetRateOfIncrease, Level: 0xf01e},
		{Op: CGMSetRateOfIncrease + 1},
		{Op: CGMSetRateOfIncrease + 2, Level: 0xf01e},
		{Op: CGMResetAlert},
		{Op: CGMStartSession},
		{Op: CGMStopSession},
		{Op: CGMResponse, Request: CGMStopSession, Code: 1},
	} {
		op := ble.WriteRequest
		if x.Op.FromServer() {
			op = ble.HandleValueIndication
		}
		s = sample{svcCGM, chrCGMControl, op, x.Append(nil), nil}
		s.want(point+"opcode", uint8(x.Op))
		_, level := x.Op.level()
		switch {
		case x.Op == CGMResponse:
			s.want(point+"request_opcode", uint8(x.Request))
			s.want(point+"response_code", x.Code)
		case x.Op.FromServer():
			// tshark 4.0 does not find the request, and reads no operand. It is that
			// of the opcode which sets the same.
		case x.Op == CGMSetInterval:
			s.want(point+"operand.communication_interval", x.Interval)
		case x.Op == CGMSetCalibration:
			s.want(point+"operand.calibration_glucose_concentration", number(x.Level))
			s.want(point+"operand.calibration_time", x.Time)
			s.want(point+"operand.next_calibration_time", x.Next)
			s.want(point+"operand.calibration_data_record_number", x.Record)
			s.want(point+"operand.calibration_status", x.Status)
			s.want("btatt.cgm.type_and_sample_location.type", x.Location)
			s.want("btatt.cgm.type_and_sample_location.sample_location", x.Type)
		case x.Op == CGMGetCalibration:
			s.want(point+"operand.calibration_data_record_number", x.Record)
		case level && x.Op%3 == 1 && x.Op >= CGMSetRateOfDecrease:
			s.want(point+"operand.alert_level_rate", number(x.Level))
		case level && x.Op%3 == 1:
			s.want(point+"operand.alert_level", number(x.Level))
		}
		all = append(all, s)
	}
	return append(all, layoutSamples()...)
}

// layoutSamples are values with everything in them, by the layouts.
func layoutSamples() []sample {
	var all []sample
	for _, tt := range []struct {
		service, characteristic uint16
		op                      ble.ATTOpcode
		hex                     string
		prefix                  string
		fields                  [][2]string // of the layout, of tshark; "~" is before an SFLOAT
	}{
		{svcGlucose, chrGlucoseContext, ble.HandleValueNotification, "ff 0700 00 01 28b0 02 13 1e00 32 01 0a90 41f0", "btatt.glucose_measurement_context.", [][2]string{
			{"Sequence Number", "sequence_number"},
			{"Carbohydrate ID", "carbohydrate_id"},
			{"Carbohydrate", "~carbohydrate.kg"},
			{"Meal", "meal"},
			{"Exercise Duration", "exercise_duration"},
			{"Exercise Intensity", "exercise_intensity"},
			{"Medication ID", "medication_id"},
			{"Medication", "~medication.l"},
			{"HbA1c", "~hba1c"},
		}},
		// Without its value, of which tshark 4.0 makes 0 whatever it is.
		{0x1809, chrTemperature, ble.HandleValueIndication, "06 6c0100ff ea070303070405 02", "btatt.temperature_measurement.", nil},
		{0x1810, chrBloodPressure, ble.HandleValueIndication, "1e 7800 5000 5d00 ea070303070405 4800 03 2100", "btatt.blood_pressure_measurement.", [][2]string{
			{"Systolic", "~compound_value.systolic.mmhg"},
			{"Diastolic", "~compound_value.diastolic.mmhg"},
			{"Mean Arterial Pressure", "~compound_value.arterial_pressure.mmhg"},
			{"Pulse Rate", "~pulse_rate"},
			{"User ID", "user_id"},
			{"Measurement Status", "status"},
		}},
		{svcOximeter, chrSpotCheck, ble.HandleValueIndication, "0f 6100 3c00 ea070303070405 2000 050000 0af0", "btatt.plxs.spot_check_measurement.", [][2]string{
			{"SpO2", "~spo2"}, {"PR", "~pulse_rate"}, {"Pulse Amplitude Index", "~pulse_amplitude_index"}, {"Measurement Status", "measurement_status"},
		}},
		{svcOximeter, chrContinuousOx, ble.HandleValueNotification, "1f 6100 3c00 6000 3d00 5f00 3e00 2000 050000 0af0", "btatt.plxs.", nil},
		{0x181d, chrWeight, ble.HandleValueIndication, "0e 3c3c ea070303070405 02 e100 a206", "btatt.weight_measurement.", [][2]string{
			{"Weight", "weight.kg"}, {"User ID", "user_id"}, {"BMI", "bmi"}, {"Height", "height.m"},
		}},
		{0x181b, chrBodyComposition, ble.HandleValueIndication, "fe0f c800 ea070303070405 02 d01b 9001 4c1d 581b 6419 e803 a00f 3c3c a206", "btatt.body_composition_measurement.", [][2]string{
			{"Body Fat Percentage", "body_fat_percentage"},
			{"User ID", "user_id"},
			{"Basal Metabolism", "basal_metabolism"},
			{"Muscle Percentage", "muscle_percentage"},
			{"Muscle Mass", "muscle_mass.kg"},
			{"Fat Free Mass", "fat_free_mass.kg"},
			{"Soft Lean Mass", "soft_lean_mass.kg"},
			{"Body Water Mass", "body_water_mass.kg"},
			{"Impedance", "impedance"},
			{"Weight", "weight.kg"},
			{"Height", "height.meter"},
		}},
	} {
		value, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			panic(err)
		}
		s := sample{tt.service, tt.characteristic, tt.op, value, nil}
		read := map[string][]byte{}
		c := wire.NewCursor(name, value)
		layoutOf(tt.characteristic).walk(&c, func(name string, b []byte) { read[name] = b })
		if err := finish(&c); err != nil {
			panic(err)
		}
		for _, f := range tt.fields {
			n := uint32(0)
			for i, b := range read[f[0]] {
				n |= uint32(b) << (8 * i)
			}
			if field, ok := strings.CutPrefix(f[1], "~"); ok {
				s.want(tt.prefix+field, number(SFLOAT(n)))
			} else {
				s.want(tt.prefix+f[1], n)
			}
		}
		all = append(all, s)
	}
	return all
}

// TestAgainstTshark writes a capture with discovery and compares what our
// encoders wrote, and our layouts read, with what tshark reads.
func TestAgainstTshark(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	l := newHCILog()
	le := binary.LittleEndian
	all := samples()
	handles := map[uint16]uint16{}
	for _, s := range all {
		if handles[s.characteristic] != 0 {
			continue
		}
		first := uint16(16*len(handles) + 1)
		handles[s.characteristic] = first + 2
		l.att(append(le.AppendUint16(le.AppendUint16([]byte{0x10}, first), 0xffff), 0, 0x28))
		l.att(le.AppendUint16(le.AppendUint16(le.AppendUint16([]byte{0x11, 6}, first), first+15), s.service))
		l.att(append(le.AppendUint16(le.AppendUint16([]byte{0x08}, first), first+15), 3, 0x28))
		l.att(le.AppendUint16(le.AppendUint16(append(le.AppendUint16([]byte{0x09, 7}, first+1), 0x3a), first+2), s.characteristic))
	}
	var fields []string
	packets := make([]int, len(all))
	l.att([]byte{uint8(ble.ExchangeMTURequest), 64, 0})
	l.att([]byte{uint8(ble.ExchangeMTUResponse), 64, 0})
	for i, s := range all {
		if s.op == ble.ReadResponse {
			l.att(le.AppendUint16([]byte{uint8(ble.ReadRequest)}, handles[s.characteristic]))
			packets[i] = l.att(append([]byte{uint8(s.op)}, s.value...))
		} else {
			packets[i] = l.att(append(le.AppendUint16([]byte{uint8(s.op)}, handles[s.characteristic]), s.value...))
		}
		switch s.op {
		case ble.WriteRequest:
			l.att([]byte{uint8(ble.WriteResponse)})
		case ble.HandleValueIndication:
			l.att([]byte{uint8(ble.HandleValueConfirmation)})
		}
		for j := 0; j < len(s.fields); j += 2 {
			if !slices.Contains(fields, s.fields[j]) {
				fields = append(fields, s.fields[j])
			}
		}
	}
	file := filepath.Join(t.TempDir(), "log.pcap")
	if err := os.WriteFile(file, l.b, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "separator=;", "-E", "occurrence=a", "-e", "_ws.malformed", "-e", "_ws.expert.message"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err != nil {
		t.Skip("tshark does not read it: ", err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != l.packets {
		t.Fatalf("tshark reads %d packets of %d", len(lines), l.packets)
	}
	for i, s := range all {
		cols := strings.Split(lines[packets[i]-1], ";")
		// tshark's own: it makes the first complaint of the smallest record and of the
		// largest, the others of each indication.
		switch cols[1] {
		case "Size too small (6 or geater)", "Invalid request", "Invalid response":
			cols[1] = ""
		}
		if cols[0]+cols[1] != "" {
			t.Errorf("%04x %x: tshark: %s%s", s.characteristic, s.value, cols[0], cols[1])
		}
		for j := 0; j < len(s.fields); j += 2 {
			got := cols[2+slices.Index(fields, s.fields[j])]
			if plain(got) != s.fields[j+1] {
				t.Errorf("%04x %x: %s is %q, tshark says %q", s.characteristic, s.value, s.fields[j], s.fields[j+1], got)
			}
		}
	}
}
