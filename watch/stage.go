// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// The stage folds the events of all shards, in the order of their packets,
// into sessions, an inventory and findings. It is used from one goroutine.
type stage struct {
	record   func(*event.Event) error
	keyed    bool // pseudonyms may be shown
	baseline *Baseline
	listed   func([]device.Device) // [Config.Register]
	register *inventory.Register
	nodes    nodes
	sessions table[sessionKey, Session]
	claims   claims
	ordinals map[int64]int64 // of subjects, in the order of appearance
	purse    purse           // room for subjects that is left
	dropped  uint64

	// The state of detectors that need some.
	tries   table[tryKey, tries]
	targets purse // room for targets of found scans that is left
	logins  table[loginKey, attempts]
	moves   table[device.Address, moves]
	names   table[nameKey, lookups]
	calls   table[callKey, calls]
	arp     table[device.Address, arpOwner]
	offers  table[string, []offer]
	fresh   table[int64, freshness]
	wakes   table[device.Address, wakes]
	senders table[device.Address, sender] // first sender of therapy commands to each device
	ordered ordered                       // what goes with the command that comes next
	phrases map[saying]phrase             // a cache
	running table[pumpKey, running]
	taken   table[device.Address, int64] // machines that somebody else took control of, and when
	waiting table[claimKey, claim]       // claims that hang on what a device is
	servers map[string]bool              // that the baseline expects to offer addresses; nil: it says nothing of it
}

// A place is a sighting with its time.
type place struct {
	time int64
	at   event.Sighting
}

func (p place) sighting() finding.Sighting {
	return finding.Sighting{Time: p.time, Input: p.at.Input, Packet: p.at.Packet, Offset: p.at.Offset}
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.at.Input, b.at.Input), cmp.Compare(a.at.Packet, b.at.Packet), cmp.Compare(a.at.Offset, b.at.Offset))
}

func newStage(c Config) *stage {
	s := &stage{
		record: c.Record, keyed: c.Key != nil, baseline: c.Baseline, listed: c.Register,
		register: inventory.NewRegister(),
		nodes:    nodes{slab: []*[nodeSlab]node{new([nodeSlab]node)}, index: make(map[wire.Addr]uint32), radio: make(map[string]uint32)},
		claims:   claims{m: make(map[claimKey]*claim)},
		ordinals: make(map[int64]int64),
		phrases:  make(map[saying]phrase),
		purse:    maxAllSubjects, targets: maxAllTargets,
		servers: c.Baseline.servers("dhcp"),
	}
	s.register.Catalogue = c.Catalogue
	s.sessions = table[sessionKey, Session]{bound: maxSessions, keep: s.keepSession}
	s.tries = table[tryKey, tries]{bound: maxTracked, window: scanWindow, keep: keepTries, release: s.releaseTries}
	s.logins = table[loginKey, attempts]{bound: maxTracked, window: guessWindow}
	s.moves = table[device.Address, moves]{bound: maxTracked, window: bulkWindow, keep: keepMoves, release: s.releaseMoves}
	s.names = table[nameKey, lookups]{bound: maxTracked, window: tunnelWindow}
	s.calls = table[callKey, calls]{bound: maxTracked}
	s.arp = table[device.Address, arpOwner]{bound: maxTracked, keep: s.keepOwner}
	s.offers = table[string, []offer]{bound: maxTracked}
	s.fresh = table[int64, freshness]{bound: maxFresh}
	s.wakes = table[device.Address, wakes]{bound: maxTracked, window: minute}
	s.senders = table[device.Address, sender]{bound: maxTracked, keep: func(a device.Address, _ *sender) uint8 { return s.rank(a) }}
	s.running = table[pumpKey, running]{bound: maxTracked, keep: func(k pumpKey, _ *running) uint8 { return s.rank(k.gateway) }}
	s.taken = table[device.Address, int64]{bound: maxTracked, keep: func(a device.Address, _ *int64) uint8 { return s.rank(a) }}
	s.waiting = table[claimKey, claim]{bound: maxTracked, keep: func(k claimKey, _ *claim) uint8 { return s.rank(k.about) }}
	return s
}

// known returns the node of an address, or nil.
func (s *stage) known(a device.Address) *node {
	if n, ok := s.nodes.radio[a.Value]; ok && a.OnAir() {
		return s.at(n)
	}
	ip, err := netip.ParseAddr(a.Value)
	if a.Kind != device.IP || err != nil {
		return nil
	}
	if n, ok := s.nodes.index[wire.AddrFrom(ip)]; ok {
		return s.at(n)
	}
	return nil
}

// rank is the worth of whatever is at an address.
func (s *stage) rank(a device.Address) uint8 {
	if n := s.known(a); n != nil {
		return s.worth(n)
	}
	return s.worth(&node{addr: a})
}

// on takes the next event.
func (s *stage) on(e *event.Event) error {
	if h := handlers[e.Kind]; h != nil {
		h(s, e)
	}
	if s.record == nil {
		return nil
	}
	s.withhold(e)
	return s.record(e)
}

