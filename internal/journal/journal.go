// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package journal keeps what must survive a loss of power: an append-only file of
// records, each chained to the one before. It says nothing of what is in them.
package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// ErrDamaged is returned for a journal that was changed, or damaged elsewhere than
// where a write was cut off. It must not be used: doses could be forgotten.
var ErrDamaged = errors.New("the journal is damaged")

// ErrBroken is of a journal that could not be written once: what it holds is known
// again after a restart only.
var ErrBroken = errors.New("the journal could not be written; restart what writes it")

const (
	HeaderBytes = 8           // in front of each record: its length and the CRC-32 of that, big-endian
	ChainBytes  = sha256.Size // behind each record: SHA-256 of the chain so far and the record

	maxRecord  = 8 << 20   // bytes of one record
	maxJournal = 512 << 20 // bytes that are read
	fullBytes  = 1 << 20   // after so many it is to be written anew
)

// A Journal is an append-only file of records. Each is
//
//	length, 4 bytes | CRC-32 of these | record | SHA-256 of the last such hash and the record
//
// and durable when [Journal.Write] returns. The chain begins with the SHA-256 of what the
// journal is of. What a loss of power cut off at its end, was never
// acknowledged, and is dropped. Nothing else may be missing: a length that is wrong is
// told from one that is cut off by its CRC, and records that are changed, by the chain.
//
// It is for one goroutine at a time, and one process.
type Journal struct {
	// Disk makes durable what was written; tests have one of their own.
	Disk func(*os.File) error

	path   string
	of     string
	file   *os.File
	head   [sha256.Size]byte
	bytes  int64
	broken bool
}

// Open opens or makes a journal of something ("myelin implant journal 1") and returns
// its records.
func Open(path, of string) (*Journal, [][]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	j := &Journal{Disk: (*os.File).Sync, path: path, of: of, file: f}
	records, err := j.load()
	if err == nil {
		err = errors.Join(f.Chmod(0o600), syncFolder(path))
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, records, nil
}

func (j *Journal) load() ([][]byte, error) {
	b, err := io.ReadAll(io.LimitReader(j.file, maxJournal+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJournal {
		return nil, ErrDamaged
	}
	records, head, n, err := Parse(b, j.of)
	if err != nil {
		return nil, err
	}
	j.head, j.bytes = head, int64(n)
	if n < len(b) {
		if err := j.file.Truncate(int64(n)); err != nil {
			return nil, err
		}
		if err := j.file.Sync(); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// Parse returns the records of a journal, the end of their chain, and how many
// bytes they have: what is behind was cut off.
func Parse(b []byte, of string) (records [][]byte, head [sha256.Size]byte, n int, err error) {
	head = Begin(of)
	for {
		rest := b[n:]
		// A file that grew without its data has zeros there.
		if len(rest) < HeaderBytes || !slices.ContainsFunc(rest, func(c byte) bool { return c != 0 }) {
			return records, head, n, nil
		}
		size := binary.BigEndian.Uint32(rest)
		if crc32.ChecksumIEEE(rest[:4]) != binary.BigEndian.Uint32(rest[4:]) || size > maxRecord {
			return nil, head, n, fmt.Errorf("%w at byte %d", ErrDamaged, n)
		}
		whole := HeaderBytes + int(size) + ChainBytes
		if len(rest) < whole {
			return records, head, n, nil
		}
		record := rest[HeaderBytes : HeaderBytes+size : HeaderBytes+size]
		next := chain(head, record)
		if [ChainBytes]byte(rest[HeaderBytes+size:whole]) != next {
			if len(rest) == whole {
				return records, head, n, nil // its data did not reach the disk
			}
			return nil, head, n, fmt.Errorf("%w at byte %d", ErrDamaged, n)
		}
		records = append(records, record)
		head = next
		n += whole
	}
}

// Begin is where the chain of a journal of something begins.
func Begin(of string) [sha256.Size]byte { return sha256.Sum256([]byte(of)) }

func chain(head [sha256.Size]byte, record []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(head[:])
	h.Write(record)
	return [sha256.Size]byte(h.Sum(nil))
}

// Append appends a record as a journal has it whose chain ends with head, which it
// moves on.
func Append(dst []byte, head *[sha256.Size]byte, record []byte) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(record)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[at:]))
	*head = chain(*head, record)
	return append(append(dst, record...), head[:]...)
}

// Write makes records durable, all or, if power is lost, the first few of them. After
// an error none of them is there, or nobody knows, and then nothing more is written until all is
// replaced, or a restart has read them.
func (j *Journal) Write(records ...[]byte) error {
	head, bytes := j.head, j.bytes
	err := j.Append(records...)
	if err == nil {
		if err = j.Sync(); err != nil {
			j.cut(head, bytes)
		}
	}
	return err
}

// Append is Write without waiting for the disk: what it wrote survives the process, and
// the machine as soon as Sync has returned.
func (j *Journal) Append(records ...[]byte) error {
	if j.broken {
		return ErrBroken
	}
	var b []byte
	head := j.head
	for _, r := range records {
		if len(r) > maxRecord {
			return fmt.Errorf("a record of %d bytes", len(r))
		}
		b = Append(b, &head, r)
	}
	if _, err := j.file.Write(b); err != nil {
		j.cut(j.head, j.bytes)
		return err
	}
	j.head = head
	j.bytes += int64(len(b))
	return nil
}

// cut takes away what a write that failed left behind. A page whose fsync failed is
// read as if it were on the disk, so that this has to be durable.
func (j *Journal) cut(head [sha256.Size]byte, bytes int64) {
	j.head, j.bytes = head, bytes
	j.broken = errors.Join(j.file.Truncate(bytes), j.Sync()) != nil
}

// Sync waits for the disk. Others may Append meanwhile; after an error the caller says
// [Journal.Break].
func (j *Journal) Sync() error { return j.Disk(j.file) }

// Replace writes the journal anew with other records, in a chain of
// their own.
func (j *Journal) Replace(records [][]byte) error {
	head := Begin(j.of)
	var b []byte
	for _, r := range records {
		if len(r) > maxRecord {
			return fmt.Errorf("a record of %d bytes", len(r))
		}
		b = Append(b, &head, r)
	}
	name := j.path + ".new"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(name, j.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	j.file.Close()
	j.file, j.head, j.bytes = f, head, int64(len(b))
	err = syncFolder(j.path)
	j.broken = err != nil
	return err
}

// Head is where the chain ends.
func (j *Journal) Head() [sha256.Size]byte { return j.head }

// Bytes is how long the journal is.
func (j *Journal) Bytes() int64 { return j.bytes }

// Full reports whether it is time to [Journal.Replace] the records by fewer.
func (j *Journal) Full() bool { return j.bytes > fullBytes }

// Broken reports whether nothing can be written any more.
func (j *Journal) Broken() bool { return j.broken }

// Break says that what is written does not hold any more: as after an error of
// [Journal.Write].
func (j *Journal) Break() { j.broken = true }

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
