// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/repo"
)

// hasOS are the models that have an operating system: HTTPS, and room for the metadata of two TUF repositories. The others
// have CoAP, and verify envelope and offer alone.
var hasOS = map[string]bool{"homelink": true, "cloud": true, "reader": true, "studio": true, "clinic-server": true}

// A publisher has a TUF repository with two keys: one for root and targets, and one online.
type publisher struct {
	*repo.Repository
	dir             string
	offline, online *repo.Key
	root            []byte // the first, which clients begin with
}

func newPublisher(dir string, now func() time.Time) (*publisher, error) {
	p := &publisher{dir: dir}
	var err error
	if p.offline, err = repo.GenerateKey(); err != nil {
		return p, err
	}
	if p.online, err = repo.GenerateKey(); err != nil {
		return p, err
	}
	one := func(k *repo.Key) repo.Signers { return repo.Signers{Keys: []*repo.Key{k}, Threshold: 1} }
	p.Repository, err = repo.Create(dir, map[string]repo.Signers{
		repo.Root: one(p.offline), repo.Targets: one(p.offline), repo.Snapshot: one(p.online), repo.Timestamp: one(p.online),
	})
	if err != nil {
		return p, err
	}
	p.Now = now
	err = errors.Join(p.Renew(repo.Root), p.Renew(repo.Targets), p.publish()) // by the story's clock
	if err == nil {
		p.root, err = os.ReadFile(filepath.Join(dir, "public", "metadata", "1.root.json"))
	}
	return p, err
}

// publish signs what is staged, and makes it public.
func (p *publisher) publish() error {
	if _, err := p.Sign(p.offline); err != nil {
		return err
	}
	return p.Publish(p.online)
}

// A shelf is what a mirror has, by its path.
type shelf map[string][]byte

// shelved is what is public now.
func (p *publisher) shelved() (shelf, error) {
	s := shelf{}
	public := filepath.Join(p.dir, "public")
	err := fs.WalkDir(os.DirFS(public), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		s[path], err = os.ReadFile(filepath.Join(public, filepath.FromSlash(path)))
		return err
	})
	return s, err
}

// with is a shelf in which some things are others.
func (s shelf) with(change func(path string, b []byte) []byte) shelf {
	out := maps.Clone(s)
	for path, b := range out {
		out[path] = change(path, b)
	}
	return out
}

// A mirrored source ([repo.Source]) is a folder of a shelf, which somebody may exchange.
type mirrored struct {
	shelf  *shelf
	folder string
}

