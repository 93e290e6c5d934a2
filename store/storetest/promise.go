// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

func together(t *testing.T, s *store.Store, _ *clock) { Together(t, s) }

// Together has four sensors and two people write about the same few devices at the
// same time, through each of the stores of one database in turn, while others walk
// through the lists.
func Together(t *testing.T, stores ...*store.Store) {
	ctx := t.Context()
	const sensors, batches = 4, 15
	s := stores[0]
	for i := range sensors {
		Enrol(t, s, fmt.Sprint("s", i))
	}
	var all sync.WaitGroup
	fail := make(chan error, 100)
	for i := range sensors {
		all.Go(func() {
			s := stores[i%len(stores)]
			rnd := rand.New(rand.NewPCG(uint64(i), 7))
			for n := range batches {
				b := &store.Batch{Sensor: fmt.Sprint("s", i), Sequence: uint64(n + 1)}
				for range 4 {
					k := rnd.IntN(12)
					d := pump(k, fmt.Sprint("T", k))
					d.Ward = fmt.Sprint("ward ", rnd.IntN(2))
					f := weakness(&d, finding.PHIInClear, finding.Decision(rnd.IntN(4)))
					b.Devices, b.Findings = append(b.Devices, d), append(b.Findings, f)
					b.Observations = append(b.Observations, store.Observation{Client: ip(fmt.Sprint("10.9.9.", rnd.IntN(20))), Server: d.Addresses[0], Protocol: "hl7", First: 1, Last: 1, Count: 1, Packets: 1})
				}
				// one that nobody else has, so that lists grow
				b.Findings = append(b.Findings, finding.Finding{ID: fmt.Sprintf("own-%d-%d", i, n), Kind: finding.WeakTLS, Product: "Flow", Count: 1, First: 1, Last: int64(rnd.IntN(9))})
				if _, err := s.Write(ctx, b); err != nil {
					fail <- fmt.Errorf("sensor %d: %w", i, err)
					return
				}
			}
		})
	}
	for i := range 2 {
		all.Go(func() {
			s := stores[i%len(stores)]
			for n := range 10 {
				if _, _, err := s.Triage(ctx, store.Triage{All: &store.FindingQuery{Kind: []string{"phi-in-clear"}}, State: []string{store.Acknowledged, store.Open}[(n+i)%2], By: fmt.Sprint(i)}); err != nil {
					fail <- fmt.Errorf("triage: %w", err)
					return
				}
			}
		})
		all.Go(func() {
			for range 5 { // rows come in between; none moves
				seen := map[string]bool{}
				err := s.EachFinding(ctx, store.FindingQuery{Kind: []string{"weak-tls"}, Page: store.Page{Limit: 3}, Sort: []string{"last", "first"}[i]}, func(f *store.Finding) error {
					if seen[f.ID] {
						return fmt.Errorf("%s twice", f.ID)
					}
					seen[f.ID] = true
					return nil
				})
				q := store.FindingQuery{Kind: []string{"weak-tls"}, Page: store.Page{Limit: 3}}
				clear(seen)
				for err == nil {
					var l *store.List[store.Finding]
					if l, err = s.Findings(ctx, q); err != nil {
						break
					}
					for _, f := range l.Rows {
						if seen[f.ID] {
							err = fmt.Errorf("%s twice", f.ID)
						}
						seen[f.ID] = true
					}
					if q.After = l.Next; q.After == "" {
						break
					}
				}
				if err != nil {
					fail <- fmt.Errorf("walk: %w", err)
					return
				}
			}
		})
	}
	all.Wait()
	close(fail)
	for err := range fail {
		t.Error(err)
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)
	links, err := s.Links(ctx, "", 0, 1000)
	must(t, err)
	n := uint64(0)
	for _, l := range links {
		n += l.Packets
	}
	if n != sensors*batches*4 || len(findings) < sensors*batches {
		t.Fatalf("%d packets of %d, %d findings", n, sensors*batches*4, len(findings))
	}
}

