// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"crypto/aes"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/myelin-health/myelin/sim/radio"
)

// A LinkLayerState is what a Bluetooth chip in an insulin pump is and did. All of it is modelled.
type LinkLayerState struct {
	Encrypted bool // the link, under whatever key
	ZeroKey   bool // it is zeros
	Crashed   bool
	Written   int // values that were written over an encrypted link
}

// A LinkLayer is the chip.
type LinkLayer struct {
	box
	s   LinkLayerState
	key []byte // of the phone that is bonded
}

// NewLinkLayer returns a LinkLayer.
func NewLinkLayer(cfg Config) (*LinkLayer, error) {
	l := new(LinkLayer)
	err := l.serve(cfg, map[string]func(context.Context, []string) string{"connect": l.connect, "pair": l.pair, "encrypt": l.encrypt, "write": l.write})
	if err != nil {
		return nil, err
	}
	l.key = l.random(aes.BlockSize)
	return l, nil
}

// State returns a [LinkLayerState].
func (l *LinkLayer) State() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s
}

// connect begins a link. The slot of its key has zeros.
func (l *LinkLayer) connect(context.Context, []string) string {
	l.s.Encrypted, l.s.ZeroKey, l.s.Crashed = false, false, false
	return "ok"
}

// pair is "pair SIZE": how long a key the other side wants (at most 16 octets, Core Specification volume 3 part H section 3.6.1).
func (l *LinkLayer) pair(_ context.Context, args []string) string {
	n, err := strconv.Atoi(given(args, 0))
	switch {
	case err != nil || l.s.Crashed || n < 7 || n > 16 && l.cfg.Mended:
		return "no"
	case n > 16:
		l.s.Crashed = true
		l.note("a key of %d octets: the chip has crashed", n)
		return "no"
	}
	return "ok"
}

// encrypt is "encrypt KEY": it compares with the key of the bond, or, before anything was agreed on,
// with the zeros in the slot.
func (l *LinkLayer) encrypt(_ context.Context, args []string) string {
	b, good := bytesAt(args, 0)
	zero := bytes.Equal(b, make([]byte, aes.BlockSize))
	if !good || l.s.Crashed || !bytes.Equal(b, l.key) && (!zero || l.cfg.Mended) {
		return "no"
	}
	l.s.Encrypted, l.s.ZeroKey = true, zero
	l.note("the link is encrypted")
	return "ok"
}

func (l *LinkLayer) write(context.Context, []string) string {
	if !l.s.Encrypted || l.s.Crashed {
		return "no"
	}
	l.s.Written++
	return "ok"
}

// A SensorState is what something worn is and did.
type SensorState struct {
	Told   int // how often it sent what it measured
	Bonded bool
}

// A Sensor tells what it measures to whoever listens: a glucose meter, or an ECG by sound.
type Sensor struct {
	box
	s    SensorState
	what func() []byte
	bond []byte
}

// NewMeter returns a glucose meter.
func NewMeter(cfg Config) (*Sensor, error) {
	m := &Sensor{what: func() []byte { return fmt.Appendf(nil, "%06x 1 %d mg/dL", radio.SensorSerial, meterValue) }}
	return m, m.begin(cfg, "subscribe")
}

// NewECG returns an electrocardiograph whose samples are sounds, of 16 bits, the low octet first.
func NewECG(cfg Config) (*Sensor, error) {
	m := &Sensor{what: func() []byte {
		b := []byte(radio.AnnaRecord)
		for i := range 150 {
			b = binary.LittleEndian.AppendUint16(b, uint16(ecgAt(i)))
		}
		return b
	}}
	return m, m.begin(cfg, "listen")
}

const meterValue = 187

// ecgAt is a heart that beats 75 times in a minute, at 150 samples a second.
func ecgAt(i int) int16 {
	switch i % 120 {
	case 20:
		return 9000
	case 21:
		return -2500
	}
	return 40
}

func (m *Sensor) begin(cfg Config, verb string) error {
	if err := m.serve(cfg, map[string]func(context.Context, []string) string{verb: m.tell}); err != nil {
		return err
	}
	m.bond = m.random(aes.BlockSize)
	return nil
}

// State returns a [SensorState].
func (m *Sensor) State() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.s
}

// tell sends what is measured. Mended, it is under the key of the phone that it is bonded with.
func (m *Sensor) tell(context.Context, []string) string {
	m.s.Told++
	b := m.what()
	if m.cfg.Mended {
		b = seal(m.bond, m.random(12), b)
	}
	return ok(b)
}
