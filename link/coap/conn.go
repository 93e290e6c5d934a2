// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/net/responsewriter"
	"github.com/plgd-dev/go-coap/v3/options/config"
	"github.com/plgd-dev/go-coap/v3/udp/client"
	"github.com/plgd-dev/go-coap/v3/udp/coder"

	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

const (
	// inbox is how many messages of one peer wait for the one that is handled; more
	// are dropped, and come again.
	inbox = 16

	// maxTransmitWait is how long an answer is waited for where the caller sets no
	// deadline (RFC 7252 section 4.8.2).
	maxTransmitWait = 93 * time.Second

	// tokenSize is how many random bytes tell an answer from what somebody else made
	// up who does not see the request (RFC 7252 section 5.3.1).
	tokenSize = 4

	// maxRetransmit is how often a message is sent again (RFC 7252 section 4.8).
	maxRetransmit = 4

	never = 10 * 365 * 24 * time.Hour

	// maxCalls is how many answers one Conn waits for at once.
	maxCalls = 256
)

// A Conn exchanges messages with one peer. It may be used by several goroutines.
type Conn struct {
	e       *Endpoint
	cc      *client.Conn
	t       *transport
	peer    string
	waiting atomic.Int32 // messages in the inbox

	observed atomic.Int32 // observations of ours

	mu       sync.Mutex // guards what follows
	calls    map[string]*call
	handling map[int32]bool // requests by Message ID, where they are handled side by side

	// Of the server's table, guarded by its mutex.
	key    string
	place  *list.Element
	proven bool
}

func (e *Endpoint) newConn(peer string, send func([]byte) error) *Conn {
	register()
	c := &Conn{e: e, peer: peer, t: newTransport(e.ctx, send), calls: make(map[string]*call), handling: make(map[int32]bool)}
	cfg := client.DefaultConfig
	cfg.Handler = c.handle
	cfg.Errors = func(error) {} // a message that could not be sent comes again
	cfg.MessagePool = e.messages
	cfg.BlockwiseEnable = false
	cfg.MaxMessageSize = MaxMessage
	cfg.ReceivedMessageQueueSize = inbox
	cfg.TransmissionNStart = 1
	cfg.TransmissionAcknowledgeTimeout = never // confirmed sends again
	cfg.ProcessReceivedMessage = func(r *pool.Message, cc *client.Conn, h config.HandlerFunc[*client.Conn]) {
		id := r.MessageID()
		work := func() {
			defer c.leave(id)
			cc.ProcessReceivedMessageWithHandler(r, h)
		}
		if !e.cfg.Concurrent || !e.begin(work) {
			work()
		}
	}
	c.cc = client.NewConnWithOpts(c.t, &cfg,
		client.WithRequestMonitor(c.admit), client.WithResponseMessageCache(&recent{}))
	e.mu.Lock()
	e.conns[c] = struct{}{}
	e.mu.Unlock()
	c.t.AddOnClose(func() {
		e.mu.Lock()
		delete(e.conns, c)
		e.mu.Unlock()
	})
	return c
}

// admit drops what there is no place for, so that whoever reads never waits.
func (c *Conn) admit(_ *client.Conn, r *pool.Message) (drop bool, err error) {
	if r.IsPing(false) || r.IsSeparateMessage() {
		return false, nil // these do not wait
	}
	if c.waiting.Load() >= inbox {
		return true, nil
	}
	if request := r.Code() < 32; c.e.cfg.Concurrent && request {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.handling[r.MessageID()] {
			return true, nil // its answer is on the way
		}
		c.handling[r.MessageID()] = true
	}
	c.waiting.Add(1)
	return false, nil
}

// leave says that a message was handled.
func (c *Conn) leave(id int32) {
	c.waiting.Add(-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.handling, id)
}

// begin does something beside what called it, which [Endpoint.Close] waits for, unless
// that is under way.
func (e *Endpoint) begin(work func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.wg.Go(work)
	return true
}

