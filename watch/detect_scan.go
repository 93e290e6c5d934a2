// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/wire"
)

// The way into the network.

// A tryKey is a station and either a port, whatever the address, or an address,
// whatever the port.
type tryKey struct {
	from  wire.Addr
	to    wire.Addr // zero: any
	port  uint16
	proto uint8
}

// tries are the targets that came to nothing.
type tries struct {
	since   int64
	n       uint64
	targets []target // up to maxTargets
	index   []uint16 // of targets, once there are many: 1 + a place, at the target's hash or behind
	places  []try
	last    int64
	found   bool // enough of them within the window
	more    bool // targets than are listed
	lent    int  // targets taken from the purse
}

type target struct {
	addr   wire.Addr
	port   uint16
	visits uint8 // up to checkVisits
	shut   bool  // it did not open at least once
}

// searched reports whether the visits look like a search, and not like a check.
func (t target) searched() bool { return t.shut || t.visits < checkVisits }

type try struct {
	place
	to target
}

func compareTries(a, b try) int { return comparePlaces(a.place, b.place) }

func keepTries(_ tryKey, t *tries) uint8 {
	if t.found {
		return 1
	}
	return 0
}

func (s *stage) releaseTries(_ tryKey, t *tries) { s.targets += purse(t.lent) }

// probed are the UDP services that scanners ask for one by one: TFTP, portmapper,
// SNMP, IKE, IPMI, SQL Server, SSDP, SIP, CoAP, memcached, VxWorks' debugger,
// EtherNet/IP, BACnet. Others are sent to many addresses by honest stations that
// nobody answers, or whose answers were not captured: DNS, NTP, NetBIOS names,
// syslog, SNMP traps, QUIC, LDAP.
var probed = []uint16{69, 111, 161, 500, 623, 1434, 1900, 5060, 5683, 11211, 17185, 44818, 47808}

// knocks reports whether a datagram conversation looks like a port scanner's
// question: at most a few datagrams without an answer, that carry nothing or
// go to a service's port. RTP and the answers to clients go to ports above
// those and carry something; traceroute counts up from its own port, and may
// carry nothing.
func (c *ended) knocks() bool {
	const traceroute, hops = 33434, 256
	if c.state != event.Unanswered || c.packets[flow.Client] > scanDatagrams || c.port >= traceroute && c.port < traceroute+hops {
		return false
	}
	return c.bytes() == 0 || c.port < 1024
}

// futile reports whether a conversation came to nothing, and whether the target
// was open all the same: no answer, a refusal, or a connection that was opened
// and left without a word. Where only one direction was captured nothing is
// known: the client's ACK, or a server that answers nobody, betrays that.
func (c *ended) futile() (futile, open bool) {
	const tcp = wire.SYN | wire.ACK | wire.RST
	client, server := c.flags[flow.Client], c.flags[flow.Server]
	if c.packets[flow.Client] == 0 || c.packets[flow.Client]+c.packets[flow.Server] > scanPackets {
		return false, false
	}
	switch c.transport {
	case wire.ProtoTCP:
		switch {
		case client&tcp == 0: // no stack sends that (RFC 9293 section 3.10.7): a stealth scan
			return true, false
		case client&wire.SYN == 0: // the beginning was not captured
			return false, false
		case c.packets[flow.Server] == 0:
			return client&wire.ACK == 0, false
		case c.state == event.Refused:
			return true, false
		}
		return c.bytes() == 0, client&wire.ACK != 0 && server&wire.SYN != 0
	case wire.ProtoUDP:
		return c.state == event.Unanswered && (c.knocks() || slices.Contains(probed, c.port)), true
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return c.state == event.Unanswered && client&wire.SYN != 0, true
	}
	return false, false
}

// scan counts conversations that came to nothing.
func (s *stage) scan(c *ended) {
	futile, open := c.futile()
	if !futile {
		return
	}
	if ip := c.server.Netip(); ip.IsMulticast() || ip.Is4() && c.server[15] == 255 {
		return
	}
	x := try{c.first(), target{addr: c.server, port: c.port, shut: !open}}
	switch c.transport {
	case wire.ProtoUDP:
		if c.bytes() == 0 || slices.Contains(probed, c.port) {
			s.tried(tryKey{from: c.client, port: c.port, proto: c.transport}, x, scanTargets)
		}
		if !c.knocks() {
			return
		}
		x.to.shut = true // nobody checks dozens of ports that never answer
	default:
		s.tried(tryKey{from: c.client, port: c.port, proto: c.transport}, x, scanTargets)
		if c.transport != wire.ProtoTCP {
			return
		}
	}
	s.tried(tryKey{from: c.client, to: c.server, proto: c.transport}, x, scanPorts)
}

