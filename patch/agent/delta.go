// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/delta"
)

// maxCheckpoint is a delta's checkpoint behind the digest of the image that it is of.
const maxCheckpoint = 32 + delta.CheckpointBytes

var errDelta = errors.New("agent: a delta of another image than the manifest's")

// deltaName is what a delta from a version is called, in the folder of the envelope.
func deltaName(from string) string { return from + ".delta" }

// A patching is a delta as it is being applied: from the slot that runs to the other.
// What comes out is as much worth as the digest in the manifest says, so nobody needs
// to have signed the delta.
type patching struct {
	a      *Agent
	target image
	dec    *delta.Decoder
	log    *log // of checkpoints; nil is none
	saved  int64
	slotWriter
}

// patch makes the image out of what runs and a delta, as far as a step goes. Without an
// error, and with nothing fetched, there is no delta that fits.
func (p *platform) patch(target image) error {
	a := p.a
	from := a.boot.slots[a.boot.runs].version
	file := path.Join(path.Dir(p.offer.Path), deltaName(from))
	if a.noDelta == target.digest || !fs.ValidPath(file) || path.Base(file) != deltaName(from) {
		return nil
	}
	if a.patching == nil || a.patching.target != target {
		a.patching = nil
		d, err := a.newPatching(target)
		if err != nil {
			return err
		}
		a.patching = d
	}
	d := a.patching
	b := make([]byte, 1024)
	for !d.dec.Done() {
		f := fetch{p: p, path: file, off: d.dec.Offset()}
		n, err := f.Read(b)
		if _, e := d.dec.Write(b[:n]); e != nil {
			err = e
		} else if n > 0 {
			continue
		}
		var transfer transferError
		switch {
		case errors.Is(err, errMore):
			return err
		case errors.Is(err, fs.ErrNotExist): // of a transfer, too: there is none
		case errors.As(err, &transfer), errors.Is(err, ErrPower):
			a.patching = nil // from the last checkpoint on, next time
			return err
		}
		a.noDelta, a.patching = target.digest, nil // it ends too early, or is of other images
		return nil
	}
	a.patching = nil
	if err := d.flush(); err != nil {
		return err
	}
	c := a.boot.record
	c.update.fetched = target.size
	return a.put(c)
}

// newPatching begins a delta, or goes on from the last checkpoint.
func (a *Agent) newPatching(target image) (*patching, error) {
	d := &patching{a: a, target: target, dec: delta.NewDecoder(), slotWriter: slotWriter{f: a.cfg.Layout.Slots[a.boot.other()]}}
	d.dec.Save = d.save
	old := io.NewSectionReader(a.cfg.Layout.Slots[a.boot.runs], 0, a.boot.slots[a.boot.runs].size)
	if f := a.cfg.Layout.Delta; f != nil {
		page := f.Page()
		g, b, err := openLog(f, (logHead+maxCheckpoint+logTail+page-1)/page*page)
		if err != nil {
			return nil, err
		}
		d.log = g
		if len(b) > 32 && patch.Digest(b[:32]) == target.digest {
			if err := d.dec.Resume(b[32:], old, d); err == nil {
				return d, nil
			}
		}
	}
	d.n, d.buf = 0, nil
	d.dec.Reset(old, d)
	return d, nil
}

// save is called when the header was read, and at each page of the new image.
func (d *patching) save(dec *delta.Decoder) error {
	h := &dec.Header
	if int64(h.New) != d.target.size || h.NewDigest != d.target.digest || h.InPlace() {
		return errDelta
	}
	whole := d.whole()
	if d.log == nil || len(d.buf) > 0 || d.saved > 0 && whole-d.saved < int64(d.a.cfg.Progress) {
		return nil
	}
	b := dec.Checkpoint(append(make([]byte, 0, maxCheckpoint), d.target.digest[:]...))
	if len(b) > maxCheckpoint {
		return fmt.Errorf("agent: a checkpoint of %d bytes", len(b))
	}
	d.saved = whole
	return d.log.put(b)
}

// WriteAt implements [delta.Memory]: one byte after the other, from a block's beginning on.
func (d *patching) WriteAt(b []byte, off int64) (int, error) {
	if off != d.n {
		if len(d.buf) > 0 || off%int64(d.f.Block()) != 0 {
			return 0, errBounds
		}
		d.n = off
	}
	return d.Write(b)
}

// ReadAt implements [delta.Memory]: what is not in flash yet, too.
func (d *patching) ReadAt(b []byte, off int64) (int, error) {
	whole := d.whole()
	n := 0
	if off < whole {
		k := int(min(int64(len(b)), whole-off))
		if err := readFull(d.f, b[:k], off); err != nil {
			return 0, err
		}
		n = k
	}
	if at := off + int64(n) - whole; n < len(b) && at >= 0 && at < int64(len(d.buf)) {
		n += copy(b[n:], d.buf[at:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
