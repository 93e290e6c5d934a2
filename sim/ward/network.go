// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Types of DNS records (RFC 1035 section 3.2.2).
const (
	typeA   = 1
	typeTXT = 16
)

// dnsName writes a name as labels (RFC 1035 section 3.1).
func dnsName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// dnsMessages are a question, and its answer with data.
func dnsMessages(id uint16, name string, kind uint16, data []byte) (question, answer []byte) {
	head := func(flags, answers uint16) []byte {
		b := binary.BigEndian.AppendUint16(nil, id)
		b = binary.BigEndian.AppendUint16(b, flags)
		b = append(b, 0, 1)
		b = binary.BigEndian.AppendUint16(b, answers)
		b = dnsName(append(b, 0, 0, 0, 0), name)
		b = binary.BigEndian.AppendUint16(b, kind)
		return append(b, 0, 1)
	}
	answer = head(0x8180, 1)
	answer = append(answer, 0xc0, 12) // the name is at offset 12 (section 4.1.4)
	answer = binary.BigEndian.AppendUint16(answer, kind)
	answer = append(answer, 0, 1, 0, 0, 1, 0x2c)
	answer = binary.BigEndian.AppendUint16(answer, uint16(len(data)))
	return head(0x0100, 0), append(answer, data...)
}

// resolve looks a host up at the hospital's name server.
func (s *span) resolve(at time.Duration, from *host, name string, ip netip.Addr) {
	b := ip.As4()
	q, a := dnsMessages(uint16(s.rng.UintN(1<<16)), name, typeA, b[:])
	s.ask(at, from, net1, s.port(from), 53, q, a)
}

// sntp asks the time (RFC 5905 section 14).
func (s *span) sntp(at time.Duration, from *host) {
	ntp := func(at time.Duration) []byte {
		t := morning.Add(at)
		b := binary.BigEndian.AppendUint32(nil, uint32(t.Unix()+2208988800))
		return binary.BigEndian.AppendUint32(b, uint32(uint64(t.Nanosecond())<<32/1e9))
	}
	q := append([]byte{0x23, 0, 6, 0xec}, make([]byte, 36)...)
	q = append(q, ntp(at)...)
	a := append([]byte{0x24, 2, 6, 0xe9, 0, 0, 1, 0, 0, 0, 2, 0, 192, 0, 2, 33}, ntp(at-90*time.Second)...)
	a = append(append(append(a, ntp(at)...), ntp(at+80*time.Microsecond)...), ntp(at+100*time.Microsecond)...)
	s.ask(at, from, net1, 123, 123, q, a)
}

// dhcpMessage writes a message of DHCP (RFC 2131 section 2).
func dhcpMessage(reply bool, id uint32, h *host, client, yours, relay netip.Addr, options ...[]byte) []byte {
	op := byte(1)
	if reply {
		op = 2
	}
	b := []byte{op, 1, 6, 0}
	b = binary.BigEndian.AppendUint32(b, id)
	b = append(b, 0, 0, 0, 0)
	for _, ip := range []netip.Addr{client, yours, netip.IPv4Unspecified(), relay} {
		a := ip.As4()
		b = append(b, a[:]...)
	}
	b = append(append(b, h.mac[:]...), make([]byte, 10+192)...)
	b = append(b, 99, 130, 83, 99)
	for _, o := range options {
		b = append(b, o...)
	}
	b = append(b, 255)
	for len(b) < 300 { // BOOTP's least (RFC 1542 section 2.1)
		b = append(b, 0)
	}
	return b
}

func option(code byte, v []byte) []byte { return append([]byte{code, byte(len(v))}, v...) }

func ipOption(code byte, ip netip.Addr) []byte { b := ip.As4(); return option(code, b[:]) }

// lease is a station getting its address through the router of its network,
// which is the relay to the server.
func (s *span) lease(at time.Duration, h, router *host, name, class string, asked []byte) {
	const discover, offer, request, ack = 1, 2, 3, 5
	none := netip.IPv4Unspecified()
	id := s.rng.Uint32()
	nobody := &host{ip: none, mac: h.mac, ttl: h.ttl}
	everybody := way{broadcastIP, broadcastMAC}
	on := tapOf(h.ip)
	own := [][]byte{option(12, []byte(name)), option(60, []byte(class)), option(55, asked)}
	leased := [][]byte{ipOption(54, net1.ip), option(51, []byte{0, 0, 0x70, 0x80}), option(1, []byte{255, 255, 255, 0}), ipOption(3, router.ip), ipOption(6, net1.ip)}
	step := func(kind byte, more ...[]byte) {
		o := append([][]byte{option(53, []byte{kind})}, more...)
		q := func(relay netip.Addr) []byte {
			return dhcpMessage(false, id, h, none, none, relay, append(o, own...)...)
		}
		s.datagram(on, at, nobody, everybody, 68, 67, q(none))
		s.datagram(tapCore, at+400*time.Microsecond, router, way{net1.ip, net1.mac}, 67, 67, q(router.ip))
		r := func() []byte {
			return dhcpMessage(true, id, h, none, h.ip, router.ip, append([][]byte{option(53, []byte{kind + 1 + kind/3})}, leased...)...)
		}
		s.datagram(tapCore, at+2*time.Millisecond, net1, way{router.ip, router.mac}, 67, 67, r())
		s.datagram(on, at+2400*time.Microsecond, router, everybody, 67, 68, r())
		at += 35 * time.Millisecond
	}
	step(discover)                                           // answered by an offer
	step(request, ipOption(50, h.ip), ipOption(54, net1.ip)) // by an acknowledgement
	s.arp(on, at+time.Second, h, router.ip, router)
}

