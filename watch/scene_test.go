// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/wire"
)

// Who plays in the scenes: the sample ward.
const (
	ct1    = "10.20.8.11"
	pacs   = "10.20.8.20"
	laptop = "10.20.8.99"
	mon3   = "10.20.3.31"
	vent3  = "10.20.3.32"
	away   = "203.0.113.9" // on the internet (RFC 5737)
)

// A scene is what is captured, as frames, and what observers would say
// besides. Time begins on 3 March 2026 and only goes on by its own methods.
type scene struct {
	frames []Frame
	events []event.Event
	now    int64
	port   uint16
	id     uint16
}

func newScene() *scene { return &scene{now: 1772517600e9, port: 40000} }

func (s *scene) wait(d time.Duration) { s.now += int64(d) }

func (s *scene) frame(b []byte) {
	s.now += 1e5
	s.frames = append(s.frames, Frame{Frame: capture.Frame{Data: b, Time: s.now, OrigLen: len(b), Link: wire.LinkEthernet, Packet: uint64(len(s.frames) + 1)}})
}

// mac is the hardware address of the host with an IP address.
func mac(ip string) net.HardwareAddr {
	b := netip.MustParseAddr(ip).As16()
	return net.HardwareAddr{0, 0x16, b[12], b[13], b[14], b[15]}
}

func ethernet(src, dst net.HardwareAddr, typ uint16, payload []byte) []byte {
	b := append(append([]byte(nil), dst...), src...)
	return append(binary.BigEndian.AppendUint16(b, typ), payload...)
}

// ip sends a packet; more and off make it a fragment.
func (s *scene) ip(src, dst string, proto byte, payload []byte, fragment uint16) {
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	if from.Is6() {
		h := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(payload)))
		h = append(append(append(h, proto, 64), from.AsSlice()...), to.AsSlice()...)
		s.frame(ethernet(mac(src), mac(dst), wire.EtherTypeIPv6, append(h, payload...)))
		return
	}
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[4:], s.id)
	binary.BigEndian.PutUint16(h[6:], fragment)
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	s.frame(ethernet(mac(src), mac(dst), wire.EtherTypeIPv4, append(h, payload...)))
}

func (s *scene) udp(src string, srcPort uint16, dst string, dstPort uint16, b []byte) {
	s.ip(src, dst, wire.ProtoUDP, datagram(srcPort, dstPort, b), 0)
}

func datagram(src, dst uint16, b []byte) []byte {
	h := binary.BigEndian.AppendUint16(nil, src)
	h = binary.BigEndian.AppendUint16(h, dst)
	h = binary.BigEndian.AppendUint16(h, uint16(8+len(b)))
	return append(append(h, 0, 0), b...)
}

// segment sends one TCP segment.
func (s *scene) segment(src string, srcPort uint16, dst string, dstPort uint16, flags byte, seq, ack uint32, b []byte) {
	h := binary.BigEndian.AppendUint16(nil, srcPort)
	h = binary.BigEndian.AppendUint16(h, dstPort)
	h = binary.BigEndian.AppendUint32(h, seq)
	h = binary.BigEndian.AppendUint32(h, ack)
	h = append(h, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	s.ip(src, dst, wire.ProtoTCP, append(h, b...), 0)
}

// syn tries a port that does not answer.
func (s *scene) syn(src, dst string, port uint16) {
	s.port++
	s.segment(src, s.port, dst, port, wire.SYN, 1000, 0, nil)
}

// refused tries a port that is closed.
func (s *scene) refused(src, dst string, port uint16) {
	s.syn(src, dst, port)
	s.segment(dst, port, src, s.port, wire.RST|wire.ACK, 0, 1001, nil)
}

// A line is one TCP connection.
type line struct {
	s              *scene
	client, server string
	ports          [2]uint16
	seq            [2]uint32
}

// open makes a connection.
func (s *scene) open(client, server string, port uint16) *line {
	s.port++
	l := &line{s: s, client: client, server: server, ports: [2]uint16{s.port, port}, seq: [2]uint32{1000, 2000}}
	l.send(flow.Client, wire.SYN, nil)
	l.send(flow.Server, wire.SYN|wire.ACK, nil)
	l.send(flow.Client, wire.ACK, nil)
	return l
}

func (l *line) send(from flow.Side, flags byte, b []byte) {
	src, dst := l.client, l.server
	if from == flow.Server {
		src, dst = dst, src
	}
	l.s.segment(src, l.ports[from], dst, l.ports[from.Other()], flags, l.seq[from], l.seq[from.Other()], b)
	l.seq[from] += uint32(len(b))
	if flags&(wire.SYN|wire.FIN) != 0 {
		l.seq[from]++
	}
}

// say sends pieces, in segments of at most 1400 bytes.
func (l *line) say(pieces ...piece) *line {
	for _, p := range pieces {
		for b := p.b; len(b) > 0; {
			n := min(1400, len(b))
			l.send(p.from, wire.ACK|wire.PSH, b[:n])
			b = b[n:]
		}
	}
	return l
}

func (l *line) close() {
	l.send(flow.Client, wire.FIN|wire.ACK, nil)
	l.send(flow.Server, wire.FIN|wire.ACK, nil)
	l.send(flow.Client, wire.ACK, nil)
}

// talk is a whole connection.
func (s *scene) talk(client, server string, port uint16, pieces ...piece) {
	s.open(client, server, port).say(pieces...).close()
}

// arp announces that ip is at hw.
func (s *scene) arp(ip string, hw net.HardwareAddr) {
	a := netip.MustParseAddr(ip).As4()
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, 2}, hw...)
	b = append(append(b, a[:]...), 0, 0, 0, 0, 0, 0)
	s.frame(ethernet(hw, net.HardwareAddr{255, 255, 255, 255, 255, 255}, wire.EtherTypeARP, append(b, a[:]...)))
}