// process takes a datagram. What is no CoAP is dropped: anybody can send it.
func (c *Conn) process(b []byte) {
	var m coap.Message
	if m.Parse(b) == nil {
		_ = c.cc.Process(nil, b)
	}
}

// Attach makes a connection of a link, which it owns. Both ends may ask and answer.
func (e *Endpoint) Attach(l Link) *Conn {
	c := e.newConn(l.Peer(), l.Send)
	c.t.AddOnClose(func() { _ = l.Close() })
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		defer c.Close()
		b := make([]byte, MaxMessage)
		for {
			n, err := l.Receive(b)
			if err != nil {
				return
			}
			c.process(b[:n])
		}
	}()
	return c
}

// Dial makes a connection to a UDP address, as in "127.0.0.1:5683". Nothing is sent
// until there is something to say.
func (e *Endpoint) Dial(ctx context.Context, addr string) (*Conn, error) {
	var d net.Dialer
	s, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	return e.Attach(udpLink{s.(*net.UDPConn)}), nil
}

// Close ends the connection, and what waits for an answer on it. Sessions go on.
func (c *Conn) Close() error { return c.t.Close() }

// A call is one request and those who answer it.
type call struct {
	c       *Conn
	request *coap.Message
	id      int32
	answers chan *coap.Message
	sent    chan error // of each sending: what ended it
	stop    context.CancelFunc
}

