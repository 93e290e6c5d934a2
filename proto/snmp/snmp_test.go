// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package snmp

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

// tlv is a BER element with a length of one or three bytes.
func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	if len(body) < 0x80 {
		return append([]byte{tag, byte(len(body))}, body...)
	}
	return append([]byte{tag, 0x83, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func num(v ...byte) []byte   { return tlv(0x02, v) }
func str(s string) []byte    { return tlv(0x04, []byte(s)) }
func oid(s string) []byte    { return tlv(0x06, []byte(s)) }
func seq(p ...[]byte) []byte { return tlv(0x30, p...) }

func pdu(typ PDUType, bindings ...[]byte) []byte {
	return tlv(0xa0+byte(typ), num(7), num(0), num(0), seq(bindings...))
}

func v2c(community string, p []byte) []byte { return seq(num(1), str(community), p) }

func v3(flags byte, rest ...[]byte) []byte {
	usm := seq(str("\x80\x00\x00\x09\x03abcdef"), num(1), num(2), str("operator"), str(""), str(""))
	return seq(append([][]byte{num(3), seq(num(5), num(0x05, 0xdc), tlv(0x04, []byte{flags}), num(3)), tlv(0x04, usm)}, rest...)...)
}

var (
	get      = v2c("public", pdu(GetRequest, seq(oid(SysDescr), tlv(0x05))))
	response = v2c("public", pdu(Response,
		seq(oid(SysDescr), str("Linux gw-icu 4.4.0-31-generic #50 SMP")),
		seq(oid(SysObjectID), oid("\x2b\x06\x01\x04\x01\xbf\x08\x03\x02\x0a")),
		seq(oid(SysName), str("gw-icu"))))
	trapV1 = seq(num(0), str("traps"), tlv(0xa4, oid("\x2b\x06\x01\x04\x01\x09"), tlv(0x40, []byte{10, 20, 3, 10}),
		num(6), num(1), tlv(0x43, []byte{1}), seq()))
	noAuth    = v3(4, seq(str("engine"), str(""), pdu(GetRequest)))
	encrypted = v3(7, str("ciphertext"))
)

func show(m *Message) string {
	s := fmt.Sprintf("v%v %q flags=%d engine=%x user=%q", m.Version, m.Community, m.Flags, m.EngineID, m.UserName)
	if m.HasPDU {
		s += fmt.Sprintf(" pdu=%d id=%d error=%d.%d enterprise=%x", m.PDU.Type, m.PDU.RequestID, m.PDU.ErrorStatus, m.PDU.ErrorIndex, m.PDU.Enterprise)
	}
	for b := range m.PDU.Bindings() {
		s += fmt.Sprintf(" %x=%02x:%d", []byte(b.Name), b.Tag, len(b.Value))
	}
	return s
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"get", get, `v2c "public" flags=0 engine= user="" pdu=0 id=7 error=0.0 enterprise= 2b06010201010100=05:0`},
		{"response", response, `v2c "public" flags=0 engine= user="" pdu=2 id=7 error=0.0 enterprise= 2b06010201010100=04:37 2b06010201010200=06:10 2b06010201010500=04:6`},
		{"trap of version 1", trapV1, `v1 "traps" flags=0 engine= user="" pdu=4 id=0 error=0.0 enterprise=2b0601040109`},
		{"version 3", noAuth, `v3 "" flags=4 engine=8000000903616263646566 user="operator" pdu=0 id=7 error=0.0 enterprise=`},
		{"version 3 encrypted", encrypted, `v3 "" flags=7 engine=8000000903616263646566 user="operator"`},
	} {
		var m Message
		if err := m.Parse(tt.b); err != nil || show(&m) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.name, err, show(&m), tt.want)
		}
		if got := RecogniseDatagram(tt.b); got != wire.SureMatch {
			t.Errorf("%s: match %v", tt.name, got)
		}
		if err := m.Parse(append(bytes.Clone(tt.b), 0)); !errors.Is(err, wire.ErrTrailing) {
			t.Errorf("%s: a byte more: %v", tt.name, err)
		}
		for cut := range tt.b {
			if err := m.Parse(tt.b[:cut]); !errors.Is(err, wire.ErrTruncated) && cut > 0 {
				t.Errorf("%s: cut at %d: %v", tt.name, cut, err)
			}
			if RecogniseDatagram(tt.b[:cut]) != wire.NoMatch {
				t.Errorf("%s: cut at %d recognised", tt.name, cut)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		b     []byte
		field string
		err   error
	}{
		{"a set", tlv(0x31, num(1)), "Message", wire.ErrInvalid},
		{"version 2", seq(num(2), str("public"), pdu(GetRequest)), "version", wire.ErrReserved},
		{"version -1", seq(num(0xff), str("public"), pdu(GetRequest)), "version", wire.ErrReserved},
		{"version empty", seq(num(), str("public"), pdu(GetRequest)), "version", wire.ErrInvalid},
		{"no community", seq(num(1), pdu(GetRequest)), "community", wire.ErrInvalid},
		{"no PDU", seq(num(1), str("public")), "PDU", wire.ErrTruncated},
		{"PDU 9", v2c("public", pdu(9)), "PDU", wire.ErrReserved},
		{"bind of LDAP", seq(num(1), tlv(0x60, num(3))), "community", wire.ErrInvalid},
		{"two PDUs", seq(num(1), str("public"), pdu(GetRequest), pdu(GetRequest)), "Message", wire.ErrTrailing},
		{"long request-id", v2c("public", tlv(0xa0, num(1, 0, 0, 0, 0), num(0), num(0), seq())), "request-id", wire.ErrTooLong},
		{"no bindings", v2c("public", tlv(0xa0, num(1), num(0), num(0))), "variable-bindings", wire.ErrTruncated},
		{"bindings and more", v2c("public", tlv(0xa0, num(1), num(0), num(0), seq(), num(0))), "PDU", wire.ErrTrailing},
		{"binding without value", v2c("public", pdu(GetRequest, seq(oid(SysDescr)))), "value", wire.ErrTruncated},
		{"binding of three", v2c("public", pdu(GetRequest, seq(oid(SysDescr), tlv(0x05), tlv(0x05)))), "VarBind", wire.ErrInvalid},
		{"binding longer than its sequence", v2c("public", pdu(GetRequest, append([]byte{0x30, 2}, append(oid("\x2b"), tlv(0x05)...)...))), "VarBind", wire.ErrInvalid},
		{"name a number", v2c("public", pdu(GetRequest, seq(num(1), tlv(0x05)))), "name", wire.ErrInvalid},
		{"indefinite length", []byte{0x30, 0x80, 2, 1, 1, 0, 0}, "Message", wire.ErrInvalid},
		{"privacy without authentication", v3(2, str("ciphertext")), "msgFlags", wire.ErrInvalid},
		{"two flags", seq(num(3), seq(num(5), num(1), str("ab"), num(3)), str("")), "msgFlags", wire.ErrInvalid},
		{"encrypted and not", v3(7, seq(str(""), str(""), pdu(GetRequest))), "encryptedPDU", wire.ErrInvalid},
		{"not encrypted and so", v3(4, str("ciphertext")), "ScopedPDU", wire.ErrInvalid},
		{"no security parameters", seq(num(3), seq(num(5), num(1), tlv(0x04, []byte{4}), num(3)), str(""), seq(str(""), str(""), pdu(GetRequest))), "UsmSecurityParameters", wire.ErrTruncated},
	} {
		var m Message
		err := m.Parse(tt.b)
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s: %v", tt.name, err, tt.field, tt.err)
		}
		if n := len(show(&m)); m.HasPDU && syntax != nil && syntax.Field != "Message" {
			t.Errorf("%s: has a PDU (%d)", tt.name, n)
		}
	}
	// Another security model than the user-based one is passed over.
	other := seq(num(3), seq(num(5), num(1), tlv(0x04, []byte{4}), num(99)), str("anything"), seq(str(""), str(""), pdu(GetRequest)))
	var m Message
	if err := m.Parse(other); err != nil || !m.HasPDU {
		t.Errorf("other security model: %v", err)
	}
}

