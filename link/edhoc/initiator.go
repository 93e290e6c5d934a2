// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"errors"
	"slices"

	"github.com/myelin-health/myelin/internal/cbor"
)

// An Initiator is one handshake of the side that begins. Its identity is safe from
// active attackers, the Responder's from passive ones only (RFC 9528 section 9.1): the
// party whose identity is the more sensitive should be the Initiator.
//
//	         Message1            Message2            Message3
//	start -----------> waitM2 -----------> readM2 -----------> completed
//	  |                  |                   |                    ^
//	  |                  |                   | Message3,          | Message4
//	  |                  |                   | message_4 is due   |
//	  |                  |                   +----> waitM4 -------+
//	  | error            | error, or an      | error     | error, or an
//	  v                  v error message     v           v error message
//	  +----------------> failed <------------+-----------+
//
// A method called in another state returns [ErrState] and changes nothing. In
// completed an error message is nothing that anybody would hand in: it is not
// authenticated, and ends no session. What failed has no keys left. One goroutine
// at a time may use it.
type Initiator struct {
	party
	offer    [maxSuites]Suite // those there is a key for, by preference
	usable   int
	selected int
}

// ErrNoSuite is returned when no suite is common to both sides.
var ErrNoSuite = errors.New("edhoc: no suite in common")

// NewInitiator begins a handshake. Learned is what the peer is known to support: the
// Suites of the [Error] that it answered an earlier message_1 with, or a
// [SuiteMemory]'s; nil when nothing is known, and then the most preferred suite is
// selected.
func NewInitiator(cfg *Config, learned []Suite) (*Initiator, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	i := &Initiator{party: party{cfg: cfg, initiator: true, method: cfg.Methods[0]}}
	all := cfg.usable(i.offer[:0], i.method, true)
	if len(all) == 0 {
		return nil, badConfig("no key for this method and these suites")
	}
	// RFC 9528 section 5.2.2: the most preferred of what the peer has, and before it
	// all that are preferred, whatever was learned.
	i.usable = len(all)
	if learned != nil {
		i.selected = slices.IndexFunc(all, func(s Suite) bool { return slices.Contains(learned, s) })
		if i.selected < 0 {
			return nil, ErrNoSuite
		}
	}
	i.choose(all[i.selected])
	return i, nil
}

// Offer is SUITES_I: the suites by preference, up to the selected one.
func (i *Initiator) Offer() []Suite { return i.offer[: i.selected+1 : i.selected+1] }

// Message1 appends message_1 to dst. Its EAD is protected by nothing.
func (i *Initiator) Message1(dst []byte, ead ...EAD) ([]byte, error) {
	if i.state != start {
		return nil, ErrState
	}
	gx, err := i.newEphemeral()
	if err == nil {
		err = i.newConnectionID(&i.cI, nil)
	}
	if err != nil {
		return nil, i.fail(textUnspecified, err)
	}
	copy(i.gx[:], gx)

	at := len(dst)
	dst = cbor.AppendUint(dst, uint64(i.method))
	dst = appendSuites(dst, i.Offer())
	dst = cbor.AppendBytes(dst, gx)
	dst = appendIdentifier(dst, i.cI.bytes())
	if dst, err = appendEAD(dst, ead); err != nil {
		return nil, i.fail(textUnspecified, err)
	}
	if len(dst)-at > MaxMessage {
		return nil, i.fail(textUnspecified, errLong)
	}
	i.k.digest(i.th[:], dst[at:])
	i.state = waitM2
	return dst, nil
}

