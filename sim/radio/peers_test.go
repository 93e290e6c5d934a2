// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/wire"
)

// l2cap returns the L2CAP PDU that a frame carries whole and readable, or nil.
func (f *frame) l2cap() []byte {
	switch {
	case f.hci != nil && f.hci[0] == h4ACL:
		return f.hci[5:]
	case f.air == nil || f.air.from == ble.UnknownSide:
		return nil
	case f.air.plain != nil && f.air.plain[0]&3 == ble.LLIDStart:
		return f.air.plain[2:]
	case f.air.plain == nil && f.air.pdu[0]&3 == ble.LLIDStart:
		return f.air.pdu[2:]
	}
	return nil
}

// broken are the stories whose frames break the protocol, and are to.
var broken = []string{"zero-key", "key-size", "llid-deadlock", "att-deadlock", "truncated-l2cap", "early-encryption"}

// together plays all stories of a layer behind each other: programs of others
// take long to start.
func together(t *testing.T, layer Layer) *Recording {
	t.Helper()
	all := &Recording{layer: layer}
	for i := range Scenarios {
		s := &Scenarios[i]
		if !slices.Contains(s.Layers, layer) || slices.Contains(broken, s.Name) {
			continue
		}
		for _, form := range s.Forms {
			o := Options{Device: s.Device, Scenario: s.Name, Form: form, Layer: layer, Seed: uint64(i)}
			o.Start = dayOfStories.AddDate(0, 0, 30*(2*i+int(form)))
			r, err := Play(o)
			if err != nil {
				t.Fatal(err)
			}
			all.frames = append(all.frames, r.frames...)
		}
	}
	return all
}

func write(t testing.TB, r *Recording, f Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return file(t, b.Bytes())
}

// tsharkFields are what is asked of tshark, and what each ought to be of an L2CAP PDU;
// "" is not asked.
var tsharkFields = []struct {
	name string
	want func(cid uint16, pdu []byte) string
}{
	{"btatt.opcode", func(cid uint16, pdu []byte) string { return octet(cid == ble.CIDATT, pdu, 0) }},
	{"btsmp.opcode", func(cid uint16, pdu []byte) string { return octet(cid == ble.CIDSMP, pdu, 0) }},
	{"btsmp.io_capability", func(cid uint16, pdu []byte) string { return octet(features(cid, pdu), pdu, 1) }},
	{"btsmp.oob_data_flags", func(cid uint16, pdu []byte) string { return octet(features(cid, pdu), pdu, 2) }},
	{"btsmp.authreq", func(cid uint16, pdu []byte) string { return octet(features(cid, pdu), pdu, 3) }},
	{"btsmp.max_enc_key_size", func(cid uint16, pdu []byte) string { return octet(features(cid, pdu), pdu, 4) }},
}

func features(cid uint16, pdu []byte) bool {
	return cid == ble.CIDSMP && pdu[0] <= byte(ble.PairingResponse)
}

func octet(is bool, pdu []byte, i int) string {
	if !is {
		return ""
	}
	return strconv.Itoa(int(pdu[i]))
}

// number writes what tshark says, which may be hexadecimal, in decimal.
func number(s string) string {
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return s
}

