// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
)

// An Index holds a fleet: which products its devices are, which components are
// in them, and what advisories say. Each of them is added by itself, and added
// again replaces what was known of it. It is for one goroutine at a time.
type Index struct {
	names *Names

	makers map[string]*maker // by name as written
	houses map[*maker]*house

	models  []named
	modelOf map[[2]string]int // manufacturer and model, as written
	byWord  map[string][]int32

	products  []product
	productOf map[productKey]int

	devices  []unit
	deviceOf map[string]uint32
	byDI     map[string][]uint32 // devices by the device identifier that they have or had

	sboms  []bill
	sbomOf map[string]int // by serial number

	text        []string // interned strings; 0 is ""
	textOf      map[string]uint32
	components  []component
	componentOf map[componentKey]uint32
	byKey       map[string][]uint32  // by package URL, and by bare name
	byCPE       map[string][]posting // by vendor and product
	wanted      map[string]bool      // keys of components to keep; nil: all
	bySource    map[string][]built   // by the source package that distributions build them from
	sourceOf    map[uint32]uint32    // component -> name of that, where it is another

	documents  map[documentKey]*advisory.Document
	order      []documentKey            // as they came
	canonical  map[string]string        // id of a vulnerability -> the one that stands for it
	documentOf map[string][]documentKey // canonical id -> documents

	leftOut LeftOut
	hitsOf  map[int]int // how many one answer has of a product
}

// The bounds of an index and its answers. What an index holds is multiplied by
// what advisories say: a hundred kilobytes of each could fill any memory.
const (
	// Of one package, or of one name, a bill of materials lists at most as many
	// versions. The largest trees of npm have some dozens.
	maxAlike = 512

	// A product with a kernel and two thousand packages has some ten thousand
	// hits. A hit takes some 700 bytes.
	maxHitsOf = 1 << 16 // of one product
	maxHits   = 1 << 19 // of one answer

	// What is said of one vulnerability before that of one cause is put together:
	// the worst one is in ten thousand products, and three sources say so.
	maxSaid = 1 << 18

	maxSources      = 256 // documents that one hit names
	maxRemediations = 64  // that a hit collects from several documents
)

// LeftOut counts what there was no room for.
type LeftOut struct {
	Components uint64 // of bills of materials that list hundreds of one name
	Hits       uint64 // of products, or answers, that have more than any real one
}

// Counts says in words what that is, and how much of each; nothing is no entry.
func (l LeftOut) Counts() map[string]uint64 {
	m := map[string]uint64{
		"components of bills of materials that list hundreds of one name":           l.Components,
		"vulnerabilities of products that have more of them than there is room for": l.Hits,
	}
	maps.DeleteFunc(m, func(_ string, n uint64) bool { return n == 0 })
	return m
}

// LeftOut returns what there was no room for, in all bills of materials and
// answers until now.
func (x *Index) LeftOut() LeftOut { return x.leftOut }

// A documentKey tells documents apart: the records of one CVE at NVD, in the
// CVE list and in OSV are three, and CSAF's ids are each publisher's own.
type documentKey struct {
	kind          advisory.Kind
	publisher, id string
}

func keyOf(d *advisory.Document) documentKey {
	k := documentKey{kind: d.Kind, id: d.ID}
	if d.Kind == advisory.CSAF {
		k.publisher = d.Publisher
	}
	return k
}

// named is a product's name, taken apart, with its versions.
type named struct {
	maker    *maker
	model    *model
	products []int
}

// A Product is a version of a model that the fleet has, or that a bill of
// materials is about.
type Product struct {
	Manufacturer, Model, Version, OS string
}

type productKey struct {
	model       int
	version, os string
}

type product struct {
	Product
	model    int
	cleaned  string // the version: see [cleaned]
	devices  *roaring.Bitmap
	sboms    []link // what it is made of
	bills    []int  // bills of materials that are about it
	nameless bool   // a bill of materials stands for it that does not say what it is about
	subject  bool   // a bill of materials is about it, whether or not the fleet has one
}

// A link ties a product and a bill of materials.
type link struct {
	to        int // the product, or the bill
	certainty Certainty
	why       string
}

type unit struct {
	product           int
	made, distributed string
	serial            string
	lot, di           string // of its UDI
}

type bill struct {
	serial   string  // of the document
	product  int     // its subject; -1 while only a register has named it
	places   []place // as the document lists them
	products []link
	wanted   []int // products whose devices name it
}

// A place is one component of a document.
type place struct {
	component uint32 // or noComponent
	name      uint32 // as it is written there
}

// noComponent stands for the document's subject and for what has no name.
const noComponent = ^uint32(0)

