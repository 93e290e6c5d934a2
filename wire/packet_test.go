// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// cat joins what headers are made of: ints are bytes, wider numbers big-endian.
func cat(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case uint16:
			b = binary.BigEndian.AppendUint16(b, p)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return b
}

func addr(s string) Addr { return AddrFrom(netip.MustParseAddr(s)) }

// The addresses of the sample ward: its information system and its pump gateway.
var (
	ehrMAC, gwMAC = [6]byte{0, 0, 0x5e, 0, 0x53, 5}, [6]byte{0, 0, 0x5e, 0, 0x53, 0x10}
	ehr4, gw4     = "\x0a\x14\x01\x05", "\x0a\x14\x03\x0a"
	ehr6          = "\x20\x01\x0d\xb8\x00\x20\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05"
	gw6           = "\x20\x01\x0d\xb8\x00\x20\x00\x03\x00\x00\x00\x00\x00\x00\x00\x0a"
)

func eth(typ uint16, p []byte) []byte { return cat(gwMAC[:], ehrMAC[:], typ, p) }

func ip4(proto int, p []byte) []byte { return ip4With("", 0, proto, p) }

func ip4With(options string, frag uint16, proto int, p []byte) []byte {
	hl := 20 + len(options)
	return cat(0x40|hl/4, 0, uint16(hl+len(p)), uint16(0x1234), frag, 64, proto, uint16(0), ehr4, gw4, options, p)
}

func ip6(next int, p []byte) []byte {
	return cat(uint32(6<<28), uint16(len(p)), next, 63, ehr6, gw6, p)
}

func udp(payload string) []byte { return udpTo(24000, payload) }

func udpTo(port uint16, payload string) []byte {
	return cat(uint16(40001), port, uint16(8+len(payload)), uint16(0), payload)
}

func tcp(flags int, options, payload string) []byte {
	return cat(uint16(40001), uint16(24000), uint32(0x01020304), uint32(0x05060708),
		(20+len(options))/4<<4, flags, uint16(1000), uint16(0), uint16(7), options, payload)
}

// Headers in front of others.
func vlan(id, typ uint16, p []byte) []byte { return cat(id, typ, p) }
func mpls(bottom int, p []byte) []byte     { return cat(0, 0x12, 0x30|bottom, 64, p) }
func gre(flags, typ uint16, options string, p []byte) []byte {
	return cat(flags, typ, options, p)
}

func ext(next int, words int, p []byte) []byte {
	return cat(next, words, make([]byte, 6+8*words), p)
}
func ah(next int, p []byte) []byte { return cat(next, 4, make([]byte, 22), p) } // 96 bits of ICV

// What most frames below hold.
var (
	order4 = Packet{
		EtherType: EtherTypeIPv4, IPVersion: 4, Proto: ProtoUDP, TTL: 64, Src: addr("10.20.1.5"), Dst: addr("10.20.3.10"),
		HasPorts: true, SrcPort: 40001, DstPort: 24000, Payload: []byte("order"),
	}
	order6 = Packet{
		EtherType: EtherTypeIPv6, IPVersion: 6, Proto: ProtoUDP, TTL: 63, Src: addr("2001:db8:20:1::5"), Dst: addr("2001:db8:20:3::a"),
		HasPorts: true, SrcPort: 40001, DstPort: 24000, Payload: []byte("order"),
	}
)

// with returns p changed by f.
func with(p Packet, f ...func(*Packet)) Packet {
	for _, f := range f {
		f(&p)
	}
	return p
}

func macs(p *Packet)   { p.HasMAC, p.SrcMAC, p.DstMAC = true, ehrMAC, gwMAC }
func tunnel(p *Packet) { p.Tunnel = true }
func on4(b []byte) []byte {
	return eth(EtherTypeIPv4, b)
}

func proto(n uint8, payload string) func(*Packet) {
	return func(p *Packet) {
		p.Proto, p.HasPorts, p.SrcPort, p.DstPort, p.Payload = n, false, 0, 0, []byte(payload)
	}
}

func segment(flags uint8, payload string) func(*Packet) {
	return func(p *Packet) {
		p.Proto, p.Flags, p.Seq, p.Ack, p.Window, p.Urgent = ProtoTCP, flags, 0x01020304, 0x05060708, 1000, 7
		p.Payload = []byte(payload)
	}
}

