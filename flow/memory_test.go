// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

// TestChosenAddresses has senders whose addresses make a factor of [Hash] zero:
// they share a shard, and must not share a chain.
func TestChosenAddresses(t *testing.T) {
	p := wire.Packet{IPVersion: 6, Proto: wire.ProtoUDP, HasPorts: true, SrcPort: 4000, DstPort: 53}
	binary.LittleEndian.PutUint64(p.Src[:], 0x9e3779b97f4a7c15^0xa0761d6478bd642f)
	table := NewTable(discard{})
	chains := map[uint32]int{}
	for i := range uint64(1000) {
		binary.BigEndian.PutUint64(p.Src[8:], i)
		chains[table.key(&p)>>(32-bucketBits)]++
	}
	for _, n := range chains {
		if n > 20 {
			t.Fatalf("%d of 1000 conversations are in one chain", n)
		}
	}
	q := p
	q.Src, q.Dst, q.SrcPort, q.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	if table.key(&p) != table.key(&q) {
		t.Error("directions differ")
	}
}

// crowd opens n conversations and lets each send what talk says.
func crowd(h Handler, n int, talk func(t *Table, p *wire.Packet, at Place)) *Table {
	t := NewTable(h)
	for i := range n {
		p := wire.Packet{
			IPVersion: 4, Proto: wire.ProtoTCP, HasPorts: true, SrcPort: 4000, DstPort: 2575, Flags: wire.ACK,
			Src: wire.AddrFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})),
		}
		talk(t, &p, Place{Time: int64(i)})
	}
	return t
}

// TestHeldMemory counts what a held segment of one byte really takes.
func TestHeldMemory(t *testing.T) {
	x := crowd(discard{}, maxConversations, func(t *Table, p *wire.Packet, at Place) {
		p.Payload = []byte("a")
		t.Packet(p, at)
		for range maxHeldSide {
			p.Seq += 2
			t.Packet(p, at)
		}
	})
	held := 0
	for i := range x.used {
		held += int(x.at(i).sides[Client].holding + x.at(i).sides[Server].holding)
	}
	if held == 0 || held > maxBytes/heldCost || x.bytes > maxBytes {
		t.Errorf("%d segments are held, %d bytes counted; bound %d", held, x.bytes, maxBytes)
	}
}

// TestKeptMemory ends long messages and begins another: their room is not kept.
func TestKeptMemory(t *testing.T) {
	h := newTape()
	whole := 512 << 10
	h.consume = func(b []byte) int {
		if len(b) >= whole {
			return len(b) - 1
		}
		return 0
	}
	x := crowd(h, 32, func(t *Table, p *wire.Packet, at Place) {
		p.Payload = make([]byte, 1<<13)
		for range whole >> 13 {
			t.Packet(p, at)
			p.Seq += uint32(len(p.Payload))
		}
	})
	room := 0
	for i := range x.used {
		for _, s := range x.at(i).sides {
			room += s.kept.cost()
		}
	}
	if room != x.bytes-slabSize*conversationCost || room > 32*16<<10 || h.gaps > 0 {
		t.Errorf("32 bytes are kept in %d, %d counted, %d gaps", room, x.bytes, h.gaps)
	}
}

// charging remembers much of each conversation.
type charging struct {
	discard
	t *Table
}

func (h *charging) Data(c *Conversation, _ Side, b []byte) int {
	h.t.Charge(c, 10_000)
	return len(b)
}

// TestCharge gives up conversations when too much is remembered of them.
func TestCharge(t *testing.T) {
	h := &charging{}
	x := crowd(h, maxConversations, func(t *Table, p *wire.Packet, at Place) {
		h.t = t
		p.Payload = []byte("a")
		t.Packet(p, at)
	})
	if x.charged > maxCharged+10_000 || x.charged < maxCharged-10_000 || x.Stats.Evicted == 0 {
		t.Errorf("%d bytes are remembered, bound %d; %d evicted", x.charged, maxCharged, x.Stats.Evicted)
	}
	for _, ok := x.Oldest(); ok; _, ok = x.Oldest() {
		x.FlushOldest()
	}
	if x.charged != 0 || x.bytes != 0 {
		t.Errorf("%d charged, %d bytes counted at the end", x.charged, x.bytes)
	}
}

func TestConversationCost(t *testing.T) {
	if n := reflect.TypeFor[Conversation]().Size(); n != conversationCost {
		t.Errorf("a conversation takes %d bytes, %d are counted", n, conversationCost)
	}
}
