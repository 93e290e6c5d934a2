// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/match/version"
)

// csafStatuses is CSAF 2.0 §3.2.3.9. The first and the last affected versions
// are affected themselves. Where a document contradicts itself about a product
// (§6.1.6) what stands first here counts, so that it errs on the side of showing.
var csafStatuses = []struct {
	name   string
	status Status
}{
	{"known_affected", Affected},
	{"first_affected", Affected},
	{"last_affected", Affected},
	{"under_investigation", UnderInvestigation},
	{"fixed", Fixed},
	{"first_fixed", Fixed},
	{"known_not_affected", NotAffected},
	{"recommended", Recommended},
}

// maxRelations bounds how often a product may be a part of a part, or within
// another within another: as often as a branch may branch.
const maxRelations = 30

var (
	errUnknown = errors.New("names no product of the tree")
	errTwice   = errors.New("stands there twice")
	errCircle  = errors.New("is a part of itself, or too deep within others")
)

// A productTree is what a document calls its products.
type productTree struct {
	products  map[string]*Product
	relations map[string]value
	depth     map[string]int // of the product of a relation; -1 while it is looked for, and when it was in vain
	looking   int            // how many are looked for, each for the next
	groups    map[string][]string
}

func readCSAF(root value) *Document {
	if err := csafShape().check(root); err != nil {
		root.t.err = err
		return nil
	}
	head := root.get("document")
	tracking, publisher := head.get("tracking"), head.get("publisher")
	d := &Document{
		Kind: CSAF, ID: tracking.get("id").str(), Title: head.get("title").str(),
		Publisher: publisher.get("name").str(), Category: publisher.get("category").str(),
		Profile: head.get("category").str(), Revision: tracking.get("version").str(), Stage: tracking.get("status").str(),
		Published: tracking.get("initial_release_date").when(), Modified: tracking.get("current_release_date").when(),
	}
	for r := head.get("references").list(); r.ok(); r = r.next() {
		if url := r.get("url").str(); r.get("category").is("self") && (d.URL == "" || strings.HasSuffix(d.URL, ".json")) {
			d.URL = url
		}
	}
	tree := readProductTree(root.get("product_tree"))
	for v := root.get("vulnerabilities").list(); v.ok() && root.t.err == nil; v = v.next() {
		d.Vulnerabilities = append(d.Vulnerabilities, tree.vulnerability(v, d))
	}
	return d
}

func readProductTree(v value) *productTree {
	t := &productTree{products: map[string]*Product{}, relations: map[string]value{}, depth: map[string]int{}, groups: map[string][]string{}}
	for p := v.get("full_product_names").list(); p.ok(); p = p.next() {
		t.define(p, branchPath{})
	}
	t.branches(v.get("branches"), branchPath{})
	for r := v.get("relationships").list(); r.ok(); r = r.next() {
		id := r.get("full_product_name").get("product_id")
		name := id.str()
		if _, twice := t.relations[name]; twice || t.products[name] != nil {
			id.fail(errTwice)
		}
		t.relations[name] = r
	}
	for r := v.get("relationships").list(); r.ok() && v.t.err == nil; r = r.next() {
		t.find(r.get("full_product_name").get("product_id"))
	}
	for g := v.get("product_groups").list(); g.ok(); g = g.next() {
		for p := g.get("product_ids").list(); p.ok(); p = p.next() {
			t.find(p)
		}
		id := g.get("group_id").str()
		if t.groups[id] != nil {
			g.get("group_id").fail(errTwice)
		}
		t.groups[id] = g.get("product_ids").strs()
	}
	return t
}

// A branchPath is what the branches above a product say of it.
type branchPath struct {
	vendor, family, name, version string
	isRange                       bool
}

func (t *productTree) branches(v value, above branchPath) {
	for b := v.list(); b.ok(); b = b.next() {
		at, name := above, b.get("name").str()
		switch b.get("category").str() {
		case "vendor":
			at.vendor = name
		case "product_family":
			at.family = name
		case "product_name":
			at.name = name
		case "product_version":
			at.version = name
		case "product_version_range":
			at.version, at.isRange = name, true
		case "service_pack", "patch_level":
			// "SP1" goes on from the version, "12.2(55)SE3" says it anew.
			if at.version == "" || name[0]-'0' < 10 {
				at.version = name
			} else {
				at.version += " " + name
			}
		}
		if p := b.get("product"); p.present() {
			t.define(p, at)
		}
		t.branches(b.get("branches"), at)
	}
}

