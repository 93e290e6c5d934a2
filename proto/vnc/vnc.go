// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package vnc reads the handshake of the remote framebuffer protocol (RFC 6143
// section 7.1): versions, the security types offered and chosen, and the result.
//
// It leaves out the security types' own exchanges, but for how long those of
// VNC authentication and Apple's are, and everything after the handshake.
//
// This API is stable.
package vnc

import (
	"github.com/myelin-health/myelin/wire"
)

// A Version is a protocol version. Apple's screen sharing says 3.889, RealVNC 4.1 and 5.0.
type Version struct{ Major, Minor int }

// VersionLength is the length of a ProtocolVersion message.
const VersionLength = 12

// ParseVersion reads a ProtocolVersion message, "RFB xxx.yyy\n" (RFC 6143
// section 7.1.1), which takes [VersionLength] bytes.
func ParseVersion(b []byte) (v Version, n int, err error) {
	c := wire.NewCursor("vnc", b)
	if m := c.Bytes("ProtocolVersion", VersionLength); m != nil {
		if Recognise(m) != wire.SureMatch {
			c.FailAt("ProtocolVersion", 0, wire.ErrInvalid)
		} else {
			v = Version{number(m[4:7]), number(m[8:11])}
		}
	}
	return v, c.Off(), c.Err()
}

func number(b []byte) (n int) {
	for _, d := range b {
		n = 10*n + int(d-'0')
	}
	return n
}

// Lists reports whether the server lists its security types and the client
// chooses: since 3.7. Before, the server decides.
func (v Version) Lists() bool { return v.Major > 3 || v.Minor >= 7 }

// A Security is a security type (RFC 6143 section 7.1.2 and its IANA registry).
type Security uint8

// The security types told apart here.
const (
	Invalid  Security = 0 // the server refuses; a reason follows
	None     Security = 1
	VNCAuth  Security = 2 // DES challenge and response
	RA2      Security = 5
	TLS      Security = 18
	VeNCrypt Security = 19
	Apple    Security = 30 // Diffie-Hellman and AES over name and password
)

// Encrypts reports whether the type protects what follows the handshake.
func (s Security) Encrypts() bool {
	switch s {
	case RA2, TLS, VeNCrypt, 13, 129, 130: // 13, 129, 130: RealVNC's RA2 with other keys
		return true
	}
	return false
}

// ParseSecurityTypes reads what a server of version v sends after the versions:
// a list of types, or one of 32 bits. types aliases b.
func ParseSecurityTypes(v Version, b []byte) (types []byte, n int, err error) {
	c := wire.NewCursor("vnc", b)
	if v.Lists() {
		types = c.Bytes("security-types", int(c.Uint8("number-of-security-types")))
		return types, c.Off(), c.Err()
	}
	c.Skip("security-type", 3)
	types = c.Bytes("security-type", 1)
	return types, c.Off(), c.Err()
}

// ServerChallenge is how many bytes the server sends between the choice of s
// and the result, or -1 when that is not known here. b is what it sent so far.
func (s Security) ServerChallenge(b []byte) (n int, err error) {
	switch s {
	case None:
		return 0, nil
	case VNCAuth: // RFC 6143 section 7.2.2
		return 16, nil
	case Apple: // generator, length of the key, prime, public key
		c := wire.NewCursor("vnc", b)
		c.Skip("generator", 2)
		return 4 + 2*int(c.Uint16("key-length")), c.Err()
	}
	return -1, nil
}

// ParseResult reads a SecurityResult (RFC 6143 section 7.1.3).
func ParseResult(b []byte) (ok bool, n int, err error) {
	c := wire.NewCursor("vnc", b)
	return c.Uint32("status") == 0 && c.Ok(), c.Off(), c.Err()
}

// Recognise says how well b, the first bytes of one side, fit a ProtocolVersion.
func Recognise(b []byte) wire.Match {
	const shape = "RFB 000.000\n"
	for i := range min(len(b), len(shape)) {
		if shape[i] == '0' && b[i] >= '0' && b[i] <= '9' {
			continue
		}
		if b[i] != shape[i] {
			return wire.NoMatch
		}
	}
	if len(b) < len(shape) {
		return wire.NeedMore
	}
	return wire.SureMatch
}
