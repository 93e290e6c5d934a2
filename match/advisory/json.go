// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is read. A CSAF branch costs two levels of JSON and the
// standard's own limit is 30 branches, so that 60 levels and what stands around
// and below them are enough. The largest real documents (vendors of operating
// systems) are 40 MB with under two million values.
const (
	maxDepth      = 80
	maxDocument   = 512 << 20 // bytes
	maxValues     = 4 << 20   // in one document: 128 MB of nodes
	maxStatements = 1 << 20   // products and statements of one Read: some 700 MB
	maxNamed      = 1 << 18   // of one document; ICS advisories have up to 1,300, operating systems some 50,000
	maxLinks      = 1 << 20   // products named by remedies, flags and threats of one document
	maxErrors     = 100       // of one Read
)

// What can be wrong with a document. An [Error] wraps one of these, or says
// more about what the schema of its format asks for.
var (
	ErrSyntax  = errors.New("not JSON")
	ErrDepth   = errors.New("nested too deep")
	ErrTooMany = errors.New("more than is read")
	ErrKind    = errors.New("no kind of advisory that is known here")
	ErrType    = errors.New("value of another type")
	ErrMissing = errors.New("missing")
	ErrInvalid = errors.New("value that is not allowed")
)

// An Error says where a document breaks its schema. It holds no content.
type Error struct {
	Path string // "vulnerabilities[0].scores[1].products"; "[3].id" in the fourth record of several; "" is the whole
	Err  error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return "advisory: " + e.Err.Error()
	}
	return "advisory: " + e.Path + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// A tree is one JSON value, kept as offsets into its source: nothing is copied
// until it is asked for. Its memory is used again for the next value.
type tree struct {
	src   []byte
	nodes []node // [0] stands for what is absent, [1] is the root
	path  string // of the root, where it is one of several
	err   *Error // the first
	links int    // of the document at hand; see maxLinks
	named int    // of the document at hand; see maxNamed
	total int    // see maxStatements
}

type node struct {
	keyStart, keyEnd uint32 // of its name, if it is a member of an object
	start, end       uint32 // between the quotes of a string; else the value
	parent           int32
	next             int32 // sibling, or 0
	first            int32 // child, or 0
	kind             byte  // '{', '[', '"', '0', 't', 'f', 'n'
	escaped          bool  // the string holds a backslash
}

// parse reads the value at off and returns where it ends. With keep false it
// only passes over it.
func (t *tree) parse(src []byte, off int, keep bool) (int, error) {
	t.src, t.err, t.links, t.named = src, nil, 0, 0
	t.nodes = append(t.nodes[:0], node{})
	if keep {
		t.nodes = append(t.nodes, node{})
	}
	return t.value(space(src, off), len(t.nodes)-1, 0, keep)
}

func space(b []byte, off int) int {
	for off < len(b) && (b[off] == ' ' || b[off] == '\n' || b[off] == '\r' || b[off] == '\t') {
		off++
	}
	return off
}

func (t *tree) value(off, at, depth int, keep bool) (int, error) {
	b := t.src
	if off >= len(b) {
		return off, t.syntax(at, ErrSyntax)
	}
	kind, end, start, escaped := b[off], off, off, false
	switch kind {
	case '{', '[':
		if depth == maxDepth {
			return off, t.syntax(at, ErrDepth)
		}
		if keep {
			t.nodes[at].kind = kind
		}
		return t.children(off+1, at, depth+1, kind, keep)
	case '"':
		start = off + 1
		if end, escaped = quoted(b, start); end < 0 {
			return off, t.syntax(at, ErrSyntax)
		}
		off = end + 1
	case 't', 'f', 'n':
		word := "true"
		if kind == 'f' {
			word = "false"
		} else if kind == 'n' {
			word = "null"
		}
		end = off + len(word)
		if end > len(b) || string(b[off:end]) != word {
			return off, t.syntax(at, ErrSyntax)
		}
		off = end
	default:
		if end = number(b, off); end < 0 {
			return off, t.syntax(at, ErrSyntax)
		}
		kind, off = '0', end
	}
	if keep {
		n := &t.nodes[at]
		n.kind, n.start, n.end, n.escaped = kind, uint32(start), uint32(end), escaped
	}
	return off, nil
}

