// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package kerberos reads the messages between a Kerberos client and its key
// distribution centre (RFC 4120 section 5.4, 5.9.1), over UDP and TCP: which
// kind of service is asked for, with which encryption types, and the result.
//
// It leaves out everything encrypted, and names of users: of the client's
// name only a computer's is given (MS-KILE: it ends in "$"), of the service's
// only its class.
//
// This API is stable.
package kerberos

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// A Type is a msg-type (RFC 4120 section 7.5.7).
type Type uint8

// The messages read here.
const (
	ASReq  Type = 10
	ASRep  Type = 11
	TGSReq Type = 12
	TGSRep Type = 13
	Error  Type = 30
)

// The encryption types told apart here (RFC 3961, RFC 3962, RFC 4757).
const (
	DESCRC  = 1
	DESMD5  = 3
	AES128  = 17
	AES256  = 18
	RC4HMAC = 23
)

// The errors told apart here (RFC 4120 section 7.5.9).
const (
	ErrClientUnknown  = 6
	ErrClientRevoked  = 18
	ErrPreauthFailed  = 24
	ErrPreauthNeeded  = 25
	ErrResponseTooBig = 52
)

// maxEtypes bounds the encryption types of a request that are kept: Windows
// sends up to seven.
const maxEtypes = 16

// A Message is one message. Its slices alias the input.
type Message struct {
	Type      Type
	Computer  []byte // requests: the client's name when it is a computer's, without "$"
	HostName  []byte // AS request: the NetBIOS name among the addresses (type 20)
	Service   []byte // the first part of the service's name: "krbtgt", "HTTP", "cifs"
	Parts     int    // of the service's name
	Etypes    [maxEtypes]int32
	NEtypes   int   // requests: how many of Etypes
	TGTEtype  int32 // TGS request: of the ticket that is shown
	Etype     int32 // replies: of the ticket that is given
	ErrorCode int64 // error
	Preauth   bool  // AS request: an encrypted time stamp is there
}

// Offers reports whether a request offers the encryption type.
func (m *Message) Offers(etype int32) bool {
	for _, e := range m.Etypes[:m.NEtypes] {
		if e == etype {
			return true
		}
	}
	return false
}

// maxRecord bounds a message over TCP. Tickets with authorisation data of many
// groups reach 64 KiB (MS-KILE); 12 KiB is Windows' default limit of tokens.
const maxRecord = 1 << 17

// ParseRecord reads the length in front of a message over TCP (RFC 4120
// section 7.2.2).
func ParseRecord(b []byte) (length int, err error) {
	c := wire.NewCursor("kerberos", b)
	length = record(&c)
	return length, c.Err()
}

func record(c *wire.Cursor) (length int) {
	n := c.Uint32("length")
	if c.Ok() && (n == 0 || n > maxRecord) {
		c.FailAt("length", 0, wire.ErrTooLong) // the high bit is reserved
	}
	return int(n)
}

// Context tags: [n] of a constructed element.
const ctx wire.Tag = 0xa0

// Parse reads one message.
func (m *Message) Parse(b []byte) error {
	*m = Message{}
	c := wire.NewCursor("kerberos", b)
	tag := c.PeekTag()
	m.Type = Type(tag & 0x1f)
	if tag&0xe0 != 0x60 { // APPLICATION, constructed
		c.Fail("msg-type", wire.ErrInvalid)
		return c.Err()
	}
	app := c.Expect("message", tag)
	s := app.Expect("message", wire.TagSequence)
	switch m.Type {
	case ASReq, TGSReq: // KDC-REQ, section 5.4.1
		s.Expect("pvno", ctx+1)
		s.Expect("msg-type", ctx+2)
		if pa, ok := s.Optional("padata", ctx+3); ok {
			m.padata(&pa)
			s.Join(&pa)
		}
		body := s.Expect("req-body", ctx+4)
		m.body(&body)
		s.Join(&body)
	case ASRep, TGSRep: // KDC-REP, section 5.4.2
		s.Expect("pvno", ctx+0)
		s.Expect("msg-type", ctx+1)
		s.Optional("padata", ctx+2)
		s.Expect("crealm", ctx+3)
		s.Expect("cname", ctx+4)
		t := s.Expect("ticket", ctx+5)
		m.Etype = m.ticket(&t)
		s.Join(&t)
	case Error: // KRB-ERROR, section 5.9.1
		s.Expect("pvno", ctx+0)
		s.Expect("msg-type", ctx+1)
		for t := ctx + 2; t <= ctx+5; t++ { // ctime, cusec, stime, susec
			s.Optional("time", t)
		}
		e := s.Expect("error-code", ctx+6)
		m.ErrorCode = e.Integer("error-code", wire.TagInteger)
		s.Join(&e)
	default:
		s.Fail("msg-type", wire.ErrInvalid)
	}
	app.Join(&s)
	c.Join(&app)
	return c.Err()
}

