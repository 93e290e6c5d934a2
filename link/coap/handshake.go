// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// A handshake is one that this end takes part in, by its own connection identifier.
// What is due next is for edhoc to know; answered ones stay for a while, to answer
// their last message once more.
type handshake struct {
	e      *Endpoint
	id     string
	ticket uint64
	peer   string // who began it; nobody else goes on with it
	since  time.Duration
	place  *list.Element

	mu      sync.Mutex // guards what follows
	i       *edhoc.Initiator
	r       *edhoc.Responder
	got2    bool
	ead     []edhoc.EAD // of verified messages
	first   []edhoc.EAD // of message_1
	session *Session
	ended   bool
}

// config is the party's configuration for one handshake.
func (h *handshake) config() (*edhoc.Config, error) {
	if h.e.cfg.EDHOC == nil {
		return nil, ErrNoEDHOC
	}
	cfg := *h.e.cfg.EDHOC
	ask := cfg.EAD
	cfg.EAD = func(n int, item edhoc.EAD) error {
		kept := item
		kept.Value = bytes.Clone(item.Value)
		if n == 1 {
			h.first = append(h.first, kept)
		} else {
			h.ead = append(h.ead, kept)
		}
		if ask == nil {
			return edhoc.ErrUnknownEAD
		}
		return ask(n, item)
	}
	cfg.ConnectionID = h.reserve
	return &cfg, nil
}

// reserve chooses a connection identifier that no session and no other handshake
// here has: of one byte on the wire while there are some, then longer ones.
func (h *handshake) reserve(peer []byte) ([]byte, error) {
	e := h.e
	var room [4]byte
	e.mu.Lock()
	defer e.mu.Unlock()
	for try := range 64 {
		rand.Read(room[:])
		n := 1 + try/16
		id := room[:n]
		if n == 1 { // one of -24 to 23, which CBOR writes in its own byte
			if room[0] %= 48; room[0] >= 24 {
				room[0] += 0x20 - 24
			}
		}
		if bytes.Equal(id, peer) || e.sessions[string(id)] != nil || e.pending[string(id)] != nil {
			continue
		}
		h.id = string(id)
		e.pending[h.id] = h
		h.place = e.order.PushBack(h)
		h.since = e.now()
		return slices.Clone(id), nil
	}
	return nil, errors.New("coap: no connection identifier is free")
}

// limit is how long a handshake may take.
func (e *Endpoint) limit() time.Duration {
	if t := e.cfg.Limits.Timeout; t != 0 {
		return t
	}
	return 30 * time.Second
}

// expire forgets handshakes that took too long, and answered ones. It is called
// with the mutex held.
func (e *Endpoint) expire() {
	for p := e.order.Front(); p != nil; p = e.order.Front() {
		h := p.Value.(*handshake)
		if e.now()-h.since < e.limit() && e.order.Len() <= maxPending {
			return
		}
		e.drop(h)
	}
}

// maxPending bounds the handshakes that are remembered, half open or answered. The
// budget's limit of half open ones is far below.
const maxPending = 16384

// maxAnswered is how many handshakes that ended well are remembered, to answer their
// last message once more.
const maxAnswered = 64

// drop forgets a handshake. It is called with the mutex held.
func (e *Endpoint) drop(h *handshake) {
	if h.place != nil && e.pending[h.id] == h {
		e.order.Remove(h.place)
		delete(e.pending, h.id)
	}
	e.budget.End(h.ticket)
}

// over says that a handshake has ended: well, and then its peer proved who it is, or
// not.
func (h *handshake) over(well bool) {
	h.ended = true
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	if !well {
		h.e.drop(h)
		return
	}
	h.e.budget.Verified(h.ticket)
	if h.e.answered = append(h.e.answered, h); len(h.e.answered) > maxAnswered {
		h.e.drop(h.e.answered[0])
		h.e.answered = slices.Delete(h.e.answered, 0, 1)
	}
}

// session makes the session that a handshake ended in.
func (h *handshake) finish(done *edhoc.Session) error {
	defer done.Erase()
	o, err := done.OSCORE()
	if err != nil {
		return err
	}
	s := &Session{
		Protection: OSCORE, Peer: done.Peer, Initiator: done.Initiator, Method: done.Method, Suite: done.Suite,
		id: string(o.RecipientID), material: o,
	}
	s.CI, s.CR = done.ConnectionIDs()
	if s.osc, err = oscore.New(oscore.Params{
		MasterSecret: o.Secret, MasterSalt: o.Salt, SenderID: o.SenderID, RecipientID: o.RecipientID,
		AEAD: o.AEAD, Hash: o.Hash, Reserve: s.reserve,
	}); err != nil {
		return err
	}
	if h.e.cfg.Accept != nil {
		if err := h.e.cfg.Accept(s, h.ead); err != nil {
			return err
		}
	}
	if err := h.e.add(s); err != nil {
		return err
	}
	h.session = s
	if done.Confirmed() {
		return h.e.confirm(s)
	}
	return nil
}

