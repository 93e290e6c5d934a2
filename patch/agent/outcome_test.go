// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/suit"
)

// A version that does not do falls back, in time, to the one before; the counter stays,
// and what is said is what happened.
func TestFallBack(t *testing.T) {
	for _, c := range []struct {
		fault, restores string // of the new version and the old
		outcome         patch.Outcome
		reason          string
		bites           int
	}{
		{"self-test", "", patch.FellBack, "self-test failed: pump motor", 0},
		{"hang", "", patch.FellBack, "did not confirm itself", 1},
		{"no-resume", "", patch.FellBack, "not seen resumed", 1},
		{"lost-settings", "restores-settings", patch.FellBack, "settings are not what they were", 0},
		{"lost-settings", "", patch.LostSettings, "settings are not what they were", 0},
		{"self-test", "no-resume", patch.LostFunction, "self-test failed", 0},
		{"self-test", "self-test", patch.LostFunction, "self-test failed", 0},
	} {
		t.Run(c.fault+" "+c.restores, func(t *testing.T) {
			w := newWorld(t)
			w.old = img("2.1.4", c.restores, 9000)
			if err := Provision(&w.layout, bytes.NewReader(w.old), "2.1.4", 7); err != nil {
				t.Fatal(err)
			}
			w.release1 = w.release(recipe{version: "2.2.0", sequence: 8, image: img("2.2.0", c.fault, 11000), maker: w.maker, class: class})
			if _, err := w.run(w.heardOf(1)); err != nil {
				t.Fatal(err)
			}
			r := w.results[0]
			if r.Outcome != c.outcome || !strings.Contains(r.Reason, c.reason) || r.Version != "2.1.4" || r.Offer != 1 {
				t.Errorf("it ends with %+v", r)
			}
			if j := r.Judge(&w.release1.Demands); j != c.outcome {
				t.Errorf("a server judges it as %v", j)
			}
			if s := w.agent.State(); s.Sequence != 7 || s.Slot != "A" || !bytes.Equal(w.image(), w.old) || w.bites > c.bites {
				t.Errorf("%d bites of the watchdog, and it is %+v", w.bites, s)
			}
			// A fall-back is no downgrade: a release between the two may still come.
			w.release1 = w.release(recipe{version: "2.2.1", sequence: 9, image: img("2.2.1", "restores-settings", 9500), maker: w.maker, class: class})
			if c.restores != "" && c.restores != "restores-settings" {
				return // it is for a person to mend
			}
			if _, err := w.run(w.heardOf(2)); err != nil {
				t.Fatal(err)
			}
			if r := w.results[1]; c.outcome == patch.FellBack && (r.Outcome != patch.Installed || w.agent.State().Sequence != 9) {
				t.Errorf("the next release ends with %+v", r)
			}
		})
	}
}

// Nothing is installed while the device does what no update interrupts, or could not
// roll back; staged it is meanwhile, and installed when that is over.
func TestGates(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(*world)
		end   func(*world)
		gate  patch.Gate
	}{
		{"in the middle of a bolus", func(w *world) { w.doing = patch.Bolus }, func(w *world) { w.doing = 0 }, patch.TherapyGate},
		{"an infusion", func(w *world) { w.doing = patch.Delivering | patch.Dependent }, func(w *world) { w.doing = 0 }, patch.TherapyGate},
		{"a battery that does not last", func(w *world) { w.battery = 39 }, func(w *world) { w.battery = 40 }, patch.PowerGate},
		{"a bolus that begins at the last moment", func(w *world) {
			w.onQuiesce = func() { w.doing = patch.Bolus }
		}, func(w *world) { w.doing, w.onQuiesce = 0, nil }, patch.TherapyGate},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.begin(w)
			end := w.clock + 20*time.Hour
			if errs, err := w.run(func() bool { return w.clock > end }); err != nil || errs != nil {
				t.Fatal(err, errs)
			}
			if s := w.agent.State(); s.Version != "2.1.4" || s.Staged != w.release1.Envelope || len(w.results) > 0 {
				t.Fatalf("it is %+v", s)
			}
			waits := w.agent.Waits()
			if len(waits) == 0 || waits[0].Gate != c.gate || w.quiet {
				t.Errorf("it waits for %v, and lets no therapy begin: %v", waits, w.quiet)
			}
			c.end(w)
			if _, err := w.run(w.heardOf(1)); err != nil || w.results[0].Outcome != patch.Installed {
				t.Errorf("%v; it ends with %+v", err, w.results)
			}
		})
	}
}

