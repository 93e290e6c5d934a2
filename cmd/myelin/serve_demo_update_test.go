// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve"
	"github.com/myelin-health/myelin/serve/demo"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A day is a time that passes when the test lets it.
type day struct {
	mu    sync.Mutex
	began time.Time
	is    time.Duration
}

func (d *day) since() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.is
}

func (d *day) now() time.Time { return d.began.Add(d.since()) }

func (d *day) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.is += by
}

// pumpsOfTheWard puts what sensors say of the ward's pumps into a store, and what ADA-2026-01 is to them.
func pumpsOfTheWard(t *testing.T, data string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(data, "myelin.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	for _, u := range []struct{ name, model, version, ward string }{
		{"pump-0", "Flow 500", "2.1.4", "Clinical engineering"}, {"pump-3", "Flow 500", "2.1.4", "ICU"}, {"pump-4", "Flow 500", "2.2.0", "ICU"}, {"gw-icu", "FlowLink", "1.8", "ICU"},
	} {
		d := device.Device{
			ID: device.IDOf("Norra Medical", u.model, u.name), Name: u.name, Serial: u.name, Ward: u.ward, Medical: true,
			Product: device.Product{Manufacturer: "Norra Medical", Model: u.model, Version: u.version, Class: "infusion pump", Therapy: device.DrugInfusion},
		}
		b.Devices = append(b.Devices, d)
		if u.name != "pump-4" {
			b.Findings = append(b.Findings, finding.Finding{ID: "ada-" + u.name, Kind: finding.VulnerableProduct, Device: d.ID, Advisories: []string{"ADA-2026-01"}, Decision: finding.Attend})
		}
	}
	err = s.AddEnrolment(t.Context(), []byte("icu"), "icu", "St. Ada", "sensor", "ls", time.Now().Add(time.Hour).UnixNano())
	if err == nil {
		_, err = s.Enrol(t.Context(), []byte("icu"), "icu", "key")
	}
	if err == nil {
		_, err = s.Write(t.Context(), b)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDemoUpdate: release 2.2.0 of the Flow 500 reaches pump-3 only after its infusion has ended, in
// whatever order the pumps ask, and then it does. What it fixes is fixed, pump-4 is offered nothing,
// and all of it is in the ledger.
func TestDemoUpdate(t *testing.T) {
	data := t.TempDir()
	pumpsOfTheWard(t, data)
	clock := &day{began: time.Now()}
	sensors, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sensors.Close()
	s, err := serve.Open(t.Context(), serve.Config{Data: data, Listen: "127.0.0.1:0", Sensors: sensors.Addr().String(), Site: "St. Ada Hospital", Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + ln.Addr().String()
	link, err := s.SetUpLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Run(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	defer func() { stop(); serving.Wait(); s.Close() }()

	dir := filepath.Join(data, "demo")
	verb := func(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
		var errs strings.Builder
		if code := run(ctx, args, in, out, &errs); code != exitDone {
			return errors.New(strings.TrimSpace(errs.String()))
		}
		return nil
	}
	m, err := demo.Mend(ctx, demo.Config{Dir: dir, Data: data, Server: address, Sensors: "https://" + sensors.Addr().String(), SetUp: link, Verb: verb}, clock.since)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ask := func(answer any, args ...string) {
		t.Helper()
		var out strings.Builder
		args = append([]string{"patch", "rollout"}, append(args, "--format", "json", "--server", address, "--token", filepath.Join(dir, "updates", "ls.token"))...)
		if err := errors.Join(verb(ctx, strings.NewReader(""), &out, args...), json.Unmarshal([]byte(out.String()), answer)); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
	type member struct{ Device, Status, Waits, Why, Outcome string }
	of := func(pump string) member {
		var list struct{ Items []member }
		ask(&list, "devices", demo.Rollout)
		i := slices.IndexFunc(list.Items, func(x member) bool { return x.Device == m.ID(pump) })
		if i < 0 {
			t.Fatalf("no %s: %+v", pump, list)
		}
		return list.Items[i]
	}

	// The pumps live, each when it wants to or later, in any order.
	r := rand.New(rand.NewPCG(8, 22))
	due := map[string]time.Duration{}
	live := func() {
		pumps := m.Pumps()
		r.Shuffle(len(pumps), func(i, j int) { pumps[i], pumps[j] = pumps[j], pumps[i] })
		next := time.Hour
		for _, p := range pumps {
			next = min(next, due[p]-clock.since())
		}
		clock.pass(max(next, 0))
		for _, p := range pumps {
			if due[p] > clock.since() {
				continue
			}
			wait, err := m.Step(ctx, p)
			if err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			if wait = max(wait, time.Second); wait > 5*time.Second {
				wait += time.Duration(r.Int64N(int64(wait)))
			}
			due[p] = clock.since() + wait
			if m.Infusing() && m.Version("pump-3") != "2.1.4" {
				t.Fatal("it is updated in the middle of its infusion")
			}
		}
	}
	eventually(t, "pump-3 waits for its infusion to end", func() bool {
		for range 20 {
			live()
		}
		w := of("pump-3")
		return w.Waits == "therapy" && w.Status == "waiting"
	})
	if m.Version("pump-0") != "2.2.0" || of("pump-0").Outcome != "installed" {
		t.Errorf("it is the turn of intensive care, and the pump on the bench runs %s: %+v", m.Version("pump-0"), of("pump-0"))
	}
	if w := of("pump-3"); !strings.Contains(w.Why, "therapy is being given") {
		t.Errorf("it waits: %+v", w)
	}
	te := visit(t, address, "te")
	te.shows("/updates", demo.Rollout, "for therapy to be over")
	te.shows("/updates/"+demo.Rollout+"/devices/"+m.ID("pump-3"), "pump-3 waits: therapy is being given.", "nobody can")
	for until := clock.since() + 20*time.Minute; clock.since() < until; {
		live()
	}
	if w := of("pump-3"); w.Waits != "therapy" || w.Outcome != "" {
		t.Errorf("20 minutes later: %+v", w)
	}
	state := func(id string) string {
		var page struct{ State string }
		te.json("/findings/"+id, &page)
		return page.State
	}
	if is := state("ada-pump-3"); is != "open" {
		t.Errorf("before the update ADA-2026-01 is %s at pump-3", is)
	}

	if err := m.End(ctx); err != nil {
		t.Fatal(err)
	}
	ended := clock.now()
	for i := 0; of("pump-3").Outcome == ""; i++ {
		if live(); i > 200 {
			t.Fatalf("it is not updated after its infusion: %+v", of("pump-3"))
		}
	}
	if w := of("pump-3"); w.Outcome != "installed" || m.Version("pump-3") != "2.2.0" {
		t.Errorf("it runs %s: %+v", m.Version("pump-3"), w)
	}

	te.shows("/updates/"+demo.Rollout+"/devices/"+m.ID("pump-3"), "pump-3 is updated to 2.2.0.")

	// What is known of the devices, and of what the release fixes.
	for pump, want := range map[string]string{"pump-0": "2.2.0", "pump-3": "2.2.0", "pump-4": "2.2.0", "gw-icu": "1.8"} {
		eventually(t, pump+" is known to run "+want, func() bool {
			_, _, b := te.do("GET", "/devices/"+te.id(pump), "text/html", nil)
			return strings.Contains(tag.ReplaceAllString(string(b), ""), map[bool]string{true: "FlowLink ", false: "Flow 500 "}[pump == "gw-icu"]+want)
		})
	}
	for id, want := range map[string]string{"ada-pump-0": "fixed", "ada-pump-3": "fixed", "ada-gw-icu": "open"} {
		if is := state(id); is != want {
			t.Errorf("after the update %s is %s, not %s", id, is, want)
		}
	}

	// What happened, in its order, and all of it in the ledger.
	type step struct {
		Kind string
		Time time.Time
		Says map[string]string
	}
	steps := func(pump string) []step {
		var list struct{ Items []step }
		ask(&list, "events", demo.Rollout, "--device", m.ID(pump))
		slices.Reverse(list.Items)
		return list.Items
	}
	var kinds []string
	for _, e := range steps("pump-3") {
		if e.Kind == "update-offered" && e.Says["install"] == "1" && e.Time.Before(ended) {
			t.Errorf("it is told to install %v before its infusion ends", ended.Sub(e.Time))
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != e.Kind {
			kinds = append(kinds, e.Kind)
		}
	}
	if !slices.Equal(kinds[len(kinds)-3:], []string{"update-waited", "update-offered", "update-ended"}) || !slices.Contains(kinds, "consent-given") {
		t.Errorf("%q", kinds)
	}
	for _, e := range steps("pump-4") {
		if e.Kind == "update-offered" {
			t.Errorf("pump-4 is offered what it runs: %+v", e)
		}
	}
	eventually(t, "all of it is in the ledger", func() bool { // of which what is signed is shown
		var shown strings.Builder
		if code := run(t.Context(), []string{"ledger", "show", filepath.Join(data, "ledger"), "--key", filepath.Join(data, "ledger.key.pub"), "--last", "1000"}, strings.NewReader(""), &shown, &shown); code != exitDone {
			t.Fatalf("%d %s", code, &shown)
		}
		return !slices.ContainsFunc([]string{"rollout-started", "ring-opened", "consent-given", "update-attended", "update-waited", "update-offered", "update-ended"}, func(kind string) bool {
			return !strings.Contains(shown.String(), kind)
		})
	})
}
