// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/tls"
	"github.com/myelin-health/myelin/wire"
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

// Patient data.

func (s *stage) patientData(e *event.Event) {
	if e.Int(event.Protection)&int64(device.Encrypted) != 0 {
		return
	}
	c := s.find(finding.PHIInClear, e.Device, e.Text(event.Protocol), device.High, e, e.Text(event.Protocol)+" message with "+fieldNames(e.Int(event.Fields)))
	c.fields |= e.Int(event.Fields)
	s.subject(c, e.Int(event.Subject))
	c.with(e.Peer)
}

// moves are the records that one station received.
type moves struct {
	since    int64
	n        uint64
	from     device.Address
	subjects set
	places   []place
	last     int64
	found    bool // enough of them within the window
	outside  bool
}

func keepMoves(_ device.Address, m *moves) uint8 {
	if m.found {
		return 1
	}
	return 0
}

func (s *stage) releaseMoves(_ device.Address, m *moves) { m.subjects.clear(&s.purse) }

// recordsRequested looks at requests to send records to a third station: the
// verb by which a thief empties an archive (DICOM PS3.4 section C.4.2). Whose
// the name of that station is may be heard later.
func (s *stage) recordsRequested(e *event.Event) {
	to := e.Text(event.Destination)
	if to == "" || s.baseline.name(to) {
		return
	}
	confidence := device.Low
	if s.baseline != nil {
		confidence = device.High
	}
	c := s.wait(claimKey{finding.RecordsToUnexpectedPeer, e.Device, to}, e.Time)
	c.see(confidence, place{e.Time, e.Sighting}, e.Text(event.Operation)+" to a third station")
	c.with(e.Peer)
	s.subject(c, e.Int(event.Subject))
}

func (s *stage) recordsMoved(e *event.Event) {
	s.register.At(e.Device, e.Time).Sent(e.Time)
	protocol := e.Text(event.Protocol)
	if s.baseline.between(e.Device.Value, e.Peer.Value, protocol) || e.Text(event.Destination) != "" {
		return // expected, or a count of what went to another station, and is seen there
	}
	at := place{e.Time, e.Sighting}
	outside := outsideUnicast(e.Peer)
	if outside {
		confidence := device.Medium
		if s.baseline != nil {
			confidence = device.High
		}
		c := s.findAt(finding.RecordsToUnexpectedPeer, e.Device, e.Peer.Value, confidence, at, "records sent to an address outside")
		c.with(e.Peer)
		s.subject(c, e.Int(event.Subject))
	}
	m := s.moves.use(e.Peer, e.Time, &s.dropped)
	if !m.found && e.Time-m.since > bulkWindow {
		m.subjects.clear(&s.purse)
		*m = moves{since: e.Time, from: e.Device}
	}
	m.n++
	m.last = max(m.last, e.Time)
	m.subjects.add(e.Int(event.Subject), maxSubjects, &s.purse)
	m.outside = m.outside || outside
	m.places = lowest(m.places, at, comparePlaces)
	m.found = m.found || len(m.subjects.m) >= bulkSubjects
}

// judgeRecords decides about records once it is known who is called what, and
// who serves records: an archive that fills itself is not a thief.
func (s *stage) judgeRecords() (out []*claim) {
	third := map[string]bool{}
	s.waiting.sorted(func(k claimKey, c *claim) {
		if k.kind != finding.RecordsToUnexpectedPeer || s.register.Has(k.about, device.Address{Kind: device.AET, Value: k.scope}) {
			return // to itself: a station fetching what it will show or keep
		}
		third[k.scope] = true
		out = append(out, c)
	})
	s.moves.sorted(func(to device.Address, m *moves) {
		if !m.found {
			return
		}
		isThird := false
		for name := range third {
			isThird = isThird || s.register.Has(to, device.Address{Kind: device.AET, Value: name})
		}
		confidence := device.Low
		switch {
		case s.baseline != nil:
			confidence = device.High
		case m.outside:
			confidence = device.Medium
		case !isThird && s.serves(to, recordProtocols):
			return
		}
		c := newClaim(claimKey{finding.BulkRecordAccess, to, ""})
		for _, p := range m.places {
			c.see(confidence, p, "records of many patients")
		}
		c.Count, c.Last = m.n, m.last
		c.subjects = m.subjects
		out = append(out, c.with(m.from))
	})
	return out
}

