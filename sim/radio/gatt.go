// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
)

// An attribute of a server.
type attribute struct {
	handle uint16
	end    uint16 // of a service: its last handle
	typ    gatt.UUID
	uuid   gatt.UUID // of a service or characteristic that is declared
	level  int       // of security that reading and writing ask for
	value  []byte
	write  func(*link, []byte) (code uint8) // an error of the attribute protocol; 0 is none
}

// A server holds a device's attributes in the order of their handles, which
// count from 1.
type server struct{ attributes []attribute }

const (
	primaryService     = 0x2800
	declaration        = 0x2803
	clientConfig       = 0x2902
	serverMTU          = 185
	propertyRead       = 0x02
	propertyWrite      = 0x08
	propertyNotify     = 0x10
	propertyIndicate   = 0x20
	invalidHandle      = 0x01
	notPermitted       = 0x03 // to write
	attributeNotFound  = 0x0a
	unsupportedRequest = 0x06
)

func (v *server) add(a attribute) *attribute {
	a.handle = uint16(len(v.attributes) + 1)
	v.attributes = append(v.attributes, a)
	return &v.attributes[len(v.attributes)-1]
}

// service begins a service: what is added behind it is of it.
func (v *server) service(u gatt.UUID) {
	v.add(attribute{typ: gatt.UUID16(primaryService), uuid: u, value: u.AppendLE(nil)})
}

// characteristic adds a characteristic's declaration, value and, where it can be
// notified or indicated, configuration. level is that of security which it asks for.
func (v *server) characteristic(u gatt.UUID, properties uint8, level int, value []byte, write func(*link, []byte) uint8) {
	handle := uint16(len(v.attributes) + 2)
	declared := binary.LittleEndian.AppendUint16([]byte{properties}, handle)
	v.add(attribute{typ: gatt.UUID16(declaration), uuid: u, value: u.AppendLE(declared)})
	v.add(attribute{typ: u, level: level, value: value, write: write})
	if properties&(propertyNotify|propertyIndicate) != 0 {
		v.add(attribute{typ: gatt.UUID16(clientConfig), level: level, value: []byte{0, 0}, write: func(l *link, b []byte) uint8 {
			l.notified[handle] = len(b) > 0 && b[0] != 0
			return 0
		}})
	}
}

// close sets where the services end.
func (v *server) close() *server {
	end := uint16(len(v.attributes))
	for i := len(v.attributes) - 1; i >= 0; i-- {
		if a := &v.attributes[i]; a.typ == gatt.UUID16(primaryService) {
			a.end, end = end, a.handle-1
		}
	}
	return v
}

func (v *server) at(handle uint16) *attribute {
	if handle == 0 || int(handle) > len(v.attributes) {
		return nil
	}
	return &v.attributes[handle-1]
}

// handleOf returns the handle of a characteristic's value.
func (v *server) handleOf(u gatt.UUID) uint16 {
	for i := range v.attributes {
		if v.attributes[i].typ == u {
			return v.attributes[i].handle
		}
	}
	panic("radio: no characteristic " + u.String()) // a story of ours
}

// answer is what the server says to a request.
func (v *server) answer(l *link, q *ble.ATT) ble.ATT {
	fail := func(handle uint16, code uint8) ble.ATT {
		return ble.ATT{Opcode: ble.ErrorResponse, Request: q.Opcode, Handle: handle, Error: code}
	}
	le := binary.LittleEndian
	switch q.Opcode {
	case ble.ExchangeMTURequest:
		l.mtu = min(int(q.MTU), serverMTU)
		return ble.ATT{Opcode: ble.ExchangeMTUResponse, MTU: serverMTU}
	case ble.ReadByGroupTypeRequest, ble.ReadByTypeRequest:
		// One size of element in an answer, and as many as there is room for.
		r := ble.ATT{Opcode: q.Opcode + 1}
		for h := int(q.Handle); h <= int(q.End) && h <= len(v.attributes); h++ {
			a := v.at(uint16(h))
			if string(a.typ.AppendLE(nil)) != string(q.Type) {
				continue
			}
			e := le.AppendUint16(nil, a.handle)
			if q.Opcode == ble.ReadByGroupTypeRequest {
				e = le.AppendUint16(e, a.end)
			}
			e = append(e, a.value...)
			if r.Size == 0 {
				r.Size = uint8(len(e))
			}
			if len(e) != int(r.Size) || 2+len(r.Value)+len(e) > l.mtu {
				break
			}
			r.Value = append(r.Value, e...)
		}
		if r.Size == 0 {
			return fail(q.Handle, attributeNotFound)
		}
		return r
	case ble.FindInformationRequest:
		r := ble.ATT{Opcode: ble.FindInformationResponse, Size: 1}
		for h := int(q.Handle); h <= int(q.End) && h <= len(v.attributes) && 2+len(r.Value)+4 <= l.mtu; h++ {
			a := v.at(uint16(h))
			if _, short := a.typ.Short(); !short {
				break
			}
			r.Value = a.typ.AppendLE(le.AppendUint16(r.Value, a.handle))
		}
		if r.Value == nil {
			return fail(q.Handle, attributeNotFound)
		}
		return r
	case ble.ReadRequest, ble.WriteRequest:
		a := v.at(q.Handle)
		switch {
		case a == nil:
			return fail(q.Handle, invalidHandle)
		case l.level() < a.level && l.encrypted:
			return fail(q.Handle, ble.InsufficientAuthentication)
		case l.level() < a.level && l.party[ble.Central].bonds[l.party[ble.Peripheral]] != nil:
			return fail(q.Handle, ble.InsufficientEncryption)
		case l.level() < a.level:
			return fail(q.Handle, ble.InsufficientAuthentication)
		case q.Opcode == ble.ReadRequest:
			return ble.ATT{Opcode: ble.ReadResponse, Value: a.value[:min(len(a.value), l.mtu-1)]}
		case a.write == nil:
			return fail(q.Handle, notPermitted)
		}
		if code := a.write(l, q.Value); code != 0 {
			return fail(q.Handle, code)
		}
		return ble.ATT{Opcode: ble.WriteResponse}
	}
	return fail(0, unsupportedRequest)
}

