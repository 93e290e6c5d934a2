// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
)

// The names of guard.yaml.
const (
	infusionFront, infusionPump = "gw-icu", "pump-3"
	insulinFront, insulinPump   = "radio", "ipump-ben"
	nurse                       = "jr"
	password                    = "correct horse battery staple"
	// cheap is the password's hash, with the least parameters that the guard takes.
	cheap = "$argon2id$v=19$m=19456,t=2,p=1$dHJpYWwtc2FsdC0xNmJ5dA$DT54oSN9olRBYLzux58diyOmXBpGnMJzLw//8rscCA4"
)

// A place is a folder with the files of a guard, the devices that it stands before, and
// whoever may speak to it.
type place struct {
	dir, binary string
	late        bool // who stands at the infusion pump confirms later

	orders, returns, radio, page, fhir, pipe, store, proxy string // where the guard listens

	version int // of the envelope of noradrenaline that is on the disk

	flowlink *legacy.FlowLink
	castor   *legacy.Castor
	pump     legacy.Device
	gateway  *recorder // of what FlowLink is told
	ehr      *recorder // of what Castor is told
	archive  *archive  // what is stored, by FHIR and DICOM
	server   string    // where it takes FHIR

	client    *tls.Config // of the hospital information system
	clinician holder
	guardKey  *edhoc.Authenticator
	verifier  string // the ledger's public key

	ending context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// A holder has a key and a token.
type holder struct {
	own   *edhoc.Authenticator
	token []byte
}

// newPlace writes the files, starts the devices, and builds the program, unless there is one.
func newPlace(dir, binary string, late bool, taken func(legacy.Entry)) (p *place, err error) {
	p = &place{dir: dir, binary: binary, late: late, archive: new(archive), version: 1}
	p.ending, p.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.binary == "" {
		p.binary = filepath.Join(dir, "myelin")
		if out, err := exec.Command("go", "build", "-o", p.binary, "github.com/myelin-health/myelin/cmd/myelin").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	if err := os.MkdirAll(p.temp(), 0o700); err != nil {
		return nil, err
	}
	for _, a := range []*string{&p.orders, &p.returns, &p.page, &p.fhir, &p.pipe, &p.store, &p.proxy} {
		if *a, err = loopback.Free("tcp"); err != nil {
			return nil, err
		}
	}
	if p.radio, err = loopback.Free("udp"); err != nil {
		return nil, err
	}
	return p, p.furnish(taken)
}

// furnish makes all that the guard's files name.
func (p *place) furnish(taken func(legacy.Entry)) error {
	ca, err := testpki.New("St. Ada trial authority")
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.pem": ca.PEM()}
	var castorTLS tls.Certificate
	for _, name := range []string{"guard", "castor", "ehr"} {
		c, err := ca.Issue(name + ".stada.example")
		if err != nil {
			return err
		}
		switch name {
		case "guard":
			if files["guard.pem"], files["guard-tls.key"], err = testpki.PEM(c); err != nil {
				return err
			}
		case "castor":
			castorTLS = c
		case "ehr":
			p.client = &tls.Config{RootCAs: ca.Pool(), ServerName: "guard.stada.example", Certificates: []tls.Certificate{c}}
		}
	}
	private, public, err := ledger.GenerateKey(rand.Reader, "ada.example/trial", false)
	if err != nil {
		return err
	}
	files["ledger.key"], p.verifier = []byte(private+"\n"), public
	if err := p.clinic(files); err != nil {
		return err
	}
	if files["guard.yaml"], err = p.devices(files, castorTLS, ca, taken); err != nil {
		return err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// clinic enrols a clinician, whose token may give insulin.
func (p *place) clinic(files map[string][]byte) error {
	root, _, err := newKey("clinic", false)
	if err != nil {
		return err
	}
	signer, err := cose.NewSigner(root)
	if err != nil {
		return err
	}
	authority := &cwt.Authority{Name: "clinic.example", KID: root.ID, Signer: signer, Random: rand.Reader}
	key, own, err := newKey("mh", false)
	if err != nil {
		return err
	}
	if err := authority.Enrol(cwt.Holder{Subject: "mh", Role: device.Clinician, Key: key}); err != nil {
		return err
	}
	var verbs []cwt.VerbGrant
	for _, v := range []device.Verb{device.ReadSettings, device.ReadTelemetry, device.DeliverBolus, device.CancelBolus} {
		verbs = append(verbs, cwt.VerbGrant{Verb: v})
	}
	now := time.Now().Unix()
	p.clinician.own = own
	p.clinician.token, err = authority.Issue("mh", &cwt.Terms{Audience: insulinPump, Verbs: verbs, IssuedAt: now, NotBefore: now - 3600, Expires: now + 24*3600})
	if err != nil {
		return err
	}
	it, own, err := newKey("!", true)
	if err != nil {
		return err
	}
	p.guardKey = own
	files["guard.key"] = it.AppendSecret(nil)
	files["trust.json"], err = json.Marshal(cwt.Trust{Name: authority.Name, Key: hex.EncodeToString(root.AppendPublic(nil))})
	return err
}

// newKey makes a key and its credential, which goes by a name or by itself.
func newKey(id string, named bool) (cose.Key, *edhoc.Authenticator, error) {
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		return k, nil, err
	}
	k.ID = []byte(id)
	public := k.Public()
	public.ID = nil
	var kid []byte
	if named {
		kid = k.ID
	}
	cred, err := edhoc.NewCCS(public, "", kid)
	if err != nil {
		return k, nil, err
	}
	d, err := k.PrivateECDH()
	if err != nil {
		return k, nil, err
	}
	own, err := edhoc.NewStaticDH(d, cred)
	return k, own, err
}

// devices starts what stands behind the guard, and returns guard.yaml.
func (p *place) devices(files map[string][]byte, castorTLS tls.Certificate, ca *testpki.Authority, taken func(legacy.Entry)) ([]byte, error) {
	var err error
	if p.castor, err = legacy.NewCastor(legacy.Config{}); err != nil {
		return nil, err
	}
	p.ehr = newRecorder(p.castor)
	castor, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.serve(p.ehr, tls.NewListener(castor, &tls.Config{Certificates: []tls.Certificate{castorTLS}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}))
	if p.flowlink, err = legacy.NewFlowLink(legacy.Config{Upstream: p.returns, Confirms: !p.late}); err != nil {
		return nil, err
	}
	p.gateway = newRecorder(p.flowlink)
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.serve(p.gateway, inside)
	secret := make([]byte, legacy.SecretSize)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	files["secret"] = []byte(hex.EncodeToString(secret))
	if p.pump, err = legacy.New("dose-classic", legacy.Config{Secret: secret, Noted: taken}); err != nil {
		return nil, err
	}
	radio, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.work.Go(func() { _ = p.pump.Serve(p.ending, radio) })
	if p.server, err = p.plain(); err != nil {
		return nil, err
	}
	images, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.serve(p.archive, images)
	files["noradrenaline.yaml"] = p.envelope()
	files["insulin.yaml"] = fmt.Appendf(nil, head+insulin, 1)
	three, _ := ward.Pumps()
	_, port, _ := net.SplitHostPort(p.server)
	return []byte(strings.NewReplacer(
		"PAGE", p.page, "HASH", cheap, "ORDERS", p.orders, "RETURNS", p.returns, "RADIO", p.radio, "FHIR", p.fhir, "PIPE", p.pipe,
		"STORE", p.store, "PROXY", p.proxy, "IMAGES", images.Addr().String(),
		"FLOWLINK", inside.Addr().String(), "CASTOR", castor.Addr().String(), "CLASSIC", radio.LocalAddr().String(), "SERVERPORT", port, "SERVER", p.server, "EUI", three.ID(),
	).Replace(configuration)), nil
}

// temp is where the guard makes what it needs for a while.
func (p *place) temp() string { return filepath.Join(p.dir, "temp") }

// envelope is the file of noradrenaline as it is to be now.
func (p *place) envelope() []byte { return fmt.Appendf(nil, head+noradrenaline, p.version) }

// renew gives the envelope another version, and tells the guard, at times of a file that is damaged first.
func (p *place) renew(g *process, damaged bool) error {
	p.version++
	files := [][]byte{p.envelope()}
	if damaged {
		files = [][]byte{files[0][:len(files[0])/2], files[0]}
	}
	for _, b := range files {
		name := filepath.Join(p.dir, "noradrenaline.yaml")
		if err := os.WriteFile(name+".new", b, 0o600); err != nil {
			return err
		}
		if err := os.Rename(name+".new", name); err != nil {
			return err
		}
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond) // two signals at once are one
	}
	return nil
}

// A server takes connections.
type server interface {
	ServeConn(ctx context.Context, c net.Conn) error
}

// serve has a device serve a listener.
func (p *place) serve(d server, l net.Listener) {
	context.AfterFunc(p.ending, func() { l.Close() })
	p.work.Go(func() {
		var all sync.WaitGroup
		defer all.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _ = d.ServeConn(p.ending, c) })
		}
	})
}

