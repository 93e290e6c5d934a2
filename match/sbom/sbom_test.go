// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const pumpJSON = `{
 "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", "version": 1,
 "metadata": {
  "timestamp": "2026-03-04T05:06:07Z", "authors": [{"name": "Ada"}], "supplier": {"name": "Example Pumps"},
  "component": {"bom-ref": "pump", "type": "device", "name": "Pump 3", "version": "2.1.4"}},
 "components": [
  {"bom-ref": "os", "type": "operating-system", "supplier": {"name": "Example OS"}, "publisher": "another", "group": "base", "name": "os", "version": "10.0.1",
   "cpe": "cpe:2.3:o:example:os:10.0.1:*:*:*:*:*:*:*", "licenses": [{"license": {"id": "MIT"}}, {"license": {"name": "House \"L\" \u00e4\ud83d\ude00"}}],
   "hashes": [{"alg": "SHA-1", "content": "e6b1000b94e835ffd37f4c6dcbdad43f4b48a02a"}],
   "components": [{"bom-ref": "tls", "type": "library", "publisher": "TLS Project", "name": "tls", "version": "3.0.4", "purl": "pkg:generic/tls@3.0.4",
     "properties": [{"name": "Level of Support", "value": "Actively maintained"}, {"value": "2030-12-31", "name": "fda:endOfSupport"}]}]},
  {"type": "library", "name": "loose", "properties": [{"name": "End-of-Support", "value": "when it breaks"}]}],
 "dependencies": [{"dependsOn": ["tls", "os", "gone"], "ref": "pump"}, {"ref": "tls"}]}`

const pumpXML = `<?xml version="1.0" encoding="UTF-8"?>
<!-- the same -->
<c:bom xmlns:c="http://cyclonedx.org/schema/bom/1.6" xmlns:x="urn:x" serialNumber="urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79" version="1">
 <c:metadata><c:timestamp>2026-03-04T05:06:07Z</c:timestamp><c:authors><c:author><c:name>Ada</c:name></c:author></c:authors>
  <c:component bom-ref="pump" type="device"><c:name>Pump 3</c:name><c:version>2.1.4</c:version></c:component><c:supplier><c:name>Example Pumps</c:name></c:supplier></c:metadata>
 <c:components>
  <c:component bom-ref="os" type="operating-system"><c:supplier><c:name>Example OS</c:name></c:supplier><c:publisher>another</c:publisher><c:group>base</c:group>
   <c:name>os</c:name><c:version>10.0.1</c:version><x:own><x:anything a="1"/>text</x:own>
   <c:hashes><c:hash alg="SHA-1">e6b1000b94e835ffd37f4c6dcbdad43f4b48a02a</c:hash></c:hashes>
   <c:licenses><c:license><c:id>MIT</c:id></c:license><c:license><c:name>House &quot;L&quot; &#228;<![CDATA[😀]]></c:name></c:license></c:licenses>
   <c:cpe>cpe:2.3:o:example:os:10.0.1:*:*:*:*:*:*:*</c:cpe>
   <c:components><c:component bom-ref="tls" type="library"><c:publisher>TLS Project</c:publisher><c:name>tls</c:name><c:version>3.0.4</c:version><c:purl>pkg:generic/tls@3.0.4</c:purl>
    <c:properties><c:property name="Level of Support">Actively maintained</c:property><c:property name="fda:endOfSupport">2030-12-31</c:property></c:properties></c:component></c:components>
  </c:component>
  <c:component type="library"><c:name>loose</c:name><c:properties><c:property name="End-of-Support">when it breaks</c:property></c:properties></c:component>
 </c:components>
 <c:dependencies><c:dependency ref="pump"><c:dependency ref="tls"/><c:dependency ref="os"/><c:dependency ref="gone"/></c:dependency><c:dependency ref="tls"/></c:dependencies>
</c:bom>`

const pumpTags = `# the same as far as SPDX goes
SPDXVersion: SPDX-2.3
DataLicense: CC0-1.0
SPDXID: SPDXRef-DOCUMENT
DocumentName: pump
DocumentNamespace: https://example.org/pump
Creator: Person: Ada (ada@example.org)
Creator: Tool: hand-1
Created: 2026-03-04T05:06:07Z
Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-pump

PackageName: Pump 3
SPDXID: SPDXRef-pump
PackageVersion: 2.1.4
PackageSupplier: Organization: Example Pumps ()
PrimaryPackagePurpose: DEVICE

