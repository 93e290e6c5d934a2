// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// An UpdateKey speaks for a device when it asks for updates.
type UpdateKey struct {
	Device  string
	KID     []byte // patch.KeyID of it
	Key     []byte // a COSE_Key, public
	By      string
	At      int64
	Revoked int64 // when; 0 is not
}

// AddUpdateKeys registers keys, all or none; one that is there already, and was not
// revoked, stays as it is. [ErrConflict]: a key is revoked, or another has its id.
func (s *Store) AddUpdateKeys(ctx context.Context, list []UpdateKey) (added int, err error) {
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *transaction) error {
		added = 0
		for i := range list {
			k := &list[i]
			var doc []byte
			var revoked int64
			err := tx.QueryRowContext(ctx, "SELECT doc, revoked FROM update_key WHERE kid = $1 ORDER BY device LIMIT 1", k.KID).Scan(&doc, &revoked)
			if err == nil && (!bytes.Equal(doc, k.Key) || revoked != 0) {
				return ErrConflict
			}
			if err = notFound(err); err != nil && err != ErrNotFound {
				return err
			}
			r, err := tx.ExecContext(ctx, "INSERT INTO update_key (kid, device, doc, by_whom, at) VALUES ($1,$2,$3,$4,$5) ON CONFLICT (device, kid) DO NOTHING", k.KID, k.Device, k.Key, k.By, at)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			added += int(n)
		}
		return nil
	})
	return added, err
}

// RevokeUpdateKey ends what a key speaks for: it is never registered again. [ErrNotFound].
func (s *Store) RevokeUpdateKey(ctx context.Context, kid []byte) error {
	return s.one(ctx, "UPDATE update_key SET revoked = $1 WHERE kid = $2 AND revoked = 0", s.now().UnixNano(), kid)
}

// UpdateKeyOf returns the key of an id. [ErrNotFound]: nobody has it, or it is revoked.
func (s *Store) UpdateKeyOf(ctx context.Context, kid []byte) (key []byte, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT doc FROM update_key WHERE kid = $1 AND revoked = 0 LIMIT 1", kid).Scan(&key)
	return key, notFound(err)
}

// UpdateKeys lists keys by device, of one device unless it is "".
func (s *Store) UpdateKeys(ctx context.Context, device string, p Page) (*List[UpdateKey], error) {
	out := &List[UpdateKey]{}
	cond, args := "1 = 1", []any{}
	if device != "" {
		cond, args = "device = $1", []any{device}
	}
	if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM update_key WHERE "+cond, args...).Scan(&out.Total); err != nil {
		return nil, err
	}
	if p.After != "" {
		after, kid, ok := strings.Cut(p.After, " ")
		b, err := strconv.ParseUint(kid, 16, 64)
		if !ok || err != nil {
			return nil, ErrCursor
		}
		n := len(args)
		cond += " AND (device, kid) > ($" + strconv.Itoa(n+1) + ",$" + strconv.Itoa(n+2) + ")"
		args = append(args, after, kidBytes(b))
	}
	limit := p.limit()
	rows, err := s.read.QueryContext(ctx, "SELECT device, kid, doc, by_whom, at, revoked FROM update_key WHERE "+cond+" ORDER BY device, kid LIMIT "+strconv.Itoa(limit+1), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k UpdateKey
		if err := rows.Scan(&k.Device, &k.KID, &k.Key, &k.By, &k.At, &k.Revoked); err != nil {
			return nil, err
		}
		if len(out.Rows) == limit {
			last := &out.Rows[limit-1]
			out.Next = last.Device + " " + strconv.FormatUint(kidNumber(last.KID), 16)
			break
		}
		out.Rows = append(out.Rows, k)
	}
	return out, rows.Err()
}

func kidNumber(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

func kidBytes(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[7-i] = byte(n >> (8 * i))
	}
	return b
}

// An UpdateMember is what a device said last of itself when it asked for updates.
type UpdateMember struct {
	Device   string
	Count    uint64 // of the State
	Seen     int64
	KID      []byte // key that spoke for it
	Version  string // that runs
	Sequence uint64 // that it confirmed
	State    []byte // a patch.State, as it was signed
}

