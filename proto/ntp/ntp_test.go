// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ntp_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/proto/ntp"
	"github.com/myelin-health/myelin/wire"
)

// message is a header of n bytes that begins with these.
func message(n int, first ...byte) []byte {
	b := make([]byte, n)
	copy(b, first)
	return b
}

func ExampleParse() {
	m, err := ntp.Parse(message(48, 0x24, 2))
	fmt.Println(m.Version, m.Mode == ntp.Server, m.Stratum, err)
	// Output: 4 true 2 <nil>
}

func TestParse(t *testing.T) {
	tests := []struct {
		in      []byte
		want    ntp.Message
		monlist bool
		match   wire.Match
		err     error
	}{
		{message(48, 0x1b), ntp.Message{Version: 3, Mode: ntp.Client}, false, wire.WeakMatch, nil},
		{message(68, 0xe3, 16), ntp.Message{Version: 4, Mode: ntp.Client, Stratum: 16}, false, wire.WeakMatch, nil},
		{message(48, 0x24, 17), ntp.Message{Version: 4, Mode: ntp.Server, Stratum: 17}, false, wire.NoMatch, nil},
		{message(49, 0x24, 1), ntp.Message{Version: 4, Mode: ntp.Server, Stratum: 1}, false, wire.NoMatch, nil},
		{message(12, 0x16, 0x82), ntp.Message{Version: 2, Mode: ntp.Control, Response: true, Operation: 2}, false, wire.WeakMatch, nil},
		{message(8, 0x17, 0, 3, 42), ntp.Message{Version: 2, Mode: ntp.Private, Operation: 42}, true, wire.WeakMatch, nil},
		{message(8, 0x17, 0, 2, 20), ntp.Message{Version: 2, Mode: ntp.Private, Operation: 20}, true, wire.WeakMatch, nil},
		{message(8, 0x17, 0, 3, 16), ntp.Message{Version: 2, Mode: ntp.Private, Operation: 16}, false, wire.WeakMatch, nil},
		{message(440, 0xd7, 0, 3, 42), ntp.Message{Version: 2, Mode: ntp.Private, Response: true, Operation: 42}, false, wire.WeakMatch, nil},
		{message(47, 0x1b), ntp.Message{Version: 3, Mode: ntp.Client}, false, wire.NoMatch, wire.ErrTruncated},
		{message(11, 0x16), ntp.Message{Version: 2, Mode: ntp.Control}, false, wire.NoMatch, wire.ErrTruncated},
		{message(7, 0x17, 0, 3, 42), ntp.Message{Version: 2, Mode: ntp.Private, Operation: 42}, true, wire.NoMatch, wire.ErrTruncated},
		{message(48, 0x03), ntp.Message{Mode: ntp.Client}, false, wire.NoMatch, wire.ErrInvalid},
		{message(48, 0x2b), ntp.Message{Version: 5, Mode: ntp.Client}, false, wire.NoMatch, wire.ErrInvalid},
		{message(48, 0x18), ntp.Message{Version: 3}, false, wire.NoMatch, wire.ErrInvalid},
		{nil, ntp.Message{}, false, wire.NoMatch, wire.ErrTruncated},
	}
	for _, tt := range tests {
		m, err := ntp.Parse(tt.in)
		if m != tt.want || m.IsMonlist() != tt.monlist || !errors.Is(err, tt.err) {
			t.Errorf("%+v, %v; want %+v, %v", m, err, tt.want, tt.err)
		}
		if got := ntp.RecogniseDatagram(tt.in); got != tt.match {
			t.Errorf("%+v: %v, want %v", tt.want, got, tt.match)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(48, 0x24, 2))
	f.Add(message(8, 0x17, 0, 3, 42))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ntp.Parse(b)
		again, _ := ntp.Parse(b)
		if m != again {
			t.Fatal("two answers")
		}
		if err != nil && ntp.RecogniseDatagram(b) != wire.NoMatch {
			t.Fatal("recognised what cannot be read")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	msg := message(48, 0x24, 2)
	b.ReportAllocs()
	for b.Loop() {
		ntp.Parse(msg)
	}
}
