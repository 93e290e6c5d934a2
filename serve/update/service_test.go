// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// person is somebody of these roles; clinical says what a clinician is.
func person(login string, roles access.Role, clinical string) *access.Principal {
	return &access.Principal{Person: &store.Person{Login: login, Clinical: clinical}, Roles: roles}
}

var (
	lea    = person("le", access.Engineer, "")
	mira   = person("mh", access.Clinician, "prescriber")
	tomas  = person("te", access.Analyst, "")
	vendor = &access.Principal{Person: &store.Person{Login: "qv", Products: []string{"Qvarn Zephyr 9"}}, Roles: access.Manufacturer}
)

// A book has what was recorded.
type book struct {
	mu   sync.Mutex
	list []event.Event
	err  error
}

// full lets the ledger take nothing more, or again.
func (b *book) full(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err = nil; full {
		b.err = errors.New("the disk is full")
	}
}

func (b *book) record(e *event.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.list = append(b.list, *e)
	}
	return b.err
}

func (b *book) kinds() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.list {
		out = append(out, b.list[i].Kind.String())
	}
	return out
}

const plan = `rollout: 1
rings:
  - name: bench
    devices: [%s]
    finished: 1
    soak: 1m
  - name: ward
`

// ward is a site with pumps that sensors saw, a release for them, and a roll-out of it
// that has begun, if there is a plan.
func ward(t testing.TB, plan string, change ...func(*Config)) (*site, *book, []*unit) {
	t.Helper()
	b := &book{}
	s := newSite(t, append(change, func(c *Config) { c.Record = b.record })...)
	must(t, s.store.AddEnrolment(t.Context(), []byte("icu"), "icu", "icu", "sensor", "le", s.now().Add(time.Hour).UnixNano()))
	_, err := s.store.Enrol(t.Context(), []byte("icu"), "icu", "key")
	must(t, err)
	batch := &store.Batch{Sensor: "icu", Sequence: 1}
	var units []*unit
	for i := range 3 {
		id := device.IDOf("Norra Medical", "Flow 500", fmt.Sprint(i))
		batch.Devices = append(batch.Devices, device.Device{ID: id, Serial: fmt.Sprint(i), Ward: fmt.Sprint("ward ", i), Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.1.4", Class: "infusion pump", Therapy: device.DrugInfusion}})
		units = append(units, s.device(t, id))
	}
	_, err = s.store.Write(t.Context(), batch)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(s.dir, "updates", "flow500"), 0o700))
	must(t, os.WriteFile(filepath.Join(s.dir, "updates", envelopePath), envelope, 0o600))
	must(t, s.AddRelease(t.Context(), lea, &release, envelopePath))
	if plan != "" {
		must(t, s.Create(t.Context(), lea, "flow-2.2.0", release.Envelope, []byte(plan), "ADA-2026-01"))
		must(t, s.Start(t.Context(), lea, "flow-2.2.0", "ADA-2026-01"))
	}
	return s, b, units
}

const envelopePath = "flow500/2.2.0.suit"

var (
	envelope = []byte("a SUIT envelope")
	release  = patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0", Sequence: 8, Envelope: sha256.Sum256(envelope), Size: int64(len(envelope)),
		Demands: patch.Demands{Hardware: []string{"C"}, From: []string{"2.1.4"}, Longest: time.Minute, Resume: time.Minute, Battery: 40},
	}
)

// offered reads the offer of an answer, or nil.
func (s *site) offered(t testing.TB, a *patch.Answer) *patch.Offer {
	t.Helper()
	if a.Offer == nil {
		return nil
	}
	o := &patch.Offer{}
	must(t, patch.Open(a.Offer, o, func([]byte) *cose.Key { return &s.public }))
	return o
}

func (s *site) hears(t testing.TB, u *unit) *patch.Answer {
	t.Helper()
	b, err := s.hear(context.Background(), u.sign(t), s.now())
	if err != nil {
		t.Fatalf("%s: %v", u.Device, err)
	}
	a := &patch.Answer{}
	must(t, patch.Parse(b, a))
	u.Count++
	u.Echo = a.Challenge
	s.pass(pollsEvery)
	return a
}

