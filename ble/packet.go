// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A PacketKind says what a [Packet] is.
type PacketKind uint8

// The kinds of packet.
const (
	NoPacket      PacketKind = iota // a note of the capturing tool, or a fault
	HCICommand                      // Payload: the parameters
	HCIEvent                        // Payload: the parameters
	HCIACL                          // Payload: a fragment of L2CAP
	HCISCO                          // Payload: audio
	HCIISO                          // Payload: a fragment of an isochronous stream
	LLAdvertising                   // Payload: behind the header of an advertising physical channel PDU
	LLData                          // Payload: a fragment of L2CAP
	LLControl                       // Payload: behind the opcode
)

// A CRC says what is known of a link-layer packet's checksum.
type CRC uint8

// What is known of a checksum.
const (
	UnknownCRC CRC = iota
	GoodCRC
	BadCRC
)

// A Packet is what one frame says. It is reused: [Packet.Decode] sets every field.
type Packet struct {
	Kind       PacketKind
	Code       uint16 // opcode of a command or an LL control PDU; code of an event; type of an advertising PDU
	Received   bool   // HCI: from the controller
	Undirected bool   // HCI: the frame is not marked as received, which may mean that the capture marks no direction at all
	Index      uint16 // HCI: number of the controller, of the Linux monitor; else 0
	Handle     uint16 // HCI ACL, SCO and ISO: of the connection, 12 bits
	Start      bool   // HCIACL, LLData: the first fragment of an L2CAP PDU
	Access     uint32 // LL: access address
	Channel    uint8  // LL: channel index, 0 to 39; NoChannel when not known
	RSSI       int8   // LL: dBm; 0 when not known
	From       Side   // LL: who sent it, if the sniffer says so
	CRC        CRC    // LL: as the sniffer says; of advertising PDUs as computed where it does not
	Decrypted  bool   // LL: the sniffer says that it decrypted the payload, and took the MIC off
	MICGood    bool   // LL: the sniffer says that the MIC was right
	Ciphertext bool   // LL: the sniffer says that the payload is encrypted, and that it could not decrypt it
	Header     uint16 // LL: the PDU's header as it is sent: the low byte is LLID or type and flags, the high byte the length
	Payload    []byte // aliases the frame; of three-wire UART and BCSP the packet's own memory
	Off        int    // bytes from the start of the frame to Payload, as far as nothing was escaped before
	Fault      wire.Fault

	air     []byte // LL: from the header to the end of the CRC
	scratch []byte // of what is escaped in the frame
}

// NoChannel is the [Packet.Channel] of a capture that does not name it.
const NoChannel = 255

// AdvertisingAccess is the access address of the primary advertising channel
// (Vol 6 Part B section 2.1.2).
const AdvertisingAccess = 0x8e89bed6

// advertisingCRC is what the CRC of advertising PDUs begins with (Vol 6 Part B
// section 3.1.1).
const advertisingCRC = 0x555555

// The logical link identifiers of a data channel PDU (Vol 6 Part B section 2.4).
const (
	LLIDReserved     = 0
	LLIDContinuation = 1 // or empty
	LLIDStart        = 2
	LLIDControl      = 3
)

// LLID returns the logical link identifier of a data or control PDU.
func (p *Packet) LLID() uint8 { return uint8(p.Header & 3) }

// Reads reports whether [Packet.Decode] knows a link type. Of [wire.LinkPPI] it
// is what is inside that decides.
func Reads(link wire.LinkType) bool {
	switch link {
	case wire.LinkBluetoothHCIH4, wire.LinkBluetoothHCIH4PHDR, wire.LinkBluetoothMonitor,
		wire.LinkBTSnoopH1, wire.LinkBTSnoopBCSP, wire.LinkBTSnoopH5, wire.LinkBTSnoopMonitor,
		wire.LinkBluetoothLELL, wire.LinkBluetoothLELLPHDR, wire.LinkNordicBLE, wire.LinkPPI:
		return true
	}
	return false
}

