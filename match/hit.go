// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/cpe"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/version"
)

// A Hit is a product of the fleet that a vulnerability concerns, or some of its
// devices. For one vulnerability no device is in two hits that are about the same
// component, nor in one about a component and one about the whole product.
type Hit struct {
	Vulnerability string          // a CVE where there is one; "" of a [Index.Find] for a component or product
	Aliases       []string        // its other ids, sorted
	Advisories    []string        // the documents that say so, sorted
	Product       int             // see [Index.Product]
	Component     int             // see [Index.Component]; -1: the whole product is meant
	Devices       *roaring.Bitmap // to be read only: it may be the index's own
	Status        advisory.Status // affected, or under investigation
	Certainty     Certainty
	Why           []string // in plain words
	Range         string   // what versions or dates were meant
	Remediations  []advisory.Remediation
}

// A candidate is a hit before those of one cause were put together.
type candidate struct {
	product   int
	component int // or -1
	devices   *roaring.Bitmap
	status    advisory.Status
	certainty Certainty
	why       []string
	says      string
	document  string
	remedies  []advisory.Remediation
	aliases   []string
}

// Affected returns what an advisory hits, the surest first. The advisory need
// not be in the index.
func (x *Index) Affected(d *advisory.Document) []Hit {
	return x.hits([]*advisory.Document{d}, "")
}

// All returns what all advisories hit.
func (x *Index) All() []Hit {
	docs := make([]*advisory.Document, len(x.order))
	for i, key := range x.order {
		docs[i] = x.documents[key]
	}
	return x.hits(docs, "")
}

// Find answers a question: the id of an advisory or vulnerability, the package
// URL or CPE name of a component or product, or its name, with or without a
// version. known is false when the index has nothing of that name and version.
func (x *Index) Find(query string) (hits []Hit, known bool) {
	query = strings.TrimSpace(query)
	for _, id := range []string{query, strings.ToUpper(query)} {
		if _, ok := x.canonical[id]; ok {
			c := x.resolve(id)
			var docs []*advisory.Document
			for _, key := range x.documentOf[c] {
				docs = append(docs, x.documents[key])
			}
			return x.hits(docs, c), true
		}
		var docs []*advisory.Document
		for _, key := range x.order {
			if key.id == id {
				docs = append(docs, x.documents[key])
			}
		}
		if docs != nil {
			return x.hits(docs, ""), true
		}
	}
	var list []candidate
	p := advisory.Product{HasRange: true, Range: version.Every(version.Generic)}
	only := func(v string) {
		if v != "" {
			p.Range = version.Only(version.Generic, v)
		}
	}
	if k, err := purl.Parse(query); err == nil {
		p.PURL = query
		only(versionOf(k, ""))
	} else if n, err := cpe.Parse(query); err == nil {
		p.CPE = query
		only(strings.TrimSpace(plainCPE(n[cpe.Version]) + " " + plainCPE(n[cpe.Update])))
		list = x.wholes(&advisory.Document{}, &p)
	} else {
		name, v := versioned(query)
		p.Name = name
		only(v)
		list = x.called(query, name, v)
		for _, c := range x.byKey[bare(name)] {
			vc, why, ok := meant(v, x.text[x.components[c].version])
			if !ok {
				continue
			}
			list = x.within(list, part{c, vc, cmp.Or(why, "the component has this name"), ""}, &advisory.Statement{}, "")
		}
	}
	for _, m := range x.parts(&p) {
		list = x.within(list, m, &advisory.Statement{}, "")
	}
	return x.settle(nil, "", list), len(list) > 0
}

// versioned takes the version off the end of a name: "Flow 500 2.1.4",
// "lwip@2.2.0", "Flow 500 version 3".
func versioned(query string) (name, v string) {
	at := strings.LastIndexAny(query, "@ ")
	if at <= 0 || !strings.ContainsAny(query[at:], "0123456789") {
		return query, ""
	}
	v = query[at+1:]
	name = strings.TrimSpace(query[:at])
	said := versionWord().FindStringIndex(name)
	if query[at] != '@' && said == nil && !strings.Contains(v, ".") {
		return query, "" // "Flow 500"
	}
	if said != nil && said[0] > 0 {
		name = name[:said[0]]
	}
	return name, v
}

