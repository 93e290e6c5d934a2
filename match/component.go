// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/myelin-health/myelin/internal/lazyregexp"
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
	distro   uint32 // "debian 12", of a package of a distribution
	supplier uint32
	sboms    few
}

// A few is a set of ordinals that mostly has one or two.
type few struct {
	one  uint32 // plus one; 0 is none
	many *roaring.Bitmap
}

// add reports whether i was not in the set before.
func (s *few) add(i uint32) bool {
	switch {
	case s.many != nil:
		return s.many.CheckedAdd(i)
	case s.one == i+1:
		return false
	case s.one == 0:
		s.one = i + 1
	default:
		s.many = roaring.BitmapOf(s.one-1, i)
	}
	return true
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

// ecosystems are OSV's names of what package URLs call types.
var ecosystems = map[string]string{
	"go": "golang", "npm": "npm", "pypi": "pypi", "maven": "maven", "crates.io": "cargo", "nuget": "nuget", "rubygems": "gem",
	"packagist": "composer", "hex": "hex", "pub": "pub", "swifturl": "swift", "hackage": "hackage", "cran": "cran", "conancenter": "conan",
	"github actions": "githubactions", "bitnami": "bitnami",
	"debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk", "chainguard": "apk",
	"rocky linux": "rpm", "almalinux": "rpm", "red hat": "rpm", "suse": "rpm", "opensuse": "rpm", "mageia": "rpm", "openeuler": "rpm", "photon os": "rpm",
	"fedora": "rpm", "centos": "rpm", "oracle linux": "rpm", "amazon linux": "rpm", "azure linux": "rpm",
}

// bySource are the distributions whose advisories name source packages; those of
// the others name what is installed.
var bySource = map[string]bool{
	"debian": true, "ubuntu": true, "alpine": true, "wolfi": true, "chainguard": true, "rocky": true, "suse": true, "opensuse": true, "mageia": true, "openeuler": true,
}

// A pack is the package that a statement is about.
type pack struct {
	purl.PURL
	distro purl.Distro
	of     string // what of a distribution it is: "rhel_eus:8.6::baseos"
}

// packageOf returns the package that a statement is about, by its package URL
// or its ecosystem and name, and the release of the distribution.
func packageOf(p *advisory.Product) (k pack, ok bool) {
	name, release, _ := strings.Cut(strings.ToLower(p.Ecosystem), ":")
	var distro purl.Distro
	if kind := ecosystems[name]; kind == "deb" || kind == "rpm" || kind == "apk" {
		distro = purl.DistroOf(purl.FamilyOf(name), release)
		k.of = release
	}
	if p.PURL != "" {
		var err error
		if k.PURL, err = purl.Parse(p.PURL); err == nil {
			k.distro, _ = k.PURL.Distro()
			if k.distro.Release == "" && distro.Family != "" {
				k.distro = distro
			}
			return k, true
		}
	}
	kind, known := ecosystems[name]
	if !known || p.Package == "" {
		return k, false
	}
	path, scope := p.Package, ""
	if kind == "maven" {
		path = strings.Replace(path, ":", "/", 1)
	}
	if distro.Family != "" {
		scope = distro.Family
	} else if i := strings.LastIndexByte(path, '/'); i >= 0 {
		scope, path = path[:i], path[i+1:]
	}
	var err error
	k.PURL, err = purl.New(kind, scope, path, "", nil, "")
	k.distro = distro
	return k, err == nil
}

// packageKey is what a package is found by. The names that tools give to a
// distribution differ: see [pack.concerns]. PyPI tells no dots and dashes from one
// another (PEP 503), NuGet no case, and package URLs of Go are in lower case where
// the module's path need not be.
func packageKey(p purl.PURL) string {
	if _, of := p.Distro(); of {
		return "pkg:" + p.Type + "/" + p.Name
	}
	switch p.Type {
	case "pypi":
		p.Name = strings.Join(strings.FieldsFunc(p.Name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-")
	case "golang", "nuget":
		p.Namespace, p.Name = strings.ToLower(p.Namespace), strings.ToLower(p.Name)
	}
	return p.Package().String()
}

// versionOf is a version of a package as it is compared: what is written, or what
// its package URL says. RPM's begins with its epoch, which is a qualifier there.
func versionOf(p purl.PURL, written string) string {
	v := cmp.Or(written, p.Version)
	if epoch := p.Qualifier("epoch"); p.Type == "rpm" && epoch != "" && epoch != "0" && v != "" && !strings.Contains(v, ":") {
		return epoch + ":" + v
	}
	return v
}

// streams of Red Hat's that get fixes of their own after a minor release.
var streams = lazyregexp.New(`^rhel_(eus|aus|tus|e4s|els|eus_long_life)`)

// concerns says whether what a statement says of a package of a distribution is
// about a package of another, and how sure that is.
func (k *pack) concerns(d purl.Distro) (c Certainty, why string, ok bool) {
	c, why = Exact, "the package is the same"
	switch {
	case k.distro.Family == d.Family:
	case k.distro.Family == "" || d.Family == "":
		c, why = Review, "which distribution the package is of is not written down"
	case k.distro.Family == "redhat" && d.Family == "centos":
		c, why = Likely, "CentOS is built from what Red Hat publishes"
	default:
		return "", "", false
	}
	same, certain := k.distro.Same(d)
	switch {
	case !same:
		return "", "", false
	case !certain && c == Exact:
		c, why = Likely, "which release of the distribution it is of is not written down"
	}
	if k.distro.Family != "redhat" || k.of == "" || strings.HasPrefix(k.of, "enterprise_linux") || strings.Trim(k.of, "0123456789.") == "" {
		if k.distro.Family == "ubuntu" && strings.Contains(k.of, "fips") {
			return Review, "the advisory means Ubuntu's packages for FIPS", true
		}
		return c, why, true
	}
	if !streams().MatchString(k.of) {
		return Review, "the advisory means packages of " + k.of, true
	}
	_, minor, _ := strings.Cut(k.distro.Release, ".")
	_, has, _ := strings.Cut(d.Release, ".")
	switch {
	case minor != "" && has != "" && minor != has:
		return "", "", false
	case minor != has:
		return Review, "the advisory means release " + k.distro.Release + ", and which one this is, is not written down", true
	}
	return least(c, Likely), "the advisory means those with extended support: " + k.of, true
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
		if k, ok := packageOf(p); ok {
			x.wanted[packageKey(k.PURL)] = true
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

// wants reports whether an advisory may be about a component with these keys, of
// its package and of the source that is built from.
func (x *Index) wants(c *sbom.Component, key, source string) bool {
	return x.wanted == nil || x.wanted[key] || x.wanted[source] || c.Name != "" && x.wanted[bare(c.Name)] || slices.ContainsFunc(c.CPEs, func(s string) bool {
		n, err := cpe.Parse(s)
		return err == nil && x.wanted[cpeKey(n)]
	})
}

// addComponent returns the ordinal of a component of a bill of materials, which
// has so many that are called alike.
func (x *Index) addComponent(c *sbom.Component, alike map[uint32]int) (uint32, bool) {
	if c.Name == "" && c.PURL == "" {
		return 0, false
	}
	p, err := purl.Parse(c.PURL)
	packaged := err == nil
	var key, sourceKey string
	if packaged {
		key = packageKey(p)
	}
	source, of := p.Source()
	if source != "" {
		sourceKey = "pkg:" + p.Type + "/" + strings.ToLower(source)
	}
	if !x.wants(c, key, sourceKey) {
		return 0, false
	}
	id := component{version: x.intern(versionOf(p, c.Version))}
	if packaged {
		id.name = x.intern(p.Package().String())
		if d, of := p.Distro(); of {
			id.distro = x.intern(strings.TrimSpace(d.Family + " " + d.Release))
		}
	} else {
		name := c.Name
		if c.Group != "" {
			name = c.Group + "/" + name
		}
		id.name, id.supplier = x.intern(name), x.intern(c.Supplier)
	}
	if alike[id.name] >= maxAlike {
		x.leftOut.Components++
		return 0, false
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
	if source != "" && (source != p.Name || of != "") {
		b := built{i, x.intern(versionOf(p, cmp.Or(of, c.Version))), x.intern(strings.ToLower(source))}
		if k := "src:" + p.Type + "/" + strings.ToLower(source); !slices.Contains(x.bySource[k], b) {
			x.bySource[k] = append(x.bySource[k], b)
			x.sourceOf[i] = b.source
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

// A built is a component that is built from a source package.
type built struct{ component, version, source uint32 }

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
	as := func(i uint32, version string, c Certainty, why string) {
		if seen[i] {
			return
		}
		seen[i] = true
		vc, says, ok := versions(p, version)
		if !ok {
			return
		}
		if least(c, vc) == vc && vc != Exact {
			why = says
		}
		out = append(out, part{i, least(c, vc), why, says})
	}
	add := func(i uint32, c Certainty, why string) { as(i, x.text[x.components[i].version], c, why) }
	k, packaged := packageOf(p)
	_, system := k.PURL.Distro()
	switch {
	case packaged && system:
		for _, b := range x.bySource["src:"+k.Type+"/"+strings.ToLower(k.Name)] {
			c, why, ok := k.concerns(x.distro(b.component))
			if !ok {
				continue
			}
			if c == Exact {
				why = "it is built from the source package " + k.Name
			}
			if !bySource[k.distro.Family] {
				c, why = least(c, Likely), why+", if the advisory means all that is"
			}
			as(b.component, x.text[b.version], c, why)
		}
		for _, i := range x.byKey[packageKey(k.PURL)] {
			c, why, ok := k.concerns(x.distro(i))
			if !ok {
				continue
			}
			if s := x.text[x.sourceOf[i]]; s != "" && s != strings.ToLower(k.Name) && bySource[k.distro.Family] {
				c, why = Review, "the advisory means a source package, and this one of its name is built from "+s
			}
			add(i, c, why)
		}
	case packaged:
		for _, i := range x.byKey[packageKey(k.PURL)] {
			add(i, Exact, "the package is the same")
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

// distro is the release of a distribution that a component is of.
func (x *Index) distro(component uint32) purl.Distro {
	family, release, _ := strings.Cut(x.text[x.components[component].distro], " ")
	return purl.Distro{Family: family, Release: release}
}
