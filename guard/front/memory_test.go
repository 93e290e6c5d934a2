// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/internal/journal"
)

// A recall is a memory under test, with clocks of its own.
type recall struct {
	*Memory
	t    *testing.T
	path string
	now  envelope.Reading
	said []error
}

var day = time.Date(2026, 3, 3, 6, 9, 0, 0, time.UTC)

func newRecall(t *testing.T) *recall {
	r := &recall{t: t, path: filepath.Join(t.TempDir(), "x.orders"), now: envelope.Reading{Wall: day.UnixNano(), Uptime: int64(time.Hour), Boot: "1"}}
	r.open()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *recall) open() {
	r.said = nil
	r.Memory = OpenMemory(MemoryConfig{Path: r.path, Clock: func() envelope.Reading { return r.now }, Tell: func(err error) { r.said = append(r.said, err) }})
}

// again closes and opens it; booted is whether the machine was started again.
func (r *recall) again(booted bool) {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	if booted {
		r.now.Boot += "+"
		r.now.Uptime = 0
	}
	r.open()
}

func (r *recall) pass(wall, up time.Duration) {
	r.now.Wall += int64(wall)
	r.now.Uptime += int64(up)
}

const keep = 24 * time.Hour

// order is one of source 1, with its own time so long after the day's begin.
func order(own time.Duration) Order {
	return Order{Source: 1, Digest: 2, Keep: keep, Time: day.Add(own).UnixNano()}
}

func key(n int) (k OrderKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n)+1)
	return k
}

// take begins an order that is not known, and ends it.
func (r *recall) take(n int, o Order, f Fate) {
	r.t.Helper()
	note := r.Begin(key(n), o)
	if note.Known != nil || note.Late {
		r.t.Fatalf("order %d is known before: %+v", n, note)
	}
	r.End(key(n), f, "why")
}

// TestFates: what a restart leaves of each.
func TestFates(t *testing.T) {
	r := newRecall(t)
	for f := Accepted; f < lastFate; f++ {
		n := r.Begin(key(int(f)), order(0))
		if n.Known != nil {
			t.Fatal("known before")
		}
		if err := r.Durable(n); err != nil {
			t.Fatal(err)
		}
		r.End(n.Key, f, "why")
	}
	r.Begin(key(0), order(0))
	r.again(false)
	for f, want := range map[Fate]Fate{0: Doubted, Accepted: Accepted, Rejected: Rejected, Refused: Refused, Doubted: Doubted, Dropped: 0, Held: 0} {
		n := r.Look(key(int(f)), order(0))
		if n.Known == nil && want != 0 || n.Known != nil && n.Known.Fate != want || n.Late {
			t.Errorf("%d is %+v after the restart, want %d", f, n.Known, want)
		}
		other, another := order(0), order(0)
		other.Source, another.Digest = 2, 3
		if n.Known != nil && (!n.Same || !n.Equal || r.Look(n.Key, other).Same || r.Look(n.Key, another).Equal) {
			t.Error("source or contents are not told apart")
		}
	}
}

