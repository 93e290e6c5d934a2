// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

const (
	maxAttributes = 64  // of one element: each is compared with the others
	maxBindings   = 128 // namespaces in force: an element looks for its own among them
	cyclonedxBOM  = "http://cyclonedx.org/schema/bom/"
)

var (
	errDoctype   = errors.New("document type declarations are not read")
	errEntity    = errors.New("an entity that XML does not define")
	errEncoding  = errors.New("an encoding other than UTF-8")
	errUnbound   = errors.New("a prefix without a namespace")
	errTag       = errors.New("an end tag that does not fit")
	errText      = errors.New("text where elements are asked for")
	errElement   = errors.New("elements where text is asked for")
	errNamespace = errors.New("not a namespace of CycloneDX 1.1 to 1.7")
)

// xmlState is what the reader of XML remembers. It reads the subset of XML 1.0
// and of Namespaces in XML that documents are written in: UTF-8, no document
// type, hence no entities but the five of XML itself.
type xmlState struct {
	isXML     bool
	names     []byte // qualified names of the open elements, one after the other
	starts    []int  // where each begins
	bound     []binding
	tag       tag
	chars     []byte
	unescaped []byte // the last attribute with references in it
}

// A binding is one namespace declaration.
type binding struct {
	prefix string
	minor  int // of CycloneDX 1.x, or foreign
	depth  int // of the element that declares it
}

const foreign = -1

// A tag is a start tag. Its slices are valid until the window moves.
type tag struct {
	local []byte
	minor int // of its namespace; 0 without one
	attrs []attribute
	empty bool
}

type attribute struct{ name, value []byte }

// A markup is what comes next inside an element.
type markup uint8

const (
	atEnd markup = iota
	atStart
	atEOF
)

// xmlDocument reads a whole document.
func (r *reader) xmlDocument(shapes map[string]*shape) error {
	r.isXML = true
	m, err := r.markup(false)
	if err != nil {
		return r.fail(err)
	}
	if m != atStart {
		return r.fail(errTruncated)
	}
	if string(r.tag.local) != "bom" || r.tag.minor == 0 {
		return r.fail(errNotSBOM)
	}
	if r.tag.minor == foreign || r.supported>>r.tag.minor&1 == 0 {
		return r.fail(errNamespace)
	}
	r.doc.SpecVersion = "1." + string(rune('0'+r.tag.minor))
	if err := r.follows(r.tag.minor); err != nil {
		return err
	}
	if err := r.elements(shapes["bom"]); err != nil {
		return err
	}
	m, err = r.markup(false)
	if err == nil && m != atEOF {
		err = errTrailing
	}
	if err != nil {
		return r.fail(err)
	}
	return nil
}

// ours reports whether the element of r.tag is one of CycloneDX. Those of other
// namespaces may stand anywhere and are passed over.
func (r *reader) ours() bool { return r.tag.minor == r.minor }

// element reads the element whose start tag is r.tag, as field f.
func (r *reader) element(f *field) error {
	h := f.hook
	if h == nil {
		h = &hook{}
	}
	call := func(f func(*reader) error) error {
		if f == nil {
			return nil
		}
		return f(r)
	}
	switch {
	case f.object != nil:
		for _, before := range []func(*reader) error{h.first, h.begin} {
			if err := call(before); err != nil {
				return err
			}
		}
		if err := r.elements(f.object); err != nil {
			return err
		}
		if err := call(h.end); err != nil {
			return err
		}
		return call(h.last)
	case f.item != nil:
		if err := call(h.first); err != nil {
			return err
		}
		if err := r.wrapped(f); err != nil {
			return err
		}
		return call(h.last)
	case f.kind == anything:
		if err := r.pass(); err != nil {
			return r.fail(err)
		}
		return nil
	}
	if err := r.characters(); err != nil {
		return err
	}
	return r.scalar(f, bytes.TrimSpace(r.chars), false)
}

// characters reads an element that holds text alone into r.chars.
func (r *reader) characters() error {
	r.chars = r.chars[:0]
	if r.tag.empty {
		return r.closed()
	}
	for {
		m, err := r.markup(true)
		if err != nil {
			return r.fail(err)
		}
		if m == atEnd {
			return nil
		}
		if r.ours() {
			return r.fail(errElement)
		}
		if err := r.pass(); err != nil {
			return r.fail(err)
		}
	}
}

