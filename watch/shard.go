// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of a shard's caches. A cache that is full is emptied: it only
// saves work, so what comes out is the same.
const (
	maxAddresses = 256
	maxTexts     = 256
	maxBindings  = 512
	maxSpareExch = 256
)

// The events that a shard may emit: so many for each of its packets, and what
// it did not use up, to this bound. A message of a megabyte that comes to its end
// with one packet, and in every shard at once, would be two million.
const (
	packetEvents = 16
	maxEvents    = 1024
)

// A shard follows its share of the conversations and turns what they say into
// events, in the order of its packets. It is used from one goroutine at a time.
type shard struct {
	table   *flow.Table
	mac     hash.Hash         // HMAC-SHA-256 under the key of this run
	sum     [sha256.Size]byte // what it says; here so that it is not on the heap each time
	verbose bool              // somebody records events
	keyed   bool              // pseudonyms may be shown

	dialects func() *radio.Set // of proprietary radios; called once
	makes    func(maker, model string) bool
	handles  *gatt.Cache // what a run before learned of attributes; nil: nothing

	seq  uint32 // of the packet in hand within its unit
	out  *[]stamped
	ends *[]ended
	left int         // events that may be emitted
	none event.Event // what emit returns when there is no event left
	lost uint64      // events that there was no room for

	addresses map[wire.Addr]device.Address
	texts     map[string]string
	bindings  map[wire.Addr][6]byte
	spare     []*exchange

	air          *air // of the one shard that has what was heard on the radio; nil until there is something
	certificates certificateCache

	scratch [1024]byte // for an observer, during one call: a name written out, say

	opened func(*exchange) // is shown each new exchange; nil but in tests
}

// A stamped event knows the packet of the unit at which it was emitted, so
// that the events of all shards can be put in the packets' order.
type stamped struct {
	seq uint32
	e   event.Event
}

func newShard(key []byte) *shard {
	s := &shard{
		mac:       hmac.New(sha256.New, key),
		addresses: make(map[wire.Addr]device.Address),
		texts:     make(map[string]string),
		bindings:  make(map[wire.Addr][6]byte),
	}
	s.left = maxEvents
	s.table = flow.NewTable(s)
	return s
}

// emit appends an event to be filled in by the caller at once.
func (s *shard) emit(kind event.Kind, at flow.Place) *event.Event {
	if s.left <= 0 {
		s.lost++
		s.none = event.Event{}
		return &s.none
	}
	s.left--
	*s.out = append(*s.out, stamped{seq: s.seq})
	e := &(*s.out)[len(*s.out)-1].e
	e.Kind, e.Time = kind, at.Time
	e.Sighting = event.Sighting{Input: int(at.Input), Packet: at.Packet, Offset: int(at.Offset)}
	return e
}

// packet takes one packet of this shard.
func (s *shard) packet(it *item) {
	s.left = min(s.left+packetEvents, maxEvents)
	p := &it.packet
	switch {
	case p.EtherType == wire.EtherTypeARP:
		s.arp(p, it.place)
		return
	case p.IPVersion == 0:
		return
	}
	if it.differing {
		at := it.place
		at.Offset = int32(p.PayloadOff)
		e := s.emit(event.OverlapSeen, at)
		e.Device, e.Peer = s.address(p.Src), s.address(p.Dst)
		e.Add(event.Text(event.Layer, "ip"))
	}
	if p.Fragmented {
		return // its datagram is not whole yet
	}
	if shape, cve := urgent(p); shape != "" {
		e := s.emit(event.ExploitSeen, it.place)
		e.Device, e.Peer = s.address(p.Src), s.address(p.Dst)
		e.Add(event.Text(event.Protocol, "tcp"), event.Text(event.Shape, shape), event.Text(event.CVE, cve))
	}
	s.table.Packet(p, it.place)
}

// heard takes one frame from the radio.
func (s *shard) heard(f *Frame, at flow.Place) {
	s.left = min(s.left+packetEvents, maxEvents)
	if s.air == nil {
		s.air = newAir(s)
	}
	if ble.Reads(f.Link) {
		s.air.frame(f, at)
	} else {
		s.air.radioFrame(f, at)
	}
}

// urgent recognises the shapes of URGENT/11 that a capture can show: TCP
// segments that no stack sends by itself and that overflow VxWorks' IPnet.
func urgent(p *wire.Packet) (shape, cve string) {
	switch {
	case p.Proto != wire.ProtoTCP || !p.HasPorts:
		return "", ""
	case p.BadTCPOptions && p.Flags&wire.SYN != 0:
		return "TCP option with an impossible length", "CVE-2019-12260"
	case p.Flags&wire.URG != 0 && p.Urgent == 0 && len(p.Payload) > 0 && p.Flags&wire.SYN == 0:
		return "TCP urgent flag with urgent pointer zero", "CVE-2019-12255"
	}
	return "", ""
}

// arp notes who claims an address, when that is new or another.
func (s *shard) arp(p *wire.Packet, at flow.Place) {
	a, ok := wire.ParseARP(p.Payload)
	if !ok || a.SenderIP.Netip().IsUnspecified() { // a probe claims nothing (RFC 5227 section 2.1)
		return
	}
	if had, ok := s.bindings[a.SenderIP]; ok && had == a.SenderMAC {
		return
	}
	if len(s.bindings) >= maxBindings {
		clear(s.bindings)
	}
	s.bindings[a.SenderIP] = a.SenderMAC
	at.Offset = int32(p.PayloadOff)
	e := s.emit(event.BindingSeen, at)
	e.Device = s.address(a.SenderIP)
	e.Add(event.Text(event.MAC, s.intern(net.HardwareAddr(a.SenderMAC[:]).String())), event.Text(event.Protocol, "arp"))
}

