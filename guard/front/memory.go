// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/internal/journal"
)

// A Memory knows which orders came before, so that one that comes again is not
// given again. It is bounded, and survives the process and the machine: an order is
// written down before it goes to the device.
//
// Orders are remembered for a time. That passes by [envelope.Lapse], at the least: a clock
// that is set forward has nothing forgotten, and over a restart of the machine none
// passes. What is forgotten, by time or because there is no more room, is vouched for no
// more: of each source the latest time that such an order had of its own is kept, and an
// order that is unknown and not later than that may be one of them ([Note.Late]).
//
//	                      keep, or no room
//	unknown ──▶ remembered ──────────────▶ forgotten: its own time is the source's horizon
//	   │                                        │
//	   └── own time > horizon: new ◀────────────┴──▶ own time <= horizon: late
//
// The file is a journal ([journal.Journal]) of records of a letter and what it is of, with
// big-endian numbers:
//
//	o  key, 16 | source, 8 | digest, 8 | own time, 8 | keep, 8 | at, 8 | state, 1    the newest of a key counts
//	f  source, 8 | own time, 8                                                       the horizon of a source
//	c  least, 8 | wall, 8 | uptime, 8 | boot                                         the clock; at is of its scale
//
// One that is damaged, elsewhere than where a write was cut off, is not used and not
// touched: [Memory.Err] says so, and nothing can be begun until a person has looked. One
// that the disk does not take is written anew, whole, every second until it is taken.
type Memory struct {
	cfg MemoryConfig

	mu      sync.Mutex
	orders  map[OrderKey]*Order
	ring    []place // in the order of their coming
	first   int     // of ring
	horizon map[uint64]int64
	lapse   envelope.Lapse
	stamped time.Duration // of lapse, in the file
	journal *journal.Journal
	records int // in the file
	broken  error

	wrote, synced int64 // records
	syncing       bool
	done          *sync.Cond
}

// A MemoryConfig is what a memory needs.
type MemoryConfig struct {
	Path  string
	Clock func() envelope.Reading // nil: the machine's
	Tell  func(error)             // called when nothing can be begun any more, and why; with nil when it can be again; nil: nobody
}

// An OrderKey is what an order is told by; see [KeyOf].
type OrderKey [16]byte

// A Fate is what came of an order.
type Fate uint8

// The fates. What was begun and never ended is in doubt.
const (
	Begun    Fate = iota + 1
	Accepted      // the device's system took it
	Rejected      // it did not
	Refused       // the guard did not let it pass
	Doubted       // nobody knows
	Dropped       // it never went to the device, and may come again
	Held          // it waits for a person; not after a restart
	lastFate
)

// given reports whether an order of this fate may have been given.
func (f Fate) given() bool { return f != Rejected && f != Refused && f != Dropped }

// An Order is what is remembered of one.
type Order struct {
	Source uint64 // who sent it
	Digest uint64 // of what it says
	Time   int64  // its own, that is later with each; 0: it has none
	Keep   time.Duration
	Fate   Fate
	Reason string        // for its sender; not after a restart
	Ended  chan struct{} // closed when it is begun no more

	at      time.Duration // of the lapse
	decided bool          // by a person or by time, after it was held
}

// A place of the ring. It is empty when the key is another order's by now.
type place struct {
	key   OrderKey
	order *Order
}

const (
	maxRemembered = 1 << 17 // orders: 20 MB in memory, 13 in the file
	maxSources    = 1 << 12 // that have a horizon
	stampEvery    = time.Minute
)

// Records of the file.
const (
	recordOrder   = 'o'
	recordHorizon = 'f'
	recordClock   = 'c'

	orderBytes   = 1 + 16 + 5*8 + 1
	horizonBytes = 1 + 2*8
	clockBytes   = 1 + 3*8
)

// OpenMemory reads the file, or makes it. When it cannot be used, [Memory.Err] says why.
func OpenMemory(cfg MemoryConfig) *Memory {
	if cfg.Clock == nil {
		cfg.Clock = envelope.ReadClock
	}
	m := &Memory{cfg: cfg, orders: map[OrderKey]*Order{}, horizon: map[uint64]int64{}}
	m.done = sync.NewCond(&m.mu)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		m.fail(fmt.Errorf("%s: %w", cfg.Path, err))
	} else if err := m.rewrite(); err != nil {
		m.full(err)
	}
	return m
}