// wrapped reads a list with an element around it.
func (r *reader) wrapped(f *field) error {
	if r.tag.empty {
		return r.closed()
	}
	at := len(r.path) - 1
	for i := 0; ; {
		m, err := r.child(-1)
		if err != nil {
			return err
		}
		if m == atEnd {
			r.path[at].index = -1
			return nil
		}
		if string(r.tag.local) != f.child {
			return r.fail(errUnknown)
		}
		r.path[at].index = i
		if err := r.element(f.item); err != nil {
			return err
		}
		i++
	}
}

// child goes to the next element of CycloneDX or to the end of the one that is
// read. text is the field that text belongs to, or -1.
func (r *reader) child(text int) (markup, error) {
	for {
		m, err := r.markup(text >= 0)
		if err != nil {
			return m, r.fail(err)
		}
		if m == atEnd || r.ours() {
			return m, nil
		}
		if err := r.pass(); err != nil {
			return m, r.fail(err)
		}
	}
}

// elements reads the element of r.tag by its shape.
func (r *reader) elements(s *shape) error {
	if s.since != everyVersion {
		if err := r.deny(^s.since, errVersion); err != nil {
			return err
		}
	}
	var seen uint64
	r.path = append(r.path, step{index: -1})
	at := len(r.path) - 1
	for _, a := range r.tag.attrs {
		i, known := s.attrs[string(a.name)]
		if !known {
			continue // XML Schema: anyAttribute
		}
		f := &s.fields[i]
		r.path[at].key = f.key
		seen |= 1 << i
		if f.since>>r.minor&1 == 0 {
			continue // likewise
		}
		v, err := r.unescape(a.value)
		if err != nil {
			return r.fail(err)
		}
		if err := r.scalar(f, v, false); err != nil {
			return err
		}
	}
	if s.text >= 0 {
		r.chars = r.chars[:0]
	}
	var counts [64]int32
	for empty := r.tag.empty; !empty; {
		r.path[at] = step{index: -1}
		m, err := r.child(s.text)
		if err != nil {
			return err
		}
		if m == atEnd {
			break
		}
		i, known := s.elems[string(r.tag.local)]
		if !known {
			return r.fail(errUnknown)
		}
		f := &s.fields[i]
		r.path[at].key = f.key
		if f.since>>r.minor&1 == 0 {
			return r.fail(errVersion)
		}
		if f.repeated {
			r.path[at].index = int(counts[i])
			counts[i]++
			f = f.item
		} else if seen>>i&1 == 1 {
			return r.fail(errDuplicate)
		}
		seen |= 1 << i
		if err := r.element(f); err != nil {
			return err
		}
	}
	if r.tag.empty {
		if err := r.closed(); err != nil {
			return err
		}
	}
	if s.text >= 0 {
		r.path[at] = step{index: -1}
		if err := r.scalar(&s.fields[s.text], bytes.TrimSpace(r.chars), false); err != nil {
			return err
		}
	}
	r.path = r.path[:at]
	return r.complete(s, seen, true)
}

// pass reads the element of r.tag and drops it.
func (r *reader) pass() error {
	if r.tag.empty {
		return r.closed()
	}
	for depth := len(r.starts); len(r.starts) >= depth; {
		m, err := r.markup(true)
		if err != nil {
			return err
		}
		if m == atStart && r.tag.empty {
			if err := r.closed(); err != nil {
				return err
			}
		}
		r.chars = r.chars[:0]
	}
	return nil
}

// closed takes the open element off the stack.
func (r *reader) closed() error {
	n := len(r.starts)
	if n == 0 {
		return errTag
	}
	r.names = r.names[:r.starts[n-1]]
	r.starts = r.starts[:n-1]
	for len(r.bound) > 0 && r.bound[len(r.bound)-1].depth == n {
		r.bound = r.bound[:len(r.bound)-1]
	}
	r.tag.empty = false
	return nil
}

// markup reads up to the next start or end tag. Text is appended to r.chars
// when it is asked for, and otherwise must be white space.
func (r *reader) markup(text bool) (markup, error) {
	for {
		if r.pos == r.end && !r.more() {
			if len(r.starts) == 0 && errors.Is(r.why(), errTruncated) {
				return atEOF, nil
			}
			return 0, r.why()
		}
		if r.buf[r.pos] != '<' {
			if err := r.run(text); err != nil {
				return 0, err
			}
			continue
		}
		if !r.have(2) {
			return 0, r.why()
		}
		switch r.buf[r.pos+1] {
		case '/':
			return atEnd, r.endTag()
		case '?':
			if err := r.instruction(); err != nil {
				return 0, err
			}
		case '!':
			if err := r.declaration(text); err != nil {
				return 0, err
			}
		default:
			return atStart, r.startTag()
		}
	}
}

