// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/agent/https"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/update"
)

// Rollout is the roll-out of the demo: release 2.2.0 of the Flow 500.
const Rollout = "flow-500-2.2.0"

// benched is the pump on which clinical engineering tries what comes, as the hospital's list
// has it.
const benched = "pump-0,Norra Medical,Flow 500,2.1.4,F5-100417,(01)09521000000506(21)F5-100417,FRN,infusion pump,drug infusion,Clinical engineering,Bench,,,,,ACDE48FFFE000300,2020-11-30\n"

// flows are the hospital's Flow 500s, and what they run when the day begins.
var flows = []struct {
	name, version string
	sequence      uint64
}{{"pump-0", "2.1.4", 214}, {"pump-3", "2.1.4", 214}, {"pump-4", "2.2.0", 220}}

// What the maker writes of the release.
const (
	manifest = `manifest: 1
sequence: 220
version: 2.2.0
vendor: norra.example
class: Flow 500 rev C
components: [{id: app, file: flow500.bin, uri: flow500.bin}]
`
	statements = `vex: 1
id: NORRA-VEX-2026-01
author: Norra Medical
time: 2026-03-02
decisions:
  - vulnerability: ADA-2026-01
    products: [{name: Flow 500, version: 2.2.0}]
    status: fixed
`
	described = `release: 1
manufacturer: Norra Medical
model: Flow 500
version: 2.2.0
sequence: 220
hardware: [C]
from: [2.1.4]
urgency: uncontrolled risk
learned: 2026-01-12
notes: Orders are taken only from who is proven.
demands:
  backup: 0s                       # it gives nothing while it starts
  longest: 5m
  resume: 1m
  supervision: clinician present
  battery: 40
envelope: flow500.suit
images: [flow500.bin]
sbom: flow-500-2.2.0.spdx.json
vex: vex.json
advisories: {ADA-2026-01: ada-2026-01.csaf.json}
`
	imageSize = 16 << 10
	folder    = "files/norra-medical/flow-500/2.2.0/" // of the release, at the server
)

// plan is the hospital's: the bench, then everybody.
const plan = `rollout: 1
rings:
  - name: bench
    devices: [%s]
    soak: 10s
  - name: intensive care
poll: 10s
consent: {clinician: true, terms: 2026-03}
`

// A Mending is that release on its way to the pumps. Each pump has an agent that asks the
// server by TLS, and lives while it is stepped.
type Mending struct {
	d     *demo
	flow  *legacy.FlowLink
	pumps map[string]*flow500
}

// A flow500 is a pump, and its firmware.
type flow500 struct {
	*update.Updater
	id     string // at the server
	client *https.Client
	idle   func() // closes what is open to the server
}

// Mend is the release's way without the rest of the morning, for who steps it: the staff
// comes, the maker publishes, the hospital assigns, and the roll-out begins, of pumps that
// the server knows, and pump-3 infuses. Clock is the pumps'.
func Mend(ctx context.Context, c Config, clock func() time.Duration) (*Mending, error) {
	d := newDemo(c)
	te, err := d.arrive(ctx)
	if err != nil {
		return nil, err
	}
	te.close()
	flow, err := legacy.NewFlowLink(legacy.Config{Confirms: true})
	if err != nil {
		return nil, err
	}
	return d.mend(ctx, flow, clock)
}

// mend does what Mend says, for a gateway of which pump-3 and pump-4 are.
func (d *demo) mend(ctx context.Context, flow *legacy.FlowLink, clock func() time.Duration) (*Mending, error) {
	m := &Mending{d: d, flow: flow, pumps: map[string]*flow500{}}
	for login, scopes := range map[string][]string{"ls": {"read", "update", "admin"}, "mh": {"read", "update"}, "jr": {"read", "update"}} {
		if err := m.token(ctx, login, scopes); err != nil {
			return nil, err
		}
	}
	if err := m.publish(ctx); err != nil {
		return nil, fmt.Errorf("the release: %w", err)
	}
	ls, err := d.signIn(ctx, "ls")
	if err != nil {
		return nil, err
	}
	defer ls.close()
	for i := range flows {
		f := &flows[i]
		p := &flow500{}
		err := until(ctx, f.name+" is known", func() (ok bool, err error) {
			p.id, err = ls.device(ctx, f.name)
			return err == nil, err
		})
		if err == nil {
			err = d.quietly(ctx, "link", "keygen", "--out", m.file(f.name+".key"))
		}
		if err == nil {
			err = m.as(ctx, "ls", nil, "keys", p.id+"="+m.file(f.name+".key.pub"))
		}
		if err == nil {
			err = m.firmware(p, f.name, f.version, f.sequence, clock)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		m.pumps[f.name] = p
	}
	if err := m.rollOut(ctx); err != nil {
		return nil, fmt.Errorf("the roll-out: %w", err)
	}
	return m, nil
}

// file is one of the maker's, the hospital's or a pump's.
func (m *Mending) file(name string) string { return m.d.path("updates/" + name) }

// token makes one by which programs may do for a person what she may.
func (m *Mending) token(ctx context.Context, login string, scopes []string) error {
	b, err := m.d.signIn(ctx, login)
	if err != nil {
		return err
	}
	defer b.close()
	var page struct{ Secret string }
	fields := []string{"name", "updates", "days", "1"}
	for _, s := range scopes {
		fields = append(fields, "scope", s)
	}
	if err := b.send(ctx, "/me/tokens", &page, fields...); err != nil {
		return err
	}
	return m.d.write("updates/"+login+".token", []byte(page.Secret+"\n"))
}

// as has a person do something to roll-outs, from the command line; what comes back goes
// into answer as JSON, unless that is nil.
func (m *Mending) as(ctx context.Context, login string, answer any, args ...string) error {
	var out bytes.Buffer
	args = append([]string{"patch", "rollout"}, args...)
	args = append(args, "--server", m.d.Server, "--token", m.file(login+".token"))
	if answer != nil {
		args = append(args, "--format", "json")
	}
	if err := m.d.Verb(ctx, nothing{}, &out, args...); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args[:3], " "), err)
	}
	if answer != nil {
		return json.Unmarshal(out.Bytes(), answer)
	}
	return nil
}

