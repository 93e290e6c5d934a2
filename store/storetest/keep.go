// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// retention keeps what is young, open, or seen since, and keeps the counts right.
func retention(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	sequence := uint64(0)
	say := func(from, to int) {
		sequence++
		b := &store.Batch{Sensor: "icu", Sequence: sequence}
		for i := from; i < to; i++ {
			d := pump(i, fmt.Sprint("R", i))
			f := weakness(&d, finding.PHIInClear, finding.Attend)
			f.Last = c.t.UnixNano()
			b.Devices, b.Findings = append(b.Devices, d), append(b.Findings, f)
			b.Observations = append(b.Observations, store.Observation{Client: ip("10.1.1.1"), Server: d.Addresses[0], Protocol: "hl7", First: c.t.UnixNano(), Last: c.t.UnixNano(), Count: 1, Packets: 1})
			e := event.Event{Kind: event.VerdictGiven, Time: c.t.UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump"}}
			b.Events = append(b.Events, e)
		}
		_, err := s.Write(ctx, b)
		must(t, err)
	}
	ids := func(from, to int) (out []string) {
		for i := from; i < to; i++ {
			d := pump(i, fmt.Sprint("R", i))
			out = append(out, finding.IDOf(finding.PHIInClear, d.ID))
		}
		return out
	}
	say(0, 8)
	for state, list := range map[string][]string{store.Fixed: ids(0, 2), store.FalsePositive: ids(2, 6), store.Mitigated: ids(6, 7)} {
		_, _, err := s.Triage(ctx, store.Triage{IDs: list, State: state, By: "te"})
		must(t, err)
	}
	c.t = c.t.Add(48 * time.Hour)
	say(5, 6)  // a false positive that is still seen: the decision of a person stays
	say(8, 10) // young
	keep := map[string]time.Duration{}
	if n, err := s.Retain(ctx, keep); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	for _, kind := range store.Kept() {
		keep[kind] = 24 * time.Hour
	}
	n, err := s.Retain(ctx, keep)
	must(t, err)
	// 8 of talk, 8 verdicts, 8 + 7 notices, and findings 0 to 4
	if want := 8 + 8 + 15 + 5; n != want {
		t.Fatalf("%d rows went, want %d", n, want)
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)
	if len(devices) != 11 || len(findings) != 5 {
		t.Fatalf("%d devices and %d findings are left", len(devices), len(findings))
	}
	if f, steps, err := s.Finding(ctx, ids(5, 6)[0]); err != nil || f.State != store.FalsePositive || len(steps) != 2 {
		t.Fatalf("%+v, %v", steps, err)
	}
	if _, _, err := s.Finding(ctx, ids(0, 1)[0]); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	l, err := s.Verdicts(ctx, store.VerdictQuery{})
	must(t, err)
	links, err := s.Links(ctx, "", 0, 100)
	must(t, err)
	if l.Total != 3 || len(links) != 3 {
		t.Fatalf("%d verdicts, %d links", l.Total, len(links))
	}
	say(0, 1) // it comes back: found anew, with a history that begins now
	f, steps, err := s.Finding(ctx, ids(0, 1)[0])
	must(t, err)
	if f.State != store.Open || f.Count != 3 || len(steps) != 1 {
		t.Fatalf("%+v %+v", f, steps)
	}
	if n, err := s.Retain(ctx, keep); err != nil || n != 0 {
		t.Fatal(n, err)
	}
}

// Same compares what two stores show.
func Same(t *testing.T, a, b *store.Store) {
	t.Helper()
	ctx := t.Context()
	devices, findings := everything(t, a)
	devices2, findings2 := everything(t, b)
	if d := cmp.Diff(devices, devices2); d != "" {
		t.Fatalf("devices: %s", d)
	}
	if d := cmp.Diff(findings, findings2); d != "" {
		t.Fatalf("findings: %s", d)
	}
	consistent(t, b, devices2, findings2)
	both := func(what string, f func(s *store.Store) (any, error)) {
		t.Helper()
		x, err := f(a)
		must(t, err)
		y, err := f(b)
		must(t, err)
		if d := cmp.Diff(x, y); d != "" {
			t.Fatalf("%s: %s", what, d)
		}
	}
	both("links", func(s *store.Store) (any, error) { return s.Links(ctx, "", 0, 1000) })
	both("sensors", func(s *store.Store) (any, error) { return s.Sensors(ctx) })
	both("people", func(s *store.Store) (any, error) { return s.People(ctx) })
	both("notices", func(s *store.Store) (any, error) { return s.Notices(ctx, 0, 1000) })
	both("counts", func(s *store.Store) (any, error) { return s.Counts(ctx) })
	both("keys of updates", func(s *store.Store) (any, error) { return s.UpdateKeys(ctx, "", store.Page{Limit: 1000}) })
	both("what devices say of updates", func(s *store.Store) (any, error) { l, _, err := s.UpdateMembers(ctx, 0, 1000); return l, err })
	both("releases", func(s *store.Store) (any, error) { return s.Releases(ctx, nil) })
	both("dependencies", func(s *store.Store) (any, error) { return s.Dependencies(ctx) })
	both("roll-outs", func(s *store.Store) (any, error) { return s.Rollouts(ctx) })
	both("events of roll-outs", func(s *store.Store) (any, error) {
		list, err := s.RolloutEvents(ctx, store.RolloutQuery{})
		var said []string
		for i := range list {
			said = append(said, fmt.Sprintf("%d %s %s %s", list[i].Seq, list[i].Rollout, list[i].Device, event.Append(nil, &list[i].Event)))
		}
		return said, err
	})
	both("states of guards", func(s *store.Store) (any, error) { return s.GuardStates(ctx) })
	both("approvals", func(s *store.Store) (any, error) { return s.Approvals(ctx, "icu", "pump-3") })
	both("held", func(s *store.Store) (any, error) { return s.HeldCommands(ctx) })
	for id := range findings {
		both("history", func(s *store.Store) (any, error) { _, steps, err := s.Finding(ctx, id); return steps, err })
	}
	for id := range devices {
		both("identities", func(s *store.Store) (any, error) { n, _, err := s.Identities(ctx, id); return n, err })
		both("worn", func(s *store.Store) (any, error) { return s.WornBy(ctx, id) })
		both("splits", func(s *store.Store) (any, error) { return s.SplitsOf(ctx, id) })
		both("merges", func(s *store.Store) (any, error) { _, m, err := s.Identities(ctx, id); return m, err })
	}
	for _, words := range []string{"norra", "10.20.3.2", "phi", "ADA"} {
		both("search", func(s *store.Store) (any, error) { return s.Devices(ctx, store.DeviceQuery{Words: words}) })
		both("search", func(s *store.Store) (any, error) { return s.Findings(ctx, store.FindingQuery{Words: words}) })
		both("search", func(s *store.Store) (any, error) { return s.Documents(ctx, nil, words, store.Page{}) })
	}
}

// Some writes something of every kind.
func Some(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	enrol(t, s, "icu", "north", time.Now())
	b := &store.Batch{Sensor: "icu", Sequence: 7, HeldToo: true, Held: []store.Held{{ID: "h1", Device: "pump-3", Expires: 9}}, State: []byte(`{"devices":[]}`), Beat: &store.Beat{Version: "1"}}
	for i := range 20 {
		d := pump(i, fmt.Sprint("C", i))
		b.Devices = append(b.Devices, d)
		b.Findings = append(b.Findings, weakness(&d, finding.PHIInClear, finding.Decision(i%4)))
		b.Observations = append(b.Observations, store.Observation{Client: ip("10.20.3.1"), Server: d.Addresses[0], Protocol: "hl7", First: 1, Last: 1, Count: 1, Packets: 1})
		e := event.Event{Kind: event.VerdictGiven, Time: 1, Device: device.Address{Kind: device.Host, Value: "pump"}}
		b.Events = append(b.Events, e)
	}
	w, err := s.Write(ctx, b)
	must(t, err)
	_, _, err = s.Triage(ctx, store.Triage{IDs: w.Findings[:5], State: store.FalsePositive, Reason: "a \x1f reason", By: "te"})
	must(t, err)
	_, err = s.MergeDevices(ctx, w.Devices[0], w.Devices[1], "le", "one")
	must(t, err)
	_, _, err = s.SplitDevice(ctx, w.Devices[4], numbers(t, s, w.Devices[4], "10.20.3.4"), "le", "two")
	must(t, err)
	ward := "ICU ü"
	must(t, s.EditDevice(ctx, store.DeviceEdit{ID: w.Devices[2], Ward: &ward, By: "le"}))
	must(t, s.KeepWorn(ctx, &store.Worn{Device: w.Devices[3], Kind: "serial", Sealed: []byte{0, 1, 255}, By: "le", At: 5}))
	_, err = s.AddUpdateKeys(ctx, []store.UpdateKey{{Device: w.Devices[3], KID: kid(1), Key: []byte{1, 255}, By: "le"}})
	must(t, err)
	must(t, s.AddRelease(ctx, &store.UpdateRelease{Envelope: "0d", Product: "Norra Medical Flow 500", Version: "2.2.0", Sequence: 8, Path: "a.suit", By: "le", Doc: []byte("{}")}))
	must(t, s.AddRollout(ctx, &store.Rollout{ID: "r", Envelope: "0d", By: "le", Doc: []byte("{}")}))
	must(t, s.SetDependency(ctx, &store.Dependency{Device: w.Devices[3], Word: "high", By: "mh"}))
	must(t, s.KeepUpdates(ctx, []store.UpdateMember{{Device: w.Devices[3], Count: 7, Seen: 5, KID: kid(1), Version: "2.1.4", Sequence: 7, State: []byte{160}}}, []store.RolloutEvent{{Seq: 1, Rollout: "r", Device: w.Devices[3], Event: b.Events[0]}}))
	_, err = s.AddDocument(ctx, &store.Document{Digest: "d1", Kind: "csaf", ID: "ADA-2026-01"}, []byte{0, 255, 10})
	must(t, err)
	p := &store.Person{Login: "te", Name: "Tomas", Roles: 3}
	must(t, s.SavePerson(ctx, p))
	must(t, s.AddToken(ctx, &store.Token{Person: p.ID, Hash: []byte{1}, Scopes: []string{"read"}}))
	must(t, s.SetSetting(ctx, "a", nil, []byte("1")))
	must(t, s.Approve(ctx, &store.Approval{Guard: "icu", Device: "pump-3", Digest: "00", Person: "te", Role: "nurse", Reason: "read", At: 3}))
}

// copies says that what is dumped and restored is the same, goes on, and is all or nothing.
func copies(t *testing.T, open func(t *testing.T, now func() time.Time) *store.Store) {
	ctx := t.Context()
	a, b := open(t, nil), open(t, nil)
	defer a.Close()
	defer b.Close()
	Some(t, a)
	var dump bytes.Buffer
	must(t, a.Dump(ctx, &dump))
	for _, cut := range []int{0, 10, dump.Len() / 2, dump.Len() - 9} {
		if err := b.Restore(ctx, bytes.NewReader(dump.Bytes()[:cut])); err == nil {
			t.Fatalf("a copy cut at %d was restored", cut)
		}
		if n, err := b.Nobody(ctx); err != nil || !n {
			t.Fatal(n, err)
		}
	}
	must(t, b.Restore(ctx, bytes.NewReader(dump.Bytes())))
	Same(t, a, b)
	if err := b.Restore(ctx, bytes.NewReader(dump.Bytes())); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("restored over something: %v", err)
	}
	for _, s := range []*store.Store{a, b} { // keys count on
		d := pump(99, "C99")
		_, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 8, Devices: []device.Device{d}, Findings: []finding.Finding{weakness(&d, finding.WeakTLS, finding.Act)}})
		must(t, err)
		must(t, s.SavePerson(ctx, &store.Person{Login: "ls"}))
		if _, content, err := s.Content(ctx, "d1"); err != nil || !bytes.Equal(content, []byte{0, 255, 10}) {
			t.Fatal(content, err)
		}
		if w, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 7}); err != nil || w.Fresh {
			t.Fatalf("a batch from before the copy was written again: %v", err)
		}
	}
	file := filepath.Join(t.TempDir(), "copy")
	must(t, a.Backup(ctx, file))
	if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 {
		t.Fatal(i.Mode(), err)
	}
	if err := a.Backup(ctx, file); !errors.Is(err, os.ErrExist) {
		t.Fatalf("over another copy: %v", err)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) != 1 {
		t.Fatal(left)
	}
	for _, bad := range []string{"", "SQLite format 3\x00", "\x1f\x8b"} {
		if err := b.Restore(ctx, io.LimitReader(strings.NewReader(bad), 100)); err == nil {
			t.Fatalf("%q was restored", bad)
		}
	}
}

