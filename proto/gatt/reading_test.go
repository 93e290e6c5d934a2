// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// tell writes a reading in one line.
func tell(r *Reading) string {
	var s []string
	add := func(format string, args ...any) { s = append(s, fmt.Sprintf(format, args...)) }
	if r.Kind != NoKind {
		add("%v", r.Kind)
	}
	if r.Operation != "" {
		add("%q", r.Operation)
	}
	if r.Fields != 0 {
		add("fields %02x", uint8(r.Fields))
	}
	if r.Records != 0 {
		add("records %d", r.Records)
	}
	c := &r.Command
	if c.Verb != device.NoVerb {
		add("%v", c.Verb)
		if r.Kind == Command {
			if e := device.EffectOf(c); e != device.NoEffect {
				add("(%v)", e)
			}
		}
	}
	if !c.Value.IsNone() {
		add("%v", c.Value)
	}
	if !c.Now.IsNone() {
		add("now %v", c.Now)
	}
	if !c.Limit.IsNone() {
		add("for %v", c.Limit)
	}
	if r.Outcome != NoOutcome {
		add("%v %02x", map[Outcome]string{Succeeded: "succeeded", Failed: "failed"}[r.Outcome], r.Code)
	}
	if (c.Stage == device.Accepted) != (r.Outcome == Succeeded) || (r.Kind == Command) != (c.Stage == device.Proposed && r.Outcome == NoOutcome) {
		add("STAGE %v", c.Stage)
	}
	if r.Integrity != Unchecked {
		add("%v", map[Integrity]string{Good: "good", Bad: "bad"}[r.Integrity])
	}
	if r.Fresh != 0 {
		add("fresh %d", r.Fresh)
	}
	if r.Repeated {
		add("repeated")
	}
	if r.Opaque {
		add("opaque")
	}
	id := &r.Identity
	for _, b := range [][]byte{id.Manufacturer, id.Model, id.Firmware, id.Hardware, id.Software} {
		if b != nil {
			add("%q", b)
		}
	}
	for name, is := range map[string]bool{"serial": id.Serial, "system-id": id.SystemID, "udi": id.UDI, "name": id.Name} {
		if is {
			add("%s", name)
		}
	}
	return strings.Join(s, " ")
}

// A dialogue is what a phone writes (w) and a device reads out (r), notifies (n) or
// indicates (i), each as operation, characteristic and value in hexadecimal,
// with the reading that is expected of it after "=>", and after "!" the field
// that is wrong. "+crc" and "+e2e N" protect the value.
func dialogue(t *testing.T, d *Decoder, service uint16, script string) {
	t.Helper()
	now := int64(1772521200e9)
	for n, line := range strings.Split(script, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "wait "); ok {
			var minutes int64
			fmt.Sscan(rest, &minutes)
			now += minutes * 60e9
			continue
		}
		said, want, _ := strings.Cut(line, "=>")
		want, wrong, _ := strings.Cut(want, "!")
		words := strings.Fields(said)
		value := []byte{}
		for i := 2; i < len(words); i++ {
			switch words[i] {
			case "+crc":
				value = AppendCRC(value, 0)
			case "+e2e":
				var counter uint8
				fmt.Sscan(words[i+1], &counter)
				value = AppendE2E(value, 0, counter)
				i++
			default:
				value = append(value, unhex(t, words[i])...)
			}
		}
		u, err := ParseUUID(words[1])
		if err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		op := map[string]Op{"w": Write, "c": WriteCommand, "r": Read, "n": Notify, "i": Indicate}[words[0]]
		a := Access{Op: op, Service: UUID16(service), Characteristic: u, Confidence: device.High, Value: value, Time: now}
		if service == 0 {
			a.Service = UUID{}
		}
		var r Reading
		err = d.Decode(&a, &r)
		if got := tell(&r); got != strings.TrimSpace(want) {
			t.Errorf("line %d: %s\n got %s\nwant %s", n, said, got, strings.TrimSpace(want))
		}
		var syntax *wire.SyntaxError
		switch wrong = strings.TrimSpace(wrong); {
		case wrong == "" && err != nil:
			t.Errorf("line %d: %s: %v", n, said, err)
		case wrong != "" && (!errors.As(err, &syntax) || fmt.Sprintf("%s at %d", syntax.Field, syntax.Off) != wrong):
			t.Errorf("line %d: %s: error %v, want %s", n, said, err, wrong)
		}
	}
}

