// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import "math/bits"

// A model is where the coder is and what it has learnt: the part of the state through
// which encoder and decoder step alike. Its fields are integers of fixed size, and a
// checkpoint holds it as it is.
type model struct {
	Out  uint32       // bytes of the new image behind us
	Left uint32       // bytes left of the operation under way
	From uint32       // the position in the old image or the new that its next byte comes from
	Diag [reps]uint32 // differences of positions in old and new of the last copies, the latest first
	Dist uint32       // the same of the last copy out of the new image
	Last uint32       // the last four bytes of the new image
	Was  uint32       // the last four bytes of the old image that were copied
	Off  uint32       // the last four corrections; 0 where there was none
	Op   uint8        // the kind of the operation under way
	Ops  uint8        // the kinds of this operation and those before, two bits each
	Hits uint8        // which of the bytes copied last were corrected: 1 each, the last one lowest
	Code uint8        // the code of the processor, of which addresses are known
	addresses

	Kind   [16][2]counter
	Rep    [4]counter // two bits
	Same   counter
	Seek   [2][32]counter
	Length [2][32]counter
	Flags  [nFlags]counter
	Bytes  [nBytes]counter
	FlagW  [8][6]int32
	ByteW  [2][4][4]int32
}

const (
	reps   = 3
	nFlags = 384
	nBytes = 736
)

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

// maxStep is how many bytes of a delta one step may take. The longest has 2 + 2 + 5 + 5 bits
// that are learnt, of which one takes at most 11 bits of the range, and 2*30 that are not.
const maxStep = (14*11+60)/8 + 2

// A coder codes bits into a delta, or out of it when there is no encoder.
type coder struct {
	model
	enc *encoder
	dec rangeDecoder
}

func (c *coder) reset(code uint8) {
	c.model, c.dec = model{Code: code}, rangeDecoder{}
	even := func(p []counter) {
		for i := range p {
			p[i] = evens
		}
	}
	for i := range c.Kind {
		even(c.Kind[i][:])
	}
	even(c.Rep[:])
	c.Same = evens
	for i := range c.Seek {
		even(c.Seek[i][:])
		even(c.Length[i][:])
	}
	even(c.Flags[:])
	even(c.Bytes[:])
	for i := range c.FlagW {
		for k := range c.FlagW[i] {
			c.FlagW[i][k] = 1 << 16 / 3
		}
	}
	for i := range c.ByteW {
		for k := range c.ByteW[i] {
			for j := range c.ByteW[i][k] {
				c.ByteW[i][k][j] = 1 << 16 / 2
			}
		}
	}
}

// code codes one bit that is 1 with a probability of p in 65536.
func (c *coder) code(p, b uint32) uint32 {
	p = max(32, min(p, 1<<16-32))
	if c.enc != nil {
		c.enc.code(p, b)
		return b
	}
	return c.dec.code(p)
}

// bit codes one bit by a single counter.
func (c *coder) bit(n *counter, b uint32) uint32 {
	b = c.code(n.p()<<3, b)
	n.learn(b)
	return b
}

// tree codes the low n bits of v, each of which depends on those before it.
func (c *coder) tree(p []counter, n int, v uint32) uint32 {
	m := uint32(1)
	for i := n - 1; i >= 0; i-- {
		m = m<<1 | c.bit(&p[m], v>>i&1)
	}
	return m - 1<<n
}

