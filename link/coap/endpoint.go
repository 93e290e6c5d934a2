// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"cmp"
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/pool"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// A Handler answers a request. It is called by several goroutines, one for each
// peer, or with [Config.Concurrent] each request, and for each observation. The request is the handler's to keep. Of the
// answer only code, options and payload count; with an Observe option, of any
// value, the answer to a request that has one begins an observation.
type Handler func(s *Session, m *coap.Message) coap.Message

// A Config is what one party brings. It must not change any more.
type Config struct {
	// EDHOC is the party's keys and whom it trusts. ConnectionID is chosen by the
	// Endpoint. Nil makes no handshakes: sessions come from [Endpoint.Add].
	EDHOC *edhoc.Config

	// Handler answers protected requests. Nil answers 4.04.
	Handler Handler

	// Open reports whether a request may come unprotected: the Handler is then given
	// a session that is Unprotected. Nil refuses all; handshakes need no leave.
	Open func(m *coap.Message) bool

	// Accept is given each session that a handshake or a restart brings, with the
	// external authorization data that the peer sent in verified messages, such as a
	// token in EAD_3, before the session serves anything. An error refuses it. An
	// item that is critical has to be known to EDHOC.EAD too. Nil accepts.
	Accept func(s *Session, ead []edhoc.EAD) error

	// Emergency reports whether message_1 says that it is for an emergency
	// ([edhoc.Budget]). Nothing proves it. Nil says that none is.
	Emergency func(ead []edhoc.EAD) bool

	// Fresh is how long ago the sender of a protected request must have proved that
	// it is there: for commands that must not come late. Such a request is answered
	// with a challenge first. Zero, and nil, ask for no proof.
	Fresh func(m *coap.Message) time.Duration

	// Concurrent handles requests of one peer side by side: one whose answer takes long
	// holds up no other. A message that comes again meanwhile is dropped.
	Concurrent bool

	// Combined sends message_3 together with the first request (RFC 9668), where
	// this end begins and is the client. It has no effect with message_4.
	Combined bool

	Limits     edhoc.Limits  // what strangers may cost
	Sessions   int           // that are kept; the one used longest ago makes room; 10,000
	Conns      int           // peers that a server exchanges messages with at the same time; 256
	Observers  int           // of all peers together; 256
	MaxBody    int           // bytes of a body in blocks; 64 kB
	AckTimeout time.Duration // before a message is sent again (RFC 7252 section 4.8); 2 s

	// Keep is where sessions survive a restart, and nil where they need not.
	Keep *Store
}

// An Endpoint is one party, with its sessions, on any number of connections.
type Endpoint struct {
	cfg      Config
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	start    time.Time
	echo     *oscore.Echo
	messages *pool.Pool
	bodies   oscore.Assembler // of peers that proved who they are

	mu        sync.Mutex // guards what follows
	conns     map[*Conn]struct{}
	sessions  map[string]*Session // by our recipient id
	recent    *list.List          // of *Session, the last used in front
	pending   map[string]*handshake
	order     *list.List // of *handshake, the oldest in front
	answered  []*handshake
	budget    edhoc.Budget
	suites    edhoc.SuiteMemory
	observers map[*observer]struct{}
	byAddr    map[string]*Conn // of Serve
	strangers *list.List       // of *Conn, nothing proven yet, the last used in front
	known     *list.List       // of *Conn, a peer with a session
}

