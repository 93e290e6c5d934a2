// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package documents takes in what is published of products, and says which of the
// devices that a server knows it concerns.
//
// This API follows the server and may change.
package documents

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// Most is how large a document may be, as it is sent.
const Most = 64 << 20 // bytes

const (
	maxName     = 200 // bytes of a file's name
	maxTitle    = 500
	maxProducts = 200      // that are kept for search
	maxWorkbook = 16 << 20 // bytes of an MDS2 form, as package register has it
)

// A paper is a document, read.
type paper struct {
	bill       *sbom.Document
	advisories []*advisory.Document
	said       []vex.Statement
	form       *register.MDS2
	attacked   map[string]advisory.KEVEntry
	scores     *advisory.EPSS
}

// has reports whether something could be read, perhaps not all.
func (p *paper) has() bool {
	return p != nil && (p.bill != nil || p.form != nil || len(p.attacked) > 0 || p.scores != nil || len(p.advisories)+len(p.said) > 0)
}

func refuse(format string, args ...any) error {
	return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf(format, args...)}
}

// read reads a document that is kept.
func read(content []byte, now time.Time) (kind string, p *paper, err error) {
	papers := assess.Papers{Stdin: bytes.NewReader(content)}
	in, err := papers.Open("-")
	if err != nil {
		return "", nil, err
	}
	return readPaper(in, now)
}

// readPaper reads a document; its content says of which kind it is.
func readPaper(in *assess.Paper, now time.Time) (kind string, p *paper, err error) {
	f, err := in.Open()
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	p = &paper{}
	say := func() (err error) {
		p.said, _, err = assess.ReadVEX(in, now)
		return err
	}
	if format, ok := sbom.Detect(in.Head); ok {
		kind = "cyclonedx"
		if format > sbom.CycloneDXXML {
			kind = "spdx"
		}
		if p.bill, err = sbom.Read(f); err == nil && p.bill.Vulnerabilities > 0 {
			err = say()
		}
		return kind, p, err
	}
	switch k := advisory.Detect(in.Head); k {
	case advisory.NoKind:
	case advisory.KEVCatalog:
		p.attacked, err = advisory.ReadKEV(f)
		return KEV, p, err
	case advisory.EPSSScores:
		p.scores, err = advisory.ReadEPSS(f)
		return EPSS, p, err
	default:
		kind = strings.ToLower(k.String())
		p.advisories, err = advisory.Read(f)
		if len(p.advisories) == 1 && p.advisories[0].Profile == "csaf_vex" {
			kind = "vex"
			err = errors.Join(err, say())
		}
		return kind, p, err
	}
	if assess.IsOpenVEX(in.Head) {
		return "openvex", p, say()
	}
	switch k := register.Detect(in.Head, in.Name); k {
	case register.RecallFile:
		p.advisories, err = register.ReadRecalls(f)
		return "recalls", p, err
	case register.MDS2File:
		book, err := io.ReadAll(io.LimitReader(f, maxWorkbook+1))
		if err == nil {
			p.form, err = register.ReadMDS2(bytes.NewReader(book), int64(len(book)))
		}
		return "mds2", p, err
	case register.NoKind:
	default: // it has serial numbers, also of what is in or on a body
		return "", nil, refuse("This is a list of devices, which is not kept here, as it may name what is on a patient. 'myelin assess --server ADDRESS' reads it.")
	}
	return "", nil, refuse("This is no document that is known here: an advisory (CSAF, OSV, CVE), a bill of materials (CycloneDX, SPDX), VEX, an MDS2 form, or a list of CISA (KEV) or FIRST (EPSS).")
}

// The lists of which only the newest is kept, by their kinds.
const (
	KEV  = "kev"  // of vulnerabilities that attackers use: CISA
	EPSS = "epss" // of forecasts: FIRST
)

// Feeds are the kinds of these lists.
func Feeds() []string { return []string{KEV, EPSS} }

// An Intake takes in documents, from people, programs and a folder that is watched.
type Intake struct {
	Store *store.Store
	Fleet *Fleet // is told
	Dir   string // where documents are while they come, so that a slow sender holds no memory; "" is the system's
	Now   func() time.Time

	// Act has in the ledger that a document is about to be added, and what came of it.
	Act func(who, did, to, why string, do func() (count int, err error)) error

	reading chan struct{} // one at a time is in memory
}

// NewIntake returns an intake of these.
func NewIntake(s *store.Store, f *Fleet, dir string, now func() time.Time, act func(who, did, to, why string, do func() (count int, err error)) error) *Intake {
	return &Intake{Store: s, Fleet: f, Dir: dir, Now: now, Act: act, reading: make(chan struct{}, 1)}
}