// TestTshark lets tshark read every format: nothing is malformed but what cannot
// be read without the key, checksums are right, and it sees the same PDUs.
func TestTshark(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	recordings := map[Layer]*Recording{HCI: together(t, HCI), Air: together(t, Air)}
	for _, tt := range []struct {
		layer Layer
		f     Format
	}{
		{HCI, Format{}},
		{HCI, Format{Container: "pcap", Link: wire.LinkBluetoothHCIH4PHDR}},
		{HCI, Format{Container: "pcapng", Link: wire.LinkBluetoothHCIH4}},
		{Air, Format{Container: "pcap", Link: wire.LinkBluetoothLELL}},
		{Air, Format{Link: wire.LinkBluetoothLELLPHDR}},
		{Air, Format{Link: wire.LinkBluetoothLELLPHDR, Decrypted: true}},
		{Air, Format{Link: wire.LinkNordicBLE, Decrypted: true}},
	} {
		t.Run(fmt.Sprint(tt.f), func(t *testing.T) {
			r := recordings[tt.layer]
			args := []string{"-n", "-r", write(t, r, tt.f), "-T", "fields", "-E", "separator=;", "-E", "occurrence=a"}
			names := []string{"_ws.malformed", "_ws.expert.message", "btle.crc.incorrect", "btatt.handle", "btatt.heart_rate_measurement.value.8", "btatt.cgm_measurement.glucose_concentration"}
			for _, f := range tsharkFields {
				names = append(names, f.name)
			}
			for _, name := range names {
				args = append(args, "-e", name)
			}
			out, err := exec.CommandContext(t.Context(), path, args...).Output()
			if err != nil {
				t.Fatal("tshark does not read it: ", err)
			}
			lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
			if len(lines) != len(r.frames) {
				t.Fatalf("tshark reads %d packets of %d", len(lines), len(r.frames))
			}
			rates, glucoses, readable := 0, 0, 0
			for i := range r.frames {
				f, cols := &r.frames[i], strings.Split(lines[i], ";")
				if f.air != nil && f.air.plain != nil && !(tt.f.Decrypted && f.air.known) {
					if cols[2] != "" {
						t.Errorf("packet %d: CRC", i+1)
					}
					continue // ciphertext looks like anything
				}
				// tshark's own: it makes the size complaint of the smallest record and of the largest, and the
				// next two of values that the glucose sensor's control point says.
				complaint := strings.NewReplacer("CRC unchecked, not all data available", "", "Size too small (6 or geater)", "",
					"Invalid request", "", "Invalid response", "", ",", "").Replace(cols[1])
				if cols[0]+complaint+cols[2] != "" {
					t.Errorf("packet %d: tshark: %s %s %s", i+1, cols[0], complaint, cols[2])
				}
				b := f.l2cap()
				if b == nil {
					continue
				}
				readable++
				cid, pdu := binary.LittleEndian.Uint16(b[2:]), b[4:]
				for j, field := range tsharkFields {
					if got, want := number(cols[len(names)-len(tsharkFields)+j]), field.want(cid, pdu); want != "" && got != want {
						t.Errorf("packet %d: %s is %s, tshark says %q", i+1, field.name, want, got)
					}
				}
				if cid == ble.CIDATT && pdu[0] == byte(ble.HandleValueNotification) {
					var h gatt.HeartRate
					if cols[4] != "" && (h.Parse(pdu[3:]) != nil || cols[4] != strconv.Itoa(int(h.Rate))) {
						t.Errorf("packet %d: heart rate %d, tshark says %s", i+1, h.Rate, cols[4])
					}
					var m gatt.CGMMeasurement
					if cols[5] != "" {
						if _, err := m.Parse(pdu[3:]); err != nil || cols[5] != m.Glucose.Quantity(0).String() {
							t.Errorf("packet %d: glucose %s, tshark says %s", i+1, m.Glucose.Quantity(0), cols[5])
						}
						glucoses++
					}
					if cols[4] != "" {
						rates++
					}
				}
			}
			t.Logf("%d packets, %d with readable L2CAP, %d heart rates, %d glucose values", len(lines), readable, rates, glucoses)
			if readable < 400 || rates < 50 || glucoses < 3 {
				t.Errorf("%d packets readable, %d heart rates, %d glucose values", readable, rates, glucoses)
			}
		})
	}
}

