// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"slices"

	"github.com/myelin-health/myelin/proto/coap"
)

// Identify returns the OSCORE option of a message, by which a server finds the
// context of a request: kid and kid context. It is false when there is none.
func Identify(msg []byte) (coap.OSCORE, bool) {
	var m coap.Message
	if m.Parse(msg) != nil {
		return coap.OSCORE{}, false
	}
	return identify(&m)
}

func identify(m *coap.Message) (value coap.OSCORE, ok bool) {
	n := 0
	for o := range m.Options.All() {
		if o.Number == coap.OSCOREOption {
			n++
			ok = value.Parse(o.Value) == nil
		}
	}
	return value, ok && n == 1 && len(m.Payload) > 0
}

// UnprotectRequest appends the request that msg protects to dst and begins x,
// whose answers [Context.ProtectResponse] makes. dst and msg must not overlap.
// A number is marked as received when the request decrypted, never before.
//
// With [ErrUnproven] x is begun too, for [Context.AppendChallenge].
func (c *Context) UnprotectRequest(dst, msg []byte, x *Exchange) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || !m.Code.Request() {
		return dst, ErrOption
	}
	value, ok := identify(&m)
	if !ok || value.PartialIV == nil || value.KID == nil {
		return dst, ErrOption
	}
	return c.unprotectRequest(dst, &m, &value, x)
}

func (c *Context) unprotectRequest(dst []byte, m *coap.Message, value *coap.OSCORE, x *Exchange) ([]byte, error) {
	if !slices.Equal(value.KID, c.recipientID) || !c.called(value.KIDContext) {
		return dst, ErrContext
	}
	n := number(value.PartialIV)
	c.mu.Lock()
	fresh := c.recover != nil || c.window.fresh(n)
	c.mu.Unlock()
	if !fresh {
		return dst, ErrReplay
	}
	x.begin(value.KID, value.PartialIV)
	start := len(dst)
	dst, err := c.unprotect(dst, m, c.nonce(&x.nonceRoom, value.KID, value.PartialIV), x, nil)
	if err != nil {
		return dst, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recover != nil {
		if !c.recover(EchoOf(dst[start:])) {
			return dst[:start], ErrUnproven
		}
		c.recover = nil
		c.window.start(n)
		x.proven = true
		return dst, nil
	}
	if !c.window.fresh(n) { // the same request came twice at once
		return dst[:start], ErrReplay
	}
	c.window.receive(n)
	x.proven = true
	return dst, nil
}

// UnprotectResponse appends the response that msg protects to dst. msg answers
// the request of x: one answer is taken, and of notifications only newer ones,
// the one without a Partial IV being the oldest (RFC 8613 section 7.4.1). Their
// Observe option has the three lowest bytes of the Partial IV.
//
// A message that is refused changes nothing: an observation goes on, and must not
// be registered again because of it (section 8.4.2).
func (c *Context) UnprotectResponse(dst, msg []byte, x *Exchange) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || m.Code.Class() < 2 || m.Code.Class() > 5 {
		return dst, ErrMessage
	}
	value, ok := identify(&m)
	if !ok {
		return dst, ErrOption
	}
	if value.KID != nil && !slices.Equal(value.KID, c.recipientID) || !c.called(value.KIDContext) {
		return dst, ErrContext
	}
	kid, piv := x.request()
	order := uint64(0) // of an answer without a Partial IV
	nonce := c.nonce(&x.nonceRoom, kid, piv)
	if value.PartialIV != nil {
		order = number(value.PartialIV) + 1
		nonce = c.nonce(&x.nonceRoom, c.recipientID, value.PartialIV)
	}
	if x.answered || x.notified && order <= x.last {
		return dst, ErrReplay
	}
	observe := x.observe
	dst, err := c.unprotect(dst, &m, nonce, x, value.PartialIV)
	if err != nil {
		x.observe = observe
		return dst, err
	}
	if !c.answered.Load() {
		c.answered.Store(true)
	}
	if x.observe {
		x.notified, x.last = true, order
	} else {
		x.answered = true
	}
	return dst, nil
}