// TestClockJumps: no clock that is set, and no restart, has an order forgotten before its
// time has passed for sure.
func TestClockJumps(t *testing.T) {
	hours := func(n int) time.Duration { return time.Duration(n) * time.Hour }
	for name, x := range map[string]struct {
		happens func(r *recall)
		known   bool
	}{
		"a day":                        {func(r *recall) { r.pass(keep, keep) }, true},
		"more than a day":              {func(r *recall) { r.pass(keep+1, keep+1) }, false},
		"set forward":                  {func(r *recall) { r.pass(hours(240), hours(1)) }, true},
		"set forward and a restart":    {func(r *recall) { r.pass(hours(240), hours(1)); r.again(false) }, true},
		"set forward before a restart": {func(r *recall) { r.again(false); r.pass(hours(240), hours(1)); r.again(false) }, true},
		"set back":                     {func(r *recall) { r.pass(hours(-240), hours(1)) }, true},
		"a day in a restart":           {func(r *recall) { r.Close(); r.pass(keep+1, keep+1); r.open() }, false},
		"the machine is off, who knows for how long": {func(r *recall) { r.pass(hours(23), hours(23)); r.again(true); r.pass(hours(240), 0); r.again(true) }, true},
		"a day after the machine was off":            {func(r *recall) { r.again(true); r.pass(keep+1, keep+1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecall(t)
			r.take(1, order(0), Accepted)
			x.happens(r)
			n := r.Begin(key(1), order(0))
			if x.known != (n.Known != nil) {
				t.Errorf("known: %v", n.Known != nil)
			}
			// And if not, the very same order is one that may be forgotten.
			if n.Known == nil && !n.Late {
				t.Error("what was given passes for new")
			}
		})
	}
	// Whatever happens in whatever order: what was given is known or late.
	for seed := range uint64(200) {
		r := newRecall(t)
		draw := rand.New(rand.NewPCG(seed, 1))
		r.take(1, order(0), Accepted)
		elapsed := time.Duration(0)
		for range 1 + draw.IntN(8) {
			d := time.Duration(draw.Int64N(int64(12 * time.Hour)))
			wall := d
			if draw.IntN(2) == 0 {
				wall = time.Duration(draw.Int64N(int64(400*time.Hour))) - 200*time.Hour
			}
			r.pass(wall, d)
			elapsed += d
			if draw.IntN(3) == 0 {
				r.again(draw.IntN(2) == 0)
			}
			n := r.Look(key(1), order(0))
			if n.Known == nil && (!n.Late || elapsed <= keep) {
				t.Fatalf("seed %d: forgotten after %v, late: %v", seed, elapsed, n.Late)
			}
		}
		r.Close()
	}
}

// TestHorizon: what is forgotten is told by its own time, of each source apart.
func TestHorizon(t *testing.T) {
	r := newRecall(t)
	r.take(1, order(2*time.Second), Accepted)
	r.take(2, order(time.Second), Doubted)
	r.take(3, order(9*time.Second), Refused)
	r.take(4, order(1000*time.Hour), Accepted) // by a clock that is wrong
	r.pass(keep+1, keep+1)
	for range 2 {
		for own, late := range map[time.Duration]bool{time.Second: true, 2 * time.Second: true, 2*time.Second + 1: false, 9 * time.Second: false} {
			if n := r.Look(key(9), order(own)); n.Known != nil || n.Late != late {
				r.take(10, order(keep), Refused) // which forgets
				if n = r.Look(key(9), order(own)); n.Late != late {
					t.Errorf("an order of %v is late: %v", own, n.Late)
				}
			}
		}
		other := order(0)
		other.Source = 7
		if n := r.Look(key(9), other); n.Late {
			t.Error("of another source")
		}
		if n := r.Look(key(4), order(1000*time.Hour)); n.Known == nil {
			t.Error("an order ahead of its time is forgotten")
		}
		r.again(true)
	}
	none := order(0)
	none.Time, none.Source = 0, 9
	r.take(20, none, Accepted)
	r.pass(keep+1, keep+1)
	if n := r.Begin(key(20), none); n.Known != nil {
		t.Error("kept for too long")
	}
}

// TestBound: as many as there is room for; of more the oldest is forgotten, and told by
// its own time.
func TestBound(t *testing.T) {
	r := newRecall(t)
	own := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	r.take(0, order(1000*time.Hour), Accepted) // ahead of its time
	open := r.Begin(key(1), order(own(1)))     // and under way
	for i := 2; i < maxRemembered; i++ {
		r.take(i, order(own(i)), Accepted)
	}
	if n := r.Look(key(2), order(own(2))); n.Known == nil {
		t.Error("forgotten too early")
	}
	r.take(maxRemembered, order(own(maxRemembered)), Accepted)
	check := func() {
		t.Helper()
		if n := r.Look(key(2), order(own(2))); n.Known != nil || !n.Late {
			t.Errorf("the oldest: %+v", n)
		}
		for _, i := range []int{0, 1, 3, maxRemembered} {
			if r.Look(key(i), order(own(i))).Known == nil {
				t.Errorf("%d is forgotten", i)
			}
		}
		if n := r.Look(key(maxRemembered+1), order(own(maxRemembered+1))); n.Late {
			t.Error("a new one is late")
		}
		if len(r.orders) != maxRemembered || r.records > 2*maxRemembered+1 || len(r.ring)-r.first > maxRemembered+1 {
			t.Errorf("%d orders, %d records, %d places", len(r.orders), r.records, len(r.ring)-r.first)
		}
	}
	check()
	r.End(open.Key, Accepted, "")
	r.again(false)
	check()
}

// TestTorn: a write that was cut off is dropped; anything else that is wrong with the file has
// it not used, not touched, and said.
func TestTorn(t *testing.T) {
	r := newRecall(t)
	for i := range 4 {
		r.take(i, order(0), Accepted)
	}
	r.Close()
	good, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	_, _, whole, err := journal.Parse(good, "myelin guard orders 1")
	if err != nil || whole != len(good) {
		t.Fatal(whole, len(good), err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(r.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r.open()
	}
	for n := range 60 { // the last record is of the clock
		write(good[:len(good)-n])
		if r.Err() != nil || r.Look(key(1), order(0)).Known == nil {
			t.Fatalf("cut by %d: %v", n, r.Err())
		}
		r.Close()
	}
	for at := 0; at < len(good)-200; at += 7 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x10
		write(bad)
		n := r.Begin(key(9), order(0))
		if err := r.Err(); !errors.Is(err, journal.ErrDamaged) || !errors.Is(r.Durable(n), journal.ErrDamaged) || len(r.said) != 1 {
			t.Fatalf("damaged at %d: %v, said %d times", at, err, len(r.said))
		}
		r.Close()
		if now, _ := os.ReadFile(r.path); string(now) != string(bad) {
			t.Fatalf("damaged at %d, and written", at)
		}
	}
	// A person has looked, and put it away.
	os.Remove(r.path)
	r.open()
	if r.Err() != nil || len(r.said) != 0 {
		t.Error(r.Err())
	}
	// A disk that fails: nothing begins any more.
	r.journal.Close()
	if n := r.Begin(key(9), order(0)); r.Durable(n) == nil || len(r.said) != 1 || r.Again(key(9)) == nil {
		t.Error("durable without a file")
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte("c"), []byte("o"))
	f.Add(append([]byte{recordOrder}, make([]byte, orderBytes-1)...), appendHorizon(1, 2))
	f.Add(appendOrder(key(1), &Order{Fate: Begun, Keep: keep}), appendOrder(key(1), &Order{Fate: Accepted}))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		m := &Memory{
			orders: map[OrderKey]*Order{}, horizon: map[uint64]int64{}, cfg: MemoryConfig{Clock: func() envelope.Reading { return envelope.Reading{Boot: "1"} }},
			broken: errClosed, // there is no file
		}
		m.read(a)
		m.read(b)
		m.room()
		for k, e := range m.orders {
			m.peek(k, e)
		}
	})
}

