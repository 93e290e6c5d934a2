// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

// A rangeDecoder undoes what an [encoder] does.
type rangeDecoder struct {
	Range, Code uint32
	In          [inputBytes]byte // of the delta, not decoded yet
	Head, Tail  uint8            // where they begin and end
}

// inputBytes is enough for a header, and for a step with the bytes of another before it.
const inputBytes = 96

// begin takes the first bytes.
func (d *rangeDecoder) begin() {
	d.Range = 0xffffffff
	for range 4 {
		d.Code = d.Code<<8 | uint32(d.next())
	}
}

// code decodes a bit that is 1 with a probability of p in 65536.
func (d *rangeDecoder) code(p uint32) (b uint32) {
	if bound := uint32(uint64(d.Range) * uint64(p) >> 16); d.Code < bound {
		d.Range, b = bound, 1
	} else {
		d.Code -= bound
		d.Range -= bound
	}
	for d.Range < 1<<24 {
		d.Range <<= 8
		d.Code = d.Code<<8 | uint32(d.next())
	}
	return b
}

// next takes a byte. Behind the end of a delta are zeros.
func (d *rangeDecoder) next() (b byte) {
	if d.Head < d.Tail {
		b = d.In[d.Head]
		d.Head++
	}
	return b
}

// An encoder is a range coder (Martin, 1979): each bit takes the part of the range that
// its probability says, and bytes leave once they are certain.
type encoder struct {
	out   []byte
	low   uint64
	rng   uint32
	cache byte
	held  int // bytes behind the cache that a carry would change: all 0xff
	begun bool
}

func (e *encoder) code(p, b uint32) {
	bound := uint32(uint64(e.rng) * uint64(p) >> 16)
	if b == 1 {
		e.rng = bound
	} else {
		e.low += uint64(bound)
		e.rng -= bound
	}
	for e.rng < 1<<24 {
		e.rng <<= 8
		e.shift()
	}
}

// shift lets the highest byte of low leave.
func (e *encoder) shift() {
	if e.low < 0xff000000 || e.low > 0xffffffff {
		carry := byte(e.low >> 32)
		if e.begun {
			e.out = append(e.out, e.cache+carry)
		}
		e.begun = true
		for ; e.held > 0; e.held-- {
			e.out = append(e.out, 0xff+carry)
		}
		e.cache = byte(e.low >> 24)
	} else {
		e.held++
	}
	e.low = e.low & 0xffffff << 8
}

// finish lets all leave but zeros at the end, which the decoder knows.
func (e *encoder) finish() []byte {
	// Any number from low on and below low + range will do: one with most zeros behind it.
	for n := 32; n > 0; n -= 8 {
		mask := uint64(1)<<n - 1
		if v := (e.low + mask) &^ mask; v < e.low+uint64(e.rng) {
			e.low = v
			break
		}
	}
	for range 5 {
		e.shift()
	}
	for len(e.out) > 0 && e.out[len(e.out)-1] == 0 {
		e.out = e.out[:len(e.out)-1]
	}
	return e.out
}
