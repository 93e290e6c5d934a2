// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package tls reads what TLS says before it encrypts: which version and cipher
// suite were agreed, for which name, and with which certificate.
//
// It implements the record layer and the handshake messages of TLS 1.3 (RFC
// 8446 sections 4 and 5), TLS 1.2 (RFC 5246 sections 6 and 7), 1.1 (RFC 4346),
// 1.0 (RFC 2246) and SSL 3.0 (RFC 6101); the two hellos of SSL 2.0 (the
// Netscape specification of 1995, and RFC 5246 appendix E.2); the records of
// DTLS 1.0 and 1.2 (RFC 4347, RFC 6347); the extensions of RFC 6066, RFC 7301
// and RFC 8422; Heartbeat (RFC 6520); GREASE (RFC 8701); the JA4 client
// fingerprint; and X.509 certificates (RFC 5280) as far as their weaknesses go.
//
// It leaves out everything encrypted, the connection IDs of DTLS (RFC 9146),
// DTLS 1.3, renegotiation, chains of certificates beyond the first, and QUIC.
//
// The slices in a parsed message alias what was parsed. No parser here
// allocates, but for an error.
//
// This API is stable.
package tls

import (
	"encoding/binary"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// A Version is the number of a protocol version on the wire.
type Version uint16

// The versions (RFC 8446 section 4.2.1, RFC 6347 section 4.1).
const (
	SSL20       Version = 0x0002
	SSL30       Version = 0x0300
	TLS10       Version = 0x0301
	TLS11       Version = 0x0302
	TLS12       Version = 0x0303
	TLS13       Version = 0x0304
	DTLS10      Version = 0xfeff
	DTLS12      Version = 0xfefd
	DTLS13      Version = 0xfefc
	DTLSOpenSSL Version = 0x0100 // what OpenSSL before 0.9.8f, and Cisco's AnyConnect, call DTLS 1.0
)

// versions is the one table of versions: name, the two characters of JA4, and
// what is wrong with the version.
var versions = []struct {
	version Version
	name    string
	ja4     string
	weak    Weakness
}{
	{TLS13, "TLS 1.3", "13", 0},
	{TLS12, "TLS 1.2", "12", 0},
	{TLS11, "TLS 1.1", "11", WeakVersion}, // RFC 8996
	{TLS10, "TLS 1.0", "10", WeakVersion}, // RFC 8996
	{SSL30, "SSL 3.0", "s3", WeakVersion}, // RFC 7568
	{SSL20, "SSL 2.0", "s2", WeakVersion}, // RFC 6176
	{DTLS13, "DTLS 1.3", "d3", 0},
	{DTLS12, "DTLS 1.2", "d2", 0},
	{DTLS10, "DTLS 1.0", "d1", WeakVersion},      // RFC 8996
	{DTLSOpenSSL, "DTLS 1.0", "00", WeakVersion}, // the same protocol
}

// String returns the version's name, "TLS 1.2", or "" when it is unknown.
func (v Version) String() string {
	for i := range versions {
		if versions[i].version == v {
			return versions[i].name
		}
	}
	return ""
}

// IsGREASE reports whether v is one of the values that clients send so that
// servers do not forget to ignore what they do not know (RFC 8701 section 2).
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// Uint16s is a vector of numbers of two bytes as it stands in a message.
type Uint16s []byte

// All yields the numbers in their order.
func (l Uint16s) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for ; len(l) >= 2; l = l[2:] {
			if !yield(binary.BigEndian.Uint16(l)) {
				return
			}
		}
	}
}

// Len is how many numbers there are.
func (l Uint16s) Len() int { return len(l) / 2 }

// Names is a vector of names, each behind its length of one byte (RFC 7301
// section 3.1), as it stands in a message.
type Names []byte

// All yields the names in their order.
func (l Names) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(l) > 0 && int(l[0]) < len(l) {
			n := 1 + int(l[0])
			if !yield(l[1:n:n]) {
				return
			}
			l = l[n:]
		}
	}
}

// First returns the first name, or nil when there is none.
func (l Names) First() []byte {
	for name := range l.All() {
		return name
	}
	return nil
}

// recogniseBytes is how far into what it is given Recognise looks.
const recogniseBytes = 64

// Recognise tells whether b starts with a record of TLS or SSL 3.0, or with a
// hello of SSL 2.0. Mid-stream it believes a record of application data.
func Recognise(b []byte) wire.Match {
	b = b[:min(len(b), recogniseBytes)]
	if len(b) == 0 {
		return wire.NeedMore
	}
	if b[0]&0x80 != 0 {
		return recogniseSSL2(b)
	}
	if ContentType(b[0]) < ChangeCipherSpec || ContentType(b[0]) > Heartbeat {
		return wire.NoMatch
	}
	if len(b) >= 3 && (b[1] != 3 || b[2] > 4) { // RFC 8446 section 5.1: 0x0300 to 0x0304 are all in use
		return wire.NoMatch
	}
	if len(b) < headerBytes+1 {
		return wire.NeedMore
	}
	n, first := int(binary.BigEndian.Uint16(b[3:])), b[headerBytes]
	if n > maxFragment {
		return wire.NoMatch
	}
	fits := false
	switch ContentType(b[0]) {
	case ChangeCipherSpec:
		fits = n == 1 && first == 1 // RFC 5246 section 7.1
	case Alert:
		fits = n == 2 && (first == 1 || first == 2) || n > 16 // in clear, or encrypted with a tag
	case Handshake:
		if n < 4 || len(b) >= headerBytes+2 && b[headerBytes+1] > 3 {
			return wire.NoMatch // no message of ours is 256 KiB long; nor is an encrypted one told from chance
		}
		fits = HandshakeType(first).known()
	case ApplicationData:
		fits = n > 0
	case Heartbeat:
		fits = n >= 3 && (first == 1 || first == 2) // RFC 6520 section 4
	}
	if !fits {
		return wire.NoMatch
	}
	return wire.SureMatch
}

// RecogniseDatagram tells whether b starts with a record of DTLS.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) < dtlsHeaderBytes+1 || ContentType(b[0]) < ChangeCipherSpec || ContentType(b[0]) > Heartbeat {
		return wire.NoMatch
	}
	n := int(binary.BigEndian.Uint16(b[11:]))
	switch v := Version(binary.BigEndian.Uint16(b[1:])); {
	case v != DTLS10 && v != DTLS12 && v != DTLSOpenSSL:
		return wire.NoMatch
	case n == 0 || n > len(b)-dtlsHeaderBytes:
		return wire.NoMatch // RFC 6347 section 4.1.1: a record does not span datagrams
	}
	return wire.SureMatch
}
