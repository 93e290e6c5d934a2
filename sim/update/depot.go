// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
)

// A Depot is a server that offers one release to each device that it knows, with no
// roll-out and no gates of its own: what a device does not refuse, it gets. It is an
// agent.Server, for one goroutine.
type Depot struct {
	Signer cose.Signer // of offers and answers
	KeyID  []byte
	Now    func() time.Time

	Devices map[string]cose.Key // public keys, by id
	Release patch.Release
	Folder  string
	Files   map[string][]byte // in Folder; the envelope is "envelope.suit"

	Hold bool   // offers to stage, and not to install
	Void uint64 // offers up to this are void

	States  []patch.State // that were heard
	Results []patch.Result

	number uint64
	counts map[string]uint64
	heard  map[string]uint64
}

// envelopeFile is the envelope in a depot's folder.
const envelopeFile = "envelope.suit"

// NewDepot returns a depot without a release.
func NewDepot(signer cose.Signer, kid []byte, now func() time.Time) *Depot {
	return &Depot{
		Signer: signer, KeyID: kid, Now: now, Devices: map[string]cose.Key{}, Files: map[string][]byte{},
		number: 1, counts: map[string]uint64{}, heard: map[string]uint64{},
	}
}

// Put makes a release the one that is offered.
func (d *Depot) Put(r patch.Release, folder string, envelope []byte, files map[string][]byte) {
	d.Release, d.Folder = r, folder
	clear(d.Files)
	for name, b := range files {
		d.Files[name] = b
	}
	d.Files[envelopeFile] = envelope
	d.number++
}

// Poll implements agent.Server.
func (d *Depot) Poll(_ context.Context, b []byte) ([]byte, error) {
	var s patch.State
	var key *cose.Key
	err := patch.Open(b, &s, func(kid []byte) *cose.Key {
		for _, k := range d.Devices {
			if bytes.Equal(patch.KeyID(&k), kid) {
				key = &k
			}
		}
		return key
	})
	if err != nil {
		return nil, err
	}
	if own, ok := d.Devices[s.Device]; !ok || !own.Equal(key) || s.Count <= d.counts[s.Device] {
		return nil, fmt.Errorf("update: a state of somebody else, or of before")
	}
	d.counts[s.Device] = s.Count
	d.States = append(d.States, s)
	if s.Result != nil && !slices.ContainsFunc(d.Results, func(r patch.Result) bool { return r == *s.Result }) {
		d.Results = append(d.Results, *s.Result)
	}
	if s.Result != nil {
		d.heard[s.Device] = s.Count
	}
	now := d.Now()
	a := patch.Answer{Device: s.Device, Nonce: s.Nonce, Time: now, Challenge: []byte{1}, Next: time.Minute, Void: d.Void, Heard: d.heard[s.Device]}
	if r := &d.Release; r.Version != "" && s.Sequence < r.Sequence && s.Result == nil {
		o := patch.Offer{
			Device: s.Device, Number: d.number, Envelope: r.Envelope, Size: r.Size, Path: path.Join(d.Folder, envelopeFile), Version: r.Version, Sequence: r.Sequence,
			Install: s.Staged == r.Envelope && !d.Hold, Issued: now, Expires: now.Add(5 * time.Minute), Demands: r.Demands,
		}
		if a.Offer, err = patch.Sign(&o, d.Signer, d.KeyID); err != nil {
			return nil, err
		}
	}
	if s.Nonce == nil {
		return patch.Append(nil, &a), nil
	}
	return patch.Sign(&a, d.Signer, d.KeyID)
}

// ReadAt implements agent.Server.
func (d *Depot) ReadAt(_ context.Context, file string, p []byte, off int64) (int, error) {
	dir, name := path.Split(file)
	b, ok := d.Files[name]
	if path.Clean(dir) != d.Folder || !ok {
		return 0, fs.ErrNotExist
	}
	return bytes.NewReader(b).ReadAt(p, off)
}
