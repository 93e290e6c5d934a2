// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// show says what a message means.
func show(m *Message) string {
	var b strings.Builder
	opcode := fmt.Sprintf("%#x", m.Number)
	if m.Opcode != nil {
		opcode = m.Opcode.Name
	}
	fmt.Fprintf(&b, "%s %s %s", opcode, m.Kind, directions[m.Direction])
	if c := &m.Command; c.Verb != device.NoVerb || c.Stage != device.NoStage {
		fmt.Fprintf(&b, "; %s %s %s", c.Verb, c.Therapy, c.Stage)
		for _, q := range []device.Quantity{c.Value, c.Now, c.Limit} {
			fmt.Fprintf(&b, " [%s]", q)
		}
	}
	if m.Kind == Answer {
		fmt.Fprintf(&b, "; outcome %d", m.Outcome)
		if m.Answers != nil {
			fmt.Fprintf(&b, " of %s", m.Answers.Name)
		}
	}
	fmt.Fprintf(&b, "; channel %d", m.Command.Channel)
	for i := range patientWords[1:] {
		if m.Patient&(1<<i) != 0 {
			fmt.Fprintf(&b, " %s", patientWords[i+1])
		}
	}
	if m.Kind == Identity {
		fmt.Fprintf(&b, "; %s %s %s, serial %v", m.Manufacturer, m.Model, m.Version, m.Serial)
	}
	return b.String()
}

// The frames are laid out by hand from the dialect in load_test.go, their CRC is that of
// Python's binascii.crc_hqx with 0.
var pumpFrames = []struct{ hex, want string }{
	{
		"aa d391 a7 0e 123456 efbe 10 0050 01020304 e1ca",
		"bolus command to-device; deliver-bolus insulin infusion proposed [4.00 [iU]] [] [30 min]; channel 6 order device-identity",
	},
	{
		"aa d391 a7 17 123456 efbe 11 fcef 19700102 416461 0d0a 00000000 efd8",
		"offsets report from-device; channel 0 name birth-date visit result device-identity",
	},
	{
		"aa d391 a8 12 123456 efbe 12 aabb 03 c0ffee 01020304 1182",
		"sealed command to-device; suspend insulin infusion proposed [] [] []; channel 7 device-identity",
	},
	{
		"aa d391 a8 0d 123456 efbe 13 00 01020304 9574",
		"switch command to-device; suspend insulin infusion proposed [] [] []; channel 6 order device-identity",
	},
	{
		"aa d391 a8 0d 123456 efbe 13 07 01020304 f2a0", // a value that the dialect does not list
		"switch command to-device;  insulin infusion proposed [] [] []; channel 6 order device-identity",
	},
	{
		"aa d391 a8 0c 123456 efbe 20  01020304 a98c",
		"given delivered from-device; deliver-bolus insulin infusion delivered [2.5 [iU]] [] []; channel 6 order device-identity",
	},
	{
		"aa d391 a8 0c 123456 efbe 30  01020304 add6",
		"wake wake to-device; wake insulin infusion proposed [] [] []; channel 6 device-identity",
	},
	{
		"aa d391 a8 0c 123456 efbe 40  01020304 b050",
		"done answer from-device; deliver-bolus insulin infusion accepted [] [] []; outcome 1 of bolus; channel 6 device-identity",
	},
	{
		"aa d391 a8 0c 123456 efbe 41  01020304 1a01",
		"no answer from-device; outcome 2; channel 6 device-identity",
	},
	{
		"aa d391 a8 0d 123456 efbe 42 01 01020304 0a11",
		"verdict answer from-device; cancel-bolus insulin infusion accepted [] [] []; outcome 1 of given-up; channel 6 device-identity",
	},
	{
		"aa d391 a8 0d 123456 efbe 42 02 01020304 e4c3",
		"verdict answer from-device; cancel-bolus insulin infusion  [] [] []; outcome 2 of given-up; channel 6 device-identity",
	},
	{
		"aa d391 a8 0d 123456 efbe 42 09 01020304 083c",
		"verdict answer from-device; cancel-bolus insulin infusion  [] [] []; outcome 2 of given-up; channel 6 device-identity",
	},
	{
		"aa d391 a8 12 123456 efbe 50 447269702020 01020304 3293",
		"who identity from-device; channel 6 device-identity;  Drip , serial true",
	},
	{
		"aa d391 a8 0c 123456 efbe 60  01020304 b8e4",
		"beep alarm from-device; channel 6 device-identity",
	},
	{
		"aa d391 a8 0f 123456 efbe 99 c0ffee 01020304 de00", // not in the table
		"0x99  ; channel 0 device-identity",
	},
	{
		"aa d391 a8 0c ffffff efbe 30  ffffffff 2532", // to all, and no tag
		"wake wake to-device; wake insulin infusion proposed [] [] []; channel 0 device-identity",
	},
}

