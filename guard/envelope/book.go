// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/flock"
	"github.com/myelin-health/myelin/internal/journal"
)

// Errors of a book.
var (
	ErrDamaged = errors.New("envelope: the journal of doses is damaged")
	ErrLocked  = errors.New("envelope: the journal of doses is in use by another process")
	ErrBroken  = errors.New("envelope: the journal of doses could not be written")
	ErrUnknown = errors.New("envelope: no such dose is in doubt")
)

// A Reading is what the clocks say.
type Reading struct {
	Wall   int64  // nanoseconds since 1970, as the machine believes
	Uptime int64  // nanoseconds since it started, time asleep included; monotonic (CLOCK_BOOTTIME)
	Boot   string // which start of the machine this is; none has the same twice
}

// A Config is what a book needs.
type Config struct {
	Path  string         // of the journal: one file, 0600, one process at a time
	Clock func() Reading // nil: the machine's own

	// Tell is called, outside of all locks, whenever somebody has to know something: a
	// dose in doubt, and its settling; a doubt about the clock; nil: nobody.
	Tell func(Notice)

	// Anyway has a book opened whose journal is damaged: it is not read, not written, and
	// left for a person. Rescues pass; all else is refused, as nobody knows what was given.
	// [Book.Err] says why.
	Anyway bool

	quick bool // tests: the disk is not waited for
}

// A Notice tells a person something about the doses of a device.
type Notice struct {
	Device string
	Doubt  *Doubt // a dose whose fate is unknown, or was and is settled
	Text   string // otherwise: what happened
}

// journalOf begins the journal: each of its records is a [batch] in JSON.
const journalOf = "myelin doses 1"

// The bounds of a book.
const (
	maxDevices   = 4096
	maxBatch     = 1 << 20 // bytes of records that are made durable together
	compactBytes = 1 << 20 // after so many, and eight times what holds, the journal is written anew
	compactTimes = 8
	stampEvery   = int64(10 * time.Minute) // the clock is written down, so that what passed is not lost with the machine
	retryAfter   = time.Second             // the journal that could not be written is written anew
	sameAgain    = time.Minute             // a device that says the same again is written down this often
)

// A Book is the one journal of the doses of all devices. Several goroutines may
// use it.
type Book struct {
	cfg  Config
	lock *os.File

	mu       sync.Mutex // guards what follows
	accounts map[string]*account
	clock    clock
	next     uint64   // id of the next reservation
	notices  []Notice // to be told when mu is free
	queue    [][]byte // records that are not durable yet
	queued   uint64   // how many ever were
	durable  uint64   // how many of them are
	broken   error
	disk     bool       // that is broken: what holds is in memory, and is written anew, whole, once that can be
	retry    bool       // it is time to try that
	written  *sync.Cond // durable or broken changed
	closed   bool
	stamped  moment // when the clock was last written
	stamp    bool   // it is to be written

	wake    chan struct{}
	writer  sync.WaitGroup
	journal *journal.Journal // the writer's
	least   int64            // bytes of the journal when it was last written anew; the writer's
}

// OpenBook opens the journal, or makes it. What was in flight when the book was
// last written is in doubt from now on.
func OpenBook(cfg Config) (*Book, error) {
	if cfg.Clock == nil {
		cfg.Clock = ReadClock
	}
	locked, err := flock.Take(cfg.Path + ".lock")
	if errors.Is(err, flock.ErrHeld) {
		err = ErrLocked
	}
	if err != nil {
		return nil, err
	}
	b := &Book{cfg: cfg, lock: locked, accounts: map[string]*account{}, next: 1, wake: make(chan struct{}, 1)}
	b.written = sync.NewCond(&b.mu)
	if err := b.open(); err != nil {
		if !cfg.Anyway || !errors.Is(err, ErrDamaged) {
			locked.Close()
			return nil, err
		}
		b.accounts, b.clock, b.next, b.broken = map[string]*account{}, clock{Reading: cfg.Clock()}, 1, err
		b.notices = append(b.notices, Notice{Text: err.Error() + ": nothing but rescues is let through until a person has looked"})
	}
	b.writer.Go(b.write)
	b.mu.Lock()
	b.begin()
	b.unlock()
	return b, nil
}