// recordProtocols are those whose servers keep, or pass on, records.
const recordProtocols = 1<<proto.DICOM | 1<<proto.HL7 | 1<<proto.FHIR

// serves reports whether an address is the server of one of the protocols.
func (s *stage) serves(a device.Address, protocols uint64) bool {
	n := s.known(a)
	return n != nil && n.served&protocols != 0
}

// wait returns a claim that hangs on what will be known at the end.
func (s *stage) wait(k claimKey, now int64) *claim {
	c := s.waiting.use(k, now, &s.dropped)
	if c.about.Value == "" {
		*c = *newClaim(k)
	}
	return c
}

// lowest puts x in its place in a list that keeps the lowest few.
func lowest[T any](list []T, x T, compare func(a, b T) int) []T {
	i, had := slices.BinarySearchFunc(list, x, compare)
	if had || i == finding.MaxSightings {
		return list
	}
	if len(list) == finding.MaxSightings {
		list = list[:finding.MaxSightings-1]
	}
	return slices.Insert(list, i, x)
}

// The way into the network.

// A tryKey is a station and either a port, whatever the address, or an address,
// whatever the port.
type tryKey struct {
	from  wire.Addr
	to    wire.Addr // zero: any
	port  uint16
	proto uint8
}

// tries are the targets that came to nothing.
type tries struct {
	since   int64
	n       uint64
	targets []target // up to maxTargets
	places  []try
	last    int64
	found   bool // enough of them within the window
	more    bool // targets than are listed
	lent    int  // targets taken from the purse
}

type target struct {
	addr   wire.Addr
	port   uint16
	visits uint8 // up to checkVisits
	shut   bool  // it did not open at least once
}

// searched reports whether the visits look like a search, and not like a check.
func (t target) searched() bool { return t.shut || t.visits < checkVisits }

type try struct {
	place
	to target
}

func compareTries(a, b try) int { return comparePlaces(a.place, b.place) }

func keepTries(_ tryKey, t *tries) uint8 {
	if t.found {
		return 1
	}
	return 0
}

func (s *stage) releaseTries(_ tryKey, t *tries) { s.targets += purse(t.lent) }

// probed are the UDP services that scanners ask for one by one.
var probed = []uint16{69, 161, 500, 623, 1434, 1900, 5060, 11211}

// futile reports whether a conversation came to nothing, and whether the target
// was open all the same: no answer, a refusal, or a connection that was opened
// and left without a word. Where only one direction was captured nothing is
// known: the client's ACK, or a server that answers nobody, betrays that.
func (c *ended) futile() (futile, open bool) {
	const tcp = wire.SYN | wire.ACK | wire.RST
	client, server := c.flags[flow.Client], c.flags[flow.Server]
	if c.packets[flow.Client] == 0 || c.packets[flow.Client]+c.packets[flow.Server] > scanPackets {
		return false, false
	}
	switch c.transport {
	case wire.ProtoTCP:
		switch {
		case client&tcp == 0: // no stack sends that (RFC 9293 section 3.10.7): a stealth scan
			return true, false
		case client&wire.SYN == 0: // the beginning was not captured
			return false, false
		case c.packets[flow.Server] == 0:
			return client&wire.ACK == 0, false
		case c.state == event.Refused:
			return true, false
		}
		return c.bytes() == 0, client&wire.ACK != 0 && server&wire.SYN != 0
	case wire.ProtoUDP:
		return c.state == event.Unanswered && slices.Contains(probed, c.port), true
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return c.state == event.Unanswered && client&wire.SYN != 0, true
	}
	return false, false
}

// scan counts conversations that came to nothing.
func (s *stage) scan(c *ended) {
	futile, open := c.futile()
	if !futile {
		return
	}
	if ip := c.server.Netip(); ip.IsMulticast() || ip.Is4() && c.server[15] == 255 {
		return
	}
	x := try{c.first(), target{addr: c.server, port: c.port, shut: !open}}
	s.tried(tryKey{from: c.client, port: c.port, proto: c.transport}, x, scanTargets)
	if c.transport == wire.ProtoTCP {
		s.tried(tryKey{from: c.client, to: c.server, proto: c.transport}, x, scanPorts)
	}
}

