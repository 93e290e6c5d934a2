// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package snmp reads messages of the Simple Network Management Protocol over
// UDP: version 1 (RFC 1157), version 2c (RFC 1901, RFC 3416) and version 3 with
// the user-based security model (RFC 3412 section 6, RFC 3414 section 2.4); and
// what the answers of the system group (RFC 3418) say a device is
// ([Binding], [Enterprise], [Describe]).
//
// It leaves out decryption, MIBs beyond the system group, and SNMP over TCP
// and TLS.
//
// This API is stable.
package snmp

import (
	"iter"

	"github.com/myelin-health/myelin/wire"
)

const name = "snmp"

// A Version is the first field of a message.
type Version uint8

// The versions that exist.
const (
	V1  Version = 0
	V2c Version = 1
	V3  Version = 3
)

func (v Version) String() string {
	switch v {
	case V1:
		return "1"
	case V2c:
		return "2c"
	case V3:
		return "3"
	}
	return ""
}

// A PDUType says what a message asks or answers: the number of its context tag
// (RFC 3416 section 3, RFC 1157 section 4.1).
type PDUType uint8

// The types.
const (
	GetRequest PDUType = iota
	GetNextRequest
	Response
	SetRequest
	TrapV1 // version 1 only
	GetBulkRequest
	InformRequest
	TrapV2
	Report
	pduTypeCount
)

// Request reports whether somebody asks, and does not tell.
func (t PDUType) Request() bool {
	return t == GetRequest || t == GetNextRequest || t == GetBulkRequest || t == SetRequest
}

// contextTag is a constructed context tag with number 0.
const contextTag wire.Tag = 0xa0

// Flags of version 3 (RFC 3412 section 6.4).
const (
	FlagAuth       = 1 << 0
	FlagPriv       = 1 << 1
	FlagReportable = 1 << 2
)

// A Message is one datagram. Its slices alias the input.
type Message struct {
	Version   Version
	Community []byte // valid iff Version is V1 or V2c; a secret

	// Valid iff Version is V3.
	Flags         uint8
	SecurityModel int32
	EngineID      []byte // of the authoritative engine; empty while it is asked for
	UserName      []byte // a secret

	HasPDU bool // false when it is encrypted
	PDU    PDU
}

// A PDU is what a message asks or answers.
type PDU struct {
	Type        PDUType
	RequestID   int32
	ErrorStatus int32 // of a GetBulkRequest non-repeaters
	ErrorIndex  int32 // of a GetBulkRequest max-repetitions
	Enterprise  OID   // of a TrapV1: its sysObjectID
	bindings    []byte
}

// Parse reads b, a whole datagram. On an error m holds what was read before it.
func (m *Message) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	m.parse(&c)
	return c.Err()
}

func (m *Message) parse(c *wire.Cursor) {
	*m = Message{}
	s := c.Expect("Message", wire.TagSequence)
	if c.Len() > 0 {
		c.Fail("Message", wire.ErrTrailing)
	}
	switch v := s.Integer("version", wire.TagInteger); v {
	case int64(V1), int64(V2c):
		m.Version = Version(v)
		m.Community = octets(&s, "community")
		m.pdu(&s)
	case int64(V3):
		m.Version = V3
		m.v3(&s)
	default:
		s.Fail("version", wire.ErrReserved)
	}
	if s.Len() > 0 {
		s.Fail("Message", wire.ErrTrailing)
	}
	c.Join(&s)
}

// octets reads an OCTET STRING.
func octets(c *wire.Cursor, field string) []byte {
	return c.Bytes(field, header(c, field, wire.TagOctetString))
}

// integer reads an INTEGER of 32 bits.
func integer(c *wire.Cursor, field string) int32 {
	at := c.Off()
	v := c.Integer(field, wire.TagInteger)
	if v != int64(int32(v)) {
		c.FailAt(field, at, wire.ErrTooLong)
	}
	return int32(v)
}

// v3 reads RFC 3412 section 6 after the version.
func (m *Message) v3(c *wire.Cursor) {
	h := c.Expect("msgGlobalData", wire.TagSequence)
	integer(&h, "msgID")
	integer(&h, "msgMaxSize")
	at := h.Off()
	flags := octets(&h, "msgFlags")
	if h.Ok() && len(flags) != 1 {
		h.FailAt("msgFlags", at, wire.ErrInvalid)
	}
	m.SecurityModel = integer(&h, "msgSecurityModel")
	c.Join(&h)
	security := c.Expect("msgSecurityParameters", wire.TagOctetString)
	if !c.Ok() {
		return
	}
	m.Flags = flags[0]
	if m.Flags&(FlagAuth|FlagPriv) == FlagPriv {
		c.FailAt("msgFlags", at, wire.ErrInvalid) // RFC 3412 section 7.2: privacy without authentication
	}
	if m.SecurityModel == userBased {
		m.usm(&security)
		c.Join(&security)
	}
	if m.Flags&FlagPriv != 0 {
		octets(c, "encryptedPDU")
		return
	}
	s := c.Expect("ScopedPDU", wire.TagSequence)
	octets(&s, "contextEngineID")
	octets(&s, "contextName")
	m.pdu(&s)
	c.Join(&s)
}

