// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	wire "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A model is how a device of sim/legacy stands behind the guard, and what it is asked for.
type model struct {
	therapies string
	inside    string // of the front
	verbs     string // of the envelope
	usual
}

// models are those with a therapy. The others are reached as bytes, by a front that asks for
// a certificate.
var models = map[string]model{
	"rhythm-s": {
		"[pacing, defibrillation]", "dialect: halden-mics, address: 0x5e2b90d4, own-address: 0x91a2",
		"  set-pacing-rate: {unit: \"{pulses}/min\", min: \"40 {pulses}/min\", max: \"110 {pulses}/min\"}\n",
		usual{
			legal: ask(device.EmergencyPreset, ""), absurd: ask(device.SetPacingRate, "180 {pulses}/min"), rescue: ask(device.EmergencyPreset, ""),
			verbs: []device.Verb{device.SetPacingRate, device.EmergencyPreset},
		},
	},
	"rhythm-a": {
		"[defibrillation]", "dialect: halden-wand, address: 0x4471c9",
		"  read-telemetry: {}\n",
		usual{
			legal: ask(device.AbortShock, ""), absurd: ask(device.SetTherapies, "0 1"), rescue: ask(device.AbortShock, ""),
			verbs: []device.Verb{device.SetTherapies, device.AbortShock},
		},
	},
	"calm": {
		"[neurostimulation]", "dialect: tessel-calm, address: 0x71c05be3",
		"  set-amplitude: {unit: V, max: 3.00 V}\n",
		usual{
			legal: ask(device.SetAmplitude, "2.50 V"), absurd: ask(device.SetAmplitude, "9.50 V"), rescue: ask(device.StimulationOff, ""),
			verbs: []device.Verb{device.SetAmplitude, device.StimulationOff},
		},
	},
	"dose-classic": {"[insulin infusion]", "dialect: okapi-classic, address: 0x3b1f06", bolusLimits, bolus},
	"dose-patch":   {"[insulin infusion]", "dialect: okapi-patch, address: 0x1f0c9a52", bolusLimits, bolus},
	"dose-one":     {"[insulin infusion]", "therapy: insulin infusion", bolusLimits, bolus},
}

const bolusLimits = "  deliver-bolus: {unit: U, max: 10 U}\n"

var bolus = usual{
	legal: ask(device.DeliverBolus, "1 U"), absurd: ask(device.DeliverBolus, "25 U"), rescue: ask(device.CancelBolus, ""),
	verbs: []device.Verb{device.DeliverBolus, device.CancelBolus},
}

func ask(v device.Verb, value string) therapy.Request {
	return therapy.Request{Verb: v, Value: quantity(value)}
}

// A guardedDevice is a device of sim/legacy behind a guard that was started from files.
type guardedDevice struct {
	*clinic
	model  string
	usual  usual
	device legacy.Device
	inside string // where the device itself listens
	addr   string // where the guard does

	mu   sync.Mutex
	said []event.Event
	stop func()
}

// record keeps what the guard has to say, as its ledger would.
func (g *guardedDevice) record(e *event.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said = append(g.said, *e)
	return nil
}

// recorded is how many refusals the guard recorded.
func (g *guardedDevice) recorded() (n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.said {
		switch e := &g.said[i]; {
		case e.Kind == event.AccessRefused, e.Kind == event.VerdictGiven && e.Int(event.Verdict) == int64(device.Deny):
			n += max(1, e.Int(event.Count))
		}
	}
	return n
}

// A guardCheck does something to a device behind the guard. How says what was held; an
// error that it was not.
type guardCheck func(ctx context.Context, w *world, row *Row, g *guardedDevice) (how string, err error)

var guardChecks = map[string]guardCheck{
	"attack":   guardAttack,
	"replay":   guardReplay,
	"stranger": guardStranger,
	"role":     guardRole,
	"absurd":   guardAbsurd,
	"rescue":   guardRescue,
	"wake":     guardWake,
}

// guarded runs a row's checks against a device behind the guard, and the attack itself past it.
func guarded(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	c := report.DrillCell{Topology: row.Guard.Topology}
	if len(row.Guard.Checks) == 0 {
		c.Result, c.How = report.DrillFailed, errNoWay.Error()
		return c, nil
	}
	var how []string
	var refusals int64
	for _, name := range row.Guard.Checks {
		g, err := w.guarded(ctx, row, name)
		if err != nil {
			return c, err
		}
		held, err := guardChecks[name](ctx, w, row, g)
		g.stop()
		n := g.recorded()
		if err == nil && name == "wake" && n < wakeUps/2 { // datagrams may be lost
			err = fmt.Errorf("%d of %d wake-ups were counted", n, wakeUps)
		}
		refusals += n
		if err != nil {
			c.Result, c.How = report.DrillFailed, name+": "+err.Error()
			return c, nil
		}
		how = append(how, held)
	}
	c.Result = report.DrillStopped
	if refusals > 0 {
		c.Result = report.DrillBoth
		how = append(how, fmt.Sprintf("refusals recorded: %d", refusals))
	}
	c.How = strings.Join(how, "; ")
	residual, err := w.around(ctx, row)
	c.Residual = residual
	return c, err
}