func (m mirrored) Open(_ context.Context, name string) (io.ReadCloser, error) {
	b, ok := (*m.shelf)[m.folder+"/"+name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Repositories are the maker's and the hospital's, and what their mirrors had before the release in which the weakness is mended,
// and have with it.
type repositories struct {
	dir             string
	maker, hospital *publisher
	then, now       [2]shelf // of the maker, and of the hospital
}

// newRepositories publishes a stock's releases, in their order. They are to be closed, after an error too.
func newRepositories(ctx context.Context, dir string, s *stock) (*repositories, error) {
	r := &repositories{dir: dir}
	now := func() time.Time { return story }
	var err error
	if r.maker, err = newPublisher(filepath.Join(dir, "maker"), now); err != nil {
		return r, err
	}
	if r.hospital, err = newPublisher(filepath.Join(dir, "hospital"), now); err != nil {
		return r, err
	}
	if err = errors.Join(r.release(s.older, oldest), r.release(s.weak, oldest), r.assign(ctx, s.weak)); err != nil {
		return r, err
	}
	r.then = r.now
	return r, errors.Join(r.release(s.other, oldest), r.release(s.mended, s.weak.Version), r.assign(ctx, s.mended))
}

func (r *repositories) close() (err error) {
	for _, p := range []*publisher{r.maker, r.hospital} {
		if p != nil && p.Repository != nil {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// release has the maker publish a release.
func (r *repositories) release(x *release, from string) error {
	file := func(name string, kind repo.Kind, b []byte) repo.Attachment {
		return repo.Attachment{File: repo.File{Name: name, Kind: kind}, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
	}
	_, err := r.maker.AddRelease(repo.Targets, x.announced(from), []repo.Attachment{
		file("envelope", repo.Envelope, x.envelope), file("image", repo.Image, x.image),
	})
	if err != nil {
		return err
	}
	return errors.Join(r.maker.publish(), r.look())
}

// assign has the hospital read a release as the maker published it, and assign it.
func (r *repositories) assign(ctx context.Context, x *release) error {
	c, err := follow(filepath.Join(r.dir, "assigns-"+x.Version), r.maker.root, &r.now[0], r.maker.Now)
	if err != nil {
		return err
	}
	if err := c.Refresh(ctx); err != nil {
		return err
	}
	a, err := c.Assigns(ctx, x.folder(), nil)
	if err != nil {
		return err
	}
	return errors.Join(r.hospital.Assign(&repo.Assignment{Device: unitID, Releases: []repo.Assigned{a}}), r.hospital.publish(), r.look())
}

// renew signs once more what is public, as it is.
func (r *repositories) renew(now func() time.Time) error {
	r.maker.Now, r.hospital.Now = now, now
	return errors.Join(r.maker.publish(), r.hospital.publish(), r.look())
}

// look is the mirrors taking what is public.
func (r *repositories) look() (err error) {
	for i, p := range []*publisher{r.maker, r.hospital} {
		if r.now[i], err = p.shelved(); err != nil {
			return err
		}
	}
	return nil
}

// follow is a client of what is on a shelf.
func follow(dir string, root []byte, s *shelf, now func() time.Time) (*repo.Client, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := repo.Trust(dir, root); err != nil {
		return nil, err
	}
	return repo.NewClient(repo.Config{Dir: dir, Metadata: mirrored{s, "metadata"}, Targets: mirrored{s, "targets"}, Now: now})
}

// A voucher is what a device with an operating system asks before it believes an offer: both repositories, as Uptane's full
// verification does.
type voucher struct {
	clients [2]*repo.Client
	mirrors [2]shelf // what they have now
	subject repo.Subject
}

func newVoucher(s *stock, now func() time.Time) (*voucher, error) {
	r := s.repositories
	v := &voucher{mirrors: r.then, subject: repo.Subject{Device: unitID, Manufacturer: makerName, Model: s.weak.Model, Hardware: hardware}}
	dir, err := os.MkdirTemp(r.dir, "device-")
	if err != nil {
		return nil, err
	}
	for i, p := range []*publisher{r.maker, r.hospital} {
		if v.clients[i], err = follow(filepath.Join(dir, strconv.Itoa(i)), p.root, &v.mirrors[i], now); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// vouch is [agent.Config.Vouch].
func (v *voucher) vouch(ctx context.Context, o *patch.Offer) error {
	u, err := repo.FullVerification(ctx, v.clients[0], v.clients[1], v.subject)
	if err != nil {
		return err
	}
	if u.Release.Envelope != o.Envelope || u.Version != o.Version || u.Sequence != o.Sequence {
		return fmt.Errorf("the offer: %w", repo.ErrDisagree)
	}
	o.Demands = u.Demands.Raised(o.Demands)
	return nil
}

// metadataAttacks are those of [updateAttacks] that a device which verifies TUF repositories is held to beside: by a mirror.
var metadataAttacks = map[string]func(ctx context.Context, b *bed) (string, error){
	"altered": func(ctx context.Context, b *bed) (string, error) {
		b.assign(b.mended, b.weak.Version)
		b.voucher.mirrors = b.repositories.now
		b.voucher.mirrors[0] = b.repositories.now[0].with(func(_ string, was []byte) []byte {
			if bytes.Equal(was, b.mended.envelope) {
				return b.altered.envelope
			}
			return was
		})
		return "a mirror's envelope", b.refuses(ctx, soon, 0, repo.ErrMismatch)
	},
	"downgraded": func(ctx context.Context, b *bed) (string, error) {
		b.assign(b.mended, b.weak.Version)
		b.voucher.mirrors = b.repositories.now
		if err := b.staged(ctx); err != nil {
			return "", err
		}
		b.voucher.mirrors = b.repositories.then
		return "a mirror that goes back once it is staged", b.refuses(ctx, soon, 0, repo.ErrVersion)
	},
	"frozen": func(ctx context.Context, b *bed) (string, error) {
		b.assign(b.mended, b.weak.Version)
		if err := b.refuses(ctx, soon, 0, repo.ErrDisagree); err != nil {
			return "", err
		}
		b.clock.Advance(repo.Lifetime[repo.Timestamp])
		b.assign(b.mended, b.weak.Version)
		err := b.refuses(ctx, soon, 0, repo.ErrExpired)
		return "a mirror that stands still, when its metadata expires", errors.Join(err, b.repositories.renew(b.clock.Now))
	},
	"mixed": func(ctx context.Context, b *bed) (string, error) {
		b.assign(b.mended, b.weak.Version)
		b.voucher.mirrors[0] = b.repositories.now[0].with(func(path string, was []byte) []byte {
			version, role, _ := strings.Cut(strings.TrimPrefix(path, "metadata/"), ".")
			if n, err := strconv.Atoi(version); err == nil && role == "targets.json" && b.repositories.then[0][path] == nil {
				return b.repositories.now[0]["metadata/"+strconv.Itoa(n-1)+"."+role]
			}
			return was
		})
		if err := b.refuses(ctx, soon, 0, repo.ErrMismatch, repo.ErrVersion); err != nil {
			return "", fmt.Errorf("old targets under a new snapshot: %w", err)
		}
		b.voucher.mirrors[0] = b.repositories.now[0] // and the hospital's is the old one
		if err := b.refuses(ctx, soon, 0, repo.ErrDisagree); err != nil {
			return "", fmt.Errorf("the maker's new repository beside the hospital's old one: %w", err)
		}
		return "old targets under a new snapshot, the maker's new repository beside the hospital's old one", nil
	},
}
