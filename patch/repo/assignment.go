// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-health/myelin/patch"
)

// An Assignment is a target of the hospital's repository: what a device, or each
// device of a ring, is to have. A ring may have devices of several products, of each
// product one release.
type Assignment struct {
	Schema   int        `json:"schema"` // 1; Assign sets it
	Device   string     `json:"device,omitempty"`
	Ring     string     `json:"ring,omitempty"` // one of the two
	Releases []Assigned `json:"releases"`
}

// An Assigned is one release of an assignment. It names everything that could be
// exchanged: product, version, document and envelope.
type Assigned struct {
	Manufacturer string       `json:"manufacturer"`
	Model        string       `json:"model"`
	Version      string       `json:"version"`
	Folder       string       `json:"folder"`   // of the release, in the maker's repository
	Document     patch.Digest `json:"document"` // of its release.json
	Envelope     patch.Digest `json:"envelope"`
	Size         int64        `json:"size"` // bytes of the envelope

	// Raise is what the hospital demands beside the maker; nil is nothing.
	Raise *patch.Demands `json:"raise,omitempty"`
}

// Bounds of an assignment.
const (
	MaxAssignment = 64 << 10 // bytes
	maxAssigned   = 64
)

// AssignmentPath is the target path of a device's assignment, or with device "" of
// a ring's.
func AssignmentPath(device, ring string) string {
	if device != "" {
		return "devices/" + device + ".json"
	}
	return "rings/" + ring + ".json"
}

// ParseAssignment reads an assignment, and checks that it is complete.
func ParseAssignment(b []byte) (*Assignment, error) {
	var a Assignment
	err := strict(b, MaxAssignment, &a)
	if err == nil {
		if e := a.check(); e != nil {
			err = fmt.Errorf("%w: %w", ErrMalformed, e)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the assignment %w", err)
	}
	return &a, nil
}

func (a *Assignment) check() error {
	switch {
	case a.Schema != 1:
		return errors.New("another schema than 1")
	case (a.Device == "") == (a.Ring == "") || !plain(a.Device+a.Ring):
		return errors.New("want the id of a device or of a ring")
	case len(a.Releases) > maxAssigned:
		return errors.New("too many releases")
	}
	products := map[string]bool{}
	for i := range a.Releases {
		r := &a.Releases[i]
		product := slug(r.Manufacturer) + "/" + slug(r.Model)
		switch {
		case !short(r.Manufacturer) || !short(r.Model) || !plain(r.Version):
			return errors.New("a release without manufacturer, model or version")
		case products[product]:
			return errors.New("two releases for one product")
		case r.Folder != product+"/"+r.Version || !validPath(r.Folder):
			return errors.New("the folder is not that of the release")
		case r.Document == patch.Digest{} || r.Envelope == patch.Digest{} || r.Size < 1:
			return errors.New("a release without digests, or size")
		}
		products[product] = true
	}
	return nil
}

// Assign stages an assignment, in place of the one that the device or ring had. With
// no releases it says that there is nothing to have.
func (r *Repository) Assign(a *Assignment) error {
	if err := (&Assignment{1, a.Device, a.Ring, a.Releases}).check(); err != nil {
		return fmt.Errorf("the assignment: %w", err)
	}
	doc, err := json.MarshalIndent(Assignment{1, a.Device, a.Ring, full(a.Releases)}, "", " ")
	if err != nil {
		return err
	}
	if len(doc) > MaxAssignment {
		return fmt.Errorf("the assignment %w: %d bytes are the most", ErrTooLong, MaxAssignment)
	}
	return r.PutTarget(Targets, AssignmentPath(a.Device, a.Ring), bytes.NewReader(doc))
}

// full is a copy without nil slices: a null would be refused.
func full(list []Assigned) []Assigned {
	list = append([]Assigned{}, list...)
	for i := range list {
		if list[i].Raise != nil {
			d := *list[i].Raise
			d.Hardware, d.From = append([]string{}, d.Hardware...), append([]string{}, d.From...)
			list[i].Raise = &d
		}
	}
	return list
}

// Assigns returns a release of a maker's as it is assigned: read, and verified, by
// the hospital's own client.
func (c *Client) Assigns(ctx context.Context, folder string, raise *patch.Demands) (Assigned, error) {
	b, document, err := c.Release(ctx, folder)
	if err != nil {
		return Assigned{}, err
	}
	if _, err := c.FileTarget(ctx, b, b.File(Envelope)); err != nil {
		return Assigned{}, err
	}
	return Assigned{b.Manufacturer, b.Model, b.Version, folder, document, b.Release.Envelope, b.Size, raise}, nil
}

// A Subject is the device that asks what it is to have. What it says of itself it
// knows from itself, not from whom it asks.
type Subject struct {
	Device string   // its id, as the hospital names it
	Rings  []string // that it may be in, in order; its own assignment comes first

	Manufacturer, Model, Hardware string

	// Sequence is that of the release that it has confirmed: an older one is refused.
	Sequence uint64
}

// ErrUnassigned says that the hospital assigns nothing to a device.
var ErrUnassigned = errors.New("the hospital assigns it nothing")

// An Update is what manufacturer and hospital both say that a device is to have.
type Update struct {
	*Bundle
	Folder   string
	Document patch.Digest  // of release.json
	Envelope []byte        // as the maker signed it; its own signature is yet to be verified
	Demands  patch.Demands // the maker's, raised by the hospital's
	By       string        // path of the assignment
}

// FullVerification brings both repositories up to date and returns what both say of
// a device, as Uptane's full verification does. Nothing is returned where one of
// them is not verified, or they differ: [ErrDisagree]. [ErrWrongModel] is a release
// for another product or other hardware than the subject's, [ErrVersion] one older than
// what it has, [ErrUnassigned] none.
func FullVerification(ctx context.Context, maker, hospital *Client, s Subject) (*Update, error) {
	if err := hospital.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("the hospital's %w", err)
	}
	if err := maker.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("the manufacturer's %w", err)
	}
	a, by, err := hospital.assignment(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(a.Releases) == 0 {
		return nil, ErrUnassigned
	}
	i := slices.IndexFunc(a.Releases, func(r Assigned) bool { return r.Manufacturer == s.Manufacturer && r.Model == s.Model })
	if i < 0 {
		return nil, fmt.Errorf("%s %w: it names %s %s, and this is %s %s",
			by, ErrWrongModel, a.Releases[0].Manufacturer, a.Releases[0].Model, s.Manufacturer, s.Model)
	}
	u, err := verifyAssigned(ctx, maker, &a.Releases[i])
	if err != nil {
		return nil, err
	}
	if !slices.Contains(u.Demands.Hardware, s.Hardware) {
		return nil, fmt.Errorf("%s %w: it is for hardware %q, and this is %q", u.Folder, ErrWrongModel, u.Demands.Hardware, s.Hardware)
	}
	if u.Sequence < s.Sequence {
		return nil, fmt.Errorf("%s %w: its sequence number is %d, and %d is installed", u.Folder, ErrVersion, u.Sequence, s.Sequence)
	}
	u.By = by
	return u, nil
}

