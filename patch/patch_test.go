// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"bytes"
	"crypto/rand"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/link/cose"
)

var when = time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)

func demands() Demands {
	return Demands{
		Hardware: []string{"C"}, From: []string{"2.1.3", "2.1.4"}, Backup: 3 * time.Minute, Longest: 12 * time.Minute, Resume: time.Minute,
		Battery: 40, Free: 1 << 20, Supervision: ClinicianPresent,
	}
}

// idle is a state that meets demands.
func idle() State {
	return State{
		Device: "dev-1", Hardware: "C", Version: "2.1.4", Sequence: 7, Count: 3, Known: All, Battery: 80, Longevity: -1, Link: 90, Free: 4 << 20,
		Settings: Digest{1}, Saved: Digest{1}, Slot: "A",
	}
}

func full() (State, Offer, Answer) {
	s := idle()
	s.Echo, s.Nonce, s.Doing, s.Near, s.Trial, s.Staged, s.Bytes, s.Mains = []byte{1}, []byte{2}, Bolus|Alarming, true, true, Digest{3}, 17, true
	s.Result = &Result{Envelope: Digest{3}, Offer: 9, Version: "2.2.0", Outcome: FellBack, Resumed: true, SelfTest: true, Before: Digest{1}, After: Digest{2}, Took: 40 * time.Second, Reason: "watchdog"}
	o := Offer{Device: "dev-1", Number: 9, Envelope: Digest{3}, Size: 400, Path: "flow500/2.2.0.suit", Version: "2.2.0", Sequence: 8, Install: true, Issued: when, Expires: when.Add(time.Minute), Demands: demands()}
	o.Demands.Keeps, o.Demands.Near, o.Demands.Spare, o.Demands.Longevity = Delivering, true, true, 90
	a := Answer{Device: "dev-1", Nonce: []byte{2}, Time: when, Challenge: []byte{5}, Next: time.Minute, Offer: []byte{6}, Void: 8, Heard: 3}
	return s, o, a
}

func TestMessages(t *testing.T) {
	key, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cose.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	known := func(kid []byte) *cose.Key {
		if bytes.Equal(kid, KeyID(&public)) {
			return &public
		}
		return nil
	}
	s, o, a := full()
	for _, c := range []struct{ m, empty, other Message }{{&s, &State{}, &Offer{}}, {&o, &Offer{}, &Answer{}}, {&a, &Answer{}, &State{}}} {
		b, err := Sign(c.m, signer, KeyID(&public))
		if err != nil {
			t.Fatal(err)
		}
		if err := Open(b, c.empty, known); err != nil || !reflect.DeepEqual(c.empty, c.m) {
			t.Errorf("%T comes back otherwise: %v\n%s", c.m, err, cmp.Diff(c.m, c.empty))
		}
		if Open(b, c.other, known) == nil {
			t.Errorf("a %T is taken for a %T", c.m, c.other)
		}
		if err := Open(b, c.empty, func([]byte) *cose.Key { return nil }); err != ErrSigner {
			t.Errorf("a %T of a stranger: %v", c.m, err)
		}
		for i := range b {
			flipped := bytes.Clone(b)
			flipped[i] ^= 1
			if Open(flipped, c.empty, known) == nil {
				t.Errorf("a %T with byte %d changed is believed", c.m, i)
			}
		}
	}
}