// publish has the maker publish the release, and the hospital assign it.
func (m *Mending) publish(ctx context.Context) error {
	files := map[string][]byte{
		"manifest.yaml": []byte(manifest), "vex.yaml": []byte(statements), "release.yaml": []byte(described), "passphrase": []byte(rand.Text() + "\n"),
		"flow500.bin": update.Image("2.2.0", update.NoFault, imageSize),
	}
	for _, name := range []string{"ada-2026-01.csaf.json", "flow-500-2.2.0.spdx.json"} {
		b, err := sample(name)
		if err != nil {
			return err
		}
		files[name] = b
	}
	for name, b := range files {
		if err := m.d.write("updates/"+name, b); err != nil {
			return err
		}
	}
	norra, ada, site, pass := m.file("norra"), m.file("ada"), filepath.Join(m.d.Data, "updates"), m.file("passphrase")
	key := func(of, name string) string { return filepath.Join(of, "keys", name+".key") }
	root := func(of string) string { return filepath.Join(of, "public", "metadata", "1.root.json") }
	assign := func(ring string) []string {
		return []string{"patch", "assign", ada, "--ring", ring, "--site", site, "norra-medical/flow-500/2.2.0"}
	}
	take := []string{"patch", "import", "hospital=" + filepath.Join(ada, "public"), "makers/norra-medical=" + filepath.Join(norra, "public"), "--site", site}
	for _, verb := range [][]string{
		{"patch", "init", norra, "--passphrase", pass},
		{"link", "keygen", "--out", m.file("maker.key")},
		{"patch", "manifest", "make", m.file("manifest.yaml"), "--key", m.file("maker.key"), "--out", m.file("flow500.suit")},
		{"vex", "--out", m.file("vex.json"), m.file("vex.yaml")},
		{"patch", "release", "add", norra, "--description", m.file("release.yaml"), "--signer", m.file("maker.key.pub")},
		{"patch", "key", "sign", norra, "--key", key(norra, "targets-1"), "--key", key(norra, "targets-2"), "--passphrase", pass},
		{"patch", "publish", norra},
		{"patch", "init", ada, "--for", "hospital", "--passphrase", pass},
		{"patch", "import", "--site", site, "--trust", "hospital=" + root(ada), "--trust", "makers/norra-medical=" + root(norra)},
		take, assign("bench"), assign("icu"),
		{"patch", "key", "sign", ada, "--key", key(ada, "targets"), "--passphrase", pass},
		{"patch", "publish", ada},
		take,
	} {
		if err := m.d.quietly(ctx, verb...); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(verb[:2], " "), err)
		}
	}
	return nil
}

// rollOut makes the roll-out, and sends it on its way: with the consent of the prescriber, and
// a nurse who is there.
func (m *Mending) rollOut(ctx context.Context) error {
	if err := m.d.write("updates/plan.yaml", fmt.Appendf(nil, plan, m.pumps["pump-0"].id)); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(m.d.Data, "updates", filepath.FromSlash(folder+name)) }
	type deed struct {
		who  string
		args []string
	}
	deeds := []deed{
		{"ls", []string{"release", at("release.json"), "--path", folder + "flow500.suit"}},
		{"ls", []string{"create", Rollout, "--release", at("flow500.suit"), "--plan", m.file("plan.yaml"), "--reason", "ADA-2026-01"}},
	}
	for _, name := range []string{"pump-0", "pump-3"} {
		deeds = append(deeds,
			deed{"mh", []string{"consent", Rollout, m.pumps[name].id, "--terms", "2026-03"}},
			deed{"jr", []string{"attend", Rollout, m.pumps[name].id, "--as", patch.ClinicianPresent.String(), "--for", "24h"}})
	}
	for _, d := range append(deeds, deed{"ls", []string{"start", Rollout, "--reason", "ADA-2026-01"}}) {
		if err := m.as(ctx, d.who, nil, d.args...); err != nil {
			return err
		}
	}
	return nil
}

