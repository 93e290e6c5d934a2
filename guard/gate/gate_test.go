// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const noradrenaline = `envelope: 1
name: noradrenaline at bed 3
version: 4
therapy: drug infusion
drug: noradrenaline
author: {id: mh, role: prescriber}
approver: {id: pk, role: pharmacist}
risk: {record: RD-2026-014, manufacturer: "agrees to a guard before the gateway"}
enforce: true
verbs:
  set-infusion-rate:
    unit: ug/kg/min
    max: 1.0 ug/kg/min
    confirm: second-person
    above: 0.5 ug/kg/min
    hold: 2m
`

var (
	holm  = Person{ID: "mh", Role: envelope.Prescriber}
	reyes = Person{ID: "jr", Role: envelope.Nurse}
	lea   = Person{ID: "ls"} // an engineer
)

// A bed is a gate before one pump, with a clock and a ledger of its own.
type bed struct {
	*Gate
	t      *testing.T
	mu     sync.Mutex
	now    time.Time
	led    []event.Event
	up     time.Duration // of the machine, beyond what now says
	fail   error         // of the ledger
	during func()        // the next record
	wait   chan struct{} // the ledger takes as long as this; nil: not at all
}

func newBed(t *testing.T, change func(string) string) *bed {
	t.Helper()
	b := &bed{t: t, now: time.Date(2026, 3, 3, 6, 9, 0, 0, time.UTC)}
	book, err := envelope.OpenBook(envelope.Config{Path: filepath.Join(t.TempDir(), "doses")})
	if err != nil {
		t.Fatal(err)
	}
	b.Gate = New(Config{
		Devices: map[string]Device{"pump-3": {Therapy: device.DrugInfusion, Envelope: load(t, change)}}, Book: book,
		Record: b.record, Now: b.clock, Clock: b.reading, Page: "https://guard.icu:8443/", People: []Person{holm, reyes, lea},
	})
	t.Cleanup(func() { b.Close(); book.Close() })
	return b
}

func load(t *testing.T, change func(string) string) *envelope.Envelope {
	t.Helper()
	text := noradrenaline
	if change != nil {
		if text = change(text); text == noradrenaline {
			t.Fatal("nothing was changed")
		}
	}
	e, err := envelope.Load("pump-3.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (b *bed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bed) reading() envelope.Reading {
	b.mu.Lock()
	defer b.mu.Unlock()
	return envelope.Reading{Wall: b.now.UnixNano(), Uptime: b.now.UnixNano() + int64(b.up), Boot: "of the bed"}
}

// set moves the clock on the wall by so much, while so much time passes.
func (b *bed) set(wall, passes time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(wall)
	b.up += passes - wall
}

func (b *bed) pass(d time.Duration) {
	b.mu.Lock()
	b.now = b.now.Add(d)
	b.mu.Unlock()
	b.Sweep(b.clock())
}

func (b *bed) record(e *event.Event) error {
	if b.wait != nil {
		<-b.wait
	}
	if b.during != nil {
		b.during()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.led = append(b.led, *e)
	return nil
}

// entries are the events of a kind, as verdict and reason, or count.
func (b *bed) entries(k event.Kind) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.led {
		if e := &b.led[i]; e.Kind == k {
			out = append(out, device.Verdict(e.Int(event.Verdict)).String()+": "+e.Text(event.Reason))
		}
	}
	return out
}

// order asks for a rate, in ug/kg/min, as somebody who is proven.
func order(rate string) *Ask {
	q, err := device.ParseQuantity(rate + " ug/kg/min")
	if err != nil {
		panic(err)
	}
	return &Ask{
		Front: "gw-icu", Device: "pump-3", Actor: "cert-ehr", Peer: device.Address{Kind: device.IP, Value: "10.20.1.5"},
		Request: envelope.Request{Command: device.Command{
			Verb: device.SetInfusionRate, Value: q, Role: device.Clinician, Channel: device.Encrypted | device.Authenticated | device.Fresh, Actor: "cert-ehr",
		}},
	}
}

// TestVerdicts: what passes is counted, what does not is in the ledger before
// anybody is told.
func TestVerdicts(t *testing.T) {
	b := newBed(t, nil)
	for range 3 {
		a := b.Ask(context.Background(), order("0.2"))
		if !a.Pass || a.Verdict != device.Allow || !a.Enforced {
			t.Fatalf("%+v", a)
		}
		a.Sent()
		a.Outcome(Accepted)
	}
	a := b.Ask(context.Background(), order("4"))
	if a.Pass || a.Verdict != device.Deny {
		t.Fatalf("%+v", a)
	}
	if got := b.entries(event.VerdictGiven); len(got) != 1 || !strings.HasPrefix(got[0], "deny: ") || !strings.HasSuffix(got[0], "(noradrenaline at bed 3 v4, line 13, set-infusion-rate max 1.0 ug/kg/min)") {
		t.Errorf("%q", got)
	}
	unproven := order("0.2")
	unproven.Request.Command.Channel, unproven.Request.Command.Role, unproven.Actor = 0, 0, ""
	if a := b.Ask(context.Background(), unproven); a.Pass || a.Verdict != device.Deny {
		t.Errorf("unproven: %+v", a)
	}
	foreign := order("0.2")
	foreign.Device = "pump-9"
	if a := b.Ask(context.Background(), foreign); a.Pass || !a.Enforced {
		t.Errorf("a device that is not guarded: %+v", a)
	}
	b.pass(time.Minute)
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for i := range b.led {
		if e := &b.led[i]; e.Kind == event.VerdictsCounted && e.Int(event.Verdict) == int64(device.Allow) {
			n += e.Int(event.Count)
		}
	}
	if n != 3 {
		t.Errorf("%d routine verdicts were counted, want 3", n)
	}
}

// TestObserve: an envelope that does not enforce stops nothing, and what would have been
// said is recorded.
func TestObserve(t *testing.T) {
	for _, change := range []func(string) string{
		func(s string) string { return strings.Replace(s, "enforce: true", "enforce: false", 1) },
		func(s string) string {
			return strings.Replace(s, "approver: {id: pk, role: pharmacist}\n", "", 1)
		},
	} {
		b := newBed(t, change)
		a := b.Ask(context.Background(), order("4"))
		if !a.Pass || a.Enforced || a.Verdict != device.Deny {
			t.Errorf("%+v", a)
		}
		if got := b.entries(event.VerdictGiven); len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
}

// waiting asks for what needs a second person, and counts what comes of it.
func (b *bed) waiting() (a *Answer, released, gone *atomic.Int32) {
	b.t.Helper()
	released, gone = new(atomic.Int32), new(atomic.Int32)
	o := order("0.8")
	o.Still = func() string { return "" }
	o.Release = func(_ context.Context, a *Answer) {
		if !a.Pass {
			b.t.Error("released without a pass")
		}
		a.Sent()
		a.Outcome(Accepted)
		released.Add(1)
	}
	o.Gone = func(string) { gone.Add(1) }
	if a = b.Ask(context.Background(), o); a.Verdict != device.Hold || a.Pass || a.Hold == "" {
		b.t.Fatalf("%+v", a)
	}
	return a, released, gone
}

func TestConfirm(t *testing.T) {
	b := newBed(t, nil)
	a, released, gone := b.waiting()
	if held := b.Held(); len(held) != 1 || held[0].ID != a.Hold || held[0].Expires != b.clock().Add(2*time.Minute) {
		t.Fatalf("%+v", held)
	}
	if err := b.Confirm(context.Background(), lea, a.Hold); !errors.Is(err, ErrRole) {
		t.Errorf("an engineer: %v", err)
	}
	if err := b.Confirm(context.Background(), Person{ID: "x", Role: envelope.Nurse}, a.Hold); !errors.Is(err, ErrRole) {
		t.Errorf("somebody unknown: %v", err)
	}
	if err := b.Confirm(context.Background(), reyes, a.Hold); err != nil || released.Load() != 1 {
		t.Fatalf("%v, released %d times", err, released.Load())
	}
	if err := b.Confirm(context.Background(), holm, a.Hold); !errors.Is(err, ErrGone) || released.Load() != 1 || gone.Load() != 0 {
		t.Errorf("again: %v, released %d times", err, released.Load())
	}
	got := b.entries(event.VerdictGiven)
	if len(got) != 2 || !strings.HasPrefix(got[0], "hold: ") || !strings.HasPrefix(got[1], "allow: confirmed by jr (nurse)") {
		t.Errorf("%q", got)
	}
}

// TestConfirmers: who may not confirm ends nothing; who may, still can.
func TestConfirmers(t *testing.T) {
	b := newBed(t, func(s string) string {
		return strings.Replace(s, "    above:", "    confirmers: [prescriber]\n    above:", 1)
	})
	a, released, gone := b.waiting()
	if err := b.Confirm(context.Background(), reyes, a.Hold); err == nil || released.Load() != 0 || gone.Load() != 0 || len(b.Held()) != 1 {
		t.Fatalf("a nurse: %v, released %d, gone %d", err, released.Load(), gone.Load())
	}
	if err := b.Confirm(context.Background(), holm, a.Hold); err != nil || released.Load() != 1 {
		t.Errorf("a prescriber: %v, released %d", err, released.Load())
	}
}

// TestOnce: many people at once, and one release.
func TestOnce(t *testing.T) {
	b := newBed(t, nil)
	a, released, _ := b.waiting()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if i%5 == 4 {
				_ = b.Refuse(holm, a.Hold, "not now")
				return
			}
			_ = b.Confirm(context.Background(), reyes, a.Hold)
		})
	}
	wg.Wait()
	if released.Load() > 1 || len(b.Held()) != 0 {
		t.Errorf("released %d times", released.Load())
	}
}

// TestNeverLate: a command is not delivered when its time is over, whoever notices that
// first, nor when what holds has changed.
func TestNeverLate(t *testing.T) {
	t.Run("swept", func(t *testing.T) {
		b := newBed(t, nil)
		a, released, gone := b.waiting()
		b.pass(2*time.Minute - 1)
		if len(b.Held()) != 1 {
			t.Error("it is gone before its time")
		}
		b.pass(1)
		if err := b.Confirm(context.Background(), reyes, a.Hold); !errors.Is(err, ErrGone) || released.Load() != 0 || gone.Load() != 1 {
			t.Errorf("%v, released %d, gone %d", err, released.Load(), gone.Load())
		}
	})
	t.Run("confirmed late", func(t *testing.T) {
		b := newBed(t, nil)
		a, released, gone := b.waiting()
		b.mu.Lock()
		b.now = b.now.Add(2 * time.Minute)
		b.mu.Unlock()
		if err := b.Confirm(context.Background(), reyes, a.Hold); !errors.Is(err, ErrGone) || released.Load() != 0 || gone.Load() != 1 {
			t.Errorf("%v, released %d, gone %d", err, released.Load(), gone.Load())
		}
	})
	t.Run("refused", func(t *testing.T) {
		b := newBed(t, nil)
		a, released, gone := b.waiting()
		if err := b.Refuse(reyes, a.Hold, "pressure is up again"); err != nil {
			t.Fatal(err)
		}
		if err := b.Confirm(context.Background(), reyes, a.Hold); !errors.Is(err, ErrGone) || released.Load() != 0 || gone.Load() != 1 {
			t.Errorf("%v, released %d, gone %d", err, released.Load(), gone.Load())
		}
	})
	t.Run("another envelope", func(t *testing.T) {
		b := newBed(t, nil)
		a, released, gone := b.waiting()
		stricter := load(t, func(s string) string { return strings.Replace(s, "max: 1.0", "max: 0.6", 1) })
		b.Update(map[string]Device{"pump-3": {Therapy: device.DrugInfusion, Envelope: stricter}}, []Person{reyes})
		if err := b.Confirm(context.Background(), reyes, a.Hold); err == nil || released.Load() != 0 || gone.Load() != 1 {
			t.Errorf("%v, released %d, gone %d", err, released.Load(), gone.Load())
		}
	})
	t.Run("another value now", func(t *testing.T) {
		b := newBed(t, func(s string) string { return strings.Replace(s, "    max:", "    step: 0.5 ug/kg/min\n    max:", 1) })
		for now, want := range map[string]int{"0.4": 1, "0.1": 0, "": 0} {
			o := order("0.8")
			o.Request.Command.Now = order("0.4").Request.Command.Value
			released := 0
			o.Release = func(_ context.Context, a *Answer) { released++; a.Abandon() }
			o.Still = func() string { return "" }
			if now != "" {
				o.Renew = func(r *envelope.Request) { r.Command.Now = order(now).Request.Command.Value }
			}
			a := b.Ask(context.Background(), o)
			if a.Hold == "" {
				t.Fatal(a.Reason)
			}
			if err := b.Confirm(context.Background(), reyes, a.Hold); released != want {
				t.Errorf("at %q now: %v, released %d times", now, err, released)
			}
		}
	})
	t.Run("a ledger that fails", func(t *testing.T) {
		b := newBed(t, nil)
		a, released, gone := b.waiting()
		b.mu.Lock()
		b.fail = errors.New("disk full")
		b.mu.Unlock()
		if err := b.Confirm(context.Background(), reyes, a.Hold); err == nil || released.Load() != 0 || gone.Load() != 1 {
			t.Errorf("%v, released %d, gone %d", err, released.Load(), gone.Load())
		}
	})
}

// TestHeldBound: a clinician is not asked too much, and a front that cannot wait is refused.
func TestHeldBound(t *testing.T) {
	b := newBed(t, nil)
	for range maxHeldDevice {
		b.waiting()
	}
	o := order("0.8")
	o.Release = func(context.Context, *Answer) { t.Error("released") }
	o.Still = func() string { return "" }
	if a := b.Ask(context.Background(), o); a.Verdict != device.Deny || a.Pass || !strings.Contains(a.Reason, "too many") {
		t.Errorf("%+v", a)
	}
	if a := b.Ask(context.Background(), order("0.8")); a.Verdict != device.Deny || a.Pass {
		t.Errorf("%+v", a)
	}
}

// TestRescue: a rescue of a proven sender waits for no disk.
func TestRescue(t *testing.T) {
	b := newBed(t, nil)
	b.wait = make(chan struct{})
	o := order("0")
	o.Request.Command.Verb, o.Request.Command.Value = device.CancelBolus, device.Quantity{}
	done := make(chan *Answer)
	go func() { done <- b.Ask(context.Background(), o) }()
	a := <-done // or the test ends by its time
	if !a.Pass || a.Verdict != device.Allow {
		t.Fatalf("%+v", a)
	}
	close(b.wait)
	b.Close()
	if got := b.entries(event.VerdictGiven); len(got) != 1 || !strings.HasPrefix(got[0], "allow: ") {
		t.Errorf("the ledger follows: %q", got)
	}
	b.Gate = New(b.cfg)

	for name, change := range map[string]func(*Ask){
		"replayed": func(a *Ask) { a.Request.Replayed = true },
		"unproven": func(a *Ask) { a.Request.Command.Channel = 0 },
		"old":      func(a *Ask) { a.Request.Command.Channel &^= device.Fresh },
	} {
		o := order("0")
		o.Request.Command.Verb, o.Request.Command.Value = device.CancelBolus, device.Quantity{}
		change(o)
		if a := b.Ask(context.Background(), o); a.Pass || a.Verdict != device.Deny {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestManyRescues: more rescues than the ledger can follow are not forgotten by it.
func TestManyRescues(t *testing.T) {
	b := newBed(t, nil)
	b.wait = make(chan struct{})
	const times = 2 * maxBehind
	for range times {
		o := order("0")
		o.Request.Command.Verb, o.Request.Command.Value = device.CancelBolus, device.Quantity{}
		if a := b.Ask(context.Background(), o); !a.Pass {
			t.Fatalf("%+v", a)
		}
	}
	close(b.wait)
	b.Close()
	b.mu.Lock()
	var n int64
	for i := range b.led {
		switch e := &b.led[i]; e.Kind {
		case event.VerdictGiven:
			n++
		case event.VerdictsCounted:
			n += e.Int(event.Count)
		}
	}
	b.mu.Unlock()
	if n != times {
		t.Errorf("%d are in the ledger, want %d", n, times)
	}
	b.Gate = New(b.cfg)
}

// TestNoted: what does not wait for the disk is not forgotten, and is in no
// rescue's place.
func TestNoted(t *testing.T) {
	b := newBed(t, nil)
	b.wait = make(chan struct{})
	const times = 2 * maxBehind
	for i := range times { // each of another address, so that none is like another
		e := &event.Event{Kind: event.AccessRefused, Peer: device.Address{Kind: device.IP, Value: strconv.Itoa(i)}}
		e.Add(event.Text(event.Front, "f"), event.Int(event.Count, 1))
		b.Noted(e)
	}
	o := order("0")
	o.Request.Command.Verb, o.Request.Command.Value = device.CancelBolus, device.Quantity{}
	b.Ask(context.Background(), o)
	close(b.wait)
	b.Close()
	if got := b.entries(event.VerdictGiven); len(got) != 1 {
		t.Errorf("of the rescue the ledger has %q", got)
	}
	b.mu.Lock()
	var n int64
	for i := range b.led {
		if e := &b.led[i]; e.Kind == event.AccessRefused {
			n += e.Int(event.Count)
		}
	}
	b.mu.Unlock()
	if n != times {
		t.Errorf("%d are in the ledger, want %d", n, times)
	}
	b.Gate = New(b.cfg)
}

// TestFlood: nobody fills a disk with refusals, and none of them is forgotten.
func TestFlood(t *testing.T) {
	b := newBed(t, nil)
	const times = 5000
	for range times {
		b.Ask(context.Background(), order("4"))
	}
	if n := len(b.entries(event.VerdictGiven)); n != oneByOne {
		t.Errorf("%d entries one by one, want %d", n, oneByOne)
	}
	b.pass(time.Minute)
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for i := range b.led {
		if e := &b.led[i]; e.Kind == event.VerdictsCounted {
			n += e.Int(event.Count)
		}
	}
	if n != times-oneByOne {
		t.Errorf("%d were counted, want %d", n, times-oneByOne)
	}
}
