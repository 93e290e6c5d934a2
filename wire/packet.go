// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// A LinkType says how a frame begins: a number of the pcap link-type registry,
// or one of the LinkBTSnoop numbers.
type LinkType uint16

// The link types that [Packet.Decode] reads.
const (
	LinkNull     LinkType = 0 // BSD loopback, family in the writer's byte order
	LinkEthernet LinkType = 1
	LinkRawBSD   LinkType = 12 // raw IP; 12 and 14 by platform, 101 in files
	LinkRawBSD2  LinkType = 14
	LinkRaw      LinkType = 101
	LinkLoop     LinkType = 108 // OpenBSD loopback, family in network byte order
	LinkSLL      LinkType = 113 // Linux cooked v1
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // Linux cooked v2
)

// The link types of Bluetooth, and those that carry it in captures.
const (
	LinkUser0              LinkType = 147 // to LinkUser15; crackle's files carry LE link-layer packets in it
	LinkUser15             LinkType = 162
	LinkBluetoothHCIH4     LinkType = 187 // HCI UART transport; also btsnoop's datalink 1002
	LinkPPI                LinkType = 192 // per-packet information: names the link type inside
	LinkBluetoothHCIH4PHDR LinkType = 201 // the direction in four bytes, then as 187
	LinkBluetoothLELL      LinkType = 251
	LinkBluetoothMonitor   LinkType = 254
	LinkBluetoothLELLPHDR  LinkType = 256
	LinkNordicBLE          LinkType = 272

	// The datalinks of btsnoop that the registry has no number for, at a place
	// where it has none either.
	linkBTSnoop        LinkType = 0x8000
	LinkBTSnoopH1      LinkType = linkBTSnoop + 1001 // unencapsulated HCI: what it is stands in the record's flags
	LinkBTSnoopBCSP    LinkType = linkBTSnoop + 1003
	LinkBTSnoopH5      LinkType = linkBTSnoop + 1004
	LinkBTSnoopMonitor LinkType = linkBTSnoop + 2001 // adapter index and opcode stand in the record's flags
)

// EtherTypes that matter here.
const (
	EtherTypeIPv4  = 0x0800
	EtherTypeARP   = 0x0806
	EtherTypeTEB   = 0x6558 // transparent Ethernet bridging, in GRE
	EtherTypeVLAN  = 0x8100
	EtherTypeIPv6  = 0x86dd
	EtherTypeMPLS  = 0x8847
	EtherTypeMPLSM = 0x8848
	EtherTypePPPoE = 0x8864 // session stage
	EtherTypeQinQ  = 0x88a8
	etherTypeQinQ2 = 0x9100
)

// IP protocol numbers that matter here.
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoIPv4     = 4
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoIPv6     = 41
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoGRE      = 47
	ProtoESP      = 50
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoNoNext   = 59
	ProtoDestOpts = 60
	ProtoSCTP     = 132
	ProtoMobility = 135
)

// TCP flags, RFC 9293 section 3.1.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// maxLayers bounds how many headers one frame may stack: Ethernet, two VLAN
// tags, four MPLS labels, two tunnels with an IPv6 extension chain each.
const maxLayers = 24

// vxlanPort is the registered UDP port of VXLAN (RFC 7348 section 5).
const vxlanPort = 4789

