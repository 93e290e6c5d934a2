// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A backup is a tar file: first manifest.json, a [Manifest], then the files that it
// lists, in that order and nothing else. It has the keys of the server: whoever has
// it can be the server. Copies that upgrades made are left out.
const (
	backupVersion = 1
	manifestName  = "manifest.json"
	maxManifest   = 64 << 20
	maxFiles      = 1 << 20
	copyTries     = 5 // of the ledger and the bus, which grow meanwhile
)

// A Manifest says what is in a backup.
type Manifest struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	By      string    `json:"by"` // version of the program
	Files   []struct {
		Name   string `json:"name"` // with slashes, in the folder
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
		Mode   uint32 `json:"mode"`
	} `json:"files"`
}

// Backup writes what a server keeps in data to a file, which must not be there yet,
// while the server may run. The bus is copied first: what it had by then and has no more
// is in the store, which takes each batch once. The store is copied before the ledger:
// what is in it is in the ledger, too.
func Backup(ctx context.Context, data, file, version string, now func() time.Time) (m *Manifest, err error) {
	if now == nil {
		now = time.Now
	}
	db := filepath.Join(data, "myelin.db")
	if _, err := os.Stat(db); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no data of a server with SQLite; PostgreSQL has pg_dump", data)
	} else if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(file); err == nil {
		return nil, fmt.Errorf("%s: is there already", file)
	}
	stage, err := os.MkdirTemp(filepath.Dir(file), ".myelin-backup-") // 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	if err := copyBus(ctx, data, stage); err != nil {
		return nil, err
	}
	if err := sqlite.Copy(ctx, db, filepath.Join(stage, "myelin.db")); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), "myelin.db") || strings.Contains(e.Name(), ".new-") {
			continue
		}
		if err := copyFile(filepath.Join(data, e.Name()), filepath.Join(stage, e.Name())); err != nil {
			return nil, err
		}
	}
	if err := copyTree(filepath.Join(data, "updates"), filepath.Join(stage, "updates"), ""); err != nil {
		return nil, err
	}
	if err := copyLedger(data, stage); err != nil {
		return nil, err
	}
	m = &Manifest{Version: backupVersion, Made: now().UTC(), By: version}
	if err := m.list(stage); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(filepath.Join(stage, "..", filepath.Base(stage)+".tar"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(out.Name())
	err = m.write(out, stage)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return nil, err
	}
	return m, os.Link(out.Name(), file) // not over a file that came meanwhile
}

// DumpStore writes what the store of a server has to a file, which must not be there yet,
// as [LoadStore] reads it for either engine: to grow from one file to PostgreSQL. The
// server may run.
func DumpStore(ctx context.Context, c Config, file string) error {
	if c.Store == "" { // its file is the server's: a copy is opened
		dir, err := os.MkdirTemp(filepath.Dir(file), ".myelin-backup-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := sqlite.Copy(ctx, filepath.Join(c.Data, "myelin.db"), filepath.Join(dir, "myelin.db")); err != nil {
			return err
		}
		c.Data = dir
	}
	s, err := openStore(ctx, &c)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	if err = errors.Join(s.Dump(ctx, out), out.Sync(), out.Close(), s.Close()); err != nil {
		os.Remove(file)
	}
	return err
}

// IsDump reports whether a file is one of [DumpStore], or the copy that was kept of a
// PostgreSQL database before an upgrade, rather than a backup.
func IsDump(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [2]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && magic == [2]byte{0x1f, 0x8b} // RFC 1952 section 2.3.1
}

// LoadStore reads what [DumpStore] wrote into the store of a server, which has to be
// empty: all of it, or nothing. The server must not run, and wants the secret.key of the
// one that the copy is of.
func LoadStore(ctx context.Context, c Config, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	s, err := openStore(ctx, &c)
	if err != nil {
		return err
	}
	return errors.Join(s.Restore(ctx, in), s.Close())
}

// copyBus copies a bus from which a server takes batches, until a copy can be read.
func copyBus(ctx context.Context, data, stage string) error {
	from, to := filepath.Join(data, "bus"), filepath.Join(stage, "bus")
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil // it is a cluster's, which keeps what it has
	}
	var err error
	for range copyTries {
		if err = errors.Join(os.RemoveAll(to), os.Mkdir(to, 0o700)); err != nil {
			return err
		}
		if err = copyTree(from, to, ""); err != nil {
			continue
		}
		var b *bus.Bus
		if b, err = bus.Open(ctx, bus.Config{Dir: to}); err == nil {
			b.Close()
			return nil
		}
	}
	return err
}

