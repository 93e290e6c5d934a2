// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"maps"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/match/version"
)

// TestMedicalVersions holds what is read from the versions of CISA's medical
// advisories: nine of ten leaves are understood.
func TestMedicalVersions(t *testing.T) {
	paths, kinds := corpusFiles(t)
	count := map[string]int{}
	total := 0
	for _, p := range paths {
		if kinds[p] != "csaf2-advisory-medical" {
			continue
		}
		var tr tree
		if _, err := tr.parse(corpusFile(t, p), 0, true); err != nil {
			t.Fatal(err)
		}
		products := readProductTree(tr.root().get("product_tree")).products
		for _, id := range slices.Sorted(maps.Keys(products)) {
			p := products[id]
			kind := p.versions()
			count[kind]++
			total++
			if kind == "review" {
				t.Logf("review: %-40.40s %q: %s", p.Name, p.Version, p.Text.Why)
			}
		}
	}
	for _, kind := range []string{"range", "all", "date", "models", "review"} {
		t.Logf("%-7s %4d  %4.1f %%", kind, count[kind], 100*float64(count[kind])/float64(total))
	}
	if total != 490 {
		t.Errorf("%d leaves, want 490", total)
	}
	if count["review"]*10 > total {
		t.Errorf("%d of %d version leaves are for review, want at most one in ten", count["review"], total)
	}
}

// versions says what became of a product's versions.
func (p *Product) versions() string {
	switch {
	case p.HasRange || p.Text.Kind == version.Versions:
		return "range"
	case p.Text.Kind == version.All:
		return "all"
	case p.Text.Kind == version.Dates:
		return "date"
	case len(p.Text.Models) > 0:
		return "models"
	}
	return "review"
}
