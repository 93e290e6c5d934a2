// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
	"github.com/myelin-health/myelin/match/vex"
)

// sayings are statements by the vulnerability that they are about, in lower case.
// Those of documents of which there is a newer version are left out.
func sayings(all []vex.Statement) map[string][]vex.Statement {
	type document struct{ author, id string }
	newest := map[document]int{}
	for i := range all {
		d := document{all[i].Author, all[i].Document}
		newest[d] = max(newest[d], all[i].Version)
	}
	out := map[string][]vex.Statement{}
	for i := range all {
		st := &all[i]
		if st.Document != "" && st.Version < newest[document{st.Author, st.Document}] {
			continue
		}
		for _, id := range append([]string{st.Vulnerability}, st.Aliases...) {
			if id = strings.ToLower(id); id != "" {
				out[id] = append(out[id], *st)
			}
		}
	}
	return out
}

// Suppliers know what the suppliers of products say of hits in an index.
type Suppliers struct {
	index      *match.Index
	names      *match.Names
	all        []vex.Statement
	said       map[string][]vex.Statement // see [sayings]
	stated     map[string]bool            // ids of documents that are VEX and no advisories
	advisories []*advisory.Document
	bills      map[int]*bill // by the index's ordinals
	subjects   map[int]*bill // by the product that they are about
}

// NewSuppliers returns those of an index's products, who have said nothing yet.
// The names are the index's.
func NewSuppliers(x *match.Index, names *match.Names) *Suppliers {
	return &Suppliers{index: x, names: cmp.Or(names, match.Shipped()), stated: map[string]bool{}, bills: map[int]*bill{}, subjects: map[int]*bill{}}
}

// Hear tells what was said by anybody, and which advisories there are.
func (f *Suppliers) Hear(all []vex.Statement, advisories []*advisory.Document) {
	f.all, f.said, f.advisories = all, sayings(all), advisories
}

// Made adds a bill of materials to the index, remembers what it calls the product
// that it is about, and returns its ordinal.
func (f *Suppliers) Made(doc *sbom.Document) int {
	_, ordinal := f.made(doc)
	return ordinal
}

func (f *Suppliers) made(doc *sbom.Document) (*bill, int) {
	b := &bill{}
	if doc.Subject >= 0 && doc.Subject < len(doc.Components) {
		c := &doc.Components[doc.Subject]
		b.purl = strings.Clone(c.PURL)
		for _, name := range c.CPEs {
			b.cpes = append(b.cpes, strings.Clone(name))
		}
	}
	ordinal, product := f.index.AddSBOM(doc)
	if f.index.Installed(ordinal) {
		b.doc = doc
	}
	f.bills[ordinal], f.subjects[product] = b, b
	return b, ordinal
}

// ReadVEX reads what a document says of vulnerabilities, but for what is dated
// after now, which nobody can have said yet: how many statements that is.
func ReadVEX(p *Paper, now time.Time) (said []vex.Statement, early int, err error) {
	r, err := p.Open()
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	doc, err := vex.ReadDocument(r)
	if err != nil {
		return nil, 0, err
	}
	n := len(doc.Statements)
	said = slices.DeleteFunc(doc.Statements, func(st vex.Statement) bool { return st.Time.After(now) })
	for i := range said {
		st := &said[i]
		st.Product.Manufacturer = cmp.Or(st.Product.Manufacturer, st.Supplier)
	}
	return said, n - len(said), nil
}

// Early says that so many statements were not taken.
func Early(n int) string {
	if n == 1 {
		return "1 statement is not taken: it is dated after today"
	}
	return fmt.Sprintf("%d statements are not taken: they are dated after today", n)
}

// Affected makes advisories of what suppliers say is affected. What of that they
// have taken back since [Suppliers.Judge] knows.
func (f *Suppliers) Affected() []*advisory.Document {
	docs, _ := f.affected()
	return docs
}