func (b *Book) open() error {
	j, texts, err := journal.Open(b.cfg.Path, journalOf)
	if errors.Is(err, journal.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	if b.cfg.quick {
		j.Disk = func(*os.File) error { return nil }
	}
	closed, err := b.replay(texts)
	if err != nil {
		j.Close()
		return err
	}
	b.journal, b.least = j, j.Bytes()
	if len(texts) == 0 {
		b.clock.Reading = b.cfg.Clock()
		return nil
	}
	b.died(closed)
	return nil
}

// died says of every device that nobody knows what was in flight when the book was
// last written.
func (b *Book) died(closed bool) {
	from := b.clock.Now
	now := b.tick()
	for _, name := range slices.Sorted(maps.Keys(b.accounts)) {
		b.do(&record{Op: opDied, Device: name, At: now, From: &from, Given: closed})
	}
	if now.Most > rebaseAfter { // each start of the machine took a month of the faster scale
		s := b.clock.rebase()
		b.do(&record{Op: opShift, Shift: &s})
	}
}

// begin makes durable that the book was opened.
func (b *Book) begin() {
	for _, n := range b.doubts() {
		b.notices = append(b.notices, Notice{Device: n.Device, Doubt: &n})
	}
	b.signal()
}

// Close writes what is left. What is in flight then is in doubt when the book is
// opened again.
func (b *Book) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.tick()
	b.closed = true
	close(b.wake)
	b.unlock()
	b.writer.Wait()
	if b.journal == nil {
		return b.lock.Close()
	}
	return errors.Join(b.broken, b.journal.Close(), b.lock.Close())
}

// Err is why nothing but rescues passes, or nil.
func (b *Book) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	return b.broken
}

// tick brings the clock up to now.
func (b *Book) tick() moment {
	if b.clock.read(b.cfg.Clock()) {
		b.notices = append(b.notices, Notice{Text: b.clock.Doubt})
	}
	if b.clock.Now.Least-b.stamped.Least >= stampEvery && !b.stamp {
		b.stamp = true
		b.signal()
	}
	return b.clock.Now
}

// unlock lets go of mu and tells what is to be told.
func (b *Book) unlock() {
	notices := b.notices
	b.notices = nil
	b.mu.Unlock()
	if b.cfg.Tell != nil {
		for _, n := range notices {
			b.cfg.Tell(n)
		}
	}
}

// account returns a device's account, and makes it; nil when there are too many.
func (b *Book) account(name string, now moment) *account {
	a := b.accounts[name]
	if a == nil && len(b.accounts) < maxDevices {
		a = newAccount(now)
		b.accounts[name] = a
	}
	return a
}

// Judge decides on a request for a device, as things are now, and changes
// nothing. A nil envelope has no limits: rescues pass, and changes are refused
// without being enforced. It takes no disk, no allocation and less than two
// microseconds with a few dozen doses in the windows.
func (b *Book) Judge(name string, e *Envelope, r *Request) Decision {
	b.mu.Lock()
	q := candidate{Request: r}
	d := b.judge(name, e, &q, b.tick())
	b.unlock()
	return d
}

const reasonRoom = "the guard follows as many devices as it can"

func (b *Book) judge(name string, e *Envelope, q *candidate, now moment) Decision {
	a := b.account(name, now)
	if a == nil {
		a = newAccount(now)
		if d := e.decide(a, now, q); d.Rescue {
			return d
		}
		return Decision{Verdict: device.Deny, Effect: q.effect, Enforced: e != nil && e.enforces, Reason: reasonRoom}
	}
	a.advance(now)
	return e.decide(a, now, q)
}

// SignedTime credits time that is proven: now is t, or not more than within
// later, because somebody signed t in answer to a question that was asked so long
// ago. A book that was given one before and one after the machine was restarted
// knows how long that took, and doses age by it; without one they do not. Give one
// every hour or so, and at each start.
func (b *Book) SignedTime(t time.Time, within time.Duration) error {
	b.mu.Lock()
	defer b.unlock()
	if within < 0 || t.Unix() <= 0 {
		return ErrTime
	}
	b.tick()
	s, err := b.clock.sign(t.UnixNano(), t.UnixNano()+int64(within))
	if err != nil {
		return err
	}
	if s != (shift{}) {
		b.do(&record{Op: opShift, Shift: &s})
	}
	b.stamp = true
	b.signal()
	return nil
}
