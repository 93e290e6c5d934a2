// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"errors"
	"strings"
	"sync"
)

// spdxTable is what SPDX 2.2 and 2.3 allow, in JSON; the tag-value spelling
// uses the same fields by spdxTags. It follows the published JSON schemas, but
// for what tools that many use leave out and nothing here depends on: a package
// may lack its download location, licences and copyright text, and a
// relationship may have a name of its own. Of files, snippets and licence texts
// only the place is checked.
const spdxTable = `
spdx
  j spdxVersion            string !
  j SPDXID                 string !
  j dataLicense            string !
  j name                   string !
  j documentNamespace      string
  j creationInfo           creation !
  j comment                string
  j documentDescribes      [string]
  j packages               [package]
  j files                  [file]
  j relationships          [relationship]
  j externalDocumentRefs   any
  j hasExtractedLicensingInfos any
  j annotations            any
  j revieweds              any
  j snippets               any
  j $schema                string
creation
  j created                time !
  j creators               [string] !+3
  j licenseListVersion     string
  j comment                string
package
  j name                   string !
  j SPDXID                 name !
  j versionInfo            string
  j packageFileName        string
  j supplier               string
  j originator             string
  j downloadLocation       string
  j filesAnalyzed          bool
  j packageVerificationCode any
  j checksums              [checksum]
  j homepage               string
  j sourceInfo             string
  j licenseConcluded       string
  j licenseInfoFromFiles   [string]
  j licenseDeclared        string
  j licenseComments        string
  j copyrightText          string
  j summary                string
  j description            string
  j comment                string
  j externalRefs           [externalref]
  j attributionTexts       [string]
  j annotations            [annotation]
  j hasFiles               [string]
  j primaryPackagePurpose  =APPLICATION,FRAMEWORK,LIBRARY,CONTAINER,OPERATING-SYSTEM,OPERATING_SYSTEM,DEVICE,FIRMWARE,SOURCE,ARCHIVE,FILE,INSTALL,OTHER +3
  j releaseDate            time +3
  j builtDate              time +3
  j validUntilDate         time +3
checksum
  j algorithm              =SHA1,SHA224,SHA256,SHA384,SHA512,MD2,MD4,MD5,MD6,SHA3-256+3,SHA3-384+3,SHA3-512+3,BLAKE2b-256+3,BLAKE2b-384+3,BLAKE2b-512+3,BLAKE3+3,ADLER32+3 !
  j checksumValue          string !
externalref
  j referenceCategory      =OTHER,PERSISTENT-ID,PERSISTENT_ID,SECURITY,PACKAGE-MANAGER,PACKAGE_MANAGER !
  j referenceType          string !
  j referenceLocator       string !
  j comment                string
annotation
  j annotationDate         time
  j annotationType         string
  j annotator              string
  j comment                string
file open
  j fileName               string !
  j SPDXID                 name !
relationship
  j spdxElementId          string !
  j relatedSpdxElement     string !
  j relationshipType       string !
  j comment                string
`

var spdxShapes = sync.OnceValue(func() map[string]*shape { return parseShapes(spdxTable, spdxHooks) })

// spdxFacts is what SPDX documents of all versions say by reference.
type spdxFacts struct {
	document   int32   // id of the document
	described  []int32 // ids
	contained  []edge  // from holds to
	reference  struct{ kind, locator []byte }
	relation   struct{ from, to, kind []byte }
	elem       element
	suppliers  []int32 // of each component, or -1; SPDX 3
	agents     map[int32]string
	texts      map[int32]string // of licences; SPDX 3
	licensed   []edge
	roots      map[int32][]int32
	made       map[int32]making
	documentBy int32 // id of the document's creation information
}