// Every field is written: one that is set alone comes back.
func TestFields(t *testing.T) {
	s, o, a := full()
	for _, m := range []Message{&s, &o, &a} {
		v := reflect.ValueOf(m).Elem()
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is not tried", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
}

func TestUnmet(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*State, *Demands)
		want []Gate
	}{
		{"idle", func(*State, *Demands) {}, nil},
		{"in the middle of a bolus", func(s *State, _ *Demands) { s.Doing = Bolus }, []Gate{TherapyGate}},
		{"a bolus that backup mode says it keeps", func(s *State, d *Demands) { s.Doing, d.Keeps = Bolus, Bolus }, []Gate{TherapyGate}},
		{"an infusion", func(s *State, _ *Demands) { s.Doing = Delivering }, []Gate{TherapyGate}},
		{"pacing that backup mode keeps", func(s *State, d *Demands) { s.Doing, d.Keeps = Delivering|Dependent, Delivering|Dependent }, nil},
		{"pacing that backup mode keeps, of a patient who depends on more", func(s *State, d *Demands) { s.Doing, d.Keeps = Delivering|Dependent, Delivering }, []Gate{TherapyGate}},
		{"a device that does not say", func(s *State, _ *Demands) { s.Known = All &^ Episode }, []Gate{TherapyGate}},
		{"a battery one percent short", func(s *State, _ *Demands) { s.Battery = 39 }, []Gate{PowerGate}},
		{"a battery that is just enough", func(s *State, _ *Demands) { s.Battery = 40 }, nil},
		{"mains, and an empty battery", func(s *State, _ *Demands) { s.Battery, s.Mains = 5, true }, []Gate{PowerGate}},
		{"a battery that does not say", func(s *State, _ *Demands) { s.Battery = -1 }, []Gate{PowerGate}},
		{"near replacement", func(s *State, d *Demands) { s.Longevity, d.Longevity = 89, 90 }, []Gate{PowerGate}},
		{"longevity that it does not say", func(_ *State, d *Demands) { d.Longevity = 90 }, []Gate{PowerGate}},
		{"another hardware", func(s *State, _ *Demands) { s.Hardware = "B" }, []Gate{HardwareGate}},
		{"another version", func(s *State, _ *Demands) { s.Version = "2.0.0" }, []Gate{VersionGate}},
		{"a step back", func(s *State, _ *Demands) { s.Sequence = 9 }, []Gate{VersionGate}},
		{"there already", func(s *State, _ *Demands) { s.Version, s.Sequence = "2.2.0", 8 }, []Gate{VersionGate}},
		{"a bad link", func(s *State, _ *Demands) { s.Link = 29 }, []Gate{LinkGate}},
		{"no wand", func(_ *State, d *Demands) { d.Near = true }, []Gate{LinkGate}},
		{"no room", func(s *State, _ *Demands) { s.Free = 10 }, []Gate{SlotGate}},
		{"no room, and staged", func(s *State, _ *Demands) { s.Free, s.Staged = 10, Digest{3} }, nil},
		{"a trial", func(s *State, _ *Demands) { s.Trial = true }, []Gate{SlotGate}},
		{"settings changed since they were saved", func(s *State, _ *Demands) { s.Settings = Digest{2} }, []Gate{SettingsGate}},
		{"settings that it does not say", func(s *State, _ *Demands) { s.Settings, s.Saved = Digest{}, Digest{} }, []Gate{SettingsGate}},
		{"nothing known at all", func(s *State, _ *Demands) { *s = State{Battery: -1, Link: -1, Free: -1} }, []Gate{TherapyGate, VersionGate, HardwareGate, PowerGate, LinkGate, SlotGate, SettingsGate}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, d := idle(), demands()
			c.do(&s, &d)
			var got []Gate
			for _, w := range d.Unmet(&s, "2.2.0", 8) {
				if len(got) == 0 || got[len(got)-1] != w.Gate {
					got = append(got, w.Gate)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("waits for %v, not %v", got, c.want)
			}
			var shut Gates
			for _, g := range c.want {
				shut |= g.Gates()
			}
			if got := d.Shut(&s, "2.2.0", 8); got != shut {
				t.Errorf("shut are %v, not %v", got, shut)
			}
		})
	}
}

func TestShutAllocatesNothing(t *testing.T) {
	s, d := State{Battery: -1, Link: -1, Free: -1}, demands()
	if n := testing.AllocsPerRun(100, func() {
		if d.Shut(&s, "2.2.0", 8) == 0 {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestGates(t *testing.T) {
	all := Gates(1<<gateCount - 2)
	for s := Gates(0); s <= all; s = s*3 + 2 {
		b, _ := s.MarshalText()
		var got Gates
		if err := got.UnmarshalText(b); err != nil || got != s&all {
			t.Errorf("%q is read %v (%v), not %v", b, got, err, s&all)
		}
	}
	for _, bad := range []string{"none", "therapy,power", "therapy, ", "dose"} {
		if got := all; got.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is read %v", bad, got)
		}
	}
	fixed := Gates(0)
	for g := range all.Each {
		if g.Fixed() {
			fixed |= g.Gates()
		}
	}
	if fixed.String() != "therapy, version, hardware, power, fresh state" {
		t.Errorf("fixed are %v", fixed)
	}
}

func TestJudge(t *testing.T) {
	d := demands()
	good := Result{Outcome: Installed, Resumed: true, SelfTest: true, Before: Digest{1}, After: Digest{1}, Took: time.Minute}
	for _, c := range []struct {
		name string
		do   func(*Result)
		want Outcome
	}{
		{"all well", func(*Result) {}, Installed},
		{"fell back, and well", func(r *Result) { r.Outcome = FellBack }, FellBack},
		{"not resumed", func(r *Result) { r.Resumed = false }, LostFunction},
		{"resumed too late", func(r *Result) { r.Took += time.Millisecond }, LostFunction},
		{"fell back, and not resumed", func(r *Result) { r.Outcome, r.Resumed = FellBack, false }, LostFunction},
		{"no self-test", func(r *Result) { r.SelfTest = false }, LostFunction},
		{"other settings", func(r *Result) { r.After = Digest{2} }, LostSettings},
		{"settings that nobody looked at", func(r *Result) { r.Before, r.After = Digest{}, Digest{} }, LostSettings},
		{"refused", func(r *Result) { *r = Result{Outcome: Refused} }, Refused},
	} {
		r := good
		c.do(&r)
		if got := r.Judge(&d); got != c.want {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}

// Of what a device says, nothing is repeated but what is known.
func TestSaid(t *testing.T) {
	for reason, want := range map[string]string{
		"": "", "Anna Lindqvist": "for a reason that is in its receipt",
		"its self-test failed: sensor of Anna Lindqvist":                                   "its self-test failed",
		"after it was staged: agent: the slot holds something else than what was verified": "after it was staged: the slot holds something else than what was verified",
	} {
		if got := (&Result{Reason: reason}).Said(); got != want {
			t.Errorf("%q is repeated as %q", reason, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	s, o, a := full()
	f.Add(uint8(0), Append(nil, &s))
	f.Add(uint8(1), Append(nil, &o))
	f.Add(uint8(2), Append(nil, &a))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m := []Message{&State{}, &Offer{}, &Answer{}}[kind%3]
		if Parse(b, m) == nil && !bytes.Equal(Append(nil, m), b) {
			t.Fatalf("%T of %x is written %x", m, b, Append(nil, m))
		}
	})
}
