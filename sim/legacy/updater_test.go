// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

// mending are the rows that an update answers, wholly or in part.
var mending = []string{"A22", "A23", "A24", "A25", "A28", "A29", "A31", "A32", "A33", "A34", "A35", "A38", "A41", "A42"}

func quick() *Env {
	return &Env{Clock: NewClock(morning), Patience: 500 * time.Millisecond, Rand: newChance()}
}

// TestUpdateAttacks runs each attack on the way of updates on each kind of device that has rows which an update
// answers. It has to succeed; what the honest mirror brings has to mend the row, and after an attack the row's own attack succeeds
// again, or nothing runs any more.
func TestUpdateAttacks(t *testing.T) {
	for i := range Attacks {
		row := &Attacks[i]
		if !slices.Contains(mending, row.Row) {
			continue
		}
		t.Run(row.Row+"/"+row.Name, func(t *testing.T) {
			t.Parallel()
			r := ReleasesOf(row.Device, row.Device+"-firmware", "0.9.0", "1.0.0", "1.1.0")
			hurt := func(u *Unit) bool {
				t.Helper()
				env := quick()
				if p, _ := u.Program(); !p.Mended {
					env.Patience = 10 * time.Second
				}
				o, err := row.TryOn(t.Context(), u.Device(), nil, env)
				if err != nil {
					t.Fatal(err)
				}
				return o.Hurt
			}
			s, u, err := r.Honest(t.Context(), quick())
			if err != nil {
				t.Fatal(err)
			}
			if want := (UpdaterState{Runs: "1.1.0", Mended: true, Genuine: true, Says: "1.1.0", Newest: true, Installs: 1}); s != want {
				t.Errorf("from its maker: %+v, want %+v", s, want)
			}
			if hurt(u) {
				t.Error("the mended version has the weakness still")
			}
			for j := range UpdateAttacks {
				a := &UpdateAttacks[j]
				o, err := a.Try(t.Context(), r, quick())
				if err != nil {
					t.Fatal(err)
				}
				if !o.Hurt {
					t.Errorf("%s did not succeed", a.Name)
				}
				if nothing := o.Unit.Device() == nil; nothing != (a.Name == "wrong-model") || !nothing && !hurt(o.Unit) {
					p, genuine := o.Unit.Program()
					t.Errorf("%s, and after it: %+v, genuine %v", a.Name, p, genuine)
				}
			}
		})
	}
}

// TestProgram holds images to what they say, and a unit to what it starts.
func TestProgram(t *testing.T) {
	p := Program{"rhythm-s-firmware", "rhythm-s", "4.2.0", true}
	image := p.Image()
	if q, err := ReadProgram(image); err != nil || q != p || !genuine(image) {
		t.Errorf("%+v, %v", q, err)
	}
	if q, err := ReadProgram(p.Altered()); err != nil || q.Version != "4.2.0" || q.Mended || genuine(p.Altered()) {
		t.Errorf("altered: %+v, %v", q, err)
	}
	for i := range image {
		flipped := bytes.Clone(image)
		flipped[i] ^= 1
		if genuine(flipped) {
			t.Errorf("genuine with byte %d changed", i)
		}
	}
	u, err := NewUnit("rhythm-s", Config{Now: NewClock(morning).Now, Rand: newChance()}, image)
	if err != nil {
		t.Fatal(err)
	}
	u.Device().(*Defibrillator).WriteMemory(MemorySettings, []byte{1, 55, 60, 1, 0})
	programmed := u.Device().State()
	for _, bad := range [][]byte{nil, image[:ed25519.SignatureSize], Program{"calm-firmware", "calm", "1.0.0", false}.Image(), bytes.Repeat([]byte("a"), MaxMessage+1)} {
		if err := u.Start(bad); !errors.Is(err, ErrNoStart) || u.Device() != nil {
			t.Errorf("%d bytes start: %v", len(bad), err)
		}
	}
	if err := u.Start(Program{"rhythm-s-firmware", "rhythm-s", "4.1.0", false}.Image()); err != nil {
		t.Fatal(err)
	}
	if now := u.Device().State(); !reflect.DeepEqual(now, programmed) {
		t.Errorf("after a start: %+v, want %+v", now, programmed)
	}
}

// Nothing of an updater leaves this machine.
func TestUpdaterHere(t *testing.T) {
	if _, err := NewUpdater(Config{Upstream: "192.0.2.1:80"}, Program{"reader-firmware", "reader", "1.0.0", false}); !errors.Is(err, ErrElsewhere) {
		t.Error(err)
	}
	u, err := NewUpdater(Config{}, Program{"reader-firmware", "reader", "1.0.0", false})
	if err != nil {
		t.Fatal(err)
	}
	if a := u.Handle(t.Context(), []byte("updates 192.0.2.1:80")); string(a[0]) != "no address" {
		t.Errorf("%s", a)
	}
}

func FuzzReadManifest(f *testing.F) {
	f.Add(legacyManifest{model: "reader", image: "1.0.0/image"}.text())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := readManifest(b)
		if ok {
			if again, ok := readManifest(m.text()); !ok || again != m {
				t.Fatalf("%+v comes back as %+v", m, again)
			}
		}
		if p, err := ReadProgram(b); err == nil && (p.Name == "" || p.Model == "" || p.Version == "") {
			t.Fatalf("%+v", p)
		}
	})
}
