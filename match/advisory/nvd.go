// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"slices"
	"strings"

	"github.com/myelin-health/myelin/match/cpe"
	"github.com/myelin-health/myelin/match/version"
)

// readNVD reads a record of the National Vulnerability Database (API 2.0).
func readNVD(root value) *Document {
	c := root.need("cve")
	d := &Document{
		Kind: NVD, ID: c.need("id").str(), Publisher: c.get("sourceIdentifier").str(), Title: c.get("cisaVulnerabilityName").str(),
		Published: c.get("published").when(), Modified: c.get("lastModified").when(), Withdrawn: c.get("vulnStatus").is("Rejected"),
	}
	d.URL = c.get("references").list().get("url").str()
	w := Vulnerability{ID: d.ID, Title: d.Title, KEV: c.get("cisaExploitAdd").present()}
	seen := map[Score]bool{}
	metrics := c.get("metrics")
	for _, name := range []string{"cvssMetricV40", "cvssMetricV31", "cvssMetricV30", "cvssMetricV2"} {
		for m := metrics.get(name).list(); m.ok(); m = m.next() {
			w.addScore(m.need("cvssData"), m.get("source").str(), seen)
		}
	}
	for k := c.get("weaknesses").list(); k.ok(); k = k.next() {
		for e := k.get("description").list(); e.ok(); e = e.next() {
			if id := e.get("value").str(); strings.HasPrefix(id, "CWE-") && !slices.Contains(w.CWE, id) {
				w.CWE = append(w.CWE, id)
			}
		}
	}
	for cf := c.get("configurations").list(); cf.ok() && root.t.err == nil; cf = cf.next() {
		w.configuration(cf)
	}
	d.Vulnerabilities = []Vulnerability{w}
	return d
}

// configuration reads nodes of CPE matches. What is marked vulnerable is
// affected; under AND, the nodes without such a match say what it has to run
// on or with. A negated node narrows nothing: it would hide, not show.
func (w *Vulnerability) configuration(cf value) {
	var on []Product
	if cf.get("operator").is("AND") {
		for n := cf.get("nodes").list(); n.ok(); n = n.next() {
			var condition []Product
			for m := n.get("cpeMatch").list(); m.ok(); m = m.next() {
				if m.get("vulnerable").kind() == 't' {
					condition = nil
					break
				}
				if !m.admit() {
					return
				}
				condition = append(condition, cpeProduct(m))
			}
			if n.get("negate").kind() != 't' {
				on = append(on, condition...)
			}
		}
	}
	for n := cf.get("nodes").list(); n.ok(); n = n.next() {
		if n.get("negate").kind() == 't' {
			continue
		}
		for m := n.get("cpeMatch").list(); m.ok() && m.t.err == nil; m = m.next() {
			if m.get("vulnerable").kind() != 't' {
				continue
			}
			if !m.admit() {
				return
			}
			st := Statement{Product: cpeProduct(m), Status: Affected}
			st.Product.On = on
			if end := m.get("versionEndExcluding").str(); end != "" {
				st.Remediations = []Remediation{{Category: "vendor_fix", Details: "fixed in " + end}}
			}
			w.Statements = append(w.Statements, st)
		}
	}
}

// cpeProduct reads a match. "-" for a version is none at all, as hardware has
// it, and means the product as such.
func cpeProduct(m value) Product {
	p := Product{CPE: m.need("criteria").str()}
	name, err := cpe.Parse(p.CPE)
	if err != nil {
		p.Text.Why = "the CPE name is not well-formed"
		return p
	}
	p.Manufacturer, p.Name = cpe.Plain(name[cpe.Vendor]), cpe.Plain(name[cpe.Product])
	switch v := name[cpe.Version]; v {
	case cpe.Any, cpe.NotApplicable:
		p.Range = version.Between(version.Generic, m.get("versionStartIncluding").str(), m.get("versionStartExcluding").str(),
			m.get("versionEndIncluding").str(), m.get("versionEndExcluding").str())
	default:
		if p.Version = cpe.Plain(v); p.Version == v && strings.ContainsAny(v, "*?") {
			p.Text.Why = "the CPE name has wildcards in its version"
			return p
		}
		p.Range = version.Only(version.Generic, p.Version)
	}
	p.HasRange = true
	return p
}
