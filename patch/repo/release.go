// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/myelin-health/myelin/patch"
)

// A Kind is what a file of a release is.
type Kind string

// The kinds.
const (
	Envelope Kind = "envelope" // the SUIT envelope; one in each release
	Image    Kind = "image"    // a payload that is whole
	Delta    Kind = "delta"    // a payload for one version that runs
	SBOM     Kind = "sbom"     // CycloneDX or SPDX
	VEX      Kind = "vex"
	Advisory Kind = "advisory" // CSAF or OSV, of what the release fixes
)

var kinds = []Kind{Envelope, Image, Delta, SBOM, VEX, Advisory}

// A File is a file of a release, in its folder.
type File struct {
	Name   string       `json:"name"` // of a delta, which the device asks for by it: "2.1.4.delta"
	Kind   Kind         `json:"kind"`
	Size   int64        `json:"size"` // bytes
	SHA256 patch.Digest `json:"sha256"`

	From string `json:"from,omitempty"` // of a delta: the version that it is applied to
	ID   string `json:"id,omitempty"`   // of an advisory: as the release names it
}

// A Bundle is all that a maker publishes of a release: release.json, a target in the
// release's folder, which names the other targets there. It is a target and no
// custom metadata of the others, so that every client's metadata stays small and a
// release is one file that can be kept, compared and recorded by its digest. Its
// files cannot be mixed with those of another release, whoever signs the metadata.
type Bundle struct {
	Schema int `json:"schema"` // 1
	patch.Release
	Files []File `json:"files"`
}

// Bounds of release.json.
const (
	MaxBundle     = 256 << 10 // bytes
	maxFiles      = 256
	maxText       = 256     // bytes of a name, a version
	maxNotes      = 8 << 10 // bytes
	maxVersions   = 64      // that a release is installed over, hardware revisions, advisories
	releaseFile   = "release.json"
	longestUpdate = 30 * 24 * time.Hour
)

// Folder is where a release's files are, as a target path: maker, model and version,
// in small letters.
func Folder(r *patch.Release) string {
	return slug(r.Manufacturer) + "/" + slug(r.Model) + "/" + r.Version
}

// slug makes a part of a path of a name: "Norra Medical" is norra-medical.
func slug(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '+':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-.")
}

