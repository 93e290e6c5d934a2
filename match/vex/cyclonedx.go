// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/match/advisory"
)

// The words of CycloneDX. Of its justifications these have an equal in OpenVEX;
// the others stand in front of [Statement.Impact].
var (
	cycloneDXStates = map[string]advisory.Status{
		"resolved":               advisory.Fixed,
		"resolved_with_pedigree": advisory.Fixed,
		"exploitable":            advisory.Affected,
		"in_triage":              advisory.UnderInvestigation,
		"false_positive":         advisory.NotAffected,
		"not_affected":           advisory.NotAffected,
	}
	cycloneDXJustifications = map[string]string{
		"code_not_present":                "vulnerable_code_not_present",
		"code_not_reachable":              "vulnerable_code_not_in_execute_path",
		"protected_by_mitigating_control": "inline_mitigations_already_exist",
		"requires_configuration":          "",
		"requires_dependency":             "",
		"requires_environment":            "",
		"protected_by_compiler":           "",
		"protected_at_runtime":            "",
		"protected_at_perimeter":          "",
	}
	cycloneDXResponses = map[string]string{
		"update":               "vendor_fix",
		"rollback":             "mitigation",
		"workaround_available": "workaround",
		"will_not_fix":         "no_fix_planned",
		"can_not_fix":          "none_available",
	}
)

// justificationProperty keeps the word of OpenVEX where CycloneDX has no equal.
const justificationProperty = "myelin:justification"

// A bom is what of a document the vulnerabilities refer to.
type bom struct {
	parts   []bomPart
	byRef   map[string]int
	subject int // what the document is about, or -1
}

type bomPart struct {
	product advisory.Product
	parent  int
}

// cycloneDX reads the vulnerabilities of a document that has analysed them.
func (s *scanner) cycloneDX() *Decided {
	d := &Decided{}
	b := &bom{byRef: map[string]int{}, subject: -1}
	var supplier string
	var analysed []analysed
	s.object(func(key string) {
		switch key {
		case "serialNumber":
			d.ID = s.text()
		case "version":
			d.Version = s.number()
		case "metadata":
			supplier = s.cycloneDXMetadata(d, b)
		case "components", "services":
			s.array(func(int) { s.component(b, -1) })
		case "vulnerabilities":
			s.array(func(int) {
				analysed = append(analysed, s.analysed())
				s.atMost(len(analysed), maxStatements)
			})
		default:
			s.skip()
		}
	})
	d.First = d.Time
	if b.subject >= 0 && b.parts[b.subject].product.Manufacturer == "" {
		b.parts[b.subject].product.Manufacturer = supplier
	}
	for i := range analysed {
		analysed[i].statement.Supplier = supplier
		s.analysis(d, b, &analysed[i])
	}
	return d
}

// cycloneDXMetadata returns who supplies the product. Who wrote the document is
// the organisation that made it, as 1.6 says, or else the people who did: the
// supplier of the product may be anybody else.
func (s *scanner) cycloneDXMetadata(d *Decided, b *bom) (supplier string) {
	var people []string
	s.object(func(key string) {
		switch key {
		case "timestamp":
			d.Time = s.time()
		case "manufacturer":
			s.object(func(key string) {
				switch key {
				case "name":
					d.Author = s.text()
				case "url":
					if urls := s.texts(); len(urls) > 0 {
						d.Namespace = urls[0]
					}
				default:
					s.skip()
				}
			})
		case "authors":
			s.array(func(int) { people = append(people, s.named()) })
		case "supplier":
			supplier = cmp.Or(s.named(), supplier)
		case "manufacture":
			supplier = cmp.Or(supplier, s.named())
		case "component":
			b.subject = s.component(b, -1)
		default:
			s.skip()
		}
	})
	if d.Author == "" {
		d.Author = strings.Join(people, ", ")
	}
	return supplier
}

// named returns the name of an organisation or a person.
func (s *scanner) named() (name string) {
	s.object(func(key string) {
		if key == "name" {
			name = s.text()
		} else {
			s.skip()
		}
	})
	return name
}

