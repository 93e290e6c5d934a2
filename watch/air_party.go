// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto/gatt"
)

// A party is somebody on the radio. Its address may be a patient's and stays
// here: outside it has a pseudonym.
type party struct {
	addr       device.Address
	address    ble.Address // none when it was not heard
	medical    bool
	therapies  device.Therapies
	made       inventory.Claim // told once it is known to be medical: a phone's make is its owner's
	product    inventory.Claim // make and model of a medical device, as far as it said them
	fields     int64           // that it tells everybody, in advertising
	trackable  bool            // by an address that does not change
	advertised flow.Place      // where that was heard
	known      bool            // had a connection
	host       bool            // of a log
	told       bool
	crowd      *crowd // that it is of, until somebody connects
}

// worth says how much somebody is worth remembering: a flood of advertisers, or
// of connections to nobody, hides no device.
func worth(_ ble.Address, p **party) uint8 {
	rank := uint8(0)
	if (*p).known {
		rank++
	}
	if (*p).medical || (*p).host {
		rank++
	}
	return rank
}

// A hostKey names the controller that an HCI log is about.
type hostKey struct {
	stream uint64
	index  uint16
}

// party returns who has an address, new or as known. Without an address it is
// somebody new each time.
func (a *air) party(address ble.Address) *party {
	p := a.of(address)
	if p == nil {
		p = &party{addr: a.pseudonymOf(), address: address}
		a.remember(address, p)
	}
	return p
}

func (a *air) pseudonymOf() device.Address {
	a.named++
	return device.Address{Kind: device.BLE, Value: "ble-" + strconv.Itoa(a.named)}
}

// stranger returns who advertises a medical service and was not known, but
// perhaps by a name. Nothing was told of it yet.
func (a *air) stranger(address ble.Address, service gatt.UUID, named *party) *party {
	c := a.crowdOf(crowdKey{service: service}, device.BLE)
	p := &party{address: address, crowd: c}
	if named != nil {
		p.fields, p.trackable, p.advertised = named.fields, named.trackable, named.advertised
	}
	if p.addr = c.addr; !c.join() {
		p.addr = a.pseudonymOf()
	}
	a.remember(address, p)
	return p
}

// meet takes note of a connection with somebody. Who was told with others
// until then has a pseudonym of its own now, under which all is told anew.
func (a *air) meet(p *party) {
	if c := p.crowd; c != nil && c.leave(p.addr) {
		*p = party{addr: a.pseudonymOf(), address: p.address, fields: p.fields, trackable: p.trackable, advertised: p.advertised}
	}
	p.crowd, p.known = nil, true
}

// of returns who is known to have an address, or nil.
func (a *air) of(address ble.Address) *party {
	if a.parties.get(address) == nil {
		return nil
	}
	return *a.parties.use(address, a.at.Time, &a.passed)
}

// remember notes that somebody has an address.
func (a *air) remember(address ble.Address, p *party) {
	if address.Kind != ble.NoAddress {
		*a.parties.use(address, a.at.Time, &a.passed) = p
	}
}

// side returns who is at one side of a connection. The host of a log is one and
// the same, whatever address its controller uses.
func (a *air) side(c *ble.Connection, s ble.Side) *party {
	id := c.Identity(s)
	if s != c.Local() {
		return a.party(id)
	}
	k := hostKey{a.stream, a.packet.Index}
	p := *a.hosts.use(k, a.at.Time, &a.dropped)
	switch known := a.of(id); {
	case id.Trackable() && known != nil:
		p = known // as another log has it, too
	case id.Trackable() && p != nil:
		a.remember(id, p)
	case p == nil && id.Trackable():
		p = a.party(id)
	case p == nil:
		p = a.party(ble.Address{})
	}
	p.host = true
	*a.hosts.get(k) = p
	return p
}

// noteMade tells what a medical device is.
func (a *air) noteMade(p *party, peer device.Address, made inventory.Claim) {
	a.product(p, made)
	a.note(event.IdentitySeen, p.addr, peer, event.Text(event.Manufacturer, made.Manufacturer), event.Text(event.Model, made.Model), event.Text(event.Version, made.Version))
}

// subject is who wears a device.
func (a *air) subject(p *party) int64 { return a.pseudonym("subject", p) }

// pseudonym is the same for the same address under the same key.
func (a *air) pseudonym(use string, p *party) int64 {
	if p.address.Kind == ble.NoAddress {
		return a.sh.pseudonym(use, []byte(p.addr.Value))
	}
	return a.sh.pseudonym(use, p.address.Bytes[:])
}

