// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

// match finds the operations that make new out of old.
func match(old, new []byte, h *Header) []op {
	var ops []op
	lit := func(from, to int) {
		for range to - from {
			ops = append(ops, op{kind: literal, length: 1})
		}
	}
	out, lastscan, lastpos, lastoff := 0, 0, 0, 0
	_ = lastpos
	sa := suffixes(old)
	scan, length, pos := 0, 0, 0
	for scan < len(new) {
		score := 0
		scan += length
		for scsc := scan; scan < len(new); scan++ {
			pos, length = longest(sa, old, new[scan:])
			for ; scsc < scan+length; scsc++ {
				if scsc+lastoff >= 0 && scsc+lastoff < len(old) && old[scsc+lastoff] == new[scsc] {
					score++
				}
			}
			if length == score && length != 0 || length > score+8 {
				break
			}
			if scan+lastoff >= 0 && scan+lastoff < len(old) && old[scan+lastoff] == new[scan] {
				score--
			}
		}
		if length == score && scan < len(new) {
			continue
		}
		// forward from lastscan
		s, best, lenf := 0, 0, 0
		for i := 0; lastscan+i < scan && lastscan+lastoff+i < len(old); {
			if old[lastscan+lastoff+i] == new[lastscan+i] {
				s++
			}
			i++
			if s*2-i > best*2-lenf {
				best, lenf = s, i
			}
		}
		lenb := 0
		if scan < len(new) {
			s, best := 0, 0
			for i := 1; scan >= lastscan+i && pos >= i; i++ {
				if old[pos-i] == new[scan-i] {
					s++
				}
				if s*2-i > best*2-lenb {
					best, lenb = s, i
				}
			}
		}
		if over := lastscan + lenf - (scan - lenb); over > 0 {
			s, best, lens := 0, 0, 0
			for i := range over {
				if new[lastscan+lenf-over+i] == old[lastscan+lastoff+lenf-over+i] {
					s++
				}
				if new[scan-lenb+i] == old[pos-lenb+i] {
					s--
				}
				if s > best {
					best, lens = s, i+1
				}
			}
			lenf += lens - over
			lenb -= lens
		}
		if lenf > 0 {
			ops = append(ops, op{kind: ofOld, length: uint32(lenf), from: uint32(lastscan + lastoff)})
		}
		lit(lastscan+lenf, scan-lenb)
		out = scan - lenb
		lastscan, lastoff = scan-lenb, pos-scan
	}
	_ = out
	if h.InPlace() {
		ops = alive(ops, h)
	}
	return ops
}

// alive makes literals of what is overwritten before it can be copied.
func alive(ops []op, h *Header) []op {
	var r []op
	out := uint32(0)
	for _, o := range ops {
		for o.kind == ofOld && o.length > 0 {
			n := uint32(0)
			for n < o.length && (o.from+n+h.Shift())>>h.PageBits > (out+n)>>h.PageBits {
				n++
			}
			if n > 0 {
				r = append(r, op{ofOld, n, o.from})
				o.from, o.length, out = o.from+n, o.length-n, out+n
				continue
			}
			r = append(r, op{kind: literal, length: 1})
			o.from, o.length, out = o.from+1, o.length-1, out+1
		}
		if o.length > 0 {
			r = append(r, o)
			out += o.length
		}
	}
	return r
}

// longest finds the longest beginning of b in text.
func longest(sa []int32, text, b []byte) (pos, length int) {
	if len(sa) == 0 {
		return 0, 0
	}
	lo, hi := 0, len(sa)-1 // b is between them
	llo, lhi := common(text[sa[lo]:], b), common(text[sa[hi]:], b)
	for hi-lo > 1 {
		m := (lo + hi) / 2
		l := min(llo, lhi)
		t := text[sa[m]:]
		l += common(t[l:], b[l:])
		if l == len(b) || l < len(t) && t[l] > b[l] {
			hi, lhi = m, l
		} else {
			lo, llo = m, l
		}
	}
	if llo > lhi {
		return int(sa[lo]), llo
	}
	return int(sa[hi]), lhi
}

func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
