// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// A refusal is an input that a parser refuses, and how.
type refusal struct {
	name, hex, field string
	off              int
	err              error
}

func checkRefusals(t *testing.T, all []refusal, parse func(b []byte) error) {
	t.Helper()
	for _, tt := range all {
		err := parse(unhex(t, tt.hex))
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s at %d: %v", tt.name, err, tt.field, tt.off, tt.err)
		}
	}
}

// checkForm checks that a PDU means want, and is written so again.
func checkForm[T any](t *testing.T, name string, pdu []byte, want T, parse func(*T) error, write func(*T) []byte) {
	t.Helper()
	var got T
	if err := parse(&got); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	if again := write(&got); !bytes.Equal(again, pdu) {
		t.Errorf("%s: written again:\n%x\n%x", name, again, pdu)
	}
}

func showATT(a *ATT) string {
	s := fmt.Sprintf("%#02x handle %d-%d offset %d mtu %d error %#02x of %#02x size %d flags %d type %x value %x signature %x",
		uint8(a.Opcode), a.Handle, a.End, a.Offset, a.MTU, a.Error, uint8(a.Request), a.Size, a.Flags, a.Type, a.Value, a.Signature)
	for e := range a.Attributes() {
		s += fmt.Sprintf(" [%d-%d %x]", e.Handle, e.End, e.Value)
	}
	return s
}

