// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// maxPeak is the memory that `myelin assess` may take at its peak, whatever it
// reads, as Linux counts it.
const maxPeak = 150e6

// peakFile names the environment variable with the file that the program
// writes its peak to.
const peakFile = "MYELIN_TEST_PEAK"

// peaking is the program, and writes its peak down. What getrusage tells of a
// child includes what the parent had when it forked.
func peaking() {
	collect()
	code := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	status, _ := os.ReadFile("/proc/self/status")
	if _, kilobytes, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
		kilobytes, _, _ = bytes.Cut(bytes.TrimSpace(kilobytes), []byte(" "))
		os.WriteFile(os.Getenv(peakFile), kilobytes, 0o600)
	}
	os.Exit(code)
}

// peak runs `myelin args...` as a process of its own and returns its peak in
// bytes, what it said and its exit code.
func peak(t *testing.T, args ...string) (bytes int, out, errs string, code int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "peak")
	var stdout, stderr strings.Builder
	c := exec.CommandContext(t.Context(), program, args...)
	c.Args[0] = "myelin-peak"
	c.Env = append(os.Environ(), peakFile+"="+file, "GOGC=", "GOMEMLIMIT=")
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil && c.ProcessState.ExitCode() < 0 {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Skip("no peak is told here: ", err)
	}
	kilobytes, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes * 1024, stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// A flood writes a capture of very many conversations.
type flood struct {
	t      *testing.T
	file   *os.File
	buf    *bufio.Writer
	w      *capture.Writer
	now    int64
	id     uint16
	more   uint16 // flags and offset of a fragment
	packet []byte
}

func newFlood(t *testing.T, name string) *flood {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{t: t, file: file, buf: bufio.NewWriterSize(file, 1<<18), now: 1772517600e9}
	if f.w, err = capture.NewWriter(f.buf, wire.LinkEthernet); err != nil {
		t.Fatal(err)
	}
	return f
}

// done ends the capture and returns its name.
func (f *flood) done() string {
	f.t.Helper()
	if err := f.buf.Flush(); err != nil {
		f.t.Fatal(err)
	}
	if err := f.file.Close(); err != nil {
		f.t.Fatal(err)
	}
	return f.file.Name()
}

// host is the n-th station of very many.
func host(n int) [4]byte { return [4]byte{10, byte(64 + n>>16), byte(n >> 8), byte(n)} }

// ip sends an IP packet between hosts, with hardware addresses of their own.
func (f *flood) ip(from, to [4]byte, proto byte, payload ...[]byte) {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	b := append(f.packet[:0], 2, 0, to[0], to[1], to[2], to[3], 2, 0, from[0], from[1], from[2], from[3], 8, 0,
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0)
	binary.BigEndian.PutUint16(b[16:], uint16(20+n))
	binary.BigEndian.PutUint16(b[18:], f.id)
	binary.BigEndian.PutUint16(b[20:], f.more)
	b = append(append(b, from[:]...), to[:]...)
	for _, p := range payload {
		b = append(b, p...)
	}
	f.packet = b
	f.frame(b)
}

func (f *flood) frame(b []byte) {
	f.now += 1e4
	if err := f.w.WriteFrame(&capture.Frame{Data: b, Time: f.now, OrigLen: len(b), Link: wire.LinkEthernet}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *flood) tcp(from, to [4]byte, fromPort, toPort uint16, flags byte, seq uint32, b []byte) {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, fromPort)
	binary.BigEndian.PutUint16(h[2:], toPort)
	binary.BigEndian.PutUint32(h[4:], seq)
	h[12], h[13] = 5<<4, flags
	f.ip(from, to, wire.ProtoTCP, h, b)
}

func (f *flood) udp(from, to [4]byte, fromPort, toPort uint16, b []byte) {
	h := binary.BigEndian.AppendUint16(nil, fromPort)
	h = binary.BigEndian.AppendUint16(h, toPort)
	h = append(binary.BigEndian.AppendUint16(h, uint16(8+len(b))), 0, 0)
	f.ip(from, to, wire.ProtoUDP, h, b)
}

const header = "MSH|^~\\&|EHR|ADA|GW|ADA|20260303070000||ADT^A01|M1|P|2.6\rPID|1||4711^^^ADA^MR||\r"

