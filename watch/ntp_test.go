// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNTPObserver(t *testing.T) {
	message := func(n int, first ...byte) []byte { return append(first, make([]byte, n-len(first))...) }
	monlist := client(message(8, 0x17, 0, 3, 42))
	for _, tt := range []struct {
		pieces []piece
		want   []string
	}{
		{[]piece{client(message(48, 0x23)), server(message(48, 0x24, 2))}, []string{`protocol-seen 10.20.1.5 "ntp" "4"`}},
		{[]piece{server(message(48, 0x1c, 2))}, []string{`protocol-seen 10.20.1.5 "ntp" "3"`}},
		{[]piece{monlist, monlist}, []string{`exploit-seen 10.20.1.5 "ntp" "request for the list of clients" "CVE-2013-5211"`}},
		{[]piece{server(message(440, 0xd7, 0, 3, 42))}, nil},
		{[]piece{client(message(20, 0x23))}, []string{`malformed-seen 10.20.1.5 "ntp" "header" "truncated"`}},
	} {
		if diff := cmp.Diff(tt.want, lines(observeDatagrams(t, newNTPObserver(), tt.pieces...))); diff != "" {
			t.Error(diff)
		}
	}
}
