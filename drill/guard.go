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
	"github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A model is how a device of sim/legacy stands behind the guard, and what it is asked for.
type model struct {
	therapies string // the envelope's
	inside    string // of the front
	limits    string // of the envelope
	usual
}

// models are those with a therapy. The others are reached as bytes, by a front that asks for
// a certificate.
var models = map[string]model{
	"rhythm-s": {
		"pacing, defibrillation", "dialect: halden-mics, address: 0x5e2b90d4",
		`verbs: {set-pacing-rate: {unit: "{pulses}/min", min: "40 {pulses}/min", max: "110 {pulses}/min"}}`,
		usual{legal: ask(device.EmergencyPreset, ""), absurd: ask(device.SetPacingRate, "180 {pulses}/min"), rescue: ask(device.EmergencyPreset, "")},
	},
	"rhythm-a": {
		"defibrillation", "dialect: halden-wand, address: 0x4471c9",
		"verbs: {read-telemetry: {}}",
		usual{legal: ask(device.AbortShock, ""), absurd: ask(device.SetTherapies, "0 1"), rescue: ask(device.AbortShock, "")},
	},
	"calm": {
		"neurostimulation", "dialect: tessel-calm, address: 0x71c05be3",
		"verbs: {set-amplitude: {unit: V, max: 3.00 V}}",
		usual{legal: ask(device.SetAmplitude, "2.50 V"), absurd: ask(device.SetAmplitude, "9.50 V"), rescue: ask(device.StimulationOff, "")},
	},
	"dose-classic": {"insulin infusion", "dialect: okapi-classic, address: 0x3b1f06", bolusLimits, bolus},
	"dose-patch":   {"insulin infusion", "dialect: okapi-patch, address: 0x1f0c9a52", bolusLimits, bolus},
	"dose-one":     {"insulin infusion", "therapy: insulin infusion", bolusLimits, bolus},
}

const bolusLimits = `sums: {unit: U, windows: [{verb: deliver-bolus, window: 4h, highest: 10 U}]}
verbs: {deliver-bolus: {unit: U, max: 10 U}}`

var bolus = usual{ask(device.DeliverBolus, "1 U"), ask(device.DeliverBolus, "25 U"), ask(device.CancelBolus, ""), ask(device.DeliverBolus, "4 U")}

// A book keeps what a guard has to say, as its ledger would.
type book struct {
	mu   sync.Mutex
	said []event.Event
}

func (b *book) record(e *event.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, *e)
	return nil
}

// refusals is how many were recorded, of those that were not only observed.
func (b *book) refusals() (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.said {
		e := &b.said[i]
		if refusal := e.Kind == event.AccessRefused || e.Kind == event.VerdictGiven && e.Int(event.Verdict) == int64(device.Deny); refusal && e.Int(event.Enforced) == 1 {
			n += max(1, e.Int(event.Count))
		}
	}
	return n
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
		b := &book{}
		s, err := w.guarded(ctx, row, name, b)
		if err != nil {
			return c, err
		}
		held, err := guardChecks[name](ctx, s)
		s.stop()
		n := b.refusals()
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
func (w *world) guarded(ctx context.Context, row *Row, name string, b *book) (*subject, error) {
	attacks := row.Guard.attacks(row)
	it := attacks[0].Device
	m := models[it]
	c, err := newClinic(m.verbs()...)
	if err != nil {
		return nil, err
	}
	s := &subject{clinic: c, usual: m.usual, attacks: attacks, model: it, network: legacy.NetworkOf(it)}
	cfg := legacy.Config{}
	if row.Guard.Topology == "sole-path" && m.inside != "" {
		cfg.Secret = secret[:]
	}
	d, err := legacy.New(it, cfg)
	if err != nil {
		return nil, err
	}
	s.state = d.State
	s.refusals = b.refusals
	s.did = func() (n int) {
		for _, e := range d.Journal() {
			if !strings.HasPrefix(e.What, "wake-ups: ") { // the guard's own look at the device, too
				n++
			}
		}
		return n
	}
	inside, stop, err := serve(ctx, d, s.network)
	if err != nil {
		return nil, err
	}
	s.stop = stop
	file, err := s.write(filepath.Join(w.dir, row.ID+"-guard-"+name), m, inside, row.Guard.Topology)
	if err != nil {
		stop()
		return nil, err
	}
	var unguard func()
	start := func() (err error) {
		unguard, err = guardBy(ctx, file, b.record)
		return err
	}
	s.restart = func() error {
		unguard()
		return start()
	}
	if err := start(); err != nil {
		stop()
		return nil, err
	}
	s.stop = func() { unguard(); stop() }
	return s, nil
}

// serve lets a device listen, until stop is called.
func serve(ctx context.Context, d legacy.Device, network string) (addr string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	stop = func() { cancel(); wg.Wait() }
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", stop, err
		}
		wg.Go(func() { _ = legacy.ServeListener(ctx, l, d) })
		return l.Addr().String(), stop, nil
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", stop, err
	}
	wg.Go(func() { _ = d.Serve(ctx, l) })
	return l.LocalAddr().String(), stop, nil
}

