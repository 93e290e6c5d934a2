// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package dhcp reads messages of the Dynamic Host Configuration Protocol, in
// which a device says its name, its maker's class and what it wants to know,
// from which its operating system can be told.
//
// It implements the message of RFC 2131 section 2 with the options of RFC 2132,
// the client FQDN of RFC 4702, option overload (RFC 2131 section 4.1) and the
// concatenation of long options (RFC 3396); and of DHCPv6 the message of RFC
// 8415 sections 8 and 9 with client and server identifiers, addresses, vendor
// class and client FQDN (RFC 4704).
//
// It leaves out authentication (RFC 3118), leases' times, prefix delegation and
// what is inside vendor options.
//
// The slices in a message alias what was parsed. Nothing is allocated, but for
// an option that comes in several pieces.
//
// This API is stable.
package dhcp

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"github.com/myelin-health/myelin/wire"
)

// A MessageType is option 53 (RFC 2132 section 9.6), or 0 of BOOTP.
type MessageType uint8

// The message types.
const (
	Discover MessageType = 1
	Offer    MessageType = 2
	Request  MessageType = 3
	Decline  MessageType = 4
	Ack      MessageType = 5
	Nak      MessageType = 6
	Release  MessageType = 7
	Inform   MessageType = 8
)

// The options that are of interest (RFC 2132 unless said).
const (
	OptionPad              = 0
	OptionSubnetMask       = 1
	OptionRouter           = 3
	OptionDomainNameServer = 6
	OptionHostName         = 12
	OptionDomainName       = 15
	OptionRequestedAddress = 50
	OptionOverload         = 52
	OptionMessageType      = 53
	OptionServerIdentifier = 54
	OptionParameterRequest = 55
	OptionVendorClass      = 60
	OptionClientIdentifier = 61
	OptionClientFQDN       = 81 // RFC 4702
	OptionEnd              = 255
)

// A Message is a DHCPv4 message (RFC 2131 section 2).
type Message struct {
	Reply   bool        // op is BOOTREPLY: from a server
	Type    MessageType // 0 of BOOTP
	ID      uint32      // xid
	Client  netip.Addr  // ciaddr: what the client has already, or 0.0.0.0
	Your    netip.Addr  // yiaddr: what it is given, or 0.0.0.0
	Next    netip.Addr  // siaddr: the server of the next step of its boot
	Relay   netip.Addr  // giaddr
	MAC     []byte      // chaddr; nil when the hardware is not Ethernet
	options [3][]byte   // options, file, sname: in the order in which RFC 3396 section 5 joins them
}

const (
	fixedBytes  = 236 // up to the magic cookie
	magicCookie = 0x63825363
)

// Parse reads a message.
func Parse(b []byte) (m Message, err error) {
	c := wire.NewCursor("dhcp", b)
	op := c.Uint8("op")
	if c.Ok() && op != 1 && op != 2 {
		c.FailAt("op", 0, wire.ErrInvalid)
	}
	m.Reply = op == 2
	hardware := c.Uint8("htype")
	length := c.Uint8("hlen")
	c.Uint8("hops")
	m.ID = c.Uint32("xid")
	c.Uint16("secs")
	c.Uint16("flags")
	m.Client = address(&c, "ciaddr")
	m.Your = address(&c, "yiaddr")
	m.Next = address(&c, "siaddr")
	m.Relay = address(&c, "giaddr")
	chaddr := c.Bytes("chaddr", 16)
	if c.Ok() && hardware == 1 && length == 6 { // RFC 1700: Ethernet
		m.MAC = chaddr[:6:6]
	}
	sname := c.Bytes("sname", 64)
	file := c.Bytes("file", 128)
	if cookie := c.Uint32("magic cookie"); c.Ok() && cookie != magicCookie { // RFC 2132 section 2
		c.FailAt("magic cookie", fixedBytes, wire.ErrInvalid)
	}
	at := c.Off()
	m.options[0] = c.Rest()
	if err := c.Err(); err != nil {
		return m, err
	}
	if o := m.Option(OptionOverload); len(o) > 0 { // RFC 2132 section 9.3: 1 file, 2 sname, 3 both
		if o[0]&1 != 0 {
			m.options[1] = file
		}
		if o[0]&2 != 0 {
			m.options[2] = sname
		}
	}
	if t := m.Option(OptionMessageType); len(t) > 0 {
		m.Type = MessageType(t[0])
	}
	// Only now, so that what a message cut short still says is had.
	if n, ok := wellFormed(m.options[0]); !ok {
		c = wire.NewCursor("dhcp", b)
		c.FailAt("options", at+n, wire.ErrTruncated)
	}
	return m, c.Err()
}

