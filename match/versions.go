// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/version"
)

var (
	versionPrefix = lazyregexp.New(`(?i)^\s*(software|firmware|sw|fw)?\s*(version|ver\.|ver|release|rev\.|rev|revision|v\.)?\s*`)
	versionWord   = lazyregexp.New(`(?i)\s*\b(software|firmware|sw|fw)?\s*(version|ver\.|ver|release|rev\.|rev|revision)$`)
	train         = lazyregexp.New(`^[A-Za-z]\d`)
)

// cleaned is a version without the word "version" before it.
func cleaned(v string) string {
	return strings.TrimSpace(v[len(versionPrefix().FindString(v)):])
}

// versions says whether a version is among those that a statement means, how
// sure that is, and why. Dates are not versions: see [Index.made].
func versions(p *advisory.Product, v string) (c Certainty, why string, ok bool) {
	t := p.Text
	if p.HasRange {
		t = version.Text{Kind: version.Versions, Range: p.Range, Why: p.Range.String(), Condition: t.Condition}
		if len(p.Range.Intervals) == 1 && p.Range.Intervals[0] == (version.Interval{}) {
			t.Kind = version.All
		}
	}
	if v = cleaned(v); v != "" && slices.Contains(p.Versions, v) {
		return Exact, v + " is listed", true
	}
	t.Why = strings.TrimSuffix(t.Why, "; if what was added holds") // said below
	c = Exact
	if t.Condition != "" {
		c = Review
	}
	switch t.Kind {
	case version.All, version.Dates:
		why = "every version"
	case version.Versions:
		switch {
		case len(t.Range.Intervals) == 0 && len(p.Versions) > 0:
			return "", "", false
		case v == "":
			return Review, "affected is " + t.Why + ", and which version this is, is not written down", true
		case !comparable(t.Range, v):
			return Review, fmt.Sprintf("affected is %s, which %q cannot be compared with", t.Why, v), true
		case !t.Range.Contains(v):
			return "", "", false
		}
		why = "affected is " + t.Why + ", and this is " + v
	default:
		if p.Version == "" && t.Condition == "" && len(p.Serials)+len(p.Lots) > 0 {
			return c, "", true // the units say it: see [Index.serials]
		}
		for named := range strings.SplitSeq(p.Version, "|") {
			if v != "" && strings.EqualFold(cleaned(strings.TrimSpace(named)), v) {
				return c, "the advisory names " + v, true
			}
		}
		says := strings.TrimSuffix(fmt.Sprintf("the advisory says %q: %s", p.Version, t.Why), ": ")
		if p.Version == "" && t.Why != "" {
			says = t.Why // "the record names commits, not versions"
		}
		return Review, says, true
	}
	if t.Condition != "" {
		why += "; only if " + t.Condition
	}
	return c, why, true
}

// ofProduct is [versions] for the version of a whole product, which a person may
// have written down in part: "2" may be 2.3.6, and may be 2.4.
func ofProduct(p *advisory.Product, v string) (c Certainty, why string, ok bool) {
	r := p.Text.Range
	if p.HasRange {
		r = p.Range
	}
	v = cleaned(v)
	if !p.HasRange && p.Text.Kind != version.Versions || v == "" || slices.Contains(p.Versions, v) || !partly(r, v) {
		return versions(p, v)
	}
	says := p.Text.Why
	if p.HasRange {
		says = r.String()
	}
	return Review, fmt.Sprintf("affected is %s, and of this no more than %s is written down", says, v), true
}

// partly reports whether some of the versions that begin with v are within the
// range, and some are not.
func partly(r version.Range, v string) bool {
	if r.Scheme != version.Generic && r.Scheme != version.Semver || !comparable(r, v) {
		return false
	}
	stem := strings.ToLower(strings.TrimLeft(v, "vV")) + "."
	longer := func(bound string) bool {
		return strings.HasPrefix(strings.ToLower(strings.TrimLeft(cleaned(bound), "vV")), stem)
	}
	if !slices.ContainsFunc(r.Intervals, func(i version.Interval) bool { return longer(i.Low) || longer(i.High) }) {
		return false
	}
	all := version.NewRange(r.Scheme, version.Interval{Low: v, High: v + ".99999999999"})
	both := r.Intersect(all)
	return len(both.Intervals) > 0 && !both.Equal(all)
}

// comparable reports whether a version and the bounds of a range can be put in
// an order. A letter with a number behind it names a row of versions: L81 is
// not older than U61.
func comparable(r version.Range, v string) bool {
	if !r.Comparable(v) {
		return false
	}
	if r.Scheme != version.Generic || !train().MatchString(v) || v[0] == 'v' || v[0] == 'V' {
		return true
	}
	for _, i := range r.Intervals {
		for _, bound := range []string{i.Low, i.High} {
			if train().MatchString(bound) && !strings.EqualFold(bound[:1], v[:1]) {
				return false
			}
		}
	}
	return true
}
