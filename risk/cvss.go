// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"errors"
	"fmt"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"
)

// A Level is how much is lost of confidentiality, integrity or availability:
// none, some (low, partial), all (high, complete).
type Level uint8

// The levels.
const (
	NoLoss Level = iota
	SomeLoss
	AllLoss
)

// A CVSS is what a vector says, in the words of all versions: its base score,
// what SSVC asks that a vector can answer, and what is lost. Where one system
// is weak and another suffers (4.0), the greater loss counts.
type CVSS struct {
	Version string  // 2.0, 3.0, 3.1, 4.0
	Vector  string  // in the order and spelling of its standard
	Base    float64 // of the base metrics alone
	Score   float64 // of all metrics of the vector

	Confidentiality, Integrity, Availability Level

	// Automatable: reached over a network at any time, by nobody in particular,
	// with nobody's help (AV:N, AC:L, PR:N or Au:N, UI:N, AT:N); 4.0 can say so
	// itself (AU).
	Automatable bool
	// Total: who can read everything and change everything has control of it,
	// whether he can stop it or not.
	Total bool
	// Safety: the vector says that people can be hurt (4.0: S:P, MSI:S, MSA:S).
	Safety bool
	// Exploitation counts where Matured: 4.0's E:A is an attack, proof of concept
	// and better (E:P, POC, F, H) is public, E:U is neither.
	Exploitation Exploitation
	Matured      bool
}

// maxVector bounds a vector: the longest possible one of 4.0 has 214 bytes.
const maxVector = 256

// base are the metrics that a vector has to have. Of a version and not here are
// temporal, threat, environmental and supplemental ones.
var base = map[string][]string{
	"2.0": {"AV", "AC", "Au", "C", "I", "A"},
	"3.0": {"AV", "AC", "PR", "UI", "S", "C", "I", "A"},
	"3.1": {"AV", "AC", "PR", "UI", "S", "C", "I", "A"},
	"4.0": {"AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"},
}

// metrics is what the four versions of the module have in common.
type metrics interface {
	Get(metric string) (string, error)
	Set(metric, value string) error
	Vector() string
	BaseScore() float64
	TemporalScore() float64
	EnvironmentalScore() float64
}

// version4 scores 4.0 as the others are scored: it has one score for all there
// is.
type version4 struct{ *gocvss40.CVSS40 }

func (v version4) BaseScore() float64 {
	var alone gocvss40.CVSS40
	for _, name := range base["4.0"] {
		if value, err := v.Get(name); err != nil || alone.Set(name, value) != nil {
			return v.Score()
		}
	}
	return alone.Score()
}

func (v version4) TemporalScore() float64      { return v.Score() }
func (v version4) EnvironmentalScore() float64 { return v.Score() }

// metricsOf returns metrics of a version that are all at their first value.
func metricsOf(version string) metrics {
	switch version {
	case "2.0":
		return new(gocvss20.CVSS20)
	case "3.0":
		return new(gocvss30.CVSS30)
	case "3.1":
		return new(gocvss31.CVSS31)
	}
	return version4{new(gocvss40.CVSS40)}
}

// ParseCVSS reads a vector of CVSS 2.0 (in parentheses or not), 3.0, 3.1 or
// 4.0. The metrics may come in any order: standards differ in that, and who
// publishes does not always follow. The error tells the metric, not the input.
func ParseCVSS(vector string) (CVSS, error) {
	if len(vector) > maxVector {
		return CVSS{}, fmt.Errorf("cvss: %d bytes, more than %d", len(vector), maxVector)
	}
	version, rest := "2.0", strings.TrimSuffix(strings.TrimPrefix(vector, "("), ")")
	if s, ok := strings.CutPrefix(vector, "CVSS:"); ok {
		version, rest, _ = strings.Cut(s, "/")
		if base[version] == nil || version == "2.0" {
			return CVSS{}, errors.New("cvss: none of versions 2.0, 3.0, 3.1 and 4.0")
		}
	}
	m := metricsOf(version)
	var all given
	for part := range strings.SplitSeq(strings.TrimSuffix(rest, "/"), "/") {
		name, value, _ := strings.Cut(part, ":")
		switch err := m.Set(name, value); {
		case err != nil:
			if _, err = m.Get(name); err != nil {
				return CVSS{}, fmt.Errorf("cvss: metric %d is none of version %s", all.n+1, version)
			}
			return CVSS{}, fmt.Errorf("cvss: %s has no such value", name)
		case all.value(name) != "":
			return CVSS{}, fmt.Errorf("cvss: %s comes twice", name)
		}
		all.metrics[all.n] = [2]string{name, value} // which is in bounds: each of the version once
		all.n++
	}
	others := all.n // that are neither base nor temporal
	for _, name := range base[version] {
		if all.value(name) == "" {
			return CVSS{}, fmt.Errorf("cvss: %s is missing", name)
		}
		others--
	}
	for _, name := range [...]string{"E", "RL", "RC"} {
		others -= index(all.value(name) != "")
	}
	c := CVSS{Version: version, Vector: m.Vector(), Base: m.BaseScore(), Score: m.TemporalScore()}
	// 3.1's environmental formula differs from its base's even where nothing is
	// modified (sections 7.1, 7.3), so it counts only where something is.
	if others > 0 {
		c.Score = m.EnvironmentalScore()
	}
	c.read(all.value)
	return c, nil
}

// given are the metrics that a vector has, at most 4.0's 32.
type given struct {
	metrics [32][2]string
	n       int
}

// value is that of a metric, or "".
func (g *given) value(name string) string {
	for i := range g.metrics[:g.n] {
		if g.metrics[i][0] == name {
			return g.metrics[i][1]
		}
	}
	return ""
}

// read takes out of the metrics what decisions are made of; "" is one that the
// vector does not have.
func (c *CVSS) read(metric func(string) string) {
	loss := func(names ...string) (worst Level) {
		for _, name := range names {
			switch metric(name) {
			case "L", "P":
				worst = max(worst, SomeLoss)
			case "H", "C":
				worst = AllLoss
			}
		}
		return worst
	}
	is := func(name string, values ...string) bool {
		for _, v := range values {
			if metric(name) == v {
				return true
			}
		}
		return false
	}
	c.Confidentiality, c.Integrity, c.Availability = loss("C", "VC", "SC"), loss("I", "VI", "SI"), loss("A", "VA", "SA")
	c.Total = c.Confidentiality == AllLoss && c.Integrity == AllLoss
	if c.Version == "4.0" { // of one system, not a part of each
		c.Total = is("VC", "H") && is("VI", "H") || is("SC", "H") && is("SI", "H")
		c.Safety = is("S", "P") || is("MSI", "S") || is("MSA", "S")
	}
	c.Automatable = is("AV", "N") && is("AC", "L") && is("PR", "N", "") && is("Au", "N", "") && is("UI", "N", "") && is("AT", "N", "")
	switch metric("AU") {
	case "Y":
		c.Automatable = true
	case "N":
		c.Automatable = false
	}
	switch metric("E") {
	case "A":
		c.Exploitation, c.Matured = Active, true
	case "P", "POC", "F", "H":
		c.Exploitation, c.Matured = PublicPoC, true
	case "U":
		c.Matured = true
	}
}

// Rating returns the qualitative rating of a base score: none, low, medium,
// high, critical (CVSS 3.1 section 5, 4.0 section 6). Version 2.0 has no rating
// of its own.
func Rating(base float64) string {
	switch {
	case base >= 9:
		return "critical"
	case base >= 7:
		return "high"
	case base >= 4:
		return "medium"
	case base > 0:
		return "low"
	}
	return "none"
}