// NewIndex returns an empty index. A nil names is [Shipped].
func NewIndex(names *Names) *Index {
	if names == nil {
		names = Shipped()
	}
	return &Index{
		names: names, makers: map[string]*maker{}, houses: map[*maker]*house{}, modelOf: map[[2]string]int{}, byWord: map[string][]int32{},
		productOf: map[productKey]int{}, deviceOf: map[string]uint32{}, byDI: map[string][]uint32{}, sbomOf: map[string]int{},
		text: []string{""}, textOf: map[string]uint32{"": 0}, componentOf: map[componentKey]uint32{}, byKey: map[string][]uint32{}, byCPE: map[string][]posting{},
		bySource: map[string][]built{}, sourceOf: map[uint32]uint32{},
		documents: map[documentKey]*advisory.Document{}, canonical: map[string]string{}, documentOf: map[string][]documentKey{},
	}
}

func (x *Index) intern(s string) uint32 {
	i, ok := x.textOf[s]
	if !ok {
		s = strings.Clone(s) // it may be a piece of a whole document
		i = uint32(len(x.text))
		x.text = append(x.text, s)
		x.textOf[s] = i
	}
	return i
}

func (x *Index) maker(written string) *maker {
	m, ok := x.makers[written]
	if !ok {
		m = x.names.maker(written)
		x.makers[strings.Clone(written)] = m
	}
	return m
}

func (x *Index) house(m *maker) *house {
	h, ok := x.houses[m]
	if !ok {
		h = x.names.house(m)
		x.houses[m] = h
	}
	return h
}

// Product returns what is known of a product of a [Hit].
func (x *Index) Product(i int) Product { return x.products[i].Product }

// Component returns a component of a [Hit]: its package URL, or its name, and
// its version.
func (x *Index) Component(i int) (name, version string) {
	c := &x.components[i]
	return x.text[c.name], x.text[c.version]
}

// Stats are how much an index holds.
type Stats struct{ Products, Components, Devices, SBOMs, Advisories int }

// Stats returns how much the index holds.
func (x *Index) Stats() Stats {
	return Stats{len(x.products), len(x.components), len(x.devices), len(x.sboms), len(x.documents)}
}

// addModel returns the ordinal of a product's name.
func (x *Index) addModel(manufacturer, name string) int {
	at := [2]string{manufacturer, name}
	i, ok := x.modelOf[at]
	if !ok {
		i = len(x.models)
		m := x.maker(manufacturer)
		n := named{maker: m, model: parseModel(name, x.house(m))}
		x.models = append(x.models, n)
		x.modelOf[at] = i
		for k := range n.model.keys {
			if list := x.byWord[k]; len(list) == 0 || list[len(list)-1] != int32(i) {
				x.byWord[k] = append(list, int32(i))
			}
		}
	}
	return i
}

// addProduct returns the ordinal of a product. A new one is tied to the bills
// of materials that are about it.
func (x *Index) addProduct(p Product) int {
	m := x.addModel(p.Manufacturer, p.Model)
	if v := x.models[m].model.versions; p.Version == "" && len(v) == 1 {
		p.Version = v[0] // "Xeleris 4.0"
	}
	at := productKey{m, p.Version, p.OS}
	i, ok := x.productOf[at]
	if ok {
		return i
	}
	i = len(x.products)
	x.products = append(x.products, product{Product: p, model: m, cleaned: cleaned(p.Version), devices: roaring.New()})
	x.productOf[at] = i
	x.models[m].products = append(x.models[m].products, i)
	if len(x.sboms) == 0 {
		return i
	}
	for j := range x.near(x.models[m].model) {
		for _, other := range x.models[j].products {
			for _, b := range x.products[other].bills {
				x.tie(i, b)
			}
		}
	}
	return i
}

// near are the models that share a word with one, each once, in order.
func (x *Index) near(m *model) map[int]bool {
	out := map[int]bool{}
	for k := range m.keys {
		for _, i := range x.byWord[k] {
			out[int(i)] = true
		}
	}
	return out
}

// tie links a product with a bill of materials when the bill's subject is this
// product in this version.
func (x *Index) tie(p, b int) {
	s := x.sboms[b].product
	if s < 0 {
		return
	}
	subject, prod := &x.products[s], &x.products[p]
	c, why := Exact, "the bill of materials is about this product"
	v, w := subject.cleaned, prod.cleaned
	part := strings.HasPrefix(v, w+".") || strings.HasPrefix(w, v+".")
	if !part && v != "" && w != "" && v != w && version.Generic.Compare(v, w) != 0 {
		return
	}
	if s != p {
		a, d := &x.models[subject.model], &x.models[prod.model]
		mc, mwhy := x.names.same(a.maker, d.maker)
		nc, nwhy := compare(a.model, d.model)
		if mc == "" || nc == "" {
			return
		}
		if c = least(mc, nc); c == mc && c != Exact {
			why = mwhy
		} else if c != Exact {
			why = nwhy
		}
		if v == "" || w == "" || part && version.Generic.Compare(v, w) != 0 {
			c, why = Review, "the bill of materials may be about another version"
		}
	}
	x.join(p, b, c, why)
}

