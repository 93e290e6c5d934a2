// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
)

func pump(id, version string) *register.Entry {
	return &register.Entry{ID: id, Identity: device.Identity{Manufacturer: "Adamed", Model: "Flow 500", Version: version}}
}

func bom(serial, version string, components ...sbom.Component) *sbom.Document {
	return &sbom.Document{Serial: serial, Supplier: "Adamed Ltd.", Components: append([]sbom.Component{{Name: "Flow 500", Version: version, Parent: -1}}, components...)}
}

func about(id string, aliases []string, statements ...advisory.Statement) *advisory.Document {
	for i := range statements {
		statements[i].Status = max(statements[i].Status, advisory.Affected)
	}
	return &advisory.Document{ID: id, Vulnerabilities: []advisory.Vulnerability{{ID: id, Aliases: aliases, Statements: statements}}}
}

func before(s version.Scheme, v string) version.Range {
	return version.NewRange(s, version.Interval{High: v, HighOpen: true})
}

// said writes hits as a test compares them.
func said(x *Index, hits []Hit) (out []string) {
	names := make([]string, len(x.devices))
	for id, i := range x.deviceOf {
		names[i] = id
	}
	for _, h := range hits {
		var ids, parts []string
		for _, i := range h.Devices.ToArray() {
			ids = append(ids, names[i])
		}
		if h.Component >= 0 {
			name, v := x.Component(h.Component)
			parts = append(parts, name+"@"+v)
		}
		out = append(out, fmt.Sprintf("%s %s %v %v by %v", h.Vulnerability, h.Certainty, ids, parts, h.Advisories))
	}
	slices.Sort(out)
	return out
}

