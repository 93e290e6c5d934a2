// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
)

const proven = device.Encrypted | device.Authenticated | device.Fresh

var everyTherapy = []device.Therapy{
	device.Pacing, device.Defibrillation, device.InsulinInfusion, device.DrugInfusion, device.IntrathecalInfusion, device.Neurostimulation,
	device.Ventilation, device.CirculatorySupport, device.Anaesthesia, device.Dialysis, device.Radiotherapy, device.Imaging,
	device.Laboratory, device.Monitoring, device.Records, device.Hearing,
}

// strict is an envelope of a therapy that enforces and lets nothing pass.
func strict(t testing.TB, therapy device.Therapy) *Envelope {
	return load(t, head+"therapy: "+therapy.String()+"\nverbs: {}\n")
}

// rescues are commands that the therapy's row lets pass.
func rescues(t testing.TB, therapy device.Therapy) (list []device.Command) {
	for _, r := range therapy.Info().Rescues {
		list = append(list, device.Command{
			Verb: r.Verb, Therapy: therapy, Limit: r.Within, Attended: r.Attended, Role: device.Carer, Channel: proven, Actor: "key-1",
		})
	}
	return list
}

// TestTherapyTable goes through the table row by row: what is proven and a rescue
// passes whatever the envelope says, and is not held nor waits for the disk; the
// same unproven or replayed is refused, and so is every other stop that is not
// named (A02, A04).
func TestTherapyTable(t *testing.T) {
	w := newWorld(t)
	w.stopDisk()
	rows := 0
	for _, therapy := range everyTherapy {
		info := therapy.Info()
		for n, e := range []*Envelope{strict(t, therapy), nil} {
			for _, c := range rescues(t, therapy) {
				rows++
				name := fmt.Sprint(therapy, c.Verb, n)
				for _, role := range []device.Role{device.Patient, device.Carer, device.Clinician, device.Emergency} {
					for _, r := range []Request{{}, {Undecided: "it cannot be read"}, {State: "standby"}, {Emergency: true}} {
						r.Command = c
						r.Command.Role = role
						d, res, err := w.Reserve(name+role.String()+r.Undecided+r.State+fmt.Sprint(r.Emergency), e, &r)
						if d.Verdict != device.Allow || !d.Rescue || d.Hold != 0 {
							t.Fatalf("%s: %v, %s, %v", name, d.Verdict, d.Reason, err)
						}
						res.Sent()
						res.Doubted()
					}
				}
				for what, spoil := range map[string]func(*Request){
					"no role":           func(r *Request) { r.Command.Role = device.NoRole },
					"not authenticated": func(r *Request) { r.Command.Channel &^= device.Authenticated },
					"not fresh":         func(r *Request) { r.Command.Channel &^= device.Fresh },
					"replayed":          func(r *Request) { r.Replayed = true },
				} {
					for _, emergency := range []bool{false, true} {
						r := Request{Command: c, Emergency: emergency}
						spoil(&r)
						if d := w.Judge(name, e, &r); d.Verdict != device.Deny || d.Rescue || e != nil && !d.Enforced {
							t.Errorf("%s, %s: %v, %s", name, what, d.Verdict, d.Reason)
						}
					}
				}
			}
			// Everything else is a change.
			stops := append([]device.Verb{device.Suspend, device.StopInfusion, device.Standby, device.StimulationOff, device.SetDetection, device.SetTherapies}, info.Changes...)
			for _, v := range stops {
				c := device.Command{Verb: v, Therapy: therapy, Role: device.Clinician, Channel: proven, Actor: "key-1"}
				if device.EffectOf(&c) == device.Rescues {
					continue // stimulation off
				}
				rows++
				for _, r := range []Request{{Command: c}, {Command: c, Emergency: true}, {Command: c, Confirmed: &Confirmation{Person: "MH", Role: Prescriber}}} {
					d := w.Judge("stops "+therapy.String(), e, &r)
					if d.Verdict != device.Deny || d.Rescue || e != nil && !d.Enforced {
						t.Errorf("%v %v: %v, %s", therapy, v, d.Verdict, d.Reason)
					}
					if info.StopRefused && device.EffectOf(&c) == device.Interrupts && d.Reason != reasonStop {
						t.Errorf("%v %v is refused because %s", therapy, v, d.Reason)
					}
				}
			}
		}
	}
	if rows < 100 {
		t.Fatal("too few rows:", rows)
	}
}

