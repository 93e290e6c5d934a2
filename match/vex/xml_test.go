// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// both are one document in JSON and in XML.
const (
	bothJSON = `{"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", "version": 2,
 "metadata": {"timestamp": "2026-03-02T09:00:00Z", "authors": [{"name": "A. Vik"}, {"name": "B. Dahl"}],
  "component": {"type": "device", "bom-ref": "flow", "name": "Flow 500", "version": "2.1.4"},
  "manufacturer": {"name": "Norra Medical & Co", "url": ["https://norra.example", "https://norra2.example"], "contact": [{"name": "x"}, {"name": "y"}]},
  "supplier": {"name": "Norra Medical"}},
 "components": [
  {"type": "library", "bom-ref": "tls", "publisher": "P", "name": "tls", "version": "1.0.2", "cpe": "cpe:2.3:a:o:tls:1.0.2:*:*:*:*:*:*:*", "purl": "pkg:generic/tls@1.0.2",
   "components": [{"type": "file", "bom-ref": "asn1", "name": "asn1", "version": "3"}], "properties": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}],
 "services": [{"bom-ref": "cloud", "provider": {"name": "Norra Cloud"}, "name": "FlowCloud"}],
 "dependencies": [{"ref": "flow", "dependsOn": ["tls"]}],
 "vulnerabilities": [
  {"bom-ref": "v1", "id": "CVE-2026-1", "source": {"name": "NVD", "url": "https://nvd.example"},
   "references": [{"id": "GHSA-a", "source": {"name": "GitHub"}}, {"id": "GHSA-b", "source": {"name": "GitHub"}}],
   "ratings": [{"score": 1, "severity": "low"}, {"score": 2, "severity": "high"}], "cwes": [1, 2],
   "description": "Orders <without> a sender", "detail": "Long.", "recommendation": "Update.", "workaround": "Unplug.",
   "analysis": {"state": "exploitable", "response": ["workaround_available", "update"], "detail": "Seen.", "firstIssued": "2026-01-01T00:00:00Z", "lastUpdated": "2026-03-01T10:00:00+01:00"},
   "affects": [{"ref": "tls", "versions": [{"version": "1.0.2", "status": "affected"}, {"range": "vers:generic/<1.0.2", "status": "unaffected"}]}, {"ref": "asn1"}]},
  {"id": "CVE-2026-2", "analysis": {"state": "not_affected", "justification": "code_not_present"}, "affects": [{"ref": "flow"}, {"ref": "cloud"}]},
  {"id": "CVE-2026-3", "analysis": {"state": "not_affected", "justification": "protected_at_perimeter", "detail": "A wall."}, "affects": [{"ref": "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg:generic/x@1"}],
   "properties": [{"name": "other", "value": "x"}, {"name": "myelin:justification", "value": "component_not_present"}]},
  {"id": "CVE-2026-4", "analysis": {"state": "false_positive"}},
  {"id": "CVE-2026-5", "affects": [{"ref": "tls"}]},
  {"id": "CVE-2026-6", "analysis": {"state": "in_triage"}, "affects": []}
 ]}`
	bothXML = `<?xml version="1.0" encoding="UTF-8"?>
<!-- the same -->
<c:bom xmlns:c="http://cyclonedx.org/schema/bom/1.6" xmlns:o="https://other.example" serialNumber="urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79" version="2">
 <c:metadata><c:timestamp>2026-03-02T09:00:00Z</c:timestamp><c:authors><c:author><c:name>A. Vik</c:name></c:author><c:author><c:name>B. Dahl</c:name></c:author></c:authors>
  <c:component type="device" bom-ref="flow"><c:name>Flow 500</c:name><c:version>2.1.4</c:version></c:component>
  <c:manufacturer><c:name>Norra Medical &amp; Co</c:name><c:url>https://norra.example</c:url><c:url>https://norra2.example</c:url><c:contact><c:name>x</c:name></c:contact><c:contact><c:name>y</c:name></c:contact></c:manufacturer>
  <c:supplier><c:name>Norra Medical</c:name></c:supplier></c:metadata>
 <c:components><c:component type="library" bom-ref="tls"><c:publisher>P</c:publisher><c:name>tls</c:name><c:version> 1.0.2
  </c:version><c:cpe>cpe:2.3:a:o:tls:1.0.2:*:*:*:*:*:*:*</c:cpe><c:purl>pkg:generic/tls@1.0.2</c:purl><o:name>elsewhere</o:name>
   <c:components><c:component type="file" bom-ref="asn1"><c:name>asn1</c:name><c:version>3</c:version></c:component></c:components>
   <c:properties><c:property name="a">1</c:property><c:property name="a">2</c:property></c:properties></c:component></c:components>
 <c:services><c:service bom-ref="cloud"><c:provider><c:name>Norra Cloud</c:name></c:provider><c:name>FlowCloud</c:name></c:service></c:services>
 <c:dependencies><c:dependency ref="flow"><c:dependency ref="tls"/></c:dependency></c:dependencies>
 <c:vulnerabilities>
  <c:vulnerability bom-ref="v1"><c:id>CVE-2026-1</c:id><c:source><c:name>NVD</c:name><c:url>https://nvd.example</c:url></c:source>
   <c:references><c:reference><c:id>GHSA-a</c:id><c:source><c:name>GitHub</c:name></c:source></c:reference><c:reference><c:id>GHSA-b</c:id><c:source><c:name>GitHub</c:name></c:source></c:reference></c:references>
   <c:ratings><c:rating><c:score>1</c:score><c:severity>low</c:severity></c:rating><c:rating><c:score>2</c:score><c:severity>high</c:severity></c:rating></c:ratings><c:cwes><c:cwe>1</c:cwe><c:cwe>2</c:cwe></c:cwes>
   <c:description>Orders <![CDATA[<without>]]> a sender</c:description><c:detail>Long.</c:detail><c:recommendation>Update.</c:recommendation><c:workaround>Unplug.</c:workaround>
   <c:analysis><c:state>exploitable</c:state><c:responses><c:response>workaround_available</c:response><c:response>update</c:response></c:responses><c:detail>Seen.</c:detail><c:firstIssued>2026-01-01T00:00:00Z</c:firstIssued><c:lastUpdated>2026-03-01T10:00:00+01:00</c:lastUpdated></c:analysis>
   <c:affects><c:target><c:ref>tls</c:ref><c:versions><c:version><c:version>1.0.2</c:version><c:status>affected</c:status></c:version><c:version><c:range>vers:generic/&lt;1.0.2</c:range><c:status>unaffected</c:status></c:version></c:versions></c:target><c:target><c:ref>asn1</c:ref></c:target></c:affects></c:vulnerability>
  <c:vulnerability><c:id>CVE-2026-2</c:id><c:analysis><c:state>not_affected</c:state><c:justification>code_not_present</c:justification></c:analysis><c:affects><c:target><c:ref>flow</c:ref></c:target><c:target><c:ref>cloud</c:ref></c:target></c:affects></c:vulnerability>
  <c:vulnerability><c:id>CVE-2026-3</c:id><c:analysis><c:state>not_affected</c:state><c:justification>protected_at_perimeter</c:justification><c:detail>A wall.</c:detail></c:analysis>
   <c:affects><c:target><c:ref>urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg:generic/x@1</c:ref></c:target></c:affects>
   <c:properties><c:property name="other">x</c:property><c:property name="myelin:justification">component_not_present</c:property></c:properties></c:vulnerability>
  <c:vulnerability><c:id>CVE-2026-4</c:id><c:analysis><c:state>false_positive</c:state></c:analysis></c:vulnerability>
  <c:vulnerability><c:id>CVE-2026-5</c:id><c:affects><c:target><c:ref>tls</c:ref></c:target></c:affects></c:vulnerability>
  <c:vulnerability><c:id>CVE-2026-6</c:id><c:analysis><c:state>in_triage</c:state></c:analysis><c:affects/></c:vulnerability>
 </c:vulnerabilities>
</c:bom>`
)