// Decode reads one frame. flags are those that the capture file keeps beside
// it: btsnoop's Packet Flags, or pcapng's epb_flags. What could be read is in p
// also when p.Fault is set. Decode allocates nothing but, once, room for what
// three-wire UART and BCSP escape.
func (p *Packet) Decode(link wire.LinkType, flags uint32, b []byte) {
	*p = Packet{Channel: NoChannel, scratch: p.scratch}
	p.decode(link, flags, b, 0)
}

func (p *Packet) fail(proto, field string, off int, err error) {
	p.Kind = NoPacket
	p.Fault = wire.Fault{Proto: proto, Field: field, Off: off, Err: err}
}

func (p *Packet) decode(link wire.LinkType, flags uint32, b []byte, off int) {
	switch link {
	case wire.LinkBluetoothHCIH4:
		p.h4(b, off, flags&1 != 0, flags&3 == 0)
	case wire.LinkBluetoothHCIH4PHDR:
		if len(b)-off < 4 {
			p.fail("h4", "Direction", off, wire.ErrTruncated)
			return
		}
		p.h4(b, off+4, b[off+3]&1 != 0, false)
	case wire.LinkBTSnoopH1:
		// Bit 0 is the direction, bit 1 tells commands and events from data.
		kind := HCIACL
		switch flags & 3 {
		case 2:
			kind = HCICommand
		case 3:
			kind = HCIEvent
		}
		p.Received = flags&1 != 0
		p.hci(kind, b, off)
	case wire.LinkBTSnoopBCSP:
		p.serial(b, off, flags&1 != 0, &bcspChannels)
	case wire.LinkBTSnoopH5:
		p.serial(b, off, flags&1 != 0, &h5Types)
	case wire.LinkBTSnoopMonitor:
		p.Index = uint16(flags >> 16)
		p.monitor(uint16(flags), b, off)
	case wire.LinkBluetoothMonitor:
		if len(b)-off < 4 {
			p.fail("monitor", "Header", off, wire.ErrTruncated)
			return
		}
		p.Index = binary.BigEndian.Uint16(b[off:])
		p.monitor(binary.BigEndian.Uint16(b[off+2:]), b, off+4)
	case wire.LinkBluetoothLELL:
		p.linkLayer(b, off, anyChannel, false)
	case wire.LinkBluetoothLELLPHDR:
		p.radio(b, off)
	case wire.LinkNordicBLE:
		p.nordic(b, off)
	case wire.LinkPPI:
		p.ppi(flags, b, off)
	default:
		p.fail("link", "type", off, wire.ErrReserved)
	}
}

// The packet indicators of the UART transport (Vol 4 Part A section 2), which
// stand before what [Command.Append], [AppendACL] and [Event.Append] write.
const (
	H4Command = 1
	H4ACL     = 2
	H4SCO     = 3
	H4Event   = 4
	H4ISO     = 5
)

// h4 reads a packet of the UART transport.
func (p *Packet) h4(b []byte, off int, received, undirected bool) {
	if off >= len(b) {
		p.fail("h4", "Packet Indicator", off, wire.ErrTruncated)
		return
	}
	p.Received, p.Undirected = received, undirected
	switch b[off] {
	case H4Command:
		p.Received = false
		p.hci(HCICommand, b, off+1)
	case H4ACL:
		p.hci(HCIACL, b, off+1)
	case H4SCO:
		p.hci(HCISCO, b, off+1)
	case H4Event:
		p.Undirected = !received
		p.Received = true
		p.hci(HCIEvent, b, off+1)
	case H4ISO:
		p.hci(HCIISO, b, off+1)
	default:
		p.fail("h4", "Packet Indicator", off, wire.ErrReserved)
	}
}

