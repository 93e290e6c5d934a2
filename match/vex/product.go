// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"net/url"
	"strings"

	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/version"
)

// identified returns the product that an identifier names: a package URL, a CPE
// name, or any other, which then is its name.
func identified(id string) (p advisory.Product) {
	identify(&p, id)
	return p
}

func identify(p *advisory.Product, id string) {
	switch {
	case strings.HasPrefix(id, "pkg:"):
		p.PURL = id
		l, _ := purl.Parse(id)
		p.Name, p.Version = l.Name, l.Version
		if l.Type == "generic" { // for what no package manager knows, the name space is the maker
			p.Manufacturer = l.Namespace
		}
	case strings.HasPrefix(id, "cpe:"):
		p.CPE = id
	default:
		p.Name = id
	}
}

// withoutVersion returns a package URL of every version.
func withoutVersion(id string) string {
	main, qualifiers, ok := strings.Cut(id, "?")
	if i := strings.LastIndexByte(main, '@'); i > 0 && i > strings.LastIndexByte(main, '/') && main[i-1] != '/' {
		main = main[:i]
	}
	if ok {
		return main + "?" + qualifiers
	}
	return main
}

// packageURL returns the package URL of a product, one of the generic type for what
// no package manager knows; without a name, "".
func packageURL(p *advisory.Product) string {
	if p.PURL != "" || p.Name == "" {
		return p.PURL
	}
	escape := func(s string) string { return strings.ReplaceAll(url.PathEscape(s), "@", "%40") }
	s := "pkg:generic/"
	if p.Manufacturer != "" {
		s += escape(p.Manufacturer) + "/"
	}
	s += escape(p.Name)
	if p.Version != "" {
		s += "@" + escape(p.Version)
	}
	return s
}

// key tells the products of a document apart.
func key(p *advisory.Product) string {
	if p == nil {
		return ""
	}
	return strings.Join([]string{p.Manufacturer, p.Name, p.Version, p.PURL, p.CPE}, "\x00")
}

// title returns a product's name for people.
func title(p *advisory.Product) string {
	name := p.Name
	if p.Manufacturer != "" && !strings.HasPrefix(p.Name, p.Manufacturer) {
		name = p.Manufacturer + " " + p.Name
	}
	if p.Name == "" {
		name = p.PURL + p.CPE
	}
	if p.Name != "" && p.Version != "" {
		name += " " + p.Version
	}
	return name
}

// isURL reports whether a name is one, so that it can stand for a product.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "") && !strings.ContainsAny(s, " \"<>\\^`{|}")
}

// A CPE 2.3 name as a formatted string, NISTIR 7695 section 6.2.3.2; the sixth
// attribute behind the part is a language.
const (
	cpeValue    = "(?:[*-]|(?:[A-Za-z0-9._-]|\\\\[!-,/:-@\\[-^`{-~])+)"
	cpeLanguage = "(?:[*-]|[A-Za-z]{2,3}(?:-[A-Za-z]{2})?)"
)

var cpe23 = lazyregexp.New("^cpe:2\\.3:[aho*-](?::" + cpeValue + "){5}:" + cpeLanguage + "(?::" + cpeValue + "){4}$")

// purlName is as much of a package URL's form as the schemas check, and no more
// than printable ASCII.
var purlName = lazyregexp.New("^pkg:[A-Za-z][A-Za-z0-9.+-]*/[!-~]+$")

// A rangeReader understands versions that are ranges, each spelling once.
type rangeReader map[string]version.Text

func (r rangeReader) understand(p *advisory.Product) {
	if p == nil || !strings.HasPrefix(p.Version, "vers:") && !strings.ContainsAny(p.Version, "<>=|*, ") {
		return // one version, or all
	}
	text, ok := r[p.Version]
	if !ok {
		if vers, err := version.ParseVers(p.Version); err == nil {
			text = version.Text{Kind: version.Versions, Range: vers}
		} else {
			text = version.ParseText(p.Version)
		}
		if text.Kind == version.All {
			text.Range = version.Every(version.Generic)
		}
		r[p.Version] = text
	}
	p.Text = text
	if text.Kind == version.Versions || text.Kind == version.All {
		p.Range, p.HasRange = text.Range, true
	}
}
