// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// A shape is what a value alone looks like, where neither discovery nor another
// connection told what is behind a handle. Insulin delivery is told by its
// Hamming-coded words: of two random octets one in 32 is an opcode, and the
// operand has to fit it. Others look like many things, and are believed only
// when one handle's values go on looking like them.
type shape struct {
	service, characteristic uint16
	strong                  bool
}

// A weak shape is believed after this many values in a row.
const weakShapes = 5

// maxShapes bounds the handles whose values are followed; the oldest goes first.
const maxShapes = 8

// shapes are the handles whose values look like something.
type shapes struct {
	handles [maxShapes]shapeCount
	next    int
}

type shapeCount struct {
	shape
	server int
	handle uint16
	n      int
}

// guess fills in what a value looks like.
func (t *Tracker) guess(i int, a *Access) bool {
	if a.Service != (UUID{}) || a.Op < Read || a.Op > Indicate || len(a.Value) == 0 || a.Partial {
		return false // in a service that is known its characteristics would be
	}
	s := shapeOf(a)
	if s.characteristic == 0 {
		return false
	}
	if !s.strong && !t.shapes.believed(i, a.Handle, s) {
		return false
	}
	a.Service, a.Characteristic = UUID16(s.service), UUID16(s.characteristic)
	return true
}

// believed counts one more value of a shape.
func (t *shapes) believed(server int, handle uint16, s shape) bool {
	for i := range t.handles {
		c := &t.handles[i]
		if c.handle != handle || c.server != server {
			continue
		}
		if c.shape != s {
			*c = shapeCount{s, server, handle, 0}
		}
		c.n = min(c.n+1, weakShapes)
		return c.n == weakShapes
	}
	t.handles[t.next] = shapeCount{s, server, handle, 1}
	t.next = (t.next + 1) % maxShapes
	return false
}

// shapeOf returns what a value looks like, or nothing.
func shapeOf(a *Access) shape {
	v := a.Value
	if !a.fromServer() {
		return shapeOfCommand(v)
	}
	payload, _, sealed := SplitE2E(v)
	if a.Op == Indicate {
		var x IDDControl
		c := wire.NewCursor(name, payload)
		if x.parse(&c); whole(&c) && x.Op.FromServer() && (sealed || x.Op == IDDResponseCode && x.Request.known()) {
			return shape{svcInsulin, x.Op.controlPoint(), true}
		}
	}
	if a.Op != Notify {
		var s IDDStatus
		c := wire.NewCursor(name, payload)
		if s.parse(&c); whole(&c) && s.Reservoir.IsNumber() && s.Flags <= 1 {
			return shape{svcInsulin, chrIDDStatus, sealed}
		}
		return shape{}
	}
	var m CGMMeasurement
	c := wire.NewCursor(name, v)
	if m.parse(&c); whole(&c) && v[1]&0x1c == 0 && plausible(m.Glucose, 1000) {
		return shape{svcCGM, chrCGMMeasurement, m.HasCRC}
	}
	var h HeartRate
	c = wire.NewCursor(name, v)
	if h.parse(&c); whole(&c) && v[0]&0xe0 == 0 && h.Contact != 1 && h.Rate >= 25 && h.Rate <= 250 {
		return shape{svcHeartRate, chrHeartRate, false}
	}
	return shape{}
}

// shapeOfCommand returns what a written value looks like: with a check value,
// or with an enumeration among its operands, hardly by chance.
func shapeOfCommand(v []byte) shape {
	payload, _, sealed := SplitE2E(v)
	var x IDDControl
	c := wire.NewCursor(name, payload)
	if x.parse(&c); whole(&c) && !x.Op.FromServer() {
		switch iddOps[x.Op].form {
		case formState, formTBR, formBolus, formTBRTemplate, formBolusTemplate, formCounterQuery:
			return shape{svcInsulin, x.Op.controlPoint(), true}
		}
		if sealed {
			return shape{svcInsulin, x.Op.controlPoint(), true}
		}
	}
	if payload, ok := SplitCRC(v); ok {
		var x CGMControl
		c := wire.NewCursor(name, payload)
		if x.parse(&c); whole(&c) && x.Op <= CGMStopSession && !x.Op.FromServer() {
			return shape{svcCGM, chrCGMControl, true}
		}
	}
	return shape{}
}

// whole reports whether c was read to its end.
func whole(c *wire.Cursor) bool { return c.Ok() && c.Len() == 0 }

// controlPoint returns the characteristic that an opcode belongs to.
func (o IDDOp) controlPoint() uint16 {
	if o < IDDResponseCode {
		return chrIDDStatusReader
	}
	return chrIDDCommand
}

// plausible reports whether f is a number from 0 to most.
func plausible(f SFLOAT, most int64) bool {
	q := f.Quantity(unitOne)
	c, _ := q.Cmp(device.Quantity{Coefficient: most, Unit: unitOne})
	return f.IsNumber() && q.Coefficient >= 0 && c <= 0
}
