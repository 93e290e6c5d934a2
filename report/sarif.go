// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"encoding/json"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/myelin-health/myelin/finding"
)

// The parts of SARIF 2.1.0 (OASIS, errata 01) that an assessment fills; names
// are the standard's.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Artifacts   []sarifArtifact   `json:"artifacts"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
		FullDescription  sarifMessage `json:"fullDescription"`
		Help             sarifMessage `json:"help"`
		Properties       sarifTags    `json:"properties"`
	}
	sarifTags struct {
		Tags   []string `json:"tags"`
		CWE    []string `json:"cwe"`
		Attack []string `json:"attack"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifArtifact struct {
		Location sarifArtifactLocation `json:"location"`
		Length   int64                 `json:"length"`
	}
	sarifArtifactLocation struct {
		URI   string `json:"uri"`
		Index *int   `json:"index,omitempty"`
	}
	sarifLocation struct {
		Physical *sarifPhysical  `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical  `json:"logicalLocations,omitempty"`
		Message  *sarifMessage   `json:"message,omitempty"`
		Frame    *sarifFrameSpot `json:"properties,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifactLocation `json:"artifactLocation"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Full string `json:"fullyQualifiedName,omitempty"`
		Kind string `json:"kind"`
	}
	// A sarifFrameSpot is where in a capture. It is no region: a region's
	// byteOffset counts from the start of the file (section 3.30.11), ours from
	// the start of the frame.
	sarifFrameSpot struct {
		Packet uint64 `json:"packet"`
		Offset int    `json:"offset"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifMessage       `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Related      []sarifLocation    `json:"relatedLocations,omitempty"`
		Count        uint64             `json:"occurrenceCount,omitempty"`
		Fingerprints map[string]string  `json:"fingerprints"`
		Rank         float64            `json:"rank"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   sarifProperties    `json:"properties"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifProperties struct {
		Decision   string   `json:"decision"`
		Deployer   string   `json:"deployer"`
		Therapy    string   `json:"therapy"`
		Harm       string   `json:"harm"`
		Confidence string   `json:"confidence"`
		Subjects   int      `json:"subjects"`
		First      string   `json:"first"`
		Last       string   `json:"last"`
		CVE        []string `json:"cve"`
		Advice     string   `json:"advice"`

		Certainty  string      `json:"certainty,omitempty"`
		Advisories []string    `json:"advisories,omitempty"`
		CWE        []string    `json:"cwe,omitempty"`
		Component  string      `json:"component,omitempty"`
		CVSS       []jsonScore `json:"cvss,omitempty"`
		Rubric     string      `json:"rubric,omitempty"`
		EPSS       float64     `json:"epss,omitempty"`
		KEV        bool        `json:"kev,omitempty"`
		Why        []string    `json:"why,omitempty"`
		Opinions   []string    `json:"opinions,omitempty"`
	}
)

var sarifLevels = [...]string{finding.Track: "note", finding.TrackStar: "note", finding.Attend: "warning", finding.Act: "error"}

