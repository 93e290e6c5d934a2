// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"

	"github.com/myelin-health/myelin/finding"
)

// changes are what a transaction has to bring up to date before it ends.
type changes struct {
	devices  map[string]bool     // roots; true: also what is said of them, not the findings alone
	open     map[string][4]int64 // roots whose open findings are so many more, by decision
	fresh    []string
	findings []string
	moved    []name         // to another device, under another number
	learned  map[name]int64 // numbers of identities
	pairs    map[pair]int64
	cube     map[cell]int
	counts   map[kindOf]int
}

// device notes that a root is to be described anew.
func (c *changes) device(root string) { c.touch(root, true) }

// counted notes that a root's findings are to be counted anew.
func (c *changes) counted(root string) { c.touch(root, false) }

func (c *changes) touch(root string, said bool) {
	if root == "" {
		return
	}
	if c.devices == nil {
		c.devices = map[string]bool{}
	}
	c.devices[root] = said || c.devices[root]
}

// opened notes that there are so many open findings more at a root.
func (c *changes) opened(root string, d finding.Decision, n int64) {
	if root == "" {
		return
	}
	if c.open == nil {
		c.open = map[string][4]int64{}
	}
	more := c.open[root]
	more[d] += n
	c.open[root] = more
}

func (c *changes) added(root string) {
	c.device(root)
	c.fresh = append(c.fresh, root)
}

// apart reports whether somebody parted these two, or those they are made of, or split
// one off from the other.
func (s *Store) apart(ctx context.Context, tx *transaction, a, b string) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM merge m JOIN device x ON x.id = m.kept JOIN device y ON y.id = m.gone
		WHERE m.undone_by <> '' AND ((x.root = $1 AND y.root = $2) OR (x.root = $2 AND y.root = $1))`, a, b).Scan(&n)
	if n > 0 || err != nil {
		return n > 0, err
	}
	return s.splitApart(ctx, tx, a, b)
}

// merge makes one device of two roots, and remembers why.
func (s *Store) merge(ctx context.Context, tx *transaction, kept, gone, by, why string, via, at int64, changed *changes) (int64, error) {
	var id int64
	if err := tx.QueryRowContext(ctx, "INSERT INTO merge (kept, gone, why, via, by_whom, at) VALUES ($1,$2,$3,$4,$5,$6) RETURNING id", kept, gone, why, via, by, at).Scan(&id); err != nil {
		return 0, err
	}
	return id, s.reroot(ctx, tx, []string{kept, gone}, changed)
}

// together are the records that hold two devices to be one.
const together = "(SELECT 0 AS kind, id, kept, gone FROM merge WHERE undone_at = 0 UNION ALL SELECT 1, id, kept, gone FROM split WHERE undone_at <> 0) AS records"

// reroot works out the roots of all devices that hang together with some, from the
// records of merges and of splits that were undone alone, and puts them where they are
// written down.
func (s *Store) reroot(ctx context.Context, tx *transaction, some []string, changed *changes) error {
	before := map[string]string{} // root, by device
	for queue := some; len(queue) > 0; {
		id := queue[0]
		queue = queue[1:]
		if _, ok := before[id]; ok {
			continue
		}
		var root string
		if err := tx.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", id).Scan(&root); err != nil {
			return notFound(err)
		}
		before[id] = root
		near, err := texts(ctx, tx, "SELECT kept FROM merge WHERE gone = $1 UNION SELECT gone FROM merge WHERE kept = $1 UNION SELECT kept FROM split WHERE gone = $1 UNION SELECT gone FROM split WHERE kept = $1", id)
		if err != nil {
			return err
		}
		queue = append(queue, near...)
	}
	after := map[string]string{}
	for id := range before {
		after[id] = id
	}
	find := func(id string) string {
		for after[id] != id {
			id = after[id]
		}
		return id
	}
	var list []any
	for id := range before {
		list = append(list, id)
	}
	rows, err := tx.QueryContext(ctx, "SELECT kept, gone FROM "+together+" WHERE kept IN ("+params(1, len(list))+") ORDER BY kind, id", list...)
	if err != nil {
		return err
	}
	for rows.Next() {
		var kept, gone string
		if err := rows.Scan(&kept, &gone); err != nil {
			rows.Close()
			return err
		}
		if k, g := find(kept), find(gone); k != g {
			after[g] = k
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for id, was := range before {
		root := find(id)
		if root == was {
			continue
		}
		changed.device(root)
		changed.device(was)
		for _, q := range [...]string{
			"UPDATE device SET root = $1 WHERE id = $2",
			"UPDATE identity SET device = $1 WHERE born = $2",
		} {
			if _, err := tx.ExecContext(ctx, q, root, id); err != nil {
				return err
			}
		}
		if err := s.moveFindings(ctx, tx, id, root, changed); err != nil {
			return err
		}
	}
	return nil
}
