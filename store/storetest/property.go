// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// A fataler is a test, or a run of a property.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A model is what a store should hold, worked out slowly.
type model struct {
	s        *store.Store
	c        *clock
	sequence map[string]uint64
	devices  map[string]bool // all ids that there ever were
	state    map[string]string
	assignee map[string]string
	packets  uint64
	bytes    uint64
	sessions uint64
	said     []device.Device
	merges   []int64
	splits   map[int64]parted
	triages  []int64
}

// A parted is a split that a person made, with the names of both sides.
type parted struct {
	kept, gone string
	off, stay  []store.Identity
	undone     bool
}

// property does at random what sensors and people do, and then compares all that is
// kept prepared with what follows from the rows.
func property(t *testing.T, open func(t *testing.T, now func() time.Time) *store.Store) {
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		checks := "12"
		if testing.Short() {
			checks = "4"
		}
		must(t, flag.Set("rapid.checks", checks))
	}
	rapid.Check(t, func(r *rapid.T) {
		c := &clock{time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)}
		m := &model{s: open(t, c.now), c: c, sequence: map[string]uint64{}, devices: map[string]bool{}, state: map[string]string{}, assignee: map[string]string{}, splits: map[int64]parted{}}
		defer m.s.Close()
		for _, id := range []string{"icu", "lab"} {
			enrol(t, m.s, id, map[string]string{"icu": "north", "lab": "south"}[id], c.t)
		}
		steps := map[string]func(*rapid.T){"batch": m.batch, "batch again": m.batch, "triage": m.triage, "undo triage": m.undoTriage, "merge": m.merge, "part": m.part, "split": m.split, "split again": m.split, "undo split": m.undoSplit, "edit": m.edit}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			c.t = c.t.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Hour)).Draw(r, "wait")))
			steps[rapid.SampledFrom(slices.Sorted(maps.Keys(steps))).Draw(r, "step")](r)
		}
		m.check(r)
	})
}

func (m *model) address(r *rapid.T) device.Address {
	n := rapid.IntRange(1, 9).Draw(r, "address")
	return rapid.SampledFrom([]device.Address{
		{Kind: device.IP, Value: fmt.Sprint("10.0.0.", n)},
		{Kind: device.MAC, Value: fmt.Sprint("00:00:5e:00:53:0", n)},
		{Kind: device.MAC, Value: fmt.Sprint("02:00:5e:00:53:0", n)},
		{Kind: device.Host, Value: fmt.Sprint("pump-", n)},
		{Kind: device.AET, Value: fmt.Sprint("CT", n)},
	}).Draw(r, "of")
}

