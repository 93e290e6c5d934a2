// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	updates "github.com/myelin-health/myelin/patch/agent/coap"
	"github.com/myelin-health/myelin/patch/suit"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/sim/update"
)

// A workshop has the updater of a world's device, and the server that it asks.
type workshop struct {
	*world
	*update.Updater
	depot *update.Depot
}

// workshop gives the device firmware 1.9, and its server a release 2.0 that keeps therapy
// going in backup mode. The updater asks the server, or who is given.
func (w *world) workshop(fault update.Fault, server func(*update.Depot) agent.Server) *workshop {
	w.t.Helper()
	own, hospital, maker := newKey(w.t, "own"), newKey(w.t, "hospital"), newKey(w.t, "halden")
	kid := func(k cose.Key) []byte { return patch.KeyID(&k) }
	product := update.Maker{
		Signer: newSigner(w.t, maker), KeyID: kid(maker), Vendor: [16]byte{7}, Class: [16]byte{byte(w.cfg.Kind)}, Component: suit.ComponentID{[]byte("firmware")},
	}
	s := &workshop{world: w, depot: update.NewDepot(newSigner(w.t, hospital), kid(hospital), func() time.Time {
		w.ticking.Lock()
		defer w.ticking.Unlock()
		return w.now
	})}
	s.depot.Devices[w.cfg.ID] = own.Public()
	r := patch.Release{Version: "2.0", Sequence: 20, Demands: patch.Demands{
		Hardware: []string{"A"}, From: []string{"1.9"}, Keeps: patch.Delivering | patch.Dependent, Backup: 3 * time.Minute, Longest: 10 * time.Minute,
		Resume: time.Minute, Battery: 50,
	}}
	image := update.Image("2.0", fault, 9000)
	envelope, err := product.Release(&r, image, "firmware.bin")
	if err != nil {
		w.t.Fatal(err)
	}
	s.depot.Put(r, "release", envelope, map[string][]byte{"firmware.bin": image})
	if s.Updater, err = update.New(update.Config{
		Agent: agent.Config{
			ID: w.cfg.ID, Hardware: "A", Vendor: product.Vendor, Class: product.Class, Component: product.Component, Server: server(s.depot),
			Signer: newSigner(w.t, own), KeyID: kid(own), Makers: []cose.Key{maker.Public()}, Offers: []cose.Key{hospital.Public()}, Answers: []cose.Key{hospital.Public()},
			Clock: func() time.Duration {
				w.ticking.Lock()
				defer w.ticking.Unlock()
				return w.now.Sub(noon)
			},
		},
		Body: w.Body(), Version: "1.9", Sequence: 19, Size: 9000,
	}); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func direct(d *update.Depot) agent.Server { return d }

// live lets the device live until done says so, or hours are over.
func (s *workshop) live(hours int, done func() bool) bool {
	s.t.Helper()
	for end := s.now.Add(time.Duration(hours) * time.Hour); s.now.Before(end); {
		wait, err := s.Step(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if done() {
			return true
		}
		s.wait(max(wait, time.Second))
		if err := s.Tick(); err != nil {
			s.t.Fatal(err)
		}
	}
	return false
}

func (s *workshop) ended() bool { return len(s.depot.Results) > 0 }

// No implant is updated in the middle of what no update interrupts; each is when that is
// over, and gives its therapy as before.
func TestUpdateWaits(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		begin, end func(*workshop, *station)
		why        string
		has        string
	}{
		{
			Pump,
			func(_ *workshop, s *station) { s.order(protocol.Changed, device.DeliverBolus, "3 [iU]", "") },
			func(*workshop, *station) {}, // it ends by itself, in two minutes
			"a bolus is being given", "boluses given",
		},
		{
			Pump,
			func(w *workshop, _ *station) { w.model.(*pump).low = w.model.(*pump).now + 1 },
			func(w *workshop, _ *station) { w.wait(4 * time.Hour) },
			"an episode was hours ago", "",
		},
		{
			Defibrillator,
			func(_ *workshop, s *station) { s.order(protocol.Changed, device.SetPacingMode, "4 1", "") }, // DOO
			func(_ *workshop, s *station) { s.order(protocol.Changed, device.SetPacingMode, "6 1", "") },
			"mode for an MR scanner", "",
		},
		{
			Defibrillator,
			func(w *workshop, _ *station) { w.model.(*pacemaker).shocked = w.model.(*pacemaker).now + 1 },
			func(w *workshop, _ *station) { w.wait(4 * time.Hour) },
			"an episode was hours ago", "",
		},
		{
			Neurostimulator,
			func(_ *workshop, s *station) { s.order(protocol.Changed, device.StimulationOff, "", "") },
			func(_ *workshop, s *station) { s.order(protocol.Changed, device.Resume, "", "") },
			"it is alarming", "",
		},
		{
			Defibrillator,
			func(w *workshop, _ *station) { w.model.(*pacemaker).used = w.model.(*pacemaker).full / 100 * 51 },
			func(w *workshop, _ *station) { w.model.(*pacemaker).used = 0 },
			"its battery is at 4", "",
		},
	} {
		t.Run(c.kind.String()+" "+c.why, func(t *testing.T) {
			w := newWorld(t, c.kind)
			nurse := w.connect("nurse")
			s := w.workshop(update.NoFault, direct)
			s.depot.Hold = true
			if !s.live(1, func() bool {
				return len(s.depot.States) > 0 && s.depot.States[len(s.depot.States)-1].Staged != patch.Digest{}
			}) {
				t.Fatal("it is not staged")
			}
			s.depot.Hold = false
			c.begin(s, nurse)
			waited := false
			bolus := func() bool { p, ok := s.model.(*pump); return ok && p.bolus != 0 }
			s.live(1, func() bool {
				for _, w := range s.Waits() {
					waited = waited || strings.Contains(w.Why, c.why)
				}
				if s.Starts() > 1 && (bolus() || c.why != "a bolus is being given") {
					t.Fatalf("it is started while %s", c.why)
				}
				return s.Starts() > 1
			})
			if !waited {
				t.Fatalf("it waits for %v", s.Waits())
			}
			c.end(s, nurse)
			if !s.live(6, s.ended) {
				t.Fatalf("it is not updated: %v", s.Waits())
			}
			if r := s.depot.Results[0]; r.Outcome != patch.Installed || s.Version() != "2.0" || !r.Resumed {
				t.Errorf("it ends with %+v", r)
			}
			w.logged("event update", "started with version 2.0")
		})
	}
}

// While a version is on trial no therapy begins and no setting is changed; what a rescue
// stops is stopped.
func TestUpdateHolds(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	s := w.workshop(update.NoFault, direct)
	if !s.live(1, func() bool { return s.Version() == "2.0" }) {
		t.Fatal("it is not started")
	}
	nurse.order(protocol.ServiceUnavailable, device.DeliverBolus, "1 [iU]", "")
	nurse.order(protocol.ServiceUnavailable, device.SetBasalRate, "1 [iU]/h", "")
	nurse.order(protocol.Changed, device.Suspend, "", "30 min")
	nurse.order(protocol.ServiceUnavailable, device.Resume, "", "")
	if !s.live(1, s.ended) {
		t.Fatal("it does not end")
	}
	// Somebody stopped the therapy, so it was not seen resumed; the old version runs.
	if r := s.depot.Results[0]; r.Outcome == patch.Installed || s.Version() != "1.9" {
		t.Errorf("it ends with %+v", r)
	}
	nurse.order(protocol.Changed, device.Resume, "", "")
	w.has("basal-rate: 0.800 [iU]/h")
}

// A version that loses settings, or gives no therapy, is found out, and what is said of
// it is so.
func TestUpdateFaults(t *testing.T) {
	for _, c := range []struct {
		fault   update.Fault
		outcome patch.Outcome
	}{
		{update.LosesSettings, patch.LostSettings},
		{update.NoTherapy, patch.FellBack},
		{update.Stuck, patch.LostFunction},
		{update.Hangs, patch.FellBack},
		{update.FailsSelfTest, patch.FellBack},
	} {
		for _, kind := range []Kind{Pump, Defibrillator, Neurostimulator} {
			w := newWorld(t, kind)
			nurse := w.connect("nurse")
			switch kind { // something that the factory did not program
			case Pump:
				nurse.order(protocol.Changed, device.SetBasalRate, "1 [iU]/h", "")
			case Defibrillator:
				nurse.order(protocol.Changed, device.SetPacingRate, "70 {pulses}/min", "")
			default:
				nurse.order(protocol.Changed, device.SetAmplitude, "2 mA", "")
			}
			s := w.workshop(c.fault, direct)
			if !s.live(2, s.ended) {
				t.Fatalf("%v, %v: it does not end", kind, c.fault)
			}
			r := s.depot.Results[0]
			if r.Outcome != c.outcome || s.Version() != "1.9" || r.Judge(&s.depot.Release.Demands) != c.outcome {
				t.Errorf("%v, %v: it ends with %+v", kind, c.fault, r)
			}
		}
	}
}

// An implant that only answers is pushed to, over OSCORE on loopback: by whoever has
// a token of an updater, with no more trust than that.
func TestUpdatePushed(t *testing.T) {
	w := newWorld(t, Pump)
	device7, maker, nurse := credential(t, newKey(t, "!")), credential(t, w.holders["maker"]), credential(t, w.holders["nurse"])
	_, heard, stop := w.onAir(filepath.Join(t.TempDir(), "sessions"), party(device7, maker, nurse))
	defer stop()
	clock := func() time.Duration {
		w.ticking.Lock()
		defer w.ticking.Unlock()
		return w.now.Sub(noon)
	}
	pushed := updates.NewDevice(clock)
	w.Updates(pushed)
	s := w.workshop(update.NoFault, func(*update.Depot) agent.Server { return pushed })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = pushed.Run(ctx, s.Step, func(err error) { t.Error(err) }) })
	defer func() {
		cancel()
		wg.Wait()
	}()

	visit := func(own *edhoc.Authenticator, token string) error {
		t.Helper()
		e, err := coap.New(coap.Config{EDHOC: party(own, device7)})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		c, err := e.Dial(t.Context(), heard.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		session, err := c.Handshake(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m, err := c.Post(t.Context(), session, "/authz-info", formatCBOR, w.token(token, w.cfg.ID)); err != nil || m.Code != protocol.Created {
			t.Fatal(m.Code, err)
		}
		return updates.Push(t.Context(), c, session, s.depot, 30*time.Second, func(_ context.Context, d time.Duration) error {
			w.wait(d)
			return nil
		})
	}
	if err := visit(nurse, "nurse"); err == nil || len(s.depot.States) > 0 {
		t.Fatalf("a nurse brings updates: %v", err)
	}
	for n := 0; !s.ended(); n++ {
		if err := visit(maker, "maker"); err != nil || n > 10 {
			t.Fatalf("after %d visits: %v, and the device waits for %v", n, err, s.depot.States)
		}
		w.wait(time.Minute)
	}
	if r := s.depot.Results[0]; r.Outcome != patch.Installed || r.Version != "2.0" {
		t.Errorf("it ends with %+v", r)
	}
}
