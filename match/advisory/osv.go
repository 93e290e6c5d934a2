// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"slices"
	"strings"

	"github.com/myelin-health/myelin/match/version"
)

// readOSV reads a record of the Open Source Vulnerability format (schema 1.7).
func readOSV(root value) *Document {
	d := &Document{
		Kind: OSV, ID: root.need("id").str(), Title: root.get("summary").str(),
		Published: root.get("published").when(), Modified: root.need("modified").when(), Withdrawn: root.get("withdrawn").present(),
	}
	aliases := append([]string{d.ID}, root.get("aliases").strs()...)
	upstream := root.get("upstream").strs()
	w := Vulnerability{ID: nameOf(d.ID, aliases, upstream), Title: d.Title, CWE: root.get("database_specific").cwes()}
	w.Aliases = sortedIDs(append(aliases, upstream...), w.ID)
	seen := map[Score]bool{}
	w.severity(root.get("severity"), seen)
	fix := ""
	for r := root.get("references").list(); r.ok(); r = r.next() {
		switch kind := r.get("type"); {
		case kind.is("ADVISORY") && d.URL == "":
			d.URL = r.get("url").str()
		case kind.is("FIX") && fix == "":
			fix = r.get("url").str()
		}
	}
	if fix == "" {
		fix = d.URL
	}
	for a := root.get("affected").list(); a.ok() && a.admit() && root.t.err == nil; a = a.next() {
		w.severity(a.get("severity"), seen)
		st := Statement{Status: Affected}
		fixed := st.Product.osvAffected(a)
		if len(fixed) > 0 {
			st.Remediations = []Remediation{{Category: "vendor_fix", Details: "fixed in " + strings.Join(fixed, ", "), URL: fix}}
		}
		w.Statements = append(w.Statements, st)
	}
	d.Vulnerabilities = []Vulnerability{w}
	return d
}

// nameOf is the CVE of a record: one of its aliases, else the only one it comes
// from, else the record's own name.
func nameOf(own string, aliases, upstream []string) string {
	cves := slices.DeleteFunc(slices.Clone(aliases), func(id string) bool { return !isCVE(id) })
	if len(cves) > 0 {
		return slices.Min(cves)
	}
	cves = slices.DeleteFunc(slices.Clone(upstream), func(id string) bool { return !isCVE(id) })
	if len(cves) == 1 {
		return cves[0]
	}
	return own
}

// cwes returns what GitHub adds to OSV.
func (v value) cwes() []string {
	if v.kind() != '{' { // free of form
		return nil
	}
	var all []string
	if ids := v.get("cwe_ids"); ids.kind() == '[' {
		for id := ids.first(); id.ok(); id = id.next() {
			if id.kind() == '"' && strings.HasPrefix(id.str(), "CWE-") {
				all = append(all, id.str())
			}
		}
	}
	return all
}

func (w *Vulnerability) severity(v value, seen map[Score]bool) {
	for s := v.list(); s.ok(); s = s.next() {
		score := Score{Vector: s.need("score").str(), Base: -1}
		switch kind := s.need("type"); {
		case kind.is("CVSS_V2"):
			score.Version = "2.0"
		case kind.is("CVSS_V3"), kind.is("CVSS_V4"):
			score.Version, _, _ = strings.Cut(strings.TrimPrefix(score.Vector, "CVSS:"), "/")
		default:
			continue // a distribution's own words
		}
		if !seen[score] {
			seen[score] = true
			w.Scores = append(w.Scores, score)
		}
	}
}

// osvAffected reads one element of affected and returns what fixes it.
func (p *Product) osvAffected(a value) (fixed []string) {
	if !a.get("package").present() && !a.get("ranges").present() {
		a.fail(ErrMissing)
		return nil
	}
	scheme, known := version.Generic, false
	if pkg := a.get("package"); pkg.present() {
		p.Ecosystem, p.Package, p.PURL = pkg.need("ecosystem").str(), pkg.need("name").str(), pkg.get("purl").str()
		p.Name = p.Package
		scheme, known = version.SchemeOf(p.Ecosystem)
	}
	p.Versions = a.get("versions").strs()
	commits := false
	for r := a.get("ranges").list(); r.ok() && r.t.err == nil; r = r.next() {
		switch kind := r.need("type"); {
		case kind.is("SEMVER"):
			if !known {
				scheme = version.Semver
			}
		case kind.is("ECOSYSTEM"):
		case kind.is("GIT"):
			commits = true
			continue
		default:
			kind.fail(ErrInvalid)
			return nil
		}
		events := osvEvents(r.need("events"))
		for _, e := range events {
			if e.Fixed != "" {
				fixed = append(fixed, e.Fixed)
			}
		}
		if in := version.FromEvents(scheme, events); p.HasRange {
			p.Range = p.Range.Union(in)
		} else {
			p.Range, p.HasRange = in, true
		}
	}
	switch {
	case p.HasRange:
	case len(p.Versions) > 0:
		p.Range, p.HasRange = version.Range{Scheme: scheme}, true
	case commits:
		p.Text = version.Text{Why: "the record names commits, not versions"}
	default:
		p.Text = version.Text{Kind: version.All, Why: "the record names no version"}
	}
	return fixed
}

// osvEvents reads the events of a range, each of which says one thing.
func osvEvents(v value) []version.Event {
	var events []version.Event
	for e := v.list(); e.ok(); e = e.next() {
		ev := version.Event{
			Introduced: e.get("introduced").str(), Fixed: e.get("fixed").str(),
			LastAffected: e.get("last_affected").str(), Limit: e.get("limit").str(),
		}
		if ev == (version.Event{}) {
			e.fail(ErrInvalid)
		}
		events = append(events, ev)
	}
	return events
}
