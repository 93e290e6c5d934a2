// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"cmp"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// ADP returns the answers of CISA's container in a CVE's record, in SSVC's
// words and with their source, for [Settle] to keep. Case does not count, "poc"
// is a public one, and a word that SSVC does not have is no answer.
func ADP(exploitation, automatable, technicalImpact string) (s finding.SSVC) {
	take := func(said string, words []string) (string, finding.Source) {
		said = strings.ToLower(said)
		if said == "poc" {
			said = exploitations[PublicPoC]
		}
		if !slices.Contains(words, said) {
			return "", ""
		}
		return said, finding.FromADP
	}
	s.Exploitation, s.From.Exploitation = take(exploitation, exploitations[:])
	s.Automatable, s.From.Automatable = take(automatable, yesNo[:])
	s.TechnicalImpact, s.From.TechnicalImpact = take(technicalImpact, technical[:])
	return s
}

// vectors returns what can be read of a finding's CVSS vectors, the one that
// follows from the rubric's answers first.
func vectors(f *finding.Finding) (list []CVSS, rubric *Rubric) {
	if f.Rubric != "" {
		if r, err := ParseRubric(f.Rubric); err == nil {
			c, _ := ParseCVSS(r.CVSS()) // which a rubric always has
			list, rubric = append(list, c), &r
		}
	}
	for _, s := range f.CVSS {
		if c, err := ParseCVSS(s.Vector); err == nil {
			list = append(list, c)
		}
	}
	return list, rubric
}

// AnswersOf returns the answers for a finding on a device exposed like that, and
// where they come from. From the weakest to the strongest:
//
//  1. the kind of finding ([finding.Kinds]);
//  2. the rubric's answers and the CVSS vectors: automatable and technical impact
//     where there is a vector at all, exploitation where one says how mature
//     attacks are; of several the worst counts;
//  3. CISA's container in the CVE's record, kept in f.SSVC by [ADP];
//  4. KEV, which makes exploitation active.
//
// EPSS is no answer to any of them.
func AnswersOf(f *finding.Finding, e Exposure) (Answers, finding.Sources) {
	a := AnswersFor(f.Kind, f.Harm, e)
	var from finding.Sources
	list, rubric := vectors(f)
	for i, c := range list {
		source := finding.FromCVSS
		if i == 0 && rubric != nil {
			source = finding.FromRubric
		}
		if c.Automatable && !a.Automatable || from.Automatable == "" {
			a.Automatable, from.Automatable = c.Automatable, source
		}
		if c.Total && !a.Total || from.TechnicalImpact == "" {
			a.Total, from.TechnicalImpact = c.Total, source
		}
		if c.Matured && (c.Exploitation > a.Exploitation || from.Exploitation == "") {
			a.Exploitation, from.Exploitation = c.Exploitation, source
		}
	}
	if x, ok := ParseExploitation(f.SSVC.Exploitation); ok && f.SSVC.From.Exploitation == finding.FromADP {
		a.Exploitation, from.Exploitation = x, finding.FromADP
	}
	if f.SSVC.From.Automatable == finding.FromADP {
		a.Automatable, from.Automatable = f.SSVC.Automatable != yesNo[0], finding.FromADP
	}
	if f.SSVC.From.TechnicalImpact == finding.FromADP {
		a.Total, from.TechnicalImpact = f.SSVC.TechnicalImpact != technical[0], finding.FromADP
	}
	if f.KEV {
		a.Exploitation, from.Exploitation = Active, finding.FromKEV
	}
	return a, from
}

// Settle gives a finding, whose harm is known, its answers and its decision.
// What claims an expectation is never act unless somebody stated what is
// expected, nor is what a detector or a match is not sure of.
func Settle(f *finding.Finding, e Exposure, expected bool) {
	a, from := AnswersOf(f, e)
	f.SSVC = a.SSVC()
	f.SSVC.From = from
	f.Decision = Decide(a)
	if doubt(f, expected) != "" {
		f.Decision = min(f.Decision, finding.Attend)
	}
}

// doubt says in words why a finding cannot be act, or nothing.
func doubt(f *finding.Finding, expected bool) string {
	switch {
	case f.Confidence == device.Low:
		return "the confidence is low"
	case f.Certainty == finding.Review:
		return "the match is for a person to review"
	case infoOf(f.Kind).Unexpected && !expected:
		return "nobody stated what is expected (--baseline)"
	}
	return ""
}

// ReachOf returns what a finding lets happen. Of a published weakness the
// vectors say it, by the greatest loss of them all; what a weakness in a part
// does to the device around it is its own harm only where the whole part is
// taken.
//
//	                          in the product    in a component
//	everything read+changed   the device's      the device's
//	Safety                    the device's      the device's
//	I or A high               the device's      a foothold
//	I or A low                a foothold        a foothold
//	C alone                   disclosure        disclosure
//
// The rubric, where it is answered, decides alone: what of diagnosis,
// monitoring or therapy can be altered or made unavailable is the device's harm.
func ReachOf(f *finding.Finding) finding.Reach {
	info := infoOf(f.Kind)
	list, rubric := vectors(f)
	switch {
	case info.Group != finding.KnownWeakness || list == nil:
		return info.Reach
	case rubric != nil && rubric.Body() > NoLoss:
		return finding.ReachDevice
	case rubric != nil:
		list = list[:1]
	}
	reach := finding.ReachNothing
	for _, c := range list {
		lost := max(c.Integrity, c.Availability)
		switch {
		case rubric != nil && lost > NoLoss:
			reach = max(reach, finding.ReachFoothold)
		case c.Total || c.Safety || lost == AllLoss && f.Component == "":
			return finding.ReachDevice
		case lost > NoLoss:
			reach = finding.ReachFoothold
		}
	}
	return reach
}

// HarmOf returns the harm that a finding about a device or product with that
// worst harm lets happen, and whether that is disclosure alone. Harm that is
// not known stays so.
func HarmOf(f *finding.Finding, worst device.Harm) (h device.Harm, privacy bool) {
	switch ReachOf(f) {
	case finding.ReachDevice:
		return worst, false
	case finding.ReachFoothold:
		if worst > device.Negligible {
			worst--
		}
		return worst, false
	}
	list, _ := vectors(f)
	for _, c := range list {
		privacy = privacy || c.Confidentiality > NoLoss
	}
	return device.Negligible, privacy || infoOf(f.Kind).Group == finding.PatientData
}

// Compare orders findings by urgency: decision, harm, EPSS. What has no score,
// because nobody forecasts it or because it was seen and is no forecast, comes
// before what has one: unknown is not zero.
func Compare(x, y *finding.Finding) int {
	epss := func(f *finding.Finding) float64 {
		if f.EPSS <= 0 {
			return 2
		}
		return f.EPSS
	}
	return cmp.Or(cmp.Compare(y.Decision, x.Decision), cmp.Compare(y.Harm, x.Harm), cmp.Compare(epss(y), epss(x)))
}