func TestMeasurements(t *testing.T) {
	dialogue(t, new(Decoder), svcHeartRate, `
		n 2A37 00 48                     => measurement "Heart Rate Measurement" fields 01 records 1
		n 2A37 1e 48 d204 4003 2003      => measurement "Heart Rate Measurement" fields 01 records 1
		n 2A37 01 2d01                   => measurement "Heart Rate Measurement" fields 01 records 1
		n 2A37                           => measurement "Heart Rate Measurement" fields 01 records 1 ! Flags at 0
		n 2A37 00                        => measurement "Heart Rate Measurement" fields 01 records 1 ! Heart Rate Measurement Value at 1
		n 2A37 00 4800                   => measurement "Heart Rate Measurement" fields 01 records 1 ! Value at 2
		n 2A37 10 48                     => measurement "Heart Rate Measurement" fields 01 records 1 ! RR-Interval at 2
		n 2A37 10 48 4003 20             => measurement "Heart Rate Measurement" fields 01 records 1 ! RR-Interval at 2
		r 2A38 01                        => setting "Body Sensor Location"
		w 2A39 01                        => setting "Heart Rate Control Point"
		w 2A39 02                        => setting "Heart Rate Control Point" ! Heart Rate Control Point at 0
	`)
	dialogue(t, new(Decoder), svcGlucose, `
		n 2A18 00 0700 ea070303070405                 => measurement "Glucose Measurement" fields 01 records 1
		n 2A18 1b 0700 ea070303070405 c4ff 7cb0 21 2100 => measurement "Glucose Measurement" fields 01 records 1
		n 2A18 00 0700 ea070d03070405                 => measurement "Glucose Measurement" fields 01 records 1 ! Date Time at 3
		n 2A18 00 0700 ea070320070405                 => measurement "Glucose Measurement" fields 01 records 1 ! Date Time at 3
		n 2A18 00 0700 ea070303180405                 => measurement "Glucose Measurement" fields 01 records 1 ! Date Time at 3
		n 2A18 00 0700 ea0703030700                   => measurement "Glucose Measurement" fields 01 records 1 ! Seconds at 9
		n 2A34 ff 0700 00 01 28b0 02 13 1e00 32 01 0a90 41f0 => measurement "Glucose Measurement Context" fields 01 records 1
		n 2A34 40 0700                                => measurement "Glucose Measurement Context" fields 01 records 1 ! HbA1c at 3
		r 2A51 0100                                   => setting "Glucose Feature"
		w 2A52 01 01                                  => command "Report Stored Records" read-telemetry (reads)
		w 2A52 01 03 01 0700                          => command "Report Stored Records" read-telemetry (reads)
		w 2A52 01 04 02 ea070303070405 ea070304070405 => command "Report Stored Records" read-telemetry (reads)
		w 2A52 02 01                                  => command "Delete Stored Records" delete-records (masks)
		w 2A52 03 00                                  => command "Abort Operation" read-telemetry (reads)
		w 2A52 04 01                                  => command "Report Number of Stored Records" read-telemetry (reads)
		i 2A52 05 00 0700                             => response "Number of Stored Records Response" read-telemetry succeeded 00
		i 2A52 06 00 02 01                            => response "Response Code" delete-records succeeded 01
		i 2A52 06 00 02 06                            => response "Response Code" delete-records failed 06
		w 2A52 02 03 03 0700                          => command "Delete Stored Records" delete-records (masks) ! Filter Type at 2
		w 2A52 02                                     => command "Delete Stored Records" delete-records (masks) ! Operator at 1
		w 2A52 02 07                                  => command "Delete Stored Records" delete-records (masks) ! Operator at 1
		w 2A52 09 01                                  => command "Record Access Control Point" ! Op Code at 0
	`)
	dialogue(t, new(Decoder), 0, `
		i 2A1C 06 6c0100ff ea070303070405 02          => measurement "Temperature Measurement" fields 01 records 1
		n 2A1E 00 6c0100ff                            => measurement "Intermediate Temperature" fields 01 records 1
		i 2A1C 00 6c0100                              => measurement "Temperature Measurement" fields 01 records 1 ! Temperature Measurement Value at 1
		w 2A21 0000                                   => setting "Measurement Interval"
		i 2A35 1e 7800 5000 5d00 ea070303070405 4800 03 2100 => measurement "Blood Pressure Measurement" fields 01 records 1
		n 2A36 00 7800 ff07 ff07                      => measurement "Intermediate Cuff Pressure" fields 01 records 1
		i 2A35 00 7800 5000                           => measurement "Blood Pressure Measurement" fields 01 records 1 ! Mean Arterial Pressure at 5
		i 2B35 00 7800                                => measurement "Enhanced Intermediate Cuff Pressure" fields 01
		i 2A5E 0f 6100 3c00 ea070303070405 2000 050000 0af0 => measurement "PLX Spot-Check Measurement" fields 01 records 1
		n 2A5F 1f 6100 3c00 6000 3d00 5f00 3e00 2000 050000 0af0 => measurement "PLX Continuous Measurement" fields 01 records 1
		n 2A5F 01 6100 3c00 6000                      => measurement "PLX Continuous Measurement" fields 01 records 1 ! SpO2PR-Fast PR at 7
		r 2A60 0300 ffff ffffff                       => setting "PLX Features"
		i 2A9D 0e 3c3c ea070303070405 02 e100 a206    => measurement "Weight Measurement" fields 01 records 1
		i 2A9C fe0f c800 ea070303070405 02 d01b 9001 4c1d 581b 6419 e803 a00f 3c3c a206 => measurement "Body Composition Measurement" fields 01 records 1
		i 2A9C 0008 c800                              => measurement "Body Composition Measurement" fields 01 records 1 ! Height at 4
		r 2A9B 00000000                               => setting "Body Composition Feature"
		n 2B3C 00 01 02                               => measurement "General Activity Instantaneous Data" fields 01
		w 2B43 01                                     => setting "Physical Activity Monitor Control Point"
		n 2A19 63                                     => status "Battery Level"
		n 2A19 65                                     => status "Battery Level" ! Battery Level at 0
		r 2A2B ea070303070405 02 00 00                => status "Current Time"
		w 2A2B ea070303070405 02 00 01                => command "Current Time" set-clock (steers)
		w 2A2B ea070303070405                         => command "Current Time" set-clock (steers) ! Day of Week, Fractions256, Adjust Reason at 7
		n 2AFF 00                                     =>
	`)
}