// att sends one PDU of the attribute protocol.
func (l *link) att(from ble.Side, p ble.ATT) {
	b, err := p.Append(nil)
	l.s.note(err)
	l.s.log.send(l, from, ble.CIDATT, b)
}

// request asks the peripheral, and lets it say what it says afterwards.
func (l *link) request(q ble.ATT) ble.ATT {
	l.att(ble.Central, q)
	r := l.party[ble.Peripheral].server.answer(l, &q)
	l.att(ble.Peripheral, r)
	for len(l.due) > 0 {
		next := l.due[0]
		l.due = l.due[1:]
		next()
	}
	return r
}

// exchange agrees on an MTU, which is done once on a connection.
func (l *link) exchange() {
	if l.mtu == ble.DefaultMTU {
		l.request(ble.ATT{Opcode: ble.ExchangeMTURequest, MTU: 517})
	}
}

// discover looks at everything that the peripheral has, as phones do.
func (l *link) discover() {
	le := binary.LittleEndian
	l.exchange()
	// walk asks from start on until end, or until there is no more.
	walk := func(op ble.ATTOpcode, start, end uint16, typ []byte, each func(ble.Attribute)) {
		for start != 0 && start <= end {
			r := l.request(ble.ATT{Opcode: op, Handle: start, End: end, Type: typ})
			if r.Opcode == ble.ErrorResponse {
				return
			}
			last := start
			for a := range r.Attributes() {
				last = max(a.Handle, a.End)
				each(a)
			}
			start = last + 1
		}
	}
	var services []ble.Attribute
	walk(ble.ReadByGroupTypeRequest, 1, 0xffff, le.AppendUint16(nil, primaryService), func(a ble.Attribute) { services = append(services, a) })
	for _, s := range services {
		var values []uint16
		walk(ble.ReadByTypeRequest, s.Handle, s.End, le.AppendUint16(nil, declaration), func(a ble.Attribute) { values = append(values, le.Uint16(a.Value[1:])) })
		for i, h := range values {
			next := s.End
			if i+1 < len(values) {
				next = values[i+1] - 2
			}
			if h < next {
				walk(ble.FindInformationRequest, h+1, next, nil, func(ble.Attribute) {})
			}
		}
	}
}

func (l *link) handleOf(u gatt.UUID) uint16 { return l.party[ble.Peripheral].server.handleOf(u) }

func (l *link) read(u gatt.UUID) ble.ATT {
	return l.request(ble.ATT{Opcode: ble.ReadRequest, Handle: l.handleOf(u)})
}

func (l *link) write(u gatt.UUID, value []byte) ble.ATT {
	return l.request(ble.ATT{Opcode: ble.WriteRequest, Handle: l.handleOf(u), Value: value})
}

// subscribe asks for what the peripheral says by itself: by notification (1) or
// indication (2).
func (l *link) subscribe(how byte, characteristics ...gatt.UUID) {
	for _, u := range characteristics {
		l.request(ble.ATT{Opcode: ble.WriteRequest, Handle: l.handleOf(u) + 1, Value: []byte{how, 0}})
	}
}

const (
	byNotification = 1
	byIndication   = 2
)

// notify and indicate say a value, if it was asked for. An indication is confirmed.
func (l *link) notify(u gatt.UUID, value []byte) { l.say(ble.HandleValueNotification, u, value) }

func (l *link) indicate(u gatt.UUID, value []byte) { l.say(ble.HandleValueIndication, u, value) }

func (l *link) say(op ble.ATTOpcode, u gatt.UUID, value []byte) {
	h := l.handleOf(u)
	if !l.notified[h] {
		return
	}
	if 3+len(value) > l.mtu {
		l.s.note(fmt.Errorf("radio: a value of %d bytes for an MTU of %d", len(value), l.mtu))
	}
	l.att(ble.Peripheral, ble.ATT{Opcode: op, Handle: h, Value: value})
	if op == ble.HandleValueIndication {
		l.att(ble.Central, ble.ATT{Opcode: ble.HandleValueConfirmation})
	}
}

// later is what the peripheral does once it has answered.
func (l *link) later(f func()) { l.due = append(l.due, f) }

// pause is a person thinking.
func (l *link) pause() { l.wait(time.Duration(2+l.s.rng.IntN(4)) * time.Second) }
