// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/myelin-health/myelin/wire"
)

// show writes what a packet says and is not zero, but for where its bytes are.
func show(p *Packet) string {
	var s []string
	v := reflect.ValueOf(*p)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Name != "Off" && f.Name != "Fault" && f.Name != "Payload" && !v.Field(i).IsZero() && !(f.Name == "Channel" && p.Channel == NoChannel) {
			s = append(s, fmt.Sprintf("%s=%v", f.Name, v.Field(i)))
		}
	}
	if p.Fault.Err != nil {
		s = append(s, p.Fault.Syntax().Error())
	}
	return strings.Join(s, " ") + fmt.Sprintf(" |%x", p.Payload)
}

const (
	h4, phdr, h1      = wire.LinkBluetoothHCIH4, wire.LinkBluetoothHCIH4PHDR, wire.LinkBTSnoopH1
	bcsp, h5          = wire.LinkBTSnoopBCSP, wire.LinkBTSnoopH5
	monitor, snoopMon = wire.LinkBluetoothMonitor, wire.LinkBTSnoopMonitor
	ll, radio, nordic = wire.LinkBluetoothLELL, wire.LinkBluetoothLELLPHDR, wire.LinkNordicBLE
)

// A PDU of each channel with its CRC: of advertising from 0x555555, of data from 0x123456.
func pdus(t testing.TB) (adv, data, control string) {
	hex := func(access, init uint32, pdu string) string {
		return fmt.Sprintf("%x", AppendAir(nil, access, init, unhex(t, pdu)))
	}
	return hex(AdvertisingAccess, advertisingCRC, "40091514131211c4020106"),
		hex(connect.Access, connect.CRCInit, "0a0703000400020f02"),
		hex(connect.Access, connect.CRCInit, "0b020213")
}

type frame struct {
	name  string
	link  wire.LinkType
	flags uint32
	hex   string
	want  string
	off   int
}

