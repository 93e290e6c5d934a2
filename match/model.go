// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/internal/lazyregexp"
)

// The bounds of the name of a product.
const (
	maxNameBytes = 400
	maxLexemes   = 80
	maxRange     = 200 // models that "MX400-550" stands for
)

// A model is the name of a product, taken apart: what tells it from others,
// and what every pump is called.
type model struct {
	written   string
	words     []string   // distinctive, sorted: "intellivue"
	generic   []string   // "monitor", sorted
	codes     []string   // with a digit, sorted: "tc50", "24952"
	oneOf     [][]string // of each list one has to be there: FM20/FM30/FM40
	optional  []string   // from brackets: abbreviations and part numbers, sorted
	versions  []string   // "8.0.x" within the name
	windows   string     // the Windows that it names: "xp", "server 2008 r2"
	series    string     // "mp" of "MP Series (including MP2/MP30)": there are others
	condition bool       // it is a product with something: "(enabled with iBed Wireless)"
	squashed  string     // all but generic words, run together
	whole     string     // with generic words
}

// distinct reports whether anything tells it from other products.
func (m *model) distinct() bool { return len(m.words)+len(m.codes)+len(m.oneOf) > 0 }

// keys are what an index finds it by.
func (m *model) keys(yield func(string) bool) {
	for _, list := range append([][]string{m.words, m.codes}, m.oneOf...) {
		for _, k := range list {
			if !yield(k) {
				return
			}
		}
	}
	if !m.distinct() && !yield("?") {
		return
	}
	for _, k := range []string{m.whole, m.squashed} {
		if k != "" && !yield("="+k) {
			return
		}
	}
}

// genericWords say what kind of thing a product is, and never which.
var genericWords = set(`system systems device devices pump pumps infusion syringe syringes insulin patient patients monitor monitors
	monitoring workstation workstations software application applications app unit units module modules medical scanner scanners
	cardiograph cardiographs ultrasound imaging image ventilator ventilators programmer programmers recorder recorders wireless
	product products equipment machine machines fetal maternal icu ccu nicu bedside volumetric volume large lvp pumping icd crtd crt d
	pacemaker defibrillator implantable cardioverter handheld hand held management diabetes controller controllers remote reader
	station holter ecg analysis cardiac testing resting bed beds workplace workplaces solution platform
	instrument analyzer analyser generator telemetry receiver suite edition release rev revision firmware desktop client
	mobile poc network networked connected processor enabled included including installed based integrated`)

// stopWords are nothing at all.
var stopWords = set("the a an of for with and or used by from in on to all only model models number no part series family type version versions w under as be")

// boundWords make a range of the version that they stand beside.
var boundWords = set("below under lower less earlier prior older before through until above higher later newer after than since")

// variantWords make another model of the one that they stand behind.
var variantWords = set("plus pro elite select lite light mini max premium expert professional quantum advance xt hd neo next")

// A lexeme is a word of a name, with what stands before it.
type lexeme struct {
	s       string
	sep     byte // ' ', '/', '-', ',' or '|'
	bracket int  // which bracket it stands in, counted from 1; 0 is none
}

func (l *lexeme) code() bool { return strings.ContainsAny(l.s, "0123456789") }

var (
	versionLike = lazyregexp.New(`^\d+(\.\d+)*\.[x\d]+$`)
	windows     = lazyregexp.New(`(?i)\bwindows (xp|vista|2000|7|8\.1|8|10|11|server \d{4}( r2)?)\b`)
	condition   = lazyregexp.New(`(?i)\((with|enabled|running|used|having|only)\b`)
	anyDigit    = lazyregexp.New(`^([a-z]*\d+)x(\d+)$`) // IGS 5x0
	inclusive   = lazyregexp.New(`(?i)\b([a-z]{1,3})\s+series\s*\(\s*including`)
	shortened   = lazyregexp.New(`\(([A-Z]{3,})\)`)
)

