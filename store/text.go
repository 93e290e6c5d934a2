// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names come from attackers' packets. What cannot be text goes here, in one place,
// before anything is looked up by it: bytes that are not UTF-8, control characters
// (PostgreSQL refuses NUL; U+001F parts what this package joins), and characters that
// turn the order of the text around them. A name that an index has is cut.
const (
	maxName = 300    // bytes; PostgreSQL takes 2,700 in a row of an index
	maxText = 10_000 // of what is only read
)

// Text returns text without what cannot be kept of it: see above.
func Text(s string) string { return text(s, maxText) }

func text(s string, limit int) string {
	if plain(s) && len(s) <= limit {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
	if len(s) > limit {
		s = s[:limit]
		for !utf8.ValidString(s) { // a character was cut
			s = s[:len(s)-1]
		}
	}
	return s
}

// plain reports whether a text is of ASCII's printable characters alone.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clean leaves out of a statement's texts what PostgreSQL refuses.
func clean(args []any) {
	for i, a := range args {
		if s, ok := a.(string); ok && !plain(s) {
			args[i] = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
		}
	}
}

// tidy cleans the texts of a batch where they are.
func (b *Batch) tidy() {
	for i := range b.Observations {
		o := &b.Observations[i]
		for _, t := range [...]*string{&o.Client.Value, &o.Server.Value, &o.Protocol} {
			*t = text(*t, maxName)
		}
	}
	tidy(reflect.ValueOf(b.Devices), maxName)
	tidy(reflect.ValueOf(b.Findings), maxText)
	for i := range b.Findings {
		f := &b.Findings[i]
		for _, t := range [...]*string{&f.ID, &f.Device, &f.Product} {
			*t = text(*t, maxName)
		}
		tidy(reflect.ValueOf(f.CVE), maxName)
	}
	for i := range b.Events {
		a := &b.Events[i].Device
		a.Value = text(a.Value, maxName)
	}
	tidy(reflect.ValueOf(b.Held), maxName)
	tidy(reflect.ValueOf(b.Beat), maxName)
}

func tidy(v reflect.Value, limit int) {
	switch v.Kind() {
	case reflect.String:
		if was := v.String(); v.CanSet() {
			if now := text(was, limit); now != was {
				v.SetString(now)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			tidy(v.Field(i), limit)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			tidy(v.Index(i), limit)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			tidy(v.Elem(), limit)
		}
	}
}
