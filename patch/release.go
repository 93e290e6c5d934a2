// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"encoding/hex"
	"errors"
	"time"
)

// A Digest is the SHA-256 of a file: of a SUIT envelope, an image, settings. Zero
// is none.
type Digest [32]byte

// String is the digest in hexadecimal, "" for none.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// MarshalText writes [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Digest{}
		return nil
	}
	if len(b) != hex.EncodedLen(len(d)) {
		return errors.New("a SHA-256 has 64 hexadecimal digits")
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// A Release is a version of a product's firmware, as its maker publishes it.
type Release struct {
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Version      string `json:"version"`
	Sequence     uint64 `json:"sequence"` // of the SUIT manifest; devices never go below what they confirmed
	Envelope     Digest `json:"envelope"`
	Size         int64  `json:"size"` // bytes of the envelope

	Demands Demands `json:"demands"`
	Urgency Urgency `json:"urgency"`
	Learned string  `json:"learned,omitempty"` // date on which the maker learned of what it mends: 2026-11-02

	Advisories []string `json:"advisories,omitempty"` // that it fixes: "ADA-2026-01"
	Recall     string   `json:"recall,omitempty"`     // number of the correction or removal
	Notes      string   `json:"notes,omitempty"`      // for the people who consent, in their words
}

// Product is the release's product as the rest of the house names it.
func (r *Release) Product() string { return r.Manufacturer + " " + r.Model }

// Demands are what has to be so before a release is installed. They are the
// maker's; a hospital raises them and never lowers them.
type Demands struct {
	Hardware []string `json:"hardware"` // revisions that it runs on; one of them, exactly
	From     []string `json:"from"`     // versions that it is installed over; one of them, exactly

	Backup  time.Duration `json:"backup"`            // how long therapy is in backup mode at most
	Keeps   Activity      `json:"keeps"`             // what backup mode goes on giving; 0 is nothing
	Longest time.Duration `json:"longest"`           // the worst case: installed, and rolled back again
	Resume  time.Duration `json:"resume"`            // until when after the switch therapy is seen resumed, settings equal and the self-test passed
	Free    int64         `json:"free,omitempty"`    // bytes to stage in
	Battery int           `json:"battery,omitempty"` // percent that download, install, one whole roll-back and a reserve need; 0 where the power is not from a battery

	Longevity   int         `json:"longevity,omitempty"` // days that a battery that nobody can charge must have left
	Near        bool        `json:"near,omitempty"`      // only with the wand on the body
	Spare       bool        `json:"spare,omitempty"`     // only with a spare device at hand
	Supervision Supervision `json:"supervision"`
}

// Supervision is who has to be there. A higher class includes the lower.
type Supervision uint8

// The classes.
const (
	Unattended Supervision = iota
	PatientPresent
	ClinicianPresent
	InClinic // with backup equipment at hand
	supervisionCount
)

var supervisions = [supervisionCount]string{"unattended", "patient present", "clinician present", "in clinic, with backup equipment"}

func (s Supervision) String() string { return word(supervisions[:], int(s)) }

// MarshalText writes the word.
func (s Supervision) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *Supervision) UnmarshalText(b []byte) error {
	return parse(s, "supervision", supervisions[:], b)
}

// Urgency is how pressing a release is, which sets its clocks (FDA, postmarket
// guidance of 2016; FD&C Act 524B(b)(2)).
type Urgency uint8

// The classes.
const (
	Regular          Urgency = iota // controlled risk, in the maker's regular cycle
	ControlledOut                   // controlled risk, out of cycle
	UncontrolledRisk                // unacceptable residual risk: customers told within 30 days, fixed within 60
	urgencyCount
)

var urgencies = [urgencyCount]string{"regular cycle", "out of cycle", "uncontrolled risk"}

func (u Urgency) String() string { return word(urgencies[:], int(u)) }

// MarshalText writes the word.
func (u Urgency) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the word.
func (u *Urgency) UnmarshalText(b []byte) error { return parse(u, "urgency", urgencies[:], b) }

// Clocks are until when customers have to be told of an uncontrolled risk, and
// until when it has to be mended: 30 and 60 days after it became known. Zero for
// the other classes.
func (r *Release) Clocks() (told, mended time.Time) {
	t, err := time.Parse(time.DateOnly, r.Learned)
	if err != nil || r.Urgency != UncontrolledRisk {
		return time.Time{}, time.Time{}
	}
	return t.AddDate(0, 0, 30), t.AddDate(0, 0, 60)
}

func word(table []string, i int) string {
	if i < len(table) {
		return table[i]
	}
	return "?"
}

func parse[T ~uint8](v *T, what string, table []string, b []byte) error {
	for i, w := range table {
		if w == string(b) {
			*v = T(i)
			return nil
		}
	}
	return errors.New(what + " is none of the words that are known")
}
