// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
)

// hexed is a piece's bytes as a document prints them.
func hexed(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCoAPObserver(t *testing.T) {
	// RFC 8613 appendix C.4 and C.7.
	request := hexed(t, "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e")
	response := hexed(t, "64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106")
	protected := fmt.Sprintf("protocol-seen 10.20.1.5 %d=coap %d=17 %d=24000 %d=%d", event.Protocol, event.Transport, event.Port,
		event.Protection, device.Encrypted|device.Authenticated|device.Fresh)
	name := fmt.Sprintf("name-seen 10.20.3.10 %d=%d %d=localhost %d=coap", event.AddressKind, device.Host, event.Name, event.Protocol)
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{"OSCORE", []piece{client(request), server(response), client(request)}, []string{protected, name}},
		{"in clear", []piece{client([]byte("\x40\x01\x7d\x34\xb3icd")), server([]byte("\x60\x45\x7d\x34\xffx"))}, nil},
		{"host an address", []piece{client([]byte("\x40\x01\x7d\x34\x3a10.20.3.10\x83icd"))}, nil},
		{
			"malformed",
			[]piece{client([]byte("\x40\x01\x7d\x34\xff"))},
			[]string{fmt.Sprintf("malformed-seen 10.20.1.5 %d=coap %d=Payload %d=truncated", event.Protocol, event.Field, event.Reason)},
		},
	} {
		if got := toldAll(observeDatagrams(t, newCoAPObserver(), tt.pieces...)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q\nwant %q", tt.name, got, tt.want)
		}
	}
	inAnyCut(t, "TCP, malformed", newCoAPObserver, []piece{client([]byte("\x00\xe1\x81\x02\x01\x39localho")), server([]byte("\x00\xe1\x01\x45\x01"))},
		fmt.Sprintf("malformed-seen 10.20.1.5 %d=coap %d=Option Value %d=invalid value", event.Protocol, event.Field, event.Reason))
	inAnyCut(t, "TCP", newCoAPObserver, []piece{client([]byte("\x00\xe1\xa1\x01\x01\x39localhost"))}, name)
}
