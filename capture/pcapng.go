// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/myelin-health/myelin/wire"
)

// Sections are of draft-ietf-opsawg-pcapng.

// Block types, section 11.1.
const (
	blockSection        = 0x0a0d0d0a
	blockInterface      = 1
	blockPacket         = 2 // obsolete, appendix A
	blockSimplePacket   = 3
	blockEnhancedPacket = 6
)

// numbered are the blocks that hold no packet and yet have a number in
// Wireshark's list, which a sighting has to agree with.
func numbered(block uint32) bool {
	switch block {
	case 9, // systemd journal
		0x00000bad, 0x40000bad, // custom
		0x204, 0x208, 0x216, 0x217, 0x221, 0x222: // sysdig events
		return true
	}
	return false
}

// Options, sections 3.5, 4.2 and 4.3.
const (
	optEnd       = 0
	optIfName    = 2 // if_name
	optFlags     = 2 // epb_flags
	optDropCount = 4 // epb_dropcount
	optTsResol   = 9
	optTsOffset  = 14
)

const (
	blockFrame = 12 // type, length, length again: section 3.1
	byteOrder  = 0x1a2b3c4d

	// maxInterfaces bounds the interfaces of a section. Each is 48 bytes here; the
	// largest capturing hosts have some hundred.
	maxInterfaces = 4096

	// maxInterfaceName bounds what is kept of a name; of the interfaces of a file
	// the first maxInterfaces have one.
	maxInterfaceName = 64
)

// blockFields are the bytes of fixed fields between a block's lengths.
var blockFields = [...]int{
	blockInterface:      8,
	blockPacket:         20,
	blockSimplePacket:   4,
	blockEnhancedPacket: 20,
}

// An iface is what an interface description block says, section 4.2.
type iface struct {
	clock clock
	snap  uint32 // 0: unlimited
	link  LinkType
}

// A pcapng reads the blocks of a pcapng file.
type pcapng struct {
	swap   bool    // the section was written most significant byte first
	ifaces []iface // of the section
	before int     // interfaces of the sections before
	names  []string

	trailer uint32 // length that has to follow a block skipped, or 0
	n       uint64
	last    int64 // Frame.Time of the packet before
	dropped uint64
}

// sectionOrder reports whether the section header block at the front of b has
// its bytes swapped, and whether it is one at all (section 4.1).
func sectionOrder(b []byte) (swap, ok bool) {
	if len(b) < 12 {
		return false, false
	}
	switch binary.LittleEndian.Uint32(b[8:]) {
	case byteOrder:
		return false, true
	case bits.ReverseBytes32(byteOrder):
		return true, true
	}
	return false, false
}

func (p *pcapng) uint32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.swap {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcapng) uint16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if p.swap {
		v = bits.ReverseBytes16(v)
	}
	return v
}

// uint64 reads a number of eight bytes, which unlike a packet's time is not in
// two halves.
func (p *pcapng) uint64(b []byte) uint64 {
	v := binary.LittleEndian.Uint64(b)
	if p.swap {
		v = bits.ReverseBytes64(v)
	}
	return v
}

