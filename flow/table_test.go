// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/wire"
)

// A tape is a handler that writes down what it is told.
type tape struct {
	got      map[string]*[2][]byte // by conversation: what each side said, gaps as '_'
	opened   []string
	closed   []string
	gaps     int
	overlaps int
	consume  func(b []byte) int // nil: everything
	last     []byte             // bytes handed over last
}

func newTape() *tape { return &tape{got: map[string]*[2][]byte{}} }

func name(c *Conversation) string {
	return fmt.Sprintf("%s:%d>%s:%d", c.Client.Addr, c.Client.Port, c.Server.Addr, c.Server.Port)
}

func (h *tape) Opened(c *Conversation) {
	h.opened = append(h.opened, name(c))
	if h.got[name(c)] == nil {
		h.got[name(c)] = new([2][]byte)
	}
}

func (h *tape) Data(c *Conversation, from Side, b []byte) int {
	h.last = append(h.last[:0], b...)
	n := len(b)
	if h.consume != nil {
		n = h.consume(b)
	}
	g := &h.got[name(c)][from]
	*g = append(*g, b[:min(n, len(b))]...)
	return n
}

func (h *tape) Gap(c *Conversation, from Side, n int) bool {
	h.gaps++
	g := &h.got[name(c)][from]
	*g = append(*g, bytes.Repeat([]byte("_"), n)...)
	return true
}

func (h *tape) Overlap(*Conversation, Side) { h.overlaps++ }
func (h *tape) Closed(c *Conversation)      { h.closed = append(h.closed, name(c)) }

// A peer sends segments of one conversation to a table.
type peer struct {
	t    *Table
	n    uint64
	now  int64
	ends [2]Endpoint
}

func newPeer(h Handler) *peer {
	return &peer{t: NewTable(h), now: 1772517600e9, ends: [2]Endpoint{
		{wire.AddrFrom(netip.MustParseAddr("10.20.1.5")), 40000},
		{wire.AddrFrom(netip.MustParseAddr("10.20.3.10")), 24000},
	}}
}

func (p *peer) send(from Side, flags uint8, seq, ack uint32, b string) {
	p.sendPacket(from, wire.Packet{Proto: wire.ProtoTCP, HasPorts: true, Flags: flags, Seq: seq, Ack: ack, Payload: []byte(b), PayloadOff: 54})
}

func (p *peer) sendPacket(from Side, k wire.Packet) {
	k.IPVersion = 4
	k.Src, k.SrcPort, k.Dst, k.DstPort = p.ends[from].Addr, p.ends[from].Port, p.ends[from.Other()].Addr, p.ends[from.Other()].Port
	p.n++
	p.now += 1e6
	p.t.Packet(&k, Place{Time: p.now, Packet: p.n})
}

func (p *peer) flush() {
	for {
		if _, ok := p.t.Oldest(); !ok {
			return
		}
		p.t.FlushOldest()
	}
}

func (p *peer) handshake() {
	p.send(Client, wire.SYN, 999, 0, "")
	p.send(Server, wire.SYN|wire.ACK, 4999, 1000, "")
	p.send(Client, wire.ACK, 1000, 5000, "")
}

const between = "10.20.1.5:40000>10.20.3.10:24000"

