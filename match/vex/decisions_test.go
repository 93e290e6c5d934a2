// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadDecisions(t *testing.T) {
	d := ward(t)
	want := []string{
		"ADA-2026-01: Norra Medical Flow 500 2.2.0: not_affected; vulnerable_code_not_present; From release 2.2.0 on the pump takes orders only from a proven sender.",
		"ADA-2026-01: Norra Medical FlowLink 1.8 / tls 1.0.2: affected; Let only the hospital information system reach the gateway; release 1.9 follows in April.; mitigation",
	}
	if diff := cmp.Diff(want, briefs(d)); diff != "" {
		t.Error(diff)
	}
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	if d.ID != "NORRA-VEX-2026-01" || d.Category != "vendor" || d.Version != 1 || !d.Time.Equal(at) || !d.First.Equal(at) || !d.Statements[1].Time.Equal(at) {
		t.Errorf("%+v", d)
	}

	// JSON is the same; so is text on several lines, and a version stays as it is written.
	d, err := ReadDecisions(strings.NewReader(`{"vex": 1, "id": "x", "author": "A", "version": 2, "first": "2026-01-01", "time": "2026-03-02T10:00:00+01:00",
		"decisions": [{"vulnerability": "CVE-2026-1", "aliases": ["GHSA-1", "NM-1"], "status": "fixed", "time": "2026-02-01",
		"products": [{"name": "p", "version": 1.10, "manufacturer": "M", "cpe": "cpe:2.3:h:m:p:1.10:*:*:*:*:*:*:*"}, {"name": "q", "version": 2.20}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"CVE-2026-1: M p 1.10: fixed", "CVE-2026-1: A q 2.20: fixed"}, briefs(d)); diff != "" {
		t.Error(diff)
	}
	if d.First.Month() != 1 || d.Time.Hour() != 9 || d.Statements[0].Time.Month() != 2 || len(d.Statements[1].Aliases) != 2 || d.Version != 2 {
		t.Errorf("%+v", d)
	}
	d, err = ReadDecisions(strings.NewReader("vex: 1\nid: x\nauthor: A\ntime: 2026-03-02\ndecisions:\n  - vulnerability: V\n    status: affected\n    products: {name: p}\n    action: >\n      One line,\n      and another.\n"))
	if err != nil || d.Statements[0].Action != "One line, and another." {
		t.Errorf("%v %+v", err, d)
	}
}

// TestDecisionsErrors holds that what is wrong is told with its line and column,
// and without the text that stands there.
func TestDecisionsErrors(t *testing.T) {
	const head = "vex: 1\nid: x\nauthor: A\ntime: 2026-03-02\n"
	const one = head + "decisions:\n  - vulnerability: V\n    products: [{name: p}]\n"
	for _, c := range []struct{ file, want string }{
		{"", `line 1, column 1: one document of decisions is wanted; it begins with "vex: 1"`},
		{"- a", "line 1, column 1: the file has to be a mapping"},
		{"id: x", "line 1, column 1: the file lacks vex"},
		{"vex: 2", "line 1, column 6: this program reads version 1"},
		{"vex: 1\n---\nvex: 1\n", "line 1, column 1: one document"},
		{"vex: 1\nANNA: 2", "line 2, column 1: the file has no such key; its keys are vex, id,"},
		{"vex: 1\nid: x\nid: y", "line 3, column 1: id is said twice"},
		{"vex: 1\nid: &a x", "line 2, column 5: YAML that decisions do without"},
		{"vex: 1\nid: [ANNA]", "line 2, column 5: id has to be text"},
		{"vex: 1\nid: \"\"", "line 2, column 5: id has to be text"},
		{"vex: 1\nid: {a", "line 2, column "},
		{"vex: 1\nid: x\nauthor: A\ntime: ANNA", "line 4, column 7: time has to be a time"},
		{"vex: 1\nid: x\nauthor: A\n", "line 1, column 1: the file lacks time"},
		{head + "first: 2026-03-03", "line 5, column 8: first is after time"},
		{head + "version: 0", "line 5, column 10: version is a whole number"},
		{head + "category: king", "line 5, column 11: category is one of vendor"},
		{head + "namespace: norra", "line 5, column 12: namespace has to be the author's URL"},
		{head, "line 1, column 1: the file lacks decisions"},
		{head + "decisions: []", "line 5, column 12: decisions has to have from 1"},
		{head + "decisions:\n  - vulnerability: V\n    products: [{name: p}]\n    status: ANNA", "line 8, column 13: status is one of affected"},
		{one + "    status: not_affected", "line 6, column 5: not_affected wants to know why"},
		{one + "    status: affected", "line 6, column 5: affected wants an action"},
		{one + "    status: fixed\n    impact: none", "line 9, column 13: impact goes with the status not_affected"},
		{one + "    status: not_affected\n    justification: trust_me", "line 9, column 20: justification is one of component_not_present"},
		{one + "    status: affected\n    action: x\n    remedy: hope", "line 10, column 13: remedy is one of vendor_fix"},
		{one, "line 6, column 5: a decision lacks status"},
		{head + "decisions:\n  - vulnerability: V\n    status: fixed", "line 6, column 5: a decision lacks products"},
		{head + "decisions:\n  - vulnerability: V\n    status: fixed\n    products: [{version: 1}]", "line 8, column 16: a product lacks name"},
		{head + "decisions:\n  - vulnerability: V\n    status: fixed\n    products: [{name: p, purl: ANNA}]", "line 8, column 32: purl has to be a package URL"},
		{head + "decisions:\n  - vulnerability: V\n    status: fixed\n    products: [{name: p, cpe: ANNA}]", "line 8, column 31: cpe has to be"},
		{head + "decisions:\n  - vulnerability: V\n    status: fixed\n    products: [{name: p}, {name: p}]", "line 8, column 27: was decided before"},
		{"vex: " + strings.Repeat("[", 20), "line 1, column 12: brackets in brackets"},
		{strings.Repeat("- ", 100) + "x", "line 1, column 1: a line is too long, or begins too far"},
		{strings.Repeat("x", 5000), "line 1, column 1: a line is too long"},
		{strings.Repeat("a:\n", 300), "line 257, column 1: more than 256 lines"},
		{"\xff", "line 1, column 1: this is not text"},
		{strings.Repeat("#\n", 1<<20), "line 1, column 1: the file has more than 524288 bytes"},
	} {
		_, err := ReadDecisions(strings.NewReader(c.file))
		var e *DecisionsError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "ANNA") {
			t.Errorf("%.80q: %v\nwant %s", c.file, err, c.want)
		}
	}
}

func TestIsDecisions(t *testing.T) {
	for file, want := range map[string]bool{
		"# c\nvex: 1\n": true, `{"id": [1], "vex": 1}`: true, `{"bomFormat": "CycloneDX"}`: false, "a: 1": false, "": false, "  vex: 1": false,
	} {
		if isDecisions([]byte(file)) != want {
			t.Errorf("%q", file)
		}
	}
}

// FuzzReadDecisions holds that no file is too strange, and that what is read can
// be stated in every format that does not want more.
func FuzzReadDecisions(f *testing.F) {
	f.Add("vex: 1\nid: x\nauthor: A\ntime: 2026-03-02\nnamespace: https://a.example\ndecisions:\n  - vulnerability: V\n    status: affected\n    products: {name: p, version: 1.10}\n    component: {name: c}\n    action: |\n      Do.\n")
	f.Add(`{"vex": 1, "id": "x", "author": "A", "time": "2026-03-02", "decisions": [{"vulnerability": "V", "status": "not_affected", "impact": "x", "products": [{"name": "p"}]}]}`)
	f.Fuzz(func(t *testing.T, file string) {
		d, err := ReadDecisions(strings.NewReader(file))
		if err != nil {
			var e *DecisionsError
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, format := range allFormats {
			if format == CSAF && d.Namespace == "" {
				continue
			}
			var b strings.Builder
			if err := Write(&b, format, *d); err != nil {
				t.Fatalf("%v: %v", format, err)
			}
			again, err := ReadDocument(strings.NewReader(b.String()))
			if err != nil || len(again.Statements) != len(d.Statements) {
				t.Fatalf("%v: %v\n%s", format, err, b.String())
			}
		}
	})
}