func (m *model) batch(r *rapid.T) {
	b := &store.Batch{Sensor: rapid.SampledFrom([]string{"icu", "lab"}).Draw(r, "sensor")}
	m.sequence[b.Sensor]++
	b.Sequence = m.sequence[b.Sensor]
	for range rapid.IntRange(0, 3).Draw(r, "devices") {
		d := device.Device{
			ID: fmt.Sprint("dev-", rapid.IntRange(1, 9).Draw(r, "id")), Medical: rapid.Bool().Draw(r, "medical"),
			Product: device.Product{Therapy: device.Therapy(rapid.IntRange(0, 8).Draw(r, "therapy")), Harm: device.Harm(rapid.IntRange(0, 5).Draw(r, "harm"))},
			Ward:    rapid.SampledFrom([]string{"", "ICU", "lab"}).Draw(r, "ward"),
		}
		if rapid.Bool().Draw(r, "made") {
			d.Manufacturer, d.Model, d.Serial = "Norra", "Flow", fmt.Sprint("S", rapid.IntRange(1, 6).Draw(r, "serial"))
		}
		for range rapid.IntRange(0, 3).Draw(r, "addresses") {
			d.Addresses = append(d.Addresses, m.address(r))
		}
		b.Devices = append(b.Devices, d)
	}
	m.said = append(m.said, b.Devices...)
	for range rapid.IntRange(0, 2).Draw(r, "devices again") { // sensors say the same again and again
		if len(m.said) > 0 {
			d := rapid.SampledFrom(m.said).Draw(r, "again")
			d.ID = rapid.SampledFrom([]string{d.ID, d.ID, "dev-1"}).Draw(r, "id again")
			b.Devices = append(b.Devices, d)
		}
	}
	for range rapid.IntRange(0, 4).Draw(r, "observations") {
		o := store.Observation{
			Client: m.address(r), Server: m.address(r), Protocol: "hl7", Port: 2575, First: m.c.t.UnixNano(), Last: m.c.t.UnixNano(),
			Count: 1, Packets: rapid.Uint64Range(1, 9).Draw(r, "packets"), Bytes: 100, Encrypted: rapid.Bool().Draw(r, "encrypted"),
		}
		m.sessions, m.packets, m.bytes = m.sessions+1, m.packets+o.Packets, m.bytes+o.Bytes
		b.Observations = append(b.Observations, o)
	}
	for range rapid.IntRange(0, 4).Draw(r, "findings") {
		at := fmt.Sprint("dev-", rapid.IntRange(1, 9).Draw(r, "at"))
		k := rapid.SampledFrom([]finding.Kind{finding.WeakTLS, finding.PHIInClear}).Draw(r, "kind")
		if rapid.IntRange(0, 9).Draw(r, "of a product") == 0 {
			at = ""
		}
		f := finding.Finding{
			ID: finding.IDOf(k, b.Sensor, at), Kind: k, Title: "a title", Device: at, Harm: device.Harm(rapid.IntRange(0, 5).Draw(r, "harm of it")), Decision: finding.Decision(rapid.IntRange(0, 3).Draw(r, "decision")),
			EPSS: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(r, "EPSS"), Count: 1, First: m.c.t.UnixNano(), Last: m.c.t.UnixNano(),
		}
		if at == "" {
			f.Product = "Norra Flow"
		}
		if m.state[f.ID] == "" || m.state[f.ID] == store.Fixed {
			m.state[f.ID] = store.Open
		}
		b.Findings = append(b.Findings, f)
	}
	before := m.joined(r)
	for i := range 2 {
		w, err := m.s.Write(context.Background(), b)
		must(r, err)
		if w.Fresh != (i == 0) {
			r.Fatalf("batch written %d times", i+1)
		}
		for _, id := range w.Devices {
			m.devices[id] = true
		}
	}
	for what := range m.joined(r) {
		if !before[what] {
			r.Fatalf("a sensor joined %s", what)
		}
	}
	m.c.t = m.c.t.Add(time.Nanosecond) // what is seen next is later
}

// joined are the names that are of one device although a split that holds has one of
// them on each side, or has one off from that device. What people merged may be.
func (m *model) joined(r *rapid.T) map[string]bool {
	out := map[string]bool{}
	at := map[string]string{} // root, by name
	key := func(n *store.Identity) string { return n.Site + " " + n.Kind + " " + n.Value }
	devices, _ := everything(r, m.s)
	for id := range devices {
		names, _, err := m.s.Identities(context.Background(), id)
		must(r, err)
		for i := range names {
			if names[i].Live {
				at[key(&names[i])] = id
			}
		}
	}
	for number, x := range m.splits {
		kept, err := m.s.Device(context.Background(), x.kept)
		must(r, err)
		gone, err := m.s.Device(context.Background(), x.gone)
		must(r, err)
		if x.undone || kept.ID == gone.ID {
			continue
		}
		for i := range x.off {
			root := at[key(&x.off[i])]
			if root == kept.ID {
				out[fmt.Sprintf("%s with the device that split %d took it from", key(&x.off[i]), number)] = true
			}
			for k := range x.stay {
				if root == at[key(&x.stay[k])] {
					out[fmt.Sprintf("%s with %s, split %d", key(&x.off[i]), key(&x.stay[k]), number)] = true
				}
			}
		}
	}
	return out
}

