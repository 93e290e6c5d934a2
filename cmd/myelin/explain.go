// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/risk"
)

func explainVerb(c *console) *cobra.Command {
	var format formatFlag
	answer := answerFlags{minDecision: levels[0]}
	v := &cobra.Command{
		Use:   "explain [flags] FINDING PATH...",
		Short: "Say why a finding has its decision",
		Long: `Explain says why a finding is act, attend, track* or track: the answers behind
it and where each comes from, the rows of CISA's and CERT/CC's tables, whose
harm it has, and what documents say of it. FINDING is its id or the beginning
of it, or a CVE, an advisory, a kind or a device, of which several findings are
listed. PATH a saved answer ('myelin assess --format json'), or what is to be
assessed; "-" is standard input.`,
		Example: `  myelin explain lateral-movement ward.pcap
  myelin explain known-exploited-k3jw saved.json
  myelin explain CVE-2024-1275 register.csv sboms/ advisories/
  myelin assess --format json captures/ | myelin explain phi-in-clear -`,
		DisableFlagsInUseLine: true,
		Args:                  atLeast(2, "explain what? name a finding, by its id or the beginning of it, and where it is: a saved answer, a capture, or - for standard input"),
		RunE: func(v *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			config, err := answer.config()
			if err != nil {
				return err
			}
			a, saved, err := c.answered(v, args[1:], config)
			if err != nil {
				return err
			}
			found := findingsOf(a, args[0])
			switch {
			case len(found) == 0:
				return notFound(a, args[0])
			case len(found) > 1 && format.name == "json":
				return fmt.Errorf("%s: %d findings: %s", args[0], len(found), strings.Join(alike(a, found), ", "))
			case len(found) > 1:
				err = listText(c.out, a, args[0], found)
			case format.name == "json":
				err = explainJSON(c.out, a, found[0])
			default:
				err = explainText(c.out, a, found[0])
			}
			if err != nil || saved {
				return err
			}
			return answer.verdict(c, a)
		},
	}
	format.register(v, "text", "json")
	answer.registerInputs(v)
	return v
}

// saves is how the document of a saved answer begins.
var saves = regexp.MustCompile(`^\s*\{\s*"myelin"\s*:`)

// answered returns the answer that is to be explained: a saved one, or that of
// assessing paths.
func (c *console) answered(v *cobra.Command, paths []string, config assess.Config) (a *report.Assessment, saved bool, err error) {
	in := bufio.NewReader(c.in)
	config.Stdin = in
	if len(paths) == 1 {
		head := in
		if paths[0] != "-" {
			f, err := os.Open(paths[0])
			if err != nil {
				return nil, false, err
			}
			defer f.Close()
			head = bufio.NewReader(f)
			if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
				head = bufio.NewReader(strings.NewReader("")) // what can be read once is assessed
			}
		}
		if begin, _ := head.Peek(64); saves.Match(begin) {
			if a, err = report.ReadJSON(head); err != nil {
				err = fmt.Errorf("%s: %w; it has to be what 'myelin assess --format json' wrote", paths[0], err)
			}
			return a, true, err
		}
	}
	m := newMeter(c.err)
	defer m.clear()
	config.Progress = m.show
	a, err = assess.Run(v.Context(), paths, config)
	return a, false, err
}

// maxAlike is how many findings are named when it is not clear which is meant.
const maxAlike = 8

// findingsOf returns the finding with an id, or those whose id begins like this,
// or that are of a kind, CVE, advisory or device.
func findingsOf(a *report.Assessment, what string) (list []*finding.Finding) {
	same := func(s string) bool { return strings.EqualFold(s, what) }
	for i := range a.Findings {
		f := &a.Findings[i]
		if f.ID == what {
			return []*finding.Finding{f}
		}
		if what != "" && strings.HasPrefix(f.ID, what) || slices.ContainsFunc(f.CVE, same) || slices.ContainsFunc(f.Advisories, same) || same(f.Device) || same(labelOf(a, f)) {
			list = append(list, f)
		}
	}
	return list
}

// notFound says that there is no such finding, and where its supplier cleared it.
func notFound(a *report.Assessment, what string) error {
	for i := range a.Cleared {
		if c := &a.Cleared[i]; strings.EqualFold(c.Vulnerability, what) {
			return fmt.Errorf("%s: no finding: %s", what, c.Sentence(a))
		}
	}
	return fmt.Errorf("%s: no such finding; 'myelin assess' tells the ids", what)
}

// alike names findings by id and device, the first of them.
func alike(a *report.Assessment, found []*finding.Finding) (names []string) {
	short := report.ShortIDs(a.Findings)
	for i, f := range found {
		if i == maxAlike {
			return append(names, fmt.Sprintf("and %d more", len(found)-i))
		}
		names = append(names, short[f.ID]+" ("+labelOf(a, f)+")")
	}
	return names
}