// hci reads a packet behind what the transport says of it (Vol 4 Part E section 5.4).
func (p *Packet) hci(kind PacketKind, b []byte, off int) {
	header := 4
	switch kind {
	case HCICommand, HCISCO:
		header = 3
	case HCIEvent:
		header = 2
	}
	if len(b)-off < header {
		p.fail("hci", "Header", off, wire.ErrTruncated)
		return
	}
	h := b[off : off+header]
	n := 0
	switch kind {
	case HCICommand:
		p.Code, n = binary.LittleEndian.Uint16(h), int(h[2])
	case HCIEvent:
		p.Code, n = uint16(h[0]), int(h[1])
	case HCISCO:
		p.Handle, n = binary.LittleEndian.Uint16(h)&0xfff, int(h[2])
	case HCIACL:
		f := binary.LittleEndian.Uint16(h)
		p.Handle, n = f&0xfff, int(binary.LittleEndian.Uint16(h[2:]))
		boundary := f >> 12 & 3 // Packet_Boundary_Flag: 1 is a continuation
		p.Start = boundary != 1
		if p.Undirected && p.Start && boundary != 3 {
			// Vol 4 Part E section 5.4.2: of LE the host begins with 0, the controller with 2.
			p.Received, p.Undirected = boundary == 2, false
		}
	case HCIISO:
		p.Handle, n = binary.LittleEndian.Uint16(h)&0xfff, int(binary.LittleEndian.Uint16(h[2:])&0x3fff)
	}
	p.Kind = kind
	p.Off = off + header
	if n > len(b)-p.Off {
		p.Payload = b[p.Off:len(b):len(b)]
		p.Fault = wire.Fault{Proto: "hci", Field: "Parameters", Off: len(b), Err: wire.ErrTruncated}
		return
	}
	p.Payload = b[p.Off : p.Off+n : p.Off+n]
}

// monitor reads a packet of Linux's monitor channel, by its opcode.
func (p *Packet) monitor(opcode uint16, b []byte, off int) {
	switch opcode {
	case 2:
		p.hci(HCICommand, b, off)
	case 3:
		p.Received = true
		p.hci(HCIEvent, b, off)
	case 4, 5:
		p.Received = opcode == 5
		p.hci(HCIACL, b, off)
	case 6, 7:
		p.Received = opcode == 7
		p.hci(HCISCO, b, off)
	case 18, 19:
		p.Received = opcode == 19
		p.hci(HCIISO, b, off)
	default: // controllers that come and go, notes, the management channel
		p.Off = off
	}
}

// ppi reads the per-packet information header, and what is inside it.
func (p *Packet) ppi(flags uint32, b []byte, off int) {
	if len(b)-off < 8 {
		p.fail("ppi", "Header", off, wire.ErrTruncated)
		return
	}
	if b[off] != 0 {
		p.fail("ppi", "Version", off, wire.ErrReserved)
		return
	}
	n := int(binary.LittleEndian.Uint16(b[off+2:]))
	if n < 8 || n > len(b)-off {
		p.fail("ppi", "Length", off+2, wire.ErrTruncated)
		return
	}
	channel := ppiChannel(b[off+8:off+n], b[off+1]&1 != 0)
	off += n
	switch inner := binary.LittleEndian.Uint32(b[off-n+4:]); wire.LinkType(min(inner, 0xffff)) {
	case wire.LinkUser0, wire.LinkBluetoothLELL:
		p.Channel = channel
		p.linkLayer(b, off, anyChannel, false)
	case wire.LinkBluetoothHCIH4, wire.LinkBluetoothHCIH4PHDR, wire.LinkBluetoothLELLPHDR, wire.LinkNordicBLE:
		p.decode(wire.LinkType(inner), flags, b, off)
	default:
		p.fail("ppi", "DLT", off-n+4, wire.ErrReserved)
	}
}

// ppiChannel finds the channel in the fields of a PPI header.
func ppiChannel(b []byte, aligned bool) uint8 {
	const btle = 30006 // as Ubertooth and Kismet write it
	for len(b) >= 4 {
		typ, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		if typ == btle && n >= 3 && len(b) >= 3 {
			return rfChannel(int(binary.LittleEndian.Uint16(b[1:])-2402) / 2) // MHz
		}
		if aligned {
			n = (n + 3) &^ 3
		}
		b = b[min(n, len(b)):]
	}
	return NoChannel
}

// rfChannel returns the channel index of an RF channel (Vol 6 Part B section 1.4.1).
func rfChannel(rf int) uint8 {
	switch {
	case rf == 0:
		return 37
	case rf == 12:
		return 38
	case rf == 39:
		return 39
	case 0 < rf && rf < 12:
		return uint8(rf - 1)
	case 12 < rf && rf < 39:
		return uint8(rf - 2)
	}
	return NoChannel
}

