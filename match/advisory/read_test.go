// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const (
	osvRecord = `{"schema_version":"1.7.0","id":"PYSEC-2026-1","modified":"2026-01-02T03:04:05Z","published":"2026-01-01T00:00:00Z",
 "aliases":["GHSA-aaaa-bbbb-cccc","CVE-2026-1111"],"summary":"Short","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},{"type":"Ubuntu","score":"high"}],
 "database_specific":{"cwe_ids":["CWE-79",3]},
 "references":[{"type":"WEB","url":"https://a.example"},{"type":"ADVISORY","url":"https://b.example"},{"type":"FIX","url":"https://c.example"}],
 "affected":[
  {"package":{"ecosystem":"PyPI","name":"pump","purl":"pkg:pypi/pump"},"versions":["1.0","0.9-odd"],
   "ranges":[{"type":"GIT","repo":"https://x.example","events":[{"introduced":"0"},{"fixed":"aa"}]},
             {"type":"ECOSYSTEM","events":[{"introduced":"2.0"},{"fixed":"2.1.5"},{"introduced":"0"},{"last_affected":"1.4"}]}]},
  {"package":{"ecosystem":"Made Up","name":"pump"},"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"limit":"2.0.0"}]}]},
  {"package":{"ecosystem":"PyPI","name":"listed"},"versions":["3.0"]},
  {"ranges":[{"type":"GIT","repo":"https://x.example","events":[{"introduced":"0"}]}]},
  {"package":{"ecosystem":"PyPI","name":"whole"}}]}`

	cveRecordText = `{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{"cveId":"CVE-2026-2222","state":"PUBLISHED","datePublished":"2026-01-01T00:00:00"},
 "containers":{"cna":{"providerMetadata":{"shortName":"maker"},"title":"Title","problemTypes":[{"descriptions":[{"cweId":"CWE-306"},{"description":"none"}]}],
  "metrics":[{"cvssV4_0":{"version":"4.0","vectorString":"CVSS:4.0/AV:N","baseScore":9.3}}],
  "solutions":[{"value":"Update."}],"workarounds":[{"value":"Unplug."}],
  "affected":[
   {"vendor":"Maker","product":"Pump","defaultStatus":"unaffected","platforms":["arm"],"versions":[
     {"version":"unspecified","lessThan":"3.6.7","status":"affected","versionType":"custom"},
     {"version":"4.0","lessThanOrEqual":"4.2.*","status":"affected","versionType":"custom","changes":[{"at":"4.1.3","status":"unaffected"}]},
     {"version":"5.x","status":"affected"},{"version":"6.1","status":"affected"}]},
   {"vendor":"Maker","product":"Kernel","defaultStatus":"affected","versions":[{"version":"0","lessThan":"4.9","status":"unaffected"},{"version":"5.4.1","lessThanOrEqual":"5.4.*","status":"unaffected"}]},
   {"vendor":"Maker","product":"Source","versions":[{"version":"abc","lessThan":"def","status":"affected","versionType":"git"}]},
   {"vendor":"n/a","product":"n/a","versions":[{"version":"n/a","status":"affected"}]},
   {"packageName":"pump","collectionURL":"https://pypi.org/x","versions":[{"version":"1.0rc1","lessThan":"1.0","status":"affected"}]}]},
 "adp":[{"providerMetadata":{"shortName":"CISA-ADP"},"metrics":[
   {"other":{"type":"ssvc","content":{"options":[{"Exploitation":"active"},{"Automatable":"yes"},{"Technical Impact":"total"}]}}},{"other":{"type":"kev","content":{}}}],
   "affected":[{"vendor":"maker","product":"pump","cpes":["cpe:2.3:a:maker:pump:*:*:*:*:*:*:*:*","cpe:2.3:a:maker:pump2:*:*:*:*:*:*:*:*"],"versions":[{"version":"0","lessThanOrEqual":"*","status":"affected"}]}]}]}}`

	nvdRecord = `{"cve":{"id":"CVE-2026-3333","vulnStatus":"Analyzed","published":"2026-01-01T00:00:00.123","lastModified":"2026-01-02T00:00:00.123","cisaExploitAdd":"2026-01-03",
 "metrics":{"cvssMetricV2":[{"source":"nvd@nist.gov","cvssData":{"version":"2.0","vectorString":"AV:N/AC:L/Au:N/C:N/I:N/A:P","baseScore":5.0}}]},
 "weaknesses":[{"description":[{"value":"CWE-306"},{"value":"NVD-CWE-noinfo"}]}],
 "configurations":[
  {"operator":"AND","nodes":[
   {"operator":"OR","negate":false,"cpeMatch":[
     {"vulnerable":true,"criteria":"cpe:2.3:o:maker:pump_firmware:*:*:*:*:*:*:*:*","versionStartExcluding":"1.0","versionEndExcluding":"2.1.5"},
     {"vulnerable":true,"criteria":"cpe:2.3:o:maker:pump_firmware:3.0\\:a:*:*:*:*:*:*:*"}]},
   {"operator":"OR","negate":false,"cpeMatch":[{"vulnerable":false,"criteria":"cpe:2.3:h:maker:pump:-:*:*:*:*:*:*:*"}]},
   {"operator":"OR","negate":true,"cpeMatch":[{"vulnerable":false,"criteria":"cpe:2.3:o:other:os:-:*:*:*:*:*:*:*"}]}]},
  {"nodes":[{"operator":"OR","negate":false,"cpeMatch":[{"vulnerable":true,"criteria":"cpe:2.3:h:maker:base:-:*:*:*:*:*:*:*"},{"vulnerable":true,"criteria":"cpe:2.3:a:soap::lite:*:*"},{"vulnerable":true,"criteria":"cpe:2.3:a:maker:app:1.?:*:*:*:*:*:*:*"}]}]}]}}`

	githubRecord = `{"ghsa_id":"GHSA-dddd-eeee-ffff","cve_id":"CVE-2026-4444","summary":"Rest","html_url":"https://github.example/a","published_at":"2026-01-01T00:00:00Z","withdrawn_at":"2026-02-01T00:00:00Z",
 "identifiers":[{"type":"GHSA","value":"GHSA-dddd-eeee-ffff"},{"type":"CVE","value":"CVE-2026-4444"}],
 "cvss":{"vector_string":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H","score":9.8},"cvss_severities":{"cvss_v3":{"vector_string":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H","score":9.8},"cvss_v4":{"vector_string":null,"score":0}},
 "cwes":[{"cwe_id":"CWE-79","name":"x"}],
 "vulnerabilities":[{"package":{"ecosystem":"pip","name":"pump"},"vulnerable_version_range":">= 1.0, < 2.0","first_patched_version":"2.0"}]}`
)

