// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/internal/lazyregexp"
)

// maxRange bounds what is read as one range: the longest in all of OSV's data
// has some 2,000 versions of 20 bytes.
const maxRange = 1 << 20 // bytes

// compareLow compares lower bounds: "" is below all, an open one just above
// the closed one.
func (s Scheme) compareLow(a, b Interval) int {
	switch {
	case a.Low == "" || b.Low == "":
		return sign(a.Low == "" && b.Low != "", a.Low != "")
	}
	if c := s.Compare(a.Low, b.Low); c != 0 {
		return c
	}
	return sign(!a.LowOpen && b.LowOpen, a.LowOpen && !b.LowOpen)
}

// compareHigh compares upper bounds: "" is above all, an open one just below
// the closed one.
func (s Scheme) compareHigh(a, b Interval) int {
	switch {
	case a.High == "" || b.High == "":
		return sign(a.High != "" && b.High == "", a.High == "" && b.High != "")
	}
	if c := s.Compare(a.High, b.High); c != 0 {
		return c
	}
	return sign(a.HighOpen && !b.HighOpen, !a.HighOpen && b.HighOpen)
}

// empty says whether no version can be within.
func (s Scheme) empty(i Interval) bool {
	if i.Low == "" || i.High == "" {
		return false
	}
	c := s.Compare(i.Low, i.High)
	return c > 0 || c == 0 && (i.LowOpen || i.HighOpen)
}

// NewRange returns the union of the intervals, which may come in any order and
// overlap.
func NewRange(s Scheme, intervals ...Interval) Range {
	r := Range{Scheme: s}
	in := slices.DeleteFunc(slices.Clone(intervals), s.empty)
	slices.SortFunc(in, s.compareLow)
	for _, i := range in {
		if n := len(r.Intervals); n > 0 && s.touch(r.Intervals[n-1], i) {
			if last := &r.Intervals[n-1]; s.compareHigh(*last, i) < 0 {
				last.High, last.HighOpen = i.High, i.HighOpen
			}
			continue
		}
		r.Intervals = append(r.Intervals, i)
	}
	return r
}

// touch says whether b, which starts no lower than a, goes on without a gap.
func (s Scheme) touch(a, b Interval) bool {
	if a.High == "" || b.Low == "" {
		return true
	}
	c := s.Compare(b.Low, a.High)
	return c < 0 || c == 0 && !(a.HighOpen && b.LowOpen)
}

// Every returns the range of all versions.
func Every(s Scheme) Range { return Range{s, []Interval{{}}} }

// Only returns the range of the versions given.
func Only(s Scheme, versions ...string) Range {
	in := make([]Interval, len(versions))
	for i, v := range versions {
		in[i] = Interval{Low: v, High: v}
	}
	return NewRange(s, in...)
}

// Between returns the range of NVD's four bounds (versionStartIncluding and so
// on), of which "" is none.
func Between(s Scheme, startIncluding, startExcluding, endIncluding, endExcluding string) Range {
	i := Interval{Low: startIncluding, High: endIncluding}
	if startExcluding != "" {
		i.Low, i.LowOpen = startExcluding, true
	}
	if endExcluding != "" {
		i.High, i.HighOpen = endExcluding, true
	}
	return NewRange(s, i)
}

// An Event is one of OSV's: exactly one field is set.
type Event struct {
	Introduced, Fixed, LastAffected, Limit string
}

// FromEvents returns the range of OSV's events, which may come in any order;
// "0" is below all versions, as OSV says.
func FromEvents(s Scheme, events []Event) Range {
	var starts, ends, limits []Interval
	for _, e := range events {
		switch {
		case e.Introduced == "0":
			starts = append(starts, Interval{})
		case e.Introduced != "":
			starts = append(starts, Interval{Low: e.Introduced})
		case e.Fixed != "":
			ends = append(ends, Interval{High: e.Fixed, HighOpen: true})
		case e.LastAffected != "":
			ends = append(ends, Interval{High: e.LastAffected})
		case e.Limit == "*":
			limits = append(limits, Interval{})
		case e.Limit != "":
			limits = append(limits, Interval{High: e.Limit, HighOpen: true})
		}
	}
	slices.SortFunc(ends, s.compareHigh)
	for i, start := range starts {
		// The first end that is not before the start closes it.
		n, _ := slices.BinarySearchFunc(ends, start, func(e, start Interval) int {
			return sign(s.empty(Interval{start.Low, e.High, false, e.HighOpen}), false)
		})
		if n < len(ends) {
			starts[i].High, starts[i].HighOpen = ends[n].High, ends[n].HighOpen
		}
	}
	r := NewRange(s, starts...)
	if limits != nil {
		r = r.Intersect(NewRange(s, limits...))
	}
	return r
}

