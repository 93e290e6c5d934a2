// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import "strings"

// Every rule below reads any string at all as a sequence of keys, and compares
// the sequences from the left; what a scheme does not allow is read as far as
// it goes and then compared as Generic does. So Compare is a total order for
// any input, and two strings that name one version compare equal. Nothing here
// allocates.

// Compare returns -1, 0 or +1 as a is before, the same as or after b. It is a
// total order of all strings, never panics and allocates nothing; [Scheme.Check]
// says whether a string is a version of the scheme at all.
func (s Scheme) Compare(a, b string) int {
	if a == b {
		return 0
	}
	switch s {
	case Semver, Go, NPM, Pub, NuGet, Bitnami, JVM:
		return compareSemver(s, a, b)
	case PyPI:
		return comparePyPI(a, b)
	case Maven:
		return compareMaven(a, b)
	case RubyGems:
		return compareGem(a, b)
	case Debian:
		return compareDebian(a, b)
	case RPM:
		return compareRPM(a, b)
	case Arch:
		return compareArch(a, b)
	case Alpine, Gentoo:
		return comparePortage(s, a, b)
	case Composer:
		return compareComposer(a, b)
	case Conan:
		return compareConan(a, b)
	case CRAN, Hackage:
		return compareGeneric(a, b, longer)
	}
	return compareGeneric(a, b, padded) // Generic, OpenSSL, Date
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isLetter says whether c is a letter; the bytes of other alphabets are.
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80 }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// run returns the end of the bytes from i on that are of a kind.
func run(s string, i int, is func(byte) bool) int {
	for i < len(s) && is(s[i]) {
		i++
	}
	return i
}

func sign(less, more bool) int {
	if less {
		return -1
	}
	if more {
		return 1
	}
	return 0
}

func compareInt(a, b int) int { return sign(a < b, a > b) }

// compareNumber compares two runs of digits of any length as numbers.
func compareNumber(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return compareInt(len(a), len(b))
	}
	return strings.Compare(a, b)
}

// compareFold compares as [strings.Compare] without regard to ASCII case.
func compareFold(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return sign(x < y, true)
		}
	}
	return compareInt(len(a), len(b))
}

func zeros(s string) bool { return strings.Trim(s, "0") == "" }

func trimV(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 1 && s[0]|0x20 == 'v' && isDigit(s[1]) {
		return s[1:]
	}
	return s
}

// A class orders the tokens of a version that stand at the same place.
type class int8

const (
	preClass  class = iota // a word that is before the release: alpha, rc
	noClass                // nothing, or a zero where zeros count as nothing
	wordClass              // any other word
	numClass               // a number
)

// pres are the words that come before a release, with their order.
var pres = [...]struct {
	word string
	rank int
}{
	{"dev", 0},
	{"nightly", 0},
	{"snapshot", 0},
	{"alpha", 1},
	{"beta", 2},
	{"pre", 3},
	{"preview", 3},
	{"prerelease", 3},
	{"rc", 4},
}

// preRank returns the order of a word that comes before the release, or -1.
func preRank(word string) int {
	for i := range pres {
		if len(word) == len(pres[i].word) && compareFold(word, pres[i].word) == 0 {
			return pres[i].rank
		}
	}
	return -1
}

// padding says what a missing token is like.
type padding uint8

const (
	padded padding = iota // a zero: 1.0 is 1, and rc comes before it
	plain                 // a zero, and all words come after it
	longer                // less than anything: 1.0 is after 1
)

// A scanner cuts a version into numbers and words; all else separates.
type scanner struct {
	s     string
	i     int
	class class
	text  string
	rank  int // of preClass
}

