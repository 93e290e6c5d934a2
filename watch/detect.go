// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// Manipulated therapy.

// freshness is what is remembered of a message id that must be used once.
type freshness struct {
	from device.Address
	to   device.Address
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
		s.find(finding.TherapyCommandUnauthenticated, e.Device, "", confidence, e, note).peer = e.Peer
	}
	first, ok := s.senders[e.Device]
	switch {
	case s.baseline != nil:
		if !s.baseline.commands(e.Peer.Value, e.Device.Value) {
			s.unexpectedSender(e, device.High, note+", from a sender that the baseline does not have")
		}
	case !ok:
		if len(s.senders) < maxTracked {
			s.senders[e.Device] = e.Peer
		}
	case first != e.Peer:
		s.unexpectedSender(e, device.Low, note+", from another sender than before")
	}
	if id := e.Int(event.Fresh); id != 0 {
		had, seen := s.fresh[id]
		switch {
		case !seen && len(s.fresh) < maxFresh:
			s.fresh[id] = freshness{e.Peer, e.Device}
		case seen && had.from != e.Peer && had.to == e.Device:
			c := s.find(finding.TherapyCommandReplayed, e.Device, e.Peer.Value, device.High, e, note+", with the id of an earlier message of another sender")
			c.peer = e.Peer
		}
	}
}

func (s *stage) unexpectedSender(e *event.Event, confidence device.Confidence, note string) {
	c := s.find(finding.TherapyCommandUnexpectedSender, e.Device, e.Peer.Value, confidence, e, note)
	c.peer = e.Peer
}

// Patient data.

func (s *stage) patientData(e *event.Event) {
	if e.Int(event.Protection)&int64(device.Encrypted) != 0 {
		return
	}
	c := s.find(finding.PHIInClear, e.Device, e.Text(event.Protocol), device.High, e, e.Text(event.Protocol)+" message with "+fieldNames(e.Int(event.Fields)))
	c.fields |= e.Int(event.Fields)
	c.subject(e.Int(event.Subject))
	c.peer = e.Peer
}

type moveKey struct{ to device.Address }

// moves are the records that one station received.
type moves struct {
	since    int64
	subjects map[int64]bool
	records  int64
	places   []place
}

// recordsRequested looks at requests to send records to a third station: the
// verb by which a thief empties an archive (DICOM PS3.4 section C.4.2).
func (s *stage) recordsRequested(e *event.Event) {
	to := e.Text(event.Destination)
	if to == "" {
		return
	}
	name := device.Address{Kind: device.AET, Value: to}
	if s.register.Has(e.Device, name) {
		return // to itself: a workstation fetching what it will show
	}
	if s.baseline.name(to) {
		return
	}
	confidence := device.Low
	if s.baseline != nil {
		confidence = device.High
	}
	c := s.find(finding.RecordsToUnexpectedPeer, e.Device, to, confidence, e, e.Text(event.Operation)+" to a third station")
	c.peer = e.Peer
	c.subject(e.Int(event.Subject))
	if n := e.Int(event.Count); n >= bulkRecords {
		s.bulk(e, e.Device, to, confidence, fmt.Sprintf("%d records to a third station", n))
	}
	s.third[to] = true
}

func (s *stage) recordsMoved(e *event.Event) {
	s.register.At(e.Device, e.Time).Sent(e.Time)
	out := outsideUnicast(e.Peer)
	if out && !s.baseline.link(e.Device.Value, e.Peer.Value, e.Text(event.Protocol)) {
		confidence := device.Medium
		if s.baseline != nil {
			confidence = device.High
		}
		c := s.find(finding.RecordsToUnexpectedPeer, e.Device, e.Peer.Value, confidence, e, "records sent to an address outside")
		c.peer = e.Peer
		c.subject(e.Int(event.Subject))
	}
	m := s.moves.get(moveKey{e.Peer}, e.Time, bulkWindow, &s.dropped)
	if m == nil {
		return
	}
	if m.since == 0 || e.Time-m.since > bulkWindow {
		*m = moves{since: e.Time, subjects: make(map[int64]bool)}
	}
	m.records += max(e.Int(event.Count), 1)
	if id := e.Int(event.Subject); id != 0 && len(m.subjects) < maxSubjects {
		m.subjects[id] = true
	}
	if len(m.places) < finding.MaxSightings {
		m.places = append(m.places, place{e.Time, e.Sighting})
	}
	if len(m.subjects) < bulkSubjects {
		return
	}
	confidence := device.NoConfidence
	switch {
	case s.baseline != nil:
		if !s.baseline.link(e.Device.Value, e.Peer.Value, e.Text(event.Protocol)) {
			confidence = device.High
		}
	case out:
		confidence = device.Medium
	case s.third[e.Text(event.Destination)]:
		confidence = device.Low
	}
	if confidence == device.NoConfidence {
		return // a planned prefetch looks just like this
	}
	c := s.bulk(e, e.Peer, "", confidence, "records of many patients")
	for id := range m.subjects {
		c.subject(id)
	}
	for _, p := range m.places {
		c.Add(finding.Sighting{Time: p.time, Input: p.at.Input, Packet: p.at.Packet, Offset: p.at.Offset, Note: "record"})
	}
	m.places = nil
}

