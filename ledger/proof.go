// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// maxHashes is more than a proof needs: two for each level of the highest tree.
	maxHashes = 2 * 64
	// MaxProof is how many bytes the file of a proof may have.
	MaxProof = MaxEntry*4/3 + maxHashes*45 + maxNote + 1<<10
)

// A Proof shows that an entry is in a ledger, to somebody who has nothing but the
// ledger's public key: the form is c2sp.org/tlog-proof, with the entry as extra data.
type Proof struct {
	Index      int64
	Entry      []byte
	Hashes     []tlog.Hash // RFC 6962 section 2.1.1
	Checkpoint []byte
}

// A Growth shows that a ledger has all that it had when it had Old entries (RFC 6962
// section 2.1.2). Its form is that of a request to a witness in c2sp.org/tlog-witness.
type Growth struct {
	Old        int64
	Hashes     []tlog.Hash
	Checkpoint []byte
}

// ErrProof is returned for a proof that does not prove it, and ErrProofForm for what
// is none.
var (
	ErrProof     = errors.New("ledger: the hashes do not lead to the signed root: this is not in the ledger as it is here")
	ErrProofForm = errors.New("ledger: not a proof of an entry or of growth")
)

// AppendText writes a proof as it stands in a file.
func (p *Proof) AppendText(dst []byte) ([]byte, error) {
	dst = fmt.Appendf(dst, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(p.Entry), p.Index)
	return appendProof(dst, p.Hashes, p.Checkpoint), nil
}

// AppendText writes a proof as it stands in a file.
func (g *Growth) AppendText(dst []byte) ([]byte, error) {
	return appendProof(fmt.Appendf(dst, "old %d\n", g.Old), g.Hashes, g.Checkpoint), nil
}

func appendProof(dst []byte, hashes []tlog.Hash, checkpoint []byte) []byte {
	for _, h := range hashes {
		dst = append(append(dst, h.String()...), '\n')
	}
	return append(append(dst, '\n'), checkpoint...)
}

// ParseProof reads the file of a proof. One of the two is nil.
func ParseProof(b []byte) (*Proof, *Growth, error) {
	if len(b) > MaxProof {
		return nil, nil, ErrProofForm
	}
	head, checkpoint, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) > 3+maxHashes {
		return nil, nil, ErrProofForm
	}
	var p Proof
	number, field := lines[0], "old "
	inclusion := lines[0] == proofHeader
	if inclusion {
		if len(lines) < 3 {
			return nil, nil, ErrProofForm
		}
		// Without the entry somebody would have to ask the ledger what it proves.
		text, ok := strings.CutPrefix(lines[1], "extra ")
		entry, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil || len(entry) > MaxEntry {
			return nil, nil, ErrProofForm
		}
		p.Entry, number, field, lines = entry, lines[2], "index ", lines[2:]
	}
	digits, ok := strings.CutPrefix(number, field)
	n, err := parseNumber(digits)
	if !ok || err != nil {
		return nil, nil, ErrProofForm
	}
	for _, l := range lines[1:] {
		h, err := parseHash(l)
		if err != nil {
			return nil, nil, ErrProofForm
		}
		p.Hashes = append(p.Hashes, h)
	}
	if !inclusion {
		return nil, &Growth{n, p.Hashes, checkpoint}, nil
	}
	p.Index, p.Checkpoint = n, checkpoint
	return &p, nil, nil
}

// Verify checks the proof: the entry has this index in the ledger of the checkpoint, which
// is signed by its key and all witnesses that are named.
func (p *Proof) Verify(ledger note.Verifier, witnesses ...note.Verifier) (Checkpoint, error) {
	c, err := ParseCheckpoint(p.Checkpoint, ledger, witnesses...)
	if err != nil {
		return c, err
	}
	if p.Index >= c.Size || tlog.CheckRecord(p.Hashes, c.Size, c.Hash, p.Index, tlog.RecordHash(p.Entry)) != nil {
		return Checkpoint{}, ErrProof
	}
	return c, nil
}

// Verify checks the proof against an older checkpoint, which its caller has verified.
func (g *Growth) Verify(old Checkpoint, ledger note.Verifier, witnesses ...note.Verifier) (Checkpoint, error) {
	c, err := ParseCheckpoint(g.Checkpoint, ledger, witnesses...)
	if err == nil {
		err = g.check(old, c)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

func (g *Growth) check(old, c Checkpoint) error {
	ok := g.Old == old.Size && old.Origin == c.Origin
	switch {
	case old.Size == c.Size:
		ok = ok && old.Hash == c.Hash && len(g.Hashes) == 0
	case old.Size == 0:
		ok = ok && old.Hash == (&tree{}).root() && len(g.Hashes) == 0
	default:
		ok = ok && old.Size < c.Size && tlog.CheckTree(g.Hashes, c.Size, c.Hash, old.Size, old.Hash) == nil
	}
	if !ok {
		return ErrProof
	}
	return nil
}
