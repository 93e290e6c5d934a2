// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/purl"
)

// csafStatuses are the lists of products of a vulnerability.
var csafStatuses = map[string]advisory.Status{
	"first_affected":      advisory.Affected,
	"known_affected":      advisory.Affected,
	"last_affected":       advisory.Affected,
	"first_fixed":         advisory.Fixed,
	"fixed":               advisory.Fixed,
	"known_not_affected":  advisory.NotAffected,
	"under_investigation": advisory.UnderInvestigation,
}

// A csafTree is the product tree of a document.
type csafTree struct {
	products map[string]advisory.Product
	within   map[string]csafRelationship
	groups   map[string][]string
	branches int
}

type csafRelationship struct{ part, whole string }

// csaf reads a document of CSAF 2: a VEX document, or an advisory, which has the
// same statements.
func (s *scanner) csaf() *Decided {
	d := &Decided{}
	t := &csafTree{products: map[string]advisory.Product{}, within: map[string]csafRelationship{}, groups: map[string][]string{}}
	var vulnerabilities []csafVulnerability
	s.object(func(key string) {
		switch key {
		case "document":
			s.csafDocument(d)
		case "product_tree":
			s.csafTree(t)
		case "vulnerabilities":
			s.array(func(int) {
				s.weigh(64)
				vulnerabilities = append(vulnerabilities, s.csafVulnerability())
			})
		default:
			s.skip()
		}
	})
	for i := range vulnerabilities {
		s.csafStatements(d, t, &vulnerabilities[i], fmt.Sprintf("vulnerabilities[%d]", i))
	}
	return d
}

func (s *scanner) csafDocument(d *Decided) {
	revisions := 0
	s.object(func(key string) {
		switch key {
		case "title":
			d.Title = s.text()
		case "publisher":
			s.object(func(key string) {
				switch key {
				case "name":
					d.Author = s.text()
				case "namespace":
					d.Namespace = s.text()
				case "category":
					d.Category = s.oneOf(categories...)
				default:
					s.skip()
				}
			})
		case "tracking":
			s.object(func(key string) {
				switch key {
				case "id":
					d.ID = s.text()
				case "version":
					d.Version, d.order = s.csafVersion()
				case "status":
					d.draft = s.oneOf("draft", "interim", "final") == "draft"
				case "revision_history":
					s.array(func(i int) {
						revisions = i + 1
						s.skip()
					})
				case "initial_release_date":
					d.First = s.time()
				case "current_release_date":
					d.Time = s.time()
				default:
					s.skip()
				}
			})
		default:
			s.skip()
		}
	})
	if d.Version == 0 {
		d.Version = min(revisions, maxVersion) // each has its entry
	}
}

// csafVersion returns a version that is a whole number, or for one as in
// semantic versioning a number that grows with it.
func (s *scanner) csafVersion() (version, order int) {
	const room = 1000 // of the minor and the patch version
	text := s.text()
	if text == "" {
		return 0, 0
	}
	text, _, _ = strings.Cut(text, "+")
	text, _, _ = strings.Cut(text, "-")
	parts := strings.Split(text, ".")
	for i, part := range parts {
		v, err := strconv.Atoi(part)
		if err != nil || v < 0 || v > 1e9 || i > 2 {
			s.fail(ErrWord)
			return 0, 0
		}
		if i > 0 {
			v = min(v, room-1)
		}
		order = order*room + v
	}
	if len(parts) == 1 {
		return order, 0
	}
	return 0, order
}

func (s *scanner) csafTree(t *csafTree) {
	s.object(func(key string) {
		switch key {
		case "branches":
			s.array(func(int) {
				b := s.csafBranch(t)
				t.grow(s, &b, advisory.Product{})
			})
		case "full_product_names":
			s.array(func(int) {
				id, p := s.csafProduct()
				if l, err := purl.Parse(p.PURL); err == nil {
					p.Name, p.Version = l.Name, l.Version
				}
				t.declare(s, id)
				t.products[id] = *p
			})
		case "relationships":
			s.array(func(int) {
				var r csafRelationship
				var id string
				s.object(func(key string) {
					switch key {
					case "product_reference":
						r.part = s.text()
					case "relates_to_product_reference":
						r.whole = s.text()
					case "full_product_name":
						s.object(func(key string) {
							if key == "product_id" {
								id = s.text()
							} else {
								s.skip()
							}
						})
					default:
						s.skip()
					}
				})
				t.declare(s, id)
				t.within[id] = r
			})
		case "product_groups":
			s.array(func(int) {
				var id string
				var products []string
				s.object(func(key string) {
					switch key {
					case "group_id":
						id = s.text()
					case "product_ids":
						products = s.texts()
					default:
						s.skip()
					}
				})
				t.groups[id] = products
			})
		default:
			s.skip()
		}
	})
}