// Add reads a document and keeps it, once: fresh is false if it was here. Of a list
// of [Feeds] the older ones go.
func (t *Intake) Add(ctx context.Context, by, name string, r io.Reader) (d *store.Document, fresh bool, err error) {
	f, err := os.CreateTemp(t.Dir, "document-*")
	if err != nil {
		return nil, false, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(r, Most+1))
	if err != nil {
		return nil, false, err
	}
	if n > Most {
		return nil, false, &access.Error{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("A document has at most %d MiB.", Most>>20)}
	}
	select {
	case t.reading <- struct{}{}:
		defer func() { <-t.reading }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	name = filepath.Base("/" + strings.ReplaceAll(name, `\`, "/"))
	d = &store.Document{Digest: hex.EncodeToString(sum.Sum(nil)), Name: clip(name, maxName), Bytes: n, By: by, Added: t.Now().UnixNano()}
	papers := assess.Papers{}
	in, err := papers.Open(f.Name())
	var p *paper
	if err == nil {
		in.Name = name
		d.Kind, p, err = readPaper(in, t.Now())
	}
	var said *access.Error
	switch {
	case errors.As(err, &said):
		return nil, false, err
	case err != nil && !p.has():
		return nil, false, refuse("It could not be read: %s.", report.Plain(strings.ReplaceAll(err.Error(), f.Name(), "it")))
	}
	d.ID, d.Title, d.Products = p.names()
	p, in = nil, nil
	content, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, false, err
	}
	older, err := t.older(ctx, d)
	if err != nil {
		return nil, false, err
	}
	err = t.Act(by, "add document", d.Kind+" "+d.Digest, "", func() (int, error) {
		if fresh, err = t.Store.AddDocument(ctx, d, content); err != nil || !fresh {
			return 0, err
		}
		for _, digest := range older {
			if err := t.Store.RemoveDocument(ctx, digest); err != nil && !errors.Is(err, store.ErrNotFound) {
				return 1, err
			}
		}
		return 1, nil
	})
	if fresh {
		t.Fleet.Changed()
	}
	return d, fresh, err
}

// older are those that a list of which only the newest is kept comes in place of; one
// that is older than what is here is refused.
func (t *Intake) older(ctx context.Context, d *store.Document) (digests []string, err error) {
	if !slices.Contains(Feeds(), d.Kind) {
		return nil, nil
	}
	if day := d.ID[len(d.ID)-len(time.DateOnly):]; day > t.Now().Add(48*time.Hour).Format(time.DateOnly) {
		return nil, refuse("It is of a day that has not come: %s. No list after it would be newer.", day)
	}
	l, err := t.Store.Documents(ctx, []string{d.Kind}, "", store.Page{Limit: 1000})
	if err != nil {
		return nil, err
	}
	for i := range l.Rows {
		switch old := &l.Rows[i]; {
		case old.Digest == d.Digest:
		case old.ID > d.ID: // they end with the day
			return nil, refuse("It is older than the list that is here: %s, and not %s.", old.ID, d.ID)
		default:
			digests = append(digests, old.Digest)
		}
	}
	return digests, nil
}

// names says what a document is called, and which products it names.
func (p *paper) names() (id, title string, products []string) {
	add := func(list ...string) {
		s := clip(strings.Join(strings.Fields(strings.Join(list, " ")), " "), maxTitle)
		if s != "" && len(products) < maxProducts && !slices.Contains(products, s) {
			products = append(products, s)
		}
	}
	if b := p.bill; b != nil {
		id = b.Serial
		if b.Subject >= 0 && b.Subject < len(b.Components) {
			c := &b.Components[b.Subject]
			title = strings.TrimSpace(strings.TrimSpace(cmp.Or(c.Supplier, b.Supplier)+" "+c.Name) + " " + c.Version)
			add(title)
		}
		title = "What " + cmp.Or(title, "a product") + " is made of: " + strconv.Itoa(len(b.Components)) + " parts"
	}
	switch {
	case p.form != nil:
		made := strings.TrimSpace(strings.TrimSpace(p.form.Manufacturer+" "+p.form.Model) + " " + p.form.Version)
		id, title = p.form.Document, "What the maker discloses of "+cmp.Or(made, "a product")+": "+strconv.Itoa(len(p.form.Questions))+" answers (MDS2)"
		add(made)
	case p.attacked != nil:
		newest := time.Time{}
		for _, e := range p.attacked {
			if e.Added.After(newest) {
				newest = e.Added
			}
		}
		id, title = "KEV "+newest.Format(time.DateOnly), fmt.Sprintf("%d vulnerabilities that attackers use (CISA)", len(p.attacked))
	case p.scores != nil:
		id, title = "EPSS "+p.scores.Date.Format(time.DateOnly), fmt.Sprintf("Forecasts of %d vulnerabilities (FIRST)", p.scores.Len())
	}
	for i, a := range p.advisories {
		if i == 0 && id == "" {
			id, title = a.ID, a.Title
		}
		for j := range a.Vulnerabilities {
			for k := range a.Vulnerabilities[j].Statements {
				q := &a.Vulnerabilities[j].Statements[k].Product
				add(q.Manufacturer, cmp.Or(q.Name, q.Package))
			}
			add(a.Vulnerabilities[j].ID)
		}
	}
	if n := len(p.advisories); n > 1 {
		id, title = "", fmt.Sprintf("%d advisories, the first %s", n, p.advisories[0].ID)
	}
	for i := range p.said {
		st := &p.said[i]
		if id == "" && i == 0 && p.bill == nil {
			id, title = st.Document, "What "+cmp.Or(st.Author, "somebody")+" says of "+st.Vulnerability
		}
		add(st.Product.Manufacturer, cmp.Or(st.Product.Name, st.Product.PURL))
		add(st.Vulnerability)
	}
	return clip(id, maxName), clip(title, maxTitle), products
}

// clip shortens a text that others wrote, between its characters.
func clip(s string, most int) string {
	s = report.Plain(s)
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
