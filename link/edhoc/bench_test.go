// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cloudflare/circl/dh/x448"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/pion/dtls/v3"

	"github.com/myelin-health/myelin/link/cose"
)

// shake is a whole handshake, both sides, into buffers that are there.
func shake(b testing.TB, ci, cr *Config, buf []byte) (*Initiator, *Responder) {
	i, err := NewInitiator(ci, nil)
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewResponder(cr)
	if err != nil {
		b.Fatal(err)
	}
	m, err := i.Message1(buf[:0])
	if err == nil {
		err = r.Message1(m)
	}
	if err == nil {
		m, err = r.Message2(buf[:0])
	}
	if err == nil {
		err = i.Message2(m)
	}
	if err == nil {
		m, err = i.Message3(buf[:0])
	}
	if err == nil {
		err = r.Message3(m)
	}
	if err != nil {
		b.Fatal(err)
	}
	if _, err := i.Session(); err != nil {
		b.Fatal(err)
	}
	if _, err := r.Session(); err != nil {
		b.Fatal(err)
	}
	return i, r
}

// bare is the asymmetric operations that a method needs in a suite, and nothing
// else: keys that are there, results that are thrown away.
func bare(b testing.TB, m Method, s *suite) func() {
	if s.curve == cose.X448 {
		return bare448(b, m)
	}
	curve := s.ecdh()
	own, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	peer := own.PublicKey()
	agreements := 2 // G_XY, on each side
	var signs int
	for _, initiator := range []bool{false, true} {
		if m.signs(initiator) {
			signs++
		} else {
			agreements += 2 // G_RX or G_IY, on each side
		}
	}
	message := make([]byte, 200)
	sign := func() {}
	switch s.sign {
	case cose.EdDSA:
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			b.Fatal(err)
		}
		sign = func() {
			if !ed25519.Verify(public, message, ed25519.Sign(private, message)) {
				b.Fatal("bare: EdDSA")
			}
		}
	default:
		c := elliptic.P256()
		if s.curve == cose.P384 {
			c = elliptic.P384()
		}
		private, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		digest := sha256.Sum256(message)
		hashed := digest[:]
		if s.curve == cose.P384 {
			d := sha512.Sum384(message)
			hashed = d[:]
		}
		sign = func() {
			sig, err := private.Sign(rand.Reader, hashed, crypto.SHA256)
			if err != nil || !ecdsa.VerifyASN1(&private.PublicKey, hashed, sig) {
				b.Fatal("bare: ECDSA", err)
			}
		}
	}
	return func() {
		for range 2 {
			if _, err := curve.GenerateKey(rand.Reader); err != nil {
				b.Fatal(err)
			}
		}
		for range agreements {
			if _, err := own.ECDH(peer); err != nil {
				b.Fatal(err)
			}
		}
		for range signs {
			sign()
		}
	}
}

// bare448 is [bare] of suite 25, with the calls of the module that has its curves.
func bare448(b testing.TB, m Method) func() {
	var secret, pub, shared x448.Key
	chacha(1).Read(secret[:])
	x448.KeyGen(&pub, &secret)
	signer := ed448.NewKeyFromSeed(make([]byte, ed448.SeedSize))
	message := make([]byte, 200)
	return func() {
		var x x448.Key
		for range 2 {
			x448.KeyGen(&x, &secret)
			x448.Shared(&shared, &secret, &pub)
		}
		for _, initiator := range []bool{false, true} {
			if m.signs(initiator) {
				if !ed448.Verify(ed448.PublicKey(signer[ed448.SeedSize:]), message, ed448.Sign(signer, message, ""), "") {
					b.Fatal("bare: Ed448")
				}
				continue
			}
			for range 2 {
				x448.Shared(&shared, &secret, &pub)
			}
		}
	}
}

// BenchmarkHandshake is a whole handshake, both sides, beside the bare operations of
// the standard library that it needs: turn by turn in one loop, so that what else the
// machine does weighs on both. DTLS 1.2 of pion and TLS 1.3 of the standard library
// stand in the same table; both sides of those, too, prove who they are, with P-256.
func BenchmarkHandshake(b *testing.B) {
	for _, s := range Suites() {
		for m := SignSign; m <= DHDH; m++ {
			b.Run(fmt.Sprintf("suite=%d/method=%d", s, m), func(b *testing.B) {
				ci, cr := pair(b, m, s, false)
				ci.Random, cr.Random = nil, nil
				h := newRun(b, ci, cr)
				h.complete(b)
				floor := bare(b, m, s.row())
				buf := make([]byte, 256)
				var ours, theirs times
				allocs := testing.AllocsPerRun(4, func() { shake(b, ci, cr, buf) })
				for b.Loop() {
					begin := time.Now()
					shake(b, ci, cr, buf)
					middle := time.Now()
					floor()
					ours = append(ours, middle.Sub(begin))
					theirs = append(theirs, time.Since(middle))
				}
				ours.report(b)
				for n := 1; n <= 3; n++ {
					b.ReportMetric(float64(len(h.m[n])), fmt.Sprintf("B/message_%d", n))
				}
				b.ReportMetric(allocs, "allocs/handshake")
				b.ReportMetric(float64(theirs.median().Nanoseconds()), "ns/bare")
				b.ReportMetric(float64(ours.median())/float64(theirs.median()), "times-bare")
			})
		}
	}
	k := newKey(b, cose.P256, 1)
	cert := tls.Certificate{Certificate: [][]byte{newCertificate(b, "n", publicKey(b, k), 0)}}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.D)
	if err != nil {
		b.Fatal(err)
	}
	cert.PrivateKey = private
	b.Run("TLS1.3", func(b *testing.B) {
		for _, curve := range []tls.CurveID{tls.X25519, tls.CurveP256} {
			b.Run(curve.String(), func(b *testing.B) { benchmarkTLS(b, cert, curve) })
		}
	})
	b.Run("pionDTLS1.2", func(b *testing.B) { benchmarkDTLS(b, cert) })
}

