// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
)

// record plays a take and writes it to a file.
func record(t testing.TB, k Take, f Format) string {
	t.Helper()
	r, err := Play(Options{Device: k.Device, Scenario: k.Scenario, Form: k.Form, Layer: k.Layer})
	if err != nil {
		t.Fatal(err)
	}
	f.Decrypted = k.Decrypted
	return write(t, r, f)
}

func assessed(t testing.TB, name string) *report.Assessment {
	t.Helper()
	a, err := assess.Run(context.Background(), []string{name}, assess.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range a.Inputs {
		if in.Error != "" || in.Packets == 0 {
			t.Errorf("%s: %d packets, %s", in.Kind, in.Packets, in.Error)
		}
	}
	return a
}

func said(a *report.Assessment) string {
	var out string
	for i := range a.Findings {
		f := &a.Findings[i]
		out += fmt.Sprintf("\n  %s, %s, %s: %s", f.Kind, f.Harm, f.Confidence, f.Title)
		for _, s := range f.Sightings[:min(len(f.Sightings), 2)] {
			out += fmt.Sprintf("\n      packet %d: %s", s.Packet, s.Note)
		}
	}
	return out
}

// worn are the devices as an assessment has to know them.
var worn = map[string]device.Product{
	"pump":    {Manufacturer: "Okapi Health", Model: "Dose One", Version: "1.9", Class: "insulin pump", Harm: device.Critical},
	"icd":     {Manufacturer: "Halden Cardio", Model: "Rhythm S", Class: "pacemaker and defibrillator", Harm: device.Catastrophic},
	"wand":    {Manufacturer: "Halden Cardio", Model: "Rhythm A", Class: "defibrillator", Harm: device.Catastrophic},
	"stim":    {Manufacturer: "Tessel Neuro", Model: "Calm", Class: "neurostimulator", Harm: device.Serious},
	"classic": {Manufacturer: "Okapi Health", Model: "Dose Classic", Class: "insulin pump", Harm: device.Critical},
	"patch":   {Manufacturer: "Okapi Health", Model: "Dose Patch", Class: "patch pump", Harm: device.Critical},
	"meter":   {Manufacturer: "Okapi Health", Model: "Dose Meter", Version: "1.2", Class: "glucose meter", Harm: device.Serious},
	"scale":   {Manufacturer: "Velo Sport", Model: "Weigh In", Version: "1.1", Class: "weight scale", Harm: device.Serious},
	"reader":  {Manufacturer: "Halden Cardio", Model: "Reader S", Version: "2.2", Class: "heart rate sensor", Harm: device.Serious},
	"strap":   {Manufacturer: "Velo Sport", Model: "Pulse Line", Version: "2.4", Class: "heart rate sensor", Harm: device.Serious},
}

// TestRows assesses the recording of every row, and holds device and findings
// to the tables.
func TestRows(t *testing.T) {
	for i := range Rows {
		row := &Rows[i]
		t.Run(row.ID+" "+row.About, func(t *testing.T) {
			a := assessed(t, record(t, row.Take, Format{}))
			d := theDevice(t, a, row.Take)
			for _, kind := range row.Kinds {
				t.Run(kind.String(), func(t *testing.T) {
					i := slices.IndexFunc(a.Findings, func(f finding.Finding) bool {
						return f.Kind == kind && (f.Device == d.ID || f.Peer == d.Addresses[0].Value)
					})
					if i < 0 {
						t.Fatalf("not found; but:%s", said(a))
					}
					if f := &a.Findings[i]; finding.Kinds[kind].Reach == finding.ReachDevice && f.Harm < row.Harm {
						t.Errorf("harm %s, want %s", f.Harm, row.Harm)
					}
					if f := &a.Findings[i]; f.Therapy == device.NoTherapy || f.Therapy != d.Therapy {
						t.Errorf("therapy %q, the device's is %q", f.Therapy, d.Therapy)
					}
				})
			}
		})
	}
}

// TestUpdate holds that a program sent over a link that proves nothing is found,
// as a weakness of the pump, and one sent under the bond is not. The catalogue has no row of it.
func TestUpdate(t *testing.T) {
	for take, found := range map[Take]bool{
		air("pump", "update"): true, hci("pump", "update"): true,
		{"pump", "update", Protected, Air, true}: false, {"pump", "update", Protected, HCI, false}: false,
	} {
		a := assessed(t, record(t, take, Format{}))
		d := theDevice(t, a, take)
		i := slices.IndexFunc(a.Findings, func(f finding.Finding) bool { return f.Kind == finding.BLEFirmwareUpdateUnprotected })
		if i >= 0 != found {
			t.Errorf("%+v: found: %v:%s", take, i >= 0, said(a))
		}
		if i < 0 {
			continue
		}
		f := &a.Findings[i]
		if f.Device != d.ID || f.Harm != device.Critical || f.Therapy != device.InsulinInfusion || f.Sightings[0].Note != "Nordic Secure DFU: Buttonless DFU without bonds at level 1" {
			t.Errorf("%+v: %s", take, said(a))
		}
	}
}

// TestMeterDosesNothing holds that a finger-prick's value in clear is disclosure,
// and that of a sensor, by which a pump may dose, more than that.
func TestMeterDosesNothing(t *testing.T) {
	for take, doses := range map[Take]bool{air("meter", "download"): false, air("scale", "weigh-in"): false, air("pump", "spoofed-sensor"): true} {
		a := assessed(t, record(t, take, Format{}))
		if got := slices.ContainsFunc(a.Findings, func(f finding.Finding) bool { return f.Kind == finding.ClosedLoopInputUnprotected }); got != doses {
			t.Errorf("%s: the input of a closed loop: %v", take.Device, got)
		}
	}
}

// attributed are the kinds of finding that are about an attribute, and where on
// Bluetooth it is named: service, characteristic and level of security.
var attributed = map[finding.Kind]bool{
	finding.TherapyCommandUnauthenticated: true, finding.TherapyCommandReplayed: true, finding.TherapyCommandUnexpectedSender: true,
	finding.TherapyLimitLoosened: true, finding.AlarmMasked: true, finding.ClosedLoopInputUnprotected: true, finding.PHIInClear: true,
	finding.BLEMedicalServiceUnencrypted: true, finding.BLEBelowProfileLevel: true, finding.DeviceDefendsItself: true,
}

var attributeNamed = regexp.MustCompile(`(Insulin Delivery|Continuous Glucose Monitoring|Glucose|Weight Scale|Body Composition|Heart Rate|Device Information|Bond Management)[:,] ` +
	`(IDD|CGM|Glucose|Record Access|Weight|Body Composition|Heart Rate|Serial Number|Bond Management) .*level [1-4]`)

// pairingSaid is what was obtained in a pairing, and what each side had asked for.
var pairingSaid = regexp.MustCompile(`^LE (legacy pairing|Secure Connections) by (Just Works, level 2|(Passkey Entry|Out of Band), level [34]): (the device asked to pair; )?` +
	`the phone or programmer asked for a bond(,| and) protection against a man in the middle( and LE Secure Connections)?, can show and take a number(, has a secret that came another way)?; ` +
	`the device asked for a bond.*, can (neither show nor take a number|show a number but take none)`)

// TestNamed holds that whoever reads a finding of Bluetooth is told what was used, and
// how well it was protected.
func TestNamed(t *testing.T) {
	seen := map[finding.Kind]bool{}
	takes := []Take{{"pump", "stranger", Protected, HCI, false}, {"pump", "pair-just-works", Protected, Air, true}}
	for i := range Rows {
		takes = append(takes, Rows[i].Take)
	}
	for _, k := range takes {
		if k.Layer == Frames {
			continue
		}
		a := assessed(t, record(t, k, Format{}))
		for i := range a.Findings {
			f := &a.Findings[i]
			for _, s := range f.Sightings {
				switch {
				case attributed[f.Kind] && !attributeNamed.MatchString(s.Note):
					t.Errorf("%+v: %s: %s", k, f.Kind, s.Note)
				case f.Kind == finding.BLEPairingJustWorks && !pairingSaid.MatchString(s.Note),
					f.Kind == finding.BLEPairingLegacy && !(pairingSaid.MatchString(s.Note) && strings.HasPrefix(s.Note, "LE legacy ")),
					f.Kind == finding.BLEKeySizeWeak && s.Note != "a key of 253 octets, where 7 to 16 are possible: the phone or programmer asked for a bond, protection against a man in the middle and a key of at most 253 octets, can show and take a number" &&
						!(strings.HasPrefix(s.Note, "a key of 7 octets, LE ") && strings.Contains(s.Note, "the device asked for a bond and a key of at most 7 octets, can neither show nor take a number")):
					t.Errorf("%+v: %s: %s", k, f.Kind, s.Note)
				}
			}
			seen[f.Kind] = true
		}
	}
	for kind := range attributed {
		if !seen[kind] {
			t.Errorf("%s was not seen", kind)
		}
	}
}

// theDevice returns the one medical device of an assessment, and holds it to
// what the recording tells of it.
func theDevice(t *testing.T, a *report.Assessment, k Take) *device.Device {
	t.Helper()
	var d *device.Device
	for i := range a.Devices {
		if a.Devices[i].Medical {
			if d != nil && k.Form == Legacy { // by private addresses each is somebody else
				t.Fatalf("two medical devices: %+v and %+v", d, a.Devices[i])
			}
			d = &a.Devices[i]
		}
	}
	if d == nil {
		t.Fatal("no medical device was recognised")
	}
	want := worn[k.Device]
	// What can be heard of its Bluetooth services is its pulse. Where it says who made
	// it, a dialect of the same product knows more.
	if k.Device == "icd" && (k.Layer == Air && !k.Decrypted || k.Layer != Frames && k.Scenario == "reconnect-cached") {
		want.Class, want.Harm = "heart rate sensor", device.Serious
	}
	if d.Harm != want.Harm || d.Class != want.Class {
		t.Errorf("a %s of harm %s, want a %s of harm %s", d.Class, d.Harm, want.Class, want.Harm)
	}
	// What it says of itself can be heard where it is not encrypted.
	if k.Form == Legacy && d.Model != "" && (d.Manufacturer != want.Manufacturer || d.Model != want.Model || want.Version != "" && d.Version != want.Version) {
		t.Errorf("%s %s %s, want %s %s %s", d.Manufacturer, d.Model, d.Version, want.Manufacturer, want.Model, want.Version)
	}
	return d
}

// TestTwins holds that devices that behave well alarm nobody: those of the rows,
// and all that is told of protected devices besides attacks.
func TestTwins(t *testing.T) {
	var takes []Take
	for i := range Rows {
		takes = append(takes, Rows[i].Twin)
	}
	for i := range Scenarios {
		s := &Scenarios[i]
		switch s.Name {
		case "replay", "wake-flood", "pair-just-works":
			continue
		}
		if slices.Contains(s.Forms, Protected) {
			for _, layer := range s.Layers {
				takes = append(takes, Take{Device: s.Device, Scenario: s.Name, Form: Protected, Layer: layer})
				if layer == Air { // and where all that is behind the encryption can be read
					takes = append(takes, Take{s.Device, s.Name, Protected, Air, true})
				}
			}
		}
	}
	seen := map[Take]bool{}
	for _, k := range takes {
		if seen[k] {
			continue
		}
		seen[k] = true
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			a := assessed(t, record(t, k, Format{}))
			if k.Scenario != "reconnect-cached" || k.Layer != Air || k.Decrypted { // there is nothing that could tell
				theDevice(t, a, k)
			}
			defends := false
			for i := range a.Findings {
				f := &a.Findings[i]
				defends = defends || f.Kind == finding.DeviceDefendsItself
				if f.Harm >= device.Serious {
					t.Errorf("%s", said(a))
					break
				}
			}
			if defends != (k.Scenario == "stranger") {
				t.Errorf("the device defends itself: %v", defends)
			}
		})
	}
	if len(seen) < 25 {
		t.Errorf("%d twins", len(seen))
	}
}