// declare checks that an identifier is new.
func (t *csafTree) declare(s *scanner, id string) {
	_, product := t.products[id]
	_, within := t.within[id]
	switch {
	case s.err != nil:
	case id == "":
		s.fail(ErrMissing)
	case product || within:
		s.fail(ErrTwice)
	default:
		s.atMost(len(t.products)+len(t.within)+1, maxProducts)
	}
}

// A csafBranch is a branch as it stands there: what it means depends on its
// category, which may come last.
type csafBranch struct {
	category, name string
	id             string
	product        *advisory.Product
	branches       []csafBranch
}

func (s *scanner) csafBranch(t *csafTree) (b csafBranch) {
	t.branches++
	s.atMost(t.branches, maxProducts)
	s.object(func(key string) {
		switch key {
		case "category":
			b.category = s.text()
		case "name":
			b.name = s.text()
		case "product":
			b.id, b.product = s.csafProduct()
		case "branches":
			s.array(func(int) { b.branches = append(b.branches, s.csafBranch(t)) })
		default:
			s.skip()
		}
	})
	return b
}

// grow takes the products of a branch into the tree; p is what the branches
// before it have told. The depth is that of the document.
func (t *csafTree) grow(s *scanner, b *csafBranch, p advisory.Product) {
	switch b.category {
	case "vendor":
		p.Manufacturer = b.name
	case "product_name":
		p.Name = b.name
	case "product_version", "product_version_range":
		p.Version = b.name
	}
	if b.product != nil {
		t.declare(s, b.id)
		own := *b.product
		own.Manufacturer, own.Version = p.Manufacturer, p.Version
		own.Name = cmp.Or(p.Name, own.Name)
		t.products[b.id] = own
	}
	for i := range b.branches {
		t.grow(s, &b.branches[i], p)
	}
}

// csafProduct reads a full product name.
func (s *scanner) csafProduct() (id string, p *advisory.Product) {
	p = &advisory.Product{}
	s.object(func(key string) {
		switch key {
		case "product_id":
			id = s.text()
		case "name":
			p.Name = s.text()
		case "product_identification_helper":
			s.object(func(key string) {
				switch key {
				case "purl":
					p.PURL = s.text()
				case "purls": // 2.1
					if list := s.texts(); len(list) > 0 {
						p.PURL = list[0]
					}
				case "cpe":
					p.CPE = s.text()
				case "model_numbers":
					p.Models = s.texts()
				case "serial_numbers":
					p.Serials = s.texts()
				case "skus":
					p.SKUs = s.texts()
				default:
					s.skip()
				}
			})
		default:
			s.skip()
		}
	})
	return id, p
}

// find returns the product of an identifier, and the part of it that is meant.
func (t *csafTree) find(id string) (whole advisory.Product, part *advisory.Product, ok bool) {
	for range maxWithin {
		if p, ok := t.products[id]; ok {
			return p, part, true
		}
		r, ok := t.within[id]
		if !ok {
			break
		}
		if part == nil {
			p, ok := t.leaf(r.part)
			if !ok {
				break
			}
			part = &p
		}
		id = r.whole
	}
	return whole, nil, false
}

// leaf returns the innermost part of what an identifier names.
func (t *csafTree) leaf(id string) (p advisory.Product, ok bool) {
	for range maxWithin {
		if p, ok = t.products[id]; ok {
			return p, true
		}
		id = t.within[id].part
	}
	return p, false
}

// A csafVulnerability is one before its products are known.
type csafVulnerability struct {
	statement Statement
	says      []csafSays
	flags     []csafRemark // why not
	impacts   []csafRemark // the same in prose
	actions   []csafRemark
}

type csafSays struct {
	list     string // "known_affected"
	products []string
}

// A csafRemark is something said of products, or of all when none is named.
type csafRemark struct {
	category, text   string
	products, groups []string
}

