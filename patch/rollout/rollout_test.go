// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
)

// A Tuesday, 02:00 in Stockholm.
var start = time.Date(2026, 3, 3, 1, 0, 0, 0, time.UTC)

var (
	lea   = Somebody{"lea", "clinical engineer"}
	mira  = Somebody{"mira", "prescriber"}
	tomas = Somebody{"tomas", "security analyst"}
)

func flow() *patch.Release {
	return &patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0", Sequence: 8, Envelope: patch.Digest{9}, Size: 4000, Urgency: patch.UncontrolledRisk,
		Demands: patch.Demands{
			Hardware: []string{"C"}, From: []string{"2.1.3", "2.1.4"}, Backup: 2 * time.Minute, Longest: 10 * time.Minute, Resume: 3 * time.Minute,
			Free: 8000, Battery: 40, Supervision: patch.ClinicianPresent,
		},
	}
}

// quiet is a state of a pump of which nothing stands in the way.
func quiet(dev string) *patch.State {
	return &patch.State{
		Device: dev, Hardware: "C", Version: "2.1.4", Sequence: 7, Count: 1, Known: patch.All, Battery: 80, Longevity: -1, Link: 90, Free: 9000,
		Settings: patch.Digest{1}, Saved: patch.Digest{1}, Slot: "A", Staged: patch.Digest{9},
	}
}

const twoRings = `rollout: 1
rings:
  - name: bench
    devices: [bench-1, bench-2]
    finished: 2
    soak: 24h
  - name: icu
bounds:
  silence: 1h
fresh:
  infusion pump: 1m
zone: Europe/Stockholm
windows:
  - open: mon-fri 01:00-05:00
    wards: [icu]
freezes:
  - {from: 2026-12-20, to: 2026-12-27, why: Christmas}
backup: {independent: 5m, dependent: 1m}
consent: {clinician: true, patient: true, terms: "1"}
relax:
  - {gate: maintenance window, urgency: uncontrolled risk, by: [prescriber, security analyst], most: 12h}
  - {gate: freeze, urgency: regular cycle, by: [prescriber, security analyst], most: 12h}
  - {gate: patient's consent, urgency: uncontrolled risk, by: [prescriber, security analyst], most: 12h}
`

// A world is a roll-out and what was written down of it.
type world struct {
	testing.TB
	*Rollout
	cfg Config
	now time.Time
	log []event.Event
}

