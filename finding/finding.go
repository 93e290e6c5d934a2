// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package finding has the noun of what is wrong: [Finding], with its sightings,
// harm, decision and advice, and the one table of kinds.
//
// A finding carries no patient data: kinds of field and counts of subjects only.
//
// This API is stable.
package finding

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
)

// A Decision is what to do about a finding, in the words of CISA's SSVC. The
// order is the order of urgency.
type Decision uint8

// The decisions.
const (
	Track     Decision = iota // no action now; look again when something changes
	TrackStar                 // track closely; remedy within the usual maintenance
	Attend                    // a supervisor's attention; remedy sooner than usual
	Act                       // leadership's attention; remedy as soon as possible
)

var decisions = [...]string{"track", "track*", "attend", "act"}

func (d Decision) String() string {
	if int(d) < len(decisions) {
		return decisions[d]
	}
	return ""
}

// ParseDecision is the inverse of [Decision.String].
func ParseDecision(s string) (Decision, bool) {
	i := slices.Index(decisions[:], s)
	return Decision(max(i, 0)), i >= 0
}

// An SSVC holds the answers behind a decision, in the words of the tables of
// CISA (decision) and CERT/CC (deployer action).
type SSVC struct {
	Exploitation     string // none, public poc, active
	Automatable      string // no, yes
	TechnicalImpact  string // partial, total
	MissionWellBeing string // low, medium, high
	Exposure         string // small, controlled, open
	HumanImpact      string // low, medium, high, very high
	Action           string // the deployer tree's answer: defer, scheduled, out-of-cycle, immediate
	From             Sources
}

// A Source is where an answer of SSVC comes from. "" is the kind of finding, or
// what every finding has: the harm for mission and well-being and human impact,
// the place for exposure.
type Source string

// The sources of answers about a CVE.
const (
	FromKEV    Source = "KEV"    // CISA's catalogue lists it, or a document says so
	FromADP    Source = "ADP"    // CISA's container in the CVE's record
	FromCVSS   Source = "CVSS"   // the worst vector of Finding.CVSS
	FromRubric Source = "rubric" // the vector that follows from Finding.Rubric
)

// Sources say where those answers come from that can come from several places.
type Sources struct {
	Exploitation, Automatable, TechnicalImpact Source
}

// A Score is a CVSS score as published.
type Score struct {
	Version string // 2.0, 3.0, 3.1, 4.0
	Vector  string
	Base    float64 // 0 to 10; negative when none was published or could be worked out
	Source  string  // whose it is: NVD, a manufacturer, a coordinator
}

// MaxSightings is how many sightings a finding keeps: the first in the order of
// time, input and packet. All are counted.
const MaxSightings = 20

// A Sighting is a place to look.
type Sighting struct {
	Time   int64  // nanoseconds since 1970-01-01 UTC
	Input  int    // index into the inputs of the assessment
	Packet uint64 // counted from 1 within the input, as Wireshark does
	Offset int    // bytes from the start of the frame
	Note   string // what is to be seen there, in words of ours

	Capture string `json:",omitempty"` // what the input is called, where the inputs are not at hand: at a server
}

// Less orders sightings by time, input, packet and offset, and places in a
// document, which have no packet, by what is to be seen there.
func (s Sighting) Less(t Sighting) bool {
	switch {
	case s.Time != t.Time:
		return s.Time < t.Time
	case s.Input != t.Input:
		return s.Input < t.Input
	case s.Packet != t.Packet:
		return s.Packet < t.Packet
	case s.Offset != t.Offset:
		return s.Offset < t.Offset
	case s.Packet == 0 && s.Note != t.Note:
		return s.Note < t.Note
	}
	return s.Capture < t.Capture
}

// The certainties of a match.
const (
	Exact  = "exact"
	Likely = "likely"
	Review = "review" // a person has to look: it is not claimed, and not left out
)

// A Finding is a statement that something is wrong with a device or product.
// The same cause on the same device, or on one gateway's link, is one finding
// however often it is seen.
type Finding struct {
	ID         string
	Kind       Kind
	Title      string
	Device     string // device id, or "" when it is about a product
	Product    string
	Peer       string         // the other side of a link that the finding is about, or ""
	Peers      []string       // all other sides, where there are several; Peer is the first
	Protocol   string         // package name under proto/ of what was said on that link, or ""
	Therapy    device.Therapy // of the device whose harm it has, else of the other side
	Harm       device.Harm
	Privacy    bool // what it lets happen is disclosure, not injury
	Decision   Decision
	SSVC       SSVC
	Confidence device.Confidence
	Certainty  string // of a match, such as of CVE by a shape: [Exact], [Likely], [Review]; "" for what was seen on a wire
	State      string // open, acknowledged, mitigated, fixed, false-positive
	Count      uint64 // of all sightings
	Subjects   int    // patients concerned, for findings about records
	First      int64  // nanoseconds since 1970-01-01 UTC; 0 for what was never seen, only read of
	Last       int64
	Advisories []string
	CVE        []string
	Sightings  []Sighting
	Advice     string

	// Of a known weakness, from the documents that name it.
	Component string   // name and version of the part that has it, or ""
	CWE       []string // as published; the kind's when there are none
	CVSS      []Score
	Rubric    string   // answers to MITRE's rubric for medical devices, as a vector
	EPSS      float64  // probability of exploitation within 30 days; 0 is unknown
	KEV       bool     // CISA lists it as used in attacks
	Why       []string // reasons of the match, in plain words
	Exposed   string   // how the device was seen to be exposed: "seen talking in clear (hl7)"; "" when nothing is known
	Opinions  []string // what others than the product's supplier say of it (VEX)
}

// IDOf returns the stable id of a finding: its kind, and 80 bits of SHA-256
// over what makes it this finding and no other. The key of a pseudonym is
// never among these.
func IDOf(kind Kind, scope ...string) string {
	sum := sha256.Sum256([]byte(kind.String() + "\x00" + strings.Join(scope, "\x00")))
	return kind.String() + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// Add counts one sighting and keeps it when it is among the first.
func (f *Finding) Add(s Sighting) {
	f.Count++
	if f.First == 0 || s.Time != 0 && s.Time < f.First { // a document has no time
		f.First = s.Time
	}
	f.Last = max(f.Last, s.Time)
	i, same := slices.BinarySearchFunc(f.Sightings, s, func(a, b Sighting) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
	if same || i == MaxSightings {
		return
	}
	if len(f.Sightings) == MaxSightings {
		f.Sightings = f.Sightings[:MaxSightings-1]
	}
	f.Sightings = slices.Insert(f.Sightings, i, s)
}

// MarshalText returns the word.
func (d Decision) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a word.
func (d *Decision) UnmarshalText(b []byte) (err error) {
	var ok bool
	if *d, ok = ParseDecision(string(b)); !ok {
		err = fmt.Errorf("decision %q is not known", b)
	}
	return err
}

// MarshalText returns the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name.
func (k *Kind) UnmarshalText(b []byte) (err error) {
	var ok bool
	if *k, ok = ParseKind(string(b)); !ok && len(b) > 0 {
		err = fmt.Errorf("kind of finding %q is not known", b)
	}
	return err
}
