// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/finding"
)

// TestMirror holds that what is written is read again as what was said, in all forms.
func TestMirror(t *testing.T) {
	segment := make([]byte, 21)
	segment[12], segment[13] = 5<<4, 0x30 // ACK, URG, urgent pointer zero
	long := bytes.Repeat([]byte("x"), 3*mss)
	var b bytes.Buffer
	client := netip.MustParseAddr("10.20.8.99")
	err := Mirror(&b, []Conversation{
		{Client: client, Server: netip.MustParseAddrPort("203.0.113.66:80"), Said: []Said{
			{false, []byte("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\n\r\n")},
			{true, append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4380\r\n\r\n"), long...)},
		}},
		{Client: client, Server: netip.MustParseAddrPort("10.20.3.31:5683"), Form: Datagrams, Said: []Said{
			{false, []byte("\x40\x01\x00\x01\xb9telemetry")}, {true, []byte("\x60\x45\x00\x01\xffa")},
		}},
		{Client: client, Server: netip.MustParseAddrPort("10.20.3.31:23"), Form: Segments, Said: []Said{{false, segment}, {false, segment[:19]}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mirror.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := assess.Run(context.Background(), []string{file}, assess.Config{})
	if err != nil {
		t.Fatal(err)
	}
	found, spoken := map[finding.Kind]bool{}, map[string]uint64{}
	for _, f := range a.Findings {
		found[f.Kind] = true
	}
	for _, s := range a.Sessions {
		spoken[s.Protocol] += s.Bytes
	}
	if !found[finding.CredentialsInClear] || !found[finding.DefaultCredentialSeen] || !found[finding.ExploitAttempt] {
		t.Errorf("found %v", found)
	}
	if spoken["http"] < uint64(len(long)) || spoken["coap"] == 0 || len(a.Stats.Lost) > 0 {
		t.Errorf("%v, lost %v", spoken, a.Stats.Lost)
	}
}