func TestStreams(t *testing.T) {
	const c, s = Client, Server
	tests := []struct {
		name           string
		talk           func(p *peer)
		client, server string
		gaps, overlaps int
	}{
		{"in order", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(s, wire.ACK, 5000, 1003, "xyz")
			p.send(c, wire.ACK, 1003, 5003, "def")
		}, "abcdef", "xyz", 0, 0},
		{"out of order", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1003, 5000, "def")
			p.send(c, wire.ACK, 1006, 5000, "ghi")
			p.send(c, wire.ACK, 1000, 5000, "abc")
		}, "abcdefghi", "", 0, 0},
		{"retransmission", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1001, 5000, "bcde")
		}, "abcde", "", 0, 0},
		{"retransmission with other bytes", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1000, 5000, "aXc")
		}, "abc", "", 0, 1},
		{"retransmission of part, with other bytes", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1003, 5000, "def")
			p.send(c, wire.ACK, 1002, 5000, "cdX")
		}, "abcdef", "", 0, 1},
		{"held segment with other bytes", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1003, 5000, "def")
			p.send(c, wire.ACK, 1004, 5000, "Xf")
			p.send(c, wire.ACK, 1000, 5000, "abc")
		}, "abcdef", "", 0, 1},
		{"keep-alive", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1002, 5000, "\x00")
			p.send(c, wire.ACK, 1003, 5000, "def")
		}, "abcdef", "", 0, 0},
		{"gap, shown by an acknowledgement", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1006, 5000, "ghi")
			p.send(s, wire.ACK, 5000, 1009, "")
			p.send(c, wire.ACK, 1009, 5000, "jkl")
		}, "abc___ghijkl", "", 1, 0},
		{"gap, at the end", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1003, 5000, "def")
			p.send(c, wire.ACK|wire.FIN, 1006, 5000, "")
		}, "___def", "", 1, 0},
		{"midstream", func(p *peer) {
			p.send(c, wire.ACK, 70000, 5000, "abc")
			p.send(s, wire.ACK, 5000, 70003, "xyz")
			p.send(c, wire.ACK, 70003, 5003, "def")
		}, "abcdef", "xyz", 0, 0},
		{"one side only", func(p *peer) {
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1003, 5003, "def")
		}, "abcdef", "", 0, 0},
		{"sequence numbers wrap", func(p *peer) {
			p.send(c, wire.SYN, 0xfffffffd, 0, "")
			p.send(s, wire.SYN|wire.ACK, 4999, 0xfffffffe, "")
			p.send(c, wire.ACK, 1, 5000, "def")
			p.send(c, wire.ACK, 0xfffffffe, 5000, "abc")
		}, "abcdef", "", 0, 0},
		{"data after reset is not of this conversation", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(s, wire.RST, 5000, 0, "")
			p.send(c, wire.ACK, 1003, 5000, "def")
		}, "abc", "", 0, 0},
		{"both finish", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK|wire.FIN, 1000, 5000, "abc")
			p.send(s, wire.ACK|wire.FIN, 5000, 1004, "xyz")
			p.send(c, wire.ACK, 1004, 5004, "")
		}, "abc", "xyz", 0, 0},
		{"cut by the capture", func(p *peer) {
			p.handshake()
			p.sendPacket(c, wire.Packet{Proto: wire.ProtoTCP, HasPorts: true, Flags: wire.ACK, Seq: 1000, Payload: []byte("ab"), Missing: 4})
			p.send(c, wire.ACK, 1006, 5000, "ghi")
		}, "ab____ghi", "", 1, 0},
		{"a sequence number out of any window", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.ACK, 1000+1<<31, 5000, "def")
		}, "abcdef", "", 1, 0},
		{"the same ports again", func(p *peer) {
			p.handshake()
			p.send(c, wire.ACK, 1000, 5000, "abc")
			p.send(c, wire.SYN, 88888, 0, "")
			p.send(s, wire.SYN|wire.ACK, 6999, 88889, "")
			p.send(c, wire.ACK, 88889, 7000, "def")
		}, "abcdef", "", 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newTape()
			p := newPeer(h)
			test.talk(p)
			p.flush()
			got := h.got[between]
			if string(got[0]) != test.client || string(got[1]) != test.server || h.gaps != test.gaps || h.overlaps != test.overlaps {
				t.Errorf("client %q, server %q, %d gaps, %d overlaps; want %q, %q, %d, %d",
					got[0], got[1], h.gaps, h.overlaps, test.client, test.server, test.gaps, test.overlaps)
			}
			if len(h.opened) != len(h.closed) {
				t.Errorf("%d opened, %d closed", len(h.opened), len(h.closed))
			}
			if p.t.bytes != 0 {
				t.Errorf("%d bytes are still counted as kept", p.t.bytes)
			}
		})
	}
}

