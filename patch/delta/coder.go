// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import "math/bits"

// A prob is the probability that the next bit is 0, in 65536ths.
type prob uint16

// A model is where the coder is and what it has learnt: the part of the state through
// which encoder and decoder step alike. Its fields are integers of fixed size, and a
// checkpoint holds it as it is.
type model struct {
	Out  uint32 // bytes of the new image behind us
	Left uint32 // bytes left of the operation under way
	From uint32 // the position in the old image or the new that its next byte comes from
	Old  uint32 // where we are in the old image, whatever comes between copies out of it
	Last uint32 // the last four bytes of the new image
	Was  uint32 // the last four bytes of the old image that were copied
	Op   uint8  // the kind of the operation under way
	Ops  uint8  // the kinds of the operations before, two bits each
	Hits uint8  // which of the bytes copied last were wrong: 1 each, the last one lowest
	Off  uint8  // the last correction

	Kind    [16][2]prob
	Seek    [2][64]prob
	Length  [2][64]prob
	Hit     [2][256]prob
	Correct [256]prob
	Literal [256]prob
}

// The kinds of operations.
const (
	literal = iota // a byte of its own
	ofOld          // bytes of the old image, each of which may be corrected
	ofNew          // bytes of the new image again, as they are
)

// An op is one operation: what kind, how many bytes, and from which position.
type op struct {
	kind   uint8
	length uint32 // at least 1; 1 for a literal
	from   uint32
}

// maxStep is how many bytes of a delta one step may take: two for each of at most 18 bits
// that are learnt (a byte of the range for one of a probability of 2^-11), and one for
// each eight of the 62 that are not.
const maxStep = 2*18 + 8 + 1

// A coder codes bits into a delta, or out of it when there is no encoder.
type coder struct {
	model
	enc *encoder
	dec rangeDecoder
}

func (c *coder) reset() {
	c.model, c.dec = model{}, rangeDecoder{}
	each := func(p []prob) {
		for i := range p {
			p[i] = 1 << 15
		}
	}
	for i := range c.Kind {
		each(c.Kind[i][:])
	}
	for i := range c.Seek {
		each(c.Seek[i][:])
		each(c.Length[i][:])
	}
	for i := range c.Hit {
		each(c.Hit[i][:])
	}
	each(c.Correct[:])
	each(c.Literal[:])
}

// code codes one bit that is 0 with a probability of p in 65536.
func (c *coder) code(p prob, b uint32) uint32 {
	p = max(32, min(p, 65536-32))
	if c.enc != nil {
		c.enc.code(uint32(p), b)
		return b
	}
	return c.dec.code(uint32(p))
}

// bit codes one bit of which the probability is learnt.
func (c *coder) bit(p *prob, b uint32) uint32 {
	b = c.code(*p, b)
	if b == 0 {
		*p += (65535 - *p) >> 5
	} else {
		*p -= *p >> 5
	}
	return b
}

// tree codes the low n bits of v, each of which depends on those before it.
func (c *coder) tree(p []prob, n int, v uint32) uint32 {
	m := uint32(1)
	for i := n - 1; i >= 0; i-- {
		m = m<<1 | c.bit(&p[m], v>>i&1)
	}
	return m - 1<<n
}

// number codes a number: how many bits it has, and those behind the first, as they are.
func (c *coder) number(p *[64]prob, v uint32) uint32 {
	n := int(min(c.tree(p[:], 6, uint32(bits.Len32(v))), 32))
	if n < 2 {
		return uint32(n)
	}
	r := uint32(1)
	for i := n - 2; i >= 0; i-- {
		r = r<<1 | c.code(1<<15, v>>i&1)
	}
	return r
}

// start codes the beginning of an operation.
func (c *coder) start(o op) {
	p := &c.Kind[c.Ops&15]
	o.kind = c.kind(p, o.kind)
	switch o.kind {
	case literal:
		o.length = 1
	case ofOld:
		d := int32(o.from - c.Old)
		z := c.number(&c.Seek[0], uint32(d<<1^d>>31))
		o.from = c.Old + (z>>1 ^ -(z & 1))
		o.length = c.number(&c.Length[0], o.length-1) + 1
	case ofNew:
		o.from = c.Out - 1 - c.number(&c.Seek[1], c.Out-1-o.from)
		o.length = c.number(&c.Length[1], o.length-1) + 1
	}
	c.Op, c.From, c.Left = o.kind, o.from, o.length
	c.Ops = c.Ops<<2 | o.kind
}

func (c *coder) kind(p *[2]prob, k uint8) uint8 {
	if c.bit(&p[0], uint32(min(k, 1))) == 0 {
		return literal
	}
	return ofOld + uint8(c.bit(&p[1], uint32(k>>1)))
}

// literal codes a byte of its own.
func (c *coder) literal(b byte) byte {
	return byte(c.tree(c.Literal[:], 8, uint32(b)))
}

// copied codes a byte of which the old image says that it is was.
func (c *coder) copied(was, b byte) byte {
	miss := uint32(0)
	if b != was {
		miss = 1
	}
	miss = c.bit(&c.Hit[c.Hits&1][c.Was&0xff], miss)
	if miss != 0 {
		c.Off = byte(c.tree(c.Correct[:], 8, uint32(b-was)))
		was += c.Off
	}
	c.Hits = c.Hits<<1 | uint8(miss)
	return was
}

// put goes on behind a byte.
func (c *coder) put(b byte) {
	c.Last = c.Last<<8 | uint32(b)
	c.Out++
	c.Left--
	c.From++
	if c.Op == ofOld {
		c.Old = c.From
	}
}