// component reads a component with those in it, and returns its index.
func (s *scanner) component(b *bom, parent int) int {
	i := len(b.parts)
	if s.atMost(i+1, maxProducts); s.err != nil {
		return parent
	}
	b.parts = append(b.parts, bomPart{parent: parent})
	var p advisory.Product
	var supplier, publisher string
	s.object(func(key string) {
		switch key {
		case "bom-ref":
			if ref := s.text(); ref != "" {
				if _, ok := b.byRef[ref]; ok {
					s.fail(ErrTwice)
				}
				b.byRef[ref] = i
			}
		case "name":
			p.Name = s.text()
		case "version":
			p.Version = s.text()
		case "purl":
			p.PURL = s.text()
		case "cpe":
			p.CPE = s.text()
		case "manufacturer":
			p.Manufacturer = s.named()
		case "supplier", "provider":
			supplier = s.named()
		case "publisher":
			publisher = s.text()
		case "components", "services":
			s.array(func(int) { s.component(b, i) })
		default:
			s.skip()
		}
	})
	p.Manufacturer = cmp.Or(p.Manufacturer, supplier, publisher)
	b.parts[i].product = p
	return i
}

// A analysed is a vulnerability before it is known what it refers to.
type analysed struct {
	statement Statement
	affects   []affects
}

type affects struct {
	ref      string
	versions []affectedVersion
}

type affectedVersion struct{ version, status string }

func (s *scanner) analysed() (a analysed) {
	s.weigh(64)
	st := &a.statement
	var recommendation, workaround, remedy string
	s.object(func(key string) {
		switch key {
		case "id":
			st.Vulnerability = s.text()
		case "references":
			s.array(func(int) {
				s.object(func(key string) {
					if key == "id" {
						st.Aliases = append(st.Aliases, s.text())
					} else {
						s.skip()
					}
				})
			})
		case "description":
			st.Description = s.text()
		case "recommendation":
			recommendation = s.text()
		case "workaround":
			workaround = s.text()
		case "analysis":
			remedy = s.analysisOf(st)
		case "affects":
			s.array(func(int) {
				a.affects = append(a.affects, s.affects())
				s.atMost(len(a.affects), maxProducts)
			})
		case "properties":
			s.array(func(int) {
				var name, value string
				s.object(func(key string) {
					switch key {
					case "name":
						name = s.text()
					case "value":
						value = s.text()
					default:
						s.skip()
					}
				})
				if name == justificationProperty && slices.Contains(justifications, value) {
					st.Justification = value
				}
			})
		default:
			s.skip()
		}
	})
	st.Action = cmp.Or(recommendation, workaround)
	switch st.Status {
	case advisory.Affected:
		st.Remedy = remedy
		st.Action = cmp.Or(st.Action, st.Impact) // where many write it
		st.Impact = ""
	case advisory.NoStatus:
		return a
	}
	if st.Vulnerability == "" {
		s.fail(ErrMissing)
	}
	return a
}

// analysisOf reads what was found, and returns what kind of remedy there is.
func (s *scanner) analysisOf(st *Statement) (remedy string) {
	var justification, detail string
	var first time.Time
	s.object(func(key string) {
		switch key {
		case "state":
			state := s.text()
			if st.Status = cycloneDXStates[state]; st.Status == advisory.NoStatus {
				s.fail(ErrWord)
			}
			if state == "false_positive" {
				detail = cmp.Or(detail, "false positive")
			}
		case "justification":
			justification = s.text()
			if _, ok := cycloneDXJustifications[justification]; !ok {
				s.fail(ErrWord)
			}
		case "response":
			var best []string
			for _, response := range s.texts() {
				best = append(best, cycloneDXResponses[response])
			}
			for _, r := range remedies {
				if remedy == "" && slices.Contains(best, r) {
					remedy = r
				}
			}
		case "detail":
			detail = cmp.Or(s.text(), detail)
		case "firstIssued":
			first = s.time()
		case "lastUpdated":
			st.Time = s.time()
		default:
			s.skip()
		}
	})
	if st.Time.IsZero() {
		st.Time = first
	}
	if same := cycloneDXJustifications[justification]; justification != "" && same == "" {
		detail = strings.TrimSuffix(justification+": "+detail, ": ")
	} else {
		st.Justification = cmp.Or(st.Justification, same)
	}
	st.Impact = detail
	return remedy
}

func (s *scanner) affects() (a affects) {
	s.weigh(4)
	s.object(func(key string) {
		switch key {
		case "ref":
			a.ref = s.text()
		case "versions":
			s.array(func(int) {
				var v affectedVersion
				s.weigh(4)
				s.object(func(key string) {
					switch key {
					case "version", "range":
						v.version = s.text()
					case "status":
						v.status = s.oneOf("affected", "unaffected", "unknown")
					default:
						s.skip()
					}
				})
				a.versions = append(a.versions, v)
				s.atMost(len(a.versions), maxProducts)
			})
		default:
			s.skip()
		}
	})
	return a
}