func (s *stage) bulk(e *event.Event, about device.Address, scope string, confidence device.Confidence, note string) *claim {
	c := s.find(finding.BulkRecordAccess, about, scope, confidence, e, note)
	c.peer = e.Peer
	return c
}

// The way into the network.

// A tryKey is a station and either a port, whatever the address, or an address,
// whatever the port.
type tryKey struct {
	from  uint32 // node
	port  uint16
	proto uint8
	to    wire.Addr
}

// tries are the targets that came to nothing, until there are enough of them.
type tries struct {
	since   int64
	targets []uint64 // ports, or hashes of addresses
	found   bool
}

// probed are the UDP services that scanners ask for one by one.
var probed = []uint16{69, 161, 500, 623, 1434, 1900, 5060, 11211}

// scan counts conversations that came to nothing: no answer, a refusal, or a
// connection that was opened and left without a word.
func (s *stage) scan(c *ended, client uint32) {
	if client == 0 {
		return
	}
	switch c.transport {
	case wire.ProtoTCP:
		if c.bytes() > 0 && c.state != event.Refused || c.packets > 12 || c.state == event.Midstream {
			return
		}
	case wire.ProtoUDP:
		if c.state != event.Unanswered || !slices.Contains(probed, c.port) {
			return
		}
	case wire.ProtoICMP:
		if c.state != event.Unanswered {
			return
		}
	default:
		return
	}
	if ip := c.server.Netip(); ip.IsMulticast() || ip.Is4() && c.server[15] == 255 {
		return
	}
	at := c.first()
	if s.tried(tryKey{from: client, port: c.port, proto: c.transport}, hashAddr(c.server), scanTargets, at.time) {
		to := s.address(c.server)
		note := "tried port " + strconv.Itoa(int(c.port)) + " at " + to.Value
		if c.transport == wire.ProtoICMP {
			note = "pinged " + to.Value
		}
		s.findAt(finding.ScanHorizontal, s.at(client).addr, "", device.High, at, note).hurts(to)
	}
	if c.transport == wire.ProtoTCP && s.tried(tryKey{from: client, to: c.server, proto: c.transport}, uint64(c.port), scanPorts, at.time) {
		to := s.address(c.server)
		s.findAt(finding.ScanVertical, s.at(client).addr, to.Value, device.High, at, "tried port "+strconv.Itoa(int(c.port))).hurts(to).peer = to
	}
}

// address returns an IP address that need not be a node.
func (s *stage) address(ip wire.Addr) device.Address {
	if n, ok := s.nodes.index[ip]; ok {
		return s.at(n).addr
	}
	return device.Address{Kind: device.IP, Value: ip.String()}
}

// hashAddr tells addresses apart within one list of tries. One who makes two
// of them collide hides one try.
func hashAddr(ip wire.Addr) uint64 {
	return binary.LittleEndian.Uint64(ip[:8])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(ip[8:])
}

// tried notes a target and reports whether the threshold is reached.
func (s *stage) tried(k tryKey, target uint64, threshold int, now int64) bool {
	t := s.tries.get(k, now, scanWindow, &s.dropped)
	if t == nil || t.found {
		return t != nil
	}
	if t.since == 0 || now-t.since > scanWindow {
		*t = tries{since: now, targets: t.targets[:0]}
	}
	if !slices.Contains(t.targets, target) {
		t.targets = append(t.targets, target)
	}
	t.found = len(t.targets) >= threshold
	if t.found {
		t.targets = nil
	}
	return t.found
}

type loginKey struct {
	from, to device.Address
	protocol string
}

type attempts struct {
	since  int64
	n      int
	places []place
}