// next moves to the next token; at the end it is an empty token of noClass.
func (c *scanner) next(p padding) {
	from := c.i
	for c.i < len(c.s) && !isDigit(c.s[c.i]) && !isLetter(c.s[c.i]) {
		c.i++
	}
	start := c.i
	switch {
	case start == len(c.s):
		c.class, c.text = noClass, ""
	case isDigit(c.s[start]):
		c.i = run(c.s, start, isDigit)
		c.class, c.text = numClass, c.s[start:c.i]
		if p != longer && zeros(c.text) {
			c.class, c.text = noClass, ""
		}
	default:
		c.i = run(c.s, start, isLetter)
		c.class, c.text = wordClass, c.s[start:c.i]
		if from == 0 {
			return // what starts with a word is named so, and not before anything
		}
		c.rank = preRank(c.text)
		// "1.1.1-a" is an alpha, "1.1.1a" and "2.4-A" are what came after.
		if c.text == "a" && start > from && c.s[start-1] == '-' {
			c.rank = 1
		}
		if c.rank >= 0 && p == padded {
			c.class = preClass
		}
	}
}

func (c *scanner) compare(d *scanner) int {
	if c.class != d.class {
		return sign(c.class < d.class, true)
	}
	switch c.class {
	case preClass:
		return compareInt(c.rank, d.rank)
	case numClass:
		return compareNumber(c.text, d.text)
	}
	return compareFold(c.text, d.text)
}

// compareGeneric compares numbers as numbers and words as words: a word that
// announces a release < nothing, and zero < another word < a number.
func compareGeneric(a, b string, p padding) int {
	x, y := scanner{s: trimV(a)}, scanner{s: trimV(b)}
	for {
		x.next(p)
		y.next(p)
		if c := x.compare(&y); c != 0 {
			return c
		}
		if x.i == len(x.s) && y.i == len(y.s) {
			return 0
		}
	}
}

// A semver holds the parts of a semantic version: numbers, what comes before
// the release, and the build.
type semver struct{ release, pre, build string }

// cutSemver reads SemVer 2.0.0 and its relatives. The release may have any
// number of numbers; "1.21rc2" and "1.0.0.beta" are read as 1.21-rc2 and
// 1.0.0-beta.
func cutSemver(s Scheme, v string) semver {
	v = trimV(v)
	switch s {
	case Go:
		v = trimV(strings.TrimPrefix(v, "go"))
	case JVM:
		return cutJVM(v)
	}
	i := 0
	for i < len(v) && (isDigit(v[i]) || v[i] == '.') {
		i++
	}
	p := semver{release: v[:i]}
	rest := v[i:]
	if j := strings.IndexByte(rest, '+'); j >= 0 {
		rest, p.build = rest[:j], rest[j+1:]
	}
	p.pre = strings.TrimPrefix(rest, "-")
	if s == Bitnami && run(p.pre, 0, isDigit) == len(p.pre) {
		p.pre = "" // the revision of the packaging
	}
	return p
}

// cutJVM reads Java's two forms, "1.8.0_131-b11" and JEP 223's "8.0.131+b2",
// as one.
func cutJVM(v string) semver {
	if len(v) > 2 && v[0] == '1' && v[1] == '.' && isDigit(v[2]) {
		v = v[2:]
	}
	i := 0
	for i < len(v) && (isDigit(v[i]) || v[i] == '.' || v[i] == '_' || v[i] == 'u') {
		i++
	}
	p := semver{release: v[:i]}
	pre, _, _ := strings.Cut(v[i:], "+")
	pre = strings.TrimPrefix(pre, "-")
	if len(pre) > 1 && pre[0] == 'b' && run(pre, 1, isDigit) == len(pre) {
		pre = "" // a build
	}
	p.pre = pre
	return p
}

func compareSemver(s Scheme, a, b string) int {
	x, y := cutSemver(s, a), cutSemver(s, b)
	if c := compareRelease(x.release, y.release); c != 0 {
		return c
	}
	if c := compareIdentifiers(x.pre, y.pre, s == NuGet); c != 0 {
		if x.pre == "" || y.pre == "" {
			return -c // SemVer 2.0.0 §11.3: a pre-release is before the release
		}
		return c
	}
	if s == Pub { // pub_semver, unlike SemVer §10, puts builds in order
		return compareIdentifiers(x.build, y.build, false)
	}
	return 0
}