// many has more findings than a page counts: the total says so, and pages have them all.
func many(t *testing.T, s *store.Store, c *clock) {
	enrol(t, s, "icu", "", c.t)
	const all = 2300
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	for i := range all {
		b.Findings = append(b.Findings, finding.Finding{ID: fmt.Sprint("f", i), Kind: finding.WeakTLS, Product: "P", Decision: finding.Decision(i % 4), Count: 1, First: 1, Last: int64(i)})
	}
	_, err := s.Write(t.Context(), b)
	must(t, err)
	since := c.t.Add(-time.Hour).UnixNano()
	for _, q := range []store.FindingQuery{
		{Since: since, Facets: true},
		{Since: since},
		{Since: since, State: []string{store.Open}, Sort: "last"},
		{Products: []string{"P"}, Facets: true},
	} {
		l, err := s.Findings(t.Context(), q)
		must(t, err)
		if l.Total != 2000 || !l.More {
			t.Errorf("%+v: %d, more %v", q, l.Total, l.More)
		}
		q.Exact = true
		seen := map[string]bool{}
		q.Limit = 1000
		for {
			l, err := s.Findings(t.Context(), q)
			must(t, err)
			if l.Total != all || l.More {
				t.Fatalf("%+v: %d, more %v", q, l.Total, l.More)
			}
			for _, f := range l.Rows {
				seen[f.ID] = true
			}
			if q.After = l.Next; q.After == "" {
				break
			}
		}
		if len(seen) != all {
			t.Errorf("%+v: %d of %d", q, len(seen), all)
		}
	}
	if l, err := s.Findings(t.Context(), store.FindingQuery{Since: since, Decision: []string{"act"}}); err != nil || l.Total != all/4 || l.More {
		t.Errorf("%d, %v", l.Total, err)
	}
	if l, err := s.Findings(t.Context(), store.FindingQuery{Since: since, State: []string{store.Fixed}}); err != nil || l.Total != 0 || l.More {
		t.Errorf("%d, %v", l.Total, err)
	}
	if l, err := s.Findings(t.Context(), store.FindingQuery{State: []string{store.Open}}); err != nil || l.Total != all || l.More {
		t.Errorf("%d, %v", l.Total, err)
	}
}

