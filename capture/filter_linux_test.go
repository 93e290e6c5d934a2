// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/myelin-health/myelin/wire"
)

func ipv4(proto byte, options int, fragment uint16, src, dst uint16) []byte {
	b := make([]byte, 20+options)
	b[0] = 0x45 + byte(options/4)
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[9] = proto
	b = binary.BigEndian.AppendUint16(b, src)
	return binary.BigEndian.AppendUint16(b, dst)
}

func ipv6(next byte, src, dst uint16) []byte {
	b := make([]byte, 40)
	b[0], b[6] = 0x60, next
	b = binary.BigEndian.AppendUint16(b, src)
	return binary.BigEndian.AppendUint16(b, dst)
}

func TestPortFilter(t *testing.T) {
	const dicom, https = 104, 443
	all := LiveConfig{}
	only := LiveConfig{Ports: []uint16{2575, dicom}}
	not := LiveConfig{NotPorts: []uint16{https, 8443}}
	both := LiveConfig{Ports: []uint16{dicom}, NotPorts: []uint16{https}}
	tests := []struct {
		name                 string
		packet               []byte // from the network layer
		ether                uint16
		all, only, not, both bool
	}{
		{"source", ipv4(6, 0, 0x4000, dicom, 50000), 0x0800, true, true, true, true},
		{"destination", ipv4(6, 0, 0, 50000, dicom), 0x0800, true, true, true, true},
		{"second port", ipv4(17, 0, 0, 50000, 2575), 0x0800, true, true, true, false},
		{"IP options", ipv4(132, 40, 0, 50000, dicom), 0x0800, true, true, true, true},
		{"another port", ipv4(6, 0, 0, 50000, 50001), 0x0800, true, false, true, false},
		{"unwanted", ipv4(6, 0, 0, https, 50000), 0x0800, true, false, false, false},
		{"wanted and unwanted", ipv4(6, 0, 0, dicom, https), 0x0800, true, true, false, false},
		{"first fragment", ipv4(17, 0, 0x2000, dicom, 9), 0x0800, true, true, true, true},
		{"later fragment", ipv4(17, 0, 0x2001, https, https), 0x0800, true, true, true, true},
		{"ICMP", ipv4(1, 0, 0, dicom, https), 0x0800, true, false, true, false},
		{"IPv6", ipv6(6, 50000, dicom), 0x86dd, true, true, true, true},
		{"IPv6 UDP", ipv6(17, https, 50000), 0x86dd, true, false, false, false},
		{"IPv6 SCTP", ipv6(132, dicom, 1), 0x86dd, true, true, true, true},
		{"IPv6 another", ipv6(6, 50000, 50001), 0x86dd, true, false, true, false},
		{"IPv6 fragment", ipv6(44, 0, 0), 0x86dd, true, true, true, true},
		{"IPv6 hop by hop", ipv6(0, 0, 0), 0x86dd, true, true, true, true},
		{"IPv6 routing", ipv6(43, 0, 0), 0x86dd, true, true, true, true},
		{"IPv6 options", ipv6(60, 0, 0), 0x86dd, true, true, true, true},
		{"ICMPv6", ipv6(58, dicom, https), 0x86dd, true, false, true, false},
		{"ARP", make([]byte, 28), 0x0806, true, false, true, false},
		{"cut", ipv4(6, 0, 0, https, dicom)[:21], 0x0800, true, false, false, false},
	}
	for _, tt := range tests {
		for _, c := range []struct {
			name string
			cfg  LiveConfig
			want bool
		}{{"all", all, tt.all}, {"only", only, tt.only}, {"not", not, tt.not}, {"both", both, tt.both}} {
			for _, network := range []uint32{14, 0} {
				if network == 0 && tt.ether == 0x0806 {
					continue
				}
				prog, err := portFilter(&c.cfg, network, false)
				if err != nil {
					t.Fatal(err)
				}
				vm, err := bpf.NewVM(prog)
				if err != nil {
					t.Fatal(err)
				}
				frame := append(binary.BigEndian.AppendUint16(make([]byte, 12), tt.ether), tt.packet...)
				n, err := vm.Run(frame[14-network:])
				if err != nil {
					t.Fatal(err)
				}
				if got := n > 0; got != c.want {
					t.Errorf("%s, filter %q, network layer at %d: passes %v, want %v", tt.name, c.name, network, got, c.want)
				}
			}
		}
	}
}

func TestPortFilterBounds(t *testing.T) {
	cfg := LiveConfig{Ports: make([]uint16, maxFilterPorts/2), NotPorts: make([]uint16, maxFilterPorts/2)}
	prog, err := portFilter(&cfg, 14, true)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := bpf.Assemble(prog); err != nil || len(raw) > 4096 {
		t.Errorf("%d instructions, %v; the kernel takes 4096", len(raw), err)
	}
	cfg.Ports = append(cfg.Ports, 1)
	if _, err := portFilter(&cfg, 14, true); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("%d ports: %v", maxFilterPorts+1, err)
	}
	for _, n := range []int{-1, MaxFrame + 1} {
		if _, err := portFilter(&LiveConfig{SnapLen: n}, 14, false); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("snapshot length %d: %v", n, err)
		}
	}
}
