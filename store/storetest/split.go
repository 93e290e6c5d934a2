// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// numbers are those of live identities of a device that have one of some values.
func numbers(t fataler, s *store.Store, id string, values ...string) (ids []int64) {
	t.Helper()
	names, _, err := s.Identities(context.Background(), id)
	must(t, err)
	for _, n := range names {
		if n.Live && slices.Contains(values, n.Value) {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// split says that what a sensor takes for one device is two when a person says so, stays
// two whatever the sensor says, and is one again when that is undone.
func split(t *testing.T, s *store.Store, c *clock) {
	ctx := t.Context()
	enrol(t, s, "icu", "", c.t)
	mac := func(n string) device.Address {
		return device.Address{Kind: device.MAC, Value: "00:00:5e:00:53:0" + n}
	}
	talk := func(from, to string) store.Observation {
		return store.Observation{Client: ip(from), Server: ip(to), Protocol: "hl7", Port: 2575, First: c.t.UnixNano(), Last: c.t.UnixNano(), Count: 1, Packets: 1, Bytes: 10}
	}
	seq := uint64(0)
	say := func(b store.Batch) {
		t.Helper()
		seq++
		b.Sensor, b.Sequence = "icu", seq
		_, err := s.Write(ctx, &b)
		must(t, err)
		c.t = c.t.Add(time.Minute)
	}
	// of is the device that has an address now.
	of := func(value string) string {
		t.Helper()
		l, err := s.Devices(ctx, store.DeviceQuery{Page: store.Page{Limit: 100}})
		must(t, err)
		for _, d := range l.Rows {
			if slices.ContainsFunc(d.Addresses, func(a device.Address) bool { return a.Value == value }) {
				return d.ID
			}
		}
		t.Fatalf("nobody has %s", value)
		return ""
	}
	total := func(want int) {
		t.Helper()
		devices, findings := everything(t, s)
		if len(devices) != want {
			t.Fatalf("%d devices; want %d", len(devices), want)
		}
		consistent(t, s, devices, findings)
	}
	both := pump(3, "A3")
	both.Addresses = append(both.Addresses, ip("10.20.3.4"), mac("3"), mac("4"))
	say(store.Batch{Devices: []device.Device{both}, Findings: []finding.Finding{weakness(&both, finding.PHIInClear, finding.Act)}, Observations: []store.Observation{talk("10.20.3.3", "10.20.9.9"), talk("10.20.3.4", "10.20.9.9")}})
	total(2)
	names, _, err := s.Identities(ctx, both.ID)
	must(t, err)
	for _, n := range names {
		if n.Splits() != (n.Kind == "ip" || n.Kind == "mac") {
			t.Errorf("%+v can be split off: %v", n, n.Splits())
		}
	}
	went := numbers(t, s, both.ID, "10.20.3.4", mac("4").Value)
	for what, x := range map[string]struct {
		id   string
		ids  []int64
		want error
	}{
		"no device":                  {"none", went, store.ErrNotFound},
		"nothing":                    {both.ID, nil, store.ErrConflict},
		"another's":                  {both.ID, append(numbers(t, s, of("10.20.9.9"), "10.20.9.9"), went...), store.ErrConflict},
		"what the sensor calls it":   {both.ID, numbers(t, s, both.ID, both.ID), store.ErrConflict},
		"what its maker calls it":    {both.ID, numbers(t, s, both.ID, "norra medical flow 500 A3"), store.ErrConflict},
		"all that another one is of": {of("10.20.9.9"), numbers(t, s, of("10.20.9.9"), "10.20.9.9"), store.ErrWhole},
	} {
		if _, _, err := s.SplitDevice(ctx, x.id, x.ids, "le", "why"); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, not %v", what, err, x.want)
		}
	}
	number, gone, err := s.SplitDevice(ctx, both.ID, went, "le", "a hub is between them")
	must(t, err)
	total(3)
	apart := func() {
		t.Helper()
		if kept := of("10.20.3.3"); kept == gone || of(mac("3").Value) != kept || of("10.20.3.4") != gone || of(mac("4").Value) != gone {
			t.Fatalf("%s has .3 and %s .4; want another and %s", kept, of("10.20.3.4"), gone)
		}
	}
	apart()
	links, err := s.Links(ctx, gone, 0, 10)
	must(t, err)
	if len(links) != 1 || links[0].Device != gone {
		t.Errorf("what the address said before: %+v", links)
	}
	if d, err := s.Device(ctx, both.ID); err != nil || d.Act != 1 || d.Serial != "A3" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := s.Device(ctx, gone); err != nil || d.Act != 0 || d.Serial != "" || d.First == 0 {
		t.Errorf("%+v, %v", d, err)
	}
	records, err := s.SplitsOf(ctx, gone)
	must(t, err)
	if len(records) != 1 || records[0].ID != number || records[0].Kept != both.ID || records[0].Gone != gone || records[0].By != "le" || records[0].Why != "a hub is between them" || len(records[0].Names) != 2 || records[0].UndoneAt != 0 {
		t.Errorf("%+v", records)
	}

	// Whatever the sensor says. It goes on to find things at the one that it knows.
	say(store.Batch{Devices: []device.Device{both}, Findings: []finding.Finding{weakness(&both, finding.WeakTLS, finding.Track)}, Observations: []store.Observation{talk("10.20.3.4", "10.20.9.9")}})
	total(3)
	apart()
	if d, err := s.Device(ctx, both.ID); err != nil || d.Track != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if links, err = s.Links(ctx, gone, 0, 10); err != nil || len(links) != 1 || links[0].Packets != 2 {
		t.Errorf("%+v, %v", links, err)
	}
	if d, err := s.Device(ctx, gone); err != nil || d.Last != c.t.Add(-time.Minute).UnixNano() {
		t.Errorf("seen with the other one: %+v, %v", d, err)
	}
	again := both // under another id, and in another order
	again.ID = "dev-again"
	slices.Reverse(again.Addresses)
	say(store.Batch{Devices: []device.Device{again}})
	total(3)
	apart()
	c.t = c.t.Add(48 * time.Hour) // when nobody remembers whose the addresses are
	late := device.Device{ID: "dev-late", Addresses: []device.Address{ip("10.20.3.4"), ip("10.20.3.3")}}
	for range 2 {
		say(store.Batch{Devices: []device.Device{late}})
		if of("10.20.3.3") == of("10.20.3.4") {
			t.Fatal("an id that is new has both addresses")
		}
	}
	say(store.Batch{Devices: []device.Device{both}})
	apart()
	total(4) // what the sensor called so has nothing now
	bridge := device.Device{ID: "dev-bridge", Addresses: []device.Address{mac("3"), mac("4")}}
	say(store.Batch{Devices: []device.Device{bridge}})
	apart()
	total(4)
	for _, with := range []device.Address{mac("4"), mac("3")} { // by a name that is of none of both yet
		say(store.Batch{Devices: []device.Device{{ID: "dev-with-" + with.Value, Addresses: []device.Address{with, mac("5")}}}})
	}
	apart()
	total(4)

	// Undone, they are one, and split again two.
	must(t, s.UndoSplit(ctx, number, "ls", "the hub is its own"))
	if err := s.UndoSplit(ctx, number, "ls", ""); !errors.Is(err, store.ErrConflict) {
		t.Error(err)
	}
	if err := s.UndoSplit(ctx, number+1, "ls", ""); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	total(3)
	d, err := s.Device(ctx, gone)
	must(t, err)
	if d.ID != both.ID || d.Into != both.ID || of("10.20.3.4") != both.ID || of(mac("4").Value) != both.ID {
		t.Errorf("%+v", d)
	}
	say(store.Batch{Devices: []device.Device{both}})
	total(3)
	happened, err := s.Timeline(ctx, both.ID, 100)
	must(t, err)
	for _, want := range []string{"a hub is between them", "the hub is its own"} {
		if n := len(slices.DeleteFunc(slices.Clone(happened), func(h store.Happening) bool { return h.Why != want || h.By == "" || h.Link != "" })); n != 1 {
			t.Errorf("the timeline says %q %d times: %+v", want, n, happened)
		}
	}
	second, gone2, err := s.SplitDevice(ctx, gone, numbers(t, s, both.ID, "10.20.3.4"), "le", "it is not")
	must(t, err)
	total(4)
	if happened, err := s.Timeline(ctx, gone2, 100); err != nil || !slices.ContainsFunc(happened, func(h store.Happening) bool { return h.Why == "it is not" && h.Link == both.ID }) {
		t.Errorf("%+v, %v", happened, err)
	}

	// People may hold them to be one all the same. What parts them then leaves the split.
	merged, err := s.MergeDevices(ctx, both.ID, gone2, "le", "one housing")
	must(t, err)
	say(store.Batch{Devices: []device.Device{both}})
	total(3)
	must(t, s.UndoMerge(ctx, merged, "le", "two housings"))
	say(store.Batch{Devices: []device.Device{both}})
	total(4)
	if of("10.20.3.4") != gone2 {
		t.Errorf("%s has it, not %s", of("10.20.3.4"), gone2)
	}
	if happened, err := s.Timeline(ctx, gone2, 100); err != nil || !slices.ContainsFunc(happened, func(h store.Happening) bool { return h.Why == "two housings" && h.Link == both.ID && h.By == "le" }) {
		t.Errorf("%+v, %v", happened, err)
	}

	// An address may come to a third device, as addresses do; never to the first.
	c.t = c.t.Add(48 * time.Hour)
	third := pump(8, "C8")
	third.Addresses = []device.Address{ip("10.20.3.4")}
	say(store.Batch{Devices: []device.Device{third}})
	say(store.Batch{Devices: []device.Device{both}})
	if of("10.20.3.4") != third.ID {
		t.Errorf("%s has the address of %s", of("10.20.3.4"), third.ID)
	}
	third.Addresses = []device.Address{ip("10.20.3.3")} // which has the other then
	say(store.Batch{Devices: []device.Device{third}})
	if of("10.20.3.3") != both.ID || of("10.20.3.4") != third.ID {
		t.Errorf("%s, %s", of("10.20.3.3"), of("10.20.3.4"))
	}
	must(t, s.UndoSplit(ctx, second, "ls", ""))
	say(store.Batch{Devices: []device.Device{both}})
	if of("10.20.3.4") != both.ID {
		t.Error("undone, and still apart")
	}
	devices, findings := everything(t, s)
	consistent(t, s, devices, findings)
}
