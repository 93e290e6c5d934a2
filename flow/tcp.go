// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// tcp takes one segment of a conversation.
func (t *Table) tcp(c *Conversation, from Side, p *wire.Packet) {
	s, o := &c.sides[from], &c.sides[from.Other()]
	seq := p.Seq
	if p.Flags&wire.SYN != 0 {
		seq++ // the SYN itself has a number (RFC 9293 section 3.4)
		if !s.started || c.Bytes[from] == 0 {
			s.first, s.want, s.started = p.Seq, seq, true
		}
	}
	if len(p.Payload)+p.Missing > 0 && p.Flags&wire.RST == 0 && !s.ignored {
		t.segment(c, from, s, seq, p)
	}
	// What is acknowledged has arrived: if we hold later bytes, the ones between
	// were not captured and will not come.
	if p.Flags&wire.ACK != 0 && o.held != nil && !c.over && int32(p.Ack-o.want) > 0 {
		for o.held != nil && int32(p.Ack-o.held.seq) >= 0 {
			place := t.place
			t.jumpGap(c, from.Other())
			t.place = place
		}
	}
	switch {
	case p.Flags&wire.RST != 0:
		if c.State != Refused {
			c.State = Closed
		}
		t.finish(c)
	case p.Flags&wire.FIN != 0:
		s.fin = true
		if o.fin {
			c.State = Closed
			t.finish(c)
		}
	}
}

// segment puts the payload of a segment in its place in the stream.
func (t *Table) segment(c *Conversation, from Side, s *side, seq uint32, p *wire.Packet) {
	b := p.Payload
	if !s.started {
		s.want, s.started = seq, true
	}
	d := int32(seq - s.want)
	switch {
	case d == 0:
		t.deliver(c, from, s, b)
		if p.Missing > 0 {
			t.gap(c, from, s, uint32(p.Missing))
		}
	case d > maxJump || d < -maxJump:
		t.Stats.Jumps++
		for s.held != nil {
			t.unhold(s)
		}
		t.gap(c, from, s, 0)
		s.want, s.recent = seq, 0
		t.deliver(c, from, s, b)
	case d > 0:
		t.Stats.OutOfOrder++
		t.hold(c, from, s, held{seq: seq, b: b, missing: p.Missing, place: t.place})
	default:
		t.Stats.Retransmitted++
		old := int(-d)
		// A keep-alive repeats one byte before the next, with any content
		// (RFC 9293 section 3.8.4).
		if len(b) > 1 || old > 1 {
			t.compare(c, from, s, seq, b[:min(len(b), old)])
		}
		if len(b) > old {
			t.place.Offset += int32(old)
			t.deliver(c, from, s, b[old:])
		}
		if over := p.Missing - max(0, old-len(b)); p.Missing > 0 && over > 0 {
			t.gap(c, from, s, uint32(over))
		}
	}
	t.release(c, from, s)
}

// release delivers the held segments whose turn has come.
func (t *Table) release(c *Conversation, from Side, s *side) {
	for s.held != nil && !s.ignored {
		h := s.held
		d := int32(h.seq - s.want)
		if d > 0 {
			return
		}
		place := t.place
		t.unhold(s)
		if old := int(-d); old < len(h.b) {
			t.place = h.place
			t.place.Offset += int32(old)
			t.deliver(c, from, s, h.b[old:])
		}
		if h.missing > 0 && int32(h.seq+uint32(len(h.b))-s.want) == 0 {
			t.gap(c, from, s, uint32(h.missing))
		}
		t.place = place
	}
}