func TestIdentity(t *testing.T) {
	long := strings.Repeat("41", 80)
	dialogue(t, new(Decoder), 0, strings.ReplaceAll(`
		r 2A29 4f6b617069204865616c7468 => identity "Manufacturer Name String" "Okapi Health"
		r 2A24 446f7365204f6e65         => identity "Model Number String" "Dose One"
		r 2A26 312e3900                 => identity "Firmware Revision String" "1.9"
		r 2A27 LONG                     => identity "Hardware Revision String" "`+strings.Repeat("A", 64)+`"
		r 2A28 00                       => identity "Software Revision String" ""
		r 2A25 3132333435               => identity "Serial Number String" fields 40 serial
		r 2A23 0100000000005e00         => identity "System ID" fields 40 system-id
		r 2BFF 00                       => identity "UDI for Medical Devices" fields 40 udi
		r 2A00 42656e                   => identity "Device Name" name
		r 2A8A 42656e                   => identity "First Name" fields 04
		w 2A90 4f6b61666f72             => identity "Last Name" fields 04
		r 2A87 40                       => identity "Email Address" fields 20
		r 2A85 c107 03 03               => identity "Date of Birth" fields 08
		r 2A85 c107                     => identity "Date of Birth" fields 08 ! Date of Birth at 0
		r 2A80 2d                       => identity "Age" fields 08
		r 2A8C 00                       => identity "Gender" fields 10
		r 2A8E a206                     => measurement "Height" fields 01 records 1
		w 2A9F 01 d204                  => setting "Register New User" fields 80
		w 2A9F 02 01 d204               => setting "Consent" fields 80
		w 2A9F 03                       => command "Delete User Data" delete-records (masks)
		w 2A9F 04                       => command "User Control Point" ! Op Code at 0
		i 2A9F 20 01 01 02              => response "Response Code" succeeded 01
		i 2A9F 20 03 05                 => response "Response Code" delete-records failed 05
		i 2A9F 21                       => response "Response Code" failed 00 ! Op Code at 0
		r 2B2D 00                       => identity "Emergency ID" fields 40
		w 2AA4 03                       => command "Delete bond of requesting device (LE)" pair (trusts)
		w 2AA4 06 31323334              => command "Delete all bonds on server (LE)" fields 80 pair (trusts)
		w 2AA4 0a                       => command "Bond Management Control Point" pair (trusts) ! Op Code at 0
	`, "LONG", long))
}

