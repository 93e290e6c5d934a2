// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ExampleRubric() {
	// Somebody next to a patient can change what her neurostimulator does: radio
	// of short range, no roles, and no data but the settings.
	r, err := ParseRubric("XAVN:Y/XAVT:N/XAVW:Y/XAVR:Y/XACL:Y/XPRL:N/XUI:N/XS:N/" +
		"XCP:N/XCD:N/XCT:L/XCW:N/XCS:N/XCO:N/XIP:N/XID:N/XIT:H/XIW:N/XIS:N/XIO:N/XAP:N/XAD:N/XAT:H/XAW:N/XAS:N/XAO:N")
	fmt.Println(r.CVSS(), r.Body() == AllLoss, err)
	// Output: CVSS:3.0/AV:L/AC:L/PR:N/UI:N/S:U/C:L/I:H/A:H true <nil>
}

// nothing answers that nothing is lost, so that a test sees its own answers.
const nothing = "XCP:N/XCD:N/XCT:N/XCW:N/XCS:N/XCO:N/XIP:N/XID:N/XIT:N/XIW:N/XIS:N/XIO:N/XAP:N/XAD:N/XAT:N/XAW:N/XAS:N/XAO:N"

// Each arrow of the decision flow, and unknown at each of its questions.
func TestRubricFlow(t *testing.T) {
	for _, tt := range []struct{ answers, metric string }{
		{"", "AV:N"},
		{"XAVN:Y", "AV:N"},
		{"XAVN:Y/XAVT:Y", "AV:N"},
		{"XAVN:Y/XAVT:U", "AV:N"},
		{"XAVN:U/XAVT:N", "AV:A"},
		{"XAVN:Y/XAVT:N/XAVW:N", "AV:L"},
		{"XAVN:Y/XAVT:N/XAVW:N/XAVR:N", "AV:L"},
		{"XAVN:Y/XAVT:N/XAVW:Y", "AV:A"},
		{"XAVN:Y/XAVT:N/XAVW:Y/XAVR:U", "AV:A"},
		{"XAVN:Y/XAVT:N/XAVW:Y/XAVR:N", "AV:A"},
		{"XAVN:Y/XAVT:N/XAVW:Y/XAVR:Y", "AV:L"},
		{"XAVN:N", "AV:L"},
		{"XAVN:N/XAVP:U", "AV:L"},
		{"XAVN:N/XAVP:N", "AV:L"},
		{"XAVN:N/XAVP:Y", "AV:P"},
		{"XAVN:N/XAVP:Y/XAVPA:Y", "AV:P"},
		{"XAVN:N/XAVP:Y/XAVT:N/XAVW:Y", "AV:P"},
		{"", "AC:L"},
		{"XACL:U", "AC:L"},
		{"XACL:Y", "AC:L"},
		{"XACL:N", "AC:H"},
		{"", "PR:N"},
		{"XPRL:N/XPRZ:Y/XPRS:Y", "PR:N"},
		{"XPRL:U/XPRZ:Y/XPRS:Y", "PR:N"},
		{"XPRL:Y", "PR:N"},
		{"XPRL:Y/XPRZ:N/XPRS:Y", "PR:N"},
		{"XPRL:Y/XPRZ:U/XPRS:Y", "PR:N"},
		{"XPRL:Y/XPRZ:Y", "PR:L"},
		{"XPRL:Y/XPRZ:Y/XPRS:U", "PR:L"},
		{"XPRL:Y/XPRZ:Y/XPRS:N", "PR:L"},
		{"XPRL:Y/XPRZ:Y/XPRS:Y", "PR:H"},
		{"", "UI:N"},
		{"XUI:U", "UI:N"},
		{"XUI:N", "UI:N"},
		{"XUI:Y", "UI:R"},
		{"", "S:C"},
		{"XS:U", "S:C"},
		{"XS:Y", "S:C"},
		{"XS:N", "S:U"},
		{"", "C:H"},
		{"", "I:H"},
		{"", "A:H"},
		{nothing, "C:N"},
		{nothing, "I:N"},
		{nothing, "A:N"},
		{strings.Replace(nothing, "XCP:N", "XCP:H", 1), "C:H"},
		{strings.Replace(nothing, "XCP:N", "XCP:H/XCPM:U", 1), "C:H"},
		{strings.Replace(nothing, "XCP:N", "XCP:H/XCPM:Y", 1), "C:H"},
		{strings.Replace(nothing, "XCP:N", "XCP:H/XCPM:N", 1), "C:L"},
		{strings.Replace(nothing, "XCP:N", "XCP:U/XCPM:N", 1), "C:L"},
		{strings.Replace(nothing, "XCP:N", "XCP:L/XCPM:Y", 1), "C:L"},
		{strings.Replace(nothing, "XCS:N", "XCS:H/XCPM:N", 1), "C:H"},
	} {
		var r Rubric
		var err error
		if tt.answers != "" {
			r, err = ParseRubric(tt.answers)
		}
		if err != nil || !slices.Contains(strings.Split(r.CVSS(), "/"), tt.metric) {
			t.Errorf("%s: %s, %v; want %s", tt.answers, r.CVSS(), err, tt.metric)
		}
	}
	// Each of the eighteen sets its metric, and no other.
	for _, property := range properties {
		for _, kind := range kinds {
			for answer, level := range map[string]string{"H": "H", "U": "H", "L": "L"} {
				name := "X" + property.letter + kind.letter
				r, err := ParseRubric(strings.Replace(nothing, name+":N", name+":"+answer, 1))
				want := ""
				for _, p := range properties {
					l := "N"
					if p == property {
						l = level
					}
					want += "/" + p.letter + ":" + l
				}
				if err != nil || !strings.HasSuffix(r.CVSS(), want) {
					t.Errorf("%s:%s: %s, %v; want %s", name, answer, r.CVSS(), err, want)
				}
				body := NoLoss
				if strings.Contains("XIT XAT XID XAD", name) {
					body = map[string]Level{"L": SomeLoss, "H": AllLoss}[level]
				}
				if r.Body() != body {
					t.Errorf("%s:%s reaches the body: %v, want %v", name, answer, r.Body(), body)
				}
			}
		}
	}
}

