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

func TestSyslogObserver(t *testing.T) {
	message := func(host string) string {
		return "<30>1 2026-03-03T07:09:00+01:00 " + host + " flowlink - - - Anna Lindqvist"
	}
	name := fmt.Sprintf("name-seen 10.20.1.5 %d=%d %d=gw-icu %d=syslog", event.AddressKind, device.Host, event.Name, event.Protocol)
	malformed := fmt.Sprintf("malformed-seen 10.20.1.5 %d=syslog %d=%%s %d=%%s", event.Protocol, event.Field, event.Reason)
	several := func(host string, n int) (all []piece) {
		for range n {
			all = append(all, client([]byte(message(host))))
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{"one", several("gw-icu", 1), []string{name}},
		{"many", several("gw-icu", 20), []string{name}},
		{"a relay", append(several("gw-icu", 3), several("mon-3", 9)...), nil},
		{"an address", several("10.20.3.10", 9), nil},
		{"no host", []piece{client([]byte("<30>started"))}, nil},
		{
			"malformed",
			[]piece{client([]byte("<30>1 - ")), client([]byte("no"))},
			[]string{fmt.Sprintf(malformed, "HOSTNAME", "truncated"), fmt.Sprintf(malformed, "PRI", "invalid value")},
		},
	} {
		if got := toldAll(observeDatagrams(t, newSyslogObserver(), tt.pieces...)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q\nwant %q", tt.name, got, tt.want)
		}
	}
	m := message("gw-icu")
	inAnyCut(t, "counted", newSyslogObserver, []piece{client(fmt.Appendf(nil, "%d %s%d %s", len(m), m, len(m), m))}, name)
	inAnyCut(t, "by line", newSyslogObserver, []piece{client([]byte(m + "\n" + m + "\r\n"))}, name)
	inAnyCut(t, "sync lost", newSyslogObserver, []piece{client([]byte("1234567 ")), client([]byte(m + "\n"))}, fmt.Sprintf(malformed, "MSG-LEN", "longer than allowed"))
}

func TestSyslogCapture(t *testing.T) {
	got := recorded(t, "ndpi-syslog.pcap")
	if got["syslog"] < 21 {
		t.Errorf("ndpi-syslog.pcap: %d conversations, want at least 21", got["syslog"])
	}
}
