// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

// Diff makes the delta from old to new. Where it would be more than half as long as new, it is
// the whole new image instead.
func Diff(old, new []byte, o Options) ([]byte, error) {
	h, err := o.header(old, new)
	if err != nil {
		return nil, err
	}
	payload := encode(old, new, match(old, new, &h))
	if len(payload) > len(new)/2 {
		h.Flags |= kindCoded
		h.Old = 0
		payload = encode(nil, new, match(nil, new, &h))
		if len(payload) >= len(new) {
			h.Flags += kindRaw - kindCoded
			payload = new
		}
	}
	h.Payload = uint32(len(payload))
	return append(h.append(nil), payload...), nil
}

// encode codes operations.
func encode(old, new []byte, ops []op) []byte {
	c := coder{enc: &encoder{rng: 0xffffffff}}
	c.reset()
	for _, o := range ops {
		c.start(o)
		for c.Left > 0 {
			b := new[c.Out]
			switch c.Op {
			case literal:
				c.literal(b)
			case ofOld:
				c.copied(old[c.From], b)
			}
			c.put(b)
		}
	}
	return c.enc.finish()
}
