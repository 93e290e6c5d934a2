// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A teller is a device that speaks CoAP and can be observed. It has no secret.
type teller struct {
	net.PacketConn
	t testing.TB

	mu     sync.Mutex // guards what follows
	at     net.Addr
	token  []byte // of who observes; nil: nobody
	number uint32
	asked  int
	deaf   int // requests that it does not hear
	state  string
}

func (d *teller) run() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := d.ReadFrom(b)
		if err != nil {
			return
		}
		var m protocol.Message
		if m.Parse(b[:n]) != nil || m.Code != protocol.GET {
			continue
		}
		d.mu.Lock()
		d.asked++
		if d.deaf--; d.deaf < 0 {
			d.at, d.token = from, append([]byte(nil), m.Token...)
			d.say(d.number, d.state)
		}
		d.mu.Unlock()
	}
}

// say sends a notification. The caller holds the mutex.
func (d *teller) say(number uint32, state string) {
	m := coap.WithOption(coap.Response(protocol.Content, 60, therapy.Document{therapy.Alarms.Is([]string{state})}.Append(nil)), protocol.Observe, protocol.AppendUint(nil, number))
	m.Type, m.Token = protocol.NonConfirmable, d.token
	b, err := m.Append(nil)
	if err != nil {
		d.t.Error(err)
	}
	_, _ = d.WriteTo(b, d.at)
}

// change has another state, which it tells whoever observes.
func (d *teller) change(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.number++
	d.state = state
	if d.token != nil {
		d.say(d.number, state)
	}
}

func withTeller(t *testing.T, deaf int) (*world, *teller) {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &teller{PacketConn: s, t: t, deaf: deaf, state: "first"}
	done := make(chan struct{})
	go func() { defer close(done); d.run() }()
	t.Cleanup(func() { s.Close(); <-done })
	w := newWorldWith(t, plant{
		model: "dose-one", inside: "{carrier: udp, therapy: insulin infusion, topology: bypassable, answer-within: 500ms}",
		carrier: "udp", therapy: "insulin infusion", verbs: classic.verbs,
	}, func(w *world) { w.forward(s.LocalAddr().String()) })
	w.until(func() bool { return w.front.state() != nil }, func() string { return "the device is not observed" })
	return w, d
}

// sees waits for a state of an observation that has some words.
func (s *station) sees(o *coap.Observation, words string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	for {
		m, err := o.Next(ctx)
		if err != nil {
			s.t.Fatalf("no %q: %v", words, err)
		}
		text, err := therapy.Text(m.Payload)
		if err != nil {
			s.t.Fatalf("%v %v", m.Code, err)
		}
		if strings.Contains(text, words) {
			return
		}
	}
}

// TestObservesTheDevice: who may read observes what the device tells by itself, in order; a device
// that was off is asked again, and when it stays away nobody is told that it is observed.
func TestObservesTheDevice(t *testing.T) {
	w, d := withTeller(t, 1) // the first time it does not hear
	nurse := w.connect("nurse")
	o, err := nurse.c.Observe(t.Context(), nurse.s, "/telemetry")
	if err != nil {
		t.Fatal(err)
	}
	nurse.sees(o, "first")
	d.change("second")
	nurse.sees(o, "second")
	// One that was sent before it, and comes late: it is kept, and is no newer state.
	d.mu.Lock()
	d.say(0, "late")
	d.mu.Unlock()
	w.until(func() bool { return strings.Contains(nurse.get("/raw"), "6c617465") }, func() string { return nurse.get("/raw") })
	if s := nurse.get("/telemetry"); !strings.Contains(s, "second") {
		t.Error(s)
	}
	// It was off, and knows nobody: it is asked when its state is old.
	d.mu.Lock()
	d.token = nil
	before := d.asked
	d.mu.Unlock()
	d.change("third")
	w.later(defaultMaxAge + registerGrace + time.Second)
	nurse.sees(o, "third")
	d.mu.Lock()
	if d.asked == before {
		t.Error("it was not asked")
	}
	d.deaf = 1 << 30 // it stays away
	d.mu.Unlock()
	w.later(2 * (defaultMaxAge + lapsesAfter))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		m, err := o.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, on := m.Options.Get(protocol.Observe); !on {
			if m.Code != protocol.GatewayTimeout {
				t.Errorf("%v", m.Code)
			}
			break
		}
	}
}

