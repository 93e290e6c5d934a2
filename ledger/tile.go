// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// MaxEntry is how many bytes an entry may have: its length is written in two.
	MaxEntry = 1<<16 - 1

	entriesLevel = -1 // the level of bundles in x/mod's terms
	maxBundle    = tileWidth * (2 + MaxEntry)
)

// A DamageError says what of a ledger is not as it was written, and where.
type DamageError struct {
	File    string // within the ledger's folder
	Entry   int64  // the first that is concerned, or -1
	Offset  int64  // bytes into the file, or -1
	Problem string
}

func (e *DamageError) Error() string {
	where := e.File
	if e.Entry >= 0 {
		where += fmt.Sprintf(", entry %d", e.Entry)
	}
	if e.Offset >= 0 {
		where += fmt.Sprintf(", byte %d", e.Offset)
	}
	return where + ": " + e.Problem
}

// tilePath is where a tile stands (c2sp.org/tlog-tiles, "Merkle Tree", "Log
// entries"), with slashes: tile/0/x001/234.p/17.
func tilePath(level int, n int64, width int) string {
	p := strings.TrimPrefix(tlog.Tile{H: tileHeight, L: level, N: n, W: width}.Path(), "tile/8/")
	if level == entriesLevel {
		p = "entries" + strings.TrimPrefix(p, "data")
	}
	return "tile/" + p
}

// widthAt returns how wide the n'th tile of a level is in a tree of that size.
func widthAt(size int64, level int, n int64) int {
	if level == entriesLevel {
		level = 0
	}
	return int(min(max(size>>(tileHeight*level)-n<<tileHeight, 0), tileWidth))
}

// cutEntry takes an entry off the front of a bundle.
func cutEntry(b []byte) (entry, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, false
	}
	return b[2:n:n], b[n:], true
}

func appendEntry(dst, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(entry))), entry...)
}

// parseBundle hands over exactly so many entries of a bundle, and returns how many
// bytes they have. A bundle that is whole may be cut to fewer.
func parseBundle(b []byte, count int, yield func(i int, entry []byte) error) (int, error) {
	rest := b
	for i := range count {
		entry, r, ok := cutEntry(rest)
		if !ok {
			return len(b) - len(rest), fmt.Errorf("ends within entry %d of %d", i+1, count)
		}
		if err := yield(i, entry); err != nil {
			return len(b) - len(rest), err
		}
		rest = r
	}
	return len(b) - len(rest), nil
}

// A folder is a ledger's, for reading.
type folder string

// read reads a file that may have so many bytes.
func (d folder) read(path string, most int64) ([]byte, error) {
	name := filepath.Join(string(d), filepath.FromSlash(path))
	st, err := os.Stat(name) // before it is opened: who opens a pipe waits
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > most {
		return nil, &DamageError{path, -1, -1, fmt.Sprintf("no file of at most %d bytes", most)}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, st.Size())
	n, err := io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], err
}

// tile reads the hashes of a tile. A tile that was partial may be whole now.
func (d folder) tile(level int, n int64, width int) (b []byte, path string, err error) {
	b, path, err = d.readTile(level, n, width, tileBytes)
	want := width * tlog.HashSize
	if err == nil && len(b) != want && (len(b) != tileBytes || path != tilePath(level, n, tileWidth)) {
		err = &DamageError{path, -1, int64(min(len(b), want)), fmt.Sprintf("%d bytes of hashes, want %d", len(b), want)}
	}
	if err != nil {
		return nil, path, err
	}
	return b[:want], path, nil
}

func (d folder) bundle(n int64, width int) (b []byte, path string, err error) {
	return d.readTile(entriesLevel, n, width, maxBundle)
}

func (d folder) readTile(level int, n int64, width int, most int64) ([]byte, string, error) {
	path := tilePath(level, n, width)
	b, err := d.read(path, most)
	if width < tileWidth && errors.Is(err, fs.ErrNotExist) {
		// c2sp.org/tlog-tiles, "Partial Tiles": they may go when the whole one is there.
		if whole, err := d.read(tilePath(level, n, tileWidth), most); err == nil {
			return whole, tilePath(level, n, tileWidth), nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &DamageError{path, -1, -1, "is missing"}
	}
	return b, path, err
}

// Height, ReadTiles and SaveTiles let x/mod read tiles and hold them against a root.
func (d folder) Height() int { return tileHeight }

func (d folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		b, _, err := d.tile(t.L, t.N, t.W)
		if err != nil {
			return nil, err
		}
		data[i] = b
	}
	return data, nil
}

func (folder) SaveTiles([]tlog.Tile, [][]byte) {}

// A writer makes files durable below a folder: all that it wrote is after flush.
type writer struct {
	dir   string
	known map[string]bool // folders that are there
	dirty map[string]bool // folders with new names
}

func newWriter(dir string) *writer {
	return &writer{dir, map[string]bool{dir: true}, map[string]bool{}}
}

func (w *writer) write(path string, b []byte) error {
	name := filepath.Join(w.dir, filepath.FromSlash(path))
	if err := w.mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	w.dirty[filepath.Dir(name)] = true
	return errors.Join(err, f.Sync(), f.Close())
}

// replace puts a file in the place of another, at once.
func (w *writer) replace(path string, b []byte) error {
	if err := w.write(path+".new", b); err != nil {
		return err
	}
	name := filepath.Join(w.dir, filepath.FromSlash(path))
	return os.Rename(name+".new", name)
}

// mkdir makes a folder. One that is there may have been made by a process that was
// killed before the folder around it was durable, so that is flushed either way.
func (w *writer) mkdir(dir string) error {
	if w.known[dir] {
		return nil
	}
	if err := w.mkdir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	w.known[dir], w.dirty[filepath.Dir(dir)] = true, true
	return nil
}

// remove takes a folder away that nobody needs; if that fails it is in nobody's way.
func (w *writer) remove(path string) {
	name := filepath.Join(w.dir, filepath.FromSlash(path))
	delete(w.known, name)
	delete(w.dirty, name)
	os.RemoveAll(name)
}

func (w *writer) flush() error {
	for dir := range w.dirty {
		if err := syncFolder(dir); err != nil {
			return err
		}
	}
	clear(w.dirty)
	return nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