// A Packet is what the headers of one frame say, innermost network layer
// outwards forgotten. It is reused: [Packet.Decode] sets every field.
type Packet struct {
	EtherType uint16 // of the innermost layer; of EtherTypeARP the Payload is for ParseARP
	VLAN      uint16 // outermost VLAN id, 0 when untagged
	SrcMAC    [6]byte
	DstMAC    [6]byte
	HasMAC    bool // SrcMAC and DstMAC are valid
	Tunnel    bool // the addresses are of a packet inside another packet

	IPVersion uint8 // 4, 6, or 0 when there is no network layer
	Proto     uint8 // of the transport header
	TTL       uint8
	Src, Dst  Addr

	// Valid iff Fragmented. Payload is then the fragment's data.
	Fragmented    bool
	MoreFragments bool
	FragmentID    uint32
	FragmentOff   int // bytes from the start of the datagram's payload

	// TCP, UDP and SCTP with a whole header have ports; of everything else they are 0.
	HasPorts bool
	SrcPort  uint16
	DstPort  uint16

	// Valid iff Proto is ProtoTCP and HasPorts.
	Flags         uint8
	Seq, Ack      uint32
	Window        uint16
	Urgent        uint16
	BadTCPOptions bool // an option's length cannot be; looked at with SYN, RST or URG only

	ICMPType, ICMPCode uint8 // valid iff Proto is ProtoICMP or ProtoICMPv6

	Payload    []byte // of the transport layer; aliases the frame
	PayloadOff int    // bytes from the start of the frame to Payload
	Missing    int    // bytes of the payload that were sent and not captured

	Fault Fault
}

// A Fault is what stopped [Packet.Decode], without allocating.
type Fault struct {
	Proto, Field string
	Off          int
	Err          error // nil: nothing
}

// Syntax returns the fault as a *[SyntaxError], or nil.
func (f Fault) Syntax() error {
	if f.Err == nil {
		return nil
	}
	return &SyntaxError{Proto: f.Proto, Field: f.Field, Off: f.Off, Err: f.Err}
}

func (p *Packet) fail(proto, field string, off int, err error) {
	p.Fault = Fault{proto, field, off, err}
}

// Decode reads the headers of one frame. What it could read is in p also when
// p.Fault is set. It allocates nothing; p.Payload aliases b.
func (p *Packet) Decode(link LinkType, b []byte) {
	*p = Packet{}
	switch link {
	case LinkEthernet:
		p.ethernet(b, 0, maxLayers)
	case LinkRaw, LinkRawBSD, LinkRawBSD2, LinkIPv4, LinkIPv6:
		p.ip(b, 0, maxLayers)
	case LinkNull, LinkLoop:
		// The family number of IPv6 differs by system (24, 28, 30), so the
		// version nibble of what follows decides.
		if len(b) < 4 {
			p.fail("null", "family", 0, ErrTruncated)
			return
		}
		p.ip(b, 4, maxLayers)
	case LinkSLL:
		if len(b) < 16 {
			p.fail("sll", "header", 0, ErrTruncated)
			return
		}
		if b[4] == 0 && b[5] == 6 { // link-layer address length
			p.HasMAC = true
			copy(p.SrcMAC[:], b[6:12])
		}
		p.ether(binary.BigEndian.Uint16(b[14:]), b, 16, maxLayers)
	case LinkSLL2:
		if len(b) < 20 {
			p.fail("sll2", "header", 0, ErrTruncated)
			return
		}
		if b[11] == 6 {
			p.HasMAC = true
			copy(p.SrcMAC[:], b[12:18])
		}
		p.ether(binary.BigEndian.Uint16(b[0:]), b, 20, maxLayers)
	default:
		p.fail("link", "type", 0, ErrReserved)
	}
}

func (p *Packet) ethernet(b []byte, off, layers int) {
	if len(b)-off < 14 {
		p.fail("ethernet", "header", off, ErrTruncated)
		return
	}
	h := b[off : off+14]
	if !p.HasMAC { // of nested Ethernet the outer addresses are the ones on this wire
		p.HasMAC = true
		p.DstMAC = [6]byte(h[0:6])
		p.SrcMAC = [6]byte(h[6:12])
	}
	p.ether(binary.BigEndian.Uint16(h[12:]), b, off+14, layers)
}