// TestObservesNothing: what a device does not tell by itself is asked of it each time, and
// not observed.
func TestObservesNothing(t *testing.T) {
	w := newWorld(t, plant{
		model: "dose-one", inside: "{carrier: udp, therapy: insulin infusion, secret: secret, topology: sole-path, answer-within: 500ms}",
		secret: true, carrier: "udp", therapy: "insulin infusion", verbs: classic.verbs,
	})
	nurse := w.connect("nurse")
	o, err := nurse.c.Observe(t.Context(), nurse.s, "/telemetry")
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Next(t.Context())
	if _, on := m.Options.Get(protocol.Observe); err != nil || m.Code != protocol.Content || on {
		t.Errorf("%v %v %v", m.Code, on, err)
	}
	before := len(w.device.Journal())
	nurse.order(protocol.Changed, device.DeliverBolus, "2 [iU]", "")
	used := w.device.State().(legacy.DoseOneState).Used
	if s := nurse.get("/telemetry"); !strings.Contains(s, "reservoir") || w.device.State().(legacy.DoseOneState).Used != used+1 || len(w.device.Journal()) == before {
		t.Error(s)
	}
}

// TestObservationEnds: with the token of who observes.
func TestObservationEnds(t *testing.T) {
	w, p := withPuppet(t, false)
	nurse := w.connect("nurse")
	for _, tt := range []struct {
		path string
		end  func()
	}{
		{"/telemetry", func() {
			if m := nurse.do(coap.Request(protocol.DELETE, "/authz-info", 60, nil)); m.Code != protocol.Deleted {
				t.Fatal(m.Code)
			}
		}},
		{"/raw", func() { w.later(365 * 24 * time.Hour) }}, // and no token is good any more
	} {
		path, end := tt.path, tt.end
		nurse.post(w.token("nurse"), protocol.Created)
		nurse.order(protocol.Changed, device.CancelBolus, "", "")
		p.asks()
		o, err := nurse.c.Observe(t.Context(), nurse.s, path)
		if err != nil {
			t.Fatal(err)
		}
		w.until(func() (reads bool) {
			w.front.mu.Lock()
			defer w.front.mu.Unlock()
			for _, s := range w.front.sessions {
				reads = reads || s.reads
			}
			return reads
		}, func() string { return "nobody may read" })
		end()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for {
			m, err := o.Next(ctx)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if m.Code.Class() == 4 {
				break
			}
		}
		cancel()
	}
}

// TestNewerState goes through the rule of RFC 7641 section 3.4.
func TestNewerState(t *testing.T) {
	now := time.Unix(1772517600, 0)
	for _, c := range []struct {
		was, is uint32
		after   time.Duration
		want    bool
	}{
		{5, 6, 0, true},
		{5, 5, 0, false},
		{5, 4, 0, false},
		{5, 5 + 1<<23 - 1, 0, true},
		{5, 5 + 1<<23, 0, false},
		{1<<24 - 1, 0, 0, true},
		{0, 1<<24 - 1, 0, false},
		{5, 4, reorderedWithin, false},
		{5, 4, reorderedWithin + 1, true},
	} {
		o := newObservation()
		if !o.take(&notified{on: true, number: c.was}, now) {
			t.Fatal("the first is not taken")
		}
		if got := o.take(&notified{on: true, number: c.is}, now.Add(c.after)); got != c.want {
			t.Errorf("%d after %d, %v later: %v", c.is, c.was, c.after, got)
		}
	}
}
