// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/risk"
	"github.com/myelin-health/myelin/watch"
)

// registered brings in what the hospital wrote down: devices that were seen get
// the name and the place of their entry, and what it knows of them that they did
// not say; what was not seen becomes a device of its own. What several registers
// have is one device, of which the first counts. It returns the entries of each
// device, too. Each register ends where ends says.
func registered(devices []device.Device, entries []register.Entry, ends []int) ([]device.Device, [][]int) {
	of := make([][]int, len(devices))
	known := slices.Clone(devices) // with all that their entries say, which is told to nobody
	names, used := map[string]int{}, map[string]bool{}
	begin := 0
	for _, end := range ends {
		list := entries[begin:end]
		ids := make([]device.Identity, len(list))
		for i := range list {
			ids[i] = list[i].Identity
		}
		matches := inventory.MatchRegistered(known, ids)
		taken := map[int]bool{}
		for _, m := range matches {
			taken[m.Device] = true
		}
		for i, m := range matches {
			e, at := &list[i], m.Device
			if had, ok := names[e.ID]; at < 0 && ok && e.ID != "" && had >= 0 && !taken[had] && agree(&known[had], e) {
				at = had // the same asset tag in another register
			}
			if at < 0 {
				d := written(e)
				if used[d.ID] {
					d.ID = device.IDOf("register", d.Name, d.Manufacturer, d.Model, strconv.Itoa(begin+i))
				}
				used[d.ID] = true
				at = len(devices)
				devices, known, of = append(devices, d), append(known, d), append(of, nil)
			} else if len(of[at]) == 0 {
				name(&devices[at], e)
			} else {
				d := &devices[at]
				first, ward := d.Name, cmp.Or(d.Ward, e.Shown().Ward)
				name(d, e)
				d.Name, d.Ward = cmp.Or(first, d.Name), ward
			}
			taken[at] = true
			of[at] = append(of[at], begin+i)
			k := &known[at]
			k.Manufacturer, k.Model, k.Serial = devices[at].Manufacturer, devices[at].Model, cmp.Or(k.Serial, e.Serial)
			k.Addresses = append(slices.Clip(k.Addresses), e.Addresses...)
		}
		for at, which := range of {
			if n := len(which); n > 0 && which[n-1] >= begin {
				id := entries[which[n-1]].ID
				if had, ok := names[id]; !ok {
					names[id] = at
				} else if had != at {
					names[id] = -1
				}
			}
		}
		begin = end
	}
	return devices, of
}

// introduced returns what gives devices the therapy that the registers say of them, so that what is said of
// medical devices alone is said of those too that do not tell what they are; nil without a register.
func (d *documents) introduced() func([]device.Device) {
	if len(d.entries) == 0 {
		return nil
	}
	return func(devices []device.Device) {
		known, _ := registered(slices.Clone(devices), d.entries, d.ends)
		for i := range devices {
			d := &devices[i]
			d.Therapy, d.Harm, d.Medical = known[i].Therapy, known[i].Harm, known[i].Medical
		}
	}
}

// agree reports whether nothing speaks against a device being an entry's whose
// name it has.
func agree(d *device.Device, e *register.Entry) bool {
	return (d.Model == "" || e.Model == "" || same(d.Model, e.Model)) && (d.Serial == "" || e.Serial == "" || strings.EqualFold(d.Serial, e.Serial))
}

