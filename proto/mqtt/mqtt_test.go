// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// fails checks that err says what is wrong where.
func fails(t *testing.T, name string, err error, field string, off int, want error) {
	t.Helper()
	var syntax *wire.SyntaxError
	if !errors.As(err, &syntax) || syntax.Field != field || syntax.Off != off || syntax.Err != want {
		t.Errorf("%s: %v, want %s at %d: %v", name, err, field, off, want)
	}
}

func TestParseHeader(t *testing.T) {
	for _, tt := range []struct { // MQTT 3.1.1 table 2.4, MQTT 5.0 table 1-1
		hex    string
		length int
	}{
		{"3002", 2},
		{"307f", 127},
		{"308001", 128},
		{"30ff7f", 16383},
		{"30808001", 16384},
		{"30ffff7f", 2097151},
		{"3080808001", 2097152},
		{"30ffffff7f", 268435455},
	} {
		b := unhex(t, tt.hex)
		h, n, err := ParseHeader(append(b, 0xff))
		if err != nil || n != len(b) || h.Type != PUBLISH || h.Length != tt.length {
			t.Errorf("%s: %+v in %d bytes, %v", tt.hex, h, n, err)
		}
		for cut := range len(b) {
			if _, n, err := ParseHeader(b[:cut]); n != 0 || !errors.Is(err, wire.ErrTruncated) {
				t.Errorf("%s cut at %d: %d, %v", tt.hex, cut, n, err)
			}
		}
	}
	for typ := CONNECT; typ <= AUTH; typ++ {
		b := []byte{byte(typ)<<4 | packets[typ].flags, byte(packets[typ].min)}
		if h, _, err := ParseHeader(b); err != nil || h.Type != typ {
			t.Errorf("type %d: %+v, %v", typ, h, err)
		}
	}
	for _, tt := range []struct {
		name, hex, field string
		off              int
		err              error
	}{
		{"type 0", "0000", "Control Packet type", 0, wire.ErrReserved},
		{"CONNECT flags", "110c", "Flags", 0, wire.ErrReserved},
		{"SUBSCRIBE without flag", "8005", "Flags", 0, wire.ErrReserved},
		{"PINGREQ flags", "c100", "Flags", 0, wire.ErrReserved},
		{"PUBREL without flag", "6002", "Flags", 0, wire.ErrReserved},
		{"QoS 3", "3602", "QoS level", 0, wire.ErrInvalid},
		{"five bytes of length", "30ffffffff01", "Remaining Length", 1, wire.ErrTooLong},
		{"long form of 0", "308000", "Remaining Length", 1, wire.ErrInvalid},
		{"long form of 1", "30818000", "Remaining Length", 1, wire.ErrInvalid},
		{"CONNECT of 11", "100b", "Remaining Length", 1, wire.ErrInvalid},
		{"CONNACK of 1", "2001", "Remaining Length", 1, wire.ErrInvalid},
		{"SUBSCRIBE of 4", "8204", "Remaining Length", 1, wire.ErrInvalid},
	} {
		_, _, err := ParseHeader(unhex(t, tt.hex))
		fails(t, tt.name, err, tt.field, tt.off, tt.err)
	}
}

// The variable headers are those of MQTT 3.1.1 figure 3.6 and MQTT 5.0 figure
// 3-6 (user name, password, will of QoS 1, clean start), with a payload added.
const (
	figure311 = "00044d515454 04 ce 000a"
	figure5   = "00044d515454 05 ce 000a 05 11 0000000a"
	payload   = "0003 69 63 75" + "0001 77" + "0002 0102" + "0001 75" + "0001 70"
	payload5  = "0003 69 63 75" + "05 18 00000001" + "0001 77" + "0002 0102" + "0001 75" + "0001 70"
)

var connects = []struct{ name, hex, want string }{
	{"3.1.1 figure 3.6", figure311 + payload, "3.1.1 clean=true keep=10 id=icu will=w 1 false 0102 user=u pass=p"},
	{"5.0 figure 3-6", figure5 + payload5, "5 clean=true keep=10 id=icu will=w 1 false 0102 user=u pass=p"},
	{"3.1", "00064d5149736470 03 c2 0014 0001 61 0001 75 0001 70", "3.1 clean=true keep=20 id=a will= 0 false  user=u pass=p"},
	{"3.1 without the fields it announces", "00064d5149736470 03 c2 0014 0001 61", "3.1 clean=true keep=20 id=a will= 0 false  user= pass="},
	{"smallest", "00044d515454 04 00 0000 0000", "3.1.1 clean=false keep=0 id= will= 0 false  user= pass="},
	{"bridge", "00044d515454 84 00 0000 0000", "3.1.1 clean=false keep=0 id= will= 0 false  user= pass="},
	{"5.0 password alone", "00044d515454 05 40 0000 00 0000 0001 70", "5 clean=false keep=0 id= will= 0 false  user= pass=p"},
	{"will retained QoS 2", "00044d515454 04 34 0000 0000 0001 77 0000", "3.1.1 clean=false keep=0 id= will=w 2 true  user= pass="},
}

