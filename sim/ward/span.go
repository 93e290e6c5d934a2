// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// morning is 07:00 at the hospital.
var morning = time.Date(2026, time.March, 3, 7, 0, 0, 0, time.FixedZone("", 3600))

// clock reads a time of that morning: "07:04:10" or "07:04:10.5".
func clock(s string) time.Duration {
	t, err := time.Parse("15:04:05", s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return t.Sub(time.Date(0, 1, 1, 7, 0, 0, 0, time.UTC))
}

// A host is a station of the network.
type host struct {
	name string
	ip   netip.Addr
	mac  [6]byte
	ttl  byte // 128 is Windows, 64 everybody else
}

// A tap is a port that mirrors a part of the network.
type tap int

const (
	tapICU tap = iota
	tapRadiology
	tapCore
	taps
)

// radiologyVLAN tags the frames of the radiology tap, whose port is a trunk.
const radiologyVLAN = 8

// tapOf is the part of the network that an address is in.
func tapOf(ip netip.Addr) tap {
	switch b := ip.As4(); {
	case b[0] == 10 && b[2] == 3:
		return tapICU
	case b[0] == 10 && b[2] == 8:
		return tapRadiology
	}
	return tapCore
}

// A span collects the frames of the morning. A packet is in one capture only:
// that of the network its conversation's server is in.
type span struct {
	rng    *rand.Rand
	frames [taps][]frame
	ports  map[netip.Addr]uint16
}

// A frame is one Ethernet frame; ip is where its IPv4 header begins, or 0.
type frame struct {
	at   time.Duration
	data []byte
	ip   int
	rest bool // a fragment that follows another
}

func newSpan() *span {
	return &span{rng: rand.New(rand.NewPCG(20260303, 7)), ports: map[netip.Addr]uint16{}}
}

// port returns the next ephemeral port of a host.
func (s *span) port(h *host) uint16 {
	p, ok := s.ports[h.ip]
	if !ok {
		p = uint16(49152 + s.rng.IntN(8000))
	}
	s.ports[h.ip] = p + 1
	return p
}

// between is a duration from a to b, most of them short.
func (s *span) between(a, b time.Duration) time.Duration {
	x := s.rng.Float64()
	return a + time.Duration(float64(b-a)*x*x)
}

var (
	broadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastIP  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// ethernet begins a frame and returns it with the length of its header.
func ethernet(on tap, dst, src [6]byte, etherType uint16) []byte {
	b := append(append(make([]byte, 0, 64), dst[:]...), src[:]...)
	if on == tapRadiology {
		b = binary.BigEndian.AppendUint16(b, wire.EtherTypeVLAN)
		b = binary.BigEndian.AppendUint16(b, radiologyVLAN)
	}
	return binary.BigEndian.AppendUint16(b, etherType)
}

// add puts a frame into a capture, padded to the least that Ethernet carries
// (IEEE 802.3 section 3.2.8) as the switch mirrors it, without check sequence.
func (s *span) add(on tap, at time.Duration, b []byte, ip int) {
	for len(b) < 60 {
		b = append(b, 0)
	}
	s.frames[on] = append(s.frames[on], frame{at: at, data: b, ip: ip})
}

// mtu is the largest IP packet that the networks carry.
const mtu = 1500

// ipv4 adds one IPv4 packet, in fragments where it is large (RFC 791 section
// 3.2); its identification and checksum follow when all are in order.
func (s *span) ipv4(on tap, at time.Duration, from *host, dstMAC [6]byte, dst netip.Addr, proto byte, transport []byte) {
	const most = (mtu - 20) &^ 7
	ttl := from.ttl
	if !from.ip.IsPrivate() && !from.ip.IsUnspecified() {
		ttl -= 11 // hops from outside
	}
	src, to := from.ip.As4(), dst.As4()
	for done := 0; done < len(transport); {
		part := transport[done:min(len(transport), done+most)]
		flags := uint16(done / 8)
		switch {
		case done+len(part) < len(transport):
			flags |= 0x2000 // more fragments
		case proto == wire.ProtoTCP:
			flags |= 0x4000 // do not fragment
		}
		b := ethernet(on, dstMAC, from.mac, wire.EtherTypeIPv4)
		off := len(b)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+len(part)))
		b = append(b, 0, 0)
		b = binary.BigEndian.AppendUint16(b, flags)
		b = append(b, ttl, proto, 0, 0)
		b = append(append(b, src[:]...), to[:]...)
		s.add(on, at, append(b, part...), off)
		s.frames[on][len(s.frames[on])-1].rest = done > 0
		done += len(part)
	}
}

