// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"unicode/utf8"
)

// The bounds of [XML]. The deepest message of IEEE 11073 SDC or FHIR R4 known
// to us nests 20 elements; the widest element has 30 attributes and declares
// 20 namespaces.
const (
	MaxXMLDepth      = 64
	MaxXMLAttrs      = 64
	MaxXMLNamespaces = 128 // in scope at one time
)

// An XMLKind is what an [XML] reader stands on.
type XMLKind uint8

// The kinds of token. Comments and processing instructions are passed over.
const (
	XMLNone XMLKind = iota
	XMLStart
	XMLEnd
	XMLText
)

// XML reads a document in XML 1.0 (fifth edition) with namespaces, one token
// at a time, from a slice that holds UTF-8. It is stricter than the standard
// where the standard is dangerous: a document type declaration is refused, so
// there is nothing to expand but the five predefined entities and character
// references, and those only when [AppendXMLText] is asked to. Nesting,
// attributes and namespaces are bounded. It does not check that names hold
// only name characters or that text is valid UTF-8.
//
// The zero XML reads nothing; call [XML.Reset]. It allocates nothing, and its
// slices alias the input.
type XML struct {
	c     Cursor
	kind  XMLKind
	start int // offset of the token

	space, local []byte // of the element started or ended
	text         []byte
	raw          bool // text came from a CDATA section: nothing in it is a reference
	empty        bool // the element is <a/>: its end has still to be told
	rooted       bool // the root element has been seen

	depth int
	open  [MaxXMLDepth]xmlElement
	nattr int
	attrs [MaxXMLAttrs]xmlAttr
	nns   int
	ns    [MaxXMLNamespaces]xmlBinding
}

// Offsets instead of slices keep the reader small enough for a stack.
type xmlSpan struct{ from, to int32 }

type xmlElement struct {
	name xmlSpan
	nns  int32 // namespaces in scope before this element
}

type xmlAttr struct{ prefix, local, value xmlSpan }

type xmlBinding struct{ prefix, uri xmlSpan }

var xmlNamespace = []byte("http://www.w3.org/XML/1998/namespace") // read only

// Reset makes x read b. Errors name proto. What is longer than 2^31-1 bytes is
// refused.
func (x *XML) Reset(proto string, b []byte) {
	x.c = NewCursor(proto, b)
	x.kind, x.start = XMLNone, 0
	x.space, x.local, x.text = nil, nil, nil
	x.raw, x.empty, x.rooted = false, false, false
	x.depth, x.nattr, x.nns = 0, 0, 0
	if len(b) > 1<<31-1 {
		x.c.Fail("document", ErrTooLong)
	}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) { // XML 1.0 appendix F: a byte order mark
		x.c.Skip("byte order mark", 3)
	}
}

// Kind is the kind of the token that Next moved to.
func (x *XML) Kind() XMLKind { return x.kind }

// Space is the namespace name of the element started or ended; empty is none.
func (x *XML) Space() []byte { return x.space }

// Local is the local part of the name of the element started or ended.
func (x *XML) Local() []byte { return x.local }

// Is reports whether the element started or ended has this expanded name.
func (x *XML) Is(space, local string) bool {
	return string(x.local) == local && string(x.space) == space
}

// Text is the character data at an XMLText, as it stands in the document.
func (x *XML) Text() []byte { return x.text }

// Raw reports whether Text came from a CDATA section.
func (x *XML) Raw() bool { return x.raw }

// Depth is the number of elements open: 1 at the start and 0 at the end of the root.
func (x *XML) Depth() int { return x.depth }

// Off is where the token begins, in bytes from the start.
func (x *XML) Off() int { return x.start }

// Err is the first failure, as a *[SyntaxError]. It wraps [ErrTruncated] when
// the document merely ends too early.
func (x *XML) Err() error { return x.c.Err() }