// name gives a device what its entry in the register says. What the device says
// itself counts more: a register is as old as its last stocktaking.
func name(d *device.Device, e *register.Entry) {
	shown := e.Shown()
	d.Name, d.Ward = shown.ID, shown.Ward
	if d.Model == "" {
		d.Manufacturer, d.Model = shown.Manufacturer, shown.Model
	}
	if same(d.Model, shown.Model) {
		d.Manufacturer = cmp.Or(d.Manufacturer, shown.Manufacturer)
		d.Version = cmp.Or(d.Version, shown.Version)
		d.Serial = cmp.Or(d.Serial, shown.Serial)
	}
	d.OS = cmp.Or(d.OS, shown.OS)
	d.ProductCode = cmp.Or(d.ProductCode, shown.ProductCode)
	d.Class = cmp.Or(d.Class, shown.Class)
	if d.Therapy == device.NoTherapy && shown.Therapy != device.NoTherapy {
		d.Therapy, d.Harm = shown.Therapy, max(d.Harm, shown.Therapy.Harm())
	}
	d.Medical = d.Medical || medical(d.Therapy, d.Class)
	if d.Medical && d.Model != "" {
		d.Confidence = device.High
	}
	if d.Role == device.Outside {
		d.Role = "" // the hospital says that it is its own
	}
}

// written returns an entry that was not seen as a device.
func written(e *register.Entry) device.Device {
	d := device.Device{Unseen: true, Addresses: slices.Clone(e.Shown().Addresses), Protocols: []string{}}
	name(&d, e)
	d.ID = device.IDOf("register", d.Name, d.Manufacturer, d.Model)
	return d
}

// medical reports whether something of a therapy is a medical device: of what
// keeps records only the archive is.
func medical(t device.Therapy, class string) bool {
	return t != device.NoTherapy && (t != device.Records || class == "archive")
}