// copyLedger copies a ledger that grows, until a copy is whole.
func copyLedger(data, stage string) error {
	b, err := os.ReadFile(filepath.Join(data, "ledger.key.pub"))
	if err != nil {
		return err
	}
	k, err := ledger.ParseVerifier(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	to := filepath.Join(stage, "ledger")
	for range copyTries {
		if err = os.RemoveAll(to); err != nil {
			return err
		}
		// The checkpoint first and the tiles last: these have at least what it shows.
		from := filepath.Join(data, "ledger")
		if err = os.Mkdir(to, 0o700); err == nil {
			err = copyFile(filepath.Join(from, "checkpoint"), filepath.Join(to, "checkpoint"))
		}
		for _, part := range [...]string{"journal", ""} {
			if err == nil {
				err = copyTree(from, to, part)
			}
		}
		if err == nil {
			var rep *ledger.Report
			if rep, err = ledger.Verify(to, ledger.VerifyConfig{Ledger: k}); err == nil && rep.OK() {
				return nil
			} else if err == nil {
				err = &rep.Problems[0]
			}
		}
	}
	return fmt.Errorf("the ledger: %w", err)
}

// copyTree copies what is under a part of a folder and not there yet.
func copyTree(from, to, part string) error {
	return filepath.WalkDir(filepath.Join(from, part), func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the ledger has put it together with others
			}
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if _, err := os.Lstat(target); err == nil || !e.Type().IsRegular() || strings.HasSuffix(name, "lock") {
			return nil
		}
		if err := copyFile(file, target); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// list fills in the files of a folder.
func (m *Manifest) list(dir string) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, f)
		m.Files = append(m.Files, struct {
			Name   string `json:"name"`
			Size   int64  `json:"size"`
			SHA256 string `json:"sha256"`
			Mode   uint32 `json:"mode"`
		}{name, n, hex.EncodeToString(h.Sum(nil)), uint32(info.Mode().Perm())})
		return err
	})
}

// write writes the tar file.
func (m *Manifest) write(w io.Writer, dir string) error {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Name: manifestName, Size: int64(len(b)), Mode: 0o600, ModTime: m.Made, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := t.Write(b); err != nil {
		return err
	}
	for _, e := range m.Files {
		if err := t.WriteHeader(&tar.Header{Name: e.Name, Size: e.Size, Mode: int64(e.Mode), ModTime: m.Made, Format: tar.FormatPAX}); err != nil {
			return err
		}
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(e.Name)))
		if err != nil {
			return err
		}
		_, err = io.Copy(t, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return t.Close()
}

// ErrBackup is returned for what is no backup, or not as it was written.
var ErrBackup = errors.New("not a backup of this program, or not as it was written")

// Restore writes a backup into a folder that is empty or not there. Nothing is there
// unless all is as the manifest says.
func Restore(ctx context.Context, file, data string) (m *Manifest, err error) {
	if list, err := os.ReadDir(data); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("%s: is not empty; a backup is restored into a folder of its own", data)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	defer func() {
		if errors.Is(err, ErrBackup) {
			err = fmt.Errorf("%s: %w", file, err)
		}
	}()
	data = filepath.Clean(data)
	if err := os.MkdirAll(filepath.Dir(data), 0o755); err != nil {
		return nil, err
	}
	stage, err := os.MkdirTemp(filepath.Dir(data), ".myelin-restore-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	t := tar.NewReader(in)
	if m, err = readManifest(t); err != nil {
		return nil, err
	}
	for i := range m.Files {
		e := &m.Files[i]
		h, err := t.Next()
		if err != nil || h.Typeflag != tar.TypeReg || h.Name != e.Name || h.Size != e.Size {
			return nil, fmt.Errorf("%w: %q is not there as the manifest says", ErrBackup, e.Name)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := filepath.Join(stage, filepath.FromSlash(e.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return nil, err
		}
		out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(e.Mode)&0o644)
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		_, err = io.Copy(io.MultiWriter(out, sum), t)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrBackup, e.Name, err)
		}
		if hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
			return nil, fmt.Errorf("%w: %q has other bytes than the manifest says", ErrBackup, e.Name)
		}
	}
	if _, err := t.Next(); err != io.EOF {
		return nil, fmt.Errorf("%w: there is more in it than the manifest says", ErrBackup)
	}
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return m, os.Rename(stage, data)
}

func readManifest(t *tar.Reader) (*Manifest, error) {
	h, err := t.Next()
	if err != nil || h.Name != manifestName || h.Size > maxManifest {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrBackup, manifestName)
	}
	m := &Manifest{}
	d := json.NewDecoder(t)
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil || len(m.Files) > maxFiles {
		return nil, fmt.Errorf("%w: its %s cannot be read", ErrBackup, manifestName)
	}
	if m.Version != backupVersion {
		return nil, fmt.Errorf("%w: its version is %d, and this program knows %d", ErrBackup, m.Version, backupVersion)
	}
	for _, e := range m.Files {
		if !fs.ValidPath(e.Name) || e.Name == "." || !filepath.IsLocal(filepath.FromSlash(e.Name)) || strings.ContainsAny(e.Name, "\\:\x00") || e.Size < 0 {
			return nil, fmt.Errorf("%w: %q is no name of a file of ours", ErrBackup, e.Name)
		}
	}
	return m, nil
}
