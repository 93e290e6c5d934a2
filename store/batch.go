// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// A Batch is what a sensor or guard sends at once: all of it is written, or nothing.
type Batch struct {
	Sensor   string // its id
	Sequence uint64 // from 1, without a gap
	Sent     int64  // nanoseconds since 1970-01-01 UTC

	Observations []Observation // at most 1,000
	Devices      []device.Device
	Findings     []finding.Finding
	Events       []event.Event // verdicts of a guard, refusals, emergencies, doubts, changes of configuration
	Held         []Held        // all that wait at a guard now; valid iff HeldToo
	HeldToo      bool
	Beat         *Beat
}

// An Observation is what a sensor saw two addresses say to each other, counted
// since it said so last.
type Observation struct {
	Client, Server device.Address
	Protocol       string // package name under proto/; "unknown"
	Port           uint16
	First, Last    int64 // nanoseconds since 1970-01-01 UTC
	Count          uint64
	Packets, Bytes uint64
	Encrypted      bool
}

// A Beat is how a sensor or guard is.
type Beat struct {
	Version  string
	Dropped  uint64 // packets that it could not look at, since it began
	Buffered uint64 // batches that wait on its disk
	Merged   uint64 // summaries that were put together because the disk was full
	Problem  string // in words, "" is none
}

// Written says what a batch changed, for those who look at it live.
type Written struct {
	Fresh    bool     // false: it was written before, and nothing was done now
	Findings []string // ids of those that are new, or whose decision or state changed
	Verdicts []Verdict
	Devices  []string // ids of those that are new
	Held     bool     // what waits changed
}

// Write writes a batch and its number in one transaction. A batch whose number
// was written before changes nothing; one that leaves a gap is an error.
//
// Observations are rolled up by device, peer, protocol and hour, with one upsert
// each. An identity that is not known becomes a device by the rules of package
// inventory; see devices.go.
func (s *Store) Write(ctx context.Context, b *Batch) (*Written, error) {
	panic("to be written")
}
