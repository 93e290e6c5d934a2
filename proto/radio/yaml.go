// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a dialect's file. The samples have 5 KiB. The YAML parser takes
// time with the square of the nesting, which is why that is counted before.
const (
	maxFileBytes = 64 << 10
	maxLineBytes = 512 // "- - - -" nests within a line
	maxNesting   = 6   // of [ and {; a dialect needs two
	maxEmpty     = 64  // empty lines in a row: in a block of text they take time with the square of their number
	maxQuoted    = 40  // bytes of the file that an error repeats
)

// A LoadError says what is wrong in a dialect's file, where, and what to do. It
// repeats no word of a file that does not say "dialect: 1": that is no dialect, and
// may be a log of frames or a list of patients.
type LoadError struct {
	File    string
	Line    int // from 1
	Column  int // from 1
	Problem string
}

func (e *LoadError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
}

// A loader reads a dialect's file. Like a [wire.Cursor] its first failure
// sticks, so that what is read reads like the format's description.
type loader struct {
	file string
	ours bool // the file says that it is one
	err  *LoadError

	little, low bool // of the frame: the first byte of a number, the first bit of a byte counts least
}

func (l *loader) failAt(line, column int, format string, args ...any) {
	if l.err == nil {
		for i, a := range args {
			if _, ok := a.(shown); ok && !l.ours {
				args[i] = "what stands here"
			}
		}
		l.err = &LoadError{l.file, line, column, fmt.Sprintf(format, args...)}
	}
}

func (l *loader) fail(n ast.Node, format string, args ...any) {
	if l.err == nil { // else n may be missing
		p := position(n)
		l.failAt(p.Line, p.Column, format, args...)
	}
}

// position is where a node begins. A block mapping's own token is the colon
// behind its first key.
func position(n ast.Node) *token.Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position
	}
	return &token.Position{Line: 1, Column: 1}
}

// A shown is what stands in the file, for an error.
type shown string

func quoted(s string) shown {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "..."
	}
	return shown(strconv.Quote(s))
}

// declares reports whether a line says that the file is a dialect.
func declares(line []byte) bool {
	version, ok := bytes.CutPrefix(line, []byte("dialect:"))
	version, _, _ = bytes.Cut(version, []byte("#"))
	return ok && string(bytes.TrimSpace(version)) == "1"
}