// SARIF writes the findings as SARIF 2.1.0.
func SARIF(w io.Writer, a *Assessment) error {
	g := newDigest(a)
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "myelin", Version: a.Version}},
		Invocations: []sarifInvocation{{ExecutionSuccessful: g.unread == 0, Notifications: []sarifNotification{}}},
		Artifacts:   make([]sarifArtifact, 0, len(a.Inputs)), Results: make([]sarifResult, 0, len(a.Findings)),
	}
	index := map[finding.Kind]int{}
	for k := finding.NoKind + 1; int(k) < len(finding.Kinds); k++ {
		info := &finding.Kinds[k]
		index[k] = len(run.Tool.Driver.Rules)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: info.Name, ShortDescription: sarifMessage{info.Title}, FullDescription: sarifMessage{info.Why},
			Help:       sarifMessage{info.Why + "\n\nWhat to do: " + info.Advice},
			Properties: sarifTags{[]string{"security", info.Group.String()}, list(info.CWE), list(info.Attack)},
		})
	}
	for i, in := range a.Inputs {
		run.Artifacts = append(run.Artifacts, sarifArtifact{sarifArtifactLocation{URI: uri(in.Path)}, max(in.Bytes, -1)})
		if in.Error != "" {
			run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{
				Level: "error", Message: sarifMessage{Plain(in.Error)},
				Locations: []sarifLocation{{Physical: &sarifPhysical{sarifArtifactLocation{uri(in.Path), &i}}}},
			})
		}
	}
	for i := range a.Findings {
		f := &a.Findings[i]
		j := findingJSON(a, f)
		r := sarifResult{
			RuleID: j.Kind, RuleIndex: index[f.Kind], Level: sarifLevels[min(f.Decision, finding.Act)],
			Message:      sarifMessage{Plain(cmp.Or(f.Title, j.Kind) + ": " + g.who(f))},
			Locations:    []sarifLocation{},
			Count:        f.Count,
			Fingerprints: map[string]string{"myelin/v1": f.ID},
			// The order of urgency, said as a number between 0 and 100.
			Rank: 100 * float64(len(a.Findings)-i) / float64(len(a.Findings)),
			Properties: sarifProperties{
				j.Decision, j.SSVC.Action, j.Therapy, j.Harm, j.Confidence, j.Subjects, j.First, j.Last, j.CVE, j.Advice,
				j.Certainty, f.Advisories, f.CWE, j.Component, j.CVSS, j.Rubric, j.EPSS, j.KEV, j.Why, j.Opinions,
			},
		}
		if f.State == "false-positive" {
			r.Suppressions = []sarifSuppression{{"external", "accepted", f.State}}
		}
		logical := []sarifLogical{{g.who(f), f.Device, "device"}}
		for _, s := range f.Sightings {
			var l sarifLocation
			if s.Packet > 0 {
				l.Frame = &sarifFrameSpot{s.Packet, s.Offset}
			}
			if s.Input >= 0 && s.Input < len(a.Inputs) {
				l.Physical = &sarifPhysical{sarifArtifactLocation{uri(a.Inputs[s.Input].Path), &s.Input}}
			}
			if s.Note != "" {
				l.Message = &sarifMessage{Plain(s.Note)}
			}
			if len(r.Locations) == 0 {
				l.Logical = logical
				r.Locations = append(r.Locations, l)
				continue
			}
			r.Related = append(r.Related, l)
		}
		if len(r.Locations) == 0 {
			r.Locations = append(r.Locations, sarifLocation{Logical: logical})
		}
		run.Results = append(run.Results, r)
	}
	for i := range a.Cleared {
		run.Results = append(run.Results, a.clearedSARIF(&a.Cleared[i], index))
	}
	e := json.NewEncoder(&plainJSON{w: w, lines: true}) // our own rules have lines
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{
		"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run},
	})
}

// clearedSARIF is a result that the product's supplier suppresses.
func (a *Assessment) clearedSARIF(c *Cleared, index map[finding.Kind]int) sarifResult {
	kind := finding.VulnerableProduct
	if c.Component != "" {
		kind = finding.VulnerableComponent
	}
	r := sarifResult{
		RuleID: kind.String(), RuleIndex: index[kind], Level: "note", Message: sarifMessage{Plain(c.Vulnerability) + ": " + c.what()}, Locations: []sarifLocation{{Logical: []sarifLogical{}}},
		Fingerprints: map[string]string{"myelin/v1": finding.IDOf(kind, "cleared", c.Vulnerability, c.Product, c.Component)},
		Suppressions: []sarifSuppression{{"external", "accepted", c.because() + "; " + c.by(a)}},
		Properties:   sarifProperties{Component: Plain(c.Component), CVE: []string{Plain(c.Vulnerability)}},
	}
	for _, id := range c.Devices {
		r.Locations[0].Logical = append(r.Locations[0].Logical, sarifLogical{id, id, "device"})
	}
	if len(c.Devices) == 0 {
		r.Locations[0].Logical = []sarifLogical{{Name: Plain(c.Product), Kind: "product"}}
	}
	if c.Input >= 0 && c.Input < len(a.Inputs) {
		r.Locations[0].Physical = &sarifPhysical{sarifArtifactLocation{uri(a.Inputs[c.Input].Path), &c.Input}}
	}
	return r
}

// uri writes a path as a URI reference.
func uri(file string) string {
	file = strings.ToValidUTF8(filepath.ToSlash(file), "\uFFFD")
	u := url.URL{Path: file}
	if path.IsAbs(file) {
		u.Scheme = "file"
	}
	return u.String()
}
