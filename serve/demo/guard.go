// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin"
	"github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/sim/legacy"
)

// guarded is the guard of examples/guard, and where things are that it is between.
type guarded struct {
	ports   map[string]string // address by the port in its file
	secrets map[string][]byte // that it shares with its old devices
}

// at is an address of the example's, by its port there.
func (g *guarded) at(port string) string { return g.ports[port] }

// devices are what stands behind the guard, simulated.
type devices struct {
	pumps  *legacy.FlowLink
	castor *legacy.Castor
	icd    legacy.Device
	ipump  legacy.Device
	stim   legacy.Device
	deaf   atomic.Bool // the answer to Ben's pump's next bolus is lost
}

var address = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// listed names implants as the hospital's list does, which has numbers in place of names.
var listed = strings.NewReplacer(
	"St. Ada Hospital (sample)", "St. Ada Hospital",
	": icd-anna", ": icd-1", ": ipump-ben", ": ipump-1", ": stim-cleo", ": stim-1",
)

// overUDP are the example's ports that are none of TCP.
var overUDP = map[string]bool{"5684": true, "5685": true, "5688": true, "5674": true, "5675": true, "5678": true}

// files puts the example into the demo's folder, on ports that are free, with its secrets.
func (d *demo) files(ctx context.Context, token string) (*guarded, error) {
	g := &guarded{ports: map[string]string{}, secrets: map[string][]byte{}}
	var failed error
	here := func(text string) string {
		port := address.FindStringSubmatch(text)[1]
		if g.ports[port] == "" {
			network := "tcp"
			if overUDP[port] {
				network = "udp"
			}
			at, err := loopback.Free(network)
			if err != nil {
				failed = err
			}
			g.ports[port] = at
		}
		return g.ports[port]
	}
	const from = "examples/guard"
	err := fs.WalkDir(myelin.Sample, from, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := myelin.Sample.ReadFile(name)
		if err != nil {
			return err
		}
		text := string(b)
		if path.Base(name) == "guard.yaml" {
			text = address.ReplaceAllStringFunc(text, here)
			text = listed.Replace(text)
			text += fmt.Sprintf("\nserver: {url: %q, enrolment: token, confirms: true}\n", d.Sensors)
		}
		return d.write("guard/"+strings.TrimPrefix(name, from+"/"), []byte(text))
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if err := d.write("guard/token", []byte(token)); err != nil {
		return nil, err
	}
	return g, d.secrets(ctx, g)
}

func (d *demo) write(name string, b []byte) error {
	name = d.path(name)
	if err := os.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

// secrets makes what certificates.sh makes.
func (d *demo) secrets(ctx context.Context, g *guarded) error {
	ca, err := testpki.New("St. Ada sample authority")
	if err != nil {
		return err
	}
	if err := d.write("guard/tls/ca.pem", ca.PEM()); err != nil {
		return err
	}
	for file, name := range map[string]string{"guard": "127.0.0.1", "ehr": "ehr.ada.example", "ct-1": "ct-1.ada.example", "view-1": "view-1.ada.example"} {
		c, err := ca.Issue(name)
		if err != nil {
			return err
		}
		cert, key, err := testpki.PEM(c)
		if err == nil {
			err = d.write("guard/tls/"+file+".pem", cert)
		}
		if err == nil {
			err = d.write("guard/tls/"+file+".key", key)
		}
		if err != nil {
			return err
		}
	}
	in := func(name string) string { return d.path("guard/" + name) }
	for _, name := range []string{"icd", "pump", "stim"} {
		b := make([]byte, legacy.SecretSize)
		rand.Read(b)
		g.secrets[name] = b
		if err := d.write("guard/"+name+".secret", fmt.Appendf(nil, "%x\n", b)); err != nil {
			return err
		}
	}
	for _, verb := range [][]string{
		{"ledger", "key", "--name", "ada.example/guard", "--out", in("ledger.key")},
		{"link", "enrol", "--authority", in("clinic"), "--create", "clinic.ada.example"},
		{"link", "keygen", "--out", in("icd-front.key")},
		{"link", "keygen", "--out", in("pump-front.key")},
		{"link", "keygen", "--out", in("stim-front.key")},
	} {
		if err := d.quietly(ctx, verb...); err != nil {
			return err
		}
	}
	return nil
}

// protect starts the devices, and the guard before them, and waits until it is there.
func (d *demo) protect(ctx context.Context) error {
	token, err := d.te.enrolment(ctx, "guard", "guard, St. Ada")
	if err != nil {
		return err
	}
	if d.guard, err = d.files(ctx, token); err != nil {
		return err
	}
	if err := d.simulate(ctx); err != nil {
		return err
	}
	if err := d.clinic(ctx); err != nil {
		return err
	}
	d.beside(ctx, nothing{}, "guard", "run", "--config", d.path("guard/guard.yaml"))
	return until(ctx, "the guard is at the server", func() (bool, error) {
		var page struct{ Total int }
		err := d.te.get(ctx, "/guard?kind=configuration-changed", &page)
		return page.Total > 0, err
	})
}

// simulate starts the devices.
func (d *demo) simulate(ctx context.Context) (err error) {
	g, all := d.guard, &devices{}
	noted := func(e legacy.Entry) { fmt.Fprintln(d.Did, e) }
	d.devices = all
	if all.castor, err = legacy.NewCastor(legacy.Config{Noted: noted}); err != nil {
		return err
	}
	if all.pumps, err = legacy.NewFlowLink(legacy.Config{Noted: noted, Confirms: true, Upstream: g.at("24003")}); err != nil {
		return err
	}
	for port, dev := range map[string]legacy.Device{"24002": all.castor, "24000": all.pumps} {
		l, err := net.Listen("tcp", g.at(port))
		if err != nil {
			return err
		}
		d.all.Go(func() { _ = legacy.ServeListener(ctx, l, dev) })
	}
	for port, is := range map[string]struct {
		model, secret string
		as            *legacy.Device
	}{
		"5674": {"rhythm-s", "icd", &all.icd}, "5675": {"dose-classic", "pump", &all.ipump}, "5678": {"calm", "stim", &all.stim},
	} {
		if *is.as, err = legacy.New(is.model, legacy.Config{Noted: noted, Secret: g.secrets[is.secret]}); err != nil {
			return err
		}
		s, err := net.ListenPacket("udp", g.at(port))
		if err != nil {
			return err
		}
		if is.model == "dose-classic" {
			s = &lossy{PacketConn: s, pump: all.ipump, deaf: &all.deaf}
		}
		d.all.Go(func() { _ = (*is.as).Serve(ctx, s) })
	}
	return nil
}

// A lossy path loses what a pump answers to a bolus, when it is told to: the pump has
// given it, and nobody knows.
type lossy struct {
	net.PacketConn
	pump legacy.Device
	deaf *atomic.Bool

	mu      sync.Mutex
	boluses int
	until   time.Time
}

// lost is how long the path is gone then: the guard asks again.
const lost = 15 * time.Second

func (l *lossy) WriteTo(b []byte, to net.Addr) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, _ := l.pump.State().(legacy.PumpState)
	if l.deaf.Load() && s.Boluses > l.boluses {
		l.deaf.Store(false)
		l.until = time.Now().Add(lost)
	}
	l.boluses = s.Boluses
	if time.Now().Before(l.until) {
		return len(b), nil
	}
	return l.PacketConn.WriteTo(b, to)
}