// tried notes a try.
func (s *stage) tried(k tryKey, x try, threshold int) {
	t := s.tries.use(k, x.time, &s.dropped)
	if !t.found && x.time-t.since > scanWindow {
		*t = tries{since: x.time}
	}
	t.n++
	t.last = max(t.last, x.time)
	t.places = lowest(t.places, x, compareTries)
	i := slices.IndexFunc(t.targets, func(y target) bool { return y.addr == x.to.addr && y.port == x.to.port })
	switch {
	case i >= 0:
		y := &t.targets[i]
		y.visits += min(1, checkVisits-y.visits)
		y.shut = y.shut || x.to.shut
	case len(t.targets) < threshold:
		x.to.visits = 1
		t.targets = append(t.targets, x.to)
	case len(t.targets) < maxTargets && s.targets > 0:
		s.targets--
		t.lent++
		x.to.visits = 1
		t.targets = append(t.targets, x.to)
	default:
		t.more = true
	}
	t.found = t.found || len(t.targets) >= threshold
}

// judgeScans decides which stations search: those that miss more than they
// reach.
func (s *stage) judgeScans() (out []*claim) {
	type service struct {
		from wire.Addr
		port uint16
	}
	type one struct {
		service
		to uint32
	}
	reached := map[service]int{}
	s.tries.sorted(func(k tryKey, t *tries) {
		if t.found && k.to == (wire.Addr{}) {
			reached[service{k.from, k.port}] = 0
		}
	})
	if len(reached) > 0 {
		counted := map[one]bool{}
		for k, r := range s.sessions.rows {
			x := one{service{s.at(k.client).ip, k.port}, k.server}
			if _, ok := reached[x.service]; ok && r.v.Bytes > 0 && s.at(k.server).heard && !counted[x] {
				counted[x] = true
				reached[x.service]++
			}
		}
	}
	s.tries.sorted(func(k tryKey, t *tries) {
		if !t.found {
			return
		}
		missed := 0
		for _, x := range t.targets {
			if x.searched() {
				missed++
			}
		}
		kind, threshold, to, peer := finding.ScanHorizontal, scanTargets, "", device.Address{}
		if k.to != (wire.Addr{}) {
			peer = s.address(k.to)
			kind, threshold, to = finding.ScanVertical, scanPorts, peer.Value
		}
		if missed < threshold || kind == finding.ScanHorizontal && !t.more && missed <= reached[service{k.from, k.port}] {
			return
		}
		c := newClaim(claimKey{kind, s.address(k.from), to})
		for _, x := range t.places {
			note := "tried port " + strconv.Itoa(int(x.to.port)) + " at " + s.address(x.to.addr).Value
			if k.proto == wire.ProtoICMP || k.proto == wire.ProtoICMPv6 {
				note = "pinged " + s.address(x.to.addr).Value
			}
			c.see(device.High, x.place, note)
		}
		c.Count, c.Last = t.n, max(c.Last, t.last)
		for _, x := range t.targets {
			if n, ok := s.nodes.index[x.addr]; ok && (len(c.victims) == 0 || c.victims[len(c.victims)-1] != s.at(n).addr) {
				c.victims = append(c.victims, s.at(n).addr)
			}
		}
		out = append(out, c.with(peer))
	})
	return out
}

// judge decides the statements that waited for names, sessions and answers.
func (s *stage) judge() []*claim {
	return slices.Concat(s.judgeScans(), s.judgeRecords(), s.judgeServices())
}

func (s *stage) judgeServices() (out []*claim) {
	s.waiting.sorted(func(k claimKey, c *claim) {
		if n := s.known(k.about); k.kind == finding.InsecureService && n != nil && n.heard {
			out = append(out, c)
		}
	})
	return out
}

// judgeMedical decides the statements that are made of medical devices only.
func (s *stage) judgeMedical(devices []device.Device, index map[device.Address]int) (out []*claim) {
	s.waiting.sorted(func(k claimKey, c *claim) {
		if i, ok := index[k.about]; ok && devices[i].Medical && (k.kind == finding.LateralMovement || k.kind == finding.UnexpectedExternalPeer) {
			out = append(out, c)
		}
	})
	return out
}

