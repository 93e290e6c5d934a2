// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"net/netip"
	"testing"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// A piece is what one side sends in one segment or datagram.
type piece struct {
	from flow.Side
	b    []byte
}

func client(b []byte) piece { return piece{flow.Client, b} }
func server(b []byte) piece { return piece{flow.Server, b} }

// observe hands pieces of a TCP conversation between 10.20.1.5 and 10.20.3.10,
// one segment each, to an observer and returns what it noted, without the end
// of the conversation. The bytes handed over are overwritten afterwards, so
// that an event that aliases them shows.
func observe(t testing.TB, o observer, pieces ...piece) []event.Event {
	t.Helper()
	return converse(t, wire.ProtoTCP, o, pieces)
}

// observeDatagrams is observe for UDP.
func observeDatagrams(t testing.TB, o observer, pieces ...piece) []event.Event {
	t.Helper()
	return converse(t, wire.ProtoUDP, o, pieces)
}

func converse(t testing.TB, transport uint8, o observer, pieces []piece) []event.Event {
	t.Helper()
	var out []stamped
	s := newShard([]byte("the key of tests"))
	var ends []ended
	s.out, s.ends, s.verbose = &out, &ends, true
	sides := [2]flow.Endpoint{
		{Addr: wire.AddrFrom(netip.MustParseAddr("10.20.1.5")), Port: 40000},
		{Addr: wire.AddrFrom(netip.MustParseAddr("10.20.3.10")), Port: 24000},
	}
	seq := [2]uint32{1000, 2000}
	now := int64(1772517600e9) // 3 March 2026, 06:00 UTC
	n := uint64(0)
	send := func(from flow.Side, flags uint8, b []byte) {
		n++
		now += 1e6
		p := &wire.Packet{
			IPVersion: 4, EtherType: wire.EtherTypeIPv4, Proto: transport, HasPorts: true,
			Src: sides[from].Addr, SrcPort: sides[from].Port, Dst: sides[from.Other()].Addr, DstPort: sides[from.Other()].Port,
			Flags: flags, Seq: seq[from], Payload: b, PayloadOff: 54,
		}
		seq[from] += uint32(len(b))
		if flags&wire.SYN != 0 {
			seq[from]++
		}
		s.packet(&item{packet: *p, place: flow.Place{Time: now, Packet: n}})
	}
	// The conversation is opened with the observer in its place already.
	if transport == wire.ProtoTCP {
		send(flow.Client, wire.SYN, nil)
		send(flow.Server, wire.SYN|wire.ACK, nil)
	}
	started := false
	for _, p := range pieces {
		b := append([]byte(nil), p.b...)
		if !started {
			s.opened = func(x *exchange) { x.id, x.obs = proto.DICOM, o }
			started = true
		}
		send(p.from, wire.ACK, b)
		for i := range b {
			b[i] = 0xa5
		}
	}
	s.table.FlushOldest()
	events := make([]event.Event, 0, len(out))
	for i := range out {
		if k := out[i].e.Kind; k != event.ConversationEnded && (k != event.BindingSeen || out[i].e.Text(event.Protocol) != "ip") {
			events = append(events, out[i].e)
		}
	}
	return events
}
