// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"errors"
	"slices"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A Responder is one handshake of the side that answers.
//
//	         Message1            Message2            Message3
//	start -----------> readM1 -----------> waitM3 -----------> completed
//	  |                  |                   |                    ^
//	  |                  |                   | Message3,          | Message4
//	  |                  |                   | message_4 is due   |
//	  |                  |                   +----> readM3 -------+
//	  | error            | error             | error, or | error
//	  v                  v                   v an error  v
//	  +----------------> failed <------------+ message --+
//
// A method called in another state returns [ErrState] and changes nothing. What
// failed has no keys left. One goroutine at a time may use it.
//
// Whoever may send message_1 makes a Responder do two scalar multiplications in
// Message2, three with a static key. Message1 does none; ask for proof of an address
// (RFC 9175) and a [Budget] between the two.
type Responder struct {
	party
}

// NewResponder makes ready for one message_1.
func NewResponder(cfg *Config) (*Responder, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Responder{party{cfg: cfg}}, nil
}

var (
	errMethod  = errors.New("method not allowed")
	errDoubled = errors.New("message twice in one")
	errPointX  = errors.New("G_X of the wrong length")
)

// Message1 reads message_1, and hands its EAD over. The answer to an error of
// [WrongSuite] is an error message that names the suites. It keeps nothing of b.
func (p *Responder) Message1(b []byte) error {
	if p.state != start {
		return ErrState
	}
	if len(b) > MaxMessage {
		return p.fail(textSyntax, errLong)
	}
	r, err := cbor.ParseSequence(b)
	if err != nil {
		return p.fail(textSyntax, err)
	}
	var room [maxSuites]Suite
	method := r.Int()
	offer := readSuites(&r, room[:0])
	gx := r.Bytes()
	cI := readIdentifier(&r)
	if r.Err() == nil && len(cI) > MaxConnectionID {
		r.Fail(errLong)
	}
	items := readEAD(&r, p.ead[:0])
	if half := len(b) / 2; r.Err() == nil && len(b)%2 == 0 && bytes.Equal(b[:half], b[half:]) {
		r.Fail(errDoubled) // its second half may pass for EAD
	}
	if err := r.Done(); err != nil {
		return p.fail(textSyntax, err)
	}

	if method < 0 || method > int64(DHDH) || !slices.Contains(p.cfg.Methods, Method(method)) {
		return p.fail(textMethod, errMethod)
	}
	p.method = Method(method)
	// RFC 9528 section 5.2.3: the selected suite is supported, and none before it.
	mine := p.cfg.usable(make([]Suite, 0, maxSuites), p.method, false)
	at := slices.IndexFunc(offer, func(s Suite) bool { return slices.Contains(mine, s) })
	if len(mine) == 0 {
		return p.fail(textMethod, errMethod)
	}
	if at != len(offer)-1 {
		return p.end(&Error{Code: WrongSuite, Suites: mine})
	}
	p.choose(offer[at])
	if len(gx) != p.suite.point() {
		return p.fail(textSyntax, errPointX)
	}
	copy(p.gx[:], gx)
	p.cI.set(cI)
	if err := p.handEAD(1, items); err != nil {
		return err
	}
	p.k.digest(p.th[:], b)
	p.taken(b)
	p.state = readM1
	return nil
}

// Message2 appends message_2 to dst. Its EAD is secret from a passive listener only.
// A G_X that is no proper point is found here.
func (p *Responder) Message2(dst []byte, ead ...EAD) ([]byte, error) {
	if p.state != readM1 {
		return nil, ErrState
	}
	at := len(dst)
	dst, err := p.message2(dst, ead)
	if err != nil {
		return nil, p.fail(textUnspecified, err)
	}
	p.answer = bytes.Clone(dst[at:])
	p.state = waitM3
	return dst, nil
}

func (p *Responder) message2(dst []byte, ead []EAD) ([]byte, error) {
	data, err := appendEAD(nil, ead)
	if err != nil {
		return nil, err
	}
	gy, err := p.newEphemeral()
	if err != nil {
		return nil, err
	}
	if err := p.newConnectionID(&p.cR, p.cI.bytes()); err != nil {
		return nil, err
	}
	n := copy(p.gy[:], gy)
	if err := p.begin2(p.gx[:n], gy); err != nil {
		return nil, err
	}
	// PLAINTEXT_2 = ( C_R, ID_CRED_R / bstr / -24..23, Signature_or_MAC_2, ? EAD_2 )
	plain := append(appendIdentifier(p.plain[:0], p.cR.bytes()), p.own.cred.wire...)
	if plain, err = p.prove(plain, 2, data); err != nil {
		return nil, err
	}
	p.plain = append(plain, data...)
	if len(p.plain) > MaxMessage-3-n {
		return nil, errLong
	}
	dst = append(cbor.AppendBytesHead(dst, n+len(p.plain)), gy...)
	dst = p.stream(dst, p.plain)
	p.nextTH(2, p.own.cred)
	return dst, nil
}

// Message3 takes message_3, or an error message. When it returns nil the Initiator is
// who Peer says, its EAD was handed over, and the session is to be had. It keeps
// nothing of b.
func (p *Responder) Message3(b []byte) error {
	if p.state != waitM3 {
		return ErrState
	}
	if err := p.received(b); err != nil {
		return err
	}
	body, err := readBytes(b)
	if err != nil {
		return p.fail(textSyntax, err)
	}
	plain, err := p.crypt(p.plain[:0], 3, body, true)
	if err != nil {
		return p.fail(textUnspecified, errors.Join(ErrVerification, err))
	}
	p.plain = plain
	r, err := cbor.ParseSequence(p.plain)
	if err != nil {
		return p.fail(textSyntax, err)
	}
	if err := p.authenticate(3, &r); err != nil {
		return err
	}
	p.nextTH(3, p.peer)
	p.finish()
	p.session.Confirm()
	p.taken(b)
	if p.cfg.Message4 {
		p.state = readM3
		return nil
	}
	p.state = completed
	p.wipe()
	return nil
}

// Message4 appends message_4 to dst, when that is part of the configuration.
func (p *Responder) Message4(dst []byte, ead ...EAD) ([]byte, error) {
	if p.state != readM3 {
		return nil, ErrState
	}
	at := len(dst)
	plain, err := appendEAD(p.plain[:0], ead)
	if err != nil {
		return nil, p.fail(textUnspecified, err)
	}
	p.plain = plain
	dst = cbor.AppendBytesHead(dst, len(plain)+p.suite.aead.TagSize())
	if dst, err = p.crypt(dst, 4, plain, false); err != nil {
		return nil, p.fail(textUnspecified, err)
	}
	p.answer = bytes.Clone(dst[at:])
	p.state = completed
	p.wipe()
	return dst, nil
}
