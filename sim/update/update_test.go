// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/suit"
)

func newSigner(t testing.TB) (cose.Signer, cose.Key) {
	t.Helper()
	k, err := cose.GenerateKey(cose.CurveEd25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return s, k.Public()
}

// A stand is one pump of the ward and its server.
type stand struct {
	t     testing.TB
	clock time.Duration
	maker Maker
	pump  *Infusion
	depot *Depot
	*Updater
}

var day = time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)

func newStand(t testing.TB, fault func(string) Fault) *stand {
	t.Helper()
	s := &stand{t: t}
	now := func() time.Duration { return s.clock }
	signer, makerKey := newSigner(t)
	s.maker = Maker{Signer: signer, KeyID: patch.KeyID(&makerKey), Vendor: [16]byte{1}, Class: [16]byte{2}, Component: suit.ComponentID{[]byte("firmware")}}
	hospital, hospitalKey := newSigner(t)
	s.depot = NewDepot(hospital, patch.KeyID(&hospitalKey), func() time.Time { return day.Add(s.clock) })
	own, ownKey := newSigner(t)
	s.depot.Devices["pump-3"] = ownKey
	s.pump = NewInfusion(now)
	u, err := New(Config{
		Agent: agent.Config{
			ID: "pump-3", Hardware: "C", Vendor: s.maker.Vendor, Class: s.maker.Class, Component: s.maker.Component, Server: s.depot,
			Signer: own, KeyID: patch.KeyID(&ownKey), Makers: []cose.Key{makerKey}, Offers: []cose.Key{hospitalKey}, Answers: []cose.Key{hospitalKey}, Clock: now,
		},
		Body: s.pump, Version: "2.1.4", Sequence: 7, Fault: fault,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Updater = u
	return s
}

func (s *stand) release(version string, sequence uint64, fault Fault) {
	s.t.Helper()
	r := patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: version, Sequence: sequence,
		Demands: patch.Demands{Hardware: []string{"C"}, From: []string{"2.1.4", "2.2.0"}, Backup: time.Minute, Longest: 5 * time.Minute, Resume: 2 * time.Minute, Battery: 40},
	}
	image := Image(version, fault, 5000)
	envelope, err := s.maker.Release(&r, image, "flow500.bin")
	if err != nil {
		s.t.Fatal(err)
	}
	s.depot.Put(r, "norra-medical/flow-500/"+version, envelope, map[string][]byte{"flow500.bin": image})
}

// live lets the pump live until done says so, or hours are over; it reports which.
func (s *stand) live(hours int, done func() bool) bool {
	s.t.Helper()
	for end := s.clock + time.Duration(hours)*time.Hour; s.clock < end; {
		wait, err := s.Step(s.t.Context())
		if err != nil && !strings.Contains(err.Error(), "silent") {
			s.t.Fatal(err)
		}
		if done() {
			return true
		}
		s.clock += max(wait, time.Second)
	}
	return false
}

// Release 2.2.0 reaches pump-3 only after its infusion has ended.
func TestInfusion(t *testing.T) {
	s := newStand(t, nil)
	s.release("2.2.0", 8, NoFault)
	if !s.pump.Infuse(20_00, 3*time.Hour) {
		t.Fatal("it does not infuse")
	}
	for !s.live(1, func() bool { return s.Version() == "2.2.0" }) {
		if s.clock > 24*time.Hour {
			t.Fatal("it is never updated")
		}
		if s.Starts() > 1 {
			t.Fatal("it is started again")
		}
		if w := s.Waits(); s.pump.Infusing() && (len(w) != 2 || w[0].Gate != patch.TherapyGate) {
			t.Errorf("while it infuses it waits for %v", w)
		}
	}
	if s.clock < 3*time.Hour {
		t.Errorf("it is updated after %v, in the middle of its infusion", s.clock)
	}
	if !s.live(1, func() bool { return len(s.depot.Results) == 1 }) || s.depot.Results[0].Outcome != patch.Installed {
		t.Errorf("%+v", s.depot.Results)
	}
	if !s.pump.Infuse(20_00, time.Minute) {
		t.Error("nothing can be infused after the update")
	}
}

// Each fault ends as it would on a real device.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		fault   Fault
		outcome patch.Outcome
		version string
	}{
		{NoFault, patch.Installed, "2.2.0"},
		{FailsSelfTest, patch.FellBack, "2.1.4"},
		{Hangs, patch.FellBack, "2.1.4"},
		{LosesSettings, patch.LostSettings, "2.1.4"},
		{NoTherapy, patch.FellBack, "2.1.4"},
		{Stuck, patch.LostFunction, "2.1.4"},
		{Silent, patch.NoOutcome, "2.2.0"},
	} {
		for _, own := range []bool{false, true} { // of the version, or of this device alone
			of := func(v string) Fault {
				if own && v == "2.2.0" {
					return c.fault
				}
				return NoFault
			}
			s := newStand(t, of)
			fault := c.fault
			if own {
				fault = NoFault
			}
			s.release("2.2.0", 8, fault)
			s.depot.Release.Demands.Keeps = patch.Delivering | patch.Dependent
			s.pump.Infuse(20_00, 100*time.Hour)
			s.live(3, func() bool { return len(s.depot.Results) > 0 })
			if s.Version() != c.version {
				t.Errorf("%v: it runs %s", c.fault, s.Version())
			}
			if c.outcome == patch.NoOutcome {
				if len(s.depot.Results) > 0 {
					t.Errorf("%v: it is heard: %+v", c.fault, s.depot.Results)
				}
				continue
			}
			if len(s.depot.Results) != 1 || s.depot.Results[0].Outcome != c.outcome {
				t.Errorf("%v: it ends with %+v", c.fault, s.depot.Results)
			}
		}
	}
}

// A pump whose battery would not last a roll-back is not updated, on the mains either.
func TestBattery(t *testing.T) {
	s := newStand(t, nil)
	s.release("2.2.0", 8, NoFault)
	s.pump.Battery = 39
	if s.live(10, func() bool { return s.Starts() > 1 }) {
		t.Fatal("it is updated")
	}
	if w := s.Waits(); len(w) != 1 || w[0].Gate != patch.PowerGate {
		t.Errorf("it waits for %v", w)
	}
	s.pump.Battery = 40
	if !s.live(1, func() bool { return len(s.depot.Results) == 1 }) {
		t.Error("it is not updated")
	}
}

// A loss of power at any time leaves a pump that goes on.
func TestOff(t *testing.T) {
	for n := range 30 {
		s := newStand(t, nil)
		s.release("2.2.0", 8, NoFault)
		steps := 0
		s.live(2, func() bool {
			if steps++; steps == n {
				s.Off()
			}
			return len(s.depot.Results) > 0
		})
		if s.Version() != "2.2.0" && s.Version() != "2.1.4" || len(s.depot.Results) == 0 {
			t.Errorf("off after step %d: %s, %+v", n, s.Version(), s.depot.Results)
		}
	}
}

func TestImage(t *testing.T) {
	a, b := Image("2.1.4", NoFault, 5000), Image("2.2.0", Silent, 5000)
	if v, f, err := parseImage(b); v != "2.2.0" || f != Silent || err != nil {
		t.Error(v, f, err)
	}
	if bytes.Equal(a, b) || !bytes.Equal(a, Image("2.1.4", NoFault, 5000)) {
		t.Error("images of two versions are alike, or of one are not")
	}
	for _, bad := range [][]byte{nil, a[1:], bytes.Replace(a, []byte("fault"), []byte("vault"), 1)} {
		if _, _, err := parseImage(bad); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}
