// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ExampleEffectOf() {
	c := &Command{Therapy: InsulinInfusion, Verb: CancelTemporaryBasal}
	c.Value, _ = ParseQuantity("1.0 units/h") // the basal rate that comes back
	c.Now, _ = ParseQuantity("0.1 units/h")   // a low temporary one
	fmt.Println(EffectOf(c))
	// Output: increases
}

func ExampleCommand_IsRescue() {
	c := &Command{Therapy: InsulinInfusion, Verb: Suspend, Role: Patient, Channel: Encrypted | Authenticated | Fresh}
	fmt.Println(c.IsRescue()) // open-ended
	c.Limit, _ = ParseQuantity("30 min")
	fmt.Println(c.IsRescue())
	c.Channel = Encrypted | Authenticated // may be a replay
	fmt.Println(c.IsRescue())
	// Output:
	// false
	// true
	// false
}

// Each row is one sentence of the table of what is safe.
func TestRescues(t *testing.T) {
	const proven = Authenticated | Fresh
	for _, test := range []struct {
		therapy  Therapy
		verb     Verb
		limit    string
		attended bool
		rescue   bool
	}{
		{InsulinInfusion, CancelBolus, "", false, true},
		{InsulinInfusion, StopPriming, "", false, true},
		{InsulinInfusion, Suspend, "30 min", false, true},
		{InsulinInfusion, Suspend, "2 h", false, true},
		{InsulinInfusion, Suspend, "120 min", false, true},
		{InsulinInfusion, Suspend, "121 min", false, false},
		{InsulinInfusion, Suspend, "0 min", false, false},
		{InsulinInfusion, Suspend, "-5 min", false, false},
		{InsulinInfusion, Suspend, "30", false, false},
		{InsulinInfusion, Suspend, "2 mL", false, false},
		{InsulinInfusion, Suspend, "", false, false},
		{InsulinInfusion, CancelTemporaryBasal, "", false, false},
		{InsulinInfusion, StopInfusion, "", false, false},
		{InsulinInfusion, Resume, "", false, false},
		{DrugInfusion, CancelBolus, "", false, true},
		{DrugInfusion, StopInfusion, "", false, false},
		{DrugInfusion, Suspend, "30 min", false, false},
		{IntrathecalInfusion, CancelBolus, "", false, true},
		{IntrathecalInfusion, StopInfusion, "", false, false},
		{Pacing, EmergencyPreset, "", false, true},
		{Pacing, Suspend, "1 min", true, false},
		{Pacing, SetPacingMode, "", true, false},
		{Pacing, SetPacingRate, "", false, false},
		{Pacing, SetOutput, "", false, false},
		{Pacing, SetSensitivity, "", false, false},
		{Pacing, DeliverShock, "", true, false},
		{Defibrillation, AbortShock, "", false, true},
		{Defibrillation, DeliverShock, "", true, true},
		{Defibrillation, DeliverShock, "", false, false},
		{Defibrillation, SetDetection, "", true, false},
		{Defibrillation, SetTherapies, "", true, false},
		{Defibrillation, Induce, "", true, false},
		{Ventilation, Standby, "", true, false},
		{Ventilation, Suspend, "1 min", true, false},
		{CirculatorySupport, Standby, "", true, false},
		{Neurostimulation, StimulationOff, "", false, true},
		{Neurostimulation, SelectProgram, "", false, false},
		{Radiotherapy, BeamOff, "", false, true},
		{Imaging, BeamOff, "", false, true},
		{Monitoring, SetAlarm, "", false, false},
		{Monitoring, AcknowledgeAlarm, "", false, false},
		{NoTherapy, CancelBolus, "", false, false},
		{Therapy(200), CancelBolus, "", false, false},
		{InsulinInfusion, Verb(200), "", false, false},
	} {
		c := Command{Therapy: test.therapy, Verb: test.verb, Attended: test.attended, Role: Clinician, Channel: proven}
		if test.limit != "" {
			c.Limit = quantity(t, test.limit)
		}
		if got := c.IsRescue(); got != test.rescue {
			t.Errorf("%v %v within %q, attended %v: rescue is %v", test.therapy, test.verb, test.limit, test.attended, got)
		}
		if c.IsChange() == c.IsRescue() {
			t.Errorf("%v %v is rescue and change, or neither", test.therapy, test.verb)
		}
		// Unproven, replayable or without a role nothing is a rescue.
		for _, weak := range []Protection{0, Encrypted, Authenticated, Fresh, Encrypted | Fresh, Encrypted | Authenticated} {
			w := c
			w.Channel = weak
			if w.IsRescue() {
				t.Errorf("%v %v is a rescue over a channel of %b", test.therapy, test.verb, weak)
			}
		}
		c.Role = NoRole
		if c.IsRescue() {
			t.Errorf("%v %v is a rescue without a role", test.therapy, test.verb)
		}
	}
}

