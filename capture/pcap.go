// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/myelin-health/myelin/wire"
)

// Sections are of draft-ietf-opsawg-pcap.

const (
	pcapHeader       = 24 // section 4
	pcapRecord       = 16 // section 5
	pcapRecordLonger = 24 // Kuznetzov's: interface index, protocol and packet type follow
)

const (
	magicMicro    = 0xa1b2c3d4 // section 4
	magicNano     = 0xa1b23c4d // section 4
	magicModified = 0xa1b2cd34
)

// A pcap reads the records of a pcap file.
type pcap struct {
	swap   bool  // written most significant byte first
	record int   // bytes of a record's header
	unit   int64 // nanoseconds of one unit of the time's second half
	link   LinkType
	n      uint64
}

// pcapMagic tells a pcap file by its first four bytes.
func pcapMagic(b []byte) (p pcap, ok bool) {
	p = pcap{record: pcapRecord, unit: 1000}
	magic := binary.LittleEndian.Uint32(b)
	for range 2 {
		switch magic {
		case magicMicro:
			return p, true
		case magicNano:
			p.unit = 1
			return p, true
		case magicModified:
			p.record = pcapRecordLonger
			return p, true
		}
		magic = bits.ReverseBytes32(magic)
		p.swap = true
	}
	return p, false
}

func newPcap(header []byte) (*pcap, error) {
	p, _ := pcapMagic(header)
	if version := p.uint32(header[4:]); p.swap && version>>16 != 2 || !p.swap && version&0xffff != 2 {
		return nil, fmt.Errorf("%w: major version is not 2", wire.ErrInvalid)
	}
	// Section 4: the upper half of the field tells the length of the frame check
	// sequence, which the network layer's own length already leaves out.
	p.link = LinkType(p.uint32(header[20:]))
	return &p, nil
}

func (p *pcap) uint32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.swap {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcap) parse(frames []Frame, b []byte) (_ []Frame, off, need int, err error) {
	for len(frames) < cap(frames) {
		h := b[off:]
		if len(h) < p.record {
			return frames, off, p.record, nil
		}
		n := p.uint32(h[8:])
		if n > MaxFrame {
			return frames, off, 0, &damage{err: errLongFrame}
		}
		size := p.record + int(n)
		if len(h) < size {
			return frames, off, size, nil
		}
		p.n++
		frames = frames[:len(frames)+1]
		f := &frames[len(frames)-1] // field by field: a literal is built aside and copied, 10 ns
		f.Data = h[p.record:size:size]
		f.Time = int64(p.uint32(h))*1e9 + int64(p.uint32(h[4:]))*p.unit
		f.Packet = p.n
		f.OrigLen = int(max(n, p.uint32(h[12:]))) // some tools leave the length on the wire 0
		f.Interface = 0
		f.Flags = 0
		f.Link = p.link
		off += size
	}
	return frames, off, 0, nil
}

func (p *pcap) count() (packets, dropped uint64) { return p.n, 0 }
