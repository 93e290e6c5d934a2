// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math"
	"math/bits"

	"github.com/myelin-health/myelin/wire"
)

// Shards is the number of tables that share the conversations between them. It
// is fixed, whatever the number of workers, so that every bound is reached at
// the same packet on every machine.
const Shards = 64

// The bounds of one table: the whole program's divided by [Shards].
const (
	maxConversations = 65536 / Shards    // conversations at a time
	maxBytes         = 72 << 20 / Shards // memory for a table's conversations and all that is kept, held and charged of them
	maxCharged       = maxBytes / 2      // of it charged: a flood of conversations leaves room to keep bytes
	conversationCost = 288               // memory that a conversation takes, for good
	heldCost         = 128               // memory that a held segment takes besides its bytes
	maxKeptSide      = 1 << 20           // bytes kept for one side: the longest message a handler can wait for
	maxHeldSide      = 64                // segments held for one side until a gap is declared
	maxMarks         = 64                // places remembered for one buffer
	recentBytes      = 64 << 10          // bytes remembered, to compare retransmissions with
	recentRecords    = 256               // segments remembered; a power of two
)

// maxJump is how far from the expected sequence number a segment may lie. One
// farther away starts the stream anew: the capture lost more than a window
// (RFC 7323 section 2.3 allows 1 GiB), or it is forged.
const maxJump = 1 << 30

// How long a conversation may be silent, in packet time, by list.
const (
	listUnanswered = iota
	listDatagram
	listStream
	listOver
	lists
)

const ageGrain = int64(1e9)

var idle = [lists]int64{
	listUnanswered: 30e9,
	listDatagram:   60e9,
	listStream:     900e9, // an idle DICOM association or MLLP link lives for many minutes
	listOver:       5e9,
}

// Ignore as the result of [Handler.Data] says that the handler wants nothing
// more of that side.
const Ignore = math.MaxInt

// A Handler is told what the conversations of a table say. All calls come from
// the goroutine that calls [Table.Packet].
type Handler interface {
	// Opened is called at the first packet of a conversation.
	Opened(c *Conversation)
	// Data hands over the bytes of one side that have not been consumed yet,
	// in order, or one datagram, and is told how many are done with. Fewer than
	// len(b): the rest is kept and handed in again with what follows. More:
	// bytes still to come are skipped. b is valid until Data returns;
	// [Table.Place] tells where its bytes were captured.
	Data(c *Conversation, from Side, b []byte) int
	// Gap says that n bytes of one side will never be handed over, and that what
	// was kept of it, and handed over before, is dropped. False means [Ignore].
	Gap(c *Conversation, from Side, n int) bool
	// Overlap says that the segment in hand has other bytes than an earlier one
	// in the same place.
	Overlap(c *Conversation, from Side)
	// Closed is called once, when the conversation is over, expired or evicted.
	Closed(c *Conversation)
}

// Stats counts what a table did, and everything that it gave up.
type Stats struct {
	Conversations uint64 // opened
	Expired       uint64 // silent for too long
	Evicted       uint64 // made room for newer ones
	Retransmitted uint64 // segments
	OutOfOrder    uint64 // segments
	Overlaps      uint64 // segments with other bytes in the same place
	Gaps          uint64
	GapBytes      uint64
	Dropped       uint64 // bytes kept or held, given up because of a bound
	Jumps         uint64 // streams started anew after an impossible sequence number
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Conversations += o.Conversations
	s.Expired += o.Expired
	s.Evicted += o.Evicted
	s.Retransmitted += o.Retransmitted
	s.OutOfOrder += o.OutOfOrder
	s.Overlaps += o.Overlaps
	s.Gaps += o.Gaps
	s.GapBytes += o.GapBytes
	s.Dropped += o.Dropped
	s.Jumps += o.Jumps
}

// A Table follows the conversations of one shard. It is used from one
// goroutine at a time.
type Table struct {
	Stats Stats

	h       Handler
	seeds   [2]uint64
	buckets []uint32                           // first of each chain, or none
	slab    []*[slabSize]Conversation          // grows with need; given up when all is flushed
	used    uint32                             // conversations of the slab ever used
	free    uint32                             // first of the chain of free ones
	ages    [lists]struct{ old, young uint32 } // lists by Last
	clock   int64                              // latest packet time
	swept   int64                              // clock of the last sweep
	bytes   int                                // memory of the slab, kept, held and charged
	charged int                                // of it charged
	spare   []*kept                            // buffers for reuse

	// The bytes in hand during Handler.Data, for Place.
	place Place
	marks []mark

	// The ring of recent bytes: what was delivered last, of all conversations.
	ring    []byte
	ringEnd uint64 // bytes ever written
	records [recentRecords]record
	written uint64 // records ever written
}

