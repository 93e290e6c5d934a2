// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package sbom reads what a product is made of: CycloneDX 1.1 to 1.7 as JSON or
// XML, SPDX 2.2 and 2.3 as JSON or tag-value, and SPDX 3.0 as JSON-LD become one
// [Document] of flat components.
//
// The reader streams and keeps nothing but what it returns. One table for each
// specification, written from its text, says what may stand where and from which
// version on; a document that breaks a rule is refused with the place. All text
// is UTF-8, a byte order mark before it is passed over. XML is read without
// document types. Not read are SPDX as RDF, YAML or spreadsheet, and CycloneDX as
// protocol buffers. Signatures are not verified, and what is said about how
// something was built, about models and about keys is passed over.
//
// [Document.Quality] compares a document with NTIA's minimum elements and what
// FDA asks for beyond.
//
// This API is stable.
package sbom

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"
)

// A Format is a standard of bills of materials, with its spelling.
type Format uint8

// The formats.
const (
	NoFormat Format = iota
	CycloneDXJSON
	CycloneDXXML
	SPDXJSON
	SPDXTagValue
	SPDX3JSON
)

// A Document is one bill of materials.
type Document struct {
	Format      Format
	SpecVersion string // "1.6", "SPDX-2.3", "3.0.1"
	Serial      string // serial number or namespace: names this document
	Created     time.Time
	Authors     []string // who made the document, tools not included
	Supplier    string   // of the product; of the subject, where the document says none
	Subject     int      // index of the component that the document describes, or -1
	Components  []Component

	// Vulnerabilities is how many the document speaks of; match/vex reads what it
	// says of them.
	Vulnerabilities int
}

// A Component is one part. Its strings are as written.
type Component struct {
	Ref          string // bom-ref or SPDX identifier
	Type         string // CycloneDX's word: "library", "operating-system", "device", ...; "" when not said
	Group        string
	Name         string
	Version      string
	Supplier     string // CycloneDX: supplier, else manufacturer, else publisher
	PURL         string
	CPEs         []string
	Hashes       []Hash
	Licenses     []string // SPDX identifiers, expressions or names
	Parent       int      // index of the component that holds this one, or -1
	DependsOn    []int    // indices
	DependsKnown bool     // the document says what it depends on, be it nothing
	SupportLevel string   // FDA: "actively maintained", "no longer maintained", "abandoned"; as written
	EndOfSupport string   // "2006-01-02", or ""

	EndOfSupportText string // what is said of the end of support where it is no date
}

// A Hash is a digest of a component.
type Hash struct {
	Algorithm string // "SHA-256", CycloneDX's spelling
	Hex       string
}

// Read reads one document and tells its format by its content. It streams: what
// it keeps is what it returns, some 600 bytes a component. A document that breaks
// its specification or a bound is refused with an [*Error]. It may be called from
// several goroutines.
func Read(src io.Reader) (*Document, error) {
	r := &reader{
		doc:       &Document{Subject: -1},
		supported: everyVersion &^ 3,
		facts:     facts{interned: map[string]string{}, ids: map[string]int32{}, said: map[string]bool{}},
		spdxFacts: spdxFacts{document: -1, documentBy: -1},
	}
	r.window.r = src
	r.more()
	for len(r.buf) > 0 && r.end < len(r.buf) && r.more() { // fill the first window
	}
	if bytes.HasPrefix(r.buf[:r.end], []byte("\xef\xbb\xbf")) {
		r.pos = 3
	}
	format, ok := Detect(r.buf[r.pos:r.end])
	if !ok {
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return nil, r.fail(r.err)
		}
		return nil, r.fail(errNotSBOM)
	}
	r.doc.Format = format
	var err error
	switch format {
	case CycloneDXXML:
		r.supported |= 2 // 1.1
		err = r.xmlDocument(cyclonedxShapes())
	case CycloneDXJSON:
		err = r.jsonDocument(cyclonedxShapes()["bom"])
	case SPDXJSON:
		r.supported = 1<<2 | 1<<3
		err = r.jsonDocument(spdxShapes()["spdx"])
	case SPDXTagValue:
		r.supported = 1<<2 | 1<<3
		err = r.tagDocument(spdxShapes())
	case SPDX3JSON:
		err = r.jsonDocument(spdx3Shapes()["graph"])
		if err == nil {
			err = r.settle3()
		}
	}
	if err != nil {
		return nil, err
	}
	r.settle()
	r.connect()
	if s := r.doc.Subject; s >= 0 && r.doc.Supplier == "" {
		r.doc.Supplier = r.doc.Components[s].Supplier
	}
	return r.doc, nil
}

func (r *reader) jsonDocument(s *shape) error {
	r.space()
	if err := r.object(s); err != nil {
		return err
	}
	if r.space(); r.pos < r.end {
		return r.fail(errTrailing)
	}
	if !errors.Is(r.err, io.EOF) {
		return r.fail(r.why())
	}
	return nil
}

// Detect tells the format of a document by its first bytes; a few kilobytes are
// enough for all but the strangest order of keys. It does not say that the
// document is valid.
func Detect(head []byte) (Format, bool) {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	head = bytes.TrimLeft(head, " \t\r\n")
	if len(head) == 0 {
		return NoFormat, false
	}
	switch head[0] {
	case '<':
		if bytes.Contains(head, []byte(cyclonedxBOM)) {
			return CycloneDXXML, true
		}
	case '{':
		return detectJSON(head)
	default:
		for line := range bytes.Lines(head) {
			if bytes.HasPrefix(line, []byte("SPDXVersion:")) {
				return SPDXTagValue, true
			}
			if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
				break
			}
		}
	}
	return NoFormat, false
}

// detectJSON looks at the keys of the outermost object.
func detectJSON(head []byte) (Format, bool) {
	j := jsonScanner{window: window{buf: head, end: len(head), err: io.EOF}}
	j.pos++
	cut := false
	for first := true; !cut; first = false {
		if ok, err := j.next(first, '}'); !ok || err != nil {
			break
		}
		key, err := j.key()
		if err != nil || j.take(':') != nil {
			break
		}
		at := string(key)
		j.space()
		from := j.pos
		cut = j.skip(0) != nil
		value := string(head[from:min(j.pos, from+512)])
		switch at {
		case "bomFormat":
			return CycloneDXJSON, true
		case "$schema":
			if strings.Contains(value, "cyclonedx.org/schema/bom") {
				return CycloneDXJSON, true
			}
		case "spdxVersion", "SPDXID", "dataLicense", "documentNamespace":
			return SPDXJSON, true
		case "@context":
			if strings.Contains(value, "spdx.org/rdf/3.") {
				return SPDX3JSON, true
			}
			if !cut {
				return NoFormat, false
			}
		}
	}
	for _, sign := range []struct {
		text   string
		format Format
	}{{`"bomFormat"`, CycloneDXJSON}, {`"spdxVersion"`, SPDXJSON}, {`"SPDXRef-`, SPDXJSON}, {"spdx.org/rdf/3.", SPDX3JSON}, {`"bom-ref"`, CycloneDXJSON}, {`"purl"`, CycloneDXJSON}} {
		if cut && bytes.Contains(head, []byte(sign.text)) {
			return sign.format, true
		}
	}
	return NoFormat, false
}
