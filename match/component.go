// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/cpe"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/sbom"
)

// A component is one version of a part, whatever bills of materials it is in.
// Its strings are interned: see [Index.text].
type component struct {
	name     uint32 // as it is shown, without version: "pkg:golang/golang.org/x/net"
	version  uint32
	distro   uint32 // "debian-12", of a package of a distribution
	supplier uint32
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
// or its ecosystem and name, and the release of the distribution.
func packageOf(p *advisory.Product) (k purl.PURL, distro string, ok bool) {
	name, release, released := strings.Cut(strings.ToLower(p.Ecosystem), ":")
	if released {
		release, _, _ = strings.Cut(strings.TrimPrefix(release, "v"), ":")
		distro = name + "-" + release
	}
	if p.PURL != "" {
		if k, err := purl.Parse(p.PURL); err == nil {
			return k, cmp.Or(k.Qualifier("distro"), distro), true
		}
	}
	kind, known := ecosystems[name]
	if !known || p.Package == "" {
		return k, "", false
	}
	kind, scope, _ := strings.Cut(kind, "/")
	path := p.Package
	if kind == "maven" {
		path = strings.Replace(path, ":", "/", 1)
	}
	if i := strings.LastIndexByte(path, '/'); i >= 0 && scope == "" {
		scope, path = path[:i], path[i+1:]
	}
	k, err := purl.New(kind, scope, path, "", nil, "")
	return k, distro, err == nil
}

// packageKey is the key of a package. Its name is as its ecosystem takes it for the
// same: PyPI tells no dots and dashes from one another (PEP 503), and package URLs of
// Go are in lower case where the module's path need not be.
func packageKey(p purl.PURL) string {
	switch p.Type {
	case "pypi":
		p.Name = strings.Join(strings.FieldsFunc(p.Name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-")
	case "golang":
		p.Namespace, p.Name = strings.ToLower(p.Namespace), strings.ToLower(p.Name)
	}
	return p.Package().String()
}

// bare is the key of a component's name where nothing better is known.
func bare(name string) string {
	if i := strings.LastIndexAny(name, "/:"); i >= 0 && i+1 < len(name) {
		name = name[i+1:]
	}
	return "name:" + strings.ReplaceAll(fold(name), " ", "")
}

// Narrow lets the index keep, of the bills of materials that come, only those
// components that one of the advisories that are there, or one of these products,
// may be about. It is for who asks of these and no others.
func (x *Index) Narrow(also ...*advisory.Product) {
	x.wanted = map[string]bool{}
	var want func(p *advisory.Product)
	want = func(p *advisory.Product) {
		if p.Within != nil {
			want(p.Within)
		}
		for i := range p.On {
			want(&p.On[i])
		}
		if k, _, ok := packageOf(p); ok {
			x.wanted[packageKey(k)] = true
		}
		x.wanted[bare(p.Name)] = true
		for _, s := range append([]string{p.CPE}, p.CPEs...) {
			if n, err := cpe.Parse(s); err == nil {
				x.wanted[cpeKey(n)], x.wanted[bare(plainCPE(n[cpe.Product]))] = true, true
			}
		}
	}
	for _, p := range also {
		want(p)
	}
	for _, d := range x.documents {
		for i := range d.Vulnerabilities {
			for j := range d.Vulnerabilities[i].Statements {
				want(&d.Vulnerabilities[i].Statements[j].Product)
			}
		}
	}
}

// wants reports whether an advisory may be about a component with this key, that
// of its package.
func (x *Index) wants(c *sbom.Component, key string) bool {
	return x.wanted == nil || x.wanted[key] || c.Name != "" && x.wanted[bare(c.Name)] || slices.ContainsFunc(c.CPEs, func(s string) bool {
		n, err := cpe.Parse(s)
		return err == nil && x.wanted[cpeKey(n)]
	})
}

// addComponent returns the ordinal of a component of a bill of materials.
func (x *Index) addComponent(c *sbom.Component) (uint32, bool) {
	if c.Name == "" && c.PURL == "" {
		return 0, false
	}
	p, err := purl.Parse(c.PURL)
	packaged := err == nil
	var key string
	if packaged {
		key = packageKey(p)
	}
	if !x.wants(c, key) {
		return 0, false
	}
	id := component{version: x.intern(cmp.Or(c.Version, p.Version))}
	if packaged {
		id.name, id.distro = x.intern(p.Package().String()), x.intern(p.Qualifier("distro"))
	} else {
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
			x.byKey[key] = append(x.byKey[key], i)
		}
		if c.Name != "" {
			k := bare(c.Name)
			x.byKey[k] = append(x.byKey[k], i)
		}
	}
	for _, s := range c.CPEs { // another document may give more for the same package
		n, err := cpe.Parse(s)
		if err != nil {
			continue
		}
		k, p := cpeKey(n), posting{i, x.intern(s)}
		if !slices.Contains(x.byCPE[k], p) {
			x.byCPE[k] = append(x.byCPE[k], p)
		}
	}
	return i, true
}

// A posting is a component that a bill of materials gives a CPE name.
type posting struct{ component, name uint32 }

func cpeKey(n cpe.Name) string { return n[cpe.Vendor] + ":" + n[cpe.Product] }

type componentKey struct{ name, version, distro, supplier uint32 }

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
		vc, says, ok := versions(p, x.text[x.components[i].version])
		if !ok {
			return
		}
		if least(c, vc) == vc && vc != Exact {
			why = says
		}
		out = append(out, part{i, least(c, vc), why, says})
	}
	k, distro, packaged := packageOf(p)
	if packaged {
		for _, i := range x.byKey[packageKey(k)] {
			c, why := Exact, "the package is the same"
			switch d := x.text[x.components[i].distro]; {
			case distro == d:
			case distro != "" && d != "":
				if !sameRelease(k, distro, d) {
					continue
				}
			default:
				c, why = Likely, "which release of the distribution it is of is not written down"
			}
			add(i, c, why)
		}
	}
	var named cpe.Name
	for _, s := range append([]string{p.CPE}, p.CPEs...) {
		n, err := cpe.Parse(s)
		if err != nil {
			continue
		}
		if named = n; p.HasRange {
			n[cpe.Version], n[cpe.Update] = cpe.Any, cpe.Any // the range says it
		}
		for _, at := range x.byCPE[cpeKey(n)] {
			if t, err := cpe.Parse(x.text[at.name]); err == nil && cpe.Overlap(n, t) {
				add(at.component, Exact, "the CPE name is the same")
			}
		}
	}
	if packaged || len(out) > 0 {
		return out
	}
	name, vendor := p.Name, p.Manufacturer
	if name == "" {
		name = plainCPE(named[cpe.Product])
	}
	if vendor == "" {
		vendor = plainCPE(named[cpe.Vendor])
	}
	if name == "" {
		return out
	}
	m := x.maker(vendor)
	for _, i := range x.byKey[bare(name)] {
		comp := &x.components[i]
		supplier := x.text[comp.supplier]
		if k, err := purl.Parse(x.text[comp.name]); err == nil && supplier == "" {
			// A package that happens to be called like a product is not it: its
			// namespace or its name has to be the vendor's.
			if v := squashed(vendor); v == "" || k.Type != "generic" && !strings.Contains(squashed(k.Namespace), v) && squashed(k.Name) != v {
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

// plainCPE is the value of an attribute as a person writes it.
func plainCPE(value string) string { return strings.ReplaceAll(cpe.Plain(value), "_", " ") }

// sameRelease says whether two names of a distribution's release may be one:
// "bullseye" and "debian-11.7".
func sameRelease(k purl.PURL, a, b string) bool {
	with := func(distro string) purl.PURL {
		p, _ := purl.New(k.Type, k.Namespace, k.Name, "", map[string]string{"distro": distro}, "")
		return p
	}
	return with(a).Covers(with(b))
}