func (s *scanner) csafVulnerability() (v csafVulnerability) {
	var ids []string
	s.object(func(key string) {
		switch key {
		case "cve":
			v.statement.Vulnerability = s.text()
		case "ids":
			s.array(func(int) {
				s.object(func(key string) {
					if key == "text" {
						ids = append(ids, s.text())
					} else {
						s.skip()
					}
				})
			})
		case "notes":
			s.array(func(int) {
				var category, text string
				s.object(func(key string) {
					switch key {
					case "category":
						category = s.text()
					case "text":
						text = s.text()
					default:
						s.skip()
					}
				})
				if category == "description" {
					v.statement.Description = cmp.Or(v.statement.Description, text)
				}
			})
		case "product_status":
			s.object(func(key string) {
				if csafStatuses[key] == advisory.NoStatus { // recommended says nothing of a vulnerability
					s.skip()
					return
				}
				v.says = append(v.says, csafSays{key, s.texts()})
			})
		case "flags":
			v.flags = s.csafRemarks("label")
		case "threats":
			v.impacts = s.csafRemarks("details")
		case "remediations":
			v.actions = s.csafRemarks("details")
		default:
			s.skip()
		}
	})
	if v.statement.Vulnerability == "" && len(ids) > 0 {
		v.statement.Vulnerability, ids = ids[0], ids[1:]
	}
	v.statement.Aliases = ids
	if len(v.says) > 0 && v.statement.Vulnerability == "" {
		s.fail(ErrMissing)
	}
	// The lists have no order. A product in two of them is a contradiction, in
	// which what clears least stands last and counts.
	slices.SortFunc(v.says, func(a, b csafSays) int {
		return cmp.Or(cmp.Compare(caution(csafStatuses[a.list]), caution(csafStatuses[b.list])), strings.Compare(a.list, b.list))
	})
	v.impacts = slices.DeleteFunc(v.impacts, func(r csafRemark) bool { return r.category != "impact" })
	slices.SortStableFunc(v.actions, func(a, b csafRemark) int {
		return cmp.Compare(slices.Index(remedies, a.category), slices.Index(remedies, b.category))
	})
	return v
}

func (s *scanner) csafRemarks(text string) (list []csafRemark) {
	s.array(func(int) {
		var r csafRemark
		s.weigh(8)
		s.object(func(key string) {
			switch key {
			case text:
				r.text = s.text()
			case "category":
				r.category = s.text()
			case "product_ids":
				r.products = s.texts()
			case "group_ids":
				r.groups = s.texts()
			default:
				s.skip()
			}
		})
		list = append(list, r)
	})
	return list
}

// A csafIndex finds the first remark about a product.
type csafIndex struct {
	byProduct map[string]*csafRemark
	all       *csafRemark // about every product
}

func (t *csafTree) index(s *scanner, remarks []csafRemark) *csafIndex {
	x := &csafIndex{byProduct: map[string]*csafRemark{}}
	put := func(r *csafRemark, ids []string) {
		for _, id := range ids {
			if s.weigh(1); s.err != nil { // a group may be named again and again
				return
			}
			if x.byProduct[id] == nil {
				x.byProduct[id] = r
			}
		}
	}
	for i := range remarks {
		r := &remarks[i]
		put(r, r.products)
		for _, g := range r.groups {
			if put(r, t.groups[g]); s.err != nil {
				return x
			}
		}
		if len(r.products)+len(r.groups) == 0 && x.all == nil {
			x.all = r
		}
	}
	return x
}

func (x *csafIndex) of(id string) csafRemark {
	if r := x.byProduct[id]; r != nil {
		return *r
	}
	if x.all != nil {
		return *x.all
	}
	return csafRemark{}
}

// csafStatements makes the statements of a vulnerability.
func (s *scanner) csafStatements(d *Decided, t *csafTree, v *csafVulnerability, path string) {
	flags, impacts, actions := t.index(s, v.flags), t.index(s, v.impacts), t.index(s, v.actions)
	for _, list := range v.says {
		for i, id := range list.products {
			if s.err != nil {
				return
			}
			st := v.statement
			st.Status = csafStatuses[list.list]
			var ok bool
			if st.Product, st.Component, ok = t.find(id); !ok {
				s.failAt(fmt.Sprintf("%s.product_status.%s[%d]", path, list.list, i), ErrUnknown)
				return
			}
			switch st.Status {
			case advisory.NotAffected:
				if label := flags.of(id).text; slices.Contains(justifications, label) {
					st.Justification = label
				}
				st.Impact = impacts.of(id).text
			case advisory.Affected:
				action := actions.of(id)
				st.Action, st.Remedy = action.text, action.category
			}
			s.add(d, st)
		}
	}
}

