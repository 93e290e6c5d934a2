// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"slices"

	"github.com/myelin-health/myelin/proto/coap"
)

// An Exchange is what ties the answers of a request to it (RFC 8613 section
// 8.1 and 8.2). Its zero value is ready; it is for one goroutine at a time, and
// may be used again for the next request. It holds no keys.
type Exchange struct {
	kid      [maxID]byte
	piv      [coap.MaxPartialIV]byte
	kidSize  uint8
	pivSize  uint8
	observe  bool   // the request registers, or goes on with, an observation
	answered bool   // the request's nonce was used by an answer
	proven   bool   // the request is known to be no replay
	notified bool   // last is that of a notification
	last     uint64 // Partial IV of the newest notification

	nonceRoom [maxNonce]byte
	aadRoom   [64]byte
	ivRoom    [coap.MaxPartialIV]byte
}

func (x *Exchange) begin(kid, piv []byte) {
	*x = Exchange{kidSize: uint8(len(kid)), pivSize: uint8(len(piv))}
	copy(x.kid[:], kid)
	copy(x.piv[:], piv)
}

func (x *Exchange) request() (kid, piv []byte) { return x.kid[:x.kidSize], x.piv[:x.pivSize] }

// Observe reports whether the request registered, or goes on with, an
// observation (RFC 7641): more than one answer may come.
func (x *Exchange) Observe() bool { return x.observe }

// A class says where an option goes (RFC 8613 section 4.1).
type class uint8

const (
	inner class = 1 << iota // class E
	outer                   // class U
)

// classOf is RFC 8613 figure 5, with RFC 8768 and RFC 9668. What is not named
// there is encrypted.
func classOf(n coap.OptionNumber) class {
	switch n {
	case coap.URIHost, coap.URIPort, coap.ProxyScheme, coap.HopLimit, coap.EDHOC:
		return outer
	case coap.Observe:
		return inner | outer
	}
	return inner
}

// ProtectRequest appends the protected form of msg, a request as a datagram, to
// dst and begins x. dst and msg must not overlap.
func (c *Context) ProtectRequest(dst, msg []byte, x *Exchange) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || !m.Code.Request() {
		return dst, ErrMessage
	}
	*x = Exchange{kidSize: uint8(len(c.senderID))}
	copy(x.kid[:], c.senderID)
	piv, err := c.take(&x.piv)
	if err != nil {
		return dst, err
	}
	x.pivSize = uint8(len(piv))
	if o, ok := m.Options.Get(coap.Observe); ok {
		v, _ := o.Uint()
		x.observe = v == 0
	}
	code := coap.POST
	if _, ok := m.Options.Get(coap.Observe); ok {
		code = coap.FETCH // RFC 8613 section 4.2
	}
	value := coap.OSCORE{PartialIV: piv, KID: c.senderID, KIDContext: c.idContext}
	return c.protect(dst, &m, code, &value, c.nonce(&x.nonceRoom, c.senderID, piv), x)
}

// ProtectResponse appends the protected form of msg, a response to the request
// of x, to dst. The first answer goes without a Partial IV, under the request's
// nonce; notifications, later answers and what answers a request that may be a
// replay take one of their own (RFC 8613 section 8.3).
func (c *Context) ProtectResponse(dst, msg []byte, x *Exchange) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || m.Code.Class() < 2 || m.Code.Class() > 5 {
		return dst, ErrMessage
	}
	code := coap.Changed
	_, notification := m.Options.Get(coap.Observe)
	if notification {
		code = coap.Content
	}
	kid, piv := x.request()
	var value coap.OSCORE
	nonce := c.nonce(&x.nonceRoom, kid, piv)
	if notification || x.answered || !x.proven {
		own, err := c.take(&x.ivRoom)
		if err != nil {
			return dst, err
		}
		value.PartialIV = own
		nonce = c.nonce(&x.nonceRoom, c.senderID, own)
	} else {
		x.answered = true
	}
	return c.protect(dst, &m, code, &value, nonce, x)
}

// protect writes header, outer options and, encrypted in its place, the inner
// message. On an error dst comes back as it was.
func (c *Context) protect(dst []byte, m *coap.Message, code coap.Code, value *coap.OSCORE, nonce []byte, x *Exchange) ([]byte, error) {
	start := len(dst)
	// Nothing is longer than it was, but for the code, the OSCORE option, the
	// marker and the tag.
	dst = slices.Grow(dst, 4+len(m.Token)+2*len(m.Options)+len(m.Payload)+64+len(value.KIDContext))
	head := coap.Message{Type: m.Type, Code: code, ID: m.ID, Token: m.Token}
	dst, err := head.Append(dst)
	if err != nil {
		return dst[:start], ErrMessage
	}
	if dst, err = appendOuter(dst, m.Options, value); err != nil {
		return dst[:start], ErrMessage
	}
	dst = append(dst, 0xff)
	at := len(dst)
	dst = append(dst, byte(m.Code))
	dst = appendInner(dst, m)
	if len(m.Payload) > 0 {
		dst = append(append(dst, 0xff), m.Payload...)
	}
	kid, piv := x.request()
	return c.seal.Seal(dst[:at], nonce, dst[at:], c.aad(x.aadRoom[:0], kid, piv)), nil
}

// appendOuter appends what everybody may read, with the OSCORE option among it.
func appendOuter(dst []byte, all coap.Options, value *coap.OSCORE) ([]byte, error) {
	var room [1 + coap.MaxPartialIV + 1 + 255 + maxID]byte
	v, err := value.Append(room[:0])
	if err != nil {
		return dst, err
	}
	last, done := coap.OptionNumber(0), false
	add := func(o coap.Option) {
		dst = coap.AppendOption(dst, last, o)
		last = o.Number
	}
	for o := range all.All() {
		if o.Number == coap.OSCOREOption {
			return dst, ErrMessage // RFC 8613 section 4.1: one layer at an endpoint
		}
		if o.Number > coap.OSCOREOption && !done {
			done = true
			add(coap.Option{Number: coap.OSCOREOption, Value: v})
		}
		if classOf(o.Number)&outer != 0 {
			add(o)
		}
	}
	if !done {
		add(coap.Option{Number: coap.OSCOREOption, Value: v})
	}
	return dst, nil
}

// appendInner appends what only the peer may read.
func appendInner(dst []byte, m *coap.Message) []byte {
	last := coap.OptionNumber(0)
	for o := range m.Options.All() {
		if classOf(o.Number)&inner == 0 {
			continue
		}
		if o.Number == coap.Observe && !m.Code.Request() {
			o.Value = nil // RFC 8613 section 4.1.3.5.2
		}
		dst = coap.AppendOption(dst, last, o)
		last = o.Number
	}
	return dst
}
