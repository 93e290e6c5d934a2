// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
)

func TestCGM(t *testing.T) {
	// No CRC: the feature says so.
	dialogue(t, new(Decoder), svcCGM, `
		r 2AA8 000000 59 ffff             => setting "CGM Feature"
		r 2AA8 001000 59 ffff             => setting "CGM Feature" ! E2E-CRC at 4
		r 2AA8 000000 59 0000             => setting "CGM Feature" ! E2E-CRC at 4
		n 2AA7 06 00 7600 0500            => measurement "CGM Measurement" fields 01 records 1 report-glucose
		n 2AA7 06 00 7600 0500 07 20 7600 0a00 02 => measurement "CGM Measurement" fields 01 records 2 report-glucose
		n 2AA7 0d e3 7600 0500 01 02 04 f4ff 6200 => measurement "CGM Measurement" fields 01 records 1 report-glucose
		n 2AA7 05 00 7600 05              => measurement "CGM Measurement" fields 01 report-glucose ! Size at 0
		n 2AA7 07 00 7600 0500            => measurement "CGM Measurement" fields 01 report-glucose ! Size at 0
		n 2AA7 06 00 7600 0500 06         => measurement "CGM Measurement" fields 01 records 1 report-glucose ! Size at 6
		n 2AA7 07 00 7600 0500 00         => measurement "CGM Measurement" fields 01 report-glucose ! Size at 6
		n 2AA7 06 80 7600 0500            => measurement "CGM Measurement" fields 01 report-glucose ! Status at 6
		r 2AA9 f500 020408                => measurement "CGM Status" fields 01 records 1
		r 2AAA ea070303070000 04 00       => status "CGM Session Start Time"
		w 2AAA ea070303070000 04 00       => command "CGM Session Start Time" set-clock (steers)
		r 2AAB 5001                       => status "CGM Session Run Time"
		r 2AAB 5001 1234                  => status "CGM Session Run Time" ! Value at 2

		# Nothing is known: the worse effect holds.
		w 2AAC 01 05     => command "Set CGM Communication Interval" fields 02 set-alarm (masks) 5 min
		i 2AAC 1c 01 01  => response "Response Code" set-alarm succeeded 01
		w 2AAC 01 05     => command "Set CGM Communication Interval" fields 02 set-alarm 5 min now 5 min
		i 2AAC 1c 01 01  => response "Response Code" set-alarm succeeded 01
		w 2AAC 01 78     => command "Set CGM Communication Interval" fields 02 set-alarm (masks) 120 min now 5 min
		i 2AAC 1c 01 05  => response "Response Code" set-alarm failed 05
		w 2AAC 01 ff     => command "Set CGM Communication Interval" fields 02 set-alarm 1 min now 5 min
		w 2AAC 01 00     => command "Set CGM Communication Interval" fields 02 set-alarm (masks) 0 min now 5 min
		i 2AAC 1c 01 01  => response "Response Code" set-alarm succeeded 01
		w 2AAC 01 05     => command "Set CGM Communication Interval" fields 02 set-alarm 5 min now 1440 min
		w 2AAC 02        => command "Get CGM Communication Interval" read-settings (reads)
		i 2AAC 03 03     => response "CGM Communication Interval Response" read-settings succeeded 00
		w 2AAC 01 05     => command "Set CGM Communication Interval" fields 02 set-alarm (masks) 5 min now 3 min

		# A calibration is a measurement: its value is not told.
		w 2AAC 04 6800 f000 11 c003 0300 00 => command "Set Glucose Calibration Value" fields 01 calibrate (steers)
		w 2AAC 04 6800 f000 11 c003 0300    => command "Set Glucose Calibration Value" fields 01 calibrate (steers) ! Calibration Status at 10
		w 2AAC 05 0300                      => command "Get Glucose Calibration Value" read-settings (reads)
		i 2AAC 06 6800 f000 11 c003 0300 00 => response "Glucose Calibration Value Response" fields 01 read-settings succeeded 00

		w 2AAC 19        => command "Reset Device Specific Alert" fields 02 acknowledge-alarm (masks)
		w 2AAC 1a        => command "Start the Session" fields 02 resume (restores)
		w 2AAC 1b        => command "Stop the Session" fields 02 set-alarm (masks) 0 1
		i 2AAC 1c 1b 01  => response "Response Code" set-alarm succeeded 01
		w 2AAC 1b 00     => command "Stop the Session" fields 02 set-alarm (masks) 0 1 ! Value at 1
		w 2AAC 00        => command "CGM Specific Ops Control Point" ! Op Code at 0
		w 2AAC 1d        => command "CGM Specific Ops Control Point" ! Op Code at 0
		w 2AAC 0f 4600   => command "Hypo Alert Level Response" ! Op Code at 0
		i 2AAC 0d 4600   => response "Set Hypo Alert Level" failed 00 ! Op Code at 0
		w 2AAC 8c 01     => command "vendor's" opaque
		i 2AAC 8c 01     => response "vendor's" opaque
	`)
}

