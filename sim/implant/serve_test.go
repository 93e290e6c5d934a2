// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

func credential(t testing.TB, k cose.Key) *edhoc.Authenticator {
	t.Helper()
	cred, err := edhoc.NewCCS(k.Public(), "", k.ID)
	if err != nil {
		t.Fatal(err)
	}
	private, err := k.PrivateECDH()
	if err != nil {
		t.Fatal(err)
	}
	a, err := edhoc.NewStaticDH(private, cred)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func party(own *edhoc.Authenticator, peers ...*edhoc.Authenticator) *edhoc.Config {
	var creds []*edhoc.Credential
	for _, p := range peers {
		creds = append(creds, p.Credential())
	}
	return &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2}, Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(creds...)}
}

// A tap has all that came in, as somebody with a radio would.
type tap struct {
	net.PacketConn
	mu   sync.Mutex
	came [][]byte
}

func (t *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := t.PacketConn.ReadFrom(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.came = append(t.came, bytes.Clone(b[:n]))
	}
	return n, addr, err
}

// onAir serves the device until it is stopped, from a folder of sessions.
func (w *world) onAir(dir string, cfg *edhoc.Config) (*Radio, *tap, func()) {
	w.t.Helper()
	store, err := coap.OpenStore(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.Radio(coap.Config{EDHOC: cfg, Keep: store})
	if err != nil {
		w.t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	heard := &tap{PacketConn: socket}
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Serve(ctx, heard) })
	return r, heard, func() {
		cancel()
		wg.Wait()
		r.Close()
		store.Close()
	}
}

// TestRadio is a nurse's programmer over UDP: the handshake, a bolus, telemetry that is
// observed, what was overheard sent again, and a restart.
func TestRadio(t *testing.T) {
	w := newWorld(t, Pump)
	device7, nurse, stranger := credential(t, newKey(t, "!")), credential(t, w.holders["nurse"]), credential(t, newKey(t, "x"))
	dir := filepath.Join(t.TempDir(), "sessions")
	radio, heard, stop := w.onAir(dir, party(device7, nurse))
	defer func() { stop() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	programmer := func(own *edhoc.Authenticator) *coap.Endpoint {
		e, err := coap.New(coap.Config{EDHOC: party(own, device7)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
	e := programmer(nurse)
	dial := func(e *coap.Endpoint) *coap.Conn {
		t.Helper()
		c, err := e.Dial(ctx, heard.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	if _, err := dial(programmer(stranger)).Handshake(ctx); err == nil {
		t.Fatal("a stranger has a session")
	}
	w.logged("event handshake", "verdict refused", "a credential that is not known")

	c := dial(e)
	s, err := c.Handshake(ctx)
	if err != nil {
		t.Fatal(err)
	}
	post := func(path string, payload []byte, want protocol.Code) {
		t.Helper()
		m, err := c.Post(ctx, s, path, formatCBOR, payload)
		if err != nil {
			t.Fatal(err)
		}
		if m.Code != want {
			t.Fatalf("%s: %v %s, want %v\n%s", path, m.Code, textOr(m.Payload), want, strings.Join(w.Log(), "\n"))
		}
	}
	bolus := command(t, device.DeliverBolus, "1 [iU]", "")
	post("/therapy", bolus, protocol.Unauthorized)
	post("/authz-info", w.token("nurse", w.cfg.ID), protocol.Created)
	post("/therapy", bolus, protocol.Changed)
	w.has("bolus: 1.000 [iU]")
	post("/therapy", command(t, device.CancelBolus, "", ""), protocol.Changed)

	o, err := c.Observe(ctx, s, "/telemetry")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Next(ctx); err != nil {
		t.Fatal(err)
	}
	w.wait(6 * time.Minute)
	if err := radio.Tick(); err != nil {
		t.Fatal(err)
	}
	m, err := o.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if text := textOr(m.Payload); !strings.Contains(text, "uptime: 360.000 s") || !strings.Contains(text, "glucose: ") {
		t.Fatal(text)
	}
	if m, err := c.Get(ctx, s, "/limits"); err != nil || m.Code != protocol.Content {
		t.Fatal(m.Code, err)
	}
	o.Close(ctx)

	// Somebody else sends all of it again, before and after a restart.
	again := func() {
		t.Helper()
		w.State()
		before, done := w.model.(*pump).boluses, w.accepted()
		thief, err := net.Dial("udp", heard.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer thief.Close()
		b := make([]byte, coap.MaxMessage)
		heard.mu.Lock()
		list := append([][]byte(nil), heard.came...)
		heard.mu.Unlock()
		n := 0
		for _, datagram := range list {
			var m protocol.Message
			if m.Parse(datagram) != nil || !m.Protected() || m.Type != protocol.Confirmable {
				continue
			}
			if _, err := thief.Write(datagram); err != nil {
				t.Fatal(err)
			}
			thief.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := thief.Read(b); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n < 5 {
			t.Fatalf("only %d messages were sent again", n)
		}
		if w.model.(*pump).boluses != before || w.accepted() != done {
			t.Fatal("what was sent again was done again")
		}
	}
	again()
	w.logged("event message", "verdict refused", "4.01")

	// A token that comes with the handshake.
	if s, err = c.Handshake(ctx, edhoc.EAD{Label: TokenLabel, Critical: true, Value: w.token("nurse", w.cfg.ID)}); err != nil {
		t.Fatal(err)
	}
	post("/therapy", command(t, device.SetBasalRate, "1 [iU]/h", ""), protocol.Changed)

	tokens := func() (n int) {
		for _, l := range w.Log() {
			if strings.Contains(l, "event token") && strings.Contains(l, "verdict accepted") {
				n++
			}
		}
		return n
	}
	came, admitted := heard.came, tokens()
	stop()
	w.kill()
	_, heard, stop = w.onAir(dir, party(device7, nurse))
	heard.came = came
	again()
	if n := tokens(); n != admitted {
		t.Errorf("nobody came, and the log has %d more tokens", n-admitted)
	}
	c = dial(e)
	post("/therapy", bolus, protocol.Changed) // the session and its token were kept
	if n := tokens(); n != admitted+1 {
		t.Errorf("the holder came back, and the log has %d more tokens", n-admitted)
	}
	w.has("bolus: 1.000 [iU]")
}
