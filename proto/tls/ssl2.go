// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// SSL 2.0 has records with a header of two bytes, of which the first bit is set
// (or three, with padding, which the hellos do not need), and messages whose
// fields' lengths all stand in front.

const (
	ssl2ClientHello = 1
	ssl2ServerHello = 4
)

// suiteSSL2 is where the ciphers of SSL 2.0, which are numbers of three bytes,
// are kept among the suites: 0x010080 is 0xff01. No suite is registered there,
// and seven ciphers exist, each of which is enough to be weak.
const suiteSSL2 Suite = 0xff00

func recogniseSSL2(b []byte) wire.Match {
	if len(b) < 11 {
		if len(b) >= 3 && b[2] != ssl2ClientHello && b[2] != ssl2ServerHello {
			return wire.NoMatch
		}
		return wire.NeedMore
	}
	n := int(binary.BigEndian.Uint16(b) & 0x7fff)
	at := func(i int) int { return int(binary.BigEndian.Uint16(b[i:])) }
	switch version := at(3); {
	case b[2] == ssl2ClientHello && (version == int(SSL20) || version>>8 == 3 && version <= int(TLS13)):
		specs, id, challenge := at(5), at(7), at(9)
		if specs > 0 && specs%3 == 0 && (id == 0 || id == 16) && challenge >= 16 && challenge <= 32 && n == 9+specs+id+challenge {
			return wire.SureMatch
		}
	case b[2] == ssl2ServerHello && b[3] <= 1 && b[4] <= 1:
		if Version(at(5)) == SSL20 && n >= 11 && at(9)%3 == 0 && at(7)+at(9) < n {
			return wire.SureMatch
		}
	}
	return wire.NoMatch
}

// IsSSL2 reports whether b, the first bytes of a sender, is an SSL 2.0 hello.
func IsSSL2(b []byte) bool { return len(b) > 2 && b[0]&0x80 != 0 }

// ParseSSL2ClientHello reads a record with an SSL 2.0 CLIENT-HELLO, in which a
// client may also offer later versions (RFC 5246 appendix E.2), and returns how
// many bytes it took.
func ParseSSL2ClientHello(b []byte) (h ClientHello, n int, err error) {
	c, n, err := ssl2Record(b, ssl2ClientHello)
	if err != nil {
		return h, 0, err
	}
	h.SSL2 = true
	h.Version = Version(c.Uint16("CLIENT-VERSION"))
	specs := int(c.Uint16("CIPHER-SPECS-LENGTH"))
	id := int(c.Uint16("SESSION-ID-LENGTH"))
	challenge := int(c.Uint16("CHALLENGE-LENGTH"))
	if specs%3 != 0 {
		c.FailAt("CIPHER-SPECS-LENGTH", 5, wire.ErrInvalid)
	}
	for list := c.Bytes("CIPHER-SPECS-DATA", specs); len(list) >= 3; list = list[3:] {
		h.WeakSSL2 = h.WeakSSL2 || list[0] != 0 // appendix E.2: a suite of TLS has a zero in front
	}
	h.SessionID = c.Bytes("SESSION-ID-DATA", id)
	h.Random = c.Bytes("CHALLENGE-DATA", challenge)
	return h, n, c.Err()
}

// ParseSSL2ServerHello reads a record with an SSL 2.0 SERVER-HELLO and returns
// how many bytes it took. SSL 2.0 lets the client choose among the ciphers; the
// CipherSuite is the first, and each of them is weak.
func ParseSSL2ServerHello(b []byte) (h ServerHello, n int, err error) {
	c, n, err := ssl2Record(b, ssl2ServerHello)
	if err != nil {
		return h, 0, err
	}
	h.SSL2 = true
	c.Uint8("SESSION-ID-HIT")
	c.Uint8("CERTIFICATE-TYPE")
	h.Version = Version(c.Uint16("SERVER-VERSION"))
	certificate := int(c.Uint16("CERTIFICATE-LENGTH"))
	specs := int(c.Uint16("CIPHER-SPECS-LENGTH"))
	id := int(c.Uint16("CONNECTION-ID-LENGTH"))
	h.ServerCertificate = c.Bytes("CERTIFICATE-DATA", certificate)
	if list := c.Bytes("CIPHER-SPECS-DATA", specs); len(list) >= 3 {
		h.CipherSuite = suiteSSL2 | Suite(list[0])
	}
	h.Random = c.Bytes("CONNECTION-ID-DATA", id)
	return h, n, c.Err()
}

// ssl2Record returns a cursor behind the type of the message that the record at
// b carries, and the record's length.
func ssl2Record(b []byte, want uint8) (c wire.Cursor, n int, err error) {
	outer := wire.NewCursor("tls", b)
	head := outer.Uint16("RECORD-LENGTH")
	if outer.Ok() && head&0x8000 == 0 {
		outer.FailAt("RECORD-LENGTH", 0, wire.ErrInvalid)
	}
	c = outer.Sub("RECORD", int(head&0x7fff))
	if typ := c.Uint8("MSG-TYPE"); c.Ok() && typ != want {
		c.FailAt("MSG-TYPE", 2, wire.ErrInvalid)
	}
	return c, outer.Off(), c.Err()
}