// A device that says it cannot hold therapy back, and does, is told to let it begin.
func TestQuiesceFails(t *testing.T) {
	w := newWorld(t)
	w.late = errors.New("no answer in time")
	end := w.clock + time.Hour
	errs, err := w.run(func() bool { return w.clock > end }) // which looks at what is let begin
	if err != nil || !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, w.late) }) {
		t.Fatalf("%v, %v", err, errs)
	}
	if s := w.agent.State(); s.Version != "2.1.4" || w.quiet {
		t.Errorf("it is %+v, and lets no therapy begin: %v", s, w.quiet)
	}
	w.late = nil
	if _, err := w.run(w.heardOf(1)); err != nil || w.results[0].Outcome != patch.Installed {
		t.Errorf("%v; it ends with %+v", err, w.results)
	}
}

// A doubtful flash says once that it did not write what it wrote.
type doubtful struct {
	*Memory
	lies, lied bool
}

var errDoubt = errors.New("no answer of the flash")

func (f *doubtful) Write(off int64, b []byte) error {
	if err := f.Memory.Write(off, b); err != nil || !f.lies {
		return err
	}
	f.lies, f.lied = false, true
	return errDoubt
}

// A switch that was given up, since nobody knows whether it is recorded, is not made by a
// start that comes later.
func TestSwitchInDoubt(t *testing.T) {
	w := newWorld(t)
	f := &doubtful{Memory: w.memory[0]}
	w.layout.Record = f
	w.onQuiesce = func() { f.lies = !f.lied }
	errs, err := w.run(func() bool { return f.lied })
	if err != nil || len(errs) != 1 || !errors.Is(errs[0], errDoubt) || w.quiet {
		t.Fatalf("%v, %v; it lets therapy begin: %v", err, errs, !w.quiet)
	}
	if err := w.boot(); err != nil || w.start.Trial || w.start.Slot != 0 {
		t.Errorf("%+v is started: %v", w.start, err)
	}
	if _, err := w.run(w.heardOf(1)); err != nil || w.results[0].Outcome != patch.Installed {
		t.Errorf("%v; it ends with %+v", err, w.results)
	}
}

// A worn flash is written no more.
type worn struct {
	*Memory
	out bool
}

var errWorn = errors.New("worn out")

func (f *worn) Erase(off int64) error {
	if f.out {
		return errWorn
	}
	return f.Memory.Erase(off)
}

func (f *worn) Write(off int64, b []byte) error {
	if f.out {
		return errWorn
	}
	return f.Memory.Write(off, b)
}

// A device whose boot record can no longer be written, in the middle of an update, starts
// the confirmed version each time, and gives therapy with it.
func TestRecordWorn(t *testing.T) {
	for _, when := range []string{"before the trial", "in the trial"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			f := &worn{Memory: w.memory[0]}
			w.layout.Record = f
			w.switched()
			if when == "in the trial" {
				if err := w.boot(); err != nil || !w.start.Trial {
					t.Fatal(err)
				}
			}
			f.out = true
			for range 3 {
				end := w.clock + time.Hour
				if errs, err := w.run(func() bool { return w.clock > end }); err != nil || !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, errWorn) }) {
					t.Fatal(err, errs)
				}
				if w.start.Slot != 0 || w.quiet || w.dog != 0 || w.bites > 1 {
					t.Fatalf("slot %d, it lets therapy begin: %v, and the watchdog bites at %v, and bit %d times", w.start.Slot, !w.quiet, w.dog, w.bites)
				}
				w.agent = nil
			}
		})
	}
}

