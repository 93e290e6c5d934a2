// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/match/advisory"
)

// brief says a statement in a line.
func brief(st *Statement) string {
	s := st.Vulnerability + ": " + title(&st.Product)
	if st.Component != nil {
		s += " / " + title(st.Component)
	}
	s += ": " + word(st.Status)
	for _, text := range []string{st.Justification, st.Impact, st.Action, st.Remedy} {
		if text != "" {
			s += "; " + text
		}
	}
	return s
}

func TestOpenVEX(t *testing.T) {
	d := mustRead(t, `{
		"statements": [
			{"vulnerability": {"name": "CVE-2026-1", "aliases": ["GHSA-a"]}, "status": "not_affected", "justification": "component_not_present",
			 "timestamp": "2026-03-01T10:00:00+01:00", "last_updated": "2026-03-01T10:30:00+01:00",
			 "products": [
				{"@id": "pkg:generic/Norra%20Medical/Flow%20500@2.2.0", "hashes": {"sha-256": "ab"}, "subcomponents": [{"@id": "pkg:generic/tls@1"}, {"identifiers": {"cpe23": "cpe:2.3:a:o:tls:2:*:*:*:*:*:*:*"}}]},
				{"@id": "https://norra.example/flowlink", "identifiers": {"purl": "pkg:npm/%40norra/link@1.8"}}]},
			{"vulnerability": {"@id": "https://nvd.example/CVE-2026-2"}, "status": "affected", "action_statement": "Update.", "products": [{"@id": "flow"}]},
			{"vulnerability": "CVE-2026-3", "status": "under_investigation", "products": ["pkg:deb/debian/bash@5"], "subcomponents": ["pkg:generic/x"]},
			{"vulnerability": {"name": "CVE-2026-4"}, "status": "not_affected", "status_notes": "By hand.", "impact_statement": "We looked."}
		],
		"version": 3, "author": "Norra Medical <psirt@norra.example>", "role": "Vendor", "@id": "https://norra.example/vex/1",
		"timestamp": "2026-02-01T00:00:00Z", "last_updated": "2026-03-02T00:00:00Z", "@context": "https://openvex.dev/ns/v0.2.0"}`)
	want := []string{
		"CVE-2026-1: Norra Medical Flow 500 2.2.0 / tls 1: not_affected; component_not_present",
		"CVE-2026-1: Norra Medical Flow 500 2.2.0 / cpe:2.3:a:o:tls:2:*:*:*:*:*:*:*: not_affected; component_not_present",
		"CVE-2026-1: link 1.8: not_affected; component_not_present",
		"CVE-2026-2: flow: affected; Update.",
		"CVE-2026-3: bash 5 / x: under_investigation",
		"CVE-2026-4: : not_affected; We looked.",
	}
	if diff := cmp.Diff(want, briefs(d)); diff != "" {
		t.Error(diff)
	}
	st := &d.Statements[0]
	if !st.Time.Equal(time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)) || st.Version != 3 || st.Author != d.Author || st.Document != d.ID ||
		st.Aliases[0] != "GHSA-a" || st.Product.Hashes[0] != "sha256:ab" || d.Category != "vendor" {
		t.Errorf("%+v", st)
	}
	if got := d.Statements[3].Time; !got.Equal(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("a statement without a time was said %v", got)
	}
}