// assignment is the device's own, or that of the first of its rings that has one.
func (c *Client) assignment(ctx context.Context, s Subject) (*Assignment, string, error) {
	type subject struct{ device, ring string }
	subjects := []subject{{device: s.Device}}
	for _, ring := range s.Rings {
		subjects = append(subjects, subject{ring: ring})
	}
	for _, x := range subjects {
		path := AssignmentPath(x.device, x.ring)
		a, err := c.Assignment(ctx, path)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		return a, path, err
	}
	return nil, "", ErrUnassigned
}

// Assignment reads the assignment with a path, see [AssignmentPath].
func (c *Client) Assignment(ctx context.Context, path string) (*Assignment, error) {
	t, err := c.Target(ctx, path)
	if err != nil {
		return nil, err
	}
	b, err := c.Bytes(ctx, t, MaxAssignment)
	if err != nil {
		return nil, err
	}
	a, err := ParseAssignment(b)
	if err != nil {
		return nil, err
	}
	if AssignmentPath(a.Device, a.Ring) != path {
		return nil, fmt.Errorf("%s %w: it is for another", path, ErrMismatch)
	}
	return a, nil
}

// verifyAssigned holds what is assigned against what the maker released.
func verifyAssigned(ctx context.Context, maker *Client, r *Assigned) (*Update, error) {
	b, document, err := maker.Release(ctx, r.Folder)
	if err != nil {
		return nil, err
	}
	disagree := func(what string) error { return fmt.Errorf("%s: %w: %s", r.Folder, ErrDisagree, what) }
	switch {
	case b.Manufacturer != r.Manufacturer || b.Model != r.Model || b.Version != r.Version:
		return nil, disagree("another product or version")
	case b.Release.Envelope != r.Envelope || b.Size != r.Size:
		return nil, disagree("another envelope")
	case document != r.Document:
		return nil, disagree("another " + releaseFile)
	}
	t, err := maker.FileTarget(ctx, b, b.File(Envelope))
	if err != nil {
		return nil, err
	}
	u := &Update{Bundle: b, Folder: r.Folder, Document: document, Demands: b.Demands}
	if r.Raise != nil {
		u.Demands = u.Demands.Raised(*r.Raise)
	}
	u.Envelope, err = maker.Bytes(ctx, t, MaxEnvelope)
	return u, err
}

// MaxEnvelope is how many bytes a SUIT envelope may have. Images are targets of
// their own; a small one may be integrated.
const MaxEnvelope = 16 << 20
