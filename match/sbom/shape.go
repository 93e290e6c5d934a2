// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// versions are some versions of a specification, as bits: 1<<3 is CycloneDX 1.3
// or SPDX 2.3.
type versions uint16

const everyVersion versions = 1<<8 - 1

// A kind is how a value that is no object and no list is spelled.
type kind uint8

const (
	anything kind = iota // well-formed is enough
	text
	integer
	positive
	number
	boolean
	timestamp
	enumeration
	serial          // urn:uuid:...
	mime            // type/subtype
	digest          // hexadecimal, of a length that a hash has
	licence         // an identifier of SPDX's list
	name            // a reference that must be unique in the document
	link            // a reference to a name
	versionText     // of a component, bounded from 1.6 on
	affectedVersion // of a component that a vulnerability affects
	versionRange
	locale // de, or de-CH
	weakness
)

var kinds = map[string]kind{
	"any": anything, "string": text, "int": integer, "positive": positive, "number": number, "bool": boolean,
	"time": timestamp, "serial": serial, "mime": mime, "digest": digest, "licence": licence, "name": name,
	"link": link, "version": versionText, "version1": affectedVersion, "range": versionRange, "locale": locale, "cwe": weakness,
}

// A shape is one kind of object or element: what may stand in it.
type shape struct {
	name   string
	fields []field
	since  versions // where this shape may stand
	open   versions // where members that are not in the table may stand
	groups []group
	keys   map[string]int
	elems  map[string]int // XML
	attrs  map[string]int
	text   int // field that takes an element's text, or -1
}

// A group is fields of which at most one may stand.
type group struct {
	fields uint64   // bits
	must   versions // where one of them must; JSON
	mustX  versions // XML
}

// A field is one member of a shape.
type field struct {
	key      string
	since    versions
	must     versions // where it is required; JSON
	mustXML  versions
	scalar   bool // may be a string, number or literal, of this kind:
	kind     kind
	enum     map[string]versions
	object   *shape // may be an object
	item     *field // may be a list of these
	child    string // XML: name of the elements in the list; "" when they repeat without one around
	repeated bool   // XML
	hook     *hook
}

// A hook is what a reader does with a field. Each may be nil.
type hook struct {
	take       func(*reader, []byte) error // a scalar; the slice is not to be kept
	begin, end func(*reader) error         // around an object, each of a list
	first      func(*reader) error         // before the first of a list, or an XML element that holds it
	last       func(*reader) error         // after the last
}

// parseShapes reads a table of shapes. A line that begins in the first column
// names a shape ("component", "toolset +5", "other = component": the same
// fields under another name). The lines below it are its fields:
//
//	[mode] key type [!] [+N] [-N] [/child] [*]
//
// mode is "j" for JSON alone, "x" for an XML element alone, "a" for an
// attribute (in JSON a member like others), "xa" for an attribute in XML alone,
// "#" (with key "-") for the text of an element. A type is one of kinds, a
// shape, "=a,b,c+5" (one of these words; the last since version x.5), "[type]"
// for a list, or several joined by "|". "!" requires it, "!j" in JSON alone,
// "!3" up to version x.3. +N and -N are the first and last version that have
// it. "/child" names the elements of a list in XML; "*" says that they repeat
// without one around them. Lines "? a b" and "?? a b" ask for exactly one and
// at most one of the fields; with "x+6" XML asks for one from version x.6 on.
//
// The table is ours, so a mistake in it panics at the start.
func parseShapes(table string, hooks map[string]hook) map[string]*shape {
	shapes := map[string]*shape{}
	lines := map[string][]string{} // of each shape
	var order []string
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case line[0] != ' ' && line[0] != '\t':
			s := &shape{name: words[0], since: everyVersion, text: -1, keys: map[string]int{}, elems: map[string]int{}, attrs: map[string]int{}}
			if _, ok := kinds[s.name]; ok || shapes[s.name] != nil {
				panic("sbom: table: two types " + s.name)
			}
			shapes[s.name] = s
			order = append(order, s.name)
			for i, w := range words[1:] {
				switch {
				case w == "=":
					for _, l := range lines[words[i+2]] {
						l = strings.ReplaceAll(l, "["+words[i+2]+"]", "["+s.name+"]")
						lines[s.name] = append(lines[s.name], l)
					}
				case w == "open":
					s.open = everyVersion
				case strings.HasPrefix(w, "open-"):
					s.open = upTo(w[5:])
				case w[0] == '+':
					s.since = from(w[1:])
				}
			}
		default:
			last := order[len(order)-1]
			lines[last] = append(lines[last], line)
		}
	}
	for _, n := range order {
		for _, l := range lines[n] {
			shapes[n].parse(strings.Fields(l), shapes, hooks)
		}
		if len(shapes[n].fields) > 64 {
			panic("sbom: more than 64 fields in " + n)
		}
	}
	for at := range hooks {
		n, key, _ := strings.Cut(at, ".")
		if s := shapes[n]; s == nil || !slices.ContainsFunc(s.fields, func(f field) bool { return f.key == key }) {
			panic("sbom: a hook for " + at)
		}
	}
	return shapes
}

