// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// A frame is what a receiver wrote down at one time: one of the three.
type frame struct {
	time int64

	hci      []byte // a packet of the UART transport
	received bool   // from the controller

	air *onAir

	dialect string // of a proprietary radio
	raw     []byte
	channel uint16
	rssi    int8
}

// A Recording is what receivers wrote down of a story.
type Recording struct {
	layer  Layer
	frames []frame
}

// A Format is how a recording is written. The zero Format is the usual one of the
// recording's layer.
type Format struct {
	// Container is "btsnoop", "pcap", "pcapng" or "jsonl".
	Container string

	// Link is the link type: of an HCI log 187 (H4) or 201 (with the direction);
	// of the air 251, 256 (with a radio header) or 272 (Nordic's sniffer). 0
	// is the usual one.
	Link wire.LinkType

	// Decrypted: the sniffer has the keys of the pairings that it heard, and writes
	// down what it decrypted. Keys from before the recording it has not.
	Decrypted bool
}

// FormatOf returns the container that the name of a file asks for, of those that
// a layer can be in.
func FormatOf(layer Layer, name string) Format {
	switch ext := strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), "."); ext {
	case "pcap", "pcapng":
		return Format{Container: ext}
	}
	return Format{Container: layers[layer].container}
}

// complete fills in what is left open, and refuses what a layer cannot be
// written as.
func (f *Format) complete(layer Layer) error {
	info := &layers[layer]
	if f.Container == "" {
		f.Container = info.container
	}
	if f.Link == 0 {
		f.Link = info.links[0]
	}
	switch {
	case f.Container == "btsnoop" && layer != HCI, f.Container == "jsonl" && layer != Frames, layer == Frames && f.Container == "pcap":
		return fmt.Errorf("radio: %s cannot be written as %s", info.name, f.Container)
	case !slices.Contains(info.links, f.Link):
		return fmt.Errorf("radio: %s has no link type %d", info.name, f.Link)
	case f.Decrypted && layer != Air:
		return fmt.Errorf("radio: only what a sniffer hears can be decrypted")
	}
	return nil
}

// Write writes the recording.
func (r *Recording) Write(w io.Writer, f Format) error {
	if err := f.complete(r.layer); err != nil {
		return err
	}
	slices.SortStableFunc(r.frames, func(a, b frame) int { return cmp.Compare(a.time, b.time) })
	out := bufio.NewWriter(w)
	write := r.packets
	if f.Container == "jsonl" {
		write = r.lines
	}
	if err := write(out, f); err != nil {
		return err
	}
	return out.Flush()
}

// lines writes a frame log.
func (r *Recording) lines(w io.Writer, _ Format) error {
	var b []byte
	for i := range r.frames {
		f := &r.frames[i]
		b = capture.AppendLogLine(b[:0], &capture.Frame{Time: f.time, Data: f.raw, Link: capture.LinkFrameLog, Flags: capture.RadioFlags(f.channel, f.rssi)}, f.dialect)
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// packets writes btsnoop, pcap or pcapng. In the last each dialect is an interface.
func (r *Recording) packets(out io.Writer, f Format) error {
	interfaces := []capture.Interface{{Link: f.Link}}
	if r.layer == Frames {
		interfaces = nil
		for i := range r.frames {
			in := capture.Interface{Link: f.Link, Name: r.frames[i].dialect}
			if !slices.Contains(interfaces, in) {
				interfaces = append(interfaces, in)
			}
		}
	}
	var w *capture.Writer
	var err error
	switch f.Container {
	case "btsnoop": // has the direction in its records, whatever the link type was to be
		f.Link = wire.LinkBluetoothHCIH4
		w, err = capture.NewBTSnoopWriter(out)
	case "pcap":
		w, err = capture.NewWriter(out, f.Link)
	default:
		w, err = capture.NewInterfaceWriter(out, interfaces...)
	}
	if err != nil {
		return err
	}
	for i := range r.frames {
		x := &r.frames[i]
		data := x.raw
		switch f.Link {
		case wire.LinkBluetoothHCIH4:
			data = x.hci
		case wire.LinkBluetoothHCIH4PHDR:
			data = append([]byte{0, 0, 0, boolBit(x.received)}, x.hci...)
		case wire.LinkBluetoothLELL:
			data = x.air.bytes(nil, f.Decrypted)
		case wire.LinkBluetoothLELLPHDR:
			data = x.air.bytes(ble.AppendRadio(nil, x.air.channel, x.air.rssi, x.air.from, f.Decrypted && x.air.known), f.Decrypted)
		case wire.LinkNordicBLE:
			data = x.air.nordic(uint16(i), x.time, f.Decrypted)
		}
		p := capture.Frame{Time: x.time, Data: data, OrigLen: len(data), Link: f.Link}
		switch {
		case f.Container == "btsnoop":
			const control = 2 // a command or an event
			if p.Flags = uint32(boolBit(x.received)); x.hci[0] != h4ACL {
				p.Flags |= control
			}
		case r.layer == HCI:
			const inbound, outbound = 1, 2 // epb_flags
			if p.Flags = outbound; x.received {
				p.Flags = inbound
			}
		}
		if r.layer == Frames {
			p.Interface = slices.Index(interfaces, capture.Interface{Link: f.Link, Name: x.dialect})
		}
		if err := w.WriteFrame(&p); err != nil {
			return err
		}
	}
	return nil
}

// bytes appends a packet from the access address on. Who decrypts it writes the
// PDU without its MIC.
func (p *onAir) bytes(dst []byte, decrypted bool) []byte {
	pdu := p.pdu
	if decrypted && p.known {
		pdu = p.plain
	}
	return ble.AppendAir(dst, p.access, p.crcInit, pdu)
}

// nordic writes a packet with the header of the nRF Sniffer for Bluetooth LE,
// protocol version 3.
func (p *onAir) nordic(counter uint16, time int64, decrypted bool) []byte {
	const board, version, advertising, data, header = 1, 3, 2, 6, 10
	const crcOK, fromCentral, encrypted, micOK = 1, 2, 4, 8
	le := binary.LittleEndian
	id := byte(data)
	flags := byte(crcOK)
	switch {
	case p.from == ble.UnknownSide:
		id = advertising
	case p.from == ble.Central:
		flags |= fromCentral
	}
	if p.plain != nil {
		flags |= encrypted
		if decrypted && p.known {
			flags |= micOK
		}
	}
	packet := p.bytes(nil, decrypted)
	b := le.AppendUint16([]byte{board}, uint16(header+len(packet)))
	b = append(le.AppendUint16(append(b, version), counter), id, header, flags, p.channel, byte(-p.rssi))
	b = le.AppendUint16(b, 0) // the event counter
	b = le.AppendUint32(b, uint32(time/1000))
	return append(b, packet...)
}