// Union returns the versions of either, in the scheme of r.
func (r Range) Union(q Range) Range {
	return NewRange(r.Scheme, slices.Concat(r.Intervals, q.Intervals)...)
}

// Intersect returns the versions of both, in the scheme of r.
func (r Range) Intersect(q Range) Range {
	s, both := r.Scheme, []Interval(nil)
	for i, j := 0, 0; i < len(r.Intervals) && j < len(q.Intervals); {
		a, b := r.Intervals[i], q.Intervals[j]
		c := a
		if s.compareLow(a, b) < 0 {
			c.Low, c.LowOpen = b.Low, b.LowOpen
		}
		if s.compareHigh(a, b) < 0 {
			i++
		} else {
			c.High, c.HighOpen = b.High, b.HighOpen
			j++
		}
		both = append(both, c)
	}
	return NewRange(s, both...)
}

// Equal says whether both hold the same versions.
func (r Range) Equal(q Range) bool {
	s := r.Scheme
	return slices.EqualFunc(r.Intervals, q.Intervals, func(a, b Interval) bool {
		return s.compareLow(a, b) == 0 && s.compareHigh(a, b) == 0
	})
}

// Contains says whether the version is within. It allocates nothing.
func (r Range) Contains(v string) bool {
	n, m := 0, len(r.Intervals)
	for n < m { // the first interval that does not end before v
		k := int(uint(n+m) / 2)
		i := &r.Intervals[k]
		c := -1
		if i.High != "" {
			c = r.Scheme.Compare(v, i.High)
		}
		if c > 0 || c == 0 && i.HighOpen {
			n = k + 1
		} else {
			m = k
		}
	}
	if n == len(r.Intervals) {
		return false
	}
	i := &r.Intervals[n]
	if i.Low == "" {
		return true
	}
	c := r.Scheme.Compare(v, i.Low)
	return c > 0 || c == 0 && !i.LowOpen
}

// Comparable says whether the order of v and the bounds of the range means
// anything. In a scheme with rules it does if v is a version of it. A Generic
// version must be spelled as the bounds are: "2.1" says nothing of "<= L81",
// nor "1.6 Update 5" of "< 1.6 HF6". "2.0 or later" is no version.
func (r Range) Comparable(v string) bool {
	if (r.Scheme == Generic || r.Scheme == Semver) && strings.Trim(v, "0123456789.") != "" && several().MatchString(v) {
		// "2.x" is decided where all of its versions are within, or none is.
		low := trimV(strings.TrimRight(strings.TrimSpace(v), ".xX"))
		if r.Scheme != Generic || low == "" || strings.Trim(low, "0123456789.") != "" || !r.Comparable(low) {
			return false
		}
		train := NewRange(Generic, Interval{Low: low, High: low + ".99999999999"})
		both := r.Intersect(train)
		return len(both.Intervals) == 0 || both.Equal(train)
	}
	if r.Scheme != Generic {
		return r.Scheme.Check(v) == nil
	}
	if Generic.Check(v) != nil && len(strings.TrimSpace(v)) != 1 {
		return false
	}
	for _, i := range r.Intervals {
		if i.Low != "" && !sameShape(i.Low, v) || i.High != "" && !sameShape(i.High, v) {
			return false
		}
	}
	return true
}

// several finds what means more than one version, or one that is not written
// down whole: "2.x", ">= 2.0", "2.0+", "2.3.4 / 2.3.7", "2.3.6 and below".
var several = lazyregexp.New(`(?i)[<>=≤≥*?,;|/]|\+$|(^|\.)x(\.|$)|\s[-–]\s|^\d+(\.\d+){2,}-\d+(\.\d+){2,}$|\b(or|and|to|until|up|oder|und|bis)\b`)

