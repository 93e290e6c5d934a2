// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"fmt"

	dialect "github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/sim/radio"
)

// A transceiver is the radio of a device that speaks a dialect.
type transceiver struct {
	port
	d    *dialect.Dialect
	own  uint64
	m    dialect.Message
	do   func(m *dialect.Message)
	echo []any    // fields that every answer to m has
	out  [][]byte // the answer to m
}

// tune makes the radio. Do is called with the lock held, and for frames that are for the
// device.
func (r *transceiver) tune(cfg Config, name string, own uint64, do func(*dialect.Message)) error {
	cfg, err := mendBySecret(cfg)
	if err != nil {
		return err
	}
	if r.d = radio.Sample(name); r.d == nil {
		return fmt.Errorf("legacy: no dialect %s", name)
	}
	r.own, r.do = own, do
	return r.open(cfg, counted, r.hear)
}

// hear takes a frame. What is damaged, for another device, or not in the table is not
// answered, as on the air.
func (r *transceiver) hear(_ context.Context, frame []byte) [][]byte {
	if r.d.Parse(frame, &r.m) != nil || r.m.Opcode == nil || r.m.Direction == dialect.FromDevice {
		return nil
	}
	if to := r.m.Device; to.Present && !to.Broadcast && to.Value != r.own {
		return nil
	}
	r.out = nil
	r.do(&r.m)
	return r.out
}

// say answers with a frame.
func (r *transceiver) say(opcode string, fields ...any) {
	b, err := radio.Compose(r.d, opcode, append(append([]any{}, r.echo...), fields...)...)
	if err != nil {
		panic(err) // a frame of ours
	}
	r.out = append(r.out, b)
}

// number is the number in a field, and 0 where the message has none.
func number(m *dialect.Message, field string) int {
	n, _ := m.Int(field)
	return int(n)
}

// A cell is a battery. What is in a body is not charged.
type cell struct {
	capacity, used int64 // microampere-hours
}

func (c *cell) draw(n int64) { c.used = min(c.used+n, c.capacity) }

func (c *cell) permille() int64 { return (c.capacity - c.used) * 1000 / c.capacity }

const wakeCost = 25 // microampere-hours of a radio that is woken and listens for a while
