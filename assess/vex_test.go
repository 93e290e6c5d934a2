// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/report"
)

// assessFiles assesses a folder with these files, by name, and none that cannot be read.
func assessFiles(t *testing.T, c Config, files map[string]string) *report.Assessment {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Now = cmp.Or(c.Now, time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC))
	a, err := Run(context.Background(), []string{dir}, c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Inputs {
		if a.Inputs[i].Path = filepath.Base(a.Inputs[i].Path); a.Inputs[i].Error != "" {
			t.Errorf("%s (%s): %s", a.Inputs[i].Path, a.Inputs[i].Kind, a.Inputs[i].Error)
		}
	}
	return a
}

func kinds(a *report.Assessment) map[string]string {
	out := map[string]string{}
	for _, in := range a.Inputs {
		out[in.Path] = fmt.Sprintf("%s %d", in.Kind, in.Items)
	}
	return out
}

func fileOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(wardDir, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The gateway has northtls 1.4.1 and zlib 1.3.1, each with a weakness.
const (
	gatewayRegister = "Asset tag,Manufacturer,Model,Software version\ngw-icu,Norra Medical,FlowLink,1.8\n"
	northtlsCVE     = `{"schema_version":"1.6.0","id":"CVE-2026-1001","modified":"2026-01-05T00:00:00Z","published":"2026-01-05T00:00:00Z","summary":"A memory error","affected":[{"package":{"ecosystem":"generic","name":"northtls","purl":"pkg:generic/northtls"},"versions":["1.4.1"]}]}`
	secondCVE       = `{"schema_version":"1.6.0","id":"CVE-2026-1002","modified":"2026-01-05T00:00:00Z","published":"2026-01-05T00:00:00Z","summary":"A second","affected":[{"package":{"ecosystem":"generic","name":"northtls","purl":"pkg:generic/northtls"},"versions":["1.4.1"]}]}`
)

func openVEX(author, id, product, status string) string {
	return fmt.Sprintf(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.example/%s","author":%q,"timestamp":"2026-02-01T00:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-2026-1001"},"products":[%s],%s}]}`, id, author, product, status)
}

const (
	flowLink18 = `{"@id":"pkg:generic/Norra%20Medical/FlowLink@1.8"}`
	northtlsIn = `{"@id":"pkg:generic/Norra%20Medical/FlowLink@1.8","subcomponents":[{"@id":"pkg:generic/northtls@1.4.1"}]}`
	notThere   = `"status":"not_affected","justification":"vulnerable_code_not_present"`
)

const cycloneVEX = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:7b0c6d1e-1800-4a6e-9d51-0f5a00000109","version":1,
	"metadata":{"timestamp":"2026-02-01T00:00:00Z","manufacturer":{"name":"Norra Medical"},"component":{"type":"device","bom-ref":"flowlink","manufacturer":{"name":"Norra Medical"},"name":"FlowLink","version":"1.8"}},
	"vulnerabilities":[{"id":"CVE-2026-1001","analysis":{"state":"not_affected","justification":"code_not_present"},"affects":[{"ref":"flowlink"}]}]}`

const csafVEX = `{"document":{"category":"csaf_vex","csaf_version":"2.0","title":"FlowLink","publisher":{"category":"vendor","name":"Norra Medical","namespace":"https://norra.example"},
	"notes":[{"category":"summary","text":"Invented."}],
	"tracking":{"current_release_date":"2026-02-01T00:00:00Z","id":"NM-VEX-1","initial_release_date":"2026-02-01T00:00:00Z","revision_history":[{"date":"2026-02-01T00:00:00Z","number":"1","summary":"First."}],"status":"final","version":"1"}},
	"product_tree":{"branches":[{"category":"vendor","name":"Norra Medical","branches":[{"category":"product_name","name":"FlowLink","branches":[{"category":"product_version","name":"1.8","product":{"product_id":"L","name":"Norra Medical FlowLink 1.8"}}]}]}]},
	"vulnerabilities":[{"cve":"CVE-2026-1001","notes":[{"category":"description","text":"A memory error."}],"product_status":{"known_not_affected":["L"]},"flags":[{"label":"vulnerable_code_not_present","product_ids":["L"]}]}]}`

// Only what the product's own supplier says takes a weakness away; what others
// say stands beside it.
func TestVEX(t *testing.T) {
	second := "CVE-2026-1002"
	both := "CVE-2026-1001 CVE-2026-1002"
	for _, tt := range []struct {
		name, vex string
		kind      string
		cve       string // what is left of the weaknesses of northtls
		opinion   string
		why       string
	}{
		{"the supplier, of the part", openVEX("Norra Medical", "1", northtlsIn, notThere), "openvex 1", second, "", ""},
		{"the supplier, of the whole", openVEX("Norra Medical", "1", flowLink18, notThere), "openvex 1", second, "", ""},
		{"its security office", openVEX("Norra Medical PSIRT <psirt@norra.example>", "1", northtlsIn, notThere), "openvex 1", second, "", ""},
		{"its legal name", openVEX("NORRA MEDICAL GmbH", "1", `{"@id":"pkg:generic/norra-medical/flow-link@1.8"}`, notThere), "openvex 1", second, "", ""},
		{"fixed", openVEX("Norra Medical", "1", northtlsIn, `"status":"fixed"`), "openvex 1", second, "", ""},
		{"another version", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/Norra%20Medical/FlowLink@1.9"}`, notThere), "openvex 1", both, "", ""},
		{"another product", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/Norra%20Medical/FlowLink%20Plus@1.8"}`, notThere), "openvex 1", both, "", ""},
		{"another part", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/Norra%20Medical/FlowLink@1.8","subcomponents":[{"@id":"pkg:generic/zlib@1.3.1"}]}`, notThere), "openvex 1", both, "", ""},
		{"the part alone", openVEX("Norra Medical", "1", `{"@id":"pkg:generic/northtls@1.4.1"}`, notThere), "openvex 1", both, "Norra Medical says not affected", ""},
		{"the part's maker", openVEX("Northwind TLS", "1", northtlsIn, notThere), "openvex 1", both, "CVE-2026-1001: Northwind TLS says not affected (vulnerable code not present), 2026-02-01", ""},
		{"a name that is alike", openVEX("Norra Medical Users", "1", northtlsIn, notThere), "openvex 1", both, "Norra Medical Users says not affected", ""},
		{"a shorter name", openVEX("Norra", "1", northtlsIn, notThere), "openvex 1", both, "Norra says not affected", ""},
		{"being looked into", openVEX("Norra Medical", "1", northtlsIn, `"status":"under_investigation"`), "openvex 1", both, "", "the supplier: Norra Medical says under investigation"},
		{"CycloneDX", cycloneVEX, "vex 1", second, "", ""},
		{"CycloneDX of a hospital", strings.Replace(cycloneVEX, `"manufacturer":{"name":"Norra Medical"},"component"`, `"manufacturer":{"name":"St. Ada Hospital"},"component"`, 1), "vex 1", both, "St. Ada Hospital says not affected", ""},
		{"CSAF", csafVEX, "vex 1", second, "", ""},
		{"CSAF of a coordinator", strings.Replace(strings.Replace(csafVEX, `"vendor","name":"Norra Medical"`, `"coordinator","name":"CERT A"`, 1), `"category":"vendor","name":"CERT`, `"category":"coordinator","name":"CERT`, 1), "vex 1", both, "CERT A says not affected", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := assessFiles(t, Config{}, map[string]string{
				"devices.csv": gatewayRegister, "link.cdx.json": fileOf(t, "flowlink-1.8.cdx.json"),
				"a.json": northtlsCVE, "b.json": secondCVE, "said.json": tt.vex,
			})
			if got := kinds(a)["said.json"]; got != tt.kind {
				t.Errorf("read as %q", got)
			}
			var cve, opinions, why []string
			for _, f := range a.Findings {
				if f.Kind == finding.VulnerableComponent && f.Component == "pkg:generic/northtls 1.4.1" {
					cve, opinions, why = append(cve, f.CVE...), append(opinions, f.Opinions...), append(why, f.Why...)
				}
			}
			slices.Sort(cve)
			if got := strings.Join(cve, " "); got != tt.cve {
				t.Errorf("left: %q, want %q", got, tt.cve)
			}
			if got := strings.Join(opinions, "; "); !strings.Contains(got, tt.opinion) || tt.opinion == "" && got != "" {
				t.Errorf("opinions: %q, want %q", got, tt.opinion)
			}
			if got := strings.Join(why, "; "); !strings.Contains(got, tt.why) {
				t.Errorf("why: %q, want %q", got, tt.why)
			}
		})
	}
}

