// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that each engine of package store passes.
//
// This API follows the server and may change.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// A clock that the suite sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// Run runs the suite. open opens an empty store with a clock.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) *store.Store) {
	for name, f := range map[string]func(t *testing.T, s *store.Store, c *clock){
		"batch":    batch,
		"devices":  devices,
		"merge":    merge,
		"split":    split,
		"findings": findings,
		"verdicts": verdicts,
		"people":   people,
		"sensors":  sensors,
		"together": together,
		"hostile":  hostile,
		"worn":     worn,
		"retain":   retention,
		"bounds":   bounds,
		"flap":     flap,
		"answers":  answers,
		"many":     many,
		"groups":   groups,
		"updates":  updates,
		"versions": versions,
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)}
			s := open(t, c.now)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, s, c)
		})
	}
	t.Run("copies", func(t *testing.T) { copies(t, open) })
	t.Run("order", func(t *testing.T) { order(t, open) })
	t.Run("property", func(t *testing.T) { property(t, open) })
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip(s string) device.Address { return device.Address{Kind: device.IP, Value: s} }

// Enrol makes a sensor.
func Enrol(t testing.TB, s *store.Store, id string) { enrol(t, s, id, "", time.Now()) }

// enrol makes a sensor.
func enrol(t testing.TB, s *store.Store, id, site string, now time.Time) {
	t.Helper()
	must(t, s.AddEnrolment(t.Context(), []byte(id), id, site, "sensor", "le", now.Add(time.Hour).UnixNano()))
	_, err := s.Enrol(t.Context(), []byte(id), id, "key-"+id)
	must(t, err)
}

func pump(n int, serial string) device.Device {
	return device.Device{
		ID:        device.IDOf("Norra Medical", "Flow 500", serial),
		Product:   device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.1.4", Therapy: device.DrugInfusion, Harm: device.Catastrophic, Class: "infusion pump"},
		Serial:    serial,
		Medical:   true,
		Addresses: []device.Address{ip(fmt.Sprintf("10.20.3.%d", n))},
		Protocols: []string{"hl7"},
	}
}

func batch(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	hour := c.t.Truncate(time.Hour).UnixNano()
	b := &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{pump(3, "A3")}}
	for i := range 10 {
		b.Observations = append(b.Observations, store.Observation{
			Client: ip("10.20.1.5"), Server: ip("10.20.3.3"), Protocol: "hl7", Port: 24000,
			First: hour + int64(i), Last: hour + int64(i), Count: 1, Packets: 2, Bytes: 100, Encrypted: i%2 == 0,
		})
	}
	for i := range 2 {
		w, err := s.Write(ctx, b)
		must(t, err)
		if w.Fresh != (i == 0) {
			t.Fatalf("write %d: fresh %v", i, w.Fresh)
		}
	}
	b.Sequence = 2
	_, err := s.Write(ctx, b)
	must(t, err)
	links, err := s.Links(ctx, b.Devices[0].ID, 0, 10)
	must(t, err)
	if len(links) != 1 || links[0].Count != 20 || links[0].Packets != 40 || links[0].Bytes != 2000 || links[0].Clear != 10 || links[0].Sealed != 10 || links[0].Peer != b.Devices[0].ID {
		t.Fatalf("links %+v", links)
	}
	if _, err := s.Write(ctx, &store.Batch{Sensor: "nobody", Sequence: 1}); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a sensor that is not there: %v", err)
	}
	list, err := s.Sensors(ctx)
	must(t, err)
	if len(list) != 1 || list[0].Sequence != 2 {
		t.Fatalf("sensors %+v", list)
	}
}