// groups are no devices: addresses of many, of nobody, and what is no address.
func groups(t *testing.T, s *store.Store, c *clock) {
	enrol(t, s, "icu", "", c.t)
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	mac := func(v string) device.Address { return device.Address{Kind: device.MAC, Value: v} }
	d := device.Device{ID: "pump", Serial: "1", Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500"}}
	one := []device.Address{ip("10.20.3.31"), mac("00:1b:21:00:00:01")}
	d.Addresses = append(d.Addresses, one...)
	for _, a := range []device.Address{ip("224.0.0.251"), ip("255.255.255.255"), ip("0.0.0.0"), ip("::"), ip("ff02::fb"), ip("::ffff:239.1.1.1"), ip("pump"), mac("01:00:5e:00:00:fb"), mac("ff:ff:ff:ff:ff:ff"), mac("33:33:00:00:00:fb"), mac("00:00:00:00:00:00"), mac("x")} {
		d.Addresses = append(d.Addresses, a)
		for _, o := range []store.Observation{{Client: one[0], Server: a}, {Client: a, Server: one[0]}} {
			o.Protocol, o.First, o.Last, o.Count = "dns", 1, 1, 1
			b.Observations = append(b.Observations, o)
		}
	}
	b.Observations = append(b.Observations, store.Observation{Client: one[0], Server: ip("10.20.1.5"), Protocol: "hl7", First: 1, Last: 1, Count: 1})
	b.Devices = []device.Device{d}
	_, err := s.Write(t.Context(), b)
	must(t, err)
	l, err := s.Devices(t.Context(), store.DeviceQuery{Sort: "name"})
	must(t, err)
	names, _, err := s.Identities(t.Context(), "pump")
	must(t, err)
	links, err := s.Links(t.Context(), "", 0, 100)
	must(t, err)
	if l.Total != 2 || len(names) != 4 || len(links) != 1 {
		t.Errorf("%d devices, names %+v, links %+v", l.Total, names, links)
	}
}