const guardFile = `guard: 1
site: drill
state: state
ledger: {folder: ledger, key: ledger.key}
devices: [{id: ` + audience + `, %s}]
fronts: [{name: drilled, device: ` + audience + `, protects: server, bypass: this is a drill, forward: %q, %s}]
`

const envelopeFile = `envelope: 1
name: drill
version: 1
therapy: [%s]
author: {id: mh, role: prescriber}
approver: {id: pk, role: pharmacist}
risk: {record: RD-DRILL, manufacturer: "invented"}
enforce: true
%s
`

// write writes the guard's files.
func (s *subject) write(dir string, m model, inside, topology string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	var err error
	if s.addr, err = loopback.Free(s.network); err != nil {
		return "", err
	}
	trust, err := json.Marshal(cwt.Trust{Name: s.authority.Name, Key: hex.EncodeToString(s.anchors[0].Key.AppendPublic(nil))})
	if err != nil {
		return "", err
	}
	files := map[string][]byte{"trust.json": trust, "secret": []byte(hex.EncodeToString(secret[:])), "guard.key": s.it.key.AppendSecret(nil)}
	for role, h := range s.people {
		files[role.String()+".pub"] = h.key.AppendPublic(nil)
	}
	kind, _, _ := strings.Cut(m.therapies, ",")
	sealed := map[string]string{"sole-path": ", secret: secret"}[topology]
	protected, front := "therapy: "+kind+", envelope: envelope.yaml", fmt.Sprintf(
		"kind: coap, listen: %q, key: guard.key, trust: [trust.json], peers: [clinician.pub, technician.pub], inside: {%s, topology: %s%s, answer-within: 3s}",
		s.addr, m.inside, topology, sealed)
	if s.network == "tcp" {
		protected, front = "therapy: monitoring", fmt.Sprintf("kind: tcp, listen: {address: %q, tls: {certificate: server.pem, key: server.key, authorities: server.pem}}", s.addr)
		cert, err := testpki.SelfSigned("127.0.0.1") // nobody has one that the front would take
		if err != nil {
			return "", err
		}
		if files["server.pem"], files["server.key"], err = testpki.PEM(cert); err != nil {
			return "", err
		}
	} else {
		files["envelope.yaml"] = fmt.Appendf(nil, envelopeFile, m.therapies, m.limits)
	}
	file := filepath.Join(dir, "guard.yaml")
	files["guard.yaml"] = fmt.Appendf(nil, guardFile, protected, inside, front)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	return file, nil
}

// guardBy starts a guard by its file, and waits until it serves.
func guardBy(ctx context.Context, file string, record func(*event.Event) error) (stop func(), err error) {
	conf, err := guard.Load(file)
	if err != nil {
		return nil, err
	}
	made, err := guard.New(conf, guard.Config{Record: record, Version: "drill"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(made.Run(ctx), made.Close()) }()
	for len(made.Unready()) > 0 {
		select {
		case err := <-ended:
			cancel()
			return nil, errors.Join(errors.New("the guard did not begin"), err)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return func() { cancel(); <-ended }, nil
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

// wakeGuard wakes the guard a thousand times, and then comes as a clinician.
func wakeGuard(ctx context.Context, s *subject) (string, error) {
	path, err := newRelay(s.addr)
	if err != nil {
		return "", err
	}
	defer path.close()
	before := used(s.state())
	for _, a := range s.attacks {
		if _, _, err := attackAt(ctx, a, s.network, path.addr); err != nil {
			return "", err
		}
	}
	if err := repeat(s.addr, path.heard()[0], wakeUps); err != nil {
		return "", err
	}
	// What was sent before this was read before this, by the same socket.
	q, err := s.come(ctx, device.Clinician, s.addr)
	if err != nil {
		return "", fmt.Errorf("a clinician is locked out: %w", err)
	}
	q.Close()
	if n := used(s.state()) - before; n > 2 { // the guard's own look at it, when it begins
		return "", fmt.Errorf("%d of 1,000 wake-ups of strangers reached the radio", n)
	}
	p, err := s.come(ctx, device.Technician, s.addr)
	if err != nil {
		return "", err
	}
	defer p.Close()
	const reads = 100 // by somebody who is proven, and asks without end
	before = used(s.state())
	for range reads {
		if _, err := p.conn.Get(ctx, p.session, "/therapy"); err != nil {
			return "", err
		}
	}
	n := used(s.state()) - before
	if n > reads/2 {
		return "", fmt.Errorf("%d of %d reads of a technician woke the radio", n, reads)
	}
	if q, err = s.come(ctx, device.Clinician, s.addr); err != nil {
		return "", fmt.Errorf("a clinician is locked out: %w", err)
	}
	defer q.Close()
	if err := q.passes(ctx, &s.legal); err != nil {
		return "", err
	}
	return fmt.Sprintf("none of %d wake-ups of strangers reaches the radio, %d of %d reads of a technician do, and a clinician still comes in", wakeUps, n, reads), nil
}