// begin sends a request, again until it is acknowledged or ctx ends.
func (c *Conn) begin(ctx context.Context, m *coap.Message) (*call, error) {
	k := &call{c: c, request: m, id: c.cc.GetMessageID(), answers: make(chan *coap.Message, 8), sent: make(chan error, 2)}
	if m.Token == nil {
		m.Token = make([]byte, tokenSize)
		rand.Read(m.Token)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.calls[string(m.Token)]; taken || len(c.calls) >= maxCalls {
		return nil, errors.New("coap: too many requests wait for their answers")
	}
	c.calls[string(m.Token)] = k
	ctx, k.stop = context.WithCancel(ctx)
	k.send(ctx)
	return k, nil
}

func (k *call) send(ctx context.Context) {
	go func() { k.sent <- k.c.confirmed(ctx, k.request, k.id) }() // ends with ctx, which end cancels
}

// confirmed sends a message until it is acknowledged or ctx ends: again after AckTimeout and up
// to half of it more, and then after twice as long each time (RFC 7252 section 4.2). go-coap would wait only
// for so much longer each time (v3.5.5), and be done before an outage of seconds is over.
func (c *Conn) confirmed(ctx context.Context, m *coap.Message, id int32) error {
	r := c.cc.AcquireMessage(ctx)
	defer c.cc.ReleaseMessage(r)
	toPool(r, m)
	r.SetType(message.Confirmable)
	r.SetMessageID(id)
	b, err := r.MarshalWithEncoder(coder.DefaultCoder)
	if err != nil {
		return err
	}
	b = bytes.Clone(b)
	done := make(chan error, 1)
	go func() { done <- c.cc.WriteMessage(r) }()
	wait := c.e.cfg.AckTimeout + mathrand.N(c.e.cfg.AckTimeout/2+1)
	for range maxRetransmit {
		t := time.NewTimer(wait)
		select {
		case err := <-done:
			t.Stop()
			return err
		case <-t.C:
			_ = c.t.write(b) // what could not be sent comes again
			wait *= 2
		}
	}
	return <-done
}

// end forgets a call.
func (k *call) end() {
	k.stop()
	k.c.mu.Lock()
	delete(k.c.calls, string(k.request.Token))
	k.c.mu.Unlock()
}

// wait waits until take has taken an answer. An answer that it does not take is a
// hint: once there was one, a true answer has the time of a second try left.
func (k *call) wait(ctx context.Context, take func(*coap.Message) bool) error {
	var hint error
	var grace <-chan time.Time
	for {
		select {
		case a := <-k.answers:
			if take(a) {
				return nil
			}
			if grace == nil && a.Code.Class() != 2 && !a.Protected() {
				hint = &Hint{a.Code}
				timer := time.NewTimer(2 * k.c.e.cfg.AckTimeout)
				defer timer.Stop()
				grace = timer.C
				k.send(ctx) // the same bytes: whoever served it has the answer ready
			}
		case <-grace:
			return hint
		case err := <-k.sent:
			if err != nil && grace == nil && ctx.Err() == nil && k.c.t.ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			return errors.Join(hint, ctx.Err())
		case <-k.c.t.ctx.Done():
			return ErrClosed
		}
	}
}

// handle takes the messages of the peer that go-coap hands up: each once.
func (c *Conn) handle(w *responsewriter.ResponseWriter[*client.Conn], r *pool.Message) {
	m, err := fromPool(r)
	if err != nil || m.Code == 0 {
		return
	}
	if !m.Code.Request() {
		c.mu.Lock()
		k := c.calls[string(m.Token)]
		c.mu.Unlock()
		if k != nil {
			select {
			case k.answers <- m:
			default: // somebody floods; the newest is lost
			}
		}
		return
	}
	answer := c.e.serve(c, m)
	if answer == nil {
		return
	}
	answer.Token = m.Token
	toPool(w.Message(), answer)
}

// Do sends a request in a session and returns its answer, which was verified. Token
// and Message ID are made; bodies of more than a kilobyte go in blocks. When the
// peer asks for a proof that the request is made now (Echo, RFC 9175) it is given
// once, unless ctx has ended or the request was made more than ten seconds ago:
// then it is [ErrStale], and to be made anew by whoever still wants it.
//
// Without an answer the error is that of ctx, and an unprotected answer that came
// meanwhile is joined to it, or *[Hint] alone.
func (c *Conn) Do(ctx context.Context, s *Session, m coap.Message) (coap.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTransmitWait)
	defer cancel()
	m.Type, m.ID, m.Token = coap.Confirmable, 0, nil
	b, err := m.Append(nil)
	if err != nil {
		return coap.Message{}, err
	}
	tag := make([]byte, tokenSize)
	rand.Read(tag)
	t, err := oscore.NewTransfer(b, blockSize, tag, c.e.cfg.MaxBody)
	if err != nil {
		return coap.Message{}, err
	}
	for {
		next, err := t.Next(nil)
		if err != nil {
			return coap.Message{}, err
		}
		answer, err := c.once(ctx, s, next)
		if err != nil {
			return coap.Message{}, err
		}
		whole, done, err := t.Receive(answer)
		if err != nil {
			return coap.Message{}, err
		}
		if done {
			a, err := parse(whole)
			return *a, err
		}
	}
}

// blockSize is the SZX of blocks of 1024 bytes.
const blockSize = 6

// proofWithin is how old a request may be that is sent again with a proof.
const proofWithin = 10 * time.Second

// once sends one message and, when it is challenged, that again with a proof.
func (c *Conn) once(ctx context.Context, s *Session, plain []byte) ([]byte, error) {
	made := time.Now()
	var x oscore.Exchange
	for proven := false; ; proven = true {
		var answer []byte
		k, err := c.protect(ctx, s, plain, nil, &x)
		if err != nil {
			return nil, err
		}
		err = k.wait(ctx, func(a *coap.Message) bool {
			answer, err = c.verify(s, a, &x)
			return err == nil
		})
		k.end()
		if err != nil {
			return nil, err
		}
		proof := challengeOf(answer)
		if proof == nil || proven {
			return answer, nil
		}
		if ctx.Err() != nil || time.Since(made) > proofWithin {
			return nil, ErrStale
		}
		if plain, err = oscore.AppendWithEcho(nil, plain, proof); err != nil {
			return nil, err
		}
	}
}

