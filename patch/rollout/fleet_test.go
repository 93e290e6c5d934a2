// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
)

// Whatever comes in whatever order: nobody is told to install past a gate that is
// fixed, with an old state, without consent, nor while the roll-out is halted; loss of
// function halts for good; and a server that is killed between any two events goes on
// as it was.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var units []Unit
		for i := range 6 {
			units = append(units, Unit{fmt.Sprint("pump-", i), []string{"icu", "er"}[i%2], "infusion pump", "independent"})
		}
		p, err := ParsePlan("plan.yaml", []byte(`rollout: 1
rings:
  - {name: bench, devices: [pump-0, pump-1], soak: 1h}
  - {name: all}
capacity: 2
bounds: {silence: 30m, silent: 2}
fresh: {usual: 1m}
zone: UTC
windows: [{open: "sun-sat 00:00-23:00"}]
consent: {patient: true, terms: "1"}
backup: {independent: 5m}
relax:
  - {gate: ring, urgency: regular cycle, by: [prescriber, security analyst], most: 2h}
  - {gate: patient's consent, urgency: regular cycle, by: [prescriber, security analyst], most: 2h}
  - {gate: maintenance window, urgency: regular cycle, by: [prescriber, security analyst], most: 2h}
`))
		if err != nil {
			rt.Fatal(err)
		}
		rel := flow()
		rel.Demands.Supervision = patch.Unattended
		w := &world{TB: t, cfg: Config{ID: "x", Site: "ada", Plan: p, Release: rel, Units: units}, now: start}
		if w.Rollout, err = New(w.cfg); err != nil {
			rt.Fatal(err)
		}
		no := map[string]bool{}                    // patients who withdrew
		lost, told := 0, map[string]*patch.Offer{} // losses of function that were written down
		killed := errors.New("killed")

		// commit writes events down until the server is killed, and then begins anew.
		commit := func(events []event.Event) {
			kill := rapid.IntRange(0, 5).Draw(rt, "kill")
			for again := events; len(again) > 0; again = w.Due(w.now) {
				err := w.Commit(again, func(e *event.Event) error {
					if kill--; kill == 0 {
						return killed
					}
					w.log = append(w.log, *e)
					if e.Text(event.Ended) == patch.LostFunction.String() {
						lost++
					}
					switch e.Kind {
					case event.ConsentGiven:
						no[e.Device.Value] = false
					case event.ConsentWithdrawn:
						no[e.Device.Value] = true
					}
					return nil
				})
				if errors.Is(err, killed) {
					w.Rollout = w.fold()
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
			}
		}
		person := func() Somebody { return rapid.SampledFrom([]Somebody{lea, mira, tomas, {}}).Draw(rt, "by") }
		dev := func() string { return rapid.SampledFrom(units).Draw(rt, "device").Device }
		reason := func() string { return rapid.SampledFrom([]string{"", "a reason"}).Draw(rt, "reason") }
		do := func(events []event.Event, err error) {
			if err == nil {
				commit(events)
			}
		}
		actions := map[string]func(*rapid.T){
			"time": func(rt *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 3600).Draw(rt, "seconds")) * time.Second)
			},
			"due":   func(*rapid.T) { commit(w.Due(w.now)) },
			"start": func(*rapid.T) { do(w.Start(lea, "", w.now)) },
			"pause": func(*rapid.T) { do(w.Pause(person(), reason(), w.now)) },
			"halt": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "halt") == 0 {
					do(w.Halt(person(), reason(), false, w.now))
				}
			},
			"resume":   func(*rapid.T) { do(w.Resume(person(), reason(), w.now)) },
			"consent":  func(*rapid.T) { do(w.Consent(dev(), Patient, person(), "1", "", w.now)) },
			"withdraw": func(*rapid.T) { do(w.Withdraw(dev(), Patient, person(), "", w.now)) },
			"override": func(rt *rapid.T) {
				g := patch.Gate(rapid.IntRange(1, int(patch.FreezeGate)).Draw(rt, "gate"))
				if rapid.Bool().Draw(rt, "may") {
					do(w.Override(dev(), patch.PatientGate, mira, tomas, "a reason", w.now.Add(time.Hour), w.now))
					return
				}
				d := rapid.SampledFrom([]string{"", dev()}).Draw(rt, "of")
				do(w.Override(d, g, person(), person(), reason(), w.now.Add(time.Hour), w.now))
			},
			"unable": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "unable") == 0 {
					do(w.RuleOut(dev(), "lea", "guard", person(), reason(), time.Time{}, w.now))
				}
			},
			"poll": func(rt *rapid.T) {
				s := quiet(dev())
				at := w.now.Add(-time.Duration(rapid.SampledFrom([]int{0, 0, 0, 59, 61, -1}).Draw(rt, "age")) * time.Second)
				switch rapid.IntRange(0, 12).Draw(rt, "state") {
				case 0:
					s.Doing = patch.Activity(1) << rapid.IntRange(0, 7).Draw(rt, "doing")
				case 1:
					s.Known = patch.All &^ patch.Episode
				case 2:
					s.Battery = rapid.IntRange(-1, 41).Draw(rt, "battery")
				case 3:
					s.Version = "1.0"
				case 4:
					s.Hardware = "B"
				case 5:
					s.Staged = patch.Digest{}
				case 6:
					s.Trial = true
				case 7:
					s.Version, s.Sequence = "2.2.0", 8
				case 8, 9, 10:
					o := told[s.Device]
					if o == nil {
						break
					}
					s = installed(o)
					s.Result.Outcome = rapid.SampledFrom([]patch.Outcome{patch.Installed, patch.Installed, patch.FellBack, patch.Refused}).Draw(rt, "outcome")
					if s.Result.Outcome != patch.Installed {
						s.Version, s.Sequence, s.Result.Version = "2.1.4", 7, "2.1.4"
					}
					s.Result.Resumed = rapid.IntRange(0, 5).Draw(rt, "resumed") > 0
					s.Result.SelfTest = rapid.IntRange(0, 9).Draw(rt, "self-test") > 0
					if rapid.IntRange(0, 9).Draw(rt, "settings") == 0 {
						s.Result.After = patch.Digest{2}
					}
				}
				halted, why, _, _ := w.Halted()
				turn := w.Poll(Heard{State: s, At: at}, w.now)
				o := turn.Offer
				if halted && o != nil {
					rt.Fatalf("%s is offered a release that is halted: %s", s.Device, why)
				}
				if lost > 0 && o != nil {
					rt.Fatal("offered after a loss of function")
				}
				if o != nil && o.Install {
					for _, u := range rel.Demands.Unmet(s, "2.2.0", 8) {
						rt.Fatalf("told to install while %s", u.Why)
					}
					if age := w.now.Sub(at); age < 0 || age > time.Minute {
						rt.Fatalf("told to install by a state that is %v old", age)
					}
					if no[s.Device] {
						rt.Fatal("told to install after a no")
					}
				}
				n := len(w.log)
				commit(turn.Events)
				if o != nil && o.Install && (len(turn.Events) == 0 || len(w.log)-n >= len(turn.Events)) {
					told[s.Device] = o
				}
			},
			"": func(rt *rapid.T) {
				out, n := 0, 0
				for _, n := range w.out {
					out += n
				}
				for i := range w.members {
					if w.members[i].told {
						n++
					}
				}
				if out != len(w.told) || out != n {
					rt.Fatalf("%d are out by ward, %d by list, %d by themselves", out, len(w.told), n)
				}
				if lost > 0 {
					if halted, _, _, final := w.Halted(); !halted || !final {
						rt.Fatal("a loss of function does not halt for good")
					}
				}
				again := w.fold()
				if !reflect.DeepEqual(again.Progress(), w.Progress()) || !reflect.DeepEqual(slices.Collect(again.Members()), slices.Collect(w.Members())) {
					rt.Fatalf("the log makes another roll-out: %+v, not %+v", again.Progress(), w.Progress())
				}
				again.earliest, again.cfg = w.earliest, w.Rollout.cfg // what only saves time
				if !reflect.DeepEqual(again, w.Rollout) {
					rt.Fatal("the log makes another roll-out, of which nothing shows")
				}
			},
		}
		commit(must(w.Start(lea, "", w.now)))
		for _, u := range units {
			commit(must(w.Consent(u.Device, Patient, lea, "1", "", w.now)))
		}
		names := slices.Sorted(maps.Keys(actions))
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			name := "poll" // every other time
			if rapid.Bool().Draw(rt, "other") {
				name = rapid.SampledFrom(names).Draw(rt, "action")
			}
			actions[name](rt)
			actions[""](rt)
		}
	})
}

