// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/wire"
)

// replay returns what the observers note of a capture, before the ordered stage
// withholds names.
func replay(t testing.TB, name string) []event.Event {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "captures", name))
	if err != nil {
		t.Skipf("the captures beside the repository (../shared/captures) are not here: %v", err)
	}
	defer f.Close()
	r, err := capture.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []stamped
	s := newShard([]byte("the key of tests"))
	var ends []ended
	s.out, s.ends, s.verbose = &out, &ends, true
	var frame capture.Frame
	for {
		if err := r.ReadFrame(&frame); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		var p wire.Packet
		p.Decode(frame.Link, frame.Data)
		if p.IPVersion != 0 && !p.Fragmented {
			s.packet(&item{packet: p, place: flow.Place{Time: frame.Time, Packet: frame.Packet}})
		}
	}
	for ok := true; ok; _, ok = s.table.Oldest() {
		s.table.FlushOldest()
	}
	events := make([]event.Event, len(out))
	for i := range out {
		events[i] = out[i].e
	}
	return events
}

// lines writes events of some kinds, one a line: kind, device, and each
// attribute that is not zero.
func lines(events []event.Event, kinds ...event.Kind) (out []string) {
	for i := range events {
		e := &events[i]
		wanted := len(kinds) == 0
		for _, k := range kinds {
			wanted = wanted || e.Kind == k
		}
		if !wanted {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%v %v", e.Kind, e.Device)
		for _, a := range e.Attrs() {
			if a.Text != "" {
				fmt.Fprintf(&b, " %q", a.Text)
			} else if a.Int != 0 {
				fmt.Fprintf(&b, " %d", a.Int)
			}
		}
		out = append(out, b.String())
	}
	return out
}

// sameInPieces expects an observer to note the same of a TCP conversation
// whether its pieces come whole, byte by byte, or cut at random.
func sameInPieces(t *testing.T, want []string, fresh func() observer, pieces []piece) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []func() int{func() int { return 1 << 20 }, func() int { return 1 }, func() int { return 1 + rnd.IntN(300) }} {
		var cut []piece
		for _, p := range pieces {
			for b := p.b; len(b) > 0; {
				n := min(size(), len(b))
				cut = append(cut, piece{p.from, b[:n]})
				b = b[n:]
			}
		}
		got := lines(observe(t, fresh(), cut...))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in %d pieces: %s", len(cut), diff)
		}
	}
}

// A tap records what one end of a connection writes.
type tap struct {
	net.Conn
	mu  *sync.Mutex
	out *[]piece
	by  flow.Side
}