// compareRelease compares numbers with a separator of one byte; missing ones
// are zero.
func compareRelease(a, b string) int {
	for a != "" || b != "" {
		i, j := run(a, 0, isDigit), run(b, 0, isDigit)
		if c := compareNumber(a[:i], b[:j]); c != 0 {
			return c
		}
		a, b = a[min(i+1, len(a)):], b[min(j+1, len(b)):]
	}
	return 0
}

// compareIdentifiers compares as SemVer 2.0.0 §11.4: numbers before words,
// fewer before more. An empty list is before all.
func compareIdentifiers(a, b string, fold bool) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		m, n := run(x, 0, isDigit) == len(x), run(y, 0, isDigit) == len(y)
		c := 0
		switch {
		case m && n:
			c = compareNumber(x, y)
		case m || n:
			c = sign(m, n)
		case fold:
			c = compareFold(x, y)
		default:
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return compareInt(len(a), len(b))
}

// A pep440 holds the parts of a Python version, PEP 440 "Public version
// identifiers", with what follows them when it is none.
type pep440 struct {
	epoch, release   string
	pre              int // 0 only a development release, 1 a, 2 b, 3 rc, 4 none
	preNum           string
	post, dev        bool
	postNum, devNum  string
	local, remainder string
}

func (p *pep440) valid() bool { return p.release != "" && p.remainder == "" }

// pepWord returns which of the words stands in s at i, or -1, and where it
// ends.
func pepWord(s string, i int, words ...string) (int, int) {
	j := run(s, i, isLetter)
	for n, w := range words {
		if j-i == len(w) && compareFold(s[i:j], w) == 0 {
			return n, j
		}
	}
	return -1, i
}

func isPepSeparator(s string, i int) bool {
	return i < len(s) && (s[i] == '.' || s[i] == '-' || s[i] == '_')
}

// pepNumber reads an optional separator and a number.
func pepNumber(s string, i int) (string, int) {
	j := i
	if isPepSeparator(s, j) {
		j++
	}
	if k := run(s, j, isDigit); k > j {
		return s[j:k], k
	}
	return "", i
}

func cutPyPI(s string) pep440 {
	s = trimV(s)
	p := pep440{pre: 4}
	if i := run(s, 0, isDigit); i > 0 && i < len(s) && s[i] == '!' {
		p.epoch, s = s[:i], s[i+1:]
	}
	i := run(s, 0, isDigit)
	for i > 0 && i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		i = run(s, i+1, isDigit)
	}
	p.release = s[:i]
	at := func() int {
		if isPepSeparator(s, i) {
			return i + 1
		}
		return i
	}
	if n, j := pepWord(s, at(), "a", "alpha", "b", "beta", "c", "rc", "pre", "preview"); n >= 0 {
		p.pre = min(n/2+1, 3)
		p.preNum, i = pepNumber(s, j)
	}
	if n, j := pepWord(s, at(), "post", "rev", "r"); n >= 0 {
		p.post = true
		p.postNum, i = pepNumber(s, j)
	} else if i+1 < len(s) && s[i] == '-' && isDigit(s[i+1]) {
		j := run(s, i+1, isDigit)
		p.post, p.postNum, i = true, s[i+1:j], j
	}
	if n, j := pepWord(s, at(), "dev"); n >= 0 {
		p.dev = true
		p.devNum, i = pepNumber(s, j)
		if p.pre == 4 && !p.post {
			p.pre = 0
		}
	}
	if i < len(s) && s[i] == '+' {
		p.local = s[i+1:]
	} else {
		p.remainder = s[i:]
	}
	return p
}