func devices(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	for i := range 120 {
		b.Devices = append(b.Devices, pump(i, fmt.Sprint("S", i)))
	}
	_, err := s.Write(ctx, b)
	must(t, err)
	for _, sort := range []string{"", "name", "last", "ward"} {
		seen := map[string]bool{}
		q := store.DeviceQuery{Sort: sort, Page: store.Page{Limit: 50}}
		for pages := 0; ; pages++ {
			l, err := s.Devices(ctx, q)
			must(t, err)
			if l.Total != 120 {
				t.Fatalf("%s: total %d", sort, l.Total)
			}
			for _, d := range l.Rows {
				if seen[d.ID] {
					t.Fatalf("%s: %s twice", sort, d.ID)
				}
				seen[d.ID] = true
			}
			if q.After = l.Next; q.After == "" {
				break
			}
		}
		if len(seen) != 120 {
			t.Fatalf("%s: %d devices", sort, len(seen))
		}
	}
	ward, name := "ICU", "pump-7"
	id := b.Devices[7].ID
	d, err := s.Device(ctx, id)
	must(t, err)
	must(t, s.EditDevice(ctx, store.DeviceEdit{ID: id, Version: d.Edition, Ward: &ward, Name: &name, By: "ls"}))
	if err := s.EditDevice(ctx, store.DeviceEdit{ID: id, Version: d.Edition, Ward: &name, By: "te"}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("an edit of what was read before: %v", err)
	}
	for _, n := range []struct {
		of   []string
		some bool
	}{{nil, true}, {[]string{"Norra Medical Flow 500"}, true}, {[]string{"Other Maker X", "Norra Medical Flow 500"}, true}, {[]string{"Norra Medical"}, false}, {[]string{}, false}} {
		d, err := s.Devices(ctx, store.DeviceQuery{Products: n.of})
		must(t, err)
		f, err := s.Findings(ctx, store.FindingQuery{Products: n.of})
		must(t, err)
		if (d.Total > 0) != n.some || (len(d.Rows) > 0) != n.some || !n.some && len(f.Rows)+f.Total > 0 {
			t.Errorf("of the products %q: %d devices, %d findings", n.of, d.Total, f.Total)
		}
	}
	l, err := s.Devices(ctx, store.DeviceQuery{Ward: "ICU"})
	must(t, err)
	if l.Total != 1 || len(l.Rows) != 1 || l.Rows[0].Label != "pump-7" || l.Rows[0].Addresses[0].Value != "10.20.3.7" {
		t.Fatalf("ICU: %+v", l)
	}
	for _, words := range []string{"pump-7", "pum norra icu", "10.20.3.7", "S7"} {
		l, err := s.Devices(ctx, store.DeviceQuery{Words: words})
		must(t, err)
		found := false
		for _, d := range l.Rows {
			found = found || d.ID == id
		}
		if !found {
			t.Errorf("%q does not find it", words)
		}
	}
	if l, err := s.Devices(ctx, store.DeviceQuery{Words: "nothing of the kind"}); err != nil || len(l.Rows) != 0 {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := s.Devices(ctx, store.DeviceQuery{Page: store.Page{After: "x"}}); !errors.Is(err, store.ErrCursor) {
		t.Error(err)
	}
	h, err := s.Timeline(ctx, id, 10)
	must(t, err)
	if len(h) < 3 {
		t.Errorf("timeline %+v", h)
	}
}

func merge(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	seq := uint64(0)
	say := func(list ...device.Device) {
		seq++
		_, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: seq, Devices: list})
		must(t, err)
		c.t = c.t.Add(time.Minute)
	}
	total := func(want int) {
		t.Helper()
		l, err := s.Devices(ctx, store.DeviceQuery{})
		must(t, err)
		if l.Total != want || len(l.Rows) != want {
			t.Fatalf("%d devices, %d counted; want %d", len(l.Rows), l.Total, want)
		}
	}
	bare := device.Device{ID: device.IDOf("ip", "10.20.3.9"), Addresses: []device.Address{ip("10.20.3.9")}}
	say(bare)
	total(1)
	say(pump(9, "A9")) // the same address, now with a serial number
	total(1)
	say(pump(9, "B9")) // the address moved on to another pump
	total(2)
	say(pump(9, "A9")) // and back
	for _, serial := range []string{"A9", "B9"} {
		if d, err := s.Device(ctx, pump(9, serial).ID); err != nil || (len(d.Addresses) == 1) != (serial == "A9") {
			t.Errorf("%s: %+v, %v", serial, d, err)
		}
	}
	say(pump(9, "B9"))
	total(2)
	say(device.Device{ID: "dev-mac", Addresses: []device.Address{{Kind: device.MAC, Value: "00:00:5e:00:53:01"}}})
	total(3)
	both := pump(9, "B9")
	both.Addresses = append(both.Addresses, device.Address{Kind: device.MAC, Value: "00:00:5e:00:53:01"})
	say(both) // the hardware address joins
	total(2)
	d, err := s.Device(ctx, "dev-mac")
	must(t, err)
	if d.Into == "" || d.Serial != "B9" {
		t.Fatalf("%+v", d)
	}
	_, merges, err := s.Identities(ctx, d.ID)
	must(t, err)
	if len(merges) != 1 {
		t.Fatalf("%+v", merges)
	}
	must(t, s.UndoMerge(ctx, merges[0].ID, "ls", "two labels"))
	total(3)
	say(both) // what people parted stays apart
	total(3)
	for _, w := range []store.Worn{{Device: bare.ID, Kind: "a"}, {Device: "dev-mac", Kind: "a"}, {Device: "dev-mac", Kind: "a", By: "mh"}} {
		w.Sealed = []byte(w.Device)
		must(t, s.KeepWorn(ctx, &w))
	}
	if err := s.KeepWorn(ctx, &store.Worn{Device: "none", Kind: "a", Sealed: []byte{1}}); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	id, err := s.MergeDevices(ctx, bare.ID, "dev-mac", "ls", "I was there")
	must(t, err)
	total(2)
	for _, d := range []string{bare.ID, "dev-mac"} {
		list, err := s.WornBy(ctx, d)
		must(t, err)
		if len(list) != 2 || string(list[0].Sealed) != list[0].Device {
			t.Errorf("%+v", list)
		}
	}
	must(t, s.RemoveWorn(ctx, bare.ID, "a"))
	if err := s.RemoveWorn(ctx, bare.ID, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if list, err := s.WornBy(ctx, bare.ID); err != nil || len(list) != 1 || list[0].By != "mh" {
		t.Error(list, err)
	}
	must(t, s.UndoMerge(ctx, id, "ls", ""))
	total(3)
	if err := s.UndoMerge(ctx, id, "ls", ""); !errors.Is(err, store.ErrConflict) {
		t.Error(err)
	}
}

