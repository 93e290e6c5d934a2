// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package purl

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ExampleParse() {
	p, err := Parse("pkg:deb/debian/curl@7.50.3-1?distro=jessie&arch=i386")
	fmt.Println(p.Type, p.Namespace, p.Name, p.Version, p.Qualifier("distro"), err)
	fmt.Println(p)
	// Output:
	// deb debian curl 7.50.3-1 jessie <nil>
	// pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie
}

func lines(t *testing.T, name string, each func(line []byte)) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "matching", name))
	if err != nil {
		t.Skip("the ground truth is not here: ../shared/matching/" + name)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	n := 0
	for ; s.Scan(); n++ {
		each(s.Bytes())
	}
	if s.Err() != nil || n == 0 {
		t.Fatalf("%s: %d lines, %v", name, n, s.Err())
	}
}

type parts struct {
	Type, Namespace, Name, Version, Subpath string
	Qualifiers                              map[string]string
}

// The specification's own tests.
func TestSpecification(t *testing.T) {
	lines(t, "purl-spec.jsonl", func(line []byte) {
		var c struct {
			TestType string          `json:"test_type"`
			Fails    bool            `json:"expected_failure"`
			Input    json.RawMessage `json:"input"`
			Expected json.RawMessage `json:"expected_output"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		var got PURL
		var err error
		if c.TestType == "build" {
			var in parts
			if err := json.Unmarshal(c.Input, &in); err != nil {
				t.Fatal(err)
			}
			got, err = New(in.Type, in.Namespace, in.Name, in.Version, in.Qualifiers, in.Subpath)
		} else {
			var in string
			if err := json.Unmarshal(c.Input, &in); err != nil {
				t.Fatal(err)
			}
			got, err = Parse(in)
		}
		if c.Fails || err != nil {
			if !c.Fails || err == nil {
				t.Errorf("%s %s: %+v, %v; expected to fail: %v", c.TestType, c.Input, got, err, c.Fails)
			}
			return
		}
		if c.TestType == "parse" {
			var want parts
			if err := json.Unmarshal(c.Expected, &want); err != nil {
				t.Fatal(err)
			}
			p, err := New(want.Type, want.Namespace, want.Name, want.Version, want.Qualifiers, want.Subpath)
			if err != nil || got != p || got.Name != want.Name || got.Namespace != want.Namespace || got.Version != want.Version || got.Subpath != want.Subpath {
				t.Errorf("parse %s: %+v, want %+v, %v", c.Input, got, want, err)
			}
			for key, value := range want.Qualifiers {
				if got.Qualifier(key) != value {
					t.Errorf("parse %s: qualifier %s is %q, want %q", c.Input, key, got.Qualifier(key), value)
				}
			}
			return
		}
		var want string
		if err := json.Unmarshal(c.Expected, &want); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("%s %s: %s, want %s", c.TestType, c.Input, got, want)
		}
	})
}

// Dependency-Track's cases of a statement and a component.
func TestCoversAsDependencyTrack(t *testing.T) {
	n := 0
	lines(t, "dtrack-parameterised.jsonl", func(line []byte) {
		var c struct{ Args string }
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		f := strings.Split(c.Args, ", ")
		if len(f) != 4 || !strings.HasPrefix(f[0], `"pkg:`) {
			return
		}
		n++
		p, err := Parse(strings.Trim(f[0], `"`))
		q, err2 := Parse(strings.Trim(f[3], `"`))
		if got := p.Covers(q); err != nil || err2 != nil || got != (f[2] == "MATCHES") {
			t.Errorf("%s: %v, %v, %v", c.Args, got, err, err2)
		}
	})
	if n == 0 {
		t.Error("no case about package URLs")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"pkg:npm/lodash", "pkg:npm/lodash@4.17.20", true},
		{"pkg:npm/lodash@4.17.20", "pkg:npm/lodash@4.17.20", true},
		{"pkg:npm/lodash@4.17.20", "pkg:npm/lodash@4.17.21", false},
		{"pkg:npm/lodash@4.17.20", "pkg:npm/lodash", false},
		{"pkg:deb/debian/sudo?distro=debian-11", "pkg:deb/debian/sudo@1.9.5?distro=debian-11.7", true},
		{"pkg:deb/ubuntu/sudo?distro=jammy", "pkg:deb/ubuntu/sudo@1.9.5?distro=ubuntu-22.10", false},
		{"pkg:deb/ubuntu/sudo?distro=jammy", "pkg:deb/ubuntu/sudo@1.9.5?distro=ubuntu-22.04", true},
		{"pkg:deb/debian/sudo", "pkg:deb/ubuntu/sudo", false},
		{"pkg:apk/alpine/musl?distro=3.14", "pkg:apk/alpine/musl@1.2.2-r1?distro=alpine-3.14.2", true},
		{"pkg:apk/alpine/musl?distro=3.1", "pkg:apk/alpine/musl@1.2.2-r1?distro=alpine-3.14.2", false},
	} {
		p, err := Parse(c.p)
		q, err2 := Parse(c.q)
		if got := p.Covers(q); err != nil || err2 != nil || got != c.want {
			t.Errorf("%s covers %s: %v, %v, %v", c.p, c.q, got, err, err2)
		}
	}
}

