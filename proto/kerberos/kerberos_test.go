// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package kerberos_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/kerberos"
	"github.com/myelin-health/myelin/wire"
)

func tlv(tag byte, contents ...[]byte) []byte {
	c := bytes.Join(contents, nil)
	if len(c) < 128 {
		return append([]byte{tag, byte(len(c))}, c...)
	}
	return append([]byte{tag, 0x82, byte(len(c) >> 8), byte(len(c))}, c...)
}

func num(n byte) []byte { return []byte{2, 1, n} }

func name(parts ...string) []byte {
	var list [][]byte
	for _, p := range parts {
		list = append(list, tlv(0x1b, []byte(p)))
	}
	return tlv(0x30, tlv(0xa0, num(1)), tlv(0xa1, tlv(0x30, list...)))
}

var (
	realm = tlv(0x1b, []byte("ADA.EXAMPLE"))
	stamp = tlv(0x18, []byte("20260303060000Z"))
)

// request is a KDC-REQ (RFC 4120 section 5.4.1).
func request(tag byte, padata []byte, cname []byte, sname []byte, etypes ...byte) []byte {
	var list [][]byte
	for _, e := range etypes {
		list = append(list, num(e))
	}
	body := [][]byte{tlv(0xa0, tlv(3, []byte{0, 0x40, 0, 0, 0}))}
	if cname != nil {
		body = append(body, tlv(0xa1, cname))
	}
	body = append(body, tlv(0xa2, realm), tlv(0xa3, sname), tlv(0xa5, stamp), tlv(0xa7, num(42)), tlv(0xa8, tlv(0x30, list...)),
		tlv(0xa9, tlv(0x30, tlv(0x30, tlv(0xa0, num(20)), tlv(0xa1, tlv(4, []byte("PROG-1          ")))))))
	in := [][]byte{tlv(0xa1, num(5)), tlv(0xa2, num(tag&0x1f))}
	if padata != nil {
		in = append(in, tlv(0xa3, tlv(0x30, padata)))
	}
	return tlv(tag, tlv(0x30, append(in, tlv(0xa4, tlv(0x30, body...)))...))
}

func ticket(etype byte, parts ...string) []byte {
	return tlv(0x61, tlv(0x30, tlv(0xa0, num(5)), tlv(0xa1, realm), tlv(0xa2, name(parts...)),
		tlv(0xa3, tlv(0x30, tlv(0xa0, num(etype)), tlv(0xa2, tlv(4, []byte("sealed")))))))
}

// shown is the PA-DATA of a TGS request: an AP-REQ with a ticket.
func shown(etype byte) []byte {
	ap := tlv(0x6e, tlv(0x30, tlv(0xa0, num(5)), tlv(0xa1, num(14)), tlv(0xa2, tlv(3, make([]byte, 5))), tlv(0xa3, ticket(etype, "krbtgt", "ADA.EXAMPLE"))))
	return tlv(0x30, tlv(0xa1, num(1)), tlv(0xa2, tlv(4, ap)))
}

func reply(tag, etype byte, sname ...string) []byte {
	return tlv(tag, tlv(0x30, tlv(0xa0, num(5)), tlv(0xa1, num(tag&0x1f)), tlv(0xa3, realm), tlv(0xa4, name("lea")), tlv(0xa5, ticket(etype, sname...)),
		tlv(0xa6, tlv(0x30, tlv(0xa0, num(18)), tlv(0xa2, tlv(4, []byte("sealed")))))))
}

func failure(code byte) []byte {
	return tlv(0x7e, tlv(0x30, tlv(0xa0, num(5)), tlv(0xa1, num(30)), tlv(0xa4, stamp), tlv(0xa5, num(1)), tlv(0xa6, num(code)), tlv(0xa9, realm), tlv(0xaa, name("krbtgt", "ADA"))))
}

func ExampleMessage_Parse() {
	var m kerberos.Message
	err := m.Parse(request(0x6a, nil, name("CT-1$"), name("krbtgt", "ADA.EXAMPLE"), 18, 23))
	fmt.Printf("%s %s %v %v\n", m.Computer, m.HostName, m.Offers(kerberos.RC4HMAC), err)
	// Output: CT-1 PROG-1 true <nil>
}

