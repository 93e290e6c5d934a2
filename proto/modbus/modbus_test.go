// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package modbus

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// The PDUs are the examples of V1.1b3, behind an MBAP header.
var pdus = []struct {
	where, request, response string
}{
	{"6.1 Read Coils", "01 0013 0013", "01 03 cd6b05"},
	{"6.2 Read Discrete Inputs", "02 00c4 0016", "02 03 acdb35"},
	{"6.3 Read Holding Registers", "03 006b 0003", "03 06 022b00000064"},
	{"6.4 Read Input Registers", "04 0008 0001", "04 02 000a"},
	{"6.5 Write Single Coil", "05 00ac ff00", "05 00ac ff00"},
	{"6.6 Write Single Register", "06 0001 0003", "06 0001 0003"},
	{"6.7 Read Exception Status", "07", "07 6d"},
	{"6.8 Diagnostics", "08 0000 a537", "08 0000 a537"},
	{"6.9 Get Comm Event Counter", "0b", "0b ffff 0108"},
	{"6.10 Get Comm Event Log", "0c", "0c 08 0000 0108 0121 2000"},
	{"6.11 Write Multiple Coils", "0f 0013 000a 02 cd01", "0f 0013 000a"},
	{"6.12 Write Multiple registers", "10 0001 0002 04 000a 0102", "10 0001 0002"},
	{"6.13 Report Server ID", "11", "11 02 01ff"},
	{"6.14 Read File Record", "14 0e 06 0004 0001 0002 06 0003 0009 0002", "14 0c 05 06 0dfe 0020 05 06 33cd 0040"},
	{"6.15 Write File Record", "15 0d 06 0004 0007 0003 06af 04be 100d", "15 0d 06 0004 0007 0003 06af 04be 100d"},
	{"6.16 Mask Write Register", "16 0004 00f2 0025", "16 0004 00f2 0025"},
	{"6.17 Read/Write Multiple registers", "17 0003 0006 000e 0003 06 00ff 00ff 00ff", "17 0c 00fe 0acd 0001 0003 000d 00ff"},
	{"6.18 Read FIFO Queue", "18 04de", "18 0006 0002 01b8 1284"},
	{"6.21 Read Device Identification", "2b 0e 01 00", "2b 0e 01 01 00 00 03 00 05 4e6f727261 01 04 466c3530 02 05 56322e3131"},
	{"7 exception", "01 04a1 0001", "81 02"},
}

func adu(t testing.TB, pdu string) []byte {
	p := unhex(t, pdu)
	return append([]byte{0x15, 0x01, 0, 0, 0, byte(len(p) + 1), 0xff}, p...)
}

