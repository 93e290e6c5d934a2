// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"testing"

	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/version"
)

// TestDistributions: what OSV calls a release of a distribution against how
// syft, trivy and cdxgen write packages of it.
func TestDistributions(t *testing.T) {
	for _, test := range []struct {
		ecosystem, pack, component string
		want                       Certainty
	}{
		{"Debian:11", "openssl", "pkg:deb/debian/openssl@1.1?arch=amd64&distro=debian-11", Exact},
		{"Debian:11", "openssl", "pkg:deb/debian/libssl1.1@1.1?arch=amd64&distro=debian-11&upstream=openssl", Exact},
		{"Debian:11", "openssl", "pkg:deb/debian/libssl1.1@1.1?arch=amd64&distro=debian-12&upstream=openssl", ""},
		{"Debian:11", "openssl", "pkg:deb/debian/libssl1.1@1.1?arch=amd64&distro_name=bullseye&upstream=openssl", Exact},
		{"Debian:11", "openssl", "pkg:deb/ubuntu/libssl1.1@1.1?distro=ubuntu-20.04&upstream=openssl", ""},
		{"Debian:11", "openssl", "pkg:deb/debian/libssl1.1@1.1?upstream=openssl", Likely},
		{"Debian:11", "openssl", "pkg:deb/libssl1.1@1.1?upstream=openssl", Review},
		{"Debian:11", "openssl", "pkg:deb/libssl1.1@1.1?upstream=openssl&distro=debian-11.6", Exact},
		{"Debian:11", "openssl", "pkg:deb/debian/openssl@1.1?distro=debian-11&upstream=openssl-defaults", Review},
		{"Debian:11", "openssl", "pkg:deb/debian/libssl1.1@9?distro=debian-11&upstream=openssl%401.1", Exact},
		{"Debian:11", "openssl", "pkg:deb/debian/openssl@1.1?distro=debian-11&upstream=openssl%409", ""},
		{"Ubuntu:20.04:LTS", "openssl", "pkg:deb/ubuntu/openssl@1.1?distro=ubuntu-20.04", Exact},
		{"Ubuntu:20.04:LTS", "openssl", "pkg:deb/ubuntu/openssl@1.1?distro=ubuntu-20.10", ""},
		{"Ubuntu:20.04:LTS", "openssl", "pkg:deb/ubuntu/openssl@1.1?distro=focal", Exact},
		{"Ubuntu:Pro:16.04:LTS", "openssl", "pkg:deb/ubuntu/libssl1.0.0@1.0?distro=ubuntu-16.04&upstream=openssl", Exact},
		{"Ubuntu:Pro:16.04:LTS", "openssl", "pkg:deb/ubuntu/libssl1.0.0@1.0?distro=ubuntu-18.04&upstream=openssl", ""},
		{"Ubuntu:Pro:FIPS:18.04:LTS", "openssl", "pkg:deb/ubuntu/openssl@1.0?distro=ubuntu-18.04", Review},
		{"Alpine:v3.18", "openssl", "pkg:apk/alpine/libcrypto3@3.0?arch=x86_64&upstream=openssl&distro=alpine-3.18.4", Exact},
		{"Alpine:v3.18", "openssl", "pkg:apk/alpine/openssl@3.0?distro=3.18.4", Exact},
		{"Alpine:v3.18", "openssl", "pkg:apk/alpine/openssl@3.0?distro=3.17.4", ""},
		{"Wolfi", "openssl", "pkg:apk/wolfi/libcrypto3@3.0?upstream=openssl&distro=wolfi-20230201", Exact},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=rhel-8.5", Exact},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/rhel/openssl-libs@1.1?distro=rhel-8.5", Exact},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=redhat-8.5", Exact},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=rhel-9.1", ""},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1-3.el8_5", Exact},
		{"Red Hat:enterprise_linux:8::baseos", "openssl", "pkg:rpm/redhat/openssl-libs@1.1-6.el8?upstream=openssl-1.1-6.el8.src.rpm&distro=rhel-8.5", Likely},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/centos/openssl-libs@1.1?distro=centos-8", Likely},
		{"Red Hat:enterprise_linux:8::baseos", "openssl-libs", "pkg:rpm/rocky/openssl-libs@1.1?distro=rocky-8.5", ""},
		{"Red Hat:rhel_eus:8.6::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=rhel-8.6", Likely},
		{"Red Hat:rhel_eus:8.6::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=rhel-8.5", ""},
		{"Red Hat:rhel_eus:8.6::baseos", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=rhel-8", Review},
		{"Red Hat:openshift:4.12::el8", "openssl-libs", "pkg:rpm/redhat/openssl-libs@1.1?distro=rhel-8.5", Review},
		{"Rocky Linux:8", "openssl", "pkg:rpm/rocky/openssl@1.1?distro=rocky-8.5", Exact},
		{"Rocky Linux:8", "openssl", "pkg:rpm/rocky-linux/openssl@1.1?distro=rocky-linux-8", Exact},
		{"Rocky Linux:8", "openssl", "pkg:rpm/rocky/openssl-libs@1.1-6.el8?upstream=openssl-1.1-6.el8.src.rpm&distro=rocky-8.5", Exact},
		{"AlmaLinux:8", "openssl", "pkg:rpm/almalinux/openssl@1.1?distro=almalinux-8.5", Exact},
		{"AlmaLinux:8", "openssl", "pkg:rpm/alma/openssl@1.1?distro=alma-8.5", Exact},
		{"SUSE:Linux Enterprise Server 15 SP3-LTSS", "openssl", "pkg:rpm/sles/openssl@1.1?distro=sles-15.3", Exact},
		{"SUSE:Linux Enterprise Module for Basesystem 15 SP3", "openssl", "pkg:rpm/suse/openssl@1.1?distro=sles-15.3", Exact},
		{"SUSE:Linux Enterprise Server 15 SP3-LTSS", "openssl", "pkg:rpm/suse/openssl@1.1?distro=suse%20linux%20enterprise%20server-15.4", ""},
		{"SUSE:Linux Enterprise Server 15 SP3-LTSS", "openssl", "pkg:rpm/suse/openssl@1.1?distro=sles-15", Likely},
		{"openSUSE:Leap 15.5", "openssl", "pkg:rpm/opensuse/openssl@1.1?distro=opensuse-leap-15.5", Exact},
		{"openSUSE:Leap 15.5", "openssl", "pkg:rpm/opensuse-leap/openssl@1.1?distro=opensuse-leap-15.5", Exact},
		{"openSUSE:Leap 15.5", "openssl", "pkg:rpm/opensuse.leap/openssl@1.1?distro=opensuse.leap-15.4", ""},
		{"openSUSE:Tumbleweed", "openssl", "pkg:rpm/opensuse/openssl@1.1?distro=opensuse-tumbleweed-20230101", Exact},
		{"openSUSE:Tumbleweed", "openssl", "pkg:rpm/opensuse/openssl@1.1?distro=opensuse-leap-15.5", ""},
		{"Maven:https://maven.google.com", "androidx:core", "pkg:maven/androidx/core@1.0", Exact},
	} {
		k, err := purl.Parse(test.component)
		if err != nil {
			t.Fatal(test.component, err)
		}
		x := NewIndex(nil)
		x.AddSBOM(bom("urn:1", "2.1.4", sbom.Component{Name: k.Name, PURL: test.component, Version: k.Version}))
		scheme, ok := version.SchemeOf(test.ecosystem)
		p := advisory.Product{Ecosystem: test.ecosystem, Package: test.pack, HasRange: true, Range: before(scheme, "5")}
		var got Certainty
		for _, h := range x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p})) {
			got = h.Certainty
		}
		if got != test.want || !ok {
			t.Errorf("%s %s, %s: %q, want %q", test.ecosystem, test.pack, test.component, got, test.want)
		}
	}
}

