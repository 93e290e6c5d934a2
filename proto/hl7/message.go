// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// Quirks are what a sender does against the standard and receivers put up
// with. Two receivers may read such a message differently.
type Quirks uint16

// The quirks.
const (
	MissingCR          Quirks = 1 << iota // <EB> without <CR>
	BytesBetweenBlocks                    // bytes between MLLP blocks
	BareMessage                           // a message without MLLP
	LineFeedEnds                          // segments that end with LF or CR LF
	MissingLastCR                         // the last segment has no terminator
	BytesBeforeMSH                        // space, byte order mark or empty lines before MSH
	StrayLine                             // a line that begins like no segment
	EmptyLine                             // a segment of no bytes
	UTF16                                 // MSH-18 names UTF-16 or UTF-32, whose bytes may hold delimiters
	BatchCount                            // a trailer counts other than there is
)

// Delimiters are the characters that divide a message (v2.7 section 2.5.4).
// Zero means that the message has no such delimiter.
type Delimiters struct {
	Field        byte // MSH-1
	Component    byte // MSH-2, in this order
	Repetition   byte
	Escape       byte
	Subcomponent byte
	Truncation   byte // since v2.7
}

// DefaultDelimiters are those that the standard recommends and that IHE
// requires (PCD TF-2 section B.1), without the truncation character.
var DefaultDelimiters = Delimiters{Field: '|', Component: '^', Repetition: '~', Escape: '\\', Subcomponent: '&'}

// AppendEncoding appends MSH-2.
func (d Delimiters) AppendEncoding(dst []byte) []byte {
	for _, c := range [...]byte{d.Component, d.Repetition, d.Escape, d.Subcomponent, d.Truncation} {
		if c == 0 {
			break
		}
		dst = append(dst, c)
	}
	return dst
}

