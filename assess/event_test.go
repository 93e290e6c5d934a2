// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/event"
)

// TestEventsAreAsTheTableSays holds every event of the sample ward, and of the
// real captures where they are there, to the table of kinds: no attribute that
// the kind does not have, none twice, and a place to look.
func TestEventsAreAsTheTableSays(t *testing.T) {
	paths := []string{wardDir}
	if _, err := os.Stat(captures); err == nil && !testing.Short() {
		paths = append(paths, captures)
	}
	type wrong struct {
		kind event.Kind
		key  event.Key
	}
	told := map[wrong]bool{}
	seen := map[event.Kind]bool{}
	_, err := Run(context.Background(), paths, Config{Record: func(e *event.Event) error {
		seen[e.Kind] = true
		if event.Kinds[e.Kind].Name == "" || e.Device.Value == "" || e.Time <= 0 || e.Sighting.Packet == 0 || e.Sighting.Offset < 0 {
			t.Fatalf("%s: %+v", e.Kind, e)
		}
		attrs := e.Attrs()
		for i, a := range attrs {
			twice := slices.ContainsFunc(attrs[:i], func(b event.Attr) bool { return a.Key == b.Key })
			if x := (wrong{e.Kind, a.Key}); (twice || !slices.Contains(event.Kinds[e.Kind].Keys, a.Key)) && !told[x] {
				told[x] = true
				t.Errorf("%s has the attribute %d (%d, %q), twice: %v", e.Kind, a.Key, a.Int, a.Text, twice)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for k := range event.Kinds {
		if k := event.Kind(k); k != event.NoKind && !seen[k] {
			t.Logf("no %s was seen", k)
		}
	}
}
