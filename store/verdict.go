// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
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

// decided keeps what a guard decided.
func (s *Store) decided(ctx context.Context, tx *transaction, guard string, events []event.Event) ([]Verdict, error) {
	var out []Verdict
	for i := range events {
		e := &events[i]
		v := Verdict{Guard: guard, Event: *e}
		verdict := ""
		if e.Kind == event.VerdictGiven || e.Kind == event.VerdictsCounted {
			verdict = device.Verdict(e.Int(event.Verdict)).String()
		}
		err := tx.QueryRowContext(ctx, "INSERT INTO verdict (guard, at, kind, about, verdict, doc) VALUES ($1,$2,$3,$4,$5,$6) RETURNING seq",
			guard, e.Time, e.Kind.String(), e.Device.Value, verdict, event.Append(nil, e)).Scan(&v.Seq)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if e.Kind == event.EmergencyUsed {
			at := s.now().UnixNano()
			if err := s.notice(ctx, tx, "", "emergency", at, &Held{Guard: guard, ID: strconv.FormatInt(v.Seq, 10), Device: e.Device.Value, Asked: e.Time}); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// waits replaces what waits at a guard, and reports whether that changed anything.
func (s *Store) waits(ctx context.Context, tx *transaction, guard string, list []Held) (bool, error) {
	before, err := held(ctx, tx, "WHERE guard = $1 ORDER BY id", guard)
	if err != nil {
		return false, err
	}
	now := slices.Clone(list)
	for i := range now {
		now[i].Guard = guard
	}
	slices.SortFunc(now, func(a, b Held) int { return strings.Compare(a.ID, b.ID) })
	if slices.Equal(before, now) {
		return false, nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM held WHERE guard = $1", guard); err != nil {
		return false, err
	}
	for i := range now {
		doc, err := json.Marshal(&now[i])
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(before, func(h Held) bool { return h.ID == now[i].ID && h.Asked == now[i].Asked }) {
			told := Held{Guard: guard, ID: now[i].ID, Device: now[i].Device, Verb: now[i].Verb, Effect: now[i].Effect, Asked: now[i].Asked, Expires: now[i].Expires}
			if err := s.notice(ctx, tx, "", "held", s.now().UnixNano(), &told); err != nil {
				return false, err
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO held (guard, id, expires, doc) VALUES ($1,$2,$3,$4)", guard, now[i].ID, now[i].Expires, doc); err != nil {
			return false, err
		}
	}
	return true, nil
}

func held(ctx context.Context, tx querier, rest string, args ...any) ([]Held, error) {
	rows, err := tx.QueryContext(ctx, "SELECT doc FROM held "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Held
	for rows.Next() {
		var doc []byte
		var h Held
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &h); err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, rows.Err()
}

// Verdicts lists what guards decided, the newest first.
func (s *Store) Verdicts(ctx context.Context, q VerdictQuery) (*List[Verdict], error) {
	cond := "1 = 1"
	var args []any
	narrow := func(c string, v ...any) {
		for i := range v {
			c = strings.Replace(c, "?", "$"+strconv.Itoa(len(args)+i+1), 1)
		}
		args = append(args, v...)
		cond += " AND " + c
	}
	if q.Guard != "" {
		narrow("guard = ?", q.Guard)
	}
	if q.Device != "" {
		names, err := texts(ctx, s.read, "SELECT value FROM identity WHERE device = $1 UNION SELECT name FROM device WHERE id = $1 AND name <> '' UNION SELECT label FROM device WHERE id = $1", q.Device)
		if err != nil {
			return nil, err
		}
		list := []any{q.Device}
		for _, n := range names {
			list = append(list, n)
		}
		narrow("about IN ("+strings.TrimSuffix(strings.Repeat("?,", len(list)), ",")+")", list...)
	}
	if len(q.Kinds) > 0 {
		list := make([]any, len(q.Kinds))
		for i, k := range q.Kinds {
			list[i] = k.String()
		}
		narrow("kind IN ("+strings.TrimSuffix(strings.Repeat("?,", len(list)), ",")+")", list...)
	}
	if q.Verdict != "" {
		narrow("verdict = ?", q.Verdict)
	}
	if q.Since != 0 {
		narrow("at >= ?", q.Since)
	}
	if q.Until != 0 {
		narrow("at < ?", q.Until)
	}
	out := &List[Verdict]{}
	if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM verdict WHERE "+cond, args...).Scan(&out.Total); err != nil {
		return nil, err
	}
	limit := q.limit()
	if q.After != "" {
		after, err := strconv.ParseInt(q.After, 10, 64)
		if err != nil {
			return nil, ErrCursor
		}
		narrow("seq < ?", after)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT seq, guard, doc FROM verdict WHERE "+cond+" ORDER BY seq DESC LIMIT "+strconv.Itoa(limit+1), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v Verdict
		var doc []byte
		if err := rows.Scan(&v.Seq, &v.Guard, &doc); err != nil {
			return nil, err
		}
		if v.Event, err = event.Parse(doc); err != nil {
			return nil, err
		}
		if len(out.Rows) == limit {
			out.Next = strconv.FormatInt(out.Rows[limit-1].Seq, 10)
			break
		}
		out.Rows = append(out.Rows, v)
	}
	return out, rows.Err()
}

// A Held command waits at a guard for a clinician.
type Held struct {
	Guard, ID, Front, Device, Actor string
	Verb, Effect, Value, Now        string
	Drug, Limit                     string // Limit: for how long, or how much of it
	Dose                            bool   // Value is given once, and changes nothing that holds now
	Therapy, Harm                   string
	Reason                          string
	Asked, Expires                  int64
}

// HeldCommands returns what waits at all guards, the next to expire first.
func (s *Store) HeldCommands(ctx context.Context) ([]Held, error) {
	return held(ctx, s.read, "ORDER BY expires, guard, id")
}
