// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/dicom"
	"github.com/myelin-health/myelin/wire"
)

// TestInnocent is the busy but honest life of a hospital: nobody is on the way
// into the network, no records go where they should not, no therapy is touched.
func TestInnocent(t *testing.T) {
	for name, play := range map[string]func(*scene){
		"a prefetching archive":                   func(s *scene) { s.prefetch("ADAPACS2") },
		"a prefetching archive with two names":    func(s *scene) { s.prefetch("ADAPACS2_SCU") },
		"a maker's remote service":                (*scene).service,
		"a monitoring station":                    (*scene).monitoring,
		"a print server":                          (*scene).printing,
		"two DHCP servers for each other":         (*scene).failover,
		"many devices behind one gateway":         (*scene).gateway,
		"a nurse who mistypes":                    func(s *scene) { s.guesses(4, 10*time.Second); s.ftp(laptop, ct1, true) },
		"a load balancer's checks of 20 servers":  func(s *scene) { s.checks(20) },
		"a load balancer's checks of 40 servers":  func(s *scene) { s.checks(40) },
		"a capture of the clients only":           func(s *scene) { s.half(flow.Client) },
		"a capture of the servers only":           func(s *scene) { s.half(flow.Server) },
		"a capture that begins in the middle":     (*scene).middle,
		"a proxy that everybody uses":             (*scene).proxy,
		"machines that look for each other":       (*scene).discovery,
		"telephones, clocks, names and logs":      (*scene).datagramLife,
		"a router that says what is unreachable":  (*scene).unreachable,
		"a hand-over between two pump gateways":   (*scene).handOver,
		"backscatter of somebody else's flooding": (*scene).backscatter,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			play(s)
			r := s.play(t, Config{})
			if r.Stats.Packets == 0 || r.Stats.Dropped != 0 {
				t.Errorf("%d packets, %d dropped", r.Stats.Packets, r.Stats.Dropped)
			}
			subjects := 0
			for _, f := range r.Findings {
				subjects = max(subjects, f.Subjects)
				switch info := &finding.Kinds[f.Kind]; {
				case info.Group == finding.WayIn, f.Kind == finding.BulkRecordAccess, f.Kind == finding.RecordsToUnexpectedPeer, f.Kind == finding.TherapyCommandReplayed:
					t.Errorf("%v: %s (%v, %d) about %s, %v", f.Kind, f.Title, f.Confidence, f.Count, f.Device, f.Sightings[0])
				}
			}
			if strings.Contains(name, "archive") && subjects != 1000 {
				t.Errorf("%d patients were seen, of 1000", subjects)
			}
		})
	}
}

// prefetch is an archive that fetches a thousand studies from another in one
// night, to its own name, which it may spell differently when it asks.
func (s *scene) prefetch(asking string) {
	const second = "10.20.8.21"
	association := func(called, calling string) []piece {
		return []piece{client(dicomAssociate(dicom.AssociateRQ, called, calling)), server(dicomAssociate(dicom.AssociateAC, called, calling))}
	}
	asks := s.open(second, pacs, 104).say(association("ADAPACS", asking)...)
	for i := range 1000 {
		asks.say(client(dicomMessage(dicom.CMoveRQ, dicomElements(0x00080052, "STUDY", 0x0020000D, fmt.Sprint("1.2.276.0.99999.2.", i)), 0x00000002, dicomMove, 0x00000110, i+1, 0x00000600, "ADAPACS2")))
		image := dicomElements(0x00080060, "CT", 0x00100010, "Lindqvist^Anna", 0x00100020, fmt.Sprintf("SA-%04d", i), 0x7FE00010, "pixels")
		sends := s.open(pacs, second, 11112).say(association("ADAPACS2", "ADAPACS")...)
		sends.say(client(dicomStore(image, 0x00001030, asking)), server(dicomStored()), client(dicomRelease), server(dicomPDU(dicom.ReleaseRP, make([]byte, 4)))).close()
		asks.say(server(dicomMessage(dicom.CMoveRQ|answered, nil, 0x00000120, i+1, 0x00000900, 0, 0x00001021, 1)))
		s.wait(2 * time.Second)
	}
	asks.say(client(dicomRelease), server(dicomPDU(dicom.ReleaseRP, make([]byte, 4)))).close()
}

