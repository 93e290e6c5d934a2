// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// What a document says must not move a terminal's cursor, forge a line or turn
// the direction of writing, whatever the answer is written in.
func TestHostileText(t *testing.T) {
	const hostile = "\x1b[31mE\u202eabc\u2066\u0085\u009b31m\u2028\x07\b\f\r\n\t\\\"/end\x7f\xff"
	a := &Assessment{
		Version: hostile, Inputs: []Input{{Path: hostile, Note: hostile, Error: hostile}},
		Devices: []device.Device{{ID: "d", Name: hostile, Ward: hostile, Product: device.Product{Manufacturer: hostile, Model: hostile, Version: hostile}}},
		Findings: []finding.Finding{{
			ID: hostile, Kind: finding.VulnerableProduct, Title: hostile, Device: "d", Product: hostile, Component: hostile, Advice: hostile,
			Advisories: []string{hostile}, CVE: []string{hostile}, CWE: []string{hostile}, Why: []string{hostile}, Opinions: []string{hostile}, Rubric: hostile, Exposed: hostile,
			CVSS: []finding.Score{{Vector: hostile, Source: hostile}}, Sightings: []finding.Sighting{{Note: hostile}},
		}},
		Stats: Stats{Lost: map[string]uint64{hostile: 1}},
	}
	for name, say := range map[string]func(io.Writer, *Assessment) error{"json": JSON, "sarif": SARIF} {
		var b bytes.Buffer
		if err := say(&b, a); err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(&b)
		said := 0
		for {
			tok, err := d.Token()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s, _ := tok.(string)
			if name == "sarif" { // whose rules, which are ours, have lines
				s = strings.ReplaceAll(s, "\n", " ")
			}
			if strings.Contains(s, "abc") && strings.Contains(s, "\\\"/end") {
				said++
			}
			if s != Plain(s) {
				t.Errorf("%s: %q", name, s)
			}
		}
		if said < 10 {
			t.Errorf("%s says %d of the texts", name, said)
		}
	}
	if a.Findings[0].Title != hostile {
		t.Error("the assessment itself was changed")
	}
}
