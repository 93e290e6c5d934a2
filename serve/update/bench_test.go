// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/store"
)

// BenchmarkPoll measures a server that 100,000 devices ask for updates: by TLS 1.3, each
// State signed by its device and verified, its Count and its echo checked, the last word
// of each device written to a store that is durable. Client and server are one process on
// the same cores. That the client may cost little, its states are signed before the time
// runs, it writes requests that are ready and reads no more of an answer than its length;
// what the TLS of its side costs is in the figures. Beside each stands what the project
// aims at.
func BenchmarkPoll(b *testing.B) {
	for _, curve := range []cose.Curve{cose.P256, cose.CurveEd25519} {
		b.Run("kept/"+curve.String(), func(b *testing.B) { benchmarkKept(b, curve) })
	}
	b.Run("handshake", benchmarkHandshake)
}

const (
	benchDevices     = 100_000
	benchConnections = 1000
	benchGateways    = 64
)

// fleet registers devices, and signs for each so many states.
func fleet(b *testing.B, s *site, devices, states int, curve cose.Curve) [][]byte {
	b.Helper()
	units := make([]*unit, devices)
	var all sync.WaitGroup
	requests := make([][]byte, devices*states)
	for w := range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := w; i < devices; i += runtime.GOMAXPROCS(0) {
				u := newUnit(b, id(i), curve)
				units[i] = u
				for n := range states {
					u.Echo = s.challenge(s.now(), u.Device)
					body := u.sign(b)
					u.Count++
					requests[n*devices+i] = fmt.Appendf(nil, "POST /update/v1/poll HTTP/1.1\r\nHost: %s\r\nContent-Type: application/cose\r\nContent-Length: %d\r\n\r\n%s", s.addr, len(body), body)
				}
			}
		})
	}
	all.Wait()
	for part := range slices.Chunk(units, 5000) {
		keys := make([]store.UpdateKey, len(part))
		for i, u := range part {
			keys[i] = u.registered("bench")
		}
		_, err := s.store.AddUpdateKeys(b.Context(), keys)
		must(b, err)
	}
	return requests
}

// A wire is a connection of a client that does as little as it can.
type wire struct {
	net.Conn
	in *bufio.Reader
}

var errStatus = fmt.Errorf("the answer is no 200")

// ask sends a request, and reads past the answer.
func (w *wire) ask(request []byte) error {
	if _, err := w.Write(request); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			rest := make([]byte, w.in.Buffered())
			io.ReadFull(w.in, rest)
			return fmt.Errorf("%w: %s %s", errStatus, line, rest)
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(n))); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	_, err := w.in.Discard(length)
	return err
}

func dial(addr string, conf *tls.Config) (*wire, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, conf)
	return &wire{t, bufio.NewReaderSize(t, 2048)}, t.Handshake()
}

// measured is what a run took.
type measured struct {
	took  []time.Duration
	wall  time.Duration
	cpu   time.Duration
	alloc uint64
}