func (t *tree) children(off, parent, depth int, kind byte, keep bool) (int, error) {
	b := t.src
	closing := byte(']')
	if kind == '{' {
		closing = '}'
	}
	last, at := 0, 0
	for first := true; ; first = false {
		off = space(b, off)
		if off >= len(b) {
			return off, t.syntax(parent, ErrSyntax)
		}
		if b[off] == closing && first {
			return off + 1, nil
		}
		if !first {
			switch b[off] {
			case closing:
				return off + 1, nil
			case ',':
				off = space(b, off+1)
			default:
				return off, t.syntax(parent, ErrSyntax)
			}
		}
		if keep {
			if len(t.nodes) > maxValues {
				return off, t.syntax(parent, ErrTooMany)
			}
			at = len(t.nodes)
			t.nodes = append(t.nodes, node{parent: int32(parent)})
			if last == 0 {
				t.nodes[parent].first = int32(at)
			} else {
				t.nodes[last].next = int32(at)
			}
			last = at
		}
		if kind == '{' {
			if off >= len(b) || b[off] != '"' {
				return off, t.syntax(parent, ErrSyntax)
			}
			end, _ := quoted(b, off+1)
			if end < 0 {
				return off, t.syntax(parent, ErrSyntax)
			}
			if keep {
				t.nodes[at].keyStart, t.nodes[at].keyEnd = uint32(off+1), uint32(end)
			}
			if off = space(b, end+1); off >= len(b) || b[off] != ':' {
				return off, t.syntax(parent, ErrSyntax)
			}
			off++
		}
		var err error
		if off, err = t.value(space(b, off), at, depth, keep); err != nil {
			return off, err
		}
	}
}

// syntax is the error of a value that could not be read to its end.
func (t *tree) syntax(at int, err error) error { return &Error{value{t, int32(at)}.path(), err} }

// quoted returns the offset of the quote that ends a string, or -1.
func quoted(b []byte, off int) (end int, escaped bool) {
	for off < len(b) {
		switch c := b[off]; {
		case c == '"':
			return off, escaped
		case c < 0x20: // RFC 8259 §7
			return -1, false
		case c == '\\':
			escaped = true
			if off++; off >= len(b) {
				return -1, false
			}
			if b[off] == 'u' {
				for i := 1; i <= 4; i++ {
					if off+i >= len(b) || !hexDigit(b[off+i]) {
						return -1, false
					}
				}
				off += 4
			} else if strings.IndexByte(`"\/bfnrt`, b[off]) < 0 {
				return -1, false
			}
		}
		off++
	}
	return -1, false
}

func hexDigit(c byte) bool { return c-'0' < 10 || c|0x20 >= 'a' && c|0x20 <= 'f' }

// number returns where a number ends, or -1: RFC 8259 §6.
func number(b []byte, off int) int {
	digits := func() bool {
		from := off
		for off < len(b) && b[off]-'0' < 10 {
			off++
		}
		return off > from
	}
	if off < len(b) && b[off] == '-' {
		off++
	}
	if off < len(b) && b[off] == '0' {
		off++
	} else if !digits() {
		return -1
	}
	if off < len(b) && b[off] == '.' {
		if off++; !digits() {
			return -1
		}
	}
	if off < len(b) && b[off]|0x20 == 'e' {
		if off++; off < len(b) && (b[off] == '+' || b[off] == '-') {
			off++
		}
		if !digits() {
			return -1
		}
	}
	return off
}

// A value is a place in a tree. What is asked of a value that is absent or null
// is the zero of its type; what is asked of one of another type is, too, and
// the tree remembers it as its error.
type value struct {
	t *tree
	i int32
}

func (t *tree) root() value { return value{t, 1} }

func (v value) node() *node   { return &v.t.nodes[v.i] }
func (v value) kind() byte    { return v.t.nodes[v.i].kind }
func (v value) present() bool { k := v.kind(); return k != 0 && k != 'n' }

func (v value) fail(err error) {
	if v.t.err == nil {
		v.t.err = &Error{v.path(), err}
	}
}

// admit counts one more product or statement, said at v.
func (v value) admit() bool {
	v.t.total++
	v.t.named++
	room := v.t.total <= maxStatements && v.t.named <= maxNamed
	if !room {
		v.fail(ErrTooMany)
	}
	return room
}

// want reports whether v is of a kind, and fails if it is of another.
func (v value) want(kind byte) bool {
	if v.kind() == kind {
		return true
	}
	if v.present() {
		v.fail(ErrType)
	}
	return false
}

