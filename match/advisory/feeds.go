// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A KEVEntry is one row of CISA's catalogue of known exploited vulnerabilities.
type KEVEntry struct {
	CVE        string
	Vendor     string
	Product    string
	Name       string
	Added      time.Time
	Due        time.Time // for federal agencies
	Action     string
	Ransomware bool // known to be used in ransomware campaigns
	CWE        []string
}

// ReadKEV reads the catalogue (JSON), by CVE. One bad row refuses the whole:
// a list that says what is exploited must not be read in part.
func ReadKEV(r io.Reader) (map[string]KEVEntry, error) {
	b, err := readAll(r)
	if err != nil {
		return nil, err
	}
	var t tree
	end, err := t.parse(b, 0, true)
	if err != nil {
		return nil, err
	}
	if space(b, end) != len(b) {
		return nil, &Error{"", ErrSyntax}
	}
	all := map[string]KEVEntry{}
	t.root().need("catalogVersion")
	for v := t.root().need("vulnerabilities").list(); v.ok(); v = v.next() {
		e := KEVEntry{
			CVE: v.need("cveID").str(), Vendor: v.get("vendorProject").str(), Product: v.get("product").str(), Name: v.get("vulnerabilityName").str(),
			Added: v.need("dateAdded").when(), Due: v.get("dueDate").when(), Action: v.get("requiredAction").str(),
			Ransomware: v.get("knownRansomwareCampaignUse").is("Known"), CWE: v.get("cwes").strs(),
		}
		if !isCVE(e.CVE) {
			v.get("cveID").fail(ErrInvalid)
		}
		if e.Added.IsZero() {
			v.get("dateAdded").fail(ErrInvalid)
		}
		all[e.CVE] = e
	}
	if t.err != nil {
		return nil, t.err
	}
	return all, nil
}

// EPSS holds the scores of one day: how likely attempts to exploit a
// vulnerability are within 30 days. What is not in it is unknown, not zero. It
// may be read by several goroutines.
type EPSS struct {
	Model  string    // "v2025.03.14", or ""
	Date   time.Time // of the scores
	scores []epssScore
}

type epssScore struct {
	id                      uint64 // year and number of the CVE
	probability, percentile float64
}

// Len returns the number of scores.
func (e *EPSS) Len() int { return len(e.scores) }

// Score returns probability and percentile of a CVE, both from 0 to 1.
func (e *EPSS) Score(cve string) (probability, percentile float64, ok bool) {
	id, ok := cveNumber(cve)
	if !ok {
		return 0, 0, false
	}
	i, ok := slices.BinarySearchFunc(e.scores, id, func(s epssScore, id uint64) int { return cmp.Compare(s.id, id) })
	if !ok {
		return 0, 0, false
	}
	return e.scores[i].probability, e.scores[i].percentile, true
}

func cveNumber(cve string) (uint64, bool) {
	rest, ok := strings.CutPrefix(cve, "CVE-")
	year, number, _ := strings.Cut(rest, "-")
	y, err1 := strconv.ParseUint(year, 10, 16)
	n, err2 := strconv.ParseUint(number, 10, 40)
	return y<<40 | n, ok && len(number) >= 4 && err1 == nil && err2 == nil
}

// maxScores bounds EPSS: some 300,000 CVEs are scored today.
const maxScores = 4 << 20 // lines

var errRow = errors.New("not a CVE and two numbers from 0 to 1")

// ReadEPSS reads a day's scores as FIRST publishes them: CSV, plain or
// compressed with gzip, with its comment line of model and date or without.
// Columns beyond the third do not count.
func ReadEPSS(r io.Reader) (*EPSS, error) {
	br := bufio.NewReader(r)
	if magic, _ := br.Peek(2); string(magic) == string(gzipMagic) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, &Error{"", err}
		}
		br = bufio.NewReader(z)
	}
	e := &EPSS{}
	heading := false
	for line := 1; ; line++ {
		// A row is some 40 bytes; ReadSlice refuses what is longer than its 4,096.
		b, err := br.ReadSlice('\n')
		if err != nil && err != io.EOF {
			return nil, &Error{"line " + strconv.Itoa(line), err}
		}
		text := strings.TrimRight(string(b), "\r\n")
		switch {
		case line > maxScores:
			return nil, &Error{"line " + strconv.Itoa(line), ErrTooMany}
		case text == "":
		case strings.HasPrefix(text, "#"):
			e.comment(text[1:])
		case !heading:
			if heading = strings.HasPrefix(text, "cve,epss,percentile"); !heading {
				return nil, &Error{"line " + strconv.Itoa(line), errors.New("not the heading of EPSS")}
			}
		case !e.row(text):
			return nil, &Error{"line " + strconv.Itoa(line), errRow}
		}
		if err == io.EOF {
			break
		}
	}
	if !heading {
		return nil, &Error{"", ErrMissing}
	}
	slices.SortStableFunc(e.scores, func(a, b epssScore) int { return cmp.Compare(a.id, b.id) })
	return e, nil
}

// comment reads "model_version:v2025.03.14,score_date:2025-08-25T12:55:00Z".
func (e *EPSS) comment(text string) {
	for _, field := range strings.Split(text, ",") {
		switch name, v, _ := strings.Cut(field, ":"); strings.TrimSpace(name) {
		case "model_version":
			e.Model = v
		case "score_date":
			for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02"} {
				if t, err := time.Parse(layout, v); err == nil {
					e.Date = t.UTC()
					break
				}
			}
		}
	}
}

func (e *EPSS) row(text string) bool {
	cve, rest, _ := strings.Cut(text, ",")
	first, rest, _ := strings.Cut(rest, ",")
	second, _, _ := strings.Cut(rest, ",")
	id, ok := cveNumber(cve)
	p, err1 := strconv.ParseFloat(first, 64)
	q, err2 := strconv.ParseFloat(second, 64)
	if !ok || err1 != nil || err2 != nil || !(p >= 0 && p <= 1) || !(q >= 0 && q <= 1) {
		return false
	}
	e.scores = append(e.scores, epssScore{id, p, q})
	return true
}
