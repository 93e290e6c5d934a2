// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// A ward is a front before a device that is a client, with its server, which may be away.
type ward struct {
	*world
	client    *Client
	ack       time.Duration
	serverKey cose.Key
	server    string // its address

	peer *coap.Endpoint
	gone context.CancelFunc
	left chan struct{}

	mu      sync.Mutex // guards what follows
	told    []string   // "0.02 /path payload"
	handler func(m *protocol.Message) protocol.Message
}

const clientLines = `guard: 1
front:
  name: calls
  kind: coap
  device: device-7
  protects: client
  listen: %s
  forward: %s
  bypass: the wand in room 4
  limits: {drain: 200ms}
  key: guard.key
  server: {key: server.key.pub, role: clinician}
  resources:
    - {path: /telemetry}
    - {path: /alarm, alarms: true}
    - {path: /settings, formats: [0, 60], observe: true}
    - {path: /orders, formats: [60], commands: true}
  inside: {from: [127.0.0.1], therapy: insulin infusion, topology: sole-path}
`

func newWard(t testing.TB) *ward {
	t.Helper()
	return newSlowWard(t, 200*time.Millisecond)
}

// newSlowWard makes one that is in no hurry to send again.
func newSlowWard(t testing.TB, ack time.Duration) *ward {
	t.Helper()
	w := &ward{ack: ack, world: &world{t: t, plant: classic, dir: t.TempDir()}}
	w.guardKey, w.serverKey = newKey(t, ""), newKey(t, "")
	w.write("guard.key", w.guardKey.AppendSecret(nil))
	w.write("server.key.pub", w.serverKey.AppendPublic(nil))
	w.write("envelope.yaml", []byte(envelopeHead+"therapy: insulin infusion\n"+classic.verbs))
	w.address, w.server = free(t), free(t)
	w.write("guard.yaml", fmt.Appendf(nil, clientLines, w.address, w.server))
	w.handler = func(*protocol.Message) protocol.Message { return protocol.Message{Code: protocol.Changed} }
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *ward) env() *front.Env {
	return &front.Env{
		Record: w.record, Now: w.now, Log: slog.New(slog.DiscardHandler), Metrics: front.NewMetrics(prometheus.NewRegistry()),
		Learned: new(front.Learned), State: w.dir,
	}
}