// meant says whether a version is the one that a question has in it; a question
// without one means all.
func meant(asked, v string) (c Certainty, why string, ok bool) {
	if asked = cleaned(asked); asked == "" {
		return Exact, "", true
	}
	asked, v = strings.TrimLeft(asked, "vV"), strings.TrimLeft(cleaned(v), "vV")
	switch {
	case v == "":
		return Review, "it has this name, and which version it is, is not written down", true
	case strings.EqualFold(v, asked) || version.Generic.Compare(v, asked) == 0:
		return Exact, "it has this name and version", true
	case strings.HasPrefix(v, asked+"."):
		return Exact, "it has this name, and its version is one of " + asked, true
	case strings.HasPrefix(asked, v+"."):
		return Review, "it has this name, and its version is written down as " + v + " only", true
	}
	return "", "", false
}

// called are the products with a name and a version; query is both together,
// which may be the name, too.
func (x *Index) called(query, name, v string) (out []candidate) {
	for i := range x.near(parseModel(query, &house{})) {
		n := &x.models[i]
		c, _ := compare(parseModel(name, x.house(n.maker)), n.model)
		if c == "" {
			continue
		}
		for _, p := range n.products {
			vc, why, ok := meant(v, x.products[p].Version)
			if !ok {
				continue
			}
			if why == "" {
				why = "the product has this name"
			}
			if c != Exact {
				why = fmt.Sprintf("%q may be meant by this name", n.model.written)
			}
			out = append(out, candidate{product: p, component: -1, devices: x.products[p].devices, certainty: least(c, vc), why: []string{why}})
		}
	}
	return out
}

// hits evaluates documents; only names the one vulnerability that counts. One
// vulnerability is settled after the other, so that not all is held at once.
func (x *Index) hits(docs []*advisory.Document, only string) []Hit {
	type saying struct {
		document int
		v        *advisory.Vulnerability
	}
	by := map[string][]saying{}
	var ids []string               // as they came
	left := make([]int, len(docs)) // what is still to be evaluated of each
	for n, d := range docs {
		if d.Withdrawn {
			continue
		}
		for i := range d.Vulnerabilities {
			v := &d.Vulnerabilities[i]
			id := x.idOf(v)
			if only != "" && id != only {
				continue
			}
			if by[id] == nil {
				ids = append(ids, id)
			}
			by[id] = append(by[id], saying{n, v})
			left[n]++
		}
	}
	caches := map[int]map[nameKey]evaluated{}
	x.hitsOf = map[int]int{}
	all := []Hit{}
	for _, id := range ids {
		var list []candidate
		for _, s := range by[id] {
			if len(list) >= maxSaid {
				x.leftOut.Hits++ // or more
				continue
			}
			if caches[s.document] == nil {
				caches[s.document] = map[nameKey]evaluated{}
			}
			list = append(list, x.statements(docs[s.document], s.v, caches[s.document])...)
			if left[s.document]--; left[s.document] == 0 {
				delete(caches, s.document)
			}
		}
		first := len(all)
		all = x.settle(all, id, list)
		for i := first; i < len(all); i++ {
			x.hitsOf[all[i].Product]++
		}
		if len(all) > maxHits {
			x.leftOut.Hits += uint64(len(all) - maxHits)
			all = slices.Delete(all, maxHits, len(all))
			break
		}
	}
	x.hitsOf = nil
	order := make([]int, len(all)) // a hit is too large to be moved about
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(all[j].Certainty.rank()-all[i].Certainty.rank(), strings.Compare(all[i].Vulnerability, all[j].Vulnerability))
	})
	if slices.IsSorted(order) {
		return all
	}
	out := make([]Hit, len(all))
	for i, at := range order {
		out[i] = all[at]
	}
	return out
}

// nameKey is what a statement about a whole product is remembered by within a
// document, whose vulnerabilities mostly have the same products.
type nameKey struct{ manufacturer, family, name, version string }

// evaluated is what a product of a document was found to be.
type evaluated struct {
	parts []part
	whole []candidate
}