func TestCycloneDX(t *testing.T) {
	d := mustRead(t, `{"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": "urn:uuid:1", "version": 2,
		"vulnerabilities": [
			{"id": "CVE-1", "analysis": {"state": "not_affected", "justification": "code_not_reachable", "detail": "Off."}, "affects": [{"ref": "flow"}, {"ref": "tls"}]},
			{"id": "CVE-2", "analysis": {"state": "false_positive"}, "affects": [{"ref": "urn:cdx:x/1#pkg:generic/other@1"}, {"ref": "urn:cdx:x/1#pkg%3Ageneric/third"}]},
			{"id": "CVE-3", "analysis": {"state": "exploitable", "response": ["will_not_fix", "update"], "detail": "Update."}, "affects": [{"ref": "flow", "versions": [
				{"version": "1", "status": "affected"}, {"range": "vers:generic/>=2|<3", "status": "unaffected"}, {"version": "4", "status": "unknown"}, {"version": "5"}]}]},
			{"id": "CVE-4", "analysis": {"state": "not_affected", "justification": "protected_at_perimeter", "detail": "A firewall."}, "affects": [{"ref": "flow", "versions": [{"version": "2", "status": "affected"}]}]},
			{"id": "CVE-5", "analysis": {"state": "not_affected", "justification": "protected_at_perimeter"}, "properties": [{"name": "other", "value": "component_not_present"}]},
			{"id": "CVE-6", "affects": [{"ref": "flow"}]},
			{"id": "CVE-7", "analysis": {"state": "resolved", "firstIssued": "2026-01-01T00:00:00Z", "lastUpdated": "2026-03-01T00:00:00Z"}, "affects": [{"ref": "deep"}]}
		],
		"components": [{"bom-ref": "tls", "type": "library", "name": "tls", "version": "1", "purl": "pkg:generic/tls@1", "components": [{"type": "library", "bom-ref": "deep", "name": "deep", "publisher": "D"}]}],
		"metadata": {"timestamp": "2026-02-01T00:00:00Z", "supplier": {"name": "Norra Medical"}, "authors": [{"name": "A"}, {"name": "B"}],
			"component": {"type": "device", "bom-ref": "flow", "name": "Flow 500", "version": "2.2.0"}}}`)
	want := []string{
		"CVE-1: Norra Medical Flow 500 2.2.0: not_affected; vulnerable_code_not_in_execute_path; Off.",
		"CVE-1: Norra Medical Flow 500 2.2.0 / tls 1: not_affected; vulnerable_code_not_in_execute_path; Off.",
		"CVE-2: other 1: not_affected; false positive",
		"CVE-2: third: not_affected; false positive",
		"CVE-3: Norra Medical Flow 500 1: affected; Update.; vendor_fix",
		"CVE-3: Norra Medical Flow 500 vers:generic/>=2|<3: not_affected; unaffected",
		"CVE-3: Norra Medical Flow 500 4: under_investigation",
		"CVE-3: Norra Medical Flow 500 5: affected; Update.; vendor_fix",
		"CVE-4: Norra Medical Flow 500 2: affected; protected_at_perimeter: A firewall.",
		"CVE-5: Norra Medical Flow 500 2.2.0: not_affected; protected_at_perimeter",
		"CVE-7: Norra Medical Flow 500 2.2.0 / D deep: fixed",
	}
	if diff := cmp.Diff(want, briefs(d)); diff != "" {
		t.Error(diff)
	}
	if d.Author != "A, B" || d.Statements[0].Supplier != "Norra Medical" || !d.Statements[0].Time.Equal(d.Time) ||
		d.Statements[10].Time.Month() != 3 {
		t.Errorf("%+v", d)
	}
}

