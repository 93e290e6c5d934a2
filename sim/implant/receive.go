// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// An observation is a registration for /telemetry (RFC 7641).
type observation struct {
	exchange oscore.Exchange
	token    []byte
	number   uint32
}

// A handshake is one that is half open.
type handshake struct {
	responder *edhoc.Responder
	ticket    uint64
	begun     time.Duration
}

// A Datagram is one message to a peer.
type Datagram struct {
	To    string
	Bytes []byte
}

// Receive appends the answer to a datagram to dst, and nothing when there is none. From
// names where it came from, in a way that the sender cannot choose freely. It takes what
// is protected with OSCORE, handshakes at /.well-known/edhoc, and what anybody may ask.
func (i *Implant) Receive(dst []byte, from string, datagram []byte) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	var m coap.Message
	if m.Parse(datagram) != nil || !m.Code.Request() {
		i.woke++
		return dst
	}
	if _, ok := m.Options.Get(coap.OSCOREOption); ok {
		return i.receiveProtected(dst, from, &m, datagram)
	}
	var a coap.Message
	if string(m.Options.AppendPath(nil)) == edhoc.Path && m.Code == coap.POST {
		i.woke++
		_ = i.tick()
		a = i.handshake(from, &m)
	} else {
		a = i.handle(nil, &m)
	}
	b, err := a.Append(dst)
	if err != nil {
		return dst
	}
	return b
}

func (i *Implant) receiveProtected(dst []byte, from string, m *coap.Message, datagram []byte) []byte {
	var x oscore.Exchange
	plain, ctx, err := i.peers.UnprotectRequest(nil, datagram, &x)
	if err != nil {
		i.woke++
		_ = i.tick()
		if errors.Is(err, oscore.ErrUnproven) {
			b, err := ctx.AppendChallenge(dst, datagram, i.echo.Append(nil, ctx, i.uptime()), &x)
			if err == nil {
				return b
			}
		}
		_ = i.refuse(&entry{event: "message", why: err.Error()})
		b, err := oscore.AppendError(dst, datagram, err)
		if err != nil {
			return dst
		}
		return b
	}
	s := i.session(ctx)
	var in coap.Message
	if s == nil || in.Parse(plain) != nil {
		return dst
	}
	s.from = from
	a := i.handle(s, &in)
	b, err := a.Append(nil)
	if err != nil {
		return dst
	}
	out, err := ctx.ProtectResponse(dst, b, &x)
	if err != nil {
		return dst
	}
	if s.observe != nil && slices.Equal(s.observe.token, in.Token) && x.Observe() {
		s.observe.exchange = x
	}
	return out
}

// session finds the session of a context; it is now the one that was idle shortest.
func (i *Implant) session(ctx *oscore.Context) *Session {
	n := slices.IndexFunc(i.sessions, func(s *Session) bool { return s.ctx == ctx })
	if n < 0 {
		return nil
	}
	s := i.sessions[n]
	i.sessions = append(slices.Delete(i.sessions, n, n+1), s)
	return s
}

// SessionOf returns the session of a security context, or nil.
func (i *Implant) SessionOf(ctx *oscore.Context) *Session {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.session(ctx)
}

// register begins or ends an observation, as a request for /telemetry asks.
func (s *Session) register(i *Implant, m, a *coap.Message) {
	o, ok := m.Options.Get(coap.Observe)
	n, valid := o.Uint()
	if !ok || !valid {
		return
	}
	if n != 0 {
		s.observe = nil
		return
	}
	s.observe = &observation{token: slices.Clone(m.Token)}
	a.Options = slices.Concat(coap.AppendOption(nil, 0, coap.Option{Number: coap.Observe}), restAfter(a.Options))
	i.shown = i.measured()
}

// restAfter is options again, written to follow Observe.
func restAfter(options coap.Options) (b coap.Options) {
	last := coap.Observe
	for o := range options.All() {
		b = coap.AppendOption(b, last, o)
		last = o.Number
	}
	return b
}

// measured numbers the measurements: one in five minutes.
func (i *Implant) measured() uint64 { return uint64(i.life() / bucket) }

// Notifications moves the therapy on, and returns what is to be sent to those who observe
// /telemetry, when it was measured anew.
func (i *Implant) Notifications() []Datagram {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = i.tick()
	if i.measured() == i.shown {
		return nil
	}
	i.shown = i.measured()
	var list []Datagram
	for _, s := range i.sessions {
		if s.observe == nil || s.held == nil || s.held.Left(i.instant()) == 0 {
			continue
		}
		s.observe.number++
		m := coap.Message{Type: coap.NonConfirmable, Code: coap.Content, ID: uint16(s.observe.number), Token: s.observe.token}
		m.Options = coap.AppendOption(m.Options, 0, coap.Option{Number: coap.Observe, Value: coap.AppendUint(nil, s.observe.number)})
		m.Options = coap.AppendOption(m.Options, coap.Observe, coap.Option{Number: coap.ContentFormat, Value: []byte{formatCBOR}})
		m.Payload = i.telemetry().append(nil)
		b, err := m.Append(nil)
		if err != nil {
			continue
		}
		if b, err = s.ctx.ProtectResponse(nil, b, &s.observe.exchange); err == nil {
			list = append(list, Datagram{s.from, b})
		}
	}
	return list
}