func fault(proto, field string, off int, err error) func(*Packet) {
	return func(p *Packet) { p.Fault = Fault{proto, field, off, err} }
}

// frames are headers of every kind. What begins with "bad" has a fault when
// whole; of what begins with "padded" the last bytes belong to nobody.
var frames = []struct {
	name string
	link LinkType
	b    []byte
	want Packet
}{
	// Link layers.
	{"ethernet", LinkEthernet, on4(ip4(ProtoUDP, udp("order"))), with(order4, macs)},
	{"ethernet ipv6", LinkEthernet, eth(EtherTypeIPv6, ip6(ProtoUDP, udp("order"))), with(order6, macs)},
	{"vlan", LinkEthernet, eth(EtherTypeVLAN, vlan(0x6064, EtherTypeIPv4, ip4(ProtoUDP, udp("order")))), // priority 3, id 100
		with(order4, macs, func(p *Packet) { p.VLAN = 100 })},
	{
		"qinq", LinkEthernet, eth(EtherTypeQinQ, vlan(200, EtherTypeVLAN, vlan(100, EtherTypeIPv4, ip4(ProtoUDP, udp("order"))))),
		with(order4, macs, func(p *Packet) { p.VLAN = 200 }),
	},
	{
		"old qinq", LinkEthernet, eth(0x9100, vlan(200, EtherTypeIPv6, ip6(ProtoUDP, udp("order")))),
		with(order6, macs, func(p *Packet) { p.VLAN = 200 }),
	},
	{"mpls", LinkEthernet, eth(EtherTypeMPLS, mpls(0, mpls(1, ip4(ProtoUDP, udp("order"))))), with(order4, macs)},
	{"mpls multicast ipv6", LinkEthernet, eth(EtherTypeMPLSM, mpls(1, ip6(ProtoUDP, udp("order")))), with(order6, macs)},
	{"mpls ethernet with control word", LinkEthernet, eth(EtherTypeMPLS, mpls(1, cat(uint32(0), eth(EtherTypeIPv4, ip4(ProtoUDP, udp("order")))))), with(order4, macs)},
	{"mpls ethernet without", LinkEthernet, eth(EtherTypeMPLS, mpls(1, cat("\x12\x34\x5e\x00\x53\x99", ehrMAC[:], uint16(EtherTypeIPv4), ip4(ProtoUDP, udp("order"))))), with(order4, macs)},
	{"pppoe", LinkEthernet, eth(EtherTypePPPoE, cat(0x11, 0, uint16(7), uint16(35), uint16(0x0021), ip4(ProtoUDP, udp("order")))), with(order4, macs)},
	{"pppoe ipv6", LinkEthernet, eth(EtherTypePPPoE, cat(0x11, 0, uint16(7), uint16(55), uint16(0x0057), ip6(ProtoUDP, udp("order")))), with(order6, macs)},
	{
		"pppoe lcp", LinkEthernet, eth(EtherTypePPPoE, cat(0x11, 0, uint16(7), uint16(4), uint16(0xc021), "\x09\x00")),
		with(Packet{EtherType: EtherTypePPPoE}, macs),
	},
	{"lldp", LinkEthernet, eth(0x88cc, []byte("\x02\x07")), with(Packet{EtherType: 0x88cc, Payload: []byte("\x02\x07")}, macs)},
	{"llc", LinkEthernet, eth(3, []byte("\x42\x42\x03")), with(Packet{EtherType: 3, Payload: []byte("\x42\x42\x03")}, macs)},
	{"arp", LinkEthernet, eth(EtherTypeARP, arpRequest), with(Packet{EtherType: EtherTypeARP, Payload: arpRequest}, macs)},
	{"null", LinkNull, cat("\x02\x00\x00\x00", ip4(ProtoUDP, udp("order"))), order4},
	{"null ipv6", LinkNull, cat("\x1e\x00\x00\x00", ip6(ProtoUDP, udp("order"))), order6},
	{"loop", LinkLoop, cat(uint32(24), ip6(ProtoUDP, udp("order"))), order6},
	{"raw", LinkRaw, ip4(ProtoUDP, udp("order")), order4},
	{"raw 12", LinkRawBSD, ip6(ProtoUDP, udp("order")), order6},
	{"raw 14", LinkRawBSD2, ip4(ProtoUDP, udp("order")), order4},
	{"raw ipv4", LinkIPv4, ip4(ProtoUDP, udp("order")), order4},
	{"raw ipv6", LinkIPv6, ip6(ProtoUDP, udp("order")), order6},
	{
		"sll", LinkSLL, cat(uint16(0), uint16(1), uint16(6), ehrMAC[:], uint16(0), uint16(EtherTypeIPv4), ip4(ProtoUDP, udp("order"))),
		with(order4, func(p *Packet) { p.HasMAC, p.SrcMAC = true, ehrMAC }),
	},
	{"sll of loopback", LinkSLL, cat(uint16(0), uint16(772), uint16(0), make([]byte, 8), uint16(EtherTypeIPv6), ip6(ProtoUDP, udp("order"))), order6},
	{
		"sll2", LinkSLL2, cat(uint16(EtherTypeVLAN), uint16(0), uint32(3), uint16(1), 0, 6, ehrMAC[:], uint16(0), vlan(100, EtherTypeIPv4, ip4(ProtoUDP, udp("order")))),
		with(order4, func(p *Packet) { p.HasMAC, p.SrcMAC, p.VLAN = true, ehrMAC, 100 }),
	},
	{"bad link type", 9999, []byte("order"), with(Packet{}, fault("link", "type", 0, ErrReserved))},

	// IPv4.
	{"ipv4 options", LinkRaw, ip4With("\x94\x04\x00\x00", 0, ProtoUDP, udp("order")), order4},
	{"ipv4 all options", LinkRaw, ip4With(strings.Repeat("\x01", 40), 0, ProtoUDP, udp("order")), order4},
	{"ipv4 do not fragment", LinkRaw, ip4With("", 0x4000, ProtoUDP, udp("order")), order4},
	{
		"ipv4 first fragment", LinkRaw, ip4With("", 0x2000, ProtoUDP, []byte("12345678")),
		with(order4, proto(ProtoUDP, "12345678"), func(p *Packet) { p.Fragmented, p.MoreFragments, p.FragmentID = true, true, 0x1234 }),
	},
	{
		"ipv4 last fragment", LinkRaw, ip4With("", 0x0003, ProtoTCP, []byte("12345")),
		with(order4, proto(ProtoTCP, "12345"), func(p *Packet) { p.Fragmented, p.FragmentOff, p.FragmentID = true, 24, 0x1234 }),
	},
	{"padded ipv4", LinkEthernet, on4(cat(ip4(ProtoUDP, udp("order")), "\x00\x00\x00")), with(order4, macs)},
	{"offloaded ipv4", LinkRaw, zero(ip4(ProtoUDP, udp("order")), 2), order4},
	{"bad version", LinkRaw, []byte("\x50order"), with(Packet{}, fault("ip", "Version", 0, ErrInvalid))},
	{"bad ipv4 IHL", LinkRaw, cat(0x44, ip4(ProtoUDP, udp("order"))[1:]), with(Packet{}, fault("ipv4", "IHL", 0, ErrInvalid))},
	{"bad ipv4 total length", LinkRaw, cat("\x45\x00\x00\x13", ip4(ProtoUDP, udp("order"))[4:]), with(Packet{}, fault("ipv4", "Total Length", 2, ErrInvalid))},
	{"unknown protocol", LinkRaw, ip4(89, []byte("hello")), with(order4, proto(89, "hello"))},

	// IPv6, RFC 8200 section 4.
	{"ipv6 extension headers", LinkRaw, ip6(ProtoHopByHop, ext(ProtoRouting, 0, ext(ProtoDestOpts, 2, ext(ProtoMobility, 0, ext(ProtoUDP, 0, udp("order")))))), order6},
	{"ipv6 ah", LinkRaw, ip6(ProtoAH, ah(ProtoUDP, udp("order"))), order6},
	{"ipv6 atomic fragment", LinkRaw, ip6(ProtoFragment, cat(ProtoUDP, 0, uint16(0), uint32(0x12345678), udp("order"))), order6},
	{
		"ipv6 first fragment", LinkRaw, ip6(ProtoDestOpts, ext(ProtoFragment, 0, cat(ProtoUDP, 0, uint16(1), uint32(0x12345678), "12345678"))),
		with(order6, proto(ProtoUDP, "12345678"), func(p *Packet) { p.Fragmented, p.MoreFragments, p.FragmentID = true, true, 0x12345678 }),
	},
	{
		"ipv6 last fragment", LinkRaw, ip6(ProtoFragment, cat(ProtoTCP, 0, uint16(24), uint32(0x12345678), "12345")),
		with(order6, proto(ProtoTCP, "12345"), func(p *Packet) { p.Fragmented, p.FragmentOff, p.FragmentID = true, 24, 0x12345678 }),
	},
	{"ipv6 no next header", LinkRaw, ip6(ProtoNoNext, nil), with(order6, proto(ProtoNoNext, ""))},
	{"ipv6 esp", LinkRaw, ip6(ProtoESP, []byte("secret")), with(order6, proto(ProtoESP, "secret"))},
	{"padded ipv6", LinkEthernet, eth(EtherTypeIPv6, cat(ip6(ProtoUDP, udp("order")), 0, 0)), with(order6, macs)},
	{"ipv6 jumbogram", LinkRaw, zero(ip6(ProtoUDP, udp("order")), 4), order6},
	{
		"bad ipv6 extension length", LinkRaw, ip6(ProtoHopByHop, cat(ProtoUDP, 2, make([]byte, 6), udp("order"))),
		with(order6, proto(0, ""), fault("ipv6", "Hdr Ext Len", 41, ErrTruncated), func(p *Packet) { p.Payload = nil }),
	},

	// TCP, RFC 9293 section 3.1.
	{"tcp", LinkRaw, ip4(ProtoTCP, tcp(ACK|PSH, "", "order")), with(order4, segment(ACK|PSH, "order"))},
	{"tcp ece and cwr", LinkRaw, ip4(ProtoTCP, tcp(0xc0|SYN, "", "")), with(order4, segment(SYN, ""))},
	{"tcp options", LinkRaw, ip4(ProtoTCP, tcp(SYN, "\x02\x04\x05\xb4\x01\x03\x03\x07\x01\x00\xff\xff", "")), with(order4, segment(SYN, ""))},
	{"tcp all options", LinkRaw, ip4(ProtoTCP, tcp(SYN, strings.Repeat("\x01", 40), "x")), with(order4, segment(SYN, "x"))},
	{"tcp odd option over the end", LinkRaw, ip4(ProtoTCP, tcp(SYN, "\x01\x01\x02\x04", "")), with(order4, segment(SYN, ""), oddOptions)},
	{"tcp odd option of length 0", LinkRaw, ip4(ProtoTCP, tcp(RST, "\x05\x00\x01\x01", "")), with(order4, segment(RST, ""), oddOptions)},
	{"tcp odd option of length 1", LinkRaw, ip4(ProtoTCP, tcp(URG, "\x05\x01\x01\x01", "")), with(order4, segment(URG, ""), oddOptions)},
	{"tcp odd option without length", LinkRaw, ip4(ProtoTCP, tcp(SYN, "\x01\x01\x01\x05", "")), with(order4, segment(SYN, ""), oddOptions)},
	{"tcp odd authentication option", LinkRaw, ip4(ProtoTCP, tcp(SYN, "\x1d\x03\x00\x01", "")), with(order4, segment(SYN, ""), oddOptions)},
	{"tcp authentication option", LinkRaw, ip4(ProtoTCP, tcp(SYN, "\x1d\x04\x00\x01", "")), with(order4, segment(SYN, ""))},
	{"tcp odd option not looked at", LinkRaw, ip4(ProtoTCP, tcp(ACK, "\x05\x01\x01\x01", "")), with(order4, segment(ACK, ""))},
	{
		"bad tcp data offset", LinkRaw, ip4(ProtoTCP, cat(tcp(ACK, "", "")[:12], 0x40, tcp(ACK, "", "")[13:])),
		with(order4, proto(ProtoTCP, string(cat(tcp(ACK, "", "")[:12], 0x40, tcp(ACK, "", "")[13:]))), fault("tcp", "Data Offset", 32, ErrInvalid)),
	},
	{
		"bad tcp options", LinkRaw, ip4(ProtoTCP, cat(tcp(ACK, "", "")[:12], 0x60, tcp(ACK, "", "")[13:])),
		with(order4, segment(ACK, ""), fault("tcp", "Options", 40, ErrTruncated), func(p *Packet) { p.Payload = nil }),
	},

	// UDP, RFC 768, and the others.
	{"padded udp", LinkRaw, ip4(ProtoUDP, cat(udp("order"), "\x00\x00\x00")), order4},
	{"udp length over the end", LinkRaw, ip4(ProtoUDP, cat(uint16(40001), uint16(24000), uint16(99), uint16(0), "order")), order4},
	{"udp length 0", LinkRaw, ip4(ProtoUDP, zero(udp("order"), 4)), order4},
	{"udp empty", LinkRaw, ip4(ProtoUDP, udp("")), with(order4, func(p *Packet) { p.Payload = []byte{} })},
	{
		"bad udp length", LinkRaw, ip4(ProtoUDP, cat(uint16(40001), uint16(24000), uint16(7), uint16(0), "order")),
		with(order4, func(p *Packet) { p.Payload = cat(uint16(40001), uint16(24000), uint16(7), uint16(0), "order") }, fault("udp", "Length", 24, ErrInvalid)),
	},
	{
		"sctp", LinkRaw, ip4(ProtoSCTP, cat(uint16(40001), uint16(24000), uint32(1), uint32(2), "order")),
		with(order4, func(p *Packet) { p.Proto = ProtoSCTP }),
	},
	{
		"icmp", LinkRaw, ip4(ProtoICMP, cat(3, 1, uint16(0), uint32(0))),
		with(order4, proto(ProtoICMP, "\x03\x01\x00\x00\x00\x00\x00\x00"), func(p *Packet) { p.ICMPType, p.ICMPCode = 3, 1 }),
	},
	{
		"icmpv6", LinkRaw, ip6(ProtoICMPv6, cat(135, 0, uint16(0))),
		with(order6, proto(ProtoICMPv6, "\x87\x00\x00\x00"), func(p *Packet) { p.ICMPType = 135 }),
	},
	{"ipv4 ah", LinkRaw, ip4(ProtoAH, ah(ProtoUDP, udp("order"))), order4},

	// Tunnels: the inner addresses are what counts.
	{"4in6", LinkRaw, ip6(ProtoIPv4, ip4(ProtoUDP, udp("order"))), with(order4, tunnel)},
	{"6in4", LinkRaw, ip4(ProtoIPv6, ip6(ProtoUDP, udp("order"))), with(order6, tunnel)},
	{"4in4 padded inside", LinkRaw, ip4(ProtoIPv4, cat(ip4(ProtoUDP, udp("order")), 0, 0)), with(order4, tunnel)},
	{
		"4in4 fragment inside", LinkRaw, ip4(ProtoIPv4, ip4With("", 0x2000, ProtoUDP, []byte("12345678"))),
		with(order4, tunnel, proto(ProtoUDP, "12345678"), func(p *Packet) { p.Fragmented, p.MoreFragments, p.FragmentID = true, true, 0x1234 }),
	},
	{"gre", LinkRaw, ip4(ProtoGRE, gre(0, EtherTypeIPv4, "", ip4(ProtoUDP, udp("order")))), with(order4, tunnel)},
	{"gre with checksum, key and sequence", LinkRaw, ip4(ProtoGRE, gre(0xb000, EtherTypeIPv6, "chk-key-seq-", ip6(ProtoUDP, udp("order")))), with(order6, tunnel)},
	{"gre with key", LinkRaw, ip6(ProtoGRE, gre(0x2000, EtherTypeIPv4, "key-", ip4(ProtoUDP, udp("order")))), with(order4, tunnel)},
	{"gre ethernet", LinkRaw, ip4(ProtoGRE, gre(0, EtherTypeTEB, "", on4(ip4(ProtoUDP, udp("order"))))), with(order4, tunnel, macs)},
	{"gre pptp", LinkRaw, ip4(ProtoGRE, gre(0x3081, 0x880b, "len-seq-ack-", cat("\xff\x03\x00\x21", ip4(ProtoUDP, udp("order"))))), with(order4, tunnel)},
	{"gre pptp compressed", LinkRaw, ip4(ProtoGRE, gre(0x3001, 0x880b, "len-seq-", cat(0x21, ip4(ProtoUDP, udp("order"))))), with(order4, tunnel)},
	{"gre pptp ipv6", LinkRaw, ip4(ProtoGRE, gre(0x3001, 0x880b, "len-seq-", cat("\x00\x57", ip6(ProtoUDP, udp("order"))))), with(order6, tunnel)},
	{
		"gre of no network layer", LinkRaw, ip4(ProtoGRE, gre(0, 0x88cc, "", []byte("\x02\x07"))),
		with(order4, proto(ProtoGRE, "\x02\x07"), func(p *Packet) { p.EtherType = 0x88cc }),
	},
	{
		"bad gre routing", LinkRaw, ip4(ProtoGRE, gre(0x4000, EtherTypeIPv4, "", []byte("order"))),
		with(order4, proto(ProtoGRE, "\x40\x00\x08\x00order"), fault("gre", "Routing Present", 20, ErrReserved)),
	},
	{
		"vxlan", LinkRaw, ip4(ProtoUDP, udpTo(vxlanPort, string(cat(uint32(0x08000000), uint32(0x12300), on4(ip4(ProtoTCP, tcp(ACK, "", "order"))))))),
		with(order4, tunnel, macs, segment(ACK, "order")),
	},
	{
		"vxlan icmp", LinkRaw, ip4(ProtoUDP, udpTo(vxlanPort, string(cat(uint32(0x08000000), uint32(0x12300), on4(ip4(ProtoICMP, cat(8, 0, uint16(0)))))))),
		with(order4, tunnel, macs, proto(ProtoICMP, "\x08\x00\x00\x00"), func(p *Packet) { p.ICMPType = 8 }),
	},
	{
		"vxlan arp", LinkEthernet, on4(ip4(ProtoUDP, udpTo(vxlanPort, string(cat(uint32(0x08000000), uint32(0x12300), eth(EtherTypeARP, arpRequest)))))),
		with(Packet{EtherType: EtherTypeARP, Tunnel: true, Proto: ProtoUDP, TTL: 64, Src: order4.Src, Dst: order4.Dst, SrcPort: 40001, DstPort: vxlanPort, Payload: arpRequest}, macs),
	},
	{
		"not vxlan", LinkRaw, ip4(ProtoUDP, udpTo(vxlanPort, "a datagram to the port of another thing")),
		with(order4, func(p *Packet) { p.DstPort, p.Payload = vxlanPort, []byte("a datagram to the port of another thing") }),
	},
}