// A product's package URL and CPE name stand in its bill of materials only.
func TestVEXByIdentifier(t *testing.T) {
	bom := strings.Replace(fileOf(t, "flowlink-1.8.cdx.json"), `"name": "FlowLink", "version": "1.8"`, `"name": "FlowLink", "version": "1.8", "purl": "pkg:oci/norra-link@1.8", "cpe": "cpe:2.3:h:norra:flowlink:1.8:*:*:*:*:*:*:*"`, 1)
	for _, register := range []string{gatewayRegister, "Asset tag,Manufacturer,Model,Software version,OS\ngw-icu,Norra Medical,FlowLink,1.8,Windows 10\n", "Asset tag,Location\nnothing-1,x\n"} {
		for product, want := range map[string]int{
			`{"@id":"pkg:oci/norra-link@1.8"}`: 0, `{"@id":"pkg:oci/norra-link"}`: 0, `{"@id":"pkg:oci/norra-link@1.9"}`: 1, `{"@id":"pkg:oci/other@1.8"}`: 1,
			`{"@id":"https://norra.example/flowlink","identifiers":{"cpe23":"cpe:2.3:h:norra:flowlink:1.8:*:*:*:*:*:*:*"}}`: 0,
		} {
			a := assessFiles(t, Config{}, map[string]string{"devices.csv": register, "link.cdx.json": bom, "a.json": northtlsCVE, "said.json": openVEX("Norra Medical", "1", product, notThere)})
			n := 0
			for _, f := range a.Findings {
				if f.Kind == finding.VulnerableComponent {
					n++
				}
			}
			if n != want {
				t.Errorf("%s: %d findings, want %d", product, n, want)
			}
		}
	}
}