// TestStopRefused: what the table refuses from afar no envelope lets pass.
func TestStopRefused(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	for _, therapy := range everyTherapy {
		if !therapy.Info().StopRefused {
			continue
		}
		e := load(t, head+"therapy: "+therapy.String()+"\nverbs: {standby: {}, suspend: {}, set-ventilation: {}}\n")
		for _, v := range []device.Verb{device.Standby, device.Suspend} {
			d := w.Judge("d", e, ask(t, v, "", "1 min"))
			if d.Verdict != device.Deny || d.Reason != reasonStop {
				t.Errorf("%v %v: %v, %s", therapy, v, d.Verdict, d.Reason)
			}
		}
	}
}

// TestRepeated: a stop again is a change, as long as the device may still be stopped,
// and four hours more.
func TestRepeated(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, head+"therapy: neurostimulation\nverbs: {stimulation-off: {confirm: second-person}, resume: {}}\n")
	off := ask(t, device.StimulationOff, "", "")
	if d := w.order(e, off); !d.Rescue {
		t.Fatal(d)
	}
	w.give(e, device.Resume, "", "")
	for range 2 {
		if d := w.Judge(ward, e, off); d.Rescue || d.Verdict != device.Hold || d.Limit != "stimulation-off confirm second-person" {
			t.Fatal(d)
		}
		w.wait(4*time.Hour - 1)
		w.kill()
	}
	w.wait(2)
	if d := w.Judge(ward, e, off); !d.Rescue {
		t.Fatal(d)
	}
	// One that the device did not do is none.
	d, res, _ := w.Reserve(ward, e, off)
	res.Sent()
	res.Rejected()
	if again := w.Judge(ward, e, off); !d.Rescue || !again.Rescue {
		t.Fatal(d, again)
	}
}

// TestStated: an order that says another weight, concentration or drug than the
// envelope states is refused: ten times the weight would make a tenth of each flow.
func TestStated(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, head+`therapy: drug infusion
drug: noradrenaline
weight: 80 kg
concentration: 0.08 mg/mL
verbs: {set-infusion-rate: {max: 1.0 ug/kg/min}}
`)
	for _, x := range []struct {
		flow, weight, concentration, drug string
		want                              device.Verdict
		reason                            string
	}{
		{"24 mL/h", "80 kg", "0.08 mg/mL", "Noradrenaline", device.Allow, "it is within the envelope"},
		{"24 mL/h", "80000 g", "80 ug/mL", "", device.Allow, "it is within the envelope"},
		{"24 mL/h", "", "", "", device.Allow, "it is within the envelope"},
		{"240 mL/h", "80 kg", "0.08 mg/mL", "", device.Deny, "it asks for more than the most of 1.0 ug/kg/min"},
		{"240 mL/h", "", "", "", device.Deny, "it asks for more than the most of 1.0 ug/kg/min"},
		{"240 mL/h", "800 kg", "0.08 mg/mL", "", device.Deny, reasonWeight},
		{"240 mL/h", "80 kg", "0.008 mg/mL", "", device.Deny, reasonStrength},
		{"24 mL/h", "80 kg", "0.08 [iU]/mL", "", device.Deny, reasonStrength},
		{"24 mL/h", "80 kg", "0.08 mg/mL", "Potassium chloride", device.Deny, reasonDrug},
	} {
		r := ask(t, device.SetInfusionRate, x.flow, "")
		r.Weight, r.Command.Drug = quantity(t, x.weight), x.drug
		r.Concentration = quantity(t, x.concentration)
		if d := w.Judge(ward, e, r); d.Verdict != x.want || d.Reason != x.reason {
			t.Errorf("%+v: %v, %s", x, d.Verdict, d.Reason)
		}
	}
}