func TestComponents(t *testing.T) {
	lib := func(purl, v string) sbom.Component { return sbom.Component{Name: "x", PURL: purl, Version: v} }
	for _, test := range []struct {
		name      string
		component sbom.Component
		product   advisory.Product
		want      Certainty
	}{
		{"a package", lib("pkg:golang/golang.org/x/net@v0.1.0", "v0.1.0"), advisory.Product{Ecosystem: "Go", Package: "golang.org/x/net", HasRange: true, Range: before(version.Go, "0.2.0")}, Exact},
		{"a newer one", lib("pkg:golang/golang.org/x/net@v0.2.0", "v0.2.0"), advisory.Product{Ecosystem: "Go", Package: "golang.org/x/net", HasRange: true, Range: before(version.Go, "0.2.0")}, ""},
		{"another package", lib("pkg:golang/golang.org/x/text@v0.1.0", "v0.1.0"), advisory.Product{Ecosystem: "Go", Package: "golang.org/x/net", HasRange: true, Range: before(version.Go, "0.2.0")}, ""},
		{"another ecosystem", lib("pkg:npm/requests@1.0.0", "1.0.0"), advisory.Product{Ecosystem: "PyPI", Package: "requests", HasRange: true, Range: before(version.PyPI, "2")}, ""},
		{"PyPI's spelling", lib("pkg:pypi/ruamel-yaml@0.1", "0.1"), advisory.Product{Ecosystem: "PyPI", Package: "ruamel_yaml", HasRange: true, Range: before(version.PyPI, "1")}, Exact},
		{"another one", lib("pkg:pypi/Ruamel._yaml@0.1", "0.1"), advisory.Product{Ecosystem: "PyPI", Package: "ruamel.yaml", HasRange: true, Range: before(version.PyPI, "1")}, Exact},
		{"a path with capitals", lib("pkg:golang/github.com/masterminds/goutils@v1.1.0", "v1.1.0"), advisory.Product{Ecosystem: "Go", Package: "github.com/Masterminds/goutils", HasRange: true, Range: before(version.Go, "1.1.1")}, Exact},
		{"no version", lib("pkg:npm/lodash", ""), advisory.Product{Ecosystem: "npm", Package: "lodash", HasRange: true, Range: before(version.NPM, "4.17.21")}, Review},
		{"a version that is none", lib("pkg:npm/lodash@latest", "latest"), advisory.Product{Ecosystem: "npm", Package: "lodash", HasRange: true, Range: before(version.NPM, "4.17.21")}, Review},
		{"a listed version", lib("pkg:pypi/x@1.0rc1", "1.0rc1"), advisory.Product{Ecosystem: "PyPI", Package: "x", HasRange: true, Range: version.Range{Scheme: version.PyPI}, Versions: []string{"1.0rc1"}}, Exact},
		{"a release of a distribution", lib("pkg:deb/debian/openssl@3.0.1-1?distro=debian-12", "3.0.1-1"), advisory.Product{Ecosystem: "Debian:12", Package: "openssl", HasRange: true, Range: before(version.Debian, "3.0.2-1")}, Exact},
		{"another release", lib("pkg:deb/debian/openssl@3.0.1-1?distro=debian-11", "3.0.1-1"), advisory.Product{Ecosystem: "Debian:12", Package: "openssl", HasRange: true, Range: before(version.Debian, "3.0.2-1")}, ""},
		{"no release", lib("pkg:deb/debian/openssl@3.0.1-1", "3.0.1-1"), advisory.Product{Ecosystem: "Debian:12", Package: "openssl", HasRange: true, Range: before(version.Debian, "3.0.2-1")}, Likely},
		{"a CPE name", sbom.Component{Name: "zlib", Version: "1.2.11", CPEs: []string{"cpe:2.3:a:zlib:zlib:1.2.11:*:*:*:*:*:*:*"}}, advisory.Product{CPE: "cpe:2.3:a:zlib:zlib:*:*:*:*:*:*:*:*", Manufacturer: "zlib", Name: "zlib", HasRange: true, Range: before(version.Generic, "1.2.12")}, Exact},
		{"hardware of that CPE name", sbom.Component{Name: "chip", Version: "1", CPEs: []string{"cpe:2.3:h:zlib:zlib:1:*:*:*:*:*:*:*"}}, advisory.Product{CPE: "cpe:2.3:a:zlib:zlib:*:*:*:*:*:*:*:*", Manufacturer: "zlib", Name: "zlib", HasRange: true, Range: before(version.Generic, "1.2.12")}, ""},
		{"supplier and name", sbom.Component{Name: "DCMTK", Version: "3.6.5", Supplier: "OFFIS e.V."}, advisory.Product{Manufacturer: "OFFIS", Name: "DCMTK", HasRange: true, Range: before(version.Generic, "3.6.7")}, Likely},
		{"the name alone", sbom.Component{Name: "dcmtk", Version: "3.6.5"}, advisory.Product{Manufacturer: "OFFIS", Name: "DCMTK", HasRange: true, Range: before(version.Generic, "3.6.7")}, Review},
		{"another supplier", sbom.Component{Name: "dcmtk", Version: "3.6.5", Supplier: "Contoso"}, advisory.Product{Manufacturer: "OFFIS", Name: "DCMTK", HasRange: true, Range: before(version.Generic, "3.6.7")}, ""},
		{"NuGet's spelling", lib("pkg:nuget/newtonsoft.json@12.0.1", "12.0.1"), advisory.Product{Ecosystem: "NuGet", Package: "Newtonsoft.Json", HasRange: true, Range: before(version.NuGet, "13.0.1")}, Exact},
		{"npm tells case apart", lib("pkg:npm/JSONStream@1.0.0", "1.0.0"), advisory.Product{Ecosystem: "npm", Package: "jsonstream", HasRange: true, Range: before(version.NPM, "2.0.0")}, ""},
		{"a package called like a product of nobody", lib("pkg:generic/core@1.0.0", "1.0.0"), advisory.Product{Name: "core", HasRange: true, Range: before(version.Generic, "2")}, ""},
		{"a generic package called like a product", lib("pkg:generic/core@1.0.0", "1.0.0"), advisory.Product{Manufacturer: "acme", Name: "core", HasRange: true, Range: before(version.Generic, "2")}, Review},
		{"a package called like a product", lib("pkg:npm/core@1.0.0", "1.0.0"), advisory.Product{Manufacturer: "acme", Name: "core", HasRange: true, Range: before(version.Generic, "2")}, ""},
	} {
		if test.component.Name == "x" {
			test.component.Name = test.component.PURL[strings.LastIndexByte(test.component.PURL, '/')+1:]
			test.component.Name, _, _ = strings.Cut(test.component.Name, "@")
		}
		doc := about("CVE-2024-1", nil, advisory.Statement{Product: test.product})
		x, narrow := NewIndex(nil), NewIndex(nil)
		narrow.AddAdvisory(doc)
		narrow.Narrow()
		for _, x := range []*Index{x, narrow} {
			x.AddSBOM(bom("urn:1", "2.1.4", sbom.Component{Name: "else", PURL: "pkg:golang/example.org/else@1.0.0"}, test.component))
			x.AddDevice(pump("pump-3", "2.1.4"))
			x.AddDevice(pump("pump-4", "2.2.0"))
		}
		hits := x.Affected(doc)
		if diff := cmp.Diff(said(x, hits), said(narrow, narrow.All())); diff != "" || narrow.Stats().Components > 1 {
			t.Errorf("%s: narrow with %d components: %s", test.name, narrow.Stats().Components, diff)
		}
		var got Certainty
		for _, h := range hits {
			got = h.Certainty
			if !slices.Equal(h.Devices.ToArray(), []uint32{0}) && !h.Devices.IsEmpty() || h.Component < 0 || len(h.Why) == 0 {
				t.Errorf("%s: %+v", test.name, h)
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestOrder: whatever comes first, devices, bills of materials or advisories,
// the answer is the same.
func TestOrder(t *testing.T) {
	net := sbom.Component{Name: "net", PURL: "pkg:golang/golang.org/x/net@v0.1.0", Version: "v0.1.0"}
	steps := []func(*Index){
		func(x *Index) { x.AddSBOM(bom("urn:1", "2.1.4", net)) },
		func(x *Index) { x.AddDevice(pump("pump-3", "2.1.4")) },
		func(x *Index) { x.AddDevice(pump("pump-4", "2.2.0")) },
		func(x *Index) {
			x.AddDevice(&register.Entry{ID: "odd", SBOM: "urn:1", Identity: device.Identity{Manufacturer: "Other", Model: "Thing"}})
		},
		func(x *Index) {
			x.AddAdvisory(about("GO-2024-1", []string{"CVE-2024-1"}, advisory.Statement{Product: advisory.Product{Ecosystem: "Go", Package: "golang.org/x/net", HasRange: true, Range: before(version.Go, "0.2.0")}}))
		},
		func(x *Index) {
			x.AddAdvisory(about("ADA-2026-01", []string{"CVE-2024-1"}, advisory.Statement{Product: advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", Text: version.ParseText("< 2.2.0"), Version: "< 2.2.0"}}))
		},
	}
	want := []string{
		"CVE-2024-1 exact [odd] [pkg:golang/golang.org/x/net@v0.1.0] by [GO-2024-1]",
		"CVE-2024-1 exact [pump-3] [] by [ADA-2026-01 GO-2024-1]",
	}
	for first := range steps {
		x := NewIndex(nil)
		for i := range steps {
			steps[(first+i)%len(steps)](x)
		}
		if diff := cmp.Diff(want, said(x, x.All())); diff != "" {
			t.Errorf("from step %d: %s", first, diff)
		}
	}
}

func TestChanges(t *testing.T) {
	x := NewIndex(nil)
	net := func(v string) sbom.Component {
		return sbom.Component{Name: "net", PURL: "pkg:golang/golang.org/x/net@" + v, Version: v}
	}
	x.AddAdvisory(about("GO-2024-1", []string{"CVE-2024-1"}, advisory.Statement{Product: advisory.Product{Ecosystem: "Go", Package: "golang.org/x/net", HasRange: true, Range: before(version.Go, "0.2.0")}}))
	x.AddSBOM(bom("urn:1", "2.1.4", net("v0.1.0")))
	x.AddDevice(pump("pump-3", "2.1.4"))
	x.AddDevice(pump("pump-4", "2.1.4"))
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, said(x, x.All())); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("at first", "CVE-2024-1 exact [pump-3 pump-4] [pkg:golang/golang.org/x/net@v0.1.0] by [GO-2024-1]")
	x.AddDevice(pump("pump-4", "2.2.0"))
	check("one is updated", "CVE-2024-1 exact [pump-3] [pkg:golang/golang.org/x/net@v0.1.0] by [GO-2024-1]")
	x.RemoveDevice("pump-3")
	check("the other is gone", "CVE-2024-1 exact [] [pkg:golang/golang.org/x/net@v0.1.0] by [GO-2024-1]")
	x.AddSBOM(bom("urn:1", "2.1.4", net("v0.2.0")))
	check("the bill of materials is corrected")
	if n := len(x.products[x.sboms[0].product].bills); n != 1 {
		t.Errorf("a product has %d bills of materials that are about it, want 1", n)
	}
	x.AddSBOM(bom("urn:3", "2.2.0", net("v0.1.5")))
	x.AddSBOM(bom("urn:3", "9.9", net("v0.2.5")))
	x.AddDevice(pump("pump-5", "2.2.0"))
	check("a bill is about another version now")
	x.RemoveDevice("pump-5")
	x.AddSBOM(bom("urn:2", "2.2.0", net("v0.1.5")))
	check("a bill for the newer version", "CVE-2024-1 exact [pump-4] [pkg:golang/golang.org/x/net@v0.1.5] by [GO-2024-1]")
	x.AddAdvisory(about("GO-2024-1", []string{"CVE-2024-1"}, advisory.Statement{Product: advisory.Product{Ecosystem: "Go", Package: "golang.org/x/net", HasRange: true, Range: before(version.Go, "0.1.1")}}))
	check("the advisory is corrected")
}

// TestNoSubject: a bill of materials that does not say of what still counts,
// by itself and for the devices whose register names it.
func TestNoSubject(t *testing.T) {
	x := NewIndex(nil)
	d := bom("urn:1", "", sbom.Component{Name: "a", PURL: "pkg:npm/a@1.0.0", Version: "1.0.0"})
	d.Subject, d.Components = -1, d.Components[1:]
	x.AddSBOM(d)
	hits, _ := x.Find("pkg:npm/a")
	if len(hits) != 1 || x.Product(hits[0].Product).Model != "urn:1" {
		t.Errorf("%v", said(x, hits))
	}
	e := pump("pump-3", "2.1.4")
	e.SBOM = "urn:1"
	x.AddDevice(e)
	hits, _ = x.Find("pkg:npm/a")
	if diff := cmp.Diff([]string{" exact [pump-3] [pkg:npm/a@1.0.0] by []"}, said(x, hits)); diff != "" {
		t.Error(diff)
	}
}

// TestContains: a component is found where the surest document lists it, by its
// place there and as it is written there.
func TestContains(t *testing.T) {
	x := NewIndex(nil)
	a := func(name string) sbom.Component {
		return sbom.Component{Name: name, PURL: "pkg:pypi/a_b@1.0", Version: "1.0"}
	}
	_, product := x.AddSBOM(bom("urn:1", "2.1.4", sbom.Component{Name: "c", Version: "1"}, sbom.Component{}, a("A_b"), a("a-b")))
	other, _ := x.AddSBOM(bom("urn:2", "", a("a.b")))
	x.AddDevice(pump("pump-3", "2.1.4"))
	hits, _ := x.Find("pkg:pypi/a-b")
	if len(hits) == 0 {
		t.Fatal("the component is not found")
	}
	got, ok := x.Contains(product, hits[0].Component)
	if want := (Place{Bill: 0, At: 3, Of: 5, Named: "A_b"}); !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !x.Installed(0) || !x.Installed(other) {
		t.Error("the pump is made of something else")
	}
	x.RemoveDevice("pump-3")
	if x.Installed(0) {
		t.Error("the pump is gone, and its bill of materials still installed")
	}
	x.AddSBOM(bom("urn:1", "2.1.4"))
	if got, _ := x.Contains(product, hits[0].Component); got.Bill != other {
		t.Errorf("after a correction %+v, want one of bill %d", got, other)
	}
}

// TestPackageNames holds that a package of an ecosystem is not looked for in the
// names of products, unless the product is that package, and that the number of
// a bill of materials is no name.
func TestPackageNames(t *testing.T) {
	for _, test := range []struct {
		pack, maker, model string
		hits               int
	}{
		{"golang.org/x/image", "", "golang.org/x/text", 0},
		{"github.com/elsewhere/go-flow", "Adamed", "go-flow", 0},
		{"k8s.io/kubernetes", "", "k8s.io/kubernetes", 1},
	} {
		x := NewIndex(nil)
		x.AddDevice(&register.Entry{ID: "one", Identity: device.Identity{Manufacturer: test.maker, Model: test.model, Version: "1.0.0"}})
		p := advisory.Product{Name: test.pack, Ecosystem: "Go", Package: test.pack, HasRange: true, Range: before(version.Go, "2.0.0")}
		if hits := x.Affected(about("GO-1", nil, advisory.Statement{Product: p})); len(hits) != test.hits {
			t.Errorf("%s, %s: %d hits, want %d: %+v", test.pack, test.model, len(hits), test.hits, hits)
		}
	}
	x := NewIndex(nil)
	x.AddSBOM(&sbom.Document{Serial: "http://spdx.example/documents/1", Subject: -1, Components: []sbom.Component{{Name: "zlib", Version: "1.2"}}})
	if hits := x.Affected(about("CVE-2026-1", nil, advisory.Statement{Product: advisory.Product{Name: "http", Version: "2.0"}})); len(hits) != 0 {
		t.Errorf("a serial number was taken for a name: %+v", hits)
	}
}

// TestOneCause: a CVE by any of its names and several documents is one hit for
// each component, and no device is in two for one.
func TestOneCause(t *testing.T) {
	x := NewIndex(nil)
	x.AddDevice(pump("pump-3", "2.1.4"))
	x.AddDevice(pump("pump-5", ""))
	x.AddSBOM(bom("urn:1", "2.1.4",
		sbom.Component{Name: "a", PURL: "pkg:npm/a@1.0.0", Version: "1.0.0"},
		sbom.Component{Name: "b", PURL: "pkg:npm/b@1.0.0", Version: "1.0.0"}))
	npm := func(name string) advisory.Statement {
		return advisory.Statement{Product: advisory.Product{Ecosystem: "npm", Package: name, HasRange: true, Range: before(version.NPM, "2.0.0")}}
	}
	x.AddAdvisory(about("GHSA-1", nil, npm("a"), npm("b")))
	x.AddAdvisory(about("CVE-2024-1", []string{"GHSA-1"}, npm("a")))
	x.AddAdvisory(about("OSV-1", []string{"GHSA-1"}, npm("a")))
	want := []string{
		"CVE-2024-1 exact [pump-3] [pkg:npm/a@1.0.0] by [CVE-2024-1 GHSA-1 OSV-1]",
		"CVE-2024-1 exact [pump-3] [pkg:npm/b@1.0.0] by [GHSA-1]",
		"CVE-2024-1 review [pump-5] [pkg:npm/a@1.0.0] by [CVE-2024-1 GHSA-1 OSV-1]",
		"CVE-2024-1 review [pump-5] [pkg:npm/b@1.0.0] by [GHSA-1]",
	}
	if diff := cmp.Diff(want, said(x, x.All())); diff != "" {
		t.Error(diff)
	}
	for _, q := range []string{"CVE-2024-1", "ghsa-1", "OSV-1", "cve-2024-1"} {
		hits, known := x.Find(q)
		if !known || len(hits) != len(want) || hits[0].Vulnerability != "CVE-2024-1" {
			t.Errorf("%s: %v %v", q, known, said(x, hits))
		}
	}
	for q, want := range map[string]int{"pkg:npm/a": 2, "pkg:npm/a@1.0.0": 2, "pkg:npm/a@2.0.0": 0, "a": 2, "Flow 500": 2, "Flow 600": 0, "CVE-2024-2": 0} {
		if hits, known := x.Find(q); len(hits) != want || known != (want > 0) {
			t.Errorf("%s: %v %v", q, known, said(x, hits))
		}
	}
}

func TestStatuses(t *testing.T) {
	whole := func(s advisory.Status, v string) advisory.Statement {
		return advisory.Statement{Status: s, Product: advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", Version: v, Text: version.ParseText(v)}}
	}
	x := NewIndex(nil)
	x.AddDevice(pump("pump-3", "2.1.4"))
	x.AddDevice(pump("pump-4", "2.1.5"))
	got := said(x, x.Affected(about("CVE-2024-1", nil, whole(advisory.Affected, "< 2.2.0"), whole(advisory.Fixed, "2.1.5"))))
	if diff := cmp.Diff([]string{"CVE-2024-1 exact [pump-3] [] by [CVE-2024-1]"}, got); diff != "" {
		t.Error(diff)
	}
	if hits := x.Affected(about("CVE-2024-1", nil, whole(advisory.UnderInvestigation, "< 2.1.5"))); len(hits) != 1 || hits[0].Status != advisory.UnderInvestigation {
		t.Errorf("under investigation: %v", said(x, hits))
	}
	d := about("CVE-2024-1", nil, whole(advisory.Affected, "< 2.2.0"))
	d.Withdrawn = true
	if hits := x.Affected(d); len(hits) != 0 {
		t.Errorf("withdrawn: %v", said(x, hits))
	}

	// A component of one product says nothing of another that has it.
	x.AddSBOM(bom("urn:1", "2.1.4", sbom.Component{Name: "tls", PURL: "pkg:generic/tls@1", Version: "1"}))
	part := advisory.Statement{Product: advisory.Product{
		PURL: "pkg:generic/tls", Name: "tls", Manufacturer: "z", HasRange: true, Range: version.Every(version.Generic), Relation: "installed_on",
		Within: &advisory.Product{Manufacturer: "Adamed", Name: "FlowLink", Text: version.ParseText("*"), Version: "*"},
	}}
	if hits := x.Affected(about("CVE-2024-2", nil, part)); len(hits) != 0 {
		t.Errorf("a component of another product: %v", said(x, hits))
	}
	part.Product.Within.Name = "Flow 500"
	got = said(x, x.Affected(about("CVE-2024-2", nil, part)))
	if diff := cmp.Diff([]string{"CVE-2024-2 exact [pump-3] [pkg:generic/tls@1] by [CVE-2024-2]", "CVE-2024-2 review [pump-4] [] by [CVE-2024-2]"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDatesAndSerials(t *testing.T) {
	x := NewIndex(nil)
	for id, when := range map[string][2]string{"old": {"2018-03-31", ""}, "new": {"2018-04-02", ""}, "none": {"", ""}, "year": {"2018", ""}, "sold": {"", "2018-05-01"}, "kept": {"2017-01-01", "2018-05-01"}} {
		e := pump(id, "")
		e.Made, e.Distributed = when[0], when[1]
		e.Serial = "SN-" + id
		x.AddDevice(e)
	}
	ids := func(hits []Hit, c Certainty) (out []string) {
		for _, s := range said(x, hits) {
			if strings.Contains(s, " "+string(c)+" ") {
				list, _, _ := strings.Cut(s[strings.IndexByte(s, '[')+1:], "]")
				out = strings.Fields(list)
			}
		}
		slices.Sort(out)
		return out
	}
	p := advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", Version: "distributed < april 1, 2018"}
	p.Text = version.ParseText(p.Version)
	hits := x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p}))
	if diff := cmp.Diff([]string{"old"}, ids(hits, Exact)); diff != "" {
		t.Error("exact: ", diff)
	}
	if diff := cmp.Diff([]string{"none", "year"}, ids(hits, Review)); diff != "" {
		t.Error("review: ", diff)
	}

	p = advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", Version: "*", Text: version.ParseText("*"), Serials: []string{"SN-o??", `SN-n*e`}}
	hits = x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p}))
	if diff := cmp.Diff([]string{"none", "old"}, ids(hits, Exact)); diff != "" || len(hits) != 1 {
		t.Error("serials: ", diff)
	}
}

// A model that an advisory names where versions stand, in words that are no
// list of models, is for a person to review and is not lost.
func TestModelForVersion(t *testing.T) {
	x := NewIndex(nil)
	for _, model := range []string{"cobas h 232", "cobas b 123", "Flow 500"} {
		x.AddDevice(&register.Entry{ID: model, Identity: device.Identity{Manufacturer: "Roche", Model: model}})
	}
	p := advisory.Product{Manufacturer: "Roche Diagnostics", Name: "Point of Care handheld medical devices", Version: "cobas h 232 POC"}
	p.Text = version.ParseText(p.Version)
	hits := x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p}))
	if len(hits) != 1 || hits[0].Certainty != Review || hits[0].Devices.GetCardinality() != 1 || !hits[0].Devices.Contains(0) {
		t.Errorf("%v", said(x, hits))
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"*", "", true},
		{"*", "abc", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"a*c*e", "abcde", true},
		{"a*c", "abcd", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{"**a", "ba", true},
		{"a", "", false},
		{"", "a", false},
	} {
		if glob(test.pattern, test.s) != test.want {
			t.Errorf("glob(%q, %q) is not %v", test.pattern, test.s, test.want)
		}
	}
}

// TestFirmwareCPE: NVD names a device by the firmware's CPE name.
func TestFirmwareCPE(t *testing.T) {
	x := NewIndex(nil)
	x.AddDevice(&register.Entry{ID: "mon-1", Identity: device.Identity{Manufacturer: "Philips Healthcare", Model: "IntelliVue MX450", Version: "M.02"}})
	x.AddDevice(&register.Entry{ID: "mon-2", Identity: device.Identity{Manufacturer: "Philips Healthcare", Model: "IntelliVue MX550", Version: "M.02"}})
	p := advisory.Product{
		CPE: "cpe:2.3:o:philips:intellivue_mx450_firmware:*:*:*:*:*:*:*:*", Manufacturer: "philips", Name: "intellivue_mx450_firmware",
		HasRange: true, Range: before(version.Generic, "N"),
	}
	got := said(x, x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p})))
	if diff := cmp.Diff([]string{"CVE-2024-1 likely [mon-1] [] by [CVE-2024-1]"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestTwoParts: of a vulnerability that is in two components of one product each
// is told of, with the advisory that names it.
func TestTwoParts(t *testing.T) {
	x := NewIndex(nil)
	x.AddSBOM(bom("urn:1", "2.1.4",
		sbom.Component{Name: "evmos", Version: "v1.4.0", PURL: "pkg:golang/github.com/evmos/evmos@v1.4.0"},
		sbom.Component{Name: "v3", Version: "v3.4.0", PURL: "pkg:golang/github.com/evmos/evmos/v3@v3.4.0"}))
	x.AddDevice(pump("pump-1", "2.1.4"))
	module := func(name string) advisory.Statement {
		return advisory.Statement{Product: advisory.Product{Ecosystem: "Go", Package: name, HasRange: true, Range: before(version.Go, "12.0.0")}}
	}
	one := about("GO-1", []string{"CVE-2024-1"}, module("github.com/evmos/evmos"))
	other := about("GO-2", []string{"CVE-2024-1"}, module("github.com/evmos/evmos/v3"))
	x.AddAdvisory(one)
	x.AddAdvisory(other)
	want := []string{
		"CVE-2024-1 exact [pump-1] [pkg:golang/github.com/evmos/evmos/v3@v3.4.0] by [GO-2]",
		"CVE-2024-1 exact [pump-1] [pkg:golang/github.com/evmos/evmos@v1.4.0] by [GO-1]",
	}
	if diff := cmp.Diff(want, said(x, x.All())); diff != "" {
		t.Error(diff)
	}
}

// TestSlowly: whatever is added, replaced and removed in whatever order, the
// index answers as a search through everything does.
func TestSlowly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := NewIndex(nil)
		type have struct{ model, version int }
		devices := map[string]have{}
		bills := map[have]map[string]string{} // package -> version
		number := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			h := have{number(3, "model"), number(3, "version")}
			id := fmt.Sprintf("device-%d", number(12, "device"))
			switch number(5, "step") {
			case 0, 1:
				devices[id] = h
				x.AddDevice(&register.Entry{ID: id, Identity: device.Identity{Manufacturer: "Adamed", Model: fmt.Sprintf("Flow %d00", h.model+1), Version: fmt.Sprintf("%d.0", h.version)}})
			case 2:
				delete(devices, id)
				x.RemoveDevice(id)
			default:
				d := &sbom.Document{
					Serial: fmt.Sprintf("urn:%d-%d", h.model, h.version), Supplier: "Adamed Ltd.",
					Components: []sbom.Component{{Name: fmt.Sprintf("Flow %d00", h.model+1), Version: fmt.Sprintf("%d.0", h.version)}},
				}
				bills[h] = map[string]string{}
				for i := range 3 {
					if v := number(4, "component"); v > 0 {
						name, v := fmt.Sprintf("lib%d", i), fmt.Sprintf("1.%d.0", v)
						bills[h][name] = v
						d.Components = append(d.Components, sbom.Component{Name: name, Version: v, PURL: "pkg:npm/" + name + "@" + v})
					}
				}
				x.AddSBOM(d)
			}
		}
		for i := range 3 {
			for limit := 1; limit < 5; limit++ {
				name, bound := fmt.Sprintf("lib%d", i), fmt.Sprintf("1.%d.0", limit)
				var want, got []string
				for id, h := range devices {
					if v, ok := bills[h][name]; ok && v < bound {
						want = append(want, id)
					}
				}
				ids := map[uint32]string{}
				for id, i := range x.deviceOf {
					ids[i] = id
				}
				for _, h := range x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: advisory.Product{Ecosystem: "npm", Package: name, HasRange: true, Range: before(version.NPM, bound)}})) {
					if h.Certainty != Exact {
						t.Fatalf("%s is %s: %v", name, h.Certainty, h.Why)
					}
					for _, i := range h.Devices.ToArray() {
						got = append(got, ids[i])
					}
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(want, got) {
					t.Fatalf("%s before %s: %v, want %v", name, bound, got, want)
				}
			}
		}
	})
}

