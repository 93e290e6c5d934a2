// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/match/advisory"
)

// openVEX reads a document of OpenVEX 0.2.0, and of the drafts before, in which
// vulnerabilities and products were strings.
func (s *scanner) openVEX() *Decided {
	d := &Decided{}
	var updated time.Time
	var context, inactive string // inactive: where "affected" first comes without what to do
	s.object(func(key string) {
		switch key {
		case "@context":
			context = s.text()
		case "@id":
			d.ID = s.text()
		case "author":
			d.Author = s.text()
		case "role":
			if role := strings.ToLower(s.text()); slices.Contains(categories, role) {
				d.Category = role
			}
		case "timestamp":
			d.First = s.time()
		case "last_updated":
			updated = s.time()
		case "version":
			d.Version = s.number()
		case "statements":
			s.array(func(int) { inactive = cmp.Or(inactive, s.openVEXStatement(d)) })
		default:
			s.skip()
		}
	})
	if inactive != "" && !slices.ContainsFunc(drafts, func(v string) bool { return strings.HasSuffix(context, v) }) {
		s.failAt(inactive, ErrMissing)
	}
	// A statement without a time of its own was said when the document was.
	d.Time = d.First
	if updated.After(d.Time) {
		d.Time = updated
	}
	return d
}

// drafts are how the contexts end of documents that need not say what to do.
var drafts = []string{"/ns", "/v0.0.0", "/v0.0.1", "/v0.1.0"}

// openVEXStatement returns the place of an action that is missing, or "".
func (s *scanner) openVEXStatement(d *Decided) (inactive string) {
	var st Statement
	var products [][]advisory.Product // each with its subcomponents behind it
	var parts []advisory.Product      // the drafts had them beside the products
	var updated time.Time
	s.object(func(key string) {
		switch key {
		case "vulnerability":
			s.openVEXVulnerability(&st)
		case "timestamp":
			st.Time = s.time()
		case "last_updated":
			updated = s.time()
		case "products":
			s.array(func(int) {
				product, parts := s.openVEXProduct()
				products = append(products, append([]advisory.Product{product}, parts...))
				s.atMost(len(products), maxProducts)
			})
		case "subcomponents":
			parts = s.openVEXParts()
		case "status":
			st.Status = statuses[s.oneOf("affected", "not_affected", "fixed", "under_investigation")]
		case "supplier":
			st.Supplier = s.text()
		case "justification":
			if st.Justification = s.text(); st.Justification != "" && !slices.Contains(justifications, st.Justification) {
				s.fail(ErrWord)
			}
		case "impact_statement":
			st.Impact = s.text()
		case "action_statement":
			st.Action = s.text()
		default:
			s.skip()
		}
	})
	if st.Vulnerability == "" || st.Status == advisory.NoStatus {
		s.fail(ErrMissing)
	}
	at := strings.TrimPrefix(strings.Join(s.path, ""), ".")
	switch {
	case st.Status == advisory.NotAffected && st.Justification == "" && st.Impact == "": // what clears has to say why
		s.failAt(at+".justification", ErrMissing)
	case st.Status == advisory.Affected && st.Action == "":
		inactive = at + ".action_statement"
	}
	if updated.After(st.Time) {
		st.Time = updated
	}
	if products == nil {
		products = [][]advisory.Product{{{}}} // of which product it does not say
	}
	for _, p := range products {
		st.Product = p[0]
		within := p[1:]
		if len(within) == 0 {
			within = parts
		}
		s.say(d, st, within)
	}
	return inactive
}

// say adds a statement, once for each part that it is about.
func (s *scanner) say(d *Decided, st Statement, parts []advisory.Product) {
	s.atMost(len(d.Statements)+max(len(parts), 1), maxStatements)
	if s.err != nil {
		return
	}
	if len(parts) == 0 {
		d.Statements = append(d.Statements, st)
	}
	for i := range parts {
		st.Component = &parts[i]
		d.Statements = append(d.Statements, st)
	}
}

func (s *scanner) atMost(n, most int) {
	if n > most {
		s.fail(ErrTooBig)
	}
}

func (s *scanner) openVEXVulnerability(st *Statement) {
	var id string
	s.objectOr(func(name string) { st.Vulnerability = name }, func(key string) {
		switch key {
		case "@id":
			id = s.text()
		case "name":
			st.Vulnerability = s.text()
		case "description":
			st.Description = s.text()
		case "aliases":
			st.Aliases = s.texts()
		default:
			s.skip()
		}
	})
	if st.Vulnerability == "" { // some give only this
		st.Vulnerability = id[strings.LastIndexByte(id, '/')+1:]
	}
}

