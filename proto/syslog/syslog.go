// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package syslog reads the headers of syslog messages: RFC 5424 (section 6),
// and what RFC 3164 (section 4) found in use before it; over UDP, where a
// datagram is a message (RFC 5426), and over TCP, where messages are counted or
// end with a line feed (RFC 6587 section 3.4, RFC 5425 section 4.3).
//
// What a device logs is free text and may be about a patient: this package
// says where it stands and does not look into it.
//
// This API is stable.
package syslog

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

const name = "syslog"

// Bounds in bytes.
const (
	MaxMessage = 1 << 16 // of a framed message; RFC 5425 section 4.3.1 asks for 8192
	maxCount   = 5       // digits of MaxMessage
)

// Bounds of RFC 5424 section 6.
const (
	maxPriority = 191 // facility 23, severity 7
	maxHostname = 255
	maxAppName  = 48
	maxProcID   = 128
	maxMsgID    = 32
	maxSDName   = 32
)

// A Format says which header a message has.
type Format uint8

// The formats.
const (
	Bare    Format = iota // a priority and then anything (RFC 3164 section 4.3.2)
	RFC3164               // with timestamp, and perhaps a host name
	RFC5424
)

// A Message is the header of one message. Its slices alias the input; those
// that a message leaves out are nil.
type Message struct {
	Format         Format
	Facility       uint8 // 0 to 23
	Severity       uint8 // 0 emergency to 7 debug
	Timestamp      []byte
	Hostname       []byte
	AppName        []byte // RFC 5424 only, as the three that follow
	ProcID         []byte
	MsgID          []byte
	StructuredData []byte
	Content        []byte // MSG
}

// Parse reads one whole message, without framing.
func (m *Message) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	m.parse(&c)
	return c.Err()
}

func (m *Message) parse(c *wire.Cursor) {
	*m = Message{}
	p := priority(c)
	m.Facility, m.Severity = p>>3, p&7
	if v := c.Peek(2); v != nil && v[0] == '1' && v[1] == ' ' {
		c.Skip("VERSION", 2)
		m.Format = RFC5424
		m.header(c)
		return
	}
	if t := timestamp(c.Peek(c.Len())); t > 0 {
		m.Format = RFC3164
		m.Timestamp = c.Bytes("TIMESTAMP", t)
		m.Hostname = hostname(c)
	}
	m.Content = c.Rest()
}

// priority reads PRI: RFC 5424 section 6.2.1, no zeros in front.
func priority(c *wire.Cursor) uint8 {
	if c.Uint8("PRI") != '<' && c.Ok() {
		c.FailAt("PRI", 0, wire.ErrInvalid)
	}
	p := 0
	for i := range 4 { // at most three digits and '>'
		x := c.Uint8("PRI")
		switch {
		case x == '>' && i > 0:
			if p > maxPriority {
				c.FailAt("PRI", 1, wire.ErrInvalid)
			}
			return uint8(p)
		case x < '0' || x > '9' || i == 3 || i == 1 && p == 0:
			c.FailAt("PRI", 1, wire.ErrInvalid)
			return 0
		}
		p = 10*p + int(x-'0')
	}
	return 0
}

// header reads what follows VERSION in RFC 5424 section 6.
func (m *Message) header(c *wire.Cursor) {
	at := c.Off()
	m.Timestamp = word(c, "TIMESTAMP", 64)
	if t := m.Timestamp; t != nil && (len(t) < 20 || t[4] != '-' || t[10] != 'T') {
		c.FailAt("TIMESTAMP", at, wire.ErrInvalid) // section 6.2.3
	}
	m.Hostname = word(c, "HOSTNAME", maxHostname)
	m.AppName = word(c, "APP-NAME", maxAppName)
	m.ProcID = word(c, "PROCID", maxProcID)
	m.MsgID = word(c, "MSGID", maxMsgID)
	start := c.Peek(c.Len())
	at = c.Off()
	structuredData(c)
	if !c.Ok() {
		return
	}
	if n := c.Off() - at; start[0] != '-' {
		m.StructuredData = start[:n:n]
	}
	if c.Len() > 0 {
		if c.Uint8("SP") != ' ' {
			c.FailAt("STRUCTURED-DATA", c.Off()-1, wire.ErrInvalid)
		}
		m.Content = c.Rest()
	}
}

// word reads printable characters up to a space, and the space; "-" stands for
// nothing (NILVALUE).
func word(c *wire.Cursor, field string, most int) []byte {
	s := c.Peek(min(c.Len(), most+1))
	n := 0
	for n < len(s) && '!' <= s[n] && s[n] <= '~' {
		n++
	}
	switch {
	case n == len(s) && n > most:
		c.Fail(field, wire.ErrTooLong)
	case n == len(s):
		c.FailAt(field, c.Off()+n, wire.ErrTruncated)
	case n == 0 || s[n] != ' ':
		c.FailAt(field, c.Off()+n, wire.ErrInvalid)
	}
	w := c.Bytes(field, n)
	c.Skip(field, 1)
	if len(w) == 1 && w[0] == '-' {
		return nil
	}
	return w
}

