// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"bytes"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
)

// Values of handles that nothing is known of.
func TestShapes(t *testing.T) {
	k := newTalk(t, nil)
	k.play(`
		# Insulin delivery is told by one value.
		c 12 4000 4b11 00 33 28f0 0000 0000
		> write 0040 0x183A/0x2B25 4b11003328f000000000 low
		c 12 4000 5a0f 33
		> write 0040 0x183A/0x2B25 5a0f33 low
		p 1d 4000 550f 4b11 0f
		> indicate 0040 0x183A/0x2B25 550f4b110f low
		c 12 4100 a603 55 33
		> write 0041 0x183A/0x2B24 a6035533 low
		# but not where it is an opcode alone, or a bit is wrong.
		c 12 4000 1111
		> write 0040 / 1111
		c 12 4000 4b11 00 32 28f0 0000 0000
		> write 0040 / 4b11003228f000000000
		c 12 4000 4b11 00 33 28f0 0000 000000
		> write 0040 / 4b11003328f00000000000

		# A heart rate looks like much else.
		p 1b 5000 00 48
		> notify 0050 / 0048
		p 1b 5000 00 49
		> notify 0050 / 0049
		p 1b 5000 00 48
		> notify 0050 / 0048
		p 1b 5000 00 48
		> notify 0050 / 0048
		p 1b 5000 00 47
		> notify 0050 0x180D/0x2A37 0047 low
		p 1b 5000 00 48
		> notify 0050 0x180D/0x2A37 0048 low
		p 1b 5000 06 00 7600 0500     # now it looks like something else
		> notify 0050 / 060076000500
		p 1b 5000 00 48
		> notify 0050 / 0048
		p 1b 5100 00 10
		> notify 0051 / 0010
		p 1b 5100 48
		> notify 0051 / 48
	`)
	protected := AppendE2E(unhex(t, "1111"), 0, 1)
	for _, tt := range []struct {
		side  ble.Side
		pdu   []byte
		shape uint16
	}{
		{ble.Central, append(unhex(t, "12 6000"), protected...), chrIDDCommand},
		{ble.Central, append(unhex(t, "12 6100"), AppendCRC(unhex(t, "0d 3700"), 0)...), chrCGMControl},
		{ble.Peripheral, append(unhex(t, "1d 6200"), AppendE2E(unhex(t, "55 96 90e1 01"), 0, 9)...), chrIDDStatus},
		{ble.Peripheral, append(unhex(t, "1d 6000"), AppendE2E(unhex(t, "7711 0900"), 0, 9)...), chrIDDCommand},
		{ble.Peripheral, append(unhex(t, "1b 6300"), (&CGMMeasurement{Glucose: 118, HasCRC: true}).Append(nil)...), chrCGMMeasurement},
		{ble.Peripheral, unhex(t, "1d 6200 55 96 90e1 01"), 0}, // without a check value not at once
		{ble.Peripheral, unhex(t, "1b 6300 06 00 7600 0500"), 0},
	} {
		var got UUID
		k.tracker.say = func(a *Access) {
			got = a.Characteristic
			if (a.Confidence == device.Low) != (tt.shape != 0) {
				t.Errorf("%x: confidence %v", tt.pdu, a.Confidence)
			}
		}
		if err := k.tracker.PDU(tt.side, tt.pdu, 1); err != nil {
			t.Error(err)
		}
		if want := UUID16(tt.shape); tt.shape != 0 && got != want || tt.shape == 0 && got != (UUID{}) {
			t.Errorf("%x: %v, want %v", tt.pdu, got, want)
		}
	}
}

// Bytes of a mouse, a lamp and a file are not taken for medicine.
func TestNoShapes(t *testing.T) {
	k := newTalk(t, nil)
	k.tracker.say = func(a *Access) {
		if a.Confidence != device.NoConfidence {
			t.Errorf("%x looks like %v", a.Value, a.Characteristic)
		}
	}
	for i := range 200 {
		for _, value := range [][]byte{
			{0, byte(i), byte(255 - i), 0},
			{byte(i)},
			{1, byte(i), 2, byte(i * 7)},
			bytes.Repeat([]byte{byte(i)}, 20),
			[]byte("GET /index"),
		} {
			for _, op := range []ble.ATTOpcode{ble.HandleValueNotification, ble.HandleValueIndication, ble.WriteRequest, ble.WriteCommand} {
				side := ble.Peripheral
				if op.FromClient() {
					side = ble.Central
				}
				if err := k.tracker.PDU(side, append([]byte{byte(op), byte(len(value)), 1}, value...), 1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