func address(c *wire.Cursor, field string) netip.Addr {
	a, _ := netip.AddrFromSlice(c.Bytes(field, 4))
	return a
}

// wellFormed reports whether options end where they say, or else the place of
// the option that does not fit.
func wellFormed(b []byte) (at int, ok bool) {
	for at < len(b) && b[at] != OptionEnd {
		n := 1
		if b[at] != OptionPad {
			if at+1 >= len(b) {
				return at, false
			}
			n = 2 + int(b[at+1])
		}
		if at+n > len(b) {
			return at, false
		}
		at += n
	}
	return at, true
}

// step takes the option at the front of b, past padding. Nothing is left after
// the last, and after one that does not fit.
func step(b []byte) (code uint8, data, rest []byte, ok bool) {
	for len(b) > 0 && b[0] == OptionPad {
		b = b[1:]
	}
	if len(b) < 2 || b[0] == OptionEnd || 2+int(b[1]) > len(b) {
		return 0, nil, nil, false
	}
	n := 2 + int(b[1])
	return b[0], b[2:n:n], b[n:], true
}

// Options yields the options, or the pieces of options, as they stand in the
// message, and then in the fields that it lends to them.
func (m *Message) Options() iter.Seq2[uint8, []byte] {
	parts := m.options
	return func(yield func(uint8, []byte) bool) {
		for _, part := range parts {
			for code, data, rest, ok := step(part); ok; code, data, rest, ok = step(rest) {
				if !yield(code, data) {
					return
				}
			}
		}
	}
}

// Option returns the data of an option, or nil when it is absent. Pieces are
// joined (RFC 3396 section 7).
func (m *Message) Option(code uint8) (data []byte) {
	for _, part := range m.options {
		for c, piece, rest, ok := step(part); ok; c, piece, rest, ok = step(rest) {
			switch {
			case c != code:
			case data == nil:
				data = piece
			default:
				data = append(data, piece...) // cut with its capacity: a copy
			}
		}
	}
	return data
}

// Address returns the first address of an option that has some, or the zero
// Addr.
func (m *Message) Address(code uint8) netip.Addr {
	b := m.Option(code)
	if len(b) < 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}

// HostName returns the name that the client says it has: its FQDN, if in the
// plain or in the canonical encoding and of one label or more, else its host
// name. It may be a person's.
func (m *Message) HostName() []byte {
	const flagE = 4 // RFC 4702 section 2.1: the name is in labels
	if f := m.Option(OptionClientFQDN); len(f) > 3 {
		if f[0]&flagE == 0 {
			return f[3:]
		}
		return dotted(f[3:])
	}
	return m.Option(OptionHostName)
}

// dotted turns labels of RFC 1035 section 3.1 into a name with dots, in place of
// each label's length, without the root. A partial name (RFC 4702 section 2.3.1)
// has none.
func dotted(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 && b[0] > 0 && b[0] < 64 && 1+int(b[0]) <= len(b) {
		if len(out) > 0 {
			out = append(out, '.')
		}
		out = append(out, b[1:1+b[0]]...)
		b = b[1+b[0]:]
	}
	return out
}

// RecogniseDatagram tells whether b is a DHCPv4 message, or begins one of DHCPv6.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) >= fixedBytes+4 && (b[0] == 1 || b[0] == 2) && b[2] <= 16 &&
		binary.BigEndian.Uint32(b[fixedBytes:]) == magicCookie {
		return wire.SureMatch
	}
	if len(b) < 4+4 || b[0] == 0 || V6Type(b[0]) > RelayReply {
		return wire.NoMatch
	}
	// A DHCPv6 message has no mark of its own: whether its options fill it tells.
	head := 4
	if t := V6Type(b[0]); t == RelayForward || t == RelayReply {
		head = relayBytes
	}
	options := 0
	for at := head; ; options++ {
		if at == len(b) && options > 0 || at+4 > 256 && options > 1 {
			return wire.WeakMatch
		}
		if at+4 > len(b) {
			return wire.NoMatch
		}
		code := binary.BigEndian.Uint16(b[at:])
		if code == 0 || code > 147 { // IANA's registry ends there
			return wire.NoMatch
		}
		at += 4 + int(binary.BigEndian.Uint16(b[at+2:]))
	}
}
