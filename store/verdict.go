// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"github.com/myelin-health/myelin/event"
)

// A Verdict is what a guard decided and did: an event of one of its kinds.
type Verdict struct {
	Seq    int64  // in the order of writing
	Guard  string // sensor id
	Device string // id here, or "" when nobody knows it
	event.Event
}

// A VerdictQuery says which.
type VerdictQuery struct {
	Page
	Guard, Device string
	Kinds         []event.Kind // none: all
	Verdict       string       // "deny", ...
	Since, Until  int64
}

// Verdicts lists what guards decided, the newest first.
func (s *Store) Verdicts(ctx context.Context, q VerdictQuery) (*List[Verdict], error) {
	panic("to be written")
}

// A Held command waits at a guard for a clinician.
type Held struct {
	Guard, ID, Front, Device, Actor string
	Verb, Effect, Value, Now        string
	Reason                          string
	Asked, Expires                  int64
}

// HeldCommands returns what waits at all guards, the next to expire first.
func (s *Store) HeldCommands(ctx context.Context) ([]Held, error) { panic("to be written") }
