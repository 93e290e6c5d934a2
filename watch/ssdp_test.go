// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSSDPObserver(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{
			"NOTIFY * HTTP/1.1\r\nNT: urn:schemas-upnp-org:device:Printer:1\r\nSERVER: Linux/4.4 UPnP/1.0 Veltis M9/5.0\r\n\r\n",
			[]string{`identity-seen 10.20.1.5 "Linux" "Veltis M9" "5.0" "printer"`},
		},
		{"HTTP/1.1 200 OK\r\nSERVER: Microsoft-Windows/6.1 UPnP/1.0 UPnP-Device-Host/1.0\r\n\r\n", []string{`identity-seen 10.20.1.5 "Windows 7"`}},
		{"M-SEARCH * HTTP/1.1\r\nST: urn:schemas-upnp-org:device:Printer:1\r\n\r\n", nil}, // looks for one, is none
		{"NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\n\r\n", nil},
		{"NOTIFY * HTTP/1.1\r\nno colon\r\n\r\n", []string{`malformed-seen 10.20.1.5 "ssdp" "field-line" "invalid value"`}},
	} {
		got := lines(observeDatagrams(t, newSSDPObserver(), client([]byte(tt.in))))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: %s", tt.in, diff)
		}
	}
	b := client([]byte("HTTP/1.1 200 OK\r\nSERVER: Linux UPnP/1.0 x/1\r\n\r\n"))
	if got := lines(observeDatagrams(t, newSSDPObserver(), b, b)); len(got) != 1 {
		t.Errorf("said twice: %q", got)
	}
	if got := lines(replay(t, "ndpi-1kxun.pcap")); !slices.Contains(got, `identity-seen 192.168.5.49 "Windows 10 or newer" "media server"`) {
		t.Error("the media server of ndpi-1kxun.pcap is not seen")
	}
}
