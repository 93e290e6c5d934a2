// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// What things are thought to take in a delta, in bits: measured on pairs of firmware.
const (
	literalBits = 6.5
	rightBits   = 0.15 // a byte copied from old that needs no correction
	wrongBits   = 8    // one that does
	againBits   = 7    // to copy from where a copy was before
	oldBits     = 9    // to copy from elsewhere in old, and the logarithm of how far away
	newBits     = 6    // to copy from new, and the logarithm of how far back
)

// The bounds of the search.
const (
	maxLanes  = 8
	maxBehind = 40      // bits by which a lane may be dearer than the best path
	longRun   = 16      // bytes to come that agree: nothing else is looked for
	maxTries  = 8       // places in new with the same four bytes
	maxNear   = 4       // places in old, in the order of suffixes, to each side of the best
	blockLen  = 1 << 16 // bytes after which the best path so far is taken
	hashBits  = 18
)

// A path is the cheapest way to make new up to some byte, and what the coder will
// remember there.
type path struct {
	bits  float32
	diags [reps]uint32
	dist  uint32
}

// A lane is a copy under way: it goes on byte by byte beside others, as bsdiff's do with
// bytes that differ, until it has proved too dear.
type lane struct {
	path  // as where it began, but for the bits
	kind  uint8
	diag  uint32 // from where, less to where
	start int
	sure  int // up to here the bytes agree
}

// A matcher finds the operations that make new out of old, by the shortest path: it walks
// through new once, and keeps for each byte the best way to end an operation there. An
// operation is a literal, or a lane that began where one ended.
type matcher struct {
	old, new []byte
	h        *Header
	sa       []int32
	first    []int32 // where in sa the suffixes with two first bytes begin
	head     []int32 // the last place in new with four bytes of this hash
	chain    []int32 // for each place in new, the one before
	lanes    []lane
	best     path // to the byte under way
	end      op   // the operation that ends with it
	ends     []op // the same for each byte of the block
	ops      []op
}

// match finds operations that make new out of old.
func match(old, new []byte, h *Header) []op {
	m := &matcher{
		old: old, new: new, h: h,
		sa:    suffixes(old),
		first: make([]int32, 1<<16+1),
		head:  make([]int32, 1<<hashBits),
		chain: make([]int32, len(new)),
		ends:  make([]op, blockLen+1),
	}
	for i := range old {
		m.first[pair(old[i:])+1]++
	}
	for i := range m.first[1:] {
		m.first[i+1] += m.first[i]
	}
	for i := range m.head {
		m.head[i] = -1
	}
	for from := 0; from < len(new); from += blockLen {
		m.block(from, min(from+blockLen, len(new)))
	}
	return m.ops
}

// pair is the number of the first two bytes. One alone comes before all pairs with it.
func pair(b []byte) int {
	n := int(b[0]) << 8
	if len(b) > 1 {
		n |= int(b[1])
	}
	return n
}

// block takes the best path through new[from:to].
func (m *matcher) block(from, to int) {
	m.best.bits, m.lanes = 0, m.lanes[:0]
	for i := from; i < to; i++ {
		m.open(i)
		m.extend(i)
		m.ends[i+1-from] = m.end
		m.remember(i)
	}
	n := len(m.ops)
	for i := to; i > from; {
		o := m.ends[i-from]
		m.ops = append(m.ops, o)
		i -= int(o.length)
	}
	slices.Reverse(m.ops[n:])
	if n > 0 { // a copy that the end of the block before cut in two
		a, b := &m.ops[n-1], m.ops[n]
		if a.kind == b.kind && a.kind != literal && a.from+a.length == b.from {
			a.length += b.length
			m.ops = slices.Delete(m.ops, n, n+1)
		}
	}
}

// open begins lanes at byte i.
func (m *matcher) open(i int) {
	rest := m.new[i:]
	for _, l := range m.lanes {
		if l.sure > i {
			return
		}
	}
	for k := range m.lanes {
		l := &m.lanes[k]
		text := m.new
		if l.kind == ofOld {
			text = m.old
		}
		if n := agree(text, i, l.diag, rest); n >= longRun {
			l.sure = i + n
			return
		}
	}
	for k, d := range m.best.diags {
		if agree(m.old, i, d, rest) >= 2 {
			m.add(i, ofOld, d, againBits+float32(k))
		}
	}
	if pos, n := m.longest(i); n >= 4 {
		d := uint32(pos - i)
		m.add(i, ofOld, d, oldBits+float32(bits.Len32(away(d, m.best.diags[0]))))
	}
	if m.best.dist != 0 && agree(m.new, i, m.best.dist, rest) >= 2 {
		m.add(i, ofNew, m.best.dist, againBits)
	}
	if len(rest) < 4 {
		return
	}
	n, tries := 3, maxTries
	for j := m.head[hash4(rest)]; j >= 0 && tries > 0 && n < len(rest); j, tries = m.chain[j], tries-1 {
		at := int(j)
		if m.new[at+n] != rest[n] {
			continue
		}
		if k := common(m.new[at:], rest); k > n {
			n = k
			m.add(i, ofNew, uint32(at-i), newBits+float32(bits.Len(uint(i-at))))
		}
	}
}