// No verb is a rescue but those that the table names: one test for every pair.
func TestNothingElseIsARescue(t *testing.T) {
	want := map[[2]int]bool{
		{int(InsulinInfusion), int(CancelBolus)}: true, {int(InsulinInfusion), int(StopPriming)}: true, {int(InsulinInfusion), int(Suspend)}: true,
		{int(DrugInfusion), int(CancelBolus)}: true, {int(IntrathecalInfusion), int(CancelBolus)}: true,
		{int(Pacing), int(EmergencyPreset)}: true, {int(Defibrillation), int(AbortShock)}: true, {int(Defibrillation), int(DeliverShock)}: true,
		{int(Neurostimulation), int(StimulationOff)}: true, {int(Radiotherapy), int(BeamOff)}: true, {int(Imaging), int(BeamOff)}: true,
	}
	for th := range therapyCount {
		for v := range verbCount {
			c := Command{Therapy: th, Verb: v, Attended: true, Limit: quantity(t, "1 min"), Role: Clinician, Channel: Authenticated | Fresh}
			if got := c.IsRescue(); got != want[[2]int{int(th), int(v)}] {
				t.Errorf("%v %v: rescue is %v", th, v, got)
			}
		}
	}
}

func TestEffectOf(t *testing.T) {
	for _, test := range []struct {
		therapy    Therapy
		verb       Verb
		value, now string
		want       Effect
	}{
		{InsulinInfusion, DeliverBolus, "4 [iU]", "", Increases},
		{InsulinInfusion, Prime, "", "", Increases},
		{InsulinInfusion, SetBasalRate, "1.5 [iU]/h", "1 [iU]/h", Increases},
		{InsulinInfusion, SetBasalRate, "0.5 [iU]/h", "1 [iU]/h", Decreases},
		{InsulinInfusion, SetBasalRate, "0 [iU]/h", "1 [iU]/h", Interrupts},
		{InsulinInfusion, SetBasalRate, "0 [iU]/h", "", Interrupts},
		{InsulinInfusion, SetBasalRate, "1.0 [iU]/h", "1000 m[iU]/h", NoEffect},
		{InsulinInfusion, SetBasalRate, "0.5 [iU]/h", "", Increases},       // value now unknown
		{InsulinInfusion, SetBasalRate, "", "1 [iU]/h", Increases},         // new value unknown
		{InsulinInfusion, SetBasalRate, "0.5 mL/h", "1 [iU]/h", Increases}, // not comparable
		{InsulinInfusion, SetTemporaryBasal, "0.2 [iU]/h", "1 [iU]/h", Decreases},
		{InsulinInfusion, CancelTemporaryBasal, "1 [iU]/h", "0.2 [iU]/h", Increases},
		{InsulinInfusion, CancelTemporaryBasal, "1 [iU]/h", "2 [iU]/h", Decreases},
		{InsulinInfusion, CancelTemporaryBasal, "", "", Increases},
		{InsulinInfusion, SetProfile, "", "", Increases},
		{InsulinInfusion, SetClosedLoop, "", "", Steers},
		{InsulinInfusion, Suspend, "", "", Interrupts},
		{InsulinInfusion, Resume, "", "", Restores},
		{InsulinInfusion, CancelBolus, "", "", Rescues},
		{InsulinInfusion, ReportGlucose, "40 mg/dL", "120 mg/dL", Steers},
		{InsulinInfusion, Calibrate, "100 mg/dL", "100 mg/dL", Steers},
		{InsulinInfusion, SetClock, "", "", Steers},
		{InsulinInfusion, SetLimit, "20 [iU]", "10 [iU]", Loosens},
		{InsulinInfusion, SetLimit, "5 [iU]", "10 [iU]", Decreases},
		{InsulinInfusion, SetLimit, "5 [iU]", "", Loosens},
		{InsulinInfusion, Pair, "", "", Trusts},
		{DrugInfusion, SetInfusionRate, "4 ug/kg/min", "0.2 ug/kg/min", Increases},
		{DrugInfusion, SetInfusionRate, "200 ng/kg/min", "4 ug/kg/min", Decreases},
		{DrugInfusion, SetInfusionRate, "10 mL/h", "4 ug/kg/min", Increases},
		{DrugInfusion, StopInfusion, "", "", Interrupts},
		{DrugInfusion, LoadDrugLibrary, "", "", Loosens},
		{DrugInfusion, CancelBolus, "", "", Rescues},
		{Pacing, SetPacingRate, "", "", Decreases},
		{Pacing, SetPacingRate, "30 ppm", "60 ppm", Decreases},
		{Pacing, SetPacingRate, "180 ppm", "60 bpm", Increases},
		{Pacing, SetPacingMode, "", "", Interrupts},
		{Pacing, SetOutput, "0.5 V", "2.5 V", Decreases},
		{Pacing, SetSensitivity, "0.3 mV", "2 mV", Decreases}, // too sensitive: inhibits
		{Pacing, CancelBolus, "", "", Decreases},
		{Defibrillation, SetSensitivity, "2 mV", "0.3 mV", Decreases}, // fibrillation is missed
		{Defibrillation, SetSensitivity, "0.1 mV", "0.3 mV", Increases},
		{Defibrillation, SetDetection, "0 1", "", Interrupts},
		{Defibrillation, SetDetection, "1 1", "", Restores},
		{Defibrillation, SetDetection, "220 bpm", "180 bpm", Decreases},
		{Defibrillation, SetDetection, "", "", Interrupts},
		{Defibrillation, SetTherapies, "0 1", "1 1", Interrupts},
		{Defibrillation, SetTherapies, "1 1", "0 1", Restores},
		{Defibrillation, DeliverShock, "35 J", "", Increases},
		{Defibrillation, Induce, "", "", Increases},
		{Ventilation, SetVentilation, "", "", Decreases},
		{Ventilation, SetVentilation, "0 L/min", "6 L/min", Interrupts},
		{Ventilation, Standby, "", "", Interrupts},
		{Neurostimulation, SetAmplitude, "8 mA", "2 mA", Increases},
		{Neurostimulation, SelectProgram, "", "", Increases},
		{Monitoring, SetAlarm, "", "", Masks},
		{Monitoring, SetAlarm, "90 bpm", "40 bpm", Masks}, // the silent band grows
		{Monitoring, SetAlarm, "40 bpm", "90 bpm", NoEffect},
		{Monitoring, SetAlarm, "0 1", "", Masks},
		{Monitoring, AcknowledgeAlarm, "", "", Masks},
		{Monitoring, AssociatePatient, "", "", Steers},
		{Monitoring, ReadTelemetry, "", "", Reads},
		{Monitoring, SetProfile, "", "", Masks},
		{Pacing, Wake, "", "", Drains},
		{Pacing, Install, "", "", Trusts},
		{Pacing, DisableRadio, "", "", Masks},
		{NoTherapy, NoVerb, "", "", NoEffect},
		{NoTherapy, SetBasalRate, "", "", Increases},
		{Therapy(99), Verb(99), "1 [iU]", "2 [iU]", NoEffect},
	} {
		c := Command{Therapy: test.therapy, Verb: test.verb}
		if test.value != "" {
			c.Value = quantity(t, test.value)
		}
		if test.now != "" {
			c.Now = quantity(t, test.now)
		}
		if got := EffectOf(&c); got != test.want {
			t.Errorf("%v %v %q from %q: %v, want %v", test.therapy, test.verb, test.value, test.now, got, test.want)
		}
	}
}