// TestTsharkHome holds what the meter and the scale say to what tshark reads in
// it: the values of the stories, in the units of the services.
func TestTsharkHome(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	for _, tt := range []struct {
		device, scenario, about string
		fields                  []string
		want                    []string
	}{
		{"meter", "download", "btatt.glucose_measurement.flags", []string{
			"btatt.glucose_measurement.sequence_number", "btatt.glucose_measurement.glucose_concentration.kg_per_l",
			"btatt.glucose_measurement.type_and_sample_location.type", "btatt.glucose_measurement.type_and_sample_location.sample_location",
			"btatt.glucose_measurement.flags.context_information_follows", "btatt.year", "btatt.month", "btatt.day",
		}, []string{
			"1 0.00104 1 1 1 2026 3 3", "2 0.00131 1 1 0 2026 3 3", "3 0.00096 1 1 1 2026 3 3", "4 0.00187 1 1 0 2026 3 3", "5 0.00118 1 1 1 2026 3 3",
			"6 0.00072 1 1 0 2026 3 3", "7 0.00109 1 1 1 2026 3 3", "8 0.00101 1 1 0 2026 3 4", "9 0.00126 1 1 1 2026 3 4",
		}},
		{"meter", "download", "btatt.glucose_measurement_context.flags", []string{
			"btatt.glucose_measurement_context.sequence_number", "btatt.glucose_measurement_context.meal",
		}, []string{"1 3", "3 3", "5 3", "7 3", "9 3"}},
		{"meter", "download", "btatt.record_access_control_point.opcode", []string{
			"btatt.record_access_control_point.opcode", "btatt.record_access_control_point.operator", "btatt.record_access_control_point.operand.filter_type",
			"btatt.record_access_control_point.request_opcode", "btatt.record_access_control_point.response_code",
		}, []string{"1 1   ", "6 0  1 1", "1 3 1  ", "6 0  1 1"}},
		{"scale", "weigh-in", "btatt.weight_measurement.flags", []string{
			"btatt.weight_measurement.weight.kg", "btatt.weight_measurement.user_id", "btatt.weight_measurement.bmi", "btatt.weight_measurement.height.m",
			"btatt.year", "btatt.month", "btatt.day", "btatt.hours",
		}, []string{"16920 2 255 1820 2026 3 3 7", "16884 2 254 1820 2026 3 4 7"}},
		{"scale", "weigh-in", "btatt.body_composition_measurement.flags", []string{
			"btatt.body_composition_measurement.body_fat_percentage", "btatt.body_composition_measurement.user_id", "btatt.body_composition_measurement.basal_metabolism",
			"btatt.body_composition_measurement.body_water_mass.kg", "btatt.body_composition_measurement.impedance", "btatt.body_composition_measurement.weight.kg",
		}, []string{"214 2 7440 9310 4875 16920", "213 2 7433 9318 4860 16884"}},
		{"scale", "weigh-in", "btatt.weight_scale_feature", []string{
			"btatt.weight_scale_feature.weight_measurement_resolution", "btatt.weight_scale_feature.height_measurement_resolution", "btatt.weight_scale_feature.reserved",
		}, []string{"7 3 0"}},
		{"scale", "weigh-in", "btatt.body_composition_feature", []string{
			"btatt.body_composition_feature.mass_measurement_resolution", "btatt.body_composition_feature.height_measurement_resolution",
			"btatt.body_composition_feature.impedance", "btatt.body_composition_feature.height", "btatt.body_composition_feature.reserved",
		}, []string{"7 3 1 0 0"}},
	} {
		r, err := Play(Options{Device: tt.device, Scenario: tt.scenario, Layer: HCI})
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"-n", "-r", write(t, r, Format{}), "-Y", tt.about, "-T", "fields", "-E", "separator=;"}
		for _, f := range tt.fields {
			args = append(args, "-e", f)
		}
		out, err := exec.CommandContext(t.Context(), path, args...).Output()
		if err != nil {
			t.Fatal("tshark does not read it: ", err)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			cols := strings.Split(strings.TrimRight(line, "\n"), ";")
			for i := range cols {
				cols[i] = number(cols[i])
			}
			got = append(got, strings.Join(cols, " "))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: tshark reads\n%q, want\n%q", tt.about, got, tt.want)
		}
	}
}

// TestCrackle lets crackle find out the key of legacy pairing, and decrypt
// everything behind it.
func TestCrackle(t *testing.T) {
	path, err := exec.LookPath("crackle")
	if err != nil {
		t.Skip("crackle is not installed")
	}
	for _, scenario := range []string{"pair-just-works", "pair-passkey"} {
		r, err := Play(Options{Device: "pump", Scenario: scenario, Layer: Air})
		if err != nil {
			t.Fatal(err)
		}
		sealed := 0
		for i := range r.frames {
			sealed += int(boolBit(r.frames[i].air.plain != nil))
		}
		file := write(t, r, Format{Container: "pcap"})
		out, err := exec.CommandContext(t.Context(), path, "-i", file, "-o", file+".out").CombinedOutput()
		if want := fmt.Sprintf("Decrypted %d packets", sealed); err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: %v; %s, but crackle says:\n%s", scenario, err, want, out)
		}
	}
}
