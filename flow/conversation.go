// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/myelin-health/myelin/wire"

// A Side is one end of a conversation. As a direction it is the sender.
type Side uint8

// The sides. The client sent the first packet, or, where the beginning was not
// captured, has the port that looks less like a service.
const (
	Client Side = iota
	Server
)

// Other returns the other side.
func (s Side) Other() Side { return s ^ 1 }

// An Endpoint is an address and a port.
type Endpoint struct {
	Addr wire.Addr
	Port uint16
}

// A Place says where a byte was captured.
type Place struct {
	Time   int64  // nanoseconds since 1970-01-01 UTC
	Packet uint64 // counted from 1 within the input
	Input  int32  // index of the input
	Offset int32  // bytes from the start of the frame
}

// Before orders places by time, input and packet.
func (p Place) Before(q Place) bool {
	if p.Time != q.Time {
		return p.Time < q.Time
	}
	return p.Input < q.Input || p.Input == q.Input && p.Packet < q.Packet
}

// A State is how far a conversation has come.
type State uint8

// The states, and how they follow each other:
//
//	Unanswered -> Established -> Closed
//	Unanswered -> Refused
//
// Refused and Closed conversations stay in the table for a moment, so that
// stragglers do not look like new ones.
const (
	Unanswered  State = iota // one side has sent
	Established              // both sides have sent
	Refused                  // reset before the server said anything, or unreachable
	Closed                   // both sides finished, or one reset
)

// A Conversation is all packets between two endpoints over one transport. It
// belongs to its [Table], which reuses it after Closed. Its fields are in such
// an order that a packet touches two cache lines of it, and one in a chain that
// is not its own a single one.
type Conversation struct {
	hash           uint32
	chain          uint32 // next with the same bucket
	Client, Server Endpoint
	Proto          uint8 // IP protocol: 6 TCP, 17 UDP, ...
	State          State
	Midstream      bool     // TCP whose SYN was not captured
	over           bool     // Closed was called
	list           uint8    // by age
	Flags          [2]uint8 // all TCP flags that each side sent; of ICMP, SYN stands for a request
	Last           int64    // time of its latest packet

	Packets    [2]uint64 // by sender
	Bytes      [2]uint64 // payload bytes by sender, as sent (retransmissions count again)
	User       any       // the handler's own state for this conversation
	placed     int64     // Last when it was put at the young end of its list
	prev, next uint32    // neighbours in the list

	sides                [2]side
	Begin                Place   // of its first packet
	ClientMAC, ServerMAC [6]byte // of the first frame of each side; zero when not captured
	VLAN                 uint16
	charged              int32  // bytes that the handler remembers
	index                uint32 // of this conversation in the table's slab
}

// A side is the reassembly state of what one side sends.
type side struct {
	first   uint32 // sequence number of its SYN, when that was seen
	want    uint32 // sequence number of the next byte in order
	started bool   // want is valid
	ignored bool   // the handler wants nothing more of this side
	fin     bool
	recent  uint64 // number of its latest record in the table's ring of recent bytes, from 1
	skip    uint64 // bytes still to come that the handler does not want
	kept    *kept  // bytes in order that the handler has not consumed
	held    *held  // first segment that came too early
	holding uint32 // segments held
}

// kept is a buffer of bytes in order, with marks of where they were captured.
type kept struct {
	b     []byte
	marks []mark
}

// A mark says that byte at of the buffer was captured at place.
type mark struct {
	at    int
	place Place
}

// held is a segment that came before its predecessors, in a list by sequence.
type held struct {
	seq     uint32
	missing int // bytes behind b that were not captured
	b       []byte
	place   Place
	next    *held
}
