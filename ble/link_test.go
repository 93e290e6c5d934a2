// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/wire"
)

// The layouts are those of Vol 6 Part B section 2.4.2, behind the header.
var controls = []struct {
	name, hex string
	want      Control
}{
	{"encryption request", "03 0807060504030201 3412 1817161514131211 24232221", Control{Opcode: LLEncReq, Rand: 0x0102030405060708, EDIV: 0x1234, SKD: 0x1112131415161718, IV: 0x21222324}},
	{"encryption response", "04 1817161514131211 24232221", Control{Opcode: LLEncRsp, SKD: 0x1112131415161718, IV: 0x21222324}},
	{"start encryption", "05", Control{Opcode: LLStartEncReq}},
	{"encryption started", "06", Control{Opcode: LLStartEncRsp}},
	{"unknown", "07 20", Control{Opcode: LLUnknownRsp, Rejected: 0x20}},
	{"terminate", "02 13", Control{Opcode: LLTerminateInd, Error: 0x13}},
	{"reject", "0d 06", Control{Opcode: LLRejectInd, Error: 6}},
	{"reject, extended", "11 03 06", Control{Opcode: LLRejectExtInd, Rejected: 3, Error: 6}},
	{"lengths", "14 fb00 4808 fb00 4808", Control{Opcode: LLLengthReq, Data: []byte{0xfb, 0, 0x48, 8, 0xfb, 0, 0x48, 8}}},
	{"of the vendor", "ff f00900", Control{Opcode: 0xff, Data: []byte{0xf0, 9, 0}}},
}

func TestControl(t *testing.T) {
	for _, tt := range controls {
		b := unhex(t, tt.hex)
		checkForm(t, tt.name, b, tt.want, func(m *Control) error { return m.Parse(uint16(b[0]), b[1:]) }, func(m *Control) []byte { return m.Append(nil) })
	}
	checkRefusals(t, []refusal{
		{"request cut", "03 0807060504030201 3412 1817161514131211 242322", "IV_C", 18, wire.ErrTruncated},
		{"start with data", "05 00", "CtrData", 0, wire.ErrTrailing},
		{"terminate too long", "02 13 00", "CtrData", 1, wire.ErrTrailing},
		{"lengths cut", "14 fb00", "CtrData", 0, wire.ErrTruncated},
	}, func(b []byte) error { return new(Control).Parse(uint16(b[0]), b[1:]) })
}

var connectPDU = "c5 22 25242322215a 1514131211c4 74619b50 563412 02 0100 1800 0000 f401 ffffffff1f a9"

var connect = ConnectRequest{
	Initiator: resolvable, Advertiser: static, Access: 0x509b6174, CRCInit: 0x123456,
	WinSize: 2, WinOffset: 1, Interval: 24, Timeout: 500, Channels: [5]byte{0xff, 0xff, 0xff, 0xff, 0x1f}, Hop: 0xa9,
}

func TestConnectRequest(t *testing.T) {
	b := unhex(t, connectPDU)
	var r ConnectRequest
	if err := r.Parse(uint16(b[0]), b[2:]); err != nil || r != connect {
		t.Errorf("%v %s", err, cmp.Diff(connect, r))
	}
	if again := r.AppendPDU(nil); !bytes.Equal(again, b) {
		t.Errorf("appended again: %x", again)
	}
	if err := r.Parse(ConnectInd, b[2:35]); err == nil {
		t.Error("a byte is missing, and it is none")
	}
	if err := r.Parse(ConnectInd, append(b[2:], 0)); err == nil {
		t.Error("a byte is too many, and it is one")
	}
}

func TestScanRequest(t *testing.T) {
	b := unhex(t, "43 0c 35343332312a 030201dc1b00")
	var r ScanRequest
	if err := r.Parse(uint16(b[0]), b[2:]); err != nil || r != (ScanRequest{passing, public}) {
		t.Errorf("%v, %v", r, err)
	}
	if again := r.AppendPDU(nil); !bytes.Equal(again, b) {
		t.Errorf("appended again: %x", again)
	}
	if r.Parse(ScanReq, b[2:13]) == nil || r.Parse(ScanReq, append(b[2:], 0)) == nil {
		t.Error("a byte more or less, and it is one")
	}
}