func (m *model) split(r *rapid.T) {
	devices, _ := everything(r, m.s)
	maps.DeleteFunc(devices, func(_ string, d store.Device) bool { return len(d.Addresses) < 2 })
	if len(devices) == 0 {
		return
	}
	d := devices[rapid.SampledFrom(slices.Sorted(maps.Keys(devices))).Draw(r, "device")]
	names, _, err := m.s.Identities(context.Background(), d.ID)
	must(r, err)
	var ids []int64
	x := parted{kept: d.ID}
	left := false
	for _, n := range names {
		switch {
		case !n.Splits() || rapid.Bool().Draw(r, "stays"):
			left = left || n.Live && n.Kind != "dev"
			if n.Splits() {
				x.stay = append(x.stay, n)
			}
		default:
			ids, x.off = append(ids, n.ID), append(x.off, n)
		}
	}
	number, gone, err := m.s.SplitDevice(context.Background(), d.ID, ids, "le", "two labels")
	switch {
	case len(ids) == 0 && errors.Is(err, store.ErrConflict), len(ids) > 0 && !left && errors.Is(err, store.ErrWhole):
		return
	case len(ids) == 0 || !left:
		r.Fatalf("%v, with %v of %v", err, ids, names)
	}
	must(r, err)
	x.gone = gone
	m.splits[number], m.devices[gone] = x, true
	if now, err := m.s.Device(context.Background(), gone); err != nil || now.ID != gone || len(now.Addresses) != len(x.off) {
		r.Fatalf("%+v, %v, of %v", now, err, x.off)
	}
}

func (m *model) undoSplit(r *rapid.T) {
	if len(m.splits) == 0 {
		return
	}
	number := rapid.SampledFrom(slices.Sorted(maps.Keys(m.splits))).Draw(r, "split of these")
	x := m.splits[number]
	err := m.s.UndoSplit(context.Background(), number, "le", "")
	if x.undone {
		if !errors.Is(err, store.ErrConflict) {
			r.Fatalf("undone again: %v", err)
		}
		return
	}
	must(r, err)
	x.undone = true
	m.splits[number] = x
	if gone, err := m.s.Device(context.Background(), x.gone); err != nil || gone.ID == x.gone {
		r.Fatalf("it is still a device of its own: %+v, %v", gone, err)
	}
}

func (m *model) triage(r *rapid.T) {
	t := store.Triage{By: "te", State: rapid.SampledFrom([]string{"", store.Open, store.Acknowledged, store.Mitigated, store.Fixed, store.FalsePositive}).Draw(r, "state")}
	if rapid.Bool().Draw(r, "assign") {
		who := rapid.SampledFrom([]string{"", "te", "ls"}).Draw(r, "assignee")
		t.Assignee = &who
	}
	all := slices.Sorted(maps.Keys(m.state))
	if len(all) == 0 {
		return
	}
	if rapid.Bool().Draw(r, "all of a list") {
		t.All = &store.FindingQuery{State: []string{rapid.SampledFrom([]string{store.Open, store.Fixed}).Draw(r, "those")}}
		for _, id := range all {
			if m.state[id] == t.All.State[0] {
				t.IDs = append(t.IDs, id)
			}
		}
	} else {
		t.IDs = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, min(4, len(all)), rapid.ID).Draw(r, "ids")
	}
	want := 0
	for _, id := range t.IDs {
		if t.State != "" && m.state[id] != t.State || t.Assignee != nil && m.assignee[id] != *t.Assignee {
			want++
		}
		if t.State != "" {
			m.state[id] = t.State
		}
		if t.Assignee != nil {
			m.assignee[id] = *t.Assignee
		}
	}
	bulk, n, err := m.s.Triage(context.Background(), t)
	must(r, err)
	if n != want || (bulk > 0) != (n > 0) {
		r.Fatalf("%d changed, want %d", n, want)
	}
	if bulk > 0 {
		m.triages = append(m.triages, bulk)
	}
	m.c.t = m.c.t.Add(time.Nanosecond)
}