// Without a watchdog there is no trial: what hangs in it would hang for ever.
func TestNoWatchdog(t *testing.T) {
	w := newWorld(t)
	missing := errors.New("no watchdog")
	w.noDog = missing
	end := w.clock + time.Hour
	errs, err := w.run(func() bool { return w.clock > end })
	if err != nil || !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, missing) }) {
		t.Fatalf("%v, %v", err, errs)
	}
	if s := w.agent.State(); s.Version != "2.1.4" || w.quiet {
		t.Errorf("it is %+v, and lets therapy begin: %v", s, !w.quiet)
	}
	w.noDog = nil
	w.switched()
	w.noDog = missing // the new version's
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.FellBack || !strings.Contains(r.Reason, missing.Error()) || r.Version != "2.1.4" {
		t.Errorf("it ends with %+v", r)
	}
}

// Settings that were changed since they were saved are saved anew before the switch.
func TestSettingsChange(t *testing.T) {
	w := newWorld(t)
	w.never = true
	if _, err := w.run(func() bool { return w.agent.State().Staged == w.release1.Envelope }); err != nil {
		t.Fatal(err)
	}
	w.settings = "basal 0.9 U/h"
	w.never = false
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.Installed || r.Before != w.digest() || w.saved != w.digest() {
		t.Errorf("it ends with %+v", r)
	}
}

// A halt withdraws what is staged, and does not touch what is on trial.
func TestVoid(t *testing.T) {
	w := newWorld(t)
	w.never = true
	if _, err := w.run(func() bool { return w.agent.State().Staged == w.release1.Envelope }); err != nil {
		t.Fatal(err)
	}
	w.void, w.never = 1, false
	w.answer = func(_ *patch.State, _ *patch.Answer, o *patch.Offer) { o.Number = 1 }
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.Withdrawn || r.Offer != 1 || r.Version != "2.1.4" {
		t.Errorf("it ends with %+v", r)
	}
	if s := w.agent.State(); s.Staged != (patch.Digest{}) || s.Sequence != 7 {
		t.Errorf("it is %+v", s)
	}
	// The release may come again under another number, and is not fetched again.
	w.answer, w.number = nil, 2
	before := w.fetched
	if _, err := w.run(w.heardOf(2)); err != nil || w.results[1].Outcome != patch.Installed {
		t.Fatal(err, w.results)
	}
	if n := w.fetched - before; n > w.release1.Size {
		t.Errorf("%d bytes are fetched for what is there", n)
	}
}

// A download goes on where it was, over cuts of the connection and of the power.
func TestResume(t *testing.T) {
	w := newWorld(t)
	cuts := 0
	w.read = func(path string, p []byte, off int64) (int, error) {
		if strings.HasSuffix(path, ".bin") {
			if cuts++; cuts%2 == 0 {
				w.agent = nil // the power goes, too
				return 0, ErrPower
			}
			p = p[:min(len(p), 2500)]
		}
		return w.file(path, p, off)
	}
	for range 100 {
		if _, err := w.run(w.heardOf(1)); err == nil {
			break
		}
	}
	if len(w.results) != 1 || w.results[0].Outcome != patch.Installed {
		t.Fatalf("%d cuts; it ends with %+v", cuts, w.results)
	}
	image := int64(len(w.release1.files["firmware.bin"]))
	if cuts < 6 || w.fetched > 2*image {
		t.Errorf("%d cuts, and %d bytes are fetched for %d", cuts, w.fetched, image)
	}
}

// What a self-test says is kept as text, whatever it is: the boot record has to be read.
func TestReason(t *testing.T) {
	for _, text := range []string{strings.Repeat("ä", 300), "a" + strings.Repeat("ä", 300), "\xff\xfe\x00", ""} {
		w := newWorld(t)
		w.complaint = text
		w.release1 = w.release(recipe{version: "2.2.0", sequence: 8, image: img("2.2.0", "self-test", 11000), maker: w.maker, class: class})
		if _, err := w.run(w.heardOf(1)); err != nil || w.results[0].Outcome != patch.FellBack {
			t.Errorf("%.10q: %v, %+v", text, err, w.results)
		}
	}
}

