// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package advisory reads who says that what is vulnerable: CSAF 2.0, OSV (and
// GitHub's advisories), CVE records 5, NVD 2.0, and the two feeds that say how
// likely an attack is, KEV and EPSS. All become [Document]: what product, in
// which versions, with which status and remedy.
//
// A CSAF document is held to the whole schema of its standard; of the other
// formats what is read has to be there and of its type. What breaks that is
// refused with the path of the place ([Error]), never with what stands there.
// What a document says about versions in words goes through
// [version.ParseText], so that nothing is dropped because it is prose.
//
// Left out: CSAF's mandatory tests beyond those about product identifiers,
// NVD's older feeds, archives.
//
// This API is stable.
package advisory

import (
	"time"

	"github.com/myelin-health/myelin/match/version"
)

// A Kind is a format of advisories, or of what is known about them.
type Kind uint8

// The kinds.
const (
	NoKind Kind = iota
	CSAF
	OSV
	CVE5
	NVD
	GitHub // GitHub's own forms: its two interfaces, and that of vulnerability databases made from them
	KEVCatalog
	EPSSScores
	Recall // of a device, by an authority; package register reads these
)

// String is the kind's name in short.
func (k Kind) String() string {
	return [...]string{"", "CSAF", "OSV", "CVE", "NVD", "GitHub", "KEV", "EPSS", "recall"}[k]
}

// A Document is one advisory. Strings are as written.
type Document struct {
	Kind            Kind
	ID              string // tracking id: "ICSMA-24-151-02", "GHSA-...", "CVE-..."
	Title           string
	Publisher       string
	Category        string // the publisher's: "vendor", "coordinator", "other"; "" when not said
	Profile         string // CSAF's document category: "csaf_security_advisory", "csaf_vex", ...
	Revision        string // CSAF's document version
	Stage           string // CSAF: "draft", "interim", "final"
	Published       time.Time
	Modified        time.Time
	Withdrawn       bool   // or rejected
	Class           string // of a recall: FDA's "Class I" (worst) to "Class III", or ""
	State           string // of a recall, as written: "Ongoing", "Completed", "Terminated"
	URL             string // where people read it, as the document says
	Vulnerabilities []Vulnerability
	Trust           Trust // zero until [Verify] has been asked
}

// A Vulnerability is one weakness, with what is said of each product.
type Vulnerability struct {
	ID           string   // the CVE where there is one, else the document's own
	Aliases      []string // other ids, sorted
	Title        string
	CWE          []string // "CWE-287"
	Scores       []Score
	SSVC         *SSVC
	KEV          bool   // the document says that CISA knows it to be exploited
	Exploitation string // what a CSAF document says of that, in words
	Statements   []Statement
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
	Impact        string // in words
	Source        string // who says so, where it is not the publisher of the document
}

// A Product is how a document names what it is about: a whole product by maker
// and name, or a component by package or CPE. Range counts when HasRange, else
// Text, which is what was read from Version. What Versions lists is meant as well.
type Product struct {
	Manufacturer string
	Family       string // the product family it stands in, where the document has one
	Name         string
	FullName     string // as the document calls it for people
	Version      string // as written
	Text         version.Text
	Range        version.Range
	HasRange     bool
	Versions     []string // OSV: single versions, as written, beside the range
	PURL         string
	CPE          string
	CPEs         []string // further ones
	Ecosystem    string   // OSV's, as written
	Package      string
	Hashes       []string // "sha256:..."
	SKUs         []string
	Serials      []string // CSAF allows '?' and '*' in serials and models
	Models       []string
	DIs          []string // device identifiers of UDIs, which name a product and never its version
	Lots         []string
	ProductCode  string    // FDA's, of a recall
	SBOMs        []string  // links to bills of materials
	Within       *Product  // what it is a part of, or runs on, where the document says so
	Relation     string    // CSAF's word for Within: "default_component_of", "installed_on", ...
	On           []Product // CVE, NVD: only together with one of these, where the document says so
}

// A Remediation is what to do.
type Remediation struct {
	Category string // CSAF's: "vendor_fix", "mitigation", "workaround", "no_fix_planned", "none_available"
	Details  string
	URL      string
	Date     time.Time
}
