// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// outlineOf is the outline of a whole manifest.
func outlineOf(m *Manifest) []string {
	var all []string
	add := func(s []Command) {
		for _, l := range m.Outline(s) {
			all = append(all, strings.Repeat("  ", l.Depth)+l.Text)
		}
	}
	add(m.Shared)
	for _, s := range m.Sections {
		add(s.Commands)
	}
	return all
}

// TestOutline holds the words about each example to the text beside it: each command
// is there as often as in the text, and each value.
func TestOutline(t *testing.T) {
	vectors := vectorFiles(t)
	values := 0
	for _, x := range texts(t) {
		for _, file := range x.files {
			e, err := Decode(vectors[file])
			if err != nil {
				t.Fatal(err)
			}
			m, err := e.UnverifiedManifest()
			if err != nil {
				t.Fatal(err)
			}
			lines := outlineOf(m)
			all := strings.Join(lines, "\n") + "\n"
			want, got := map[Code]int{}, map[Code]int{}
			var walk func(n node, within bool)
			walk = func(n node, within bool) {
				for i, y := range n.items {
					for _, comment := range y.comments {
						if y.kind == 'i' && (strings.HasPrefix(comment, "condition-") || strings.HasPrefix(comment, "directive-")) {
							if words[Code(y.n)] != "" {
								want[Code(y.n)]++
							}
							within = true
						}
						if i+1 >= len(n.items) || !within {
							continue
						}
						v, value := n.items[i+1], ""
						switch strings.TrimPrefix(comment, "parameter-") {
						case "uri":
							value = fmt.Sprintf("uri: %q", v.b)
						case "image-size":
							value = fmt.Sprintf("image-size: %d bytes", v.n)
						case "image-digest":
							value = fmt.Sprintf("image-digest: SHA-256:%x", v.items[0].items[1].b)
						case "vendor-id":
							value = "vendor-identifier: " + uuidText(v.b)
						case "class-id":
							value = "class-identifier: " + uuidText(v.b)
						case "slot", "component-slot":
							value = fmt.Sprintf("component-slot: %d", v.n)
						case "minimum-battery":
							value = fmt.Sprintf("minimum-battery: %d mWh", v.n)
						case "update-priority":
							value = fmt.Sprintf("update-priority: %d", v.n)
						case "content", "invoke-args":
							value = fmt.Sprintf("%s: %q", strings.TrimPrefix(comment, "parameter-"), v.b)
						}
						if value == "" {
							continue
						}
						if values++; !strings.Contains(all, "set "+value+"\n") {
							t.Errorf("%s: not in the outline: %s", file, value)
						}
					}
					walk(y, within)
				}
			}
			n := parseDiag(t, x.diag)
			for _, label := range []int64{envelopeManifest, int64(SectionInstall)} {
				if in, ok := n.get(label); ok && (label == envelopeManifest || len(e.members) > 0) {
					walk(in, false)
				}
			}
			if strings.Contains(file, "example2.signed") {
				continue // the text is of the severed one
			}
			for _, l := range lines {
				for c, s := range words {
					if strings.TrimSpace(l) == s {
						got[c]++
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: commands in the text and in the outline:\n%s", file, diff)
			}
		}
	}
	if values < 140 {
		t.Errorf("%d values", values)
	}
}

// TestOutlineWords has a line for all that the examples have not.
func TestOutlineWords(t *testing.T) {
	k := newKey(t, 1, 0)
	info, _, err := Encrypt(A128CTR, exampleImage, exampleKEK, k)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEnvelope(&Manifest{
		Components: []ComponentID{NewComponentID("a\x1b[2J"), NewComponentID("usr", "bin")},
		Sections: []SectionCommands{{Section: SectionInstall, Commands: []Command{
			{Code: DirectiveSetComponentIndex, Index: Index{All: true}},
			{Code: DirectiveSetParameters, Parameters: NewParameters(URI("http://x/\x1b[2J\u202e"))},
			SetComponentIndex(1, 0),
			Override(info, Content(make([]byte, 41)), FetchArguments([]byte{0xff}), SourceComponent(9), UseBefore(1<<60),
				Parameter{ParameterSoftFailure, []byte{0xf5}}, Parameter{-300, []byte{0x61, 'x'}}),
			TryEach([]Command{Do(ConditionAbort, 0)}, nil),
			{Code: DirectiveCopyParams, Copy: []CopiedParams{{0, []ParameterKey{ParameterURI, -300}}}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.UnverifiedManifest()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"for each component:",
		`  set, unless it is set, uri: "http://x/\x1b[2J\u202e"`,
		"for usr/bin, 0x611b5b324a:",
		"  set soft-failure: true",
		"  set content: 41 bytes, " + Sum(make([]byte, 41)).String(),
		`  set encryption-info: A128CTR, its key by A128KW for "kid-1", ECDH-ES+A128KW for 0x0007`,
		"  set source-component: 9, which there is not",
		"  set fetch-arguments: 0xff",
		"  set use-before: 1152921504606846976 s after 1970",
		`  set parameter -300: "x"`,
		"  try one after the other, until one succeeds:",
		"    1:",
		"      fail",
		"    or go on",
		"  set uri, parameter -300 as for 0x611b5b324a",
	}
	got := outlineOf(m)
	sorted := cmp.Transformer("lines", func(s []string) map[string]int {
		n := map[string]int{}
		for _, l := range s {
			n[l]++
		}
		return n
	})
	if diff := cmp.Diff(want, got, sorted); diff != "" { // parameters come in the order of their keys
		t.Errorf("%s\n%s", diff, strings.Join(got, "\n"))
	}
	for _, l := range got {
		if strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q moves the cursor", l)
		}
	}
}

// TestUUID makes the identifiers of the draft's examples out of what their JSON says:
// the domain arm.com and the model suit.
func TestUUID(t *testing.T) {
	if got := uuidText(first(VendorUUID("arm.com"))); got != "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe" {
		t.Error(got)
	}
	if got := uuidText(first(ClassUUID(VendorUUID("arm.com"), "suit"))); got != "1492af14-2569-5e48-bf42-9b2d51f2ab45" {
		t.Error(got)
	}
}

func first(u [16]byte) []byte { return u[:] }

func TestImages(t *testing.T) {
	e, err := NewEnvelope(release(imageA), Payload{"#app", imageA})
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.UnverifiedManifest()
	if err != nil {
		t.Fatal(err)
	}
	want := []InstalledImage{{0, Sum(imageA), int64(len(imageA))}, {1, Sum(imageA), int64(len(imageA))}}
	if diff := cmp.Diff(want, m.Images()); diff != "" {
		t.Error(diff)
	}
}
