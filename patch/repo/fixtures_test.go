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
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A memory is a source of a test's own.
type memory map[string][]byte

func (m memory) Open(_ context.Context, name string) (io.ReadCloser, error) {
	b, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// An opened is a source that remembers what was asked of it.
type opened struct {
	Source
	names map[string]bool
}

func (o *opened) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	o.names[name] = true
	return o.Source.Open(ctx, name)
}

// with is the same source with one file changed.
func (m memory) with(name string, b []byte) memory {
	n := memory{}
	for k, v := range m {
		n[k] = v
	}
	n[name] = b
	return n
}

// A fixture is a repository that another implementation made.
type fixture struct {
	root              []byte
	metadata, targets memory
	at                time.Time         // when it is read
	late              time.Time         // when all of it has expired
	has               map[string]string // targets, and the role that names each
	flipped           []string          // files that the client reads
}

const shared = "../../../shared/vectors-suit/tuf"

func folder(t testing.TB, dir string) memory {
	t.Helper()
	m := memory{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		m[p], err = os.ReadFile(filepath.Join(dir, p))
		return err
	})
	if err != nil {
		t.Skipf("the fixtures are not here: %v", err)
	}
	return m
}

// pythonTUF is a repository of python-tuf's, in a folder; go-tuf has a copy that it
// signed anew.
func pythonTUF(t testing.TB, dir string) fixture {
	m := folder(t, filepath.Join(dir, "metadata"))
	return fixture{
		root: m["root.json"], metadata: m, targets: folder(t, filepath.Join(dir, "targets")),
		at: then, late: later,
		has:     map[string]string{"file1.txt": Targets, "file2.txt": Targets, "file3.txt": "role1"},
		flipped: []string{"timestamp.json", "snapshot.json", "targets.json", "role1.json"},
	}
}

var fixtures = map[string]func(t *testing.T) fixture{
	"python-tuf": func(t *testing.T) fixture {
		return pythonTUF(t, shared+"/python-tuf-repository_data/repository")
	},
	"go-tuf": func(t *testing.T) fixture {
		t.Setenv("GODEBUG", "rsa1024min=0") // its timestamp key has 1,023 bits
		f := pythonTUF(t, goTUF(t, "internal/testutils/repository_data/repository"))
		// Its snapshots are consistent, its files have other names: tests there read no source.
		for i, file := range f.flipped[1:] {
			f.metadata["1."+file] = f.metadata[file]
			f.flipped[i+1] = "1." + file
		}
		for file, b := range f.targets {
			delete(f.targets, file)
			f.targets[fmt.Sprintf("%x.%s", sha256.Sum256(b), file)] = b
		}
		delete(f.has, "file2.txt")
		return f
	},
	"go-tuf, several repositories": func(t *testing.T) fixture {
		dir := goTUF(t, "examples/multirepo/repository")
		m := folder(t, filepath.Join(dir, "metadata"))
		return fixture{
			root: m["1.root.json"], metadata: m, targets: folder(t, filepath.Join(dir, "targets")), at: then, late: later,
			has:     map[string]string{"map.json": Targets, "staging/root.json": Targets},
			flipped: []string{"timestamp.json", "1.snapshot.json", "1.targets.json"},
		}
	},
	"tuf-on-ci": func(t *testing.T) fixture {
		all := folder(t, shared+"/tuf-on-ci-0.11")
		at, err := time.Parse("2006-01-02 15:04:05-07:00", strings.TrimSpace(string(all["faketime"])))
		if err != nil {
			t.Fatal(err)
		}
		return fixture{
			root: all["initial_root.json"], metadata: folder(t, shared+"/tuf-on-ci-0.11/metadata"), targets: folder(t, shared+"/tuf-on-ci-0.11/targets"),
			at: at, late: later,
			has:     map[string]string{strings.TrimSpace(string(all["targetpath"])): "delegatedrole"},
			flipped: []string{"timestamp.json", "2.snapshot.json", "1.targets.json", "2.delegatedrole.json"},
		}
	},
}

var then, later = time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC), time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)

