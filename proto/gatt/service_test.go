// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"bytes"
	"errors"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

func TestUUID(t *testing.T) {
	for _, tt := range []struct{ in, wire, out string }{
		{"181F", "1f18", "0x181F"},
		{"0x2a37", "372a", "0x2A37"},
		{"0000180d-0000-1000-8000-00805f9b34fb", "0d18", "0x180D"}, // the long form of a short one
		{"6E400001-B5A3-F393-E0A9-E50E24DCCA9E", "9ecadc240ee5a9e093f3a3b50100406e", "6E400001-B5A3-F393-E0A9-E50E24DCCA9E"},
	} {
		u, err := ParseUUID(tt.in)
		if err != nil || u.String() != tt.out {
			t.Errorf("%s: %v, %v", tt.in, u, err)
		}
		le := u.AppendLE(nil)
		if !bytes.Equal(le, unhex(t, tt.wire)) || uuidLE(le) != u {
			t.Errorf("%s: sent as %x", tt.in, le)
		}
	}
	for _, s := range []string{
		"", "18", "0x", "0x18", "180G", "00180D", "0x180D0", "180D-", "0000180d00001000800000805f9b34fb",
		"0000180d-0000-1000-8000-00805f9b34f", "0000180d-0000-1000-8000-00805f9b34fbb", "0000180d-0000-1000-8000x00805f9b34fb",
	} {
		var syntax *wire.SyntaxError
		if u, err := ParseUUID(s); !errors.As(err, &syntax) || u != (UUID{}) {
			t.Errorf("%q: %v, %v", s, u, err)
		}
	}
	if (UUID{}).String() != "" {
		t.Error("none has a text")
	}
	if _, ok := (UUID{}).Short(); ok {
		t.Error("none has a number")
	}
	for n := range 20 {
		if u := uuidLE(make([]byte, n)); (u != UUID{}) != (n == 2) {
			t.Errorf("%d bytes: %v", n, u)
		}
	}
}

func TestTables(t *testing.T) {
	if len(serviceByUUID) != len(services) || len(characteristicByUUID) != len(characteristics) {
		t.Error("a UUID stands twice")
	}
	for i := range services {
		s := &services[i]
		switch {
		case s.UUID == (UUID{}) || s.Name == "":
			t.Errorf("row %d has no name", i)
		case s.Level != 0 && s.Source == "", s.Level < 0, s.Level > 4, s.IfBonded && s.Level == 0:
			t.Errorf("%s: level %d, asked by %q", s.Name, s.Level, s.Source)
		case s.Therapy.Info().Worn && !s.Worn:
			t.Errorf("%s: %v is worn", s.Name, s.Therapy)
		case s.Sealed && s.Level != 0:
			t.Errorf("%s: a vendor has no profile", s.Name)
		}
	}
	for i := range characteristics {
		c := &characteristics[i]
		_, ok := Service(c.Service)
		// Volume Control and the record access control point stand in services that are not in the table, or in several.
		if c.Name == "" || !ok && c.UUID != UUID16(0x2b7e) && c.UUID != UUID16(chrRecordAccess) {
			t.Errorf("%s: in service %v", c.Name, c.Service)
		}
	}
}

// What the profiles ask, from their documents: a row of the table that changes must change here, too.
func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		uuid     string
		therapy  device.Therapy
		level    int
		ifBonded bool
	}{
		{"1808", device.Monitoring, 2, false},
		{"180D", device.Monitoring, 2, true}, // an unbonded strap may run in clear
		{"1810", device.Monitoring, 2, false},
		{"1822", device.Monitoring, 2, false},
		{"181F", device.Monitoring, 3, false},
		{"183A", device.InsulinInfusion, 3, false},
		{"FDFB", device.InsulinInfusion, 0, false},
		{"1854", device.Hearing, 2, false},
	} {
		u, _ := ParseUUID(tt.uuid)
		s, ok := Service(u)
		if !ok || !s.Medical || s.Therapy != tt.therapy || s.Level != tt.level || s.IfBonded != tt.ifBonded {
			t.Errorf("%s: %+v", tt.uuid, s)
		}
	}
	if s, ok := Service(UUID16(0x180f)); !ok || s.Medical {
		t.Error("a battery is not medical")
	}
	for _, n := range []uint16{0xfee0, 0x0af0, 0x190a} {
		if s, ok := Service(UUID16(n)); !ok || s.Medical || !s.Worn {
			t.Errorf("%04x: %+v", n, s)
		}
	}
	if _, ok := Service(UUID16(0xfff0)); ok {
		t.Error("FFF0 is known: it is everybody's")
	}
}

func TestMarks(t *testing.T) {
	for _, tt := range []struct {
		uuid  string
		marks Marks
	}{
		{"2A18", MarkMeasurement},
		{"2A52", MarkTherapy},
		{"2AAC", MarkTherapy},
		{"2AAA", MarkTherapy},
		{"2B25", MarkTherapy},
		{"2B24", MarkMeasurement},
		{"2AA4", MarkTherapy},
		{"2A21", MarkConfiguration},
		{"2A39", MarkConfiguration},
		{"2A38", 0},
		{"7B83FFFC-9F77-4E5C-8064-AAE2C24838B9", MarkTherapy},
		{"00000106-0000-1000-0000-009132591325", MarkTherapy},
		{"F8083534-849E-531C-C594-30F1F86A4EA5", MarkTherapy | MarkMeasurement},
		{"0898177A-EF89-11E9-81B4-2A2AE2DBCCE4", MarkMeasurement},
		{"1A7E2441-E3ED-4464-8B7E-751E03D0DC5F", MarkTherapy},
	} {
		u, _ := ParseUUID(tt.uuid)
		if c, ok := Characteristic(u); !ok || c.Marks != tt.marks {
			t.Errorf("%s: %+v", tt.uuid, c)
		}
	}
}
