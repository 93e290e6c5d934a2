// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/patch"
)

// A power is lost at one operation of some flash, with so much of that operation done,
// and stays lost.
type power struct {
	left int // operations before it is lost; below zero: never
	part int // in tenths, of that operation
	lost bool
	ops  int
}

func (p *power) cut(n int) (int, bool) {
	p.ops++
	switch {
	case p.lost:
		return 0, true
	case p.left == 0:
		p.lost = true
		return n * p.part / 10, true
	}
	p.left--
	return n, false
}

// parts are how much of an operation is done: nothing, a little, half, nearly all, all.
var parts = []int{0, 1, 5, 9, 10}

// Of records that are put one after another the newest is there whole, or the one
// before, at whatever operation the power is lost, twice in a row.
func TestLogPower(t *testing.T) {
	number := func(t *testing.T, b []byte) int {
		t.Helper()
		if len(b) < 4 || !bytes.Equal(b[4:], bytes.Repeat([]byte{b[3]}, len(b)-4)) {
			t.Fatalf("a record that nobody put: %x", b)
		}
		return int(binary.BigEndian.Uint32(b))
	}
	record := func(n int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{byte(n)}, 90+n*7%60)...)
	}
	// run puts records until there are 20 or the power goes; done is the newest that was put.
	run := func(t *testing.T, m *Memory, p *power, done int) int {
		m.Cut = p.cut
		l, newest, err := openLog(m, 256)
		if err != nil {
			t.Fatal(err)
		}
		if newest != nil {
			if n := number(t, newest); n != done && n != done+1 {
				t.Fatalf("after record %d the newest is %d", done, n)
			} else {
				done = n
			}
		} else if done > 0 {
			t.Fatalf("record %d is lost", done)
		}
		for done < 20 {
			if err := l.put(record(done + 1)); errors.Is(err, ErrPower) {
				return done
			} else if err != nil {
				t.Fatal(err)
			}
			done++
		}
		return done
	}
	whole := &power{left: -1}
	run(t, NewMemory(2048, 512, 64), whole, 0)
	for first := range whole.ops {
		for _, part := range parts {
			for second := range 4 {
				m := NewMemory(2048, 512, 64)
				done := run(t, m, &power{left: first, part: part}, 0)
				done = run(t, m, &power{left: second, part: part}, done)
				if done = run(t, m, &power{left: -1}, done); done != 20 {
					t.Fatalf("cut at %d and %d (%d): it ends at record %d", first, second, part, done)
				}
			}
		}
	}
}

// A place that cannot be written costs itself: what is put next goes elsewhere, and what
// was put before is there until then.
func TestLogWorn(t *testing.T) {
	for _, worn := range [][]int64{{0}, {3}, {4}, {7}, {4, 5, 6, 7}} {
		m := NewMemory(2048, 512, 64)
		l, _, err := openLog(m, 256)
		if err != nil {
			t.Fatal(err)
		}
		m.Cut = func(k int) (int, bool) { return k / 2, k < 512 && slices.Contains(worn, l.next/256) }
		last := byte(0)
		for n := byte(1); n < 40; n++ {
			if l.put([]byte{n}) == nil {
				last = n
			}
			if _, b, err := openLog(m, 256); err != nil || last > 0 && (b == nil || b[0] < last || b[0] > n) {
				t.Fatalf("places %d are worn: after record %d the newest is %v: %v", worn, last, b, err)
			}
		}
		if last < 38 && len(worn) == 1 {
			t.Errorf("place %d is worn: record %d is the last", worn, last)
		}
	}
}

