// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// retained is how some rows of a kind go that are older than a time, the oldest first.
// It is done again until there are none left, so that nobody waits for long.
var retained = map[string]func(ctx context.Context, tx *transaction, before int64) (int64, error){
	"observations": func(ctx context.Context, tx *transaction, before int64) (int64, error) {
		return tx.gone(ctx, "DELETE FROM talk WHERE hour < $1 AND hour = (SELECT min(hour) FROM talk)", before/int64(time.Hour))
	},
	"verdicts": func(ctx context.Context, tx *transaction, before int64) (int64, error) {
		return tx.gone(ctx, "DELETE FROM verdict WHERE seq IN (SELECT seq FROM verdict WHERE at < $1 ORDER BY at LIMIT 5000)", before)
	},
	"notices": func(ctx context.Context, tx *transaction, before int64) (int64, error) {
		return tx.gone(ctx, "DELETE FROM notice WHERE seq IN (SELECT seq FROM notice WHERE at < $1 ORDER BY seq LIMIT 5000)", before)
	},
	"findings": closed,
}

// Kept are the kinds that [Store.Retain] knows.
func Kept() []string { return slices.Sorted(maps.Keys(retained)) }

// Retain removes what is older than its kind is kept; what is not in keep is kept for
// ever. Observations go by the hour, verdicts (which are in the ledger, too) and notices
// by when they were written, findings that are fixed or false positives, with their
// history, when neither did anybody change nor a sensor see them since. Sessions,
// enrolments and answers go when they end. It returns how many rows went. It is many transactions.
func (s *Store) Retain(ctx context.Context, keep map[string]time.Duration) (gone int, err error) {
	at := s.now()
	for _, kind := range Kept() {
		d := keep[kind]
		if d <= 0 {
			continue
		}
		for more := true; more; {
			err := s.tx(ctx, func(tx *transaction) error {
				n, err := retained[kind](ctx, tx, at.Add(-d).UnixNano())
				if err != nil {
					return fmt.Errorf("%s: %w", kind, err)
				}
				gone += int(n)
				more = n > 0
				return nil
			})
			if err != nil {
				return gone, err
			}
		}
	}
	return gone, s.tx(ctx, func(tx *transaction) error {
		for _, table := range [...]string{"session", "enrolment", "answer"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE expires <= $1", at.UnixNano()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *transaction) gone(ctx context.Context, statement string, before int64) (int64, error) {
	r, err := t.ExecContext(ctx, statement, before)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// closed removes findings that are done with, and all that belongs to them.
func closed(ctx context.Context, tx *transaction, before int64) (int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE state IN ('fixed', 'false-positive') AND changed < $1 AND last < $1 ORDER BY changed LIMIT 500"+tx.s.d.Lock, before)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var ids []any
	c := &changes{}
	for rows.Next() {
		f, _, err := scanFinding(rows, order{})
		if err != nil {
			return 0, err
		}
		ids = append(ids, f.ID)
		c.cubed(f.cell(), -1)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return 0, err
	}
	for _, id := range ids {
		tx.text("finding", id.(string), "")
	}
	if err := tx.writeTexts(ctx); err != nil {
		return 0, err
	}
	tx.texts = nil
	these := " IN (" + params(1, len(ids)) + ")"
	for _, table := range [...]string{"finding_step WHERE finding", "finding_count WHERE finding", "finding_cve WHERE finding", "finding WHERE id"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+these, ids...); err != nil {
			return 0, err
		}
	}
	return int64(len(ids)), tx.s.deriveCube(ctx, tx, c)
}
