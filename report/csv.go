// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/myelin-health/myelin/finding"
)

// columns are the columns of the CSV, named as in the JSON document. Lists are
// joined with blanks, reasons and opinions with semicolons; of the sightings the
// first is told, and of the scores the highest.
var columns = []string{
	"id", "kind", "title", "device", "label", "product", "peer", "therapy", "harm", "decision",
	"exploitation", "automatable", "technical_impact", "mission_well_being", "human_impact", "deployer",
	"exposure", "confidence", "certainty", "state", "count", "subjects", "first", "last",
	"advisories", "cve", "cwe", "attack",
	"component", "base", "vector", "rubric", "epss", "kev", "why", "opinions", "input", "packet", "offset", "note", "advice",
}

// CSV writes the findings as RFC 4180 has it: one header, one row for each.
func CSV(w io.Writer, a *Assessment) error {
	g := newDigest(a)
	out := csv.NewWriter(w)
	out.UseCRLF = true // RFC 4180 section 2
	if err := out.Write(columns); err != nil {
		return err
	}
	for i := range a.Findings {
		f := &a.Findings[i]
		j := findingJSON(a, f)
		var s jsonSighting
		if len(j.Sightings) > 0 {
			s = j.Sightings[0]
		}
		base, vector := "", ""
		if worst := worst(f); worst != nil {
			base, vector = strconv.FormatFloat(worst.Base, 'f', 1, 64), worst.Vector
		}
		row := []string{
			j.ID, j.Kind, j.Title, j.Device, g.who(f), j.Product, j.Peer, j.Therapy, j.Harm, j.Decision,
			j.SSVC.Exploitation, j.SSVC.Automatable, j.SSVC.TechnicalImpact, j.SSVC.MissionWellBeing, j.SSVC.HumanImpact, j.SSVC.Action,
			j.Exposure, j.Confidence, j.Certainty, j.State, strconv.FormatUint(j.Count, 10), strconv.Itoa(j.Subjects), j.First, j.Last,
			strings.Join(j.Advisories, " "), strings.Join(j.CVE, " "), strings.Join(j.CWE, " "), strings.Join(j.Attack, " "),
			j.Component, base, vector, j.Rubric, epss(f), yes(j.KEV), strings.Join(j.Why, "; "), strings.Join(j.Opinions, "; "),
			s.Input, strconv.FormatUint(s.Packet, 10), strconv.Itoa(s.Offset), s.Note, j.Advice,
		}
		for i := range row {
			row[i] = Cell(row[i])
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// worst returns the highest score of a finding, or nil.
func worst(f *finding.Finding) (w *finding.Score) {
	for i := range f.CVSS {
		if s := &f.CVSS[i]; s.Base >= 0 && (w == nil || s.Base > w.Base) {
			w = s
		}
	}
	return w
}

// epss writes a probability as it is published, and nothing for one not known.
func epss(f *finding.Finding) string {
	if f.EPSS <= 0 {
		return ""
	}
	return strconv.FormatFloat(f.EPSS, 'f', -1, 64)
}

// yes writes what is said where it is so.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// Cell keeps a spreadsheet from taking text from outside for a formula, and a
// terminal from obeying it. A spreadsheet looks behind blanks, and some take the wide
// forms of these signs, too.
func Cell(s string) string {
	s = Plain(s)
	if t := strings.TrimLeftFunc(s, unicode.IsSpace); t != "" && strings.ContainsAny(string([]rune(t)[:1]), "=+-@|%＝＋－＠") {
		return "'" + s
	}
	return s
}