func goTUF(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/theupdateframework/go-tuf/v2").Output()
	if err != nil {
		t.Skipf("go-tuf's source is not here: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), dir)
}

// client begins a client of a fixture.
func (f *fixture) client(t testing.TB) *Client {
	t.Helper()
	dir := t.TempDir()
	if err := Trust(dir, f.root); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(Config{Dir: dir, Metadata: f.metadata, Targets: f.targets, Now: func() time.Time { return f.at }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// all refreshes and reads every target.
func (f *fixture) all(t testing.TB, c *Client) error {
	t.Helper()
	if err := c.Refresh(t.Context()); err != nil {
		return err
	}
	for path, role := range f.has {
		target, err := c.Target(t.Context(), path)
		if err != nil {
			return err
		}
		if target.Role != role {
			t.Errorf("%s is named by %s, not %s", path, target.Role, role)
		}
		if _, err := c.Bytes(t.Context(), target, 1<<20); err != nil {
			return err
		}
	}
	return nil
}

// TestFixtures reads repositories of three other implementations, at the time they
// were made for, and refuses them later and with any byte changed.
func TestFixtures(t *testing.T) {
	for name, load := range fixtures {
		t.Run(name, func(t *testing.T) {
			f := load(t)
			c := f.client(t)
			c.cfg.Targets = &opened{f.targets, map[string]bool{}}
			if err := f.all(t, c); err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(filepath.Join(c.cfg.Dir, "timestamp.json")); !bytes.Equal(b, f.metadata["timestamp.json"]) {
				t.Error("the timestamp that is kept is not the one that was served")
			}
			if _, err := c.Target(t.Context(), "no/such/file"); !errors.Is(err, ErrNotFound) {
				t.Errorf("a target that nobody names: %v", err)
			}

			late := f
			late.at = f.late
			if err := late.all(t, late.client(t)); !errors.Is(err, ErrExpired) {
				t.Errorf("in %d: %v", f.late.Year(), err)
			}

			for _, file := range f.flipped {
				b := f.metadata[file]
				if len(b) == 0 {
					t.Fatalf("no %s", file)
				}
				kept := filepath.Join(c.cfg.Dir, strings.TrimLeft(file, "0123456789."))
				for i := 0; i < len(b); i += 13 {
					if err := os.Remove(kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
					altered := flip(b, i)
					c.cfg.Metadata = f.metadata.with(file, altered)
					if f.all(t, c) == nil && counts(b, altered) {
						t.Fatalf("%s is believed with byte %d changed", file, i)
					}
				}
				c.cfg.Metadata = f.metadata
				if err := f.all(t, c); err != nil {
					t.Fatalf("as it was: %v", err)
				}
			}
			untrusted := filepath.Join(t.TempDir(), "x")
			for i := 0; i < len(f.root); i += 7 {
				if Trust(untrusted, flip(f.root, i)) == nil {
					t.Fatalf("the root is believed with byte %d changed", i)
				}
			}
			for file := range c.cfg.Targets.(*opened).names {
				b := f.targets[file]
				for what, altered := range map[string]struct {
					b    []byte
					want error
				}{
					"changed": {flip(b, len(b)/2), ErrMismatch},
					"longer":  {append(bytes.Clone(b), 0), ErrTooLong},
					"shorter": {b[:len(b)-1], ErrMismatch},
				} {
					c.cfg.Targets = f.targets.with(file, altered.b)
					if err := f.all(t, c); !errors.Is(err, altered.want) {
						t.Errorf("%s, %s: %v", file, what, err)
					}
				}
			}
		})
	}
}

// counts reports whether two forms of one metadata differ in what is verified: one
// of tuf-on-ci's has a second signature, empty, that nobody needs.
func counts(a, b []byte) bool {
	var x, y struct {
		Signed     json.RawMessage
		Signatures []json.RawMessage
	}
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return true
	}
	return !bytes.Equal(x.Signed, y.Signed) || !bytes.Equal(x.Signatures[0], y.Signatures[0])
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func sub(t testing.TB, f fs.FS, dir string) fs.FS {
	t.Helper()
	s, err := fs.Sub(f, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
