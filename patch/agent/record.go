// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/patch"
)

// A phase is how far an update is.
//
//	idle --offer--> fetching --verified--> staged --switch--> trial --confirmed--> idle
//	 ^                 |                     |                  |
//	 +----refused------+----withdrawn--------+                  +--fallen--told--> idle
//
// Each arrow is one record.
type phase uint8

const (
	idle     phase = iota
	fetching       // the other slot is being written, and holds nothing that is whole
	staged         // it holds what the manifest says
	trial          // it runs, or is started next, and is not confirmed
	fallen         // the old one runs again, and has not been seen to work yet
	phases
)

// An image is what a slot holds.
type image struct {
	version  string
	sequence uint64
	digest   patch.Digest // zero: nothing that is whole
	size     int64
}

// An update is the one under way.
type update struct {
	offer    uint64       // number
	envelope patch.Digest // and its size
	bytes    int64
	target   image
	fetched  int64 // bytes that the slot holds for good
	resume   time.Duration
	before   patch.Digest // settings
	switched time.Duration
	reason   string // why it fell back
}

// A record is all that the boot record says.
type record struct {
	slots    [2]image
	runs     uint8 // the slot that was confirmed
	phase    phase
	tries    uint8  // starts that are left to what is on trial
	sequence uint64 // confirmed
	count    uint64 // of States: those below may have been used
	time     int64  // of the last signed time that was kept, ms since 1970
	at       time.Duration
	seen     uint64 // highest number of an offer
	done     uint64 // of one that has ended
	void     uint64
	update   update
	result   *patch.Result // that nobody has acknowledged
}

// maxRecord is how many bytes a boot record has at most: a kilobyte is left when
// every text is as long as it may be.
const maxRecord = 2048

const recordVersion = 1

var errRecord = errors.New("agent: not a boot record of this version")

func (i *image) append(b []byte) []byte {
	b = cbor.AppendText(cbor.AppendArray(b, 4), i.version)
	b = cbor.AppendUint(b, i.sequence)
	return cbor.AppendInt(cbor.AppendBytes(b, i.digest[:]), i.size)
}

func (i *image) read(r *cbor.Reader) {
	if r.Array() != 4 {
		r.Fail(errRecord)
	}
	i.version, i.sequence = r.Text(), r.Uint()
	readDigest(r, &i.digest)
	i.size = r.Int()
}

func readDigest(r *cbor.Reader, d *patch.Digest) {
	if b := r.Bytes(); copy(d[:], b) != len(d) || len(b) != len(d) {
		r.Fail(errRecord)
	}
}

func (c *record) append(b []byte) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 23), recordVersion)
	b = c.slots[1].append(c.slots[0].append(b))
	for _, n := range []uint64{uint64(c.runs), uint64(c.phase), uint64(c.tries), c.sequence, c.count, c.seen, c.done, c.void} {
		b = cbor.AppendUint(b, n)
	}
	b = cbor.AppendInt(cbor.AppendInt(b, c.time), int64(c.at))
	u := &c.update
	b = cbor.AppendBytes(cbor.AppendUint(b, u.offer), u.envelope[:])
	b = u.target.append(cbor.AppendInt(b, u.bytes))
	for _, n := range []int64{u.fetched, int64(u.resume), int64(u.switched)} {
		b = cbor.AppendInt(b, n)
	}
	b = cbor.AppendText(cbor.AppendBytes(b, u.before[:]), u.reason)
	if c.result == nil {
		return cbor.AppendNull(b)
	}
	return cbor.AppendBytes(b, patch.Append(nil, &patch.State{Result: c.result}))
}

func parseRecord(b []byte) (*record, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, err
	}
	c := &record{}
	if r.Array() != 23 || r.Uint() != recordVersion {
		return nil, errRecord
	}
	c.slots[0].read(&r)
	c.slots[1].read(&r)
	runs, how, tries := r.Uint(), r.Uint(), r.Uint()
	if runs > 1 || how >= uint64(phases) || tries > 255 {
		return nil, errRecord
	}
	c.runs, c.phase, c.tries = uint8(runs), phase(how), uint8(tries)
	for _, n := range []*uint64{&c.sequence, &c.count, &c.seen, &c.done, &c.void} {
		*n = r.Uint()
	}
	c.time, c.at = r.Int(), time.Duration(r.Int())
	u := &c.update
	u.offer = r.Uint()
	readDigest(&r, &u.envelope)
	u.bytes = r.Int()
	u.target.read(&r)
	u.fetched, u.resume, u.switched = r.Int(), time.Duration(r.Int()), time.Duration(r.Int())
	readDigest(&r, &u.before)
	u.reason = r.Text()
	if !r.Null() {
		var s patch.State
		if b := r.Bytes(); r.Err() == nil {
			if err := patch.Parse(b, &s); err != nil {
				return nil, err
			}
		}
		c.result = s.Result
	}
	return c, r.Done()
}
