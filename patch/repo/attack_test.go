// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/myelin-health/myelin/patch"
)

// TestFreeze has a mirror stand still: at first that is all right.
func TestFreeze(t *testing.T) {
	p := newParty(t)
	p.put(Targets, "a", "old")
	p.publish()
	c := p.client()
	c.cfg.Metadata, c.cfg.Targets = p.mirror()
	p.put(Targets, "a", "new")
	p.publish()
	p.now = p.now.Add(Lifetime[Timestamp])
	if got, err := text(t, c, "a"); got != "old" {
		t.Fatalf("on its last day: %q, %v", got, err)
	}
	p.now = p.now.Add(2 * time.Second)
	if _, err := text(t, c, "a"); !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "timestamp") {
		t.Errorf("a day later: %v", err)
	}
	// Someone with the timestamp's key can go on only until the snapshot ends.
	p.must(p.Publish(p.online()...))
	c.cfg.Metadata, c.cfg.Targets = p.mirror()
	if _, err := text(t, c, "a"); err != nil {
		t.Errorf("renewed: %v", err)
	}
}

// TestRollback goes back to an older mirror, whole or in parts.
func TestRollback(t *testing.T) {
	p := newParty(t)
	p.put(Targets, "a", "old")
	p.publish()
	before, _ := p.mirror()
	p.put(Targets, "a", "new")
	p.publish()
	now, files := p.mirror()

	c := p.client()
	c.cfg.Targets = files
	c.cfg.Metadata = now
	if got, err := text(t, c, "a"); got != "new" {
		t.Fatalf("%q, %v", got, err)
	}
	c.cfg.Metadata = before
	if _, err := text(t, c, "a"); !errors.Is(err, ErrVersion) {
		t.Errorf("an older mirror: %v", err)
	}
	if again, err := NewClient(c.cfg); err != nil {
		t.Error(err)
	} else if _, err := text(t, again, "a"); !errors.Is(err, ErrVersion) {
		t.Errorf("after a restart: %v", err)
	}
	c.cfg.Metadata = now
	if got, err := text(t, c, "a"); got != "new" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	if _, err := c.Target(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	c.cfg.Metadata = before
	if err := c.Refresh(t.Context()); err == nil {
		t.Error("went back")
	}
	if _, err := c.Target(t.Context(), "a"); !errors.Is(err, ErrNotRefreshed) {
		t.Errorf("what a refused refresh left: %v", err)
	}
}

// TestRollbackOfTimestamp goes back to a mirror that names the same targets: who could
// do that could withhold what comes next for as long as the old one lives.
func TestRollbackOfTimestamp(t *testing.T) {
	p := newParty(t)
	p.put(Targets, "a", "content")
	p.publish()
	before, files := p.mirror()
	p.must(p.Publish(p.online()...))
	c := p.client()
	if _, err := text(t, c, "a"); err != nil {
		t.Fatal(err)
	}
	c.cfg.Metadata, c.cfg.Targets = before, files
	if _, err := text(t, c, "a"); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "timestamp") {
		t.Errorf("an older timestamp: %v", err)
	}
}