// lines says in words what a document states.
func lines(d *Document) []string {
	var all []string
	for _, v := range d.Vulnerabilities {
		kev := ""
		if v.KEV {
			kev = " exploited"
		}
		all = append(all, fmt.Sprintf("%s %q %q%s", v.ID, v.Aliases, v.CWE, kev))
		for _, s := range v.Scores {
			all = append(all, fmt.Sprint("score ", s.Version, " ", s.Vector, " ", s.Base, " ", s.Source))
		}
		for _, s := range v.Statements {
			p := s.Product
			line := fmt.Sprintf("%d %s|%s|%s%s", s.Status, p.Manufacturer, p.Name, p.Ecosystem, p.CPE)
			if p.HasRange {
				line += " " + p.Range.Vers()
			} else {
				line += fmt.Sprintf(" text %s", p.Version)
			}
			if len(p.Versions) > 0 {
				line += fmt.Sprintf(" and %q", p.Versions)
			}
			for _, o := range p.On {
				line += " on " + o.Name
			}
			for _, r := range s.Remediations {
				line += fmt.Sprintf(" {%s %s %s}", r.Category, r.Details, r.URL)
			}
			all = append(all, line)
		}
	}
	return all
}

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		text string
		kind Kind
		want []string
	}{
		{osvRecord, OSV, []string{
			`CVE-2026-1111 ["GHSA-aaaa-bbbb-cccc" "PYSEC-2026-1"] ["CWE-79"]`,
			`score 3.1 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H -1 `,
			`1 |pump|PyPI vers:pypi/<=1.4|>=2.0|<2.1.5 and ["1.0" "0.9-odd"] {vendor_fix fixed in 2.1.5 https://c.example}`,
			`1 |pump|Made Up vers:semver/>=1.0.0|<2.0.0`,
			`1 |listed|PyPI vers:none/* and ["3.0"]`,
			`1 || text `,
			`1 |whole|PyPI text `,
		}},
		{cveRecordText, CVE5, []string{
			`CVE-2026-2222 [] ["CWE-306"] exploited`,
			`score 4.0 CVSS:4.0/AV:N 9.3 maker`,
			`1 Maker|Pump| vers:generic/<3.6.7|>=4.0|<4.1.3|6.1 on arm {vendor_fix Update. } {workaround Unplug. }`,
			`2 Maker|Pump| vers:generic/>=4.1.3|<4.3 on arm`,
			`1 Maker|Pump| text 5.x on arm {vendor_fix Update. } {workaround Unplug. }`,
			`1 Maker|Kernel| vers:generic/>=4.9|<5.4.1|>=5.5 {vendor_fix Update. } {workaround Unplug. }`,
			`2 Maker|Kernel| vers:generic/<4.9|>=5.4.1|<5.5`,
			`1 Maker|Source| text  {vendor_fix Update. } {workaround Unplug. }`,
			`1 ||PyPI vers:pypi/>=1.0rc1|<1.0 {vendor_fix Update. } {workaround Unplug. }`,
			`1 maker|pump|cpe:2.3:a:maker:pump:*:*:*:*:*:*:*:* vers:generic/*`,
		}},
		{nvdRecord, NVD, []string{
			`CVE-2026-3333 [] ["CWE-306"] exploited`,
			`score 2.0 AV:N/AC:L/Au:N/C:N/I:N/A:P 5 nvd@nist.gov`,
			`1 maker|pump_firmware|cpe:2.3:o:maker:pump_firmware:*:*:*:*:*:*:*:* vers:generic/>1.0|<2.1.5 on pump {vendor_fix fixed in 2.1.5 }`,
			`1 maker|pump_firmware|cpe:2.3:o:maker:pump_firmware:3.0\:a:*:*:*:*:*:*:* vers:generic/3.0:a on pump`,
			`1 maker|base|cpe:2.3:h:maker:base:-:*:*:*:*:*:*:* vers:generic/*`,
			`1 ||cpe:2.3:a:soap::lite:*:* text `,
			`1 maker|app|cpe:2.3:a:maker:app:1.?:*:*:*:*:*:*:* text 1.?`,
		}},
		{githubRecord, GitHub, []string{
			`CVE-2026-4444 ["GHSA-dddd-eeee-ffff"] ["CWE-79"]`,
			`score 3.1 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H 9.8 `,
			`1 |pump|pip vers:pypi/>=1.0|<2.0 {vendor_fix fixed in 2.0 https://github.example/a}`,
		}},
	} {
		d := readOne(t, []byte(c.text))
		if d.Kind != c.kind {
			t.Errorf("read as %v, want %v", d.Kind, c.kind)
		}
		if d.Published.Format("2006-01-02") != "2026-01-01" {
			t.Errorf("%v: published %v", c.kind, d.Published)
		}
		if d.Withdrawn != (c.kind == GitHub) {
			t.Errorf("%v: withdrawn %v", c.kind, d.Withdrawn)
		}
		if diff := cmp.Diff(c.want, lines(d)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.kind, diff)
		}
	}
	d := readOne(t, []byte(cveRecordText))
	if s := d.Vulnerabilities[0].SSVC; s == nil || *s != (SSVC{"active", "yes", "total"}) {
		t.Errorf("SSVC: %v", s)
	}
	last := d.Vulnerabilities[0].Statements[len(d.Vulnerabilities[0].Statements)-1]
	if last.Source != "CISA-ADP" || len(last.Product.CPEs) != 1 {
		t.Errorf("the container of CISA: %+v", last)
	}
}