func TestVendors(t *testing.T) {
	for _, tt := range []struct{ service, script string }{
		{"FDFB", `
			w 7B83FFFC-9F77-4E5C-8064-AAE2C24838B9 010203 => command "Tandem control" opaque
			n 7B83FFFC-9F77-4E5C-8064-AAE2C24838B9 010203 => response "Tandem control" opaque
			n 7B83FFF6-9F77-4E5C-8064-AAE2C24838B9 010203 => measurement "Tandem status" fields 01 opaque
			w 7B83FFF9-9F77-4E5C-8064-AAE2C24838B9 010203 => "Tandem authorization" opaque
			w 7B83FFFF-9F77-4E5C-8064-AAE2C24838B9 010203 => "Tandem pump" opaque
		`},
		{"6E400001-B5A3-F393-E0A9-E50E24DCCA9E", `
			c 6E400002-B5A3-F393-E0A9-E50E24DCCA9E 4b1100330019 => "Nordic UART RX" opaque
		`},
		{"00000800-0000-1000-0000-009132591325", `
			w 00000801-0000-1000-0000-009132591325 01 => command "Medtronic firmware update" install (trusts) opaque
		`},
		{"FE59", `
			w 8EC90003-F315-4F60-9FB8-838830DAEA50 01     => command "DFU Enter Bootloader" install (trusts)
			w 8EC90001-F315-4F60-9FB8-838830DAEA50 01 02  => command "DFU Create" install (trusts)
			c 8EC90002-F315-4F60-9FB8-838830DAEA50 0102   => command "DFU Packet" install (trusts)
			n 8EC90001-F315-4F60-9FB8-838830DAEA50 60 04 01 => response "DFU Control Point" install succeeded 01
			n 8EC90001-F315-4F60-9FB8-838830DAEA50 60 04 05 => response "DFU Control Point" install failed 05
		`},
		{"1D14D6EE-FD63-4FA1-BFA4-8F47B42119F0", `
			w F7BF3564-FB6D-4E53-88A4-5E37E0326063 00 => command "Silicon Labs OTA" install (trusts)
			n F7BF3564-FB6D-4E53-88A4-5E37E0326063 00 => "Silicon Labs OTA"
		`},
	} {
		u, err := ParseUUID(tt.service)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(tt.script) {
			said, want, ok := strings.Cut(strings.TrimSpace(line), "=>")
			if !ok {
				continue
			}
			words := strings.Fields(said)
			c, err := ParseUUID(words[1])
			if err != nil {
				t.Fatal(err)
			}
			a := Access{Op: map[string]Op{"w": Write, "c": WriteCommand, "n": Notify}[words[0]], Service: u, Characteristic: c, Value: unhex(t, strings.Join(words[2:], ""))}
			var r Reading
			if err := new(Decoder).Decode(&a, &r); err != nil {
				t.Error(err)
			}
			if got := strings.TrimSpace(tell(&r)); got != strings.TrimSpace(want) {
				t.Errorf("%s\n got %s\nwant %s", said, got, want)
			}
		}
	}
}