func (p *pcapng) parse(frames []Frame, b []byte) (_ []Frame, off, need int, err error) {
	for len(frames) < cap(frames) {
		h := b[off:]
		if p.trailer != 0 {
			if len(h) < 4 {
				return frames, off, 4, nil
			}
			if p.uint32(h) != p.trailer {
				return frames, off, 0, lengthsDiffer("block")
			}
			p.trailer = 0
			off += 4
			continue
		}
		if len(h) < blockFrame {
			return frames, off, blockFrame, nil
		}
		swap, block := p.swap, p.uint32(h)
		if block == blockSection { // the same from either end
			var ok bool
			if swap, ok = sectionOrder(h); !ok {
				return frames, off, 0, &damage{"section header", fmt.Errorf("%w: byte-order magic", wire.ErrInvalid)}
			}
		}
		length := binary.LittleEndian.Uint32(h[4:])
		if swap {
			length = bits.ReverseBytes32(length)
		}
		field, fixed := "", 0
		known := true
		switch block {
		case blockSection:
			field, fixed = "section header", 16
		case blockInterface:
			field, fixed = "interface description", blockFields[block]
		case blockPacket, blockSimplePacket, blockEnhancedPacket:
			fixed = blockFields[block]
		default:
			field, known = "block", false
		}
		switch {
		case length < uint32(blockFrame+fixed):
			return frames, off, 0, &damage{field, fmt.Errorf("%w: a block of %d bytes", wire.ErrTruncated, length)}
		case length%4 != 0:
			return frames, off, 0, &damage{field, fmt.Errorf("%w: block length is no multiple of four", wire.ErrInvalid)}
		case !known:
			if numbered(block) {
				p.n++
			}
			p.trailer = length
			off += int(length) - 4
			if off > len(b) {
				return frames, off, 0, nil
			}
			continue
		case length > maxRecord:
			return frames, off, 0, &damage{field, fmt.Errorf("%w: a block of more than %d bytes", wire.ErrTooLong, maxRecord)}
		case len(h) < int(length):
			return frames, off, int(length), nil
		}
		p.swap = swap
		if p.uint32(h[length-4:]) != length {
			return frames, off, 0, lengthsDiffer(field)
		}
		body := h[8 : length-4 : length-4]
		switch block {
		case blockSection:
			err = p.section(body)
		case blockInterface:
			err = p.describe(body)
		default:
			frames = frames[:len(frames)+1]
			if err = p.packet(block, body, &frames[len(frames)-1]); err != nil {
				frames = frames[:len(frames)-1]
			}
		}
		if err != nil {
			return frames, off, 0, &damage{field, err}
		}
		off += int(length)
	}
	return frames, off, 0, nil
}

// lengthsDiffer is the damage of a block whose length is not the same at its end.
func lengthsDiffer(field string) error {
	return &damage{field, fmt.Errorf("%w: block lengths before and after differ", wire.ErrInvalid)}
}

// section reads a section header block, section 4.1.
func (p *pcapng) section(body []byte) error {
	if p.uint16(body[4:]) != 1 {
		return fmt.Errorf("%w: major version is not 1", wire.ErrInvalid)
	}
	p.before += len(p.ifaces)
	p.ifaces = p.ifaces[:0]
	return nil
}

// describe reads an interface description block, section 4.2.
func (p *pcapng) describe(body []byte) error {
	if len(p.ifaces) == maxInterfaces {
		return fmt.Errorf("%w: more than %d interfaces", wire.ErrTooLong, maxInterfaces)
	}
	in := iface{link: LinkType(p.uint16(body)), snap: p.uint32(body[4:]), clock: decimalClock(6)}
	for o := body[blockFields[blockInterface]:]; len(o) > 0; {
		code, value, rest, err := p.option(o)
		if err != nil {
			return err
		}
		switch {
		case code == optIfName:
			p.name(value)
		case code == optTsResol && len(value) == 1:
			offset := in.clock.offset
			if n := value[0]; n&0x80 != 0 {
				in.clock = binaryClock(n & 0x7f)
			} else {
				in.clock = decimalClock(n)
			}
			in.clock.offset = offset
		case code == optTsOffset && len(value) == 8:
			in.clock.offset = secondsToNano(int64(p.uint64(value)))
		case code == optTsResol || code == optTsOffset:
			return fmt.Errorf("%w: option %d of %d bytes", wire.ErrInvalid, code, len(value))
		}
		o = rest
	}
	p.ifaces = append(p.ifaces, in)
	return nil
}

// name notes the name of the interface that is being described.
func (p *pcapng) name(value []byte) {
	i := p.before + len(p.ifaces)
	if i >= maxInterfaces || len(value) > maxInterfaceName {
		return
	}
	for len(p.names) <= i {
		p.names = append(p.names, "")
	}
	p.names[i] = strings.TrimRight(string(value), "\x00") // some tools end it as C does
}

func (p *pcapng) interfaceName(i int) string {
	if i < 0 || i >= len(p.names) {
		return ""
	}
	return p.names[i]
}

// option cuts one option from the front of b, section 3.5. After the last, rest
// is empty.
func (p *pcapng) option(b []byte) (code uint16, value, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, nil, fmt.Errorf("%w: option", wire.ErrTruncated)
	}
	code = p.uint16(b)
	n := int(p.uint16(b[2:]))
	if code == optEnd {
		return code, nil, nil, nil
	}
	padded := 4 + (n+3)&^3
	if len(b) < padded {
		return 0, nil, nil, fmt.Errorf("%w: option", wire.ErrTruncated)
	}
	return code, b[4 : 4+n], b[padded:], nil
}

