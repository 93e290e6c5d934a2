// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/wire"
)

var (
	public     = Address{[6]byte{0x00, 0x1b, 0xdc, 0x01, 0x02, 0x03}, Public}
	static     = Address{[6]byte{0xc4, 0x11, 0x12, 0x13, 0x14, 0x15}, StaticRandom}
	resolvable = Address{[6]byte{0x5a, 0x21, 0x22, 0x23, 0x24, 0x25}, Resolvable}
	passing    = Address{[6]byte{0x2a, 0x31, 0x32, 0x33, 0x34, 0x35}, NonResolvable}
)

// The layouts are those of Vol 4 Part E section 7.7, header included.
var events = []struct {
	name, hex string
	want      Event
}{
	{"BR/EDR connection", "03 0b 00 0b00 0302 01dc1b00 01 00", Event{Code: EventConnectionComplete, Handle: 11, Data: []byte{3, 2, 1, 0xdc, 0x1b, 0, 1, 0}}},
	{"disconnected", "05 04 00 4000 13", Event{Code: EventDisconnectionComplete, Handle: 0x40, Reason: 0x13}},
	{"encrypted", "08 04 00 4000 01", Event{Code: EventEncryptionChange, Handle: 0x40, Enabled: 1}},
	{"not encrypted", "08 04 06 4000 00", Event{Code: EventEncryptionChange, Status: 6, Handle: 0x40}},
	{"encrypted, version 2", "59 05 00 4000 01 10", Event{Code: EventEncryptionChange2, Handle: 0x40, Enabled: 1, KeySize: 16}},
	{"key refreshed", "30 03 00 4000", Event{Code: EventEncryptionKeyRefresh, Handle: 0x40}},
	{"address", "0e 0a 01 0910 00 030201dc1b00", Event{Code: EventCommandComplete, Opcode: CommandReadBDADDR, Data: []byte{3, 2, 1, 0xdc, 0x1b, 0}}},
	{
		"connection", "3e 13 01 00 4000 00 01 1514131211c4 2400 0000 f401 00",
		Event{Code: EventLEConnectionComplete, Handle: 0x40, Local: Central, Peer: static, Interval: 36, Timeout: 500},
	},
	{
		"enhanced connection", "3e 1f 0a 00 4000 01 00 030201dc1b00 25242322215a 000000000000 1800 0100 f401 00",
		Event{Code: EventLEEnhancedConnection, Handle: 0x40, Local: Peripheral, Peer: public, LocalRPA: resolvable, Interval: 24, Latency: 1, Timeout: 500},
	},
	{
		"resolved connection, version 2", "3e 22 29 00 4000 00 03 1514131211c4 000000000000 25242322215a 1800 0000 f401 00 ff ffff",
		Event{Code: EventLEEnhancedConnection2, Handle: 0x40, Local: Central, Peer: static, Identity: true, PeerRPA: resolvable, Interval: 24, Timeout: 500},
	},
	{"long-term key asked for", "3e 0d 05 4000 0807060504030201 3412", Event{Code: EventLELongTermKeyRequest, Handle: 0x40, Rand: 0x0102030405060708, EDIV: 0x1234}},
	{"another", "13 05 01 4000 0100", Event{Code: 0x13, Data: []byte{1, 0x40, 0, 1, 0}}},
	{"another subevent", "3e 03 14 4000", Event{Code: 0x143e, Data: []byte{0x40, 0}}},
}

func TestEvent(t *testing.T) {
	for _, tt := range events {
		b := unhex(t, tt.hex)
		checkForm(t, tt.name, b, tt.want, func(e *Event) error { return e.Parse(uint16(b[0]), b[2:]) }, func(e *Event) []byte { return e.Append(nil) })
	}
}

func TestEventRefuses(t *testing.T) {
	parse := func(b []byte) error { return new(Event).Parse(uint16(b[0]), b[1:]) }
	checkRefusals(t, []refusal{
		{"no subevent", "3e", "Subevent_Code", 0, wire.ErrTruncated},
		{"disconnection cut", "05 00 4000", "Reason", 3, wire.ErrTruncated},
		{"encryption cut", "08 00 40", "Connection_Handle", 1, wire.ErrTruncated},
		{"role 2", "3e 01 00 4000 02 01 1514131211c4 2400 0000 f401 00", "Role", 5, wire.ErrReserved},
		{"connection cut", "3e 01 00 4000 00 01 1514131211c4 2400 0000 f401", "Central_Clock_Accuracy", 18, wire.ErrTruncated},
		{"key request cut", "3e 05 4000 0807060504030201 34", "Encrypted_Diversifier", 11, wire.ErrTruncated},
	}, parse)
}

