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
	"net/http"
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
	maxProducts = 200 // that are kept for search
)

// A paper is a document, read.
type paper struct {
	bill       *sbom.Document
	advisories []*advisory.Document
	said       []vex.Statement
}

func refuse(format string, args ...any) error {
	return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf(format, args...)}
}

// read reads a document; its content says of which kind it is.
func read(content []byte, now time.Time) (kind string, p *paper, err error) {
	papers := assess.Papers{Stdin: bytes.NewReader(content)}
	in, err := papers.Open("-")
	if err != nil {
		return "", nil, err
	}
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
	case advisory.KEVCatalog, advisory.EPSSScores:
		return "", nil, refuse("This is a feed (%s), which the server gets by itself: Settings say from where.", k)
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
	case register.NoKind:
	default: // it has serial numbers, also of what is in or on a body
		return "", nil, refuse("This is a list of devices, which is not kept here, as it may name what is on a patient. 'myelin assess --server ADDRESS' reads it.")
	}
	return "", nil, refuse("This is no document that is known here: an advisory (CSAF, OSV, CVE), a bill of materials (CycloneDX, SPDX), or VEX.")
}

// Add reads a document and keeps it, once.
func Add(ctx context.Context, s *store.Store, by, name string, content []byte, now time.Time) (d *store.Document, fresh bool, err error) {
	if len(content) > Most {
		return nil, false, &access.Error{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("A document has at most %d MiB.", Most>>20)}
	}
	kind, p, err := read(content, now)
	var said *access.Error
	switch {
	case errors.As(err, &said):
		return nil, false, err
	case err != nil && (p == nil || p.bill == nil && len(p.advisories)+len(p.said) == 0):
		return nil, false, refuse("It could not be read: %s.", report.Plain(err.Error()))
	}
	sum := sha256.Sum256(content)
	d = &store.Document{Digest: hex.EncodeToString(sum[:]), Kind: kind, Name: clip(filepath.Base("/"+strings.ReplaceAll(name, `\`, "/")), maxName), Bytes: int64(len(content)), By: by, Added: now.UnixNano()}
	d.ID, d.Title, d.Products = p.names()
	fresh, err = s.AddDocument(ctx, d, content)
	return d, fresh, err
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
