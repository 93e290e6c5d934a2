// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/proto/tls"
	"github.com/myelin-health/myelin/wire"
)

var unhex = vector.Bytes

// The hellos of RFC 8448 section 3, "Simple 1-RTT Handshake".
const (
	rfc8448ClientHello = `010000c0 0303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7
		000006 130113031302 0100 0091 0000000b0009000006736572766572 ff01000100
		000a00140012001d0017001800190100010101020103 0104 00230000
		00330026 0024001d0020 99381de560e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c
		002b0003020304 000d0020001e040305030603020308040805080604010501060102010402050206020202
		002d00020101 001c00024001`
	rfc8448ServerHello = `02000056 0303a6af06a4121860dc5e6e60249cd34c95930c8ac5cb1434dac155772ed3e26928
		00 1301 00 002e 00330024001d0020 c9828876112095fe66762bdbf7c672e156d6cc253b833df1dd69b1b04e751f0f
		002b00020304`
)

func record(typ tls.ContentType, version tls.Version, fragment []byte) []byte {
	b := append([]byte{byte(typ)}, byte(version>>8), byte(version))
	b = binary.BigEndian.AppendUint16(b, uint16(len(fragment)))
	return append(b, fragment...)
}

// vector16 is v behind its length of two bytes.
func vector16(v []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(v))), v...)
}

