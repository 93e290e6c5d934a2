// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"errors"
	"testing"

	"github.com/myelin-health/myelin/device"
)

// TestCompose: what a frame is made of a command asks for that command, and for nothing
// else; what a dialect cannot say is not said by halves.
func TestCompose(t *testing.T) {
	dialects := map[string]*Dialect{}
	for _, d := range Samples() {
		dialects[d.Name] = d
	}
	for _, test := range []struct {
		dialect      string
		verb         device.Verb
		therapy      device.Therapy
		value, limit string
		opcode       string // "" is an error
	}{
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "4 [iU]", "", "bolus"},
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "4.01 [iU]", "", ""},   // no step
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "2000 [iU]", "", ""},   // no room
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "-1 [iU]", "", ""},     //
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "4 mg", "", ""},        // another thing
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "4 [iU]", "1 h", ""},   // over time
		{"okapi-classic", device.DeliverBolus, device.InsulinInfusion, "", "", ""},            // of nothing
		{"okapi-classic", device.CancelBolus, device.InsulinInfusion, "", "", "cancel-bolus"}, //
		{"okapi-classic", device.Suspend, device.InsulinInfusion, "", "30 min", "delivery"},
		{"okapi-classic", device.Suspend, device.InsulinInfusion, "", "", "delivery"},
		{"okapi-classic", device.Suspend, device.InsulinInfusion, "", "0 min", ""}, // which would mean for ever
		{"okapi-classic", device.Resume, device.InsulinInfusion, "", "", "delivery"},
		{"okapi-classic", device.SetTemporaryBasal, device.InsulinInfusion, "1.5 [iU]/h", "30 min", "temporary-basal"},
		{"okapi-classic", device.SetTemporaryBasal, device.InsulinInfusion, "1.5 [iU]/h", "", ""},
		{"okapi-classic", device.SetAlarm, device.InsulinInfusion, "", "", ""}, // below what?
		{"okapi-classic", device.ReadSettings, device.InsulinInfusion, "", "", "read-status"},
		{"okapi-classic", device.ReadTelemetry, device.NoTherapy, "", "", "read-history"},
		{"okapi-classic", device.Wake, device.NoTherapy, "", "", "wake"},
		{"okapi-classic", device.DeliverShock, device.Defibrillation, "", "", ""},
		{"halden-mics", device.EmergencyPreset, device.Pacing, "", "", "emergency-pacing"},
		{"halden-mics", device.SetTherapies, device.Defibrillation, "0 1", "", "therapies"},
		{"halden-mics", device.SetTherapies, device.Defibrillation, "2 1", "", ""},
		{"halden-mics", device.SetTherapies, device.Pacing, "0 1", "", ""},
		{"halden-mics", device.SetPacingMode, device.Pacing, "", "", ""},   // which one?
		{"halden-mics", device.Install, device.Defibrillation, "", "", ""}, // what, and where?
		{"halden-wand", device.SetTherapies, device.NoTherapy, "1 1", "", "therapies"},
		{"tessel-calm", device.SetAmplitude, device.Neurostimulation, "2.5 V", "", "amplitude"},
		{"tessel-calm", device.SetAmplitude, device.Neurostimulation, "40.95 V", "", "amplitude"},
		{"tessel-calm", device.SetAmplitude, device.Neurostimulation, "40.96 V", "", ""}, // no room
		{"tessel-calm", device.StimulationOff, device.Neurostimulation, "", "", "stimulation"},
	} {
		c := device.Command{Verb: test.verb, Therapy: test.therapy}
		for text, q := range map[string]*device.Quantity{test.value: &c.Value, test.limit: &c.Limit} {
			if text == "" {
				continue
			}
			var err error
			if *q, err = device.ParseQuantity(text); err != nil {
				t.Fatal(text, err)
			}
		}
		d := dialects[test.dialect]
		m, err := d.Compose(&c)
		if err != nil {
			if test.opcode != "" {
				t.Errorf("%s %v %s %s: %v", test.dialect, test.verb, test.value, test.limit, err)
			}
			continue
		}
		m.SetAddress(0x123456, 7)
		m.SetCounter(300)
		var back Message
		if err := d.Parse(d.Append(nil, m), &back); err != nil {
			t.Fatal(err)
		}
		got := back.Command
		value, ok := got.Value.Cmp(c.Value)
		limit, ok2 := got.Limit.Cmp(c.Limit)
		same := (ok && value == 0 || got.Value == c.Value) && (ok2 && limit == 0 || got.Limit == c.Limit)
		if back.Opcode.Name != test.opcode || !same || back.Device.Present && back.Device.Value != 0x123456 || test.verb != device.Wake && got.Verb != c.Verb {
			t.Errorf("%s %v %s %s: %s asks for %+v", test.dialect, test.verb, test.value, test.limit, back.Opcode.Name, got)
		}
	}
	if _, err := dialects["okapi-classic"].Compose(&device.Command{Verb: device.SetClosedLoop}); !errors.Is(err, ErrNoOpcode) {
		t.Error(err)
	}
}
