// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"crypto/tls"
	"encoding/base32"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// scan is the vendor's laptop looking for services: in its own network by
// asking for every address, in the intensive care unit's through the router.
func (s *span) scan() {
	s.lease(clock("07:04:02"), laptop, radRouter, laptopName, "lumen-service", []byte{1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42})

	own := map[netip.Addr]*host{radRouter.ip: radRouter, ct1.ip: ct1, pacs.ip: pacs, view1.ip: view1}
	open := map[*host][]uint16{
		ct1: {445, 3389, 104}, pacs: {pacsPort, pacsWebPort, 3389}, view1: {445, viewPort},
		gwICU: {mllpOrders}, mon3: {mon3Port}, vent3: {vent3Port}, desk3: {deskPort},
	}
	at := clock("07:04:20")
	var found []*host
	for i := 1; i < 255; i++ {
		ip := netip.AddrFrom4([4]byte{10, 20, 8, byte(i)})
		if ip == laptop.ip {
			continue
		}
		s.arp(tapRadiology, at, laptop, ip, own[ip])
		if own[ip] != nil {
			found = append(found, own[ip])
		} else {
			s.arp(tapRadiology, at+time.Second, laptop, ip, nil) // asked twice
		}
		at += s.between(500*time.Microsecond, 9*time.Millisecond)
	}
	at += 2 * time.Second
	source := uint16(41873)
	ports := []uint16{21, 22, 23, 80, 104, 135, 139, 443, 445, 2575, 3389, 5900, pacsWebPort, pacsPort}
	for _, port := range ports {
		for _, h := range found {
			s.probe(at, laptop, h, source, port, true, slices.Contains(open[h], port))
			at += s.between(time.Millisecond, 12*time.Millisecond)
		}
	}

	icu := map[netip.Addr]*host{icuRouter.ip: icuRouter, gwICU.ip: gwICU, desk3.ip: desk3, mon3.ip: mon3, vent3.ip: vent3}
	at = clock("07:05:02")
	for _, port := range []uint16{445, 3389, mllpOrders} {
		for i := 1; i < 255; i++ {
			ip := netip.AddrFrom4([4]byte{10, 20, 3, byte(i)})
			h := icu[ip]
			if h == nil {
				ghost := &host{ip: ip, mac: icuRouter.mac, ttl: 64}
				s.probe(at, laptop, ghost, source+1, port, false, false)
				if port == 445 { // the router asks for whom it is to forward to
					s.arp(tapICU, at+300*time.Microsecond, icuRouter, ip, nil)
				}
			} else {
				s.probe(at, laptop, h, source+1, port, true, slices.Contains(open[h], port))
			}
			at += s.between(2*time.Millisecond, 70*time.Millisecond)
		}
	}
}

// remoteDesktop is the attacker on ct-1 opening a desktop of the archive
// (MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2), whose certificate is its own.
func (s *span) remoteDesktop(t testpeer.TB) {
	cookie := "Cookie: mstshash=" + rdpUser + "\r\n"
	request := append([]byte{0xe0, 0, 0, 0, 0, 0}, cookie...)
	request = append(request, 1, 0, 8, 0, 3, 0, 0, 0)
	confirm := []byte{0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, 1, 0, 0, 0} // PROTOCOL_SSL
	tpkt := func(x224 []byte) []byte {
		return append([]byte{3, 0, 0, byte(5 + len(x224)), byte(len(x224))}, x224...)
	}
	lines := []line{says(tpkt(request)), answers(tpkt(confirm))}
	own, _ := (*authority)(nil).certificate(t, "xrdp", "pacs", false)
	sizes := []int{460, 1300, 330, 120, 520, 90}
	for i := range 60 {
		sizes = append(sizes, 40+i%9*12, 900+i*37%4200)
	}
	inside := chat(t, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Time: now},
		&tls.Config{Certificates: []tls.Certificate{own}, Time: now}, sizes...)
	s.tcp(talk{at: "07:07:45", client: ct1, server: pacs, port: 3389}, append(lines, spread(inside, 6, 5*time.Second)...))
}

// smuggle is the laptop sending what it took out of the house, in names.
func (s *span) smuggle() {
	at := clock("07:12:50")
	port := s.port(laptop)
	code := base32.StdEncoding.WithPadding(base32.NoPadding)
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(s.rng.UintN(256))
		}
		return b
	}
	for i := range 150 {
		data := strings.ToLower(code.EncodeToString(random(105)))
		name := fmt.Sprintf("%04x.%s.%s.%s.%s", i, data[:56], data[56:112], data[112:168], tunnelDomain)
		reply := strings.ToLower(code.EncodeToString(random(20)))
		q, a := dnsMessages(uint16(s.rng.UintN(1<<16)), name, typeTXT, append([]byte{byte(len(reply))}, reply...))
		s.ask(at, laptop, tunnel, port, 53, q, a)
		at += s.between(120*time.Millisecond, 2*time.Second)
	}
}