func oddOptions(p *Packet) { p.BadTCPOptions = true }

// zero sets two bytes to 0: a length that nobody filled in.
func zero(b []byte, off int) []byte {
	b[off], b[off+1] = 0, 0
	return b
}

var arpRequest = cat(uint16(1), uint16(EtherTypeIPv4), 6, 4, uint16(1), ehrMAC[:], ehr4, make([]byte, 6), gw4)

func TestDecode(t *testing.T) {
	for _, tt := range frames {
		t.Run(tt.name, func(t *testing.T) {
			p := Packet{VLAN: 7, Tunnel: true, HasPorts: true, Missing: 3, Fragmented: true} // of the packet before
			p.Decode(tt.link, tt.b)
			if diff := cmp.Diff(tt.want, p, cmpopts.IgnoreFields(Packet{}, "PayloadOff"), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("want -, have +\n%s", diff)
			}
			inside(t, &p, tt.b)
		})
	}
}

// inside checks that what a packet points at is in the frame.
func inside(t testing.TB, p *Packet, b []byte) {
	t.Helper()
	if p.PayloadOff < 0 || p.PayloadOff+len(p.Payload) > len(b) || len(p.Payload) != cap(p.Payload) {
		t.Fatalf("payload of %d bytes, room for %d, at %d of %d", len(p.Payload), cap(p.Payload), p.PayloadOff, len(b))
	}
	if len(p.Payload) > 0 && &p.Payload[0] != &b[p.PayloadOff] {
		t.Fatalf("payload is not at byte %d of the frame", p.PayloadOff)
	}
	if p.Missing < 0 {
		t.Fatalf("%d bytes missing", p.Missing)
	}
	if f := p.Fault; f.Err == nil && f.Syntax() != nil || f.Err != nil && (f.Proto == "" || f.Field == "" || f.Off < 0 || f.Off > len(b) || f.Syntax() == nil) {
		t.Fatalf("fault %+v in a frame of %d bytes", f, len(b))
	}
}