func (m *Memory) open() (err error) {
	var records [][]byte
	if m.journal, records, err = journal.Open(m.cfg.Path, "myelin guard orders 1"); err != nil {
		return err
	}
	for n, r := range records {
		if !m.read(r) {
			return fmt.Errorf("%w: record %d is none of an order", journal.ErrDamaged, n)
		}
	}
	for _, e := range m.orders {
		switch e.Fate {
		case Begun:
			e.Fate = Doubted
		case Held:
			e.Fate = Dropped
		}
	}
	return nil
}

func (m *Memory) read(r []byte) bool {
	number := func(at int) uint64 { return binary.BigEndian.Uint64(r[at:]) }
	switch {
	case len(r) == orderBytes && r[0] == recordOrder:
		e := &Order{
			Source: number(17), Digest: number(25), Time: int64(number(33)), Keep: time.Duration(number(41)), at: time.Duration(number(49)),
			Fate: Fate(r[57]),
		}
		if e.Fate == 0 || e.Fate >= lastFate {
			return false
		}
		m.put(OrderKey(r[1:17]), e)
	case len(r) == horizonBytes && r[0] == recordHorizon:
		m.raise(number(1), int64(number(9)))
	default:
		var ok bool
		if m.lapse, ok = readClock(r); !ok {
			return false
		}
	}
	return true
}

func appendOrder(k OrderKey, e *Order) []byte {
	b := append(make([]byte, 0, orderBytes), recordOrder)
	b = append(b, k[:]...)
	for _, n := range [...]uint64{e.Source, e.Digest, uint64(e.Time), uint64(e.Keep), uint64(e.at)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(b, byte(e.Fate))
}

func appendHorizon(source uint64, own int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{recordHorizon}, source), uint64(own))
}

func clockRecord(l *envelope.Lapse) []byte {
	b := []byte{recordClock}
	for _, n := range [...]int64{int64(l.Least), l.Reading.Wall, l.Reading.Uptime} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, l.Reading.Boot...)
}

func readClock(r []byte) (l envelope.Lapse, ok bool) {
	if len(r) < clockBytes || r[0] != recordClock {
		return l, false
	}
	number := func(at int) int64 { return int64(binary.BigEndian.Uint64(r[at:])) }
	l.Least = time.Duration(number(1))
	l.Reading = envelope.Reading{Wall: number(9), Uptime: number(17), Boot: string(r[25:])}
	return l, true
}

// now is the least time that has passed.
func (m *Memory) now() time.Duration {
	m.lapse.Pass(m.cfg.Clock())
	return m.lapse.Least
}

// put keeps an order, in place of one with the same key.
func (m *Memory) put(k OrderKey, e *Order) {
	if old := m.orders[k]; old != nil && old.Source == e.Source && old.at == e.at { // its own later record
		*old = *e
		return
	}
	m.orders[k] = e
	m.ring = append(m.ring, place{k, e})
}

// room forgets what has been kept for its time, and the oldest of what has not when
// there is no room for one more.
func (m *Memory) room() {
	now := m.now()
	for turned := 0; m.first < len(m.ring); {
		p := m.ring[m.first]
		full := len(m.orders) >= maxRemembered
		switch e := p.order; {
		case m.orders[p.key] != e:
		case m.over(e, now):
			m.forget(p.key, e, true)
		case !full:
			return
		case turned < maxTurned && (e.Fate == Begun || m.ahead(e)):
			turned++
			m.ring = append(m.ring, p)
		default:
			m.forget(p.key, e, false)
		}
		m.ring[m.first] = place{}
		if m.first++; m.first > len(m.ring)/2 {
			m.ring = m.ring[:copy(m.ring, m.ring[m.first:])]
			m.first = 0
		}
	}
}

// maxTurned bounds how many are passed over for the next oldest.
const maxTurned = 64

// over reports whether an order was remembered for its time. What is under way is not, nor
// what is ahead of the clock.
func (m *Memory) over(e *Order, now time.Duration) bool {
	return e.Fate != Begun && now-e.at > e.Keep && !m.ahead(e)
}

