// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"net/netip"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/syslog"
	"github.com/myelin-health/myelin/wire"
)

// sameHost is how many messages in a row must name the same host before the
// name is taken for the sender's: a relay sends the messages of many.
const sameHost = 8

// A syslogObserver follows one conversation of syslog. Content goes nowhere.
type syslogObserver struct {
	host  string
	from  flow.Side
	said  int
	relay bool // several names were said
	noted bool
}

func newSyslogObserver() observer { return new(syslogObserver) }

func (o *syslogObserver) data(x *exchange, b []byte) int {
	if x.conv.Proto != wire.ProtoTCP {
		o.message(x, 0, b)
		return len(b)
	}
	n := 0
	for n < len(b) {
		message, size, err := syslog.ParseFrame(b[n:])
		switch {
		case errors.Is(err, wire.ErrTruncated):
			return n
		case err != nil:
			x.malformed(n, err)
			return ignore
		}
		if len(message) > 0 {
			o.message(x, n, message)
		}
		n += size
	}
	return n
}

func (o *syslogObserver) message(x *exchange, off int, b []byte) {
	var m syslog.Message
	if err := m.Parse(b); err != nil {
		x.malformed(off, err)
		return
	}
	if len(m.Hostname) == 0 || o.relay {
		return
	}
	if _, err := netip.ParseAddr(string(m.Hostname)); err == nil {
		return
	}
	switch host := x.text(m.Hostname); {
	case o.host == "":
		o.host, o.from = host, x.From
	case o.host != host:
		o.relay = true
		return
	}
	if o.said++; o.said == sameHost {
		o.name(x, off)
	}
}

func (o *syslogObserver) name(x *exchange, off int) {
	if o.noted || o.relay || o.host == "" {
		return
	}
	o.noted = true
	x.note(event.NameSeen, off, o.from, event.Int(event.AddressKind, device.Host),
		event.Text(event.Name, o.host), event.Text(event.Protocol, "syslog"))
}

func (o *syslogObserver) gap(*exchange, int) bool { return false }

func (o *syslogObserver) close(x *exchange) { o.name(x, 0) }
