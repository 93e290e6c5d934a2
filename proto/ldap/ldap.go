// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ldap reads LDAP messages (RFC 4511) as far as an observer needs: how
// one binds and with what result, StartTLS, and whether an entry that a server
// returns holds a Java object reference (RFC 2713), which is how the attack on
// CVE-2021-44228 makes its victim load a program.
//
// It leaves out distinguished names, filters, attributes and controls: names
// of people stand in them.
//
// This API is stable.
package ldap

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// An Op is a message's protocolOp, as its BER tag (RFC 4511 section 4.2 ff.).
type Op = wire.Tag

// The operations told apart here.
const (
	BindRequest       Op = 0x60
	BindResponse      Op = 0x61
	UnbindRequest     Op = 0x42
	SearchRequest     Op = 0x63
	SearchResultEntry Op = 0x64
	SearchResultDone  Op = 0x65
	SearchResultRef   Op = 0x73
	ExtendedRequest   Op = 0x77
	ExtendedResponse  Op = 0x78
)

// The ways to authenticate (RFC 4511 section 4.2), and Microsoft's own
// (MS-ADTS section 5.1.1.1).
const (
	authSimple = 0x80
	authSASL   = 0xa3
)

// The results told apart here (RFC 4511 appendix A).
const (
	Success            = 0
	SASLBindInProgress = 14
	InvalidCredentials = 49
)

// MaxHead is how much of a message this package reads.
const MaxHead = 4096

// A Message is one LDAPMessage, or the beginning of one. Its slices alias the input.
type Message struct {
	ID        int64
	Op        Op
	Simple    bool   // bind request: a password in clear
	Anonymous bool   // bind request: simple, with an empty password (RFC 4513 section 5.1)
	Mechanism []byte // bind request: of SASL
	Result    int64  // response
	StartTLS  bool   // extended request
	Java      bool   // entry: with a Java object reference
}

// Size returns how many bytes the message at the front of b takes, of which
// only the first need be there.
func Size(b []byte) (int, error) {
	c := wire.NewCursor("ldap", b)
	tag, n := c.Header("LDAPMessage")
	if c.Ok() && tag != wire.TagSequence {
		c.FailAt("LDAPMessage", 0, wire.ErrInvalid)
	}
	return c.Off() + n, c.Err()
}

// startTLS is the OID of RFC 4511 section 4.14.1.
const startTLS = "1.3.6.1.4.1.1466.20037"

// javaAttributes are those of RFC 2713 section 3.3 that make a client load
// code or read a serialised object.
var javaAttributes = [...]string{"javaCodeBase", "javaSerializedData", "javaRemoteLocation"}

// Parse reads the message at the front of b, whose end may be missing behind
// what is read here.
func (m *Message) Parse(b []byte) error {
	*m = Message{}
	c := wire.NewCursor("ldap", b)
	tag, n := c.Header("LDAPMessage")
	if c.Ok() && tag != wire.TagSequence {
		c.FailAt("LDAPMessage", 0, wire.ErrInvalid)
	}
	c = c.Sub("LDAPMessage", min(n, c.Len()))
	m.ID = c.Integer("messageID", wire.TagInteger)
	m.Op, n = c.Header("protocolOp")
	op := c.Sub("protocolOp", min(n, c.Len()))
	switch m.Op {
	case BindRequest: // section 4.2
		op.Integer("version", wire.TagInteger)
		op.Expect("name", wire.TagOctetString)
		tag, auth := op.Element("authentication")
		switch tag {
		case authSimple:
			m.Simple, m.Anonymous = auth.Len() > 0, auth.Len() == 0
		case authSASL:
			mechanism := auth.Expect("mechanism", wire.TagOctetString)
			op.Join(&auth)
			m.Mechanism = mechanism.Rest()
		}
	case BindResponse, SearchResultDone, ExtendedResponse: // section 4.1.9
		m.Result = op.Integer("resultCode", wire.TagEnumerated)
	case ExtendedRequest: // section 4.12
		name := op.Expect("requestName", 0x80)
		m.StartTLS = string(name.Rest()) == startTLS
	case SearchResultEntry: // section 4.5.2
		rest := op.Rest()
		for _, a := range javaAttributes {
			m.Java = m.Java || bytes.Contains(rest, []byte(a))
		}
	}
	c.Join(&op)
	return c.Err()
}

// inner has, for each operation, the tag of the first element inside it.
var inner = map[Op]wire.Tag{
	BindRequest: wire.TagInteger, BindResponse: wire.TagEnumerated, SearchRequest: wire.TagOctetString,
	SearchResultEntry: wire.TagOctetString, SearchResultDone: wire.TagEnumerated, SearchResultRef: wire.TagOctetString,
	ExtendedRequest: 0x80, ExtendedResponse: wire.TagEnumerated, UnbindRequest: 0,
}

// maxPrefix is how many bytes [Recognise] needs at most: two headers of six
// bytes, an INTEGER of six, and three bytes of the operation.
const maxPrefix = 21

// Recognise says how well b fits the beginning of an LDAPMessage: of one side,
// or of a TCP segment, or of a datagram (CLDAP).
func Recognise(b []byte) wire.Match {
	if len(b) == 0 {
		return wire.NeedMore
	}
	if b[0] != 0x30 {
		return wire.NoMatch
	}
	c := wire.NewCursor("ldap", b[:min(len(b), 64)])
	_, n := c.Header("LDAPMessage")
	start := c.Off()
	if c.Len() > 0 && c.PeekTag() != wire.TagInteger {
		return wire.NoMatch
	}
	id := c.Integer("messageID", wire.TagInteger)
	op, size := c.Header("protocolOp")
	want, known := inner[op]
	end := c.Off() - start + size
	if len(b) < maxPrefix && (!c.Ok() || known && c.Len() < min(size, 3)) {
		return wire.NeedMore
	}
	if !c.Ok() || !known || id < 0 || end > n {
		return wire.NoMatch
	}
	if op == UnbindRequest {
		if size == 0 {
			return wire.WeakMatch
		}
		return wire.NoMatch
	}
	if c.PeekTag() != want {
		return wire.NoMatch
	}
	if op == BindRequest { // version 2 or 3 (RFC 4511 section 4.2)
		if v := c.Peek(3); v == nil || v[1] != 1 || v[2] < 2 || v[2] > 3 {
			return wire.NoMatch
		}
	}
	return wire.SureMatch
}

// RecogniseDatagram is [Recognise] for CLDAP (MS-ADTS section 6.3.3).
func RecogniseDatagram(b []byte) wire.Match { return Recognise(b) }