func FuzzAffected(f *testing.F) {
	f.Add("Adamed", "Flow 500", "< 2.2.0", "pkg:npm/a@1", "cpe:2.3:a:b:c:1:*:*:*:*:*:*:*", "2.1.4")
	f.Add("", "MX (MX400-550)/MP2", "7100 | 7900", "pkg:deb/debian/a?distro=debian-12", "cpe:/o:a:b_firmware", "L81")
	f.Add("Acme (A)", "A / B) and C", "distributed < april 1, 2018", "", "", "v")
	f.Fuzz(func(t *testing.T, maker, name, text, purl, cpe, v string) {
		x := NewIndex(nil)
		e := &register.Entry{ID: "1", Made: v, Identity: device.Identity{Manufacturer: maker, Model: name, Version: v}}
		x.AddDevice(e)
		x.AddSBOM(&sbom.Document{Serial: v, Supplier: maker, Components: []sbom.Component{{Name: name, Version: v}, {Name: name, Version: v, PURL: purl, CPEs: []string{cpe}}}})
		p := advisory.Product{Manufacturer: maker, Name: name, Version: text, Text: version.ParseText(text), PURL: purl, CPE: cpe, Models: []string{v}, Serials: []string{text}}
		q := advisory.Product{Manufacturer: name, Name: maker, Version: v, Text: version.ParseText(text), CPE: cpe, Within: &p}
		d := about("CVE-2024-1", []string{name}, advisory.Statement{Product: p}, advisory.Statement{Product: q})
		x.AddAdvisory(d)
		for _, h := range x.Affected(d) {
			if len(h.Why) == 0 || h.Certainty.rank() == 0 {
				t.Errorf("a hit without a reason or certainty: %+v", h)
			}
		}
		x.Find(name)
		x.Find(purl)
	})
}

