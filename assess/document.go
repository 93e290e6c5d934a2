// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/report"
)

// maxWorkbook bounds an MDS2 form, as package register has it.
const maxWorkbook = 16 << 20

// documents are what was given besides captures, read.
type documents struct {
	places
	bomFiles   []bomFile
	advisories []*advisory.Document
	said       []vex.Statement // of vulnerabilities
	classes    []register.Classification
	gudidFiles []gudidFile
	catalogues []map[string]advisory.KEVEntry
	kev        map[string]knownExploited // of all of them
	epss       *advisory.EPSS
	entries    []register.Entry // of the hospital's own registers
	ends       []int            // of each of them in entries
	lacks      map[int][]string // by the number of each in ends, the fields that it has no column of
	warnings   map[int]string   // of registers, by input
	statements []*register.MDS2
	dialects   dialects
	leftOut    match.LeftOut
	cleared    []report.Cleared // by suppliers
	quality    []report.Bill
	now        time.Time
	names      *match.Names
}

// A bomFile is read when all devices are known: a thousand bills of materials
// are not kept, and of most the index knows enough.
type bomFile struct {
	in    *report.Input
	at    int // the input's number
	paper *Paper
}

// empty reports whether no document says anything of products and devices.
func (d *documents) empty() bool {
	return len(d.bomFiles) == 0 && len(d.advisories) == 0 && len(d.entries) == 0 && len(d.statements) == 0 && len(d.said) == 0
}

// places says which input each document came from.
type places struct {
	from   map[any]int                     // by the document's pointer
	lines  []finding.Sighting              // of the entries of registers
	papers map[string][]*advisory.Document // by id
	sayers map[[2]string]int               // of VEX, by author and document
	listed []int                           // inputs of catalogues
	noted  struct{ boms, advisories, said, forms int }
}

// knownExploited is a row of a catalogue and the input that it came from.
type knownExploited struct {
	advisory.KEVEntry
	input int
}

// note gives what was read since the last call its place: the input's number.
func (d *documents) note(input int) {
	if d.from == nil {
		d.from, d.sayers, d.papers = map[any]int{}, map[[2]string]int{}, map[string][]*advisory.Document{}
	}
	for i := range d.bomFiles[d.noted.boms:] {
		d.bomFiles[d.noted.boms+i].at = input
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
	for len(d.listed) < len(d.catalogues) {
		d.listed = append(d.listed, input)
	}
	for i := len(d.lines); i < len(d.entries); i++ {
		e := &d.entries[i]
		d.lines = append(d.lines, finding.Sighting{Input: input, Note: fmt.Sprintf("line %d: %s", e.Line, cmp.Or(e.ID, "without a name"))})
	}
	d.noted.boms, d.noted.advisories, d.noted.said, d.noted.forms = len(d.bomFiles), len(d.advisories), len(d.said), len(d.statements)
}

var errNoDocument = errors.New("no document that is known here")

// read takes what is no capture and tells what it was. Its error is
// errNoDocument when it is none of the documents, else what is wrong with it;
// what could be read counts even then. What there is no room for does not.
func (d *documents) read(in *report.Input, p *Paper) error {
	if p.Same != "" {
		in.Kind = "copy of " + p.Same
		return nil
	}
	before := d.mark()
	err := d.take(in, p)
	n := before.listed(d)
	if errors.Is(err, errNoDocument) || err != nil && n == 0 && !errors.Is(err, errKept) {
		return err
	}
	if full := p.Keep(n); full != nil {
		before.undo(d)
		in.Items = 0
		return full
	}
	return err
}

// A mark remembers what was read so far.
type mark struct {
	boms, advisories, said, classes, catalogues, gudid, entries, statements int
}

func (d *documents) mark() mark {
	return mark{len(d.bomFiles), len(d.advisories), len(d.said), len(d.classes), len(d.catalogues), len(d.gudidFiles), len(d.entries), len(d.statements)}
}

// listed returns how many things the documents list that were read since.
func (m mark) listed(d *documents) int {
	n := len(d.said) - m.said + len(d.classes) - m.classes + len(d.entries) - m.entries
	for _, doc := range d.advisories[m.advisories:] {
		n++
		for i := range doc.Vulnerabilities {
			n += 1 + len(doc.Vulnerabilities[i].Statements)
		}
	}
	for _, rows := range d.catalogues[m.catalogues:] {
		n += len(rows)
	}
	for _, form := range d.statements[m.statements:] {
		n += len(form.Questions)
	}
	return n
}

// undo forgets them.
func (m mark) undo(d *documents) {
	d.bomFiles, d.advisories, d.said, d.classes = d.bomFiles[:m.boms], d.advisories[:m.advisories], d.said[:m.said], d.classes[:m.classes]
	d.catalogues, d.gudidFiles, d.entries, d.statements = d.catalogues[:m.catalogues], d.gudidFiles[:m.gudid], d.entries[:m.entries], d.statements[:m.statements]
	for n := len(d.ends); n > 0 && d.ends[n-1] > m.entries; n-- {
		d.ends = d.ends[:n-1]
	}
}

// take reads a document by what its beginning says that it is.
func (d *documents) take(in *report.Input, p *Paper) error {
	f, err := p.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	if kind, ok := sbom.Detect(p.Head); ok {
		in.Kind = "cyclonedx"
		if kind > sbom.CycloneDXXML {
			in.Kind = "spdx"
		}
		p.sifted = true // what is kept of it made counts
		n := 0
		switch vulnerable, err := speaks(f); {
		case err != nil:
			return err
		case vulnerable:
			doc, err := readBOM(p)
			if err == nil && doc.Vulnerabilities > 0 {
				n, err = d.readVEX(in, p)
			}
			if err != nil {
				return err
			}
			if parts := len(doc.Components); n > 0 && (parts == 0 || parts == 1 && doc.Subject == 0) { // and nothing that the product is made of
				in.Kind, in.Items = "vex", n
				return nil
			}
		}
		d.bomFiles = append(d.bomFiles, bomFile{in: in, paper: p})
		return nil
	}
	switch kind := advisory.Detect(p.Head); kind {
	case advisory.NoKind:
	case advisory.KEVCatalog:
		in.Kind = "kev"
		rows, err := advisory.ReadKEV(f)
		if err != nil {
			return err
		}
		d.catalogues = append(d.catalogues, rows)
		in.Items = len(rows)
		return nil
	case advisory.EPSSScores:
		in.Kind, p.sifted = "epss", true
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
			var wrong error
			if docs[0].Trust, in.Note, wrong = p.Beside(); wrong != nil {
				return errors.Join(err, wrong)
			}
		}
		d.advisories = append(d.advisories, docs...)
		if len(docs) == 1 && docs[0].Profile == "csaf_vex" { // of other advisories the index knows what each clears
			in.Kind = "vex"
			var wrong error
			in.Items, wrong = d.readVEX(in, p)
			err = errors.Join(err, wrong)
		}
		return err
	}
	if IsOpenVEX(p.Head) {
		in.Kind = "openvex"
		var err error
		in.Items, err = d.readVEX(in, p)
		return err
	}
	if radio.Detect(p.Head) {
		in.Kind = "dialect"
		return d.dialects.read(in, p, f)
	}
	switch register.Detect(p.Head, p.Name) {
	case register.MDS2File:
		in.Kind = "mds2"
		book, err := io.ReadAll(io.LimitReader(f, maxWorkbook+1))
		if err != nil {
			return err
		}
		form, err := register.ReadMDS2(bytes.NewReader(book), int64(len(book)))
		if err != nil {
			return err
		}
		in.Items = len(form.Questions)
		d.statements = append(d.statements, form)
		return nil
	case register.GUDIDFile:
		in.Kind, p.sifted = "gudid", true
		d.gudid(in, p)
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
		d.advisories = append(d.advisories, docs...)
		return err
	case register.DeviceList:
		return d.readList(f, in, p)
	}
	return errNoDocument
}

