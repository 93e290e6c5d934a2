// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/myelin-health/myelin/wire"
)

// The extensions that are read (IANA's registry of TLS ExtensionType values).
const (
	extServerName          = 0
	extSupportedGroups     = 10
	extSignatureAlgorithms = 13
	extHeartbeat           = 15
	extALPN                = 16
	extPreSharedKey        = 41
	extEarlyData           = 42
	extSupportedVersions   = 43
	extKeyShare            = 51
	extECH                 = 0xfe0d // RFC 9849
	extESNI                = 0xffce // its draft of 2018
)

// A ClientHello is what a client offers (RFC 8446 section 4.1.2, RFC 5246
// section 7.4.1.2), or what its SSL 2.0 form says.
type ClientHello struct {
	Version             Version // legacy_version: see MaxVersion
	Random              []byte
	SessionID           []byte
	Cookie              []byte  // DTLS only
	CipherSuites        Uint16s // of SSL 2.0 those that SSL 3.0 has too
	CompressionMethods  []byte
	Extensions          Extensions
	ServerName          []byte // host_name of RFC 6066 section 3, or nil
	HasServerName       bool   // the extension is there, whatever is in it
	ALPN                Names
	SupportedVersions   Uint16s
	SupportedGroups     Uint16s
	SignatureAlgorithms Uint16s
	Heartbeat           bool // offers RFC 6520
	PreSharedKey        bool // resumes, or has a key from elsewhere
	EarlyData           bool
	ECH                 bool // encrypted client hello: ServerName is a front's
	ESNI                bool // the draft before it
	SSL2                bool // came as an SSL 2.0 CLIENT-HELLO
	WeakSSL2            bool // that offers SSL 2.0's own ciphers
}

// MaxVersion is the highest version that the client offers: of supported_versions
// when there is one (RFC 8446 section 4.2.1), else its legacy_version.
func (h *ClientHello) MaxVersion() Version {
	best := Version(0)
	for v := range h.SupportedVersions.All() {
		if !IsGREASE(v) && newer(Version(v), best) {
			best = Version(v)
		}
	}
	if best == 0 {
		return h.Version
	}
	return best
}

// newer orders versions of one kind: those of DTLS count downwards.
func newer(a, b Version) bool {
	if b == 0 {
		return true
	}
	if a>>8 == 0xfe && b>>8 == 0xfe {
		return a < b
	}
	return a > b
}

// ParseClientHello reads the body of a ClientHello.
func ParseClientHello(body []byte) (h ClientHello, err error) {
	return parseClientHello(body, false)
}

// ParseDatagramClientHello reads the body of a ClientHello of DTLS, which has a
// cookie (RFC 6347 section 4.2.1).
func ParseDatagramClientHello(body []byte) (h ClientHello, err error) {
	return parseClientHello(body, true)
}

func parseClientHello(body []byte, datagram bool) (h ClientHello, err error) {
	c := wire.NewCursor("tls", body)
	h.Version = Version(c.Uint16("legacy_version"))
	h.Random = c.Bytes("random", 32)
	h.SessionID = sessionID(&c)
	if datagram {
		h.Cookie = c.Bytes("cookie", int(c.Uint8("cookie")))
	}
	h.CipherSuites = uint16s(&c, "cipher_suites", int(c.Uint16("cipher_suites")))
	h.CompressionMethods = c.Bytes("legacy_compression_methods", int(c.Uint8("legacy_compression_methods")))
	if c.Ok() && c.Len() == 0 {
		return h, nil // RFC 5246 section 7.4.1.2: extensions may be absent
	}
	exts := c.Sub("extensions", int(c.Uint16("extensions")))
	if c.Len() > 0 {
		c.Fail("ClientHello", wire.ErrTrailing)
	}
	h.Extensions = Extensions(exts.Peek(exts.Len()))
	for exts.Len() > 0 {
		typ := exts.Uint16("extension_type")
		e := exts.Sub("extension_data", int(exts.Uint16("extension_data")))
		switch typ {
		case extServerName:
			h.HasServerName = true
			if e.Len() > 0 { // RFC 6066 section 3: a list of names, of which only the type host_name exists
				e.Uint16("server_name_list")
				if e.Uint8("name_type") == 0 {
					h.ServerName = e.Bytes("host_name", int(e.Uint16("host_name")))
				}
			}
		case extALPN:
			h.ALPN = names(&e)
		case extSupportedVersions:
			h.SupportedVersions = uint16s(&e, "supported_versions", int(e.Uint8("supported_versions")))
		case extSupportedGroups:
			h.SupportedGroups = uint16s(&e, "supported_groups", int(e.Uint16("supported_groups")))
		case extSignatureAlgorithms:
			h.SignatureAlgorithms = uint16s(&e, "signature_algorithms", int(e.Uint16("signature_algorithms")))
		case extHeartbeat:
			h.Heartbeat = true
		case extPreSharedKey:
			h.PreSharedKey = true
		case extEarlyData:
			h.EarlyData = true
		case extECH:
			h.ECH = true
		case extESNI:
			h.ESNI = true
		}
		exts.Join(&e)
	}
	c.Join(&exts)
	return h, c.Err()
}