// ahead reports whether an order's own time is still to come: a source that had the wrong
// year once is not to have all others refused until then.
func (m *Memory) ahead(e *Order) bool { return e.Time > m.lapse.Reading.Wall+int64(24*time.Hour) }

// forget forgets an order: in time, or for want of room. Whether it comes again, its own
// time has to tell from then on, if it may have been given.
func (m *Memory) forget(k OrderKey, e *Order, inTime bool) {
	delete(m.orders, k)
	if e.Fate.given() && (e.Time != 0 || !inTime) && m.raise(e.Source, e.Time) {
		m.write(appendHorizon(e.Source, m.horizon[e.Source]))
	}
}

// raise raises the horizon of a source. Of too many sources the horizon is one, the
// highest: source 0.
func (m *Memory) raise(source uint64, own int64) bool {
	before, ok := m.horizon[source]
	if !ok && len(m.horizon) >= maxSources {
		source = 0
		before, ok = m.horizon[source]
	}
	if ok && before >= own {
		return false
	}
	m.horizon[source] = own
	return true
}

// late reports whether an order that is not known may have been, before.
func (m *Memory) late(source uint64, own int64) bool {
	for _, s := range [...]uint64{source, 0} {
		if h, ok := m.horizon[s]; ok && own <= h {
			return true
		}
	}
	return false
}

// rewrite writes a file with one record for each order that is remembered.
func (m *Memory) rewrite() error {
	m.now()
	records := [][]byte{clockRecord(&m.lapse)}
	for source, own := range m.horizon {
		records = append(records, appendHorizon(source, own))
	}
	kept := make([]place, 0, len(m.orders))
	for _, p := range m.ring[m.first:] {
		switch {
		case m.orders[p.key] != p.order:
		case p.order.Fate == Dropped:
			delete(m.orders, p.key)
		default:
			records = append(records, appendOrder(p.key, p.order))
			kept = append(kept, p)
		}
	}
	if err := m.journal.Replace(records); err != nil {
		return err
	}
	m.ring, m.first, m.records, m.stamped = kept, 0, len(records), m.lapse.Least
	m.synced = m.wrote
	return nil
}

// fail says that nothing can be begun any more.
func (m *Memory) fail(err error) {
	if m.broken != nil {
		return
	}
	m.broken = err
	if m.cfg.Tell != nil {
		m.cfg.Tell(err)
	}
}

// retryAfter is how long the disk is left alone that did not take a write.
const retryAfter = time.Second

// full is fail for a disk that did not take a write: what is remembered is in memory.
func (m *Memory) full(err error) {
	if m.broken == nil {
		m.fail(err)
		time.AfterFunc(retryAfter, m.mend)
	}
}

// mend tries to write everything into a new file.
func (m *Memory) mend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.broken == errClosed:
	case m.syncing || m.rewrite() != nil:
		time.AfterFunc(retryAfter, m.mend)
	default:
		m.broken = nil
		m.done.Broadcast()
		if m.cfg.Tell != nil {
			m.cfg.Tell(nil)
		}
	}
}

// write appends records.
func (m *Memory) write(records ...[]byte) {
	if m.broken != nil {
		return
	}
	if m.records >= 2*maxRemembered && !m.syncing {
		if err := m.rewrite(); err != nil {
			m.full(err)
			return
		}
	}
	if m.lapse.Least-m.stamped >= stampEvery {
		m.stamped = m.lapse.Least
		records = append(records, clockRecord(&m.lapse))
	}
	m.wrote += int64(len(records))
	m.records += len(records)
	if err := m.journal.Append(records...); err != nil {
		m.full(err)
	}
}

// A Note is what is known of an order that came.
type Note struct {
	Key   OrderKey
	Known *Order // came before; a copy
	Same  bool   // from the same source
	Equal bool   // and with the same contents
	Late  bool   // not known, and perhaps forgotten

	mark int64 // records that have to be durable
}

// Err is why nothing can be begun, or nil.
func (m *Memory) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
}

