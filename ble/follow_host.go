// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// leastFragment is what a link-layer PDU can carry at least: who has more to
// send of a PDU fills it (Vol 6 Part B section 4.5.10).
const leastFragment = 27

// fragment takes a fragment of an L2CAP PDU.
func (f *Follower) fragment(c *Connection, from Side, start bool, b []byte) {
	a := &c.half[from].pdu
	if !start {
		if len(a.b) == 0 {
			f.stats.Lost++
			return
		}
		f.grow(c, a, b)
	} else {
		f.lose(a)
		if len(b) >= l2capHeader {
			switch n := l2capHeader + int(binary.LittleEndian.Uint16(b)); {
			case len(b) == n:
				f.l2cap(c, from, binary.LittleEndian.Uint16(b[2:]), b[l2capHeader:n:n])
				return
			case len(b) > n:
				f.h.Odd(c, TruncatedL2CAP)
				return
			}
		}
		if c.Sniffed && len(b) < leastFragment {
			f.h.Odd(c, TruncatedL2CAP)
		}
		if len(b) == 0 {
			return
		}
		f.grow(c, a, b)
	}
	if a.need == 0 && len(a.b) >= l2capHeader {
		a.need = l2capHeader + int(binary.LittleEndian.Uint16(a.b))
	}
	switch {
	case a.need == 0 || len(a.b) < a.need:
	case len(a.b) > a.need:
		f.lose(a)
		f.h.Malformed(c, from, &wire.SyntaxError{Proto: "l2cap", Field: "PDU Length", Err: wire.ErrTrailing})
	default:
		f.l2cap(c, from, binary.LittleEndian.Uint16(a.b[2:]), a.b[l2capHeader:])
		f.done(a)
	}
}

// grow puts b behind what there is of a PDU. When all that is being put
// together is too much, the connections give theirs up that were silent longest.
func (f *Follower) grow(c *Connection, a *assembly, b []byte) {
	before := cap(a.b)
	if most := a.need + 1; a.need > 0 && len(a.b)+len(b) > most {
		b = b[:max(most-len(a.b), 0)] // one too many is enough to tell
	}
	a.b = append(a.b, b...)
	f.buffered += cap(a.b) - before
	if f.buffered <= maxBuffered {
		return
	}
	for _, table := range []*cache[linkKey, *Connection]{&f.hci, &f.air} {
		table.each(func(_ linkKey, old **Connection) bool {
			if *old != c {
				f.release(*old)
			}
			return f.buffered > maxBuffered/2
		})
	}
}

// done empties an assembly whose PDU was handed over, for the next.
func (f *Follower) done(a *assembly) {
	if cap(a.b) > keptBuffer {
		f.buffered -= cap(a.b)
		a.b = nil
	}
	a.b, a.need = a.b[:0], 0
}

// lose gives up what there is of a PDU.
func (f *Follower) lose(a *assembly) {
	if len(a.b) > 0 {
		f.stats.Lost++
	}
	f.done(a)
}

// release gives up all assemblies of a connection, and their memory.
func (f *Follower) release(c *Connection) {
	free := func(a *assembly) {
		f.lose(a)
		f.buffered -= cap(a.b)
		a.b = nil
	}
	for i := range c.half {
		free(&c.half[i].pdu)
	}
	for i := range c.channels {
		for j := range c.channels[i].sdu {
			free(&c.channels[i].sdu[j])
		}
	}
}

// l2cap takes a whole PDU.
func (f *Follower) l2cap(c *Connection, from Side, cid uint16, b []byte) {
	switch cid {
	case CIDATT:
		f.attPDU(c, from, cid, &c.half[from].requests, &c.half[from.Other()].requests, b)
	case CIDSignaling:
		f.signaling(c, from, b)
	case CIDSMP:
		f.pair(c, from, b)
	default:
		if ch := c.channelTo(from.Other(), cid); ch != nil {
			f.frame(c, from, ch, b)
		} else if firstDynamicCID <= cid && cid <= lastDynamicCID {
			f.stats.Lost++ // its opening was not captured
		}
	}
}

// frame takes a K-frame of a credit-based channel (Vol 3 Part A section 3.4.3).
func (f *Follower) frame(c *Connection, from Side, ch *channel, b []byte) {
	a := &ch.sdu[from]
	if a.need == 0 {
		if len(b) < 2 {
			f.h.Malformed(c, from, &wire.SyntaxError{Proto: "l2cap", Field: "L2CAP SDU Length", Off: l2capHeader, Err: wire.ErrTruncated})
			return
		}
		n := int(binary.LittleEndian.Uint16(b))
		if n > int(ch.mtu[from.Other()]) { // or a frame before it was not captured
			f.h.Malformed(c, from, &wire.SyntaxError{Proto: "l2cap", Field: "L2CAP SDU Length", Off: l2capHeader, Err: wire.ErrTooLong})
			return
		}
		if b = b[2:]; len(b) == n {
			f.sdu(c, from, ch, b)
			return
		}
		a.need = n
	}
	f.grow(c, a, b)
	switch {
	case len(a.b) < a.need:
	case len(a.b) > a.need:
		f.lose(a)
		f.h.Malformed(c, from, &wire.SyntaxError{Proto: "l2cap", Field: "L2CAP SDU Length", Off: l2capHeader, Err: wire.ErrTrailing})
	default:
		f.sdu(c, from, ch, a.b)
		f.done(a)
	}
}