func TestParse(t *testing.T) {
	d := load(t, pump)
	var m Message
	for _, tt := range pumpFrames {
		frame := unhex(t, tt.hex)
		if err := d.Parse(frame, &m); err != nil {
			t.Errorf("%s: %v", tt.hex, err)
			continue
		}
		if got := show(&m); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.hex, got, tt.want)
		}
		if got := d.Append(nil, &m); !bytes.Equal(got, frame) {
			t.Errorf("%s: appended %x", tt.hex, got)
		}
		if m.Off != 3 || !m.Sync || !m.HasCounter || m.Counter != uint64(frame[3]&15) || m.Peer.Value != 0xbeef || !m.Peer.Worn {
			t.Errorf("%s: %d bytes before, counter %d, peer %+v", tt.hex, m.Off, m.Counter, m.Peer)
		}
		proof := 16 + 3 + 8 + 16
		if m.Opcode != nil {
			proof += 4 // 15 opcodes of 256
		}
		if broadcast := frame[5] == 0xff; m.Device.Broadcast != broadcast || !m.Device.Worn || m.Proof != proof || (m.Tag == nil) != (m.Command.Channel&device.Authenticated == 0) && m.Opcode != nil {
			t.Errorf("%s: device %+v, proof %d, tag %x", tt.hex, m.Device, m.Proof, m.Tag)
		}

		// The receiver may have taken the sync, or heard more of the preamble.
		for _, f := range [][]byte{frame[3:], append([]byte("\xaa\xaa\xaa"), frame...), frame[1:]} {
			if err := d.Parse(f, &m); err != nil || show(&m) != tt.want || m.Off != len(f)-len(frame)+3 {
				t.Errorf("%x: %v", f, err)
			}
		}
		for n := range len(frame) - 3 {
			if err := d.Parse(frame[:3+n], &m); err == nil {
				t.Errorf("%s: cut to %d bytes it is read", tt.hex, 3+n)
			}
		}
		if err := d.Parse(append(bytes.Clone(frame), 0), &m); !errors.Is(err, wire.ErrTrailing) {
			t.Errorf("%s: a byte more: %v", tt.hex, err)
		}
		for bit := 24; bit < 8*len(frame); bit++ {
			bad := bytes.Clone(frame)
			bad[bit/8] ^= 0x80 >> (bit % 8)
			if d.Parse(bad, &m) == nil {
				t.Errorf("%s: bit %d is turned and nobody sees it", tt.hex, bit)
			}
		}
	}
}

