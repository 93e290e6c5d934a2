// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/myelin-health/myelin/wire"
)

// json reads one value, or with lines one after another (RFC 8259).
func (s *scan) json(b []byte, lines bool) error {
	j := jsonReader{c: wire.NewCursor("fhir", b), b: b, s: s}
	if bytes.HasPrefix(b, []byte("\ufeff")) {
		j.c.Skip("byte order mark", 3)
	}
	j.blank()
	for { // each turn reads a value
		j.value(true)
		j.blank()
		if !j.c.Ok() || j.c.Len() == 0 {
			break
		}
		if !lines {
			j.c.Fail("document", wire.ErrTrailing)
		}
	}
	return j.c.Err()
}

// A jsonReader hands a document to a scan. It recurses once for each level,
// and the scan bounds the levels.
type jsonReader struct {
	c wire.Cursor
	b []byte
	s *scan
}

func (j *jsonReader) blank() {
	for {
		c := j.c.Peek(1)
		if c == nil || c[0] != ' ' && c[0] != '\t' && c[0] != '\r' && c[0] != '\n' {
			return
		}
		j.c.Skip("white space", 1)
	}
}

// next passes over white space and one byte that must be there.
func (j *jsonReader) next(field string, want byte) {
	j.blank()
	if c := j.c.Uint8(field); j.c.Ok() && c != want {
		j.c.FailAt(field, j.c.Off()-1, wire.ErrInvalid)
	}
}

// peek returns the next byte that is not white space, or 0 and a failure.
func (j *jsonReader) peek(field string) byte {
	j.blank()
	c := j.c.Peek(1)
	if c == nil {
		j.c.Fail(field, wire.ErrTruncated)
		return 0
	}
	return c[0]
}

// value reads a value. resource says that it stands where a resource may.
func (j *jsonReader) value(resource bool) {
	switch c := j.peek("value"); c {
	case 0:
	case '{':
		at := j.c.Off()
		opened := false
		if resource {
			if name := resourceType(j.b[at:]); name != nil {
				j.s.begin(name, at)
				opened = true
			}
		}
		j.object()
		if opened && j.c.Ok() {
			j.s.end()
		}
	case '[':
		// An array repeats its element (R4 section 2.6.2.2).
		j.c.Skip("array", 1)
		if j.peek("array") == ']' {
			j.c.Skip("array", 1)
			return
		}
		for j.c.Ok() { // each turn reads a value
			// Arrays of arrays do not occur in FHIR and would recurse uncounted.
			if j.peek("value") == '[' {
				j.c.Fail("array", wire.ErrInvalid)
				return
			}
			j.value(resource)
			if j.more("array", ']') {
				return
			}
			// Each repetition is an element of its own.
			j.s.again()
		}
	case '"':
		v, escaped := j.string("string")
		if j.c.Ok() {
			j.s.value(v, escaped, appendJSON)
		}
	default:
		j.scalar(c)
	}
}

// more reads a comma, or the end of an array or object and returns true.
func (j *jsonReader) more(field string, end byte) bool {
	j.blank()
	switch c := j.c.Uint8(field); {
	case !j.c.Ok():
		return true
	case c == end:
		return true
	case c != ',':
		j.c.FailAt(field, j.c.Off()-1, wire.ErrInvalid)
		return true
	}
	return false
}

func (j *jsonReader) object() {
	j.c.Skip("object", 1)
	if j.peek("object") == '}' {
		j.c.Skip("object", 1)
		return
	}
	for j.c.Ok() { // each turn reads a member
		j.blank()
		at := j.c.Off()
		name, _ := j.string("member name")
		j.next("member", ':')
		if !j.c.Ok() {
			return
		}
		if !j.s.enter(name) {
			j.c.FailAt("element", at, wire.ErrTooDeep)
			return
		}
		// R4 sections 2.36 and 2.3.3, and Parameters.parameter.resource.
		j.value(string(name) == "resource" || string(name) == "contained")
		if !j.c.Ok() {
			return
		}
		j.s.leave()
		if j.more("object", '}') {
			return
		}
	}
}