// ether reads what follows an EtherType.
func (p *Packet) ether(typ uint16, b []byte, off, layers int) {
	for ; layers > 0; layers-- {
		p.EtherType = typ
		switch typ {
		case EtherTypeIPv4, EtherTypeIPv6:
			p.ip(b, off, layers-1)
			return
		case EtherTypeVLAN, EtherTypeQinQ, etherTypeQinQ2: // IEEE 802.1Q section 9.6
			if len(b)-off < 4 {
				p.fail("vlan", "tag", off, ErrTruncated)
				return
			}
			if p.VLAN == 0 {
				p.VLAN = binary.BigEndian.Uint16(b[off:]) & 0xfff
			}
			typ = binary.BigEndian.Uint16(b[off+2:])
			off += 4
		case EtherTypeMPLS, EtherTypeMPLSM: // RFC 3032 section 2.1
			if len(b)-off < 4 {
				p.fail("mpls", "label", off, ErrTruncated)
				return
			}
			bottom := b[off+2]&1 != 0
			off += 4
			if bottom {
				p.mplsPayload(b, off, layers-1)
				return
			}
		case EtherTypePPPoE: // RFC 2516 section 4, RFC 1661 section 2
			if len(b)-off < 8 {
				p.fail("pppoe", "header", off, ErrTruncated)
				return
			}
			switch binary.BigEndian.Uint16(b[off+6:]) {
			case 0x0021, 0x0057: // IPv4, IPv6
				p.ip(b, off+8, layers-1)
			}
			return
		case EtherTypeARP:
			p.Tunnel, p.IPVersion, p.HasPorts = p.IPVersion != 0, 0, false
			p.Payload, p.PayloadOff = b[off:len(b):len(b)], off
			return
		default:
			// IEEE 802.3 length and LLC, LLDP, vendor types: no network layer here.
			p.Payload, p.PayloadOff = b[off:len(b):len(b)], off
			return
		}
	}
	p.fail("ethernet", "EtherType", off, ErrTooDeep)
}

// mplsPayload guesses what an MPLS stack carries from its first nibble, as
// routers do (RFC 4928 section 3): 4 and 6 are IP, 0 is a control word before
// Ethernet (RFC 4448).
func (p *Packet) mplsPayload(b []byte, off, layers int) {
	if off >= len(b) {
		p.fail("mpls", "payload", off, ErrTruncated)
		return
	}
	switch b[off] >> 4 {
	case 4, 6:
		p.ip(b, off, layers)
	case 0:
		if len(b)-off < 4 {
			p.fail("mpls", "control word", off, ErrTruncated)
			return
		}
		p.ethernet(b, off+4, layers)
	default:
		p.ethernet(b, off, layers)
	}
}

// ip reads an IP header, whose version nibble decides which.
func (p *Packet) ip(b []byte, off, layers int) {
	if layers <= 0 {
		p.fail("ip", "header", off, ErrTooDeep)
		return
	}
	if off >= len(b) {
		p.fail("ip", "Version", off, ErrTruncated)
		return
	}
	switch b[off] >> 4 {
	case 4:
		p.ipv4(b, off, layers)
	case 6:
		p.ipv6(b, off, layers)
	default:
		p.fail("ip", "Version", off, ErrInvalid)
	}
}

// mapped is the first 12 bytes of an IPv4-mapped address.
var mapped = [12]byte{10: 0xff, 11: 0xff}

// network notes a network layer. When there was one already, that was a tunnel's.
func (p *Packet) network(version uint8, typ uint16) {
	p.Tunnel, p.HasPorts, p.SrcPort, p.DstPort = p.IPVersion != 0, false, 0, 0
	p.IPVersion, p.EtherType = version, typ
}

