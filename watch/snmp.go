// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/snmp"
	"github.com/myelin-health/myelin/wire"
)

// maxSNMPCommunities bounds the communities of one conversation that are told
// apart. Beyond it none is new.
const maxSNMPCommunities = 64

// defaultCommunities are those that makers ship (RFC 1157 section 3.2.5 has none;
// the manuals of thirty years do).
var defaultCommunities = map[secret]bool{
	secretStart.add([]byte("public")...):  true,
	secretStart.add([]byte("private")...): true,
}

// A snmpObserver follows one conversation of SNMP.
type snmpObserver struct {
	versions   uint8 // a bit for each that was noted
	protection device.Protection

	// A community is tried until an answer shows that it was right, or another
	// one that it was not: agents do not answer to a wrong one.
	trying      bool
	by          flow.Side
	community   secret
	communities map[secret]struct{} // whose outcome was noted

	identity [4]string // noted: manufacturer, model, OS, name
}

func (o *snmpObserver) held() int { return heldBy(o.communities) }

func newSNMPObserver() observer { return new(snmpObserver) }

func (o *snmpObserver) data(x *exchange, b []byte) int {
	var m snmp.Message
	if err := m.Parse(b); err != nil {
		x.malformed(0, err)
		return len(b)
	}
	o.protocol(x, &m)
	if m.Version != snmp.V3 {
		o.login(x, &m)
	}
	if m.HasPDU {
		o.system(x, &m)
	}
	return len(b)
}

func (o *snmpObserver) protocol(x *exchange, m *snmp.Message) {
	var protection device.Protection
	if m.Version == snmp.V3 && m.Flags&snmp.FlagAuth != 0 {
		protection = device.Authenticated | device.Fresh // RFC 3414 section 1.4: timeliness comes with authentication
	}
	if m.Version == snmp.V3 && m.Flags&snmp.FlagPriv != 0 {
		protection |= device.Encrypted
	}
	bit := uint8(1) << m.Version
	if o.versions&bit != 0 && o.protection|protection == o.protection {
		return
	}
	o.versions |= bit
	o.protection |= protection
	attrs := [...]event.Attr{
		event.Text(event.Protocol, "snmp"), event.Text(event.Version, m.Version.String()), event.Int(event.Protection, protection),
		event.Int(event.Transport, x.conv.Proto), event.Int(event.Port, x.conv.Server.Port),
	}
	if protection == 0 {
		x.note(event.ProtocolSeen, 0, flow.Client, attrs[:3]...)
		return
	}
	x.note(event.ProtocolSeen, 0, flow.Client, attrs[:]...)
}

func (o *snmpObserver) login(x *exchange, m *snmp.Message) {
	by := x.From
	switch {
	case m.PDU.Type == snmp.Response:
		by = by.Other()
	case !m.PDU.Type.Request():
		return // who tells does not log in
	}
	community := secretStart.add(m.Community...)
	if o.trying && community != o.community {
		o.outcome(x, event.Failed)
	}
	if _, known := o.communities[community]; known || len(o.communities) >= maxSNMPCommunities {
		return
	}
	o.trying, o.by, o.community = true, by, community
	if m.PDU.Type == snmp.Response {
		o.outcome(x, event.Succeeded)
	}
}

func (o *snmpObserver) outcome(x *exchange, outcome event.Result) {
	o.trying = false
	if o.communities == nil {
		o.communities = make(map[secret]struct{})
	}
	o.communities[o.community] = struct{}{}
	x.note(event.LoginSeen, 0, o.by, event.Text(event.Protocol, "snmp"), event.Text(event.Scheme, "community"),
		event.Int(event.Outcome, outcome), event.Int(event.Protection, x.protected()),
		event.Bool(event.DefaultSecret, defaultCommunities[o.community] && outcome != event.Failed))
}

// system takes what the sender says it is: the system group, the enterprise of
// a trap, and the maker of a version 3 engine that answers.
func (o *snmpObserver) system(x *exchange, m *snmp.Message) {
	said := o.identity
	if m.PDU.Type.Request() {
		return
	}
	maker := func(n uint32, ok bool) {
		if name := snmp.Maker(n); ok && name != "" && said[0] == "" {
			said[0] = name
		}
	}
	if m.PDU.Type != snmp.InformRequest { // whose authoritative engine is the receiver's
		maker(snmp.EngineEnterprise(m.EngineID))
	}
	maker(m.PDU.Enterprise.Enterprise())
	for b := range m.PDU.Bindings() {
		switch {
		case string(b.Name) == snmp.SysObjectID && b.Tag == wire.TagOID:
			maker(snmp.OID(b.Value).Enterprise())
		case b.Tag != wire.TagOctetString || len(b.Value) == 0:
		case string(b.Name) == snmp.SysDescr:
			d := snmp.Describe(b.Value)
			if d.Manufacturer != "" {
				said[0] = d.Manufacturer
			}
			if len(d.Model) > 0 {
				said[1] = x.text(d.Model)
			}
			if said[2] = d.OS; len(d.Version) > 0 {
				said[2] = x.text([]byte(d.OS + " " + string(d.Version)))
			}
		case string(b.Name) == snmp.SysName:
			if said[3] = x.text(b.Value); said[3] != o.identity[3] {
				x.note(event.NameSeen, 0, x.From, event.Int(event.AddressKind, device.Host),
					event.Text(event.Name, said[3]), event.Text(event.Protocol, "snmp"))
			}
		}
	}
	if said[0] != o.identity[0] || said[1] != o.identity[1] || said[2] != o.identity[2] {
		x.note(event.IdentitySeen, 0, x.From, event.Text(event.Manufacturer, said[0]),
			event.Text(event.Model, said[1]), event.Text(event.OS, said[2]))
	}
	o.identity = said
}

func (o *snmpObserver) gap(*exchange, int) bool { return false }

func (o *snmpObserver) close(x *exchange) {
	if o.trying {
		o.outcome(x, event.Unknown)
	}
}
