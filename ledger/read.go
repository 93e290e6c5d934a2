// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Reader reads what a checkpoint shows. It needs no lock, while another process
// appends too, and believes nothing but the signature: whatever it hands over was held
// against the root.
type Reader struct {
	Checkpoint Checkpoint
	dir        folder
	hashes     tlog.HashReader
}

// Read reads the checkpoint of the ledger in a folder, which must be signed by its key.
func Read(dir string, ledger note.Verifier, witnesses ...note.Verifier) (*Reader, error) {
	b, err := folder(dir).read("checkpoint", maxNote)
	if err != nil {
		return nil, err
	}
	c, err := ParseCheckpoint(b, ledger, witnesses...)
	if err != nil {
		return nil, &DamageError{"checkpoint", -1, -1, err.Error()}
	}
	return readAt(dir, c), nil
}

func readAt(dir string, c Checkpoint) *Reader {
	return &Reader{c, folder(dir), tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Hash}, folder(dir))}
}

// ErrNoEntry is returned for an index that the checkpoint does not have.
var ErrNoEntry = errors.New("ledger: the checkpoint has no such entry")

// Entries hands over the entries from the first on and before the last, in order. An
// entry is valid until yield returns, and an error of yield ends it. Each bundle
// takes a few file reads and 256 hashes.
func (r *Reader) Entries(from, to int64, yield func(index int64, entry []byte) error) error {
	if from < 0 || to < from || to > r.Checkpoint.Size {
		return ErrNoEntry
	}
	for n := from / tileWidth; n*tileWidth < to; n++ {
		if err := r.bundle(n, func(i int64, entry []byte) error {
			if i < from || i >= to {
				return nil
			}
			return yield(i, entry)
		}); err != nil {
			return err
		}
	}
	return nil
}

// bundle hands over the entries of a bundle, when all of them are those of the root.
func (r *Reader) bundle(n int64, yield func(int64, []byte) error) error {
	w := widthAt(r.Checkpoint.Size, entriesLevel, n)
	b, path, err := r.dir.bundle(n, w)
	if err != nil {
		return err
	}
	indexes := make([]int64, w)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, n*tileWidth+int64(i))
	}
	want, err := r.hashes.ReadHashes(indexes)
	if err != nil {
		return r.damage(err)
	}
	var leaves leafHasher
	entries := make([][]byte, 0, w)
	end, err := parseBundle(b, w, func(i int, entry []byte) error {
		if leaves.hash(entry) != want[i] {
			return errors.New("is not what was signed")
		}
		entries = append(entries, entry)
		return nil
	})
	if err == nil && end < len(b) && path == tilePath(entriesLevel, n, w) {
		err = errors.New("more bytes than entries")
	}
	if err != nil {
		return &DamageError{path, n*tileWidth + int64(len(entries)), int64(end), err.Error()}
	}
	for i, entry := range entries {
		if err := yield(n*tileWidth+int64(i), entry); err != nil {
			return err
		}
	}
	return nil
}

// damage says of x/mod's words what is meant.
func (r *Reader) damage(err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		return d
	}
	return &DamageError{"tile", -1, -1, fmt.Sprintf("hashes do not lead to the root that was signed (%v)", err)}
}

// Entry returns an entry.
func (r *Reader) Entry(i int64) (entry []byte, err error) {
	err = r.Entries(i, i+1, func(_ int64, b []byte) error {
		entry = b
		return nil
	})
	return entry, err
}

// Prove returns the proof that an entry is in the ledger.
func (r *Reader) Prove(i int64) (*Proof, error) {
	entry, err := r.Entry(i)
	if err != nil {
		return nil, err
	}
	p, err := tlog.ProveRecord(r.Checkpoint.Size, i, r.hashes)
	if err != nil {
		return nil, r.damage(err)
	}
	return &Proof{Index: i, Entry: entry, Hashes: p, Checkpoint: r.Checkpoint.Note}, nil
}

// ProveGrowth returns the proof that the ledger has all entries that it had when it had
// so many, in the same order.
func (r *Reader) ProveGrowth(old int64) (*Growth, error) {
	if old < 0 || old > r.Checkpoint.Size {
		return nil, ErrNoEntry
	}
	g := &Growth{Old: old, Checkpoint: r.Checkpoint.Note}
	if old == 0 || old == r.Checkpoint.Size {
		return g, nil // RFC 6962 section 2.1.2 has no proof for these, and none is needed
	}
	p, err := tlog.ProveTree(r.Checkpoint.Size, old, r.hashes)
	if err != nil {
		return nil, r.damage(err)
	}
	g.Hashes = p
	return g, nil
}
