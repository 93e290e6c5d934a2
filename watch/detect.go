// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
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
	s.register.Sent(e.Peer, e.Time)
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
	s.register.Sent(e.Device, e.Time)
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

// A tryKey is a station and either a port (whatever the address) or an
// address (whatever the port).
type tryKey struct {
	from  device.Address
	to    device.Address
	port  int64
	proto int64
}

type tries struct {
	since   int64
	targets []string
	places  []place
	found   bool
}

// probed are the UDP services that scanners ask for one by one.
var probed = []int64{69, 161, 500, 623, 1434, 1900, 5060, 11211}

// scan counts conversations that came to nothing: no answer, a refusal, or a
// connection that was opened and left without a word.
func (s *stage) scan(e *event.Event, state event.ConversationState) {
	proto, port := e.Int(event.Transport), e.Int(event.Port)
	bytes := e.Int(event.BytesToServer) + e.Int(event.BytesToClient)
	switch proto {
	case wire.ProtoTCP:
		if bytes > 0 && state != event.Refused || e.Int(event.Packets) > 12 {
			return
		}
	case wire.ProtoUDP:
		if state != event.Unanswered || !slices.Contains(probed, port) {
			return
		}
	case wire.ProtoICMP:
		if state != event.Unanswered {
			return
		}
	default:
		return
	}
	if !plainTarget(e.Peer) {
		return
	}
	began := e.Int(event.Began)
	at := place{began, e.Sighting}
	if s.tried(tryKey{from: e.Device, port: port, proto: proto}, e.Peer.Value, scanTargets, at) {
		note := fmt.Sprintf("tried port %d at %s", port, e.Peer.Value)
		if proto == wire.ProtoICMP {
			note = "pinged " + e.Peer.Value
		}
		s.findAt(finding.ScanHorizontal, e.Device, "", device.High, at, note).hurts(e.Peer)
	}
	if proto == wire.ProtoTCP && s.tried(tryKey{from: e.Device, to: e.Peer, proto: proto}, fmt.Sprint(port), scanPorts, at) {
		s.findAt(finding.ScanVertical, e.Device, e.Peer.Value, device.High, at, fmt.Sprintf("tried port %d", port)).hurts(e.Peer).peer = e.Peer
	}
}

// tried notes a target and reports whether the threshold is reached.
func (s *stage) tried(k tryKey, target string, threshold int, at place) bool {
	t := s.tries.get(k, at.time, scanWindow, &s.dropped)
	if t == nil {
		return false
	}
	if t.since == 0 || !t.found && at.time-t.since > scanWindow {
		*t = tries{since: at.time, targets: t.targets[:0]}
	}
	if t.found {
		return true
	}
	if !slices.Contains(t.targets, target) {
		t.targets = append(t.targets, target)
	}
	t.found = len(t.targets) >= threshold
	return t.found
}

