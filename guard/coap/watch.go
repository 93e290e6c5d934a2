// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"time"

	"github.com/myelin-health/myelin/link/coap"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

const (
	maxWatches    = 16               // observations of the device
	defaultMaxAge = 60 * time.Second // RFC 7252 section 5.10.5
	watchGrace    = 8                // times ACK_TIMEOUT after it, until the server is asked again
	watchPatience = 5 * time.Minute  // without the server, until the device is told that nothing more comes
	tellTries     = 4                // of a notification (RFC 7252 section 4.8)
)

// A watch is an observation of the device (RFC 7641): one of the front's own with the
// server, begun again when it may be over, and notifications of the front's own to the device, which it
// ends by a reset, by not acknowledging, or by asking.
type watch struct {
	c     *Client
	asked *asked
	stop  context.CancelFunc
}

func (x *asked) watchKey() string { return x.addr.String() + "\x00" + string(x.message.Token) }

// watch begins an observation, in the place of one with the same token, and reports
// whether there is a place for it.
func (c *Client) watch(x *asked) bool {
	ctx, stop := context.WithCancel(c.inside)
	w := &watch{c, x, stop}
	key := x.watchKey()
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.watches[key]; old != nil {
		old.stop()
	} else if len(c.watches) >= maxWatches {
		stop()
		return false
	}
	c.watches[key] = w
	states := make(chan protocol.Message, 1)
	c.work.Go(func() {
		defer close(states)
		w.follow(ctx, states)
	})
	c.work.Go(func() {
		w.tell(ctx, states)
		stop()
		for range states { // until follow has ended
		}
		c.forget(x) // when another took its place before it was answered
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.watches[key] == w {
			delete(c.watches, key)
		}
	})
	return true
}

// unwatch ends an observation, as the device asks.
func (c *Client) unwatch(x *asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watches[x.watchKey()]; w != nil {
		w.stop()
		delete(c.watches, x.watchKey())
	}
}

// follow observes at the server. Of what the device was not told yet the newest is kept.
func (w *watch) follow(ctx context.Context, states chan protocol.Message) {
	push := func(m protocol.Message) {
		select {
		case <-states:
		default:
		}
		states <- m // nobody else sends
	}
	m := forward(&w.asked.message)
	heard, first := time.Now(), true
	for ctx.Err() == nil {
		begin, cancel := context.WithTimeout(ctx, readWithin*w.c.ack)
		o, err := w.c.out.observe(begin, &m)
		cancel()
		if err != nil {
			if first || time.Since(heard) > watchPatience {
				push(protocol.Message{Code: protocol.GatewayTimeout})
				return
			}
			select { // not at once: what failed may be here
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		first = false
		age := defaultMaxAge
		for {
			next, cancel := context.WithTimeout(ctx, age+watchGrace*w.c.ack)
			state, err := o.Next(next)
			cancel()
			if err != nil {
				break
			}
			heard = time.Now()
			push(state)
			if _, on := state.Options.Get(protocol.Observe); !on {
				return // it was the last
			}
			age = defaultMaxAge
			if v, ok := state.Options.Get(protocol.MaxAge); ok {
				if n, fits := v.Uint(); fits {
					age = min(time.Duration(n)*time.Second, time.Hour)
				}
			}
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		_ = o.Close(end) // the server forgets it anyway, when it is not acknowledged
		cancel()
	}
}

// tell tells the device, in order, until one is the last.
func (w *watch) tell(ctx context.Context, states <-chan protocol.Message) {
	first := true
	for {
		var m protocol.Message
		select {
		case s, ok := <-states:
			if !ok {
				return
			}
			m = s
		case <-ctx.Done():
			return
		}
		out, why := bounded(w.asked.resource, &m)
		_, on := m.Options.Get(protocol.Observe)
		if why != "" {
			w.c.refused("notification", why)
			out = protocol.Message{Code: protocol.BadGateway}
		}
		on = on && out.Code.Class() == 2
		if on {
			out = coap.WithOption(out, protocol.Observe, protocol.AppendUint(nil, w.c.count()))
		}
		if first && !w.c.reply(w.asked, out, false, func() {}) || !first && !w.c.notify(ctx, w.asked, out) || !on {
			return
		}
		first = false
	}
}

// count is the next number of a notification, of 24 bits.
func (c *Client) count() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = (c.state + 1) & (1<<24 - 1)
	return c.state
}

// notify tells the device a state, and reports whether it was acknowledged.
func (c *Client) notify(ctx context.Context, x *asked, m protocol.Message) bool {
	m.Type, m.ID, m.Token = protocol.Confirmable, c.id(), x.message.Token
	b, err := c.cut(x, m)
	if err != nil {
		return false
	}
	heard := make(chan bool, 1)
	c.mu.Lock()
	c.tells[m.ID] = heard
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.tells, m.ID)
	}()
	wait := c.ack
	for range tellTries {
		c.env.Metrics.Bytes(c.policy().Name, true, len(b))
		_, _ = c.socket.WriteTo(b, x.addr)
		t := time.NewTimer(wait)
		select {
		case yes := <-heard:
			t.Stop()
			return yes
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
			wait *= 2
		}
	}
	return false
}

// told takes the acknowledgement, or the reset, of a notification.
func (c *Client) told(id uint16, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if heard := c.tells[id]; heard != nil {
		select {
		case heard <- yes:
		default: // the second of them
		}
	}
}