// is notes what a medical device's service says that it is.
func (a *air) is(p *party, service *gatt.ServiceInfo) {
	if p.medical && (p.therapies.Has(service.Therapy) || service.Therapy == device.NoTherapy) {
		return
	}
	p.medical, p.therapies = true, p.therapies|device.TherapiesOf(service.Therapy)
	class := cmp.Or(service.Class, service.Therapy.Info().Class)
	if c := p.crowd; c != nil && c.addr == p.addr {
		if c.told {
			return
		}
		c.told = true
	}
	if service.Class == "" && service.Therapy == device.Monitoring || class == "" {
		class = strings.ToLower(service.Name) + " sensor"
	}
	if a.sh.keyed && p.address.Kind != ble.NoAddress && (p.crowd == nil || p.crowd.addr != p.addr) {
		// Whoever has the key knows the device again in another capture.
		id := strconv.FormatUint(uint64(a.pseudonym("radio", p)), 36)
		a.note(event.NameSeen, p.addr, device.Address{}, event.Int(event.AddressKind, device.BLE), event.Text(event.Name, "ble-"+id))
	}
	a.note(event.IdentitySeen, p.addr, device.Address{}, event.Text(event.Class, class), event.Int(event.Therapy, service.Therapy))
	if p.made != (inventory.Claim{}) {
		a.noteMade(p, device.Address{}, p.made)
		p.made = inventory.Claim{}
	}
}

// exposed notes what somebody tells everybody near, once it is known that this
// is a medical device.
func (a *air) exposed(p *party, fields int64, trackable bool) {
	if p.fields|fields == p.fields && (!trackable || p.trackable) && (p.told || !p.medical) {
		return
	}
	if p.advertised.Packet == 0 {
		p.advertised = a.at
	}
	news := p.fields|fields != p.fields || trackable && !p.trackable
	p.fields, p.trackable = p.fields|fields, p.trackable || trackable
	if !p.medical || p.told && !news || p.fields == 0 && !p.trackable {
		return
	}
	p.told = true
	at := a.at
	a.at = p.advertised
	a.note(event.AdvertisingSeen, p.addr, device.Address{}, event.Int(event.Fields, p.fields), event.Bool(event.Trackable, p.trackable))
	a.at = at
}

// Advertised looks at what somebody tells everybody near. Who is not known, and
// says nothing that a person could be told by, is not remembered: in a ward
// that is almost everybody.
func (a *air) Advertised(ad *ble.Advertisement) {
	p := a.of(ad.Identity)
	fields := int64(0)
	offers := func(u gatt.UUID) {
		if info, ok := gatt.Service(u); ok && info.Medical {
			if p == nil || !p.known && !p.medical && !p.host {
				p = a.stranger(ad.Identity, info.UUID, p)
			}
			a.is(p, &info)
		}
	}
	for s := range ad.Structures() {
		switch s.Type {
		case ble.ADServices16, ble.ADAllServices16:
			for b := s.Data; len(b) >= 2; b = b[2:] {
				offers(gatt.UUID16(binary.LittleEndian.Uint16(b)))
			}
		case ble.ADServices128, ble.ADAllServices128:
			for b := s.Data; len(b) >= 16; b = b[16:] {
				var u gatt.UUID
				for i := range u {
					u[i] = b[15-i]
				}
				offers(u)
			}
		case ble.ADShortName, ble.ADName:
			fields |= namesSomebody(s.Data)
		}
	}
	if p == nil && fields != 0 {
		p = a.party(ad.Identity)
	}
	if p != nil {
		a.exposed(p, fields, ad.Advertiser.Trackable() && !ad.Resolved)
	}
}

// personalDigits are so many digits in a row that they number one device.
const personalDigits = 4

// namesSomebody tells which patient data a local name holds: a person's name ("Anna's
// pump"), or a number that no two devices share. A maker's name and model
// number are shorter.
func namesSomebody(name []byte) int64 {
	fields := int64(0)
	if bytes.Contains(name, []byte("'s ")) || bytes.Contains(name, []byte("\u2019s ")) {
		fields |= event.FieldName
	}
	run := 0
	for _, c := range name {
		if c >= '0' && c <= '9' {
			run++
		} else {
			run = 0
		}
		if run >= personalDigits {
			fields |= event.FieldSerial
		}
	}
	return fields
}
