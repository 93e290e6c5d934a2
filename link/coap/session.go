// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"container/list"
	"sync"
	"sync/atomic"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
)

// A Protection says what protects the messages of a [Session].
type Protection uint8

const (
	Unprotected Protection = iota // anybody may have sent them, and may read the answer
	OSCORE                        // end to end
)

// A Session is what a [Conn] has with a peer that proved who it is, or, in a
// handler of what is open to everybody, nothing of the kind: then Protection is
// Unprotected and the other fields are empty. Its fields are set before anybody
// else sees it, but for the token.
type Session struct {
	Protection Protection

	// Peer is the credential that the peer proved; nil where the keys were given by
	// hand ([Endpoint.Add]).
	Peer      *edhoc.Credential
	Initiator bool   // of the handshake: this end
	CI, CR    []byte // connection identifiers
	Method    edhoc.Method
	Suite     edhoc.Suite

	// Restored is set for a session of before a restart.
	Restored bool

	osc       *oscore.Context
	id        string // our recipient id
	confirmed atomic.Bool
	used      *list.Element // in Endpoint.recent

	mu       sync.Mutex // guards what follows
	message3 []byte     // to be sent with the next request
	token    []byte
	granted  uint64 // sequence numbers below it may have been used
	file     *sessionFile
	material *edhoc.OSCORE // until the session is stored
}

// Confirmed reports whether a message under the keys of the session was verified:
// the peer has them. Only then may a session be kept.
func (s *Session) Confirmed() bool { return s.confirmed.Load() }

// Token is what [Session.SetToken] set: the access token, as it came, that the
// peer may do things by. It is kept with the session.
func (s *Session) Token() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// SetToken sets the token. When the session is kept, it is durable on return.
func (s *Session) SetToken(token []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
	if s.file == nil {
		return nil
	}
	return s.file.save(s)
}

// reserve is what the OSCORE context asks before it uses numbers up to limit.
func (s *Session) reserve(limit uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		if err := s.file.reserve(limit); err != nil {
			return err
		}
	}
	s.granted = limit
	return nil
}
