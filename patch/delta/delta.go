// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package delta makes the new version of a firmware image out of the old one and a delta,
// for slow radios: deltas are smaller than bsdiff's, and applied in less than 4 KiB of memory,
// to another slot or in place, and from where they were if the power fails at any byte.
//
// # What a delta says
//
// It is one stream of operations. A literal is a byte. A copy takes bytes of the old image
// from any position, each of which may be corrected: what bsdiff keeps in three streams. A copy
// out of the new image takes bytes that it has already. What is copied is read from where it is
// stored, and costs no memory.
//
// Each decision is a bit that goes to a range coder together with how probable it is, which
// counters learn, of those that the coder's place selects: what the old bytes are, which of the last were
// corrected, and how. Several of them are mixed by weights that learn who is right. Where code
// has moved, the words and branches that point at it change; by how much what lies at an
// address has moved is kept (by a hash of the address), and the same is expected of others that
// point there. x86, Thumb, A64 and A32 branches are known, and words at multiples of four.
//
// # Format
//
// Numbers in the header are LEB128, as short as they can be; digests are SHA-256.
//
//	magic        4  "MyD1"
//	flags        1  bits 0-1: 0 delta, 1 whole image coded, 2 whole image as it is;
//	                bit 2: in place; bits 4-7: code: 0 other, 1 x86, 2 Thumb, 3 A64, 4 A32
//	page         1  binary logarithm of the page's size, 8 to 20
//	old             bytes of the old image; 0 for a whole image
//	new             bytes of the new image
//	area            in place: bytes of the area; else 0
//	payload         bytes behind the header
//	old digest  32  absent for a whole image
//	new digest  32
//	payload
//
// A whole image that is coded is a delta from nothing. The payload is read by a range decoder
// of 32 bits, zeros behind its end; it must end with the image, and the image with it. A bit is 1 for the
// lower part of the range. Operations follow one another, each of them:
//
//	0            literal, the byte by 8 bits from the highest on, mixed
//	1 0 rep      copy from old; rep is 2 bits: one of the last three differences of
//	             positions in old and new, or 3 and a number: the distance to the last,
//	             its sign in the lowest bit
//	1 1 same     copy from new; same 0: as far back as the last time, 1: a number, how far less 1
//	length       of a copy, a number less 1; behind a copy from old for each byte
//	             whether it is corrected, and by what, mixed
//
// A number is how many bits it has, in 5, and those behind the first. What is learnt, and from
// what, is in coder.go and address.go, in the order in which the decoder does it: they are part
// of the format.
//
// # In place
//
// The area holds the old image at its beginning, and the new one afterwards. The decoder first moves
// the old image up by as many whole pages as fit (page by page, the last one first, so that none
// is overwritten before it is moved), then writes the new one from the bottom up. The encoder
// copies no old byte from the page that is being written, nor from one below: so that a page can be
// written again, from the checkpoint at its beginning, after a loss of power. What is gone is
// copied out of the new image, or sent: on ten pairs of firmware deltas are up to 36 % longer
// than for another slot with one page to spare, and up to 9 % with an eighth of the image. Each
// page of the area is written once for the move, and once for the new image.
//
// # What it does not do
//
// A delta is not authentic by itself: who signs the release signs its digest (SUIT). Another slot
// takes no harm of a forged one, as what was written is not the new image and not done; in place the old image
// is gone by then. So a delta for in place is verified before its first byte is written, or comes
// from a peer that is.
//
// This API is stable.
package delta

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/myelin-health/myelin/wire"
)

const (
	magic     = "MyD1"
	maxHeader = 4 + 2 + 4*5 + 2*sha256.Size
	// MaxImage is how many bytes an image may have.
	MaxImage = 1 << 30
)

// The flags of a header: what is behind it, and where the new image goes.
const (
	kindDelta = 0
	kindCoded = 1 // the whole image, coded
	kindRaw   = 2 // the whole image as it is
	kindMask  = 3
	inPlace   = 4
)

// A Header is what a delta begins with.
type Header struct {
	Flags     uint8
	Code      uint8  // of the processor, whose branches are known: 0 none, 1 x86, 2 Thumb, 3 A64, 4 A32
	PageBits  uint8  // the binary logarithm of the page's size
	Old, New  uint32 // bytes of the images; Old is 0 for a whole image
	Area      uint32 // in place: bytes of the area
	Payload   uint32 // bytes behind the header
	OldDigest [sha256.Size]byte
	NewDigest [sha256.Size]byte
	Bytes     uint8 // of the header itself
}

// Page is how many bytes a page has, at whose multiples a decoder can be resumed.
func (h *Header) Page() uint32 { return 1 << h.PageBits }

// InPlace tells whether the new image overwrites the old one.
func (h *Header) InPlace() bool { return h.Flags&inPlace != 0 }

// Full tells whether the whole image follows, and no old one is needed.
func (h *Header) Full() bool { return h.kind() != kindDelta }

