// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/dns"
)

// dnsMessage is a message of one question, or of no question and these answers.
func dnsMessage(flags uint16, question string, typ dns.Type, answers ...[]byte) []byte {
	questions := uint16(0)
	var body []byte
	if question != "" {
		questions = 1
		body = append(dnsName(question), 0, byte(typ), 0, 1)
		binary.BigEndian.PutUint16(body[len(body)-4:], uint16(typ))
	}
	var b []byte
	for _, n := range []uint16{0x1234, flags, questions, uint16(len(answers)), 0, 0} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return slices.Concat(b, body, slices.Concat(answers...))
}

func dnsName(name string) (b []byte) {
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

func dnsAnswer(name string, typ dns.Type, ttl byte, data string) []byte {
	b := binary.BigEndian.AppendUint16(dnsName(name), uint16(typ))
	b = append(b, 0, 1, 0, 0, 0, ttl)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func TestDNSObserver(t *testing.T) {
	const query, response = 0x0100, 0x8180
	long := strings.Repeat("q7zx2", 10) // 50 characters
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string // subjects left out
	}{
		{"an ordinary name", []piece{client(dnsMessage(query, "pacs.ada.example", dns.TypeA))}, nil},
		{"49 characters", []piece{client(dnsMessage(query, long[:49]+".ada.example", dns.TypeA))}, nil},
		{"50 characters", []piece{client(dnsMessage(query, long+".ada.example", dns.TypeA))}, []string{`name-queried 10.20.1.5 "ada.example" 50 232 80`}},
		{"29 for text", []piece{client(dnsMessage(query, long[:29]+".ada.example", dns.TypeTXT))}, nil},
		{"30 for text", []piece{client(dnsMessage(query, long[:30]+".ada.example", dns.TypeTXT))}, []string{`name-queried 10.20.1.5 "ada.example" 30 232 60`}},
		{"30 for private", []piece{client(dnsMessage(query, long[:30]+".ada.example", 65399))}, []string{`name-queried 10.20.1.5 "ada.example" 30 232 60`}},
		{"bytes count, not escapes", []piece{client(dnsMessage(query, strings.Repeat("\x01\x02\x03\x04\x05", 9)+".ada.example", dns.TypeA))}, nil},
		{"an address backwards", []piece{client(dnsMessage(query, strings.Repeat("1.", 32)+"ip6.arpa", dns.TypePTR))}, nil},
		{"a service", []piece{client(dnsMessage(query, long+"._ipp._tcp.local", dns.TypeTXT))}, nil},
		{
			"a question and its answer",
			[]piece{client(dnsMessage(query, long+".ada.example", dns.TypeA)), server(dnsMessage(response, long+".ada.example", dns.TypeA))},
			[]string{`name-queried 10.20.1.5 "ada.example" 50 232 80`},
		},
		{"an answer alone", []piece{server(dnsMessage(response, long+".ada.example", dns.TypeA))}, []string{`name-queried 10.20.1.5 "ada.example" 50 232 80`}},
		{
			"zone transfer",
			[]piece{client(dnsMessage(0, "ada.example", dns.TypeAXFR)), client(dnsMessage(0, "ada.example", dns.TypeAXFR))},
			[]string{`protocol-seen 10.20.1.5 "dns" "axfr"`},
		},
		{
			"names of addresses inside",
			[]piece{server(dnsMessage(response, "", 0,
				dnsAnswer("PACS.ada.example", dns.TypeA, 60, "\x0a\x14\x08\x14"), dnsAnswer("pacs.ada.example", dns.TypeA, 60, "\x0a\x14\x08\x14"),
				dnsAnswer("web.example", dns.TypeA, 60, "\x08\x08\x08\x08"), dnsAnswer("mon-3.local", dns.TypeAAAA, 60, "\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
				dnsAnswer("gone.local", dns.TypeA, 0, "\x0a\x14\x08\x15"), dnsAnswer("short", dns.TypeA, 60, "\x0a\x14\x08")))},
			[]string{`name-seen 10.20.8.20 6 "pacs.ada.example" "dns"`, `name-seen fe80::1 6 "mon-3" "dns"`},
		},
		{
			"services",
			[]piece{server(dnsMessage(0x8400, "", 0,
				dnsAnswer("_dicom._tcp.local", dns.TypePTR, 60, "\x02ct\xc0\x0c"),
				dnsAnswer("ct._dicom._tcp.local", dns.TypeTXT, 60, "\x0emodel=Helia 64\x15usb_MFG=Lumen Imaging\x05x=y=z")))},
			[]string{`identity-seen 10.20.3.10 "Lumen Imaging" "Helia 64" "imaging system"`},
		},
		{"what a domain says of its mail", []piece{server(dnsMessage(response, "", 0, dnsAnswer("ada.example", dns.TypeTXT, 60, "\x07model=x")))}, nil},
		{"malformed", []piece{client(dnsMessage(query, long, dns.TypeA)[:40])}, []string{`malformed-seen 10.20.1.5 "dns" "NAME" "truncated"`}},
	} {
		var got []string
		for _, e := range observeDatagrams(t, newDNSObserver(), tt.pieces...) {
			e.Set(event.Int(event.Subject, 0))
			got = append(got, lines([]event.Event{e})...)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}

	// Over TCP, behind lengths.
	framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	sameInPieces(t, []string{`protocol-seen 10.20.1.5 "dns" "axfr"`, `name-seen 10.20.8.20 6 "pacs.ada.example" "dns"`}, newDNSObserver, []piece{
		client(framed(dnsMessage(0, "ada.example", dns.TypeAXFR))),
		server(slices.Concat(framed(dnsMessage(response, "ada.example", dns.TypeAXFR)),
			framed(dnsMessage(response, "", 0, dnsAnswer("pacs.ada.example", dns.TypeA, 60, "\x0a\x14\x08\x14"))))),
	})

	// One conversation tells so many names and no more.
	var pieces []piece
	for i := range maxFacts + 10 {
		pieces = append(pieces, server(dnsMessage(response, "", 0, dnsAnswer(fmt.Sprintf("h%d.ada", i), dns.TypeA, 60, "\x0a\x14\x08\x14"))))
	}
	if n := len(observeDatagrams(t, newDNSObserver(), pieces...)); n != maxFacts {
		t.Errorf("%d names told, want %d", n, maxFacts)
	}
}

func TestDNSCaptures(t *testing.T) {
	for _, tt := range []struct {
		file string
		kind event.Kind
		n    int
		has  string
	}{
		{"ndpi-dns-tunnel-iodine.pcap", event.NameQueried, 43, ` "pirate.sea" `},
		{"ndpi-dns-exf.pcap", event.NameQueried, 1, ` "test.txt" `},
		{"cs-dns_axfr.pcapng", event.NameSeen, 4, `name-seen 172.16.16.139 6 "dns3.contoso"`},
		{"cs-dns_axfr.pcapng", event.MalformedSeen, 0, ``},
		{"zeek-mdns.pcap", event.NameSeen, 5, `name-seen 10.0.2.7 6 "johanna-qemu-virtual-machine" "dns"`},
		{"ndpi-malformed_dns.pcap", event.MalformedSeen, 4, `"dns" "NAME" "longer than allowed"`},
		{"ndpi-iphone.pcap", event.MalformedSeen, 0, ``},
		{"ndpi-1kxun.pcap", event.MalformedSeen, 0, ``},
		{"ndpi-1kxun.pcap", event.NameQueried, 0, ``},
	} {
		var got []string
		for _, l := range lines(replay(t, tt.file), tt.kind) {
			if tt.kind != event.MalformedSeen || strings.Contains(l, `"dns"`) { // captures hold other protocols too
				got = append(got, l)
			}
		}
		if len(got) != tt.n || !strings.Contains(strings.Join(got, "\n"), tt.has) {
			t.Errorf("%s: %d of %v, want %d, with %s: %q", tt.file, len(got), tt.kind, tt.n, tt.has, got)
		}
	}
}

func FuzzDNSObserver(f *testing.F) {
	f.Add(dnsMessage(0x8180, "", 0, dnsAnswer("pacs.ada", dns.TypeA, 60, "\x0a\x14\x08\x14"), dnsAnswer("x._ipp._tcp.local", dns.TypeTXT, 60, "\x04ty=x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		observeDatagrams(t, newDNSObserver(), client(b), server(b))
	})
}
