// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A signatory is somebody with a key to sign with.
type signatory struct {
	cose.Signer
	public cose.Key
	kid    []byte
}

func newSignatory() (s signatory, err error) {
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		return s, err
	}
	if s.Signer, err = cose.NewSigner(k); err != nil {
		return s, err
	}
	s.public = k.Public()
	s.kid = patch.KeyID(&s.public)
	return s, nil
}

// signs finds the signatory's key by its id.
func (s *signatory) signs(kid []byte) *cose.Key {
	if string(kid) == string(s.kid) {
		return &s.public
	}
	return nil
}

// A supply is those who sign on the way of an update, and one who would like to.
type supply struct{ maker, clinic, server, device, thief signatory }

func newSupply() (*supply, error) {
	s := new(supply)
	for _, p := range []*signatory{&s.maker, &s.clinic, &s.server, &s.device, &s.thief} {
		var err error
		if *p, err = newSignatory(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// What an update is for.
var (
	firmware = suit.NewComponentID("firmware")
	vendor   = uuid(makerName)
)

const (
	makerName = "Drill Works"
	hardware  = "A"
	unitID    = "unit-1"
)

// uuid is one of a name (RFC 9562 section 5.8).
func uuid(name string) (id [16]byte) {
	h := sha256.Sum256([]byte(name))
	copy(id[:], h[:])
	id[6], id[8] = id[6]&0x0f|8<<4, id[8]&0x3f|0x80
	return id
}

// A release is a program, and the envelope by which its maker vouches for it.
type release struct {
	legacy.Program
	sequence        uint64
	image, envelope []byte
}

// announced is what the maker says of the release, beside the envelope.
func (r *release) announced(from ...string) patch.Release {
	return patch.Release{Manufacturer: makerName, Model: r.Model, Version: r.Version, Sequence: r.sequence, Demands: patch.Demands{
		Hardware: []string{hardware}, From: from, Keeps: patch.Delivering | patch.Dependent, Backup: 3 * time.Minute,
		Longest: 12 * time.Minute, Resume: time.Minute, Battery: 40, Free: int64(len(r.image)),
	}}
}

// folder is where its files are: envelope, and image.
func (r *release) folder() string {
	p := r.announced()
	return repo.Folder(&p)
}

func (r *release) digest() patch.Digest { return sha256.Sum256(r.envelope) }

// release releases an image of a program: a SUIT envelope that says for whom it is, and fetches, checks and installs one image.
func (s *signatory) release(p legacy.Program, image []byte, sequence uint64) (*release, error) {
	var version suit.Version
	for n := range strings.SplitSeq(p.Version, ".") {
		i, err := strconv.ParseInt(n, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("a version of the drill has numbers alone: %w", err)
		}
		version = append(version, i)
	}
	m := &suit.Manifest{
		SequenceNumber: sequence, Version: version, Components: []suit.ComponentID{firmware},
		Shared: []suit.Command{
			suit.Override(
				suit.VendorIdentifier(vendor), suit.ClassIdentifier(uuid(p.Model)),
				suit.ImageDigest(suit.Sum(image)), suit.ImageSize(uint64(len(image))),
			),
			suit.Do(suit.ConditionVendorIdentifier, 0), suit.Do(suit.ConditionClassIdentifier, 0),
		},
		Sections: []suit.SectionCommands{
			{Section: suit.SectionValidate, Commands: []suit.Command{suit.Do(suit.ConditionImageMatch, 0)}},
			{Section: suit.SectionInstall, Commands: []suit.Command{
				suit.Override(suit.URI("image")), suit.Do(suit.DirectiveFetch, 0), suit.Do(suit.ConditionImageMatch, 0),
			}},
		},
	}
	e, err := suit.NewEnvelope(m)
	if err != nil {
		return nil, err
	}
	if err := e.Sign(s, s.kid); err != nil {
		return nil, err
	}
	return &release{p, sequence, image, e.Append(nil)}, nil
}

// A hospital is the server that a device polls: it assigns releases, and has their files. It is as honest as who calls it.
type hospital struct {
	*stock
	now   func() time.Time
	files map[string][]byte

	number  uint64       // of the last offer
	offered *patch.Offer // nil: nothing
	count   uint64       // of the last State
	key     [16]byte     // of challenges
	heard   uint64
	results []*patch.Result // receipts, as the device signed them
}

// fresh is how old the state may be for which an offer says that it may be installed.
const fresh = time.Minute

// assign offers a release to the device from now on, for three days.
func (h *hospital) assign(r *release, from ...string) *patch.Offer {
	h.keep(r)
	h.number++
	h.offered = &patch.Offer{
		Device: unitID, Number: h.number, Envelope: r.digest(), Size: int64(len(r.envelope)), Path: r.folder() + "/envelope", Version: r.Version, Sequence: r.sequence,
		Issued: h.now(), Expires: h.now().Add(72 * time.Hour), Demands: r.announced(from...).Demands,
	}
	return h.offered
}

// keep has the files of a release.
func (h *hospital) keep(r *release) {
	h.files[r.folder()+"/envelope"], h.files[r.folder()+"/image"] = r.envelope, r.image
}

// challenge is for a State's echo: a time, and a proof that it is ours.
func (h *hospital) challenge(at time.Time) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	m := hmac.New(sha256.New, h.key[:])
	m.Write(b)
	return append(b, m.Sum(nil)[:8]...)
}

var errState = errors.New("not a state of the device")

// Poll answers a State.
func (h *hospital) Poll(_ context.Context, b []byte) ([]byte, error) {
	var s patch.State
	if err := patch.Open(b, &s, h.device.signs); err != nil {
		return nil, err
	}
	if s.Device != unitID || s.Count <= h.count {
		return nil, errState
	}
	h.count = s.Count
	now := h.now()
	a := &patch.Answer{Device: unitID, Nonce: s.Nonce, Challenge: h.challenge(now), Next: time.Minute, Heard: h.heard}
	if s.Result != nil {
		h.results, h.heard = append(h.results, s.Result), s.Count
		a.Heard = s.Count
	}
	if h.offered != nil {
		o := *h.offered
		if len(s.Echo) == 16 && s.Staged == o.Envelope {
			at := time.UnixMilli(int64(binary.BigEndian.Uint64(s.Echo)))
			o.Install = string(h.challenge(at)) == string(s.Echo) && now.Sub(at) <= fresh && len(o.Demands.Unmet(&s, o.Version, o.Sequence)) == 0
		}
		var err error
		if a.Offer, err = patch.Sign(&o, h.clinic, h.clinic.kid); err != nil {
			return nil, err
		}
	}
	if s.Nonce == nil {
		return patch.Append(nil, a), nil
	}
	a.Time = now
	return patch.Sign(a, h.server, h.server.kid)
}

// ReadAt reads a file.
func (h *hospital) ReadAt(_ context.Context, path string, p []byte, off int64) (int, error) {
	b, ok := h.files[path]
	if !ok {
		return 0, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	return copy(p, b[off:]), nil
}
