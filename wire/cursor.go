// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// What can be wrong with bytes. A [SyntaxError] wraps one of these, or an
// error of the protocol's own package.
var (
	ErrTruncated = errors.New("truncated")           // the bytes end before the format does
	ErrReserved  = errors.New("reserved value")      // a value that the format sets aside
	ErrInvalid   = errors.New("invalid value")       // a value that the format forbids
	ErrTooLong   = errors.New("longer than allowed") // longer than the format or our stated bound
	ErrTooDeep   = errors.New("nested too deep")     // deeper than our stated bound
	ErrTrailing  = errors.New("trailing bytes")      // bytes after the format's end
)

// A SyntaxError reports bytes that do not follow a format. It holds no input
// bytes: what was read may be about a patient.
type SyntaxError struct {
	Proto string // package name: "coap"
	Field string // the specification's own name: "Token"
	Off   int    // bytes from the start of what was parsed
	Err   error  // ErrTruncated, ErrReserved, ...
}

func (e *SyntaxError) Error() string {
	return e.Proto + ": " + e.Field + " at byte " + strconv.Itoa(e.Off) + ": " + e.Err.Error()
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// A Cursor reads a format from the front of a slice. Its first failure sticks:
// every later read returns zero, so that a parser reads top to bottom like the
// packet diagram and asks once, at the end, for [Cursor.Err].
//
// A Cursor allocates nothing until Err reports a failure. The slices it returns
// alias its input and cannot be appended to in place.
type Cursor struct {
	b     []byte
	off   int
	proto string
	field string // of the first failure
	at    int    // offset of the first failure
	err   error  // nil until the first failure
}

// NewCursor returns a cursor over b whose errors name proto.
func NewCursor(proto string, b []byte) Cursor { return Cursor{b: b, proto: proto} }

// Fail records a failure of field at the cursor's place, unless one is recorded already.
func (c *Cursor) Fail(field string, err error) { c.FailAt(field, c.off, err) }

// FailAt is [Cursor.Fail] for a place already passed.
func (c *Cursor) FailAt(field string, off int, err error) {
	if c.err == nil {
		c.field, c.at, c.err = field, off, err
	}
}

// Ok reports whether nothing has failed so far. Loops ask it, so that a
// failure ends them.
func (c *Cursor) Ok() bool { return c.err == nil }

// Err returns the first failure as a *[SyntaxError], or nil.
func (c *Cursor) Err() error {
	if c.err == nil {
		return nil
	}
	return &SyntaxError{Proto: c.proto, Field: c.field, Off: c.at, Err: c.err}
}

// Off is the number of bytes read.
func (c *Cursor) Off() int { return c.off }

// Len is the number of bytes left; 0 after a failure.
func (c *Cursor) Len() int {
	if c.err != nil {
		return 0
	}
	return len(c.b) - c.off
}

// Rest reads everything that is left.
func (c *Cursor) Rest() []byte {
	if c.err != nil {
		return nil
	}
	r := c.b[c.off:len(c.b):len(c.b)]
	c.off = len(c.b)
	return r
}

// Bytes reads the next n bytes. A negative n is a failure.
func (c *Cursor) Bytes(field string, n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.b)-c.off {
		c.Fail(field, ErrTruncated)
		return nil
	}
	r := c.b[c.off : c.off+n : c.off+n]
	c.off += n
	return r
}

// Skip passes over the next n bytes.
func (c *Cursor) Skip(field string, n int) { c.Bytes(field, n) }

// Peek returns the next n bytes without reading them, or nil when there are fewer.
func (c *Cursor) Peek(n int) []byte {
	if c.err != nil || n < 0 || n > len(c.b)-c.off {
		return nil
	}
	return c.b[c.off : c.off+n : c.off+n]
}

// Sub reads the next n bytes as a cursor of their own, whose offsets count from
// this cursor's start: an error in it names the same place as one here.
func (c *Cursor) Sub(field string, n int) Cursor {
	start := c.off
	if c.Bytes(field, n) == nil && c.err != nil {
		return *c
	}
	return Cursor{b: c.b[:c.off:c.off], off: start, proto: c.proto}
}

// Uint8 reads one byte.
func (c *Cursor) Uint8(field string) uint8 {
	if c.err != nil || c.off >= len(c.b) {
		c.Fail(field, ErrTruncated)
		return 0
	}
	v := c.b[c.off]
	c.off++
	return v
}

// Uint16 reads a big-endian number of two bytes.
func (c *Cursor) Uint16(field string) uint16 {
	if b := c.Bytes(field, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint24 reads a big-endian number of three bytes.
func (c *Cursor) Uint24(field string) uint32 {
	if b := c.Bytes(field, 3); b != nil {
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	return 0
}

// Uint32 reads a big-endian number of four bytes.
func (c *Cursor) Uint32(field string) uint32 {
	if b := c.Bytes(field, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads a big-endian number of eight bytes.
func (c *Cursor) Uint64(field string) uint64 {
	if b := c.Bytes(field, 8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Uint16LE reads a little-endian number of two bytes.
func (c *Cursor) Uint16LE(field string) uint16 {
	if b := c.Bytes(field, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// Uint32LE reads a little-endian number of four bytes.
func (c *Cursor) Uint32LE(field string) uint32 {
	if b := c.Bytes(field, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// Uint64LE reads a little-endian number of eight bytes.
func (c *Cursor) Uint64LE(field string) uint64 {
	if b := c.Bytes(field, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}
