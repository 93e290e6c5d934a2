// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"net/url"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
)

// A component is one version of a part, whatever bills of materials it is in.
// Its strings are interned: see [Index.text].
type component struct {
	name     uint32 // as it is shown, without version: "pkg:golang/golang.org/x/net"
	version  uint32
	distro   uint32 // "debian-12", of a package of a distribution
	supplier uint32
	scheme   version.Scheme
	sboms    few
}

// A few is a set of ordinals that mostly has one or two.
type few struct {
	one  uint32 // plus one; 0 is none
	many *roaring.Bitmap
}

func (s *few) add(i uint32) {
	switch {
	case s.many != nil:
		s.many.Add(i)
	case s.one == 0 || s.one == i+1:
		s.one = i + 1
	default:
		s.many = roaring.BitmapOf(s.one-1, i)
	}
}

func (s *few) remove(i uint32) {
	switch {
	case s.many != nil:
		s.many.Remove(i)
	case s.one == i+1:
		s.one = 0
	}
}

func (s *few) all(yield func(uint32) bool) {
	switch {
	case s.many != nil:
		for it := s.many.Iterator(); it.HasNext(); {
			if !yield(it.Next()) {
				return
			}
		}
	case s.one > 0:
		yield(s.one - 1)
	}
}

// A pkg is what of a package URL tells one package from another.
type pkg struct {
	key     string // "pkg:type/namespace/name" in lower case
	kind    string // the type
	scope   string // the namespace
	version string
	distro  string // the qualifier
}

// parsePURL takes a package URL apart; ok is false for what is none.
func parsePURL(s string) (p pkg, ok bool) {
	rest, ok := strings.CutPrefix(s, "pkg:")
	if !ok || len(s) > 4096 {
		return p, false
	}
	rest, _, _ = strings.Cut(strings.TrimLeft(rest, "/"), "#")
	rest, qualifiers, _ := strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i > strings.LastIndexByte(rest, '/') {
		p.version = unescape(rest[i+1:])
		rest = rest[:i]
	}
	kind, path, ok := strings.Cut(rest, "/")
	path = strings.Trim(unescape(path), "/")
	if !ok || kind == "" || path == "" {
		return p, false
	}
	p.kind = strings.ToLower(kind)
	for q := range strings.SplitSeq(qualifiers, "&") {
		if v, ok := strings.CutPrefix(q, "distro="); ok {
			p.distro = strings.ToLower(unescape(v))
		}
	}
	p.named(path)
	return p, true
}

// named sets the namespace and the key.
func (p *pkg) named(path string) {
	path = strings.ToLower(path)
	if p.kind == "pypi" {
		path = strings.NewReplacer("_", "-", ".", "-").Replace(path)
	}
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		p.scope = path[:i]
	}
	p.key = "pkg:" + p.kind + "/" + path
}

func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// ecosystems are OSV's names of what package URLs call types; what is before a
// slash is the namespace that a distribution has.
var ecosystems = map[string]string{
	"go": "golang", "npm": "npm", "pypi": "pypi", "maven": "maven", "crates.io": "cargo", "nuget": "nuget", "rubygems": "gem",
	"packagist": "composer", "hex": "hex", "pub": "pub", "swifturl": "swift", "hackage": "hackage", "cran": "cran", "conancenter": "conan",
	"github actions": "githubactions", "bitnami": "bitnami",
	"debian": "deb/debian", "ubuntu": "deb/ubuntu", "alpine": "apk/alpine", "wolfi": "apk/wolfi", "chainguard": "apk/chainguard",
	"rocky linux": "rpm/rocky-linux", "almalinux": "rpm/almalinux", "red hat": "rpm/redhat", "suse": "rpm/suse", "opensuse": "rpm/opensuse",
	"mageia": "rpm/mageia", "openeuler": "rpm/openeuler", "photon os": "rpm/photon",
}

