// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	maxProblems = 20 // that are listed
	// maxMore is how many are counted beyond that. Whoever has the key can sign that
	// there are 2^48 entries, of which none is there.
	maxMore = 10_000
)

// A VerifyConfig says what a ledger is held against.
type VerifyConfig struct {
	// Ledger is its public key, Witnesses those who must have signed it too.
	Ledger    note.Verifier
	Witnesses []note.Verifier
	// Since is an older checkpoint that somebody kept: the ledger must have all that
	// it shows. The zero Checkpoint is none.
	Since Checkpoint
	// Quick passes over the entries that Since shows, which were verified then. What
	// changed since in their files is not found, but that they hash to the same.
	Quick bool
}

// A Report is what was found when a ledger was verified.
type Report struct {
	Checkpoint Checkpoint
	Entries    int64 // how many were hashed, of those that the checkpoint shows
	Unsigned   int64 // how many are durable in the journal, and in no checkpoint yet
	Torn       int   // bytes at its end that a crash cut off, and nobody acknowledged
	Problems   []DamageError
	More       int // problems that are not listed; of ten thousand it gives up
}

// OK reports whether all is as it was signed.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// Verify reads all of a ledger: each entry is hashed and held against the tiles, those
// against each other and the root that was signed, and the journal against
// both. It needs no lock, and changes nothing. What is wrong is in the report; an error
// is of reading alone.
func Verify(dir string, cfg VerifyConfig) (*Report, error) {
	v := &verification{dir: folder(dir), cfg: cfg, tree: &tree{}}
	b, err := v.dir.read("checkpoint", maxNote)
	if err == nil {
		v.Checkpoint, err = ParseCheckpoint(b, cfg.Ledger, cfg.Witnesses...)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
		v.found(DamageError{"checkpoint", -1, -1, "is missing"})
		return &v.Report, nil
	case err != nil && isPath(err):
		return nil, err
	case err != nil:
		v.found(DamageError{"checkpoint", -1, -1, err.Error()})
		return &v.Report, nil
	}
	if err := v.tiles(); err != nil {
		return nil, err
	}
	return &v.Report, v.journal()
}

func isPath(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

type verification struct {
	Report
	dir         folder
	cfg         VerifyConfig
	tree        *tree
	leaves      leafHasher
	last        []tlog.Hash // of the entries that fill no bundle
	above       []byte      // the tile of level 1 over the bundle being read
	aboveN      int64       // which that is, and one more
	journalSize int64       // of a checkpoint that came meanwhile
}

func (v *verification) found(d DamageError) {
	if len(v.Problems) == maxProblems {
		v.More++
		return
	}
	v.Problems = append(v.Problems, d)
}

// damaged takes an error of reading as a finding, where it is one.
func (v *verification) damaged(err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		v.found(*d)
		return nil
	}
	return err
}

func (v *verification) tiles() error {
	size, since := v.Checkpoint.Size, v.cfg.Since
	if since.Origin != "" && since.Size > size {
		v.found(DamageError{"checkpoint", size, -1, fmt.Sprintf("shows %d entries, and an older one shows %d: entries were taken away", size, since.Size)})
		since = Checkpoint{}
	}
	if since.Origin != "" && v.cfg.Quick {
		t, err := v.dir.edge(since.Size&^(tileWidth-1), size)
		if err != nil {
			return v.damaged(err)
		}
		v.tree = t
	}
	grown := func() {
		if since.Origin != "" && v.tree.size == since.Size && v.tree.root() != since.Hash {
			v.found(DamageError{"checkpoint", -1, -1, fmt.Sprintf("the first %d entries are not those of the older checkpoint", since.Size)})
		}
	}
	grown()
	for n := v.tree.size / tileWidth; n*tileWidth < size; n++ {
		if v.More >= maxMore {
			return nil
		}
		hashes, err := v.bundle(n)
		if err != nil {
			return err
		}
		for _, h := range hashes {
			if err := v.tree.push(h, v.compare); err != nil {
				return err
			}
			grown()
		}
		if len(hashes) < tileWidth {
			v.last = hashes
		}
	}
	for level := 1; level < len(v.tree.tiles); level++ {
		if n := size >> (tileHeight * (level + 1)); widthAt(size, level, n) > 0 {
			if err := v.compare(level, n, v.tree.tiles[level]); err != nil {
				return err
			}
		}
	}
	if v.tree.root() != v.Checkpoint.Hash && v.OK() {
		v.found(DamageError{"checkpoint", -1, -1, "entries and tiles agree with each other, and not with what was signed: they were changed together"})
	}
	return v.older()
}

