// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func ExampleParseText() {
	for _, s := range []string{"3.3.1 and below", "distributed < april 1, 2018", "MMT-1711 | MMT-1712", "3002"} {
		t := ParseText(s)
		fmt.Println(t.Kind != Review, t.Why)
	}
	// Output:
	// true 3.3.1 and earlier
	// true distributed before 2018-04-01
	// true every version of the models named
	// false a model, a part number or a version: 3002
}

// reading writes a text's reading on one line.
func reading(t Text) string {
	s := map[TextKind]string{Review: "review", All: "all", Versions: t.Range.Vers(), Dates: t.Range.Vers()}[t.Kind]
	s = strings.TrimPrefix(s, "vers:generic/")
	if t.Models != nil {
		s += " of " + strings.Join(t.Models, "; ")
	}
	if t.Condition != "" {
		s += " if " + t.Condition
	}
	return s
}

func leaves(t *testing.T, folder string) map[string]int {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "advisories", "csaf", folder, "*.json"))
	if len(files) == 0 {
		t.Skip("CISA's advisories are not here: ../shared/advisories/csaf/" + folder)
	}
	type branch struct {
		Category, Name string
		Branches       []branch
	}
	all := map[string]int{}
	var walk func([]branch)
	walk = func(bs []branch) {
		for _, b := range bs {
			if b.Category == "product_version" || b.Category == "product_version_range" {
				all[b.Name]++
			}
			walk(b.Branches)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Tree branch `json:"product_tree"`
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(file, err)
		}
		walk(doc.Tree.Branches)
	}
	return all
}

// Beside the project lie CISA's advisories: all texts of the medical ones, and
// of as many others, are read; -v prints the tables.
func TestTextsOfAdvisories(t *testing.T) {
	for folder, most := range map[string]int{"icsma": 10, "icsa": 25} {
		t.Run(folder, func(t *testing.T) {
			all := leaves(t, folder)
			total, reviews := 0, 0
			var table strings.Builder
			for _, s := range slices.Sorted(maps.Keys(all)) {
				got := ParseText(s)
				fmt.Fprintf(&table, "%4d  %-60q  %s  (%s)\n", all[s], s, reading(got), got.Why)
				total += all[s]
				if got.Kind == Review {
					reviews += all[s]
				}
			}
			t.Logf("%d texts, %d leaves, %d of them for review\n%s", len(all), total, reviews, table.String())
			if total < 400 || reviews*100 > total*most {
				t.Errorf("%d of %d leaves are for review, more than %d %%", reviews, total, most)
			}
		})
	}
}