func (c tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	*c.out = append(*c.out, piece{c.by, bytes.Clone(b)})
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// handshake runs a handshake of Go's client and server and some data, and returns what they sent.
func handshake(t *testing.T, client, server *tls.Config) (pieces []piece) {
	t.Helper()
	a, b := net.Pipe()
	var mu sync.Mutex
	done := make(chan error, 1)
	go func() {
		s := tls.Server(tap{b, &mu, &pieces, flow.Server}, server)
		_, err := io.ReadFull(s, make([]byte, 4))
		if err == nil {
			_, err = s.Write([]byte("pong"))
		}
		b.Close()
		done <- err
	}()
	c := tls.Client(tap{a, &mu, &pieces, flow.Client}, client)
	if _, err := c.Write([]byte("ping")); err == nil {
		io.ReadFull(c, make([]byte, 4))
	}
	a.Close()
	<-done
	return pieces
}

func TestTLSWithGo(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(notAfter time.Time, name string, sign x509.SignatureAlgorithm) tls.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: notAfter.AddDate(-1, 0, 0), NotAfter: notAfter, DNSNames: []string{name}, SignatureAlgorithm: sign,
		}
		der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	expired := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) // tests play on 3 March 2026
	valid := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	weak := time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC) // valid, and signed over SHA-1
	for _, tt := range []struct {
		name     string
		max      uint16
		suite    uint16
		alpn     []string
		mutual   bool
		notAfter time.Time
		want     []string // JA4 and numbers of certificates left out
	}{
		{"1.3", tls.VersionTLS13, 0, []string{"h2", "http/1.1"}, true, valid, []string{
			`tls-seen 10.20.1.5 "TLS 1.3" "pacs.ada.example"`,
			`protocol-seen 10.20.1.5 "http"`,
		}},
		{"1.3 without ALPN", tls.VersionTLS13, 0, nil, false, valid, []string{`tls-seen 10.20.1.5 "TLS 1.3" "pacs.ada.example"`}},
		{"1.2", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, []string{"mqtt"}, false, valid, []string{
			`certificate-seen 10.20.3.10`, `name-seen 10.20.3.10 "pacs.ada.example" "tls"`,
			`tls-seen 10.20.1.5 "TLS 1.2" "pacs.ada.example"`,
			`protocol-seen 10.20.1.5 "mqtt"`,
		}},
		{"1.2 mutual, expired", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, nil, true, expired, []string{
			`certificate-seen 10.20.3.10`, `name-seen 10.20.3.10 "pacs.ada.example" "tls"`,
			`certificate-seen 10.20.1.5`,
			`tls-seen 10.20.1.5 "TLS 1.2" "pacs.ada.example"`,
		}},
		{"1.2, SHA-1", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, nil, false, weak, []string{
			`certificate-seen 10.20.3.10`, `name-seen 10.20.3.10 "pacs.ada.example" "tls"`,
			`tls-seen 10.20.1.5 "TLS 1.2" "pacs.ada.example"`,
		}},
		{"1.1", tls.VersionTLS11, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, nil, false, valid, []string{
			`certificate-seen 10.20.3.10`, `name-seen 10.20.3.10 "pacs.ada.example" "tls"`,
			`tls-seen 10.20.1.5 "TLS 1.1" "pacs.ada.example" "obsolete version"`,
		}},
		{"1.0", tls.VersionTLS10, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, nil, false, valid, []string{
			`certificate-seen 10.20.3.10`, `name-seen 10.20.3.10 "pacs.ada.example" "tls"`,
			`tls-seen 10.20.1.5 "TLS 1.0" "pacs.ada.example" "obsolete version, CBC before TLS 1.1"`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sign := x509.ECDSAWithSHA256
			if tt.notAfter == weak {
				sign = x509.ECDSAWithSHA1
			}
			own := certificate(tt.notAfter, "pacs.ada.example", sign)
			client := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tt.max, ServerName: "pacs.ada.example", NextProtos: tt.alpn, InsecureSkipVerify: true}
			server := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tt.max, NextProtos: tt.alpn, Certificates: []tls.Certificate{own}}
			if tt.suite != 0 {
				client.CipherSuites, server.CipherSuites = []uint16{tt.suite}, []uint16{tt.suite}
			}
			if tt.mutual {
				client.Certificates, server.ClientAuth = []tls.Certificate{own}, tls.RequireAnyClientCert
			}
			pieces := handshake(t, client, server)
			events := observe(t, newTLSObserver(), pieces...)
			var got []string
			for i := range events {
				e := &events[i]
				var texts []string
				for _, a := range e.Attrs() {
					if a.Text != "" && a.Key != event.JA4 {
						texts = append(texts, fmt.Sprintf(" %q", a.Text))
					}
				}
				got = append(got, fmt.Sprintf("%v %v%s", e.Kind, e.Device, strings.Join(texts, "")))
				switch e.Kind {
				case event.TLSSeen:
					if tt.suite != 0 && (e.Int(event.Suite) != int64(tt.suite) || event.Result(e.Int(event.Outcome)) != event.Succeeded) {
						t.Errorf("suite %#x, outcome %d", e.Int(event.Suite), e.Int(event.Outcome))
					}
					if len(e.Text(event.JA4)) != 36 {
						t.Errorf("JA4 %q", e.Text(event.JA4))
					}
				case event.CertificateSeen:
					want := int64(event.CertificateSelfSigned)
					switch tt.notAfter {
					case expired:
						want |= event.CertificateExpired
					case weak:
						want |= event.CertificateWeakHash
					}
					if e.Int(event.Problems) != want || e.Int(event.NotAfter) != tt.notAfter.Unix() || e.Int(event.KeyBits) != 256 {
						t.Errorf("problems %b, not after %d, %d bits", e.Int(event.Problems), e.Int(event.NotAfter), e.Int(event.KeyBits))
					}
				case event.ProtocolSeen:
					if e.Int(event.Inferred) != 1 || e.Int(event.Protection) != 1 {
						t.Error("what is inside is inferred, and encrypted")
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			sameInPieces(t, lines(events), newTLSObserver, pieces)
		})
	}
}

