// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// content is what is in a queue: the counts of observations, and the other things.
func (q *queue) content(t rapid.TB) (count uint64, events, findings, devices []string) {
	t.Helper()
	for _, e := range q.entries {
		b, err := q.read(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range b.Observations {
			count += o.Count
		}
		for i := range b.Events {
			events = append(events, fmt.Sprint(b.Events[i].Time))
		}
		for _, f := range b.Findings {
			findings = append(findings, f.ID)
		}
		for _, d := range b.Devices {
			devices = append(devices, d.ID)
		}
	}
	return count, events, findings, devices
}

// talks is a batch of observations from n different addresses.
func talks(n int) *store.Batch {
	b := &store.Batch{}
	for i := range n {
		b.Observations = append(b.Observations, store.Observation{Client: ip(i), Server: ip(1 << 15), Protocol: "hl7", Port: 2575, First: 1, Last: 2, Count: 1})
	}
	return b
}

// TestQueueFull: a full queue puts together what it can, gives up observations alone
// when it must, and then takes nothing more. It is never larger than it may be.
func TestQueueFull(t *testing.T) {
	const most = 200_000
	q, err := openQueue(t.TempDir(), most)
	must(t, err)
	for n := range 200 { // the same addresses again and again: nothing is lost
		b := talks(50)
		b.Events = item(n).Events
		must(t, q.add(b))
		if q.size > most {
			t.Fatalf("%d bytes", q.size)
		}
	}
	count, events, _, _ := q.content(t)
	if count != 200*50 || len(events) != 200 || q.lost != 0 || q.merged == 0 {
		t.Errorf("%d observations, %d events, %d lost, %d merged", count, len(events), q.lost, q.merged)
	}
	for range 5 { // addresses that have no room in one batch
		must(t, q.add(talks(600)))
	}
	_, events, _, _ = q.content(t)
	if len(events) != 200 || q.lost == 0 || q.size > most {
		t.Errorf("%d events, %d lost, %d bytes", len(events), q.lost, q.size)
	}
	// What may not be given up fills it.
	n := 0
	for err = nil; err == nil; n++ {
		err = q.add(&store.Batch{Findings: []finding.Finding{{ID: fmt.Sprint(n), Harm: device.Serious}}})
		if q.size > most || n > 1000 {
			t.Fatalf("%d bytes, %d findings", q.size, n)
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	_, events, findings, _ := q.content(t)
	if len(events) != 200 || len(findings) != n-1 {
		t.Errorf("%d events, %d of %d findings", len(events), len(findings), n-1)
	}
}

// TestQueueSent: what may have been sent is not changed.
func TestQueueSent(t *testing.T) {
	dir := t.TempDir()
	q, err := openQueue(dir, 40_000)
	must(t, err)
	must(t, q.add(talks(5)))
	_, number, err := q.head()
	must(t, err)
	if number != 1 {
		t.Fatalf("%d", number)
	}
	for range 60 {
		must(t, q.add(talks(5)))
	}
	for i, e := range q.entries[:1+markAhead] {
		if e.from != e.last || e.last != uint64(i+1) {
			t.Errorf("number %d may have been sent, and is in %v", i+1, e)
		}
	}
	if q.merged == 0 {
		t.Error("nothing was put together")
	}
	// So it is after a restart.
	q, err = openQueue(dir, 40_000)
	must(t, err)
	if q.mark != 1+markAhead || q.entries[0].last != 1 || q.next != q.entries[len(q.entries)-1].last+1 {
		t.Errorf("%+v", q)
	}
}

// TestQueueAgain: a queue is the same when it is opened again, and a crash between any two
// steps of putting batches together loses and doubles nothing.
func TestQueueAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "queue")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		q, err := openQueue(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(2, 6).Draw(t, "batches")
		for i := range n {
			b := talks(3)
			b.Events = item(i).Events
			if err := q.add(b); err != nil {
				t.Fatal(err)
			}
		}
		i := rapid.IntRange(0, n-2).Draw(t, "from")
		j := rapid.IntRange(i+2, n).Draw(t, "to")
		into, _ := q.read(q.entries[i])
		for _, e := range q.entries[i+1 : j] {
			b, _ := q.read(e)
			into = fold(into, b)
		}
		// The crash: the new file is there, and some of the old ones are not.
		body, err := into.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.write(entry{from: q.entries[i].from, last: q.entries[j-1].last}, body); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, j-i).Draw(t, "removed") {
			os.Remove(q.path(q.entries[i].name()))
			q.entries = slices.Delete(q.entries, i, i+1)
		}
		os.WriteFile(filepath.Join(dir, "x.new"), []byte("cut"), 0o600)
		again, err := openQueue(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		count, events, _, _ := again.content(t)
		if count != uint64(3*n) || len(events) != n || !slices.IsSorted(events) || again.next != uint64(n+1) {
			t.Errorf("%d observations, events %v, next %d", count, events, again.next)
		}
	})
}