// delimiter reports whether c may divide a message: a character that can be
// seen and is no letter or digit.
func delimiter(c byte) bool {
	return c > ' ' && c < 0x7f && !alphanumeric(c)
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// A Message is one message. It aliases the bytes it was parsed from and is
// valid as long as they are; a copy is the same message. It may be read from
// several goroutines.
type Message struct {
	Delimiters Delimiters
	Quirks     Quirks

	b   []byte
	off int  // of b in what was parsed
	lf  bool // b holds LF somewhere: it may end segments
}

// maxLead bounds what may stand before MSH: a byte order mark and a few empty lines.
const maxLead = 16

// Parse reads one message, which b holds whole and nothing else: what
// [Framer.Next] or [Messages] returned, or the body of an HTTP request. A
// batch header (BHS, FHS) is read as a message of one segment. It allocates
// nothing but its error, a *[wire.SyntaxError]; m then holds what could be read.
func Parse(b []byte) (m Message, err error) {
	lead := 0
	for lead < len(b) && lead < maxLead && !alphanumeric(b[lead]) {
		lead++
	}
	if lead > 0 {
		m.Quirks |= BytesBeforeMSH
	}
	m.b, m.off = b[lead:len(b):len(b)], lead
	if len(b) > MaxMessage {
		m.b = nil
		return m, fail("MSH", MaxMessage, wire.ErrTooLong)
	}
	if m.Delimiters, err = delimiters(m.b, lead); err != nil {
		m.b = nil
		return m, err
	}
	m.lf = bytes.IndexByte(m.b, '\n') >= 0
	m.lines()

	line, _ := m.cut(m.b)
	h := Segment{line, m.Delimiters, lead}
	if string(h.ID()) == "MSH" {
		if contains(h.Field(18).Raw(), "UTF-16") || contains(h.Field(18).Raw(), "UTF-32") { // table 0211
			m.Quirks |= UTF16
		}
		if h.Field(9).IsEmpty() { // v2.7 section 2.14.9.9: required in every version
			return m, fail("MSH-9 Message Type", lead+len(h.b), wire.ErrInvalid)
		}
	}
	return m, nil
}

// delimiters reads MSH-1 and MSH-2 of the header segment that b begins with
// (v2.7 section 2.14.9.1 and .2).
func delimiters(b []byte, off int) (d Delimiters, err error) {
	const field = "MSH-2 Encoding Characters"
	c := wire.NewCursor("hl7", b)
	if !header(c.Bytes("MSH", 3)) {
		if c.Ok() {
			c.FailAt("MSH", 0, wire.ErrInvalid)
		}
		return d, shift(c.Err(), off)
	}
	d.Field = c.Uint8("MSH-1 Field Separator")
	if c.Ok() && !delimiter(d.Field) {
		c.FailAt("MSH-1 Field Separator", 3, wire.ErrInvalid)
	}
	seen := [...]*byte{&d.Component, &d.Repetition, &d.Escape, &d.Subcomponent, &d.Truncation}
	for i := 0; c.Ok(); i++ {
		if c.Len() == 0 {
			break // the header of a batch may end here
		}
		at := c.Off()
		x := c.Uint8(field)
		if x == d.Field || x == carriageReturn || x == '\n' {
			if i == 0 {
				c.FailAt(field, at, wire.ErrInvalid)
			}
			break
		}
		if i == len(seen) {
			c.FailAt(field, at, wire.ErrTooLong)
			break
		}
		if !delimiter(x) || x == d.Component || x == d.Repetition || x == d.Escape || x == d.Subcomponent {
			c.FailAt(field, at, wire.ErrInvalid) // what divides two things divides neither
		}
		*seen[i] = x
	}
	if c.Ok() && d.Component == 0 {
		c.Fail(field, wire.ErrTruncated)
	}
	return d, shift(c.Err(), off)
}

func shift(err error, off int) error {
	if se, ok := err.(*wire.SyntaxError); ok {
		se.Off += off
	}
	return err
}

// header reports whether id is of a segment that states its own delimiters.
func header(id []byte) bool {
	return string(id) == "MSH" || string(id) == "BHS" || string(id) == "FHS"
}

// lines notes the quirks of the message's segment ends.
func (m *Message) lines() {
	b := m.b
	for len(b) > 0 {
		line, n := m.cut(b)
		switch {
		case len(line) == 0:
			m.Quirks |= EmptyLine
		case !m.begins(line):
			m.Quirks |= StrayLine
		}
		switch {
		case n == len(line):
			m.Quirks |= MissingLastCR
		case m.lf && (b[len(line)] == '\n' || n == len(line)+2):
			m.Quirks |= LineFeedEnds
		}
		b = b[n:]
	}
}

// begins reports whether b begins like a segment: three letters or digits and
// the field separator, or nothing (v2.7 section 2.5.2).
func (m *Message) begins(b []byte) bool {
	return len(b) >= 3 && b[0] >= 'A' && b[0] <= 'Z' && alphanumeric(b[1]) && alphanumeric(b[2]) &&
		(len(b) == 3 || b[3] == m.Delimiters.Field || b[3] == carriageReturn || b[3] == '\n')
}

// cut returns the line at the front of b, and how many bytes it takes with its
// terminator. That is CR (v2.7 section 2.5.3) and nothing else by the standard.
// LF is one when a segment or nothing follows it, and part of the text
// otherwise: text with line feeds in it is as frequent as lines ended by them.
func (m *Message) cut(b []byte) (line []byte, n int) {
	if !m.lf {
		i := bytes.IndexByte(b, carriageReturn)
		if i < 0 {
			return b, len(b)
		}
		return b[:i:i], i + 1
	}
	for i, c := range b {
		switch {
		case c == carriageReturn:
			if i+1 < len(b) && b[i+1] == '\n' {
				return b[:i:i], i + 2
			}
			return b[:i:i], i + 1
		case c == '\n' && (i+1 == len(b) || b[i+1] == '\n' || b[i+1] == carriageReturn || m.begins(b[i+1:])):
			return b[:i:i], i + 1
		}
	}
	return b, len(b)
}

// Segments yields the segments in order. Lines that begin like no segment are
// passed over ([StrayLine]).
func (m *Message) Segments() iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		for off := 0; off < len(m.b); {
			line, n := m.cut(m.b[off:])
			if m.begins(line) && !yield(Segment{line, m.Delimiters, m.off + off}) {
				return
			}
			off += n
		}
	}
}

// Segment returns the first segment with this id, or an empty one. It looks
// from the start each time.
func (m *Message) Segment(id string) Segment {
	for s := range m.Segments() {
		if string(s.ID()) == id {
			return s
		}
	}
	return Segment{}
}

// Bytes returns the message as it came, from MSH on.
func (m *Message) Bytes() []byte { return m.b }