// run reads text up to the next '<'.
func (r *reader) run(text bool) error {
	b := r.buf[r.pos:r.end]
	n := bytes.IndexByte(b, '<')
	if n < 0 {
		n = len(b)
		// A reference or a character may be cut by the window's end.
		if i := bytes.LastIndexByte(b, '&'); i >= 0 && len(b)-i < 12 && bytes.IndexByte(b[i:], ';') < 0 || !utf8.Valid(b[max(0, len(b)-4):]) {
			if r.more() {
				return nil
			}
		}
	}
	b = b[:n]
	if !text {
		if len(bytes.TrimLeft(b, " \t\r\n")) > 0 {
			return errText
		}
		r.pos += n
		return nil
	}
	v, err := r.unescape(b)
	if err != nil {
		return err
	}
	if len(r.chars)+len(v) > maxToken {
		return errSize
	}
	r.chars = append(r.chars, v...)
	r.pos += n
	return nil
}

// unescape replaces the references in v. The answer is valid until the next
// call or until the window moves.
func (r *reader) unescape(v []byte) ([]byte, error) {
	refs, high := false, false
	for _, c := range v {
		switch {
		case c == '&':
			refs = true
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r':
			return nil, errSyntax
		case c >= 0x80:
			high = true
		}
	}
	if high && !utf8.Valid(v) {
		return nil, errUTF8
	}
	if !refs {
		return v, nil
	}
	r.unescaped = r.unescaped[:0]
	for len(v) > 0 {
		plain, rest, ok := bytes.Cut(v, []byte("&"))
		r.unescaped = append(r.unescaped, plain...)
		if !ok {
			break
		}
		n := bytes.IndexByte(rest[:min(len(rest), 12)], ';')
		if n < 0 {
			return nil, errEntity
		}
		c, ok := reference(rest[:n])
		if !ok {
			return nil, errEntity
		}
		r.unescaped = utf8.AppendRune(r.unescaped, c)
		v = rest[n+1:]
	}
	return r.unescaped, nil
}

