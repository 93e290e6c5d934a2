// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// judge decides the statements that waited for names, sessions and answers.
func (s *stage) judge() []*claim {
	return slices.Concat(s.judgeScans(), s.judgeRecords(), s.judgeServices(), s.judgeCalls())
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
		if i, ok := index[k.about]; ok && devices[i].Medical && ofMedical[k.kind] {
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
	c := s.findAll(claimKey{finding.BruteForce, k.from, k.to.Value}, confidence, a.places, a.n-a.told, note).hurts(k.to).with(k.to).over(strings.TrimSuffix(k.protocol, " sessions"))
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
			c := s.findAt(finding.BruteForce, k.from, k.to.Value, device.High, at, protocol+" login accepted after many were refused")
			c.detail = protocol + "; in the end one was accepted"
			s.take(e.Peer, e.Time)
		}
	}
}

// clearSchemes are the ways of logging in that show the password itself.
var clearSchemes = map[string]bool{
	"basic": true, "form": true, "user-pass": true, "user-identity": true, "telnet": true, "simple": true, "plain": true, "password": true, "code": true,
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
	c.hurts(e.Peer).with(e.Peer).over(name)
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
	if e.Text(event.Protocol) == "tcp" || looksAlike[e.Text(event.Shape)] { // a header alone; a broken stack may send it too
		confidence = device.Medium
	}
	kind, note, certainty := finding.ExploitAttempt, e.Text(event.Shape), ""
	if e.Text(event.Protocol) == "ble" {
		kind = finding.BLEEncryptionSkipped
		if cve := e.Text(event.CVE); cve != "" {
			// What was tried can be seen, and not whose chip it was that has it.
			certainty = "review"
			note += ": the shape of " + strings.ReplaceAll(cve, ",", ", ") + "; whether this device has that weakness, the capture does not show"
		}
	}
	c := s.find(kind, e.Peer, e.Text(event.Shape), confidence, e, note).with(e.Device)
	c.detail, c.Certainty = e.Text(event.Shape), certainty
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
	s.session(proto.DHCP, s.node(wire.AddrFrom(nobody), e.Time), server, port, place{e.Time, e.Sighting}, e.Time).Count++
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
	s.findAll(claimKey{finding.DNSTunnel, e.Device, e.Text(event.Domain)}, confidence, l.places, int(l.n-l.told), note).with(e.Peer).over("dns")
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
	idled    []place // the latest calls by datagram: these end in any order
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

// regular are the ports of datagrams that honest services send at even times:
// DNS, NTP, SNMP, QUIC, IKE and IPsec through NAT, syslog, OpenVPN, L2TP,
// STUN and TURN, Teredo, SIP, mDNS, WireGuard and Tailscale.
var regular = []uint16{
	53, 123, 161, 162, 443, 500, 4500, 514, 1194, 1701, 3478, 3479, 5349, 19302, 3544, 5060, 5061, 5353, 51820, 41641,
}

// isRegular reports whether a conversation keeps something alive, by its port or
// by what it says on another.
func (c *ended) isRegular() bool {
	if c.transport != wire.ProtoUDP {
		return false
	}
	p := c.protocols
	return slices.Contains(regular, c.port) || p.has(proto.DNS) || p.has(proto.NTP) || p.has(proto.SNMP) || p.has(proto.Syslog)
}

func (s *stage) beacon(c *ended, client, server uint32) {
	if c.transport != wire.ProtoTCP && c.transport != wire.ProtoUDP || c.isRegular() || !c.answered() || c.bytes() == 0 || c.bytes() > beaconBytes {
		return
	}
	k := s.calling(client, server, c.port, c.begin.Time)
	if k == nil || s.baseline == nil && c.protocols.has(proto.TLS) && k.named && !k.flawed {
		return
	}
	from, to := s.at(client).addr, s.at(server).addr
	if s.baseline.link(from.Value, to.Value, c.protocols.names()) || c.transport == wire.ProtoTCP && c.begin.Time <= k.last {
		return
	}
	if c.transport == wire.ProtoUDP {
		i, had := slices.BinarySearchFunc(k.idled, c.first(), comparePlaces)
		if !had {
			k.idled = slices.Insert(k.idled, i, c.first())
			k.idled = k.idled[max(0, len(k.idled)-finding.MaxSightings):]
		}
		return
	}
	if !k.add(c.first()) {
		return
	}
	note, confidence := s.clockwork(k)
	s.findAll(claimKey{finding.Beaconing, from, to.Value}, confidence, k.places, int(k.n+1-k.told), note).with(to)
	k.places, k.told = nil, k.n+1
}

// judgeCalls decides about the calls by datagram, which are conversations that
// nobody ends.
func (s *stage) judgeCalls() (out []*claim) {
	s.calls.sorted(func(key callKey, had *calls) {
		var k calls
		even := false
		for _, at := range had.idled {
			even = k.add(at)
		}
		if !even {
			return
		}
		to := s.address(key.to)
		c := newClaim(claimKey{finding.Beaconing, s.address(key.from), to.Value})
		note, confidence := s.clockwork(&k)
		for _, at := range k.places {
			c.see(confidence, at, note)
		}
		out = append(out, c.with(to))
	})
	return out
}

// clockwork says what even calls are, and how sure that is worth a word.
func (s *stage) clockwork(k *calls) (note string, confidence device.Confidence) {
	confidence = device.Low
	if s.baseline != nil {
		confidence = device.High
	}
	return fmt.Sprintf("call every %d seconds", int64(k.mean)/second), confidence
}

// add counts a call, and reports whether it stands at the end of a row of even
// ones.
func (k *calls) add(at place) bool {
	if k.last == 0 {
		k.last, k.before = at.time, at
		k.places = []place{k.before}
		return false
	}
	d := float64(at.time - k.last)
	if k.n > 0 && (d > k.mean*beaconBreak || d*beaconBreak < k.mean) {
		k.n, k.told, k.mean, k.m2, k.places = 0, 0, 0, 0, []place{k.before}
	}
	k.last = at.time
	k.n++
	delta := d - k.mean
	k.mean += delta / float64(k.n)
	k.m2 += delta * (d - k.mean)
	k.before = at
	k.places = lowest(k.places, k.before, comparePlaces)
	return k.n >= beaconCalls && k.mean >= float64(beaconMin) && math.Sqrt(k.m2/float64(k.n)) <= k.mean*beaconJitter/100
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