// parseModel takes the name of a product apart. What is a brand of its house is
// left out.
func parseModel(written string, h *house) *model {
	m := &model{written: written}
	if len(written) > maxNameBytes {
		written = written[:maxNameBytes]
	}
	if w := windows().FindStringSubmatchIndex(written); w != nil {
		m.windows = strings.ToLower(written[w[2]:w[3]])
		written = written[:w[0]] + " " + strings.TrimPrefix(written[w[1]:], "-Based")
	}
	m.condition = condition().MatchString(written)
	if s := inclusive().FindStringSubmatch(written); s != nil {
		m.series = strings.ToLower(s[1])
	}
	lex := dropBrands(lexemes(written), h.brands)
	for _, r := range h.renames {
		lex = r.apply(lex)
	}
	lex = joinCodes(lex)

	taken := make([]bool, len(lex))
	lists(m, lex, taken)
	for i, l := range lex {
		switch {
		case taken[i] || stopWords[l.s]:
		case versionLike().MatchString(l.s):
			if !bound(lex, i) {
				m.versions = append(m.versions, l.s)
			}
		case l.bracket > 0:
			m.optional = append(m.optional, l.s)
		case anyDigit().MatchString(l.s):
			m.oneOf = append(m.oneOf, digits(l.s))
		case l.code():
			m.codes = append(m.codes, l.s)
		case genericWords[l.s]:
			m.generic = append(m.generic, l.s)
		default:
			m.words = append(m.words, l.s)
		}
		if !stopWords[l.s] && l.bracket == 0 {
			m.whole += l.s
		}
		if !genericWords[l.s] && !stopWords[l.s] && l.bracket == 0 && !versionLike().MatchString(l.s) {
			m.squashed += l.s
		}
	}
	// "MX (MX400-550)": the series says no more than its members.
	m.words = slices.DeleteFunc(m.words, func(w string) bool {
		return slices.ContainsFunc(m.oneOf, func(list []string) bool {
			return slices.ContainsFunc(list, func(c string) bool { return letters(c) == w })
		})
	})
	for _, list := range []*[]string{&m.words, &m.codes, &m.generic, &m.optional} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return m
}

// lexemes cuts a name into words: letters and digits, dots between digits, and
// a hyphen between a short word and a number ("MMT-1711"). Four letters or more
// are apart from the number behind them.
func lexemes(s string) []lexeme {
	var out []lexeme
	s = unmangled(s)
	s = strings.NewReplacer("Including", "including ", "including", "including ", "(s)", "s", "&", " and ", "+", " plus ").Replace(s)
	var word strings.Builder
	sep, bracket, opened := byte(' '), 0, 0
	flush := func() {
		w := word.String()
		word.Reset()
		if w == "" || len(out) >= maxLexemes {
			return
		}
		switch w {
		case "ii":
			w = "2"
		case "iii":
			w = "3"
		}
		if n := len(letters(w)); n > 3 && n < len(w) {
			out = append(out, lexeme{w[:n], sep, bracket})
			w, sep = w[n:], ' '
		}
		out = append(out, lexeme{strings.Trim(w, "."), sep, bracket})
		sep = ' '
	}
	runes := []rune(s)
	for i, r := range runes {
		f := folded(r)
		digit := func(j int) bool { return j >= 0 && j < len(runes) && '0' <= runes[j] && runes[j] <= '9' }
		switch {
		case r == '\'' || r == '’' || r == '®' || r == '™' || r == '©':
		case f != "":
			word.WriteString(f)
		case r == '.' && digit(i-1) && (digit(i+1) || i+1 < len(runes) && (runes[i+1] == 'x' || runes[i+1] == 'X')):
			word.WriteByte('.')
		default:
			flush()
			switch r {
			case '(', '[':
				opened++
				bracket = opened
			case ')', ']':
				bracket = 0
			case '/', '|', ',', ';':
				sep = byte(r)
			case '-', '–':
				if sep == ' ' && i > 0 && runes[i-1] != ' ' {
					sep = '-'
				}
			}
		}
	}
	flush()
	return out
}

// letters is what a word begins with before its first digit.
func letters(w string) string {
	if i := strings.IndexAny(w, "0123456789"); i >= 0 {
		return w[:i]
	}
	return w
}

// dropBrands leaves out each brand where it stands.
func dropBrands(lex []lexeme, brands [][]string) []lexeme {
	for _, brand := range brands {
		for i := 0; len(brand) > 0 && i+len(brand) <= len(lex); i++ {
			same := true
			for j, w := range brand {
				same = same && lex[i+j].s == w
			}
			// A name that is nothing but the brand keeps it.
			if same && len(brand) < len(lex) {
				lex = slices.Delete(slices.Clone(lex), i, i+len(brand))
				i--
			}
		}
	}
	return lex
}

// apply replaces an alias of a product where it stands.
func (r *rename) apply(lex []lexeme) []lexeme {
	for i := 0; i+len(r.from) <= len(lex); i++ {
		same := true
		for j, w := range r.from {
			same = same && lex[i+j].s == w
		}
		if same {
			to := make([]lexeme, len(r.to))
			for j, w := range r.to {
				to[j] = lexeme{w, ' ', lex[i].bracket}
			}
			return slices.Replace(slices.Clone(lex), i, i+len(r.from), to...)
		}
	}
	return lex
}