// hostile writes what attackers put into names, in every text that there is.
func hostile(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	for i, evil := range []string{
		"nul\x00in the middle", "not \xff\xfe UTF-8 \xc3", "<script>alert(1)</script>", `'; DROP TABLE device; --`, `" OR "1"="1`, "%_*", "$1", "{}[]\\\"",
		strings.Repeat("å", 300), strings.Repeat("x", 100_000), strings.Repeat("y z ", 5000), "\u202egnp.exe", "שלום עולם", "a\x1fb\x1fc\x1f7", "\r\n\t\x1b[31m", "\x00", "\xff", "\U0001f489 pump", "e\u0301",
	} {
		d := device.Device{
			ID: fmt.Sprint(i, evil), Product: device.Product{Manufacturer: evil, Model: evil, Version: evil, ProductCode: evil, Class: evil}, Name: evil, Ward: evil, OS: evil, Serial: evil, Role: evil,
			Addresses: []device.Address{{Kind: device.Host, Value: evil}, {Kind: device.AET, Value: evil}, {Kind: device.MAC, Value: evil}, ip(fmt.Sprint("10.66.0.", i))}, Protocols: []string{evil},
		}
		e := event.Event{Kind: event.VerdictGiven, Time: 1, Device: device.Address{Kind: device.Host, Value: evil}}
		b := &store.Batch{
			Sensor: "icu", Sequence: uint64(i + 1), Devices: []device.Device{d},
			Observations: []store.Observation{{Client: device.Address{Kind: device.Host, Value: evil}, Server: device.Address{Kind: device.AET, Value: evil}, Protocol: evil, First: 1, Last: 1, Count: 1}},
			Findings:     []finding.Finding{{ID: fmt.Sprint("f", i), Kind: finding.WeakTLS, Title: evil, Device: fmt.Sprint(i, evil), Product: evil, Peer: evil, Advisories: []string{evil}, CVE: []string{evil}, Advice: evil, Sightings: []finding.Sighting{{Note: evil}}}},
			Events:       []event.Event{e},
			Held:         []store.Held{{ID: evil, Front: evil, Device: evil, Actor: evil, Value: evil, Reason: evil}}, HeldToo: true,
			Beat: &store.Beat{Version: evil, Problem: evil},
		}
		_, err := s.Write(ctx, b)
		must(t, err)
		f, _, err := s.Finding(ctx, fmt.Sprint("f", i))
		must(t, err)
		got, err := s.Device(ctx, f.Device)
		must(t, err)
		clean := store.Text(evil)
		if len(clean) > 300 {
			clean = clean[:300]
		}
		if got.Name != clean || f.Ward != clean || strings.ContainsAny(got.Name, "\x00\x1f\x1b\u202e") {
			t.Fatalf("%.40q became %.40q", evil, got.Name)
		}
		for _, text := range []string{evil, ""} {
			must(t, s.EditDevice(ctx, store.DeviceEdit{ID: f.Device, Name: &text, Ward: &text, Owner: &text, Criticality: &text, Notes: &text, By: evil, Why: evil}))
		}
		_, _, err = s.Triage(ctx, store.Triage{IDs: []string{f.ID}, State: store.Acknowledged, Assignee: &evil, Comment: evil, Reason: evil, Justification: evil, By: evil})
		must(t, err)
		_, err = s.AddDocument(ctx, &store.Document{Digest: fmt.Sprint(i), Kind: evil, Name: evil, ID: evil, Title: evil, By: evil, Products: []string{evil}}, []byte(evil))
		must(t, err)
		must(t, s.SavePerson(ctx, &store.Person{Login: fmt.Sprint(i, evil), Name: evil, Subject: fmt.Sprint(i, evil)}))
		must(t, s.SetSetting(ctx, fmt.Sprint(i, evil), nil, []byte(evil)))
		must(t, s.AddEnrolment(ctx, []byte{byte(i)}, evil, evil, evil, evil, 1))
		// and in what is asked
		for _, q := range []store.FindingQuery{
			{Words: evil, Facets: true},
			{State: []string{evil}, Decision: []string{evil}, Harm: []string{evil}, Kind: []string{evil}, Ward: []string{evil}, Site: []string{evil}, Device: []string{evil}, Assignee: evil, CVE: evil, Products: []string{evil}, Facets: true},
		} {
			_, err := s.Findings(ctx, q)
			must(t, err)
		}
		for _, q := range []store.DeviceQuery{{Words: evil}, {Site: evil, Ward: evil, Therapy: evil, Harm: evil, Products: []string{evil}}} {
			_, err := s.Devices(ctx, q)
			must(t, err)
		}
		_, err = s.Verdicts(ctx, store.VerdictQuery{Device: evil, Guard: evil, Verdict: evil})
		must(t, err)
		_, err = s.Documents(ctx, []string{evil}, evil, store.Page{})
		must(t, err)
		_, err = s.Timeline(ctx, f.Device, 50)
		must(t, err)
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)
}