// address returns an IP address that need not be a node.
func (s *stage) address(ip wire.Addr) device.Address {
	if n, ok := s.nodes.index[ip]; ok {
		return s.at(n).addr
	}
	return device.Address{Kind: device.IP, Value: ip.String()}
}

type loginKey struct {
	from, to device.Address
	protocol string
}

type attempts struct {
	since   int64
	n, told int
	places  []place // of those that were not told
}

// attempt counts one, and returns how many there were within the window.
func (s *stage) attempt(k loginKey, at place) *attempts {
	a := s.logins.use(k, at.time, &s.dropped)
	if a.since == 0 || at.time-a.since > guessWindow {
		*a = attempts{since: at.time}
	}
	a.n++
	return a
}

// guessed makes the finding of attempts once there are enough, with those that
// came before.
func (s *stage) guessed(k loginKey, a *attempts, threshold int, confidence device.Confidence, at place, note string) {
	if a.n < threshold {
		a.places = lowest(a.places, at, comparePlaces)
		return
	}
	a.places = lowest(a.places, at, comparePlaces)
	c := s.findAll(claimKey{finding.BruteForce, k.from, k.to.Value}, confidence, a.places, a.n-a.told, note).hurts(k.to).with(k.to)
	c.detail = cmp.Or(c.detail, k.protocol)
	a.places, a.told = nil, a.n
}

func (s *stage) login(e *event.Event) {
	protocol, scheme := e.Text(event.Protocol), e.Text(event.Scheme)
	at := place{e.Time, e.Sighting}
	outcome := event.Result(e.Int(event.Outcome))
	if e.Int(event.Protection)&int64(device.Encrypted) == 0 && clearSchemes[scheme] {
		s.find(finding.CredentialsInClear, e.Peer, protocol, device.High, e, protocol+" login with the password readable").with(e.Device)
	}
	if e.Int(event.DefaultSecret) != 0 && outcome != event.Failed {
		confidence := device.High
		if outcome == event.Unknown {
			confidence = device.Medium
		}
		s.find(finding.DefaultCredentialSeen, e.Peer, protocol, confidence, e, protocol+" login with a maker's well-known name and password").with(e.Device)
	}
	k := loginKey{e.Device, e.Peer, protocol}
	switch outcome {
	case event.Failed:
		a := s.attempt(k, at)
		confidence := device.Medium
		if a.n >= guessSure {
			confidence = device.High
		}
		s.guessed(k, a, guessFailures, confidence, at, protocol+" login refused")
	case event.Succeeded:
		if a := s.logins.get(k); a != nil && a.n >= guessFailures && e.Time-a.since <= guessWindow {
			s.findAt(finding.BruteForce, k.from, k.to.Value, device.High, at, protocol+" login accepted after many were refused")
			s.take(e.Peer, e.Time)
		}
	}
}

// clearSchemes are the ways of logging in that show the password itself.
var clearSchemes = map[string]bool{
	"basic": true, "form": true, "user-pass": true, "user-identity": true, "telnet": true, "simple": true, "plain": true, "password": true,
}

// shortSession counts encrypted logins that ended at once.
func (s *stage) shortSession(c *ended, client, server uint32) {
	for _, id := range [...]proto.ID{proto.SSH, proto.RDP} {
		if !c.protocols.has(id) || c.bytes() > guessBytes {
			continue
		}
		k := loginKey{s.at(client).addr, s.at(server).addr, id.String() + " sessions"}
		s.guessed(k, s.attempt(k, c.first()), guessSessions, device.Medium, c.first(), id.String()+" session that ended at once")
	}
}

func (s *stage) remoteExec(e *event.Event) {
	method := e.Text(event.Method)
	if event.Result(e.Int(event.Outcome)) == event.Failed {
		c := s.find(finding.LateralMovement, e.Device, e.Peer.Value, device.Medium, e, "tried to start a program on the other machine by "+method+", and was refused")
		c.hurts(e.Peer).with(e.Peer)
		c.detail = cmp.Or(c.detail, "refused")
		return
	}
	c := s.find(finding.LateralMovement, e.Device, e.Peer.Value, device.High, e, "program started on the other machine by "+method)
	c.hurts(e.Peer).with(e.Peer)
	c.detail = method
	s.take(e.Peer, e.Time)
}