// document parses the one document of a file.
func (l *loader) document(src []byte) ast.Node {
	switch {
	case len(src) > maxFileBytes:
		l.failAt(1, 1, "the file has %d bytes; a dialect has at most %d", len(src), maxFileBytes)
		return nil
	case !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0:
		l.failAt(1, 1, "this is not text; save the file as UTF-8")
		return nil
	}
	n, empty := 0, 0
	for line := range bytes.Lines(src) {
		if n++; len(line) > maxLineBytes {
			l.failAt(n, maxLineBytes, "a line of %d bytes; break it after at most %d", len(line), maxLineBytes)
			return nil
		}
		if empty++; len(bytes.TrimSpace(line)) > 0 {
			empty = 0
		}
		if empty > maxEmpty {
			l.failAt(n, 1, "more than %d empty lines in a row; take them out", maxEmpty)
			return nil
		}
		l.ours = l.ours || declares(line)
		if indent := len(line) - len(bytes.TrimLeft(line, " \t")); bytes.IndexByte(line[:indent], '\t') >= 0 && len(bytes.TrimSpace(line)) > 0 {
			l.failAt(n, 1, "a tab before the text; YAML is indented with spaces")
			return nil
		}
	}
	tokens := lexer.Tokenize(string(src))
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxNesting {
				l.failAt(t.Position.Line, t.Position.Column, "brackets in brackets, more than %d deep; no list of a dialect needs that", maxNesting)
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType,
			token.LiteralType, token.FoldedType, token.DocumentEndType:
			l.failAt(t.Position.Line, t.Position.Column, "%s is YAML that a dialect does without; write plain keys, lists and values, or put the value in quotes", quoted(t.Value))
		}
	}
	if l.err != nil {
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
		l.failAt(line, column, "not YAML: %s", problem)
		return nil
	}
	if len(file.Docs) == 0 || len(file.Docs) == 1 && file.Docs[0].Body == nil {
		l.failAt(1, 1, "there is nothing in this file; a dialect begins with \"dialect: 1\"")
		return nil
	}
	if len(file.Docs) != 1 {
		l.failAt(1, 1, "there are %d YAML documents; a file holds one dialect, and begins with \"dialect: 1\"", len(file.Docs))
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

// A section is a mapping of the file.
type section struct {
	l      *loader
	name   string // for errors
	node   ast.Node
	values map[string]ast.Node
}

// section reads a mapping that may have the keys given. Without a node it has none of them.
func (l *loader) section(n ast.Node, name string, keys ...string) *section {
	s := &section{l: l, name: name, node: n, values: map[string]ast.Node{}}
	if n == nil || l.err != nil {
		return s
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		l.fail(n, "%s has to be a mapping with the keys %s", name, strings.Join(keys, ", "))
		return s
	}
	for _, v := range m.Values {
		key, ok := scalar(v.Key)
		if !ok || !slices.Contains(keys, key) {
			l.fail(v.Key, "%s has no key %s; its keys are %s", name, quoted(key), strings.Join(keys, ", "))
			return s
		}
		s.values[key] = v.Value
	}
	return s
}

// get returns the value of a key, or nil.
func (s *section) get(key string) ast.Node { return s.values[key] }

func (s *section) has(key string) bool { return s.values[key] != nil }

// need returns the value of a key that has to be there.
func (s *section) need(key, hint string) ast.Node {
	n := s.values[key]
	if n == nil {
		s.l.fail(s.node, "%s lacks the key %s: %s", s.name, key, hint)
	}
	return n
}

// scalar returns the text of a value as it was written, without quotes.
func scalar(n ast.Node) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

// text returns the text of a node, or "" without one.
func (l *loader) text(n ast.Node, what string) string {
	if n == nil || l.err != nil {
		return ""
	}
	s, ok := scalar(n)
	if !ok || s == "" {
		l.fail(n, "%s has to be text on one line", what)
	}
	return s
}

// number returns the number of a node that may lie between least and most.
func (l *loader) number(n ast.Node, what string, least, most int64) int64 {
	if n == nil || l.err != nil {
		return 0
	}
	v, err := strconv.ParseInt(l.digits(n, what), 0, 64)
	if err != nil || v < least || v > most {
		l.fail(n, "%s has to be a whole number from %d to %d", what, least, most)
	}
	return v
}

// pattern returns a number of so many bits, which has no sign.
func (l *loader) pattern(n ast.Node, what string, width int) uint64 {
	if n == nil || l.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(l.digits(n, what), 0, 64)
	if err != nil || bits.Len64(v) > width {
		l.fail(n, "%s has to be a whole number that fits %d bits, such as 0x1f", what, width)
	}
	return v
}

// digits returns the text of a whole number. 010 is ten to some and eight to YAML.
func (l *loader) digits(n ast.Node, what string) string {
	s := l.text(n, what)
	if len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
		l.fail(n, "%s begins with a zero; write 10 or 0x10", what)
	}
	return s
}

// word returns the index of a node's text among words; without a node it is 0.
func (l *loader) word(n ast.Node, what string, words []string) int {
	if n == nil || l.err != nil {
		return 0
	}
	s := l.text(n, what)
	i := slices.Index(words, s)
	if i < 0 || s == "" {
		l.fail(n, "%s cannot be %s; it is one of %s", what, quoted(s), join(words))
		return 0
	}
	return i
}

// join joins the words that are not "".
func join(words []string) string {
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

// truth returns what a node says; without one it is the usual.
func (l *loader) truth(n ast.Node, what string, usual bool) bool {
	if n == nil || l.err != nil {
		return usual
	}
	return l.word(n, what, []string{"false", "true"}) == 1
}

// list returns the elements of a list, at most so many; a single value is a list of one.
func (l *loader) list(n ast.Node, what string, most int) []ast.Node {
	if n == nil || l.err != nil {
		return nil
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		return []ast.Node{n}
	}
	if len(s.Values) > most {
		l.fail(s.Values[most], "%s has %d entries; there is room for %d", what, len(s.Values), most)
		return nil
	}
	return s.Values
}