func showConnect(m *Connect) string {
	return fmt.Sprintf("%v clean=%v keep=%d id=%s will=%s %d %v %x user=%s pass=%s", m.Version, m.CleanStart, m.KeepAlive,
		m.ClientID, m.WillTopic, m.WillQoS, m.WillRetain, m.WillPayload, m.UserName, m.Password)
}

func TestConnect(t *testing.T) {
	for _, tt := range connects {
		b := unhex(t, tt.hex)
		var m Connect
		if err := m.Parse(b); err != nil || showConnect(&m) != tt.want {
			t.Errorf("%s: %s, %v", tt.name, showConnect(&m), err)
		}
		if m.Bridge != (tt.name == "bridge") {
			t.Errorf("%s: bridge %v", tt.name, m.Bridge)
		}
		if m.Parse(append(b, 0)) == nil {
			t.Errorf("%s: a byte more is accepted", tt.name)
		}
		for cut := range b {
			if err := m.Parse(b[:cut]); !errors.Is(err, wire.ErrTruncated) && m.Version != V31 {
				t.Errorf("%s: cut at %d: %v", tt.name, cut, err)
			}
		}
	}
	for _, tt := range []struct {
		name, hex, field string
		off              int
		err              error
	}{
		{"other name", "00044d515455 04 00 0000 0000", "Protocol Name", 0, wire.ErrInvalid},
		{"level 3 of MQTT", "00044d515454 03 00 0000 0000", "Protocol Version", 6, wire.ErrReserved},
		{"level 6 of MQTT", "00044d515454 06 00 0000 0000", "Protocol Version", 6, wire.ErrReserved},
		{"level 4 of MQIsdp", "00064d5149736470 04 00 0000 0000", "Protocol Version", 8, wire.ErrReserved},
		{"reserved flag", "00044d515454 04 01 0000 0000", "Connect Flags", 7, wire.ErrReserved},
		{"will QoS 3", "00044d515454 04 1c 0000 0000", "Will QoS", 7, wire.ErrInvalid},
		{"will QoS without will", "00044d515454 04 08 0000 0000", "Will QoS", 7, wire.ErrInvalid},
		{"will retain without will", "00044d515454 04 20 0000 0000", "Will QoS", 7, wire.ErrInvalid},
		{"password without user", "00044d515454 04 40 0000 0000 0000", "Password Flag", 7, wire.ErrInvalid},
		{"client id with zero", "00044d515454 04 00 0000 0001 00", "Client Identifier", 10, wire.ErrInvalid},
		{"client id not UTF-8", "00044d515454 04 00 0000 0002 c328", "Client Identifier", 10, wire.ErrInvalid},
		{"client id a surrogate", "00044d515454 04 00 0000 0003 eda080", "Client Identifier", 10, wire.ErrInvalid},
		{"unknown property", "00044d515454 05 00 0000 02 0401 0000", "Property Identifier", 11, wire.ErrReserved},
		{"property beyond the table", "00044d515454 05 00 0000 02 2b01 0000", "Property Identifier", 11, wire.ErrReserved},
		{"property with a large number", "00044d515454 05 00 0000 02 ff01 0000", "Property Identifier", 11, wire.ErrReserved},
		{"property of a PUBLISH", "00044d515454 05 00 0000 02 0101 0000", "Property Identifier", 11, wire.ErrInvalid},
		{"property twice", "00044d515454 05 00 0000 04 1701 1701 0000", "Property Identifier", 13, wire.ErrInvalid},
		{"property cut", "00044d515454 05 00 0000 03 11 0000 0000", "Four Byte Integer", 12, wire.ErrTruncated},
		{"property length beyond", "00044d515454 05 00 0000 7f 1701", "Properties", 11, wire.ErrTruncated},
	} {
		var m Connect
		fails(t, tt.name, m.Parse(unhex(t, tt.hex)), tt.field, tt.off, tt.err)
	}
}