// A Segment is one segment, without its terminator. The zero Segment has no
// id, and its fields are empty.
type Segment struct {
	b   []byte
	d   Delimiters
	off int
}

// ID returns the three characters of the segment's id.
func (s Segment) ID() []byte { return s.b[:min(3, len(s.b)):min(3, len(s.b))] }

// Off is where the segment begins, in bytes from the start of what was parsed.
func (s Segment) Off() int { return s.off }

// Bytes returns the segment as it came.
func (s Segment) Bytes() []byte { return s.b }

// Field returns the field with this number, counted from 1 as the standard
// does; of MSH, field 1 is the separator itself. It looks from the start of
// the segment each time.
func (s Segment) Field(n int) Value {
	if len(s.b) < 4 || n < 1 {
		return Value{}
	}
	if header(s.ID()) {
		switch n--; n {
		case 0:
			return Value{b: s.b[3:4:4]} // v2.7 section 2.14.9.1
		case 1:
			return Value{b: nth(s.b[4:], s.d.Field, 0)} // not divided by what it names
		}
	}
	return Value{nth(s.b[4:], s.d.Field, n-1), s.d}
}

// A Value is a field, or a repetition, component or subcomponent of one. The
// zero Value is empty, and so is every part that is not there.
type Value struct {
	b []byte
	d Delimiters
}

// Repetition returns one repetition of a field, counted from 0.
func (v Value) Repetition(i int) Value { return Value{nth(v.b, v.d.Repetition, i), v.d} }

// Repetitions yields the repetitions of a field: of an empty one none.
func (v Value) Repetitions() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for b, more := v.b, len(v.b) > 0; more; {
			i := -1
			if v.d.Repetition != 0 {
				i = bytes.IndexByte(b, v.d.Repetition)
			}
			n := end(i, b)
			if !yield(Value{b[:n:n], v.d}) {
				return
			}
			if more = i >= 0; more {
				b = b[i+1:]
			}
		}
	}
}

// Component returns a component, counted from 1. Of a field that repeats it
// is one of the first repetition.
func (v Value) Component(n int) Value {
	if n < 1 {
		return Value{}
	}
	return Value{nth(v.Repetition(0).b, v.d.Component, n-1), v.d}
}

// Subcomponent returns a subcomponent, counted from 1, of a component or of
// the first component of a field.
func (v Value) Subcomponent(n int) Value {
	if n < 1 {
		return Value{}
	}
	return Value{nth(v.Component(1).b, v.d.Subcomponent, n-1), v.d}
}

// Raw returns the value as it came: escape sequences undecoded.
func (v Value) Raw() []byte { return v.b }

// IsEmpty reports whether nothing is said: no bytes, or the null value, two
// double quotes (v2.7 section 2.5.3.2), which asks to delete what was there.
func (v Value) IsEmpty() bool { return len(v.b) == 0 || v.IsNull() }

// IsNull reports whether the value is the null value.
func (v Value) IsNull() bool { return string(v.b) == `""` }

// Is reports whether the value is s, byte for byte and undecoded.
func (v Value) Is(s string) bool { return string(v.b) == s }

// nth returns the i-th part of b, from 0, or nil when there are fewer.
func nth(b []byte, sep byte, i int) []byte {
	if i < 0 || sep == 0 && i > 0 {
		return nil
	}
	for sep != 0 {
		j := bytes.IndexByte(b, sep)
		if i == 0 {
			b = b[:end(j, b)]
			break
		}
		if j < 0 {
			return nil
		}
		b = b[j+1:]
		i--
	}
	return b[:len(b):len(b)]
}

// split puts the first parts of b into out, in one pass.
func split(b []byte, sep byte, d Delimiters, out []Value) {
	for i := range out {
		j := -1
		if sep != 0 {
			j = bytes.IndexByte(b, sep)
		}
		n := end(j, b)
		out[i] = Value{b[:n:n], d}
		if j < 0 {
			return
		}
		b = b[j+1:]
	}
}

// contains is bytes.Contains for a string, ASCII letters folded.
func contains(b []byte, s string) bool {
	for i := 0; i+len(s) <= len(b); i++ {
		if equalFold(b[i:i+len(s)], s) {
			return true
		}
	}
	return false
}

// equalFold reports whether b is s, ASCII letters folded.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
