// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func ExampleParseVers() {
	r, _ := ParseVers("vers:generic/>=2.0|<2.2.0")
	fmt.Println(r, r.Contains("2.1.4"), r.Contains("2.2.0"))
	// Output: from 2.0 and before 2.2.0 true false
}

func ExampleScheme_Compare() {
	fmt.Println(Debian.Compare("1.0~rc1", "1.0"), Maven.Compare("1.0-sp", "1.0"), Generic.Compare("V2.2", "2.2.0"))
	// Output: -1 1 0
}

func schemes() []Scheme {
	all := make([]Scheme, len(schemeNames))
	for i := range all {
		all[i] = Scheme(i)
	}
	return all
}

// versions draws strings that are versions, nearly versions, or neither.
func versions() *rapid.Generator[string] {
	piece := rapid.SampledFrom([]string{
		"0", "1", "2", "10", "01", "00", "9999999999999999999999", "a", "b", "alpha", "beta", "rc", "RC", "dev", "pre", "post",
		"snapshot", "ga", "final", "sp", "p", "pl", "r", "git", "jre", "x", "el7", "A", "v", "java",
		".", ".", ".", "-", "_", "+", "~", "^", ":", "!", "#", " ", "*", "é",
	})
	return rapid.Custom(func(t *rapid.T) string {
		s := ""
		for _, p := range rapid.SliceOfN(piece, 0, 9).Draw(t, "pieces") {
			s += p
		}
		return s
	})
}

func TestOrderIsTotal(t *testing.T) {
	for _, s := range schemes() {
		t.Run(s.String(), rapid.MakeCheck(func(t *rapid.T) {
			a, b, c := versions().Draw(t, "a"), versions().Draw(t, "b"), versions().Draw(t, "c")
			if got := s.Compare(a, a+""); got != 0 {
				t.Fatalf("Compare(%q, itself) = %d", a, got)
			}
			ab, ba, bc, ac := s.Compare(a, b), s.Compare(b, a), s.Compare(b, c), s.Compare(a, c)
			if ab != -ba || ab < -1 || ab > 1 {
				t.Fatalf("Compare(%q, %q) = %d and %d", a, b, ab, ba)
			}
			if ab <= 0 && bc <= 0 && (ac > 0 || ac == 0 && (ab < 0 || bc < 0)) {
				t.Fatalf("%q %s %q %s %q but %q %s %q", a, signs[ab], b, signs[bc], c, a, signs[ac], c)
			}
		}))
	}
}

func ranges(s Scheme) *rapid.Generator[Range] {
	bound := versions().Filter(func(v string) bool { return v != "" })
	return rapid.Custom(func(t *rapid.T) Range {
		var in []Interval
		for range rapid.IntRange(1, 4).Draw(t, "n") {
			i := Interval{LowOpen: rapid.Bool().Draw(t, "lowOpen"), HighOpen: rapid.Bool().Draw(t, "highOpen")}
			if rapid.Bool().Draw(t, "low") {
				i.Low = bound.Draw(t, "lowVersion")
			}
			if rapid.Bool().Draw(t, "high") {
				i.High = bound.Draw(t, "highVersion")
			}
			in = append(in, i)
		}
		return NewRange(s, in...)
	})
}

func TestVersReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(schemes()).Draw(t, "scheme")
		r := ranges(s).Draw(t, "range")
		text := r.Vers()
		back, err := ParseVers(text)
		if err != nil || !back.Equal(r) || len(r.Intervals) > 0 && back.Scheme != s {
			t.Fatalf("%#v is %s, which reads back as %#v, %v", r, text, back, err)
		}
	})
}

