// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

// A Deadline is by when CISA's Binding Operational Directive 26-04 wants a CVE
// remedied. The directive binds agencies of the United States and knows nothing
// of harm: it stands beside a decision and makes none.
type Deadline uint8

// The deadlines, in the order of urgency.
const (
	OnUpgrade Deadline = iota
	In60Days
	In14Days
	In3Days
	In3DaysForensics
)

var deadlines = [...]string{"fix on system upgrade", "60 days", "14 days", "3 days", "3 days & forensic investigation"}

func (d Deadline) String() string { return name(deadlines[:], d) }

// directive is its table, version 1.0.0: in KEV, publicly exposed, automatable,
// technical impact (partial, total).
var directive = [2][2][2][2]Deadline{
	{
		{{OnUpgrade, OnUpgrade}, {In60Days, In60Days}},
		{{In60Days, In14Days}, {In14Days, In3Days}},
	},
	{
		{{In14Days, In14Days}, {In14Days, In3DaysForensics}},
		{{In14Days, In3DaysForensics}, {In3Days, In3DaysForensics}},
	},
}

// DeadlineOf returns what the directive says of a CVE. Publicly exposed is what
// the internet reaches ([Open]).
func DeadlineOf(kev bool, a Answers) Deadline {
	return directive[index(kev)][index(a.Exposure >= Open)][index(a.Automatable)][index(a.Total)]
}
