// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/myelin-health/myelin/internal/flock"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
)

// A Site is a folder with copies of the repositories that one place needs: a
// hospital's server, a gateway that devices load from, a stick on its way.
//
//	hospital/           metadata/ and targets/, as they are public
//	makers/NAME/        the same of each manufacturer; NAME is norra-medical for Norra Medical
//	files/FOLDER/NAME   the files of releases, by the names that an Offer has; not on a stick
//	.receipts/          signed receipts, DIGEST.cose
//	.trusted/           what this site's clients believe; not on a stick
//	.devices/ID.pub     public COSE keys, whose receipts are believed; not on a stick
//
// A web server may serve all of it but what begins with a dot. What comes into a site is verified as from the network, wherever it comes from:
// sites and sticks are mirrors, and nobody believes a mirror.
type Site struct {
	Now func() time.Time // time.Now
	dir string
}

// The hospital's repository in a site, and the folder of the makers'.
const (
	Hospital = "hospital"
	makers   = "makers"
	files    = "files"
	trusted  = ".trusted"
	receipts = ".receipts"
	devices  = ".devices"
)

// MakerName is the name that a manufacturer's repository has in a site.
func MakerName(manufacturer string) string { return makers + "/" + slug(manufacturer) }

// OpenSite opens the folder of a site, which it makes if need be.
func OpenSite(dir string) (*Site, error) {
	for _, d := range []string{receipts, devices} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	return &Site{time.Now, dir}, nil
}

func (s *Site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// Trust begins the copy of a repository, "hospital" or "makers/NAME", with a root that
// somebody vouches for.
func (s *Site) Trust(name string, root []byte) error {
	maker, ok := strings.CutPrefix(name, makers+"/")
	if name != Hospital && (!ok || !plain(maker)) {
		return fmt.Errorf("%s: want %s, or %s/NAME for a manufacturer", name, Hospital, makers)
	}
	return Trust(s.path(trusted, name), root)
}

// Names are the repositories that the site has, the hospital's first.
func (s *Site) Names() ([]string, error) {
	found, err := filepath.Glob(s.path(trusted, makers, "*", "root.json"))
	if err != nil {
		return nil, err
	}
	var names []string
	if _, err := os.Stat(s.path(trusted, Hospital, "root.json")); err == nil {
		names = append(names, Hospital)
	}
	for _, f := range found {
		names = append(names, makers+"/"+filepath.Base(filepath.Dir(f)))
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: this site trusts no root yet", s.dir)
	}
	return names, nil
}

// Client is a client of a repository of the site's, which reads from these sources,
// or if they are nil from the site's own copy.
func (s *Site) Client(name string, metadata, targets Source) (*Client, error) {
	if metadata == nil {
		own := Dir{os.DirFS(s.path(name))}
		metadata, targets = Below(own, "metadata"), Below(own, "targets")
	}
	return NewClient(Config{Dir: s.path(trusted, name), Metadata: metadata, Targets: targets, Now: s.Now})
}

// Below is a source one folder deeper.
func Below(s Source, dir string) Source { return lower{s, dir} }

type lower struct {
	Source
	dir string
}

func (l lower) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return l.Source.Open(ctx, l.dir+"/"+name)
}

// An Imported says what came into a site.
type Imported struct {
	Repositories []string  // that were verified and copied
	Updates      []*Update // assigned by the hospital, each verified against its maker
	Available    []string  // folders of releases that are not assigned to anybody
	Unread       []error   // releases of that kind that this version cannot read
	Receipts     []Receipt // that are new here
	Refused      []error   // receipts that were refused
}

// A Receipt is a device's signed word on how an update ended.
type Receipt struct {
	File  string // in the site's receipts
	State patch.State
}