PackageName: tls
SPDXID: SPDXRef-tls
PackageVersion: 3.0.4
PackageSupplier: NOASSERTION
PackageChecksum: SHA1: e6b1000b94e835ffd37f4c6dcbdad43f4b48a02a
PackageLicenseDeclared: MIT
PackageLicenseConcluded: NOASSERTION
PackageComment: <text>Built here.
Level of support: Actively maintained</text>
ExternalRef: PACKAGE-MANAGER purl pkg:generic/tls@3.0.4
ExternalRef: SECURITY cpe23Type cpe:2.3:a:example:tls:3.0.4:*:*:*:*:*:*:*
ValidUntilDate: 2030-12-31T00:00:00Z
Relationship: SPDXRef-pump DEPENDS_ON SPDXRef-tls
Relationship: SPDXRef-tls DEPENDS_ON NONE
Relationship: SPDXRef-tls CONTAINS SPDXRef-pump
Relationship: SPDXRef-pump CONTAINS SPDXRef-tls
`

const pumpSPDX = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"pump","documentNamespace":"https://example.org/pump",
"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-pump","relationshipType":"DESCRIBES"},{"spdxElementId":"SPDXRef-tls","relatedSpdxElement":"SPDXRef-pump","relationshipType":"DEPENDENCY_OF"},
{"spdxElementId":"SPDXRef-pump","relatedSpdxElement":"SPDXRef-tls","relationshipType":"DEPENDS_ON"},{"spdxElementId":"SPDXRef-pump","relatedSpdxElement":"SPDXRef-pump","relationshipType":"DEPENDS_ON"},{"spdxElementId":"SPDXRef-tls","relatedSpdxElement":"NONE","relationshipType":"DEPENDS_ON"},{"spdxElementId":"SPDXRef-tls","relatedSpdxElement":"SPDXRef-pump","relationshipType":"CONTAINS"},{"spdxElementId":"SPDXRef-tls","relatedSpdxElement":"SPDXRef-pump","relationshipType":"CONTAINED_BY"}],
"creationInfo":{"created":"2026-03-04T05:06:07Z","creators":["Person: Ada (ada@example.org)","Tool: hand-1"]},
"packages":[{"SPDXID":"SPDXRef-pump","name":"Pump 3","versionInfo":"2.1.4","supplier":"Organization: Example Pumps ()","primaryPackagePurpose":"DEVICE","downloadLocation":"NONE"},
{"SPDXID":"SPDXRef-tls","name":"tls","versionInfo":"3.0.4","supplier":"NOASSERTION","checksums":[{"algorithm":"SHA1","checksumValue":"e6b1000b94e835ffd37f4c6dcbdad43f4b48a02a"}],
"licenseDeclared":"MIT","licenseConcluded":"NOASSERTION","validUntilDate":"2030-12-31T00:00:00Z","annotations":[{"annotator":"Person: Ada","annotationDate":"2026-03-04T05:06:07Z","annotationType":"OTHER","comment":"Level of support: Actively maintained"}],
"externalRefs":[{"referenceCategory":"PACKAGE_MANAGER","referenceType":"purl","referenceLocator":"pkg:generic/tls@3.0.4"},{"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a:example:tls:3.0.4:*:*:*:*:*:*:*"}]}]}`

const pumpSPDX3 = `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[
{"type":"Relationship","spdxId":"urn:r1","creationInfo":"_:c","from":"urn:pump","relationshipType":"dependsOn","to":["urn:tls"]},
{"type":"Relationship","spdxId":"urn:r2","creationInfo":"_:c","from":"urn:tls","relationshipType":"dependsOn","to":["https://spdx.org/rdf/3.0.1/terms/Core/NoneElement"]},
{"type":"Relationship","spdxId":"urn:r3","creationInfo":"_:c","from":"urn:tls","relationshipType":"hasDeclaredLicense","to":["https://spdx.org/licenses/MIT"]},
{"type":"Relationship","spdxId":"urn:r4","creationInfo":"_:c","from":"urn:pump","relationshipType":"contains","to":["urn:pump","urn:tls"]},
{"@id":"_:c","type":"CreationInfo","specVersion":"3.0.1","created":"2026-03-04T05:06:07Z","createdBy":["urn:ada"]},
{"type":"SpdxDocument","spdxId":"https://example.org/pump","creationInfo":"_:c","rootElement":["urn:sbom"]},
{"type":"software_Sbom","spdxId":"urn:sbom","creationInfo":"_:c","rootElement":["urn:pump"]},
{"type":"software_Package","spdxId":"urn:pump","name":"Pump 3","creationInfo":"_:c","software_packageVersion":"2.1.4","suppliedBy":"urn:example","software_primaryPurpose":"device"},
{"type":"software_Package","spdxId":"urn:tls","name":"tls","creationInfo":"_:c","software_packageVersion":"3.0.4","software_packageUrl":"pkg:generic/tls@3.0.4","supportLevel":["support"],"validUntilTime":"2030-12-31T00:00:00Z",
 "verifiedUsing":[{"type":"Hash","algorithm":"sha1","hashValue":"e6b1000b94e835ffd37f4c6dcbdad43f4b48a02a"}],"externalIdentifier":[{"type":"ExternalIdentifier","externalIdentifierType":"cpe23","identifier":"cpe:2.3:a:example:tls:3.0.4:*:*:*:*:*:*:*"}]},
{"type":"Organization","spdxId":"urn:example","name":"Example Pumps","creationInfo":"_:c"},
{"type":"Person","spdxId":"urn:ada","name":"Ada","creationInfo":"_:c"}]}`