// bundle reads a bundle and its tile, and returns the hashes to go on with: of the two
// those that the level above has, if they differ.
func (v *verification) bundle(n int64) ([]tlog.Hash, error) {
	w := widthAt(v.Checkpoint.Size, entriesLevel, n)
	first := n * tileWidth
	tile, tilePath0, err := v.dir.tile(0, n, w)
	if err := v.damaged(err); err != nil {
		return nil, err
	}
	b, path, err := v.dir.bundle(n, w)
	if err := v.damaged(err); err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, 0, w)
	end, bad := 0, error(nil)
	if b != nil {
		end, bad = parseBundle(b, w, func(_ int, entry []byte) error {
			hashes = append(hashes, v.leaves.hash(entry))
			return nil
		})
		if bad == nil && end < len(b) && path == tilePath(entriesLevel, n, w) {
			bad = errors.New("more bytes than entries")
		}
		if bad != nil {
			v.found(DamageError{path, first + int64(len(hashes)), int64(end), bad.Error()})
		}
	}
	v.Entries += int64(len(hashes))
	signed := make([]tlog.Hash, w)
	for i := range signed {
		if tile != nil {
			signed[i] = tlog.Hash(tile[i*tlog.HashSize:])
		}
	}
	if tile == nil {
		if len(hashes) == w {
			return hashes, nil
		}
		return signed, nil
	}
	if len(hashes) < w {
		return signed, nil
	}
	differ := -1
	for i := range hashes {
		if hashes[i] != signed[i] {
			differ = i
			break
		}
	}
	if differ < 0 {
		return hashes, nil
	}
	offset, _ := parseBundle(b, differ, func(int, []byte) error { return nil })
	switch v.which(n, hashes, signed) {
	case 0:
		v.found(DamageError{tilePath0, first + int64(differ), int64(differ * tlog.HashSize), "this hash was changed; the entry is what was signed"})
		return hashes, nil
	case 1:
		v.found(DamageError{path, first + int64(differ), int64(offset), "this entry is not what was signed"})
		return signed, nil
	}
	v.found(DamageError{path, first + int64(differ), int64(offset), "entry and hash differ, and neither leads to what was signed"})
	return signed, nil
}

// which says which of two rows of leaves the level above has, or, where the rows fill no
// tile, the root; -1 is neither.
func (v *verification) which(n int64, rows ...[]tlog.Hash) int {
	if len(rows[0]) < tileWidth {
		for i, row := range rows {
			t := v.tree.clone()
			for _, h := range row {
				t.push(h, nil)
			}
			if t.root() == v.Checkpoint.Hash {
				return i
			}
		}
		return -1
	}
	if up := n / tileWidth; v.aboveN != up+1 {
		v.aboveN = up + 1
		v.above, _, _ = v.dir.tile(1, up, widthAt(v.Checkpoint.Size, 1, up)) // what is wrong with it is found later
	}
	if v.above == nil {
		return -1
	}
	want := tlog.Hash(v.above[n%tileWidth*tlog.HashSize:])
	for i, row := range rows {
		b := make([]byte, 0, tileBytes)
		for _, h := range row {
			b = append(b, h[:]...)
		}
		if tileRoot(b) == want {
			return i
		}
	}
	return -1
}