// firmware gives a pump what it runs, and an agent.
func (m *Mending) firmware(p *flow500, name, version string, sequence uint64, clock func() time.Duration) error {
	read := func(file string) (k cose.Key, err error) {
		b, err := os.ReadFile(file)
		if err != nil {
			return k, err
		}
		return cose.ParseKey(b)
	}
	own, err1 := read(m.file(name + ".key"))
	maker, err2 := read(m.file("maker.key.pub"))
	hospital, err3 := read(filepath.Join(m.d.Data, "update.key.pub"))
	ca, err4 := os.ReadFile(filepath.Join(m.d.Data, "ca.pem"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	signer, err := cose.NewSigner(own)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 1}
	if p.client, err = https.New(m.d.Sensors, transport); err != nil {
		return err
	}
	p.idle = transport.CloseIdleConnections
	body := m.flow.Body(name)
	if body == nil { // it lies on the bench
		body = update.NewInfusion(clock)
	}
	vendor := suit.VendorUUID("norra.example")
	p.Updater, err = update.New(update.Config{
		Agent: agent.Config{
			ID: p.id, Hardware: "C", Vendor: vendor, Class: suit.ClassUUID(vendor, "Flow 500 rev C"), Component: suit.NewComponentID("app"), Server: p.client,
			Signer: signer, KeyID: patch.KeyID(&own), Makers: []cose.Key{maker}, Offers: []cose.Key{hospital}, Answers: []cose.Key{hospital}, Clock: clock,
		},
		Body: body, Version: version, Sequence: sequence, Size: imageSize,
	})
	return err
}

// Pumps are their names, the one on the bench first.
func (m *Mending) Pumps() (names []string) {
	for i := range flows {
		names = append(names, flows[i].name)
	}
	return names
}

// ID is a pump's at the server.
func (m *Mending) ID(pump string) string { return m.pumps[pump].id }

// Version is what a pump runs, for who steps it.
func (m *Mending) Version(pump string) string { return m.pumps[pump].Version() }

// Step lets a pump live, as [update.Updater] does. One goroutine steps a pump.
func (m *Mending) Step(ctx context.Context, pump string) (time.Duration, error) {
	return m.pumps[pump].Step(ctx)
}

// End is a nurse who ends the infusion of pump-3. The rate that it had is not ordered again
// by the demo until its update has ended.
func (m *Mending) End(ctx context.Context) error {
	m.d.still.Store(true)
	return m.flow.Stop(ctx, "pump-3")
}

// Infusing reports whether pump-3 gives a drug.
func (m *Mending) Infusing() bool { return m.flow.State().(legacy.FlowLinkState).Pump3.Flow > 0 }

// Close leaves no connection behind.
func (m *Mending) Close() {
	for _, p := range m.pumps {
		p.client.Close()
		p.idle()
	}
}

// How long pump-3 infuses after the morning, before a nurse ends that.
const infusion = 2 * time.Minute

// run lets the pumps live until ctx ends, and a nurse end the infusion of pump-3, when it has
// been seen to wait for that.
func (m *Mending) run(ctx context.Context) error {
	defer m.Close()
	for name, p := range m.pumps {
		m.d.all.Go(func() {
			for ctx.Err() == nil {
				wait, err := p.Step(ctx)
				if err != nil && ctx.Err() == nil {
					fmt.Fprintf(m.d.Did, "%s: %v\n", name, err)
				}
				_ = awhile(ctx, max(wait, time.Second))
			}
		})
	}
	if err := m.becomes(ctx, func(w waiting) bool { return strings.Contains(w.Waits, patch.TherapyGate.String()) }); err != nil {
		return err
	}
	select {
	case <-m.d.over:
	case <-ctx.Done():
	}
	for ended := false; !ended; {
		if err := awhile(ctx, infusion); err != nil {
			return err
		}
		if err := m.End(ctx); err != nil {
			return err
		}
		m.d.told("the infusion of pump-3 has ended: it may be updated now")
		again, stop := context.WithTimeout(ctx, infusion) // somebody may have begun another one
		err := m.becomes(again, func(w waiting) bool { return w.Outcome != "" })
		stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		ended = err == nil
		m.d.still.Store(false)
	}
	m.d.told("pump-3 is updated to 2.2.0")
	<-ctx.Done()
	return nil
}

// waiting is what the server says of pump-3.
type waiting struct{ Device, Waits, Outcome string }

// becomes looks now and then, until it is so.
func (m *Mending) becomes(ctx context.Context, so func(waiting) bool) error {
	for {
		var list struct{ Items []waiting }
		if err := m.as(ctx, "ls", &list, "devices", Rollout); err != nil && ctx.Err() == nil {
			return err
		}
		for _, w := range list.Items {
			if w.Device == m.pumps["pump-3"].id && so(w) {
				return nil
			}
		}
		if err := awhile(ctx, 3*time.Second); err != nil {
			return err
		}
	}
}