func must(events []event.Event, err error) []event.Event {
	if err != nil {
		panic(err)
	}
	return events
}

// fleet is a roll-out of so many devices through five rings.
func fleet(t testing.TB, n int) (*world, []patch.State) {
	t.Helper()
	units := make([]Unit, n)
	states := make([]patch.State, n)
	for i := range units {
		units[i] = Unit{fmt.Sprintf("pump-%06d", i), fmt.Sprint("ward-", i%200), "infusion pump", "independent"}
		states[i] = *quiet(units[i].Device)
		states[i].Staged = patch.Digest{}
	}
	rel := flow()
	rel.Demands.Supervision = patch.Unattended
	return newWorld(t, fmt.Sprintf(`rollout: 1
rings:
  - {name: bench, devices: [pump-000000, pump-000001, pump-000002], least: 3, finished: 3, soak: 1h}
  - {name: staff, wards: [ward-7], finished: %d, soak: 1h}
  - {name: canary, share: 2, finished: %d, soak: 1h}
  - {name: wave 1, share: 30, finished: %d, soak: 1h}
  - {name: wave 2}
bounds:
  fall-back: {usual: 0.3, most: 2}
  silence: 30m
fresh: {infusion pump: 1m}
backup: {independent: 5m}
zone: Europe/Stockholm
windows: [{open: "sun-sat 00:00-24:00"}]
capacity: 100
`, n/400, n/100, n/5), rel, units...), states
}