// A finding whose only weakness the supplier denies goes away, and comes back
// with what the supplier publishes later.
func TestVEXRevoked(t *testing.T) {
	files := map[string]string{
		"devices.csv": gatewayRegister, "link.cdx.json": fileOf(t, "flowlink-1.8.cdx.json"), "a.json": northtlsCVE,
	}
	count := func(kind finding.Kind) (n int) {
		for _, f := range assessFiles(t, Config{}, files).Findings {
			if f.Kind == kind {
				n++
			}
		}
		return n
	}
	if n := count(finding.VulnerableComponent); n != 1 {
		t.Fatalf("%d findings without a word of the supplier", n)
	}
	files["said.json"] = openVEX("Norra Medical", "1", flowLink18, notThere)
	if n := count(finding.VulnerableComponent); n != 0 {
		t.Errorf("%d findings that the supplier denies", n)
	}
	advisory := strings.NewReplacer("csaf_vex", "csaf_security_advisory", "known_not_affected", "known_affected", "NM-VEX-1", "NM-2026-1",
		`"current_release_date":"2026-02-01`, `"current_release_date":"2026-02-20`, `,"flags":[{"label":"vulnerable_code_not_present","product_ids":["L"]}]`, "").Replace(csafVEX)
	files["later.json"] = advisory
	if n := count(finding.VulnerableProduct); n != 1 {
		t.Errorf("%d findings that the supplier has published since", n)
	}
	files["later.json"] = strings.Replace(advisory, "2026-02-20", "2026-01-20", 1)
	if n := count(finding.VulnerableProduct); n != 0 {
		t.Errorf("%d findings that the supplier has taken back", n)
	}
}

// What a supplier clears leaves a trace: what, where, who says so and why.
func TestCleared(t *testing.T) {
	files := map[string]string{
		"devices.csv": gatewayRegister, "link.cdx.json": fileOf(t, "flowlink-1.8.cdx.json"), "a.json": northtlsCVE, "b.json": secondCVE,
		"said.json": openVEX("Norra Medical", "1", northtlsIn, notThere),
	}
	a := assessFiles(t, Config{}, files)
	if len(a.Cleared) != 1 || len(a.Cleared[0].Devices) != 1 {
		t.Fatalf("cleared: %+v", a.Cleared)
	}
	c := a.Cleared[0]
	if a.Devices[0].ID != c.Devices[0] || a.Inputs[c.Input].Path != "said.json" {
		t.Errorf("of %s, in %s", c.Devices, a.Inputs[c.Input].Path)
	}
	c.Devices, c.Input = nil, 0
	want := report.Cleared{
		Vulnerability: "CVE-2026-1001", Product: "Norra Medical FlowLink 1.8", Component: "pkg:generic/northtls 1.4.1", Status: "not_affected", Justification: "vulnerable_code_not_present",
		Supplier: "Norra Medical", Document: "https://vex.example/1", Time: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).UnixNano(),
	}
	if diff := gocmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	files["said.json"] = openVEX("CERT A", "1", northtlsIn, notThere)
	if a := assessFiles(t, Config{}, files); a.Cleared != nil {
		t.Errorf("cleared by somebody else: %+v", a.Cleared)
	}
}

