// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/guard/front"
)

// A pipe passes bytes between two connections, in both directions, until both
// have ended. The end of one direction is passed on as that and leaves the other
// open; a direction that is cut, or ends without TLS's end, ends both as a cut
// (a reset), so that nobody takes half of something for all of it.
type pipe struct {
	env       *front.Env
	front     string
	server    bool          // near is away from the device
	idle      time.Duration // without a byte in either direction, and with bytes that nobody takes
	near, far net.Conn
	rate      int                             // bytes a second towards the device; 0: no bound
	sends     func(n int) (room int, ok bool) // takes n bytes that the device sends off its bound; nil: none

	last    atomic.Int64 // when a byte came, in either direction
	aborted sync.Once
}

const pipeBuffer = 32 << 10

// run passes until the end. Begun is what was read from near already. It closes
// both connections.
func (p *pipe) run(ctx context.Context, begun []byte) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, p.abort) // the drain time is over, or one direction was cut
	p.last.Store(p.env.Now().UnixNano())
	var both sync.WaitGroup
	one := func(dst, src net.Conn, begun []byte, toDevice bool) {
		if err := p.copy(ctx, dst, src, begun, toDevice); err != nil {
			p.abort()
			cancel()
		}
	}
	both.Go(func() { one(p.far, p.near, begun, p.server) })
	one(p.near, p.far, nil, !p.server)
	both.Wait()
	stop()
	p.near.Close()
	p.far.Close()
}

// abort cuts both connections.
func (p *pipe) abort() {
	p.aborted.Do(func() {
		front.Reset(p.near)
		front.Reset(p.far)
	})
}

var errVolume = errors.New("more than the device may send there in a day")

func (p *pipe) copy(ctx context.Context, dst, src net.Conn, begun []byte, toDevice bool) error {
	size := pipeBuffer
	var limit *rate.Limiter
	if p.rate > 0 && toDevice {
		limit = rate.NewLimiter(rate.Limit(p.rate), p.rate)
		size = min(size, p.rate)
	}
	buf := make([]byte, max(size, len(begun)))
	n, err := copy(buf, begun), error(nil)
	for {
		if n > 0 {
			p.last.Store(p.env.Now().UnixNano())
			if err := p.write(ctx, dst, buf[:n], limit, toDevice); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) && !front.Cut(src):
			return closeWrite(dst)
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case errors.Is(err, os.ErrDeadlineExceeded):
			if p.env.Now().UnixNano()-p.last.Load() >= int64(p.idle) {
				return err
			}
		case err != nil:
			return err
		}
		if e := src.SetReadDeadline(p.env.Now().Add(p.idle)); e != nil {
			return e
		}
		n, err = src.Read(buf[:size])
	}
}

func (p *pipe) write(ctx context.Context, dst net.Conn, b []byte, limit *rate.Limiter, toDevice bool) error {
	var over error
	if !toDevice && p.sends != nil {
		if room, ok := p.sends(len(b)); !ok {
			b, over = b[:room], errVolume
		}
	}
	for len(b) > 0 {
		n := len(b)
		if limit != nil {
			n = min(n, limit.Burst())
			if err := limit.WaitN(ctx, n); err != nil {
				return err
			}
		}
		if err := dst.SetWriteDeadline(p.env.Now().Add(p.idle)); err != nil {
			return err
		}
		if _, err := dst.Write(b[:n]); err != nil {
			return err
		}
		p.env.Metrics.Bytes(p.front, toDevice, n)
		b = b[n:]
	}
	return over
}

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