// take notes that somebody took control of a machine.
func (s *stage) take(a device.Address, now int64) {
	if t := s.taken.use(a, now, &s.dropped); *t == 0 {
		*t = now
	}
}

func (s *stage) wasTaken(a device.Address, now int64) bool {
	t := s.taken.get(a)
	return t != nil && *t <= now
}

// remoteControl are the protocols with which a person, or malware, works on
// another machine.
var remoteControl = []string{"rdp", "vnc", "ssh", "telnet"}

// remoteSession notes who works on another machine of ours. That a medical
// device does so is unexpected, and sure only when the baseline says that it
// does not, or when somebody took control of it before.
func (s *stage) remoteSession(e *event.Event, name string) {
	if !slices.Contains(remoteControl, name) || e.Text(event.Version) != "" || !inside(e.Peer) { // a version comes second
		return
	}
	if s.baseline.link(e.Device.Value, e.Peer.Value, name) {
		return
	}
	confidence, note := device.Low, name+" session opened by a medical device"
	switch {
	case s.baseline != nil:
		confidence = device.High
	case s.wasTaken(e.Device, e.Time):
		confidence, note = device.High, note+" that another took control of before"
	}
	c := s.wait(claimKey{finding.LateralMovement, e.Device, e.Peer.Value}, e.Time)
	c.see(confidence, place{e.Time, e.Sighting}, note)
	c.hurts(e.Peer).with(e.Peer)
	c.detail = cmp.Or(c.detail, name)
}

// outside keeps conversations with the internet until it is known who of ours
// is a medical device.
func (s *stage) outside(c *ended, client, server uint32) {
	from, to := s.at(client), s.at(server)
	inbound := from.outside && to.inside
	if !inbound && !(from.inside && to.outside) || !c.answered() || c.toServer == 0 || c.toClient == 0 {
		return
	}
	p := c.protocols
	if s.baseline == nil && !inbound && (p.has(proto.TLS) || p.has(proto.SSH) || p.has(proto.DNS) || p.has(proto.NTP)) {
		return // a maker's remote service looks like this
	}
	if s.baseline.link(from.addr.Value, to.addr.Value, p.names()) {
		return
	}
	own, other := from.addr, to.addr
	confidence, note := device.Low, "conversation in clear with an address outside"
	if inbound {
		own, other = other, own
		confidence, note = device.Medium, "conversation opened from outside"
	}
	if s.baseline != nil {
		confidence, note = device.High, "conversation that the baseline does not have"
	}
	s.wait(claimKey{finding.UnexpectedExternalPeer, own, other.Value}, c.begin.Time).with(other).see(confidence, c.first(), note)
}

func (s *stage) exploit(e *event.Event) {
	confidence := device.High
	if e.Text(event.Protocol) == "tcp" { // a header alone; a broken stack may send it too
		confidence = device.Medium
	}
	c := s.find(finding.ExploitAttempt, e.Peer, e.Text(event.Shape), confidence, e, e.Text(event.Shape)).with(e.Device)
	c.detail = e.Text(event.Shape)
	c.cve(e.Text(event.CVE))
}

// arpOwner is who claims an IP address.
type arpOwner struct {
	mac, before string
	flips       int
	since       int64
	claims      []arpClaim
}

type arpClaim struct {
	place
	mac string
}

// keepOwner keeps those whose address is contested, then those that talk: a
// flood claims addresses of nobody.
func (s *stage) keepOwner(a device.Address, o *arpOwner) uint8 {
	if o.flips > 0 {
		return 8
	}
	return s.rank(a)
}

