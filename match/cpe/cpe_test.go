// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cpe

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ExampleOverlap() {
	statement, _ := Parse("cpe:2.3:a:busybox:busybox:1.34.*:*:*:*:*:*:*:*")
	component, _ := Parse("cpe:/a:busybox:busybox:1.34.1")
	fmt.Println(Overlap(statement, component), component)
	// Output: true cpe:2.3:a:busybox:busybox:1.34.1:*:*:*:*:*:*:*
}

func lines[T any](t *testing.T, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "matching", name))
	if err != nil {
		t.Skip("the ground truth is not here: ../shared/matching/" + name)
	}
	defer f.Close()
	var all []T
	s := bufio.NewScanner(f)
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if s.Err() != nil || len(all) == 0 {
		t.Fatalf("%s: %d lines, %v", name, len(all), s.Err())
	}
	return all
}

// The cases of NIST IR 7695 §6.1.2.4, §6.1.3.3, §6.2.2.3 and §6.2.3.3.
func TestBind(t *testing.T) {
	for _, c := range []struct{ uri, formatted string }{
		{"cpe:/a:microsoft:internet_explorer:8.0.6001:beta", "cpe:2.3:a:microsoft:internet_explorer:8.0.6001:beta:*:*:*:*:*:*"},
		{"cpe:/a:microsoft:internet_explorer:8.%02:sp%01", "cpe:2.3:a:microsoft:internet_explorer:8.*:sp?:*:*:*:*:*:*"},
		{"cpe:/a:microsoft:internet_explorer:8.%2a:sp%3f", `cpe:2.3:a:microsoft:internet_explorer:8.\*:sp\?:*:*:*:*:*:*`},
		{"cpe:/a:hp:insight_diagnostics:7.4.0.1570:-:~~online~win2003~x64~", "cpe:2.3:a:hp:insight_diagnostics:7.4.0.1570:-:*:*:online:win2003:x64:*"},
		{"cpe:/a:hp:openview_network_manager:7.51::~~~linux~~", "cpe:2.3:a:hp:openview_network_manager:7.51:*:*:*:*:linux:*:*"},
		{"cpe:/a:foo%5cbar:big%24money_manager_2010:::~~special~ipod_touch~80gb~", `cpe:2.3:a:foo\\bar:big\$money_manager_2010:*:*:*:*:special:ipod_touch:80gb:*`},
		{"cpe:/o:microsoft:windows_10:-::~~~~x64~", "cpe:2.3:o:microsoft:windows_10:-:*:*:*:*:*:x64:*"},
		{"cpe:/a:a:b%2d", "cpe:2.3:a:a:b-:*:*:*:*:*:*:*:*"},
		{"cpe:/h:a:b:%2d", `cpe:2.3:h:a:b:\-:*:*:*:*:*:*:*`},
	} {
		u, err := Parse(c.uri)
		if err != nil || u.String() != c.formatted {
			t.Errorf("Parse(%q) = %s, %v; want %s", c.uri, u, err, c.formatted)
		}
		f, err := Parse(c.formatted)
		if err != nil || f != u || f.String() != c.formatted {
			t.Errorf("Parse(%q) = %s, %v; want what %s means", c.formatted, f, err, c.uri)
		}
		if got := strings.ReplaceAll(f.URI(), "b-", "b%2d"); got != c.uri {
			t.Errorf("%s binds to %s, want %s", c.formatted, got, c.uri)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"cpe:2.3:a:ACME:Product:1.0:*:*:*:*:*:*:*", "cpe:2.3:a:acme:product:1.0:*:*:*:*:*:*:*"},
		{"cpe:2.3:a:acme:c++:1.0:*:*:*:*:*:*:*", `cpe:2.3:a:acme:c\+\+:1.0:*:*:*:*:*:*:*`},
		{`cpe:2.3:a:acme:a\:b:1\.0:*:*:*:*:*:*:*`, `cpe:2.3:a:acme:a\:b:1.0:*:*:*:*:*:*:*`},
		{"cpe:2.3:a:group:name:version", "cpe:2.3:a:group:name:version:*:*:*:*:*:*:*"},
		{"CPE:/A:Acme:Product", "cpe:2.3:a:acme:product:*:*:*:*:*:*:*:*"},
		{"cpe:/a:acme:*:1.0", "cpe:2.3:a:acme:*:1.0:*:*:*:*:*:*:*"},
		{"", "error"},
		{"cpe:2.3:", "error"},
		{"cpe:2.3:a", "error"},
		{"cpe:2.3:x:acme:product:*:*:*:*:*:*:*:*", "error"},
		{"cpe:2.3:a:acme:pro*duct:*:*:*:*:*:*:*:*", "error"},
		{"cpe:2.3:a:acme:product::*:*:*:*:*:*:*", "error"},
		{"cpe:2.3:a:acme:product:1:*:*:*:*:*:*:*:*", "error"},
		{`cpe:2.3:a:acme:product\`, "error"},
		{"cpe:/", "cpe:2.3:*:*:*:*:*:*:*:*:*:*:*"},
		{"cpe:a", "error"},
		{"cpe:/a:b:c%4", "error"},
		{"cpe:/a:b:c%zz", "error"},
		{"cpe:/a:b:c:1:2:~3~4", "error"},
		{"cpe:/a:b:c:1:2:3:4:5", "error"},
		{"cpe:2.3:a:" + strings.Repeat("a", maxName), "error"},
	} {
		n, err := Parse(c.in)
		got := n.String()
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("Parse(%.60q) = %s, want %s", c.in, got, c.want)
		}
	}
	n := New("a", "Philips Medical", "Discovery NM/CT 860", "2.0*")
	if got, want := n.String(), `cpe:2.3:a:philips_medical:discovery_nm\/ct_860:2.0\*:*:*:*:*:*:*:*`; got != want || Plain(n[Version]) != "2.0*" {
		t.Errorf("New = %s, want %s", got, want)
	}
}

// The values and names of NIST IR 7696 §6.2 and §6.4.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		source, target string
		want           Relation
	}{
		{Any, Any, Equal},
		{Any, NotApplicable, Superset},
		{Any, "foo", Superset},
		{Any, "foo*", Undefined},
		{NotApplicable, Any, Subset},
		{NotApplicable, NotApplicable, Equal},
		{NotApplicable, "foo", Disjoint},
		{NotApplicable, "foo*", Undefined},
		{"foo", Any, Subset},
		{"foo", NotApplicable, Disjoint},
		{"foo", "foo", Equal},
		{"foo", "bar", Disjoint},
		{"foo", "fo?", Undefined},
		{"foo*", Any, Subset},
		{"foo*", NotApplicable, Disjoint},
		{"foo*", "foobar", Superset},
		{"foo*", "foo", Superset},
		{"*bar", "foobar", Superset},
		{"*ob*", "foobar", Superset},
		{"foo*", "bar", Disjoint},
		{"foo*", "fo*", Undefined},
		{"foo?", "foobar", Disjoint},
		{"foo???", "foobar", Superset},
		{"foo???", "fooba", Superset},
		{`foo?`, `foo\*`, Superset},
		{`foo\?`, `foo\*`, Disjoint},
		{`?\\`, `\\\\`, Superset},
		{`??`, `abc`, Disjoint},
		{`??o`, `foo`, Superset},
	} {
		if got := CompareAttribute(c.source, c.target); got != c.want {
			t.Errorf("%q to %q is %d, want %d", c.source, c.target, got, c.want)
		}
	}
	for _, c := range []struct {
		source, target string
		want           Relation
		overlap        bool
	}{
		{"cpe:/a:b:c", "cpe:/a:b:c:1", Superset, true},
		{"cpe:/a:b:c:1", "cpe:/a:b:c", Subset, true},
		{"cpe:/a:b:c:1", "cpe:/a:b:c:1", Equal, true},
		{"cpe:/a:b:c:1", "cpe:/a:b:c:2", Disjoint, false},
		{"cpe:/a:b:c:1", "cpe:/a:b:c::sp1", Undefined, true},
		{"cpe:/a:b:c:1", "cpe:/a:b:c:%02", Subset, true},
		{"cpe:/a:b:c:1", "cpe:/a:b:c:1%02", Undefined, false},
	} {
		s, err := Parse(c.source)
		u, err2 := Parse(c.target)
		if got := Compare(s, u); err != nil || err2 != nil || got != c.want || Overlap(s, u) != c.overlap {
			t.Errorf("%s to %s is %d, %v, want %d; %v, %v", c.source, c.target, got, Overlap(s, u), c.want, err, err2)
		}
	}
}

var relations = map[string]Relation{"Superset": Superset, "Disjoint": Disjoint, "Equal": Equal, "Subset": Subset}

// differs are the cases that come out otherwise, with the reason.
var differs = map[string]string{
	"* to ": "both are any here, and equal; the record's empty string is no value of an attribute",

	"cpe:2.3:a:ven*:product:1.0.0:update:edition:lang:swEdition:targetSw:targetHw:other DOES_NOT_MATCH cpe:2.3:a:vendor:product:1.0.0:update:edition:lang:swEdition:targetSw:targetHw:other": "a superset, IR 7696 table 6-2; Dependency-Track's index cannot find it",
	"cpe:2.3:a:vendor:pro*:1.0.0:update:edition:lang:swEdition:targetSw:targetHw:other DOES_NOT_MATCH cpe:2.3:a:vendor:*:1.0.0:update:edition:lang:swEdition:targetSw:targetHw:other":        "a subset, IR 7696 table 6-2, as the same case about a version is in the record; Dependency-Track's index cannot find it",
	"cpe:2.3:a:vendor:-:1.0.0:update:edition:lang:swEdition:targetSw:targetHw:other DOES_NOT_MATCH cpe:2.3:a:vendor:-:1.0.0:update:edition:lang:swEdition:targetSw:targetHw:other":           "equal, IR 7696 table 6-2; Dependency-Track's index cannot find it",
}

// The cases of nvdtools and Dependency-Track.
func TestGroundTruth(t *testing.T) {
	excused := map[string]bool{}
	wrong := func(key, got string) {
		if excused[key] = true; differs[key] == "" {
			t.Errorf("%s: %s", key, got)
		}
	}
	pair := func(source, rest string) {
		f := strings.Split(rest, ", ")
		if len(f) != 3 || f[0] != "WITHOUT_RANGE" || !strings.HasPrefix(source, "cpe:") {
			return
		}
		s, err := Parse(source)
		u, err2 := Parse(strings.Trim(f[2], `"`))
		if got := Overlap(s, u); err != nil || err2 != nil || got != (f[1] == "MATCHES") {
			wrong(source+" "+f[1]+" "+strings.Trim(f[2], `"`), fmt.Sprint(got, err, err2))
		}
	}
	for _, c := range lines[struct{ CPE, Kind, Rest, Relation, Source, Target string }](t, "cpe-nvdtools-dtrack.jsonl") {
		switch c.Kind {
		case "string-relation":
			source := c.Source
			if source == "*" {
				source = Any
			}
			if got := CompareAttribute(source, c.Target); got != relations[c.Relation] {
				wrong(c.Source+" to "+c.Target, fmt.Sprint(got))
			}
			continue
		case "dtrack-args":
			pair(c.CPE, c.Rest)
		}
		n, err := Parse(c.CPE)
		if err != nil {
			wrong(c.CPE, err.Error())
			continue
		}
		if m, err := Parse(n.URI()); err != nil || m != n {
			t.Errorf("%s is %s as a URI, which is read as %s, %v", c.CPE, n.URI(), m, err)
		}
	}
	for _, c := range lines[struct{ Args string }](t, "dtrack-parameterised.jsonl") {
		source, rest, _ := strings.Cut(c.Args, ", ")
		pair(strings.Trim(source, `"`), rest)
	}
	for key := range differs {
		if !excused[key] {
			t.Errorf("%s: the table excuses it, but it passes or is not there", key)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	const s = `cpe:2.3:a:foo\\bar:big\$money_manager_2010:1.*:*:*:*:special:ipod_touch:80gb:*`
	n, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(100, func() { _, _ = Parse(s); Overlap(n, n); Compare(n, Name{}) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkOverlap(b *testing.B) {
	s, _ := Parse("cpe:2.3:a:busybox:busybox:1.34.*:*:*:*:*:*:*:*")
	u, _ := Parse("cpe:2.3:a:busybox:busybox:1.34.1:*:*:*:*:*:*:*")
	for b.Loop() {
		Overlap(s, u)
	}
}

// Subset and superset are each other turned round, as far as both are defined.
func TestRelationTurnsRound(t *testing.T) {
	value := rapid.SampledFrom([]string{Any, NotApplicable, "foo", "fo?", "f*", "*o", `\*`, `a\?`, "??"})
	rapid.Check(t, func(t *rapid.T) {
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		x, y := CompareAttribute(a, b), CompareAttribute(b, a)
		if turned := map[Relation]Relation{Subset: Superset, Superset: Subset, Equal: Equal, Disjoint: Disjoint}; x != Undefined && y != Undefined && turned[x] != y {
			t.Fatalf("%q to %q is %d, and %d turned round", a, b, x, y)
		}
	})
}

// What is read binds to names that read as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"cpe:/a:foo%5cbar:big%24money_2010:::~~special~ipod_touch~80gb~", `cpe:2.3:a:a\:b:c++:1.*:sp??:-:*:*:*:*:*`, "cpe:/o:a:b:%2d::~~~~x64~",
		`cpe:2.3:a:\-:\\:*1`, "CPE:/A:%01b:c%02",
	} {
		f.Add(s, "cpe:/a:b:c")
	}
	f.Fuzz(func(t *testing.T, s, u string) {
		n, err := Parse(s)
		if err != nil {
			return
		}
		if m, err := Parse(n.String()); len(n.String()) <= maxName && (err != nil || m != n) {
			t.Errorf("%q is %s, read back as %s, %v", s, n, m, err)
		}
		if m, err := Parse(n.URI()); len(n.URI()) <= maxName && err == nil && m != n {
			t.Errorf("%q is %s, read back as %s", s, n.URI(), m)
		}
		if Compare(n, n) != Equal {
			t.Errorf("%s is not equal to itself", n)
		}
		if m, err := Parse(u); err == nil && Compare(n, m) == Disjoint && Overlap(n, m) {
			t.Errorf("%s and %s are disjoint and overlap", n, m)
		}
	})
}