// deliver hands bytes that are next in order to the handler.
func (t *Table) deliver(c *Conversation, from Side, s *side, b []byte) {
	seq := s.want
	s.want += uint32(len(b))
	if s.skip > 0 {
		n := min(s.skip, uint64(len(b)))
		s.skip -= n
		b = b[n:]
		seq += uint32(n)
		t.place.Offset += int32(n)
	}
	if len(b) == 0 || s.ignored {
		return
	}
	t.remember(s, seq, b)
	if s.kept == nil {
		t.marks = nil
		n := t.h.Data(c, from, b)
		if n < len(b) {
			n = max(n, 0)
			place := t.place
			place.Offset += int32(n)
			t.keep(c, from, s, b[n:], place)
			return
		}
		t.passed(s, n, len(b))
		return
	}
	if !t.keep(c, from, s, b, t.place) {
		return
	}
	k := s.kept
	t.marks = k.marks
	n := t.h.Data(c, from, k.b)
	t.marks = nil
	if n >= len(k.b) {
		have := len(k.b)
		t.dropKept(s)
		t.passed(s, n, have)
		return
	}
	if n <= 0 {
		return
	}
	// Move what is left to the front, and its marks with it.
	k.b = k.b[:copy(k.b, k.b[n:])]
	if cap(k.b) > maxSpareBytes && len(k.b) < cap(k.b)/4 { // a long message is over: do not hold its room
		t.bytes -= cap(k.b)
		k.b = append(make([]byte, 0, 2*len(k.b)), k.b...)
		t.bytes += cap(k.b)
	}
	first := 0
	for i := range k.marks {
		k.marks[i].at -= n
		if k.marks[i].at <= 0 {
			first = i
		}
	}
	k.marks = k.marks[:copy(k.marks, k.marks[first:])]
}

// passed notes that the handler is done with n bytes of which have were there.
func (t *Table) passed(s *side, n, have int) {
	if n == Ignore {
		t.ignore(s)
		return
	}
	s.skip = uint64(n - have)
}

func (t *Table) ignore(s *side) {
	s.ignored = true
	t.dropKept(s)
	for s.held != nil {
		t.unhold(s)
	}
}

// keep copies b behind what is kept of s. When a bound is reached everything
// kept of s is dropped as a gap, and false is returned.
func (t *Table) keep(c *Conversation, from Side, s *side, b []byte, place Place) bool {
	have := 0
	if s.kept != nil {
		have = len(s.kept.b)
	}
	size := room(s.kept, have+len(b))
	if size == 0 || t.bytes-s.kept.cost()+size+marksCost > maxBytes {
		t.Stats.Dropped += uint64(have + len(b))
		t.dropKept(s)
		lost := 0 // what was kept has been handed over already, and so has b when nothing was
		if have > 0 {
			lost = len(b)
		}
		if !t.h.Gap(c, from, lost) {
			t.ignore(s)
		}
		return false
	}
	k := s.kept
	if k == nil {
		if n := len(t.spare); n > 0 {
			k, t.spare = t.spare[n-1], t.spare[:n-1]
		} else {
			k = &kept{}
		}
		s.kept = k
	} else {
		t.bytes -= k.cost()
	}
	if len(k.marks) < maxMarks {
		k.marks = append(k.marks, mark{len(k.b), place})
	}
	if cap(k.b) < size {
		k.b = append(make([]byte, 0, size), k.b...)
	}
	k.b = append(k.b, b...)
	t.bytes += k.cost()
	return true
}

// room returns how large the buffer has to be that keeps n bytes: twice what it
// was when it has to grow, and never more than the bound. Beyond it is 0.
func room(k *kept, n int) int {
	switch {
	case n > maxKeptSide:
		return 0
	case k != nil && n <= cap(k.b):
		return cap(k.b)
	case k == nil:
		return n
	}
	return min(max(n, 2*cap(k.b)), maxKeptSide)
}

// keptCost is the memory that a buffer takes besides its bytes and marks,
// markCost that of a mark, and marksCost that of all that a buffer may have.
const (
	keptCost  = 48
	markCost  = 40
	marksCost = keptCost + maxMarks*markCost
)

// cost is the memory that a buffer takes.
func (k *kept) cost() int {
	if k == nil {
		return 0
	}
	return keptCost + cap(k.b) + cap(k.marks)*markCost
}

// maxSpare bounds the buffers kept for reuse, and how large each may be.
const (
	maxSpare      = 16
	maxSpareBytes = 4 << 10
)

func (t *Table) dropKept(s *side) {
	k := s.kept
	if k == nil {
		return
	}
	s.kept = nil
	t.bytes -= k.cost()
	if len(t.spare) < maxSpare && cap(k.b) <= maxSpareBytes {
		k.b, k.marks = k.b[:0], k.marks[:0]
		t.spare = append(t.spare, k)
	}
}