func (s *stage) bound(e *event.Event) {
	mac := e.Text(event.MAC)
	s.register.Owns(e.Device, mac, e.Time)
	if e.Text(event.Protocol) != "arp" || sharedMAC(mac) {
		return
	}
	o := s.arp.use(e.Device, e.Time, &s.dropped)
	switch {
	case o.mac == "":
		*o = arpOwner{mac: mac, since: e.Time}
		return
	case o.mac == mac:
		return
	case e.Time-o.since > arpWindow:
		*o = arpOwner{mac: o.mac, since: e.Time}
	}
	// An address may pass to another machine; one that comes back is contested.
	if o.flips > 0 && mac != o.before {
		o.flips, o.claims = 0, nil
	}
	o.before, o.mac = o.mac, mac
	o.flips++
	o.claims = append(o.claims, arpClaim{place{e.Time, e.Sighting}, mac})
	if o.flips < arpFlips {
		return
	}
	confidence := device.Medium
	if o.flips >= arpSure {
		confidence = device.High
	}
	for _, c := range o.claims {
		s.findAt(finding.ARPSpoofing, e.Device, "", confidence, c.place, "claimed by "+c.mac)
	}
	o.claims = nil
}

// sharedMAC reports whether a hardware address is made to move between
// machines: VRRP (RFC 9568 section 7.3), HSRP (RFC 2281 section 5.1 and its
// second version), GLBP.
func sharedMAC(mac string) bool {
	for _, prefix := range [...]string{"00:00:5e:00:01:", "00:00:5e:00:02:", "00:00:0c:07:ac:", "00:00:0c:9f:f", "00:05:73:a0:0", "00:07:b4:00:"} {
		if strings.HasPrefix(mac, prefix) {
			return true
		}
	}
	return false
}

// An offer is what one DHCP server hands out.
type offer struct {
	server   device.Address
	settings int64 // hash of routers and name servers
	time     int64
}

// addressOffered looks for two DHCP servers that lead their clients to
// different routers or name servers: in one network, or towards one client
// within a moment. Two that say the same stand in for each other.
func (s *stage) addressOffered(e *event.Event) {
	s.register.At(e.Device, e.Time).Spoke("dhcp", true)
	s.dhcpSession(e)
	if len(s.servers) > 0 {
		if !s.servers[e.Device.Value] {
			s.find(finding.RogueDHCP, e.Device, "", device.High, e, "offer of a server that the baseline does not have")
		}
		return
	}
	now := offer{e.Device, e.Int(event.Settings), e.Time}
	if network := e.Text(event.Network); network != "" {
		s.offered(network, now, 0, e)
	}
	if client := e.Peer.Value; client != "" {
		s.offered("to "+client, now, rogueWindow, e)
	}
}

// offered compares an offer with those of other servers under the same key. A
// window of 0 is endless.
func (s *stage) offered(key string, now offer, window int64, e *event.Event) {
	list := s.offers.use(key, e.Time, &s.dropped)
	i := slices.IndexFunc(*list, func(o offer) bool { return o.server == now.server })
	if i < 0 {
		if i = len(*list); i == maxOffers {
			return
		}
		*list = append(*list, now)
	}
	// Which of the servers is the rogue one cannot be known here: it is said of
	// those that came later.
	for _, o := range (*list)[:i] {
		if (o.settings != now.settings || now.settings == 0) && (window == 0 || now.time-o.time <= window) {
			s.find(finding.RogueDHCP, e.Device, "", device.Low, e, "offer of a second server, with other settings").with(o.server)
			break
		}
	}
	(*list)[i] = now
}

// dhcpSession enters the server among the sessions: its clients have no
// address yet, and it answers to all.
func (s *stage) dhcpSession(e *event.Event) {
	server := s.nodeOf(e.Device, e.Time)
	if server == 0 {
		return
	}
	port, nobody := uint16(67), netip.IPv4Unspecified()
	if ip := s.at(server).ip.Netip(); ip.Is6() {
		port, nobody = 547, netip.IPv6Unspecified()
	}
	s.session(proto.DHCP, s.node(wire.AddrFrom(nobody), e.Time), server, port, e.Time).Count++
}

type nameKey struct {
	from   device.Address
	domain string
}

type lookups struct {
	since              int64
	names              []int64 // different ones, up to tunnelNames
	n, length, entropy int64
	told               int64
	places             []place // of those that were not told
}

