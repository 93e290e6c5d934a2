// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A Version is the numbers of a version (update-management 4.4): 1.2.3 is 1, 2, 3;
// 1.2-rc.3 is 1, 2, -1, 3, and -2 is beta, -3 alpha.
type Version []int64

// String writes the version as people do.
func (v Version) String() string {
	var b strings.Builder
	for i, n := range v {
		switch name := map[int64]string{-1: "rc", -2: "beta", -3: "alpha"}[n]; {
		case name != "":
			b.WriteString("-" + name)
		case i > 0:
			b.WriteString("." + strconv.FormatInt(n, 10))
		default:
			b.WriteString(strconv.FormatInt(n, 10))
		}
	}
	return b.String()
}

func (v Version) append(dst []byte) []byte {
	dst = cbor.AppendArray(dst, len(v))
	for _, n := range v {
		dst = cbor.AppendInt(dst, n)
	}
	return dst
}

func (r *reader) version() (Version, error) {
	at := r.Off()
	n := r.Array()
	if err := r.count(n, 1, maxVersion); err != nil {
		return nil, err
	}
	v := make(Version, n)
	for i := range v {
		v[i] = r.Int()
	}
	if r.Err() == nil && v[0] < 0 {
		return nil, r.bad(at, ErrStructure, "a version that begins with a pre-release")
	}
	return v, r.err()
}

// A Comparison is how a version is compared.
type Comparison uint8

// The comparisons.
const (
	Greater      Comparison = 1
	GreaterEqual Comparison = 2
	Equal        Comparison = 3
	LesserEqual  Comparison = 4
	Lesser       Comparison = 5
)

// String is the sign that people write.
func (c Comparison) String() string {
	return [...]string{"?", ">", ">=", "=", "<=", "<"}[min(int(c), 5)]
}

// A VersionMatch is what a version has to be: on which side of Value.
type VersionMatch struct {
	Comparison Comparison
	Value      Version
}

// String is such as ">= 1.2".
func (m VersionMatch) String() string { return m.Comparison.String() + " " + m.Value.String() }

// Match reports whether a version is as it has to be. As many numbers count as Value
// has, so that "= 1" matches 1.4; a number that v lacks is zero.
func (m VersionMatch) Match(v Version) bool {
	c := 0
	for i, want := range m.Value {
		have := int64(0)
		if i < len(v) {
			have = v[i]
		}
		if c = cmp.Compare(have, want); c != 0 {
			break
		}
	}
	switch m.Comparison {
	case Greater:
		return c > 0
	case GreaterEqual:
		return c >= 0
	case Equal:
		return c == 0
	case LesserEqual:
		return c <= 0
	case Lesser:
		return c < 0
	}
	return false
}

func (m VersionMatch) append(dst []byte) []byte {
	return m.Value.append(cbor.AppendUint(cbor.AppendArray(dst, 2), uint64(m.Comparison)))
}

func (r *reader) versionMatch() (VersionMatch, error) {
	at := r.Off()
	if r.Array() != 2 {
		return VersionMatch{}, r.bad(at, ErrStructure, "a comparison and a version")
	}
	c := r.Uint()
	if c < uint64(Greater) || c > uint64(Lesser) {
		return VersionMatch{}, r.bad(at, ErrUnsupported, "comparison of versions")
	}
	v, err := r.version()
	return VersionMatch{Comparison(c), v}, err
}
