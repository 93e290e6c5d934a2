// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/sim/legacy"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(guardVariable); file != "" {
		runGuard(file)
		return
	}
	goleak.VerifyTestMain(m)
}

// A plant is what a test guards, and how.
type plant struct {
	model   string // of sim/legacy
	inside  string // lines of guard.yaml
	secret  bool
	carrier string // udp or tcp
	verbs   string // of the envelope; "" is one without
	therapy string
	more    string // lines of the front
}

var classic = plant{
	model: "dose-classic", inside: "{carrier: udp, dialect: okapi-classic, address: 0x3b1f06, rate: basal, secret: secret, topology: sole-path, answer-within: 500ms}",
	secret: true, carrier: "udp", therapy: "insulin infusion", verbs: `
sums:
  unit: U
  windows:
    - {window: 4h, highest: 12 U}
verbs:
  deliver-bolus: {max: 8 U, roles: [clinician, patient], confirm: second-person, above: 6 U, takes: 10m}
  set-temporary-basal: {max: 3 U/h, longest: 12 h}
  suspend: {longest: 2 h, roles: [clinician, patient]}
  resume: {roles: [clinician, patient]}
  cancel-bolus: {}
  wake: {roles: [clinician, patient]}
emergency: {verbs: [read-settings, read-telemetry, suspend, cancel-bolus]}
`,
}

var mics = plant{
	model: "rhythm-s", inside: "{carrier: tcp, dialect: halden-mics, address: 0x5e2b90d4, own-address: 7, secret: secret, topology: sole-path, answer-within: 500ms}",
	secret: true, carrier: "tcp", therapy: "[pacing, defibrillation]", verbs: `
verbs:
  set-output: {min: 1 V, max: 5 V}
  set-pacing-rate: {min: "50 {pulses}/min", max: "110 {pulses}/min"}
emergency: {verbs: [read-settings, read-telemetry, emergency-preset]}
`,
}

const envelopeHead = `envelope: 1
name: test
version: 3
author: {id: MH, role: prescriber}
approver: {id: JR, role: nurse}
risk: {record: RM-2026-014, manufacturer: no objection}
enforce: true
`

// A world is a front with its device, a clinic that issues tokens, and what was recorded.
type world struct {
	t         testing.TB
	plant     plant
	dir       string
	authority *cwt.Authority
	trust     cwt.Trust
	approvers []cose.Key
	holders   map[string]cose.Key
	guardKey  cose.Key
	address   string // of the front
	device    legacy.Device
	secret    []byte

	front *Front
	gate  *gate.Gate
	book  *envelope.Book
	end   context.CancelFunc
	ended chan error

	mu     sync.Mutex // guards what follows
	events []event.Event
	late   time.Duration // of the clock
	disk   sync.Mutex    // held: recording waits
}

var roles = map[string]device.Role{
	"nurse": device.Clinician, "patient": device.Patient, "technician": device.Technician, "ambulance": device.Emergency, "second": device.Emergency,
}

func newKey(t testing.TB, id string) cose.Key {
	t.Helper()
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if k.ID = []byte(id); id == "" {
		sum := k.Thumbprint()
		k.ID = sum[:8]
	}
	return k
}

