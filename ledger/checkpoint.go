// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	maxNote = 64 << 10 // bytes of a checkpoint with its signatures
	// maxSize is how many entries a tree may have. More would take 256 TB of
	// hashes; x/mod's arithmetic ends at 2^62.
	maxSize = 1 << 48
)

// A Checkpoint says which entries there are: so many, with that root hash.
type Checkpoint struct {
	Origin string // the ledger's name, which its key has too
	Size   int64
	Hash   tlog.Hash
	// Witnessed is when each witness that was asked for saw it, by its name.
	Witnessed map[string]time.Time
	// Note is all of it, with the signatures.
	Note []byte
}

// ErrCheckpoint is returned for what is no checkpoint, and ErrSignature for one
// that the key did not sign.
var (
	ErrCheckpoint = errors.New("not a checkpoint: want three lines with name, size and hash, an empty one, and signatures")
	ErrSignature  = errors.New("the checkpoint is not signed by this key")
)

// ParseCheckpoint reads a checkpoint that is signed by the ledger's key, and by all
// of the witnesses that are named. Other signatures are passed over.
func ParseCheckpoint(b []byte, ledger note.Verifier, witnesses ...note.Verifier) (Checkpoint, error) {
	if len(b) > maxNote {
		return Checkpoint{}, ErrCheckpoint
	}
	n, err := note.Open(b, note.VerifierList(append([]note.Verifier{ledger}, witnesses...)...))
	var unsigned *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unsigned), errors.As(err, &invalid):
		return Checkpoint{}, ErrSignature
	case err != nil:
		return Checkpoint{}, ErrCheckpoint
	}
	c, err := parseTree(n.Text)
	if err != nil {
		return c, err
	}
	if signatureOf(n, ledger) == nil || c.Origin != ledger.Name() {
		return Checkpoint{}, ErrSignature
	}
	for _, w := range witnesses {
		sig := signatureOf(n, w)
		if sig == nil {
			return Checkpoint{}, fmt.Errorf("no witness %s has signed the checkpoint", w.Name())
		}
		if isWitness(w) {
			if c.Witnessed == nil {
				c.Witnessed = map[string]time.Time{}
			}
			c.Witnessed[w.Name()] = time.Unix(int64(binary.BigEndian.Uint64(sig)), 0).UTC()
		}
	}
	c.Note = b
	return c, nil
}

// signatureOf returns the signature of a key that was found right, if it is written in
// the one form of base64: x/mod takes others, too.
func signatureOf(n *note.Note, v note.Verifier) []byte {
	for _, s := range n.Sigs {
		if s.Name == v.Name() && s.Hash == v.KeyHash() {
			b, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
			if err != nil || len(b) < 4 {
				return nil
			}
			return b[4:]
		}
	}
	return nil
}

// parseTree reads the text of a checkpoint: c2sp.org/tlog-checkpoint, "Note text".
func parseTree(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		return c, ErrCheckpoint
	}
	for _, l := range lines[:len(lines)-1] {
		if l == "" {
			return c, ErrCheckpoint
		}
	}
	c.Origin = lines[0]
	if c.Size, err = parseNumber(lines[1]); err != nil {
		return Checkpoint{}, ErrCheckpoint
	}
	if c.Hash, err = parseHash(lines[2]); err != nil {
		return Checkpoint{}, ErrCheckpoint
	}
	return c, nil
}

// sign writes a checkpoint.
func sign(size int64, root tlog.Hash, s note.Signer) (Checkpoint, error) {
	b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", s.Name(), size, root)}, s)
	return Checkpoint{Origin: s.Name(), Size: size, Hash: root, Note: b}, err
}

var errNumber = errors.New("not a number of entries")

// parseNumber reads an index or a size: decimal, without leading zeros.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxSize || strconv.FormatInt(n, 10) != s {
		return 0, errNumber
	}
	return n, nil
}

// parseHash reads a hash in base64 of which there is one form only.
func parseHash(s string) (tlog.Hash, error) {
	h, err := tlog.ParseHash(s)
	if err == nil && h.String() != s {
		err = errors.New("not a hash in base64")
	}
	return h, err
}