// TestTLSCaptures expects what Wireshark and nDPI (whose JA4 these are) say.
func TestTLSCaptures(t *testing.T) {
	for _, tt := range []struct {
		file string
		want []string
	}{
		{"ndpi-selfsigned.pcap", []string{
			`certificate-seen 127.0.0.1 5 1476028547 2048 6411575308895666279 3001`, // expired and self-signed
			`tls-seen 127.0.0.1 "TLS 1.2" 49200 "t12d6707h2_2955a3196ffa_c83f907a73d3" 3001 "localhost" 1`,
		}},
		{"ndpi-tls-rdn-extract.pcap", []string{
			`certificate-seen 213.199.149.251 18 1382287323 2048 -6543836657255833923 443`, // not yet valid, SHA-1
			`tls-seen 10.0.0.1 "TLS 1.0" 47 "t10d120500_d94e65cdb899_c35b4a14be45" 443 "ads1.msads.net" "obsolete version, CBC before TLS 1.1"`,
		}},
		{"ndpi-tls_cipher_lens.pcap", []string{
			`tls-seen 192.168.11.11 "t10d360600_77f462745360_6072aad2e91d" 443 "www.google.it"`,
			`tls-seen 192.168.11.11 "t10i660000_1ade43d4e5bc_000000000000" 443`,
			`malformed-seen 192.168.11.11 "tls" "extensions" "truncated"`,
			`malformed-seen 192.168.11.11 "tls" "cipher_suites" "invalid value"`,
			`malformed-seen 192.168.11.11 "tls" "cipher_suites" "truncated"`,
		}},
		{"ndpi-tls_esni_sni_both.pcap", []string{
			`tls-seen 192.168.1.21 "TLS 1.3" 4867 "t13d031100_55b375c5d22e_77359c92d649" 443 "these-are-not-the-droids-youre-looking-for.com"`,
			`tls-seen 192.168.1.21 "TLS 1.3" 4867 "t13d031100_55b375c5d22e_77359c92d649" 443 "you-think-thats-normal-tls-traffic-youre-seeing.com"`,
		}},
		{"ndpi-dtls.pcap", []string{
			`tls-seen 127.0.0.1 "DTLS 1.3" 4865 "dd3i270600_991e33d7eb74_10f9deb96590" 11111`, // nDPI takes the legacy version, d2
			`tls-seen 192.168.13.203 "dd2i120700_7c0e62f61317_d9dd6182da81" 56515`,
		}},
		{"zeek-heartbleed-success.pcap", []string{
			`certificate-seen 107.170.241.107 1413411556 2048 -205153863764849012 443`,
			`exploit-seen 173.203.79.216 "tls" "heartbeat longer than its record" "CVE-2014-0160"`,
			`tls-seen 173.203.79.216 "TLS 1.2" 49199 "t12i640400_2797659a203c_354ff7b397c3" 443`,
		}},
		{"zeek-tls13_wolfssl.pcap", []string{`tls-seen 192.168.186.133 "TLS 1.3" 4866 "t13i010600_ee47968ec53b_5af53a18c712" 9090`}},
		{"real-dcmtk-echo-store-tls.pcap", []string{
			`tls-seen 127.0.0.1 "TLS 1.3" 4866 "t13i080900_a811a161fe38_5ac7197df9d2" 2762`,
			`tls-seen 127.0.0.1 "TLS 1.3" 4866 "t13i080900_a811a161fe38_5ac7197df9d2" 2762`,
		}},
		{"zeek-tls1_1.pcap", []string{
			`certificate-seen 216.58.192.14 1516800660 2048 2497563365355014169 443`,
			`tls-seen 192.168.17.58 "TLS 1.1" 49171 "t11i500400_59a6c70126c8_282f11336259" 443 1 "obsolete version"`,
		}},
	} {
		got := lines(replay(t, tt.file), event.TLSSeen, event.CertificateSeen, event.ExploitSeen, event.MalformedSeen)
		slices.Sort(got)
		slices.Sort(tt.want)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.file, diff)
		}
	}
	ssl2 := lines(replay(t, "zeek-ssl-v2.pcap"), event.TLSSeen)
	if !slices.Contains(ssl2, `tls-seen 192.168.4.149 "SSL 2.0" 65287 "ts2i000000_000000000000_000000000000" 443 "obsolete version, 3DES, MD5"`) {
		t.Errorf("SSL 2.0 is not seen: %q", ssl2)
	}
	inside := lines(replay(t, "real-dcmtk-echo-store-tls.pcap"), event.ProtocolSeen)
	if !slices.Contains(inside, `protocol-seen 127.0.0.1 "dicom" 6 2762 1 1`) {
		t.Errorf("DICOM inside TLS is not inferred: %q", inside)
	}
}

