// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"time"
)

// spdx3Table is what SPDX 3.0 says, in the JSON-LD form that its specification
// lays down: elements in a flat graph, which name each other. Elements have
// members from many profiles; those that are not here pass.
const spdx3Table = `
graph open
  j @context               any !
  j @graph                 [element] !
element open
  j type                   string !
  j spdxId                 string
  j @id                    string
  j name                   string
  j creationInfo           string|creation3
  j specVersion            string
  j created                time
  j createdBy              [string;agent]
  j rootElement            [string]
  j suppliedBy             string|agent
  j verifiedUsing          [integrity]
  j externalIdentifier     [identifier]
  j validUntilTime         time
  j supportLevel           string|[string]
  j comment                string
  j software_packageVersion string
  j software_packageUrl    string
  j software_primaryPurpose string
  j software_attributionText [string]
  j simplelicensing_licenseExpression string
  j relationshipType       string
  j from                   string|any
  j to                     [string;any]
creation3 open
  j specVersion            string !
  j created                time !
  j createdBy              [string;agent] !
agent open
  j type                   string !
  j name                   string
integrity open
  j type                   string !
  j algorithm              string
  j hashValue              string
identifier open
  j type                   string !
  j externalIdentifierType string !
  j identifier             string !
`

var spdx3Shapes = sync.OnceValue(func() map[string]*shape { return parseShapes(spdx3Table, spdx3Hooks) })

// An element is one of SPDX 3, as far as it is kept, while it is read.
type element struct {
	kind                         string
	ref                          []byte
	id                           int32 // of ref, or -1, where the type has others name it
	name, version, purl, purpose string
	expression, relation         string
	supplier                     int32 // id, or -1
	supplierName                 string
	creation                     int32 // id, or -1
	made                         making
	isMade                       bool
	roots                        []int32
	from                         int32
	to                           []int32
	hashes                       []Hash
	cpes                         []string
	level, until                 string
	notes                        [][2]string
	agent                        string
	identifier                   struct{ kind, value []byte }
}

// A making is SPDX 3's creation information.
type making struct {
	version string
	created time.Time
	by      []int32
	names   []string
}

// into makes the hook that keeps a string in a field of the element.
func into(field func(*element) *string) hook {
	return hook{take: func(r *reader, v []byte) error {
		*field(&r.elem) = r.intern(v)
		return nil
	}}
}

var spdx3Hooks = map[string]hook{
	"graph.@graph": {begin: func(r *reader) error {
		e := &r.elem
		*e = element{ref: e.ref[:0], id: -1, supplier: -1, creation: -1, from: -1, roots: e.roots[:0], to: e.to[:0], hashes: e.hashes[:0], cpes: e.cpes[:0], notes: e.notes[:0], identifier: e.identifier}
		return nil
	}, end: (*reader).endElement},

	"element.type":   into(func(e *element) *string { return &e.kind }),
	"element.name":   into(func(e *element) *string { return &e.name }),
	"element.spdxId": {take: func(r *reader, v []byte) error { r.elem.ref = append(r.elem.ref[:0], v...); return nil }},
	"element.@id":    {take: func(r *reader, v []byte) error { r.elem.ref = append(r.elem.ref[:0], v...); return nil }},
	"element.creationInfo": {
		take:  func(r *reader, v []byte) error { r.elem.creation = r.id(v); return nil },
		begin: func(r *reader) error { r.elem.isMade = true; return nil },
	},
	"element.specVersion": {take: takeVersion3}, "creation3.specVersion": {take: takeVersion3},
	"element.created": {take: takeCreated}, "creation3.created": {take: takeCreated},
	"element.createdBy": creator, "creation3.createdBy": creator,
	"element.rootElement": {take: func(r *reader, v []byte) error { r.elem.roots = append(r.elem.roots, r.id(v)); return nil }},
	"element.suppliedBy": {
		take: func(r *reader, v []byte) error { r.elem.supplier = r.id(v); return nil },
		end:  func(r *reader) error { r.elem.supplierName = r.elem.agent; return nil },
	},
	"agent.name":                                into(func(e *element) *string { return &e.agent }),
	"element.validUntilTime":                    {take: func(r *reader, v []byte) error { r.elem.until = r.day(v); return nil }},
	"element.supportLevel":                      into(func(e *element) *string { return &e.level }),
	"element.software_packageVersion":           into(func(e *element) *string { return &e.version }),
	"element.software_packageUrl":               into(func(e *element) *string { return &e.purl }),
	"element.software_primaryPurpose":           into(func(e *element) *string { return &e.purpose }),
	"element.relationshipType":                  into(func(e *element) *string { return &e.relation }),
	"element.from":                              {take: func(r *reader, v []byte) error { r.elem.from = r.id(v); return nil }},
	"element.to":                                {take: func(r *reader, v []byte) error { r.elem.to = append(r.elem.to, r.id(v)); return nil }},
	"element.simplelicensing_licenseExpression": into(func(e *element) *string { return &e.expression }),

	"element.verifiedUsing": {begin: (*reader).beginHash, end: func(r *reader) error {
		if r.hash.Hex != "" {
			r.elem.hashes = append(r.elem.hashes, r.hash)
		}
		return nil
	}},
	"integrity.algorithm": {take: func(r *reader, v []byte) error { r.hash.Algorithm = hashName(string(v)); return nil }},
	"integrity.hashValue": {take: (*reader).takeHex},

	"element.externalIdentifier": {begin: func(r *reader) error {
		r.elem.identifier.kind, r.elem.identifier.value = r.elem.identifier.kind[:0], r.elem.identifier.value[:0]
		return nil
	}, end: func(r *reader) error {
		e := &r.elem
		switch string(e.identifier.kind) {
		case "cpe22", "cpe23":
			e.cpes = append(e.cpes, r.words.keep(e.identifier.value))
		case "packageUrl", "packageURL", "purl":
			if e.purl == "" {
				e.purl = r.words.keep(e.identifier.value)
			}
		}
		return nil
	}},
	"identifier.externalIdentifierType": {take: func(r *reader, v []byte) error {
		r.elem.identifier.kind = append(r.elem.identifier.kind, v...)
		return nil
	}},
	"identifier.identifier": {take: func(r *reader, v []byte) error {
		r.elem.identifier.value = append(r.elem.identifier.value, v...)
		return nil
	}},

	"element.comment": {take: note3}, "element.software_attributionText": {take: note3},
}