func (p *place) close() {
	p.cancel()
	p.work.Wait()
}

const head = `envelope: 1
name: trial
version: %d
author: {id: mh, role: prescriber}
approver: {id: kp, role: pharmacist}
risk: {record: RM-TRIAL, manufacturer: invented}
enforce: true
`

// The limits. An order has a second to begin, so that what the gateway reports settles it, and
// one above 0.545 waits for a person, for holdFor; a bolus has ten minutes to be given.
const (
	noradrenaline = `therapy: drug infusion
drug: noradrenaline
sums:
  unit: ug/kg
  windows:
    - {window: 1h, highest: 48 ug/kg}
verbs:
  set-infusion-rate: {max: 1.0 ug/kg/min, takes: 1s, confirm: second-person, above: 0.545 ug/kg/min, hold: 1s}
`
	insulin = `therapy: insulin infusion
sums:
  unit: U
  windows:
    - {window: 4h, highest: 12 U}
verbs:
  deliver-bolus: {max: 8 U, takes: 10m}
  cancel-bolus: {}
`
)

const configuration = `guard: 1
site: St. Ada Hospital, the trial
state: state
ledger: {folder: ledger, key: ledger.key}
page:
  listen: PAGE
  address: https://guard.icu.ada.example/
  tls: {certificate: guard.pem, key: guard-tls.key}
people:
  - {id: jr, role: nurse, password: "HASH"}
devices:
  - {id: pump-3, therapy: drug infusion, envelope: noradrenaline.yaml}
  - {id: ipump-ben, therapy: insulin infusion, envelope: insulin.yaml}
  - {id: archive, therapy: monitoring}
fronts:
  - name: gw-icu
    kind: hl7
    device: pump-3
    protects: server
    bypass: program the pump at its keypad
    listen: {address: "ORDERS", tls: {certificate: guard.pem, key: guard-tls.key, authorities: ca.pem}}
    forward: FLOWLINK
    limits: {connections: 1024, per-peer: 1024, rate: 100000}
    order-rate: 100000
    order-burst: 100000
    pumps:
      pump-3: [EUI]
    returns:
      ehr:
        listen: RETURNS
        forward: {address: "CASTOR", tls: {certificate: guard.pem, key: guard-tls.key, authorities: ca.pem, name: castor.stada.example}}
    senders:
      ehr:
        application: CastorEHR
        certificates: [ehr.stada.example]
        role: clinician
        messages: [RGV^O15]
        returns: ehr
    receivers:
      - {application: FlowLink}
  - name: radio
    kind: coap
    device: ipump-ben
    protects: server
    bypass: the pump's own keypad
    listen: RADIO
    forward: CLASSIC
    key: guard.key
    trust: [trust.json]
    wake-ups: {peer: 600, all: 6000}
    inside: {carrier: udp, dialect: okapi-classic, address: 0x3b1f06, rate: basal, secret: secret, topology: sole-path, answer-within: 500ms}
  - name: fhir
    kind: http
    device: archive
    protects: server
    bypass: ask at the desk
    listen: {address: "FHIR", tls: {certificate: guard.pem, key: guard-tls.key, authorities: ca.pem}}
    forward: SERVER
    limits: {connections: 1024, per-peer: 1024, rate: 100000, handshake: 3s, unfinished: 20s}
    host: guard.stada.example
    base: /fhir
    clients:
      ehr: {certificate: ehr.stada.example, role: clinician, requests: 100000}
    allow:
      - {interactions: [capabilities]}
      - {interactions: [read, update], types: [Observation]}
  - name: pipe
    kind: tcp
    device: archive
    protects: server
    bypass: the console
    listen: {address: "PIPE", tls: {certificate: guard.pem, key: guard-tls.key, authorities: ca.pem}}
    forward: SERVER
    limits: {connections: 1024, per-peer: 1024, rate: 100000}
  - name: store
    kind: dicom
    device: archive
    protects: server
    bypass: the archive's own address
    listen: {address: "STORE", tls: {certificate: guard.pem, key: guard-tls.key, authorities: ca.pem}}
    forward: IMAGES
    limits: {connections: 1024, per-peer: 1024, rate: 100000}
    bounds: {per-ae: 1024, associations: 1024}
    associations:
      - {calling: TRIALCT, called: TRIALPACS, certificate: "san:ehr.stada.example", access: store-only, sop-classes: [storage, verification]}
  - name: proxy
    kind: egress
    device: archive
    protects: client
    bypass: none is needed
    listen: "PROXY"
    limits: {connections: 1024, per-peer: 1024, rate: 100000}
    allow:
      - {networks: [127.0.0.1/32], ports: [SERVERPORT]}
`