// TestMixAndMatch puts each file of an older mirror in the place of the newer one.
func TestMixAndMatch(t *testing.T) {
	p := newParty(t)
	k := keyring(t, 1)[0]
	p.must(p.Delegate(Targets, Delegation{Name: "supplier", Paths: []string{"s/*"}, Signers: Signers{[]*Key{k}, 1}}))
	p.put(Targets, "a", "old")
	p.put("supplier", "s/x", "old")
	p.publish(k)
	p.put(Targets, "a", "new")
	p.put("supplier", "s/x", "new")
	p.publish(k)
	now, files := p.mirror()
	tried := 0
	for name, b := range now {
		version, role, _ := strings.Cut(name, ".")
		if version != "3" && !(version == "2" && role == "supplier.json") {
			continue // a root, or not of the newest
		}
		older := now[map[string]string{"3": "2", "2": "1"}[version]+"."+role]
		if older == nil || bytes.Equal(older, b) {
			t.Fatalf("no older %s", name)
		}
		tried++
		c := p.client()
		c.cfg.Targets, c.cfg.Metadata = files, now.with(name, older)
		_, err := text(t, c, "a")
		if err == nil {
			_, err = text(t, c, "s/x")
		}
		if !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s of before: %v", name, err)
		}
	}
	if tried != 3 {
		t.Errorf("%d files were exchanged", tried)
	}
	// Someone with the snapshot's key signs another one of the same version.
	s, err := metadata.Snapshot().FromBytes(now["3.snapshot.json"])
	p.must(err)
	s.Signed.Expires = s.Signed.Expires.Add(time.Hour)
	c := p.client()
	c.cfg.Targets, c.cfg.Metadata = files, now.with("3.snapshot.json", signAll(t, s, p.keys[Snapshot]...))
	if _, err := text(t, c, "a"); !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrTooLong) {
		t.Errorf("another snapshot: %v", err)
	}
	for name := range files {
		for other, b := range files {
			if name == other {
				continue
			}
			c := p.client()
			c.cfg.Metadata, c.cfg.Targets = now, files.with(name, b)
			got, err := text(t, c, "a")
			if got != "new" && !errors.Is(err, ErrMismatch) {
				t.Errorf("%s in place of %s: %q, %v", other, name, got, err)
			}
		}
	}
}

// An endless source never stops, and counts what was read of it.
type endless struct{ n int64 }

func (e *endless) Open(context.Context, string) (io.ReadCloser, error) { return io.NopCloser(e), nil }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.n += int64(len(b))
	return len(b), nil
}

func TestEndless(t *testing.T) {
	p := newParty(t)
	p.put(Targets, "a", "short")
	p.publish()
	c := p.client()
	sound := c.cfg.Metadata
	e := &endless{}
	c.cfg.Metadata = e
	if _, err := text(t, c, "a"); !errors.Is(err, ErrTooLong) || e.n > 2*maxRoot {
		t.Errorf("metadata without end: %d bytes were read, %v", e.n, err)
	}
	c.cfg.Metadata, c.cfg.Targets, e.n = sound, e, 0
	if _, err := text(t, c, "a"); !errors.Is(err, ErrTooLong) || e.n > 64<<10 {
		t.Errorf("a target without end: %d bytes were read, %v", e.n, err)
	}
	c.cfg.MaxTarget = 4
	if _, err := text(t, c, "a"); !errors.Is(err, ErrTooLong) {
		t.Errorf("a target that its metadata says is longer than may be: %v", err)
	}
}

// A slow source gives a byte a minute.
type slow struct{ ctx context.Context }

func (slow) Open(ctx context.Context, _ string) (io.ReadCloser, error) {
	return io.NopCloser(slow{ctx}), nil
}

func (s slow) Read(b []byte) (int, error) {
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-time.After(time.Minute):
		b[0] = ' '
		return 1, nil
	}
}

func TestSlow(t *testing.T) {
	p := newParty(t)
	c := p.client()
	synctest.Test(t, func(t *testing.T) {
		c.cfg.Metadata = slow{}
		start := time.Now()
		err := c.Refresh(t.Context())
		if err == nil || !strings.Contains(err.Error(), "too slowly") {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > 10*time.Minute {
			t.Errorf("it waited for %v", took)
		}
	})
}

// TestHTTP reads from a web server, and shows that a redirect is not followed.
func TestHTTP(t *testing.T) {
	p := newParty(t)
	p.put(Targets, "some/path", "1")
	p.publish()
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(p.dir, "public"))))
	t.Cleanup(server.Close)
	c := p.client()
	c.cfg.Metadata, c.cfg.Targets = HTTP{Base: server.URL + "/metadata/"}, HTTP{Base: server.URL + "/targets"}
	if got, err := text(t, c, "some/path"); err != nil || got != "1" {
		t.Fatalf("%q, %v", got, err)
	}
	elsewhere := httptest.NewServer(http.RedirectHandler(server.URL+"/targets/x", http.StatusFound))
	t.Cleanup(elsewhere.Close)
	c.cfg.Targets = HTTP{Base: elsewhere.URL}
	if _, err := text(t, c, "some/path"); err == nil {
		t.Error("a redirect was followed")
	}
}

