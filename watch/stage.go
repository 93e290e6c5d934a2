// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

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
	register *inventory.Register
	nodes    nodes
	sessions map[sessionKey]*Session
	claims   map[claimKey]*claim
	ordinals map[int64]int64 // of subjects, in the order of appearance
	dropped  uint64

	// The state of detectors that need some.
	tries    tracker[tryKey, tries]
	logins   tracker[loginKey, attempts]
	moves    tracker[moveKey, moves]
	names    tracker[nameKey, lookups]
	calls    tracker[callKey, calls]
	arp      map[device.Address]*arpOwner
	dhcp     map[device.Address]place
	fresh    map[int64]freshness
	third    map[string]bool                   // destinations of records that are a third station
	senders  map[device.Address]device.Address // first sender of therapy commands to each device
	exec     []pending                         // remote sessions, judged when the inventory is known
	external []pending                         // conversations with the outside, likewise
}

// A place is a sighting with its time.
type place struct {
	time int64
	at   event.Sighting
}

// A pending statement waits for what the inventory will know.
type pending struct {
	client, server device.Address
	protocol       string
	where          place
	inbound        bool
}

func newStage(c Config) *stage {
	s := &stage{
		record: c.Record, keyed: c.Key != nil, baseline: c.Baseline,
		register: inventory.NewRegister(),
		nodes:    nodes{slab: []*[nodeSlab]node{new([nodeSlab]node)}, index: make(map[wire.Addr]uint32)},
		sessions: make(map[sessionKey]*Session),
		claims:   make(map[claimKey]*claim),
		ordinals: make(map[int64]int64),
		arp:      make(map[device.Address]*arpOwner),
		dhcp:     make(map[device.Address]place),
		fresh:    make(map[int64]freshness),
		third:    make(map[string]bool),
		senders:  make(map[device.Address]device.Address),
	}
	return s
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
	event.CommandSeen:      (*stage).command,
	event.CommandAnswered:  nil,
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
}

// withhold takes out of an event what must not leave: names that may be a
// person's, unless they are of equipment already known to be equipment, and
// subjects' hashes when no key was given, which become ordinals.
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
	if x := s.session(id, client, server, uint16(port)); x != nil {
		x.Encrypted = x.Encrypted || e.Int(event.Protection)&int64(device.Encrypted) != 0
		x.Inferred = x.Inferred || e.Int(event.Inferred) != 0
	}
	s.remoteSession(e, name)
}

func (s *stage) identity(e *event.Event) {
	s.register.Said(e.Device, inventory.Claim{
		Manufacturer: e.Text(event.Manufacturer), Model: e.Text(event.Model), Serial: e.Text(event.Serial),
		Version: e.Text(event.Version), OS: e.Text(event.OS), Class: e.Text(event.Class), UDI: e.Text(event.UDI),
		Therapy: device.Therapy(e.Int(event.Therapy)),
	}, e.Time)
	if e.Device.Kind == device.EUI64 && e.Peer.Kind == device.IP {
		s.register.At(e.Device, e.Time).Sent(e.Time)
		s.register.Behind(e.Peer, e.Device, e.Time)
	}
	if os := e.Text(event.OS); os != "" {
		s.legacy(e, os)
	}
}

func (s *stage) named(e *event.Event) {
	s.register.Named(e.Device, device.Address{Kind: device.AddressKind(e.Int(event.AddressKind)), Value: e.Text(event.Name)}, e.Time)
	if code := e.Text(event.ProductCode); code != "" {
		s.register.Said(e.Device, inventory.Claim{ProductCode: code}, e.Time)
	}
}

func (s *stage) report(e *event.Event) {
	s.register.At(e.Device, e.Time).Sent(e.Time)
	if t := device.Therapy(e.Int(event.Therapy)); t != device.NoTherapy {
		s.register.Said(e.Device, inventory.Claim{Therapy: t, Class: t.Info().Class}, e.Time)
	}
}

func (s *stage) boundReached(e *event.Event) {
	s.find(finding.MalformedMessage, e.Device, e.Text(event.Protocol), device.Medium, e, "larger than the bound: "+e.Text(event.Bound))
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
	for _, c := range s.claims {
		s.register.Wanted(c.about, c.First)
	}
	s.introduce()
	var index map[device.Address]int
	r.Devices, index, r.Joins = s.register.Devices(nil)
	s.judge(r.Devices, index)
	r.Findings = s.findings(r.Devices, index)
	keys := slices.SortedFunc(maps.Keys(s.sessions), func(a, b sessionKey) int {
		return cmp.Or(s.at(a.client).ip.Compare(s.at(b.client).ip), s.at(a.server).ip.Compare(s.at(b.server).ip),
			cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol))
	})
	r.Sessions = make([]Session, 0, len(keys))
	for _, k := range keys {
		r.Sessions = append(r.Sessions, *s.sessions[k])
	}
	return r
}
