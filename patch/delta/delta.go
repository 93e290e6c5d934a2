// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package delta makes the new version of a firmware image out of the old one and a delta.
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
	b = append(b, h.Flags, h.PageBits)
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
	h.Flags, h.PageBits = b[4], b[5]
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
	case h.Flags&^(kindMask|inPlace) != 0, h.kind() > kindRaw, h.PageBits < 8, h.PageBits > 20:
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