// installs has a device go all the way, and say how it ended.
func (s *site) installs(t testing.TB, u *unit, res patch.Result) *patch.Answer {
	t.Helper()
	s.hears(t, u)
	o := s.offered(t, s.hears(t, u))
	if o == nil || o.Install || o.Path != envelopePath || o.Device != u.Device || o.Envelope != release.Envelope {
		t.Fatalf("to stage: %+v", o)
	}
	u.Staged = release.Envelope
	if o = s.offered(t, s.hears(t, u)); o == nil || !o.Install {
		t.Fatalf("to install: %+v", o)
	}
	u.Version, u.Sequence, u.Slot, u.Staged = "2.2.0", 8, "B", patch.Digest{}
	res.Envelope, res.Offer = release.Envelope, o.Number
	if res.Version == "" {
		res.Version = "2.2.0"
	}
	u.Result = &res
	a := s.hears(t, u)
	if a.Heard != u.Count-1 {
		t.Errorf("the receipt of %d: heard %d", u.Count-1, a.Heard)
	}
	u.Result = nil
	return a
}

var well = patch.Result{Outcome: patch.Installed, Resumed: true, SelfTest: true, Before: patch.Digest{1}, After: patch.Digest{1}, Took: 30 * time.Second}

func (s *site) status(t testing.TB, id string) (p rollout.Progress) {
	t.Helper()
	must(t, s.View(lea, id, func(r *rollout.Rollout, _ time.Time) error { p = r.Progress(); return nil }))
	return p
}

// TestRollout: a release goes from ring to ring, and the server that is started again
// knows where it was.
func TestRollout(t *testing.T) {
	first := device.IDOf("Norra Medical", "Flow 500", "0")
	s, book, units := ward(t, fmt.Sprintf(plan, first))
	if a := s.hears(t, units[1]); a.Offer != nil {
		t.Error("an offer before its ring's turn")
	}
	s.installs(t, units[0], well)
	if p := s.status(t, "flow-2.2.0"); p.Outcomes[patch.Installed] != 1 || !p.Rings[1].Began.IsZero() {
		t.Errorf("%+v", p)
	}
	s.pass(time.Minute)
	must(t, s.due(t.Context()))
	must(t, s.keep.flush(t.Context()))
	must(t, s.load(t.Context())) // as at a start
	if p := s.status(t, "flow-2.2.0"); p.Outcomes[patch.Installed] != 1 || p.Rings[1].Began.IsZero() {
		t.Errorf("after a start: %+v", p)
	}
	units[1].Doing = patch.Bolus | patch.Delivering
	s.hears(t, units[1])
	units[1].Staged = release.Envelope
	if o := s.offered(t, s.hears(t, units[1])); o != nil && o.Install {
		t.Error("it is told to install in the middle of a bolus")
	}
	waits, err := s.Waits(t.Context(), lea, "flow-2.2.0", units[1].Device)
	if err != nil || len(waits) == 0 || waits[0].Gate != patch.TherapyGate {
		t.Errorf("%v, %v", waits, err)
	}
	units[1].Doing, units[1].Staged = 0, patch.Digest{}
	s.installs(t, units[1], well)
	for i, want := range []string{"2.2.0", "2.2.0", "2.1.4"} {
		if d, err := s.store.Device(t.Context(), units[i].Device); err != nil || d.Version != want {
			t.Errorf("device %d is known to run %q, not %q: %v", i, d.Version, want, err)
		}
	}
	for _, want := range []string{"rollout-started", "ring-opened", "update-offered", "update-waited", "update-ended"} {
		if !slices.Contains(book.kinds(), want) {
			t.Errorf("no %s in the ledger: %q", want, book.kinds())
		}
	}
	events, err := s.Events(t.Context(), lea, "flow-2.2.0", units[1].Device, 0, 100)
	if err != nil || len(events) < 3 || events[0].Kind != event.UpdateEnded || events[0].Seq < events[1].Seq {
		t.Errorf("%+v, %v", events, err)
	}
}

// TestHalt: one device that loses its function halts the roll-out within its poll, for
// good; what others were offered is void.
func TestHalt(t *testing.T) {
	s, book, units := ward(t, "rollout: 1\nrings: [{name: all}]\n")
	s.hears(t, units[0])
	s.hears(t, units[0])
	units[0].Staged = release.Envelope
	number := s.offered(t, s.hears(t, units[0])).Number
	bad := well
	bad.Resumed = false
	s.installs(t, units[1], bad)
	p := s.status(t, "flow-2.2.0")
	if p.Status != "halted" || !p.Final || p.By != "" {
		t.Fatalf("%+v", p)
	}
	if k := book.kinds(); k[len(k)-1] != "rollout-halted" {
		t.Errorf("the ledger ends with %q", k)
	}
	notices, err := s.store.Notices(t.Context(), 0, 10)
	must(t, err)
	if len(notices) != 2 || notices[0].What != "update-ended" || notices[1].What != "rollout-halted" || !strings.Contains(string(notices[1].Body), `"Why":"loss of function"`) {
		t.Errorf("those outside are told %+v", notices)
	}
	if a := s.hears(t, units[0]); a.Offer != nil || a.Void < number {
		t.Errorf("after the halt: %+v", a)
	}
	if err := s.Resume(t.Context(), lea, "flow-2.2.0", "it was a cable"); statusOf(err) != http.StatusConflict {
		t.Errorf("it goes on: %v", err)
	}
	if list := s.Never(lea); len(list) != 1 || list[0].Version != "2.2.0" || !list[0].Final {
		t.Errorf("%+v", list)
	}
	must(t, s.Create(t.Context(), lea, "again", release.Envelope, []byte("rollout: 1\nrings: [{name: all}]\n"), ""))
	if err := s.Start(t.Context(), lea, "again", ""); statusOf(err) != http.StatusConflict {
		t.Errorf("the release is offered again: %v", err)
	}
}

