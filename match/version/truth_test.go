// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// truth reads a file of ground truth beside the project, a JSON value a line.
func truth[T any](t *testing.T, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "matching", name))
	if err != nil {
		t.Skip("the ground truth is not here: ../shared/matching/" + name)
	}
	defer f.Close()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatalf("%s: %d cases, %v", name, len(all), err)
	}
	return all
}

// differ reports the cases that came out otherwise than the record says and
// are not in the table, and the rows of the table that no case needs.
func differ(t *testing.T, differs map[string]string, wrong map[string]string) {
	t.Helper()
	for key, got := range wrong {
		if differs[key] == "" {
			t.Errorf("%s: %s", key, got)
		}
	}
	for key := range differs {
		if wrong[key] == "" {
			t.Errorf("%s: the table excuses it, but it passes or is not there", key)
		}
	}
}

func scheme(t *testing.T, name string) Scheme {
	t.Helper()
	s, ok := SchemeOf(name)
	if !ok {
		t.Fatalf("SchemeOf(%q) knows it not", name)
	}
	return s
}

var signs = map[int]string{-1: "<", 0: "=", 1: ">"}

func TestOrderOfScalibr(t *testing.T) {
	differs := map[string]string{
		"packagist: 1.0.0 > 1.0":                    "Composer pads both to four numbers before PHP compares them",
		"packagist: v1.9.0-ALPHA.1 = v1.9.0-BETA.1": "Composer knows the words in any case; only PHP's function alone does not",
	}
	wrong := map[string]string{}
	for _, c := range truth[struct{ A, B, Ecosystem, Op string }](t, "version-order-scalibr.jsonl") {
		s := scheme(t, c.Ecosystem)
		if got := signs[s.Compare(c.A, c.B)]; got != c.Op {
			wrong[c.Ecosystem+": "+c.A+" "+c.Op+" "+c.B] = "is " + got
		}
		if got := signs[-s.Compare(c.B, c.A)]; got != signs[s.Compare(c.A, c.B)] {
			t.Errorf("%v: %q and %q compare otherwise when turned round", s, c.A, c.B)
		}
	}
	differ(t, differs, wrong)
}

func TestOrderOfUnivers(t *testing.T) {
	differs := map[string]string{
		"maven: 2-1 <= 2.0.a": "Maven reads .a as -a since 3.9 (MNG-7644); before, 2-1 < 2.0.alpha < 2 < 2-1 went round in a circle",
	}
	wrong := map[string]string{}
	for _, c := range truth[struct {
		Type     string
		Expected json.RawMessage
		Input    struct {
			Scheme   string `json:"input_scheme"`
			Versions [2]string
		}
	}](t, "version-order-univers.jsonl") {
		s := scheme(t, c.Input.Scheme)
		a, b := c.Input.Versions[0], c.Input.Versions[1]
		got := s.Compare(a, b)
		switch c.Type {
		case "equality":
			if want := string(c.Expected) == "true"; want != (got == 0) {
				wrong[s.String()+": "+a+" = "+b+" "+string(c.Expected)] = "is " + signs[got]
			}
		case "comparison":
			var sorted [2]string
			if err := json.Unmarshal(c.Expected, &sorted); err != nil {
				t.Fatal(err)
			}
			if s.Compare(sorted[0], sorted[1]) > 0 {
				wrong[s.String()+": "+sorted[0]+" <= "+sorted[1]] = "is >"
			}
		default:
			t.Fatalf("a case of type %q", c.Type)
		}
	}
	differ(t, differs, wrong)
}

func TestOrderOfGrype(t *testing.T) {
	differs := map[string]string{
		"fuzzy: 1.0.0 < 1.0.0-dev1":      "a development version is before its release in every scheme that knows the word",
		"maven: 12.10.2 = 12.10.2.jre11": "Maven puts a qualifier after the release; grype cuts this one off",
	}
	wrong := map[string]string{}
	for _, c := range truth[struct {
		A, B, Format string
		Cmp          int
	}](t, "compare-grype-nvdtools.jsonl") {
		name := c.Format
		if name == "cpe-smart" {
			name = "cpe"
		}
		s := scheme(t, name)
		if got := s.Compare(c.A, c.B); got != c.Cmp {
			wrong[c.Format+": "+c.A+" "+signs[c.Cmp]+" "+c.B] = "is " + signs[got]
		}
	}
	differ(t, differs, wrong)
}