// Each text has its reading; what has two is for review.
func TestParseText(t *testing.T) {
	for _, c := range [][2]string{
		// as CISA writes the versions of medical devices
		{"3.3.1 and below", "<=3.3.1"},
		{"2.3.6 and  below", "<=2.3.6"},
		{"< 2.2", "<2.2"},
		{"<= R4.1L1", "<=R4.1L1"},
		{">= 1.0.0 | <= 1.1.1", ">=1.0.0|<=1.1.1"},
		{"A10 < A11", ">=A10|<A11"},
		{"4.20 | 4.20 SR1 | 4.30", "4.20|4.20%20SR1|4.30"},
		{"F.0.G.0 | J.3", "F.0|G.0|J.3"}, // "Revisions F.0 G.0 and J.3" run together
		{"1.X", ">=1|<2"},
		{"4.X | 5.X", ">=4|<6"},
		{"<= 12.2.x.x", "<12.3"},
		{"< 3.x", "<3"},
		{"<= K", "<L"},
		{"Rev B-M", ">=B|<N"},
		{"8", ">=8|<9"},
		{"< 1.8.4 Service Pack 01", "<1.8.4%20SP01"},
		{"(Release 1.3.2 1.4.0 1.4.1)", "1.3.2|1.4.0|1.4.1"},
		{"<= S4 A.07.107", "<=S4%20A.07.107"},
		{"vers:all/*", "all"},
		{"vers:all/<V1.0.3", "<V1.0.3"},
		{"vers:npm/<2.0.0", "vers:npm/<2.0.0"},
		{"* running on old systems", "all if running on old systems"},
		{"v6.x (with Wireless Battery Modules v9 | v11)", ">=6|<7 if with Wireless Battery Modules v9 | v11"},
		{"v6.x model 35700BAX", ">=6|<7 of 35700BAX"},
		{"MMT-1711 | MMT-1712", "all of MMT-1711; MMT-1712"},
		{"MMT-522(K) / MMT-722(K) Paradigm REAL-TIME", "all of MMT-522(K); MMT-722(K) Paradigm REAL-TIME"},
		{"882300 Gemini 16 Slice", "all of 882300 Gemini 16 Slice"},
		{"Product ID/Reorder number 19191 | 40160", "all of 19191; 40160"},
		{"Accu-Chek Inform II Base Unit NEW with Software 04.00.00 or newer", ">=04.00.00 of Accu-Chek Inform II Base Unit NEW"},
		{"distributed < april 1, 2018", "vers:datetime/<2018-04-01"},
		{"with wireless option (shipped between 26-June-2017 through 07-August 2018)", "vers:datetime/>=2017-06-26|<2018-08-08 if with wireless option"},
		{"with wireless option (shipped between 2016-August 2018)", "vers:datetime/>=2016|<2018-09 if with wireless option"},

		// prose
		{"All versions", "all"},
		{"all known versions", "all"},
		{"All versions prior to 2.2", "<2.2"},
		{"Version 2.1.4 and prior", "<=2.1.4"},
		{"versions before 2.2.0", "<2.2.0"},
		{"2.1 and all prior versions", "<=2.1"},
		{"v2.1 (and earlier)", "<=v2.1"},
		{"up to and including 3.1", "<=3.1"},
		{"2.0 up to but not including 2.4", ">=2.0|<2.4"},
		{"from 2.0 up to, but not including, 2.4", ">=2.0|<2.4"},
		{"2.0 through 2.4", ">=2.0|<=2.4"},
		{"versions 2.00 to 6.11", ">=2.00|<=6.11"},
		{"between 2.0 and 2.4", ">=2.0|<=2.4"},
		{"from 1.0 to 2.0", ">=1.0|<=2.0"},
		{"1.275M—1.280S", ">=1.275M|<=1.280S"},
		{">= 9.3.0 -  but not including 9.3.8", ">=9.3.0|<9.3.8"},
		{">=V3.0.1<V3.0.3", ">=V3.0.1|<V3.0.3"},
		{"2.0 or later", ">=2.0"},
		{"later than 2.0", ">2.0"},
		{"1.2, 1.3 and 1.4", "1.2|1.3|1.4"},
		{"V15, V15.1, V16 and V17", ">=V15|<18"},
		{"firmware version 3.2", "3.2"},
		{"≤ 4.2", "<=4.2"},
		{"All versions < V16 Update 6", "<V16%20Update%206"},
		{"2.0 and 3.1 and earlier", "review"},
		{"2.0 and before", "<=2.0"},
		{"from 1.0 and before 2.0", ">=1.0|<2.0"},
		{"before 2.0 and after 1.0", ">1.0|<2.0"},
		{"<= 1.0 | >= 2.0", "<=1.0|>=2.0"},
		{"<= 2.0 | >= 1.0", "review"},
		{"manufactured before May 2018", "vers:datetime/<2018-05"},
		{"manufactured on or before 2018-05-03", "vers:datetime/<2018-05-04"},
		{"shipped after June 2017", "vers:datetime/>=2017-07"},
		{"sold in 2016", "vers:datetime/>=2016|<2017"},
		{"made before 8/30/2024", "vers:datetime/<2024-08-30"},
		{"vers:all/>=V2022.4<V2023.1", ">=V2022.4|<V2023.1"},

		// what has more than one reading, or none
		{"", "review"},
		{"3002", "review"},
		{"2131 and 2141", "review"},
		{"620 | 650 | 650c", "review"},
		{"HD 16 | HD23", "review"},
		{"BT03", "review"},
		{"TCP", "review"},
		{"2017", "review"},
		{"<May 2018", "review"},
		{"<8/30/2024", "review"},
		{"< 2021-8-13", "review"},
		{"made before 3/4/2024", "review"}, // March or April?
		{"made before 2/30/2024", "review"},
		{"2015 and 2021 (Drives manufactured in 2022 are not affected)", "review"},
		{"5 digits of serial number <= 24031", "review"},
		{"<= U61 |<= L81", "review"},
		{"< 2.3.1 | < 3.1.4", "review"},
		{">= 2.0 and <= 1.0", "review"},
		{">= A10 | <= 2.0", "review"},
		{">= 4.20 SR1 | <= 4.20 SP3", "review"},
		{"2.2.3  until 2.2.3.3", "review"},
		{"< 6.3  of telerik software", "review"},
		{"not 2.0", "review"},
		{"1.0 to 2.0 3.0", "review"},
		{"2.0 (fixed)", "review"},
		{"3.1 (not affected)", "review"},
		{"models 100 and 200 before version 2.0", "review"},
		{"Model 3120", "all of 3120"},
		{"1.0 and before 2.0", "review"},
		{"1.0 and earlier 2.0", "review"},
		{"prior to 2.0 or 3.1", "review"},
		{">= 1.0 2.0", "review"},
		{"2.0 and earlier 3.0 and later", "review"},
		{"all versions except 2.0", "review"},
		{"Version", "review"},
		{"1.0 |", "1.0"},
		{"| | 1.0", "review"},
		{"<", "review"},
		{"Versions including affected DNS modules", "review"},
		{"vers:none/*", "review"},
		{"vers:nosuch/1", "review"},
		{strings.Repeat("1.0 | ", 1000), "review"},
	} {
		if got := reading(ParseText(c[0])); got != c[1] {
			t.Errorf("ParseText(%q) = %s (%s), want %s", c[0], got, ParseText(c[0]).Why, c[1])
		}
	}
}

func FuzzParseText(f *testing.F) {
	for _, s := range []string{
		"3.3.1 and below", ">= 1.0.0 | <= 1.1.1", "Rev B-M", "distributed < april 1, 2018", "v6.x (with x) model 35A", "between 1 and 2.x",
		"vers:all/<V1.0.3", "MMT-1711 | MMT-1712 Paradigm", "shipped between 2016-August 2018", "1.8.4 Service Pack 01 to 2", "made 9999-12-31",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := ParseText(s)
		if got.Why == "" {
			t.Errorf("%q: no reason", s)
		}
		if (got.Kind == Review) != (got.Range.Intervals == nil) {
			t.Errorf("%q: kind %d with range %s", s, got.Kind, got.Range)
		}
		if got.Kind == Dates && (got.Range.Scheme != Date || got.Range.Contains("1900") && got.Range.Contains("2200")) {
			t.Errorf("%q: dates %s", s, got.Range)
		}
	})
}