// around runs the attack straight at the device, past the guard.
func (w *world) around(ctx context.Context, row *Row) (string, error) {
	for _, a := range row.Guard.attacks(row) {
		cfg := legacy.Config{}
		if row.Guard.Topology == "sole-path" {
			cfg.Secret = secret[:]
		}
		env := &legacy.Env{Clock: legacy.NewClock(story), Patience: patience}
		if network := legacy.NetworkOf(a.Device); network == "tcp" && cfg.Secret != nil {
			continue // nobody else is on its network
		}
		o, err := a.Try(ctx, cfg, env)
		if err != nil {
			return "", err
		}
		if o.Hurt {
			return "succeeded", nil
		}
	}
	return "failed", nil
}

// attacks are those that the guard is held to: the row's own, or others in their place.
func (g *Guarded) attacks(row *Row) []*legacy.Attack {
	if len(g.Attack) > 0 {
		return g.Attack
	}
	return row.Attack
}

var secret = [legacy.SecretSize]byte{0x5e, 0xc2, 0xe7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}

// guarded starts the device, and a guard before it from files in a folder of its own.
func (w *world) guarded(ctx context.Context, row *Row, check string) (*guardedDevice, error) {
	name := row.Guard.attacks(row)[0].Device
	m := models[name]
	c, err := newClinic(m.usual.verbs...)
	if err != nil {
		return nil, err
	}
	g := &guardedDevice{clinic: c, model: name, usual: m.usual}
	cfg := legacy.Config{}
	if row.Guard.Topology == "sole-path" && m.inside != "" {
		cfg.Secret = secret[:]
	}
	if g.device, err = legacy.New(name, cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	g.stop = func() { cancel(); wg.Wait() }
	if err := g.serve(ctx, &wg); err != nil {
		g.stop()
		return nil, err
	}
	dir := filepath.Join(w.dir, row.ID+"-guard-"+check)
	file, err := g.write(dir, m, row.Guard.Topology)
	if err == nil {
		err = g.guard(ctx, &wg, file)
	}
	if err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// serve lets the device listen.
func (g *guardedDevice) serve(ctx context.Context, wg *sync.WaitGroup) error {
	if legacy.NetworkOf(g.model) == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		g.inside = l.Addr().String()
		wg.Go(func() { _ = legacy.ServeListener(ctx, l, g.device) })
		return nil
	}
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g.inside = s.LocalAddr().String()
	wg.Go(func() { _ = g.device.Serve(ctx, s) })
	return nil
}

// write writes the guard's files.
func (g *guardedDevice) write(dir string, m model, topology string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	network := legacy.NetworkOf(g.model)
	var err error
	if g.addr, err = freeAddress(network); err != nil {
		return "", err
	}
	authority := g.anchors[0].Key
	trust, err := json.Marshal(cwt.Trust{Name: g.authority.Name, Key: hex.EncodeToString(authority.AppendPublic(nil))})
	if err != nil {
		return "", err
	}
	files := map[string][]byte{"trust.json": trust, "secret": []byte(hex.EncodeToString(secret[:])), "guard.key": g.it.key.AppendSecret(nil)}
	front := fmt.Sprintf("    kind: coap\n    listen: %s\n    forward: %s\n    key: guard.key\n    trust: [trust.json]\n    peers: [clinician.pub, technician.pub]\n    inside: {%s, topology: %s%s, answer-within: 500ms}\n",
		g.addr, g.inside, m.inside, topology, map[bool]string{true: ", secret: secret"}[topology == "sole-path"])
	envelope := "    envelope: envelope.yaml\n"
	kind := strings.Trim(m.therapies, "[]")
	kind, _, _ = strings.Cut(kind, ",")
	if network == "tcp" {
		files["server.pem"], files["server.key"], files["authority.pem"], err = certificates()
		if err != nil {
			return "", err
		}
		front = fmt.Sprintf("    kind: tcp\n    listen: {address: %q, tls: {certificate: server.pem, key: server.key, authorities: authority.pem}}\n    forward: %s\n", g.addr, g.inside)
		envelope, kind = "", "monitoring"
	}
	for role, h := range g.people {
		files[role.String()+".pub"] = h.key.AppendPublic(nil)
	}
	files["envelope.yaml"] = []byte("envelope: 1\nname: drill\nversion: 1\ntherapy: " + m.therapies + `
author: {id: mh, role: prescriber}
approver: {id: pk, role: pharmacist}
risk: {record: RD-DRILL, manufacturer: "invented"}
enforce: true
verbs:
` + m.verbs)
	files["guard.yaml"] = []byte("guard: 1\nsite: drill\nstate: state\nledger: {folder: ledger, key: ledger.key}\ndevices:\n  - id: " + audience + "\n    therapy: " + kind + "\n" + envelope +
		"fronts:\n  - name: drilled\n    device: " + audience + "\n    protects: server\n    bypass: this is a drill\n" + front)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "guard.yaml"), nil
}

