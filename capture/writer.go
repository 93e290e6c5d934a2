// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/myelin-health/myelin/wire"
)

// A Writer writes a capture. It writes a record at a time and buffers none: give it
// a [bufio.Writer] where that matters.
type Writer struct {
	w      io.Writer
	links  []LinkType // of the interfaces of pcapng, by Frame.Interface; else nil
	link   LinkType   // of a pcap or btsnoop file
	snoop  bool       // it is btsnoop
	record []byte     // reused
}

// NewWriter writes the header of a pcap file with nanoseconds, little-endian, and
// returns a writer of its frames, all of which begin as link says.
func NewWriter(w io.Writer, link LinkType) (*Writer, error) {
	b := make([]byte, 0, pcapHeader)
	b = binary.LittleEndian.AppendUint32(b, magicNano)
	b = binary.LittleEndian.AppendUint16(b, 2) // draft-ietf-opsawg-pcap section 4: version 2.4
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = binary.LittleEndian.AppendUint64(b, 0) // reserved
	b = binary.LittleEndian.AppendUint32(b, MaxFrame)
	b = binary.LittleEndian.AppendUint32(b, uint32(link))
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return &Writer{w: w, link: link}, nil
}

// NewBTSnoopWriter writes the header of a btsnoop file of HCI packets with the
// indicators of the UART transport, and returns a writer of its frames, all of
// link type [LinkBluetoothHCIH4].
func NewBTSnoopWriter(w io.Writer) (*Writer, error) {
	const version, datalink = 1, 1002
	b := append([]byte(btsnoopMagic), 0, 0, 0, version)
	if _, err := w.Write(binary.BigEndian.AppendUint32(b, datalink)); err != nil {
		return nil, err
	}
	return &Writer{w: w, link: LinkBluetoothHCIH4, snoop: true}, nil
}

// NewNGWriter is [NewInterfaceWriter] of interfaces without names.
func NewNGWriter(w io.Writer, links ...LinkType) (*Writer, error) {
	interfaces := make([]Interface, len(links))
	for i, link := range links {
		interfaces[i].Link = link
	}
	return NewInterfaceWriter(w, interfaces...)
}

// An Interface is one of a pcapng file.
type Interface struct {
	Link LinkType
	Name string // if_name; "" is none. At most 64 bytes.
}

// NewInterfaceWriter writes the section header of a pcapng file and the
// descriptions of the interfaces, with nanoseconds, and returns a writer of its
// frames. Frame.Interface says which interface saw it.
func NewInterfaceWriter(w io.Writer, interfaces ...Interface) (*Writer, error) {
	b := appendBlock(nil, blockSection, func(b []byte) []byte { // section 4.1
		b = binary.LittleEndian.AppendUint32(b, byteOrder)
		b = binary.LittleEndian.AppendUint16(b, 1) // version 1.0
		b = binary.LittleEndian.AppendUint16(b, 0)
		return binary.LittleEndian.AppendUint64(b, math.MaxUint64) // length not told
	})
	links := make([]LinkType, len(interfaces))
	for i, in := range interfaces {
		links[i] = in.Link
		if len(in.Name) > maxInterfaceName {
			return nil, fmt.Errorf("capture: name of interface %d: %w", i, wire.ErrTooLong)
		}
		b = appendBlock(b, blockInterface, func(b []byte) []byte { // section 4.2
			b = binary.LittleEndian.AppendUint16(b, uint16(in.Link))
			b = binary.LittleEndian.AppendUint16(b, 0)
			b = binary.LittleEndian.AppendUint32(b, MaxFrame)
			if n := len(in.Name); n > 0 {
				b = append(b, optIfName, 0, byte(n), 0)
				b = append(b, in.Name...)
				b = append(b, "\x00\x00\x00"[:-n&3]...)
			}
			return append(b,
				optTsResol, 0, 1, 0, 9, 0, 0, 0,
				optEnd, 0, 0, 0)
		})
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return &Writer{w: w, links: links}, nil
}

// WriteFrame writes one frame: Data, Time and OrigLen, in btsnoop Flags, and in
// pcapng Interface and, unless 0, Flags. Link has to be the file's; Packet is not looked at. After an
// error of the underlying writer the file may end within a record.
func (w *Writer) WriteFrame(f *Frame) error {
	link := w.link
	if w.links != nil {
		if f.Interface < 0 || f.Interface >= len(w.links) {
			return fmt.Errorf("capture: interface %d of %d: %w", f.Interface, len(w.links), wire.ErrInvalid)
		}
		link = w.links[f.Interface]
	}
	n := len(f.Data)
	origLen := max(n, f.OrigLen)
	switch {
	case n > MaxFrame || origLen > math.MaxUint32:
		return fmt.Errorf("capture: frame of %d bytes: %w", origLen, wire.ErrTooLong)
	case f.Time < 0:
		return fmt.Errorf("capture: time before 1970: %w", wire.ErrInvalid)
	case f.Link != link:
		return fmt.Errorf("capture: frame of link type %d, file of %d: %w", f.Link, link, wire.ErrInvalid)
	}
	b := w.record[:0]
	switch {
	case w.snoop:
		b = binary.BigEndian.AppendUint32(b, uint32(origLen))
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = binary.BigEndian.AppendUint32(b, f.Flags)
		b = binary.BigEndian.AppendUint32(b, 0) // lost so far
		b = binary.BigEndian.AppendUint64(b, uint64(f.Time/1000+btsnoopEpoch))
		b = append(b, f.Data...)
	case w.links == nil:
		sec := f.Time / 1e9
		if sec > math.MaxUint32 {
			return fmt.Errorf("capture: time after 2106: %w", wire.ErrInvalid)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(sec))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.Time%1e9))
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = binary.LittleEndian.AppendUint32(b, uint32(origLen))
		b = append(b, f.Data...)
	default:
		b = appendBlock(b, blockEnhancedPacket, func(b []byte) []byte { // section 4.3
			b = binary.LittleEndian.AppendUint32(b, uint32(f.Interface))
			b = binary.LittleEndian.AppendUint32(b, uint32(f.Time>>32))
			b = binary.LittleEndian.AppendUint32(b, uint32(f.Time))
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
			b = binary.LittleEndian.AppendUint32(b, uint32(origLen))
			b = append(b, f.Data...)
			b = append(b, "\x00\x00\x00"[:-n&3]...)
			if f.Flags != 0 {
				b = append(b, optFlags, 0, 4, 0)
				b = binary.LittleEndian.AppendUint32(b, f.Flags)
				b = append(b, optEnd, 0, 0, 0)
			}
			return b
		})
	}
	w.record = b
	_, err := w.w.Write(b)
	return err
}

// appendBlock appends a block of pcapng, whose body has a multiple of four bytes.
func appendBlock(b []byte, block uint32, body func([]byte) []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, block)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = body(b)
	length := uint32(len(b) - start + 4)
	binary.LittleEndian.PutUint32(b[start+4:], length)
	return binary.LittleEndian.AppendUint32(b, length)
}