func frames(t testing.TB) []frame {
	adv, data, control := pdus(t)
	nordic1 := func(flags string, ll string) string {
		return fmt.Sprintf("07 06 %02x 01 0100 06 0a %s 25 2f 0100 12345678", 10+len(ll)/2, flags) + ll
	}
	nordic3 := func(version, id, flags, channel, ll string) string {
		return fmt.Sprintf("07 %02x00 %s 0100 %s 0a %s %s 2f 0100 12345678", 10+len(ll)/2, version, id, flags, channel) + ll
	}
	return []frame{
		{"command", h4, 2, "01 1920 02 4000", "Kind=1 Code=8217 |4000", 4},
		{"event", h4, 3, "04 05 04 00 4000 13", "Kind=2 Code=5 Received=true |00400013", 3},
		{"event of a log without direction", h4, 0, "04 05 04 00 4000 13", "Kind=2 Code=5 Received=true Undirected=true |00400013", 3},
		{"sent data", h4, 0, "02 4000 0500 0100 0400 1e", "Kind=3 Handle=64 Start=true |010004001e", 5},
		{"sent data, pcapng", h4, 2, "02 4000 0500 0100 0400 1e", "Kind=3 Handle=64 Start=true |010004001e", 5},
		{"received data", h4, 1, "02 4020 0500 0100 0400 1e", "Kind=3 Received=true Handle=64 Start=true |010004001e", 5},
		{"continued data", h4, 1, "02 4010 0100 1e", "Kind=3 Received=true Handle=64 |1e", 5},
		{"audio", h4, 1, "03 0b00 01 55", "Kind=4 Received=true Handle=11 |55", 4},
		{"isochronous", h4, 1, "05 6020 0200 5555", "Kind=5 Received=true Handle=96 |5555", 5},
		{"data that the log cut", h4, 1, "02 4020 0500 0100", "Kind=3 Received=true Handle=64 Start=true hci: Parameters at byte 7: truncated |0100", 5},
		{"nothing", h4, 0, "", " h4: Packet Indicator at byte 0: truncated |", 0},
		{"indicator 6", h4, 0, "06 00", "Undirected=true h4: Packet Indicator at byte 0: reserved value |", 0},
		{"header cut", h4, 0, "01 1920", " Undirected=true hci: Header at byte 1: truncated |", 0},

		{"with direction, sent", phdr, 0, "00000000 02 4000 0500 0100 0400 1e", "Kind=3 Handle=64 Start=true |010004001e", 9},
		{"with direction, received", phdr, 0, "00000001 02 4020 0500 0100 0400 1e", "Kind=3 Received=true Handle=64 Start=true |010004001e", 9},
		{"direction cut", phdr, 0, "0000", " h4: Direction at byte 0: truncated |", 0},

		{"bare command", h1, 2, "1920 02 4000", "Kind=1 Code=8217 |4000", 3},
		{"bare event", h1, 3, "05 04 00 4000 13", "Kind=2 Code=5 Received=true |00400013", 2},
		{"bare data", h1, 1, "4020 0500 0100 0400 1e", "Kind=3 Received=true Handle=64 Start=true |010004001e", 4},
		{"bare data, sent", h1, 0, "4000 0500 0100 0400 1e", "Kind=3 Handle=64 Start=true |010004001e", 4},

		{"monitor command", snoopMon, 1<<16 | 2, "1920 02 4000", "Kind=1 Code=8217 Index=1 |4000", 3},
		{"monitor event", snoopMon, 1<<16 | 3, "05 04 00 4000 13", "Kind=2 Code=5 Received=true Index=1 |00400013", 2},
		{"monitor data sent", snoopMon, 4, "4000 0500 0100 0400 1e", "Kind=3 Handle=64 Start=true |010004001e", 4},
		{"monitor data received", snoopMon, 5, "4020 0500 0100 0400 1e", "Kind=3 Received=true Handle=64 Start=true |010004001e", 4},
		{"monitor audio", snoopMon, 7, "0b00 01 55", "Kind=4 Received=true Handle=11 |55", 3},
		{"monitor isochronous", snoopMon, 18, "6020 0200 5555", "Kind=5 Handle=96 |5555", 4},
		{"monitor note", snoopMon, 12, "426c7565", " |", 0},
		{"monitor header", monitor, 0, "0001 0002 1920 02 4000", "Kind=1 Code=8217 Index=1 |4000", 7},
		{"monitor header cut", monitor, 0, "0001 00", " monitor: Header at byte 0: truncated |", 0},

		// Sequence and acknowledgement numbers 0, reliable; the header adds up to 0xff.
		{"three-wire command", h5, 0, "80 51 00 2e 1920 02 4000", "Kind=1 Code=8217 |4000", 7},
		{"three-wire event in delimiters", h5, 1, "c0 80 64 00 1b 05 04 00 4000 13 c0", "Kind=2 Code=5 Received=true |00400013", 7},
		{"three-wire data with escapes", h5, 1, "c0 80 92 00 ed 4020 0500 0100 0400 dbdc c0", "Kind=3 Received=true Handle=64 Start=true |01000400c0", 9},
		{"three-wire data, escaped escape and XON", h5, 1, "c0 80 a2 00 dd 4020 0600 0200 0400 dbdd dbde c0", "Kind=3 Received=true Handle=64 Start=true |02000400db11", 9},
		{"three-wire, nothing in delimiters", h5, 0, "c0 c0", " h5: Header at byte 0: truncated |", 0},
		{"three-wire, checked", h5, 0, "40 51 00 6e 1920 02 4000 1234", "Kind=1 Code=8217 |4000", 7},
		{"three-wire acknowledgement", h5, 0, "00 00 00 ff", " |", 4},
		{"three-wire checksum", h5, 0, "80 51 00 2f 1920 02 4000", " h5: Header Checksum at byte 3: invalid value |", 0},
		{"three-wire length", h5, 0, "80 51 00 2e 1920 02 40", " h5: Payload Length at byte 1: invalid value |", 0},
		{"three-wire escape", h5, 0, "c0 80 51 00 2e 1920 02 40 db 00 c0", " slip: Escape at byte 1: invalid value |", 0},
		{"BCSP command", bcsp, 0, "80 55 00 2a 1920 02 4000", "Kind=1 Code=8217 |4000", 7},
		{"BCSP event", bcsp, 1, "80 65 00 1a 05 04 00 4000 13", "Kind=2 Code=5 Received=true |00400013", 6},
		{"BCSP data", bcsp, 1, "80 96 00 e9 4020 0500 0100 0400 1e", "Kind=3 Received=true Handle=64 Start=true |010004001e", 8},
		{"BCSP audio", bcsp, 1, "00 47 00 b8 0b00 01 55", "Kind=4 Received=true Handle=11 |55", 7},
		{"BCSP link establishment", bcsp, 1, "00 41 00 be dcafef ac", " |", 4},

		{"advertising", ll, 0, adv, "Kind=6 Access=2391391958 CRC=1 Header=2368 |1514131211c4020106", 6},
		{"advertising, one bit wrong", ll, 0, strings.Replace(adv, "0106", "0107", 1), "Kind=6 Access=2391391958 CRC=2 Header=2368 |1514131211c4020107", 6},
		{"advertising, CRC of zero", ll, 0, adv[:len(adv)-6] + "000000", "Kind=6 Access=2391391958 Header=2368 |1514131211c4020106", 6},
		{"advertising without CRC", ll, 0, adv[:len(adv)-6], "Kind=6 Access=2391391958 Header=2368 |1514131211c4020106", 6},
		{"data", ll, 0, data, "Kind=7 Start=true Access=1352360308 Header=1802 |03000400020f02", 6},
		{"control", ll, 0, control, "Kind=8 Code=2 Access=1352360308 Header=523 |13", 7},
		{"data with CTEInfo", ll, 0, "74619b50 2a 02 55 aabb 000000", "Kind=7 Start=true Access=1352360308 Header=554 |aabb", 7},
		{"reserved bit that is no CTEInfo", ll, 0, "74619b50 2a 03 55aabb 000000", "Kind=7 Start=true Access=1352360308 Header=810 |55aabb", 6},
		{"access address cut", ll, 0, "74619b", " ll: Access Address at byte 0: truncated |", 0},
		{"no header", ll, 0, "74619b50 2a", "Access=1352360308 ll: Header at byte 4: truncated |", 0},
		{"payload cut", ll, 0, "74619b50 0a 07 0300", "Access=1352360308 Header=1802 ll: Payload at byte 8: truncated |", 6},
		{"control without opcode", ll, 0, "74619b50 0b 00 000000", "Access=1352360308 Header=11 ll: Opcode at byte 6: truncated |", 6},

		{"radio, advertising", radio, 0, "00 ce 00 00 d6be898e 1300" + adv, "Kind=6 Access=2391391958 Channel=37 RSSI=-50 CRC=1 Header=2368 |1514131211c4020106", 16},
		{"radio, bad CRC", radio, 0, "0c ce 00 00 d6be898e 1304" + adv, "Kind=6 Access=2391391958 Channel=38 RSSI=-50 CRC=2 Header=2368 |1514131211c4020106", 16},
		{"radio, of the central", radio, 0, "01 ce 00 00 74619b50 030d" + data, "Kind=7 Start=true Access=1352360308 RSSI=-50 From=1 CRC=1 Header=1802 |03000400020f02", 16},
		{"radio, of the peripheral, decrypted", radio, 0, "26 ce 00 00 74619b50 8b3d" + data, "Kind=7 Start=true Access=1352360308 Channel=36 RSSI=-50 From=2 CRC=1 Decrypted=true MICGood=true Header=1802 |03000400020f02", 16},
		{
			"radio, decrypted, MIC left", radio, 0, "01 00 00 00 74619b50 0b3d 74619b50 0a 0b 03000400020f02 11223344 000000",
			"Kind=7 Start=true Access=1352360308 From=1 CRC=1 Decrypted=true MICGood=true Header=2826 |03000400020f02", 16,
		},
		{
			"radio, control decrypted, MIC left", radio, 0, "01 00 00 00 74619b50 0b3d 74619b50 0b 06 0213 11223344 000000",
			"Kind=8 Code=2 Access=1352360308 From=1 CRC=1 Decrypted=true MICGood=true Header=1547 |13", 17,
		},
		{"radio, MIC wrong", radio, 0, "01 00 00 00 74619b50 031d" + data, "Kind=7 Start=true Access=1352360308 From=1 CRC=1 Ciphertext=true Header=1802 |03000400020f02", 16},
		{"radio, auxiliary", radio, 0, "03 ce 00 00 00000000 8310" + adv, "Kind=6 Access=2391391958 Channel=2 RSSI=-50 CRC=1 Header=2368 |1514131211c4020106", 16},
		{"radio, coded", radio, 0, "00 00 00 00 00000000 0180 d6be898e 00" + adv[8:], "Kind=6 Access=2391391958 Channel=37 CRC=1 Header=2368 |1514131211c4020106", 17},
		{"radio, isochronous", radio, 0, "01 ce 00 00 74619b50 030e" + data, "RSSI=-50 CRC=1 |", 10},
		{"radio cut", radio, 0, "01 ce 00 00 74619b50 03", " radio: Header at byte 0: truncated |", 0},

		{"nRF sniffer 1, advertising", nordic, 0, nordic1("01", adv), "Kind=6 Access=2391391958 Channel=37 RSSI=-47 CRC=1 Header=2368 |1514131211c4020106", 23},
		{"nRF sniffer 1, bad CRC", nordic, 0, nordic1("00", data), "Kind=7 Start=true Access=1352360308 Channel=37 RSSI=-47 From=2 CRC=2 Header=1802 |03000400020f02", 23},
		{"nRF sniffer 2, of the central", nordic, 0, nordic3("02", "00", "03", "04", data), "Kind=7 Start=true Access=1352360308 Channel=4 RSSI=-47 From=1 CRC=1 Header=1802 |03000400020f02", 23},
		{"nRF sniffer 3, of the peripheral, decrypted", nordic, 0, nordic3("03", "06", "1d", "04", data), "Kind=7 Start=true Access=1352360308 Channel=4 RSSI=-47 From=2 CRC=1 Decrypted=true MICGood=true Header=1802 |03000400020f02", 23},
		{"nRF sniffer 3, ciphertext", nordic, 0, nordic3("03", "06", "15", "04", data), "Kind=7 Start=true Access=1352360308 Channel=4 RSSI=-47 From=2 CRC=1 Ciphertext=true Header=1802 |03000400020f02", 23},
		{"nRF sniffer 3, auxiliary advertising", nordic, 0, nordic3("03", "02", "05", "04", adv), "Kind=6 Access=2391391958 Channel=4 RSSI=-47 CRC=1 Header=2368 |1514131211c4020106", 23},
		{"nRF sniffer 3, coded", nordic, 0, nordic3("03", "02", "21", "25", adv[:8]+"00"+adv[8:]), "Kind=6 Access=2391391958 Channel=37 RSSI=-47 CRC=1 Header=2368 |1514131211c4020106", 24},
		{"nRF sniffer 3, a note", nordic, 0, nordic3("03", "05", "01", "25", adv), " |", 7},
		{"nRF sniffer 0", nordic, 0, "beef 06 0100 0000 08 01 25 2f 0100 12345678" + adv, "Kind=6 Access=2391391958 Channel=37 RSSI=-47 CRC=1 Header=2368 |1514131211c4020106", 23},
		{"nRF sniffer 4", nordic, 0, nordic3("04", "06", "01", "25", adv), " nordic: Protocol Version at byte 3: reserved value |", 0},
		{"nRF sniffer cut", nordic, 0, "07 1600 03 0100 06 0a 01", " nordic: Header at byte 0: truncated |", 0},

		{"PPI of crackle", wire.LinkPPI, 0, "00 00 1800 93000000 3675 0c00 00 6209 00 00000000 e8dcee3c" + adv, "Kind=6 Access=2391391958 Channel=37 CRC=1 Header=2368 |1514131211c4020106", 30},
		{"PPI, data", wire.LinkPPI, 0, "00 00 1800 fb000000 3675 0c00 00 6609 00 00000000 e8dcee3c" + data, "Kind=7 Start=true Access=1352360308 Channel=1 Header=1802 |03000400020f02", 30},
		{"PPI, aligned fields", wire.LinkPPI, 0, "00 01 2000 93000000 0100 0100 55000000 3675 0c00 00 6609 00 00000000 e8dcee3c" + data, "Kind=7 Start=true Access=1352360308 Channel=1 Header=1802 |03000400020f02", 38},
		{"PPI of HCI", wire.LinkPPI, 1, "00 00 0800 bb000000 02 4020 0500 0100 0400 1e", "Kind=3 Received=true Handle=64 Start=true |010004001e", 13},
		{"PPI of Ethernet", wire.LinkPPI, 0, "00 00 0800 01000000", " ppi: DLT at byte 4: reserved value |", 0},
		{"PPI in PPI", wire.LinkPPI, 0, "00 00 0800 c0000000 00 00 0800 93000000", " ppi: DLT at byte 4: reserved value |", 0},
		{"PPI version 1", wire.LinkPPI, 0, "01 00 0800 93000000", " ppi: Version at byte 0: reserved value |", 0},
		{"PPI longer than the frame", wire.LinkPPI, 0, "00 00 0900 93000000", " ppi: Length at byte 2: truncated |", 0},
		{"PPI cut", wire.LinkPPI, 0, "00 00 0800", " ppi: Header at byte 0: truncated |", 0},

		{"user 0 is not LE by itself", wire.LinkUser0, 0, adv, " link: type at byte 0: reserved value |", 0},
	}
}