// plainTarget reports whether an address is one host's.
func plainTarget(a device.Address) bool {
	return inside(a) && !strings.HasSuffix(a.Value, ".255") || outsideUnicast(a)
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
func (s *stage) shortSession(e *event.Event, names string) {
	protocol := ""
	for _, p := range [...]string{"ssh", "rdp"} {
		if hasWord(names, p) {
			protocol = p
		}
	}
	if protocol == "" || e.Int(event.BytesToServer)+e.Int(event.BytesToClient) > guessBytes {
		return
	}
	at := place{e.Int(event.Began), e.Sighting}
	reached, before := s.attempt(loginKey{e.Device, e.Peer, protocol}, guessSessions, at)
	if !reached {
		return
	}
	for _, p := range append(before, at) {
		c := s.findAt(finding.BruteForce, e.Device, e.Peer.Value, device.Medium, p, protocol+" session that ended at once").hurts(e.Peer)
		c.peer, c.detail = e.Peer, protocol
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

func (s *stage) outside(e *event.Event, state event.ConversationState, names string) {
	toServer, toClient := e.Int(event.BytesToServer), e.Int(event.BytesToClient)
	if state < event.Established || toServer == 0 || toClient == 0 {
		return
	}
	inbound := outsideUnicast(e.Device) && inside(e.Peer)
	if !inbound && !(inside(e.Device) && outsideUnicast(e.Peer)) {
		return
	}
	secure := hasWord(names, "tls") || hasWord(names, "ssh") || hasWord(names, "dns") || hasWord(names, "ntp")
	if s.baseline == nil && secure && !inbound {
		return // a maker's remote service looks like this
	}
	if len(s.external) >= maxTracked {
		s.dropped++
		return
	}
	s.external = append(s.external, pending{client: e.Device, server: e.Peer, protocol: names, port: e.Int(event.Port),
		where: place{e.Int(event.Began), e.Sighting}, inbound: inbound})
}

// judge decides the statements that waited for the inventory.
func (s *stage) judge() {
	if len(s.exec) == 0 && len(s.external) == 0 {
		return
	}
	devices, index, _ := s.register.Devices(nil)
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
	mac, by := e.Text(event.MAC), e.Text(event.Protocol)
	own := by != "ip"
	s.register.Bound(e.Device, mac, own, e.Time)
	if by != "arp" || sharedMAC(mac) {
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
	s.register.Spoke(e.Device, "dhcp", true, e.Time)
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
	case e.Int(event.Length) >= tunnelOneName && e.Int(event.Entropy) >= tunnelEntropy:
		found, confidence, note = true, device.Low, "a name as long as names can be, unlike words"
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
	from, to device.Address
	port     int64
}

// calls are the intervals between conversations, as a running mean and sum of
// squared differences (Welford).
type calls struct {
	last     int64
	n        int64
	mean, m2 float64
	places   []place
}

func (s *stage) beacon(e *event.Event, state event.ConversationState) {
	bytes := e.Int(event.BytesToServer) + e.Int(event.BytesToClient)
	if e.Int(event.Transport) != wire.ProtoTCP || state < event.Established || !inside(e.Device) || !outsideUnicast(e.Peer) || bytes == 0 || bytes > beaconBytes {
		return
	}
	if s.baseline.link(e.Device.Value, e.Peer.Value, e.Text(event.Protocol)) {
		return
	}
	began := e.Int(event.Began)
	c := s.calls.get(callKey{e.Device, e.Peer, e.Int(event.Port)}, began, 24*60*minute, &s.dropped)
	if c == nil {
		return
	}
	if c.last == 0 || began <= c.last {
		c.last = max(c.last, began)
		return
	}
	d := float64(began - c.last)
	c.last = began
	c.n++
	delta := d - c.mean
	c.mean += delta / float64(c.n)
	c.m2 += delta * (d - c.mean)
	if len(c.places) < finding.MaxSightings {
		c.places = append(c.places, place{began, e.Sighting})
	}
	if c.n < beaconCalls || c.mean < float64(beaconMin) || math.Sqrt(c.m2/float64(c.n)) > c.mean*beaconJitter/100 {
		return
	}
	for _, p := range c.places {
		s.findAt(finding.Beaconing, e.Device, e.Peer.Value, device.Low, p, fmt.Sprintf("call every %d seconds", int64(c.mean)/second)).peer = e.Peer
	}
	c.places = nil
}

func (s *stage) guarded(e *event.Event, state event.ConversationState) {
	if s.baseline == nil || state < event.Established {
		return
	}
	if guard := s.baseline.Guards[e.Peer.Value]; guard != "" && guard != e.Device.Value {
		s.findAt(finding.GuardBypassed, e.Peer, e.Device.Value, device.High, place{e.Int(event.Began), e.Sighting}, "conversation that did not pass the guard").peer = e.Device
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

// insecureVersions cannot be made secure in these versions.
var insecureVersions = map[[2]string]string{
	{"smb", "1"}:        "SMB version 1",
	{"snmp", "1"}:       "SNMP version 1 has no secret but a word in clear",
	{"snmp", "2c"}:      "SNMP version 2c has no secret but a word in clear",
	{"rdp", "standard"}: "RDP without TLS",
	{"vnc", "none"}:     "VNC without a password",
}

func (s *stage) insecure(e *event.Event, name string) {
	if note := insecureProtocols[name]; note != "" {
		s.find(finding.InsecureService, e.Peer, name, device.High, e, note).detail = name
	}
	if note := insecureVersions[[2]string{name, e.Text(event.Version)}]; note != "" {
		s.find(finding.InsecureService, e.Peer, name, device.High, e, note).detail = name
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