// TestCVEStatus reads what a record says of a product as a whole.
func TestCVEStatus(t *testing.T) {
	for affected, want := range map[string]string{
		`"defaultStatus":"affected"`:                                                "1 |Pump| vers:generic/*",
		`"defaultStatus":"unaffected"`:                                              "2 |Pump| vers:generic/*",
		`"defaultStatus":"unknown"`:                                                 "4 |Pump| text ",
		`"versions":[{"version":"1.0","status":"unknown"}]`:                         "4 |Pump| text ",
		`"versions":[{"version":"n/a","status":"affected"}]`:                        "1 |Pump| text ",
		`"versions":[{"version":"*","status":"affected"}]`:                          "1 |Pump| vers:generic/*",
		`"versions":[{"version":"a","status":"affected","versionType":"git"}]`:      "1 |Pump| text ",
		`"packageURL":"pkg:npm/x","versions":[{"version":"1","status":"affected"}]`: "1 |Pump| vers:npm/1",
		`"defaultStatus":"affected","versions":[{"version":"2:1.0","lessThan":"*","status":"unaffected","versionType":"rpm"}]`: "1 |Pump| vers:rpm/<2:1.0",
	} {
		d := readOne(t, []byte(`{"dataType":"CVE_RECORD","cveMetadata":{"cveId":"CVE-2026-2222","state":"PUBLISHED"},
			"containers":{"cna":{"affected":[{"product":"Pump",`+affected+`}]}}}`))
		if got := lines(d)[1]; got != want {
			t.Errorf("%s: %s, want %s", affected, got, want)
		}
	}
	d := readOne(t, []byte(`{"dataType":"CVE_RECORD","cveMetadata":{"cveId":"CVE-2026-2222","state":"PUBLISHED"},"containers":{"cna":{"cpeApplicability":[{"nodes":[{"operator":"OR","negate":false,
		"cpeMatch":[{"vulnerable":true,"criteria":"cpe:2.3:a:maker:pump:*:*:*:*:*:*:*:*","versionStartIncluding":"1.0","versionEndExcluding":"2.0"}]}]}]}}}`))
	if got := lines(d)[1]; !strings.HasSuffix(got, "vers:generic/>=1.0|<2.0 {vendor_fix fixed in 2.0 }") {
		t.Error(got)
	}
}

