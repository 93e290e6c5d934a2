// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/json"
	"errors"

	"github.com/myelin-health/myelin/device"
)

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

// do applies a record and puts it where the writer finds it. It returns how many
// records have to be durable for this one to be.
func (b *Book) do(r *record) uint64 {
	text, err := json.Marshal(r)
	if err == nil {
		err = b.apply(r)
	}
	if err != nil { // one of ours that cannot be written or applied: nothing is sure any more
		b.broken, b.disk = errors.Join(ErrBroken, err), false
	}
	if b.broken != nil && !b.disk { // nobody will write it
		return b.queued
	}
	if !b.disk {
		b.queue = append(b.queue, text)
	}
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
