// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package version puts versions in the order of their ecosystem ([Scheme]),
// says which of them a range holds ([Range]), and reads what advisories write
// about versions in prose ([Text]).
//
// A range has one form wherever it comes from: sorted intervals that do not
// touch. That is what "vers:" of the package-url project, npm's carets, Maven's
// brackets, OSV's events and "3.3.1 and below" all become.
//
// This API is stable.
package version

// A Scheme is the rule by which the versions of an ecosystem are compared.
type Scheme uint8

// The schemes. Generic is for what has no rule of its own: numbers as numbers,
// letters as letters.
const (
	Generic Scheme = iota
	Semver
	Go
	NPM
	PyPI
	Maven
	NuGet
	RubyGems
	Debian
	RPM
	Alpine
	OpenSSL
	Composer
	Gentoo
	Arch
	Conan
	CRAN
	Hackage
	Pub
	JVM
	Bitnami
	Date // "2006", "2006-01" or "2006-01-02": of when a unit was made or distributed
)

// An Interval is a stretch of versions. An empty bound is none; a single
// version is [v, v]; the zero Interval holds every version.
type Interval struct {
	Low, High         string
	LowOpen, HighOpen bool // the bound itself is not within
}

// A Range is a set of versions: the union of intervals that are sorted and do
// not touch. Without intervals it holds none.
type Range struct {
	Scheme    Scheme
	Intervals []Interval
}

// A TextKind is what a statement in prose turned out to be.
type TextKind uint8

// The kinds of text.
const (
	Review   TextKind = iota // not understood: a person has to look
	All                      // every version
	Versions                 // [Text.Range] holds versions of software
	Dates                    // [Text.Range] holds when units were made or distributed
)

// A Text is what an advisory says about versions in its own words.
type Text struct {
	Kind      TextKind
	Range     Range
	Models    []string // where it names models or part numbers: "MMT-1711 | MMT-1712"; Kind says which versions of them
	Condition string   // what else must hold, as written; nobody has checked it
	Why       string   // what was understood, or what was not, in a few words
}