// analysis makes statements of a vulnerability, one for each product and version.
func (s *scanner) analysis(d *Decided, b *bom, a *analysed) {
	if a.statement.Status == advisory.NoStatus {
		return // a known vulnerability, of which nobody has said what it means
	}
	if len(a.affects) == 0 {
		st := a.statement
		if b.subject >= 0 {
			st.Product = b.parts[b.subject].product
		} else {
			st.Product.Manufacturer = st.Supplier // of all that it makes: nothing that can be found by name
		}
		s.say(d, st, nil)
	}
	for _, ref := range a.affects {
		st := a.statement
		var part *advisory.Product
		st.Product, part = b.find(ref.ref)
		about := &st.Product
		if part != nil {
			st.Component, about = part, part
		}
		if len(ref.versions) == 0 {
			s.add(d, st)
		}
		for _, v := range ref.versions {
			one := st
			p := *about
			p.Version, p.PURL = v.version, withoutVersion(p.PURL)
			if part != nil {
				one.Component = &p
			} else {
				one.Product = p
			}
			if one.Status = stateOf(st.Status, v.status); one.Status != advisory.Affected {
				one.Action, one.Remedy = "", ""
			}
			if one.Status == advisory.NotAffected && one.Justification == "" && one.Impact == "" {
				one.Impact = v.status // all that it says
			}
			s.add(d, one)
		}
	}
}

// stateOf returns what is said of a version: its own word, where it has one,
// stands above what the analysis says of all, so that a document that
// contradicts itself ("not affected", and "affected" of the version) clears nothing.
func stateOf(analysis advisory.Status, version string) advisory.Status {
	switch {
	case version == "unaffected" && analysis != advisory.Fixed:
		return advisory.NotAffected
	case version == "unknown":
		return advisory.UnderInvestigation
	case version == "affected" && (analysis == advisory.NotAffected || analysis == advisory.Fixed):
		return advisory.Affected
	}
	return analysis
}

// add adds a statement.
func (s *scanner) add(d *Decided, st Statement) {
	if s.atMost(len(d.Statements)+1, maxStatements); s.err == nil {
		d.Statements = append(d.Statements, st)
	}
}

// find returns the product that a reference leads to, and the part of it. A
// reference into another document (a BOM-Link) is a package URL, or a name that
// only that document explains.
func (b *bom) find(ref string) (advisory.Product, *advisory.Product) {
	i, ok := b.byRef[ref]
	if !ok {
		if link, ok := strings.CutPrefix(ref, "urn:cdx:"); ok {
			if _, fragment, _ := strings.Cut(link, "#"); strings.HasPrefix(fragment, "pkg:") {
				return identified(fragment), nil
			} else if text, err := url.PathUnescape(fragment); err == nil && strings.HasPrefix(text, "pkg:") {
				return identified(text), nil
			}
		}
		return identified(ref), nil
	}
	part := &b.parts[i]
	whole := i
	for b.parts[whole].parent >= 0 {
		whole = b.parts[whole].parent
	}
	if b.subject >= 0 {
		whole = b.subject
	}
	if whole == i {
		return part.product, nil
	}
	return b.parts[whole].product, &part.product
}

