// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/gate"
)

// A guard whose files are damaged runs: alarms, reports and rescues need it. Changes are
// refused, and it is said loudly, until a person has put the files away.
func TestDamaged(t *testing.T) {
	file := guarded(t)
	r := run(t, file)
	for range 3 {
		if a, _ := r.ask("CASTOREHR", "0.4 ug/kg/min"); !a.Pass {
			t.Fatalf("%+v", a)
		} else {
			a.Sent()
			a.Outcome(gate.Accepted)
		}
	}
	conf := r.g.conf.Load()
	r.stop()
	damaged := map[string][]byte{BookPath(conf): nil, filepath.Join(conf.State, expectedFile): nil}
	for path := range damaged {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		damaged[path] = b
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = run(t, file)
	unready := strings.Join(r.g.Unready(), "\n")
	told := r.told.reasons(event.DoseDoubted)
	for _, want := range []string{"nothing but rescues", "answers that devices owe"} {
		if !strings.Contains(unready, want) || !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("health %q, recorded %q", unready, told)
		}
	}
	if a, _ := r.ask("CASTOREHR", "0.2 ug/kg/min"); a.Pass || a.Verdict != device.Deny {
		t.Errorf("a change: %+v", a)
	}
	c := device.Command{Verb: device.CancelBolus, Actor: "x", Role: device.Clinician, Channel: device.Encrypted | device.Authenticated | device.Fresh}
	if a := r.g.gate.Ask(r.ctx, gateAsk("x", c, make(chan string, 1))); !a.Pass || a.Verdict != device.Allow {
		t.Errorf("a rescue: %+v", a)
	}
	if _, err := Doubts(conf); err == nil {
		t.Error("the book is opened twice")
	}
	r.stop()
	if _, err := Doubts(conf); err == nil {
		t.Error("a damaged book has no doubts")
	}
	for path, b := range damaged {
		if now, _ := os.ReadFile(path); string(now) != string(b) {
			t.Errorf("%s was written", filepath.Base(path))
		}
		os.Rename(path, path+".damaged")
	}
	r = run(t, file)
	if why := r.g.Unready(); len(why) != 0 {
		t.Errorf("after they were put away: %q", why)
	}
}
