// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var pond = Format{Name: "pond", Marker: "pond: 1"}

// read reads what a pond has: all that a file can be asked for.
func read(src string) (got string, err error) {
	r := New("f.yaml", pond)
	s := r.Section(r.Document([]byte(src)), "the pond", "pond", "name", "every", "flow", "fish", "deep", "kind")
	r.Number(s.Need("pond", "the version, 1"), "pond", 1, 1)
	got = r.Text(s.Get("name"), "name")
	got += " " + r.Duration(s.Get("every"), "every", time.Second, time.Hour).String()
	got += " " + r.Quantity(s.Get("flow"), "flow").String()
	if r.Truth(s.Get("deep"), "deep", true) {
		got += " deep"
	}
	r.Word(s.Get("kind"), "kind", []string{"", "salt", "sweet"})
	r.Each(s.Get("fish"), "fish", 2, func(name string, _, value ast.Node) {
		got += " " + name + "=" + r.Text(value, name)
	})
	return got, r.Err()
}

func TestReader(t *testing.T) {
	got, err := read("pond: 1\nname: \"a\"\nevery: 5m\nflow: 1.5 mL/h\ndeep: false\nkind: salt\nfish: {carp: two, eel: one}\n")
	if want := "a 5m0s 1.5 mL/h carp=two eel=one"; got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for src, want := range map[string]string{
		"":                                  `f.yaml:1:1: there is nothing in this file; a pond begins with "pond: 1"`,
		"pond: 2\n":                         "f.yaml:1:7: pond has to be 1: there is no other version of this format",
		"pond: 1\ndepth: 3\n":               "f.yaml:2:1: the pond has no key \"depth\"",
		"depht: 3\n":                        "f.yaml:1:1: the pond has no key what stands here",
		"pond: 1\nevery: 2h\n":              "f.yaml:2:8: every has to be a time from 1s to 1h0m0s",
		"pond: 1\nevery: soon\n":            "f.yaml:2:8: every has to be a time",
		"pond: 1\nflow: 3\n":                "f.yaml:2:7: flow has to be a number and a unit",
		"pond: 1\nflow: 3 furlongs\n":       "f.yaml:2:7: flow has to be a number and a unit",
		"pond: 1\nflow: NaN mL/h\n":         "f.yaml:2:7: flow has to be a number and a unit",
		"pond: 1\nkind: sour\n":             `f.yaml:2:7: kind cannot be "sour"; it is one of salt, sweet`,
		"pond: 1\nfish: [a]\n":              "f.yaml:2:7: fish has to be a mapping of names",
		"pond: 1\nfish: {a: b, c: d, e: f}": "f.yaml:2:20: fish has 3 entries; there is room for 2",
		"pond: 1\nname: &x a\n":             "f.yaml:2:7: \"&\" is YAML that a pond does without",
		"pond: 1\n\tname: a\n":              "f.yaml:2:1: a tab before the text",
	} {
		if _, err := read(src); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v; want %s", src, err, want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add("pond: 1\nname: \"a\"\nevery: 5m\nflow: 1.5 mL/h\nfish: {carp: two, eel: one}\n")
	f.Add("pond: 1\nfish:\n  - a\n  - {b: c}\n")
	f.Fuzz(func(t *testing.T, src string) {
		got, err := read(src)
		again, twice := read(src)
		if got != again || (err == nil) != (twice == nil) || err != nil && err.Error() != twice.Error() {
			t.Fatal("the same file read twice differs")
		}
		if err != nil && err.(*Error).Line < 1 {
			t.Fatal("an error without a line")
		}
	})
}
