// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/suit"
)

var (
	// errMore is of a step that has fetched its share.
	errMore = errors.New("agent: there is more to fetch")

	errPath     = errors.New("agent: a path that leads out of the release's folder")
	errManifest = errors.New("agent: the manifest is not of the release that was offered")
	errNothing  = errors.New("agent: the manifest installs no firmware")
)

// A transferError is what went wrong on the way, and is to be tried again.
type transferError struct{ error }

func (e transferError) Unwrap() error { return e.error }

// stage downloads, verifies and stages what an offer is of, as far as a step goes.
// What is wrong with the release, and not with the way, refuses it.
func (a *Agent) stage(ctx context.Context, o *patch.Offer) error {
	m, err := a.manifest(ctx, o)
	if err == nil {
		p := suit.Processor{Platform: &platform{a, ctx, o, a.cfg.PollEvery}, MaxImage: a.cfg.Layout.Slots[a.boot.other()].Size()}
		err = p.Run(m, suit.Update)
	}
	u := &a.boot.update
	var transfer transferError
	var run *suit.RunError
	switch {
	case err == nil && (a.boot.phase != fetching || u.fetched != u.target.size):
		return a.refuse(o, errNothing)
	case err == nil:
	case errors.Is(err, errMore):
		return nil
	case errors.As(err, &transfer), errors.Is(err, ErrPower), errors.Is(err, suit.ErrWait), ctx.Err() != nil:
		return err
	case errors.Is(err, ErrBytes), errors.As(err, &run) && run.Code == suit.DirectiveFetch && errors.Is(err, suit.ErrCondition):
		// Other bytes came than those that the offer or the manifest says. The way
		// may be to blame, and is tried again, but not for ever.
		if a.failures++; a.failures < maxFailures {
			return err
		}
		return a.refuse(o, err)
	default:
		return a.refuse(o, err)
	}
	if err := a.boot.holds(a.boot.other(), &u.target); err != nil {
		return err
	}
	if err := a.save(); err != nil {
		return err
	}
	c := a.boot.record
	c.phase = staged
	return a.put(c)
}

// manifest fetches what is missing of the envelope, and verifies it.
func (a *Agent) manifest(ctx context.Context, o *patch.Offer) (*suit.Manifest, error) {
	if o.Size <= 0 || o.Size > maxEnvelope {
		return nil, fmt.Errorf("agent: an envelope of %d bytes", o.Size)
	}
	if a.of != o.Envelope || int64(cap(a.envelope)) != o.Size {
		a.of, a.envelope = o.Envelope, make([]byte, 0, o.Size)
	}
	for len(a.envelope) < cap(a.envelope) {
		n := len(a.envelope)
		k, err := a.cfg.Server.ReadAt(ctx, o.Path, a.envelope[n:cap(a.envelope)], int64(n))
		a.envelope = a.envelope[:n+k]
		if len(a.envelope) < cap(a.envelope) && (err != nil || k == 0) {
			return nil, transferError{orEOF(err)}
		}
	}
	if sha256.Sum256(a.envelope) != o.Envelope {
		a.envelope = nil
		return nil, fmt.Errorf("the envelope: %w", ErrBytes)
	}
	e, err := suit.Decode(a.envelope)
	if err != nil {
		return nil, err
	}
	m, err := e.Verify(a.cfg.Makers...)
	if err != nil {
		return nil, err
	}
	if m.SequenceNumber != o.Sequence || m.Version != nil && m.Version.String() != o.Version {
		return nil, errManifest
	}
	return m, nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A platform is the device as a manifest sees it: one component, the firmware, which
// is written to the slot that does not run.
type platform struct {
	a     *Agent
	ctx   context.Context
	offer *patch.Offer
	left  int64 // bytes that this step still fetches
}

var _ suit.Platform = (*platform)(nil)

// firmware is [fs.ErrNotExist] for another component.
func (p *platform) firmware(c suit.ComponentID) error {
	if !c.Equal(p.a.cfg.Component) {
		return fmt.Errorf("component %v: %w", c, fs.ErrNotExist)
	}
	return nil
}

// SequenceNumber is the one that was confirmed.
func (p *platform) SequenceNumber(suit.ComponentID) (uint64, error) { return p.a.boot.sequence, nil }

// Identified compares vendor and class.
func (p *platform) Identified(_ suit.ComponentID, condition suit.Code, id []byte) (bool, error) {
	switch condition {
	case suit.ConditionVendorIdentifier:
		return string(id) == string(p.a.cfg.Vendor[:]), nil
	case suit.ConditionClassIdentifier:
		return string(id) == string(p.a.cfg.Class[:]), nil
	}
	return false, errors.ErrUnsupported
}

// Slot is the one that is written.
func (p *platform) Slot(c suit.ComponentID, slot uint64) (bool, error) {
	return slot == uint64(p.a.boot.other()), p.firmware(c)
}

// Version is that of what runs.
func (p *platform) Version(c suit.ComponentID) (suit.Version, error) {
	var v suit.Version
	for s := range strings.SplitSeq(p.a.boot.slots[p.a.boot.runs].version, ".") {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, errors.ErrUnsupported
		}
		v = append(v, n)
	}
	return v, p.firmware(c)
}

