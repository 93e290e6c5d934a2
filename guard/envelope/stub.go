// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package envelope holds the limits inside which a command is safe. These are
// the words that the other rooms use; what decides comes next, and replaces this
// file.
//
// This API follows the server and may change.
package envelope

import (
	"time"

	"github.com/myelin-health/myelin/device"
)

// A ClinicalRole is of a person who may confirm a therapy command.
type ClinicalRole uint8

// The clinical roles.
const (
	NoClinicalRole ClinicalRole = iota
	Prescriber
	Pharmacist
	Nurse
)

// An Envelope has the limits.
type Envelope struct {
	Name    string
	Version int
}

// A Confirmation is a person's.
type Confirmation struct {
	Person string
	Role   ClinicalRole
	Time   time.Time
}

// A Request is a command to be judged, with what is known beside it.
type Request struct {
	Command       device.Command
	Weight        device.Quantity // of the patient; zero when unknown
	Concentration device.Quantity // of the drug; zero when unknown
	State         string          // of the therapy, as the device reported it; "" when unknown
	Undecided     string          // why the front could not read the command, or ""
	Replayed      bool            // it repeats what has to be fresh
	Confirmed     *Confirmation
	Emergency     bool // in a session that a break-glass token opened
}

// A Report is what a device itself says that it gives.
type Report struct {
	Rate   device.Quantity // running now; zero when it does not say
	Amount device.Quantity // given as a bolus since the last report; zero when it does not say
	State  string          // of the therapy
	Time   time.Time
}

// A Book is the journal of reservations.
type Book struct{}

// A Reservation is a dose that may be given.
type Reservation struct{}