// hold copies a segment that came too early into the list, in order.
func (t *Table) hold(c *Conversation, from Side, s *side, h held) {
	if s.holding >= maxHeldSide || t.bytes+heldCost+len(h.b) > maxBytes {
		// The bytes between will not come any more, or we cannot wait: go on
		// with what there is.
		place := t.place
		for s.held != nil {
			t.jumpGap(c, from)
		}
		t.place = place
		if d := int32(h.seq - s.want); d <= 0 || s.ignored {
			return // the rest was filled in, or nobody wants it
		}
		if t.bytes+heldCost+len(h.b) > maxBytes {
			t.gap(c, from, s, h.seq-s.want)
			t.deliver(c, from, s, h.b)
			return
		}
	}
	at := &s.held
	for *at != nil && int32((*at).seq-h.seq) <= 0 {
		// Compare where the two overlap.
		if e := *at; e.seq == h.seq || int32(e.seq+uint32(len(e.b))-h.seq) > 0 {
			o := e.b[min(uint32(len(e.b)), h.seq-e.seq):]
			n := min(len(o), len(h.b))
			if !bytes.Equal(o[:n], h.b[:n]) {
				t.overlap(c, from)
			}
			if e.seq == h.seq && len(e.b) >= len(h.b) {
				return // the same once more
			}
		}
		at = &(*at).next
	}
	h.b = append([]byte(nil), h.b...)
	h.next = *at
	*at = &h
	s.holding++
	t.bytes += heldCost + len(h.b)
}

// unhold takes the first held segment out of the list.
func (t *Table) unhold(s *side) {
	t.bytes -= heldCost + len(s.held.b)
	s.held = s.held.next
	s.holding--
}

// jumpGap goes on at the first held segment, over the bytes that are missing.
func (t *Table) jumpGap(c *Conversation, from Side) {
	s := &c.sides[from]
	t.place = s.held.place
	if n := s.held.seq - s.want; int32(n) > 0 {
		t.gap(c, from, s, n)
	}
	t.release(c, from, s)
}

// gap tells the handler that n bytes are missing, unless it did not want them.
func (t *Table) gap(c *Conversation, from Side, s *side, n uint32) {
	t.Stats.Gaps++
	t.Stats.GapBytes += uint64(n)
	s.want += n
	s.recent = 0
	if s.ignored || n > 0 && s.skip >= uint64(n) {
		s.skip -= min(s.skip, uint64(n))
		return
	}
	rest := uint64(n) - s.skip
	s.skip = 0
	t.dropKept(s)
	if !t.h.Gap(c, from, int(rest)) {
		t.ignore(s)
	}
}

// remember copies a delivered segment into the ring of recent bytes.
func (t *Table) remember(s *side, seq uint32, b []byte) {
	if len(b) > recentBytes {
		return
	}
	at := int(t.ringEnd % recentBytes)
	copy(t.ring, b[copy(t.ring[at:], b):])
	r := &t.records[t.written%recentRecords]
	*r = record{prev: s.recent, pos: t.ringEnd, seq: seq, n: uint32(len(b))}
	t.ringEnd += uint64(len(b))
	t.written++
	s.recent = t.written
}

// compare looks for other bytes in the same place among the recent ones of
// this side. What is no longer remembered cannot be compared.
func (t *Table) compare(c *Conversation, from Side, s *side, seq uint32, b []byte) {
	for n := s.recent; n != 0 && t.written-n < recentRecords; {
		r := t.records[(n-1)%recentRecords]
		if t.ringEnd-r.pos > recentBytes {
			return
		}
		// The part that the record and b have in common, as offsets into each.
		lo, hi := int64(int32(seq-r.seq)), int64(int32(seq-r.seq))+int64(len(b))
		from0, to := max(lo, 0), min(hi, int64(r.n))
		for i := from0; i < to; i++ {
			if t.ring[(r.pos+uint64(i))%recentBytes] != b[i-lo] {
				t.overlap(c, from)
				return
			}
		}
		n = r.prev
	}
}

func (t *Table) overlap(c *Conversation, from Side) {
	t.Stats.Overlaps++
	t.h.Overlap(c, from)
}
