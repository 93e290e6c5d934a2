// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/proto/hl7"
)

// asGuard is set where the test's binary is to be a guard: a process of its own,
// of which the memory is known. Its value is the folder with its files.
const asGuard = "MYELIN_TEST_HL7_GUARD"

// benchPumps are behind the gateway, so that none gets more orders at once than it can have.
const benchPumps = 500

func benchPump(i int) string { return fmt.Sprintf("ACDE48FFFE%06X", 0x100000+i%benchPumps) }

const benchEnvelope = `envelope: 1
name: bench
version: 1
author: {id: MH, role: prescriber}
approver: {id: JR, role: nurse}
risk: {record: RM-2026-014, manufacturer: "letter of 2 February 2026: no objection"}
enforce: true
therapy: drug infusion
drug: noradrenaline
sums:
  unit: ug/kg
  windows:
    - {window: 1h, highest: 48 ug/kg}
verbs:
  set-infusion-rate: {min: 0.02 ug/kg/min, max: 1.0 ug/kg/min, takes: 1m}
`

// guardProcess is a guard before a gateway until its standard input ends.
func guardProcess(dir string) error {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read("ca.pem")))

	private, public, err := ledger.GenerateKey(rand.Reader, "ada.example/guard", false)
	if err != nil {
		return err
	}
	signer, _, err := ledger.ParseSigner(private, nil)
	if err != nil {
		return err
	}
	verifier, err := ledger.ParseVerifier(public)
	if err != nil {
		return err
	}
	log, err := ledger.Open(filepath.Join(dir, "ledger"), ledger.Config{Signer: signer, Verifier: verifier})
	if err != nil {
		return err
	}
	defer log.Close()
	book, err := envelope.OpenBook(envelope.Config{Path: filepath.Join(dir, "doses")})
	if err != nil {
		return err
	}
	defer book.Close()
	limits, err := envelope.Load("bench.yaml", []byte(benchEnvelope))
	if err != nil {
		return err
	}
	devices, pumps := map[string]gate.Device{}, map[string][]string{}
	for i := range benchPumps {
		id := fmt.Sprintf("pump-%d", i)
		pumps[id] = []string{benchPump(i)}
		devices[id] = gate.Device{Therapy: device.DrugInfusion, Envelope: limits}
	}
	g := gate.New(gate.Config{Devices: devices, Book: book, Record: log.Record, Now: time.Now, Page: "https://guard.icu:8443/"})
	defer g.Close()
	env := &front.Env{
		Gate: g, Record: log.Record, Metrics: front.NewMetrics(prometheus.NewRegistry()), Learned: &front.Learned{},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, State: dir,
	}
	l := front.DefaultLimits
	l.Connections, l.PerPeer, l.Rate, l.First, l.Drain = 4096, 4096, 1e6, time.Hour, 100*time.Millisecond
	p := &Policy{
		Settings: front.Settings{
			Name: "gw-icu", Kind: "hl7", Device: "gw-icu", Server: true, Limits: l, Forward: front.Side{Address: read("gateway")},
			Listen: front.Side{Address: "127.0.0.1:0", TLS: &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
			}},
		},
		Pumps: pumps, AnswerWithin: 10 * time.Second, MessageBytes: 64 << 10, OrderRate: 1e6, OrderBurst: 1e6,
		Senders: []Sender{{
			Name: "ehr", Party: Party{"CastorEHR", "StAda"}, Certificates: []string{"ehr.stada.example"}, Role: device.Clinician,
			Messages: []string{"RGV^O15", "ADT^A01"},
		}},
	}
	f := New(env, p)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	fmt.Println(<-f.listening)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() { // each line asks for the memory, once garbage is gone and before
		before := resident()
		runtime.GC()
		fmt.Println(before, resident())
	}
	stop()
	return <-ended
}

// resident is how much memory the process has, in bytes.
func resident() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	kb, _ := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64)
	return kb << 10
}

// A guardedBench is a guard in a process of its own with a gateway behind it.
type guardedBench struct {
	gateway *gatewayPeer
	config  *tls.Config
	addr    string
	dir     string
	memory  func() (now, collected int64)
}

func newGuardedBench(b *testing.B) *guardedBench {
	b.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip("no /proc")
	}
	g := &guardedBench{gateway: newGateway(b), dir: b.TempDir()}
	ca := testpeer.NewAuthority(b)
	cert := ca.Issue(b, "guard.stada.example")
	certPEM, keyPEM, err := testpki.PEM(cert)
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"cert.pem": certPEM,
		"key.pem":  keyPEM,
		"ca.pem":   ca.PEM(),
		"gateway":  []byte(g.gateway.ln.Addr().String()),
	} {
		if err := os.WriteFile(filepath.Join(g.dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	g.config = &tls.Config{RootCAs: ca.Pool(), ServerName: "guard.stada.example", Certificates: []tls.Certificate{ca.Issue(b, "ehr.stada.example")}}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asGuard+"="+g.dir)
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		b.Fatal("the guard does not start")
	}
	g.addr = lines.Text()
	g.memory = func() (now, collected int64) {
		io.WriteString(in, "\n")
		if !lines.Scan() {
			b.Fatal("the guard has ended")
		}
		fmt.Sscan(lines.Text(), &now, &collected)
		return now, collected
	}
	return g
}