// Open is what was staged, as soon as it is whole.
func (p *platform) Open(c suit.ComponentID) (io.ReadCloser, error) {
	b := p.a.boot
	if err := p.firmware(c); err != nil {
		return nil, err
	}
	if b.phase != fetching || b.update.envelope != p.offer.Envelope || b.update.fetched != b.update.target.size {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(io.NewSectionReader(b.layout.Slots[b.other()], 0, b.update.target.size)), nil
}

// Create begins to write the other slot, or goes on with it.
func (p *platform) Create(c suit.ComponentID, i suit.Image) (suit.Writer, error) {
	if err := p.firmware(c); err != nil {
		return nil, err
	}
	a := p.a
	slot := a.cfg.Layout.Slots[a.boot.other()]
	switch {
	case i.Digest.Alg != cose.SHA256 || i.Size <= 0 || i.Manifest || i.Metadata != nil:
		return nil, fmt.Errorf("firmware without SHA-256 or size: %w", errors.ErrUnsupported)
	case i.Size > slot.Size():
		return nil, errRoom
	}
	target := image{p.offer.Version, p.offer.Sequence, patch.Digest(i.Digest.Bytes), i.Size}
	if u := &a.boot.update; a.boot.phase != fetching || u.envelope != p.offer.Envelope || u.target != target {
		r := a.boot.record
		r.phase, r.seen = fetching, p.offer.Number
		r.slots[a.boot.other()] = image{} // before its first block is erased
		r.update = update{offer: p.offer.Number, envelope: p.offer.Envelope, target: target}
		if a.boot.holds(a.boot.other(), &target) == nil {
			r.update.fetched = target.size // from an update that fell back
		}
		if err := a.put(r); err != nil {
			return nil, err
		}
	}
	if a.boot.update.fetched == 0 {
		if err := p.patch(target); err != nil {
			return nil, err
		}
	}
	return &writer{p: p, slotWriter: slotWriter{f: slot, n: a.boot.update.fetched}}, nil
}

// Fetch reads a file in the folder of the envelope: a whole URL is for others, of it the
// name counts.
func (p *platform) Fetch(uri string, _ []byte, off int64) (io.ReadCloser, error) {
	if u, err := url.Parse(uri); err != nil || u.IsAbs() {
		uri = ""
		if err == nil {
			uri = path.Base(u.Path)
		}
	}
	file := path.Join(path.Dir(p.offer.Path), uri)
	if !fs.ValidPath(uri) || uri == "." || strings.ContainsAny(uri, "\\\x00") || !fs.ValidPath(file) {
		return nil, errPath
	}
	return &fetch{p: p, path: file, off: off}, nil
}

// A fetch is a file as it comes from a server.
type fetch struct {
	p    *platform
	path string
	off  int64
}

// Read implements [io.Reader].
func (f *fetch) Read(b []byte) (int, error) {
	if f.p.left <= 0 {
		return 0, errMore
	}
	if err := f.p.ctx.Err(); err != nil {
		return 0, transferError{err}
	}
	b = b[:min(int64(len(b)), f.p.left)]
	n, err := f.p.a.cfg.Server.ReadAt(f.p.ctx, f.path, b, f.off)
	f.off += int64(n)
	f.p.left -= int64(n)
	switch {
	case err == io.EOF, err == nil && n > 0:
		return n, err
	}
	return n, transferError{orEOF(err)}
}

// Close implements [io.Closer].
func (f *fetch) Close() error { return nil }

// A writer writes the other slot, and says in the record how far it is.
type writer struct {
	p *platform
	slotWriter
}

// Resume implements [suit.Writer].
func (w *writer) Resume(h io.Writer) (int64, error) {
	return io.Copy(h, io.NewSectionReader(w.f, 0, w.n))
}

// Write implements [io.Writer].
func (w *writer) Write(b []byte) (int, error) {
	n, err := w.slotWriter.Write(b)
	if err != nil {
		return n, err
	}
	return n, w.keep(int64(w.p.a.cfg.Progress))
}

// keep says in the record how far the slot is written, when that is so many bytes more.
func (w *writer) keep(least int64) error {
	a := w.p.a
	whole := w.whole()
	if whole-a.boot.update.fetched < least {
		return nil
	}
	c := a.boot.record
	c.update.fetched = whole
	return a.put(c)
}

// Commit implements [suit.Writer].
func (w *writer) Commit() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.keep(1)
}

// Abort implements [suit.Writer].
func (w *writer) Abort(keep bool) error {
	a := w.p.a
	c := a.boot.record
	switch {
	case keep: // or steps that are shorter than Progress would never end
		return w.keep(1)
	case c.update.fetched == 0:
		return nil
	}
	c.update.fetched = 0
	return a.put(c)
}

// Swap implements [suit.Platform]: there is one component.
func (p *platform) Swap(suit.ComponentID, suit.ComponentID) error { return errors.ErrUnsupported }

// Invoke implements [suit.Platform]: what is staged is started by [Boot].
func (p *platform) Invoke(suit.ComponentID, []byte) error { return errors.ErrUnsupported }

// Linked implements [suit.Platform].
func (p *platform) Linked(suit.ComponentID, suit.Digest) (bool, error) {
	return false, errors.ErrUnsupported
}

// Unlink implements [suit.Platform].
func (p *platform) Unlink(suit.ComponentID, suit.Digest) error { return errors.ErrUnsupported }

// Now is the time as it was signed.
func (p *platform) Now() time.Time {
	t, _ := p.a.now()
	return t
}

// Battery implements [suit.Platform]: what a release wants of it stands in its demands.
func (p *platform) Battery() (uint64, error) { return 0, errors.ErrUnsupported }

// Authorized is what the offer is.
func (p *platform) Authorized(int64) (bool, error) { return true, nil }

// Ready implements [suit.Platform].
func (p *platform) Ready(suit.WaitEvent) (bool, error) { return false, errors.ErrUnsupported }