func newWorld(t testing.TB, plan string, rel *patch.Release, units ...Unit) *world {
	t.Helper()
	p, err := ParsePlan("plan.yaml", []byte(plan))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, cfg: Config{ID: "flow-2.2.0", Site: "St. Ada Hospital", Plan: p, Release: rel, Units: units}, now: start}
	if w.Rollout, err = New(w.cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// write commits events as a server does: in the form that the ledger keeps.
func (w *world) write(events ...event.Event) {
	w.Helper()
	for again := events; len(again) > 0; again = w.Due(w.now) {
		if err := w.Commit(again, func(e *event.Event) error {
			kept, err := event.Parse(event.Append(nil, e))
			if err != nil || len(e.Attrs()) > event.MaxAttrs || len(kept.Attrs()) != len(e.Attrs()) || !bytes.Equal(event.Append(nil, &kept), event.Append(nil, e)) {
				w.Fatalf("%s is not kept as it is: %v", event.Append(nil, e), err)
			}
			for _, a := range e.Attrs() {
				if !slices.Contains(event.Kinds[e.Kind].Keys, a.Key) {
					w.Fatalf("%v may not have %v", e.Kind, a.Key)
				}
			}
			w.log = append(w.log, kept)
			return nil
		}); err != nil {
			w.Fatal(err)
		}
	}
}

// must writes down what a person did, who may.
func (w *world) must(events []event.Event, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	w.write(events...)
}

func (w *world) poll(s *patch.State) Turn {
	w.Helper()
	turn := w.Poll(Heard{State: s, At: w.now}, w.now)
	w.write(turn.Events...)
	return turn
}

// fold is the roll-out that the log makes, anew.
func (w *world) fold() *Rollout {
	w.Helper()
	cfg := w.cfg
	cfg.Never = nil
	r, err := New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	for i := range w.log {
		if err := r.Apply(&w.log[i]); err != nil {
			w.Fatal(err)
		}
	}
	return r
}

// kinds are the kinds of what was written down, from the nth on.
func (w *world) kinds(from int) []string {
	var list []string
	for _, e := range w.log[from:] {
		list = append(list, e.Kind.String())
	}
	return list
}

// installed is a receipt for an offer, as all went well.
func installed(o *patch.Offer) *patch.State {
	s := quiet(o.Device)
	s.Version, s.Sequence, s.Count = o.Version, o.Sequence, 2
	s.Result = &patch.Result{
		Envelope: o.Envelope, Offer: o.Number, Version: o.Version, Outcome: patch.Installed, Resumed: true, SelfTest: true,
		Before: patch.Digest{1}, After: patch.Digest{1}, Took: time.Minute,
	}
	return s
}

// ready is a world in which nothing stands in the way of bench-1 and bench-2.
func ready(t testing.TB) *world {
	t.Helper()
	var units []Unit
	for _, d := range []string{"bench-1", "bench-2", "pump-3", "pump-4"} {
		units = append(units, Unit{d, "icu", "infusion pump", "independent"})
	}
	w := newWorld(t, twoRings, flow(), units...)
	w.must(w.Start(lea, "ADA-2026-01", w.now))
	for _, u := range units {
		w.agree(u.Device)
	}
	return w
}

// agree is all that people do for a device.
func (w *world) agree(dev string) {
	w.Helper()
	w.must(w.Consent(dev, Clinician, mira, "1", "", w.now))
	w.must(w.Consent(dev, Patient, lea, "1", "", w.now))
	w.must(w.Attend(dev, patch.ClinicianPresent, false, mira, w.now.Add(48*time.Hour), w.now))
}

func TestGates(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world, h *Heard)
		want patch.Gates
		why  string
	}{
		{"nothing", func(*world, *Heard) {}, 0, ""},
		{"a bolus", func(_ *world, h *Heard) { h.State.Doing = patch.Bolus }, 1 << patch.TherapyGate, "a bolus is being given"},
		{"a version", func(_ *world, h *Heard) { h.State.Version = "2.0.0" }, 1 << patch.VersionGate, "not made for 2.0.0"},
		{"another hardware", func(_ *world, h *Heard) { h.State.Hardware = "B" }, 1 << patch.HardwareGate, "hardware B"},
		{"a battery", func(_ *world, h *Heard) { h.State.Battery = 39 }, 1 << patch.PowerGate, "its battery is at 39 %"},
		{"a link", func(_ *world, h *Heard) { h.State.Link = -1 }, 1 << patch.LinkGate, "how good its link is"},
		{"a trial", func(_ *world, h *Heard) { h.State.Trial = true }, 1 << patch.SlotGate, "on trial"},
		{"settings", func(_ *world, h *Heard) { h.State.Saved = patch.Digest{2} }, 1 << patch.SettingsGate, "not saved, or were changed"},
		{"an old state", func(_ *world, h *Heard) { h.At = h.At.Add(-61 * time.Second) }, 1 << patch.FreshGate, "1m1s old: 1m0s is the most"},
		{"a state that is just fresh", func(_ *world, h *Heard) { h.At = h.At.Add(-60 * time.Second) }, 0, ""},
		{"a state of later", func(_ *world, h *Heard) { h.At = h.At.Add(time.Second) }, 1 << patch.FreshGate, "old"},
		{"an old state of another class", func(w *world, h *Heard) {
			w.Know(Unit{"bench-1", "icu", "pump", "independent"})
			h.At = h.At.Add(-5 * time.Minute)
		}, 0, ""},
		{"no state", func(_ *world, h *Heard) { h.State = nil }, judged, "it has said nothing of itself yet"},
		{"the state of another", func(_ *world, h *Heard) { h.State.Device = "bench-2" }, judged, "old"},
		{"a patient who depends on it", func(w *world, _ *Heard) { w.Know(Unit{"bench-1", "icu", "infusion pump", "dependent"}) }, 1 << patch.BackupGate, "for this patient 1m0s is the most"},
		{"a patient whom nobody judged", func(w *world, _ *Heard) { w.Know(Unit{"bench-1", "icu", "infusion pump", ""}) }, 1 << patch.BackupGate, "nobody has said"},
		{"nobody there", func(w *world, _ *Heard) {
			w.must(w.Attend("bench-1", patch.PatientPresent, false, mira, w.now.Add(time.Hour), w.now))
		}, 1 << patch.SupervisionGate, "clinician present"},
		{"who was there, and went", func(w *world, h *Heard) {
			w.must(w.Attend("bench-1", patch.InClinic, false, mira, w.now.Add(time.Minute), w.now))
			w.now, h.At = w.now.Add(time.Minute), h.At.Add(time.Minute)
		}, 1 << patch.SupervisionGate, "clinician present"},
		{"who goes before the worst case is over", func(w *world, _ *Heard) {
			w.must(w.Attend("bench-1", patch.InClinic, false, mira, w.now.Add(15*time.Minute-time.Second), w.now))
		}, 1 << patch.SupervisionGate, "for 15m0s more: clinician present"},
		{"who stays for the worst case", func(w *world, _ *Heard) {
			w.must(w.Attend("bench-1", patch.InClinic, false, mira, w.now.Add(15*time.Minute), w.now))
		}, 0, ""},
		{"a clinician who withdrew", func(w *world, _ *Heard) { w.must(w.Withdraw("bench-1", Clinician, mira, "", w.now)) }, 1 << patch.ClinicianGate, "clinician's consent was withdrawn"},
		{"a patient who withdrew", func(w *world, _ *Heard) { w.must(w.Withdraw("bench-1", Patient, lea, "", w.now)) }, 1 << patch.PatientGate, "patient's consent was withdrawn"},
		{"consent to another text", func(w *world, _ *Heard) { w.must(w.Consent("bench-1", Patient, lea, "2", "", w.now)) }, 1 << patch.PatientGate, "the patient has not consented yet"},
		{"the end of a window", func(w *world, h *Heard) {
			w.now, h.At = w.now.Add(2*time.Hour+45*time.Minute+time.Second), h.At.Add(2*time.Hour+45*time.Minute+time.Second)
		}, 1 << patch.WindowGate, "open for 15m0s more"},
		{"the last moment of a window", func(w *world, h *Heard) {
			w.now, h.At = w.now.Add(2*time.Hour+45*time.Minute), h.At.Add(2*time.Hour+45*time.Minute)
		}, 0, ""},
		{"a ward without a window", func(w *world, _ *Heard) { w.Know(Unit{"bench-1", "er", "infusion pump", "independent"}) }, 1 << patch.WindowGate, "no maintenance window of its ward"},
		{"another of its ward that is out", func(w *world, _ *Heard) {
			if o := w.poll(quiet("bench-2")).Offer; o == nil || !o.Install {
				w.Fatal("bench-2 is not told to install")
			}
		}, 1 << patch.CapacityGate, "1 of its ward are being updated: no more than 1 at once"},
		{"another of its ward, in another roll-out", func(_ *world, h *Heard) { h.Elsewhere = 1 }, 1 << patch.CapacityGate, "1 of its ward are being updated: no more than 1 at once"},
		{"another roll-out at it", func(w *world, h *Heard) {
			h.Taken = true
			w.write(w.note(event.UpdateOverridden, "bench-1", w.now, event.Text(event.Gate, patch.CapacityGate.String()), event.Int(event.NotAfter, w.now.Add(time.Hour).Unix())))
		}, 1 << patch.CapacityGate, "another roll-out is updating it"},
		{"a pause", func(w *world, _ *Heard) { w.must(w.Pause(lea, "lunch", w.now)) }, 1 << patch.FreezeGate, "paused by lea: lunch"},
		{"a halt", func(w *world, _ *Heard) { w.must(w.Halt(lea, "smoke", false, w.now)) }, 1 << patch.FreezeGate, "halted by lea: smoke"},
		{"a freeze", func(w *world, h *Heard) {
			w.must(w.Attend("bench-1", patch.InClinic, false, mira, start.AddDate(1, 0, 0), w.now))
			w.now = time.Date(2026, 12, 22, 1, 0, 0, 0, time.UTC)
			h.At = w.now
		}, 1 << patch.FreezeGate, "frozen until 2026-12-27: Christmas"},
		{"a freeze that begins before the worst case is over", func(w *world, h *Heard) {
			w.must(w.Attend("bench-1", patch.InClinic, false, mira, start.AddDate(1, 0, 0), w.now))
			w.now = time.Date(2026, 12, 19, 22, 45, 0, 0, time.UTC) // a Saturday, without a window
			h.At = w.now
		}, 1<<patch.FreezeGate | 1<<patch.WindowGate, "frozen until 2026-12-27: Christmas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ready(t)
			h := Heard{State: quiet("bench-1"), At: w.now}
			c.do(w, &h)
			if got := w.Gates("bench-1", h, w.now); got != c.want {
				t.Errorf("shut are %v, not %v", got, c.want)
			}
			words := fmt.Sprint(w.Waits("bench-1", h, w.now))
			if !strings.Contains(words, c.why) || c.want == 0 && words != "[]" {
				t.Errorf("in words: %s", words)
			}
			for g := range c.want.Each {
				if c.want != judged && !strings.Contains(words, "{"+g.String()+" ") {
					t.Errorf("%v is not in words: %s", g, words)
				}
			}
			if h.State == nil || h.State.Device != "bench-1" {
				return
			}
			turn := w.Poll(h, w.now)
			if told := turn.Offer != nil && turn.Offer.Install; told != (c.want == 0) {
				t.Errorf("told to install: %v", told)
			}
		})
	}

	t.Run("ring", func(t *testing.T) {
		w := ready(t)
		h := Heard{State: quiet("pump-3"), At: w.now}
		if got := w.Gates("pump-3", h, w.now); got != 1<<patch.RingGate || w.Waits("pump-3", h, w.now)[0].Why != "it is not the turn of its ring, icu" {
			t.Errorf("shut are %v", got)
		}
		if turn := w.Poll(h, w.now); turn.Offer != nil || len(turn.Events) > 0 {
			t.Errorf("%+v", turn)
		}
	})
	t.Run("spare", func(t *testing.T) {
		w := ready(t)
		w.demands.Spare = true
		h := Heard{State: quiet("bench-1"), At: w.now}
		if got := w.Gates("bench-1", h, w.now); got != 1<<patch.CapacityGate {
			t.Errorf("shut are %v", got)
		}
		w.write(w.note(event.UpdateOverridden, "bench-1", w.now, event.Text(event.Gate, patch.CapacityGate.String()), event.Int(event.NotAfter, w.now.Add(time.Hour).Unix())))
		if got := w.Gates("bench-1", h, w.now); got != 1<<patch.CapacityGate {
			t.Errorf("with the ward's number relaxed, the maker's demand of a spare is too: shut are %v", got)
		}
		w.must(w.Attend("bench-1", patch.InClinic, true, mira, w.now.Add(time.Hour), w.now))
		if got := w.Gates("bench-1", h, w.now); got != 0 {
			t.Errorf("shut are %v", got)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if got := ready(t).Gates("pump-9", Heard{}, start); got != patch.NoGate.Gates() {
			t.Errorf("shut are %v", got)
		}
	})
}

