// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/version"
)

// A Question asks what is said of one vulnerability in one product, or in one
// part of it.
type Question struct {
	Vulnerability string
	Aliases       []string
	Product       advisory.Product
	Component     *advisory.Product // nil: the product as a whole
	Suppliers     []string          // names of who supplies the product; none: its manufacturer

	// Same reports whether the author of a document is this maker; nil compares
	// the names but for case and what stands in angle brackets.
	Same func(author, maker string) bool
	// About reports whether what a statement names certainly includes what is
	// asked about, versions and all; nil is [Includes].
	About func(stated, asked *advisory.Product) bool
}

// An Answer is what is said. Only Said, the last word of the product's supplier,
// changes anything.
type Answer struct {
	Said     *Statement  // nil when the supplier has said nothing
	Opinions []Statement // the last word of everybody else, by author
}

// Suppresses reports whether the supplier says that there is nothing to be found.
func (a *Answer) Suppresses() bool {
	return a.Said != nil && (a.Said.Status == advisory.NotAffected || a.Said.Status == advisory.Fixed)
}

// Resolve answers a question from statements of any number of documents, in any
// order but that of each document's own. The rules:
//
//   - A version of a document replaces the versions before it, with all that they said.
//   - The latest statement counts, of one time that which stands last in its
//     document. Of statements of several documents at one time, or of the product
//     and a part of it, the one that clears least counts.
//   - The supplier's statement counts when it is about the product, or about the
//     part of the product that is asked about. That a part is affected, or being
//     looked into, says so of the product for as long as nothing later is said of
//     that part; that a part is not affected does not clear the product.
//   - A statement about the part alone, in no product, is an opinion whoever makes
//     it: whether the product uses what is vulnerable in the part only the
//     product's supplier can say, of the product.
//   - What anybody but the supplier says is an opinion, and so is a draft.
func Resolve(all []Statement, q Question) Answer {
	if q.Same == nil {
		q.Same = sameName
	}
	if q.About == nil {
		q.About = Includes
	}
	if len(q.Suppliers) == 0 {
		q.Suppliers = []string{q.Product.Manufacturer}
	}
	newest := map[[2]string]int{} // version of each document
	for i := range all {
		d := all[i].document()
		newest[d] = max(newest[d], all[i].Version)
	}
	var a Answer
	said := words{}
	opinions := map[string]words{}
	for i := range all {
		st := &all[i]
		if st.Document != "" && st.Version < newest[st.document()] || !q.names(st) {
			continue
		}
		switch about := q.scope(st); {
		case about == nothing:
		case about == ofProduct && !st.Draft && q.supplies(st.Author):
			said.add(st)
		default:
			if opinions[st.Author] == nil {
				opinions[st.Author] = words{}
			}
			opinions[st.Author].add(st)
		}
	}
	a.Said = said.last(q.Component == nil)
	for _, o := range opinions {
		if st := o.last(q.Component == nil); st != nil {
			a.Opinions = append(a.Opinions, *st)
		}
	}
	slices.SortFunc(a.Opinions, func(x, y Statement) int { return strings.Compare(x.Author, y.Author) })
	return a
}

// document names the document of a statement: an identifier is its author's.
func (st *Statement) document() [2]string { return [2]string{st.Author, st.Document} }

// names reports whether a statement is about the vulnerability, by any of its names.
func (q *Question) names(st *Statement) bool {
	asked := func(id string) bool {
		same := func(s string) bool { return s != "" && strings.EqualFold(s, id) }
		return same(q.Vulnerability) || slices.ContainsFunc(q.Aliases, same)
	}
	return asked(st.Vulnerability) || slices.ContainsFunc(st.Aliases, asked)
}

func (q *Question) supplies(author string) bool {
	return author != "" && slices.ContainsFunc(q.Suppliers, func(maker string) bool { return maker != "" && q.Same(author, maker) })
}

// A scope is what a statement is about, for a question.
type scope uint8

const (
	nothing   scope = iota // of the question
	partAlone              // in no product
	ofProduct
)

func (q *Question) scope(st *Statement) scope {
	switch {
	case q.About(&st.Product, &q.Product):
		if st.Component != nil && q.Component != nil && !q.About(st.Component, q.Component) {
			return nothing
		}
		return ofProduct
	case q.Component != nil && st.Component == nil && q.About(&st.Product, q.Component):
		return partAlone
	}
	return nothing
}

// words are the last word of each document about the product, and about each part.
type words map[[3]string]*Statement

