// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/myelin-health/myelin/match/advisory"
)

// The bounds of a file of decisions. The YAML parser takes time with the square
// of the nesting, so that is counted before.
const (
	maxDecisionsBytes = 512 << 10
	maxLineBytes      = 4096
	maxNesting        = 6   // of [ and {; JSON needs five
	maxIndent         = 64  // bytes before the text of a line
	maxDashes         = 3   // of them; a list in a list needs two, and "---" begins a document
	maxRun            = 256 // keys of a mapping: the parser takes time with the square of these, too
	maxListed         = 4096
)

// decisionsVersion is the version of the file's language.
const decisionsVersion = 1

// A DecisionsError says what is wrong in a file of decisions, and where. It
// repeats nothing of the file.
type DecisionsError struct {
	Line, Column int // from 1
	Problem      string
}

func (e *DecisionsError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// ReadDecided reads what was decided, from a file of decisions or from a
// document of one of the standards: which it is tells its content. The error is
// a *[DecisionsError] or an *[Error], but for one of r.
func ReadDecided(r io.Reader) (*Decided, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if !isXML(b) && isDecisions(b) {
		return ReadDecisions(bytes.NewReader(b))
	}
	return ReadDocument(bytes.NewReader(b))
}

// isDecisions reports whether a file says of itself that it holds decisions.
func isDecisions(b []byte) bool {
	if t := bytes.TrimSpace(b); len(t) > 0 && t[0] == '{' {
		s := newScanner(b)
		ours := false
		s.object(func(key string) {
			ours = ours || key == "vex"
			s.skip()
		})
		return ours
	}
	for line := range bytes.Lines(b) {
		if bytes.HasPrefix(line, []byte("vex:")) {
			return true
		}
	}
	return false
}

// ReadDecisions reads what a person decided, in YAML or JSON; docs/vex.md
// describes it. The error is a *[DecisionsError], but for one of r.
func ReadDecisions(r io.Reader) (*Decided, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDecisionsBytes+1))
	if err != nil {
		return nil, err
	}
	l := &loader{}
	d := l.decided(l.document(b))
	if l.err != nil {
		return nil, l.err
	}
	return d, nil
}

// A loader reads the file. Its first failure sticks.
type loader struct{ err *DecisionsError }

func (l *loader) failAt(line, column int, format string, args ...any) {
	if l.err == nil {
		l.err = &DecisionsError{line, column, fmt.Sprintf(format, args...)}
	}
}

func (l *loader) fail(n ast.Node, format string, args ...any) {
	line, column := 1, 1
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // a block mapping's own token is a colon
	}
	if n != nil {
		if t := n.GetToken(); t != nil && t.Position != nil {
			line, column = t.Position.Line, t.Position.Column
		}
	}
	l.failAt(line, column, format, args...)
}

// document parses the file's one document.
func (l *loader) document(b []byte) ast.Node {
	switch {
	case len(b) > maxDecisionsBytes:
		l.failAt(1, 1, "the file has more than %d bytes", maxDecisionsBytes)
		return nil
	case !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0:
		l.failAt(1, 1, "this is not text; save the file as UTF-8")
		return nil
	}
	n := 0
	var run [maxIndent + 1]int // lines one below the other, by indent
	for line := range bytes.Lines(b) {
		n++
		text := bytes.TrimLeft(line, " -?:\t")
		indent := len(line) - len(text)
		dashes := bytes.Count(line[:indent], []byte("-"))
		if len(line) > maxLineBytes || indent > maxIndent || dashes > maxDashes {
			l.failAt(n, 1, "a line is too long, or begins too far to the right")
			return nil
		}
		if text = bytes.TrimSpace(text); len(text) == 0 || bytes.IndexByte([]byte("#{}[]"), text[0]) >= 0 {
			continue
		}
		if clear(run[indent+1:]); dashes > 0 {
			run[indent] = 0
		}
		if run[indent]++; run[indent] > maxRun {
			l.failAt(n, indent+1, "more than %d lines of keys or text, one below the other", maxRun)
			return nil
		}
	}
	tokens := lexer.Tokenize(string(b))
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxNesting {
				l.failAt(t.Position.Line, t.Position.Column, "brackets in brackets, more than %d deep", maxNesting)
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType:
			l.failAt(t.Position.Line, t.Position.Column, "YAML that decisions do without; write plain keys, lists and values, or put the value in quotes")
		}
	}
	if l.err != nil {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // section counts them, in less time
	if err != nil {
		line, column := 1, 1
		var y yaml.Error
		if errors.As(err, &y) {
			if t := y.GetToken(); t != nil && t.Position != nil {
				line, column = t.Position.Line, t.Position.Column
			}
		}
		l.failAt(line, column, "neither YAML nor JSON from here on")
		return nil
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		l.failAt(1, 1, "one document of decisions is wanted; it begins with \"vex: 1\"")
		return nil
	}
	return file.Docs[0].Body
}