type (
	csafDoc struct {
		Document        csafHead        `json:"document"`
		Tree            csafProductTree `json:"product_tree"`
		Vulnerabilities []*csafVuln     `json:"vulnerabilities"`
	}
	csafHead struct {
		Category  string        `json:"category"`
		Version   string        `json:"csaf_version"`
		Publisher csafPublisher `json:"publisher"`
		Title     string        `json:"title"`
		Tracking  csafTracking  `json:"tracking"`
	}
	csafPublisher struct {
		Category  string `json:"category"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	csafTracking struct {
		Current   string         `json:"current_release_date"`
		Generator csafGenerator  `json:"generator"`
		ID        string         `json:"id"`
		Initial   string         `json:"initial_release_date"`
		History   []csafRevision `json:"revision_history"`
		Status    string         `json:"status"`
		Version   string         `json:"version"`
	}
	csafGenerator struct {
		Engine struct {
			Name string `json:"name"`
		} `json:"engine"`
	}
	csafRevision struct {
		Date    string `json:"date"`
		Number  string `json:"number"`
		Summary string `json:"summary"`
	}
	csafProductTree struct {
		Branches      []*csafNode    `json:"branches,omitempty"`
		Names         []csafFullName `json:"full_product_names,omitempty"`
		Relationships []csafRelation `json:"relationships,omitempty"`
	}
	csafNode struct {
		Category string        `json:"category"`
		Name     string        `json:"name"`
		Product  *csafFullName `json:"product,omitempty"`
		Branches []*csafNode   `json:"branches,omitempty"`
	}
	csafFullName struct {
		Name   string      `json:"name"`
		ID     string      `json:"product_id"`
		Helper *csafHelper `json:"product_identification_helper,omitempty"`
	}
	csafHelper struct {
		CPE  string `json:"cpe,omitempty"`
		PURL string `json:"purl,omitempty"`
	}
	csafRelation struct {
		Category string       `json:"category"`
		Name     csafFullName `json:"full_product_name"`
		Part     string       `json:"product_reference"`
		Whole    string       `json:"relates_to_product_reference"`
	}
	csafVuln struct {
		CVE          string              `json:"cve,omitempty"`
		Flags        []csafFlag          `json:"flags,omitempty"`
		IDs          []csafID            `json:"ids,omitempty"`
		Notes        []csafNote          `json:"notes"`
		Status       map[string][]string `json:"product_status"`
		Remediations []csafText          `json:"remediations,omitempty"`
		Threats      []csafText          `json:"threats,omitempty"`
	}
	csafFlag struct {
		Date     string   `json:"date"`
		Label    string   `json:"label"`
		Products []string `json:"product_ids"`
	}
	csafID struct {
		System string `json:"system_name"`
		Text   string `json:"text"`
	}
	csafNote struct {
		Category string `json:"category"`
		Text     string `json:"text"`
	}
	csafText struct {
		Category string   `json:"category"`
		Date     string   `json:"date"`
		Details  string   `json:"details"`
		Products []string `json:"product_ids"`
	}
)

// A csafWriter gives products their identifiers.
type csafWriter struct {
	tree csafProductTree
	ids  map[string]string // key of a product, or of a part within one
	at   map[string]*csafNode
}

// csaf returns the document as CSAF 2.0, profile VEX.
func (d *Decided) csaf() any {
	var out csafDoc
	title := cmp.Or(d.Title, "What "+d.Author+" says of its products")
	out.Document = csafHead{
		Category: "csaf_vex", Version: "2.0", Title: title,
		Publisher: csafPublisher{cmp.Or(d.Category, "other"), d.Author, d.Namespace},
		Tracking: csafTracking{
			Current: stamp(d.Time), Initial: stamp(d.First), ID: d.ID, Status: "final", Version: strconv.Itoa(d.Version),
		},
	}
	out.Document.Tracking.Generator.Engine.Name = tool
	for v := 1; v <= d.Version; v++ {
		r := csafRevision{stamp(d.Time), strconv.Itoa(v), "This version."}
		if v == 1 {
			r.Date, r.Summary = stamp(d.First), "First version."
		} else if v < d.Version {
			r.Summary = "A version whose history is not told here."
		}
		out.Document.Tracking.History = append(out.Document.Tracking.History, r)
	}
	w := &csafWriter{ids: map[string]string{}, at: map[string]*csafNode{}}
	of := map[string]*csafVuln{}
	for i := range d.Statements {
		st := &d.Statements[i]
		v := of[st.Vulnerability]
		if v == nil {
			v = d.csafVuln(st)
			of[st.Vulnerability] = v
			out.Vulnerabilities = append(out.Vulnerabilities, v)
		}
		id := []string{w.id(st)}
		list := "known_" + word(st.Status)
		switch st.Status {
		case advisory.NotAffected:
			if st.Justification != "" {
				v.Flags = append(v.Flags, csafFlag{stamp(st.Time), st.Justification, id})
			}
			if st.Impact != "" {
				v.Threats = append(v.Threats, csafText{"impact", stamp(st.Time), st.Impact, id})
			}
		case advisory.Affected:
			v.Remediations = append(v.Remediations, csafText{cmp.Or(st.Remedy, "mitigation"), stamp(st.Time), st.Action, id})
		default:
			list = word(st.Status)
		}
		v.Status[list] = append(v.Status[list], id[0])
	}
	out.Tree = w.tree
	return out
}

// csafVuln returns the vulnerability of a statement.
func (d *Decided) csafVuln(st *Statement) *csafVuln {
	v := &csafVuln{Status: map[string][]string{}}
	note := csafNote{"description", st.Description}
	if st.Description == "" {
		note = csafNote{"summary", st.Vulnerability + "."}
	}
	v.Notes = []csafNote{note}
	for _, id := range append([]string{st.Vulnerability}, st.Aliases...) {
		if cve().MatchString(id) && v.CVE == "" {
			v.CVE = id
			continue
		}
		system := d.Author
		if strings.HasPrefix(id, "CVE-") {
			system = "CVE"
		} else if strings.HasPrefix(id, "GHSA-") {
			system = "GitHub Advisory Database"
		}
		v.IDs = append(v.IDs, csafID{system, id})
	}
	return v
}

// id returns the identifier of what a statement is about.
func (w *csafWriter) id(st *Statement) string {
	whole := w.product(&st.Product)
	if st.Component == nil {
		return whole
	}
	k := key(&st.Product) + "\x00\x00" + key(st.Component)
	if w.ids[k] == "" {
		part := w.product(st.Component)
		name := csafFullName{Name: title(st.Component) + " in " + title(&st.Product), ID: w.next()}
		w.tree.Relationships = append(w.tree.Relationships, csafRelation{"default_component_of", name, part, whole})
		w.ids[k] = name.ID
	}
	return w.ids[k]
}

func (w *csafWriter) next() string { return fmt.Sprintf("CSAFPID-%04d", len(w.ids)+1) }

// product returns the identifier of a product, which stands on the branches of
// its maker, name and version as far as they are known.
func (w *csafWriter) product(p *advisory.Product) string {
	k := key(p)
	if id := w.ids[k]; id != "" {
		return id
	}
	name := csafFullName{Name: title(p), ID: w.next()}
	var helper csafHelper
	if purlName().MatchString(p.PURL) {
		helper.PURL = p.PURL
	}
	if cpe23().MatchString(p.CPE) {
		helper.CPE = p.CPE
	}
	w.ids[k] = name.ID
	if p.Manufacturer == "" || p.Name == "" {
		if url := packageURL(p); purlName().MatchString(url) { // it tells name and version
			helper.PURL = url
		}
		if helper != (csafHelper{}) {
			name.Helper = &helper
		}
		w.tree.Names = append(w.tree.Names, name)
		return name.ID
	}
	if helper != (csafHelper{}) {
		name.Helper = &helper
	}
	maker := w.branch(&w.tree.Branches, "", "vendor", p.Manufacturer)
	leaf := &csafNode{Category: "product_version", Name: p.Version, Product: &name}
	switch {
	case p.Version == "": // a branch beside the one that holds versions
		leaf.Category, leaf.Name = "product_name", p.Name
		maker.Branches = append(maker.Branches, leaf)
		return name.ID
	case strings.HasPrefix(p.Version, "vers:") || strings.ContainsAny(p.Version, "<>|*"):
		leaf.Category = "product_version_range"
	}
	node := w.branch(&maker.Branches, p.Manufacturer, "product_name", p.Name)
	node.Branches = append(node.Branches, leaf)
	return name.ID
}

// branch returns the branch of a name, which is added when it is not there yet.
func (w *csafWriter) branch(list *[]*csafNode, above, category, name string) *csafNode {
	k := category + "\x00" + above + "\x00" + name
	if w.at[k] == nil {
		w.at[k] = &csafNode{Category: category, Name: name}
		*list = append(*list, w.at[k])
	}
	return w.at[k]
}
