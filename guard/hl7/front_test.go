// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto/hl7"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(asGuard); dir != "" {
		if err := guardProcess(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// A gatewayPeer plays the pumps' gateway: it keeps what came, and answers as told.
type gatewayPeer struct {
	ln     net.Listener
	answer func(m *hl7.Message, raw []byte) []byte // a block, or nil
	wg     sync.WaitGroup

	mu      sync.Mutex
	got     [][]byte
	conns   map[net.Conn]bool
	arrived chan struct{}
}

func newGateway(t testing.TB) *gatewayPeer {
	t.Helper()
	return listenGateway(t, "127.0.0.1:0")
}

func listenGateway(t testing.TB, addr string) *gatewayPeer {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	g := &gatewayPeer{ln: ln, conns: map[net.Conn]bool{}, arrived: make(chan struct{}, 1<<16), answer: commit("CA")}
	g.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.conns[c] = true
			g.mu.Unlock()
			g.wg.Go(func() { g.serve(c) })
		}
	})
	t.Cleanup(g.stop)
	return g
}

func (g *gatewayPeer) stop() {
	g.ln.Close()
	g.mu.Lock()
	for c := range g.conns {
		c.Close()
	}
	g.mu.Unlock()
	g.wg.Wait()
}

func (g *gatewayPeer) serve(c net.Conn) {
	defer func() {
		c.Close()
		g.mu.Lock()
		delete(g.conns, c)
		g.mu.Unlock()
	}()
	r := blockReader{from: plainSource{c}, raw: c, most: hl7.MaxMessage}
	for {
		raw, msg, _, err := r.next()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.got = append(g.got, bytes.Clone(raw))
		g.arrived <- struct{}{}
		answer := g.answer
		g.mu.Unlock()
		m, err := hl7.Parse(msg)
		if err != nil || answer == nil {
			continue
		}
		if b := answer(&m, raw); b != nil {
			c.Write(b)
		}
	}
}

func (g *gatewayPeer) received() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got
}

var testAnswers = answerer{now: time.Now, next: func() uint64 { return 7 }}

// commit answers with an accept acknowledgement.
func commit(code string) func(*hl7.Message, []byte) []byte {
	return func(m *hl7.Message, _ []byte) []byte {
		h := m.Header()
		return testAnswers.accept(m, &h, code, "")
	}
}

// A bench is a front under test with its peers.
type bench struct {
	t       testing.TB
	ca      *testpeer.Authority
	gateway *gatewayPeer
	ehr     *ehrPeer
	policy  *Policy
	front   *Front
	addr    string
	state   string
	stop    func()

	mu     sync.Mutex
	ledger func() error // in the way of each record; nil: nothing
	asked  []gate.Ask
	events []event.Event
	ask    func(*gate.Ask) *gate.Answer
	told   []reported

	// With a book, the gate decides by envelopes.
	book    *envelope.Book
	devices map[string]gate.Device
	people  []gate.Person
	gate    *gate.Gate
	counted chan struct{} // a token for each report

	clock func() envelope.Reading // nil: the machine's
}

const noradrenalineEnvelope = `envelope: 1
name: noradrenaline, intensive care
version: 3
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
  set-infusion-rate: {min: 0.02 ug/kg/min, max: 1.0 ug/kg/min, confirm: second-person, above: 0.5 ug/kg/min, hold: 5m, takes: 1m}
`

// enveloped has pump-3 and pump-4 judged by the envelope, from the next start on.
func (b *bench) enveloped() {
	b.t.Helper()
	b.stop()
	e, err := envelope.Load("noradrenaline.yaml", []byte(noradrenalineEnvelope))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.book, err = envelope.OpenBook(envelope.Config{Path: filepath.Join(b.state, "doses")}); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.stop(); b.book.Close() })
	d := gate.Device{Therapy: device.DrugInfusion, Envelope: e}
	b.devices = map[string]gate.Device{"pump-3": d, "pump-4": d}
	b.people = []gate.Person{{ID: "MH", Role: envelope.Prescriber}}
	b.start()
}

// An ehrPeer takes application answers on connections of their own.
type ehrPeer struct {
	ln  net.Listener
	got chan []byte
	wg  sync.WaitGroup
}

func newEHR(t testing.TB, ca *testpeer.Authority) *ehrPeer {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "ehr.stada.example")}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &ehrPeer{ln: ln, got: make(chan []byte, 64)}
	e.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.wg.Go(func() {
				defer c.Close()
				r := blockReader{from: plainSource{c}, raw: c, most: hl7.MaxMessage}
				for {
					_, msg, _, err := r.next()
					if err != nil {
						return
					}
					e.got <- bytes.Clone(msg)
					m, err := hl7.Parse(msg)
					if err != nil {
						continue
					}
					h := m.Header()
					c.Write(testAnswers.accept(&m, &h, "CA", ""))
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); e.wg.Wait() })
	return e
}