func TestNotDecoded(t *testing.T) {
	for _, a := range []Access{
		{},
		{Op: Discover, Characteristic: UUID16(chrHeartRate)},
		{Op: Refused, Characteristic: UUID16(chrIDDCommand), Error: 5},
		{Op: Write, Characteristic: UUID16(chrIDDCommand), Descriptor: CCCD, Value: []byte{2, 0}},
		{Op: Write, Value: []byte{0x66, 0x0f}},
		{Op: Write, Service: UUID{1}, Characteristic: UUID{2}, Value: []byte{0x66, 0x0f}},
	} {
		var r Reading
		if err := new(Decoder).Decode(&a, &r); err != nil || r.Kind != NoKind {
			t.Errorf("%+v: %v, %v", a, r.Kind, err)
		}
	}
	// What is not whole is what its type says.
	for c, want := range map[uint16]string{
		chrHeartRate: `measurement "Heart Rate Measurement" fields 01`, chrIDDStatus: `measurement "IDD Status" fields 01`, chrBatteryLevel: `"Battery Level"`,
	} {
		var r Reading
		a := Access{Op: Read, Characteristic: UUID16(c), Value: []byte{0}, Partial: true}
		if err := new(Decoder).Decode(&a, &r); err != nil || strings.TrimSpace(tell(&r)) != want {
			t.Errorf("%s, %v", tell(&r), err)
		}
	}
	var r Reading
	a := Access{Op: Write, Characteristic: UUID16(chrIDDCommand), Value: []byte{0}, Partial: true}
	if err := new(Decoder).Decode(&a, &r); err != nil || r.Kind != Command || r.Command.Therapy != device.InsulinInfusion {
		t.Errorf("%v %v", r, err)
	}
}

// back parses, appends and parses again. The receiver of both methods is v.
func back[T comparable](t *testing.T, b []byte, parse func([]byte) error, appendTo func([]byte) []byte, v *T) {
	t.Helper()
	if parse(b) != nil {
		return
	}
	first := *v
	out := appendTo([]byte("kept"))
	if string(out[:4]) != "kept" {
		t.Fatal("what was there was changed")
	}
	if err := parse(out[4:]); err != nil || *v != first {
		t.Fatalf("%+v came back as %+v, %v", first, *v, err)
	}
}

// decodeTwice decodes a value as each operation, twice, and holds what may be
// said of any value.
func decodeTwice(t *testing.T, characteristic uint16, b []byte) {
	t.Helper()
	for _, op := range []Op{Read, Write, WriteCommand, Notify, Indicate} {
		var told [2]string
		for i := range told {
			var d Decoder
			var r Reading
			a := Access{Op: op, Characteristic: UUID16(characteristic), Value: b}
			err := d.Decode(&a, &r)
			var syntax *wire.SyntaxError
			if err != nil && (!errors.As(err, &syntax) || syntax.Off < 0 || syntax.Off > len(b)) {
				t.Fatalf("%v", err)
			}
			if r.Kind == Command && a.fromServer() {
				t.Fatal("a server commands")
			}
			if r.Kind == Response && !a.fromServer() {
				t.Fatal("a client answers")
			}
			told[i] = tell(&r) + fmt.Sprint(err)
			_ = d.Decode(&a, &r) // with what is remembered now
		}
		if told[0] != told[1] {
			t.Fatalf("%s and %s", told[0], told[1])
		}
	}
}

// No name, number or code of a person leaves in a reading or an error, whole
// or cut.
func TestNothingLeaves(t *testing.T) {
	const patient = "Ben Okafor"
	for i := range characteristics {
		for cut := 1; cut <= len(patient); cut += 3 {
			for _, op := range []Op{Read, Write, Indicate} {
				var r Reading
				a := Access{Op: op, Service: characteristics[i].Service, Characteristic: characteristics[i].UUID, Value: []byte(patient[:cut])}
				err := new(Decoder).Decode(&a, &r)
				id := &r.Identity
				public := len(id.Manufacturer)+len(id.Model)+len(id.Firmware)+len(id.Hardware)+len(id.Software) > 0
				name := characteristics[i].Name
				if public != (strings.HasPrefix(name, "Manufacturer") || strings.HasPrefix(name, "Model") || strings.HasSuffix(name, "Revision String")) {
					t.Errorf("%s: a text leaves", name)
				}
				if strings.Contains(fmt.Sprintf("%+v %v", r, err), patient[:min(cut, 4)]) && cut > 1 {
					t.Errorf("%s: %+v, %v", name, r, err)
				}
			}
		}
	}
}