// handlers are what the stage does with each kind of event.
var handlers = [...]func(*stage, *event.Event){
	event.ProtocolSeen:     (*stage).protocol,
	event.IdentitySeen:     (*stage).identity,
	event.NameSeen:         (*stage).named,
	event.BindingSeen:      (*stage).bound,
	event.MakerSeen:        (*stage).maker,
	event.OrderSeen:        (*stage).order,
	event.CommandSeen:      (*stage).command,
	event.CommandAnswered:  (*stage).commandAnswered,
	event.TherapySeen:      (*stage).therapy,
	event.ReportSeen:       (*stage).report,
	event.PatientDataSeen:  (*stage).patientData,
	event.RecordsRequested: (*stage).recordsRequested,
	event.RecordsMoved:     (*stage).recordsMoved,
	event.LoginSeen:        (*stage).login,
	event.RemoteExecSeen:   (*stage).remoteExec,
	event.ExploitSeen:      (*stage).exploit,
	event.TLSSeen:          (*stage).tls,
	event.CertificateSeen:  (*stage).certificate,
	event.NameQueried:      (*stage).nameQueried,
	event.AddressOffered:   (*stage).addressOffered,
	event.MalformedSeen:    (*stage).malformed,
	event.OverlapSeen:      (*stage).overlap,
	event.BoundReached:     (*stage).boundReached,
	event.LinkSeen:         (*stage).link,
	event.PairingSeen:      (*stage).pairing,
	event.AttributeUsed:    (*stage).attribute,
	event.AttributeRefused: (*stage).refused,
	event.AdvertisingSeen:  (*stage).advertising,
	event.WeakKeySeen:      (*stage).weakKey,
}

// withhold takes out of an event what must not leave: names that may be a
// person's, because what is equipment is known at the end only, and hashes,
// which become ordinals: those of subjects when no key was given.
func (s *stage) withhold(e *event.Event) {
	switch e.Kind {
	case event.NameSeen:
		kind := device.AddressKind(e.Int(event.AddressKind))
		if kind == device.Host || kind == device.AET || kind == device.BLE {
			e.Set(event.Text(event.Name, ""))
		}
	case event.TLSSeen, event.CertificateSeen:
		e.Set(event.Text(event.Name, ""))
	case event.RecordsRequested, event.RecordsMoved:
		if e.Text(event.Destination) != "" {
			e.Set(event.Text(event.Destination, ""))
		}
	}
	for _, k := range [...]event.Key{event.Fresh, event.Repeat} {
		if e.Int(k) != 0 {
			e.Set(event.Int(k, s.ordinal(e.Int(k))))
		}
	}
	if v := e.Int(event.Subject); v != 0 && !s.keyed {
		e.Set(event.Int(event.Subject, s.ordinal(v)))
	}
}

func (s *stage) ordinal(hash int64) int64 {
	n, ok := s.ordinals[hash]
	if !ok {
		n = int64(len(s.ordinals) + 1)
		if len(s.ordinals) < maxFresh {
			s.ordinals[hash] = n
		}
	}
	return n
}

func (s *stage) protocol(e *event.Event) {
	name := e.Text(event.Protocol)
	client, server := s.nodeOf(e.Device, e.Time), s.nodeOf(e.Peer, e.Time)
	id := proto.ByName(name)
	s.at(client).spoke |= 1 << id
	s.at(server).served |= 1 << id
	s.insecure(e, name)
	port := e.Int(event.Port)
	if port == 0 || client == 0 || server == 0 {
		return // a version learned later, or a protocol inside another
	}
	x := s.session(id, client, server, uint16(port), place{e.Time, e.Sighting}, e.Time)
	x.Encrypted = x.Encrypted || e.Int(event.Protection)&int64(device.Encrypted) != 0 && !x.readable
	x.Inferred = x.Inferred || e.Int(event.Inferred) != 0
	s.remoteSession(e, name)
}

func (s *stage) identity(e *event.Event) {
	c := inventory.Claim{
		Manufacturer: e.Text(event.Manufacturer), Model: e.Text(event.Model), Serial: e.Text(event.Serial),
		Version: e.Text(event.Version), OS: e.Text(event.OS), Class: e.Text(event.Class), UDI: e.Text(event.UDI),
		Therapy: device.Therapy(e.Int(event.Therapy)),
	}
	if p, _ := s.register.Product(&c); p.Worn && c.Serial != "" {
		e.Set(event.Text(event.Serial, ""))
		if e.Device.Kind == device.NoAddress {
			e.Device.Value, _, _ = strings.Cut(e.Device.Value, unitOf)
		}
	}
	s.register.Said(e.Device, c, e.Time)
	if e.Device.Kind == device.EUI64 && e.Peer.Kind == device.IP {
		s.register.At(e.Device, e.Time).Sent(e.Time)
		s.register.Behind(e.Peer, e.Device, e.Time)
	}
	if os := e.Text(event.OS); os != "" {
		s.legacy(e, os)
	}
}

