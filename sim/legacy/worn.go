// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"crypto/aes"
	"encoding/binary"
	"fmt"

	"github.com/myelin-health/myelin/sim/radio"
)

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