// service is a scanner that calls its maker every five minutes for an hour and
// a half, and a session in which the maker's engineer works on it, from inside
// out.
func (s *scene) service() {
	s.is(ct1, "Helia 64", device.Imaging)
	pieces := secured(new(testing.T), tls.VersionTLS13, "service.lumen.example", false)
	for range 18 {
		before := s.now
		s.talk(ct1, away, 443, pieces...)
		s.now = before + int64(5*time.Minute)
	}
	l := s.open(ct1, "203.0.113.10", 443).say(pieces...)
	for range 600 {
		l.say(server([]byte("\x17\x03\x03\x00\x20 32 bytes of encrypted key strokes")), client([]byte("\x17\x03\x03\x00\x20 32 bytes of encrypted screen     ")))
		s.wait(time.Second)
	}
	l.close()
}

func (s *scene) monitoring() {
	const station = "10.20.1.30"
	for range 3 {
		for i := range 230 {
			s.port++
			s.udp(station, s.port, host(i), 161, snmpAsk)
			s.ping(station, host(i), i%8 != 0)
			if i%8 != 0 { // the others are switched off
				s.udp(host(i), 161, station, s.port, snmpAnswer)
			}
		}
		s.wait(time.Minute)
	}
}

func (s *scene) printing() {
	const spooler = "10.20.1.40"
	for i := range 100 {
		s.talk(host(i), spooler, 515, client([]byte("\x02queue\n")), server([]byte{0}))
	}
	for range 5 {
		for i := range 60 {
			if i%6 == 0 { // out of paper, and switched off
				s.syn(spooler, host(200+i), 9100)
			} else {
				s.talk(spooler, host(200+i), 9100, client([]byte("%!PS")))
			}
		}
		s.wait(30 * time.Second)
	}
}

func (s *scene) failover() {
	for i := range 200 {
		client := fmt.Sprintf("10.20.8.%d", 10+i)
		s.offer("10.20.8.2", "10.20.8.1", client)
		s.offer("10.20.8.3", "10.20.8.1", client)
		s.offer("10.20.3.1", "10.20.3.1", fmt.Sprintf("10.20.3.%d", 10+i)) // another network's
	}
}

// gateway answers ARP for everything behind it.
func (s *scene) gateway() {
	hw := net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}
	for range 3 {
		for i := range 50 {
			ip := fmt.Sprintf("10.20.50.%d", 1+i)
			s.arp(ip, hw)
			s.said(event.IdentitySeen, ip, "", event.Text(event.Manufacturer, "Norra Medical"), event.Text(event.Model, "Flow 500"),
				event.Text(event.Serial, fmt.Sprint("NF5-", i)), event.Int(event.Therapy, device.DrugInfusion))
		}
		s.wait(time.Minute)
	}
}

func (s *scene) checks(servers int) {
	for range 60 {
		for i := range servers {
			s.open("10.20.1.50", host(i), 8042).close()
		}
		s.wait(5 * time.Second)
	}
}

// half is a capture in which only one side of each connection is seen.
func (s *scene) half(side flow.Side) {
	for i := range 100 {
		s.talk(laptop, host(i), 443, client([]byte("\x16\x03\x01")), server([]byte("\x16\x03\x03")))
		s.talk(laptop, host(i), 104)
		s.talk(laptop, pacs, uint16(1000+i))
		s.refused(laptop, host(i), 5000)
	}
	var seen []Frame
	for _, f := range s.frames {
		var p wire.Packet
		p.Decode(f.Link, f.Data)
		clients := p.Src.String() == laptop
		if clients == (side == flow.Client) && (p.DstPort != 5000 || side == flow.Server) {
			seen = append(seen, f)
		}
	}
	s.frames = seen
}

