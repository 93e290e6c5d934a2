// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"

	"github.com/myelin-health/myelin/device"
)

const reasonJournal = "the journal of doses cannot be written"

// Reserve judges, and when the command may pass (allowed, or not enforced)
// counts what it may deliver, in one step, and returns when that is durable. The
// reservation is nil when the command does not pass, or only reads. A rescue does
// not wait for the disk. An error is of the journal: the decision is then a
// refusal, but for a rescue. It is tried again, every second, to write all that holds
// into a new file, so that what the old one lacks is in there.
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
	err := b.broken
	switch {
	case err != nil && !d.Rescue:
		return no, nil, err
	case errors.Is(err, ErrDamaged): // nothing is counted
		return d, nil, err
	}
	id, n := b.reserve(name, e, &q, now)
	if !d.Rescue {
		if err = b.wait(n); err != nil {
			if id != 0 && b.accounts[name].entry(id) != nil { // it is not given, and the journal may not have it
				b.do(&record{Op: opRelease, Device: name, At: b.tick(), ID: id})
			}
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
