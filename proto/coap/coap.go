// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package coap reads and writes messages of the Constrained Application
// Protocol: RFC 7252 over datagrams ([Message.Parse], [Message.Append]) and
// RFC 8323 over TCP ([Message.ParseTCP], [Message.AppendTCP]); the options of
// RFC 7252 section 5.10 and of RFC 7641, 7959, 7967, 8613, 8768, 9175, 9177 and
// 9668 ([OptionNumber]), block-wise transfer's numbers ([Block]) and the OSCORE
// option ([OSCORE]).
//
// The encoding is one to one: of each message there is exactly one form, so
// what was parsed and appended again is the same bytes. Parsing copies and
// allocates nothing; appending allocates only to grow the destination.
//
// It leaves out retransmission, matching of answers, encryption, CoAP over
// WebSockets, and the extended tokens of RFC 8974, which exist only between
// peers that agreed on them.
//
// This API is stable.
package coap

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

const name = "coap"

// A Type is the message type of a datagram (RFC 7252 section 3).
type Type uint8

// The types.
const (
	Confirmable Type = iota
	NonConfirmable
	Acknowledgement
	Reset
)

// MaxToken is the longest token in bytes (RFC 7252 section 3).
const MaxToken = 8

// MaxTCPMessage is the largest message that [Message.ParseTCP] accepts, in
// bytes after the token. The format allows 4 GiB; an answer that a constrained
// device can hold is some kilobytes.
const MaxTCPMessage = 1 << 20

// payloadMarker ends the options (RFC 7252 section 3).
const payloadMarker = 0xff

// A Message is one CoAP message.
type Message struct {
	Type    Type // of a datagram; TCP has none
	Code    Code
	ID      uint16  // Message ID of a datagram; TCP has none
	Token   []byte  // at most MaxToken bytes
	Options Options // encoded, in ascending order
	Payload []byte  // nil when there is none: an empty payload cannot be written
}

// Parse reads the one message that b, a whole datagram, is. The slices of m
// alias b. On an error m holds what was read before it, so that it can be shown.
func (m *Message) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	m.parse(&c)
	return c.Err()
}

func (m *Message) parse(c *wire.Cursor) {
	*m = Message{}
	h := c.Uint8("Ver|T|TKL") // RFC 7252 section 3
	if h>>6 != 1 && c.Ok() {
		c.FailAt("Ver", 0, wire.ErrReserved)
	}
	m.Type = Type(h >> 4 & 3)
	m.Code = Code(c.Uint8("Code"))
	m.ID = c.Uint16("Message ID")
	if c.Ok() && !m.Code.fits(m.Type) {
		c.FailAt("Code", 1, wire.ErrInvalid)
	}
	m.parseToken(c, h&0x0f)
	if m.Code == Empty && (len(m.Token) > 0 || c.Len() > 0) {
		c.Fail("Code", wire.ErrTrailing) // RFC 7252 section 4.1: nothing may follow an Empty message's ID
	}
	m.parseBody(c, wire.ErrTruncated)
}

func (m *Message) parseToken(c *wire.Cursor, tkl uint8) {
	if tkl > MaxToken {
		c.FailAt("TKL", 0, wire.ErrReserved) // RFC 7252 section 3: 9 to 15 are a format error
	}
	m.Token = c.Bytes("Token", int(tkl))
}

// parseBody reads options and payload, which are all that is left; beyond is
// what is wrong when they go on after it.
func (m *Message) parseBody(c *wire.Cursor, beyond error) {
	start := c.Off()
	b := c.Rest()
	number, n := 0, 0
	for n < len(b) && b[n] != payloadMarker { // an option has at least one byte: ends after len(b) turns
		o, size, field, err := parseOption(b[n:], number)
		if err == wire.ErrTruncated {
			err = beyond
		}
		if err != nil {
			c.FailAt(field, start+n+size, err)
			break
		}
		number, n = int(o.Number), n+size
	}
	m.Options = Options(b[:n:n])
	if !c.Ok() {
		return
	}
	if n == len(b) {
		return
	}
	if n+1 == len(b) {
		c.FailAt("Payload", start+n+1, beyond) // RFC 7252 section 3: a marker before nothing is a format error
		return
	}
	m.Payload = b[n+1:]
}

