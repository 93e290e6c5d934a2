// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/testpeer/jetstream"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, cfg Config) *Bus {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	b, err := Open(t.Context(), cfg)
	must(t, err)
	return b
}

func emptyStore(t testing.TB, sensors ...string) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "myelin.db"), nil)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	for _, id := range sensors {
		must(t, s.AddEnrolment(t.Context(), []byte(id), id, "site", "guard", "le", time.Now().Add(time.Hour).UnixNano()))
		_, err := s.Enrol(t.Context(), []byte(id), id, "key of "+id)
		must(t, err)
	}
	return s
}

// run runs a bus until the function that it returns is called.
func run(t testing.TB, b *Bus) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func ip(n int) device.Address {
	return device.Address{Kind: device.IP, Value: fmt.Sprintf("10.0.%d.%d", n>>8, n&255)}
}

// batch is so many observations of a sensor, and a verdict that has the number.
func batch(sensor string, sequence uint64, observations int) *store.Batch {
	e := event.Event{Kind: event.VerdictGiven, Time: int64(sequence), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	e.Add(event.Int(event.Verdict, device.Deny))
	b := &store.Batch{Sensor: sensor, Sequence: sequence, Events: []event.Event{e}}
	for i := range observations {
		b.Observations = append(b.Observations, store.Observation{Client: ip(i), Server: ip(1 << 15), Protocol: "hl7", Port: 2575, First: 1, Last: 2, Count: 1})
	}
	return b
}

// written waits until a store has so many verdicts of a guard, and returns their
// times in the order of writing.
func written(t testing.TB, s *store.Store, guard string, n int) (times []int64) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for {
		list, err := s.Verdicts(ctx, store.VerdictQuery{Guard: guard, Page: store.Page{Limit: 1000}})
		must(t, err)
		if len(list.Rows) >= n {
			for _, v := range list.Rows {
				times = append(times, v.Time)
			}
			slices.Reverse(times)
			return times
		}
		wait(ctx, 5*time.Millisecond)
	}
}

// talks is how often the server of all has been talked to.
func talks(t testing.TB, s *store.Store) (n uint64) {
	t.Helper()
	list, err := s.Devices(t.Context(), store.DeviceQuery{Page: store.Page{Limit: 1000}})
	must(t, err)
	for _, d := range list.Rows {
		if !slices.Contains(d.Addresses, ip(1<<15)) {
			continue
		}
		links, err := s.Links(t.Context(), d.ID, 0, 100_000)
		must(t, err)
		for _, l := range links {
			n += l.Count
		}
	}
	return n
}

// TestOnce: what was put is written once and in order, also what was put twice, what
// waited while nobody wrote, and what was put before the process began anew.
func TestOnce(t *testing.T) {
	s, dir := emptyStore(t, "g1"), t.TempDir()
	b := open(t, Config{Dir: dir, Store: s})
	for n := range uint64(20) {
		must(t, b.Put(t.Context(), batch("g1", n+1, 10)))
		must(t, b.Put(t.Context(), batch("g1", n+1, 10)))
	}
	b.Close()
	b = open(t, Config{Dir: dir, Store: s})
	defer b.Close()
	defer run(t, b)()
	must(t, b.Put(t.Context(), batch("g1", 21, 10)))
	times := written(t, s, "g1", 21)
	if len(times) != 21 || !slices.IsSorted(times) {
		t.Errorf("written: %v", times)
	}
	if n := talks(t, s); n != 210 {
		t.Errorf("%d of 210 observations", n)
	}
}

// TestAside: a batch that the store does not take keeps none back that is behind it, and is kept.
func TestAside(t *testing.T) {
	s := emptyStore(t, "g1", "g2")
	b := open(t, Config{Store: s})
	defer b.Close()
	must(t, b.Put(t.Context(), batch("g2", 1, 1)))
	must(t, s.RevokeSensor(t.Context(), "g2"))
	_, err := b.js.Publish(t.Context(), "obs.0", []byte("no batch"))
	must(t, err)
	must(t, b.Put(t.Context(), batch("g1", 1, 1)))
	defer run(t, b)()
	written(t, s, "g1", 1)
	stream, err := b.js.Stream(t.Context(), "aside")
	must(t, err)
	if n := stream.CachedInfo().State.Msgs; n != 2 {
		t.Errorf("%d of 2 are kept aside", n)
	}
}

