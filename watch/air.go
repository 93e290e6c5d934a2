// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"slices"
	"strconv"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of what is remembered of those on the radio.
const (
	maxParties   = 16384 // addresses; first those go that passed by, last those that are medical and had a connection, and who speaks again has another pseudonym
	maxHosts     = 1024  // controllers of logs, of which those go first that had the fewest connections
	maxLinkTold  = 128   // different uses of attributes told of one connection
	maxLinkFault = 4     // malformed values told of one connection

	maxSpareLinks = 16 // whose memory the next ones use
)

// An air follows what was heard on the radio. It belongs to one shard, which
// gets all of it: who is who, which key came from which pairing and which
// handle is what shows over all connections and inputs.
type air struct {
	sh       *shard
	at       flow.Place // of the frame in hand
	follower *ble.Follower
	packet   ble.Packet
	cache    *gatt.Cache
	spare    []*airLink // of connections that ended
	parties  table[ble.Address, *party]
	hosts    table[hostKey, *party]
	stream   uint64 // of the frame in hand
	named    int    // pseudonyms given
	dropped  uint64 // parties that were forgotten though they had a connection or are medical, transmitters, and what a tracker had no room for
	passed   uint64 // parties that were forgotten
	crowds   map[crowdKey]*crowd
	crowded  uint64 // strangers that are told as one with others
	amounts  map[device.Quantity]string
	faults   map[Fault]uint64
	unread   uint64 // frames of a proprietary radio that no dialect knows

	dialects     *radio.Set // nil until there is a frame of a proprietary radio
	message      radio.Message
	heard        table[int64, hearing] // by the bytes of a frame
	transmitters table[transmitterKey, *transmitter]
	scratch      []byte
}

func newAir(sh *shard) *air {
	a := &air{sh: sh, cache: new(gatt.Cache), amounts: make(map[device.Quantity]string), hosts: table[hostKey, *party]{bound: maxHosts}, faults: make(map[Fault]uint64)}
	a.parties = table[ble.Address, *party]{bound: maxParties, keep: worth, release: func(_ ble.Address, p **party) {
		if (*p).known || (*p).medical {
			a.dropped++
		}
	}}
	a.transmitters = table[transmitterKey, *transmitter]{bound: maxTransmitters, release: a.talked}
	a.heard = table[int64, hearing]{bound: maxTracked, window: clockSkew}
	a.follower = ble.NewFollower(a)
	a.cache.Foresee(sh.handles)
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

// note emits an event at the frame in hand.
func (a *air) note(kind event.Kind, about, peer device.Address, attrs ...event.Attr) {
	e := a.sh.emit(kind, a.at)
	e.Device, e.Peer = about, peer
	e.Add(attrs...)
}

// An airLink is what is remembered of one connection.
type airLink struct {
	connection *ble.Connection
	who        [3]*party // by ble.Side
	tracker    *gatt.Tracker
	decoders   [3]gatt.Decoder // of each side's server
	told       []use
	faults     int
	pairing    ble.Pairing // the last one that was told
	secure     bool        // the last one is LE Secure Connections
	readable   bool        // it was told that keys could be read
	skipped    bool        // encryption was started without the proof of a key
	asked      heldWrite

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
	l := a.newLink(c)
	for _, s := range [...]ble.Side{ble.Central, ble.Peripheral} {
		l.who[s] = a.side(c, s)
		a.meet(l.who[s])
	}
	l.level = l.levelOf(c)
	c.User = l
}

// newLink returns what is remembered of a connection, in the memory of one that
// ended, if there is any.
func (a *air) newLink(c *ble.Connection) *airLink {
	n := len(a.spare)
	if n == 0 {
		l := &airLink{connection: c}
		l.tracker = gatt.NewTracker(c, a.cache, func(x *gatt.Access) { a.access(l.connection, l, x) })
		return l
	}
	l := a.spare[n-1]
	a.spare = a.spare[:n-1]
	*l = airLink{connection: c, tracker: l.tracker, told: l.told[:0], asked: heldWrite{value: l.asked.value[:0]}}
	l.tracker.Reset(c)
	return l
}

func (a *air) Disconnected(c *ble.Connection) {
	l := a.link(c)
	a.sh.left = max(a.sh.left, packetEvents) // all may end with the last packet
	l.tracker.Close()
	a.dropped += uint64(l.tracker.Lost())
	a.settle(c, l, false)
	if len(a.spare) < maxSpareLinks {
		a.spare = append(a.spare, l)
	}
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
		if known := a.of(id); known != nil {
			l.who[s] = known
			a.meet(known)
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
		event.Int(event.KeySize, p.KeySize), event.Int(event.Level, l.level), event.Int(event.Outcome, outcome), event.Text(event.Reason, reason),
		event.Text(event.Asked, askedFor(p)))
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
	case ble.StaticKey, ble.DebugKey:
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
		a.note(event.PairingSeen, l.who[ble.Peripheral].addr, l.who[ble.Central].addr, event.Int(event.KeySize, oddKeySize(c.Pairing())),
			event.Text(event.Reason, o.String()), event.Text(event.Asked, askedFor(c.Pairing())))
	}
	a.note(event.ExploitSeen, l.who[ble.Central].addr, l.who[ble.Peripheral].addr,
		event.Text(event.Protocol, "ble"), event.Text(event.Shape, o.String()), event.Text(event.CVE, cve))
}

// outOfRange stands for a key size that cannot be, where its number was not heard.
const outOfRange = 255

// oddKeySize is the key size that cannot be, as one side named it.
func oddKeySize(p *ble.Pairing) uint8 {
	for _, n := range [...]uint8{p.Response.MaxKeySize, p.Request.MaxKeySize} {
		if n > 16 || n != 0 && n < 7 {
			return n
		}
	}
	return outOfRange
}

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

// SDU takes note of what an application sends beside the attribute protocol. It
// is not read: who sent it, and what protected it, is all that is known.
func (a *air) SDU(c *ble.Connection, from ble.Side, spsm uint16, sdu []byte) {
	l := a.link(c)
	l.pdus++
	l.bytes += uint64(len(sdu))
	l.value(l.level)
	if !l.first(use{characteristic: gatt.UUID16(spsm), server: from, kind: event.AttributeUsed, level: l.level}) {
		return
	}
	how := opaqueValue
	if from == ble.Central {
		how = opaqueWrite
	}
	a.note(event.AttributeUsed, l.who[ble.Peripheral].addr, l.who[ble.Central].addr, event.Text(event.Service, channelName(spsm)),
		event.Text(event.Operation, how), event.Int(event.Level, l.level))
}

// channelName says what a credit-based channel is for.
func channelName(spsm uint16) string {
	switch spsm {
	case ble.SPSMIPSP:
		return "Internet Protocol Support"
	case ble.SPSMOTS:
		return "Object Transfer"
	}
	return "L2CAP channel " + strconv.Itoa(int(spsm))
}

// value takes note that a value went over the link.
func (l *airLink) value(lvl int) {
	if !l.valued || lvl != 0 && (lvl < l.lowest || l.lowest == 0) {
		l.lowest = lvl
	}
	l.valued = true
}

// first reports whether a use is new, and to be told.
func (l *airLink) first(u use) bool {
	if slices.Contains(l.told, u) || len(l.told) >= maxLinkTold {
		return false
	}
	l.told = append(l.told, u)
	return true
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
		return l.first(use{x.Characteristic, x.Descriptor, x.Server, kind, x.Op, lvl})
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
		l.value(lvl)
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
