// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// A cache holds at most a number of rows; the one that was not asked for
// longest makes room. At its bound it allocates nothing.
type cache[K comparable, V any] struct {
	most int
	rows map[K]*row[K, V]
	ring row[K, V] // ring.next is the youngest, ring.prev the oldest
}

type row[K comparable, V any] struct {
	key        K
	value      V
	prev, next *row[K, V]
}

func newCache[K comparable, V any](most int) cache[K, V] {
	return cache[K, V]{most: most, rows: map[K]*row[K, V]{}}
}

func (c *cache[K, V]) unlink(r *row[K, V]) {
	r.prev.next, r.next.prev = r.next, r.prev
}

func (c *cache[K, V]) front(r *row[K, V]) {
	if c.ring.next == nil {
		c.ring.next, c.ring.prev = &c.ring, &c.ring
	}
	r.prev, r.next = &c.ring, c.ring.next
	r.prev.next, r.next.prev = r, r
}

// get returns the row of a key, or nil, and makes it the youngest.
func (c *cache[K, V]) get(k K) *V {
	r := c.ring.next
	if r == nil || r == &c.ring || r.key != k { // else it is the one of last time
		if r = c.rows[k]; r == nil {
			return nil
		}
		c.unlink(r)
		c.front(r)
	}
	return &r.value
}

// put returns the row of a key that has none, to be filled. When there are too
// many rows it is the oldest one, after drop was called with its value.
func (c *cache[K, V]) put(k K, drop func(V)) *V {
	var r *row[K, V]
	if len(c.rows) >= c.most {
		r = c.ring.prev
		value := r.value
		c.remove(r.key)
		drop(value)
		var zero V
		r.key, r.value = k, zero
	} else {
		r = &row[K, V]{key: k}
	}
	c.rows[k] = r
	c.front(r)
	return &r.value
}

// remove takes a row out.
func (c *cache[K, V]) remove(k K) {
	if r := c.rows[k]; r != nil {
		delete(c.rows, k)
		c.unlink(r)
	}
}

// oldest returns the row that was not asked for longest, or nil.
func (c *cache[K, V]) oldest() *V {
	if len(c.rows) == 0 {
		return nil
	}
	return &c.ring.prev.value
}

// each calls f with the values, the oldest first, until it returns false. f may
// remove the row it is called with.
func (c *cache[K, V]) each(f func(k K, v *V) bool) {
	if c.ring.prev == nil {
		return
	}
	for r := c.ring.prev; r != &c.ring; {
		next := r.prev
		if !f(r.key, &r.value) {
			return
		}
		r = next
	}
}
