// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A SequenceFile keeps, across a loss of power at any moment, up to where the
// sender sequence numbers of one context may have been used. It is for one
// process at a time.
//
// The file has 40 bytes: the limit, big-endian in eight, and the SHA-256 of them.
// It is never written in place: a new one is made durable beside it and takes its
// name, so that there is always a whole one.
type SequenceFile struct {
	path  string
	limit uint64
}

// CreateSequence makes the file for keys that were never used. It fails when
// there is one.
func CreateSequence(path string) (*SequenceFile, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, fmt.Errorf("oscore: %s: %w", path, fs.ErrExist))
	}
	s := &SequenceFile{path: path}
	return s, s.write(0)
}

// OpenSequence reads the file of keys that were used. When it is lost or damaged
// the keys are to be given up: numbers must not be guessed.
func OpenSequence(path string) (*SequenceFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != 8+sha256.Size || sha256.Sum256(b[:8]) != [sha256.Size]byte(b[8:]) {
		return nil, errors.New("oscore: the file of sequence numbers is damaged; make new keys")
	}
	return &SequenceFile{path, binary.BigEndian.Uint64(b)}, nil
}

// Next is the first number that was never used: [Params.Sequence].
func (s *SequenceFile) Next() uint64 { return s.limit }

// Reserve is [Params.Reserve].
func (s *SequenceFile) Reserve(limit uint64) error {
	if limit < s.limit {
		return fmt.Errorf("oscore: numbers are reserved up to %d, and %d is asked for", s.limit, limit)
	}
	return s.write(limit)
}

func (s *SequenceFile) write(limit uint64) error {
	b := binary.BigEndian.AppendUint64(nil, limit)
	sum := sha256.Sum256(b)
	f, err := os.OpenFile(s.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, sum[:]...))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return err
	}
	s.limit = limit
	return nil
}
