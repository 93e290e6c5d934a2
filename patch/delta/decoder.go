// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/myelin-health/myelin/wire"
)

var (
	// ErrOld says that the old image is not the one that the delta was made from. Nothing was written.
	ErrOld = errors.New("the old image is not the one that the delta was made from")
	// ErrNew says that what was written is not the new image: the delta was damaged on its way.
	ErrNew = errors.New("what was written is not the new image")
)

// A Memory is flash or a file. The decoder writes in the order of the positions, chunkBytes
// at a time at their multiples (less at the end); a flash erases a page when its first byte is written.
// ReadAt and WriteAt must not keep what they are given.
type Memory interface {
	io.ReaderAt
	io.WriterAt
}

// chunkBytes is how many bytes are written at a time.
const chunkBytes = 256

// What the decoder is about.
const (
	inHeader = iota
	moving   // the old image up, in place
	decoding
	done
)

// A place is the part of the state that is not the coder's.
type place struct {
	Taken uint32 // bytes of the delta
	Moved uint32 // pages of the old image, the last one first
	Phase uint8
}

// A Decoder makes the new image out of the old one and a delta, which comes in pieces of any
// size. It is all the memory that this takes, but for the hash, and is used again with Reset.
type Decoder struct {
	// Save, if it is set, is called whenever the decoder comes to a point from which it can go on
	// after a loss of power: when the header was accepted, and after every page written. It stores
	// what Checkpoint appends, so that it lasts before Save returns; an error ends the work. In place
	// a checkpoint is good until the next one has been stored, and no longer.
	Save func(d *Decoder) error

	// Header is that of the delta, once it was accepted.
	Header Header

	at     place
	c      coder
	chunk  [chunkBytes]byte // of the new image, not written yet, from Out rounded down
	before window           // of the old image
	behind window           // of the new image
	old    io.ReaderAt
	mem    Memory
	hash   hash.Hash
	err    error
}

// A window is a few bytes of a memory, so that it is not read byte by byte.
type window struct {
	at, n uint32
	b     [windowBytes]byte
}

const windowBytes = 32

// NewDecoder makes a decoder, which wants a Reset.
func NewDecoder() *Decoder { return &Decoder{hash: sha256.New()} }

// Reset makes the decoder ready for a delta. The new image goes to slot; or, where old
// is nil, over the old image at the beginning of slot, for a delta made so.
func (d *Decoder) Reset(old io.ReaderAt, slot Memory) {
	d.Header, d.at = Header{}, place{}
	d.c.reset(codeOther)
	d.old, d.mem, d.err = old, slot, nil
	d.before, d.behind = window{}, window{}
}

// Offset is which byte of the delta comes next.
func (d *Decoder) Offset() int64 { return int64(d.at.Taken) }

// Done tells whether the new image is there and is the right one.
func (d *Decoder) Done() bool { return d.at.Phase == done }

// Checkpoint appends the state to b, at most CheckpointBytes. Only Save may call it.
func (d *Decoder) Checkpoint(b []byte) []byte {
	n := len(b)
	b, _ = binary.Append(b, binary.LittleEndian, &d.Header)
	b, _ = binary.Append(b, binary.LittleEndian, &d.at)
	b, _ = binary.Append(b, binary.LittleEndian, &d.c.dec)
	if d.c.Out > 0 { // else there is nothing learnt
		b, _ = binary.Append(b, binary.LittleEndian, &d.c.model)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[n:]))
}

// Resume makes the decoder go on from a checkpoint; the delta is wanted from [Decoder.Offset] on.
// The memories are as in Reset.
func (d *Decoder) Resume(checkpoint []byte, old io.ReaderAt, slot Memory) error {
	d.Reset(old, slot)
	if !d.restore(checkpoint) {
		d.Reset(old, slot)
		d.err = errCheckpoint
	}
	return d.run()
}

func (d *Decoder) restore(b []byte) bool {
	n := len(b) - 4
	if n < 0 || crc32.ChecksumIEEE(b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return false
	}
	b = b[:n]
	for _, v := range []any{&d.Header, &d.at, &d.c.dec, &d.c.model} {
		if len(b) == 0 && v == any(&d.c.model) {
			break // nothing was learnt
		}
		n, err := binary.Decode(b, binary.LittleEndian, v)
		if err != nil {
			return false
		}
		b = b[n:]
	}
	h, in := &d.Header, &d.c.dec
	if d.c.Out == 0 {
		d.c.Code = h.Code
	}
	return len(b) == 0 && h.check() == nil && h.InPlace() == (d.old == nil) &&
		(d.at.Phase == moving || d.at.Phase == decoding) && d.at.Moved <= h.pages() &&
		in.Head <= in.Tail && in.Tail <= inputBytes && d.at.Taken <= h.end() && d.at.Taken >= uint32(in.Tail) &&
		d.c.Out <= h.New && d.c.Out%h.Page() == 0 && d.c.Left <= h.New-d.c.Out &&
		d.c.Op <= ofNew && d.c.Code == h.Code && d.c.Field <= distance && d.c.At < 4
}

