// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
)

// Errors of a book.
var (
	ErrDamaged = errors.New("envelope: the journal of doses is damaged")
	ErrLocked  = errors.New("envelope: the journal of doses is in use by another process")
	ErrBroken  = errors.New("envelope: the journal of doses could not be written; restart the guard")
	ErrFull    = errors.New("envelope: the journal of doses has no room")
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

// The bounds of a book.
const (
	maxDevices   = 4096
	maxBatch     = 1 << 20 // bytes of records that are made durable together
	compactBytes = 1 << 20 // after so many, and eight times what holds, the journal is written anew
	compactTimes = 8
	stampEvery   = int64(10 * time.Minute) // the clock is written down, so that what passed is not lost with the machine
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
	written  *sync.Cond // durable or broken changed
	closed   bool
	stamped  moment // when the clock was last written
	stamp    bool   // it is to be written

	wake    chan struct{}
	writer  sync.WaitGroup
	journal *journal // the writer's
	least   int64    // bytes of the journal when it was last written anew; the writer's
}

// A record is one line of the journal.
type record struct {
	Op     string `json:"op"`
	Device string `json:"device,omitempty"`
	At     moment `json:"at"`

	ID    uint64   `json:"id,omitempty"`
	Shape *shape   `json:"shape,omitempty"`
	Takes int64    `json:"takes,omitempty"`
	Text  *wording `json:"text,omitempty"`

	Unit   string `json:"unit,omitempty"`
	Rate   *rate  `json:"rate,omitempty"`
	Lo     int64  `json:"lo,omitempty"`
	Hi     int64  `json:"hi,omitempty"`
	Final  bool   `json:"final,omitempty"`
	Meter  *meter `json:"meter,omitempty"`
	Record uint64 `json:"record,omitempty"`
	Wall   int64  `json:"wall,omitempty"`

	Why   string  `json:"why,omitempty"`
	Given bool    `json:"given,omitempty"` // of died: it had ended in order
	From  *moment `json:"from,omitempty"`

	Shift   *shift   `json:"shift,omitempty"`
	Account *account `json:"account,omitempty"`
}

// The operations of a record.
const (
	opReserve  = "reserve"
	opSent     = "sent"
	opAccept   = "accept"
	opPropose  = "propose"
	opRelease  = "release"
	opDoubt    = "doubt"
	opSettle   = "settle"
	opSays     = "says"
	opGave     = "gave"
	opMeter    = "meter"
	opLost     = "lost"
	opDied     = "died"
	opShift    = "shift"
	opSnapshot = "account"
)

// A batch is a text of the journal: records that became durable together.
type batch struct {
	Clock   clock             `json:"clock"`
	Next    uint64            `json:"next"`
	Closed  bool              `json:"closed,omitempty"`
	Records []json.RawMessage `json:"records"`
}

// OpenBook opens the journal, or makes it. What was in flight when the book was
// last written is in doubt from now on.
func OpenBook(cfg Config) (*Book, error) {
	if cfg.Clock == nil {
		cfg.Clock = ReadClock
	}
	locked, err := lock(cfg.Path + ".lock")
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
	j, texts, err := openJournal(b.cfg.Path, b.cfg.quick)
	if err != nil {
		return err
	}
	closed, err := b.replay(texts)
	if err != nil {
		j.close()
		return err
	}
	b.journal, b.least = j, j.bytes
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
	return closed, nil
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
	return errors.Join(b.broken, b.journal.close(), b.lock.Close())
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

// do applies a record and puts it where the writer finds it. It returns how many
// records have to be durable for this one to be.
func (b *Book) do(r *record) uint64 {
	text, err := json.Marshal(r)
	if err == nil {
		err = b.apply(r)
	}
	if err != nil { // one of ours that cannot be written or applied: nothing is sure any more
		b.broken = errors.Join(ErrBroken, err)
	}
	if b.broken != nil { // nobody will write it
		return b.queued
	}
	b.queue = append(b.queue, text)
	b.queued++
	return b.queued
}

// errRecord is of a record that does not follow on the ones before.
var errRecord = errors.New("a record that does not follow")

// apply is what every record does, now and when it is read again.
func (b *Book) apply(r *record) error {
	if r.Op == opShift {
		if r.Shift == nil {
			return errRecord
		}
		for _, a := range b.accounts {
			a.shift(*r.Shift)
			if !a.sane() {
				return errRecord
			}
		}
		return nil
	}
	if r.Op == opSnapshot {
		if r.Account == nil || !r.Account.sane() {
			return errRecord
		}
		known := r.Account.Known
		err := r.Account.adopt(r.Account.UnitText)
		r.Account.Known = known
		b.accounts[r.Device] = r.Account
		return err
	}
	a := b.account(r.Device, r.At)
	if a == nil || !r.At.sane() || r.At.Least < a.Mark.Least || r.At.Most < a.Mark.Most {
		return errRecord
	}
	return a.apply(r)
}

// adopt takes over the unit in which amounts are counted.
func (a *account) adopt(unit string) error {
	if unit == "" {
		return nil
	}
	u, ok := device.UnitOfUCUM(unit)
	if !ok || a.Unit != device.NoUnit && a.Unit != u {
		return errRecord
	}
	if a.Unit == device.NoUnit {
		a.Known = false // how much, at least
	}
	a.Unit, a.UnitText = u, unit
	return nil
}

func (a *account) apply(r *record) error {
	e := a.entry(r.ID)
	switch r.Op {
	case opReserve:
		if r.Shape == nil || r.Text == nil || !r.Shape.sane() || r.Takes < 0 || r.Takes > gap || e != nil {
			return errRecord
		}
		if err := a.adopt(r.Unit); err != nil {
			return err
		}
		a.reserve(r.At, &entry{ID: r.ID, Shape: *r.Shape, Takes: r.Takes, Text: *r.Text})
	case opSays:
		if r.Rate == nil || r.Rate.Lo < 0 || r.Rate.Hi > maxAmount || r.Rate.Lo > r.Rate.Hi {
			return errRecord
		}
		if err := a.adopt(r.Unit); err != nil {
			return err
		}
		a.says(r.At, *r.Rate)
		a.Reported = r.Wall
	case opGave:
		if r.Lo < 0 || r.Hi > maxAmount || r.Lo > r.Hi {
			return errRecord
		}
		if err := a.adopt(r.Unit); err != nil {
			return err
		}
		if r.Record == 0 || r.Record > a.Record {
			a.gave(r.At, r.ID, r.Lo, r.Hi, r.Final)
			a.Record = max(a.Record, r.Record)
		}
		a.Reported = r.Wall
	case opMeter:
		if r.Lo < 0 || r.Hi > maxAmount || r.Lo > r.Hi || r.Meter == nil || !r.Meter.sane() {
			return errRecord
		}
		if err := a.adopt(r.Unit); err != nil {
			return err
		}
		switch {
		case r.From == nil: // the first
			a.Meter = *r.Meter
		case r.From.Least > r.At.Least || r.From.Most > r.At.Most:
			return errRecord
		default:
			a.metered(r)
		}
		if r.Wall != 0 {
			a.Reported = r.Wall
		}
	case opLost:
		var lost *entry
		if r.Shape != nil {
			if !r.Shape.sane() || r.Takes < 0 || r.Takes > gap {
				return errRecord
			}
			lost = &entry{Shape: *r.Shape, Takes: r.Takes, Sent: never}
		}
		a.lose(r.At, r.Why, lost)
	case opDied:
		if r.From == nil || r.From.Least < a.Mark.Least || r.From.Most < a.Mark.Most || r.From.Least > r.At.Least || r.From.Most > r.At.Most {
			return errRecord
		}
		a.died(*r.From, r.At, r.Given)
	case opSent, opAccept, opPropose, opRelease, opDoubt, opSettle:
		if e == nil {
			return errRecord
		}
		switch {
		case r.Op == opSent:
			a.sent(r.At, e)
		case r.Op == opDoubt:
			e.Doubt = r.Why
		case r.Op == opPropose:
			a.proposed(r.At, e)
		case r.Op == opAccept, r.Op == opSettle && r.Given:
			a.accepted(r.At, e)
		default:
			a.released(r.At, e)
		}
	default:
		return errRecord
	}
	return nil
}

// sane reports whether a shape is one that a command can have.
func (s *shape) sane() bool {
	return s.Kind < kindCount && s.Lo >= 0 && s.Lo <= s.Hi && s.Hi <= maxAmount && s.Least >= 0 && s.Most >= 0 && s.Least <= forever && s.Most <= forever
}

// sane reports whether a moment is one that a clock can have come to.
func (m moment) sane() bool {
	return m.Least >= 0 && m.Least <= m.Most && m.Most < forever/2
}

// sane reports whether an account that was read has no number that would not fit.
func (a *account) sane() bool {
	ok := true
	moments := func(ms ...moment) {
		for _, m := range ms {
			ok = ok && m.Least >= -forever && m.Least <= forever && m.Most >= -forever && m.Most <= forever
		}
	}
	amounts := func(lo, hi int64) { ok = ok && lo >= 0 && lo <= hi && hi <= maxAmount }
	programs := func(p *program) {
		for i := range p {
			moments(p[i].Until)
			amounts(p[i].Lo, p[i].Hi)
		}
		ok = ok && p[base].Until == always
	}
	moments(a.Since, a.Mark, a.Confirmed)
	ok = ok && len(a.Waits) <= maxOpen
	for i := range a.Waits {
		moments(a.Waits[i].Until)
		programs(&a.Waits[i].Program)
	}
	programs(&a.Sure)
	programs(&a.Runs)
	for _, s := range a.Past {
		moments(s.Begin)
		amounts(s.Lo, s.Hi)
	}
	for _, d := range a.Doses {
		moments(d.From, d.To)
		amounts(d.Lo, d.Hi)
		amounts(d.Seen.Lo, d.Seen.Hi)
	}
	ok = ok && a.Meter.sane()
	for _, l := range a.Last {
		moments(l.At, l.Until)
	}
	for _, e := range a.Open {
		if e == nil || !e.Shape.sane() || e.Takes < 0 || e.Takes > gap {
			return false
		}
		moments(e.Begin, e.Sent)
		programs(&e.Under)
		programs(&e.Program)
		for _, l := range e.Before {
			moments(l.At, l.Until)
		}
	}
	return ok && len(a.Past) <= 2*maxSections && len(a.Doses) <= 2*maxDoses && len(a.Open) <= 2*maxOpen && a.Mark.sane()
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
	if b.broken != nil || len(b.queue) == 0 && !last && !b.stamp {
		return false
	}
	b.stamp, b.stamped = false, b.clock.Now
	var (
		texts  [][]byte
		err    error
		upTo   = b.queued
		anew   = b.journal.bytes > compactBytes && b.journal.bytes > compactTimes*b.least
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
			err = b.journal.replace(texts)
			b.least = b.journal.bytes
		} else {
			err = b.journal.write(texts[0])
		}
		b.mu.Lock()
	}
	if err != nil {
		b.broken = errors.Join(ErrBroken, err)
		b.notices = append(b.notices, Notice{Text: "the journal of doses could not be written; changes are refused until the guard is restarted"})
	} else {
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

const reasonJournal = "the journal of doses cannot be written"

// Reserve judges, and when the command may pass (allowed, or not enforced)
// counts what it may deliver, in one step, and returns when that is durable. The
// reservation is nil when the command does not pass, or only reads. A rescue does
// not wait for the disk. An error is of the journal: the decision is then a
// refusal, but for a rescue.
func (b *Book) Reserve(name string, e *Envelope, r *Request) (Decision, *Reservation, error) {
	b.mu.Lock()
	defer b.unlock()
	now := b.tick()
	q := candidate{Request: r}
	d := b.judge(name, e, &q, now)
	if d.Verdict != device.Allow && d.Verdict != device.AllowEmergency && d.Enforced || d.Effect == device.Reads {
		return d, nil, nil
	}
	if b.broken == nil && b.closed {
		b.broken = ErrBroken
	}
	no := Decision{Verdict: device.Deny, Effect: d.Effect, Enforced: d.Enforced, Reason: reasonJournal}
	if b.broken != nil { // nothing is counted any more
		if d.Rescue {
			return d, nil, b.broken
		}
		return no, nil, b.broken
	}
	id, n := b.reserve(name, e, &q, now)
	err := b.broken
	if !d.Rescue {
		if err == nil {
			err = b.wait(n)
		}
		if err != nil {
			return no, nil, err
		}
	}
	b.signal()
	if id == 0 {
		return d, nil, err
	}
	return d, &Reservation{b, name, id}, err
}

// reserve counts a command that passes. Its id is 0 where it cannot be followed.
func (b *Book) reserve(name string, e *Envelope, q *candidate, now moment) (id, n uint64) {
	a := b.accounts[name]
	if a == nil {
		return 0, b.queued
	}
	c := &q.command
	sums := e != nil && e.Unit != device.NoUnit
	why := q.uncount
	switch {
	case sums && a.Unit != device.NoUnit && a.Unit != e.Unit:
		why = reasonUnit
	case len(a.Open) >= maxOpen:
		why = reasonOpen
	}
	if why != "" { // observed, or a rescue
		return 0, b.do(&record{Op: opLost, Device: name, At: now, Why: why, Shape: &q.shape, Takes: q.limits.takes(q.shape.Kind)})
	}
	r := &record{
		Op: opReserve, Device: name, At: now, ID: b.next, Shape: &q.shape, Takes: q.limits.takes(q.shape.Kind),
		Text: &wording{Value: c.Value.String(), Limit: c.Limit.String(), Actor: c.Actor, Wall: b.clock.Reading.Wall},
	}
	if sums {
		r.Unit = e.Unit.String()
	}
	b.next++
	return r.ID, b.do(r)
}

// A Reservation is a command that may have been given. Exactly one of Accepted, Proposed,
// Rejected, Doubted and Withdrawn ends it; whoever forgets leaves it counted until
// somebody settles it. They do not wait for the disk: an outcome that is lost
// leaves a doubt. A nil reservation may be used, and does nothing.
type Reservation struct {
	book *Book
	name string
	id   uint64
}

// ID names the reservation, for [Book.Settle] and [Report].
func (r *Reservation) ID() uint64 {
	if r == nil {
		return 0
	}
	return r.id
}

// Sent says that the first byte is about to go to the device. It comes right after
// Reserve: what is sent much later was judged as if it were sent now.
func (r *Reservation) Sent() { r.end(opSent) }

// Withdrawn says that nothing was sent, and never will be. After Sent it is as Doubted.
func (r *Reservation) Withdrawn() { r.end("") }

// Accepted says that the device took the command.
func (r *Reservation) Accepted() { r.end(opAccept) }

// Proposed says that the device's system took the command and that a person at the
// device begins it, or does not (IHE PCD-03): what ran and what was asked for both
// may run until the device reports.
func (r *Reservation) Proposed() { r.end(opPropose) }

// Rejected says that the device itself answered that it did not.
func (r *Reservation) Rejected() { r.end(opRelease) }

// Doubted says that nobody knows: no answer, or none that says. It counts as
// given until the device's own record or a person settles it.
func (r *Reservation) Doubted() { r.end(opDoubt) }

const whyNoAnswer = "the device did not answer, or did not say"

func (r *Reservation) end(op string) {
	if r == nil {
		return
	}
	b := r.book
	b.mu.Lock()
	defer b.unlock()
	e := b.accounts[r.name].entry(r.id)
	if e == nil || e.Doubt != "" || op == opSent && e.Sent != never {
		return
	}
	if op == "" {
		op = opRelease
		if e.Sent != never {
			op = opDoubt
		}
	}
	v := &record{Op: op, Device: r.name, At: b.tick(), ID: r.id}
	if op == opDoubt {
		v.Why = whyNoAnswer
	}
	b.do(v)
	if op == opDoubt {
		d := e.doubt(r.name)
		b.notices = append(b.notices, Notice{Device: r.name, Doubt: &d})
	}
	b.signal()
}

// A Report is what a device itself says that it gives: a history or status of
// the Insulin Delivery Service, a message of PCD-01 or PCD-10.
type Report struct {
	Rate   device.Quantity // running now, "0 mL/h" for none; zero when it does not say
	Amount device.Quantity // given as a bolus since the last report; zero when it does not say
	Total  device.Quantity // by its own counter of all that it ever gave, until somebody clears that; zero when it does not say
	State  string          // of the therapy; the gate's business
	Time   time.Time       // by the device's clock; never used to count

	Weight        device.Quantity // of the patient; zero when unknown
	Concentration device.Quantity // of the drug; zero when unknown

	// Reservation is the id of the reservation that Amount was given for, all of it so
	// far, and Final says that it is over: the amount is then exactly what was given.
	// 0: an amount of somebody else, at the keypad or by a local loop. One of our own
	// that the device does not name counts twice, which is safe and not welcome.
	Reservation uint64
	Final       bool

	// Record numbers the amount in the device's own history, from 1: none is counted
	// twice, nor when it comes again after a restart. 0: it has no numbers.
	Record uint64
}

// ErrNotCounted is of a report whose numbers cannot be counted; what it wraps says
// why. The sums lack them from then on, and [View] says so.
var ErrNotCounted = errors.New("envelope: a report that cannot be counted")

// Report takes what a device itself says that it gives. The envelope is the
// device's, for the unit in which its sums are counted; with none, or one without
// sums, only whether anything runs is known. It does not wait for the disk.
func (b *Book) Report(name string, e *Envelope, r *Report) error {
	b.mu.Lock()
	defer b.unlock()
	now := b.tick()
	a := b.account(name, now)
	if a == nil {
		return fmt.Errorf("%w: %s", ErrNotCounted, reasonRoom)
	}
	again := b.clock.Reading.Wall >= a.Reported && time.Duration(b.clock.Reading.Wall-a.Reported) < sameAgain
	v := record{Device: name, At: now, Wall: b.clock.Reading.Wall, ID: r.Reservation, Final: r.Final, Record: r.Record}
	basis := device.Basis{Weight: r.Weight, Concentration: r.Concentration}
	sums := e != nil && e.Unit != device.NoUnit
	if sums {
		v.Unit = e.Unit.String()
	}
	if sums && a.Unit != device.NoUnit && a.Unit != e.Unit {
		return b.lose(&v, reasonUnit)
	}
	if r.Rate.Unit != device.NoUnit {
		v.Op, v.Rate = opSays, &rate{Off: r.Rate.Coefficient == 0}
		if why := plain(r.Rate); why != "" {
			return b.lose(&v, why)
		}
		nothing := v.Rate.Off && (r.Rate.Unit.IsRate() || r.Rate.Unit.IsDoseRate()) // whatever the weight and the concentration
		if sums && !nothing {
			var why string
			if v.Rate.Lo, v.Rate.Hi, why = e.rate(r.Rate, basis); why != "" {
				return b.lose(&v, why)
			}
		}
		b.says(a, &v, again)
	}
	if r.Amount.Unit != device.NoUnit && sums {
		var why string
		if v.Lo, v.Hi, why = e.amount(r.Amount, basis); why != "" {
			return b.lose(&v, why)
		}
		v.Op = opGave
		b.do(&v)
	}
	if r.Total.Unit != device.NoUnit && sums {
		b.meter(a, e, &v, r, again)
	}
	b.signal()
	return nil
}

// says takes a rate. One that is the same again is not written down each time.
func (b *Book) says(a *account, v *record, again bool) {
	a.advance(v.At)
	before := len(a.Open)
	doubts := map[uint64]Doubt{}
	for _, e := range a.Open {
		doubts[e.ID] = e.doubt(v.Device)
	}
	if again && a.Known && a.Runs.over(a.Mark, v.At) == *v.Rate && a.settledBy(v.At) == 0 {
		reported := a.Reported
		a.says(v.At, *v.Rate)
		a.Reported = reported
		return
	}
	b.do(v)
	if len(a.Open) == before {
		return
	}
	for id, d := range doubts {
		if a.entry(id) == nil {
			d.Settled, d.By = true, "device"
			b.notices = append(b.notices, Notice{Device: v.Device, Doubt: &d})
		}
	}
}

// lose says that something was not counted.
func (b *Book) lose(v *record, why string) error {
	b.do(&record{Op: opLost, Device: v.Device, At: v.At, Why: why})
	b.signal()
	return fmt.Errorf("%w: %s", ErrNotCounted, why)
}

// A Doubt is a command whose fate nobody knows, or, once Settled, knew.
type Doubt struct {
	ID      uint64
	Device  string
	Verb    device.Verb
	Value   device.Quantity
	Limit   device.Quantity
	Actor   string    // who asked, as proven
	Since   time.Time // by the machine's clock, to show
	Why     string
	Settled bool
	Given   bool   // of one that a person settled
	By      string // of a settled one: a person's id, or "device"
}

func (e *entry) doubt(name string) Doubt {
	d := Doubt{ID: e.ID, Device: name, Verb: e.Shape.Verb, Actor: e.Text.Actor, Since: time.Unix(0, e.Text.Wall).UTC(), Why: e.Doubt}
	d.Value, _ = device.ParseQuantity(e.Text.Value) // for a person: one that is not understood is left out
	d.Limit, _ = device.ParseQuantity(e.Text.Limit)
	return d
}

// Doubts are the commands whose fate is unknown, of all devices, oldest first.
func (b *Book) Doubts() []Doubt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.doubts()
}

func (b *Book) doubts() (list []Doubt) {
	for name, a := range b.accounts {
		for _, e := range a.Open {
			if e.Doubt != "" {
				list = append(list, e.doubt(name))
			}
		}
	}
	slices.SortFunc(list, func(d, e Doubt) int { return cmp.Compare(d.ID, e.ID) })
	return list
}

// Settle says what became of a command in doubt, as a person found out. It
// returns when that is durable; [ErrUnknown] when no such command is in doubt.
func (b *Book) Settle(id uint64, given bool, by string) error {
	b.mu.Lock()
	defer b.unlock()
	for name, a := range b.accounts {
		e := a.entry(id)
		if e == nil || e.Doubt == "" {
			continue
		}
		d := e.doubt(name)
		d.Settled, d.Given, d.By = true, given, by
		n := b.do(&record{Op: opSettle, Device: name, At: b.tick(), ID: id, Given: given, Why: by})
		b.notices = append(b.notices, Notice{Device: name, Doubt: &d})
		return b.wait(n)
	}
	return ErrUnknown
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