// TestFull: while the disk takes nothing nothing is begun, and when it does again all
// that is remembered is in the file.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders")
	var told []error
	m := OpenMemory(MemoryConfig{Path: path, Tell: func(err error) { told = append(told, err) }})
	first := m.Begin(OrderKey{1}, Order{Source: 1, Time: 1, Keep: time.Hour})
	if err := m.Durable(first); err != nil {
		t.Fatal(err)
	}
	m.End(OrderKey{1}, Accepted, "")
	if err := os.Mkdir(path+".new", 0o700); err != nil { // where it would be written anew
		t.Fatal(err)
	}
	m.mu.Lock()
	m.journal.Disk = func(*os.File) error { return errors.New("no space left") }
	m.mu.Unlock()
	if err := m.Durable(m.Begin(OrderKey{2}, Order{Source: 1, Time: 2, Keep: time.Hour})); err == nil || m.Err() == nil {
		t.Fatal("it was durable on a disk that is full")
	}
	m.End(OrderKey{2}, Dropped, "")
	if err := m.Again(OrderKey{1}); err == nil {
		t.Fatal("begun once more on a disk that is full")
	}
	m.End(OrderKey{1}, Accepted, "")
	m.mu.Lock()
	m.journal.Disk = (*os.File).Sync
	m.mu.Unlock()
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(20 * time.Second); m.Err() != nil; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatal("the disk takes writes again, and nothing is written")
		}
	}
	if err := m.Durable(m.Begin(OrderKey{3}, Order{Source: 1, Time: 3, Keep: time.Hour})); err != nil {
		t.Fatal(err)
	}
	m.End(OrderKey{3}, Accepted, "")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[0] == nil || told[1] != nil {
		t.Errorf("told %v", told)
	}
	m = OpenMemory(MemoryConfig{Path: path})
	defer m.Close()
	for key, known := range map[byte]bool{1: true, 2: false, 3: true} {
		if n := m.Look(OrderKey{key}, Order{Source: 1, Time: 9}); (n.Known != nil) != known {
			t.Errorf("order %d: known %v", key, n.Known != nil)
		}
	}
}
