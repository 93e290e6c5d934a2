// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// A Config says where a client keeps and reads what. Zero fields have the defaults
// that stand at them.
type Config struct {
	// Dir is a folder of this client's own, with the metadata that it trusts:
	// root.json, which [Trust] puts there, and what was verified since.
	Dir string

	Metadata, Targets Source

	// Now is the time against which metadata expires; time.Now. A device gives the
	// time that it has from a signed source.
	Now func() time.Time

	// MaxTarget is how many bytes a target may have, whatever its metadata says; 1 GiB.
	MaxTarget int64

	// Patience is how long a source may take for a file beside the time that its
	// bytes take at SlowestRate, after which it is given up (slow retrieval); 30 s.
	Patience time.Duration

	// SlowestRate is in bytes a second; 1,024.
	SlowestRate int64
}

// A Client follows one TUF repository. It is for one goroutine at a time, and its
// folder for one client at a time.
type Client struct {
	cfg     Config
	trusted *trustedmetadata.TrustedMetadata // of the last refresh, nil before
}

// Trust begins a client's folder with the root that somebody vouches for: one that
// came with the device, or was checked by two people. It replaces nothing.
func Trust(dir string, root []byte) error {
	if err := verifyRoot(root); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, "root.json")
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s: %w: this client trusts a root already", name, fs.ErrExist)
	}
	return write(name, root)
}

// verifyRoot checks that a root is one, and signed by its own keys.
func verifyRoot(root []byte) error {
	if err := wellFormed(Root, root); err != nil {
		return fmt.Errorf("root %w", err)
	}
	_, err := trustedmetadata.New(root)
	return reason("root", err)
}