type (
	cycloneDXDocument struct {
		Format          string                   `json:"bomFormat"`
		SpecVersion     string                   `json:"specVersion"`
		Serial          string                   `json:"serialNumber"`
		Version         int                      `json:"version"`
		Metadata        cycloneDXMetadata        `json:"metadata"`
		Components      []*cycloneDXComponent    `json:"components"`
		Vulnerabilities []cycloneDXVulnerability `json:"vulnerabilities"`
	}
	cycloneDXMetadata struct {
		Timestamp    string          `json:"timestamp"`
		Manufacturer cycloneDXEntity `json:"manufacturer"`
	}
	cycloneDXEntity struct {
		Name string   `json:"name"`
		URL  []string `json:"url,omitempty"`
	}
	cycloneDXComponent struct {
		Ref          string                `json:"bom-ref"`
		Type         string                `json:"type"`
		Manufacturer *cycloneDXEntity      `json:"manufacturer,omitempty"`
		Name         string                `json:"name"`
		Version      string                `json:"version,omitempty"`
		CPE          string                `json:"cpe,omitempty"`
		PURL         string                `json:"purl,omitempty"`
		Components   []*cycloneDXComponent `json:"components,omitempty"`
	}
	cycloneDXVulnerability struct {
		ID             string               `json:"id"`
		References     []cycloneDXReference `json:"references,omitempty"`
		Description    string               `json:"description,omitempty"`
		Recommendation string               `json:"recommendation,omitempty"`
		Analysis       cycloneDXAnalysis    `json:"analysis"`
		Affects        []cycloneDXAffects   `json:"affects"`
		Properties     []cycloneDXProperty  `json:"properties,omitempty"`
	}
	cycloneDXReference struct {
		ID     string         `json:"id"`
		Source map[string]any `json:"source"`
	}
	cycloneDXAnalysis struct {
		State         string   `json:"state"`
		Justification string   `json:"justification,omitempty"`
		Response      []string `json:"response,omitempty"`
		Detail        string   `json:"detail,omitempty"`
		Updated       string   `json:"lastUpdated"`
	}
	cycloneDXAffects struct {
		Ref      string             `json:"ref"`
		Versions []cycloneDXVersion `json:"versions,omitempty"`
	}
	cycloneDXVersion struct {
		Range  string `json:"range"`
		Status string `json:"status"`
	}
	cycloneDXProperty struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// cycloneDX returns the document as CycloneDX 1.6.
func (d *Decided) cycloneDX() any {
	out := cycloneDXDocument{Format: "CycloneDX", SpecVersion: "1.6", Serial: d.urn(), Version: d.Version}
	out.Metadata.Timestamp = stamp(d.Time)
	out.Metadata.Manufacturer.Name = d.Author
	if d.Namespace != "" {
		out.Metadata.Manufacturer.URL = []string{d.Namespace}
	}
	refs := cycloneDXRefs{}
	for i := range d.Statements {
		st := &d.Statements[i]
		ref, about := refs.of(&out.Components, "product", &st.Product), &st.Product
		if st.Component != nil {
			about = st.Component
			ref = refs.of(&ref.Components, ref.Ref+"-part", about)
			ref.Type = "library"
		}
		v := cycloneDXVulnerability{ID: st.Vulnerability, Description: st.Description, Recommendation: st.Action}
		for _, alias := range st.Aliases {
			v.References = append(v.References, cycloneDXReference{alias, map[string]any{}})
		}
		v.Analysis = cycloneDXAnalysis{Detail: st.Impact, Updated: stamp(st.Time)}
		version := "affected"
		switch st.Status {
		case advisory.Affected:
			v.Analysis.State = "exploitable"
			for response, remedy := range cycloneDXResponses {
				if remedy == st.Remedy && response != "rollback" {
					v.Analysis.Response = []string{response}
				}
			}
		case advisory.NotAffected:
			v.Analysis.State, version = "not_affected", "unaffected"
		case advisory.Fixed:
			v.Analysis.State, version = "resolved", "unaffected"
		case advisory.UnderInvestigation:
			v.Analysis.State, version = "in_triage", "unknown"
		}
		if st.Justification != "" {
			for own, word := range cycloneDXJustifications {
				if word == st.Justification {
					v.Analysis.Justification = own
				}
			}
			if v.Analysis.Justification == "" {
				v.Properties = []cycloneDXProperty{{justificationProperty, st.Justification}}
			}
		}
		affects := cycloneDXAffects{Ref: ref.Ref}
		if strings.HasPrefix(about.Version, "vers:") {
			affects.Versions = []cycloneDXVersion{{about.Version, version}}
		}
		v.Affects = []cycloneDXAffects{affects}
		out.Vulnerabilities = append(out.Vulnerabilities, v)
	}
	return out
}

// A cycloneDXRefs finds the component of a product, or of a part within one.
type cycloneDXRefs map[string]*cycloneDXComponent

// of returns it; it is added to the list when it is not there yet.
func (refs cycloneDXRefs) of(list *[]*cycloneDXComponent, prefix string, p *advisory.Product) *cycloneDXComponent {
	k := prefix + key(p)
	if c := refs[k]; c != nil {
		return c
	}
	c := &cycloneDXComponent{
		Ref: fmt.Sprintf("%s-%d", prefix, len(*list)+1), Type: "device",
		Name: cmp.Or(p.Name, title(p)), Version: p.Version, PURL: p.PURL,
	}
	if p.PURL != "" {
		c.Type = "application"
	}
	if cpe23().MatchString(p.CPE) {
		c.CPE = p.CPE
	}
	if p.Manufacturer != "" {
		c.Manufacturer = &cycloneDXEntity{Name: p.Manufacturer}
	}
	refs[k] = c
	*list = append(*list, c)
	return c
}