// UpdateMemberOf returns what a device said last, and the ids of the keys that speak for
// it. [ErrNotFound]: none does. What it said is nil when it has said nothing yet.
func (s *Store) UpdateMemberOf(ctx context.Context, device string) (m *UpdateMember, kids [][]byte, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT kid FROM update_key WHERE device = $1 AND revoked = 0 ORDER BY kid LIMIT 64", device)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var kid []byte
		if err := rows.Scan(&kid); err != nil {
			return nil, nil, err
		}
		kids = append(kids, kid)
	}
	if err := rows.Err(); err != nil || len(kids) == 0 {
		return nil, nil, cmp.Or(err, ErrNotFound)
	}
	list, err := s.updateMembers(ctx, "WHERE device = $1", device)
	if err != nil || len(list) == 0 {
		return nil, kids, err
	}
	return &list[0], kids, nil
}

// UpdateMembers returns all that ever asked and run or ran some product's versions: those
// with numbers after one, in their order, and the number of the last.
func (s *Store) UpdateMembers(ctx context.Context, after int64, limit int) (list []UpdateMember, last int64, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT num, "+memberColumns+" FROM update_member WHERE num > $1 ORDER BY num LIMIT "+strconv.Itoa(limit), after)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var m UpdateMember
		if err := rows.Scan(append([]any{&last}, m.fields()...)...); err != nil {
			return nil, 0, err
		}
		list = append(list, m)
	}
	return list, last, rows.Err()
}

const memberColumns = "device, counter, seen, kid, version, sequence, state"

func (m *UpdateMember) fields() []any {
	return []any{&m.Device, &m.Count, &m.Seen, &m.KID, &m.Version, &m.Sequence, &m.State}
}

func (s *Store) updateMembers(ctx context.Context, rest string, args ...any) (list []UpdateMember, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT "+memberColumns+" FROM update_member "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m UpdateMember
		if err := rows.Scan(m.fields()...); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

// A RolloutEvent is a step of a roll-out, as the ledger has it.
type RolloutEvent struct {
	Seq     int64  // in the order of deciding, from 1
	Rollout string // id
	Device  string // or ""
	Tell    bool   // those outside, too

	// Runs is the version that the device was shown to run from now on, "": none was. Then
	// what is known of it by these advisories alone is fixed.
	Runs  string
	Fixes []string

	event.Event
}

// An UpdateNotice is what those outside are told of an update that went wrong: the body
// of a [Notice] whose What is the event's kind.
type UpdateNotice struct {
	Rollout, Device, Version string
	Outcome                  string // how it ended at the device
	By                       string // who halted it; "": it did so itself
	Why                      string // then; words of people and of devices stay here
	Final                    bool   // no roll-out ever offers the release again
}

// KeepUpdates writes what devices said and what was decided of it, all or nothing. Of a
// device whose row has that Count already, or a higher one, the row stays as it is. The
// events have numbers, one after the other, of which the first follows the last that is
// here: else somebody else decided something meanwhile, and it is [ErrConflict].
func (s *Store) KeepUpdates(ctx context.Context, members []UpdateMember, events []RolloutEvent) error {
	// In the order of devices: two servers never wait for each other.
	slices.SortStableFunc(members, func(a, b UpdateMember) int {
		return cmp.Or(strings.Compare(a.Device, b.Device), cmp.Compare(a.Count, b.Count))
	})
	rows := make([][]any, 0, len(members))
	for i := range members {
		m := &members[i]
		if i+1 < len(members) && members[i+1].Device == m.Device { // one statement changes a row once
			continue
		}
		rows = append(rows, []any{m.Device, int64(min(m.Count, math.MaxInt64)), m.Seen, m.KID, m.Version, int64(min(m.Sequence, math.MaxInt64)), m.State})
	}
	steps := make([][]any, len(events))
	for i := range events {
		e := &events[i]
		steps[i] = []any{e.Seq, e.Rollout, e.Device, e.Kind.String(), e.Time, event.Append(nil, &e.Event)}
	}
	return s.tx(ctx, func(tx *transaction) error {
		if len(events) > 0 {
			var last int64
			if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM rollout_event").Scan(&last); err != nil {
				return err
			}
			if events[0].Seq != last+1 {
				return ErrConflict
			}
			for i := range events {
				e := &events[i]
				if !e.Tell {
					continue
				}
				n := UpdateNotice{Rollout: e.Rollout, Device: e.Device, Version: e.Text(event.Version), Outcome: e.Text(event.Ended), By: e.Text(event.Actor), Final: e.Int(event.Final) != 0}
				if e.Kind == event.RolloutHalted && n.By == "" {
					n.Why = e.Text(event.Reason)
				}
				if err := s.notice(ctx, tx, "", e.Kind.String(), s.now().UnixNano(), &n); err != nil {
					return err
				}
			}
			// Who comes between here fails by the primary key, and looks again.
			if err := tx.insert(ctx, "rollout_event (seq, rollout, device, kind, at, doc)", "", 6, steps); err != nil {
				return err
			}
			c := &changes{}
			for i := range events {
				if err := s.runs(ctx, tx, &events[i], c); err != nil {
					return err
				}
			}
			if err := s.derive(ctx, tx, c); err != nil {
				return err
			}
		}
		return tx.insert(ctx, "update_member AS m ("+memberColumns+")", ` ON CONFLICT (device) DO UPDATE SET counter = excluded.counter, seen = excluded.seen, kid = excluded.kid,
			version = excluded.version, sequence = excluded.sequence, state = excluded.state WHERE excluded.counter > m.counter`, 7, rows)
	})
}

