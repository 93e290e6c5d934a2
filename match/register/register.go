// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package register reads what a hospital and the authorities know of devices:
// the hospital's own register (CSV, YAML, JSON), AccessGUDID and openFDA's
// files of device identifiers, product codes and recalls, and manufacturers'
// MDS2 workbooks.
//
// This API is stable.
package register

import "github.com/myelin-health/myelin/device"

// An Entry is one device as somebody wrote it down.
type Entry struct {
	ID string // the hospital's own: "pump-3"
	device.Identity
	ProductCode string
	Therapy     device.Therapy
	Class       string
	Ward        string
	Location    string
	Owner       string
	Made        string // date of manufacture or distribution, "2006-01-02", or ""
	Guarded     bool
	SBOM        string // serial number of its bill of materials, or ""
	Line        int    // of the file
}

// A Register is a list of devices, with how its columns were understood.
type Register struct {
	Entries []Entry
	Columns []Column
	Unused  []string // headings that nothing was made of
}

// A Column is a heading and the field that it was taken for.
type Column struct{ Heading, Field string }