// handshake answers a message of EDHOC (RFC 9528 appendix A.2, the forward flow).
func (i *Implant) handshake(from string, m *coap.Message) coap.Message {
	if i.cfg.EDHOC == nil {
		return answer(m, coap.NotFound, nil)
	}
	begin, id, message, err := edhoc.SplitPrefixed(m.Payload)
	var out []byte
	switch {
	case err != nil:
	case begin:
		out, err = i.answerHello(from, message)
	default:
		out, err = i.finish(from, id, message)
	}
	if err != nil {
		_ = i.refuse(&entry{event: "handshake", why: err.Error()})
		return answer(m, coap.Code(edhoc.ResponseCode(err)), edhoc.AppendError(nil, err), edhocFormat)
	}
	return answer(m, coap.Changed, out, edhocFormat)
}

var edhocFormat = coap.Option{Number: coap.ContentFormat, Value: []byte{edhoc.ContentFormat}}

// answerHello answers message_1 with message_2.
func (i *Implant) answerHello(from string, message []byte) ([]byte, error) {
	ticket, err := i.budget.Begin(from, false, i.uptime())
	if err != nil {
		return nil, err
	}
	var own []byte
	cfg := &edhoc.Config{
		Methods: i.cfg.EDHOC.Methods, Suites: i.cfg.EDHOC.Suites, Own: i.cfg.EDHOC.Own, Peers: i.cfg.EDHOC.Peers,
		EAD: i.cfg.EDHOC.EAD, Message4: i.cfg.EDHOC.Message4, Random: i.cfg.EDHOC.Random,
		ConnectionID: func(peer []byte) ([]byte, error) {
			var err error
			own, err = i.connectionID(peer)
			return own, err
		},
	}
	r, err := edhoc.NewResponder(cfg)
	if err == nil {
		err = r.Message1(message)
	}
	var out []byte
	if err == nil {
		out, err = r.Message2(nil)
	}
	if err != nil {
		i.budget.End(ticket)
		return nil, err
	}
	for id, h := range i.halfOpen { // those that the budget no longer counts
		if i.uptime()-h.begun > handshakeWithin {
			delete(i.halfOpen, id)
		}
	}
	i.halfOpen[string(own)] = &handshake{r, ticket, i.uptime()}
	return out, nil
}

const handshakeWithin = 30 * time.Second

var (
	errNoHandshake = &edhoc.Error{Code: edhoc.Unspecified, Text: "no such handshake", Err: errors.New("implant: no handshake with this identifier")}
	errNoID        = errors.New("implant: no connection identifier is free")
)

// connectionID chooses one that no session and no handshake has: of one byte on the
// wire, as long as there are any.
func (i *Implant) connectionID(peer []byte) ([]byte, error) {
	var b [1]byte
	if _, err := io.ReadFull(i.cfg.Random, b[:]); err != nil {
		return nil, err
	}
	const small = 48 // CBOR integers of one byte: 0 to 23, -1 to -24
	for n := range small {
		c := byte((int(b[0]) + n) % small)
		if c >= 24 {
			c += 0x20 - 24
		}
		id := []byte{c}
		if _, half := i.halfOpen[string(id)]; !half && !slices.Equal(id, peer) && !i.peers.Taken(id) {
			return id, nil
		}
	}
	return nil, errNoID
}

// finish takes message_3, and opens a session.
func (i *Implant) finish(from string, id, message []byte) ([]byte, error) {
	h := i.halfOpen[string(id)]
	if h == nil {
		return nil, errNoHandshake
	}
	if out, ok := h.responder.Repeat(message); ok {
		return out, nil
	}
	if err := h.responder.Message3(message); err != nil {
		if !errors.Is(err, edhoc.ErrState) {
			i.budget.End(h.ticket)
			delete(i.halfOpen, string(id))
		}
		return nil, err
	}
	i.budget.Verified(h.ticket)
	delete(i.halfOpen, string(id))
	var out []byte
	if i.cfg.EDHOC.Message4 {
		var err error
		if out, err = h.responder.Message4(nil); err != nil {
			return nil, err
		}
	}
	session, err := h.responder.Session()
	if err != nil {
		return nil, err
	}
	defer session.Erase()
	o, err := session.OSCORE()
	if err != nil {
		return nil, err
	}
	key := session.Peer.Key()
	s, err := i.open(&key, oscore.Params{
		MasterSecret: o.Secret, MasterSalt: o.Salt, SenderID: o.SenderID, RecipientID: o.RecipientID, AEAD: o.AEAD, Hash: o.Hash,
	})
	if err != nil {
		return nil, err
	}
	s.from = from
	return out, nil
}
