// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/report"
)

// headBytes is how much of a file says what it is.
const headBytes = 64 << 10

// documents are what was given besides captures, read.
type documents struct {
	places
	boms       []*sbom.Document
	advisories []*advisory.Document
	said       []vex.Statement // of vulnerabilities
	classes    []register.Classification
	gudidFiles []gudidFile
	kev        map[string]advisory.KEVEntry
	epss       *advisory.EPSS
	entries    []register.Entry // of the hospital's own registers
	ends       []int            // of each of them in entries
	statements []*register.MDS2
}

// empty reports whether no document says anything of products and devices.
func (d *documents) empty() bool {
	return len(d.boms) == 0 && len(d.advisories) == 0 && len(d.entries) == 0 && len(d.statements) == 0 && len(d.said) == 0
}

// places says which input each document came from.
type places struct {
	from   map[any]int                     // by the document's pointer
	lines  []finding.Sighting              // of the entries of registers
	papers map[string][]*advisory.Document // by id
	bills  map[string]*sbom.Document       // by serial number
	sayers map[[2]string]int               // of VEX, by author and document
	noted  struct{ boms, advisories, said, forms int }
}

// note gives what was read since the last call its place: the input's number.
func (d *documents) note(input int) {
	if d.from == nil {
		d.from, d.sayers = map[any]int{}, map[[2]string]int{}
		d.papers, d.bills = map[string][]*advisory.Document{}, map[string]*sbom.Document{}
	}
	for _, doc := range d.boms[d.noted.boms:] {
		d.from[doc] = input
	}
	for _, doc := range d.advisories[d.noted.advisories:] {
		d.from[doc] = input
	}
	for _, form := range d.statements[d.noted.forms:] {
		d.from[form] = input
	}
	for i := range d.said[d.noted.said:] {
		st := &d.said[d.noted.said+i]
		d.sayers[[2]string{st.Author, st.Document}] = input
	}
	for i := len(d.lines); i < len(d.entries); i++ {
		e := &d.entries[i]
		d.lines = append(d.lines, finding.Sighting{Input: input, Note: fmt.Sprintf("line %d: %s", e.Line, cmp.Or(e.ID, "without a name"))})
	}
	d.noted.boms, d.noted.advisories, d.noted.said, d.noted.forms = len(d.boms), len(d.advisories), len(d.said), len(d.statements)
}

var errNoDocument = errors.New("no document that is known here")

