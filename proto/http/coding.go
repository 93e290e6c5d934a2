// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/myelin-health/myelin/wire"
)

// A Coding is a content coding (RFC 9110 section 8.4.1).
type Coding uint8

// The content codings.
const (
	Identity       Coding = iota
	Gzip                  // RFC 1952
	Deflate               // RFC 1950, or bare RFC 1951 as some servers send it
	OtherCoding           // br, zstd, compress and whatever else: not decoded here
	SeveralCodings        // more than one coding applied: not decoded here
)

// Coding returns the content coding of the message.
func (h *Head) Coding() Coding {
	v := h.Get("Content-Encoding")
	one, _, more := bytes.Cut(v, []byte(","))
	if more {
		return SeveralCodings
	}
	switch one = trimSpace(one); {
	case len(one) == 0, equalFold(one, "identity"):
		return Identity
	case equalFold(one, "gzip"), equalFold(one, "x-gzip"):
		return Gzip
	case equalFold(one, "deflate"):
		return Deflate
	}
	return OtherCoding
}

// An Inflater undoes content codings. Its zero value is ready; keep it to use
// its memory (some 40 KiB) again. It must not be used by two goroutines at once.
type Inflater struct {
	src   bytes.Reader
	flate io.ReadCloser
}

// Append decodes b and appends at most limit bytes to dst. What is longer ends
// in an error that wraps [wire.ErrTooLong], whatever it would have grown to:
// the rest is never inflated. When b is cut the error wraps
// [wire.ErrTruncated]. With either error the bytes before it are returned.
func (z *Inflater) Append(dst, b []byte, coding Coding, limit int) ([]byte, error) {
	c := wire.NewCursor("http", b)
	switch coding {
	case Identity:
		if len(b) > limit {
			c.FailAt("content", limit, wire.ErrTooLong)
			b = b[:limit]
		}
		return append(dst, b...), c.Err()
	case Gzip:
		gzipHeader(&c)
	case Deflate:
		// RFC 1950 section 2.2: method 8, and the first 16 bits divide by 31.
		// What does not begin so is bare RFC 1951.
		if h := c.Peek(2); h != nil && h[0]&0x0f == 8 && (int(h[0])<<8|int(h[1]))%31 == 0 {
			c.Skip("zlib header", 2)
			if h[1]&0x20 != 0 {
				c.FailAt("FDICT", 1, wire.ErrReserved) // a preset dictionary, which HTTP has not
			}
		}
	default:
		c.Fail("Content-Encoding", wire.ErrReserved)
	}
	if !c.Ok() {
		return dst, c.Err()
	}
	at := c.Off()
	z.src.Reset(c.Rest())
	if z.flate == nil {
		z.flate = flate.NewReader(&z.src)
	} else if err := z.flate.(flate.Resetter).Reset(&z.src, nil); err != nil {
		return dst, err
	}
	start := len(dst)
	for { // each turn reads at least a byte, up to the limit, or ends
		if len(dst)-start > limit {
			c.FailAt("content", at, wire.ErrTooLong)
			return dst[:start+limit], c.Err()
		}
		if cap(dst)-len(dst) < 512 {
			dst = append(dst, make([]byte, max(512, min(len(dst), limit)))...)[:len(dst)]
		}
		// One byte more than the limit tells "just fits" from "too long".
		room := dst[len(dst):min(cap(dst), start+limit+1)]
		n, err := z.flate.Read(room)
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-start > limit: // told at the top
		case err == io.EOF:
			return dst, nil
		case err == io.ErrUnexpectedEOF:
			c.FailAt("content", len(b), wire.ErrTruncated)
			return dst, c.Err()
		case err != nil:
			c.FailAt("content", at+int(z.src.Size())-z.src.Len(), wire.ErrInvalid)
			return dst, c.Err()
		}
	}
}

// gzipHeader passes over a member header (RFC 1952 section 2.3). The check
// sums are not checked: a damaged body is still worth reading.
func gzipHeader(c *wire.Cursor) {
	const fhcrc, fextra, fname, fcomment = 1 << 1, 1 << 2, 1 << 3, 1 << 4
	if c.Uint16("ID") != 0x1f8b || c.Uint8("CM") != 8 {
		if c.Ok() {
			c.FailAt("ID", 0, wire.ErrInvalid)
		}
		return
	}
	flags := c.Uint8("FLG")
	if flags&0xe0 != 0 {
		c.Fail("FLG", wire.ErrReserved)
	}
	c.Skip("MTIME, XFL, OS", 6)
	if flags&fextra != 0 {
		c.Skip("FEXTRA", int(c.Uint16LE("XLEN")))
	}
	for _, f := range [...]uint8{fname, fcomment} {
		for flags&f != 0 && c.Uint8("FNAME") != 0 { // each turn reads a byte
		}
	}
	if flags&fhcrc != 0 {
		c.Skip("CRC16", 2)
	}
}
