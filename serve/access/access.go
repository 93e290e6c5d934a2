// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package access says who may do what on a server: roles, the one table of
// permissions, who is behind a request, and the handlers' shape.
//
// This API follows the server and may change.
package access

import "strings"

// A Role is what a person is here for. People may have several: it is a set of bits.
type Role uint32

// The roles.
const (
	Viewer Role = 1 << iota
	Analyst
	Engineer     // clinical engineer
	Clinician    // prescriber, pharmacist, nurse
	Manufacturer // its own products only
	Auditor
	Administrator
)

var roleNames = [...]string{"viewer", "analyst", "clinical engineer", "clinician", "manufacturer", "auditor", "administrator"}

// Each role's name, in the order of the bits.
func Names() []string { return roleNames[:] }

func (r Role) String() string {
	var names []string
	for i, n := range roleNames {
		if r&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// ParseRole is the inverse of [Role.String] for one role.
func ParseRole(name string) (Role, bool) {
	for i, n := range roleNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// A Permission is what a route needs.
type Permission uint8

// The permissions. [Permissions] says who has them.
const (
	Nobody         Permission = iota // the zero value lets nobody in
	Anyone                           // also who is not signed in
	SignedIn                         // whoever is, and has any role
	Oneself                          // own password, passkeys, tokens, sessions, whatever the role, and without one
	SeeDevices                       // devices, findings, map: a manufacturer those of its products
	SeeAll                           // of everybody's products: search, today, sensors
	EditDevices                      // ward, owner, criticality; merge and split
	TriageFindings                   // state, reason, assignee, comments
	Export
	SeeDocuments
	AddDocuments // advisories, bills of materials; decide a review
	SeeVerdicts
	ConfirmCommands // therapy: clinicians alone
	ApproveEnvelopes
	SettleDoubts
	SeeBodyWorn // identities of what is in or on a body: with a reason, in the ledger
	SeeLedger
	RunUpdates     // take in releases; begin roll-outs, and let them go on
	HaltUpdates    // whoever sees something wrong
	ConsentUpdates // clinicians alone: for themselves, and for the patient who was asked
	AttendUpdates  // be there, say how it went, say what cannot be updated
	RelaxUpdates   // a gate, with a second person, as far as a plan lets them
	ManageSensors
	ManagePeople
	ManageSettings
	permissionEnd
)

// A Grant is a row of the table.
type Grant struct {
	Name  string
	Says  string
	Roles Role   // that have it
	Scope string // of a token that may use it: "read", "triage", "ingest", "update", "admin"; "" is none: people alone
}

const everybody = Viewer | Analyst | Engineer | Clinician | Auditor | Administrator

// Permissions is the one table of who may what.
var Permissions = [permissionEnd]Grant{
	Nobody:           {"nobody", "nobody", 0, ""},
	Anyone:           {"anyone", "everybody, signed in or not", 0, ""},
	SignedIn:         {"signed in", "everybody who is signed in", everybody | Manufacturer, "read"},
	Oneself:          {"oneself", "the own password, passkeys, tokens and sessions", everybody | Manufacturer, ""},
	SeeDevices:       {"see devices", "devices and findings", everybody | Manufacturer, "read"},
	SeeAll:           {"see all", "what is of the whole hospital", everybody, "read"},
	EditDevices:      {"edit devices", "ward, owner, criticality, which identities are one device", Analyst | Engineer, "triage"},
	TriageFindings:   {"triage findings", "state, assignee, comments of findings", Analyst | Engineer, "triage"},
	Export:           {"export", "lists as files", everybody, "read"},
	SeeDocuments:     {"see documents", "advisories and bills of materials", everybody | Manufacturer, "read"},
	AddDocuments:     {"add documents", "advisories and bills of materials", Analyst | Engineer, "ingest"},
	SeeVerdicts:      {"see verdicts", "what guards decided, and what waits", everybody, "read"},
	ConfirmCommands:  {"confirm commands", "therapy that a guard holds", Clinician, ""},
	ApproveEnvelopes: {"approve envelopes", "the limits of therapy", Clinician, ""},
	SettleDoubts:     {"settle doubts", "doses whose fate is unknown", Clinician, ""},
	SeeBodyWorn:      {"see body-worn identities", "serial numbers of what is in or on a body", Clinician, ""},
	SeeLedger:        {"see the ledger", "entries and proofs", Auditor | Analyst | Administrator | Engineer | Clinician, "read"},
	RunUpdates:       {"run updates", "releases, and their roll-outs", Engineer, "update"},
	HaltUpdates:      {"halt updates", "pause and halt roll-outs", Analyst | Engineer | Clinician | Administrator, "update"},
	ConsentUpdates:   {"consent to updates", "the clinician's and the patient's consent, and how much patients depend on a device", Clinician, "update"},
	AttendUpdates:    {"attend updates", "who is there, how it went, what cannot be updated", Engineer | Clinician, "update"},
	RelaxUpdates:     {"relax gates of updates", "with a second person, as far as the plan lets them", Analyst | Engineer | Clinician, "update"},
	ManageSensors:    {"manage sensors", "enrolment and revocation, keys of devices", Engineer | Administrator, "admin"},
	ManagePeople:     {"manage people", "people, roles, tokens", Administrator, ""},
	ManageSettings:   {"manage settings", "retention, feeds, notifications", Administrator, "admin"},
}

// Scopes are those that a token can have.
func Scopes() []string { return []string{"read", "triage", "ingest", "update", "admin"} }

// May reports whether roles have a permission.
func (r Role) May(p Permission) bool {
	return p == Anyone || int(p) < len(Permissions) && Permissions[p].Roles&r != 0
}

// Named returns the permission of a name, or [Nobody].
func Named(name string) Permission {
	for p, g := range Permissions {
		if g.Name == name {
			return Permission(p)
		}
	}
	return Nobody
}