// freeAddress is one of this machine that nobody listens at.
func freeAddress(network string) (string, error) {
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer s.Close()
	return s.LocalAddr().String(), nil
}

// guard starts the guard, and waits until it serves.
func (g *guardedDevice) guard(ctx context.Context, wg *sync.WaitGroup, file string) error {
	conf, err := guard.Load(file)
	if err != nil {
		return err
	}
	made, err := guard.New(conf, guard.Config{Record: g.record, Version: "drill"})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	wg.Go(func() {
		err := made.Run(ctx)
		failed <- errors.Join(err, made.Close())
	})
	for {
		why := made.Unready()
		if len(why) == 0 {
			return nil
		}
		select {
		case err := <-failed:
			return errors.Join(errors.New("the guard did not begin"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// clinician comes to the guard with a token, over a path at which somebody listens.
func (g *guardedDevice) come(ctx context.Context, role device.Role) (*programmer, error) {
	h := g.people[role]
	return connect(ctx, g.addr, h.own, g.device1(), h.token)
}

// device1 is who the peers of the guard know: the guard, in the device's place.
func (g *guardedDevice) device1() *edhoc.Authenticator { return g.clinic.device }

// unchanged holds the device's state to what it was, but for what the guard's own reading of it
// costs.
func (g *guardedDevice) unchanged(before any, what string) error {
	if after := g.device.State(); !reflect.DeepEqual(still(before), still(after)) {
		return errors.New(what + " changed the device")
	}
	return nil
}

// passing are the fields of a device's state that its radio changes, or the time: a bolus that was legally
// ordered is still being given. One that was ordered again would stand in Ordered and Boluses.
var passing = []string{"WakeUps", "Used", "BatteryMV", "Told", "Delivered", "BolusGiven", "BolusLeft", "Reservoir"}

// still is a device's state without what its radio did and what goes on by itself.
func still(state any) any {
	v := reflect.New(reflect.TypeOf(state)).Elem()
	v.Set(reflect.ValueOf(state))
	for _, name := range passing {
		if f := v.FieldByName(name); f.IsValid() {
			f.SetZero()
		}
	}
	return v.Interface()
}

// used is how often the device's radio was.
func used(state any) (n int64) {
	for _, name := range []string{"WakeUps", "Told"} {
		if f := reflect.ValueOf(state).FieldByName(name); f.IsValid() {
			n += f.Int()
		}
	}
	return n
}

// guardAttack runs the attack at the guard, as if that were the device.
func guardAttack(ctx context.Context, w *world, row *Row, g *guardedDevice) (string, error) {
	for _, a := range row.Guard.attacks(row) {
		if a.Device != g.model {
			continue
		}
		env := &legacy.Env{Clock: legacy.NewClock(story), Patience: patience}
		if _, err := a.Try(ctx, legacy.Config{}, env); err != nil { // what is overheard of an unprotected one stays in env
			return "", err
		}
		target, err := legacy.At(legacy.NetworkOf(a.Device), g.addr)
		if err != nil {
			return "", err
		}
		env.Target = target
		before := g.device.State()
		r, err := a.Run(ctx, env)
		if err != nil {
			return "", err
		}
		if how, hurt := a.Hurt(before, g.device.State(), &r); hurt {
			return "", errors.New(how)
		}
	}
	return "the attack at the guard changes nothing", nil
}

// guardReplay records what a clinician sends to the guard, and sends it again.
func guardReplay(ctx context.Context, _ *world, _ *Row, g *guardedDevice) (string, error) {
	relay, err := newRelay(g.addr)
	if err != nil {
		return "", err
	}
	defer relay.close()
	h := g.people[device.Clinician]
	p, err := connect(ctx, relay.addr, h.own, g.device1(), h.token)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if code, err := p.order(ctx, &g.usual.legal); err != nil || code != wire.Changed {
		return "", unwanted("the legal command itself", code, err)
	}
	before := g.device.State()
	try := func(when string) error {
		n, err := again(g.addr, relay.heard())
		switch {
		case err != nil:
			return err
		case n < 2:
			return errors.New("nothing was recorded")
		}
		return g.unchanged(before, "a recorded command "+when)
	}
	if err := try("in the same session"); err != nil {
		return "", err
	}
	q, err := g.come(ctx, device.Clinician)
	if err != nil {
		return "", err
	}
	defer q.Close()
	if err := try("in a new session"); err != nil {
		return "", err
	}
	return "recorded commands are refused, in the session and in a new one", nil
}

// guardStranger asks without a proof, and with a key that is not enrolled.
func guardStranger(ctx context.Context, w *world, row *Row, g *guardedDevice) (string, error) {
	if legacy.NetworkOf(g.model) == "tcp" {
		return guardAttack(ctx, w, row, g) // it comes without a certificate
	}
	before := g.device.State()
	if err := strange(ctx, g.addr, g.device1(), &g.usual.legal); err != nil {
		return "", err
	}
	if err := g.unchanged(before, "a stranger"); err != nil {
		return "", err
	}
	return "without a proof and with a key that is not enrolled: refused", nil
}

// guardRole asks in a role without the right.
func guardRole(ctx context.Context, _ *world, _ *Row, g *guardedDevice) (string, error) {
	p, err := g.come(ctx, device.Technician)
	if err != nil {
		return "", err
	}
	defer p.Close()
	before := g.device.State()
	if code, err := p.order(ctx, &g.usual.legal); err != nil || code.Class() != 4 {
		return "", unwanted("a role without the right", code, err)
	}
	if err := g.unchanged(before, "a technician"); err != nil {
		return "", err
	}
	return "a role without the right is refused, whatever code it knows", nil
}

// guardAbsurd asks for what is authorised and absurd.
func guardAbsurd(ctx context.Context, _ *world, _ *Row, g *guardedDevice) (string, error) {
	p, err := g.come(ctx, device.Clinician)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if code, err := p.order(ctx, &g.usual.legal); err != nil || code != wire.Changed {
		return "", unwanted("the legal command itself", code, err)
	}
	before := g.device.State()
	if code, err := p.order(ctx, &g.usual.absurd); err != nil || code.Class() != 4 {
		return "", unwanted(g.usual.absurd.Verb.String()+" "+g.usual.absurd.Value.String(), code, err)
	}
	if err := g.unchanged(before, "an absurd command"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s is refused even to a clinician, %s passes", g.usual.absurd.Verb, g.usual.absurd.Value, g.usual.legal.Value), nil
}

// guardRescue asks for a rescue, which has to pass.
func guardRescue(ctx context.Context, _ *world, _ *Row, g *guardedDevice) (string, error) {
	p, err := g.come(ctx, device.Clinician)
	if err != nil {
		return "", err
	}
	defer p.Close()
	before := g.device.State()
	if code, err := p.order(ctx, &g.usual.rescue); err != nil || code != wire.Changed {
		return "", unwanted("the rescue "+g.usual.rescue.Verb.String(), code, err)
	}
	if reflect.DeepEqual(before, g.device.State()) && g.model == "rhythm-s" {
		return "", errors.New("the rescue did not reach the device")
	}
	return "the rescue " + g.usual.rescue.Verb.String() + " passes", nil
}

// guardWake wakes the guard a thousand times, and then comes as a clinician.
func guardWake(ctx context.Context, w *world, row *Row, g *guardedDevice) (string, error) {
	path, err := newRelay(g.addr)
	if err != nil {
		return "", err
	}
	defer path.close()
	before := used(g.device.State())
	if err := w.attackAt(ctx, row, path.addr); err != nil {
		return "", err
	}
	if err := repeat(g.addr, path.heard()[0], wakeUps); err != nil {
		return "", err
	}
	// What was sent before this was read before this, by the same socket.
	q, err := g.come(ctx, device.Clinician)
	if err != nil {
		return "", fmt.Errorf("a clinician is locked out: %w", err)
	}
	q.Close()
	if n := used(g.device.State()) - before; n > 2 { // the guard's own look at it, when it begins
		return "", fmt.Errorf("%d of 1,000 wake-ups of strangers reached the radio", n)
	}
	p, err := g.come(ctx, device.Technician)
	if err != nil {
		return "", err
	}
	defer p.Close()
	const reads = 100 // by somebody who is proven, and asks without end
	before = used(g.device.State())
	for range reads {
		if _, err := p.conn.Get(ctx, p.session, "/therapy"); err != nil {
			return "", err
		}
	}
	n := used(g.device.State()) - before
	if n > reads/2 {
		return "", fmt.Errorf("%d of %d reads of a technician woke the radio", n, reads)
	}
	if q, err = g.come(ctx, device.Clinician); err != nil {
		return "", fmt.Errorf("a clinician is locked out: %w", err)
	}
	defer q.Close()
	if code, err := q.order(ctx, &g.usual.legal); err != nil || code != wire.Changed {
		return "", unwanted("a clinician after that", code, err)
	}
	return fmt.Sprintf("none of %d wake-ups of strangers reaches the radio, %d of %d reads of a technician do, and a clinician still comes in", wakeUps, n, reads), nil
}
