// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"slices"
	"strings"

	"github.com/myelin-health/myelin/match/version"
)

// either returns the first of these members that is there.
func (v value) either(names ...string) value {
	for _, name := range names {
		if m := v.get(name); m.present() {
			return m
		}
	}
	return value{v.t, 0}
}

// readGitHub reads an advisory as GitHub's REST and GraphQL interfaces give it,
// and as databases built from the latter keep it ("Advisory", "FixedIn").
func readGitHub(root value) *Document {
	a := root
	if inner := root.get("Advisory"); inner.present() {
		a = inner
	}
	id := a.either("ghsaId", "ghsa_id")
	d := &Document{
		Kind: GitHub, ID: id.str(), Title: a.either("summary", "Summary").str(),
		Published: a.either("publishedAt", "published_at", "published").when(),
		Modified:  a.either("updatedAt", "updated_at", "updated").when(),
		Withdrawn: a.either("withdrawnAt", "withdrawn_at", "withdrawn").present(),
	}
	if d.ID == "" {
		id.fail(ErrMissing)
	}
	aliases := append([]string{d.ID, a.get("cve_id").str()}, a.get("CVE").strs()...)
	for i := a.get("identifiers").list(); i.ok(); i = i.next() {
		aliases = append(aliases, i.get("value").str())
	}
	w := Vulnerability{ID: nameOf(d.ID, aliases, nil), Title: d.Title}
	w.Aliases = sortedIDs(aliases, w.ID)
	w.githubScore(a.either("cvss", "CVSS"))
	for s := a.either("cvssSeverities", "cvss_severities").first(); s.ok(); s = s.next() {
		w.githubScore(s)
	}
	for e := a.get("cwes").elements(); e.ok(); e = e.next() {
		n := e.node0()
		if id := n.either("cweId", "cwe_id").str(); id != "" {
			w.CWE = append(w.CWE, id)
		}
	}
	d.URL = a.either("permalink", "html_url", "url").str()
	for e := a.either("vulnerabilities", "FixedIn").elements(); e.ok() && e.admit() && root.t.err == nil; e = e.next() {
		n := e.node0()
		pkg := n
		if p := n.get("package"); p.present() {
			pkg = p
		}
		st := Statement{Status: Affected, Product: Product{Ecosystem: pkg.need("ecosystem").str(), Package: pkg.need("name").str()}}
		p := &st.Product
		p.Name = p.Package
		scheme := githubScheme(p.Ecosystem)
		p.Version = n.either("vulnerableVersionRange", "vulnerable_version_range", "range").str()
		if r, err := version.ParseNative(scheme, p.Version); err == nil && p.Version != "" {
			p.Range, p.HasRange = r, true
		} else {
			p.Text = version.ParseText(p.Version)
		}
		fix := n.either("firstPatchedVersion", "first_patched_version", "identifier")
		if fix.kind() == '{' {
			fix = fix.get("identifier")
		}
		if s := fix.str(); s != "" && s != "None" {
			st.Remediations = []Remediation{{Category: "vendor_fix", Details: "fixed in " + s, URL: d.URL}}
		}
		w.Statements = append(w.Statements, st)
	}
	slices.Sort(w.CWE)
	d.Vulnerabilities = []Vulnerability{w}
	return d
}

// githubScore adds a score by its vector. What has none, as those withdrawn, says nothing.
func (w *Vulnerability) githubScore(s value) {
	vector := s.either("vectorString", "vector_string", "vector").str()
	base := s.get("score").num()
	if m := s.get("base_metrics"); m.present() {
		base = m.get("base_score").num()
	}
	rest, ok := strings.CutPrefix(vector, "CVSS:")
	if !ok || slices.ContainsFunc(w.Scores, func(o Score) bool { return o.Vector == vector }) {
		return
	}
	number, _, _ := strings.Cut(rest, "/")
	w.Scores = append(w.Scores, Score{Version: number, Vector: vector, Base: base})
}

// elements returns the first element of an array, or of the edges that GraphQL
// makes of it; node0 looks into an edge.
func (v value) elements() value {
	if v.kind() == '{' {
		return v.get("edges").list()
	}
	return v.list()
}

func (v value) node0() value {
	if n := v.get("node"); n.present() {
		return n
	}
	return v
}

// githubScheme knows GitHub's own names of ecosystems, which OSV spells otherwise.
func githubScheme(ecosystem string) version.Scheme {
	switch strings.ToLower(ecosystem) {
	case "pip", "python":
		return version.PyPI
	case "rust", "actions", "swift", "erlang":
		return version.Semver
	case "java":
		return version.Maven
	case "ruby":
		return version.RubyGems
	case "php":
		return version.Composer
	}
	s, _ := version.SchemeOf(ecosystem)
	return s
}