// Quantiles of durations, in microseconds.
func quantiles(all []time.Duration) (p50, p99 float64) {
	slices.Sort(all)
	us := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Nanoseconds()) / 1e3 }
	return us(0.5), us(0.99)
}

// drive sends orders at a steady rate over connections, whatever the answers take,
// and returns how long each took from when it was due.
func drive(b *testing.B, dial func() (net.Conn, error), connections, rate, n int, first *int) []time.Duration {
	b.Helper()
	type due struct {
		at time.Time
		n  int
	}
	orders := make(chan due, n)
	times := make([]time.Duration, n)
	var wg sync.WaitGroup
	for range connections {
		c, err := dial()
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			r := blockReader{from: plainSource{c}, raw: nopDeadline{c}, most: hl7.MaxMessage}
			for d := range orders {
				o := noradrenaline(fmt.Sprintf("B-%d", *first+d.n), "0.2")
				o.application, o.pump = "NE", benchPump(d.n)+"^^^EUI-64"
				if _, err := c.Write(hl7.AppendBlock(nil, []byte(o.String()))); err != nil {
					b.Error(err)
					return
				}
				_, msg, _, err := r.next()
				if err != nil {
					b.Error(err)
					return
				}
				times[d.n] = time.Since(d.at)
				if a := readAnswer(b, msg); a.code != "CA" {
					b.Errorf("told %v", a)
				}
			}
		})
	}
	start := time.Now().Add(100 * time.Millisecond)
	for i := range n {
		at := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(at))
		orders <- due{time.Now(), i}
	}
	close(orders)
	wg.Wait()
	*first += n
	return times
}

// fsyncs measures a bare fsync of a small record, at a steady rate.
func fsyncs(b *testing.B, dir string, rate, n int) []time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	times := make([]time.Duration, n)
	record := make([]byte, 128)
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		at := time.Now()
		f.Write(record)
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		times[i] = time.Since(at)
	}
	return times
}

// BenchmarkOrders sends 500 orders a second straight to a gateway, and through a guard
// with TLS, envelope and ledger: what is on top of both is held against a bare
// fsync, measured between them. Each round is of 1,000 orders.
func BenchmarkOrders(b *testing.B) {
	const rate, each, connections = 500, 1000, 32
	g := newGuardedBench(b)
	var direct, through, sync []time.Duration
	first := 0
	plain := func() (net.Conn, error) { return net.Dial("tcp", g.gateway.ln.Addr().String()) }
	guarded := func() (net.Conn, error) { return tls.Dial("tcp", g.addr, g.config) }
	drive(b, guarded, connections, rate, 100, &first) // what is slow only once
	for b.Loop() {
		direct = append(direct, drive(b, plain, connections, rate, each, &first)...)
		sync = append(sync, fsyncs(b, g.dir, rate, each)...)
		through = append(through, drive(b, guarded, connections, rate, each, &first)...)
	}
	for _, q := range []struct {
		name string
		of   []time.Duration
	}{{"direct", direct}, {"fsync", sync}, {"guard", through}} {
		p50, p99 := quantiles(q.of)
		b.ReportMetric(p50, q.name+"-p50-us")
		b.ReportMetric(p99, q.name+"-p99-us")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIdle opens 2,000 connections that are idle: each has had one message
// answered, and has its connection to the device.
func BenchmarkIdle(b *testing.B) {
	const connections = 2000
	g := newGuardedBench(b)
	for b.Loop() {
		_, before := g.memory()
		var open []net.Conn
		for i := range connections {
			c, err := tls.Dial("tcp", g.addr, g.config)
			if err != nil {
				b.Fatal(err)
			}
			open = append(open, c)
			if _, err := c.Write(hl7.AppendBlock(nil, []byte(admission(strconv.Itoa(i), 0)))); err != nil {
				b.Fatal(err)
			}
			r := blockReader{from: plainSource{c}, raw: nopDeadline{c}, most: hl7.MaxMessage}
			if _, _, _, err := r.next(); err != nil {
				b.Fatal(err)
			}
		}
		now, after := g.memory()
		b.ReportMetric(float64(now)/1e6, "MB")
		b.ReportMetric(float64(after)/1e6, "MB-collected")
		b.ReportMetric(float64(after-before)/connections/1e3, "kB/connection")
		for _, c := range open {
			c.Close()
		}
	}
	b.ReportMetric(0, "ns/op")
}