// confirm says that a message under the keys of a session was verified. It is kept
// from then on, where sessions are.
func (e *Endpoint) confirm(s *Session) error {
	if s.confirmed.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.confirmed.Load() {
		return nil
	}
	if e.cfg.Keep != nil && s.Peer != nil {
		if err := e.cfg.Keep.begin(s); err != nil {
			return err
		}
	}
	if s.material != nil {
		clear(s.material.Secret)
		s.material = nil
	}
	s.message3 = nil
	s.confirmed.Store(true)
	return nil
}

// add adds a session; where there is no place, the one goes that was used longest ago.
func (e *Endpoint) add(s *Session) error {
	e.mu.Lock()
	var leaves *Session
	if e.sessions[s.id] != nil {
		e.mu.Unlock()
		return ErrFull
	}
	if len(e.sessions) >= e.cfg.Sessions {
		leaves = e.recent.Back().Value.(*Session)
		e.remove(leaves)
	}
	e.sessions[s.id] = s
	s.used = e.recent.PushFront(s)
	e.mu.Unlock()
	if leaves != nil {
		return leaves.unkeep()
	}
	return nil
}

// remove takes a session out of the table. It is called with the mutex held.
func (e *Endpoint) remove(s *Session) {
	if e.sessions[s.id] == s {
		delete(e.sessions, s.id)
		e.recent.Remove(s.used)
	}
	for o := range e.observers {
		if o.s == s {
			o.stop()
		}
	}
}

// Add adds a session whose keys are given by hand. Sequence and Reserve of p are the
// caller's care: a number must never be used twice.
func (e *Endpoint) Add(p oscore.Params) (*Session, error) {
	osc, err := oscore.New(p)
	if err != nil {
		return nil, err
	}
	s := &Session{Protection: OSCORE, osc: osc, id: string(osc.RecipientID())}
	s.confirmed.Store(true)
	return s, e.add(s)
}

// Remove ends a session, as when its peer is revoked, and erases what is kept of it.
func (e *Endpoint) Remove(s *Session) error {
	e.mu.Lock()
	e.remove(s)
	e.mu.Unlock()
	return s.unkeep()
}

// Sessions returns the sessions, the last used first.
func (e *Endpoint) Sessions() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*Session, 0, len(e.sessions))
	for p := e.recent.Front(); p != nil; p = p.Next() {
		all = append(all, p.Value.(*Session))
	}
	return all
}

// HalfOpen is how many handshakes of others have begun here and not ended.
func (e *Endpoint) HalfOpen() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.budget.HalfOpen()
}

func edhocAnswer(message []byte) *coap.Message {
	m := Response(coap.Changed, edhoc.ContentFormat, message)
	return &m
}

func edhocError(err error) *coap.Message {
	m := Response(coap.Code(edhoc.ResponseCode(err)), edhoc.ContentFormat, edhoc.AppendError(nil, err))
	return &m
}