// challengeOf is the Echo value of an answer that asks for it.
func challengeOf(answer []byte) []byte {
	if m, err := parse(answer); err != nil || m.Code != coap.Unauthorized {
		return nil
	}
	return oscore.EchoOf(answer)
}

// protect begins a protected request; until the session is confirmed message_3
// goes with it, where it was not sent alone (RFC 9668).
func (c *Conn) protect(ctx context.Context, s *Session, plain, token []byte, x *oscore.Exchange) (*call, error) {
	b, err := s.osc.ProtectRequest(nil, plain, x)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	message3 := s.message3
	s.mu.Unlock()
	if message3 != nil {
		if b, err = oscore.AppendCombined(nil, b, message3, MaxMessage); err != nil {
			return nil, err
		}
	}
	m, err := parse(b)
	if err != nil {
		return nil, err
	}
	m.Token = token
	return c.begin(ctx, m)
}

// verify opens the answer to a request.
func (c *Conn) verify(s *Session, a *coap.Message, x *oscore.Exchange) ([]byte, error) {
	a.ID = 0
	b, err := a.Append(nil)
	if err != nil {
		return nil, err
	}
	plain, err := s.osc.UnprotectResponse(nil, b, x)
	if err != nil {
		return nil, err
	}
	return plain, c.e.confirm(s)
}

// Get asks for a resource.
func (c *Conn) Get(ctx context.Context, s *Session, path string) (coap.Message, error) {
	return c.Do(ctx, s, Request(coap.GET, path, 0, nil))
}

// Post posts a payload of a content format to a resource.
func (c *Conn) Post(ctx context.Context, s *Session, path string, format uint32, payload []byte) (coap.Message, error) {
	return c.Do(ctx, s, Request(coap.POST, path, format, payload))
}

// Put replaces a resource.
func (c *Conn) Put(ctx context.Context, s *Session, path string, format uint32, payload []byte) (coap.Message, error) {
	return c.Do(ctx, s, Request(coap.PUT, path, format, payload))
}

// DoUnprotected sends a request that anybody may read and answer, and returns what
// came first. It is for what is open to everybody, such as /.well-known/core.
func (c *Conn) DoUnprotected(ctx context.Context, m coap.Message) (coap.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTransmitWait)
	defer cancel()
	m.Token = nil
	k, err := c.begin(ctx, &m)
	if err != nil {
		return coap.Message{}, err
	}
	defer k.end()
	var answer coap.Message
	err = k.wait(ctx, func(a *coap.Message) bool { answer = *a; return true })
	return answer, err
}

// recent keeps the newest answers of one peer by Message ID, for a request that
// comes again because its answer was lost: a client.MessageCache with a bound.
type recent struct {
	mu   sync.Mutex
	ring [inbox]struct {
		key    string
		answer []byte
		until  time.Time
	}
	next int
}

// maxKept is how many bytes an answer may have that is kept.
const maxKept = 2048

func (r *recent) Load(key string, m *pool.Message) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		if a := &r.ring[i]; a.key == key && a.answer != nil && time.Now().Before(a.until) {
			var kept coap.Message
			if kept.Parse(a.answer) != nil {
				return false, nil
			}
			toPool(m, &kept)
			return true, nil
		}
	}
	return false, nil
}

func (r *recent) Store(key string, m *pool.Message) error {
	if m.Code() == codes.Empty {
		return nil
	}
	kept, err := fromPool(m)
	if err != nil {
		return err
	}
	if m.Body() != nil {
		if _, err := m.Body().Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	b, err := kept.Append(nil)
	if err != nil || len(b) > maxKept {
		return nil // it will be made again, or refused as a replay
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &r.ring[r.next%inbox]
	a.key, a.answer, a.until = key, b, time.Now().Add(client.ExchangeLifetime)
	r.next++
	return nil
}

func (r *recent) CheckExpirations(time.Time) {}