func TestParseFails(t *testing.T) {
	for _, c := range []struct{ purl, part string }{
		{"", "scheme"},
		{"npm/lodash", "scheme"},
		{"pkg:", "type"},
		{"pkg:npm", "type"},
		{"pkg:npm/", "type"},
		{"pkg:n pm/lodash", "type"},
		{"pkg:npm/@1.0", "name"},
		{"pkg:npm/lodash@%zz", "version"},
		{"pkg:npm/lodash@1%2", "version"},
		{"pkg:npm/%gg/lodash", "namespace"},
		{"pkg:maven/a%2Fb/c", "namespace"},
		{"pkg:npm/lodash?a=%", "qualifiers"},
		{"pkg:npm/lodash?a=1&a=2", "qualifiers"},
		{"pkg:npm/lodash?1a=1", "qualifiers"},
		{"pkg:npm/lodash?=1", "qualifiers"},
		{"pkg:npm/lodash#%f", "subpath"},
		{"pkg:npm/" + strings.Repeat("a", maxPURL), "length"},
	} {
		p, err := Parse(c.purl)
		var e *SyntaxError
		if !errors.As(err, &e) || e.Part != c.part {
			t.Errorf("Parse(%.40q) = %v, %v; want an error about %s", c.purl, p, err, c.part)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, s := range []string{
		"pkg:golang/github.com/gorilla/mux@v1.8.0", "pkg:pypi/django@4.2.1", "pkg:npm/lodash@4.17.21",
		"pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie", "pkg:maven/org.apache.commons/io@1.3.4",
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = Parse(s) }); n != 0 {
			t.Errorf("Parse(%q): %v allocations", s, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	const s = "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie"
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		_, _ = Parse(s)
	}
}

// What is read writes a form that reads as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"pkg:npm/%40angular/animation@12.3.1", "pkg:npm/@babel/core#/googleapis/api/", "pkg:git/codeberg.org/a/b@1#c",
		"pkg://Generic/bitwarderl?vcs_url=git%2Bhttps://git.fsfe.org/dxtr&checksum=a,b", "pkg:pypi/Django_package@1/2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil || len(p.String()) > maxPURL {
			return
		}
		q, err := Parse(p.String())
		if err != nil || q != p || q.String() != p.String() {
			t.Errorf("%q is %#v, written %s, read back as %#v, %v", s, p, p, q, err)
		}
		if !p.Covers(p) {
			t.Errorf("%s does not cover itself", p)
		}
	})
}

func TestDistro(t *testing.T) {
	for in, want := range map[string]Distro{
		"debian-11.7": {"debian", "11.7"}, "bullseye": {"", "11"}, "SUSE Linux Enterprise Server 15 SP3-LTSS": {"suse", "15.3"}, "sles-15.3": {"suse", "15.3"},
		"rhel-8": {"redhat", "8"}, "enterprise_linux:8::baseos": {"redhat", "8"}, "openshift:4.12::el8": {"", "8"}, "opensuse-leap-15.5": {"opensuse", "15.5"},
		"16.04:LTS": {"", "16.04"}, "v3.18": {"", "3.18"}, "openSUSE Tumbleweed": {"opensuse", "tumbleweed"}, "": {}, "el": {}, "sp3": {"", "3"}, "ol-8.5": {"oracle", "8.5"}, "olive": {},
	} {
		if got := DistroOf("", in); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}