// An update takes its course: staged, told to install, done; ring after ring.
func TestCourse(t *testing.T) {
	w := ready(t)
	s := quiet("bench-1")
	s.Staged = patch.Digest{}
	stage := w.poll(s)
	if o := stage.Offer; o == nil || o.Install || o.Envelope != w.cfg.Release.Envelope || o.Number == 0 || !o.Expires.After(w.now) {
		t.Fatalf("%+v", stage)
	}
	if again := w.poll(s); len(again.Events) > 0 || !reflect.DeepEqual(again.Offer, stage.Offer) {
		t.Errorf("asked again, it is offered %+v, not %+v", again, stage)
	}
	s.Staged = w.cfg.Release.Envelope
	tell := w.poll(s)
	if o := tell.Offer; o == nil || !o.Install || o.Number <= stage.Offer.Number || o.Expires.Sub(w.now) > 5*time.Minute || !reflect.DeepEqual(o.Demands, *w.Demands()) {
		t.Fatalf("%+v", tell)
	}
	if m, _ := w.Member("bench-1"); m.Status != Out || w.Progress().Out != 1 {
		t.Errorf("%+v", m)
	}
	done := w.poll(installed(tell.Offer))
	if done.Heard != 2 || len(done.Events) != 1 {
		t.Errorf("%+v", done)
	}
	if again := w.poll(installed(tell.Offer)); again.Heard != 2 || len(again.Events) != 0 || again.Offer != nil {
		t.Errorf("heard again: %+v", again)
	}
	if m, _ := w.Member("bench-1"); m.Status != Finished || m.Outcome != patch.Installed {
		t.Errorf("%+v", m)
	}
	w.poll(installed(w.poll(quiet("bench-2")).Offer))
	p := w.Progress()
	if p.Rings[0].Finished != 2 || !p.Rings[1].Began.IsZero() || p.Status != "under way" || !p.Rings[0].Soaked.Equal(w.now.Add(24*time.Hour)) {
		t.Errorf("%+v", p)
	}
	w.now = w.now.Add(24*time.Hour - time.Second)
	w.write(w.Due(w.now)...)
	if w.open != 1 {
		t.Error("a ring begins before the one before it has soaked")
	}
	w.now = w.now.Add(time.Second)
	w.write(w.Due(w.now)...)
	if e := w.log[len(w.log)-1]; e.Kind != event.RingOpened || e.Text(event.Ring) != "icu" || !strings.Contains(e.Text(event.Reason), "below 77.6 %") {
		t.Errorf("%s", event.Append(nil, &e))
	}
	for _, d := range []string{"pump-3", "pump-4"} {
		w.poll(installed(w.poll(quiet(d)).Offer))
	}
	if p := w.Progress(); p.Status != "ended" || p.Outcomes[patch.Installed] != 4 {
		t.Errorf("%+v", p)
	}
	if !reflect.DeepEqual(w.fold().Progress(), w.Progress()) {
		t.Error("the log makes another roll-out")
	}
}