// A range holds what any of its intervals holds, however it was put together.
func TestContainsIsAnyInterval(t *testing.T) {
	within := func(s Scheme, i Interval, v string) bool {
		if i.Low != "" {
			if c := s.Compare(v, i.Low); c < 0 || c == 0 && i.LowOpen {
				return false
			}
		}
		if i.High != "" {
			if c := s.Compare(v, i.High); c > 0 || c == 0 && i.HighOpen {
				return false
			}
		}
		return true
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(schemes()).Draw(t, "scheme")
		r, q := ranges(s).Draw(t, "r"), ranges(s).Draw(t, "q")
		v := versions().Draw(t, "v")
		if len(r.Intervals) > 0 && rapid.Bool().Draw(t, "bound") {
			v = r.Intervals[0].High
		}
		in := func(r Range) bool {
			return slices.ContainsFunc(r.Intervals, func(i Interval) bool { return within(s, i, v) })
		}
		if got := r.Contains(v); got != in(r) {
			t.Fatalf("%s contains %q: %v", r.Vers(), v, got)
		}
		if got := r.Union(q).Contains(v); got != (in(r) || in(q)) {
			t.Fatalf("%s and %s: union contains %q: %v", r.Vers(), q.Vers(), v, got)
		}
		if got := r.Intersect(q).Contains(v); got != (in(r) && in(q)) {
			t.Fatalf("%s and %s: intersection contains %q: %v", r.Vers(), q.Vers(), v, got)
		}
	})
}

func TestFromEvents(t *testing.T) {
	for _, c := range []struct {
		events []Event
		want   string
	}{
		{[]Event{{Introduced: "0"}}, "vers:npm/*"},
		{[]Event{{Introduced: "0"}, {Fixed: "1.2.0"}}, "vers:npm/<1.2.0"},
		{[]Event{{Fixed: "2.1.0"}, {Introduced: "2.0.0"}, {Fixed: "1.2.0"}, {Introduced: "1.0.0"}}, "vers:npm/>=1.0.0|<1.2.0|>=2.0.0|<2.1.0"},
		{[]Event{{Introduced: "1.0.0"}, {LastAffected: "1.9.0"}}, "vers:npm/>=1.0.0|<=1.9.0"},
		{[]Event{{Introduced: "1.0.0"}, {Limit: "2.0.0"}}, "vers:npm/>=1.0.0|<2.0.0"},
		{[]Event{{Introduced: "1.0.0"}, {Limit: "*"}}, "vers:npm/>=1.0.0"},
		{[]Event{{Fixed: "1.0.0"}}, "vers:none/*"},
		{[]Event{{Introduced: "1.0.0"}, {Introduced: "1.5.0"}, {Fixed: "2.0.0"}}, "vers:npm/>=1.0.0|<2.0.0"},
	} {
		if got := FromEvents(NPM, c.events).Vers(); got != c.want {
			t.Errorf("FromEvents(%v) = %s, want %s", c.events, got, c.want)
		}
	}
	if got := Between(Generic, "1.0", "", "", "2.0").Vers(); got != "vers:generic/>=1.0|<2.0" {
		t.Errorf("Between = %s", got)
	}
	if got := Between(Generic, "", "1.0", "2.0", "").Vers(); got != "vers:generic/>1.0|<=2.0" {
		t.Errorf("Between = %s", got)
	}
}

