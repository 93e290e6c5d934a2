// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/myelin-health/myelin/internal/flock"
)

// A Signers is who signs for a role: Threshold of these keys must.
type Signers struct {
	Keys      []*Key
	Threshold int
}

func (s Signers) check(role string) error {
	ids := map[string]bool{}
	for _, k := range s.Keys {
		ids[k.ID] = true
	}
	if s.Threshold < 1 || s.Threshold > len(ids) || len(ids) != len(s.Keys) {
		return fmt.Errorf("%s: %d of %d keys is no threshold", role, s.Threshold, len(ids))
	}
	return nil
}

// A Lifetime is how long new metadata of a role is believed, if nobody says
// otherwise: long where a person has to fetch a key from a safe, short where
// a program signs, and long enough for a stick that is carried once a week.
var Lifetime = map[string]time.Duration{
	Root:      365 * 24 * time.Hour,
	Targets:   180 * 24 * time.Hour, // and delegated roles
	Snapshot:  30 * 24 * time.Hour,
	Timestamp: 14 * 24 * time.Hour,
}

// A Repository is the signers' side of a TUF repository: a folder with
//
//	public/  metadata/ and targets/ as mirrors have them
//	staged/  metadata that has been changed and waits for signatures, and its targets
//
// What is changed is staged, what is staged is signed, by any number of people one
// after the other, and what has enough signatures is published. Root and targets
// need keys that are offline; snapshot and timestamp are signed by [Repository.Publish].
//
// A Repository has its folder for itself until it is closed. It is for one goroutine.
type Repository struct {
	// Now is the time from which metadata's lifetime counts; time.Now.
	Now func() time.Time

	// Lifetime, where it names a role, has precedence over the table of that name.
	Lifetime map[string]time.Duration

	dir  string
	lock *os.File
}

