// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"net/netip"
	"testing"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/wire"
)

// A session begins with the first of its conversations, which may be the last to
// end.
func TestSessionFirst(t *testing.T) {
	s := newStage(Config{})
	a, b := s.node(wire.AddrFrom(netip.MustParseAddr("10.20.8.11")), 1), s.node(wire.AddrFrom(netip.MustParseAddr("10.20.8.20")), 1)
	for _, packet := range []uint64{7, 3, 9} {
		s.session(proto.DICOM, a, b, 104, place{int64(packet), event.Sighting{Input: 2, Packet: packet, Offset: 14}}, 20)
	}
	s.session(proto.DICOM, a, b, 105, place{1, event.Sighting{Input: 2, Packet: 1}}, 20)
	r := s.result()
	if len(r.Sessions) != 2 || r.Sessions[0].First != (finding.Sighting{Time: 3, Input: 2, Packet: 3, Offset: 14}) || r.Sessions[1].First.Packet != 1 {
		t.Errorf("%+v", r.Sessions)
	}
}