// TestEpoch: the epoch of a package of RPM's stands in a qualifier, and is the
// first part of its version.
func TestEpoch(t *testing.T) {
	for _, test := range []struct {
		purl, version string
		want          Certainty
	}{
		{"pkg:rpm/redhat/openssl-libs@1.0.2k-19.el7?epoch=1&distro=rhel-7.9", "", Exact},
		{"pkg:rpm/redhat/openssl-libs@1.0.2k-26.el7_9?epoch=1&distro=rhel-7.9", "", ""},
		{"pkg:rpm/redhat/openssl-libs@1.0.2k-26.el7_9?epoch=1&distro=rhel-7.9", "1.0.2k-26.el7_9", ""},
		{"pkg:rpm/redhat/openssl-libs@1.0.2k-26.el7_9?epoch=1&distro=rhel-7.9", "1:1.0.2k-26.el7_9", ""},
		{"pkg:rpm/redhat/openssl-libs@1.0.2k-26.el7_9?distro=rhel-7.9", "", Exact}, // as written
		{"pkg:rpm/redhat/openssl-libs@1.0.2k-26.el7_9?epoch=2&distro=rhel-7.9", "", ""},
		{"pkg:rpm/redhat/other@9?epoch=1&distro=rhel-7.9&upstream=openssl-libs-1.0.2k-26.el7_9.src.rpm", "", ""},
		{"pkg:rpm/redhat/other@9?epoch=1&distro=rhel-7.9&upstream=openssl-libs-1.0.2k-19.el7.src.rpm", "", Likely},
	} {
		x := NewIndex(nil)
		x.AddSBOM(bom("urn:1", "2.1.4", sbom.Component{Name: "y", PURL: test.purl, Version: test.version}))
		p := advisory.Product{Ecosystem: "Red Hat:enterprise_linux:7::server", Package: "openssl-libs", HasRange: true, Range: before(version.RPM, "1:1.0.2k-25.el7_9")}
		var got Certainty
		for _, h := range x.Affected(about("CVE-2024-1", nil, advisory.Statement{Product: p})) {
			got = h.Certainty
		}
		if got != test.want {
			t.Errorf("%s %s: %q, want %q", test.purl, test.version, got, test.want)
		}
		if hits, _ := x.Find(test.purl); len(hits) != 1 {
			t.Errorf("%s: not found by itself", test.purl)
		}
	}
}