// string reads a string (RFC 8259 section 7) and reports whether it has escapes.
func (j *jsonReader) string(field string) ([]byte, bool) {
	if c := j.c.Uint8(field); j.c.Ok() && c != '"' {
		j.c.FailAt(field, j.c.Off()-1, wire.ErrInvalid)
	}
	if !j.c.Ok() {
		return nil, false
	}
	from := j.c.Off()
	n, escaped := stringEnd(j.b[from:])
	switch {
	case n < 0:
		j.c.FailAt(field, len(j.b), wire.ErrTruncated)
		return nil, false
	case j.b[from+n] != '"': // a control character, which must be escaped
		j.c.FailAt(field, from+n, wire.ErrInvalid)
		return nil, false
	}
	v := j.c.Bytes(field, n)
	j.c.Skip(field, 1)
	return v, escaped
}

// stringEnd returns where the string that b begins inside of ends: at its
// quote or at a control character; or -1.
func stringEnd(b []byte) (n int, escaped bool) {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"', c < ' ':
			return i, escaped
		case c == '\\':
			escaped = true
			i++
		}
	}
	return -1, escaped
}

// scalar reads a number, true, false or null. FHIR has no use for the exact
// grammar of numbers: what looks like one is one.
func (j *jsonReader) scalar(first byte) {
	from := j.c.Off()
	i := from
	for i < len(j.b) && scalarByte[j.b[i]] {
		i++
	}
	v := j.b[from:i:i]
	switch {
	case i == len(j.b) && j.s.depth > 0:
		j.c.FailAt("value", i, wire.ErrTruncated)
		return
	case first == '-', first >= '0' && first <= '9':
	case string(v) == "true", string(v) == "false", string(v) == "null":
	default:
		j.c.FailAt("value", from, wire.ErrInvalid)
		return
	}
	j.c.Skip("value", len(v))
	if string(v) != "null" {
		j.s.value(v, false, nil)
	}
}

var scalarByte = func() (t [256]bool) {
	for _, c := range "+-.0123456789abcdefghijklmnopqrstuvwxyzE" {
		t[c] = true
	}
	return t
}()

// again forgets what an array's repetition must not hand to the next one.
func (s *scan) again() {
	if n := s.nodes[s.depth]; n != nil && s.open > 0 && s.open <= maxResources {
		s.frames[s.open-1].count(n)
	}
}

// resourceType looks for the member "resourceType" of the object at the front
// of b, which by R4 section 2.6.2 comes first but need not. It returns nil
// when there is none, or when b ends before it.
func resourceType(b []byte) []byte {
	depth := 0
	key := false // the next string at depth 1 is a member name
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
			key = depth == 1
		case '}', ']':
			if depth--; depth == 0 {
				return nil
			}
		case ',':
			key = depth == 1
		case '"':
			n, _ := stringEnd(b[i+1:])
			if n < 0 {
				return nil
			}
			s := b[i+1 : i+1+n]
			i += n + 1
			if key && string(s) == "resourceType" {
				rest := bytes.TrimLeft(b[min(i+1, len(b)):], " \t\r\n:")
				if len(rest) == 0 || rest[0] != '"' {
					return nil
				}
				n, _ := stringEnd(rest[1:])
				if n < 0 {
					return nil
				}
				return rest[1 : 1+n]
			}
			key = false
		}
	}
	return nil
}

// appendJSON appends the inside of a string with its escapes replaced.
func appendJSON(dst, v []byte) []byte {
	for len(v) > 0 { // each turn reads at least one byte
		if v[0] != '\\' || len(v) < 2 {
			dst, v = append(dst, v[0]), v[1:]
			continue
		}
		switch c := v[1]; c {
		case 'b', 'f', 'n', 'r', 't':
			dst, v = append(dst, ' '), v[2:] // white space is all the same to us
		case 'u':
			r, ok := hex4(v[2:])
			if !ok {
				return append(dst, v...)
			}
			v = v[6:]
			if utf16.IsSurrogate(r) && len(v) >= 6 && v[0] == '\\' && v[1] == 'u' {
				if low, ok := hex4(v[2:]); ok {
					r, v = utf16.DecodeRune(r, low), v[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst, v = append(dst, c), v[2:]
		}
	}
	return dst
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	r := rune(0)
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
