// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/risk"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// findingPage says everything about one finding.
type findingPage struct {
	frame `json:"-"`
	findingRow
	Kind, About   string
	Why           string // how it can hurt
	Do            string
	Product       string
	First         when
	Count         int
	Edition       int64
	Reasons       []risk.Reason // the four of CISA's table
	Deployer      []risk.Reason // the other two of CERT/CC's
	Explained     risk.Explanation
	Where         []placeLine
	Packets       bool `json:"-"` // some of these are in recordings
	Published     []fact
	Match         []string // why it is held to be so
	Opinions      []string
	References    []string
	History       []stepLine
	triageChoice  `json:"-"`
	Justification string // in force
}

// A placeLine is where to look.
type placeLine struct {
	At              when
	Packet          uint64
	Offset          int
	Capture         string // of a sensor: the interface, or the file
	Note, Wireshark string
}

type stepLine struct {
	At                              when
	By, What, Reason, Justification string
	Text                            string // a comment
}

// ownFinding returns a finding if who asks may see its product.
func (p *Pages) ownFinding(r *http.Request, who *access.Principal, id string) (*store.Finding, []store.Step, error) {
	f, steps, err := p.Store.Finding(r.Context(), id)
	if err != nil {
		return nil, nil, err
	}
	if who.Products() != nil && !who.Sees(f.Product) {
		if f.Device == "" {
			return nil, nil, store.ErrNotFound
		}
		d, err := p.Store.Device(r.Context(), f.Device)
		if err != nil {
			return nil, nil, err
		}
		if !who.Sees(strings.TrimSpace(d.Manufacturer + " " + d.Model)) {
			return nil, nil, store.ErrNotFound
		}
	}
	return f, steps, nil
}

func (p *Pages) finding(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	f, steps, err := p.ownFinding(r, who, strings.TrimSuffix(r.PathValue("id"), ".json"))
	if err != nil {
		return err
	}
	page := &findingPage{
		frame: p.framed(r, who, f.Title), findingRow: findingRow{p.findingLine(f), f.Assignee, f.CVE, f.KEV, f.Certainty == "review"},
		Kind: f.Kind.String(), Do: f.Advice, Product: f.Product, First: p.when(f.First), Count: int(f.Count), Edition: f.Version,
		Explained: risk.Explain(&f.Finding), Match: f.Why, Opinions: f.Opinions,
	}
	page.findingLine.Title = f.Title
	if int(f.Kind) < len(finding.Kinds) {
		info := &finding.Kinds[f.Kind]
		page.About, page.Why, page.References = info.Group.String(), info.Why, info.References
		page.Do = cmp.Or(page.Do, info.Advice)
	}
	page.Reasons, page.Deployer = page.Explained.Reasons[:4], page.Explained.Reasons[4:]
	for _, s := range f.Sightings {
		place := placeLine{At: p.when(s.Time), Packet: s.Packet, Offset: s.Offset, Capture: s.Capture, Note: s.Note}
		if s.Packet > 0 {
			page.Packets = true
			place.Wireshark = "frame.number == " + strconv.FormatUint(s.Packet, 10)
		}
		page.Where = append(page.Where, place)
	}
	page.published(f)
	for i := range steps {
		page.History = append(page.History, p.stepLine(&steps[i]))
	}
	for _, s := range steps { // the newest first
		if s.What == "state" && s.To == f.State {
			page.Justification = s.Justification
			break
		}
	}
	if page.triageChoice, err = p.choice(r, who); err != nil {
		return err
	}
	page.States = slices.DeleteFunc(slices.Clone(page.States), func(s string) bool { return s == f.State })
	return p.show(w, r, "finding", page)
}

// published are facts of a known weakness.
func (page *findingPage) published(f *store.Finding) {
	add := func(name, text, path string) {
		if text != "" {
			page.Published = append(page.Published, fact{name, text, path})
		}
	}
	for _, id := range f.CVE {
		add("CVE", id, "/findings?cve="+url.QueryEscape(id))
	}
	add("Part", f.Component, "")
	add("Advisories", strings.Join(f.Advisories, ", "), "")
	if f.KEV {
		add("Attacks", "attackers use it: CISA lists it (KEV)", "")
	}
	if f.EPSS > 0 {
		add("EPSS", strconv.FormatFloat(100*f.EPSS, 'f', 1, 64)+" % within 30 days", "")
	}
	for _, s := range f.CVSS {
		if s.Base >= 0 {
			add("CVSS "+s.Version, strconv.FormatFloat(s.Base, 'f', 1, 64)+" by "+cmp.Or(s.Source, "its document")+" "+s.Vector, "")
		}
	}
	add("CWE", strings.Join(f.CWE, ", "), "")
	add("Certainty", f.Certainty, "")
	add("Exposed", f.Exposed, "")
	add("Protocol", f.Protocol, "")
	others := len(f.Peers)
	if others == 0 && f.Peer != "" {
		others = 1
	}
	if others > 0 {
		add("Other side", plural(others, "device"), "")
	}
}

// stepLine tells a step of the history.
func (p *Pages) stepLine(s *store.Step) stepLine {
	line := stepLine{At: p.when(s.At), By: cmp.Or(s.By, "the server"), Reason: s.Reason, Justification: s.Justification}
	switch s.What {
	case "seen":
		line.What = "seen for the first time: " + s.To
	case "state":
		line.What = s.From + " to " + s.To
	case "decision":
		line.What = "decision from " + s.From + " to " + s.To
	case "assign":
		line.What = "assigned to " + cmp.Or(s.To, "nobody")
	case "comment":
		line.What, line.Text = "said", s.To
	case "undo":
		line.What = "put back from " + cmp.Or(s.From, "nobody") + " to " + cmp.Or(s.To, "nobody")
	default:
		line.What = s.What
	}
	if i := slices.IndexFunc(justifications, func(j hidden) bool { return j.Name == s.Justification }); i >= 0 {
		line.Justification = justifications[i].Value
	}
	return line
}
