// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
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
				ID: device.IDOf("bench", strconv.Itoa(i)), Serial: fmt.Sprintf("SN%07d", i), Ward: fmt.Sprintf("ward %d", i%60), Medical: i%3 > 0,
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

// BenchmarkLists are the queries of pages.
func BenchmarkLists(b *testing.B, s *store.Store) {
	ctx := b.Context()
	open := []string{store.Open}
	for name, q := range map[string]store.FindingQuery{
		"open":   {State: open, Facets: true},
		"act":    {State: open, Decision: []string{"act"}, Facets: true},
		"ward":   {State: open, Ward: []string{"ward 7"}, Harm: []string{"critical"}, Facets: true},
		"kind":   {State: open, Kind: []string{"weak-tls"}, Facets: true, Sort: "last"},
		"search": {State: open, Words: "norra 7", Facets: true},
		"common": {State: open, Words: "model", Facets: true},
		"deep":   {State: open, Page: store.Page{After: "20000000~x"}, Facets: true},
	} {
		b.Run("findings/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Findings(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, q := range map[string]store.DeviceQuery{"all": {}, "ward": {Ward: "ward 7"}, "search": {Words: "sn0000012"}, "act": {Decision: "act"}, "name": {Sort: "name"}} {
		b.Run("devices/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Devices(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("triage/500", func(b *testing.B) {
		l, err := s.Findings(ctx, store.FindingQuery{State: open, Page: store.Page{Limit: 500}})
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
			t.State = [...]string{store.Acknowledged, store.Open}[i%2]
			if _, _, err := s.Triage(ctx, t); err != nil {
				b.Fatal(err)
			}
		}
	})
}