// bounds says that numbers that nobody can have meant stop no sensor.
func bounds(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	d := pump(1, "N1")
	d.Harm = 200
	never := time.Date(2250, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	o := store.Observation{Client: ip("10.1.1.1"), Server: d.Addresses[0], First: math.MinInt64, Last: math.MaxInt64, Count: math.MaxUint64, Packets: math.MaxUint64, Bytes: math.MaxUint64}
	f := finding.Finding{ID: "f", Kind: finding.WeakTLS, Device: d.ID, Decision: 200, Harm: 200, EPSS: math.Inf(1), Count: math.MaxUint64, First: never, Last: never}
	many := make([]store.Observation, 1000)
	for i := range many {
		many[i] = o
	}
	for i := range 3 {
		_, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: uint64(i + 1), Devices: []device.Device{d}, Observations: many, Findings: []finding.Finding{f}})
		must(t, err)
	}
	got, _, err := s.Finding(ctx, "f")
	must(t, err)
	if got.Last != c.t.UnixNano() || got.Decision != finding.Act || got.Count == 0 {
		t.Fatalf("%+v", got)
	}
	links, err := s.Links(ctx, "", math.MinInt64, 10)
	must(t, err)
	if len(links) != 1 || links[0].Last != c.t.UnixNano() || links[0].Packets != 3000<<40 {
		t.Fatalf("%+v", links)
	}
	if _, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: math.MaxUint64}); err == nil {
		t.Fatal("a batch with a number that nothing follows was written")
	}
	if _, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 9, Observations: append(many, o)}); err == nil {
		t.Fatal("1,001 observations were written")
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)
}

// flap says that a device whose id, serial number and addresses change all the time does
// not fill the store.
func flap(t *testing.T, s *store.Store, c *clock) {
	enrol(t, s, "icu", "", c.t)
	for i := range 40 {
		c.t = c.t.Add(time.Hour)
		d := pump(i%2, fmt.Sprint("F", i%3))
		d.ID = []string{"dev-flap", "", "dev-flop", "dev-flap"}[i%4]
		d.Addresses = append(d.Addresses, device.Address{Kind: device.MAC, Value: fmt.Sprint("00:00:5e:00:53:0", i%5)})
		_, err := s.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: uint64(i + 1), Devices: []device.Device{d}})
		must(t, err)
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)
	merges := 0
	for id := range devices {
		_, list, err := s.Identities(t.Context(), id)
		must(t, err)
		merges += len(list)
	}
	if len(devices) > 4 || merges > 8 {
		t.Fatalf("%d devices, %d merges", len(devices), merges)
	}
}