// joinCodes writes "NM 750b", "MMT-1711" and "EC 40" as one word each.
func joinCodes(lex []lexeme) []lexeme {
	var out []lexeme
	for _, l := range lex {
		if n := len(out); n > 0 && l.code() && letters(l.s) == "" && (l.sep == ' ' || l.sep == '-') && !versionLike().MatchString(l.s) {
			if p := &out[n-1]; !p.code() && len(p.s) <= 3 && p.bracket == l.bracket && !stopWords[p.s] && !genericWords[p.s] {
				p.s += l.s
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

// lists finds what stands for several models: "FM20/FM30/FM40", "TC10 TC20
// TC30", "MX400-550", "522K/722K", "554CM and 754CM".
func lists(m *model, lex []lexeme, taken []bool) {
	for i := 0; i < len(lex); i++ {
		if !lex[i].code() || versionLike().MatchString(lex[i].s) && (i+1 == len(lex) || lex[i+1].sep != '/') {
			continue
		}
		list := []string{lex[i].s}
		members := []int{i}
		last, prefix := i, letters(lex[i].s)
		for j := i + 1; j < len(lex); j++ {
			if (lex[j].s == "and" || lex[j].s == "or") && lex[j].bracket == lex[i].bracket {
				continue
			}
			if !lex[j].code() || lex[j].bracket != lex[i].bracket {
				break
			}
			if j == i+1 && lex[j].sep == '-' {
				if r := span(lex[i].s, lex[j].s); r != nil {
					list, last = r, j
					members = append(members, j)
					break
				}
			}
			if lex[j].sep != '/' && lex[j].sep != '|' && !alike(lex[last].s, lex[j].s) {
				break
			}
			list = append(list, lex[j].s)
			if letters(lex[j].s) == "" {
				if prefix != "" {
					list = append(list, prefix+lex[j].s) // MX700/800
				}
				if lex[j].sep == ' ' {
					list = append(list, list[0][len(letters(list[0])):]) // Veo 554CM and 754CM
				}
			} else {
				prefix = letters(lex[j].s)
			}
			members = append(members, j)
			last = j
		}
		if len(list) < 2 {
			continue
		}
		if versionLike().MatchString(list[0]) { // eNTEGRA 2.0/2.5
			m.versions = append(m.versions, list...)
		} else {
			m.oneOf = append(m.oneOf, list)
		}
		for _, j := range members {
			taken[j] = true
		}
		i = last
	}
}

// alike reports whether two codes that stand beside each other are members of
// one list: the same letters around different digits.
func alike(a, b string) bool {
	shape := func(s string) string {
		return strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' {
				return -1
			}
			return r
		}, s)
	}
	if letters(b) == "" { // Veo 554CM and 754CM
		a = a[len(letters(a)):]
	}
	return shape(a) == shape(b) && shape(a) != ""
}

// bound reports whether the version at i of a name is the bound of a range:
// "software version 2.1.4 and below".
func bound(lex []lexeme, i int) bool {
	return slices.ContainsFunc(lex[max(i-2, 0):min(i+3, len(lex))], func(l lexeme) bool { return boundWords[l.s] })
}

// digits returns the models that "igs5x0" stands for, and itself.
func digits(code string) []string {
	out := []string{code}
	for d := '0'; d <= '9'; d++ {
		out = append(out, anyDigit().ReplaceAllString(code, "${1}"+string(d)+"${2}"))
	}
	return out
}

// span returns the models from one to another, or nil.
func span(low, high string) []string {
	p := letters(low)
	a, errA := strconv.Atoi(low[len(p):])
	b, errB := strconv.Atoi(strings.TrimPrefix(high, p))
	if p == "" || errA != nil || errB != nil || b <= a || b-a > maxRange || len(strconv.Itoa(a)) != len(strconv.Itoa(b)) {
		return nil
	}
	var out []string
	for i := a; i <= b; i++ {
		out = append(out, p+strconv.Itoa(i))
	}
	return out
}

// compare says whether what a register calls d is what an advisory calls a,
// and why.
func compare(a, d *model) (Certainty, string) {
	if !a.distinct() || !d.distinct() {
		switch {
		case a.squashed+d.squashed == "" && len(a.versions)+len(d.versions) == 0 && len(d.generic) > 0 && slices.Equal(a.generic, d.generic):
			return Exact, ""
		case !d.distinct() && a.distinct() && len(d.generic) > 0 && within(d.generic, a.generic):
			return Review, fmt.Sprintf("the register says only %q, the advisory %q", d.written, a.written)
		}
		return "", ""
	}
	d = d.respelled(a)
	certainty, why := Exact, ""
	say := func(c Certainty, format string, args ...any) {
		if c.rank() < certainty.rank() {
			certainty, why = c, fmt.Sprintf(format, args...)
		}
	}
	codes, listed := slices.Clone(a.codes), 0
	for _, list := range a.oneOf {
		if i := slices.IndexFunc(list, func(c string) bool { return slices.Contains(d.codes, c) || slices.Contains(d.optional, c) }); i >= 0 {
			codes = append(codes, list[i])
			listed++
		} else if i := slices.IndexFunc(d.codes, func(c string) bool { return a.series != "" && letters(c) == a.series }); i >= 0 {
			codes = append(codes, d.codes[i])
			listed++
			say(Review, "the register's %q may be of the series that the advisory means, %q", d.written, a.written)
		}
	}
	slices.Sort(codes)
	if (a.squashed != d.squashed || a.squashed == "") && a.whole != d.whole {
		missing, extra := minus(codes, d.codes, d.optional), minus(d.codes, codes, a.optional)
		if len(missing) > 0 && len(codes) > len(missing) { // "882471 Gemini TF 64": the part number is another name of it
			missing = slices.DeleteFunc(missing, partNumber)
		}
		lacks := len(missing) > 0 || listed < len(a.oneOf)
		missingWords, extraWords := minus(a.words, d.words, d.optional), minus(d.words, a.words, a.optional, a.generic)
		extraWords = slices.DeleteFunc(extraWords, func(w string) bool { // MX of MX450
			return slices.ContainsFunc(missing, func(c string) bool { return letters(c) == w })
		})
		agreed, lettered := 0, false // the longest code that both have
		for _, c := range append(slices.Clone(codes), a.optional...) {
			if strings.ContainsAny(c, "0123456789") && (slices.Contains(d.codes, c) || slices.Contains(d.optional, c)) {
				agreed = max(agreed, len(c))
				lettered = lettered || letters(c) != "" && len(c) >= 5
			}
		}
		unbranded := !slices.ContainsFunc(a.words, func(w string) bool { return len(w) > 2 }) // "RF models EX1150"
		shared := len(a.words) > len(missingWords) || agreed > 0
		variant := slices.ContainsFunc(extraWords, func(w string) bool { return variantWords[w] || len(w) < 3 })
		switch {
		case len(a.words) > len(missingWords) && sameNumber(missing, extra, a.words, d.words):
			say(Review, "the register's %q and the advisory's %q have one number, with other letters", d.written, a.written)
		case lacks && len(extra) > 0:
			return "", "" // another model of the family
		case !shared:
			return "", ""
		case len(missingWords) > 0 && len(extra) > 0 && agreed == 0:
			return "", ""
		case len(missingWords) > 0 && len(extraWords) > 0 && (agreed == 0 || len(missingWords) == len(a.words) && !(lettered && unbranded)):
			return "", ""
		case lacks && len(extraWords) > 0:
			return "", ""
		case len(missingWords) > 0 && len(extraWords) > 0, len(missingWords) > 0 && len(extra) > 0:
			say(Review, "%q and %q have only a part of their names in common", d.written, a.written)
		case lacks:
			say(Review, "the register's %q is less than the advisory's %q says", d.written, a.written)
		case len(missingWords) > 0 && agreed >= 3:
			say(Likely, "the register's %q is short for %q", d.written, a.written)
		case len(missingWords) > 0:
			say(Review, "the register's %q is less than the advisory's %q says", d.written, a.written)
		case len(extra) > 0 && len(minus(slices.DeleteFunc(extra, partNumber))) == 0 && len(extraWords) == 0:
			say(Likely, "the register's %q has a number that the advisory's %q has not", d.written, a.written)
		case len(extra) > 0:
			say(Review, "the register's %q may be another model than the advisory's %q", d.written, a.written)
		case len(extraWords) > 0 && agreed >= 4 && !variant:
			say(Likely, "the register's %q says more than the advisory's %q", d.written, a.written)
		case len(extraWords) > 0:
			say(Review, "the register's %q may be another model than the advisory's %q", d.written, a.written)
		}
	}
	if a.condition {
		say(Review, "the advisory means only %q", a.written)
	}
	return certainty, why
}

// respelled cuts a code like "prm3120" in two where the other name has both
// apart: "(PRM) - Model 3120".
func (m *model) respelled(other *model) *model {
	for i, c := range m.codes {
		p := letters(c)
		if p == "" || p == c || slices.Contains(other.codes, c) || !slices.Contains(other.codes, c[len(p):]) ||
			!slices.Contains(other.words, p) && !slices.Contains(other.optional, p) {
			continue
		}
		n := *m
		n.codes = slices.Clone(m.codes)
		n.codes[i] = c[len(p):]
		n.words = append(slices.Clone(m.words), p)
		m = &n
	}
	return m
}

// sameNumber reports whether each of two names has one code that the other has
// not, and these differ in letters that people leave out, or that stand as a word
// of its own in the other name: 570c and D570c, 750HD and CT750HD, XR220 and
// XR220amx, NM 670 and NM/CT 670.
func sameNumber(missing, extra, words, others []string) bool {
	if len(missing) != 1 || len(extra) != 1 {
		return false
	}
	a, b := missing[0], extra[0]
	p, q := letters(a), letters(b)
	a, b = a[len(p):], b[len(q):]
	n := len(a) - len(strings.TrimLeft(a, "0123456789"))
	if n < 3 || n > len(b) || a[:n] != b[:n] {
		return false
	}
	switch {
	case p == q: // XR220amx
		return len(a)-n >= 3 && len(b) == n || len(b)-n >= 3 && len(a) == n
	case a != b:
		return false
	}
	return p == "" || q == "" || slices.Contains(words, q) || slices.Contains(others, p)
}

// partNumber reports whether a code is a long number, which makers use beside
// the name of a model.
func partNumber(c string) bool {
	return len(c) >= 5 && strings.Trim(c, "0123456789") == ""
}

// within reports whether all of a are in b.
func within(a, b []string) bool { return len(minus(a, b)) == 0 }

// minus returns what of a list is in none of the others.
func minus(a []string, others ...[]string) (out []string) {
	for _, s := range a {
		if !slices.ContainsFunc(others, func(o []string) bool { return slices.Contains(o, s) }) {
			out = append(out, s)
		}
	}
	return out
}

// alternatives are the products that a name in an advisory stands for: itself,
// and its parts where it names several. Of the parts only those are sure that
// are apart clearly. An abbreviation in brackets is another name for all before
// it: "Clinical Information Center (CIC)".
type alternative struct {
	name string
	cap  Certainty
	why  string // where cap is less than exact
}

func alternatives(name string) []alternative {
	out := []alternative{{name: name, cap: Exact}}
	if len(name) > maxNameBytes {
		return out
	}
	if at := shortened().FindStringSubmatchIndex(name); at != nil && at[0] > 0 {
		out = append(out, alternative{name[at[2]:at[3]] + name[at[1]:], Likely, fmt.Sprintf("%q is short for what the advisory says, %q", name[at[2]:at[3]], name)})
	}
	add := func(parts []string, c Certainty) {
		if len(parts) < 2 || len(parts) > 16 {
			return
		}
		for _, p := range parts {
			out = append(out, alternative{strings.TrimSpace(p), c, fmt.Sprintf("%q is one of several that the advisory names together", strings.TrimSpace(p))})
		}
	}
	if strings.Contains(name, ") and ") { // "Pulsera (718095) and Endura (718075)"
		add(strings.Split(strings.ReplaceAll(name, ") and ", ")\x00"), "\x00"), Exact)
	}
	add(strings.Split(name, " / "), Exact)
	parts := strings.Split(name, "/")
	for _, p := range parts {
		long := 0
		for _, l := range lexemes(p) {
			if !genericWords[l.s] && !stopWords[l.s] && !l.code() && len(l.s) > 3 {
				long++
			}
		}
		if long < 2 { // "Discovery NM/CT 860", "Fetal/Maternal": one name
			return out
		}
	}
	add(parts, Likely)
	return out
}

// compareNames says whether the product that an advisory names is the one that
// a register names, and why. Versions do not count.
func (n *Names) compareNames(am *maker, advisory string, dm *maker, register string) (Certainty, string) {
	d := parseModel(register, n.house(dm))
	h := n.house(am)
	var best Certainty
	var reason string
	for _, alt := range alternatives(advisory) {
		c, why := compare(parseModel(alt.name, h), d)
		if c.rank() > alt.cap.rank() {
			c, why = alt.cap, alt.why
		}
		if c.rank() > best.rank() {
			best, reason = c, why
		}
	}
	return best, reason
}