// TestRepeatedUncounted: a suspend again is a change, and the time without insulin adds
// up, when there is no room to follow the first one, too.
func TestRepeatedUncounted(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "1 U/h")}); err != nil {
		t.Fatal(err)
	}
	for range maxOpen {
		_, res, _ := w.Reserve(ward, e, ask(t, device.CancelBolus, "", ""))
		res.Sent()
		res.Doubted()
	}
	suspend := ask(t, device.Suspend, "", "2 h")
	if d, _, err := w.Reserve(ward, e, suspend); !d.Rescue || err != nil {
		t.Fatal(d, err)
	}
	w.wait(2 * time.Hour)
	w.kill()
	if d := w.Judge(ward, e, suspend); d.Rescue || d.Verdict != device.Deny {
		t.Fatal(d)
	}
	for _, x := range w.Doubts() {
		if err := w.Settle(x.ID, false, "MH"); err != nil {
			t.Fatal(err)
		}
	}
	w.verdict(w.Judge(ward, e, suspend), device.Deny, "interruption 3h")
}

// TestLimits: each limit of a verb at its edges, and what cannot be decided.
func TestLimits(t *testing.T) {
	e := load(t, head+`therapy: drug infusion
verbs:
  set-infusion-rate:
    min: 1 mL/h
    max: 10 mL/h
    step: 2.5 mL/h
    refused-in: [Standby]
    roles: [clinician, controller]
    interval: 5m
  deliver-bolus: {max: 2 mg, longest: 30 min}
`)
	base := func() *Request {
		r := ask(t, device.SetInfusionRate, "5 mL/h", "")
		r.Command.Now, r.State = quantity(t, "5 mL/h"), "running"
		return r
	}
	none := device.Quantity{}
	for _, test := range []struct {
		name  string
		do    func(r *Request)
		limit string // "": allowed
	}{
		{"as it is", func(r *Request) {}, ""},
		{"at the step", func(r *Request) { r.Command.Value = quantity(t, "7.5 mL/h") }, ""},
		{"at the step down", func(r *Request) { r.Command.Value = quantity(t, "2.5 mL/h") }, ""},
		{"over the step", func(r *Request) { r.Command.Value = quantity(t, "7.500001 mL/h") }, "set-infusion-rate step 2.5 mL/h"},
		{"under the step", func(r *Request) { r.Command.Value = quantity(t, "2.499999 mL/h") }, "set-infusion-rate step 2.5 mL/h"},
		{"a billionth over the step", func(r *Request) { r.Command.Value = quantity(t, "7.500000001 mL/h") }, "set-infusion-rate step 2.5 mL/h"},
		{"no value now", func(r *Request) { r.Command.Now = none }, "set-infusion-rate step 2.5 mL/h"},
		{"the least", func(r *Request) { r.Command.Value, r.Command.Now = quantity(t, "1 mL/h"), quantity(t, "2 mL/h") }, ""},
		{"less", func(r *Request) {
			r.Command.Value, r.Command.Now = quantity(t, "0.999999999 mL/h"), quantity(t, "2 mL/h")
		}, "set-infusion-rate min 1 mL/h"},
		{"the most", func(r *Request) { r.Command.Value, r.Command.Now = quantity(t, "0.24 L/d"), quantity(t, "9 mL/h") }, ""},
		{"more", func(r *Request) {
			r.Command.Value, r.Command.Now = quantity(t, "10.000000001 mL/h"), quantity(t, "9 mL/h")
		}, "set-infusion-rate max 10 mL/h"},
		{"nothing", func(r *Request) { r.Command.Value = quantity(t, "0 mL/h") }, "set-infusion-rate min 1 mL/h"},
		{"less than nothing", func(r *Request) { r.Command.Value = quantity(t, "-5 mL/h") }, "set-infusion-rate"},
		{"no value", func(r *Request) { r.Command.Value = none }, "set-infusion-rate"},
		{"no unit", func(r *Request) { r.Command.Value = quantity(t, "5") }, "set-infusion-rate"},
		{"another unit", func(r *Request) { r.Command.Value = quantity(t, "5 mL") }, "set-infusion-rate"},
		{"too fine", func(r *Request) { r.Command.Value = quantity(t, "5.0000000001 mL/h") }, "set-infusion-rate"},
		{"a small exponent", func(r *Request) { r.Command.Value = quantity(t, "5E-100 mL/h") }, "set-infusion-rate"},
		{"a large exponent", func(r *Request) { r.Command.Value = quantity(t, "5E100 mL/h") }, "set-infusion-rate"},
		{"zeros behind", func(r *Request) { r.Command.Value = quantity(t, "5.000000000000000 mL/h") }, ""},
		{"no weight", func(r *Request) { r.Command.Value = quantity(t, "1 ug/kg/min") }, "set-infusion-rate"},
		{"no concentration", func(r *Request) { r.Command.Value, r.Weight = quantity(t, "1 ug/kg/min"), quantity(t, "80 kg") }, "set-infusion-rate"},
		{"by weight and concentration", func(r *Request) {
			r.Command.Value, r.Weight, r.Concentration = quantity(t, "1 ug/kg/min"), quantity(t, "80 kg"), quantity(t, "0.96 mg/mL")
		}, ""},
		{"more by weight", func(r *Request) {
			r.Command.Value, r.Weight, r.Concentration = quantity(t, "1 ug/kg/min"), quantity(t, "80 kg"), quantity(t, "0.47 mg/mL")
		}, "set-infusion-rate max 10 mL/h"},
		{"another role", func(r *Request) { r.Command.Role = device.Technician }, "set-infusion-rate roles clinician, controller"},
		{"in that state", func(r *Request) { r.State = "standby" }, "set-infusion-rate refused-in Standby"},
		{"in that state, said first of two", func(r *Request) { r.State = "standby, running" }, "set-infusion-rate refused-in Standby"},
		{"in that state, said last of two", func(r *Request) { r.State = "running, standby" }, "set-infusion-rate refused-in Standby"},
		{"in no state", func(r *Request) { r.State = "" }, "set-infusion-rate refused-in Standby"},
		{"unread", func(r *Request) { r.Undecided = "the order has two rates" }, "?"},
		{"unnamed", func(r *Request) { r.Command.Verb = device.SetProfile }, "?"},
		{"unknown", func(r *Request) { r.Command.Verb = device.NoVerb }, "?"},
		{"another therapy", func(r *Request) { r.Command.Therapy = device.InsulinInfusion }, "?"},
		{"a bolus", func(r *Request) { *r = *ask(t, device.DeliverBolus, "2 mg", "30 min") }, ""},
		{"more", func(r *Request) { *r = *ask(t, device.DeliverBolus, "2.1 mg", "30 min") }, "deliver-bolus max 2 mg"},
		{"longer", func(r *Request) { *r = *ask(t, device.DeliverBolus, "2 mg", "31 min") }, "deliver-bolus longest 30 min"},
		{"open", func(r *Request) { *r = *ask(t, device.DeliverBolus, "2 mg", "") }, "deliver-bolus longest 30 min"},
		{"for less than no time", func(r *Request) { *r = *ask(t, device.DeliverBolus, "2 mg", "-3 min") }, "deliver-bolus"},
		{"for a volume", func(r *Request) { *r = *ask(t, device.DeliverBolus, "2 mg", "3 mL") }, "deliver-bolus longest 30 min"},
		{"a read", func(r *Request) { *r = *ask(t, device.ReadSettings, "", "") }, "read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorldQuick(t)
			defer func() { w.Book.Close() }()
			r := base()
			test.do(r)
			d := w.Judge(ward, e, r)
			switch test.limit {
			case "":
				w.verdict(d, device.Allow, r.Command.Verb.String())
			case "?":
				if d.Verdict != device.Deny || d.Line != 0 || d.Reason == "" {
					t.Fatal(d)
				}
			case "read":
				w.verdict(d, device.Allow, "")
			default:
				w.verdict(d, device.Deny, test.limit)
				if d.Line == 0 || d.Reason == "" || !d.Enforced {
					t.Fatal(d)
				}
			}
		})
	}

	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	w.verdict(w.order(e, base()), device.Allow, "set-infusion-rate")
	w.wait(5*time.Minute - 1)
	w.verdict(w.order(e, base()), device.Deny, "set-infusion-rate interval 5m")
	w.wait(1)
	w.verdict(w.order(e, base()), device.Allow, "set-infusion-rate")
}

