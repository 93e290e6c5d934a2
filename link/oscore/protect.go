// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"net/url"
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
	observe  bool   // the request registers an observation that goes on
	answered bool   // of a server: the request's nonce was used; of a client: no other answer is waited for
	proven   bool   // the request is known to be no replay
	notified bool   // a notification was sent, or received: the request's nonce is not for any other
	last     uint64 // of a client: Partial IV of the newest notification, plus one; 0 when it had none

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

// Observe reports whether the request registered an observation (RFC 7641) that
// nothing has ended: more than one answer may come. A cancellation is an exchange
// of its own, and with the same token as the registration (RFC 7641 section 3.6):
// when it was answered, the caller forgets the exchange of the registration.
func (x *Exchange) Observe() bool { return x.observe }

// A class says where an option goes (RFC 8613 section 4.1).
type class uint8

const (
	inner class = 1 << iota // class E
	outer                   // class U
)

// classOf is RFC 8613 figure 5, with RFC 8768 and RFC 9668. What is not named
// there is encrypted (section 4.1), and so is what may stand on both sides where
// only a proxy would put it outside: Max-Age, the block options, No-Response
// (sections 4.1.3.1, 4.1.3.4 and 4.1.3.6), Echo and Request-Tag (RFC 9175).
func classOf(n coap.OptionNumber) class {
	switch n {
	case coap.URIHost, coap.URIPort, coap.ProxyURI, coap.ProxyScheme, coap.HopLimit, coap.EDHOC:
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
	code, observe := coap.POST, false
	for o := range m.Options.All() {
		switch o.Number {
		case coap.Observe:
			v, _ := o.Uint()
			code, observe = coap.FETCH, v == 0 // RFC 8613 section 4.1.3.5
		case coap.ProxyURI:
			all, ok := splitProxyURI(m.Options)
			if !ok {
				return dst, ErrMessage
			}
			m.Options = all
		}
	}
	*x = Exchange{kidSize: uint8(len(c.senderID)), observe: observe}
	copy(x.kid[:], c.senderID)
	piv, err := c.take(&x.piv)
	if err != nil {
		return dst, err
	}
	x.pivSize = uint8(len(piv))
	value := coap.OSCORE{PartialIV: piv, KID: c.senderID, KIDContext: c.kidContext()}
	return c.protect(dst, &m, code, &value, c.nonce(&x.nonceRoom, c.senderID, piv), x)
}

// ProtectResponse appends the protected form of msg, a response to the request
// of x, to dst. The first answer goes without a Partial IV, under the request's
// nonce; notifications, later answers and what answers a request that may be a
// replay take one of their own (RFC 8613 sections 8.3 and 8.3.1). An answer
// without the Observe option ends the observation: it declines the registration,
// or is the error that no notification follows (RFC 7641 section 4.2).
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
	if notification && !x.observe {
		return dst, ErrMessage // the client would not take it: RFC 8613 section 4.1.3.5.2
	}
	if notification || x.notified || x.answered || !x.proven {
		own, err := c.take(&x.ivRoom)
		if err != nil {
			return dst, err
		}
		value.PartialIV = own
		nonce = c.nonce(&x.nonceRoom, c.senderID, own)
	} else {
		x.answered = true
	}
	x.notified = x.notified || notification
	x.observe = notification
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
	c.sealed.Add(1)
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

// splitProxyURI puts what names the resource in Proxy-Uri into options of its
// own, which are encrypted, and leaves in it what a proxy needs (RFC 8613 section
// 4.1.3.3, RFC 7252 section 6.4). Beside Proxy-Uri the other Uri options would not
// count (RFC 7252 section 5.10.2): a message with both is refused, as is a value
// with a user, a fragment, or without a host.
func splitProxyURI(all coap.Options) (coap.Options, bool) {
	var list []coap.Option
	for o := range all.All() {
		switch o.Number {
		case coap.URIHost, coap.URIPort, coap.URIPath, coap.URIQuery, coap.ProxyScheme:
			return nil, false
		case coap.ProxyURI:
			scheme, rest, ok := bytes.Cut(o.Value, []byte("://"))
			at := bytes.IndexAny(rest, "/?")
			if at < 0 {
				at = len(rest)
			}
			authority, rest := rest[:at], rest[at:]
			if !ok || len(scheme) == 0 || len(authority) == 0 || bytes.IndexByte(authority, '@') >= 0 || bytes.IndexByte(o.Value, '#') >= 0 {
				return nil, false
			}
			path, query, asked := bytes.Cut(rest, []byte("?"))
			o.Value = o.Value[:len(o.Value)-len(rest)]
			list = append(list, o)
			if list, ok = appendParts(list, coap.URIPath, bytes.TrimPrefix(path, []byte("/")), "/", len(path) > 1); !ok {
				return nil, false
			}
			if list, ok = appendParts(list, coap.URIQuery, query, "&", asked); !ok {
				return nil, false
			}
		default:
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b coap.Option) int { return int(a.Number) - int(b.Number) })
	return withOptions(nil, nil, list...), true
}

// appendParts appends each part of s as an option with its percent-encoding
// undone, when there are any.
func appendParts(list []coap.Option, n coap.OptionNumber, s []byte, separator string, any bool) ([]coap.Option, bool) {
	if !any {
		return list, true
	}
	for part := range bytes.SplitSeq(s, []byte(separator)) {
		v, err := url.PathUnescape(string(part))
		if err != nil || len(v) > 255 {
			return nil, false
		}
		list = append(list, coap.Option{Number: n, Value: []byte(v)})
	}
	return list, true
}