func TestConstraintsOfGrype(t *testing.T) {
	differs := map[string]string{
		"semantic: 1.0.0.alpha.beta in = 1.0.0-alpha-beta": "no semantic version: SemVer does not say where its hyphens are",
		"semantic: 1.0.0.rc.alpha in = 1.0.0-rc-alpha":     "no semantic version: SemVer does not say where its hyphens are",
		"rpm: 1.0 in < 2:1.0":                              "rpm reads a missing epoch as 0; grype as any, which is no order",
		"rpm: 4.19.01-1.el7_5 in < 2:4.19.1-1.el7_5":       "rpm reads a missing epoch as 0; grype as any, which is no order",
		"rpm: 8.3.1-5.el8 in < 0:8.3.1-5.el8.0.0":          "rpm: more segments are later; grype ignores them when its epoch is missing",
	}
	wrong := map[string]string{}
	for _, c := range truth[struct {
		Constraint, Format, Version string
		Satisfied                   bool
	}](t, "constraints-grype.jsonl") {
		s, ok := SchemeOf(c.Format)
		r, err := ParseNative(s, c.Constraint)
		if err != nil {
			t.Errorf("%s: %s: %v", c.Format, c.Constraint, err)
			continue
		}
		if got := ok && r.Contains(c.Version); got != c.Satisfied {
			wrong[c.Format+": "+c.Version+" in "+c.Constraint] = "not as recorded: " + r.Vers()
		}
	}
	differ(t, differs, wrong)
}

func TestRangesOfUnivers(t *testing.T) {
	differs := map[string]string{
		"npm: >=5.0.3 >=4.2.1":  "both must hold in npm; the record joins them",
		"golang: =v1.2.2550.20": "the record makes the fourth number a build",
		"composer: <2020-09-14": "the record makes month and day a pre-release",
		"composer: <2.8.30||>=2.8.4,<18.10.8||>=19.0.0,<19.04.5||>=19.04.6,<19.10.2": "the ranges overlap; the record loses all below 2.8.4",
		"conan: *":                          "the record leaves out what is before 0.0.0",
		"conan: *, include_prerelease=True": "the record leaves out what is before 0.0.0",
		"vers:pypi/!=0.0.1|>0.1":            "the record keeps what the canonical form drops: 0.0.1 is not above 0.1",
		"vers:pypi/>0.0.0|>=0.0.1|0.0.2|0.0.3|0.0.4|<0.0.5|>=0.0.6|!=0.8": "the record keeps what the canonical form drops: all between 0.0.0 and 0.0.5",
	}
	wrong := map[string]string{}
	for _, c := range truth[struct {
		Type     string
		Expected json.RawMessage
		Input    struct {
			Native  string `json:"native_range"`
			Scheme  string
			Vers    string
			Version string
		}
	}](t, "vers-ranges-univers.jsonl") {
		var want string
		_ = json.Unmarshal(c.Expected, &want)
		switch c.Type {
		case "from_native":
			s := scheme(t, c.Input.Scheme)
			got, err := ParseNative(s, c.Input.Native)
			expected, err2 := ParseVers(want)
			if err != nil || err2 != nil {
				t.Errorf("%s: %s: %v, %v", c.Input.Scheme, c.Input.Native, err, err2)
			} else if !got.Equal(expected) {
				wrong[c.Input.Scheme+": "+c.Input.Native] = "is " + got.Vers() + ", not " + want
			}
		case "containment":
			r, err := ParseVers(c.Input.Vers)
			if got := r.Contains(c.Input.Version); err != nil || got != (string(c.Expected) == "true") {
				t.Errorf("%s contains %s: %v, %v", c.Input.Vers, c.Input.Version, got, err)
			}
		case "roundtrip":
			r, err := ParseVers(c.Input.Vers)
			if err != nil {
				t.Errorf("%s: %v", c.Input.Vers, err)
			}
			if got := r.Vers(); got != want {
				wrong[c.Input.Vers] = "is " + got
			}
		}
	}
	differ(t, differs, wrong)
}
