// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dhcp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/dhcp"
	"github.com/myelin-health/myelin/wire"
)

var mac = []byte{0, 0, 0x5e, 0, 0x53, 1}

// message is a DHCPv4 message with these options, and those in the fields lent to it.
func message(op byte, options, file, sname []byte) []byte {
	b := append([]byte{op, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0}, make([]byte, 4)...)
	b = append(b, 10, 20, 8, 11, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(append(b, mac...), make([]byte, 10)...)
	b = append(append(b, sname...), make([]byte, 64-len(sname))...)
	b = append(append(b, file...), make([]byte, 128-len(file))...)
	return append(append(b, 0x63, 0x82, 0x53, 0x63), options...)
}

func option(code byte, data string) []byte { return append([]byte{code, byte(len(data))}, data...) }

func Example() {
	m, err := dhcp.Parse(message(1, slices.Concat(option(53, "\x01"), option(12, "ct-1"), option(60, "MSFT 5.0"), []byte{255}), nil, nil))
	fmt.Printf("%d %s %s %v\n", m.Type, m.HostName(), dhcp.Identify(m.Option(dhcp.OptionVendorClass), nil).OS, err)
	// Output: 1 ct-1 Windows <nil>
}

func ExampleMessage_Options() {
	m, _ := dhcp.Parse(message(1, slices.Concat(option(53, "\x03"), []byte{0, 0}, option(50, "\x0a\x14\x08\x0b")), nil, nil))
	for code, data := range m.Options() {
		fmt.Println(code, len(data))
	}
	// Output:
	// 53 1
	// 50 4
}

func ExampleParseV6() {
	b := append([]byte{byte(dhcp.Solicit), 1, 2, 3}, v6option(1, "\x00\x03\x00\x01\x00\x00\x5e\x00\x53\x01")...)
	m, err := dhcp.ParseV6(append(b, v6option(39, "\x00\x05mon-3\x03ada\x00")...))
	fmt.Printf("%s %x %v\n", m.HostName(), dhcp.MAC(m.ClientID), err)
	// Output: mon-3.ada 00005e005301 <nil>
}

func TestParse(t *testing.T) {
	options := slices.Concat([]byte{0}, option(53, "\x05"), option(54, "\x0a\x14\x01\x01"), option(3, "\x0a\x14\x08\x01\x0a\x14\x08\x02"), []byte{255, 1})
	m, err := dhcp.Parse(message(2, options, nil, nil))
	if err != nil || !m.Reply || m.Type != dhcp.Ack || m.ID != 0xdeadbeef || m.Your != netip.MustParseAddr("10.20.8.11") ||
		!bytes.Equal(m.MAC, mac) || m.Address(dhcp.OptionServerIdentifier) != netip.MustParseAddr("10.20.1.1") ||
		m.Address(dhcp.OptionRouter) != netip.MustParseAddr("10.20.8.1") || m.Address(dhcp.OptionDomainNameServer).IsValid() {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestOverload(t *testing.T) {
	part := func(code byte, s string) []byte { return append(option(code, s), 255) }
	for overload, want := range []string{"Flow", "Flow 500", "Flow v2", "Flow 500 v2"} {
		b := message(1, append(option(52, string(rune(overload))), part(60, "Flow")...), part(60, " 500"), part(60, " v2"))
		m, err := dhcp.Parse(b)
		// RFC 3396 section 5: options, then file, then sname.
		if got := string(m.Option(60)); err != nil || got != want {
			t.Errorf("overload %d: %q, %v; want %q", overload, got, err, want)
		}
		if cap(m.Option(52)) != 1 {
			t.Error("an option that can be appended to in place")
		}
	}
}

func TestHostName(t *testing.T) {
	tests := []struct {
		options []byte
		want    string
	}{
		{option(12, "ct-1"), "ct-1"},
		{option(81, "\x00\x00\x00ct-1.ada"), "ct-1.ada"},
		{option(81, "\x04\x00\x00\x04ct-1\x03ada\x00"), "ct-1.ada"}, // RFC 4702 section 2.3.1
		{option(81, "\x04\x00\x00\x04ct-1"), "ct-1"},
		{option(81, "\x04\x00\x00\x09ct-1"), ""},
		{slices.Concat(option(81, "\x00\x00"), option(12, "ct-1")), "ct-1"},
		{nil, ""},
	}
	for _, tt := range tests {
		m, _ := dhcp.Parse(message(1, tt.options, nil, nil))
		if got := string(m.HostName()); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	whole := message(1, nil, nil, nil)
	for i := range whole {
		if _, err := dhcp.Parse(whole[:i]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	set := func(i int, v byte) []byte {
		b := slices.Clone(whole)
		b[i] = v
		return b
	}
	tests := []struct {
		in    []byte
		field string
		off   int
		err   error
	}{
		{set(0, 0), "op", 0, wire.ErrInvalid},
		{set(0, 3), "op", 0, wire.ErrInvalid},
		{set(236, 0), "magic cookie", 236, wire.ErrInvalid},
		{message(1, []byte{53}, nil, nil), "options", 240, wire.ErrTruncated},
		{message(1, []byte{53, 1, 1, 12, 5, 'c', 't'}, nil, nil), "options", 243, wire.ErrTruncated},
	}
	for _, tt := range tests {
		_, err := dhcp.Parse(tt.in)
		var se *wire.SyntaxError
		if !errors.As(err, &se) || se.Field != tt.field || se.Off != tt.off || se.Err != tt.err {
			t.Errorf("%v; want %s at %d: %v", err, tt.field, tt.off, tt.err)
		}
	}
	if m, _ := dhcp.Parse(message(1, []byte{53, 1, 1, 12, 5, 'c', 't'}, nil, nil)); m.Type != dhcp.Discover {
		t.Error("what stands before the damage is lost")
	}
	if m, err := dhcp.Parse(set(2, 16)); err != nil || m.MAC != nil { // hlen of InfiniBand
		t.Error(m.MAC, err)
	}
}

func v6option(code uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// relayed wraps a message in n relays' envelopes.
func relayed(b []byte, n int) []byte {
	for range n {
		b = append(append([]byte{byte(dhcp.RelayForward), 0}, make([]byte, 32)...), v6option(9, string(b))...)
	}
	return b
}

func TestV6(t *testing.T) {
	address := netip.MustParseAddr("2001:db8::11")
	a16 := address.As16()
	iana := string(make([]byte, 12)) + string(v6option(5, string(a16[:])+string(make([]byte, 8))))
	duid := "\x00\x01\x00\x01\x1c\x39\xcf\x88\x00\x00\x5e\x00\x53\x01"
	reply := slices.Concat([]byte{7, 1, 2, 3}, v6option(1, duid), v6option(2, "\x00\x02\x00\x00\x01\x37ab"), v6option(3, iana),
		v6option(16, "\x00\x00\x01\x37\x00\x08MSFT 5.0"))
	for _, n := range []int{0, 1, 8} {
		m, err := dhcp.ParseV6(relayed(reply, n))
		if err != nil || m.Type != dhcp.ReplyV6 || m.ID != 0x010203 || m.Address != address || m.Enterprise != 311 ||
			string(m.VendorClass) != "MSFT 5.0" || m.FromClient() || m.Relays != n || !bytes.Equal(dhcp.MAC(m.ClientID), mac) || dhcp.MAC(m.ServerID) != nil {
			t.Errorf("%d relays: %+v, %v", n, m, err)
		}
	}
	if _, err := dhcp.ParseV6(relayed(reply, 9)); !errors.Is(err, wire.ErrTooDeep) {
		t.Error(err)
	}
	for i := range reply {
		if _, err := dhcp.ParseV6(reply[:i]); err != nil && !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	for _, in := range [][]byte{nil, {7, 1, 2}, {12, 0}, relayed(nil, 1), {7, 1, 2, 3, 0, 3, 0, 2, 0, 0}, {7, 1, 2, 3, 0, 3, 0, 1, 0, 0}} {
		if _, err := dhcp.ParseV6(in); !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("ParseV6(%x): %v", in, err)
		}
	}
}

func TestRecognise(t *testing.T) {
	v4 := message(1, option(53, "\x01"), nil, nil)
	v6 := append([]byte{1, 1, 2, 3}, v6option(1, "\x00\x03\x00\x01\x00\x00\x5e\x00\x53\x01")...)
	tests := []struct {
		name string
		in   []byte
		want wire.Match
	}{
		{"v4", v4, wire.SureMatch},
		{"v4 op 3", append([]byte{3}, v4[1:]...), wire.NoMatch},
		{"v4 cut", v4[:239], wire.NoMatch},
		{"v6", v6, wire.WeakMatch},
		{"v6 relayed", relayed(v6, 1), wire.WeakMatch},
		{"v6 with a byte more", append(slices.Clone(v6), 0), wire.NoMatch},
		{"v6 without options", v6[:4], wire.NoMatch},
		{"v6 option 0", []byte{1, 1, 2, 3, 0, 0, 0, 0}, wire.NoMatch},
		{"v6 type 14", append([]byte{14}, v6[1:]...), wire.NoMatch},
		{"nothing", nil, wire.NoMatch},
	}
	for _, tt := range tests {
		if got := dhcp.RecogniseDatagram(tt.in); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	const xp, seven = "\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\xf9\x2b", "\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\x79\xf9\x2b\xfc"
	tests := []struct {
		class, list string
		want        dhcp.System
	}{
		{"MSFT 5.0", "", dhcp.System{OS: "Windows", Confidence: device.High}},
		{"MSFT 5.0", xp, dhcp.System{OS: "Windows XP", Confidence: device.High}},
		{"MSFT 5.0", seven, dhcp.System{OS: "Windows Vista to 8.1", Confidence: device.High}},
		{"", xp, dhcp.System{OS: "Windows XP", Confidence: device.High}},
		{"udhcp 1.31.1", xp, dhcp.System{OS: "Linux", Confidence: device.High}}, // they contradict each other
		{"dhcpcd-5.5.6", "\x01\x21\x03\x06\x0f\x1c\x33\x3a\x3b", dhcp.System{OS: "Android", Confidence: device.High}},
		{"dhcpcd-9.4.1:Linux-5.10.0:x86_64", "", dhcp.System{OS: "Linux", Confidence: device.High}},
		{"dhcpcd-9.4.1:FreeBSD-13", "", dhcp.System{}},
		{"VxWorks 6.9", "", dhcp.System{OS: "VxWorks", Confidence: device.High}},
		{"", "\x01\x03\x06\x0c\x0f\x1c\x2a", dhcp.System{OS: "Linux", Confidence: device.Medium}},
		{"", "\x01\x03\x06", dhcp.System{}},
		{"ArubaAP", "", dhcp.System{}},
		{"", "", dhcp.System{}},
	}
	for _, tt := range tests {
		if got := dhcp.Identify([]byte(tt.class), []byte(tt.list)); got != tt.want {
			t.Errorf("Identify(%q, %x) = %v, want %v", tt.class, tt.list, got, tt.want)
		}
	}
}

func TestMAC(t *testing.T) {
	for _, duid := range []string{"", "\x00\x01\x00\x01", "\x00\x03\x00\x01\x00\x00\x5e\x00\x53", "\x00\x03\x00\x06\x00\x00\x5e\x00\x53\x01", "\x00\x04\x00\x01\x00\x00\x5e\x00\x53\x01"} {
		if got := dhcp.MAC([]byte(duid)); got != nil {
			t.Errorf("MAC(%x) = %x", duid, got)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := message(1, slices.Concat(option(53, "\x01"), option(12, "ct-1"), option(60, "MSFT 5.0"), option(55, "\x01\x0f")), nil, nil)
	if n := testing.AllocsPerRun(100, func() {
		dhcp.RecogniseDatagram(b)
		m, _ := dhcp.Parse(b)
		m.HostName()
		dhcp.Identify(m.Option(dhcp.OptionVendorClass), m.Option(dhcp.OptionParameterRequest))
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(1, append(option(52, "\x03"), option(53, "\x01")...), option(12, "ct"), option(12, "-1")))
	f.Add(relayed(append([]byte{1, 1, 2, 3}, v6option(3, string(make([]byte, 12))+string(v6option(5, "x")))...), 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		if first, again := dhcp.RecogniseDatagram(b), dhcp.RecogniseDatagram(b); first != again {
			t.Fatal("two answers")
		}
		m, _ := dhcp.Parse(b)
		total := 0
		for _, data := range m.Options() {
			if total += 2 + len(data); cap(data) != len(data) {
				t.Fatal("an option that can be appended to in place")
			}
		}
		if total > len(b) {
			t.Fatalf("options of %d bytes in a message of %d", total, len(b))
		}
		if !bytes.Equal(m.HostName(), m.HostName()) {
			t.Fatal("two names")
		}
		dhcp.Identify(m.Option(dhcp.OptionVendorClass), m.Option(dhcp.OptionParameterRequest))
		v6, _ := dhcp.ParseV6(b)
		if len(v6.HostName()) > len(b) || !bytes.Contains(b, v6.VendorClass) {
			t.Fatal("a part that is not in the whole")
		}
		dhcp.MAC(v6.ClientID)
	})
}

func BenchmarkParse(b *testing.B) {
	msg := message(1, slices.Concat(option(53, "\x01"), option(12, "ct-1"), option(60, "MSFT 5.0"), option(55, "\x01\x0f")), nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		m, _ := dhcp.Parse(msg)
		m.HostName()
	}
}