// Next moves to the next token. It returns false at the end of the document
// and at the first failure.
func (x *XML) Next() bool {
	x.text, x.raw = nil, false
	if x.empty { // the end of <a/>
		x.empty = false
		x.kind = XMLEnd
		x.pop()
		return true
	}
	for x.c.Ok() { // each turn reads at least one byte
		x.start = x.c.off
		rest := x.c.b[x.c.off:]
		if len(rest) == 0 {
			if x.depth > 0 || !x.rooted {
				x.c.Fail("document", ErrTruncated)
			}
			break
		}
		if rest[0] != '<' {
			n := bytes.IndexByte(rest, '<')
			if n < 0 {
				if x.depth > 0 {
					x.c.FailAt("character data", len(x.c.b), ErrTruncated)
					break
				}
				n = len(rest)
			}
			x.text = x.c.Bytes("character data", n)
			if x.depth > 0 {
				x.kind = XMLText
				return true
			}
			if len(trimXML(x.text)) > 0 { // XML 1.0 section 2.1: no text outside the root
				x.c.FailAt("document", x.start, ErrTrailing)
			}
			continue
		}
		if len(rest) < 2 {
			x.c.Fail("markup", ErrTruncated)
			break
		}
		switch rest[1] {
		case '?':
			x.through("processing instruction", "?>")
		case '!':
			if x.declaration(rest) {
				x.kind = XMLText
				return true
			}
		case '/':
			return x.endTag()
		default:
			return x.startTag()
		}
	}
	x.kind = XMLNone
	return false
}

// through reads up to and with the mark.
func (x *XML) through(field, mark string) []byte {
	n := bytes.Index(x.c.b[x.c.off:], []byte(mark))
	if n < 0 {
		x.c.FailAt(field, len(x.c.b), ErrTruncated)
		return nil
	}
	return x.c.Bytes(field, n+len(mark))
}

// declaration passes over a comment, or reads a CDATA section and returns true.
func (x *XML) declaration(rest []byte) bool {
	const comment, cdata = "<!--", "<![CDATA["
	switch {
	case bytes.HasPrefix(rest, []byte(comment)):
		x.c.Skip("comment", len(comment))
		x.through("comment", "-->")
	case bytes.HasPrefix(rest, []byte(cdata)) && x.depth > 0:
		x.c.Skip("CDATA section", len(cdata))
		t := x.through("CDATA section", "]]>")
		if !x.c.Ok() {
			return false
		}
		n := len(t) - len("]]>")
		x.text, x.raw = t[:n:n], true
		return true
	case bytes.HasPrefix([]byte(comment), rest), bytes.HasPrefix([]byte(cdata), rest):
		x.c.Fail("markup", ErrTruncated)
	default:
		// A document type declaration: entities defined there expand without
		// bound and name files.
		x.c.Fail("document type declaration", ErrInvalid)
	}
	return false
}

func (x *XML) endTag() bool {
	t := x.through("end tag", ">")
	if !x.c.Ok() {
		x.kind = XMLNone
		return false
	}
	name := bytes.TrimRight(t[2:len(t)-1], " \t\r\n")
	if x.depth == 0 || !bytes.Equal(name, x.span(x.open[x.depth-1].name)) { // XML 1.0 section 3: element type match
		x.c.FailAt("end tag", x.start, ErrInvalid)
		x.kind = XMLNone
		return false
	}
	x.kind = XMLEnd
	x.pop()
	return true
}

// pop closes the innermost element. Its name stays in Space and Local.
func (x *XML) pop() {
	x.depth--
	e := x.open[x.depth]
	x.nattr = 0
	x.resolve(e.name)
	x.nns = int(e.nns)
}

func (x *XML) startTag() bool {
	x.kind = XMLNone
	if x.depth == MaxXMLDepth {
		x.c.Fail("element", ErrTooDeep)
		return false
	}
	if x.depth == 0 && x.rooted {
		x.c.Fail("document", ErrTrailing)
		return false
	}
	x.c.off++
	e := xmlElement{name: x.name("element name"), nns: int32(x.nns)}
	x.nattr = 0
	for x.c.Ok() { // each turn reads an attribute or ends the tag
		spaced := x.blank()
		switch c := x.c.Uint8("start tag"); {
		case !x.c.Ok():
			return false
		case c == '>', c == '/':
			if c == '/' {
				if x.c.Uint8("start tag") != '>' {
					if x.c.Ok() {
						x.c.FailAt("start tag", x.c.off-1, ErrInvalid)
					}
					return false
				}
				x.empty = true
			}
			if !x.checkAttrs() || !x.resolve(e.name) {
				x.c.FailAt("namespace prefix", x.start, ErrInvalid)
				return false
			}
			x.open[x.depth] = e
			x.depth++
			x.rooted = true
			x.kind = XMLStart
			return true
		case !spaced:
			x.c.FailAt("start tag", x.c.off-1, ErrInvalid)
			return false
		default:
			x.c.off--
			x.attr()
		}
	}
	return false
}