// A value that is not known never looks safer than the worst that it could be.
func TestUnknownIsNeverSafer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Command{
			Therapy: Therapy(rapid.IntRange(0, int(therapyCount)-1).Draw(t, "therapy")),
			Verb:    Verb(rapid.IntRange(1, int(verbCount)-1).Draw(t, "verb")),
			Value:   anyQuantity.Draw(t, "value"),
			Now:     anyQuantity.Draw(t, "now"),
		}
		known := EffectOf(&c)
		c.Now = Quantity{}
		unknown := EffectOf(&c)
		if known != NoEffect && unknown == NoEffect || known != Reads && unknown == Reads || known != Rescues && unknown == Rescues {
			t.Fatalf("%v %v: %v with the value now, %v without", c.Therapy, c.Verb, known, unknown)
		}
	})
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		therapy Therapy
		verb    Verb
		want    bool
	}{
		{Ventilation, Standby, true},
		{Ventilation, Suspend, true},
		{CirculatorySupport, Standby, true},
		{CirculatorySupport, StopInfusion, true},
		{Ventilation, ReadSettings, false},
		{DrugInfusion, StopInfusion, false},
		{Pacing, Suspend, false},
	} {
		c := Command{Therapy: test.therapy, Verb: test.verb, Role: Emergency, Channel: Encrypted | Authenticated | Fresh, Attended: true}
		if got := c.IsRefused(); got != test.want {
			t.Errorf("%v %v: refused is %v", test.therapy, test.verb, got)
		}
	}
}