func FuzzLL(f *testing.F) {
	for _, tt := range controls {
		b := unhex(f, tt.hex)
		f.Add(uint16(b[0])<<8|LLIDControl, b[1:])
	}
	for _, tt := range advertisingPDUs {
		b := unhex(f, tt.hex)
		f.Add(uint16(b[0]), b[2:])
	}
	f.Add(uint16(ConnectInd), unhex(f, connectPDU)[2:])
	f.Fuzz(func(t *testing.T, header uint16, b []byte) {
		if len(b) > 255 {
			return
		}
		var m, n Control
		if m.Parse(header>>8, b) == nil {
			out := m.Append(nil)
			if out[0] != uint8(header>>8) || !bytes.Equal(out[1:], b) {
				t.Fatalf("%x came back as %x", b, out)
			}
			if n.Parse(header>>8, b) != nil || !cmp.Equal(m, n) {
				t.Fatal("twice the same input, two results")
			}
		}
		var r ConnectRequest
		if r.Parse(header, b) == nil {
			if out := r.AppendPDU(nil); !bytes.Equal(out[2:], b) {
				t.Fatalf("%x came back as %x", b, out)
			}
		}
		var s ScanRequest
		if s.Parse(header, b) == nil {
			if out := s.AppendPDU(nil); !bytes.Equal(out[2:], b) {
				t.Fatalf("%x came back as %x", b, out)
			}
		}
		// Of an extended PDU what Append writes says the same; the fields that
		// are passed over are left out.
		var a, again Advertisement
		if a.Parse(header, b) == nil && len(a.Data) < 200 {
			out := a.AppendPDU(nil)
			if err := again.Parse(uint16(out[0]), out[2:]); err != nil || !cmp.Equal(a, again) {
				t.Fatalf("%x came back as %x: %v\n%s", b, out, err, cmp.Diff(a, again))
			}
		}
		total := 0
		for ad := range a.Structures() {
			total += len(ad.Data)
		}
		if total > len(b) {
			t.Fatal("more data than bytes")
		}
	})
}

// slowCRC is the shift register of Vol 6 Part B section 3.1.1, figure 3.4, bit
// by bit: position 23 is sent first.
func slowCRC(init uint32, pdu []byte) []byte {
	reg := init
	for _, b := range pdu {
		for i := range 8 {
			in := uint32(b>>i&1) ^ reg>>23&1
			reg = reg << 1 & 0xffffff
			if in != 0 {
				reg ^= 0x00065b // x^10 + x^9 + x^6 + x^4 + x^3 + x + 1
			}
		}
	}
	out := make([]byte, 3)
	for i := range 24 {
		out[i/8] |= uint8(reg>>(23-i)&1) << (i % 8)
	}
	return out
}

func TestCRC24(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		pdu := make([]byte, rnd.IntN(60))
		for i := range pdu {
			pdu[i] = byte(rnd.Uint32())
		}
		init := rnd.Uint32() & 0xffffff
		want := slowCRC(init, pdu)
		if got := CRC24(init, pdu); got != uint24(want) {
			t.Fatalf("%#x of %x from %#x, want %x", got, pdu, init, want)
		}
		air := AppendAir(nil, 0x509b6174, init, pdu)
		if !bytes.Equal(air[:4], []byte{0x74, 0x61, 0x9b, 0x50}) || !bytes.Equal(air[len(air)-3:], want) {
			t.Fatalf("on the air: %x", air)
		}
	}
}

func TestValidAccess(t *testing.T) {
	for _, tt := range []struct {
		access uint32
		want   bool
		why    string
	}{
		{0x509b6174, true, ""},
		{0x9a328370, true, ""},
		{AdvertisingAccess, false, "the advertising address"},
		{AdvertisingAccess ^ 1<<9, false, "one bit away from it"},
		{AdvertisingAccess ^ 3<<9, true, "two bits away from it"},
		{0x36363636, false, "four times the same"},
		{0x5db40076, false, "more than six zeros in a row"},
		{0x5d7f8126, false, "more than six ones in a row"},
		{0xaaaa5556, false, "more than 24 transitions"},
		{0x0f9b6174, false, "one transition among the six most significant bits"},
	} {
		if got := ValidAccess(tt.access); got != tt.want {
			t.Errorf("%#x: %v; %s", tt.access, got, tt.why)
		}
	}
}