// name reads up to a byte that cannot be in a name.
func (x *XML) name(field string) xmlSpan {
	from := x.c.off
	b := x.c.b
	i := from
	for i < len(b) && !xmlDelimiter[b[i]] {
		i++
	}
	x.c.off = i
	switch {
	case i == len(b):
		x.c.Fail(field, ErrTruncated)
	case i == from:
		x.c.Fail(field, ErrInvalid)
	}
	return xmlSpan{int32(from), int32(i)}
}

var xmlDelimiter = [256]bool{
	' ': true, '\t': true, '\r': true, '\n': true, '<': true, '>': true, '/': true,
	'=': true, '"': true, '\'': true, '&': true, 0: true,
}

// blank passes over white space and reports whether there was any.
func (x *XML) blank() bool {
	b, i := x.c.b, x.c.off
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	spaced := i > x.c.off
	x.c.off = i
	return spaced
}

// attr reads one attribute, which may be a namespace declaration.
func (x *XML) attr() {
	at := x.c.off
	n := x.name("attribute name")
	x.blank()
	if x.c.Uint8("attribute") != '=' {
		x.c.FailAt("attribute", x.c.off, ErrInvalid)
	}
	x.blank()
	q := x.c.Uint8("attribute")
	if x.c.Ok() && q != '"' && q != '\'' {
		x.c.FailAt("attribute", x.c.off-1, ErrInvalid)
	}
	if !x.c.Ok() {
		return
	}
	from := x.c.off
	end := bytes.IndexByte(x.c.b[from:], q)
	if end < 0 {
		x.c.FailAt("attribute value", len(x.c.b), ErrTruncated)
		return
	}
	v := xmlSpan{int32(from), int32(from + end)}
	x.c.off = from + end + 1
	if bytes.IndexByte(x.span(v), '<') >= 0 { // XML 1.0 section 3.1: no < in attribute values
		x.c.FailAt("attribute value", from, ErrInvalid)
		return
	}
	prefix, local := x.split(n)
	switch {
	case string(x.span(prefix)) == "xmlns":
		x.bind(at, xmlBinding{local, v})
	case prefix.from == prefix.to && string(x.span(local)) == "xmlns":
		x.bind(at, xmlBinding{prefix, v})
	case x.nattr == MaxXMLAttrs:
		x.c.FailAt("attribute", at, ErrTooLong)
	default:
		for _, a := range x.attrs[:x.nattr] { // XML 1.0 section 3.1: unique attribute names
			if bytes.Equal(x.span(a.local), x.span(local)) && bytes.Equal(x.span(a.prefix), x.span(prefix)) {
				x.c.FailAt("attribute", at, ErrInvalid)
				return
			}
		}
		x.attrs[x.nattr] = xmlAttr{prefix, local, v}
		x.nattr++
	}
}

func (x *XML) bind(at int, b xmlBinding) {
	if x.nns == MaxXMLNamespaces {
		x.c.FailAt("namespace declaration", at, ErrTooLong)
		return
	}
	x.ns[x.nns] = b
	x.nns++
}

// split cuts a qualified name at its first colon.
func (x *XML) split(n xmlSpan) (prefix, local xmlSpan) {
	if i := bytes.IndexByte(x.span(n), ':'); i >= 0 {
		return xmlSpan{n.from, n.from + int32(i)}, xmlSpan{n.from + int32(i) + 1, n.to}
	}
	return xmlSpan{n.from, n.from}, n
}

// resolve sets Space and Local from a qualified name.
func (x *XML) resolve(n xmlSpan) bool {
	prefix, local := x.split(n)
	var ok bool
	x.local = x.span(local)
	x.space, ok = x.uri(x.span(prefix))
	return ok
}

