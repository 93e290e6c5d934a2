// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/wire"
)

// forged is the n-th of very many addresses of ours.
func forged(n int) string {
	return netip.AddrFrom4([4]byte{10, byte(100 + n>>16), byte(n >> 8), byte(n)}).String()
}

// synFlood sends n first packets of forged senders, half of them outside, with
// attacks in between.
func synFlood(n int) *scene {
	s := newScene()
	s.pump()
	s.talk(ehr, gate, 24000, told1("first")...)
	for i := range n {
		s.port++
		from := netip.AddrFrom4([4]byte{198, byte(18 + i>>16), byte(i >> 8), byte(i)}).String() // RFC 2544
		if i%2 == 0 {
			from = forged(i)
		}
		s.segment(from, s.port, ct1, 445, wire.SYN, 1, 0, nil)
		if i%(n/40) == 0 {
			s.syn(laptop, host(i/(n/40)), 445)        // a scan
			s.ftp(laptop, ct1, false)                 // guesses
			s.refused(laptop, mon3, uint16(i/(n/40))) // another scan
			s.udp(laptop, s.port, "10.20.1.2", 53, dnsMessage(0x0100, fmt.Sprintf("%032x%032x.tunnel.example", i, i*7), 16))
		}
		if i == n-1 {
			s.talk(ct1, gate, 24000, told1("first")...) // a replay
		}
	}
	return s
}

func TestSYNFlood(t *testing.T) {
	s := synFlood(maxNodes + 20000)
	w := watchScene(t, s, 1, nil)
	r := w.Result()
	for _, kind := range []finding.Kind{
		finding.ScanHorizontal, finding.ScanVertical, finding.BruteForce, finding.TherapyCommandUnauthenticated,
		finding.TherapyCommandUnexpectedSender, finding.TherapyCommandReplayed, finding.PHIInClear,
	} {
		if !slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Kind == kind }) {
			t.Errorf("%v was lost in the flood", kind)
		}
	}
	// The forged senders themselves are one packet each: nothing is said of them.
	if len(r.Findings) > 20 {
		t.Errorf("%d findings", len(r.Findings))
	}
	st := w.stage
	if r.Stats.Dropped == 0 {
		t.Error("nothing was given up, or it was not counted")
	}
	if n := len(st.nodes.index) + len(st.nodes.radio); n > maxNodes || n+len(st.nodes.free) != int(st.nodes.n) || int(st.nodes.n) > maxNodes {
		t.Errorf("%d nodes, %d free of %d", n, len(st.nodes.free), st.nodes.n)
	}
	if len(st.tries.rows) > maxTracked || len(st.sessions.rows) > maxSessions || st.targets < 0 || st.targets > maxAllTargets {
		t.Errorf("%d tries, %d sessions, room for %d targets", len(st.tries.rows), len(st.sessions.rows), st.targets)
	}
	for _, ip := range []string{laptop, ct1, gate, ehr} {
		if st.known(address(ip)) == nil {
			t.Errorf("%s was forgotten for a stranger", ip)
		}
	}
	if !slices.ContainsFunc(r.Sessions, func(x Session) bool { return x.Protocol == "hl7" && x.Client.Value == ehr }) {
		t.Error("the session with the pump's gateway was forgotten")
	}
}

// Who claims thousands of addresses does not hide that he claims the router's.
func TestARPFlood(t *testing.T) {
	s := newScene()
	s.talk(ct1, "10.20.8.1", 53, client([]byte("q")), server([]byte("a")))
	s.arp("10.20.8.1", macA)
	hw := net.HardwareAddr{0, 0, 0x5e, 0, 0x54, 0}
	for i := range 3 * maxTracked {
		binary.BigEndian.PutUint16(hw[3:], uint16(i))
		s.arp(forged(i), hw)
		if i == 2*maxTracked {
			s.arp("10.20.8.1", macB)
		}
	}
	s.arp("10.20.8.1", macA)
	w := watchScene(t, s, 1, nil)
	if n := len(w.stage.arp.rows); n > maxTracked {
		t.Errorf("%d rows", n)
	}
	if fs := w.Result().Findings; len(fs) != 1 || fs[0].Kind != finding.ARPSpoofing {
		t.Errorf("found %+v", fs)
	}
}