// reference is the character that a reference stands for.
func reference(name []byte) (rune, bool) {
	switch string(name) {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := bytes.CutPrefix(name, []byte("#"))
	if !ok || len(digits) == 0 {
		return 0, false
	}
	base := rune(10)
	if hex, ok := bytes.CutPrefix(digits, []byte("x")); ok {
		digits, base = hex, 16
	}
	var c rune
	for _, b := range digits {
		d, ok := hexDigit(b)
		if !ok || rune(d) >= base {
			return 0, false
		}
		if c = c*base + rune(d); c > utf8.MaxRune {
			return 0, false
		}
	}
	return c, len(digits) > 0 && utf8.ValidRune(c) && (c >= 0x20 || c == '\t' || c == '\n' || c == '\r') && c != 0xfffe && c != 0xffff
}

// until makes the window hold everything up to the mark, and returns what
// stands before it, from skip bytes on. It takes all of it.
func (r *reader) until(skip int, mark string) ([]byte, error) {
	n := skip
	for {
		if i := bytes.Index(r.buf[min(r.pos+n, r.end):r.end], []byte(mark)); i >= 0 {
			b := r.buf[r.pos+skip : r.pos+n+i]
			r.pos += n + i + len(mark)
			return b, nil
		}
		n = max(skip, r.end-r.pos-len(mark)+1)
		if !r.more() {
			return nil, r.why()
		}
	}
}

// instruction reads a processing instruction, the XML declaration among them.
func (r *reader) instruction() error {
	first := r.offset() <= 3 // behind a byte order mark at most
	b, err := r.until(2, "?>")
	if err != nil {
		return err
	}
	if decl, ok := bytes.CutPrefix(b, []byte("xml")); ok && (len(decl) == 0 || isSpace(decl[0])) {
		if !first {
			return errSyntax
		}
		if _, enc, ok := bytes.Cut(decl, []byte("encoding")); ok {
			enc = bytes.TrimLeft(enc, " \t\r\n=")
			if len(enc) == 0 {
				return errSyntax
			}
			e, _, _ := strings.Cut(string(enc[1:min(len(enc), 40)]), string(enc[:1]))
			if e = strings.ToLower(e); e != "utf-8" && e != "us-ascii" && e != "ascii" {
				return errEncoding
			}
		}
	}
	return nil
}

// declaration reads a comment or a CDATA section and refuses a document type.
func (r *reader) declaration(text bool) error {
	if r.have(4) && string(r.buf[r.pos:r.pos+4]) == "<!--" {
		_, err := r.until(4, "-->")
		return err
	}
	if r.have(9) && string(r.buf[r.pos:r.pos+9]) == "<![CDATA[" {
		b, err := r.until(9, "]]>")
		if err != nil {
			return err
		}
		if !text && len(bytes.TrimSpace(b)) > 0 {
			return errText
		}
		if !utf8.Valid(b) {
			return errUTF8
		}
		if text && len(r.chars)+len(b) > maxToken {
			return errSize
		}
		if text {
			r.chars = append(r.chars, b...)
		}
		return nil
	}
	return errDoctype
}

func (r *reader) endTag() error {
	b, err := r.until(2, ">")
	if err != nil {
		return err
	}
	n := len(r.starts)
	if n == 0 || !bytes.Equal(bytes.TrimRight(b, " \t\r\n"), r.names[r.starts[n-1]:]) {
		return errTag
	}
	return r.closed()
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// startTag reads a start tag into r.tag.
func (r *reader) startTag() error {
	var quote byte
	n := 1
	for {
		for ; r.pos+n < r.end; n++ {
			c := r.buf[r.pos+n]
			if quote != 0 {
				if c == quote {
					quote = 0
				}
				continue
			}
			if c == '"' || c == '\'' {
				quote = c
			} else if c == '>' {
				break
			} else if c == '<' {
				return errSyntax
			}
		}
		if r.pos+n < r.end {
			break
		}
		if !r.more() {
			return r.why()
		}
	}
	b := r.buf[r.pos+1 : r.pos+n]
	r.pos += n + 1
	t := &r.tag
	t.attrs = t.attrs[:0]
	t.empty = len(b) > 0 && b[len(b)-1] == '/'
	if t.empty {
		b = b[:len(b)-1]
	}
	full, b := xmlName(b)
	if len(full) == 0 {
		return errSyntax
	}
	if len(r.starts) >= maxDepth {
		return errDepth
	}
	r.starts = append(r.starts, len(r.names))
	r.names = append(r.names, full...)
	for {
		trimmed := bytes.TrimLeft(b, " \t\r\n")
		if len(trimmed) == 0 {
			break
		}
		if len(trimmed) == len(b) {
			return errSyntax // no space before an attribute
		}
		var a attribute
		if a.name, b = xmlName(trimmed); len(a.name) == 0 {
			return errSyntax
		}
		b = bytes.TrimLeft(b, " \t\r\n")
		if len(b) == 0 || b[0] != '=' {
			return errSyntax
		}
		b = bytes.TrimLeft(b[1:], " \t\r\n")
		if len(b) < 2 || b[0] != '"' && b[0] != '\'' {
			return errSyntax
		}
		end := bytes.IndexByte(b[1:], b[0])
		if end < 0 {
			return errSyntax
		}
		a.value, b = b[1:1+end], b[end+2:]
		if bytes.IndexByte(a.value, '<') >= 0 {
			return errSyntax
		}
		for _, other := range t.attrs {
			if bytes.Equal(other.name, a.name) {
				return errDuplicate
			}
		}
		if len(t.attrs) >= maxAttributes {
			return errTooMany
		}
		t.attrs = append(t.attrs, a)
		if string(a.name) == "xmlns" {
			r.bind("", a.value)
		} else if p, ok := bytes.CutPrefix(a.name, []byte("xmlns:")); ok {
			r.bind(string(p), a.value)
		}
		if len(r.bound) > maxBindings {
			return errTooMany
		}
	}
	prefix, local, ok := bytes.Cut(full, []byte(":"))
	if !ok {
		prefix, local = nil, full
	}
	t.local = local
	t.minor = 0
	for i := len(r.bound) - 1; i >= 0; i-- {
		if r.bound[i].prefix == string(prefix) {
			t.minor = r.bound[i].minor
			return nil
		}
	}
	if len(prefix) > 0 {
		return errUnbound
	}
	return nil
}

// bind declares a namespace for the element whose name was just pushed.
func (r *reader) bind(prefix string, uri []byte) {
	minor := foreign
	if v, ok := bytes.CutPrefix(uri, []byte(cyclonedxBOM)); ok && len(v) == 3 && v[0] == '1' && v[1] == '.' && '0' <= v[2] && v[2] <= '9' {
		minor = max(foreign, int(v[2]-'0'))
		if minor == 0 {
			minor = foreign // 1.0 is not read
		}
	} else if len(uri) == 0 {
		minor = 0
	}
	r.bound = append(r.bound, binding{prefix, minor, len(r.starts)})
}

// xmlName cuts a name off the front of b. Which letters beyond ASCII may stand
// in one is not checked.
func xmlName(b []byte) (name, rest []byte) {
	for i, c := range b {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c >= 0x80
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '.' && c != ':') {
			return b[:i], b[i:]
		}
	}
	return b, nil
}