// openVEXProduct reads a product or subcomponent.
func (s *scanner) openVEXProduct() (p advisory.Product, parts []advisory.Product) {
	var id string
	s.objectOr(func(text string) { id = text }, func(key string) {
		switch key {
		case "@id":
			id = s.text()
		case "identifiers":
			s.object(func(key string) {
				switch key {
				case "purl":
					identify(&p, s.text())
				case "cpe23":
					p.CPE = s.text()
				case "cpe22":
					if text := s.text(); p.CPE == "" {
						p.CPE = text
					}
				default:
					s.skip()
				}
			})
		case "hashes":
			s.object(func(key string) {
				switch key {
				case "md5", "sha1", "sha-256", "sha-384", "sha-512":
					p.Hashes = append(p.Hashes, strings.Replace(key, "-", "", 1)+":"+s.text())
				default:
					s.skip()
				}
			})
		case "subcomponents":
			parts = s.openVEXParts()
		default:
			s.skip()
		}
	})
	switch {
	case strings.HasPrefix(id, "pkg:"):
		if p.PURL == "" {
			identify(&p, id)
		}
	case strings.HasPrefix(id, "cpe:"):
		if p.CPE == "" {
			p.CPE = id
		}
	case p.Name == "":
		p.Name = id
	}
	return p, parts
}

func (s *scanner) openVEXParts() (parts []advisory.Product) {
	s.array(func(int) {
		part, _ := s.openVEXProduct()
		parts = append(parts, part)
		s.atMost(len(parts), maxProducts)
	})
	return parts
}

type (
	openVEXDocument struct {
		Context    string             `json:"@context"`
		ID         string             `json:"@id"`
		Author     string             `json:"author"`
		Role       string             `json:"role,omitempty"`
		Timestamp  string             `json:"timestamp"`
		Updated    string             `json:"last_updated,omitempty"`
		Version    int                `json:"version"`
		Tooling    string             `json:"tooling"`
		Statements []openVEXStatement `json:"statements"`
	}
	openVEXStatement struct {
		Vulnerability struct {
			Name        string   `json:"name"`
			Description string   `json:"description,omitempty"`
			Aliases     []string `json:"aliases,omitempty"`
		} `json:"vulnerability"`
		Timestamp     string             `json:"timestamp"`
		Products      []openVEXComponent `json:"products"`
		Status        string             `json:"status"`
		Supplier      string             `json:"supplier,omitempty"`
		Justification string             `json:"justification,omitempty"`
		Impact        string             `json:"impact_statement,omitempty"`
		Action        string             `json:"action_statement,omitempty"`
	}
	openVEXComponent struct {
		ID          string              `json:"@id,omitempty"`
		Identifiers *openVEXIdentifiers `json:"identifiers,omitempty"`
		Parts       []openVEXComponent  `json:"subcomponents,omitempty"`
	}
	openVEXIdentifiers struct {
		PURL  string `json:"purl,omitempty"`
		CPE22 string `json:"cpe22,omitempty"`
		CPE23 string `json:"cpe23,omitempty"`
	}
)

// openVEX returns the document as OpenVEX 0.2.0.
func (d *Decided) openVEX() any {
	out := openVEXDocument{
		Context: "https://openvex.dev/ns/v0.2.0", ID: d.iri(), Author: d.Author, Role: d.Category,
		Timestamp: stamp(d.First), Version: d.Version, Tooling: tool,
	}
	if d.Time.After(d.First) {
		out.Updated = stamp(d.Time)
	}
	for i := range d.Statements {
		st := &d.Statements[i]
		o := openVEXStatement{
			Timestamp: stamp(st.Time), Status: word(st.Status), Supplier: st.Supplier,
			Justification: st.Justification, Impact: st.Impact, Action: st.Action,
		}
		o.Vulnerability.Name, o.Vulnerability.Description, o.Vulnerability.Aliases = st.Vulnerability, st.Description, st.Aliases
		product := openVEXOf(&st.Product)
		if st.Component != nil {
			product.Parts = []openVEXComponent{openVEXOf(st.Component)}
		}
		o.Products = []openVEXComponent{product}
		out.Statements = append(out.Statements, o)
	}
	return out
}

func openVEXOf(p *advisory.Product) (o openVEXComponent) {
	if p.PURL == "" && p.Version == "" && isURL(p.Name) {
		o.ID = p.Name
	} else {
		o.ID = packageURL(p)
	}
	id := openVEXIdentifiers{PURL: p.PURL}
	if strings.HasPrefix(p.CPE, "cpe:2.3:") {
		id.CPE23 = p.CPE
	} else {
		id.CPE22 = p.CPE
	}
	if id != (openVEXIdentifiers{}) {
		o.Identifiers = &id
	}
	return o
}
