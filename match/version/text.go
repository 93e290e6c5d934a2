// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/lazyregexp"
)

// maxText bounds a statement that is read; the longest of CISA's medical
// advisories has 160 bytes.
const maxText = 1000 // bytes

// ParseText reads what an advisory says about versions in its own words. It
// would rather say [Review] than guess: whether "3002" is a model or a version,
// of what "< May 2018" is the date, which branch the second of two upper bounds
// closes.
//
// Three readings go beyond the letters, towards more versions, and say so in
// Why: ">= 1.0 | <= 1.4" is all between, as CISA writes it; a lone "8" is 8 and
// every 8.x; revisions "B-M" are B to M with all of M.
func ParseText(s string) Text {
	t := parseText(s)
	if t.Kind == Review {
		return Text{Why: t.Why}
	}
	return t
}

func review(why string) Text { return Text{Why: why} }

var (
	typography = strings.NewReplacer("—", " – ", "–", " – ", "≤", "<=", "≥", ">=", "\u00a0", " ", "“", `"`, "”", `"`, ", but", " but", "including,", "including")

	everything   = lazyregexp.New(`(?i)^(\*|all|any|every|(all|any|every)( known| supported| released)? (versions?|releases?|revisions?|models?)( of (the )?(software|firmware))?)$`)
	group        = lazyregexp.New(`(^|\s)\(([^()]*)\)`)
	afterthought = lazyregexp.New(`(?i)^(and|or) (all )?[a-z]+( versions?| releases?)?$`)
	conditional  = lazyregexp.New(`(?i)(^|\s)(with|when|if|running|only|where|containing|using)\s.*$`)
	ofSoftware   = lazyregexp.New(`(?i)^with (?:software|firmware)(?: versions?)? (.*)$`)
	unitDates    = lazyregexp.New(`(?i)^(.*?)\(?\s*\b(distributed|shipped|manufactured|produced|made|sold|built)\b\s*(.*?)\)?$`)
	bareDate     = lazyregexp.New(`(?i)\b(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|dec(ember)?)\b.*\b[12]\d{3}\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b|\b[12]\d{3}-\d{1,2}-\d{1,2}\b`)
	modelKeyword = lazyregexp.New(`(?i)^(.*?)\b(?:(?:product (?:id|code)|re-?order|udi|ndc|catalog(?:ue)?|part|model)s?(?:\s*/\s*|\s+|$))+(?:(?:numbers?|nos?\.?)\s+)?(.*\d.*)$`)
	runTogether  = lazyregexp.New(`\b([A-Z]\.\d+)\.([A-Z]\.\d+)\b`) // F.0.G.0
	revisions    = lazyregexp.New(`(?i)^rev(?:ision)?s?\.? ([A-Z]) ?(?:-|–|to|through) ?([A-Z])$`)

	modelCode   = lazyregexp.New(`^[A-Z]{2,4}-\d{3,5}[A-Z]?(\([A-Z]\))?( [A-Za-z][\w -]*)?$`)
	modelNumber = lazyregexp.New(`^\d{6,8}( [A-Za-z0-9/]+)*( [A-Z][A-Za-z]{3,}| GEMINI)( [A-Za-z0-9/]+)*$`)
	modelType   = lazyregexp.New(`^[A-Z]{2,}-[A-Z]{2,} \d{3,4}$`)
	modelName   = lazyregexp.New(`^([A-Za-z][A-Za-z0-9-]* )*[A-Z][a-z]{3,}[A-Za-z0-9-]*( [A-Za-z][A-Za-z0-9-]*)*$`)
	remedied    = lazyregexp.New(`(?i)\b(un|not |non-)affected|\b(fixed|patched|resolved|mitigated|except|excluding|excludes|safe)\b`)
	noModelName = lazyregexp.New(`(?i)\b(versions?|releases?|builds?|software|firmware|updates?|patch|service|not|no|none|only|affected|unknown|see|before|after|prior|earlier|later|all|any|and|or|of|the|with|without|unspecified|applicable|current|latest|each|every)\b`)
)