// listText lists findings, one of which may be meant.
func listText(out io.Writer, a *report.Assessment, what string, found []*finding.Finding) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s: %d findings; explain one of them by its id\n\n", report.Plain(what), len(found))
	short := report.ShortIDs(a.Findings)
	for _, f := range found {
		fmt.Fprintf(w, "%s\n         %s\n", report.FindingLine(a, f), report.Plain(short[f.ID]))
	}
	return w.Flush()
}

// labelOf names whom a finding is about.
func labelOf(a *report.Assessment, f *finding.Finding) string {
	for i := range a.Devices {
		if a.Devices[i].ID == f.Device {
			return report.Label(&a.Devices[i])
		}
	}
	if f.Product != "" {
		return f.Product
	}
	return f.Device
}

// A scored is a CVSS score with what its vector really gives.
type scored struct {
	Version  string   `json:"version"`
	Vector   string   `json:"vector"`
	Base     *float64 `json:"base"`
	Source   string   `json:"source"`
	Computed *float64 `json:"computed"` // of the vector's base metrics
}

func scoresOf(f *finding.Finding) (list []scored) {
	for _, s := range f.CVSS {
		one := scored{Version: s.Version, Vector: s.Vector, Source: s.Source}
		if s.Base >= 0 {
			one.Base = &s.Base
		}
		if c, err := risk.ParseCVSS(s.Vector); err == nil {
			one.Computed = &c.Base
		}
		list = append(list, one)
	}
	return list
}

func (s *scored) String() string {
	line := s.Vector
	if s.Base != nil {
		line = one(*s.Base) + "  " + line
	}
	if s.Source != "" {
		line += "  (" + s.Source + ")"
	}
	switch {
	case s.Computed == nil:
		line += "; the vector cannot be read"
	case s.Base == nil || math.Abs(*s.Base-*s.Computed) > 0.01:
		line += "; the vector gives " + one(*s.Computed)
	}
	return line
}

// one writes a score with its one decimal.
func one(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func explainText(out io.Writer, a *report.Assessment, f *finding.Finding) error {
	x := risk.Explain(f)
	w := bufio.NewWriter(out)
	const at = 26 // where texts stand behind their names
	width := min(max(textWidth(out), 60), at+80)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-23s %s\n", name, foldAt(report.Plain(text), width-at, at))
		}
	}
	reason := func(r risk.Reason) { line(r.Question, r.Answer+": "+r.Because) }
	harm := f.Harm.String()
	if harm == "" {
		harm = "unknown"
	}
	if f.Therapy != device.NoTherapy {
		harm += " (" + f.Therapy.String() + ")"
	}

	fmt.Fprintf(w, "%s\n\n", foldAt(report.FindingLine(a, f), width-2, 2))
	line("id", f.ID)
	line("product", f.Product)
	line("harm", harm+": "+x.Harm)
	line("what to do", f.Advice)

	fmt.Fprintf(w, "\nWHY %s\n", strings.ToUpper(f.Decision.String()))
	for _, r := range x.Reasons[:4] {
		reason(r)
	}
	line("so CISA's table says", fmt.Sprintf("%s (row %d of 0 to 35)", x.Level, x.Row))
	if f.Decision != x.Level {
		because := x.Doubt
		if because == "" {
			because = "the answer was made so"
		}
		line("but it is", f.Decision.String()+", because "+because)
	}
	line("it would be", strings.Join(x.Worse, "; "))

	fmt.Fprint(w, "\nBESIDE IT\n")
	for _, r := range x.Reasons[4:] {
		reason(r)
	}
	line("so CERT/CC's tree says", fmt.Sprintf("%s (row %d of 0 to 71)", x.Action, x.Deployer))
	if x.Deadline != "" {
		line("CISA's BOD 26-04 says", x.Deadline+"; it has no question about harm")
	}

	fmt.Fprint(w, "\nWHAT IS KNOWN\n")
	line("why it can hurt", finding.Kinds[f.Kind].Why)
	line("weakness", strings.Join(append(f.CVE[:len(f.CVE):len(f.CVE)], f.CWE...), ", "))
	line("part", f.Component)
	line("advisory", strings.Join(f.Advisories, ", "))
	line("match", f.Certainty)
	for _, why := range f.Why {
		if r := []rune(why); len(r) > 600 { // --format json has all
			why = string(r[:600]) + "…"
		}
		line("  because", why)
	}
	if f.Certainty == finding.Review {
		line("what would settle it", "what is not written down, or a person who compares the device with the document; put it into the register and assess again")
	}
	line("the device", f.Exposed)
	if f.KEV {
		line("KEV", "CISA lists it as used in attacks")
	}
	if f.EPSS > 0 {
		line("EPSS", strconv.FormatFloat(f.EPSS, 'f', -1, 64)+"; it orders among findings of one decision and harm, and decides nothing")
	}
	for _, s := range scoresOf(f) {
		line(strings.TrimSpace("CVSS "+s.Version), s.String())
	}
	if r, err := risk.ParseRubric(f.Rubric); err == nil {
		line("medical rubric", r.CVSS())
		for i, answer := range r {
			if answer != 0 {
				line("  "+risk.Questions[i].Name, risk.Questions[i].Text+" "+rubricWords[answer])
			}
		}
	}
	for _, opinion := range f.Opinions {
		line("others say", opinion)
	}
	if len(f.Opinions) > 0 {
		line("", "only the product's own supplier can take the finding back")
	}
	const most = 5 // places
	for _, s := range f.Sightings[:min(len(f.Sightings), most)] {
		at := ""
		if s.Input >= 0 && s.Input < len(a.Inputs) {
			at = a.Inputs[s.Input].Path
		}
		if s.Packet > 0 {
			at += ", packet " + strconv.FormatUint(s.Packet, 10)
		}
		line("look at", strings.TrimPrefix(at+": "+s.Note, ": "))
	}
	if n := len(f.Sightings) - most; n > 0 {
		line("", fmt.Sprintf("and at %d more places", n))
	}
	return w.Flush()
}