func TestParseNative(t *testing.T) {
	for _, c := range []struct {
		scheme     Scheme
		text, want string
	}{
		{NPM, "^1.2.3", "vers:npm/>=1.2.3|<2"},
		{NPM, "^0.2.3", "vers:npm/>=0.2.3|<0.3"},
		{NPM, "^0.0.3", "vers:npm/>=0.0.3|<0.0.4"},
		{NPM, "~1.2.3 || 3.x", "vers:npm/>=1.2.3|<1.3|>=3|<4"},
		{NPM, "1.2 - 2.3", "vers:npm/>=1.2|<2.4"},
		{NPM, "1.2", "vers:npm/>=1.2|<1.3"},
		{NPM, ">1.x", "vers:npm/>=2"},
		{PyPI, "~=1.4.2, !=1.4.5", "vers:pypi/>=1.4.2|!=1.4.5|<1.5"},
		{PyPI, "==1.9.*", "vers:pypi/>=1.9.dev0|<1.10.dev0"},
		{Maven, "[1,2),(,0.5],[3]", "vers:maven/<=0.5|>=1|<2|3"},
		{NuGet, "1.0", "vers:nuget/>=1.0"},
		{NuGet, "(1.0,)", "vers:nuget/>1.0"},
		{RubyGems, "~> 1.2.3", "vers:gem/>=1.2.3|<1.3"},
		{RubyGems, "~> 1.2, >= 1.2.5", "vers:gem/>=1.2.5|<2"},
		{Composer, "~1.2 | 3.0.*", "vers:composer/>=1.2|<2|>=3.0|<3.1"},
		{Hackage, "^>=1.2.3 && <1.2.9", "vers:hackage/>=1.2.3|<1.2.9"},
		{Debian, "<< 1:2.0-1", "vers:deb/<1:2.0-1"},
		{Generic, ">=1.0<2.0", "vers:generic/>=1.0|<2.0"},
		{Semver, "", "vers:semver/*"},
		{Generic, "*", "vers:generic/*"},
		{Generic, "<", "error"},
		{Generic, "<>1", "error"},
		{Maven, "[1,2", "error"},
		{Maven, "[]", "error"},
		{Maven, "(1)", "error"},
		{NPM, "^", "error"},
		{NPM, "^a", "error"},
	} {
		r, err := ParseNative(c.scheme, c.text)
		got := r.Vers()
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("ParseNative(%v, %q) = %s, want %s", c.scheme, c.text, got, c.want)
		}
	}
	for _, bad := range []string{"", "vers:", "vers:npm", "vers:npm/", "npm/1", "vers:nosuch/1", "vers:npm/%zz", "vers:npm/>=", "vers:npm/1|*", "vers:npm/||"} {
		if r, err := ParseVers(bad); err == nil {
			t.Errorf("ParseVers(%q) = %s", bad, r.Vers())
		}
	}
}

func TestRangeString(t *testing.T) {
	for _, c := range []struct{ vers, want string }{
		{"vers:generic/<2.2.0", "before 2.2.0"},
		{"vers:generic/<=3.3.1", "3.3.1 and earlier"},
		{"vers:generic/>=2", "2 and later"},
		{"vers:generic/>2", "after 2"},
		{"vers:generic/>=1.0|<=1.4|2.1", "1.0 to 1.4, or 2.1"},
		{"vers:generic/>1.0|<=1.4", "after 1.0 to 1.4"},
		{"vers:all/*", "all versions"},
		{"vers:none/*", "no version"},
	} {
		r, err := ParseVers(c.vers)
		if got := r.String(); err != nil || got != c.want {
			t.Errorf("%s is %q, %v; want %q", c.vers, got, err, c.want)
		}
	}
}

