// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"errors"
	"math"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cwt"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// postToken takes a token. Why one is refused stands in the log, and is not told.
func (f *Front) postToken(q *request) protocol.Message {
	f.mu.Lock()
	err := f.admit(q.from, q.Payload)
	f.tell()
	f.mu.Unlock()
	if err != nil {
		f.refused(q.from, "token", err)
		return protocol.Message{Code: protocol.Unauthorized}
	}
	_ = q.session.SetToken(q.Payload) // what is not kept is posted again
	return protocol.Message{Code: protocol.Created}
}

// admit lets the holder of a token in.
func (f *Front) admit(s *session, token []byte) error {
	now := f.instant()
	c, cerr := cwt.ParseToken(token)
	held, err := f.door.Admit(&cwt.Attempt{Token: token, Peer: &s.key, Device: f.policy().Device, Now: now})
	if err != nil {
		if cerr == nil && c.Emergency != nil {
			f.emergency(s.key.Thumbprint(), c.Serial, 0, event.Failed, "refused: "+err.Error())
		}
		return err
	}
	f.release(s)
	s.held = held
	f.entitle(s)
	f.note(entry{event: "token", actor: s.actor, role: held.Token.Grant.Role, verdict: "accepted"})
	return nil
}

// release lets go of a session's token. The window of a break-glass token stays open.
func (f *Front) release(s *session) {
	if s.held != nil && s.held.Token.Emergency == nil {
		_ = s.held.Close(0, f.instant()) // it has nothing to record
	}
	s.held = nil
	f.entitle(s)
}

// entitle brings what a rescue looks at up to what holds.
func (f *Front) entitle(s *session) {
	if s.held == nil {
		s.may.Store(nil)
		return
	}
	left := s.held.Left(f.instant())
	until := time.Duration(math.MaxInt64)
	if left < until-f.uptime() {
		until = f.uptime() + left
	}
	s.may.Store(&entitled{s.held.Token.Grant, s.held.Token.Emergency != nil, until})
}

// deleteToken gives a token back; the payload is the number of a [cwt.Reason], which a
// break-glass session does not end without.
func (f *Front) deleteToken(q *request) protocol.Message {
	why := cwt.Reason(0)
	if len(q.Payload) > 0 {
		r, err := cbor.Parse(q.Payload)
		n := r.Uint()
		if err != nil || r.Done() != nil || n > math.MaxUint8 {
			return refusal(protocol.BadRequest, errForm)
		}
		why = cwt.Reason(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := q.from
	if s.held == nil {
		return protocol.Message{Code: protocol.NotFound}
	}
	err := s.held.Close(why, f.instant())
	if err != nil && errors.Is(err, cwt.ErrReason) {
		return refusal(protocol.BadRequest, err)
	}
	s.held = nil
	for _, o := range f.sessions { // others of the same window
		f.entitle(o)
	}
	f.tell()
	f.note(entry{event: "token", actor: s.actor, verdict: "ended", why: why.String()})
	_ = q.session.SetToken(nil)
	return protocol.Message{Code: protocol.Deleted}
}
