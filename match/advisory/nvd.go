// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"slices"
	"strings"

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
	parts := cutCPE(p.CPE)
	if parts == nil {
		p.Text.Why = "the CPE name is not well-formed"
		return p
	}
	p.Manufacturer, p.Name = parts[3], parts[4]
	switch v := parts[5]; v {
	case "*", "-":
		p.Range = version.Between(version.Generic, m.get("versionStartIncluding").str(), m.get("versionStartExcluding").str(),
			m.get("versionEndIncluding").str(), m.get("versionEndExcluding").str())
	default:
		p.Range = version.Only(version.Generic, v)
		p.Version = v
	}
	p.HasRange = true
	return p
}

// cutCPE cuts a formatted string (NISTIR 7695 §6.2) into its 13 parts, without
// their backslashes, or returns nil.
func cutCPE(s string) []string {
	if !strings.HasPrefix(s, "cpe:2.3:") {
		return nil
	}
	parts := make([]string, 0, 13)
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			part.WriteByte(s[i])
		case s[i] == ':':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	if parts = append(parts, part.String()); len(parts) != 13 || slices.Contains(parts, "") {
		return nil
	}
	return parts
}