func TestSchemeOf(t *testing.T) {
	for name, want := range map[string]Scheme{
		"Debian:12": Debian, "PyPI": PyPI, "crates.io": Semver, "golang": Go, "Go": Go, "Packagist": Composer, "apk": Alpine,
		"Alpine:v3.20": Alpine, "Red Hat:enterprise_linux:9::appstream": RPM, "maven": Maven, "GitHub Actions": Semver, "gem": RubyGems,
	} {
		if got, ok := SchemeOf(name); !ok || got != want {
			t.Errorf("SchemeOf(%q) = %v, %v; want %v", name, got, ok, want)
		}
	}
	if s, ok := SchemeOf("kb"); ok || s != Generic {
		t.Errorf("SchemeOf(kb) = %v, %v", s, ok)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		scheme    Scheme
		good, bad []string
	}{
		{Semver, []string{"1.2.3", "v1", "1.2.3-rc.1+b", "1.2.3.4"}, []string{"", "latest", "1..2", "1.2 beta", "-1"}},
		{Go, []string{"v1.2.3", "go1.21.3", "v0.0.0-20180116102854-5a71ef0e047d", "v2.0.0+incompatible"}, []string{"(devel)", "master"}},
		{PyPI, []string{"1.0", "1!2.0rc1.post2.dev3+local.1", "2014.04"}, []string{"0.1-bulbasaur", "", "latest"}},
		{Debian, []string{"1:2.30-1+deb12u1", "0~rc1"}, []string{"", "a", "1 2", "sid"}},
		{Alpine, []string{"1.2.3-r0", "1.2_rc1", "2.3.0b-r1"}, []string{"1-ruff2", "x", "1.2_foo"}},
		{Hackage, []string{"1.2.3"}, []string{"1.2a"}},
		{Date, []string{"2026", "2026-03", "2026-03-03"}, []string{"3/3/2026", "20260303", "March"}},
		{Generic, []string{"R8.0.3", "2.1.4 SP1"}, []string{"", "K", "latest"}},
	} {
		for _, v := range c.good {
			if err := c.scheme.Check(v); err != nil {
				t.Errorf("%v: %q: %v", c.scheme, v, err)
			}
		}
		for _, v := range c.bad {
			if err := c.scheme.Check(v); err == nil {
				t.Errorf("%v: %q is no version", c.scheme, v)
			}
		}
	}
}

func TestComparable(t *testing.T) {
	for _, c := range []struct {
		vers, v string
		want    bool
	}{
		{"vers:generic/<2.2.0", "2.1.4", true},
		{"vers:generic/<2.2.0", "V2.1.4", true},
		{"vers:generic/<2.2.0", "L81", false},
		{"vers:generic/<2.2.0", "", false},
		{"vers:generic/<=L81", "2.1", false},
		{"vers:generic/<=R8.0.3", "R4.1L1", true},
		{"vers:generic/>=BT02|<=BT06", "SV20", false},
		{"vers:generic/<=B.12", "A.03", true},
		{"vers:generic/<=K", "J", true},
		{"vers:generic/<1.6 Update 6", "1.6 Update 5", true},
		{"vers:generic/<1.6 HF6", "1.6 Update 5", false},
		{"vers:generic/<1.6 HF6", "1.5 Update 5", true},
		{"vers:generic/<=2.3.6", "2.x", false},
		{"vers:generic/<=2.3.6", "2.3.x", false},
		{"vers:generic/<=2.3.6", "2.*", false},
		{"vers:generic/<=2.3.6", "3.x", true},
		{"vers:generic/<=2.3.6", "1.X", true},
		{"vers:generic/>=2.1|<2.4", "2.x", false},
		{"vers:generic/>=2|<3", "v2.x", true},
		{"vers:generic/<=L81", "2.x", false},
		{"vers:generic/<=2.3.6", ">= 2.0", false},
		{"vers:generic/<=2.3.6", "2.0+", false},
		{"vers:generic/<=2.3.6", "2.0 or later", false},
		{"vers:generic/<=2.3.6", "2.3.7 and below", false},
		{"vers:generic/<=2.3.6", "2.3.4 / 2.3.7", false},
		{"vers:generic/<=2.3.6", "2.3.4-2.3.9", false},
		{"vers:generic/<=2.3.6", "2.3.6 (build 77)", false},
		{"vers:generic/<=2.3.6 Build 12", "2.3.6", false},
		{"vers:generic/<=2.3.6", "2.3.7 Build 77", true},
		{"vers:generic/<=2.3.6", "2.3.6-1ubuntu1", true},
		{"vers:generic/<=2.3.6", "2.3.6+dfsg", true},
		{"vers:generic/<=2.3.6", "2.3.6 SP1", true},
		{"vers:semver/<2.2.0", "2.x", false},
		{"vers:npm/<2.2.0", "latest", false},
		{"vers:npm/<2.2.0", "2.1.0", true},
	} {
		r, err := ParseVers(c.vers)
		if got := r.Comparable(c.v); err != nil || got != c.want {
			t.Errorf("%s comparable with %q: %v, %v", c.vers, c.v, got, err)
		}
	}
}

