// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cpe

import "strings"

// A Relation is how the sets of products that two names mean lie to each
// other, NIST IR 7696 §6.2.
type Relation uint8

// The relations of a source to a target.
const (
	Undefined Relation = iota // the standard does not say: the target has wildcards
	Disjoint
	Subset
	Superset
	Equal
)

// CompareAttribute relates one value of a source to that of a target, table 6-2.
// Two equal values are equal even with wildcards, where the table says nothing.
func CompareAttribute(source, target string) Relation {
	switch {
	case source == target:
		return Equal
	case wild(target):
		return Undefined
	case source == Any:
		return Superset
	case target == Any:
		return Subset
	case source == NotApplicable || target == NotApplicable:
		return Disjoint
	case wild(source) && matches(source, target):
		return Superset
	}
	return Disjoint
}

// Compare relates two names, table 6-4: disjoint if any attribute is, else
// equal, a superset or a subset if all attributes are so or equal.
func Compare(source, target Name) Relation {
	subset, superset, undefined := false, false, false
	for i := range source {
		switch CompareAttribute(source[i], target[i]) {
		case Disjoint:
			return Disjoint
		case Undefined:
			undefined = true
		case Subset:
			subset = true
		case Superset:
			superset = true
		}
	}
	switch {
	case undefined || subset && superset:
		return Undefined
	case subset:
		return Subset
	case superset:
		return Superset
	}
	return Equal
}

// Overlap says whether a statement about the source can be one about the
// target: no attribute is disjoint or, with wildcards in both, undefined, and
// the target names a vendor or product, which the source names as well unless
// it names neither. A version that the statement gives as a range is the
// caller's to compare; the source then has any.
func Overlap(source, target Name) bool {
	vendor, product := target[Vendor] != Any, target[Product] != Any
	names := source[Vendor] != Any || source[Product] != Any
	shares := vendor && source[Vendor] != Any || product && source[Product] != Any
	if !vendor && !product || names && !shares {
		return false
	}
	for i := range source {
		if source[i] == Any || target[i] == Any {
			continue
		}
		if r := CompareAttribute(source[i], target[i]); r == Disjoint || r == Undefined {
			return false
		}
	}
	return true
}

// wild says whether a value has a wildcard.
func wild(v string) bool {
	if v == "" {
		return false
	}
	if v[0] == '*' || v[0] == '?' {
		return true
	}
	n := len(v) - 1
	return (v[n] == '*' || v[n] == '?') && !quoted(v, n)
}

// quoted says whether the byte at n has an odd number of backslashes before it.
func quoted(v string, n int) bool {
	i := n
	for i > 0 && v[i-1] == '\\' {
		i--
	}
	return (n-i)%2 == 1
}

// cutWildcards cuts the wildcards off both ends.
func cutWildcards(v string) (before, core, after string) {
	i := 0
	for i < len(v) && (v[i] == '*' || v[i] == '?') {
		i++
	}
	j := len(v)
	for j > i && (v[j-1] == '*' || v[j-1] == '?') && !quoted(v, j-1) {
		j--
	}
	return v[:i], v[i:j], v[j:]
}

// matches says whether a value without wildcards is one that the pattern means:
// a star is any characters, each question mark one or none (§7.3's algorithm
// counts at most as many).
func matches(pattern, v string) bool {
	before, core, after := cutWildcards(pattern)
	fits := func(wildcards string, n int) bool {
		return strings.IndexByte(wildcards, '*') >= 0 || n <= len(wildcards)
	}
	total := characters(v)
	tail := total - characters(core)
	for i, n := 0, 0; i <= len(v); n++ {
		if !fits(before, n) {
			return false
		}
		if strings.HasPrefix(v[i:], core) && fits(after, tail-n) {
			return true
		}
		if i < len(v) && v[i] == '\\' {
			i++
		}
		i++
	}
	return false
}

// characters counts the characters of a value; a quoted one is one.
func characters(v string) int {
	n := 0
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' {
			i++
		}
		n++
	}
	return n
}
