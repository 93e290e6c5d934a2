// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
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
	steps := []store.RolloutEvent{{Rollout: "r", Device: "pump-3", Event: e}, {Rollout: "r", Event: e}}
	must(t, s.KeepUpdates(ctx, []store.UpdateMember{said("pump-4", 1), said("pump-3", 7), said("pump-3", 9), said("pump-3", 8)}, steps))
	if steps[0].Seq == 0 || steps[1].Seq <= steps[0].Seq {
		t.Errorf("numbers %d, %d", steps[0].Seq, steps[1].Seq)
	}
	must(t, s.KeepUpdates(ctx, []store.UpdateMember{said("pump-4", 2), said("pump-3", 4)}, nil)) // the second comes late
	for device, count := range map[string]uint64{"pump-3": 9, "pump-4": 2} {
		m, _, err := s.UpdateMemberOf(ctx, device)
		must(t, err)
		if m.Count != count || m.Seen != int64(count) || m.Version != fmt.Sprint(count) || m.Sequence != count || m.State[0] != byte(count) {
			t.Errorf("%+v", m)
		}
	}
	list, last, err := s.UpdateMembers(ctx, 0, 1)
	must(t, err)
	rest, _, err := s.UpdateMembers(ctx, last, 10)
	must(t, err)
	if len(list) != 1 || len(rest) != 1 || list[0].Device == rest[0].Device {
		t.Errorf("%+v %+v", list, rest)
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