// run lets every device poll, round after round, as each update ends in the way that
// fault says, until nothing moves any more. It returns how many polls there were after
// the first loss of function was told, and how many of them were offered something.
func (w *world) run(states []patch.State, fault func(ring string, rng *rand.Rand) patch.Outcome) (polls, offered int) {
	w.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	record := func(e *event.Event) error {
		if n := len(w.log); n < cap(w.log) {
			w.log = append(w.log, *e)
		}
		return nil
	}
	commit := func(events []event.Event) {
		for again := events; len(again) > 0; again = w.Due(w.now) {
			if err := w.Commit(again, record); err != nil {
				w.Fatal(err)
			}
		}
	}
	events, err := w.Start(lea, "", w.now)
	if err != nil {
		w.Fatal(err)
	}
	commit(events)
	lost := false
	for idle := 0; idle < 12; {
		w.now = w.now.Add(10 * time.Minute)
		commit(w.Due(w.now))
		moved := false
		for i := range states {
			s := &states[i]
			if s.Sequence == 8 && s.Result == nil && !lost { // it has nothing to ask
				continue
			}
			s.Count++
			s.Doing = 0
			if rng.IntN(4) == 0 {
				s.Doing = patch.Delivering
			}
			turn := w.Poll(Heard{State: s, At: w.now}, w.now)
			if lost {
				if polls++; turn.Offer != nil {
					offered++
				}
			}
			if len(turn.Events) > 0 {
				moved = true
				commit(turn.Events)
			}
			lost = lost || s.Result != nil && s.Result.Judge(w.Demands()) == patch.LostFunction
			if turn.Heard > 0 {
				s.Result = nil
			}
			switch o := turn.Offer; {
			case o == nil:
			case !o.Install:
				s.Staged = o.Envelope
			case len(o.Demands.Unmet(s, o.Version, o.Sequence)) > 0:
				w.Fatal("a device is told to install that must not")
			default:
				m, _ := w.Member(s.Device)
				res := *installed(o).Result
				res.Outcome = fault(m.Ring, rng)
				switch res.Outcome {
				case patch.LostFunction:
					res.Outcome, res.Resumed = patch.Installed, false
				case patch.LostSettings:
					res.Outcome, res.After = patch.Installed, patch.Digest{5}
				}
				if res.Outcome == patch.Installed {
					s.Version, s.Sequence = o.Version, o.Sequence
				} else {
					res.Version = s.Version
				}
				s.Result = &res
			}
		}
		if idle++; moved {
			idle = 0
		}
	}
	return polls, offered
}

