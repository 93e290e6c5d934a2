// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"encoding/binary"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/wire"
)

// A line is what one side of a conversation says at once.
type line struct {
	server bool
	bytes  []byte
	wait   time.Duration // since the line before; 0 is what a machine takes to answer
}

func says(b []byte) line    { return line{bytes: b} }
func answers(b []byte) line { return line{server: true, bytes: b} }

// after makes a line wait.
func (l line) after(d time.Duration) line {
	l.wait = d
	return l
}

// recorded is what passed through a proxy.
func recorded(c *testpeer.Conversation) []line {
	lines := make([]line, len(c.Pieces))
	for i, p := range c.Pieces {
		lines[i] = line{server: p.FromServer, bytes: p.Bytes}
	}
	return lines
}

// An ending is how a connection ends.
type ending int

const (
	closed ending = iota // the client closes, then the server
	reset                // the client resets
	left                 // it goes on after the capture
)

// A talk is one TCP connection.
type talk struct {
	at             string // time of day of the SYN
	client, server *host
	port           uint16 // the server's
	end            ending
}

const (
	mss        = 1460
	wireTime   = 13 * time.Microsecond // of a full segment at 1 Gb/s
	delayedAck = 40 * time.Millisecond // RFC 9293 section 3.8.6.3: less than 500 ms
)

// A side is one end of a connection.
type side struct {
	*host
	port       uint16
	seq, ack   uint32
	window     uint16
	unanswered int           // segments that it received and did not acknowledge
	ackAt      time.Duration // when it will
}

// A tcp writes the segments of one connection.
type tcp struct {
	s     *span
	on    tap
	sides [2]*side
	now   time.Duration
}

func (c *tcp) segment(from int, flags byte, options, payload []byte) {
	me, peer := c.sides[from], c.sides[1-from]
	if flags&wire.ACK != 0 {
		me.unanswered = 0
	}
	b := binary.BigEndian.AppendUint16(nil, me.port)
	b = binary.BigEndian.AppendUint16(b, peer.port)
	b = binary.BigEndian.AppendUint32(b, me.seq)
	ack := me.ack
	if flags&wire.ACK == 0 {
		ack = 0
	}
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, byte(5+len(options)/4)<<4, flags)
	window := me.window
	if flags&wire.SYN != 0 && window != scanWindow {
		window = 64240
	}
	b = binary.BigEndian.AppendUint16(b, window)
	b = append(b, 0, 0, 0, 0)
	b = append(append(b, options...), payload...)
	binary.BigEndian.PutUint16(b[16:], checksum(me.ip, peer.ip, wire.ProtoTCP, b))
	c.s.ipv4(c.on, c.now, me.host, peer.mac, peer.ip, wire.ProtoTCP, b)
	me.seq += uint32(len(payload))
	if flags&(wire.SYN|wire.FIN) != 0 {
		me.seq++
	}
	peer.ack = me.seq
	if len(payload) > 0 {
		peer.unanswered++
		peer.ackAt = c.now + delayedAck
		if peer.unanswered == 2 { // RFC 9293 section 3.8.6.3: every second one at once
			at := c.now
			c.now += c.delay(1 - from)
			c.segment(1-from, wire.ACK, nil, nil)
			c.now = at
		}
	}
}

// delay is how long a side takes to acknowledge.
func (c *tcp) delay(side int) time.Duration {
	return distance(c.sides[side].host)/2 + c.s.between(5*time.Microsecond, 60*time.Microsecond)
}

// idle lets the time pass, in which delayed acknowledgements become due.
func (c *tcp) idle(until time.Duration) {
	for i, me := range c.sides {
		if me.unanswered > 0 && me.ackAt <= until {
			c.now = me.ackAt
			c.segment(i, wire.ACK, nil, nil)
		}
	}
	c.now = until
}

// options of a SYN: the largest segment, window scale, selective acknowledgement (RFC 7323, RFC 2018).
var synOptions = []byte{2, 4, mss >> 8, mss & 0xff, 1, 3, 3, 7, 1, 1, 4, 2}

func (s *span) side(h *host, port uint16) *side {
	window := uint16(501)
	if h.ttl == 128 {
		window = 1026
	}
	return &side{host: h, port: port, seq: s.rng.Uint32(), window: window}
}

// tcp writes a connection in which the lines are said, and returns when it ended.
func (s *span) tcp(t talk, lines []line) time.Duration {
	return s.tcpOn(tapOf(t.server.ip), clock(t.at)+s.between(0, time.Millisecond), t, lines)
}

// tcpOn is tcp through a given port, at a given time.
func (s *span) tcpOn(on tap, at time.Duration, t talk, lines []line) time.Duration {
	c := &tcp{s: s, on: on, now: at}
	c.sides = [2]*side{s.side(t.client, s.port(t.client)), s.side(t.server, t.port)}
	c.segment(0, wire.SYN, synOptions, nil)
	c.now += distance(t.server) + s.between(10*time.Microsecond, 200*time.Microsecond)
	c.segment(1, wire.SYN|wire.ACK, synOptions, nil)
	c.now += distance(t.client)/2 + s.between(10*time.Microsecond, 80*time.Microsecond)
	c.segment(0, wire.ACK, nil, nil)
	for i, l := range lines {
		from := 0
		if l.server {
			from = 1
		}
		wait := l.wait + s.between(0, min(l.wait/50, delayedAck))
		if wait == 0 {
			wait = s.between(150*time.Microsecond, 4*time.Millisecond)
			if i > 0 && lines[i-1].server != l.server {
				wait += distance(c.sides[from].host)
			}
		}
		c.idle(c.now + wait)
		for b := l.bytes; len(b) > 0; {
			n := min(len(b), mss)
			flags := byte(wire.ACK)
			if n == len(b) {
				flags |= wire.PSH
			}
			c.segment(from, flags, nil, b[:n:n])
			b = b[n:]
			c.now += time.Duration(n) * wireTime / mss
		}
	}
	if t.end == left {
		c.idle(c.now + delayedAck)
		return c.now
	}
	c.idle(c.now + s.between(time.Millisecond, 30*time.Millisecond))
	if t.end == reset {
		c.segment(0, wire.RST|wire.ACK, nil, nil)
		return c.now
	}
	c.segment(0, wire.FIN|wire.ACK, nil, nil)
	c.now += distance(t.server) + s.between(20*time.Microsecond, 300*time.Microsecond)
	c.segment(1, wire.FIN|wire.ACK, nil, nil)
	c.now += c.delay(0)
	c.segment(0, wire.ACK, nil, nil)
	return c.now
}

// scanWindow is the window that scanners announce, who will not use it.
const scanWindow = 1024

// probe writes one SYN of a scan, and what comes back: nothing, a reset, or an
// answer that the scanner resets, as its own system knows of no connection.
func (s *span) probe(at time.Duration, from, to *host, sport, port uint16, there, open bool) {
	c := &tcp{s: s, on: tapOf(to.ip), now: at}
	c.sides = [2]*side{s.side(from, sport), s.side(to, port)}
	c.sides[0].window = scanWindow
	c.segment(0, wire.SYN, []byte{2, 4, mss >> 8, mss & 0xff}, nil)
	if !there {
		return
	}
	c.now += distance(to) + s.between(10*time.Microsecond, 200*time.Microsecond)
	if !open {
		c.segment(1, wire.RST|wire.ACK, nil, nil)
		return
	}
	c.segment(1, wire.SYN|wire.ACK, synOptions[:4], nil)
	c.now += c.delay(0)
	c.segment(0, wire.RST, nil, nil)
}