// Of an infusion that goes on and on one wait is written down, and another when it is
// for something else.
func TestWaitsAreWrittenOnce(t *testing.T) {
	w := ready(t)
	from := len(w.log)
	s := quiet("bench-1")
	s.Doing = patch.Delivering
	for range 3 {
		w.poll(s)
	}
	s.Battery = 10
	w.poll(s)
	s.Battery = 11
	w.poll(s)
	if got := w.kinds(from); !reflect.DeepEqual(got, []string{"update-waited", "update-waited"}) {
		t.Errorf("written were %v", got)
	}
	if m, _ := w.Member("bench-1"); m.Shut != 1<<patch.TherapyGate|1<<patch.PowerGate || !strings.Contains(m.Why, "therapy is being given; its battery is at 10 %") {
		t.Errorf("%+v", m)
	}
}

func TestHalts(t *testing.T) {
	tell := func(w *world) *patch.State {
		o := w.poll(quiet("bench-1")).Offer
		return installed(o)
	}
	for _, c := range []struct {
		name  string
		do    func(w *world)
		why   string
		final bool
	}{
		{"loss of function", func(w *world) {
			s := tell(w)
			s.Result.Resumed = false
			w.poll(s)
		}, "bench-1: loss of function", true},
		{"loss of function that a person reports, long after", func(w *world) {
			w.poll(tell(w))
			w.must(w.Report("bench-1", patch.Result{Outcome: patch.LostFunction, Reason: "it stopped at night"}, mira, w.now))
		}, "loss of function", true},
		{"lost settings", func(w *world) {
			s := tell(w)
			s.Result.After = patch.Digest{7}
			w.poll(s)
		}, "settings were lost", false},
		{"silence", func(w *world) {
			tell(w)
			w.now = w.now.Add(5*time.Minute + time.Hour + time.Second)
			w.write(w.Due(w.now)...)
		}, "no word since the update", false},
		{"a person", func(w *world) { w.must(w.Halt(tomas, "a call from the maker", false, w.now)) }, "a call from the maker", false},
		{"a person, for good", func(w *world) { w.must(w.Halt(tomas, "a call from the maker", true, w.now)) }, "a call from the maker", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ready(t)
			c.do(w)
			halted, why, _, final := w.Halted()
			if !halted || !strings.Contains(why, c.why) || final != c.final {
				t.Fatalf("halted %v, %q, for good %v", halted, why, final)
			}
			if e := w.log[len(w.log)-1]; e.Kind != event.RolloutHalted {
				t.Errorf("the last event is %v", e.Kind)
			}
			if turn := w.poll(quiet("bench-2")); turn.Offer != nil {
				t.Errorf("offered is %+v", turn.Offer)
			}
			if h := w.cfg.Never; h != nil {
				t.Fatal("the list is another's")
			}
			never := w.Rollout.cfg.Never
			if len(never.List()) != 1 || never.Refuses(w.cfg.Release) == nil {
				t.Errorf("never again: %+v", never.List())
			}
			if !reflect.DeepEqual(w.fold().Progress(), w.Progress()) {
				t.Error("the log makes another roll-out")
			}
			if _, err := w.Resume(lea, " ", w.now); err == nil {
				t.Error("it goes on without a reason")
			}
			events, err := w.Resume(lea, "looked at", w.now)
			if c.final {
				if !errors.Is(err, ErrFinal) {
					t.Errorf("it goes on: %v", err)
				}
				return
			}
			w.must(events, err)
			if halted, why, _, _ := w.Halted(); halted || len(never.List()) != 0 {
				t.Errorf("it is halted still: %s", why)
			}
		})
	}
}