func from(n string) versions { return everyVersion &^ (1<<mustInt(n) - 1) }
func upTo(n string) versions { return 1<<(mustInt(n)+1) - 1 }

func mustInt(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("sbom: table: %q", s))
	}
	return n
}

func (s *shape) parse(words []string, shapes map[string]*shape, hooks map[string]hook) {
	mode := ""
	switch words[0] {
	case "?", "??":
		var g group
		if words[0] == "?" {
			g.must, g.mustX = everyVersion, everyVersion
		}
		for _, k := range words[1:] {
			if strings.HasPrefix(k, "x+") {
				g.mustX = from(k[2:])
				continue
			}
			i, ok := s.keys[k]
			if !ok {
				i, ok = s.elems[k]
			}
			if !ok {
				panic("sbom: table: no field " + k)
			}
			g.fields |= 1 << i
		}
		s.groups = append(s.groups, g)
		return
	case "j", "x", "a", "xa", "#":
		mode, words = words[0], words[1:]
	}
	f := field{key: words[0], since: everyVersion}
	child := ""
	for _, w := range words[2:] {
		switch w[0] {
		case '!':
			m := everyVersion
			w = w[1:]
			json := strings.HasPrefix(w, "j")
			if w = strings.TrimPrefix(w, "j"); strings.HasPrefix(w, "+") {
				m = from(w[1:])
			} else if w != "" {
				m = upTo(w)
			}
			f.must = m
			if !json {
				f.mustXML = m
			}
		case '+':
			f.since &= from(w[1:])
		case '-':
			f.since &= upTo(w[1:])
		case '/':
			child = w[1:]
		case '*':
			f.repeated = true
		default:
			panic("sbom: table: " + w)
		}
	}
	for t := range strings.SplitSeq(words[1], "|") {
		f.is(t, shapes)
	}
	f.child = child
	if f.must &= f.since; f.mustXML != 0 {
		f.mustXML &= f.since
	}
	if h, ok := hooks[s.name+"."+f.key]; ok {
		f.hook = &h
		if f.item != nil {
			f.item.hook = &hook{take: h.take, begin: h.begin, end: h.end}
		}
	}
	i := len(s.fields)
	s.fields = append(s.fields, f)
	if mode == "j" || mode == "a" || mode == "" {
		s.keys[f.key] = i
	}
	if mode == "x" || mode == "" {
		s.elems[f.key] = i
	}
	if mode == "a" || mode == "xa" {
		s.attrs[f.key] = i
	}
	if mode == "#" {
		s.text = i
	}
	if mode == "x" || mode == "xa" || mode == "#" {
		s.fields[i].must = 0
	}
	if mode == "j" {
		s.fields[i].mustXML = 0
	}
}

func (f *field) is(t string, shapes map[string]*shape) {
	switch {
	case t[0] == '=':
		f.scalar, f.kind, f.enum = true, enumeration, map[string]versions{}
		for w := range strings.SplitSeq(t[1:], ",") {
			v := everyVersion
			// A plus sign that is not followed by a single digit belongs to the word.
			if i := strings.LastIndexByte(w, '+'); i > 0 && i == len(w)-2 {
				w, v = w[:i], from(w[i+1:])
			}
			f.enum[w] = v
		}
	case t[0] == '[':
		f.item = &field{key: f.key, since: everyVersion}
		for u := range strings.SplitSeq(t[1:len(t)-1], ";") {
			f.item.is(u, shapes)
		}
	default:
		if k, ok := kinds[t]; ok {
			f.scalar, f.kind = true, k
		} else if f.object = shapes[t]; f.object == nil {
			panic("sbom: table: no type " + t)
		}
	}
}
