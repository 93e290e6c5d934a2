// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/proto/coap"
)

// enrol makes a static Diffie-Hellman key with a claims set that goes by kid.
func enrol(t testing.TB, suite edhoc.Suite, subject string, kid byte) *edhoc.Authenticator {
	t.Helper()
	curve := ecdh.P256()
	if suite < 2 {
		curve = ecdh.X25519()
	}
	key, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := cose.NewECDHKey(key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	cred, err := edhoc.NewCCS(public, subject, []byte{kid})
	if err != nil {
		t.Fatal(err)
	}
	own, err := edhoc.NewStaticDH(key, cred)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// party is the EDHOC configuration of one who trusts another.
func party(own, peer *edhoc.Authenticator, suites ...edhoc.Suite) *edhoc.Config {
	return &edhoc.Config{
		Methods: []edhoc.Method{edhoc.DHDH}, Suites: suites,
		Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(peer.Credential()),
	}
}

// many are limits that no test reaches.
var many = edhoc.Limits{
	HalfOpen: 1 << 15, Peers: 1 << 15, Timeout: time.Hour,
	Peer: edhoc.Allowance{Attempts: 1 << 20}, Device: edhoc.Allowance{Attempts: 1 << 20},
}

// two are the configurations of a programmer, who is the client, and a pump.
func two(t testing.TB) (programmer, pump Config) {
	a, b := enrol(t, 0, "programmer", 0x02), enrol(t, 0, "pump", 0x21)
	return Config{EDHOC: party(a, b, 0)}, Config{EDHOC: party(b, a, 0), Handler: echoes, Limits: many}
}

// echoes answers with what was asked.
func echoes(s *Session, m *coap.Message) coap.Message {
	return Response(coap.Content, 0, append([]byte(Path(m)+" "), m.Payload...))
}

func endpoint(t testing.TB, cfg Config) *Endpoint {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// air is a datagram link in memory that loses, doubles and reorders.
type air struct {
	in, out chan []byte
	done    chan struct{}
	closing *sync.Once
	peer    string

	mu                    sync.Mutex
	random                *mathrand.Rand
	lose, double, reorder float64
	held                  []byte
	sent                  [][]byte          // all that was sent
	change                func([]byte) bool // reports whether it is delivered
}

// onAir makes both ends of a link.
func onAir(seed uint64, lose, double, reorder float64) (a, b *air) {
	ab, ba, done, once := make(chan []byte, 1024), make(chan []byte, 1024), make(chan struct{}), new(sync.Once)
	end := func(in, out chan []byte, stream uint64) *air {
		return &air{
			in: in, out: out, done: done, closing: once, peer: "air",
			random: mathrand.New(mathrand.NewPCG(seed, stream)), lose: lose, double: double, reorder: reorder,
		}
	}
	return end(ba, ab, 1), end(ab, ba, 2)
}

func (l *air) Send(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = bytes.Clone(b)
	l.sent = append(l.sent, b)
	if l.change != nil && !l.change(b) {
		return nil
	}
	put := func(b []byte) {
		select {
		case l.out <- b:
		default:
		}
	}
	if l.random.Float64() < l.lose {
		return nil
	}
	if l.held == nil && l.random.Float64() < l.reorder {
		l.held = b
		return nil
	}
	put(b)
	if l.random.Float64() < l.double {
		put(b)
	}
	if l.held != nil {
		put(l.held)
		l.held = nil
	}
	return nil
}

// changed sets what looks at messages, and forgets what was sent before.
func (l *air) changed(f func([]byte) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change, l.sent = f, nil
}

// all is what was sent.
func (l *air) all() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent[:len(l.sent):len(l.sent)]
}

func (l *air) Receive(b []byte) (int, error) {
	select {
	case m := <-l.in:
		return copy(b, m), nil
	case <-l.done:
		return 0, io.EOF
	}
}

func (l *air) Close() error { l.closing.Do(func() { close(l.done) }); return nil }
func (l *air) Peer() string { return l.peer }

// joined are two endpoints with a link between them.
func joined(t testing.TB, a, b Config, seed uint64, lose, double, reorder float64) (ea, eb *Endpoint, ca, cb *Conn, la, lb *air) {
	t.Helper()
	ea, eb = endpoint(t, a), endpoint(t, b)
	la, lb = onAir(seed, lose, double, reorder)
	return ea, eb, ea.Attach(la), eb.Attach(lb), la, lb
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustGet(t testing.TB, c *Conn, s *Session, path string) {
	t.Helper()
	m, err := c.Get(within(t, time.Minute), s, path)
	if err != nil || m.Code != coap.Content || string(m.Payload) != path+" " {
		t.Fatalf("%v %q: %v", m.Code, m.Payload, err)
	}
}

// TestFlows shakes hands in each of the flows and talks in both directions.
func TestFlows(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		for _, combined := range []bool{false, true} {
			for _, message4 := range []bool{false, true} {
				t.Run(fmt.Sprintf("reverse %v combined %v message_4 %v", reverse, combined, message4), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						a, b := two(t)
						a.EDHOC.Message4, b.EDHOC.Message4 = message4, message4
						a.Combined, a.Handler = combined, echoes
						ea, eb, ca, cb, la, _ := joined(t, a, b, 1, 0, 0, 0)
						shake := ca.Handshake
						if reverse {
							shake = ca.HandshakeReverse
						}
						s, err := shake(within(t, time.Minute))
						if err != nil {
							t.Fatal(err)
						}
						if want := message4 || reverse; s.Confirmed() != want {
							t.Errorf("confirmed %v before anything was protected", s.Confirmed())
						}
						if s.Initiator == reverse || s.Protection != OSCORE || s.Peer.Subject() != "pump" {
							t.Error(s.Initiator, s.Protection)
						}
						mustGet(t, ca, s, "/therapy")
						if !s.Confirmed() {
							t.Error("not confirmed by an answer")
						}
						there := eb.Sessions()
						if len(there) != 1 || there[0].Peer.Subject() != "programmer" || !there[0].Confirmed() {
							t.Fatal(there)
						}
						if !bytes.Equal(there[0].CI, s.CI) || !bytes.Equal(there[0].CR, s.CR) || bytes.Equal(s.CI, s.CR) {
							t.Error("connection identifiers differ")
						}
						mustGet(t, cb, there[0], "/asked/back")
						requests := 0
						for _, b := range la.all() {
							var m coap.Message
							if err := m.Parse(b); err != nil {
								t.Fatal(err)
							}
							if m.Code.Request() {
								requests++
							}
						}
						want := 3
						switch {
						case reverse:
							want++
							if !message4 {
								want--
							}
						case combined && !message4:
							want--
						}
						if requests != want {
							t.Errorf("%d requests, want %d", requests, want)
						}
						if ea.HalfOpen() != 0 || eb.HalfOpen() != 0 {
							t.Error("a handshake is still open")
						}
						_ = ea.Close()
						_ = eb.Close()
					})
				})
			}
		}
	}
}