// number codes a number below 2^31: how many bits it has, and those behind the first.
func (c *coder) number(p *[32]counter, v uint32) uint32 {
	n := int(c.tree(p[:], 5, uint32(bits.Len32(v))))
	if n == 0 {
		return 0
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
	if c.Op = literal; c.bit(&p[0], uint32(min(o.kind, 1))) == 1 {
		c.Op = ofOld + uint8(c.bit(&p[1], uint32(o.kind>>1)))
	}
	c.Ops = c.Ops<<2 | c.Op
	c.Field, c.At = none, 0
	d := o.from - c.Out
	switch c.Op {
	case literal:
		c.Left = 1
		return
	case ofOld:
		k := uint32(0)
		for k < reps && c.Diag[k] != d {
			k++
		}
		if k = c.tree(c.Rep[:], 2, k); k < reps {
			d = c.Diag[k]
		} else {
			z := d - c.Diag[0]
			z = c.number(&c.Seek[0], z<<1^-(z>>31))
			d = c.Diag[0] + (z>>1 ^ -(z & 1))
		}
		c.Diag = recent(c.Diag, d)
	case ofNew:
		other := uint32(0)
		if d != c.Dist {
			other = 1
		}
		if c.bit(&c.Same, other) == 1 {
			c.Dist = ^c.number(&c.Seek[1], ^d)
		}
		d = c.Dist
	}
	c.From = c.Out + d
	c.Left = c.number(&c.Length[c.Op-1], o.length-1) + 1
}

// recent puts d in front of the differences.
func recent(ds [reps]uint32, d uint32) [reps]uint32 {
	first := d
	for i := range ds {
		ds[i], d = d, ds[i]
		if d == first {
			break
		}
	}
	return ds
}

// literal codes a byte of its own.
func (c *coder) literal(b byte) byte {
	c.Off = c.Off<<8 | 0xff
	return c.byte(0, [4]uint32{c.Out & 3, c.Last & 0xff, c.Last >> 8 & 0xff, c.Out & 1}, b)
}

// copied codes a byte of the new image, of which the old one has w from there on.
func (c *coder) copied(w uint32, b byte) byte {
	was := byte(w)
	e := c.expect(w)
	state := c.state()
	miss := uint32(0)
	if b != e {
		miss = 1
	}
	var s [6]*counter
	for i, x := range [...]uint32{
		uint32(c.Hits) | state<<8,
		c.Was&0xff | uint32(c.Hits&3)<<8,
		uint32(was) | c.Was&0xff<<8,
		c.Off & 0xffffff,
		c.From&3 | c.Off&0xff<<4 | uint32(c.Hits&15)<<12,
		c.Was & 0xffff,
	} {
		s[i] = &c.Flags[slot(x, uint32(i), nFlags)]
	}
	if miss = c.mix(s[:], c.FlagW[c.From&3|state>>2&4][:], miss); miss == 1 {
		miss = uint32(c.byte(1, [4]uint32{0, c.Off & 0xff, c.Off & 0xffff, uint32(was)}, b-e))
	}
	b = e + byte(miss)
	c.Hits <<= 1
	if c.Off = c.Off<<8 | miss; miss != 0 {
		c.Hits |= 1
	}
	c.Was = c.Was<<8 | uint32(was)
	c.seen(b)
	return b
}

// byte codes a byte, of which each bit depends on those before it in several contexts.
func (c *coder) byte(set int, contexts [4]uint32, b byte) byte {
	node := uint32(1)
	for i := 7; i >= 0; i-- {
		var s [4]*counter
		for k, x := range contexts {
			s[k] = &c.Bytes[slot(x<<8|node, uint32(set*4+k), nBytes)]
		}
		node = node<<1 | c.mix(s[:], c.ByteW[set][i/2][:], uint32(b>>i&1))
	}
	return byte(node)
}

// slot is the place of a context among n, which others may have too.
func slot(x, which uint32, n uint64) uint32 {
	h := (x + which*0x3c6ef372) * 0x9e3779b1
	h = (h ^ h>>15) * 0x85ebca6b
	return uint32(uint64(h^h>>13) * n >> 32)
}

// put goes on behind a byte.
func (c *coder) put(b byte) {
	c.Last = c.Last<<8 | uint32(b)
	c.Out++
	c.Left--
	c.From++
}

// A counter is the probability of a 1 in 8192ths, above three bits that say how often
// it has learnt.
type counter uint16

const evens counter = 4096 << 3

func (n counter) p() uint32 { return uint32(n >> 3) }

// rates are by how much a counter learns, in 65536ths.
var rates = [8]int32{32768, 21845, 16384, 10923, 7282, 5041, 3641, 2731}

func (n *counter) learn(b uint32) {
	p, k := int32(*n>>3), *n&7
	p += (int32(b<<13-b) - p) * rates[k] >> 16
	*n = counter(p)<<3 | min(k+1, 7)
}

// mix codes a bit by several counters: the sum of what they say, by weights that learn
// which of them were right (Mattern, 2012).
func (c *coder) mix(s []*counter, w []int32, b uint32) uint32 {
	var says [6]int64
	sum := int64(0)
	for i, n := range s {
		says[i] = stretch(n.p())
		sum += says[i] * int64(w[i])
	}
	p := squash(max(-2047, min(sum>>16, 2047)))
	b = c.code(p, b)
	wrong := int64(b<<16) - int64(p)
	for i, n := range s {
		w[i] = max(-1<<20, min(w[i]+int32((says[i]*wrong+1<<13)>>14), 1<<20))
		n.learn(b)
	}
	return b
}

// stretch is 256 times the logarithm of p against 8192-p.
func stretch(p uint32) int64 { return (ln(max(p, 1)) - ln(8192-p)) >> 4 }

// squash undoes it, in 65536ths.
func squash(x int64) uint32 {
	x += 2048
	i, f := x>>7, uint32(x&127)
	return (logistic[i]*(128-f) + logistic[i+1]*f) >> 7
}

// ln is 4096 times the logarithm of v below 2^14, but for a constant.
func ln(v uint32) int64 {
	n := bits.Len32(v)
	return int64(n)*2839 + int64(ln64[v<<(14-n)>>7&63])
}

// ln64 is 4096 ln(1 + (k + 1/2) / 64).
var ln64 = [64]uint16{
	32, 95, 157, 218, 278, 338, 396, 454, 511, 567, 622, 677, 731, 784, 836, 888,
	940, 990, 1040, 1089, 1138, 1186, 1234, 1281, 1328, 1374, 1419, 1464, 1509, 1553, 1596, 1639,
	1682, 1724, 1766, 1807, 1848, 1889, 1929, 1969, 2008, 2047, 2086, 2124, 2162, 2200, 2237, 2274,
	2310, 2347, 2383, 2418, 2454, 2489, 2523, 2558, 2592, 2626, 2659, 2693, 2726, 2758, 2791, 2823,
}

// logistic is 65536 / (1 + e^-x) for x from -8 to 8 in halves.
var logistic = [33]uint32{
	22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108,
	4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
	62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
}