// structuredData passes over "-" or one or more "[id name="value" ...]", in
// which '"', '\' and ']' of a value are escaped (RFC 5424 section 6.3).
func structuredData(c *wire.Cursor) {
	const field = "STRUCTURED-DATA"
	if b := c.Peek(1); b != nil && b[0] == '-' {
		c.Skip(field, 1)
		return
	}
	for n := 0; c.Ok(); n++ { // each turn reads at least three bytes
		b := c.Peek(1)
		if b == nil && n > 0 || b != nil && b[0] == ' ' && n > 0 {
			return
		}
		expect(c, field, '[')
		end := sdName(c, "SD-ID")
		for end == ' ' && c.Ok() {
			if sdName(c, "PARAM-NAME") != '=' {
				c.Fail("PARAM-NAME", wire.ErrInvalid)
			}
			expect(c, "PARAM-VALUE", '"')
			for x := byte(0); x != '"' && c.Ok(); {
				if x = c.Uint8("PARAM-VALUE"); x == '\\' {
					c.Uint8("PARAM-VALUE")
				}
			}
			end = c.Uint8(field)
		}
		if end != ']' {
			c.Fail(field, wire.ErrInvalid)
		}
	}
}

func expect(c *wire.Cursor, field string, want byte) {
	at := c.Off()
	if c.Uint8(field) != want && c.Ok() {
		c.FailAt(field, at, wire.ErrInvalid)
	}
}

// sdName reads an SD-NAME and returns the character behind it.
func sdName(c *wire.Cursor, field string) byte {
	for n := range maxSDName + 1 {
		x := c.Uint8(field)
		if x == '=' || x == ' ' || x == ']' {
			if n == 0 {
				c.Fail(field, wire.ErrInvalid)
			}
			return x
		}
		if x < '!' || x > '~' || x == '"' {
			c.Fail(field, wire.ErrInvalid)
			return 0
		}
	}
	c.Fail(field, wire.ErrTooLong)
	return 0
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// timestamp returns how long the timestamp of RFC 3164 section 4.1.2 at the
// front of b is, as in "Mar  3 07:09:00 ", 0 when there is none. A day with a
// zero in front is no less common than one with a space.
func timestamp(b []byte) int {
	const form = "Mmm dd hh:mm:ss "
	if len(b) < len(form) || b[3] != ' ' || b[6] != ' ' || b[9] != ':' || b[12] != ':' || b[15] != ' ' {
		return 0
	}
	if i := bytes.Index([]byte(months), b[:3]); i < 0 || i%3 != 0 {
		return 0
	}
	for _, i := range [...]int{5, 7, 8, 10, 11, 13, 14} {
		if b[i] < '0' || b[i] > '9' {
			return 0
		}
	}
	if b[4] != ' ' && (b[4] < '0' || b[4] > '3') {
		return 0
	}
	return len(form)
}

// hostname reads the word behind the timestamp, unless it is the tag of a
// program, which a device that leaves its name out puts in the same place, or
// a time zone before a year, as in example 3 of RFC 3164 section 5.4.
func hostname(c *wire.Cursor) []byte {
	s := c.Peek(min(c.Len(), maxHostname+1))
	n := bytes.IndexByte(s, ' ')
	if n <= 0 {
		return nil
	}
	for i, x := range s[:n] {
		alnum := 'a' <= x && x <= 'z' || 'A' <= x && x <= 'Z' || '0' <= x && x <= '9'
		inside := x == '.' || x == '-' || x == '_' || x == ':'
		if !alnum && (!inside || i == n-1) {
			return nil
		}
	}
	if year := s[n+1:]; len(year) > 4 && year[4] == ' ' && (string(year[:2]) == "19" || string(year[:2]) == "20") {
		return nil
	}
	c.Skip("HOSTNAME", n+1)
	return s[:n:n]
}

// ParseFrame cuts the message at the front of a TCP stream from its framing and
// says how many bytes both took (RFC 6587 section 3.4). When bytes are missing
// the error wraps [wire.ErrTruncated].
func ParseFrame(b []byte) (message []byte, n int, err error) {
	c := wire.NewCursor(name, b)
	message = frame(&c)
	if !c.Ok() {
		return nil, 0, c.Err()
	}
	return message, c.Off(), nil
}

func frame(c *wire.Cursor) []byte {
	if b := c.Peek(1); b == nil || b[0] < '1' || b[0] > '9' {
		return line(c)
	}
	n := 0
	for range maxCount + 1 { // octet counting: MSG-LEN SP SYSLOG-MSG
		x := c.Uint8("MSG-LEN")
		if x == ' ' {
			if n > MaxMessage {
				break
			}
			return c.Bytes("SYSLOG-MSG", n)
		}
		if x < '0' || x > '9' {
			c.FailAt("MSG-LEN", 0, wire.ErrInvalid)
			return nil
		}
		n = 10*n + int(x-'0')
	}
	c.FailAt("MSG-LEN", 0, wire.ErrTooLong)
	return nil
}

// line reads up to a line feed or NUL, the trailers in use.
func line(c *wire.Cursor) []byte {
	b := c.Peek(min(c.Len(), MaxMessage+1))
	n := bytes.IndexAny(b, "\n\x00")
	switch {
	case n < 0 && len(b) > MaxMessage:
		c.Fail("TRAILER", wire.ErrTooLong)
	case n < 0:
		c.FailAt("TRAILER", c.Off()+len(b), wire.ErrTruncated)
	}
	b = c.Bytes("SYSLOG-MSG", n)
	c.Skip("TRAILER", 1)
	return bytes.TrimSuffix(b, []byte{'\r'})
}