func same(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// exposed says how each device, by its id, was seen talking where everybody on
// the way can read and change it: "talks hl7 in clear", or a gateway does for it.
func exposed(devices []device.Device, sessions []watch.Session) map[string]string {
	clear := map[device.Address][]string{}
	for i := range sessions {
		s := &sessions[i]
		if s.Encrypted || s.Inferred || s.Protocol == "" || plain[s.Protocol] {
			continue
		}
		for _, a := range [...]device.Address{s.Client, s.Server} {
			if !slices.Contains(clear[a], s.Protocol) {
				clear[a] = append(clear[a], s.Protocol)
			}
		}
	}
	out := map[string]string{}
	for i := range devices {
		d := &devices[i]
		var own []string
		for _, a := range d.Addresses {
			own = append(own, clear[a]...)
		}
		how := ""
		if own == nil {
			own, how = slices.Clone(clear[d.Via]), ", through a gateway"
		}
		if own == nil {
			continue
		}
		slices.Sort(own)
		out[d.ID] = "seen talking in clear (" + strings.Join(slices.Compact(own), ", ") + ")" + how
	}
	return out
}

// plain are the protocols that are in clear everywhere, and that say nothing
// about a device's protection.
var plain = map[string]bool{"dns": true, "mdns": true, "ntp": true, "dhcp": true, "ssdp": true, "netbios": true, "arp": true, "tls": true}

// A fleet is the devices of an assessment, with what is known of them besides
// what they said.
type fleet struct {
	*documents
	*Suppliers
	index   *match.Index
	devices []device.Device
	ordinal map[string]int    // of devices, by id
	listed  [][]int           // entries of registers, by device
	exposed map[string]string // by device id
	weak    map[string][]*advisory.Vulnerability
	kinds   map[string]advisory.Kind // of advisories, by id
}

// A bill is what is kept of a bill of materials besides the index.
type bill struct {
	input int
	purl  string // of the product that it is about
	cpes  []string
	doc   *sbom.Document // of what a device is made of; nil of others
}

// know brings the hospital's register into the devices, and returns what
// documents say of them as findings; what suppliers cleared is in d.
func (d *documents) know(r *watch.Result, now time.Time) []finding.Finding {
	if d.empty() {
		return nil
	}
	f := &fleet{
		documents: d, index: match.NewIndex(d.names), ordinal: map[string]int{}, weak: map[string][]*advisory.Vulnerability{}, kinds: map[string]advisory.Kind{},
	}
	f.Suppliers = NewSuppliers(f.index, d.names)
	f.Hear(d.said, d.advisories)
	r.Devices, f.listed = registered(r.Devices, d.entries, d.ends)
	f.devices, f.exposed = r.Devices, exposed(r.Devices, r.Sessions)
	d.warnings = f.warn()
	for i := range f.devices { // the ordinal of each is its index, for none has an id there
		x := &f.devices[i]
		f.ordinal[x.ID] = i
		e := register.Entry{}
		e.Manufacturer, e.Model, e.Version, e.OS = x.Manufacturer, x.Model, x.Version, x.OS
		for _, j := range f.listed[i] {
			has := &d.entries[j]
			if e.UDI.DI == "" {
				e.UDI = has.UDI
			}
			e.Serial, e.SBOM = cmp.Or(e.Serial, has.Serial), cmp.Or(e.SBOM, has.SBOM)
			e.Made, e.Distributed = cmp.Or(e.Made, has.Made), cmp.Or(e.Distributed, has.Distributed)
		}
		f.index.AddDevice(&e)
	}
	add := func(doc *advisory.Document) {
		f.index.AddAdvisory(doc)
		f.kinds[doc.ID] = doc.Kind
		d.papers[doc.ID] = append(d.papers[doc.ID], doc)
		for i := range doc.Vulnerabilities {
			v := &doc.Vulnerabilities[i]
			for _, id := range append([]string{v.ID}, v.Aliases...) {
				f.weak[id] = append(f.weak[id], v)
			}
		}
	}
	for _, doc := range current(d.advisories) {
		add(doc)
	}
	var said []*advisory.Product
	for i := range d.said {
		if said = append(said, &d.said[i].Product); d.said[i].Component != nil {
			said = append(said, d.said[i].Component)
		}
	}
	f.index.Narrow(said...)
	for i := range d.bomFiles {
		f.made(&d.bomFiles[i])
	}
	docs, sayers := f.affected()
	for _, doc := range docs {
		f.from[doc] = f.sayers[sayers[doc]]
		add(doc)
	}
	out := f.weaknesses()
	d.leftOut = f.index.LeftOut()
	return slices.Concat(out, f.parts(now), f.disclosed(r))
}

// warn says of each register, by its input, what it does not tell and much
// depends on.
func (f *fleet) warn() map[int]string {
	out := map[int]string{}
	unknown := make([]int, len(f.entries)) // 1: of no known therapy
	for i := range f.devices {
		for _, j := range f.listed[i] {
			unknown[j] = truth(f.devices[i].Therapy == device.NoTherapy)
		}
	}
	begin := 0
	for i, end := range f.ends {
		if end == begin || begin >= len(f.lines) {
			continue
		}
		n := 0
		for _, u := range unknown[begin:end] {
			n += u
		}
		if say := Untold(f.lacks[i], n, end-begin); say != "" {
			out[f.lines[begin].Input] = say
		}
		begin = end
	}
	return out
}

// Untold says what a register does not tell and much depends on, or "": fields
// that it has no column of, and devices of no known therapy.
func Untold(lacks []string, unknown, devices int) string {
	var say []string
	if len(lacks) > 0 {
		say = append(say, "no column was understood as "+strings.Join(lacks, " or ")+", without which what is published can hardly be held against a device")
	}
	if unknown > 0 {
		say = append(say, fmt.Sprintf("%d of %d registered devices have no known therapy: their harm is unknown", unknown, devices))
	}
	return strings.Join(say, "; ")
}

// current are advisories without those of which there is a newer version, and
// without what was withdrawn.
func current(all []*advisory.Document) []*advisory.Document {
	type key struct {
		kind          advisory.Kind
		publisher, id string
	}
	newest := map[key]int{}
	var out []*advisory.Document
	for _, doc := range all {
		k := key{kind: doc.Kind, id: doc.ID}
		if doc.Kind == advisory.CSAF {
			k.publisher = doc.Publisher
		}
		if i, ok := newest[k]; !ok {
			newest[k] = len(out)
			out = append(out, doc)
		} else if had := out[i]; doc.Modified.After(had.Modified) || doc.Modified.Equal(had.Modified) && !had.Withdrawn {
			out[i] = doc
		}
	}
	return slices.DeleteFunc(out, func(doc *advisory.Document) bool { return doc.Withdrawn })
}

// made reads what a product is made of.
func (f *fleet) made(file *bomFile) {
	file.paper.sifted = false
	doc, err := readBOM(file.paper)
	if err == nil {
		file.in.Items = len(doc.Components)
		err = file.paper.Charge(len(doc.Components))
	}
	if err != nil {
		file.in.Error = err.Error()
		return
	}
	made, _ := f.Suppliers.made(doc)
	made.input = file.at
	f.quality = append(f.quality, quality(doc, file.at))
}

// A cause is one reason for a finding: a part of a device in its version, or
// what a document says of the whole device.
type cause struct {
	device  string // id, or "" of a product that nobody is known to have
	product int
	part    int // see [match.Index.Component], or -1
	sure    match.Certainty
}

// weaknesses makes findings of what advisories hit: one of a device and a part
// of it, whatever is published about that; of the whole device one for all that
// the same documents say.
func (f *fleet) weaknesses() []finding.Finding {
	type group struct {
		cause
		hits []*match.Hit
		docs []string

		opinions []string
	}
	var groups []*group
	of := map[cause][]*group{}
	hits := f.index.All()
	onePart(f.index, hits)
	type weakness struct {
		device        string
		product, part int
		id            string
	}
	surest := map[weakness]match.Certainty{} // two bills of materials may name a part differently, and one better
	for i := range hits {
		h := &hits[i]
		is, cleared, opinions := f.Judge(h)
		if cleared != nil && h.Status != advisory.UnderInvestigation {
			f.clear(h, cleared)
		}
		if !is || h.Status == advisory.UnderInvestigation {
			continue
		}
		part := h.Component
		var whose []string
		if h.Devices != nil {
			for _, ordinal := range h.Devices.ToArray() {
				whose = append(whose, f.devices[ordinal].ID)
			}
		}
		if whose == nil {
			whose = []string{""}
		}
		for _, id := range whose {
			w := weakness{id, h.Product, part, h.Vulnerability}
			if sure, had := surest[w]; had && sure != h.Certainty {
				continue
			}
			surest[w] = h.Certainty
			c := cause{id, h.Product, part, h.Certainty}
			var in *group
			for _, g := range of[c] {
				if part >= 0 || slices.ContainsFunc(h.Advisories, func(a string) bool { return slices.Contains(g.docs, a) }) {
					in = g
					break
				}
			}
			if in == nil {
				in = &group{cause: c}
				of[c] = append(of[c], in)
				groups = append(groups, in)
			}
			in.hits = append(in.hits, h)
			in.docs = append(in.docs, h.Advisories...)
			for _, s := range opinions {
				in.opinions = once(in.opinions, s, maxWhy)
			}
		}
	}
	out := make([]finding.Finding, 0, len(groups))
	for _, g := range groups {
		x := f.weakness(g.cause, g.hits)
		x.Opinions = g.opinions
		out = append(out, x)
	}
	return out
}

// clear notes what a supplier cleared, once for what it is about.
func (f *fleet) clear(h *match.Hit, st *vex.Statement) {
	p := f.index.Product(h.Product)
	x := report.Cleared{
		Vulnerability: h.Vulnerability, Product: strings.Join(strings.Fields(p.Manufacturer+" "+p.Model+" "+p.Version), " "), Devices: []string{},
		Status: st.Word(), Justification: st.Justification, Impact: brief(st.Impact, remedyText),
		Supplier: st.Author, Document: st.Document, Input: f.sayers[[2]string{st.Author, st.Document}],
	}
	if !st.Time.IsZero() {
		x.Time = st.Time.UnixNano()
	}
	if h.Component >= 0 {
		name, version := f.index.Component(h.Component)
		x.Component = strings.TrimSpace(name + " " + version)
	}
	for i := range f.cleared {
		if c := &f.cleared[i]; c.Vulnerability == x.Vulnerability && c.Product == x.Product && c.Component == x.Component && c.Document == x.Document {
			return // of another bill of materials, or less sure
		}
	}
	if h.Devices != nil {
		for _, ordinal := range h.Devices.ToArray() {
			x.Devices = append(x.Devices, f.devices[ordinal].ID)
		}
	}
	f.cleared = append(f.cleared, x)
}

// onePart makes one part of a product what several of its bills of materials
// list: a package, and the same name and version without a package URL.
func onePart(x *match.Index, hits []match.Hit) {
	type part struct {
		product       int
		name, version string
	}
	of := func(h *match.Hit) (p part, full string) {
		full, v := x.Component(h.Component)
		name := full[strings.LastIndexByte(full, '/')+1:]
		return part{h.Product, strings.ToLower(name), v}, full
	}
	named := map[part]map[string]int{} // by full name, the ordinal
	for i := range hits {
		if h := &hits[i]; h.Component >= 0 {
			p, full := of(h)
			if named[p] == nil {
				named[p] = map[string]int{}
			}
			if at, had := named[p][full]; !had || h.Component < at {
				named[p][full] = h.Component
			}
		}
	}
	for i := range hits {
		h := &hits[i]
		if h.Component < 0 {
			continue
		}
		p, full := of(h)
		h.Component = named[p][full]
		if strings.HasPrefix(full, "pkg:") {
			continue
		}
		packages, other := -1, h.Component
		for name, at := range named[p] {
			if !strings.HasPrefix(name, "pkg:") {
				other = min(other, at)
			} else if packages == -1 {
				packages = at
			} else {
				packages = -2 // two that are called so: which of them it is nobody can say
			}
		}
		switch {
		case packages >= 0:
			h.Component = packages
		case packages == -1:
			h.Component = other
		}
	}
}

// The most that one finding says of each.
const (
	maxWhy     = 8
	maxRemedy  = 2
	remedyText = 300 // bytes
)

// confidence is how far a match is to be believed.
var confidence = map[match.Certainty]device.Confidence{match.Exact: device.High, match.Likely: device.Medium, match.Review: device.Low}

// weakness makes one finding.
func (f *fleet) weakness(c cause, hits []*match.Hit) finding.Finding {
	x := finding.Finding{Kind: finding.VulnerableProduct, Confidence: device.High, Certainty: string(c.sure), State: "open"}
	if c.part >= 0 {
		x.Kind = finding.VulnerableComponent
		name, version := f.index.Component(c.part)
		x.Component = strings.TrimSpace(name + " " + version)
		if p, ok := f.index.Contains(c.product, c.part); ok {
			x.Add(f.bills[p.Bill].at(p.At, p.Of, p.Named, version))
		}
	}
	recalls, titles := 0, []string(nil)
	var inputs []int
	places := map[int][]string{} // what of each input
	place := func(input int, note string) {
		if places[input] == nil {
			inputs = append(inputs, input)
		}
		places[input] = once(places[input], note, maxWhy)
	}
	var fixes, others []string
	for _, h := range hits {
		x.Advisories = append(x.Advisories, h.Advisories...)
		for _, id := range h.Advisories {
			for _, doc := range f.papers[id] {
				if v, note := f.says(doc, h.Vulnerability, h.Aliases); v != nil {
					place(f.from[doc], note)
					titles = append(titles, v.Title)
				}
			}
		}
		for _, id := range append([]string{h.Vulnerability}, h.Aliases...) {
			if strings.HasPrefix(id, "CVE-") {
				x.CVE = append(x.CVE, id)
				if row, ok := f.kev[id]; ok {
					x.KEV = true
					place(row.input, id+" is in CISA's KEV list")
					if row.Action != "" {
						others = append(others, "CISA's KEV list asks: "+row.Action)
					}
				}
				if f.epss != nil {
					if p, _, ok := f.epss.Score(id); ok {
						x.EPSS = max(x.EPSS, p)
					}
				}
			}
		}
		if slices.ContainsFunc(h.Advisories, func(id string) bool { return f.kinds[id] == advisory.Recall }) {
			recalls++
		}
		for _, v := range f.weak[h.Vulnerability] {
			x.CWE = append(x.CWE, v.CWE...)
			x.KEV = x.KEV || v.KEV
			for _, s := range v.Scores {
				score := finding.Score(s)
				if c, err := risk.ParseCVSS(s.Vector); s.Base < 0 && err == nil {
					score.Base = c.Base
				}
				if !slices.Contains(x.CVSS, score) {
					x.CVSS = append(x.CVSS, score)
				}
			}
			if v.SSVC != nil {
				x.SSVC = worse(x.SSVC, risk.ADP(v.SSVC.Exploitation, v.SSVC.Automatable, v.SSVC.TechnicalImpact))
			}
		}
		for _, why := range h.Why {
			x.Why = once(x.Why, why, maxWhy)
		}
		for _, r := range h.Remediations {
			if r.Category == "vendor_fix" {
				fixes = append(fixes, r.Details)
			} else {
				others = append(others, r.Details)
			}
		}
	}
	for _, input := range inputs {
		x.Add(finding.Sighting{Input: input, Note: brief(strings.Join(places[input], "; "), 160)})
	}
	for _, list := range []*[]string{&x.Advisories, &x.CVE, &x.CWE} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	switch {
	case recalls > 0 && recalls == len(hits):
		x.Kind = finding.RecalledProduct
	case x.KEV:
		x.Kind = finding.KnownExploited
	}
	x.Title = finding.Kinds[x.Kind].Title
	if x.Confidence = confidence[c.sure]; c.sure == match.Review {
		x.Title = "To review: " + x.Title
	}
	if titles = slices.DeleteFunc(titles, func(s string) bool { return s == "" }); len(titles) > 0 {
		x.Title += " (" + brief(strings.TrimRight(titles[0], "."), 120) + ")"
	}
	var remedy []string
	for _, s := range append(fixes, others...) {
		if s = brief(s, remedyText); s != "" {
			remedy = once(remedy, sentence(s), maxRemedy)
		}
	}
	x.Advice = cmp.Or(strings.Join(remedy, " "), finding.Kinds[x.Kind].Advice)
	f.about(&x, c.device, c.product)
	x.ID = finding.IDOf(x.Kind, c.device, x.Product, cmp.Or(x.Component, strings.Join(x.Advisories, " ")), string(c.sure))
	return x
}

// says is what an advisory says of a vulnerability, by any of its names, and the
// place; nil is nothing.
func (f *fleet) says(doc *advisory.Document, id string, aliases []string) (_ *advisory.Vulnerability, note string) {
	for i := range doc.Vulnerabilities {
		v := &doc.Vulnerabilities[i]
		named := func(s string) bool { return s == v.ID || slices.Contains(v.Aliases, s) }
		if !named(id) && !slices.ContainsFunc(aliases, named) {
			continue
		}
		if n := len(doc.Vulnerabilities); n > 1 && !f.stated[doc.ID] {
			return v, fmt.Sprintf("vulnerability %d of %d, %s", i+1, n, id)
		}
		return v, id
	}
	return nil, ""
}

// lists is the place in a bill of materials of a component, or of the whole.
func (b *bill) lists(component int) finding.Sighting {
	if component < 0 {
		return finding.Sighting{Input: b.input, Note: "the whole bill of materials"}
	}
	c := &b.doc.Components[component]
	return b.at(component, len(b.doc.Components), c.Name, c.Version)
}

func (b *bill) at(i, of int, name, version string) finding.Sighting {
	return finding.Sighting{Input: b.input, Note: fmt.Sprintf("component %d of %d: %s", i+1, of, brief(strings.TrimSpace(name+" "+version), 80))}
}

// about says which device or product a finding is about, and what is known of it.
func (f *fleet) about(x *finding.Finding, id string, product int) {
	p := f.index.Product(product)
	worst := device.NoHarm
	if i, ok := f.ordinal[id]; ok && id != "" {
		d := &f.devices[i]
		for n, j := range f.listed[i] {
			if n < maxWhy {
				x.Add(f.lines[j])
			}
			if why := f.otherwise(d, j); why != "" {
				x.Why = once(x.Why, why, maxWhy+1)
			}
		}
		x.Device, x.Therapy, worst = id, d.Therapy, d.Harm
		p.Manufacturer, p.Model, p.Version = d.Manufacturer, d.Model, d.Version
		if seen := f.exposed[id]; seen != "" {
			x.Exposed = seen
		} else if d.Unseen {
			x.Exposed = "not seen on the network"
		}
	}
	x.Product = strings.Join(strings.Fields(p.Manufacturer+" "+p.Model+" "+p.Version), " ")
	x.Harm, x.Privacy = risk.HarmOf(x, worst)
}

// otherwise says where an entry of a register gives a device another version
// than that which counts.
func (f *fleet) otherwise(d *device.Device, entry int) string {
	e := &f.entries[entry]
	v, w := strings.TrimLeft(d.Version, "vV"), strings.TrimLeft(e.Version, "vV")
	if v == "" || w == "" || !same(d.Model, e.Model) || version.Generic.Compare(v, w) == 0 {
		return ""
	}
	counts := "the device itself says " + d.Version + ", which counts"
	if d.Unseen {
		counts = "another register says " + d.Version + ", which counts because it was read first"
	}
	return "a register says version " + e.Version + "; " + counts
}

// worse joins two lists of answers: the worse one of each question counts.
func worse(a, b finding.SSVC) finding.SSVC {
	rank := func(s string) int {
		return slices.Index([]string{"", "none", "public poc", "active", "no", "yes", "partial", "total"}, s)
	}
	if rank(b.Exploitation) > rank(a.Exploitation) {
		a.Exploitation, a.From.Exploitation = b.Exploitation, b.From.Exploitation
	}
	if rank(b.Automatable) > rank(a.Automatable) {
		a.Automatable, a.From.Automatable = b.Automatable, b.From.Automatable
	}
	if rank(b.TechnicalImpact) > rank(a.TechnicalImpact) {
		a.TechnicalImpact, a.From.TechnicalImpact = b.TechnicalImpact, b.From.TechnicalImpact
	}
	return a
}

// once appends what is not in a list that has room.
func once(list []string, s string, most int) []string {
	if len(list) >= most || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// sentence makes one of a remark such as "fixed in 1.0.1".
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if s = string(unicode.ToUpper(r)) + s[n:]; strings.HasSuffix(s, "…") || strings.ContainsAny(s[len(s)-1:], ".!?:)") {
		return s
	}
	return s + "."
}

// brief cuts a text at a word.
func brief(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= n {
		return s
	}
	i := strings.LastIndexByte(s[:n], ' ')
	if i < n/2 {
		i = n - 4
		for i > 0 && !utf8.RuneStart(s[i]) {
			i--
		}
	}
	return s[:i] + " …"
}

// parts makes findings of what bills of materials say, and of those that are
// missing: once a product, not once a device.
func (f *fleet) parts(now time.Time) (out []finding.Finding) {
	if len(f.bills) == 0 {
		return nil
	}
	productOf := func(d *device.Device) string {
		return strings.Join(strings.Fields(d.Manufacturer+" "+d.Model+" "+d.Version), " ")
	}
	entries := map[string]finding.Sighting{} // the first of each product in a register
	for i := range f.devices {
		product := productOf(&f.devices[i])
		if _, had := entries[product]; len(f.listed[i]) > 0 && !had {
			entries[product] = f.lines[f.listed[i][0]]
		}
	}
	seen := map[string]bool{}
	for i := range f.devices {
		d := &f.devices[i]
		product := productOf(d)
		if !d.Medical || d.Model == "" || seen[product] {
			continue
		}
		seen[product] = true
		bills, sure := f.index.Bills(uint32(i))
		if len(bills) == 0 || sure == match.Review {
			x := f.paper(finding.SBOMMissing, d, "", product, "", "")
			if at, ok := entries[product]; ok {
				x.Add(at)
			}
			out = append(out, x)
			continue
		}
		b := f.bills[bills[0]]
		if b == nil || b.doc == nil { // the register names one that is not here
			continue
		}
		doc := b.doc
		for j := range doc.Components {
			c := &doc.Components[j]
			ended := c.EndOfSupport != "" && c.EndOfSupport < now.UTC().Format(time.DateOnly)
			if !ended && !abandoned(c.SupportLevel) {
				continue
			}
			why := "support ended on " + c.EndOfSupport
			if !ended {
				why = "its bill of materials says: " + c.SupportLevel
			}
			kind, part := finding.UnsupportedComponent, strings.TrimSpace(c.Name+" "+c.Version)
			if j == doc.Subject {
				kind, part = finding.UnsupportedProduct, ""
			}
			x := f.paper(kind, d, part, product, why, sure)
			x.Add(b.lists(j))
			out = append(out, x)
		}
		if q, at := doc.Quality(), b.lists(-1); !q.Complete(false) {
			x := f.paper(finding.SBOMIncomplete, d, "", product, "", sure)
			b := quality(doc, b.input)
			x.Why = lacking(&b)
			x.Add(at)
			out = append(out, x)
		}
	}
	return out
}

// quality says what is in a bill of materials, and what it lacks.
func quality(doc *sbom.Document, input int) report.Bill {
	q := doc.Quality()
	b := report.Bill{Input: input, Components: q.Components}
	if doc.Subject >= 0 && doc.Subject < len(doc.Components) {
		c := &doc.Components[doc.Subject]
		b.Product = strings.Join(strings.Fields(cmp.Or(c.Supplier, doc.Supplier)+" "+c.Name+" "+c.Version), " ")
	} else {
		b.Lacks = append(b.Lacks, report.Lack{Element: "product that it is about"})
	}
	for e, n := range q.Missing {
		if n == 0 {
			continue
		}
		element := sbom.Element(e)
		l := report.Lack{Element: element.String(), FDA: element.FDA()}
		if !element.OfDocument() {
			if l.Components = n; n < q.Components {
				l.Names = make([]string, 0, n)
				for _, g := range q.Gaps {
					if g.Missing.Has(element) {
						c := &doc.Components[g.Component]
						l.Names = append(l.Names, cmp.Or(brief(strings.TrimSpace(c.Name+" "+c.Version), 80), "one without a name"))
					}
				}
			}
		}
		b.Lacks = append(b.Lacks, l)
	}
	return b
}

// lacking says which components of a bill of materials lack what, an element a
// line, with all their names.
func lacking(b *report.Bill) (why []string) {
	for _, l := range b.Lacks {
		line := l.Element + " is missing"
		switch {
		case l.Names != nil:
			line += fmt.Sprintf(" of %d of %d components: %s", l.Components, b.Components, strings.Join(l.Names, ", "))
		case l.Components > 0:
			line += fmt.Sprintf(" of all %d components", b.Components)
		}
		why = once(why, line, maxWhy+1)
	}
	return why
}

// abandoned reports whether a level of support is none (FDA's words).
func abandoned(level string) bool {
	level = strings.ToLower(level)
	return strings.Contains(level, "abandon") || strings.Contains(level, "no longer") || strings.Contains(level, "unsupported") || strings.Contains(level, "end of")
}

// paper makes a finding about a product from its papers.
func (f *fleet) paper(kind finding.Kind, d *device.Device, part, product, why string, sure match.Certainty) finding.Finding {
	k := &finding.Kinds[kind]
	x := finding.Finding{Kind: kind, Title: k.Title, Advice: k.Advice, Product: product, Component: part, Therapy: d.Therapy, Confidence: device.High, Certainty: string(sure), State: "open"}
	if part != "" {
		x.Title += " (" + brief(part, 80) + ")"
	}
	if why != "" {
		x.Why = []string{why}
	}
	x.Harm, x.Privacy = risk.HarmOf(&x, d.Harm)
	x.ID = finding.IDOf(kind, product, part)
	return x
}