// The layouts are those of Vol 4 Part E sections 7.3, 7.4 and 7.8.
var commands = []struct {
	name, hex string
	want      Command
}{
	{"reset", "030c 00", Command{Opcode: CommandReset, Data: []byte{}}},
	{"random address", "0520 06 1514131211c4", Command{Opcode: CommandLESetRandomAddress, Address: static}},
	{"random address of a set", "3520 07 01 1514131211c4", Command{Opcode: CommandLESetAdvertisingRandom, Handle: 1, Address: static}},
	{"advertising", "0620 0f 6000 6000 00 01 00 000000000000 07 00", Command{Opcode: CommandLESetAdvertising, Own: 1}},
	{"extended advertising", "3620 19 01 0100 600000 600000 07 02 00 000000000000 00 7f 01 00 01 00 00", Command{Opcode: CommandLESetExtAdvertising, Handle: 1, Own: 2}},
	{"scan", "0b20 07 01 6000 3000 01 00", Command{Opcode: CommandLESetScan, Own: 1}},
	{"extended scan", "4120 08 01 00 01 01 6000 3000", Command{Opcode: CommandLESetExtScan, Own: 1}},
	{"connect", "0d20 19 6000 3000 00 01 1514131211c4 01 1800 2800 0000 f401 0000 0000", Command{Opcode: CommandLECreateConnection, Address: static, Own: 1}},
	{"extended connect", "4320 1a 00 01 00 030201dc1b00 01 6000 3000 1800 2800 0000 f401 0000 0000", Command{Opcode: CommandLEExtCreateConnection, Address: public, Own: 1}},
	{"extended connect, version 2", "8520 1c ffff 00 00 00 030201dc1b00 01 6000 3000 1800 2800 0000 f401 0000 0000", Command{Opcode: CommandLEExtCreateConnection2, Address: public}},
	{"encrypt", "1920 1c 4000 0807060504030201 3412" + sixteen, Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Rand: 0x0102030405060708, EDIV: 0x1234}},
	{"resolving list", "2720 27 01 1514131211c4" + sixteen + sixteen, Command{Opcode: CommandLEAddResolving, Address: static}},
	{"long-term key", "1a20 12 4000" + sixteen, Command{Opcode: CommandLELongTermKeyReply, Handle: 0x40}},
	{"no long-term key", "1b20 02 4000", Command{Opcode: CommandLELongTermKeyNegative, Handle: 0x40}},
}

func TestCommand(t *testing.T) {
	for _, tt := range commands {
		b := unhex(t, tt.hex)
		if tt.want.Opcode == CommandLEAddResolving {
			tt.want.Data = unhex(t, sixteen)
		}
		if tt.want.Opcode == CommandLEAddResolving || tt.want.Opcode == CommandLEEnableEncryption || tt.want.Opcode == CommandLELongTermKeyReply {
			tt.want.Key = b[len(b)-16:]
		}
		opcode := uint16(b[0]) | uint16(b[1])<<8
		checkForm(t, tt.name, b, tt.want, func(m *Command) error { return m.Parse(opcode, b[3:]) }, func(m *Command) []byte { return m.Append(nil) })
	}
	if err := new(Command).Parse(CommandLEEnableEncryption, make([]byte, 27)); err == nil {
		t.Error("a key of fifteen bytes is one")
	}
}

// FuzzHCI holds events, commands and advertising reports to what is said of all
// parsers. What is appended means the same, though parameters that are not read
// are others.
func FuzzHCI(f *testing.F) {
	for _, tt := range events {
		b := unhex(f, tt.hex)
		f.Add(uint16(b[0]), b[2:])
	}
	for _, tt := range commands {
		b := unhex(f, tt.hex)
		f.Add(uint16(b[0])|uint16(b[1])<<8, b[3:])
	}
	for _, tt := range reports {
		b := unhex(f, tt.hex)
		f.Add(uint16(b[0]), b[2:])
	}
	f.Fuzz(func(t *testing.T, code uint16, b []byte) {
		if len(b) > 255 {
			return
		}
		var e, again Event
		if e.Parse(code&0xff, b) == nil {
			out := e.Append(nil)
			noStatus := e.Code == EventCommandComplete && len(b) == 3 // of no command nothing returns
			if err := again.Parse(uint16(out[0]), out[2:]); err != nil || !cmp.Equal(e, again) && !noStatus {
				t.Fatalf("event %x: %v\n%s", b, err, cmp.Diff(e, again))
			}
		}
		switch e.Code {
		case EventLEAdvertisingReport, EventLEDirectAdvertisingReport, EventLEExtendedAdvertising:
			r := NewReports(&e)
			var a, b Advertisement
			for r.Next(&a) {
				if e.Code == EventLEDirectAdvertisingReport || !sensible(&a) {
					continue
				}
				var one Event
				out := a.AppendReport(nil)
				if err := one.Parse(uint16(out[0]), out[2:]); err != nil {
					t.Fatal(err)
				}
				if s := NewReports(&one); !s.Next(&b) || s.Next(&a) || !cmp.Equal(a, b) {
					t.Fatalf("report %x: %v\n%s", out, s.Err(), cmp.Diff(a, b))
				}
			}
		}
		var m, n Command
		if m.Parse(code, b) == nil {
			out := m.Append(nil)
			if err := n.Parse(code, out[3:]); err != nil || !cmp.Equal(m, n) {
				t.Fatalf("command %x: %v\n%s", b, err, cmp.Diff(m, n))
			}
		}
	})
}

// sensible reports whether a legacy report could be: in one of extended
// advertising all flags are free.
func sensible(a *Advertisement) bool {
	return a.Extended || !a.HasADI && a.Target.Kind == NoAddress && !a.More && !a.Incomplete && (!a.ScanResponse || !a.Connectable && !a.Scannable)
}