func TestDecode(t *testing.T) {
	var p Packet
	for _, tt := range frames(t) {
		p.Decode(tt.link, tt.flags, unhex(t, tt.hex))
		got := show(&p)
		if strings.TrimSpace(got) != strings.TrimSpace(tt.want) || p.Off != tt.off {
			t.Errorf("%s:\n got %s at %d\nwant %s at %d", tt.name, got, p.Off, tt.want, tt.off)
		}
		if Reads(tt.link) == (tt.link == wire.LinkUser0) {
			t.Errorf("%s: Reads", tt.name)
		}
	}
	if Reads(wire.LinkEthernet) {
		t.Error("Ethernet is read")
	}
}

func TestChannels(t *testing.T) {
	seen := map[uint8]int{}
	for rf := range 40 {
		seen[rfChannel(rf)] = rf
	}
	for channel, rf := range map[uint8]int{37: 0, 0: 1, 10: 11, 38: 12, 11: 13, 36: 38, 39: 39} {
		if seen[channel] != rf {
			t.Errorf("channel %d is RF channel %d, not %d", channel, rf, seen[channel])
		}
	}
	if len(seen) != 40 || rfChannel(40) != NoChannel || rfChannel(-1) != NoChannel {
		t.Errorf("%v", seen)
	}
}