// TestAnyOrder sends a stream in pieces that overlap and come in any order
// within a window, some twice: what comes out is the stream.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := rapid.SliceOfN(rapid.Byte(), 1, 600).Draw(t, "stream")
		type seg struct{ from, to int }
		var segs []seg
		for at := 0; at < len(stream); {
			n := rapid.IntRange(1, 40).Draw(t, "length")
			back := rapid.IntRange(0, min(at, 10)).Draw(t, "overlap")
			segs = append(segs, seg{at - back, min(at+n, len(stream))})
			at += n
		}
		for i := range segs { // swap within a window
			j := min(len(segs)-1, i+rapid.IntRange(0, 8).Draw(t, "swap"))
			segs[i], segs[j] = segs[j], segs[i]
		}
		unit := rapid.IntRange(1, 50).Draw(t, "unit") // the handler consumes whole units
		h := newTape()
		h.consume = func(b []byte) int { return len(b) / unit * unit }
		p := newPeer(h)
		p.handshake()
		for _, s := range segs {
			p.send(Client, wire.ACK, 1000+uint32(s.from), 5000, string(stream[s.from:s.to]))
			if rapid.Bool().Draw(t, "twice") {
				p.send(Client, wire.ACK, 1000+uint32(s.from), 5000, string(stream[s.from:s.to]))
			}
		}
		want := stream[:len(stream)/unit*unit]
		if got := h.got[between][0]; !bytes.Equal(got, want) || h.gaps > 0 || h.overlaps > 0 {
			t.Fatalf("%d bytes of %d, %d gaps, %d overlaps", len(got), len(want), h.gaps, h.overlaps)
		}
		p.flush()
		if p.t.bytes != 0 {
			t.Fatalf("%d bytes are still counted as kept", p.t.bytes)
		}
	})
}

// TestSkip asks for bytes still to come to be skipped: they are not kept, and
// what follows arrives.
func TestSkip(t *testing.T) {
	h := newTape()
	first := true
	h.consume = func(b []byte) int {
		if first {
			first = false
			return 3 + 5 // "abc" and the five that follow
		}
		return len(b)
	}
	p := newPeer(h)
	p.handshake()
	p.send(Client, wire.ACK, 1000, 5000, "abc")
	p.send(Client, wire.ACK, 1003, 5000, "de")
	p.send(Client, wire.ACK, 1005, 5000, "fghij")
	if got := string(h.got[between][0]); got != "abcij" {
		t.Errorf("got %q, want %q", got, "abcij")
	}
	// A gap inside what is skipped does not matter.
	h.consume = func(b []byte) int { h.consume = nil; return len(b) + 6 }
	p.send(Client, wire.ACK, 1010, 5000, "k")
	p.send(Client, wire.ACK, 1014, 5000, "opqr") // "lmn" is missing
	p.send(Server, wire.ACK, 5000, 1018, "")
	if got := string(h.got[between][0]); got != "abcijkr" || h.gaps != 0 {
		t.Errorf("got %q and %d gaps, want %q and none", got, h.gaps, "abcijkr")
	}
}

// TestPlace asks where bytes were captured, over several segments.
func TestPlace(t *testing.T) {
	h := newTape()
	p := newPeer(h)
	var places []Place
	h.consume = func(b []byte) int {
		if len(b) < 6 {
			return 0
		}
		for i := range b {
			places = append(places, p.t.Place(i))
		}
		return len(b)
	}
	p.handshake() // packets 1 to 3
	p.send(Client, wire.ACK, 1000, 5000, "ab")
	p.send(Client, wire.ACK, 1002, 5000, "cde")
	p.send(Client, wire.ACK, 1005, 5000, "f")
	want := [][2]int{{4, 54}, {4, 55}, {5, 54}, {5, 55}, {5, 56}, {6, 54}}
	for i, w := range want {
		if got := places[i]; got.Packet != uint64(w[0]) || got.Offset != int32(w[1]) {
			t.Errorf("byte %d: packet %d, offset %d; want %v", i, got.Packet, got.Offset, w)
		}
	}
}

// TestKeptBound never consumes: at the bound everything is given up, as a gap.
func TestKeptBound(t *testing.T) {
	h := newTape()
	h.consume = func([]byte) int { return 0 }
	p := newPeer(h)
	p.handshake()
	segment := string(make([]byte, 1<<14))
	seq := uint32(1000)
	for range maxKeptSide / len(segment) {
		p.send(Client, wire.ACK, seq, 5000, segment)
		seq += uint32(len(segment))
	}
	if h.gaps != 0 || len(h.last) != maxKeptSide {
		t.Fatalf("at the bound: %d gaps, %d bytes kept; want none and %d", h.gaps, len(h.last), maxKeptSide)
	}
	p.send(Client, wire.ACK, seq, 5000, "x")
	if h.gaps != 1 || p.t.bytes != slabSize*conversationCost || p.t.Stats.Dropped != maxKeptSide+1 {
		t.Fatalf("above the bound: %d gaps, %d bytes kept, %d dropped", h.gaps, p.t.bytes, p.t.Stats.Dropped)
	}
}

