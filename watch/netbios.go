// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"net"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/netbios"
)

// maxNetBIOSNames bounds the names noted of one conversation.
const maxNetBIOSNames = 8

// A netbiosObserver follows the name service and the datagram service of
// NetBIOS between two addresses. About 300 bytes.
type netbiosObserver struct {
	names [maxNetBIOSNames]netbios.Name
	sides [maxNetBIOSNames]flow.Side
	n     int
	os    string // noted
	mac   bool   // noted
}

func newNetBIOSObserver() observer { return new(netbiosObserver) }

func (o *netbiosObserver) data(x *exchange, b []byte) int {
	if netbios.IsDatagram(b) {
		o.datagram(x, b)
	} else {
		o.name(x, b)
	}
	return len(b)
}

func (o *netbiosObserver) name(x *exchange, b []byte) {
	var m netbios.NameMessage
	if err := m.Parse(b); err != nil {
		x.malformed(0, err)
		return
	}
	switch {
	case !m.Response && (m.Opcode == netbios.Registration || m.Opcode == netbios.Refresh || m.Opcode == netbios.RefreshAlt):
		o.host(x, m.Name, m.Group)
	case m.Response && m.RCode == 0 && m.Type == netbios.TypeNB && m.Opcode == netbios.Query:
		// A name server answers for others: the name is the sender's when the
		// address is.
		if a := x.conv.Client.Addr; x.From == flow.Client && [4]byte(a[12:]) == m.Address {
			o.host(x, m.Name, m.Group)
		} else if a := x.conv.Server.Addr; x.From == flow.Server && [4]byte(a[12:]) == m.Address {
			o.host(x, m.Name, m.Group)
		}
	case m.Response && m.Type == netbios.TypeNBSTAT:
		for _, s := range m.Status {
			o.host(x, s.Name, s.Group)
		}
		if m.MAC != [6]byte{} && !o.mac {
			o.mac = true
			x.note(event.NameSeen, 0, x.From, event.Int(event.AddressKind, device.MAC),
				event.Text(event.Name, net.HardwareAddr(m.MAC[:]).String()), event.Text(event.Protocol, "netbios"))
		}
	}
}

func (o *netbiosObserver) datagram(x *exchange, b []byte) {
	d, err := netbios.ParseDatagram(b)
	if err != nil {
		x.malformed(0, err)
		return
	}
	o.host(x, d.Source, false)
	a, ok, err := netbios.ParseAnnouncement(d.Data)
	if err != nil {
		x.malformed(len(b)-len(d.Data), err)
	}
	if !ok {
		return
	}
	if os := a.OS(); os != "" && os != o.os {
		o.os = os
		x.note(event.IdentitySeen, len(b)-len(d.Data), x.From, event.Text(event.OS, os))
	}
}

// host notes a station's own name, once. Groups, and names of services and
// users (the messenger's), are not the station's.
func (o *netbiosObserver) host(x *exchange, n netbios.Name, group bool) {
	if s := n.Suffix(); group || s != netbios.Workstation && s != netbios.FileServer || len(n.Text()) == 0 {
		return
	}
	n[15] = netbios.Workstation // one name, whatever it serves
	for i := range o.n {
		if o.names[i] == n && o.sides[i] == x.From {
			return
		}
	}
	if o.n == maxNetBIOSNames {
		return
	}
	o.names[o.n], o.sides[o.n] = n, x.From
	o.n++
	x.note(event.NameSeen, 0, x.From, event.Int(event.AddressKind, device.Host), event.Text(event.Name, x.text(n.Text())), event.Text(event.Protocol, "netbios"))
}

func (o *netbiosObserver) gap(x *exchange, n int) bool { return true }
func (o *netbiosObserver) close(x *exchange)           {}
