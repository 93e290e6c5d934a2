// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// A Sensor is a program that sends: a sensor of a network, or a guard.
type Sensor struct {
	ID, Name, Site string
	Kind           string // "sensor", "guard"
	Key            string // fingerprint of its certificate's key
	Enrolled, Seen int64
	Sequence       uint64 // of the last batch that was written
	Revoked        int64
	Beat
}

// Sensors lists all.
func (s *Store) Sensors(ctx context.Context) ([]Sensor, error) { panic("to be written") }

// Sensor returns one. [ErrNotFound].
func (s *Store) Sensor(ctx context.Context, id string) (*Sensor, error) { panic("to be written") }

// AddEnrolment keeps the hash of a one-time token for a sensor that is to come.
func (s *Store) AddEnrolment(ctx context.Context, hash []byte, name, site, kind, by string, expires int64) error {
	panic("to be written")
}

// Enrol uses a token once and makes its sensor. [ErrNotFound]: it is unknown, used or expired.
func (s *Store) Enrol(ctx context.Context, hash []byte, id, key string) (*Sensor, error) {
	panic("to be written")
}

// RevokeSensor ends what a sensor may do.
func (s *Store) RevokeSensor(ctx context.Context, id string) error { panic("to be written") }

// A Document is an advisory, a bill of materials, a VEX document, a register: its
// published bytes, with what lists need.
type Document struct {
	Digest    string // SHA-256, in hexadecimal
	Kind      string // of assess: "csaf", "cyclonedx", "register", ...
	Name      string // file name
	ID, Title string // as it says
	Bytes     int64
	Added     int64
	By        string
	Products  []string
}

// AddDocument keeps a document, once.
func (s *Store) AddDocument(ctx context.Context, d *Document, content []byte) (fresh bool, err error) {
	panic("to be written")
}

// Documents lists documents of some kinds, the newest first.
func (s *Store) Documents(ctx context.Context, kinds []string, words string, p Page) (*List[Document], error) {
	panic("to be written")
}

// Content returns a document and its bytes. [ErrNotFound].
func (s *Store) Content(ctx context.Context, digest string) (*Document, []byte, error) {
	panic("to be written")
}

// RemoveDocument forgets a document.
func (s *Store) RemoveDocument(ctx context.Context, digest string) error { panic("to be written") }