func (p *Packet) ipv4(b []byte, off, layers int) { // RFC 791 section 3.1
	if len(b)-off < 20 {
		p.fail("ipv4", "header", off, ErrTruncated)
		return
	}
	h := b[off : off+20]
	hl := int(h[0]&15) * 4
	if hl < 20 {
		p.fail("ipv4", "IHL", off, ErrInvalid)
		return
	}
	total := int(binary.BigEndian.Uint16(h[2:]))
	if total == 0 {
		total = len(b) - off // segmentation offload: the card had not filled it in yet
	}
	if total < hl {
		p.fail("ipv4", "Total Length", off+2, ErrInvalid)
		return
	}
	if len(b)-off < hl {
		p.fail("ipv4", "Options", off+20, ErrTruncated)
		return
	}
	p.network(4, EtherTypeIPv4)
	p.TTL = h[8]
	copy(p.Src[:12], mapped[:])
	copy(p.Dst[:12], mapped[:])
	copy(p.Src[12:], h[12:16])
	copy(p.Dst[12:], h[16:20])

	end := off + total
	p.Missing = 0
	if end > len(b) {
		p.Missing = end - len(b)
		end = len(b)
	}
	frag := binary.BigEndian.Uint16(h[6:])
	if frag&0x3fff != 0 { // more fragments, or an offset
		p.Proto = h[9]
		p.fragment(uint32(binary.BigEndian.Uint16(h[4:])), int(frag&0x1fff)*8, frag&0x2000 != 0, b, off+hl, end)
		return
	}
	p.transport(h[9], b, off+hl, end, layers-1)
}

func (p *Packet) fragment(id uint32, fragOff int, more bool, b []byte, off, end int) {
	p.Fragmented, p.FragmentID, p.FragmentOff, p.MoreFragments = true, id, fragOff, more
	p.Payload, p.PayloadOff = b[off:end:end], off
}

func (p *Packet) ipv6(b []byte, off, layers int) { // RFC 8200 section 3
	if len(b)-off < 40 {
		p.fail("ipv6", "header", off, ErrTruncated)
		return
	}
	h := b[off : off+40]
	p.network(6, EtherTypeIPv6)
	p.TTL = h[7]
	p.Src = Addr(h[8:24])
	p.Dst = Addr(h[24:40])
	total := 40 + int(binary.BigEndian.Uint16(h[4:]))
	if total == 40 && h[6] != ProtoNoNext {
		total = len(b) - off // jumbogram or segmentation offload
	}
	end := off + total
	p.Missing = 0
	if end > len(b) {
		p.Missing = end - len(b)
		end = len(b)
	}
	next := h[6]
	at := off + 40
	for ; layers > 0; layers-- {
		switch next {
		case ProtoHopByHop, ProtoRouting, ProtoDestOpts, ProtoMobility:
			if end-at < 8 {
				p.Proto = next
				p.fail("ipv6", "extension header", at, ErrTruncated)
				return
			}
			n := (int(b[at+1]) + 1) * 8
			if end-at < n {
				p.fail("ipv6", "Hdr Ext Len", at+1, ErrTruncated)
				return
			}
			next, at = b[at], at+n
		case ProtoAH: // RFC 4302 section 2: length in 4-byte units, minus 2
			if end-at < 12 {
				p.fail("ah", "header", at, ErrTruncated)
				return
			}
			n := (int(b[at+1]) + 2) * 4
			if end-at < n {
				p.fail("ah", "Payload Len", at+1, ErrTruncated)
				return
			}
			next, at = b[at], at+n
		case ProtoFragment: // RFC 8200 section 4.5
			if end-at < 8 {
				p.fail("ipv6", "Fragment header", at, ErrTruncated)
				return
			}
			fo := binary.BigEndian.Uint16(b[at+2:])
			p.Proto = b[at]
			if fo&0xfff9 == 0 { // an atomic fragment (RFC 6946) is whole
				next, at = b[at], at+8
				continue
			}
			p.fragment(binary.BigEndian.Uint32(b[at+4:]), int(fo&0xfff8), fo&1 != 0, b, at+8, end)
			return
		default:
			p.transport(next, b, at, end, layers-1)
			return
		}
	}
	p.fail("ipv6", "Next Header", at, ErrTooDeep)
}

