// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A ContentType says what a record carries (RFC 8446 section 5.1).
type ContentType uint8

// The content types.
const (
	ChangeCipherSpec ContentType = 20
	Alert            ContentType = 21
	Handshake        ContentType = 22
	ApplicationData  ContentType = 23
	Heartbeat        ContentType = 24 // RFC 6520
)

const (
	headerBytes     = 5  // RFC 8446 section 5.1
	dtlsHeaderBytes = 13 // RFC 6347 section 4.1

	// maxFragment is the longest fragment: 2^14 bytes and, encrypted, 2048 more
	// (RFC 5246 section 6.2.3).
	maxFragment = 1<<14 + 2048
)

// A Record is one record, or the header of one.
type Record struct {
	Type     ContentType
	Version  Version // legacy_record_version: says little, see [ServerHello.Negotiated]
	Epoch    uint16  // DTLS only: how often the keys changed; 0 is in clear
	Sequence uint64  // DTLS only
	Fragment []byte
}

// ParseHeader reads a record's header, and returns the bytes of its fragment
// that follow the 5 bytes of the header, which need not be there yet.
func ParseHeader(b []byte) (r Record, fragment int, err error) {
	c := wire.NewCursor("tls", b)
	r.Type = ContentType(c.Uint8("type"))
	if c.Ok() && (r.Type < ChangeCipherSpec || r.Type > Heartbeat) {
		c.FailAt("type", 0, wire.ErrInvalid)
	}
	r.Version = Version(c.Uint16("legacy_record_version"))
	if c.Ok() && r.Version>>8 != 3 {
		c.FailAt("legacy_record_version", 1, wire.ErrInvalid)
	}
	fragment = int(c.Uint16("length"))
	if fragment > maxFragment {
		c.FailAt("length", 3, wire.ErrTooLong)
	}
	return r, fragment, c.Err()
}

// ParseRecord reads one record and returns how many bytes it took.
func ParseRecord(b []byte) (r Record, n int, err error) {
	r, n, err = ParseHeader(b)
	if err != nil {
		return r, 0, err
	}
	c := wire.NewCursor("tls", b)
	c.Skip("header", headerBytes)
	r.Fragment = c.Bytes("fragment", n)
	return r, c.Off(), c.Err()
}

// ParseDatagramRecord reads one record of DTLS 1.0 or 1.2 (RFC 6347 section
// 4.1), of which a datagram may hold several, and returns how many bytes it took.
func ParseDatagramRecord(b []byte) (r Record, n int, err error) {
	c := wire.NewCursor("tls", b)
	r.Type = ContentType(c.Uint8("type"))
	r.Version = Version(c.Uint16("version"))
	if c.Ok() && r.Version != DTLS10 && r.Version != DTLS12 && r.Version != DTLSOpenSSL {
		c.FailAt("version", 1, wire.ErrInvalid)
	}
	r.Epoch = c.Uint16("epoch")
	r.Sequence = uint64(c.Uint16("sequence_number"))<<32 | uint64(c.Uint32("sequence_number"))
	r.Fragment = c.Bytes("fragment", int(c.Uint16("length")))
	return r, c.Off(), c.Err()
}

// ParseAlert reads an alert that is in clear (RFC 8446 section 6). An encrypted
// one is longer, and an error.
func ParseAlert(fragment []byte) (fatal bool, description uint8, err error) {
	c := wire.NewCursor("tls", fragment)
	level := c.Uint8("level")
	description = c.Uint8("description")
	switch {
	case c.Len() > 0:
		c.Fail("alert", wire.ErrTrailing)
	case c.Ok() && level != 1 && level != 2:
		c.FailAt("level", 0, wire.ErrInvalid)
	}
	return level == 2, description, c.Err()
}

// IsHeartbleed reports whether the fragment of a Heartbeat record in clear is a
// request whose payload, with the 16 bytes of padding that have to follow, is
// longer than the record. RFC 6520 section 4 has such a message dropped; OpenSSL
// 1.0.1 to 1.0.1f answers it out of its memory (CVE-2014-0160).
func IsHeartbleed(fragment []byte) bool {
	const request, head, padding = 1, 3, 16
	return len(fragment) >= head && fragment[0] == request &&
		head+int(binary.BigEndian.Uint16(fragment[1:]))+padding > len(fragment)
}

// A HandshakeType says which handshake message it is (RFC 8446 section 4).
type HandshakeType uint8