// A halt voids what was offered, and so does consent that is withdrawn, up to the switch.
func TestVoid(t *testing.T) {
	for name, stop := range map[string]func(w *world){
		"halt":    func(w *world) { w.must(w.Halt(lea, "smoke", false, w.now)) },
		"pause":   func(w *world) { w.must(w.Pause(lea, "lunch", w.now)) },
		"consent": func(w *world) { w.must(w.Withdraw("bench-1", Patient, lea, "", w.now)) },
	} {
		w := ready(t)
		o := w.poll(quiet("bench-1")).Offer
		if m, _ := w.Member("bench-1"); m.Void || w.poll(quiet("bench-1")).Void >= o.Number {
			t.Errorf("%s: it is void before", name)
		}
		stop(w)
		var told []string
		w.Voids(w.now, func(dev string, upTo uint64) { told = append(told, fmt.Sprint(dev, upTo >= o.Number)) })
		if turn := w.poll(quiet("bench-1")); turn.Void < o.Number || turn.Offer != nil || !reflect.DeepEqual(told, []string{"bench-1true"}) {
			t.Errorf("%s: %+v, told %v", name, turn, told)
		}
		if m, _ := w.Member("bench-1"); !m.Void {
			t.Errorf("%s: %+v", name, m)
		}
		// It had begun already: it says how it ended, and is believed.
		if turn := w.poll(installed(o)); turn.Heard == 0 {
			t.Errorf("%s: %+v", name, turn)
		}
		if m, _ := w.Member("bench-1"); m.Outcome != patch.Installed {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// An offer that was not taken up in time holds no place in the ward once the device has
// been heard of since; until then it does.
func TestLapse(t *testing.T) {
	w := ready(t)
	w.poll(quiet("bench-1"))
	w.now = w.now.Add(6 * time.Minute)
	if turn := w.poll(quiet("bench-2")); turn.Shut != 1<<patch.CapacityGate {
		t.Errorf("shut are %v", turn.Shut)
	}
	s := quiet("bench-1")
	s.Doing = patch.Bolus
	w.poll(s)
	if turn := w.poll(quiet("bench-2")); turn.Offer == nil || !turn.Offer.Install {
		t.Errorf("%+v", turn)
	}
}

// So is one that has dropped what it had staged meanwhile: it is not silent.
func TestLapseWithoutStage(t *testing.T) {
	w := ready(t)
	w.poll(quiet("bench-1"))
	w.now = w.now.Add(6 * time.Minute)
	s := quiet("bench-1")
	s.Staged = patch.Digest{}
	if o := w.poll(s).Offer; o == nil || o.Install {
		t.Errorf("it is offered %+v", o)
	}
	if m, _ := w.Member("bench-1"); m.Status != Staging || w.Progress().Out != 0 {
		t.Errorf("%+v", m)
	}
	w.now = w.now.Add(3 * time.Hour)
	w.write(w.Due(w.now)...)
	if halted, why, _, _ := w.Halted(); halted {
		t.Errorf("halted: %s", why)
	}
}

func TestRefused(t *testing.T) {
	w := ready(t)
	for n := 1; ; n++ {
		o := w.poll(quiet("bench-1")).Offer
		if n > maxRefused {
			if o != nil {
				t.Error("it is offered for ever")
			}
			break
		}
		s := quiet("bench-1")
		s.Result = &patch.Result{Envelope: o.Envelope, Offer: o.Number, Version: s.Version, Outcome: patch.Refused, Reason: "therapy"}
		w.poll(s)
		w.now = w.now.Add(time.Second)
	}
	if m, _ := w.Member("bench-1"); m.Outcome != patch.Refused {
		t.Errorf("%+v", m)
	}
}

func TestOverride(t *testing.T) {
	w := ready(t)
	h := Heard{State: quiet("bench-1"), At: w.now}
	w.Know(Unit{"bench-1", "er", "infusion pump", "independent"}) // has no window
	until := w.now.Add(100 * time.Hour)
	for name, c := range map[string]struct {
		gate       patch.Gate
		by, second Somebody
		reason     string
		want       error
	}{
		"one person twice":     {patch.WindowGate, mira, mira, "now", ErrWho},
		"a role that may not":  {patch.WindowGate, mira, lea, "now", ErrWho},
		"no reason":            {patch.WindowGate, mira, tomas, " ", ErrReason},
		"not in the plan":      {patch.CapacityGate, mira, tomas, "now", ErrGate},
		"therapy":              {patch.TherapyGate, mira, tomas, "now", ErrGate},
		"power":                {patch.PowerGate, mira, tomas, "now", ErrGate},
		"version":              {patch.VersionGate, mira, tomas, "now", ErrGate},
		"hardware":             {patch.HardwareGate, mira, tomas, "now", ErrGate},
		"freshness":            {patch.FreshGate, mira, tomas, "now", ErrGate},
		"what must be lowered": {patch.SupervisionGate, mira, tomas, "now", ErrGate},
	} {
		if _, err := w.Override("bench-1", c.gate, c.by, c.second, c.reason, until, w.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.Gates("bench-1", h, w.now); got != 1<<patch.WindowGate {
		t.Fatalf("shut are %v", got)
	}
	w.must(w.Override("bench-1", patch.WindowGate, mira, tomas, "exploited now", until, w.now))
	if got := w.Gates("bench-1", h, w.now); got != 0 {
		t.Errorf("shut are %v", got)
	}
	w.now = w.now.Add(12 * time.Hour) // as long as the plan lets it
	h.At = w.now
	if got := w.Gates("bench-1", h, w.now); got != 1<<patch.WindowGate {
		t.Errorf("shut are %v", got)
	}
	w.must(w.Withdraw("bench-1", Patient, lea, "", w.now))
	w.must(w.Override("", patch.PatientGate, mira, tomas, "exploited now", until, w.now))
	if got := w.Gates("bench-1", h, w.now); !got.Has(patch.PatientGate) {
		t.Error("a no was relaxed")
	}
	w.must(w.Override("", patch.FreezeGate, mira, tomas, "exploited now", until, w.now))
	w.must(w.Pause(lea, "lunch", w.now))
	if got := w.Gates("bench-1", h, w.now); !got.Has(patch.FreezeGate) {
		t.Error("a pause was relaxed")
	}

	// An event that no server of ours wrote relaxes nothing either.
	for g := patch.Gate(1); g.String() != "?"; g++ {
		e := w.note(event.UpdateOverridden, "bench-1", w.now, event.Text(event.Gate, g.String()), event.Int(event.NotAfter, until.Unix()))
		if err := w.Apply(&e); (err == nil) != Relaxable(g) || g.Fixed() && err == nil {
			t.Errorf("%v: %v", g, err)
		}
	}
}

// Below is checked against the rule of three, and against values that R 4.3 gives for
// binom.test(k, n, alternative = "less")$conf.int[2].
func TestBelow(t *testing.T) {
	for _, c := range []struct {
		n, k int
		want float64
	}{{0, 0, 1}, {1, 1, 1}, {1, 0, 0.95}, {10, 0, 0.2588656}, {10, 1, 0.3941633}, {100, 0, 0.02951312}, {100, 3, 0.07571053}, {100_000, 0, 0.00002995687}} {
		if got := Below(c.n, c.k); got < c.want*(1-1e-5) || got > c.want*(1+1e-5) {
			t.Errorf("%d of %d: below %v, not %v", c.k, c.n, got, c.want)
		}
	}
}

// The test halts what is worse than its bound soon, leaves alone what is as usual, and
// is not lulled by what went well before.
func TestWalk(t *testing.T) {
	b := Bounds{Alpha: 5, Beta: 5}
	run := func(good int, every int) int {
		w := newWalk(Rate{0.2, 1}, &b)
		for range good {
			w.step(false)
		}
		for i := range 100_000 {
			if w.step(i%every == every-1); w.exceeded() {
				return i + 1
			}
		}
		return 0
	}
	for _, c := range []struct{ good, every, most int }{{0, 1, 2}, {0, 50, 150}, {100_000, 50, 250}, {0, 100, 500}} {
		if got := run(c.good, c.every); got == 0 || got > c.most {
			t.Errorf("one in %d after %d good ones: halts after %d", c.every, c.good, got)
		}
	}
	if got := run(0, 600); got != 0 {
		t.Errorf("one in 600 halts after %d, where one in 500 is usual", got)
	}
}

func TestRuledOut(t *testing.T) {
	w := ready(t)
	if _, err := w.RuleOut("bench-1", "", "guard envelope pump-b1", lea, "no slot", time.Time{}, w.now); !errors.Is(err, ErrReason) {
		t.Errorf("without an owner: %v", err)
	}
	if _, err := w.RuleOut("bench-1", "lea", " ", lea, "no slot", time.Time{}, w.now); !errors.Is(err, ErrReason) {
		t.Errorf("without another control: %v", err)
	}
	w.must(w.RuleOut("bench-1", "lea", "guard envelope pump-b1", lea, "its flash is worn", start.AddDate(1, 0, 0), w.now))
	m, _ := w.Member("bench-1")
	if m.Outcome != patch.Unable || m.Owner != "lea" || m.Control != "guard envelope pump-b1" || m.Why != "its flash is worn" || !m.Review.Equal(start.AddDate(1, 0, 0)) {
		t.Errorf("%+v", m)
	}
	if turn := w.poll(quiet("bench-1")); turn.Offer != nil {
		t.Errorf("%+v", turn)
	}
}

// What was offered to a device that is ruled out is void, though it may have begun.
func TestRuledOutWhileTold(t *testing.T) {
	w := ready(t)
	o := w.poll(quiet("bench-1")).Offer
	if o == nil || !o.Install {
		t.Fatalf("%+v", o)
	}
	w.must(w.RuleOut("bench-1", "lea", "returned", lea, "its flash is worn", time.Time{}, w.now))
	if turn := w.poll(quiet("bench-1")); turn.Offer != nil || turn.Void < o.Number {
		t.Errorf("it may still begin: %+v", turn)
	}
	if turn := w.poll(installed(o)); turn.Heard == 0 {
		t.Error("that it had begun is not heard")
	}
	if m, _ := w.Member("bench-1"); m.Outcome != patch.Installed {
		t.Errorf("%+v", m)
	}
}

// A person installs: it is done once a sensor shows it, whoever says so.
func TestWorkOrder(t *testing.T) {
	begin := func(t *testing.T) *world {
		w := newWorld(t, "rollout: 1\nexecutor: person\noffer: 30m\nbackup: {none: 1h}\nrings:\n  - name: all\n", flow(), Unit{"pump-3", "icu", "infusion pump", "none"}, Unit{"pump-4", "er", "infusion pump", "none"})
		w.must(w.Start(lea, "ADA-2026-01", w.now))
		w.must(w.Attend("pump-3", patch.InClinic, false, mira, w.now.Add(time.Hour), w.now))
		s := quiet("pump-3")
		s.Staged = patch.Digest{}
		s.Doing = patch.Delivering
		if turn := w.poll(s); turn.Offer != nil || !turn.Shut.Has(patch.TherapyGate) {
			t.Fatalf("%+v", turn)
		}
		if m, _ := w.Member("pump-3"); m.Offer == 0 || m.Status == Out {
			t.Errorf("the work order is not out: %+v", m)
		}
		if _, err := w.Report("pump-3", patch.Result{Outcome: patch.Installed}, lea, w.now); !errors.Is(err, ErrNotNow) {
			t.Errorf("done before it may begin: %v", err)
		}
		s.Doing = 0
		w.now = w.now.Add(time.Second)
		if turn := w.poll(s); turn.Offer != nil || turn.Shut != 0 {
			t.Fatalf("%+v", turn)
		}
		if m, _ := w.Member("pump-3"); m.Status != Out {
			t.Errorf("it may not begin: %+v", m)
		}
		return w
	}
	good := patch.Result{Outcome: patch.Installed, Version: "2.2.0", Resumed: true, SelfTest: true, Before: patch.Digest{1}, After: patch.Digest{1}, Took: time.Minute}
	outcome := func(w *world) patch.Outcome {
		m, _ := w.Member("pump-3")
		return m.Outcome
	}

	t.Run("said, then seen", func(t *testing.T) {
		w := begin(t)
		w.must(w.Report("pump-3", good, lea, w.now))
		if outcome(w) != patch.NoOutcome {
			t.Error("a person's word is enough")
		}
		w.write(w.Show("pump-3", "2.1.4", true, w.now)...)
		if outcome(w) != patch.NoOutcome {
			t.Error("another version is enough")
		}
		w.write(w.Show("pump-3", "2.2.0", true, w.now)...)
		if outcome(w) != patch.Installed {
			t.Error("it is not done")
		}
	})
	t.Run("seen, then said", func(t *testing.T) {
		w := begin(t)
		w.write(w.Show("pump-3", "2.2.0", true, w.now)...)
		w.must(w.Report("pump-3", good, lea, w.now))
		if outcome(w) != patch.Installed {
			t.Error("it is not done")
		}
	})
	t.Run("a receipt", func(t *testing.T) {
		w := begin(t)
		m, _ := w.Member("pump-3")
		w.poll(installed(&patch.Offer{Device: "pump-3", Number: m.Offer, Envelope: w.cfg.Release.Envelope, Version: "2.2.0", Sequence: 8}))
		if outcome(w) != patch.Installed {
			t.Error("it is not done")
		}
	})
	t.Run("said, and never seen", func(t *testing.T) {
		w := begin(t)
		w.must(w.Report("pump-3", good, lea, w.now))
		w.now = w.now.Add(2 * time.Hour)
		w.write(w.Due(w.now)...)
		if halted, why, _, _ := w.Halted(); !halted || !strings.Contains(why, "no word") {
			t.Errorf("halted %v, %s", halted, why)
		}
	})
	t.Run("seen, and therapy not", func(t *testing.T) {
		w := begin(t)
		w.write(w.Show("pump-3", "2.2.0", false, w.now)...)
		w.now = w.now.Add(3*time.Minute + time.Second)
		w.write(w.Due(w.now)...)
		if halted, _, _, final := w.Halted(); !halted || !final || outcome(w) != patch.LostFunction {
			t.Errorf("halted %v for good %v, %v", halted, final, outcome(w))
		}
	})
	t.Run("seen, and therapy not, while another is silent", func(t *testing.T) {
		w := begin(t)
		w.must(w.Attend("pump-4", patch.InClinic, false, mira, w.now.Add(3*time.Hour), w.now))
		w.now = w.now.Add(20 * time.Minute)
		w.poll(quiet("pump-4"))
		w.poll(quiet("pump-4"))
		if m, _ := w.Member("pump-4"); m.Status != Out {
			t.Fatalf("it may not begin: %+v", m)
		}
		w.now = w.now.Add(70*time.Minute - time.Second)
		w.write(w.Show("pump-4", "2.2.0", false, w.now)...)
		w.now = w.now.Add(2 * time.Second) // the other's time is over, this one's is not
		w.write(w.Due(w.now)...)
		w.now = w.now.Add(3 * time.Minute)
		w.write(w.Due(w.now)...)
		if m, _ := w.Member("pump-4"); m.Outcome != patch.LostFunction {
			t.Errorf("nobody is alarmed: %+v", m)
		}
	})
	t.Run("never begun", func(t *testing.T) {
		w := begin(t)
		w.must(w.Report("pump-3", patch.Result{Outcome: patch.Withdrawn, Reason: "she was called away"}, lea, w.now))
		w.now = w.now.Add(3 * time.Hour)
		w.write(w.Due(w.now)...)
		if m, _ := w.Member("pump-3"); m.Status == Out || m.Outcome != patch.NoOutcome || w.Progress().Status != "under way" {
			t.Errorf("%+v", m)
		}
	})
	t.Run("said that it failed", func(t *testing.T) {
		w := begin(t)
		bad := good
		bad.SelfTest = false
		w.must(w.Report("pump-3", bad, lea, w.now))
		if outcome(w) != patch.LostFunction {
			t.Errorf("%v", outcome(w))
		}
	})
}

// What halted is offered by no other roll-out.
func TestNever(t *testing.T) {
	w := ready(t)
	w.must(w.Halt(lea, "smoke", true, w.now))
	for name, c := range map[string]struct {
		do    func(*patch.Release)
		never bool
	}{
		"the same":         {func(*patch.Release) {}, true},
		"the same version": {func(r *patch.Release) { r.Envelope, r.Sequence = patch.Digest{10}, 9 }, true},
		"the sequence":     {func(r *patch.Release) { r.Envelope, r.Version = patch.Digest{10}, "2.2.1" }, true},
		"the envelope":     {func(r *patch.Release) { r.Model, r.Version, r.Sequence = "Flow 600", "3", 9 }, true},
		"the next":         {func(r *patch.Release) { r.Envelope, r.Version, r.Sequence = patch.Digest{10}, "2.2.1", 9 }, false},
		"another product":  {func(r *patch.Release) { r.Envelope, r.Model = patch.Digest{10}, "Flow 600" }, false},
	} {
		cfg := w.cfg
		cfg.ID, cfg.Never, cfg.Release = "again", w.Rollout.cfg.Never, flow()
		c.do(cfg.Release)
		r, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Start(lea, "again", w.now); errors.Is(err, ErrFinal) != c.never {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		plan string
		want string
	}{
		"too few":          {"rollout: 1\nrings:\n  - {name: all, least: 3}\n", "ring all has 2 devices: the plan wants 3"},
		"never finished":   {"rollout: 1\nrings:\n  - {name: all, finished: 3}\n", "ring all has 2 devices"},
		"nowhere":          {"rollout: 1\nrings:\n  - {name: a, devices: [a]}\n", "device b is in no ring"},
		"silent too soon":  {"rollout: 1\nrings:\n  - {name: all}\nbounds: {silence: 9m59s}\n", "an update may take 10m0s"},
		"another release":  {"rollout: 1\nrings:\n  - {name: all}\nrelease: " + strings.Repeat("01", 32) + "\n", "another release"},
		"a ring with none": {"rollout: 1\nrings:\n  - {name: all}\n  - {name: rest}\n", "ring rest has 0 devices"},
	} {
		p, err := ParsePlan("plan.yaml", []byte(c.plan))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{ID: "x", Plan: p, Release: flow(), Units: []Unit{{Device: "a"}, {Device: "b"}}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