func TestFields(t *testing.T) {
	d := load(t, pump)
	var m Message
	if err := d.Parse(unhex(t, pumpFrames[1].hex), &m); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"temperature": -50, "half": 15, "born": 19700102, "serial": 0x123456, "remote": 0xbeef, "sequence": 7, "length": 23} {
		if got, ok := m.Int(name); !ok || got != want {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	at := len(d.frame.fields)
	if q := m.amount(reference{field: at}); q.String() != "15.0 Cel" {
		t.Errorf("temperature %s", q)
	}
	if q := m.amount(reference{field: at + 1}); q.String() != "2.5 V" {
		t.Errorf("half %s", q)
	}
	if notes := m.Bytes("notes"); string(notes) != "Ada" || cap(notes) != 3 {
		t.Errorf("notes %q, room for %d", notes, cap(notes))
	}
	if _, ok := m.Int("notes"); ok || m.Bytes("sequence") != nil || m.Bytes("amount") != nil {
		t.Error("a field is what it is not")
	}
	if _, ok := m.Int("amount"); ok {
		t.Error("a field of another message")
	}
	// A number that stands for none is none.
	bolus, _ := d.Message("bolus")
	if err := bolus.Set("amount", 0xffff); err != nil {
		t.Fatal(err)
	}
	if err := d.Parse(d.Append(nil, bolus), &m); err != nil || !m.Command.Value.IsNone() {
		t.Errorf("%s, %v", m.Command.Value, err)
	}
}

func TestParseRefuses(t *testing.T) {
	d := load(t, pump)
	var m Message
	for _, tt := range []struct {
		name, hex, field string
		off              int
		err              error
	}{
		{"nothing", "", "version", 0, wire.ErrTruncated},
		{"sync only", "aa d391", "version", 3, wire.ErrTruncated},
		{"header cut", "aa d391 a7 0e 123456 ef", "remote", 9, wire.ErrTruncated},
		{"without sync", "a7 0e 123456 ef", "remote", 6, wire.ErrTruncated},
		{"no room for the tail", "aa d391 a7 0e 123456 efbe 10 0050 01", "data", 14, wire.ErrTruncated},
		{"length says more", "aa d391 a7 0f 123456 efbe 10 0050 01020304 e1ca", "length", 4, wire.ErrTruncated},
		{"length says less", "aa d391 a7 0d 123456 efbe 10 0050 01020304 e1ca", "length", 4, wire.ErrTrailing},
		{"checksum", "aa d391 a7 0e 123456 efbe 10 0050 01020304 e1cb", "crc", 17, ErrChecksum},
		{"checksum and version", "aa d391 07 0e 123456 efbe 10 0050 01020304 e1ca", "crc", 17, ErrChecksum},
		{"version", "aa d391 07 0e 123456 efbe 10 0050 01020304 a6b9", "version", 3, wire.ErrInvalid},
		{"data cut", "aa d391 a7 0d 123456 efbe 10 50 01020304 7f39", "amount", 12, wire.ErrTruncated},
		{"data longer", "aa d391 a7 0f 123456 efbe 10 005000 01020304 9f24", "frame", 13, wire.ErrTrailing},
		{"digit", "aa d391 a7 17 123456 efbe 11 fcef 1970a102 416461 0d0a 00000000 cffd", "born", 13, wire.ErrInvalid},
		{"end", "aa d391 a7 17 123456 efbe 11 fcef 19700102 416461 0d0b 00000000 2e2b", "end", 20, wire.ErrInvalid},
		{"inner length", "aa d391 a8 12 123456 efbe 12 aabb 04 c0ffee 01020304 ad57", "size", 13, wire.ErrTruncated},
		{"too long", strings.Repeat("00", MaxFrame+1), "frame", MaxFrame, wire.ErrTooLong},
	} {
		b := unhex(t, tt.hex)
		if tt.err == wire.ErrInvalid || strings.HasPrefix(tt.name, "data") || tt.name == "inner length" {
			b = resum(b)
		}
		err := d.Parse(b, &m)
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Proto != "radio" || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s at %d: %v", tt.name, err, tt.field, tt.off, tt.err)
		}
		if got := d.Append([]byte("a"), &m); string(got) != "a" {
			t.Errorf("%s: appended %x", tt.name, got)
		}
	}
}

// resum corrects the CRC of a frame of the pump, so that only what is behind it is wrong.
func resum(b []byte) []byte {
	s := summing{algorithm: crc, width: 16}
	s.compile(0x1021)
	n := len(b) - 2
	r := s.of(b[3:n])
	return append(b[:n:n], byte(r>>8), byte(r))
}

