// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/proto/coap"
)

// counter is a handler that counts how often each payload was served.
type counter struct {
	mu     sync.Mutex
	served map[string]int
}

func (c *counter) handle(s *Session, m *coap.Message) coap.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.served == nil {
		c.served = map[string]int{}
	}
	c.served[string(m.Payload)]++
	return echoes(s, m)
}

// TestLossy shakes hands and sends commands over a link that loses, doubles and
// reorders: those are answered that CoAP does not give up, and none is served twice.
func TestLossy(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := two(t)
				a.Combined = seed%2 == 0
				var n counter
				b.Handler = n.handle
				ea, eb, ca, _, la, lb := joined(t, a, b, seed, 0.2, 0.2, 0.2)
				shake := ca.Handshake
				if seed%4 > 1 {
					shake = ca.HandshakeReverse
				}
				s, err := shake(within(t, 5*time.Minute))
				for try := 0; errors.Is(err, context.DeadlineExceeded) && try < 3; try++ {
					s, err = shake(within(t, 5*time.Minute))
				}
				if err != nil {
					t.Fatal(err)
				}
				lost := 0
				for i := range 30 {
					name := fmt.Sprint("command ", i)
					m, err := ca.Post(within(t, 5*time.Minute), s, "/therapy", 0, []byte(name))
					if errors.Is(err, context.DeadlineExceeded) {
						lost++ // five times: CoAP gives up
					} else if err != nil || !strings.HasSuffix(string(m.Payload), name) {
						t.Fatalf("%s: %v %v", name, m.Code, err)
					}
				}
				for name, times := range n.served {
					if times != 1 {
						t.Errorf("%s was served %d times", name, times)
					}
				}
				if lost > 3 || len(n.served) < 30-lost {
					t.Errorf("%d were served, %d not answered", len(n.served), lost)
				}
				if len(la.all())+len(lb.all()) < 70 {
					t.Error("nothing was lost: this test shows nothing")
				}
				_ = ea.Close()
				_ = eb.Close()
			})
		})
	}
}

// shaken is a client and a server with a session, and the link's ends.
func shaken(t *testing.T, change func(a, b *Config)) (ea, eb *Endpoint, ca, cb *Conn, la, lb *air, s *Session) {
	t.Helper()
	a, b := two(t)
	if change != nil {
		change(&a, &b)
	}
	ea, eb, ca, cb, la, lb = joined(t, a, b, 1, 0, 0, 0)
	s, err := ca.Handshake(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return ea, eb, ca, cb, la, lb, s
}

func parsed(t *testing.T, b []byte) *coap.Message {
	t.Helper()
	m, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLostAnswer loses the first answer: the request comes again as it was, and what
// was answered is answered again, without serving it.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n counter
		ea, eb, ca, _, la, lb, s := shaken(t, func(_, b *Config) { b.Handler = n.handle })
		la.changed(nil)
		lb.changed(func([]byte) bool { return len(lb.sent) > 1 })
		if _, err := ca.Post(within(t, time.Minute), s, "/therapy", 0, []byte("bolus")); err != nil {
			t.Fatal(err)
		}
		if n.served["bolus"] != 1 {
			t.Error("served", n.served)
		}
		for _, l := range []*air{la, lb} {
			if all := l.all(); len(all) != 2 || !bytes.Equal(all[0], all[1]) {
				t.Errorf("sent %x", all)
			}
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestOutage loses all for half a minute: what is sent again comes later and later, by twice as much
// each time, and the last of it is answered (RFC 7252 section 4.2).
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ea, eb, ca, _, la, _, s := shaken(t, nil)
		began := time.Now()
		var at []time.Duration
		la.changed(func([]byte) bool {
			at = append(at, time.Since(began))
			return len(at) > maxRetransmit
		})
		mustGet(t, ca, s, "/therapy")
		if len(at) != 1+maxRetransmit {
			t.Fatal("sent at", at)
		}
		first := at[1] - at[0]
		if first < ea.cfg.AckTimeout || first > ea.cfg.AckTimeout*3/2 {
			t.Error("sent again after", first)
		}
		for i := range at[:maxRetransmit] {
			if gap := at[i+1] - at[i]; gap != first<<i {
				t.Errorf("sent again after %v, not %v", gap, first<<i)
			}
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestReplay sends what was recorded again, under new Message IDs and tokens, to the
// same session and to another.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n counter
		ea, eb, ca, cb, la, lb, s := shaken(t, func(_, b *Config) { b.Handler = n.handle })
		la.changed(nil)
		if _, err := ca.Post(within(t, time.Minute), s, "/therapy", 0, []byte("bolus")); err != nil {
			t.Fatal(err)
		}
		for _, gone := range []bool{false, true} {
			if gone { // as when the device has started again without its sessions
				if err := eb.Remove(eb.Sessions()[0]); err != nil {
					t.Fatal(err)
				}
			}
			m := parsed(t, la.all()[0])
			m.ID ^= 0x4000
			m.Token = []byte{9, 9}
			if gone {
				m.ID ^= 0x100
			}
			b, _ := m.Append(nil)
			lb.changed(nil)
			cb.process(b)
			synctest.Wait()
			if len(lb.all()) != 1 || parsed(t, lb.all()[0]).Code != coap.Unauthorized {
				t.Fatalf("%x", lb.all())
			}
		}
		if n.served["bolus"] != 1 {
			t.Error("served", n.served)
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestHint has somebody answer before the peer does. What he says ends nothing.
func TestHint(t *testing.T) {
	for _, code := range []coap.Code{coap.Content, coap.Unauthorized, coap.BadOption, coap.InternalServerError} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ea, eb, ca, _, la, _, s := shaken(t, nil)
				lie := func(b []byte) bool {
					m, _ := parse(b)
					if !m.Code.Request() {
						return true
					}
					a := coap.Message{Type: coap.NonConfirmable, ID: 77, Code: code, Token: m.Token, Payload: []byte("lie")}
					x, _ := a.Append(nil)
					select {
					case la.in <- x:
					default:
					}
					return true
				}
				la.changed(lie)
				mustGet(t, ca, s, "/therapy")
				mustGet(t, ca, s, "/therapy")

				// When there is no other answer, the hint is what is returned.
				la.changed(func(b []byte) bool { lie(b); return false })
				_, err := ca.Get(within(t, 20*time.Second), s, "/therapy")
				var hint *Hint
				if class2 := code.Class() == 2; errors.As(err, &hint) == class2 || class2 != errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				la.changed(nil)
				mustGet(t, ca, s, "/therapy")
				_ = ea.Close()
				_ = eb.Close()
			})
		})
	}
}