func (x *Index) join(p, b int, c Certainty, why string) {
	for _, l := range x.products[p].sboms {
		if l.to == b && l.certainty.rank() >= c.rank() {
			return
		}
	}
	same := func(to int) func(link) bool { return func(l link) bool { return l.to == to } }
	x.products[p].sboms = append(slices.DeleteFunc(x.products[p].sboms, same(b)), link{b, c, why})
	x.sboms[b].products = append(slices.DeleteFunc(x.sboms[b].products, same(p)), link{p, c, why})
}

// AddDevice adds a device, or replaces the one with its ID, and returns its
// ordinal, by which [Hit.Devices] names it. The first is 0.
func (x *Index) AddDevice(e *register.Entry) uint32 {
	p := x.addProduct(Product{e.Manufacturer, e.Model, e.Version, e.OS})
	i, known := x.deviceOf[e.ID]
	if known && e.ID != "" {
		x.products[x.devices[i].product].devices.Remove(i)
	} else {
		i = uint32(len(x.devices))
		x.devices = append(x.devices, unit{})
		if e.ID != "" {
			x.deviceOf[e.ID] = i
		}
	}
	if di := e.UDI.DI; di != "" && x.devices[i].di != di {
		x.byDI[di] = append(x.byDI[di], i)
	}
	x.devices[i] = unit{p, e.Made, e.Distributed, cmp.Or(e.Serial, e.UDI.Serial), e.UDI.Lot, e.UDI.DI}
	x.products[p].devices.Add(i)
	if e.SBOM != "" {
		if b, ok := x.sbomOf[e.SBOM]; ok {
			x.join(p, b, Exact, "the register names this bill of materials")
		} else { // it comes later
			b = len(x.sboms)
			x.sboms = append(x.sboms, bill{serial: e.SBOM, product: -1, wanted: []int{p}})
			x.sbomOf[e.SBOM] = b
		}
	}
	return i
}

// RemoveDevice takes a device out. Its ordinal is not used again.
func (x *Index) RemoveDevice(id string) {
	if i, ok := x.deviceOf[id]; ok {
		x.products[x.devices[i].product].devices.Remove(i)
		delete(x.deviceOf, id)
	}
}

// AddSBOM adds a bill of materials, or replaces the one with its serial number,
// and returns its ordinal and that of the product that it is about. It keeps
// nothing of the document.
func (x *Index) AddSBOM(d *sbom.Document) (b, p int) {
	b, known := x.sbomOf[d.Serial]
	if !known || d.Serial == "" {
		b = len(x.sboms)
		x.sboms = append(x.sboms, bill{serial: d.Serial})
		if d.Serial != "" {
			x.sbomOf[d.Serial] = b
		}
	}
	for _, at := range x.sboms[b].places {
		if at.component != noComponent {
			x.components[at.component].sboms.remove(uint32(b))
		}
	}
	for _, l := range x.sboms[b].products {
		x.products[l.to].sboms = slices.DeleteFunc(x.products[l.to].sboms, func(l link) bool { return l.to == b })
	}
	if known {
		if was := x.sboms[b].product; was >= 0 {
			x.products[was].bills = slices.DeleteFunc(x.products[was].bills, func(i int) bool { return i == b })
		}
	}
	n := bill{serial: d.Serial, product: -1, wanted: x.sboms[b].wanted, places: make([]place, len(d.Components))}
	alike := map[uint32]int{} // how many of one name were listed
	for i := range d.Components {
		n.places[i].component = noComponent
		if i == d.Subject {
			continue
		}
		if c, ok := x.addComponent(&d.Components[i], alike); ok {
			if part := &x.components[c]; part.sboms.add(uint32(b)) {
				alike[part.name]++
			}
			n.places[i] = place{c, x.intern(d.Components[i].Name)}
		}
	}
	x.sboms[b] = n
	// One that does not say what it is about stands for a product that nothing
	// else is known of.
	subject := Product{Manufacturer: d.Supplier, Model: cmp.Or(d.Serial, fmt.Sprintf("bill of materials %d", b+1))}
	if d.Subject >= 0 && d.Subject < len(d.Components) {
		s := &d.Components[d.Subject]
		subject = Product{Manufacturer: cmp.Or(s.Supplier, d.Supplier), Model: cmp.Or(s.Name, subject.Model), Version: s.Version}
	}
	// The product first, so that the others of its name are tied below.
	p = x.addProduct(subject)
	x.sboms[b].product = p
	x.products[p].bills = append(x.products[p].bills, b)
	x.products[p].subject = true
	x.products[p].nameless = d.Subject < 0 || d.Subject >= len(d.Components) || d.Components[d.Subject].Name == ""
	for j := range x.near(x.models[x.products[p].model].model) {
		for _, q := range x.models[j].products {
			x.tie(q, b)
		}
	}
	x.tie(p, b)
	for _, p := range n.wanted {
		x.join(p, b, Exact, "the register names this bill of materials")
	}
	return b, p
}

