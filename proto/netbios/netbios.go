// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package netbios reads the NetBIOS name service and datagram service (RFC
// 1001, RFC 1002), and the announcements of the browser protocol (MS-BRWS)
// that travel in datagrams: which names and versions of operating systems
// stations say they have. The session service's request is read for its names;
// what follows it is SMB.
//
// It leaves out WINS replication, resource records other than NB and NBSTAT,
// and datagram fragments after the first.
//
// This API is stable.
package netbios

import (
	"github.com/myelin-health/myelin/wire"
)

// A Name is a NetBIOS name: 15 characters padded with spaces, and a suffix
// that says what it stands for.
type Name [16]byte

// The suffixes told apart here (MS-NBTE section 1.8).
const (
	Workstation uint8 = 0x00
	Messenger   uint8 = 0x03
	FileServer  uint8 = 0x20
	Controllers uint8 = 0x1c // a domain's controllers: a group
	MasterName  uint8 = 0x1d
	Browsers    uint8 = 0x1e // a group
)

// Suffix is the name's last byte.
func (n *Name) Suffix() uint8 { return n[15] }

// Text is the name without padding and suffix. It aliases n.
func (n *Name) Text() []byte {
	end := 15
	for end > 0 && (n[end-1] == ' ' || n[end-1] == 0) {
		end--
	}
	return n[:end:end]
}

// readName reads a name in first-level encoding (RFC 1001 section 14.1): a
// label of 32 letters A to P, two for each byte, and the labels of a scope. A
// pointer (RFC 1002 section 4.1) is followed by none: the name is then left empty.
func readName(c *wire.Cursor, field string) (n Name) {
	start := c.Off()
	size := c.Uint8(field)
	if size&0xc0 == 0xc0 {
		c.Skip(field, 1)
		return n
	}
	if size != 32 {
		c.FailAt(field, start, wire.ErrInvalid)
		return n
	}
	for i, b := 0, c.Bytes(field, 32); i < len(b); i += 2 {
		if b[i] < 'A' || b[i] > 'P' || b[i+1] < 'A' || b[i+1] > 'P' {
			c.FailAt(field, start, wire.ErrInvalid)
			return n
		}
		n[i/2] = (b[i]-'A')<<4 | (b[i+1] - 'A')
	}
	for range maxScopeLabels {
		size := c.Uint8(field)
		if size == 0 || !c.Ok() {
			return n
		}
		if size&0xc0 != 0 {
			c.Fail(field, wire.ErrInvalid)
			return n
		}
		c.Skip(field, int(size))
	}
	c.Fail(field, wire.ErrTooDeep)
	return n
}

// maxScopeLabels bounds the labels of a scope: 255 bytes of name, of which 34
// are the first label, leave room for 110 of one letter; nobody has more than
// a domain's worth.
const maxScopeLabels = 16

// An Opcode is what a name service message asks (RFC 1002 section 4.2.1.1).
type Opcode uint8

// The opcodes.
const (
	Query        Opcode = 0
	Registration Opcode = 5
	Release      Opcode = 6
	WACK         Opcode = 7
	Refresh      Opcode = 8
	RefreshAlt   Opcode = 9 // MS-NBTE section 2.2.1
)

// The types of resource record (RFC 1002 section 4.2.1.3).
const (
	TypeNB     = 0x0020
	TypeNBSTAT = 0x0021
)

// maxNames bounds the names of a status response, whose number is one byte;
// Windows has about ten.
const maxNames = 32

// A StatusName is one entry of a status response (RFC 1002 section 4.2.18).
type StatusName struct {
	Name  Name
	Group bool
}

// A NameMessage is one message of the name service.
type NameMessage struct {
	ID       uint16
	Response bool
	Opcode   Opcode
	RCode    uint8
	Type     uint16 // of the question, or of the answer
	Name     Name   // of the question or the answer
	Group    bool   // registration, answer: a name of several stations
	Address  [4]byte
	Status   []StatusName // response to NBSTAT; aliases the array of the message
	MAC      [6]byte      // response to NBSTAT; zero when not said
	status   [maxNames]StatusName
}