// agree is how many bytes of text, from i + diag on, are those of rest.
func agree(text []byte, i int, diag uint32, rest []byte) int {
	from := i + int(int32(diag))
	if from < 0 || from >= len(text) {
		return 0
	}
	return common(text[from:], rest)
}

// away is the distance of two differences of positions.
func away(a, b uint32) uint32 {
	d := int32(a - b)
	return uint32(max(d, -d))
}

// add begins a lane, unless the same is under way for less, or all others are cheaper.
func (m *matcher) add(i int, kind uint8, diag uint32, bits float32) {
	l := lane{path: m.best, kind: kind, diag: diag, start: i}
	l.bits += bits
	worst := -1
	for k, o := range m.lanes {
		if o.kind == kind && o.diag == diag {
			worst = k
			break
		}
		if len(m.lanes) == maxLanes && (worst < 0 || o.bits > m.lanes[worst].bits) {
			worst = k
		}
	}
	switch {
	case worst < 0:
		m.lanes = append(m.lanes, l)
	case l.bits < m.lanes[worst].bits:
		m.lanes[worst] = l
	}
}

// extend takes byte i into every lane, and finds the best path to the next byte.
func (m *matcher) extend(i int) {
	next := m.best
	next.bits += literalBits
	m.end = op{kind: literal, length: 1}
	lanes := m.lanes[:0]
	for _, l := range m.lanes {
		from := i + int(int32(l.diag))
		switch {
		case l.kind == ofNew && m.new[from] != m.new[i], l.kind == ofOld && !m.alive(i, from):
			continue
		case l.kind == ofOld && m.old[from] != m.new[i]:
			l.bits += wrongBits
		default:
			l.bits += rightBits
		}
		n := i + 1 - l.start
		if n&(n-1) == 0 {
			l.bits++ // for the length
		}
		if l.bits < next.bits {
			if next = l.path; l.kind == ofOld {
				next.diags = recent(l.diags, l.diag)
			} else {
				next.dist = l.diag
			}
			m.end = op{l.kind, uint32(n), uint32(l.start) + l.diag}
		}
		lanes = append(lanes, l)
	}
	m.lanes = slices.DeleteFunc(lanes, func(l lane) bool { return l.bits > next.bits+maxBehind })
	m.best = next
}

// alive tells whether there is such a byte in old, when byte i of new is made: see [Decoder.oldBytes].
func (m *matcher) alive(i, from int) bool {
	return from >= 0 && from < len(m.old) && (!m.h.InPlace() || (uint32(from)+m.h.Shift())>>m.h.PageBits > uint32(i)>>m.h.PageBits)
}

func hash4(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9e3779b1 >> (32 - hashBits) }

// remember makes byte i of new one that can be copied from.
func (m *matcher) remember(i int) {
	if i+4 <= len(m.new) {
		k := hash4(m.new[i:])
		m.chain[i], m.head[k] = m.head[k], int32(i)
	}
}

// longest finds in old the longest beginning of new[i:], and of several such places one
// that is near to where the best path copied last.
func (m *matcher) longest(i int) (pos, length int) {
	b := m.new[i:]
	if len(b) < 2 || len(m.sa) == 0 {
		return 0, 0
	}
	p := pair(b)
	before, behind := int(m.first[p])-1, int(m.first[p+1])
	lo, hi, nlo, nhi := before, behind, 0, 0 // b is between them, and so much of it agrees
	for hi-lo > 1 {
		k := (lo + hi) / 2
		t := m.old[m.sa[k]:]
		n := min(nlo, nhi)
		n += common(t[n:], b[n:])
		if n == len(b) || n < len(t) && t[n] > b[n] {
			hi, nhi = k, n
		} else {
			lo, nlo = k, n
		}
	}
	at := hi
	if length = nhi; nlo > nhi {
		at, length = lo, nlo
	}
	if length == 0 {
		return 0, 0
	}
	far := func(k int) uint32 { return away(uint32(int(m.sa[k])-i), m.best.diags[0]) }
	best := at
	for _, step := range []int{-1, 1} {
		for k := at + step; k > before && k < behind && max(k-at, at-k) <= maxNear; k += step {
			if common(m.old[m.sa[k]:], b[:length]) < length {
				break
			}
			if far(k) < far(best) {
				best = k
			}
		}
	}
	return int(m.sa[best]), length
}

// common is how many bytes agree at the beginning.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
