// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/proto"
)

// Patient data.

func (s *stage) patientData(e *event.Event) {
	if e.Int(event.Protection)&int64(device.Encrypted) != 0 {
		return
	}
	note := e.Text(event.Protocol) + " message with " + fieldNames(e.Int(event.Fields))
	if what := e.Text(event.Operation); what != "" && e.Device.OnAir() {
		note = what + ", with " + fieldNames(e.Int(event.Fields))
		if e.Text(event.Protocol) == "gatt" {
			note += ", at level 1"
		}
	}
	c := s.find(finding.PHIInClear, e.Device, e.Text(event.Protocol), device.High, e, note)
	c.fields |= e.Int(event.Fields)
	s.subject(c, e.Int(event.Subject))
	c.with(e.Peer)
}

// moves are the records that one station received.
type moves struct {
	since    int64
	n        uint64
	from     device.Address
	protocol string // of the first
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
	c.with(e.Peer).over(e.Text(event.Protocol))
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
		c.with(e.Peer).over(protocol)
		s.subject(c, e.Int(event.Subject))
	}
	m := s.moves.use(e.Peer, e.Time, &s.dropped)
	if !m.found && e.Time-m.since > bulkWindow {
		m.subjects.clear(&s.purse)
		*m = moves{since: e.Time, from: e.Device, protocol: protocol}
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
		out = append(out, c.with(m.from).over(m.protocol))
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
