// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"iter"
	"math/bits"
	"strings"
)

// A Therapy is what a device does to a body.
type Therapy uint8

// The therapies. A device may do several ([Therapies]); an ICD paces and defibrillates.
const (
	NoTherapy Therapy = iota
	Pacing
	Defibrillation
	InsulinInfusion
	DrugInfusion
	IntrathecalInfusion
	Neurostimulation
	Ventilation
	CirculatorySupport
	Anaesthesia
	Dialysis
	Radiotherapy
	Imaging
	Laboratory
	Monitoring
	Records // archives, hospital information systems: no body, but many patients
	Hearing
	therapyCount
)

var therapies = [therapyCount]string{
	"", "pacing", "defibrillation", "insulin infusion", "drug infusion", "intrathecal infusion",
	"neurostimulation", "ventilation", "circulatory support", "anaesthesia", "dialysis",
	"radiotherapy", "imaging", "laboratory", "monitoring", "records", "hearing",
}

func (t Therapy) String() string { return name(therapies[:], int(t)) }

// ParseTherapy is the inverse of [Therapy.String].
func ParseTherapy(s string) (Therapy, bool) {
	i, ok := parse(therapies[:], s)
	return Therapy(i), ok
}

// Therapies is a set of therapies. The zero value is empty.
type Therapies uint32

// TherapiesOf returns the set of ts. NoTherapy is in no set.
func TherapiesOf(ts ...Therapy) Therapies {
	var s Therapies
	for _, t := range ts {
		if t != NoTherapy && t < therapyCount {
			s |= 1 << t
		}
	}
	return s
}

// Has reports whether t is in the set.
func (s Therapies) Has(t Therapy) bool { return t != NoTherapy && s&TherapiesOf(t) != 0 }

// First returns the therapy of the set that stands first in the list above,
// or NoTherapy.
func (s Therapies) First() Therapy {
	if s == 0 {
		return NoTherapy
	}
	return Therapy(bits.TrailingZeros32(uint32(s)))
}

// All yields the therapies of the set in the order of the list above.
func (s Therapies) All() iter.Seq[Therapy] {
	return func(yield func(Therapy) bool) {
		for t := range therapyCount {
			if s.Has(t) && !yield(t) {
				return
			}
		}
	}
}

// Harm is the worst credible harm of any therapy in the set.
func (s Therapies) Harm() Harm {
	worst := NoHarm
	for t := range s.All() {
		worst = max(worst, therapyTable[t].Harm)
	}
	return worst
}