// The handshake types that go in clear.
const (
	HelloRequestType       HandshakeType = 0
	ClientHelloType        HandshakeType = 1
	ServerHelloType        HandshakeType = 2
	HelloVerifyRequestType HandshakeType = 3 // DTLS
	NewSessionTicketType   HandshakeType = 4
	CertificateType        HandshakeType = 11
	ServerKeyExchangeType  HandshakeType = 12
	CertificateRequestType HandshakeType = 13
	ServerHelloDoneType    HandshakeType = 14
	CertificateVerifyType  HandshakeType = 15
	ClientKeyExchangeType  HandshakeType = 16
	FinishedType           HandshakeType = 20
	CertificateURLType     HandshakeType = 21
	CertificateStatusType  HandshakeType = 22
)

func (t HandshakeType) known() bool {
	return t <= NewSessionTicketType || t >= CertificateType && t <= ClientKeyExchangeType || t >= FinishedType && t <= CertificateStatusType
}

// A Message is one handshake message (RFC 8446 section 4).
type Message struct {
	Type   HandshakeType
	Length int    // bytes of the body
	Body   []byte // nil when Length is more than MaxMessage allows
}

const messageHeaderBytes = 4

// The longest handshake messages that are put together, in bytes. The protocol
// allows 16 MiB; chains of certificates of 256 KiB do not occur.
const (
	MaxMessage     = 64 << 10
	MaxCertificate = 256 << 10
)

func maxBody(t HandshakeType) int {
	if t == CertificateType {
		return MaxCertificate
	}
	return MaxMessage
}

// An Assembler puts the handshake messages of one sender together from the
// fragments of its records, in which they lie end to end without regard to
// where a record ends (RFC 8446 section 5.1). The zero value is ready. It
// allocates for messages that span records only, and never more than
// [MaxCertificate] bytes and a half.
type Assembler struct {
	buf  []byte // a message that is not complete, from its header on
	skip int    // bytes still to come of a message that is too long
}

// Size returns how many bytes of memory a's messages take.
func (a *Assembler) Size() int { return cap(a.buf) }

// Next takes from fragment what belongs to one message, and returns the message
// and what is left of fragment. Not ok means that the fragment is used up and
// more are needed. A message longer than its bound comes without its body, and
// its bytes are passed over. The body is valid until the next call.
func (a *Assembler) Next(fragment []byte) (m Message, rest []byte, ok bool) {
	if a.skip > 0 {
		n := min(a.skip, len(fragment))
		a.skip -= n
		fragment = fragment[n:]
	}
	var whole []byte
	if len(a.buf) > 0 {
		whole, fragment = a.take(fragment, messageHeaderBytes)
		if len(whole) < messageHeaderBytes {
			return m, nil, false
		}
	} else if whole = fragment; len(whole) < messageHeaderBytes {
		a.buf = append(a.buf, fragment...)
		return m, nil, false
	}
	m.Type = HandshakeType(whole[0])
	m.Length = int(whole[1])<<16 | int(whole[2])<<8 | int(whole[3])
	size := messageHeaderBytes + m.Length
	switch {
	case m.Length > maxBody(m.Type):
		if len(a.buf) == 0 {
			fragment = fragment[messageHeaderBytes:]
		}
		a.buf = a.buf[:0] // held the header and no more
		n := min(m.Length, len(fragment))
		a.skip = m.Length - n
		return m, fragment[n:], true
	case len(a.buf) == 0 && size <= len(fragment): // the usual case: no copy
		m.Body = fragment[messageHeaderBytes:size:size]
		return m, fragment[size:], true
	}
	whole, fragment = a.take(fragment, size)
	if len(whole) < size {
		return m, nil, false
	}
	m.Body = whole[messageHeaderBytes:size:size]
	a.buf = a.buf[:0]
	return m, fragment, true
}

// take fills the buffer from fragment up to n bytes in all, and returns it and
// what it did not take.
func (a *Assembler) take(fragment []byte, n int) (whole, rest []byte) {
	k := min(max(n-len(a.buf), 0), len(fragment))
	a.buf = append(a.buf, fragment[:k]...)
	return a.buf, fragment[k:]
}

// ParseDatagramHandshake reads one handshake message of DTLS (RFC 6347 section
// 4.2.2). Body is nil, and ok false, when the message comes in several
// fragments: only the hellos are of interest, and those mostly come in one.
func ParseDatagramHandshake(fragment []byte) (m Message, n int, ok bool, err error) {
	c := wire.NewCursor("tls", fragment)
	m.Type = HandshakeType(c.Uint8("msg_type"))
	m.Length = int(c.Uint24("length"))
	c.Uint16("message_seq")
	offset := int(c.Uint24("fragment_offset"))
	body := c.Bytes("body", int(c.Uint24("fragment_length")))
	if c.Ok() && offset+len(body) > m.Length {
		c.FailAt("fragment_length", 9, wire.ErrInvalid)
	}
	if err := c.Err(); err != nil {
		return m, 0, false, err
	}
	if ok = len(body) == m.Length; ok {
		m.Body = body
	}
	return m, c.Off(), ok, nil
}
