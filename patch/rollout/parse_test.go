// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/patch"
)

const fullPlan = `rollout: 1
release: "0900000000000000000000000000000000000000000000000000000000000000"
executor: person
approve: [prescriber, clinical engineer]
rings:
  - name: bench
    devices: [bench-1, bench-2]
    least: 2
    finished: 2
    soak: 24h
  - name: canary
    wards: [icu]
    dependency: [independent]
    share: 5
    soak: 72h
  - name: wave
bounds:
  fall-back: {usual: 0.161, most: 1}
  lost-settings: {usual: 0.023, most: 0.1}
  alpha: 1
  beta: 10
  silence: 30m
  silent: 2
fresh:
  usual: 2m
  infusion pump: 20s
poll: 10m
offer: 2m
zone: Europe/Stockholm
windows:
  - wards: [icu]
    open: mon-fri 01:00-05:00
  - open: sat,sun 22:00-06:00
freezes:
  - from: 2026-12-20
    to: 2027-01-06
    wards: [er]
    why: Christmas
capacity: 2
wards:
  icu: 1
backup:
  independent: 5m
raise:
  supervision: in clinic, with backup equipment
  battery: 50
  longevity: 180
  spare: true
  near: true
consent:
  clinician: true
  patient: true
  terms: 2026-03
relax:
  - gate: maintenance window
    urgency: uncontrolled risk
    by: [prescriber]
    most: 12h
`

func TestParsePlan(t *testing.T) {
	p, err := ParsePlan("plan.yaml", []byte(fullPlan))
	if err != nil {
		t.Fatal(err)
	}
	if p.Release != (patch.Digest{9}) || p.Executor != Person || p.Rings[1].Share != 5 || p.Rings[1].Soak != Span(72*time.Hour) || p.Bounds.LostSettings != (Rate{0.023, 0.1}) ||
		p.Fresh["infusion pump"] != Span(20*time.Second) || p.Raise.Supervision != patch.InClinic || p.Relax[0].Gate != patch.WindowGate || p.Relax[0].Urgency != patch.UncontrolledRisk ||
		!p.Consent.Patient || p.Consent.Terms != "2026-03" || p.Wards["icu"] != 1 || p.capacity("er") != 2 || p.zone.String() != "Europe/Stockholm" || p.Freezes[0].Why != "Christmas" {
		t.Errorf("%+v", p)
	}
	// In JSON, on one line, it is the same.
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePlan("plan.json", b)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if !reflect.DeepEqual(again, p) {
		t.Errorf("%+v in JSON is %+v", p, again)
	}

	p, err = ParsePlan("plan.yaml", []byte("rollout: 1\nrings:\n  - name: all\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Capacity != 1 || p.fresh("") != Span(5*time.Minute) || p.Bounds.Silent != 1 || p.Bounds.Alpha != 5 || p.Bounds.Silence != Span(time.Hour) || p.Offer != Span(5*time.Minute) {
		t.Errorf("without a word it is %+v", p)
	}
}

func TestParsePlanRefuses(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"rollout: 1", "rollout: 2", "1:10: rollout has to be 1"},
		{"executor: person", "executor: robot", "3:11: executor cannot be \"robot\""},
		{"  - name: wave", "  - name: bench", "16:11: another ring has this name"},
		{"    soak: 24h", "    soak: long", "soak has to be a time"},
		{"    soak: 24h", "    sook: 24h", "a ring has no key \"sook\""},
		{"{usual: 0.161, most: 1}", "{usual: 1, most: 1}", "most has to be more than usual"},
		{"{usual: 0.161, most: 1}", "{usual: NaN, most: 1}", "number of percent"},
		{"  alpha: 1", "  alpha: 50", "less than 50 percent"},
		{"zone: Europe/Stockholm", "zone: Mars", "time zone that this machine knows"},
		{"zone: Europe/Stockholm\n", "", "lacks the key zone"},
		{"open: mon-fri 01:00-05:00", "open: mon-fri 01:00-01:00", "open has to have days and hours"},
		{"open: mon-fri 01:00-05:00", "open: mon-fry 01:00-05:00", "open has to have days and hours"},
		{"open: mon-fri 01:00-05:00", "open: mon-fri 1:00-05:00", "open has to have days and hours"},
		{"    to: 2027-01-06", "    to: 2026-12-19", "to is before from"},
		{"    to: 2027-01-06", "    to: Epiphany", "to has to be a day"},
		{"gate: maintenance window", "gate: therapy", "nobody can relax the gate \"therapy\""},
		{"gate: maintenance window", "gate: power", "nobody can relax the gate"},
		{"gate: maintenance window", "gate: version", "nobody can relax the gate"},
		{"gate: maintenance window", "gate: hardware", "nobody can relax the gate"},
		{"gate: maintenance window", "gate: fresh state", "nobody can relax the gate"},
		{"gate: maintenance window", "gate: supervision", "nobody can relax the gate"},
		{"gate: maintenance window", "gate: door", "gate has to be one of"},
		{"    by: [prescriber]", "    by: []", "by needs at least one role"},
		{"  terms: 2026-03\n", "", "lacks the key terms"},
		{"supervision: in clinic, with backup equipment", "supervision: alone", "supervision has to be one of"},
		{"release: \"09", "release: \"0", "64 hexadecimal digits"},
		{"capacity: 2", "capacity: 0", "capacity has to be a whole number from 1"},
	} {
		src := strings.Replace(fullPlan, c.from, c.to, 1)
		if src == fullPlan {
			t.Fatalf("%q is not in the plan", c.from)
		}
		if _, err := ParsePlan("plan.yaml", []byte(src)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v", c.to, c.from, err)
		}
	}
}