// address returns an IP address as text, made once.
func (s *shard) address(ip wire.Addr) device.Address {
	if a, ok := s.addresses[ip]; ok {
		return a
	}
	if len(s.addresses) >= maxAddresses {
		clear(s.addresses)
	}
	a := device.Address{Kind: device.IP, Value: ip.String()}
	s.addresses[ip] = a
	return a
}

func (s *shard) text(b []byte) string {
	return s.known(clean(b))
}

// known returns b as text, made once.
func (s *shard) known(b []byte) string {
	if t, ok := s.texts[string(b)]; ok {
		return t
	}
	return s.intern(string(b))
}

func (s *shard) intern(t string) string {
	if had, ok := s.texts[t]; ok {
		return had
	}
	if len(s.texts) >= maxTexts {
		clear(s.texts)
	}
	s.texts[t] = t
	return t
}

// pseudonym returns 64 bits of HMAC-SHA-256 over parts, told apart by their
// lengths. It is never 0.
func (s *shard) pseudonym(use string, parts ...[]byte) int64 {
	s.mac.Reset()
	s.mac.Write([]byte(use))
	for _, part := range parts {
		n := s.sum[:8]
		binary.BigEndian.PutUint64(n, uint64(len(part)))
		s.mac.Write(n)
		s.mac.Write(part)
	}
	return int64(binary.BigEndian.Uint64(s.mac.Sum(s.sum[:0]))) | 1
}

// A shard is its table's handler.

func (s *shard) Opened(*flow.Conversation) {}

func (s *shard) Data(c *flow.Conversation, from flow.Side, b []byte) int {
	x, _ := c.User.(*exchange)
	if x == nil {
		x = s.exchange(c)
	}
	x.From, x.now = from, s.table.Now().Time
	x.last = s.table.Place(0)
	n := x.data(b)
	x.charge()
	return n
}

// data hands b to the observer, and to the one that this hands over to.
func (x *exchange) data(b []byte) int {
	n := 0
	for {
		if x.obs == nil {
			if x.id != proto.None {
				return ignore // recognised, and nothing more to be learned
			}
			if n = x.recognise(b); x.obs == nil {
				return n
			}
			n = 0
		}
		was := x.obs
		n += x.obs.data(x, b[min(n, len(b)):])
		if n < 0 {
			n = ignore
		}
		if x.obs == was || n >= len(b) {
			return n
		}
	}
}

func (s *shard) exchange(c *flow.Conversation) *exchange {
	var x *exchange
	if n := len(s.spare); n > 0 {
		x, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		x = new(exchange)
	}
	*x = exchange{conv: c, sh: s}
	c.User = x
	if s.opened != nil {
		s.opened(x)
	}
	return x
}

// recognise looks at the first bytes of a side. It returns how many are done
// with when they say nothing.
func (x *exchange) recognise(b []byte) int {
	var id proto.ID
	var m wire.Match
	if x.conv.Proto == wire.ProtoUDP {
		id, m = proto.Datagram(b, x.conv.Client.Port, x.conv.Server.Port)
	} else {
		id, m = proto.Stream(b, x.conv.Client.Port, x.conv.Server.Port)
		if m == wire.NeedMore && len(b) < maxFirst {
			return 0
		}
	}
	if m == wire.SureMatch || m == wire.WeakMatch {
		x.observe(id, 0)
		return 0
	}
	x.tries[x.From]++
	if x.tries[x.From] >= maxTries {
		return ignore
	}
	return len(b)
}

func (s *shard) Gap(c *flow.Conversation, from flow.Side, n int) bool {
	x, _ := c.User.(*exchange)
	if x == nil || x.obs == nil {
		return x == nil || x.id == proto.None
	}
	x.From, x.now = from, s.table.Now().Time
	more := x.obs.gap(x, n)
	x.charge()
	return more
}

func (s *shard) Overlap(c *flow.Conversation, from flow.Side) {
	e := s.emit(event.OverlapSeen, s.table.Now())
	e.Device, e.Peer = s.address(c.Client.Addr), s.address(c.Server.Addr)
	if from == flow.Server {
		e.Device, e.Peer = e.Peer, e.Device
	}
	e.Add(event.Text(event.Layer, "tcp"))
}

func (s *shard) Closed(c *flow.Conversation) {
	x, _ := c.User.(*exchange)
	end := ended{
		seq: s.seq, begin: c.Begin, last: c.Last, client: c.Client.Addr, server: c.Server.Addr,
		clientMAC: c.ClientMAC, serverMAC: c.ServerMAC, port: c.Server.Port, transport: c.Proto,
		flags: c.Flags, packets: c.Packets, toServer: c.Bytes[flow.Client], toClient: c.Bytes[flow.Server],
		state: event.Established,
	}
	if x != nil {
		if x.obs != nil {
			x.closing = true
			x.obs.close(x)
		}
		end.protocols = x.protocols
		*x = exchange{}
		if len(s.spare) < maxSpareExch {
			s.spare = append(s.spare, x)
		}
	}
	switch {
	case c.Packets[0] == 0 || c.Packets[1] == 0:
		end.state = event.Unanswered
	case c.State == flow.Refused:
		end.state = event.Refused
	case c.Midstream:
		end.state = event.Midstream
	}
	*s.ends = append(*s.ends, end)
}