func TestProperties(t *testing.T) {
	// One of each type; User Property and Subscription Identifier may stand twice.
	var m Publish
	b := unhex(t, "0003612f62 2f 0101 0200000102 030004746578 74 09 00020102 0b8001 0b01 23000a 26 0001 61 0001 62 26 0001 61 0001 63 080002 7265 6162")
	b[5] = byte(len(b) - 8)
	if err := m.Parse(Header{Type: PUBLISH}, b, V5); err != nil {
		t.Fatal(err)
	}
	got := ""
	for p := range m.Properties.All() {
		got += fmt.Sprintf("%02x:%d:%s:%x ", p.ID, p.Int, p.Name, p.Value)
	}
	want := "01:1:: 02:258:: 03:0::74657874 09:0::0102 0b:128:: 0b:1:: 23:10:: 26:0:a:62 26:0:a:63 08:0::7265 "
	if got != want || string(m.Payload) != "ab" {
		t.Errorf("got  %s|%s\nwant %s", got, m.Payload, want)
	}
	for id, p := range propertyTable {
		if (p.typ == undefined) != (p.in == 0) {
			t.Errorf("property %#x: half a row", id)
		}
	}
}

func TestPublish(t *testing.T) {
	var m Publish
	h := Header{Type: PUBLISH, Flags: 2}
	// MQTT 3.1.1 figure 3.11: topic a/b, packet identifier 10; payload added.
	if err := m.Parse(h, unhex(t, "0003612f62 000a 6869"), V311); err != nil || string(m.Topic) != "a/b" || m.PacketID != 10 || string(m.Payload) != "hi" {
		t.Errorf("figure 3.11: %+v, %v", m, err)
	}
	if err := m.Parse(Header{Type: PUBLISH}, unhex(t, "0000 03 23000a"), V5); err != nil {
		t.Errorf("topic alias: %v", err)
	}
	for _, tt := range []struct {
		name, hex string
		v         Version
		field     string
		err       error
	}{
		{"wildcard +", "0003612f2b 000a", V311, "Topic Name", wire.ErrInvalid},
		{"wildcard #", "0003612f23 000a", V311, "Topic Name", wire.ErrInvalid},
		{"empty topic", "0000 000a", V311, "Topic Name", wire.ErrInvalid},
		{"identifier 0", "0003612f62 0000", V311, "Packet Identifier", wire.ErrInvalid},
		{"no identifier", "0003612f62 00", V311, "Packet Identifier", wire.ErrTruncated},
		{"no property length", "0003612f62 000a", V5, "Property Length", wire.ErrTruncated},
		{"property of CONNECT", "0003612f62 000a 021701", V5, "Property Identifier", wire.ErrInvalid},
	} {
		err := m.Parse(h, unhex(t, tt.hex), tt.v)
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Err != tt.err {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestSubscribe(t *testing.T) {
	filters := func(m *Subscribe) (s string) {
		for f := range m.Filters() {
			s += fmt.Sprintf("%s %d;", f.Topic, f.Options)
		}
		return s
	}
	var m Subscribe
	// MQTT 3.1.1 figures 3.20 and 3.23: a/b with QoS 1, c/d with QoS 2.
	if err := m.Parse(Header{Type: SUBSCRIBE}, unhex(t, "000a 0003612f62 01 0003632f64 02"), V311); err != nil || m.PacketID != 10 || filters(&m) != "a/b 1;c/d 2;" {
		t.Errorf("%s, %v", filters(&m), err)
	}
	if err := m.Parse(Header{Type: UNSUBSCRIBE}, unhex(t, "000a 0003612f62 0003632f64"), V311); err != nil || filters(&m) != "a/b 0;c/d 0;" {
		t.Errorf("%s, %v", filters(&m), err)
	}
	if err := m.Parse(Header{Type: SUBSCRIBE}, unhex(t, "000a 020b07 0003612f62 2d"), V5); err != nil || filters(&m) != "a/b 45;" {
		t.Errorf("%s, %v", filters(&m), err)
	}
	for _, tt := range []struct {
		name, hex string
		v         Version
		err       error
	}{
		{"no filter", "000a", V311, wire.ErrTruncated},
		{"empty filter", "000a 0000 01", V311, wire.ErrInvalid},
		{"no options", "000a 0003612f62", V311, wire.ErrTruncated},
		{"QoS 3", "000a 0003612f62 03", V311, wire.ErrReserved},
		{"version 5 options", "000a 0003612f62 04", V311, wire.ErrReserved},
		{"reserved options", "000a 00 0003612f62 40", V5, wire.ErrReserved},
		{"retain handling 3", "000a 00 0003612f62 30", V5, wire.ErrReserved},
		{"identifier 0", "0000 0003612f62 01", V311, wire.ErrInvalid},
		{"filter cut", "000a 0004612f62", V311, wire.ErrTruncated},
	} {
		if err := m.Parse(Header{Type: SUBSCRIBE}, unhex(t, tt.hex), tt.v); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if filters(&m) != "" {
			t.Errorf("%s: has filters", tt.name)
		}
	}
}

func TestAnswers(t *testing.T) {
	var c ConnAck
	for _, tt := range []struct {
		hex  string
		v    Version
		code uint8
		ok   bool
	}{
		{"0000", V311, 0, true},
		{"0105", V311, 5, true},
		{"0200", V311, 0, false},
		{"0200", V31, 0, true},
		{"000000", V311, 0, false},
		{"000000", V5, 0, true},
		{"008600", V5, 0x86, true},
		{"0000", V5, 0, false},
		{"0000 03 210014", V5, 0, true},
		{"0000 02 1701", V5, 0, false},
		{"0000 03 210014", 0, 0, true},
		{"00", 0, 0, false},
	} {
		if err := c.Parse(unhex(t, tt.hex), tt.v); (err == nil) != tt.ok || tt.ok && c.Code != tt.code {
			t.Errorf("CONNACK %s: %+v, %v", tt.hex, c, err)
		}
	}
	var a Ack
	for _, tt := range []struct {
		typ   Type
		hex   string
		v     Version
		codes string
		ok    bool
	}{
		{PUBACK, "000a", V311, "", true},
		{PUBACK, "000a00", V311, "", false},
		{PUBACK, "000a", V5, "", true},
		{PUBACK, "000a10", V5, "10", true},
		{PUBACK, "000a1000", V5, "10", true},
		{PUBACK, "000a100000", V5, "", false},
		{PUBACK, "0000", V311, "", false},
		{PUBACK, "000a10", 0, "10", true},
		{SUBACK, "000a0102", V311, "0102", true},
		{SUBACK, "000a000102", V5, "0102", true},
		{SUBACK, "000a0501", V5, "", false},
		{DISCONNECT, "", V311, "", true},
		{DISCONNECT, "00", V311, "", false},
		{DISCONNECT, "04", V5, "04", true},
		{DISCONNECT, "8b051100000001", V5, "8b", true},
		{AUTH, "18 04 150001 61", V5, "18", true},
		{DISCONNECT, "8b021701", V5, "", false},
	} {
		err := a.Parse(Header{Type: tt.typ}, unhex(t, tt.hex), tt.v)
		if (err == nil) != tt.ok || tt.ok && hex.EncodeToString(a.Codes) != tt.codes {
			t.Errorf("type %d %s: %+v, %v", tt.typ, tt.hex, a, err)
		}
	}
}

func TestRecognise(t *testing.T) {
	connect := unhex(t, "101100044d5154540402003c00054275733431")
	for cut := 1; cut <= len(connect); cut++ {
		want := wire.NeedMore
		if cut >= 8 {
			want = wire.SureMatch
		}
		if got := Recognise(connect[:cut]); got != want {
			t.Errorf("CONNECT cut at %d: %v", cut, got)
		}
	}
	for _, tt := range []struct {
		name, hex string
		want      wire.Match
	}{
		{"MQIsdp", "104000064d514973647003c2", wire.SureMatch},
		{"CONNECT of something else", "1011000448545450", wire.NoMatch},
		{"CONNACK", "20020000", wire.NeedMore},
		{"CONNACK and SUBACK", "20020000 9003000100", wire.SureMatch},
		{"CONNACK and PUBACK", "20020000 40020001", wire.SureMatch},
		{"ping", "c000", wire.NeedMore},
		{"ping twice", "c000 c000", wire.SureMatch},
		{"ping and garbage", "c000 ffff", wire.NoMatch},
		{"PUBLISH", "300d 0005 69 63 75 2f 31 7b7d", wire.SureMatch},
		{"PUBLISH QoS 1", "330d 0005 69 63 75 2f 31 0001 7b", wire.SureMatch},
		{"PUBLISH of a short topic", "3004 0001 61 7b", wire.WeakMatch},
		{"PUBLISH beyond its length", "3004 0005 6963752f31", wire.NoMatch},
		{"PUBLISH unreadable", "300d 0005 0102030405", wire.NoMatch},
		{"SUBSCRIBE", "820d 0002 0008 4275733137436d64 01", wire.SureMatch},
		{"LDAP bind", "300c 020101 6007 020103 0400 8000", wire.NoMatch},
		{"SNMP get", "3026 020101 0406 7075626c6963 a019", wire.NoMatch},
		{"long BER", "3082 0126 020101 0406 7075626c6963", wire.NoMatch},
		{"TLS", "160301 0200 0100", wire.NoMatch},
		{"HTTP", hex.EncodeToString([]byte("POST / HTTP/1.1\r\n")), wire.NoMatch},
		{"FTP", hex.EncodeToString([]byte("220 ready\r\n")), wire.NoMatch},
		{"SSH", hex.EncodeToString([]byte("SSH-2.0-x\r\n")), wire.NoMatch},
		{"SMB", "00000055ff534d42", wire.NoMatch},
		{"zeros", "0000000000000000", wire.NoMatch},
	} {
		if got := Recognise(unhex(t, tt.hex)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	connect, publish := unhex(t, connects[1].hex), unhex(t, "0003612f62 000a 03 23000a 6869")
	var c Connect
	var p Publish
	b := append([]byte{0x10, byte(len(connect))}, connect...)
	if n := testing.AllocsPerRun(100, func() {
		_ = c.Parse(connect)
		for x := range c.Properties.All() {
			_ = x.ID
		}
		_ = p.Parse(Header{Type: PUBLISH, Flags: 2}, publish, V5)
		_, _, _ = ParseHeader(b)
		Recognise(b)
		Recognise(publish)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range connects {
		b := unhex(f, tt.hex)
		f.Add(append([]byte{0x10, byte(len(b))}, b...), uint8(0))
	}
	for _, h := range []string{"330d000569 63752f31 0001 7b7d7d7d", "820d 0002 0008 4275733137436d64 01", "20020000", "9003000201", "e000", "40020001", "f006 18 04 150001 61"} {
		f.Add(unhex(f, h), uint8(4))
		f.Add(unhex(f, h), uint8(5))
	}
	f.Fuzz(func(t *testing.T, b []byte, version uint8) {
		Recognise(b)
		h, n, err := ParseHeader(b)
		if err != nil {
			return
		}
		if n < 2 || n > 5 {
			t.Fatalf("header of %d bytes", n)
		}
		body, v := b[n:min(len(b), n+h.Length)], Version(version)
		inside := func(s ...[]byte) {
			total := 0
			for _, x := range s {
				total += len(x)
				if !bytes.Contains(body, x) || cap(x) > len(body) {
					t.Fatal("slice outside the input")
				}
			}
			if total > len(body) {
				t.Fatal("slices longer than the input")
			}
		}
		switch h.Type {
		case CONNECT:
			var m, again Connect
			err, err2 := m.Parse(body), again.Parse(body)
			if (err == nil) != (err2 == nil) || showConnect(&m) != showConnect(&again) {
				t.Fatal("twice the same input, two results")
			}
			inside(m.Properties, m.ClientID, m.WillProperties, m.WillTopic, m.WillPayload, m.UserName, m.Password)
		case CONNACK:
			var m ConnAck
			_ = m.Parse(body, v)
			inside(m.Properties)
		case PUBLISH:
			var m Publish
			_ = m.Parse(h, body, v)
			inside(m.Topic, m.Properties, m.Payload)
			for p := range m.Properties.All() {
				inside(p.Name, p.Value)
			}
		case SUBSCRIBE, UNSUBSCRIBE:
			var m Subscribe
			_ = m.Parse(h, body, v)
			for x := range m.Filters() {
				inside(x.Topic)
			}
		default:
			var m Ack
			_ = m.Parse(h, body, v)
			inside(m.Properties, m.Codes)
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	in := unhex(b, "320f 0005 6963752f33 0001 7b7d7b7d7b7d")
	b.SetBytes(int64(len(in)))
	var m Publish
	for b.Loop() {
		h, n, err := ParseHeader(in)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Parse(h, in[n:], V311); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecognise(b *testing.B) {
	in := unhex(b, "101100044d5154540402003c00054275733431")
	for b.Loop() {
		Recognise(in)
	}
}
