// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight // hashes of a whole tile, entries of a whole bundle
	tileBytes  = tileWidth * tlog.HashSize
)

// A tree is the right edge of a Merkle tree: of each level of tiles the last, as far
// as it is not whole. It is what is needed to go on, and 8 kB a level.
type tree struct {
	size  int64
	tiles [][]byte
}

// push adds a leaf. full is told of each tile that is whole now; its bytes are
// the tree's and change when it returns.
func (t *tree) push(h tlog.Hash, full func(level int, n int64, tile []byte) error) error {
	t.size++
	for l := 0; ; l++ {
		if l == len(t.tiles) {
			t.tiles = append(t.tiles, make([]byte, 0, tileBytes))
		}
		t.tiles[l] = append(t.tiles[l], h[:]...)
		if len(t.tiles[l]) < tileBytes {
			return nil
		}
		if err := full(l, t.size>>(tileHeight*(l+1))-1, t.tiles[l]); err != nil {
			return err
		}
		h = tileRoot(t.tiles[l])
		t.tiles[l] = t.tiles[l][:0]
	}
}

// root returns the root hash of the tree.
func (t *tree) root() tlog.Hash {
	h, err := tlog.TreeHash(t.size, t)
	if err != nil {
		panic(err) // the right edge has all that is asked for
	}
	return h
}

// ReadHashes returns hashes of the right edge, for [tlog.TreeHash].
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		tile := tlog.TileForIndex(tileHeight, x)
		if tile.L >= len(t.tiles) || tile.N != t.size>>(tileHeight*(tile.L+1)) {
			return nil, fmt.Errorf("ledger: hash %d is not at the right edge", x)
		}
		h, err := tlog.HashFromTile(tile, t.tiles[tile.L], x)
		if err != nil {
			return nil, err
		}
		hashes[i] = h
	}
	return hashes, nil
}

func (t *tree) clone() *tree {
	c := &tree{size: t.size, tiles: make([][]byte, len(t.tiles))}
	for l, tile := range t.tiles {
		c.tiles[l] = append(make([]byte, 0, tileBytes), tile...)
	}
	return c
}

// tileRoot returns the hash that stands for a whole tile in the level above.
func tileRoot(tile []byte) tlog.Hash {
	var row [tileWidth]tlog.Hash
	for i := range row {
		row[i] = tlog.Hash(tile[i*tlog.HashSize:])
	}
	for n := tileWidth / 2; n > 0; n /= 2 {
		for i := range n {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}

// A leafHasher hashes entries as leaves (RFC 6962 section 2.1) without allocating:
// tlog.RecordHash takes 1 allocation and twice the time.
type leafHasher struct{ buf []byte }

func (h *leafHasher) hash(entry []byte) tlog.Hash {
	h.buf = append(slices.Grow(h.buf[:0], 1+len(entry)), 0)
	h.buf = append(h.buf, entry...)
	return sha256.Sum256(h.buf)
}
