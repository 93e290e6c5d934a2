// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// A claim is a finding that is being collected. Whose device it is about is
// decided at the end, when the inventory is known.
type claim struct {
	finding.Finding
	about    device.Address
	peers    []device.Address // other sides, the first one first
	more     bool             // there were more of them
	scope    string
	detail   string           // what the title adds, in words of ours
	fields   int64            // kinds of patient data
	subjects set              // pseudonyms of patients
	victims  []device.Address // whose harm it has, besides about's
	born     uint64
}

type claimKey struct {
	kind  finding.Kind
	about device.Address
	scope string
}

func (c *claim) key() claimKey { return claimKey{c.Kind, c.about, c.scope} }

// claims are the findings being collected. When there are too many, the kind
// that has most of them gives up its poorest quarter: whoever makes thousands
// of findings of one kind hides none of another.
type claims struct {
	m    map[claimKey]*claim
	n    [len(finding.Kinds)]int
	born uint64
}

// list returns all claims, the oldest first.
func (x *claims) list() []*claim {
	out := make([]*claim, 0, len(x.m))
	for _, c := range x.m {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *claim) int { return cmp.Compare(a.born, b.born) })
	return out
}

// find collects one sighting of a finding about a device. scope tells causes
// of one kind on one device apart.
func (s *stage) find(kind finding.Kind, about device.Address, scope string, confidence device.Confidence, e *event.Event, note string) *claim {
	return s.findAt(kind, about, scope, confidence, place{e.Time, e.Sighting}, note).over(e.Text(event.Protocol))
}

func (s *stage) findAt(kind finding.Kind, about device.Address, scope string, confidence device.Confidence, at place, note string) *claim {
	k := claimKey{kind, about, scope}
	c := s.claims.m[k]
	if c == nil {
		if len(s.claims.m) >= maxClaims {
			s.forget()
		}
		s.claims.born++
		c = newClaim(k)
		c.born = s.claims.born
		s.claims.m[k] = c
		s.claims.n[kind]++
	}
	c.see(confidence, at, note)
	return c
}

// findAll collects n sightings at once, of which these are the first.
func (s *stage) findAll(k claimKey, confidence device.Confidence, places []place, n int, note string) *claim {
	var c *claim
	for _, p := range places {
		c = s.findAt(k.kind, k.about, k.scope, confidence, p, note)
	}
	c.Count += uint64(n - len(places))
	return c
}

// forget gives up the poorest quarter of the kind that has most claims: those
// about devices of which least is known, least sure, seen least, latest.
func (s *stage) forget() {
	most := finding.NoKind
	for k, n := range s.claims.n {
		if n > s.claims.n[most] {
			most = finding.Kind(k)
		}
	}
	type rank struct {
		c     *claim
		worth uint8
	}
	var ranks []rank
	for _, c := range s.claims.m {
		if c.Kind == most {
			ranks = append(ranks, rank{c, max(s.rank(c.about), s.rank(c.peer()))})
		}
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(a.worth, b.worth), cmp.Compare(a.c.Confidence, b.c.Confidence),
			cmp.Compare(min(a.c.Count, manyUses), min(b.c.Count, manyUses)), cmp.Compare(b.c.born, a.c.born))
	})
	for _, r := range ranks[:(len(ranks)+3)/4] {
		r.c.subjects.clear(&s.purse)
		delete(s.claims.m, r.c.key())
		s.claims.n[most]--
		s.dropped++
	}
}

func newClaim(k claimKey) *claim {
	c := &claim{about: k.about, scope: k.scope}
	c.Kind = k.kind
	return c
}

// see adds one sighting.
func (c *claim) see(confidence device.Confidence, at place, note string) {
	c.Confidence = max(c.Confidence, confidence)
	x := at.sighting()
	x.Note = note
	c.Add(x)
}

// with names the other side: the first one that was seen.
func (c *claim) with(peer device.Address) *claim {
	if len(c.peers) == 0 {
		return c.by(peer)
	}
	return c
}

// by names one of the other sides.
func (c *claim) by(peer device.Address) *claim {
	switch {
	case peer.Value == "" || slices.Contains(c.peers, peer):
	case len(c.peers) < maxPeers:
		c.peers = append(c.peers, peer)
	default:
		c.more = true
	}
	return c
}

// peer is the first one of the other sides.
func (c *claim) peer() device.Address {
	if len(c.peers) == 0 {
		return device.Address{}
	}
	return c.peers[0]
}

// over names the protocol that the finding is about, unless it is known.
func (c *claim) over(protocol string) *claim {
	c.Protocol = cmp.Or(c.Protocol, protocol)
	return c
}

// also adds what the title says of the first sighting.
func (c *claim) also(detail string) *claim {
	const others = ", and others"
	switch {
	case c.detail == "":
		c.detail = detail
	case c.detail != detail && !strings.HasSuffix(c.detail, others):
		c.detail += others
	}
	return c
}

// hurts adds a device whose harm the finding has.
func (c *claim) hurts(a device.Address) *claim {
	if len(c.victims) < maxVictims && a.Value != "" && !slices.Contains(c.victims, a) {
		c.victims = append(c.victims, a)
	}
	return c
}

// subject counts a patient.
func (s *stage) subject(c *claim, id int64) { c.subjects.add(id, maxSubjects, &s.purse) }

// cve adds weaknesses, separated by commas.
func (c *claim) cve(list string) {
	for id := range strings.SplitSeq(list, ",") {
		if id = strings.TrimSpace(id); id != "" && !slices.Contains(c.CVE, id) {
			c.CVE = append(c.CVE, id)
			slices.Sort(c.CVE)
		}
	}
}