// Levels are said as the width of the silent band: less is safer on both sides.
func TestCGMAlerts(t *testing.T) {
	dialogue(t, new(Decoder), svcCGM, `
		w 2AAC 0e       => command "Get Hypo Alert Level" read-settings (reads)
		i 2AAC 0f 4600  => response "Hypo Alert Level Response" read-settings succeeded 00
		w 2AAC 0d 5000  => command "Set Hypo Alert Level" fields 02 set-alarm 320 mg/dL now 330 mg/dL
		i 2AAC 1c 0d 05 => response "Response Code" set-alarm failed 05
		w 2AAC 0d 3700  => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 345 mg/dL now 330 mg/dL
		i 2AAC 1c 0d 01 => response "Response Code" set-alarm succeeded 01

		# Now the other side is known, too.
		w 2AAC 11       => command "Get Hyper Alert Level" read-settings (reads)
		i 2AAC 12 fa00  => response "Hyper Alert Level Response" read-settings succeeded 00
		w 2AAC 0d 2800  => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 210 mg/dL now 195 mg/dL
		w 2AAC 10 2c01  => command "Set Hyper Alert Level" fields 02 set-alarm (masks) 245 mg/dL now 195 mg/dL
		w 2AAC 10 b400  => command "Set Hyper Alert Level" fields 02 set-alarm 125 mg/dL now 195 mg/dL
		w 2AAC 10 fa00  => command "Set Hyper Alert Level" fields 02 set-alarm 195 mg/dL now 195 mg/dL
		w 2AAC 0d 37f2  => command "Set Hypo Alert Level" fields 02 set-alarm 193.3 mg/dL now 195 mg/dL

		# Off is as wide as it gets, and comes back from there.
		w 2AAC 0d ff07  => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 0 mg/dL now 195 mg/dL
		i 2AAC 1c 0d 01 => response "Response Code" set-alarm succeeded 01
		w 2AAC 0d 4600  => command "Set Hypo Alert Level" fields 02 set-alarm 180 mg/dL now 400 mg/dL

		w 2AAC 07 b400  => command "Set Patient High Alert Level" fields 02 set-alarm (masks) 140 mg/dL
		i 2AAC 1c 07 01 => response "Response Code" set-alarm succeeded 01
		w 2AAC 0a 4600  => command "Set Patient Low Alert Level" fields 02 set-alarm (masks) 110 mg/dL
		i 2AAC 1c 0a 01 => response "Response Code" set-alarm succeeded 01
		w 2AAC 07 c800  => command "Set Patient High Alert Level" fields 02 set-alarm (masks) 130 mg/dL now 110 mg/dL
		w 2AAC 0a 5000  => command "Set Patient Low Alert Level" fields 02 set-alarm 100 mg/dL now 110 mg/dL

		# Rates: a change in one minute, of either sign.
		w 2AAC 13 feff  => command "Set Rate of Decrease Alert Level" fields 02 set-alarm (masks) 0.2 mg/dL
		i 2AAC 1c 13 01 => response "Response Code" set-alarm succeeded 01
		w 2AAC 13 fdff  => command "Set Rate of Decrease Alert Level" fields 02 set-alarm (masks) 0.3 mg/dL now 0.2 mg/dL
		i 2AAC 18 0300  => response "Rate of Increase Alert Level Response" read-settings succeeded 00
		w 2AAC 16 0200  => command "Set Rate of Increase Alert Level" fields 02 set-alarm 2 mg/dL now 3 mg/dL
		w 2AAC 17       => command "Get Rate of Increase Alert Level" read-settings (reads)
		w 2AAC 16       => command "Set Rate of Increase Alert Level" fields 02 set-alarm (masks) ! Alert Level at 1

		# An answer to something else, or that nobody asked for, settles nothing.
		w 2AAC 16 0900  => command "Set Rate of Increase Alert Level" fields 02 set-alarm (masks) 9 mg/dL now 3 mg/dL
		i 2AAC 1c 13 01 => response "Response Code" set-alarm succeeded 01
		i 2AAC 1c 16 01 => response "Response Code" set-alarm succeeded 01
		w 2AAC 16 0200  => command "Set Rate of Increase Alert Level" fields 02 set-alarm 2 mg/dL now 3 mg/dL
	`)
}

