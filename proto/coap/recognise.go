// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import "github.com/myelin-health/myelin/wire"

// Bounds of recognition.
const (
	recogniseBytes = 256 // bytes of a message that are looked at
	sureText       = 3   // bytes of printable option text that chance does not make
)

// RecogniseDatagram says how well b, a whole datagram, fits CoAP. The header
// alone says little, so a sure match is a message all of
// whose options are known and have a length that their definition allows, and
// which holds readable text or has the shape of OSCORE.
func RecogniseDatagram(b []byte) wire.Match {
	var m Message
	c := wire.NewCursor(name, b[:min(len(b), recogniseBytes)])
	m.parse(&c)
	if !c.Ok() && !(len(b) > recogniseBytes && len(m.Options) > 0) || !m.Code.Registered() {
		return wire.NoMatch
	}
	known, chars := readable(m.Options)
	switch {
	case !known:
		return wire.NoMatch
	case chars >= sureText:
		return wire.SureMatch
	case m.protected():
		return wire.SureMatch
	}
	return wire.WeakMatch
}

// protected reports whether m is shaped like an OSCORE message: RFC 8613
// section 4.2 has only POST, FETCH, 2.04 and 2.05 on the outside, the option
// parses, and the ciphertext has room for an authentication tag.
func (m *Message) protected() bool {
	if m.Code != POST && m.Code != FETCH && m.Code != Changed && m.Code != Content || len(m.Payload) < minTag {
		return false
	}
	o, ok := m.Options.Get(OSCOREOption)
	var v OSCORE
	return ok && len(o.Value) > 1 && v.Parse(o.Value) == nil
}

// minTag is the shortest authentication tag of the AEAD algorithms that OSCORE
// uses, in bytes (RFC 9053 section 4.2: AES-CCM-16-64-128).
const minTag = 8

// Protected reports whether m is protected end to end by OSCORE (RFC 8613):
// it has the option, and a payload that can hold the authentication tag.
func (m *Message) Protected() bool {
	_, ok := m.Options.Get(OSCOREOption)
	return ok && len(m.Payload) >= minTag
}

// readable reports whether each option is known and its text printable, and
// how much text there is.
func readable(os Options) (known bool, chars int) {
	for o := range os.All() {
		if !o.Known() {
			return false, 0
		}
		if o.Number.definition().format != text {
			continue
		}
		for _, x := range o.Value {
			if x < 0x20 || x == 0x7f {
				return false, 0
			}
			if x < 0x7f {
				chars++
			}
		}
	}
	return true, chars
}

// Recognise says how well b, the first bytes that one side sent, fits CoAP
// over TCP. Both sides begin with a Capabilities and Settings Message (RFC 8323
// section 5.3), which makes the match sure; later messages match weakly.
func Recognise(b []byte) wire.Match {
	var m Message
	c := wire.NewCursor(name, b[:min(len(b), recogniseBytes)])
	m.parseTCP(&c)
	switch {
	case len(b) < 2 || !c.Ok() && m.Code == CSM && len(b) < recogniseBytes:
		return wire.NeedMore
	case !c.Ok() || !m.Code.Registered():
		return wire.NoMatch
	case m.Code != CSM:
		if known, _ := readable(m.Options); !known || m.Code == Empty || m.Code.Class() == 7 {
			return wire.NoMatch
		}
		return wire.WeakMatch
	case len(m.Payload) > 0:
		return wire.NoMatch
	}
	options := 0
	for o := range m.Options.All() {
		if _, ok := o.Uint(); !ok || o.Number != MaxMessageSize && o.Number != BlockWiseTransfer {
			return wire.NoMatch
		}
		options++
	}
	if options == 0 {
		return wire.WeakMatch
	}
	return wire.SureMatch
}