// affected returns author and document of each, too.
func (f *Suppliers) affected() ([]*advisory.Document, map[*advisory.Document][2]string) {
	packages, names := map[string][]advisory.Product{}, map[string][]advisory.Product{} // subjects of bills of materials
	for _, i := range slices.Sorted(maps.Keys(f.subjects)) {
		b, p := f.subjects[i], f.index.Product(i)
		if p.Manufacturer == "" {
			continue
		}
		subject := advisory.Product{Manufacturer: p.Manufacturer, Name: p.Model, Version: p.Version, PURL: b.purl}
		if k, err := purl.Parse(b.purl); err == nil {
			packages[k.Package().String()] = append(packages[k.Package().String()], subject)
		}
		for _, name := range b.cpes {
			subject.CPE = name
			names[name] = append(names[name], subject)
		}
	}
	advisories := map[string]bool{} // CSAF's VEX documents are among them already
	for _, doc := range f.advisories {
		advisories[doc.ID] = true
	}
	newest := map[[2]string]int{}
	for i := range f.all {
		st := &f.all[i]
		d := [2]string{st.Author, st.Document}
		newest[d] = max(newest[d], st.Version)
	}
	var out []*advisory.Document
	from := map[*advisory.Document][2]string{}
	of := map[[2]string]*advisory.Document{}
	type weakness struct {
		document [2]string
		id       string
	}
	has := map[weakness]int{} // into the document's
	for i := range f.all {
		st := &f.all[i]
		d := [2]string{st.Author, st.Document}
		if st.Status != advisory.Affected || st.Draft || advisories[st.Document] || st.Document != "" && st.Version < newest[d] {
			continue
		}
		about := []advisory.Product{st.Product}
		if k, err := purl.Parse(st.Product.PURL); err == nil && packages[k.Package().String()] != nil {
			about = packages[k.Package().String()]
		} else if names[st.Product.CPE] != nil {
			about = names[st.Product.CPE]
		}
		for _, p := range about {
			if (p.PURL != st.Product.PURL || p.CPE != st.Product.CPE) && !vex.Includes(&st.Product, &p) || !f.supplies(st.Author, p.Manufacturer) || p.Name == "" {
				continue
			}
			doc := of[d]
			if doc == nil {
				doc = &advisory.Document{ID: cmp.Or(st.Document, "VEX of "+st.Author), Publisher: st.Author, Category: "vendor", Profile: "vex", Published: st.Time}
				of[d], from[doc] = doc, d
				f.stated[doc.ID] = true
				out = append(out, doc)
			}
			doc.Modified = later(doc.Modified, st.Time)
			w := weakness{d, st.Vulnerability}
			i, known := has[w]
			if !known {
				i = len(doc.Vulnerabilities)
				has[w] = i
				doc.Vulnerabilities = append(doc.Vulnerabilities, advisory.Vulnerability{ID: st.Vulnerability, Aliases: st.Aliases, Title: st.Description})
			}
			doc.Vulnerabilities[i].Statements = append(doc.Vulnerabilities[i].Statements, stated(st, p))
		}
	}
	return out, from
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// stated is what a supplier says of a product as an advisory says it.
func stated(st *vex.Statement, p advisory.Product) advisory.Statement {
	p.PURL, p.CPE, p.Text = "", "", ranged(&p)
	s := advisory.Statement{Product: p, Status: advisory.Affected}
	if st.Action != "" {
		s.Remediations = []advisory.Remediation{{Category: st.Remedy, Details: st.Action}}
	}
	if st.Component != nil {
		part := *st.Component
		part.Text = ranged(&part)
		part.Within, part.Relation = &p, "default_component_of"
		s.Product = part
	}
	return s
}

// ranged understands the version of a product of VEX: a single one, or all.
func ranged(p *advisory.Product) version.Text {
	if p.HasRange || p.Text.Kind != version.Review || p.Text.Why != "" {
		return p.Text
	}
	p.HasRange = true
	if p.Version == "" {
		p.Range = version.Every(version.Generic)
	} else {
		p.Range = version.Only(version.Generic, p.Version)
	}
	return p.Text
}

// Judge returns the statement of the product's supplier that clears a hit, and
// whether the hit stands; what others say are opinions.
func (f *Suppliers) Judge(h *match.Hit) (stands bool, cleared *vex.Statement, opinions []string) {
	var said []vex.Statement
	for _, id := range append([]string{h.Vulnerability}, h.Aliases...) {
		said = append(said, f.said[strings.ToLower(id)]...)
	}
	if said == nil {
		return true, nil, nil
	}
	q := f.question(h, h.Component)
	a := vex.Resolve(said, q)
	for i := range a.Opinions {
		if st := &a.Opinions[i]; !slices.Contains(h.Advisories, st.Document) { // else it is what was hit
			opinion := h.Vulnerability + ": " + brief(st.Opinion(), remedyText)
			if !honest(st.Author) {
				opinion += " (that name has characters that are not what they look like: it is not the supplier's)"
			}
			opinions = append(opinions, opinion)
		}
	}
	suppresses := a.Suppresses() && !f.revoked(h, &q, a.Said)
	if suppresses {
		cleared = a.Said
	}
	if a.Said != nil && a.Said.Status != advisory.Affected && !slices.ContainsFunc(h.Advisories, func(id string) bool { return !f.stated[id] }) {
		return false, cleared, opinions // that it is affected nobody but the supplier has said, who says otherwise since
	}
	if suppresses {
		return false, cleared, opinions
	}
	if a.Said != nil && !slices.Contains(h.Advisories, a.Said.Document) {
		h.Why = append(slices.Clone(h.Why), "the supplier: "+brief(a.Said.Opinion(), remedyText))
	}
	return true, nil, opinions
}

// question asks what is said of a hit's product, or of a part of it.
func (f *Suppliers) question(h *match.Hit, part int) vex.Question {
	p := f.index.Product(h.Product)
	q := vex.Question{
		Vulnerability: h.Vulnerability, Aliases: h.Aliases,
		Product: advisory.Product{Manufacturer: p.Manufacturer, Name: p.Model, Version: p.Version},
		Same:    f.supplies, About: f.same,
	}
	if b := f.subject(h); b != nil {
		if q.Product.PURL = b.purl; len(b.cpes) > 0 {
			q.Product.CPE = b.cpes[0]
		}
	}
	if part >= 0 {
		name, version := f.index.Component(part)
		q.Component = &advisory.Product{Name: name, Version: version}
		if k, err := purl.Parse(name); err == nil {
			k.Version = version
			q.Component.PURL, q.Component.Name = k.String(), k.Name
		}
	}
	return q
}

// revoked reports whether the supplier has published one of the advisories of a
// hit after saying that it is not so.
func (f *Suppliers) revoked(h *match.Hit, q *vex.Question, said *vex.Statement) bool {
	return slices.ContainsFunc(f.advisories, func(d *advisory.Document) bool {
		return slices.Contains(h.Advisories, d.ID) && f.supplies(d.Publisher, q.Product.Manufacturer) && d.Modified.After(said.Time)
	})
}

// offices are what stands behind a maker's name when its security office speaks.
var offices = []string{" psirt", " product security", " security team", " product security team", " product security office", " product cert", " security"}

// supplies reports whether the author of a document is certainly this maker: one
// who has the same name but for what usually stands beside it, or another that
// is known to be of the same company. A likeness of names is not enough.
func (f *Suppliers) supplies(author, maker string) bool {
	if i := strings.IndexByte(author, '<'); i > 0 {
		author = author[:i]
	}
	author = strings.TrimSpace(author)
	if !honest(author) {
		return false
	}
	if f.names.SameMaker(author, maker) == match.Exact {
		return true
	}
	return slices.ContainsFunc(offices, func(office string) bool {
		n := len(author) - len(office)
		return n > 0 && strings.EqualFold(author[n:], office) && f.names.SameMaker(author[:n], maker) == match.Exact
	})
}

// together are the scripts that one name may mix, with Latin letters or without.
var together = []*unicode.RangeTable{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo}

// honest reports whether a name is what it looks like: nothing in it is
// invisible, and its letters are of one script, or of those that East Asian
// names mix.
func honest(name string) bool {
	var script *unicode.RangeTable
	for _, r := range name {
		switch {
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point), r == unicode.ReplacementChar:
			return false
		case unicode.In(r, unicode.Common, unicode.Inherited):
		case unicode.In(r, together...):
			if script != nil && script != unicode.Latin {
				return false
			}
			script = unicode.Latin
		case script == nil:
			for _, table := range unicode.Scripts {
				if unicode.Is(table, r) {
					script = table
				}
			}
		case !unicode.Is(script, r):
			return false
		}
	}
	return true
}

