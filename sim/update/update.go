// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package update gives simulated devices firmware: two slots, a loader, a watchdog,
// and the agent of patch/agent, over the therapy of a [Body]. Firmware does nothing
// but say which version it is ([Image]), and what is wrong with it ([Fault]): that it
// does not start, loses settings, does not take therapy up again, or is never heard of
// again.
//
// An [Updater] starts nothing and has no clock of its own: it is stepped, and says when
// it wants to be next.
//
// This API follows the server and may change.
package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/suit"
)

// A Fault is what is wrong with a version, or with one device that runs it.
type Fault uint8

// The faults.
const (
	NoFault       Fault = iota
	FailsSelfTest       // and falls back at once
	Hangs               // until the watchdog bites
	LosesSettings       // which are the factory's then
	NoTherapy           // is taken up again
	Stuck               // no therapy, and none by the old version either: loss of function
	Silent              // works, and is never heard of again
	faultCount
)

var faults = [faultCount]string{"none", "fails-self-test", "hangs", "loses-settings", "no-therapy", "stuck", "silent"}

func (f Fault) String() string { return faults[min(f, faultCount-1)] }

// A Body is what a device does to a body, as far as an update has to do with it. The
// updater's goroutine calls it.
type Body interface {
	// Condition fills in Doing and Known, Battery, Mains, Longevity, Link and Near of a
	// State.
	Condition(s *patch.State)

	// Settings are what is programmed. Program programs it, nil as the factory did.
	Settings() []byte
	Program(settings []byte)

	// Hold lets no therapy begin and no setting be changed, or does again.
	Hold(on bool)

	// Start is after the device has started with a version, which gives therapy or does
	// not.
	Start(version string, gives bool)

	// Given is how long therapy was given since Start, and whether it is to be given.
	Given() (d time.Duration, giving bool)
}

// The times of a simulated device.
const (
	startTime    = 2 * time.Second
	selfTestTime = 3 * time.Second
	seenTime     = 5 * time.Second // in which a sensor sees that therapy is given
)

const header = "myelin simulated firmware\n"

// Image is firmware of a version, of so many bytes. Versions differ in a few places.
func Image(version string, fault Fault, size int) []byte {
	b := make([]byte, max(size, 256))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	sum := sha256.Sum256([]byte(version))
	for i := range 8 { // what was compiled anew
		copy(b[len(b)/8*i:], sum[:])
	}
	copy(b, fmt.Sprintf("%sversion %s\nfault %s\n\n", header, version, fault))
	return b
}

// parseImage reads what [Image] wrote at the beginning.
func parseImage(b []byte) (version string, fault Fault, err error) {
	text, ok := bytes.CutPrefix(b, []byte(header))
	lines := strings.SplitN(string(text), "\n", 3)
	if !ok || len(lines) < 3 {
		return "", 0, errors.New("update: no firmware of a simulated device")
	}
	version, ok = strings.CutPrefix(lines[0], "version ")
	word, found := strings.CutPrefix(lines[1], "fault ")
	i := slices.Index(faults[:], word)
	if !ok || !found || i < 0 {
		return "", 0, errors.New("update: no firmware of a simulated device")
	}
	return version, Fault(i), nil
}

// A Config is what a device is delivered with. Of Agent the Device is the updater;
// a Layout without a Record is memory.
type Config struct {
	Agent agent.Config
	Body  Body

	Version  string // that it was delivered with
	Sequence uint64
	Size     int // bytes of its image; 4 kB

	// Fault is what is wrong with this device when it runs a version, beside what is
	// wrong with the version. Nil is nothing.
	Fault func(version string) Fault
}

// An Updater is the firmware of one device. It is for one goroutine.
type Updater struct {
	cfg   Config
	agent *agent.Agent // nil: it is off
	fault Fault
	stuck bool

	version  string
	began    time.Duration
	bites    time.Duration // when the watchdog does; 0: never
	saved    []byte
	settings bool // were saved
	giving   bool // before the switch
	starts   int
}

// blocks of the flash that a device has in memory.
const (
	block = 4096
	page  = 256
)

// New makes the updater of a device, and delivers it when its flash is empty.
func New(cfg Config) (*Updater, error) {
	if cfg.Size == 0 {
		cfg.Size = 4096
	}
	if cfg.Agent.Layout.Record == nil {
		slot := (2*cfg.Size + block - 1) / block * block
		cfg.Agent.Layout = agent.Layout{
			Record: agent.NewMemory(2*block, block, page),
			Slots:  [2]agent.Flash{agent.NewMemory(slot, block, page), agent.NewMemory(slot, block, page)},
		}
	}
	u := &Updater{cfg: cfg}
	u.cfg.Agent.Device = u
	u.cfg.Agent.Server = server{u, cfg.Agent.Server}
	_, err := agent.Boot(&u.cfg.Agent.Layout)
	if errors.Is(err, agent.ErrBlank) {
		err = agent.Provision(&u.cfg.Agent.Layout, bytes.NewReader(Image(cfg.Version, NoFault, cfg.Size)), cfg.Version, cfg.Sequence)
	}
	if err != nil {
		return nil, err
	}
	return u, u.start()
}

