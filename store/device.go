// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"github.com/myelin-health/myelin/device"
)

// A Device is one unit of a product with what people said of it.
type Device struct {
	device.Device
	Site        string
	Owner       string
	Criticality string // "", "low", "high", "life-sustaining": what people say, beside the harm
	Notes       string
	First, Last int64  // nanoseconds since 1970-01-01 UTC
	Version     int64  // grows with each change, for ETags
	Into        string // the device that it was merged into, or ""

	Act, Attend, TrackStar, Track int // open findings by decision
	Worst                         string
}

// A DeviceQuery says which devices.
type DeviceQuery struct {
	Page
	Words    string // full-text search
	Site     string
	Ward     string
	Therapy  string
	Harm     string
	Medical  bool   // only those
	Decision string // that have an open finding of this decision
	Product  string // maker and model, for a manufacturer's people
	Sort     string // "urgency" (default), "name", "last", "ward"
}

// A List is a page of rows with what is around it.
type List[T any] struct {
	Rows   []T
	Next   string // cursor of the page that follows, or ""
	Total  int    // of the whole list; exact
	Facets []Facet
}

// A Facet is how many rows have a value.
type Facet struct {
	Of, Value string // "ward", "icu"
	Count     int
}

// A Merge is a record of two devices that are held to be one, or no longer.
type Merge struct {
	ID         int64
	Kept, Gone string // devices
	Why        string
	By         string // person, or "" for the rules
	At         int64
	UndoneBy   string
	UndoneAt   int64
}

// An Identity is a name that a device is known by, and how sure that is.
type Identity struct {
	device.Address
	Site        string
	Strong      bool // joins by itself
	First, Last int64
	Sensors     []string
}

// A Link is what two devices were seen to say in a span of time.
type Link struct {
	Device, Peer   string // ids
	Protocol       string
	Hour           int64 // nanoseconds: its beginning, or the last one of a sum
	Count          uint64
	Packets, Bytes uint64
	Clear, Sealed  uint64 // conversations in clear and encrypted
	First, Last    int64
}

// A DeviceEdit is what people change of a device. nil fields stay.
type DeviceEdit struct {
	ID                                    string
	Version                               int64 // as read; 0 does not compare
	Name, Ward, Owner, Criticality, Notes *string
	By, Why                               string
}

// Devices lists devices.
func (s *Store) Devices(ctx context.Context, q DeviceQuery) (*List[Device], error) {
	panic("to be written")
}

// Device returns one, also when it was merged into another. [ErrNotFound].
func (s *Store) Device(ctx context.Context, id string) (*Device, error) { panic("to be written") }

// Identities returns why a device is one device, and its records of merges.
func (s *Store) Identities(ctx context.Context, id string) ([]Identity, []Merge, error) {
	panic("to be written")
}

// EditDevice changes what people say of a device, and adds it to its history.
// [ErrNotFound], [ErrConflict].
func (s *Store) EditDevice(ctx context.Context, e DeviceEdit) error { panic("to be written") }

// MergeDevices makes one device of two; the rules never part them again by themselves.
func (s *Store) MergeDevices(ctx context.Context, keep, gone, by, why string) (int64, error) {
	panic("to be written")
}

// UndoMerge parts what a merge joined. The rules never join these two again.
func (s *Store) UndoMerge(ctx context.Context, merge int64, by string) error { panic("to be written") }

// Links sums what was seen since a time, of one device or of all ("").
func (s *Store) Links(ctx context.Context, id string, since int64, limit int) ([]Link, error) {
	panic("to be written")
}

// A Happening is a line of a device's timeline.
type Happening struct {
	At         int64
	Kind       string // "seen", "talk", "verdict", "finding", "edit", "merge", "update"
	What, Link string // in words; the page that it belongs to
}

// Timeline returns what happened to a device, the newest first.
func (s *Store) Timeline(ctx context.Context, id string, p Page) (*List[Happening], error) {
	panic("to be written")
}