// stream sends b in segments, as the client or the server of the n-th conversation.
func (f *flood) stream(n int, server bool, port uint16, b []byte) {
	from, to, fromPort, toPort := host(n), host(n%251+1), uint16(4000), port
	if server {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	for seq := uint32(1); len(b) > 0; {
		part := b[:min(len(b), 1400)]
		f.tcp(from, to, fromPort, toPort, wire.ACK, seq, part)
		seq, b = seq+uint32(len(part)), b[len(part):]
	}
}

// records are TLS records of one handshake message.
func records(typ byte, body []byte) []byte {
	message := append([]byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	var b []byte
	for part := range slices.Chunk(message, 16000) {
		b = append(binary.BigEndian.AppendUint16(append(b, 22, 3, 3), uint16(len(part))), part...)
	}
	return b
}

// certificate is a self-signed certificate, and where its serial number stands.
func certificate(t *testing.T) (der []byte, serial int) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024) // quick to check
	if err != nil {
		t.Fatal(err)
	}
	mark := []byte{0x55, 0xaa, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(mark), Subject: pkix.Name{CommonName: "pump"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0),
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	return der, bytes.Index(der, mark) + 4
}

// TestMemoryOfFloods has captures of very many conversations, addresses and
// names, each of which is made to be remembered.
func TestMemoryOfFloods(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write func(f *flood)
	}{
		{"HL7 without an end", func(f *flood) {
			b := []byte("\x0b" + header + strings.Repeat("x", 300))
			for i := range 131072 { // the first flood that was measured
				f.stream(i, false, 2575, b)
				f.stream(i, true, 2575, b)
			}
		}},
		{"HL7 without MLLP", func(f *flood) {
			b := []byte(header + strings.Repeat("x", 26000))
			for i := range 4000 {
				f.stream(i, false, 2575, b)
			}
		}},
		{"HL7 that goes on", func(f *flood) {
			b := []byte("\x0b" + header + "OBX|1|TX|||" + strings.Repeat("x", 26000) + "\rDSC|1\r\x1c\r")
			for i := range 4000 {
				f.stream(i, false, 2575, b)
			}
		}},
		{"HL7 of many patients", func(f *flood) {
			var b strings.Builder
			for i := range 400 {
				fmt.Fprintf(&b, "\x0b%s\x1c\r", strings.Replace(header, "4711", strconv.Itoa(i), 1))
			}
			for i := range 800 {
				f.stream(i, false, 2575, []byte(b.String()))
			}
		}},
		{"HL7 batches that end together", func(f *flood) {
			message := "MSH|^~\\&|||||||ADT|1|P|2\rPID|1||%07d\r"
			var b strings.Builder
			for i := range 24000 {
				fmt.Fprintf(&b, message, i)
			}
			const conversations = 80
			for i := range conversations {
				f.stream(i, false, 2575, []byte("\x0b"+b.String()))
			}
			for i := range conversations {
				f.tcp(host(i), host(i%251+1), 4000, 2575, wire.ACK, uint32(2+b.Len()), []byte("\x1c\r"))
			}
		}},
		{"names of devices", func(f *flood) {
			for i := range 30000 {
				for j := range 8 {
					f.udp(host(i), [4]byte{239, 255, 255, 250}, 1900, 1900, fmt.Appendf(nil,
						"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: urn:schemas-upnp-org:device:Printer:1\r\nNTS: ssdp:alive\r\n"+
							"SERVER: Linux/%064d UPnP/1.0 Norra%059d/%064d\r\n\r\n", i*8+j, i*8+j, i*8+j))
				}
			}
		}},
		{"TLS hello without an end", func(f *flood) {
			b := records(1, make([]byte, 60000))[:26000]
			for i := range 4000 {
				f.stream(i, false, 443, b)
				f.stream(i, true, 443, b)
			}
		}},
		{"SSH with long lists", func(f *flood) {
			list := binary.BigEndian.AppendUint32(nil, 2900)
			list = append(list, bytes.Repeat([]byte("xxxx,"), 580)...)
			list[len(list)-1] = 'x'
			b := append(make([]byte, 6+16), bytes.Repeat(list, 10)...)
			b = append(b, make([]byte, 5+4)...)
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			b[4], b[5] = 4, 20 // RFC 4253 sections 6 and 7.1
			b = append([]byte("SSH-2.0-x\r\n"), b...)
			for i := range 4000 {
				f.stream(i, false, 22, b)
			}
		}},
		{"DICOM of four messages at once", func(f *flood) {
			var b []byte
			for id := byte(1); id <= 7; id += 2 {
				b = append(b, 4, 0, 0, 0, 0, 60, 0, 0, 0, 56, id, 1) // PS3.8 section 9.3.5
				b = append(b, 0, 0, 0, 0, 4, 0, 0, 0, 200, 0, 0, 0)
				b = append(b, make([]byte, 42)...)
			}
			for i := range 65536 {
				f.stream(i, false, 104, b)
				f.stream(i, true, 104, b)
			}
		}},
		{"HTTP bodies without an end", func(f *flood) {
			b := []byte("POST /fhir/Bundle HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: 900000\r\n\r\n{" + strings.Repeat(" ", 26000))
			for i := range 6000 {
				f.stream(i, false, 80, b)
			}
		}},
		{"SDC descriptions", func(f *flood) {
			var b strings.Builder
			for i := range 1000 {
				fmt.Fprintf(&b, `<pm:Metric Handle="%0100d"/>`, i)
			}
			body := `<s12:Envelope xmlns:s12="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://www.w3.org/2005/08/addressing" ` +
				`xmlns:msg="http://standards.ieee.org/downloads/11073/11073-10207-2017/message" xmlns:pm="http://standards.ieee.org/downloads/11073/11073-10207-2017/participant">` +
				`<s12:Header><wsa:Action>http://standards.ieee.org/downloads/11073/11073-20701-2018/GetService/GetMdibResponse</wsa:Action></s12:Header>` +
				`<s12:Body><msg:GetMdibResponse>` + b.String() + `</msg:GetMdibResponse></s12:Body></s12:Envelope>`
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			for i := range 1000 {
				f.stream(i, false, 80, []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
				f.stream(i, true, 80, []byte(answer))
			}
		}},
		{"100,000 certificates", func(f *flood) {
			der, serial := certificate(f.t)
			n := len(der)
			hello := append(append([]byte{3, 3}, make([]byte, 32)...), 0, 0xc0, 0x2b, 0)
			for i := range 100000 {
				binary.BigEndian.PutUint32(der[serial:], uint32(i))
				list := append([]byte{0, byte((n + 3) >> 8), byte(n + 3), 0, byte(n >> 8), byte(n)}, der...)
				b := append(records(2, hello), records(11, list)...)
				f.tcp(host(i), host(i>>8), 443, 4000, wire.ACK, 1, b)
			}
		}},
		{"DNS names", func(f *flood) {
			for i := range 100000 {
				for j := range 4 {
					name := fmt.Sprintf("\x0fh%014d\x05local\x00", i*4+j)
					b := append([]byte{0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0}, name...)
					b = append(b, 0, 1, 0, 1, 0, 0, 0, 120, 0, 4, 10, byte(i>>16), byte(i>>8), byte(i))
					f.udp(host(i), [4]byte{224, 0, 0, 251}, 5353, 5353, b)
				}
			}
		}},
		{"addresses", func(f *flood) {
			for i := range 300000 {
				f.tcp(host(i), host(i/7), uint16(i), 445, wire.SYN, 1, nil)
			}
		}},
		{"ARP", func(f *flood) {
			for i := range 300000 {
				a, b := host(i), host(i+1)
				p := append([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0}, a[:]...) // RFC 826
				p = append(append(p, a[:]...), 2, 0)
				p = append(append(append(p, b[:]...), b[:]...), make([]byte, 18)...)
				f.frame(append(append([]byte{2, 0}, append(b[:], 2, 0)...), append(append(a[:], 8, 6), p...)...))
			}
		}},
		{"fragments", func(f *flood) {
			for i := range 100000 {
				f.id++
				f.more = 0x2000
				f.ip(host(i), host(i+1), wire.ProtoUDP, make([]byte, 1400))
			}
		}},
		{"segments out of order", func(f *flood) {
			for i := range 20000 {
				for j := range uint32(30) {
					f.tcp(host(i), host(i>>8), 4000, 2575, wire.ACK, 1+1000*j, []byte("x"))
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFlood(t, "flood.pcap")
			tt.write(f)
			file := f.done()
			n, _, errs, code := peak(t, "assess", "--format", "json", file)
			// Where other processes keep its collector from working, a program takes more.
			for range 2 {
				if n > maxPeak {
					var again int
					again, _, errs, code = peak(t, "assess", "--format", "json", file)
					n = min(n, again)
				}
			}
			t.Logf("a peak of %.1f MB", float64(n)/1e6)
			if n > maxPeak || code != exitDone {
				t.Errorf("a peak of %.1f MB, exit %d: %s", float64(n)/1e6, code, errs)
			}
		})
	}
}
