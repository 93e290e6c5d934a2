// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"time"

	"github.com/myelin-health/myelin/device"
)

// A Confirmation is a person's, for one command.
type Confirmation struct {
	Person   string // id, never a name
	Role     ClinicalRole
	OnDevice bool // at the device, which asks by itself before it starts; Person and Role may be missing then
	Time     time.Time
}

// StateSeparator stands between the states of a device that reports more than one,
// as of its channels: a command is refused in any of them.
const StateSeparator = ", "

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

// A Decision is what an envelope says to a request.
type Decision struct {
	Verdict  device.Verdict
	Enforced bool          // false: the command passes, whatever the verdict
	Rescue   bool          // it waits for nothing: no disk, no person
	Effect   device.Effect // what the command does to the therapy
	Line     int           // of the envelope's file that decided; 0: none did
	Limit    string        // that line in words: "set-infusion-rate max 1.0 ug/kg/min"; "" without a line
	Reason   string        // for a nurse: one sentence without a full stop

	Confirm Confirm       // of Hold: who is asked
	Hold    time.Duration // of Hold: how long it may wait

	// Of a decision by a sum: what the window would have come to, and what of
	// that is not known to have been given (a dose in doubt).
	Sum, Unknown device.Quantity
}
