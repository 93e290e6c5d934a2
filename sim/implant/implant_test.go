// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/journal"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/proto/coap"
)

// A world has one device, a clinic that issues tokens, and a clock.
type world struct {
	*Implant
	t         testing.TB
	cfg       Config
	authority *cwt.Authority
	approvers []cose.Key
	holders   map[string]cose.Key
	channel
	ticking  sync.Mutex // for writes of what follows, and reads by the device
	boot     time.Time  // when it started last
	now      time.Time
	blind    bool // it does not know the time
	contexts byte
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

var roles = map[string]device.Role{
	"nurse": device.Clinician, "patient": device.Patient, "carer": device.Carer, "technician": device.Technician,
	"ambulance": device.Emergency, "maker": device.Updater, "loop": device.Controller,
}

func newKey(t testing.TB, id string) cose.Key {
	t.Helper()
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.ID = []byte(id)
	return k
}

func newSigner(t testing.TB, k cose.Key) cose.Signer {
	t.Helper()
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWorld(t testing.TB, kind Kind) *world {
	t.Helper()
	w := &world{t: t, holders: map[string]cose.Key{}, boot: noon, now: noon}
	root := newKey(t, "clinic")
	w.authority = &cwt.Authority{Name: "clinic.example", KID: root.ID, Signer: newSigner(t, root), Random: rand.Reader}
	anchors := []cwt.Anchor{{
		Name: w.authority.Name, Key: root.Public(), Uses: cwt.Issues | cwt.Emergencies | cwt.Revokes | cwt.TellsTime,
		Roles: []device.Role{
			device.Patient, device.Carer, device.Clinician, device.Technician, device.Emergency, device.Updater, device.Controller,
		},
	}}
	for _, name := range []string{"anna", "bert"} {
		k := newKey(t, name)
		w.approvers = append(w.approvers, k)
		anchors = append(anchors, cwt.Anchor{Name: name, Key: k.Public(), Uses: cwt.Approves})
	}
	for name, role := range roles {
		k := newKey(t, name)
		w.holders[name] = k
		if err := w.authority.Enrol(cwt.Holder{Subject: name, Role: role, Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	w.cfg = Config{
		Kind: kind, ID: "device-7", Journal: filepath.Join(t.TempDir(), "journal"), Anchors: anchors,
		Clock: func() (time.Duration, int64) {
			w.ticking.Lock()
			defer w.ticking.Unlock()
			if w.blind {
				return w.now.Sub(w.boot), 0
			}
			return w.now.Sub(w.boot), w.now.Unix()
		},
	}
	w.w = w
	w.start()
	t.Cleanup(func() { w.Implant.Close() })
	return w
}

func (w *world) start() {
	w.t.Helper()
	i, err := Open(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Implant = i
	w.restart()
}

func (w *world) journalSize() int64 {
	w.t.Helper()
	info, err := os.Stat(w.cfg.Journal)
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Size()
}

// kill is kill -9 and, a minute later, a new start: nothing is closed in order.
func (w *world) kill() {
	w.t.Helper()
	w.journal.Close()
	w.wait(time.Minute)
	w.boot = w.now
	w.start()
}

func (w *world) wait(d time.Duration) {
	w.ticking.Lock()
	defer w.ticking.Unlock()
	w.now = w.now.Add(d)
}

func q(t testing.TB, s string) device.Quantity {
	t.Helper()
	if s == "" {
		return device.Quantity{}
	}
	q, err := device.ParseQuantity(s)
	if err != nil {
		t.Fatal(s, err)
	}
	return q
}

// grants are what the clinic gives to each role here.
func grants(t testing.TB, role device.Role) []cwt.VerbGrant {
	reads := []cwt.VerbGrant{{Verb: device.ReadSettings}, {Verb: device.ReadTelemetry}}
	switch role {
	case device.Clinician:
		for _, v := range []device.Verb{
			device.DeliverBolus, device.SetBasalRate, device.SetTemporaryBasal, device.CancelTemporaryBasal, device.Suspend, device.Resume,
			device.SetProfile, device.Prime, device.SetPacingMode, device.SetPacingRate, device.SetOutput, device.SetSensitivity,
			device.SetDetection, device.SetTherapies, device.SetAmplitude, device.SelectProgram, device.Calibrate, device.StimulationOff,
		} {
			reads = append(reads, cwt.VerbGrant{Verb: v})
		}
	case device.Patient, device.Carer:
		reads = append(
			reads,
			cwt.VerbGrant{Verb: device.DeliverBolus, Limits: cwt.Limits{Highest: q(t, "3 [iU]"), Sum: q(t, "8 [iU]"), Window: 4 * time.Hour}},
			cwt.VerbGrant{Verb: device.SetAmplitude, Limits: cwt.Limits{Highest: q(t, "3 mA"), Lowest: q(t, "1 mA")}},
			cwt.VerbGrant{Verb: device.Resume},
		)
	case device.Emergency:
		reads = append(reads, cwt.VerbGrant{Verb: device.Suspend}, cwt.VerbGrant{Verb: device.Resume})
	}
	return reads
}

func (w *world) token(name, audience string) []byte {
	w.t.Helper()
	role := roles[name]
	terms := &cwt.Terms{
		Audience: audience, Verbs: grants(w.t, role), IssuedAt: noon.Unix(), NotBefore: noon.Unix() - 3600, Expires: noon.Unix() + 48*3600,
	}
	if role != device.Emergency {
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
		a, err := cwt.Approve(request, newSigner(w.t, k), k.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		approvals = append(approvals, a)
	}
	b, err := w.authority.IssueEmergency(request, approvals, &cwt.Verifier{Anchors: w.cfg.Anchors})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// A station is a programmer, phone or monitor with a session.
type station struct {
	*world
	actor   string
	ctx     *oscore.Context
	message uint16
	sent    [][]byte // all datagrams, as somebody in between has them
	x       oscore.Exchange
}

// meet opens a session as one of the holders, without a token.
func (w *world) meet(name string) *station {
	w.t.Helper()
	w.contexts++
	secret := make([]byte, 16)
	rand.Read(secret)
	mine, its := []byte{0x80 + w.contexts}, []byte{0x20, w.contexts}
	ctx, err := oscore.New(oscore.Params{MasterSecret: secret, SenderID: mine, RecipientID: its})
	if err != nil {
		w.t.Fatal(err)
	}
	key := w.holders[name]
	w.open(key.Public(), oscore.Params{MasterSecret: secret, SenderID: its, RecipientID: mine})
	return &station{world: w, actor: actorOf(&key), ctx: ctx}
}

// connect opens a session and posts a token.
func (w *world) connect(name string) *station {
	w.t.Helper()
	s := w.meet(name)
	s.post(w.token(name, w.cfg.ID), coap.Created)
	return s
}

func (s *station) post(token []byte, want coap.Code) {
	s.t.Helper()
	if m := s.ask(coap.POST, "authz-info", token); m.Code != want {
		s.t.Fatalf("token: %v, want %v\n%s", m.Code, want, strings.Join(s.Log(), "\n"))
	}
}

func (s *station) request(code coap.Code, path string, payload []byte, options ...coap.Option) []byte {
	s.t.Helper()
	s.message++
	m := coap.Message{Code: code, ID: s.message, Token: []byte{1, byte(s.message)}}
	all := options
	for _, p := range strings.Split(path, "/") {
		name, query, ok := strings.Cut(p, "?")
		all = append(all, coap.Option{Number: coap.URIPath, Value: []byte(name)})
		if ok {
			all = append(all, coap.Option{Number: coap.URIQuery, Value: []byte(query)})
		}
	}
	slices.SortStableFunc(all, func(a, b coap.Option) int { return int(a.Number) - int(b.Number) })
	last := coap.OptionNumber(0)
	for _, o := range all {
		m.Options = coap.AppendOption(m.Options, last, o)
		last = o.Number
	}
	if len(payload) > 0 {
		m.Payload = payload
	}
	b, err := m.Append(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// protect makes the datagram of a request.
func (s *station) protect(request []byte) []byte {
	s.t.Helper()
	b, err := s.ctx.ProtectRequest(nil, request, &s.x)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sent = append(s.sent, b)
	return b
}

// take reads an answer; one that is not protected has only its code.
func (s *station) take(b []byte) coap.Message {
	s.t.Helper()
	var m coap.Message
	if err := m.Parse(b); err != nil {
		s.t.Fatal(err)
	}
	if _, ok := m.Options.Get(coap.OSCOREOption); !ok {
		return m
	}
	plain, err := s.ctx.UnprotectResponse(nil, b, &s.x)
	if err != nil {
		s.t.Fatal(err)
	}
	m = coap.Message{}
	if err := m.Parse(plain); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// ask asks, and answers a challenge once.
func (s *station) ask(code coap.Code, path string, payload []byte, options ...coap.Option) coap.Message {
	s.t.Helper()
	return s.askAgain(s.request(code, path, payload, options...))
}

func (s *station) askAgain(request []byte) coap.Message {
	s.t.Helper()
	m := s.take(s.receive(s.protect(request)))
	for range 2 {
		echo, ok := m.Options.Get(coap.Echo)
		if m.Code != coap.Unauthorized || !ok {
			break
		}
		again, err := oscore.AppendWithEcho(nil, request, echo.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		m = s.take(s.receive(s.protect(again)))
	}
	return m
}

func command(t testing.TB, verb device.Verb, value, limit string) []byte {
	return (&therapy.Request{Verb: verb, Value: q(t, value), Limit: q(t, limit)}).Append(nil)
}

// order posts a command and says what came of it.
func (s *station) order(want coap.Code, verb device.Verb, value, limit string) {
	s.t.Helper()
	m := s.ask(coap.POST, "therapy", command(s.t, verb, value, limit))
	if m.Code != want {
		s.t.Fatalf("%v %s %s: %v %s, want %v", verb, value, limit, m.Code, textOr(m.Payload), want)
	}
}

func textOr(b []byte) string {
	s, err := therapy.Text(b)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", ", ")
}

// has checks that the device's state has lines.
func (w *world) has(lines ...string) {
	w.t.Helper()
	state := "\n" + w.State()
	for _, l := range lines {
		if !strings.Contains(state, "\n"+l+"\n") {
			w.t.Fatalf("no %q in\n%s", l, state)
		}
	}
}

// logged checks that one entry of the log has all parts.
func (w *world) logged(parts ...string) {
	w.t.Helper()
	for _, l := range w.Log() {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(l, p) }) {
			return
		}
	}
	w.t.Fatalf("no %q in\n%s", parts, strings.Join(w.Log(), "\n"))
}

// accepted counts the commands that were.
func (w *world) accepted() (n int) {
	for _, l := range w.Log() {
		if strings.Contains(l, "event command") && strings.Contains(l, "verdict accepted") {
			n++
		}
	}
	return n
}

func TestBolus(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.DeliverBolus, "4 [iU]", "")
	w.has("bolus: 4.000 [iU]", "bolus-left: 4.000 [iU]")
	w.wait(time.Minute)
	w.has("bolus-left: 2.500 [iU]") // 1.5 U/min
	w.wait(2 * time.Minute)
	if err := w.Tick(); err != nil {
		t.Fatal(err)
	}
	// Three minutes of 0.8 U/h are 0.04 U.
	w.has("delivered: 4.040 [iU]", "reservoir: 295.960 [iU]", "in-doubt: 0.000 [iU]")
	w.logged("actor "+nurse.actor, "role clinician", "verb deliver-bolus", "value 4 [iU]", "verdict accepted", "why increases")
	w.logged("bolus delivered: 4.000 [iU]")

	patient := w.connect("patient")
	patient.order(coap.Forbidden, device.DeliverBolus, "3.5 [iU]", "")
	w.logged("actor "+patient.actor, "role patient", "value 3.5 [iU]", "verdict refused", "beyond a limit that was granted")
	patient.order(coap.Changed, device.DeliverBolus, "3 [iU]", "")
	w.wait(5 * time.Minute)
	patient.order(coap.Forbidden, device.DeliverBolus, "2.5 [iU]", "") // with the nurse's 4 U more than 8 U in four hours
	nurse.order(coap.UnprocessableEntity, device.DeliverBolus, "25.025 [iU]", "")
	w.logged("verb deliver-bolus", "beyond a hard limit of the device")
	for _, role := range []string{"carer", "technician", "maker"} {
		s := w.connect(role)
		if role != "carer" {
			s.order(coap.Forbidden, device.DeliverBolus, "1 [iU]", "")
		}
	}
	w.meet("nurse").order(coap.Unauthorized, device.DeliverBolus, "1 [iU]", "") // without a token
	w.has("delivered: 7.106 [iU]")
}

// TestBasal: a day of each profile, exact to the thousandth, however the clock is asked.
func TestBasal(t *testing.T) {
	for _, step := range []time.Duration{24 * time.Hour, 17 * time.Minute, 61*time.Second + 7*time.Millisecond} {
		w := newWorld(t, Pump)
		nurse := w.connect("nurse")
		nurse.order(coap.Changed, device.SetProfile, "3 1", "")
		end := w.now.Add(24 * time.Hour)
		for w.now.Before(end) {
			w.wait(min(step, end.Sub(w.now)))
			if err := w.Tick(); err != nil {
				t.Fatal(err)
			}
		}
		w.has("delivered: 20.700 [iU]") // 19 x 0.8 + 5 x 1.1
	}
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.SetTemporaryBasal, "1.6 [iU]/h", "30 min")
	w.wait(15 * time.Minute)
	w.has("basal-rate: 1.600 [iU]/h", "temporary-left: 900 s", "delivered: 0.400 [iU]")
	w.wait(45 * time.Minute)
	w.has("basal-rate: 0.800 [iU]/h", "delivered: 1.200 [iU]")
	nurse.order(coap.UnprocessableEntity, device.SetTemporaryBasal, "1 [iU]/h", "")
	nurse.order(coap.UnprocessableEntity, device.SetTemporaryBasal, "1 [iU]/h", "25 h")
	nurse.order(coap.UnprocessableEntity, device.SetBasalRate, "0.01 [iU]/h", "") // no such step
	nurse.order(coap.UnprocessableEntity, device.SetBasalRate, "1 mL/h", "")
	nurse.order(coap.NotImplemented, device.SetPacingRate, "60 {pulses}/min", "")
}

func TestReplay(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
	bolus := slices.Clone(nurse.sent[len(nurse.sent)-1])
	nurse.order(coap.Changed, device.CancelBolus, "", "")
	rescue := slices.Clone(nurse.sent[len(nurse.sent)-1])
	replay := func() {
		t.Helper()
		w.wait(10 * time.Minute)
		w.State()
		before, done := w.model.(*pump).boluses, w.accepted()
		for _, b := range [][]byte{bolus, rescue} {
			if len(w.receive(b)) == 0 {
				t.Fatal("no answer")
			}
		}
		if n := w.accepted(); n != done {
			t.Fatalf("%d replays were accepted", n-done)
		}
		w.wait(10 * time.Minute)
		w.State()
		if after := w.model.(*pump).boluses; before != after {
			t.Fatalf("a bolus of %d thousandths came of a replay", after-before)
		}
	}
	replay()
	w.logged("event message", "verdict refused", "received before")
	again := w.connect("nurse") // a new session
	replay()
	w.kill()
	replay()
	// The session itself lives on, once its peer has shown to be there.
	again.order(coap.Unauthorized, device.CancelBolus, "", "") // tokens are posted again
	again.post(w.token("nurse", w.cfg.ID), coap.Created)
	again.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
	replay()
	w.logged("event restart")
}

// TestHeldBack: somebody in between delivers a genuine command later.
func TestHeldBack(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	request := nurse.request(coap.POST, "therapy", command(t, device.DeliverBolus, "2 [iU]", ""))
	m := nurse.take(w.receive(nurse.protect(request)))
	echo, ok := m.Options.Get(coap.Echo)
	if m.Code != coap.Unauthorized || !ok {
		t.Fatalf("no challenge: %v", m.Code)
	}
	fresh, err := oscore.AppendWithEcho(nil, request, echo.Value)
	if err != nil {
		t.Fatal(err)
	}
	held := nurse.protect(fresh)
	w.wait(11 * time.Second)
	if m := nurse.take(w.receive(held)); m.Code != coap.Unauthorized {
		t.Fatalf("a command of eleven seconds ago: %v", m.Code)
	}
	w.logged("event message", "verdict refused", "held back")
	held = nurse.protect(fresh)
	w.kill()
	if m := nurse.take(w.receive(held)); m.Code != coap.Unauthorized {
		t.Fatalf("a command from before the restart: %v", m.Code)
	}
	if n := w.model.(*pump).boluses; n != 0 {
		t.Fatalf("%d", n)
	}
}

func TestRescue(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	for _, name := range []string{"patient", "carer", "technician", "maker", "loop", "nurse"} {
		nurse.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
		s := w.connect(name)
		s.order(coap.Changed, device.CancelBolus, "", "")
		w.logged("actor "+s.actor, "role "+roles[name].String(), "verb cancel-bolus", "verdict accepted", "why rescues")
		w.wait(time.Minute)
	}
	// Not from who has no token, nor without protection.
	nurse.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
	w.meet("patient").order(coap.Unauthorized, device.CancelBolus, "", "")
	clear := nurse.request(coap.POST, "therapy", command(t, device.CancelBolus, "", ""))
	if m := nurse.take(w.receive(clear)); m.Code != coap.Unauthorized {
		t.Fatal(m.Code)
	}
	w.logged("event request", "verdict refused", "not protected")
	w.has("bolus: 1.000 [iU]")

	// A suspend ends by itself, is loud, and is no rescue when repeated or open-ended.
	carer := w.connect("carer")
	carer.order(coap.Forbidden, device.Suspend, "", "")
	carer.order(coap.Forbidden, device.Suspend, "", "3 h")
	carer.order(coap.Changed, device.Suspend, "", "30 min")
	w.has("basal-rate: 0.000 [iU]/h", "alarms: suspended", "suspended-left: 1800 s")
	nurse.order(coap.UnprocessableEntity, device.DeliverBolus, "1 [iU]", "")
	carer.order(coap.Forbidden, device.Suspend, "", "30 min")
	w.wait(31 * time.Minute)
	w.has("basal-rate: 0.800 [iU]/h", "alarms: ")
	carer.order(coap.Forbidden, device.Suspend, "", "30 min")
	nurse.order(coap.Changed, device.Suspend, "", "30 min") // to whom it was granted
	w.wait(6 * time.Hour)
	carer.order(coap.Changed, device.Suspend, "", "30 min")
	w.logged("suspend is over: back to the last confirmed basal")
}

func TestBreakGlass(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.DeliverBolus, "3 [iU]", "")
	token := w.token("ambulance", w.cfg.Kind.Class())
	a := w.meet("ambulance")
	a.post(token, coap.Created)
	w.logged("event break-glass", "actor "+a.actor, "role emergency", "verdict accepted", "open for 30m0s, approved by 2")
	a.order(coap.Changed, device.CancelBolus, "", "")
	a.order(coap.Changed, device.Suspend, "", "1 h")
	a.order(coap.Forbidden, device.Resume, "", "") // a nurse is connected: two do not change one therapy
	w.End(w.of(nurse))
	a.order(coap.Changed, device.Resume, "", "")
	a.order(coap.Changed, device.Suspend, "", "1 h") // repeated, and granted
	a.order(coap.Forbidden, device.SetBasalRate, "0.5 [iU]/h", "")
	if m := a.ask(coap.GET, "therapy", nil); m.Code != coap.Content {
		t.Fatal(m.Code)
	}
	// Another session by the same key, and after a restart.
	w.wait(10 * time.Minute)
	b := w.meet("ambulance")
	b.post(token, coap.Created)
	w.kill()
	b.post(token, coap.Created)
	b.order(coap.Changed, device.Resume, "", "")
	// By another key, or at the end of the window, never again.
	thief := w.meet("maker")
	thief.post(token, coap.Unauthorized)
	w.logged("event token", "actor "+thief.actor, "bound to another key")
	w.wait(20 * time.Minute)
	b.order(coap.Forbidden, device.Suspend, "", "30 min")
	b.post(token, coap.Unauthorized)
	w.logged("event token", "used before")
	w.kill()
	b.post(token, coap.Unauthorized)

	// A token for one device is none for another.
	other := newWorld(t, Pump)
	other.authority, other.approvers, other.holders = w.authority, w.approvers, w.holders
	other.cfg.Anchors, other.cfg.ID = w.cfg.Anchors, "device-8"
	other.kill()
	other.meet("ambulance").post(w.token("ambulance", w.cfg.ID), coap.Unauthorized)
	other.logged("for another device")
}

func TestPacemaker(t *testing.T) {
	w := newWorld(t, Defibrillator)
	w.has("mode: DDD", "lower-rate: 60 {pulses}/min", "detection: true")
	nurse, patient := w.connect("nurse"), w.connect("patient")
	nurse.order(coap.Changed, device.SetPacingRate, "70 {pulses}/min", "")
	patient.order(coap.Forbidden, device.SetPacingRate, "80 {pulses}/min", "")
	nurse.order(coap.UnprocessableEntity, device.SetPacingRate, "30 {pulses}/min", "")
	nurse.order(coap.UnprocessableEntity, device.SetPacingMode, "0 1", "")
	nurse.order(coap.UnprocessableEntity, device.Suspend, "", "")
	nurse.order(coap.UnprocessableEntity, device.SetOutput, "1 V", "")
	nurse.order(coap.UnprocessableEntity, device.SetSensitivity, "0.3 mV", "")
	w.wait(time.Hour)
	w.has("paced-beats: 4200")

	patient.order(coap.Changed, device.EmergencyPreset, "", "")
	w.has("mode: VVI", "lower-rate: 65 {pulses}/min", "output: 7.5 V", "alarms: emergency preset")
	w.logged("role patient", "verb emergency-preset", "verdict accepted", "why rescues")
	replayed := slices.Clone(patient.sent[len(patient.sent)-1])
	nurse.order(coap.Changed, device.Resume, "", "")
	w.has("mode: DDD", "lower-rate: 70 {pulses}/min")
	w.receive(replayed)
	w.kill()
	w.receive(replayed)
	w.has("mode: DDD", "lower-rate: 70 {pulses}/min")
	nurse.post(w.token("nurse", w.cfg.ID), coap.Created)

	// Detection off: attended, confirmed, and not for longer.
	off := (&therapy.Request{Verb: device.SetDetection, Value: q(t, "0 1"), Confirm: true}).Append(nil)
	nurse.order(coap.UnprocessableEntity, device.SetDetection, "0 1", "")
	if m := nurse.ask(coap.POST, "therapy", off); m.Code != coap.Forbidden {
		t.Fatal(m.Code)
	}
	w.logged("verb set-detection", "only in an attended session")
	for _, end := range []func(){
		func() { w.Couple(0) },
		func() { w.wait(61 * time.Minute) },
		func() { w.kill() },
		func() { w.End(w.of(nurse)) },
	} {
		w.Couple(cwt.Wand)
		if w.of(nurse).held == nil {
			nurse = w.connect("nurse")
		}
		if m := nurse.ask(coap.POST, "therapy", off); m.Code != coap.Changed {
			t.Fatal(m.Code, textOr(m.Payload))
		}
		w.has("detection: false", "alarms: detection or therapies off")
		end()
		w.has("detection: true", "alarms: ")
	}
	// A shock takes eight seconds to charge, and may be aborted, by anybody.
	w.Couple(0)
	nurse, patient = w.connect("nurse"), w.connect("patient")
	nurse.order(coap.Forbidden, device.DeliverShock, "30 J", "")
	w.Couple(cwt.Wand)
	nurse.order(coap.Changed, device.DeliverShock, "30 J", "")
	w.wait(4 * time.Second)
	patient.order(coap.Changed, device.AbortShock, "", "")
	w.wait(time.Minute)
	w.has("shocks: 0")
	nurse.order(coap.Changed, device.DeliverShock, "30 J", "")
	w.wait(9 * time.Second)
	w.has("shocks: 1")
	nurse.order(coap.Changed, device.DeliverShock, "30 J", "")
	w.kill()
	w.has("shocks: 2", "in-doubt: 1 1")
	w.logged("shock of 30 J in doubt, counts as given, is not repeated")
}

func TestNeurostimulator(t *testing.T) {
	w := newWorld(t, Neurostimulator)
	nurse, patient := w.connect("nurse"), w.connect("patient")
	w.has("stimulation: true", "amplitude: 2.5 mA")
	patient.order(coap.Changed, device.SetAmplitude, "3 mA", "")
	patient.order(coap.Forbidden, device.SetAmplitude, "3.1 mA", "")
	patient.order(coap.Forbidden, device.SetAmplitude, "0.5 mA", "")
	patient.order(coap.Forbidden, device.SelectProgram, "2 1", "")
	nurse.order(coap.UnprocessableEntity, device.SetAmplitude, "8.1 mA", "")
	nurse.order(coap.Changed, device.SelectProgram, "2 1", "")
	nurse.order(coap.UnprocessableEntity, device.SetAmplitude, "7 mA", "") // 0.63 uC
	nurse.order(coap.Changed, device.SetAmplitude, "6.5 mA", "")
	w.has("program: 2", "amplitude: 6.5 mA", "charge-per-phase: 0.585 uC")

	patient.order(coap.Changed, device.StimulationOff, "", "")
	w.has("stimulation: false", "alarms: stimulation off")
	off := slices.Clone(patient.sent[len(patient.sent)-1])
	patient.order(coap.Changed, device.Resume, "", "") // in one step
	w.has("stimulation: true", "program: 2", "amplitude: 6.5 mA", "alarms: ")
	patient.order(coap.Forbidden, device.StimulationOff, "", "") // repeated
	nurse.order(coap.Changed, device.StimulationOff, "", "")     // to whom it was granted
	w.logged("verb stimulation-off", "role clinician", "rescues again: a change")
	patient.order(coap.Changed, device.Resume, "", "")
	w.receive(off)
	w.kill()
	w.receive(off)
	w.has("stimulation: true", "amplitude: 6.5 mA")
	w.wait(5 * time.Hour)
	patient.post(w.token("patient", w.cfg.ID), coap.Created)
	patient.order(coap.Changed, device.StimulationOff, "", "")
	w.kill()
	w.has("stimulation: false")
	w.logged("role patient", "verb stimulation-off", "verdict accepted", "why rescues")
}

// TestEachKind: a rescue of each kind is taken from an ambulance whose token is for the
// class, and from nobody who is not proven, repeats what was heard, or held it back.
func TestEachKind(t *testing.T) {
	for kind, test := range map[Kind]struct {
		prepare, rescue []byte
		done, undone    string // what the state says
	}{
		Pump: {
			command(t, device.DeliverBolus, "25 [iU]", ""), command(t, device.CancelBolus, "", ""),
			"profile: 1", "bolus: 25.000 [iU]",
		},
		Defibrillator: {
			command(t, device.SetPacingRate, "70 {pulses}/min", ""), command(t, device.EmergencyPreset, "", ""),
			"mode: VVI", "mode: DDD",
		},
		Neurostimulator: {
			command(t, device.SetAmplitude, "3 mA", ""), command(t, device.StimulationOff, "", ""),
			"stimulation: false", "stimulation: true",
		},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newWorld(t, kind)
			nurse := w.connect("nurse")
			if m := nurse.ask(coap.POST, "therapy", test.prepare); m.Code != coap.Changed {
				t.Fatal(m.Code, textOr(m.Payload))
			}
			prepared := slices.Clone(nurse.sent[len(nurse.sent)-1])
			w.has(test.undone)
			w.End(w.of(nurse))

			a := w.meet("ambulance")
			clear := a.request(coap.POST, "therapy", test.rescue)
			if m := a.take(w.receive(clear)); m.Code != coap.Unauthorized {
				t.Fatal(m.Code)
			}
			if m := a.ask(coap.POST, "therapy", test.rescue); m.Code != coap.Unauthorized { // without a token
				t.Fatal(m.Code)
			}
			a.post(w.token("ambulance", kind.Class()), coap.Created)
			w.logged("event break-glass", "actor "+a.actor, "role emergency", "verdict accepted")
			m := a.take(w.receive(a.protect(clear)))
			echo, _ := m.Options.Get(coap.Echo)
			fresh, err := oscore.AppendWithEcho(nil, clear, echo.Value)
			if err != nil {
				t.Fatal(err)
			}
			held := a.protect(fresh)
			w.wait(11 * time.Second)
			if m := a.take(w.receive(held)); m.Code != coap.Unauthorized {
				t.Fatalf("held back: %v", m.Code)
			}
			w.has(test.undone)
			if m := a.ask(coap.POST, "therapy", test.rescue); m.Code != coap.Changed {
				t.Fatal(m.Code, textOr(m.Payload))
			}
			w.has(test.done)
			w.logged("actor "+a.actor, "role emergency", "verdict accepted", "why rescues")
			rescued := slices.Clone(a.sent[len(a.sent)-1])

			n := w.accepted()
			for range 3 {
				w.receive(prepared)
				w.receive(rescued)
				w.meet("ambulance")
				w.receive(prepared)
				w.receive(rescued)
				w.kill()
			}
			if w.accepted() != n {
				t.Fatal("a replay was accepted")
			}
			w.has(test.done)
		})
	}
}

// TestJournalCut cuts the journal at every length: what was acknowledged by then is known,
// and no bolus is given twice.
func TestJournalCut(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	type mark struct {
		bytes int
		rate  int64
		asked int64 // by boluses, so far
	}
	var marks []mark
	at := func(rate, asked int64) {
		b, err := os.ReadFile(w.cfg.Journal)
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, mark{len(b), rate, asked})
	}
	at(800, 0)
	nurse.order(coap.Changed, device.SetBasalRate, "0.5 [iU]/h", "")
	at(500, 0)
	nurse.order(coap.Changed, device.DeliverBolus, "2 [iU]", "")
	at(500, 2000)
	w.wait(2 * time.Minute)
	w.Tick()
	nurse.order(coap.Changed, device.DeliverBolus, "1 [iU]", "")
	at(500, 3000)
	nurse.order(coap.Changed, device.SetBasalRate, "1 [iU]/h", "")
	at(1000, 3000)
	whole, err := os.ReadFile(w.cfg.Journal)
	if err != nil {
		t.Fatal(err)
	}
	all, _, _, err := journal.Parse(whole, journalOf)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		records, _, end, err := journal.Parse(whole[:n], journalOf)
		if err != nil || len(records) > 0 && !bytes.Equal(records[len(records)-1], all[len(records)-1]) {
			t.Fatalf("%d bytes: %d records, %v", n, len(records), err)
		}
		// What a device makes of it depends on the whole records alone: it is started where
		// one is whole, and with one byte, a header, and all but a byte of the next.
		next := 0
		if len(records) < len(all) {
			next = journal.HeaderBytes + len(all[len(records)]) + journal.ChainBytes
		}
		if rest := n - end; rest > 1 && rest != journal.HeaderBytes && rest != next-1 {
			continue
		}
		cfg := w.cfg
		cfg.Journal = filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(cfg.Journal, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		now := noon // at once: a bolus that went on would not be over yet
		cfg.Clock = func() (time.Duration, int64) { return now.Sub(noon), now.Unix() }
		i, err := Open(cfg)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		p := i.model.(*pump)
		had := mark{rate: 800}
		for _, m := range marks {
			if m.bytes <= n {
				had = m
			}
		}
		if n >= marks[0].bytes && p.boluses < had.asked || p.boluses > 3000 || p.bolus != 0 {
			t.Fatalf("%d bytes: %d counted of %d, %d under way", n, p.boluses, had.asked, p.bolus)
		}
		if slices.ContainsFunc(marks, func(m mark) bool { return m.bytes == n }) && p.rates[0][0] != had.rate {
			t.Fatalf("%d bytes: a rate of %d, not %d", n, p.rates[0][0], had.rate)
		}
		before := p.boluses
		now = now.Add(time.Hour)
		i.Tick()
		if p.boluses != before {
			t.Fatalf("%d bytes: a bolus went on", n)
		}
		i.Close()
	}
}

// TestJournalChanged flips each byte: that is told from a loss of power, but in the last
// record.
func TestJournalChanged(t *testing.T) {
	w := newWorld(t, Pump)
	nurse := w.connect("nurse")
	nurse.order(coap.Changed, device.SetBasalRate, "0.5 [iU]/h", "")
	whole, err := os.ReadFile(w.cfg.Journal)
	if err != nil {
		t.Fatal(err)
	}
	records, _, n, err := journal.Parse(whole, journalOf)
	if err != nil || n != len(whole) {
		t.Fatal(n, err)
	}
	lastBegin := len(whole) - journal.HeaderBytes - len(records[len(records)-1]) - journal.ChainBytes
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		got, _, _, err := journal.Parse(b, journalOf)
		if inBody := at >= lastBegin+journal.HeaderBytes; err == nil != inBody {
			t.Fatalf("byte %d of %d: %d records, %v", at, len(b), len(got), err)
		} else if inBody && len(got) != len(records)-1 {
			t.Fatalf("byte %d: %d records", at, len(got))
		}
	}
}

// TestKill kills a process that takes commands, without warning, and looks at what it
// acknowledged.
func TestKill(t *testing.T) {
	const variable = "MYELIN_TEST_JOURNAL"
	if path := os.Getenv(variable); path != "" { // the process
		w := newWorld(t, Pump)
		w.Close()
		w.cfg.Journal = path
		w.start()
		nurse := w.connect("nurse")
		for n := 25; ; n = n%10_000 + 25 {
			nurse.order(coap.Changed, device.SetBasalRate, fmt.Sprintf("%d m[iU]/h", n), "")
			fmt.Printf("rate %d\n", n)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "journal")
	for round := range 5 {
		cmd := exec.Command(exe, "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), variable+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var rate int64
		for n := 0; lines.Scan(); {
			if _, err := fmt.Sscanf(lines.Text(), "rate %d", &rate); err != nil {
				continue
			}
			if n++; n == 7+round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		i, err := Open(Config{Kind: Pump, ID: "device-7", Journal: path, Clock: func() (time.Duration, int64) { return 0, noon.Unix() }})
		if err != nil {
			t.Fatal(err)
		}
		// What came after the last answer that was read may be there too.
		if got := i.model.(*pump).rates[0][0]; rate == 0 || got != rate && got != rate+25 {
			t.Fatalf("a rate of %d was acknowledged, and is %d", rate, got)
		}
		i.Close()
	}
}
