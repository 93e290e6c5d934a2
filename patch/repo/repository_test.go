// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/patch"
)

// A party has a repository, its keys and a clock.
type party struct {
	*Repository
	t    testing.TB
	dir  string
	keys map[string][]*Key
	now  time.Time
}

func keyring(t testing.TB, n int) []*Key {
	t.Helper()
	var keys []*Key
	for range n {
		k, err := GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// newParty makes a repository with root and targets 2 of 3, and publishes it.
func newParty(t testing.TB) *party {
	t.Helper()
	p := &party{t: t, dir: t.TempDir(), now: then, keys: map[string][]*Key{
		Root: keyring(t, 3), Targets: keyring(t, 3), Snapshot: keyring(t, 1), Timestamp: keyring(t, 1),
	}}
	var err error
	p.Repository, err = Create(p.dir, map[string]Signers{
		Root: {p.keys[Root], 2}, Targets: {p.keys[Targets], 2}, Snapshot: {p.keys[Snapshot], 1}, Timestamp: {p.keys[Timestamp], 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.Now = func() time.Time { return p.now }
	p.must(p.Renew(Root), p.Renew(Targets)) // by its own clock
	p.publish()
	return p
}

func (p *party) must(errs ...error) {
	p.t.Helper()
	if err := errors.Join(errs...); err != nil {
		p.t.Fatal(err)
	}
}

// sign signs with two keys of each offline role, and with others.
func (p *party) sign(others ...*Key) {
	p.t.Helper()
	for _, k := range append(append(append([]*Key{}, p.keys[Root][:2]...), p.keys[Targets][:2]...), others...) {
		_, err := p.Sign(k)
		p.must(err)
	}
}

func (p *party) online() []*Key {
	return append(append([]*Key{}, p.keys[Snapshot]...), p.keys[Timestamp]...)
}

func (p *party) publish(others ...*Key) {
	p.t.Helper()
	p.sign(others...)
	p.must(p.Publish(p.online()...))
}

func (p *party) put(role, path, content string) {
	p.t.Helper()
	p.must(p.PutTarget(role, path, strings.NewReader(content)))
}

// mirror is a copy of what is public now.
func (p *party) mirror() (metadata, targets memory) {
	p.t.Helper()
	return folder(p.t, filepath.Join(p.dir, "public/metadata")), folder(p.t, filepath.Join(p.dir, "public/targets"))
}

// client trusts the first root and reads what is public, always.
func (p *party) client() *Client {
	p.t.Helper()
	dir := p.t.TempDir()
	root, err := os.ReadFile(filepath.Join(p.dir, "public/metadata/1.root.json"))
	p.must(err, Trust(dir, root))
	public := os.DirFS(filepath.Join(p.dir, "public"))
	c, err := NewClient(Config{Dir: dir, Metadata: Dir{sub(p.t, public, "metadata")}, Targets: Dir{sub(p.t, public, "targets")}, Now: func() time.Time { return p.now }})
	p.must(err)
	return c
}

// text is what a client has of a path, or why it has nothing.
func text(t testing.TB, c *Client, path string) (string, error) {
	t.Helper()
	if err := c.Refresh(t.Context()); err != nil {
		return "", err
	}
	target, err := c.Target(t.Context(), path)
	if err != nil {
		return "", err
	}
	b, err := c.Bytes(t.Context(), target, 1<<20)
	return string(b), err
}

// TestPublish follows a repository through the life of its metadata: targets come,
// change and go, every role's keys are rotated, and a client that was there from the
// beginning believes each step.
func TestPublish(t *testing.T) {
	p := newParty(t)
	c := p.client()
	want := func(path, content string) {
		t.Helper()
		if got, err := text(t, c, path); err != nil || got != content {
			t.Fatalf("%s: %q, %v", path, got, err)
		}
	}
	p.put(Targets, "a/b", "1")
	p.publish()
	want("a/b", "1")
	if err := p.AddTarget(Targets, "a/b", strings.NewReader("2")); err == nil {
		t.Error("what was released was replaced")
	}
	p.put(Targets, "a/b", "2")
	p.publish()
	want("a/b", "2")
	p.must(p.RemoveTarget(Targets, "a/b"))
	p.put(Targets, "c", "3")
	p.publish()
	want("c", "3")
	if _, err := text(t, c, "a/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was taken back: %v", err)
	}

	for _, role := range topLevel {
		fresh := keyring(t, 1)[0]
		old := p.keys[role][0]
		p.must(p.ReplaceKey(role, old.ID[:16], fresh))
		if role != Root { // the new root needs the old keys, and has two of them
			p.keys[role][0] = fresh
			p.publish()
		} else {
			// p.keys[Root][:2] is one old key that counts no more in the new root, and one of both.
			p.sign()
			if err := p.Publish(p.online()...); !errors.Is(err, ErrUnsigned) {
				t.Fatalf("a root with one of its own signatures: %v", err)
			}
			p.publish(fresh)
			p.keys[role][0] = fresh
		}
		want("c", "3")
	}
	// A lost key: 2 of 3 without it.
	p.keys[Root] = p.keys[Root][1:]
	p.must(p.Renew(Root))
	p.publish()
	want("c", "3")
	// A client of the first hour, that saw none of it.
	if got, err := text(t, p.client(), "c"); err != nil || got != "3" {
		t.Errorf("from the first root: %q, %v", got, err)
	}
}

// TestThresholds tries to publish with too few signatures.
func TestThresholds(t *testing.T) {
	p := newParty(t)
	c := p.client()
	p.put(Targets, "a", "1")
	if err := p.Publish(p.online()...); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("with no signature: %v", err)
	}
	for range 2 { // twice with the same key is once
		if _, err := p.Sign(p.keys[Targets][2]); err != nil {
			t.Fatal(err)
		}
	}
	pending, err := p.Pending()
	p.must(err)
	if len(pending) != 1 || pending[0].Have != 1 || pending[0].Want != 2 || pending[0].Complete() {
		t.Errorf("pending: %+v", pending)
	}
	if err := p.Publish(p.online()...); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("with one signature of two: %v", err)
	}
	if roles, err := p.Sign(keyring(t, 1)[0]); err != nil || len(roles) != 0 {
		t.Errorf("a stranger signed %v, %v", roles, err)
	}
	if _, err := p.Sign(p.keys[Targets][0].Public()); err == nil {
		t.Error("a public key signed")
	}
	if _, err := p.Sign(p.keys[Targets][0]); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(p.keys[Snapshot]...); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("without the timestamp's key: %v", err)
	}
	if _, err := text(t, c, "a"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("what is not published: %v", err)
	}
	p.must(p.Publish(p.online()...))
	if _, err := text(t, c, "a"); err != nil {
		t.Fatal(err)
	}
	// A change after a signature voids it.
	p.put(Targets, "b", "1")
	p.sign()
	p.put(Targets, "b", "2")
	if err := p.Publish(p.online()...); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("changed after it was signed: %v", err)
	}
}