// statusOf is the status of an error in words.
func statusOf(err error) int {
	var e *access.Error
	if errors.As(err, &e) {
		return e.Status
	}
	if errors.Is(err, store.ErrNotFound) {
		return http.StatusNotFound
	}
	return 0
}

// TestPeople: who halts, lets go on, consents, relaxes a gate; and what is refused.
func TestPeople(t *testing.T) {
	s, _, units := ward(t, `rollout: 1
approve: [clinical engineer]
consent: {clinician: true, terms: "3"}
relax: [{gate: clinician's consent, urgency: regular cycle, by: [prescriber, clinical engineer], most: 1h}]
rings: [{name: all}]
`)
	ctx, u := t.Context(), units[0]
	must(t, s.Pause(ctx, tomas, "flow-2.2.0", "a call from the ward"))
	if err := s.Resume(ctx, tomas, "flow-2.2.0", "all is well"); statusOf(err) != http.StatusForbidden {
		t.Errorf("who the plan does not name lets it go on: %v", err)
	}
	if err := s.Resume(ctx, lea, "flow-2.2.0", " "); statusOf(err) != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %v", err)
	}
	must(t, s.Resume(ctx, lea, "flow-2.2.0", "all is well"))
	gates := func() []string {
		s.hears(t, u)
		list, err := s.Waits(ctx, lea, "flow-2.2.0", u.Device)
		must(t, err)
		var out []string
		for _, w := range list {
			out = append(out, w.Gate.String())
		}
		return out
	}
	waits := func(want bool) {
		t.Helper()
		if list := gates(); slices.Contains(list, "clinician's consent") != want {
			t.Errorf("it waits for %q", list)
		}
	}
	s.hears(t, u)
	waits(true)
	must(t, s.Consent(ctx, mira, "flow-2.2.0", u.Device, rollout.Clinician, "2", ""))
	waits(true) // that was another text
	must(t, s.Consent(ctx, mira, "flow-2.2.0", u.Device, rollout.Clinician, "3", ""))
	waits(false)
	must(t, s.Withdraw(ctx, mira, "flow-2.2.0", u.Device, rollout.Clinician, ""))
	waits(true)
	u = units[1]
	s.hears(t, u)
	for _, c := range []struct {
		who  *access.Principal
		want int
		done bool
	}{{tomas, http.StatusForbidden, false}, {mira, 0, false}, {mira, 0, false}, {lea, 0, true}} {
		done, err := s.Override(ctx, c.who, "flow-2.2.0", u.Device, patch.ClinicianGate, time.Hour, "no clinician is on duty")
		if done != c.done || statusOf(err) != c.want {
			t.Errorf("%s relaxes the gate: %v, %v", c.who.Person.Login, done, err)
		}
	}
	waits(false)
	if _, err := s.Override(ctx, lea, "flow-2.2.0", u.Device, patch.TherapyGate, time.Hour, "now"); statusOf(err) != http.StatusUnprocessableEntity {
		t.Errorf("the therapy gate: %v", err)
	}
	must(t, s.RuleOut(ctx, lea, "flow-2.2.0", units[2].Device, "Lea Sommer", "gw-icu", "hardware B", s.now().AddDate(0, 6, 0)))
	if err := s.RuleOut(ctx, lea, "flow-2.2.0", "dev-none", "Lea Sommer", "gw-icu", "hardware B", time.Time{}); statusOf(err) != http.StatusNotFound {
		t.Error(err)
	}
	must(t, s.Halt(ctx, mira, "flow-2.2.0", "an alarm", false))
	if p := s.status(t, "flow-2.2.0"); p.Status != "halted" || p.By != "mh" || p.Final {
		t.Errorf("%+v", p)
	}
	if l := s.List(vendor); len(l) != 0 {
		t.Errorf("another manufacturer sees %+v", l)
	}
	if err := s.Halt(ctx, vendor, "flow-2.2.0", "x", true); statusOf(err) != http.StatusNotFound {
		t.Error(err)
	}
}