// TestHabits holds that what people do every day with a legacy device, the bolus
// of every breakfast included, is weak by design and nobody's attack.
func TestHabits(t *testing.T) {
	for _, k := range []Take{
		hci("pump", "day"),
		{"pump", "day", Legacy, Air, true},
		hci("pump", "breakfast"), hci("pump", "reconnect"), hci("pump", "reconnect-cached"),
		frames("icd", "follow-up"), frames("icd", "read-out"), frames("wand", "read-out"), frames("stim", "adjust"), frames("classic", "read-out"), frames("classic", "mornings"), air("strap", "training"),
		air("meter", "download"), hci("meter", "download"), air("scale", "weigh-in"), hci("scale", "weigh-in"),
	} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			a := assessed(t, record(t, k, Format{}))
			theDevice(t, a, k)
			for i := range a.Findings {
				switch f := &a.Findings[i]; {
				case f.Kind == finding.TherapyCommandReplayed, f.Kind == finding.TherapyCommandUnexpectedSender, finding.Kinds[f.Kind].Exploitation == "active", f.Decision == finding.Act:
					t.Errorf("%s:%s", f.Kind, said(a))
				}
			}
		})
	}
}

// lines is what a receiver writes down of frames.
func lines(frames []frame) (b []byte) {
	for i := range frames {
		b = frames[i].line(b, 0)
	}
	return b
}