// TestBits lays fields of every width at every bit, in both orders, and holds
// them to a slow twin.
func TestBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := field{bits: rapid.IntRange(1, 64).Draw(t, "bits"), little: rapid.Bool().Draw(t, "little")}
		from := rapid.IntRange(0, 15).Draw(t, "from")
		if f.little && f.bits%8 == 0 && from%8 != 0 {
			from -= from % 8
		}
		b := rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "b")
		bit := func(i int) uint64 { // the i-th bit of the field
			i += from
			if f.little {
				return uint64(b[i/8]>>(i%8)) & 1
			}
			return uint64(b[i/8]>>(7-i%8)) & 1
		}
		var want uint64
		for i := range f.bits {
			if f.little {
				want |= bit(i) << i
			} else {
				want = want<<1 | bit(i)
			}
		}
		if got := f.get(b, from); got != want {
			t.Fatalf("got %#x, want %#x", got, want)
		}
		c := bytes.Clone(b)
		v := rapid.Uint64().Draw(t, "v")
		f.put(c, from, v)
		if got := f.get(c, from); got != v&(1<<f.bits-1) {
			t.Fatalf("put %#x, got %#x", v, got)
		}
		f.put(c, from, want)
		if !bytes.Equal(b, c) {
			t.Fatalf("other bits changed: %x is %x", b, c)
		}
	})
}

func TestBCD(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, 9999999999999999).Draw(t, "n")
		if text := fmt.Sprintf("%x", toBCD(n)); text != fmt.Sprint(n) {
			t.Fatalf("%d is %s", n, text)
		}
		if got, ok := fromBCD(toBCD(n)); !ok || got != n {
			t.Fatalf("%d is %d", n, got)
		}
	})
}

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		bits      int
		wraps     bool
		last, now uint64
		want      bool
	}{
		{8, false, 7, 8, true},
		{8, false, 7, 7, false},
		{8, false, 255, 0, false},
		{8, true, 255, 0, true},
		{8, true, 7, 7, false},
		{8, true, 0, 127, true},
		{8, true, 0, 128, false}, // as far behind as ahead
		{8, true, 8, 7, false},
		{4, true, 15, 2, true},
		{64, true, 1<<64 - 1, 0, true},
		{64, false, 1 << 63, 1<<63 + 1, true},
	} {
		m := Message{Counter: tt.now, counterBits: tt.bits, wraps: tt.wraps}
		if got := m.Newer(tt.last); got != tt.want {
			t.Errorf("%d bits, wraps %v: %d after %d is %v", tt.bits, tt.wraps, tt.now, tt.last, got)
		}
	}
}

func TestFreshAndContent(t *testing.T) {
	d := load(t, pump)
	var a, b Message
	frame := unhex(t, pumpFrames[0].hex)
	if err := d.Parse(frame, &a); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", a.AppendFresh(nil)); got != "000000000000000701020304" {
		t.Errorf("fresh: %s", got)
	}
	change := func(at int) *Message {
		f := bytes.Clone(frame)
		f[at]++
		if err := d.Parse(resum(f), &b); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	for _, tt := range []struct {
		name           string
		at             int
		fresh, content bool
	}{
		{"sequence", 3, true, false},
		{"serial", 5, false, true},
		{"remote", 8, false, true},
		{"amount", 11, false, true},
		{"tag", 13, true, false},
	} {
		m := change(tt.at)
		if bytes.Equal(a.AppendFresh(nil), m.AppendFresh(nil)) == tt.fresh || bytes.Equal(a.AppendContent(nil), m.AppendContent(nil)) == tt.content {
			t.Errorf("%s counts for the wrong one", tt.name)
		}
	}
	// An opcode that is not in the table has content too.
	if err := d.Parse(unhex(t, "aa d391 a8 0f 123456 efbe 99 c0ffee 01020304 de00"), &b); err != nil || !bytes.Contains(b.AppendContent(nil), []byte("\xc0\xff\xee")) {
		t.Error(err)
	}
}