// text writes the lines of a conversation of commands and replies, told apart
// by their first sign: ">" is the client's.
func text(lines ...string) []line {
	var out []line
	for _, l := range lines {
		b := []byte(strings.ReplaceAll(l[1:], "\n", "\r\n"))
		out = append(out, line{server: l[0] != '>', bytes: b})
	}
	return out
}

// upload is the analyser storing the morning's results, password in clear.
func (s *span) upload() {
	var csv strings.Builder
	csv.WriteString("time,record,name,born,pH,pCO2,pO2,lactate\n")
	for i, p := range []person{dana, emil, cleo} {
		fmt.Fprintf(&csv, "2026-03-03 06:%02d,%s,%s %s,%s,7.3%d,4%d,7%d,%d.%d\n", 11+i*17, p.record, p.given, p.family, p.birth, i+1, i+4, i, 1+i, 4)
	}
	data := uint16(50211)
	lines := text(
		"<220 (vsFTPd 3.0.3)\n", ">USER "+ftpUser+"\n", "<331 Please specify the password.\n", ">PASS "+ftpPassword+"\n", "<230 Login successful.\n",
		">TYPE I\n", "<200 Switching to Binary mode.\n", ">PASV\n", fmt.Sprintf("<227 Entering Passive Mode (10,20,1,9,%d,%d).\n", data>>8, data&0xff),
		">STOR bg200_20260303.csv\n", "<150 Ok to send data.\n", "<226 Transfer complete.\n", ">QUIT\n", "<221 Goodbye.\n")
	for i := range lines {
		lines[i].wait = 8 * time.Millisecond
	}
	lines[9].wait, lines[11].wait = 30*time.Millisecond, 60*time.Millisecond // meanwhile the data goes its own way
	s.tcp(talk{at: "07:01:15", client: lab1, server: files1, port: 21}, lines)
	s.tcp(talk{at: "07:01:15.085", client: lab1, server: files1, port: data}, []line{says([]byte(csv.String())).after(45 * time.Millisecond)})
}

// console is the clinical engineer looking after the analyser over Telnet.
func (s *span) console() {
	lines := text("<\xff\xfd\x18\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03", ">\xff\xfb\x18\xff\xfc\x1f\xff\xfd\x01\xff\xfd\x03",
		"<\nBG200 service console 1.2\n\nlogin: ")
	typed := func(word, prompt string, echo bool) {
		for _, c := range word + "\r" {
			lines = append(lines, says([]byte(string(c))).after(130*time.Millisecond))
			if echo && c != '\r' {
				lines = append(lines, answers([]byte(string(c))))
			}
		}
		lines = append(lines, answers([]byte("\r\n"+prompt)))
	}
	typed(telnetUser, "Password: ", true)
	typed(telnetPassword, "\r\nBG200> ", false)
	typed("show calibration", "pH slope 98.7 %  pCO2 101.2 %  last 06:00\r\nBG200> ", true)
	typed("exit", "bye\r\n", true)
	s.tcp(talk{at: "07:02:50", client: eng1, server: lab1, port: 23}, lines)
}

// network is what carries the rest: addresses, names, time.
func (s *span) network() {
	win := []byte{1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252}
	s.lease(clock("07:00:03"), mon3, icuRouter, "mon-3", "Veltis M9", []byte{1, 3, 6, 42})
	s.lease(clock("07:01:51"), view1, radRouter, workstation, "MSFT 5.0", win)
	for i, h := range []*host{gwICU, desk3, mon3, vent3, ct1, pacs, ehr, lab1, files1, round1} {
		s.sntp(time.Duration(4+11*i)*time.Second, h)
		s.sntp(time.Duration(610+11*i)*time.Second, h)
	}
	for _, l := range []struct {
		at    string
		from  *host
		about *host
	}{
		{"07:00:01.9", gwICU, ehr},
		{"07:00:39.9", ct1, pacs},
		{"07:00:51.9", ct1, ehr},
		{"07:00:35.9", desk3, vent3},
		{"07:01:14.8", lab1, files1},
		{"07:01:19.9", lab1, ehr},
		{"07:02:04.9", round1, ehr},
		{"07:02:39.9", view1, pacs},
		{"07:02:49.8", eng1, lab1},
	} {
		s.resolve(clock(l.at), l.from, l.about.fqdn(), l.about.ip)
	}
	s.resolve(clock("07:01:04.9"), ct1, lumenService, service.ip)
	for _, a := range []struct {
		at       string
		from, to *host
	}{
		{"07:00:01", gwICU, icuRouter},
		{"07:00:14", desk3, mon3},
		{"07:00:35", desk3, vent3},
		{"07:00:30.9", mon3, desk3},
		{"07:00:39", ct1, pacs},
		{"07:00:50", ct1, radRouter},
		{"07:02:39", view1, pacs},
		{"07:02:44", pacs, view1},
		{"07:03:09.9", view1, ct1},
		{"07:05:11", pacs, radRouter},
		{"07:04:58", icuRouter, gwICU},
	} {
		s.arp(tapOf(a.from.ip), clock(a.at), a.from, a.to.ip, a.to)
	}
}
