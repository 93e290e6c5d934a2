// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

// Why the next message cannot be had. The connection is of no use then.
var (
	errCut      = errors.New("the message was cut off")
	errTooLong  = errors.New("the message is longer than allowed")
	errFraming  = errors.New("the message is not in a block of its own (MLLP)")
	errTooQuiet = errors.New("the message did not come in time")
)

// A source is a connection of which whole messages are read. Begin and End are
// told of the first and the last byte of one, for its deadlines.
type source interface {
	io.Reader
	Begin()
	End()
}

// A blockReader reads whole messages. Between two of them it keeps no buffer:
// thousands of connections wait most of their lives.
type blockReader struct {
	from source
	raw  net.Conn // the same, without deadlines of its own
	most int      // bytes of a message

	buf  []byte // from the pool, or nil
	used int    // of buf: what was handed out last
	one  [1]byte
}

// blockBytes are those around a message: <SB>, <EB>, <CR>.
const blockBytes = 3

// bufferBytes is the size of a buffer at first; most messages fit.
const bufferBytes = 4 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferBytes); return &b }}

// lastByte is how long the <CR> of a block may be late. Who leaves it out is told
// from who was cut off.
const lastByte = 250 * time.Millisecond

// next returns the next message and its bytes as they came, block and all, valid
// until it is called again. The quirks are those of its framing. At the end between
// two messages it returns io.EOF.
func (r *blockReader) next() (raw, msg []byte, quirks hl7.Quirks, err error) {
	if err := r.wait(); err != nil {
		return nil, nil, 0, err
	}
	var f hl7.Framer
	at := 0                     // of buf: where the framer is
	most := r.most + blockBytes // what does not end within that is too long, whatever it is
	for {
		m, n, err := f.Next(r.buf[at:])
		at += n
		switch {
		case f.Quirks&hl7.BareMessage != 0: // it ends where it seems to
			return nil, nil, f.Quirks, errFraming
		case err == nil && len(m) > r.most:
			return nil, m, f.Quirks, errTooLong
		case err == nil:
			quirks = f.Quirks | r.finish(&at)
			r.used = at
			r.from.End()
			return r.buf[:at:at], m, quirks, nil
		case errors.Is(err, wire.ErrTooLong):
			return nil, m, f.Quirks, errTooLong
		case !errors.Is(err, wire.ErrTruncated):
			return nil, nil, f.Quirks, errFraming
		case len(r.buf) >= most:
			return nil, r.buf, f.Quirks, errTooLong
		}
		if err := r.more(); err != nil {
			return nil, nil, f.Quirks, err
		}
	}
}

// wait waits for the first byte of a message, without a buffer.
func (r *blockReader) wait() error {
	if r.used < len(r.buf) { // the next one came with the last
		r.buf = r.buf[:copy(r.buf, r.buf[r.used:])]
		r.used = 0
		r.from.Begin()
		return nil
	}
	r.free()
	n, err := r.from.Read(r.one[:])
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	r.from.Begin()
	r.buf = append(*buffers.Get().(*[]byte), r.one[0])
	return nil
}

// more reads what there is.
func (r *blockReader) more() error {
	if len(r.buf) == cap(r.buf) {
		grown := make([]byte, len(r.buf), min(2*cap(r.buf), r.most+blockBytes))
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.from.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	var late net.Error
	switch {
	case n > 0:
		return nil
	case errors.As(err, &late) && late.Timeout():
		return errTooQuiet
	default:
		return errCut
	}
}

// finish takes the <CR> behind a block.
func (r *blockReader) finish(at *int) hl7.Quirks {
	if *at == len(r.buf) {
		r.raw.SetReadDeadline(time.Now().Add(lastByte))
		n, _ := r.raw.Read(r.one[:])
		if n == 0 {
			return hl7.MissingCR
		}
		r.buf = append(r.buf, r.one[0])
	}
	if r.buf[*at] != '\r' {
		return hl7.MissingCR
	}
	*at++
	return 0
}

// free gives the buffer back.
func (r *blockReader) free() {
	if cap(r.buf) == bufferBytes {
		b := r.buf[:0]
		buffers.Put(&b)
	}
	r.buf, r.used = nil, 0
}

// A tap listens to messages that pass from the device, without being in their
// way: it keeps what it needs of a message that is not whole yet, and gives up on
// one that is too long.
type tap struct {
	framer hl7.Framer
	buf    []byte
	within bool // a message has begun, and its end was not seen; it may be too long for buf
	heard  func(msg []byte) (read bool)
	odd    func(why string) // what passed that could not be read
}

// pass takes the bytes that have just passed.
func (t *tap) pass(b []byte) {
	whole := b
	if len(t.buf) > 0 {
		t.buf = append(t.buf, b...)
		whole = t.buf
	}
	for len(whole) > 0 {
		msg, n, err := t.framer.Next(whole)
		whole = whole[n:]
		var e *wire.SyntaxError
		t.within = errors.As(err, &e) && e.Field == "End Block"
		switch long := errors.Is(err, wire.ErrTooLong); {
		case err == nil || long:
			if read := t.heard(msg); long {
				t.odd("a message of the device is longer than can be read")
			} else if !read {
				t.odd("a message of the device is none of HL7 version 2")
			}
			continue
		case !errors.Is(err, wire.ErrTruncated):
			t.odd("a message of the device has no end")
			continue
		}
		break
	}
	if q := t.framer.Quirks & (hl7.BytesBetweenBlocks | hl7.BareMessage); q != 0 {
		t.framer.Quirks &^= q
		t.odd("the device says something outside of a block (MLLP)")
	}
	switch {
	case len(whole) == 0:
		t.buf = nil
	case len(t.buf) == 0 || &whole[0] != &t.buf[0]:
		t.buf = append(t.buf[:0], whole...)
	}
}

// open reports whether a message is under way.
func (t *tap) open() bool { return t.within || len(t.buf) > 0 }
