// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package strictyaml reads configuration written by people in YAML so that
// whatever is wrong is named with its line and column: plain keys, lists and
// values, nothing else of YAML, no key that is not known, within bounds.
//
// A [Reader]'s first failure sticks, so that reading a file reads like the
// description of its format, and [Reader.Err] is asked once.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/myelin-health/myelin/device"
)

// The bounds of a file. The YAML parser takes time with the square of the
// nesting, which is why that is counted before.
const (
	MaxFileBytes = 64 << 10
	MaxLineBytes = 512 // "- - - -" nests within a line
	MaxNesting   = 6   // of [ and {
	MaxEmpty     = 64  // empty lines in a row: in a block of text they take time with the square of their number
	maxQuoted    = 40  // bytes of the file that an error repeats
)

// A Format is a kind of file.
type Format struct {
	Name   string // what an error calls a file of it, without the article: "dialect"
	Marker string // the line that says that a file is one: "dialect: 1"
}

// An Error says what is wrong in a file, where, and what to do. It repeats no
// word of a file that does not have its format's marker: that is no such file,
// and may be a log of frames or a list of patients.
type Error struct {
	File    string
	Line    int // from 1
	Column  int // from 1
	Problem string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
}

// A Reader reads one file.
type Reader struct {
	file   string
	format Format
	ours   bool // the file says that it is one
	err    *Error
}

// New makes a reader of a file, which errors call file.
func New(file string, f Format) *Reader { return &Reader{file: file, format: f} }

// Err returns the first failure, an *[Error], or nil.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

func (r *Reader) failAt(line, column int, format string, args ...any) {
	if r.err == nil {
		for i, a := range args {
			if _, ok := a.(shown); ok && !r.ours {
				args[i] = "what stands here"
			}
		}
		r.err = &Error{r.file, line, column, fmt.Sprintf(format, args...)}
	}
}

// Fail says what is wrong with a node, unless something was before.
func (r *Reader) Fail(n ast.Node, format string, args ...any) {
	if r.err == nil { // else n may be missing
		p := position(n)
		r.failAt(p.Line, p.Column, format, args...)
	}
}

// position is where a node begins. A block mapping's own token is the colon
// behind its first key.
func position(n ast.Node) *token.Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if n == nil { // a section that is not there
		return &token.Position{Line: 1, Column: 1}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position
	}
	return &token.Position{Line: 1, Column: 1}
}

// A shown is what stands in the file, for an error.
type shown string

// Quoted returns what stands in the file, for the arguments of [Reader.Fail]: it
// is left out where the file may be another.
func Quoted(s string) shown {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "..."
	}
	return shown(strconv.Quote(s))
}

// Declares reports whether a line of a file says that it is of the format.
func (f Format) Declares(line []byte) bool {
	key, value, _ := strings.Cut(f.Marker, ":")
	version, ok := bytes.CutPrefix(line, []byte(key+":"))
	version, _, _ = bytes.Cut(version, []byte("#"))
	return ok && string(bytes.TrimSpace(version)) == strings.TrimSpace(value)
}