// serveEDHOC answers a request to /.well-known/edhoc.
func (e *Endpoint) serveEDHOC(c *Conn, m *coap.Message) *coap.Message {
	if len(m.Payload) == 0 {
		return e.beginReverse(c)
	}
	begin, id, message, err := edhoc.SplitPrefixed(m.Payload)
	if err != nil {
		return &coap.Message{Code: coap.BadRequest}
	}
	if begin {
		return e.beginForward(c, message)
	}
	e.mu.Lock()
	h := e.pending[string(id)]
	e.mu.Unlock()
	if h == nil || h.peer != c.peer {
		return &coap.Message{Code: coap.BadRequest}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if answer, ok := h.repeat(message); ok {
		return edhocAnswer(answer)
	}
	if h.r != nil {
		return h.take3(message)
	}
	return h.take2(message)
}

func (h *handshake) repeat(message []byte) ([]byte, bool) {
	if h.r != nil {
		return h.r.Repeat(message)
	}
	if h.i != nil {
		return h.i.Repeat(message)
	}
	return nil, false
}

// admit asks the budget.
func (h *handshake) admit(c *Conn) *coap.Message {
	e := h.e
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	emergency := len(h.first) > 0 && e.cfg.Emergency != nil && e.cfg.Emergency(h.first)
	ticket, err := e.budget.Begin(c.peer, emergency, e.now())
	if err != nil {
		m := Response(coap.ServiceUnavailable, 0, nil)
		return &m
	}
	h.ticket = ticket
	return nil
}

// beginForward takes message_1 and answers with message_2. Reading costs nothing
// that counts; the budget is asked before what does.
func (e *Endpoint) beginForward(c *Conn, message1 []byte) *coap.Message {
	h := &handshake{e: e, peer: c.peer}
	cfg, err := h.config()
	if err != nil {
		return edhocError(err)
	}
	if h.r, err = edhoc.NewResponder(cfg); err != nil {
		return edhocError(err)
	}
	if err := h.r.Message1(message1); err != nil {
		return edhocError(err)
	}
	if refused := h.admit(c); refused != nil {
		return refused
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	message2, err := h.r.Message2(nil)
	if err != nil {
		h.over(false)
		return edhocError(err)
	}
	return edhocAnswer(message2)
}

// take3 takes message_3, and answers with message_4 or nothing.
func (h *handshake) take3(message3 []byte) *coap.Message {
	if h.ended {
		return &coap.Message{Code: coap.BadRequest}
	}
	err := h.r.Message3(message3)
	if errors.Is(err, edhoc.ErrState) {
		return &coap.Message{Code: coap.BadRequest}
	}
	if err != nil {
		h.over(false)
		return edhocError(err)
	}
	var message4 []byte
	if h.e.cfg.EDHOC.Message4 {
		if message4, err = h.r.Message4(nil); err != nil {
			h.over(false)
			return edhocError(err)
		}
	}
	done, err := h.r.Session()
	if err == nil {
		err = h.finish(done)
	}
	if err != nil {
		h.over(false)
		return edhocError(&edhoc.Error{Code: edhoc.Unspecified, Text: "refused", Err: err})
	}
	h.over(true)
	return edhocAnswer(message4)
}

// takeMessage3 takes the message_3 that came with a request. It is nil when the
// request may go on: the session is there, or there is none by that identifier.
func (e *Endpoint) takeMessage3(c *Conn, cR, message3 []byte) *coap.Message {
	e.mu.Lock()
	h := e.pending[string(cR)]
	e.mu.Unlock()
	if h == nil || h.peer != c.peer {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.r == nil {
		return &coap.Message{Code: coap.BadRequest}
	}
	if h.session != nil { // sent again, until there is an answer
		if _, ok := h.r.Repeat(message3); ok {
			return nil
		}
		return &coap.Message{Code: coap.BadRequest}
	}
	if answer := h.take3(message3); h.session == nil {
		return answer
	}
	return nil
}

// beginReverse answers an empty request with message_1 (RFC 9528 appendix A.2.2).
func (e *Endpoint) beginReverse(c *Conn) *coap.Message {
	h := &handshake{e: e, peer: c.peer}
	cfg, err := h.config()
	if err != nil {
		return edhocError(err)
	}
	if refused := h.admit(c); refused != nil {
		return refused
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.i, err = edhoc.NewInitiator(cfg, nil); err == nil {
		var message1 []byte
		if message1, err = h.i.Message1(nil); err == nil {
			return edhocAnswer(message1)
		}
	}
	h.over(false)
	return edhocError(err)
}

// take2 takes, of the reverse flow, message_2 and answers with message_3, or takes
// message_4.
func (h *handshake) take2(message []byte) *coap.Message {
	if h.ended {
		return &coap.Message{Code: coap.BadRequest}
	}
	fail := func(err error) *coap.Message {
		if errors.Is(err, edhoc.ErrState) {
			return &coap.Message{Code: coap.BadRequest}
		}
		h.over(false)
		return edhocError(err)
	}
	var message3 []byte
	if !h.got2 {
		if err := h.i.Message2(message); err != nil {
			return fail(err)
		}
		h.got2 = true
		var err error
		if message3, err = h.i.Message3(nil); err != nil {
			return fail(err)
		}
		if h.e.cfg.EDHOC.Message4 {
			return edhocAnswer(message3)
		}
	} else if err := h.i.Message4(message); err != nil {
		return fail(err)
	}
	done, err := h.i.Session()
	if err == nil {
		err = h.finish(done)
	}
	if err != nil {
		h.over(false)
		return edhocError(&edhoc.Error{Code: edhoc.Unspecified, Text: "refused", Err: err})
	}
	h.over(true)
	return edhocAnswer(message3)
}

// Handshake makes a session: this end is the Initiator, the peer the Responder. When
// the peer has none of the suites that were offered first, it begins once more. EAD
// goes into message_3, encrypted for the peer that was verified: a token for
// instance. The session is confirmed by message_4 or by the first answer in it.
func (c *Conn) Handshake(ctx context.Context, ead ...edhoc.EAD) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTransmitWait)
	defer cancel()
	s, err := c.handshake(ctx, ead)
	var wrong *edhoc.Error
	if errors.As(err, &wrong) && wrong.FromPeer && wrong.Code == edhoc.WrongSuite && ctx.Err() == nil {
		return c.handshake(ctx, ead)
	}
	return s, err
}

func (c *Conn) handshake(ctx context.Context, ead []edhoc.EAD) (_ *Session, err error) {
	e, h := c.e, &handshake{e: c.e, peer: c.peer}
	cfg, err := h.config()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.expire()
	learned := slices.Clone(e.suites.Learned(c.peer))
	e.suites.Begun(c.peer)
	e.mu.Unlock()
	i, err := edhoc.NewInitiator(cfg, learned)
	if err != nil {
		return nil, err
	}
	defer func() { h.over(false) }() // the session has the identifier by now, or it is free
	message1, err := i.Message1(nil)
	if err != nil {
		return nil, err
	}
	message2, err := c.post(ctx, edhoc.AppendStart(nil, message1))
	if err != nil {
		return nil, err
	}
	if err := i.Message2(message2); err != nil {
		var wrong *edhoc.Error
		if errors.As(err, &wrong) && wrong.FromPeer && wrong.Code == edhoc.WrongSuite {
			e.mu.Lock()
			refused := e.suites.Refused(c.peer, i, wrong)
			e.mu.Unlock()
			if refused != nil {
				return nil, errors.Join(refused, wrong.Err)
			}
		}
		return nil, err
	}
	message3, err := i.Message3(nil, ead...)
	if err != nil {
		return nil, err
	}
	together := e.cfg.Combined && !cfg.Message4
	if !together {
		_, cR := i.ConnectionIDs()
		message4, err := c.post(ctx, edhoc.AppendPrefixed(nil, cR, message3))
		if err != nil {
			return nil, err
		}
		if cfg.Message4 {
			if err := i.Message4(message4); err != nil {
				return nil, err
			}
		} else if len(message4) > 0 {
			return nil, fmt.Errorf("coap: message_3 was answered: %w", peerError(message4))
		}
	}
	done, err := i.Session()
	if err != nil {
		return nil, err
	}
	suite := done.Suite
	if err := h.finish(done); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.suites.Completed(c.peer, suite)
	e.mu.Unlock()
	if together {
		h.session.mu.Lock()
		h.session.message3 = message3
		h.session.mu.Unlock()
	}
	return h.session, nil
}

func peerError(b []byte) error {
	e, err := edhoc.ParseError(b)
	if err != nil {
		return err
	}
	return e
}

// HandshakeReverse makes a session: this end is the client and the Responder, the
// peer answers as the Initiator, whose identity is the better hidden (RFC 9528
// appendix A.2.2). EAD goes into message_2.
func (c *Conn) HandshakeReverse(ctx context.Context, ead ...edhoc.EAD) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTransmitWait)
	defer cancel()
	e, h := c.e, &handshake{e: c.e, peer: c.peer}
	cfg, err := h.config()
	if err != nil {
		return nil, err
	}
	r, err := edhoc.NewResponder(cfg)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.expire()
	e.mu.Unlock()
	defer func() { h.over(false) }()
	message1, err := c.post(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := r.Message1(message1); err != nil {
		return nil, err // there is no telling whom: C_I may be what is wrong
	}
	cI, _ := r.ConnectionIDs()
	message2, err := r.Message2(nil, ead...)
	if err != nil {
		return nil, c.tell(ctx, cI, err)
	}
	message3, err := c.post(ctx, edhoc.AppendPrefixed(nil, cI, message2))
	if err != nil {
		return nil, err
	}
	if err := r.Message3(message3); err != nil {
		return nil, c.tell(ctx, cI, err)
	}
	var message4 []byte
	if cfg.Message4 {
		if message4, err = r.Message4(nil); err != nil {
			return nil, err
		}
	}
	done, err := r.Session()
	if err != nil {
		return nil, err
	}
	if err := h.finish(done); err != nil {
		return nil, err
	}
	if cfg.Message4 {
		if _, err := c.post(ctx, edhoc.AppendPrefixed(nil, cI, message4)); err != nil {
			return nil, err
		}
	}
	return h.session, nil
}

// tell sends the peer the error message that belongs to err, and returns err.
func (c *Conn) tell(ctx context.Context, id []byte, err error) error {
	if b := edhoc.AppendError(nil, err); len(b) > 0 && ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, 2*c.e.cfg.AckTimeout)
		defer cancel()
		_, _ = c.post(ctx, edhoc.AppendPrefixed(nil, id, b))
	}
	return err
}

// post sends what belongs to a handshake, and returns what answers it: a message, an
// error message, or nothing.
func (c *Conn) post(ctx context.Context, payload []byte) ([]byte, error) {
	m := Request(coap.POST, edhoc.Path, edhoc.CIDContentFormat, payload)
	k, err := c.begin(ctx, &m)
	if err != nil {
		return nil, err
	}
	defer k.end()
	var answer *coap.Message
	if err := k.wait(ctx, func(a *coap.Message) bool {
		answer = a
		return a.Code.Class() == 2 || len(a.Payload) > 0
	}); err != nil {
		return nil, err
	}
	return answer.Payload, nil
}