// What is said in XML is what is said in JSON.
func TestCycloneDXInXML(t *testing.T) {
	want := mustRead(t, bothJSON)
	if len(want.Statements) != 8 || want.Author != "Norra Medical & Co" || want.Namespace != "https://norra.example" {
		t.Fatalf("%d statements by %q", len(want.Statements), want.Author)
	}
	for _, doc := range []string{
		bothXML, "\ufeff" + bothXML,
		strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(bothXML, "<c:", "<"), "</c:", "</"), "xmlns:c=", "xmlns="),
	} {
		if diff := cmp.Diff(want, mustRead(t, doc), cmp.AllowUnexported(Decided{})); diff != "" {
			t.Error(diff)
		}
	}
	// As JSON's, it is a document that can be written in another format.
	d, err := ReadDecided(strings.NewReader(bothXML))
	if err != nil || len(d.Statements) != 8 {
		t.Errorf("%v", err)
	}
}

func TestWrongXML(t *testing.T) {
	const (
		begin = `<bom xmlns="http://cyclonedx.org/schema/bom/1.6">`
		one   = begin + `<vulnerabilities><vulnerability>`
		end   = `</vulnerability></vulnerabilities></bom>`
	)
	for _, tt := range []struct {
		doc, path string
		err       error
	}{
		{`<ANNA/>`, "", ErrFormat},
		{`<ANNA xmlns="http://cyclonedx.org/schema/bom/1.6"/>`, "", ErrSyntax},
		{begin, "", ErrSyntax},
		{begin + `</bom><bom/>`, "", ErrSyntax},
		{begin + `</bom>ANNA`, "", ErrSyntax},
		{`<!DOCTYPE bom [<!ENTITY a "ANNA">]>` + begin + `</bom>`, "", ErrSyntax},
		{begin + `&ANNA;</bom>`, "", ErrSyntax},
		{`<?xml version="1.0" encoding="UTF-16"?>` + begin + `</bom>`, "", ErrSyntax},
		{begin + `<metadata><timestamp>ANNA</timestamp></metadata></bom>`, "metadata.timestamp", nil},
		{begin + `<metadata/><metadata/></bom>`, "", ErrTwice},
		{begin + `<components><ANNA/></components></bom>`, "components", ErrType},
		{begin + `<components><component bom-ref="ANNA"/><component bom-ref="ANNA"/></components></bom>`, "components[1].bom-ref", ErrTwice},
		{begin + `<components><component bom-ref="a" bom-ref="ANNA"/></components></bom>`, "components[0]", ErrTwice},
		{one + `<id><b>ANNA</b></id>` + end, "vulnerabilities[0].id", ErrType},
		{one + `<id>CVE-1</id><analysis><state>ANNA</state></analysis>` + end, "vulnerabilities[0].analysis.state", ErrWord},
		{one + `<analysis><state>resolved</state></analysis>` + end, "vulnerabilities[0]", ErrMissing},
		{begin + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + "</bom>", "", ErrTooBig},
	} {
		_, err := ReadDocument(strings.NewReader(tt.doc))
		var e *Error
		switch {
		case !errors.As(err, &e):
			t.Errorf("%s: %v", tt.doc, err)
		case tt.err != nil && !errors.Is(err, tt.err), e.Path != tt.path, strings.Contains(err.Error(), "ANNA"):
			t.Errorf("%s: %q: %v, want %q", tt.doc, e.Path, err, tt.path)
		}
	}
}
