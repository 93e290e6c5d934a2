// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"crypto/rand"
	"sync"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/radio"
)

// A speaker is the language of the device.
type speaker interface {
	// say returns the message that asks for a command, and which answers it may have;
	// [radio.ErrNoOpcode] when the device has no such thing.
	say(c *device.Command) (message []byte, fits func(*heard) bool, err error)

	// understand reads a message of the device. It says what it can, and that is nothing
	// of a message that cannot be read: that is passed on as it is.
	understand(b []byte) *heard

	// can reports whether the device has a command for a verb.
	can(v device.Verb) bool
}

// What the device said.
type heard struct {
	kind    radio.Kind // Unknown: it cannot be read
	name    string     // the dialect's word, or the resource
	outcome gate.Outcome
	command device.Command // that was done, or is answered
	token   string         // of an answer of CoAP
	body    []byte
	alarm   string
	state   string
	rate    device.Quantity
	fields  therapy.Document           // what people are told
	values  map[string]device.Quantity // by the name of the field
	reply   []byte                     // an acknowledgement that the device wants

	observed notified // of an observation of CoAP
}

// speakRadio speaks a dialect.
type speakRadio struct {
	d         *radio.Dialect
	to, from  uint64
	rate      string // field that says the rate that runs
	stateFrom string // field that says the state of the therapy

	mu   sync.Mutex
	next uint64
}

func (s *speakRadio) say(c *device.Command) ([]byte, func(*heard) bool, error) {
	m, err := s.d.Compose(c)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	s.next++
	n := s.next
	s.mu.Unlock()
	m.SetAddress(s.to, s.from)
	m.SetCounter(n)
	m.Sync = true
	verb, reads := c.Verb, device.EffectOf(c) == device.Reads || c.Verb == device.Wake
	return s.d.Append(nil, m), func(h *heard) bool {
		switch h.kind {
		case radio.Answer:
			return h.command.Verb == device.NoVerb || h.command.Verb == verb
		case radio.Report, radio.Status, radio.Identity:
			return reads
		}
		return false
	}, nil
}

func (s *speakRadio) can(v device.Verb) bool {
	for t := range s.d.Therapies.All() {
		if s.d.Has(v, t) {
			return true
		}
	}
	return false
}

// keys are the fields of people's documents by their names, so that a dialect's field
// with such a name is told.
var keys = func() map[string]therapy.Key {
	m := map[string]therapy.Key{}
	for k := therapy.Battery; k < therapy.Lowest; k++ {
		if k.String() != "" {
			m[k.String()] = k
		}
	}
	return m
}()

func (s *speakRadio) understand(b []byte) *heard {
	h := &heard{}
	var m radio.Message
	if s.d.Parse(b, &m) != nil || m.Opcode == nil || m.Direction == radio.ToDevice || m.Device.Present && !m.Device.Broadcast && m.Device.Value != s.to {
		return h
	}
	h.kind, h.name, h.command = m.Kind, m.Opcode.Name, m.Command
	h.command.Time, h.command.Device = 0, ""
	switch m.Outcome {
	case radio.Succeeded:
		h.outcome = gate.Accepted
	case radio.Failed:
		h.outcome = gate.Rejected
	}
	switch m.Kind {
	case radio.Report, radio.Status, radio.Alarm:
	default:
		return h
	}
	h.values = map[string]device.Quantity{}
	for _, name := range m.Opcode.Fields() {
		q, word := m.Quantity(name), m.Word(name)
		if m.Kind == radio.Alarm && word != "" {
			h.alarm = word
		}
		if !q.IsNone() {
			h.values[name] = q
		}
		switch k := keys[name]; {
		case k == 0:
		case word != "":
			h.fields = append(h.fields, k.Is(word))
		case !q.IsNone():
			h.fields = append(h.fields, k.Is(q))
		}
	}
	if m.Kind == radio.Alarm && h.alarm == "" {
		h.alarm = m.Opcode.Name
	}
	h.state, h.rate = m.Word(s.stateFrom), h.values[s.rate]
	return h
}

// speakCoAP speaks CoAP in clear, with the resources of link/therapy.
type speakCoAP struct {
	therapies device.Therapies
	observed  string // token of the observation of /telemetry

	mu   sync.Mutex
	next uint16
}

func (s *speakCoAP) request(code protocol.Code, path, token string, payload []byte) []byte {
	m := coap.Request(code, path, formatCBOR, payload)
	m.Type, m.Token = protocol.NonConfirmable, []byte(token)
	return s.number(m)
}

func (s *speakCoAP) number(m protocol.Message) []byte {
	s.mu.Lock()
	s.next++
	m.ID = s.next
	s.mu.Unlock()
	b, err := m.Append(nil)
	if err != nil {
		return nil // ours, and well formed
	}
	return b
}

// observe asks to be told of /telemetry whenever it changes.
func (s *speakCoAP) observe() []byte {
	m := protocol.Message{Type: protocol.NonConfirmable, Code: protocol.GET, Token: []byte(s.observed)}
	m.Options = protocol.AppendOption(nil, 0, protocol.Option{Number: protocol.Observe})
	m.Options = protocol.AppendOption(m.Options, protocol.Observe, protocol.Option{Number: protocol.URIPath, Value: []byte("telemetry")})
	return s.number(m)
}

func (s *speakCoAP) say(c *device.Command) ([]byte, func(*heard) bool, error) {
	token := make([]byte, 4)
	rand.Read(token)
	fits := func(h *heard) bool { return h.token == string(token) }
	switch c.Verb {
	case device.ReadSettings:
		return s.request(protocol.GET, "/therapy", string(token), nil), fits, nil
	case device.ReadTelemetry:
		return s.request(protocol.GET, "/telemetry", string(token), nil), fits, nil
	case device.Wake:
		return nil, nil, radio.ErrNoOpcode
	}
	q := therapy.Request{Verb: c.Verb, Value: c.Value, Limit: c.Limit}
	return s.request(protocol.POST, "/therapy", string(token), q.Append(nil)), fits, nil
}

func (s *speakCoAP) can(device.Verb) bool { return true }

func (s *speakCoAP) understand(b []byte) *heard {
	h := &heard{}
	var m protocol.Message
	if m.Parse(b) != nil || m.Code.Request() || m.Code.Class() < 2 || m.Code.Class() > 5 {
		return h
	}
	h.kind, h.name, h.token, h.body = radio.Answer, m.Code.String(), string(m.Token), bytes.Clone(m.Payload)
	if h.token == s.observed && s.observed != "" {
		h.kind, h.name = radio.Report, "/telemetry"
		h.observed = stateOf(&m)
	}
	switch m.Code.Class() {
	case 2:
		h.outcome = gate.Accepted
	case 4:
		h.outcome = gate.Rejected
	}
	if m.Type == protocol.Confirmable {
		ack := protocol.Message{Type: protocol.Acknowledgement, ID: m.ID}
		h.reply, _ = ack.Append(nil)
	}
	return h
}
