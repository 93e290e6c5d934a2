// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strconv"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/ntp"
)

// An ntpObserver notes the version once, and requests for the list of clients.
type ntpObserver struct{ versioned, monlist bool }

func newNTPObserver() observer { return new(ntpObserver) }

func (o *ntpObserver) data(x *exchange, b []byte) int {
	m, err := ntp.Parse(b)
	if err != nil {
		x.malformed(0, err)
		return len(b)
	}
	if !o.versioned && m.Mode < ntp.Control {
		o.versioned = true
		asker := x.From
		if m.Mode == ntp.Server {
			asker = asker.Other()
		}
		x.note(event.ProtocolSeen, 0, asker, event.Text(event.Protocol, "ntp"), event.Text(event.Version, strconv.Itoa(int(m.Version))))
	}
	if m.IsMonlist() && !o.monlist {
		o.monlist = true
		x.note(event.ExploitSeen, 0, x.From, event.Text(event.Protocol, "ntp"),
			event.Text(event.Shape, "request for the list of clients"), event.Text(event.CVE, "CVE-2013-5211"))
	}
	return len(b)
}

func (o *ntpObserver) gap(*exchange, int) bool { return false }

func (o *ntpObserver) close(*exchange) {}
