// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"strconv"

	"github.com/myelin-health/myelin/wire"
)

// A Frame is what was captured of one packet.
type Frame struct {
	Data      []byte   // whose they are, and until when, says the method that filled the frame
	Time      int64    // nanoseconds since 1970-01-01 UTC; where the record has no time, that of the frame before it
	Packet    uint64   // number in the file, from 1, as Wireshark counts; of a frame log the line
	OrigLen   int      // bytes on the wire; at least len(Data)
	Interface int      // pcapng: counts the interface descriptions of the file, from 0; frame log: the dialects; else 0
	Flags     uint32   // pcapng: epb_flags; btsnoop: Packet Flags (bit 0: received; of the monitor, adapter index and opcode); frame log: see Radio; else 0
	Link      LinkType // how Data begins
}

// A LinkType is a number of the pcap link-type registry, or one of the
// LinkBTSnoop numbers.
type LinkType = wire.LinkType

// The link types that [wire.Packet.Decode] reads.
const (
	LinkNull     = wire.LinkNull
	LinkEthernet = wire.LinkEthernet
	LinkRawBSD   = wire.LinkRawBSD
	LinkRawBSD2  = wire.LinkRawBSD2
	LinkRaw      = wire.LinkRaw
	LinkLoop     = wire.LinkLoop
	LinkSLL      = wire.LinkSLL
	LinkIPv4     = wire.LinkIPv4
	LinkIPv6     = wire.LinkIPv6
	LinkSLL2     = wire.LinkSLL2
)

// The link types of Bluetooth, and those that carry it in captures.
const (
	LinkUser0              = wire.LinkUser0
	LinkUser15             = wire.LinkUser15
	LinkBluetoothHCIH4     = wire.LinkBluetoothHCIH4
	LinkPPI                = wire.LinkPPI
	LinkBluetoothHCIH4PHDR = wire.LinkBluetoothHCIH4PHDR
	LinkBluetoothLELL      = wire.LinkBluetoothLELL
	LinkBluetoothMonitor   = wire.LinkBluetoothMonitor
	LinkBluetoothLELLPHDR  = wire.LinkBluetoothLELLPHDR
	LinkNordicBLE          = wire.LinkNordicBLE
	LinkBTSnoopH1          = wire.LinkBTSnoopH1
	LinkBTSnoopBCSP        = wire.LinkBTSnoopBCSP
	LinkBTSnoopH5          = wire.LinkBTSnoopH5
	LinkBTSnoopMonitor     = wire.LinkBTSnoopMonitor
)

var linkNames = map[LinkType]string{
	LinkNull:               "BSD loopback",
	LinkEthernet:           "Ethernet",
	LinkRawBSD:             "raw IP",
	LinkRawBSD2:            "raw IP",
	LinkRaw:                "raw IP",
	LinkLoop:               "OpenBSD loopback",
	LinkSLL:                "Linux cooked",
	LinkIPv4:               "raw IPv4",
	LinkIPv6:               "raw IPv6",
	LinkSLL2:               "Linux cooked v2",
	LinkBluetoothHCIH4:     "Bluetooth HCI UART",
	LinkPPI:                "per-packet information",
	LinkBluetoothHCIH4PHDR: "Bluetooth HCI UART with direction",
	LinkBluetoothLELL:      "Bluetooth LE link layer",
	LinkBluetoothMonitor:   "Bluetooth Linux monitor",
	LinkBluetoothLELLPHDR:  "Bluetooth LE link layer with radio",
	LinkNordicBLE:          "Nordic BLE sniffer",
	LinkBTSnoopH1:          "Bluetooth HCI",
	LinkBTSnoopBCSP:        "Bluetooth HCI BCSP",
	LinkBTSnoopH5:          "Bluetooth HCI three-wire UART",
	LinkBTSnoopMonitor:     "Bluetooth Linux monitor in btsnoop",
	LinkFrameLog:           "radio frame log",
}

// LinkName returns a name for people: "Ethernet", "user 0", "link type 105".
func LinkName(l LinkType) string {
	if name := linkNames[l]; name != "" {
		return name
	}
	if LinkUser0 <= l && l <= LinkUser15 {
		return "user " + strconv.Itoa(int(l-LinkUser0))
	}
	return "link type " + strconv.Itoa(int(l))
}

// A Batch is a run of frames and the memory that their bytes are in. The zero
// Batch is ready for use. Frames and their bytes are valid until the batch is
// filled again, whatever happens to the reader meanwhile.
type Batch struct {
	Frames []Frame
	buf    []byte
}

// Size returns the memory that the batch has for the bytes of frames.
func (b *Batch) Size() int { return len(b.buf) }

const (
	batchBytes  = 256 << 10 // of a batch; more only where one record needs it
	batchFrames = 4096      // 256 KiB of Frame; batchBytes hold 3,400 Ethernet frames of the smallest size
)

// reset empties b and sees to it that it holds n bytes, already seen, and more.
func (b *Batch) reset(n int) {
	if b.Frames == nil {
		b.Frames = make([]Frame, 0, batchFrames)
	}
	b.Frames = b.Frames[:0]
	if n >= len(b.buf) {
		b.buf = make([]byte, max(batchBytes, 2*n))
	}
}