// order says the same of devices in any order: which are one does not depend on it. A
// hardware address of devices with several serial numbers joins none. (What has no
// serial number and hardware addresses of two devices that have goes to one of them.)
func order(t *testing.T, open func(t *testing.T, now func() time.Time) *store.Store) {
	mac := func(n int) device.Address {
		return device.Address{Kind: device.MAC, Value: fmt.Sprintf("00:00:5e:00:53:%02x", n)}
	}
	unit := func(serial string, at ...device.Address) device.Device {
		d := device.Device{ID: "dev-" + serial, Serial: serial, Addresses: at}
		d.Manufacturer, d.Model = "Norra", "Flow"
		return d
	}
	bare := func(id string, at ...device.Address) device.Device { return device.Device{ID: id, Addresses: at} }
	sightings := []device.Device{
		unit("A", mac(1)), bare("dev-1", mac(1), mac(2)), bare("dev-2", mac(2), mac(3)), unit("B", mac(4)), bare("dev-3", mac(4)),
		unit("C"), bare("dev-4", mac(5), mac(6)), bare("dev-5", mac(6)), bare("dev-6", mac(7)), unit("B", mac(8)), bare("dev-7", mac(8)),
		unit("D", mac(9)), unit("E", mac(9)), bare("dev-8", mac(9)),
	}
	// A 1 2 · B 3 7 · C · 4 5 · 6 · D · E · 8, behind a gateway
	want := "[dev-1 dev-2 dev-A] [dev-3 dev-7 dev-B] [dev-4 dev-5] [dev-6] [dev-8] [dev-C] [dev-D] [dev-E]"
	for seed := range uint64(8) {
		c := &clock{time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)}
		s := open(t, c.now)
		enrol(t, s, "icu", "", c.t)
		rnd := rand.New(rand.NewPCG(seed, 1))
		list := slices.Clone(sightings)
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for i := range list {
			_, err := s.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: uint64(i + 1), Devices: list[i : i+1]})
			must(t, err)
		}
		sets := map[string][]string{}
		devices, _ := everything(t, s)
		for id := range devices {
			names, _, err := s.Identities(t.Context(), id)
			must(t, err)
			for _, n := range names {
				if n.Kind == "dev" && n.Live {
					sets[id] = append(sets[id], n.Value)
				}
			}
		}
		var got []string
		for _, set := range sets {
			slices.Sort(set)
			got = append(got, fmt.Sprint(set))
		}
		slices.Sort(got)
		if got := strings.Join(got, " "); got != want {
			t.Errorf("order %d: %s; want %s", seed, got, want)
		}
		must(t, s.Close())
	}
}

// worn says that no serial number of what is implanted or worn is kept in clear,
// whenever that comes to be known.
func worn(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	say := func(n uint64, d device.Device) *store.Device {
		_, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: n, Devices: []device.Device{d}})
		must(t, err)
		got, err := s.Device(ctx, d.ID)
		must(t, err)
		return got
	}
	bare := func(d *store.Device) {
		t.Helper()
		names, _, err := s.Identities(ctx, d.ID)
		must(t, err)
		l, err := s.Devices(ctx, store.DeviceQuery{Words: "SECRET7"})
		must(t, err)
		if d.Serial != "" || slices.ContainsFunc(names, func(i store.Identity) bool { return strings.Contains(i.Value, "SECRET7") }) || l.Total != 0 {
			t.Fatalf("serial number %q, names %v, %d found by it", d.Serial, names, l.Total)
		}
	}
	pacer := pump(1, "SECRET7")
	pacer.ID = "dev-pacer"
	pacer.Therapy = device.Pacing
	d := say(1, pacer)
	bare(d)
	later := pump(2, "SECRET7") // it looks like a pump first
	later.ID, later.Therapy = "dev-later", device.NoTherapy
	if d := say(2, later); d.Serial != "SECRET7" {
		t.Fatalf("%+v", d)
	}
	later.Serial, later.Therapy = "", device.InsulinInfusion
	bare(say(3, later))
	later.Serial, later.Therapy = "SECRET7", device.NoTherapy
	bare(say(4, later))
	pump := say(5, pump(3, "SECRET8"))
	if _, err := s.MergeDevices(ctx, d.ID, pump.ID, "le", "the same"); err != nil {
		t.Fatal(err)
	}
	d, err := s.Device(ctx, d.ID)
	must(t, err)
	if d.Serial != "" {
		t.Fatalf("serial number %q after a merge", d.Serial)
	}
}
