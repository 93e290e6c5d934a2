// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of what is remembered of those on the radio.
const (
	maxParties   = 8192 // addresses of those that had a connection or are medical, and as many others; the first go first, and who speaks again has another pseudonym
	maxHosts     = 1024 // controllers of logs
	maxLinkTold  = 128  // different uses of attributes told of one connection
	maxLinkFault = 4    // malformed values told of one connection
)

// An air follows what was heard on the radio. It belongs to one shard, which
// gets all of it: who is who, which key came from which pairing and which
// handle is what shows over all connections and inputs.
type air struct {
	sh       *shard
	at       flow.Place // of the frame in hand
	follower *ble.Follower
	packet   ble.Packet
	cache    gatt.Cache
	parties  map[ble.Address]*party
	known    ring // addresses of those that had a connection or are medical
	passing  ring // of the others
	hosts    map[hostKey]*party
	stream   uint64 // of the frame in hand
	named    int    // pseudonyms given
	dropped  uint64 // parties that were forgotten though known
	faults   map[Fault]uint64
	unread   uint64 // frames of a proprietary radio that no dialect knows

	dialects     *radio.Set // nil until there is a frame of a proprietary radio
	message      radio.Message
	transmitters map[transmitterKey]*transmitter
	order        []*transmitter // as they were heard first
	scratch      []byte
}

// A party is somebody on the radio. Its address may be a patient's and stays
// here: outside it has a pseudonym.
type party struct {
	addr       device.Address
	address    ble.Address // none when it was not heard
	medical    bool
	therapies  device.Therapies
	made       inventory.Claim // told once it is known to be medical: a phone's make is its owner's
	fields     int64           // that it tells everybody, in advertising
	trackable  bool            // by an address that does not change
	advertised flow.Place      // where that was heard
	known      bool            // had a connection, or is medical
	host       bool            // of a log
	told       bool
}

func newAir(sh *shard) *air {
	a := &air{sh: sh, parties: make(map[ble.Address]*party), hosts: make(map[hostKey]*party), faults: make(map[Fault]uint64), transmitters: make(map[transmitterKey]*transmitter)}
	a.follower = ble.NewFollower(a)
	return a
}

// frame takes one frame of a link type of Bluetooth.
func (a *air) frame(f *Frame, at flow.Place) {
	p := &a.packet
	p.Decode(f.Link, f.Flags, f.Data)
	if p.Fault.Err != nil {
		a.faults[Fault{p.Fault.Proto, p.Fault.Field}]++
	}
	a.at = at
	a.at.Offset = int32(p.Off)
	a.stream = uint64(uint32(f.Input))<<32 | uint64(uint32(f.Interface))
	a.follower.Packet(a.stream, p, f.Time)
}

// A ring holds the addresses that were remembered last.
type ring struct {
	addresses []ble.Address
	next      int
}

// add remembers an address, and returns the one that is forgotten for it, if any.
func (r *ring) add(address ble.Address) (forgotten ble.Address) {
	if len(r.addresses) < maxParties {
		r.addresses = append(r.addresses, address)
		return forgotten
	}
	forgotten, r.addresses[r.next] = r.addresses[r.next], address
	r.next = (r.next + 1) % maxParties
	return forgotten
}

// A hostKey names the controller that an HCI log is about.
type hostKey struct {
	stream uint64
	index  uint16
}

// party returns who has an address, new or as known. Without an address it is
// somebody new each time.
func (a *air) party(address ble.Address) *party {
	p := a.parties[address]
	if p == nil {
		a.named++
		p = &party{addr: device.Address{Kind: device.BLE, Value: "ble-" + strconv.Itoa(a.named)}, address: address}
		a.remember(address, p)
	}
	return p
}

// remember notes that somebody has an address. Who only passes by is forgotten
// for others that do: a flood of advertisers hides no device.
func (a *air) remember(address ble.Address, p *party) {
	if address.Kind == ble.NoAddress {
		return
	}
	a.parties[address] = p
	if !p.known {
		if old := a.passing.add(address); old.Kind != ble.NoAddress && a.parties[old] != nil && !a.parties[old].known {
			delete(a.parties, old)
		}
		return
	}
	if old := a.known.add(address); old.Kind != ble.NoAddress && old != address {
		delete(a.parties, old)
		a.dropped++
	}
}