func TestParse(t *testing.T) {
	for _, tt := range pdus {
		for i, pdu := range []string{tt.request, tt.response} {
			b := adu(t, pdu)
			a, n, err := Parse(append(b, 0x15))
			if err != nil || n != len(b) || a.TransactionID != 0x1501 || a.UnitID != 0xff || !bytes.Equal(a.Data, b[8:]) {
				t.Errorf("%s: %+v in %d bytes, %v", tt.where, a, n, err)
				continue
			}
			if !a.Function.Public() || i == 0 && !a.FitsRequest() || i == 1 && !a.FitsResponse() {
				t.Errorf("%s: %s does not fit", tt.where, pdu)
			}
			if got := Recognise(b); got != wire.SureMatch {
				t.Errorf("%s: %s matches %v", tt.where, pdu, got)
			}
			for cut := range len(b) {
				if _, n, err := Parse(b[:cut]); n != 0 || !errors.Is(err, wire.ErrTruncated) {
					t.Errorf("%s: cut at %d: %d, %v", tt.where, cut, n, err)
				}
				want := wire.NeedMore
				if cut > 0 && cut < 3 {
					want = wire.NoMatch
				}
				if got := Recognise(b[:cut]); got != want {
					t.Errorf("%s: cut at %d matches %v", tt.where, cut, got)
				}
			}
			if a.Function == Diagnostics || a.Function == EncapsulatedInterface || a.Exception {
				continue // open at the end
			}
			a.Data = append(bytes.Clone(a.Data), 0)
			if i == 0 && a.FitsRequest() || i == 1 && a.FitsResponse() {
				t.Errorf("%s: %s fits with a byte more", tt.where, pdu)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hex, field string
		off              int
		err              error
	}{
		{"protocol 1", "0001 0001 0006 01 03 0000 0001", "Protocol Identifier", 2, wire.ErrReserved},
		{"length 0", "0001 0000 0000 01 03 0000 0001", "Length", 4, wire.ErrInvalid},
		{"length 1", "0001 0000 0001 01 03 0000 0001", "Length", 4, wire.ErrInvalid},
		{"length 255", "0001 0000 00ff 01 03 0000 0001", "Length", 4, wire.ErrTooLong},
		{"length 65535", "0001 0000 ffff 01 03 0000 0001", "Length", 4, wire.ErrTooLong},
		{"function 0", "0001 0000 0002 01 00", "Function code", 7, wire.ErrInvalid},
		{"function 0 refused", "0001 0000 0002 01 80", "Function code", 7, wire.ErrInvalid},
	} {
		b := unhex(t, tt.hex)
		_, n, err := Parse(b)
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || n != 0 || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := Recognise(b); got != wire.NoMatch {
			t.Errorf("%s: matches %v", tt.name, got)
		}
	}
	b := append([]byte{0, 1, 0, 0, 0, 254, 1, 65}, make([]byte, 252)...)
	if a, n, err := Parse(b); err != nil || n != 260 || len(a.Data) != 252 {
		t.Errorf("longest: %d, %v", n, err)
	}
}

func TestShapes(t *testing.T) {
	for _, tt := range []struct {
		name, pdu         string
		request, response bool
		match             wire.Match
	}{
		{"count beyond", "03 06 0001", false, false, wire.NoMatch},
		{"count short", "10 0001 0002 03 000a 0102", false, false, wire.NoMatch},
		{"exception 0", "83 00", false, false, wire.NoMatch},
		{"exception 12", "83 0c", false, false, wire.NoMatch},
		{"exception of two bytes", "83 01 02", false, false, wire.NoMatch},
		{"user-defined", "41 01020304", true, true, wire.WeakMatch},
		{"FIFO count beyond", "18 0007 0002 01b8 1284", false, false, wire.NoMatch},
	} {
		b := adu(t, tt.pdu)
		a, _, err := Parse(b)
		if (a.Check() == nil) != (tt.request || tt.response) {
			t.Errorf("%s: checked %v", tt.name, a.Check())
		}
		if err != nil || a.FitsRequest() != tt.request || a.FitsResponse() != tt.response || Recognise(b) != tt.match {
			t.Errorf("%s: request %v, response %v, match %v, %v", tt.name, a.FitsRequest(), a.FitsResponse(), Recognise(b), err)
		}
	}
}

func TestDeviceID(t *testing.T) {
	show := func(d *DeviceID) (s string) {
		for o := range d.Objects() {
			s += fmt.Sprintf("%d=%s ", o.ID, o.Value)
		}
		return s
	}
	a, _, err := Parse(adu(t, "2b 0e 01 01 00 00 03 00 05 4e6f727261 01 04 466c3530 02 05 56322e3131"))
	var d DeviceID
	if err != nil || !a.IsDeviceID() || d.Parse(a.Data) != nil || show(&d) != "0=Norra 1=Fl50 2=V2.11 " || d.MoreFollows {
		t.Errorf("%s, %+v, %v", show(&d), d, err)
	}
	if a, _, _ := Parse(adu(t, "2b 0e 01 00")); a.IsDeviceID() {
		t.Error("a request is taken for a response")
	}
	for name, h := range map[string]string{
		"another interface":    "0d 01 01 00 00 00",
		"more follows 1":       "0e 01 01 01 00 00",
		"no objects announced": "0e 01 01 00 00 00 00 01 61",
		"object missing":       "0e 01 01 00 00 02 00 01 61",
		"value cut":            "0e 01 01 00 00 01 00 02 61",
		"header cut":           "0e 01 01 00",
		"nothing":              "",
	} {
		if d.Parse(unhex(t, h)) == nil || show(&d) != "" {
			t.Errorf("%s: parsed", name)
		}
	}
}

func TestRecognise(t *testing.T) {
	pipelined := append(adu(t, "03 006b 0003"), adu(t, "03 006b 0003")...)
	if got := Recognise(pipelined); got != wire.SureMatch {
		t.Errorf("two requests: %v", got)
	}
	if got := Recognise(pipelined[:15]); got != wire.SureMatch {
		t.Errorf("a request and the front of another: %v", got)
	}
	if got := Recognise(append(pipelined[:12:12], "else"...)); got != wire.NoMatch {
		t.Errorf("a request and something else: %v", got)
	}
	for name, h := range map[string]string{
		"SMB":           "00000055 ff534d42 72000000",
		"zeros":         "00000000 00000000 00000000",
		"DNS over TCP":  "001d 1234 0100 0001 0000 0000 0000",
		"RPC over TCP":  "80000028 00000001 00000000",
		"TPKT":          "0300002102f08072020012331000006e",
		"little-endian": "0c000000 01000000 00000000",
		"text":          "5353482d322e302d",
	} {
		if got := Recognise(unhex(t, h)); got != wire.NoMatch {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAllocations(t *testing.T) {
	b := adu(t, "2b 0e 01 01 00 00 03 00 05 4e6f727261 01 04 466c3530 02 05 56322e3131")
	var d DeviceID
	if n := testing.AllocsPerRun(100, func() {
		a, _, _ := Parse(b)
		_ = d.Parse(a.Data)
		for o := range d.Objects() {
			_ = o.ID
		}
		Recognise(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range pdus {
		f.Add(adu(f, tt.request))
		f.Add(adu(f, tt.response))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		Recognise(b)
		a, n, err := Parse(b)
		again, m, err2 := Parse(b)
		if n != m || (err == nil) != (err2 == nil) || !bytes.Equal(a.Data, again.Data) {
			t.Fatal("twice the same input, two results")
		}
		if err != nil {
			return
		}
		if n < 8 || n > min(len(b), 260) || len(a.Data) != n-8 || cap(a.Data) != len(a.Data) {
			t.Fatalf("%d bytes, of which %d data", n, len(a.Data))
		}
		a.FitsRequest()
		a.FitsResponse()
		var d DeviceID
		if d.Parse(a.Data) == nil {
			total := 6
			for o := range d.Objects() {
				total += 2 + len(o.Value)
			}
			if total != len(a.Data) {
				t.Fatalf("objects of %d in %d bytes", total, len(a.Data))
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := adu(b, "03 06 022b00000064")
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecognise(b *testing.B) {
	in := adu(b, "03 06 022b00000064")
	for b.Loop() {
		Recognise(in)
	}
}
