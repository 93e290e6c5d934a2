// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package linux is an agent of patch/agent for a device that runs Linux: its slots and
// its boot record are files in one folder, or partitions that these lead to, and what
// is to be done on the device a program does, the hook.
//
//	DIR/slot-a, slot-b   images, from the first byte on
//	DIR/record           which of them runs
//	DIR/delta            how far a delta was applied
//	DIR/receipts/        how updates ended, signed; for who carries them by hand
//	DIR/maker, hospital  what is believed of their repositories
//	DIR/lock             one agent at a time
//
// # The hook
//
// The hook is called with a verb and its arguments as words, and has its time. It says
// what went wrong in the first line of its standard error, and that something did by
// its exit status.
//
//	state                     prints what the device is doing, as JSON: doing, known,
//	                          battery, mains, longevity, link, near, settings, saved
//	                          (patch.State); what is left out is not known
//	save                      saves the settings where no update reaches them, and prints
//	                          their SHA-256
//	quiesce, release          lets no therapy begin, and does again
//	restart                   ends what runs; one that restarts the machine does not return
//	start SLOT FILE SIZE HOW  starts an image: A or B, where it is, its bytes, and "trial" or
//	                          "confirmed"
//	watch SECONDS             restarts the device after so long; 0 is never. Where it fails
//	                          nothing is installed
//	selftest                  0: passed; 75: under way
//	resumed                   0: therapy was seen to be given as before
//
// A device whose own loader starts its firmware has the agent call [agent.Boot] there.
//
// Where repositories are configured, an offer is worth nothing but for a release that the maker
// publishes and the hospital assigns to this device, by TUF metadata that has not
// expired at a signed time (patch/repo).
//
// This API follows the server and may change.
package linux

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/flock"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/agent/https"
	"github.com/myelin-health/myelin/patch/repo"
)

// Keys are those that a configuration names, read.
type Keys struct {
	Own      cose.Key
	Makers   []cose.Key
	Hospital []cose.Key
}

// The sizes of files.
const (
	block       = 64 << 10
	recordBlock = 4 << 10
	keptReceipt = 64
	maxRoot     = 512_000
)

// A Machine is a device that runs Linux. It is for one goroutine, and is to be closed.
type Machine struct {
	cfg    *Config
	hook   *hook
	layout agent.Layout
	agent  agent.Config
	server *https.Client
	lock   *os.File
	files  []*agent.File
	repos  [2]*repo.Client // the maker's and the hospital's; nil: none
	now    func() time.Time
	said   string
	pause  func(context.Context, time.Duration) error
	say    func(format string, args ...any)
}

// Open opens the folder of a configuration. Say is told what happens, line by line.
func Open(c *Config, keys *Keys, say func(format string, args ...any)) (*Machine, error) {
	m := &Machine{cfg: c, say: say, pause: pause, now: func() time.Time { return time.Time{} }}
	if err := m.open(keys); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Machine) open(keys *Keys) error {
	c := m.cfg
	if err := os.MkdirAll(filepath.Join(c.State, "receipts"), 0o700); err != nil {
		return err
	}
	var err error
	if m.lock, err = flock.Take(filepath.Join(c.State, "lock")); err != nil {
		return fmt.Errorf("%s: %w", c.State, err)
	}
	file := func(name string, size int64, block int) agent.Flash {
		if err != nil {
			return nil
		}
		var f *agent.File
		if f, err = agent.OpenFile(m.path(name), size, block); err != nil {
			return nil
		}
		m.files = append(m.files, f)
		return f
	}
	m.layout = agent.Layout{
		Record: file("record", 2*recordBlock, recordBlock),
		Slots:  [2]agent.Flash{file("slot-a", c.Slot, block), file("slot-b", c.Slot, block)},
		Delta:  file("delta", 4*recordBlock, recordBlock),
	}
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DisableCompression = nil, true
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificate in PEM", c.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	if m.server, err = https.New(c.Server, transport); err != nil {
		return err
	}
	signer, err := cose.NewSigner(keys.Own)
	if err != nil {
		return err
	}
	m.hook = &hook{argv: c.Hook, timeout: c.Timeout, say: m.say}
	public := keys.Own.Public()
	m.agent = agent.Config{
		ID: c.Device, Hardware: c.Hardware, Vendor: c.Vendor, Class: c.Class, Component: c.Component,
		Layout: m.layout, Device: m.hook, Server: m.server,
		Signer: signer, KeyID: patch.KeyID(&public), Makers: keys.Makers, Offers: keys.Hospital, Answers: keys.Hospital,
		Clock: uptime, Receipt: m.receipt, Progress: 16 * block, PollEvery: 512 * block,
	}
	if c.Repositories != nil {
		m.agent.Vouch = m.vouch
		return m.trust(transport)
	}
	return nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.cfg.State, name) }

// trust begins with the roots of the configuration, and goes on with what was verified.
func (m *Machine) trust(transport http.RoundTripper) error {
	r := m.cfg.Repositories
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for i, x := range []struct{ dir, at, root string }{{"maker", r.Maker, r.MakerRoot}, {"hospital", r.Hospital, r.HospitalRoot}} {
		dir := m.path(x.dir)
		if _, err := os.Stat(filepath.Join(dir, "root.json")); errors.Is(err, fs.ErrNotExist) {
			root, err := os.ReadFile(x.root)
			if err != nil {
				return err
			}
			if len(root) > maxRoot {
				return fmt.Errorf("%s: no root of a repository", x.root)
			}
			if err := repo.Trust(dir, root); err != nil {
				return err
			}
		}
		base := repo.HTTP{Base: strings.TrimSuffix(m.cfg.Server, "/") + "/update/v1/" + x.at, Client: client}
		var err error
		if m.repos[i], err = repo.NewClient(repo.Config{
			Dir: dir, Metadata: repo.Below(base, "metadata"), Targets: repo.Below(base, "targets"),
			Now: func() time.Time { return m.now() },
		}); err != nil {
			return err
		}
	}
	return nil
}