// start is what the device does when the power comes, or comes again.
func (u *Updater) start() error {
	u.agent, u.bites = nil, 0
	u.starts++
	s, err := agent.Boot(&u.cfg.Agent.Layout)
	if err != nil {
		return err
	}
	head := make([]byte, 256)
	if _, err := u.cfg.Agent.Layout.Slots[s.Slot].ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	if u.version, u.fault, err = parseImage(head); err != nil {
		return err
	}
	if f := u.cfg.Fault; f != nil {
		if own := f(u.version); own != NoFault {
			u.fault = own
		}
	}
	u.began = u.cfg.Agent.Clock()
	if u.fault == LosesSettings {
		u.cfg.Body.Program(nil)
	}
	u.stuck = u.stuck || u.fault == Stuck
	u.cfg.Body.Start(u.version, u.fault != NoTherapy && !u.stuck)
	u.cfg.Body.Hold(false)
	if u.fault == Hangs {
		u.bites = u.began + s.Watch
		return nil
	}
	u.agent, err = agent.New(u.cfg.Agent, s)
	return err
}

// Step lets the device live, and returns how long until it wants that again. An error
// is what the agent could not do; but for one of a device that does not start, the
// next step comes all the same.
func (u *Updater) Step(ctx context.Context) (time.Duration, error) {
	now := u.cfg.Agent.Clock()
	if u.agent == nil || u.bites > 0 && now >= u.bites {
		if u.agent == nil && now < u.bites {
			return u.bites - now, nil // it hangs
		}
		if err := u.start(); err != nil || u.agent == nil {
			return startTime, err
		}
	}
	wait, err := u.agent.Step(ctx)
	if errors.Is(err, agent.ErrRestart) {
		u.agent, u.bites = nil, 0
		return startTime, nil
	}
	if u.bites > 0 {
		wait = max(0, min(wait, u.bites-now))
	}
	return wait, err
}

// Off is a loss of power: the next step starts the device.
func (u *Updater) Off() { u.agent, u.bites = nil, 0 }

// Version is what runs.
func (u *Updater) Version() string { return u.version }

// Starts is how often the device has started.
func (u *Updater) Starts() int { return u.starts }

// Waits are the gates that the device waits for.
func (u *Updater) Waits() []patch.Wait {
	if u.agent == nil {
		return nil
	}
	return u.agent.Waits()
}

// State implements [agent.Device].
func (u *Updater) State(s *patch.State) {
	u.cfg.Body.Condition(s)
	s.Settings = sha256.Sum256(u.cfg.Body.Settings())
	if u.settings {
		s.Saved = sha256.Sum256(u.saved)
	}
}

// Save implements [agent.Device].
func (u *Updater) Save() (patch.Digest, error) {
	u.saved, u.settings = slices.Clone(u.cfg.Body.Settings()), true
	return sha256.Sum256(u.saved), nil
}

// Quiesce implements [agent.Device].
func (u *Updater) Quiesce() error {
	u.cfg.Body.Hold(true)
	_, u.giving = u.cfg.Body.Given()
	return nil
}

// Release implements [agent.Device].
func (u *Updater) Release() { u.cfg.Body.Hold(false) }

// Restart implements [agent.Device]: the next step starts it.
func (u *Updater) Restart() {}

// Watch implements [agent.Device].
func (u *Updater) Watch(d time.Duration) error {
	u.bites = 0
	if d > 0 {
		u.bites = u.cfg.Agent.Clock() + d
	}
	return nil
}

// SelfTest implements [agent.Device].
func (u *Updater) SelfTest() error {
	switch {
	case u.cfg.Agent.Clock()-u.began < selfTestTime:
		return agent.ErrBusy
	case u.fault == FailsSelfTest:
		return errors.New("memory")
	}
	return nil
}

// Resumed implements [agent.Device].
func (u *Updater) Resumed() bool {
	d, giving := u.cfg.Body.Given()
	return !u.giving || giving && d >= seenTime
}

// A server is one that is silent with the device.
type server struct {
	u *Updater
	agent.Server
}

var errSilent = errors.New("update: this version is silent")

func (s server) Poll(ctx context.Context, state []byte) ([]byte, error) {
	if s.u.fault == Silent {
		return nil, errSilent
	}
	return s.Server.Poll(ctx, state)
}

// A Maker makes releases of a product.
type Maker struct {
	Signer        cose.Signer
	KeyID         []byte
	Vendor, Class [16]byte
	Component     suit.ComponentID
}

// Release signs an envelope for an image, which it calls uri, in the envelope's folder.
// Of r Version, Sequence and Demands are given; it is completed.
func (m *Maker) Release(r *patch.Release, image []byte, uri string) (envelope []byte, err error) {
	version, err := parseVersion(r.Version)
	if err != nil {
		return nil, err
	}
	e, err := suit.NewEnvelope(&suit.Manifest{
		SequenceNumber: r.Sequence, Version: version, Components: []suit.ComponentID{m.Component},
		Shared: []suit.Command{
			suit.Override(suit.VendorIdentifier(m.Vendor), suit.ClassIdentifier(m.Class), suit.ImageDigest(suit.Sum(image)), suit.ImageSize(uint64(len(image)))),
			suit.Do(suit.ConditionVendorIdentifier, 0), suit.Do(suit.ConditionClassIdentifier, 0),
		},
		Sections: []suit.SectionCommands{
			{Section: suit.SectionPayloadFetch, Commands: []suit.Command{suit.Override(suit.URI(uri)), suit.Do(suit.DirectiveFetch, 0)}},
			{Section: suit.SectionValidate, Commands: []suit.Command{suit.Do(suit.ConditionImageMatch, 0)}},
		},
	})
	if err != nil {
		return nil, err
	}
	if err := e.Sign(m.Signer, m.KeyID); err != nil {
		return nil, err
	}
	envelope = e.Append(nil)
	r.Envelope, r.Size = sha256.Sum256(envelope), int64(len(envelope))
	return envelope, nil
}

func parseVersion(s string) (v suit.Version, err error) {
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("update: version %q: want numbers and dots", s)
		}
		v = append(v, int64(n))
	}
	return v, nil
}
