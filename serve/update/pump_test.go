// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/agent/https"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/patch/suit"
	sim "github.com/myelin-health/myelin/sim/update"
)

// A bed has a simulated pump with an agent, which asks the server by HTTPS.
type bed struct {
	*sim.Updater
	body *sim.Infusion
	dev  string
}

// A stack is a ward whose pumps are simulated, and a release of their maker's that is on
// its way to them, by a plan.
type stack struct {
	*site
	*book
	t    *testing.T
	beds []*bed
	past time.Duration // since it was built
}

// newStack builds one. fault is what is wrong with a pump, by its number, when it runs
// the release.
func newStack(t *testing.T, plan string, fault func(bed int) sim.Fault) *stack {
	t.Helper()
	s := &stack{t: t}
	var units []*unit
	s.site, s.book, units = ward(t, "")
	clock := func() time.Duration { return s.past }
	maker := newUnit(t, "maker", cose.CurveEd25519)
	m := sim.Maker{Signer: maker.signer, KeyID: maker.kid, Vendor: [16]byte{1}, Class: [16]byte{2}, Component: suit.ComponentID{[]byte("firmware")}}
	for i, u := range units {
		c, err := https.New("https://"+s.addr, s.client(t).Transport.(*http.Transport))
		must(t, err)
		t.Cleanup(func() { c.Close() })
		b := &bed{body: sim.NewInfusion(clock), dev: u.Device}
		b.Updater, err = sim.New(sim.Config{
			Agent: agent.Config{
				ID: u.Device, Hardware: "C", Vendor: m.Vendor, Class: m.Class, Component: m.Component, Server: c,
				Signer: u.signer, KeyID: u.kid, Makers: []cose.Key{maker.key}, Offers: []cose.Key{s.public}, Answers: []cose.Key{s.public}, Clock: clock,
			},
			Body: b.body, Version: "2.1.4", Sequence: 7,
			Fault: func(v string) sim.Fault {
				if v == "2.2.1" && fault != nil {
					return fault(i)
				}
				return sim.NoFault
			},
		})
		must(t, err)
		s.beds = append(s.beds, b)
	}
	r := patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.1", Sequence: 9,
		Demands: patch.Demands{Hardware: []string{"C"}, From: []string{"2.1.4"}, Longest: 5 * time.Minute, Resume: 2 * time.Minute, Battery: 40},
	}
	image := sim.Image(r.Version, sim.NoFault, 5000)
	suit, err := m.Release(&r, image, "flow500.bin")
	must(t, err)
	folder := filepath.Join(s.dir, "updates", "flow500", "2.2.1")
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "envelope.suit"), suit, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "flow500.bin"), image, 0o600))
	must(t, s.AddRelease(t.Context(), lea, &r, "flow500/2.2.1/envelope.suit"))
	must(t, s.Create(t.Context(), lea, "flow", r.Envelope, []byte(plan), "ADA-2026-01"))
	must(t, s.Start(t.Context(), lea, "flow", "ADA-2026-01"))
	return s
}

// live lets the pumps live until done says so, or the time is over; it reports which.
func (s *stack) live(last time.Duration, done func() bool) bool {
	s.t.Helper()
	next := make([]time.Duration, len(s.beds))
	for i := range next {
		next[i] = s.past
	}
	for end := s.past + last; s.past < end; {
		for i, b := range s.beds {
			if next[i] > s.past {
				continue
			}
			wait, err := b.Step(s.t.Context())
			if err != nil {
				s.t.Fatal(err)
			}
			next[i] = s.past + max(wait, time.Second)
		}
		must(s.t, s.due(s.t.Context()))
		if done() {
			return true
		}
		step := slices.Min(next) - s.past
		s.past += step
		s.pass(step)
	}
	return false
}

func (s *stack) outcomes() map[patch.Outcome]int { return s.status(s.t, "flow").Outcomes }

// TestPumpWaits: a release reaches a pump only after its infusion has ended, one in the
// middle of a bolus never while that lasts, and one whose battery would not last a
// roll-back not at all. The ledger says which waited for what.
func TestPumpWaits(t *testing.T) {
	s := newStack(t, "rollout: 1\nrings: [{name: all}]\npoll: 1m\n", nil)
	s.beds[0].body.Infuse(20_00, 3*time.Hour)
	s.beds[1].body.Bolus(40 * time.Minute)
	s.beds[2].body.Battery = 39
	ended := map[int]time.Duration{}
	s.live(5*time.Hour, func() bool {
		for i, b := range s.beds {
			if b.Version() == "2.2.1" && ended[i] == 0 {
				ended[i] = s.past
			}
			if b.body.Infusing() && b.Starts() > 1 && ended[i] == 0 {
				t.Fatalf("pump %d is started again while it gives", i)
			}
		}
		return s.outcomes()[patch.Installed] == 2
	})
	if ended[0] < 3*time.Hour || ended[1] < 40*time.Minute || ended[1] > 2*time.Hour || ended[2] != 0 {
		t.Errorf("updated after %v", ended)
	}
	if got := s.outcomes(); got[patch.Installed] != 2 {
		t.Errorf("%v", got)
	}
	waits, err := s.Waits(t.Context(), lea, "flow", s.beds[2].dev)
	if err != nil || !slices.ContainsFunc(waits, func(w patch.Wait) bool { return w.Gate == patch.PowerGate }) {
		t.Errorf("it waits for %v, %v", waits, err)
	}
	for i, want := range []string{"therapy is being given", "a bolus is being given", "its battery is at 39 %"} {
		if !s.says(s.beds[i].dev, want) {
			t.Errorf("the ledger does not say of pump %d that %s", i, want)
		}
	}
}

// TestPumpLosesSettings: an update that loses the settings of one pump halts the roll-out
// before another pump is updated.
func TestPumpLosesSettings(t *testing.T) {
	for fault, want := range map[sim.Fault]patch.Outcome{sim.LosesSettings: patch.LostSettings, sim.Stuck: patch.LostFunction} {
		s := newStack(t, "rollout: 1\nrings: [{name: all}]\npoll: 1m\n", func(bed int) sim.Fault {
			if bed == 0 {
				return fault
			}
			return sim.NoFault
		})
		for _, b := range s.beds[1:] {
			b.body.Infuse(20_00, 2*time.Hour)
		}
		s.live(5*time.Hour, func() bool { return false })
		p := s.status(t, "flow")
		if p.Status != "halted" || p.Outcomes[want] != 1 || p.Outcomes[patch.Installed] != 0 || p.Final != (want == patch.LostFunction) {
			t.Errorf("%v: %+v", fault, p)
		}
		for _, b := range s.beds[1:] {
			if b.Version() != "2.1.4" {
				t.Errorf("%v: another pump runs %s", fault, b.Version())
			}
		}
		if !slices.Contains(s.kinds(), "rollout-halted") {
			t.Errorf("%v: the ledger has no halt", fault)
		}
		must(t, s.View(lea, "flow", func(r *rollout.Rollout, _ time.Time) error {
			if m, _ := r.Member(s.beds[0].dev); m.Outcome != want {
				t.Errorf("%v: %+v", fault, m)
			}
			return nil
		}))
	}
}

// says reports whether what was recorded of a device has some words.
func (b *book) says(dev, words string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.list {
		e := &b.list[i]
		if e.Device.Value != dev {
			continue
		}
		for _, a := range e.Attrs() {
			if strings.Contains(a.Text, words) {
				return true
			}
		}
	}
	return false
}