// Message2 takes message_2, or an error message: then the error is an [Error] with
// FromPeer set. When it returns nil the Responder is who [Peer] says, and its EAD
// was handed over. It keeps nothing of b.
func (i *Initiator) Message2(b []byte) error {
	if i.state != waitM2 {
		return ErrState
	}
	if err := i.received(b); err != nil {
		return err
	}
	body, err := readBytes(b)
	n := i.suite.point()
	if err == nil && len(body) <= n {
		err = cbor.ErrTruncated
	}
	if err != nil {
		return i.fail(textSyntax, err)
	}
	gx, gy := i.gx[:n], i.gy[:n]
	copy(gy, body)
	if bytes.Equal(gx, gy) {
		return i.fail(textUnspecified, ErrReflected)
	}
	if err := i.begin2(gx, gy); err != nil {
		return i.fail(textUnspecified, err)
	}
	i.plain = i.stream(i.plain[:0], body[n:])

	r, err := cbor.ParseSequence(i.plain)
	if err != nil {
		return i.fail(textUnspecified, err)
	}
	cR := readIdentifier(&r)
	if r.Err() == nil && len(cR) > MaxConnectionID {
		r.Fail(errLong)
	}
	if r.Err() == nil && bytes.Equal(cR, i.cI.bytes()) {
		return i.fail(textUnspecified, errSameID) // RFC 9528 section 3.3.3
	}
	if err := r.Err(); err != nil {
		return i.fail(textUnspecified, err)
	}
	i.cR.set(cR)
	if err := i.authenticate(2, &r); err != nil {
		return err
	}
	i.nextTH(2, i.peer)
	i.taken(b)
	i.state = readM2
	return nil
}

var errSameID = errors.New("both sides have one connection identifier")

// Peer is the verified credential of the other side, nil before there is one.
func (p *party) Peer() *Credential { return p.peer }

// Message3 appends message_3 to dst. Its EAD reaches the peer that was verified, and
// nobody else.
func (i *Initiator) Message3(dst []byte, ead ...EAD) ([]byte, error) {
	if i.state != readM2 {
		return nil, ErrState
	}
	at := len(dst)
	dst, err := i.message3(dst, ead)
	if err != nil {
		return nil, i.fail(textUnspecified, err)
	}
	i.answer = bytes.Clone(dst[at:])
	return dst, nil
}

func (i *Initiator) message3(dst []byte, ead []EAD) ([]byte, error) {
	data, err := appendEAD(nil, ead)
	if err != nil {
		return nil, err
	}
	// PLAINTEXT_3 = ( ID_CRED_I / bstr / -24..23, Signature_or_MAC_3, ? EAD_3 )
	th2 := i.plain // TH_3 has it by now
	plain := append(th2[:0], i.own.cred.wire...)
	if plain, err = i.prove(plain, 3, data); err != nil {
		return nil, err
	}
	i.plain = append(plain, data...)
	size := len(i.plain) + i.suite.aead.TagSize()
	if size > MaxMessage-3 {
		return nil, errLong
	}
	dst = cbor.AppendBytesHead(dst, size)
	if dst, err = i.crypt(dst, 3, i.plain, false); err != nil {
		return nil, err
	}
	i.nextTH(3, i.own.cred)
	i.finish()
	if i.cfg.Message4 {
		i.state = waitM4
		return dst, nil
	}
	i.state = completed
	i.wipe()
	return dst, nil
}

// Message4 takes message_4, or an error message. When it returns nil the session is
// confirmed.
func (i *Initiator) Message4(b []byte) error {
	if i.state != waitM4 {
		return ErrState
	}
	if err := i.received(b); err != nil {
		return err
	}
	body, err := readBytes(b)
	if err != nil {
		return i.fail(textSyntax, err)
	}
	plain, err := i.crypt(i.plain[:0], 4, body, true)
	if err != nil {
		return i.fail(textUnspecified, errors.Join(ErrVerification, err))
	}
	i.plain = plain
	r, err := cbor.ParseSequence(plain)
	if err != nil {
		return i.fail(textSyntax, err)
	}
	items := readEAD(&r, i.ead[:0])
	if err := r.Done(); err != nil {
		return i.fail(textSyntax, err)
	}
	if err := i.handEAD(4, items); err != nil {
		return err
	}
	i.session.Confirm()
	i.taken(b)
	i.state = completed
	i.wipe()
	return nil
}

// Abort ends the handshake for a reason of the application's, and returns the error to
// send. In completed it is [ErrState]: nothing is at hand to be ended.
func (p *party) Abort(text string) error {
	if p.state == completed || p.state == failed {
		return ErrState
	}
	return p.fail(text, errAborted)
}

var errAborted = errors.New("ended by the application")