// A section is a mapping of the file.
type section struct {
	l      *loader
	node   ast.Node
	name   string // for errors
	values map[string]ast.Node
}

func (l *loader) section(n ast.Node, name string, keys ...string) *section {
	s := &section{l, n, name, map[string]ast.Node{}}
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
		switch {
		case !ok || !slices.Contains(keys, key):
			l.fail(v.Key, "%s has no such key; its keys are %s", name, strings.Join(keys, ", "))
		case s.values[key] != nil:
			l.fail(v.Key, "%s is said twice", key)
		}
		s.values[key] = v.Value
	}
	return s
}

// scalar returns the text of a value as it was written, without quotes.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

// text returns the text of a key, or "" without one.
func (s *section) text(key string) string {
	n := s.values[key]
	if n == nil || s.l.err != nil {
		return ""
	}
	text, ok := scalar(n)
	if !ok || strings.TrimSpace(text) == "" {
		s.l.fail(n, "%s has to be text", key)
	}
	return strings.TrimSpace(text)
}

// need returns the text of a key that has to be there.
func (s *section) need(key, hint string) string {
	if s.values[key] == nil && s.l.err == nil {
		s.l.fail(s.node, "%s lacks %s: %s", s.name, key, hint)
	}
	return s.text(key)
}

// oneOf returns a text that has to be one of words, or "" without one.
func (s *section) oneOf(key string, words ...string) string {
	text := s.text(key)
	if text != "" && !slices.Contains(words, text) {
		s.l.fail(s.values[key], "%s is one of %s", key, strings.Join(words, ", "))
	}
	return text
}

// time returns a time or a day, which begins at midnight in UTC.
func (s *section) time(key string) time.Time {
	text := s.text(key)
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 0 {
			return t.UTC()
		}
	}
	s.l.fail(s.values[key], "%s has to be a time such as 2026-03-02 or 2026-03-02T09:00:00Z", key)
	return time.Time{}
}

// list returns the elements of a key; a single value is a list of one.
func (s *section) list(key string) []ast.Node {
	n := s.values[key]
	if n == nil || s.l.err != nil {
		return nil
	}
	q, ok := n.(*ast.SequenceNode)
	if !ok {
		return []ast.Node{n}
	}
	if len(q.Values) > maxListed || len(q.Values) == 0 {
		s.l.fail(n, "%s has to have from 1 to %d entries", key, maxListed)
		return nil
	}
	return q.Values
}

func (l *loader) decided(n ast.Node) *Decided {
	s := l.section(n, "the file", "vex", "id", "title", "author", "namespace", "category", "version", "first", "time", "decisions")
	if v := s.need("vex", "the version of its language, 1"); v != strconv.Itoa(decisionsVersion) && l.err == nil {
		l.fail(s.values["vex"], "this program reads version %d", decisionsVersion)
	}
	d := &Decided{
		ID: s.need("id", "a name that stays the same in every version"), Title: s.text("title"),
		Author: s.need("author", "who decided"), Namespace: s.text("namespace"),
		Category: s.oneOf("category", categories...), Version: 1, Time: s.time("time"), First: s.time("first"),
	}
	s.need("time", "when this version was decided")
	if u, err := url.Parse(d.Namespace); d.Namespace != "" && (err != nil || !u.IsAbs() || u.Host == "") {
		l.fail(s.values["namespace"], "namespace has to be the author's URL")
	}
	if text := s.text("version"); text != "" {
		var err error
		if d.Version, err = strconv.Atoi(text); err != nil || d.Version < 1 || d.Version > maxVersion {
			l.fail(s.values["version"], "version is a whole number from 1 to %d", maxVersion)
		}
	}
	if d.First.IsZero() {
		d.First = d.Time
	}
	if d.Category == "" {
		d.Category = "vendor"
	}
	if d.First.After(d.Time) && l.err == nil {
		l.fail(s.values["first"], "first is after time")
	}
	if s.values["decisions"] == nil {
		l.fail(n, "the file lacks decisions: a list of what was decided")
	}
	seen := map[string]bool{}
	for _, n := range s.list("decisions") {
		l.decision(d, n, seen)
	}
	return d
}