// maxPadata bounds the elements of pre-authentication data: RFC 4120 section
// 7.5.2 names some twenty types.
const maxPadata = 32

// padata reads METHOD-DATA (section 5.2.7).
func (m *Message) padata(c *wire.Cursor) {
	list := c.Expect("padata", wire.TagSequence)
	for i := 0; list.Len() > 0 && i < maxPadata; i++ {
		pa := list.Expect("PA-DATA", wire.TagSequence)
		t := pa.Expect("padata-type", ctx+1)
		v := pa.Expect("padata-value", ctx+2)
		value := v.Expect("padata-value", wire.TagOctetString)
		switch t.Integer("padata-type", wire.TagInteger) {
		case 1: // PA-TGS-REQ: an AP-REQ with the ticket that is shown (section 5.2.7.1)
			ap := value.Expect("AP-REQ", 0x6e)
			s := ap.Expect("AP-REQ", wire.TagSequence)
			s.Expect("pvno", ctx+0)
			s.Expect("msg-type", ctx+1)
			s.Expect("ap-options", ctx+2)
			ticket := s.Expect("ticket", ctx+3)
			m.TGTEtype = m.ticket(&ticket)
			m.Service, m.Parts = nil, 0 // the body names the service that is asked for
			s.Join(&ticket)
			value.Join(&s)
		case 2: // PA-ENC-TIMESTAMP (section 5.2.7.2)
			m.Preauth = true
		}
		pa.Join(&t)
		pa.Join(&v)
		pa.Join(&value)
		list.Join(&pa)
	}
	c.Join(&list)
}

// body reads a KDC-REQ-BODY (section 5.4.1).
func (m *Message) body(c *wire.Cursor) {
	s := c.Expect("req-body", wire.TagSequence)
	s.Expect("kdc-options", ctx+0)
	if cname, ok := s.Optional("cname", ctx+1); ok {
		if first, parts := principal(&cname); parts == 1 {
			if name, ok := bytes.CutSuffix(first, []byte("$")); ok {
				m.Computer = name
			}
		}
		s.Join(&cname)
	}
	s.Expect("realm", ctx+2)
	if sname, ok := s.Optional("sname", ctx+3); ok {
		m.Service, m.Parts = principal(&sname)
		s.Join(&sname)
	}
	for t := ctx + 4; t <= ctx+6; t++ { // from, till, rtime
		s.Optional("time", t)
	}
	s.Expect("nonce", ctx+7)
	e := s.Expect("etype", ctx+8)
	list := e.Expect("etype", wire.TagSequence)
	for list.Len() > 0 && m.NEtypes < maxEtypes {
		m.Etypes[m.NEtypes] = int32(list.Integer("etype", wire.TagInteger))
		m.NEtypes++
	}
	if a, ok := s.Optional("addresses", ctx+9); ok {
		m.addresses(&a)
		s.Join(&a)
	}
	e.Join(&list)
	s.Join(&e)
	c.Join(&s)
}

// maxHostAddresses bounds the addresses of a request: a station's interfaces.
const maxHostAddresses = 16

// addresses reads HostAddresses (section 5.2.5) for the NetBIOS name (section 7.5.3).
func (m *Message) addresses(c *wire.Cursor) {
	list := c.Expect("HostAddresses", wire.TagSequence)
	for i := 0; list.Len() > 0 && i < maxHostAddresses; i++ {
		a := list.Expect("HostAddress", wire.TagSequence)
		t := a.Expect("addr-type", ctx+0)
		v := a.Expect("address", ctx+1)
		name := v.Expect("address", wire.TagOctetString)
		if t.Integer("addr-type", wire.TagInteger) == 20 && name.Len() == 16 {
			m.HostName = bytes.TrimRight(name.Bytes("address", 15), " \x00")
		}
		a.Join(&t)
		a.Join(&v)
		a.Join(&name)
		list.Join(&a)
	}
	c.Join(&list)
}