func TestAddressKinds(t *testing.T) {
	for top, want := range map[byte]AddressKind{0x00: NonResolvable, 0x3f: NonResolvable, 0x40: Resolvable, 0x7f: Resolvable, 0xc0: StaticRandom, 0xff: StaticRandom, 0x80: NonResolvable} {
		if a := addressOf(true, []byte{1, 2, 3, 4, 5, top}); a.Kind != want || a.Bytes != [6]byte{top, 5, 4, 3, 2, 1} {
			t.Errorf("%#x: %+v", top, a)
		}
		if a := addressOf(false, []byte{1, 2, 3, 4, 5, top}); a.Kind != Public || !a.Trackable() {
			t.Errorf("public %#x: %+v", top, a)
		}
	}
	for _, a := range []Address{{}, public, static, resolvable, passing} {
		if s := fmt.Sprintf("%v %+v %s", a, &Advertisement{Advertiser: a}, a); !strings.Contains(s, "address") || strings.Contains(s, "21") || strings.Contains(s, "33") {
			t.Errorf("an address is printed: %s", s)
		}
	}
	if resolvable.Trackable() || passing.Trackable() || !static.Trackable() || (Address{}).Trackable() {
		t.Error("which addresses can be followed")
	}
}

// The sample data of Vol 3 Part H appendix D.7.
func TestAH(t *testing.T) {
	irk := unhex(t, "9b7d390aa6101034 05adc857a33402ec") // ec0234a3 57c8ad05 341010a6 0a397d9b, as it is sent
	r := newResolver(irk, static)
	a := Address{[6]byte{0x70, 0x81, 0x94, 0x0d, 0xfb, 0xaa}, Resolvable} // prand 708194, hash 0dfbaa
	if !r.made(a) {
		t.Error("the key made the address")
	}
	for bit := range 48 {
		other := a
		other.Bytes[bit/8] ^= 1 << (bit % 8)
		if r.made(other) {
			t.Errorf("and, with bit %d changed, another", bit)
		}
	}
}

// The sample data of Vol 6 Part C section 1: an encrypted link from
// LL_ENC_REQ to both LL_START_ENC_RSP.
func TestSession(t *testing.T) {
	ltk := unhex(t, "bf01fb9d4ef3bc36 d874f5394138684c") // 4C68384139F574D836BCF34E9DFB01BF, as it is sent
	s := session{skd: [2]uint64{0xacbdcedfe0f10213, 0x0213243546576879}, iv: [2]uint32{0xbadcab24, 0xdeafbabe}, have: [2]bool{true, true}}
	central, peripheral := unhex(t, "9fcda7f448"), unhex(t, "a34c13a415")
	if !s.opens(ltk, fromCentral, 0x0f, central) {
		t.Error("LL_START_ENC_RSP of the central")
	}
	if !s.opens(ltk, fromPeripheral, 0x07, peripheral) {
		t.Error("LL_START_ENC_RSP of the peripheral")
	}
	// NESN, SN and MD are not authenticated: they change when a PDU is sent again.
	if !s.opens(ltk, fromCentral, 0x0f^0x1c, central) {
		t.Error("sent again")
	}
	var zero [16]byte
	if s.opens(zero[:], fromCentral, 0x0f, central) || s.opens(ltk, fromPeripheral, 0x0f, central) || s.opens(ltk, fromCentral, 0x0e, central) {
		t.Error("another key, direction or header opens it")
	}
	for bit := range 40 {
		b := bytes.Clone(central)
		b[bit/8] ^= 1 << (bit % 8)
		if s.opens(ltk, fromCentral, 0x0f, b) {
			t.Errorf("with bit %d changed it opens", bit)
		}
	}
	s.have[1] = false
	if s.opens(ltk, fromCentral, 0x0f, central) {
		t.Error("with half of the session key diversifier it opens")
	}
}

// The debug key pair of Vol 3 Part H section 2.3.5.6.1 is on the curve.
func TestOnCurve(t *testing.T) {
	x := "20b003d2f297be2c5e2c83a7e9f9a5b9eff49111acf4fddbcc0301480e359de6"
	y := "dc809c49652aeb6d63329abf5a52155c766345c28fed3024741c8ed01589d28b"
	b := unhex(t, x+y)
	for _, half := range [][]byte{b[:32], b[32:]} {
		for i := range 16 {
			half[i], half[31-i] = half[31-i], half[i]
		}
	}
	if !onCurve(b) {
		t.Error("the debug key is not on the curve")
	}
	b[40] ^= 1
	if onCurve(b) {
		t.Error("any point is on the curve")
	}
	clear(b[32:]) // the invalid curve attack: y is zero
	if onCurve(b) {
		t.Error("a point of order two is on the curve")
	}
}

func TestOddities(t *testing.T) {
	seen := map[string]bool{"": true}
	for o := ZeroKey; o <= DebugKey; o++ {
		if s := o.String(); seen[s] || strings.HasSuffix(s, ".") {
			t.Errorf("%d: %q", o, s)
		}
		seen[o.String()] = true
	}
	if Oddity(200).String() != "" || Method(200).String() != "" {
		t.Error("what is none has a name")
	}
}