// line is what the n-th receiver of a log writes down, which has no name if n is 0.
func (f *frame) line(dst []byte, n uint32) []byte {
	return capture.AppendLogLine(dst, &capture.Frame{Time: f.time, Data: f.raw, Link: capture.LinkFrameLog, Flags: capture.RadioFlags(f.channel, f.rssi) | n<<24}, f.dialect)
}

// file writes b to a file.
func file(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "recording")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReceivers lets a second receiver hear every frame of an older radio, by a
// clock that is seconds off, on a channel of its own and not as well: nothing is
// found that one receiver does not find, and nothing more often.
func TestReceivers(t *testing.T) {
	takes := []Take{icdWell, icdReadsWell, stimWell, frames("icd", "follow-up")}
	for i := range Rows {
		if Rows[i].Take.Layer == Frames {
			takes = append(takes, Rows[i].Take)
		}
	}
	what := func(a *report.Assessment) (out []string) {
		for i := range a.Findings {
			f := &a.Findings[i]
			out = append(out, fmt.Sprintf("%s %s %s x%d", f.Kind, f.Harm, f.Confidence, f.Count))
		}
		slices.Sort(out)
		return out
	}
	for _, k := range takes {
		for _, skew := range []time.Duration{3 * time.Second, -4 * time.Second} {
			t.Run(fmt.Sprint(k, skew), func(t *testing.T) {
				r, err := Play(Options{Device: k.Device, Scenario: k.Scenario, Form: k.Form, Layer: k.Layer})
				if err != nil {
					t.Fatal(err)
				}
				second := slices.Clone(r.frames)
				for i := range second {
					f := &second[i]
					f.time += int64(skew)
					f.channel += 2
					f.rssi -= 17
				}
				one, other := file(t, lines(r.frames)), file(t, lines(second))
				want := what(assessed(t, one))
				a, err := assess.Run(context.Background(), []string{one, other}, assess.Config{})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, what(a)); diff != "" {
					t.Errorf("two files: want (-), got (+):\n%s", diff)
				}
				var both []byte // as they come in
				for i, j := 0, 0; i < len(r.frames) || j < len(second); {
					if j == len(second) || i < len(r.frames) && r.frames[i].time <= second[j].time {
						both = r.frames[i].line(both, 1)
						i++
					} else {
						both = second[j].line(both, 2)
						j++
					}
				}
				if diff := cmp.Diff(want, what(assessed(t, file(t, both)))); diff != "" {
					t.Errorf("one file: want (-), got (+):\n%s", diff)
				}
			})
		}
	}
}