func TestParse(t *testing.T) {
	var m kerberos.Message
	// A person's name is not given.
	if err := m.Parse(request(0x6a, nil, name("lea"), name("krbtgt", "ADA.EXAMPLE"), 18)); err != nil || m.Type != kerberos.ASReq || m.Computer != nil || m.Offers(23) {
		t.Errorf("%+v, %v", m, err)
	}
	if err := m.Parse(request(0x6c, shown(18), nil, name("HTTP", "ehr.ada.example"), 18, 23)); err != nil || m.TGTEtype != 18 || string(m.Service) != "HTTP" || m.Parts != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := m.Parse(reply(0x6b, 17, "krbtgt", "ADA.EXAMPLE")); err != nil || m.Type != kerberos.ASRep || m.Etype != 17 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := m.Parse(failure(24)); err != nil || m.Type != kerberos.Error || m.ErrorCode != kerberos.ErrPreauthFailed {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestRoasts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		req, rep []byte
		want     bool
	}{
		{"RC4 where AES is in use", request(0x6c, shown(18), nil, name("HTTP", "ehr"), 18, 23), reply(0x6d, 23, "HTTP", "ehr"), true},
		{"AES", request(0x6c, shown(18), nil, name("HTTP", "ehr"), 18, 23), reply(0x6d, 18, "HTTP", "ehr"), false},
		{"realm of RC4", request(0x6c, shown(23), nil, name("HTTP", "ehr"), 23), reply(0x6d, 23, "HTTP", "ehr"), false},
		{"another realm's centre", request(0x6c, shown(18), nil, name("krbtgt", "B"), 18, 23), reply(0x6d, 23, "krbtgt", "B"), false},
		{"user to user", request(0x6c, shown(18), nil, name("lea"), 18, 23), reply(0x6d, 23, "lea"), false},
		{"first ticket", request(0x6a, nil, name("lea"), name("krbtgt", "A"), 23), reply(0x6b, 23, "krbtgt", "A"), false},
	} {
		var req, rep kerberos.Message
		if err := errors.Join(req.Parse(tt.req), rep.Parse(tt.rep)); err != nil {
			t.Fatal(tt.name, err)
		}
		if got := rep.Roasts(&req); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestParseNegative(t *testing.T) {
	for _, whole := range [][]byte{request(0x6c, shown(18), nil, name("HTTP", "ehr"), 18), reply(0x6d, 23, "a", "b"), failure(6)} {
		for n := range whole {
			var m kerberos.Message
			if err := m.Parse(whole[:n]); err == nil || n > 0 && !errors.Is(err, wire.ErrTruncated) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
	for name, b := range map[string][]byte{
		"universal tag":      append([]byte{0x2a}, failure(6)[1:]...),
		"AP-REQ":             append([]byte{0x6e}, failure(6)[1:]...),
		"no body":            tlv(0x6a, tlv(0x30, tlv(0xa1, num(5)), tlv(0xa2, num(10)), tlv(0xa5, num(1)))),
		"error without code": tlv(0x7e, tlv(0x30, tlv(0xa0, num(5)), tlv(0xa1, num(30)), tlv(0xa9, realm))),
		"name not a text":    request(0x6a, nil, tlv(0x30, tlv(0xa0, num(1)), tlv(0xa1, tlv(0x30, num(1)))), name("x")),
	} {
		var m kerberos.Message
		if err := m.Parse(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// More encryption types and parts than are kept.
	var m kerberos.Message
	if err := m.Parse(request(0x6a, nil, name("a", "b", "c", "d", "e", "f", "g", "h", "i", "j"), name("x"), bytes.Repeat([]byte{1}, 30)...)); err != nil || m.NEtypes != len(m.Etypes) {
		t.Errorf("%d types, %v", m.NEtypes, err)
	}
}

func TestRecord(t *testing.T) {
	for in, want := range map[string]error{
		"\x00\x00\x00\x01": nil, "\x00\x02\x00\x00": nil,
		"\x00\x02\x00\x01": wire.ErrTooLong, "\x80\x00\x00\x01": wire.ErrTooLong, "\x00\x00\x00\x00": wire.ErrTooLong, "\x00\x00\x00": wire.ErrTruncated,
	} {
		if _, err := kerberos.ParseRecord([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%x: %v", in, err)
		}
	}
}

func record(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

func TestRecognise(t *testing.T) {
	for _, b := range [][]byte{request(0x6a, nil, nil, name("x"), 18), request(0x6c, shown(18), nil, name("x"), 18), reply(0x6b, 18, "x"), failure(6)} {
		if m := kerberos.RecogniseDatagram(b); m != wire.SureMatch {
			t.Errorf("%x: %v", b, m)
		}
		for n := range record(b) {
			if m := kerberos.Recognise(record(b)[:n]); m != wire.NeedMore && m != wire.SureMatch {
				t.Errorf("%d bytes of %x: %v", n, b, m)
			}
		}
	}
	version := bytes.Replace(failure(6), []byte{0xa0, 3, 2, 1, 5}, []byte{0xa0, 3, 2, 1, 4}, 1)
	for _, no := range [][]byte{version, tlv(0x30, num(5), make([]byte, 60)), bytes.Repeat([]byte("n"), 64), tlv(0x61, tlv(0x30, tlv(0xa0, num(5))), make([]byte, 60))} {
		if m := kerberos.RecogniseDatagram(no); m != wire.NoMatch {
			t.Errorf("%x: %v", no, m)
		}
	}
	for _, no := range []string{"GET / ", "\x00\x00\x00\x05\x6a\x03", "\xff\xff"} {
		if m := kerberos.Recognise([]byte(no)); m != wire.NoMatch {
			t.Errorf("%q: %v", no, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(request(0x6c, shown(18), nil, name("HTTP", "ehr"), 18, 23))
	f.Add(reply(0x6d, 23, "HTTP", "ehr"))
	f.Add(failure(24))
	f.Fuzz(func(t *testing.T, b []byte) {
		kerberos.Recognise(b)
		kerberos.RecogniseDatagram(b)
		var m, n kerberos.Message
		err := m.Parse(b)
		if again := n.Parse(b); (err == nil) != (again == nil) || m.Type != n.Type || m.Etype != n.Etype || m.NEtypes != n.NEtypes {
			t.Fatal("same input, other result")
		}
		for _, s := range [][]byte{m.Computer, m.HostName, m.Service} {
			if len(s) > len(b) {
				t.Fatal("a slice leaves the input")
			}
		}
	})
}