// A frame that was cut has a fault where a header was cut, and says how many
// bytes are missing where the payload was.
func TestDecodeCut(t *testing.T) {
	for _, tt := range frames {
		var whole Packet
		whole.Decode(tt.link, tt.b)
		for n := range tt.b {
			var p Packet
			p.Decode(tt.link, tt.b[:n:n])
			inside(t, &p, tt.b[:n])
			switch {
			case whole.Fault.Err != nil || whole.IPVersion == 0 || strings.Contains(tt.name, "padded"):
			case n < whole.PayloadOff:
				if p.Fault.Err != ErrTruncated && p.Missing == 0 {
					t.Errorf("%s: the header is cut at %d of %d bytes, without a fault: %+v", tt.name, n, len(tt.b), p)
				}
			case strings.HasPrefix(tt.name, "offloaded"), strings.Contains(tt.name, "jumbogram"), strings.HasPrefix(tt.name, "icmp"), strings.HasSuffix(tt.name, "icmp"):
			case p.Fault.Err != nil || p.Missing != len(tt.b)-n || !bytes.Equal(p.Payload, whole.Payload[:n-whole.PayloadOff]):
				t.Errorf("%s: the payload is cut at %d of %d bytes: %+v", tt.name, n, len(tt.b), p)
			}
		}
	}
}