// ticket reads the parts of a Ticket that are in clear (section 5.3) and
// returns its encryption type.
func (m *Message) ticket(c *wire.Cursor) int32 {
	app := c.Expect("ticket", 0x61)
	s := app.Expect("ticket", wire.TagSequence)
	s.Expect("tkt-vno", ctx+0)
	s.Expect("realm", ctx+1)
	sname := s.Expect("sname", ctx+2)
	m.Service, m.Parts = principal(&sname)
	s.Join(&sname)
	enc := s.Expect("enc-part", ctx+3)
	data := enc.Expect("enc-part", wire.TagSequence)
	e := data.Expect("etype", ctx+0)
	etype := e.Integer("etype", wire.TagInteger)
	data.Join(&e)
	s.Join(&data)
	app.Join(&s)
	c.Join(&app)
	return int32(etype)
}

// maxParts bounds the parts of a name: a service's has two or three.
const maxParts = 8

// principal reads a PrincipalName (section 5.2.2): its first part, and how
// many there are.
func principal(c *wire.Cursor) (first []byte, parts int) {
	s := c.Expect("PrincipalName", wire.TagSequence)
	s.Expect("name-type", ctx+0)
	n := s.Expect("name-string", ctx+1)
	list := n.Expect("name-string", wire.TagSequence)
	for list.Len() > 0 && parts < maxParts {
		p := list.Expect("KerberosString", wire.TagGeneralString)
		if parts == 0 {
			first = p.Rest()
		}
		parts++
	}
	n.Join(&list)
	s.Join(&n)
	c.Join(&s)
	return first, parts
}

// Roasts reports the shape of a ticket taken to guess a service's password
// offline ("kerberoasting"): m is a TGS reply, req its request. The ticket is
// for a service and encrypted with RC4, whose key is the plain hash of the
// service's password, although the realm has AES (the ticket shown was encrypted
// with it). Where a realm has RC4 only, nothing is told from nothing.
//
// An old service account gives the same picture without an attacker. It is
// as easily broken then.
func (m *Message) Roasts(req *Message) bool {
	return m.Type == TGSRep && req.Type == TGSReq && m.Etype == RC4HMAC &&
		(req.TGTEtype == AES128 || req.TGTEtype == AES256) &&
		m.Parts >= 2 && !bytes.Equal(m.Service, []byte("krbtgt"))
}

// RecogniseDatagram says how well b, the beginning of a UDP datagram, fits a
// message between client and centre.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) == 0 {
		return wire.NeedMore
	}
	if b[0]&0xe0 != 0x60 { // APPLICATION, constructed
		return wire.NoMatch
	}
	first := ctx // replies and errors begin with [0] pvno, requests with [1]
	switch Type(b[0] & 0x1f) {
	case ASReq, TGSReq:
		first++
	case ASRep, TGSRep, Error:
	default:
		return wire.NoMatch
	}
	c := wire.NewCursor("kerberos", b[:min(len(b), 32)])
	_, n := c.Header("message")
	in, m := c.Header("message")
	pv, _ := c.Header("pvno")
	v := c.Integer("pvno", wire.TagInteger)
	if !c.Ok() {
		if len(b) < 32 {
			return wire.NeedMore
		}
		return wire.NoMatch
	}
	if in != wire.TagSequence || m >= n || pv != first || v != 5 { // section 5.4.1: pvno is 5
		return wire.NoMatch
	}
	return wire.SureMatch
}

// Recognise is [RecogniseDatagram] behind the length that messages over TCP have.
func Recognise(b []byte) wire.Match {
	if len(b) < 5 {
		if len(b) > 0 && b[0] != 0 {
			return wire.NoMatch
		}
		return wire.NeedMore
	}
	c := wire.NewCursor("kerberos", b)
	if n := record(&c); !c.Ok() || n < 16 {
		return wire.NoMatch
	}
	return RecogniseDatagram(b[4:])
}