func TestHarmOf(t *testing.T) {
	for _, test := range []struct {
		c    Command
		want Harm
	}{
		{Command{Therapy: DrugInfusion, Verb: SetInfusionRate, Drug: "Noradrenaline"}, Catastrophic},
		{Command{Therapy: DrugInfusion, Verb: SetInfusionRate, Drug: "sodium chloride"}, Critical},
		{Command{Therapy: DrugInfusion, Verb: SetInfusionRate}, Critical},
		{Command{Therapy: DrugInfusion, Verb: ReadSettings, Drug: "noradrenaline"}, Negligible},
		{Command{Therapy: InsulinInfusion, Verb: DeliverBolus}, Critical},
		{Command{Therapy: Pacing, Verb: Wake}, Serious},
		{Command{Therapy: Imaging, Verb: Wake}, Minor},
		{Command{Therapy: Defibrillation, Verb: SetTherapies}, Catastrophic},
		{Command{Verb: SetTherapies}, NoHarm},
	} {
		if got := HarmOf(&test.c); got != test.want {
			t.Errorf("%v %v of %q: %v, want %v", test.c.Therapy, test.c.Verb, test.c.Drug, got, test.want)
		}
	}
}

// The tables are whole: every verb has a row, every therapy what its row promises.
func TestTables(t *testing.T) {
	for v := NoVerb + 1; v < verbCount; v++ {
		if verbTable[v] == (verbEffect{}) {
			t.Errorf("%v has no effect", v)
		}
		if got, ok := ParseVerb(v.String()); !ok || got != v || v.String() == "" {
			t.Errorf("%v is %v after a round", v, got)
		}
	}
	for th := NoTherapy + 1; th < therapyCount; th++ {
		info := th.Info()
		if info.Class == "" || info.Harm == NoHarm || info.Stay == "" || info.Why == "" || info.Worse == NoEffect {
			t.Errorf("%v: its row is not whole: %+v", th, info)
		}
		for _, r := range info.Rescues {
			if r.When == "" {
				t.Errorf("%v: %v is a rescue without words", th, r.Verb)
			}
		}
		if info.StopRefused && len(info.Rescues) > 0 {
			t.Errorf("%v: a stop is refused and something is a rescue", th)
		}
		for _, v := range info.Changes {
			c := Command{Therapy: th, Verb: v, Role: Clinician, Channel: Authenticated | Fresh}
			if v != StimulationOff && !c.IsChange() {
				t.Errorf("%v: %v is no change", th, v)
			}
		}
		if got, ok := ParseTherapy(th.String()); !ok || got != th {
			t.Errorf("%v is %v after a round", th, got)
		}
	}
	for h := NoHarm + 1; h <= Catastrophic; h++ {
		if got, ok := ParseHarm(h.String()); !ok || got != h {
			t.Errorf("%v is %v after a round", h, got)
		}
	}
	for e := NoEffect + 1; e < effectCount; e++ {
		if e.String() == "" {
			t.Errorf("effect %d has no name", e)
		}
	}
	for d := range criticalDrugs {
		if d != strings.ToLower(d) {
			t.Errorf("%q would never be found", d)
		}
	}
}

func TestTherapies(t *testing.T) {
	s := TherapiesOf(Defibrillation, Pacing, NoTherapy)
	if s.String() != "pacing, defibrillation" || s.First() != Pacing || s.Harm() != Catastrophic || !s.Has(Defibrillation) || s.Has(Imaging) || s.Has(NoTherapy) {
		t.Errorf("%v: first %v, harm %v", s, s.First(), s.Harm())
	}
	var none Therapies
	if none.String() != "" || none.First() != NoTherapy || none.Harm() != NoHarm || TherapiesOf(Therapy(99)) != 0 {
		t.Error("the empty set is not empty")
	}
}