// middle is the end of connections whose beginning nobody captured.
func (s *scene) middle() {
	for i := range 100 {
		s.port++
		s.segment(laptop, s.port, host(i), 443, wire.FIN|wire.ACK, 7, 9, nil)
		s.segment(host(i), 443, laptop, s.port, wire.RST, 9, 0, nil)
		s.segment(laptop, s.port+1000, host(i), 445, wire.RST|wire.ACK, 7, 9, nil)
		s.segment(laptop, s.port+2000, host(i), 446, wire.ACK, 7, 9, nil)
	}
}

func (s *scene) proxy() {
	for i := range 200 {
		to := fmt.Sprintf("198.51.100.%d", 1+i)
		switch {
		case i%10 == 0:
			s.syn("10.20.1.60", to, 443)
		default:
			s.talk("10.20.1.60", to, 443, client([]byte("hello")), server([]byte("hello")))
		}
	}
}

func (s *scene) discovery() {
	for range 100 {
		s.udp(laptop, 1900, "239.255.255.250", 1900, []byte("M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n"))
		s.udp(laptop, 5000, "10.20.255.255", 161, snmpAsk)
		s.wait(time.Second)
	}
}

// datagramLife is what a network says in datagrams, with half of the answers
// not captured.
func (s *scene) datagramLife() {
	for i := range 120 {
		at := uint16(i)
		for _, port := range []uint16{16384 + 4*at, 16385 + 4*at} { // a call's RTP and RTCP, seen one way
			for range 1 + i%5 {
				s.udp(ct1, 30000+4*at, laptop, port, []byte("\x80\x00voice"))
			}
		}
		s.udp("10.20.1.2", 41000+at, fmt.Sprintf("198.51.100.%d", i), 53, []byte("question of a resolver"))
		s.udp("10.20.1.2", 123, fmt.Sprintf("198.51.100.%d", i), 123, make([]byte, 48))
		s.udp("10.20.1.2", 53, laptop, 50000+at, []byte("answer"))
		s.udp(host(i), 514, "10.20.1.9", 514, []byte("<13>all is well"))
		s.udp("10.20.1.9", 137, host(i), 137, make([]byte, 50))
		s.udp("10.20.1.9", 5000, host(i), 162, []byte("trap"))
		for hop := range uint16(30) { // traceroute, to its end
			s.udp("10.20.1.8", 42000, "198.51.100.7", 33434+3*hop, make([]byte, 32))
		}
		s.wait(4 * time.Second)
	}
	before := s.now
	for range 40 {
		for _, port := range []uint16{53, 123, 443, 500, 1194, 3478, 4500, 5060, 51820} {
			s.datagrams(ct1, port)
		}
		before += int64(30 * time.Second)
		s.now = before
	}
}

func (s *scene) unreachable() {
	for i := range 200 {
		s.ip("10.20.8.1", host(i), wire.ProtoICMP, []byte{3, 1, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 20}, 0)
	}
}

// handOver: the engine dies before it was answered, its stand-by sends the
// order again, and takes over its address.
func (s *scene) handOver() {
	s.claim(time.Second, macA)
	s.talk(ehr, gate, 24000, alone("a")...)
	s.claim(time.Second, macB)
	s.talk("10.20.1.6", gate, 24000, told1("a")...)
}

// backscatter is what the victim of a flood answers to forged addresses.
func (s *scene) backscatter() {
	for i := range 300 {
		s.segment(pacs, 104, host(i), uint16(2000+i), wire.SYN|wire.ACK, 1, 1001, nil)
		s.segment(pacs, 105, host(i), uint16(2000+i), wire.RST|wire.ACK, 0, 1001, nil)
		s.segment(pacs, uint16(2000+i), laptop, 50000, wire.RST|wire.ACK, 0, 1001, nil)
	}
}