var creator = hook{
	take: func(r *reader, v []byte) error { r.elem.made.by = append(r.elem.made.by, r.id(v)); return nil },
	end: func(r *reader) error {
		r.elem.made.names = append(r.elem.made.names, r.elem.agent)
		return nil
	},
}

func takeVersion3(r *reader, v []byte) error {
	if !bytes.HasPrefix(v, []byte("3.0")) || len(v) > 16 {
		return r.fail(errors.New("a version that is not read"))
	}
	r.elem.made.version = r.intern(v)
	return nil
}

func takeCreated(r *reader, v []byte) error {
	r.elem.made.created, _ = parseTime(v, false)
	return nil
}

// note3 keeps lines that may be about support until the element is known to be
// a package.
func note3(r *reader, v []byte) error {
	if len(v) > 4<<10 || !bytes.Contains(v, []byte(":")) {
		return nil
	}
	for line := range bytes.Lines(v) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && len(r.elem.notes) < 16 {
			r.elem.notes = append(r.elem.notes, [2]string{string(bytes.TrimSpace(name)), string(bytes.TrimSpace(value))})
		}
	}
	return nil
}

// endElement sorts an element by its type.
func (r *reader) endElement() error {
	e := &r.elem
	switch e.kind {
	case "Relationship", "LifecycleScopedRelationship":
		return r.endRelation3()
	case "software_File", "software_Snippet", "Annotation", "Tool":
		return nil
	}
	if len(e.ref) > 0 {
		e.id = r.id(e.ref)
	}
	switch e.kind {
	case "CreationInfo":
		if e.made.version == "" || e.made.created.IsZero() {
			return r.fail(errMissing)
		}
		if r.made == nil {
			r.made = map[int32]making{}
		}
		if e.id >= 0 {
			r.made[e.id] = e.made
		}
	case "SpdxDocument":
		if e.id < 0 {
			return r.fail(errMissing)
		}
		if r.document >= 0 {
			return r.fail(errDuplicate)
		}
		r.document, r.documentBy = e.id, e.creation
		r.doc.Serial = r.named[e.id].name
		if e.isMade {
			r.madeBy(e.made)
		}
		r.root(e)
	case "security_Vulnerability":
		r.doc.Vulnerabilities++
	case "software_Sbom", "Bom", "Bundle":
		r.root(e)
	case "software_Package", "ai_AIPackage", "dataset_DatasetPackage":
		return r.package3()
	case "Organization", "Person", "Agent", "SoftwareAgent":
		if r.agents == nil {
			r.agents = map[int32]string{}
		}
		if e.id >= 0 {
			r.agents[e.id] = e.name
		}
	default:
		if strings.HasPrefix(e.kind, "simplelicensing_") || strings.HasPrefix(e.kind, "expandedlicensing_") {
			if r.texts == nil {
				r.texts = map[int32]string{}
			}
			if e.expression == "" {
				e.expression = e.name
			}
			if e.id >= 0 {
				r.texts[e.id] = e.expression
			}
		}
	}
	return r.bounded()
}

