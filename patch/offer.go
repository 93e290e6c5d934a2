// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import "time"

// An Offer is a hospital's word that a device may have a release: short-lived,
// for one device, by the digest of the envelope, which is the maker's and is
// never altered. Of two offers the one of the higher number counts.
type Offer struct {
	Device   string
	Number   uint64
	Envelope Digest
	Size     int64  // bytes of the envelope
	Path     string // of the envelope, and in its folder the payloads, below the server's /update/v1/
	Version  string
	Sequence uint64 // of the manifest
	Install  bool   // it may be installed; else only downloaded, verified and staged
	Issued   time.Time
	Expires  time.Time // not started after it
	Demands  Demands
}

// An Answer is what a server says to a State.
type Answer struct {
	Device    string
	Nonce     []byte        // of the State; then the answer is signed, and Time is to be believed
	Time      time.Time     // the server's
	Challenge []byte        // for the next State's Echo
	Next      time.Duration // until the next poll
	Offer     []byte        // an Offer, signed; nil is none
	Void      uint64        // offers up to this number are void: drop what is staged, start nothing
	Heard     uint64        // Count of the State whose Result is on record: say it no more
}
