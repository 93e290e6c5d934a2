// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package http reads HTTP/1.0 and HTTP/1.1 as seen from beside the wire: heads
// ([Head.Parse]), what ends a message ([Head.Framing]), bodies ([Body]) and
// their content codings ([Inflater]).
//
// It implements RFC 9112 (message syntax and routing of HTTP/1.1), the parts
// of RFC 9110 that a passive reader needs (fields, content codings, upgrade),
// and RFC 7617 (Basic). It reads slices, keeps nothing between calls, and
// allocates nothing for heads and bodies; only decompression does.
//
// Three things that a watcher asks of every request are here as tables: which
// credentials it shows ([Head.Credentials], [WellKnown], [HasPassword]), which
// operating system its sender names ([Head.OS]), and which known attack it has
// the shape of ([Head.Exploit], [ExploitInBody]).
//
// A reader beside the wire must accept what either end might accept, so
// tolerated oddities, in particular those on which two servers in a row can
// disagree about where a message ends (request smuggling, RFC 9112 section
// 11.2), are reported as [Quirks] and not as errors.
//
// Left out: HTTP/0.9; HTTP/2, of which only the connection preface is
// recognised (RFC 9113 section 3.4); the content codings br, zstd and compress;
// ranges, caching and multipart bodies.
//
// This API is stable.
package http

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// Bounds of a head. RFC 9112 section 3 asks for request lines of at least
// 8,000 bytes; common servers stop at 8 to 64 KiB in all and 100 fields.
const (
	MaxHeadBytes = 64 << 10
	MaxFields    = 128
)

// Quirks are oddities that were tolerated.
type Quirks uint16

// The quirks.
const (
	BareLF             Quirks = 1 << iota // a line ended without CR (RFC 9112 section 2.2)
	BareCR                                // a CR inside a line (section 2.2)
	LeadingLines                          // empty lines before a request line (section 2.2)
	SpacedLine                            // start line divided by more than single spaces (section 3)
	SpacedColon                           // white space between field name and colon (section 5.1)
	FoldedField                           // a field continued on a new line (section 5.2)
	LengthRepeated                        // the same Content-Length more than once (section 6.3 rule 5)
	LengthConflict                        // different values of Content-Length
	LengthInvalid                         // a Content-Length that is not a number
	LengthAndCoding                       // both Content-Length and Transfer-Encoding (section 6.3 rule 3)
	CodingUnknown                         // a transfer coding other than chunked, gzip, deflate, compress (section 7)
	CodingNotFinal                        // chunked is not the last transfer coding, or is applied twice (section 6.1)
	CodingInOldVersion                    // Transfer-Encoding in HTTP/1.0 (section 6.1)
)

// Smuggling are the quirks on which two servers in a row may disagree about
// where a message ends (RFC 9112 section 11.2).
const Smuggling = SpacedColon | LengthConflict | LengthInvalid | LengthAndCoding | CodingUnknown | CodingNotFinal | CodingInOldVersion

// A Field is one header or trailer field. Value is without the white space
// around it; a folded value holds its line breaks.
type Field struct{ Name, Value []byte }

type fieldSpan struct{ name, colon, from, to uint16 }

// A Head is a request or response up to the empty line. Its slices alias what
// was parsed.
type Head struct {
	Request      bool
	Method       []byte // of a request
	Target       []byte // of a request, as it was sent
	Status       int    // of a response
	Reason       []byte // of a response
	Major, Minor int    // HTTP version
	Quirks       Quirks // of the lines; [Head.Framing] adds those of the body

	b      []byte
	n      int
	fields [MaxFields]fieldSpan
}

// Parse reads a head from the front of b and returns how many bytes it took.
// When the empty line is still to come the error wraps [wire.ErrTruncated]
// and h holds what there is, unless [MaxHeadBytes] or [MaxFields] is exceeded:
// then it wraps [wire.ErrTooLong].
func (h *Head) Parse(b []byte) (int, error) {
	h.Request, h.Method, h.Target, h.Status, h.Reason = false, nil, nil, 0, nil
	h.Major, h.Minor, h.Quirks, h.n = 0, 0, 0, 0
	whole := b
	if len(b) > MaxHeadBytes-1 { // -1: an offset is 16 bits
		b = b[:MaxHeadBytes-1]
	}
	h.b = b
	c := wire.NewCursor("http", b)
	at := c.Off()
	line := h.line(&c, "start-line")
	for len(line) == 0 && c.Ok() { // RFC 9112 section 2.2: ignore at least one empty line
		h.Quirks |= LeadingLines
		at = c.Off()
		line = h.line(&c, "start-line")
	}
	if c.Ok() {
		h.startLine(&c, at, line)
	}
	for c.Ok() { // each turn reads one line
		at := c.Off()
		line := h.line(&c, "field-line")
		if !c.Ok() || len(line) == 0 {
			break
		}
		h.field(&c, at, line)
	}
	err := c.Err()
	if err != nil && len(whole) > len(b) {
		if s := err.(*wire.SyntaxError); s.Err == wire.ErrTruncated {
			s.Err = wire.ErrTooLong
		}
	}
	return c.Off(), err
}

// line reads up to and with the next line end and returns what is before it.
func (h *Head) line(c *wire.Cursor, field string) []byte {
	rest := h.b[c.Off():]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		c.FailAt(field, len(h.b), wire.ErrTruncated)
		return nil
	}
	line := c.Bytes(field, n+1)[:n]
	if n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	} else {
		h.Quirks |= BareLF
	}
	return line
}