func (r *reader) root(e *element) {
	if r.roots == nil {
		r.roots = map[int32][]int32{}
	}
	if e.id >= 0 {
		r.roots[e.id] = append([]int32(nil), e.roots...)
	}
}

func (r *reader) package3() error {
	e := &r.elem
	if e.id < 0 || e.name == "" {
		return r.fail(errMissing)
	}
	if err := r.beginComponent(); err != nil {
		return err
	}
	n := &r.named[e.id]
	if n.component >= 0 {
		return r.fail(errDefined)
	}
	n.component = int32(len(r.doc.Components) - 1)
	c := r.current()
	c.Ref, c.Name, c.Version, c.PURL = n.name, e.name, e.version, e.purl
	c.SupportLevel, c.EndOfSupport, c.Supplier = e.level, e.until, e.supplierName
	switch {
	case e.purpose != "":
		r.purpose(strings.ToLower(e.purpose))
	case e.kind == "ai_AIPackage":
		c.Type = "machine-learning-model"
	case e.kind == "dataset_DatasetPackage":
		c.Type = "data"
	}
	for _, h := range e.hashes {
		c.Hashes = r.hashes.add(c.Hashes, h)
	}
	for _, s := range e.cpes {
		c.CPEs = r.strings.add(c.CPEs, s)
	}
	for _, n := range e.notes {
		r.supportNote(c, []byte(n[0]), []byte(n[1]))
	}
	r.suppliers = append(r.suppliers, e.supplier)
	return r.endComponent()
}

func (r *reader) endRelation3() error {
	e := &r.elem
	if len(r.edges)+len(e.to) > maxEdges || len(r.contained)+len(e.to) > maxEdges || len(r.licensed)+len(e.to) > maxEdges {
		return r.fail(errTooMany)
	}
	if e.relation == "" || e.from < 0 {
		return r.fail(errMissing)
	}
	known := true
	for _, to := range e.to {
		if strings.HasSuffix(r.named[to].name, "NoAssertionElement") {
			known = false
		}
	}
	for _, to := range e.to {
		switch e.relation {
		case "dependsOn", "hasStaticLink", "hasDynamicLink", "hasOptionalDependency", "hasProvidedDependency", "hasPrerequisite":
			r.edges = append(r.edges, edge{e.from, to})
			if known {
				r.known = append(r.known, e.from)
			}
		case "contains":
			r.contained = append(r.contained, edge{e.from, to})
		case "describes":
			r.described = append(r.described, to)
		case "hasDeclaredLicense", "hasConcludedLicense":
			r.licensed = append(r.licensed, edge{e.from, to})
		}
	}
	return nil
}

func (r *reader) madeBy(m making) {
	r.doc.Created = m.created
	r.doc.SpecVersion = m.version
	for _, n := range m.names {
		r.wrote(n)
	}
	for _, id := range m.by {
		r.wrote(r.agents[id])
	}
}

// settle3 resolves what stands in other elements.
func (r *reader) settle3() error {
	if r.document < 0 {
		return r.fail(errors.New("no SpdxDocument in the graph"))
	}
	if m, ok := r.made[r.documentBy]; ok {
		r.madeBy(m)
	}
	if r.doc.SpecVersion == "" {
		return r.fail(errors.New("the SpdxDocument does not say its specVersion"))
	}
	if err := r.bounded(); err != nil {
		return err
	}
	var described []int32
	for _, id := range r.roots[r.document] {
		described = append(described, id)
		described = append(described, r.roots[id]...)
	}
	r.described = append(described, r.described...)
	for i, id := range r.suppliers {
		if c := &r.doc.Components[i]; id >= 0 && c.Supplier == "" {
			c.Supplier = r.agents[id]
		}
	}
	for _, e := range r.licensed {
		c := r.named[e.from].component
		if c < 0 {
			continue
		}
		text, ok := r.texts[e.to]
		if !ok {
			// Those of SPDX's own list are named by their address.
			text, ok = strings.CutPrefix(r.named[e.to].name, "https://spdx.org/licenses/")
		}
		if part := &r.doc.Components[c].Licenses; ok && text != "" && text != "NOASSERTION" && text != "NONE" && (len(*part) == 0 || (*part)[len(*part)-1] != text) {
			*part = r.strings.add(*part, text)
		}
	}
	return nil
}
