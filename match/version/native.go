// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package version

import (
	"strings"
)

// ParseNative reads a range in the words of the scheme's own tools: npm's
// "^1.2 || 2.x", pip's ">=1,<2", Maven's "[1,2)", a gem's "~> 1.2", dpkg's
// "<< 2", and in any scheme the plain form of advisories and databases,
// ">= 1.0, < 2 || = 3". Nothing, or "*", is every version.
//
// Two rules of package managers are left out, because an advisory means all
// that lies between: that a pre-release needs to be named to be chosen, and that
// an upper bound keeps out its own pre-releases.
func ParseNative(s Scheme, text string) (Range, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxRange {
		return Range{}, ErrRange
	}
	if (s == Maven || s == NuGet) && strings.ContainsAny(text, "[(") {
		return parseBrackets(s, text)
	}
	alternatives := strings.Split(text, "||")
	switch {
	case s == Composer:
		alternatives = strings.Split(strings.ReplaceAll(text, "||", "|"), "|")
	case strings.HasSuffix(text, "+"): // nginx: "1.5.0+, 1.4.1+" are branches
		alternatives = strings.Split(text, ",")
	}
	var in []Interval
	for _, a := range alternatives {
		r, err := parseAll(s, strings.TrimSpace(a))
		if err != nil {
			return Range{}, err
		}
		in = append(in, r.Intervals...)
	}
	return NewRange(s, in...), nil
}

// parseBrackets reads "[1,2),(,0.5],[3]".
func parseBrackets(s Scheme, text string) (Range, error) {
	var in []Interval
	for text != "" {
		n := strings.IndexAny(text, "])")
		if n < 1 || text[0] != '[' && text[0] != '(' {
			return Range{}, ErrRange
		}
		low, high, two := strings.Cut(text[1:n], ",")
		i := Interval{strings.TrimSpace(low), strings.TrimSpace(high), text[0] == '(', text[n] == ')'}
		if !two {
			i.High = i.Low
		}
		if !two && (i.LowOpen || i.HighOpen || i.Low == "") || strings.ContainsAny(text[1:n], "[(") {
			return Range{}, ErrRange
		}
		i.LowOpen, i.HighOpen = i.LowOpen && i.Low != "", i.HighOpen && i.High != ""
		in = append(in, i)
		text = strings.TrimLeft(text[n+1:], ", ")
	}
	return NewRange(s, in...), nil
}

const operators = "<>=!~^"

// parseAll reads comparisons that all must hold, with a comma, "&&" or nothing
// between them.
func parseAll(s Scheme, text string) (Range, error) {
	r := Every(s)
	if low, high, ok := strings.Cut(text, " - "); ok && !strings.ContainsAny(text, operators+",") {
		a, err := comparison(s, ">=", strings.TrimSpace(low))
		if err != nil {
			return r, err
		}
		if s != Composer && s != NPM || strings.Count(high, ".") >= 2 {
			b, err := comparison(s, "<=", strings.TrimSpace(high))
			return a.Intersect(b), err
		}
		b, err := comparison(s, "<=", strings.TrimSpace(high)+".x")
		return a.Intersect(b), err
	}
	text = strings.ReplaceAll(text, "&&", " ")
	for {
		text = strings.TrimLeft(text, " \t\r\n,")
		if text == "" {
			return r, nil
		}
		n := 0
		for n < len(text) && strings.IndexByte(operators, text[n]) >= 0 {
			n++
		}
		op, rest := text[:n], strings.TrimLeft(text[n:], " \t\r\n")
		n = strings.IndexAny(rest, " \t\r\n,")
		if n < 0 {
			n = len(rest)
		}
		v := strings.Trim(rest[:n], `'"`)
		// A version and a comparison may stand without a space: ">=1.0<2.0".
		if m := strings.IndexAny(v, "<>"); m > 0 {
			v, n = v[:m], strings.IndexAny(rest, "<>")
		}
		text = rest[n:]
		if s == Conan && strings.HasPrefix(v, "include_prerelease") {
			continue
		}
		c, err := comparison(s, op, v)
		if err != nil {
			return r, err
		}
		r = r.Intersect(c)
	}
}

