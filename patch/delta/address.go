// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

// Code that has moved changes the addresses of whatever points at it: words that hold an
// address, and branches by a distance. The coder learns by how much what lies at an address
// has moved, and expects the same of others that point near it.
type addresses struct {
	Field uint8          // what of the fields is under way
	At    uint8          // bytes of it behind us; 0 when there is none
	Value uint32         // the address or distance that the old one had
	Old   uint32         // the old field
	Guess uint32         // what is expected instead
	Got   uint32         // what it is, up to here
	Moved [nMoved]uint32 // by how much, with 8 bits in front of whose it is
}

const nMoved = 64

// The fields.
const (
	none     = iota
	word     // four bytes at a multiple of four, which may be an address
	distance // of a branch
)

// The codes of processors.
const (
	codeOther = iota
	codeX86
	codeThumb
	codeA64
	codeA32
	codes
)

// branch tells whether w, behind the bytes that were before it (the last one lowest), at
// position i, is the distance of a branch, or an instruction with one; and the distance.
func branch(code uint8, before, w, i uint32) (distance uint32, ok bool) {
	switch code {
	case codeX86: // CALL and JMP, Jcc, and what is relative to RIP of MOV, LEA and CMP
		return w, before&0xfe == 0xe8 || before&0xfff0 == 0x0f80 || before&0xfdc7 == 0x8905 || before&0xffc7 == 0x8d05 || before&0xffc7 == 0x3b05
	case codeThumb: // BL, B.W: encodings T1 and T4
		s := w >> 10 & 1
		return -s<<24 | ^(w>>29^s)&1<<23 | ^(w>>27^s)&1<<22 | w&0x3ff<<12 | w>>16&0x7ff<<1, i&1 == 0 && w&0x9000f800 == 0x9000f000
	case codeA64: // B, BL
		return uint32(int32(w<<6) >> 4), i&3 == 0 && w&0x7c000000 == 0x14000000
	case codeA32: // B, BL
		return uint32(int32(w<<8) >> 6), i&3 == 0 && w&0x0e000000 == 0x0a000000
	}
	return 0, false
}

// aim makes the branch w one by another distance.
func aim(code uint8, w, distance uint32) uint32 {
	switch code {
	case codeThumb:
		s := distance >> 24 & 1
		return w&^0x2fff07ff | s<<10 | distance>>12&0x3ff | ^(distance>>23^s)&1<<29 | ^(distance>>22^s)&1<<27 | distance>>1&0x7ff<<16
	case codeA64:
		return w&^0x03ffffff | distance>>2&0x03ffffff
	case codeA32:
		return w&^0x00ffffff | distance>>2&0x00ffffff
	}
	return distance
}

// expect is the byte to expect where the old image has w from there on.
func (c *coder) expect(w uint32) byte {
	if d, ok := branch(c.Code, c.Was, w, c.From); ok && c.Field != distance {
		c.Field, c.At, c.Value = distance, 0, d
		c.guess(w)
	} else if c.Field == none && c.From&3 == 0 && w >= 256 {
		c.Field, c.Value = word, w
		c.guess(w)
	} else if c.Field == none {
		c.Old, c.Guess = w, w
	}
	return byte(c.Guess >> (8 * c.At))
}

// guess says what to expect instead of the field w.
func (c *coder) guess(w uint32) {
	c.Old, c.Guess, c.Got = w, w, 0
	for _, m := range c.places() {
		if v := c.Moved[m.slot]; v>>24 == m.tag {
			by := uint32(int32(v<<8) >> 8)
			if c.Guess = w + by; c.Field == distance {
				c.Guess = aim(c.Code, w, c.Value+by+c.From-c.Out)
			}
			return
		}
	}
}

// A home is where the coder keeps what it knows of some addresses, and their name there.
type home struct{ slot, tag uint32 }

// places are those for what lies near the address, and for what does not lie so near.
func (c *coder) places() (ps [2]home) {
	t := c.Value
	if c.Field == distance {
		t += c.From - uint32(c.At)
	}
	for i, n := range [...]int{6, 10} {
		ps[i].slot = slot(t>>n, 16+uint32(i), nMoved)
		ps[i].tag = slot(t>>n, 18+uint32(i), 255) + 1
	}
	return ps
}

// seen learns a byte of the field under way.
func (c *coder) seen(b byte) {
	if c.Field == none {
		return
	}
	c.Got |= uint32(b) << (8 * c.At)
	if c.At++; c.At < 4 {
		if low := uint32(1)<<(8*c.At) - 1; c.Guess&low != c.Got && c.Old&low == c.Got {
			c.Guess = c.Old // it is as it was
		}
		return
	}
	c.At = 3
	v, ok := c.Got, true
	by := v - c.Value
	if c.Field == distance {
		v, ok = branch(c.Code, 0xe8, c.Got, c.From-3)
		by = v - c.Value - (c.From - c.Out)
	}
	if ok && int32(by<<8)>>8 == int32(by) {
		for _, p := range c.places() {
			if m := &c.Moved[p.slot]; v != c.Value || c.Field == distance || *m>>24 == p.tag {
				*m = p.tag<<24 | by&0xffffff
			}
		}
	}
	c.Field, c.At = none, 0
}

// state is what there is to say of the field under way.
func (c *coder) state() uint32 {
	s := uint32(c.Field)<<2 | uint32(c.At)
	if c.Guess != c.Old {
		s |= changed
	}
	return s
}

// changed says of a state that not the old byte is expected.
const changed = 16
