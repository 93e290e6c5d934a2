// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"crypto/rand"

	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// An observer is a peer that is told when a resource changes (RFC 7641). A
// notification is confirmable, and the next is not sent before it was: whoever does
// not listen any more is forgotten, and a slow radio is told the newest state only.
type observer struct {
	e       *Endpoint
	c       *Conn
	s       *Session
	x       *oscore.Exchange
	request *coap.Message
	count   uint32
	changed chan struct{} // holds one
	stop    context.CancelFunc
}

// number gives a response the Observe option that it goes out with, or takes it away
// when nobody observes.
func (o *observer) number(m coap.Message) coap.Message {
	if o == nil {
		m.Options = without(m.Options, coap.Observe)
		return m
	}
	o.count++
	return WithOption(m, coap.Observe, coap.AppendUint(nil, o.count&(1<<24-1)))
}

// maxObserved is how many observations one session may have, so that one peer does
// not take the places of all.
const maxObserved = 16

// watch begins an observation, in the place of one with the same token.
func (e *Endpoint) watch(o *observer) {
	e.forget(o.c, o.request.Token)
	ctx, stop := context.WithCancel(o.c.t.ctx)
	o.changed, o.stop = make(chan struct{}, 1), stop
	e.mu.Lock()
	defer e.mu.Unlock()
	own := 0
	for other := range e.observers {
		if other.s == o.s {
			own++
		}
	}
	if own >= maxObserved || len(e.observers) >= e.cfg.Observers || e.ctx.Err() != nil {
		stop() // the first answer was the only one
		return
	}
	e.observers[o] = struct{}{}
	o.c.observed.Add(1)
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		defer o.c.observed.Add(-1)
		o.run(ctx)
		stop()
		e.mu.Lock()
		delete(e.observers, o)
		e.mu.Unlock()
	}()
}

// forget ends an observation.
func (e *Endpoint) forget(c *Conn, token []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for o := range e.observers {
		if o.c == c && string(o.request.Token) == string(token) {
			o.stop()
			delete(e.observers, o)
		}
	}
}

// Notify says that a resource changed: the Handler is asked for it once more for
// each of its observers, and they are told. It does not wait for them.
func (e *Endpoint) Notify(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for o := range e.observers {
		if Path(o.request) == path {
			select {
			case o.changed <- struct{}{}:
			default: // it will be told the newest state anyway
			}
		}
	}
}

func (o *observer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.changed:
		}
		m := o.e.handle(o.s, o.request)
		// An answer that is no state of what can be observed is the last (RFC 7641 section 4.2).
		_, observed := m.Options.Get(coap.Observe)
		last := m.Code.Class() != 2 || !observed
		if !last {
			m = o.number(m)
		} else {
			m.Options = without(m.Options, coap.Observe)
		}
		m.Type, m.Token = coap.Confirmable, o.request.Token
		b, err := m.Append(nil)
		if err != nil {
			return
		}
		plain, err := o.request.Append(nil)
		if err != nil {
			return
		}
		if b, err = oscore.AppendBlock(nil, plain, b, blockSize); err != nil {
			return
		}
		sealed, err := parse(o.s.seal(b, o.x))
		if err != nil || !o.tell(ctx, sealed) || last {
			return
		}
	}
}

// tell sends a notification, and reports whether it was acknowledged.
func (o *observer) tell(ctx context.Context, m *coap.Message) bool {
	ctx, cancel := context.WithTimeout(ctx, 32*o.e.cfg.AckTimeout)
	defer cancel()
	return o.c.confirmed(ctx, m, o.c.cc.GetMessageID()) == nil
}

// An Observation is a resource that a peer tells the changes of.
type Observation struct {
	c     *Conn
	s     *Session
	k     *call
	x     oscore.Exchange
	plain coap.Message
	first coap.Message
}

// Observe asks for a resource and to be told when it changes. The first state is
// what [Observation.Next] returns first. When the peer does not offer that, the
// first is the only one. It has to be closed.
func (c *Conn) Observe(ctx context.Context, s *Session, path string) (*Observation, error) {
	return c.ObserveRequest(ctx, s, Request(coap.GET, path, 0, nil))
}

// ObserveRequest is [Conn.Observe] with a GET of the caller's: its options, but for an
// Observe option, are those of the registration.
func (c *Conn) ObserveRequest(ctx context.Context, s *Session, m coap.Message) (*Observation, error) {
	m.Type, m.ID = coap.Confirmable, 0
	o := &Observation{c: c, s: s, plain: WithOption(m, coap.Observe, nil)}
	token := make([]byte, tokenSize)
	rand.Read(token)
	o.plain.Token = token
	var proof []byte
	for range 2 {
		m := o.plain
		if proof != nil {
			m = WithOption(m, coap.Echo, proof)
		}
		b, err := m.Append(nil)
		if err != nil {
			return nil, err
		}
		// The call outlives ctx, which is for the first answer only.
		if o.k, err = c.protect(c.t.ctx, s, b, token, &o.x); err != nil {
			return nil, err
		}
		var answer []byte
		err = o.k.wait(ctx, func(a *coap.Message) bool {
			answer, err = c.verify(s, a, &o.x)
			return err == nil
		})
		if err != nil {
			o.k.end()
			return nil, err
		}
		first, err := parse(answer)
		if err != nil {
			o.k.end()
			return nil, err
		}
		if proof == nil {
			if proof = challengeOf(answer); proof != nil && ctx.Err() == nil {
				o.k.end()
				continue
			}
		}
		o.first = *first
		break
	}
	return o, nil
}

// Next waits for the next state: one that was sent later than the one before. It is
// for one goroutine at a time.
func (o *Observation) Next(ctx context.Context) (coap.Message, error) {
	if m := o.first; m.Code != 0 {
		o.first = coap.Message{}
		return m, nil
	}
	var answer []byte
	err := o.k.wait(ctx, func(a *coap.Message) (ok bool) {
		var err error
		answer, err = o.c.verify(o.s, a, &o.x)
		return err == nil
	})
	if err != nil {
		return coap.Message{}, err
	}
	m, err := parse(answer)
	return *m, err
}

// Close tells the peer, once and without waiting long, that nobody observes any more.
func (o *Observation) Close(ctx context.Context) error {
	o.k.end()
	m := WithOption(o.plain, coap.Observe, []byte{1})
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	var x oscore.Exchange
	k, err := o.c.protect(ctx, o.s, b, o.plain.Token, &x)
	if err != nil {
		return err
	}
	defer k.end()
	return k.wait(ctx, func(a *coap.Message) bool {
		_, err := o.c.verify(o.s, a, &x)
		return err == nil
	})
}
