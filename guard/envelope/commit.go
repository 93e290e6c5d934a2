// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A batch is a text of the journal: records that became durable together.
type batch struct {
	Clock   clock             `json:"clock"`
	Next    uint64            `json:"next"`
	Closed  bool              `json:"closed,omitempty"`
	Records []json.RawMessage `json:"records"`
}

// replay takes over the journal. Its texts were whole; one that cannot be read is of
// another version of the guard, or somebody wrote it.
func (b *Book) replay(texts [][]byte) (closed bool, err error) {
	for n, text := range texts {
		var t batch
		if err := json.Unmarshal(text, &t); err != nil {
			return false, fmt.Errorf("%w: batch %d: %w", ErrDamaged, n, err)
		}
		for _, raw := range t.Records {
			r := new(record)
			if err := json.Unmarshal(raw, r); err != nil {
				return false, fmt.Errorf("%w: batch %d: %w", ErrDamaged, n, err)
			}
			if err := b.apply(r); err != nil {
				return false, fmt.Errorf("%w: batch %d: %w", ErrDamaged, n, err)
			}
		}
		if !t.Clock.Now.sane() {
			return false, fmt.Errorf("%w: batch %d: its time", ErrDamaged, n)
		}
		b.clock, b.next, closed = t.Clock, max(b.next, t.Next), t.Closed
	}
	for name, a := range b.accounts { // what comes next has to follow on this
		if now := b.clock.Now; a.Mark.Least > now.Least || a.Mark.Most > now.Most {
			return false, fmt.Errorf("%w: %s is ahead of its clock", ErrDamaged, name)
		}
	}
	return closed, nil
}

// signal wakes the writer.
func (b *Book) signal() {
	if b.closed {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// wait returns when so many records are durable, or never will be.
func (b *Book) wait(n uint64) error {
	b.signal()
	for b.durable < n && b.broken == nil {
		if b.closed {
			return ErrBroken
		}
		b.written.Wait()
	}
	return b.broken
}

// write makes durable what is queued, all that came meanwhile at once, until the
// book is closed.
func (b *Book) write() {
	for open := true; open; {
		_, open = <-b.wake
		for more := true; more; {
			more = b.commit(!open)
		}
	}
}

// commit writes one batch, and reports whether there is more.
func (b *Book) commit(last bool) (more bool) {
	b.mu.Lock()
	defer b.unlock()
	if b.broken != nil && !(b.disk && (b.retry || last)) || b.broken == nil && len(b.queue) == 0 && !last && !b.stamp {
		return false
	}
	b.stamp, b.retry, b.stamped = false, false, b.clock.Now
	var (
		texts  [][]byte
		err    error
		upTo   = b.queued
		anew   = b.disk || b.journal.Bytes() > compactBytes && b.journal.Bytes() > compactTimes*b.least
		closed = false
	)
	if anew {
		texts, err = b.snapshot()
		b.queue = nil
	} else {
		n, bytes := 0, 0
		for n < len(b.queue) && (n == 0 || bytes+len(b.queue[n]) <= maxBatch) {
			bytes += len(b.queue[n])
			n++
		}
		upTo = b.queued - uint64(len(b.queue)-n)
		closed = last && n == len(b.queue)
		var text []byte
		text, err = b.batch(b.queue[:n], closed)
		texts = [][]byte{text}
		b.queue = slices.Clone(b.queue[n:])
	}
	if err == nil {
		b.mu.Unlock() // the disk takes its time
		if anew {
			err = b.journal.Replace(texts)
			b.least = b.journal.Bytes()
		} else {
			err = b.journal.Write(texts[0])
		}
		b.mu.Lock()
	}
	switch {
	case err != nil:
		if !b.disk {
			b.notices = append(b.notices, Notice{Text: "the journal of doses could not be written; changes are refused until it can be"})
		}
		b.broken, b.disk, b.queue = errors.Join(ErrBroken, err), true, nil
		time.AfterFunc(retryAfter, func() {
			b.mu.Lock()
			b.retry = true
			b.signal()
			b.mu.Unlock()
		})
	case b.disk:
		b.broken, b.disk = nil, false
		b.notices = append(b.notices, Notice{Text: "the journal of doses is written again"})
		fallthrough
	default:
		b.durable = upTo
	}
	b.written.Broadcast()
	return err == nil && (len(b.queue) > 0 || last && !closed)
}

func (b *Book) batch(records [][]byte, closed bool) ([]byte, error) {
	t := batch{Clock: b.clock, Next: b.next, Closed: closed}
	for _, r := range records {
		t.Records = append(t.Records, r)
	}
	return json.Marshal(&t)
}

// snapshot is the journal as it would be if only what holds had ever been written.
func (b *Book) snapshot() (texts [][]byte, err error) {
	first, err := b.batch(nil, false) // the clock, whether there are devices or not
	if err != nil {
		return nil, err
	}
	texts = append(texts, first)
	for _, name := range slices.Sorted(maps.Keys(b.accounts)) {
		r, err := json.Marshal(&record{Op: opSnapshot, Device: name, At: b.clock.Now, Account: b.accounts[name]})
		if err != nil {
			return nil, err
		}
		t, err := b.batch([][]byte{r}, false)
		if err != nil {
			return nil, err
		}
		texts = append(texts, t)
	}
	return texts, nil
}