// Document parses the one document of a file.
func (r *Reader) Document(src []byte) ast.Node {
	switch {
	case len(src) > MaxFileBytes:
		r.failAt(1, 1, "the file has %d bytes; a %s has at most %d", len(src), r.format.Name, MaxFileBytes)
		return nil
	case !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0:
		r.failAt(1, 1, "this is not text; save the file as UTF-8")
		return nil
	}
	n, empty := 0, 0
	for line := range bytes.Lines(src) {
		if n++; len(line) > MaxLineBytes {
			r.failAt(n, MaxLineBytes, "a line of %d bytes; break it after at most %d", len(line), MaxLineBytes)
			return nil
		}
		if empty++; len(bytes.TrimSpace(line)) > 0 {
			empty = 0
		}
		if empty > MaxEmpty {
			r.failAt(n, 1, "more than %d empty lines in a row; take them out", MaxEmpty)
			return nil
		}
		r.ours = r.ours || r.format.Declares(line)
		if indent := len(line) - len(bytes.TrimLeft(line, " \t")); bytes.IndexByte(line[:indent], '\t') >= 0 && len(bytes.TrimSpace(line)) > 0 {
			r.failAt(n, 1, "a tab before the text; YAML is indented with spaces")
			return nil
		}
	}
	tokens := lexer.Tokenize(string(src))
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > MaxNesting {
				r.failAt(t.Position.Line, t.Position.Column, "brackets in brackets, more than %d deep; no list of a %s needs that", MaxNesting, r.format.Name)
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType,
			token.LiteralType, token.FoldedType, token.DocumentEndType:
			r.failAt(t.Position.Line, t.Position.Column, "%s is YAML that a %s does without; write plain keys, lists and values, or put the value in quotes", Quoted(t.Value), r.format.Name)
		}
	}
	if r.err != nil {
		return nil
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		line, column, problem := 1, 1, shown("no list of keys and values can be made of it")
		var y yaml.Error
		if errors.As(err, &y) {
			problem = shown(strings.Map(printable, y.GetMessage()))
			if t := y.GetToken(); t != nil && t.Position != nil {
				line, column = t.Position.Line, t.Position.Column
			}
		}
		r.failAt(line, column, "not YAML: %s", problem)
		return nil
	}
	if len(file.Docs) == 0 || len(file.Docs) == 1 && file.Docs[0].Body == nil {
		r.failAt(1, 1, "there is nothing in this file; a %s begins with %q", r.format.Name, r.format.Marker)
		return nil
	}
	if len(file.Docs) != 1 {
		r.failAt(1, 1, "there are %d YAML documents; a file holds one %s, and begins with %q", len(file.Docs), r.format.Name, r.format.Marker)
		return nil
	}
	return file.Docs[0].Body
}

// printable replaces what a terminal may act on.
func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

// A Section is a mapping of the file.
type Section struct {
	Node ast.Node // nil when there is none

	r      *Reader
	name   string // for errors
	values map[string]ast.Node
}

// Section reads a mapping that may have the keys given. Without a node it has none of them.
func (r *Reader) Section(n ast.Node, name string, keys ...string) *Section {
	s := &Section{r: r, name: name, Node: n, values: map[string]ast.Node{}}
	if n == nil || r.err != nil {
		return s
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.Fail(n, "%s has to be a mapping with the keys %s", name, strings.Join(keys, ", "))
		return s
	}
	for _, v := range m.Values {
		key, ok := Scalar(v.Key)
		if !ok || !slices.Contains(keys, key) {
			r.Fail(v.Key, "%s has no key %s; its keys are %s", name, Quoted(key), strings.Join(keys, ", "))
			return s
		}
		s.values[key] = v.Value
	}
	return s
}

// Get returns the value of a key, or nil.
func (s *Section) Get(key string) ast.Node { return s.values[key] }

// Has reports whether there is a value for a key.
func (s *Section) Has(key string) bool { return s.values[key] != nil }

// Need returns the value of a key that has to be there.
func (s *Section) Need(key, hint string) ast.Node {
	n := s.values[key]
	if n == nil {
		s.r.Fail(s.Node, "%s lacks the key %s: %s", s.name, key, hint)
	}
	return n
}

// Only fails at a key that is not among those given, as where one key says
// which others there may be; what is the section's name for errors.
func (s *Section) Only(what string, keys []string) {
	m, ok := s.Node.(*ast.MappingNode)
	if !ok {
		return
	}
	for _, v := range m.Values {
		if key, _ := Scalar(v.Key); !slices.Contains(keys, key) {
			s.r.Fail(v.Key, "%s has no key %s; its keys are %s", what, Quoted(key), strings.Join(keys, ", "))
		}
	}
}

// Each calls f for the keys of a mapping whose keys are names of the file's
// own, in their order; a name that stands twice is a failure.
func (r *Reader) Each(n ast.Node, what string, most int, f func(name string, key, value ast.Node)) {
	if n == nil || r.err != nil {
		return
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.Fail(n, "%s has to be a mapping of names", what)
		return
	}
	if len(m.Values) > most {
		r.Fail(m.Values[most].Key, "%s has %d entries; there is room for %d", what, len(m.Values), most)
		return
	}
	seen := map[string]bool{}
	for _, v := range m.Values {
		name, ok := Scalar(v.Key)
		if !ok || name == "" || seen[name] {
			r.Fail(v.Key, "%s has to have names that are text, each once", what)
			return
		}
		seen[name] = true
		f(name, v.Key, v.Value)
	}
}