// TestFlood opens many more conversations than fit: memory stays, every
// eviction is counted, and a conversation that goes on is not pushed out.
func TestFlood(t *testing.T) {
	h := newTape()
	p := newPeer(h)
	p.handshake()
	p.send(Client, wire.ACK, 1000, 5000, "abc")
	flood := wire.Packet{IPVersion: 4, Proto: wire.ProtoTCP, HasPorts: true, Flags: wire.SYN, DstPort: 80}
	for i := range 3 * maxConversations {
		flood.Src = wire.AddrFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}))
		flood.SrcPort = uint16(i>>16 + 1024)
		p.n++
		p.t.Packet(&flood, Place{Time: p.now, Packet: p.n})
	}
	if got, want := p.t.Stats.Evicted, uint64(2*maxConversations+1); got != want {
		t.Errorf("%d evicted, want %d", got, want)
	}
	if p.t.used > maxConversations {
		t.Errorf("%d conversations in memory, bound %d", p.t.used, maxConversations)
	}
	p.send(Client, wire.ACK, 1003, 5000, "def")
	if got := string(h.got[between][0]); got != "abcdef" {
		t.Errorf("the conversation that goes on has %q", got)
	}
}

// TestExpiry lets packet time pass.
func TestExpiry(t *testing.T) {
	h := newTape()
	p := newPeer(h)
	p.send(Client, wire.SYN, 999, 0, "")
	other := wire.Packet{IPVersion: 4, Proto: wire.ProtoUDP, HasPorts: true, SrcPort: 5000, DstPort: 53, Payload: []byte("x")}
	at := func(later int64) {
		p.t.Packet(&other, Place{Time: p.now + later})
	}
	at(idle[listUnanswered])
	if len(h.closed) != 0 {
		t.Fatal("expired at the limit")
	}
	at(idle[listUnanswered] + 1e9 + 1)
	if len(h.closed) != 1 || p.t.Stats.Expired != 1 {
		t.Fatalf("%d closed behind the limit", len(h.closed))
	}
}

// TestNoAllocation sends packets of an open conversation.
func TestNoAllocation(t *testing.T) {
	h := discard{}
	p := newPeer(h)
	p.handshake()
	k := wire.Packet{
		IPVersion: 4, Proto: wire.ProtoTCP, HasPorts: true, Flags: wire.ACK, Seq: 1000, Payload: make([]byte, 1000),
		Src: p.ends[0].Addr, SrcPort: p.ends[0].Port, Dst: p.ends[1].Addr, DstPort: p.ends[1].Port,
	}
	at := Place{Time: p.now}
	if n := testing.AllocsPerRun(1000, func() {
		p.t.Packet(&k, at)
		k.Seq += 1000
		at.Time += 1e6
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

type discard struct{}

func (discard) Opened(*Conversation)                       {}
func (discard) Data(_ *Conversation, _ Side, b []byte) int { return len(b) }
func (discard) Gap(*Conversation, Side, int) bool          { return true }
func (discard) Overlap(*Conversation, Side)                {}
func (discard) Closed(*Conversation)                       {}

func BenchmarkPacket(b *testing.B) {
	for _, conversations := range []int{1, 1000, 100000} {
		b.Run(fmt.Sprint(conversations), func(b *testing.B) {
			t := NewTable(discard{})
			ps := make([]wire.Packet, min(conversations, maxConversations))
			payload := make([]byte, 300)
			for i := range ps {
				ps[i] = wire.Packet{
					IPVersion: 4, Proto: wire.ProtoTCP, HasPorts: true, Flags: wire.ACK, SrcPort: uint16(i), DstPort: 80,
					Src: wire.AddrFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), Payload: payload,
				}
			}
			now := int64(0)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				p := &ps[i]
				t.Packet(p, Place{Time: now})
				p.Seq += 300
				now += 1000
				if i++; i == len(ps) {
					i = 0
				}
			}
		})
	}
}

// FuzzTable feeds segments described by random bytes: no panic, and the
// accounts are right at the end.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 2, 0, 0, 3, 1, 0x12, 0, 0, 0, 0, 0x10, 0, 0, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newTape()
		unit := 7
		h.consume = func(b []byte) int { return len(b) / unit * unit }
		p := newPeer(h)
		for len(b) >= 5 {
			from := Side(b[0] & 1)
			n := int(b[4])
			p.sendPacket(from, wire.Packet{
				Proto: wire.ProtoTCP, HasPorts: true, Flags: b[1] & 0x3f,
				Seq: uint32(b[2])<<4 | uint32(b[3]&15), Ack: uint32(b[3]), Missing: int(b[0] >> 6),
				Payload: bytes.Repeat([]byte{b[3]}, n),
			})
			p.now += int64(b[0]) << 24
			b = b[5:]
		}
		p.flush()
		if p.t.bytes != 0 {
			t.Fatalf("%d bytes are still counted as kept", p.t.bytes)
		}
		if len(h.opened) != len(h.closed) {
			t.Fatalf("%d opened, %d closed", len(h.opened), len(h.closed))
		}
	})
}