// A payload of a whole URL comes from the device's own server, by its name.
func TestAbsoluteURI(t *testing.T) {
	w := newWorld(t)
	w.release1 = w.release(recipe{version: "2.2.0", sequence: 8, image: img("2.2.0", "", 11000), maker: w.maker, class: class, change: func(m *suit.Manifest) {
		m.Sections[0].Commands[0] = suit.Override(suit.URI("https://norra.example/releases/firmware.bin"))
	}})
	if errs, err := w.run(w.heardOf(1)); err != nil || errs != nil || w.results[0].Outcome != patch.Installed {
		t.Errorf("%v, %v: it ends with %+v", err, errs, w.results)
	}
}

// A download of many steps is polled between, so that a halt ends it.
func TestPollEvery(t *testing.T) {
	w := newWorld(t)
	w.every = 3000
	w.answer = func(s *patch.State, a *patch.Answer, _ *patch.Offer) {
		if s.Bytes > 4000 {
			a.Void = 1
		}
	}
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.Withdrawn || w.fetched > 10000 {
		t.Errorf("%d bytes are fetched, and it ends with %+v", w.fetched, r)
	}
	w = newWorld(t)
	w.every = 3000
	if _, err := w.run(w.heardOf(1)); err != nil || w.results[0].Outcome != patch.Installed {
		t.Error(err, w.results)
	}
}

// Steps that each bring less than the record is written for come to an end, too: what is
// in flash of them is not fetched again.
func TestShortSteps(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"polls between": func(w *world) { w.every = 1500 },
		"a connection that is cut": func(w *world) {
			n := 0
			w.read = func(path string, p []byte, off int64) (int, error) {
				if strings.HasSuffix(path, ".suit") {
					return w.file(path, p, off)
				}
				if n++; n%2 == 0 {
					return 0, io.ErrClosedPipe
				}
				return w.file(path, p[:min(len(p), 1500)], off)
			}
		},
	} {
		w := newWorld(t)
		spoil(w)
		if _, err := w.run(w.heardOf(1)); err != nil || w.results[0].Outcome != patch.Installed {
			t.Errorf("%s: %v, %+v", name, err, w.results)
		}
	}
}

// Damage to the slot that runs is survived where the one before is there still: an
// old version beats none, and the counter does not go back.
func TestDamagedSlot(t *testing.T) {
	w := newWorld(t)
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	w.memory[2].Bytes[77] ^= 0x10
	w.agent = nil
	w.answer = func(_ *patch.State, _ *patch.Answer, o *patch.Offer) {
		if o != nil {
			o.Number = 0
		}
	}
	if _, err := w.run(w.heardOf(2)); err != nil {
		t.Fatal(err)
	}
	r, s := w.results[1], w.agent.State()
	if r.Outcome != patch.FellBack || !strings.Contains(r.Reason, "damaged") || r.Version != "2.1.4" {
		t.Errorf("it says %+v", r)
	}
	if s.Version != "2.1.4" || s.Sequence != 8 || s.Slot != "A" {
		t.Errorf("it is %+v", s)
	}
	w.memory[1].Bytes[77] ^= 0x10
	if _, err := Boot(&w.layout); err != ErrNoImage {
		t.Errorf("with neither slot whole: %v", err)
	}
}

// Where what runs was damaged since it was started, there is no way back, and so no trial.
func TestNoWayBack(t *testing.T) {
	w := newWorld(t)
	w.never = true
	if _, err := w.run(func() bool { return w.agent.State().Staged == w.release1.Envelope }); err != nil {
		t.Fatal(err)
	}
	w.never = false
	w.memory[1].Bytes[77] ^= 0x10
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.Refused || !strings.Contains(r.Reason, "no way back") || w.start.Slot != 0 {
		t.Errorf("it ends with %+v, in slot %d", r, w.start.Slot)
	}
}