// ping asks for an echo, and is answered or not.
func (s *scene) ping(src, dst string, answered bool) {
	s.ip(src, dst, wire.ProtoICMP, []byte{8, 0, 0, 0, 0, 1, 0, 1, 'p'}, 0)
	if answered {
		s.ip(dst, src, wire.ProtoICMP, []byte{0, 0, 0, 0, 0, 1, 0, 1, 'p'}, 0)
	}
}

// said adds an event, as an observer would say it, after the frames.
func (s *scene) said(kind event.Kind, about, peer string, attrs ...event.Attr) {
	s.now += 1e5
	e := event.Event{Kind: kind, Time: s.now, Device: address(about), Peer: address(peer), Sighting: event.Sighting{Packet: uint64(len(s.events) + 1), Offset: 54}}
	e.Add(attrs...)
	s.events = append(s.events, e)
}

func address(s string) device.Address {
	if s == "" {
		return device.Address{}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return device.Address{Kind: device.IP, Value: s}
	}
	if strings.HasPrefix(s, "ble-") {
		return device.Address{Kind: device.BLE, Value: s}
	}
	return device.Address{Kind: device.MAC, Value: s}
}

// is says what a device is.
func (s *scene) is(ip, model string, therapy device.Therapy) {
	s.said(event.IdentitySeen, ip, "", event.Text(event.Manufacturer, "Lumen Imaging"), event.Text(event.Model, model), event.Int(event.Therapy, therapy))
}

// called gives an address an application entity title.
func (s *scene) called(ip, title string) {
	s.said(event.NameSeen, ip, "", event.Int(event.AddressKind, device.AET), event.Text(event.Name, title))
}

// A sliceSource yields frames, in pieces of a size that chunk chooses.
type sliceSource struct {
	frames []Frame
	chunk  func() int // nil: as many as fit
}

func (s *sliceSource) Next(dst []Frame) (int, func(), error) {
	if len(s.frames) == 0 {
		return 0, func() {}, io.EOF
	}
	n := len(dst)
	if s.chunk != nil {
		n = min(n, s.chunk())
	}
	n = copy(dst[:n], s.frames)
	s.frames = s.frames[n:]
	return n, func() {}, nil
}

// play watches a scene.
func (s *scene) play(t testing.TB, c Config) Result {
	t.Helper()
	w := New(c)
	if err := w.Run(context.Background(), &sliceSource{frames: s.frames}); err != nil {
		t.Fatal(err)
	}
	for i := range s.events {
		e := s.events[i]
		if err := w.stage.on(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return w.Result()
}

// host is the n-th host of a network that nothing else uses.
func host(n int) string { return "10.20." + strconv.Itoa(100+n/250) + "." + strconv.Itoa(1+n%250) }
