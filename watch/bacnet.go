// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"net/netip"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/bacnet"
	"github.com/myelin-health/myelin/wire"
)

// maxBACnetFacts bounds the facts that are remembered as noted. Beyond it
// nothing is new.
const maxBACnetFacts = 256

// A bacnetObserver follows one conversation of BACnet/IP.
type bacnetObserver struct {
	noted map[bacnetFact]struct{}
}

// A bacnetFact is what a device said of itself once.
type bacnetFact struct {
	about    device.Address
	property uint32
	text     string
}

func (o *bacnetObserver) held() int { return heldBy(o.noted) + len(o.noted)*maxText }

func newBACnetObserver() observer { return new(bacnetObserver) }

func (o *bacnetObserver) data(x *exchange, b []byte) int {
	var p bacnet.Packet
	if err := p.Parse(b); err != nil {
		x.malformed(0, err)
		return len(b)
	}
	if !p.HasNPDU || p.NetworkMessage {
		return len(b)
	}
	var a bacnet.APDU
	off := len(b) - len(p.APDU)
	if err := a.Parse(p.APDU); err != nil {
		x.malformed(off, err)
		return len(b)
	}
	if p.SNET != 0 || a.Segmented {
		return len(b) // of a device behind a router, which has no address here
	}
	about := x.addr(x.From)
	if p.Function == bacnet.ForwardedNPDU {
		about = x.sh.address(wire.AddrFrom(netip.AddrFrom4([4]byte(p.Origin))))
	}
	off = len(b) - len(a.Data)
	var err error
	switch {
	case a.Type == bacnet.UnconfirmedRequest && a.Service == bacnet.IAm:
		var m bacnet.Announcement
		if err = m.Parse(a.Data); err == nil {
			o.say(x, off, about, bacnet.VendorIdentifier, bacnet.Vendor(m.VendorID))
		}
	case a.Type == bacnet.ComplexACK && (a.Service == bacnet.ReadProperty || a.Service == bacnet.ReadPropertyMultiple):
		err = bacnet.ReadProperties(&a, func(p bacnet.Property) {
			switch {
			case p.Object.Type() != bacnet.DeviceObject:
			case p.ID == bacnet.VendorIdentifier:
				o.say(x, off, about, p.ID, bacnet.Vendor(p.Unsigned))
			case bacnetKeys[p.ID] != event.NoKey:
				o.say(x, off, about, p.ID, x.text(p.Text))
			}
		})
	}
	if err != nil {
		x.malformed(off, err)
	}
	return len(b)
}

// bacnetKeys are the properties of a device that are noted, and as what.
var bacnetKeys = map[uint32]event.Key{
	bacnet.VendorIdentifier:           event.Manufacturer,
	bacnet.VendorName:                 event.Manufacturer,
	bacnet.ModelName:                  event.Model,
	bacnet.FirmwareRevision:           event.Version,
	bacnet.ApplicationSoftwareVersion: event.Version,
	bacnet.ObjectName:                 event.Name,
}

func (o *bacnetObserver) say(x *exchange, off int, about device.Address, property uint32, text string) {
	f := bacnetFact{about, property, text}
	if _, ok := o.noted[f]; ok || text == "" || len(o.noted) >= maxBACnetFacts {
		return
	}
	if o.noted == nil {
		o.noted = make(map[bacnetFact]struct{})
	}
	o.noted[f] = struct{}{}
	peer := x.addr(x.From.Other())
	if key := bacnetKeys[property]; key != event.Name {
		x.noteAddr(event.IdentitySeen, off, about, peer, event.Text(key, text))
		return
	}
	x.noteAddr(event.NameSeen, off, about, peer, event.Int(event.AddressKind, device.Host),
		event.Text(event.Name, text), event.Text(event.Protocol, "bacnet"))
}

func (o *bacnetObserver) gap(*exchange, int) bool { return false }

func (o *bacnetObserver) close(*exchange) {}