// uri looks up a prefix; the innermost declaration wins.
func (x *XML) uri(prefix []byte) ([]byte, bool) {
	for i := x.nns - 1; i >= 0; i-- {
		if bytes.Equal(x.span(x.ns[i].prefix), prefix) {
			return x.span(x.ns[i].uri), true
		}
	}
	if string(prefix) == "xml" { // Namespaces in XML 1.0 section 3
		return xmlNamespace, true
	}
	return nil, len(prefix) == 0
}

// checkAttrs reports whether every attribute's prefix is declared.
func (x *XML) checkAttrs() bool {
	for _, a := range x.attrs[:x.nattr] {
		if a.prefix.from != a.prefix.to {
			if _, ok := x.uri(x.span(a.prefix)); !ok {
				return false
			}
		}
	}
	return true
}

func (x *XML) span(s xmlSpan) []byte { return x.c.b[s.from:s.to:s.to] }

// Attr returns the value of an attribute of the element just started, as it
// stands in the document, or nil. An attribute without prefix has no
// namespace (Namespaces in XML 1.0 section 6.2). The value of an attribute
// that is there but empty is not nil.
func (x *XML) Attr(space, local string) []byte {
	if x.kind != XMLStart {
		return nil
	}
	for _, a := range x.attrs[:x.nattr] {
		if string(x.span(a.local)) != local {
			continue
		}
		var uri []byte
		if a.prefix.from != a.prefix.to {
			uri, _ = x.uri(x.span(a.prefix))
		}
		if string(uri) == space {
			return x.span(a.value)
		}
	}
	return nil
}

// Resolve returns the namespace name and the local part of a qualified name
// that stands in content, such as the value of xsi:type.
func (x *XML) Resolve(qname []byte) (space, local []byte) {
	if i := bytes.IndexByte(qname, ':'); i >= 0 {
		space, _ = x.uri(qname[:i])
		return space, qname[i+1:]
	}
	space, _ = x.uri(nil)
	return space, qname
}

// Skip passes over the content and the end of the element just started.
func (x *XML) Skip() {
	for d := x.depth - 1; x.depth > d && x.Next(); {
	}
}

// Content reads the element just started to its end and returns its first
// character data that is not white space, trimmed, as it stands in the
// document. Elements inside are passed over.
func (x *XML) Content() []byte {
	var t []byte
	own := x.depth
	for x.depth >= own && x.Next() {
		if x.kind == XMLText && x.depth == own && len(t) == 0 {
			t = trimXML(x.text)
		}
	}
	return t
}

func trimXML(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// AppendXMLText appends character data or an attribute value with its
// references replaced. One that is not predefined or not a character (XML 1.0
// section 4.1) is left as it stands.
func AppendXMLText(dst, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			return append(dst, text...)
		}
		dst, text = append(dst, text[:i]...), text[i:]
		end := bytes.IndexByte(text[:min(len(text), maxReference)], ';')
		var r rune = -1
		if end > 0 {
			r = reference(text[1:end])
		}
		if r < 0 {
			dst, text = append(dst, '&'), text[1:]
			continue
		}
		dst, text = utf8.AppendRune(dst, r), text[end+1:]
	}
	return dst
}

// "&#x0010FFFF;" with room to spare.
const maxReference = 16

// reference returns the character that a reference names, or -1.
func reference(name []byte) rune {
	switch string(name) {
	case "amp":
		return '&'
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	if len(name) < 2 || name[0] != '#' {
		return -1
	}
	base, digits := rune(10), name[1:]
	if digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	if len(digits) == 0 {
		return -1
	}
	r := rune(0)
	for _, d := range digits {
		var v rune
		switch {
		case d >= '0' && d <= '9':
			v = rune(d - '0')
		case base == 16 && d|0x20 >= 'a' && d|0x20 <= 'f':
			v = rune(d|0x20-'a') + 10
		default:
			return -1
		}
		if r = r*base + v; r > utf8.MaxRune {
			return -1
		}
	}
	if r == 0 || !utf8.ValidRune(r) {
		return -1
	}
	return r
}
