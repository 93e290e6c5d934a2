// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dcerpc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/dcerpc"
	"github.com/myelin-health/myelin/wire"
)

// pdu makes a PDU in little-endian order (C706 section 12.6.3.1).
func pdu(t dcerpc.PacketType, call uint32, body []byte) []byte {
	b := []byte{5, 0, byte(t), 3, 0x10, 0, 0, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(16+len(body)))
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, call)
	return append(b, body...)
}

// svcctl is the interface's UUID as it travels (C706 appendix A).
var svcctl = []byte{0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03}

func bind(n int) []byte {
	body := []byte{0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, byte(n), 0, 0, 0}
	for i := range n {
		body = append(body, byte(i), 0, 1, 0)
		body = append(body, svcctl...)
		body = append(body, 2, 0, 0, 0)
		body = append(body, make([]byte, 20)...)
	}
	return pdu(dcerpc.Bind, 2, body)
}

func request(opnum byte) []byte {
	return pdu(dcerpc.Request, 3, []byte{4, 0, 0, 0, 1, 0, opnum, 0, 's', 't', 'u', 'b'})
}

func ExamplePDU_Parse() {
	var p dcerpc.PDU
	if err := p.Parse(bind(1)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Contexts[0].Interface.Name(), dcerpc.Executes(p.Contexts[0].Interface, 12))
	// Output: svcctl service control manager
}

func TestParse(t *testing.T) {
	var p dcerpc.PDU
	if err := p.Parse(append(request(19), "the next PDU"...)); err != nil || p.Opnum != 19 || p.Context != 1 || p.CallID != 3 || string(p.Stub) != "stub" || p.Length != 28 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := p.Parse(pdu(dcerpc.Response, 3, []byte{4, 0, 0, 0, 1, 0, 0, 0, 0x1d, 4, 0, 0})); err != nil {
		t.Error(err)
	}
	if v, ok := p.ReturnValue(); !ok || v != 1053 {
		t.Errorf("return value %d, %v", v, ok)
	}
	if err := p.Parse(pdu(dcerpc.Fault, 3, []byte{4, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0})); err != nil || p.Status != 5 {
		t.Errorf("%+v, %v", p, err)
	}
	// More contexts than are kept.
	if err := p.Parse(bind(20)); err != nil || p.NContext != len(p.Contexts) {
		t.Errorf("%d contexts, %v", p.NContext, err)
	}
	// Big-endian, as other systems send it.
	b := []byte{5, 0, 0, 3, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 12}
	if err := p.Parse(b); err != nil || p.Opnum != 12 || p.CallID != 9 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestParseNegative(t *testing.T) {
	var p dcerpc.PDU
	for n := range bind(1) {
		if err := p.Parse(bind(1)[:n]); n < 28+24+20 && !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"version 4":         append([]byte{4}, request(1)[1:]...),
		"minor version 2":   append([]byte{5, 2}, request(1)[2:]...),
		"shorter than head": {5, 0, 0, 3, 0x10, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		if err := p.Parse(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A return value that is encrypted, cut, or in a fragment that is not the last.
	whole := pdu(dcerpc.Response, 3, []byte{4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	for name, change := range map[string]func(b []byte) []byte{
		"verifier": func(b []byte) []byte { b[10] = 16; return b },
		"not last": func(b []byte) []byte { b[3] = 1; return b },
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
	} {
		p.Parse(change(bytes.Clone(whole)))
		if _, ok := p.ReturnValue(); ok {
			t.Errorf("%s: a return value", name)
		}
	}
}

func datagram() []byte {
	b := make([]byte, 80+5)
	b[0], b[4] = 4, 0x10
	copy(b[24:], []byte{0x01, 0x00, 0xa0, 0xde, 0x97, 0x6c, 0xd1, 0x11, 0x82, 0x71, 0x00, 0xa0, 0x24, 0x42, 0xdf, 0x7d})
	b[68], b[74] = 2, 5
	return b
}

func TestDatagram(t *testing.T) {
	d, err := dcerpc.ParseDatagram(datagram())
	if err != nil || d.Interface != dcerpc.PNIODevice || d.Opnum != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	if m := dcerpc.RecogniseDatagram(datagram()); m != wire.SureMatch {
		t.Error(m)
	}
	for name, change := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:79] },
		"version": func(b []byte) []byte { b[0] = 5; return b },
		"type":    func(b []byte) []byte { b[1] = 11; return b },
	} {
		b := change(datagram())
		if _, err := dcerpc.ParseDatagram(b); err == nil {
			t.Errorf("%s: no error", name)
		}
		if m := dcerpc.RecogniseDatagram(b); m != wire.NoMatch {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := dcerpc.RecogniseDatagram(datagram()[:84]); m != wire.NoMatch {
		t.Error("a length that is not the datagram's:", m)
	}
}

func TestRecognise(t *testing.T) {
	for n := range bind(1) {
		if m := dcerpc.Recognise(bind(1)[:n]); n < 16 && m != wire.NeedMore || n >= 16 && m != wire.SureMatch {
			t.Errorf("%d bytes: %v", n, m)
		}
	}
	for _, no := range []string{"\x05\x01\x00", "\x04", "\x05\x00\x14", "\x05\x00\x0b\x30", "GET / HTTP/1.1\r\n", "\x05\x00\x0b\x03\x11\x00\x00\x00\x48\x00\x00\x00\x00\x00\x00\x00"} {
		if m := dcerpc.Recognise([]byte(no)); m != wire.NoMatch && !(no == "\x05\x01\x00" && m == wire.NeedMore) {
			t.Errorf("%q: %v", no, m)
		}
	}
}

func TestExecutes(t *testing.T) {
	for _, tt := range []struct {
		u     dcerpc.UUID
		opnum uint16
		want  string
	}{
		{dcerpc.SVCCTL, 19, "service control manager"},
		{dcerpc.SVCCTL, 15, ""},
		{dcerpc.ATSvc, 0, "task scheduler"},
		{dcerpc.TaskScheduler, 1, "task scheduler"},
		{dcerpc.WbemServices, 24, "WMI"},
		{dcerpc.SAMR, 12, ""},
		{dcerpc.UUID{}, 12, ""},
	} {
		if got := dcerpc.Executes(tt.u, tt.opnum); got != tt.want {
			t.Errorf("%s %d: %q", tt.u.Name(), tt.opnum, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(bind(2))
	f.Add(request(19))
	f.Add(datagram())
	f.Fuzz(func(t *testing.T, b []byte) {
		dcerpc.Recognise(b)
		dcerpc.RecogniseDatagram(b)
		dcerpc.ParseDatagram(b)
		var p, q dcerpc.PDU
		err := p.Parse(b)
		if again := q.Parse(b); (err == nil) != (again == nil) || p.Opnum != q.Opnum || p.NContext != q.NContext {
			t.Fatal("same input, other result")
		}
		if len(p.Stub) > len(b) || cap(p.Stub) != len(p.Stub) || p.NContext > len(p.Contexts) {
			t.Fatal("a slice leaves the input")
		}
		p.ReturnValue()
	})
}

func BenchmarkParse(b *testing.B) {
	in := request(19)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		var p dcerpc.PDU
		if err := p.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