func read(t testing.TB, text string) *Document {
	t.Helper()
	d, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRead(t *testing.T) {
	sha1 := []Hash{{"SHA-1", "e6b1000b94e835ffd37f4c6dcbdad43f4b48a02a"}}
	created := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	cyclonedx := &Document{
		Format: CycloneDXJSON, SpecVersion: "1.6", Serial: "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", Created: created, Authors: []string{"Ada"}, Supplier: "Example Pumps", Subject: 0,
		Components: []Component{
			{Ref: "pump", Type: "device", Name: "Pump 3", Version: "2.1.4", Parent: -1, DependsOn: []int{2, 1}, DependsKnown: true},
			{
				Ref: "os", Type: "operating-system", Group: "base", Name: "os", Version: "10.0.1", Supplier: "Example OS", CPEs: []string{"cpe:2.3:o:example:os:10.0.1:*:*:*:*:*:*:*"},
				Hashes: sha1, Licenses: []string{"MIT", `House "L" ä😀`}, Parent: -1,
			},
			{
				Ref: "tls", Type: "library", Name: "tls", Version: "3.0.4", Supplier: "TLS Project", PURL: "pkg:generic/tls@3.0.4", Parent: 1, DependsKnown: true,
				SupportLevel: "Actively maintained", EndOfSupport: "2030-12-31",
			},
			{Type: "library", Name: "loose", Parent: -1, EndOfSupportText: "when it breaks"},
		},
	}
	spdx := func(f Format, v, serial, pump, tls, level string, parents ...int) *Document {
		return &Document{
			Format: f, SpecVersion: v, Serial: serial, Created: created, Authors: []string{"Ada"}, Supplier: "Example Pumps", Subject: 0,
			Components: []Component{
				{Ref: pump, Type: "device", Name: "Pump 3", Version: "2.1.4", Supplier: "Example Pumps", Parent: parents[0], DependsOn: []int{1}, DependsKnown: true},
				{
					Ref: tls, Name: "tls", Version: "3.0.4", PURL: "pkg:generic/tls@3.0.4", CPEs: []string{"cpe:2.3:a:example:tls:3.0.4:*:*:*:*:*:*:*"}, Hashes: sha1,
					Licenses: []string{"MIT"}, Parent: parents[1], DependsKnown: true, SupportLevel: level, EndOfSupport: "2030-12-31",
				},
			},
		}
	}
	xml := *cyclonedx
	xml.Format = CycloneDXXML
	for _, c := range []struct {
		text string
		want *Document
	}{
		{pumpJSON, cyclonedx},
		{pumpXML, &xml},
		{pumpTags, spdx(SPDXTagValue, "SPDX-2.3", "https://example.org/pump", "SPDXRef-pump", "SPDXRef-tls", "Actively maintained", 1, -1)},
		{pumpSPDX, spdx(SPDXJSON, "SPDX-2.3", "https://example.org/pump", "SPDXRef-pump", "SPDXRef-tls", "Actively maintained", 1, -1)},
		{pumpSPDX3, spdx(SPDX3JSON, "3.0.1", "https://example.org/pump", "urn:pump", "urn:tls", "support", -1, 0)},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.text), "bytes": iotest.OneByteReader(strings.NewReader(c.text)),
			"mark": strings.NewReader("\xef\xbb\xbf" + c.text), "last": iotest.DataErrReader(strings.NewReader(c.text)),
		} {
			got, err := Read(r)
			if err != nil {
				t.Fatalf("format %d, %s: %v", c.want.Format, name, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("format %d, %s:\n%s", c.want.Format, name, diff)
			}
		}
		if f, ok := Detect([]byte(c.text)[:120]); !ok || f != c.want.Format {
			t.Errorf("Detect: %d, %v, want %d", f, ok, c.want.Format)
		}
	}
}

