// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"net/netip"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/wire"
)

// A coapObserver follows one conversation of CoAP.
type coapObserver struct {
	protected bool // OSCORE was noted
	host      bool // the server's name was noted
}

func newCoAPObserver() observer { return new(coapObserver) }

func (o *coapObserver) data(x *exchange, b []byte) int {
	var m coap.Message
	if x.conv.Proto != wire.ProtoTCP {
		if err := m.Parse(b); err != nil {
			x.malformed(0, err)
		} else {
			o.message(x, 0, &m)
		}
		return len(b)
	}
	n := 0
	for n < len(b) {
		size, err := m.ParseTCP(b[n:])
		switch {
		case errors.Is(err, wire.ErrTruncated):
			return n
		case err != nil:
			x.malformed(n, err)
			return ignore
		}
		o.message(x, n, &m)
		n += size
	}
	return n
}

func (o *coapObserver) message(x *exchange, off int, m *coap.Message) {
	if !o.protected && m.Protected() {
		o.protected = true
		x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "coap"),
			event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
			event.Int(event.Protection, device.Encrypted|device.Authenticated|device.Fresh)) // RFC 8613 section 1
	}
	if o.host || !m.Code.Request() {
		return
	}
	host, ok := m.Options.Get(coap.URIHost)
	if !ok {
		return
	}
	o.host = true
	if _, err := netip.ParseAddr(string(host.Value)); err == nil {
		return // RFC 7252 section 5.10.1: it may be the address
	}
	x.note(event.NameSeen, off, x.From.Other(), event.Int(event.AddressKind, device.Host),
		event.Text(event.Name, x.text(host.Value)), event.Text(event.Protocol, "coap"))
}

func (o *coapObserver) gap(*exchange, int) bool { return false }

func (o *coapObserver) close(*exchange) {}
