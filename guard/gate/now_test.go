// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
)

// TestJudgedAgain: what holds when a person confirms decides, not what held when the
// command was asked for; and also what changes while the verdict is written down.
func TestJudgedAgain(t *testing.T) {
	same := func(b *bed) map[string]Device {
		return map[string]Device{"pump-3": {Therapy: device.DrugInfusion, Envelope: load(t, nil)}}
	}
	for name, x := range map[string]struct {
		change func(b *bed, still *string)
		say    string
	}{
		"as it was":    {func(b *bed, _ *string) { b.Update(same(b), []Person{holm, reyes}) }, ""},
		"its sender":   {func(_ *bed, still *string) { *still = "the sending application is on no list" }, "on no list"},
		"its device":   {func(b *bed, _ *string) { b.Update(map[string]Device{}, []Person{holm, reyes}) }, "no longer guarded"},
		"who confirms": {func(b *bed, _ *string) { b.Update(same(b), []Person{holm}) }, "a prescriber, a pharmacist or a nurse"},
		"another role": {func(b *bed, _ *string) { b.Update(same(b), []Person{holm, {ID: "jr"}}) }, "a prescriber, a pharmacist or a nurse"},
		"another envelope": {func(b *bed, _ *string) {
			d := same(b)
			d["pump-3"] = Device{Therapy: device.DrugInfusion, Envelope: load(t, func(s string) string { return strings.Replace(s, "max: 1.0", "max: 0.6", 1) })}
			b.Update(d, []Person{holm, reyes})
		}, "max 0.6"},
		"its time": {func(b *bed, _ *string) { b.set(2*time.Minute, 2*time.Minute) }, "in time"},
	} {
		for _, when := range []string{"while it waits", "while it is written down"} {
			t.Run(name+" "+when, func(t *testing.T) {
				b := newBed(t, nil)
				still, released, gone := "", 0, ""
				o := order("0.8")
				o.Still = func() string { return still }
				o.Release = func(_ context.Context, a *Answer) { released++; a.Abandon() }
				o.Gone = func(why string) { gone = why }
				a := b.Ask(context.Background(), o)
				if a.Hold == "" {
					t.Fatalf("%+v", a)
				}
				if when == "while it waits" {
					x.change(b, &still)
				} else {
					b.during = func() { b.during = nil; x.change(b, &still) }
				}
				err := b.Confirm(context.Background(), reyes, a.Hold)
				if x.say == "" {
					if err != nil || released != 1 || gone != "" {
						t.Fatalf("%v, released %d, %q", err, released, gone)
					}
					return
				}
				if err == nil || released != 0 {
					t.Fatalf("%v, released %d times", err, released)
				}
				if strings.HasPrefix(name, "who") || strings.HasPrefix(name, "another role") {
					if when == "while it waits" { // for somebody else to confirm
						if len(b.Held()) != 1 || gone != "" {
							t.Errorf("%d wait, %q", len(b.Held()), gone)
						}
						return
					}
				}
				if len(b.Held()) != 0 || gone == "" || x.say != "max 0.6" && !strings.Contains(gone+err.Error(), x.say) {
					t.Errorf("%d wait, told %q", len(b.Held()), gone)
				}
				if got := b.entries(event.VerdictGiven); !strings.HasPrefix(got[len(got)-1], "deny: ") {
					t.Errorf("recorded %q", got)
				}
				if n := len(b.cfg.Book.Doubts()); n != 0 {
					t.Errorf("%d doubts", n)
				}
			})
		}
	}
	t.Run("nobody to ask", func(t *testing.T) {
		b := newBed(t, nil)
		o := order("0.8")
		o.Release = func(context.Context, *Answer) { t.Error("released") }
		if a := b.Ask(context.Background(), o); a.Hold != "" || a.Verdict != device.Deny {
			t.Errorf("it waits, and nobody could say whether it still may: %+v", a)
		}
	})
}

// TestClockSetBack: a held command does not last longer because somebody sets the clock.
func TestClockSetBack(t *testing.T) {
	b := newBed(t, nil)
	a, released, gone := b.waiting()
	b.set(-24*time.Hour, 2*time.Minute)
	if err := b.Confirm(context.Background(), reyes, a.Hold); err == nil || released.Load() != 0 || gone.Load() != 1 {
		t.Errorf("%v, released %d, gone %d", err, released.Load(), gone.Load())
	}
}

// TestStateAges: what a device said of its state holds for a time. Then nobody knows,
// and what depends on it is refused; a rescue does not.
func TestStateAges(t *testing.T) {
	for name, x := range map[string]struct {
		holds string
		after time.Duration // until it is unknown
	}{"without a word": {"", envelope.StateHolds}, "as the envelope says": {"state-holds: 30s\n", 30 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, func(s string) string {
				return strings.Replace(strings.Replace(s, "    max:", "    refused-in: [alarm]\n    max:", 1), "verbs:\n", x.holds+"verbs:\n", 1)
			})
			asked := func() string { return b.Ask(context.Background(), order("0.2")).Verdict.String() }
			say := func(state string) { b.Report("pump-3", &envelope.Report{State: state, Time: b.clock()}) }
			if got := asked(); got != "deny" {
				t.Errorf("before it said anything: %s", got)
			}
			say("infusing")
			b.set(x.after, x.after)
			if got := asked(); got != "allow" || b.State("pump-3") != "infusing" {
				t.Errorf("at the end of its time: %s", got)
			}
			b.set(1, 1)
			if got := asked(); got != "deny" || b.State("pump-3") != "" {
				t.Errorf("after its time: %s", got)
			}
			o := order("0")
			o.Request.Command.Verb, o.Request.Command.Value = device.CancelBolus, device.Quantity{}
			if a := b.Ask(context.Background(), o); !a.Pass || a.Verdict != device.Allow {
				t.Errorf("a rescue: %+v", a)
			}
			say("infusing")
			b.set(-24*time.Hour, x.after+1)
			if got := asked(); got != "deny" {
				t.Errorf("with a clock that was set back: %s", got)
			}
			say("infusing")
			b.Report("pump-3", &envelope.Report{Time: b.clock()}) // says nothing of it
			b.set(24*time.Hour, 0)
			if got := asked(); got != "deny" {
				t.Errorf("with a clock that was set forward: %s", got)
			}
			say("infusing")
			if got := asked(); got != "allow" {
				t.Errorf("told again: %s", got)
			}
		})
	}
}

// TestKilledInAFlood: who kills the guard in the middle of a minute takes away at most
// half of what was refused, whenever that is; and a clock that is set back, nothing more.
func TestKilledInAFlood(t *testing.T) {
	b := newBed(t, nil)
	known := func() (n int64, entries int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range b.led {
			switch e := &b.led[i]; e.Kind {
			case event.VerdictGiven:
				n++
			case event.VerdictsCounted:
				n += e.Int(event.Count)
			}
		}
		return n, len(b.led)
	}
	for times := int64(1); times <= 5000; times++ {
		b.Ask(context.Background(), order("4"))
		if n, _ := known(); 2*n < times { // what a killed guard leaves
			t.Fatalf("of %d refusals the ledger has %d", times, n)
		}
	}
	if _, entries := known(); entries > 2*oneByOne {
		t.Errorf("%d entries", entries)
	}
	b.set(-24*time.Hour, time.Minute)
	b.Sweep(b.clock())
	if n, _ := known(); n != 5000 {
		t.Errorf("after the minute the ledger has %d", n)
	}
}