// errOffered is of an offer of something else than both repositories say.
var errOffered = errors.New("the offer is not of the release that the maker publishes and the hospital assigns")

// vouch holds an offer against both repositories.
func (m *Machine) vouch(ctx context.Context, o *patch.Offer) error {
	r := m.cfg.Repositories
	u, err := repo.FullVerification(ctx, m.repos[0], m.repos[1], repo.Subject{
		Device: m.cfg.Device, Rings: r.Rings, Manufacturer: r.Manufacturer, Model: r.Model, Hardware: m.cfg.Hardware,
	})
	if err != nil {
		return err
	}
	if u.Release.Envelope != o.Envelope || u.Version != o.Version || u.Sequence != o.Sequence {
		return errOffered
	}
	// What the hospital's offer raises, counts; the maker's lists stand.
	o.Demands = u.Demands.Raised(o.Demands)
	return nil
}

// receipt keeps how an update ended, as it was signed.
func (m *Machine) receipt(b []byte) error {
	dir := m.path("receipts")
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for len(list) >= keptReceipt { // ordered by name, which begins with the time
		if err := os.Remove(filepath.Join(dir, list[0].Name())); err != nil {
			return err
		}
		list = list[1:]
	}
	sum := sha256.Sum256(b)
	name := strconv.FormatInt(max(0, m.now().Unix()), 10) + "-" + hex.EncodeToString(sum[:8]) + ".cose"
	return os.WriteFile(filepath.Join(dir, name), b, 0o600)
}

// began is when this process did, where the machine does not say how long it is on.
var began = time.Now()

// uptime is how long the machine is on.
func uptime() time.Duration {
	b, err := os.ReadFile("/proc/uptime")
	if err == nil {
		first, _, _ := strings.Cut(string(b), " ")
		if s, err := strconv.ParseFloat(first, 64); err == nil && s >= 0 {
			return time.Duration(s * float64(time.Second))
		}
	}
	return time.Since(began)
}

// Provision says what runs: the first thing in the life of a device.
func (m *Machine) Provision(image, version string, sequence uint64) error {
	if _, err := agent.Boot(&m.layout); err == nil || !errors.Is(err, agent.ErrBlank) {
		return errors.Join(fmt.Errorf("%s: this device is provisioned", m.cfg.State), err)
	}
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	return agent.Provision(&m.layout, f, version, sequence)
}

// atOnce is how long an agent that has more to do waits at most.
const atOnce = 5 * time.Second

// Run is the device's life from here on: it starts what is to run, and keeps it up to
// date, until ctx ends. Once ends it when there is nothing more to do for a while.
func (m *Machine) Run(ctx context.Context, once bool) error {
	m.hook.ctx = ctx
	for {
		s, err := agent.Boot(&m.layout)
		if errors.Is(err, agent.ErrBlank) {
			return fmt.Errorf("%w; say once what runs, with --provision", err)
		}
		if err != nil {
			return err
		}
		slot, how := "a", "confirmed"
		if s.Slot == 1 {
			slot = "b"
		}
		if s.Trial {
			how = "trial"
		}
		if _, err := m.hook.run("start", strings.ToUpper(slot), m.path("slot-"+slot), strconv.FormatInt(s.Size, 10), how); err != nil {
			m.say("%v", err) // a version that does not start does not confirm itself
		}
		a, err := agent.New(m.agent, s)
		if err != nil {
			return err
		}
		m.now = a.Now
		for {
			wait, err := a.Step(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, agent.ErrRestart) {
				if m.hook.restart != nil {
					return m.hook.restart // the machine is about to restart, or nobody knows what runs
				}
				break
			}
			m.tell(a, err)
			if once && wait > atOnce {
				return err
			}
			if err := m.pause(ctx, wait); err != nil {
				return err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell says how things are, when that has changed.
func (m *Machine) tell(a *agent.Agent, err error) {
	s := a.State()
	line := "runs " + s.Version
	switch r := s.Result; {
	case r != nil && r.Reason != "":
		line += fmt.Sprintf("; the update is %s: %s", r.Outcome, plain(r.Reason))
	case r != nil:
		line += fmt.Sprintf("; the update is %s", r.Outcome)
	case s.Trial:
		line += " on trial"
	case s.Staged != patch.Digest{}:
		line += ", has staged another version"
	case s.Bytes > 0:
		line += ", fetches another version"
	}
	for _, w := range a.Waits() {
		line += fmt.Sprintf("; waits (%s): %s", w.Gate, w.Why)
	}
	if err != nil {
		line += "; " + plain(err.Error())
	}
	if line != m.said {
		m.said = line
		m.say("%s", line)
	}
}

// Close lets go of the folder.
func (m *Machine) Close() error {
	var err error
	for _, f := range m.files {
		err = errors.Join(err, f.Close())
	}
	if m.server != nil {
		err = errors.Join(err, m.server.Close())
	}
	if m.lock != nil {
		err = errors.Join(err, m.lock.Close())
	}
	return err
}
