// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A memory knows which orders came before, so that one that comes again is not
// given again. It is bounded, and survives the process and the machine: an order is
// written down before it goes to the device.
//
// The file is a sequence of records, the newest of an order counts. A record is
// 48 bytes, big endian: state, 3 bytes of zero, CRC-32C of what follows; time in
// nanoseconds since 1970; 16 bytes of SHA-256 over MSH-3, MSH-10 and ORC-2; 8 over the
// sender's name; 8 over the message without its header. A torn tail is cut off.
type memory struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	orders  map[orderKey]*remembered
	ring    []orderKey // in the order of their coming
	first   int        // of ring
	file    *os.File
	records int // in the file
	broken  error

	wrote, synced int64 // bytes
	syncing       bool
	done          *sync.Cond
}

// An orderKey is what an order is told by.
type orderKey [16]byte

// A state is what came of an order.
type state uint8

// The states. What was begun and never ended is in doubt.
const (
	begun    state = iota + 1
	accepted       // the device's system took it
	rejected       // it did not
	refused        // the guard did not let it pass
	doubted        // nobody knows
	dropped        // it never went to the device, and may come again
	held           // it waits for a person; not after a restart
	lastState
)

// A remembered order.
type remembered struct {
	source, body uint64
	state        state
	at           int64
	reason       string        // for its sender; not after a restart
	ended        chan struct{} // closed when it is begun no more
	decided      bool          // by a person or by time, after it was held
}

const (
	recordBytes   = 48
	maxRemembered = 1 << 17 // orders: 15 MB in memory, 6 in the file
	rememberFor   = 24 * time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openMemory reads the file, or makes it.
func openMemory(path string, now func() time.Time) (*memory, error) {
	m := &memory{path: path, now: now, orders: map[orderKey]*remembered{}}
	m.done = sync.NewCond(&m.mu)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for ; len(b) >= recordBytes; b = b[recordBytes:] {
		k, e, ok := readRecord(b)
		if !ok {
			break
		}
		if e.state == held {
			e.state = dropped
		}
		m.put(k, e)
	}
	for _, e := range m.orders {
		if e.state == begun {
			e.state = doubted
		}
	}
	return m, m.rewrite()
}

func readRecord(b []byte) (k orderKey, e *remembered, ok bool) {
	if crc32.Checksum(b[8:recordBytes], castagnoli)^uint32(b[0]) != binary.BigEndian.Uint32(b[4:]) || b[0] == 0 || b[0] >= byte(lastState) {
		return k, nil, false
	}
	copy(k[:], b[16:])
	e = &remembered{
		state: state(b[0]), at: int64(binary.BigEndian.Uint64(b[8:])),
		source: binary.BigEndian.Uint64(b[32:]), body: binary.BigEndian.Uint64(b[40:]),
	}
	return k, e, true
}

func appendRecord(dst []byte, k orderKey, e *remembered) []byte {
	var b [recordBytes]byte
	b[0] = byte(e.state)
	binary.BigEndian.PutUint64(b[8:], uint64(e.at))
	copy(b[16:], k[:])
	binary.BigEndian.PutUint64(b[32:], e.source)
	binary.BigEndian.PutUint64(b[40:], e.body)
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli)^uint32(b[0]))
	return append(dst, b[:]...)
}

// put keeps an order, and forgets the oldest when there is no room.
func (m *memory) put(k orderKey, e *remembered) {
	if m.orders[k] == nil {
		if len(m.orders) >= maxRemembered {
			delete(m.orders, m.ring[m.first])
			m.ring[m.first] = k
			m.first = (m.first + 1) % maxRemembered
		} else {
			m.ring = append(m.ring, k)
		}
	}
	m.orders[k] = e
}

