// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package vex reads and writes statements that a product is, or is not,
// affected by a vulnerability: OpenVEX, CycloneDX and CSAF. Only what the
// product's own supplier says counts ([Resolve]); what others say is an opinion.
//
// This API is stable.
package vex

import (
	"time"

	"github.com/myelin-health/myelin/match/advisory"
)

// A Statement is one sentence of a document.
type Statement struct {
	Vulnerability string
	Aliases       []string
	Product       advisory.Product  // what it is about
	Component     *advisory.Product // the part of the product that it is about, or nil
	Status        advisory.Status
	Justification string // OpenVEX's words: "vulnerable_code_not_present", ...
	Impact        string
	Action        string
	Author        string
	Supplier      string // the product's supplier, where the document names it
	Time          time.Time
	Document      string
	Version       int // of the document
}