var spdxHooks = map[string]hook{
	"spdx.spdxVersion": {take: func(r *reader, v []byte) error {
		if len(v) != 8 || string(v[:7]) != "SPDX-2." {
			return r.fail(errors.New("a version that is not read"))
		}
		r.doc.SpecVersion = r.intern(v)
		return r.follows(int(v[7]) - '0')
	}},
	"spdx.SPDXID":            {take: func(r *reader, v []byte) error { r.document = r.id(v); return nil }},
	"spdx.documentNamespace": {take: func(r *reader, v []byte) error { r.doc.Serial = r.words.keep(v); return nil }},
	"spdx.documentDescribes": {take: func(r *reader, v []byte) error { r.described = append(r.described, r.id(v)); return nil }},
	"spdx.packages":          {begin: (*reader).beginComponent, end: (*reader).endComponent},
	"spdx.relationships": {begin: func(r *reader) error {
		r.relation.from, r.relation.to, r.relation.kind = r.relation.from[:0], r.relation.to[:0], r.relation.kind[:0]
		return nil
	}, end: (*reader).endRelation},

	"creation.created": {take: func(r *reader, v []byte) error { r.doc.Created, _ = parseTime(v, false); return nil }},
	"creation.creators": {take: func(r *reader, v []byte) error {
		if !bytes.HasPrefix(v, []byte("Tool:")) {
			r.wrote(r.intern(party(v)))
		}
		return nil
	}},

	"package.name":             {take: func(r *reader, v []byte) error { r.current().Name = r.words.keep(v); return nil }},
	"package.SPDXID":           {take: (*reader).componentRef},
	"package.versionInfo":      {take: func(r *reader, v []byte) error { r.current().Version = r.words.keep(v); return nil }},
	"package.supplier":         {take: func(r *reader, v []byte) error { r.supplies(r.intern(party(v)), 1); return nil }},
	"package.licenseDeclared":  {take: (*reader).addLicence},
	"package.licenseConcluded": {take: (*reader).addLicence},
	"package.primaryPackagePurpose": {take: func(r *reader, v []byte) error {
		r.purpose(strings.ReplaceAll(strings.ToLower(string(v)), "_", "-"))
		return nil
	}},
	"package.validUntilDate":   {take: func(r *reader, v []byte) error { r.current().EndOfSupport = r.day(v); return nil }},
	"package.checksums":        {begin: (*reader).beginHash, end: (*reader).endHash},
	"package.comment":          {take: (*reader).remark},
	"package.attributionTexts": {take: (*reader).remark},
	"annotation.comment":       {take: (*reader).remark},
	"package.externalRefs": {begin: func(r *reader) error {
		r.reference.kind, r.reference.locator = r.reference.kind[:0], r.reference.locator[:0]
		return nil
	}, end: (*reader).endReference},

	"checksum.algorithm": {take: func(r *reader, v []byte) error {
		r.hash.Algorithm = hashName(string(v))
		return nil
	}},
	"checksum.checksumValue": {take: (*reader).takeHex},

	"externalref.referenceType": {take: func(r *reader, v []byte) error { r.reference.kind = append(r.reference.kind[:0], v...); return nil }},
	"externalref.referenceLocator": {take: func(r *reader, v []byte) error {
		r.reference.locator = append(r.reference.locator[:0], v...)
		return nil
	}},

	"relationship.spdxElementId":      {take: func(r *reader, v []byte) error { r.relation.from = append(r.relation.from[:0], v...); return nil }},
	"relationship.relatedSpdxElement": {take: func(r *reader, v []byte) error { r.relation.to = append(r.relation.to[:0], v...); return nil }},
	"relationship.relationshipType":   {take: func(r *reader, v []byte) error { r.relation.kind = append(r.relation.kind[:0], v...); return nil }},
}

// party is the name in "Organization: Name (mail)".
func party(v []byte) []byte {
	if string(v) == "NOASSERTION" || string(v) == "NONE" {
		return nil
	}
	for _, p := range []string{"Organization:", "Person:", "Tool:"} {
		v = bytes.TrimPrefix(v, []byte(p))
	}
	v = bytes.TrimSpace(v)
	if i := bytes.LastIndexByte(v, '('); i >= 0 && v[len(v)-1] == ')' && (i+2 == len(v) || bytes.IndexByte(v[i:], '@') > 0) {
		v = bytes.TrimSpace(v[:i])
	}
	return v
}

// hashName spells SPDX's algorithms, of either version, as CycloneDX does.
func hashName(s string) string {
	s = strings.ToUpper(s)
	switch {
	case strings.HasPrefix(s, "SHA3_"): // SPDX 3
		return "SHA3-" + s[5:]
	case strings.HasPrefix(s, "SHA3-"):
		return s
	case strings.HasPrefix(s, "SHA"):
		return "SHA-" + s[3:]
	case strings.HasPrefix(s, "BLAKE2B"):
		return "BLAKE2b-" + s[len(s)-3:]
	}
	return s
}

func (r *reader) takeHex(v []byte) error {
	for _, c := range v {
		if _, ok := hexDigit(c); !ok {
			return r.fail(errHex)
		}
	}
	if len(v) == 0 {
		return r.fail(errEmpty)
	}
	r.hash.Hex = r.words.keep(v)
	return nil
}