func TestCreate(t *testing.T) {
	k := keyring(t, 2)
	ok := Signers{k[:1], 1}
	for name, s := range map[string]Signers{"none": {}, "more than there are": {k, 3}, "one key twice": {[]*Key{k[0], k[0]}, 2}, "zero": {k, 0}} {
		if _, err := Create(t.TempDir(), map[string]Signers{Root: s, Targets: ok, Snapshot: ok, Timestamp: ok}); err == nil {
			t.Errorf("a threshold: %s", name)
		}
	}
	p := newParty(t)
	if _, err := OpenRepository(p.dir); err == nil {
		t.Error("two have one repository open")
	}
	p.Close()
	if _, err := Create(p.dir, map[string]Signers{Root: ok, Targets: ok, Snapshot: ok, Timestamp: ok}); err == nil {
		t.Error("a repository was made over another")
	}
}

func TestKey(t *testing.T) {
	k := keyring(t, 1)[0]
	secret := func(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }
	for name, pass := range map[string][]byte{"plain": nil, "encrypted": []byte("horse")} {
		b, err := k.AppendPrivate(nil, pass)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseKey(b, secret("horse"))
		if err != nil || got.ID != k.ID || got.signer == nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if pass == nil {
			continue
		}
		if bytes.Contains(b, []byte("PRIVATE KEY-----\nMC4")) {
			t.Error("it is not encrypted")
		}
		if _, err := ParseKey(b, secret("cow")); !errors.Is(err, ErrPassphrase) {
			t.Errorf("another passphrase: %v", err)
		}
		if _, err := ParseKey(b, nil); !errors.Is(err, ErrPassphrase) {
			t.Errorf("nobody to ask: %v", err)
		}
	}
	b, err := k.AppendPublic(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseKey(b, nil)
	if err != nil || got.ID != k.ID || got.signer != nil {
		t.Errorf("public: %v, %v", got, err)
	}
	if _, err := got.AppendPrivate(nil, nil); err == nil {
		t.Error("a public key has a private half")
	}
	if _, err := ParseKey([]byte("no key"), nil); !errors.Is(err, ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

// flow500 is release 2.2.0 of the sample ward's pump, as its maker describes it.
func flow500(version string) (patch.Release, []Attachment) {
	r := patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: version, Sequence: 22, Urgency: patch.UncontrolledRisk, Learned: "2026-01-12",
		Advisories: []string{"ADA-2026-01"},
		Demands: patch.Demands{
			Hardware: []string{"C"}, From: []string{"2.1.3", "2.1.4"}, Backup: 3 * time.Minute, Longest: 12 * time.Minute, Resume: time.Minute,
			Battery: 40, Supervision: patch.ClinicianPresent,
		},
	}
	at := func(name string, k Kind, content string) Attachment {
		return Attachment{File{Name: name, Kind: k}, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	}
	files := []Attachment{
		at("flow500.suit", Envelope, "envelope of "+version), at("flow500.bin", Image, "image of "+version),
		at("2.1.4.delta", Delta, "delta to "+version), at("bom.cdx.json", SBOM, "{}"), at("vex.json", VEX, "{}"),
		at("ada-2026-01.json", Advisory, "{}"),
	}
	files[2].From, files[5].ID = "2.1.4", "ADA-2026-01"
	return r, files
}

// TestRelease makes a release and reads it.
func TestRelease(t *testing.T) {
	p := newParty(t)
	r, files := flow500("2.2.0")
	made, err := p.AddRelease(Targets, r, files)
	p.must(err)
	p.publish()
	c := p.client()
	p.must(c.Refresh(t.Context()))
	folder := "norra-medical/flow-500/2.2.0"
	got, _, err := c.Release(t.Context(), folder)
	p.must(err)
	if got.Release.Envelope != made.Release.Envelope || got.Size != int64(len("envelope of 2.2.0")) || len(got.Files) != 6 || got.Demands.Backup != 3*time.Minute {
		t.Errorf("%+v", got)
	}
	for i := range got.Files {
		target, err := c.FileTarget(t.Context(), got, &got.Files[i])
		p.must(err)
		if _, err := c.Bytes(t.Context(), target, 100); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.AddRelease(Targets, r, files); err == nil {
		t.Error("a version was released twice")
	}
	for name, change := range map[string]func(*patch.Release, []Attachment) []Attachment{
		"no hardware":                      func(r *patch.Release, f []Attachment) []Attachment { r.Demands.Hardware = nil; return f },
		"no versions":                      func(r *patch.Release, f []Attachment) []Attachment { r.Demands.From = nil; return f },
		"no worst case":                    func(r *patch.Release, f []Attachment) []Attachment { r.Demands.Longest = 0; return f },
		"backup mode beyond it":            func(r *patch.Release, f []Attachment) []Attachment { r.Demands.Backup = time.Hour; return f },
		"no sequence":                      func(r *patch.Release, f []Attachment) []Attachment { r.Sequence = 0; return f },
		"uncontrolled, nobody knows since": func(r *patch.Release, f []Attachment) []Attachment { r.Learned = ""; return f },
		"no date":                          func(r *patch.Release, f []Attachment) []Attachment { r.Learned = "in May"; return f },
		"no envelope":                      func(_ *patch.Release, f []Attachment) []Attachment { return f[1:] },
		"two envelopes":                    func(_ *patch.Release, f []Attachment) []Attachment { f[1].Kind = Envelope; return f },
		"an advisory without its document": func(_ *patch.Release, f []Attachment) []Attachment { return f[:5] },
		"another advisory's document":      func(_ *patch.Release, f []Attachment) []Attachment { f[5].ID = "ADA-2026-02"; return f },
		"a delta from another version":     func(_ *patch.Release, f []Attachment) []Attachment { f[2].From = "1.0"; return f },
		"a delta of another name":          func(_ *patch.Release, f []Attachment) []Attachment { f[2].Name = "delta"; return f },
		"two files of one name":            func(_ *patch.Release, f []Attachment) []Attachment { f[1].Name = f[0].Name; return f },
		"a name that leads elsewhere":      func(_ *patch.Release, f []Attachment) []Attachment { f[1].Name = "../x"; return f },
		"the name of release.json":         func(_ *patch.Release, f []Attachment) []Attachment { f[1].Name = releaseFile; return f },
		"a version that leads elsewhere":   func(r *patch.Release, f []Attachment) []Attachment { r.Version = "../2"; return f },
	} {
		r, files := flow500("3.0.0")
		files = change(&r, files)
		if _, err := p.AddRelease(Targets, r, files); err == nil {
			t.Errorf("a release with %s", name)
		}
	}
	// What was refused left nothing behind.
	if pending, err := p.Pending(); err != nil || len(pending) != 0 {
		t.Errorf("pending: %+v, %v", pending, err)
	}
}