// A hundred thousand devices go through five rings.
func TestFleet(t *testing.T) {
	const n = 100_000
	usual := func(_ string, rng *rand.Rand) patch.Outcome {
		switch {
		case rng.IntN(1000) == 0:
			return patch.FellBack
		case rng.IntN(100) == 0:
			return patch.Refused
		}
		return patch.Installed
	}
	t.Run("as usual", func(t *testing.T) {
		w, states := fleet(t, n)
		w.run(states, usual)
		p := w.Progress()
		if p.Status != "ended" || p.Outcomes[patch.Installed] < n*99/100 || p.Outcomes[patch.FellBack] < n/2000 || p.Outcomes[patch.Installed]+p.Outcomes[patch.FellBack]+p.Outcomes[patch.Refused] != n {
			t.Errorf("%+v", p)
		}
	})
	t.Run("loss of function in the fourth ring", func(t *testing.T) {
		w, states := fleet(t, n)
		w.log = make([]event.Event, 0, 10*n)
		waves := 0
		polls, offered := w.run(states, func(ring string, rng *rand.Rand) patch.Outcome {
			if ring == "wave 1" {
				if waves++; waves == 500 {
					return patch.LostFunction
				}
			}
			return usual(ring, rng)
		})
		p := w.Progress()
		if p.Status != "halted" || !p.Final || p.Outcomes[patch.LostFunction] != 1 || p.Out != 0 || !p.Rings[4].Began.IsZero() || p.Rings[4].Waiting != p.Rings[4].Devices {
			t.Errorf("%+v", p)
		}
		if polls < n || offered != 0 {
			t.Errorf("of %d polls after the loss of function %d were offered something", polls, offered)
		}
		if again := w.fold(); !reflect.DeepEqual(again.Progress(), p) {
			t.Errorf("the log makes %+v", again.Progress())
		}
		var b bytes.Buffer
		for i := range w.log {
			if e := &w.log[i]; e.Kind == event.RolloutHalted {
				fmt.Fprintln(&b, e.Text(event.Reason))
			}
		}
		if b.String() != "loss of function\n" {
			t.Errorf("it was halted for: %s", b.String())
		}
	})
	t.Run("falling back", func(t *testing.T) {
		w, states := fleet(t, n/5)
		w.run(states, func(ring string, rng *rand.Rand) patch.Outcome {
			if ring == "canary" && rng.IntN(25) == 0 {
				return patch.FellBack
			}
			return patch.Installed
		})
		if p := w.Progress(); p.Status != "halted" || p.Final || !p.Rings[3].Began.IsZero() {
			t.Errorf("%+v", p)
		}
	})
	t.Run("settings lost", func(t *testing.T) {
		w, states := fleet(t, n/5)
		done := 0
		w.run(states, func(string, *rand.Rand) patch.Outcome {
			if done++; done == 50 {
				return patch.LostSettings
			}
			return patch.Installed
		})
		if p := w.Progress(); p.Status != "halted" || p.Outcomes[patch.LostSettings] != 1 || p.Ended > 300 {
			t.Errorf("%+v", p)
		}
	})
}

// BenchmarkGates answers every gate of 100,000 devices, of which each has something to
// wait for, or nothing.
func BenchmarkGates(b *testing.B) {
	w, states := fleet(b, 100_000)
	w.must(w.Start(lea, "", w.now))
	heard := make(map[string]Heard, len(states))
	for i := range states {
		if i%3 == 0 {
			states[i].Doing = patch.Delivering
		}
		heard[states[i].Device] = Heard{State: &states[i], At: w.now}
	}
	b.ReportAllocs()
	for b.Loop() {
		shut := 0
		w.Survey(w.now, func(dev string) Heard { return heard[dev] }, func(_ string, g patch.Gates) {
			if g != 0 {
				shut++
			}
		})
		if shut < 90_000 {
			b.Fatal(shut)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/100k")
}

// BenchmarkFleet is TestFleet's roll-out as usual, from the start to the end.
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w, states := fleet(b, 100_000)
		b.StartTimer()
		w.run(states, func(_ string, rng *rand.Rand) patch.Outcome {
			if rng.IntN(1000) == 0 {
				return patch.FellBack
			}
			return patch.Installed
		})
		if p := w.Progress(); p.Status != "ended" {
			b.Fatalf("%+v", p)
		}
	}
}

func TestSurveyAllocatesNothing(t *testing.T) {
	w := ready(t)
	heard := map[string]Heard{}
	for i := range w.cfg.Units {
		heard[w.cfg.Units[i].Device] = Heard{State: quiet(w.cfg.Units[i].Device), At: w.now}
	}
	per := func(n int) float64 {
		return testing.AllocsPerRun(10, func() {
			for range n {
				w.shut(&w.members[0], heard["bench-1"], &moment{now: w.now.UnixNano(), until: []int64{0}})
			}
		})
	}
	if n := per(100); n > 0 {
		t.Errorf("%v allocations for 100 devices", n)
	}
}