// TestWithdrawn: a no holds in every roll-out of the release, whatever its plan asks for.
func TestWithdrawn(t *testing.T) {
	const all = "rollout: 1\nrings: [{name: all}]\n"
	s, _, units := ward(t, all)
	ctx, u := t.Context(), units[0]
	must(t, s.Pause(ctx, lea, "flow-2.2.0", "another plan"))
	must(t, s.Create(ctx, lea, "again", release.Envelope, []byte(all), ""))
	must(t, s.Start(ctx, lea, "again", "another plan"))
	u.Staged = release.Envelope
	s.hears(t, u)
	o := s.offered(t, s.hears(t, u))
	if o == nil || !o.Install {
		t.Fatalf("%+v", o)
	}
	must(t, s.Withdraw(ctx, mira, "flow-2.2.0", u.Device, rollout.Patient, ""))
	if a := s.hears(t, u); a.Offer != nil || a.Void < o.Number {
		t.Errorf("withdrawn, and %+v", a)
	}
	must(t, s.Withdraw(ctx, mira, "flow-2.2.0", units[1].Device, rollout.Patient, ""))
	if a := s.hears(t, units[1]); a.Offer != nil {
		t.Error("withdrawn, and offered to be staged")
	}
	if list, err := s.Waits(ctx, lea, "again", u.Device); err != nil || len(list) != 1 || list[0].Gate != patch.PatientGate {
		t.Errorf("it waits for %v: %v", list, err)
	}
}

// TestElsewhere: no device is updated by two roll-outs at once, and a ward's capacity is one
// of both.
func TestElsewhere(t *testing.T) {
	const all = "rollout: 1\nrings: [{name: all}]\n"
	s, _, units := ward(t, all)
	ctx := t.Context()
	must(t, s.Create(ctx, lea, "again", release.Envelope, []byte(all), ""))
	must(t, s.Start(ctx, lea, "again", "another plan"))
	for range 3 {
		for _, u := range units {
			u.Staged = release.Envelope
			s.hears(t, u)
		}
	}
	for _, u := range units {
		taken := 0
		for _, id := range []string{"flow-2.2.0", "again"} {
			must(t, s.View(lea, id, func(r *rollout.Rollout, _ time.Time) error {
				m, _ := r.Member(u.Device)
				if _, it := r.Out(m.Ward, u.Device); it {
					taken++
				}
				return nil
			}))
		}
		if taken != 1 {
			t.Errorf("%s is told to install by %d", u.Device, taken)
		}
		for _, id := range []string{"flow-2.2.0", "again"} {
			list, err := s.Waits(ctx, lea, id, u.Device)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 1 && list[0].Gate == patch.CapacityGate {
				taken--
			}
		}
		if taken != 0 {
			t.Errorf("%s waits in none for the other", u.Device)
		}
	}
}

// TestMerged: of a device that was merged into another, what is judged and known of that
// counts.
func TestMerged(t *testing.T) {
	s, _, units := ward(t, "rollout: 1\nrings: [{name: all}]\n")
	keep, gone := units[1].Device, units[0].Device
	must(t, s.Judge(t.Context(), mira, gone, "independent", ""))
	_, err := s.store.MergeDevices(t.Context(), keep, gone, "le", "one pump")
	must(t, err)
	is := func(word string) {
		t.Helper()
		must(t, s.View(lea, "flow-2.2.0", func(r *rollout.Rollout, _ time.Time) error {
			if m, _ := r.Member(gone); m.Dependency != word || m.Ward != "ward 1" {
				t.Errorf("%+v", m.Unit)
			}
			return nil
		}))
	}
	must(t, s.Judge(t.Context(), mira, keep, "dependent", ""))
	is("dependent")
	must(t, s.Judge(t.Context(), mira, gone, "from moment to moment", "")) // by the old page
	is("from moment to moment")
}

