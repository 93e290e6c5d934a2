// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

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
