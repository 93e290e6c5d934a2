// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent/coap"
)

// A radio carries messages in memory, loses every tenth, and breaks off after so many.
type radio struct {
	in, out chan []byte
	done    chan struct{}
	once    *sync.Once

	mu     sync.Mutex
	random *mathrand.Rand
	left   *int // messages before it breaks off
}

func radios(seed uint64, messages int) (a, b *radio) {
	ab, ba, done, once := make(chan []byte, 256), make(chan []byte, 256), make(chan struct{}), new(sync.Once)
	end := func(in, out chan []byte, n uint64) *radio {
		left := messages
		return &radio{in: in, out: out, done: done, once: once, random: mathrand.New(mathrand.NewPCG(seed, n)), left: &left}
	}
	return end(ba, ab, 1), end(ab, ba, 2)
}

func (r *radio) Send(b []byte) error {
	r.mu.Lock()
	*r.left--
	lost, broken := r.random.Float64() < 0.1, *r.left < 0
	r.mu.Unlock()
	if lost || broken {
		return nil
	}
	select {
	case r.out <- bytes.Clone(b):
	case <-r.done:
	}
	return nil
}

func (r *radio) Receive(b []byte) (int, error) {
	select {
	case m := <-r.in:
		return copy(b, m), nil
	case <-r.done:
		return 0, io.EOF
	}
}

func (r *radio) Close() error { r.once.Do(func() { close(r.done) }); return nil }
func (r *radio) Peer() string { return "radio" }

func credential(t testing.TB, subject string, kid byte) *edhoc.Authenticator {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
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
	a, err := edhoc.NewStaticDH(key, cred)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A whole update comes over OSCORE, on a radio that loses messages and breaks off every
// now and then.
func TestOverCoAP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, nil)
		s.release("2.2.0", 8, NoFault)
		own, gateway := credential(t, "pump-3", 3), credential(t, "gw-icu", 4)
		party := func(own, peer *edhoc.Authenticator) *edhoc.Config {
			return &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(peer.Credential())}
		}
		gw, err := link.New(link.Config{EDHOC: party(gateway, own), Handler: coap.Handler(t.Context(), s.depot)})
		if err != nil {
			t.Fatal(err)
		}
		defer gw.Close()
		device, err := link.New(link.Config{EDHOC: party(own, gateway)})
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		connects := uint64(0)
		client := &coap.Client{Connect: func(ctx context.Context) (*link.Conn, *link.Session, error) {
			connects++
			a, b := radios(connects, 9)
			gw.Attach(b)
			conn := device.Attach(a)
			session, err := conn.Handshake(ctx)
			if err != nil {
				conn.Close()
			}
			return conn, session, err
		}}
		defer client.Close()
		s.cfg.Agent.Server = server{s.Updater, client}
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		for s.clock < 6*time.Hour && len(s.depot.Results) == 0 {
			wait, _ := s.Step(t.Context()) // what a step could not do, the next does
			s.clock += max(wait, time.Second)
		}
		if len(s.depot.Results) != 1 || s.depot.Results[0].Outcome != patch.Installed || s.Version() != "2.2.0" {
			t.Errorf("it runs %s: %+v", s.Version(), s.depot.Results)
		}
		if connects < 2 {
			t.Errorf("%d connections: nothing broke off", connects)
		}
	})
}
