// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package bacnet

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// text is a character string parameter: tag, extended length, UTF-8.
func text(s string) string { return fmt.Sprintf("75%02x00%x", len(s)+1, s) }

// behind puts an NPDU and an APDU behind the BVLC header of a unicast.
func behind(t testing.TB, npdu string) []byte {
	b := unhex(t, npdu)
	return append([]byte{0x81, 0x0a, byte((len(b) + 4) >> 8), byte(len(b) + 4)}, b...)
}

var packets = []struct {
	name, hex, want string
	match           wire.Match
}{
	{"Who-Is to everybody", "810b 000c 01 20 ffff 00 ff 1008", "b reply=false to ffff/ from 0/ |1008", wire.SureMatch},
	{"I-Am", "810b 0019 01 20 ffff 00 ff 1000 c402000000 2205c4 9103 220104", "b reply=false to ffff/ from 0/ |1000c4020000002205c49103220104", wire.SureMatch},
	{"ReadProperty", "810a 0011 01 04 0005010c 0c023fffff 194b", "a reply=true to 0/ from 0/ |0005010c0c023fffff194b", wire.SureMatch},
	{"from behind a router", "810a 000e 01 08 0005 01 0a 30010c00", "a reply=false to 0/ from 5/0a |30010c00", wire.SureMatch},
	{"forwarded", "8104 0012 0a140301 bac0 01 20 ffff 00 ff 1008", "4 reply=false to ffff/ from 0/ |1008", wire.SureMatch},
	{"I-Am-Router-To-Network", "810b 000d 01 a0 ffff 00 ff 01 0000", "b reply=false to ffff/ from 0/ message 1|0000", wire.SureMatch},
	{"result", "8100 0006 0000", "0 none", wire.WeakMatch},
	{"register foreign device", "8105 0006 003c", "5 none", wire.WeakMatch},
}

func show(p *Packet) string {
	if !p.HasNPDU {
		return fmt.Sprintf("%x none", p.Function)
	}
	message := ""
	if p.NetworkMessage {
		message = fmt.Sprintf("message %d", p.MessageType)
	}
	return fmt.Sprintf("%x reply=%v to %x/%x from %x/%x %s|%x", p.Function, p.ExpectingReply, p.DNET, p.DADR, p.SNET, p.SADR, message, p.APDU)
}

func TestParse(t *testing.T) {
	for _, tt := range packets {
		b := unhex(t, tt.hex)
		var p Packet
		if err := p.Parse(b); err != nil || show(&p) != tt.want {
			t.Errorf("%s: %s, %v\nwant %s", tt.name, show(&p), err, tt.want)
		}
		if got := RecogniseDatagram(b); got != tt.match {
			t.Errorf("%s: match %v", tt.name, got)
		}
		if p.Parse(append(b, 0)) == nil {
			t.Errorf("%s: a byte more is accepted", tt.name)
		}
		for cut := range b {
			if err := p.Parse(b[:cut]); !errors.Is(err, wire.ErrTruncated) {
				t.Errorf("%s: cut at %d: %v", tt.name, cut, err)
			}
			if RecogniseDatagram(b[:cut]) != wire.NoMatch {
				t.Errorf("%s: cut at %d recognised", tt.name, cut)
			}
		}
	}
	for _, tt := range []struct {
		name, hex, field string
		off              int
		err              error
	}{
		{"BACnet/IPv6", "820a 0008 01 00 1008", "BVLC Type", 0, wire.ErrInvalid},
		{"function 13", "810d 0008 01 00 1008", "BVLC Function", 1, wire.ErrReserved},
		{"length below the header", "810a 0003 01 00 1008", "BVLC Length", 2, wire.ErrTrailing},
		{"version 2", "810a 0008 02 00 1008", "Version", 4, wire.ErrReserved},
		{"reserved control", "810a 0008 01 40 1008", "Control", 5, wire.ErrReserved},
		{"source network 0", "810a 000c 01 08 0000 01 0a 1008", "SNET", 6, wire.ErrInvalid},
		{"source everywhere", "810a 000c 01 08 ffff 01 0a 1008", "SNET", 6, wire.ErrInvalid},
		{"source without address", "810a 000b 01 08 0001 00 1008", "SNET", 6, wire.ErrInvalid},
		{"destination cut", "810a 0009 01 20 ffff 02", "DADR", 9, wire.ErrTruncated},
		{"no hop count", "810a 0009 01 20 ffff 00", "Hop Count", 9, wire.ErrTruncated},
		{"no vendor", "810a 0007 01 80 80", "Vendor ID", 7, wire.ErrTruncated},
	} {
		var p Packet
		err := p.Parse(unhex(t, tt.hex))
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s at %d", tt.name, err, tt.field, tt.off)
		}
	}
}

