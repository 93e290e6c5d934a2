// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"fmt"
	"time"

	"github.com/myelin-health/myelin/patch"
)

// LongestOffer is how long an offer counts at most. It speaks for two repositories
// to a device that cannot read them, and nobody can take it back from one that hears
// nothing: short is all the protection that there is from an old one.
const LongestOffer = time.Hour

// Offer is the hospital's word for a device that cannot verify TUF: this envelope, and
// for how long. Whoever signs it ([patch.Sign]) has verified both repositories in the
// device's place. Number rises with each offer to the device; without install it is
// only to be staged. Paths are those of a site's files.
func (u *Update) Offer(device string, number uint64, issued time.Time, lifetime time.Duration, install bool) (*patch.Offer, error) {
	if lifetime <= 0 || lifetime > LongestOffer {
		return nil, fmt.Errorf("an offer for %v: it counts for %v at most", lifetime, LongestOffer)
	}
	if device == "" || number == 0 {
		return nil, fmt.Errorf("an offer is for a device, and has a number above 0")
	}
	return &patch.Offer{
		Device: device, Number: number, Envelope: u.Release.Envelope, Size: u.Size, Path: files + "/" + u.Folder + "/" + u.File(Envelope).Name,
		Version: u.Version, Sequence: u.Sequence, Install: install, Issued: issued, Expires: issued.Add(lifetime), Demands: u.Demands,
	}, nil
}