// speaks reports whether a bill of materials says something of vulnerabilities.
func speaks(r io.Reader) (bool, error) {
	const word = "vulnerabilities"
	b := make([]byte, len(word)-1, 32<<10)
	for {
		n, err := r.Read(b[len(word)-1 : cap(b)])
		if bytes.Contains(b[:len(word)-1+n], []byte(word)) {
			return true, nil
		}
		copy(b, b[n:len(word)-1+n]) // a piece of the word may be at the end
		if err == io.EOF {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
}

func readBOM(p *Paper) (*sbom.Document, error) {
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sbom.Read(f)
}

// IsOpenVEX reports whether a document that begins so is OpenVEX.
func IsOpenVEX(head []byte) bool {
	return bytes.Contains(head, []byte("openvex.dev/ns")) && bytes.HasPrefix(bytes.TrimLeft(head, "\ufeff \t\r\n"), []byte("{"))
}

// listNames are how the names of registers end.
var listNames = []string{".csv", ".tsv", ".yaml", ".yml", ".json", ".txt"}

// NamesList reports whether a document may be a register by its name; a stream
// has none that says anything.
func (p *Paper) NamesList() bool {
	return p.stream || slices.Contains(listNames, strings.ToLower(filepath.Ext(p.Name)))
}

// readList reads a register. What merely looks like one by its first bytes is no
// document.
func (d *documents) readList(f io.Reader, in *report.Input, p *Paper) error {
	if !p.NamesList() {
		return errNoDocument
	}
	r, err := register.Read(f, filepath.Base(p.Name))
	if errors.Is(err, register.ErrNotList) {
		return errNoDocument
	} else if err != nil {
		return err
	}
	in.Kind, in.Items, in.Note = "register", len(r.Entries), columnsOf(r)
	d.entries = append(d.entries, r.Entries...)
	if d.lacks == nil {
		d.lacks = map[int][]string{}
	}
	d.lacks[len(d.ends)] = r.Lacks()
	d.ends = append(d.ends, len(d.entries))
	switch more := len(r.Problems) - 1 + r.More; {
	case more > 0:
		return fmt.Errorf("%w; in all %d such places", r.Problems[0], more+1)
	case more == 0:
		return r.Problems[0]
	}
	return nil
}

// readVEX reads what a document says of vulnerabilities, and returns how many
// statements that is.
func (d *documents) readVEX(in *report.Input, p *Paper) (int, error) {
	said, early, err := ReadVEX(p, d.now)
	if err != nil {
		return 0, err
	}
	if early > 0 {
		if in.Note != "" {
			in.Note += "; "
		}
		in.Note += Early(early)
	}
	d.said = append(d.said, said...)
	return len(said), nil
}

// again is what was read, for one more look at what it is about: a look leaves what it
// finds out in it.
func (d *documents) again() *documents {
	own := *d
	own.from, own.sayers, own.papers = maps.Clone(d.from), maps.Clone(d.sayers), maps.Clone(d.papers)
	return &own
}
