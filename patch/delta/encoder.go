// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import "encoding/binary"

// Diff makes the delta from old to new. Where it would be more than half as long as new, it is
// the whole new image instead.
func Diff(old, new []byte, o Options) ([]byte, error) {
	h, err := o.header(old, new)
	if err != nil {
		return nil, err
	}
	h.Code = codeOf(new)
	payload := encode(old, new, h.Code, match(old, new, &h))
	if len(payload) > len(new)/2 {
		h.Flags |= kindCoded
		h.Old = 0
		payload = encode(nil, new, h.Code, match(nil, new, &h))
		if len(payload) >= len(new) {
			h.Flags += kindRaw - kindCoded
			payload = new
		}
	}
	h.Payload = uint32(len(payload))
	return append(h.append(nil), payload...), nil
}

// encode codes operations.
func encode(old, new []byte, code uint8, ops []op) []byte {
	c := coder{enc: &encoder{rng: 0xffffffff}}
	c.reset(code)
	for _, o := range ops {
		c.start(o)
		for c.Left > 0 {
			b := new[c.Out]
			switch c.Op {
			case literal:
				c.literal(b)
			case ofOld:
				var w [4]byte
				copy(w[:], old[c.From:])
				c.copied(binary.LittleEndian.Uint32(w[:]), b)
			}
			c.put(b)
		}
	}
	return c.enc.finish()
}

// codeOf guesses the code in an image: whose branches lead somewhere in it most often.
func codeOf(b []byte) (best uint8) {
	var led [codes]int
	before := uint32(0)
	for i := range len(b) - 3 {
		w := binary.LittleEndian.Uint32(b[i:])
		for code := uint8(1); code < codes; code++ {
			if d, ok := branch(code, before, w, uint32(i)); ok && uint32(i)+d < uint32(len(b)) {
				led[code]++
			}
		}
		before = before<<8 | uint32(b[i])
	}
	led[codeOther] = len(b) / 1024
	for code, n := range led {
		if n > led[best] {
			best = uint8(code)
		}
	}
	return best
}