func TestSet(t *testing.T) {
	d := load(t, pump)
	if _, err := d.Message("nothing"); err == nil {
		t.Error("a message of an opcode that is not there")
	}
	bolus, err := d.Message("bolus")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		bolus.Set("sequence", 7), bolus.Set("serial", 0x123456), bolus.Set("remote", 0xbeef),
		bolus.SetQuantity("amount", quantity(t, "4 U")), bolus.SetBytes("tag", []byte{1, 2, 3, 4}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if got := d.Append(nil, bolus); !bytes.Equal(got, unhex(t, pumpFrames[0].hex)) {
		t.Errorf("%x", got)
	}
	bolus.Sync = false
	if got := d.Append([]byte("x"), bolus); !bytes.Equal(got[1:], unhex(t, pumpFrames[0].hex)[3:]) {
		t.Errorf("without sync %x", got)
	}
	if got := load(t, pump).Append(nil, bolus); got != nil {
		t.Errorf("of another dialect %x", got)
	}
	report, _ := d.Message("offsets")
	sealed, _ := d.Message("sealed")
	for _, tt := range []struct {
		name string
		err  error
		fits bool
	}{
		{"sequence 15", bolus.Set("sequence", 15), true},
		{"sequence 16", bolus.Set("sequence", 16), false},
		{"sequence -1", bolus.Set("sequence", -1), false},
		{"constant", bolus.Set("version", 5), false},
		{"opcode", bolus.Set("opcode", 1), false},
		{"length", bolus.Set("length", 1), false},
		{"checksum", bolus.Set("crc", 1), false},
		{"data", bolus.SetBytes("data", nil), false},
		{"no such field", bolus.Set("temperature", 1), false},
		{"bytes as a number", bolus.Set("tag", 1), false},
		{"a number as bytes", bolus.SetBytes("serial", []byte{1}), false},
		{"tag of 3", bolus.SetBytes("tag", []byte{1, 2, 3}), true},
		{"tag of 5", bolus.SetBytes("tag", []byte{1, 2, 3, 4, 5}), false},
		{"4.05 U", bolus.SetQuantity("amount", quantity(t, "4.05 U")), true},
		{"4050 mU", bolus.SetQuantity("amount", quantity(t, "4050 m[iU]")), true},
		{"4.01 U", bolus.SetQuantity("amount", quantity(t, "4.01 U")), false},
		{"-1 U", bolus.SetQuantity("amount", quantity(t, "-1 U")), false},
		{"3276.75 U", bolus.SetQuantity("amount", quantity(t, "3276.75 U")), true},
		{"3276.80 U", bolus.SetQuantity("amount", quantity(t, "3276.80 U")), false},
		{"4 V", bolus.SetQuantity("amount", quantity(t, "4 V")), false},
		{"quantity of an address", bolus.SetQuantity("serial", quantity(t, "4")), false},
		{"-2048", report.Set("temperature", -2048), true},
		{"-2049", report.Set("temperature", -2049), false},
		{"2048", report.Set("temperature", 2048), false},
		{"-10 Cel", report.SetQuantity("temperature", quantity(t, "-10 Cel")), true},
		{"99999999", report.Set("born", 99999999), true},
		{"100000000", report.Set("born", 100000000), false},
		{"notes of 235", report.SetBytes("notes", make([]byte, 235)), true},
		{"notes of 236", report.SetBytes("notes", make([]byte, 236)), false},
		{"sealed 240", sealed.SetBytes("body", make([]byte, 240)), true},
		{"sealed 241", sealed.SetBytes("body", make([]byte, 241)), false},
		{"nothing", new(Message).Set("a", 1), false},
	} {
		if (tt.err == nil) != tt.fits {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	var m Message
	for _, of := range []*Message{bolus, report, sealed} {
		if err := d.Parse(d.Append(nil, of), &m); err != nil {
			t.Errorf("%s: %v", of.Opcode.Name, err)
		}
	}
}

func quantity(t *testing.T, s string) device.Quantity {
	t.Helper()
	q, err := device.ParseQuantity(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestParseAllocatesNothing(t *testing.T) {
	d := load(t, pump)
	var frames [][]byte
	for _, tt := range pumpFrames {
		frames = append(frames, unhex(t, tt.hex))
	}
	var m Message
	buf := make([]byte, 0, 4*MaxFrame)
	if n := testing.AllocsPerRun(100, func() {
		for _, f := range frames {
			if err := d.Parse(f, &m); err != nil {
				t.Fatal(err)
			}
			buf = m.AppendContent(m.AppendFresh(buf[:0]))
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	d := load(b, pump)
	frame := unhex(b, pumpFrames[0].hex)
	var m Message
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Parse(frame, &m); err != nil {
			b.Fatal(err)
		}
	}
}
