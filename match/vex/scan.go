// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// The bounds of a document. The largest CSAF documents about a single
// vulnerability have some 30 MiB and 50,000 products.
const (
	maxBytes      = 64 << 20
	maxDepth      = 64
	maxElements   = 1 << 22 // values that are looked at, larger ones by their size
	maxProducts   = 1 << 17
	maxStatements = 1 << 17
	maxWithin     = 8 // parts of parts
)

// A scanner reads JSON, or XML as if it were JSON, from left to right and keeps only what it is asked for.
// Its first failure sticks, so that a document is read as its standard describes it.
type scanner struct {
	d        tokens
	path     []string
	depth    int
	elements int
	err      error
}

func newScanner(b []byte) *scanner {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return &scanner{d: d}
}

// fail notes what is wrong at the place that is being read, or somewhere else
// of the document.
func (s *scanner) fail(err error) { s.failAt(strings.TrimPrefix(strings.Join(s.path, ""), "."), err) }

func (s *scanner) failAt(path string, err error) {
	if s.err == nil {
		s.err = &Error{Path: path, Offset: s.d.InputOffset(), Err: err}
	}
}

// token returns the next one; after a failure nil.
func (s *scanner) token() json.Token {
	if s.err != nil {
		return nil
	}
	t, err := s.d.Token()
	if err != nil {
		if !errors.Is(err, ErrType) {
			err = ErrSyntax // its own words hold bytes of the document
		}
		s.fail(err)
		return nil
	}
	switch t {
	case json.Delim('{'), json.Delim('['):
		if s.depth++; s.depth > maxDepth {
			s.fail(ErrTooBig)
		}
	case json.Delim('}'), json.Delim(']'):
		s.depth--
	}
	return t
}

// more reports whether there is another element.
func (s *scanner) more() bool {
	if s.err != nil || !s.d.More() {
		return false
	}
	s.weigh(1)
	return s.err == nil
}

// weigh counts what is kept of the document beside its text: a word is one, and
// what is larger counts as so many.
func (s *scanner) weigh(words int) {
	if s.elements += words; s.elements > maxElements {
		s.fail(ErrTooBig)
	}
}

// end checks that nothing stands behind the document.
func (s *scanner) end() {
	if s.err == nil {
		if _, err := s.d.Token(); !errors.Is(err, io.EOF) {
			s.fail(ErrSyntax)
		}
	}
}

// object calls field for each key; it has to read the value.
func (s *scanner) object(field func(key string)) {
	s.objectOr(func(string) { s.fail(ErrType) }, field)
}

// objectOr is object, or calls text when a string stands instead.
func (s *scanner) objectOr(text func(string), field func(key string)) {
	switch t := s.token().(type) {
	case string:
		text(t)
	case nil:
	case json.Delim:
		if t == '{' {
			s.fields(field)
			return
		}
		s.fail(ErrType)
	default:
		s.fail(ErrType)
	}
}

// fields is object behind its brace.
func (s *scanner) fields(field func(key string)) {
	seen := map[string]bool{}
	for s.more() {
		key, _ := s.token().(string)
		if s.err != nil {
			return
		}
		if seen[key] {
			s.fail(ErrTwice)
			return
		}
		seen[key] = true
		s.path = append(s.path, "."+key)
		field(key)
		s.path = s.path[:len(s.path)-1]
	}
	s.token()
}

// array calls element for each element; it has to read it.
func (s *scanner) array(element func(i int)) {
	switch s.token() {
	case json.Delim('['):
	case nil:
		return
	default:
		s.fail(ErrType)
		return
	}
	for i := 0; s.more(); i++ {
		s.path = append(s.path, "["+strconv.Itoa(i)+"]")
		element(i)
		s.path = s.path[:len(s.path)-1]
	}
	s.token()
}

// text returns a string; of null, "".
func (s *scanner) text() string {
	switch t := s.token().(type) {
	case string:
		return t
	case nil:
	default:
		s.fail(ErrType)
	}
	return ""
}

// texts returns a list of strings.
func (s *scanner) texts() (list []string) {
	s.array(func(int) { list = append(list, s.text()) })
	return list
}

// oneOf returns a string that has to be one of words.
func (s *scanner) oneOf(words ...string) string {
	t := s.text()
	for _, w := range words {
		if t == w {
			return t
		}
	}
	if s.err == nil {
		s.fail(ErrWord)
	}
	return ""
}

// time returns a time; of null or "", the zero time.
func (s *scanner) time() time.Time {
	text := s.text()
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		s.fail(errors.New("no time as in RFC 3339"))
	}
	return t.UTC()
}

// number returns a whole number, which may stand as text.
func (s *scanner) number() int {
	var text string
	switch t := s.token().(type) {
	case json.Number:
		text = t.String()
	case string:
		text = t
	case nil:
		return 0
	default:
		s.fail(ErrType)
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		s.fail(errors.New("no whole number"))
	}
	return n
}

// skip passes a value by. What is wrong in it is told of what holds it, for the
// key may be anything.
func (s *scanner) skip() {
	whole := s.path
	if len(whole) > 0 {
		s.path = whole[:len(whole)-1]
	}
	outside := s.depth
	s.token()
	s.rest(outside)
	s.path = whole
}

// rest passes by what is left of a value that has begun.
func (s *scanner) rest(outside int) {
	for s.err == nil && s.depth > outside {
		s.token()
	}
}