func weakness(d *device.Device, k finding.Kind, dec finding.Decision) finding.Finding {
	return finding.Finding{
		ID: finding.IDOf(k, d.ID), Kind: k, Title: finding.Kinds[k].Title, Device: d.ID, Harm: device.Catastrophic, Decision: dec,
		Count: 3, First: 1, Last: 5, CVE: []string{"CVE-2026-0001"}, Sightings: []finding.Sighting{{Time: 1, Packet: 7}},
	}
}

func findings(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	for i := range 60 {
		d := pump(i, fmt.Sprint("F", i))
		b.Devices = append(b.Devices, d)
		b.Findings = append(b.Findings, weakness(&d, finding.TherapyCommandUnauthenticated, finding.Decision(i%4)), weakness(&d, finding.PHIInClear, finding.Track))
	}
	w, err := s.Write(ctx, b)
	must(t, err)
	if len(w.Findings) != 120 {
		t.Fatalf("%d findings are new", len(w.Findings))
	}
	open := store.FindingQuery{State: []string{store.Open}, Facets: true}
	l, err := s.Findings(ctx, open)
	must(t, err)
	if l.Total != 120 || len(l.Rows) != 50 || l.Rows[0].Decision != finding.Act {
		t.Fatalf("%d of %d, first %v", len(l.Rows), l.Total, l.Rows[0].Decision)
	}
	n := 0
	must(t, s.EachFinding(ctx, open, func(*store.Finding) error { n++; return nil }))
	if n != 120 {
		t.Fatalf("export has %d", n)
	}
	act := open
	act.Decision = []string{"act"}
	l, err = s.Findings(ctx, act)
	must(t, err)
	facet := func(of, value string) int {
		for _, f := range l.Facets {
			if f.Of == of && f.Value == value {
				return f.Count
			}
		}
		return 0
	}
	if l.Total != 15 || facet("decision", "track") != 75 || facet("kind", "phi-in-clear") != 0 || facet("kind", "therapy-command-unauthenticated") != 15 {
		t.Fatalf("%d, %+v", l.Total, l.Facets)
	}
	bulk, n, err := s.Triage(ctx, store.Triage{All: &act, State: store.Acknowledged, Reason: "known", By: "te"})
	must(t, err)
	if n != 15 {
		t.Fatalf("%d changed", n)
	}
	l, err = s.Findings(ctx, act)
	must(t, err)
	if l.Total != 0 || len(l.Rows) != 0 {
		t.Fatalf("%d left", l.Total)
	}
	one := w.Findings[0]
	for _, id := range w.Findings {
		f, _, err := s.Finding(ctx, id)
		must(t, err)
		if f.State == store.Acknowledged {
			one = id
			break
		}
	}
	_, _, err = s.Triage(ctx, store.Triage{IDs: []string{one}, State: store.Fixed, By: "te"})
	must(t, err)
	n, left, err := s.UndoTriage(ctx, bulk, "te", "the guard was off")
	must(t, err)
	if n != 14 || left != 1 {
		t.Fatalf("%d undone, %d left", n, left)
	}
	for _, id := range w.Findings {
		if _, steps, err := s.Finding(ctx, id); err != nil || steps[0].What == "undo" && steps[0].Reason != "the guard was off" {
			t.Errorf("%+v %v", steps[0], err)
		}
	}
	f, steps, err := s.Finding(ctx, one)
	must(t, err)
	if f.State != store.Fixed || len(steps) != 3 || f.Count != 3 || f.Sightings[0].Packet != 7 {
		t.Fatalf("%+v %+v", f, steps)
	}
	if _, _, err := s.Triage(ctx, store.Triage{IDs: []string{one}, State: store.Open, By: "te", Version: f.Version - 1}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a version from before: %v", err)
	}
	c.t = c.t.Add(time.Hour)
	b.Sequence, b.Devices = 2, nil
	for i := range b.Findings {
		b.Findings[i].Last = c.t.UnixNano()
		b.Findings[i].Count++
	}
	_, err = s.Write(ctx, b)
	must(t, err)
	f, _, err = s.Finding(ctx, one)
	must(t, err)
	if f.State != store.Open || f.Count != 4 {
		t.Fatalf("seen again: %s, %d times", f.State, f.Count)
	}
	d, err := s.Device(ctx, f.Device)
	must(t, err)
	if d.Act+d.Attend+d.TrackStar+d.Track != 2 {
		t.Fatalf("%+v", d)
	}
	for _, q := range []store.FindingQuery{{CVE: "cve-2026-0001"}, {Words: "flow pump", Device: []string{f.Device}}, {Words: "CVE-2026-0001", Device: []string{f.Device}}, {Device: []string{f.Device}, Facets: true}, {Products: []string{"Norra Medical Flow 500"}, CVE: "cve-2026-0001"}} {
		l, err := s.Findings(ctx, q)
		must(t, err)
		if l.Total == 0 && q.Words != "flow pump" {
			t.Errorf("%+v finds nothing", q)
		}
	}
	ward := "Neonatology"
	must(t, s.EditDevice(ctx, store.DeviceEdit{ID: f.Device, Ward: &ward, By: "te"}))
	for words, want := range map[string]int{"neonat": 2, "cve-2026-0001 neonat": 2} { // what its device is called
		if l, err := s.Findings(ctx, store.FindingQuery{Words: words}); err != nil || l.Total != want {
			t.Errorf("%s: %v, %d findings, want %d", words, err, l.Total, want)
		}
	}
	cells, act2, err := s.Matrix(ctx)
	must(t, err)
	if len(cells) != 4 || act2 != 15 {
		t.Errorf("%+v, %d", cells, act2)
	}
	notices, err := s.Notices(ctx, 0, 1000)
	must(t, err)
	if len(notices) < 120 {
		t.Errorf("%d notices", len(notices))
	}
}

