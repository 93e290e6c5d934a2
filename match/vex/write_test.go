// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/myelin-health/myelin/match/advisory"
)

var allFormats = []Format{OpenVEX, CycloneDX, CSAF}

// ward is what Norra Medical decided of the sample ward's pumps and gateway.
func ward(t testing.TB) *Decided {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "norra.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := ReadDecisions(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// everything is a document with every status, justification, remedy and kind of product.
func everything() *Decided {
	at := time.Date(2026, 3, 2, 9, 0, 0, 500, time.UTC)
	d := &Decided{
		ID: "NM-VEX 1/2", Title: "Everything <&>", Author: "Norra Medical", Namespace: "https://norra.example/", Category: "vendor",
		Version: 3, First: at.Add(-48 * time.Hour), Time: at,
	}
	products := []advisory.Product{
		{Manufacturer: "Norra Medical", Name: "Flow 500", Version: "2.2.0"},
		{Manufacturer: "Norra Medical", Name: "Flow 500", Version: "vers:generic/<2.2.0"},
		{Manufacturer: "Norra Medical", Name: "Flow 500"},
		{Manufacturer: "Müller & Söhne", Name: "Pumpe \"7/8\" @home", Version: "1 + 1", CPE: `cpe:2.3:h:m\&s:pumpe:1:*:*:*:*:*:*:*`},
		identified("pkg:npm/%40norra/link@1.8?arch=x"),
		identified("pkg:generic/tls@1.0"),
		{Name: "nameless maker", Version: "7"},
	}
	add := func(st Statement) {
		st.Vulnerability = "CVE-2026-20101"
		if len(d.Statements)%2 == 1 {
			st.Vulnerability, st.Aliases = "NM-2026-7", []string{"GHSA-xxxx-yyyy-zzzz", "CVE-2026-20102"}
			st.Description = "A description."
		}
		st.Product = products[len(d.Statements)%len(products)]
		if n := len(d.Statements) % 3; n > 0 {
			st.Component = &products[4+n]
		}
		st.Time = at.Add(-time.Duration(len(d.Statements)) * time.Second)
		st.Author, st.Document, st.Version = d.Author, d.ID, d.Version
		d.Statements = append(d.Statements, st)
	}
	for _, j := range justifications {
		add(Statement{Status: advisory.NotAffected, Justification: j})
		add(Statement{Status: advisory.NotAffected, Justification: j, Impact: "Because \u2028 <b>of</b> this."})
	}
	for _, r := range append(remedies, "") {
		add(Statement{Status: advisory.Affected, Action: "Do this.", Remedy: r})
	}
	add(Statement{Status: advisory.NotAffected, Impact: "In words only."})
	add(Statement{Status: advisory.Fixed})
	add(Statement{Status: advisory.UnderInvestigation})
	return d
}

func write(t testing.TB, f Format, d *Decided) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, f, *d); err != nil {
		t.Fatalf("%v: %v", f, err)
	}
	return b.Bytes()
}