func newBench(t testing.TB, change func(*Policy)) *bench {
	t.Helper()
	b := &bench{t: t, ca: testpeer.NewAuthority(t), gateway: newGateway(t), state: t.TempDir(), counted: make(chan struct{}, 1024)}
	b.ehr = newEHR(t, b.ca)
	guard := b.ca.Issue(t, "guard.stada.example")
	limits := front.DefaultLimits
	limits.Drain = time.Second
	limits.Rate = 1e6
	limits.PerPeer = 4096
	limits.Connections = 4096
	b.policy = &Policy{
		Settings: front.Settings{
			Name: "gw-icu", Kind: "hl7", Device: "gw-icu", Server: true, Limits: limits,
			Listen: front.Side{Address: "127.0.0.1:0", TLS: &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{guard}, ClientCAs: b.ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
			}},
			Forward: front.Side{Address: b.gateway.ln.Addr().String()},
		},
		Pumps: map[string][]string{"pump-3": {"ACDE48FFFE000303"}, "pump-4": {"AC-DE-48-FF-FE-00-03-04"}},
		Senders: []Sender{
			{Name: "ehr", Party: Party{"CastorEHR", "StAda"}, Certificates: []string{"ehr.stada.example"}, Role: device.Clinician, Messages: []string{"RGV^O15", "ADT^A01"}, Returns: "ehr"},
			{Name: "pharmacy", Party: Party{"Pharma", ""}, Certificates: []string{"pharmacy.stada.example"}, Role: device.Clinician, Messages: []string{"RGV^O15"}},
		},
		AnswerWithin: 5 * time.Second, MessageBytes: 16 << 10, OrderRate: 1e6, OrderBurst: 1e6,
	}
	b.policy.Returns = map[string]Return{"ehr": {
		Settings: front.Settings{
			Name: "gw-icu", Kind: "hl7", Device: "gw-icu", Limits: limits, Listen: front.Side{Address: freeAddress(t)},
			From:    []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			Forward: front.Side{Address: b.ehr.ln.Addr().String(), TLS: &tls.Config{RootCAs: b.ca.Pool(), ServerName: "ehr.stada.example", Certificates: []tls.Certificate{guard}}},
		},
	}}
	if change != nil {
		change(b.policy)
	}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// freeAddress is one at which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := loopback.Free("tcp")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// start starts the front, also once more after stop.
func (b *bench) start() {
	b.t.Helper()
	record := func(e *event.Event) error {
		b.mu.Lock()
		wait := b.ledger
		b.mu.Unlock()
		if wait != nil {
			if err := wait(); err != nil {
				return err
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, *e)
		return nil
	}
	g := gate.New(gate.Config{Record: record, Now: time.Now, Page: "https://guard.icu:8443/", Devices: b.devices, Book: b.book, People: b.people})
	b.gate = g
	env := &front.Env{
		Gate: g, Record: record, Metrics: front.NewMetrics(prometheus.NewRegistry()), Learned: &front.Learned{},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, State: b.state,
	}
	b.front = New(env, b.policy)
	b.front.clock = b.clock
	decided := b.front.ask
	count := b.front.report
	b.front.ask = func(ctx context.Context, a *gate.Ask) *gate.Answer {
		b.mu.Lock()
		b.asked = append(b.asked, *a)
		decide := b.ask
		b.mu.Unlock()
		if decide != nil {
			if d := decide(a); d != nil {
				return d
			}
		}
		if b.book != nil {
			return decided(ctx, a)
		}
		return &gate.Answer{Verdict: device.Allow, Pass: true, Enforced: true}
	}
	b.front.report = func(id string, r *envelope.Report) {
		if b.book != nil {
			count(id, r)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, reported{id, *r})
		b.counted <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.front.Run(ctx) }()
	select {
	case a := <-b.front.listening:
		b.addr = a.String()
	case err := <-done:
		b.t.Fatal(err)
	}
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				b.t.Error(err)
			}
			g.Close()
		})
	}
}

// A client speaks MLLP as a sender does.
type client struct {
	t testing.TB
	net.Conn
	r blockReader
}

func (b *bench) dial(name string) *client {
	b.t.Helper()
	c, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: b.ca.Pool(), ServerName: "guard.stada.example", Certificates: []tls.Certificate{b.ca.Issue(b.t, name)}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return newClient(b.t, c)
}

func newClient(t testing.TB, c net.Conn) *client {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: t, Conn: c, r: blockReader{from: plainSource{c}, raw: nopDeadline{c}, most: hl7.MaxMessage}}
}

// A nopDeadline keeps the deadline of the test.
type nopDeadline struct{ net.Conn }

func (nopDeadline) SetReadDeadline(time.Time) error { return nil }