func TestAPDU(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want APDU
	}{
		{"00 05 01 0c 0c", APDU{Type: ConfirmedRequest, InvokeID: 1, Service: ReadProperty, Data: []byte{0x0c}}},
		{"08 05 01 00 04 0c 0c", APDU{Type: ConfirmedRequest, Segmented: true, InvokeID: 1, Service: ReadProperty, Data: []byte{0x0c}}},
		{"10 08", APDU{Type: UnconfirmedRequest, Service: WhoIs, Data: []byte{}}},
		{"20 07 0f", APDU{Type: SimpleACK, InvokeID: 7, Service: WriteProperty, Data: []byte{}}},
		{"30 07 0c 0c", APDU{Type: ComplexACK, InvokeID: 7, Service: ReadProperty, Data: []byte{0x0c}}},
		{"3c 07 01 04 0e 0c", APDU{Type: ComplexACK, Segmented: true, InvokeID: 7, Service: ReadPropertyMultiple, Data: []byte{0x0c}}},
		{"40 07 01 04", APDU{Type: SegmentACK, InvokeID: 7, Data: []byte{}}},
		{"50 01 0c 9100 9100", APDU{Type: Error, InvokeID: 1, Service: ReadProperty, Data: []byte{0x91, 0, 0x91, 0}}},
		{"60 01 09", APDU{Type: Reject, InvokeID: 1, Reason: 9, Data: []byte{}}},
		{"71 01 04", APDU{Type: Abort, InvokeID: 1, Reason: 4, Data: []byte{}}},
	} {
		var a APDU
		b := unhex(t, tt.hex)
		if err := a.Parse(b); err != nil || fmt.Sprint(a) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %+v, %v", tt.hex, a, err)
		}
		for cut := range len(b) - len(tt.want.Data) {
			if err := a.Parse(b[:cut]); !errors.Is(err, wire.ErrTruncated) {
				t.Errorf("%s: cut at %d: %v", tt.hex, cut, err)
			}
		}
	}
	var a APDU
	if err := a.Parse([]byte{0x80, 0, 0}); !errors.Is(err, wire.ErrReserved) {
		t.Errorf("type 8: %v", err)
	}
}