// measure runs n requests on so many lines: as fast as they go, or at a rate, at which
// one that begins late has taken so much longer.
func measure(b *testing.B, n, lines int, rate float64, do func(line, i int) error) measured {
	b.Helper()
	m := measured{took: make([]time.Duration, n)}
	var next atomic.Int64
	var all sync.WaitGroup
	var failed sync.Once
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := used()
	begin := time.Now()
	for line := range lines {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || b.Failed() {
					return
				}
				from := time.Now()
				if rate > 0 {
					from = begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
					time.Sleep(time.Until(from))
				}
				if err := do(line, i); err != nil {
					failed.Do(func() { b.Error(err) })
					return
				}
				m.took[i] = time.Since(from)
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	m.wall, m.cpu = time.Since(begin), used()-cpu
	runtime.ReadMemStats(&after)
	m.alloc = (after.TotalAlloc - before.TotalAlloc) / uint64(n)
	return m
}

func used() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report says what was measured. least is how many a second there should be, most how
// long the slowest of a hundred may take; 0 is none of these.
func (m *measured) report(b *testing.B, what string, least float64, most time.Duration) {
	b.Helper()
	slices.Sort(m.took)
	at := func(percent int) time.Duration { return m.took[len(m.took)*percent/100].Round(10 * time.Microsecond) }
	rate := float64(len(m.took)) / m.wall.Seconds()
	said := func(ok bool, goal string) string {
		return goal + map[bool]string{true: ": reached", false: ": MISSED"}[ok]
	}
	goals := ""
	if least > 0 {
		goals += said(rate >= least, fmt.Sprintf(", at least %.0f", least))
	}
	text := fmt.Sprintf("%s: %.0f polls/s%s; p50 %v, p99 %v", what, rate, goals, at(50), at(99))
	if most > 0 {
		text += said(at(99) < most, fmt.Sprintf(", at most %v", most))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	b.Logf("%s; %v of the processor and %d bytes allocated for each, both sides together; load %s", text, (m.cpu / time.Duration(len(m.took))).Round(time.Microsecond), m.alloc, strings.Join(strings.Fields(string(load))[:1], ""))
	b.ReportMetric(rate, "polls/s")
	b.ReportMetric(float64(at(99))/1e6, "p99-ms")
	b.ReportMetric(float64(m.cpu.Microseconds())/float64(len(m.took)), "cpu-µs/poll")
	b.ReportMetric(0, "ns/op")
}

func benchmarkKept(b *testing.B, curve cose.Curve) {
	s := newSite(b)
	requests := fleet(b, s, benchDevices, 3, curve)
	conf := &tls.Config{RootCAs: s.pool, ServerName: "127.0.0.1"}
	wires := make([]*wire, benchConnections)
	for i := range wires {
		var err error
		wires[i], err = dial(s.addr, conf)
		must(b, err)
		defer wires[i].Close()
	}
	do := func(of int) func(line, i int) error {
		return func(line, i int) error { return wires[line].ask(requests[of*benchDevices+i]) }
	}
	first := measure(b, benchDevices, benchConnections, 0, do(0)) // each device is looked up in the store
	first.report(b, "the first poll of each", 0, 0)
	s.pass(time.Minute)
	most := measure(b, benchDevices, benchConnections, 0, do(1))
	most.report(b, "as fast as it goes", 8000, 0)
	s.pass(time.Minute)
	m := measure(b, benchDevices, benchConnections, 8000, do(2))
	m.report(b, "8,000 a second are sent", 0, 100*time.Millisecond)
	b.StopTimer()
	must(b, s.Service.keep.flush(b.Context()))
	list, _, err := s.store.UpdateMembers(b.Context(), 0, benchDevices)
	must(b, err)
	for i := range list {
		if len(list) != benchDevices || list[i].Count != 3 {
			b.Fatalf("%d devices; %s said %d", len(list), list[i].Device, list[i].Count)
		}
	}
}

// benchmarkHandshake has each poll come by a connection of its own, with a full handshake
// in which both sides show a certificate. The certificates are those of 64 gateways, each
// of which the server looks up once a minute; they know the server by its certificate, and
// agree on a key by X25519 alone, as what has few resources does.
func benchmarkHandshake(b *testing.B) {
	const polls = 10_000
	s := newSite(b)
	requests := fleet(b, s, polls, 2, cose.P256)
	for _, r := range requests[:polls] { // a server has run for a while, and knows its devices
		_, body, _ := bytes.Cut(r, []byte("\r\n\r\n"))
		_, err := s.hear(b.Context(), body, s.now())
		must(b, err)
	}
	requests = requests[polls:]
	s.pass(time.Minute)
	gateways := make([]*tls.Config, benchGateways)
	for i := range gateways {
		gateways[i] = &tls.Config{
			ServerName: "127.0.0.1", Certificates: []tls.Certificate{s.gateway(b, fmt.Sprint("gw-", i))}, CurvePreferences: []tls.CurveID{tls.X25519},
			InsecureSkipVerify: true, // the one certificate that is meant is enough
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
				if !bytes.Equal(raw[0], s.cert) {
					return errStatus
				}
				return nil
			},
		}
	}
	ask := func(_, i int) error {
		w, err := dial(s.addr, gateways[i%benchGateways])
		if err != nil {
			return err
		}
		err = w.ask(requests[i])
		w.NetConn().(*net.TCPConn).SetLinger(0) // its port is free again
		w.NetConn().Close()
		return err
	}
	half := len(requests) / 2
	most := measure(b, half, 64, 0, ask)
	most.report(b, "as fast as it goes", 1200, 0)
	m := measure(b, half, 64, 1200, func(line, i int) error { return ask(line, half+i) })
	m.report(b, "1,200 a second are sent", 0, 100*time.Millisecond)
}

func (w *wire) NetConn() net.Conn { return w.Conn.(*tls.Conn).NetConn() }

// gateway enrols a gateway, whose certificate the site's authority signs.
func (s *site) gateway(t testing.TB, id string) tls.Certificate {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "ca.key"))
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, key.Public(), ca.PrivateKey)
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	pin := sha256.Sum256(public)
	must(t, s.store.AddEnrolment(t.Context(), []byte(id), id, "ICU", "sensor", "le", s.now().Add(time.Hour).UnixNano()))
	_, err = s.store.Enrol(t.Context(), []byte(id), id, hex.EncodeToString(pin[:]))
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	pair, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	must(t, err)
	return pair
}