// Extensions is the vector of extensions as it stands in a hello.
type Extensions []byte

// Types yields the types of the extensions in their order.
func (l Extensions) Types() func(yield func(uint16) bool) {
	return func(yield func(uint16) bool) {
		for len(l) >= 4 {
			typ, n := binary.BigEndian.Uint16(l), 4+int(binary.BigEndian.Uint16(l[2:]))
			if n > len(l) || !yield(typ) {
				return
			}
			l = l[n:]
		}
	}
}

func sessionID(c *wire.Cursor) []byte {
	at := c.Off()
	id := c.Bytes("legacy_session_id", int(c.Uint8("legacy_session_id")))
	if len(id) > 32 {
		c.FailAt("legacy_session_id", at, wire.ErrTooLong)
	}
	return id
}

func uint16s(c *wire.Cursor, field string, n int) Uint16s {
	if n%2 != 0 {
		c.Fail(field, wire.ErrInvalid)
	}
	return Uint16s(c.Bytes(field, n))
}

func names(c *wire.Cursor) Names {
	l := c.Sub("protocol_name_list", int(c.Uint16("protocol_name_list")))
	all := Names(l.Peek(l.Len()))
	for l.Len() > 0 {
		if l.Skip("ProtocolName", int(l.Uint8("ProtocolName"))); !l.Ok() {
			c.Join(&l)
			return nil
		}
	}
	return all
}

// helloRetryRandom is the random of a ServerHello that is a HelloRetryRequest:
// the SHA-256 of that word (RFC 8446 section 4.1.3).
var helloRetryRandom = []byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// A ServerHello is what a server chose (RFC 8446 section 4.1.3, RFC 5246
// section 7.4.1.3).
type ServerHello struct {
	Version           Version // legacy_version: see Negotiated
	Random            []byte
	SessionID         []byte
	CipherSuite       Suite
	CompressionMethod uint8
	Extensions        Extensions
	SupportedVersion  Version // selected_version, or 0 when the extension is absent
	ALPN              []byte  // to TLS 1.2 only: later it is encrypted
	Group             uint16  // of the key share, or 0
	Heartbeat         bool    // agreed to RFC 6520
	PreSharedKey      bool
	IsRetryRequest    bool // a HelloRetryRequest: the real hello follows
	SSL2              bool // an SSL 2.0 SERVER-HELLO
	ServerCertificate []byte
}

// Negotiated is the version that both sides use from here on.
func (h *ServerHello) Negotiated() Version {
	if h.SupportedVersion != 0 {
		return h.SupportedVersion
	}
	return h.Version
}