// What is set is told as well, as people set it.
func TestCGMLevels(t *testing.T) {
	d := new(Decoder)
	answered := func(op Op, value string) (r Reading) {
		a := Access{Op: op, Service: UUID16(svcCGM), Characteristic: UUID16(chrCGMControl), Confidence: device.High, Value: unhex(t, value)}
		if op == Write {
			a.From, a.Server = ble.Central, ble.Peripheral
		} else {
			a.From, a.Server = ble.Peripheral, ble.Peripheral
		}
		if err := d.Decode(&a, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, tt := range []struct{ set, level, now string }{
		{"07 b400", "180 mg/dL", ""},
		{"07 2c01", "300 mg/dL", "180 mg/dL"},
		{"07 ff07", "0 1", "300 mg/dL"},
		{"07 fa00", "250 mg/dL", "0 1"},
		{"08", "", ""},
	} {
		r := answered(Write, tt.set)
		if r.Level.String() != tt.level || r.LevelNow.String() != tt.now {
			t.Errorf("%s: from %q to %q, want from %q to %q", tt.set, r.LevelNow, r.Level, tt.now, tt.level)
		}
		answered(Indicate, "1c 07 01")
	}
}

func TestCGMProtected(t *testing.T) {
	d := new(Decoder)
	dialogue(t, d, svcCGM, `
		w 2AAC 0d 4600 +crc => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 330 mg/dL good
		r 2AA8 001000 59 +crc => setting "CGM Feature" good
		i 2AAC 1c 0d 01 +crc => response "Response Code" set-alarm succeeded 01 good
		w 2AAC 0d 3700 +crc => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 345 mg/dL now 330 mg/dL good
		w 2AAC 0d 3700 0000 => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 345 mg/dL now 330 mg/dL bad ! E2E-CRC at 3
		i 2AAC 1c 0d 01 +crc => response "Response Code" set-alarm succeeded 01 good
		w 2AAC 0d 3700 +crc => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 345 mg/dL now 330 mg/dL good
		n 2AA7 08 00 7600 0500 +crc => measurement "CGM Measurement" fields 01 records 1 report-glucose good
		n 2AA7 08 00 7600 0500 0000 => measurement "CGM Measurement" fields 01 report-glucose bad ! E2E-CRC at 6
		r 2AA9 f500 020408 +crc => measurement "CGM Status" fields 01 records 1 good
		r 2AA9 f500 020408 0000 => measurement "CGM Status" fields 01 records 1 bad ! E2E-CRC at 5
		w 2AAA ea070303070000 04 00 +crc => command "CGM Session Start Time" set-clock (steers) good
	`)
	d.Reconnect()
	dialogue(t, d, svcCGM, `
		i 2AAC 1c 0d 01 +crc => response "Response Code" set-alarm succeeded 01 good
		w 2AAC 0d 3700 +crc => command "Set Hypo Alert Level" fields 02 set-alarm (masks) 345 mg/dL now 330 mg/dL good
	`)
}

func TestCGMOps(t *testing.T) {
	for op := range CGMOp(0x1e) {
		if (op.String() != "") != (op >= CGMSetInterval && op <= CGMResponse) {
			t.Errorf("%02x: %q", uint8(op), op)
		}
		if op.FromServer() == (cgmVerb(op) != device.NoVerb) && op.String() != "" {
			t.Errorf("%v asks for %v", op, cgmVerb(op))
		}
	}
}

func FuzzCGM(f *testing.F) {
	for _, s := range samples() {
		if s.service == svcCGM {
			f.Add(s.characteristic, s.value)
		}
	}
	f.Fuzz(func(t *testing.T, n uint16, b []byte) {
		n = chrCGMMeasurement + n%6
		decodeTwice(t, n, b)
		var m CGMMeasurement
		if k, err := m.Parse(b); err == nil {
			var again CGMMeasurement
			out := m.Append(nil)
			if l, err := again.Parse(out); err != nil || again != m || l != len(out) || k != l {
				t.Fatalf("%+v came back as %+v, %v", m, again, err)
			}
		}
		var feature CGMFeature
		back(t, b, feature.Parse, feature.Append, &feature)
		var status CGMStatus
		back(t, b, status.Parse, status.Append, &status)
		var start CGMSessionStart
		back(t, b, start.Parse, start.Append, &start)
		var x CGMControl
		back(t, b, x.Parse, x.Append, &x)
	})
}
