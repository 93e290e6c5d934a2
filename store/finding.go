// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"github.com/myelin-health/myelin/finding"
)

// The states of a finding.
const (
	Open          = "open"
	Acknowledged  = "acknowledged"
	Mitigated     = "mitigated"
	Fixed         = "fixed"
	FalsePositive = "false-positive"
)

// A Finding with what people made of it.
type Finding struct {
	finding.Finding
	DeviceName string // as people call it
	Ward, Site string
	Assignee   string // person
	Version    int64  // grows with each change
	Changed    int64  // nanoseconds since 1970-01-01 UTC: of its state or decision
}

// A FindingQuery says which findings. Empty fields do not narrow; several values
// of one field are alternatives.
type FindingQuery struct {
	Page
	Words                                           string
	State, Decision, Harm, Kind, Ward, Site, Device []string
	Assignee, CVE, Product                          string
	Since                                           int64  // changed or new since
	Sort                                            string // "urgency" (default), "last", "first", "device", "kind"
	Facets                                          bool
}

// A Step of a finding's history.
type Step struct {
	ID            int64
	Finding       string
	At            int64
	By            string // person; "" is the server
	What          string // "seen", "state", "decision", "assign", "comment", "undo"
	From, To      string
	Reason        string
	Justification string // VEX: a justification of OpenVEX for false-positive and mitigated
	Undoes        int64  // step
	Bulk          int64  // the same number for all of one triage; 0 is none
}

// A Triage is one decision of a person about many findings.
type Triage struct {
	IDs           []string      // of these
	All           *FindingQuery // or of all of a list
	State         string        // "" stays
	Assignee      *string       // nil stays
	Comment       string
	Reason        string
	Justification string
	By            string
}

// Findings lists findings.
func (s *Store) Findings(ctx context.Context, q FindingQuery) (*List[Finding], error) {
	panic("to be written")
}

// EachFinding yields all findings of a list without holding them, for export.
func (s *Store) EachFinding(ctx context.Context, q FindingQuery, yield func(*Finding) error) error {
	panic("to be written")
}

// Finding returns one with its history, the newest step first. [ErrNotFound].
func (s *Store) Finding(ctx context.Context, id string) (*Finding, []Step, error) {
	panic("to be written")
}

// Triage changes findings, all or none, and adds to their history. It returns the
// number for [Store.UndoTriage], and how many were changed.
func (s *Store) Triage(ctx context.Context, t Triage) (bulk int64, n int, err error) {
	panic("to be written")
}

// UndoTriage puts back what a triage changed and nobody changed since; how many it
// left alone because somebody did is returned, too.
func (s *Store) UndoTriage(ctx context.Context, bulk int64, by string) (n, left int, err error) {
	panic("to be written")
}

// A Cell of the matrix of harm and decision: open findings.
type Cell struct {
	Harm, Decision string
	Count          int
}

// Matrix counts open findings by harm and decision, and devices with one to act on.
func (s *Store) Matrix(ctx context.Context) (cells []Cell, act int, err error) {
	panic("to be written")
}