// TestQueueDamaged: a file that was changed is put away, and those behind it are sent.
func TestQueueDamaged(t *testing.T) {
	dir := t.TempDir()
	q, err := openQueue(dir, 1<<20)
	must(t, err)
	must(t, q.add(talks(1)))
	must(t, q.add(talks(2)))
	file := q.path(q.entries[0].name())
	b, err := os.ReadFile(file)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(file, b, 0o600))
	got, number, err := q.head()
	must(t, err)
	if got == nil || number != 2 || q.damaged != 1 {
		t.Errorf("number %d, %d damaged", number, q.damaged)
	}
	if _, err := os.Stat(q.path(filepath.Join("refused", filepath.Base(file)))); err != nil {
		t.Error(err)
	}
	must(t, q.done())
	for n := range maxRefused + 5 {
		must(t, q.add(talks(n)))
		must(t, q.refuse())
	}
	if old, _ := os.ReadDir(q.path("refused")); len(old) != maxRefused {
		t.Errorf("%d are kept", len(old))
	}
}

// TestQueueRaise: a folder that was put back to an older state goes on behind what the
// server has: what is new is not taken for a repeat.
func TestQueueRaise(t *testing.T) {
	q, err := openQueue(t.TempDir(), 1<<20)
	must(t, err)
	must(t, q.add(talks(1)))
	_, _, err = q.head() // may have been sent
	must(t, err)
	for range markAhead + 3 {
		must(t, q.add(talks(1)))
	}
	must(t, q.raise(q.mark)) // nothing is older
	before := slices.Clone(q.entries)
	must(t, q.raise(500))
	for i, e := range q.entries {
		sent := before[i].last <= 1+markAhead
		if sent && e != before[i] || !sent && e.last <= 500 || i > 0 && e.last <= q.entries[i-1].last {
			t.Errorf("%v was %v", e, before[i])
		}
	}
	must(t, q.add(talks(1)))
	for _, e := range q.entries { // the number that is sent is that of the file
		body, err := q.body(e)
		must(t, err)
		if b, err := store.DecodeBatch(body); err != nil || b.Sequence != e.last {
			t.Errorf("%v is sent as %d, %v", e, b.Sequence, err)
		}
	}
	again, err := openQueue(q.dir, 1<<20)
	must(t, err)
	if !slices.Equal(again.entries, q.entries) || again.next != q.next || again.mark != 500 {
		t.Errorf("%+v\n%+v", again.entries, q.entries)
	}
}

// TestFold: what is the same within an hour is summed, and the latest is kept of what has
// an id; counts and times are kept whatever is put together.
func TestFold(t *testing.T) {
	hour := time.Hour.Nanoseconds()
	o := func(first, last int64, n uint64, sealed bool) store.Observation {
		return store.Observation{Client: ip(1), Server: ip(2), Protocol: "hl7", Port: 1, First: first, Last: last, Count: n, Packets: n, Bytes: n, Encrypted: sealed}
	}
	a := &store.Batch{Observations: []store.Observation{o(5, 9, 1, false), o(5, 9, 1, true)}, Devices: []device.Device{{ID: "a", Ward: "old"}, {ID: "b"}}, Held: []store.Held{{ID: "1"}}, HeldToo: true, State: []byte("1"), StateNews: true, Beat: &store.Beat{Version: "1"}}
	b := &store.Batch{Observations: []store.Observation{o(3, 7, 2, false), o(hour, hour, 4, false)}, Devices: []device.Device{{ID: "c"}, {ID: "a", Ward: "new"}}, HeldToo: true, State: []byte("2")}
	f := fold(a, b)
	want := []store.Observation{o(3, 9, 3, false), o(5, 9, 1, true), o(hour, hour, 4, false)}
	if !slices.Equal(f.Observations, want) || len(f.Devices) != 3 || f.Devices[0].Ward != "new" || len(f.Held) != 0 || !f.HeldToo || string(f.State) != "2" || !f.StateNews || f.Beat == nil {
		t.Errorf("%+v", f)
	}
	if a.Devices[0].Ward != "old" || a.Observations[0].Count != 1 {
		t.Error("what was put together is changed")
	}
	if fold(talks(store.MaxObservations), &store.Batch{}) == nil || fold(talks(store.MaxObservations), &store.Batch{Observations: []store.Observation{o(1, 1, 1, true)}}) != nil {
		t.Error("the bound of a batch is another")
	}
}

// TestStatesWait: while the server is away, the states of a guard do not pile up, and the
// newest is there when it comes back.
func TestStatesWait(t *testing.T) {
	c, err := Open(t.TempDir(), Config{Server: "https://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	states := func() (all []string, news bool) {
		for _, e := range c.queue.entries {
			b, err := c.queue.read(e)
			if err != nil {
				t.Fatal(err)
			}
			if b.State != nil {
				all = append(all, string(b.State))
				news = b.StateNews
			}
		}
		return all, news
	}
	for i := range 50 {
		if err := c.Put(&store.Batch{State: []byte(strconv.Itoa(i)), StateNews: i == 20}); err != nil {
			t.Fatal(err)
		}
		c.cut(true)
	}
	if got, _ := states(); len(got) > statesWait {
		t.Errorf("%q wait", got)
	}
	for len(c.queue.entries) > 0 {
		if err := c.queue.done(); err != nil {
			t.Fatal(err)
		}
	}
	c.cut(true)
	if got, news := states(); len(got) != 1 || got[0] != "49" || !news {
		t.Errorf("%q wait, news %v, once there is room", got, news)
	}
}