// DecodeTransport reads the payload of an IP datagram that was put together
// from fragments. The network fields of p stay; offsets count from the start
// of b.
func (p *Packet) DecodeTransport(proto uint8, b []byte) {
	p.Fragmented, p.Missing, p.Fault = false, 0, Fault{}
	p.transport(proto, b, 0, len(b), maxLayers/2)
}

func (p *Packet) transport(proto uint8, b []byte, off, end, layers int) {
	p.Proto = proto
	if off > end {
		p.fail("ip", "payload", off, ErrTruncated)
		return
	}
	p.Payload, p.PayloadOff = b[off:end:end], off
	n := end - off
	switch proto {
	case ProtoTCP: // RFC 9293 section 3.1
		if n < 20 {
			p.fail("tcp", "header", off, ErrTruncated)
			return
		}
		h := b[off : off+20]
		hl := int(h[12]>>4) * 4
		if hl < 20 {
			p.fail("tcp", "Data Offset", off+12, ErrInvalid)
			return
		}
		p.HasPorts = true
		p.SrcPort = binary.BigEndian.Uint16(h[0:])
		p.DstPort = binary.BigEndian.Uint16(h[2:])
		p.Seq = binary.BigEndian.Uint32(h[4:])
		p.Ack = binary.BigEndian.Uint32(h[8:])
		p.Flags = h[13] & 0x3f
		p.Window = binary.BigEndian.Uint16(h[14:])
		p.Urgent = binary.BigEndian.Uint16(h[18:])
		if n < hl {
			p.Payload = nil
			p.fail("tcp", "Options", off+20, ErrTruncated)
			return
		}
		if hl > 20 && p.Flags&(SYN|RST|URG) != 0 {
			p.BadTCPOptions = badTCPOptions(b[off+20 : off+hl])
		}
		p.Payload, p.PayloadOff = b[off+hl:end:end], off+hl
	case ProtoUDP: // RFC 768
		if n < 8 {
			p.fail("udp", "header", off, ErrTruncated)
			return
		}
		h := b[off : off+8]
		p.HasPorts = true
		p.SrcPort = binary.BigEndian.Uint16(h[0:])
		p.DstPort = binary.BigEndian.Uint16(h[2:])
		length := int(binary.BigEndian.Uint16(h[4:]))
		switch {
		case length == 0: // jumbogram (RFC 2675 section 4) or offload
		case length < 8:
			p.fail("udp", "Length", off+4, ErrInvalid)
			return
		case off+length < end: // padding behind the datagram
			end = off + length
			p.Missing = 0
		}
		p.Payload, p.PayloadOff = b[off+8:end:end], off+8
		if p.DstPort == vxlanPort && end-off >= 8+8+14 {
			// RFC 7348 section 5: the I flag, and nothing else, is set.
			if v := b[off+8 : off+16]; v[0] == 0x08 && v[1]|v[2]|v[3]|v[7] == 0 {
				p.inner(b[:end], off+16, layers)
			}
		}
	case ProtoICMP, ProtoICMPv6:
		if n < 4 {
			p.fail("icmp", "header", off, ErrTruncated)
			return
		}
		p.ICMPType, p.ICMPCode = b[off], b[off+1]
	case ProtoSCTP: // RFC 9260 section 3.1
		if n < 12 {
			p.fail("sctp", "header", off, ErrTruncated)
			return
		}
		p.HasPorts = true
		p.SrcPort = binary.BigEndian.Uint16(b[off:])
		p.DstPort = binary.BigEndian.Uint16(b[off+2:])
		p.Payload, p.PayloadOff = b[off+12:end:end], off+12
	case ProtoGRE:
		p.gre(b[:end], off, layers)
	case ProtoIPv4, ProtoIPv6: // RFC 2003, RFC 4213
		p.ip(b[:end], off, layers)
	case ProtoAH: // over IPv4
		if n < 12 {
			p.fail("ah", "header", off, ErrTruncated)
			return
		}
		hl := (int(b[off+1]) + 2) * 4
		switch {
		case n < hl:
			p.fail("ah", "Payload Len", off+1, ErrTruncated)
		case layers <= 0:
			p.fail("ah", "header", off, ErrTooDeep)
		default:
			p.transport(b[off], b, off+hl, end, layers-1)
		}
	}
}