// compare holds a tile above the leaves against what the tiles below it hash to.
func (v *verification) compare(level int, n int64, want []byte) error {
	if level == 0 {
		return nil // bundle has done that
	}
	b, path, err := v.dir.tile(level, n, len(want)/tlog.HashSize)
	if err != nil {
		return v.damaged(err)
	}
	for i := 0; i < len(want); i += tlog.HashSize {
		if !bytes.Equal(b[i:i+tlog.HashSize], want[i:i+tlog.HashSize]) {
			v.found(DamageError{path, (n*tileWidth + int64(i/tlog.HashSize)) << (tileHeight * level), int64(i), "this hash is not that of the tile below"})
			break
		}
	}
	return nil
}

// older holds what stands there for older checkpoints against what is known now.
func (v *verification) older() error {
	if !v.OK() {
		return nil
	}
	size := v.Checkpoint.Size
	for level := entriesLevel; level < len(v.tree.tiles); level++ {
		n := size >> (tileHeight * (max(level, 0) + 1))
		w := widthAt(size, level, n)
		if w == 0 {
			continue
		}
		now, path, err := v.dir.readTile(level, n, w, maxBundle)
		if err != nil {
			return v.damaged(err)
		}
		partial := filepath.Dir(tilePath(level, n, 1))
		files, err := os.ReadDir(filepath.Join(string(v.dir), partial))
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody appends: it is whole by now
		}
		if err != nil {
			return err
		}
		for _, f := range files {
			width, err := strconv.Atoi(f.Name())
			if err != nil || width <= 0 || width >= w {
				continue // of a checkpoint that is still to come, or none of ours
			}
			b, err := v.dir.read(partial+"/"+f.Name(), maxBundle)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return v.damaged(err)
			}
			want := width * tlog.HashSize
			if level == entriesLevel {
				want, _ = parseBundle(now, width, func(int, []byte) error { return nil })
			}
			if !bytes.Equal(b, now[:want]) {
				v.found(DamageError{partial + "/" + f.Name(), -1, -1, "is not the beginning of " + path})
			}
		}
	}
	return nil
}

// journal holds the journal against the tiles. Who appends may begin another file of it
// and remove one meanwhile, but not without another checkpoint.
func (v *verification) journal() error {
	for try := 0; ; try++ {
		err := v.readJournal()
		if err == nil {
			return nil
		}
		b, e := v.dir.read("checkpoint", maxNote)
		if e != nil || try == 3 || bytes.Equal(b, v.Checkpoint.Note) {
			if errors.Is(err, fs.ErrNotExist) {
				err = &DamageError{"journal", -1, -1, "is missing"}
			}
			return v.damaged(err)
		}
		c, e := ParseCheckpoint(b, v.cfg.Ledger)
		if e != nil {
			return v.damaged(err)
		}
		v.journalSize = c.Size
	}
}

func (v *verification) readJournal() error {
	size := max(v.Checkpoint.Size, v.journalSize)
	begin := size &^ (tileWidth - 1)
	files, err := v.dir.segments()
	if err != nil {
		return err
	}
	for len(files) > 1 && files[1] <= begin {
		files = files[1:]
	}
	if len(files) == 0 || files[0] > begin {
		return &DamageError{segmentPath(begin), begin, -1, "is missing: the journal does not begin where whole bundles end"}
	}
	differ := int64(-1)
	last, torn, err := v.dir.journal(files, func(g group) {
		parseBundle(g.entries, g.count, func(i int, entry []byte) error {
			n := g.first + int64(i)
			if at := n - v.Checkpoint.Size&^(tileWidth-1); at >= 0 && at < int64(len(v.last)) && differ < 0 && v.leaves.hash(entry) != v.last[at] {
				differ = n
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case differ >= 0:
		return &DamageError{"journal", differ, -1, "this entry is not the one that the checkpoint shows"}
	case last.next < size:
		return &DamageError{segmentPath(last.first), last.next, int64(last.end), fmt.Sprintf("the journal ends here, and the checkpoint shows %d entries", size)}
	}
	v.Unsigned, v.Torn = last.next-size, torn
	return nil
}