// sdu takes what went whole through a credit-based channel.
func (f *Follower) sdu(c *Connection, from Side, ch *channel, b []byte) {
	if ch.spsm == SPSMEATT {
		f.attPDU(c, from, ch.cid[Central], &ch.requests[from], &ch.requests[from.Other()], b)
		return
	}
	c.Bearer = ch.cid[Central]
	f.h.SDU(c, from, ch.spsm, b)
}

// channelTo returns the channel whose end at one side is cid, or nil.
func (c *Connection) channelTo(side Side, cid uint16) *channel {
	for i := range c.channels {
		if c.channels[i].cid[side] == cid {
			return &c.channels[i]
		}
	}
	return nil
}

// channelOf returns the channel of which cid is either end, or nil.
func (c *Connection) channelOf(cid uint16) *channel {
	if ch := c.channelTo(Central, cid); ch != nil {
		return ch
	}
	return c.channelTo(Peripheral, cid)
}

// signaling takes a PDU of the signaling channel: channels that open and close.
func (f *Follower) signaling(c *Connection, from Side, b []byte) {
	s := &f.signal
	if err := s.Parse(b); err != nil {
		f.h.Malformed(c, from, err)
		return
	}
	switch s.Code {
	case LECreditBasedConnectionRequest, CreditBasedConnectionRequest:
		c.openings[c.opened] = opening{from: from, identifier: s.Identifier, spsm: s.SPSM, mtu: s.MTU, cids: s.CIDs, n: s.NumCIDs}
		c.opened = (c.opened + 1) % maxOpenings
	case LECreditBasedConnectionResponse, CreditBasedConnectionResponse:
		for i := range c.openings {
			o := &c.openings[i]
			if o.from != from.Other() || o.identifier != s.Identifier {
				continue
			}
			refused := s.Code == LECreditBasedConnectionResponse && s.Result != 0 // else of each channel by its end
			for j := range min(o.n, s.NumCIDs) {
				if !refused {
					f.openChannel(c, o, o.cids[j], s.CIDs[j])
				}
			}
			*o = opening{}
			break
		}
	case CreditBasedReconfigureRequest: // the other side may only accept more (section 4.27)
		for _, cid := range s.CIDs[:s.NumCIDs] {
			if ch := c.channelTo(from, cid); ch != nil {
				ch.mtu[from] = max(ch.mtu[from], s.MTU)
			}
		}
	case DisconnectionResponse:
		// The destination is the end of who was asked, and answers.
		for i := range c.channels {
			ch := &c.channels[i]
			if ch.cid[from] == s.CIDs[0] && ch.cid[from.Other()] == s.CIDs[1] {
				f.closeChannel(c, i)
				break
			}
		}
	}
}

// openChannel follows a channel between two ends. An end that is zero was
// refused.
func (f *Follower) openChannel(c *Connection, o *opening, asked, answered uint16) {
	if asked < firstDynamicCID || asked > lastDynamicCID || answered < firstDynamicCID || answered > lastDynamicCID {
		return
	}
	ch := channel{spsm: o.spsm}
	ch.mtu[o.from], ch.mtu[o.from.Other()] = o.mtu, f.signal.MTU
	ch.cid[o.from], ch.cid[o.from.Other()] = asked, answered
	// One that was there before is over: so there are never more channels than
	// dynamic identifiers, 64.
	for i := len(c.channels) - 1; i >= 0; i-- {
		if c.channels[i].cid[o.from] == asked || c.channels[i].cid[o.from.Other()] == answered {
			f.closeChannel(c, i)
		}
	}
	c.channels = append(c.channels, ch)
}

func (f *Follower) closeChannel(c *Connection, i int) {
	for j := range c.channels[i].sdu {
		a := &c.channels[i].sdu[j]
		f.lose(a)
		f.buffered -= cap(a.b)
	}
	c.channels = append(c.channels[:i], c.channels[i+1:]...)
}

// attPDU takes a PDU of the attribute protocol. asked and answers count the
// requests of the sender, and of the other side, that have no answer.
func (f *Follower) attPDU(c *Connection, from Side, bearer uint16, asked, answers *uint8, b []byte) {
	a := &f.att
	if err := a.Parse(b); err != nil {
		*answers = 0 // one that is wrong is one
		f.h.Malformed(c, from, err)
		return
	}
	c.Bearer = bearer
	switch {
	case a.Opcode.Request():
		// A sniffer may have missed the answer: there it takes a third.
		most := uint8(1)
		if c.Sniffed {
			most = 2
			if c.Gaps != c.asked {
				c.asked, *asked = c.Gaps, 0
			}
		}
		if *asked == most {
			f.h.Odd(c, RequestsOutstanding)
		}
		if *asked <= most {
			*asked++
		}
	case a.Opcode.Response():
		*answers = 0
	}
	switch a.Opcode {
	case ExchangeMTURequest:
		c.half[from].mtu = max(a.MTU, DefaultMTU)
	case ExchangeMTUResponse:
		if asked := c.half[from.Other()].mtu; asked != 0 {
			c.MTU = max(min(asked, a.MTU), DefaultMTU)
		}
	}
	f.h.ATT(c, from, b)
}