func u16s(numbers ...uint16) (b []byte) {
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func extension(typ uint16, data []byte) []byte {
	return append(u16s(typ), vector16(data)...)
}

// clientHello is the body of a ClientHello.
func clientHello(version tls.Version, suites []uint16, exts ...[]byte) []byte {
	b := append(u16s(uint16(version)), make([]byte, 33)...) // random and an empty session id
	b = append(b, vector16(u16s(suites...))...)
	b = append(b, 1, 0)
	return append(b, vector16(slices.Concat(exts...))...)
}

func ExampleParseClientHello() {
	body := clientHello(tls.TLS12, []uint16{0x0a0a, 0x1301},
		extension(0, []byte("\x00\x0b\x00\x00\x08pacs.ada")),
		extension(43, []byte{2, 3, 4}))
	h, err := tls.ParseClientHello(body)
	fmt.Printf("%s %s %v\n", h.MaxVersion(), h.ServerName, err)
	fmt.Printf("%s\n", h.AppendJA4(nil, false))
	// Output:
	// TLS 1.3 pacs.ada <nil>
	// t13d010200_0f2cb44170f4_b9a491fefe05
}

func ExampleAssess() {
	fmt.Println(tls.Assess(tls.TLS10, 0x0005, tls.KeyExchange{}))
	fmt.Println(tls.Assess(tls.TLS12, 0x009e, tls.KeyExchange{Bits: 1024}))
	fmt.Println(tls.Assess(tls.TLS13, 0x1301, tls.KeyExchange{}) == 0)
	// Output:
	// obsolete version, RC4
	// short key exchange
	// true
}

func ExampleParseRecord() {
	r, n, err := tls.ParseRecord([]byte{21, 3, 3, 0, 2, 2, 40})
	fatal, description, _ := tls.ParseAlert(r.Fragment)
	fmt.Println(r.Version, n, err, fatal, description)
	// Output: TLS 1.2 7 <nil> true 40
}

func TestRFC8448(t *testing.T) {
	m, rest, ok := new(tls.Assembler).Next(unhex(t, rfc8448ClientHello))
	if !ok || len(rest) > 0 || m.Type != tls.ClientHelloType {
		t.Fatal(m.Type, len(rest), ok)
	}
	h, err := tls.ParseClientHello(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(h.ServerName) != "server" || h.MaxVersion() != tls.TLS13 || h.CipherSuites.Len() != 3 ||
		h.SupportedGroups.Len() != 9 || h.SignatureAlgorithms.Len() != 15 || h.ALPN != nil || h.PreSharedKey || h.ECH {
		t.Errorf("%+v", h)
	}
	m, _, _ = new(tls.Assembler).Next(unhex(t, rfc8448ServerHello))
	s, err := tls.ParseServerHello(m.Body)
	if err != nil || s.Negotiated() != tls.TLS13 || s.Version != tls.TLS12 || s.CipherSuite != 0x1301 || s.Group != 29 || s.IsRetryRequest {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestJA4 has the example of JA4's description, without and with GREASE in
// every list, and its rules for ALPN.
func TestJA4(t *testing.T) {
	suites := []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035}
	order := []uint16{0x001b, 0, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015}
	algorithms := []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}
	hello := func(grease bool, alpn string, algorithms []uint16, order []uint16) []byte {
		versions, suites := []uint16{0x0304, 0x0303}, suites
		if grease {
			versions = append([]uint16{0xfafa}, versions...)
			suites = append([]uint16{0x2a2a}, suites...)
			order = append([]uint16{0x8a8a}, order...)
		}
		var exts [][]byte
		for _, typ := range order {
			var data []byte
			switch typ {
			case 0x0010:
				data = vector16(append([]byte{byte(len(alpn))}, alpn...))
			case 0x000d:
				data = vector16(u16s(algorithms...))
			case 0x002b:
				data = append([]byte{byte(2 * len(versions))}, u16s(versions...)...)
			case 0x000a:
				data = vector16(u16s(29, 23))
			}
			exts = append(exts, extension(typ, data))
		}
		return clientHello(tls.TLS12, suites, exts...)
	}
	tests := []struct {
		body []byte
		want string
	}{
		{hello(false, "h2", algorithms, order), "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{hello(true, "h2", algorithms, order), "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{hello(true, "http/1.1", algorithms, order), "t13d1516h1_8daaf6152771_e5627efa2ab1"},
		{hello(false, "h2", nil, order), "t13d1516h2_8daaf6152771_6d807ffa2a79"}, // no signature algorithms, no underscore
		{hello(false, "\xab", algorithms, order), "t13d1516ab_8daaf6152771_e5627efa2ab1"},
		{hello(false, "\xab\xcd", algorithms, order), "t13d1516ad_8daaf6152771_e5627efa2ab1"},
		{hello(false, "0\xab", algorithms, order), "t13d15163b_8daaf6152771_e5627efa2ab1"},
		{hello(false, "01\xab\xcd", algorithms, order), "t13d15163d_8daaf6152771_e5627efa2ab1"},
		{hello(false, "0\xab\xcd1", algorithms, order), "t13d151601_8daaf6152771_e5627efa2ab1"},
		{hello(false, "x", algorithms, order), "t13d1516xx_8daaf6152771_e5627efa2ab1"},
		{hello(false, "h2", nil, nil), "t12i150000_8daaf6152771_000000000000"},
		{clientHello(tls.SSL30, nil), "ts3i000000_000000000000_000000000000"},
	}
	for _, tt := range tests {
		h, err := tls.ParseClientHello(tt.body)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(h.AppendJA4(nil, false)); got != tt.want {
			t.Errorf("JA4 = %s, want %s", got, tt.want)
		}
	}
}

func TestRecognise(t *testing.T) {
	tests := []struct {
		name string
		f    func([]byte) wire.Match
		in   []byte
		want wire.Match
	}{
		{"hello", tls.Recognise, record(tls.Handshake, tls.TLS10, unhex(t, rfc8448ClientHello)), wire.SureMatch},
		{"data", tls.Recognise, record(tls.ApplicationData, tls.TLS12, make([]byte, 40)), wire.SureMatch},
		{"alert", tls.Recognise, []byte{21, 3, 1, 0, 2, 2, 40}, wire.SureMatch},
		{"ccs", tls.Recognise, []byte{20, 3, 3, 0, 1, 1}, wire.SureMatch},
		{"ssl2", tls.Recognise, ssl2Hello(0x0002, 0), wire.SureMatch},
		{"ssl2 offering 3.1", tls.Recognise, ssl2Hello(0x0301, 0), wire.SureMatch},
		{"nothing", tls.Recognise, nil, wire.NeedMore},
		{"first byte", tls.Recognise, []byte{22}, wire.NeedMore},
		{"header", tls.Recognise, []byte{22, 3, 1, 0, 100}, wire.NeedMore},
		{"major 2", tls.Recognise, []byte{22, 2, 1, 0, 100, 1}, wire.NoMatch},
		{"minor 5", tls.Recognise, []byte{22, 3, 5, 0, 100, 1}, wire.NoMatch},
		{"type 25", tls.Recognise, []byte{25, 3, 3, 0, 100, 1}, wire.NoMatch},
		{"longest", tls.Recognise, []byte{23, 3, 3, 0x48, 0x00, 1}, wire.SureMatch},
		{"too long", tls.Recognise, []byte{23, 3, 3, 0x48, 0x01, 1}, wire.NoMatch},
		{"handshake type 9", tls.Recognise, []byte{22, 3, 3, 0, 100, 9, 0}, wire.NoMatch},
		{"ccs of 2", tls.Recognise, []byte{20, 3, 3, 0, 2, 1}, wire.NoMatch},
		{"ssl2 odd ciphers", tls.Recognise, ssl2Hello(0x0002, 1), wire.NoMatch},
		{"ssl2 version 5", tls.Recognise, ssl2Hello(0x0005, 0), wire.NoMatch},
		{"http", tls.Recognise, []byte("GET / HTTP/1.1\r\n"), wire.NoMatch},
		{"dtls", tls.RecogniseDatagram, []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, wire.SureMatch},
		{"dtls longer than the datagram", tls.RecogniseDatagram, []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1}, wire.NoMatch},
		{"dtls of nothing", tls.RecogniseDatagram, []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, wire.NoMatch},
		{"tls over udp", tls.RecogniseDatagram, record(tls.Handshake, tls.TLS10, unhex(t, rfc8448ClientHello)), wire.NoMatch},
	}
	for _, tt := range tests {
		if got := tt.f(tt.in); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	hello := record(tls.Handshake, tls.TLS10, unhex(t, rfc8448ClientHello))
	for i := range hello { // a prefix never says no
		if m := tls.Recognise(hello[:i]); m == wire.NoMatch {
			t.Fatalf("prefix of %d bytes: no match", i)
		}
	}
}

// ssl2Hello is an SSL 2.0 CLIENT-HELLO with two ciphers, and odd more bytes of them.
func ssl2Hello(version uint16, odd int) []byte {
	specs := append([]byte{1, 0, 0x80, 7, 0, 0xc0}, make([]byte, odd)...)
	b := append([]byte{1}, u16s(version, uint16(len(specs)), 0, 16)...)
	b = append(append(b, specs...), make([]byte, 16)...)
	return append(u16s(0x8000|uint16(len(b))), b...)
}

func TestSSL2(t *testing.T) {
	b := ssl2Hello(0x0301, 0)
	h, n, err := tls.ParseSSL2ClientHello(append(b, 0xff))
	if err != nil || n != len(b) || h.Version != tls.TLS10 || !h.SSL2 || !h.WeakSSL2 || len(h.Random) != 16 {
		t.Errorf("%+v, %d, %v", h, n, err)
	}
	server := append([]byte{4, 0, 1}, u16s(2, 3, 3, 2)...)
	server = append(server, "cer\x02\x00\x80id"...)
	server = append(u16s(0x8000|uint16(len(server))), server...)
	s, n, err := tls.ParseSSL2ServerHello(server)
	if err != nil || n != len(server) || s.Negotiated() != tls.SSL20 || string(s.ServerCertificate) != "cer" {
		t.Errorf("%+v, %d, %v", s, n, err)
	}
	if got := tls.Assess(s.Negotiated(), s.CipherSuite, tls.KeyExchange{}).String(); got != "obsolete version, export key, RC4, MD5" {
		t.Error(got)
	}
	for i := range b {
		if _, _, err := tls.ParseSSL2ClientHello(b[:i]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	if _, _, err := tls.ParseSSL2ClientHello(server); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
	if _, _, err := tls.ParseSSL2ClientHello(ssl2Hello(2, 1)); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
}

func TestMalformedHello(t *testing.T) {
	whole := unhex(t, rfc8448ClientHello)[4:]
	for i := range whole {
		if i == 45 { // up to the compression methods: a hello of before extensions
			continue
		}
		if _, err := tls.ParseClientHello(whole[:i]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes of a ClientHello: %v", i, err)
		}
	}
	if h, err := tls.ParseClientHello(whole[:45]); err != nil || h.Extensions != nil {
		t.Errorf("ClientHello without extensions: %v", err)
	}
	if _, err := tls.ParseClientHello(append(slices.Clone(whole), 0)); !errors.Is(err, wire.ErrTrailing) {
		t.Error(err)
	}
	server := unhex(t, rfc8448ServerHello)[4:]
	for i := range server {
		if _, err := tls.ParseServerHello(server[:i]); i != 38 && !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes of a ServerHello: %v", i, err)
		}
	}
	tests := []struct {
		body  []byte
		field string
		err   error
	}{
		{clientHello(tls.TLS12, nil, extension(43, []byte{3, 3, 4, 0})), "supported_versions", wire.ErrInvalid},
		{clientHello(tls.TLS12, nil, extension(10, []byte{0, 4, 0, 29})), "supported_groups", wire.ErrTruncated},
		{clientHello(tls.TLS12, nil, extension(16, []byte{0, 3, 3, 'h', '2'})), "ProtocolName", wire.ErrTruncated},
		{clientHello(tls.TLS12, nil, extension(0, []byte{0, 5, 0, 0, 9, 'a', 'b'})), "host_name", wire.ErrTruncated},
		{clientHello(tls.TLS12, nil, []byte{0, 0, 0}), "extension_data", wire.ErrTruncated},
		{append(append([]byte{3, 3}, make([]byte, 32)...), append([]byte{33}, make([]byte, 40)...)...), "legacy_session_id", wire.ErrTooLong},
	}
	for _, tt := range tests {
		_, err := tls.ParseClientHello(tt.body)
		var se *wire.SyntaxError
		if !errors.As(err, &se) || se.Field != tt.field || se.Err != tt.err {
			t.Errorf("%v, want %s: %v", err, tt.field, tt.err)
		}
	}
}

func TestRecordBounds(t *testing.T) {
	tests := []struct {
		in  []byte
		err error
	}{
		{[]byte{23, 3, 3, 0x48, 0x00}, nil},
		{[]byte{23, 3, 3, 0x48, 0x01}, wire.ErrTooLong},
		{[]byte{19, 3, 3, 0, 1}, wire.ErrInvalid},
		{[]byte{25, 3, 3, 0, 1}, wire.ErrInvalid},
		{[]byte{22, 2, 0, 0, 1}, wire.ErrInvalid},
		{[]byte{22, 3, 1, 0}, wire.ErrTruncated},
	}
	for _, tt := range tests {
		if _, _, err := tls.ParseHeader(tt.in); !errors.Is(err, tt.err) {
			t.Errorf("ParseHeader(%x): %v, want %v", tt.in, err, tt.err)
		}
	}
	for _, in := range []string{"", "\x01", "\x03\x28", "\x02\x28\x00"} {
		if _, _, err := tls.ParseAlert([]byte(in)); err == nil {
			t.Errorf("ParseAlert(%x) is accepted", in)
		}
	}
}

func TestHeartbleed(t *testing.T) {
	tests := []struct {
		in   string
		want bool
	}{
		{"\x01\x00\x10" + strings.Repeat("p", 16) + strings.Repeat("\x00", 16), false}, // RFC 6520 section 4
		{"\x01\x40\x00", true},
		{"\x01\x00\x01", true},
		{"\x01\x00\x10" + strings.Repeat("p", 16) + strings.Repeat("\x00", 15), true}, // a byte of padding short
		{"\x02\x40\x00", false}, // a response
		{"\x01\x40", false},
		{"", false},
	}
	for _, tt := range tests {
		if got := tls.IsHeartbleed([]byte(tt.in)); got != tt.want {
			t.Errorf("IsHeartbleed(%x) = %v", tt.in, got)
		}
	}
}

func TestAssembler(t *testing.T) {
	message := func(typ tls.HandshakeType, n int) []byte {
		return append([]byte{byte(typ), byte(n >> 16), byte(n >> 8), byte(n)}, bytes.Repeat([]byte{byte(typ)}, n)...)
	}
	stream := slices.Concat(message(tls.ServerHelloType, 70), message(tls.CertificateType, 3000), message(tls.ServerHelloDoneType, 0),
		message(tls.ServerKeyExchangeType, tls.MaxMessage), message(tls.ServerKeyExchangeType, tls.MaxMessage+1),
		message(tls.CertificateType, tls.MaxCertificate), message(tls.CertificateType, tls.MaxCertificate+1), message(tls.FinishedType, 12))
	type got struct {
		Type     tls.HandshakeType
		Len, Got int
	}
	want := []got{{2, 70, 70}, {11, 3000, 3000}, {14, 0, 0}, {12, 65536, 65536}, {12, 65537, 0}, {11, 262144, 262144}, {11, 262145, 0}, {20, 12, 12}}
	for _, size := range []int{1, 2, 3, 5, 100, 16384, len(stream)} {
		var a tls.Assembler
		var all []got
		for chunk := range slices.Chunk(stream, size) {
			for {
				m, rest, ok := a.Next(chunk)
				if !ok {
					break
				}
				for _, b := range m.Body {
					if b != byte(m.Type) {
						t.Fatal("bytes of another message")
					}
				}
				all = append(all, got{m.Type, m.Length, len(m.Body)})
				chunk = rest
			}
		}
		if !slices.Equal(all, want) {
			t.Fatalf("in pieces of %d: %v", size, all)
		}
	}
}

func TestServerKeyExchange(t *testing.T) {
	point := append([]byte{65, 4}, make([]byte, 64+10)...)
	dh := func(n int, first byte) []byte {
		p := make([]byte, n)
		p[0] = first
		return slices.Concat(vector16(p), vector16([]byte{2}), vector16(p))
	}
	tests := []struct {
		in   []byte
		want tls.KeyExchange
		weak bool
	}{
		{append([]byte{3, 0, 23}, point...), tls.KeyExchange{Group: 23}, false},
		{append([]byte{3, 0, 29, 32, 0x41}, make([]byte, 80)...), tls.KeyExchange{Group: 29}, false},
		{append([]byte{3, 0, 19}, append([]byte{49, 4}, make([]byte, 60)...)...), tls.KeyExchange{Group: 19}, true},
		{dh(64, 0xff), tls.KeyExchange{Bits: 512}, true},
		{dh(128, 0xff), tls.KeyExchange{Bits: 1024}, true},
		{dh(256, 0x7f), tls.KeyExchange{Bits: 2047}, true},
		{dh(256, 0x80), tls.KeyExchange{Bits: 2048}, false},
		{dh(257, 0), tls.KeyExchange{}, false},
		{dh(768, 0xff), tls.KeyExchange{Bits: 6144}, false}, // begins with 03 like a curve
	}
	for _, tt := range tests {
		k, err := tls.ParseServerKeyExchange(tt.in)
		if err != nil || k != tt.want || (k.Weakness() != 0) != tt.weak {
			t.Errorf("%+v, %v, %v; want %+v, weak %v", k, err, k.Weakness(), tt.want, tt.weak)
		}
	}
	for _, in := range [][]byte{nil, {3}, {3, 0, 23, 65, 4}, {0, 4, 1, 2, 3, 4, 0, 0}, []byte("\x00\x05guess\x00\x01\x05")} {
		if k, err := tls.ParseServerKeyExchange(in); err == nil {
			t.Errorf("ParseServerKeyExchange(%x) = %+v", in, k)
		}
	}
}

func TestWeakness(t *testing.T) {
	tests := []struct {
		version tls.Version
		suite   tls.Suite
		want    string
	}{
		{tls.TLS13, 0x1303, ""},
		{tls.TLS12, 0xc02f, ""},
		{tls.TLS12, 0x002f, ""}, // CBC, in a version where that is sound
		{tls.TLS12, 0x000a, "3DES"},
		{tls.TLS10, 0x002f, "obsolete version, CBC before TLS 1.1"},
		{tls.TLS11, 0x002f, "obsolete version"},
		{tls.SSL30, 0x0004, "obsolete version, RC4, MD5"},
		{tls.TLS12, 0x0000, "no encryption"},
		{tls.TLS12, 0x0019, "no authentication, export key, DES"},
		{tls.TLS12, 0xc018, "no authentication"},
		{tls.TLS12, 0x0062, "export key, DES"},
		{tls.TLS13, 0xc0b4, "no encryption"},
		{tls.TLS12, 0xffff, ""},
		{tls.DTLS10, 0xc014, "obsolete version"},
		{tls.DTLS12, 0xc0a8, ""},
		{0x7f17, 0x1301, ""},
	}
	for _, tt := range tests {
		if got := tls.Assess(tt.version, tt.suite, tls.KeyExchange{}).String(); got != tt.want {
			t.Errorf("Assess(%v, %#04x) = %q, want %q", tt.version, tt.suite, got, tt.want)
		}
	}
}

func TestDatagram(t *testing.T) {
	body := append(u16s(0xfefd), make([]byte, 33)...)
	body = append(body, 4, 'c', 'o', 'o', 'k') // RFC 6347 section 4.2.1
	body = append(body, 0, 2, 0xc0, 0xa8, 1, 0)
	handshake := append([]byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	b := append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 9}, vector16(handshake)...)
	r, n, err := tls.ParseDatagramRecord(append(slices.Clone(b), 0))
	if err != nil || n != len(b) || r.Sequence != 9 || r.Epoch != 0 {
		t.Fatal(r, n, err)
	}
	m, n, ok, err := tls.ParseDatagramHandshake(r.Fragment)
	if err != nil || !ok || n != len(handshake) {
		t.Fatal(m, n, ok, err)
	}
	h, err := tls.ParseDatagramClientHello(m.Body)
	if err != nil || h.MaxVersion() != tls.DTLS12 || string(h.Cookie) != "cook" || h.CipherSuites.Len() != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	if ja4 := string(h.AppendJA4(nil, true)); ja4[:10] != "dd2i010000" {
		t.Error(ja4)
	}
	for i := range b {
		if _, _, err := tls.ParseDatagramRecord(b[:i]); !errors.Is(err, wire.ErrTruncated) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	handshake[11]-- // one byte short: a fragment
	if _, _, ok, err := tls.ParseDatagramHandshake(handshake); ok || err != nil {
		t.Error(ok, err)
	}
	handshake[8] = 2 // which ends beyond the message
	if _, _, _, err := tls.ParseDatagramHandshake(handshake); !errors.Is(err, wire.ErrInvalid) {
		t.Error(err)
	}
}

func TestNoAllocation(t *testing.T) {
	client, server := unhex(t, rfc8448ClientHello), unhex(t, rfc8448ServerHello)
	b := record(tls.Handshake, tls.TLS12, client)
	var a tls.Assembler
	var ja4 [64]byte
	if n := testing.AllocsPerRun(100, func() {
		tls.Recognise(b)
		r, _, _ := tls.ParseRecord(b)
		m, _, _ := a.Next(r.Fragment)
		h, _ := tls.ParseClientHello(m.Body)
		h.AppendJA4(ja4[:0], false)
		tls.ParseServerHello(server[4:])
		tls.Assess(tls.TLS10, 0x0005, tls.KeyExchange{})
	}); n != 0 {
		t.Errorf("%v allocations a handshake", n)
	}
}

func FuzzParseRecord(f *testing.F) {
	hello := unhex(f, rfc8448ClientHello)
	f.Add(record(tls.Handshake, tls.TLS10, hello))
	f.Add(slices.Concat(record(tls.Handshake, tls.TLS12, hello[:50]), record(tls.Handshake, tls.TLS12, hello[50:])))
	f.Add(record(tls.Handshake, tls.TLS12, unhex(f, rfc8448ServerHello)))
	f.Add(ssl2Hello(2, 0))
	f.Add(record(tls.Heartbeat, tls.TLS12, []byte{1, 0x40, 0}))
	f.Add(record(tls.Handshake, tls.TLS12, []byte("\x0b\x00\x00\x09\x00\x00\x06\x00\x00\x03\x30\x01\x00\x0c\x00\x00\x05\x03\x00\x17\x01\x04")))
	f.Add(append([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1}, vector16([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, again := tls.Recognise(b), tls.Recognise(b); a != again {
			t.Fatal("two answers")
		}
		inside := func(part []byte) {
			if len(part) > len(b) || cap(part) != len(part) {
				t.Fatal("a part that is longer than the whole, or can be appended to")
			}
		}
		body := func(m tls.Message) {
			h, _ := tls.ParseClientHello(m.Body)
			inside(h.ServerName)
			for name := range h.ALPN.All() {
				inside(name)
			}
			one, two := h.AppendJA4(nil, false), h.AppendJA4(nil, false)
			if len(one) != 36 || !bytes.Equal(one, two) {
				t.Fatalf("JA4 %q, then %q", one, two)
			}
			tls.ParseDatagramClientHello(m.Body)
			s, _ := tls.ParseServerHello(m.Body)
			inside(s.ALPN)
			tls.ParseServerKeyExchange(m.Body)
			if der, off, err := tls.FirstCertificate(m.Body); err == nil && der != nil {
				if !bytes.Equal(m.Body[off:off+len(der)], der) {
					t.Fatal("certificate is elsewhere")
				}
			}
		}
		var a tls.Assembler
		for in := b; ; {
			r, n, err := tls.ParseRecord(in)
			if err != nil {
				break
			}
			inside(r.Fragment)
			tls.ParseAlert(r.Fragment)
			tls.IsHeartbleed(r.Fragment)
			for fragment := r.Fragment; ; {
				m, rest, ok := a.Next(fragment)
				if !ok {
					break
				}
				body(m)
				fragment = rest
			}
			in = in[n:]
		}
		if r, _, err := tls.ParseDatagramRecord(b); err == nil {
			if m, _, ok, _ := tls.ParseDatagramHandshake(r.Fragment); ok {
				body(m)
			}
		}
		h, _, _ := tls.ParseSSL2ClientHello(b)
		h.AppendJA4(nil, false)
		s, _, _ := tls.ParseSSL2ServerHello(b)
		inside(s.ServerCertificate)
	})
}

func BenchmarkHandshake(b *testing.B) {
	client := record(tls.Handshake, tls.TLS10, unhex(b, rfc8448ClientHello))
	server := record(tls.Handshake, tls.TLS12, unhex(b, rfc8448ServerHello))
	var ja4 [64]byte
	b.SetBytes(int64(len(client) + len(server)))
	b.ReportAllocs()
	for b.Loop() {
		var a tls.Assembler
		r, _, _ := tls.ParseRecord(client)
		m, _, _ := a.Next(r.Fragment)
		h, _ := tls.ParseClientHello(m.Body)
		h.AppendJA4(ja4[:0], false)
		r, _, _ = tls.ParseRecord(server)
		m, _, _ = a.Next(r.Fragment)
		tls.ParseServerHello(m.Body)
	}
}

func BenchmarkRecognise(b *testing.B) {
	client := record(tls.Handshake, tls.TLS10, unhex(b, rfc8448ClientHello))
	b.ReportAllocs()
	for b.Loop() {
		tls.Recognise(client)
	}
}
