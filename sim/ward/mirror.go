// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// A Conversation is what two stations said to each other, of any story.
type Conversation struct {
	Client netip.Addr
	Server netip.AddrPort
	Form   Form
	Said   []Said
}

// A Form is what a Conversation goes by.
type Form uint8

// The forms.
const (
	Stream    Form = iota // TCP
	Datagrams             // UDP, each saying one
	Segments              // TCP of the client's own making: each saying is a segment with its header, of which only ports and checksum are set
)

// Said is what one side said at once.
type Said struct {
	Answer bool // the server's
	Bytes  []byte
}

const tcpHeader = 20 // bytes (RFC 9293 section 3.1)

// Mirror writes conversations of IPv4 stations to a pcap, one after another, each beginning a second after
// the one before, as the port of a switch would that mirrors them on the ward's morning.
func Mirror(w io.Writer, conversations []Conversation) error {
	s := newSpan()
	stations := map[netip.Addr]*host{}
	station := func(ip netip.Addr) *host {
		if stations[ip] == nil {
			mac := byte(len(stations) + 1)
			if !ip.IsPrivate() {
				mac = 0xfe // the router
			}
			stations[ip] = at("", ip.String(), mac, 64)
		}
		return stations[ip]
	}
	for i, c := range conversations {
		begin := time.Duration(i) * time.Second
		client, server := station(c.Client), station(c.Server.Addr())
		switch c.Form {
		case Stream:
			lines := make([]line, len(c.Said))
			for i, said := range c.Said {
				lines[i] = line{server: said.Answer, bytes: said.Bytes}
			}
			s.tcpOn(tapCore, begin, talk{client: client, server: server, port: c.Server.Port()}, lines)
		case Datagrams:
			port := s.port(client)
			for _, said := range c.Said {
				begin += s.between(200*time.Microsecond, 4*time.Millisecond)
				if said.Answer {
					s.datagram(tapCore, begin, server, way{client.ip, client.mac}, c.Server.Port(), port, said.Bytes)
				} else {
					s.datagram(tapCore, begin, client, way{server.ip, server.mac}, port, c.Server.Port(), said.Bytes)
				}
			}
		case Segments:
			for _, said := range c.Said {
				if said.Answer || len(said.Bytes) < tcpHeader {
					continue
				}
				b := append([]byte(nil), said.Bytes...)
				binary.BigEndian.PutUint16(b, s.port(client))
				binary.BigEndian.PutUint16(b[2:], c.Server.Port())
				b[16], b[17] = 0, 0
				binary.BigEndian.PutUint16(b[16:], checksum(client.ip, server.ip, wire.ProtoTCP, b))
				s.ipv4(tapCore, begin, client, server.mac, server.ip, wire.ProtoTCP, b)
			}
		}
	}
	out, err := capture.NewWriter(w, capture.LinkEthernet)
	if err != nil {
		return err
	}
	return s.write(tapCore, out)
}
