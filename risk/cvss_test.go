// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ExampleParseCVSS() {
	// CVSS 3.1 of the weakness of CVE-2021-44228.
	c, err := ParseCVSS("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H")
	fmt.Println(c.Base, Rating(c.Base), c.Automatable, c.Total, err)
	// Output: 10 critical true true <nil>
}

// cases calls f for each line of a file of JSON lines beside the repository.
func cases[T any](t *testing.T, file string, f func(T)) {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "matching", file)
	r, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the published vectors are not beside the repository (../shared/matching/%s)", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var c T
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		f(c)
	}
}

// What CISA and the CNAs published with a vector is its base score, or its score
// with all metrics that the vector has.
func TestCVSSPublished(t *testing.T) {
	// differs are vectors that are answered otherwise, and why.
	differs := map[string]string{
		"CVSS:3.1/AV:P/AC:L/PR:N/UI:R/S:C/C:H/I:H/A:H": "published is 7.4, which is 3.1's environmental formula on base metrics",
	}
	n := map[string]int{}
	cases(t, "cvss-published.jsonl", func(c struct {
		BaseScore float64 `json:"baseScore"`
		Vector    string  `json:"vector"`
		Version   string  `json:"version"`
	},
	) {
		got, err := ParseCVSS(c.Vector)
		if err != nil {
			t.Errorf("%s: %v", c.Vector, err)
			return
		}
		if "v"+got.Version != c.Version {
			t.Errorf("%s: version %s", c.Vector, got.Version)
		}
		same := math.Abs(got.Base-c.BaseScore) < 0.01 || math.Abs(got.Score-c.BaseScore) < 0.01
		if why := differs[c.Vector]; same != (why == "") {
			t.Errorf("%s: %v and %v, published as %v; %s", c.Vector, got.Base, got.Score, c.BaseScore, why)
		}
		n[got.Version]++
	})
	if n["2.0"] == 0 || n["3.0"] == 0 || n["3.1"] == 0 || n["4.0"] == 0 {
		t.Errorf("vectors of each version: %v", n)
	}
}

// The tests of NVD's tools for Go.
func TestCVSSOfNVDTools(t *testing.T) {
	// differs are vectors that are answered otherwise, and why.
	differs := map[string]string{
		"/MRC:": "MRC is no metric of version 2.0, nor of 3.0",
	}
	cases(t, "cvss-nvdtools.jsonl", func(c struct {
		Vector   string    `json:"vector"`
		Expected []float64 `json:"expected"` // base; or base, temporal and environmental
	},
	) {
		got, err := ParseCVSS(c.Vector)
		for part, why := range differs {
			if err != nil && strings.Contains(c.Vector, part) {
				t.Logf("%s: %v: %s", c.Vector, err, why)
				return
			}
		}
		if err != nil || math.Abs(got.Base-c.Expected[0]) > 0.01 || len(c.Expected) == 3 && math.Abs(got.Score-c.Expected[2]) > 0.01 {
			t.Errorf("%s: %v and %v, %v; want %v", c.Vector, got.Base, got.Score, err, c.Expected)
		}
	})
}

func TestCVSSAnswers(t *testing.T) {
	for _, tt := range []struct {
		vector             string
		automatable, total bool
		c, i, a            Level
		said               string // of exploitation
		safety             bool
	}{
		{"AV:N/AC:L/Au:N/C:C/I:C/A:C", true, true, AllLoss, AllLoss, AllLoss, "", false},
		{"(AV:N/AC:L/Au:N/C:P/I:N/A:C/E:POC)", true, false, SomeLoss, NoLoss, AllLoss, "public poc", false},
		{"AV:N/AC:L/Au:S/C:P/I:N/A:N", false, false, SomeLoss, NoLoss, NoLoss, "", false},
		{"AV:N/AC:M/Au:N/C:C/I:C/A:N/E:ND", false, true, AllLoss, AllLoss, NoLoss, "", false},
		{"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N", true, true, AllLoss, AllLoss, NoLoss, "", false},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:H/E:U", true, false, NoLoss, AllLoss, AllLoss, "none", false},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:H/I:H/A:H/E:F", false, true, AllLoss, AllLoss, AllLoss, "public poc", false},
		{"CVSS:3.1/AV:A/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N/E:X", false, false, SomeLoss, NoLoss, NoLoss, "", false},
		{"CVSS:3.1/A:H/I:L/C:N/S:U/UI:N/PR:N/AC:H/AV:N", false, false, NoLoss, SomeLoss, AllLoss, "", false},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:N/SC:N/SI:N/SA:N/E:A", true, true, AllLoss, AllLoss, NoLoss, "active", false},
		{"CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:H/VI:N/VA:N/SC:N/SI:H/SA:N/E:P", false, false, AllLoss, AllLoss, NoLoss, "public poc", false},
		{"CVSS:4.0/AV:L/AC:L/AT:N/PR:N/UI:N/VC:N/VI:L/VA:N/SC:H/SI:H/SA:N/AU:Y/S:P", true, true, AllLoss, AllLoss, NoLoss, "", true},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:L/SA:N/MSI:S/AU:N", false, false, NoLoss, SomeLoss, NoLoss, "", true},
	} {
		c, err := ParseCVSS(tt.vector)
		said := ""
		if c.Matured {
			said = c.Exploitation.String()
		}
		if err != nil || c.Automatable != tt.automatable || c.Total != tt.total || c.Confidentiality != tt.c || c.Integrity != tt.i || c.Availability != tt.a || said != tt.said || c.Safety != tt.safety {
			t.Errorf("%s: %+v, %v", tt.vector, c, err)
		}
	}
}

