// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A forge makes repositories that no [Repository] would: each role of targets is
// what a test says, signed by the keys that it says.
type forge struct {
	t        testing.TB
	key      *Key // of the top level
	roles    map[string]*metadata.Metadata[metadata.TargetsType]
	signers  map[string][]*Key // of delegated roles
	versions map[string]int64  // that the snapshot names, where not the role's own
	files    memory            // targets
}

func newForge(t testing.TB) *forge {
	f := &forge{t: t, key: keyring(t, 1)[0], signers: map[string][]*Key{}, versions: map[string]int64{}, files: memory{}, roles: map[string]*metadata.Metadata[metadata.TargetsType]{}}
	f.role(Targets)
	return f
}

func (f *forge) role(name string) *metadata.TargetsType {
	if f.roles[name] == nil {
		f.roles[name] = metadata.Targets(then.Add(time.Hour))
	}
	return &f.roles[name].Signed
}

// delegate trusts a role with paths, and returns its key.
func (f *forge) delegate(from, to string, terminating bool, paths ...string) *Key {
	k := keyring(f.t, 1)[0]
	d := f.role(from)
	if d.Delegations == nil {
		d.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	d.Delegations.Keys[k.ID] = k.public
	d.Delegations.Roles = append(d.Delegations.Roles, metadata.DelegatedRole{Name: to, KeyIDs: []string{k.ID}, Threshold: 1, Paths: paths, Terminating: terminating})
	f.role(to)
	f.signers[to] = append(f.signers[to], k)
	return k
}

func (f *forge) target(role, path, content string) {
	d := sha256.Sum256([]byte(content))
	f.role(role).Targets[path] = &metadata.TargetFiles{Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": d[:]}}
	i := strings.LastIndex(path, "/") + 1
	f.files[path[:i]+hex.EncodeToString(d[:])+"."+path[i:]] = []byte(content)
}

func signAll[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], keys ...*Key) []byte {
	t.Helper()
	m.ClearSignatures()
	for _, k := range keys {
		s, err := k.signs()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// client begins a client of what was forged.
func (f *forge) client() *Client {
	fx := f.fixture()
	return fx.client(f.t)
}

func (f *forge) fixture() fixture {
	f.t.Helper()
	expires := then.Add(time.Hour)
	root := metadata.Root(expires)
	root.Signed.ConsistentSnapshot = true
	for _, role := range topLevel {
		if err := root.Signed.AddKey(f.key.public, role); err != nil {
			f.t.Fatal(err)
		}
	}
	x := fixture{root: signAll(f.t, root, f.key), metadata: memory{}, targets: f.files, at: then}
	snapshot, timestamp := metadata.Snapshot(expires), metadata.Timestamp(expires)
	for name, m := range f.roles {
		keys := f.signers[name]
		if name == Targets {
			keys = []*Key{f.key}
		}
		version := m.Signed.Version
		if v, ok := f.versions[name]; ok {
			version = v
		}
		snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(version)
		x.metadata[metadataName(name, version)] = signAll(f.t, m, keys...)
	}
	x.metadata["1.snapshot.json"] = signAll(f.t, snapshot, f.key)
	x.metadata["timestamp.json"] = signAll(f.t, timestamp, f.key)
	return x
}

func (f *forge) want(path, content string, want error) {
	f.t.Helper()
	got, err := text(f.t, f.client(), path)
	if got != content || !errors.Is(err, want) {
		f.t.Errorf("%s: %q, %v; want %q, %v", path, got, err, content, want)
	}
}

// TestDelegations looks targets up in trees of delegations.
func TestDelegations(t *testing.T) {
	t.Run("order", func(t *testing.T) {
		f := newForge(t)
		f.delegate(Targets, "first", false, "a/*")
		f.delegate(Targets, "second", false, "a/*", "b/*")
		f.delegate("first", "below-first", false, "a/*")
		f.target("below-first", "a/x", "below the first")
		f.target("second", "a/x", "second")
		f.target("second", "a/y", "second")
		f.target("second", "b/x", "second")
		f.target("first", "b/x", "not trusted with it")
		f.want("a/x", "below the first", nil)
		f.want("a/y", "second", nil)
		f.want("b/x", "second", nil)
		f.want("a/z", "", ErrNotFound)
		f.want("a/x/y", "", ErrNotFound)
	})
	t.Run("terminating", func(t *testing.T) {
		f := newForge(t)
		f.delegate(Targets, "first", true, "a/*")
		f.delegate(Targets, "second", false, "*/*")
		f.target("second", "a/x", "second")
		f.target("second", "b/x", "second")
		f.want("a/x", "", ErrNotFound)
		f.want("b/x", "second", nil)
		// One level down it ends the whole search, too.
		f = newForge(t)
		f.delegate(Targets, "first", false, "a/*")
		f.delegate(Targets, "second", false, "a/*")
		f.delegate("first", "below", true, "a/x")
		f.target("second", "a/x", "second")
		f.target("second", "a/y", "second")
		f.want("a/x", "", ErrNotFound)
		f.want("a/y", "second", nil)
	})
	t.Run("cycle", func(t *testing.T) {
		f := newForge(t)
		f.delegate(Targets, "one", false, "*")
		f.delegate("one", "two", false, "*")
		two := f.delegate("two", "one", false, "*")
		f.signers["one"] = []*Key{f.signers["one"][0], two}
		f.target("two", "x", "two")
		f.want("x", "two", nil)
		f.want("y", "", ErrNotFound)
	})
	t.Run("very many", func(t *testing.T) {
		f := newForge(t)
		at := Targets
		for i := range 2 * maxDelegations {
			next := fmt.Sprintf("r%02d", i)
			f.delegate(at, next, false, "*")
			at = next
		}
		f.target(at, "x", "deep")
		f.target("r20", "y", "less deep")
		f.want("x", "", ErrNotFound)
		f.want("y", "less deep", nil)
		o := &opened{f.fixture().metadata, map[string]bool{}}
		c := f.client()
		c.cfg.Metadata = o
		if _, err := text(t, c, "x"); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if n := len(o.names); n > maxDelegations+6 {
			t.Errorf("%d files were asked for", n)
		}
	})
	t.Run("not in the snapshot", func(t *testing.T) {
		f := newForge(t)
		f.delegate(Targets, "one", false, "*")
		f.delegate(Targets, "two", false, "*")
		delete(f.roles, "one")
		f.target("two", "x", "two")
		// The role that was to be asked first might have known it, or refused it.
		f.want("x", "", ErrMismatch)
	})
	t.Run("hash prefixes", func(t *testing.T) {
		// Section 4.5: of the SHA-256 in hexadecimal. Go-tuf 2.4.2 compares with base64.
		f := newForge(t)
		f.delegate(Targets, "bin", false, "x")
		path := "some/path"
		d := sha256.Sum256([]byte(path))
		r := &f.role(Targets).Delegations.Roles[0]
		r.Paths, r.PathHashPrefixes = nil, []string{hex.EncodeToString(d[:])[:3]}
		f.target("bin", path, "bin")
		f.want(path, "bin", nil)
		r.PathHashPrefixes[0] = "zzz"
		f.want(path, "", ErrNotFound)
	})
	t.Run("bins", func(t *testing.T) { // TAP 15
		f := newForge(t)
		k := f.delegate(Targets, "x", false, "*")
		d := f.role(Targets).Delegations
		d.Roles, d.SuccinctRoles = nil, &metadata.SuccinctRoles{KeyIDs: []string{k.ID}, Threshold: 1, BitLength: 8, NamePrefix: "bin"}
		delete(f.roles, "x")
		path := "some/path"
		sum := sha256.Sum256([]byte(path))
		bin := fmt.Sprintf("bin-%02x", sum[0])
		f.signers[bin] = []*Key{k}
		f.target(bin, path, "in its bin")
		f.want(path, "in its bin", nil)
	})
}

// TestCurrentDelegator verifies delegated roles against who delegates to them now,
// on the way that a target is looked up: what was verified for another, or before,
// says nothing.
func TestCurrentDelegator(t *testing.T) {
	t.Run("of two", func(t *testing.T) {
		// Both trust "release", with different keys; only a's signed it.
		f := newForge(t)
		f.delegate(Targets, "a", false, "a/*")
		f.delegate(Targets, "b", false, "b/*")
		byA := f.delegate("a", "release", false, "a/*")
		f.delegate("b", "release", false, "b/*")
		f.signers["release"] = []*Key{byA}
		f.target("release", "a/x", "good")
		f.target("release", "b/x", "not b's")
		c := f.client()
		if got, err := text(t, c, "a/x"); got != "good" {
			t.Fatalf("by a: %q, %v", got, err)
		}
		if _, err := c.Target(t.Context(), "b/x"); !errors.Is(err, ErrUnsigned) {
			t.Errorf("in the same refresh, by b: %v", err)
		}
		if got, err := text(t, c, "b/x"); !errors.Is(err, ErrUnsigned) {
			t.Errorf("by b: %q, %v", got, err)
		}
		if got, err := text(t, c, "a/x"); got != "good" {
			t.Errorf("by a, again: %q, %v", got, err)
		}
	})
	for name, change := range map[string]func(f *forge, d *metadata.Delegations){
		"another key": func(f *forge, d *metadata.Delegations) {
			f.delegate(Targets, "other", false, "q")
			i := slices.IndexFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == "supplier" })
			d.Roles[i].KeyIDs = d.Roles[len(d.Roles)-1].KeyIDs
		},
		"a higher threshold": func(f *forge, d *metadata.Delegations) {
			k := keyring(t, 1)[0]
			d.Keys[k.ID] = k.public
			d.Roles[0].KeyIDs, d.Roles[0].Threshold = append(d.Roles[0].KeyIDs, k.ID), 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			f.delegate(Targets, "supplier", false, "s/*")
			f.target("supplier", "s/x", "good")
			c := f.client()
			if got, err := text(t, c, "s/x"); got != "good" {
				t.Fatalf("%q, %v", got, err)
			}
			// The delegator says something else; the supplier's metadata is the same, and
			// so is the version that the snapshot names: its keys are the attacker's.
			change(f, f.role(Targets).Delegations)
			f.role(Targets).Version = 2
			x := f.fixture()
			s, _ := metadata.Snapshot().FromBytes(x.metadata["1.snapshot.json"])
			s.Signed.Version = 2
			x.metadata["2.snapshot.json"] = signAll(t, s, f.key)
			ts, _ := metadata.Timestamp().FromBytes(x.metadata["timestamp.json"])
			ts.Signed.Version, ts.Signed.Meta["snapshot.json"].Version = 2, 2
			x.metadata["timestamp.json"] = signAll(t, ts, f.key)
			c.cfg.Metadata = x.metadata
			if got, err := text(t, c, "s/x"); !errors.Is(err, ErrUnsigned) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		p := newParty(t)
		k := keyring(t, 1)[0]
		p.must(p.Delegate(Targets, Delegation{Name: "supplier", Paths: []string{"s/*"}, Signers: Signers{[]*Key{k}, 1}}))
		p.put("supplier", "s/x", "good")
		p.publish(k)
		c := p.client()
		if got, err := text(t, c, "s/x"); got != "good" {
			t.Fatalf("%q, %v", got, err)
		}
		p.must(p.Revoke("supplier"))
		p.publish()
		if got, err := text(t, c, "s/x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("rotated", func(t *testing.T) {
		p := newParty(t)
		old, k := keyring(t, 1)[0], keyring(t, 1)[0]
		p.must(p.Delegate(Targets, Delegation{Name: "supplier", Paths: []string{"s/*"}, Signers: Signers{[]*Key{old}, 1}}))
		p.put("supplier", "s/x", "good")
		p.publish(old)
		c := p.client()
		if got, err := text(t, c, "s/x"); got != "good" {
			t.Fatalf("%q, %v", got, err)
		}
		p.must(p.ReplaceKey("supplier", old.ID, k))
		p.sign(old)
		if err := p.Publish(p.online()...); !errors.Is(err, ErrUnsigned) {
			t.Errorf("signed with the old key: %v", err)
		}
		p.publish(k)
		if got, err := text(t, c, "s/x"); got != "good" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