// What looks like a record, within one, is none.
func TestLogWithin(t *testing.T) {
	m := NewMemory(4096, 1024, 64)
	l, _, err := openLog(m, 512)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.put([]byte("first")); err != nil {
		t.Fatal(err)
	}
	fake := bytes.Clone(m.Bytes[:64])
	binary.BigEndian.PutUint64(fake[4:], 99)
	n := logHead + 5
	binary.BigEndian.PutUint32(fake[n:], crcOf(fake[:n]))
	if num, _ := parseLog(fake); num != 99 {
		t.Fatal("the record that is made here is none")
	}
	p := &power{left: 0, part: 5}
	m.Cut = p.cut
	if err := l.put(append(append(make([]byte, 48), fake...), make([]byte, 200)...)); !errors.Is(err, ErrPower) {
		t.Fatal(err)
	}
	m.Cut = nil
	if num, _ := parseLog(m.Bytes[512+64 : 1024]); num != 99 {
		t.Fatal("it did not get there")
	}
	if _, b, err := openLog(m, 512); err != nil || string(b) != "first" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRecord(t *testing.T) {
	long := string(bytes.Repeat([]byte("v"), 256))
	full := image{long, 1 << 60, patch.Digest{1}, 1 << 60}
	c := record{
		slots: [2]image{full, full}, runs: 1, phase: fallen, tries: 1, sequence: 1 << 60, count: 1 << 60, time: 1 << 60, at: 1 << 60,
		seen: 1 << 60, done: 1 << 60, void: 1 << 60,
		update: update{1 << 60, patch.Digest{2}, 1 << 60, full, 1 << 60, 1 << 60, patch.Digest{3}, 1 << 60, long[:200]},
		result: &patch.Result{Envelope: patch.Digest{4}, Offer: 1 << 60, Version: long, Outcome: patch.FellBack, Resumed: true, SelfTest: true, Before: patch.Digest{5}, After: patch.Digest{6}, Took: 1 << 40 * time.Millisecond, Reason: long},
	}
	b := c.append(nil)
	if len(b) > maxRecord-logHead-logTail {
		t.Errorf("a full record has %d bytes: there is no room for it", len(b))
	}
	got, err := parseRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&c, got, cmp.AllowUnexported(record{}, image{}, update{})); d != "" {
		t.Error(d)
	}
	for i := range b {
		if _, err := parseRecord(b[:i]); err == nil {
			t.Errorf("the first %d bytes are taken for a record", i)
		}
	}
}

func FuzzRecord(f *testing.F) {
	c := record{slots: [2]image{{"1", 2, patch.Digest{1}, 4}, {}}, result: &patch.Result{Version: "1"}}
	f.Add(c.append(nil))
	c.result = nil
	f.Add(c.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseRecord(b)
		if err != nil {
			return
		}
		again, err := parseRecord(c.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, again, cmp.AllowUnexported(record{}, image{}, update{})); d != "" {
			t.Error(d)
		}
	})
}

// Every flash keeps to what Flash says.
func TestFlash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slot")
	f, err := OpenFile(file, 4000, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, d := range []Flash{NewMemory(4096, 1024, 512), f} {
		t.Run(fmt.Sprintf("%T", d), func(t *testing.T) {
			b := make([]byte, 4096)
			if d.Size() != 4096 || readFull(d, b, 0) != nil || !erased(b) {
				t.Fatalf("%d bytes, or not erased", d.Size())
			}
			if err := d.Write(1024, bytes.Repeat([]byte{7}, 512)); err != nil {
				t.Fatal(err)
			}
			if readFull(d, b, 0) != nil || !erased(b[:1024]) || b[1024] != 7 || !erased(b[1536:]) {
				t.Error("something else was written")
			}
			if err := d.Erase(1024); err != nil || readFull(d, b, 0) != nil || !erased(b) {
				t.Error("not erased")
			}
			for _, w := range []struct{ off, n int64 }{{1, 512}, {0, 511}, {512, 1024}, {4096, 512}, {-512, 512}} {
				if d.Write(w.off, make([]byte, w.n)) == nil {
					t.Errorf("%d bytes are written at %d", w.n, w.off)
				}
			}
			if d.Erase(512) == nil || d.Erase(4096) == nil {
				t.Error("what is no block is erased")
			}
		})
	}
	// A file that was cut off while it was made is filled up, and what it had stays.
	if err := f.Write(0, bytes.Repeat([]byte{9}, 512)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1500); err != nil {
		t.Fatal(err)
	}
	g, err := OpenFile(file, 4096, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	b := make([]byte, 4096)
	if readFull(g, b, 0) != nil || b[0] != 9 || !erased(b[512:]) {
		t.Error("not as it was")
	}
	if _, err := OpenFile(file, 2048, 1024); err == nil {
		t.Error("a longer file is cut off")
	}
}

func crcOf(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