func comparePyPI(a, b string) int {
	x, y := cutPyPI(a), cutPyPI(b)
	// What is no version is before all that are, as setuptools had it.
	if m, n := x.valid(), y.valid(); !m || !n {
		if m != n {
			return sign(n, true)
		}
		return compareGeneric(a, b, longer)
	}
	if c := compareNumber(x.epoch, y.epoch); c != 0 {
		return c
	}
	if c := compareRelease(x.release, y.release); c != 0 {
		return c
	}
	if c := compareInt(x.pre, y.pre); c != 0 {
		return c
	}
	if c := compareNumber(x.preNum, y.preNum); c != 0 {
		return c
	}
	if x.post != y.post {
		return sign(y.post, true)
	}
	if c := compareNumber(x.postNum, y.postNum); c != 0 {
		return c
	}
	if x.dev != y.dev {
		return sign(x.dev, true)
	}
	if c := compareNumber(x.devNum, y.devNum); c != 0 {
		return c
	}
	// PEP 440 "Local version identifiers": numbers after words, more after fewer.
	return compareGeneric(x.local, y.local, longer)
}

// A mavenScanner cuts a version as Maven's "Version Order Specification" says:
// a change between digits and letters is a hyphen, and so is a dot before a
// word, as in Maven since 3.9; zeros and "ga", "final", "release" before a
// hyphen or the end are nothing.
type mavenScanner struct {
	s       string
	i       int
	started bool
	hyphen  bool
	number  bool
	text    string

	ahead    int  // up to here it is known whether empty tokens stay
	trimming bool // and this is the answer
}

// raw moves to the next token, empty ones included.
func (m *mavenScanner) raw() bool {
	s := m.s
	m.hyphen = false
	if m.started {
		if m.i >= len(s) {
			return false
		}
		switch s[m.i] {
		case '.':
			m.i++
		case '-':
			m.i++
			m.hyphen = true
		default:
			m.hyphen = true
		}
	}
	m.started = true
	if m.i >= len(s) {
		return false
	}
	start := m.i
	switch c := s[start]; {
	case c == '.' || c == '-':
		m.number, m.text = true, "0"
	case isDigit(c):
		m.i = run(s, start, isDigit)
		m.number, m.text = true, s[start:m.i]
	default:
		for m.i < len(s) && !isDigit(s[m.i]) && s[m.i] != '.' && s[m.i] != '-' {
			m.i++
		}
		m.number, m.hyphen, m.text = false, true, s[start:m.i]
		if len(m.text) == 1 && m.i < len(s) && isDigit(s[m.i]) {
			switch lower(m.text[0]) {
			case 'a':
				m.text = "alpha"
			case 'b':
				m.text = "beta"
			case 'm':
				m.text = "milestone"
			}
		}
	}
	return true
}

func (m *mavenScanner) empty() bool {
	if m.number {
		return zeros(m.text)
	}
	return mavenRank(m.text) == 0
}

// next moves to the next token that counts.
func (m *mavenScanner) next() bool {
	for {
		first := !m.started
		if !m.raw() {
			return false
		}
		if first || !m.empty() {
			return true
		}
		if m.i >= m.ahead {
			n := *m
			for {
				m.ahead = n.i + 1
				if !n.raw() || n.hyphen {
					m.trimming = true
					break
				}
				if !n.empty() {
					m.trimming = false
					break
				}
			}
		}
		if !m.trimming {
			m.number, m.text = true, "0"
			return true
		}
	}
}

// mavenRanks orders the words that Maven knows; others are 2, a number 3 or 4.
var mavenRanks = [...]struct {
	word string
	rank int
}{
	{"alpha", -5},
	{"beta", -4},
	{"milestone", -3},
	{"rc", -2},
	{"cr", -2},
	{"snapshot", -1},
	{"ga", 0},
	{"final", 0},
	{"release", 0},
	{"sp", 1},
}

func mavenRank(word string) int {
	for i := range mavenRanks {
		if len(word) == len(mavenRanks[i].word) && compareFold(word, mavenRanks[i].word) == 0 {
			return mavenRanks[i].rank
		}
	}
	return 2
}

func (m *mavenScanner) rank() int {
	switch {
	case !m.number:
		return mavenRank(m.text)
	case m.hyphen:
		return 3
	}
	return 4
}

