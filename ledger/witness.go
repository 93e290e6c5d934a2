// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
)

// A WitnessConfig says who countersigns, and what it remembers.
type WitnessConfig struct {
	// Ledger is the public key of the ledger.
	Ledger note.Verifier
	// Signer and Verifier are both halves of the witness's own key.
	Signer   note.Signer
	Verifier note.Verifier
	// State is the file in which the witness remembers the last checkpoint that it
	// signed. It is the witness's, of this ledger alone, and out of the ledger's reach.
	State string
}

// A ConflictError says that a ledger does not grow from what the witness saw of it:
// entries were taken away or changed, or somebody else is shown another ledger.
type ConflictError struct {
	Seen, Shown Checkpoint
	Problem     string
}

func (e *ConflictError) Error() string { return e.Problem }

// Witness countersigns the checkpoint of the ledger in a folder, if the ledger grew from
// what the witness saw before: each entry of then is there, in its place. The
// signature is a cosignature/v1 of c2sp.org/tlog-cosignature, which states the time, and
// is given only after the checkpoint is durable in the state. It returns what was
// seen before too; the first time that is the zero Checkpoint.
func Witness(dir string, cfg WitnessConfig) (signed, seen Checkpoint, err error) {
	if cfg.Ledger == nil || cfg.Signer == nil || cfg.Verifier == nil || !isWitness(cfg.Verifier) || cfg.Signer.KeyHash() != cfg.Verifier.KeyHash() {
		return signed, seen, errors.New("ledger: a witness wants a key of its own, made for a witness")
	}
	state, err := filepath.Abs(cfg.State)
	if err != nil {
		return signed, seen, err
	}
	l, err := lock(state + ".lock")
	if err != nil {
		return signed, seen, err
	}
	defer l.Close()
	w := newWriter(filepath.Dir(state))
	last, err := folder(w.dir).read(filepath.Base(state), maxNote)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return signed, seen, err
	}
	if !first {
		if seen, err = ParseCheckpoint(last, cfg.Ledger, cfg.Verifier); err != nil {
			return signed, seen, fmt.Errorf("%s: %w", cfg.State, err)
		}
	}
	r, err := Read(dir, cfg.Ledger)
	if err != nil {
		return signed, seen, err
	}
	if !first {
		if err := r.grewFrom(seen); err != nil {
			return signed, seen, err
		}
	}
	n, err := note.Open(r.Checkpoint.Note, note.VerifierList(cfg.Ledger))
	if err != nil {
		return signed, seen, err
	}
	n.UnverifiedSigs = nil // nothing is known of other witnesses here
	b, err := note.Sign(n, cfg.Signer)
	if err != nil {
		return signed, seen, err
	}
	if signed, err = ParseCheckpoint(b, cfg.Ledger, cfg.Verifier); err != nil {
		return signed, seen, err
	}
	if err := errors.Join(w.replace(filepath.Base(state), b), w.flush()); err != nil {
		return Checkpoint{}, seen, err
	}
	return signed, seen, nil
}

// grewFrom checks that the ledger has all that an older checkpoint shows.
func (r *Reader) grewFrom(seen Checkpoint) error {
	conflict := func(problem string) error { return &ConflictError{seen, r.Checkpoint, problem} }
	if r.Checkpoint.Size < seen.Size {
		return conflict(fmt.Sprintf("shows %d entries, and showed %d before: entries were taken away", r.Checkpoint.Size, seen.Size))
	}
	g, err := r.ProveGrowth(seen.Size)
	if err != nil {
		return err
	}
	if err := g.check(seen, r.Checkpoint); err != nil {
		return conflict(fmt.Sprintf("its first %d entries are not those that it showed before", seen.Size))
	}
	return nil
}
