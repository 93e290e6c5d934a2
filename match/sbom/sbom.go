// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package sbom reads what a product is made of: CycloneDX and SPDX, in any of
// their spellings, become one [Document] of flat components.
//
// This API is stable.
package sbom

import "time"

// A Format is a standard of bills of materials, with its spelling.
type Format uint8

// The formats.
const (
	NoFormat Format = iota
	CycloneDXJSON
	CycloneDXXML
	SPDXJSON
	SPDXTagValue
	SPDX3JSON
)

// A Document is one bill of materials.
type Document struct {
	Format      Format
	SpecVersion string // "1.6", "SPDX-2.3", "3.0.1"
	Serial      string // serial number or namespace: names this document
	Created     time.Time
	Authors     []string // who made the document, tools not included
	Supplier    string   // of the product
	Subject     int      // index of the component that the document describes, or -1
	Components  []Component
}

// A Component is one part. Its strings are as written.
type Component struct {
	Ref          string // bom-ref or SPDX identifier
	Type         string // CycloneDX's word: "library", "operating-system", "device", ...; "" when not said
	Group        string
	Name         string
	Version      string
	Supplier     string
	PURL         string
	CPEs         []string
	Hashes       []Hash
	Licenses     []string
	Parent       int    // index of the component that holds this one, or -1
	DependsOn    []int  // indices
	DependsKnown bool   // the document says what it depends on, be it nothing
	SupportLevel string // FDA: "actively maintained", "no longer maintained", "abandoned"; as written
	EndOfSupport string // "2006-01-02", or ""
}

// A Hash is a digest of a component.
type Hash struct {
	Algorithm string // "SHA-256", CycloneDX's spelling
	Hex       string
}