// Line returns the line on which a node begins, from 1; 0 without one.
func Line(n ast.Node) int {
	if n == nil {
		return 0
	}
	return position(n).Line
}

// Duration returns a duration as Go writes it, "1h30m"; without a node it is 0.
func (r *Reader) Duration(n ast.Node, what string, least, most time.Duration) time.Duration {
	if n == nil || r.err != nil {
		return 0
	}
	d, err := time.ParseDuration(r.Text(n, what))
	if err != nil || d < least || d > most {
		r.Fail(n, "%s has to be a time from %v to %v, such as 90s, 5m or 4h", what, least, most)
	}
	return d
}

// Quantity returns a number with a unit, "1.0 ug/kg/min"; without a node it is none.
func (r *Reader) Quantity(n ast.Node, what string) device.Quantity {
	if n == nil || r.err != nil {
		return device.Quantity{}
	}
	q, err := device.ParseQuantity(r.Text(n, what))
	if err != nil || q.Unit == device.NoUnit {
		r.Fail(n, "%s has to be a number and a unit that is known, such as 1.0 ug/kg/min, 12.5 mL/h or 4 U", what)
		return device.Quantity{}
	}
	return q
}

// Scalar returns the text of a value as it was written, without quotes.
func Scalar(n ast.Node) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

// Text returns the text of a node, or "" without one.
func (r *Reader) Text(n ast.Node, what string) string {
	if n == nil || r.err != nil {
		return ""
	}
	s, ok := Scalar(n)
	if !ok || s == "" {
		r.Fail(n, "%s has to be text on one line", what)
	}
	return s
}

// Number returns the number of a node that may lie between least and most.
func (r *Reader) Number(n ast.Node, what string, least, most int64) int64 {
	if n == nil || r.err != nil {
		return 0
	}
	v, err := strconv.ParseInt(r.digits(n, what), 0, 64)
	switch {
	case err == nil && v >= least && v <= most:
	case least == most: // the version of a format
		r.Fail(n, "%s has to be %d: there is no other version of this format", what, least)
	default:
		r.Fail(n, "%s has to be a whole number from %d to %d", what, least, most)
	}
	return v
}

// Pattern returns a number of so many bits, which has no sign.
func (r *Reader) Pattern(n ast.Node, what string, width int) uint64 {
	if n == nil || r.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(r.digits(n, what), 0, 64)
	if err != nil || bits.Len64(v) > width {
		r.Fail(n, "%s has to be a whole number that fits %d bits, such as 0x1f", what, width)
	}
	return v
}

// digits returns the text of a whole number. 010 is ten to some and eight to YAML.
func (r *Reader) digits(n ast.Node, what string) string {
	s := r.Text(n, what)
	if len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
		r.Fail(n, "%s begins with a zero; write 10 or 0x10", what)
	}
	return s
}

// Word returns the index of a node's text among words; without a node it is 0.
func (r *Reader) Word(n ast.Node, what string, words []string) int {
	if n == nil || r.err != nil {
		return 0
	}
	s := r.Text(n, what)
	i := slices.Index(words, s)
	if i < 0 || s == "" {
		r.Fail(n, "%s cannot be %s; it is one of %s", what, Quoted(s), Words(words))
		return 0
	}
	return i
}

// Words joins the words that are not "".
func Words(words []string) string {
	var b strings.Builder
	for _, w := range words {
		if w != "" {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(w)
		}
	}
	return b.String()
}

// Truth returns what a node says; without one it is the usual.
func (r *Reader) Truth(n ast.Node, what string, usual bool) bool {
	if n == nil || r.err != nil {
		return usual
	}
	return r.Word(n, what, []string{"false", "true"}) == 1
}

// List returns the elements of a list, at most so many; a single value is a list of one.
func (r *Reader) List(n ast.Node, what string, most int) []ast.Node {
	if n == nil || r.err != nil {
		return nil
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		return []ast.Node{n}
	}
	if len(s.Values) > most {
		r.Fail(s.Values[most], "%s has %d entries; there is room for %d", what, len(s.Values), most)
		return nil
	}
	return s.Values
}