// Nobody can have said what is dated after today.
func TestVEXOfTomorrow(t *testing.T) {
	said := openVEX("Norra Medical", "1", northtlsIn, notThere)
	for when, want := range map[string]int{"2026-03-03T06:59:59Z": 0, "2026-03-03T07:00:00Z": 0, "2026-03-03T07:00:01Z": 1, "2036-01-01T00:00:00Z": 1} {
		a := assessFiles(t, Config{}, map[string]string{
			"devices.csv": gatewayRegister, "link.cdx.json": fileOf(t, "flowlink-1.8.cdx.json"), "a.json": northtlsCVE,
			"said.json": strings.Replace(said, "2026-02-01T00:00:00Z", when, 1),
		})
		n := 0
		for _, f := range a.Findings {
			if f.Kind == finding.VulnerableComponent {
				n++
			}
		}
		note := ""
		for _, in := range a.Inputs {
			note += in.Note[:max(0, strings.Index(in.Note, ":"))]
		}
		if told := strings.HasSuffix(note, "1 statement is not taken"); n != want || told != (want == 1) || len(a.Cleared) != 1-want {
			t.Errorf("%s: %d findings, want %d; cleared %v; %s", when, n, want, a.Cleared, note)
		}
	}
}

// A name that merely looks like the supplier's is not the supplier's.
func TestSupplies(t *testing.T) {
	f := NewSuppliers(match.NewIndex(nil), nil)
	for author, want := range map[string]bool{
		"Norra Medical": true, "norra medical": true, "Norra Medical PSIRT": true, "Norra Medical GmbH <psirt@norra.example>": true,
		"Norra\u200b Medical": false, "Norra \u00adMedical": false, "\u202eNorra Medical": false, "Norra\ufe0f Medical": false, "Norra\u3164 Medical": false, "Norra\u034f Medical": false,
		"N\u043erra Medical": false, "Norra Medi\u0441al": false, "\u039dorra Medical": false, "Norra Medical\u200d PSIRT": false, "Norra Medical \u0420SIRT": false, "Norra\ufffd Medical": false,
	} {
		if got := f.supplies(author, "Norra Medical"); got != want {
			t.Errorf("%+q: %v", author, got)
		}
	}
	for name, want := range map[string]bool{
		"Dräger": true, "オリンパス株式会社 Olympus": true, "Philips 飞利浦": true, "Микромед": true, "Микрoмед": false, "삼성메디슨 Samsung": true, "Μedtronic": false, "": true,
	} {
		if got := honest(name); got != want {
			t.Errorf("honest(%+q): %v", name, got)
		}
	}
	for _, f := range assessFiles(t, Config{}, map[string]string{
		"devices.csv": gatewayRegister, "link.cdx.json": fileOf(t, "flowlink-1.8.cdx.json"), "a.json": northtlsCVE,
		"said.json": openVEX("Norra Medi\u0441al", "1", northtlsIn, notThere),
	}).Findings {
		if f.Kind == finding.VulnerableComponent && (len(f.Opinions) != 1 || !strings.Contains(f.Opinions[0], "it is not the supplier's")) {
			t.Errorf("opinions: %q", f.Opinions)
		}
	}
}

// A user's other spellings count for devices and for suppliers.
func TestOwnAliases(t *testing.T) {
	names, err := match.Shipped().Extend("ours.yaml", []byte("makers:\n  - name: Norra Medical\n    same: [NM Betrieb]\n"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"devices.csv": "Asset tag,Manufacturer,Model,Software version\npump-3,NM Betrieb,Flow 500,2.1.4\n", "a.json": fileOf(t, "ada-2026-01.csaf.json"),
	}
	count := func(c Config) (n int) {
		for _, f := range assessFiles(t, c, files).Findings {
			if f.Kind == finding.VulnerableProduct && f.Certainty == finding.Exact {
				n++
			}
		}
		return n
	}
	if with, without := count(Config{Names: names}), count(Config{}); with != 1 || without != 0 {
		t.Errorf("%d findings with, %d without them", with, without)
	}
	files["said.json"] = strings.NewReplacer("CVE-2026-1001", "ADA-2026-01-A", "2026-02-01", "2026-03-03").Replace(openVEX("NM Betrieb", "1", `{"@id":"pkg:generic/Norra%20Medical/Flow%20500@2.1.4"}`, notThere))
	if a := assessFiles(t, Config{Names: names}, files); len(a.Cleared) != 1 {
		t.Errorf("cleared: %+v", a.Cleared)
	}
}
