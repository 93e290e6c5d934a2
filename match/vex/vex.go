// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package vex reads and writes statements that a product is, or is not,
// affected by a vulnerability: OpenVEX, CycloneDX and CSAF. Only what the
// product's own supplier says counts ([Resolve]); what others say is an opinion.
//
// This API is stable.
package vex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/match/advisory"
)

// A Format is a standard of such statements.
type Format uint8

// The formats.
const (
	NoFormat Format = iota
	OpenVEX
	CycloneDX
	CSAF
)

var formatNames = [...]string{OpenVEX: "openvex", CycloneDX: "cyclonedx", CSAF: "csaf"}

// String returns the format's name on a command line.
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return ""
}

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, bool) {
	for f, name := range formatNames {
		if name == s && s != "" {
			return Format(f), true
		}
	}
	return NoFormat, false
}

// A Statement is one sentence of a document: about one vulnerability and one
// product, or one part of it. A version that is a range is in its Range, too.
type Statement struct {
	Vulnerability string
	Aliases       []string
	Description   string            // of the vulnerability
	Product       advisory.Product  // what it is about
	Component     *advisory.Product // the part of the product that it is about, or nil
	Status        advisory.Status
	Justification string // OpenVEX's words: "vulnerable_code_not_present", ...
	Impact        string // why it is not affected, in prose
	Action        string // what to do when it is
	Remedy        string // what kind of action that is, in CSAF's words: "vendor_fix", "mitigation", ...
	Author        string
	Supplier      string // the product's supplier, where the document names it
	Time          time.Time
	Document      string
	Version       int // of the document
	Draft         bool
}

// A Decided is one document: what somebody decided, of products.
type Decided struct {
	ID         string
	Title      string
	Author     string
	Namespace  string // the author's URL, which CSAF wants
	Category   string // the author's, in CSAF's words: "vendor", "coordinator", "other", ...
	Version    int    // from 1
	First      time.Time
	Time       time.Time // of this version
	Statements []Statement

	draft bool
	order int // of the version among the document's, where it is not a whole number
}

// The words of OpenVEX and CSAF.
var (
	statuses = map[string]advisory.Status{
		"affected":            advisory.Affected,
		"not_affected":        advisory.NotAffected,
		"fixed":               advisory.Fixed,
		"under_investigation": advisory.UnderInvestigation,
	}
	justifications = []string{
		"component_not_present",
		"vulnerable_code_not_present",
		"vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary",
		"inline_mitigations_already_exist",
	}
	remedies   = []string{"vendor_fix", "mitigation", "workaround", "no_fix_planned", "none_available"} // the best first
	categories = []string{"vendor", "coordinator", "discoverer", "other", "translator", "user"}
)

// word returns OpenVEX's word of a status.
func word(s advisory.Status) string {
	for w, status := range statuses {
		if status == s {
			return w
		}
	}
	return ""
}