// Import brings a site up to date from sources: of each repository that it has,
// from(name) is where its metadata/ and targets/ are read, nil for nowhere. Both
// signers are verified for every assignment before the site's copy changes, so that
// devices which load from it never see halves: with an error it is as before, but
// for what its clients know to be old.
func (s *Site) Import(ctx context.Context, from func(name string) Source) (*Imported, error) {
	lock, err := flock.Take(s.path(".lock"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.dir, err)
	}
	defer lock.Close()
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	in := &Imported{}
	clients := map[string]*Client{}
	for _, name := range names {
		src := from(name)
		if src == nil {
			continue
		}
		c, err := s.Client(name, Below(src, "metadata"), Below(src, "targets"))
		if err == nil {
			err = c.Refresh(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		clients[name] = c
		in.Repositories = append(in.Repositories, name)
	}
	if len(clients) == 0 {
		return nil, fmt.Errorf("nothing to import: none of %s is there", strings.Join(names, ", "))
	}
	wanted, err := assigned(ctx, clients, in)
	if err != nil {
		return nil, err
	}
	if err := available(ctx, clients, in, wanted); err != nil {
		return nil, err
	}
	if err := mirror(ctx, clients, in.Repositories, s.dir, wanted); err != nil {
		return nil, err
	}
	for _, name := range in.Repositories {
		if name == Hospital {
			continue
		}
		for _, p := range wanted[name] {
			if err := s.file(ctx, clients[name], name, p); err != nil {
				return nil, err
			}
		}
	}
	return in, nil
}

// file gives a target of the site's copy the name that an Offer has for it.
func (s *Site) file(ctx context.Context, c *Client, name, p string) error {
	t, err := c.Target(ctx, p)
	if err != nil {
		return err
	}
	at, err := t.fileName(c.trusted.Root.Signed.ConsistentSnapshot)
	if err != nil {
		return err
	}
	from, to := s.path(name, "targets", filepath.FromSlash(at)), s.path(files, filepath.FromSlash(p))
	a, err := os.Stat(from)
	if err != nil {
		return err
	}
	if b, err := os.Stat(to); err == nil && os.SameFile(a, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	half := filepath.Join(filepath.Dir(to), ".new-"+filepath.Base(at))
	if err := os.Link(from, half); err != nil && !errors.Is(err, fs.ErrExist) {
		// No links here: a copy.
		src, err := os.Open(from)
		if err != nil {
			return err
		}
		defer src.Close()
		return writeFrom(to, func(w io.Writer) error { return t.verify(w, src) })
	}
	return os.Rename(half, to)
}

// mirror copies several repositories: all targets, before any metadata says that
// they are there, and what the hospital assigns last.
func mirror(ctx context.Context, clients map[string]*Client, names []string, dir string, wanted map[string][]string) error {
	for _, copies := range []func(c *Client, name, to string) error{
		func(c *Client, name, to string) error { return c.mirrorTargets(ctx, to, wanted[name]) },
		func(c *Client, _, to string) error { return c.mirrorMetadata(ctx, to) },
	} {
		for _, name := range slices.Backward(names) {
			if err := copies(clients[name], name, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// assigned verifies what the hospital assigns, and returns the paths of targets that
// have to be copied, by repository.
func assigned(ctx context.Context, clients map[string]*Client, in *Imported) (map[string][]string, error) {
	wanted := map[string][]string{}
	hospital := clients[Hospital]
	if hospital == nil {
		return wanted, nil
	}
	paths, err := hospital.Paths(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[patch.Digest]bool{}
	for _, p := range paths {
		if !strings.HasPrefix(p, "devices/") && !strings.HasPrefix(p, "rings/") {
			continue
		}
		a, err := hospital.Assignment(ctx, p)
		if err != nil {
			return nil, err
		}
		wanted[Hospital] = append(wanted[Hospital], p)
		for i := range a.Releases {
			r := &a.Releases[i]
			name := MakerName(r.Manufacturer)
			maker := clients[name]
			if maker == nil {
				return nil, fmt.Errorf("%s: %w: of %s there is no repository here", p, ErrDisagree, r.Manufacturer)
			}
			u, err := verifyAssigned(ctx, maker, r)
			if err != nil {
				return nil, err
			}
			u.By = p
			in.Updates = append(in.Updates, u)
			if !seen[u.Document] {
				seen[u.Document] = true
				wanted[name] = append(wanted[name], u.paths(true)...)
			}
		}
	}
	return wanted, nil
}

// available adds releases that nobody is to have yet, so that they can be read and
// assigned: their payloads only for a site that has no hospital's repository. A stick
// need not have them.
func available(ctx context.Context, clients map[string]*Client, in *Imported, wanted map[string][]string) error {
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		if name == Hospital {
			continue
		}
		paths, err := clients[name].Paths(ctx)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if path.Base(p) != releaseFile || slices.Contains(wanted[name], p) {
				continue
			}
			b, _, err := clients[name].Release(ctx, path.Dir(p))
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case errors.Is(err, ErrMalformed):
				in.Unread = append(in.Unread, fmt.Errorf("%s: %w", p, err))
			case err != nil:
				return err
			default:
				in.Available = append(in.Available, path.Dir(p))
				wanted[name] = append(wanted[name], b.paths(clients[Hospital] == nil)...)
			}
		}
	}
	return nil
}

// paths are the target paths of a release, with those of its payloads or without.
func (r *Bundle) paths(payloads bool) []string {
	folder := Folder(&r.Release)
	paths := []string{folder + "/" + releaseFile}
	for i := range r.Files {
		if k := r.Files[i].Kind; !payloads && (k == Image || k == Delta) {
			continue
		}
		paths = append(paths, folder+"/"+r.Files[i].Name)
	}
	return paths
}

// Export copies what the site has to a folder, a stick's: repositories, as they are,
// and receipts. Whoever imports it verifies it again.
func (s *Site) Export(ctx context.Context, dir string) ([]string, error) {
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	var done []string
	clients := map[string]*Client{}
	for _, name := range names {
		if _, err := os.Stat(s.path(name, "metadata")); errors.Is(err, fs.ErrNotExist) {
			continue // trusted, and not imported yet
		}
		c, err := s.Client(name, nil, nil)
		if err == nil {
			err = c.Refresh(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		clients[name] = c
		done = append(done, name)
	}
	wanted, err := assigned(ctx, clients, &Imported{})
	if err == nil && clients[Hospital] == nil {
		err = available(ctx, clients, &Imported{}, wanted)
	}
	if err != nil {
		return nil, err
	}
	if err := mirror(ctx, clients, done, dir, wanted); err != nil {
		return nil, err
	}
	_, err = s.GiveReceipts(dir)
	return done, err
}

// Mirror copies the metadata that a client verified in its last refresh, and these
// targets, to a folder with metadata/ and targets/. The timestamp is written last:
// before it, nobody sees anything new.
func (c *Client) Mirror(ctx context.Context, dir string, paths []string) error {
	if err := c.mirrorTargets(ctx, dir, paths); err != nil {
		return err
	}
	return c.mirrorMetadata(ctx, dir)
}

func (c *Client) mirrorTargets(ctx context.Context, dir string, paths []string) error {
	if c.trusted == nil {
		return ErrNotRefreshed
	}
	for _, p := range paths {
		t, err := c.Target(ctx, p)
		if err != nil {
			return err
		}
		name, err := t.fileName(c.trusted.Root.Signed.ConsistentSnapshot)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, "targets", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := c.Download(ctx, t, file); err != nil {
			return err
		}
	}
	return c.loadAll(ctx)
}

func (c *Client) mirrorMetadata(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "metadata"), 0o755); err != nil {
		return err
	}
	put := func(name string, b []byte) error {
		file := filepath.Join(dir, "metadata", name)
		if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, b) {
			return nil
		}
		return write(file, b)
	}
	if err := c.mirrorRoots(ctx, put); err != nil {
		return err
	}
	for role, m := range c.trusted.Targets {
		b, err := c.local(role, maxTargets)
		if err == nil {
			err = put(metadataName(role, consistent(c.trusted, m.Signed.Version)), b)
		}
		if err != nil {
			return err
		}
	}
	b, err := c.local(Snapshot, maxSnapshot)
	if err == nil {
		err = put(metadataName(Snapshot, consistent(c.trusted, c.trusted.Snapshot.Signed.Version)), b)
	}
	if err != nil {
		return err
	}
	if b, err = c.local(Timestamp, maxTimestamp); err != nil {
		return err
	}
	return put(metadataName(Timestamp, 0), b)
}

// mirrorRoots copies the chain of roots that leads to the one which this client
// trusts, from the first that the source has: a device may still have that.
func (c *Client) mirrorRoots(ctx context.Context, put func(string, []byte) error) error {
	own, err := c.local(Root, maxRoot)
	if err != nil {
		return err
	}
	newest := c.trusted.Root.Signed.Version
	var chain *trustedmetadata.TrustedMetadata
	for v := max(1, newest-maxRotations); v <= newest; v++ {
		b := own
		if v < newest {
			b, err = c.fetch(ctx, c.cfg.Metadata, metadataName(Root, v), maxRoot)
			if errors.Is(err, fs.ErrNotExist) && chain == nil {
				continue
			}
			if err != nil {
				return err
			}
		}
		name := metadataName(Root, v)
		if chain == nil {
			if err := verifyRoot(b); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			chain, err = trustedmetadata.New(b)
		} else {
			err = update(name, Root, b, func() error { _, err := chain.UpdateRoot(b); return err })
		}
		if err == nil {
			err = put(name, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxRoles is how many delegated roles a mirror carries.
const maxRoles = 1024

// loadAll loads every role that is delegated to. Roles that the snapshot does not
// name are left out, as bins may be.
func (c *Client) loadAll(ctx context.Context) error {
	todo := []string{Targets}
	for i := 0; i < len(todo); i++ {
		d := c.trusted.Targets[todo[i]].Signed.Delegations
		if d == nil {
			continue
		}
		var names []string
		for _, r := range d.Roles {
			names = append(names, r.Name)
		}
		if d.SuccinctRoles != nil {
			for name := range c.trusted.Snapshot.Signed.Meta {
				if name = strings.TrimSuffix(name, ".json"); d.SuccinctRoles.IsDelegatedRole(name) {
					names = append(names, name)
				}
			}
		}
		for _, name := range names {
			if c.trusted.Snapshot.Signed.Meta[name+".json"] == nil || slices.Contains(todo, name) {
				continue
			}
			if len(todo) > maxRoles {
				return fmt.Errorf("%w: more than %d roles", ErrTooLong, maxRoles)
			}
			if err := c.load(ctx, c.trusted, name, todo[i]); err != nil {
				return err
			}
			todo = append(todo, name)
		}
	}
	return nil
}

// AddReceipt verifies a receipt with the keys of the site's devices, and keeps it.
// It is kept once: the second time new is false.
func (s *Site) AddReceipt(b []byte) (r Receipt, isNew bool, err error) {
	keys, err := s.keys()
	if err != nil {
		return r, false, err
	}
	return s.addReceipt(b, keys)
}

func (s *Site) addReceipt(b []byte, keys map[string]*cose.Key) (r Receipt, isNew bool, err error) {
	var signer string
	err = patch.Open(b, &r.State, func(kid []byte) *cose.Key {
		for id, k := range keys {
			if bytes.Equal(patch.KeyID(k), kid) {
				signer = id
				return k
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return r, false, err
	case r.State.Device != signer:
		return r, false, fmt.Errorf("the receipt of one device is signed by another: %w", patch.ErrSigner)
	case r.State.Result == nil:
		return r, false, errors.New("it says nothing of an update")
	}
	d := sha256.Sum256(b)
	r.File = hex.EncodeToString(d[:]) + ".cose"
	file := s.path(receipts, r.File)
	if _, err := os.Stat(file); err == nil {
		return r, false, nil
	}
	return r, true, write(file, b)
}

// keys are the keys of the devices whose receipts are believed, by device.
func (s *Site) keys() (map[string]*cose.Key, error) {
	files, err := filepath.Glob(s.path(devices, "*.pub"))
	if err != nil {
		return nil, err
	}
	keys := map[string]*cose.Key{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		k, err := cose.ParseKey(b)
		if err != nil || k.D != nil {
			return nil, fmt.Errorf("%s: not a public COSE key", f)
		}
		keys[strings.TrimSuffix(filepath.Base(f), ".pub")] = &k
	}
	return keys, nil
}

// maxReceipts is how many receipts a stick may bring at once.
const maxReceipts = 10_000

// TakeReceipts takes the receipts of a stick, or of another site, that are new here.
func (s *Site) TakeReceipts(stick fs.FS, in *Imported) error {
	list, err := fs.ReadDir(stick, receipts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keys, err := s.keys()
	if err != nil {
		return err
	}
	if len(list) > maxReceipts {
		return fmt.Errorf("%s %w: %d receipts are the most", receipts, ErrTooLong, maxReceipts)
	}
	for _, d := range list {
		if !strings.HasSuffix(d.Name(), ".cose") || !plain(d.Name()) {
			continue
		}
		if _, err := os.Stat(s.path(receipts, d.Name())); err == nil {
			continue
		}
		b, err := readSmall(stick, path.Join(receipts, d.Name()), patch.MaxMessage)
		if err == nil {
			var r Receipt
			var isNew bool
			if r, isNew, err = s.addReceipt(b, keys); isNew {
				in.Receipts = append(in.Receipts, r)
			}
		}
		if err != nil {
			in.Refused = append(in.Refused, fmt.Errorf("%s: %w", d.Name(), err))
		}
	}
	return nil
}

func readSmall(f fs.FS, name string, most int64) ([]byte, error) {
	r, err := (Dir{f}).Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = ErrTooLong
	}
	return b, err
}

// GiveReceipts copies the site's receipts to a stick that has not got them, and says how
// many that were.
func (s *Site) GiveReceipts(dir string) (n int, err error) {
	files, err := filepath.Glob(s.path(receipts, "*.cose"))
	if err != nil || len(files) == 0 {
		return 0, err
	}
	to := filepath.Join(dir, receipts)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return 0, err
	}
	for _, f := range files {
		there := filepath.Join(to, filepath.Base(f))
		if _, err := os.Stat(there); err == nil {
			continue
		}
		b, err := os.ReadFile(f)
		if err == nil {
			err = write(there, b)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