// TestFull: a full bus says so, and takes more when the store has written.
func TestFull(t *testing.T) {
	s := emptyStore(t, "g1")
	b := open(t, Config{Store: s, MaxBytes: 1 << 20})
	defer b.Close()
	n := uint64(1)
	for b.Put(t.Context(), batch("g1", n, 1000)) == nil {
		if n++; n > 100 {
			t.Fatal("there is no end")
		}
	}
	defer run(t, b)()
	written(t, s, "g1", int(n-1))
	must(t, b.Put(t.Context(), batch("g1", n, 1000)))
	if times := written(t, s, "g1", int(n)); len(times) != int(n) {
		t.Errorf("%v", times)
	}
}

// TestNews: what changed is told to all, in numbers alone, and not more than a page can use.
func TestNews(t *testing.T) {
	s := emptyStore(t, "g1")
	b := open(t, Config{Store: s})
	defer b.Close()
	news := make(chan *News, 16)
	stop, err := b.Listen(func(n *News) { news <- n })
	must(t, err)
	defer stop()
	must(t, b.nc.Flush())
	defer run(t, b)()
	must(t, b.Put(t.Context(), batch("g1", 1, 1)))
	if n := <-news; len(n.Verdicts) != 1 || len(n.Devices) != 2 || n.More {
		t.Errorf("%+v", n)
	}
	b.Tell(&News{})
	b.Tell(&News{Findings: make([]string, maxNews)})
	b.Tell(&News{Findings: make([]string, maxNews+1)})
	if n := <-news; len(n.Findings) != maxNews || n.More {
		t.Errorf("%d, %v", len(n.Findings), n.More)
	}
	if n := <-news; len(n.Findings) != maxNews || !n.More {
		t.Errorf("%d, %v", len(n.Findings), n.More)
	}
}

func TestDecide(t *testing.T) {
	b := open(t, Config{})
	defer b.Close()
	d := &Decision{ID: "1", Asked: 7, What: "confirm", By: "mh", Role: "nurse"}
	if err := b.Decide(t.Context(), "g1", d); !errors.Is(err, ErrAway) {
		t.Errorf("nobody listens: %v", err)
	}
	why := ""
	silent := false
	stop, err := b.Hear("g1", func(got *Decision, answer func(string)) {
		if *got != *d {
			t.Errorf("%+v", got)
		}
		if !silent {
			answer(why)
		}
	})
	must(t, err)
	must(t, b.Decide(t.Context(), "g1", d))
	why = "its time is over"
	var r *Refusal
	if err := b.Decide(t.Context(), "g1", d); !errors.As(err, &r) || r.Text != why {
		t.Errorf("%v", err)
	}
	silent = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Decide(ctx, "g1", d); !errors.Is(err, ErrSilent) {
		t.Errorf("%v", err)
	}
	stop()
	must(t, b.nc.Flush())
	if err := b.Decide(t.Context(), "g1", d); !errors.Is(err, ErrAway) {
		t.Errorf("nobody listens any more: %v", err)
	}
}

// TestSplit: nothing is lost between parts, what is of one device is in one, and the
// same batch comes apart in the same way.
func TestSplit(t *testing.T) {
	b := batch("g1", 3, 1000)
	for i := range 200 {
		b.Devices = append(b.Devices, device.Device{ID: fmt.Sprint(i)})
		b.Findings = append(b.Findings, finding.Finding{ID: "f", Device: fmt.Sprint(i)})
	}
	parts := split(b, shards)
	if len(parts) != shards {
		t.Errorf("%d parts", len(parts))
	}
	var sum store.Batch
	seen := map[string]int{}
	for _, p := range parts {
		if p.Sensor != "g1" || p.Sequence != 3 {
			t.Errorf("%+v", p)
		}
		sum.Observations = append(sum.Observations, p.Observations...)
		sum.Events = append(sum.Events, p.Events...)
		for _, d := range p.Devices {
			seen[d.ID] = p.Part
		}
		for _, f := range p.Findings {
			if seen[f.Device] != p.Part {
				t.Errorf("the finding of %s is in part %d, the device in %d", f.Device, p.Part, seen[f.Device])
			}
		}
	}
	if len(sum.Observations) != 1000 || len(sum.Events) != 1 || len(seen) != 200 {
		t.Errorf("%d observations, %d events, %d devices", len(sum.Observations), len(sum.Events), len(seen))
	}
}

