// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package advisory reads who says that what is vulnerable: CSAF 2.0, OSV (and
// GitHub's advisories, which are OSV), CVE records, NVD's, and the two feeds
// that say how likely an attack is, KEV and EPSS. All become [Document]: what
// product, in which versions, with which status and remedy.
//
// This API is stable.
package advisory

import (
	"time"

	"github.com/myelin-health/myelin/match/version"
)

// A Kind is a format of advisories.
type Kind uint8

// The kinds.
const (
	NoKind Kind = iota
	CSAF
	OSV
	CVE5
	NVD
	Recall // of a device, by an authority; package register reads these
)

// A Document is one advisory. Strings are as written.
type Document struct {
	Kind            Kind
	ID              string // tracking id: "ICSMA-24-151-02", "GHSA-...", "CVE-..."
	Title           string
	Publisher       string
	Category        string // the publisher's: "vendor", "coordinator", "other"; "" when not said
	Published       time.Time
	Modified        time.Time
	Withdrawn       bool
	Class           string // of a recall: FDA's "Class I" (worst) to "Class III", or ""
	State           string // of a recall, as written: "Ongoing", "Completed", "Terminated"
	Vulnerabilities []Vulnerability
}

// A Vulnerability is one weakness, with what is said of each product.
type Vulnerability struct {
	ID         string   // the CVE where there is one, else the document's own
	Aliases    []string // other ids, sorted
	Title      string
	CWE        []string // "CWE-287"
	Scores     []Score
	SSVC       *SSVC
	KEV        bool // the document says that it is exploited
	Statements []Statement
}

// A Score is a CVSS score as published.
type Score struct {
	Version string // "2.0", "3.0", "3.1", "4.0"
	Vector  string
	Base    float64 // as published, or -1
	Source  string
}

// SSVC holds the answers of CISA's container, in SSVC's words; "" is unsaid.
type SSVC struct {
	Exploitation, Automatable, TechnicalImpact string
}

// A Status is what is said of a product.
type Status uint8

// The statuses.
const (
	NoStatus Status = iota
	Affected
	NotAffected
	Fixed
	UnderInvestigation
	Recommended
)

// A Statement is what a document says of one product and vulnerability.
type Statement struct {
	Product       Product
	Status        Status
	Remediations  []Remediation
	Justification string // of not affected, VEX's word
}

// A Product is how a document names what it is about: a whole product by maker
// and name, or a component by package or CPE. Range counts when HasRange, else
// Text, which is what was read from Version.
type Product struct {
	Manufacturer string
	Name         string
	Version      string // as written
	Text         version.Text
	Range        version.Range
	HasRange     bool
	PURL         string
	CPE          string
	Ecosystem    string // OSV's, as written
	Package      string
	Hashes       []string // "sha256:..."
	SKUs         []string
	Serials      []string
	Models       []string
	DIs          []string // device identifiers of UDIs, which name a product and never its version
	Lots         []string
	ProductCode  string   // FDA's, of a recall
	Within       *Product // what it is a part of, where the document says so
}

// A Remediation is what to do.
type Remediation struct {
	Category string // CSAF's: "vendor_fix", "mitigation", "workaround", "no_fix_planned", "none_available"
	Details  string
	URL      string
	Date     time.Time
}
