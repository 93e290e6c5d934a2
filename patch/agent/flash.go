// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A Flash is a part of a device's memory that keeps what is written without power:
// the boot record, an envelope, or a slot. It is erased in blocks and written in
// pages, each once before its block is erased again. Both are durable on return, or
// return an error; where the power is lost meanwhile, what was to be written may be
// there in part.
type Flash interface {
	io.ReaderAt

	// Size is how many bytes there are, Block how many are erased at once and Page how
	// many are written at once. Page divides Block, which divides Size.
	Size() int64
	Block() int
	Page() int

	// Erase makes the block that begins at off read as 0xff.
	Erase(off int64) error

	// Write writes whole pages, all in one block, that are erased.
	Write(off int64, b []byte) error
}

// Why flash cannot be written.
var (
	ErrPower  = errors.New("agent: the power is lost")
	errBounds = errors.New("agent: outside of the flash, or not whole blocks and pages of it")
	errTwice  = errors.New("agent: flash is written that was not erased")
)

// inBounds says whether bytes are whole pages of one block.
func inBounds(f Flash, off int64, n int) bool {
	block, page := int64(f.Block()), int64(f.Page())
	return off >= 0 && off%page == 0 && int64(n)%page == 0 && off%block+int64(n) <= block && off+int64(n) <= f.Size()
}

// A Memory is a Flash in memory, for simulated devices and for tests. The contents
// are the owner's to look at and to spoil.
type Memory struct {
	Bytes []byte

	// Cut is asked before each erasure and each write, nil never: how many of its n
	// bytes are done, and whether the power is lost then.
	Cut func(n int) (done int, lost bool)

	block, page int
}

// NewMemory returns erased flash.
func NewMemory(size, block, page int) *Memory {
	m := &Memory{Bytes: make([]byte, size), block: block, page: page}
	erase(m.Bytes)
	return m
}

// Size implements [Flash].
func (m *Memory) Size() int64 { return int64(len(m.Bytes)) }

// Block implements [Flash].
func (m *Memory) Block() int { return m.block }

// Page implements [Flash].
func (m *Memory) Page() int { return m.page }

// ReadAt implements [io.ReaderAt].
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > m.Size() {
		return 0, errBounds
	}
	n := copy(p, m.Bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Erase implements [Flash].
func (m *Memory) Erase(off int64) error {
	if off%int64(m.block) != 0 || !inBounds(m, off, m.block) {
		return errBounds
	}
	n, err := m.lasts(m.block)
	erase(m.Bytes[off : off+int64(n)])
	return err
}

// Write implements [Flash].
func (m *Memory) Write(off int64, b []byte) error {
	if !inBounds(m, off, len(b)) {
		return errBounds
	}
	at := m.Bytes[off : off+int64(len(b))]
	if !erased(at) {
		return errTwice
	}
	n, err := m.lasts(len(b))
	copy(at, b[:n])
	return err
}

func (m *Memory) lasts(n int) (int, error) {
	if m.Cut == nil {
		return n, nil
	}
	done, lost := m.Cut(n)
	if !lost {
		return n, nil
	}
	return max(0, min(n, done)), ErrPower
}

func erase(b []byte) {
	for i := range b {
		b[i] = 0xff
	}
}

func erased(b []byte) bool {
	for _, c := range b {
		if c != 0xff {
			return false
		}
	}
	return true
}

// A File is a Flash in a file, or a partition, of a system that has such.
type File struct {
	f     *os.File
	size  int64
	block int
}

// filePage is what a disk writes at once.
const filePage = 512

// OpenFile opens a file as flash, and makes it, erased, where there is none. Size
// is rounded up to whole blocks.
func OpenFile(path string, size int64, block int) (*File, error) {
	if size <= 0 || block <= 0 || block%filePage != 0 {
		return nil, errBounds
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	d := &File{f, (size + int64(block) - 1) / int64(block) * int64(block), block}
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for off := at; off < d.size; { // to the end of a block first, where it was cut off while it was made
		n := int64(block) - off%int64(block)
		if _, err := f.WriteAt(ones(n), off); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		off += n
	}
	if at > d.size {
		return nil, errors.Join(fmt.Errorf("%s has %d bytes: more than the %d that it is to have", path, at, d.size), f.Close())
	}
	return d, f.Sync()
}

// Size implements [Flash].
func (d *File) Size() int64 { return d.size }

// Block implements [Flash].
func (d *File) Block() int { return d.block }

// Page implements [Flash].
func (d *File) Page() int { return filePage }

// ReadAt implements [io.ReaderAt].
func (d *File) ReadAt(p []byte, off int64) (int, error) { return d.f.ReadAt(p, off) }

// Erase implements [Flash].
func (d *File) Erase(off int64) error {
	if off%int64(d.block) != 0 || !inBounds(d, off, d.block) {
		return errBounds
	}
	return d.put(off, ones(int64(d.block)))
}

// Write implements [Flash].
func (d *File) Write(off int64, b []byte) error {
	if !inBounds(d, off, len(b)) {
		return errBounds
	}
	return d.put(off, b)
}

func (d *File) put(off int64, b []byte) error {
	if _, err := d.f.WriteAt(b, off); err != nil {
		return err
	}
	return d.f.Sync()
}

func ones(n int64) []byte {
	b := make([]byte, n)
	erase(b)
	return b
}

// Close closes the file.
func (d *File) Close() error { return d.f.Close() }