// sameShape says whether the order of two versions means anything: they start
// alike, with a number, a single letter or the same word, and where they part,
// it is not at two words of which nobody knows the order ("SR1" and "SP1"), nor
// where one goes on with its build or with the hardware.
func sameShape(a, b string) bool {
	x, y := scanner{s: trimV(a)}, scanner{s: trimV(b)}
	for first := true; ; first = false {
		x.next(padded)
		y.next(padded)
		word, other := x.class == wordClass, y.class == wordClass
		switch {
		case first && word != other:
			return false
		case x.class == noClass && other && aside(y.text), y.class == noClass && word && aside(x.text):
			return false
		case x.compare(&y) != 0:
			return !word || !other || len(x.text) == 1 && len(y.text) == 1
		case x.i == len(x.s) && y.i == len(y.s):
			return true
		}
	}
}

// aside says whether a word behind a version begins what is no part of it.
func aside(word string) bool {
	return strings.EqualFold(word, "build") || strings.EqualFold(word, "hw")
}

// ErrRange is what [ParseVers] and [ParseNative] return for what they cannot
// read.
var ErrRange = errors.New("not a range of versions")

// A constraint is a comparison with one version.
type constraint struct {
	op      string // "=", "!=", "<", "<=", ">", ">="
	version string
}

func (c constraint) interval() Interval {
	switch c.op {
	case "<", "<=":
		return Interval{High: c.version, HighOpen: c.op == "<"}
	case ">", ">=":
		return Interval{Low: c.version, LowOpen: c.op == ">"}
	}
	return Interval{Low: c.version, High: c.version}
}

// cutOperator cuts a comparison off the front; none is "".
func cutOperator(s string) (op, rest string) {
	for _, op := range [...]string{"<=", ">=", "!=", "==", "=<", "=>", "<", ">", "=", "≤", "≥"} {
		if rest, ok := strings.CutPrefix(s, op); ok {
			switch op {
			case "=<", "≤":
				op = "<="
			case "=>", "≥":
				op = ">="
			case "==":
				op = "="
			}
			return op, strings.TrimSpace(rest)
		}
	}
	return "", s
}

// versRange is vers:'s reading of a list of comparisons: in the order of their
// versions, a lower bound goes on to the next upper bound; of several lower
// bounds in a row the first counts, of several upper ones the last. What is
// named by "!=" is left out.
func versRange(s Scheme, cs []constraint) Range {
	cs = slices.Clone(cs)
	slices.SortStableFunc(cs, func(a, b constraint) int {
		if c := s.Compare(a.version, b.version); c != 0 {
			return c
		}
		return compareInt(versOrder(a.op), versOrder(b.op))
	})
	var in []Interval
	open, bounded := false, false // a lower bound waits for its upper one; there was a bound
	var low Interval
	for n, c := range cs {
		switch c.op {
		case "=":
			in = append(in, c.interval())
		case ">", ">=":
			if !open {
				low, open = c.interval(), true
			}
			bounded = true
		case "<", "<=":
			last := true
			for _, d := range cs[n+1:] {
				if d.op[0] == '<' {
					last = false
				} else if d.op[0] == '!' || d.op[0] == '=' {
					continue
				}
				break
			}
			bounded = true
			if !last {
				continue
			}
			if !open {
				low = Interval{}
			}
			low.High, low.HighOpen = c.version, c.op == "<"
			in = append(in, low)
			low, open = Interval{}, false
		}
	}
	if open {
		in = append(in, low)
	}
	if !bounded && len(in) == 0 {
		in = append(in, Interval{})
	}
	return NewRange(s, in...).Intersect(s.without(cs))
}

// versOrder puts comparisons with one version in the order of where they cut.
func versOrder(op string) int {
	return slices.Index([]string{"<", ">=", "=", "!=", "<=", ">"}, op)
}

// without returns all versions but those that "!=" names; the comparisons are
// in order.
func (s Scheme) without(cs []constraint) Range {
	in, last := []Interval(nil), Interval{}
	for _, c := range cs {
		if c.op == "!=" {
			last.High, last.HighOpen = c.version, true
			in = append(in, last)
			last = Interval{Low: c.version, LowOpen: true}
		}
	}
	return NewRange(s, append(in, last)...)
}

