// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
)

// versionsOf are n versions of a package.
func versionsOf(n int) (all []sbom.Component) {
	for i := range n {
		all = append(all, sbom.Component{Name: "a", Version: fmt.Sprint("1.", i), PURL: fmt.Sprint("pkg:pypi/a@1.", i), Parent: -1})
	}
	return all
}

// always are n records that each cover every version of a package.
func always(x *Index, n int) {
	for i := range n {
		x.AddAdvisory(about(fmt.Sprint("M-", i), nil, advisory.Statement{Product: advisory.Product{Ecosystem: "PyPI", Package: "a", HasRange: true, Range: version.Every(version.PyPI)}}))
	}
}

// Twenty thousand versions of one package and three thousand records that cover
// all of them are sixty million hits, and two megabytes of text.
func TestManyTimesMany(t *testing.T) {
	x := NewIndex(nil)
	x.AddSBOM(bom("s", "2", append(versionsOf(20_000), sbom.Component{Name: "b", Version: "1", PURL: "pkg:pypi/b@1", Parent: -1})...))
	if n := x.Stats().Components; n != maxAlike+1 {
		t.Errorf("%d components, want %d: what follows them must stay", n, maxAlike+1)
	}
	if n := x.LeftOut().Components; n != 20_000-maxAlike {
		t.Errorf("%d components left out", n)
	}
	always(x, 3000)
	hits := x.All()
	if len(hits) < maxHitsOf || len(hits) >= maxHitsOf+maxAlike {
		t.Errorf("%d hits", len(hits))
	}
	if x.LeftOut().Hits == 0 {
		t.Error("nothing says that hits were left out")
	}
}

// One product that has more than its share takes nothing from the others.
func TestManyOfOne(t *testing.T) {
	x := NewIndex(nil)
	x.AddSBOM(bom("many", "2", versionsOf(maxAlike)...))
	other := bom("other", "1", sbom.Component{Name: "a", Version: "0.1", PURL: "pkg:pypi/a@0.1", Parent: -1})
	other.Components[0].Name = "Flow 100"
	_, p := x.AddSBOM(other)
	const records = maxHitsOf/maxAlike + 20
	always(x, records)
	n := 0
	for _, h := range x.All() {
		if h.Product == p {
			n++
		}
	}
	if n != records {
		t.Errorf("%d of %d hits of the other product", n, records)
	}
}

// What a bill of materials lists twice is one component of it.
func TestSameComponentTwice(t *testing.T) {
	x := NewIndex(nil)
	one := versionsOf(1)
	x.AddSBOM(bom("s", "2", append(one, one...)...))
	if n := len(x.components); n != 1 {
		t.Errorf("%d components", n)
	}
	if n := x.LeftOut(); n != (LeftOut{}) {
		t.Errorf("left out: %+v", n)
	}
}

// Many records of one vulnerability make one hit of a component.
func TestManyRecordsOfOne(t *testing.T) {
	x := NewIndex(nil)
	x.AddSBOM(bom("s", "2", versionsOf(maxAlike)...))
	for i := range 2 * maxSaid / maxAlike {
		x.AddAdvisory(about(fmt.Sprint("M-", i), []string{"CVE-2026-1000"}, advisory.Statement{Product: advisory.Product{Ecosystem: "PyPI", Package: "a", HasRange: true, Range: version.Every(version.PyPI)}}))
	}
	hits := x.All()
	if len(hits) != maxAlike || len(hits[0].Advisories) != maxSources {
		t.Errorf("%d hits, the first by %d documents", len(hits), len(hits[0].Advisories))
	}
	if x.LeftOut().Hits == 0 {
		t.Error("nothing says that statements were left out")
	}
}

// One record of many statements, and the one after it, are bounded likewise.
func TestManyStatementsOfOne(t *testing.T) {
	x := NewIndex(nil)
	x.AddSBOM(bom("s", "2", versionsOf(maxAlike)...))
	d := about("M-1", nil)
	for range 4 * maxSaid / maxAlike {
		d.Vulnerabilities[0].Statements = append(d.Vulnerabilities[0].Statements, advisory.Statement{
			Status: advisory.Affected, Product: advisory.Product{Ecosystem: "PyPI", Package: "a", HasRange: true, Range: version.Every(version.PyPI)},
		})
	}
	x.AddAdvisory(d)
	if n := len(x.All()); n != maxAlike {
		t.Errorf("%d hits", n)
	}
	if n := x.LeftOut().Hits; n != 3*maxSaid/maxAlike {
		t.Errorf("%d statements left out", n)
	}
}