// CheckpointBytes is how many bytes a checkpoint may have.
const CheckpointBytes = 3584

var errCheckpoint = errors.New("delta: not a checkpoint, or not all of one")

// Write takes the next piece of the delta, and writes what of the new image follows from it.
// The new image is complete when Done says so. An error lasts until Reset or Resume.
func (d *Decoder) Write(p []byte) (n int, err error) {
	for n < len(p) && d.err == nil {
		in := &d.c.dec
		if in.Head > 0 {
			copy(in.In[:], in.In[in.Head:in.Tail])
			in.Head, in.Tail = 0, in.Tail-in.Head
		}
		room := in.In[in.Tail:]
		if d.at.Phase != inHeader {
			room = room[:min(len(room), int(d.Header.end()-d.at.Taken))]
			if len(room) == 0 {
				d.fail("end", wire.ErrTrailing)
				break
			}
		}
		before, m := d.at.Taken, copy(room, p[n:])
		in.Tail += uint8(m)
		d.at.Taken += uint32(m)
		d.run()
		n += int(d.at.Taken - before)
	}
	return n, d.err
}

// fail keeps the first error, and where in the delta it is.
func (d *Decoder) fail(field string, err error) error {
	if d.err == nil {
		d.err = &wire.SyntaxError{Proto: "delta", Field: field, Off: int(d.at.Taken) - int(d.c.dec.Tail-d.c.dec.Head), Err: err}
	}
	return d.err
}

// stop keeps the first error that is not the delta's.
func (d *Decoder) stop(err error) {
	if d.err == nil {
		d.err = err
	}
}

// run goes as far as the input does.
func (d *Decoder) run() error {
	for d.err == nil {
		switch d.at.Phase {
		case inHeader:
			if !d.begin() {
				return d.err
			}
		case moving:
			d.move()
		case decoding:
			if !d.decode() {
				return d.err
			}
		case done:
			return nil
		}
	}
	return d.err
}

// begin accepts the header, once it is there.
func (d *Decoder) begin() bool {
	in := &d.c.dec
	h, n, err := parseHeader(in.In[:in.Tail])
	if err == wire.ErrTruncated && in.Tail < maxHeader {
		return false
	}
	if err != nil {
		d.fail("header", err)
		return false
	}
	in.Head = uint8(n)
	d.Header, d.c.Code = h, h.Code
	if d.at.Taken > h.end() { // bytes behind the end are not the decoder's
		in.Tail -= uint8(d.at.Taken - h.end())
		d.at.Taken = h.end()
	}
	switch {
	case h.InPlace() != (d.old == nil):
		d.fail("flags", errPlace)
		return false
	case h.kind() == kindDelta:
		r := d.old
		if r == nil {
			r = d.mem
		}
		if !d.digest(r, h.Old, &h.OldDigest) {
			d.stop(ErrOld)
			return false
		}
	}
	d.at.Phase = moving
	d.save()
	return d.err == nil
}

var errPlace = errors.New("in place, or not, is not what the memory is for")

// digest tells whether the first n bytes of r have the digest.
func (d *Decoder) digest(r io.ReaderAt, n uint32, want *[sha256.Size]byte) bool {
	d.hash.Reset()
	for i := uint32(0); i < n; {
		b := d.chunk[:min(chunkBytes, n-i)]
		if err := readAt(r, b, i); err != nil {
			d.stop(err)
			return false
		}
		d.hash.Write(b)
		i += uint32(len(b))
	}
	return string(d.hash.Sum(d.chunk[:0])) == string(want[:])
}

