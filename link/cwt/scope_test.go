// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"pgregory.net/rapid"
)

// wire is the numbering that other implementations have. It only grows.
const wire = ` 1 deliver-bolus 2 cancel-bolus 3 prime 4 stop-priming 5 set-basal-rate 6 set-temporary-basal` +
	` 7 cancel-temporary-basal 8 set-infusion-rate 9 stop-infusion 10 set-profile 11 set-closed-loop 12 suspend` +
	` 13 resume 14 set-pacing-mode 15 set-pacing-rate 16 set-output 17 set-sensitivity 18 set-detection` +
	` 19 set-therapies 20 emergency-preset 21 deliver-shock 22 abort-shock 23 induce 24 set-amplitude` +
	` 25 select-program 26 stimulation-off 27 beam-off 28 set-ventilation 29 standby 30 calibrate` +
	` 31 report-glucose 32 set-clock 33 set-limit 34 set-alarm 35 acknowledge-alarm 36 load-drug-library` +
	` 37 associate-patient 38 delete-records 39 disable-radio 40 wake 41 pair 42 install 43 read-telemetry` +
	` 44 read-settings; 1 patient 2 carer 3 clinician 4 technician 5 emergency 6 updater 7 controller`

// TestNumbers holds the numbering to what it always was, and to device.
func TestNumbers(t *testing.T) {
	var got string
	for n, v := range verbNumbers[1:] {
		got += fmt.Sprintf(" %d %v", n+1, v)
	}
	got += ";"
	for n, r := range roleNumbers[1:] {
		got += fmt.Sprintf(" %d %v", n+1, r)
	}
	if d := cmp.Diff(wire, got); d != "" {
		t.Error(d)
	}
	for v := device.NoVerb + 1; v.String() != ""; v++ {
		if VerbNumber(v) == 0 {
			t.Errorf("%v has no number", v)
		}
		if v >= 64 {
			t.Errorf("%v does not fit a set of verbs", v)
		}
	}
	for r := device.NoRole + 1; r.String() != ""; r++ {
		if RoleNumber(r) == 0 {
			t.Errorf("%v has no number", r)
		}
	}
	if VerbNumber(device.NoVerb) != 0 || VerbNumber(200) != 0 || RoleNumber(device.NoRole) != 0 {
		t.Error("what is none has a number")
	}
}

// TestRoles holds the table of roles to what the facts of therapy safety and of
// emergency access say.
func TestRoles(t *testing.T) {
	therapy := []device.Verb{
		device.DeliverBolus, device.Prime, device.SetBasalRate, device.SetTemporaryBasal, device.SetInfusionRate,
		device.StopInfusion, device.SetProfile, device.SetClosedLoop, device.Suspend, device.Resume,
		device.SetPacingMode, device.SetPacingRate, device.SetOutput, device.SetSensitivity, device.SetDetection,
		device.SetTherapies, device.DeliverShock, device.Induce, device.SetAmplitude, device.SelectProgram,
		device.SetVentilation, device.Standby, device.Calibrate, device.ReportGlucose, device.SetLimit, device.SetAlarm,
	}
	for role, never := range map[device.Role][]device.Verb{
		device.Updater:    therapy,
		device.Technician: therapy,
		device.Emergency: {
			device.Install, device.Pair, device.SetLimit, device.LoadDrugLibrary, device.SetAlarm, device.DeleteRecords,
			device.DisableRadio, device.SetClock, device.AssociatePatient, device.Calibrate, device.ReportGlucose,
			device.DeliverShock, device.Induce,
		},
		device.Patient:    {device.Install, device.Pair, device.SetLimit, device.LoadDrugLibrary, device.DeleteRecords, device.DeliverShock, device.Induce},
		device.Controller: {device.Install, device.Pair, device.SetLimit, device.SetProfile, device.SetClosedLoop, device.SetClock},
		device.Clinician:  {device.Install, device.DeleteRecords, device.DisableRadio},
	} {
		for _, v := range never {
			g := Grant{Role: role, Verbs: []VerbGrant{{v, Limits{Highest: quantity(t, "1 1")}}}}
			if _, err := g.Append(nil); !errors.Is(err, ErrScope) {
				t.Errorf("%v may %v: %v", role, v, err)
			}
		}
	}
	for _, role := range allRoles {
		if roleVerbs[role].has(device.DeleteRecords) {
			t.Errorf("%v may delete the record", role)
		}
		// An emergency has less than normal rights.
		if extra := roleVerbs[device.Emergency] &^ roleVerbs[device.Clinician]; extra != 0 {
			t.Errorf("emergency has more than a clinician: %b", extra)
		}
	}
}

