// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"errors"
	"strings"
)

// schemeNames are the names that vers: gives the schemes, which are mostly the
// types of package URLs.
var schemeNames = [...]string{
	Generic: "generic", Semver: "semver", Go: "golang", NPM: "npm", PyPI: "pypi", Maven: "maven",
	NuGet: "nuget", RubyGems: "gem", Debian: "deb", RPM: "rpm", Alpine: "apk", OpenSSL: "openssl",
	Composer: "composer", Gentoo: "ebuild", Arch: "alpm", Conan: "conan", CRAN: "cran",
	Hackage: "hackage", Pub: "pub", JVM: "jvm", Bitnami: "bitnami", Date: "datetime",
}

// String returns the name that vers: gives the scheme.
func (s Scheme) String() string {
	if int(s) < len(schemeNames) {
		return schemeNames[s]
	}
	return schemeNames[Generic]
}

// ecosystems are the other names of the schemes: OSV's ecosystems, types of
// package URLs that have no scheme of their own, and grype's formats.
var ecosystems = named(map[string]Scheme{
	"fuzzy": Generic, "unknown": Generic, "cpan": Generic, "github": Generic, "oss-fuzz": Generic,
	"linux": Generic, "android": Generic, "cpe": Generic, "swid": Generic, "qpkg": Generic,

	"semantic": Semver, "cargo": Semver, "crates.io": Semver, "hex": Semver, "swift": Semver,
	"swifturl": Semver, "github actions": Semver, "julia": Semver, "nginx": Semver,
	"kubernetes": Semver, "terraform": Semver, "vscode-extension": Semver, "vscode": Semver,

	"go": Go, "pip": PyPI, "python": PyPI, "pep440": PyPI, "conda": PyPI,
	"rubygems": RubyGems, "cocoapods": RubyGems,
	"packagist": Composer, "conancenter": Conan, "portage": Gentoo, "gentoo": Gentoo,
	"pacman": Arch, "arch": Arch, "ghc": Hackage, "intdot": Hackage, "bioconductor": CRAN,
	"java": JVM, "jdk": JVM,

	"debian": Debian, "ubuntu": Debian, "dpkg": Debian, "echo": Debian, "opam": Debian,

	"redhat": RPM, "red hat": RPM, "rhel": RPM, "rocky linux": RPM, "almalinux": RPM, "suse": RPM,
	"opensuse": RPM, "mageia": RPM, "openeuler": RPM, "azure linux": RPM, "photon os": RPM,
	"fedora": RPM, "centos": RPM, "oracle linux": RPM, "amazon linux": RPM,

	"alpine": Alpine, "alpaquita": Alpine, "wolfi": Alpine, "chainguard": Alpine, "minimos": Alpine,
	"bellsoft hardened containers": Alpine,
})

// named adds the schemes' own names.
func named(ecosystems map[string]Scheme) map[string]Scheme {
	for s, name := range schemeNames {
		ecosystems[name] = Scheme(s)
	}
	return ecosystems
}

// SchemeOf returns the scheme of an ecosystem by any of its names: the type of
// a package URL, a scheme of vers:, an ecosystem of OSV ("Debian:12": what
// follows the colon does not count) or a format of grype. Case does not count.
func SchemeOf(ecosystem string) (Scheme, bool) {
	name, _, _ := strings.Cut(ecosystem, ":")
	s, ok := ecosystems[name]
	if !ok {
		s, ok = ecosystems[strings.ToLower(name)]
	}
	return s, ok
}

// ErrSyntax is what [Scheme.Check] returns for a string that is no version.
var ErrSyntax = errors.New("not a version of this scheme")

// Check returns [ErrSyntax] when v is no version of the scheme, so that its
// place in the order, which [Scheme.Compare] gives to any string, says little.
// It is as lenient as the scheme's own tools: SemVer's relatives may have
// fewer or more than three numbers.
func (s Scheme) Check(v string) error {
	v = strings.TrimSpace(v)
	ok := false
	switch s {
	case Semver, Go, NPM, Pub, NuGet, Bitnami, JVM:
		p := cutSemver(s, v)
		ok = p.release != "" && isDigit(p.release[0]) && !strings.Contains(p.release, "..") && only(p.pre+p.build, ".-+_")
	case PyPI:
		p := cutPyPI(v)
		ok = p.valid() && only(p.local, ".-_")
	case Debian:
		_, rest := cutEpoch(v)
		ok = rest != "" && isDigit(rest[0]) && only(rest, ".+~-:")
	case RPM:
		ok = strings.ContainsFunc(v, isAlnum) && only(v, "._+~^:-")
	case Arch:
		ok = strings.ContainsFunc(v, isAlnum) && only(v, "._+~:-")
	case Alpine, Gentoo:
		v, _, _ = strings.Cut(v, "~") // Alpine: the commit it was built from
		p := cutPortage(s, v)
		_, revision, revised := strings.Cut(v, "-r")
		ok = p.numbers != "" && p.remainder == "" && only(v, "._-") && (!revised || revision == p.revision && revision != "")
	case Hackage:
		ok = v != "" && isDigit(v[0]) && strings.Trim(v, "0123456789.") == ""
	case CRAN:
		ok = v != "" && isDigit(v[0]) && strings.Trim(v, "0123456789.-") == ""
	case RubyGems, Composer, OpenSSL:
		w := trimV(v)
		ok = w != "" && isDigit(w[0]) && only(w, ".-+_#~@/")
	case Conan:
		ok = v != "" && only(v, ".-+_~")
	case Maven:
		ok = strings.ContainsFunc(v, isAlnum) && only(v, ".-_+")
	case Date:
		_, _, ok = cutDate(v)
	default:
		ok = strings.ContainsAny(v, "0123456789") && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' })
	}
	if !ok {
		return ErrSyntax
	}
	return nil
}

func isAlnum(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' && r < 0x80
}

// only says whether v has letters and digits and else only the marks.
func only(v, marks string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune(marks, r) })
}