func verdicts(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "gw-icu", "", c.t)
	b := &store.Batch{Sensor: "gw-icu", Sequence: 1, HeldToo: true, Held: []store.Held{{ID: "h1", Device: "pump-3", Expires: 9}}}
	for i := range 70 {
		e := event.Event{Kind: event.VerdictGiven, Time: c.t.UnixNano() + int64(i), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
		e.Add(event.Int(event.Verdict, device.Verdict(1+i%3)), event.Int(event.Verb, device.SetInfusionRate), event.Text(event.Reason, "line 12"))
		b.Events = append(b.Events, e)
	}
	w, err := s.Write(ctx, b)
	must(t, err)
	if len(w.Verdicts) != 70 || !w.Held {
		t.Fatalf("%d verdicts, %v", len(w.Verdicts), w.Held)
	}
	l, err := s.Verdicts(ctx, store.VerdictQuery{Verdict: "deny"})
	must(t, err)
	if l.Total != 23 && l.Total != 24 || l.Rows[0].Text(event.Reason) != "line 12" {
		t.Fatalf("%d", l.Total)
	}
	held, err := s.HeldCommands(ctx)
	must(t, err)
	if len(held) != 1 || held[0].Guard != "gw-icu" {
		t.Fatalf("%+v", held)
	}
	b = &store.Batch{Sensor: "gw-icu", Sequence: 2, HeldToo: true}
	w, err = s.Write(ctx, b)
	must(t, err)
	if held, _ := s.HeldCommands(ctx); !w.Held || len(held) != 0 {
		t.Fatalf("%+v", held)
	}

	// What holds there is as it was said last; and is not once the guard is revoked.
	for i, doc := range []string{`{"a":1}`, `{"a":2}`, ""} {
		b := &store.Batch{Sensor: "gw-icu", Sequence: uint64(3 + i), StateNews: i == 1}
		if doc != "" {
			b.State = []byte(doc)
		}
		if w, err = s.Write(ctx, b); err != nil || w.Held != b.StateNews {
			t.Fatal(w, err)
		}
	}
	states, err := s.GuardStates(ctx)
	if err != nil || len(states) != 1 || states[0].Guard != "gw-icu" || states[0].At != c.t.UnixNano() || string(states[0].Doc) != `{"a":2}` {
		t.Fatalf("%+v, %v", states, err)
	}
	a := store.Approval{Guard: "gw-icu", Device: "pump-3", Digest: "ab", Person: "mh", Role: "prescriber", Reason: "read", At: 5}
	must(t, s.Approve(ctx, &a))
	other := a
	other.Reason = "another"
	if err := s.Approve(ctx, &other); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("approved twice: %v", err)
	}
	other.Person, other.At = "kp", 6
	must(t, s.Approve(ctx, &other))
	list, err := s.Approvals(ctx, "gw-icu", "pump-3")
	if err != nil || len(list) != 2 || list[0] != other || list[1] != a {
		t.Fatalf("%+v, %v", list, err)
	}
	if list, err := s.Approvals(ctx, "", ""); err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	three := pump(3, "SN-3")
	three.Name = "pump-3"
	b = &store.Batch{Sensor: "gw-icu", Sequence: 9, Devices: []device.Device{three}}
	w, err = s.Write(ctx, b)
	must(t, err)
	if d, err := s.Called(ctx, "pump-3", ""); err != nil || d.ID != w.Devices[0] {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := s.Called(ctx, "pump-4", ""); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	must(t, s.RevokeSensor(ctx, "gw-icu"))
	if states, err := s.GuardStates(ctx); err != nil || len(states) != 0 {
		t.Fatalf("%+v, %v", states, err)
	}
}