// strict reads a document of ours: one JSON value with no name twice, no null, and
// no name that is not known, because a demand that is overlooked could harm.
func strict(b []byte, most int, v any) error {
	if len(b) > most {
		return fmt.Errorf("%w: %d bytes are the most", ErrTooLong, most)
	}
	if err := walk(b); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// ParseBundle reads release.json, and checks that it is complete and consistent.
func ParseBundle(b []byte) (*Bundle, error) {
	var r Bundle
	if err := strict(b, MaxBundle, &r); err != nil {
		return nil, fmt.Errorf("%s %w", releaseFile, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%s %w: %w", releaseFile, ErrMalformed, err)
	}
	if len(r.Advisories) == 0 {
		r.Advisories = nil // an empty list is written as none
	}
	return &r, nil
}

func (r *Bundle) check() error {
	d := &r.Demands
	switch {
	case r.Schema != 1:
		return errors.New("another schema than 1")
	case !short(r.Manufacturer) || !short(r.Model) || slug(r.Manufacturer) == "" || slug(r.Model) == "":
		return errors.New("no manufacturer or model")
	case !plain(r.Version):
		return errors.New("no version of letters, digits, dots and dashes")
	case r.Sequence == 0:
		return errors.New("no sequence number")
	case !all(d.Hardware, short) || !all(d.From, short) || len(d.Hardware) == 0 || len(d.From) == 0:
		return errors.New("it does not say which hardware and which versions it is for")
	case len(r.Notes) > maxNotes || len(r.Recall) > maxText || len(r.Advisories) > maxVersions:
		return errors.New("a text or a list is too long")
	case d.Longest <= 0 || d.Longest > longestUpdate || d.Backup < 0 || d.Backup > d.Longest || d.Resume < 0 || d.Resume > longestUpdate:
		return errors.New("its durations contradict each other: the worst case contains the time in backup mode")
	case d.Battery < 0 || d.Battery > 100 || d.Longevity < 0 || d.Free < 0:
		return errors.New("what it asks of the battery or the storage is no number of percent, days, bytes")
	}
	if _, err := time.Parse(time.DateOnly, r.Learned); r.Learned != "" && err != nil {
		return errors.New("learned is no date")
	}
	if r.Urgency == patch.UncontrolledRisk && r.Learned == "" {
		return errors.New("it mends an uncontrolled risk, and does not say since when that is known")
	}
	if len(r.Files) == 0 || len(r.Files) > maxFiles {
		return errors.New("no files, or too many")
	}
	names := map[string]bool{releaseFile: true}
	fixed := map[string]bool{}
	envelopes := 0
	for i := range r.Files {
		f := &r.Files[i]
		switch {
		case !plain(f.Name) || names[f.Name]:
			return errors.New("a file's name is another's, or not of letters, digits, dots and dashes")
		case !slices.Contains(kinds, f.Kind):
			return errors.New("a file's kind is unknown")
		case f.Size < 1 || f.SHA256 == patch.Digest{}:
			return errors.New("a file is empty, or has no digest")
		case (f.Kind == Delta) != (f.From != "") || f.From != "" && !slices.Contains(d.From, f.From):
			return errors.New("a delta is for a version that the release is not made for")
		case f.Kind == Delta && f.Name != f.From+".delta":
			return errors.New("the name of a delta is the version that it is for, and .delta")
		case (f.Kind == Advisory) != (f.ID != "") || f.ID != "" && !slices.Contains(r.Advisories, f.ID):
			return errors.New("an advisory that the release does not say it fixes")
		case f.Kind == Envelope:
			envelopes++
			if f.SHA256 != r.Release.Envelope || f.Size != r.Size {
				return errors.New("the envelope is not the one that the release names")
			}
		}
		names[f.Name], fixed[f.ID] = true, true
	}
	if envelopes != 1 {
		return errors.New("not one envelope")
	}
	for _, id := range r.Advisories {
		if !short(id) || !fixed[id] {
			return errors.New("it says that it fixes an advisory that is not among its files")
		}
	}
	return nil
}

func short(s string) bool { return s != "" && len(s) <= maxText }

func all(list []string, ok func(string) bool) bool {
	return len(list) <= maxVersions && !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}

// File is the first file of a kind; nil is none.
func (r *Bundle) File(k Kind) *File {
	for i := range r.Files {
		if r.Files[i].Kind == k {
			return &r.Files[i]
		}
	}
	return nil
}

// Named is the file with a name; nil is none.
func (r *Bundle) Named(name string) *File {
	for i := range r.Files {
		if r.Files[i].Name == name {
			return &r.Files[i]
		}
	}
	return nil
}

// An Attachment is a file of a release that is about to be made: Name, Kind, From
// and ID are given, size and digest found out.
type Attachment struct {
	File
	Open func() (io.ReadCloser, error)
}

// AddRelease stages a release: its files, and release.json, which says what they
// are. Of the release, Envelope and Size are found out. Role is [Targets], or a
// supplier's. A version that was released is never released again.
func (r *Repository) AddRelease(role string, release patch.Release, files []Attachment) (*Bundle, error) {
	b := &Bundle{Schema: 1, Release: release}
	folder := Folder(&release)
	targets := map[string]*metadata.TargetFiles{}
	stow := func(name string, src io.Reader) (*metadata.TargetFiles, error) {
		path := folder + "/" + name
		f, err := r.stow(path, src)
		targets[path] = f
		return f, err
	}
	for _, a := range files {
		src, err := a.Open()
		if err != nil {
			return nil, err
		}
		f, err := stow(a.Name, src)
		src.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		a.Size, a.SHA256 = f.Length, patch.Digest(f.Hashes["sha256"])
		if a.Kind == Envelope {
			b.Release.Envelope, b.Size = a.SHA256, a.Size
		}
		b.Files = append(b.Files, a.File)
	}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("the release: %w", err)
	}
	doc, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return nil, err
	}
	if _, err := ParseBundle(doc); err != nil {
		return nil, err
	}
	if _, err := stow(releaseFile, bytes.NewReader(doc)); err != nil {
		return nil, err
	}
	return b, r.edit(role, func(t *metadata.TargetsType) error {
		for path := range t.Targets {
			if strings.HasPrefix(path, folder+"/") {
				return fmt.Errorf("%s: this version is there already, and no version is released twice", folder)
			}
		}
		maps.Copy(t.Targets, targets)
		return nil
	})
}

// Release reads and checks the release in a folder of a maker's repository, and
// returns the digest of its document, too. Its files were not read.
func (c *Client) Release(ctx context.Context, folder string) (*Bundle, patch.Digest, error) {
	t, err := c.Target(ctx, folder+"/"+releaseFile)
	if err != nil {
		return nil, patch.Digest{}, err
	}
	doc, err := c.Bytes(ctx, t, MaxBundle)
	if err != nil {
		return nil, patch.Digest{}, err
	}
	b, err := ParseBundle(doc)
	if err != nil {
		return nil, patch.Digest{}, err
	}
	if Folder(&b.Release) != folder {
		return nil, patch.Digest{}, fmt.Errorf("%s %w: it holds %s %s", folder, ErrMismatch, b.Product(), b.Version)
	}
	return b, sha256.Sum256(doc), nil
}

// FileTarget looks up a file of a release: signed metadata and release.json have to
// say the same of it.
func (c *Client) FileTarget(ctx context.Context, b *Bundle, f *File) (*Target, error) {
	path := Folder(&b.Release) + "/" + f.Name
	t, err := c.Target(ctx, path)
	if err != nil {
		return nil, err
	}
	if t.Length != f.Size || t.SHA256() != f.SHA256 {
		return nil, fmt.Errorf("%s %w: %s has another size or digest for it", path, ErrMismatch, releaseFile)
	}
	return t, nil
}