func TestWithdrawn(t *testing.T) {
	for _, text := range []string{
		strings.Replace(osvRecord, `"summary"`, `"withdrawn":"2026-03-01T00:00:00Z","summary"`, 1),
		`{"dataType":"CVE_RECORD","cveMetadata":{"cveId":"CVE-2026-2222","state":"REJECTED"},"containers":{"cna":{"providerMetadata":{},"rejectedReasons":[{"lang":"en","value":"x"}]}}}`,
		strings.Replace(nvdRecord, "Analyzed", "Rejected", 1),
	} {
		if d := readOne(t, []byte(text)); !d.Withdrawn {
			t.Errorf("%v: not marked as withdrawn", d.Kind)
		}
	}
}

// TestSeveral reads documents in a row, in an array and in an answer of NVD, and
// goes on after one that breaks its schema.
func TestSeveral(t *testing.T) {
	line := strings.ReplaceAll(osvRecord, "\n", "")
	bad := strings.Replace(line, `"GIT"`, `"HG"`, 1)
	for _, c := range []struct {
		name, text string
		docs       int
		path       string
	}{
		{"lines", line + "\n" + line + "\n", 2, ""},
		{"lines of Windows", line + "\r\n" + line + "\r\n", 2, ""},
		{"a row", osvRecord + nvdRecord + githubRecord, 3, ""},
		{"with a byte order mark", "\xef\xbb\xbf" + line, 1, ""},
		{"one of them bad", line + "\n" + bad + "\n" + line + "\n", 2, "[1].affected[0].ranges[0].type"},
		{"an array", "[" + line + "," + bad + ",\n" + line + " ]", 2, "[1].affected[0].ranges[0].type"},
		{"an empty array", "[ ]", 0, ""},
		{"an answer", `{"resultsPerPage":2,"totalResults":2,"format":"NVD_CVE","vulnerabilities":[` + nvdRecord + `,{"cve":{"id":7}},` + nvdRecord + `]}`, 2, "vulnerabilities[1].cve.id"},
		{"an array that ends early", "[" + line, 1, "[0]"},
		{"an array and something", "[" + line + "]x", 1, "?"},
		{"an array of two without a comma", "[" + line + line + "]", 1, "[0]"},
		{"nothing", "", 0, "?"},
		{"a scalar", "3", 0, "?"},
		{"half", line[:len(line)/2], 0, "affected[0]"},
	} {
		docs, err := Read(strings.NewReader(c.text))
		if len(docs) != c.docs || (err == nil) != (c.path == "") {
			t.Errorf("%s: %d documents, %v", c.name, len(docs), err)
			continue
		}
		var e *Error
		if c.path != "" && c.path != "?" && (!errors.As(err, &e) || e.Path != c.path) {
			t.Errorf("%s: %v, want the path %s", c.name, err, c.path)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, old, new, path string }{
		{osvRecord, `"id":"PYSEC-2026-1"`, `"id":7`, ""},
		{osvRecord, `"modified":"2026-01-02T03:04:05Z",`, ``, "modified"},
		{osvRecord, `"name":"listed"`, `"nome":"listed"`, "affected[2].package.name"},
		{osvRecord, `{"introduced":"1.0.0"}`, `{"begins":"1.0.0"}`, "affected[1].ranges[0].events[0]"},
		{osvRecord, `"aliases":["GHSA`, `"aliases":[{},"GHSA`, "aliases[0]"},
		{cveRecordText, `"cveId":"CVE-2026-2222",`, ``, "cveMetadata.cveId"},
		{cveRecordText, `"status":"affected","versionType":"custom"}`, `"status":"hit"}`, "containers.cna.affected[0].versions[0].status"},
		{cveRecordText, `"cna":`, `"cnb":`, "containers.cna"},
		{nvdRecord, `"criteria":"cpe:2.3:h:maker:base`, `"criterion":"cpe:2.3:h:maker:base`, "cve.configurations[1].nodes[0].cpeMatch[0].criteria"},
		{githubRecord, `"name":"pump"`, `"name":null`, "vulnerabilities[0].package.name"},
	} {
		text := strings.Replace(c.text, c.old, c.new, 1)
		if text == c.text {
			t.Fatalf("%s is not there", c.old)
		}
		docs, err := Read(strings.NewReader(text))
		var e *Error
		if len(docs) != 0 || !errors.As(err, &e) || e.Path != c.path {
			t.Errorf("%s: %v, want the path %s", c.new, err, c.path)
		}
	}
}

// An endless is a reader of one byte again and again, and tells how much of it was read.
type endless struct {
	head string
	of   byte
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.head)
	e.head = e.head[n:]
	for i := n; i < len(b); i++ {
		b[i] = e.of
	}
	e.read += len(b)
	return len(b), nil
}