func (s *stage) nameQueried(e *event.Event) {
	l := s.names.use(nameKey{e.Device, e.Text(event.Domain)}, e.Time, &s.dropped)
	if l.since == 0 || e.Time-l.since > tunnelWindow {
		*l = lookups{since: e.Time}
	}
	at := place{e.Time, e.Sighting}
	if name := e.Int(event.Subject); len(l.names) < tunnelNames && !slices.Contains(l.names, name) {
		l.names = append(l.names, name)
	}
	l.n++
	l.length += e.Int(event.Length)
	l.entropy += e.Int(event.Entropy)
	l.places = lowest(l.places, at, comparePlaces)
	confidence, note := device.High, "one of many long, random-looking names of one domain"
	switch {
	case len(l.names) >= tunnelNames && l.length >= l.n*tunnelLength && l.entropy >= l.n*tunnelEntropy:
	case e.Int(event.Length) >= tunnelOneName && e.Int(event.Entropy) >= tunnelOneEntropy:
		confidence, note = device.Low, "a long name with the look of packed bytes"
	default:
		return
	}
	s.findAll(claimKey{finding.DNSTunnel, e.Device, e.Text(event.Domain)}, confidence, l.places, int(l.n-l.told), note).with(e.Peer)
	l.places, l.told = l.places[:0], l.n
}

type callKey struct {
	from, to wire.Addr
	port     uint16
}

// calls are the intervals between conversations, as a running mean and sum of
// squared differences (Welford).
type calls struct {
	last     int64
	before   place // of the call at last
	n        int64
	told     int64
	mean, m2 float64
	places   []place // of those that were not told
	named    bool    // over TLS, to a server asked for by name
	flawed   bool    // whose certificate is false
}

// calling returns the calls of one of ours to a server outside, or nil.
func (s *stage) calling(client, server uint32, port uint16, now int64) *calls {
	if !s.at(client).inside || !s.at(server).outside {
		return nil
	}
	return s.calls.use(callKey{s.at(client).ip, s.at(server).ip, port}, now, &s.dropped)
}

func (s *stage) beacon(c *ended, client, server uint32) {
	if c.transport != wire.ProtoTCP || !c.answered() || c.bytes() == 0 || c.bytes() > beaconBytes {
		return
	}
	k := s.calling(client, server, c.port, c.begin.Time)
	if k == nil || s.baseline == nil && c.protocols.has(proto.TLS) && k.named && !k.flawed {
		return
	}
	from, to := s.at(client).addr, s.at(server).addr
	if s.baseline.link(from.Value, to.Value, c.protocols.names()) || c.begin.Time <= k.last {
		return
	}
	if k.last == 0 {
		k.last, k.before = c.begin.Time, c.first()
		k.places = []place{k.before}
		return
	}
	d := float64(c.begin.Time - k.last)
	if k.n > 0 && (d > k.mean*beaconBreak || d*beaconBreak < k.mean) {
		k.n, k.told, k.mean, k.m2, k.places = 0, 0, 0, 0, []place{k.before}
	}
	k.last = c.begin.Time
	k.n++
	delta := d - k.mean
	k.mean += delta / float64(k.n)
	k.m2 += delta * (d - k.mean)
	k.before = c.first()
	k.places = lowest(k.places, k.before, comparePlaces)
	if k.n < beaconCalls || k.mean < float64(beaconMin) || math.Sqrt(k.m2/float64(k.n)) > k.mean*beaconJitter/100 {
		return
	}
	confidence := device.Low
	if s.baseline != nil {
		confidence = device.High
	}
	note := fmt.Sprintf("call every %d seconds", int64(k.mean)/second)
	s.findAll(claimKey{finding.Beaconing, from, to.Value}, confidence, k.places, int(k.n+1-k.told), note).with(to)
	k.places, k.told = nil, k.n+1
}

func (s *stage) guarded(c *ended, client, server uint32) {
	if s.baseline == nil || !c.answered() {
		return
	}
	from, to := s.at(client).addr, s.at(server).addr
	if guard := s.baseline.Guards[to.Value]; guard != "" && guard != from.Value {
		s.findAt(finding.GuardBypassed, to, from.Value, device.High, c.first(), "conversation that did not pass the guard").with(from)
	}
}

func (s *stage) overlap(e *event.Event) {
	c := s.find(finding.SegmentOverlap, e.Device, e.Peer.Value, device.Low, e, "second content for the same "+e.Text(event.Layer)+" bytes").hurts(e.Peer).with(e.Peer)
	if c.Count >= overlapSure {
		c.Confidence = device.Medium
	}
}

