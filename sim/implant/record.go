// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/journal"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
)

// journalOf is what the chain of a journal begins with.
const journalOf = "myelin implant journal 1"

// ErrDamaged is of a journal that was changed. The device must not be used: doses could
// be forgotten.
var ErrDamaged = journal.ErrDamaged

// The kinds of record in a journal, the first item of each.
const (
	recordState = 1 + iota // [1, life, unix, boot, next, [var, ...], meter, [entry, ...]]
	recordDoor             // [2, record of link/cwt]
	recordList             // [3, list of revocations]
)

// The verdicts of an entry.
const (
	accepted = "accepted"
	denied   = "refused"
	doubtful = "accepted, not recorded"
)

// An entry is one line of the device's log.
type entry struct {
	event   string
	actor   string
	role    device.Role
	verb    device.Verb
	value   device.Quantity
	limit   device.Quantity
	verdict string
	why     string
	count   uint64 // of refusals that are alike
}

func (e *entry) document(number uint64, boot uint64, uptime time.Duration, unix int64) therapy.Document {
	d := therapy.Document{
		therapy.Number.Is(number),
		therapy.Boot.Is(boot),
		therapy.Uptime.Is(quantity(int64(uptime/time.Millisecond), -3, unitSecond)),
		therapy.Event.Is(e.event),
	}
	if unix > 0 {
		d = append(d, therapy.Time.Is(unix))
	}
	if e.verb != device.NoVerb {
		d = append(d, therapy.Verb.Is(uint64(cwt.VerbNumber(e.verb))))
	}
	some := therapy.Document{
		therapy.Value.Is(e.value), therapy.Limit.Is(e.limit),
		therapy.Actor.Is(e.actor), therapy.Role.Is(e.role.String()), therapy.Verdict.Is(e.verdict), therapy.Why.Is(e.why),
	}
	for _, f := range some {
		if f.Value != "" && f.Value != (device.Quantity{}) {
			d = append(d, f)
		}
	}
	if e.count > 1 {
		d = append(d, therapy.Count.Is(e.count))
	}
	return d
}

// note makes entries durable, with the state as it is.
func (i *Implant) note(entries ...*entry) error {
	list := i.entries(entries...)
	// What happened is known to the device, and is told, whether it is durable or not.
	i.keep(list)
	err := i.journal.Write(i.state(list))
	if err == nil {
		i.written = i.life()
		if i.journal.Full() {
			err = i.compact()
		}
	}
	return err
}

// entries encodes the next entries of the log.
func (i *Implant) entries(entries ...*entry) (list [][]byte) {
	uptime, unix := i.cfg.Clock()
	for _, e := range entries {
		list = append(list, e.document(i.next, i.boot, uptime, unix).Append(nil))
		i.next++
	}
	return list
}

func (i *Implant) keep(list [][]byte) {
	i.log = append(i.log, list...)
	if len(i.log) > maxEntries {
		i.log = slices.Clone(i.log[len(i.log)-maxEntries:])
	}
}

// save records the state without an entry.
func (i *Implant) save() error { return i.note() }

// refuse notes a refusal. Those that are alike are counted, and noted each time that
// their number has doubled: nobody can wash the log away, nor wear the memory out.
func (i *Implant) refuse(e *entry) error {
	e.verdict = denied
	i.refusals++
	alike := i.refused[e.event]
	if alike == nil {
		alike = map[string]uint64{}
		i.refused[e.event] = alike
	}
	key := fmt.Sprintf("%s\x00%v\x00%s", e.actor, e.verb, e.why)
	if _, ok := alike[key]; !ok && len(alike) >= attemptsCounted {
		key = ""
		*e = entry{event: e.event, verdict: denied, why: "of many kinds"}
	}
	alike[key]++
	if e.count = alike[key]; bits.OnesCount64(e.count) != 1 {
		return nil
	}
	return i.note(e)
}

// state is a record of everything that is not in another one.
func (i *Implant) state(entries [][]byte) []byte {
	_, unix := i.cfg.Clock()
	b := cbor.AppendUint(cbor.AppendArray(nil, 8), recordState)
	b = cbor.AppendInt(cbor.AppendInt(b, i.life()), unix)
	b = cbor.AppendUint(cbor.AppendUint(b, i.boot), i.next)
	vars := i.model.vars()
	b = cbor.AppendArray(b, len(vars))
	for _, v := range vars {
		b = cbor.AppendInt(b, *v)
	}
	b = cbor.AppendBytes(b, i.door.Meter.Append(nil))
	b = cbor.AppendArray(b, len(entries))
	for _, e := range entries {
		b = cbor.AppendBytes(b, e)
	}
	return b
}

func appendDoor(record []byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 2), recordDoor), record)
}

func appendRevocations(list []byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 2), recordList), list)
}

// last is where the journal ends.
type last struct {
	life int64
	unix int64
	boot uint64
}

// replay takes over all records.
func (i *Implant) replay(records [][]byte) (last, error) {
	var (
		at    last
		door  [][]byte
		lists [][]byte
	)
	for _, b := range records {
		r, err := cbor.Parse(b)
		if err != nil {
			return at, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		n := r.Array()
		switch kind := r.Uint(); {
		case kind == recordState && n == 8:
			at.life, at.unix = r.Int(), r.Int()
			at.boot, i.next = r.Uint(), r.Uint()
			vars := i.model.vars()
			n := r.Array()
			if n > len(vars) {
				r.Fail(cbor.ErrRange)
				break
			}
			for _, v := range vars[:n] { // fewer of an older journal
				*v = r.Int()
			}
			m, err := cwt.ParseMeter(r.Bytes())
			if err != nil {
				return at, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			i.door.Meter = m
			for n := r.Array(); n > 0 && r.Err() == nil; n-- {
				i.keep([][]byte{r.Bytes()})
			}
		case kind == recordDoor && n == 2:
			door = append(door, r.Bytes())
		case kind == recordList && n == 2:
			lists = append(lists, r.Bytes())
		default:
			r.Fail(cbor.ErrRange)
		}
		if err := r.Done(); err != nil {
			return at, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if err := i.door.Restore(door); err != nil {
		return at, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	i.lists = lists
	return at, nil
}

// compact writes the journal anew, with what holds and the newest entries.
func (i *Implant) compact() error {
	var records [][]byte
	durable := i.door.Durable
	i.door.Durable = func(b []byte) error {
		records = append(records, appendDoor(b))
		return nil
	}
	err := i.door.Checkpoint(i.instant())
	i.door.Durable = durable
	if err == nil {
		if len(records) > 1 { // a window that was over, and was recorded before
			records = records[len(records)-1:]
		}
		for _, l := range i.lists {
			records = append(records, appendRevocations(l))
		}
		// A record has room for so many entries, each of a few hundred bytes.
		for list := range slices.Chunk(i.log, 64) {
			records = append(records, i.state(list))
		}
		err = i.journal.Replace(records)
	}
	if err != nil {
		i.journal.Break() // what the door says it recorded is not in there
		return errors.Join(journal.ErrBroken, err)
	}
	i.written = i.life()
	return nil
}