// unprotect decrypts the message in m and appends it, with the outer options
// that count, to dst. On an error dst comes back as it was.
func (c *Context) unprotect(dst []byte, m *coap.Message, nonce []byte, x *Exchange, notification []byte) ([]byte, error) {
	start := len(dst)
	var list [maxOutside]coap.Option
	outside, ok := outsiders(list[:0], m.Options)
	if !ok {
		return dst, ErrOption
	}
	// The plaintext is opened behind the place that the message will take, and
	// read there as a message of its own: three bytes before the code make its
	// header.
	room := 4 + len(m.Token) + len(m.Options) + len(m.Payload) + 16
	dst = slices.Grow(dst, room+len(m.Payload))
	at := start + room
	kid, piv := x.request()
	plain, err := c.open.Open(dst[at:at], nonce, m.Payload, c.aad(x.aadRoom[:0], kid, piv))
	if err != nil {
		c.failed.Add(1)
		return dst[:start], ErrDecrypt
	}
	if len(plain) == 0 {
		return dst[:start], ErrInner
	}
	whole := dst[at-3 : at+len(plain)]
	copy(whole, []byte{1<<6 | byte(coap.NonConfirmable)<<4, plain[0], 0, 0})
	var in coap.Message
	if err := in.Parse(whole); err != nil || in.Code.Request() != m.Code.Request() || in.Code.Class() > 5 {
		return dst[:start], ErrInner
	}
	head := coap.Message{Type: m.Type, Code: in.Code, ID: m.ID, Token: m.Token}
	if dst, err = head.Append(dst); err != nil {
		return dst[:start], ErrMessage
	}
	if dst, ok = x.merge(dst, outside, &in, notification); !ok {
		return dst[:start], ErrInner
	}
	if len(in.Payload) > 0 {
		dst = append(append(dst, 0xff), in.Payload...)
	}
	return dst, nil
}

// maxOutside is how many options may stand outside beside OSCORE's and Observe:
// of each of class U one.
const maxOutside = 6

// outsiders are the options outside that count. Those that belong inside are
// passed over, Observe among them: anybody may have put them there (RFC 8613
// sections 8.2, step 1, and 4.1.3.5).
func outsiders(list []coap.Option, os coap.Options) ([]coap.Option, bool) {
	for o := range os.All() {
		if o.Number == coap.OSCOREOption || classOf(o.Number)&inner != 0 {
			continue
		}
		if len(list) == maxOutside {
			return nil, false
		}
		list = append(list, o)
	}
	return list, true
}

// merge appends the inner options and those outside, in order, and learns from
// them whether an observation is asked for, or goes on. It is false when inside
// there is OSCORE again, an option that belongs outside, or a notification that
// was not asked for (RFC 8613 sections 4.1.3.7 and 4.1.3.5.2).
func (x *Exchange) merge(dst []byte, outside []coap.Option, in *coap.Message, notification []byte) ([]byte, bool) {
	last := coap.OptionNumber(0)
	add := func(o coap.Option) {
		dst = coap.AppendOption(dst, last, o)
		last = o.Number
	}
	asked := x.observe
	x.observe = false
	for o := range in.Options.All() {
		for len(outside) > 0 && outside[0].Number < o.Number {
			add(outside[0])
			outside = outside[1:]
		}
		switch {
		case o.Number == coap.OSCOREOption || classOf(o.Number)&inner == 0:
			return dst, false
		case o.Number != coap.Observe:
		case in.Code.Request():
			v, ok := o.Uint()
			x.observe = ok && v == 0
		case !asked:
			return dst, false
		default:
			x.observe = true
			o.Value = bytes.TrimLeft(notification[max(0, len(notification)-3):], "\x00")
		}
		add(o)
	}
	for _, o := range outside {
		add(o)
	}
	return dst, true
}