// An Error says where a document is wrong, and what: "statements[3].status" and
// the offset behind it. It repeats nothing of the document.
type Error struct {
	Path   string
	Offset int64 // in bytes
	Err    error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("at byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("%s at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// What an [Error] may hold.
var (
	ErrFormat  = errors.New("neither OpenVEX, CycloneDX nor CSAF in JSON, nor CycloneDX in XML")
	ErrSyntax  = errors.New("not well-formed")
	ErrTooBig  = errors.New("too much")
	ErrType    = errors.New("another type of value is wanted")
	ErrTwice   = errors.New("a key stands here twice")
	ErrMissing = errors.New("missing")
	ErrWord    = errors.New("no word of the standard")
	ErrUnknown = errors.New("the document has no such product")
)

// Read reads the statements of one document, whose format is told by its
// content. A document without any, such as a bill of materials, has none. The
// error is an *[Error], but for one of r.
func Read(r io.Reader) ([]Statement, error) {
	d, err := ReadDocument(r)
	if err != nil {
		return nil, err
	}
	return d.Statements, nil
}

// ReadDocument is [Read], with what the document says of itself.
func ReadDocument(r io.Reader) (*Decided, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBytes {
		return nil, &Error{Offset: maxBytes, Err: ErrTooBig}
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	var s *scanner
	format := CycloneDX
	if isXML(b) {
		if !bytes.Contains(b, []byte(cycloneDXNamespace)) {
			return nil, &Error{Err: ErrFormat}
		}
		s = newXMLScanner(b)
	} else {
		s = newScanner(b)
		if format, err = detect(b); err != nil {
			return nil, err
		}
	}
	var d *Decided
	switch format {
	case OpenVEX:
		d = s.openVEX()
	case CycloneDX:
		d = s.cycloneDX()
	case CSAF:
		d = s.csaf()
	default:
		return nil, &Error{Err: ErrFormat}
	}
	s.end()
	if s.err != nil {
		return nil, s.err
	}
	d.Version = max(d.Version, 1)
	ranges := rangeReader{}
	for i := range d.Statements {
		st := &d.Statements[i]
		ranges.understand(&st.Product)
		ranges.understand(st.Component)
		st.Author, st.Document, st.Version = d.Author, d.ID, max(d.Version, d.order)
		st.Draft = d.draft
		if st.Time.IsZero() {
			st.Time = d.Time
		}
	}
	return d, nil
}

// Only keeps what is said of some products, each written as NAME or
// NAME@VERSION: the name alone, with its maker in front, or a package URL. The
// rest is another document, so the identifier is told apart by their names.
func (d *Decided) Only(products []string) error {
	var kept []Statement
	found := make([]bool, len(products))
	for _, st := range d.Statements {
		keep := false
		for i, name := range products {
			if called(&st.Product, name) {
				found[i], keep = true, true
			}
		}
		if keep {
			kept = append(kept, st)
		}
	}
	if i := slices.Index(found, false); i >= 0 {
		return fmt.Errorf("%s: nothing was decided of it; %s", products[i], d.about())
	}
	if len(kept) < len(d.Statements) {
		names := slices.Sorted(slices.Values(products))
		d.ID += "-" + strings.Trim(plain().ReplaceAllString(strings.ToLower(strings.Join(names, "-")), "-"), "-")
	}
	d.Statements = kept
	return nil
}

var plain = lazyregexp.New(`[^a-z0-9.]+`)

// called reports whether a product has this name.
func called(p *advisory.Product, name string) bool {
	is := func(s string) bool {
		return s != "" && (strings.EqualFold(s, name) || p.Version != "" && strings.EqualFold(s+"@"+p.Version, name))
	}
	return is(p.Name) || is(p.Manufacturer+" "+p.Name) || is(withoutVersion(p.PURL)) || p.PURL != "" && p.PURL == name
}

// about names the first products.
func (d *Decided) about() string {
	const most = 8
	var names []string
	for i := range d.Statements {
		if name := title(&d.Statements[i].Product); !slices.Contains(names, name) {
			if names = append(names, name); len(names) > most {
				names[most] = "others"
				break
			}
		}
	}
	return "there is " + strings.Join(names, ", ")
}

// detect tells the format by the keys at the top.
func detect(b []byte) (Format, error) {
	f := NoFormat
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return f, nil
	}
	s := newScanner(b)
	s.object(func(key string) {
		switch {
		case f != NoFormat:
			s.skip()
		case key == "@context":
			outside := s.depth
			if text, ok := s.token().(string); ok && strings.Contains(text, "openvex.dev/ns") {
				f = OpenVEX
			}
			s.rest(outside)
		case key == "bomFormat":
			if s.text() == "CycloneDX" {
				f = CycloneDX
			}
		case key == "document":
			s.object(func(key string) {
				if key == "csaf_version" {
					f = CSAF
				}
				s.skip()
			})
		default:
			s.skip()
		}
	})
	return f, s.err
}