func people(t *testing.T, s *store.Store, c *clock) {
	ctx := context.Background()
	if no, err := s.Nobody(ctx); err != nil || !no {
		t.Fatal(no, err)
	}
	p := &store.Person{Login: "te", Name: "Tomas Eklund", Roles: 3}
	must(t, s.SavePerson(ctx, p))
	if err := s.SavePerson(ctx, &store.Person{Login: "te"}); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	stale := *p
	p.Disabled = true
	must(t, s.SavePerson(ctx, p))
	if err := s.SavePerson(ctx, &stale); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	other := &store.Person{Login: "bo", Name: "Bo Lund", Subject: "https://id.example 7"}
	must(t, s.SavePerson(ctx, other))
	taken, named := *p, *p
	taken.Subject, named.Login = other.Subject, other.Login
	for _, q := range []*store.Person{{Login: "cy", Subject: other.Subject}, &taken, &named} {
		if err := s.SavePerson(ctx, q); !errors.Is(err, store.ErrConflict) {
			t.Fatal(q.Login, err)
		}
	}
	if got, err := s.PersonOfSubject(ctx, other.Subject); err != nil || got.Login != "bo" {
		t.Fatal(got, err)
	}
	if _, err := s.PersonOfSubject(ctx, ""); !errors.Is(err, store.ErrNotFound) {
		t.Fatal("whoever has no subject has the empty one", err)
	}
	got, err := s.Person(ctx, "te")
	must(t, err)
	if !got.Disabled || got.ID != p.ID || got.Version != 2 {
		t.Fatalf("%+v", got)
	}
	tok := &store.Token{Person: p.ID, Hash: []byte{1}, Scopes: []string{"read", "triage"}, Expires: c.t.Add(time.Hour).UnixNano()}
	must(t, s.AddToken(ctx, tok))
	if got, err := s.TokenOf(ctx, []byte{1}); err != nil || len(got.Scopes) != 2 {
		t.Fatal(got, err)
	}
	for _, n := range []struct {
		token  string
		person int64
		until  time.Duration
	}{{"s", p.ID, time.Hour}, {"ended", p.ID, time.Hour}, {"nobody's", 0, time.Hour}, {"long", p.ID, 2 * time.Hour}, {"over", p.ID, 0}} {
		must(t, s.KeepSession(ctx, n.token, n.person, []byte(n.token), c.t.Add(n.until)))
	}
	must(t, s.EndSession(ctx, "ended"))
	must(t, s.KeepSession(ctx, "ended", p.ID, []byte("again"), c.t.Add(time.Hour)))
	if _, ok, err := s.FindSession(ctx, "ended"); ok || err != nil {
		t.Fatal("a session that was ended is there again", err)
	}
	if list, err := s.Sessions(ctx, p.ID); err != nil || len(list) != 2 || list[0].Token != "long" || string(list[1].Doc) != "s" {
		t.Fatal(list, err)
	}
	must(t, s.SetSetting(ctx, "a", nil, []byte("1")))
	if err := s.SetSetting(ctx, "a", nil, []byte("2")); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	must(t, s.SetSetting(ctx, "a", []byte("1"), []byte("2")))
	for i, want := range []bool{true, false} {
		if ok, err := s.Lease(ctx, "daily", fmt.Sprint(i), time.Minute); err != nil || ok != want {
			t.Fatal(i, ok, err)
		}
	}
	c.t = c.t.Add(2 * time.Hour)
	if ok, err := s.Lease(ctx, "daily", "1", time.Minute); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := s.TokenOf(ctx, []byte{1}); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if _, ok, err := s.FindSession(ctx, "s"); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := s.Retain(ctx, map[string]time.Duration{"observations": time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Counts(ctx); err != nil {
		t.Fatal(err)
	}
}

func sensors(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	if _, err := s.Enrol(ctx, []byte("icu"), "again", "key"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal("a token worked twice: ", err)
	}
	must(t, s.RevokeSensor(ctx, "icu"))
	if _, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 1}); !errors.Is(err, store.ErrNotFound) {
		t.Fatal("a sensor that was revoked writes: ", err)
	}
	fresh, err := s.AddDocument(ctx, &store.Document{Digest: "d1", Kind: "csaf", Name: "ada-2026-01.json", ID: "ADA-2026-01", Products: []string{"Flow 500"}}, []byte("{}"))
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	l, err := s.Documents(ctx, []string{"csaf"}, "ADA", store.Page{})
	must(t, err)
	if l.Total != 1 || l.Rows[0].Bytes != 2 {
		t.Fatalf("%+v", l)
	}
	if _, b, err := s.Content(ctx, "d1"); err != nil || string(b) != "{}" {
		t.Fatal(err)
	}
	must(t, s.RemoveDocument(ctx, "d1"))
	if _, _, err := s.Content(ctx, "d1"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
}

func answers(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	begin := func(want string) {
		t.Helper()
		got := "mine"
		a, err := s.BeginAnswer(ctx, "k", []byte{1})
		must(t, err)
		if a != nil {
			got = string(a.Sum) + "|" + string(a.Done)
		}
		if got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	begin("mine")
	begin("\x01|") // somebody else is at it
	c.t = c.t.Add(time.Minute)
	begin("mine") // who died
	must(t, s.KeepAnswer(ctx, "k", []byte("x"), 24*time.Hour))
	c.t = c.t.Add(24*time.Hour - 1)
	begin("\x01|x")
	c.t = c.t.Add(1)
	begin("mine")
	must(t, s.KeepAnswer(ctx, "k", nil, 0))
	begin("mine")
	c.t = c.t.Add(time.Minute)
	_, err := s.Retain(ctx, nil)
	must(t, err)
	if err := s.KeepAnswer(ctx, "k", []byte("x"), time.Hour); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
}