// attempt counts one, and reports whether the threshold is reached. at the
// crossing it hands out what was seen before.
func (s *stage) attempt(k loginKey, threshold int, at place) (reached bool, before []place) {
	a := s.logins.get(k, at.time, guessWindow, &s.dropped)
	if a == nil {
		return false, nil
	}
	if a.since == 0 || at.time-a.since > guessWindow {
		*a = attempts{since: at.time}
	}
	a.n++
	if a.n < threshold {
		if len(a.places) < finding.MaxSightings {
			a.places = append(a.places, at)
		}
		return false, nil
	}
	before, a.places = a.places, nil
	return true, before
}

func (s *stage) login(e *event.Event) {
	protocol, scheme := e.Text(event.Protocol), e.Text(event.Scheme)
	at := place{e.Time, e.Sighting}
	failed := event.Result(e.Int(event.Outcome)) == event.Failed
	if e.Int(event.Protection)&int64(device.Encrypted) == 0 && clearSchemes[scheme] {
		s.find(finding.CredentialsInClear, e.Peer, protocol, device.High, e, protocol+" login with the password readable").peer = e.Device
	}
	if e.Int(event.DefaultSecret) != 0 && !failed {
		confidence := device.High
		if event.Result(e.Int(event.Outcome)) == event.Unknown {
			confidence = device.Medium
		}
		s.find(finding.DefaultCredentialSeen, e.Peer, protocol, confidence, e, protocol+" login with a maker's well-known name and password").peer = e.Device
	}
	if failed {
		reached, before := s.attempt(loginKey{e.Device, e.Peer, protocol}, guessFailures, at)
		if reached {
			for _, p := range before {
				s.findAt(finding.BruteForce, e.Device, e.Peer.Value, device.High, p, protocol+" login refused").hurts(e.Peer)
			}
			c := s.findAt(finding.BruteForce, e.Device, e.Peer.Value, device.High, at, protocol+" login refused").hurts(e.Peer)
			c.peer, c.detail = e.Peer, protocol
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
		from, to := s.at(client).addr, s.at(server).addr
		reached, before := s.attempt(loginKey{from, to, id.String()}, guessSessions, c.first())
		if !reached {
			return
		}
		for _, p := range append(before, c.first()) {
			f := s.findAt(finding.BruteForce, from, to.Value, device.Medium, p, id.String()+" session that ended at once").hurts(to)
			f.peer, f.detail = to, id.String()
		}
	}
}

func (s *stage) remoteExec(e *event.Event) {
	c := s.find(finding.LateralMovement, e.Device, e.Peer.Value, device.High, e, "program started on the other machine by "+e.Text(event.Method))
	c.hurts(e.Peer).peer = e.Peer
	c.detail = e.Text(event.Method)
}

// remoteControl are the protocols with which a person, or malware, works on
// another machine.
var remoteControl = []string{"rdp", "vnc", "ssh", "telnet"}

func (s *stage) remoteSession(e *event.Event, name string) {
	if !slices.Contains(remoteControl, name) || len(s.exec) >= maxTracked {
		return
	}
	s.exec = append(s.exec, pending{client: e.Device, server: e.Peer, protocol: name, where: place{e.Time, e.Sighting}})
}

// outside keeps conversations with the internet until it is known who of ours
// is a medical device.
func (s *stage) outside(c *ended, client, server uint32) {
	inbound := s.at(client).outside && s.at(server).inside
	if !inbound && !(s.at(client).inside && s.at(server).outside) || !c.answered() || c.toServer == 0 || c.toClient == 0 {
		return
	}
	p := c.protocols
	if s.baseline == nil && !inbound && (p.has(proto.TLS) || p.has(proto.SSH) || p.has(proto.DNS) || p.has(proto.NTP)) {
		return // a maker's remote service looks like this
	}
	if len(s.external) >= maxTracked {
		s.dropped++
		return
	}
	s.external = append(s.external, pending{client: s.at(client).addr, server: s.at(server).addr, protocol: p.names(), where: c.first(), inbound: inbound})
}

// judge decides the statements that waited for the inventory. They are about
// medical devices, which are listed in any case.
func (s *stage) judge(devices []device.Device, index map[device.Address]int) {
	medical := func(a device.Address) bool {
		i, ok := index[a]
		return ok && devices[i].Medical
	}
	s.exec = slices.DeleteFunc(s.exec, func(p pending) bool {
		if !medical(p.client) || s.baseline.link(p.client.Value, p.server.Value, p.protocol) {
			return false
		}
		c := s.findAt(finding.LateralMovement, p.client, p.server.Value, device.Medium, p.where, p.protocol+" session opened by a medical device")
		c.hurts(p.server).peer = p.server
		c.detail = p.protocol
		return true
	})
	s.external = slices.DeleteFunc(s.external, func(p pending) bool {
		own, other := p.client, p.server
		if p.inbound {
			own, other = p.server, p.client
		}
		if !medical(own) || s.baseline.link(p.client.Value, p.server.Value, p.protocol) {
			return false
		}
		confidence, note := device.Low, "conversation in clear with an address outside"
		if p.inbound {
			confidence, note = device.Medium, "conversation opened from outside"
		}
		if s.baseline != nil {
			confidence = device.High
		}
		c := s.findAt(finding.UnexpectedExternalPeer, own, other.Value, confidence, p.where, note)
		c.peer = other
		return true
	})
}

func (s *stage) exploit(e *event.Event) {
	c := s.find(finding.ExploitAttempt, e.Peer, e.Text(event.Shape), device.High, e, e.Text(event.Shape))
	c.peer, c.detail = e.Device, e.Text(event.Shape)
	c.cve(e.Text(event.CVE))
}

// arpOwner is who claims an IP address.
type arpOwner struct {
	mac, before string
	flips       int
	since       int64
	places      []place
}

func (s *stage) bound(e *event.Event) {
	mac := e.Text(event.MAC)
	s.register.Owns(e.Device, mac, e.Time)
	if e.Text(event.Protocol) != "arp" || sharedMAC(mac) {
		return
	}
	o := s.arp[e.Device]
	if o == nil {
		if len(s.arp) >= maxTracked {
			s.dropped++
			return
		}
		s.arp[e.Device] = &arpOwner{mac: mac, since: e.Time}
		return
	}
	if o.mac == mac {
		return
	}
	if e.Time-o.since > arpWindow {
		*o = arpOwner{mac: o.mac, since: e.Time}
	}
	// An address may pass to another machine; one that comes back is contested.
	if o.flips > 0 && mac != o.before {
		o.flips = 0
	}
	o.before, o.mac = o.mac, mac
	o.flips++
	o.places = append(o.places, place{e.Time, e.Sighting})
	if o.flips < arpFlips {
		return
	}
	for _, p := range o.places {
		s.findAt(finding.ARPSpoofing, e.Device, "", device.High, p, "address claimed by another hardware address")
	}
	o.places = nil
}

// sharedMAC reports whether a hardware address is made to move between
// machines: VRRP (RFC 9568 section 7.3) and HSRP.
func sharedMAC(mac string) bool {
	return strings.HasPrefix(mac, "00:00:5e:00:01:") || strings.HasPrefix(mac, "00:00:5e:00:02:") || strings.HasPrefix(mac, "00:00:0c:07:ac:")
}

func (s *stage) addressOffered(e *event.Event) {
	s.register.At(e.Device, e.Time).Spoke("dhcp", true)
	if s.baseline.serves(e.Device.Value, "dhcp") {
		return
	}
	at := place{e.Time, e.Sighting}
	if s.baseline != nil {
		s.findAt(finding.RogueDHCP, e.Device, "", device.High, at, "offer of a server that the baseline does not have")
		return
	}
	if _, ok := s.dhcp[e.Device]; !ok && len(s.dhcp) < maxTracked {
		s.dhcp[e.Device] = at
		if len(s.dhcp) < 2 {
			return
		}
		// Which of the servers is the rogue one cannot be known here: say it of
		// every one but the first.
		first := at
		for _, p := range s.dhcp {
			if p.time < first.time {
				first = p
			}
		}
		if first != at {
			s.findAt(finding.RogueDHCP, e.Device, "", device.Low, at, "offer of a second server")
		}
	}
}

type nameKey struct {
	from   device.Address
	domain string
}

type lookups struct {
	since           int64
	names           map[int64]bool
	length, entropy int64
	n               int64
	places          []place
}

func (s *stage) nameQueried(e *event.Event) {
	l := s.names.get(nameKey{e.Device, e.Text(event.Domain)}, e.Time, tunnelWindow, &s.dropped)
	if l == nil {
		return
	}
	if l.since == 0 || e.Time-l.since > tunnelWindow {
		*l = lookups{since: e.Time, names: make(map[int64]bool)}
	}
	at := place{e.Time, e.Sighting}
	if len(l.names) < 4*tunnelNames {
		l.names[e.Int(event.Subject)] = true
	}
	l.n++
	l.length += e.Int(event.Length)
	l.entropy += e.Int(event.Entropy)
	if len(l.places) < finding.MaxSightings {
		l.places = append(l.places, at)
	}
	found, confidence, note := false, device.High, "one of many long, random-looking names of one domain"
	switch {
	case len(l.names) >= tunnelNames && l.length >= l.n*tunnelLength && l.entropy >= l.n*tunnelEntropy:
		found = true
	case e.Int(event.Length) >= tunnelOneName && e.Int(event.Entropy) >= tunnelOneEntropy:
		found, confidence, note = true, device.Low, "a long name with the look of packed bytes"
	}
	if !found {
		return
	}
	if len(l.places) == 0 {
		l.places = append(l.places, at)
	}
	for _, p := range l.places {
		s.findAt(finding.DNSTunnel, e.Device, e.Text(event.Domain), confidence, p, note).peer = e.Peer
	}
	l.places = l.places[:0]
}

type callKey struct {
	from, to uint32 // nodes
	port     uint16
}

// calls are the intervals between conversations, as a running mean and sum of
// squared differences (Welford).
type calls struct {
	last     int64
	n        int64
	mean, m2 float64
	places   []place
}

func (s *stage) beacon(c *ended, client, server uint32) {
	if c.transport != wire.ProtoTCP || !c.answered() || c.bytes() == 0 || c.bytes() > beaconBytes || !s.at(client).inside || !s.at(server).outside {
		return
	}
	from, to := s.at(client).addr, s.at(server).addr
	if s.baseline.link(from.Value, to.Value, c.protocols.names()) {
		return
	}
	k := s.calls.get(callKey{client, server, c.port}, c.begin.Time, 24*60*minute, &s.dropped)
	if k == nil {
		return
	}
	if k.last == 0 || c.begin.Time <= k.last {
		k.last = max(k.last, c.begin.Time)
		return
	}
	d := float64(c.begin.Time - k.last)
	k.last = c.begin.Time
	k.n++
	delta := d - k.mean
	k.mean += delta / float64(k.n)
	k.m2 += delta * (d - k.mean)
	if len(k.places) < finding.MaxSightings {
		k.places = append(k.places, c.first())
	}
	if k.n < beaconCalls || k.mean < float64(beaconMin) || math.Sqrt(k.m2/float64(k.n)) > k.mean*beaconJitter/100 {
		return
	}
	for _, p := range k.places {
		s.findAt(finding.Beaconing, from, to.Value, device.Low, p, fmt.Sprintf("call every %d seconds", int64(k.mean)/second)).peer = to
	}
	k.places = k.places[:0]
}

func (s *stage) guarded(c *ended, client, server uint32) {
	if s.baseline == nil || !c.answered() {
		return
	}
	from, to := s.at(client).addr, s.at(server).addr
	if guard := s.baseline.Guards[to.Value]; guard != "" && guard != from.Value {
		s.findAt(finding.GuardBypassed, to, from.Value, device.High, c.first(), "conversation that did not pass the guard").peer = from
	}
}

func (s *stage) overlap(e *event.Event) {
	s.find(finding.SegmentOverlap, e.Device, e.Peer.Value, device.Medium, e, "second content for the same "+e.Text(event.Layer)+" bytes").hurts(e.Peer).peer = e.Peer
}

// Weak by design or age.

// insecureProtocols cannot be made secure, whatever the version.
var insecureProtocols = map[string]string{
	"telnet": "Telnet sends everything in clear",
	"ftp":    "FTP sends passwords and files in clear",
}

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
	if note := insecureProtocols[name]; note != "" {
		s.find(finding.InsecureService, e.Peer, name, device.High, e, note).detail = name
	}
	version := e.Text(event.Version)
	for _, v := range insecureVersions {
		if v.protocol == name && v.version == version {
			s.find(finding.InsecureService, e.Peer, name, device.High, e, v.note).detail = name
		}
	}
	if name == "vnc" && strings.HasSuffix(version, "no authentication") {
		s.find(finding.InsecureService, e.Peer, name, device.High, e, "VNC without a password").detail = name
	}
}

func (s *stage) tls(e *event.Event) {
	if reason := e.Text(event.Reason); reason != "" && event.Result(e.Int(event.Outcome)) != event.Failed {
		s.find(finding.WeakTLS, e.Peer, "", device.High, e, reason).peer = e.Device
	}
}

func (s *stage) certificate(e *event.Event) {
	problems := e.Int(event.Problems)
	if problems == 0 {
		return
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
