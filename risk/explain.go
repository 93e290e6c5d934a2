// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"fmt"

	"github.com/myelin-health/myelin/finding"
)

// A Reason is one answer behind a decision, and where it comes from in words.
type Reason struct {
	Question, Answer, Because string
}

// An Explanation says why a finding has its decision.
type Explanation struct {
	Harm     string   // why it has this harm
	Reasons  []Reason // the four answers of CISA's table, then the Deployer's other two
	Row      int      // of CISA's table, counted from 0 as the SSVC project counts
	Level    finding.Decision
	Doubt    string // why the finding's decision is below the table's, or ""
	Deployer int    // row of CERT/CC's tree
	Action   Action
	Deadline string   // of BOD 26-04, of a CVE, or ""
	Worse    []string // which one other answer would make it more urgent
}

// read takes answers from their words. What is no answer counts as the worst.
func read(s finding.SSVC) Answers {
	at := func(words []string, said string) int {
		for i, w := range words {
			if w == said {
				return i
			}
		}
		return len(words) - 1
	}
	return Answers{
		Exploitation: Exploitation(at(exploitations[:], s.Exploitation)),
		Automatable:  at(yesNo[:], s.Automatable) == 1,
		Total:        at(technical[:], s.TechnicalImpact) == 1,
		WellBeing:    WellBeing(at(wellBeings[:], s.MissionWellBeing)),
		Exposure:     Exposure(at(exposures[:], s.Exposure)),
		HumanImpact:  HumanImpact(at(humanImpacts[:], s.HumanImpact)),
	}
}

// because says where an answer comes from, for each source that it can have
// but the kind of finding, of which ofKind says more.
var because = map[finding.Source][3]string{ // exploitation, automatable, technical impact
	finding.FromKEV:    {0: "CISA's catalogue says that attackers use it (KEV)"},
	finding.FromADP:    {0: "CISA's answer in the CVE's record (ADP)", 1: "CISA's answer in the CVE's record (ADP)", 2: "CISA's answer in the CVE's record (ADP)"},
	finding.FromCVSS:   {0: "how mature attacks are, by CVSS (E)", 1: "how it is reached, by CVSS (AV, AC, PR, UI)", 2: "what can be read and changed, by CVSS (C, I)"},
	finding.FromRubric: {0: "by the medical rubric", 1: "how it is reached, by the medical rubric", 2: "what can be read and changed, by the medical rubric"},
}

// ofKind says what an answer of the kind of finding means.
var ofKind = map[string]string{
	exploitations[NoExploitation]: "no attack is known or published",
	exploitations[PublicPoC]:      "how to use this kind of weakness is published",
	exploitations[Active]:         "this kind of finding is an attack, or is used in attacks",
	yesNo[0]:                      "this kind of finding takes work by hand for each device",
	yesNo[1]:                      "of this kind of finding a program can do all steps",
	technical[0]:                  "this kind of finding gives a view, or a part of the control",
	technical[1]:                  "this kind of finding gives full control of the part concerned",
}

// Explain says why a finding has its decision. It reads what the finding says,
// and so explains a saved one as it was.
func Explain(f *finding.Finding) Explanation {
	a := read(f.SSVC)
	why := func(question int, answer string, source finding.Source) string {
		if source == "" {
			return ofKind[answer]
		}
		return because[source][question]
	}
	harm := "the harm is " + f.Harm.String()
	if f.Harm.String() == "" {
		harm = "the harm is not known, and so in the middle"
	}
	place := [...]string{Small: "hardly anybody reaches it", Controlled: "the hospital's network reaches it", Open: "the other side is outside the hospital"}[a.Exposure]
	x := Explanation{
		Reasons: []Reason{
			{"exploitation", f.SSVC.Exploitation, why(0, f.SSVC.Exploitation, f.SSVC.From.Exploitation)},
			{"automatable", f.SSVC.Automatable, why(1, f.SSVC.Automatable, f.SSVC.From.Automatable)},
			{"technical impact", f.SSVC.TechnicalImpact, why(2, f.SSVC.TechnicalImpact, f.SSVC.From.TechnicalImpact)},
			{"mission and well-being", f.SSVC.MissionWellBeing, harm},
			{"exposure", f.SSVC.Exposure, place},
			{"human impact", f.SSVC.HumanImpact, harm},
		},
		Row:      ((int(a.Exploitation)*2+index(a.Automatable))*2+index(a.Total))*3 + int(a.WellBeing),
		Level:    Decide(a),
		Deployer: ((int(a.Exploitation)*3+int(a.Exposure))*2+index(a.Automatable))*4 + int(a.HumanImpact),
		Action:   Deploy(a),
	}
	switch reach := ReachOf(f); {
	case reach == finding.ReachDevice:
		x.Harm = "it reaches what a device does to a body, so it has that device's own harm"
	case reach == finding.ReachFoothold:
		x.Harm = "it is a step towards a device, so its harm is one below that device's"
	case f.Privacy:
		x.Harm = "it discloses, and hurts nobody's body"
	default:
		x.Harm = "by itself it hurts nobody"
	}
	if f.Decision < x.Level {
		x.Doubt = doubt(f, false)
	}
	if len(f.CVE) > 0 {
		x.Deadline = DeadlineOf(f.KEV, a).String()
	}
	x.Worse = worse(a)
	return x
}

// worse lists the single answers that would make a finding more urgent in
// CISA's table.
func worse(a Answers) (list []string) {
	add := func(b Answers, question, answer string) {
		if d := Decide(b); d > Decide(a) {
			list = append(list, fmt.Sprintf("%s if %s were %s", d, question, answer))
		}
	}
	for e := a.Exploitation + 1; e <= Active; e++ {
		b := a
		b.Exploitation = e
		add(b, "exploitation", e.String())
	}
	b := a
	b.Automatable = true
	add(b, "automatable", "yes")
	b = a
	b.Total = true
	add(b, "technical impact", "total")
	for w := a.WellBeing + 1; w <= HighWellBeing; w++ {
		b := a
		b.WellBeing = w
		add(b, "mission and well-being", w.String())
	}
	return list
}