func TestRubricRefuses(t *testing.T) {
	for vector, want := range map[string]string{
		"":                          "answer 1",
		"XAVN":                      "XAVN has no such answer",
		"XAVN:H":                    "XAVN has no such answer",
		"XIT:Y":                     "XIT has no such answer",
		"XAVN:Y/XAVN:N":             "twice",
		"XAVN:Y/":                   "answer 2",
		"XAVN:Y/XNO:N":              "answer 2",
		"AV:N":                      "answer 1",
		"XAVN:YN":                   "no such answer",
		strings.Repeat("XS:U/", 60): "bytes",
	} {
		if r, err := ParseRubric(vector); err == nil || !strings.Contains(err.Error(), want) || r != (Rubric{}) {
			t.Errorf("%.40s: %v, %v; want an error with %q", vector, r, err, want)
		}
	}
}

// The names are distinct, and answering a question with unknown never makes the
// score less than any answer that is known.
func TestRubricUnknownIsWorst(t *testing.T) {
	names := map[string]bool{}
	for _, q := range Questions {
		if names[q.Name] || q.Name == "" || !strings.HasSuffix(q.Text, "?") {
			t.Errorf("question %+v", q)
		}
		names[q.Name] = true
	}
	rapid.Check(t, func(t *rapid.T) {
		var r Rubric
		for i := range r {
			r[i] = rapid.SampledFrom([]byte(Questions[i].Answers+"\x00")).Draw(t, Questions[i].Name)
		}
		if again, err := ParseRubric(r.String()); r != (Rubric{}) && (err != nil || again != r) {
			t.Fatalf("%s: %v, %v", r, again, err)
		}
		i := rapid.IntRange(0, questions-1).Draw(t, "question")
		unknown := r
		unknown[i] = 'U'
		known, err := ParseCVSS(r.CVSS())
		worse, err2 := ParseCVSS(unknown.CVSS())
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if worse.Base < known.Base || worse.Automatable != known.Automatable && known.Automatable || unknown.Body() < r.Body() {
			t.Fatalf("%s is %v; with %s unknown %v", r, known.Base, Questions[i].Name, worse.Base)
		}
	})
}

func FuzzParseRubric(f *testing.F) {
	f.Add(nothing)
	f.Add("XAVN:Y/XAVPA:U")
	f.Fuzz(func(t *testing.T, vector string) {
		r, err := ParseRubric(vector)
		if err != nil {
			return
		}
		if again, err := ParseRubric(r.String()); err != nil || again != r {
			t.Fatalf("%v, %v", again, err)
		}
		if _, err := ParseCVSS(r.CVSS()); err != nil {
			t.Fatal(err)
		}
	})
}