// Headers may be stacked up to a bound, whatever they are.
func TestDecodeDepth(t *testing.T) {
	nest := func(n int, inner []byte, outer func([]byte) []byte) []byte {
		for range n {
			inner = outer(inner)
		}
		return inner
	}
	order := ip4(ProtoUDP, udp("order"))
	tests := []struct {
		name    string
		deepest int
		frame   func(n int) []byte
	}{
		// Beside the headers that are stacked, a layer is taken by each EtherType and each IP header.
		{"vlan", maxLayers - 2, func(n int) []byte {
			b := nest(n-1, vlan(1, EtherTypeIPv4, order), func(b []byte) []byte { return vlan(1, EtherTypeVLAN, b) })
			return eth(EtherTypeVLAN, b)
		}},
		{"mpls", maxLayers - 1, func(n int) []byte {
			return eth(EtherTypeMPLS, nest(n-1, mpls(1, order), func(b []byte) []byte { return mpls(0, b) }))
		}},
		{"4in4", maxLayers - 1, func(n int) []byte {
			return eth(EtherTypeIPv4, nest(n-1, order, func(b []byte) []byte { return ip4(ProtoIPv4, b) }))
		}},
		{"ipv6 extension headers", maxLayers - 2, func(n int) []byte {
			b := nest(n-1, ext(ProtoUDP, 0, udp("order")), func(b []byte) []byte { return ext(ProtoDestOpts, 0, b) })
			return eth(EtherTypeIPv6, ip6(ProtoDestOpts, b))
		}},
		{"ah", maxLayers - 2, func(n int) []byte {
			b := nest(n-1, ah(ProtoUDP, udp("order")), func(b []byte) []byte { return ah(ProtoAH, b) })
			return eth(EtherTypeIPv4, ip4(ProtoAH, b))
		}},
		{"gre", (maxLayers - 1) / 3, func(n int) []byte { // header, EtherType, IP
			return eth(EtherTypeIPv4, nest(n, order, func(b []byte) []byte { return ip4(ProtoGRE, gre(0, EtherTypeIPv4, "", b)) }))
		}},
		{"vxlan", (maxLayers - 1) / 3, func(n int) []byte {
			return eth(EtherTypeIPv4, nest(n, order, func(b []byte) []byte {
				return ip4(ProtoUDP, udpTo(vxlanPort, string(cat(uint32(0x08000000), uint32(0), on4(b)))))
			}))
		}},
	}
	for _, tt := range tests {
		for n := 1; n < 3*maxLayers; n++ {
			b := tt.frame(n)
			var p Packet
			p.Decode(LinkEthernet, b)
			inside(t, &p, b)
			switch {
			case n <= tt.deepest && (p.Fault.Err != nil || string(p.Payload) != "order"):
				t.Errorf("%d of %s: %+v", n, tt.name, p.Fault)
			case n > tt.deepest && p.Fault.Err != ErrTooDeep:
				t.Errorf("%d of %s, of which %d are allowed: %+v", n, tt.name, tt.deepest, p.Fault)
			}
		}
	}
}

