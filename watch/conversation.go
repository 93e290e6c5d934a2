// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"net"
	"net/netip"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/inventory"
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
	packets              uint64
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
	e := event.Event{Kind: event.ConversationEnded, Time: c.last, Sighting: c.first().at,
		Device: device.Address{Kind: device.IP, Value: c.client.String()}, Peer: device.Address{Kind: device.IP, Value: c.server.String()}}
	e.Add(event.Int(event.Transport, c.transport), event.Int(event.Port, c.port), event.Int(event.State, c.state),
		event.Text(event.Protocol, c.protocols.names()), event.Int(event.Packets, c.packets),
		event.Int(event.BytesToServer, c.toServer), event.Int(event.BytesToClient, c.toClient),
		event.Int(event.Began, c.begin.Time))
	return e
}

// A node is an IP address in the ordered stage: what is asked of it at every
// conversation, worked out once.
type node struct {
	ip      wire.Addr
	addr    device.Address
	entry   *inventory.Entry
	inside  bool // in a network that is not routed on the internet
	outside bool // a host on the internet
	mac     [6]byte
	spoke   uint64 // bits by proto.ID: told to the entry, as client
	served  uint64 // and as server
}

// nodes are the IP addresses that were heard, numbered in the order of
// appearance. Number 0 stands for none.
type nodes struct {
	slab  []*[nodeSlab]node // grows with need, so that a node stays where it is
	n     uint32
	index map[wire.Addr]uint32
}

const nodeSlab = 512

// maxNodes bounds the addresses of the ordered stage.
const maxNodes = 65536

// node returns the number of an address, new or as it was; 0 when there is no room.
func (s *stage) node(ip wire.Addr, now int64) uint32 {
	if n, ok := s.nodes.index[ip]; ok {
		return n
	}
	if s.nodes.n >= maxNodes {
		s.dropped++
		return 0
	}
	s.nodes.n++
	n := s.nodes.n
	if int(n/nodeSlab) == len(s.nodes.slab) {
		s.nodes.slab = append(s.nodes.slab, new([nodeSlab]node))
	}
	addr := device.Address{Kind: device.IP, Value: ip.String()}
	*s.at(n) = node{ip: ip, addr: addr, entry: s.register.At(addr, now), inside: inside(addr), outside: outsideUnicast(addr)}
	s.nodes.index[ip] = n
	return n
}

// nodeOf is node for an address in an event; 0 when it is no IP address.
func (s *stage) nodeOf(a device.Address, now int64) uint32 {
	ip, err := netip.ParseAddr(a.Value)
	if a.Kind != device.IP || err != nil {
		return 0
	}
	return s.node(wire.AddrFrom(ip), now)
}

// at returns a node; number 0 is one of which nothing is known.
func (s *stage) at(n uint32) *node { return &s.nodes.slab[n/nodeSlab][n%nodeSlab] }

// framed notes the hardware address in a node's frames, when it is another.
func (n *node) framed(mac [6]byte) {
	if n.mac != mac && mac != ([6]byte{}) {
		n.mac = mac
		n.entry.Framed(net.HardwareAddr(mac[:]).String())
	}
}

// ended takes a conversation.
func (s *stage) ended(c *ended) error {
	heard := [2]bool{c.state != event.Unanswered || c.toClient == 0, c.state != event.Unanswered || c.toClient > 0}
	var client, server uint32
	if heard[0] {
		client = s.node(c.client, c.begin.Time)
		if n := s.at(client); client != 0 {
			n.entry.Sent(c.last)
			n.framed(c.clientMAC)
		}
	}
	if heard[1] {
		server = s.node(c.server, c.begin.Time)
		if n := s.at(server); server != 0 {
			n.entry.Sent(c.last)
			n.framed(c.serverMAC)
		}
	}
	s.scan(c, client)
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

// speaks notes a protocol of the node.
func (n *node) speaks(id proto.ID, server bool) {
	told := &n.spoke
	if server {
		told = &n.served
	}
	if *told&(1<<id) == 0 {
		*told |= 1 << id
		n.entry.Spoke(id.String(), server)
	}
}

func (s *stage) count(id proto.ID, client, server uint32, c *ended) {
	s.at(client).speaks(id, false)
	s.at(server).speaks(id, true)
	if x := s.session(id, client, server, c.port); x != nil {
		x.Count++
		x.Bytes += c.bytes()
		x.Encrypted = x.Encrypted || encrypted[id]
	}
}

// encrypted are the protocols that are.
var encrypted = [proto.Count]bool{proto.TLS: true, proto.SSH: true}

type sessionKey struct {
	client, server uint32 // nodes
	port           uint16
	protocol       proto.ID
}

func (s *stage) session(id proto.ID, client, server uint32, port uint16) *Session {
	k := sessionKey{client, server, port, id}
	if x := s.sessions[k]; x != nil {
		return x
	}
	if len(s.sessions) >= maxSessions {
		s.dropped++
		return nil
	}
	x := &Session{Protocol: id.String(), Client: s.at(client).addr, Server: s.at(server).addr, Port: port}
	s.sessions[k] = x
	return x
}