// What a few kilobytes unpack to is refused long before the bound of a document.
func TestBomb(t *testing.T) {
	for _, of := range []byte{' ', 'A', 0, '['} {
		e := &endless{head: `{"document":{"csaf_version":"2.0","title":"`, of: of}
		if _, err := Read(e); !errors.Is(err, ErrTooMany) || e.read > 2*maxRun {
			t.Errorf("%q: %v, after %d bytes", of, err, e.read)
		}
	}
}

// A document comes whole, in whatever pieces it is read.
func TestPieces(t *testing.T) {
	long := strings.Replace(osvRecord, `"id":`, `"details":"`+strings.Repeat("long ", 200_000)+`","id":`, 1)
	if long == osvRecord {
		t.Fatal("the record has no id")
	}
	want := readOne(t, []byte(long))
	for what, r := range map[string]io.Reader{
		"of unknown length": struct{ io.Reader }{strings.NewReader(long)},
		"byte by byte":      iotest.OneByteReader(strings.NewReader(long)),
	} {
		if docs, err := Read(r); err != nil || len(docs) != 1 || !cmp.Equal(docs[0], want) {
			t.Errorf("%s: %d documents, %v", what, len(docs), err)
		}
	}
}

// TestBounds holds the bounds, and that errors repeat nothing of a document.
func TestBounds(t *testing.T) {
	deep := `{"id":"a","modified":"2026-01-01","affected":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`
	if _, err := Read(strings.NewReader(deep)); !errors.Is(err, ErrDepth) {
		t.Errorf("deep: %v", err)
	}
	for _, text := range []string{osvRecord, cveRecordText, nvdRecord, githubRecord, string(sample(t))} {
		for used := range 3 {
			var rd reading
			rd.t.total = maxStatements - used // as if there had been so many
			if err := rd.all([]byte(text)); err != nil || len(rd.docs) != 0 && text != githubRecord || used == 0 && len(rd.errs) != 1 {
				t.Errorf("many statements: %d documents, %v, %v", len(rd.docs), err, rd.errs)
			} else if len(rd.errs) > 0 && !errors.Is(rd.errs[0], ErrTooMany) {
				t.Errorf("many statements: %v", rd.errs)
			}
		}
	}
	values := `{"id":"a","modified":"2026-01-01","x":[` + strings.Repeat("0,", maxValues) + `0]}`
	if _, err := Read(strings.NewReader(values)); !errors.Is(err, ErrTooMany) {
		t.Errorf("many values: %v", err)
	}
	var named, leaves strings.Builder
	for i := range maxNamed/2 + 1 {
		fmt.Fprintf(&leaves, `,{"name":"n","product_id":"leaf%d"}`, i)
		fmt.Fprintf(&named, `,"leaf%d"`, i)
	}
	wide := strings.Replace(string(sample(t)), `"known_not_affected": ["base"`, `"known_not_affected": ["base"`+named.String(), 1)
	wide = strings.Replace(wide, `"full_product_names": [`, `"full_product_names": [`+leaves.String()[1:]+`,`, 1)
	if _, err := Read(strings.NewReader(wide)); !errors.Is(err, ErrTooMany) {
		t.Errorf("many leaves: %v", err)
	}
	bad := strings.Repeat(`{"id":7,"affected":[]}`+"\n", 3*maxErrors)
	_, err := Read(strings.NewReader(bad))
	if n := strings.Count(err.Error(), "\n"); n > maxErrors {
		t.Errorf("%d errors", n)
	}
	// A remedy for every product, of which there are many: links are bounded.
	var ids, tree strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&ids, `,"p%d"`, i)
		fmt.Fprintf(&tree, `,{"name":"n","product_id":"p%d"}`, i)
	}
	remedy := `,{"category":"mitigation","details":"d","group_ids":["g"]}`
	csaf := string(sample(t))
	csaf = csaf[:strings.Index(csaf, `"product_tree"`)] + `"product_tree":{"full_product_names":[` + tree.String()[1:] + `],"product_groups":[{"group_id":"g","product_ids":[` + ids.String()[1:] + `]}]},
		"vulnerabilities":[{"product_status":{"known_affected":["p0"]},"remediations":[` + strings.Repeat(remedy, 1000)[1:] + `]}]}`
	if _, err := Read(strings.NewReader(csaf)); !errors.Is(err, ErrTooMany) {
		t.Errorf("many links: %v", err)
	}
	secret := `{"document":{"csaf_version":"2.0","Jane Doe":1,"title":7,"category":"Jane-Doe","lang":"Jane Doe"}}`
	if _, err := Read(strings.NewReader(secret)); err == nil || strings.Contains(err.Error(), "Jane") {
		t.Errorf("content in an error: %v", err)
	}
	if _, err := Read(strings.NewReader(`{"id":"x","affected":[],"Jane Doe":{"a":tru}}`)); err == nil || strings.Contains(err.Error(), "Jane") {
		t.Errorf("content in an error: %v", err)
	}
}