// Parse reads one datagram of the name service.
func (m *NameMessage) Parse(b []byte) error {
	*m = NameMessage{}
	c := wire.NewCursor("netbios", b)
	m.ID = c.Uint16("NAME_TRN_ID")
	flags := c.Uint16("OPCODE|NM_FLAGS|RCODE")
	m.Response, m.Opcode, m.RCode = flags&0x8000 != 0, Opcode(flags>>11&0x0f), uint8(flags&0x0f)
	questions, answers := c.Uint16("QDCOUNT"), c.Uint16("ANCOUNT")
	c.Skip("NSCOUNT", 2)
	additional := c.Uint16("ARCOUNT")
	if questions > 1 || answers > 1 {
		c.FailAt("QDCOUNT", 4, wire.ErrInvalid) // RFC 1002 section 4.2: one of each at most
	}
	if questions == 1 {
		m.Name = readName(&c, "QUESTION_NAME")
		m.Type = c.Uint16("QUESTION_TYPE")
		c.Skip("QUESTION_CLASS", 2)
	}
	if answers == 1 || m.Opcode != Query && additional == 1 {
		name := readName(&c, "RR_NAME")
		if answers == 1 {
			m.Name = name
		}
		m.Type = c.Uint16("RR_TYPE")
		c.Skip("RR_CLASS, TTL", 6)
		data := c.Sub("RDATA", int(c.Uint16("RDLENGTH")))
		switch {
		case m.Type == TypeNBSTAT:
			m.readStatus(&data)
		case m.Type == TypeNB && data.Len() >= 6:
			m.Group = data.Uint16("NB_FLAGS")&0x8000 != 0
			copy(m.Address[:], data.Bytes("NB_ADDRESS", 4))
		}
		c.Join(&data)
	}
	return c.Err()
}

// readStatus reads the entries of a status response (RFC 1002 section 4.2.18).
func (m *NameMessage) readStatus(c *wire.Cursor) {
	n := int(c.Uint8("NUM_NAMES"))
	kept := 0
	for range n {
		b := c.Bytes("NODE_NAME", 18)
		if b == nil {
			return
		}
		if kept < maxNames {
			m.status[kept] = StatusName{Name(b[:16]), b[16]&0x80 != 0}
			kept++
		}
	}
	m.Status = m.status[:kept:kept]
	copy(m.MAC[:], c.Bytes("UNIT_ID", 6))
}

// RecogniseDatagram says how well a datagram fits the name service (port 137)
// or the datagram service (port 138).
func RecogniseDatagram(b []byte) wire.Match {
	if recogniseName(b) || recogniseDatagram(b) {
		return wire.SureMatch
	}
	return wire.NoMatch
}

// recogniseName looks for one name of 32 letters behind the header.
func recogniseName(b []byte) bool {
	const question = 12
	if len(b) < question+34 || b[question] != 32 || b[2]&0x78>>3 > 9 || b[4] != 0 || b[5] > 1 {
		return false
	}
	return letters(b[question+1 : question+33])
}

// recogniseDatagram looks for a message type and a name of 32 letters.
func recogniseDatagram(b []byte) bool {
	if len(b) < datagramHeader+34 || b[0] < DirectUnique || b[0] > Broadcast || b[1]&0xf0 != 0 || b[datagramHeader] != 32 {
		return false
	}
	return letters(b[datagramHeader+1 : datagramHeader+33])
}

func letters(b []byte) bool {
	for _, o := range b {
		if o < 'A' || o > 'P' {
			return false
		}
	}
	return true
}

// IsDatagram reports whether a datagram is of the datagram service rather than
// of the name service.
func IsDatagram(b []byte) bool { return recogniseDatagram(b) }

// ParseSessionRequest reads the message of a session request (RFC 1002 section
// 4.3.2), without the four bytes of its frame.
func ParseSessionRequest(b []byte) (called, calling Name, err error) {
	c := wire.NewCursor("netbios", b)
	called = readName(&c, "CALLED NAME")
	calling = readName(&c, "CALLING NAME")
	return called, calling, c.Err()
}
