// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
)

func TestLoad(t *testing.T) {
	src := head + `therapy: insulin infusion
drug: insulin aspart
sums:
  unit: U
  windows:
    - {window: 4h, highest: 10 U, lowest: 0.5 U}
    - {window: 24h, verb: deliver-bolus, highest: 60000 mU}
interruption: 2h
verbs:
  deliver-bolus: {unit: U, min: 0.025 U, max: 8 U, interval: 5m, roles: [clinician, patient, controller], confirm: second-person, above: 6 U, confirmers: nurse, hold: 4m, takes: 20m}
  set-profile: {counts: [0.4 U/h, 1.6 U/h], refused-in: [suspended, empty]}
  suspend: {longest: 2 h}
emergency: {verbs: [read-settings, suspend]}
`
	e := load(t, src)
	q := func(s string) device.Quantity { return quantity(t, s) }
	unit := q("1 U").Unit
	for i := range e.Verbs {
		e.Verbs[i].rules = [limitKeys]rule{}
	}
	want := []Limits{
		{
			Verb: device.DeliverBolus, Line: 17, Unit: unit, Min: q("0.025 U"), Max: q("8 U"), Interval: 5 * time.Minute,
			Roles: []device.Role{device.Clinician, device.Patient, device.Controller}, Confirm: SecondPerson, Above: q("6 U"),
			Confirmers: []ClinicalRole{Nurse}, Hold: 4 * time.Minute, Takes: 20 * time.Minute,
		},
		{
			Verb: device.SetProfile, Line: 18, Roles: []device.Role{device.Clinician}, RefusedIn: []string{"suspended", "empty"},
			Counts: [2]device.Quantity{q("0.4 U/h"), q("1.6 U/h")},
		},
		{Verb: device.Suspend, Line: 19, Roles: []device.Role{device.Clinician}, Longest: q("2 h")},
	}
	if d := cmp.Diff(want, e.Verbs, cmp.AllowUnexported(Limits{}, rule{})); d != "" {
		t.Error(d)
	}
	if s := e.Sums[0]; s.Line != 13 || s.Window != 4*time.Hour || s.most != 10e6 || s.least != 5e5 || s.Verb != device.NoVerb || s.above.line != 13 {
		t.Errorf("%+v", s)
	}
	if s := e.Sums[1]; s.Line != 14 || s.most != 60e6 || s.Verb != device.DeliverBolus || s.below.line != 0 || s.above.limit != "deliver-bolus highest 60000 mU in 24h" {
		t.Errorf("%+v", s)
	}
	if e.Name != "test" || e.Version != 3 || e.Drug != "insulin aspart" || e.Interruption != 2*time.Hour || e.Emergency.Line != 20 ||
		e.Author != (Person{"MH", Prescriber}) || e.Approver != (Person{"JR", Nurse}) || e.Digest() != sha256.Sum256([]byte(src)) {
		t.Errorf("%+v", e)
	}
}

