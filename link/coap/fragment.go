// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"errors"
	"fmt"
	"io"
)

// Bounds of the MTU of a [Pipe]: the smallest of Bluetooth LE, and the one that
// fits one link layer packet with its data length extension.
const (
	MinMTU = 23
	MaxMTU = 247
)

// fragmentHeader is how many bytes stand before the part of the message.
const fragmentHeader = 3

const (
	flagFirst = 0x80
	flagLast  = 0x40
	numberOf  = 0x3f
)

// A Pipe carries messages over a pipe of bytes that takes at most so many at
// once as its MTU says. A message is cut into fragments; one Write is one fragment:
//
//	 0               1               2               3
//	+---------------+-+-+-----------+---------------+------- - -
//	|    length     |F|L|  message  |     index     |  part of the message
//	+---------------+-+-+-----------+---------------+------- - -
//
// Length counts the bytes behind it: 3 to MTU-1, so that a fragment has a part. F
// is set in the first fragment of a message, L in the last one. Message is the same
// in all fragments of a message, and one more, modulo 64, in the next message's.
// Index counts the fragments of a message from 0. All but the last of a message
// are full: MTU bytes.
//
// A fragment that is not the one to come next ends the message that it was in the
// middle of, which is dropped: sending it again is what CoAP's message layer does.
// A first fragment then begins another. A message of more than [MaxMessage] bytes
// is dropped; at the smallest MTU that is 206 fragments. Bytes may be read in any
// portions, so that serial lines and streams serve as well as characteristics; a
// pipe that loses any byte of a fragment has to lose all of it.
type Pipe struct {
	rw   io.ReadWriteCloser
	mtu  int
	peer string

	out    []byte
	number uint8 // of the next message sent

	in   []byte // read, and not yet looked at
	room [512]byte
	join joiner
}

// errFragment is of a pipe on which a fragment has no proper length: what follows
// cannot be found any more.
var errFragment = errors.New("coap: a fragment of no proper length")

// NewPipe makes a [Link] of a pipe. Peer is what budgets count by: an address that
// was bonded with, or the pipe's name.
func NewPipe(rw io.ReadWriteCloser, mtu int, peer string) (*Pipe, error) {
	if mtu < MinMTU || mtu > MaxMTU {
		return nil, fmt.Errorf("coap: an MTU of %d is not between %d and %d", mtu, MinMTU, MaxMTU)
	}
	return &Pipe{rw: rw, mtu: mtu, peer: peer, out: make([]byte, 0, mtu)}, nil
}

// Peer is the name that the pipe was given.
func (p *Pipe) Peer() string { return p.peer }

// Close closes the pipe.
func (p *Pipe) Close() error { return p.rw.Close() }

// Send writes a message in fragments.
func (p *Pipe) Send(b []byte) error {
	if len(b) == 0 || len(b) > MaxMessage {
		return fmt.Errorf("coap: a message of %d bytes", len(b))
	}
	flags := p.number&numberOf | flagFirst
	p.number++
	for i := 0; len(b) > 0; i++ {
		n := min(len(b), p.mtu-fragmentHeader)
		if n == len(b) {
			flags |= flagLast
		}
		p.out = append(append(p.out[:0], byte(fragmentHeader-1+n), flags, byte(i)), b[:n]...)
		if _, err := p.rw.Write(p.out); err != nil {
			return err
		}
		b, flags = b[n:], flags&^flagFirst
	}
	return nil
}

// Receive reads fragments until a message is whole.
func (p *Pipe) Receive(dst []byte) (int, error) {
	for {
		for len(p.in) > 0 {
			n := int(p.in[0])
			if n < fragmentHeader || n >= MaxMTU {
				return 0, errFragment
			}
			if len(p.in) < 1+n {
				break
			}
			whole := p.join.add(p.in[1], p.in[2], p.in[fragmentHeader:1+n])
			p.in = p.in[1+n:]
			if whole != nil {
				return copy(dst, whole), nil
			}
		}
		rest := copy(p.room[:], p.in) // a piece of one fragment
		n, err := p.rw.Read(p.room[rest:])
		if p.in = p.room[:rest+n]; n == 0 && err != nil {
			return 0, err
		}
	}
}

// joiner puts fragments together.
//
//	          first                 next, not last
//	between -----------> within --------------------+
//	   ^ ^                 |  ^                     |
//	   | |  last, or not   |  +---------------------+
//	   | |  what is due    |
//	   | +-----------------+
//	   +-- first and last
type joiner struct {
	buf    []byte
	within bool
	number uint8
	next   uint8
}

// add takes a fragment, and returns the message that it made whole, or nil. The
// message is valid until the next call.
func (j *joiner) add(flags, index uint8, part []byte) []byte {
	number := flags & numberOf
	if flags&flagFirst != 0 {
		j.within, j.number, j.next, j.buf = true, number, 0, j.buf[:0]
	}
	if !j.within || number != j.number || index != j.next || len(j.buf)+len(part) > MaxMessage {
		j.within = false
		return nil
	}
	j.buf = append(j.buf, part...)
	j.next++
	if flags&flagLast == 0 {
		j.within = j.next != 0 // the index does not wrap
		return nil
	}
	j.within = false
	return j.buf
}