func TestCVSSRefuses(t *testing.T) {
	for vector, want := range map[string]string{
		"":    "metric 1",
		"9.8": "metric 1",
		"CVSS:3.2/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":               "versions",
		"CVSS:2.0/AV:N/AC:L/Au:N/C:C/I:C/A:C":                        "versions",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H":                   "A is missing",
		"CVSS:3.1/AV:N/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":          "AV comes twice",
		"CVSS:3.1/AV:Q/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":               "AV has no such value",
		"CVSS:3.1/av:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":               "metric 1",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/XX:N":          "metric 9",
		"CVSS:3.1//AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":              "metric 1",
		"AV:N/AC:L/Au:N/C:C/I:C/A:H":                                 "A has no such value",
		strings.Repeat("AV:N/", 60):                                  "bytes",
		"CVSS:4.0/AV:N/AC:L/PR:N/UI:N/VC:H/VI:H/VA:N/SC:N/SI:N/SA:N": "AT is missing",
	} {
		if c, err := ParseCVSS(vector); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %+v, %v; want an error with %q", vector, c, err, want)
		}
	}
}

// What CISA answered for CVEs (its container in 98 records that have a vector,
// too) is what the vectors say in 96 cases for technical impact and 90 for
// automatable. This is how good the rule is, not how good CISA is.
func TestCVSSAgainstADP(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "advisories", "cve5", "vulnrichment", "*.json"))
	if files == nil {
		t.Skip("CISA's records are not beside the repository (../shared/advisories/cve5/vulnrichment)")
	}
	type container struct {
		Metrics []map[string]json.RawMessage `json:"metrics"`
	}
	var records, automatable, total int
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			Containers struct {
				CNA container   `json:"cna"`
				ADP []container `json:"adp"`
			} `json:"containers"`
		}
		if err := json.Unmarshal(b, &record); err != nil {
			t.Fatal(err)
		}
		answers := map[string]string{}
		var vectors []CVSS
		for _, c := range append(record.Containers.ADP, record.Containers.CNA) {
			for _, m := range c.Metrics {
				for key, raw := range m {
					var cvss struct{ VectorString string }
					var other struct {
						Content struct {
							Options []map[string]string `json:"options"`
						} `json:"content"`
					}
					switch {
					case strings.HasPrefix(key, "cvss") && json.Unmarshal(raw, &cvss) == nil && cvss.VectorString != "":
						v, err := ParseCVSS(cvss.VectorString)
						if err != nil {
							t.Errorf("%s: %v", filepath.Base(file), err)
							continue
						}
						vectors = append(vectors, v)
					case key == "other" && json.Unmarshal(raw, &other) == nil:
						for _, option := range other.Content.Options {
							for q, a := range option {
								answers[q] = strings.ToLower(a)
							}
						}
					}
				}
			}
		}
		if vectors == nil || answers["Automatable"] == "" {
			continue
		}
		records++
		var auto, all bool
		for _, v := range vectors {
			auto, all = auto || v.Automatable, all || v.Total
		}
		automatable += index(auto == (answers["Automatable"] == "yes"))
		total += index(all == (answers["Technical Impact"] == "total"))
	}
	t.Logf("of %d records, the rule agrees on automatable in %d, on technical impact in %d", records, automatable, total)
	if records < 50 || automatable*100 < records*90 || total*100 < records*95 {
		t.Error("the rule is worse than it is said to be")
	}
}

func FuzzParseCVSS(f *testing.F) {
	f.Add("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H/E:P/MAV:L")
	f.Add("(AV:N/AC:L/Au:N/C:C/I:C/A:C/E:POC/RL:OF/RC:C/CDP:H/TD:H/CR:H/IR:H/AR:H)")
	f.Add("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:N/SC:N/SI:N/SA:N/E:A/S:P/AU:Y/U:Red")
	f.Add("CVSS:3.0/")
	f.Fuzz(func(t *testing.T, vector string) {
		c, err := ParseCVSS(vector)
		if err != nil {
			if c != (CVSS{}) {
				t.Fatalf("something came with the error: %+v", c)
			}
			return
		}
		if c.Base < 0 || c.Base > 10 {
			t.Fatalf("score %v", c.Base)
		}
		again, err := ParseCVSS(c.Vector)
		if err != nil || again != c {
			t.Fatalf("%+v, read again %+v, %v", c, again, err)
		}
	})
}