func TestScope(t *testing.T) {
	// The example of the package's documentation.
	doc := vector.Bytes(t, `82 01 a2 01 a3 01 83 03 00 64 5b69555d 04 83 01 01 64 5b69555d 05 19 3840 18 2b a0`)
	g := Grant{Role: device.Patient, Verbs: []VerbGrant{{Verb: device.ReadTelemetry}, bolus(t)}} // in any order
	got, err := g.Append([]byte("head"))
	if err != nil || !bytes.Equal(got, append([]byte("head"), doc...)) {
		t.Errorf("%x, %v", got, err)
	}
	for name, test := range map[string]struct {
		in   string
		want error
	}{
		"nothing":              {"", cbor.ErrTruncated},
		"text":                 {"6161", cbor.ErrKind},
		"of one":               {"81 01", ErrForm},
		"of three":             {"83 01 a0 00", ErrForm},
		"trailing byte":        {"82 01 a0 00", cbor.ErrTrailing},
		"role 0":               {"82 00 a0", cbor.ErrRange},
		"role 8":               {"82 08 a0", cbor.ErrRange},
		"role in text":         {"82 67 70617469656e74 a0", cbor.ErrKind},
		"verb 0":               {"82 03 a1 00 a0", cbor.ErrRange},
		"verb 45":              {"82 03 a1 182d a0", cbor.ErrRange},
		"verb negative":        {"82 03 a1 20 a0", cbor.ErrKind},
		"verb twice":           {"82 03 a2 01a0 01a0", cbor.ErrDuplicate},
		"verbs out of order":   {"82 03 a2 02a0 01a0", cbor.ErrOrder},
		"verb of another role": {"82 06 a1 01a0", ErrScope},
		"no highest":           {"82 01 a1 01a0", ErrScope},
		"limit 0":              {"82 03 a1 01 a1 00 00", ErrForm},
		"limit 6":              {"82 03 a1 01 a1 06 00", ErrForm},
		"no unit":              {"82 03 a1 01 a1 01 83 03 00 60", device.ErrUnit},
		"unit not known":       {"82 03 a1 01 a1 01 83 03 00 6178", device.ErrUnit},
		"unit U":               {"82 03 a1 01 a1 01 83 03 00 6155", device.ErrUnit},
		"a zero at the end":    {"82 03 a1 01 a1 01 83 0a 00 64 5b69555d", cbor.ErrShortest},
		"zero with exponent":   {"82 03 a1 01 a1 01 83 00 01 64 5b69555d", cbor.ErrShortest},
		"exponent 128":         {"82 03 a1 01 a1 01 83 01 1880 64 5b69555d", cbor.ErrRange},
		"coefficient float":    {"82 03 a1 01 a1 01 83 f93e00 00 64 5b69555d", cbor.ErrKind},
		"lowest above highest": {"82 03 a1 01 a2 01 83 03 00 64 5b69555d 02 83 04 00 64 5b69555d", ErrScope},
		"lowest of other kind": {"82 03 a1 01 a2 01 83 03 00 64 5b69555d 02 83 01 00 626d4c", ErrScope},
		"longest no time":      {"82 03 a1 01 a1 03 83 03 00 64 5b69555d", ErrScope},
		"longest zero":         {"82 03 a1 01 a1 03 83 00 00 6168", ErrScope},
		"sum, no window":       {"82 03 a1 01 a1 04 83 03 00 64 5b69555d", ErrScope},
		"window, no sum":       {"82 03 a1 01 a1 05 183c", ErrScope},
		"sum zero":             {"82 03 a1 01 a2 04 83 00 00 64 5b69555d 05 183c", ErrScope},
		"window 0":             {"82 03 a1 01 a2 04 83 03 00 64 5b69555d 05 00", cbor.ErrRange},
		"window of 32 days":    {"82 03 a1 01 a2 04 83 03 00 64 5b69555d 05 1a 002a3000", cbor.ErrRange},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseGrant(vector.Bytes(t, test.in))
			checkError(t, err, "scope", test.want)
		})
	}
}

var unitTexts = []string{"[iU]", "[iU]/h", "mA", "V", "/min", "mg/h", "1"}

func drawQuantity(t *rapid.T, what, unit string) device.Quantity {
	u, _ := device.UnitOfUCUM(unit)
	return device.Quantity{
		Coefficient: rapid.Int64Range(1, 1e15).Draw(t, what),
		Exponent:    int8(rapid.IntRange(-12, 12).Draw(t, "exponent")),
		Unit:        u,
	}
}

func drawGrant(t *rapid.T) Grant {
	g := Grant{Role: rapid.SampledFrom(roleNumbers[1:]).Draw(t, "role")}
	for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom(verbNumbers[1:]), 0, 12, rapid.ID[device.Verb]).Draw(t, "verbs") {
		if !roleVerbs[g.Role].has(v) {
			continue
		}
		unit := rapid.SampledFrom(unitTexts).Draw(t, "unit")
		l := Limits{Highest: drawQuantity(t, "highest", unit)}
		if rapid.Bool().Draw(t, "has lowest") {
			l.Lowest = drawQuantity(t, "lowest", unit)
			if c, _ := l.Lowest.Cmp(l.Highest); c > 0 {
				l.Lowest, l.Highest = l.Highest, l.Lowest
			}
		}
		if rapid.Bool().Draw(t, "has longest") {
			l.Longest = drawQuantity(t, "longest", "min")
		}
		if rapid.Bool().Draw(t, "has sum") {
			l.Sum = drawQuantity(t, "sum", unit)
			l.Window = time.Duration(rapid.Int64Range(1, int64(MaxWindow/time.Second)).Draw(t, "window")) * time.Second
		}
		g.Verbs = append(g.Verbs, VerbGrant{v, l})
	}
	return g
}

func TestScopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGrant(t)
		b, err := g.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseGrant(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := got.Append(nil)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%x, then %x: %v", b, again, err)
		}
		if len(got.Verbs) != len(g.Verbs) || got.Role != g.Role {
			t.Fatalf("%+v, then %+v", g, got)
		}
		for _, v := range got.Verbs {
			for _, w := range g.Verbs {
				if v.Verb == w.Verb && (v.Highest != normal(w.Highest) || v.Lowest != normal(w.Lowest) ||
					v.Longest != normal(w.Longest) || v.Sum != normal(w.Sum) || v.Window != w.Window) {
					t.Fatalf("%+v, then %+v", w, v)
				}
			}
		}
	})
}