// TestFragments cuts a datagram in pieces and sends them in any order.
func TestFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := make([]byte, 8+rapid.IntRange(0, 3000).Draw(t, "length"))
		r := rand.New(rand.NewPCG(1, uint64(len(payload))))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		copy(payload, []byte{0, 53, 0, 53, byte(len(payload) >> 8), byte(len(payload)), 0, 0})
		var order []int
		size := rapid.IntRange(1, 40).Draw(t, "size") * 8
		for at := 0; at < len(payload); at += size {
			order = append(order, at)
		}
		order = rapid.Permutation(order).Draw(t, "order")
		d := NewDefragmenter()
		var got []byte
		if len(order) > maxFragments {
			return
		}
		for i, at := range order {
			end := min(at+size, len(payload))
			p := wire.Packet{IPVersion: 4, Proto: wire.ProtoUDP, Fragmented: true, FragmentOff: at, MoreFragments: end < len(payload), Payload: payload[at:end]}
			whole, differing := d.Add(&p, int64(i))
			if differing {
				t.Fatal("differing")
			}
			if whole != (i == len(order)-1) {
				t.Fatalf("whole after %d of %d", i+1, len(order))
			}
			got = p.Payload
		}
		if !bytes.Equal(got, payload[8:]) {
			t.Fatal("other bytes came out")
		}
		if d.bytes != 0 || d.Pending() != 0 {
			t.Fatalf("%d bytes, %d datagrams are still held", d.bytes, d.Pending())
		}
	})
}

func TestFragmentLimits(t *testing.T) {
	fragment := func(id uint32, off int, more bool, b string) *wire.Packet {
		return &wire.Packet{IPVersion: 4, Proto: wire.ProtoUDP, Fragmented: true, FragmentID: id, FragmentOff: off, MoreFragments: more, Payload: []byte(b)}
	}
	d := NewDefragmenter()
	d.Add(fragment(1, 0, true, "abcdefgh"), 0)
	if _, differing := d.Add(fragment(1, 0, true, "abcdXfgh"), 1); !differing || d.Stats.Overlaps != 1 {
		t.Error("other bytes in the same place are not reported")
	}
	if whole, _ := d.Add(fragment(1, 65528, false, "abcdefgh"), 1); whole || d.Pending() != 0 {
		t.Error("a datagram longer than IP allows is kept")
	}
	d.Add(fragment(2, 0, true, "abcdefgh"), 2)
	d.Add(fragment(3, 0, true, "abcdefgh"), 2+fragmentTimeout+1)
	if d.Stats.Expired != 1 || d.Pending() != 1 {
		t.Errorf("%d expired, %d pending; want 1 and 1", d.Stats.Expired, d.Pending())
	}
	for id := range uint32(3 * maxDatagrams) {
		d.Add(fragment(100+id, 0, true, "abcdefgh"), 2+fragmentTimeout+1)
	}
	if d.Pending() > maxDatagrams || len(d.order) > 8*maxDatagrams {
		t.Errorf("%d datagrams pending, %d in the list", d.Pending(), len(d.order))
	}
}

// TestHash is the same in both directions and differs by port.
func TestHash(t *testing.T) {
	shards := map[int]int{}
	for i := range 6400 {
		p := wire.Packet{
			Proto: 6, Src: wire.AddrFrom(netip.AddrFrom4([4]byte{10, 20, 3, byte(i)})), SrcPort: uint16(i),
			Dst: wire.AddrFrom(netip.AddrFrom4([4]byte{10, 20, 8, 20})), DstPort: 11112,
		}
		q := p
		q.Src, q.Dst, q.SrcPort, q.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		if Hash(&p) != Hash(&q) {
			t.Fatal("directions differ")
		}
		shards[ShardOf(Hash(&p))]++
	}
	least := 6400
	for _, n := range shards {
		least = min(least, n)
	}
	if len(shards) != Shards || least < 50 {
		t.Errorf("%d shards used, the emptiest %d times of 100", len(shards), least)
	}
}
