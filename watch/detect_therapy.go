// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
)

// Manipulated therapy.

// freshness is what is remembered of a message id that must be used once.
type freshness struct {
	from, to device.Address
	answered bool
}

func (s *stage) command(e *event.Event) {
	verb, effect := device.Verb(e.Int(event.Verb)), device.Effect(e.Int(event.Effect))
	t := device.Therapy(e.Int(event.Therapy))
	if t != device.NoTherapy {
		s.register.Said(e.Device, inventory.Claim{Therapy: t}, e.Time)
	}
	s.register.At(e.Peer, e.Time).Sent(e.Time)
	if effect == device.Reads || verb == device.ReadSettings || verb == device.ReadTelemetry {
		return
	}
	note := strings.TrimSpace(verb.String() + " " + e.Text(event.Value))
	confidence := device.High
	if verb == device.NoVerb {
		note, confidence = "a command whose meaning the capture does not show", device.Low
	}
	if e.Int(event.Protection)&int64(device.Authenticated) == 0 {
		s.find(finding.TherapyCommandUnauthenticated, e.Device, "", confidence, e, note).with(e.Peer)
	}
	first := s.senders.use(e.Device, e.Time, &s.dropped)
	switch {
	case s.baseline != nil:
		if !s.baseline.commands(e.Peer.Value, e.Device.Value) {
			s.unexpectedSender(e, device.High, note+", from a sender that the baseline does not have")
		}
	case first.Value == "":
		*first = e.Peer
	case *first == e.Peer:
	case s.wasTaken(e.Peer, e.Time):
		s.unexpectedSender(e, device.Medium, note+", from a machine that another took control of before")
	case s.register.Namesakes(e.Peer, *first):
		s.unexpectedSender(e, device.Medium, note+", from another address under the name of the sender before")
	default:
		s.unexpectedSender(e, device.Low, note+", from another sender than before")
	}
	if id := e.Int(event.Fresh); id != 0 {
		had := s.fresh.use(id, e.Time, &s.dropped)
		switch {
		case had.from.Value == "":
			*had = freshness{from: e.Peer, to: e.Device}
		case had.answered && had.from != e.Peer && had.to == e.Device:
			s.find(finding.TherapyCommandReplayed, e.Device, e.Peer.Value, device.High, e, note+", with the id of an answered message of another sender").with(e.Peer)
		}
	}
}

// commandAnswered notes that a message id has been used: before, another sender
// with the same id may be a stand-by that takes over. A resend after a lost
// answer comes from the same sender, and is none of ours.
func (s *stage) commandAnswered(e *event.Event) {
	if had := s.fresh.get(e.Int(event.Fresh)); had != nil && had.to == e.Device {
		had.answered = true
	}
}

func (s *stage) unexpectedSender(e *event.Event, confidence device.Confidence, note string) {
	s.find(finding.TherapyCommandUnexpectedSender, e.Device, e.Peer.Value, confidence, e, note).with(e.Peer)
}
