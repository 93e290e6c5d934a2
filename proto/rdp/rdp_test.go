// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rdp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/rdp"
	"github.com/myelin-health/myelin/wire"
)

// tpkt puts an X.224 header and data into a TPKT (RFC 1006 section 6).
func tpkt(x224 ...byte) []byte {
	return append([]byte{3, 0, byte((len(x224) + 4) >> 8), byte(len(x224) + 4)}, x224...)
}

// request is a connection request with a cookie and RDP_NEG_REQ, laid out as
// MS-RDPBCGR section 4.1.1's, here for TLS and CredSSP.
func request(rest string) []byte {
	return tpkt(append([]byte{byte(6 + len(rest)), 0xe0, 0, 0, 0, 0, 0}, rest...)...)
}

func confirm(rest string) []byte {
	return tpkt(append([]byte{byte(6 + len(rest)), 0xd0, 0, 0, 0x12, 0x34, 0}, rest...)...)
}

func ExamplePDU_Negotiation() {
	p, _, err := rdp.Parse(request("Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x03\x00\x00\x00"))
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := p.Negotiation()
	fmt.Println(n.Cookie, n.Protocols, err)
	// Output: true CredSSP <nil>
}

func TestNegotiation(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want rdp.Negotiation
		err  error
	}{
		{"standard's own", request("Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x00\x00\x00\x00"), rdp.Negotiation{Cookie: true, Present: true}, nil},
		{"old client", request(""), rdp.Negotiation{}, nil},
		{"cookie only", request("Cookie: mstshash=x\r\n"), rdp.Negotiation{Cookie: true}, nil},
		{"routing token", request("Cookie: msts=3640205228.15629.0000\r\n\x01\x00\x08\x00\x01\x00\x00\x00"), rdp.Negotiation{Present: true, Protocols: rdp.SSL}, nil},
		{"confirm", confirm("\x02\x00\x08\x00\x02\x00\x00\x00"), rdp.Negotiation{Present: true, Protocols: rdp.Hybrid}, nil},
		{"failure", confirm("\x03\x00\x08\x00\x02\x00\x00\x00"), rdp.Negotiation{Present: true, Failure: 2}, nil},
		{"length 9", confirm("\x02\x00\x09\x00\x02\x00\x00\x00"), rdp.Negotiation{}, wire.ErrInvalid},
	} {
		p, n, err := rdp.Parse(tt.b)
		if err != nil || n != len(tt.b) {
			t.Fatal(tt.name, n, err)
		}
		if got, err := p.Negotiation(); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

func TestParseNegative(t *testing.T) {
	whole := request("Cookie: mstshash=eltons\r\n")
	for n := range whole {
		if _, _, err := rdp.Parse(whole[:n]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"version 2":       append([]byte{2}, whole[1:]...),
		"no header":       {3, 0, 0, 4, 0, 0, 0},
		"LI 0":            {3, 0, 0, 7, 0, 0xf0, 0x80},
		"request of LI 2": {3, 0, 0, 7, 2, 0xe0, 0x00},
	} {
		if _, _, err := rdp.Parse(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := rdp.Parse([]byte{3, 0, 0, 7, 9, 0xe0, 0x00}); !errors.Is(err, wire.ErrTruncated) {
		t.Error("LI beyond the TPKT:", err)
	}
}

// ber is an element with a length of two bytes.
func ber(tag []byte, contents []byte) []byte {
	return append(append(tag, 0x82, byte(len(contents)>>8), byte(len(contents))), contents...)
}

// initial is an MCS Connect Initial (MS-RDPBCGR section 2.2.1.3) with these channels.
func initial(count uint32, channels ...string) []byte {
	core := make([]byte, 4+2+2+2+2+4)
	core = binary.LittleEndian.AppendUint32(core, 2600)
	name := make([]byte, 32)
	for i, c := range "PROG-1" {
		name[2*i] = byte(c)
	}
	core = append(core, name...)
	net := binary.LittleEndian.AppendUint32(nil, count)
	for _, c := range channels {
		d := make([]byte, 12)
		copy(d, c)
		net = append(net, d...)
	}
	var settings []byte
	for _, b := range []struct {
		kind uint16
		data []byte
	}{{0xc001, core}, {0xc003, net}} {
		settings = binary.LittleEndian.AppendUint16(settings, b.kind)
		settings = binary.LittleEndian.AppendUint16(settings, uint16(4+len(b.data)))
		settings = append(settings, b.data...)
	}
	gcc, _ := hex.DecodeString("000500147c0001" + "8112" + "000800100001c00044756361") // ... "Duca"
	gcc = append(gcc, 0x80|byte(len(settings)>>8), byte(len(settings)))
	gcc = append(gcc, settings...)
	params, _ := hex.DecodeString("30190201220201020201000201010201000201010202ffff020102")
	body := []byte{4, 1, 1, 4, 1, 1, 1, 1, 0xff}
	body = append(append(append(body, params...), params...), params...)
	body = append(body, ber([]byte{4}, gcc)...)
	return tpkt(append([]byte{2, 0xf0, 0x80}, ber([]byte{0x7f, 0x65}, body)...)...)
}

func conference(t *testing.T, b []byte) (rdp.Conference, bool, error) {
	t.Helper()
	p, _, err := rdp.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return p.Conference()
}

func TestConference(t *testing.T) {
	f, ok, err := conference(t, initial(2, "rdpdr", "cliprdr"))
	if !ok || err != nil || f.NChannels != 2 || !f.Channels[1].Is("CLIPRDR") || f.BindsInternal() || f.ClientBuild != 2600 ||
		!bytes.Equal(f.ClientName, []byte("P\x00R\x00O\x00G\x00-\x001\x00")) {
		t.Errorf("%+v, %v, %v", f, ok, err)
	}
	for _, name := range []string{"MS_T120", "ms_t120"} {
		if f, _, err := conference(t, initial(2, "rdpsnd", name)); err != nil || !f.BindsInternal() {
			t.Errorf("%s: %v, %v", name, f.BindsInternal(), err)
		}
	}
	for _, name := range []string{"MS_T121", "MS_T12", "MS_T1200"} {
		if f, _, err := conference(t, initial(1, name)); err != nil || f.BindsInternal() {
			t.Errorf("%s: %v, %v", name, f.BindsInternal(), err)
		}
	}
	for count, want := range map[uint32]error{1: nil, 2: wire.ErrTruncated, 31: wire.ErrTruncated, 32: wire.ErrTooLong, 1<<32 - 1: wire.ErrTooLong} {
		if _, _, err := conference(t, initial(count, "rdpdr")); !errors.Is(err, want) {
			t.Errorf("%d channels: %v", count, err)
		}
	}
	if _, ok, err := conference(t, tpkt(2, 0xf0, 0x80, 0x28)); ok || err != nil {
		t.Error("an attach user request is no conference:", err)
	}
	if _, ok, err := conference(t, confirm("")); ok || err != nil {
		t.Error("a confirm is no conference:", err)
	}
	b := bytes.Replace(initial(0), []byte("Duca"), []byte("duca"), 1)
	if _, _, err := conference(t, b); !errors.Is(err, wire.ErrInvalid) {
		t.Error("without the client's key:", err)
	}
}

func TestRecognise(t *testing.T) {
	sure := request("Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x03\x00\x00\x00")
	for n := range sure {
		if m := rdp.Recognise(sure[:n]); m != wire.NeedMore && m != wire.SureMatch {
			t.Errorf("%d bytes: %v", n, m)
		}
	}
	for name, tt := range map[string]struct {
		b    []byte
		want wire.Match
	}{
		"request":                  {sure, wire.SureMatch},
		"confirm":                  {confirm("\x02\x00\x08\x00\x01\x00\x00\x00"), wire.SureMatch},
		"old":                      {confirm(""), wire.WeakMatch},
		"ISO-TSAP of a controller": {request("\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a"), wire.NoMatch},
		"data":                     {tpkt(2, 0xf0, 0x80, 0x7f), wire.NoMatch},
		"length":                   {append([]byte{3, 0, 0, 99}, sure[4:]...), wire.NoMatch},
		"TLS":                      {[]byte("\x16\x03\x01\x00\x00"), wire.NoMatch},
	} {
		if m := rdp.Recognise(tt.b); m != tt.want {
			t.Errorf("%s: %v, want %v", name, m, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(request("Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x03\x00\x00\x00"))
	f.Add(confirm("\x02\x00\x08\x00\x01\x00\x00\x00"))
	f.Add(initial(2, "rdpdr", "MS_T120"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rdp.Recognise(b)
		p, n, err := rdp.Parse(b)
		if err != nil {
			return
		}
		if n < 7 || n > len(b) || len(p.Data) > n || cap(p.Data) != len(p.Data) {
			t.Fatal("a slice leaves the input")
		}
		p.Negotiation()
		c, ok, err := p.Conference()
		if again, _, _ := p.Conference(); ok && err == nil && (again.NChannels != c.NChannels || c.NChannels > 31 || len(c.ClientName) > 32) {
			t.Fatal("same input, other result")
		}
	})
}