// sum adds 16-bit words for the internet checksum (RFC 1071).
func sum(n uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		n += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	return n
}

func fold(n uint32) uint16 {
	for n > 0xffff {
		n = n&0xffff + n>>16
	}
	return ^uint16(n)
}

// checksum is that of a transport header with its pseudo-header (RFC 9293 section 3.1).
func checksum(src, dst netip.Addr, proto byte, b []byte) uint16 {
	s, d := src.As4(), dst.As4()
	return fold(sum(sum(sum(uint32(proto)+uint32(len(b)), s[:]), d[:]), b))
}

// A way is where a datagram goes besides its plain destination.
type way struct {
	ip  netip.Addr
	mac [6]byte
}

// multicast is a group's way (RFC 1112 section 6.4).
func multicast(ip netip.Addr) way {
	b := ip.As4()
	return way{ip, [6]byte{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}}
}

// datagram adds one UDP datagram.
func (s *span) datagram(on tap, at time.Duration, from *host, to way, sport, dport uint16, payload []byte) {
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	c := checksum(from.ip, to.ip, wire.ProtoUDP, b)
	if c == 0 {
		c = 0xffff // RFC 768: 0 would say that there is none
	}
	binary.BigEndian.PutUint16(b[6:], c)
	s.ipv4(on, at, from, to.mac, to.ip, wire.ProtoUDP, b)
}

// ask adds a datagram and its answer, a little later.
func (s *span) ask(at time.Duration, client, server *host, sport, dport uint16, question, answer []byte) {
	on := tapOf(server.ip)
	at += s.between(0, time.Millisecond)
	s.datagram(on, at, client, way{server.ip, server.mac}, sport, dport, question)
	if answer != nil {
		s.datagram(on, at+distance(server)+s.between(200*time.Microsecond, 2*time.Millisecond), server, way{client.ip, client.mac}, dport, sport, answer)
	}
}

// distance is the time to a host and back, as the span port sees it.
func distance(h *host) time.Duration {
	if h.ip.IsPrivate() {
		return 180 * time.Microsecond
	}
	return 19 * time.Millisecond
}

// arp adds a request for an address, and the answer of its owner if there is one.
func (s *span) arp(on tap, at time.Duration, from *host, ip netip.Addr, owner *host) {
	const request, reply = 1, 2
	at += s.between(0, 100*time.Microsecond)
	message := func(op byte, sender *host, target [6]byte, targetIP netip.Addr) []byte {
		b := []byte{0, 1, 8, 0, 6, 4, 0, op}
		a, c := sender.ip.As4(), targetIP.As4()
		b = append(append(b, sender.mac[:]...), a[:]...)
		return append(append(b, target[:]...), c[:]...)
	}
	s.add(on, at, append(ethernet(on, broadcastMAC, from.mac, wire.EtherTypeARP), message(request, from, [6]byte{}, ip)...), 0)
	if owner != nil {
		at += s.between(100*time.Microsecond, 900*time.Microsecond)
		s.add(on, at, append(ethernet(on, from.mac, owner.mac, wire.EtherTypeARP), message(reply, owner, from.mac, from.ip)...), 0)
	}
}

// write puts the frames of one capture in order and writes them.
func (s *span) write(on tap, w *capture.Writer) error {
	frames := s.frames[on]
	slices.SortStableFunc(frames, func(a, b frame) int { return cmp.Compare(a.at, b.at) })
	next := map[[4]byte]uint16{} // identification, counted by each sender
	for _, f := range frames {
		if f.ip > 0 {
			h := f.data[f.ip : f.ip+20]
			src := [4]byte(h[12:16])
			if _, ok := next[src]; !ok {
				next[src] = uint16(s.rng.UintN(1 << 16))
			}
			if !f.rest {
				next[src]++
			}
			binary.BigEndian.PutUint16(h[4:], next[src])
			binary.BigEndian.PutUint16(h[10:], fold(sum(0, h)))
		}
		// The clock of a span port counts microseconds.
		t := morning.Add(f.at).Truncate(time.Microsecond).UnixNano()
		if err := w.WriteFrame(&capture.Frame{Data: f.data, Time: t, OrigLen: len(f.data), Link: capture.LinkEthernet}); err != nil {
			return err
		}
	}
	return nil
}
