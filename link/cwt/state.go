// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"slices"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
)

// Rows of a door's state, by the first item of each.
const (
	rowFloor = iota
	rowWindow
	rowBudget
	rowReception
	rowListed
)

func floorRow(unix int64) []byte {
	return cbor.AppendInt(cbor.AppendUint(cbor.AppendArray(nil, 2), rowFloor), unix)
}

func (w *window) row() []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 13), rowWindow)
	b = cbor.AppendBytes(cbor.AppendText(b, w.issuer), w.serial)
	b = cbor.AppendBytes(cbor.AppendText(b, w.device), w.holder[:])
	b = cbor.AppendInt(cbor.AppendBytes(b, w.digest[:]), w.expires)
	b = cbor.AppendInt(cbor.AppendInt(b, int64(w.length)), int64(w.used))
	b = cbor.AppendBool(w.since.append(b), w.open)
	return cbor.AppendUint(cbor.AppendUint(b, w.marks), w.restarts)
}

func (b *budget) row() []byte {
	r := cbor.AppendText(cbor.AppendUint(cbor.AppendArray(nil, 6), rowBudget), b.issuer)
	r = cbor.AppendUint(cbor.AppendUint(b.since.append(r), b.failed), b.opened)
	return b.look.append(r)
}

func (s *reception) row() []byte {
	b := cbor.AppendText(cbor.AppendUint(cbor.AppendArray(nil, 4), rowReception), s.issuer)
	return cbor.AppendUint(cbor.AppendText(b, s.audience), s.seen)
}

func (l *listed) row() []byte {
	return cbor.AppendUint(cbor.AppendText(cbor.AppendUint(cbor.AppendArray(nil, 3), rowListed), l.issuer), l.number)
}

// put puts x in the place of the one that is the same thing, or behind all others.
func put[T any](list []T, most int, x T, same func(T) bool) ([]T, bool) {
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = x
		return list, true
	}
	return append(list, x), len(list) < most
}

// apply takes a row of the state over from a record.
func (d *Door) apply(row []byte) error {
	r, err := cbor.Parse(row)
	if err != nil {
		return err
	}
	n := r.Array()
	items := func(want int) {
		if n != want {
			r.Fail(ErrForm)
		}
	}
	ok := true
	switch r.Uint() {
	case rowFloor:
		items(2)
		d.Floor = max(d.Floor, r.Int())
	case rowWindow:
		items(13)
		w := window{issuer: r.Text(), serial: r.Bytes(), device: r.Text()}
		readHash(&r, &w.holder)
		readHash(&r, &w.digest)
		w.expires = r.Int()
		w.length, w.used = time.Duration(r.Int()), time.Duration(r.Int())
		w.since, w.open = readInstant(&r), r.Bool()
		w.marks, w.restarts = r.Uint(), r.Uint()
		if err := r.Done(); err != nil {
			return err
		}
		d.room() // as it was made when the record was
		d.windows, ok = put(d.windows, maxWindows, w, func(x window) bool {
			return x.issuer == w.issuer && bytes.Equal(x.serial, w.serial)
		})
	case rowBudget:
		items(6)
		b := budget{issuer: r.Text(), since: readInstant(&r), failed: r.Uint(), opened: r.Uint(), look: readInstant(&r)}
		if len(d.budgets) == maxBudgets && !slices.ContainsFunc(d.budgets, func(x budget) bool { return x.issuer == b.issuer }) {
			d.budgets = slices.Delete(d.budgets, 0, 1)
		}
		d.budgets, ok = put(d.budgets, maxBudgets, b, func(x budget) bool { return x.issuer == b.issuer })
	case rowReception:
		items(4)
		s := reception{issuer: r.Text(), audience: r.Text(), seen: r.Uint()}
		d.sequences, ok = put(d.sequences, maxSequences, s, func(x reception) bool {
			return x.issuer == s.issuer && x.audience == s.audience
		})
	case rowListed:
		items(3)
		l := listed{r.Text(), r.Uint()}
		d.listed, ok = put(d.listed, maxLists, l, func(x listed) bool { return x.issuer == l.issuer })
	default:
		r.Fail(ErrForm)
	}
	if !ok {
		r.Fail(cbor.ErrTooMany)
	}
	return r.Done()
}

// Restore takes over what a door recorded before: all records, or those from a
// checkpoint on. It keeps a copy. Lists of revocations are not among them: give those
// to [Door.Update] again, for without them all scopes are narrowed. An error leaves a door that must not be used.
func (d *Door) Restore(records [][]byte) error {
	for i, b := range records {
		b = bytes.Clone(b)
		e, err := ParseRecord(b)
		if err != nil {
			return err
		}
		switch {
		case i == 0 && d.number == 0 && (e.Number == 1 || e.Kind == Checkpoint):
		case e.Previous != d.head || e.Number != d.number+1:
			return bad("record", ErrRecord)
		}
		for _, row := range e.rows {
			if err := d.apply(row); err != nil {
				return bad("record", err)
			}
		}
		d.number, d.head = e.Number, sha256.Sum256(b)
	}
	return nil
}

