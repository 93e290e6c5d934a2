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
	peer     device.Address
	scope    string
	detail   string           // what the title adds, in words of ours
	fields   int64            // kinds of patient data
	subjects map[int64]bool   // pseudonyms; see maxSubjects
	victims  []device.Address // whose harm it has, besides about's
}

type claimKey struct {
	kind  finding.Kind
	about device.Address
	scope string
}

// find collects one sighting of a finding about a device. scope tells causes
// of one kind on one device apart.
func (s *stage) find(kind finding.Kind, about device.Address, scope string, confidence device.Confidence, e *event.Event, note string) *claim {
	return s.findAt(kind, about, scope, confidence, place{e.Time, e.Sighting}, note)
}

func (s *stage) findAt(kind finding.Kind, about device.Address, scope string, confidence device.Confidence, at place, note string) *claim {
	k := claimKey{kind, about, scope}
	c := s.claims[k]
	if c == nil {
		if len(s.claims) >= maxClaimsSet {
			s.dropped++
			return &claim{} // counted nowhere else; the caller need not know
		}
		c = &claim{about: about, scope: scope}
		c.Kind = kind
		s.claims[k] = c
	}
	c.Confidence = max(c.Confidence, confidence)
	c.Add(finding.Sighting{Time: at.time, Input: at.at.Input, Packet: at.at.Packet, Offset: at.at.Offset, Note: note})
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
func (c *claim) subject(id int64) {
	if id == 0 {
		return
	}
	if c.subjects == nil {
		c.subjects = make(map[int64]bool)
	}
	if len(c.subjects) < maxSubjects {
		c.subjects[id] = true
	}
}

// cve adds weaknesses, separated by commas.
func (c *claim) cve(list string) {
	for id := range strings.SplitSeq(list, ",") {
		if id = strings.TrimSpace(id); id != "" && !slices.Contains(c.CVE, id) {
			c.CVE = append(c.CVE, id)
			slices.Sort(c.CVE)
		}
	}
}

// merge adds what another claim about the same device says.
func (c *claim) merge(o *claim) {
	count := c.Count + o.Count
	for _, x := range o.Sightings {
		c.Add(x)
	}
	c.Count = count
	c.First, c.Last = min(c.First, o.First), max(c.Last, o.Last)
	c.Confidence = max(c.Confidence, o.Confidence)
	c.fields |= o.fields
	for id := range o.subjects {
		c.subject(id)
	}
	for _, v := range o.victims {
		c.hurts(v)
	}
	c.cve(strings.Join(o.CVE, ","))
	c.detail = cmp.Or(c.detail, o.detail)
}

// findings turns the claims into findings: about devices, with harm, in a
// stable order. The decision is not taken here.
func (s *stage) findings(devices []device.Device, index map[device.Address]int) []finding.Finding {
	keys := make([]claimKey, 0, len(s.claims))
	for k := range s.claims {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b claimKey) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.about.Kind, b.about.Kind),
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
	merged := map[group]*claim{}
	var order []group
	for _, k := range keys {
		c := *s.claims[k] // a copy: the claim goes on collecting
		c.Sightings = slices.Clone(c.Sightings)
		c.victims, c.CVE = slices.Clone(c.victims), slices.Clone(c.CVE)
		id := c.about.Value
		if d := of(c.about); d != nil {
			id = d.ID
			c.Device = d.ID
			c.Product = strings.TrimSpace(d.Manufacturer + " " + d.Model)
		}
		g := group{c.Kind, id, c.scope}
		if had := merged[g]; had != nil {
			had.merge(&c)
			continue
		}
		if c.subjects != nil {
			own := make(map[int64]bool, len(c.subjects))
			for id := range c.subjects {
				own[id] = true
			}
			c.subjects = own
		}
		merged[g] = &c
		order = append(order, g)
	}
	out := make([]finding.Finding, 0, len(order))
	for _, g := range order {
		c := merged[g]
		info := &finding.Kinds[c.Kind]
		f := c.Finding
		f.ID = finding.IDOf(c.Kind, g.device, g.scope)
		f.State = "open"
		f.Advice = info.Advice
		f.Peer = c.peer.Value
		f.Subjects = len(c.subjects)
		f.Privacy = info.Group == finding.PatientData
		f.Harm = harmOf(c, info.Reach, of)
		f.Title = title(c, info)
		out = append(out, f)
	}
	return out
}

// harmOf returns what a claim's weakness lets happen to a body.
func harmOf(c *claim, reach finding.Reach, of func(device.Address) *device.Device) device.Harm {
	worst := device.NoHarm
	if d := of(c.about); d != nil {
		worst = d.Harm
	}
	for _, v := range c.victims {
		if d := of(v); d != nil {
			worst = max(worst, d.Harm)
		}
	}
	switch {
	case reach == finding.ReachNothing:
		return device.Negligible
	case reach == finding.ReachFoothold && worst > device.Negligible:
		worst--
	}
	return max(worst, device.Negligible)
}

func title(c *claim, info *finding.KindInfo) string {
	t := info.Title
	if c.fields != 0 {
		c.detail = fieldNames(c.fields)
	}
	if n := len(c.subjects); n > 0 {
		people := fmt.Sprintf("%d patients", n)
		if n == 1 {
			people = "1 patient"
		}
		c.detail = strings.TrimPrefix(c.detail+", "+people, ", ")
	}
	if c.detail != "" {
		t += " (" + c.detail + ")"
	}
	return t
}

var fields = [...]string{
	"name", "birth date", "sex", "record number", "address", "telephone", "visit", "national id",
	"results", "orders", "images", "staff name",
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

// A tracker keeps a detector's state by key, within a bound: when it is full,
// keys that were not used within the window are given up, and if all were,
// new keys are refused and counted.
type tracker[K comparable, V any] struct {
	m       map[K]*tracked[V]
	refused int // since the last look for old keys
}

type tracked[V any] struct {
	last int64
	v    V
}

// get returns the state of k, new or as it was; nil when there is no room.
func (t *tracker[K, V]) get(k K, now, window int64, dropped *uint64) *V {
	if t.m == nil {
		t.m = make(map[K]*tracked[V])
	}
	if x := t.m[k]; x != nil {
		x.last = max(x.last, now)
		return &x.v
	}
	if len(t.m) >= maxTracked {
		if t.refused++; t.refused%(maxTracked/4) != 1 {
			*dropped++
			return nil
		}
		for k, x := range t.m {
			if now-x.last > window {
				delete(t.m, k)
			}
		}
		if len(t.m) >= maxTracked {
			*dropped++
			return nil
		}
		t.refused = 0
	}
	x := &tracked[V]{last: now}
	t.m[k] = x
	return &x.v
}
