// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/agent/https"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/sim/update"
)

// A pump is a simulated Flow 500 with an agent that asks the site over TLS.
type pump struct {
	*update.Updater
	*update.Infusion
	id   string
	next time.Time
}

// pumps give each unit of a ward firmware and an agent, and the site a release of their
// maker, 2.2.1.
func (s *site) pumps(t *testing.T, units []*unit, keeps patch.Activity, fault func(id, version string) update.Fault) (list []*pump, envelope patch.Digest) {
	t.Helper()
	own := newUnit(t, "maker", cose.P256)
	maker := update.Maker{
		Signer: own.signer, KeyID: own.kid, Vendor: suit.VendorUUID("norra.example"), Component: suit.NewComponentID("firmware"),
	}
	maker.Class = suit.ClassUUID(maker.Vendor, "Flow 500")
	r := release
	r.Version, r.Sequence, r.Demands.Resume, r.Demands.Keeps = "2.2.1", 9, 2*time.Minute, keeps
	image := update.Image(r.Version, update.NoFault, 9000)
	b, err := maker.Release(&r, image, "flow500.bin")
	must(t, err)
	folder := filepath.Join(s.dir, "updates", "norra", "2.2.1")
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "flow500.suit"), b, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "flow500.bin"), image, 0o600))
	must(t, s.AddRelease(t.Context(), lea, &r, "norra/2.2.1/flow500.suit"))
	began := s.now()
	clock := func() time.Duration { return s.now().Sub(began) }
	for _, u := range units {
		c, err := https.New("https://"+s.addr, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		body := update.NewInfusion(clock)
		up, err := update.New(update.Config{
			Agent: agent.Config{
				ID: u.Device, Hardware: "C", Vendor: maker.Vendor, Class: maker.Class, Component: maker.Component, Server: c, Signer: u.signer, KeyID: u.kid,
				Makers: []cose.Key{own.key}, Offers: []cose.Key{s.public}, Answers: []cose.Key{s.public}, Clock: clock,
			},
			Body: body, Version: "2.1.4", Sequence: 7, Size: 9000, Fault: func(v string) update.Fault { return fault(u.Device, v) },
		})
		must(t, err)
		list = append(list, &pump{Updater: up, Infusion: body, id: u.Device, next: s.now()})
	}
	return list, r.Envelope
}

// live lets pumps live until done says so, or hours are over, and reports which.
func (s *site) live(t *testing.T, list []*pump, hours int, done func() bool) bool {
	t.Helper()
	for end := s.now().Add(time.Duration(hours) * time.Hour); s.now().Before(end); {
		p := slices.MinFunc(list, func(a, b *pump) int { return a.next.Compare(b.next) })
		if d := p.next.Sub(s.now()); d > 0 {
			s.pass(d)
		}
		wait, err := p.Step(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", p.id, err)
		}
		p.next = s.now().Add(max(wait, time.Second))
		must(t, s.due(t.Context()))
		if done() {
			return true
		}
	}
	return false
}

// A release reaches a pump only after its infusion has ended, ring by ring, from the
// server's roll-out to the agent's slots.
func TestAgents(t *testing.T) {
	s, _, units := ward(t, "")
	pumps, envelope := s.pumps(t, units, 0, func(string, string) update.Fault { return update.NoFault })
	must(t, s.Create(t.Context(), lea, "flow-2.2.1", envelope, fmt.Appendf(nil, plan, units[0].Device), "ADA-2026-01"))
	must(t, s.Start(t.Context(), lea, "flow-2.2.1", "ADA-2026-01"))
	busy := pumps[1]
	if !busy.Infuse(20_00, 3*time.Hour) {
		t.Fatal("it does not infuse")
	}
	began := s.now()
	if s.live(t, pumps, 2, func() bool { return busy.Starts() > 1 }) {
		t.Fatalf("it is started again in the middle of its infusion, after %v", s.now().Sub(began))
	}
	if pumps[0].Version() != "2.2.1" || pumps[2].Version() != "2.2.1" || busy.Version() != "2.1.4" {
		t.Errorf("they run %s, %s, %s", pumps[0].Version(), busy.Version(), pumps[2].Version())
	}
	waits, err := s.Waits(t.Context(), lea, "flow-2.2.1", busy.id)
	if err != nil || len(waits) == 0 || waits[0].Gate != patch.TherapyGate {
		t.Errorf("%v, %v", waits, err)
	}
	if !s.live(t, pumps, 3, func() bool { return s.status(t, "flow-2.2.1").Outcomes[patch.Installed] == 3 }) {
		t.Fatalf("%+v", s.status(t, "flow-2.2.1"))
	}
	if busy.Version() != "2.2.1" || s.now().Sub(began) < 3*time.Hour {
		t.Errorf("it runs %s after %v", busy.Version(), s.now().Sub(began))
	}
	events, err := s.Events(t.Context(), lea, "flow-2.2.1", busy.id, 0, 100)
	must(t, err)
	var of []event.Kind
	for _, e := range slices.Backward(events) {
		of = append(of, e.Kind)
	}
	offered, waited, ended := slices.Index(of, event.UpdateOffered), slices.Index(of, event.UpdateWaited), slices.Index(of, event.UpdateEnded)
	if offered < 0 || waited < 0 || ended < waited || ended < offered {
		t.Errorf("the ledger has of it %v", of)
	}
}

// Devices that lose settings, fall back or are silent end as what they are, and a
// roll-out is halted by what must not go on.
func TestAgentsFail(t *testing.T) {
	for _, c := range []struct {
		fault   update.Fault
		outcome patch.Outcome
		halted  bool
	}{
		{update.Hangs, patch.FellBack, false},
		{update.LosesSettings, patch.LostSettings, true},
		{update.Stuck, patch.LostFunction, true},
	} {
		s, _, units := ward(t, "")
		pumps, envelope := s.pumps(t, units, patch.Delivering|patch.Dependent, func(id, v string) update.Fault {
			if id == units[0].Device && v == "2.2.1" {
				return c.fault
			}
			return update.NoFault
		})
		pumps[0].Infuse(20_00, 100*time.Hour) // which this release keeps in backup mode
		must(t, s.Create(t.Context(), lea, "flow-2.2.1", envelope, fmt.Appendf(nil, plan, units[0].Device), "ADA-2026-01"))
		must(t, s.Start(t.Context(), lea, "flow-2.2.1", "ADA-2026-01"))
		var p rollout.Progress
		s.live(t, pumps, 2, func() bool { p = s.status(t, "flow-2.2.1"); return p.Outcomes[c.outcome] > 0 })
		if p.Outcomes[c.outcome] != 1 || (p.Status == "halted") != c.halted || pumps[0].Version() != "2.1.4" {
			t.Errorf("%v: it runs %s, and the roll-out is %+v", c.fault, pumps[0].Version(), p)
		}
	}
}