// statements evaluates what one document says of one vulnerability. What it
// says is fixed or not affected is taken out again.
func (x *Index) statements(d *advisory.Document, v *advisory.Vulnerability, cache map[nameKey]evaluated) []candidate {
	var out []candidate
	ids := append([]string{v.ID}, v.Aliases...)
	cleared := map[int]bool{}
	for i := range v.Statements {
		s := &v.Statements[i]
		if len(out) >= maxSaid && s.Status != advisory.Fixed && s.Status != advisory.NotAffected {
			x.leftOut.Hits++
			continue
		}
		p := &s.Product
		if p.Within != nil {
			p = p.Within
		}
		simple := p.PURL == "" && p.CPE == "" && !p.HasRange && len(p.Serials)+len(p.Lots)+len(p.DIs)+len(p.Models)+len(p.SKUs) == 0
		key := nameKey{p.Manufacturer, p.Family, p.Name, p.Version}
		simple = simple && s.Product.Within == nil
		e, known := cache[key]
		if !known || !simple {
			if e = (evaluated{x.parts(&s.Product), x.wholes(d, p)}); simple {
				cache[key] = e
			}
		}
		whole := e.whole
		var found []candidate
		for _, m := range e.parts {
			found = x.within(found, m, s, d.ID)
		}
		if s.Product.Within != nil {
			found = together(whole, found, &s.Product)
		} else {
			found = append(found, whole...)
		}
		if len(s.Product.On) > 0 && len(found) > 0 {
			x.beside(s.Product.On, found)
		}
		for i := range found {
			found[i].status, found[i].remedies, found[i].document = s.Status, s.Remediations, d.ID
		}
		switch s.Status {
		case advisory.Affected, advisory.UnderInvestigation:
			for i := range found {
				found[i].aliases = ids
			}
			if out == nil {
				out = found
			} else {
				out = append(out, found...)
			}
		case advisory.Fixed, advisory.NotAffected:
			for _, c := range found {
				if c.certainty == Exact && c.component < 0 {
					cleared[c.product] = true
				}
			}
		}
	}
	if len(cleared) > 0 {
		out = slices.DeleteFunc(out, func(c candidate) bool { return cleared[c.product] })
	}
	return out
}

// together is what a statement about a component of a product hits: products in
// which the component is, and those that always have it. Of the others it is
// not known.
func together(whole, parts []candidate, p *advisory.Product) []candidate {
	var out []candidate
	for _, w := range whole {
		i := slices.IndexFunc(parts, func(c candidate) bool { return c.product == w.product })
		switch {
		case i >= 0:
			w.component, w.certainty = parts[i].component, least(w.certainty, parts[i].certainty)
			w.why = append(slices.Clone(parts[i].why), w.why...)
		case p.Relation != "default_component_of":
			w.certainty = Review
			w.why = append(slices.Clone(w.why), "only together with "+cmp.Or(p.Name, p.FullName))
		}
		out = append(out, w)
	}
	return out
}

// beside holds candidates that are meant only together with one of some other
// products against what is known of each: the product itself, as with firmware
// and its hardware, what it contains, or what it runs on. Where nothing says that
// it is there, a person has to look.
func (x *Index) beside(on []advisory.Product, found []candidate) {
	there := map[int]Certainty{}
	note := func(list []candidate) {
		for i := range list {
			if c := &list[i]; c.certainty.rank() > there[c.product].rank() {
				there[c.product] = c.certainty
			}
		}
	}
	names := make([]string, 0, len(on))
	for i := range on {
		o := &on[i]
		for _, m := range x.parts(o) {
			note(x.within(nil, m, &advisory.Statement{}, ""))
		}
		note(x.wholes(&advisory.Document{}, o))
		name := strings.Join(strings.Fields(plainCPE(o.Name)+" "+o.Version), " ")
		if len(names) < 3 && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
		for i := range found { // wholes does not know what products run on
			prod := &x.products[found[i].product]
			if os := squashed(prod.OS); os != "" && name != "" && strings.HasPrefix(strings.TrimPrefix(os, "microsoft"), squashed(name)) {
				there[found[i].product] = Exact
			}
		}
	}
	if len(names) < len(on) && len(names) == 3 {
		names = append(names, "others")
	}
	for i := range found {
		c := &found[i]
		limit, why := there[c.product], "it is together with "+strings.Join(names, " or ")
		if limit == "" || limit == Review {
			limit, why = Review, "only together with "+strings.Join(names, " or ")+", and nothing says for certain that this is there"
		}
		c.certainty, c.why = least(c.certainty, limit), append(slices.Clone(c.why), why)
	}
}