func TestDecodeTransport(t *testing.T) {
	var p Packet
	p.Decode(LinkEthernet, on4(ip4With("", 0x2000, ProtoUDP, []byte("12345678"))))
	p.DecodeTransport(ProtoUDP, udp("order"))
	want := with(order4, macs, func(p *Packet) { p.PayloadOff, p.FragmentID, p.MoreFragments = 8, 0x1234, true })
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	p.Decode(LinkEthernet, on4(ip4With("", 0x2000, ProtoIPv6, []byte("12345678"))))
	p.DecodeTransport(ProtoIPv6, ip6(ProtoUDP, udp("order")))
	if !p.Tunnel || p.IPVersion != 6 || string(p.Payload) != "order" {
		t.Errorf("6in4 in fragments: %+v", p)
	}
	p.DecodeTransport(ProtoTCP, []byte("short"))
	if p.Fault != (Fault{"tcp", "header", 0, ErrTruncated}) {
		t.Errorf("a short segment: %+v", p.Fault)
	}
}

func TestParseARP(t *testing.T) {
	want := ARP{Operation: 1, SenderMAC: ehrMAC, SenderIP: addr("10.20.1.5"), TargetIP: addr("10.20.3.10")}
	if a, ok := ParseARP(append(bytes.Clone(arpRequest), make([]byte, 18)...)); !ok || a != want {
		t.Errorf("%+v, %v; want %+v", a, ok, want)
	}
	for n := range arpRequest {
		if _, ok := ParseARP(arpRequest[:n]); ok {
			t.Errorf("%d bytes are no message", n)
		}
	}
	for i := range 6 { // hardware and protocol space, and their lengths
		b := bytes.Clone(arpRequest)
		b[i] ^= 1
		if _, ok := ParseARP(b); ok {
			t.Errorf("byte %d is another, and it is taken", i)
		}
	}
}