// String returns the names, as in "pacing, defibrillation".
func (s Therapies) String() string {
	var names []string
	for t := range s.All() {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// Harm is the worst credible injury, with the five severities in common use
// with ISO 14971 (ISO/TR 24971). The zero value is unknown.
type Harm uint8

// The severities of harm.
const (
	NoHarm       Harm = iota
	Negligible        // inconvenience or temporary discomfort
	Minor             // temporary injury, no professional intervention
	Serious           // injury that needs professional intervention
	Critical          // permanent impairment or life-threatening injury
	Catastrophic      // death
)

var harms = [...]string{"", "negligible", "minor", "serious", "critical", "catastrophic"}

func (h Harm) String() string { return name(harms[:], int(h)) }

// ParseHarm is the inverse of [Harm.String].
func ParseHarm(s string) (Harm, bool) {
	i, ok := parse(harms[:], s)
	return Harm(i), ok
}

// A Rescue is a command that a therapy's table lets pass at once when its
// sender is proven, fresh and entitled.
type Rescue struct {
	Verb Verb

	// Within is the longest time the command may be for; the command must
	// carry a time in its Limit. Zero: no limit in time is asked.
	Within Quantity

	// Attended: only in an attended session.
	Attended bool

	// When is the whole condition in words, with what cannot be seen in one
	// command: that it is loud, that it is not repeated.
	When string
}

// TherapyInfo is what is safe about a therapy.
type TherapyInfo struct {
	Class   string   // what a nurse would call its usual device
	Worn    bool     // that device is implanted or worn on the body: its serial is patient data
	Harm    Harm     // the worst credible harm of its commands
	Rescues []Rescue // everything else that is not a read is a change

	// Changes are commands that are changes although they stop or lower something.
	Changes []Verb
	Why     string // how stopping can hurt

	// StopRefused: standby and stop by remote are refused, not just held.
	StopRefused bool

	// Worse is the effect that holds when the value now, or the new one, is
	// not known.
	Worse Effect

	Stay string // the state to stay in when nobody can decide
}

// maxSuspend is the longest suspend of insulin that still is a rescue. Ours,
// after what sensor-driven pumps do on their own; ketoacidosis takes hours.
var maxSuspend = Quantity{2, 0, unitsByUCUM["h"]}

// therapyTable is what is safe, by therapy. There is no universal stop. The
// rows from anaesthesia to dialysis, and records and hearing, are ours, by
// analogy; the others are agreed. All are to be signed by clinicians before
// they are used on patients.
var therapyTable = [therapyCount]TherapyInfo{
	NoTherapy: {
		Worse: Increases,
		Stay:  "as it is",
	},
	Pacing: {
		Class: "pacemaker", Worn: true, Harm: Catastrophic,
		Rescues: []Rescue{{Verb: EmergencyPreset, When: "the maker's emergency pacing preset"}},
		Changes: []Verb{Suspend, Standby, SetPacingMode, SetPacingRate, SetOutput, SetSensitivity},
		Why:     "a patient may have no heartbeat of her own; a too sensitive setting inhibits pacing",
		Worse:   Decreases,
		Stay:    "pacing",
	},
	Defibrillation: {
		Class: "defibrillator", Worn: true, Harm: Catastrophic,
		Rescues: []Rescue{
			{Verb: AbortShock, When: "abort of a commanded shock or induction"},
			{Verb: DeliverShock, Attended: true, When: "emergency shock in an attended session"},
		},
		Changes: []Verb{SetDetection, SetTherapies, Suspend},
		Why:     "detection or therapies off: attended, an external defibrillator confirmed, ends with the session",
		Worse:   Decreases,
		Stay:    "detection on",
	},
	InsulinInfusion: {
		Class: "insulin pump", Worn: true, Harm: Critical,
		Rescues: []Rescue{
			{Verb: CancelBolus, When: "always"},
			{Verb: StopPriming, When: "always"},
			{Verb: Suspend, Within: maxSuspend, When: "for a limited time: loud, expires, returns to the last confirmed basal, not repeated"},
		},
		Changes: []Verb{Suspend, StopInfusion, CancelTemporaryBasal},
		Why:     "ketoacidosis within hours of an open-ended or repeated suspend; cancelling a low temporary basal raises insulin",
		Worse:   Increases,
		Stay:    "last confirmed basal",
	},
	DrugInfusion: {
		Class: "infusion pump", Harm: Critical,
		Rescues: []Rescue{{Verb: CancelBolus, When: "always"}},
		Changes: []Verb{StopInfusion, Suspend, Standby, SetInfusionRate},
		Why:     "minutes to arrest when a vasoactive, sedative or other critical continuous drug stops",
		Worse:   Increases,
		Stay:    "keep running",
	},
	IntrathecalInfusion: {
		Class: "implanted infusion pump", Worn: true, Harm: Catastrophic,
		Rescues: []Rescue{{Verb: CancelBolus, When: "always"}},
		Changes: []Verb{StopInfusion, Suspend, SetInfusionRate},
		Why:     "baclofen withdrawal can kill",
		Worse:   Increases,
		Stay:    "keep running",
	},
	Neurostimulation: {
		Class: "neurostimulator", Worn: true, Harm: Serious,
		Rescues: []Rescue{{Verb: StimulationOff, When: "not repeated; for brain, vagus and responsive stimulators alarmed, with restore in one step"}},
		Changes: []Verb{StimulationOff, SelectProgram, SetAmplitude},
		Why:     "sudden off of deep brain stimulation can be an emergency; repeated off withholds the therapy",
		Worse:   Increases,
		Stay:    "last confirmed program",
	},
	Ventilation: {
		Class: "ventilator", Harm: Catastrophic,
		Changes: []Verb{Standby, Suspend, SetVentilation}, StopRefused: true,
		Why:   "minutes to death without breath",
		Worse: Decreases,
		Stay:  "current settings",
	},
	CirculatorySupport: {
		Class: "circulatory support", Worn: true, Harm: Catastrophic,
		Changes: []Verb{Standby, Suspend, StopInfusion}, StopRefused: true,
		Why:   "minutes to death without flow",
		Worse: Decreases,
		Stay:  "current settings",
	},
	Anaesthesia: {
		Class: "anaesthesia machine", Harm: Catastrophic,
		Changes: []Verb{Standby, Suspend, SetVentilation, StopInfusion}, StopRefused: true,
		Why:   "it breathes for the patient, and keeps him asleep",
		Worse: Increases,
		Stay:  "current settings",
	},
	Dialysis: {
		Class: "dialysis machine", Harm: Catastrophic,
		Changes: []Verb{Standby, Suspend, StopInfusion, SetInfusionRate},
		Why:     "blood that stands outside the body clots; fluid taken too fast or not at all",
		Worse:   Increases,
		Stay:    "current settings",
	},
	Radiotherapy: {
		Class: "linear accelerator", Harm: Catastrophic,
		Rescues: []Rescue{{Verb: BeamOff, When: "beam off, abort"}},
		Why:     "too much dose cannot be taken back",
		Worse:   Increases,
		Stay:    "beam off",
	},
	Imaging: {
		Class: "imaging device", Harm: Minor,
		Rescues: []Rescue{{Verb: BeamOff, When: "X-ray off, abort"}},
		Changes: []Verb{AssociatePatient, SetClock},
		Why:     "an image of the wrong patient, or a wrong time on it, misleads",
		Worse:   Increases,
		Stay:    "beam off",
	},
	Laboratory: {
		Class: "laboratory analyser", Harm: Serious,
		Changes: []Verb{SetAlarm, SetLimit, SetClock, AssociatePatient, Calibrate},
		Why:     "a wrong result is treated",
		Worse:   Masks,
		Stay:    "alarms on",
	},
	Monitoring: {
		Class: "patient monitor", Harm: Serious,
		Changes: []Verb{SetAlarm, AcknowledgeAlarm, SetLimit, SetClock, AssociatePatient},
		Why:     "an alarm that does not sound is help that does not come",
		Worse:   Masks,
		Stay:    "alarms on",
	},
	Records: {
		Class: "record system", Harm: Negligible, // privacy is not an injury; the count of subjects says how bad
		Changes: []Verb{AssociatePatient, DeleteRecords},
		Why:     "a record of the wrong patient misleads",
		Worse:   Steers,
		Stay:    "as it is",
	},
	Hearing: {
		Class: "hearing implant", Worn: true, Harm: Serious,
		Changes: []Verb{StimulationOff, SetAmplitude, SelectProgram},
		Why:     "too loud hurts; off leaves a person deaf in traffic",
		Worse:   Increases,
		Stay:    "last confirmed program",
	},
}

// Info returns the therapy's row. Its slices belong to the table.
func (t Therapy) Info() TherapyInfo {
	if t >= therapyCount {
		t = NoTherapy
	}
	return therapyTable[t]
}

// Harm is the worst credible harm of the therapy's commands, whatever the drug.
func (t Therapy) Harm() Harm { return t.Info().Harm }

// worse stands in the table of verbs for the effect that the therapy's row
// names as the worse one.
const worse = effectCount

// A verbEffect is how a verb's effect follows from its values. A verb without
// values has only unknown.
type verbEffect struct {
	up, down Effect // the new value is above, below the value now
	zero     Effect // the new value is zero or less
	on       Effect // a switch ("1" in the unit 1); 0 when the verb is no switch
	unknown  Effect // the values cannot be compared
}

// byValue is the row of a verb that sets how much is delivered.
var byValue = verbEffect{up: Increases, down: Decreases, zero: Interrupts, unknown: worse}

// always is the row of a verb that has one effect.
func always(e Effect) verbEffect { return verbEffect{up: e, down: e, zero: e, unknown: e} }

// verbTable gives each verb its effect, but for rescues, which the therapy's
// row names first.
var verbTable = [verbCount]verbEffect{
	DeliverBolus: always(Increases),
	CancelBolus:  always(Decreases),
	Prime:        always(Increases),
	StopPriming:  always(Decreases),

	SetBasalRate:         byValue,
	SetTemporaryBasal:    byValue,
	CancelTemporaryBasal: byValue, // back from a low rate is up
	SetInfusionRate:      byValue,
	StopInfusion:         always(Interrupts),
	SetProfile:           always(worse),
	SetClosedLoop:        always(Steers),
	Suspend:              always(Interrupts),
	Resume:               always(Restores),

	SetPacingMode:   always(Interrupts), // one of the modes does not pace
	SetPacingRate:   byValue,
	SetOutput:       byValue,
	SetSensitivity:  {up: Increases, down: Decreases, zero: Decreases, unknown: worse}, // in mV: less is more sensitive and inhibits
	SetDetection:    {up: Decreases, down: Increases, zero: Interrupts, on: Restores, unknown: Interrupts},
	SetTherapies:    {up: Increases, down: Decreases, zero: Interrupts, on: Restores, unknown: Interrupts},
	EmergencyPreset: always(Increases),
	DeliverShock:    always(Increases),
	AbortShock:      always(Interrupts),
	Induce:          always(Increases),

	SetAmplitude:   byValue,
	SelectProgram:  always(worse),
	StimulationOff: always(Interrupts),
	BeamOff:        always(Interrupts),
	SetVentilation: byValue,
	Standby:        always(Interrupts),

	Calibrate:        always(Steers),
	ReportGlucose:    always(Steers), // false sensor data doses insulin
	SetClock:         always(Steers), // shifts a basal profile
	SetLimit:         {up: Loosens, down: Decreases, zero: Decreases, unknown: Loosens},
	SetAlarm:         {up: Masks, down: NoEffect, zero: Masks, unknown: Masks}, // 0 is more often "off" than "no silence"
	AcknowledgeAlarm: always(Masks),
	LoadDrugLibrary:  always(Loosens), // the limits of many patients at once
	AssociatePatient: always(Steers),
	DeleteRecords:    always(Masks),
	DisableRadio:     always(Masks), // its alarms reach nobody
	Wake:             always(Drains),
	Pair:             always(Trusts),
	Install:          always(Trusts),
	ReadTelemetry:    always(Reads),
	ReadSettings:     always(Reads),
}

// rowFor returns the row of a verb under a therapy. A defibrillator that
// senses less misses the fibrillation; one that senses more shocks needlessly.
func rowFor(v Verb, t Therapy) verbEffect {
	if v == SetSensitivity && t == Defibrillation {
		return verbEffect{up: Decreases, down: Increases, zero: Increases, unknown: worse}
	}
	if v >= verbCount {
		v = NoVerb
	}
	return verbTable[v]
}

var one = unitsByUCUM["1"]

// EffectOf returns what a command does to the therapy. It follows from
// therapy, verb, new value and value now; where one of these is not known the
// worse effect holds. Who asks, and how well that is proven, does not matter
// here: see [Command.IsRescue]. NoEffect is that of an unknown verb, of a value
// that stays as it is, and of an alarm that is narrowed.
func EffectOf(c *Command) Effect {
	if rescueOf(c) != nil {
		return Rescues
	}
	e := rowFor(c.Verb, c.Therapy).effect(c.Value, c.Now)
	if e == worse {
		e = c.Therapy.Info().Worse
	}
	return e
}

func (r verbEffect) effect(value, now Quantity) Effect {
	switch {
	case value.Unit == NoUnit:
		return r.unknown
	case value.Coefficient <= 0:
		return r.zero
	case value.Unit == one && r.on != NoEffect:
		return r.on
	case now.Unit == NoUnit:
		return r.unknown
	}
	c, ok := value.Cmp(now)
	switch {
	case !ok:
		return r.unknown
	case c > 0:
		return r.up
	case c < 0:
		return r.down
	case r.up == r.down: // a verb with one effect has it however often
		return r.up
	}
	return NoEffect
}

// rescueOf returns the row of the therapy's table that names the command, if
// what the command itself says meets its conditions.
func rescueOf(c *Command) *Rescue {
	if c.Therapy >= therapyCount {
		return nil
	}
	rescues := therapyTable[c.Therapy].Rescues
	for i := range rescues {
		r := &rescues[i]
		if r.Verb != c.Verb || r.Attended && !c.Attended {
			continue
		}
		if !r.Within.IsNone() {
			if order, ok := c.Limit.Cmp(r.Within); !ok || order > 0 || c.Limit.Coefficient <= 0 {
				continue
			}
		}
		return r
	}
	return nil
}

// IsRescue reports whether the command must pass at once: the therapy's table
// names it, and its sender is proven, fresh and entitled. A stop that is
// unproven or may be replayed is a change like any other. That a rescue is not
// repeated is for the caller to count.
func (c *Command) IsRescue() bool {
	const proven = Authenticated | Fresh
	return c.Channel&proven == proven && c.Role != NoRole && EffectOf(c) == Rescues
}

// IsChange reports whether the command has to be judged: it is neither a
// rescue nor a read.
func (c *Command) IsChange() bool { return !c.IsRescue() && EffectOf(c) != Reads }

// IsRefused reports whether the command is a stop that the therapy's table
// refuses from afar, whoever asks.
func (c *Command) IsRefused() bool {
	return c.Therapy.Info().StopRefused && EffectOf(c) == Interrupts
}

// effectHarm is the most harm that an effect can do by itself; the effects not
// named here can do all that the therapy can.
var effectHarm = map[Effect]Harm{
	Reads:  Negligible,
	Drains: Serious, // an early operation to change the battery
}

// criticalDrugs are continuous drugs whose stop or excess kills within minutes,
// by their generic names (WHO INN and United States), in lower case.
var criticalDrugs = map[string]bool{
	"adrenaline": true, "epinephrine": true, "noradrenaline": true, "norepinephrine": true, "vasopressin": true,
	"phenylephrine": true, "dopamine": true, "dobutamine": true, "milrinone": true, "isoprenaline": true,
	"isoproterenol": true, "levosimendan": true, "nitroprusside": true, "esmolol": true, "epoprostenol": true,
	"treprostinil": true, "alprostadil": true, "amiodarone": true, "potassium chloride": true, "propofol": true,
	"remifentanil": true, "fentanyl": true, "morphine": true, "hydromorphone": true, "ketamine": true, "midazolam": true,
	"thiopental": true, "rocuronium": true, "vecuronium": true, "cisatracurium": true, "insulin": true,
}

// CriticalDrug returns a text, without the space around it, that is the generic
// name of a drug whose stop or excess kills within minutes; "" of any other.
func CriticalDrug(text string) string {
	if text = strings.TrimSpace(text); criticalDrugs[strings.ToLower(text)] {
		return text
	}
	return ""
}

// HarmOf returns the worst credible harm of a command: that of its therapy,
// less where the effect cannot do as much, death where the drug is one that
// kills within minutes.
func HarmOf(c *Command) Harm {
	h := c.Therapy.Harm()
	if c.Therapy == DrugInfusion && CriticalDrug(c.Drug) != "" {
		h = Catastrophic
	}
	if most, ok := effectHarm[EffectOf(c)]; ok {
		h = min(h, most)
	}
	return h
}