// userBased is the User-based Security Model's number (RFC 3411 section 6.1).
const userBased = 3

// usm reads UsmSecurityParameters (RFC 3414 section 2.4).
func (m *Message) usm(c *wire.Cursor) {
	s := c.Expect("UsmSecurityParameters", wire.TagSequence)
	m.EngineID = octets(&s, "msgAuthoritativeEngineID")
	integer(&s, "msgAuthoritativeEngineBoots")
	integer(&s, "msgAuthoritativeEngineTime")
	m.UserName = octets(&s, "msgUserName")
	octets(&s, "msgAuthenticationParameters")
	octets(&s, "msgPrivacyParameters")
	c.Join(&s)
}

// maxBindings bounds the variable bindings of a message: each takes at least
// six bytes of at most 65,507.
const maxBindings = 65507 / 6

func (m *Message) pdu(c *wire.Cursor) {
	at := c.Off()
	tag, s := c.Element("PDU")
	if !c.Ok() {
		return
	}
	p := &m.PDU
	if tag < contextTag || tag >= contextTag+wire.Tag(pduTypeCount) {
		c.FailAt("PDU", at, wire.ErrReserved)
		return
	}
	if p.Type = PDUType(tag - contextTag); p.Type == TrapV1 {
		trap(&s, p) // RFC 1157 section 4.1.6
	} else {
		p.RequestID = integer(&s, "request-id")
		p.ErrorStatus = integer(&s, "error-status")
		p.ErrorIndex = integer(&s, "error-index")
	}
	list := s.Expect("variable-bindings", wire.TagSequence)
	p.bindings = list.Peek(list.Len())
	for n := 0; list.Len() > 0; n++ {
		if n == maxBindings {
			list.Fail("variable-bindings", wire.ErrTooLong)
		}
		binding(&list)
	}
	if s.Len() > 0 {
		s.Fail("PDU", wire.ErrTrailing)
	}
	s.Join(&list)
	c.Join(&s)
	if m.HasPDU = c.Ok(); !m.HasPDU {
		p.bindings = nil
	}
}

func trap(c *wire.Cursor, p *PDU) {
	o := c.Expect("enterprise", wire.TagOID)
	p.Enterprise = OID(o.Rest())
	c.Expect("agent-addr", ipAddress)
	integer(c, "generic-trap")
	integer(c, "specific-trap")
	c.Expect("time-stamp", timeTicks)
}

// Application tags (RFC 2578 section 7.1).
const (
	ipAddress wire.Tag = 0x40
	timeTicks wire.Tag = 0x43
)

// A Binding is one variable and its value.
type Binding struct {
	Name  OID
	Tag   wire.Tag // of the value: TagOctetString, TagOID, an application tag ...
	Value []byte
}

// binding reads a VarBind in place: a cursor for each of its parts would take
// most of a message's time.
func binding(c *wire.Cursor) (b Binding) {
	n := header(c, "VarBind", wire.TagSequence)
	end := c.Off() + n
	b.Name = OID(c.Bytes("name", header(c, "name", wire.TagOID)))
	b.Tag, n = c.Header("value")
	b.Value = c.Bytes("value", n)
	if c.Ok() && c.Off() != end {
		c.Fail("VarBind", wire.ErrInvalid)
	}
	return b
}

// header reads the identifier and length of an element that has to have this
// tag, and returns the length.
func header(c *wire.Cursor, field string, want wire.Tag) int {
	at := c.Off()
	tag, n := c.Header(field)
	if tag != want && c.Ok() {
		c.FailAt(field, at, wire.ErrInvalid)
	}
	return n
}

// Bindings yields the variables in their order.
func (p *PDU) Bindings() iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		c := wire.NewCursor(name, p.bindings)
		for c.Len() > 0 {
			if b := binding(&c); !c.Ok() || !yield(b) {
				return
			}
		}
	}
}

// RecogniseDatagram says how well b, a whole datagram, fits SNMP: a SEQUENCE
// that ends with the datagram, a version that exists, and then a community and
// a PDU, or the header of version 3.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) < 2 || wire.Tag(b[0]) != wire.TagSequence {
		return wire.NoMatch
	}
	c := wire.NewCursor(name, b)
	if _, n := c.Header("Message"); n != c.Len() {
		return wire.NoMatch
	}
	switch v := c.Integer("version", wire.TagInteger); {
	case !c.Ok():
	case v == int64(V3):
		header(&c, "msgGlobalData", wire.TagSequence)
		c.Skip("msgID", header(&c, "msgID", wire.TagInteger))
		c.Skip("msgMaxSize", header(&c, "msgMaxSize", wire.TagInteger))
		header(&c, "msgFlags", wire.TagOctetString)
	case v == int64(V1) || v == int64(V2c):
		octets(&c, "community")
		if tag, n := c.Header("PDU"); tag < contextTag || tag >= contextTag+wire.Tag(pduTypeCount) || n != c.Len() {
			return wire.NoMatch
		}
	default:
		return wire.NoMatch
	}
	if !c.Ok() {
		return wire.NoMatch
	}
	return wire.SureMatch
}