// decision reads one, which is a statement for each of its products.
func (l *loader) decision(d *Decided, n ast.Node, seen map[string]bool) {
	s := l.section(n, "a decision", "vulnerability", "aliases", "description", "products", "component", "status", "justification", "impact", "action", "remedy", "time")
	st := Statement{
		Vulnerability: s.need("vulnerability", "the CVE, or the advisory's own id"),
		Description:   s.text("description"),
		Status:        statuses[s.oneOf("status", "affected", "not_affected", "fixed", "under_investigation")],
		Justification: s.oneOf("justification", justifications...),
		Impact:        s.text("impact"),
		Action:        s.text("action"),
		Remedy:        s.oneOf("remedy", remedies...),
		Time:          s.time("time"),
		Author:        d.Author,
		Document:      d.ID,
		Version:       d.Version,
	}
	s.need("status", "affected, not_affected, fixed or under_investigation")
	if st.Time.IsZero() {
		st.Time = d.Time
	}
	for _, n := range s.list("aliases") {
		one := &section{l, n, "aliases", map[string]ast.Node{"an alias": n}}
		st.Aliases = append(st.Aliases, one.text("an alias"))
	}
	misplaced := func(key string, status advisory.Status) {
		if v := s.values[key]; v != nil && st.Status != status {
			l.fail(v, "%s goes with the status %s", key, word(status))
		}
	}
	misplaced("justification", advisory.NotAffected)
	misplaced("impact", advisory.NotAffected)
	misplaced("action", advisory.Affected)
	misplaced("remedy", advisory.Affected)
	switch {
	case l.err != nil:
		return
	case st.Status == advisory.NotAffected && st.Justification == "" && st.Impact == "":
		l.fail(n, "not_affected wants to know why: a justification, or an impact in words")
	case st.Status == advisory.Affected && st.Action == "":
		l.fail(n, "affected wants an action: what its users have to do")
	case s.values["products"] == nil:
		l.fail(n, "a decision lacks products: a list of what it is about")
	}
	if c := s.values["component"]; c != nil {
		part := l.product(c, "a component", "")
		st.Component = &part
	}
	for _, n := range s.list("products") {
		st.Product = l.product(n, "a product", d.Author)
		k := st.Vulnerability + "\x00" + key(&st.Product) + "\x00" + key(st.Component)
		if seen[k] {
			l.fail(n, "was decided before, of the same vulnerability")
		}
		seen[k] = true
		if len(d.Statements) >= maxStatements {
			l.fail(n, "more than %d statements", maxStatements)
		}
		if l.err != nil {
			return
		}
		d.Statements = append(d.Statements, st)
	}
}

// product reads a product or component.
func (l *loader) product(n ast.Node, what, maker string) advisory.Product {
	s := l.section(n, what, "manufacturer", "name", "version", "purl", "cpe")
	p := advisory.Product{Manufacturer: s.text("manufacturer"), Version: s.text("version"), PURL: s.text("purl"), CPE: s.text("cpe")}
	if p.Manufacturer == "" {
		p.Manufacturer = maker
	}
	p.Name = s.need("name", "as its users know it")
	if l.err == nil && p.PURL != "" && !purlName().MatchString(p.PURL) {
		l.fail(s.values["purl"], "purl has to be a package URL, such as pkg:generic/openssl@1.0.2k")
	}
	if l.err == nil && p.CPE != "" && !cpe23().MatchString(p.CPE) {
		l.fail(s.values["cpe"], "cpe has to be a CPE 2.3 name with all its thirteen parts")
	}
	return p
}