// define adds a full product name (§3.1.3).
func (t *productTree) define(v value, at branchPath) {
	id := v.get("product_id")
	if t.products[id.str()] != nil {
		id.fail(errTwice)
		return
	}
	if !v.admit() {
		return
	}
	p := &Product{Manufacturer: at.vendor, Family: at.family, Name: at.name, FullName: v.get("name").str(), Version: at.version}
	if p.Name == "" {
		p.Name = at.family
	}
	if p.Name == "" {
		p.Name = p.FullName
	}
	p.identify(v.get("product_identification_helper"))
	switch {
	case at.version == "":
		p.Text = version.Text{Kind: version.All, Why: "the advisory names no version"}
	case at.isRange && strings.HasPrefix(at.version, "vers:"):
		if r, err := version.ParseVers(at.version); err == nil {
			p.Range, p.HasRange = r, true
			break
		}
		fallthrough
	default:
		p.Text = version.ParseText(at.version)
		if p.Text.Kind == version.Review && !at.isRange && isVersion(at.version) && strings.Contains(at.version, ".") {
			// §3.1.2.2: the other categories name one version, as "12.2(55)SE3".
			p.Range, p.HasRange = version.Only(version.Generic, at.version), true
		}
	}
	t.products[id.str()] = p
}

// identify adds the identification helpers (§3.1.3.3).
func (p *Product) identify(v value) {
	if s := v.get("cpe").str(); s != "" {
		p.CPE = s
	}
	if s := v.get("purl").str(); s != "" {
		p.PURL = s
	}
	p.SKUs = append(p.SKUs, v.get("skus").strs()...)
	p.Serials = append(p.Serials, v.get("serial_numbers").strs()...)
	p.Models = append(p.Models, v.get("model_numbers").strs()...)
	p.SBOMs = append(p.SBOMs, v.get("sbom_urls").strs()...)
	for f := v.get("hashes").list(); f.ok(); f = f.next() {
		for h := f.get("file_hashes").list(); h.ok(); h = h.next() {
			p.Hashes = append(p.Hashes, strings.ToLower(h.get("algorithm").str()+":"+h.get("value").str()))
		}
	}
}

// find returns the product that v names, or nil and v fails. The product of a
// relationship (§3.2.2.4) is its component, within the other. Each is made once,
// so that the work grows with the number of relationships.
func (t *productTree) find(v value) *Product {
	id := v.str()
	if p := t.products[id]; p != nil {
		return p
	}
	r, ok := t.relations[id]
	if !ok {
		v.fail(errUnknown)
		return nil
	}
	if t.depth[id] < 0 || t.looking == maxRelations {
		v.fail(errCircle)
		return nil
	}
	t.depth[id] = -1
	t.looking++
	defer func() { t.looking-- }()
	part, whole := r.get("product_reference"), r.get("relates_to_product_reference")
	component := t.find(part)
	if component == nil {
		return nil
	}
	host := t.find(whole)
	if host == nil {
		return nil
	}
	depth := 1 + t.depth[part.str()] + t.depth[whole.str()]
	if depth > maxRelations {
		v.fail(errCircle)
		return nil
	}
	p := component.in(host, r.get("category").str(), v)
	if p == nil {
		return nil
	}
	name := r.get("full_product_name")
	p.FullName = name.get("name").str()
	p.identify(name.get("product_identification_helper"))
	t.products[id], t.depth[id] = p, depth
	return p
}

// in is p as a part of host; where p is a part already, what holds it is. Each
// copy that this takes is a product that at admits.
func (p *Product) in(host *Product, relation string, at value) *Product {
	if !at.admit() {
		return nil
	}
	part := *p
	// The copies go on separately.
	part.SKUs, part.Serials, part.Models = slices.Clip(p.SKUs), slices.Clip(p.Serials), slices.Clip(p.Models)
	part.SBOMs, part.Hashes = slices.Clip(p.SBOMs), slices.Clip(p.Hashes)
	if p.Within == nil {
		part.Within, part.Relation = host, relation
	} else if part.Within = p.Within.in(host, relation, at); part.Within == nil {
		return nil
	}
	return &part
}

// each calls f for every product that product_ids and group_ids of v name, and
// reports whether v names any.
func (t *productTree) each(v value, f func(id string)) bool {
	link := func(at value, id string) {
		if v.t.links++; v.t.links > maxLinks {
			at.fail(ErrTooMany)
		} else {
			f(id)
		}
	}
	ids, groups := v.get("product_ids"), v.get("group_ids")
	for p := ids.list(); p.ok() && v.t.err == nil; p = p.next() {
		if t.find(p) != nil {
			link(p, p.str())
		}
	}
	for g := groups.list(); g.ok() && v.t.err == nil; g = g.next() {
		members, ok := t.groups[g.str()]
		if !ok {
			g.fail(errors.New("names no group of the tree"))
		}
		for _, id := range members {
			link(g, id)
		}
	}
	return ids.present() || groups.present()
}