// Weak by design or age.

// insecureVersions cannot be made secure in these versions: the first word or
// words of what the observer calls them.
var insecureVersions = []struct{ protocol, version, note string }{
	{"smb", "1", "SMB version 1"},
	{"snmp", "1", "SNMP version 1 has no secret but a word in clear"},
	{"snmp", "2c", "SNMP version 2c has no secret but a word in clear"},
	{"rdp", "RDP security", "RDP without TLS"},
	{"ssh", "1", "SSH version 1"},
}

func (s *stage) insecure(e *event.Event, name string) {
	version := e.Text(event.Version)
	for _, v := range insecureVersions {
		if v.protocol == name && v.version == version {
			s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, v.note)
		}
	}
	switch {
	case name == "vnc" && strings.HasSuffix(version, "no authentication"):
		s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, "VNC without a password")
	case name == "telnet" && e.Int(event.Protection)&int64(device.Encrypted) == 0:
		s.insecureService(e.Peer, name, place{e.Time, e.Sighting}, "Telnet sends everything in clear")
	}
}

// insecureService waits for the server to say something: to ask for a service
// does not make it one.
func (s *stage) insecureService(about device.Address, name string, at place, note string) {
	c := s.wait(claimKey{finding.InsecureService, about, name}, at.time)
	c.see(device.High, at, note)
	c.detail = name
}

// clearFTP looks at FTP when it is over: it may have gone on in TLS (RFC 4217).
func (s *stage) clearFTP(c *ended, server uint32) {
	if c.protocols.has(proto.FTP) && !c.protocols.has(proto.TLS) {
		s.insecureService(s.at(server).addr, "ftp", c.first(), "FTP sends passwords and files in clear")
	}
}

func (s *stage) tls(e *event.Event) {
	client, server, port := s.nodeOf(e.Device, e.Time), s.nodeOf(e.Peer, e.Time), uint16(e.Int(event.Port))
	if e.Text(event.Name) != "" {
		if k := s.calling(client, server, port, e.Time); k != nil {
			k.named = true
		}
	}
	reason := e.Text(event.Reason)
	if reason == "" || event.Result(e.Int(event.Outcome)) == event.Failed {
		return
	}
	s.find(finding.WeakTLS, e.Peer, "", device.High, e, reason).with(e.Device)
	if client != 0 && server != 0 && strings.Contains(reason, tls.WeakNull.String()) {
		x := s.session(proto.TLS, client, server, port, e.Time)
		x.Encrypted, x.readable = false, true
	}
}

func (s *stage) certificate(e *event.Event) {
	problems := e.Int(event.Problems)
	if problems == 0 {
		return
	}
	if k := s.calling(s.nodeOf(e.Peer, e.Time), s.nodeOf(e.Device, e.Time), uint16(e.Int(event.Port)), e.Time); k != nil {
		k.flawed = true
	}
	var words []string
	for i, w := range [...]string{"expired", "not yet valid", "self-signed", "weak key", "weak hash", "malformed"} {
		if problems&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	what := strings.Join(words, ", ")
	s.find(finding.CertificateInvalid, e.Device, what, device.High, e, "certificate: "+what).detail = what
}

// legacySystems get no security updates any more. A prefix of the name decides.
var legacySystems = []string{
	"Windows NT", "Windows 95", "Windows 98", "Windows 2000", "Windows XP", "Windows Server 2003", "Windows Vista",
	"Windows Server 2008", "Windows 7", "Windows 8", "Windows Server 2012", "Windows CE", "Windows Embedded",
}

func (s *stage) legacy(e *event.Event, os string) {
	for _, old := range legacySystems {
		if strings.HasPrefix(os, old) {
			s.find(finding.LegacyOS, e.Device, "", device.High, e, os).detail = os
			return
		}
	}
}

func (s *stage) malformed(e *event.Event) {
	protocol := e.Text(event.Protocol)
	s.find(finding.MalformedMessage, e.Device, protocol, device.Medium, e, e.Text(event.Field)+": "+e.Text(event.Reason)).detail = protocol
}
