// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"slices"
)

// A table is a map within a bound. When it is full it gives up its poorest
// quarter: rows that were idle for a window first, then those that keep ranks
// lowest, then those used least, then those idle longest. So a flood of
// strangers that come once pushes out its own, and what is watched for longer
// stays. The order is a pure function of what went in.
type table[K comparable, V any] struct {
	bound   int
	window  int64             // after which an idle row is worth nothing; 0: it never is
	keep    func(K, *V) uint8 // nil: all rows rank the same
	release func(K, *V)       // is told what is given up; may be nil
	rows    map[K]*row[V]
	born    uint64 // rows ever made
}

type row[V any] struct {
	v    V
	born uint64
	last int64
	uses uint8 // up to manyUses
}

// manyUses is how often a row is used until more does not count: nobody buys
// a place for ever with a loop.
const manyUses = 16

// get returns the row of k, or nil.
func (t *table[K, V]) get(k K) *V {
	if r := t.rows[k]; r != nil {
		return &r.v
	}
	return nil
}

// use returns the row of k, new or as it was. What has to be given up for it
// is counted in dropped. The pointer is valid until the next call.
func (t *table[K, V]) use(k K, now int64, dropped *uint64) *V {
	r := t.rows[k]
	if r == nil {
		if t.rows == nil {
			t.rows = make(map[K]*row[V])
		}
		if len(t.rows) >= t.bound {
			t.room(now, dropped)
		}
		t.born++
		r = &row[V]{born: t.born, last: now}
		t.rows[k] = r
	}
	r.last = max(r.last, now)
	r.uses += min(1, manyUses-r.uses)
	return &r.v
}

// room gives up the poorest quarter.
func (t *table[K, V]) room(now int64, dropped *uint64) {
	type rank struct {
		k     K
		r     *row[V]
		fresh bool
		keep  uint8
	}
	ranks := make([]rank, 0, len(t.rows))
	for k, r := range t.rows {
		x := rank{k: k, r: r, fresh: t.window == 0 || now-r.last <= t.window}
		if t.keep != nil && x.fresh {
			x.keep = t.keep(k, &r.v)
		}
		ranks = append(ranks, x)
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		if a.fresh != b.fresh {
			if b.fresh {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.keep, b.keep), cmp.Compare(a.r.uses, b.r.uses), cmp.Compare(a.r.last, b.r.last), cmp.Compare(a.r.born, b.r.born))
	})
	for _, x := range ranks[:max(1, len(ranks)/4)] {
		if x.fresh {
			*dropped++
		}
		t.drop(x.k)
	}
}

func (t *table[K, V]) drop(k K) {
	if r := t.rows[k]; r != nil && t.release != nil {
		t.release(k, &r.v)
	}
	delete(t.rows, k)
}

// sorted returns the rows in the order in which they were made.
func (t *table[K, V]) sorted(f func(K, *V)) {
	type pair struct {
		k K
		r *row[V]
	}
	list := make([]pair, 0, len(t.rows))
	for k, r := range t.rows {
		list = append(list, pair{k, r})
	}
	slices.SortFunc(list, func(a, b pair) int { return cmp.Compare(a.r.born, b.r.born) })
	for _, x := range list {
		f(x.k, &x.r.v)
	}
}

// A set holds numbers, within its own bound and the purse that it shares.
type set struct {
	m    map[int64]struct{}
	more bool // there was no room for one
}

// A purse is how much room all sets together have left.
type purse int

// add puts id into the set; 0 is none.
func (s *set) add(id int64, bound int, p *purse) {
	if id == 0 {
		return
	}
	if _, ok := s.m[id]; ok {
		return
	}
	if len(s.m) >= bound || *p <= 0 {
		s.more = true
		return
	}
	if s.m == nil {
		s.m = make(map[int64]struct{})
	}
	s.m[id] = struct{}{}
	*p--
}

// clear gives the set's room back.
func (s *set) clear(p *purse) {
	*p += purse(len(s.m))
	*s = set{}
}
