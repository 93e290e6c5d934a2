// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
)

// A ClinicalRole is of a person who may approve an envelope or confirm a
// therapy command. There is none for engineers, analysts and administrators.
type ClinicalRole uint8

// The clinical roles.
const (
	NoClinicalRole ClinicalRole = iota
	Prescriber
	Pharmacist
	Nurse
)

var clinicalRoles = []string{"", "prescriber", "pharmacist", "nurse"}

func (r ClinicalRole) String() string {
	if int(r) < len(clinicalRoles) {
		return clinicalRoles[r]
	}
	return ""
}

// ParseClinicalRole is the inverse of [ClinicalRole.String]. No role is none.
func ParseClinicalRole(s string) (ClinicalRole, bool) {
	for i, name := range clinicalRoles {
		if i > 0 && name == s {
			return ClinicalRole(i), true
		}
	}
	return NoClinicalRole, false
}

// A Person stands behind an envelope: an id that the hospital gives (initials
// or a number, never a name) and the role.
type Person struct {
	ID   string
	Role ClinicalRole
}

// A Risk is the recorded IEC 80001-1 decision to put a guard before the device.
type Risk struct {
	Record       string // where it is filed
	Manufacturer string // the manufacturer's position, in a few words
}

// Confirm is who has to confirm a command before it goes out.
type Confirm uint8

// The kinds of confirmation.
const (
	NoConfirm    Confirm = iota
	SecondPerson         // another person than who asks, in a clinical role, at the guard's page
	OnDevice             // a person at the device; it asks by itself before it starts (an order of IHE PCD-03)
)

var confirms = []string{"", "second-person", "on-device"}

func (c Confirm) String() string {
	if int(c) < len(confirms) {
		return confirms[c]
	}
	return ""
}

// Limits are what the envelope says about one verb. Zero values are no limits,
// but what is not named at all is refused.
type Limits struct {
	Verb device.Verb
	Line int // of the file

	Unit           device.Unit        // of Value; conversions are exact, or there is no decision
	Min, Max, Step device.Quantity    // of Value; Step is the largest change at once from the value now
	Longest        device.Quantity    // of the time that comes with the command (Limit)
	Interval       time.Duration      // least time from one such command to the next
	Roles          []device.Role      // who may ask, as proven; empty: a clinician
	Confirm        Confirm            // who confirms
	Above          device.Quantity    // a confirmation is needed for more than this only; none: always
	Confirmers     []ClinicalRole     // who may be the second person; empty: any clinical role
	RefusedIn      []string           // states of the therapy
	Hold           time.Duration      // how long it may wait for a confirmation
	Takes          time.Duration      // how long a dose without a time of its own may take the device; 0: 1 h
	Counts         [2]device.Quantity // least and most that runs afterwards, of a verb whose value does not say (set-profile)

	rules [limitKeys]rule
}

// A Sum is a limit of what is given in any window of a length.
type Sum struct {
	Line            int
	Verb            device.Verb // what this verb alone gives; NoVerb: all that delivers the substance
	Window          time.Duration
	Highest, Lowest device.Quantity

	most, least  int64 // the same in millionths of the unit
	above, below rule
}

// A rule is one limit of the file, in the words of a decision.
type rule struct {
	line   int
	limit  string // as it stands there
	reason string // for a nurse
}

// Emergency is what a break-glass session may ask for: reads, rescues, and the
// emergency preset. Nothing else can be written there.
type Emergency struct {
	Line  int
	Verbs []device.Verb
}

// An Envelope has the limits inside which a command is safe. It does not change
// once it was read; several goroutines may use it.
type Envelope struct {
	Name    string
	Version int
	Therapy device.Therapy
	Drug    string // as orders name it, or ""

	// By which a flow is a dose, when the envelope states them: then no order's own count.
	Weight        device.Quantity // of the patient
	Concentration device.Quantity // of the drug

	Author, Approver Person
	Risk             Risk
	Enforce          bool // what the file asks for; see Enforcing

	Verbs []Limits
	Sums  []Sum
	Unit  device.Unit // in which sums are counted; NoUnit without sums
	// Interruption is the longest time that nothing may be delivered for.
	Interruption time.Duration
	Emergency    Emergency
	// StateHolds is how long the state that the device told last is believed.
	StateHolds time.Duration

	Therapies device.Therapies // all that the file names; Therapy is the first

	digest   [32]byte
	enforces bool        // Enforcing, asked once
	rateUnit device.Unit // Unit per hour
	stays    rule        // of Interruption
	orders   map[device.Verb]int
}

// StateHolds is how long a device's word about its therapy's state holds when the
// envelope does not say: as long as a held command may wait without a word about that,
// and several times what a gateway leaves between two reports of PCD-01. Afterwards the
// state is unknown, and what depends on it is refused.
const StateHolds = 5 * time.Minute

// Enforcing reports whether the envelope may refuse anything, and if not why:
// it does not ask for that, or lacks somebody's name who answers for it. What is
// decided is recorded all the same. A nil envelope never enforces.
func (e *Envelope) Enforcing() (ok bool, why string) {
	if e == nil {
		return false, "the device has no envelope"
	}
	if !e.Enforce {
		return false, "the envelope says enforce: false"
	}
	for _, p := range []struct {
		Person
		what string
	}{{e.Author, "author"}, {e.Approver, "approver"}} {
		if p.ID == "" || p.Role == NoClinicalRole {
			return false, "the envelope names no " + p.what + " in a clinical role"
		}
	}
	switch {
	case strings.EqualFold(e.Author.ID, e.Approver.ID):
		return false, "author and approver of the envelope are one person"
	case e.Version == 0:
		return false, "the envelope has no version"
	case e.Risk.Record == "":
		return false, "the envelope names no IEC 80001-1 risk decision"
	case e.Risk.Manufacturer == "":
		return false, "the risk decision does not name the manufacturer's position"
	}
	return true, ""
}

// Digest is the SHA-256 of the file; zeros where there is none.
func (e *Envelope) Digest() [32]byte {
	if e == nil {
		return [32]byte{}
	}
	return e.digest
}