func TestCSAF(t *testing.T) {
	d := mustRead(t, `{
		"vulnerabilities": [
			{"cve": "CVE-1", "product_status": {"known_not_affected": ["F22", "TLS-in-F22"], "known_affected": ["F21"], "fixed": ["L"], "under_investigation": ["deep"], "recommended": ["F22"]},
			 "flags": [{"label": "vulnerable_code_not_present", "group_ids": ["g"]}],
			 "threats": [{"category": "impact", "details": "For all."}, {"category": "exploit_status", "details": "none", "product_ids": ["F22"]}, {"category": "impact", "details": "For this.", "product_ids": ["F22"]}],
			 "remediations": [{"category": "workaround", "details": "Unplug.", "product_ids": ["F21"]}, {"category": "vendor_fix", "details": "Update.", "product_ids": ["F21"]}],
			 "notes": [{"category": "description", "text": "What it is."}]},
			{"ids": [{"system_name": "x", "text": "NM-7"}, {"system_name": "x", "text": "NM-8"}], "product_status": {"known_affected": ["F21"]}}],
		"product_tree": {
			"product_groups": [{"group_id": "g", "product_ids": ["F22", "F21"]}],
			"relationships": [
				{"category": "installed_with", "full_product_name": {"name": "y", "product_id": "deep"}, "product_reference": "TLS-in-F22", "relates_to_product_reference": "L"},
				{"category": "default_component_of", "full_product_name": {"name": "x", "product_id": "TLS-in-F22"}, "product_reference": "TLS", "relates_to_product_reference": "F22"}],
			"full_product_names": [{"name": "a library", "product_id": "TLS", "product_identification_helper": {"purl": "pkg:generic/tls@1"}}],
			"branches": [{"branches": [
				{"branches": [
					{"category": "product_version", "name": "2.2.0", "product": {"name": "Flow 500 2.2.0", "product_id": "F22", "product_identification_helper": {"cpe": "cpe:2.3:h:norra:flow:2.2.0:*:*:*:*:*:*:*", "model_numbers": ["500"]}}},
					{"category": "product_version_range", "name": "vers:generic/<2.2.0", "product": {"name": "Flow 500 before 2.2.0", "product_id": "F21"}}],
				 "category": "product_name", "name": "Flow 500"},
				{"category": "product_name", "name": "FlowLink", "product": {"name": "FlowLink, all", "product_id": "L"}}], "category": "vendor", "name": "Norra Medical"}]},
		"document": {"category": "csaf_vex", "csaf_version": "2.0", "title": "T", "publisher": {"category": "vendor", "name": "Norra Medical", "namespace": "https://norra.example"},
			"tracking": {"id": "NM-1", "version": "2.1.0", "revision_history": [{}, {"number": "2.1.0"}], "initial_release_date": "2026-01-01T00:00:00Z", "current_release_date": "2026-03-01T00:00:00Z"}}}`)
	want := []string{
		"CVE-1: Norra Medical Flow 500 2.2.0: not_affected; vulnerable_code_not_present; For this.",
		"CVE-1: Norra Medical Flow 500 2.2.0 / tls 1: not_affected; For all.",
		"CVE-1: Norra Medical FlowLink: fixed",
		"CVE-1: Norra Medical FlowLink / tls 1: under_investigation",
		"CVE-1: Norra Medical Flow 500 vers:generic/<2.2.0: affected; Update.; vendor_fix",
		"NM-7: Norra Medical Flow 500 vers:generic/<2.2.0: affected",
	}
	if diff := cmp.Diff(want, briefs(d)); diff != "" {
		t.Error(diff)
	}
	st := &d.Statements[0]
	if d.Version != 2 || st.Version != 2_001_000 || d.Category != "vendor" || d.Namespace == "" || d.Title != "T" || st.Description != "What it is." ||
		st.Product.CPE == "" || st.Product.Models[0] != "500" || d.Statements[5].Aliases[0] != "NM-8" {
		t.Errorf("%+v", d)
	}
}

// TestCSAFContradiction holds that a product in two lists is in the one that
// clears least, and that a draft is marked.
func TestCSAFContradiction(t *testing.T) {
	doc := `{"vulnerabilities": [{"cve": "CVE-2026-1", "product_status": {"known_affected": ["p"], "known_not_affected": ["p"], "fixed": ["p"]}}],
		"product_tree": {"branches": [{"category": "vendor", "name": "Norra Medical", "branches": [{"category": "product_name", "name": "Flow 500", "product": {"name": "p", "product_id": "p"}}]}]},
		"document": {"csaf_version": "2.0", "publisher": {"name": "Norra Medical"}, "tracking": {"id": "x", "status": "final", "current_release_date": "2026-01-01T00:00:00Z"}}}`
	q := Question{Vulnerability: "CVE-2026-1", Product: flow}
	if a := Resolve(mustRead(t, doc).Statements, q); said(&a) != affected {
		t.Errorf("the contradiction says %q", word(said(&a)))
	}
	a := Resolve(mustRead(t, strings.Replace(doc, "final", "draft", 1)).Statements, q)
	if a.Said != nil || len(a.Opinions) != 1 {
		t.Errorf("a draft counts: %+v", a)
	}
}

