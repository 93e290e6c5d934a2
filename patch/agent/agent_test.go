// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"errors"
	"testing"

	"github.com/myelin-health/myelin/patch"
)

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	errs, err := w.run(w.heardOf(1))
	if err != nil || errs != nil {
		t.Fatal(err, errs)
	}
	r := w.results[0]
	if r.Outcome != patch.Installed || r.Version != "2.2.0" || !r.Resumed || !r.SelfTest || r.Before != r.After || r.Took <= 0 || r.Judge(&w.release1.Demands) != patch.Installed {
		t.Errorf("it ends with %+v", r)
	}
	s := w.agent.State()
	if s.Version != "2.2.0" || s.Sequence != 8 || s.Slot != "B" || s.Trial || s.Result != nil {
		t.Errorf("the device is %+v", s)
	}
	if !bytes.Equal(w.image(), w.release1.files["firmware.bin"]) {
		t.Error("something else runs")
	}
	if w.dog != 0 {
		t.Error("the watchdog is on still")
	}
}

// The power is lost at each operation on flash of a whole update, with nothing, a
// little, half, nearly all and all of it done, and then once more soon after. The device
// then starts the old or the new version, whole, never neither, with its settings; and
// goes on to the end.
func TestPowerLoss(t *testing.T) {
	t.Run("image", func(t *testing.T) { losePower(t, func(*world) {}) })
	t.Run("delta", func(t *testing.T) { losePower(t, (*world).withDelta) })
	t.Run("delta that begins anew", func(t *testing.T) {
		losePower(t, func(w *world) {
			w.withDelta()
			w.layout.Delta = nil
		})
	})
}

func losePower(t *testing.T, prepare func(*world)) {
	newWorld := func(t *testing.T) *world {
		w := newWorld(t)
		prepare(w)
		return w
	}
	whole := &power{left: -1}
	w := newWorld(t)
	w.cutBy(whole)
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	var fellBack, onTrial int
	for at := range whole.ops {
		for _, part := range parts {
			again := (at + part) % 3
			w := newWorld(t)
			w.cutBy(&power{left: at, part: part})
			if _, err := w.run(w.heardOf(1)); !errors.Is(err, ErrPower) {
				t.Fatalf("operation %d: %v", at, err)
			}
			w.agent = nil
			w.cutBy(&power{left: again, part: part})
			if _, err := w.run(w.updated); err != nil && !errors.Is(err, ErrPower) {
				t.Fatalf("operation %d, %d/10 of it, and %d: %v", at, part, again, err)
			}
			w.agent = nil
			w.cutBy(&power{left: -1})
			if err := w.boot(); err != nil {
				t.Fatalf("operation %d, %d/10 of it, and %d: it does not start: %v", at, part, again, err)
			}
			isNew := bytes.Equal(w.image(), w.release1.files["firmware.bin"])
			if !isNew && !bytes.Equal(w.image(), w.old) {
				t.Fatalf("operation %d, %d/10 of it, and %d: neither runs", at, part, again)
			}
			s := w.agent.State()
			if s.Trial {
				onTrial++
			}
			if (s.Sequence == 8) != (isNew && !s.Trial) || s.Sequence != 7 && s.Sequence != 8 || s.Settings != w.digest() || w.settings != "basal 0.8 U/h" {
				t.Fatalf("operation %d, %d/10 of it, and %d: %+v", at, part, again, s)
			}
			if _, err := w.run(w.updated); err != nil {
				t.Fatalf("operation %d, %d/10 of it, and %d: it does not go on: %v", at, part, again, err)
			}
			if s := w.agent.State(); s.Sequence != 8 || !bytes.Equal(w.image(), w.release1.files["firmware.bin"]) {
				t.Fatalf("operation %d, %d/10 of it, and %d: it ends with %+v", at, part, again, s)
			}
			if n := len(w.results); n == 0 || w.results[n-1].Outcome != patch.Installed {
				t.Fatalf("operation %d, %d/10 of it, and %d: nobody is told: %+v", at, part, again, w.results)
			}
			for _, r := range w.results[:len(w.results)-1] {
				if r.Outcome != patch.FellBack && r.Outcome != patch.Installed {
					t.Fatalf("operation %d, %d/10 of it, and %d: %+v", at, part, again, r)
				}
				fellBack++
			}
		}
	}
	t.Logf("%d operations, %d parts of each, and a second loss: %d times on trial, %d fall-backs", whole.ops, len(parts), onTrial, fellBack)
	if fellBack == 0 || onTrial == 0 {
		t.Error("the power is never lost while a version is on trial")
	}
}
