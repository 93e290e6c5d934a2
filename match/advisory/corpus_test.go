// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const corpus = "../../../shared/advisories"

// corpusFiles returns the files of the material beside the project, in order, with their kinds.
func corpusFiles(t testing.TB) (paths []string, kinds map[string]string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(corpus, "MANIFEST.tsv"))
	if err != nil {
		t.Skip("no ../shared/advisories beside the project")
	}
	kinds = map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(manifest)), "\n")[1:] {
		f := strings.Split(line, "\t")
		paths = append(paths, f[0])
		kinds[f[0]] = f[1]
	}
	return paths, kinds
}

func corpusFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpus, path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCorpus reads every file of the corpus, each by the reader of its kind, and
// refuses those that are no advisories.
func TestCorpus(t *testing.T) {
	paths, manifest := corpusFiles(t)
	kinds := map[string]Kind{
		"csaf2-advisory-ics": CSAF, "csaf2-advisory-medical": CSAF, "csaf2-example": CSAF, "cve5+ssvc": CVE5,
		"osv": OSV, "osv-fixture": OSV, "nvd-fixture": NVD, "github-fixture": GitHub, "kev": KEVCatalog, "epss": EPSSScores,
		"kev-schema": NoKind, "schema": NoKind,
		"epss-fixture": NoKind, // one answer of an interface, not a day's scores
	}
	type tally struct{ files, docs, vulnerabilities, statements, withdrawn, refused int }
	table := map[string]*tally{}
	ssvc, exploited := 0, 0
	for _, p := range paths {
		want, known := kinds[manifest[p]]
		if !known {
			t.Errorf("%s: the manifest has a kind that this test does not know: %s", p, manifest[p])
		}
		if strings.Contains(p, "/ROLIE/") || strings.Contains(p, "/aggregator/") {
			want = NoKind // lists of advisories, none themselves
		}
		b := corpusFile(t, p)
		if got := Detect(b[:min(len(b), 4096)]); got != want {
			t.Errorf("%s: taken for %v, want %v", p, got, want)
		}
		row := table[manifest[p]]
		if row == nil {
			row = &tally{}
			table[manifest[p]] = row
		}
		row.files++
		switch want {
		case KEVCatalog:
			all, err := ReadKEV(bytes.NewReader(b))
			if err != nil || len(all) != 1404 {
				t.Errorf("%s: %d rows, %v", p, len(all), err)
			}
			row.vulnerabilities = len(all)
			continue
		case EPSSScores:
			e, err := ReadEPSS(bytes.NewReader(b))
			if err != nil || e.Len() != bytes.Count(b, []byte("\nCVE-")) {
				t.Errorf("%s: %v", p, err)
				continue
			}
			row.vulnerabilities = e.Len()
			continue
		}
		docs, err := Read(bytes.NewReader(b))
		if (err == nil) != (want != NoKind) {
			t.Errorf("%s: %v", p, err)
		}
		if err != nil {
			row.refused++
		}
		for _, d := range docs {
			if d.Kind != want || d.ID == "" {
				t.Errorf("%s: read as %v %q", p, d.Kind, d.ID)
			}
			row.docs++
			if d.Withdrawn {
				row.withdrawn++
			}
			for _, v := range d.Vulnerabilities {
				if s := v.SSVC; s != nil && s.Exploitation != "" && s.Automatable != "" && s.TechnicalImpact != "" {
					ssvc++
				}
				if v.KEV && d.Kind == CVE5 {
					exploited++
				}
				row.vulnerabilities++
				row.statements += len(v.Statements)
			}
		}
	}
	if ssvc != 105 || exploited != 70 {
		t.Errorf("CISA's container: %d SSVC answers and %d known exploited, want 105 and 70", ssvc, exploited)
	}
	t.Logf("%-24s %6s %9s %9s %15s %10s %9s", "kind", "files", "refused", "documents", "vulnerabilities", "statements", "withdrawn")
	for _, p := range paths {
		if row := table[manifest[p]]; row != nil {
			t.Logf("%-24s %6d %9d %9d %15d %10d %9d", manifest[p], row.files, row.refused, row.docs, row.vulnerabilities, row.statements, row.withdrawn)
			delete(table, manifest[p])
		}
	}
}

// TestListedVersions asks the ranges of PyPI's records for the versions that the
// same records list.
func TestListedVersions(t *testing.T) {
	corpusFiles(t)
	docs, err := Read(bytes.NewReader(corpusFile(t, "osv/pypa.jsonl")))
	if err != nil {
		t.Fatal(err)
	}
	differs := map[string]string{
		"PYSEC-2023-61":  "lists the pre-releases before the version that its ranges begin with",
		"PYSEC-2023-177": "lists the fixed version and what follows it",
		"PYSEC-2024-1":   "has no range of versions",
		"PYSEC-2021-114": "lists the fixed version",
	}
	n := 0
	for _, d := range docs {
		for _, s := range d.Vulnerabilities[0].Statements {
			for _, v := range s.Product.Versions {
				if n++; !s.Product.Range.Contains(v) && differs[d.ID] == "" {
					t.Errorf("%s: %s lists %s, which is not in %s", d.ID, s.Product.Name, v, s.Product.Range.Vers())
				}
			}
		}
	}
	if n != 45813 {
		t.Errorf("%d versions, want 45,813", n)
	}
}