// TestDir shows that what is no file, and what leads outside, is not read.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "in/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "out"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../out", filepath.Join(dir, "in/link")); err != nil {
		t.Skip(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"sub", "link", "../out", "/etc/passwd", "none"} {
		if f, err := (Dir{root.FS()}).Open(t.Context(), name); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

// A pair is a maker and a hospital, and pump-3, which reads both.
type pair struct {
	maker, hospital *party
	pump            Subject
}

func newPair(t *testing.T) *pair {
	p := &pair{newParty(t), newParty(t), Subject{Device: "pump-3", Rings: []string{"icu"}, Manufacturer: "Norra Medical", Model: "Flow 500", Hardware: "C"}}
	r, files := flow500("2.2.0")
	_, err := p.maker.AddRelease(Targets, r, files)
	p.maker.must(err)
	p.maker.publish()
	return p
}

// assign assigns release 2.2.0, once it was changed.
func (p *pair) assign(a Assignment, change func(*Assigned)) {
	p.hospital.t.Helper()
	c := p.maker.client()
	p.maker.must(c.Refresh(p.hospital.t.Context()))
	r, err := c.Assigns(p.hospital.t.Context(), "norra-medical/flow-500/2.2.0", nil)
	p.maker.must(err)
	if change != nil {
		change(&r)
	}
	a.Releases = append(a.Releases, r)
	p.hospital.must(p.hospital.Assign(&a))
	p.hospital.publish()
}

func (p *pair) verify() (*Update, error) {
	return FullVerification(p.hospital.t.Context(), p.maker.client(), p.hospital.client(), p.pump)
}

func TestFullVerification(t *testing.T) {
	p := newPair(t)
	if _, err := p.verify(); !errors.Is(err, ErrUnassigned) {
		t.Errorf("before it is assigned: %v", err)
	}
	p.assign(Assignment{Ring: "icu"}, nil)
	u, err := p.verify()
	if err != nil {
		t.Fatal(err)
	}
	if string(u.Envelope) != "envelope of 2.2.0" || u.By != "rings/icu.json" || u.Demands.Battery != 40 {
		t.Errorf("%+v", u)
	}
	o, err := u.Offer("pump-3", 7, then, 10*time.Minute, true)
	if err != nil || o.Envelope != u.Release.Envelope || o.Path != "files/norra-medical/flow-500/2.2.0/flow500.suit" || !o.Expires.Equal(then.Add(10*time.Minute)) || o.Sequence != 22 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := u.Offer("pump-3", 7, then, LongestOffer+1, true); err == nil {
		t.Error("an offer for longer")
	}
	// The device's own assignment comes first, and raises.
	p.assign(Assignment{Device: "pump-3"}, func(r *Assigned) {
		r.Raise = &patch.Demands{Battery: 60, Supervision: patch.InClinic}
	})
	if u, err = p.verify(); err != nil || u.By != "devices/pump-3.json" || u.Demands.Battery != 60 || u.Demands.Backup != 3*time.Minute {
		t.Errorf("%+v, %v", u, err)
	}
	// It may say that there is nothing to have.
	p.hospital.must(p.hospital.Assign(&Assignment{Device: "pump-3"}))
	p.hospital.publish()
	if _, err := p.verify(); !errors.Is(err, ErrUnassigned) {
		t.Errorf("taken back: %v", err)
	}
	p.pump.Device, p.pump.Rings = "pump-9", nil
	if _, err := p.verify(); !errors.Is(err, ErrUnassigned) {
		t.Errorf("another device: %v", err)
	}
}

// TestDisagreement has one of the two signers say something else: an attacker with
// all of the hospital's keys, and then with all of the maker's.
func TestDisagreement(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Assigned)
		want   error
	}{
		"another envelope":  {func(r *Assigned) { r.Envelope[0] ^= 1 }, ErrDisagree},
		"another size":      {func(r *Assigned) { r.Size++ }, ErrDisagree},
		"another document":  {func(r *Assigned) { r.Document[0] ^= 1 }, ErrDisagree},
		"another version":   {func(r *Assigned) { r.Version, r.Folder = "9.9.9", "norra-medical/flow-500/9.9.9" }, ErrNotFound},
		"another product":   {func(r *Assigned) { r.Model, r.Folder = "Flow 700", "norra-medical/flow-700/2.2.0" }, ErrWrongModel},
		"a name like it":    {func(r *Assigned) { r.Model = "Flow-500" }, ErrWrongModel},
		"another's release": {func(r *Assigned) { r.Manufacturer, r.Folder = "Veltis", "veltis/flow-500/2.2.0" }, ErrWrongModel},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.assign(Assignment{Device: "pump-3"}, c.change)
			if u, err := p.verify(); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
	t.Run("hardware", func(t *testing.T) {
		p := newPair(t)
		p.assign(Assignment{Device: "pump-3"}, nil)
		p.pump.Hardware = "B"
		if _, err := p.verify(); !errors.Is(err, ErrWrongModel) {
			t.Error(err)
		}
	})
	t.Run("a step back", func(t *testing.T) {
		p := newPair(t)
		p.assign(Assignment{Device: "pump-3"}, nil)
		p.pump.Sequence = 22
		if _, err := p.verify(); err != nil {
			t.Error(err)
		}
		p.pump.Sequence = 23
		if _, err := p.verify(); !errors.Is(err, ErrVersion) {
			t.Error(err)
		}
	})
	t.Run("the maker's envelope, exchanged after it was assigned", func(t *testing.T) {
		p := newPair(t)
		p.assign(Assignment{Device: "pump-3"}, nil)
		p.maker.put(Targets, "norra-medical/flow-500/2.2.0/flow500.suit", "another envelope")
		p.maker.publish()
		if _, err := p.verify(); !errors.Is(err, ErrMismatch) {
			t.Error(err)
		}
		for _, name := range []string{"flow500.suit", "flow500.bin", "2.1.4.delta", "bom.cdx.json", "vex.json", "ada-2026-01.json", releaseFile} {
			p.maker.must(p.maker.RemoveTarget(Targets, "norra-medical/flow-500/2.2.0/"+name))
		}
		r, files := flow500("2.2.0")
		r.Notes = "and something else"
		_, err := p.maker.AddRelease(Targets, r, files)
		p.maker.must(err)
		p.maker.publish()
		if _, err := p.verify(); !errors.Is(err, ErrDisagree) {
			t.Error(err)
		}
	})
	t.Run("an assignment under another's path", func(t *testing.T) {
		p := newPair(t)
		p.assign(Assignment{Device: "pump-4"}, nil)
		b, err := os.ReadFile(publishedTarget(t, p.hospital, "devices/pump-4.json"))
		p.hospital.must(err)
		p.hospital.put(Targets, "devices/pump-3.json", string(b))
		p.hospital.publish()
		if _, err := p.verify(); !errors.Is(err, ErrMismatch) {
			t.Error(err)
		}
	})
}

// publishedTarget is the published file of a path.
func publishedTarget(t *testing.T, p *party, path string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "public/targets", filepath.Dir(path), "*."+filepath.Base(path)))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v", path, files)
	}
	return files[0]
}