func TestAddr(t *testing.T) {
	for _, s := range []string{"10.20.3.10", "2001:db8::a", "::", "0.0.0.0", "::1"} {
		ip := netip.MustParseAddr(s)
		if a := AddrFrom(ip); a.Netip() != ip || a.String() != s {
			t.Errorf("%s became %s", s, a)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range frames {
		f.Add(uint16(tt.link), tt.b)
	}
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		var p, again Packet
		again.Decode(LinkEthernet, frames[0].b)
		p.Decode(LinkType(link), b)
		inside(t, &p, b)
		again.Decode(LinkType(link), b)
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("the same frame twice:\n%+v\n%+v", p, again)
		}
		p.DecodeTransport(byte(link), b)
		inside(t, &p, b)
		again.DecodeTransport(byte(link), b)
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("the same datagram twice:\n%+v\n%+v", p, again)
		}
		ParseARP(b)
	})
}

func TestDecodeAllocatesNothing(t *testing.T) {
	var p Packet
	for _, tt := range frames {
		if n := testing.AllocsPerRun(100, func() { p.Decode(tt.link, tt.b) }); n > 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"ethernet", "tcp options", "ipv6 extension headers", "vxlan"} {
		for _, tt := range frames {
			if tt.name != name {
				continue
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(tt.b)))
				b.ReportAllocs()
				var p Packet
				for b.Loop() {
					p.Decode(tt.link, tt.b)
				}
			})
		}
	}
}