func compareMaven(a, b string) int {
	x, y := mavenScanner{s: a}, mavenScanner{s: b}
	for {
		m, n := x.next(), y.next()
		if !m && !n {
			return 0
		}
		r, q := 0, 0
		if m {
			r = x.rank()
		}
		if n {
			q = y.rank()
		}
		if r != q {
			return sign(r < q, true)
		}
		c := 0
		switch {
		case !m || !n:
		case r >= 3:
			c = compareNumber(x.text, y.text)
		case r == 2:
			c = compareFold(x.text, y.text)
		}
		if c != 0 {
			return c
		}
	}
}

// gemPlatforms are the first words of a gem's platform, which is not part of
// its version: "1.19.3-aarch64-linux-musl".
var gemPlatforms = [...]string{"x86", "x64", "aarch64", "arm", "arm64", "universal", "java", "jruby", "mswin", "mingw", "powerpc", "ppc64le", "s390x"}

func cutPlatform(v string) string {
	for i := 0; i < len(v); i++ {
		if v[i] != '-' {
			continue
		}
		for _, p := range gemPlatforms {
			rest := v[i+1:]
			if strings.HasPrefix(rest, p) && (len(rest) == len(p) || rest[len(p)] == '-' || rest[len(p)] == '_') {
				return v[:i]
			}
		}
	}
	return v
}

// A gemScanner cuts a version as Gem::Version does; a hyphen is the word "pre".
type gemScanner struct {
	s     string
	i     int
	class class // preClass for every word, noClass for zero and the end
	text  string
	words bool // there was one
	zeros int  // up to here zeros are followed by a number, or by nothing
}

func (g *gemScanner) raw() {
	for g.i < len(g.s) && !isDigit(g.s[g.i]) && !isLetter(g.s[g.i]) {
		if g.s[g.i] == '-' && g.i > 0 {
			g.i++
			g.class, g.text = preClass, "pre"
			return
		}
		g.i++
	}
	start := g.i
	switch {
	case start == len(g.s):
		g.class, g.text = noClass, ""
	case isDigit(g.s[start]):
		g.i = run(g.s, start, isDigit)
		g.class, g.text = numClass, g.s[start:g.i]
		if zeros(g.text) {
			g.class, g.text = noClass, ""
		}
	default:
		g.i = run(g.s, start, isLetter)
		g.class, g.text = preClass, g.s[start:g.i]
	}
}

// next skips zeros before the first word, so that 1.0.0.rc is 1.rc.
func (g *gemScanner) next() {
	g.raw()
	if g.class == noClass && !g.words && g.i < len(g.s) && g.i >= g.zeros {
		ahead := *g
		for ahead.class == noClass && ahead.i < len(ahead.s) {
			ahead.raw()
		}
		if ahead.class == preClass {
			*g = ahead
		}
		g.zeros = ahead.i
	}
	g.words = g.words || g.class == preClass
}

func compareGem(a, b string) int {
	x, y := gemScanner{s: cutPlatform(trimV(a))}, gemScanner{s: cutPlatform(trimV(b))}
	for {
		x.next()
		y.next()
		c := 0
		switch {
		case x.class != y.class:
			c = sign(x.class < y.class, true)
		case x.class == numClass:
			c = compareNumber(x.text, y.text)
		case x.class == preClass:
			c = strings.Compare(x.text, y.text)
		}
		if c != 0 {
			return c
		}
		if x.i == len(x.s) && y.i == len(y.s) {
			return 0
		}
	}
}

// cutEpoch cuts the number before a colon from a version.
func cutEpoch(v string) (epoch, rest string) {
	if i := run(v, 0, isDigit); i > 0 && i < len(v) && v[i] == ':' {
		return v[:i], v[i+1:]
	}
	return "", v
}

