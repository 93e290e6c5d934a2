// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/myelin-health/myelin/match/advisory"
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
		l := splitPURL(id)
		p.Name, p.Version = l.name, l.version
		if l.kind == "generic" { // for what no package manager knows, the name space is the maker
			p.Manufacturer = l.namespace
		}
	case strings.HasPrefix(id, "cpe:"):
		p.CPE = id
	default:
		p.Name = id
	}
}

// A packageURL is what this package wants of one: the parts without their escapes.
type packageURL struct {
	kind, namespace, name, version string
	qualifiers                     string // as written
}

func splitPURL(s string) (l packageURL) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "pkg:"), "#")
	s, l.qualifiers, _ = strings.Cut(s, "?")
	s = strings.Trim(s, "/")
	unescape := func(s string) string {
		if t, err := url.PathUnescape(s); err == nil {
			return t
		}
		return s
	}
	l.kind, s, _ = strings.Cut(s, "/")
	l.kind = strings.ToLower(l.kind)
	if i := strings.LastIndexByte(s, '@'); i > 0 { // not that of npm's "@scope"
		s, l.version = s[:i], unescape(s[i+1:])
	}
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		l.namespace, s = unescape(s[:i]), s[i+1:]
	}
	l.name = unescape(s)
	return l
}

// withoutVersion returns a package URL of every version.
func withoutVersion(purl string) string {
	main, qualifiers, ok := strings.Cut(purl, "?")
	if i := strings.LastIndexByte(main, '@'); i > 0 && i > strings.LastIndexByte(main, '/') && main[i-1] != '/' {
		main = main[:i]
	}
	if ok {
		return main + "?" + qualifiers
	}
	return main
}

// purl returns the package URL of a product, one of the generic type for what
// no package manager knows; without a name, "".
func purl(p *advisory.Product) string {
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

var cpe23 = regexp.MustCompile("^cpe:2\\.3:[aho*-](?::" + cpeValue + "){5}:" + cpeLanguage + "(?::" + cpeValue + "){4}$")

// purlName is as much of a package URL's form as the schemas check, and no more
// than printable ASCII.
var purlName = regexp.MustCompile("^pkg:[A-Za-z][A-Za-z0-9.+-]*/[!-~]+$")