// Bills returns which bills of materials say what a device is made of, the surest
// first, by the ordinals of [Index.AddSBOM].
func (x *Index) Bills(device uint32) (bills []int, certainty Certainty) {
	if int(device) >= len(x.devices) {
		return nil, ""
	}
	p := x.devices[device].product
	if p < 0 {
		return nil, ""
	}
	return x.billsOf(p)
}

func (x *Index) billsOf(product int) (bills []int, certainty Certainty) {
	links := slices.Clone(x.products[product].sboms)
	slices.SortStableFunc(links, func(a, b link) int { return b.certainty.rank() - a.certainty.rank() })
	for _, l := range links {
		if certainty == "" {
			certainty = l.certainty
		}
		bills = append(bills, l.to)
	}
	return bills, certainty
}

// Installed reports whether a device is made of what a bill of materials lists.
func (x *Index) Installed(bill int) bool {
	return slices.ContainsFunc(x.sboms[bill].products, func(l link) bool { return !x.products[l.to].devices.IsEmpty() })
}

// A Place is where a bill of materials lists a component.
type Place struct {
	Bill  int    // its ordinal
	At    int    // index into the document's components
	Of    int    // how many it has
	Named string // as it is written there
}

// Contains returns where the bills of materials of a product list a component,
// in the surest that does.
func (x *Index) Contains(product, component int) (p Place, ok bool) {
	bills, _ := x.billsOf(product)
	for _, b := range bills {
		places := x.sboms[b].places
		if i := slices.IndexFunc(places, func(at place) bool { return at.component == uint32(component) }); i >= 0 {
			return Place{b, i, len(places), x.text[places[i].name]}, true
		}
	}
	return Place{}, false
}

// AddAdvisory adds an advisory, or replaces the one of its kind with its id; in
// CSAF, its publisher's. What is older than that, or as old while that is
// withdrawn, replaces nothing.
func (x *Index) AddAdvisory(d *advisory.Document) {
	key := keyOf(d)
	had, known := x.documents[key]
	switch {
	case !known:
		x.order = append(x.order, key)
	case d.Modified.Before(had.Modified) || d.Modified.Equal(had.Modified) && had.Withdrawn && !d.Modified.IsZero():
		return
	}
	x.documents[key] = d
	for i := range d.Vulnerabilities {
		v := &d.Vulnerabilities[i]
		id := x.merge(v)
		// A new document can only be the last one: many may be of one vulnerability.
		if all := x.documentOf[id]; len(all) == 0 || all[len(all)-1] != key && (!known || !slices.Contains(all, key)) {
			x.documentOf[id] = append(all, key)
		}
	}
}

// merge makes all ids of a vulnerability stand for one, a CVE where there is
// one, and returns it. A record that names several CVEs stands for the first;
// they stay apart.
func (x *Index) merge(v *advisory.Vulnerability) string {
	best := x.idOf(v)
	x.canonical[best] = best
	for _, id := range append([]string{v.ID}, v.Aliases...) {
		old := x.resolve(id)
		if old == best || strings.HasPrefix(old, "CVE-") {
			continue
		}
		x.canonical[old] = best
		for _, d := range x.documentOf[old] {
			if !slices.Contains(x.documentOf[best], d) {
				x.documentOf[best] = append(x.documentOf[best], d)
			}
		}
		delete(x.documentOf, old)
	}
	return best
}

// resolve follows an id to the one that stands for it.
func (x *Index) resolve(id string) string {
	for {
		c, ok := x.canonical[id]
		if !ok || c == id {
			return id
		}
		id = c
	}
}

// idOf is the id that stands for a vulnerability.
func (x *Index) idOf(v *advisory.Vulnerability) string {
	best := x.resolve(v.ID)
	for _, id := range v.Aliases {
		if id = x.resolve(id); strings.HasPrefix(id, "CVE-") && !strings.HasPrefix(best, "CVE-") {
			best = id
		}
	}
	return best
}