// TestReadErrors holds that a wrong document is refused with the place, and with
// nothing of what stands there.
func TestReadErrors(t *testing.T) {
	const secret = "ANNA"
	openVEX := func(statement string) string {
		return `{"@context": "https://openvex.dev/ns/v0.2.0", "statements": [` + statement + `]}`
	}
	csaf := func(rest string) string { return `{"document": {"csaf_version": "2.0"}, ` + rest + `}` }
	for _, c := range []struct {
		doc  string
		path string
		err  error
	}{
		{``, "", ErrFormat},
		{`[]`, "", ErrFormat},
		{`{"resourceType": "ANNA"}`, "", ErrFormat},
		{`{"@context": {"a": [1, {"b": "ANNA"}]}, "bomFormat": "ANNA"}`, "", ErrFormat},
		{`{"@context": "https://openvex.dev/ns/v0.2.0"} ANNA`, "", ErrSyntax},
		{`{"@context": "https://openvex.dev/ns/v0.2.0", "ANNA": {"x": tru}}`, "", ErrSyntax},
		{`{"@context": "https://openvex.dev/ns/v0.2.0", "author": ["ANNA"]}`, "author", ErrType},
		{`{"@context": "https://openvex.dev/ns/v0.2.0", "statements": "ANNA"}`, "statements", ErrType},
		{`{"@context": "https://openvex.dev/ns/v0.2.0", "ANNA": 1, "ANNA": 2}`, "", ErrTwice},
		{openVEX(`{"vulnerability": {"name": "CVE-1"}, "status": "ANNA"}`), "statements[0].status", ErrWord},
		{openVEX(`{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "justification": "ANNA"}`), "statements[0].justification", ErrWord},
		{openVEX(`{"status": "fixed", "products": [{"@id": "ANNA"}]}`), "statements[0]", ErrMissing},
		{openVEX(`{"vulnerability": [7], "status": "fixed"}`), "statements[0].vulnerability", ErrType},
		{`{"@context": "https://openvex.dev/ns/v0.2.0", "ANNA": ` + strings.Repeat("[", 100), "", ErrTooBig},
		{`{"bomFormat": "CycloneDX", "components": [{"bom-ref": "ANNA"}, {"bom-ref": "ANNA"}]}`, "components[1].bom-ref", ErrTwice},
		{`{"bomFormat": "CycloneDX", "vulnerabilities": [{"id": "CVE-1", "analysis": {"state": "ANNA"}}]}`, "vulnerabilities[0].analysis.state", ErrWord},
		{`{"bomFormat": "CycloneDX", "vulnerabilities": [{"id": "CVE-1", "analysis": {"justification": "ANNA"}}]}`, "vulnerabilities[0].analysis.justification", ErrWord},
		{`{"bomFormat": "CycloneDX", "vulnerabilities": [{"analysis": {"state": "resolved"}}]}`, "vulnerabilities[0]", ErrMissing},
		{`{"bomFormat": "CycloneDX", "metadata": {"timestamp": "ANNA"}}`, "metadata.timestamp", nil},
		{`{"bomFormat": "CycloneDX", "version": 1.5}`, "version", nil},
		{csaf(`"vulnerabilities": [{"cve": "CVE-1", "product_status": {"fixed": ["ANNA"]}}]`), "vulnerabilities[0].product_status.fixed[0]", ErrUnknown},
		{csaf(`"vulnerabilities": [{"product_status": {"fixed": ["ANNA"]}}]`), "vulnerabilities[0]", ErrMissing},
		{csaf(`"product_tree": {"full_product_names": [{"product_id": "ANNA"}, {"product_id": "ANNA"}]}`), "product_tree.full_product_names[1]", ErrTwice},
		{csaf(`"product_tree": {"relationships": [{"full_product_name": {"product_id": "ANNA"}, "product_reference": "ANNA", "relates_to_product_reference": "ANNA"}]}, "vulnerabilities": [{"cve": "CVE-1", "product_status": {"fixed": ["ANNA"]}}]`), "vulnerabilities[0].product_status.fixed[0]", ErrUnknown},
		{`{"document": {"csaf_version": "2.0", "tracking": {"version": "ANNA"}}}`, "document.tracking.version", ErrWord},
		{`{"document": {"csaf_version": "2.0", "tracking": {"status": "ANNA"}}}`, "document.tracking.status", ErrWord},
		{`{"document": {"csaf_version": "2.0", "publisher": {"category": "ANNA"}}}`, "document.publisher.category", ErrWord},
	} {
		_, err := Read(strings.NewReader(c.doc))
		var e *Error
		if !errors.As(err, &e) || e.Path != c.path || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%.100s: %v, want %s: %v", c.doc, err, c.path, c.err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%.100s: the error repeats it: %v", c.doc, err)
		}
	}
}