// compareDebian follows Debian policy §5.6.12: epoch, upstream version and
// revision.
func compareDebian(a, b string) int {
	e, x := cutEpoch(strings.TrimSpace(a))
	f, y := cutEpoch(strings.TrimSpace(b))
	if c := compareNumber(e, f); c != 0 {
		return c
	}
	var r, q string
	if i := strings.LastIndexByte(x, '-'); i >= 0 {
		x, r = x[:i], x[i+1:]
	}
	if i := strings.LastIndexByte(y, '-'); i >= 0 {
		y, q = y[:i], y[i+1:]
	}
	if c := compareDpkg(x, y); c != 0 {
		return c
	}
	return compareDpkg(r, q)
}

func dpkgOrder(s string, i int) int {
	switch {
	case i >= len(s) || isDigit(s[i]):
		return 0
	case s[i] == '~':
		return -1
	case isLetter(s[i]):
		return int(s[i])
	}
	return int(s[i]) + 256
}

func compareDpkg(a, b string) int {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		for i < len(a) && !isDigit(a[i]) || j < len(b) && !isDigit(b[j]) {
			if x, y := dpkgOrder(a, i), dpkgOrder(b, j); x != y {
				return compareInt(x, y)
			}
			i, j = i+1, j+1
		}
		i, j = min(i, len(a)), min(j, len(b))
		k, l := run(a, i, isDigit), run(b, j, isDigit)
		if c := compareNumber(a[i:k], b[j:l]); c != 0 {
			return c
		}
		i, j = k, l
	}
	return 0
}

// compareRPM compares epoch, version and release. A missing epoch is 0, a
// missing release before any.
func compareRPM(a, b string) int {
	cut := func(v string) (e, x, r string, has bool) {
		e, x, has = strings.Cut(v, ":")
		if !has {
			e, x = "0", v
		}
		x, r, has = strings.Cut(x, "-")
		return e, x, r, has
	}
	e, x, r, m := cut(strings.TrimSpace(a))
	f, y, q, n := cut(strings.TrimSpace(b))
	if c := compareRPMPart(e, f); c != 0 {
		return c
	}
	if c := compareRPMPart(x, y); c != 0 {
		return c
	}
	if m != n {
		return sign(n, true)
	}
	return compareRPMPart(r, q)
}

// rpmToken cuts what rpmvercmp compares next: "~" is before the end, and "^",
// a word and a number come after it, in that order.
func rpmToken(s string) (rank int, text, rest string) {
	i := 0
	for i < len(s) && !isDigit(s[i]) && (s[i] >= 0x80 || !isLetter(s[i])) && s[i] != '~' && s[i] != '^' {
		i++
	}
	s = s[i:]
	switch {
	case s == "":
		return 1, "", ""
	case s[0] == '~':
		return 0, "", s[1:]
	case s[0] == '^':
		return 2, "", s[1:]
	case isDigit(s[0]):
		i = run(s, 0, isDigit)
		return 4, s[:i], s[i:]
	}
	i = 0
	for i < len(s) && s[i] < 0x80 && isLetter(s[i]) {
		i++
	}
	return 3, s[:i], s[i:]
}

