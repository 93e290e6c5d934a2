// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
)

// A Program is what a device of [Models] runs, in one version. Its image is a signature and lines: program,
// model, version, and "mended" in a version that has the weakness of its row no more. The image is the program:
// who takes that line out of it has the weakness back, whatever the version says.
type Program struct {
	Name    string // as a bill of materials has it: reader-firmware
	Model   string // that it is made for
	Version string
	Mended  bool // what the attack catalogue says of the device is not so any more
}

// Image is the program as its maker releases it, signed.
func (p Program) Image() []byte {
	text := p.text()
	return append(ed25519.Sign(makersKey, text), text...)
}

func (p Program) text() []byte {
	text := "program " + p.Name + "\nmodel " + p.Model + "\nversion " + p.Version + "\n"
	if p.Mended {
		text += "mended\n"
	}
	return []byte(text)
}

// ErrNoStart says that an image is no program, or one for another device: nothing runs.
var ErrNoStart = errors.New("legacy: this does not start here")

// ReadProgram reads an image, whoever signed it.
func ReadProgram(image []byte) (p Program, err error) {
	if len(image) < ed25519.SignatureSize || len(image) > MaxMessage {
		return p, ErrNoStart
	}
	for line := range strings.Lines(string(image[ed25519.SignatureSize:])) {
		word, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch word {
		case "program":
			p.Name = value
		case "model":
			p.Model = value
		case "version":
			p.Version = value
		case "mended":
			p.Mended = true
		}
	}
	if p.Name == "" || p.Model == "" || p.Version == "" {
		return p, ErrNoStart
	}
	return p, nil
}

// Altered is the image after somebody changed it who has no key: it says that it is the same version, is as long, and has
// the weakness.
func (p Program) Altered() []byte {
	image := p.Image()
	return append(image[:ed25519.SignatureSize:ed25519.SignatureSize], bytes.ReplaceAll(image[ed25519.SignatureSize:], []byte("\nmended\n"), []byte("\nopened\n"))...)
}

// A Unit is one device whose program can be exchanged: what it does follows from the image that it was started with.
// What lies outside of the program, such as an implant or what is programmed, is the same after a start.
type Unit struct {
	cfg   Config
	model string

	mu      sync.Mutex // guards what follows
	d       Device     // nil: nothing runs
	last    Device     // that ran last
	p       Program
	genuine bool
}

// NewUnit returns a unit of a model, which runs an image.
func NewUnit(model string, cfg Config, image []byte) (*Unit, error) {
	u := &Unit{cfg: cfg, model: model}
	return u, u.Start(image)
}

// Start starts the unit with an image. With one that does not start there the unit stands still.
func (u *Unit) Start(image []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.d, u.p, u.genuine = nil, Program{}, false
	p, err := ReadProgram(image)
	if err != nil || p.Model != u.model {
		return ErrNoStart
	}
	cfg := u.cfg
	cfg.Mended = p.Mended
	d, err := New(u.model, cfg)
	if err != nil {
		return err
	}
	if k, ok := d.(keeper); ok && u.last != nil {
		k.inherit(u.last)
	}
	u.d, u.last, u.p, u.genuine = d, d, p, genuine(image)
	return nil
}

// Device is what runs, nil where nothing does. A later start makes another one of it.
func (u *Unit) Device() Device {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.d
}

// Program is the program that runs, and whether the maker signed its image.
func (u *Unit) Program() (p Program, genuine bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.p, u.genuine
}

// Programmed is what people set, in the unit or in the implant that lies before it; nil where there is nothing to set, or
// nothing runs.
func (u *Unit) Programmed() any {
	if k, ok := u.Device().(keeper); ok {
		return k.programmed()
	}
	return nil
}

// A keeper is a device that keeps something over a start: what is programmed, a battery's charge, a key, the implant before it.
type keeper interface {
	inherit(last Device)
	programmed() any
}

func (d *Defibrillator) inherit(last Device) {
	l := last.(*Defibrillator)
	l.mu.Lock()
	defer l.mu.Unlock()
	d.s, d.cell, d.memory = l.s, l.cell, l.memory
	d.s.Session = false
}

func (d *Defibrillator) programmed() any {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.s
	return DefibrillatorState{Mode: s.Mode, Rate: s.Rate, OutputMV: s.OutputMV, SensitivityUV: s.SensitivityUV, Therapies: s.Therapies, Detection: s.Detection, Preset: s.Preset}
}

func (h *HomeLink) inherit(last Device) {
	h.implant = last.(*HomeLink).implant
	h.adopt(&h.implant.port)
}

func (h *HomeLink) programmed() any { return h.implant.programmed() }

func (r *Reader) inherit(last Device) {
	r.implant = last.(*Reader).implant
	r.adopt(&r.implant.port)
}

func (r *Reader) programmed() any { return r.implant.programmed() }

func (s *Studio) inherit(last Device) {
	s.implant = last.(*Studio).implant
	s.adopt(&s.implant.port)
}

func (s *Studio) programmed() any { return s.implant.programmed() }

func (p *CardProgrammer) inherit(last Device) {
	p.stimulator = last.(*CardProgrammer).stimulator
	p.adopt(&p.stimulator.port)
}

func (p *CardProgrammer) programmed() any { return p.stimulator.programmed() }

func (n *Stimulator) inherit(last Device) {
	l := last.(*Stimulator)
	l.mu.Lock()
	defer l.mu.Unlock()
	n.s, n.cell = l.s, l.cell
}

func (n *Stimulator) programmed() any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return StimulatorState{On: n.s.On, Program: n.s.Program, Amplitude: n.s.Amplitude, Highest: n.s.Highest}
}

func (c *Chip) inherit(last Device) {
	l := last.(*Chip)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.s.Highest = l.s.Highest
	copy(c.ram[keySlot:linkTask], l.ram[keySlot:linkTask])
}

func (c *Chip) programmed() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ChipState{Highest: c.s.Highest}
}

func (c *Cloud) inherit(last Device) {
	l := last.(*Cloud)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.s, c.key = l.s, l.key
}

func (c *Cloud) programmed() any { return nil }