// flooded drives the ordered stage with n events, and one after them.
func flooded(t *testing.T, n int, flood func(s *scene, i int), then func(*scene)) *stage {
	t.Helper()
	st := newStage(Config{})
	s := newScene()
	for i := range n {
		s.events = s.events[:0]
		flood(s, i)
		for j := range s.events {
			if err := st.on(&s.events[j]); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.events = s.events[:0]
	then(s)
	for j := range s.events {
		if err := st.on(&s.events[j]); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func (s *stage) has(kind finding.Kind, peer string) bool {
	return slices.ContainsFunc(s.result().Findings, func(f finding.Finding) bool { return f.Kind == kind && (peer == "" || f.Peer == peer) })
}

func TestClaimFlood(t *testing.T) {
	early := func(s *scene) { s.commanded(0, device.SetInfusionRate, device.Increases) }
	st := flooded(t, 2*maxClaims, func(s *scene, i int) {
		if i == 5 {
			early(s)
		}
		s.said(event.OverlapSeen, forged(i), forged(i+1), event.Text(event.Layer, "tcp"))
	}, func(s *scene) {
		s.said(event.LoginSeen, laptop, ct1, event.Text(event.Protocol, "ftp"), event.Text(event.Scheme, "user-pass"))
		s.is(vent3, "V2", device.Ventilation)
		s.said(event.OverlapSeen, laptop, vent3, event.Text(event.Layer, "tcp"))
	})
	if n := len(st.claims.m); n > maxClaims || st.dropped == 0 {
		t.Errorf("%d claims, %d dropped", n, st.dropped)
	}
	n := 0
	for _, c := range st.claims.n {
		n += c
	}
	if n != len(st.claims.m) {
		t.Errorf("%d counted, %d there", n, len(st.claims.m))
	}
	if !st.has(finding.TherapyCommandUnauthenticated, "") || !st.has(finding.CredentialsInClear, "") || !st.has(finding.SegmentOverlap, vent3) {
		t.Error("a flood of one kind hides another, or what comes after it")
	}
}

// However many stations take records, the patients remembered are bounded, and
// a finding says when it counts fewer than there were.
func TestSubjectFlood(t *testing.T) {
	const each = 60000
	st := flooded(t, 6*each, func(s *scene, i int) {
		to := fmt.Sprint("10.20.9.", i/each)
		s.said(event.RecordsMoved, pacs, to, event.Text(event.Protocol, "dicom"), event.Int(event.Subject, i+1))
		s.now -= 1e5
		s.said(event.PatientDataSeen, pacs, to, event.Text(event.Protocol, "dicom"), event.Int(event.Fields, event.FieldName), event.Int(event.Subject, i+1))
		s.now -= 1e5
	}, func(*scene) {})
	if st.purse < 0 {
		t.Errorf("the purse is at %d", st.purse)
	}
	held := 0
	for _, c := range st.claims.m {
		held += len(c.subjects.m)
	}
	for _, r := range st.moves.rows {
		held += len(r.v.subjects.m)
	}
	if held != maxAllSubjects-int(st.purse) {
		t.Errorf("%d subjects are held, %d accounted for", held, maxAllSubjects-int(st.purse))
	}
	for _, f := range st.result().Findings {
		if f.Kind == finding.PHIInClear && f.Subjects != maxSubjects {
			t.Errorf("%d patients in %q", f.Subjects, f.Title)
		}
	}
	// Rows that are given up give their room back.
	for k := range st.moves.rows {
		st.moves.drop(k)
	}
	if held = 0; true {
		for _, c := range st.claims.m {
			held += len(c.subjects.m)
		}
	}
	if held != maxAllSubjects-int(st.purse) {
		t.Errorf("%d subjects are held, %d accounted for", held, maxAllSubjects-int(st.purse))
	}
}

// Thousands of sessions of machines that nobody cares about leave room for the
// one of a scanner; thousands of names and domains for a pump and a tunnel.
func TestWaitingFlood(t *testing.T) {
	st := flooded(t, 2*maxTracked, func(s *scene, i int) {
		if i == 5 {
			s.is(ct1, "Helia 64", device.Imaging)
			s.opened(ct1, pacs, "rdp")
		}
		s.opened(forged(i), pacs, "ssh")
		s.said(event.RecordsRequested, laptop, pacs, event.Text(event.Operation, "C-MOVE"), event.Text(event.Destination, fmt.Sprint("X", i)))
		s.said(event.NameQueried, laptop, ehr, event.Text(event.Domain, fmt.Sprint(i, ".example")), event.Int(event.Length, 60), event.Int(event.Entropy, 400), event.Int(event.Subject, i))
		s.said(event.LoginSeen, forged(i), pacs, event.Text(event.Protocol, "ftp"), event.Int(event.Outcome, event.Failed))
		s.said(event.CommandSeen, forged(i), ehr, event.Int(event.Verb, device.ReadSettings), event.Int(event.Effect, device.Reads))
		s.said(event.AddressOffered, forged(i), mac(forged(i)).String(), event.Text(event.Network, "10.0.0.0/8"), event.Int(event.Settings, i+1))
	}, func(s *scene) {
		s.opened(ct1, vent3, "telnet")
		s.asks(tunnelNames, tunnelLength, tunnelEntropy)
		s.guessed(guessFailures)
	})
	if n := len(st.waiting.rows); n > maxTracked {
		t.Errorf("%d waiting", n)
	}
	for _, peer := range []string{pacs, vent3} {
		if !st.has(finding.LateralMovement, peer) {
			t.Errorf("the scanner's session with %s was lost in the flood", peer)
		}
	}
	for _, kind := range []finding.Kind{finding.DNSTunnel, finding.BruteForce, finding.RogueDHCP} {
		if !st.has(kind, "") {
			t.Errorf("%v was lost in the flood", kind)
		}
	}
}

func (s *scene) guessed(n int) {
	for range n {
		s.said(event.LoginSeen, laptop, ct1, event.Text(event.Protocol, "ftp"), event.Int(event.Outcome, event.Failed))
	}
}

// A pump stays in the inventory, whatever else is spoken of.
func TestNameFlood(t *testing.T) {
	st := flooded(t, 120000, func(s *scene, i int) {
		if i == 5 {
			s.is(vent3, "V2", device.Ventilation)
		}
		s.said(event.NameSeen, forged(i), "", event.Int(event.AddressKind, device.Host), event.Text(event.Name, "x"))
	}, func(s *scene) { s.is(mon3, "M9", device.Monitoring) })
	if st.register.Dropped == 0 {
		t.Error("nothing was given up")
	}
	for _, ip := range []string{vent3, mon3} {
		if !st.register.Treats(address(ip)) {
			t.Errorf("%s was forgotten", ip)
		}
	}
}

func TestTable(t *testing.T) {
	var dropped uint64
	gone := 0
	x := table[int, int]{bound: 100, window: 1000, keep: func(_ int, v *int) uint8 { return uint8(*v) }, release: func(int, *int) { gone++ }}
	for i := range 100 {
		*x.use(i, int64(i), &dropped) = 0
	}
	*x.get(3) = 1         // to be kept
	x.use(5, 5, &dropped) // used twice
	if x.use(100, 100, &dropped); len(x.rows) != 76 || dropped != 25 || gone != 25 {
		t.Fatalf("%d rows, %d dropped, %d released", len(x.rows), dropped, gone)
	}
	for i := range 28 { // the first 25 but two, and two more
		if got, want := x.get(i) != nil, i == 3 || i == 5 || i == 27; got != want {
			t.Errorf("row %d is there: %v", i, got)
		}
	}
	// What was idle for a window goes first, and is no loss.
	for i := range 24 {
		x.use(200+i, 5000, &dropped)
	}
	if x.use(300, 5000, &dropped); dropped != 25 || x.get(3) != nil && x.get(200) == nil {
		t.Errorf("%d dropped", dropped)
	}
	// The same in gives the same out.
	run := func() (out []int) {
		r := rand.New(rand.NewPCG(1, 2))
		y := table[int, int]{bound: 64}
		for i := range 10000 {
			y.use(r.IntN(500), int64(i), &dropped)
		}
		y.sorted(func(k int, _ *int) { out = append(out, k) })
		return out
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
	var s set
	p := purse(2)
	for _, id := range []int64{0, 1, 1, 2, 3} {
		s.add(id, 10, &p)
	}
	if len(s.m) != 2 || !s.more || p != 0 {
		t.Errorf("%v, %d left", s, p)
	}
	if s.clear(&p); p != 2 || s.more {
		t.Errorf("%v, %d left", s, p)
	}
	if _, ok := s.m[1]; ok {
		t.Error("not empty")
	}
}

// FuzzStage takes events as no observer would say them: the stage must not
// fall, must stay within its bounds, and must say the same twice.
func FuzzStage(f *testing.F) {
	f.Add([]byte{6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte("\x0a\x01\x02\x06\x00\x0b\x01\x01\x06\x01\x06\x01\x02\x06\x02\x0d\x01\x03\x07\x00"))
	texts := []string{"", "dicom", "hl7", "tls", "smb", "rdp", "telnet", "ftp", "arp", "dhcp", "XFER1", "10.20.8.0/24", "CVE-2021-44228,CVE-2014-0160", "Windows 7", "1", "basic"}
	peers := []device.Address{{}, address(ct1), address(pacs), address(away), address("::1"), address("00:16:0a:14:08:0b"), {Kind: device.EUI64, Value: p3}, {Kind: device.AET, Value: "XFER1"}, {Kind: device.IP, Value: "nonsense"}, address("255.255.255.255"), address("0.0.0.0")}
	f.Fuzz(func(t *testing.T, b []byte) {
		play := func(baseline *Baseline) []finding.Finding {
			st := newStage(Config{Baseline: baseline, Record: func(*event.Event) error { return nil }})
			now := int64(1)
			for in := b; len(in) >= 4; {
				e := event.Event{Kind: event.Kind(int(in[0]) % len(handlers)), Device: peers[int(in[1])%len(peers)], Peer: peers[int(in[2])%len(peers)]}
				now += int64(in[3]) * second
				e.Time, e.Sighting.Packet = now, uint64(len(in))
				in = in[4:]
				for _, k := range event.Kinds[e.Kind].Keys {
					if len(in) < 2 {
						break
					}
					e.Add(event.Attr{Key: k, Int: int64(int8(in[0])), Text: texts[int(in[1])%len(texts)]})
					in = in[2:]
				}
				if err := st.on(&e); err != nil {
					t.Fatal(err)
				}
			}
			if st.purse < 0 || st.purse > maxAllSubjects || len(st.claims.m) > maxClaims {
				t.Fatalf("room for %d subjects, %d claims", st.purse, len(st.claims.m))
			}
			return st.result().Findings
		}
		for _, baseline := range []*Baseline{nil, expects(Link{ct1, pacs, "dicom"})} {
			one, two := play(baseline), play(baseline)
			if !reflect.DeepEqual(one, two) {
				t.Fatalf("said %+v, then %+v", one, two)
			}
			for _, f := range one {
				if f.Count < uint64(len(f.Sightings)) || len(f.Sightings) == 0 || len(f.Sightings) > finding.MaxSightings || f.First > f.Last || f.Title == "" || f.Harm == device.NoHarm {
					t.Fatalf("%+v", f)
				}
			}
		}
	})
}