// startLine reads a request line (RFC 9112 section 3) or a status line (section 4).
func (h *Head) startLine(c *wire.Cursor, at int, line []byte) {
	if bytes.IndexByte(line, '\r') >= 0 {
		h.Quirks |= BareCR
	}
	if bytes.HasPrefix(line, []byte("HTTP/")) {
		h.statusLine(c, at, line)
		return
	}
	h.Request = true
	// Section 3: who is lenient takes the first and the last word, for targets
	// that hold spaces.
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || !isToken(method) {
		c.FailAt("method", at, wire.ErrInvalid)
		return
	}
	i := bytes.LastIndexByte(rest, ' ')
	if i < 0 || !h.version(rest[i+1:]) {
		c.FailAt("HTTP-version", at+len(method)+2+i, wire.ErrInvalid)
		return
	}
	target := bytes.Trim(rest[:i], " \t")
	if len(target) != i || bytes.IndexByte(target, ' ') >= 0 {
		h.Quirks |= SpacedLine
	}
	if len(target) == 0 {
		c.FailAt("request-target", at+len(method)+1, wire.ErrInvalid)
		return
	}
	h.Method, h.Target = method[:len(method):len(method)], target[:len(target):len(target)]
}

func (h *Head) statusLine(c *wire.Cursor, at int, line []byte) {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if !h.version(version) {
		c.FailAt("HTTP-version", at, wire.ErrInvalid)
		return
	}
	// Section 4: three digits. The space after them stands even before an
	// empty reason, but many servers leave it out.
	if len(rest) < 3 || !isDigit(rest[0]) || !isDigit(rest[1]) || !isDigit(rest[2]) || len(rest) > 3 && rest[3] != ' ' || rest[0] == '0' {
		c.FailAt("status-code", at+len(version)+1, wire.ErrInvalid)
		return
	}
	h.Status = int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
	if len(rest) > 4 {
		h.Reason = rest[4:len(rest):len(rest)]
	}
}

// version reads HTTP-version (RFC 9112 section 2.3).
func (h *Head) version(b []byte) bool {
	if len(b) != len("HTTP/1.1") || string(b[:5]) != "HTTP/" || b[6] != '.' || !isDigit(b[5]) || !isDigit(b[7]) {
		return false
	}
	h.Major, h.Minor = int(b[5]-'0'), int(b[7]-'0')
	return h.Major == 1
}

// field reads a field line (RFC 9112 section 5).
func (h *Head) field(c *wire.Cursor, at int, line []byte) {
	if bytes.IndexByte(line, '\r') >= 0 {
		h.Quirks |= BareCR
	}
	if line[0] == ' ' || line[0] == '\t' { // section 5.2: obs-fold continues the field before
		h.Quirks |= FoldedField
		if more := trimSpace(line); h.n > 0 && len(more) > 0 {
			f := &h.fields[h.n-1]
			end := at + len(bytes.TrimRight(line, " \t\r"))
			if f.from == f.to { // nothing stood on the first line
				f.from = uint16(end - len(more))
			}
			f.to = uint16(end)
		}
		return
	}
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		c.FailAt("field-line", at, wire.ErrInvalid)
		return
	}
	name := bytes.TrimRight(line[:i], " \t")
	if len(name) != i {
		h.Quirks |= SpacedColon
	}
	if !isToken(name) {
		c.FailAt("field-name", at, wire.ErrInvalid)
		return
	}
	if h.n == MaxFields {
		c.FailAt("field-line", at, wire.ErrTooLong)
		return
	}
	value := line[i+1:]
	from := at + i + 1 + len(value) - len(bytes.TrimLeft(value, " \t\r"))
	value = trimSpace(value)
	h.fields[h.n] = fieldSpan{uint16(at), uint16(at + len(name)), uint16(from), uint16(from + len(value))}
	h.n++
}

// Len is the number of fields.
func (h *Head) Len() int { return h.n }

// Field returns the i-th field, in the order of the message.
func (h *Head) Field(i int) Field {
	f := h.fields[i]
	return Field{h.b[f.name:f.colon:f.colon], h.b[f.from:f.to:f.to]}
}

// Get returns the value of the first field of that name, or nil. Names are
// compared without regard to case (RFC 9110 section 5.1).
func (h *Head) Get(name string) []byte {
	for i := range h.n {
		f := h.fields[i]
		if int(f.colon-f.name) == len(name) && equalFold(h.b[f.name:f.colon], name) {
			return h.b[f.from:f.to:f.to]
		}
	}
	return nil
}

// MediaType returns the Content-Type without parameters (RFC 9110 section 8.3.1).
func (h *Head) MediaType() []byte { return mediaType(h.Get("Content-Type")) }

func mediaType(value []byte) []byte {
	t, _, _ := bytes.Cut(value, []byte(";"))
	return trimSpace(t)
}

// equalFold reports whether b is s without regard to ASCII case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t\r") }

// isToken reports whether b is a token (RFC 9110 section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenByte[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// End returns how long the head at the front of b is, its empty line
// included, or -1 while that is still to come. The first `from` bytes are known
// to hold no end, so that a head that arrives in many pieces is looked through once.
func End(b []byte, from int) int {
	for i := max(from-2, 0); i < len(b); { // each turn passes a line end
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
		switch rest := b[i:]; {
		case len(rest) >= 1 && rest[0] == '\n':
			return i + 1
		case len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
	return -1
}