// TestReadBounds holds that what would grow with the square of the document is refused.
func TestReadBounds(t *testing.T) {
	parts := strings.TrimSuffix(strings.Repeat(`"a",`, 1000), ",")
	many := `{"@context": "https://openvex.dev/ns/v0.2.0", "statements": [` +
		strings.TrimSuffix(strings.Repeat(`{"vulnerability": "V", "status": "fixed", "products": [`+parts+`], "subcomponents": [`+parts+`]},`, 2), ",") + `]}`
	if _, err := Read(strings.NewReader(many)); !errors.Is(err, ErrTooBig) {
		t.Errorf("two million statements: %v", err)
	}
	ids := `"` + strings.Repeat(`A","`, 5000) + `A"`
	groups := strings.TrimSuffix(strings.Repeat(`"g",`, 5000), ",")
	square := `{"document": {"csaf_version": "2.0"}, "product_tree": {"product_groups": [{"group_id": "g", "product_ids": [` + ids + `]}]},
		"vulnerabilities": [{"cve": "C", "flags": [{"label": "x", "group_ids": [` + groups + `]}]}]}`
	if _, err := Read(strings.NewReader(square)); !errors.Is(err, ErrTooBig) {
		t.Errorf("a group named again and again: %v", err)
	}
}

// shared returns a file or folder beside the repository, or skips.
func shared(t testing.TB, path ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "..", "shared"}, path...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skip("the real documents are not here: ", p)
	}
	return p
}

