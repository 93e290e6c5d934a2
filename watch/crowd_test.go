// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/finding"
)

// Made-up advertisers are told as one, and hide no pump that somebody connects
// to, though it came late and was one of them at first.
func TestAdvertisersCrowd(t *testing.T) {
	const many = 2000
	p := newPhoneLog(t)
	insulin := func(n int) {
		a := ble.Address{Kind: ble.StaticRandom, Bytes: private(n).Bytes}
		if n%2 == 0 {
			p.advertises(a, 0x180f, "Ben's") // by its name at first
		}
		p.advertises(a, 0x183a, "Ben's pump 123456")
		p.advertises(a, 0x183a, "Ben's pump 123456")
	}
	for n := range many {
		if insulin(n); n == many/2 {
			p.advertises(pumpRadio, 0x183a, "Ben's pump 7731409")
		}
	}
	p.connect()
	p.discoversPump()
	p.writes(pumpControl, 0, bolus(4)...)
	p.disconnect()
	p.advertises(pumpRadio, 0x183a, "Ben's pump 7731409")
	r := watchScene(t, p.scene, 1, nil).Result()
	medical := 0
	for _, d := range r.Devices {
		if d.Medical {
			medical++
		}
	}
	if medical != maxStrangers+2 || r.Stats.Crowded != many-maxStrangers {
		t.Errorf("%d medical devices, %d as one", medical, r.Stats.Crowded)
	}
	var together, own uint64
	for _, f := range r.Findings {
		switch {
		case f.Kind == finding.BLEIdentityInAdvertising && f.Count > 1:
			together = f.Count
		case f.Kind == finding.TherapyCommandUnauthenticated:
			for _, g := range r.Findings {
				if g.Device == f.Device && g.Kind == finding.BLEIdentityInAdvertising {
					own = g.Count
				}
			}
		}
	}
	// The pump's own first advertisement is in the crowd's.
	if together != many-maxStrangers+1 || own != 1 {
		t.Errorf("%d advertisers were told together, and the pump %d times", together, own)
	}
}

// Made-up addresses of a proprietary radio are told as one, are no wake-up flood
// and no replay, and hide no implant that is heard again.
func TestTransmittersCrowd(t *testing.T) {
	const many = 2000
	l := newListener(t)
	for n := int64(1); n <= many; n++ {
		l.now += 50e6
		l.hearsFrame([...]string{"wake", "settings", "therapies", "awake"}[n%4], n, n, 7)
		if n > many-2 {
			l.hearsFrame("therapies", 0x550218, 0xa110, uint16(n))
		}
	}
	r := l.watched().Result()
	if got := len(r.Devices); got > 2*(maxStrangers+2) || r.Stats.Crowded < 2*(many-maxStrangers)-many/100 {
		t.Errorf("%d devices, %d as one", got, r.Stats.Crowded)
	}
	var most, apart uint64
	for _, f := range r.Findings {
		switch f.Kind {
		case finding.RadioWakeFlood, finding.TherapyCommandReplayed, finding.TherapyCommandUnexpectedSender:
			t.Errorf("%s: %s", f.Kind, f.Title)
		case finding.TherapyCommandUnauthenticated:
			most = max(most, f.Count)
			if f.Sightings[0].Packet == uint64(len(l.frames)) {
				apart = f.Count
			}
		}
	}
	if most < 300 || apart != 1 {
		t.Errorf("%d commands to many, and %d of the implant's own", most, apart)
	}
}
