// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/sim/radio"
)

// TestHeard has a receiver near by write down what is said in each attack by radio, and holds
// what is found in it against the recordings of package radio.
func TestHeard(t *testing.T) {
	models := map[string]string{"wand": "rhythm-a", "icd": "rhythm-s", "stim": "calm", "classic": "dose-classic", "patch": "dose-patch"}
	for i := range radio.Rows {
		row := &radio.Rows[i]
		if row.Take.Layer != radio.Frames || row.Take.Form != radio.Legacy {
			continue
		}
		if row.ID == "A11" && row.Take.Device == "classic" {
			continue // the recorded pump gives all accessories one key; who hears that one gets its own again cannot know how it was made
		}
		t.Run(row.ID+"/"+row.Take.Device, func(t *testing.T) {
			t.Parallel()
			heard := map[finding.Kind]bool{}
			for j := range Attacks {
				if a := &Attacks[j]; a.Row == row.ID && a.Device == models[row.Take.Device] {
					listened(t, a, heard)
				}
			}
			for _, k := range row.Kinds {
				if !heard[k] {
					t.Errorf("no %s, but %v", k, slices.Collect(maps.Keys(heard)))
				}
			}
		})
	}
}

// listened runs an attack, and adds what is found in what a receiver wrote down.
func listened(t *testing.T, a *Attack, heard map[finding.Kind]bool) {
	t.Helper()
	var log bytes.Buffer
	if _, err := a.Try(context.Background(), Config{Rand: newChance()}, &Env{Clock: NewClock(morning), Patience: 10 * time.Second, Log: &log}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "heard.jsonl")
	if err := os.WriteFile(file, log.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := assess.Run(context.Background(), []string{file}, assess.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if in := found.Inputs[0]; in.Error != "" || in.Packets == 0 {
		t.Fatalf("%s: %d frames, %s", a.Name, in.Packets, in.Error)
	}
	for i := range found.Findings {
		heard[found.Findings[i].Kind] = true
	}
}
