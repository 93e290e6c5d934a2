// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// MaxMessage bounds a message, in bytes. The largest in ordinary use carry a
// report as base64 (PCD TF-2 section 3.9.4.1.2.7); of those beyond only the
// beginning is had. A caller who keeps a MiB of a stream has room for one more
// segment of TCP when the bound is passed.
const MaxMessage = 1<<20 - 1<<16 - 1<<10

// The characters of MLLP release 1, section 2.
const (
	startBlock     = 0x0b // <SB>, VT
	endBlock       = 0x1c // <EB>, FS
	carriageReturn = '\r'
)

// A Framer cuts the bytes of one direction into messages. The zero value is
// ready. It keeps no bytes, only where it stopped looking, so that a message
// that comes in many small pieces is searched once.
type Framer struct {
	Quirks Quirks // of the framing, everything seen so far

	scanned int  // bytes of b known to hold no end of the message at its front
	ended   bool // the last thing taken was <EB>: its <CR> may follow
	skip    bool // inside a message that was too long, or not captured whole
}

// Next returns the first message in b, the bytes not taken so far, and how
// many bytes of b it is done with; the message aliases b.
//
// An error that wraps [wire.ErrTruncated] asks for more: call again with
// b[n:] and what follows it. After any other error go on with b[n:]; n is then
// what could not be read. With one that wraps [wire.ErrTooLong] msg is the
// first [MaxMessage] bytes of the message. A block may hold a batch ([Messages]) or no message
// at all: that is for [Parse] to say.
//
// A message without MLLP ends where the next one or a block begins, or at
// <EB>; the last one only [Framer.Last] can end.
func (f *Framer) Next(b []byte) (msg []byte, n int, err error) { return f.next(b, false) }

// Last is [Framer.Next] when no more bytes will come, or the other side has
// answered: what is left of a message without MLLP is then a message.
func (f *Framer) Last(b []byte) (msg []byte, n int, err error) { return f.next(b, true) }

// Resync says that bytes are missing before the next ones: up to an end or a
// beginning they are the rest of a message that cannot be had.
func (f *Framer) Resync() { f.skip, f.scanned, f.ended = true, 0, false }

func (f *Framer) next(b []byte, last bool) (msg []byte, n int, err error) {
	if f.skip {
		// The rest of a message, up to its end or the next beginning.
		i := bytes.IndexByte(b, endBlock)
		if j := bytes.IndexByte(b[:end(i, b)], startBlock); j >= 0 {
			f.skip, n = false, j
		} else if i >= 0 {
			f.skip, f.ended, n = false, true, i+1
		} else {
			return nil, len(b), fail("End Block", len(b), wire.ErrTruncated)
		}
	}
	if f.ended && n < len(b) {
		if f.ended = false; b[n] == carriageReturn {
			n++
		} else {
			f.Quirks |= MissingCR
		}
	}
	if f.scanned == 0 { // at the boundary of a message
		n += f.junk(b[n:])
	}
	rest := b[n:]
	if len(rest) == 0 {
		return nil, n, fail("Start Block", n, wire.ErrTruncated)
	}
	if rest[0] != startBlock {
		return f.bare(rest, n, last)
	}

	i := bytes.IndexByte(rest[f.scanned:], endBlock)
	size := f.scanned + i // with <SB>
	if i < 0 {
		size = len(rest)
	}
	// A new <SB> says that the sender gave up on the message before it.
	if i >= 0 {
		if j := bytes.IndexByte(rest[1:size], startBlock); j >= 0 {
			f.scanned = 0
			return nil, n + 1 + j, fail("End Block", n+1+j, wire.ErrInvalid)
		}
	}
	switch {
	case size-1 > MaxMessage:
		f.scanned = 0
		if f.skip = i < 0; !f.skip {
			f.ended, size = true, size+1
		}
		return rest[1 : 1+MaxMessage : 1+MaxMessage], n + size, fail("Data", n+1+MaxMessage, wire.ErrTooLong)
	case i < 0:
		f.scanned = len(rest)
		return nil, n, fail("End Block", len(b), wire.ErrTruncated)
	}
	f.scanned, f.ended = 0, true
	return rest[1:size:size], n + size + 1, nil
}

// junk returns how many bytes at the front of b neither begin a block nor, so
// far, a message without one.
func (f *Framer) junk(b []byte) int {
	for i := range b {
		if b[i] == startBlock || b[i] == 'M' && headerPrefix(b[i:]) {
			return i
		}
		if b[i] != carriageReturn && b[i] != '\n' {
			f.Quirks |= BytesBetweenBlocks
		}
	}
	return len(b)
}

// headerPrefix reports whether b begins like a message, as far as it goes.
func headerPrefix(b []byte) bool {
	const msh = "MSH"
	n := min(len(b), len(msh))
	return string(b[:n]) == msh[:n] && (len(b) < 4 || delimiter(b[3]))
}

// bare cuts a message that begins without <SB>, at rest[0]; n bytes stand before it.
func (f *Framer) bare(rest []byte, n int, last bool) ([]byte, int, error) {
	if len(rest) < 4 { // "MSH" and a separator, or still anything
		return nil, n, fail("MSH", n+len(rest), wire.ErrTruncated)
	}
	f.Quirks |= BareMessage
	size, found := len(rest), false
	for i := max(f.scanned, 1); i < len(rest) && !found; i++ {
		switch c := rest[i]; {
		case c == startBlock, c == endBlock:
			size, found = i, true
		case c == 'M' && (rest[i-1] == carriageReturn || rest[i-1] == '\n') && headerPrefix(rest[i:]):
			if i+4 > len(rest) && !last { // too little to say
				f.scanned = i
				return nil, n, fail("MSH", n+len(rest), wire.ErrTruncated)
			}
			size, found = i, i+4 <= len(rest)
			if !found {
				size = len(rest)
			}
		}
	}
	switch {
	case size > MaxMessage:
		f.scanned = 0
		f.skip = !found
		if f.ended = found && rest[size] == endBlock; f.ended {
			size++
		}
		return rest[:MaxMessage:MaxMessage], n + size, fail("MSH", n+MaxMessage, wire.ErrTooLong)
	case !found && !last:
		f.scanned = len(rest)
		return nil, n, fail("MSH", n+len(rest), wire.ErrTruncated)
	}
	f.scanned = 0
	if found && rest[size] == endBlock {
		f.ended = true
		return rest[:size:size], n + size + 1, nil
	}
	return rest[:size:size], n + size, nil
}

// end is i, or the length of b when i is no index.
func end(i int, b []byte) int {
	if i < 0 {
		return len(b)
	}
	return i
}

// AppendBlock appends msg as an MLLP block.
func AppendBlock(dst, msg []byte) []byte {
	dst = append(dst, startBlock)
	dst = append(dst, msg...)
	return append(dst, endBlock, carriageReturn)
}

func fail(field string, off int, err error) error {
	return &wire.SyntaxError{Proto: "hl7", Field: field, Off: off, Err: err}
}
