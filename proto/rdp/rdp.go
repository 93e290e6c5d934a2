// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package rdp reads the beginning of a Remote Desktop Protocol connection
// (MS-RDPBCGR section 1.3.1.1): the X.224 connection request and confirm, in
// which both sides agree on what protects the rest, and, where that is nothing
// but RDP's own encryption, the MCS Connect Initial and Connect Response with
// the client's name and build and the virtual channels it asks for.
//
// It leaves out everything after: with TLS it cannot be seen, without it it
// says nothing more about the two sides. The cookie, which may hold the name of
// a user, is not read, only seen to be there.
//
// This API is stable.
package rdp

import (
	"bytes"
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// Protocols are the security protocols of RDP_NEG_REQ and RDP_NEG_RSP
// (MS-RDPBCGR section 2.2.1.1.1). None of them is RDP's own security.
type Protocols uint32

// The security protocols.
const (
	SSL      Protocols = 1
	Hybrid   Protocols = 2 // CredSSP
	RDSTLS   Protocols = 4
	HybridEx Protocols = 8
	AAD      Protocols = 16
)

func (p Protocols) String() string {
	switch {
	case p&(Hybrid|HybridEx) != 0:
		return "CredSSP"
	case p&(SSL|RDSTLS|AAD) != 0:
		return "TLS"
	}
	return "RDP security"
}

// The X.224 TPDUs read here (ITU-T X.224 section 13).
const (
	connectionRequest = 0xe0
	connectionConfirm = 0xd0
	data              = 0xf0
)

// tpkt is the header of RFC 1006 section 6: version 3, reserved, length.
const tpkt = 4

// A PDU is a message in a TPKT (RFC 1006). Data aliases the input.
type PDU struct {
	Kind uint8  // X.224 TPDU code, without its low bits
	Data []byte // behind the X.224 header
}

// Parse reads one TPKT from the front of b and returns how many bytes it took.
func Parse(b []byte) (p PDU, n int, err error) {
	c := wire.NewCursor("rdp", b)
	if c.Uint8("version") != 3 {
		c.FailAt("version", 0, wire.ErrInvalid)
	}
	c.Skip("reserved", 1)
	n = int(c.Uint16("length"))
	if c.Ok() && n < tpkt+3 {
		c.FailAt("length", 2, wire.ErrInvalid)
	}
	c = c.Sub("TPKT", n-c.Off())
	li := int(c.Uint8("LI"))
	h := c.Bytes("TPDU", li)
	if len(h) == 0 {
		c.FailAt("LI", tpkt, wire.ErrInvalid)
		return p, 0, c.Err()
	}
	p.Kind = h[0] & 0xf0
	switch p.Kind {
	case connectionRequest, connectionConfirm:
		// X.224 section 13.3: code, two references, class; RDP counts what
		// follows into the header.
		if len(h) < 6 {
			c.FailAt("LI", tpkt, wire.ErrInvalid)
			return p, 0, c.Err()
		}
		p.Data = h[6:len(h):len(h)]
	default:
		p.Data = c.Rest()
	}
	if err := c.Err(); err != nil {
		return p, 0, err
	}
	return p, n, nil
}

// IsRequest reports a connection request.
func (p *PDU) IsRequest() bool { return p.Kind == connectionRequest }

// IsConfirm reports a connection confirm.
func (p *PDU) IsConfirm() bool { return p.Kind == connectionConfirm }

// IsData reports a data TPDU: MCS follows.
func (p *PDU) IsData() bool { return p.Kind == data }

// A Negotiation is the variable part of a connection request or confirm
// (MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2).
type Negotiation struct {
	Cookie    bool      // request: "Cookie: mstshash=", often the user's name
	Present   bool      // an RDP_NEG structure is there; without one the sender knows RDP security only
	Failure   uint32    // confirm: failureCode of RDP_NEG_FAILURE; 0 is none
	Protocols Protocols // requested, or the one selected
}

// maxCookie bounds the routing token or cookie. The standard says nothing;
// Windows takes up to 255 bytes.
const maxCookie = 512

// Negotiation reads the variable part of a connection request or confirm.
func (p *PDU) Negotiation() (n Negotiation, err error) {
	b := p.Data
	if p.IsRequest() {
		n.Cookie = bytes.HasPrefix(b, []byte("Cookie: mstshash="))
		if i := bytes.Index(b[:min(len(b), maxCookie)], []byte("\r\n")); i >= 0 {
			b = b[i+2:]
		}
	}
	if len(b) < 8 {
		return n, nil
	}
	if le16(b, 2) != 8 { // section 2.2.1.1.1: length MUST be 8
		return n, &wire.SyntaxError{Proto: "rdp", Field: "RDP_NEG length", Off: tpkt + 7 + len(p.Data) - len(b) + 2, Err: wire.ErrInvalid}
	}
	n.Present = true
	switch v := le32(b, 4); b[0] {
	case 1, 2: // TYPE_RDP_NEG_REQ, TYPE_RDP_NEG_RSP
		n.Protocols = Protocols(v)
	case 3: // TYPE_RDP_NEG_FAILURE
		n.Failure = v
	}
	return n, nil
}

// The headers of the blocks of settings (MS-RDPBCGR section 2.2.1.3.1).
const (
	csCore     = 0xc001
	csSecurity = 0xc002
	csNet      = 0xc003
	scCore     = 0x0c01
	scSecurity = 0x0c02
)

// maxChannels bounds the static virtual channels (MS-RDPBCGR section 2.2.1.3.4: at most 31).
const maxChannels = 31

// maxBlocks bounds the blocks of settings: the standard has ten of a client.
const maxBlocks = 16

// A ChannelName is the name of a static virtual channel, null-terminated.
type ChannelName [8]byte

// Is reports whether the channel has this name, in either case.
func (n *ChannelName) Is(name string) bool {
	end := bytes.IndexByte(n[:], 0)
	if end < 0 {
		end = len(n)
	}
	return bytes.EqualFold(n[:end], []byte(name))
}

// A Conference is what an MCS Connect Initial or Connect Response says
// (MS-RDPBCGR sections 2.2.1.3 and 2.2.1.4). ClientName aliases the input.
type Conference struct {
	Server           bool // a Connect Response
	ClientBuild      uint32
	ClientName       []byte // UTF-16LE, without terminator
	EncryptionMethod uint32 // server: 0 is none
	EncryptionLevel  uint32 // server: 0 is none
	Channels         [maxChannels]ChannelName
	NChannels        int
}

// The internal channel of the server that no client may ask for.
const internalChannel = "MS_T120"

// BindsInternal reports the shape of the attack on CVE-2019-0708 ("BlueKeep"):
// a client that asks for the static virtual channel MS_T120. The server makes a
// channel of this name for itself; an unpatched one then has two names for one
// structure, and frees it twice. No client has a use for it.
func (f *Conference) BindsInternal() bool {
	for i := range f.NChannels {
		if f.Channels[i].Is(internalChannel) {
			return true
		}
	}
	return false
}

// The BER tags of T.125 section 7, part 2.
const (
	tagConnectInitial  = wire.Tag(0x7f65)
	tagConnectResponse = wire.Tag(0x7f66)
)

// Conference reads an MCS Connect Initial or Connect Response; ok is false when
// the PDU is another one.
func (p *PDU) Conference() (f Conference, ok bool, err error) {
	if !p.IsData() {
		return f, false, nil
	}
	c := wire.NewCursor("rdp", p.Data)
	tag := c.PeekTag()
	if tag != tagConnectInitial && tag != tagConnectResponse {
		return f, false, nil
	}
	f.Server = tag == tagConnectResponse
	mcs := c.Expect("MCS Connect", tag)
	if f.Server {
		mcs.Expect("result", wire.TagEnumerated)
		mcs.Expect("calledConnectId", wire.TagInteger)
		mcs.Expect("domainParameters", wire.TagSequence)
	} else {
		mcs.Expect("callingDomainSelector", wire.TagOctetString)
		mcs.Expect("calledDomainSelector", wire.TagOctetString)
		mcs.Expect("upwardFlag", wire.TagBoolean)
		mcs.Expect("targetParameters", wire.TagSequence)
		mcs.Expect("minimumParameters", wire.TagSequence)
		mcs.Expect("maximumParameters", wire.TagSequence)
	}
	user := mcs.Expect("userData", wire.TagOctetString)
	c.Join(&mcs)
	c.Join(&user)
	if !c.Ok() {
		return f, true, c.Err()
	}
	// The user data is a GCC conference request or response in PER (T.124
	// section 8.7), whose last part is preceded by the key of the sender's
	// kind ("Duca" of a client, "McDn" of a server) and a length.
	gcc := user.Rest()
	key := []byte("Duca")
	if f.Server {
		key = []byte("McDn")
	}
	i := bytes.Index(gcc, key)
	if i < 0 {
		return f, true, &wire.SyntaxError{Proto: "rdp", Field: "h221NonStandard", Off: user.Off() - len(gcc), Err: wire.ErrInvalid}
	}
	c = wire.NewCursor("rdp", gcc)
	c.Skip("conference", i+len(key))
	if n := c.Uint8("length"); n&0x80 != 0 { // X.691 section 11.9: two bytes from 128 on
		c.Skip("length", 1)
	}
	for range maxBlocks {
		if c.Len() < 4 {
			break
		}
		kind, n := c.Uint16LE("type"), int(c.Uint16LE("length"))
		block := c.Sub("settings", n-4)
		if c.Ok() {
			f.block(kind, &block)
			c.Join(&block)
		}
	}
	return f, true, c.Err()
}

func (f *Conference) block(kind uint16, c *wire.Cursor) {
	switch kind {
	case csCore: // section 2.2.1.3.2
		c.Skip("version ... keyboardLayout", 4+2+2+2+2+4)
		f.ClientBuild = c.Uint32LE("clientBuild")
		name := c.Bytes("clientName", 32)
		for i := 0; i+1 < len(name); i += 2 {
			if name[i] == 0 && name[i+1] == 0 {
				name = name[:i:i]
			}
		}
		f.ClientName = name
	case csNet: // section 2.2.1.3.4
		n := int(c.Uint32LE("channelCount"))
		if n > maxChannels {
			c.Fail("channelCount", wire.ErrTooLong)
		}
		for i := 0; i < n && c.Ok(); i++ {
			if d := c.Bytes("channelDefArray", 12); d != nil {
				f.Channels[i] = ChannelName(d[:8])
				f.NChannels = i + 1
			}
		}
	case scSecurity: // section 2.2.1.4.3
		f.EncryptionMethod = c.Uint32LE("encryptionMethod")
		f.EncryptionLevel = c.Uint32LE("encryptionLevel")
	}
}

// Recognise says how well b, the first bytes of one side, fit a connection
// request or confirm of RDP.
func Recognise(b []byte) wire.Match {
	want := [...]byte{3, 0}
	for i := range want {
		if i >= len(b) {
			return wire.NeedMore
		}
		if b[i] != want[i] {
			return wire.NoMatch
		}
	}
	if len(b) < 7 {
		return wire.NeedMore
	}
	n, li, code := int(binary.BigEndian.Uint16(b[2:])), int(b[4]), b[5]
	if code != connectionRequest && code != connectionConfirm || n != tpkt+1+li || li < 6 {
		return wire.NoMatch
	}
	if n > len(b) && len(b) < 11+17 {
		return wire.NeedMore
	}
	rest := b[11:min(len(b), n)]
	// Other users of TPKT (IEC 61850, S7) put parameters here whose codes are
	// 0xc0 and above (X.224 section 13.3.4).
	switch {
	case bytes.HasPrefix(rest, []byte("Cookie: mstshash=")), len(rest) >= 8 && rest[0] >= 1 && rest[0] <= 3 && rest[2] == 8 && rest[3] == 0:
		return wire.SureMatch
	case len(rest) == 0:
		return wire.WeakMatch
	}
	return wire.NoMatch
}

func le16(b []byte, i int) uint16 { return binary.LittleEndian.Uint16(b[i:]) }
func le32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