func (s *stage) maker(e *event.Event) {
	s.register.Stored(e.Device, inventory.Claim{
		Manufacturer: e.Text(event.Manufacturer), Model: e.Text(event.Model), Class: e.Text(event.Class), Therapy: device.Therapy(e.Int(event.Therapy)),
	}, e.Time)
}

func (s *stage) named(e *event.Event) {
	s.register.Named(e.Device, device.Address{Kind: device.AddressKind(e.Int(event.AddressKind)), Value: e.Text(event.Name)}, e.Time)
}

func (s *stage) therapy(e *event.Event) {
	s.register.At(e.Device, e.Time).Harms(device.Harm(e.Int(event.Harm)))
	s.register.Said(e.Device, inventory.Claim{ProductCode: e.Text(event.ProductCode)}, e.Time)
	if q, err := device.ParseQuantity(e.Text(event.Now)); err == nil {
		*s.running.use(pumpKey{e.Peer, e.Text(event.Target)}, e.Time, &s.dropped).of(q) = q
	}
}

func (s *stage) report(e *event.Event) {
	s.register.At(e.Device, e.Time).Sent(e.Time)
	if t := device.Therapy(e.Int(event.Therapy)); t != device.NoTherapy {
		s.register.Said(e.Device, inventory.Claim{Therapy: t, Class: t.Info().Class}, e.Time)
	}
}

// boundReached says what stopped at a bound: a bomb, or a large report in good
// order.
func (s *stage) boundReached(e *event.Event) {
	protocol := e.Text(event.Protocol)
	c := s.find(finding.MalformedMessage, e.Device, protocol+" bound", device.Low, e, "larger than what is read of it: "+e.Text(event.Bound))
	c.detail = protocol + "; larger than what is read"
}

// inside reports whether an address is one of the hospital's own.
func inside(a device.Address) bool {
	if a.Kind != device.IP {
		return true
	}
	ip, err := netip.ParseAddr(a.Value)
	return err == nil && inventory.Inside(ip)
}

// outsideUnicast reports whether an address is a host on the internet.
func outsideUnicast(a device.Address) bool {
	if a.Kind != device.IP {
		return false
	}
	ip, err := netip.ParseAddr(a.Value)
	return err == nil && !inventory.Inside(ip) && !ip.IsMulticast() && !ip.IsUnspecified() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (s *stage) result() Result {
	var r Result
	found := append(s.claims.list(), s.judge()...)
	for _, c := range found {
		s.register.Wanted(c.about, c.First)
	}
	s.introduce()
	var index map[device.Address]int
	r.Devices, index, r.Joins = s.register.Devices(nil)
	if s.listed != nil {
		s.listed(r.Devices)
	}
	found = append(found, s.judgeMedical(r.Devices, index)...)
	s.reach(found, r.Devices, index)
	r.Findings = findings(found, r.Devices, index)
	keys := slices.SortedFunc(maps.Keys(s.sessions.rows), func(a, b sessionKey) int {
		return cmp.Or(compareNodes(s.at(a.client), s.at(b.client)), compareNodes(s.at(a.server), s.at(b.server)),
			cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol))
	})
	r.Sessions = make([]Session, 0, len(keys))
	for _, k := range keys {
		r.Sessions = append(r.Sessions, *s.sessions.get(k))
	}
	return r
}

// compareNodes orders nodes: those of the network first.
func compareNodes(a, b *node) int {
	return cmp.Or(cmp.Compare(airOf(a), airOf(b)), a.ip.Compare(b.ip), cmp.Compare(len(a.addr.Value), len(b.addr.Value)), cmp.Compare(a.addr.Value, b.addr.Value))
}

// airOf is 1 for a node on a radio.
func airOf(n *node) int {
	if n.addr.OnAir() {
		return 1
	}
	return 0
}

// reach gives to each finding of somebody who moves through the network, or who
// can with a password that everybody knows, the harm of the worst device that
// the machines concerned talk to: that is where the next step can go, and a
// machine that was taken gives orders like its owner.
func (s *stage) reach(found []*claim, devices []device.Device, index map[device.Address]int) {
	worst := map[device.Address]device.Address{}
	harm := func(a device.Address) device.Harm {
		if i, ok := index[a]; ok {
			return devices[i].Harm
		}
		return device.NoHarm
	}
	for _, c := range found {
		switch c.Kind {
		case finding.LateralMovement:
			worst[c.about], worst[c.peer()] = c.about, c.peer()
		case finding.DefaultCredentialSeen:
			worst[c.about] = c.about
		}
	}
	if len(worst) == 0 {
		return
	}
	for k := range s.sessions.rows {
		from, to := s.at(k.client).addr, s.at(k.server).addr
		had, moves := worst[from]
		if h := harm(to); moves && (h > harm(had) || h == harm(had) && to.Value < had.Value) {
			worst[from] = to
		}
	}
	for _, c := range found {
		switch c.Kind {
		case finding.LateralMovement:
			c.hurts(worst[c.about]).hurts(worst[c.peer()])
		case finding.DefaultCredentialSeen:
			c.hurts(worst[c.about])
		}
	}
}
