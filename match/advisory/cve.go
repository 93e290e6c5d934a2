// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/match/version"
)

// readCVE reads a record of the CVE programme (JSON 5.x): what the numbering
// authority (CNA) says, and what others add, CISA above all (ADP).
func readCVE(root value) *Document {
	meta, containers := root.need("cveMetadata"), root.need("containers")
	cna := containers.need("cna")
	d := &Document{
		Kind: CVE5, ID: meta.need("cveId").str(), Title: cna.get("title").str(),
		Publisher: cna.get("providerMetadata").get("shortName").str(),
		Published: meta.get("datePublished").when(), Modified: meta.get("dateUpdated").when(),
		Withdrawn: meta.need("state").is("REJECTED"),
	}
	d.URL = cna.get("references").list().get("url").str()
	w := Vulnerability{ID: d.ID, Title: d.Title}
	seen := map[Score]bool{}
	w.cveContainer(cna, d, seen)
	for c := containers.get("adp").list(); c.ok() && root.t.err == nil; c = c.next() {
		w.cveContainer(c, d, seen)
	}
	slices.Sort(w.CWE)
	w.CWE = slices.Compact(w.CWE)
	d.Vulnerabilities = []Vulnerability{w}
	return d
}

func (w *Vulnerability) cveContainer(c value, d *Document, seen map[Score]bool) {
	source := c.get("providerMetadata").get("shortName").str()
	for t := c.get("problemTypes").list(); t.ok(); t = t.next() {
		for e := t.get("descriptions").list(); e.ok(); e = e.next() {
			if id := e.get("cweId").str(); strings.HasPrefix(id, "CWE-") {
				w.CWE = append(w.CWE, id)
			}
		}
	}
	for m := c.get("metrics").list(); m.ok(); m = m.next() {
		for _, name := range []string{"cvssV4_0", "cvssV3_1", "cvssV3_0", "cvssV2_0"} {
			if s := m.get(name); s.present() {
				w.addScore(s, source, seen)
			}
		}
		switch other := m.get("other"); {
		case other.get("type").is("kev"):
			w.KEV = true
		case other.get("type").is("ssvc") && w.SSVC == nil:
			w.SSVC = &SSVC{}
			for o := other.get("content").get("options").list(); o.ok(); o = o.next() {
				for answer := o.first(); answer.ok(); answer = answer.next() {
					switch string(answer.key()) {
					case "Exploitation":
						w.SSVC.Exploitation = answer.str()
					case "Automatable":
						w.SSVC.Automatable = answer.str()
					case "Technical Impact":
						w.SSVC.TechnicalImpact = answer.str()
					}
				}
			}
		}
	}
	var remedies []Remediation
	for _, r := range [...]struct{ name, category string }{{"solutions", "vendor_fix"}, {"workarounds", "workaround"}} {
		for e := c.get(r.name).list(); e.ok(); e = e.next() {
			remedies = append(remedies, Remediation{Category: r.category, Details: e.get("value").str()})
		}
	}
	if source == d.Publisher {
		source = ""
	}
	for cf := c.get("cpeApplicability").list(); cf.ok() && cf.t.err == nil; cf = cf.next() {
		w.configuration(cf)
	}
	for a := c.get("affected").list(); a.ok() && a.t.err == nil; a = a.next() {
		for _, st := range cveAffected(a) {
			if st.Source = source; st.Status == Affected {
				st.Remediations = remedies
			}
			w.Statements = append(w.Statements, st)
		}
	}
}

// unsaid are the words that stand where a record says nothing.
func unsaid(s string) bool {
	switch strings.ToLower(s) {
	case "", "n/a", "-", "unspecified", "unknown":
		return true
	}
	return false
}

// collections are the ecosystems of the collection URLs that records name.
var collections = map[string]string{
	"pypi.org": "PyPI", "pypi.python.org": "PyPI", "registry.npmjs.org": "npm", "www.npmjs.com": "npm", "rubygems.org": "RubyGems",
	"repo.maven.apache.org": "Maven", "repo1.maven.org": "Maven", "crates.io": "crates.io", "pkg.go.dev": "Go", "www.nuget.org": "NuGet",
	"packagist.org": "Packagist", "wordpress.org": "", "hackage.haskell.org": "Hackage", "hex.pm": "Hex",
}

