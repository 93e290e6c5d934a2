// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package smb

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// An NTLMType is the MessageType of an NTLM message (MS-NLMP section 2.2.1).
type NTLMType uint32

// The messages.
const (
	NTLMNegotiate    NTLMType = 1
	NTLMChallenge    NTLMType = 2
	NTLMAuthenticate NTLMType = 3
)

const (
	ntlmVersion = 0x02000000 // NTLMSSP_NEGOTIATE_VERSION (MS-NLMP section 2.2.2.5)
	ntlmUnicode = 0x00000001 // NTLMSSP_NEGOTIATE_UNICODE
)

// maxAVPairs bounds the pairs of a challenge: MS-NLMP section 2.2.2.1 has eleven kinds.
const maxAVPairs = 16

// An NTLM is one NTLM message. The user's name is not read out: only whether
// there is one. Its texts alias the input.
type NTLM struct {
	Type     NTLMType
	Version  OSVersion // zero when not said
	Computer String    // NetBIOS name of the sender
	DNSName  String    // DNS name of the sender; challenge
	Domain   String    // NetBIOS domain of the sender (challenge) or of the user (authenticate)
	HasUser  bool      // authenticate: not anonymous
	V1       bool      // authenticate: the responses are of version 1 of NTLM
}

// FindNTLM returns the NTLM message inside a security token, which may be
// wrapped in SPNEGO (RFC 4178), or nil.
func FindNTLM(token []byte) []byte {
	if i := bytes.Index(token, []byte("NTLMSSP\x00")); i >= 0 {
		return token[i:len(token):len(token)]
	}
	return nil
}

// kerberosOIDs name Kerberos in SPNEGO: 1.2.840.113554.1.2.2 (RFC 4121), and
// Microsoft's 1.2.840.48018.1.2.2 (MS-SPNG section 1.9).
var kerberosOIDs = [...][]byte{
	{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02},
	{0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02},
}

// maxMechList is how far into a token the list of mechanisms is looked for.
const maxMechList = 96

// IsKerberos reports whether a security token without NTLM message offers
// Kerberos before anything else.
func IsKerberos(token []byte) bool {
	token = token[:min(len(token), maxMechList)]
	return bytes.Contains(token, kerberosOIDs[0]) || bytes.Contains(token, kerberosOIDs[1])
}

// ParseNTLM reads one NTLM message.
func ParseNTLM(b []byte) (n NTLM, err error) {
	c := wire.NewCursor("smb", b)
	if s := c.Bytes("Signature", 8); string(s) != "NTLMSSP\x00" {
		c.FailAt("Signature", 0, wire.ErrInvalid)
	}
	n.Type = NTLMType(c.Uint32LE("MessageType"))
	var flags uint32
	switch n.Type {
	case NTLMNegotiate: // section 2.2.1.1
		flags = c.Uint32LE("NegotiateFlags")
		c.Skip("DomainNameFields, WorkstationFields", 16)
		n.Version = readVersion(&c, flags)
	case NTLMChallenge: // section 2.2.1.2
		c.Skip("TargetNameFields", 8)
		flags = c.Uint32LE("NegotiateFlags")
		c.Skip("ServerChallenge, Reserved", 16)
		info := payload(&c, b, "TargetInfo")
		n.Version = readVersion(&c, flags)
		readAVPairs(&n, info)
	case NTLMAuthenticate: // section 2.2.1.3
		c.Skip("LmChallengeResponseFields", 8)
		nt := c.Uint16LE("NtChallengeResponseLen")
		c.Skip("NtChallengeResponseFields", 6)
		n.V1 = nt == 24 // section 2.2.2.6; version 2 is longer
		domain := payload(&c, b, "DomainName")
		user := payload(&c, b, "UserName")
		computer := payload(&c, b, "Workstation")
		c.Skip("EncryptedRandomSessionKeyFields", 8)
		flags = c.Uint32LE("NegotiateFlags")
		n.Version = readVersion(&c, flags)
		unicode := flags&ntlmUnicode != 0
		n.HasUser = len(user) > 0
		n.Domain, n.Computer = String{domain, unicode}, String{computer, unicode}
	default:
		c.FailAt("MessageType", 8, wire.ErrInvalid)
	}
	return n, c.Err()
}

// payload reads the Len, MaxLen and BufferOffset of a field and returns the
// bytes that they point to, none when these are not all there: a message may be cut.
func payload(c *wire.Cursor, b []byte, field string) []byte {
	n := int(c.Uint16LE(field))
	c.Skip(field, 2)
	off := int(c.Uint32LE(field))
	if !c.Ok() || off > len(b) || n > len(b)-off {
		return nil
	}
	return b[off : off+n : off+n]
}

// readAVPairs reads the TargetInfo of a challenge (MS-NLMP section 2.2.2.1).
func readAVPairs(n *NTLM, info []byte) {
	for range maxAVPairs {
		if len(info) < 4 {
			return
		}
		id, size := le16(info, 0), int(le16(info, 2))
		if id == 0 || size > len(info)-4 {
			return
		}
		v := String{info[4 : 4+size : 4+size], true}
		switch id {
		case 1:
			n.Computer = v
		case 2:
			n.Domain = v
		case 3:
			n.DNSName = v
		}
		info = info[4+size:]
	}
}

// An OSVersion is the VERSION structure of MS-NLMP section 2.2.2.10.
type OSVersion struct {
	Major, Minor uint8
	Build        uint16
}

func readVersion(c *wire.Cursor, flags uint32) (v OSVersion) {
	if flags&ntlmVersion == 0 || !c.Ok() || c.Len() < 8 {
		return v
	}
	return OSVersion{c.Uint8("ProductMajorVersion"), c.Uint8("ProductMinorVersion"), c.Uint16LE("ProductBuild")}
}

// windows lists versions of Windows, newest first (MS-NLMP section 2.2.2.10
// and its product behaviour). Client and server of one version have one number:
// the table names both, the client first.
var windows = [...]struct {
	from OSVersion
	name string
}{
	{OSVersion{10, 0, 26100}, "Windows 11 or Server 2025"},
	{OSVersion{10, 0, 22000}, "Windows 11"},
	{OSVersion{10, 0, 20348}, "Windows Server 2022"},
	{OSVersion{10, 0, 18362}, "Windows 10"},
	{OSVersion{10, 0, 17763}, "Windows 10 or Server 2019"},
	{OSVersion{10, 0, 15063}, "Windows 10"},
	{OSVersion{10, 0, 14393}, "Windows 10 or Server 2016"},
	{OSVersion{10, 0, 10240}, "Windows 10"},
	{OSVersion{6, 3, 1}, "Windows 8.1 or Server 2012 R2"},
	{OSVersion{6, 2, 1}, "Windows 8 or Server 2012"},
	{OSVersion{6, 1, 1}, "Windows 7 or Server 2008 R2"},
	{OSVersion{6, 0, 1}, "Windows Vista or Server 2008"},
	{OSVersion{5, 2, 1}, "Windows Server 2003"},
	{OSVersion{5, 1, 1}, "Windows XP"},
	{OSVersion{5, 0, 1}, "Windows 2000"},
}

// Windows names the version of Windows that has this number, or "". Samba says
// 6.1 with build 0, and so names none.
func (v OSVersion) Windows() string {
	for _, w := range &windows {
		if v.Major == w.from.Major && v.Minor == w.from.Minor && v.Build >= w.from.Build {
			return w.name
		}
	}
	return ""
}