// What AppendRadio and AppendAir write is what Decode reads.
func TestAppendRadio(t *testing.T) {
	var p Packet
	for channel := range uint8(40) {
		for _, from := range []Side{Central, Peripheral} {
			for _, decrypted := range []bool{false, true} {
				b := AppendAir(AppendRadio(nil, channel, -60, from, decrypted), connect.Access, connect.CRCInit, AppendData(nil, LLIDStart, 1<<3, []byte{1, 0, 4, 0, 0x1e}))
				p.Decode(radio, 0, b)
				if p.Kind != LLData || p.Channel != channel || p.RSSI != -60 || p.From != from || p.CRC != GoodCRC || p.Decrypted != decrypted || p.MICGood != decrypted ||
					!p.Start || p.LLID() != LLIDStart || p.check(connect.CRCInit) != GoodCRC || len(p.Payload) != 5 || p.Fault.Err != nil {
					t.Fatalf("%s", show(&p))
				}
			}
		}
		p.Decode(radio, 0, AppendAir(AppendRadio(nil, channel, -60, UnknownSide, false), AdvertisingAccess, advertisingCRC, (&Advertisement{Advertiser: static}).AppendPDU(nil)))
		if p.Kind != LLAdvertising || p.Code != AdvNonconnInd || p.From != UnknownSide {
			t.Fatalf("%s", show(&p))
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	var p Packet
	for _, tt := range frames(t) {
		b := unhex(t, tt.hex)
		p.Decode(tt.link, tt.flags, b) // three-wire UART makes room once
		if n := testing.AllocsPerRun(10, func() { p.Decode(tt.link, tt.flags, b) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range frames(f) {
		f.Add(uint16(tt.link), tt.flags, unhex(f, tt.hex))
	}
	var p, again Packet
	f.Fuzz(func(t *testing.T, link uint16, flags uint32, b []byte) {
		p.Decode(wire.LinkType(link), flags, b)
		again.Decode(wire.LinkType(link), flags, bytes.Clone(b))
		if show(&p) != show(&again) || p.Off != again.Off {
			t.Fatal("twice the same input, two results")
		}
		if p.Off > len(b) || p.Fault.Off > len(b) {
			t.Fatalf("Off %d, Fault.Off %d of %d", p.Off, p.Fault.Off, len(b))
		}
		for _, in := range [][]byte{p.Payload, p.air} {
			if len(in) > 0 && !inside(in, b) && !inside(in, p.scratch[:cap(p.scratch)]) {
				t.Fatal("slices outside the input")
			}
		}
		if cap(p.Payload) > len(p.Payload) && p.Fault.Err == nil {
			t.Fatal("somebody can append into the neighbour")
		}
	})
}

func inside(in, b []byte) bool {
	i, o := uintptr(unsafe.Pointer(unsafe.SliceData(in))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return i >= o && i+uintptr(len(in)) <= o+uintptr(cap(b))
}