// packageOf returns the package that a statement is about, by its package URL
// or its ecosystem and name.
func packageOf(p *advisory.Product) (pkg, bool) {
	if k, ok := parsePURL(p.PURL); ok {
		return k.release(p.Ecosystem), true
	}
	if p.Package == "" {
		return pkg{}, false
	}
	name, _, _ := strings.Cut(p.Ecosystem, ":")
	kind, ok := ecosystems[strings.ToLower(name)]
	if !ok {
		return pkg{}, false
	}
	kind, scope, _ := strings.Cut(kind, "/")
	path := p.Package
	if kind == "maven" {
		path = strings.Replace(path, ":", "/", 1)
	}
	if scope != "" {
		path = scope + "/" + path
	}
	k := pkg{kind: kind}
	k.named(path)
	return k.release(p.Ecosystem), true
}

// release sets the distribution by OSV's ecosystem: "Debian:12", "Alpine:v3.18".
func (p pkg) release(ecosystem string) pkg {
	name, release, ok := strings.Cut(strings.ToLower(ecosystem), ":")
	if ok && p.distro == "" {
		release, _, _ = strings.Cut(strings.TrimPrefix(release, "v"), ":")
		p.distro = name + "-" + release
	}
	return p
}

// sameRelease says whether two names of a distribution's release may be one:
// "alpine-3.18" and "alpine-3.18.4".
func sameRelease(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

// A cpe is what of a CPE name tells products and versions apart.
type cpe struct {
	part            string // a, o, h
	vendor, product string
	version         string // with the update; "" is any
}

func (c cpe) key() string { return "cpe:" + c.vendor + ":" + c.product }

// parseCPE reads a name of CPE 2.3 as formatted string (NISTIR 7695 section
// 6.2), or of 2.2 as URI.
func parseCPE(s string) (c cpe, ok bool) {
	if len(s) > 4096 {
		return c, false
	}
	rest, ok := strings.CutPrefix(s, "cpe:2.3:")
	if !ok {
		if rest, ok = strings.CutPrefix(s, "cpe:/"); !ok {
			return c, false
		}
		rest = unescape(rest)
	}
	var f [5]string
	n, start := 0, 0
	for i := 0; i <= len(rest) && n < len(f); i++ {
		if i < len(rest) && rest[i] == '\\' {
			i++
			continue
		}
		if i >= len(rest) || rest[i] == ':' {
			f[n] = strings.ToLower(strings.ReplaceAll(rest[start:min(i, len(rest))], `\`, ""))
			n, start = n+1, i+1
		}
	}
	c = cpe{part: f[0], vendor: f[1], product: f[2]}
	if f[3] == "*" || f[3] == "-" {
		f[3] = ""
	}
	c.version = f[3]
	if u := f[4]; u != "" && u != "*" && u != "-" && c.version != "" {
		c.version += "-" + u
	}
	return c, c.vendor != "" && c.product != "" && c.vendor != "*" && c.product != "*"
}

// bare is the key of a component's name where nothing better is known.
func bare(name string) string {
	if i := strings.LastIndexAny(name, "/:"); i >= 0 && i+1 < len(name) {
		name = name[i+1:]
	}
	return "name:" + strings.ReplaceAll(fold(name), " ", "")
}

// addComponent returns the ordinal of a component of a bill of materials.
func (x *Index) addComponent(doc *sbom.Document, c *sbom.Component) (uint32, bool) {
	if c.Name == "" && c.PURL == "" {
		return 0, false
	}
	p, packaged := parsePURL(c.PURL)
	id := component{version: x.intern(c.Version)}
	if c.Version == "" {
		id.version = x.intern(p.version)
	}
	switch {
	case packaged:
		id.name, id.distro = x.intern(p.key), x.intern(p.distro)
		id.scheme, _ = version.SchemeOf(p.kind)
	default:
		name := c.Name
		if c.Group != "" {
			name = c.Group + "/" + name
		}
		id.name, id.supplier = x.intern(name), x.intern(c.Supplier)
	}
	at := componentKey{id.name, id.version, id.distro, id.supplier}
	i, known := x.componentOf[at]
	if !known {
		i = uint32(len(x.components))
		x.components = append(x.components, id)
		x.componentOf[at] = i
		if packaged {
			x.post(p.key, i)
		}
		if c.Name != "" {
			x.post(bare(c.Name), i)
		}
	}
	for _, name := range c.CPEs { // of the same package another document may give more
		if q, ok := parseCPE(name); ok {
			x.post(q.key(), i)
		}
	}
	return i, true
}

type componentKey struct{ name, version, distro, supplier uint32 }

// post files a component under a key, once.
func (x *Index) post(key string, i uint32) {
	list := x.byKey[key]
	for j := len(list) - 1; j >= 0 && j >= len(list)-8; j-- {
		if list[j] == i {
			return
		}
	}
	x.byKey[key] = append(list, i)
}

// A part is a component that a statement is about, and how sure that is.
type part struct {
	component uint32
	certainty Certainty
	why       string
	says      string // the range that its version is in
}

// parts returns the components that a statement is about: by package URL, then
// by CPE, then by supplier and name.
func (x *Index) parts(p *advisory.Product) []part {
	var out []part
	seen := map[uint32]bool{}
	add := func(i uint32, c Certainty, why string) {
		if seen[i] {
			return
		}
		seen[i] = true
		vc, says, ok := x.versionOf(p, &x.components[i])
		if !ok {
			return
		}
		if least(c, vc) == vc && vc != Exact {
			why = says
		}
		out = append(out, part{i, least(c, vc), why, says})
	}
	k, packaged := packageOf(p)
	if packaged {
		for _, i := range x.byKey[k.key] {
			c, why := Exact, "the package is the same"
			if d := x.text[x.components[i].distro]; k.distro != d {
				switch {
				case k.distro != "" && d != "" && !sameRelease(k.distro, d):
					continue // of another release of the distribution
				case k.distro == "" || d == "":
					c, why = Likely, "which release of the distribution it is of is not written down"
				}
			}
			add(i, c, why)
		}
		if len(out) > 0 {
			return out
		}
	}
	var named cpe
	for _, s := range append([]string{p.CPE}, p.CPEs...) {
		q, ok := parseCPE(s)
		if !ok {
			continue
		}
		named = q
		for _, i := range x.byKey[q.key()] {
			add(i, Exact, "the CPE name is the same")
		}
	}
	if packaged || len(out) > 0 {
		return out
	}
	name, vendor := p.Name, p.Manufacturer
	if name == "" {
		name = strings.ReplaceAll(named.product, "_", " ")
	}
	if vendor == "" {
		vendor = strings.ReplaceAll(named.vendor, "_", " ")
	}
	if name == "" {
		return out
	}
	m := x.maker(vendor)
	for _, i := range x.byKey[bare(name)] {
		comp := &x.components[i]
		supplier := x.text[comp.supplier]
		if k, ok := parsePURL(x.text[comp.name]); ok && supplier == "" {
			// A package that happens to be called like a product is not it: its
			// namespace or its name has to be the vendor's.
			if last := strings.TrimPrefix(bare(k.key), "name:"); k.kind != "generic" && !strings.Contains(squashed(k.scope), squashed(vendor)) && last != squashed(vendor) || vendor == "" {
				continue
			}
			add(i, Review, "the name is the same, but nothing says that it is the same software")
			continue
		}
		c, why := x.names.same(m, x.maker(supplier))
		switch {
		case c == "" && supplier != "":
			continue
		case c == Exact || c == Likely:
			add(i, Likely, "supplier and name are the same")
		default:
			add(i, Review, "the name is the same; "+why)
		}
	}
	return out
}

func squashed(s string) string { return strings.ReplaceAll(fold(s), " ", "") }

// versionOf says whether a component's version is one that a statement means.
func (x *Index) versionOf(p *advisory.Product, c *component) (Certainty, string, bool) {
	return versions(p, x.text[c.version])
}