func (c *client) send(msg string) {
	c.t.Helper()
	if _, err := c.Write(hl7.AppendBlock(nil, []byte(msg))); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next message.
func (c *client) answer() answer {
	c.t.Helper()
	_, msg, _, err := c.r.next()
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return readAnswer(c.t, msg)
}

// closed waits until the other side closes.
func (c *client) closed() {
	c.t.Helper()
	if _, msg, _, err := c.r.next(); err == nil {
		c.t.Fatalf("an answer came: %.40q", msg)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("it did not close")
	}
}

// An answer as a test looks at it.
type answer struct{ kind, code, control, reason string }

func readAnswer(t testing.TB, msg []byte) answer {
	t.Helper()
	m, err := hl7.Parse(msg)
	if err != nil {
		t.Fatal(err)
	}
	if m.Quirks != 0 {
		t.Errorf("an answer with quirks %x", m.Quirks)
	}
	h := m.Header()
	a, _ := m.Answer()
	return answer{
		h.Code.Text() + "^" + h.Trigger.Text(), string(a.Code.Raw()), string(a.ControlID.Raw()),
		m.Segment("ERR").Field(8).Text(),
	}
}

func (b *bench) returned() answer {
	b.t.Helper()
	select {
	case msg := <-b.ehr.got:
		return readAnswer(b.t, msg)
	case <-time.After(20 * time.Second):
		b.t.Fatal("no answer on the way back")
	}
	return answer{}
}

// An orderText makes an order of PCD-03, the titration of WARD.md unless changed.
type orderText struct {
	app, control, accept, application string
	orc, rate, unit                   string
	pump                              string
	weight, strength                  bool
}

func noradrenaline(control, rate string) orderText {
	return orderText{
		"CastorEHR", control, "AL", "AL", "XO^", rate, "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM",
		"ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64", true, true,
	}
}

func (o orderText) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "MSH|^~\\&|%s^ACDE48FFFE000105^EUI-64|StAda|FlowLink^ACDE48FFFE000310^EUI-64|StAda|20260303070914+0100||RGV^O15^RGV_O15|%s|P|2.6|||%s|%s|||||IHE_PCD_003^IHE PCD^1.3.6.1.4.1.19376.1.6.1.3.1^ISO\r", o.app, o.control, o.accept, o.application)
	b.WriteString("PID|||ADA-1^^^StAda^MR||Petrov^Dana^^^^^L\rPV1||I|ICU^3^3\r")
	fmt.Fprintf(&b, "ORC|%s|RX-77120^CastorEHR\r", strings.TrimSuffix(o.orc, "^"))
	fmt.Fprintf(&b, "RXG|1|||3628^Noradrenaline^RXNORM|||||||||||%s|%s", o.rate, o.unit)
	if o.strength {
		b.WriteString("|4|263890^MDC_DIM_MILLI_G^MDC^mg^mg^UCUM|||||50|263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM")
	}
	b.WriteString("\rRXR|^IV^HL70162||^SYR^HL70164\r")
	fmt.Fprintf(&b, "OBX|1||69986^MDC_DEV_PUMP_INFUS_VMD^MDC||||||||X|||||||%s\r", o.pump)
	if o.weight {
		b.WriteString("OBX|2|NM|68063^MDC_ATTR_PT_WEIGHT^MDC||70|263875^MDC_DIM_KILO_G^MDC^kg^kg^UCUM|||||F\r")
	}
	return b.String()
}

func TestRelay(t *testing.T) {
	b := newBench(t, nil)
	c := b.dial("ehr.stada.example")
	for i := range 3 {
		order := noradrenaline(fmt.Sprintf("RGV-%d", i), "0.2").String()
		c.send(order)
		if got, want := c.answer(), (answer{"ACK^O15", "CA", fmt.Sprintf("RGV-%d", i), ""}); got != want {
			t.Fatalf("answer %v, want %v", got, want)
		}
		if got := b.gateway.received(); len(got) != i+1 || !bytes.Equal(got[i], hl7.AppendBlock(nil, []byte(order))) {
			t.Fatalf("the gateway has %d messages, not what was sent", len(got))
		}
	}
	if len(b.asked) != 3 {
		t.Fatalf("%d asked", len(b.asked))
	}
	a := b.asked[0]
	r := a.Request
	if a.Device != "pump-3" || a.Actor != "ehr" || r.Command.Verb != device.SetInfusionRate || r.Command.Value.String() != "0.2 ug/kg/min" ||
		r.Weight.String() != "70 kg" || r.Concentration.String() != "0.08 mg/mL" || r.Undecided != "" || r.Replayed ||
		r.Command.Channel != device.Encrypted|device.Authenticated|device.Fresh || r.Command.Role != device.Clinician {
		t.Errorf("asked %+v", a)
	}
}
