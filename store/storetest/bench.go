// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// Size is how much a benchmark's store holds: MYELIN_DEVICES devices (100,000), ten
// observations and two findings of each.
func Size() int {
	if n, err := strconv.Atoi(os.Getenv("MYELIN_DEVICES")); err == nil {
		return n
	}
	return 100_000
}

// Fill fills a store, and returns the number of the last batch.
func Fill(t testing.TB, s *store.Store, n int) (sequence uint64) {
	enrol(t, s, "bench", "", time.Now())
	makers := [...]string{"Norra Medical", "Lumen Imaging", "Veltis", "Aeris", "Corvus Dx"}
	kinds := []finding.Kind{finding.TherapyCommandUnauthenticated, finding.PHIInClear, finding.WeakTLS, finding.LegacyOS, finding.VulnerableProduct, finding.InsecureService}
	begin := time.Now()
	for from := 0; from < n; from += 500 {
		sequence++
		b := &store.Batch{Sensor: "bench", Sequence: sequence}
		for i := from; i < min(from+500, n); i++ {
			d := device.Device{
				ID: device.IDOf("bench", strconv.Itoa(i)), Serial: fmt.Sprintf("SN%07d", i), Ward: fmt.Sprintf("ward %d", i/7%60), Medical: i%3 > 0,
				Product:   device.Product{Manufacturer: makers[i%5], Model: fmt.Sprintf("Model %d", i%200), Version: "1.2", Therapy: device.Therapy(1 + i%15), Harm: device.Harm(1 + i%5)},
				Addresses: []device.Address{ip(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))},
				Protocols: []string{"hl7"},
			}
			b.Devices = append(b.Devices, d)
			for k := range 2 {
				f := finding.Finding{
					ID: finding.IDOf(kinds[(i+k)%6], d.ID, strconv.Itoa(k)), Kind: kinds[(i+k)%6], Title: finding.Kinds[kinds[(i+k)%6]].Title, Device: d.ID,
					Harm: d.Harm, Decision: finding.Decision(rand.IntN(100) * rand.IntN(100) / 2500 % 4), EPSS: rand.Float64(), Count: 1, First: int64(i), Last: begin.UnixNano() + int64(i),
					Advice: "Ask the maker for an update, and keep the device apart until there is one.",
				}
				b.Findings = append(b.Findings, f)
			}
		}
		if _, err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	hour := begin.Add(-time.Hour).UnixNano()
	for from := 0; from < 10*n; from += 1000 {
		sequence++
		if _, err := s.Write(t.Context(), &store.Batch{Sensor: "bench", Sequence: sequence, Observations: Talk(n, 1000, hour-int64(from%24)*int64(time.Hour))}); err != nil {
			t.Fatal(err)
		}
	}
	return sequence
}

// Talk is so many observations among n devices: each of a few talks to a few.
func Talk(n, count int, at int64) []store.Observation {
	out := make([]store.Observation, count)
	for i := range out {
		c := rand.IntN(n)
		srv := c - c%50 // of each fifty one is their server
		out[i] = store.Observation{
			Client: ip(fmt.Sprintf("10.%d.%d.%d", c>>16, c>>8&255, c&255)), Server: ip(fmt.Sprintf("10.%d.%d.%d", srv>>16, srv>>8&255, srv&255)),
			Protocol: "hl7", Port: 2575, First: at, Last: at, Count: 1, Packets: 10, Bytes: 1000,
		}
	}
	return out
}

