// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package purl

import (
	"cmp"
	"strings"
)

// A Distro is a release of a distribution of Linux. Empty fields are unknown.
type Distro struct {
	Family  string // "debian", "redhat", "suse", whatever a tool or database calls it
	Release string // "12", "22.04"; "15.3" of SLES 15 SP3
}

// families are what distributions are called: in os-release, in package URLs by
// syft, trivy and cdxgen, and by OSV. The longest beginning of a name counts.
var families = map[string]string{
	"debian": "debian", "ubuntu": "ubuntu", "alpine": "alpine", "wolfi": "wolfi", "chainguard": "chainguard",
	"redhat": "redhat", "red hat": "redhat", "rhel": "redhat", "enterprise_linux": "redhat", "centos": "centos", "fedora": "fedora",
	"rocky": "rocky", "alma": "almalinux", "ol": "oracle", "oracle": "oracle", "amzn": "amazon", "amazon": "amazon",
	"suse": "suse", "sle": "suse", "sles": "suse", "sled": "suse", "opensuse": "opensuse", "photon": "photon", "openeuler": "openeuler", "mageia": "mageia",
	"azurelinux": "azure", "azure linux": "azure", "mariner": "azure", "cbl-mariner": "azure",
}

// twoNumbers are the families whose releases have two numbers: 3.14 of 3.14.2.
var twoNumbers = map[string]bool{"ubuntu": true, "alpine": true, "suse": true, "opensuse": true}

// codenames are the releases that a distribution also calls by a name.
var codenames = map[string]string{
	"jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14",
	"trusty": "14.04", "xenial": "16.04", "bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04",
}

// digits returns the number that s begins with.
func digits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// enterprise returns the number behind "el": "openshift:4.12::el8", "1.1.1k-6.el8".
func enterprise(s string) string {
	for at := 0; ; at += 2 {
		i := strings.Index(s[at:], "el")
		if i < 0 {
			return ""
		}
		if at += i; at == 0 || strings.IndexByte(".:_", s[at-1]) >= 0 {
			if n := digits(s[at+2:]); n != "" {
				return n
			}
		}
	}
}

// numbered returns the first number in s, with the one behind it: "15.3" of
// "15.3", "15 SP3" and "15-sp3-ltss".
func numbered(s string) string {
	s = s[min(max(strings.IndexAny(s, "0123456789"), 0), len(s)):]
	major := digits(s)
	rest := s[len(major):]
	if point, ok := strings.CutPrefix(rest, "."); ok {
		rest = point
	} else if rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " _-"), "sp"); !ok {
		return major
	}
	if minor := digits(rest); major != "" && minor != "" {
		return major + "." + minor
	}
	return major
}

// FamilyOf returns the family of a distribution by any of its names, whatever
// stands behind them, or "": "SUSE Linux Enterprise Server 15 SP3", "rocky-linux".
func FamilyOf(name string) string {
	name = strings.ToLower(name)
	for n := min(len(name), len("enterprise_linux")); n >= 2; n-- {
		if f, ok := families[name[:n]]; ok && (n == len(name) || n > 2 || name[n] < 'a' || 'z' < name[n]) {
			return f
		}
	}
	return ""
}

// DistroOf returns the release that a text names, of a family or, where that is
// "", of the family that it begins with: "debian-11.7", "bullseye", "15 SP3",
// "v3.18", "16.04:LTS", "enterprise_linux:8::baseos".
func DistroOf(family, text string) Distro {
	text = strings.ToLower(text)
	d := Distro{Family: cmp.Or(family, FamilyOf(text))}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < 'a' || 'z' < r }) {
		if n, ok := codenames[word]; ok {
			d.Release = n
			return d
		}
		if word == "edge" || word == "tumbleweed" || word == "rolling" || word == "sid" {
			d.Release = word
			return d
		}
	}
	d.Release = cmp.Or(enterprise(text), numbered(text))
	return d
}

// Distro returns the release of a distribution that p is of, and whether p is a
// package of a distribution.
func (p PURL) Distro() (Distro, bool) {
	if p.Type != "deb" && p.Type != "rpm" && p.Type != "apk" {
		return Distro{}, false
	}
	d := DistroOf(FamilyOf(p.Namespace), cmp.Or(p.Qualifier("distro"), p.Qualifier("distro_name")))
	if d.Release == "" && p.Type == "rpm" {
		d.Release = enterprise(strings.ToLower(p.Version))
	}
	return d, true
}

// Same says whether two releases of one family are one, and whether that is
// certain: it is not where one of them is not written down, or only in part.
func (d Distro) Same(e Distro) (same, certain bool) {
	if d.Family == "wolfi" || d.Family == "chainguard" { // have no releases
		return true, true
	}
	if d.Release == "" || e.Release == "" {
		return true, false
	}
	a, minor, whole := strings.Cut(d.Release, ".")
	b, other, too := strings.Cut(e.Release, ".")
	if a != b || !twoNumbers[d.Family] {
		return a == b, a == b
	}
	if whole && too {
		return minor == other, minor == other
	}
	return true, !whole && !too
}

// Source returns the source package that p was built from as its upstream
// qualifier names it, and its version where that is another than p's:
// "openssl", "gcc-10@10.2.1-6", "openssl-1.1.1k-6.el8.src.rpm".
func (p PURL) Source() (name, version string) {
	s := p.Qualifier("upstream")
	if rpm, ok := strings.CutSuffix(s, ".src.rpm"); ok {
		if i := strings.LastIndexByte(rpm, '-'); i > 0 {
			if j := strings.LastIndexByte(rpm[:i], '-'); j > 0 {
				return rpm[:j], rpm[j+1:]
			}
		}
		return rpm, ""
	}
	name, version, _ = strings.Cut(s, "@")
	return name, version
}