// purpose sets the type where CycloneDX has a word for it.
func (r *reader) purpose(s string) {
	switch s {
	case "application", "framework", "library", "container", "device", "firmware", "file", "data":
		r.current().Type = r.intern([]byte(s))
	case "operating-system", "operatingsystem":
		r.current().Type = "operating-system"
	case "devicedriver":
		r.current().Type = "device-driver"
	case "model":
		r.current().Type = "machine-learning-model"
	case "platform":
		r.current().Type = "platform"
	}
}

func (r *reader) addLicence(v []byte) error {
	if s := string(v); s == "NOASSERTION" || s == "NONE" || s == "" {
		return nil
	}
	c := r.current()
	l := r.intern(v)
	if len(c.Licenses) == 0 || c.Licenses[len(c.Licenses)-1] != l {
		c.Licenses = r.strings.add(c.Licenses, l)
	}
	return nil
}

// remark looks for lines such as "End of support: 2030-12-31", which is where
// SPDX 2.2 has room for what FDA asks.
func (r *reader) remark(v []byte) error {
	if len(v) > 4<<10 {
		return nil
	}
	for line := range bytes.Lines(v) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			r.supportNote(r.current(), bytes.TrimSpace(name), bytes.TrimSpace(value))
		}
	}
	return nil
}

func (r *reader) endReference() error {
	switch string(r.reference.kind) {
	case "purl":
		r.addPURL(r.reference.locator)
	case "cpe22Type", "cpe23Type":
		r.addCPE(r.reference.locator)
	}
	return nil
}

func (r *reader) addPURL(v []byte) {
	if c := r.current(); c.PURL == "" {
		c.PURL = r.words.keep(v)
	}
}

// endRelation keeps what a relationship says of who needs and who holds whom.
func (r *reader) endRelation() error {
	if len(r.edges) >= maxEdges || len(r.contained) >= maxEdges {
		return r.fail(errTooMany)
	}
	from, to := r.id(r.relation.from), int32(-1)
	nothing := string(r.relation.to) == "NONE" || string(r.relation.to) == "NOASSERTION"
	if !nothing {
		to = r.id(r.relation.to)
	}
	switch string(r.relation.kind) {
	case "DEPENDS_ON", "DYNAMIC_LINK", "STATIC_LINK", "HAS_PREREQUISITE":
		if to >= 0 {
			r.edges = append(r.edges, edge{from, to})
		}
		if string(r.relation.to) != "NOASSERTION" {
			r.known = append(r.known, from)
		}
	case "DEPENDENCY_OF", "RUNTIME_DEPENDENCY_OF", "BUILD_DEPENDENCY_OF", "DEV_DEPENDENCY_OF", "OPTIONAL_DEPENDENCY_OF", "PROVIDED_DEPENDENCY_OF", "TEST_DEPENDENCY_OF", "PREREQUISITE_FOR":
		if to >= 0 {
			r.edges = append(r.edges, edge{to, from})
			r.known = append(r.known, to)
		}
	case "CONTAINS":
		if to >= 0 {
			r.contained = append(r.contained, edge{from, to})
		}
		if string(r.relation.to) == "NONE" {
			r.known = append(r.known, from)
		}
	case "CONTAINED_BY":
		if to >= 0 {
			r.contained = append(r.contained, edge{to, from})
		}
	case "DESCRIBES", "DESCRIBE":
		if to >= 0 && from == r.document {
			r.described = append(r.described, to)
		}
	case "DESCRIBED_BY":
		if to >= 0 && to == r.document {
			r.described = append(r.described, from)
		}
	}
	return r.bounded()
}

// settle resolves what SPDX says by reference.
func (r *reader) settle() {
	for _, id := range r.described {
		if c := r.named[id].component; c >= 0 && r.doc.Subject < 0 {
			r.doc.Subject = int(c)
		}
	}
	if r.document >= 0 && r.doc.Subject < 0 {
		// Docker names the document as the package that it describes.
		r.doc.Subject = int(r.named[r.document].component)
	}
	for _, e := range r.contained {
		if from, to := r.named[e.from].component, r.named[e.to].component; from >= 0 && to >= 0 {
			r.holds(int(from), int(to))
		}
	}
}

// holds sets the parent of a component that has none, unless they would then
// hold each other.
func (r *reader) holds(parent, child int) {
	c := r.doc.Components
	if c[child].Parent >= 0 {
		return
	}
	at := parent
	for range maxDepth {
		if at == child {
			return
		}
		if at = c[at].Parent; at < 0 {
			c[child].Parent = parent
			return
		}
	}
}