// TestOrders: a person updates a pump, and it counts when a sensor has seen the version.
func TestOrders(t *testing.T) {
	s, _, units := ward(t, "rollout: 1\nexecutor: person\nrings: [{name: all}]\n")
	u := units[0]
	s.hears(t, u)
	s.hears(t, u)
	list := s.Orders(lea)
	if len(list) != 1 || list[0].Device != u.Device || !list[0].Install || list[0].Version != "2.2.0" {
		t.Fatalf("%+v", list)
	}
	for _, doing := range []patch.Activity{patch.Bolus, 0} { // the order is out when it begins
		u.Doing = doing
		s.hears(t, u)
		if list := s.Orders(lea); len(list) != 1 || list[0].Install != (doing == 0) {
			t.Errorf("while the pump does %q: %+v", doing, list)
		}
	}
	must(t, s.Report(t.Context(), lea, "flow-2.2.0", u.Device, well))
	if p := s.status(t, "flow-2.2.0"); p.Ended != 0 {
		t.Errorf("it counts by word alone: %+v", p)
	}
	_, err := s.store.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: 2, Devices: []device.Device{{ID: u.Device, Serial: "0", Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0"}}}})
	must(t, err)
	must(t, s.look(t.Context()))
	if p := s.status(t, "flow-2.2.0"); p.Outcomes[patch.Installed] != 1 {
		t.Errorf("a sensor saw it: %+v", p)
	}
}

// TestUndone: what could not be kept was not decided, and is decided again.
func TestUndone(t *testing.T) {
	s, book, units := ward(t, "rollout: 1\nrings: [{name: all}]\n")
	u := units[0]
	book.full(true)
	if _, err := s.hear(t.Context(), u.sign(t), s.now()); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("what is not in the ledger is said: %v", err)
	}
	u.Count++
	if err := s.Halt(t.Context(), mira, "flow-2.2.0", "an alarm", false); err == nil {
		t.Error("a halt that is not in the ledger is one")
	}
	book.full(false)
	if p := s.status(t, "flow-2.2.0"); p.Status != "under way" {
		t.Errorf("%+v", p)
	}
	s.pass(time.Minute)
	if o := s.offered(t, s.hears(t, u)); o == nil {
		t.Error("no offer, when the ledger takes it again")
	}
	must(t, s.Halt(t.Context(), mira, "flow-2.2.0", "an alarm", false))
}

// TestTwoServers: of one store two servers decide, and neither of what it has not seen.
func TestTwoServers(t *testing.T) {
	s, _, units := ward(t, "rollout: 1\nrings: [{name: all}]\n", func(c *Config) { c.Shared = true })
	book := &book{}
	other, err := Open(t.Context(), Config{Data: s.dir, Store: s.store, Now: s.now, Shared: true, Record: book.record})
	must(t, err)
	defer other.Close()
	u := units[0]
	s.hears(t, u)
	s.hears(t, u)
	u.Staged = release.Envelope
	number := s.offered(t, s.hears(t, u)).Number
	if err := other.Halt(t.Context(), mira, "flow-2.2.0", "an alarm", false); err != nil { // it has to find out first what the first has decided
		t.Fatal(err)
	}
	// The first does not know it yet. It offers nothing more, and whatever else it would
	// decide of that, it cannot keep.
	if _, err := s.hear(t.Context(), u.sign(t), s.now()); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("it offers what another has halted: %v", err)
	}
	u.Count++
	if a := s.hears(t, u); a.Offer != nil || a.Void < number {
		t.Errorf("after the other's halt: %+v", a)
	}
	must(t, s.Resume(t.Context(), lea, "flow-2.2.0", "a cable"))
	must(t, other.look(t.Context()))
	must(t, other.View(lea, "flow-2.2.0", func(r *rollout.Rollout, _ time.Time) error {
		if p := r.Progress(); p.Status != "under way" {
			t.Errorf("the other has it %s", p.Status)
		}
		return nil
	}))
	must(t, other.Create(t.Context(), lea, "second", release.Envelope, []byte("rollout: 1\nrings: [{name: all}]\n"), ""))
	must(t, s.look(t.Context()))
	if l := s.List(lea); len(l) != 2 {
		t.Errorf("%d roll-outs", len(l))
	}
}

// TestUnreadable: a roll-out that cannot be read keeps no server from starting, and
// nothing is offered.
func TestUnreadable(t *testing.T) {
	s, _, units := ward(t, "")
	must(t, s.store.AddRollout(t.Context(), &store.Rollout{ID: "bad", Envelope: release.Envelope.String(), Doc: []byte("{}")}))
	other, err := Open(t.Context(), Config{Data: s.dir, Store: s.store, Now: s.now})
	must(t, err)
	defer other.Close()
	if _, err := other.hear(t.Context(), units[0].sign(t), s.now()); err == nil {
		t.Error("a device is answered by half of what was decided")
	}
	if err := other.View(lea, "bad", func(*rollout.Rollout, time.Time) error { return nil }); err == nil {
		t.Error("it is shown")
	}
}