func TestAnnouncement(t *testing.T) {
	var m Announcement
	if err := m.Parse(unhex(t, "c402000001 2205c4 9103 2105")); err != nil || m.Device.Type() != DeviceObject || m.Device.Instance() != 1 ||
		m.MaxAPDULength != 1476 || m.Segmentation != 3 || Vendor(m.VendorID) != "Johnson Controls" {
		t.Errorf("%+v, %v", m, err)
	}
	for name, h := range map[string]string{
		"object of 3 bytes": "c3020001 2205c4 9103 2105",
		"context tags":      "0c02000001 2205c4 9103 2105",
		"vendor a text":     "c402000001 2205c4 9103 7105",
		"vendor of 5 bytes": "c402000001 2205c4 9103 25050102030405",
		"vendor empty":      "c402000001 2205c4 9103 20",
		"vendor cut":        "c402000001 2205c4 9103 2201",
		"trailing":          "c402000001 2205c4 9103 2105 00",
		"nothing":           "",
	} {
		if m.Parse(unhex(t, h)) == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

func read(t *testing.T, service Service, data string) (string, error) {
	t.Helper()
	got := ""
	err := ReadProperties(&APDU{Type: ComplexACK, Service: service, Data: unhex(t, data)}, func(p Property) {
		got += fmt.Sprintf("%d:%d %d=%d%q;", p.Object.Type(), p.Object.Instance(), p.ID, p.Unsigned, p.Text)
	})
	return got, err
}

func TestReadProperties(t *testing.T) {
	const device = "0c02000001"
	for _, tt := range []struct {
		name    string
		service Service
		data    string
		want    string
	}{
		{"model", ReadProperty, device + "1946 3e" + text("AHU 7") + "3f", `8:1 70=0"AHU 7";`},
		{"vendor identifier", ReadProperty, device + "1978 3e 2105 3f", `8:1 120=5"";`},
		{"with array index", ReadProperty, device + "1946 2901 3e" + text("a") + "3f", `8:1 70=0"a";`},
		{"boolean", ReadProperty, device + "1951 3e 11 3f", `8:1 81=0"";`},
		{"Latin 1", ReadProperty, device + "1946 3e 7305e461 3f", `8:1 70=0"";`},
		{"nested", ReadProperty, device + "1998 3e 0e 1e 2105 1f 0f 2e 2105 2f 3f", `8:1 152=0"";`},
		{
			"several, one an error", ReadPropertyMultiple, device + "1e 294d 4e" + text("ahu-7") + "4f 292c 5e 9102 9120 5f 290c 4e" + text("3.1") + "4f 1f",
			`8:1 77=0"ahu-7";8:1 44=0"";8:1 12=0"3.1";`,
		},
		{"two objects", ReadPropertyMultiple, device + "1e 1f" + "0c00000002 1e 2955 4e 44 3f800000 4f 1f", `0:2 85=0"";`},
		{"none", ReadPropertyMultiple, "", ""},
	} {
		got, err := read(t, tt.service, tt.data)
		if err != nil || got != tt.want {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
		for cut := 1; cut < len(tt.data) && tt.service == ReadProperty; cut++ {
			if b := strings.ReplaceAll(tt.data, " ", ""); cut < len(b)/2 {
				if _, err := read(t, tt.service, b[:2*cut]); err == nil {
					t.Errorf("%s: cut at %d parsed", tt.name, cut)
				}
			}
		}
	}
	for _, tt := range []struct {
		name, data string
		err        error
	}{
		{"too deep", device + "1946 3e" + strings.Repeat("0e", maxDepth), wire.ErrTooDeep},
		{"closed by another", device + "1946 3e 2105 4f", wire.ErrInvalid},
		{"reserved tag number", device + "1946 3e f9ff 3f", wire.ErrReserved},
		{"opening as application", device + "1946 3e 26 3f", wire.ErrReserved},
		{"value beyond", device + "1946 3e 75ff ffffffff", wire.ErrTruncated},
		{"trailing", device + "1946 3e 2105 3f 00", wire.ErrTrailing},
	} {
		if _, err := read(t, ReadProperty, tt.data); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := read(t, ReadProperty, device+"1946 3e"+strings.Repeat("0e", maxDepth-1)+strings.Repeat("0f", maxDepth-1)+"3f"); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
}

func TestAllocations(t *testing.T) {
	b := unhex(t, packets[1].hex)
	var p Packet
	var a APDU
	var m Announcement
	if n := testing.AllocsPerRun(100, func() {
		_ = p.Parse(b)
		_ = a.Parse(p.APDU)
		_ = m.Parse(a.Data)
		RecogniseDatagram(b)
		RecogniseDatagram(b[:10])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range packets {
		f.Add(unhex(f, tt.hex))
	}
	f.Add(behind(f, "01 00 30010e 0c02000001 1e 294d 4e"+text("ahu-7")+"4f 292c 5e 9102 9120 5f 1f"))
	f.Add(behind(f, "01 00 30010c 0c02000001 1998 3e 0e 1e 2105 1f 0f 2e 2105 2f 3f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q Packet
		err, again := p.Parse(b), q.Parse(b)
		if (err == nil) != (again == nil) || show(&p) != show(&q) {
			t.Fatal("twice the same input, two results")
		}
		if (RecogniseDatagram(b) != wire.NoMatch) != (err == nil) {
			t.Fatal("recognised and not parsed, or the reverse")
		}
		var a APDU
		if err != nil || a.Parse(p.APDU) != nil {
			return
		}
		if !bytes.HasSuffix(b, a.Data) || cap(a.Data) != len(a.Data) {
			t.Fatal("data outside the input")
		}
		var m Announcement
		_ = m.Parse(a.Data)
		for _, a.Service = range []Service{ReadProperty, ReadPropertyMultiple} {
			_ = ReadProperties(&a, func(p Property) {
				if len(p.Text) > len(a.Data) || !bytes.Contains(a.Data, p.Text) {
					t.Fatal("text outside the input")
				}
			})
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := unhex(b, packets[1].hex)
	b.SetBytes(int64(len(in)))
	var p Packet
	var a APDU
	for b.Loop() {
		if err := p.Parse(in); err != nil {
			b.Fatal(err)
		}
		if err := a.Parse(p.APDU); err != nil {
			b.Fatal(err)
		}
	}
}