// cveAffected reads one product with the versions that are affected, and those
// that are said not to be. What is told in words becomes a statement of its own.
func cveAffected(a value) []Statement {
	p := Product{Manufacturer: a.get("vendor").str(), Name: a.get("product").str(), Package: a.get("packageName").str(), PURL: a.get("packageURL").str()}
	if unsaid(p.Manufacturer) {
		p.Manufacturer = ""
	}
	if unsaid(p.Name) {
		p.Name = ""
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(a.get("collectionURL").str(), "https://"), "/")
	p.Ecosystem = collections[host]
	if cpes := a.get("cpes").strs(); len(cpes) > 0 {
		p.CPE, p.CPEs = cpes[0], cpes[1:]
	}
	if p.Name == "" && p.Package == "" && p.CPE == "" && p.PURL == "" {
		return nil // says nothing of any product
	}
	for o := a.get("platforms").list(); o.ok() && o.admit(); o = o.next() {
		p.On = append(p.On, Product{Name: o.str()})
	}

	v := cveVersions{intervals: map[string][]version.Interval{}}
	v.scheme, v.known = version.SchemeOf(p.Ecosystem)
	if kind, _, ok := strings.Cut(strings.TrimPrefix(p.PURL, "pkg:"), "/"); ok && !v.known {
		v.scheme, v.known = version.SchemeOf(kind)
	}
	for e := a.get("versions").list(); e.ok() && e.t.err == nil; e = e.next() {
		v.add(e)
	}
	var out []Statement
	say := func(status Status, r version.Range) {
		if len(r.Intervals) > 0 && a.admit() {
			p := p
			p.Range, p.HasRange = r, true
			out = append(out, Statement{Product: p, Status: status})
		}
	}
	affected := version.NewRange(v.scheme, v.intervals["affected"]...)
	unaffected := version.NewRange(v.scheme, v.intervals["unaffected"]...)
	if a.get("defaultStatus").is("affected") && !v.commits {
		told := unaffected.Union(version.NewRange(v.scheme, v.intervals["unknown"]...))
		affected = affected.Union(others(told))
	}
	say(Affected, affected)
	say(NotAffected, unaffected)
	for _, t := range v.texts {
		p := p
		p.Version, p.Text = t.version, t.text
		out = append(out, Statement{Product: p, Status: t.status})
	}
	if len(out) == 0 && a.admit() {
		st := Statement{Product: p, Status: Affected}
		switch p := &st.Product; {
		case v.commits:
			p.Text.Why = "the record names commits, not versions"
		case a.get("defaultStatus").is("unaffected") && !v.any:
			st.Status = NotAffected
			p.Range, p.HasRange = version.Every(v.scheme), true
		case v.intervals["unknown"] != nil || !v.any:
			st.Status = UnderInvestigation
			p.Text.Why = "the record does not know the versions"
		default:
			p.Text.Why = "the record names no version"
		}
		out = append(out, st)
	}
	return out
}

// others returns the versions that are not in r.
func others(r version.Range) version.Range {
	var out []version.Interval
	next := version.Interval{}
	for _, i := range r.Intervals {
		if i.Low != "" {
			next.High, next.HighOpen = i.Low, !i.LowOpen
			out = append(out, next)
		}
		if i.High == "" {
			return version.NewRange(r.Scheme, out...)
		}
		next = version.Interval{Low: i.High, LowOpen: !i.HighOpen}
	}
	return version.NewRange(r.Scheme, append(out, next)...)
}

// cveVersions gathers what a record says of the versions of one product.
type cveVersions struct {
	scheme    version.Scheme
	known     bool
	intervals map[string][]version.Interval // by status
	texts     []cveText
	commits   bool
	any       bool // there is an entry
}

type cveText struct {
	version string
	text    version.Text
	status  Status
}

func (c *cveVersions) add(e value) {
	low, status, kind := e.need("version").str(), e.need("status").str(), e.get("versionType").str()
	if status != "affected" && status != "unaffected" && status != "unknown" {
		e.get("status").fail(ErrInvalid)
		return
	}
	c.any = true
	if kind == "git" || kind == "original_commit_for_fix" {
		c.commits = true
		return
	}
	if s, ok := version.SchemeOf(kind); ok && !c.known {
		c.scheme, c.known = s, true
	}
	high, open := e.get("lessThan").str(), true
	if high == "" {
		high, open = e.get("lessThanOrEqual").str(), false
	}
	if high == "" {
		c.single(e, low, status)
		return
	}
	if low == "0" || low == "*" || unsaid(low) {
		low = ""
	}
	if high == "*" || unsaid(high) {
		high = ""
	} else if stem, ok := strings.CutSuffix(high, ".*"); ok {
		high, open = afterAll(stem), true
	}
	if !isVersion(low) && low != "" || !isVersion(high) && high != "" {
		words := low + " up to " + high
		if low == "" {
			words = map[bool]string{true: "< ", false: "<= "}[open] + high
		}
		c.words(e, words, status)
		return
	}
	// The status may change within (CVE JSON 5, "changes").
	for change := e.get("changes").list(); change.ok(); change = change.next() {
		at := change.need("at").str()
		if !isVersion(at) {
			continue
		}
		c.intervals[status] = append(c.intervals[status], version.Interval{Low: low, High: at, HighOpen: true})
		low, status = at, change.need("status").str()
	}
	c.intervals[status] = append(c.intervals[status], version.Interval{Low: low, High: high, HighOpen: open && high != ""})
}

func (c *cveVersions) single(e value, v, status string) {
	switch {
	case v == "*":
		c.intervals[status] = append(c.intervals[status], version.Interval{})
	case isVersion(v):
		c.intervals[status] = append(c.intervals[status], version.Interval{Low: v, High: v})
	case !unsaid(v):
		c.words(e, v, status)
	}
}

// words keeps what only a person may understand.
func (c *cveVersions) words(e value, s, status string) {
	if status == "unknown" || !e.admit() {
		return
	}
	t := cveText{version: s, text: version.ParseText(s), status: Affected}
	if status == "unaffected" {
		t.status = NotAffected
	}
	c.texts = append(c.texts, t)
}

// isVersion tells a version from words about versions: "2.1.4" and "v3", not
// "5.x", "FortiOS 6.2.0 and below" or "QCA6420".
func isVersion(s string) bool {
	digits := strings.TrimLeft(s, "vV")
	return len(s) <= 100 && digits != "" && digits[0]-'0' < 10 && len(s)-len(digits) < 2 &&
		!strings.ContainsAny(s, " ,;<>=*|&") && !strings.HasSuffix(strings.ToLower(s), ".x")
}

// afterAll returns the first version after all that begin with stem: "5.5" of "5.4".
func afterAll(stem string) string {
	dot := strings.LastIndexByte(stem, '.') + 1
	n, err := strconv.ParseUint(stem[dot:], 10, 32)
	if err != nil {
		return stem + ".*"
	}
	return stem[:dot] + strconv.FormatUint(n+1, 10)
}
