// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
)

// MaxStateBytes is the size of what a guard says of what holds there.
const MaxStateBytes = 2 << 20

// A GuardState is what a guard said last of what holds there.
type GuardState struct {
	Guard string // sensor id
	At    int64  // when it came
	Doc   []byte // JSON of package guard's
}

// GuardStates returns what the guards said that were not revoked, by their ids.
func (s *Store) GuardStates(ctx context.Context) ([]GuardState, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT g.guard, g.at, g.doc FROM guard_state g JOIN sensor s ON s.id = g.guard WHERE s.revoked = 0 ORDER BY g.guard")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []GuardState
	for rows.Next() {
		var g GuardState
		if err := rows.Scan(&g.Guard, &g.At, &g.Doc); err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, rows.Err()
}

// holds keeps what a guard says of what holds there.
func (s *Store) holds(ctx context.Context, tx *transaction, guard string, doc []byte, at int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO guard_state (guard, at, doc) VALUES ($1,$2,$3)
		ON CONFLICT (guard) DO UPDATE SET at = excluded.at, doc = excluded.doc`, guard, at, doc)
	return err
}

// An Approval is somebody's word that the limits of a device, as a file of this digest
// has them, are right.
type Approval struct {
	Guard, Device string
	Digest        string // SHA-256 of the file, in hexadecimal
	Person, Role  string // login; "prescriber", ...
	Reason        string
	At            int64
}

// Approve keeps an approval. [ErrConflict]: this person has given it already.
func (s *Store) Approve(ctx context.Context, a *Approval) error {
	r, err := s.exec(ctx, "INSERT INTO approval (guard, device, digest, person, role, reason, at) VALUES ($1,$2,$3,$4,$5,$6,$7) ON CONFLICT (guard, device, digest, person) DO NOTHING",
		a.Guard, a.Device, a.Digest, a.Person, a.Role, a.Reason, a.At)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return cmp.Or(err, ErrConflict)
	}
	return nil
}

// Approvals returns the last approvals of a guard's device ("" is all), the newest first.
func (s *Store) Approvals(ctx context.Context, guard, device string) ([]Approval, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT guard, device, digest, person, role, reason, at FROM approval WHERE ($1 = '' OR guard = $1) AND ($2 = '' OR device = $2) ORDER BY at DESC, person LIMIT 10000", guard, device)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Approval
	for rows.Next() {
		var a Approval
		if err := rows.Scan(&a.Guard, &a.Device, &a.Digest, &a.Person, &a.Role, &a.Reason, &a.At); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// Called returns the device that a guard of a site calls so, if there is one alone.
// [ErrNotFound].
func (s *Store) Called(ctx context.Context, name, site string) (*Device, error) {
	ids, err := texts(ctx, s.read, `SELECT id FROM device WHERE root = id AND label = $1
		UNION SELECT device FROM identity WHERE site IN ('', $2) AND kind = 'host' AND value = $1 AND live = 1 LIMIT 2`, name, site)
	if err != nil {
		return nil, err
	}
	if len(ids) != 1 {
		return nil, ErrNotFound
	}
	return s.Device(ctx, ids[0])
}