// cluster starts three nodes, and returns their addresses and a way to end one.
func cluster(t *testing.T) (addresses []string, end func(int)) {
	t.Helper()
	three, err := jetstream.Three(t.TempDir())
	must(t, err)
	var nodes []*server.Server
	for i := range three {
		n, err := three[i].Start()
		must(t, err)
		t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
		nodes = append(nodes, n)
		addresses = append(addresses, three[i].URL())
	}
	return addresses, func(i int) { nodes[i].Shutdown(); nodes[i].WaitForShutdown() }
}

// TestCluster: two servers share the work of a cluster. One server ends while it has
// messages, and so does a node: all is written once, each device in its order, and
// news and decisions come across.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	addresses, end := cluster(t)
	s := emptyStore(t, "g1", "g2")
	cfg := Config{Servers: addresses, Store: s, AckWait: time.Second}
	a, b := open(t, cfg), open(t, cfg)
	defer b.Close()
	heard := make(chan bool, 1)
	stop, err := b.Listen(func(n *News) {
		if n.Held {
			heard <- true
		}
	})
	must(t, err)
	defer stop()
	away, err := a.Hear("g1", func(_ *Decision, answer func(string)) { answer("") })
	must(t, err)
	must(t, b.nc.Flush())
	a.Tell(&News{Held: true})
	<-heard
	for b.Decide(t.Context(), "g1", &Decision{}) != nil { // until the nodes have told each other
		if t.Context().Err() != nil {
			t.Fatal("no decision comes across")
		}
	}
	away()

	stopA, stopB := run(t, a), run(t, b)
	defer stopB()
	put := func(bus *Bus, sensor string, n uint64) {
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err := bus.Put(ctx, batch(sensor, n, 100))
			cancel()
			if err == nil {
				return
			}
			wait(t.Context(), 50*time.Millisecond)
		}
	}
	for n := range uint64(60) {
		switch n {
		case 20:
			stopA()
			a.Close()
			a = b
		case 40:
			end(0)
		}
		put(a, "g1", n+1)
		put(b, "g2", n+1)
	}
	for _, g := range []string{"g1", "g2"} {
		if times := written(t, s, g, 60); len(times) != 60 || !slices.IsSorted(times) {
			t.Errorf("%s: %v", g, times)
		}
	}
	// The parts with the verdicts are written; the others may be a little behind.
	for talks(t, s) < 12000 && t.Context().Err() == nil {
		wait(t.Context(), 20*time.Millisecond)
	}
	if n := talks(t, s); n != 12000 {
		t.Errorf("%d of 12000 observations", n)
	}
}

// BenchmarkPut is batches of 1,000 observations, each durable.
func BenchmarkPut(b *testing.B) {
	bus := open(b, Config{MaxBytes: 8 << 30})
	defer bus.Close()
	one := batch("g1", 1, 1000)
	for b.Loop() {
		must(b, bus.Put(b.Context(), one))
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "observations/s")
}

// BenchmarkCluster is the same on a cluster of three nodes, each of which syncs what it
// has: a batch of 1,000 observations is 16 messages there.
func BenchmarkCluster(b *testing.B) {
	three, err := jetstream.Three(b.TempDir())
	must(b, err)
	var addresses []string
	for i := range three {
		n, err := three[i].Start()
		must(b, err)
		b.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
		addresses = append(addresses, three[i].URL())
	}
	bus := open(b, Config{Servers: addresses, MaxBytes: 1 << 30})
	defer bus.Close()
	one := batch("g1", 1, 1000)
	for b.Loop() {
		must(b, bus.Put(b.Context(), one))
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "observations/s")
	b.ReportMetric(shards*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