// A channelKind says what the sniffer knows of a PDU's physical channel.
type channelKind uint8

const (
	anyChannel         channelKind = iota // the access address tells
	advertisingChannel                    // primary or secondary
	dataChannel
)

// The flags of the pseudo-header of [wire.LinkBluetoothLELLPHDR].
const (
	radioDewhitened = 0x0001
	radioSignal     = 0x0002 // the signal power is valid
	radioDecrypted  = 0x0008
	radioCRCChecked = 0x0400
	radioCRCGood    = 0x0800
	radioMICChecked = 0x1000
	radioMICGood    = 0x2000

	radioAuxiliary  = 1 // in bits 7 to 9, the type of PDU
	radioCentral    = 2
	radioPeripheral = 3
)

// AppendRadio writes the pseudo-header of [wire.LinkBluetoothLELLPHDR] after
// dst, of a packet whose CRC was right: what stands before what [AppendAir]
// writes. from is UnknownSide for advertising; decrypted says that the payload
// was encrypted on the air, and its MIC right.
func AppendRadio(dst []byte, channel uint8, rssi int8, from Side, decrypted bool) []byte {
	flags := uint16(radioDewhitened | radioSignal | radioCRCChecked | radioCRCGood)
	switch {
	case from == Central:
		flags |= radioCentral << 7
	case from == Peripheral:
		flags |= radioPeripheral << 7
	case channel < 37:
		flags |= radioAuxiliary << 7
	}
	if decrypted {
		flags |= radioDecrypted | radioMICChecked | radioMICGood
	}
	rf := uint8(0)
	for rfChannel(int(rf)) != channel && rf < 40 {
		rf++
	}
	dst = append(dst, rf, uint8(rssi), 0, 0, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint16(dst, flags)
}

// radio reads the pseudo-header of [wire.LinkBluetoothLELLPHDR].
func (p *Packet) radio(b []byte, off int) {
	if len(b)-off < 10 {
		p.fail("radio", "Header", off, wire.ErrTruncated)
		return
	}
	flags := binary.LittleEndian.Uint16(b[off+8:])
	p.Channel = rfChannel(int(b[off]))
	if flags&radioSignal != 0 {
		p.RSSI = int8(b[off+1])
	}
	if flags&radioCRCChecked != 0 {
		p.CRC = BadCRC
		if flags&radioCRCGood != 0 {
			p.CRC = GoodCRC
		}
	}
	kind := anyChannel
	switch flags >> 7 & 7 {
	case radioAuxiliary:
		kind = advertisingChannel
	case radioCentral:
		kind, p.From = dataChannel, Central
	case radioPeripheral:
		kind, p.From = dataChannel, Peripheral
	case 4, 5, 6: // isochronous
		p.Off = off + 10
		return
	}
	if kind != advertisingChannel { // of which these bits are the auxiliary PDU's type
		checked := flags&radioMICChecked != 0
		p.MICGood = checked && flags&radioMICGood != 0
		p.Ciphertext = checked && !p.MICGood
		p.Decrypted = flags&radioDecrypted != 0 && !p.Ciphertext
	}
	p.linkLayer(b, off+10, kind, flags>>14 == 2)
}

// nordic reads the header of the nRF sniffer, protocol versions 0 to 3.
func (p *Packet) nordic(b []byte, off int) {
	const header = 7
	if len(b)-off < header+11 {
		p.fail("nordic", "Header", off, wire.ErrTruncated)
		return
	}
	var h []byte // from the flags on
	kind := anyChannel
	if binary.BigEndian.Uint16(b[off:]) == 0xbeef { // version 0
		h = b[off+8:]
		off += 17
	} else {
		switch version, id := b[off+3], b[off+6]; {
		case version == 0 || version > 3:
			p.fail("nordic", "Protocol Version", off+3, wire.ErrReserved)
			return
		case version < 3: // the packet's type says no more than that there is a packet
		case id == 2:
			kind = advertisingChannel
		case id == 6:
			kind = dataChannel
		default:
			p.Off = off + header
			return
		}
		n := int(b[off+header])
		if n < 10 || n > len(b)-off-header {
			p.fail("nordic", "Length of packet", off+header, wire.ErrInvalid)
			return
		}
		h = b[off+header+1:]
		off += header + n
	}
	flags := h[0]
	p.Channel = h[1]
	if p.Channel > 39 {
		p.Channel = NoChannel
	}
	p.RSSI = int8(-int(min(h[2], 127)))
	p.CRC = BadCRC
	if flags&1 != 0 {
		p.CRC = GoodCRC
	}
	if kind == anyChannel {
		kind = dataChannel
		if len(b)-off >= 4 && binary.LittleEndian.Uint32(b[off:]) == AdvertisingAccess {
			kind = advertisingChannel
		}
	}
	if kind == dataChannel {
		p.From = Peripheral
		if flags&2 != 0 {
			p.From = Central
		}
		if flags&4 != 0 {
			p.MICGood = flags&8 != 0
			p.Decrypted, p.Ciphertext = p.MICGood, !p.MICGood
		}
	}
	p.linkLayer(b, off, kind, flags>>4&7 == 2)
}

// linkLayer reads a packet from the access address on (Vol 6 Part B sections
// 2.1, 2.3 and 2.4). On the coded PHY the coding indicator follows the access
// address.
func (p *Packet) linkLayer(b []byte, off int, kind channelKind, coded bool) {
	if len(b)-off < 4 {
		p.fail("ll", "Access Address", off, wire.ErrTruncated)
		return
	}
	p.Access = binary.LittleEndian.Uint32(b[off:])
	off += 4
	if coded {
		off++
	}
	if len(b)-off < 2 {
		p.fail("ll", "Header", min(off, len(b)), wire.ErrTruncated)
		return
	}
	p.Header = binary.LittleEndian.Uint16(b[off:])
	n := int(b[off+1])
	p.Off = off + 2
	if kind == anyChannel {
		kind = dataChannel
		if p.Access == AdvertisingAccess {
			kind = advertisingChannel
		}
	}
	if kind == dataChannel && b[off]&0x20 != 0 && len(b)-off-3-n == 3 {
		p.Off++ // CP: the CTEInfo field follows; by older versions the bit is reserved, and what it is is random
	}
	rest := len(b) - p.Off
	if rest < n && p.CRC == BadCRC {
		n = max(rest, 0) // the length is as good as the rest
	}
	if rest < n {
		p.fail("ll", "Payload", len(b), wire.ErrTruncated)
		return
	}
	end := p.Off + n
	p.Payload = b[p.Off:end:end]
	if rest-n >= 3 {
		p.air = b[off : end+3]
	}
	switch {
	case kind == advertisingChannel:
		p.Kind = LLAdvertising
		p.Code = p.Header & 0xf
		if p.CRC == UnknownCRC && p.Access == AdvertisingAccess {
			p.CRC = p.check(advertisingCRC)
		}
	case p.LLID() != LLIDControl:
		p.Kind = LLData
		p.Start = p.LLID() == LLIDStart
		p.trim(p.Start && n > l2capHeader && int(binary.LittleEndian.Uint16(p.Payload)) == n-l2capHeader-micSize)
	case n == 0:
		p.fail("ll", "Opcode", p.Off, wire.ErrTruncated)
	default:
		p.Kind = LLControl
		p.Code = uint16(p.Payload[0])
		p.Payload = p.Payload[1:]
		p.Off++
		p.trim(int(p.Code) < len(llSizes) && n-1 == int(llSizes[p.Code])+micSize)
	}
}

const micSize = 4

// trim takes off a MIC that a sniffer left behind what it decrypted.
func (p *Packet) trim(left bool) {
	if n := len(p.Payload) - micSize; p.Decrypted && left && n >= 0 {
		p.Payload = p.Payload[:n:n]
	}
}

// check computes what the sniffer does not say of the CRC. Tools that changed a
// PDU write zero.
func (p *Packet) check(init uint32) CRC {
	n := len(p.air) - 3
	if n < 0 {
		return UnknownCRC
	}
	switch crc := uint24(p.air[n:]); crc {
	case 0:
		return UnknownCRC
	case CRC24(init, p.air[:n]):
		return GoodCRC
	}
	return BadCRC
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }
