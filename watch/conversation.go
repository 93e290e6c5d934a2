// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// An ended conversation is what a shard says of each at its end. There is one
// for every SYN of a flood, so it is compact, and only becomes an [event.Event]
// where somebody records events.
type ended struct {
	seq                  uint32 // as in stamped
	begin                flow.Place
	last                 int64
	client, server       wire.Addr
	clientMAC, serverMAC [6]byte
	port                 uint16 // the server's
	transport            uint8
	state                event.ConversationState
	protocols            protocols
	flags                [2]uint8 // as flow.Conversation has them
	packets              [2]uint64
	toServer, toClient   uint64 // payload bytes
}

// protocols are those of one conversation, outermost first: TLS in RDP, FHIR
// in HTTP. None marks the end.
type protocols [4]proto.ID

func (p *protocols) add(id proto.ID) {
	for i, had := range p {
		if had == id {
			return
		}
		if had == proto.None {
			p[i] = id
			return
		}
	}
}

func (p protocols) has(id proto.ID) bool {
	for _, had := range p {
		if had == id {
			return id != proto.None
		}
	}
	return false
}

// names returns the protocols' names, separated by spaces.
func (p protocols) names() string {
	s := ""
	for _, id := range p {
		if id == proto.None {
			break
		}
		if s != "" {
			s += " "
		}
		s += id.String()
	}
	return s
}

func (c *ended) bytes() uint64 { return c.toServer + c.toClient }

// answered reports whether both sides said something.
func (c *ended) answered() bool { return c.state >= event.Established }

// first is the sighting of a conversation: its first packet.
func (c *ended) first() place {
	return place{c.begin.Time, event.Sighting{Input: int(c.begin.Input), Packet: c.begin.Packet, Offset: int(c.begin.Offset)}}
}

// event returns the conversation as an event.
func (c *ended) event() event.Event {
	e := event.Event{
		Kind: event.ConversationEnded, Time: c.last, Sighting: c.first().at,
		Device: device.Address{Kind: device.IP, Value: c.client.String()}, Peer: device.Address{Kind: device.IP, Value: c.server.String()},
	}
	e.Add(event.Int(event.Transport, c.transport), event.Int(event.Port, c.port), event.Int(event.State, c.state),
		event.Text(event.Protocol, c.protocols.names()), event.Int(event.Packets, c.packets[flow.Client]+c.packets[flow.Server]),
		event.Int(event.BytesToServer, c.toServer), event.Int(event.BytesToClient, c.toClient),
		event.Int(event.Began, c.begin.Time))
	return e
}

// A node is an IP address, or somebody on the radio, in the ordered stage: what is
// noted and asked of it at every conversation. The inventory hears of it when it is asked for.
type node struct {
	ip          wire.Addr // zero on the radio
	addr        device.Address
	first, last int64
	spoke       uint64  // bits by proto.ID: as client
	served      uint64  // and as server
	mac         [6]byte // in its frames, perhaps a router's
	inside      bool    // in a network that is not routed on the internet
	outside     bool    // a host on the internet
	heard       bool    // it sent something itself
	uses        uint8   // conversations and events, up to manyUses
}

// nodes are the IP addresses that were heard, numbered in the order of
// appearance. Number 0 stands for none.
type nodes struct {
	slab  []*[nodeSlab]node // grows with need, so that a node stays where it is
	n     uint32
	free  []uint32  // numbers given up
	late  [2]uint32 // the numbers asked for last, which are in use
	index map[wire.Addr]uint32
	radio map[string]uint32 // by the pseudonym
}

const nodeSlab = 512

// maxNodes bounds the addresses of the ordered stage.
const maxNodes = 32768

// node returns the number of an address, new or as it was.
func (s *stage) node(ip wire.Addr, now int64) uint32 {
	n, ok := s.nodes.index[ip]
	if !ok {
		addr := device.Address{Kind: device.IP, Value: ip.String()}
		n = s.newNode(node{ip: ip, addr: addr, first: now, inside: inside(addr), outside: outsideUnicast(addr)})
		s.nodes.index[ip] = n
	}
	return s.used(n, now)
}

// used notes that a node was asked for.
func (s *stage) used(n uint32, now int64) uint32 {
	x := s.at(n)
	x.uses += min(1, manyUses-x.uses)
	x.last = max(x.last, now)
	s.nodes.late = [2]uint32{s.nodes.late[1], n}
	return n
}

func (s *stage) newNode(x node) uint32 {
	if s.nodes.n >= maxNodes && len(s.nodes.free) == 0 {
		s.recycle()
	}
	n := s.nodes.n + 1
	if last := len(s.nodes.free) - 1; last >= 0 {
		n, s.nodes.free = s.nodes.free[last], s.nodes.free[:last]
	} else {
		s.nodes.n = n
		if int(n/nodeSlab) == len(s.nodes.slab) {
			s.nodes.slab = append(s.nodes.slab, new([nodeSlab]node))
		}
	}
	x.last = x.first
	*s.at(n) = x
	return n
}

// worth ranks nodes by what would be lost with them.
func (s *stage) worth(n *node) uint8 {
	switch {
	case s.register.Treats(n.addr):
		return 4
	case s.register.Told(n.addr):
		return 3
	case n.served != 0:
		return 2
	case n.spoke != 0:
		return 1
	}
	return 0
}

// recycle gives up the poorest quarter of the nodes, and the sessions of these:
// a flood of forged addresses pushes out its own, not those that talk. Of
// equals the ones go that were used least, then those silent longest.
func (s *stage) recycle() {
	type rank struct {
		worth uint16 // and in the low byte the uses
		n     uint32
		last  int64
	}
	ranks := make([]rank, 0, s.nodes.n)
	for n := uint32(1); n <= s.nodes.n; n++ {
		if x := s.at(n); n != s.nodes.late[0] && n != s.nodes.late[1] {
			ranks = append(ranks, rank{uint16(s.worth(x))<<8 | uint16(x.uses), n, x.last})
		}
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		switch { // a flood sorts often
		case a.worth != b.worth:
			return int(a.worth) - int(b.worth)
		case a.last != b.last:
			return cmp.Compare(a.last, b.last)
		}
		return cmp.Compare(a.n, b.n)
	})
	ranks = ranks[:(len(ranks)+3)/4]
	for _, r := range ranks {
		x := s.at(r.n)
		if x.addr.OnAir() {
			delete(s.nodes.radio, x.addr.Value)
		} else {
			delete(s.nodes.index, x.ip)
		}
		s.nodes.free = append(s.nodes.free, r.n)
		*x = node{}
	}
	for k := range s.sessions.rows {
		if s.at(k.client).addr.Value == "" || s.at(k.server).addr.Value == "" {
			s.sessions.drop(k)
			s.dropped++
		}
	}
	s.dropped += uint64(len(ranks))
}

// nodeOf is node for an address in an event; 0 when it is neither an IP address
// nor one on the radio.
func (s *stage) nodeOf(a device.Address, now int64) uint32 {
	if a.OnAir() && a.Value != "" {
		n, ok := s.nodes.radio[a.Value]
		if !ok {
			n = s.newNode(node{addr: a, first: now, inside: true, heard: true})
			s.nodes.radio[a.Value] = n
		}
		return s.used(n, now)
	}
	ip, err := netip.ParseAddr(a.Value)
	if a.Kind != device.IP || err != nil {
		return 0
	}
	return s.node(wire.AddrFrom(ip), now)
}

// at returns a node; number 0 is one of which nothing is known.
func (s *stage) at(n uint32) *node { return &s.nodes.slab[n/nodeSlab][n%nodeSlab] }

// hear notes that the node sent something.
func (n *node) hear(mac [6]byte, now int64) {
	n.heard, n.last = true, max(n.last, now)
	if mac != ([6]byte{}) {
		n.mac = mac
	}
}

// introduce tells the inventory of the nodes that are ours, and of those
// outside of which it has heard something.
func (s *stage) introduce() {
	for i := uint32(1); i <= s.nodes.n; i++ {
		n := s.at(i)
		if n.addr.Value == "" {
			continue // its number is free
		}
		if !s.register.Known(n.addr) && !(n.heard && n.inside) {
			continue
		}
		e := s.register.At(n.addr, n.first)
		if n.heard {
			e.Sent(n.last)
		}
		if n.mac != ([6]byte{}) && !n.outside { // from outside it is always the router's
			e.Framed(net.HardwareAddr(n.mac[:]).String())
		}
		for id := proto.None + 1; id < proto.Count; id++ {
			if n.spoke&(1<<id) != 0 {
				e.Spoke(id.String(), false)
			}
			if n.served&(1<<id) != 0 {
				e.Spoke(id.String(), true)
			}
		}
	}
}

// ended takes a conversation.
func (s *stage) ended(c *ended) error {
	heard := [2]bool{c.packets[flow.Client] > 0, c.packets[flow.Server] > 0}
	var client, server uint32
	if heard[0] {
		client = s.node(c.client, c.begin.Time)
		if client != 0 {
			s.at(client).hear(c.clientMAC, c.last)
		}
	}
	if heard[1] {
		server = s.node(c.server, c.begin.Time)
		if server != 0 {
			s.at(server).hear(c.serverMAC, c.last)
		}
	}
	s.scan(c)
	if c.protocols[0] != proto.None { // a protocol to nobody who answers is a session too: mDNS, syslog, one-sided captures
		if client == 0 {
			client = s.node(c.client, c.begin.Time)
		}
		if server == 0 {
			server = s.node(c.server, c.begin.Time)
		}
	}
	if client != 0 && server != 0 {
		if c.protocols[0] == proto.None && c.answered() && c.bytes() > 0 {
			s.count(proto.None, client, server, c)
		}
		for _, id := range c.protocols {
			if id != proto.None {
				s.count(id, client, server, c)
			}
		}
		s.clearFTP(c, server)
		s.shortSession(c, client, server)
		s.beacon(c, client, server)
		s.outside(c, client, server)
		s.guarded(c, client, server)
	}
	if s.record == nil {
		return nil
	}
	e := c.event()
	return s.record(&e)
}

func (s *stage) count(id proto.ID, client, server uint32, c *ended) {
	s.at(client).spoke |= 1 << id
	s.at(server).served |= 1 << id
	x := s.session(id, client, server, c.port, c.first(), c.last)
	x.Count++
	x.Bytes += c.bytes()
	x.Encrypted = x.Encrypted || encrypted[id] && !x.readable
}

// encrypted are the protocols that are, unless they agree on a suite that only signs.
var encrypted = [proto.Count]bool{proto.TLS: true, proto.SSH: true}

type sessionKey struct {
	client, server uint32 // nodes
	port           uint16
	protocol       proto.ID
}

// session returns a session, new or as it was, of which there is something at a
// place. The pointer is valid until the next call.
func (s *stage) session(id proto.ID, client, server uint32, port uint16, at place, now int64) *Session {
	x := s.sessions.use(sessionKey{client, server, port, id}, now, &s.dropped)
	if x.Client.Value == "" {
		*x = Session{Protocol: id.String(), Client: s.at(client).addr, Server: s.at(server).addr, Port: port, First: at.sighting()}
	} else if first := at.sighting(); first.Less(x.First) { // conversations come in the order in which they end
		x.First = first
	}
	return x
}

// keepSession ranks sessions: of protocols that are read, and of devices that
// are known.
func (s *stage) keepSession(k sessionKey, _ *Session) uint8 {
	keep := max(s.worth(s.at(k.client)), s.worth(s.at(k.server)))
	if k.protocol != proto.None {
		keep += 8
	}
	return keep
}