// A process is a guard that runs.
type process struct {
	cmd   *exec.Cmd
	log   tail
	ended chan struct{} // closed when it has
	err   error         // how, after that
}

// A tail is the end of what a guard has logged. It takes writes of one goroutine.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 8 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}

// start starts a guard.
func (p *place) start() (*process, error) {
	g := &process{ended: make(chan struct{})}
	g.cmd = exec.Command(p.binary, "guard", "run", "--config", filepath.Join(p.dir, "guard.yaml"))
	g.cmd.Stderr, g.cmd.Env = &g.log, append(os.Environ(), "TMPDIR="+p.temp())
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		g.err = g.cmd.Wait()
		close(g.ended)
	}()
	return g, nil
}

// kill ends it without warning.
func (g *process) kill() {
	_ = g.cmd.Process.Kill()
	<-g.ended
}

// stop lets it end in order.
func (g *process) stop(within time.Duration) error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-g.ended:
		if g.err != nil {
			return fmt.Errorf("the guard did not end in order: %w: %s", g.err, g.log.String())
		}
		return nil
	case <-time.After(within):
		g.kill()
		return fmt.Errorf("the guard did not end within %v: %s", within, g.log.String())
	}
}

// ready waits until it serves, and returns how long that took.
func (p *place) ready(g *process, within time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		c, err := net.Dial("tcp", p.orders)
		if err == nil {
			c.Close()
			return time.Since(began), nil
		}
		select {
		case <-g.ended:
			return 0, fmt.Errorf("the guard ended by itself: %w: %s", errors.Join(g.err, err), g.log.String())
		default:
		}
		if time.Since(began) > within {
			return 0, fmt.Errorf("the guard does not serve after %v: %s", within, g.log.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
}
