// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"slices"
)

// MaxTriage is how many findings one triage changes.
const MaxTriage = 10_000

// Triage changes findings, all or none, and adds to their history. It returns the
// number for [Store.UndoTriage], and how many were changed. [ErrNotFound], [ErrConflict].
func (s *Store) Triage(ctx context.Context, t Triage) (bulk int64, n int, err error) {
	if t.State != "" && !slices.Contains([]string{Open, Acknowledged, Mitigated, Fixed, FalsePositive}, t.State) {
		return 0, 0, fmt.Errorf("there is no state %q", t.State)
	}
	t.Comment, t.Reason, t.Justification = Text(t.Comment), Text(t.Reason), Text(t.Justification)
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *transaction) error {
		bulk, n = 0, 0
		c := &changes{}
		list, err := s.chosen(ctx, tx, &t)
		if err != nil {
			return err
		}
		var steps []*Step
		var moved, assigned []*Finding
		for i := range list {
			f := &list[i]
			if t.Version != 0 && t.Version != f.Version {
				return ErrConflict
			}
			did := len(steps)
			if t.State != "" && t.State != f.State {
				steps = append(steps, &Step{Finding: f.ID, What: "state", From: f.State, To: t.State, Reason: t.Reason, Justification: t.Justification})
				moved = append(moved, f)
			}
			if t.Assignee != nil && *t.Assignee != f.Assignee {
				steps = append(steps, &Step{Finding: f.ID, What: "assign", From: f.Assignee, To: *t.Assignee, Reason: t.Reason})
				assigned = append(assigned, f)
			}
			if t.Comment != "" {
				steps = append(steps, &Step{Finding: f.ID, What: "comment", To: t.Comment})
			}
			if len(steps) > did {
				n++
			}
		}
		if n == 0 {
			return nil
		}
		for i, st := range steps {
			if st.At, st.By, st.Bulk = at, t.By, bulk; i > 0 {
				continue
			}
			// the first step gives the number of all
			if err := tx.QueryRowContext(ctx, "INSERT INTO finding_step ("+stepColumns+") VALUES ("+params(1, 10)+") RETURNING id", st.row()...).Scan(&bulk); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE finding_step SET bulk = $1 WHERE id = $1", bulk); err != nil {
				return err
			}
		}
		if err := s.step(ctx, tx, steps[1:]...); err != nil {
			return err
		}
		for _, f := range assigned {
			if _, err := tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE id = $2", *t.Assignee, f.ID); err != nil {
				return err
			}
		}
		for _, f := range moved {
			if err := s.setState(ctx, tx, f, t.State, at, c); err != nil {
				return err
			}
		}
		return s.derive(ctx, tx, c)
	})
	return bulk, n, err
}

// setState changes the state of a finding, and what follows from it.
func (s *Store) setState(ctx context.Context, tx *transaction, f *Finding, state string, at int64, c *changes) error {
	if _, err := tx.ExecContext(ctx, "UPDATE finding SET state = $1, changed = $2, version = version + 1 WHERE id = $3", state, at, f.ID); err != nil {
		return err
	}
	is := f.cell()
	c.cubed(is, -1)
	is.state = state
	c.cubed(is, 1)
	c.counted(f.Device)
	now := f.Finding
	now.State = state
	return s.notice(ctx, tx, f.ID, "changed", at, &now)
}

// chosen are the findings that a triage is about.
func (s *Store) chosen(ctx context.Context, tx *transaction, t *Triage) ([]Finding, error) {
	var out []Finding
	read := func(where string, args ...any) error {
		rows, err := tx.QueryContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE "+where, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			f, _, err := scanFinding(rows, order{})
			if err != nil {
				return err
			}
			if out = append(out, f); len(out) > MaxTriage {
				return fmt.Errorf("more than %d findings at once: narrow the list", MaxTriage)
			}
		}
		return rows.Err()
	}
	if t.All != nil {
		n, err := t.All.narrow(ctx, s, tx)
		if err != nil {
			return nil, err
		}
		err = read(n.where()+fmt.Sprintf(" ORDER BY id LIMIT %d", MaxTriage+1)+s.d.Lock, n.args...)
		return out, err
	}
	ids := slices.Compact(slices.Sorted(slices.Values(t.IDs)))
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if err := read("id IN ("+params(1, len(part))+") ORDER BY id"+s.d.Lock, args...); err != nil {
			return nil, err
		}
	}
	if len(out) != len(ids) {
		return nil, fmt.Errorf("%w: %d of these findings", ErrNotFound, len(ids)-len(out))
	}
	return out, nil
}

// UndoTriage puts back what a triage changed and nobody changed since; how many it
// left alone because somebody did is returned, too.
func (s *Store) UndoTriage(ctx context.Context, bulk int64, by, why string) (n, left int, err error) {
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *transaction) error {
		n, left = 0, 0
		c := &changes{}
		rows, err := tx.QueryContext(ctx, "SELECT id, finding, at, by_whom, what, before, after, reason, justification, undoes, bulk FROM finding_step WHERE bulk = $1 AND bulk > 0 AND what IN ('state', 'assign') ORDER BY id", bulk)
		if err != nil {
			return err
		}
		steps, err := scanSteps(rows)
		if err != nil {
			return err
		}
		if len(steps) == 0 {
			return ErrNotFound
		}
		for _, st := range steps {
			f, _, err := scanFinding(tx.QueryRowContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE id = $1"+s.d.Lock, st.Finding), order{})
			if err != nil {
				return err
			}
			var later int
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM finding_step WHERE finding = $1 AND id > $2 AND (what = $3 OR undoes = $2)", st.Finding, st.ID, st.What).Scan(&later); err != nil {
				return err
			}
			if later > 0 {
				left++
				continue
			}
			if st.What == "state" {
				err = s.setState(ctx, tx, &f, st.From, at, c)
			} else {
				_, err = tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE id = $2", st.From, f.ID)
			}
			if err != nil {
				return err
			}
			if err := s.step(ctx, tx, &Step{Finding: st.Finding, At: at, By: by, What: "undo", From: st.To, To: st.From, Reason: Text(why), Undoes: st.ID}); err != nil {
				return err
			}
			n++
		}
		return s.derive(ctx, tx, c)
	})
	return n, left, err
}
