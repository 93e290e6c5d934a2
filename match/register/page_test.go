// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestPage holds docs/register.md to what is read: its examples are the same
// devices, which the sample ward has, and its headings are what it says.
func TestPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/register.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	fenced := func(lang string) *Register {
		_, s, ok := strings.Cut(page, "```"+lang+"\n")
		s, _, closed := strings.Cut(s, "```")
		if !ok || !closed {
			t.Fatal("no example in", lang)
		}
		r := read(t, s)
		if len(r.Problems) > 0 {
			t.Error(lang, r.Problems)
		}
		return r
	}
	a, y := fenced("csv"), fenced("yaml")
	if diff := cmp.Diff(a.Entries, y.Entries, unexported, cmpopts.IgnoreFields(Entry{}, "Line")); diff != "" || len(a.Unused) != 1 {
		t.Error(a.Unused, diff)
	}
	list, err := os.ReadFile("../../testdata/ward/register.csv")
	if err != nil {
		t.Fatal(err)
	}
	ward := map[string]Entry{}
	for _, e := range read(t, string(list)).Entries {
		ward[e.ID] = e
	}
	for _, e := range a.Entries {
		w := ward[e.ID]
		if e.Serial != w.Serial || e.Manufacturer != w.Manufacturer || e.Model != w.Model || e.Version != w.Version || e.Ward != w.Ward || e.Location != w.Location {
			t.Errorf("%v is %v in the ward", e, w)
		}
		for _, addr := range e.Addresses {
			if !strings.Contains(strings.ReplaceAll(string(list), "-", ""), strings.ReplaceAll(addr.Value, "-", "")) {
				t.Errorf("%v is not in the ward", addr)
			}
		}
	}

	quoted := regexp.MustCompile("`([^`]+)`")
	_, table, _ := strings.Cut(page, "| field |")
	table, _, _ = strings.Cut(table, "\n\n")
	shown := map[field]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.Contains(line, "---") {
			continue
		}
		headings, _, _ := strings.Cut(cells[2], " (as in")
		for _, h := range quoted.FindAllStringSubmatch(headings, -1) {
			f := fieldOf(h[1])
			if shown[f] = true; fields[f].name != strings.TrimSpace(cells[1]) {
				t.Errorf("%s is %q, not %s", h[1], fields[f].name, cells[1])
			}
		}
	}
	for f := noField + 1; f < fieldCount; f++ {
		if !shown[f] {
			t.Errorf("the page does not tell of %s", fields[f].name)
		}
	}
}