// copy returns a claim that shares nothing that changes: the original goes on
// collecting.
func (c *claim) copy() *claim {
	d := *c
	d.Sightings, d.victims, d.peers, d.CVE = slices.Clone(c.Sightings), slices.Clone(c.victims), slices.Clone(c.peers), slices.Clone(c.CVE)
	return &d
}

// merge adds what another claim about the same device says. shared tells that
// c's subjects are still those of a claim that goes on collecting.
func (c *claim) merge(o *claim, shared bool) {
	count := c.Count + o.Count
	for _, x := range o.Sightings {
		c.Add(x)
	}
	c.Count = count
	c.First, c.Last = min(c.First, o.First), max(c.Last, o.Last)
	c.Confidence = max(c.Confidence, o.Confidence)
	c.fields |= o.fields
	if len(o.subjects.m) > 0 {
		if shared {
			own := make(map[int64]struct{}, len(c.subjects.m)+len(o.subjects.m))
			for id := range c.subjects.m {
				own[id] = struct{}{}
			}
			c.subjects.m = own
		}
		for id := range o.subjects.m {
			c.subjects.m[id] = struct{}{}
		}
	}
	c.subjects.more = c.subjects.more || o.subjects.more
	for _, v := range o.victims {
		c.hurts(v)
	}
	c.cve(strings.Join(o.CVE, ","))
	for _, p := range o.peers {
		if c.Kind == finding.TherapyCommandUnauthenticated {
			c.by(p)
		}
		c.with(p)
	}
	c.more = c.more || o.more
	c.over(o.Protocol)
	c.detail = cmp.Or(c.detail, o.detail)
}

// findings turns claims into findings: about devices, with harm, in a stable
// order. The decision is not taken here.
func findings(claims []*claim, devices []device.Device, index map[device.Address]int) []finding.Finding {
	slices.SortStableFunc(claims, func(a, b *claim) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.about.Kind, b.about.Kind),
			strings.Compare(a.about.Value, b.about.Value), strings.Compare(a.scope, b.scope))
	})
	of := func(a device.Address) *device.Device {
		if i, ok := index[a]; ok {
			return &devices[i]
		}
		return nil
	}
	type group struct {
		kind          finding.Kind
		device, scope string
	}
	type merged struct {
		*claim
		shared bool // its subjects are another's
	}
	groups := map[group]*merged{}
	var order []group
	for _, c := range claims {
		id, product := "", ""
		if d := of(c.about); d != nil {
			id, product = d.ID, strings.TrimSpace(d.Manufacturer+" "+d.Model)
		}
		g := group{c.Kind, cmp.Or(id, c.about.Value), c.scope}
		if had := groups[g]; had != nil {
			had.merge(c, had.shared)
			had.shared = had.shared && len(c.subjects.m) == 0
			continue
		}
		c = c.copy()
		c.Device, c.Product = id, product
		groups[g] = &merged{c, true}
		order = append(order, g)
	}
	out := make([]finding.Finding, 0, len(order))
	for _, g := range order {
		c := groups[g].claim
		info := &finding.Kinds[c.Kind]
		f := c.Finding
		f.ID = finding.IDOf(c.Kind, g.device, g.scope)
		f.State = "open"
		f.Advice = info.Advice
		if c.about.OnAir() {
			f.Advice = cmp.Or(info.AirAdvice, info.Advice)
		}
		f.Peer = c.peer().Value
		for i := range c.peers {
			if len(c.peers) > 1 {
				f.Peers = append(f.Peers, c.peers[i].Value)
			}
		}
		f.Subjects = len(c.subjects.m)
		f.Privacy = info.Group == finding.PatientData
		f.Therapy, f.Harm = harmOf(c, info.Reach, of)
		f.Title = title(c, info)
		out = append(out, f)
	}
	return out
}

// harmOf returns what a claim's weakness lets happen to a body, and through
// which therapy.
func harmOf(c *claim, reach finding.Reach, of func(device.Address) *device.Device) (t device.Therapy, worst device.Harm) {
	if d := of(c.about); d != nil {
		t, worst = d.Therapy, d.Harm
	}
	for _, v := range c.victims {
		if d := of(v); d != nil && (d.Harm > worst || d.Harm == worst && t == device.NoTherapy) {
			t, worst = d.Therapy, d.Harm
		}
	}
	for _, p := range c.peers { // where a programmer or phone says what is about the device
		if d := of(p); d != nil && t == device.NoTherapy {
			t = d.Therapy
		}
	}
	switch {
	case reach == finding.ReachNothing:
		return t, device.Negligible
	case reach == finding.ReachFoothold && worst > device.Negligible:
		worst--
	}
	return t, max(worst, device.Negligible)
}

func title(c *claim, info *finding.KindInfo) string {
	detail := c.detail
	if c.fields != 0 {
		detail = fieldNames(c.fields)
	}
	if n := len(c.peers); n > 1 {
		senders := fmt.Sprintf("%d senders", n)
		if c.more {
			senders = "more than " + senders
		}
		detail = strings.TrimPrefix(detail+", "+senders, ", ")
	}
	if n := len(c.subjects.m); n > 0 {
		people := fmt.Sprintf("%d patients", n)
		switch {
		case c.subjects.more:
			people = "more than " + people
		case n == 1:
			people = "1 patient"
		}
		detail = strings.TrimPrefix(detail+", "+people, ", ")
	}
	name := info.Title
	if c.about.OnAir() {
		name = cmp.Or(info.AirTitle, info.Title)
	}
	if detail == "" {
		return name
	}
	return name + " (" + detail + ")"
}

var fields = [...]string{
	"name", "birth date", "sex", "record number", "address", "telephone", "visit", "national id",
	"results", "orders", "images", "staff name", "serial number of a worn device", "device name",
}

func fieldNames(bits int64) string {
	var names []string
	for i, n := range fields {
		if bits&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}