func (w words) add(st *Statement) {
	d := st.document()
	k := [3]string{d[0], d[1], key(st.Component)}
	if st.Document == "" { // nobody can tell which statements are of one document
		k[1] = "\x00" + word(st.Status)
	}
	if old := w[k]; old == nil || !st.Time.Before(old.Time) {
		w[k] = st
	}
}

// last returns the last of them. The last word about a part says nothing of the
// whole when it clears the part.
func (w words) last(whole bool) (last *Statement) {
	parts := map[string]*Statement{}
	for _, st := range w {
		k := key(st.Component)
		if parts[k] == nil || later(st, parts[k]) {
			parts[k] = st
		}
	}
	for _, st := range parts {
		if whole && st.Component != nil && clears(st.Status) {
			continue
		}
		if last == nil || later(st, last) {
			last = st
		}
	}
	return last
}

// later orders statements: of two at the same time the one that clears least
// counts; what is behind that only makes the order a total one.
func later(a, b *Statement) bool {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(caution(a.Status), caution(b.Status)),
		strings.Compare(a.Document, b.Document), strings.Compare(a.Author, b.Author),
		strings.Compare(key(a.Component), key(b.Component)), strings.Compare(key(&a.Product), key(&b.Product)),
		strings.Compare(a.Justification, b.Justification)) > 0
}

func clears(s advisory.Status) bool {
	return s != advisory.Affected && s != advisory.UnderInvestigation
}

// caution orders statuses: the higher clears less.
func caution(s advisory.Status) int {
	return slices.Index([]advisory.Status{
		advisory.NoStatus, advisory.Recommended, advisory.NotAffected, advisory.Fixed, advisory.UnderInvestigation, advisory.Affected,
	}, s)
}

// sameName compares names but for case, and for an address behind one.
func sameName(author, maker string) bool {
	if i := strings.IndexByte(author, '<'); i > 0 {
		author = author[:i]
	}
	return strings.EqualFold(strings.TrimSpace(author), strings.TrimSpace(maker))
}

// Includes reports whether what is stated includes what is asked about, by what
// can be compared without knowing a name's other spellings: the package URL, the
// CPE name, or maker, name and version. Without a version every version is
// stated; of a range, those that its scheme can compare and that lie within.
func Includes(stated, asked *advisory.Product) bool {
	switch {
	case stated.PURL != "" && asked.PURL != "":
		s, serr := purl.Parse(stated.PURL)
		a, aerr := purl.Parse(asked.PURL)
		if serr != nil || aerr != nil {
			return stated.PURL == asked.PURL
		}
		return includesPURL(s, a) && (s.Version != "" || includesVersion(stated, cmp.Or(a.Version, asked.Version)))
	case stated.CPE != "" && asked.CPE != "" && stated.CPE == asked.CPE:
		return true
	}
	return stated.Name != "" && strings.EqualFold(stated.Name, asked.Name) && strings.EqualFold(stated.Manufacturer, asked.Manufacturer) &&
		includesVersion(stated, asked.Version)
}

func includesVersion(stated *advisory.Product, v string) bool {
	switch {
	case stated.Version == "":
		return true
	case !stated.HasRange:
		return stated.Version == v
	case stated.Text.Kind == version.All:
		return true
	}
	return v != "" && stated.Range.Comparable(v) && stated.Range.Contains(v)
}

// includesPURL reports whether a package URL includes another: it has the same
// package, and no version or qualifier that the other has not.
func includesPURL(stated, asked purl.PURL) bool {
	if stated.Package() != asked.Package() || stated.Version != "" && stated.Version != asked.Version {
		return false
	}
	has := strings.Split(asked.Qualifiers, "&")
	for q := range strings.SplitSeq(stated.Qualifiers, "&") {
		if q != "" && !slices.Contains(has, q) {
			return false
		}
	}
	return true
}

// Opinion says in one line what somebody says: "CERT A says not affected
// (vulnerable code not present), 2026-03-02".
func (st *Statement) Opinion() string {
	s := cmp.Or(strings.TrimSpace(st.Author), "somebody unnamed") + " says " + strings.ReplaceAll(word(st.Status), "_", " ")
	if st.Status == advisory.NotAffected && st.Justification != "" {
		s += " (" + strings.ReplaceAll(st.Justification, "_", " ") + ")"
	}
	if st.Draft {
		s += ", in a draft"
	}
	if !st.Time.IsZero() {
		s += ", " + st.Time.UTC().Format("2006-01-02")
	}
	return s
}

// Word is OpenVEX's word of its status.
func (st *Statement) Word() string { return word(st.Status) }