// TestReal reads what others wrote.
func TestReal(t *testing.T) {
	type want struct {
		statements int
		first      string
	}
	files := map[string]want{
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-01-a-001.json":              {1, "CVE-2021-44228: Example Company DEF 1.0: affected; Customers should update to version 1.1 of product DEF which fixes the issue.; vendor_fix"},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-01-na-001.json":             {1, "CVE-2021-44228: Example Company ABC 4.2: not_affected; Class with vulnerable code was removed before shipping."},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-03-ms-001.json":             {19, "CVE-2020-11896: Example Company GHI 17.4: under_investigation"},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-04-001.json":                {3, "CVE-2021-44228: Example Company ABC 2.4: affected; Update to version 4.2 or later.; vendor_fix"},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-05-001.json":                {1, "CVE-2021-44228: Example Company XYZ vers:all/*: under_investigation"},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-06-001.json":                {7, ""},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-07-001.json":                {10, ""},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-08-001.json":                {21, ""},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/2022-evd-uc-09-001.json":                {4, ""},
		"advisories/csaf/oasis-examples/csaf/csaf_vex/sec-vex-2022-0001.json":                 {3, "CVE-2021-44228: Secvisogram <=1.14.0: not_affected; component_not_present; Secvisogram is written in JavaScript. No Java is included."},
		"advisories/csaf/oasis-examples/csaf/cisco-sa-20180328-smi2.json":                     {259, ""},
		"sboms/cyclonedx/bom-examples/VEX/CISA-Use-Cases/Case-1/vex-fixed.json":               {1, "CVE-2021-44228: DEF 1.1: fixed; This version of Product DEF has been fixed."},
		"sboms/cyclonedx/bom-examples/VEX/CISA-Use-Cases/Case-6/vex.json":                     {7, ""},
		"sboms/cyclonedx/bom-examples/VEX/CISA-Use-Cases/Case-8/vex.json":                     {24, ""},
		"sboms/cyclonedx/bom-examples/VEX/Use-Cases/Case-8/vex.json":                          {4, ""},
		"sboms/cyclonedx/bom-examples/VEX/Use-Cases/Case-9/vex.json":                          {57, ""},
		"sboms/cyclonedx/bom-examples/VEX/Use-Cases/Case-9/bom-1.json":                        {0, ""},
		"sboms/peers/dependency-track/vex-issue2549.json":                                     {3, "CVE-2020-25649: Acme example 1.0: not_affected"},
		"sboms/peers/trivy/vex/cyclonedx.json":                                                {2, "CVE-2021-44228: spring-boot 2.6.0: not_affected; vulnerable_code_not_in_execute_path"},
		"sboms/peers/trivy/vex/csaf-relationships.json":                                       {1, "CVE-2024-0001: bar go-direct1 2.0.0 / foo go-transitive v4.0.0: not_affected; vulnerable_code_cannot_be_controlled_by_adversary; vulnerable_code_not_in_execute_path"},
		"sboms/peers/trivy/vex/openvex-oci.json":                                              {1, "CVE-2022-3715: debian / bash: not_affected; vulnerable_code_not_in_execute_path"},
		"sboms/peers/trivy/vex/multi-repos/vex/repositories/default/0.1/bash-vex.json":        {1, "CVE-2022-3715: bash 5.3: not_affected; vulnerable_code_not_in_execute_path"},
		"sboms/peers/grype/grype__vex__vex-docs__openvex-demo2.json":                          {10, ""},
		"sboms/peers/grype/grype__vex__vex-docs__csaf-demo2.json":                             {1, "CVE-2023-3817: Spring Boot 2.6.0: not_affected; vulnerable_code_not_present"},
		"sboms/peers/grype/test__integration__vex__openvex__under_investigation.openvex.json": {1, ""},
	}
	for file, want := range files {
		b, err := os.ReadFile(shared(t, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		d, err := ReadDocument(strings.NewReader(string(b)))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(d.Statements) != want.statements {
			t.Errorf("%s: %d statements, want %d", file, len(d.Statements), want.statements)
		}
		if want.first != "" && len(d.Statements) > 0 && brief(&d.Statements[0]) != want.first {
			t.Errorf("%s: %s\nwant %s", file, brief(&d.Statements[0]), want.first)
		}
	}
}

// What clears a product has to say why, and what does not, what to do: else it
// breaks the schema, and is refused with the place.
func TestOpenVEXBreaksSchema(t *testing.T) {
	for _, tt := range []struct{ context, says, want string }{
		{"/v0.2.0", `"status": "not_affected"`, "statements[1].justification"},
		{"/v0.2.0", `"status": "not_affected", "status_notes": "We looked."`, "statements[1].justification"},
		{"/v0.2.0", `"status": "not_affected", "justification": "", "impact_statement": ""`, "statements[1].justification"},
		{"/v0.0.1", `"status": "not_affected"`, "statements[1].justification"},
		{"/v0.2.0", `"status": "not_affected", "justification": "component_not_present"`, ""},
		{"/v0.2.0", `"status": "not_affected", "impact_statement": "We looked."`, ""},
		{"/v0.2.0", `"status": "affected"`, "statements[1].action_statement"},
		{"/v0.2.0", `"status": "affected", "action_statement": "Update."`, ""},
		{"/v0.0.1", `"status": "affected"`, ""},
		{"", `"status": "affected"`, ""},
		{"/v0.2.0", `"status": "fixed"`, ""},
	} {
		_, err := ReadDocument(strings.NewReader(`{"statements": [{"vulnerability": "CVE-2026-1", "status": "fixed"}, {"vulnerability": "CVE-2026-1", ` + tt.says + `}], "@context": "https://openvex.dev/ns` + tt.context + `"}`))
		var wrong *Error
		if got := ""; errors.As(err, &wrong) {
			if got = wrong.Path; got != tt.want || !errors.Is(err, ErrMissing) {
				t.Errorf("%s, %s: %v", tt.context, tt.says, err)
			}
		} else if tt.want != "" || err != nil {
			t.Errorf("%s, %s: %v, want %s", tt.context, tt.says, err, tt.want)
		}
	}
}

func mustRead(t testing.TB, doc string) *Decided {
	t.Helper()
	d, err := ReadDocument(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func briefs(d *Decided) (list []string) {
	for i := range d.Statements {
		list = append(list, brief(&d.Statements[i]))
	}
	return list
}

// FuzzRead holds that no document is too strange, that statements are complete,
// and that what is read can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "A", "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [{"vulnerability": {"name": "CVE-2026-1"}, "status": "fixed", "products": [{"@id": "pkg:generic/a/b@1", "subcomponents": [{"@id": "pkg:generic/c"}]}]}]}`)
	f.Add(`{"bomFormat": "CycloneDX", "serialNumber": "x", "metadata": {"timestamp": "2026-01-01T00:00:00Z", "manufacturer": {"name": "A"}}, "components": [{"bom-ref": "a", "name": "n", "components": [{"bom-ref": "b", "name": "m"}]}], "vulnerabilities": [{"id": "CVE-2026-1", "analysis": {"state": "not_affected", "justification": "code_not_present"}, "affects": [{"ref": "a"}, {"ref": "b", "versions": [{"range": "vers:generic/<1"}]}]}]}`)
	f.Add(`{"document": {"csaf_version": "2.0", "publisher": {"name": "A", "category": "vendor", "namespace": "https://a.example"}, "tracking": {"id": "x", "version": "1", "initial_release_date": "2026-01-01T00:00:00Z", "current_release_date": "2026-01-01T00:00:00Z"}}, "product_tree": {"branches": [{"category": "vendor", "name": "A", "branches": [{"category": "product_name", "name": "p", "product": {"name": "p", "product_id": "p"}}]}]}, "vulnerabilities": [{"cve": "CVE-2026-1", "product_status": {"fixed": ["p"]}}]}`)
	f.Add(bothXML)
	f.Fuzz(func(t *testing.T, doc string) {
		d, err := ReadDocument(strings.NewReader(doc))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for i := range d.Statements {
			st := &d.Statements[i]
			if st.Vulnerability == "" || st.Status == advisory.NoStatus {
				t.Fatalf("not complete: %+v", st)
			}
		}
		Resolve(d.Statements, Question{Vulnerability: "CVE-2026-1", Product: advisory.Product{Manufacturer: "A", Name: "p"}})
		for _, format := range []Format{OpenVEX, CycloneDX, CSAF} {
			var b strings.Builder
			if err := Write(&b, format, *d); err != nil {
				continue
			}
			again, err := ReadDocument(strings.NewReader(b.String()))
			if err != nil {
				t.Fatalf("%v does not read what it wrote: %v\n%s", format, err, b.String())
			}
			if len(again.Statements) != len(d.settled()) {
				t.Fatalf("%v: %d statements became %d\n%s", format, len(d.settled()), len(again.Statements), b.String())
			}
		}
	})
}

func ExampleRead() {
	statements, err := Read(strings.NewReader(`{
		"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://norra.example/vex/1", "author": "Norra Medical",
		"timestamp": "2026-03-02T09:00:00Z", "version": 1,
		"statements": [{"vulnerability": {"name": "CVE-2026-20101"}, "status": "fixed", "products": [{"@id": "pkg:generic/Norra%20Medical/Flow%20500@2.2.0"}]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := Resolve(statements, Question{
		Vulnerability: "CVE-2026-20101",
		Product:       advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500", Version: "2.2.0"},
	})
	fmt.Println(answer.Suppresses(), answer.Said.Opinion())
	// Output: true Norra Medical says fixed, 2026-03-02
}