// TestSameID: the records of one CVE at several places are several documents, and
// a newer version of one of them replaces that alone.
func TestSameID(t *testing.T) {
	x := NewIndex(nil)
	x.AddDevice(pump("pump-3", "2.1.4"))
	x.AddDevice(pump("pump-4", "2.2.0"))
	record := func(kind advisory.Kind, publisher, below, remedy string) *advisory.Document {
		d := about("CVE-2024-1", nil, advisory.Statement{
			Product:      advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", HasRange: true, Range: before(version.Generic, below)},
			Remediations: []advisory.Remediation{{Details: remedy}},
		})
		d.Kind, d.Publisher = kind, publisher
		return d
	}
	for _, d := range []*advisory.Document{
		record(advisory.CSAF, "Adamed", "2.2.0", "update"), record(advisory.CVE5, "a", "2.3.0", "be careful"),
		record(advisory.NVD, "b", "1.0", "nothing"), record(advisory.CSAF, "CERT A", "2.2.0", "separate"), record(advisory.CSAF, "Adamed", "2.2.0", "update now"),
	} {
		x.AddAdvisory(d)
	}
	if n := x.Stats().Advisories; n != 4 {
		t.Errorf("%d documents, want 4", n)
	}
	hits, _ := x.Find("CVE-2024-1")
	if diff := cmp.Diff([]string{"CVE-2024-1 exact [pump-3] [] by [CVE-2024-1]", "CVE-2024-1 exact [pump-4] [] by [CVE-2024-1]"}, said(x, hits)); diff != "" {
		t.Error(diff)
	}
	var remedies []string
	for _, r := range hits[0].Remediations {
		remedies = append(remedies, r.Details)
	}
	if diff := cmp.Diff([]string{"update now", "be careful", "separate"}, remedies); diff != "" {
		t.Error(diff)
	}
}