// undoTriage takes over what the store says that it undid: what it should have is what
// each finding's own history says.
func (m *model) undoTriage(r *rapid.T) {
	if len(m.triages) == 0 {
		return
	}
	bulk := rapid.SampledFrom(m.triages).Draw(r, "triage")
	want := map[string]map[string]string{"state": {}, "assign": {}}
	for id := range m.state {
		_, steps, err := m.s.Finding(context.Background(), id)
		must(r, err)
		later := map[string]bool{} // the newest comes first
		undone := map[int64]bool{}
		for _, st := range steps {
			if st.Undoes != 0 {
				undone[st.Undoes] = true
				continue
			}
			if st.Bulk == bulk && !later[st.What] && !undone[st.ID] && want[st.What] != nil {
				want[st.What][id] = st.From
			}
			later[st.What] = true
		}
	}
	n, _, err := m.s.UndoTriage(context.Background(), bulk, "te", "")
	must(r, err)
	if n != len(want["state"])+len(want["assign"]) {
		r.Fatalf("%d undone; want %v", n, want)
	}
	maps.Copy(m.state, want["state"])
	maps.Copy(m.assignee, want["assign"])
	m.c.t = m.c.t.Add(time.Nanosecond)
}

func (m *model) merge(r *rapid.T) {
	all := slices.Sorted(maps.Keys(m.devices))
	if len(all) < 2 {
		return
	}
	two := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 2, 2, rapid.ID).Draw(r, "two")
	id, err := m.s.MergeDevices(context.Background(), two[0], two[1], "le", "I was there")
	if errors.Is(err, store.ErrConflict) {
		return // they are one
	}
	must(r, err)
	m.merges = append(m.merges, id)
}