// TestRefused breaks one thing after the other and looks at the place and the
// reason that are named.
func TestRefused(t *testing.T) {
	swap := func(text string, pairs ...string) string {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("no %q to replace", pairs[i])
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return text
	}
	for _, c := range []struct{ text, path, reason string }{
		{"", "", "neither"},
		{"{", "", "neither"},
		{"{}", "", "neither"},
		{pumpJSON + "\x00", "", "something follows"},
		{`{"@context":"https://openvex.dev/ns/v0.2.0"}`, "", "neither"},
		{swap(pumpJSON, `"CycloneDX"`, `"Other"`), "bomFormat", "not one of the words"},
		{swap(pumpJSON, `"1.6"`, `"1.9"`), "specVersion", "version"},
		{swap(pumpJSON, `"1.6"`, `"1.1"`), "specVersion", "version"},
		{swap(pumpJSON, `"specVersion": "1.6",`, ``), "specVersion", "required"},
		{swap(pumpJSON, `"name": "tls", `, ``), "components[0].components[0].name", "required"},
		{swap(pumpJSON, `"type": "library", "name": "loose"`, `"type": "cable", "name": "loose"`), "components[1].type", "not one of the words"},
		{swap(pumpJSON, `"name": "loose"`, `"name": "loose", "name": "tight"`), "components[1].name", "said twice"},
		{swap(pumpJSON, `"name": "loose"`, `"name": 4`), "components[1].name", "must be a string"},
		{swap(pumpJSON, `"name": "loose"`, `"name": null`), "components[1].name", "must be a string"},
		{swap(pumpJSON, `"name": "loose"`, `"name": "loose", "colour": "red"`), "components[1]", "no such property"},
		{swap(pumpJSON, `"name": "loose"`, `"name": "loose", "bom-ref": "tls"`), "components[1].bom-ref", "not unique"},
		{swap(pumpJSON, `"name": "loose"`, `"name": "loose", "bom-ref": ""`), "components[1].bom-ref", "empty"},
		{swap(pumpJSON, `"name": "loose"`, `"name": "loose", "isExternal": true`), "components[1].isExternal", "not in this version"},
		{swap(pumpJSON, `"tls", "os", "gone"`, `"tls", "os", "tls"`), "dependencies[0].dependsOn[2]", "said twice"},
		{swap(pumpJSON, `"content": "e6b1`, `"content": "f`), "components[0].hashes[0].content", "length"},
		{swap(pumpJSON, `"content": "e6b1`, `"content": "z6b1`), "components[0].hashes[0].content", "hexadecimal"},
		{swap(pumpJSON, `{"id": "MIT"}`, `{"id": "mit"}`), "components[0].licenses[0].license.id", "licence list"},
		{swap(pumpJSON, `{"id": "MIT"}`, `{"id": "MIT", "name": "MIT"}`), "components[0].licenses[0].license", "exactly one"},
		{swap(pumpJSON, `[{"license": {"id": "MIT"}}`, `[{"expression": "MIT"}`), "components[0].licenses", "expression"},
		{swap(pumpJSON, `"2026-03-04T05:06:07Z"`, `"2026-03-04"`), "metadata.timestamp", "RFC 3339"},
		{swap(pumpJSON, "urn:uuid:3e67", "urn:uuid:3E67"), "serialNumber", "UUID"},
		{swap(pumpJSON, `\ud83d\ude00`, `\ud83d`), "components[0].licenses[1].license.name", "UTF-8"},
		{swap(pumpJSON, `\u00e4`, "\xe4"), "components[0].licenses[1].license.name", "UTF-8"},
		{swap(pumpJSON, `"name": "loose"`, "\"name\": \"lo\nose\""), "components[1].name", "well-formed"},
		{swap(pumpJSON, `"version": 1,`, `"version": 01,`), "version", "well-formed"},
		{swap(pumpJSON, `"version": 1,`, `"version": 0,`), "version", "whole number"},
		{pumpJSON[:len(pumpJSON)-1], "", "ends here"},
		{pumpJSON + "x", "", "something follows"},
		{strings.Repeat(`{"bomFormat":`, 1000), "bomFormat", "must not be an object"},
		{`{"bomFormat":"CycloneDX","specVersion":"1.6","formulation":` + strings.Repeat("[", 1000), "formulation", "too deeply"},
		{`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + strings.Repeat(`{"type":"file","name":"a","components":[`, 1000), strings.Repeat("components[0].", 63) + "components[0]", "too deeply"},
		// The version stands last: rules of one version wait for it.
		{`{"bomFormat":"CycloneDX","components":[{"type":"library","name":"a"}],"version":1,"specVersion":"1.3"}`, "components[0].version", "required"},
		{`{"bomFormat":"CycloneDX","components":[{"type":"data","name":"a"}],"version":1,"specVersion":"1.4"}`, "components[0].type", "not in this version"},

		{swap(pumpXML, "1.6", "1.8"), "", "namespace"},
		{swap(pumpXML, `"http://cyclonedx.org/schema/bom/1.6"`, `"http://cyclonedx.org/schema/bom/16"`), "", "namespace"},
		{swap(pumpXML, "<c:bom", `<!DOCTYPE c:bom [<!ENTITY a "b">]><c:bom`), "", "document type"},
		{swap(pumpXML, "UTF-8", "UTF-16"), "", "encoding"},
		{swap(pumpXML, "&quot;", "&lol;"), "components[0].licenses.license[1].name", "entity"},
		{swap(pumpXML, "&#228;", "&#xD800;"), "components[0].licenses.license[1].name", "entity"},
		{swap(pumpXML, "<c:group>base</c:group>", "<c:group>base</c:groups>"), "components[0].group", "end tag"},
		{swap(pumpXML, "<c:group>base</c:group>", "<c:group><c:b/></c:group>"), "components[0].group", "elements where text"},
		{swap(pumpXML, "<c:group>base</c:group>", "<c:group/><c:group/>"), "components[0].group", "said twice"},
		{swap(pumpXML, "<c:group>base</c:group>", "<c:groups/>"), "components[0]", "no such property"},
		{swap(pumpXML, "<c:group>base</c:group>", "<y:group/>"), "components[0]", "prefix"},
		{swap(pumpXML, "<c:components>", "<c:components>loose"), "components", "text where"},
		{swap(pumpXML, `ref="gone"`, ""), "dependencies[0].dependency[2].ref", "required"},
		{swap(pumpXML, `bom-ref="tls"`, `bom-ref="os"`), "components[0].components[0].bom-ref", "not unique"},
		{swap(pumpXML, `ref="gone"`, `ref="gone" ref="gone"`), "dependencies[0]", "said twice"},
		{swap(pumpXML, `ref="gone"`, `ref="gone" `+attributes(65)), "dependencies[0]", "more of them"},
		{swap(pumpXML, `xmlns:x="urn:x"`, `xmlns:x="urn:x" `+strings.ReplaceAll(attributes(50), "a", "xmlns:a"), "<c:metadata>", "<c:metadata "+strings.ReplaceAll(attributes(60), "a", "xmlns:b")+">", "<c:timestamp>", "<c:timestamp "+strings.ReplaceAll(attributes(60), "a", "xmlns:c")+">"), "metadata", "more of them"},
		{pumpXML + "<more/>", "", "something follows"},
		{pumpXML[:len(pumpXML)-8], "", "ends here"},
		{`<bom xmlns="http://cyclonedx.org/schema/bom/1.6">` + strings.Repeat("<formulation>", 1000), "formulation", "too deeply"},

		{swap(pumpTags, "SPDX-2.3", "SPDX-2.9"), "spdxVersion", "version"},
		{swap(pumpTags, "PackageVersion", "PackageVersions"), "", "tag"},
		{swap(pumpTags, "DataLicense: CC0-1.0\n", ""), "dataLicense", "required"},
		{swap(pumpTags, "Created: 2026-03-04T05:06:07Z", "Created: yesterday"), "creationInfo.created", "RFC 3339"},
		{swap(pumpTags, "SPDXID: SPDXRef-tls\n", ""), "packages[1].SPDXID", "required"},
		{swap(pumpTags, "SPDXID: SPDXRef-tls\n", "SPDXID: SPDXRef-pump\n"), "packages[1].SPDXID", "not unique"},
		{swap(pumpTags, "SHA1: ", "SHA-1: "), "packages[1].PackageChecksum", "not one of the words"},
		{swap(pumpTags, "SPDXRef-tls DEPENDS_ON NONE", "SPDXRef-tls NONE"), "packages[1].Relationship", "parts"},
		{swap(pumpTags, "</text>", ""), "", "ends here"},
		{swap(pumpTags, "PackageName: Pump 3\nSPDXID: SPDXRef-pump\n", ""), "versionInfo", "belongs to nothing"},
		{swap(pumpTags, "SPDX-2.3", "SPDX-2.2"), "packages[0].primaryPackagePurpose", "not in this version"},

		{swap(pumpSPDX, `"creators":`, `"makers":`), "creationInfo", "no such property"},
		{swap(pumpSPDX, `"SPDXID":"SPDXRef-tls",`, ``), "packages[1].SPDXID", "required"},
		{swap(pumpSPDX, `"algorithm":"SHA1"`, `"algorithm":"SHA-1"`), "packages[1].checksums[0].algorithm", "not one of the words"},
		{swap(pumpSPDX, `"PACKAGE_MANAGER"`, `"SHOP"`), "packages[1].externalRefs[0].referenceCategory", "not one of the words"},

		{swap(pumpSPDX3, `"3.0.1","created"`, `"4.0","created"`), "@graph[4].specVersion", "version"},
		{swap(pumpSPDX3, `"from":"urn:tls",`, ``), "@graph[1]", "required"},
		{swap(pumpSPDX3, `"type":"SpdxDocument",`, `"type":"Bundle",`), "", "SpdxDocument"},
		{swap(pumpSPDX3, `"spdxId":"urn:tls","name"`, `"spdxId":"urn:pump","name"`), "@graph[8]", "not unique"},
		{swap(pumpSPDX3, `"name":"tls",`, ``), "@graph[8]", "required"},
	} {
		d, err := Read(strings.NewReader(c.text))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s, %s: read as %v", c.path, c.reason, d)
			continue
		}
		if e.Path != c.path || !strings.Contains(e.Err.Error(), c.reason) {
			t.Errorf("want %q, %q; got %q, %v", c.path, c.reason, e.Path, e.Err)
		}
		if e.Offset < 0 || e.Offset > int64(len(c.text)) {
			t.Errorf("%s: offset %d in %d bytes", c.path, e.Offset, len(c.text))
		}
	}
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d="1" `, i)
	}
	return b.String()
}

// TestOffset holds the place in bytes.
func TestOffset(t *testing.T) {
	text := `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"x"}`
	_, err := Read(strings.NewReader(text))
	var e *Error
	if !errors.As(err, &e) || e.Offset != int64(len(text)-1) {
		t.Errorf("%v, want byte %d", err, len(text)-1)
	}
}

// TestLenient reads what breaks a rule that nothing depends on.
func TestLenient(t *testing.T) {
	for _, text := range []string{
		strings.Replace(pumpSPDX, `,"downloadLocation":"NONE"`, "", 1),
		strings.Replace(pumpSPDX, `"CONTAINED_BY"`, `"HELD_BY"`, 1),
		strings.Replace(pumpXML, "<c:group>base</c:group>", "", 1),
		strings.Replace(pumpXML, "<c:version>10.0.1</c:version>", "<c:version>10.0.1</c:version><c:description/>", 1),
		strings.Replace(pumpXML, `bom-ref="os"`, `colour="red" bom-ref="os"`, 1),
		strings.Replace(pumpXML, `<c:purl>`, `<!-- > --><?work in="progress"?><c:purl>`, 1),
		strings.Replace(pumpJSON, `"specVersion": "1.6",`, `"specVersion": "1.6", "signature": {"anything": [1, {"a": null}]},`, 1),
		strings.Replace(pumpJSON, `"1.6"`, `"1.5"`, 1),
		// 1.2 and 1.3 let members pass that they do not know.
		`{"bomFormat":"CycloneDX","specVersion":"1.3","version":1,"tags":["a"],"components":[{"type":"library","name":"a","version":"1","pedigree":{"more":[]}}]}`,
		`{"components":[{"type":"library","name":"a","version":"1","tags":["a"]}],"version":1,"bomFormat":"CycloneDX","specVersion":"1.2"}`,
	} {
		if _, err := Read(strings.NewReader(text)); err != nil {
			t.Errorf("%.60s...: %v", text, err)
		}
	}
}

func TestQuality(t *testing.T) {
	q := read(t, pumpJSON).Quality()
	set := func(e ...Element) (s Set) {
		for _, x := range e {
			s |= 1 << x
		}
		return s
	}
	want := Report{
		Components: 4, Incomplete: 3,
		Gaps: []Gap{
			{0, set(UniqueIdentifier, SupportLevel, EndOfSupport)},
			{1, set(SupportLevel, EndOfSupport)},
			{3, set(SupplierName, ComponentVersion, UniqueIdentifier, DependencyRelationship, SupportLevel, EndOfSupport)},
		},
	}
	want.Missing[SupplierName], want.Missing[ComponentVersion], want.Missing[UniqueIdentifier], want.Missing[DependencyRelationship] = 1, 1, 2, 1
	want.Missing[SupportLevel], want.Missing[EndOfSupport] = 3, 3
	if diff := cmp.Diff(want, q); diff != "" {
		t.Error(diff)
	}
	if q.Complete(false) {
		t.Error("called complete")
	}
	var empty Document
	if q := empty.Quality(); q.Missing[AuthorOfData] != 1 || q.Missing[Timestamp] != 1 || !(&Document{Subject: -1}).Quality().NoSubject {
		t.Error("the document's own elements are not missed")
	}
	d := read(t, pumpTags)
	d.Components[0].EndOfSupport, d.Components[0].SupportLevel, d.Components[0].PURL = "2031-01-01", "", "pkg:generic/pump@2.1.4"
	d.Components[1].Supplier = "TLS Project"
	if q := d.Quality(); !q.Complete(false) || q.Complete(true) {
		t.Errorf("complete for NTIA and not for FDA, but %+v", q)
	}
	if got := set(EndOfSupport, SupplierName).Elements(); len(got) != 2 || got[0].String() != "supplier name" || !got[1].FDA() {
		t.Errorf("got %v", got)
	}
	many := &Document{Components: make([]Component, 1000)}
	if q := many.Quality(); len(q.Gaps) != 1000 || q.Incomplete != 1000 || q.Missing[ComponentName] != 1000 {
		t.Errorf("%d gaps, %d incomplete", len(q.Gaps), q.Incomplete)
	}
}

func TestDay(t *testing.T) {
	for in, want := range map[string]string{
		"2030-12-31": "2030-12-31", "2030-12-31T10:00:00Z": "2030-12-31", "2030/12/31": "2030-12-31", "31 December 2030": "2030-12-31",
		"December 31, 2030": "2030-12-31", "2030-02": "2030-02-28", "Feb 2028": "2028-02-29", "12/31/2030": "", "2030": "", "": "", "never": "",
	} {
		if got := day(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestVulnerabilities(t *testing.T) {
	for _, text := range []string{
		`{"bomFormat":"CycloneDX","specVersion":"1.6","vulnerabilities":[{"id":"CVE-2026-1"},{"id":"CVE-2026-2"}]}`,
		`<bom xmlns="http://cyclonedx.org/schema/bom/1.6"><vulnerabilities><vulnerability><id>CVE-2026-1</id></vulnerability><vulnerability/></vulnerabilities></bom>`,
	} {
		if d := read(t, text); d.Vulnerabilities != 2 {
			t.Errorf("%d vulnerabilities in %s", d.Vulnerabilities, text)
		}
	}
}

// TestSupport reads FDA's two additions under the names that they are given.
func TestSupport(t *testing.T) {
	for _, c := range []struct{ name, value, level, end, text string }{
		{"Level of Support", "Actively maintained", "Actively maintained", "", ""},
		{"fda:supportLevel", "abandoned", "abandoned", "", ""},
		{"Software Component End-of-Support Date", "2029-06", "", "2029-06-30", ""},
		{"cdx:lifecycle:milestone:endOfSupport", "2029-06-01T00:00:00Z", "", "2029-06-01", ""},
		{"internal:EOS", "1 June 2029", "", "2029-06-01", ""},
		{"internal:eol", "2029-06-01", "", "2029-06-01", ""},
		{"End of Support", "never", "", "", "never"},
		{"videos", "2029-06-01", "", "", ""},
		{"supports", "2029-06-01", "", "", ""},
		{strings.Repeat("x", 100) + "endOfSupport", "2029-06-01", "", "", ""},
	} {
		d := read(t, fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"a","properties":[{"name":"End of Life","value":"2031-01-01"},{"name":%q,"value":%q}]}]}`, c.name, c.value))
		got := d.Components[0]
		if c.end == "" || c.name == "internal:eol" {
			c.end = "2031-01-01" // the end of life stands in
		}
		if got.SupportLevel != c.level || got.EndOfSupport != c.end || got.EndOfSupportText != c.text {
			t.Errorf("%s: %q, %q, %q", c.name, got.SupportLevel, got.EndOfSupport, got.EndOfSupportText)
		}
	}
}

// TestDetect tells formats by the first bytes alone.
func TestDetect(t *testing.T) {
	long := strings.Repeat(`{"type":"library","name":"a","purl":"pkg:generic/a@1"},`, 100)
	for text, want := range map[string]Format{
		`{"components":[` + long: CycloneDXJSON, `{"packages":[{"SPDXID":"SPDXRef-a","externalRefs":[{"referenceType":"purl"}]},`: SPDXJSON,
		`{"$schema":"http://cyclonedx.org/schema/bom-1.5.schema.json",`: CycloneDXJSON, "# a comment\n\nSPDXVersion: SPDX-2.3": SPDXTagValue,
		`<?xml version="1.0"?><b:bom xmlns:b="http://cyclonedx.org/schema/bom/1.2">`: CycloneDXXML, `{"@graph":[],"@context":["https://spdx.org/rdf/3.0.0/spdx-context.jsonld"]}`: SPDX3JSON,
		"": NoFormat, " ": NoFormat, "{": NoFormat, "[]": NoFormat, `{"openapi":"3.1.0","components":{}}`: NoFormat, `{"@context":"https://openvex.dev/ns/v0.2.0","statements":[]}`: NoFormat,
		`{"document":{"category":"csaf_vex"}}`: NoFormat, "<html>": NoFormat, "name,version": NoFormat, `{"name":"app","lockfileVersion":3,"packages":{}}`: NoFormat,
	} {
		if got, ok := Detect([]byte(text)); got != want || ok != (want != NoFormat) {
			t.Errorf("%.60s: %d, %v, want %d", text, got, ok, want)
		}
	}
}

// TestSpecial holds the eight-at-once search against a plain one.
func TestSpecial(t *testing.T) {
	b := make([]byte, 40)
	for c := range 256 {
		for at := range len(b) {
			for i := range b {
				b[i] = 'a'
			}
			b[at] = byte(c)
			n, high := special(b)
			wantN, wantHigh := len(b), c >= 0x80
			if c == '"' || c == '\\' || c < 0x20 {
				wantN = at
			}
			if n != wantN || high != wantHigh {
				t.Fatalf("%#x at %d: %d, %v", c, at, n, high)
			}
		}
	}
}

// endless is a reader of an SBOM of n components that holds one of them at a
// time.
type endless struct {
	n, at int
	rest  []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		switch {
		case e.at == 0:
			e.rest = []byte(`{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[`)
		case e.at <= e.n:
			comma := ","
			if e.at == e.n {
				comma = `],"dependencies":[`
			}
			i := e.at
			e.rest = fmt.Appendf(nil, `{"bom-ref":"pkg:golang/example.org/team%d/module%d@v1.%d","type":"library","supplier":{"name":"Team %d"},"name":"example.org/team%d/module%d","version":"v1.%d.0","hashes":[{"alg":"SHA-256","content":"%064x"}],"licenses":[{"license":{"id":"Apache-2.0"}}],"purl":"pkg:golang/example.org/team%d/module%d@v1.%d","cpe":"cpe:2.3:a:team%d:module%d:1.%d:*:*:*:*:*:*:*","description":"a module that does something for the rest of the product"}%s`,
				i%40, i, i%17, i%40, i%40, i, i%17, i, i%40, i, i%17, i%40, i, i%17, comma)
		case e.at <= 2*e.n:
			comma := ","
			if e.at == 2*e.n {
				comma = `]}`
			}
			i := e.at - e.n
			j := (i*7)%e.n + 1
			e.rest = fmt.Appendf(nil, `{"ref":"pkg:golang/example.org/team%d/module%d@v1.%d","dependsOn":["pkg:golang/example.org/team%d/module%d@v1.%d"]}%s`, i%40, i, i%17, j%40, j, j%17, comma)
		default:
			return 0, io.EOF
		}
		e.at++
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// TestMemory reads 100,000 components within 200 MB.
func TestMemory(t *testing.T) {
	const n, budget = 100_000, 200 << 20
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	src := &endless{n: n}
	d, err := Read(readerFunc(func(p []byte) (int, error) {
		if src.at%10_000 == 0 {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
		}
		return src.Read(p)
	}))
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&now)
	peak = max(peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
	edges := 0
	for i := range d.Components {
		edges += len(d.Components[i].DependsOn)
	}
	if len(d.Components) != n || edges != n {
		t.Fatalf("%d components, %d edges", len(d.Components), edges)
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	t.Logf("100,000 components: %d MB at most, garbage included; %d MB kept", peak>>20, (now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))>>20)
	if peak > budget {
		t.Errorf("%d MB, more than 200", peak>>20)
	}
	runtime.KeepAlive(d)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestAllocations holds that components cost nothing but their share of long
// pieces.
func TestAllocations(t *testing.T) {
	data := synthetic(650)
	n := testing.AllocsPerRun(5, func() {
		if _, err := Read(bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	})
	if n > 200 {
		t.Errorf("%.0f allocations for 650 components", n)
	}
}

func fuzz(f *testing.F, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Read(bytes.NewReader(b))
		slow, slowErr := Read(iotest.OneByteReader(bytes.NewReader(b)))
		if fmt.Sprint(err) != fmt.Sprint(slowErr) || !cmp.Equal(d, slow) {
			t.Fatalf("%v and %v, byte by byte", err, slowErr)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			return
		}
		for i, c := range d.Components {
			if c.Parent >= len(d.Components) || c.Parent == i {
				t.Fatal("a parent that is none")
			}
			for _, j := range c.DependsOn {
				if j < 0 || j >= len(d.Components) {
					t.Fatal("a dependency that is none")
				}
			}
		}
		d.Quality()
	})
}

func FuzzCycloneDXJSON(f *testing.F) { fuzz(f, pumpJSON) }
func FuzzCycloneDXXML(f *testing.F)  { fuzz(f, pumpXML) }
func FuzzSPDXJSON(f *testing.F)      { fuzz(f, pumpSPDX) }
func FuzzSPDXTagValue(f *testing.F)  { fuzz(f, pumpTags) }
func FuzzSPDX3(f *testing.F)         { fuzz(f, pumpSPDX3) }