// TestBeside: what is affected only together with something else is so where that
// is known to be there, and is for a person to look at where it is not.
func TestBeside(t *testing.T) {
	x := NewIndex(nil)
	windows := pump("pump-3", "2.1.4")
	windows.OS = "Windows 10 21H2"
	x.AddDevice(windows)
	x.AddDevice(pump("pump-4", "2.1.5"))
	x.AddSBOM(bom("urn:1", "2.1.5", sbom.Component{Name: "zlib", CPEs: []string{"cpe:2.3:a:zlib:zlib:1.2.0:*:*:*:*:*:*:*"}, Version: "1.2.0"}))
	every := func(cpe, vendor, name string) advisory.Product {
		return advisory.Product{CPE: cpe, Manufacturer: vendor, Name: name, HasRange: true, Range: version.Every(version.Generic)}
	}
	firmware := every("cpe:2.3:o:adamed:flow_500_firmware:*:*:*:*:*:*:*:*", "adamed", "flow_500_firmware")
	for _, test := range []struct {
		name string
		on   []advisory.Product
		want []string
	}{
		{"its hardware", []advisory.Product{every("cpe:2.3:h:adamed:flow_500:-:*:*:*:*:*:*:*", "adamed", "flow_500")}, []string{"likely [pump-3]", "likely [pump-4]"}},
		{"another hardware", []advisory.Product{every("cpe:2.3:h:adamed:flow_600:-:*:*:*:*:*:*:*", "adamed", "flow_600")}, []string{"review [pump-3]", "review [pump-4]"}},
		{"one of two", []advisory.Product{every("cpe:2.3:h:adamed:flow_600:-:*:*:*:*:*:*:*", "adamed", "flow_600"), every("cpe:2.3:h:adamed:flow_500:-:*:*:*:*:*:*:*", "adamed", "flow_500")}, []string{"likely [pump-3]", "likely [pump-4]"}},
		{"a system", []advisory.Product{every("cpe:2.3:o:microsoft:windows_10:-:*:*:*:*:*:*:*", "microsoft", "windows_10")}, []string{"likely [pump-3]", "review [pump-4]"}},
		{"a platform in words", []advisory.Product{{Name: "Windows"}}, []string{"likely [pump-3]", "review [pump-4]"}},
		{"a part", []advisory.Product{every("cpe:2.3:a:zlib:zlib:*:*:*:*:*:*:*:*", "zlib", "zlib")}, []string{"likely [pump-4]", "review [pump-3]"}},
		{"none", nil, []string{"likely [pump-3]", "likely [pump-4]"}},
	} {
		p := firmware
		p.On = test.on
		var got []string
		for _, h := range x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p})) {
			ids := []string{}
			for _, i := range h.Devices.ToArray() {
				ids = append(ids, []string{"pump-3", "pump-4"}[i])
			}
			got = append(got, fmt.Sprintf("%s %v", h.Certainty, ids))
			if h.Certainty == Review && !strings.HasPrefix(h.Why[len(h.Why)-1], "only together with ") {
				t.Errorf("%s: %q", test.name, h.Why)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	investigated := advisory.Statement{Status: advisory.UnderInvestigation, Product: advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", HasRange: true, Range: version.Every(version.Generic)}}
	for _, h := range x.Affected(about("CVE-2024-1", nil, investigated, advisory.Statement{Product: firmware})) {
		if h.Status != advisory.Affected {
			t.Errorf("one says that it is affected, and the answer is that it is looked into: %+v", h)
		}
	}
}

// TestFindVersion: a version in the question counts.
func TestFindVersion(t *testing.T) {
	x := NewIndex(nil)
	x.AddDevice(pump("pump-3", "2.1.4"))
	x.AddDevice(pump("pump-4", "2.2.0"))
	x.AddDevice(pump("pump-5", ""))
	x.AddDevice(pump("pump-6", "2"))
	x.AddSBOM(bom("urn:1", "2.1.4", sbom.Component{Name: "lwip", Version: "2.2.0"}))
	for query, want := range map[string][]string{
		"Flow 500":                {"exact [pump-3]", "exact [pump-4]", "exact [pump-5]", "exact [pump-6]"},
		"Flow 500 2.1.4":          {"exact [pump-3]", "review [pump-5]", "review [pump-6]"},
		"Adamed Flow 500 2.1.4":   {"exact [pump-3]", "review [pump-5]", "review [pump-6]"},
		"Flow 500 v2.1.4":         {"exact [pump-3]", "review [pump-5]", "review [pump-6]"},
		"Flow 500 version 2":      {"exact [pump-3]", "exact [pump-4]", "exact [pump-6]", "review [pump-5]"},
		"Flow 500 software rev 3": {"review [pump-5]"},
		"cpe:2.3:h:adamed:flow_500:2.1.4:*:*:*:*:*:*:*": {"likely [pump-3]", "review [pump-5]", "review [pump-6]"},
		"cpe:2.3:h:adamed:flow_500:*:*:*:*:*:*:*:*":     {"likely [pump-3]", "likely [pump-4]", "likely [pump-5]", "likely [pump-6]"},
		"cpe:2.3:h:adamed:flow_600:*:*:*:*:*:*:*:*":     nil,
		"lwip@2.2.0": {"exact [pump-3] lwip", "review [pump-5] lwip", "review [pump-6] lwip"},
		"lwip 2.2.1": nil,
	} {
		hits, known := x.Find(query)
		var got []string
		for _, h := range hits {
			for _, i := range h.Devices.ToArray() {
				s := fmt.Sprintf("%s [pump-%d]", h.Certainty, i+3)
				if h.Component >= 0 {
					s += " lwip"
				}
				got = append(got, s)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || known != (want != nil) {
			t.Errorf("%s: %v %s", query, known, diff)
		}
	}
}

// TestRecalledUnits: a device is found by its device identifier, which names no
// version, and is one of those that a recall means by its lot or serial number.
func TestRecalledUnits(t *testing.T) {
	const di, other = "09521000000506", "09521000000513"
	x := NewIndex(nil)
	add := func(id, model, v, di, lot, serial string) {
		e := &register.Entry{ID: id}
		e.Model, e.Version, e.UDI = model, v, device.UDI{DI: di, Lot: lot, Serial: serial}
		if model != "" {
			e.Manufacturer = "Norra Medical"
		}
		x.AddDevice(e)
	}
	add("nameless", "", "", di, "", "")
	add("newer", "", "2.2.0", di, "", "")
	add("older", "", "2.1.0", di, "A1", "")
	add("named", "Flow 500", "2.1.0", other, "B2", "F5-1")
	add("moved", "", "2.1.0", di, "", "")
	add("moved", "", "2.1.0", other, "", "")
	add("gone", "", "2.1.0", di, "", "")
	x.RemoveDevice("gone")
	for _, test := range []struct {
		name    string
		product advisory.Product
		want    []string
	}{
		{"versions", advisory.Product{Version: "2.1.4 and below", Text: version.ParseText("2.1.4 and below")}, []string{"exact [older]", "review [nameless]"}},
		{"all", advisory.Product{Version: "*", Text: version.ParseText("*")}, []string{"exact [nameless]", "exact [newer]", "exact [older]"}},
		{"prose", advisory.Product{Text: version.Text{Why: "a recall in prose"}}, []string{"review [nameless]", "review [newer]", "review [older]"}},
		{"lots", advisory.Product{Lots: []string{"A1"}}, []string{"exact [older]", "review [nameless]", "review [newer]"}},
		{"by name and lot", advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500", DIs: []string{"x"}, Lots: []string{"B2"}}, []string{"exact [named]"}},
		{"by name and another lot", advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500", DIs: []string{"x"}, Lots: []string{"A1"}}, nil},
		{"by name and a serial number of a UDI", advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500", DIs: []string{"x"}, Serials: []string{"F5-1"}}, []string{"exact [named]"}},
		{"another identifier", advisory.Product{DIs: []string{"09521000000520"}, Version: "*", Text: version.ParseText("*")}, nil},
	} {
		if test.product.DIs == nil {
			test.product.DIs = []string{di}
		}
		var got []string
		for _, s := range said(x, x.Affected(about("Z-1-2026", nil, advisory.Statement{Product: test.product}))) {
			f := strings.SplitN(s, " ", 3)
			for id := range strings.FieldsSeq(strings.Trim(f[2][:strings.IndexByte(f[2], ']')], "[")) {
				got = append(got, f[1]+" ["+id+"]")
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// TestPartOfVersion: a version that may be on both sides of a bound is for a
// person to look at, and is not where it cannot.
func TestPartOfVersion(t *testing.T) {
	for _, test := range []struct {
		says, version string
		want          Certainty
	}{
		{"<= 2.3.6", "2", Review},
		{"<= 2.3.6", "2.3", Review},
		{"<= 2.3.6", "v2", Review},
		{"<= 2.3.6", "1", Exact},
		{"<= 2.3.6", "3", ""},
		{"<= 2.3.6", "2.2", Exact},
		{"<= 2.3.6", "2.3.6", Exact},
		{"< 12.2.8.410", "12", Review},
		{"< 12.2.8.410", "12.2.8", Review},
		{"< 12.2.8.410", "12.1", Exact},
		{">= 2.1", "2", Review},
		{">= 2.0", "2", Exact},
		{"< 2.0", "2", ""},
		{"< M.04", "M", Review},
		{"< M.04", "L", Exact},
		{"2.3.6", "2.3", Review},
		{"2.3.6", "2.4", ""},
		{"*", "2", Exact},
	} {
		p := advisory.Product{Manufacturer: "Adamed", Name: "Flow 500", Version: test.says, Text: version.ParseText(test.says)}
		x := NewIndex(nil)
		x.AddDevice(pump("pump-3", test.version))
		var got Certainty
		for _, h := range x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p})) {
			got = h.Certainty
		}
		if got != test.want {
			t.Errorf("%s of %s: %q, want %q", test.version, test.says, got, test.want)
		}
	}
}

// A newer record of the same id counts, in whatever order they come, and takes
// back what it withdraws.
func TestNewerRecord(t *testing.T) {
	record := func(day int, withdrawn bool, v string) *advisory.Document {
		d := about("X-1", []string{"CVE-2026-5"}, advisory.Statement{Product: advisory.Product{Ecosystem: "npm", Package: "left", HasRange: true, Range: before(version.NPM, v)}})
		d.Kind, d.Withdrawn, d.Modified = advisory.OSV, withdrawn, time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
		return d
	}
	for _, test := range []struct {
		name   string
		second *advisory.Document
		want   int
	}{
		{"withdrawn", record(2, true, "2"), 0},
		{"withdrawn at the same time", record(1, true, "2"), 0},
		{"narrowed", record(2, false, "0.5"), 0},
		{"said again", record(2, false, "2"), 1},
	} {
		for _, order := range [][2]*advisory.Document{{record(1, false, "2"), test.second}, {test.second, record(1, false, "2")}} {
			x := NewIndex(nil)
			x.AddSBOM(bom("s", "2", sbom.Component{Name: "left", Version: "1.0.0", PURL: "pkg:npm/left@1.0.0", Parent: -1}))
			x.AddAdvisory(order[0])
			x.AddAdvisory(order[1])
			for _, query := range []string{"X-1", "CVE-2026-5"} {
				if hits, known := x.Find(query); len(hits) != test.want || !known {
					t.Errorf("%s: %s: %d hits, known %v", test.name, query, len(hits), known)
				}
			}
		}
	}
}