// ParseServerHello reads the body of a ServerHello or HelloRetryRequest.
func ParseServerHello(body []byte) (h ServerHello, err error) {
	c := wire.NewCursor("tls", body)
	h.Version = Version(c.Uint16("legacy_version"))
	h.Random = c.Bytes("random", 32)
	h.SessionID = sessionID(&c)
	h.CipherSuite = Suite(c.Uint16("cipher_suite"))
	h.CompressionMethod = c.Uint8("legacy_compression_method")
	if !c.Ok() || c.Len() == 0 {
		return h, c.Err()
	}
	h.IsRetryRequest = bytes.Equal(h.Random, helloRetryRandom)
	exts := c.Sub("extensions", int(c.Uint16("extensions")))
	if c.Len() > 0 {
		c.Fail("ServerHello", wire.ErrTrailing)
	}
	h.Extensions = Extensions(exts.Peek(exts.Len()))
	for exts.Len() > 0 {
		typ := exts.Uint16("extension_type")
		e := exts.Sub("extension_data", int(exts.Uint16("extension_data")))
		switch typ {
		case extALPN:
			h.ALPN = names(&e).First()
		case extSupportedVersions:
			h.SupportedVersion = Version(e.Uint16("selected_version"))
		case extKeyShare:
			h.Group = e.Uint16("group") // section 4.2.8: the first field, in a retry request the only one
		case extHeartbeat:
			h.Heartbeat = true
		case extPreSharedKey:
			h.PreSharedKey = true
		}
		exts.Join(&e)
	}
	c.Join(&exts)
	return h, c.Err()
}

// A KeyExchange is with what a server of TLS 1.2 or older makes the shared
// secret (RFC 5246 section 7.4.3, RFC 8422 section 5.4).
type KeyExchange struct {
	Group uint16 // named elliptic curve, or 0
	Bits  int    // size of the Diffie-Hellman group's prime (or of the RSA modulus of an export suite), or 0
}

// ParseServerKeyExchange reads the front of a ServerKeyExchange. Which form it
// has would follow from the cipher suite; it is told here by its own shape, so
// that no table of 300 suites is needed: a named curve with a point of a size
// that curves have, or else numbers behind their lengths. With a pre-shared key
// the form is another, and the error is [wire.ErrInvalid].
func ParseServerKeyExchange(body []byte) (k KeyExchange, err error) {
	const namedCurve = 3
	c := wire.NewCursor("tls", body)
	if b := c.Peek(5); b != nil && b[0] == namedCurve {
		n, form := int(b[3]), b[4]
		if n%2 == 1 && form >= 2 && form <= 4 || n == 32 || n == 56 { // a point of SEC 1, X25519, X448
			c.Uint8("curve_type")
			k.Group = c.Uint16("named_curve")
			c.Skip("point", int(c.Uint8("point")))
			return k, c.Err()
		}
	}
	p := c.Bytes("dh_p", int(c.Uint16("dh_p")))
	c.Skip("dh_g", int(c.Uint16("dh_g")))
	if !c.Ok() || len(p) < 32 {
		c = wire.NewCursor("tls", body)
		c.Fail("params", wire.ErrInvalid)
		return k, c.Err()
	}
	k.Bits = bitLen(p)
	return k, nil
}

// bitLen is the size in bits of a big-endian number.
func bitLen(b []byte) int {
	b = bytes.TrimLeft(b, "\x00")
	if len(b) == 0 {
		return 0
	}
	return 8*(len(b)-1) + bits.Len8(b[0])
}

// FirstCertificate returns the sender's own certificate, in DER, of the body of
// a Certificate message of TLS 1.2 or older (RFC 5246 section 7.4.2), and how
// many bytes before it. It is nil when the sender has none.
func FirstCertificate(body []byte) (der []byte, off int, err error) {
	c := wire.NewCursor("tls", body)
	list := c.Sub("certificate_list", int(c.Uint24("certificate_list")))
	if c.Len() > 0 {
		c.Fail("Certificate", wire.ErrTrailing)
	}
	if list.Len() > 0 {
		n := int(list.Uint24("ASN.1Cert"))
		off = list.Off()
		der = list.Bytes("ASN.1Cert", n)
	}
	c.Join(&list)
	return der, off, c.Err()
}
