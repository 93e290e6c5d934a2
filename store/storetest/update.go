// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

func kid(n int) []byte { return fmt.Appendf(nil, "key%05d", n) }

// updates are keys that speak for devices, and what these say.
func updates(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	add := func(want int, list ...store.UpdateKey) {
		t.Helper()
		n, err := s.AddUpdateKeys(ctx, list)
		must(t, err)
		if n != want {
			t.Fatalf("%d keys were added, want %d", n, want)
		}
	}
	gateway := store.UpdateKey{Device: "pump-3", KID: kid(1), Key: []byte("gateway"), By: "le"}
	second := gateway
	second.Device = "pump-4"
	own := store.UpdateKey{Device: "pump-3", KID: kid(2), Key: []byte("own"), By: "le"}
	add(3, gateway, second, own)
	add(0, gateway, second)
	other := gateway
	other.Key = []byte("another")
	if _, err := s.AddUpdateKeys(ctx, []store.UpdateKey{{Device: "pump-5", KID: kid(3), Key: []byte("x")}, other}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("another key of the same id: %v", err)
	}
	if _, err := s.UpdateKeyOf(ctx, kid(3)); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("half of a list is there: %v", err)
	}
	if m, kids, err := s.UpdateMemberOf(ctx, "pump-3"); err != nil || m != nil || len(kids) != 2 {
		t.Fatal(m, kids, err)
	}
	if _, _, err := s.UpdateMemberOf(ctx, "pump-9"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	var pages []store.UpdateKey
	for p := (store.Page{Limit: 2}); ; {
		l, err := s.UpdateKeys(ctx, "", p)
		must(t, err)
		if pages = append(pages, l.Rows...); l.Total != 3 {
			t.Fatal(l.Total)
		}
		if p.After = l.Next; p.After == "" {
			break
		}
	}
	if len(pages) != 3 || pages[0].Device != "pump-3" || pages[2].Device != "pump-4" || string(pages[1].Key) != "own" || pages[1].At != c.t.UnixNano() {
		t.Fatalf("%+v", pages)
	}

	said := func(device string, count uint64) store.UpdateMember {
		return store.UpdateMember{Device: device, Count: count, Seen: int64(count), KID: kid(1), Version: fmt.Sprint(count), Sequence: count, State: []byte{byte(count)}}
	}
	e := event.Event{Kind: event.PersonActed, Time: 5, Device: device.Address{Kind: device.Host, Value: "server"}}
	e.Add(event.Text(event.Operation, "halt"))
	steps := []store.RolloutEvent{{Seq: 1, Rollout: "r", Device: "pump-3", Event: e}, {Seq: 2, Rollout: "r", Event: e}}
	must(t, s.KeepUpdates(ctx, []store.UpdateMember{said("pump-4", 1), said("pump-3", 7), said("pump-3", 9), said("pump-3", 8)}, steps))
	for _, seq := range []int64{1, 2, 4} {
		steps[0].Seq = seq
		if err := s.KeepUpdates(ctx, []store.UpdateMember{said("pump-4", 99)}, steps[:1]); !errors.Is(err, store.ErrConflict) {
			t.Errorf("event %d after the second: %v", seq, err)
		}
	}
	for _, q := range []struct {
		store.RolloutQuery
		want []int64
	}{
		{store.RolloutQuery{}, []int64{1, 2}},
		{store.RolloutQuery{Rollout: "r", Newest: true}, []int64{2, 1}},
		{store.RolloutQuery{Rollout: "r", Newest: true, After: 2}, []int64{1}},
		{store.RolloutQuery{Device: "pump-3"}, []int64{1}},
		{store.RolloutQuery{Rollout: "r", After: 1}, []int64{2}},
		{store.RolloutQuery{Limit: 1}, []int64{1}},
		{store.RolloutQuery{Rollout: "other"}, nil},
	} {
		list, err := s.RolloutEvents(ctx, q.RolloutQuery)
		must(t, err)
		var got []int64
		for _, e := range list {
			got = append(got, e.Seq)
			if e.Event != steps[1].Event || e.Rollout != "r" {
				t.Errorf("%+v", e)
			}
		}
		if !slices.Equal(got, q.want) {
			t.Errorf("%+v: %v, want %v", q.RolloutQuery, got, q.want)
		}
	}

	// Several at once: each number is written once.
	var all sync.WaitGroup
	wrote := make([]int, 4)
	for i := range wrote {
		all.Go(func() {
			for seq := int64(3); seq < 23; seq++ {
				err := s.KeepUpdates(ctx, nil, []store.RolloutEvent{{Seq: seq, Rollout: "r", Event: e}})
				if err == nil {
					wrote[i]++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Errorf("event %d: %v", seq, err)
				}
			}
		})
	}
	all.Wait()
	list, err := s.RolloutEvents(ctx, store.RolloutQuery{After: 2})
	must(t, err)
	total := 0
	for _, n := range wrote {
		total += n
	}
	if total != len(list) || total == 0 || list[len(list)-1].Seq != int64(2+total) {
		t.Errorf("%v were written, %d are there", wrote, len(list))
	}

	doc := []byte(`{"x":1}`)
	r := store.UpdateRelease{Envelope: "0d0d", Product: "Norra Medical Flow 500", Version: "2.2.0", Sequence: 8, Path: "flow500/2.2.0.suit", By: "le", Doc: doc}
	must(t, s.AddRelease(ctx, &r))
	if err := s.AddRelease(ctx, &r); !errors.Is(err, store.ErrConflict) {
		t.Error(err)
	}
	for products, want := range map[string]int{"Norra Medical Flow 500": 1, "Qvarn Zephyr 9": 0} {
		if l, err := s.Releases(ctx, []string{products}); err != nil || len(l) != want {
			t.Error(products, l, err)
		}
	}
	if l, err := s.Releases(ctx, []string{}); err != nil || len(l) != 0 {
		t.Error(l, err)
	}
	if l, err := s.Releases(ctx, nil); err != nil || len(l) != 1 || !reflect.DeepEqual(l[0], r) {
		t.Error(l, err)
	}
	if got, err := s.ReleaseOf(ctx, "0d0d"); err != nil || !reflect.DeepEqual(*got, r) {
		t.Error(got, err)
	}
	if _, err := s.ReleaseOf(ctx, "0e"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	row := store.Rollout{ID: "r", Envelope: "0d0d", By: "le", Doc: doc}
	must(t, s.AddRollout(ctx, &row))
	if err := s.AddRollout(ctx, &row); !errors.Is(err, store.ErrConflict) {
		t.Error(err)
	}
	if l, err := s.Rollouts(ctx); err != nil || len(l) != 1 || !reflect.DeepEqual(l[0], row) {
		t.Error(l, err)
	}
	for _, word := range []string{"high", "low"} {
		must(t, s.SetDependency(ctx, &store.Dependency{Device: "pump-3", Word: word, By: "mh"}))
	}
	must(t, s.SetDependency(ctx, &store.Dependency{Device: "pump-4", Word: "", By: "mh"}))
	if all, err := s.Dependencies(ctx); err != nil || len(all) != 1 || all["pump-3"].Word != "low" || all["pump-3"].By != "mh" {
		t.Error(all, err)
	}
	must(t, s.KeepUpdates(ctx, []store.UpdateMember{said("pump-4", 2), said("pump-3", 4)}, nil)) // the second comes late
	for device, count := range map[string]uint64{"pump-3": 9, "pump-4": 2} {
		m, _, err := s.UpdateMemberOf(ctx, device)
		must(t, err)
		if m.Count != count || m.Seen != int64(count) || m.Version != fmt.Sprint(count) || m.Sequence != count || m.State[0] != byte(count) {
			t.Errorf("%+v", m)
		}
	}
	members, last, err := s.UpdateMembers(ctx, 0, 1)
	must(t, err)
	rest, _, err := s.UpdateMembers(ctx, last, 10)
	must(t, err)
	if len(members) != 1 || len(rest) != 1 || members[0].Device == rest[0].Device {
		t.Errorf("%+v %+v", members, rest)
	}

	must(t, s.RevokeUpdateKey(ctx, kid(1)))
	if err := s.RevokeUpdateKey(ctx, kid(1)); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.UpdateKeyOf(ctx, kid(1)); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, _, err := s.UpdateMemberOf(ctx, "pump-4"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, kids, err := s.UpdateMemberOf(ctx, "pump-3"); err != nil || len(kids) != 1 || string(kids[0]) != string(kid(2)) {
		t.Error(kids, err)
	}
	if _, err := s.AddUpdateKeys(ctx, []store.UpdateKey{{Device: "pump-8", KID: kid(1), Key: []byte("gateway")}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a key that was revoked: %v", err)
	}
}

// versions: what a device is shown to run is what is known of it, and what that fixes is fixed
// there, and nowhere else.
func versions(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	three, four := pump(3, "A3"), pump(4, "A4")
	of := func(d *device.Device, id string, advisories ...string) finding.Finding {
		return finding.Finding{ID: id, Kind: finding.VulnerableProduct, Device: d.ID, Advisories: advisories, Decision: finding.Attend}
	}
	_, err := s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{three, four}, Findings: []finding.Finding{
		of(&three, "fixed", "ADA-2026-01"), of(&three, "half", "ADA-2026-01", "ADA-2026-09"), of(&three, "seen"), of(&four, "other", "ADA-2026-01"), of(&three, "judged", "ADA-2026-01"),
	}})
	must(t, err)
	_, _, err = s.Triage(ctx, store.Triage{IDs: []string{"judged"}, State: store.FalsePositive, By: "te"})
	must(t, err)
	before, err := s.Counts(ctx)
	must(t, err)
	e := event.Event{Kind: event.UpdateEnded, Time: 5, Device: device.Address{Kind: device.Host, Value: three.ID}}
	ended := []store.RolloutEvent{
		{Seq: 1, Rollout: "flow-2.2.0", Device: three.ID, Runs: "2.2.0", Fixes: []string{"ADA-2026-01"}, Event: e},
		{Seq: 2, Rollout: "flow-2.2.0", Device: "nobody", Runs: "2.2.0", Event: e},
		{Seq: 3, Rollout: "flow-2.2.0", Device: four.ID, Event: e},
	}
	must(t, s.KeepUpdates(ctx, nil, ended))
	for id, want := range map[string]string{three.ID: "2.2.0", four.ID: "2.1.4"} {
		if d, err := s.Device(ctx, id); err != nil || d.Version != want {
			t.Errorf("%s runs %q, want %q: %v", id, d.Version, want, err)
		}
	}
	for id, want := range map[string]string{"fixed": store.Fixed, "half": store.Open, "seen": store.Open, "other": store.Open, "judged": store.FalsePositive} {
		f, steps, err := s.Finding(ctx, id)
		must(t, err)
		if f.State != want {
			t.Errorf("%s is %s, not %s", id, f.State, want)
		}
		if last := steps[0]; id == "fixed" && (last.To != store.Fixed || last.By != "" || last.Reason != "it runs 2.2.0: roll-out flow-2.2.0") {
			t.Errorf("%+v", steps)
		}
	}
	lately, err := s.Timeline(ctx, three.ID, 20)
	must(t, err)
	if !slices.ContainsFunc(lately, func(h store.Happening) bool {
		return h.What == "version: 2.1.4 to 2.2.0" && h.Why == "roll-out flow-2.2.0"
	}) {
		t.Errorf("%+v", lately)
	}
	after, err := s.Counts(ctx)
	must(t, err)
	if after["last version"] <= before["last version"] || after["open"] != before["open"]-1 {
		t.Errorf("%v, then %v", before, after)
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)

	// A sensor that says another one later is believed, and so is a weakness that it sees again.
	three.Version = "2.1.4"
	again := of(&three, "fixed", "ADA-2026-01")
	c.t = c.t.Add(time.Hour)
	again.Last = c.t.UnixNano()
	_, err = s.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 2, Devices: []device.Device{three}, Findings: []finding.Finding{again}})
	must(t, err)
	if d, err := s.Device(ctx, three.ID); err != nil || d.Version != "2.1.4" {
		t.Errorf("it runs %q again: %v", d.Version, err)
	}
	if f, _, err := s.Finding(ctx, "fixed"); err != nil || f.State != store.Open {
		t.Errorf("%+v, %v", f, err)
	}
}
