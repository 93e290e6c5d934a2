// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/myelin-health/myelin/match/version"
)

func sample(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/csaf.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readOne(t testing.TB, b []byte) *Document {
	t.Helper()
	docs, err := Read(bytes.NewReader(b))
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return docs[0]
}

func TestCSAF(t *testing.T) {
	d := readOne(t, sample(t))
	if d.Kind != CSAF || d.ID != "PM-2026-01" || d.Publisher != "Pump Maker" || d.Category != "vendor" || d.Profile != "csaf_security_advisory" ||
		d.Revision != "1.1.0-rc.1+b" || d.Stage != "final" || d.Modified.Format("2006-01-02T15:04:05") != "2026-02-03T04:05:06" {
		t.Errorf("head: %+v", d)
	}
	if len(d.Vulnerabilities) != 2 {
		t.Fatalf("%d vulnerabilities", len(d.Vulnerabilities))
	}
	v := d.Vulnerabilities[0]
	if v.ID != "CVE-2026-12345" || !slices.Equal(v.Aliases, []string{"PMB-9"}) || v.Title != "Commands without authentication" || v.CWE[0] != "CWE-306" {
		t.Errorf("vulnerability: %q %q %q %q", v.ID, v.Aliases, v.Title, v.CWE)
	}
	want := []Score{
		{"2.0", "AV:N/AC:L/Au:N/C:C/I:C/A:C", 10, "Pump Maker"},
		{"3.1", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "Pump Maker"},
	}
	if !slices.Equal(v.Scores, want) {
		t.Errorf("scores: %v", v.Scores)
	}
	var said []string
	for _, s := range v.Statements {
		said = append(said, fmt.Sprint(s.Status, " ", s.Product.FullName, " ", len(s.Remediations)))
	}
	// A status that is said twice counts once; the mitigation that names no product is for all.
	if got := strings.Join(said, "\n"); got != strings.Join([]string{
		fmt.Sprint(Affected, " Pump Maker Flow 1 before 2.1.5 2"),
		fmt.Sprint(Affected, " Pump Maker Flow 1 2.1.5 SP1 2"),
		fmt.Sprint(Affected, " Net library in the RTOS of Base 2"),
		fmt.Sprint(UnderInvestigation, " RTOS for arm 1"),
		fmt.Sprint(Fixed, " Pump Maker Flow 1 2.1.5.7 1"),
		fmt.Sprint(NotAffected, " Pump Maker Base 1"),
		fmt.Sprint(Recommended, " Pump Maker Flow 1 2.1.5.7 1"),
	}, "\n") {
		t.Errorf("statements:\n%s", got)
	}
	old, base := v.Statements[0], v.Statements[5]
	if r := old.Remediations[0]; r.Category != "vendor_fix" || r.Details != "Install 2.1.5.7." || r.URL != "https://maker.example/fix" || r.Date.IsZero() {
		t.Errorf("remediation: %+v", r)
	}
	if old.Impact != "A rate that nobody set." || base.Justification != "vulnerable_code_not_present" || old.Justification != "" {
		t.Errorf("impact %q, justification %q and %q", old.Impact, base.Justification, old.Justification)
	}
	if d.URL != "https://maker.example/pm-2026-01.json" || v.Exploitation != "none known" {
		t.Errorf("URL %q, exploitation %q", d.URL, v.Exploitation)
	}
	if w := d.Vulnerabilities[1]; w.ID != "PMB-10" || len(w.Aliases) != 0 {
		t.Errorf("second vulnerability: %q %q", w.ID, w.Aliases)
	}

	p := old.Product
	if p.Manufacturer != "Pump Maker" || p.Family != "Flow" || p.Name != "Flow 1" || !p.HasRange || !p.Range.Contains("2.1.4") || p.Range.Contains("2.1.5") {
		t.Errorf("product: %+v", p)
	}
	if p.CPE == "" || p.PURL == "" || !slices.Equal(p.Hashes, []string{"sha256:00112233445566778899aabbccddeeff"}) ||
		p.Models[0] != "F1-???" || p.Serials[0] != "SN-1*" || p.SKUs[0] != "4711" || len(p.SBOMs) != 1 {
		t.Errorf("helpers: %+v", p)
	}
	if got := v.Statements[1].Product.Version; got != "2.1.5 SP1" {
		t.Errorf("service pack: %q", got)
	}
	if got := v.Statements[4].Product.Version; got != "2.1.5.7" {
		t.Errorf("patch level: %q", got)
	}
	if base.Product.Text.Kind != version.All {
		t.Errorf("a product without versions: %v", base.Product.Text)
	}
	lib := v.Statements[2].Product
	if lib.Relation != "default_component_of" || lib.Within == nil || lib.Within.FullName != "RTOS for arm" ||
		lib.Within.Relation != "installed_on" || lib.Within.Within == nil || lib.Within.Within.Name != "Base" {
		t.Errorf("relationship: %+v", lib)
	}
}

// TestCSAFContradiction: who is affected and not affected is affected.
func TestCSAFContradiction(t *testing.T) {
	d := readOne(t, bytes.Replace(sample(t), []byte(`"known_not_affected": ["base"]`), []byte(`"known_not_affected": ["base", "F1-old", "F1-patched", "rtos"]`), 1))
	said := map[string][]Status{}
	for _, s := range d.Vulnerabilities[0].Statements {
		said[s.Product.FullName] = append(said[s.Product.FullName], s.Status)
	}
	for name, want := range map[string][]Status{
		"Pump Maker Flow 1 before 2.1.5": {Affected}, "Pump Maker Flow 1 2.1.5.7": {Fixed, Recommended}, "RTOS for arm": {UnderInvestigation}, "Pump Maker Base": {NotAffected},
	} {
		if !slices.Equal(said[name], want) {
			t.Errorf("%s: %v, want %v", name, said[name], want)
		}
	}
}

// TestCSAFIdentifiers refuses what points nowhere or in circles.
func TestCSAFIdentifiers(t *testing.T) {
	for _, c := range []struct{ old, new, path string }{
		{`"known_not_affected": ["base"]`, `"known_not_affected": ["bass"]`, "vulnerabilities[0].product_status.known_not_affected[0]"},
		{`"group_ids": ["pumps"], "product_ids": ["lib-rtos-base"]`, `"group_ids": ["none"]`, "vulnerabilities[0].remediations[0].group_ids[0]"},
		{`"product_ids": ["F1-old", "F1-sp1"]`, `"product_ids": ["F1-old", "F2"]`, "product_tree.product_groups[0].product_ids[1]"},
		{`"product_id": "lib"}`, `"product_id": "base"}`, "product_tree.branches[0].branches[0].branches[1].product.product_id"},
		{`"product_reference": "lib",`, `"product_reference": "lib-rtos-base",`, "product_tree.relationships[0].product_reference"},
		{`"relates_to_product_reference": "rtos"`, `"relates_to_product_reference": "nowhere"`, "product_tree.relationships[0].relates_to_product_reference"},
		{`[{"products": ["base"]`, `[{"products": ["nowhere"]`, "vulnerabilities[1].scores[0].products[0]"},
	} {
		b := bytes.Replace(sample(t), []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(b, sample(t)) {
			t.Fatalf("%s is not in the sample", c.old)
		}
		docs, err := Read(bytes.NewReader(b))
		var e *Error
		if len(docs) != 0 || !errors.As(err, &e) {
			t.Errorf("%s: read, %v", c.new, err)
			continue
		}
		if e.Path != c.path && e.Err != errCircle {
			t.Errorf("%s: at %s (%v), want %s", c.new, e.Path, e.Err, c.path)
		}
	}
}

// TestCSAFShape holds our table against the standard's own schema: every place
// of a document that uses every property is broken in every way, and both must
// agree about each.
// related is a document with one product, P, and relationships, each a product,
// a part and a whole.
func related(relations [][3]string) []byte {
	type object = map[string]any
	var list []object
	for _, r := range relations {
		list = append(list, object{
			"category": "installed_on", "product_reference": r[1], "relates_to_product_reference": r[2],
			"full_product_name": object{"product_id": r[0], "name": r[0]},
		})
	}
	b, err := json.Marshal(object{
		"document": object{
			"category": "csaf_base", "csaf_version": "2.0", "title": "T", "publisher": object{"category": "vendor", "name": "V", "namespace": "https://v.example"},
			"tracking": object{
				"id": "V-1", "status": "final", "version": "1", "initial_release_date": "2026-01-01T00:00:00Z", "current_release_date": "2026-01-01T00:00:00Z",
				"revision_history": []object{{"date": "2026-01-01T00:00:00Z", "number": "1", "summary": "x"}},
			},
		},
		"product_tree": object{"full_product_names": []object{{"product_id": "P", "name": "P"}}, "relationships": list},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// Each product is looked for once, however the relationships are woven: one that
// names itself twice would otherwise be looked for 2^30 times.
func TestCSAFRelations(t *testing.T) {
	const many = 50_000
	name := func(i int) string { return fmt.Sprint("R", i%many) }
	weave := func(of func(i int) [3]string) (all [][3]string) {
		for i := range many {
			all = append(all, of(i))
		}
		return all
	}
	for what, c := range map[string]struct {
		relations [][3]string
		path      string // of the error; "" is none
	}{
		"itself":          {[][3]string{{"R", "R", "R"}}, "product_tree.relationships[0].product_reference"},
		"a circle":        {weave(func(i int) [3]string { return [3]string{name(i), name(i + 1), name(i + 1)} }), "product_tree.relationships[29].product_reference"},
		"a chain":         {append([][3]string{{"R0", "P", "P"}}, weave(func(i int) [3]string { return [3]string{name(i + 1), name(i), name(i)} })[:many-1]...), "product_tree.relationships[4].full_product_name.product_id"},
		"within within":   {append([][3]string{{"R0", "P", "P"}}, weave(func(i int) [3]string { return [3]string{name(i + 1), "P", name(i)} })[:many-1]...), "product_tree.relationships[30].full_product_name.product_id"},
		"each by itself":  {weave(func(i int) [3]string { return [3]string{name(i), "P", "P"} }), ""},
		"one before many": {append(weave(func(i int) [3]string { return [3]string{name(i), "P", "Z"} }), [3]string{"Z", "P", "P"}), ""},
	} {
		docs, err := Read(bytes.NewReader(related(c.relations)))
		var e *Error
		switch {
		case c.path == "" && (err != nil || len(docs) != 1):
			t.Errorf("%s: %d documents, %v", what, len(docs), err)
		case c.path != "" && (!errors.As(err, &e) || e.Err != errCircle || e.Path != c.path):
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCSAFShape(t *testing.T) {
	const dir = corpus + "/schema"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no ../shared/advisories/schema beside the project")
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for url, file := range map[string]string{
		"https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json": "csaf_json_schema.json",
		"https://www.first.org/cvss/cvss-v2.0.json":                        "cvss-v2.0.json",
		"https://www.first.org/cvss/cvss-v3.0.json":                        "cvss-v3.0.json",
		"https://www.first.org/cvss/cvss-v3.1.json":                        "cvss-v3.1.json",
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(sample(t), &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc.(map[string]any), "$schema")
	n, refused := 0, 0
	done := map[string]bool{} // one element of an array stands for all
	agree := func(path, what string) {
		t.Helper()
		if key := indices.ReplaceAllString(path, "[]") + " " + what; done[key] {
			return
		} else {
			done[key] = true
		}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		var tr tree
		if _, err := tr.parse(b, 0, true); err != nil {
			t.Fatal(err)
		}
		ours, theirs := csafShape().check(tr.root()), schema.Validate(doc)
		if n++; theirs != nil {
			refused++
		}
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%s %s: ours %v, the schema's %v", path, what, ours, theirs)
		}
		if ours != nil && !strings.HasPrefix(ours.Path, parentOf(path)) {
			t.Errorf("%s %s: refused at %q", path, what, ours.Path)
		}
	}
	agree("", "as it is")
	if refused > 0 {
		t.Fatal("the sample is not valid")
	}
	breakEach(doc, "", func(any) {}, agree)
	t.Logf("%d documents, of which the schema refuses %d", n, refused)
	if n < 2000 || refused < 1000 {
		t.Errorf("too few to tell")
	}
}

var indices = regexp.MustCompile(`\[\d+\]`)

// parentOf is the object or array around a path.
func parentOf(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// breakEach replaces, leaves out and doubles everything below v, one at a time.
func breakEach(v any, path string, set func(any), try func(path, what string)) {
	if path != "" {
		others := map[string]any{"null": nil, "number": 3.5, "large": 11.0, "word": "zzz", "array": []any{}, "object": map[string]any{}, "member": map[string]any{"zzz": "zzz"}, "words": []any{"zzz"}}
		switch v.(type) {
		case string:
			maps.Copy(others, map[string]any{
				"empty": "", "space": " ", "date": "2026-13-01T00:00:00Z", "day": "2026-01-01", "zone": "2026-01-01T00:00:00", "low": "2026-01-01t00:00:00z",
				"link": "https://x.example/a b", "relative": "/a", "cpe": "cpe:/a:b", "cpe23": `cpe:2.3:a:b\:c:d:1.0:*:*:en-US:*:x?:*:-`, "badcpe": "cpe:2.3:a:b::c:*:*:*:*:*:*:*:*",
				"lang": "zh-yue-Hant-HK-x-my", "grandfathered": "i-default", "purl": "pkg:a/b", "semver": "1.2.3", "zero": "01", "cve": "CVE-2026-0001", "shortcve": "CVE-2026-1",
			})
		case float64:
			others["negative"] = -1.0
		case []any:
			others["same"] = []any{"zzz", "zzz"}
		}
		for what, other := range others {
			set(other)
			try(path, what)
		}
		set(v)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			at := strings.TrimPrefix(path+"."+k, ".")
			old := v[k]
			delete(v, k)
			try(at, "left out")
			v[k] = old
			breakEach(old, at, func(x any) { v[k] = x }, try)
		}
		v["x_zzz"] = 1.0
		try(path+".x", "one more")
		delete(v, "x_zzz")
	case []any:
		for i := range v {
			breakEach(v[i], fmt.Sprintf("%s[%d]", path, i), func(x any) { v[i] = x }, try)
		}
		set(append(slices.Clone(v), v[0]))
		try(path+"[0]", "twice")
		set(v)
	}
}