// Windows are by the clock on the wall, over midnight and on the nights when it jumps.
func TestWindow(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, zone)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		open, at, until string
		left            time.Duration
	}{
		{"tue 01:00-05:00", "2026-03-03 01:00", "2026-03-03 05:00", 4 * time.Hour},
		{"tue 01:00-05:00", "2026-03-03 04:59", "2026-03-03 05:00", time.Minute},
		{"tue 01:00-05:00", "2026-03-03 05:00", "", 0},
		{"tue 01:00-05:00", "2026-03-03 00:59", "", 0},
		{"wed 01:00-05:00", "2026-03-03 01:00", "", 0},
		{"tue 22:00-06:00", "2026-03-03 23:00", "2026-03-04 06:00", 7 * time.Hour},
		{"tue 22:00-06:00", "2026-03-04 05:00", "2026-03-04 06:00", time.Hour},
		{"tue 22:00-06:00", "2026-03-03 05:00", "", 0},
		{"sat-mon 00:00-24:00", "2026-03-08 12:00", "2026-03-09 00:00", 12 * time.Hour},
		{"sun 01:00-05:00", "2026-03-29 01:00", "2026-03-29 05:00", 3 * time.Hour}, // the hour of 02:00 is left out
		{"sun 01:00-05:00", "2026-10-25 01:00", "2026-10-25 05:00", 5 * time.Hour}, // it comes twice
	} {
		w := Window{Open: c.open}
		if err := w.read(); err != nil {
			t.Errorf("%s: %v", c.open, err)
			continue
		}
		until := w.until(at(c.at))
		switch {
		case c.until == "" && until.IsZero():
		case c.until == "" || until.IsZero() || !until.Equal(at(c.until)) || until.Sub(at(c.at)) != c.left:
			t.Errorf("%s at %s is open until %v", c.open, c.at, until)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(fullPlan))
	f.Add([]byte(twoRings))
	f.Add([]byte(`{"rollout":1,"rings":[{"name":"all","least":1,"finished":0,"soak":"0s"}]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := ParsePlan("plan", src)
		if err != nil {
			return
		}
		for _, x := range p.Relax {
			if x.Gate.Fixed() || !Relaxable(x.Gate) {
				t.Fatalf("it relaxes %v", x.Gate)
			}
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePlan("plan", b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if b2, _ := json.Marshal(again); string(b) != string(b2) {
			t.Fatalf("%s becomes %s", b, b2)
		}
	})
}