func signer(t testing.TB, k cose.Key) cose.Signer {
	t.Helper()
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) write(name string, b []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func newWorld(t testing.TB, p plant) *world {
	t.Helper()
	return newWorldWith(t, p, func(*world) {})
}

// newWorldWith makes one, and does something before the front starts.
func newWorldWith(t testing.TB, p plant, before func(*world)) *world {
	t.Helper()
	w := &world{t: t, plant: p, dir: t.TempDir(), holders: map[string]cose.Key{}}
	root := newKey(t, "clinic")
	w.authority = &cwt.Authority{Name: "clinic.example", KID: root.ID, Signer: signer(t, root), Random: rand.Reader}
	w.trust = cwt.Trust{Name: w.authority.Name, Key: hex.EncodeToString(root.AppendPublic(nil)), Approvers: map[string]string{}}
	for _, name := range []string{"mh", "jr"} {
		k := newKey(t, name)
		w.approvers = append(w.approvers, k)
		w.trust.Approvers[name] = hex.EncodeToString(k.AppendPublic(nil))
	}
	for name, role := range roles {
		k := newKey(t, "")
		w.holders[name] = k
		if err := w.authority.Enrol(cwt.Holder{Subject: name, Role: role, Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(w.trust)
	if err != nil {
		t.Fatal(err)
	}
	w.write("trust.json", b)
	w.guardKey = newKey(t, "")
	w.write("guard.key", w.guardKey.AppendSecret(nil))
	w.secret = make([]byte, secretBytes)
	rand.Read(w.secret)
	w.write("secret", []byte(hex.EncodeToString(w.secret)+"\n"))
	w.plug()
	before(w)
	w.start()
	t.Cleanup(w.stop)
	return w
}

// free is an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.LocalAddr().String()
}

// plug makes the device.
func (w *world) plug() {
	w.t.Helper()
	cfg := legacy.Config{}
	if w.plant.secret {
		cfg.Secret = w.secret
	}
	d, err := legacy.New(w.plant.model, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.device = d
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var inside string
	if w.plant.carrier == "udp" {
		s, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		inside = s.LocalAddr().String()
		go func() { defer close(done); _ = d.Serve(ctx, s) }()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		inside = l.Addr().String()
		go func() { defer close(done); _ = legacy.ServeListener(ctx, l, d) }()
	}
	w.t.Cleanup(func() { cancel(); <-done })
	w.address = free(w.t)
	w.forward(inside)
	w.write("envelope.yaml", []byte(envelopeHead+"therapy: "+w.plant.therapy+"\n"+w.plant.verbs))
}

// forward writes guard.yaml for a device at an address.
func (w *world) forward(inside string) {
	w.t.Helper()
	w.write("guard.yaml", fmt.Appendf(nil, `guard: 1
front:
  name: radio
  kind: coap
  device: device-7
  protects: server
  listen: %s
  forward: %s
  bypass: the programmer's own wand
  key: guard.key
  trust: [trust.json]
  inside: %s
%s`, w.address, inside, w.plant.inside, w.plant.more))
}

func (w *world) envelope() *envelope.Envelope {
	w.t.Helper()
	src, err := os.ReadFile(filepath.Join(w.dir, "envelope.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := envelope.Load("envelope.yaml", src)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

var guardFormat = strictyaml.Format{Name: "guard configuration", Marker: "guard: 1"}

func readPolicy(file string) (*Policy, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := strictyaml.New(filepath.Base(file), guardFormat)
	s := r.Section(r.Document(src), "the file", "guard", "front")
	p := Read(r, r.Section(s.Get("front"), "front", slices.Concat(front.Keys, Keys)...), filepath.Dir(file))
	return p, r.Err()
}

// guard is a front with its gate, of the files in a folder.
func guard(dir string, therapies device.Therapy, env *front.Env) (*Front, *gate.Gate, *envelope.Book, error) {
	p, err := readPolicy(filepath.Join(dir, "guard.yaml"))
	if err != nil {
		return nil, nil, nil, err
	}
	src, err := os.ReadFile(filepath.Join(dir, "envelope.yaml"))
	if err != nil {
		return nil, nil, nil, err
	}
	e, err := envelope.Load("envelope.yaml", src)
	if err != nil {
		return nil, nil, nil, err
	}
	var g *gate.Gate
	b, err := envelope.OpenBook(envelope.Config{Path: filepath.Join(dir, "doses"), Tell: func(n envelope.Notice) {
		if g != nil {
			g.Notice(n)
		}
	}})
	if err != nil {
		return nil, nil, nil, err
	}
	g = gate.New(gate.Config{
		Devices: map[string]gate.Device{"device-7": {Therapy: therapies, Envelope: e}},
		Book:    b, Record: env.Record, Now: env.Now, Log: env.Log,
		People: []gate.Person{{ID: "JR", Role: envelope.Nurse}},
	})
	env.Gate, env.Metrics, env.Learned, env.State = g, front.NewMetrics(prometheus.NewRegistry()), new(front.Learned), filepath.Join(dir, "state")
	return newFront(env, p), g, b, nil
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.late)
}

// later moves the front's clock.
func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late += d
}

// block lets recording wait, or go on.
func (w *world) block(on bool) {
	if on {
		w.disk.Lock()
	} else {
		w.disk.Unlock()
	}
}

func (w *world) record(e *event.Event) error {
	w.disk.Lock()
	defer w.disk.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, *e)
	return nil
}

func (w *world) start() {
	w.t.Helper()
	env := &front.Env{Record: w.record, Log: slog.New(slog.DiscardHandler), Now: w.now}
	var err error
	if w.front, w.gate, w.book, err = guard(w.dir, device.NoTherapy, env); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.end, w.ended = cancel, make(chan error, 1)
	go func() { w.ended <- w.front.Run(ctx) }()
	w.until(w.front.Ready, func() string { return "the front does not start" })
}

func (w *world) stop() {
	w.t.Helper()
	if w.front == nil {
		return
	}
	defer func() { w.front = nil }()
	w.end()
	if err := <-w.ended; err != nil {
		w.t.Error(err)
	}
	w.gate.Close()
	if err := w.book.Close(); err != nil {
		w.t.Error(err)
	}
}

// recorded returns the reasons of the events of a kind.
func (w *world) recorded(k event.Kind) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.events {
		if e := &w.events[i]; e.Kind == k {
			all = append(all, strings.Join(strings.Fields(fmt.Sprint(e.Text(event.Operation), " ", device.Verb(e.Int(event.Verb)), " ", device.Verdict(e.Int(event.Verdict)), " ", e.Text(event.Reason))), " "))
		}
	}
	return all
}

// wants waits until an event of a kind has some words.
func (w *world) wants(k event.Kind, words string) {
	w.t.Helper()
	w.until(func() bool {
		return slices.ContainsFunc(w.recorded(k), func(s string) bool { return strings.Contains(s, words) })
	}, func() string { return fmt.Sprintf("no %v with %q: %q", k, words, w.recorded(k)) })
}

// until waits for something that others do.
func (w *world) until(ok func() bool, what func() string) {
	w.t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			w.t.Fatal(what())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func grants(t testing.TB, p plant) []cwt.VerbGrant {
	t.Helper()
	all := []cwt.VerbGrant{{Verb: device.ReadSettings}, {Verb: device.ReadTelemetry}, {Verb: device.Wake}}
	if strings.Contains(p.therapy, "insulin") {
		return append(all, cwt.VerbGrant{Verb: device.DeliverBolus, Limits: cwt.Limits{Highest: quantity(t, "25 [iU]")}},
			cwt.VerbGrant{Verb: device.SetTemporaryBasal, Limits: cwt.Limits{Highest: quantity(t, "5 [iU]/h")}},
			cwt.VerbGrant{Verb: device.Resume})
	}
	return append(all, cwt.VerbGrant{Verb: device.SetOutput, Limits: cwt.Limits{Highest: quantity(t, "7 V"), Lowest: quantity(t, "0.5 V")}}, cwt.VerbGrant{Verb: device.SetTherapies})
}

func quantity(t testing.TB, s string) (q device.Quantity) {
	t.Helper()
	if s == "" {
		return q
	}
	q, err := device.ParseQuantity(s)
	if err != nil {
		t.Fatal(err)
	}
	if q.Unit == device.NoUnit {
		q.Unit, _ = device.UnitOfUCUM("1")
	}
	return q
}

// token issues one, for a break-glass window of half an hour when the role is so.
func (w *world) token(name string, verbs ...device.Verb) []byte {
	w.t.Helper()
	all := grants(w.t, w.plant)
	if roles[name] == device.Emergency || roles[name] == device.Technician || verbs != nil {
		if verbs == nil {
			verbs = []device.Verb{device.ReadSettings, device.ReadTelemetry}
		}
		all = slices.DeleteFunc(all, func(g cwt.VerbGrant) bool { return !slices.Contains(verbs, g.Verb) })
	}
	now := time.Now().Unix()
	terms := &cwt.Terms{Audience: "device-7", Verbs: all, IssuedAt: now, NotBefore: now - 60, Expires: now + 24*3600}
	if roles[name] != device.Emergency {
		b, err := w.authority.Issue(name, terms)
		if err != nil {
			w.t.Fatal(err)
		}
		return b
	}
	terms.Emergency = &cwt.Emergency{Need: 2, Window: 1800}
	request, err := w.authority.Request(name, terms)
	if err != nil {
		w.t.Fatal(err)
	}
	var approvals [][]byte
	for _, k := range w.approvers {
		a, err := cwt.Approve(request, signer(w.t, k), k.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		approvals = append(approvals, a)
	}
	anchors, err := w.trust.Anchors()
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := w.authority.IssueEmergency(request, approvals, &cwt.Verifier{Anchors: anchors})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// A station is somebody's programmer.
type station struct {
	*world
	e *coap.Endpoint
	c *coap.Conn
	s *coap.Session
}

// through connects by another address than the front's, as by somebody in between.
func (w *world) through(address string, key cose.Key) (*station, error) {
	w.t.Helper()
	public := key.Public()
	public.ID = nil
	cred, err := edhoc.NewCCS(public, "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := key.PrivateECDH()
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := edhoc.NewStaticDH(private, cred)
	if err != nil {
		w.t.Fatal(err)
	}
	guard := w.guardKey.Public()
	id := guard.ID
	guard.ID = nil
	peer, err := edhoc.NewCCS(guard, "", id)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := coap.New(coap.Config{AckTimeout: 300 * time.Millisecond, EDHOC: &edhoc.Config{
		Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{a}, Peers: edhoc.Only(peer),
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { e.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := e.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	s, err := c.Handshake(ctx)
	return &station{w, e, c, s}, err
}

// connect shakes hands and shows a token.
func (w *world) connect(name string) *station {
	w.t.Helper()
	s, err := w.through(w.address, w.holders[name])
	if err != nil {
		w.t.Fatal(err)
	}
	s.post(w.token(name), protocol.Created)
	return s
}

func (s *station) post(token []byte, want protocol.Code) {
	s.t.Helper()
	if m := s.do(coap.Request(protocol.POST, "/authz-info", 61, token)); m.Code != want {
		s.t.Fatalf("the token: %v, not %v: %q", m.Code, want, s.recorded(event.AccessRefused))
	}
}

func (s *station) do(m protocol.Message) protocol.Message {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := s.c.Do(ctx, s.s, m)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// order asks for a command, and returns what is answered.
func (s *station) order(want protocol.Code, verb device.Verb, value, limit string) string {
	s.t.Helper()
	r := therapy.Request{Verb: verb, Value: quantity(s.t, value), Limit: quantity(s.t, limit)}
	m := s.do(coap.Request(protocol.POST, "/therapy", 60, r.Append(nil)))
	text, err := therapy.Text(m.Payload)
	if m.Code != want {
		s.t.Fatalf("%v %s %s: %v, not %v: %s (%v)", verb, value, limit, m.Code, want, text, err)
	}
	return text
}

func (s *station) get(path string) string {
	s.t.Helper()
	m := s.do(coap.Request(protocol.GET, path, 0, nil))
	text, err := therapy.Text(m.Payload)
	if err != nil || m.Code != protocol.Content {
		s.t.Fatalf("%s: %v %q %v", path, m.Code, m.Payload, err)
	}
	return text
}

func (w *world) pump() legacy.PumpState { return w.device.State().(legacy.PumpState) }

func TestRelay(t *testing.T) {
	w := newWorld(t, classic)
	nurse := w.connect("nurse")
	nurse.order(protocol.Changed, device.DeliverBolus, "2 [iU]", "")
	if s := w.pump(); s.Boluses != 1 || s.Ordered != 2000 {
		t.Fatalf("%+v", s)
	}
	if s := nurse.get("/therapy"); !strings.Contains(s, "reservoir: 15") {
		t.Error(s)
	}
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
	if s := w.pump(); s.BolusLeft != 0 {
		t.Fatalf("%+v", s)
	}
}