// NewClient returns a client of a folder that [Trust] began.
func NewClient(cfg Config) (*Client, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxTarget == 0 {
		cfg.MaxTarget = 1 << 30
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.SlowestRate == 0 {
		cfg.SlowestRate = 1024
	}
	c := &Client{cfg: cfg}
	root, err := c.local(Root, maxRoot)
	if err != nil {
		return nil, err
	}
	return c, verifyRoot(root)
}

// Refresh brings root, timestamp, snapshot and targets up to date, in this order
// (section 5.3 to 5.6). What was verified before an error is kept: a newer root
// counts even if the rest is refused. After an error the client answers nothing.
func (c *Client) Refresh(ctx context.Context) error {
	c.trusted = nil
	root, err := c.local(Root, maxRoot)
	if err == nil {
		err = verifyRoot(root)
	}
	if err != nil {
		return err
	}
	t, err := trustedmetadata.New(root)
	if err != nil {
		return reason(Root, err)
	}
	t.RefTime = c.cfg.Now().UTC()
	for range maxRotations {
		b, err := c.fetch(ctx, c.cfg.Metadata, metadataName(Root, t.Root.Signed.Version+1), maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil {
			err = update(Root, Root, b, func() error { _, err := t.UpdateRoot(b); return err })
		}
		if err == nil {
			err = c.keep(Root, b)
		}
		if err != nil {
			return err
		}
	}
	// Section 5.3.10: said here, because go-tuf says it of the timestamp.
	if t.Root.Signed.IsExpired(t.RefTime) {
		return fmt.Errorf("root %w", ErrExpired)
	}
	if err := c.refreshTimestamp(ctx, t); err != nil {
		return err
	}
	if err := c.refreshSnapshot(ctx, t); err != nil {
		return err
	}
	if err := c.load(ctx, t, Targets, Root); err != nil {
		return err
	}
	c.trusted = t
	return nil
}

// update looks through metadata before go-tuf does the same and verifies it.
func update(role, kind string, b []byte, verify func() error) error {
	if err := wellFormed(kind, b); err != nil {
		return fmt.Errorf("%s %w", role, err)
	}
	return reason(role, verify())
}

func (c *Client) refreshTimestamp(ctx context.Context, t *trustedmetadata.TrustedMetadata) error {
	verify := func(b []byte) error {
		return update(Timestamp, Timestamp, b, func() error {
			_, err := t.UpdateTimestamp(b)
			var same *metadata.ErrEqualVersionNumber
			if errors.As(err, &same) {
				return errUnchanged
			}
			return err
		})
	}
	// What is kept is needed against rollback even if it has expired, and worth
	// nothing if the root has other keys for it now.
	if b, err := c.local(Timestamp, maxTimestamp); err == nil {
		_ = verify(b)
	}
	b, err := c.fetch(ctx, c.cfg.Metadata, metadataName(Timestamp, 0), maxTimestamp)
	if err != nil {
		return err
	}
	switch err := verify(b); {
	case errors.Is(err, errUnchanged): // section 5.4.3.1: the same version is kept as it is
		if t.Timestamp.Signed.IsExpired(t.RefTime) {
			return fmt.Errorf("timestamp %w", ErrExpired)
		}
		return nil
	case err != nil:
		return err
	}
	return c.keep(Timestamp, b)
}

var errUnchanged = errors.New("unchanged")

func (c *Client) refreshSnapshot(ctx context.Context, t *trustedmetadata.TrustedMetadata) error {
	verify := func(b []byte, kept bool) error {
		return update(Snapshot, Snapshot, b, func() error { _, err := t.UpdateSnapshot(b, kept); return err })
	}
	if b, err := c.local(Snapshot, maxSnapshot); err == nil && verify(b, true) == nil {
		return nil
	}
	info := t.Timestamp.Signed.Meta[Snapshot+".json"]
	b, err := c.fetch(ctx, c.cfg.Metadata, metadataName(Snapshot, consistent(t, info.Version)), bound(info.Length, maxSnapshot))
	if err != nil {
		return err
	}
	if err := verify(b, false); err != nil {
		return err
	}
	return c.keep(Snapshot, b)
}

// load brings a role of targets up to date, as this delegator trusts it: that
// another one did says nothing.
func (c *Client) load(ctx context.Context, t *trustedmetadata.TrustedMetadata, role, delegator string) error {
	info, ok := t.Snapshot.Signed.Meta[role+".json"]
	if !ok {
		return fmt.Errorf("%s %w: the snapshot does not name it", role, ErrMismatch)
	}
	verify := func(b []byte) error {
		return update(role, Targets, b, func() error { _, err := t.UpdateDelegatedTargets(b, role, delegator); return err })
	}
	if b, err := c.local(role, maxTargets); err == nil && verify(b) == nil {
		return nil
	}
	b, err := c.fetch(ctx, c.cfg.Metadata, metadataName(role, consistent(t, info.Version)), bound(info.Length, maxTargets))
	if err != nil {
		return err
	}
	if err := verify(b); err != nil {
		return err
	}
	return c.keep(role, b)
}

// consistent is the version in a name, 0 where the repository puts none there.
func consistent(t *trustedmetadata.TrustedMetadata, version int64) int64 {
	if !t.Root.Signed.ConsistentSnapshot {
		return 0
	}
	return version
}

func bound(length, most int64) int64 {
	if length == 0 {
		return most
	}
	return min(length, most)
}

// ErrNotRefreshed says that a client was asked before a refresh succeeded.
var ErrNotRefreshed = errors.New("the repository's metadata was not refreshed, or not verified")

// Target looks a path up: first in the targets role, then in the roles it
// delegates to, in their order, depth first (section 5.6.7). The error is
// [ErrNotFound] where no role names it, or that of a role that was to be asked
// and could not be verified: what comes after it is not asked in its place.
func (c *Client) Target(ctx context.Context, path string) (*Target, error) {
	if c.trusted == nil {
		return nil, ErrNotRefreshed
	}
	type visit struct{ role, delegator string }
	visits := []visit{{Targets, Root}}
	visited := map[string]bool{}
	for len(visits) > 0 {
		v := visits[len(visits)-1]
		visits = visits[:len(visits)-1]
		if visited[v.role] {
			continue // a cycle, or a second delegator behind the first
		}
		if len(visited) > maxDelegations {
			return nil, fmt.Errorf("%s %w: %d roles were asked", path, ErrNotFound, len(visited))
		}
		visited[v.role] = true
		if v.role != Targets {
			if err := c.load(ctx, c.trusted, v.role, v.delegator); err != nil {
				return nil, err
			}
		}
		signed := &c.trusted.Targets[v.role].Signed
		if f, ok := signed.Targets[path]; ok {
			t := &Target{Path: path, Length: f.Length, Hashes: map[string][]byte{}, Role: v.role}
			for name, h := range f.Hashes {
				t.Hashes[name] = h
			}
			return t, nil
		}
		if signed.Delegations == nil {
			continue
		}
		next := rolesFor(signed.Delegations, path)
		if i := slices.IndexFunc(next, func(r metadata.RoleResult) bool { return r.Terminating }); i >= 0 {
			next, visits = next[:i+1], nil
		}
		for _, r := range slices.Backward(next) {
			visits = append(visits, visit{r.Name, v.role})
		}
	}
	return nil, fmt.Errorf("%s %w", path, ErrNotFound)
}

// Paths returns the paths of all targets that may be looked up, sorted: those of
// delegated roles, too, as far as the roles are trusted with them.
func (c *Client) Paths(ctx context.Context) ([]string, error) {
	if c.trusted == nil {
		return nil, ErrNotRefreshed
	}
	if err := c.loadAll(ctx); err != nil {
		return nil, err
	}
	var paths []string
	for role, m := range c.trusted.Targets {
		for p := range m.Signed.Targets {
			t, err := c.Target(ctx, p)
			if errors.Is(err, ErrNotFound) || err == nil && t.Role != role {
				continue // named by who is not trusted with it, or not first
			}
			if err != nil {
				return nil, err
			}
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// Bytes returns a target of at most so many bytes.
func (c *Client) Bytes(ctx context.Context, t *Target, most int64) ([]byte, error) {
	if t.Length > most {
		return nil, fmt.Errorf("%s %w: %d bytes, at most %d", t.Path, ErrTooLong, t.Length, most)
	}
	var b bytes.Buffer
	if err := c.copy(ctx, &b, t); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Download puts a target into a file, unless that has it already. The file is
// whole and verified, or what it was before.
func (c *Client) Download(ctx context.Context, t *Target, file string) error {
	if f, err := os.Open(file); err == nil {
		err = t.verify(io.Discard, f)
		f.Close()
		if err == nil {
			return nil
		}
	}
	return writeFrom(file, func(w io.Writer) error { return c.copy(ctx, w, t) })
}

// copy writes a target as it comes; it is verified only when copy returns nil.
func (c *Client) copy(ctx context.Context, w io.Writer, t *Target) error {
	if c.trusted == nil {
		return ErrNotRefreshed
	}
	if t.Length > c.cfg.MaxTarget {
		return fmt.Errorf("%s %w: %d bytes, at most %d", t.Path, ErrTooLong, t.Length, c.cfg.MaxTarget)
	}
	name, err := t.fileName(c.trusted.Root.Signed.ConsistentSnapshot)
	if err != nil {
		return err
	}
	r, done, err := c.open(ctx, c.cfg.Targets, name, t.Length)
	if err != nil {
		return err
	}
	defer done()
	return t.verify(w, r)
}

// verify copies what r has to w, at most one byte more than the target has, and
// checks it.
func (t *Target) verify(w io.Writer, r io.Reader) error {
	sums := map[string]hash.Hash{}
	all := []io.Writer{w}
	for name := range t.Hashes {
		switch name {
		case "sha256":
			sums[name] = sha256.New()
		case "sha512":
			sums[name] = sha512.New()
		default:
			return fmt.Errorf("%s %w: a hash of a kind that is unknown", t.Path, ErrMalformed)
		}
		all = append(all, sums[name])
	}
	if len(sums) == 0 {
		return fmt.Errorf("%s %w: no hash", t.Path, ErrMalformed)
	}
	n, err := io.Copy(io.MultiWriter(all...), io.LimitReader(r, t.Length+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", t.Path, err)
	case n > t.Length:
		return fmt.Errorf("%s %w", t.Path, ErrTooLong)
	case n < t.Length:
		return fmt.Errorf("%s %w: %d bytes, not %d", t.Path, ErrMismatch, n, t.Length)
	}
	for name, h := range sums {
		if !bytes.Equal(h.Sum(nil), t.Hashes[name]) {
			return fmt.Errorf("%s %w: another %s", t.Path, ErrMismatch, name)
		}
	}
	return nil
}

// open opens a file of a source for as long as n bytes may take.
func (c *Client) open(ctx context.Context, s Source, name string, n int64) (r io.Reader, done func(), err error) {
	patience := c.cfg.Patience + time.Duration(n/c.cfg.SlowestRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s came too slowly: not within %v", name, patience))
	f, err := s.Open(ctx, name)
	if err != nil {
		err = cause(ctx, err)
		cancel()
		return nil, nil, err
	}
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, cause(ctx, err)
		}
		n, err := f.Read(p)
		return n, cause(ctx, err)
	}), func() { f.Close(); cancel() }, nil
}

// cause says why a read ended, if it was for the time it took.
func cause(ctx context.Context, err error) error {
	if err != nil && err != io.EOF && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// fetch returns a file of a source that has at most so many bytes.
func (c *Client) fetch(ctx context.Context, s Source, name string, most int64) ([]byte, error) {
	r, done, err := c.open(ctx, s, name, most)
	if err != nil {
		return nil, err
	}
	defer done()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s %w: %d bytes", name, ErrTooLong, most)
	}
	return b, err
}

// local returns metadata that was verified before.
func (c *Client) local(role string, most int64) ([]byte, error) {
	f, err := os.Open(c.file(role))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s %w", role, ErrTooLong)
	}
	return b, err
}

func (c *Client) keep(role string, b []byte) error { return write(c.file(role), b) }

func (c *Client) file(role string) string { return filepath.Join(c.cfg.Dir, metadataName(role, 0)) }
