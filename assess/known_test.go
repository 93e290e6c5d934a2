// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
)

// What of a finding the tests below compare: whose, what, in which part, by which
// CVEs and documents, how sure.
func told(a *report.Assessment) (out []string) {
	for i := range a.Findings {
		f := &a.Findings[i]
		if finding.Kinds[f.Kind].Group != finding.KnownWeakness || f.Kind == finding.SBOMIncomplete || f.Kind == finding.SBOMMissing {
			continue
		}
		whose := f.Product
		for j := range a.Devices {
			if d := &a.Devices[j]; d.ID == f.Device {
				whose = d.Name
			}
		}
		out = append(out, fmt.Sprintf("%s: %s %s [%s] %v %v", whose, f.Kind, f.Certainty, f.Component, f.CVE, f.Advisories))
	}
	slices.Sort(out)
	return out
}

const vexAffected = `"status":"affected","action_statement":"Let only the ordering system reach the gateway."`

// What the product's supplier calls affected is a finding where nobody published
// an advisory, and not when somebody else says it or the supplier no longer does.
func TestSupplierSaysAffected(t *testing.T) {
	part := `gw-icu: vulnerable-component exact [pkg:generic/northtls 1.4.1] [CVE-2026-1001] [https://vex.example/1]`
	whole := `gw-icu: vulnerable-product exact [] [CVE-2026-1001] [https://vex.example/1]`
	on := func(day string) *strings.Replacer {
		return strings.NewReplacer("2026-02-01", day, "vex.example/1", "vex.example/2")
	}
	for _, tt := range []struct {
		name, vex, later, register string
		want                       []string
	}{
		{"the part", openVEX("Norra Medical", "1", northtlsIn, vexAffected), "", "", []string{part}},
		{"the whole", openVEX("Norra Medical", "1", flowLink18, vexAffected), "", "", []string{whole}},
		{"all versions", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/Norra%20Medical/FlowLink"}`, vexAffected), "", "", []string{whole}},
		{"another version", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/Norra%20Medical/FlowLink@1.9"}`, vexAffected), "", "", nil},
		{"another product", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/Norra%20Medical/Flow%20500@1.8"}`, vexAffected), "", "", nil},
		{"a version that is not written down", openVEX("Norra Medical", "1", flowLink18, vexAffected), "", "Asset tag,Manufacturer,Model\ngw-icu,Norra Medical,FlowLink\n", []string{strings.Replace(whole, "exact", "review", 1)}},
		{"another author", openVEX("CERT A", "1", flowLink18, vexAffected), "", "", nil},
		{"the part alone", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/northtls@1.4.1"}`, vexAffected), "", "", nil},
		{"being looked into", openVEX("Norra Medical", "1", northtlsIn, `"status":"under_investigation"`), "", "", nil},
		{"taken back", openVEX("Norra Medical", "1", northtlsIn, vexAffected), on("2026-02-02").Replace(openVEX("Norra Medical", "1", northtlsIn, notThere)), "", nil},
		{"looked into again", openVEX("Norra Medical", "1", northtlsIn, vexAffected), on("2026-02-02").Replace(openVEX("Norra Medical", "1", northtlsIn, `"status":"under_investigation"`)), "", nil},
		{"said after it was denied", openVEX("Norra Medical", "1", northtlsIn, vexAffected), on("2026-01-02").Replace(openVEX("Norra Medical", "1", northtlsIn, notThere)), "", []string{part}},
		{"denied by another", openVEX("Norra Medical", "1", northtlsIn, vexAffected), on("2026-02-02").Replace(openVEX("CERT A", "1", northtlsIn, notThere)), "", []string{part}},
		{"a newer version of the document", openVEX("Norra Medical", "1", northtlsIn, vexAffected), strings.Replace(openVEX("Norra Medical", "1", northtlsIn, notThere), `"version":1`, `"version":2`, 1), "", nil},
		{"CycloneDX", strings.Replace(cycloneVEX, `"state":"not_affected","justification":"code_not_present"`, `"state":"exploitable","response":["workaround_available"]`, 1), "", "", []string{strings.Replace(whole, "https://vex.example/1", "urn:uuid:7b0c6d1e-1800-4a6e-9d51-0f5a00000109", 1)}},
		{"CSAF", strings.NewReplacer("known_not_affected", "known_affected", `"flags":[{"label":"vulnerable_code_not_present","product_ids":["L"]}]`, `"remediations":[{"category":"mitigation","details":"Wait.","product_ids":["L"]}]`).Replace(csafVEX), "", "", []string{strings.Replace(whole, "https://vex.example/1", "NM-VEX-1", 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"devices.csv": gatewayRegister, "link.cdx.json": fileOf(t, "flowlink-1.8.cdx.json"), "said.json": tt.vex}
			if tt.register != "" {
				files["devices.csv"] = tt.register
				delete(files, "link.cdx.json")
			}
			if tt.later != "" {
				files["said-later.json"] = tt.later
			}
			a := assessFiles(t, Config{}, files)
			if d := cmp.Diff(tt.want, told(a)); d != "" {
				t.Error(d)
			}
			for _, f := range a.Findings {
				if len(f.CVE) > 0 && strings.HasPrefix(f.Advisories[0], "https://vex.example") && f.Advice != "Let only the ordering system reach the gateway." {
					t.Errorf("advice: %q", f.Advice)
				}
			}
		})
	}
}

// A product's package URL stands in its bill of materials only, and its supplier
// may name it by that.
func TestSupplierSaysByIdentifier(t *testing.T) {
	bom := strings.Replace(fileOf(t, "flowlink-1.8.cdx.json"), `"name": "FlowLink", "version": "1.8"`, `"name": "FlowLink", "version": "1.8", "purl": "pkg:oci/norra-link@1.8"`, 1)
	for id, want := range map[string]int{"pkg:oci/norra-link@1.8": 1, "pkg:oci/norra-link": 1, "pkg:oci/norra-link@1.9": 0, "pkg:oci/other@1.8": 0} {
		a := assessFiles(t, Config{}, map[string]string{"devices.csv": gatewayRegister, "link.cdx.json": bom, "said.json": openVEX("Norra Medical", "1", `{"@id":"`+id+`"}`, vexAffected)})
		if got := told(a); len(got) != want {
			t.Errorf("%s: %q", id, got)
		}
	}
}

const flowCSAF = `{"document":{"category":"csaf_security_advisory","csaf_version":"2.0","title":"Flow 500","publisher":{"category":"vendor","name":"Norra Medical","namespace":"https://norra.example"},
	"notes":[{"category":"summary","text":"Invented."}],
	"tracking":{"current_release_date":"2026-02-01T00:00:00Z","id":"NM-2026-7","initial_release_date":"2026-02-01T00:00:00Z","revision_history":[{"date":"2026-02-01T00:00:00Z","number":"1","summary":"First."}],"status":"final","version":"1"}},
	"product_tree":{"branches":[{"category":"vendor","name":"Norra Medical","branches":[{"category":"product_name","name":"Flow 500","branches":[{"category":"product_version","name":"2.1.4","product":{"product_id":"F","name":"Norra Medical Flow 500 2.1.4"}}]}]}]},
	"vulnerabilities":[{"cve":"CVE-2026-1007","notes":[{"category":"description","text":"Orders without proof."}],"product_status":{"known_affected":["F"]},"remediations":[{"category":"vendor_fix","details":"Install 2.2.0.","product_ids":["F"]}]}]}`

const (
	flowNVD = `{"cve":{"id":"CVE-2026-1007","sourceIdentifier":"cve@norra.example","published":"2026-02-03T00:00:00.000","lastModified":"2026-02-03T00:00:00.000","vulnStatus":"Analyzed","metrics":{},
		"descriptions":[{"lang":"en","value":"Orders without proof."}],"references":[],
		"configurations":[{"operator":"AND","nodes":[{"operator":"OR","negate":false,"cpeMatch":[{"vulnerable":true,"criteria":"cpe:2.3:o:norra_medical:flow_500_firmware:*:*:*:*:*:*:*:*","versionEndExcluding":"2.2.0","matchCriteriaId":"1"}]},
			{"operator":"OR","negate":false,"cpeMatch":[{"vulnerable":false,"criteria":"cpe:2.3:h:norra_medical:flow_500:-:*:*:*:*:*:*:*","matchCriteriaId":"2"}]}]}]}}`
	flowCVE = `{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{"cveId":"CVE-2026-1007","assignerOrgId":"00000000-0000-4000-8000-000000000000","state":"PUBLISHED"},
		"containers":{"cna":{"providerMetadata":{"orgId":"00000000-0000-4000-8000-000000000000"},"descriptions":[{"lang":"en","value":"Orders without proof."}],"references":[{"url":"https://norra.example/7"}],
		"affected":[{"vendor":"Norra Medical","product":"Flow 500","versions":[{"version":"0","lessThan":"2.2.0","status":"affected","versionType":"custom"}]}]}}}`
	flowKEV  = `{"title":"CISA Catalog of Known Exploited Vulnerabilities","catalogVersion":"2026.02.06","dateReleased":"2026-02-06T00:00:00.0000Z","count":1,"vulnerabilities":[{"cveID":"CVE-2026-1007","vendorProject":"Norra Medical","product":"Flow 500","vulnerabilityName":"Orders","dateAdded":"2026-02-06","shortDescription":"x","requiredAction":"Apply mitigations per vendor instructions.","dueDate":"2026-02-20","knownRansomwareCampaignUse":"Unknown","notes":"","cwes":[]}]}`
	flowVEX  = `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.example/7","author":"Norra Medical","timestamp":"2026-02-07T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-2026-1007"},"products":[{"@id":"pkg:generic/Norra%20Medical/Flow%20500@2.1.4"}],"status":"affected","action_statement":"Separate it."}]}`
	pumpRow  = "Asset tag,Manufacturer,Model,Software version,Serial number\npump-3,Norra Medical,Flow 500,2.1.4,F5-1\n"
	linkSPDX = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"FlowLink","documentNamespace":"https://norra.example/spdx/link","creationInfo":{"created":"2024-03-04T09:00:00Z","creators":["Organization: Norra Medical"]},"documentDescribes":["SPDXRef-L"],
		"packages":[{"SPDXID":"SPDXRef-L","name":"FlowLink","versionInfo":"1.8","supplier":"Organization: Norra Medical","downloadLocation":"NOASSERTION"},{"SPDXID":"SPDXRef-T","name":"northtls","versionInfo":"1.4.1","supplier":"Organization: Northwind TLS","downloadLocation":"NOASSERTION"%s}],
		"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"SPDXRef-L"},{"spdxElementId":"SPDXRef-L","relationshipType":"CONTAINS","relatedSpdxElement":"SPDXRef-T"}]}`
	withPURL  = `,"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:generic/northtls@1.4.1"}]`
	withCPE   = `,"externalRefs":[{"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a:northwind_tls:northtls:1.4.1:*:*:*:*:*:*:*"}]`
	northNVD  = `{"cve":{"id":"CVE-2026-1001","sourceIdentifier":"x","published":"2026-02-03T00:00:00.000","lastModified":"2026-02-03T00:00:00.000","vulnStatus":"Analyzed","metrics":{},"descriptions":[],"references":[],"configurations":[{"nodes":[{"operator":"OR","negate":false,"cpeMatch":[{"vulnerable":true,"criteria":"cpe:2.3:a:northwind_tls:northtls:1.4.1:*:*:*:*:*:*:*","matchCriteriaId":"1"}]}]}]}}`
	linkTwins = "Asset tag,Manufacturer,Model,Software version\ngw-icu,Norra Medical,FlowLink,%s\n"
)

// Whatever documents say of one cause on one device is one finding.
func TestNeverTwice(t *testing.T) {
	link := fileOf(t, "flowlink-1.8.cdx.json")
	ada := strings.ReplaceAll(fileOf(t, "ada-2026-01.csaf.json"), `"ids": [{"system_name": "Norra Medical PSIRT", "text": "ADA-2026-01-B"}]`, `"cve": "CVE-2026-1001"`)
	northtls := "gw-icu: vulnerable-component exact [pkg:generic/northtls 1.4.1] "
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{
			"one CVE of a product, everywhere",
			map[string]string{"devices.csv": pumpRow, "csaf.json": flowCSAF, "nvd.json": flowNVD, "cve.json": flowCVE, "kev.json": flowKEV, "vex.json": flowVEX},
			[]string{"pump-3: known-exploited exact [] [CVE-2026-1007] [CVE-2026-1007 NM-2026-7 https://vex.example/7]"},
		},
		{
			"a recall beside it is the authority's own",
			map[string]string{"devices.csv": pumpRow, "csaf.json": flowCSAF, "recall.json": recall},
			[]string{"pump-3: recalled-product exact [] [] [Z-0101-2026]", "pump-3: vulnerable-product exact [] [CVE-2026-1007] [NM-2026-7]"},
		},
		{
			"a part, by its own record and by the product's advisory",
			map[string]string{"devices.csv": gatewayRegister, "link.json": link, "ada.json": ada, "osv.json": northtlsCVE},
			[]string{northtls + "[CVE-2026-1001] [ADA-2026-01 CVE-2026-1001]"},
		},
		{
			"CycloneDX and SPDX with package URLs",
			map[string]string{"devices.csv": gatewayRegister, "link.json": link, "link.spdx.json": fmt.Sprintf(linkSPDX, withPURL), "osv.json": northtlsCVE},
			[]string{northtls + "[CVE-2026-1001] [CVE-2026-1001]"},
		},
		{
			"CycloneDX and SPDX by other names",
			map[string]string{"devices.csv": gatewayRegister, "link.json": link, "link.spdx.json": fmt.Sprintf(linkSPDX, withCPE), "osv.json": northtlsCVE, "nvd.json": northNVD},
			[]string{northtls + "[CVE-2026-1001] [CVE-2026-1001]"},
		},
		{
			"a device in two registers",
			map[string]string{"a.csv": fmt.Sprintf(linkTwins, "1.8"), "b.csv": fmt.Sprintf(linkTwins, "1.8"), "link.json": link, "osv.json": northtlsCVE},
			[]string{northtls + "[CVE-2026-1001] [CVE-2026-1001]"},
		},
		{
			"under two names",
			map[string]string{"a.csv": pumpRow, "b.csv": strings.Replace(pumpRow, "pump-3", "IP-0007", 1), "csaf.json": flowCSAF},
			[]string{"pump-3: vulnerable-product exact [] [CVE-2026-1007] [NM-2026-7]"},
		},
		{
			"two devices with one name",
			map[string]string{"a.csv": pumpRow, "b.csv": strings.Replace(pumpRow, "F5-1", "F5-2", 1), "csaf.json": flowCSAF},
			[]string{"pump-3: vulnerable-product exact [] [CVE-2026-1007] [NM-2026-7]", "pump-3: vulnerable-product exact [] [CVE-2026-1007] [NM-2026-7]"},
		},
		{
			"two versions of one advisory",
			map[string]string{
				"devices.csv": pumpRow, "a.json": strings.Replace(strings.Replace(flowCSAF, `"current_release_date":"2026-02-01`, `"current_release_date":"2026-02-09`, 1), `"name":"2.1.4"`, `"name":"2.1.3"`, 1),
				"b.json": flowCSAF,
			},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := assessFiles(t, Config{}, tt.files)
			if d := cmp.Diff(tt.want, told(a)); d != "" {
				t.Error(d)
			}
			ids := map[string]bool{}
			for _, f := range a.Findings {
				if ids[f.ID] {
					t.Errorf("two findings have the id %s", f.ID)
				}
				ids[f.ID] = true
			}
			seen := map[string]bool{}
			for _, d := range a.Devices {
				if seen[d.ID] {
					t.Errorf("two devices have the id %s", d.ID)
				}
				seen[d.ID] = true
			}
		})
	}
}

// A finding is called what the advisory that hits the device calls the weakness,
// and not what another vendor's advisory of the same CVE does.
func TestTitleOfWhatHits(t *testing.T) {
	ours := strings.Replace(flowCSAF, `"cve":"CVE-2026-1007",`, `"cve":"CVE-2026-1007","title":"Orders without proof in the Flow 500",`, 1)
	other := strings.NewReplacer("Norra Medical", "Other Maker", "Flow 500", "Telescope", "NM-2026-7", "AA-1", `"cve":"CVE-2026-1007",`, `"cve":"CVE-2026-1007","title":"Telescopes turn by themselves",`).Replace(flowCSAF)
	for _, names := range [][2]string{{"a.json", "b.json"}, {"b.json", "a.json"}} {
		a := assessFiles(t, Config{}, map[string]string{"devices.csv": pumpRow, names[0]: ours, names[1]: other})
		if len(told(a)) != 1 {
			t.Fatalf("%q", told(a))
		}
		for i := range a.Findings {
			if f := &a.Findings[i]; f.Kind == finding.VulnerableProduct && !strings.Contains(f.Title, "(Orders without proof in the Flow 500)") {
				t.Errorf("%q", f.Title)
			}
		}
	}
	a := assessFiles(t, Config{}, map[string]string{"devices.csv": pumpRow, "a.json": other, "b.json": flowCSAF})
	for i := range a.Findings {
		if f := &a.Findings[i]; strings.Contains(f.Title, "Telescopes") {
			t.Errorf("%q, where the device's own advisory has no title", f.Title)
		}
	}
}

// A record that was withdrawn retracts the one before it, whichever is read first.
func TestWithdrawn(t *testing.T) {
	gone := strings.Replace(northtlsCVE, `"modified":"`, `"withdrawn":"2030-01-01T00:00:00Z","modified":"`, 1)
	if gone == northtlsCVE {
		t.Fatal("the record says not when it was modified")
	}
	link := fileOf(t, "flowlink-1.8.cdx.json")
	for _, names := range [][2]string{{"x.json", "y.json"}, {"y.json", "x.json"}} {
		a := assessFiles(t, Config{}, map[string]string{"devices.csv": gatewayRegister, "link.json": link, names[0]: northtlsCVE, names[1]: gone})
		if got := told(a); len(got) != 0 {
			t.Errorf("%s before %s: %q", names[0], names[1], got)
		}
	}
}

// Every finding of papers names a file, and a place in it.
func TestPapersArePlaces(t *testing.T) {
	seen := map[finding.Kind]bool{}
	check := func(a *report.Assessment) {
		t.Helper()
		for i := range a.Findings {
			f := &a.Findings[i]
			if finding.Kinds[f.Kind].Group != finding.KnownWeakness {
				continue
			}
			seen[f.Kind] = true
			if len(f.Sightings) == 0 {
				t.Errorf("%s of %s has no place", f.ID, f.Product)
			}
			for _, s := range f.Sightings {
				if s.Input < 0 || s.Input >= len(a.Inputs) || a.Inputs[s.Input].Path == "" || s.Packet == 0 && s.Note == "" {
					t.Errorf("%s: %+v is no place", f.ID, s)
				}
			}
		}
	}
	link := strings.NewReplacer(`"serialNumber": "urn:uuid:7b0c6d1e-1800-4a6e-9d51-0f5a00000108",`, "", `"components": [`, `"components": [
		{"type":"operating-system","bom-ref":"win7","name":"Windows 7","version":"6.1.7601","properties":[{"name":"cdx:lifecycle:milestone:endOfSupport","value":"2020-01-14"}]},`,
		`"name": "FlowLink", "version": "1.8"`, `"name": "FlowLink", "version": "1.8","properties":[{"name":"cdx:lifecycle:milestone:endOfSupport","value":"2020-01-14"}]`).Replace(fileOf(t, "flowlink-1.8.cdx.json"))
	medical := "Asset tag,Manufacturer,Model,Software version,Therapy\ngw-icu,Norra Medical,FlowLink,1.8,drug infusion\npump-3,Norra Medical,Flow 500,2.1.4,drug infusion\n"
	check(assessFiles(t, Config{}, map[string]string{"devices.csv": medical, "link.json": link, "osv.json": northtlsCVE, "csaf.json": flowCSAF, "recall.json": recall}))
	check(assessFiles(t, Config{}, map[string]string{"link.json": link, "osv.json": northtlsCVE}))
	check(assessFiles(t, Config{}, map[string]string{"devices.csv": medical, "csaf.json": flowCSAF, "kev.json": flowKEV}))
	for k := range finding.Kinds {
		if kind := finding.Kind(k); finding.Kinds[kind].Group == finding.KnownWeakness && !seen[kind] && kind != finding.MDS2Contradicted && kind != finding.MDS2CapabilityUnused { // which TestMDS2 makes
			t.Errorf("nothing here makes %s", kind)
		}
	}
}

// What the pump says itself counts more than a register, and of two registers the
// first; the finding says so.
func TestVersionsDisagree(t *testing.T) {
	docs, err := advisory.Read(strings.NewReader(flowCSAF))
	if err != nil {
		t.Fatal(err)
	}
	entry := func(version string) register.Entry {
		return register.Entry{ID: "pump-3", Line: 2, Identity: device.Identity{Manufacturer: "Norra Medical", Model: "Flow 500", Version: version, Serial: "F5-1"}}
	}
	for _, tt := range []struct {
		name, wire, a, b string
		want             string // what is said of the versions; "" is nothing, "none" no finding
	}{
		{"all agree", "2.1.4", "2.1.4", "v2.1.4", ""},
		{"a register is behind", "2.1.4", "2.1.0", "2.1.4", "a register says version 2.1.0; the device itself says 2.1.4, which counts"},
		{"a register is ahead", "2.1.4", "2.1.4", "2.2.0", "a register says version 2.2.0; the device itself says 2.1.4, which counts"},
		{"the device was updated", "2.2.0", "2.1.4", "2.1.4", "none"},
		{"two registers", "", "2.1.4", "2.2.0", "a register says version 2.2.0; another register says 2.1.4, which counts because it was read first"},
		{"two registers, the other way round", "", "2.2.0", "2.1.4", "none"},
		{"one register says none", "", "", "2.1.4", ""},
	} {
		d := documents{entries: []register.Entry{entry(tt.a), entry(tt.b)}, ends: []int{1, 2}, advisories: docs}
		d.note(0)
		r := watch.Result{}
		if tt.wire != "" {
			r.Devices = []device.Device{{ID: "p", Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: tt.wire}, Serial: "F5-1"}}
		}
		findings := d.know(&r, time.Time{})
		if len(r.Devices) != 1 {
			t.Errorf("%s: %d devices", tt.name, len(r.Devices))
		}
		got := "none"
		if len(findings) == 1 {
			got = ""
			for _, why := range findings[0].Why {
				if strings.Contains(why, "register") {
					got = why
				}
			}
		}
		if len(findings) > 1 || got != tt.want {
			t.Errorf("%s: %d findings, %q, want %q", tt.name, len(findings), got, tt.want)
		}
	}
}
