// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Bounds of the link to the device.
const (
	maxMessage  = 4096           // bytes of a message on a byte pipe
	maxWaiting  = 32             // questions whose answers may still come
	maxRescues  = 8 * maxWaiting // the same, when rescues are among them
	lateAnswer  = 10 * time.Second
	dialEvery   = time.Second // and twice as long after each failure, up to
	dialSlowest = 30 * time.Second
)

// Why a message did not go to the device. Nothing of it was sent.
var (
	errAway = errors.New("the device is not connected to the guard")
	errBusy = errors.New("the device has not answered what it was asked before")
)

// A link carries whole messages to the device and back: datagrams, or messages on a
// byte pipe with their length in front, two bytes, the high one first. A message goes
// out in one write; when that could not be ended the pipe is closed, so that nothing
// that comes later completes it.
type link struct {
	carrier carrier
	address string
	within  time.Duration // of a write
	seal    *seal         // nil: the device has no secret
	hear    func(message []byte, counter uint64, sealed bool)

	connected func() // nil: nothing is to be said then

	mu      sync.Mutex // guards what follows
	conn    io.ReadWriteCloser
	waiting []*question
}

// A carrier is what is between guard and device.
type carrier uint8

const (
	udp carrier = iota
	tcp
	unix
	serial
)

var carriers = []string{"udp", "tcp", "unix", "serial"}

// A question is a message that was sent, and whose answer is waited for. One that is
// not waited for any more stands in its place for a while: the next answer may be its.
type question struct {
	fits   func(*heard) bool
	answer chan *heard // holds one
	until  time.Time

	counter uint64 // that the answer has under the seal; 0: it has none
}

func (l *link) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	if l.carrier == serial {
		return os.OpenFile(l.address, os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	var d net.Dialer
	return d.DialContext(ctx, carriers[l.carrier], l.address)
}

// run connects, and hears what the device says, until ctx ends.
func (l *link) run(ctx context.Context) {
	wait := dialEvery
	for ctx.Err() == nil {
		c, err := l.dial(ctx)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			l.mu.Lock()
			l.conn = c
			l.mu.Unlock()
			wait = dialEvery
			if l.connected != nil {
				l.connected()
			}
			l.listen(c)
			l.drop(c)
			stop()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait = min(2*wait, dialSlowest)
		}
	}
}

// connectedNow reports whether there is a connection.
func (l *link) connectedNow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// drop closes the connection, so that nothing more is written to it.
func (l *link) drop(c io.Closer) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == c {
		l.conn = nil
	}
}

// listen reads messages until the connection ends.
func (l *link) listen(c io.Reader) {
	if l.carrier == udp {
		b := make([]byte, 1<<16)
		for {
			n, err := c.Read(b)
			switch {
			case err == nil:
				l.heard(b[:n])
			case !errors.Is(err, syscall.ECONNREFUSED): // that nobody listens there is a hint
				return
			}
		}
	}
	r := bufio.NewReaderSize(c, maxMessage+2)
	for {
		b, err := readMessage(r)
		if len(b) > 0 || err == nil {
			l.heard(b)
		}
		if err != nil {
			return
		}
	}
}

var errLong = errors.New("a message that is too long")

// readMessage reads a message from a byte pipe; with an error, what came of it.
func readMessage(r *bufio.Reader) ([]byte, error) {
	b, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > maxMessage {
		b, _ = r.Peek(r.Buffered())
		return b[2:], errLong
	}
	if b, err = r.Peek(n); err != nil {
		return b[min(2, len(b)):], err
	}
	_, _ = r.Discard(n) // they are there
	return b[2:], nil
}

func (l *link) heard(b []byte) {
	counter, sealed := uint64(0), true
	if l.seal != nil {
		b, counter, sealed = l.seal.open(b)
	}
	l.hear(slices.Clone(b), counter, sealed)
}

// send sends a message, whole, and returns the question that its answer will be found
// by, if it may have one. With an error nothing was sent. Sending is called when the first byte is about to
// go out. A rescue goes out however many answers are waited for.
func (l *link) send(b []byte, fits func(*heard) bool, rescue bool, sending func()) (*question, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, errAway
	}
	now := time.Now()
	l.waiting = slices.DeleteFunc(l.waiting, func(q *question) bool { return now.After(q.until) })
	switch n := len(l.waiting); {
	case fits == nil || n < maxWaiting:
	case !rescue:
		return nil, errBusy
	case n >= maxRescues:
		fits = nil // it goes out, and nobody knows what came of it
	}
	if l.seal != nil {
		b = l.seal.append(nil, b)
	}
	if l.carrier != udp {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	if d, ok := l.conn.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(now.Add(l.within)) // a file that has none is written without
	}
	sending()
	q := &question{fits: fits, answer: make(chan *heard, 1), until: now.Add(lateAnswer)}
	if l.seal != nil {
		q.counter = l.seal.sent.Load()
	}
	if fits != nil {
		l.waiting = append(l.waiting, q)
	}
	n, err := l.conn.Write(b)
	if n == 0 && l.carrier == udp && errors.Is(err, syscall.ECONNREFUSED) {
		n, err = l.conn.Write(b) // that was about a datagram before this one, which was not sent
	}
	if err != nil && (n > 0 || l.carrier != udp) {
		l.conn.Close()
		l.conn = nil
	}
	return q, nil
}

// answered gives what was heard to the question that it is the answer to, by the counter
// of the seal, or else may be the answer to: the oldest one.
func (l *link) answered(h *heard, counter uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for i, q := range l.waiting {
		if now.Before(q.until) && q.counter == counter && q.fits(h) {
			q.answer <- h
			l.waiting = slices.Delete(l.waiting, i, i+1)
			return
		}
	}
}