// get returns a member of an object. Of a name that is there twice the first counts.
func (v value) get(name string) value {
	if v.want('{') {
		for c := v.first(); c.i != 0; c = c.next() {
			if string(c.key()) == name {
				return c
			}
		}
	}
	return value{v.t, 0}
}

// need is get for a member without which the document cannot be read.
func (v value) need(name string) value {
	m := v.get(name)
	if !m.present() && v.t.err == nil {
		path := v.path()
		if path != "" {
			path += "."
		}
		v.t.err = &Error{path + name, ErrMissing}
	}
	return m
}

// list returns the first element of an array; next leads through the others.
func (v value) list() value {
	if !v.want('[') {
		return value{v.t, 0}
	}
	return v.first()
}

func (v value) ok() bool     { return v.i != 0 }
func (v value) first() value { return value{v.t, v.node().first} }
func (v value) next() value  { return value{v.t, v.node().next} }
func (v value) key() []byte  { n := v.node(); return v.t.src[n.keyStart:n.keyEnd] }

func (v value) is(s string) bool {
	n := v.node()
	if n.kind == '"' && !n.escaped {
		return string(v.t.src[n.start:n.end]) == s
	}
	return n.kind == '"' && v.str() == s
}

func (v value) str() string {
	if !v.want('"') {
		return ""
	}
	n := v.node()
	b := v.t.src[n.start:n.end]
	if n.escaped {
		b = unescape(b)
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(b)
}

// strs returns an array of strings. They share one piece of memory where they
// can: some records list a thousand versions.
func (v value) strs() []string {
	first := v.list()
	if !first.ok() {
		return nil
	}
	n, last, simple := 0, first, true
	for s := first; s.ok(); s = s.next() {
		n, last = n+1, s
		simple = simple && s.kind() == '"' && !s.node().escaped
	}
	all := make([]string, 0, n)
	start, end := first.node().start, last.node().end
	if simple = simple && utf8.Valid(v.t.src[start:end]); simple {
		text := string(v.t.src[start:end])
		for s := first; s.ok(); s = s.next() {
			all = append(all, text[s.node().start-start:s.node().end-start])
		}
		return all
	}
	for s := first; s.ok(); s = s.next() {
		all = append(all, s.str())
	}
	return all
}

// unescape undoes what quoted has checked.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		i++
		switch b[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(b[i+1:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 < len(b) && b[i+1] == '\\' && b[i+2] == 'u' {
				if both := utf16.DecodeRune(r, hex4(b[i+3:])); both != utf8.RuneError {
					r = both
					i += 6
				}
			}
			out = utf8.AppendRune(out, r) // a lone surrogate becomes U+FFFD
		default:
			out = append(out, b[i])
		}
	}
	return out
}

func hex4(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 32)
	return rune(n)
}

// num returns a number, or -1 if there is none.
func (v value) num() float64 {
	if !v.want('0') {
		return -1
	}
	n := v.node()
	f, err := strconv.ParseFloat(string(v.t.src[n.start:n.end]), 64)
	if err != nil {
		v.fail(ErrInvalid)
	}
	return f
}

// when returns a time. One that cannot be read is zero: some feeds leave out
// the zone, which is UTC then.
func (v value) when() time.Time {
	s := v.str()
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// path says where v is. A name that is no plain word is not repeated.
func (v value) path() string {
	var steps []string
	for i := v.i; i > 1; i = v.t.nodes[i].parent {
		n := v.t.nodes[i]
		if v.t.nodes[n.parent].kind == '[' {
			index := 0
			for s := v.t.nodes[n.parent].first; s != 0 && s != i; s = v.t.nodes[s].next {
				index++
			}
			steps = append(steps, "["+strconv.Itoa(index)+"]")
			continue
		}
		name := string(v.t.src[n.keyStart:n.keyEnd])
		if !plain(name) {
			name = "?"
		}
		if n.parent > 1 || v.t.path != "" {
			name = "." + name
		}
		steps = append(steps, name)
	}
	slices.Reverse(steps)
	return v.t.path + strings.Join(steps, "")
}

func plain(name string) bool {
	if name == "" || len(name) > 40 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c != '_' && c != '-' && c != '$' && c != '@' && c-'0' >= 10 && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