// rewrite writes a file with one record for each order that is remembered.
func (m *memory) rewrite() (err error) {
	oldest := m.now().Add(-rememberFor).UnixNano()
	var b []byte
	kept := make([]orderKey, 0, len(m.ring))
	for i := range m.ring {
		k := m.ring[(m.first+i)%len(m.ring)]
		if e := m.orders[k]; e.state == begun || e.at >= oldest && e.state != dropped {
			b = appendRecord(b, k, e)
			kept = append(kept, k)
		} else {
			delete(m.orders, k)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), ".orders-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	if dir, err := os.Open(filepath.Dir(m.path)); err == nil {
		dir.Sync()
		dir.Close()
	}
	if m.file != nil {
		m.file.Close()
	}
	m.file, m.ring, m.first, m.records = f, kept, 0, len(kept)
	m.synced = m.wrote
	return nil
}

// write appends the record of an order.
func (m *memory) write(k orderKey, e *remembered) {
	if m.broken != nil {
		return
	}
	if m.records >= 2*maxRemembered && !m.syncing {
		if m.broken = m.rewrite(); m.broken != nil {
			return
		}
	}
	n, err := m.file.Write(appendRecord(nil, k, e))
	m.wrote += int64(n)
	m.records++
	if err != nil { // a torn record hides what comes after it
		m.broken = err
	}
}

// A note is what is known of an order that came.
type note struct {
	key    orderKey
	known  *remembered // came before; a copy
	same   bool        // from the same sender
	equal  bool        // and with the same contents
	offset int64       // of the file, of what has to be durable
}

// begin takes an order that a proven sender asks for, if it is not known yet.
func (m *memory) begin(k orderKey, source, body uint64) note {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.peek(k, source, body)
	if n.known != nil {
		return n
	}
	e := &remembered{source: source, body: body, state: begun, at: m.now().UnixNano(), ended: make(chan struct{})}
	m.put(k, e)
	m.write(k, e)
	n.offset = m.wrote
	return n
}

// look is begin for an order that is not proven: it leaves no trace.
func (m *memory) look(k orderKey, source, body uint64) note {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peek(k, source, body)
}

func (m *memory) peek(k orderKey, source, body uint64) note {
	n := note{key: k}
	e := m.orders[k]
	if e == nil || e.state == dropped || e.state != begun && m.now().UnixNano()-e.at > int64(rememberFor) {
		return n
	}
	known := *e
	n.known, n.same, n.equal = &known, e.source == source, e.body == body
	return n
}

// durable returns when what begin wrote is.
func (m *memory) durable(n note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.synced < n.offset && m.broken == nil {
		if m.syncing {
			m.done.Wait()
			continue
		}
		m.syncing = true
		upTo, f := m.wrote, m.file
		m.mu.Unlock()
		err := f.Sync()
		m.mu.Lock()
		m.syncing = false
		m.synced = max(m.synced, upTo)
		if err != nil {
			m.broken = fmt.Errorf("sync: %w", err)
		}
		m.done.Broadcast()
	}
	return m.broken
}

// end says what came of an order.
func (m *memory) end(k orderKey, s state, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[k]; e != nil {
		m.become(k, e, s, reason)
	}
}

func (m *memory) become(k orderKey, e *remembered, s state, reason string) {
	e.state, e.reason = s, reason
	if e.ended != nil {
		close(e.ended)
		e.ended = nil
	}
	m.write(k, e)
}

// judged says that an order was refused or held, unless what was held is decided
// already.
func (m *memory) judged(k orderKey, s state, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[k]; e != nil && !e.decided {
		m.become(k, e, s, reason)
	}
}

// gone says that a held order will never go out.
func (m *memory) gone(k orderKey, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.orders[k]; e != nil {
		e.decided = true
		m.become(k, e, refused, reason)
	}
}

// again begins an order once more, that a person released.
func (m *memory) again(k orderKey) error {
	m.mu.Lock()
	n := note{key: k}
	if e := m.orders[k]; e != nil {
		if e.ended != nil { // its hold is told to nobody yet
			close(e.ended)
		}
		e.state, e.reason, e.ended, e.decided = begun, "", make(chan struct{}), true
		m.write(k, e)
	}
	n.offset = m.wrote
	m.mu.Unlock()
	return m.durable(n)
}

func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.file.Sync(), m.file.Close())
}

// digest is eight bytes of SHA-256 over parts that do not run into each other.
func digest(parts ...[]byte) (k orderKey) {
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

func (k orderKey) half() uint64 { return binary.BigEndian.Uint64(k[:]) }
