// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/mqtt"
	"github.com/myelin-health/myelin/wire"
)

// The longest MQTT packet that is waited for, in bytes. What is longer is passed
// over; a payload is waited for only when it is an HL7 message.
const maxMQTTPacket = 256 << 10

// A mqttObserver follows one connection to a broker.
type mqttObserver struct {
	version mqtt.Version // 0 until CONNECT was seen
	login   bool         // a CONNECT with a password is not answered
	from    flow.Side    // who sent it
	typed   secret       // of name, zero, password
	hl7     *hl7Observer // of payloads; nil until there was one
}

func (o *mqttObserver) held() int {
	if o.hl7 == nil {
		return 0
	}
	return sizeOf[hl7Observer]() + o.hl7.held()
}

func newMQTTObserver() observer { return new(mqttObserver) }

func (o *mqttObserver) data(x *exchange, b []byte) int {
	n := 0
	for n < len(b) {
		h, size, err := mqtt.ParseHeader(b[n:])
		if errors.Is(err, wire.ErrTruncated) {
			return n
		}
		if err != nil {
			x.malformed(n, err)
			return ignore // where the next packet begins is lost
		}
		body := b[n+size : min(len(b), n+size+h.Length)]
		switch {
		case h.Type == mqtt.PUBLISH:
			if !o.publish(x, n+size, h, body) {
				return n
			}
		case h.Length > maxMQTTPacket:
			x.note(event.BoundReached, n, x.From, event.Text(event.Protocol, "mqtt"),
				event.Text(event.Bound, "packet"), event.Int(event.Length, h.Length))
		case len(body) < h.Length:
			return n
		default:
			o.packet(x, n+size, h, body)
		}
		n += size + h.Length
	}
	return n
}

// packet takes one whole packet that is not a PUBLISH.
func (o *mqttObserver) packet(x *exchange, off int, h mqtt.Header, body []byte) {
	var err error
	switch h.Type {
	case mqtt.CONNECT:
		var m mqtt.Connect
		if err = m.Parse(body); err == nil {
			o.connect(x, off, &m)
		}
	case mqtt.CONNACK:
		var m mqtt.ConnAck
		if err = m.Parse(body, o.version); err == nil && o.login {
			outcome := event.Failed
			if m.Code == 0 {
				outcome = event.Succeeded
			}
			o.answered(x, off, outcome)
		}
	case mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE:
		var m mqtt.Subscribe
		err = m.Parse(h, body, o.version)
	case mqtt.PINGREQ, mqtt.PINGRESP:
	default:
		var m mqtt.Ack
		err = m.Parse(h, body, o.version)
	}
	if err != nil {
		x.malformed(off, err)
	}
}

func (o *mqttObserver) connect(x *exchange, off int, m *mqtt.Connect) {
	if o.version != m.Version {
		o.version = m.Version
		x.note(event.ProtocolSeen, off, x.From, event.Text(event.Protocol, "mqtt"), event.Text(event.Version, m.Version.String()))
	}
	if o.login {
		o.answered(x, off, event.Unknown)
	}
	o.login, o.from = m.Password != nil, x.From
	o.typed = secretStart.add(m.UserName...).add(0).add(m.Password...)
}

func (o *mqttObserver) answered(x *exchange, off int, outcome event.Result) {
	o.login = false
	x.note(event.LoginSeen, off, o.from, event.Text(event.Protocol, "mqtt"), event.Text(event.Scheme, "user-pass"),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, x.protected()),
		event.Bool(event.DefaultSecret, wellKnown[o.typed] && outcome != event.Failed))
}

// publish looks at the beginning of a payload, and returns whether body, which
// may lack the end, was enough for that. Topics are free text and go nowhere.
func (o *mqttObserver) publish(x *exchange, off int, h mqtt.Header, body []byte) bool {
	const hl7Start = "MSH"
	var m mqtt.Publish
	version := o.version
	if version == 0 {
		version = mqtt.V311 // the capture began later; before version 5 all are alike here
	}
	err := m.Parse(h, body, version)
	more := len(body) < min(h.Length, maxMQTTPacket) // more may be waited for
	n := min(len(m.Payload), len(hl7Start))
	switch {
	case err != nil && errors.Is(err, wire.ErrTruncated) && more:
		return false
	case err != nil:
		if o.version != 0 {
			x.malformed(off, err)
		}
	case string(m.Payload[:n]) != hl7Start[:n] || h.Length > maxMQTTPacket:
	case more:
		return false
	case n == len(hl7Start):
		if o.hl7 == nil {
			o.hl7 = new(hl7Observer)
		}
		o.hl7.message(x, off+len(body)-len(m.Payload), m.Payload)
	}
	return true
}

func (o *mqttObserver) gap(*exchange, int) bool { return false }

func (o *mqttObserver) close(x *exchange) {
	if o.login {
		o.answered(x, 0, event.Unknown)
	}
	if o.hl7 != nil {
		o.hl7.close(x)
	}
}