// comparison reads one operator and its version.
func comparison(s Scheme, op, v string) (Range, error) {
	if v == "" || len(op) > 3 {
		return Range{}, ErrRange
	}
	between := func(low, high string) (Range, error) {
		return NewRange(s, Interval{Low: low, High: high, HighOpen: true}), nil
	}
	parts, wild := cutWild(v)
	if wild && s != Maven && s != Debian && s != RPM {
		if len(parts) == 0 {
			if op == "<" || op == ">" || op == "!=" {
				return Range{}, ErrRange
			}
			return Every(s), nil
		}
		low, high := strings.Join(parts, "."), bump(parts, len(parts))
		if s == PyPI {
			low, high = low+".dev0", high+".dev0"
		}
		switch op {
		case "", "=", "==", "^", "~", "~>":
			return between(low, high)
		case "!=":
			return NewRange(s, Interval{High: low, HighOpen: true}, Interval{Low: high}), nil
		case "<", ">=":
			return NewRange(s, constraint{op, low}.interval()), nil
		case "<=":
			return NewRange(s, Interval{High: high, HighOpen: true}), nil
		case ">":
			return NewRange(s, Interval{Low: high}), nil
		}
		return Range{}, ErrRange
	}
	end := "" // Conan: the upper bound keeps out what comes before it
	if s == Conan {
		end = "-"
		if op != "" && op[0] != '<' {
			v = strings.TrimSuffix(v, "-")
		}
	}
	switch op {
	case "":
		switch n := len(parts); {
		case s == NuGet: // "Version ranges": a bare version is a minimum
			return NewRange(s, Interval{Low: v}), nil
		case strings.HasSuffix(v, "+"):
			return NewRange(s, Interval{Low: v[:len(v)-1]}), nil
		case s == NPM && n > 0 && n < 3 && strings.Join(parts, ".") == trimV(v):
			return between(v, bump(parts, n))
		}
		return Only(s, v), nil
	case "=", "==", "===":
		return Only(s, v), nil
	case "!=":
		return NewRange(s, Interval{High: v, HighOpen: true}, Interval{Low: v, LowOpen: true}), nil
	case "<", "<=", ">", ">=":
		return NewRange(s, constraint{op, v}.interval()), nil
	case "<<", ">>":
		return NewRange(s, constraint{op[:1], v}.interval()), nil
	}
	if len(parts) == 0 {
		return Range{}, ErrRange
	}
	n := 1
	switch op {
	case "^": // up to the next change of the first number that is not zero
		for n < len(parts) && zeros(parts[n-1]) {
			n++
		}
	case "^>=": // Haskell's PVP: the first two numbers are the major version
		n = min(2, len(parts))
	case "~":
		if n = min(2, len(parts)); s == Composer {
			n = max(1, len(parts)-1)
		}
	case "~>", "~=":
		n = max(1, len(parts)-1)
	default:
		return Range{}, ErrRange
	}
	return between(v, bump(parts, n)+end)
}

// cutWild returns the numbers that a version starts with and whether a
// wildcard follows them: "1.2.x", "1.*", "*".
func cutWild(v string) (parts []string, wild bool) {
	for part := range strings.SplitSeq(trimV(v), ".") {
		if part == "*" || part == "x" || part == "X" {
			return parts, true
		}
		n := run(part, 0, isDigit)
		if n > 0 {
			parts = append(parts, part[:n])
		}
		if n < len(part) || n == 0 {
			break
		}
	}
	return parts, false
}

// bump returns the first n numbers with the last of them one higher.
func bump(parts []string, n int) string {
	digits := []byte("0" + parts[n-1])
	i := len(digits) - 1
	for digits[i] == '9' {
		digits[i] = '0'
		i--
	}
	digits[i]++
	last := string(digits)
	if last[0] == '0' {
		last = last[1:]
	}
	return strings.Join(append(parts[:n-1:n-1], last), ".")
}
