// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dhcpMessage is a DHCPv4 message; client and your are ciaddr and yiaddr.
func dhcpMessage(op byte, client, your string, options ...string) []byte {
	address := func(s string) []byte { return append([]byte(s), make([]byte, 4-len(s))...) }
	b := slices.Concat([]byte{op, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0}, address(client), address(your), make([]byte, 8),
		[]byte{0, 0, 0x5e, 0, 0x53, 1}, make([]byte, 10+64+128), []byte{0x63, 0x82, 0x53, 0x63})
	for i := 0; i < len(options); i += 2 {
		b = append(append(b, options[i][0], byte(len(options[i+1]))), options[i+1]...)
	}
	return append(b, 255)
}

func TestDHCPObserver(t *testing.T) {
	const (
		typ, host, class, list, server, asked = "\x35", "\x0c", "\x3c", "\x37", "\x36", "\x32"
		xp                                    = "\x01\x0f\x03\x06\x2c\x2e\x2f\x1f\x21\xf9\x2b"
		ct1, gateway                          = "\x0a\x14\x08\x0b", "\x0a\x14\x08\x01"
	)
	for _, tt := range []struct {
		name string
		b    []byte
		want []string
	}{
		{"discover", dhcpMessage(1, "", "", typ, "\x01", host, "ct-1", class, "MSFT 5.0", list, xp), []string{
			`name-seen 00:00:5e:00:53:01 6 "ct-1" "dhcp"`,
			`binding-seen 00:00:5e:00:53:01 "00:00:5e:00:53:01" "dhcp"`,
			`identity-seen 00:00:5e:00:53:01 "Windows XP"`,
		}},
		{"request of what was offered", dhcpMessage(1, "", "", typ, "\x03", host, "ct-1", server, gateway, asked, ct1), []string{
			`name-seen 10.20.8.11 6 "ct-1" "dhcp"`, `binding-seen 10.20.8.11 "00:00:5e:00:53:01" "dhcp"`,
		}},
		{"request of what it had elsewhere", dhcpMessage(1, "", "", typ, "\x03", host, "ct-1", asked, ct1), []string{
			`name-seen 00:00:5e:00:53:01 6 "ct-1" "dhcp"`, `binding-seen 00:00:5e:00:53:01 "00:00:5e:00:53:01" "dhcp"`,
		}},
		{"renewal", dhcpMessage(1, ct1, "", typ, "\x03"), []string{`binding-seen 10.20.8.11 "00:00:5e:00:53:01" "dhcp"`}},
		{"offer", dhcpMessage(2, "", ct1, typ, "\x02", server, gateway), []string{`address-offered 10.20.8.1 "00:00:5e:00:53:01" "10.20.8.11"`}},
		{"offer of a server without identifier", dhcpMessage(2, "", ct1, typ, "\x02"), []string{`address-offered 10.20.1.5 "00:00:5e:00:53:01" "10.20.8.11"`}},
		{"acknowledgement", dhcpMessage(2, "", ct1, typ, "\x05", server, gateway), []string{
			`address-offered 10.20.8.1 "00:00:5e:00:53:01" "10.20.8.11"`, `binding-seen 10.20.8.11 "00:00:5e:00:53:01" "dhcp"`,
		}},
		{"answer to an inform", dhcpMessage(2, ct1, "", typ, "\x05", server, gateway), []string{`binding-seen 10.20.8.11 "00:00:5e:00:53:01" "dhcp"`}},
		{"refusal", dhcpMessage(2, "", "", typ, "\x06", server, gateway), nil},
		{"cut", dhcpMessage(1, "", "", typ, "\x01", host, "ct-1", class, "MSFT 5.0")[:252], []string{
			`malformed-seen 10.20.1.5 "dhcp" "options" "truncated"`,
			`name-seen 00:00:5e:00:53:01 6 "ct-1" "dhcp"`, `binding-seen 00:00:5e:00:53:01 "00:00:5e:00:53:01" "dhcp"`,
		}},
		{"not DHCP", []byte("words"), []string{`malformed-seen 10.20.1.5 "dhcp" "op" "invalid value"`}},
	} {
		// The same again says nothing new, but for what is malformed.
		s := replayed(t, tt.b)
		if diff := cmp.Diff(tt.want, s); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// replayed returns what a DHCP observer notes of a datagram that comes twice,
// the malformed ones once.
func replayed(t *testing.T, b []byte) (out []string) {
	for _, l := range lines(observeDatagrams(t, newDHCPObserver(), client(b), client(b))) {
		if !slices.Contains(out, l) {
			out = append(out, l)
		} else if !strings.HasPrefix(l, "malformed") {
			t.Errorf("said twice: %s", l)
		}
	}
	return out
}

func TestDHCPCaptures(t *testing.T) {
	for _, tt := range []struct {
		file string
		want []string
	}{
		{"ndpi-iphone.pcap", []string{
			`identity-seen c4:61:8b:35:82:a9 "iOS"`, `identity-seen d8:30:62:56:00:1c "macOS"`, `name-seen 192.168.2.17 6 "Lucas-iPhone" "dhcp"`,
			`address-offered 192.168.2.1 "c4:61:8b:35:82:a9" "192.168.2.17"`, `binding-seen 192.168.2.17 "c4:61:8b:35:82:a9" "dhcp"`,
		}},
		{"ndpi-1kxun.pcap", []string{
			`identity-seen 192.168.5.41 "Windows Vista to 8.1"`, `identity-seen bc:ee:7b:0c:b3:de "Android"`, `identity-seen 192.168.5.16 "macOS"`,
			`identity-seen e0:ca:94:6b:96:44 "Linux"`,
		}},
		{"cs-dhcp_nolease_initialization.pcapng", []string{
			`name-seen 192.168.1.10 6 "ubuntu2" "dhcp"`, `identity-seen 192.168.1.10 "Linux"`, `binding-seen 192.168.1.10 "00:0c:29:59:fd:21" "dhcp"`,
		}},
		{"ndpi-dhcp-fuzz.pcapng", []string{`malformed-seen 192.168.155.104 "dhcp" "options" "truncated"`}},
		{"ndpi-fuzz-2006-06-26-2594.pcap", []string{`identity-seen 192.168.1.2 "Windows 2000"`}},
	} {
		got := lines(replay(t, tt.file))
		for _, want := range tt.want {
			// What an offer leads to is a hash of this run.
			if !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, want) }) {
				t.Errorf("%s: no %s", tt.file, want)
			}
		}
	}
}