// packet reads a packet block of any of the three kinds.
func (p *pcapng) packet(block uint32, body []byte, f *Frame) error {
	var id, length, origLen uint32
	var drops uint16
	data := body[blockFields[block]:]
	switch block {
	case blockEnhancedPacket: // section 4.3
		id, length, origLen = p.uint32(body), p.uint32(body[12:]), p.uint32(body[16:])
	case blockPacket: // appendix A
		id, length, origLen = uint32(p.uint16(body)), p.uint32(body[12:]), p.uint32(body[16:])
		drops = p.uint16(body[2:])
	case blockSimplePacket: // section 4.4
		origLen = p.uint32(body)
		length = origLen
	}
	if id >= uint32(len(p.ifaces)) {
		return fmt.Errorf("%w: none of %d interfaces", wire.ErrInvalid, len(p.ifaces))
	}
	in := &p.ifaces[id]
	if block == blockSimplePacket && in.snap != 0 {
		length = min(length, in.snap) // section 4.4: the interface's is the only limit that is told
	}
	switch {
	case length > MaxFrame:
		return errLongFrame
	case int(length) > len(data):
		return truncated(len(data), int(length))
	}
	f.Data = data[:length:length]
	f.Time = p.last
	f.OrigLen = int(max(length, origLen))
	f.Interface = p.before + int(id)
	f.Flags = 0
	f.Link = in.link
	if block != blockSimplePacket {
		f.Time = in.clock.nanoseconds(uint64(p.uint32(body[4:]))<<32 | uint64(p.uint32(body[8:])))
		for o := data[min((int(length)+3)&^3, len(data)):]; len(o) > 0; {
			code, value, rest, err := p.option(o)
			if err != nil {
				return err
			}
			switch {
			case code == optFlags && len(value) == 4:
				f.Flags = p.uint32(value)
			case code == optDropCount && len(value) == 8 && block == blockEnhancedPacket:
				p.dropped += p.uint64(value)
			}
			o = rest
		}
		if drops != math.MaxUint16 { // appendix A: not known
			p.dropped += uint64(drops)
		}
	}
	p.n++
	f.Packet = p.n
	p.last = f.Time
	return nil
}

func (p *pcapng) count() (packets, dropped uint64) { return p.n, p.dropped }

// A clock turns an interface's time units into nanoseconds: times mul, over
// div or two to the power of shift, plus offset.
type clock struct {
	mul, div uint64 // div is 0 when shift is used
	shift    uint8
	offset   int64 // nanoseconds
}

// decimalClock counts units of 10 to the -n seconds.
func decimalClock(n uint8) clock {
	c := clock{mul: 1, div: 1}
	for ; n < 9; n++ {
		c.mul *= 10
	}
	for ; n > 9; n-- {
		if c.div > math.MaxUint64/10 { // finer than any number of units adds up to a nanosecond
			return clock{div: 1}
		}
		c.div *= 10
	}
	return c
}

// binaryClock counts units of 2 to the -n seconds.
func binaryClock(n uint8) clock { return clock{mul: 1e9, shift: n} }

// nanoseconds returns the time of the unit ts since 1970. Beyond the year 2262
// it stays there.
func (c *clock) nanoseconds(ts uint64) int64 {
	hi, v := bits.Mul64(ts, c.mul)
	switch {
	case c.div == 1:
	case c.div == 0 && c.shift >= 64:
		hi, v = 0, hi>>(c.shift-64)
	case c.div == 0:
		hi, v = hi>>c.shift, hi<<(64-c.shift)|v>>c.shift
	case hi < c.div:
		v, _ = bits.Div64(hi, v, c.div)
		hi = 0
	}
	if hi > 0 || v > math.MaxInt64 {
		v = math.MaxInt64
	}
	t := int64(v) + c.offset
	if c.offset > 0 && t < 0 {
		return math.MaxInt64
	}
	return t
}

func secondsToNano(s int64) int64 {
	const most = int64(math.MaxInt64 / 1_000_000_000)
	return min(max(s, -most), most) * 1e9
}