// TestSchemas holds what is written to the standards' own schemas.
func TestSchemas(t *testing.T) {
	dir := shared(t, "schemas")
	documents := map[string]*Decided{"ward": ward(t), "everything": everything()}
	// What others wrote is written in every format, too.
	for _, sub := range []string{"advisories/csaf/oasis-examples/csaf", "sboms/peers", "sboms/cyclonedx/bom-examples/VEX"} {
		root := shared(t, filepath.FromSlash(sub))
		err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || filepath.Ext(p) != ".json" {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if d, err := ReadDocument(bytes.NewReader(b)); err == nil && len(d.Statements) > 0 {
				documents[strings.TrimPrefix(p, root)] = complete(d)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(documents) < 40 {
		t.Errorf("only %d documents", len(documents))
	}
	for _, f := range allFormats {
		schema := schemaOf(t, dir, f)
		for name, d := range documents {
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(write(t, f, d)))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%v: %s: %v", f, name, err)
			}
		}
	}
}

// complete adds what a document does not say and every format wants.
func complete(d *Decided) *Decided {
	if d.ID == "" {
		d.ID = "x"
	}
	if d.Author == "" {
		d.Author = "somebody"
	}
	if d.Namespace == "" {
		d.Namespace = "https://example.com"
	}
	if d.Time.IsZero() {
		d.Time = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	}
	if d.First.IsZero() || d.First.After(d.Time) {
		d.First = d.Time
	}
	d.Version = min(d.Version, 3)
	for i := range d.Statements {
		st := &d.Statements[i]
		if st.Status == advisory.NotAffected && st.Justification == "" && st.Impact == "" {
			st.Impact = "not said"
		}
		if title(&st.Product) == "" {
			st.Product.Name = "everything"
		}
		if packageURL(&st.Product)+st.Product.CPE == "" {
			st.Product.Name = "everything"
		}
	}
	return d
}

func schemaOf(t *testing.T, dir string, f Format) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	add := func(url string, path ...string) string {
		file, err := os.Open(filepath.Join(append([]string{dir}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		doc, err := jsonschema.UnmarshalJSON(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
		return url
	}
	var top string
	switch f {
	case OpenVEX:
		top = add("https://github.com/openvex/spec/openvex_json_schema_0.2.0.json", "openvex", "openvex_json_schema.json")
	case CycloneDX:
		for _, part := range []string{"spdx.schema.json", "jsf-0.82.schema.json", "cryptography-defs.schema.json"} {
			add("http://cyclonedx.org/schema/"+part, "cyclonedx", part)
		}
		top = add("http://cyclonedx.org/schema/bom-1.6.schema.json", "cyclonedx", "bom-1.6.schema.json")
	case CSAF:
		for _, v := range []string{"2.0", "3.0", "3.1"} {
			add("https://www.first.org/cvss/cvss-v"+v+".json", "csaf", "csaf_2.0", "referenced_schema", "first", "cvss-v"+v+".json")
		}
		top = add("https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json", "csaf", "csaf_2.0", "json_schema", "csaf_json_schema.json")
	}
	schema, err := c.Compile(top)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestWriteRead holds that what is written says the same when it is read.
func TestWriteRead(t *testing.T) {
	for _, d := range []*Decided{ward(t), everything()} {
		want := map[string]bool{}
		for _, st := range d.settled() {
			want[same(st)] = true
		}
		for _, f := range allFormats {
			b := write(t, f, d)
			again := mustRead(t, string(b))
			got := map[string]bool{}
			for _, st := range again.Statements {
				got[same(st)] = true
				if st.Author != d.Author || st.Version != d.Version {
					t.Errorf("%v: %+v", f, st)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v: %s", f, diff)
			}
			if !bytes.Equal(b, write(t, f, d)) {
				t.Errorf("%v is not the same each time", f)
			}
		}
	}
}

// same says a statement without what formats spell in their own way: which of a
// vulnerability's names stands first, and what kind of remedy it is, for which
// only CSAF has all the words.
func same(st Statement) string {
	ids := append([]string{st.Vulnerability}, st.Aliases...)
	st.Vulnerability = ids[0]
	for _, id := range ids {
		st.Vulnerability = max(st.Vulnerability, id)
	}
	st.Remedy = ""
	return brief(&st)
}

// TestWriteRefuses holds that nothing is stated that is not whole.
func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(d *Decided)
		want   string
	}{
		{"id", func(d *Decided) { d.ID = " " }, "needs an id"},
		{"author", func(d *Decided) { d.Author = "" }, "needs an author"},
		{"time", func(d *Decided) { d.First, d.Time = time.Time{}, time.Time{} }, "needs the time"},
		{"order", func(d *Decided) { d.First = d.Time.Add(1) }, "needs the time"},
		{"version", func(d *Decided) { d.Version = 0 }, "version is from 1"},
		{"versions", func(d *Decided) { d.Version = 1 << 40 }, "version is from 1"},
		{"category", func(d *Decided) { d.Category = "king" }, "one of vendor"},
		{"namespace", func(d *Decided) { d.Namespace = "norra" }, "has to be a URL"},
		{"no namespace", func(d *Decided) { d.Namespace = "" }, "CSAF wants"},
		{"nothing", func(d *Decided) { d.Statements = nil }, "nothing was decided"},
		{"vulnerability", func(d *Decided) { d.Statements[0].Vulnerability = "" }, "statement 1: names no vulnerability"},
		{"product", func(d *Decided) { d.Statements[0].Product = advisory.Product{Manufacturer: "x"} }, "names no product"},
		{"component", func(d *Decided) { d.Statements[0].Component = &advisory.Product{Version: "1"} }, "names no component"},
		{"status", func(d *Decided) { d.Statements[0].Status = advisory.Recommended }, "no status"},
		{"reason", func(d *Decided) { d.Statements[0].Justification, d.Statements[0].Impact = "", "" }, "not why"},
		{"justification", func(d *Decided) { d.Statements[0].Justification = "trust_me" }, "OpenVEX does not know"},
		{"remedy", func(d *Decided) { d.Statements[0].Remedy = "hope" }, "CSAF does not know"},
	} {
		d := everything()
		c.change(d)
		var b bytes.Buffer
		if err := Write(&b, CSAF, *d); err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", c.what, err, b.Len())
		}
	}
	if err := Write(&bytes.Buffer{}, NoFormat, *everything()); err == nil {
		t.Error("wrote no format")
	}
}

// TestWriteSettles holds that a document that says two things of a product is
// written with the later one, and an action where none was stated.
func TestWriteSettles(t *testing.T) {
	d := everything()
	st := says(1, flow, nil, clean)
	st.Justification = "component_not_present"
	d.Statements = []Statement{says(2, flow, nil, affected), st, says(1, flow, tlsPart, fixed)}
	for _, f := range allFormats {
		again := mustRead(t, string(write(t, f, d)))
		if len(again.Statements) != 2 {
			t.Errorf("%v: %v", f, briefs(again))
		}
		if !strings.Contains(strings.Join(briefs(again), "\n"), "Flow 500 2.2.0: affected; "+noAction) {
			t.Errorf("%v: %v", f, briefs(again))
		}
	}
}

func TestOnly(t *testing.T) {
	for _, c := range []struct {
		products []string
		want     int
		id       string
	}{
		{[]string{"Flow 500@2.2.0"}, 1, "NORRA-VEX-2026-01-flow-500-2.2.0"},
		{[]string{"norra medical flowlink"}, 1, "NORRA-VEX-2026-01-norra-medical-flowlink"},
		{[]string{"FlowLink@1.8", "Flow 500"}, 2, "NORRA-VEX-2026-01"},
		{[]string{"Flow 500@2.1.4"}, 0, ""},
		{[]string{"Flow 500", "Flow"}, 0, ""},
		{[]string{""}, 0, ""},
	} {
		d := ward(t)
		err := d.Only(c.products)
		if c.want == 0 {
			if err == nil || !strings.HasSuffix(err.Error(), ": nothing was decided of it; there is Norra Medical Flow 500 2.2.0, Norra Medical FlowLink 1.8") || len(d.Statements) != 2 {
				t.Errorf("%q: %v", c.products, err)
			}
			continue
		}
		if err != nil || len(d.Statements) != c.want || d.ID != c.id {
			t.Errorf("%q: %v, %d of %s", c.products, err, len(d.Statements), d.ID)
		}
	}
	d := &Decided{Statements: []Statement{{Product: identified("pkg:npm/%40norra/link@1.8?arch=x")}}}
	for _, name := range []string{"pkg:npm/%40norra/link@1.8?arch=x", "pkg:npm/%40norra/link?arch=x", "link", "link@1.8"} {
		if err := d.Only([]string{name}); err != nil {
			t.Error(err)
		}
	}
}