// read takes a file that is no capture and tells what it was. Its error is
// errNoDocument when it is none of the documents, else what is wrong with it;
// what could be read counts even then.
func (d *documents) read(in *report.Input) error {
	f, err := os.Open(in.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, headBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	head = head[:n]
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if kind, ok := sbom.Detect(head); ok {
		in.Kind = "cyclonedx"
		if kind > sbom.CycloneDXXML {
			in.Kind = "spdx"
		}
		doc, err := sbom.Read(f)
		if err != nil {
			return err
		}
		in.Items = len(doc.Components)
		statements := doc.Vulnerabilities > 0 && (in.Items == 0 || in.Items == 1 && doc.Subject == 0)
		if !statements {
			d.boms = append(d.boms, doc)
		}
		if doc.Vulnerabilities == 0 {
			return nil
		}
		if kind == sbom.CycloneDXXML {
			return errors.New("what it says of vulnerabilities is not read: that takes CycloneDX in JSON")
		}
		n, err := d.readVEX(f)
		if statements { // and nothing that the product is made of
			in.Kind, in.Items = "vex", n
		}
		return err
	}
	switch kind := advisory.Detect(head); kind {
	case advisory.NoKind:
	case advisory.KEVCatalog:
		in.Kind = "kev"
		rows, err := advisory.ReadKEV(f)
		if err != nil {
			return err
		}
		if d.kev == nil {
			d.kev = map[string]advisory.KEVEntry{}
		}
		for cve, row := range rows {
			d.kev[cve] = row
		}
		in.Items = len(rows)
		return nil
	case advisory.EPSSScores:
		in.Kind = "epss"
		scores, err := advisory.ReadEPSS(f)
		if err != nil {
			return err
		}
		if in.Items = scores.Len(); d.epss == nil || scores.Date.After(d.epss.Date) {
			d.epss = scores
		}
		return nil
	default:
		in.Kind = strings.ToLower(kind.String())
		docs, err := advisory.Read(f)
		in.Items = len(docs)
		if len(docs) == 1 && kind == advisory.CSAF {
			if docs[0].Trust, err = beside(in.Path, err); docs[0].Trust.Damaged() {
				return errors.Join(err, errors.New("the signature or a hash beside it is of another document; it is not used"))
			}
		}
		d.advisories = append(d.advisories, docs...)
		if len(docs) == 1 && docs[0].Profile == "csaf_vex" { // of other advisories the index knows what each clears
			in.Kind = "vex"
			var wrong error
			in.Items, wrong = d.readVEX(f)
			err = errors.Join(err, wrong)
		}
		return err
	}
	if bytes.Contains(head, []byte("openvex.dev/ns")) && bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")) {
		in.Kind = "openvex"
		var err error
		in.Items, err = d.readVEX(f)
		return err
	}
	switch register.Detect(head, in.Path) {
	case register.MDS2File:
		in.Kind = "mds2"
		st, err := f.Stat()
		if err != nil {
			return err
		}
		form, err := register.ReadMDS2(f, st.Size())
		if err != nil {
			return err
		}
		in.Items = len(form.Questions)
		d.statements = append(d.statements, form)
		return nil
	case register.GUDIDFile:
		in.Kind = "gudid"
		d.gudid(in, head)
		return nil
	case register.ClassificationFile:
		in.Kind = "classification"
		rows, err := register.ReadClassification(f)
		in.Items = len(rows)
		d.classes = append(d.classes, rows...)
		return err
	case register.RecallFile:
		in.Kind = "recalls"
		docs, err := register.ReadRecalls(f)
		in.Items = len(docs)
		d.advisories = append(d.advisories, recalls(docs)...)
		return err
	case register.DeviceList:
		return d.readList(f, in)
	}
	return errNoDocument
}

// readList reads a register. What merely looks like one by its first bytes is no
// document.
func (d *documents) readList(f io.Reader, in *report.Input) error {
	switch strings.ToLower(filepath.Ext(in.Path)) {
	case ".csv", ".tsv", ".yaml", ".yml", ".json", ".txt":
	default:
		return errNoDocument
	}
	r, err := register.Read(f, filepath.Base(in.Path))
	if errors.Is(err, register.ErrNotList) {
		return errNoDocument
	} else if err != nil {
		return err
	}
	in.Kind, in.Items, in.Note = "register", len(r.Entries), columnsOf(r)
	d.entries = append(d.entries, r.Entries...)
	d.ends = append(d.ends, len(d.entries))
	if len(r.Problems) > 0 {
		return r.Problems[0]
	}
	return nil
}

// readVEX reads what a file says of vulnerabilities, from its beginning, and
// returns how many statements that is.
func (d *documents) readVEX(f io.ReadSeeker) (int, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	doc, err := vex.ReadDocument(f)
	if err != nil {
		return 0, err
	}
	for i := range doc.Statements {
		st := &doc.Statements[i]
		st.Product.Manufacturer = cmp.Or(st.Product.Manufacturer, st.Supplier)
	}
	d.said = append(d.said, doc.Statements...)
	return len(doc.Statements), nil
}

// beside holds an advisory against the signature and the hashes beside it.
// Nobody's key is known here, so that a signature tells of itself only.
func beside(path string, err error) (advisory.Trust, error) {
	var around [3][]byte
	for i, ext := range [...]string{".asc", ".sha256", ".sha512"} {
		around[i], _ = os.ReadFile(path + ext) // mostly there is none
	}
	if around[0] == nil && around[1] == nil && around[2] == nil {
		return advisory.Trust{}, err
	}
	doc, readErr := os.ReadFile(path)
	if readErr != nil {
		return advisory.Trust{}, errors.Join(err, readErr)
	}
	return advisory.Verify(doc, around[0], around[1], around[2], &advisory.Keyring{}), err
}