// runs takes in which version a device was shown to run. As with all that is said of a
// device, what is said last counts.
func (s *Store) runs(ctx context.Context, tx *transaction, e *RolloutEvent, c *changes) error {
	if e.Runs == "" {
		return nil
	}
	var root string
	err := tx.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", e.Device).Scan(&root)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it takes part, and no sensor knows it any more
	}
	if err != nil {
		return err
	}
	rows, err := texts(ctx, tx, "SELECT id FROM device WHERE root = $1 ORDER BY last, num", root)
	if err != nil {
		return err
	}
	at, was, why := s.now().UnixNano(), "", "roll-out "+e.Rollout
	for _, id := range rows {
		var doc []byte
		var d device.Device
		if err := tx.QueryRowContext(ctx, "SELECT said FROM device WHERE id = $1"+s.d.Lock, id).Scan(&doc); err != nil {
			return err
		}
		if err := json.Unmarshal(doc, &d); err != nil {
			return err
		}
		if d.Version == "" && id != root {
			continue
		}
		was, d.Version = cmp.Or(d.Version, was), text(e.Runs, maxName)
		if doc, err = json.Marshal(&d); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE device SET said = $1 WHERE id = $2", doc, id); err != nil {
			return err
		}
	}
	if was != e.Runs {
		if err := s.deviceStep(ctx, tx, root, at, "", "version", was, e.Runs, why); err != nil {
			return err
		}
		c.device(root)
	}
	return s.fixes(ctx, tx, root, e, at, why, c)
}

// fixes lets what a version fixes be fixed at a device.
func (s *Store) fixes(ctx context.Context, tx *transaction, root string, e *RolloutEvent, at int64, why string, c *changes) error {
	if len(e.Fixes) == 0 {
		return nil
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+triagedColumns+" FROM finding WHERE device = $1 AND state IN ($2, $3, $4) ORDER BY id"+s.d.Lock, root, Open, Acknowledged, Mitigated)
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []*triaged
	for rows.Next() {
		f, err := scanTriaged(rows)
		if err != nil {
			return err
		}
		var of finding.Finding
		if err := json.Unmarshal(f.doc, &of); err != nil {
			return err
		}
		if len(of.Advisories) > 0 && !slices.ContainsFunc(of.Advisories, func(a string) bool { return !slices.Contains(e.Fixes, a) }) {
			list = append(list, &f)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if _, err := s.steps(ctx, tx, list, "state", &Step{At: at, What: "state", To: Fixed, Reason: "it runs " + e.Runs + ": " + why}, 0); err != nil {
		return err
	}
	return s.setState(ctx, tx, list, Fixed, at, c)
}
