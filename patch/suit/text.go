// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A Text is what a manifest says to people in one language (section 8.4.4). Nothing
// of it changes what a device does, and it may hold anything: a page or terminal
// that shows it has to escape it.
type Text struct {
	Language   string      // as in "en-US"
	Entries    []TextEntry // about the manifest
	Components []ComponentText
}

// A TextEntry is a label of IANA's registries, or a maker's if negative, and text.
type TextEntry struct {
	Label int64
	Text  string
}

// ComponentText is what is said about one component.
type ComponentText struct {
	Component ComponentID
	Entries   []TextEntry
}

// Labels of texts about a manifest and about a component (section 11.6 and 11.7;
// update-management 7.5).
const (
	TextManifestDescription = 1
	TextUpdateDescription   = 2
	TextJSONSource          = 3
	TextYAMLSource          = 4

	TextVendorName           = 1
	TextModelName            = 2
	TextVendorDomain         = 3
	TextModelInfo            = 4
	TextComponentDescription = 5
	TextComponentVersion     = 6
	TextVersionRequired      = 7
	TextCurrentVersion       = 8
)

// language reports whether s has the form of a language tag (RFC 9290 appendix A).
func language(s string) bool {
	for i, part := range bytes.Split([]byte(s), []byte("-")) {
		if len(part) == 0 || len(part) > 8 {
			return false
		}
		for _, c := range part {
			if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (i == 0 || c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

func (m *Manifest) decodeText(r *reader) ([]Text, error) {
	left := maxTexts
	entry := func() (TextEntry, error) {
		if left--; left < 0 {
			return TextEntry{}, r.bad(r.Off(), ErrLimit, "texts")
		}
		e := TextEntry{r.Int(), r.Text()}
		return e, r.err()
	}
	n := r.Map()
	if err := r.count(n, 1, maxTexts); err != nil {
		return nil, err
	}
	texts := make([]Text, 0, min(n, 8))
	for range n {
		at := r.Off()
		t := Text{Language: r.Text()}
		if r.Err() == nil && !language(t.Language) {
			return nil, r.bad(at, ErrStructure, "no language tag")
		}
		for k := r.Map(); k > 0 && r.Err() == nil; k-- {
			if r.Next() != cbor.Array {
				e, err := entry()
				if err != nil {
					return nil, err
				}
				t.Entries = append(t.Entries, e)
				continue
			}
			at := r.Off()
			id, err := r.componentID()
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(m.Components, id.Equal) {
				return nil, r.bad(at, ErrStructure, "text about what is no component")
			}
			c := ComponentText{Component: id}
			for j := r.Map(); j > 0 && r.Err() == nil; j-- {
				e, err := entry()
				if err != nil {
					return nil, err
				}
				c.Entries = append(c.Entries, e)
			}
			t.Components = append(t.Components, c)
		}
		texts = append(texts, t)
	}
	return texts, r.done()
}

// appendText appends a SUIT_Text_Map, in the order that its keys have to have.
func appendText(dst []byte, texts []Text) []byte {
	type pair struct{ key, value []byte }
	sorted := func(dst []byte, pairs []pair) []byte {
		slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
		dst = cbor.AppendMap(dst, len(pairs))
		for _, p := range pairs {
			dst = append(append(dst, p.key...), p.value...)
		}
		return dst
	}
	entries := func(list []TextEntry) (pairs []pair) {
		for _, e := range list {
			pairs = append(pairs, pair{cbor.AppendInt(nil, e.Label), cbor.AppendText(nil, e.Text)})
		}
		return pairs
	}
	var all []pair
	for _, t := range texts {
		pairs := entries(t.Entries)
		for _, c := range t.Components {
			pairs = append(pairs, pair{c.Component.append(nil), sorted(nil, entries(c.Entries))})
		}
		all = append(all, pair{cbor.AppendText(nil, t.Language), sorted(nil, pairs)})
	}
	return sorted(dst, all)
}

// TextName is the draft's name of a text, about a component or about the manifest.
func TextName(label int64, component bool) string {
	names := [...]string{"", "manifest-description", "update-description", "manifest-json-source", "manifest-yaml-source"}
	if component {
		names := [...]string{
			"", "vendor-name", "model-name", "vendor-domain", "model-info",
			"component-description", "component-version", "version-required", "current-version",
		}
		if label > 0 && label < int64(len(names)) {
			return names[label]
		}
	} else if label > 0 && label < int64(len(names)) {
		return names[label]
	}
	return fmt.Sprintf("text %d", label)
}