// manyTargets is how many are found by looking at each.
const manyTargets = 8

// find returns the place of a target among the others, or -1.
func (t *tries) find(x *target) int {
	if t.index == nil {
		for i := range t.targets {
			if y := &t.targets[i]; y.addr == x.addr && y.port == x.port {
				return i
			}
		}
		return -1
	}
	for h := x.hash(); ; h++ { // ends: less than half of the index is used
		i := int(t.index[int(h)%len(t.index)]) - 1
		if i < 0 {
			return -1
		}
		if y := &t.targets[i]; y.addr == x.addr && y.port == x.port {
			return i
		}
	}
}

// add puts a target behind the others.
func (t *tries) add(x *target) {
	x.visits = 1
	t.targets = append(t.targets, *x)
	switch n := len(t.targets); {
	case n < manyTargets:
	case n >= len(t.index)/2:
		t.index = make([]uint16, 4*n)
		for i := range t.targets {
			t.list(i)
		}
	default:
		t.list(n - 1)
	}
}

// list puts the target at i into the index.
func (t *tries) list(i int) {
	h := t.targets[i].hash()
	for t.index[int(h)%len(t.index)] != 0 { // ends: less than half of the index is used
		h++
	}
	t.index[int(h)%len(t.index)] = uint16(i + 1)
}

func (x *target) hash() uint32 {
	a := binary.LittleEndian.Uint64(x.addr[8:]) ^ binary.LittleEndian.Uint64(x.addr[:8])<<1 ^ uint64(x.port)<<24
	return uint32(a * 0x9e3779b97f4a7c15 >> 33)
}

// tried notes a try.
func (s *stage) tried(k tryKey, x try, threshold int) {
	t := s.tries.use(k, x.time, &s.dropped)
	if !t.found && x.time-t.since > scanWindow {
		*t = tries{since: x.time}
	}
	t.n++
	t.last = max(t.last, x.time)
	t.places = lowest(t.places, x, compareTries)
	i := t.find(&x.to)
	switch {
	case i >= 0:
		y := &t.targets[i]
		y.visits += min(1, checkVisits-y.visits)
		y.shut = y.shut || x.to.shut
	case len(t.targets) < threshold:
		t.add(&x.to)
	case len(t.targets) < maxTargets && s.targets > 0:
		s.targets--
		t.lent++
		t.add(&x.to)
	default:
		t.more = true
	}
	t.found = t.found || len(t.targets) >= threshold
}

// judgeScans decides which stations search: those that miss more than they
// reach.
func (s *stage) judgeScans() (out []*claim) {
	type service struct {
		from wire.Addr
		port uint16
	}
	type one struct {
		service
		to uint32
	}
	reached := map[service]int{}
	s.tries.sorted(func(k tryKey, t *tries) {
		if t.found && k.to == (wire.Addr{}) {
			reached[service{k.from, k.port}] = 0
		}
	})
	if len(reached) > 0 {
		counted := map[one]bool{}
		for k, r := range s.sessions.rows {
			x := one{service{s.at(k.client).ip, k.port}, k.server}
			if _, ok := reached[x.service]; ok && r.v.Bytes > 0 && s.at(k.server).heard && !counted[x] {
				counted[x] = true
				reached[x.service]++
			}
		}
	}
	s.tries.sorted(func(k tryKey, t *tries) {
		if !t.found {
			return
		}
		missed := 0
		for _, x := range t.targets {
			if x.searched() {
				missed++
			}
		}
		kind, threshold, to, peer := finding.ScanHorizontal, scanTargets, "", device.Address{}
		if k.to != (wire.Addr{}) {
			peer = s.address(k.to)
			kind, threshold, to = finding.ScanVertical, scanPorts, peer.Value
		}
		if missed < threshold || kind == finding.ScanHorizontal && !t.more && missed <= reached[service{k.from, k.port}] {
			return
		}
		c := newClaim(claimKey{kind, s.address(k.from), to})
		for _, x := range t.places {
			note := "tried port " + strconv.Itoa(int(x.to.port)) + " at " + s.address(x.to.addr).Value
			if k.proto == wire.ProtoICMP || k.proto == wire.ProtoICMPv6 {
				note = "pinged " + s.address(x.to.addr).Value
			}
			c.see(device.High, x.place, note)
		}
		c.Count, c.Last = t.n, max(c.Last, t.last)
		for _, x := range t.targets {
			if n, ok := s.nodes.index[x.addr]; ok && (len(c.victims) == 0 || c.victims[len(c.victims)-1] != s.at(n).addr) {
				c.victims = append(c.victims, s.at(n).addr)
			}
		}
		out = append(out, c.with(peer))
	})
	return out
}