// within adds the products that a component is in.
func (x *Index) within(out []candidate, m part, s *advisory.Statement, document string) []candidate {
	name, v := x.Component(int(m.component))
	sure := []string{fmt.Sprintf("it contains %s: %s", strings.TrimSpace(name+" "+v), cmp.Or(m.why, m.says))}
	if m.says != "" && m.says != m.why {
		sure = append(sure, m.says)
	}
	for b := range x.components[m.component].sboms.all {
		for _, l := range x.sboms[b].products {
			if x.hitsOf[l.to] >= maxHitsOf {
				x.leftOut.Hits++
				continue
			}
			why := sure
			if l.certainty != Exact {
				why = append(slices.Clone(sure), l.why)
			}
			out = append(out, candidate{
				product: l.to, component: int(m.component), devices: x.products[l.to].devices, status: s.Status,
				certainty: least(m.certainty, l.certainty), why: why, says: m.says, document: document, remedies: s.Remediations,
			})
		}
	}
	return out
}

// settle makes hits of the candidates for one vulnerability: for each product,
// and each component of it, the surest counts and takes its devices; what is left
// goes to the next. Two components are two causes, each with its own fix: the
// record of evmos names evmos/v2 to evmos/v18.
func (x *Index) settle(out []Hit, id string, list []candidate) []Hit {
	order := make([]int, len(list)) // a candidate is too large to be moved about
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &list[i], &list[j]
		return cmp.Or(a.product-b.product, cmp.Compare(open(a.status), open(b.status)), b.certainty.rank()-a.certainty.rank(), cmp.Compare(min(a.component, 0), min(b.component, 0)), i-j)
	})
	aliases := map[string]bool{}
	for i := range list {
		if i > 0 && len(list[i].aliases) > 0 && len(list[i-1].aliases) > 0 && &list[i].aliases[0] == &list[i-1].aliases[0] {
			continue // the same statement
		}
		for _, a := range list[i].aliases {
			if a != id {
				aliases[a] = true
			}
		}
	}
	var other []string
	for a := range aliases {
		other = append(other, a)
	}
	slices.Sort(other)
	out = slices.Grow(out, len(list))
	first := len(out) // the first hit of the product
	for n, i := range order {
		c := &list[i]
		if n == 0 || list[order[n-1]].product != c.product {
			first = len(out)
		}
		if x.products[c.product].devices.IsEmpty() && !x.alone(c.product) {
			continue
		}
		whole := c.devices == x.products[c.product].devices
		left, met := c.devices, false
		for j := first; j < len(out); j++ {
			if h := &out[j]; c.about(h.Component) {
				left, met = roaring.AndNot(left, h.Devices), true
			}
		}
		if (met || !whole) && left.IsEmpty() {
			// The same cause again: it only adds who says so.
			for j := first; j < len(out); j++ {
				if h := &out[j]; c.about(h.Component) && h.Certainty == c.certainty && (whole || h.Devices.Intersects(c.devices)) {
					h.also(c)
					break
				}
			}
			continue
		}
		h := Hit{
			Vulnerability: id, Aliases: other, Product: c.product, Devices: left, Status: c.status, Certainty: c.certainty,
			Component: c.component, Why: c.why, Range: c.says, Remediations: c.remedies,
		}
		if c.document != "" {
			h.Advisories = []string{c.document}
		}
		out = append(out, h)
	}
	return out
}

// open puts behind what is certainly affected what is still being looked into.
func open(s advisory.Status) int {
	if s == advisory.UnderInvestigation {
		return 1
	}
	return 0
}

// about reports whether a candidate and a hit of the same product have one cause.
func (c *candidate) about(component int) bool {
	return c.component == component || c.component < 0 || component < 0
}

// alone reports whether a product without devices is still to be told of: a
// bill of materials is about it, and the fleet does not have it under another
// name.
func (x *Index) alone(p int) bool {
	return x.products[p].subject && !slices.ContainsFunc(x.products[p].sboms, func(b link) bool { return x.Installed(b.to) })
}

// also notes a second statement of the same.
func (h *Hit) also(c *candidate) {
	if c.document != "" && len(h.Advisories) < maxSources && !slices.Contains(h.Advisories, c.document) {
		h.Advisories = append(h.Advisories, c.document)
		slices.Sort(h.Advisories)
	}
	if c.status == advisory.Affected {
		h.Status = c.status
	}
	for _, r := range c.remedies {
		if len(h.Remediations) < maxRemediations && !slices.Contains(h.Remediations, r) {
			h.Remediations = append(h.Remediations[:len(h.Remediations):len(h.Remediations)], r)
		}
	}
}