// TestFresh has a command that asks for a proof that it is made now.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n counter
		ea, eb, ca, _, la, lb, s := shaken(t, func(_, b *Config) {
			b.Handler = n.handle
			b.Fresh = func(m *coap.Message) time.Duration {
				if m.Code == coap.POST {
					return 10 * time.Second
				}
				return 0
			}
		})
		la.changed(nil)
		if _, err := ca.Post(within(t, time.Minute), s, "/therapy", 0, []byte("now")); err != nil {
			t.Fatal(err)
		}
		if len(la.all()) != 2 || n.served["now"] != 1 {
			t.Errorf("%d requests, served %v", len(la.all()), n.served)
		}
		la.changed(nil)
		mustGet(t, ca, s, "/therapy")
		if len(la.all()) != 1 {
			t.Errorf("%d requests for what needs no proof", len(la.all()))
		}

		// Held back: the proof arrives a minute after it was asked for.
		la.changed(func(b []byte) bool { return len(la.sent) < 2 })
		if _, err := ca.Post(within(t, 8*time.Second), s, "/therapy", 0, []byte("held")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		proof := la.all()[1]
		time.Sleep(time.Minute)
		la.changed(nil)
		_ = la.Send(proof)
		synctest.Wait()
		if n.served["held"] != 0 {
			t.Error("a command that was held back was served")
		}

		// The challenge itself comes late: the client does not prove anything.
		lb.changed(func([]byte) bool { return false })
		done := make(chan error, 1)
		go func() {
			_, err := ca.Post(within(t, time.Minute), s, "/therapy", 0, []byte("late"))
			done <- err
		}()
		time.Sleep(proofWithin + time.Second)
		answer := lb.all()[0]
		lb.changed(nil)
		_ = lb.Send(answer)
		if err := <-done; !errors.Is(err, ErrStale) {
			t.Error(err)
		}
		if n.served["late"] != 0 {
			t.Error("a stale command was served")
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestOpen has requests without protection: what is open is answered, nothing else.
func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []*Session
		ea, eb, ca, _, _, _, _ := shaken(t, func(_, b *Config) {
			b.Open = func(m *coap.Message) bool { return m.Code == coap.GET && Path(m) == "/.well-known/core" }
			b.Handler = func(s *Session, m *coap.Message) coap.Message {
				seen = append(seen, s)
				return WithOption(echoes(s, m), coap.Observe, nil)
			}
		})
		for path, want := range map[string]coap.Code{"/.well-known/core": coap.Content, "/therapy": coap.Unauthorized, "/": coap.Unauthorized} {
			m, err := ca.DoUnprotected(within(t, time.Minute), WithOption(Request(coap.GET, path, 0, nil), coap.Observe, nil))
			if want != coap.Content {
				if err != nil || m.Code != want {
					t.Errorf("%s: %v %v", path, m.Code, err)
				}
				continue
			}
			if _, observed := m.Options.Get(coap.Observe); err != nil || m.Code != want || observed {
				t.Errorf("%s: %v %v", path, m.Code, err)
			}
		}
		if len(seen) != 1 || seen[0].Protection != Unprotected || seen[0].Peer != nil {
			t.Error(seen)
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestCritical sends confirmable requests with critical options: OSCORE's and EDHOC's
// are known, so that go-coap does not answer for us; another is not.
func TestCritical(t *testing.T) {
	_, b := two(t)
	e := endpoint(t, b)
	addr := serveLoopback(t, e)
	s, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	value := coap.OSCORE{PartialIV: []byte{0}, KID: []byte{0x99}}
	kid, _ := value.Append(nil)
	for i, c := range []struct {
		name    string
		options []coap.Option
		payload string
		want    coap.Code
	}{
		{"OSCORE of an unknown peer", []coap.Option{{Number: coap.OSCOREOption, Value: kid}}, "ciphertext", coap.Unauthorized},
		{"OSCORE with reserved flags", []coap.Option{{Number: coap.OSCOREOption, Value: []byte{0xe0}}}, "ciphertext", coap.BadOption},
		{"combined, without message_3", []coap.Option{{Number: coap.OSCOREOption, Value: kid}, {Number: coap.EDHOC}}, "ciphertext", coap.BadRequest},
		{"an option nobody has", []coap.Option{{Number: 2049}}, "", coap.BadOption},
	} {
		m := coap.Message{Type: coap.Confirmable, Code: coap.POST, ID: uint16(100 + i), Token: []byte{1}, Payload: []byte(c.payload)}
		last := coap.OptionNumber(0)
		for _, o := range c.options {
			m.Options = coap.AppendOption(m.Options, last, o)
			last = o.Number
		}
		q, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(q); err != nil {
			t.Fatal(err)
		}
		_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
		room := make([]byte, 2000)
		n, err := s.Read(room)
		if err != nil {
			t.Fatal(c.name, err)
		}
		got := parsed(t, room[:n])
		if got.Code != c.want || got.Type != coap.Acknowledgement || got.ID != m.ID {
			t.Errorf("%s: %v %v %q", c.name, got.Type, got.Code, got.Payload)
		}
		if known := c.name != "an option nobody has"; known && bytes.Contains(got.Payload, []byte("unknown critical")) {
			t.Errorf("%s: %q", c.name, got.Payload)
		}
	}
}

// TestObserve is told each newest state, over a link that loses and reorders.
func TestObserve(t *testing.T) {
	for _, bad := range []float64{0, 0.2} {
		synctest.Test(t, func(t *testing.T) {
			a, b := two(t)
			var mu sync.Mutex
			state := 0
			b.Handler = func(s *Session, m *coap.Message) coap.Message {
				mu.Lock()
				defer mu.Unlock()
				return WithOption(Response(coap.Content, 0, fmt.Append(nil, state)), coap.Observe, nil)
			}
			ea, eb, ca, _, _, lb := joined(t, a, b, 7, bad, bad, bad)
			s, err := ca.Handshake(within(t, 5*time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			o, err := ca.Observe(within(t, 5*time.Minute), s, "/telemetry")
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				m, err := o.Next(within(t, 5*time.Minute))
				if err != nil || string(m.Payload) != fmt.Sprint(i) {
					t.Fatalf("state %d: %q %v", i, m.Payload, err)
				}
				mu.Lock()
				state++
				mu.Unlock()
				eb.Notify("/elsewhere")
				eb.Notify("/telemetry")
			}
			if err := o.Close(within(t, 5*time.Minute)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
			lb.changed(nil)
			eb.Notify("/telemetry")
			time.Sleep(5 * time.Minute)
			if len(lb.all()) != 0 {
				t.Error("told after the observation was closed")
			}
			_ = ea.Close()
			_ = eb.Close()
		})
	}
}

// TestObservers begins more observations than a session may have: the answer comes,
// and no notification.
func TestObservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ea, eb, ca, _, _, _, s := shaken(t, func(_, b *Config) {
			b.Handler = func(s *Session, m *coap.Message) coap.Message {
				return WithOption(echoes(s, m), coap.Observe, nil)
			}
		})
		for i := range maxObserved + 1 {
			o, err := ca.Observe(within(t, time.Minute), s, "/telemetry")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.Next(within(t, time.Minute)); err != nil {
				t.Fatal(err)
			}
			eb.Notify("/telemetry")
			if _, err := o.Next(within(t, time.Minute)); (err == nil) != (i < maxObserved) {
				t.Errorf("observation %d: %v", i+1, err)
			}
		}
		_ = ea.Close()
		_ = eb.Close()
		if len(eb.observers) != 0 {
			t.Error("an observation outlives its endpoint")
		}
	})
}

// TestBodies sends and asks for what does not fit one message.
func TestBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		update := bytes.Repeat([]byte("firmware "), 2000)
		var got []byte
		ea, eb, ca, _, la, _, s := shaken(t, func(_, b *Config) {
			b.Handler = func(_ *Session, m *coap.Message) coap.Message {
				if m.Code == coap.GET {
					return Response(coap.Content, 42, update)
				}
				got = m.Payload
				return Response(coap.Changed, 0, nil)
			}
		})
		if m, err := ca.Put(within(t, time.Minute), s, "/update", 42, update); err != nil || m.Code != coap.Changed || !bytes.Equal(got, update) {
			t.Errorf("%v, %d bytes: %v", m.Code, len(got), err)
		}
		if m, err := ca.Get(within(t, time.Minute), s, "/log"); err != nil || !bytes.Equal(m.Payload, update) {
			t.Errorf("%v, %d bytes: %v", m.Code, len(m.Payload), err)
		}
		for _, b := range la.all() {
			if len(b) > 1200 {
				t.Errorf("a message of %d bytes", len(b))
			}
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestRefused ends handshakes: with somebody who is not meant, and by Accept.
func TestRefused(t *testing.T) {
	for _, combined := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := two(t)
			stranger := enrol(t, 0, "stranger", 0x03)
			c := Config{EDHOC: party(stranger, b.EDHOC.Own[0], 0), Combined: combined}
			ec, eb, cc, _, _, _ := joined(t, c, b, 1, 0, 0, 0)
			s, err := cc.Handshake(within(t, time.Minute))
			if err == nil && combined {
				_, err = cc.Get(within(t, time.Minute), s, "/therapy")
			}
			if err == nil {
				t.Error("a stranger was let in")
			}
			if len(eb.Sessions()) != 0 || eb.HalfOpen() != 0 {
				t.Error("something is left of him")
			}
			_ = ec.Close()
			_ = eb.Close()

			a.Combined = combined
			b.Accept = func(s *Session, ead []edhoc.EAD) error {
				if len(ead) != 1 || string(ead[0].Value) != "token" {
					return errors.New("no token")
				}
				return s.SetToken(ead[0].Value)
			}
			ea, eb, ca, _, _, _ := joined(t, a, b, 1, 0, 0, 0)
			if s, err = ca.Handshake(within(t, time.Minute)); err == nil && combined {
				_, err = ca.Get(within(t, time.Minute), s, "/therapy")
			}
			if err == nil || len(eb.Sessions()) != 0 {
				t.Error("let in without a token")
			}
			if s, err = ca.Handshake(within(t, time.Minute), edhoc.EAD{Label: 7, Value: []byte("token")}); err != nil {
				t.Fatal(err)
			}
			mustGet(t, ca, s, "/therapy")
			if got := eb.Sessions()[0].Token(); string(got) != "token" {
				t.Errorf("%q", got)
			}
			_ = ea.Close()
			_ = eb.Close()
		})
	}
}

// TestSuites begins with a suite that the peer does not have.
func TestSuites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, p := enrol(t, 0, "x", 1), enrol(t, 2, "p", 2)
		pump := enrol(t, 2, "pump", 3)
		a := Config{EDHOC: &edhoc.Config{
			Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{0, 2},
			Own: []*edhoc.Authenticator{x, p}, Peers: edhoc.Only(pump.Credential()),
		}}
		b := Config{EDHOC: party(pump, p, 2), Handler: echoes}
		ea, eb, ca, _, la, _ := joined(t, a, b, 1, 0, 0, 0)
		for _, want := range []int{3, 2} { // the second time it is known
			la.changed(nil)
			s, err := ca.Handshake(within(t, time.Minute))
			if err != nil || s.Suite != 2 {
				t.Fatal(err)
			}
			if len(la.all()) != want {
				t.Errorf("%d messages, want %d", len(la.all()), want)
			}
		}
		_ = ea.Close()
		_ = eb.Close()
	})
}