// TestConfirmation: who may be the second person, and when nobody has to.
func TestConfirmation(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, head+`therapy: drug infusion
verbs:
  deliver-bolus: {confirm: second-person, above: 2 mg, confirmers: [prescriber, nurse], hold: 90s}
  set-infusion-rate: {confirm: on-device}
`)
	bolus := func(c *Confirmation) *Request {
		r := ask(t, device.DeliverBolus, "2.5 mg", "")
		r.Command.Actor, r.Confirmed = "JR", c
		return r
	}
	w.verdict(w.Judge(ward, e, ask(t, device.DeliverBolus, "2 mg", "")), device.Allow, "deliver-bolus")
	const limit = "deliver-bolus confirm second-person above 2 mg"
	if d := w.Judge(ward, e, bolus(nil)); d.Hold != 90*time.Second || d.Confirm != SecondPerson {
		t.Fatal(d)
	}
	for _, c := range []*Confirmation{
		nil,
		{},
		{Person: "JR", Role: Nurse},
		{Person: "jr", Role: Nurse},
		{Person: "MH"},
		{Person: "MH", Role: 9},
		{Role: Nurse},
		{Person: "AP", Role: Pharmacist},
		{OnDevice: true},
	} {
		w.verdict(w.Judge(ward, e, bolus(c)), device.Hold, limit)
	}
	w.verdict(w.Judge(ward, e, bolus(&Confirmation{Person: "MH", Role: Prescriber})), device.Allow, "deliver-bolus")
	w.verdict(w.Judge(ward, e, ask(t, device.DeliverBolus, "3 mL", "")), device.Deny, "deliver-bolus") // not comparable

	r := ask(t, device.SetInfusionRate, "5 mL/h", "")
	w.verdict(w.Judge(ward, e, r), device.Hold, "set-infusion-rate confirm on-device")
	r.Confirmed = &Confirmation{Person: "MH", Role: Prescriber}
	w.verdict(w.Judge(ward, e, r), device.Hold, "set-infusion-rate confirm on-device")
	r.Confirmed = &Confirmation{OnDevice: true}
	w.verdict(w.Judge(ward, e, r), device.Allow, "set-infusion-rate")
}

