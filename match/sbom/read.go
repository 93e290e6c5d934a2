// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"errors"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// An Error says where a document breaks its specification. It holds nothing of
// the document but the names that the specification gives.
type Error struct {
	Path   string // "components[3].hashes[0].alg"; "" for the document
	Offset int64  // bytes from the start of the document, just behind what is wrong
	Err    error
}

func (e *Error) Error() string {
	s := e.Err.Error() + " (byte " + strconv.FormatInt(e.Offset, 10) + ")"
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	return "sbom: " + s
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// A step is one part of the path to where the reader is.
type step struct {
	key   string
	index int // in a list, or -1
}

// A reader walks through one document by a table of shapes and keeps what the
// hooks of the table take.
type reader struct {
	jsonScanner
	xmlState
	doc   *Document
	path  []step
	depth int

	// A document may say which version it follows after everything else, so a rule
	// that not every version has is kept until then.
	minor     int      // of the version, 0 until known
	supported versions // of this format
	broken    versions // versions whose rules the document has broken
	denied    [8]*Error

	words arena
	facts
	spdxFacts
}

// fail makes the error that the reader ends with.
func (r *reader) fail(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	var b strings.Builder
	for _, s := range r.path {
		if s.key != "" {
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
		if s.index >= 0 {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		}
	}
	return &Error{Path: b.String(), Offset: r.offset(), Err: err}
}

// deny says that versions have a rule that is broken here. It answers an error
// when no version is left that the document could follow.
func (r *reader) deny(v versions, err error) error {
	if r.minor != 0 {
		if v>>r.minor&1 == 0 {
			return nil
		}
		return r.fail(err)
	}
	v &= r.supported &^ r.broken
	if v == 0 {
		return nil
	}
	first := r.fail(err).(*Error)
	for m := range r.denied {
		if v>>m&1 == 1 {
			r.denied[m] = first
		}
	}
	if r.broken |= v; r.broken == r.supported {
		return first
	}
	return nil
}

// follows tells the version. It answers an error that was kept for it.
func (r *reader) follows(minor int) error {
	if minor <= 0 || minor >= 16 || r.supported>>minor&1 == 0 {
		return r.fail(errors.New("a version that is not read"))
	}
	r.minor = minor
	if e := r.denied[minor]; e != nil {
		return e
	}
	return nil
}

var (
	errUnknown  = errors.New("no such property")
	errMissing  = errors.New("required")
	errVersion  = errors.New("not in this version of the specification")
	errOne      = errors.New("exactly one of them is asked for")
	errMost     = errors.New("at most one of them is allowed")
	errEmpty    = errors.New("empty")
	errDefined  = errors.New("not unique in the document")
	errWord     = errors.New("not one of the words that are allowed")
	errObject   = errors.New("must not be an object")
	errList     = errors.New("must not be a list")
	errScalar   = errors.New("must be an object or a list")
	errString   = errors.New("must not be a string")
	errQuoted   = errors.New("must be a string")
	errLicence  = errors.New("not an identifier of the SPDX licence list")
	errMixed    = errors.New("an expression stands alone")
	errTooMany  = errors.New("more of them than are read")
	errNotSBOM  = errors.New("neither CycloneDX nor SPDX")
	errTrailing = errors.New("something follows the document")
)

// value reads one value of JSON.
func (r *reader) value(f *field) error {
	c := r.space()
	switch {
	case c == '"':
		if !f.scalar {
			return r.fail(errScalar)
		}
		v, err := r.text()
		if err != nil {
			return r.fail(err)
		}
		return r.scalar(f, v, true)
	case f.scalar && f.kind == anything:
		if err := r.skip(r.depth); err != nil {
			return r.fail(err)
		}
		return nil
	case c == '{':
		if f.object == nil {
			return r.fail(errObject)
		}
		if f.hook != nil && f.hook.begin != nil {
			if err := f.hook.begin(r); err != nil {
				return err
			}
		}
		if err := r.object(f.object); err != nil {
			return err
		}
		if f.hook != nil && f.hook.end != nil {
			return f.hook.end(r)
		}
		return nil
	case c == '[':
		if f.item == nil {
			return r.fail(errList)
		}
		return r.list(f)
	}
	v, err := r.word()
	if err != nil {
		return r.fail(err)
	}
	if !f.scalar {
		return r.fail(errScalar)
	}
	return r.scalar(f, v, false)
}

func (r *reader) list(f *field) error {
	if r.depth++; r.depth > maxDepth {
		return r.fail(errDepth)
	}
	if f.hook != nil && f.hook.first != nil {
		if err := f.hook.first(r); err != nil {
			return err
		}
	}
	r.pos++
	at := &r.path[len(r.path)-1].index
	for i := 0; ; i++ {
		ok, err := r.next(i == 0, ']')
		if err != nil {
			return r.fail(err)
		}
		if !ok {
			break
		}
		*at = i
		if err := r.value(f.item); err != nil {
			return err
		}
		at = &r.path[len(r.path)-1].index // the path may have moved
	}
	*at = -1
	r.depth--
	if f.hook != nil && f.hook.last != nil {
		return f.hook.last(r)
	}
	return nil
}

func (r *reader) object(s *shape) error {
	if r.depth++; r.depth > maxDepth {
		return r.fail(errDepth)
	}
	if s.since != everyVersion {
		if err := r.deny(^s.since, errVersion); err != nil {
			return err
		}
	}
	r.pos++
	var seen uint64
	r.path = append(r.path, step{index: -1})
	at := len(r.path) - 1
	for first := true; ; first = false {
		r.path[at].key = ""
		ok, err := r.next(first, '}')
		if err != nil {
			return r.fail(err)
		}
		if !ok {
			break
		}
		key, err := r.key()
		if err != nil {
			return r.fail(err)
		}
		i, known := s.keys[string(key)]
		if err := r.take(':'); err != nil {
			return r.fail(err)
		}
		if known {
			r.path[at].key = s.fields[i].key
			known, err = r.member(s, i, &seen)
		} else {
			err = r.deny(^s.open, errUnknown)
		}
		if err != nil {
			return err
		}
		if !known {
			r.space()
			if err := r.skip(r.depth); err != nil {
				return r.fail(err)
			}
		}
	}
	r.path = r.path[:at]
	r.depth--
	return r.complete(s, seen, false)
}

// member reads the value of a known member, or answers false when the version
// does not know it and lets it pass.
func (r *reader) member(s *shape, i int, seen *uint64) (known bool, err error) {
	f := &s.fields[i]
	if *seen>>i&1 == 1 {
		return false, r.fail(errDuplicate)
	}
	*seen |= 1 << i
	if f.since != everyVersion {
		if r.minor != 0 && f.since>>r.minor&1 == 0 {
			return false, r.deny(^s.open, errVersion)
		}
		if err := r.deny(^f.since&^s.open, errVersion); err != nil {
			return false, err
		}
	}
	return true, r.value(f)
}

// complete checks what a shape asks of its fields together.
func (r *reader) complete(s *shape, seen uint64, xml bool) error {
	for i := range s.fields {
		f := &s.fields[i]
		must := f.must
		if xml {
			must = f.mustXML
		}
		if must != 0 && seen>>i&1 == 0 {
			r.path = append(r.path, step{f.key, -1})
			if err := r.deny(must, errMissing); err != nil {
				return err
			}
			r.path = r.path[:len(r.path)-1]
		}
	}
	for _, g := range s.groups {
		must := g.must
		if xml {
			must = g.mustX
		}
		switch n := bits.OnesCount64(seen & g.fields); {
		case n > 1 && g.must == 0:
			return r.fail(errMost)
		case n > 1:
			return r.fail(errOne)
		case n == 0 && must != 0:
			if err := r.deny(must, errOne); err != nil {
				return err
			}
		}
	}
	return nil
}

// scalar checks a value and gives it to the hook. quoted is set for a string.
func (r *reader) scalar(f *field, v []byte, quoted bool) error {
	if f.kind != anything {
		if err := r.check(f, v, quoted); err != nil {
			return err
		}
	}
	if f.hook != nil && f.hook.take != nil {
		if err := f.hook.take(r, v); err != nil {
			return err
		}
	}
	return r.bounded()
}

// bounded fails when a bound was met by who could not say so.
func (r *reader) bounded() error {
	if r.overflow {
		return r.fail(errTooMany)
	}
	return nil
}

func (r *reader) check(f *field, v []byte, quoted bool) error {
	plain := f.kind == integer || f.kind == positive || f.kind == weakness || f.kind == number || f.kind == boolean
	if plain == quoted && !r.isXML {
		if quoted {
			return r.fail(errString)
		}
		return r.fail(errQuoted)
	}
	switch f.kind {
	case enumeration:
		in, ok := f.enum[string(v)]
		if !ok {
			return r.fail(errWord)
		}
		if in != everyVersion {
			return r.deny(^in, errVersion)
		}
	case integer, positive, weakness:
		d := bytes.TrimPrefix(v, []byte("-"))
		d = bytes.TrimSuffix(d, []byte(".0"))
		for _, c := range d {
			if c < '0' || c > '9' {
				return r.fail(errors.New("must be a whole number"))
			}
		}
		if len(d) == 0 {
			return r.fail(errors.New("must be a whole number"))
		}
		if f.kind != integer && (v[0] == '-' || v[0] == '0') {
			bound := everyVersion
			if f.kind == positive {
				bound = from("5") // of the document's version: CycloneDX 1.5, "minimum": 1
			}
			return r.deny(bound, errors.New("must be a whole number from 1 on"))
		}
	case number:
		if _, err := strconv.ParseFloat(string(v), 64); err != nil {
			return r.fail(errors.New("must be a number"))
		}
	case versionText:
		return r.length(v, 0, 1024, from("6"))
	case affectedVersion:
		if err := r.length(v, 1, 1024, upTo("5")); err != nil {
			return err
		}
		return r.length(v, 0, 1024, everyVersion)
	case versionRange:
		if err := r.length(v, 1, 1024, upTo("5")); err != nil {
			return err
		}
		return r.length(v, 1, 4096, everyVersion)
	case locale:
		lower := func(b []byte) bool { return 'a' <= b[0] && b[0] <= 'z' && 'a' <= b[1] && b[1] <= 'z' }
		if len(v) != 2 && (len(v) != 5 || v[2] != '-' || v[3] < 'A' || v[3] > 'Z' || v[4] < 'A' || v[4] > 'Z') || !lower(v) {
			return r.fail(errors.New("must be a language, such as de or de-CH"))
		}
	case boolean:
		if s := string(v); s != "true" && s != "false" && (!r.isXML || s != "0" && s != "1") {
			return r.fail(errors.New("must be true or false"))
		}
	case timestamp:
		if _, ok := parseTime(v, r.isXML); !ok {
			return r.fail(errors.New("must be a date and time as RFC 3339 writes them"))
		}
	case serial:
		if !isSerial(v) {
			return r.fail(errors.New("must be a UUID in a URN"))
		}
	case mime:
		kind, sub, ok := bytes.Cut(v, []byte("/"))
		if !ok || !isMIME(kind) || !isMIME(sub) {
			return r.fail(errors.New("must be a media type"))
		}
	case digest:
		switch len(v) {
		case 32, 40, 64, 96, 128:
			for _, c := range v {
				if _, ok := hexDigit(c); !ok {
					return r.fail(errors.New("must be hexadecimal"))
				}
			}
		default:
			return r.fail(errors.New("has not the length of a hash"))
		}
	case licence:
		if !licences()[string(v)] {
			return r.fail(errLicence)
		}
	case name:
		if len(v) == 0 {
			if err := r.deny(from("5"), errEmpty); err != nil {
				return err
			}
		}
		return r.define(v)
	case link:
		if len(v) == 0 {
			return r.deny(from("5"), errEmpty)
		}
	}
	return nil
}

// length holds how many characters v has in some versions.
func (r *reader) length(v []byte, least, most int, in versions) error {
	if len(v) < least {
		return r.deny(in, errEmpty)
	}
	if len(v) > most && utf8.RuneCount(v) > most {
		return r.deny(in, errSize)
	}
	return nil
}

func isMIME(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' {
			return false
		}
	}
	return len(b) > 0
}