func (m *model) part(r *rapid.T) {
	all := m.merges
	for id := range m.devices {
		_, list, err := m.s.Identities(context.Background(), id)
		must(r, err)
		for _, x := range list {
			all = append(all, x.ID)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	if err := m.s.UndoMerge(context.Background(), rapid.SampledFrom(slices.Compact(all)).Draw(r, "merge"), "le", ""); !errors.Is(err, store.ErrConflict) {
		must(r, err)
	}
}

func (m *model) edit(r *rapid.T) {
	l, err := m.s.Devices(context.Background(), store.DeviceQuery{Sort: "name"})
	must(r, err)
	if len(l.Rows) == 0 {
		return
	}
	ward, name := rapid.SampledFrom([]string{"", "OR", "ICU"}).Draw(r, "ward"), rapid.SampledFrom([]string{"", "our pump"}).Draw(r, "name")
	must(r, m.s.EditDevice(context.Background(), store.DeviceEdit{ID: rapid.SampledFrom(l.Rows).Draw(r, "device").ID, Ward: &ward, Name: &name, By: "le"}))
}

// check compares.
func (m *model) check(t fataler) {
	t.Helper()
	ctx := context.Background()
	devices, findings := everything(t, m.s)
	for id, want := range m.state {
		f, ok := findings[id]
		if !ok || f.State != want || f.Assignee != m.assignee[id] {
			t.Fatalf("finding %s is %q of %q; want %q of %q", id, f.State, f.Assignee, want, m.assignee[id])
		}
	}
	consistent(t, m.s, devices, findings)
	// roots follow from the records of merges, and of splits that were undone, alone
	parent := map[string]string{}
	find := func(id string) string {
		for parent[id] != "" {
			id = parent[id]
		}
		return id
	}
	seen := map[int64]bool{}
	var merges []store.Merge
	for id := range devices {
		_, list, err := m.s.Identities(ctx, id)
		must(t, err)
		for _, x := range list {
			if !seen[x.ID] && x.UndoneAt == 0 {
				merges = append(merges, x)
			}
			seen[x.ID] = true
			m.devices[x.Kept], m.devices[x.Gone] = true, true // those that were never a device of their own, too
		}
	}
	for _, x := range merges {
		if k, g := find(x.Kept), find(x.Gone); k != g {
			parent[g] = k
		}
	}
	splits := map[int64]bool{}
	for id := range m.devices {
		list, err := m.s.SplitsOf(ctx, id)
		must(t, err)
		for _, x := range list {
			if splits[x.ID] = true; m.splits[x.ID].undone != (x.UndoneAt != 0) || m.splits[x.ID].gone != x.Gone {
				t.Fatalf("%+v; want %+v", x, m.splits[x.ID])
			}
			if k, g := find(x.Kept), find(x.Gone); x.UndoneAt != 0 && k != g {
				parent[g] = k
			}
		}
	}
	if len(splits) != len(m.splits) {
		t.Fatalf("%d records of splits, want %d", len(splits), len(m.splits))
	}
	roots := map[string]string{}
	for id := range m.devices {
		d, err := m.s.Device(ctx, id)
		must(t, err)
		if other, ok := roots[find(id)]; ok && other != d.ID {
			t.Fatalf("%s is in %s, and what hangs together with it in %s", id, d.ID, other)
		}
		roots[find(id)] = d.ID
	}
	if got := len(slices.Compact(slices.Sorted(maps.Values(roots)))); got != len(roots) || got != len(devices) {
		t.Fatalf("%d devices are shown, %d are roots, %d hang together", len(devices), got, len(roots))
	}
	links, err := m.s.Links(ctx, "", 0, 1000)
	must(t, err)
	var packets, bytes, sessions uint64
	for _, l := range links {
		packets, bytes, sessions = packets+l.Packets, bytes+l.Bytes, sessions+l.Clear+l.Sealed
		if _, ok := devices[l.Device]; !ok {
			t.Fatalf("a link of %s, which is no device", l.Device)
		}
	}
	if packets != m.packets || bytes != m.bytes || sessions != m.sessions {
		t.Fatalf("talk: %d packets, %d bytes, %d sessions; want %d, %d, %d", packets, bytes, sessions, m.packets, m.bytes, m.sessions)
	}
}

// everything walks both lists.
func everything(t fataler, s *store.Store) (map[string]store.Device, map[string]store.Finding) {
	t.Helper()
	ctx := context.Background()
	devices := map[string]store.Device{}
	for q := (store.DeviceQuery{Page: store.Page{Limit: 7}}); ; {
		l, err := s.Devices(ctx, q)
		must(t, err)
		for _, d := range l.Rows {
			if _, twice := devices[d.ID]; twice {
				t.Fatalf("device %s twice", d.ID)
			}
			devices[d.ID] = d
		}
		if q.After = l.Next; q.After == "" {
			break
		}
	}
	findings := map[string]store.Finding{}
	must(t, s.EachFinding(ctx, store.FindingQuery{}, func(f *store.Finding) error {
		if _, twice := findings[f.ID]; twice {
			t.Fatalf("finding %s twice", f.ID)
		}
		findings[f.ID] = *f
		return nil
	}))
	return devices, findings
}

// consistent compares what is counted and copied with the rows of both lists.
func consistent(t fataler, s *store.Store, devices map[string]store.Device, findings map[string]store.Finding) {
	t.Helper()
	ctx := context.Background()
	type open struct{ act, attend, trackStar, track int }
	counts := map[string]*open{}
	values := func(f store.Finding) map[string]string {
		return map[string]string{"state": f.State, "decision": f.Decision.String(), "harm": f.Harm.String(), "kind": f.Kind.String(), "ward": f.Ward, "site": f.Site}
	}
	for id, f := range findings {
		if f.Device == "" {
			continue
		}
		d, ok := devices[f.Device]
		if !ok {
			t.Fatalf("finding %s is at %s, which is no device", id, f.Device)
		}
		if f.DeviceName != d.Label || f.Ward != d.Ward || f.Site != d.Site {
			t.Fatalf("finding %s is called %q, %q, %q; its device %q, %q, %q", id, f.DeviceName, f.Ward, f.Site, d.Label, d.Ward, d.Site)
		}
		n := counts[f.Device]
		if n == nil {
			n = &open{}
			counts[f.Device] = n
		}
		if f.State == store.Open || f.State == store.Acknowledged {
			*[...]*int{&n.track, &n.trackStar, &n.attend, &n.act}[f.Decision]++
		}
	}
	for id, d := range devices {
		want := counts[id]
		if want == nil {
			want = &open{}
		}
		if got := (open{d.Act, d.Attend, d.TrackStar, d.Track}); got != *want {
			t.Fatalf("device %s counts %+v; want %+v", id, got, *want)
		}
		worst := ""
		for i, n := range [...]int{want.track, want.trackStar, want.attend, want.act} {
			if n > 0 {
				worst = finding.Decision(i).String()
			}
		}
		if d.Worst != worst {
			t.Fatalf("device %s: %q, want %q", id, d.Worst, worst)
		}
	}
	for _, q := range []store.FindingQuery{
		{},
		{State: []string{store.Open}},
		{State: []string{store.Open, store.Acknowledged}, Decision: []string{"act", "track"}},
		{Harm: []string{"serious", "minor"}},
		{Ward: []string{"ICU"}},
		{Kind: []string{"weak-tls"}, Ward: []string{"lab", ""}},
		{Site: []string{"north"}, State: []string{store.Fixed}},
		{State: []string{"no such state"}},
	} {
		q.Facets = true
		for _, sort := range []string{"", "last", "first", "device", "kind"} {
			q.Sort = sort
			l, err := s.Findings(ctx, q)
			must(t, err)
			fields := map[string][]string{"state": q.State, "decision": q.Decision, "harm": q.Harm, "kind": q.Kind, "ward": q.Ward, "site": q.Site}
			want := map[store.Facet]int{}
			total := 0
			for _, f := range findings {
				v := values(f)
				missed := []string{}
				for of, list := range fields {
					if len(list) > 0 && !slices.Contains(list, v[of]) {
						missed = append(missed, of)
					}
				}
				if len(missed) == 0 {
					total++
				}
				for of := range fields {
					if len(missed) == 0 || len(missed) == 1 && missed[0] == of {
						want[store.Facet{Of: of, Value: v[of]}]++
					}
				}
			}
			if l.Total != total || len(l.Rows) != min(total, 50) {
				t.Fatalf("%+v: %d rows of %d; want %d", q, len(l.Rows), l.Total, total)
			}
			same(t, fmt.Sprintf("%+v", q), l.Facets, want)
		}
	}
	for _, q := range []store.DeviceQuery{{}, {Ward: "ICU"}, {Harm: "serious"}, {Medical: true}, {Site: "north", Therapy: "pacing"}} {
		l, err := s.Devices(ctx, q)
		must(t, err)
		want := map[store.Facet]int{}
		total := 0
		for _, d := range devices {
			if q.Medical && !d.Medical {
				continue
			}
			v := map[string]string{"site": d.Site, "ward": d.Ward, "therapy": d.Therapy.String(), "harm": d.Harm.String(), "worst": d.Worst}
			missed := []string{}
			for of, value := range map[string]string{"site": q.Site, "ward": q.Ward, "therapy": q.Therapy, "harm": q.Harm} {
				if value != "" && v[of] != value {
					missed = append(missed, of)
				}
			}
			if len(missed) == 0 {
				total++
			}
			for of := range v {
				if len(missed) == 0 || len(missed) == 1 && missed[0] == of {
					want[store.Facet{Of: of, Value: v[of]}]++
				}
			}
		}
		if l.Total != total || len(l.Rows) != min(total, 50) {
			t.Fatalf("%+v: %d rows of %d; want %d", q, len(l.Rows), l.Total, total)
		}
		same(t, fmt.Sprintf("%+v", q), l.Facets, want)
	}
	for _, d := range []string{"act", "attend", "track*", "track"} {
		l, err := s.Devices(ctx, store.DeviceQuery{Decision: d})
		must(t, err)
		want := 0
		for _, x := range devices {
			if map[string]int{"act": x.Act, "attend": x.Attend, "track*": x.TrackStar, "track": x.Track}[d] > 0 {
				want++
			}
		}
		if l.Total != want {
			t.Fatalf("%d devices with %s, want %d", l.Total, d, want)
		}
	}
}

func same(t fataler, what string, got []store.Facet, want map[store.Facet]int) {
	t.Helper()
	sums := map[store.Facet]int{}
	for _, f := range got {
		if f.Count > 0 {
			sums[store.Facet{Of: f.Of, Value: f.Value}] = f.Count
		}
	}
	if !maps.Equal(sums, want) {
		t.Fatalf("%s: facets %v; want %v", what, sums, want)
	}
}