func TestEmergency(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, head+`therapy: [defibrillation, pacing]
verbs: {set-pacing-rate: {roles: [emergency]}}
emergency: {verbs: [read-settings, emergency-preset, deliver-shock]}
`)
	for _, test := range []struct {
		therapy  device.Therapy
		verb     device.Verb
		attended bool
		want     device.Verdict
	}{
		{device.Pacing, device.ReadSettings, false, device.AllowEmergency},
		{device.Pacing, device.ReadTelemetry, false, device.Deny},
		{device.Pacing, device.EmergencyPreset, false, device.Allow}, // a rescue, whoever asks
		{device.Defibrillation, device.EmergencyPreset, false, device.AllowEmergency},
		{device.Defibrillation, device.DeliverShock, false, device.Deny},
		{device.Defibrillation, device.DeliverShock, true, device.Allow},
		{device.Pacing, device.SetPacingRate, true, device.Deny}, // narrow, whatever the envelope gives otherwise
		{device.Defibrillation, device.SetDetection, true, device.Deny},
	} {
		r := &Request{Emergency: true, Command: device.Command{
			Verb: test.verb, Therapy: test.therapy, Role: device.Emergency, Channel: proven, Actor: "key-2", Attended: test.attended,
		}}
		if d := w.Judge("icd-anna", e, r); d.Verdict != test.want {
			t.Errorf("%v: %v, %s", test.verb, d.Verdict, d.Reason)
		}
	}
}

// TestEmergencyRepeated: a suspend again is a change, and a break-glass session makes
// none.
func TestEmergencyRepeated(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	suspend := ask(t, device.Suspend, "", "2 h")
	suspend.Emergency = true
	if d := w.order(e, suspend); !d.Rescue {
		t.Fatal(d)
	}
	w.wait(2 * time.Hour)
	if d := w.Judge(ward, e, suspend); d.Verdict != device.Deny || d.Reason != reasonNarrow {
		t.Fatal(d)
	}
}