func TestDetect(t *testing.T) {
	for head, want := range map[string]Kind{
		`{"document":{"category":"x","csaf_version":"2.0"`: CSAF,
		`[{"id":"x","schema_version":"1.0"`:                OSV,
		osvRecord[:80]:                                     OSV,
		cveRecordText[:30]:                                 CVE5,
		nvdRecord[:30]:                                     NVD,
		githubRecord[:60]:                                  GitHub,
		`{"Advisory":{"ghsaId":"GHSA"`:                     GitHub,
		`{"title":"CISA","catalogVersion":"1"`:             KEVCatalog,
		"#model_version:v1,score_date:2026-01-01\ncve,":    EPSSScores,
		"cve,epss,percentile\n":                            EPSSScores,
		string(zipped(t, "#model_version:v1,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1111,0.5,0.5\n")): EPSSScores,
		string(zipped(t, "not a score")):                              NoKind,
		`{"resourceType":"Patient","id":"x","modified":"y"}`:          NoKind,
		`{"bomFormat":"CycloneDX","id":"x","modified":"y"}`:           NoKind,
		`{"@context":"https://openvex.dev/ns","id":"x","modified":1}`: NoKind,
		`{"id":"x"}`:                           NoKind,
		`{"a":{"id":"x","affected":[]}}`:       NoKind,
		`{"cve":"CVE-2026-1111","epss":0.1}`:   NoKind,
		`{"x":{"csaf_version":"2.0"}}`:         NoKind,
		`{"metadata":["document","tracking"]}`: NoKind,
		``:                                     NoKind,
		`{`:                                    NoKind,
		"device,serial\n":                      NoKind,
	} {
		if got := Detect([]byte(head)); got != want {
			t.Errorf("%.60q: %v, want %v", head, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{osvRecord, cveRecordText, nvdRecord, githubRecord, string(sample(f)), "[" + osvRecord + "]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := Read(bytes.NewReader(b))
		again, err2 := Read(bytes.NewReader(b))
		if fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%v, then %v", err, err2)
		}
		if diff := cmp.Diff(docs, again); diff != "" {
			t.Fatal(diff)
		}
		// What we read, another decoder reads.
		var tr tree
		end, err := tr.parse(b, 0, true)
		if err == nil && !json.Valid(b[:end]) && end-space(b, 0) > 0 {
			t.Fatal("we read what is no JSON")
		}
		if err == nil && space(b, end) == len(b) {
			compareJSON(t, tr.root(), b)
		}
		if err != nil && errors.Is(err, ErrSyntax) && json.Valid(b) {
			t.Fatal("we refuse what is JSON")
		}
		Detect(b)
		var skip tree
		if other, err2 := skip.parse(b, 0, false); err == nil && (err2 != nil || other != end) {
			t.Fatal("passing over is not reading")
		}
	})
}

// compareJSON holds the strings of a tree against those of encoding/json.
func compareJSON(t *testing.T, v value, b []byte) {
	if v.kind() != '"' {
		return
	}
	var want string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(want, "\uFFFD") && v.str() != want {
		t.Fatalf("%q, want %q", v.str(), want)
	}
}
