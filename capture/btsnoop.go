// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/myelin-health/myelin/wire"
)

// The format is RFC 1761's, with another magic, epoch and datalinks.

const (
	btsnoopMagic  = "btsnoop\x00"
	btsnoopHeader = 16
	btsnoopRecord = 24

	// btsnoopEpoch is 1970-01-01 in the file's microseconds, which count from
	// midnight, January 1st, 0 AD.
	btsnoopEpoch = 0x00dcddb30f2f8000
)

var btsnoopLinks = map[uint32]LinkType{
	1001: LinkBTSnoopH1,
	1002: LinkBluetoothHCIH4,
	1003: LinkBTSnoopBCSP,
	1004: LinkBTSnoopH5,
	2001: LinkBTSnoopMonitor,
}

// A btsnoop reads the records of a btsnoop file.
type btsnoop struct {
	link    LinkType
	n       uint64
	dropped uint32
}

func newBTSnoop(header []byte) (*btsnoop, error) {
	if binary.BigEndian.Uint32(header[8:]) != 1 {
		return nil, fmt.Errorf("%w: version is not 1", wire.ErrInvalid)
	}
	link, ok := btsnoopLinks[binary.BigEndian.Uint32(header[12:])]
	if !ok {
		return nil, fmt.Errorf("%w: datalink is none of 1001 to 1004 and 2001", wire.ErrInvalid)
	}
	return &btsnoop{link: link}, nil
}

func (s *btsnoop) parse(frames []Frame, b []byte) (_ []Frame, off, need int, err error) {
	for len(frames) < cap(frames) {
		h := b[off:]
		if len(h) < btsnoopRecord {
			return frames, off, btsnoopRecord, nil
		}
		n := binary.BigEndian.Uint32(h[4:])
		if n > MaxFrame {
			return frames, off, 0, &damage{err: errLongFrame}
		}
		size := btsnoopRecord + int(n)
		if len(h) < size {
			return frames, off, size, nil
		}
		s.n++
		s.dropped = binary.BigEndian.Uint32(h[12:]) // cumulative
		frames = append(frames, Frame{
			Data:    h[btsnoopRecord:size:size],
			Time:    btsnoopTime(int64(binary.BigEndian.Uint64(h[16:]))),
			Packet:  s.n,
			OrigLen: int(max(n, binary.BigEndian.Uint32(h))),
			Flags:   binary.BigEndian.Uint32(h[8:]),
			Link:    s.link,
		})
		off += size
	}
	return frames, off, 0, nil
}

// btsnoopTime returns Unix nanoseconds, of what they cannot say the nearest.
func btsnoopTime(micros int64) int64 {
	return min(max(micros, btsnoopEpoch)-btsnoopEpoch, math.MaxInt64/1000) * 1000
}

func (s *btsnoop) count() (packets, dropped uint64) { return s.n, uint64(s.dropped) }