// TestAlone: a defibrillator is not switched off, and shocks nobody, unattended.
func TestAlone(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, head+"therapy: defibrillation\nverbs: {set-detection: {confirm: second-person}, induce: {}}\n")
	for _, v := range []device.Verb{device.SetDetection, device.Induce} {
		r := ask(t, v, "0 1", "30 min")
		r.Confirmed = &Confirmation{Person: "MH", Role: Prescriber}
		if d := w.Judge(ward, e, r); d.Reason != reasonAlone {
			t.Error(v, d)
		}
		r.Command.Attended = true
		if d := w.Judge(ward, e, r); d.Verdict != device.Allow {
			t.Error(v, d)
		}
	}
	w.verdict(w.Judge(ward, e, ask(t, device.SetDetection, "1 1", "")), device.Hold, "set-detection confirm second-person")
}

// TestObserves: an envelope that lacks what it needs records, and refuses nothing.
func TestObserves(t *testing.T) {
	whole := head + "therapy: drug infusion\nverbs: {deliver-bolus: {max: 1 mg}}\n"
	for _, test := range []struct{ old, new, why string }{
		{"", "", ""},
		{"enforce: true", "enforce: false", "enforce: false"},
		{"author: {id: MH, role: prescriber}\n", "", "no author"},
		{"approver: {id: JR, role: nurse}\n", "", "no approver"},
		{"id: JR", "id: mh", "one person"},
		{"record: RM-2026-014, ", "", "no IEC 80001-1 risk decision"},
		{", manufacturer: \"letter of 2 February 2026: no objection\"", "", "manufacturer's position"},
	} {
		w := newWorldQuick(t)
		e := load(t, strings.Replace(whole, test.old, test.new, 1))
		ok, why := e.Enforcing()
		if ok != (test.why == "") || !strings.Contains(why, test.why) {
			t.Errorf("%s: %v, %s", test.why, ok, why)
		}
		d, res, err := w.Reserve(ward, e, ask(t, device.DeliverBolus, "2 mg", ""))
		if d.Verdict != device.Deny || d.Enforced != ok || (res == nil) != ok || err != nil {
			t.Errorf("%s: %+v, %v, %v", test.why, d, res, err)
		}
		w.Book.Close()
	}
	if ok, why := (*Envelope)(nil).Enforcing(); ok || why == "" {
		t.Error("no envelope enforces")
	}
}

// TestInterruption: a stop with what is stopped already.
func TestInterruption(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, head+"therapy: drug infusion\ninterruption: 10m\nverbs: {suspend: {takes: 1s}, resume: {takes: 1s}, set-infusion-rate: {takes: 1s}}\n")
	suspend := func(limit string) Decision { return w.give(e, device.Suspend, "", limit) }
	w.verdict(suspend(""), device.Deny, "interruption 10m")
	w.verdict(suspend("601 s"), device.Deny, "interruption 10m")
	w.verdict(w.give(e, device.SetInfusionRate, "0 mL/h", ""), device.Deny, "interruption 10m")
	w.verdict(suspend("6 min"), device.Allow, "suspend")
	w.wait(5 * time.Minute)
	w.verdict(suspend("5 min"), device.Allow, "suspend")
	w.wait(time.Minute)
	w.verdict(suspend("5 min"), device.Deny, "interruption 10m")
	w.verdict(w.give(e, device.Resume, "", ""), device.Allow, "resume")
	w.wait(time.Second)
	w.verdict(suspend("10 min"), device.Allow, "suspend")
}

// TestLowestNow: a window that ends now, or soon, and has too little already, is not given less.
func TestLowestNow(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "0 U/h")}); err != nil {
		t.Fatal(err)
	}
	w.wait(4 * time.Hour)
	w.give(e, device.SetBasalRate, "1 U/h", "")
	w.wait(30 * time.Minute)
	w.verdict(w.Judge(ward, e, ask(t, device.SetBasalRate, "0.9 U/h", "")), device.Deny, "everything lowest 0.8 U in 4h")
	w.verdict(w.Judge(ward, e, ask(t, device.SetBasalRate, "1.1 U/h", "")), device.Allow, "set-basal-rate")
	w.wait(20 * time.Minute)
	w.verdict(w.Judge(ward, e, ask(t, device.SetBasalRate, "0.9 U/h", "")), device.Allow, "set-basal-rate")
}