// times are how long each turn took. The median counts, because a machine that does
// other things stretches some of them many times.
type times []time.Duration

func (t times) median() time.Duration {
	slices.Sort(t)
	return t[len(t)/2]
}

func (t times) report(b *testing.B) {
	b.ReportMetric(float64(t.median().Nanoseconds()), "ns/handshake")
	b.ReportMetric(float64(time.Second)/float64(t.median()), "handshakes/s")
	b.ReportMetric(0, "ns/op")
}

func benchmarkTLS(b *testing.B, cert tls.Certificate, curve tls.CurveID) {
	c := &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{curve},
		InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
	}
	var spent times
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		x, y := net.Pipe()
		client, server := tls.Client(x, c), tls.Server(y, c)
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		if err := errors.Join(client.Handshake(), <-done); err != nil {
			b.Fatal(err)
		}
		spent = append(spent, time.Since(begin))
		x.Close()
		y.Close()
	}
	spent.report(b)
}

func benchmarkDTLS(b *testing.B, cert tls.Certificate) {
	var spent times
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		x, y := packetPipe()
		client, err := dtls.ClientWithOptions(x, packetAddr{}, dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true))
		if err != nil {
			b.Fatal(err)
		}
		server, err := dtls.ServerWithOptions(y, packetAddr{}, dtls.WithCertificates(cert),
			dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerify(true))
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		if err := errors.Join(client.Handshake(), <-done); err != nil {
			b.Fatal(err)
		}
		spent = append(spent, time.Since(begin))
		client.Close()
		server.Close()
	}
	spent.report(b)
}

// A packetConn is one end of a pipe for packets.
type packetConn struct {
	in, out  chan []byte
	closed   chan struct{}
	deadline *time.Timer
}

type packetAddr struct{}

func (packetAddr) Network() string { return "pipe" }
func (packetAddr) String() string  { return "pipe" }

func packetPipe() (a, b *packetConn) {
	x, y := make(chan []byte, 64), make(chan []byte, 64)
	return &packetConn{in: x, out: y, closed: make(chan struct{})}, &packetConn{in: y, out: x, closed: make(chan struct{})}
}

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	var timeout <-chan time.Time
	if p.deadline != nil {
		timeout = p.deadline.C
	}
	select {
	case m := <-p.in:
		return copy(b, m), packetAddr{}, nil
	case <-timeout:
		return 0, nil, os.ErrDeadlineExceeded
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p *packetConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case p.out <- append([]byte(nil), b...):
		return len(b), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *packetConn) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}
func (p *packetConn) LocalAddr() net.Addr                { return packetAddr{} }
func (p *packetConn) SetDeadline(t time.Time) error      { return p.SetReadDeadline(t) }
func (p *packetConn) SetWriteDeadline(t time.Time) error { return nil }
func (p *packetConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		p.deadline = time.NewTimer(time.Until(t))
	}
	return nil
}

// BenchmarkHalfOpen is a handshake while so many others are half open, each with its
// ticket of a budget, and what one of those keeps in memory.
func BenchmarkHalfOpen(b *testing.B) {
	for _, n := range []int{0, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			ci, cr := pair(b, DHDH, 2, false)
			ci.Random, cr.Random = nil, nil
			budget := &Budget{Limits: Limits{HalfOpen: n + 1, Peer: Allowance{1 << 30, time.Second}, Device: Allowance{1 << 30, time.Second}}}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			open := make([]*Responder, n)
			for i := range open {
				if _, err := budget.Begin("attacker", false, 0); err != nil {
					b.Fatal(err)
				}
				h := until(b, ci, cr, 2)
				open[i] = h.r
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			buf := make([]byte, 256)
			var spent times
			for b.Loop() {
				ticket, err := budget.Begin("patient's own", false, 0)
				if err != nil {
					b.Fatal(err)
				}
				begin := time.Now()
				shake(b, ci, cr, buf)
				spent = append(spent, time.Since(begin))
				budget.Verified(ticket)
			}
			spent.report(b)
			if n > 0 {
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/half-open")
			}
			runtime.KeepAlive(open)
		})
	}
}