func TestBounds(t *testing.T) {
	for n, want := range map[int]error{maxBindings: nil, maxBindings + 1: wire.ErrTooLong} {
		list := tlv(0x30, bytes.Repeat(seq(oid(""), tlv(0x05)), n))
		if err := new(Message).Parse(v2c("public", tlv(0xa2, num(1), num(0), num(0), list))); !errors.Is(err, want) {
			t.Errorf("%d bindings: %v", n, err)
		}
	}
}

func TestRecogniseOthers(t *testing.T) {
	for name, b := range map[string][]byte{
		"LDAP search":  seq(num(1), tlv(0x63, str(""))),
		"Kerberos":     tlv(0x6a, num(5)),
		"empty":        {},
		"DNS":          {0x30, 0x0a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0},
		"MQTT publish": []byte("\x30\x0d\x00\x05icu/1\x02\x01\x00"),
		"other PDU":    v2c("public", pdu(10)),
	} {
		if got := RecogniseDatagram(b); got != wire.NoMatch {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestEnterprise(t *testing.T) {
	for _, tt := range []struct {
		oid  string
		want uint32
		ok   bool
	}{
		{"\x2b\x06\x01\x04\x01\x09\x01\x01", 9, true},
		{"\x2b\x06\x01\x04\x01\xbf\x08\x03", 8072, true},
		{"\x2b\x06\x01\x04\x01\x81\x80\x80\x00", 1 << 21, true},
		{"\x2b\x06\x01\x04\x01\x81\x80\x80\x80\x00", 0, false},
		{"\x2b\x06\x01\x04\x01\xbf", 0, false},
		{"\x2b\x06\x01\x04\x01\x00", 0, false},
		{"\x2b\x06\x01\x04\x01", 0, false},
		{"\x2b\x06\x01\x02\x01\x01", 0, false},
		{"", 0, false},
	} {
		if got, ok := OID(tt.oid).Enterprise(); got != tt.want || ok != tt.ok {
			t.Errorf("%x: %d %v", tt.oid, got, ok)
		}
	}
	if n, ok := EngineEnterprise([]byte{0x80, 0, 0x1f, 0x88, 4}); n != 8072 || !ok {
		t.Errorf("engine: %d %v", n, ok)
	}
	if _, ok := EngineEnterprise([]byte{0x80, 0, 0, 9}); ok {
		t.Error("engine of four bytes")
	}
	if Maker(9) != "Cisco" || Maker(8072) != "" {
		t.Error("makers")
	}
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct{ descr, want string }{
		{"Linux gw-icu 4.4.0-31-generic #50~14.04.1-Ubuntu SMP Wed Jul 13 01:07:32 UTC 2016 x86_64", "  Linux 4.4.0-31-generic"},
		{"Linux gw-icu", "  Linux "},
		{"Linux Dr. Mira Holm's machine", "  Linux "},
		{"Hardware: Intel64 Family 6 Model 23 Stepping 10 AT/AT COMPATIBLE - Software: Windows Version 6.1 (Build 7601 Multiprocessor Free)", "  Windows 7 or Server 2008 R2 "},
		{"Hardware: x86 - Software: Windows 2000 Version 5.1 (Build 2600 Uniprocessor Free)", "  Windows XP "},
		{"Hardware: x86 - Software: Windows Version 6.3 (Build 9600 Multiprocessor Free)", "  Windows 8.1 or Server 2012 R2 "},
		{"Hardware: x86 - Software: Windows Version 6.3 (Build 17763 Multiprocessor Free)", "  Windows 10 or later "},
		{"Hardware: x86 - Software: Windows Version 99", "  Windows "},
		{"Hardware: x86 - Software: Windows ", "  Windows "},
		{"Cisco IOS Software, C2960 Software (C2960-LANBASEK9-M), Version 12.2(55)SE, RELEASE SOFTWARE (fc2)", "Cisco  Cisco IOS 12.2(55)SE"},
		{"Cisco Adaptive Security Appliance Version 9.1(7)", "Cisco  Cisco ASA 9.1(7)"},
		{"HP ETHERNET MULTI-ENVIRONMENT,ROM none,JETDIRECT,JD149,EEPROM V.33,CIDATE 12/17/2010,PID:HP LaserJet 4250", "HP HP LaserJet 4250  "},
		{"RouterOS RB951Ui-2HnD", "MikroTik RB951Ui-2HnD RouterOS "},
		{"VMware ESXi 6.0.0 build-3620759", "VMware  VMware ESXi 6.0.0"},
		{"Juniper Networks, Inc. srx240h internet router, kernel JUNOS 12.1X44-D35.5 #0: 2014", "Juniper srx240h internet router Junos 12.1X44-D35.5"},
		{"Printer of Anna Lindqvist", "   "},
		{"", "   "},
	} {
		d := Describe([]byte(tt.descr))
		if got := fmt.Sprintf("%s %s %s %s", d.Manufacturer, d.Model, d.OS, d.Version); got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.descr, got, tt.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	var m Message
	if n := testing.AllocsPerRun(100, func() {
		_ = m.Parse(response)
		for b := range m.PDU.Bindings() {
			_, _ = OID(b.Value).Enterprise()
		}
		RecogniseDatagram(response)
		RecogniseDatagram(response[:20])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range [][]byte{get, response, trapV1, noAuth, encrypted} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		match := RecogniseDatagram(b)
		var m, again Message
		err, err2 := m.Parse(b), again.Parse(b)
		if (err == nil) != (err2 == nil) || show(&m) != show(&again) {
			t.Fatal("twice the same input, two results")
		}
		if err == nil && match != wire.SureMatch {
			t.Fatal("parsed and not recognised")
		}
		inside := func(s []byte) {
			if !bytes.Contains(b, s) || cap(s) > len(b) {
				t.Fatal("slice outside the input")
			}
		}
		inside(m.Community)
		inside(m.EngineID)
		inside(m.UserName)
		inside(m.PDU.Enterprise)
		for x := range m.PDU.Bindings() {
			inside(x.Name)
			inside(x.Value)
		}
		d := Describe(b)
		inside(d.Model)
		inside(d.Version)
	})
}

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(response)))
	var m Message
	for b.Loop() {
		if err := m.Parse(response); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecogniseDatagram(b *testing.B) {
	for b.Loop() {
		RecogniseDatagram(response)
	}
}