// BenchmarkIngest is batches of 1,000 observations, each durable.
func BenchmarkIngest(b *testing.B, s *store.Store, sequence *atomic.Uint64) {
	n := Size()
	batches := make([][]store.Observation, 64)
	for i := range batches {
		batches[i] = Talk(n, 1000, time.Now().UnixNano())
	}
	for i := range batches { // who talks to whom is known: a server has run for a while
		if _, err := s.Write(b.Context(), &store.Batch{Sensor: "bench", Sequence: sequence.Add(1), Observations: batches[i]}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Write(b.Context(), &store.Batch{Sensor: "bench", Sequence: sequence.Add(1), Observations: batches[i%64]}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "observations/s")
}

// queries are those of pages.
func queries(s *store.Store) map[string]func(ctx context.Context) error {
	open := []string{store.Open}
	out := map[string]func(ctx context.Context) error{}
	for name, q := range map[string]store.FindingQuery{
		"open":   {State: open, Facets: true},
		"active": {State: []string{store.Open, store.Acknowledged}, Facets: true},
		"act":    {State: open, Decision: []string{"act"}, Facets: true},
		"ward":   {State: open, Ward: []string{"ward 7"}, Harm: []string{"critical"}, Facets: true},
		"rare":   {State: open, Ward: []string{"ward 7"}, Kind: []string{"weak-tls"}, Decision: []string{"act"}, Facets: true, Sort: "last"},
		"kind":   {State: open, Kind: []string{"weak-tls"}, Facets: true, Sort: "last"},
		"harm":   {State: open, Harm: []string{"minor", "serious"}, Facets: true, Sort: "device"},
		"device": {State: open, Device: []string{device.IDOf("bench", "1")}, Facets: true},
		"since":  {State: open, Since: time.Now().Add(-24 * time.Hour).UnixNano(), Facets: true},
		"deep":   {State: open, Page: store.Page{After: "20000000~x"}, Facets: true},
		"search": {State: open, Words: "norra 7", Facets: true},
		"common": {State: open, Words: "command", Facets: true},
	} {
		out["findings/"+name] = func(ctx context.Context) error {
			_, err := s.Findings(ctx, q)
			return err
		}
	}
	for name, q := range map[string]store.DeviceQuery{"all": {}, "ward": {Ward: "ward 7"}, "search": {Words: "sn0000012"}, "common": {Words: "norra"}, "act": {Decision: "act"}, "name": {Sort: "name"}, "therapy": {Therapy: "monitoring", Harm: "serious", Sort: "last"}} {
		out["devices/"+name] = func(ctx context.Context) error {
			_, err := s.Devices(ctx, q)
			return err
		}
	}
	out["device/one"] = func(ctx context.Context) error {
		_, err := s.Device(ctx, device.IDOf("bench", "50"))
		return err
	}
	out["device/links"] = func(ctx context.Context) error {
		_, err := s.Links(ctx, device.IDOf("bench", "50"), time.Now().Add(-24*time.Hour).UnixNano(), 50)
		return err
	}
	out["matrix"] = func(ctx context.Context) error {
		_, _, err := s.Matrix(ctx)
		return err
	}
	return out
}

// BenchmarkLists are the queries of pages, alone.
func BenchmarkLists(b *testing.B, s *store.Store) {
	ctx := b.Context()
	all := queries(s)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := all[name](ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("triage/500", func(b *testing.B) {
		l, err := s.Findings(ctx, store.FindingQuery{State: []string{store.Open, store.Acknowledged}, Page: store.Page{Limit: 500}})
		if err != nil {
			b.Fatal(err)
		}
		t := store.Triage{By: "te", Reason: "known"}
		for _, f := range l.Rows {
			t.IDs = append(t.IDs, f.ID)
		}
		i := 0
		for b.Loop() {
			i++
			t.State = [...]string{store.Fixed, store.Open}[i%2]
			if _, _, err := s.Triage(ctx, t); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPages measures pages while 2,000 observations a second are written, in
// batches of 200 that are durable when the next one begins. An operation is each query
// of queries once; what is reported are milliseconds of one query: half of all are
// faster than p50, and 99 of 100 than p99.
func BenchmarkPages(b *testing.B, s *store.Store, sequence *atomic.Uint64) {
	const rate, size = 2000, 200
	ctx, stop := context.WithCancel(b.Context())
	var writer sync.WaitGroup
	var written atomic.Int64
	var late time.Duration // the longest that a batch took
	writer.Go(func() {
		tick := time.NewTicker(time.Second * size / rate)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			begin := time.Now()
			if _, err := s.Write(b.Context(), &store.Batch{Sensor: "bench", Sequence: sequence.Add(1), Observations: Talk(Size(), size, begin.UnixNano())}); err != nil {
				b.Error(err)
				return
			}
			written.Add(size)
			late = max(late, time.Since(begin))
		}
	})
	all := queries(s)
	names := slices.Sorted(maps.Keys(all))
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, name := range names {
			begin := time.Now()
			if err := all[name](ctx); err != nil {
				b.Fatal(err)
			}
			took[name] = append(took[name], time.Since(begin))
		}
	}
	stop()
	writer.Wait()
	var lists, searches []time.Duration
	for _, name := range names {
		if strings.HasSuffix(name, "search") || strings.HasSuffix(name, "common") {
			searches = append(searches, took[name]...)
		} else {
			lists = append(lists, took[name]...)
		}
		b.Logf("%-18s p50 %6.1f ms, p99 %6.1f ms", name, quantile(took[name], 50), quantile(took[name], 99))
	}
	b.Logf("%.0f observations/s, the slowest batch took %v", float64(written.Load())/b.Elapsed().Seconds(), late)
	for name, list := range map[string][]time.Duration{"list": lists, "search": searches} {
		b.ReportMetric(quantile(list, 50), name+"-p50-ms")
		b.ReportMetric(quantile(list, 99), name+"-p99-ms")
	}
}

// quantile is in milliseconds.
func quantile(list []time.Duration, percent int) float64 {
	list = slices.Sorted(slices.Values(list))
	return float64(list[min(len(list)*percent/100, len(list)-1)]) / float64(time.Millisecond)
}