// What one receiver heard yesterday and another hears today was sent again; so
// was what both hear once more, five seconds later.
func TestReceiversOfReplays(t *testing.T) {
	r, err := Play(Options{Device: "icd", Scenario: "follow-up", Form: Protected, Layer: Frames})
	if err != nil {
		t.Fatal(err)
	}
	off := slices.IndexFunc(r.frames, func(f frame) bool { return f.time-r.frames[0].time > int64(30*time.Second) })
	again := func(skew time.Duration) frame {
		f := r.frames[off]
		f.time += int64(skew)
		f.rssi = -40
		return f
	}
	for name, tt := range map[string]struct {
		one, other []frame
		replays    uint64
	}{
		"a day later, by the other receiver":          {r.frames, []frame{again(24 * time.Hour)}, 1},
		"a minute later, by the other receiver":       {r.frames, []frame{again(time.Minute)}, 1},
		"five seconds later, by one that heard both":  {append(slices.Clone(r.frames), again(5*time.Second)), nil, 1},
		"five seconds later, by both":                 {append(slices.Clone(r.frames), again(5*time.Second)), []frame{again(200 * time.Millisecond), again(5200 * time.Millisecond)}, 1},
		"five seconds later, by the other that heard": {r.frames, []frame{again(200 * time.Millisecond), again(5200 * time.Millisecond)}, 1},
		"a copy": {r.frames, []frame{again(3 * time.Second)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var files []string
			for _, list := range [][]frame{tt.one, tt.other} {
				if list == nil {
					continue
				}
				files = append(files, file(t, lines(list)))
			}
			a, err := assess.Run(context.Background(), files, assess.Config{})
			if err != nil {
				t.Fatal(err)
			}
			var got uint64
			for i := range a.Findings {
				if a.Findings[i].Kind == finding.TherapyCommandReplayed {
					got += a.Findings[i].Count
				}
			}
			if got != tt.replays {
				t.Errorf("%d replays, want %d:%s", got, tt.replays, said(a))
			}
		})
	}
}