// A record describes one delivered segment in the ring of recent bytes.
type record struct {
	prev uint64 // number of the same side's record before, or 0
	pos  uint64 // where its bytes begin, counted as ringEnd
	seq  uint32
	n    uint32
}

const (
	slabSize   = 256
	none       = math.MaxUint32
	bucketBits = 12
)

// NewTable returns an empty table.
func NewTable(h Handler) *Table {
	t := &Table{h: h, free: none}
	for i := range t.seeds {
		t.seeds[i] = maphash.Bytes(maphash.MakeSeed(), nil)
	}
	for i := range t.ages {
		t.ages[i].old, t.ages[i].young = none, none
	}
	return t
}

// Hash returns a number that is the same for both directions of a conversation
// and on every machine. Its top six bits choose the shard.
func Hash(p *wire.Packet) uint64 {
	a0, a1 := binary.LittleEndian.Uint64(p.Src[:8]), binary.LittleEndian.Uint64(p.Src[8:])
	b0, b1 := binary.LittleEndian.Uint64(p.Dst[:8]), binary.LittleEndian.Uint64(p.Dst[8:])
	a := mix(a0^0x9e3779b97f4a7c15, a1^uint64(p.SrcPort)<<48^uint64(p.SrcPort)*0x100000001b3)
	b := mix(b0^0x9e3779b97f4a7c15, b1^uint64(p.DstPort)<<48^uint64(p.DstPort)*0x100000001b3)
	return mix(a+b, (a^b)|0xd6e8feb86659fd93) ^ uint64(p.Proto)
}

// ShardOf returns the shard of a hash.
func ShardOf(hash uint64) int { return int(hash >> 58) }

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

func (t *Table) at(i uint32) *Conversation { return &t.slab[i/slabSize][i%slabSize] }

// Packet takes one packet of this table's shard. The packet is not kept.
func (t *Table) Packet(p *wire.Packet, at Place) {
	if at.Time > t.clock {
		t.clock = at.Time
		if t.clock-t.swept > 1e9 {
			t.sweep()
		}
	}
	at.Offset = int32(p.PayloadOff)
	t.place = at

	for (t.charged > maxCharged || t.bytes > maxBytes) && t.evict(listUnanswered, listDatagram, listStream) {
	}
	key := t.key(p)
	c, from := t.find(p, key)
	if c != nil && startsAnew(c, from, p) {
		t.remove(c)
		c = nil
	}
	if c == nil {
		c = t.open(p, key, at)
		from = Client
		if c.Client.Addr != p.Src || c.Client.Port != p.SrcPort {
			from = Server
		}
		c.Packets[from]++
		c.Bytes[from] += uint64(len(p.Payload) + p.Missing)
		t.setMAC(c, from, p)
		t.h.Opened(c)
	} else {
		c.Packets[from]++
		c.Bytes[from] += uint64(len(p.Payload) + p.Missing)
		if at.Time > c.Last {
			c.Last = at.Time
		}
		if c.State == Unanswered && c.Packets[from] == 1 {
			t.answered(c, from, p)
		}
		if c.Last-c.placed > ageGrain {
			t.unlink(c)
			t.push(c)
		}
	}
	if c.over {
		return
	}
	c.Flags[from] |= p.Flags
	switch p.Proto {
	case wire.ProtoTCP:
		t.tcp(c, from, p)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if request(p) {
			c.Flags[from] |= wire.SYN
		}
	case wire.ProtoUDP:
		if len(p.Payload) > 0 && !c.sides[from].ignored {
			t.marks = nil
			if t.h.Data(c, from, p.Payload) == Ignore {
				c.sides[from].ignored = true
			}
		}
	}
}

// request reports whether an ICMP message asks for an answer: echo, timestamp,
// information, mask (RFC 792, RFC 950), echo (RFC 4443 section 4.1).
func request(p *wire.Packet) bool {
	if p.Proto == wire.ProtoICMPv6 {
		return p.ICMPType == 128
	}
	return p.ICMPType == 8 || p.ICMPType == 13 || p.ICMPType == 15 || p.ICMPType == 17
}

// startsAnew reports whether p opens a new conversation between the same
// endpoints: anything but a straggler after one that is over, or a SYN with
// another sequence number in the middle of one whose end was not captured.
func startsAnew(c *Conversation, from Side, p *wire.Packet) bool {
	if p.Proto != wire.ProtoTCP {
		return c.over
	}
	if p.Flags&(wire.SYN|wire.ACK|wire.RST) != wire.SYN {
		return false
	}
	s := &c.sides[from]
	return c.over || c.State == Established && s.started && s.first != p.Seq
}

