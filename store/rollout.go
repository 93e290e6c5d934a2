// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"strconv"

	"github.com/myelin-health/myelin/event"
)

// An UpdateRelease is a version that a maker published, and somebody here took in.
type UpdateRelease struct {
	Envelope string // SHA-256, in hexadecimal
	Product  string // maker and model
	Version  string
	Sequence uint64
	Path     string // of the envelope, below /update/v1/
	By       string
	At       int64
	Doc      []byte // a patch.Release as JSON
}

// AddRelease keeps a release. [ErrConflict]: it is there already.
func (s *Store) AddRelease(ctx context.Context, r *UpdateRelease) error {
	r.At = s.now().UnixNano()
	return conflict(s.one(ctx, "INSERT INTO update_release (envelope, product, version, sequence, path, by_whom, at, doc) VALUES ($1,$2,$3,$4,$5,$6,$7,$8) ON CONFLICT (envelope) DO NOTHING",
		r.Envelope, r.Product, r.Version, int64(r.Sequence), r.Path, r.By, r.At, r.Doc))
}

// Releases lists those of some products (nil is all), the newest first, at most 1,000.
func (s *Store) Releases(ctx context.Context, products []string) ([]UpdateRelease, error) {
	cond, args := "1 = 1", []any{}
	if products != nil {
		cond = "1 = 0"
	}
	if len(products) > 0 {
		for _, p := range products {
			args = append(args, p)
		}
		cond = "product IN (" + params(1, len(products)) + ")"
	}
	rows, err := s.read.QueryContext(ctx, "SELECT envelope, product, version, sequence, path, by_whom, at, doc FROM update_release WHERE "+cond+" ORDER BY at DESC, envelope LIMIT 1000", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []UpdateRelease
	for rows.Next() {
		var r UpdateRelease
		if err := rows.Scan(&r.Envelope, &r.Product, &r.Version, &r.Sequence, &r.Path, &r.By, &r.At, &r.Doc); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// ReleaseOf returns the release of an envelope's digest. [ErrNotFound].
func (s *Store) ReleaseOf(ctx context.Context, envelope string) (*UpdateRelease, error) {
	r := &UpdateRelease{}
	err := s.read.QueryRowContext(ctx, "SELECT envelope, product, version, sequence, path, by_whom, at, doc FROM update_release WHERE envelope = $1", envelope).
		Scan(&r.Envelope, &r.Product, &r.Version, &r.Sequence, &r.Path, &r.By, &r.At, &r.Doc)
	return r, notFound(err)
}

// Dependency is how much the patient who has a device depends on it, as somebody judged
// when, in a word of the hospital's.
type Dependency struct {
	Device, Word, By string
	At               int64
}

// SetDependency replaces what was judged of a device; no word is nobody's judgement.
func (s *Store) SetDependency(ctx context.Context, d *Dependency) error {
	d.At = s.now().UnixNano()
	_, err := s.exec(ctx, "INSERT INTO update_unit (device, dependency, by_whom, at) VALUES ($1,$2,$3,$4) ON CONFLICT (device) DO UPDATE SET dependency = excluded.dependency, by_whom = excluded.by_whom, at = excluded.at", d.Device, d.Word, d.By, d.At)
	return err
}

// Dependencies are all that were judged, by device.
func (s *Store) Dependencies(ctx context.Context) (map[string]Dependency, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT device, dependency, by_whom, at FROM update_unit WHERE dependency <> ''")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]Dependency{}
	for rows.Next() {
		var d Dependency
		if err := rows.Scan(&d.Device, &d.Word, &d.By, &d.At); err != nil {
			return nil, err
		}
		out[d.Device] = d
	}
	return out, rows.Err()
}

// A Rollout is a release on its way through a fleet, as it was planned.
type Rollout struct {
	ID       string
	Envelope string // of the release
	By       string
	At       int64
	Doc      []byte
}

// AddRollout keeps one. [ErrConflict]: there is one of this id.
func (s *Store) AddRollout(ctx context.Context, r *Rollout) error {
	r.At = s.now().UnixNano()
	return conflict(s.one(ctx, "INSERT INTO rollout (id, envelope, by_whom, at, doc) VALUES ($1,$2,$3,$4,$5) ON CONFLICT (id) DO NOTHING", r.ID, r.Envelope, r.By, r.At, r.Doc))
}

// Rollouts returns all, the oldest first.
func (s *Store) Rollouts(ctx context.Context) ([]Rollout, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, envelope, by_whom, at, doc FROM rollout ORDER BY num")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Rollout
	for rows.Next() {
		var r Rollout
		if err := rows.Scan(&r.ID, &r.Envelope, &r.By, &r.At, &r.Doc); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// A RolloutQuery says which events: those with numbers after one, in their order.
type RolloutQuery struct {
	Rollout, Device string // "" is all
	After           int64
	Limit           int  // 0 is 1,000
	Newest          bool // before After (0: the last), in the opposite order
}

// RolloutEvents returns what was decided, and what came of it.
func (s *Store) RolloutEvents(ctx context.Context, q RolloutQuery) ([]RolloutEvent, error) {
	cond, order, args := "seq > $1", "", []any{q.After}
	if q.Newest {
		order = " DESC"
		if cond = "seq < $1"; q.After == 0 {
			cond = "seq > $1"
		}
	}
	for column, v := range map[string]string{"rollout": q.Rollout, "device": q.Device} {
		if v != "" {
			args = append(args, v)
			cond += " AND " + column + " = $" + strconv.Itoa(len(args))
		}
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	rows, err := s.read.QueryContext(ctx, "SELECT seq, rollout, device, doc FROM rollout_event WHERE "+cond+" ORDER BY seq"+order+" LIMIT "+strconv.Itoa(limit), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []RolloutEvent
	for rows.Next() {
		var e RolloutEvent
		var doc []byte
		if err := rows.Scan(&e.Seq, &e.Rollout, &e.Device, &doc); err != nil {
			return nil, err
		}
		if e.Event, err = event.Parse(doc); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}