// TestTLSGoesQuiet expects nothing to be kept once a side is encrypted.
func TestTLSGoesQuiet(t *testing.T) {
	o := newTLSObserver().(*tlsObserver)
	x := &exchange{conv: &flow.Conversation{Proto: wire.ProtoTCP}}
	data := []byte{23, 3, 3, 0x40, 0, 1, 2, 3}
	if n := o.data(x, data); n != ignore {
		t.Errorf("encrypted data: consumed %d", n)
	}
	if n := testing.AllocsPerRun(10, func() { o.data(x, data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// Words instead of a hello are another protocol's, not a malformed record.
	x.From = flow.Server
	if n := o.data(x, []byte("HTTP/1.1 400 Bad Request\r\n")); n != ignore {
		t.Errorf("words: consumed %d", n)
	}
}

func TestTLSAlert(t *testing.T) {
	hello := handshake(t, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS13})
	events := observe(t, newTLSObserver(), hello...)
	if len(events) != 1 || event.Result(events[0].Int(event.Outcome)) != event.Failed || events[0].Text(event.Version) != "" {
		t.Errorf("%q", lines(events))
	}
}

func FuzzTLSObserver(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0}, []byte{22, 3, 3, 0, 4, 11, 0, 0, 0})
	f.Add([]byte{0x80, 31, 1, 0, 2}, []byte{24, 3, 3, 0, 3, 1, 0x40, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		whole := lines(observe(t, newTLSObserver(), client(a), server(b)))
		halves := lines(observe(t, newTLSObserver(), client(a[:len(a)/2]), client(a[len(a)/2:]), server(b[:len(b)/2]), server(b[len(b)/2:])))
		if !slices.Equal(whole, halves) {
			t.Fatalf("%q, in halves %q", whole, halves)
		}
	})
}

// A channel whose suite does not encrypt is no encrypted session, whether or
// not somebody records the events.
func TestSuiteWithoutEncryption(t *testing.T) {
	record := func(version, typ byte, body ...byte) []byte {
		return append([]byte{typ, 3, version, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	handshake := func(typ byte, tail ...byte) []byte {
		body := append(append([]byte{3, 3}, make([]byte, 32)...), tail...)
		return record(3, 22, append([]byte{typ, 0, 0, byte(len(body))}, body...)...)
	}
	changed := record(3, 20, 1)
	for suite, encrypted := range map[byte]bool{0x02: false, 0x2f: true} { // with NULL, and with AES-128
		for _, c := range []Config{{}, {Record: func(*event.Event) error { return nil }}} {
			s := newScene()
			for range 2 {
				s.talk(ct1, pacs, 2762, client(handshake(1, 0, 0, 2, 0, suite, 1, 0)), server(handshake(2, 0, 0, suite, 0)), client(changed), server(changed))
			}
			sessions := s.play(t, c).Sessions
			if len(sessions) != 2 { // TLS, and DICOM by the port
				t.Errorf("suite %#x: %+v", suite, sessions)
			}
			for _, x := range sessions {
				if x.Encrypted != encrypted || x.Count != 2 {
					t.Errorf("suite %#x, recorded %v: %+v", suite, c.Record != nil, x)
				}
			}
		}
	}
}