func (t *Table) setMAC(c *Conversation, from Side, p *wire.Packet) {
	if !p.HasMAC {
		return
	}
	if from == Client {
		c.ClientMAC = p.SrcMAC
	} else {
		c.ServerMAC = p.SrcMAC
	}
}

// answered is called at the first packet of the side that had not spoken.
func (t *Table) answered(c *Conversation, from Side, p *wire.Packet) {
	t.setMAC(c, from, p)
	if p.Proto == wire.ProtoTCP && p.Flags&wire.RST != 0 {
		c.State = Refused
		t.finish(c)
		return
	}
	c.State = Established
	to := uint8(listDatagram)
	if p.Proto == wire.ProtoTCP {
		to = listStream
	}
	t.move(c, to)
}

func (t *Table) find(p *wire.Packet, h uint32) (*Conversation, Side) {
	if t.buckets == nil {
		return nil, Client
	}
	for i := t.buckets[h>>(32-bucketBits)]; i != none; {
		c := t.at(i)
		if c.hash == h && c.Proto == p.Proto {
			if c.Client.Port == p.SrcPort && c.Server.Port == p.DstPort && c.Client.Addr == p.Src && c.Server.Addr == p.Dst {
				return c, Client
			}
			if c.Client.Port == p.DstPort && c.Server.Port == p.SrcPort && c.Client.Addr == p.Dst && c.Server.Addr == p.Src {
				return c, Server
			}
		}
		i = c.chain
	}
	return nil, Client
}

// key is [Hash] under seeds of this process: that one is public, and who chooses
// addresses could make any number of packets fall into one chain. It decides
// nothing that can be seen outside.
func (t *Table) key(p *wire.Packet) uint32 {
	a := t.end(&p.Src, p.SrcPort)
	b := t.end(&p.Dst, p.DstPort)
	return uint32((a+b)*0x9e3779b97f4a7c15>>32) ^ uint32(p.Proto)
}

func (t *Table) end(ip *wire.Addr, port uint16) uint64 {
	a := mix(binary.LittleEndian.Uint64(ip[:8])^t.seeds[0], binary.LittleEndian.Uint64(ip[8:])^t.seeds[1])
	return mix(a^t.seeds[1], uint64(port)^t.seeds[0])
}

func (t *Table) open(p *wire.Packet, key uint32, at Place) *Conversation {
	if t.buckets == nil {
		t.buckets = make([]uint32, 1<<bucketBits)
		for i := range t.buckets {
			t.buckets[i] = none
		}
		t.ring = make([]byte, recentBytes)
	}
	var i uint32
	switch {
	case t.free != none:
		i = t.free
		t.free = t.at(i).chain
	case t.used < maxConversations:
		i = t.used
		t.used++
		if i%slabSize == 0 {
			t.slab = append(t.slab, new([slabSize]Conversation))
			t.bytes += slabSize * conversationCost
		}
	default:
		t.evict(listOver, listUnanswered, listDatagram, listStream)
		i = t.free
		t.free = t.at(i).chain
	}
	c := t.at(i)
	*c = Conversation{
		Client: Endpoint{p.Src, p.SrcPort}, Server: Endpoint{p.Dst, p.DstPort},
		Proto: p.Proto, VLAN: p.VLAN, Begin: at, Last: at.Time,
		hash: key, index: i, list: listUnanswered,
	}
	if serverSpeaks(p) {
		c.Client, c.Server = c.Server, c.Client
	}
	c.Midstream = p.Proto == wire.ProtoTCP && p.Flags&wire.SYN == 0
	b := c.hash >> (32 - bucketBits)
	c.chain, t.buckets[b] = t.buckets[b], i
	t.push(c)
	t.Stats.Conversations++
	return c
}

// serverSpeaks guesses whether the first packet seen of a conversation is the
// server's: a SYN says so; else the side with the lower port serves, where one
// of the two looks like a service's.
func serverSpeaks(p *wire.Packet) bool {
	if p.Proto == wire.ProtoTCP && p.Flags&wire.SYN != 0 {
		return p.Flags&wire.ACK != 0
	}
	if p.Proto == wire.ProtoTCP {
		return p.SrcPort < p.DstPort
	}
	return p.SrcPort < 1024 && p.DstPort >= 1024 || servesDHCP(p.SrcPort) && !servesDHCP(p.DstPort)
}

// servesDHCP reports whether a port is the server's of DHCP, whose client has a
// low port too (RFC 2131 section 4.1, RFC 8415 section 7.2).
func servesDHCP(port uint16) bool { return port == 67 || port == 547 }

// evict gives up the conversation that was silent longest on the first of the
// lists that has any: those that are over, then the unanswered ones. A flood of
// first packets pushes out its own, not the conversations that are going on.
func (t *Table) evict(from ...uint8) bool {
	for _, l := range from {
		if i := t.ages[l].old; i != none {
			t.Stats.Evicted++
			t.remove(t.at(i))
			return true
		}
	}
	return false
}