// prepare makes the front and its gate, and does not run it.
func (w *ward) prepare() {
	w.t.Helper()
	p, err := readPolicy(filepath.Join(w.dir, "guard.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	env := w.env()
	if w.book, err = envelope.OpenBook(envelope.Config{Path: filepath.Join(w.dir, "doses")}); err != nil {
		w.t.Fatal(err)
	}
	w.gate = gate.New(gate.Config{
		Devices: map[string]gate.Device{"device-7": {Therapy: device.InsulinInfusion, Envelope: w.envelope()}},
		Book:    w.book, Record: w.record, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	env.Gate = w.gate
	w.client = New(env, p).(*Client)
	w.client.ack = w.ack
}

func (w *ward) start() {
	w.t.Helper()
	w.prepare()
	ctx, cancel := context.WithCancel(context.Background())
	w.end, w.ended = cancel, make(chan error, 1)
	go func() { w.ended <- w.client.Run(ctx) }()
	for !w.client.env.Serving() {
		select {
		case err := <-w.ended:
			w.t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
}

func (w *ward) stop() {
	w.t.Helper()
	if w.end == nil {
		return
	}
	w.end()
	if err := <-w.ended; err != nil {
		w.t.Error(err)
	}
	w.end = nil
	w.gate.Close()
	if err := w.book.Close(); err != nil {
		w.t.Error(err)
	}
}

// arrive has the server listen, as whoever has a key.
func (w *ward) arrive(key cose.Key) {
	w.t.Helper()
	own, err := authenticator(&key, false)
	if err != nil {
		w.t.Fatal(err)
	}
	guard := w.guardKey.Public()
	guard.ID = nil
	cred, err := edhoc.NewCCS(guard, "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.peer, err = coap.New(coap.Config{
		AckTimeout: 50 * time.Millisecond, Concurrent: true,
		EDHOC: &edhoc.Config{Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{own}, Peers: edhoc.Only(cred)},
		Handler: func(_ *coap.Session, m *protocol.Message) protocol.Message {
			w.mu.Lock()
			w.told = append(w.told, fmt.Sprintf("%v %s %s", m.Code, coap.Path(m), m.Payload))
			h := w.handler
			w.mu.Unlock()
			return h(m)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := net.ListenPacket("udp", w.server)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.left = make(chan struct{})
	go func() { defer close(w.left); _ = w.peer.Serve(ctx, s) }()
	var once sync.Once
	w.gone = func() {
		once.Do(func() {
			cancel()
			<-w.left
			_ = w.peer.Close()
		})
	}
	w.t.Cleanup(w.gone)
}

func (w *ward) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.told...)
}

func (w *ward) hears(want ...string) {
	w.t.Helper()
	w.until(func() bool { return cmp.Equal(w.heard(), want) }, func() string { return cmp.Diff(want, w.heard()) })
}

// A caller is the device.
type caller struct {
	net.Conn
	t  testing.TB
	id uint16
}

func (w *ward) device() *caller {
	w.t.Helper()
	c, err := net.Dial("udp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &caller{c, w.t, 0}
}

// ask sends a request, and returns its bytes.
func (d *caller) ask(m protocol.Message) []byte {
	d.t.Helper()
	d.id++
	m.ID, m.Token = d.id, binary.BigEndian.AppendUint16(nil, d.id)
	return d.say(m)
}

func (d *caller) say(m protocol.Message) []byte {
	d.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.Write(b); err != nil {
		d.t.Fatal(err)
	}
	return b
}

// hears returns what came within a time, if anything.
func (d *caller) hears(within time.Duration) (m protocol.Message, ok bool) {
	d.t.Helper()
	_ = d.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 1<<16)
	n, err := d.Read(b)
	if err != nil {
		return m, false
	}
	if err := m.Parse(b[:n]); err != nil {
		d.t.Fatal(err)
	}
	return m, true
}

// does asks for something, and wants an answer of a code.
func (d *caller) does(m protocol.Message, want protocol.Code) protocol.Message {
	d.t.Helper()
	d.ask(m)
	return d.wants(want)
}

func (d *caller) wants(want protocol.Code) protocol.Message {
	d.t.Helper()
	a, ok := d.hears(10 * time.Second)
	if !ok || a.Code != want {
		d.t.Fatalf("%v %q, not %v", a.Code, a.Payload, want)
	}
	return a
}

func post(path, payload string) protocol.Message {
	return coap.Request(protocol.POST, path, 60, []byte(payload))
}

func get(path string) protocol.Message { return coap.Request(protocol.GET, path, 0, nil) }

// TestClient: what the device says travels protected to the server of the pinned key, and
// what comes back is bounded by what is declared.
func TestClient(t *testing.T) {
	w := newWard(t)
	w.handler = func(m *protocol.Message) protocol.Message {
		switch coap.Path(m) {
		case "/telemetry":
			return coap.Response(protocol.Changed, 0, []byte("words nobody declared"))
		case "/settings":
			if o, ok := m.Options.Get(protocol.URIQuery); ok && string(o.Value) == "xml" {
				return coap.Response(protocol.Content, 41, []byte("<xml/>"))
			}
			return coap.Response(protocol.Content, 60, []byte{0xa0})
		}
		return coap.Response(protocol.Content, 60, []byte("something else"))
	}
	w.arrive(w.serverKey)
	d := w.device()
	if a := d.does(post("/telemetry", "glucose 120"), protocol.Changed); len(a.Payload) > 0 || a.ID != d.id || a.Type != protocol.Acknowledgement {
		t.Errorf("%+v", a)
	}
	w.wants(event.AccessRefused, "answer")
	if a := d.does(get("/settings"), protocol.Content); !bytes.Equal(a.Payload, []byte{0xa0}) || string(a.Token) != "\x00\x02" {
		t.Errorf("%+v", a)
	}
	xml := get("/settings")
	xml.Options = protocol.AppendOption(xml.Options, protocol.URIPath, protocol.Option{Number: protocol.URIQuery, Value: []byte("xml")})
	d.does(xml, protocol.BadGateway)
	// Of a path that nobody declared: what is written arrives, what is asked for does not come back.
	if a := d.does(post("/elsewhere", "an alarm, perhaps"), protocol.Content); len(a.Payload) > 0 {
		t.Errorf("%q", a.Payload)
	}
	d.does(get("/elsewhere"), protocol.BadGateway)
	w.hears("0.02 /telemetry glucose 120", "0.01 /settings ", "0.01 /settings ", "0.02 /elsewhere an alarm, perhaps", "0.01 /elsewhere ")
	// Not confirmable: answered so.
	n := post("/telemetry", "glucose 121")
	n.Type = protocol.NonConfirmable
	if a := d.does(n, protocol.Changed); a.Type != protocol.NonConfirmable {
		t.Errorf("%+v", a)
	}
	if !w.client.Ready() {
		t.Error("not ready")
	}
}

// TestOnlyTheDevice: from another address the server is told what came as nothing that the
// device said, and nobody there is answered more than that, or takes a place of the device's.
func TestOnlyTheDevice(t *testing.T) {
	w := newWard(t)
	l := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := l.Dial("udp", w.address)
	if err != nil {
		t.Skip(err)
	}
	defer c.Close()
	stranger := &caller{c, t, 0}
	first := stranger.ask(post("/alarm", "occlusion"))
	for range 3 * maxUnlisted { // while the server is away
		stranger.ask(get("/settings"))
		stranger.ask(post("/alarm", "false"))
		stranger.say(protocol.Message{Code: protocol.POST, ID: 1, Token: first[4:6], Payload: []byte("again")})
	}
	if a, ok := stranger.hears(100 * time.Millisecond); ok {
		t.Errorf("%v", a.Code)
	}
	w.until(func() bool {
		w.client.kept.mu.Lock()
		defer w.client.kept.mu.Unlock()
		return len(w.client.kept.waiting[unlisted]) == maxUnlisted
	}, func() string { return "the places of others are not taken" })
	w.device().ask(post("/alarm", "occlusion"))
	w.arrive(w.serverKey)
	if a := stranger.wants(protocol.Changed); a.Type != protocol.Acknowledgement || len(a.Payload) > 0 {
		t.Errorf("%+v", a)
	}
	w.until(func() bool { return len(w.heard()) == 1+maxUnlisted }, func() string { return fmt.Sprint(len(w.heard())) })
	all := strings.Join(w.heard(), "\n")
	if strings.Count(all, "0.02 /alarm ") != 1 || !strings.Contains(all, "0.02 /alarm occlusion") || !strings.Contains(all, "0.02 /unlisted "+string(first)) {
		t.Errorf("%q", all)
	}
	w.wants(event.AccessRefused, "not from an address of the device")
	w.client.mu.Lock()
	defer w.client.mu.Unlock()
	if len(w.client.asked) != 1 {
		t.Errorf("%d requests are remembered", len(w.client.asked))
	}
}

// TestServerKey: who is at the server's address and cannot prove its key is told nothing, and
// the device is not told that anything arrived.
func TestServerKey(t *testing.T) {
	w := newWard(t)
	w.arrive(newKey(t, ""))
	d := w.device()
	said := d.ask(post("/alarm", "occlusion"))
	if a, ok := d.hears(500 * time.Millisecond); ok {
		t.Errorf("%v", a.Code)
	}
	if len(w.heard()) > 0 || w.client.Ready() {
		t.Error(w.heard())
	}
	w.wants(event.AccessRefused, "cannot prove its key")
	w.gone()
	w.arrive(w.serverKey)
	d.wants(protocol.Changed)
	// Said again, as it would be: answered, and not done again.
	if _, err := d.Write(said); err != nil {
		t.Fatal(err)
	}
	d.wants(protocol.Changed)
	w.hears("0.02 /alarm occlusion")
}

// TestServerAway: what the device says while the server is away is kept, and acknowledged
// when it has arrived; what it asks is answered with that.
func TestServerAway(t *testing.T) {
	w := newWard(t)
	d := w.device()
	for i := range 20 {
		d.ask(post("/telemetry", fmt.Sprint(i)))
	}
	d.ask(post("/alarm", "occlusion"))
	if a, ok := d.hears(300 * time.Millisecond); ok {
		t.Fatalf("%v, and nothing arrived", a.Code)
	}
	w.arrive(w.serverKey)
	got := map[uint16]bool{}
	for range 21 {
		got[d.wants(protocol.Changed).ID] = true
	}
	if len(got) != 21 || !w.client.kept.empty() {
		t.Errorf("%d were answered", len(got))
	}
	all := w.heard()
	if len(all) != 21 {
		t.Errorf("%q", all)
	}
	w.gone()
	// The server was started again, and knows no session.
	w.arrive(w.serverKey)
	d.does(post("/alarm", "again"), protocol.Changed)
	w.hears(append(all, "0.02 /alarm again")...)
}

// TestRestart: the guard is started again while the server is away: the device sends what
// was not acknowledged again, and that arrives.
func TestRestart(t *testing.T) {
	w := newWard(t)
	d := w.device()
	said := d.ask(post("/alarm", "occlusion"))
	w.until(func() bool { return !w.client.kept.empty() }, func() string { return "nothing is kept" })
	w.stop()
	w.start()
	w.arrive(w.serverKey)
	if a, ok := d.hears(100 * time.Millisecond); ok {
		t.Fatalf("%v", a.Code)
	}
	if _, err := d.Write(said); err != nil {
		t.Fatal(err)
	}
	d.wants(protocol.Changed)
	w.hears("0.02 /alarm occlusion")
}

// TestUnreadable: what nobody can read reaches the server byte for byte.
func TestUnreadable(t *testing.T) {
	w := newWard(t)
	w.arrive(w.serverKey)
	d := w.device()
	sealed := get("/settings")
	sealed.Options = protocol.AppendOption(nil, 0, protocol.Option{Number: protocol.OSCOREOption})
	sealed.Payload = []byte("sealed")
	answer := coap.Response(protocol.Content, 60, []byte("nobody asked"))
	var want []string
	for _, b := range [][]byte{[]byte("\x00\xffno message of anybody's"), []byte("x"), d.say(sealed), d.say(answer)} {
		if len(b) < 2 || b[0] != 0x40 {
			if _, err := d.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, "0.02 /raw "+string(b))
	}
	w.until(func() bool { return len(w.heard()) == len(want) }, func() string { return fmt.Sprintf("%q", w.heard()) })
	for _, s := range want {
		if !strings.Contains(strings.Join(w.heard(), "\n"), s) {
			t.Errorf("no %q in %q", s, w.heard())
		}
	}
	// A ping.
	d.say(protocol.Message{ID: 77})
	if a, ok := d.hears(5 * time.Second); !ok || a.Type != protocol.Reset || a.ID != 77 {
		t.Errorf("%+v", a)
	}
}

// TestCommandsInAnswers: what the server tells the device to do is the gate's to decide,
// once, and the device is told what was judged.
func TestCommandsInAnswers(t *testing.T) {
	w := newWard(t)
	var payload []byte
	says := func(b []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		payload = b
	}
	orders := func(r therapy.Request) []byte {
		b := r.Append(nil)
		says(b)
		return b
	}
	w.handler = func(*protocol.Message) protocol.Message {
		w.mu.Lock()
		defer w.mu.Unlock()
		return coap.Response(protocol.Content, 60, payload)
	}
	w.arrive(w.serverKey)
	d := w.device()
	want := orders(therapy.Request{Verb: device.DeliverBolus, Value: quantity(t, "2 [iU]")})
	said := d.ask(get("/orders"))
	a := d.wants(protocol.Content)
	if !bytes.Equal(a.Payload, want) {
		t.Errorf("%x", a.Payload)
	}
	// Said again: the same answer, and neither the server nor the gate is asked again.
	if _, err := d.Write(said); err != nil {
		t.Fatal(err)
	}
	if again := d.wants(protocol.Content); again.ID != a.ID || !bytes.Equal(again.Payload, a.Payload) || len(w.heard()) != 1 {
		t.Errorf("%+v", again)
	}
	if v := w.book.View("device-7", w.envelope()); len(v.Sums) == 0 {
		t.Errorf("%+v", v)
	}
	for _, c := range []struct {
		name  string
		order therapy.Request
		want  protocol.Code
		why   string
	}{
		{"beyond the envelope", therapy.Request{Verb: device.DeliverBolus, Value: quantity(t, "9 [iU]")}, protocol.BadGateway, "8 U"},
		{"to be held, which an answer cannot be", therapy.Request{Verb: device.DeliverBolus, Value: quantity(t, "7 [iU]")}, protocol.BadGateway, ""},
		{"a rescue", therapy.Request{Verb: device.CancelBolus}, protocol.Content, ""},
		{"confirmed, by whom", therapy.Request{Verb: device.CancelBolus, Confirm: true}, protocol.BadGateway, "not at the bedside"},
	} {
		orders(c.order)
		if a := d.does(get("/orders"), c.want); c.want != protocol.Content && len(a.Payload) > 0 {
			t.Errorf("%s: %q", c.name, a.Payload)
		}
		if c.why != "" {
			w.until(func() bool {
				return strings.Contains(strings.Join(append(w.recorded(event.VerdictGiven), w.recorded(event.AccessRefused)...), "\n"), c.why)
			}, func() string { return fmt.Sprintf("%s: %q", c.name, w.recorded(event.VerdictGiven)) })
		}
	}
	says([]byte("no command"))
	d.does(get("/orders"), protocol.BadGateway)
	says(nil)
	d.does(get("/orders"), protocol.Content)
	// A part of a command is none.
	orders(therapy.Request{Verb: device.DeliverBolus, Value: quantity(t, "1 [iU]")})
	for b, want := range map[protocol.Block]protocol.Code{{Num: 1, SZX: 6}: protocol.BadRequest, {Num: 0, SZX: 0}: protocol.BadGateway} {
		m := get("/orders")
		m.Options = protocol.AppendOption(m.Options, protocol.URIPath, protocol.Option{Number: protocol.Block2, Value: b.Append(nil)})
		d.does(m, want)
	}
	if strings.Contains(strings.Join(w.recorded(event.VerdictGiven), "\n"), "1 [iU]") {
		t.Error("a part was judged")
	}
}

// TestLateCommand: a command whose asking is old is not fresh, and one that no device waits
// for goes nowhere; a report that was answered with one counts as arrived all the same.
func TestLateCommand(t *testing.T) {
	w := newWard(t)
	d := w.device()
	order := therapy.Request{Verb: device.CancelBolus}
	try := func(made, at time.Time) {
		m := post("/orders", "a report")
		d.id++
		m.ID, m.Token = d.id, []byte("t")
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		x := &asked{addr: d.LocalAddr(), datagram: b, at: at, path: "/orders", resource: w.client.policy().calls.at("/orders")}
		x.key[0] = byte(d.id)
		if x.message.Parse(b) != nil || !w.client.first(x) {
			t.Fatal("not taken")
		}
		a := coap.Response(protocol.Changed, 60, order.Append(nil))
		w.client.answer(x, &a, made)
	}
	now := time.Now()
	try(now, now)
	if a := d.wants(protocol.Changed); len(a.Payload) == 0 {
		t.Error("one in time is withheld")
	}
	try(now.Add(-commandFresh), now)
	if a := d.wants(protocol.Changed); len(a.Payload) > 0 {
		t.Error("one that is old")
	}
	w.wants(event.VerdictGiven, "")
	try(now, now.Add(-deviceWaits-time.Second))
	if a := d.wants(protocol.Changed); len(a.Payload) > 0 {
		t.Error("one that nobody waits for")
	}
	w.wants(event.AccessRefused, "does not wait")
}

// TestAlarmsWaitForNothing: while nothing can be recorded, alarms go on.
func TestAlarmsWaitForNothing(t *testing.T) {
	w := newWard(t)
	w.handler = func(*protocol.Message) protocol.Message {
		return coap.Response(protocol.Changed, 0, []byte("to be withheld, and recorded"))
	}
	w.arrive(w.serverKey)
	d := w.device()
	d.does(post("/alarm", "0"), protocol.Changed)
	w.block(true)
	n := 2 * maxReadings
	for i := range n {
		d.ask(post(fmt.Sprintf("/alarm%d", i), "x")) // not declared
		d.ask(post("/alarm", fmt.Sprint(i+1)))
	}
	w.until(func() bool {
		return strings.Contains(strings.Join(w.heard(), "\n"), fmt.Sprintf("/alarm %d", n))
	}, func() string { return fmt.Sprintf("%d", len(w.heard())) })
	w.block(false)
}

// TestRescueInAnAnswer: while nothing can be recorded a rescue of the server reaches the
// device, however many other commands wait for the disk.
func TestRescueInAnAnswer(t *testing.T) {
	w := newWard(t)
	bolus, rescue := therapy.Request{Verb: device.DeliverBolus, Value: quantity(t, "9 [iU]")}, therapy.Request{Verb: device.CancelBolus}
	w.handler = func(m *protocol.Message) protocol.Message {
		if _, ok := m.Options.Get(protocol.URIQuery); ok {
			return coap.Response(protocol.Content, 60, rescue.Append(nil))
		}
		return coap.Response(protocol.Content, 60, bolus.Append(nil))
	}
	w.arrive(w.serverKey)
	d := w.device()
	d.does(get("/settings"), protocol.Content)
	w.block(true)
	for range 2 * maxReadings {
		d.ask(get("/orders"))
	}
	w.until(func() bool { return len(w.client.judged) == maxJudged }, func() string { return fmt.Sprint(len(w.client.judged)) })
	m := get("/orders")
	m.Options = protocol.AppendOption(m.Options, protocol.URIPath, protocol.Option{Number: protocol.URIQuery, Value: []byte("stop")})
	w.until(func() bool {
		d.ask(m)
		for {
			a, ok := d.hears(20 * time.Millisecond)
			if !ok || a.Code == protocol.Content {
				return ok && bytes.Equal(a.Payload, rescue.Append(nil))
			}
		}
	}, func() string { return "no rescue" })
	w.block(false)
}

// TestClientBlocks: what is larger than one message goes in blocks, on each side by itself.
func TestClientBlocks(t *testing.T) {
	w := newWard(t)
	large := bytes.Repeat([]byte("settings "), 400)
	w.handler = func(m *protocol.Message) protocol.Message {
		if m.Code == protocol.POST {
			return protocol.Message{Code: protocol.Changed}
		}
		return coap.Response(protocol.Content, 60, large)
	}
	w.arrive(w.serverKey)
	d := w.device()
	do := func(m protocol.Message) protocol.Message {
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		x, err := oscore.NewTransfer(b, 5, []byte("1"), 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		for {
			next, err := x.Next(nil)
			if err != nil {
				t.Fatal(err)
			}
			var q, a protocol.Message
			if q.Parse(next) != nil {
				t.Fatal("not a message")
			}
			d.ask(q)
			a, ok := d.hears(10 * time.Second)
			if !ok {
				t.Fatal("no answer")
			}
			a.Token = nil
			b, err := a.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			whole, done, err := x.Receive(b)
			if err != nil {
				t.Fatal(err)
			}
			if done {
				if a.Parse(whole) != nil {
					t.Fatal("not a message")
				}
				return a
			}
		}
	}
	if a := do(post("/telemetry", string(large))); a.Code != protocol.Changed {
		t.Errorf("%v", a.Code)
	}
	w.hears("0.02 /telemetry " + string(large))
	if a := do(get("/settings")); a.Code != protocol.Content || !bytes.Equal(a.Payload, large) {
		t.Errorf("%v, %d bytes", a.Code, len(a.Payload))
	}
	// A block that follows nothing: the device is told, and people have it.
	stray := post("/telemetry", "the end of something")
	stray.Options = protocol.AppendOption(stray.Options, protocol.ContentFormat, protocol.Option{Number: protocol.Block1, Value: protocol.Block{Num: 7, SZX: 5}.Append(nil)})
	d.does(stray, protocol.RequestEntityIncomplete)
	w.until(func() bool { return strings.Contains(strings.Join(w.heard(), "\n"), "the end of something") }, func() string { return "it is nowhere" })
}

// TestClientBounds: readings beyond what may be under way are answered with that, and
// what is remembered of the device is bounded.
func TestClientBounds(t *testing.T) {
	w := newSlowWard(t, 10*time.Second)
	d := w.device()
	for range maxReadings {
		d.ask(get("/settings"))
	}
	w.until(func() bool { return len(w.client.reads) == maxReadings }, func() string { return fmt.Sprint(len(w.client.reads)) })
	d.does(get("/settings"), protocol.ServiceUnavailable)
	for range 2 * maxAnswered {
		d.does(get("/settings"), protocol.ServiceUnavailable)
	}
	w.client.mu.Lock()
	n := len(w.client.asked)
	w.client.mu.Unlock()
	if n > maxAnswered+maxReadings+1 {
		t.Errorf("%d requests are remembered", n)
	}
}

// TestKept holds what is kept at its edges: the oldest measurement goes first, alarms last.
func TestKept(t *testing.T) {
	k := newKept()
	put := func(l lane, size int) (dropped []uint64) {
		for _, r := range k.put(&report{lane: l, message: protocol.Message{Payload: make([]byte, size)}}) {
			dropped = append(dropped, r.number)
		}
		return dropped
	}
	put(alarms, 1)
	for i := range maxKept - 1 {
		if d := put(measurements, 1); d != nil {
			t.Fatalf("%d: %v goes, and there is room", i, d)
		}
	}
	for i := range maxKept - 1 {
		if d := put(alarms, 1); !cmp.Equal(d, []uint64{uint64(i) + 1}) {
			t.Fatalf("%d: %v goes", i, d)
		}
	}
	if d := put(measurements, 1); !cmp.Equal(d, []uint64{2*maxKept - 1}) {
		t.Errorf("%v goes, and not the only measurement", d)
	}
	if d := put(alarms, 1); !cmp.Equal(d, []uint64{0}) {
		t.Errorf("%v goes, and not the oldest alarm", d)
	}
	for !k.empty() {
		k.done(k.first(alarms))
	}
	if k.size != 0 || k.first(alarms) != nil {
		t.Errorf("%d bytes", k.size)
	}
	if put(alarms, 1) != nil || put(measurements, maxKeptBytes-1) != nil || k.size != maxKeptBytes {
		t.Errorf("%d bytes", k.size)
	}
	if d := put(alarms, 1); len(d) != 1 || k.size != 2 {
		t.Errorf("%v goes, %d bytes", d, k.size)
	}
	// One that is not answered holds up no other.
	one := k.first(alarms)
	if two := k.first(alarms); two == one || k.first(alarms) != one {
		t.Error("not in turn")
	}
}

// TestClientUpdate: who is heard and what comes back follow another policy at once; another
// server needs a restart.
func TestClientUpdate(t *testing.T) {
	w := newWard(t)
	w.handler = func(*protocol.Message) protocol.Message { return coap.Response(protocol.Content, 60, []byte{0xa0}) }
	w.arrive(w.serverKey)
	d := w.device()
	d.does(get("/new"), protocol.BadGateway)
	file := filepath.Join(w.dir, "guard.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	k := newKey(t, "")
	w.write("server.key.pub", k.AppendPublic(nil))
	w.write("guard.yaml", bytes.Replace(src, []byte("{path: /telemetry}"), []byte("{path: /new, formats: [60]}"), 1))
	p, err := readPolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Restarts(w.client.policy()) {
		t.Error("another server needs no restart")
	}
	w.client.Update(p)
	d.does(get("/new"), protocol.Content)
	w.write("guard.yaml", bytes.Replace(src, []byte("from: [127.0.0.1]"), []byte("from: [127.0.0.9]"), 1))
	if p, err = readPolicy(file); err != nil {
		t.Fatal(err)
	}
	w.client.Update(p)
	d.ask(get("/settings"))
	if a, ok := d.hears(100 * time.Millisecond); ok {
		t.Errorf("%v", a.Code)
	}
}

// TestLibcoapClient: a real client in clear, libcoap's, reports and asks.
func TestLibcoapClient(t *testing.T) {
	program, err := exec.LookPath("coap-client-notls")
	if err != nil {
		t.Skip("no coap-client-notls (libcoap3-bin)")
	}
	w := newWard(t)
	large := strings.Repeat("0123456789", 250)
	w.handler = func(m *protocol.Message) protocol.Message {
		if m.Code == protocol.GET {
			return coap.Response(protocol.Content, 60, []byte(large))
		}
		return protocol.Message{Code: protocol.Changed}
	}
	w.arrive(w.serverKey)
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, append([]string{"-B", "10"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	run("-m", "post", "-t", "60", "-e", "glucose 120", "coap://"+w.address+"/telemetry")
	w.hears("0.02 /telemetry glucose 120")
	if out := run("-m", "get", "coap://"+w.address+"/settings"); !strings.Contains(out, large) {
		t.Errorf("%q", out)
	}
}
