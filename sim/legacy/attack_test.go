// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var morning = time.Date(2026, time.March, 3, 7, 0, 0, 0, time.FixedZone("", 3600))

// chance is the same in each run.
type chance struct{ *rand.ChaCha8 }

func newChance() chance { return chance{rand.NewChaCha8([32]byte{1})} }

// TestRows holds the table against the catalogue.
func TestRows(t *testing.T) {
	have := map[string]bool{}
	for i := range Attacks {
		a := &Attacks[i]
		have[a.Row] = true
		if have[a.Row+a.Name] {
			t.Errorf("%s/%s twice", a.Row, a.Name)
		}
		have[a.Row+a.Name] = true
		if NetworkOf(a.Device) == "" {
			t.Errorf("%s/%s: no device %s", a.Row, a.Name, a.Device)
		}
		modelled := slices.Contains([]string{"A31", "A41", "A42"}, a.Row)
		if (a.Realism == Modelled) != modelled {
			t.Errorf("%s/%s: realism %s", a.Row, a.Name, a.Realism)
		}
	}
	for n := 1; n <= 43; n++ {
		if row := fmt.Sprintf("A%02d", n); !have[row] {
			t.Errorf("no attack of row %s", row)
		}
	}
}

// TestAttacks runs each attack on the device as it was built, where it has to succeed, and on one
// that is built as it should be, where it must not. What counts is the state of the device.
func TestAttacks(t *testing.T) {
	for i := range Attacks {
		a := &Attacks[i]
		t.Run(a.Row+"/"+a.Name, func(t *testing.T) {
			t.Parallel()
			o, err := a.Try(context.Background(), Config{Rand: newChance()}, &Env{Clock: NewClock(morning), Patience: 10 * time.Second, Rand: newChance()})
			if err != nil {
				t.Fatal(err)
			}
			if !o.Hurt || !o.Result.Succeeded {
				t.Errorf("unprotected: %q (succeeded %v); state says %q\n%+v\n%v", o.Result.How, o.Result.Succeeded, o.How, o.Device.State(), o.Device.Journal())
			}
			o, err = a.Try(context.Background(), Config{Rand: newChance(), Mended: true}, &Env{Clock: NewClock(morning), Patience: 100 * time.Millisecond, Rand: newChance()})
			if err != nil {
				t.Fatal(err)
			}
			if o.Hurt || o.Result.Succeeded {
				t.Errorf("mended: %q (succeeded %v); state says %q\n%+v\n%v", o.Result.How, o.Result.Succeeded, o.How, o.Device.State(), o.Device.Journal())
			}
		})
	}
}
