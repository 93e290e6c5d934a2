// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"errors"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// Content formats (RFC 7252 section 12.3).
const (
	formatLinks = 40
	formatCBOR  = 60
)

// commandFresh is how old a command may be.
const commandFresh = 10 * time.Second

const coreResource = `</therapy>;ct=60,</telemetry>;ct=60;obs,</raw>;ct=60;obs,</limits>;ct=60,</log>;ct=60,</authz-info>,</.well-known/edhoc>;rt="core.edhoc"`

// proven is what the channel gives to what is handled at all.
const proven = device.Encrypted | device.Authenticated

// Why something is refused, whoever asks.
var (
	errToken   = errors.New("no token: post one to /authz-info")
	errForm    = errors.New("not a request that is read here")
	errWakes   = errors.New("too many wake-ups: the device's battery is in a body; wait a minute")
	errStopped = errors.New("the guard is being stopped")
	errRecord  = errors.New("the guard cannot write down who asks; ask at the device itself")
	errSilent  = errors.New("the device did not answer: it may have done it, that counts as done, and nothing is sent again; look at the device")
	errRefused = errors.New("the device refused it")
)

// fresh is how long ago the sender of a request has to have shown that it is there.
func fresh(m *protocol.Message) time.Duration {
	if m.Code == protocol.POST && coap.Path(m) == "/therapy" {
		return commandFresh
	}
	return 0
}

// A resource is what is at a path.
type resource struct {
	open    bool
	methods map[protocol.Code]func(*Front, *request) protocol.Message
}

var resources map[string]resource

func init() {
	type methods = map[protocol.Code]func(*Front, *request) protocol.Message
	resources = map[string]resource{
		"/.well-known/core": {true, methods{protocol.GET: (*Front).core}},
		"/authz-info":       {false, methods{protocol.POST: (*Front).postToken, protocol.DELETE: (*Front).deleteToken}},
		"/therapy":          {false, methods{protocol.GET: (*Front).getTherapy, protocol.POST: (*Front).postTherapy}},
		"/telemetry":        {false, methods{protocol.GET: (*Front).getTelemetry}},
		"/raw":              {false, methods{protocol.GET: (*Front).getRaw}},
		"/limits":           {false, methods{protocol.GET: (*Front).getLimits}},
		"/log":              {false, methods{protocol.GET: (*Front).getLog}},
	}
}

// A request is a message with the session that it came in.
type request struct {
	*protocol.Message
	session *coap.Session
	from    *session
}

// accept begins a session for each of the channel's.
func (f *Front) accept(s *coap.Session, _ []edhoc.EAD) error {
	key := s.Peer.Key()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[s] = &session{actor: actorOf(key.Thumbprint()), key: key.Public()}
	if token := s.Token(); token != nil && s.Restored {
		f.kept[s] = token
	}
	return nil
}

// handle answers a request from outside.
func (f *Front) handle(s *coap.Session, m *protocol.Message) protocol.Message {
	if !f.begin() {
		return refusal(protocol.ServiceUnavailable, errStopped)
	}
	defer f.busy.Done()
	r, ok := resources[coap.Path(m)]
	q := &request{m, s, nil}
	switch {
	case s.Protection != coap.OSCORE && !r.open:
		return protocol.Message{Code: protocol.Unauthorized} // not reached: the endpoint refuses it
	case !ok:
		return protocol.Message{Code: protocol.NotFound}
	}
	h := r.methods[m.Code]
	if h == nil {
		return protocol.Message{Code: protocol.MethodNotAllowed}
	}
	if s.Protection == coap.OSCORE {
		if q.from = f.sessionOf(s); q.from == nil {
			return protocol.Message{Code: protocol.Unauthorized}
		}
	}
	return h(f, q)
}

// begin reports whether something new may begin, which the drain then waits for.
func (f *Front) begin() bool {
	f.quick.Lock()
	defer f.quick.Unlock()
	if f.draining {
		return false
	}
	f.busy.Add(1)
	return true
}

// sessionOf returns the front's session; a token from before a restart is looked at
// again when its holder comes.
func (f *Front) sessionOf(s *coap.Session) *session {
	f.quick.Lock()
	own := f.quickly[s]
	f.quick.Unlock()
	if own != nil {
		return own
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if own = f.sessions[s]; own == nil {
		return nil
	}
	if token := f.kept[s]; token != nil {
		delete(f.kept, s)
		_ = f.admit(own, token)
		f.tell()
	}
	f.quick.Lock()
	f.quickly[s] = own
	f.quick.Unlock()
	return own
}

func content(code protocol.Code, d therapy.Document) protocol.Message {
	return coap.Response(code, formatCBOR, d.Append(nil))
}

// refusal tells a peer who is proven why not.
func refusal(code protocol.Code, why error) protocol.Message {
	return content(code, therapy.Document{therapy.Why.Is(why.Error())})
}

// refused records that something was refused, and how.
func (f *Front) refused(from *session, operation string, why error) {
	p := f.policy()
	peer := device.Address{}
	if from != nil {
		peer = device.Address{Kind: device.Host, Value: from.actor}
	}
	f.env.Refused(&p.Settings, peer, operation, "", why.Error())
	e := entry{event: operation, verdict: "refused", why: why.Error()}
	if from != nil {
		e.actor = from.actor
	}
	f.note(e)
}

func (f *Front) core(*request) protocol.Message {
	return coap.Response(protocol.Content, formatLinks, []byte(coreResource))
}