// isSerial reports whether v is urn:uuid: and a UUID in lower case.
func isSerial(v []byte) bool {
	u, ok := bytes.CutPrefix(v, []byte("urn:uuid:"))
	if !ok || len(u) != 36 {
		return false
	}
	for i, c := range u {
		_, hex := hexDigit(c)
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && (!hex || c < '0' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return true
}

// parseTime reads RFC 3339; XML Schema lets the zone fall away.
func parseTime(v []byte, xml bool) (time.Time, bool) {
	if len(v) > 64 {
		return time.Time{}, false
	}
	s := string(v)
	if len(s) > 10 && (s[10] == 't' || s[10] == ' ') {
		s = s[:10] + "T" + s[11:]
	}
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(s, "z"))
	if err != nil && strings.HasSuffix(s, "z") {
		t, err = time.Parse(time.RFC3339Nano, s[:len(s)-1]+"Z")
	}
	if err != nil && xml {
		t, err = time.Parse("2006-01-02T15:04:05.999999999", s)
	}
	return t, err == nil
}

// licences are the identifiers of the SPDX licence list, exceptions included,
// as CycloneDX's "id" allows them.
var licences = sync.OnceValue(func() map[string]bool {
	known := map[string]bool{}
	for _, list := range [][]string{spdxlicenses.GetLicenses(), spdxlicenses.GetDeprecated(), spdxlicenses.GetExceptions()} {
		for _, id := range list {
			known[id] = true
		}
	}
	known["Nokia-Qt-exception-1.1"] = true // deprecated, and not in the module
	return known
})

// An arena keeps short strings together, so that they cost one allocation for
// many.
type arena struct {
	chunk strings.Builder
	size  int
}

// keep returns a copy of v.
func (a *arena) keep(v []byte) string {
	if len(v) == 0 {
		return ""
	}
	if a.chunk.Cap()-a.chunk.Len() < len(v) {
		a.size = min(max(2*a.size, 4<<10), 64<<10)
		a.chunk.Reset()
		a.chunk.Grow(max(a.size, len(v)))
	}
	n := a.chunk.Len()
	a.chunk.Write(v)
	return a.chunk.String()[n:]
}

// A slab cuts many short slices from one long one.
type slab[T any] struct{ s []T }

// add appends v to part, which is nil or was made by add.
func (s *slab[T]) add(part []T, v T) []T {
	n := len(s.s)
	tail := len(part) > 0 && n > 0 && &part[len(part)-1] == &s.s[n-1]
	if n+1+len(part) > cap(s.s) {
		s.s = make([]T, 0, max(min(2*cap(s.s), 1024), 32, 2*len(part)+1))
		tail, n = false, 0
	}
	if !tail {
		s.s = append(s.s, part...)
	} else {
		n -= len(part)
	}
	s.s = append(s.s, v)
	return s.s[n:len(s.s):len(s.s)]
}