func readAt(r io.ReaderAt, b []byte, i uint32) error {
	n, err := r.ReadAt(b, int64(i))
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (d *Decoder) save() {
	if d.Save != nil {
		if err := d.Save(d); err != nil {
			d.stop(err)
		}
	}
}

// move moves a page of the old image to the end of the area, the last page first: what
// a page overwrites has been moved before.
func (d *Decoder) move() {
	h := &d.Header
	if d.at.Moved == h.pages() {
		d.at.Phase = decoding
		return
	}
	i := (h.pages() - 1 - d.at.Moved) * h.Page()
	for end := min(i+h.Page(), h.Old); i < end && d.err == nil; {
		b := d.chunk[:min(chunkBytes, end-i)]
		if err := readAt(d.mem, b, i); err != nil {
			d.stop(err)
		} else if _, err := d.mem.WriteAt(b, int64(i+h.Shift())); err != nil {
			d.stop(err)
		}
		i += uint32(len(b))
	}
	d.at.Moved++
	if d.err == nil {
		d.save()
	}
}

// decode steps as far as the input goes.
func (d *Decoder) decode() bool {
	h, in := &d.Header, &d.c.dec
	for d.err == nil && d.c.Out < h.New {
		if all := d.at.Taken == h.end(); !all && in.Tail-in.Head < maxStep {
			return false
		}
		d.step()
	}
	if d.err != nil {
		return false
	}
	if d.at.Taken < h.end() || in.Head < in.Tail {
		d.fail("end", wire.ErrTrailing)
		return false
	}
	if !d.digest(d.mem, h.New, &h.NewDigest) {
		d.stop(ErrNew)
		return false
	}
	d.at.Phase = done
	return true
}

// step decodes the beginning of an operation, or a byte.
func (d *Decoder) step() {
	h := &d.Header
	if h.kind() == kindRaw {
		if d.c.dec.Head == d.c.dec.Tail {
			d.fail("image", wire.ErrTruncated)
			return
		}
		d.c.Left = 1
		d.emit(d.c.dec.next())
		return
	}
	if d.c.dec.Range == 0 {
		d.c.dec.begin()
	}
	if d.c.Left == 0 {
		if d.c.start(op{}); d.c.Left > h.New-d.c.Out {
			d.fail("length", wire.ErrTooLong)
		}
		return
	}
	switch d.c.Op {
	case literal:
		d.emit(d.c.literal(0))
	case ofOld:
		if w, ok := d.oldBytes(d.c.From); ok {
			d.emit(d.c.copied(w, 0))
		}
	case ofNew:
		if b, ok := d.newByte(d.c.From); ok {
			d.emit(b)
		}
	}
}

// emit adds a byte to the new image, and writes a chunk once it is full.
func (d *Decoder) emit(b byte) {
	h := &d.Header
	d.chunk[d.c.Out%chunkBytes] = b
	d.c.put(b)
	n := d.c.Out % chunkBytes
	if n != 0 && d.c.Out < h.New {
		return
	}
	if n == 0 {
		n = chunkBytes
	}
	if _, err := d.mem.WriteAt(d.chunk[:n], int64(d.c.Out-n)); err != nil {
		d.stop(err)
	} else if d.c.Out%h.Page() == 0 {
		d.save()
	}
}

// oldBytes reads four bytes of the old image, zeros behind its end. In place, the page that is
// being written and those before it are gone, also for a decoder that begins again at this page.
func (d *Decoder) oldBytes(i uint32) (uint32, bool) {
	h, r := &d.Header, d.old
	end := h.Old
	if i >= end {
		d.fail("position", wire.ErrInvalid)
		return 0, false
	}
	if r == nil {
		r = d.mem
		i += h.Shift()
		end += h.Shift()
		if i>>h.PageBits <= d.c.Out>>h.PageBits {
			d.fail("position", errOverwritten)
			return 0, false
		}
	}
	b := d.before.get(d, r, i, min(4, end-i), end)
	if b == nil {
		return 0, false
	}
	if len(b) >= 4 {
		return binary.LittleEndian.Uint32(b), true
	}
	w := uint32(0)
	for k, v := range b {
		w |= uint32(v) << (8 * k)
	}
	return w, true
}

var errOverwritten = errors.New("old bytes that are overwritten")

// newByte reads the new image.
func (d *Decoder) newByte(i uint32) (byte, bool) {
	if i >= d.c.Out {
		d.fail("position", wire.ErrInvalid)
		return 0, false
	}
	if end := d.c.Out - d.c.Out%chunkBytes; i < end {
		b := d.behind.get(d, d.mem, i, 1, end)
		if b == nil {
			return 0, false
		}
		return b[0], true
	}
	return d.chunk[i%chunkBytes], true
}

// get reads n bytes and perhaps more, those before end, or nil.
func (w *window) get(d *Decoder, r io.ReaderAt, i, n, end uint32) []byte {
	if i < w.at || i+n > w.at+w.n {
		w.at, w.n = i, min(windowBytes, end-i)
		if err := readAt(r, w.b[:w.n], i); err != nil {
			d.stop(err)
			w.n = 0
			return nil
		}
	}
	return w.b[i-w.at : w.n]
}