// ParseVers reads a range as the package-url project's "vers" specification
// writes it: "vers:npm/>=1.0.0|<2.0.0". Comparisons may come in any order.
func ParseVers(text string) (Range, error) {
	name, list, ok := strings.Cut(strings.TrimPrefix(text, "vers:"), "/")
	if !ok || len(text) > maxRange || !strings.HasPrefix(text, "vers:") {
		return Range{}, ErrRange
	}
	list = strings.TrimSpace(list)
	switch {
	case list == "*" && strings.EqualFold(name, "all"):
		return Every(Generic), nil
	case list == "*" && strings.EqualFold(name, "none"):
		return Range{}, nil
	}
	s, ok := SchemeOf(name)
	if !ok {
		return Range{}, ErrRange
	}
	if list == "*" {
		return Every(s), nil
	}
	var cs []constraint
	for part := range strings.SplitSeq(strings.Trim(list, "|"), "|") {
		op, v := cutOperator(strings.TrimSpace(part))
		if v == "*" {
			return Range{}, ErrRange
		}
		v, err := url.PathUnescape(v)
		if err != nil || v == "" {
			return Range{}, ErrRange
		}
		if op == "" {
			op = "="
		}
		cs = append(cs, constraint{op, v})
	}
	return versRange(s, cs), nil
}

// Vers returns the range in its canonical form; that of no version is
// "vers:none/*", which has no scheme. [ParseVers] reads it back.
func (r Range) Vers() string {
	if len(r.Intervals) == 0 {
		return "vers:none/*"
	}
	var b strings.Builder
	b.WriteString("vers:" + r.Scheme.String() + "/")
	put := func(op, v string) {
		if b.String()[b.Len()-1] != '/' {
			b.WriteByte('|')
		}
		b.WriteString(op)
		escapeVers(&b, v)
	}
	for n, i := range r.Intervals {
		after := n > 0 && i.Low != "" && i.LowOpen && r.Intervals[n-1].HighOpen && r.Scheme.Compare(r.Intervals[n-1].High, i.Low) == 0
		before := n+1 < len(r.Intervals) && i.High != "" && i.HighOpen && r.Intervals[n+1].LowOpen && r.Scheme.Compare(i.High, r.Intervals[n+1].Low) == 0
		switch {
		case i.Low == "" && i.High == "":
			b.WriteByte('*')
			continue
		case i.Low != "" && i.High != "" && r.Scheme.Compare(i.Low, i.High) == 0:
			put("", i.Low)
			continue
		}
		switch {
		case i.Low == "" || after:
		case i.LowOpen:
			put(">", i.Low)
		default:
			put(">=", i.Low)
		}
		switch {
		case i.High == "":
		case before:
			put("!=", i.High)
		case i.HighOpen:
			put("<", i.High)
		default:
			put("<=", i.High)
		}
	}
	return b.String()
}

func escapeVers(b *strings.Builder, v string) {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(v); i++ {
		if c := v[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("%|/<>=!*,?#", c) >= 0 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
}

// String returns the range for people: "before 2.2.0", "1.0 to 1.4, or 2.1".
func (r Range) String() string {
	if len(r.Intervals) == 0 {
		return "no version"
	}
	parts := make([]string, len(r.Intervals))
	for n, i := range r.Intervals {
		switch low, high := i.Low != "", i.High != ""; {
		case !low && !high:
			parts[n] = "all versions"
		case !low && i.HighOpen:
			parts[n] = "before " + i.High
		case !low:
			parts[n] = i.High + " and earlier"
		case !high && i.LowOpen:
			parts[n] = "after " + i.Low
		case !high:
			parts[n] = i.Low + " and later"
		case r.Scheme.Compare(i.Low, i.High) == 0:
			parts[n] = i.Low
		default:
			from := "from "
			if i.LowOpen {
				from = "after "
			}
			to := " to "
			if i.HighOpen {
				to = " and before "
			}
			parts[n] = strings.TrimPrefix(from+i.Low+to+i.High, map[bool]string{true: "from "}[!i.LowOpen && !i.HighOpen])
		}
	}
	if n := len(parts) - 1; n > 0 {
		parts[n] = "or " + parts[n]
	}
	return strings.Join(parts, ", ")
}