func compareRPMPart(a, b string) int {
	for a != "" || b != "" {
		var r, q int
		var x, y string
		r, x, a = rpmToken(a)
		q, y, b = rpmToken(b)
		c := compareInt(r, q)
		switch {
		case c != 0:
		case r == 4:
			c = compareNumber(x, y)
		default:
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// compareArch compares as pacman's vercmp, where a missing release of the
// packaging is 1, the first there is: vercmp ignores it then, which would make
// 1.5-1, 1.5 and 1.5-2 equal in a chain but not at its ends.
func compareArch(a, b string) int {
	e, x := cutEpoch(strings.TrimSpace(a))
	f, y := cutEpoch(strings.TrimSpace(b))
	if c := compareNumber(e, f); c != 0 {
		return c
	}
	r, q := "1", "1"
	if i := strings.LastIndexByte(x, '-'); i >= 0 {
		x, r = x[:i], x[i+1:]
	}
	if i := strings.LastIndexByte(y, '-'); i >= 0 {
		y, q = y[:i], y[i+1:]
	}
	if c := compareArchPart(x, y); c != 0 {
		return c
	}
	return compareArchPart(r, q)
}

// archToken cuts the next word or number. Its rank grows with the separators
// before it; a word that follows a number at once comes before the end.
func archToken(s string, first bool) (rank int, text, rest string) {
	i := 0
	for i < len(s) && !isDigit(s[i]) && !isLetter(s[i]) {
		i++
	}
	if i == len(s) {
		return 0, "", ""
	}
	before := strings.IndexByte(s[:i], '~') >= 0
	j := i
	if isDigit(s[i]) {
		j = run(s, i, isDigit)
		rank = 2*i + 2
	} else {
		j = run(s, i, isLetter)
		rank = 2*i + 1
		if i == 0 && !first {
			rank = -1
		}
	}
	if before {
		rank = -3
	}
	return rank, s[i:j], s[j:]
}

func compareArchPart(a, b string) int {
	for first := true; a != "" || b != ""; first = false {
		var r, q int
		var x, y string
		r, x, a = archToken(a, first)
		q, y, b = archToken(b, first)
		c := compareInt(r, q)
		switch {
		case c != 0 || x == "":
		case isDigit(x[0]) && isDigit(y[0]):
			c = compareNumber(x, y)
		default:
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// A portage holds the parts of a version of Gentoo (PMS §3.2) or Alpine, which
// took Gentoo's form and added suffixes.
type portage struct {
	numbers   string // "1.02.3"
	letter    byte
	suffixes  string // "_rc1_p2"
	remainder string // what is neither
	revision  string
}

// suffixRank orders a suffix against the end, which is 0; 99 is not one.
func suffixRank(s Scheme, word string) int {
	switch word {
	case "alpha":
		return -4
	case "beta":
		return -3
	case "pre":
		return -2
	case "rc":
		return -1
	case "p":
		return 5
	}
	if s == Alpine {
		switch word {
		case "cvs":
			return 1
		case "svn":
			return 2
		case "git":
			return 3
		case "hg":
			return 4
		}
	}
	return 99
}

func nextSuffix(s Scheme, v string) (rank int, number, rest string) {
	if v == "" || v[0] != '_' {
		return 0, "", v
	}
	i := run(v, 1, isLetter)
	rank = suffixRank(s, v[1:i])
	if rank == 99 {
		return 0, "", v
	}
	j := run(v, i, isDigit)
	return rank, v[i:j], v[j:]
}

func cutPortage(s Scheme, v string) portage {
	v = strings.TrimSpace(v)
	var p portage
	i := run(v, 0, isDigit)
	for i+1 < len(v) && v[i] == '.' && isDigit(v[i+1]) {
		i = run(v, i+1, isDigit)
	}
	p.numbers, v = v[:i], v[i:]
	if v != "" && isLetter(v[0]) && (len(v) == 1 || !isLetter(v[1])) {
		p.letter, v = lower(v[0]), v[1:]
	}
	rest := v
	for {
		rank, _, r := nextSuffix(s, rest)
		if rank == 0 {
			break
		}
		rest = r
	}
	p.suffixes, v = v[:len(v)-len(rest)], rest
	if i := strings.Index(v, "-r"); i >= 0 && (i+2 == len(v) || !isLetter(v[i+2])) {
		p.remainder = v[:i]
		p.revision = v[i+2 : run(v, i+2, isDigit)]
	} else if i >= 0 {
		p.remainder = v[:i] // a revision that is none is not compared
	} else {
		p.remainder = v
	}
	return p
}

func comparePortage(s Scheme, a, b string) int {
	x, y := cutPortage(s, a), cutPortage(s, b)
	m, n := x.numbers, y.numbers
	for first := true; ; first = false {
		if m == "" || n == "" {
			if c := compareInt(len(m), len(n)); c != 0 {
				return sign(c < 0, c > 0)
			}
			break
		}
		var d, e string
		d, m, _ = strings.Cut(m, ".")
		e, n, _ = strings.Cut(n, ".")
		c := 0
		if !first && (d[0] == '0' || e[0] == '0') {
			// PMS §3.3, algorithm 3.3: with a leading zero it is a fraction.
			c = strings.Compare(strings.TrimRight(d, "0"), strings.TrimRight(e, "0"))
		} else {
			c = compareNumber(d, e)
		}
		if c != 0 {
			return c
		}
	}
	if c := compareInt(int(x.letter), int(y.letter)); c != 0 {
		return c
	}
	m, n = x.suffixes, y.suffixes
	for m != "" || n != "" {
		var r, q int
		var d, e string
		r, d, m = nextSuffix(s, m)
		q, e, n = nextSuffix(s, n)
		if c := compareInt(r, q); c != 0 {
			return c
		}
		if c := compareNumber(d, e); c != 0 {
			return c
		}
	}
	if c := compareGeneric(x.remainder, y.remainder, longer); c != 0 {
		return c
	}
	return compareNumber(x.revision, y.revision)
}

// composerRanks orders the words of Composer against the end, which is 0.
func composerRank(word string) int {
	switch lower(word[0]) {
	case 'd':
		if compareFold(word, "dev") == 0 {
			return -4
		}
	case 'a':
		if len(word) == 1 || compareFold(word, "alpha") == 0 {
			return -3
		}
	case 'b':
		if len(word) == 1 || compareFold(word, "beta") == 0 {
			return -2
		}
	case 'r':
		if compareFold(word, "rc") == 0 {
			return -1
		}
	case 'p':
		if len(word) == 1 || compareFold(word, "pl") == 0 || compareFold(word, "patch") == 0 {
			return 2
		}
	}
	return -5
}

// compareComposer compares as Composer does: numbers first, padded with zeros
// as its VersionParser does, then words as PHP's version_compare.
func compareComposer(a, b string) int {
	cut := func(v string) (numbers, rest string) {
		v = trimV(v)
		i := run(v, 0, isDigit)
		for i > 0 && i+1 < len(v) && (v[i] == '.' || v[i] == '-' || v[i] == '_' || v[i] == '+') && isDigit(v[i+1]) {
			i = run(v, i+1, isDigit)
		}
		return v[:i], v[i:]
	}
	m, x := cut(a)
	n, y := cut(b)
	if c := compareRelease(m, n); c != 0 {
		return c
	}
	for x != "" || y != "" {
		var r, q int
		var d, e string
		r, d, x = composerToken(x)
		q, e, y = composerToken(y)
		c := compareInt(r, q)
		if c == 0 && r == 1 {
			c = compareNumber(d, e)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func composerToken(s string) (rank int, text, rest string) {
	i := 0
	for i < len(s) && !isDigit(s[i]) && !isLetter(s[i]) {
		if s[i] == '#' {
			return 0, "", s[i+1:]
		}
		i++
	}
	if i == len(s) {
		return 0, "", ""
	}
	if isDigit(s[i]) {
		j := run(s, i, isDigit)
		if zeros(s[i:j]) {
			return 0, "", s[j:]
		}
		return 1, s[i:j], s[j:]
	}
	j := run(s, i, isLetter)
	return composerRank(s[i:j]), "", s[j:]
}

// compareConan compares as Conan 2: dotted items, then what comes before the
// release, then the build. "4-" is before all that comes before 4.
func compareConan(a, b string) int {
	cut := func(v string) (main, pre, build string, has bool) {
		main, build, _ = strings.Cut(strings.TrimSpace(v), "+")
		main, pre, has = strings.Cut(main, "-")
		return main, pre, build, has
	}
	x, p, d, m := cut(a)
	y, q, e, n := cut(b)
	if c := compareGeneric(x, y, plain); c != 0 {
		return c
	}
	if m != n {
		return sign(m, true)
	}
	if c := compareGeneric(p, q, plain); c != 0 {
		return c
	}
	return compareGeneric(d, e, plain)
}