// New makes an Endpoint. With Keep it has the sessions of before the restart whose
// peers are still trusted. It has to be closed.
func New(cfg Config) (*Endpoint, error) {
	for _, d := range []struct {
		v *int
		d int
	}{{&cfg.Sessions, 10000}, {&cfg.Conns, 256}, {&cfg.Observers, 256}, {&cfg.MaxBody, 64 << 10}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if cfg.AckTimeout == 0 {
		cfg.AckTimeout = 2 * time.Second
	}
	var secret [32]byte
	rand.Read(secret[:])
	e := &Endpoint{
		cfg: cfg, start: time.Now(), echo: oscore.NewEcho(secret), messages: pool.New(256, 2048),
		bodies: oscore.Assembler{MaxBody: cfg.MaxBody},
		conns:  map[*Conn]struct{}{}, sessions: map[string]*Session{}, recent: list.New(),
		pending: map[string]*handshake{}, order: list.New(), budget: edhoc.Budget{Limits: cfg.Limits},
		observers: map[*observer]struct{}{}, byAddr: map[string]*Conn{}, strangers: list.New(), known: list.New(),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if cfg.Keep != nil {
		if err := e.restore(); err != nil {
			e.cancel()
			return nil, err
		}
	}
	e.wg.Add(1)
	go e.tick()
	return e, nil
}

// tick is the clock of what is sent again.
func (e *Endpoint) tick() {
	defer e.wg.Done()
	t := time.NewTicker(max(e.cfg.AckTimeout/8, time.Millisecond))
	defer t.Stop()
	var all []*Conn
	for {
		select {
		case <-e.ctx.Done():
			return
		case now := <-t.C:
			e.mu.Lock()
			e.expire()
			for c := range e.conns {
				all = append(all, c)
			}
			e.mu.Unlock()
			for i, c := range all {
				c.cc.CheckExpirations(now)
				all[i] = nil
			}
			all = all[:0]
		}
	}
}

// Close closes all connections and waits for what the Endpoint started. Sessions
// that are kept stay on their disk.
func (e *Endpoint) Close() error {
	e.cancel()
	e.mu.Lock()
	var all []*Conn
	for c := range e.conns {
		all = append(all, c)
	}
	e.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
	e.wg.Wait()
	return nil
}

// now is the time that budgets and challenges go by.
func (e *Endpoint) now() time.Duration { return time.Since(e.start) }

// Serve answers the peers that write to a socket, until ctx or the Endpoint ends or
// the socket fails; then it closes the socket. It serves one socket at a time.
func (e *Endpoint) Serve(ctx context.Context, s net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	ended := context.AfterFunc(e.ctx, func() { _ = s.Close() })
	defer ended()
	b := make([]byte, MaxMessage+1)
	for {
		n, addr, err := s.ReadFrom(b)
		switch {
		case ctx.Err() != nil || e.ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil || n > MaxMessage: // an error of one datagram, such as ICMP's, is no reason to end
			continue
		}
		var m coap.Message
		if m.Parse(b[:n]) != nil {
			continue // before anything is made for whoever sent it
		}
		e.connOf(s, addr).process(b[:n])
	}
}

// connOf is the connection of an address. When there is no place for another, one goes that was
// heard of longest ago and waits for nothing: that of a peer with a session, which goes on with its next
// message, while strangers have no more than a quarter of the places, and else a stranger's. So
// neither a flood of strangers takes the places of peers, nor peers that went away, which UDP does not tell,
// those in which strangers make their sessions.
func (e *Endpoint) connOf(s net.PacketConn, addr net.Addr) *Conn {
	key := addr.String()
	e.mu.Lock()
	c := e.byAddr[key]
	var leaves *Conn
	if c != nil {
		c.list(e).MoveToFront(c.place)
		e.mu.Unlock()
		return c
	}
	if len(e.byAddr) >= e.cfg.Conns {
		var oldest *list.Element
		if e.strangers.Len() > e.cfg.Conns/4 { // whatever they wait for, they are too many
			oldest = cmp.Or(idle(e.strangers), e.strangers.Back())
		} else {
			oldest = cmp.Or(idle(e.known), idle(e.strangers), e.known.Back(), e.strangers.Back())
		}
		leaves = oldest.Value.(*Conn)
		leaves.list(e).Remove(oldest)
		delete(e.byAddr, leaves.key)
	}
	e.mu.Unlock()
	if leaves != nil {
		_ = leaves.Close()
	}
	c = e.newConn(hostOf(addr), func(b []byte) error {
		_, err := s.WriteTo(b, addr)
		return err
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	c.key, e.byAddr[key] = key, c
	c.place = e.strangers.PushFront(c)
	return c
}

// idle is the place of the connection that was heard of longest ago and waits for nothing
// of ours, of those that are looked at, or nil.
func idle(l *list.List) *list.Element {
	p := l.Back()
	for range 64 {
		if p == nil {
			break
		}
		if c := p.Value.(*Conn); c.waiting.Load() == 0 && c.observed.Load() == 0 {
			return p
		}
		p = p.Prev()
	}
	return nil
}

// list is where the connection stands. It is called with the mutex held.
func (c *Conn) list(e *Endpoint) *list.List {
	if c.proven {
		return e.known
	}
	return e.strangers
}

// prove says that a message of a session came on a connection.
func (e *Endpoint) prove(c *Conn, s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.used != nil {
		e.recent.MoveToFront(s.used)
	}
	if c.place != nil && !c.proven && e.byAddr[c.key] == c {
		e.strangers.Remove(c.place)
		c.proven, c.place = true, e.known.PushFront(c)
	}
}

// serve answers a request, or returns nil when there is nothing to say.
func (e *Endpoint) serve(c *Conn, m *coap.Message) *coap.Message {
	if _, refused := m.Options.Refused(); refused {
		return &coap.Message{Code: coap.BadOption}
	}
	m.ID = 0
	if _, ok := m.Options.Get(coap.OSCOREOption); ok {
		return e.serveProtected(c, m)
	}
	if m.Code == coap.POST && Path(m) == edhoc.Path && e.cfg.EDHOC != nil {
		return e.serveEDHOC(c, m)
	}
	if e.cfg.Open == nil || e.cfg.Handler == nil || !e.cfg.Open(m) {
		return &coap.Message{Code: coap.Unauthorized}
	}
	a := e.cfg.Handler(&Session{}, m)
	a.Options = without(a.Options, coap.Observe) // nobody may be made to flood an address that is not his
	return &a
}

func without(os coap.Options, n coap.OptionNumber) (out coap.Options) {
	last := coap.OptionNumber(0)
	for o := range os.All() {
		if o.Number != n {
			out = coap.AppendOption(out, last, o)
			last = o.Number
		}
	}
	return out
}

// serveProtected answers a request with the OSCORE option.
func (e *Endpoint) serveProtected(c *Conn, m *coap.Message) *coap.Message {
	b, err := m.Append(nil)
	if err != nil {
		return nil
	}
	refuse := func(err error) *coap.Message {
		a, err := oscore.AppendError(nil, b, err)
		if err != nil {
			return nil
		}
		answer, _ := parse(a)
		return answer
	}
	if oscore.Combined(b) {
		request, message3, cR, err := oscore.SplitCombined(nil, b)
		if err != nil {
			return &coap.Message{Code: coap.BadRequest}
		}
		if refused := e.takeMessage3(c, cR, message3); refused != nil {
			return refused
		}
		b = request
	}
	id, ok := oscore.Identify(b)
	if !ok {
		return refuse(oscore.ErrOption)
	}
	e.mu.Lock()
	s := e.sessions[string(id.KID)]
	e.mu.Unlock()
	if s == nil {
		return refuse(oscore.ErrContext)
	}
	x := new(oscore.Exchange)
	plain, err := s.osc.UnprotectRequest(nil, b, x)
	if errors.Is(err, oscore.ErrUnproven) { // of before a restart: which numbers came is forgotten
		var room [64]byte
		a, err := s.osc.AppendChallenge(nil, b, e.echo.Append(room[:0], s.osc, e.now()), x)
		if err != nil {
			return nil
		}
		answer, _ := parse(a)
		return answer
	}
	if err != nil {
		return refuse(err)
	}
	if e.confirm(s) != nil {
		return refuse(oscore.ErrContext)
	}
	e.prove(c, s)
	answer := e.answer(c, s, plain, x)
	if answer == nil {
		return refuse(oscore.ErrMessage)
	}
	a, err := parse(answer)
	if err != nil {
		return nil
	}
	return a
}

// answer is the protected answer to a request that was decrypted.
func (e *Endpoint) answer(c *Conn, s *Session, plain []byte, x *oscore.Exchange) []byte {
	whole, reply, err := e.bodies.Add(s.id, plain, e.now())
	if whole == nil || err != nil { // of a body more is to come, or nothing
		return s.seal(reply, x)
	}
	request, err := parse(whole)
	if err != nil {
		return nil
	}
	if _, refused := request.Options.Refused(); refused {
		bad := coap.Message{Type: coap.Acknowledgement, Code: coap.BadOption, Token: request.Token}
		if reply, err = bad.Append(nil); err != nil {
			return nil
		}
		return s.seal(reply, x)
	}
	if e.cfg.Fresh != nil {
		if within := e.cfg.Fresh(request); within > 0 {
			if challenge, err := e.echo.Require(nil, whole, s.osc, x, e.now(), within); err != nil {
				return challenge
			}
		}
	}
	if o, ok := request.Options.Get(coap.Observe); ok && !x.Observe() {
		if v, _ := o.Uint(); v == 1 {
			e.forget(c, request.Token)
		}
	}
	response := e.handle(s, request)
	var watcher *observer
	if _, observed := response.Options.Get(coap.Observe); observed {
		if x.Observe() && response.Code.Class() == 2 {
			watcher = &observer{e: e, c: c, s: s, x: x, request: request}
		}
		response = watcher.number(response)
	}
	response.Type, response.Token = coap.Acknowledgement, request.Token
	b, err := response.Append(nil)
	if err != nil {
		return nil
	}
	cut, err := oscore.AppendBlock(nil, plain, b, blockSize)
	if err != nil {
		failed := coap.Message{Type: coap.Acknowledgement, Code: coap.InternalServerError, Token: request.Token}
		cut, _ = failed.Append(nil)
		watcher = nil
	}
	sealed := s.seal(cut, x)
	if watcher != nil && sealed != nil {
		e.watch(watcher)
	}
	return sealed
}

func (e *Endpoint) handle(s *Session, request *coap.Message) coap.Message {
	if e.cfg.Handler == nil {
		return coap.Message{Code: coap.NotFound}
	}
	return e.cfg.Handler(s, request)
}

func (s *Session) seal(plain []byte, x *oscore.Exchange) []byte {
	b, err := s.osc.ProtectResponse(nil, plain, x)
	if err != nil {
		return nil
	}
	return b
}