func TestLoadErrors(t *testing.T) {
	top := head + "therapy: drug infusion\n" // nine lines
	sums := top + "sums: {unit: mg, windows: [{window: 1h, highest: 5 mg}]}\n"
	for _, test := range []struct{ src, want string }{
		{"", `1:1: there is nothing in this file; a therapy envelope begins with "envelope: 1"`},
		{"envelope: 2\n", "1:11: envelope has to be 1: there is no other version of this format"},
		{"envelope: 1\nname: x\n", "1:1: the file lacks the key version"},
		{top, "1:1: the file lacks the key verbs"},
		{top + "state-holds: 25h\nverbs: {}\n", "9:14: state-holds has to be a time from 1s to 24h0m0s, such as 90s, 5m or 4h"},
		{top + "verbs: {}\nlimits: {}\n", `10:1: the file has no key "limits"`},
		{strings.Replace(top, "drug infusion", "infusion", 1) + "verbs: {}\n", "8:10: therapy cannot be \"infusion\"; it is one of pacing, "},
		{top + "weight: 80\nverbs: {}\n", "9:9: weight has to be a number and a unit"},
		{top + "weight: 0 kg\nverbs: {}\n", "9:9: weight is the patient's"},
		{top + "concentration: 5 mg\nverbs: {}\n", "9:16: concentration is the drug's"},
		{strings.Replace(top, "role: nurse", "role: engineer", 1) + "verbs: {}\n", "5:26: role cannot be \"engineer\"; it is one of prescriber, pharmacist, nurse"},
		{strings.Replace(top, "id: JR, ", "", 1) + "verbs: {}\n", "5:11: approver lacks the key id"},
		{strings.Replace(top, "enforce: true", "enforce: yes", 1) + "verbs: {}\n", "7:10: enforce cannot be \"yes\""},
		{strings.Replace(top, "version: 3", "version: 0", 1) + "verbs: {}\n", "3:10: version has to be a whole number from 1"},
		{top + "verbs: {give: {}}\n", `9:9: there is no verb "give"`},
		{top + "verbs: {suspend: {}, suspend: {}}\n", "9:22: "},
		{top + "verbs: {suspend: {for: 2h}}\n", `9:19: suspend has no key "for"`},
		{top + "verbs: {set-infusion-rate: {max: 5}}\n", "9:34: max has to be a number and a unit"},
		{top + "verbs: {set-infusion-rate: {max: NaN mL/h}}\n", "9:34: max has to be a number and a unit"},
		{top + "verbs: {set-infusion-rate: {max: 5 mL/h, min: 1 mg/h}}\n", "9:34: max has to be in mg/h"},
		{top + "verbs: {set-infusion-rate: {unit: mL/h, max: 5 mg/h}}\n", "9:46: max has to be in mL/h"},
		{top + "verbs: {set-infusion-rate: {max: 5 mL/h, min: 6 mL/h}}\n", "9:47: min is more than max"},
		{top + "verbs: {set-infusion-rate: {max: -5 mL/h}}\n", "9:34: max has to be in mL/h, and not less than nothing"},
		{top + "verbs: {suspend: {longest: 2 mg}}\n", "9:28: longest has to be a time"},
		{top + "verbs: {suspend: {interval: 2}}\n", "9:29: interval has to be a time from"},
		{top + "verbs: {suspend: {hold: 2m}}\n", "9:25: hold is of a confirmation"},
		{top + "verbs: {suspend: {confirm: second-person, hold: 2h}}\n", "9:49: hold has to be a time from 1s to 1h0m0s"},
		{top + "verbs: {suspend: {confirm: administrator}}\n", "9:28: confirm cannot be \"administrator\"; it is one of second-person, on-device"},
		{top + "verbs: {suspend: {confirm: second-person, confirmers: [engineer]}}\n", "9:56: a confirmer cannot be \"engineer\""},
		{top + "verbs: {suspend: {roles: [nurse]}}\n", "9:27: a role cannot be \"nurse\"; it is one of patient, carer"},
		{top + "verbs: {}\nemergency: {verbs: [deliver-bolus]}\n", "10:21: an emergency cannot have \"deliver-bolus\""},
		{top + "sums: {unit: mL/h, windows: []}\nverbs: {}\n", "9:14: unit has to be one in which doses"},
		{top + "sums: {unit: mg}\nverbs: {}\n", "9:7: sums lacks the key windows"},
		{top + "sums: {unit: mg, windows: [{window: 1h}]}\nverbs: {}\n", "9:28: a window needs a highest or a lowest sum"},
		{top + "sums: {unit: mg, windows: [{window: 1h, highest: 5 mL}]}\nverbs: {}\n", "9:50: highest has to be a dose in mg"},
		{top + "sums: {unit: mg, windows: [{window: 1h, highest: 0.00000001 mg}]}\nverbs: {}\n", "9:50: highest has to be a dose in mg, or what comes out even in it"},
		{top + "sums: {unit: mg, windows: [{window: 1h, highest: 5 mg, lowest: 6 mg}]}\nverbs: {}\n", "9:64: lowest is more than highest"},
		{top + "sums: {unit: mg, windows: [{window: 800h, highest: 5 mg}]}\nverbs: {}\n", "9:37: window has to be a time from 1m0s to 744h0m0s"},
		{top + "sums: {unit: mg, windows: [{window: 1h, highest: 5 mg, verb: suspend}]}\nverbs: {}\n", "9:62: verb cannot be \"suspend\""},
		{sums + "verbs: {set-profile: {}}\n", "10:9: what the device gives after set-profile has to be known"},
		{sums + "verbs: {set-profile: {counts: [1 mg/h]}}\n", "10:31: counts has two rates"},
		{sums + "verbs: {set-profile: {counts: [1 mg/h, 2 mL/h]}}\n", "10:40: a rate has to be in mg/h"},
		{sums + "verbs: {set-profile: {counts: [2 mg/h, 1 mg/h]}}\n", "10:31: the least comes first"},
		{sums + "verbs: {suspend: {counts: [1 mg/h, 2 mg/h]}}\n", "10:27: counts is for set-profile"},
		{strings.Replace(top, "drug infusion", "defibrillation", 1) + "verbs: {set-therapies: {}}\n", "9:9: set-therapies switches a defibrillator off: say confirm"},
	} {
		e, err := Load("e.yaml", []byte(test.src))
		if err == nil || e != nil || !strings.HasPrefix(err.Error(), "e.yaml:"+test.want) {
			t.Errorf("%s\n%v\nwant %s", strings.TrimPrefix(test.src, top), err, test.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, src := range []string{insulin, noradrenaline, modelEnvelope, smallEnvelope} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		e, err := Load("e.yaml", []byte(src))
		again, twice := Load("e.yaml", []byte(src))
		if (err == nil) != (twice == nil) || err != nil && err.Error() != twice.Error() {
			t.Fatal("the same file read twice differs")
		}
		if err != nil {
			return
		}
		ok, why := e.Enforcing()
		if ok2, why2 := again.Enforcing(); ok != ok2 || why != why2 || ok == (why != "") {
			t.Fatal("it enforces, or does not")
		}
		// Whatever it says, it names its limits, and judges.
		a := newAccount(moment{})
		for _, l := range e.Verbs {
			q := candidate{Request: ask(t, l.Verb, "", "")}
			if d := e.decide(a, moment{}, &q); d.Verdict == device.NoVerdict || d.Reason == "" {
				t.Fatalf("%v: %+v", l.Verb, d)
			}
		}
	})
}

// TestDocumentation: the examples of docs/envelope.md are envelopes that enforce, and
// answer as its table says.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/envelope.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []*Envelope
	for i, part := range strings.Split(string(b), "```") {
		if src, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			e := load(t, src)
			if ok, why := e.Enforcing(); !ok {
				t.Error(e.Name, why)
			}
			list = append(list, e)
		}
	}
	if len(list) != 2 {
		t.Fatal(len(list))
	}
	e := list[0]
	for _, row := range []struct {
		value, weight, concentration string
		want                         device.Verdict
		limit                        string
	}{
		{"4 ug/kg/min", "", "", device.Deny, "set-infusion-rate max 1.0 ug/kg/min"},
		{"0.9 ug/kg/min", "", "", device.Deny, "set-infusion-rate step 0.5 ug/kg/min"},
		{"0.6 ug/kg/min", "", "", device.Allow, "set-infusion-rate"},
		{"24 mL/h", "80 kg", "0.08 mg/mL", device.Allow, "set-infusion-rate"},
		{"24 mL/h", "", "0.08 mg/mL", device.Deny, "set-infusion-rate"},
		{"0.01 ug/kg/min", "", "", device.Deny, "set-infusion-rate min 0.02 ug/kg/min"},
	} {
		w := newWorldQuick(t)
		w.Report("pump-3", e, &Report{Rate: quantity(t, "0.2 ug/kg/min")})
		r := ask(t, device.SetInfusionRate, row.value, "")
		r.Command.Now, r.Weight, r.Concentration = quantity(t, "0.2 ug/kg/min"), quantity(t, row.weight), quantity(t, row.concentration)
		r.Confirmed = &Confirmation{OnDevice: true}
		w.verdict(w.Judge("pump-3", e, r), row.want, row.limit)
		w.verdict(w.Judge("pump-3", e, ask(t, device.StopInfusion, "", "")), device.Deny, "interruption 2m")
		w.Book.Close()
	}
}