func parseText(s string) Text {
	if len(s) > maxText {
		return review("too long to be a statement of versions")
	}
	s = strings.Join(strings.Fields(typography.Replace(s)), " ")
	s = runTogether().ReplaceAllString(s, "$1 | $2")
	if rest, ok := strings.CutPrefix(s, "vers:"); ok {
		scheme, list, _ := strings.Cut(rest, "/")
		switch {
		case strings.EqualFold(scheme, "all"), strings.EqualFold(scheme, "unknown"):
			s = list // Siemens writes "vers:all/<V1.7", which is no vers:
		default:
			r, err := ParseVers(s)
			if err != nil {
				return review("a vers: range that cannot be read")
			}
			return ofRange(r)
		}
	}
	s = strings.TrimRight(s, " .,;|")
	if strings.HasPrefix(s, "(") && strings.IndexByte(s, ')') == len(s)-1 {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	if s == "" {
		return review("nothing said")
	}
	if strings.Contains(strings.ToLower(s), "serial") {
		return review("serial numbers, which are not versions")
	}
	if remedied().MatchString(s) {
		return review("what is not affected stands beside what is")
	}
	if m := unitDates().FindStringSubmatch(s); m != nil {
		return parseDates(strings.TrimRight(m[1], " ("), strings.ToLower(m[2]), m[3])
	}
	if bareDate().MatchString(s) {
		return review("a date, and not said of what: when it was made, sold or released")
	}
	if m := modelKeyword().FindStringSubmatch(s); m != nil {
		return ofModels(strings.TrimSpace(m[1]), alternatives(m[2]))
	}

	// What stands in brackets, or after "with" and its like, is a condition.
	var conditions []string
	s = group().ReplaceAllStringFunc(s, func(g string) string {
		inner := strings.Trim(g, " ()")
		if afterthought().MatchString(inner) {
			return " " + inner
		}
		conditions = append(conditions, inner)
		return ""
	})
	if c := strings.TrimSpace(conditional().FindString(s)); c != "" {
		s = strings.TrimSpace(strings.TrimSuffix(s, c))
		if m := ofSoftware().FindStringSubmatch(c); m != nil {
			if t := parseText(m[1]); t.Kind == Versions && isModel(s) {
				t.Models = []string{s}
				return t
			}
		}
		conditions = append(conditions, c)
	}
	s = strings.TrimRight(s, " .,;|")

	t := parseVersions(s)
	switch {
	case everything().MatchString(s):
		t = Text{Kind: All, Range: Every(Generic), Why: "every version"}
	case revisions().MatchString(s):
		m := revisions().FindStringSubmatch(strings.ToUpper(s))
		t = parseLetters(m[1], m[2])
	case t.Kind == Review:
		if names := alternatives(s); isModel(names...) {
			t = ofModels("", names)
		}
	}
	if t.Kind != Review && conditions != nil {
		t.Condition = strings.Join(conditions, "; ")
		t.Why += "; if what was added holds"
	}
	return t
}

func ofRange(r Range) Text {
	if len(r.Intervals) == 1 && r.Intervals[0] == (Interval{}) {
		return Text{Kind: All, Range: r, Why: "every version"}
	}
	if len(r.Intervals) == 0 {
		return review("a range that holds no version")
	}
	return Text{Kind: Versions, Range: r, Why: r.String()}
}

// ofModels is every version of the models, or the versions that the text names.
func ofModels(versions string, models []string) Text {
	for _, m := range models {
		if strings.ContainsAny(m, "<>=*") || noModelName().MatchString(m) {
			return review("models and more, which cannot be told apart")
		}
	}
	t := Text{Kind: All, Range: Every(Generic), Why: "every version of the models named"}
	if versions != "" {
		if t = parseText(versions); t.Kind == Review {
			return t
		}
		t.Why += ", of the models named"
	}
	t.Models = models
	return t
}

// alternatives cuts at "|", " / ", commas, "and" and "or".
func alternatives(s string) []string {
	s = strings.NewReplacer(" / ", "|", ",", "|", ";", "|", " and ", "|", " or ", "|").Replace(s)
	var parts []string
	for part := range strings.SplitSeq(s, "|") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// isModel says whether all are written as models are and as versions are not.
func isModel(names ...string) bool {
	words := false
	for _, n := range names {
		switch {
		case modelCode().MatchString(n), modelNumber().MatchString(n), modelType().MatchString(n):
			words = true
		case modelName().MatchString(n) && !noModelName().MatchString(n):
			words = words || strings.Contains(n, " ")
		default:
			return false
		}
	}
	return words
}

// parseLetters reads revisions from one letter to another, of which "M.04" is
// one of M.
func parseLetters(low, high string) Text {
	if low > high || high == "Z" {
		return review("revisions in no order")
	}
	t := ofRange(NewRange(Generic, Interval{Low: low, High: string(high[0] + 1), HighOpen: true}))
	t.Why = "revisions " + low + " to " + high + ", with all of " + high
	return t
}

// A textToken is a version or what relates versions.
type textToken struct {
	kind    byte   // 'v' version, 'o' comparison before it, 'p' after it, 't' to, '|' or '&'
	text    string // the version, or the comparison
	certain bool   // nothing but a version is written like that
}

// A phrase is words that relate versions.
type phrase struct {
	words string
	token textToken
}

// phrases are all of them, longer ones before those they start with.
var phrases = append(afterthoughts(), []phrase{
	{"up to but not including", textToken{'o', "<", false}},
	{"up to and not including", textToken{'o', "<", false}},
	{"- but not including", textToken{'o', "<", false}},
	{"but not including", textToken{'o', "<", false}},
	{"up to and including", textToken{'o', "<=", false}},
	{"through and including", textToken{'o', "<=", false}},
	{"less than or equal to", textToken{'o', "<=", false}},
	{"greater than or equal to", textToken{'o', ">=", false}},
	{"and all prior versions", textToken{'p', "<=", false}},
	{"and all previous versions", textToken{'p', "<=", false}},
	{"and all earlier versions", textToken{'p', "<=", false}},
	{"no later than", textToken{'o', "<=", false}},
	{"prior to", textToken{'o', "<", false}},
	{"previous to", textToken{'o', "<", false}},
	{"earlier than", textToken{'o', "<", false}},
	{"older than", textToken{'o', "<", false}},
	{"lower than", textToken{'o', "<", false}},
	{"less than", textToken{'o', "<", false}},
	{"greater than", textToken{'o', ">", false}},
	{"later than", textToken{'o', ">", false}},
	{"newer than", textToken{'o', ">", false}},
	{"at least", textToken{'o', ">=", false}},
	{"starting with", textToken{'o', ">=", false}},
	{"up to", textToken{'o', "<=", false}},
	{"before", textToken{'o', "<", false}},
	{"below", textToken{'o', "<", false}},
	{"since", textToken{'o', ">=", false}},
	{"from", textToken{'o', ">=", false}},
	{"after", textToken{'o', ">", false}},
	{"above", textToken{'o', ">", false}},
	{"between", textToken{'b', "", false}},
	{"through", textToken{'t', "", false}},
	{"thru", textToken{'t', "", false}},
	{"to", textToken{'t', "", false}},
	{"–", textToken{'t', "", false}},
	{"-", textToken{'t', "", false}},
	{"and", textToken{'&', "", false}},
	{"or", textToken{'|', "", false}},
	{"|", textToken{'|', "|", false}},
	{",", textToken{'|', "", false}},
	{";", textToken{'|', "", false}},
}...)

// afterthoughts are the comparisons after a version: "and earlier", "or later
// versions".
func afterthoughts() (after []phrase) {
	for op, words := range map[string]string{
		"<=": "below earlier prior previous older lower under before",
		">=": "above later newer higher greater onwards up",
	} {
		for word := range strings.FieldsSeq(words) {
			for _, and := range [...]string{"and ", "or "} {
				for _, versions := range [...]string{" versions", " version", " releases", ""} {
					after = append(after, phrase{and + word + versions, textToken{'p', op, false}})
				}
			}
		}
	}
	return after
}

// noise are words that say no more than that a version follows.
var noise = map[string]bool{
	"version": true, "versions": true, "ver": true, "ver.": true, "v.": true, "release": true, "releases": true, "rel": true,
	"software": true, "firmware": true, "sw": true, "fw": true, "revision": true, "revisions": true, "all": true, "inclusive": true,
}

var (
	certainVersion = lazyregexp.New(`^([vV]\d+[A-Za-z]?|[vV]?\d{1,2}|[A-Za-z]{0,2}\d*(\.\w+)+)([-_+~][\w.]+)*$`)
	anyVersion     = lazyregexp.New(`^([A-Za-z]{0,4}\d[\w.+~-]*|[A-Z](\.\w+)*)$`)
	wildVersion    = lazyregexp.New(`^[vV]?(\d+\.)*\d+(\.[xX*]+)+$`)
	qualifier      = lazyregexp.New(`^(?i:(sp|sr|mp|hf|mr|cu|rc|upd|update|build|patch|hotfix|alpha|beta|rev)[-.]?\d*[a-z]?)$|^[A-Z]\d{1,3}$`)
	qualified      = lazyregexp.New(`^[A-Z](\.\d+)+$`)
	numbers        = lazyregexp.New(`^\d+[a-z]?$`)
)

// tokens cuts a statement, or says which word it does not know.
func tokens(s string) (out []textToken, unknown string) {
	for _, mark := range [...]string{"|", ",", ";"} {
		s = strings.ReplaceAll(s, mark, " "+mark+" ")
	}
	for op := range strings.SplitSeq("<= >= < >", " ") {
		s = strings.ReplaceAll(s, op, "\x00"+op+"\x00")
	}
	// "<=" was cut a second time at its "<": join it again.
	s = strings.NewReplacer("\x00\x00<\x00=\x00", " <= ", "\x00\x00>\x00=\x00", " >= ", "\x00", " ").Replace(s)
	words := strings.Fields(s)
next:
	for i := 0; i < len(words); {
		w := words[i]
		if op, rest := cutOperator(w); op != "" && rest == "" {
			out = append(out, textToken{'o', op, false})
			i++
			continue
		}
		for _, p := range phrases {
			n := strings.Count(p.words, " ") + 1
			if p.token.kind == 'p' && i+n < len(words) && anyVersion().MatchString(words[i+n]) {
				continue // "1.0 and before 2.0" is no "1.0 and before"
			}
			if i+n <= len(words) && strings.EqualFold(p.words, strings.Join(words[i:i+n], " ")) {
				out = append(out, p.token)
				i += n
				continue next
			}
		}
		if noise[strings.ToLower(w)] {
			i++
			continue
		}
		wild := wildVersion().MatchString(w)
		t := textToken{'v', w, wild || certainVersion().MatchString(w)}
		if !anyVersion().MatchString(w) && !t.certain || !wild && strings.Contains(strings.ToLower(w), ".x") {
			return nil, w
		}
		for i++; i < len(words); i++ { // "1.8.4 Service Pack 01", "V16 Update 6", "S4 A.07.107"
			w := words[i]
			switch {
			case strings.EqualFold(w, "service") && i+1 < len(words) && strings.EqualFold(words[i+1], "pack"):
				i++
				w = "SP"
				if i+1 < len(words) && numbers().MatchString(words[i+1]) {
					i++
					w += words[i]
				}
			case qualifier().MatchString(w):
				if !isDigit(w[len(w)-1]) && i+1 < len(words) && numbers().MatchString(words[i+1]) {
					i++
					w += " " + words[i]
				}
				t.certain = t.certain || len(w) > 3 && isLetter(w[1])
			case qualified().MatchString(w) && !t.certain:
				t.certain = true
			default:
				out = append(out, t)
				continue next
			}
			t.text += " " + w
		}
		out = append(out, t)
	}
	return out, ""
}

// parseVersions reads a list of versions and comparisons.
func parseVersions(s string) Text {
	list, unknown := tokens(s)
	if unknown != "" {
		return review("not understood: " + unknown[:min(len(unknown), 40)])
	}
	var in []Interval
	note := ""
	lowers, uppers := 0, 0  // comparisons that stand alone
	var pending *constraint // a lower bound that an upper one may close
	flush := func() {
		if pending != nil {
			in, pending = append(in, pending.interval()), nil
			lowers++
		}
	}
	compare := func(op, v string, joined bool) string {
		c := wildConstraint(op, v)
		switch {
		case op[0] == '>' && joined && pending == nil && len(in) > 0 && in[len(in)-1].Low == "":
			i := &in[len(in)-1] // "before 2.0 and after 1.0"
			i.Low, i.LowOpen = c.version, c.op == ">"
			uppers--
			if !sameShape(i.Low, i.High) || Generic.empty(*i) {
				return "bounds that have no order"
			}
		case op[0] == '>':
			if pending != nil {
				return "two lower bounds in a row"
			}
			pending = &c
		case pending != nil && (joined || Generic.Compare(pending.version, c.version) <= 0):
			i := pending.interval()
			i.High, i.HighOpen = c.version, c.op == "<"
			if !sameShape(i.Low, i.High) || Generic.empty(i) {
				return "bounds that have no order"
			}
			in, pending = append(in, i), nil
		default:
			flush()
			in = append(in, c.interval())
			uppers++
		}
		return ""
	}
	one := func(t textToken) string {
		flush()
		switch {
		case !t.certain:
			return "a model, a part number or a version: " + t.text[:min(len(t.text), 40)]
		case wildVersion().MatchString(t.text):
			low, high := wildConstraint(">=", t.text), wildConstraint("<=", t.text)
			in = append(in, Interval{Low: low.version, High: high.version, HighOpen: true})
		case run(trimV(t.text), 0, isDigit) == len(trimV(t.text)):
			high := wildConstraint("<=", t.text+".x")
			in = append(in, Interval{Low: t.text, High: high.version, HighOpen: true})
			note = "; a lone number with all that start with it"
		default:
			in = append(in, Interval{Low: t.text, High: t.text})
		}
		return ""
	}
	at := func(i int) textToken {
		if i < len(list) {
			return list[i]
		}
		return textToken{}
	}
	words, versions := false, false // a separator was a word or comma, a version stood alone
	for i, joined := 0, false; i < len(list); {
		t, why, bare, compared := list[i], "", false, false
		switch n := at(i + 1); {
		case t.kind == '|' || t.kind == '&':
			// "and" joins a lower and an upper bound; "|" does where they fit.
			if i++; i == len(list) || at(i).kind == '|' || at(i).kind == '&' {
				return review("a list that breaks off")
			}
			joined, words = t.kind == '&', words || t.text != "|"
			continue
		case t.kind == 'b' && n.kind == 'v' && (at(i+2).kind == '&' || at(i+2).kind == 't') && at(i+3).kind == 'v':
			flush()
			if why = compare(">=", n.text, false); why == "" {
				why = compare("<=", at(i+3).text, true)
			}
			i += 4
		case t.kind == 'o' && n.kind == 'v' && t.text != "=" && t.text != "!=":
			why = compare(t.text, n.text, joined)
			i += 2
			if why == "" && t.text == ">=" && at(i).kind == 't' && at(i+1).kind == 'v' { // "from 1.0 to 2.0"
				why = compare("<=", at(i+1).text, true)
				i += 2
			}
			compared = true
		case t.kind == 'o' && n.kind == 'v' && t.text == "=":
			n.certain = true
			why = one(n)
			i += 2
		case t.kind == 'v' && n.kind == 'p':
			why = compare(n.text, t.text, false)
			i += 2
		case t.kind == 'v' && n.kind == 't' && at(i+2).kind == 'v':
			flush()
			if why = compare(">=", t.text, false); why == "" {
				why = compare("<=", at(i+2).text, true)
			}
			i += 3
		case t.kind == 'v' && n.kind == 'o' && n.text[0] == '<' && at(i+2).kind == 'v':
			flush()
			if why = compare(">=", t.text, false); why == "" {
				why = compare(n.text, at(i+2).text, true)
			}
			i += 3
		case t.kind == 'v' && (n.kind == 0 || n.kind == '|' || n.kind == '&' || n.kind == 'v' && t.certain && n.certain && strings.Contains(t.text, ".")):
			why, versions, bare = one(t), true, true
			i++
		default:
			return review("not understood as versions")
		}
		if why == "" && !bare && at(i).kind == 'v' {
			why = "not understood as versions"
		}
		if why != "" {
			return review(why)
		}
		joined = compared // ">=1.0<2.0": what follows a comparison at once goes with it
	}
	flush()
	switch {
	case len(in) == 0:
		return review("no version named")
	case words && versions && uppers+lowers > 0: // "prior to 2.0 or 3.1"
		return review("a bound and a version, and not said how they go together")
	case uppers > 1 || lowers > 1:
		return review("several bounds, and not said which is for what")
	case (uppers > 0 || lowers > 0) && !oneShape(in):
		return review("bounds that have no order")
	}
	t := ofRange(NewRange(Generic, in...))
	if t.Kind == All {
		return review("bounds that leave nothing out")
	}
	t.Why += note
	return t
}

// oneShape says whether all bounds can be put in one order.
func oneShape(in []Interval) bool {
	first := in[0].Low + in[0].High
	if in[0].Low != "" {
		first = in[0].Low
	}
	for _, i := range in {
		if i.Low != "" && !sameShape(first, i.Low) || i.High != "" && !sameShape(first, i.High) {
			return false
		}
	}
	return true
}

// wildConstraint reads "<= 12.2.x.x" as "< 12.3", and "<= K" as "< L".
func wildConstraint(op, v string) constraint {
	up := op == "<=" || op == ">"
	if up {
		op = map[string]string{"<=": "<", ">": ">="}[op]
	}
	switch {
	case wildVersion().MatchString(v):
		parts, _ := cutWild(strings.NewReplacer("xx", "x", "XX", "x").Replace(v))
		if up {
			return constraint{op, bump(parts, len(parts))}
		}
		return constraint{op, strings.Join(parts, ".")}
	case len(v) == 1 && 'A' <= v[0] && v[0] < 'Z' && up:
		return constraint{op, string(v[0] + 1)}
	case up && op == "<":
		op = "<="
	case up:
		op = ">"
	}
	return constraint{op, v}
}

var months = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

var (
	dateWord = lazyregexp.New(`[A-Za-z]+|\d+|[<>]=?|[/-]`)
	monthly  = lazyregexp.New(`(?i)^(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|dec(ember)?)$`)
)

// A day is a date of some precision: a year, a month or a day.
type day struct{ y, m, d int }

func (d day) String() string {
	const form = "2006-01-02"
	n := 10
	if d.d == 0 {
		n = 7
	}
	if d.m == 0 {
		n = 4
	}
	return time.Date(d.y, time.Month(max(d.m, 1)), max(d.d, 1), 0, 0, 0, 0, time.UTC).Format(form)[:n]
}

// next is the first moment that is not in d.
func (d day) next() day {
	t := time.Date(d.y, time.Month(max(d.m, 1)), max(d.d, 1), 0, 0, 0, 0, time.UTC)
	switch {
	case d.m == 0:
		return day{y: d.y + 1}
	case d.d == 0:
		t = t.AddDate(0, 1, 0)
		return day{t.Year(), int(t.Month()), 0}
	}
	t = t.AddDate(0, 0, 1)
	return day{t.Year(), int(t.Month()), t.Day()}
}

// cutDay reads a date off the front: "April 1, 2018", "26-June-2017",
// "2018-04-01", "8/30/2024", "May 2018", "2016".
func cutDay(w []string) (d day, rest []string, ok bool) {
	is := func(i int, lo, hi int) int {
		if i >= len(w) {
			return 0
		}
		n, err := strconv.Atoi(w[i])
		if err != nil || n < lo || n > hi {
			return 0
		}
		return n
	}
	month := func(i int) int {
		if i < len(w) && monthly().MatchString(w[i]) {
			for n, m := range months {
				if strings.EqualFold(w[i][:3], m) {
					return n + 1
				}
			}
		}
		return 0
	}
	mark := func(i int, m string) bool { return i < len(w) && w[i] == m }
	skip := func(i int) int {
		if mark(i, "-") {
			return i + 1
		}
		return i
	}
	year := func(i int) int { return is(i, 1950, 2100) }
	n := 0
	switch {
	case month(0) > 0:
		d.m, n = month(0), skip(1)
		if d.d = is(n, 1, 31); d.d > 0 {
			n = skip(n + 1)
		}
		d.y = year(n)
	case is(0, 1, 31) > 0 && month(skip(1)) > 0:
		d.d, n = is(0, 1, 31), skip(1)
		d.m, n = month(n), skip(n+1)
		d.y = year(n)
	case mark(1, "/") && mark(3, "/"):
		// CISA is American, but 3/4 might be a day in April elsewhere.
		d.m, d.d, d.y, n = is(0, 1, 12), is(2, 13, 31), year(4), 4
		if d.m == 0 || d.d == 0 {
			return d, w, false
		}
	case year(0) > 0 && mark(1, "-") && is(2, 1, 12) > 0:
		d.y, d.m, n = year(0), is(2, 1, 12), 2
		if mark(3, "-") && is(4, 1, 31) > 0 {
			d.d, n = is(4, 1, 31), 4
		}
	default:
		d.y = year(0)
	}
	if d.y == 0 || d.d > time.Date(d.y, time.Month(d.m+1), 0, 0, 0, 0, 0, time.UTC).Day() {
		return d, w, false
	}
	return d, w[n+1:], true
}

// parseDates reads when units were made or distributed.
func parseDates(before, verb, s string) Text {
	unread := review("a date of units that cannot be read: " + verb)
	w := dateWord().FindAllString(strings.ToLower(strings.ReplaceAll(s, "–", "-")), -1)
	op := ""
	for len(w) > 0 && op != "?" {
		next, n := "", 1
		pair := strings.Join(w[:min(2, len(w))], " ")
		switch {
		case pair == "prior to":
			next, n = "<", 2
		case w[0] == "on" && len(w) > 2 && w[1] == "or":
			next, n = map[string]string{"before": "<=", "after": ">="}[w[2]], 3
		default:
			next = map[string]string{
				"before": "<", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "after": ">", "since": ">=", "until": "?",
				"through": "<=", "between": "between", "from": "between", "in": "in", "on": "in", "during": "in",
			}[w[0]]
		}
		if next == "" {
			break
		}
		if op != "" {
			return unread
		}
		op, w = next, w[n:]
	}
	low, w, ok := cutDay(w)
	if !ok || op == "?" {
		return unread
	}
	i := Interval{}
	switch {
	case len(w) > 1 && (op == "between" || op == ""): // "2016-August 2018", "... and ...", "... through ..."
		if w[0] != "-" && w[0] != "to" && w[0] != "and" && w[0] != "through" && w[0] != "thru" {
			return unread
		}
		var high day
		if high, w, ok = cutDay(w[1:]); !ok {
			return unread
		}
		i = Interval{low.String(), high.next().String(), false, true}
	case op == "<":
		i = Interval{High: low.String(), HighOpen: true}
	case op == "<=":
		i = Interval{High: low.next().String(), HighOpen: true}
	case op == ">":
		i = Interval{Low: low.next().String()}
	case op == ">=":
		i = Interval{Low: low.String()}
	case op == "in" || op == "":
		i = Interval{low.String(), low.next().String(), false, true}
	default:
		return unread
	}
	if len(w) > 0 || Date.empty(i) {
		return unread
	}
	t := Text{Kind: Dates, Range: NewRange(Date, i), Condition: before}
	t.Why = verb + " " + t.Range.String()
	if before != "" {
		t.Why += "; if what was added holds"
	}
	return t
}

// cutDate reads "2006", "2006-01" or "2006-01-02".
func cutDate(s string) (date string, precision int, ok bool) {
	const form = "0000-00-00"
	if len(s) != 4 && len(s) != 7 && len(s) != 10 {
		return "", 0, false
	}
	for i := range len(s) {
		if isDigit(s[i]) != (form[i] == '0') || form[i] == '-' && s[i] != '-' {
			return "", 0, false
		}
	}
	return s, (len(s) - 1) / 3, true
}
