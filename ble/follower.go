// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// A Handler is told what a [Follower] sees. All calls come from the goroutine
// that calls [Follower.Packet]; what is pointed to is valid until the call
// returns, but for the Connection, which is until Disconnected returns.
type Handler interface {
	// Advertised tells of an advertiser, once for each content that it sends.
	Advertised(a *Advertisement)
	// Connected tells of a connection, at its beginning or where the capture
	// meets it.
	Connected(c *Connection)
	// Pairing tells that a pairing got further.
	Pairing(c *Connection, p *Pairing)
	// Secured tells that c.Security changed.
	Secured(c *Connection)
	// ATT hands over one PDU of the attribute protocol; c.Bearer tells which
	// channel it came through.
	ATT(c *Connection, from Side, pdu []byte)
	// Odd tells of the shape of a known attack, or of what breaks the protocol.
	Odd(c *Connection, o Oddity)
	// Malformed tells of a PDU that does not follow its format; err is a
	// *wire.SyntaxError.
	Malformed(c *Connection, from Side, err error)
	// Disconnected is called once for each connection.
	Disconnected(c *Connection)
}

// Stats counts what a [Follower] did, and everything that it gave up.
type Stats struct {
	Packets     uint64
	Connections uint64
	Evicted     uint64 // connections and other rows that made room for newer ones
	Lost        uint64 // fragments of PDUs that were never whole
	Unreadable  uint64 // PDUs that are encrypted
	BadCRC      uint64 // packets that the air changed
	Repeated    uint64 // packets that were sent again, and heard twice
}

// A Follower follows connections from connect to disconnect, over any number of
// inputs. It is used from one goroutine at a time. All that it keeps is bounded.
type Follower struct {
	h     Handler
	stats Stats
}

// NewFollower returns a follower that has seen nothing.
func NewFollower(h Handler) *Follower { return &Follower{h: h} }

// Packet takes the next packet. stream tells inputs, and the interfaces of one,
// apart; time is the packet's, in nanoseconds.
func (f *Follower) Packet(stream uint64, p *Packet, time int64) { f.stats.Packets++ }

// End says that an input is over: its connections end, its bonds stay.
func (f *Follower) End(stream uint64) {}

// Flush ends all connections.
func (f *Follower) Flush() {}

// Stats returns the counts so far.
func (f *Follower) Stats() Stats { return f.stats }
