// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dns_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/proto/dns"
	"github.com/myelin-health/myelin/wire"
)

// header is a message's, with its flags and counts.
func header(id, flags uint16, counts ...uint16) (b []byte) {
	for _, n := range append([]uint16{id, flags}, append(counts, 0, 0, 0, 0)[:4]...) {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func name(labels ...string) (b []byte) {
	for _, l := range labels {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

func question(n []byte, typ dns.Type, class uint16) []byte {
	b := binary.BigEndian.AppendUint16(slices.Clone(n), uint16(typ))
	return binary.BigEndian.AppendUint16(b, class)
}

func resource(n []byte, typ dns.Type, data []byte) []byte {
	b := append(question(n, typ, 1), 0, 0, 0, 60)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func stream(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// response has a question and an answer of each shape.
func response() []byte {
	pacs := []byte{0xc0, 12} // the question's name
	return slices.Concat(header(7, 0x8180, 1, 5), question(name("PACS", "ada", "example"), dns.TypeANY, 1),
		resource(pacs, dns.TypeA, []byte{10, 20, 8, 20}),
		resource(pacs, dns.TypeMX, []byte{0, 10, 4, 'm', 'a', 'i', 'l', 0xc0, 17}),
		resource(pacs, dns.TypeTXT, []byte("\x07ty=Helia\x0bmodel=Orthanc")[:20]),
		resource(pacs, dns.TypeSRV, append([]byte{0, 0, 0, 0, 0x2b, 0x68}, pacs...)),
		resource(pacs, dns.TypeCNAME, []byte{0xc0, 17}))
}

func Example() {
	m, err := dns.Parse(response())
	if err != nil {
		fmt.Println(err)
	}
	var r dns.Record
	for m.Next(&r) {
		target, _ := r.Target()
		fmt.Printf("%d %d %q %q\n", r.Section, r.Type, r.Name.Append(nil), target.Append(nil))
	}
	fmt.Println(m.Err())
	// Output:
	// 0 255 "pacs.ada.example" ""
	// 1 1 "pacs.ada.example" ""
	// 1 15 "pacs.ada.example" "mail.ada.example"
	// 1 16 "pacs.ada.example" ""
	// 1 33 "pacs.ada.example" "pacs.ada.example"
	// 1 5 "pacs.ada.example" "ada.example"
	// <nil>
}

func ExampleRegisteredDomain() {
	domain, rest := dns.RegisteredDomain([]byte("a1b2.c3d4.exfil.co.uk"))
	fmt.Printf("%s %s\n", domain, rest)
	// Output: exfil.co.uk a1b2.c3d4
}

func ExampleParseStream() {
	msg, n, err := dns.ParseStream(stream(header(1, 0, 0)))
	fmt.Println(len(msg), n, err)
	// Output: 12 14 <nil>
}

// TestCompression has the example of RFC 1035 section 4.1.4: F.ISI.ARPA,
// FOO.F.ISI.ARPA, ARPA and the root.
func TestCompression(t *testing.T) {
	msg := header(1, 0x8000, 0, 4)
	for _, n := range [][]byte{
		name("F", "ISI", "ARPA"), // at 12; ISI at 14, ARPA at 18
		append([]byte{3, 'F', 'O', 'O'}, 0xc0, 12),
		{0xc0, 18},
		{0},
	} {
		msg = append(msg, resource(n, dns.TypeA, nil)...)
	}
	m, err := dns.Parse(msg)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var r dns.Record
	for m.Next(&r) {
		got = append(got, string(r.Name.Append(nil)))
	}
	if want := []string{"f.isi.arpa", "foo.f.isi.arpa", "arpa", ""}; m.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, m.Err())
	}
}

func TestMalformed(t *testing.T) {
	long := func(n int) []byte { // a name of n bytes, with its lengths
		var labels []string
		for n--; n > 0; {
			l := min(n, 64)
			if n-l == 1 { // no room for a label of one byte
				l--
			}
			labels = append(labels, strings.Repeat("x", l-1))
			n -= l
		}
		return name(labels...)
	}
	if len(long(255)) != 255 || len(long(256)) != 256 {
		t.Fatal(len(long(255)), len(long(256)))
	}
	tests := []struct {
		name string
		in   []byte
		err  error
	}{
		{"longest name", long(255), nil},
		{"name too long", long(256), wire.ErrTooLong},
		{"pointer to itself", []byte{0xc0, 12}, wire.ErrInvalid},
		{"pointer forward", []byte{0xc0, 14, 1, 'a', 0}, wire.ErrInvalid},
		{"pointer round a circle", []byte{1, 'a', 0xc0, 12}, wire.ErrInvalid},
		{"pointer into the header", []byte{0xc0, 0}, nil}, // its first byte is 0, the root
		{"pointer beyond the end", []byte{0xff, 0xff}, wire.ErrInvalid},
		{"half a pointer", []byte{0xc0}, wire.ErrTruncated},
		{"label type 01", []byte{0x41, 'a', 0}, wire.ErrReserved},
		{"label type 10", []byte{0x80, 'a', 0}, wire.ErrReserved},
		{"label without end", []byte{3, 'a', 'b'}, wire.ErrTruncated},
		{"no root", []byte{1, 'a'}, wire.ErrTruncated},
		{"nothing", nil, wire.ErrTruncated},
	}
	for _, tt := range tests {
		msg := append(header(0x00ff, 0, 1), tt.in...)
		if tt.err != wire.ErrTruncated {
			msg = append(msg, 0, 1, 0, 1)
		}
		m, _ := dns.Parse(msg)
		var r dns.Record
		for m.Next(&r) {
		}
		if !errors.Is(m.Err(), tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, m.Err(), tt.err)
		}
	}
	whole := response()
	for i := range whole {
		m, err := dns.Parse(whole[:i])
		var r dns.Record
		for err == nil && m.Next(&r) {
		}
		if err == nil {
			err = m.Err()
		}
		if !errors.Is(err, wire.ErrTruncated) && !errors.Is(err, wire.ErrInvalid) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	// A record that says to have a target and has none.
	m, _ := dns.Parse(append(header(1, 0x8000, 0, 2), slices.Concat(resource([]byte{0}, dns.TypeSRV, []byte{0, 0, 0}), resource([]byte{0}, dns.TypePTR, nil))...))
	var r dns.Record
	for m.Next(&r) {
		if n, ok := r.Target(); ok || r.Port() != 0 {
			t.Errorf("target %q", n.Append(nil))
		}
	}
}

func TestRecognise(t *testing.T) {
	query := append(header(0x1234, 0x0100, 1), question(name("ada", "example"), dns.TypeA, 1)...)
	nbns := append(header(0x1234, 0x0110, 1), question(name("EBEEEBFAEBEDFDCACACACACACACACACA"), 32, 1)...)
	mdns := append(header(0, 0x8400, 0, 1), resource(name("mon-3", "local"), dns.TypeA, []byte{10, 20, 3, 31})...)
	set := func(b []byte, i int, v byte) []byte {
		b = slices.Clone(b)
		b[i] = v
		return b
	}
	tests := []struct {
		name     string
		in       []byte
		datagram wire.Match
		stream   wire.Match
	}{
		{"query", query, wire.SureMatch, wire.SureMatch},
		{"response", response(), wire.SureMatch, wire.SureMatch},
		{"multicast", mdns, wire.SureMatch, wire.SureMatch},
		{"netbios", nbns, wire.NoMatch, wire.NoMatch},
		{"netbios status", append(header(1, 0, 1), question(name("CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 33, 1)...), wire.NoMatch, wire.NoMatch},
		{"unknown type", set(query, len(query)-4, 7), wire.WeakMatch, wire.NoMatch},
		{"unknown class", set(query, len(query)-1, 9), wire.WeakMatch, wire.NoMatch},
		{"opcode 3", set(query, 2, 0x18), wire.NoMatch, wire.NoMatch},
		{"opcode 15", set(query, 2, 0x78), wire.NoMatch, wire.NoMatch},
		{"bit Z", set(query, 3, 0x40), wire.NoMatch, wire.NoMatch},
		{"more records than bytes", set(query, 7, 200), wire.NoMatch, wire.NoMatch},
		{"nothing asked", header(1, 0), wire.NoMatch, wire.NoMatch},
		{"question that failed", set(query, 3, 3), wire.NoMatch, wire.NoMatch},
		{"text", []byte("GET /fhir/Patient HTTP/1.1\r\nHost: ehr\r\n\r\n"), wire.NoMatch, wire.NoMatch},
	}
	for _, tt := range tests {
		if got := dns.RecogniseDatagram(tt.in); got != tt.datagram {
			t.Errorf("%s: datagram %v, want %v", tt.name, got, tt.datagram)
		}
		if got := dns.Recognise(stream(tt.in)); got != tt.stream {
			t.Errorf("%s: stream %v, want %v", tt.name, got, tt.stream)
		}
	}
	for i := range stream(query) {
		if m := dns.Recognise(stream(query)[:i]); m != wire.NeedMore {
			t.Fatalf("%d bytes of a stream: %v", i, m)
		}
	}
}

func TestName(t *testing.T) {
	m, _ := dns.Parse(append(header(1, 0, 1), question(name("A.b\\", "\x00\xffZ"), dns.TypeA, 1)...))
	var r dns.Record
	m.Next(&r)
	if got := string(r.Name.Append([]byte("> "))); got != `> a\.b\\.\000\255z` {
		t.Error(got)
	}
}

func TestRegisteredDomain(t *testing.T) {
	tests := []struct{ in, domain, rest string }{
		{"", "", ""},
		{"local", "local", ""},
		{"ada.example", "ada.example", ""},
		{"pacs.ada.example", "ada.example", "pacs"},
		{"x.y.pacs.ada.example", "ada.example", "x.y.pacs"},
		{"co.uk", "co.uk", ""},
		{"ada.co.uk", "ada.co.uk", ""},
		{"x.ada.nhs.uk", "ada.nhs.uk", "x"},
		{`x\.y.example`, `x\.y.example`, ""},
		{".a.b", "a.b", ""},
	}
	for _, tt := range tests {
		domain, rest := dns.RegisteredDomain([]byte(tt.in))
		if string(domain) != tt.domain || string(rest) != tt.rest {
			t.Errorf("%s: %s, %s; want %s, %s", tt.in, domain, rest, tt.domain, tt.rest)
		}
	}
}

func TestEntropy(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, tt := range []struct {
		in   string
		want float64
	}{{"", 0}, {"aaaa", 0}, {"abab", 1}, {"abcd", 2}, {string(all), 8}} {
		if got := dns.Entropy([]byte(tt.in)); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("Entropy(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func read(b []byte) (n int) {
	m, err := dns.Parse(b)
	if err != nil {
		return 0
	}
	var text [4 * 256]byte
	var r dns.Record
	for m.Next(&r) {
		n += len(r.Name.Append(text[:0]))
		if target, ok := r.Target(); ok {
			n += len(target.Append(text[:0]))
		}
		for s := range r.Strings() {
			n += len(s)
		}
	}
	return n
}

func TestNoAllocation(t *testing.T) {
	b := response()
	if n := testing.AllocsPerRun(100, func() {
		dns.RecogniseDatagram(b)
		read(b)
		dns.Entropy(b)
		dns.RegisteredDomain([]byte("x.y.example"))
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(response())
	f.Add(append(header(1, 0, 1), 0xc0, 12, 0, 1, 0, 1))
	f.Add(append(header(0, 0x8400, 0, 1), resource(name("_dicom", "_tcp", "local"), dns.TypePTR, []byte{2, 'c', 't', 0xc0, 12})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if first, again := dns.RecogniseDatagram(b), dns.RecogniseDatagram(b); first != again {
			t.Fatal("two answers")
		}
		if first, again := dns.Recognise(b), dns.Recognise(b); first != again {
			t.Fatal("two answers")
		}
		m, err := dns.Parse(b)
		if err != nil {
			return
		}
		var r dns.Record
		for m.Next(&r) {
			total := 1
			for label := range r.Name.Labels() {
				if len(label) == 0 || len(label) > 63 || cap(label) != len(label) {
					t.Fatal("a bad label in a record that was read")
				}
				total += 1 + len(label)
			}
			if total > 255 {
				t.Fatalf("a name of %d bytes", total)
			}
			text := r.Name.Append(nil)
			domain, rest := dns.RegisteredDomain(text)
			if !bytes.HasSuffix(text, domain) || !bytes.HasPrefix(text, rest) {
				t.Fatalf("%q split into %q and %q", text, rest, domain)
			}
			if !bytes.Contains(b, r.Data) || cap(r.Data) != len(r.Data) {
				t.Fatal("data outside the message")
			}
			r.Target()
			r.Port()
		}
		if first, again := read(b), read(b); first != again {
			t.Fatal("two readings")
		}
		dns.ParseStream(b)
	})
}

func BenchmarkMessage(b *testing.B) {
	msg := response()
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		read(msg)
	}
}

func BenchmarkQuery(b *testing.B) {
	msg := append(header(0x1234, 0x0100, 1), question(name("pacs", "ada", "example"), dns.TypeA, 1)...)
	b.ReportAllocs()
	for b.Loop() {
		dns.RecogniseDatagram(msg)
		read(msg)
	}
}
