// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"encoding/binary"
	"net/netip"

	"github.com/myelin-health/myelin/wire"
)

// A V6Type is the type of a DHCPv6 message (RFC 8415 section 7.3).
type V6Type uint8

// The message types that are of interest.
const (
	Solicit            V6Type = 1
	Advertise          V6Type = 2
	RequestV6          V6Type = 3
	ReplyV6            V6Type = 7
	InformationRequest V6Type = 11
	RelayForward       V6Type = 12
	RelayReply         V6Type = 13
)

// The options of DHCPv6 that are read (RFC 8415 section 21, RFC 4704).
const (
	optionClientID      = 1
	optionServerID      = 2
	optionIANA          = 3
	optionIAAddr        = 5
	optionOptionRequest = 6
	optionRelayMessage  = 9
	optionVendorClassV6 = 16
	optionClientFQDNV6  = 39
)

const (
	relayBytes = 34 // RFC 8415 section 9: type, hop count, two addresses

	// maxRelays is how many relays may have wrapped a message. RFC 8415 section
	// 7.6 has HOP_COUNT_LIMIT, 8.
	maxRelays = 8
)

// A V6Message is a DHCPv6 message, out of the relays' envelopes.
type V6Message struct {
	Type          V6Type
	ID            uint32     // transaction-id
	ClientID      []byte     // DUID, or nil
	ServerID      []byte     // DUID, or nil
	Address       netip.Addr // the first of an IA_NA, or the zero Addr
	OptionRequest []byte     // codes of two bytes each
	Enterprise    uint32     // of the vendor class: the maker's number, 311 is Microsoft
	VendorClass   []byte     // its first text, or nil
	fqdn          []byte
	Relays        int
}

// ParseV6 reads a DHCPv6 message.
func ParseV6(b []byte) (m V6Message, err error) {
	c := wire.NewCursor("dhcp", b)
	m.Type = V6Type(c.Uint8("msg-type"))
	for m.Type == RelayForward || m.Type == RelayReply {
		if m.Relays++; m.Relays > maxRelays {
			c.Fail("hop-count", wire.ErrTooDeep)
			break
		}
		c.Skip("relay header", relayBytes-1)
		inner, found := wire.Cursor{}, false
		for c.Len() > 0 && !found {
			code := c.Uint16("option-code")
			inner = c.Sub("option-data", int(c.Uint16("option-len")))
			found = code == optionRelayMessage
		}
		if !found {
			c.Fail("OPTION_RELAY_MSG", wire.ErrTruncated)
			break
		}
		c = inner
		m.Type = V6Type(c.Uint8("msg-type"))
	}
	m.ID = c.Uint24("transaction-id")
	m.options(&c, 0)
	return m, c.Err()
}

// options reads options, and those inside an IA_NA.
func (m *V6Message) options(c *wire.Cursor, depth int) {
	const maxDepth = 1 // an address is in an association, and that is all
	for c.Len() > 0 {
		code := c.Uint16("option-code")
		o := c.Sub("option-data", int(c.Uint16("option-len")))
		switch code {
		case optionClientID:
			m.ClientID = o.Rest()
		case optionServerID:
			m.ServerID = o.Rest()
		case optionIANA: // section 21.4: IAID, T1, T2, options
			if o.Skip("IAID", 12); depth < maxDepth {
				m.options(&o, depth+1)
			}
		case optionIAAddr: // section 21.6
			if a, ok := netip.AddrFromSlice(o.Bytes("IPv6-address", 16)); ok && !m.Address.IsValid() {
				m.Address = a
			}
		case optionOptionRequest:
			m.OptionRequest = o.Rest()
		case optionVendorClassV6: // section 21.16
			m.Enterprise = o.Uint32("enterprise-number")
			if o.Len() > 0 {
				m.VendorClass = o.Bytes("vendor-class-data", int(o.Uint16("vendor-class-len")))
			}
		case optionClientFQDNV6: // RFC 4704 section 4.1: flags, then labels
			o.Uint8("flags")
			m.fqdn = o.Rest()
		}
		c.Join(&o)
	}
}

// FromClient reports whether a client sent the message.
func (m *V6Message) FromClient() bool {
	return m.Type != Advertise && m.Type != ReplyV6 && m.Type != 10
}

// HostName returns the name that the client says it has, or nil.
func (m *V6Message) HostName() []byte {
	if len(m.fqdn) == 0 {
		return nil
	}
	return dotted(m.fqdn)
}

// MAC returns the hardware address in a DUID of the kinds that have one (RFC
// 8415 sections 11.2 and 11.4), or nil.
func MAC(duid []byte) []byte {
	const ethernet, linkLayerTime, linkLayer = 1, 1, 3
	if len(duid) < 4 || binary.BigEndian.Uint16(duid[2:]) != ethernet {
		return nil
	}
	switch kind := binary.BigEndian.Uint16(duid); {
	case kind == linkLayerTime && len(duid) == 14:
		return duid[8:14:14]
	case kind == linkLayer && len(duid) == 10:
		return duid[4:10:10]
	}
	return nil
}