// same is [vex.Includes], and where the product has no other identifier it
// knows how makers and products are spelled.
func (f *Suppliers) same(stated, asked *advisory.Product) bool {
	if vex.Includes(stated, asked) {
		return true
	}
	if stated.Name == "" || stated.PURL != "" && !strings.HasPrefix(stated.PURL, "pkg:generic/") {
		return false
	}
	a, b := match.Product{Manufacturer: stated.Manufacturer, Model: stated.Name}, match.Product{Manufacturer: asked.Manufacturer, Model: asked.Name}
	if a.Manufacturer == "" || b.Manufacturer == "" || f.names.SameProduct(a, b) != match.Exact {
		return false
	}
	named := *stated
	named.PURL, named.CPE, named.Manufacturer, named.Name = "", "", asked.Manufacturer, asked.Name
	return vex.Includes(&named, asked)
}

// subject returns the bill of materials that is certainly about the product of a
// hit, or nil.
func (f *Suppliers) subject(h *match.Hit) *bill {
	b := f.subjects[h.Product]
	if b == nil && h.Devices != nil && !h.Devices.IsEmpty() {
		if bills, sure := f.index.Bills(h.Devices.Minimum()); sure == match.Exact {
			b = f.bills[bills[0]]
		}
	}
	return b
}