// rubricWords are the answers to the medical rubric.
var rubricWords = map[byte]string{'Y': "yes", 'N': "no, or nothing", 'U': "unknown, so the worse counts", 'H': "all, or much", 'L': "little"}

func explainJSON(out io.Writer, a *report.Assessment, f *finding.Finding) error {
	x := risk.Explain(f)
	type reason struct {
		Question string `json:"question"`
		Answer   string `json:"answer"`
		Because  string `json:"because"`
	}
	type row struct {
		Row    int    `json:"row"`
		Answer string `json:"answer"`
	}
	doc := struct {
		ID          string   `json:"id"`
		Kind        string   `json:"kind"`
		Title       string   `json:"title"`
		Device      string   `json:"device"`
		Label       string   `json:"label"`
		Product     string   `json:"product"`
		Component   string   `json:"component"`
		Therapy     string   `json:"therapy"`
		Harm        string   `json:"harm"`
		HarmBecause string   `json:"harm_because"`
		Decision    string   `json:"decision"`
		Doubt       string   `json:"doubt"`
		Reasons     []reason `json:"reasons"`
		Coordinator row      `json:"coordinator"`
		Deployer    row      `json:"deployer"`
		Deadline    string   `json:"bod_26_04"`
		Worse       []string `json:"would_be"`
		Certainty   string   `json:"certainty"`
		Why         []string `json:"why"`
		CVE         []string `json:"cve"`
		Advisories  []string `json:"advisories"`
		CVSS        []scored `json:"cvss"`
		Rubric      string   `json:"rubric"`
		RubricCVSS  string   `json:"rubric_cvss"`
		EPSS        float64  `json:"epss"`
		KEV         bool     `json:"kev"`
		Opinions    []string `json:"opinions"`
		Advice      string   `json:"advice"`
	}{
		ID: f.ID, Kind: f.Kind.String(), Title: f.Title, Device: f.Device, Label: labelOf(a, f), Product: f.Product, Component: f.Component,
		Therapy: f.Therapy.String(), Harm: f.Harm.String(), HarmBecause: x.Harm, Decision: f.Decision.String(), Doubt: x.Doubt,
		Coordinator: row{x.Row, x.Level.String()}, Deployer: row{x.Deployer, x.Action.String()}, Deadline: x.Deadline,
		Worse: x.Worse, Certainty: f.Certainty, Why: f.Why, CVE: f.CVE, Advisories: f.Advisories, CVSS: scoresOf(f), Rubric: f.Rubric,
		EPSS: f.EPSS, KEV: f.KEV, Opinions: f.Opinions, Advice: f.Advice,
	}
	for _, r := range x.Reasons {
		doc.Reasons = append(doc.Reasons, reason(r))
	}
	for _, list := range [...]*[]string{&doc.Worse, &doc.Why, &doc.CVE, &doc.Advisories, &doc.Opinions} {
		if *list == nil {
			*list = []string{}
		}
	}
	if doc.CVSS == nil {
		doc.CVSS = []scored{}
	}
	if r, err := risk.ParseRubric(f.Rubric); err == nil {
		doc.RubricCVSS = r.CVSS()
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}
