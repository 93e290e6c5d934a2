// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/link/coap"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// In times of ACK_TIMEOUT (RFC 7252 section 4.8).
const (
	handshakeWithin  = 4
	handshakeSlowest = 4 // between two, after some that failed; the first comes after one
	deliverWithin    = 6
	readWithin       = 10
)

// An outside is the way to the server of a device that is a client: one session, made
// again when it seems to be none any more, and a connection for each lane, so that an
// alarm does not wait until a measurement was acknowledged (RFC 7252 section 4.7).
type outside struct {
	endpoint *coap.Endpoint
	address  string
	ack      time.Duration // ACK_TIMEOUT
	ready    atomic.Bool   // the server answered what was asked last
	silent   atomic.Bool   // it did not
	changed  func(reached bool)

	turn chan struct{} // holds one: who shakes hands; it guards what follows
	wait time.Duration
	next time.Time

	session atomic.Pointer[coap.Session]
	lanes   [lanes]struct {
		mu   sync.Mutex
		conn *coap.Conn
	}
}

func newOutside(e *coap.Endpoint, address string, ack time.Duration, changed func(reached bool)) *outside {
	return &outside{endpoint: e, address: address, ack: ack, changed: changed, turn: make(chan struct{}, 1), wait: ack / 2}
}

// conn is the connection of a lane.
func (o *outside) conn(ctx context.Context, l lane) (*coap.Conn, error) {
	k := &o.lanes[l]
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		c, err := o.endpoint.Dial(ctx, o.address)
		if err != nil {
			return nil, err
		}
		k.conn = c
	}
	return k.conn, nil
}

func (o *outside) answered() {
	o.ready.Store(true)
	if o.silent.Swap(false) {
		o.changed(true)
	}
}

// failed says what became of what was asked in a session. Whatever it was, another
// session is made: what is not protected proves nothing, and a server that was started
// again cannot say so otherwise.
func (o *outside) failed(s *coap.Session, c *coap.Conn, l lane, err error) {
	if errors.Is(err, coap.ErrStale) || errors.Is(err, context.Canceled) {
		return
	}
	if o.ready.Store(false); !o.silent.Swap(true) {
		o.changed(false)
	}
	if s != nil && o.session.CompareAndSwap(s, nil) {
		_ = o.endpoint.Remove(s) // it is not kept on a disk
	}
	if k := &o.lanes[l]; errors.Is(err, coap.ErrClosed) {
		k.mu.Lock()
		if k.conn == c {
			k.conn = nil
		}
		k.mu.Unlock()
	}
}

// enter returns a session with the server, and the connection of a lane. It tries until
// ctx ends.
func (o *outside) enter(ctx context.Context, l lane) (*coap.Session, *coap.Conn, error) {
	if s := o.session.Load(); s != nil {
		if c, err := o.conn(ctx, l); err == nil {
			return s, c, nil
		}
	}
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	defer func() { <-o.turn }()
	for {
		c, err := o.conn(ctx, l)
		if s := o.session.Load(); s != nil && err == nil {
			return s, c, nil
		}
		t := time.NewTimer(time.Until(o.next))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, nil, errors.Join(err, ctx.Err())
		}
		o.next = time.Now().Add(o.wait)
		o.wait = min(2*o.wait, handshakeSlowest*o.ack)
		if err != nil {
			continue
		}
		hands, cancel := context.WithTimeout(ctx, handshakeWithin*o.ack)
		s, err := c.Handshake(hands)
		cancel()
		if err != nil {
			o.failed(nil, c, l, err)
			continue
		}
		o.wait = o.ack / 2
		o.session.Store(s)
	}
}

// do asks the server for something, and returns its answer and when it was asked.
func (o *outside) do(ctx context.Context, l lane, m *protocol.Message) (a protocol.Message, made time.Time, err error) {
	s, c, err := o.enter(ctx, l)
	if err != nil {
		return a, made, err
	}
	made = time.Now()
	if a, err = c.Do(ctx, s, *m); err != nil {
		o.failed(s, c, l, err)
		return a, made, err
	}
	o.answered()
	return a, made, nil
}

// observe begins an observation.
func (o *outside) observe(ctx context.Context, m *protocol.Message) (*coap.Observation, error) {
	s, c, err := o.enter(ctx, readings)
	if err != nil {
		return nil, err
	}
	n, err := c.ObserveRequest(ctx, s, *m)
	if err != nil {
		o.failed(s, c, readings, err)
		return nil, err
	}
	o.answered()
	return n, nil
}