// inner reads an Ethernet frame inside a packet.
func (p *Packet) inner(b []byte, off, layers int) {
	if layers <= 0 {
		p.fail("ethernet", "header", off, ErrTooDeep)
		return
	}
	p.ethernet(b, off, layers-1)
}

func (p *Packet) gre(b []byte, off, layers int) { // RFC 2784, RFC 2890, RFC 2637 section 4.1
	if len(b)-off < 4 {
		p.fail("gre", "header", off, ErrTruncated)
		return
	}
	flags := binary.BigEndian.Uint16(b[off:])
	typ := binary.BigEndian.Uint16(b[off+2:])
	if flags&0x4000 != 0 { // routing: RFC 2784 says discard
		p.fail("gre", "Routing Present", off, ErrReserved)
		return
	}
	at := off + 4
	for _, bit := range [...]uint16{0x8000, 0x2000, 0x1000} { // checksum, key, sequence number
		if flags&bit != 0 {
			at += 4
		}
	}
	version := flags & 7
	if version == 1 && flags&0x0080 != 0 { // PPTP: acknowledgement number
		at += 4
	}
	switch {
	case at > len(b):
		p.fail("gre", "optional fields", off+4, ErrTruncated)
	case layers <= 0:
		p.fail("gre", "header", off, ErrTooDeep)
	case version == 1 && typ == 0x880b: // PPP in PPTP
		p.ppp(b, at, layers-1)
	case typ == EtherTypeTEB:
		p.inner(b, at, layers)
	default:
		p.ether(typ, b, at, layers-1)
	}
}

func (p *Packet) ppp(b []byte, off, layers int) { // RFC 1661 section 2, RFC 1662 section 3.1
	if len(b)-off >= 2 && b[off] == 0xff && b[off+1] == 0x03 {
		off += 2
	}
	switch {
	case len(b)-off >= 1 && b[off] == 0x21: // protocol field compression
		p.ip(b, off+1, layers)
	case len(b)-off >= 2 && b[off] == 0 && (b[off+1] == 0x21 || b[off+1] == 0x57):
		p.ip(b, off+2, layers)
	}
}

// badTCPOptions reports whether an option's length runs over the header's end
// or under what it must hold: its own two bytes (RFC 9293 section 3.2), of the
// authentication option four (RFC 5925 section 2.2). VxWorks' stack lost count
// there (CVE-2019-12260).
func badTCPOptions(o []byte) bool {
	for len(o) > 0 {
		switch o[0] {
		case 0: // end of option list
			return false
		case 1: // no-operation
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) || o[0] == 29 && o[1] < 4 {
			return true
		}
		o = o[o[1]:]
	}
	return false
}

// An ARP is one message of address resolution for IPv4 over Ethernet (RFC 826).
type ARP struct {
	Operation          uint16 // 1 request, 2 reply
	SenderMAC          [6]byte
	SenderIP, TargetIP Addr
	TargetMAC          [6]byte
}

// ParseARP reads the payload of a frame of EtherTypeARP. ok is false for
// address families other than IPv4 over Ethernet and for cut messages.
func ParseARP(b []byte) (a ARP, ok bool) {
	if len(b) < 28 || binary.BigEndian.Uint64(b)>>16 != 0x0001_0800_0604 {
		return a, false
	}
	a.Operation = binary.BigEndian.Uint16(b[6:])
	copy(a.SenderMAC[:], b[8:14])
	copy(a.SenderIP[:12], mapped[:])
	copy(a.SenderIP[12:], b[14:18])
	copy(a.TargetMAC[:], b[18:24])
	copy(a.TargetIP[:12], mapped[:])
	copy(a.TargetIP[12:], b[24:28])
	return a, true
}
