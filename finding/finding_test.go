// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func ExampleFinding_Add() {
	var f Finding
	f.Add(Sighting{Time: 200, Packet: 7})
	f.Add(Sighting{Time: 100, Packet: 3, Note: "order without proof of who sent it"})
	fmt.Println(f.Count, f.First, f.Last, f.Sightings[0].Packet)
	// Output: 2 100 200 3
}

func ExampleIDOf() {
	fmt.Println(IDOf(TherapyCommandUnauthenticated, "dev-abc", "10.20.1.5"))
	// Output: therapy-command-unauthenticated-626wa64s45g2w4s5
}

// isBSAM reports whether id is that of a control of Tarlogic's Bluetooth security
// assessment methodology: how many there are of each group.
func isBSAM(id string) bool {
	controls := map[string]int{"IG": 4, "DI": 6, "PA": 10, "AU": 3, "EN": 3, "SE": 3, "AP": 7}
	var group string
	var n int
	if _, err := fmt.Sscanf(id, "BSAM-%2s-%02d", &group, &n); err != nil {
		return false
	}
	return id == fmt.Sprintf("BSAM-%s-%02d", group, n) && 1 <= n && n <= controls[group]
}

// The table is what a nurse manager and an auditor read: nothing in it may be
// missing, and what is an id has to look like one.
func TestKinds(t *testing.T) {
	patterns := map[string]*regexp.Regexp{
		"name":   regexp.MustCompile(`^[a-z]+[0-9]*(-[a-z]+)*$`),
		"CWE":    regexp.MustCompile(`^CWE-[1-9][0-9]{0,3}$`),
		"ATT&CK": regexp.MustCompile(`^T[01][0-9]{3}(\.[0-9]{3})?$`),
	}
	match := func(k Kind, what, s string) {
		t.Helper()
		if !patterns[what].MatchString(s) {
			t.Errorf("%s: %s %q", k, what, s)
		}
	}
	group := NoGroup
	for k := NoKind + 1; k < kindCount; k++ {
		i := &Kinds[k]
		match(k, "name", i.Name)
		if got, ok := ParseKind(i.Name); !ok || got != k || k.String() != i.Name {
			t.Errorf("kind %d: %q is the name of %d", k, i.Name, got)
		}
		if i.Group < group || i.Group.String() == "" {
			t.Errorf("%s: group %q is out of order", k, i.Group)
		}
		group = i.Group
		if i.Title == "" || strings.HasSuffix(i.Title, ".") || len(i.Title) > 80 {
			t.Errorf("%s: title %q", k, i.Title)
		}
		if !strings.HasSuffix(i.Why, ".") || !strings.HasSuffix(i.Advice, ".") || strings.Count(i.Advice, ". ") > 2 {
			t.Errorf("%s: why %q, advice %q", k, i.Why, i.Advice)
		}
		if !slices.Contains([]string{"none", "public poc", "active"}, i.Exploitation) || i.Reach > ReachFoothold {
			t.Errorf("%s: exploitation %q, reach %d", k, i.Exploitation, i.Reach)
		}
		if len(i.References) == 0 || len(i.CWE) == 0 || len(i.Attack) == 0 {
			t.Errorf("%s lacks references, CWE or ATT&CK", k)
		}
		for _, ref := range i.References {
			if strings.HasPrefix(ref, "BSAM") && !isBSAM(ref) {
				t.Errorf("%s: no control %q", k, ref)
			}
		}
		for _, id := range i.CWE {
			match(k, "CWE", id)
		}
		for _, id := range i.Attack {
			match(k, "ATT&CK", id)
		}
	}
	for _, s := range []string{"", "scan", "Dns-Tunnel", "dns-tunnel "} {
		if k, ok := ParseKind(s); ok {
			t.Errorf("%q is kind %v", s, k)
		}
	}
	if NoKind.String() != "" || kindCount.String() != "" || Group(99).String() != "" {
		t.Error("no kind, or no group, has a name")
	}
}

func TestDecisions(t *testing.T) {
	for d := Track; d <= Act; d++ {
		if got, ok := ParseDecision(d.String()); !ok || got != d {
			t.Errorf("%q is %v, %v", d, got, ok)
		}
	}
	for _, s := range []string{"", "ACT", "track *", "defer"} {
		if d, ok := ParseDecision(s); ok || d != Track {
			t.Errorf("%q is %v, %v", s, d, ok)
		}
	}
	if Decision(9).String() != "" {
		t.Error("a decision beyond act")
	}
}

// TestAdd draws sightings and adds them in another order: what a finding keeps
// is the same, and the first of them.
func TestAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sighting := rapid.Custom(func(t *rapid.T) Sighting {
			return Sighting{
				Time: rapid.Int64Range(1, 9).Draw(t, "time"), Input: rapid.IntRange(0, 2).Draw(t, "input"),
				Packet: rapid.Uint64Range(1, 9).Draw(t, "packet"), Offset: rapid.IntRange(0, 2).Draw(t, "offset"),
			}
		})
		list := rapid.SliceOfN(sighting, 1, 60).Draw(t, "sightings")
		var f, g Finding
		for _, s := range list {
			f.Add(s)
		}
		for _, s := range rapid.Permutation(list).Draw(t, "order") {
			g.Add(s)
		}
		want := slices.Clone(list)
		slices.SortFunc(want, func(a, b Sighting) int {
			switch {
			case a.Less(b):
				return -1
			case b.Less(a):
				return 1
			}
			return 0
		})
		first, last := want[0].Time, want[len(want)-1].Time
		want = slices.Compact(want)
		want = want[:min(len(want), MaxSightings)]
		if f.Count != uint64(len(list)) || f.First != first || f.Last != last {
			t.Fatalf("count %d, first %d, last %d", f.Count, f.First, f.Last)
		}
		if diff := cmp.Diff(want, f.Sightings) + cmp.Diff(f, g); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Two places in one document are two.
func TestAddDocument(t *testing.T) {
	var f Finding
	for _, s := range []Sighting{{Input: 3, Note: "row 7"}, {Input: 3, Note: "row 5"}, {Input: 3, Note: "row 7"}, {Input: 3, Packet: 1, Note: "a"}, {Input: 3, Packet: 1, Note: "b"}} {
		f.Add(s)
	}
	want := []Sighting{{Input: 3, Note: "row 5"}, {Input: 3, Note: "row 7"}, {Input: 3, Packet: 1, Note: "a"}}
	if diff := cmp.Diff(want, f.Sightings); diff != "" || f.Count != 5 {
		t.Error(f.Count, diff)
	}
}

func TestIDOf(t *testing.T) {
	id := IDOf(DNSTunnel, "dev-abc", "t.example")
	for what, other := range map[string]string{
		"another kind":   IDOf(Beaconing, "dev-abc", "t.example"),
		"another scope":  IDOf(DNSTunnel, "dev-abc", "u.example"),
		"another order":  IDOf(DNSTunnel, "t.example", "dev-abc"),
		"another border": IDOf(DNSTunnel, "dev-abct", ".example"),
		"no scope":       IDOf(DNSTunnel),
	} {
		if other == id {
			t.Errorf("%s has the same id", what)
		}
	}
	if !regexp.MustCompile(`^dns-tunnel-[a-z2-7]{16}$`).MatchString(id) {
		t.Error(id)
	}
}
