// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import "github.com/myelin-health/myelin/wire"

// The three-wire UART transport (Vol 4 Part D) and BCSP, from which it comes,
// frame packets as SLIP does (RFC 1055) and begin them with four bytes of the
// same layout; they differ in the numbers of what is inside.

// maxSerial is the longest packet before it is escaped: header, 12 bits of
// payload length, data integrity check.
const maxSerial = 4 + 4095 + 2

// A serialKind is what a packet type or channel is for, by direction.
type serialKind struct{ sent, received PacketKind }

var (
	h5Types = [16]serialKind{ // Vol 4 Part D section 5.4
		1: {HCICommand, HCICommand},
		2: {HCIACL, HCIACL},
		3: {HCISCO, HCISCO},
		4: {HCIEvent, HCIEvent},
		5: {HCIISO, HCIISO},
	}
	bcspChannels = [16]serialKind{
		5: {HCICommand, HCIEvent},
		6: {HCIACL, HCIACL},
		7: {HCISCO, HCISCO},
	}
)

// serial reads one packet, with or without its delimiters.
func (p *Packet) serial(b []byte, off int, received bool, kinds *[16]serialKind) {
	const delimiter, escape = 0xc0, 0xdb
	start := off
	for off < len(b) && b[off] == delimiter {
		off++
	}
	framed := off > start
	end, escaped := len(b), false
	for i := off; i < len(b); i++ {
		escaped = escaped || b[i] == escape
		if b[i] == delimiter {
			end = i
			break
		}
	}
	in := b[off:end:end]
	shift := off
	if framed && escaped {
		in = p.unescape(in)
		if in == nil {
			p.fail("slip", "Escape", off, wire.ErrInvalid)
			return
		}
	}
	if len(in) < 4 {
		p.fail("h5", "Header", start, wire.ErrTruncated)
		return
	}
	if in[0]+in[1]+in[2]+in[3] != 0xff {
		p.fail("h5", "Header Checksum", off+3, wire.ErrInvalid)
		return
	}
	n := int(in[1]>>4) | int(in[2])<<4
	integrity := 0
	if in[0]&0x40 != 0 {
		integrity = 2
	}
	if len(in) != 4+n+integrity {
		p.fail("h5", "Payload Length", off+1, wire.ErrInvalid)
		return
	}
	kind := kinds[in[1]&0xf].sent
	if received {
		kind = kinds[in[1]&0xf].received
	}
	if kind == NoPacket { // acknowledgements, link control, vendor's
		p.Off = shift + 4
		return
	}
	p.Received = received
	p.hci(kind, in[:4+n:4+n], 4)
	p.Off += shift
	if p.Fault.Err != nil {
		p.Fault.Off += shift
	}
}

// unescape returns what was meant, in p's own memory, or nil.
func (p *Packet) unescape(b []byte) []byte {
	if p.scratch == nil {
		p.scratch = make([]byte, 0, maxSerial)
	}
	out := p.scratch[:0]
	for i := 0; i < len(b) && len(out) < maxSerial; i++ {
		c := b[i]
		if c == 0xdb {
			i++
			if i == len(b) {
				return nil
			}
			switch b[i] {
			case 0xdc:
				c = 0xc0
			case 0xdd:
				c = 0xdb
			case 0xde: // Vol 4 Part D section 3.2: XON, when flow control is by software
				c = 0x11
			case 0xdf: // XOFF
				c = 0x13
			default:
				return nil
			}
		}
		out = append(out, c)
	}
	return out
}
