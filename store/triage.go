// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/myelin-health/myelin/finding"
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
	assignee := ""
	take(&assignee, t.Assignee)
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *transaction) error {
		bulk, n = 0, 0
		c := &changes{}
		list, err := s.chosen(ctx, tx, &t)
		if err != nil {
			return err
		}
		var moved, assigned, said []*triaged
		for i := range list {
			f := &list[i]
			if t.Version != 0 && t.Version != f.version {
				return ErrConflict
			}
			moves, assigns := t.State != "" && t.State != f.state, t.Assignee != nil && *t.Assignee != f.assignee
			if moves {
				moved = append(moved, f)
			}
			if assigns {
				assigned = append(assigned, f)
			}
			if t.Comment != "" {
				said = append(said, f)
			}
			if moves || assigns || t.Comment != "" {
				n++
			}
		}
		for _, did := range [...]struct {
			of     []*triaged
			before string // column
			step   Step
		}{
			{moved, "state", Step{What: "state", To: t.State, Reason: t.Reason, Justification: t.Justification}},
			{assigned, "assignee", Step{What: "assign", To: assignee, Reason: t.Reason}},
			{said, "''", Step{What: "comment", To: t.Comment}},
		} {
			did.step.At, did.step.By = at, t.By
			if bulk, err = s.steps(ctx, tx, did.of, did.before, &did.step, bulk); err != nil {
				return err
			}
		}
		if len(assigned) > 0 {
			if _, err := tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE "+s.these("id", "$2"), assignee, idsOf(assigned)); err != nil {
				return err
			}
		}
		if err := s.setState(ctx, tx, moved, t.State, at, c); err != nil {
			return err
		}
		return s.derive(ctx, tx, c)
	})
	return bulk, n, err
}

// idsOf is a parameter for [Store.these].
func idsOf(list []*triaged) string {
	ids := make([]string, len(list))
	for i, f := range list {
		ids[i] = f.id
	}
	return listOf(ids)
}

// steps adds the same to the history of findings, before they change: what it changes is
// in a column. The number of the first step is that of all of a triage, bulk, if that is 0.
func (s *Store) steps(ctx context.Context, tx *transaction, list []*triaged, before string, st *Step, bulk int64) (int64, error) {
	add := "INSERT INTO finding_step (" + stepColumns + ") SELECT id, $2, $3, $4, " + before + ", $5, $6, $7, 0, $8 FROM finding WHERE " + s.these("id", "$1") + " ORDER BY id"
	args := func(list []*triaged) []any {
		return []any{idsOf(list), st.At, st.By, st.What, st.To, st.Reason, st.Justification, bulk}
	}
	if len(list) > 0 && bulk == 0 {
		if err := tx.QueryRowContext(ctx, add+" RETURNING id", args(list[:1])...).Scan(&bulk); err != nil {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE finding_step SET bulk = $1 WHERE id = $1", bulk); err != nil {
			return 0, err
		}
		list = list[1:]
	}
	if len(list) == 0 {
		return bulk, nil
	}
	_, err := tx.ExecContext(ctx, add, args(list)...)
	return bulk, err
}

// setState changes the state of findings, and what follows from it.
func (s *Store) setState(ctx context.Context, tx *transaction, list []*triaged, state string, at int64, c *changes) error {
	if len(list) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "UPDATE finding SET state = $1, changed = $2, version = version + 1 WHERE "+s.these("id", "$3"), state, at, idsOf(list)); err != nil {
		return err
	}
	rows := make([][]any, len(list))
	for i, f := range list {
		d, ok := finding.ParseDecision(f.decision)
		if !ok {
			return fmt.Errorf("finding %s: there is no decision %q", f.id, f.decision)
		}
		is := f.cell
		c.cubed(is, -1)
		is.state = state
		c.cubed(is, 1)
		c.opened(f.device, d, number(isOpen(state))-number(isOpen(f.state)))
		body, err := retold(f.doc, f.device, state)
		if err != nil {
			return err
		}
		rows[i] = []any{f.id, "changed", at, body}
	}
	return tx.insert(ctx, "notice (finding, what, at, body)", "", 4, rows)
}

// isOpen reports whether a finding of that state counts among those of its device.
func isOpen(state string) bool { return state == Open || state == Acknowledged }

// A triaged finding is what a triage has to know of it.
type triaged struct {
	cell
	id, device, assignee string
	version              int64
	doc                  []byte
}

const triagedColumns = "id, device, assignee, version, state, decision, harm, kind, ward, site, doc"

func scanTriaged(rows interface{ Scan(...any) error }) (f triaged, err error) {
	err = rows.Scan(&f.id, &f.device, &f.assignee, &f.version, &f.state, &f.decision, &f.harm, &f.kind, &f.ward, &f.site, &f.doc)
	return f, err
}

// retold is the document of a finding that has another device and state now. It takes a
// tenth of the time that it takes to read it and write it again: a quote within a text is
// escaped, so that what looks like one of these fields is it.
func retold(doc []byte, device, state string) ([]byte, error) {
	for _, field := range [...][2]string{{`,"Device":`, device}, {`,"State":`, state}} {
		value, err := json.Marshal(field[1])
		if err != nil {
			return nil, err
		}
		at := bytes.Index(doc, []byte(field[0]+`"`))
		if at < 0 {
			return nil, fmt.Errorf("a finding without %s", field[0])
		}
		at += len(field[0])
		end := at + 1
		for ; end < len(doc) && doc[end] != '"'; end++ {
			if doc[end] == '\\' {
				end++
			}
		}
		if end >= len(doc) {
			return nil, io.ErrUnexpectedEOF
		}
		doc = slices.Concat(doc[:at], value, doc[end+1:])
	}
	return doc, nil
}

// chosen are the findings that a triage is about.
func (s *Store) chosen(ctx context.Context, tx *transaction, t *Triage) ([]triaged, error) {
	var out []triaged
	read := func(where string, args ...any) error {
		rows, err := tx.QueryContext(ctx, "SELECT "+triagedColumns+" FROM finding WHERE "+where, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			f, err := scanTriaged(rows)
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
	if err := read(s.these("id", "$1")+" ORDER BY id"+s.d.Lock, listOf(ids)); err != nil {
		return nil, err
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
			f, err := scanTriaged(tx.QueryRowContext(ctx, "SELECT "+triagedColumns+" FROM finding WHERE id = $1"+s.d.Lock, st.Finding))
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
				err = s.setState(ctx, tx, []*triaged{&f}, st.From, at, c)
			} else {
				_, err = tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE id = $2", st.From, f.id)
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