// The layouts are those of Vol 3 Part F section 3.4, written out by hand.
var attPDUs = []struct {
	name, hex string
	want      ATT
	list      string
}{
	{"error", "01 0a 1500 05", ATT{Opcode: ErrorResponse, Request: ReadRequest, Handle: 21, Error: InsufficientAuthentication}, ""},
	{"MTU request", "02 0f02", ATT{Opcode: ExchangeMTURequest, MTU: 527}, ""},
	{"MTU response", "03 1700", ATT{Opcode: ExchangeMTUResponse, MTU: 23}, ""},
	{"find information", "04 0100 ffff", ATT{Opcode: FindInformationRequest, Handle: 1, End: 0xffff}, ""},
	{"information, short UUIDs", "05 01 0100 0028 0200 0328", ATT{Opcode: FindInformationResponse, Size: 1, Value: []byte{1, 0, 0, 0x28, 2, 0, 3, 0x28}}, "[1-0 0028][2-0 0328]"},
	{
		"information, long UUID", "05 02 0900 000102030405060708090a0b0c0d0e0f",
		ATT{Opcode: FindInformationResponse, Size: 2, Value: []byte{9, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		"[9-0 000102030405060708090a0b0c0d0e0f]",
	},
	{"find by value", "06 0100 ffff 0028 3a18", ATT{Opcode: FindByTypeValueRequest, Handle: 1, End: 0xffff, Type: []byte{0, 0x28}, Value: []byte{0x3a, 0x18}}, ""},
	{"found by value", "07 0a00 1f00 2000 2f00", ATT{Opcode: FindByTypeValueResponse, Value: []byte{10, 0, 31, 0, 32, 0, 47, 0}}, "[10-31 ][32-47 ]"},
	{"read by type", "08 0100 ffff 0328", ATT{Opcode: ReadByTypeRequest, Handle: 1, End: 0xffff, Type: []byte{3, 0x28}}, ""},
	{
		"read by long type", "08 0100 0200 000102030405060708090a0b0c0d0e0f",
		ATT{Opcode: ReadByTypeRequest, Handle: 1, End: 2, Type: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		"",
	},
	{"by type", "09 07 0200 12 0300 252b", ATT{Opcode: ReadByTypeResponse, Size: 7, Value: []byte{2, 0, 0x12, 3, 0, 0x25, 0x2b}}, "[2-0 120300252b]"},
	{"read", "0a 0300", ATT{Opcode: ReadRequest, Handle: 3}, ""},
	{"value", "0b 55aa", ATT{Opcode: ReadResponse, Value: []byte{0x55, 0xaa}}, ""},
	{"no value", "0b", ATT{Opcode: ReadResponse, Value: []byte{}}, ""},
	{"read on", "0c 0300 1600", ATT{Opcode: ReadBlobRequest, Handle: 3, Offset: 22}, ""},
	{"rest of the value", "0d 01", ATT{Opcode: ReadBlobResponse, Value: []byte{1}}, ""},
	{"read several", "0e 0300 0500", ATT{Opcode: ReadMultipleRequest, Value: []byte{3, 0, 5, 0}}, "[3-0 ][5-0 ]"},
	{"several", "0f 0102", ATT{Opcode: ReadMultipleResponse, Value: []byte{1, 2}}, ""},
	{"read by group", "10 0100 ffff 0028", ATT{Opcode: ReadByGroupTypeRequest, Handle: 1, End: 0xffff, Type: []byte{0, 0x28}}, ""},
	{"by group", "11 06 0100 0900 0018 0a00 1400 3a18", ATT{Opcode: ReadByGroupTypeResponse, Size: 6, Value: []byte{1, 0, 9, 0, 0, 0x18, 10, 0, 20, 0, 0x3a, 0x18}}, "[1-9 0018][10-20 3a18]"},
	{"write", "12 0400 0200", ATT{Opcode: WriteRequest, Handle: 4, Value: []byte{2, 0}}, ""},
	{"written", "13", ATT{Opcode: WriteResponse}, ""},
	{"prepare", "16 0400 1200 aa", ATT{Opcode: PrepareWriteRequest, Handle: 4, Offset: 18, Value: []byte{0xaa}}, ""},
	{"prepared", "17 0400 1200 aa", ATT{Opcode: PrepareWriteResponse, Handle: 4, Offset: 18, Value: []byte{0xaa}}, ""},
	{"execute", "18 01", ATT{Opcode: ExecuteWriteRequest, Flags: 1}, ""},
	{"executed", "19", ATT{Opcode: ExecuteWriteResponse}, ""},
	{"notification", "1b 0900 0055", ATT{Opcode: HandleValueNotification, Handle: 9, Value: []byte{0, 0x55}}, ""},
	{"indication", "1d 0900", ATT{Opcode: HandleValueIndication, Handle: 9, Value: []byte{}}, ""},
	{"confirmation", "1e", ATT{Opcode: HandleValueConfirmation}, ""},
	{"read several of any size", "20 0300 0500", ATT{Opcode: ReadMultipleVariableRequest, Value: []byte{3, 0, 5, 0}}, "[3-0 ][5-0 ]"},
	{"several of any size", "21 0100 aa 0400 bbcc", ATT{Opcode: ReadMultipleVariableResponse, Value: []byte{1, 0, 0xaa, 4, 0, 0xbb, 0xcc}}, "[0-0 aa][0-0 bbcc]"},
	{"notifications", "23 0900 0100 aa 0b00 0000", ATT{Opcode: MultipleHandleValueNotification, Value: []byte{9, 0, 1, 0, 0xaa, 11, 0, 0, 0}}, "[9-0 aa][11-0 ]"},
	{"write without answer", "52 0400 0f99", ATT{Opcode: WriteCommand, Handle: 4, Value: []byte{15, 0x99}}, ""},
	{
		"signed write", "d2 0400 77 000102030405060708090a0b",
		ATT{Opcode: SignedWriteCommand, Handle: 4, Value: []byte{0x77}, Signature: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		"",
	},
}

func TestATT(t *testing.T) {
	for _, tt := range attPDUs {
		b := unhex(t, tt.hex)
		var a ATT
		if err := a.Parse(b); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := showATT(&tt.want)
		if got := showATT(&a); got != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, want)
		}
		list := ""
		for e := range a.Attributes() {
			list += fmt.Sprintf("[%d-%d %x]", e.Handle, e.End, e.Value)
		}
		if list != tt.list {
			t.Errorf("%s: elements %s, want %s", tt.name, list, tt.list)
		}
		if again, err := a.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: appended again: %x, %v", tt.name, again, err)
		}
	}
}

func TestATTRefuses(t *testing.T) {
	checkRefusals(t, []refusal{
		{"nothing", "", "Attribute Opcode", 0, wire.ErrTruncated},
		{"opcode 0", "00", "Attribute Opcode", 0, wire.ErrReserved},
		{"opcode 0x14", "14 0100", "Attribute Opcode", 0, wire.ErrReserved},
		{"write command of another method", "4a 0100", "Attribute Opcode", 0, wire.ErrReserved},
		{"error cut", "01 0a 1500", "Error Code", 4, wire.ErrTruncated},
		{"error too long", "01 0a 1500 05 00", "Parameters", 5, wire.ErrTrailing},
		{"MTU cut", "02 17", "MTU", 1, wire.ErrTruncated},
		{"format 3", "05 03 0100 0028", "Format", 1, wire.ErrReserved},
		{"information of nothing", "05 01", "Information Data", 2, wire.ErrInvalid},
		{"information cut", "05 01 0100 00", "Information Data", 2, wire.ErrInvalid},
		{"type of three bytes", "08 0100 ffff 032800", "Attribute Type", 5, wire.ErrInvalid},
		{"elements of one byte", "09 01 00", "Length", 1, wire.ErrInvalid},
		{"elements cut", "09 07 0200 12", "Attribute Data List", 2, wire.ErrInvalid},
		{"group elements of three bytes", "11 03 010203", "Length", 1, wire.ErrInvalid},
		{"half a handle", "0e 03", "Set Of Handles", 1, wire.ErrInvalid},
		{"read too long", "0a 0300 00", "Parameters", 3, wire.ErrTrailing},
		{"write response with a value", "13 00", "Parameters", 1, wire.ErrTrailing},
		{"flags 2", "18 02", "Flags", 1, wire.ErrReserved},
		{"no notification", "23", "Handle Length Value Tuple List", 1, wire.ErrTruncated},
		{"notification cut", "23 0900 0200 aa", "Handle Length Value Tuple List", 1, wire.ErrTruncated},
		{"signature cut", "d2 0400 000102030405060708090a", "Authentication Signature", 3, wire.ErrTruncated},
	}, func(b []byte) error { return new(ATT).Parse(b) })
	for _, a := range []ATT{{}, {Opcode: WriteResponse, Value: []byte{1}}, {Opcode: ReadByTypeRequest}, {Opcode: SignedWriteCommand}} {
		if b, err := a.Append([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%v: %x, %v", a, b, err)
		}
	}
}

// Each opcode is of one side, and of those that ask and answer, one of both. The
// table of the specification has 31 (Vol 3 Part F section 3.4.8): none is missing.
func TestATTOpcodes(t *testing.T) {
	count, seen := map[string]int{}, map[ATTOpcode]bool{}
	for _, tt := range attPDUs {
		o := tt.want.Opcode
		seen[o] = true
		if o.Request() && !o.FromClient() || o.Response() && o.FromClient() || o.Request() && o.Response() {
			t.Errorf("%#x: request %v, response %v, of the client %v", uint8(o), o.Request(), o.Response(), o.FromClient())
		}
		if o.Request() {
			count["requests"]++
		} else if !o.Response() {
			count["neither"]++
		}
	}
	// The two list formats and the two type sizes are one more of each.
	if count["requests"] != 12+1 || count["neither"] != 6 || len(seen) != 31 {
		t.Errorf("%v of %d opcodes", count, len(seen))
	}
}

func FuzzATT(f *testing.F) {
	for _, tt := range attPDUs {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a, again ATT
		err := a.Parse(b)
		if err2 := again.Parse(b); (err == nil) != (err2 == nil) || showATT(&a) != showATT(&again) {
			t.Fatal("twice the same input, two results")
		}
		if len(a.Type)+len(a.Value)+len(a.Signature) > len(b) {
			t.Fatal("slices outside the input")
		}
		total := 0
		for e := range a.Attributes() {
			total += len(e.Value)
		}
		if total > len(b) {
			t.Fatal("more values than bytes")
		}
		if err == nil {
			if out, err := a.Append(nil); err != nil || !bytes.Equal(out, b) {
				t.Fatalf("%x came back as %x, %v", b, out, err)
			}
		}
	})
}