func (t *productTree) vulnerability(v value, d *Document) Vulnerability {
	w := Vulnerability{ID: v.get("cve").str(), Title: v.get("title").str()}
	for id := v.get("ids").list(); id.ok(); id = id.next() {
		w.Aliases = append(w.Aliases, id.get("text").str())
	}
	if w.ID == "" && len(w.Aliases) > 0 {
		w.ID, w.Aliases = w.Aliases[0], w.Aliases[1:]
	} else if w.ID == "" {
		w.ID = d.ID
	}
	w.Aliases = sortedIDs(w.Aliases, w.ID)
	cwe := v.get("cwe")
	if w.Title == "" {
		w.Title = cwe.get("name").str()
	}
	for n := v.get("notes").list(); n.ok() && w.Title == ""; n = n.next() {
		switch title := n.get("title").str(); strings.ToLower(title) {
		case "cve description", "description", "details", "summary", "vulnerability description", "vulnerability summary": // of every one
		default:
			w.Title = title
		}
	}
	if cwe.present() {
		w.CWE = []string{cwe.get("id").str()}
	}
	seen := map[Score]bool{}
	for s := v.get("scores").list(); s.ok(); s = s.next() {
		for p := s.get("products").list(); p.ok(); p = p.next() {
			t.find(p)
		}
		for _, c := range []value{s.get("cvss_v2"), s.get("cvss_v3")} {
			if c.present() {
				w.addScore(c, d.Publisher, seen)
			}
		}
	}

	remedies := map[string][]Remediation{}
	var forAll []Remediation // those that name no product
	for r := v.get("remediations").list(); r.ok() && v.t.err == nil; r = r.next() {
		remedy := Remediation{
			Category: r.get("category").str(), Details: r.get("details").str(), URL: r.get("url").str(), Date: r.get("date").when(),
		}
		if !t.each(r, func(id string) { remedies[id] = append(remedies[id], remedy) }) {
			forAll = append(forAll, remedy)
		}
	}
	flags, impacts := map[string]string{}, map[string]string{}
	for f := v.get("flags").list(); f.ok() && v.t.err == nil; f = f.next() {
		t.each(f, func(id string) { flags[id] = f.get("label").str() })
	}
	impact := ""
	for h := v.get("threats").list(); h.ok() && v.t.err == nil; h = h.next() {
		details := h.get("details").str()
		switch kind := h.get("category"); {
		case kind.is("exploit_status") && w.Exploitation == "":
			w.Exploitation = details
		case kind.is("impact") && !t.each(h, func(id string) { impacts[id] = details }):
			impact = details
		}
	}

	said := map[string]bool{}
	for _, s := range csafStatuses {
		for p := v.get("product_status").get(s.name).list(); p.ok() && v.t.err == nil; p = p.next() {
			id := p.str()
			product := t.find(p)
			if product == nil || said[id] && s.status != Recommended || !p.admit() {
				continue
			}
			said[id] = true
			all := remedies[id]
			if v.t.links += len(forAll); len(all) == 0 {
				all = forAll
			} else if v.t.links <= maxLinks {
				all = append(slices.Clip(all), forAll...)
			} else {
				p.fail(ErrTooMany)
			}
			st := Statement{Product: *product, Status: s.status, Remediations: all}
			if s.status == NotAffected {
				st.Justification = flags[id]
			}
			if st.Impact = impacts[id]; st.Impact == "" {
				st.Impact = impact
			}
			w.Statements = append(w.Statements, st)
		}
	}
	return w
}

// addScore adds a CVSS score, in the form that CSAF, CVE and NVD share, unless it is there.
func (w *Vulnerability) addScore(v value, source string, seen map[Score]bool) {
	s := Score{Version: v.get("version").str(), Vector: v.get("vectorString").str(), Base: v.get("baseScore").num(), Source: source}
	if !seen[s] {
		seen[s] = true
		w.Scores = append(w.Scores, s)
	}
}

// sortedIDs returns ids in order, once each and without own.
func sortedIDs(ids []string, own string) []string {
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == own || id == "" })
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// compareIDs puts CVE first.
func compareIDs(a, b string) int {
	if x, y := isCVE(a), isCVE(b); x != y {
		if x {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// isCVE reports whether an id has the form that CVE's are given, since 1999.
func isCVE(id string) bool {
	year, number, _ := strings.Cut(strings.TrimPrefix(id, "CVE-"), "-")
	_, err := strconv.ParseUint(year+number, 10, 64)
	return len(year) == 4 && year >= "1999" && len(number) >= 4 && err == nil && strings.HasPrefix(id, "CVE-")
}
