// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"
	"slices"
)

// MaxRemembered is for how many peers a [SuiteMemory] remembers suites.
const MaxRemembered = 1024

// ErrContradiction is returned for a SUITES_R that cannot be true: it names a suite
// that was offered and preferred, so that a Responder which has it would have had
// no reason to refuse, or none that is common. Somebody else wrote it.
var ErrContradiction = errors.New("edhoc: SUITES_R contradicts what was offered")

// A SuiteMemory is what an Initiator remembers of the suites of its Responders (RFC
// 9528 section 6.3.2), so that it does not begin each time with one that is
// refused. Error messages are not authenticated: what one says counts for one
// attempt, and is kept only when a handshake that used it was completed. It never
// shortens what is offered, so that a Responder finds out when it was misled. The
// zero value is ready. It is not for use by several goroutines at once.
type SuiteMemory struct {
	peers map[string]remembered
}

type remembered struct {
	proven  Suite   // of the last completed handshake
	has     bool    // proven counts
	claimed []Suite // of the last error message, until it is tried
}

// Learned is what to give [NewInitiator] for a peer.
func (m *SuiteMemory) Learned(peer string) []Suite {
	p, ok := m.peers[peer]
	switch {
	case !ok:
		return nil
	case p.claimed != nil:
		return p.claimed
	case p.has:
		return []Suite{p.proven}
	}
	return nil
}

// Refused takes the error that i's message_1 was answered with, of [WrongSuite]. It
// is [ErrContradiction] for suites that the Responder cannot have named, and
// [ErrNoSuite] when none is common: nothing is remembered then. The caller begins
// once more, and not more often.
func (m *SuiteMemory) Refused(peer string, i *Initiator, e *Error) error {
	all := i.offer[:i.usable]
	best := slices.IndexFunc(all, func(s Suite) bool { return slices.Contains(e.Suites, s) })
	switch {
	case best < 0:
		return ErrNoSuite
	case best == i.selected: // the best in common was selected: nothing was to be refused
		return ErrContradiction
	}
	m.set(peer, func(p *remembered) { p.claimed = e.Suites })
	return nil
}

// Begun says that message_1 has been made: a claim was used up.
func (m *SuiteMemory) Begun(peer string) {
	if p, ok := m.peers[peer]; ok {
		p.claimed = nil
		if m.peers[peer] = p; !p.has {
			delete(m.peers, peer)
		}
	}
}

// Completed says that a handshake with a suite was completed.
func (m *SuiteMemory) Completed(peer string, s Suite) {
	m.set(peer, func(p *remembered) { p.proven, p.has, p.claimed = s, true, nil })
}

// Forget forgets a peer, as when it or this side has got new suites.
func (m *SuiteMemory) Forget(peer string) { delete(m.peers, peer) }

func (m *SuiteMemory) set(peer string, f func(*remembered)) {
	if m.peers == nil {
		m.peers = make(map[string]remembered)
	}
	p, ok := m.peers[peer]
	if !ok && len(m.peers) >= MaxRemembered {
		for other := range m.peers { // any: it costs that peer a round trip
			delete(m.peers, other)
			break
		}
	}
	f(&p)
	m.peers[peer] = p
}
