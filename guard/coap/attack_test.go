// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/sim/implant"
)

// A tap is somebody between the programmers and the front who has all that they sent.
type tap struct {
	net.PacketConn
	t     testing.TB
	front *net.UDPAddr

	mu   sync.Mutex
	sent [][]byte
	ways map[string]*net.UDPConn
}

func newTap(t testing.TB, front string) *tap {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveUDPAddr("udp", front)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{PacketConn: s, t: t, front: addr, ways: map[string]*net.UDPConn{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := s.ReadFrom(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.sent = append(p.sent, bytes.Clone(b[:n]))
			way := p.ways[from.String()]
			if way == nil {
				if way, err = net.DialUDP("udp", nil, p.front); err != nil {
					p.mu.Unlock()
					return
				}
				p.ways[from.String()] = way
				wg.Go(func() {
					b := make([]byte, 1<<16)
					for {
						n, err := way.Read(b)
						if err != nil {
							return
						}
						_, _ = s.WriteTo(b[:n], from)
					}
				})
			}
			p.mu.Unlock()
			_, _ = way.Write(b[:n])
		}
	})
	t.Cleanup(func() {
		s.Close()
		p.mu.Lock()
		for _, w := range p.ways {
			w.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

// recorded is all that was sent so far.
func (p *tap) recorded() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.sent...)
}

// play sends datagrams to the front from a place of its own, and waits for an answer or
// a while; it returns the codes of the answers.
func (w *world) play(all [][]byte) (codes []string) {
	w.t.Helper()
	for _, b := range all {
		c, err := net.Dial("udp", w.address)
		if err != nil {
			w.t.Fatal(err)
		}
		_, _ = c.Write(b)
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		answer := make([]byte, 1<<16)
		var m protocol.Message
		if n, err := c.Read(answer); err == nil && m.Parse(answer[:n]) == nil {
			codes = append(codes, m.Code.String())
		}
		c.Close()
	}
	return codes
}

// TestReplay: what somebody recorded on the way does nothing again (rows A02, A04, A07,
// A12): not in the same session, not in a new one, not after a restart.
func TestReplay(t *testing.T) {
	w := newWorld(t, classic)
	p := newTap(t, w.address)
	nurse, err := w.through(p.LocalAddr().String(), w.holders["nurse"])
	if err != nil {
		t.Fatal(err)
	}
	nurse.post(w.token("nurse"), protocol.Created)
	nurse.order(protocol.Changed, device.DeliverBolus, "2 [iU]", "")
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
	nurse.order(protocol.Changed, device.Suspend, "", "30 min")
	nurse.order(protocol.Changed, device.Resume, "", "")
	sent := p.recorded()
	if len(sent) < 7 {
		t.Fatalf("%d datagrams", len(sent))
	}
	same := func(when string) {
		t.Helper()
		before := len(w.device.Journal())
		w.play(sent)
		if j := w.device.Journal(); len(j) != before {
			t.Errorf("%s: the device did %v", when, j[before:])
		}
	}
	same("in the same session")
	w.wants(event.AccessRefused, "received before")
	w.connect("nurse")
	same("in a new session")
	w.stop()
	w.start()
	same("after a restart")
	// Whoever has the keys goes on, once she has shown that she is there.
	nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	if s := w.pump(); s.Boluses != 2 {
		t.Errorf("%+v", s)
	}
}

// TestUnentitled: nobody commands the device who is not enrolled, or in a role without
// the right, or without a token, whatever he asks.
func TestUnentitled(t *testing.T) {
	w := newWorld(t, classic)
	before := len(w.device.Journal())
	nobody, err := w.through(w.address, newKey(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []device.Verb{device.DeliverBolus, device.CancelBolus} {
		nobody.order(protocol.Unauthorized, verb, map[device.Verb]string{device.DeliverBolus: "1 [iU]"}[verb], "")
	}
	nobody.post(w.token("nurse"), protocol.Unauthorized) // hers
	nobody.post([]byte("no token"), protocol.Unauthorized)
	nobody.order(protocol.Unauthorized, device.CancelBolus, "", "")
	technician := w.connect("technician")
	technician.order(protocol.Forbidden, device.DeliverBolus, "1 [iU]", "")
	patient := w.connect("patient")
	patient.order(protocol.Forbidden, device.DeliverBolus, "26 [iU]", "") // beyond the token
	patient.order(protocol.Forbidden, device.SetTemporaryBasal, "1 [iU]/h", "1 h")
	if j := w.device.Journal(); len(j) != before {
		t.Errorf("the device did %v", j[before:])
	}
	technician.order(protocol.Changed, device.Suspend, "", "30 min") // a rescue, from every role that is proven
	if !w.pump().Suspended {
		t.Error("not suspended")
	}
	technician.order(protocol.Forbidden, device.Suspend, "", "30 min") // and no rescue again
	for _, words := range []string{"command deliver-bolus: ", "another key", "command no token"} {
		w.wants(event.AccessRefused, words)
	}
}

// TestPeers: with a list of keys nobody else ends a handshake.
func TestPeers(t *testing.T) {
	p := classic
	p.more = "  peers: [nurse.pub]\n"
	w := newWorldWith(t, p, func(w *world) {
		k := w.holders["nurse"]
		w.write("nurse.pub", k.AppendPublic(nil))
	})
	w.connect("nurse").order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	if _, err := w.through(w.address, w.holders["patient"]); err == nil {
		t.Error("the patient's key is not listed, and ends a handshake")
	}
	w.wants(event.AccessRefused, "handshake")
}

// TestDoses: a dose that is absurd, or too much together with others, is refused, or
// waits for a second person; stopping stays possible.
func TestDoses(t *testing.T) {
	w := newWorld(t, classic)
	nurse := w.connect("nurse")
	for _, test := range []struct {
		value string
		code  protocol.Code
	}{
		{"2000 [iU]", protocol.UnprocessableEntity}, // the frame has no room
		{"1.0001 [iU]", protocol.UnprocessableEntity},
		{"-1 [iU]", protocol.UnprocessableEntity},
		{"5 mg", protocol.UnprocessableEntity},
		{"9 [iU]", protocol.Forbidden}, // the envelope
		{"25 [iU]", protocol.Forbidden},
		{"6 [iU]", protocol.Changed},
		{"5 [iU]", protocol.Changed},
		{"2 [iU]", protocol.Forbidden}, // 12 U in four hours
	} {
		text := nurse.order(test.code, device.DeliverBolus, test.value, "")
		t.Log(test.value, strings.TrimSpace(text))
	}
	if s := w.pump(); s.Boluses != 2 || s.Ordered != 11000 {
		t.Errorf("%+v", s)
	}
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
	if s := w.pump(); s.BolusLeft != 0 {
		t.Errorf("%+v", s)
	}
}

// TestHeld: what waits for a second person is delivered when she confirms it, and not
// when its sender may not ask for it any more.
func TestHeld(t *testing.T) {
	w := newWorld(t, classic)
	nurse := w.connect("nurse")
	text := nurse.order(protocol.Forbidden, device.DeliverBolus, "7 [iU]", "")
	if !strings.Contains(text, "waits until") {
		t.Error(text)
	}
	held := w.gate.Held()
	if len(held) != 1 || w.pump().Boluses != 0 {
		t.Fatal(held)
	}
	jr := gate.Person{ID: "JR", Role: envelope.Nurse}
	if err := w.gate.Confirm(t.Context(), jr, held[0].ID); err != nil {
		t.Fatal(err)
	}
	if s := w.pump(); s.Boluses != 1 || s.Ordered != 7000 {
		t.Errorf("%+v", s)
	}
	patient := w.connect("patient")
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
	w.later(5 * time.Hour)
	patient.order(protocol.Forbidden, device.DeliverBolus, "7 [iU]", "")
	if m := patient.do(coap.Request(protocol.DELETE, "/authz-info", 0, nil)); m.Code != protocol.Deleted {
		t.Fatal(m.Code)
	}
	for _, h := range w.gate.Held() {
		_ = w.gate.Confirm(t.Context(), jr, h.ID)
	}
	if s := w.pump(); s.Boluses != 1 {
		t.Errorf("it was delivered for somebody who is gone: %+v", s)
	}
}

// TestInClear: a request that nothing protects is refused, and recorded before it is
// answered.
func TestInClear(t *testing.T) {
	w := newWorld(t, classic)
	before := len(w.device.Journal())
	r := therapy.Request{Verb: device.CancelBolus}
	m := coap.Request(protocol.POST, "/therapy", 60, r.Append(nil))
	m.Type, m.ID, m.Token = protocol.Confirmable, 7, []byte("t")
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if codes := w.play([][]byte{b}); len(codes) != 1 || codes[0] != protocol.Unauthorized.String() {
		t.Errorf("%v", codes)
	}
	if all := w.recorded(event.AccessRefused); len(all) != 1 || !strings.Contains(all[0], "in clear") {
		t.Errorf("%q", all)
	}
	if j := w.device.Journal(); len(j) != before {
		t.Errorf("the device did %v", j[before:])
	}
}

// TestWakeUps: a thousand wake-ups a minute (rows A03, A23) are counted, limited and told,
// and lock out no clinician; rescues always pass.
func TestWakeUps(t *testing.T) {
	w := newWorld(t, classic)
	patient, nurse := w.connect("patient"), w.connect("nurse")
	woken := 0
	for range 200 {
		r := therapy.Request{Verb: device.Wake}
		switch m := patient.do(coap.Request(protocol.POST, "/therapy", 60, r.Append(nil))); m.Code {
		case protocol.Changed, protocol.GatewayTimeout, protocol.Conflict:
			woken++
		case protocol.TooManyRequests:
		default:
			t.Fatal(m.Code, w.recorded(event.VerdictGiven))
		}
	}
	if s := w.pump(); s.WakeUps > 14 || s.WakeUps != woken || woken < 12 {
		t.Errorf("woken %d times, answered %d", s.WakeUps, woken)
	}
	r := therapy.Request{Verb: device.Wake}
	m := coap.Request(protocol.POST, "/therapy", 60, r.Append(nil))
	m.Type, m.Token = protocol.Confirmable, []byte("t")
	before := w.pump().WakeUps
	c, err := net.Dial("udp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 800 {
		m.ID = uint16(i)
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(b)
	}
	nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	patient.order(protocol.Changed, device.CancelBolus, "", "")
	if n := w.pump().WakeUps; n != before {
		t.Errorf("strangers woke it %d times", n-before)
	}
	w.wants(event.AccessRefused, "too many wake-ups")
	w.wants(event.AccessRefused, "in clear")
}

// TestLikeAnImplant: a programmer sees no difference between a device that has the secure
// channel itself and one behind the front: the same requests have the same answers.
func TestLikeAnImplant(t *testing.T) {
	w := newWorld(t, classic)
	anchors, err := w.trust.Anchors()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	i, err := implant.Open(implant.Config{
		Kind: implant.Pump, ID: "device-7", Journal: w.dir + "/implant", Anchors: anchors,
		Clock: func() (time.Duration, int64) { return time.Since(began), time.Now().Unix() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	own, err := authenticator(&w.guardKey, false)
	if err != nil {
		t.Fatal(err)
	}
	radio, err := i.Radio(coap.Config{EDHOC: &edhoc.Config{
		Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{own}, Peers: new(Policy).credentials,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer radio.Close()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = radio.Serve(ctx, s) })
	defer wg.Wait()
	defer cancel()
	var codes [2][]string
	for n, address := range []string{s.LocalAddr().String(), w.address} {
		a, err := w.through(address, w.holders["nurse"])
		if err != nil {
			t.Fatal(err)
		}
		ask := func(m protocol.Message) { codes[n] = append(codes[n], a.do(m).Code.String()) }
		order := func(v device.Verb, value, limit string) {
			r := therapy.Request{Verb: v, Value: quantity(t, value), Limit: quantity(t, limit)}
			ask(coap.Request(protocol.POST, "/therapy", 60, r.Append(nil)))
		}
		order(device.CancelBolus, "", "")
		ask(coap.Request(protocol.POST, "/authz-info", 61, []byte("no token")))
		ask(coap.Request(protocol.POST, "/authz-info", 61, w.token("nurse")))
		order(device.DeliverBolus, "2 [iU]", "")
		order(device.CancelBolus, "", "")
		order(device.DeliverBolus, "26 [iU]", "")
		order(device.Suspend, "", "30 min")
		order(device.Suspend, "", "30 min")
		order(device.Resume, "", "")
		order(device.SetPacingRate, "60 {pulses}/min", "")
		ask(coap.Request(protocol.POST, "/therapy", 60, []byte{0xff}))
		for _, path := range []string{"/therapy", "/telemetry", "/limits", "/log", "/nothing"} {
			ask(coap.Request(protocol.GET, path, 0, nil))
		}
		ask(coap.Request(protocol.PUT, "/therapy", 60, nil))
		ask(coap.Request(protocol.DELETE, "/authz-info", 0, nil))
		order(device.CancelBolus, "", "")
	}
	// But for a bolus that the device itself has a limit for, and says so.
	codes[0][5] = codes[1][5]
	if !slices.Equal(codes[0], codes[1]) {
		t.Errorf("an implant:\n%q\nbehind the front:\n%q", codes[0], codes[1])
	}
}