// Create makes a repository: its first root and targets are staged, and wait for
// their signatures. Signers has the four roles of the top level.
func Create(dir string, signers map[string]Signers) (*Repository, error) {
	for _, role := range topLevel {
		if err := signers[role].check(role); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{"public/metadata", "public/targets", "staged/targets"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	r, err := OpenRepository(dir)
	if err != nil {
		return nil, err
	}
	if _, _, err := r.root(); !errors.Is(err, fs.ErrNotExist) {
		r.Close()
		return nil, fmt.Errorf("%s: a repository is there already", dir)
	}
	root := metadata.Root(r.expiry(Root))
	root.Signed.ConsistentSnapshot = true
	for role, s := range signers {
		if err := setKeys(&root.Signed, role, s); err != nil {
			r.Close()
			return nil, err
		}
	}
	if err := stage(r, Root, root); err != nil {
		r.Close()
		return nil, err
	}
	if err := stage(r, Targets, metadata.Targets(r.expiry(Targets))); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// OpenRepository opens the folder of a repository, which nobody else may have open.
func OpenRepository(dir string) (*Repository, error) {
	if _, err := os.Stat(filepath.Join(dir, "staged")); err != nil {
		return nil, fmt.Errorf("%s: no repository of updates: %w", dir, err)
	}
	lock, err := flock.Take(filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return &Repository{dir: dir, lock: lock, Now: time.Now}, nil
}

// Close lets others have the folder.
func (r *Repository) Close() error { return r.lock.Close() }

func (r *Repository) expiry(role string) time.Time {
	life, ok := r.Lifetime[role]
	if !ok {
		life, ok = Lifetime[role]
	}
	if !ok {
		life = Lifetime[Targets] // a delegated role
	}
	return r.Now().UTC().Add(life).Truncate(time.Second)
}

func (r *Repository) staged(role string) string {
	return filepath.Join(r.dir, "staged", metadataName(role, 0))
}

func (r *Repository) public(name string) string {
	return filepath.Join(r.dir, "public", "metadata", name)
}

// stage writes metadata that waits for signatures.
func stage[T metadata.Roles](r *Repository, role string, m *metadata.Metadata[T]) error {
	b, err := m.ToBytes(true)
	if err != nil {
		return err
	}
	return write(r.staged(role), b)
}

// read reads metadata of this repository's own. It is not verified: what clients
// believe they verify, and who can write here can stage anything.
func read[T metadata.Roles](file, kind string) (*metadata.Metadata[T], error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := wellFormed(kind, b); err != nil {
		return nil, fmt.Errorf("%s %w", file, err)
	}
	m := &metadata.Metadata[T]{}
	m, err = m.FromBytes(b)
	return m, reason(file, err)
}

// root is the newest published root, and the one that is staged. One of them may be
// nil; if both are, the error is [fs.ErrNotExist].
func (r *Repository) root() (published, staged *metadata.Metadata[metadata.RootType], err error) {
	staged, err = read[metadata.RootType](r.staged(Root), Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	files, err := filepath.Glob(r.public("*.root.json"))
	if err != nil {
		return nil, nil, err
	}
	if n := len(files); n > 0 {
		if published, err = read[metadata.RootType](r.public(metadataName(Root, int64(n))), Root); err != nil {
			return nil, nil, err
		}
	} else if staged == nil {
		err = fs.ErrNotExist
	}
	return published, staged, err
}

// newest is the staged root, or else the published one.
func (r *Repository) newest() (*metadata.Metadata[metadata.RootType], error) {
	published, staged, err := r.root()
	if staged != nil {
		return staged, err
	}
	return published, err
}

// snapshot is the published snapshot, and nil if nothing is published.
func (r *Repository) snapshot() (*metadata.Metadata[metadata.SnapshotType], *metadata.Metadata[metadata.TimestampType], error) {
	ts, err := read[metadata.TimestampType](r.public(metadataName(Timestamp, 0)), Timestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	sn, err := read[metadata.SnapshotType](r.public(metadataName(Snapshot, ts.Signed.Meta[Snapshot+".json"].Version)), Snapshot)
	return sn, ts, err
}

// published is the published metadata of a role of targets; the error is
// [fs.ErrNotExist] if there is none.
func (r *Repository) published(role string) (*metadata.Metadata[metadata.TargetsType], error) {
	sn, _, err := r.snapshot()
	if err != nil {
		return nil, err
	}
	if sn == nil || sn.Signed.Meta[role+".json"] == nil {
		return nil, fs.ErrNotExist
	}
	return read[metadata.TargetsType](r.public(metadataName(role, sn.Signed.Meta[role+".json"].Version)), Targets)
}

// current is what a role of targets says, staged or else published.
func (r *Repository) current(role string) (*metadata.Metadata[metadata.TargetsType], error) {
	m, err := read[metadata.TargetsType](r.staged(role), Targets)
	if errors.Is(err, fs.ErrNotExist) {
		m, err = r.published(role)
	}
	return m, err
}

// edit stages a changed role of targets, one version above the published one.
// Signatures on what was staged before are void.
func (r *Repository) edit(role string, change func(*metadata.TargetsType) error) error {
	m, err := r.current(role)
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	version := int64(0)
	switch p, err := r.published(role); {
	case err == nil:
		version = p.Signed.Version
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := change(&m.Signed); err != nil {
		return err
	}
	m.ClearSignatures()
	m.Signed.Version, m.Signed.Expires = version+1, r.expiry(role)
	return stage(r, role, m)
}

func (r *Repository) editRoot(change func(*metadata.RootType) error) error {
	published, m, err := r.root()
	if err != nil {
		return err
	}
	version := int64(0)
	if published != nil {
		version = published.Signed.Version
	}
	if m == nil {
		m = published
	}
	if err := change(&m.Signed); err != nil {
		return err
	}
	m.ClearSignatures()
	m.Signed.Version, m.Signed.Expires = version+1, r.expiry(Root)
	return stage(r, Root, m)
}

func setKeys(root *metadata.RootType, role string, s Signers) error {
	for _, id := range slices.Clone(root.Roles[role].KeyIDs) {
		if err := root.RevokeKey(id, role); err != nil {
			return err
		}
	}
	for _, k := range s.Keys {
		if err := root.AddKey(k.public, role); err != nil {
			return err
		}
	}
	root.Roles[role].Threshold = s.Threshold
	return nil
}

// SetSigners gives a role of the top level other keys. A new root is staged, which
// both the keys that signed the last one and its own must sign; so is the role, if
// it is targets, because the signatures of keys that went away count no more.
func (r *Repository) SetSigners(role string, s Signers) error {
	if !slices.Contains(topLevel, role) {
		return fmt.Errorf("%s: not a role of the top level: its delegation says who signs it", role)
	}
	if err := s.check(role); err != nil {
		return err
	}
	if err := r.editRoot(func(root *metadata.RootType) error { return setKeys(root, role, s) }); err != nil {
		return err
	}
	if role == Targets {
		return r.Renew(Targets)
	}
	return nil
}

// SignersOf returns who signs for a role, by the newest metadata, staged or not.
func (r *Repository) SignersOf(role string) (Signers, error) {
	root, err := r.newest()
	if err != nil {
		return Signers{}, err
	}
	if s, ok := root.Signed.Roles[role]; ok {
		return signersOf(s.KeyIDs, s.Threshold, root.Signed.Keys)
	}
	_, d, err := r.delegator(role)
	if err != nil {
		return Signers{}, err
	}
	role2 := roleOf(d, role)
	return signersOf(role2.KeyIDs, role2.Threshold, d.Keys)
}

func signersOf(ids []string, threshold int, keys map[string]*metadata.Key) (s Signers, err error) {
	s.Threshold = threshold
	for _, id := range ids {
		if keys[id] == nil {
			return s, fmt.Errorf("%w: a role's key is not there", ErrMalformed)
		}
		s.Keys = append(s.Keys, &Key{ID: id, public: keys[id]})
	}
	return s, nil
}

// ReplaceKey rotates one key of a role: from is its id, or the beginning of it.
func (r *Repository) ReplaceKey(role, from string, to *Key) error {
	s, err := r.SignersOf(role)
	if err != nil {
		return err
	}
	at := -1
	for i, k := range s.Keys {
		if strings.HasPrefix(k.ID, from) {
			if at >= 0 || from == "" {
				return fmt.Errorf("%s: more than one of its keys begins with %q", role, from)
			}
			at = i
		}
	}
	if at < 0 {
		return fmt.Errorf("%s: none of its keys begins with %q", role, from)
	}
	s.Keys[at] = to
	if slices.Contains(topLevel, role) {
		return r.SetSigners(role, s)
	}
	name, d, err := r.delegator(role)
	if err != nil {
		return err
	}
	was := roleOf(d, role)
	return r.Delegate(name, Delegation{Name: role, Paths: was.Paths, Terminating: was.Terminating, Signers: s})
}

// A Delegation lets a supplier name targets of its own.
type Delegation struct {
	Name  string // of the role
	Paths []string
	Signers

	// Terminating keeps roles after this one from naming such a path.
	Terminating bool
}

// Delegate delegates paths to a role, or changes a delegation: the delegator is
// staged, and the role too, since signatures of keys that are trusted no more would
// not count. A path is a pattern in which * is any part between two slashes.
func (r *Repository) Delegate(delegator string, d Delegation) error {
	if err := d.check(d.Name); err != nil {
		return err
	}
	if !plain(d.Name) || slices.Contains(topLevel, d.Name) {
		return fmt.Errorf("%q: want a role's name of letters, digits, dots and dashes that is not of the top level", d.Name)
	}
	if len(d.Paths) == 0 {
		return fmt.Errorf("%s: no paths are delegated to it", d.Name)
	}
	if other, _, err := r.delegator(d.Name); err == nil && other != delegator {
		return fmt.Errorf("%s: %s has a role of that name", d.Name, other)
	}
	err := r.edit(delegator, func(t *metadata.TargetsType) error {
		if t.Delegations == nil {
			t.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		}
		role := metadata.DelegatedRole{Name: d.Name, Threshold: d.Threshold, Paths: d.Paths, Terminating: d.Terminating}
		for _, k := range d.Keys {
			role.KeyIDs = append(role.KeyIDs, k.ID)
			t.Delegations.Keys[k.ID] = k.public
		}
		if was := roleOf(t.Delegations, d.Name); was != nil {
			*was = role
		} else {
			t.Delegations.Roles = append(t.Delegations.Roles, role)
		}
		dropKeys(t.Delegations)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := r.current(d.Name); errors.Is(err, fs.ErrNotExist) {
		return stage(r, d.Name, metadata.Targets(r.expiry(d.Name)))
	}
	return r.Renew(d.Name)
}

// Revoke ends a delegation: what the role names is believed no more.
func (r *Repository) Revoke(role string) error {
	delegator, _, err := r.delegator(role)
	if err != nil {
		return err
	}
	if err := os.Remove(r.staged(role)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.edit(delegator, func(t *metadata.TargetsType) error {
		t.Delegations.Roles = slices.DeleteFunc(t.Delegations.Roles, func(d metadata.DelegatedRole) bool { return d.Name == role })
		dropKeys(t.Delegations)
		if len(t.Delegations.Roles) == 0 {
			t.Delegations = nil
		}
		return nil
	})
}

func dropKeys(d *metadata.Delegations) {
	maps.DeleteFunc(d.Keys, func(id string, _ *metadata.Key) bool {
		return !slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool { return slices.Contains(r.KeyIDs, id) })
	})
}

func roleOf(d *metadata.Delegations, name string) *metadata.DelegatedRole {
	for i := range d.Roles {
		if d.Roles[i].Name == name {
			return &d.Roles[i]
		}
	}
	return nil
}

// delegator is the role that delegates to another.
func (r *Repository) delegator(role string) (string, *metadata.Delegations, error) {
	roles, err := r.roles()
	if err != nil {
		return "", nil, err
	}
	for _, name := range roles {
		m, err := r.current(name)
		if err != nil {
			return "", nil, err
		}
		if d := m.Signed.Delegations; d != nil && roleOf(d, role) != nil {
			return name, d, nil
		}
	}
	return "", nil, fmt.Errorf("%s: no such role in this repository", role)
}

// roles are the roles of targets that are delegated to, staged or published, each
// behind its delegator.
func (r *Repository) roles() ([]string, error) {
	roles := []string{Targets}
	for i := 0; i < len(roles); i++ {
		m, err := r.current(roles[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", roles[i], err)
		}
		if m.Signed.Delegations == nil {
			continue
		}
		for _, d := range m.Signed.Delegations.Roles {
			if !slices.Contains(roles, d.Name) {
				roles = append(roles, d.Name)
			}
		}
	}
	return roles, nil
}

// Renew stages a role as it is, with a new version and lifetime.
func (r *Repository) Renew(role string) error {
	if role == Root {
		return r.editRoot(func(*metadata.RootType) error { return nil })
	}
	return r.edit(role, func(*metadata.TargetsType) error { return nil })
}

// AddTarget stages a file under a path, which becomes its name for ever: what is
// published is never replaced by something else, but [Repository.RemoveTarget] takes it back.
func (r *Repository) AddTarget(role, path string, src io.Reader) error {
	return r.put(role, path, src, false)
}

// PutTarget stages a file under a path, in place of what had it.
func (r *Repository) PutTarget(role, path string, src io.Reader) error {
	return r.put(role, path, src, true)
}

func (r *Repository) put(role, path string, src io.Reader, replace bool) error {
	f, err := r.stow(path, src)
	if err != nil {
		return err
	}
	return r.edit(role, func(t *metadata.TargetsType) error {
		if was := t.Targets[path]; was != nil && !replace && !was.Equal(*f) {
			return fmt.Errorf("%s: another file has this path already, and what was released is not replaced", path)
		}
		t.Targets[path] = f
		return nil
	})
}

// stow keeps a file until it is published, and says what it is. Nothing names it yet.
func (r *Repository) stow(path string, src io.Reader) (*metadata.TargetFiles, error) {
	if !validPath(path) {
		return nil, fmt.Errorf("%q: want a path of letters, digits, dots, dashes and plus signs, with slashes between", path)
	}
	dir := filepath.Join(r.dir, "staged", "targets", filepath.FromSlash(path))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f := &metadata.TargetFiles{}
	h := sha256.New()
	tmp := filepath.Join(dir, "new")
	err := writeFrom(tmp, func(w io.Writer) (err error) {
		f.Length, err = io.Copy(io.MultiWriter(w, h), src)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.Hashes = metadata.Hashes{"sha256": h.Sum(nil)}
	return f, os.Rename(tmp, filepath.Join(dir, hex.EncodeToString(f.Hashes["sha256"])))
}

// RemoveTarget stages that a path is named no more.
func (r *Repository) RemoveTarget(role, path string) error {
	return r.edit(role, func(t *metadata.TargetsType) error {
		if _, ok := t.Targets[path]; !ok {
			return fmt.Errorf("%s: %s does not name it", path, role)
		}
		delete(t.Targets, path)
		return nil
	})
}

// A Pending is staged metadata, and the signatures that it has and wants.
type Pending struct {
	Role    string
	Version int64
	Expires time.Time

	// Have and Want count signatures of the role's keys. A root that follows another
	// wants those of the other's keys, too: Before and WantBefore, else 0.
	Have, Want         int
	Before, WantBefore int
}

// Complete reports whether it may be published.
func (p *Pending) Complete() bool { return p.Have >= p.Want && p.Before >= p.WantBefore }

// Pending returns what is staged: root, targets, delegated roles.
func (r *Repository) Pending() ([]Pending, error) {
	var list []Pending
	published, staged, err := r.root()
	if err != nil {
		return nil, err
	}
	if staged != nil {
		p := Pending{Role: Root, Version: staged.Signed.Version, Expires: staged.Signed.Expires}
		p.Have, p.Want = count(staged, Root, staged)
		if published != nil {
			p.Before, p.WantBefore = count(published, Root, staged)
		}
		list = append(list, p)
	}
	roles, err := r.roles()
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		m, err := read[metadata.TargetsType](r.staged(role), Targets)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p := Pending{Role: role, Version: m.Signed.Version, Expires: m.Signed.Expires}
		s, err := r.SignersOf(role)
		if err != nil {
			return nil, err
		}
		p.Want = s.Threshold
		p.Have = signed(s, m)
		list = append(list, p)
	}
	return list, nil
}

// count counts the valid signatures that a root has of a role's keys, and how many
// are wanted.
func count(root *metadata.Metadata[metadata.RootType], role string, m *metadata.Metadata[metadata.RootType]) (have, want int) {
	s, err := signersOf(root.Signed.Roles[role].KeyIDs, root.Signed.Roles[role].Threshold, root.Signed.Keys)
	if err != nil {
		return 0, root.Signed.Roles[role].Threshold
	}
	return signed(s, m), s.Threshold
}

// signed counts the keys whose signature on metadata is valid, by asking go-tuf for
// each with a delegation of its own.
func signed(s Signers, m any) (n int) {
	for _, k := range s.Keys {
		if delegates(Signers{[]*Key{k}, 1}).VerifyDelegate("role", m) == nil {
			n++
		}
	}
	return n
}

// delegates is metadata that trusts these signers with "role".
func delegates(s Signers) *metadata.Metadata[metadata.TargetsType] {
	m := metadata.Targets()
	d := &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{{Name: "role", Threshold: s.Threshold}}}
	for _, k := range s.Keys {
		d.Keys[k.ID] = k.public
		d.Roles[0].KeyIDs = append(d.Roles[0].KeyIDs, k.ID)
	}
	m.Signed.Delegations = d
	return m
}

// Sign signs everything staged that a key counts for, and returns its roles. A
// second signature of one key replaces the first.
func (r *Repository) Sign(k *Key) (roles []string, err error) {
	published, staged, err := r.root()
	if err != nil {
		return nil, err
	}
	if staged != nil {
		ids := staged.Signed.Roles[Root].KeyIDs
		if published != nil {
			ids = slices.Concat(ids, published.Signed.Roles[Root].KeyIDs)
		}
		if slices.Contains(ids, k.ID) {
			if err := sign(r, Root, staged, k); err != nil {
				return nil, err
			}
			roles = append(roles, Root)
		}
	}
	all, err := r.roles()
	if err != nil {
		return nil, err
	}
	for _, role := range all {
		m, err := read[metadata.TargetsType](r.staged(role), Targets)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := r.SignersOf(role)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(s.Keys, func(other *Key) bool { return other.ID == k.ID }) {
			if err := sign(r, role, m, k); err != nil {
				return nil, err
			}
			roles = append(roles, role)
		}
	}
	return roles, nil
}

func sign[T metadata.Roles](r *Repository, role string, m *metadata.Metadata[T], k *Key) error {
	signer, err := k.signs()
	if err != nil {
		return err
	}
	m.Signatures = slices.DeleteFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == k.ID })
	if _, err := m.Sign(signer); err != nil {
		return err
	}
	return stage(r, role, m)
}

// Publish makes what is staged public, with a new snapshot and timestamp that these
// keys sign, as many as the root wants. With nothing staged it renews those two.
// It changes nothing that clients see unless all of it verifies.
func (r *Repository) Publish(online ...*Key) error {
	pending, err := r.Pending()
	if err != nil {
		return err
	}
	for _, p := range pending {
		if !p.Complete() {
			return incomplete(&p)
		}
	}
	published, staged, err := r.root()
	if err != nil {
		return err
	}
	root := staged
	if root == nil {
		root = published
	}
	now := r.Now().UTC()
	if root.Signed.IsExpired(now) {
		return fmt.Errorf("root %w: renew it", ErrExpired)
	}
	snapshot, timestamp, err := r.snapshot()
	if err != nil {
		return err
	}
	if snapshot == nil {
		snapshot, timestamp = metadata.Snapshot(), metadata.Timestamp()
		snapshot.Signed.Version, timestamp.Signed.Version = 0, 0
	}
	// What is written, in its order: nothing names what is not there yet.
	type file struct {
		name string
		b    []byte
	}
	var files []file
	if staged != nil {
		b, err := os.ReadFile(r.staged(Root))
		if err != nil {
			return err
		}
		files = append(files, file{metadataName(Root, staged.Signed.Version), b})
	}
	roles, err := r.roles()
	if err != nil {
		return err
	}
	for _, role := range roles {
		m, err := r.current(role)
		if err != nil {
			return err
		}
		s, err := r.SignersOf(role)
		if err != nil {
			return err
		}
		if have := signed(s, m); have < s.Threshold {
			return fmt.Errorf("%s %w: %d of %d", role, ErrUnsigned, have, s.Threshold)
		}
		if m.Signed.IsExpired(now) {
			return fmt.Errorf("%s %w: renew it", role, ErrExpired)
		}
		b, err := os.ReadFile(r.staged(role))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := r.publishTargets(m); err != nil {
			return err
		}
		files = append(files, file{metadataName(role, m.Signed.Version), b})
		snapshot.Signed.Meta[role+".json"] = describe(m.Signed.Version, b)
	}

	snapshot.Signed.Version, snapshot.Signed.Expires = snapshot.Signed.Version+1, r.expiry(Snapshot)
	b, err := signOnline(root, Snapshot, snapshot, online)
	if err != nil {
		return err
	}
	files = append(files, file{metadataName(Snapshot, snapshot.Signed.Version), b})
	timestamp.Signed.Version, timestamp.Signed.Expires = timestamp.Signed.Version+1, r.expiry(Timestamp)
	timestamp.Signed.Meta[Snapshot+".json"] = describe(snapshot.Signed.Version, b)
	if b, err = signOnline(root, Timestamp, timestamp, online); err != nil {
		return err
	}
	files = append(files, file{metadataName(Timestamp, 0), b})
	for _, f := range files {
		if err := write(r.public(f.name), f.b); err != nil {
			return err
		}
	}
	staging, err := os.ReadDir(filepath.Join(r.dir, "staged"))
	if err != nil {
		return err
	}
	for _, d := range staging {
		if !d.IsDir() {
			err = errors.Join(err, os.Remove(filepath.Join(r.dir, "staged", d.Name())))
		}
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(r.dir, "staged", "targets")), os.Mkdir(filepath.Join(r.dir, "staged", "targets"), 0o755))
}

func incomplete(p *Pending) error {
	if p.Before < p.WantBefore {
		return fmt.Errorf("%s %d %w: %d of the %d that those of the root before it have to give", p.Role, p.Version, ErrUnsigned, p.Before, p.WantBefore)
	}
	return fmt.Errorf("%s %d %w: %d of %d", p.Role, p.Version, ErrUnsigned, p.Have, p.Want)
}

func describe(version int64, b []byte) *metadata.MetaFiles {
	d := sha256.Sum256(b)
	return &metadata.MetaFiles{Version: version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": d[:]}}
}

// publishTargets moves the files of a role to where clients look for them.
func (r *Repository) publishTargets(m *metadata.Metadata[metadata.TargetsType]) error {
	for path, f := range m.Signed.Targets {
		t := Target{Path: path, Length: f.Length, Hashes: map[string][]byte{"sha256": f.Hashes["sha256"]}}
		name, err := t.fileName(true)
		if err != nil {
			return err
		}
		to := filepath.Join(r.dir, "public", "targets", filepath.FromSlash(name))
		src, err := os.Open(filepath.Join(r.dir, "staged", "targets", filepath.FromSlash(path), hex.EncodeToString(t.Hashes["sha256"])))
		if errors.Is(err, fs.ErrNotExist) {
			if src, err = os.Open(to); err != nil { // published before
				return fmt.Errorf("%s is not here: %w", path, err)
			}
			err = t.verify(io.Discard, src)
			src.Close()
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		err = os.MkdirAll(filepath.Dir(to), 0o755)
		if err == nil {
			err = writeFrom(to, func(w io.Writer) error { return t.verify(w, src) })
		}
		src.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// signOnline signs metadata with the keys that a role has among these.
func signOnline[T metadata.Roles](root *metadata.Metadata[metadata.RootType], role string, m *metadata.Metadata[T], keys []*Key) ([]byte, error) {
	m.ClearSignatures()
	for _, k := range keys {
		if !slices.Contains(root.Signed.Roles[role].KeyIDs, k.ID) {
			continue
		}
		signer, err := k.signs()
		if err != nil {
			return nil, err
		}
		if _, err := m.Sign(signer); err != nil {
			return nil, err
		}
	}
	if err := root.VerifyDelegate(role, m); err != nil {
		return nil, fmt.Errorf("%w; give the keys of %s", reason(role, err), role)
	}
	return m.ToBytes(true)
}

// plain reports whether a name is of letters, digits, dots, dashes and plus signs,
// so that it is the same in a URL and in a file system.
func plain(name string) bool {
	if name == "" || len(name) > 128 || name[0] == '.' {
		return false
	}
	return strings.IndexFunc(name, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._+-", c))
	}) < 0
}

func validPath(path string) bool {
	return len(path) <= 512 && !slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return !plain(s) })
}

// A RoleStatus is what is public of a role.
type RoleStatus struct {
	Role    string
	Version int64     // 0: not published yet
	Expires time.Time // zero: not published yet
	Signers           // by the newest metadata, staged or not
}

// Status returns the roles of the top level and those that are delegated to.
func (r *Repository) Status() ([]RoleStatus, error) {
	root, _, err := r.root()
	if err != nil {
		return nil, err
	}
	snapshot, timestamp, err := r.snapshot()
	if err != nil {
		return nil, err
	}
	roles, err := r.roles()
	if err != nil {
		return nil, err
	}
	var list []RoleStatus
	for _, role := range append([]string{Root, Timestamp, Snapshot}, roles...) {
		s := RoleStatus{Role: role}
		switch {
		case role == Root && root != nil:
			s.Version, s.Expires = root.Signed.Version, root.Signed.Expires
		case role == Timestamp && timestamp != nil:
			s.Version, s.Expires = timestamp.Signed.Version, timestamp.Signed.Expires
		case role == Snapshot && snapshot != nil:
			s.Version, s.Expires = snapshot.Signed.Version, snapshot.Signed.Expires
		case !slices.Contains(topLevel, role) || role == Targets:
			m, err := r.published(role)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if err == nil {
				s.Version, s.Expires = m.Signed.Version, m.Signed.Expires
			}
		}
		if s.Signers, err = r.SignersOf(role); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}