var pairs = map[Scheme][2]string{
	Generic: {"2.1.4", "2.2.0-rc1"}, Semver: {"1.2.3-beta.2", "1.2.3-beta.11"}, Go: {"v0.0.0-20180116102854-5a71ef0e047d", "v0.0.1"},
	NPM: {"4.17.20", "4.17.21"}, PyPI: {"2.0.0rc1", "2.0.0.post1"}, Maven: {"2.0.1-xyz", "2.0.1-123"}, NuGet: {"1.0.0.1-alpha", "1.0.0.1-pre"},
	RubyGems: {"1.0.0.rc1", "1.0.0"}, Debian: {"1:2.30-1~deb12u1", "1:2.30-1"}, RPM: {"0:3.10.0-229.1.2.ael7b", "0:3.10.0-229.4.2.ael7b"},
	Alpine: {"1.2.4_rc1-r1", "1.2.4-r0"}, OpenSSL: {"1.0.2k", "1.0.2zb"}, Composer: {"v1.2.0-beta1", "1.2.0"}, Gentoo: {"1.0_p1", "1.0_p2"},
	Arch: {"1:1.0-1", "1:1.0.1-1"}, Conan: {"1.1.1za", "1.1.1zb"}, CRAN: {"1.0-2", "1.0.3"}, Hackage: {"1.2.3", "1.2.3.1"}, Pub: {"1.0.0+1", "1.0.0+2"},
	JVM: {"1.8.0_131-b11", "8.0.141"}, Bitnami: {"1.2.3-1", "1.2.4-0"}, Date: {"2026-03", "2026-04-01"},
}

func TestCompareAllocatesNothing(t *testing.T) {
	for _, s := range schemes() {
		p := pairs[s]
		if s.Compare(p[0], p[1]) != -1 {
			t.Errorf("%v: %q is not before %q", s, p[0], p[1])
		}
		r := NewRange(s, Interval{Low: p[0], High: p[1]})
		if n := testing.AllocsPerRun(100, func() { s.Compare(p[0], p[1]); r.Contains(p[0]) }); n != 0 {
			t.Errorf("%v: %v allocations", s, n)
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	for _, s := range schemes() {
		p := pairs[s]
		b.Run(s.String(), func(b *testing.B) {
			for b.Loop() {
				s.Compare(p[0], p[1])
			}
		})
	}
}

func FuzzCompare(f *testing.F) {
	for _, p := range pairs {
		f.Add(p[0], p[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range schemes() {
			if c := s.Compare(a, b); c != -s.Compare(b, a) || s.Compare(a, a+"") != 0 {
				t.Errorf("%v: %q and %q: %d", s, a, b, c)
			}
			_ = s.Check(a)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("vers:npm/>=1.0.0|<2.0.0|!=1.5", uint8(NPM))
	f.Add("^1.2 || 2.x - 3", uint8(NPM))
	f.Add("[1,2),(,0.5],[3]", uint8(Maven))
	f.Add(">=1.0<2.0", uint8(Generic))
	f.Fuzz(func(t *testing.T, text string, scheme uint8) {
		s := Scheme(int(scheme) % len(schemeNames))
		r, err := ParseNative(s, text)
		if err != nil {
			if r, err = ParseVers(text); err != nil {
				return
			}
		}
		back, err := ParseVers(r.Vers())
		if err != nil || !back.Equal(r) {
			t.Errorf("%q is %s, which reads back as %s, %v", text, r.Vers(), back.Vers(), err)
		}
		_ = r.String()
		r.Contains(text)
		r.Comparable(text)
	})
}
