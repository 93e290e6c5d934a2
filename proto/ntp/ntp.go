// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ntp reads the headers of Network Time Protocol messages: who serves
// time, of what stratum, and requests that make a server attack somebody else.
//
// It implements the header of RFC 5905 section 7.3 for versions 1 to 4, the
// header of control messages (mode 6, RFC 9327 section 2), and the request code
// of private ones (mode 7, ntpd's ntp_request.h).
//
// It leaves out the times themselves, extension fields and authentication.
//
// This API is stable.
package ntp

import "github.com/myelin-health/myelin/wire"

// A Mode is what a message is for (RFC 5905 figure 10).
type Mode uint8

// The modes.
const (
	SymmetricActive  Mode = 1
	SymmetricPassive Mode = 2
	Client           Mode = 3
	Server           Mode = 4
	Broadcast        Mode = 5
	Control          Mode = 6
	Private          Mode = 7
)

// A Message is the header of a message.
type Message struct {
	Version   uint8
	Mode      Mode
	Stratum   uint8 // 1 has a clock of its own; 0 and above 15 are not synchronised. Modes 1 to 5
	Response  bool  // modes 6 and 7
	Operation uint8 // opcode of mode 6, request code of mode 7
}

const timeBytes, controlBytes, privateBytes = 48, 12, 8

// Parse reads a message.
func Parse(b []byte) (Message, error) {
	c := wire.NewCursor("ntp", b)
	m := read(&c)
	return m, c.Err()
}

// read does not make the error: what is looked at whether it is NTP mostly is not.
func read(c *wire.Cursor) (m Message) {
	first := c.Uint8("LI|VN|Mode")
	m.Version, m.Mode = first>>3&7, Mode(first&7)
	second := c.Uint8("stratum")
	switch m.Mode {
	case Control: // RFC 9327 section 2: R, E, M, opcode
		m.Response, m.Operation = second&0x80 != 0, second&0x1f
		c.Skip("header", controlBytes-2)
	case Private: // R and M stand before the version
		m.Response = first&0x80 != 0
		c.Uint8("implementation")
		m.Operation = c.Uint8("request code")
		c.Skip("header", privateBytes-4)
	default:
		m.Stratum = second
		c.Skip("header", timeBytes-2)
	}
	if c.Ok() && (m.Version < 1 || m.Version > 4 || m.Mode == 0) {
		c.FailAt("LI|VN|Mode", 0, wire.ErrInvalid)
	}
	return m
}

// IsMonlist reports whether m asks for the list of a server's last 600 clients,
// by which 8 bytes with a false sender bring 48 kB upon it (CVE-2013-5211).
func (m *Message) IsMonlist() bool {
	const monGetList, monGetList1 = 20, 42
	return m.Mode == Private && !m.Response && (m.Operation == monGetList || m.Operation == monGetList1)
}

// RecogniseDatagram tells whether b may be a message. NTP has no mark of its
// own, so the port has to agree.
func RecogniseDatagram(b []byte) wire.Match {
	c := wire.NewCursor("ntp", b[:min(len(b), timeBytes)])
	m := read(&c)
	if !c.Ok() {
		return wire.NoMatch
	}
	if m.Mode < Control && (m.Stratum > 16 || len(b)%4 != 0) { // RFC 5905 figure 11, section 7.5
		return wire.NoMatch
	}
	return wire.WeakMatch
}
