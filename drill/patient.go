// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/sim/legacy"
)

// gives is the therapy of a model that goes on while it is updated: its backup mode keeps it.
var gives = map[string]patch.Activity{"rhythm-s": patch.Delivering | patch.Dependent, "calm": patch.Delivering}

// A patient is a device of sim/legacy with the agent: two slots, a boot record, and a unit that runs what the boot
// loader says.
type patient struct {
	cfg    agent.Config
	clock  *legacy.Clock
	unit   *legacy.Unit
	agent  *agent.Agent
	saved  patch.Digest
	before any       // what was programmed when it was started last
	bites  time.Time // when the watchdog does; zero is never
	starts int
	slots  [2]*agent.Memory // as the boot loader and the processor read them

	meanwhile func() // between the switch and the start; nil is nothing
}

// slotBytes is how large a slot is, blockBytes what is erased at once, pageBytes what is written.
const slotBytes, blockBytes, pageBytes = 16 << 10, 4 << 10, 256

// newPatient makes a device that runs the bed's release with the weakness, and asks a server for others.
func newPatient(b *bed, server agent.Server) (*patient, error) {
	p := &patient{clock: b.clock}
	for i := range p.slots {
		p.slots[i] = agent.NewMemory(slotBytes, blockBytes, pageBytes)
	}
	p.cfg = agent.Config{
		ID: unitID, Hardware: hardware, Vendor: vendor, Class: uuid(b.weak.Model), Component: firmware,
		Layout: agent.Layout{Record: agent.NewMemory(2*blockBytes, blockBytes, pageBytes), Slots: [2]agent.Flash{p.slots[0], p.slots[1]}},
		Device: p, Server: server, Signer: b.device, KeyID: b.device.kid,
		Makers: []cose.Key{b.maker.public}, Offers: []cose.Key{b.clinic.public}, Answers: []cose.Key{b.server.public},
		Clock: func() time.Duration { return b.clock.Now().Sub(story) },
	}
	if b.voucher != nil {
		p.cfg.Vouch = b.voucher.vouch
	}
	if weaken != nil {
		weaken(b, &p.cfg)
	}
	if err := agent.Provision(&p.cfg.Layout, bytes.NewReader(b.weak.image), b.weak.Version, b.weak.sequence); err != nil {
		return nil, err
	}
	return p, p.start()
}

// weaken takes something from a device, or from those who sign, that they should have, so that a test sees the drill fail.
var weaken func(*bed, *agent.Config)

// start starts the device as its boot loader says.
func (p *patient) start() error {
	p.starts++
	p.bites = time.Time{}
	s, err := agent.Boot(&p.cfg.Layout)
	if err != nil {
		return err
	}
	image := bytes.Clone(p.slots[s.Slot].Bytes[:s.Size])
	if p.unit == nil {
		made, err := legacy.ReadProgram(image)
		if err != nil {
			return err
		}
		p.unit, err = legacy.NewUnit(made.Model, legacy.Config{Now: p.clock.Now}, image)
		if err != nil {
			return err
		}
	} else if err := p.unit.Start(image); err != nil && !errors.Is(err, legacy.ErrNoStart) { // which its watchdog sees
		return err
	}
	p.before = p.unit.Programmed()
	if s.Trial {
		p.bites = p.clock.Now().Add(s.Watch)
	}
	p.agent, err = agent.New(p.cfg, s)
	return err
}

// What follows is the device as its agent sees it.

// State implements [agent.Device].
func (p *patient) State(s *patch.State) {
	program, _ := p.unit.Program()
	s.Doing, s.Known = gives[program.Model], patch.All
	s.Battery, s.Link, s.Near = 80, 90, true
	s.Settings, s.Saved = p.settings(), p.saved
}

func (p *patient) settings() patch.Digest {
	b, err := json.Marshal(p.unit.Programmed())
	if err != nil {
		panic(err) // a struct of ours
	}
	return sha256.Sum256(b)
}

// Save implements [agent.Device].
func (p *patient) Save() (patch.Digest, error) {
	p.saved = p.settings()
	return p.saved, nil
}

// Quiesce implements [agent.Device].
func (p *patient) Quiesce() error { return nil }

// Release implements [agent.Device].
func (p *patient) Release() {}

// Restart implements [agent.Device]: who takes the steps of the agent starts it.
func (p *patient) Restart() {}

// Watch implements [agent.Device].
func (p *patient) Watch(d time.Duration) error {
	p.bites = time.Time{}
	if d > 0 {
		p.bites = p.clock.Now().Add(d)
	}
	return nil
}

// SelfTest implements [agent.Device].
func (p *patient) SelfTest() error {
	if p.unit.Device() == nil {
		return errNothing
	}
	return nil
}

// Resumed implements [agent.Device].
func (p *patient) Resumed() bool {
	return p.unit.Device() != nil && reflect.DeepEqual(p.unit.Programmed(), p.before)
}

// live takes steps of the agent for so long, and returns what it said was wrong.
func (p *patient) live(ctx context.Context, span time.Duration) (said error, err error) {
	until := p.clock.Now().Add(span)
	for p.clock.Now().Before(until) {
		if err := ctx.Err(); err != nil {
			return said, err
		}
		wait, stepErr := p.agent.Step(ctx)
		switch {
		case errors.Is(stepErr, agent.ErrRestart):
			if p.meanwhile != nil {
				p.meanwhile()
			}
			if err := p.start(); err != nil {
				return said, err
			}
			continue
		case stepErr != nil && said == nil:
			said = stepErr
		}
		p.clock.Advance(max(wait, time.Second))
		if !p.bites.IsZero() && !p.clock.Now().Before(p.bites) {
			if err := p.start(); err != nil {
				return said, err
			}
		}
	}
	return said, nil
}

// A standing is what must be as it was when something was refused: the program, what is programmed, the state, and that
// nothing was started.
type standing struct {
	program legacy.Program
	genuine bool
	starts  int
	state   any
}

func (p *patient) stands() (standing, error) {
	d := p.unit.Device()
	if d == nil {
		return standing{}, errNothing
	}
	program, genuine := p.unit.Program()
	return standing{program, genuine, p.starts, still(d.State())}, nil
}

// as holds the device to how it stood before.
func (p *patient) as(before standing) error {
	now, err := p.stands()
	switch {
	case err != nil:
		return err
	case !now.genuine:
		return errors.New("a program that nobody signed runs")
	case now.program != before.program:
		return fmt.Errorf("%s runs, and %s ran before", now.program.Version, before.program.Version)
	case !reflect.DeepEqual(now.state, before.state):
		return errors.New("its state is another")
	}
	return nil
}