// Checkpoint records the whole state, so that the records before may be dropped once
// somebody else has them.
func (d *Door) Checkpoint(now Instant) error {
	d.begin(now)
	var rows [][]byte
	for i := range d.windows {
		rows = append(rows, d.windows[i].row())
	}
	for i := range d.budgets {
		rows = append(rows, d.budgets[i].row())
	}
	for i := range d.sequences {
		rows = append(rows, d.sequences[i].row())
	}
	for i := range d.listed {
		rows = append(rows, d.listed[i].row())
	}
	return d.record(&Record{Kind: Checkpoint, At: now}, rows...)
}

// Update reads a signed list of revocations, as [Verifier.Update] does. The door
// remembers its number, so that none older is taken after a restart.
func (d *Door) Update(list []byte, now Instant) error {
	d.begin(now)
	a, c, err := d.list(list)
	if err != nil {
		return err
	}
	l := listed{a.Name, c.Revoked.Number}
	known := slices.IndexFunc(d.listed, func(x listed) bool { return x.issuer == l.issuer })
	if known >= 0 && d.listed[known].number > l.number {
		return bad("revocations", ErrStale)
	}
	if err := d.Verifier.Update(list); err != nil {
		return err
	}
	if known >= 0 && d.listed[known].number == l.number {
		return nil // again, after a restart
	}
	// It holds whether it can be recorded or not.
	d.listed, _ = put(d.listed, maxLists, l, func(x listed) bool { return x.issuer == l.issuer })
	return d.record(&Record{Kind: Listed, At: now, Issuer: a.Name, Count: l.number}, l.row())
}

// lost reports whether a list of revocations that was there is not any more: then
// nobody knows who is revoked, and all scopes are the narrowest.
func (d *Door) lost() bool {
	return slices.ContainsFunc(d.listed, func(l listed) bool {
		return d.Revoked == nil || !slices.ContainsFunc(d.Revoked.lists, func(r revocationList) bool {
			return r.issuer == l.issuer && r.Number >= l.number
		})
	})
}

// challengeBytes are random; challengeWithin is how long an answer may take.
const (
	challengeBytes  = 8
	challengeWithin = time.Minute
)

// Challenge makes a nonce for a statement of the time to have: else an old one could
// be played to a device that has forgotten the time. A new one replaces it.
func (d *Door) Challenge(random io.Reader, now Instant) ([]byte, error) {
	d.begin(now)
	b := make([]byte, challengeBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, err
	}
	d.challenge, d.asked = b, now
	return bytes.Clone(b), nil
}

// SetTime reads a signed statement of the time (see [Authority.Time]) that answers
// the challenge. Time does not go back: a statement from before what is known is
// [ErrRollback], and refused.
func (d *Door) SetTime(statement []byte, now Instant) error {
	d.begin(now)
	_, _, c, err := d.signed(statement, TellsTime, MaxToken)
	switch {
	case err != nil:
		return err
	case c.IssuedAt == 0:
		return bad("iat", ErrMissing)
	case c.Scope != nil || c.Key != nil || c.KID != nil || c.Revoked != nil || c.Emergency != nil:
		return bad("scope", ErrForm)
	case d.challenge == nil || subtle.ConstantTimeCompare(c.Nonce, d.challenge) != 1 || now.atMost(d.asked) > challengeWithin:
		return bad("cnonce", ErrStale)
	}
	d.challenge = nil
	if c.IssuedAt < d.Floor-clockSlack {
		return bad("iat", ErrRollback)
	}
	set := Instant{Unix: max(c.IssuedAt, d.Floor), Boot: now.Boot, Uptime: now.Uptime}
	d.Floor = set.Unix
	if err := d.record(&Record{Kind: TimeSet, At: set, Issuer: c.Issuer}); err != nil {
		return err
	}
	d.clock = set
	return nil
}

// Now is the instant that a start of the device and its uptime are: with the time, if
// that was told in this start.
func (d *Door) Now(boot uint64, uptime time.Duration) Instant {
	i := Instant{Boot: boot, Uptime: uptime}
	if d.clock.Known() && d.clock.Boot == boot && uptime >= d.clock.Uptime {
		i.Unix = d.clock.Unix + int64((uptime-d.clock.Uptime)/time.Second)
	}
	return i
}
