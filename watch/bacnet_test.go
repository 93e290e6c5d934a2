// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
)

// bacnetIP puts the BVLC header before an NPDU.
func bacnetIP(function byte, rest string) []byte {
	return []byte("\x81" + string(rune(function)) + "\x00" + string(rune(len(rest)+4)) + rest)
}

func TestBACnetObserver(t *testing.T) {
	const (
		iAm  = "\x10\x00\xc4\x02\x00\x00\x01\x22\x05\xc4\x91\x03\x21\x05"
		read = "\x30\x01\x0e\x0c\x02\x00\x00\x01\x1e\x29\x4d\x4e\x75\x06\x00ahu-7\x4f\x29\x46\x4e\x75\x05\x00FX70\x4f\x29\x2c\x4e\x74\x002.1\x4f\x1f"
	)
	said := func(about string, key event.Key, text string) string {
		return fmt.Sprintf("identity-seen %s %d=%s", about, key, text)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want []string
	}{
		{"I-Am", bacnetIP(0x0b, "\x01\x20\xff\xff\x00\xff"+iAm), []string{said("10.20.3.10", event.Manufacturer, "Johnson Controls")}},
		{"I-Am forwarded", bacnetIP(0x04, "\x0a\x14\x07\x07\xba\xc0\x01\x00"+iAm), []string{said("10.20.7.7", event.Manufacturer, "Johnson Controls")}},
		{"I-Am from behind a router", bacnetIP(0x0b, "\x01\x08\x00\x05\x01\x0a"+iAm), nil},
		{"unknown vendor", bacnetIP(0x0b, "\x01\x00"+iAm[:len(iAm)-1]+"\xfe"), nil},
		{"answer", bacnetIP(0x0a, "\x01\x00"+read), []string{
			fmt.Sprintf("name-seen 10.20.3.10 %d=%d %d=ahu-7 %d=bacnet", event.AddressKind, device.Host, event.Name, event.Protocol),
			said("10.20.3.10", event.Model, "FX70"), said("10.20.3.10", event.Version, "2.1"),
		}},
		{"answer of another object", bacnetIP(0x0a, "\x01\x00\x30\x01\x0c\x0c\x00\x00\x00\x01\x19\x46\x3e\x75\x05\x00FX70\x3f"), nil},
		{"answer cut", bacnetIP(0x0a, "\x01\x00"+read[:len(read)-1]), []string{
			fmt.Sprintf("name-seen 10.20.3.10 %d=%d %d=ahu-7 %d=bacnet", event.AddressKind, device.Host, event.Name, event.Protocol),
			said("10.20.3.10", event.Model, "FX70"), said("10.20.3.10", event.Version, "2.1"),
			fmt.Sprintf("malformed-seen 10.20.3.10 %d=bacnet %d=Tag %d=truncated", event.Protocol, event.Field, event.Reason),
		}},
		{"who is", bacnetIP(0x0b, "\x01\x00\x10\x08"), nil},
		{"network message", bacnetIP(0x0b, "\x01\x80\x01\x00\x05"), nil},
	} {
		got := toldAll(observeDatagrams(t, newBACnetObserver(), server(tt.b), server(tt.b)))
		if len(got) > 0 && got[len(got)-1] == tt.want[len(tt.want)-1] && len(got) > len(tt.want) {
			got = got[:len(tt.want)] // what is malformed is told each time
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestBACnetCapture(t *testing.T) {
	tells(t, "ndpi-bacnet.pcap", map[string]int{"bacnet": 13})
}