// Charge counts n bytes more, or fewer, that the handler remembers of c, until [Handler.Closed].
// The table gives up conversations, the silent ones first, when all of
// them together have too many.
func (t *Table) Charge(c *Conversation, n int) {
	if c.over {
		return
	}
	c.charged += int32(n)
	t.charged += n
	t.bytes += n
}

// sweep ends the conversations that were silent for too long.
func (t *Table) sweep() {
	t.swept = t.clock
	for l := range t.ages {
		for i := t.ages[l].old; i != none; i = t.ages[l].old {
			c := t.at(i)
			if t.clock-c.placed <= idle[l] {
				break
			}
			if !c.over {
				t.Stats.Expired++
			}
			t.remove(c)
		}
	}
}

// Oldest returns where the conversation began that [Table.FlushOldest] would
// end. ok is false when there is none.
func (t *Table) Oldest() (begin Place, ok bool) {
	c := t.oldest()
	if c == nil {
		return Place{}, false
	}
	return c.Begin, true
}

// FlushOldest ends the conversation that was silent longest on its list, as at
// the end of the input.
func (t *Table) FlushOldest() {
	if c := t.oldest(); c != nil {
		t.remove(c)
	}
	if t.oldest() == nil { // the room is for whoever makes something of what was seen
		t.bytes -= len(t.slab) * slabSize * conversationCost
		t.buckets, t.slab, t.used, t.free, t.spare = nil, nil, 0, none, nil
	}
}

// Open yields the conversations that have not ended. Nothing may be done to the table
// meanwhile.
func (t *Table) Open() iter.Seq[*Conversation] {
	return func(yield func(*Conversation) bool) {
		for l := range t.ages {
			for i := t.ages[l].old; i != none; i = t.at(i).next {
				if c := t.at(i); !c.over && !yield(c) {
					return
				}
			}
		}
	}
}

func (t *Table) oldest() *Conversation {
	var oldest *Conversation
	for l := range t.ages {
		if i := t.ages[l].old; i != none && (oldest == nil || t.at(i).Begin.Before(oldest.Begin)) {
			oldest = t.at(i)
		}
	}
	return oldest
}

// finish ends what is observed of c: gaps are closed, Closed is called. The
// conversation stays in the table for stragglers.
func (t *Table) finish(c *Conversation) {
	if c.over {
		return
	}
	for s := range c.sides {
		for c.sides[s].held != nil {
			t.jumpGap(c, Side(s))
		}
	}
	c.over = true
	for s := range c.sides {
		t.dropKept(&c.sides[s])
	}
	t.h.Closed(c)
	t.bytes -= int(c.charged)
	t.charged -= int(c.charged)
	c.User, c.charged = nil, 0
	t.move(c, listOver)
}

func (t *Table) remove(c *Conversation) {
	place := t.place
	t.finish(c)
	t.place = place
	t.unlink(c)
	p := &t.buckets[c.hash>>(32-bucketBits)]
	for *p != c.index {
		p = &t.at(*p).chain
	}
	*p = c.chain
	c.chain, t.free = t.free, c.index
}

// Lists by age: the oldest first, doubly linked through the slab. A conversation
// moves to the young end at most once in ageGrain, because each move touches
// two others; it may expire by so much too early.

func (t *Table) push(c *Conversation) {
	l := &t.ages[c.list]
	c.placed = c.Last
	c.prev, c.next = l.young, none
	if l.young != none {
		t.at(l.young).next = c.index
	} else {
		l.old = c.index
	}
	l.young = c.index
}

func (t *Table) unlink(c *Conversation) {
	l := &t.ages[c.list]
	if c.prev != none {
		t.at(c.prev).next = c.next
	} else {
		l.old = c.next
	}
	if c.next != none {
		t.at(c.next).prev = c.prev
	} else {
		l.young = c.prev
	}
}

func (t *Table) move(c *Conversation, list uint8) {
	t.unlink(c)
	c.list = list
	t.push(c)
}

// Place returns where byte i of the bytes in hand was captured. Valid during
// [Handler.Data]; at other calls i is ignored and the packet in hand is meant.
func (t *Table) Place(i int) Place {
	if len(t.marks) == 0 {
		p := t.place
		p.Offset += int32(i)
		return p
	}
	m := t.marks[0]
	for _, next := range t.marks[1:] {
		if next.at > i {
			break
		}
		m = next
	}
	p := m.place
	p.Offset += int32(i - m.at)
	return p
}

// Now returns the place of the packet in hand.
func (t *Table) Now() Place { return t.place }