// Append writes m as a datagram after dst. What [Message.Parse] would refuse is
// an error, and then dst is returned as it came.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if err := m.check(m.Code.fits(m.Type) && m.Type <= Reset); err != nil {
		return dst, err
	}
	dst = append(dst, 1<<6|uint8(m.Type)<<4|uint8(len(m.Token)), uint8(m.Code))
	dst = binary.BigEndian.AppendUint16(dst, m.ID)
	return m.appendBody(append(dst, m.Token...)), nil
}

func (m *Message) appendBody(dst []byte) []byte {
	dst = append(dst, m.Options...)
	if len(m.Payload) > 0 {
		dst = append(append(dst, payloadMarker), m.Payload...)
	}
	return dst
}

// check says what cannot be written; fits is whether the transport can carry the code.
func (m *Message) check(fits bool) error {
	c := wire.NewCursor(name, m.Options)
	switch {
	case !fits:
		c.Fail("Code", wire.ErrInvalid)
	case len(m.Token) > MaxToken:
		c.Fail("Token", wire.ErrTooLong)
	case m.Code == Empty && len(m.Token)+len(m.Options)+len(m.Payload) > 0:
		c.Fail("Code", wire.ErrTrailing)
	}
	var options Message
	options.parseBody(&c, wire.ErrTruncated)
	if len(options.Options) < len(m.Options) {
		c.Fail("Options", wire.ErrInvalid) // a payload marker among the options
	}
	return c.Err()
}

// ParseTCP reads the message at the front of a TCP stream and says how many
// bytes it took. The slices of m alias b. When b ends before the message does
// the error wraps [wire.ErrTruncated].
func (m *Message) ParseTCP(b []byte) (int, error) {
	c := wire.NewCursor(name, b)
	m.parseTCP(&c)
	if !c.Ok() {
		return 0, c.Err()
	}
	return c.Off(), nil
}

func (m *Message) parseTCP(c *wire.Cursor) {
	*m = Message{}
	h := c.Uint8("Len|TKL") // RFC 8323 section 3.2
	n := int(h >> 4)
	switch n {
	case 13:
		n += int(c.Uint8("Extended Length"))
	case 14:
		n = 269 + int(c.Uint16("Extended Length"))
	case 15:
		n = 65805 + int(c.Uint32("Extended Length"))
	}
	if n > MaxTCPMessage {
		c.FailAt("Extended Length", 1, wire.ErrTooLong)
	}
	at := c.Off()
	m.Code = Code(c.Uint8("Code"))
	if class := m.Code.Class(); c.Ok() && (class == 1 || class == 6) {
		c.FailAt("Code", at, wire.ErrReserved)
	}
	m.parseToken(c, h&0x0f)
	if m.Code == Empty && len(m.Token)+n > 0 {
		c.Fail("Code", wire.ErrTrailing)
	}
	body := c.Sub("Options", n)
	if !c.Ok() {
		return
	}
	// The message is whole: waiting for more would not mend it.
	m.parseBody(&body, wire.ErrInvalid)
	c.Join(&body)
}

// AppendTCP writes m in the form of [Message.ParseTCP] after dst. Type and ID
// have no place in it. What ParseTCP would refuse is an error.
func (m *Message) AppendTCP(dst []byte) ([]byte, error) {
	class := m.Code.Class()
	if err := m.check(class != 1 && class != 6); err != nil {
		return dst, err
	}
	n := len(m.Options)
	if len(m.Payload) > 0 {
		n += 1 + len(m.Payload)
	}
	tkl := uint8(len(m.Token))
	switch {
	case n > MaxTCPMessage:
		return dst, &wire.SyntaxError{Proto: name, Field: "Extended Length", Off: 1, Err: wire.ErrTooLong}
	case n < 13:
		dst = append(dst, uint8(n)<<4|tkl)
	case n < 269:
		dst = append(dst, 13<<4|tkl, uint8(n-13))
	case n < 65805:
		dst = binary.BigEndian.AppendUint16(append(dst, 14<<4|tkl), uint16(n-269))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 15<<4|tkl), uint32(n-65805))
	}
	dst = append(append(dst, uint8(m.Code)), m.Token...)
	return m.appendBody(dst), nil
}