// CodeName names the code of the processor whose branches are known.
func (h *Header) CodeName() string {
	return [...]string{"other", "x86", "Thumb", "A64", "A32"}[min(h.Code, codes-1)]
}

// Shift is by how many bytes the old image is moved up before.
func (h *Header) Shift() uint32 {
	if !h.InPlace() || h.Full() {
		return 0
	}
	return (h.Area - h.Old) &^ (h.Page() - 1)
}

func (h *Header) kind() uint8 { return h.Flags & kindMask }

// pages is how many pages are moved.
func (h *Header) pages() uint32 {
	if h.Shift() == 0 {
		return 0
	}
	return (h.Old + h.Page() - 1) >> h.PageBits
}

func (h *Header) end() uint32 { return uint32(h.Bytes) + h.Payload }

func (h *Header) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, h.Flags|h.Code<<4, h.PageBits)
	for _, v := range []uint32{h.Old, h.New, h.Area, h.Payload} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	if !h.Full() {
		b = append(b, h.OldDigest[:]...)
	}
	return append(b, h.NewDigest[:]...)
}

// ParseHeader reads the header at the beginning of a delta.
func ParseHeader(b []byte) (Header, error) {
	h, _, err := parseHeader(b)
	if err != nil {
		return h, fmt.Errorf("delta: header: %w", err)
	}
	return h, nil
}

// parseHeader says ErrTruncated when more bytes are needed to tell, and how many it read.
func parseHeader(b []byte) (h Header, n int, err error) {
	if n = min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return h, 0, wire.ErrInvalid
	}
	if len(b) < len(magic)+2 {
		return h, 0, wire.ErrTruncated
	}
	h.Flags, h.Code, h.PageBits = b[4]&15, b[4]>>4, b[5]
	n = 6
	for _, v := range [...]*uint32{&h.Old, &h.New, &h.Area, &h.Payload} {
		u, m := binary.Uvarint(b[n:])
		if m == 0 {
			return h, 0, wire.ErrTruncated
		}
		if m < 0 || u > MaxImage || m != (bits.Len64(u|1)+6)/7 {
			return h, 0, wire.ErrTooLong
		}
		*v = uint32(u)
		n += m
	}
	for _, d := range [...]*[sha256.Size]byte{&h.OldDigest, &h.NewDigest} {
		if d == &h.OldDigest && h.Full() {
			continue
		}
		if len(b) < n+sha256.Size {
			return h, 0, wire.ErrTruncated
		}
		n += copy(d[:], b[n:])
	}
	h.Bytes = uint8(n)
	return h, n, h.check()
}

// check refuses what no encoder writes.
func (h *Header) check() error {
	switch {
	case h.Flags&^(kindMask|inPlace) != 0, h.kind() > kindRaw, h.Code >= codes, h.PageBits < 8, h.PageBits > 20:
		return wire.ErrReserved
	case h.Old > MaxImage, h.New > MaxImage, h.Area > MaxImage, h.Payload > MaxImage:
		return wire.ErrTooLong
	case h.Full() && h.Old != 0, h.InPlace() && h.Area < max(h.Old, h.New), !h.InPlace() && h.Area != 0, h.kind() == kindRaw && h.Payload != h.New:
		return wire.ErrInvalid
	}
	return nil
}

// Options say where a delta will be used. The zero value is for another slot.
type Options struct {
	// InPlace makes a delta that writes the new image over the old one.
	InPlace bool
	// Area is how many bytes there are for it in place. 0 is as many whole pages as the longer
	// image needs, and one more. The more there are, the smaller the delta.
	Area int
	// Page is how many bytes are erased at a time, and how many can be lost with the power: a
	// power of two from 256 to 1 MiB; 0 is 4096.
	Page int
}

// header checks the options.
func (o Options) header(old, new []byte) (h Header, err error) {
	if o.Page == 0 {
		o.Page = 4096
	}
	if o.Page < 256 || o.Page > 1<<20 || o.Page&(o.Page-1) != 0 {
		return h, fmt.Errorf("delta: a page of %d bytes: want a power of two from 256 to 1048576", o.Page)
	}
	if len(old) > MaxImage/2 || len(new) > MaxImage/2 {
		return h, errors.New("delta: images may have 512 MiB")
	}
	h = Header{PageBits: uint8(bits.TrailingZeros(uint(o.Page))), Old: uint32(len(old)), New: uint32(len(new)), OldDigest: sha256.Sum256(old), NewDigest: sha256.Sum256(new)}
	if !o.InPlace {
		return h, nil
	}
	h.Flags = inPlace
	need := max(len(old), len(new))
	if o.Area == 0 {
		o.Area = (need+o.Page-1)&^(o.Page-1) + o.Page
	}
	if o.Area < need || o.Area > MaxImage {
		return h, fmt.Errorf("delta: an area of %d bytes: want %d at least, for both images", o.Area, need)
	}
	h.Area = uint32(o.Area)
	return h, nil
}