// keep notes that somebody is worth remembering.
func (a *air) keep(p *party) {
	if !p.known {
		p.known = true
		a.remember(p.address, p)
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
	p := a.hosts[k]
	switch known := a.parties[id]; {
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
	if len(a.hosts) >= maxHosts {
		clear(a.hosts)
	}
	a.hosts[k] = p
	return p
}

// note emits an event at the frame in hand.
func (a *air) note(kind event.Kind, about, peer device.Address, attrs ...event.Attr) {
	e := a.sh.emit(kind, a.at)
	e.Device, e.Peer = about, peer
	e.Add(attrs...)
}

// An airLink is what is remembered of one connection.
type airLink struct {
	who      [3]*party // by ble.Side
	tracker  *gatt.Tracker
	decoders [3]gatt.Decoder // of each side's server
	told     []use
	faults   int
	pairing  ble.Pairing // the last one that was told
	secure   bool        // the last one is LE Secure Connections
	readable bool        // it was told that keys could be read
	skipped  bool        // encryption was started without the proof of a key
	asked    heldWrite

	// What is known of the attribute used last: mostly it is used again.
	service        gatt.ServiceInfo
	characteristic gatt.CharacteristicInfo
	known          bool // the characteristic is

	level, before int   // of LE security mode 1, now and before the last change; 0 is not known
	since         int64 // the last change
	lowest        int   // at which a value went over the link
	valued        bool  // one did
	pdus, bytes   uint64
}

// A heldWrite is a write that waits for its answer: what a server refuses was
// not done. One is held, as a client asks one thing at a time.
type heldWrite struct {
	access gatt.Access
	value  []byte
	at     flow.Place
	level  int
	waits  bool
}

// A use is one way of using an attribute, which is told once.
type use struct {
	characteristic gatt.UUID
	descriptor     gatt.UUID
	server         ble.Side
	kind           event.Kind
	op             gatt.Op
	level          int
}

func (a *air) link(c *ble.Connection) *airLink { l, _ := c.User.(*airLink); return l }

// Connected is of [ble.Handler], as are the next ones.
func (a *air) Connected(c *ble.Connection) {
	l := new(airLink)
	for _, s := range [...]ble.Side{ble.Central, ble.Peripheral} {
		l.who[s] = a.side(c, s)
		a.keep(l.who[s])
	}
	l.tracker = gatt.NewTracker(c, &a.cache, func(x *gatt.Access) { a.access(c, l, x) })
	l.level = l.levelOf(c)
	c.User = l
}

func (a *air) Disconnected(c *ble.Connection) {
	l := a.link(c)
	a.sh.left = max(a.sh.left, packetEvents) // all may end with the last packet
	l.tracker.Close()
	a.settle(c, l, false)
	if l.pdus == 0 {
		return
	}
	if !l.valued {
		l.lowest = l.level
	}
	a.note(event.LinkSeen, l.who[ble.Peripheral].addr, l.who[ble.Central].addr, event.Text(event.Protocol, "gatt"),
		event.Int(event.Level, l.lowest), event.Int(event.Packets, l.pdus), event.Int(event.DataBytes, l.bytes))
}

// levelOf is the level of LE security mode 1 of what is sent now. Of a
// connection whose beginning is not in a host's log nobody knows. A key of zeros
// is everybody's; and who got around the proof of a key has proven nothing.
func (l *airLink) levelOf(c *ble.Connection) int {
	switch s := &c.Security; {
	case !s.Encrypted && c.Midstream && !c.Sniffed:
		return 0
	case s.ZeroKey:
		return 1
	case s.Encrypted && s.Method == ble.NoMethod && l.skipped:
		return 2
	}
	return c.Security.Level()
}

// protection says what protects values at a level.
func protection(level int) device.Protection {
	switch level {
	case 0:
		return device.Encrypted | device.Unseen
	case 1:
		return 0
	case 2:
		return device.Encrypted
	}
	return device.Encrypted | device.Authenticated
}

func (a *air) Secured(c *ble.Connection) {
	l := a.link(c)
	if lvl := l.levelOf(c); lvl != l.level {
		l.before, l.since, l.level = l.level, c.Last, lvl
	}
	a.identify(c, l)
}

// identify takes note of who the sides turn out to be: a pairing tells, and so
// does the key of a bond.
func (a *air) identify(c *ble.Connection, l *airLink) {
	for _, s := range [...]ble.Side{ble.Central, ble.Peripheral} {
		id := c.Identity(s)
		if id.Kind == ble.NoAddress || id == l.who[s].address {
			continue
		}
		if known := a.parties[id]; known != nil {
			l.who[s] = known
			a.keep(known)
		} else {
			a.remember(id, l.who[s])
		}
	}
}

func (a *air) Pairing(c *ble.Connection, p *ble.Pairing) {
	l := a.link(c)
	l.secure = p.SecureConnections
	a.identify(c, l)
	// With Secure Connections nobody who only listens can read the keys: whoever
	// made the capture had them.
	if p.KeysReadable && !p.SecureConnections && !l.readable {
		l.readable = true
		a.weakKey(l, "the keys of the bond were handed over where somebody could read them")
	}
	outcome, reason := event.Succeeded, ""
	switch told := &l.pairing; {
	case p.State == ble.Failed:
		outcome, reason = event.Failed, "pairing failed, reason "+strconv.Itoa(int(p.Reason))
	case p.State < ble.Encrypted:
		return
	case told.State >= ble.Encrypted && told.Method == p.Method && told.SecureConnections == p.SecureConnections && told.KeySize == p.KeySize:
		return
	default:
		*told = *p
	}
	a.note(event.PairingSeen, l.who[ble.Peripheral].addr, l.who[ble.Central].addr,
		event.Text(event.PairingMethod, p.Method.String()), event.Bool(event.LegacyPairing, !p.SecureConnections),
		event.Int(event.KeySize, p.KeySize), event.Int(event.Level, l.level), event.Int(event.Outcome, outcome), event.Text(event.Reason, reason))
}

func (a *air) weakKey(l *airLink, reason string) {
	a.note(event.WeakKeySeen, l.who[ble.Peripheral].addr, l.who[ble.Central].addr, event.Text(event.Protocol, "ble"), event.Text(event.Reason, reason))
}

// oddCVEs are the published weaknesses that an oddity is the shape of.
var oddCVEs = map[ble.Oddity]string{
	ble.ZeroKey:               "CVE-2019-19194",
	ble.EncryptionWithoutKey:  "CVE-2019-19194",
	ble.EncryptionBeforeCheck: "CVE-2020-13593",
	ble.KeySizeOutOfRange:     "CVE-2019-19196",
	ble.InvalidLLID:           "CVE-2019-17060,CVE-2019-17061",
	ble.TruncatedL2CAP:        "CVE-2019-17517,CVE-2019-19195",
	ble.RequestsOutstanding:   "CVE-2019-19192",
	ble.ReflectedPublicKey:    "CVE-2020-26558",
	ble.InvalidPublicKey:      "CVE-2018-5383",
}

func (a *air) Odd(c *ble.Connection, o ble.Oddity) {
	l := a.link(c)
	cve := oddCVEs[o]
	switch o {
	case ble.StaticKey:
		a.weakKey(l, o.String())
		return
	case ble.ZeroKey:
		a.weakKey(l, o.String())
	case ble.EncryptionWithoutKey, ble.EncryptionBeforeCheck:
		l.skipped = true
		if !l.secure {
			cve = "" // what is published is of Secure Connections
		}
	case ble.KeySizeOutOfRange:
		a.note(event.PairingSeen, l.who[ble.Peripheral].addr, l.who[ble.Central].addr, event.Int(event.KeySize, outOfRange), event.Text(event.Reason, o.String()))
	}
	a.note(event.ExploitSeen, l.who[ble.Central].addr, l.who[ble.Peripheral].addr,
		event.Text(event.Protocol, "ble"), event.Text(event.Shape, o.String()), event.Text(event.CVE, cve))
}

// outOfRange stands for a key size that cannot be.
const outOfRange = 255

func (a *air) Malformed(c *ble.Connection, from ble.Side, err error) {
	l := a.link(c)
	if from == ble.UnknownSide {
		from = ble.Peripheral
	}
	a.malformed(l, l.who[from], l.who[from.Other()], err)
}

func (a *air) malformed(l *airLink, from, to *party, err error) {
	var s *wire.SyntaxError
	if errors.As(err, &s) && l.faults < maxLinkFault {
		l.faults++
		a.note(event.MalformedSeen, from.addr, to.addr, event.Text(event.Protocol, s.Proto), event.Text(event.Field, s.Field), event.Text(event.Reason, s.Err.Error()))
	}
}

func (a *air) ATT(c *ble.Connection, from ble.Side, pdu []byte) {
	l := a.link(c)
	l.pdus++
	l.bytes += uint64(len(pdu))
	if l.asked.waits && from != l.asked.access.From {
		switch ble.ATTOpcode(pdu[0]) {
		case ble.WriteResponse, ble.ExecuteWriteResponse:
			a.settle(c, l, true)
		}
	}
	if err := l.tracker.PDU(from, pdu, c.Last); err != nil {
		a.Malformed(c, from, err)
	}
}

// access takes one use of an attribute.
func (a *air) access(c *ble.Connection, l *airLink, x *gatt.Access) {
	lvl := l.level
	if x.Time < l.since {
		lvl = l.before // a long value, which was complete only now
	}
	switch x.Op {
	case gatt.Write:
		a.settle(c, l, false)
		l.asked.hold(x, a.at, lvl)
		return
	case gatt.Read, gatt.Indicate:
		a.settle(c, l, false) // its answer was not heard
	case gatt.Refused:
		if h := &l.asked.access; x.Asked == gatt.Write && x.Handle == h.Handle && x.Server == h.Server && x.Error < firstApplicationError {
			l.asked.waits = false
		}
		a.settle(c, l, true)
	}
	a.used(c, l, x, lvl)
}

// firstApplicationError is the first of the errors by which not the attribute
// server refuses, but what is behind it, which has read the value (Vol 3 Part
// F section 3.4.1.1).
const firstApplicationError = 0x80

func (h *heldWrite) hold(x *gatt.Access, at flow.Place, level int) {
	if h.value == nil && x.Value != nil {
		h.value = make([]byte, 0, len(x.Value))
	}
	h.value = append(h.value[:0], x.Value...)
	h.access, h.at, h.level, h.waits = *x, at, level, true
	if x.Value != nil {
		h.access.Value = h.value
	}
}

// settle tells of the write that waits for its answer, if any. Without an answer
// a value was sent, and a descriptor perhaps not changed.
func (a *air) settle(c *ble.Connection, l *airLink, answered bool) {
	h := &l.asked
	if !h.waits {
		return
	}
	h.waits = false
	if h.access.Descriptor != (gatt.UUID{}) && !answered {
		return
	}
	at := a.at
	a.at = h.at
	a.used(c, l, &h.access, h.level)
	a.at = at
}

// used tells of one use of an attribute.
func (a *air) used(c *ble.Connection, l *airLink, x *gatt.Access, lvl int) {
	server, client := l.who[x.Server], l.who[x.Server.Other()]
	if server == nil || client == nil {
		return
	}
	service, characteristic := &l.service, &l.characteristic
	if service.UUID != x.Service {
		*service, _ = gatt.Service(x.Service)
	}
	if characteristic.UUID != x.Characteristic {
		*characteristic, l.known = gatt.Characteristic(x.Characteristic)
	}
	medical := service.Medical || l.tracker.Database(x.Server).Medical(x.Service)
	if medical && x.Confidence >= device.Medium {
		a.treats(c, server, x.Server, service)
	}
	about := func(kind event.Kind) bool {
		u := use{x.Characteristic, x.Descriptor, x.Server, kind, x.Op, lvl}
		if slices.Contains(l.told, u) || len(l.told) >= maxLinkTold {
			return false
		}
		l.told = append(l.told, u)
		return true
	}
	switch {
	case x.Op == gatt.Refused:
		if x.Defends() && about(event.AttributeRefused) {
			a.note(event.AttributeRefused, server.addr, client.addr, event.Text(event.Service, service.Name), event.Text(event.Characteristic, characteristic.Name),
				event.Text(event.Operation, x.Asked.String()), event.Text(event.Reason, defences[x.Error]), event.Int(event.Level, lvl))
		}
		return
	case x.Op == gatt.Discover:
		return
	}
	subscribes := x.Descriptor == gatt.CCCD && (x.Op == gatt.Write || x.Op == gatt.WriteCommand)
	if x.Descriptor != (gatt.UUID{}) && !subscribes {
		return // it describes the value, and is part of discovery
	}
	home := x.Service
	if home == (gatt.UUID{}) {
		home = characteristic.Service
	}
	if n, _ := home.Short(); !subscribes && n != genericAccess && n != genericAttribute {
		if !l.valued || lvl != 0 && (lvl < l.lowest || l.lowest == 0) {
			l.lowest = lvl
		}
		l.valued = true
	}
	var r gatt.Reading
	if err := l.decoders[x.Server].Decode(x, &r); err != nil && x.Confidence >= device.Medium {
		from := server
		if x.From == x.Server.Other() {
			from = client
		}
		a.malformed(l, from, l.other(from), err)
	}
	a.reading(c, l, x, &r, service, server, client, lvl, about)
	if (medical || service.Update) && x.Confidence != device.Low && (r.Kind != gatt.Identity || r.Fields != 0) && about(event.AttributeUsed) {
		wanted := service.Level
		if service.IfBonded && !c.Security.Bonded {
			wanted = 0
		}
		how := operation(x, &r, service, l.known)
		if how == subscription && wanted < 3 {
			wanted = 0 // only where the profile asks it of each descriptor, too
		}
		a.note(event.AttributeUsed, server.addr, client.addr, event.Text(event.Service, nameOf(service.Name, x.Service)), event.Text(event.Characteristic, nameOf(characteristic.Name, x.Characteristic)),
			event.Text(event.Operation, how), event.Int(event.Level, lvl), event.Int(event.Wanted, wanted), event.Int(event.Therapy, service.Therapy))
	}
}

// The services that every device has, and tells everybody.
const (
	genericAccess    = 0x1800
	genericAttribute = 0x1801
)

func (l *airLink) other(p *party) *party {
	if p == l.who[ble.Central] {
		return l.who[ble.Peripheral]
	}
	return l.who[ble.Central]
}

// nameOf returns an assigned name, or says that there is none. A number of 16 bits
// names nobody; one of 128 is whatever its device likes, such as its address or serial number.
func nameOf(name string, u gatt.UUID) string {
	if name != "" || u == (gatt.UUID{}) {
		return name
	}
	if _, assigned := u.Short(); assigned {
		return "unassigned " + u.String()
	}
	return "unassigned, of 128 bits"
}

// operation names the use of an attribute, whose characteristic is known or not.
func operation(x *gatt.Access, r *gatt.Reading, service *gatt.ServiceInfo, known bool) string {
	written := x.Op == gatt.Write || x.Op == gatt.WriteCommand
	switch {
	case x.Descriptor != (gatt.UUID{}):
		return subscription
	case service.Update && written:
		return updateWrite
	case (r.Opaque || !known) && written:
		return opaqueWrite
	case r.Opaque || !known:
		return opaqueValue
	case !written && (r.Kind == gatt.NoKind || r.Kind == gatt.Setting):
		return description
	case r.Command.Verb == device.ReportGlucose && r.Kind == gatt.Measurement:
		return glucoseSent
	}
	return x.Op.String()
}

// defences says what a refusal asks for (Vol 3 Part F section 3.4.1.1).
var defences = map[uint8]string{
	0x05: "insufficient authentication", 0x08: "insufficient authorization",
	0x0c: "encryption key too short", 0x0f: "insufficient encryption",
}

// gattFields are gatt's kinds of patient data as event has them.
var gattFields = [...]struct {
	of gatt.Fields
	to int64
}{
	{gatt.FieldResult, event.FieldResult},
	{gatt.FieldOrder, event.FieldOrder},
	{gatt.FieldName, event.FieldName},
	{gatt.FieldBirthDate, event.FieldBirthDate},
	{gatt.FieldSex, event.FieldSex},
	{gatt.FieldContact, event.FieldAddress},
	{gatt.FieldIdentifier, event.FieldSerial},
}

func (a *air) reading(c *ble.Connection, l *airLink, x *gatt.Access, r *gatt.Reading, service *gatt.ServiceInfo, server, client *party, lvl int, first func(event.Kind) bool) {
	if x.Confidence < device.Medium && r.Kind != gatt.Command {
		return // by its shape alone
	}
	guard := protection(lvl)
	if r.Opaque {
		guard |= device.Unseen
	}
	switch r.Kind {
	case gatt.Command:
		a.command(c, x, r, service, server, client, guard)
	case gatt.Response:
		a.note(event.CommandAnswered, server.addr, client.addr, event.Int(event.Verb, r.Command.Verb), event.Int(event.Stage, r.Command.Stage),
			event.Int(event.Outcome, outcomes[r.Outcome]), event.Text(event.Target, targetOf(service, r)))
	case gatt.Identity:
		id := &r.Identity
		made := inventory.Claim{Manufacturer: a.sh.text(id.Manufacturer), Model: a.sh.text(id.Model), Version: a.sh.text(id.Firmware)}
		switch {
		case made == inventory.Claim{}:
		case !server.medical && !l.tracker.Database(x.Server).MedicalDevice():
			server.made.Manufacturer = cmp.Or(made.Manufacturer, server.made.Manufacturer)
			server.made.Model = cmp.Or(made.Model, server.made.Model)
			server.made.Version = cmp.Or(made.Version, server.made.Version)
		case first(event.IdentitySeen):
			a.noteMade(server.addr, client.addr, made)
		}
	}
	if r.Fields&gatt.FieldSecret != 0 && first(event.LoginSeen) {
		from, to := client, server
		if x.From == x.Server {
			from, to = server, client
		}
		a.note(event.LoginSeen, from.addr, to.addr, event.Text(event.Protocol, "gatt"), event.Text(event.Scheme, "code"), event.Int(event.Protection, guard&^device.Unseen))
	}
	fields := int64(0)
	for _, f := range gattFields {
		if r.Fields&f.of != 0 {
			fields |= f.to
		}
	}
	if !server.medical && !l.tracker.Database(x.Server).Worn() {
		fields &^= event.FieldSerial // of what nobody wears
	}
	if fields == 0 || r.Opaque || !first(event.PatientDataSeen) {
		return
	}
	from, to := server, client
	if x.From == x.Server.Other() {
		from, to = client, server
	}
	a.note(event.PatientDataSeen, from.addr, to.addr, event.Text(event.Protocol, "gatt"), event.Int(event.Fields, fields),
		event.Int(event.Subject, a.subject(server)), event.Int(event.Protection, guard), event.Text(event.Operation, targetOf(service, r)))
}

// noteMade tells what a medical device is.
func (a *air) noteMade(about, peer device.Address, made inventory.Claim) {
	a.note(event.IdentitySeen, about, peer, event.Text(event.Manufacturer, made.Manufacturer), event.Text(event.Model, made.Model), event.Text(event.Version, made.Version))
}

var outcomes = [...]event.Result{gatt.NoOutcome: event.Unknown, gatt.Succeeded: event.Succeeded, gatt.Failed: event.Failed}

// subject is who wears a device.
func (a *air) subject(p *party) int64 { return a.pseudonym("subject", p) }

// pseudonym is the same for the same address under the same key.
func (a *air) pseudonym(use string, p *party) int64 {
	if p.address.Kind == ble.NoAddress {
		return a.sh.pseudonym(use, []byte(p.addr.Value))
	}
	return a.sh.pseudonym(use, p.address.Bytes[:])
}

func targetOf(service *gatt.ServiceInfo, r *gatt.Reading) string {
	if service.Name == "" || r.Operation == "" {
		return service.Name + r.Operation
	}
	return service.Name + ": " + r.Operation
}

// command tells of a command. What a decoder cannot name is told only where it
// is sealed: then something was asked for, and nobody sees what.
func (a *air) command(c *ble.Connection, x *gatt.Access, r *gatt.Reading, service *gatt.ServiceInfo, server, client *party, guard device.Protection) {
	if r.Opaque && r.Command.Verb == device.NoVerb {
		return // AttributeUsed says so
	}
	cmd := r.Command
	target := targetOf(service, r)
	if x.Confidence < device.Medium {
		cmd.Verb = device.NoVerb
		target += ", by its shape"
	}
	var fresh int64
	if r.Fresh != 0 && r.Integrity == gatt.Good {
		// The counter begins anew with each connection: it is fresh within one.
		var id [8]byte
		binary.BigEndian.PutUint64(id[:], c.ID)
		fresh = a.sh.pseudonym("hash", id[:], []byte{r.Fresh}, x.Value)
	}
	a.note(event.OrderSeen, server.addr, client.addr, event.Text(event.Protocol, "gatt"), event.Text(event.Now, cmd.Now.String()),
		event.Bool(event.Trackable, client.host || client.address.Trackable() || a.link(c).pairing.State >= ble.Encrypted || c.Security.Method != ble.NoMethod))
	a.note(event.CommandSeen, server.addr, client.addr, event.Int(event.Verb, cmd.Verb), event.Int(event.Therapy, cmd.Therapy),
		event.Int(event.Effect, device.EffectOf(&cmd)), event.Text(event.Value, cmd.Value.String()), event.Text(event.Target, target),
		event.Int(event.Protection, guard), event.Int(event.Fresh, fresh), event.Int(event.Repeat, a.sh.pseudonym("hash", []byte(server.addr.Value), x.Value)))
}

// treats notes that somebody on the radio is a medical device.
func (a *air) treats(c *ble.Connection, p *party, side ble.Side, service *gatt.ServiceInfo) {
	if service.Medical {
		a.is(p, service)
	}
	at := c.Peripheral
	if side == ble.Central {
		at = c.Central
	}
	a.exposed(p, 0, at.Trackable())
}

// is notes what a medical device's service says that it is.
func (a *air) is(p *party, service *gatt.ServiceInfo) {
	if p.medical && (p.therapies.Has(service.Therapy) || service.Therapy == device.NoTherapy) {
		return
	}
	a.keep(p)
	p.medical, p.therapies = true, p.therapies|device.TherapiesOf(service.Therapy)
	class := service.Therapy.Info().Class
	if service.Therapy == device.Monitoring || class == "" {
		class = strings.ToLower(service.Name) + " sensor"
	}
	if a.sh.keyed && p.address.Kind != ble.NoAddress {
		// Whoever has the key knows the device again in another capture.
		id := strconv.FormatUint(uint64(a.pseudonym("radio", p)), 36)
		a.note(event.NameSeen, p.addr, device.Address{}, event.Int(event.AddressKind, device.BLE), event.Text(event.Name, "ble-"+id))
	}
	a.note(event.IdentitySeen, p.addr, device.Address{}, event.Text(event.Class, class), event.Int(event.Therapy, service.Therapy))
	if p.made != (inventory.Claim{}) {
		a.noteMade(p.addr, device.Address{}, p.made)
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
	p := a.parties[ad.Identity]
	fields := int64(0)
	offers := func(u gatt.UUID) {
		if info, ok := gatt.Service(u); ok && info.Medical {
			if p == nil {
				p = a.party(ad.Identity)
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
