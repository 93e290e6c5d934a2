// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// captures is the folder of real captures beside the project.
const captures = "../../shared/captures"

// tsharkFields are what is compared, and how the packet says it.
var tsharkFields = []struct {
	name string
	say  func(p *wire.Packet) string
}{
	{"ip.src", func(p *wire.Packet) string { return address(p, 4, p.Src) }},
	{"ip.dst", func(p *wire.Packet) string { return address(p, 4, p.Dst) }},
	{"ipv6.src", func(p *wire.Packet) string { return address(p, 6, p.Src) }},
	{"ipv6.dst", func(p *wire.Packet) string { return address(p, 6, p.Dst) }},
	{"tcp.srcport", func(p *wire.Packet) string { return number(p, wire.ProtoTCP, uint64(p.SrcPort)) }},
	{"tcp.dstport", func(p *wire.Packet) string { return number(p, wire.ProtoTCP, uint64(p.DstPort)) }},
	{"tcp.seq_raw", func(p *wire.Packet) string { return number(p, wire.ProtoTCP, uint64(p.Seq)) }},
	{"tcp.ack_raw", func(p *wire.Packet) string { return number(p, wire.ProtoTCP, uint64(p.Ack)) }},
	{"tcp.window_size_value", func(p *wire.Packet) string { return number(p, wire.ProtoTCP, uint64(p.Window)) }},
	{"tcp.len", func(p *wire.Packet) string { return number(p, wire.ProtoTCP, uint64(len(p.Payload)+p.Missing)) }},
	{"udp.srcport", func(p *wire.Packet) string { return number(p, wire.ProtoUDP, uint64(p.SrcPort)) }},
	{"udp.dstport", func(p *wire.Packet) string { return number(p, wire.ProtoUDP, uint64(p.DstPort)) }},
	{"vlan.id", func(p *wire.Packet) string {
		if p.VLAN == 0 {
			return ""
		}
		return strconv.Itoa(int(p.VLAN))
	}},
	{"arp.opcode", func(p *wire.Packet) string {
		if a, ok := wire.ParseARP(p.Payload); p.EtherType == wire.EtherTypeARP && ok {
			return strconv.Itoa(int(a.Operation))
		}
		return ""
	}},
}

func address(p *wire.Packet, version uint8, a wire.Addr) string {
	if p.IPVersion != version {
		return ""
	}
	return a.String()
}

func number(p *wire.Packet, proto uint8, n uint64) string {
	if p.Proto != proto || !p.HasPorts || p.IPVersion == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// TestAgainstTshark compares every header of real captures with what tshark
// makes of it: tunnels, fragments, tags, cut frames and broken ones.
func TestAgainstTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	files := []string{
		"ndpi-gre.pcapng", "ndpi-6in4tunnel.pcap", "ndpi-vxlan.pcap", "cs-ip_frag_source.pcapng", "ndpi-ip_fragmented_garbage.pcap",
		"ndpi-iphone.pcap", "ndpi-fuzz-2006-06-26-2594.pcap", "ndpi-os_detected.pcapng", "cs-passiveosfingerprinting.pcapng",
		"sv-issue-3341-tcphdr-01-urgent11_cve_2019_12260.pcap", "zeek-dhcp.pcap", "cs-tcp_retransmissions.pcapng",
	}
	if os.Getenv("MYELIN_ALL_CAPTURES") != "" {
		files = nil
		all, _ := filepath.Glob(filepath.Join(captures, "*.pcap*"))
		for _, f := range all {
			files = append(files, filepath.Base(f))
		}
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(captures, file)
			if _, err := os.Stat(path); err != nil {
				t.Skip("the captures beside the project are not there: ", err)
			}
			compareWithTshark(t, tshark, path)
		})
	}
}

func compareWithTshark(t *testing.T, tshark, path string) {
	// What is put together from fragments has its headers in the last one.
	args := []string{
		"-n", "-r", path, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-T", "fields", "-E", "occurrence=a", "-E", "separator=;",
		"-e", "frame.number",
	}
	for _, f := range tsharkFields {
		args = append(args, "-e", f.name)
	}
	out, err := exec.CommandContext(t.Context(), tshark, args...).Output()
	if err != nil {
		t.Skip("tshark does not read it: ", err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	var frame capture.Frame
	var p wire.Packet
	differ := 0
	for lines.Scan() {
		if err := r.ReadFrame(&frame); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			t.Fatal(err)
		}
		p.Decode(frame.Link, frame.Data)
		cols := strings.Split(lines.Text(), ";")
		if cols[0] != strconv.FormatUint(frame.Packet, 10) {
			t.Fatalf("frame %s is packet %d", cols[0], frame.Packet)
		}
		for i, field := range tsharkFields {
			all := strings.Split(cols[i+1], ",")
			for j := range all {
				if ip, err := netip.ParseAddr(all[j]); err == nil {
					all[j] = ip.String()
				}
			}
			got := field.say(&p)
			if got == "" && (cols[i+1] == "" || !present(&p, field.name)) {
				continue
			}
			// Of a tunnel tshark prints the headers of both packets, and of an ICMP
			// error those of the packet that it is about.
			if !slices.Contains(all, got) && !(field.name == "tcp.len" && p.Missing > 0) {
				if differ++; differ < 10 {
					t.Errorf("frame %s: %s is %q, tshark says %q; %v", cols[0], field.name, got, cols[i+1], p.Fault.Syntax())
				}
			}
		}
	}
	if err := r.ReadFrame(&frame); err != io.EOF {
		t.Errorf("there are more frames than tshark's: %v", err)
	}
}

// present reports whether a packet has to have a field that tshark has.
func present(p *wire.Packet, field string) bool {
	switch protocol, _, _ := strings.Cut(field, "."); protocol {
	case "ip", "ipv6":
		return p.IPVersion == 0 && p.Fault.Err == nil
	case "tcp", "udp":
		// tshark reads the header in a fragment, and what there is of a cut one.
		return (p.Proto == wire.ProtoTCP && protocol == "tcp" || p.Proto == wire.ProtoUDP && protocol == "udp") && !p.Fragmented && p.Fault.Err == nil
	case "arp":
		_, ok := wire.ParseARP(p.Payload)
		return p.EtherType == wire.EtherTypeARP && ok
	}
	return p.Fault.Err == nil
}