// Begin takes an order that a proven sender asks for, if it is not known yet.
func (m *Memory) Begin(k OrderKey, o Order) Note {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.peek(k, &o)
	if n.Known != nil {
		return n
	}
	m.room()
	o.Fate, o.at, o.Ended = Begun, m.lapse.Least, make(chan struct{})
	m.put(k, &o)
	m.write(appendOrder(k, &o))
	n.mark = m.wrote
	return n
}

// Look is Begin for an order that is not proven: it leaves no trace.
func (m *Memory) Look(k OrderKey, o Order) Note {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peek(k, &o)
}

func (m *Memory) peek(k OrderKey, o *Order) Note {
	n := Note{Key: k}
	e := m.orders[k]
	if e != nil && m.over(e, m.now()) {
		m.forget(k, e, true)
		e = nil
	}
	if e == nil || e.Fate == Dropped {
		n.Late = m.late(o.Source, o.Time)
		return n
	}
	known := *e
	n.Known, n.Same, n.Equal = &known, e.Source == o.Source, e.Digest == o.Digest
	return n
}

// Durable returns when what Begin wrote is.
func (m *Memory) Durable(n Note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.synced < n.mark && m.broken == nil {
		if m.syncing {
			m.done.Wait()
			continue
		}
		m.syncing = true
		upTo, j := m.wrote, m.journal
		m.mu.Unlock()
		err := j.Sync()
		m.mu.Lock()
		m.syncing = false
		m.synced = max(m.synced, upTo)
		if err != nil {
			m.journal.Break()
			m.full(fmt.Errorf("sync: %w", err))
		}
		m.done.Broadcast()
	}
	return m.broken
}

// Wait returns what is known of an order when it is under way no more, or after d.
func (m *Memory) Wait(n *Note, d time.Duration) *Order {
	if n.Known.Ended == nil {
		return n.Known
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-n.Known.Ended:
	case <-t.C:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[n.Key]; e != nil {
		now := *e
		return &now
	}
	return n.Known
}

// End says what came of an order, with a reason for its sender.
func (m *Memory) End(k OrderKey, f Fate, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[k]; e != nil {
		m.become(k, e, f, reason)
	}
}

func (m *Memory) become(k OrderKey, e *Order, f Fate, reason string) {
	e.Fate, e.Reason = f, reason
	if e.Ended != nil {
		close(e.Ended)
		e.Ended = nil
	}
	m.write(appendOrder(k, e))
}

// Judged says that an order was refused or held, unless what was held is decided
// already.
func (m *Memory) Judged(k OrderKey, f Fate, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[k]; e != nil && !e.decided {
		m.become(k, e, f, reason)
	}
}

// Gone says that a held order will never go out.
func (m *Memory) Gone(k OrderKey, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[k]; e != nil {
		e.decided = true
		m.become(k, e, Refused, reason)
	}
}

// Again begins an order once more, that a person released, and returns when that is
// durable.
func (m *Memory) Again(k OrderKey) error {
	m.mu.Lock()
	n := Note{Key: k}
	err := m.broken
	if e := m.orders[k]; e != nil {
		if e.Ended != nil { // its hold is told to nobody yet
			close(e.Ended)
		}
		e.Fate, e.Reason, e.Ended, e.decided = Begun, "", make(chan struct{}), true
		m.write(appendOrder(k, e))
	} else {
		err = cmp.Or(err, errForgotten)
	}
	n.mark = m.wrote
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.Durable(n)
}

var errForgotten = errors.New("an order that waited was forgotten, as too many came since")

// Close writes what is left, and closes the file.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.journal == nil {
		return nil
	}
	if m.broken == nil {
		m.now()
		m.stamped = m.lapse.Least - stampEvery
		m.write()
	}
	m.broken = errClosed
	return errors.Join(m.journal.Sync(), m.journal.Close())
}

var errClosed = errors.New("the front has ended")

// KeyOf is the key of an order that is told by parts, none of which runs into another.
func KeyOf(parts ...[]byte) (k OrderKey) {
	h := sha256.New()
	for _, p := range parts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		io.Writer(h).Write(p)
	}
	copy(k[:], h.Sum(nil))
	return k
}

// Half is the first half of it, by which sources and contents are told apart.
func (k OrderKey) Half() uint64 { return binary.BigEndian.Uint64(k[:]) }
