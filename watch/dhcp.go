// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"net"
	"net/netip"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/proto/dhcp"
	"github.com/myelin-health/myelin/wire"
)

// A dhcpObserver reads DHCP. A client that has no address yet is spoken of by
// the address that it asks for or is given, else by its hardware address. It
// keeps hashes of what was said so far.
type dhcpObserver struct{ told facts }

// maxDHCPFacts is as many facts as a large site's clients tell: they all
// broadcast in one conversation, from 0.0.0.0 to 255.255.255.255.
const maxDHCPFacts = 8192

func (o *dhcpObserver) held() int { return o.told.held() }

func newDHCPObserver() observer { return &dhcpObserver{facts{bound: maxDHCPFacts}} }

func (o *dhcpObserver) data(x *exchange, b []byte) int {
	if port := x.conv.Server.Port; port == 546 || port == 547 {
		o.v6(x, b)
		return len(b)
	}
	m, err := dhcp.Parse(b)
	if err != nil {
		x.malformed(0, err)
		if m.Type == 0 {
			return len(b)
		}
	}
	if m.Reply {
		o.reply(x, &m)
	} else {
		o.request(x, &m)
	}
	return len(b)
}

func (o *dhcpObserver) gap(*exchange, int) bool { return false }

func (o *dhcpObserver) close(*exchange) {}

// request takes what a client says of itself.
func (o *dhcpObserver) request(x *exchange, m *dhcp.Message) {
	ip := m.Client
	// RFC 2131 section 4.3.2: with the server's identifier it takes an offer;
	// without, it asks for what it had elsewhere, perhaps.
	if m.Type == dhcp.Request && !usable(ip) && m.Address(dhcp.OptionServerIdentifier).IsValid() {
		ip = m.Address(dhcp.OptionRequestedAddress)
	}
	o.client(x, ip, m.MAC, m.HostName(), dhcp.Identify(m.Option(dhcp.OptionVendorClass), m.Option(dhcp.OptionParameterRequest)))
}

// client notes the name and the system of the client with this address.
func (o *dhcpObserver) client(x *exchange, ip netip.Addr, mac, name []byte, system dhcp.System) {
	about := device.Address{Kind: device.MAC, Value: o.mac(x, mac)}
	if usable(ip) {
		about = x.sh.address(wire.AddrFrom(ip))
	}
	if about.Value == "" {
		return
	}
	place := []byte(about.Value)
	if len(name) > 0 && o.told.fresh(place, []byte("name"), name) {
		x.noteAddr(event.NameSeen, 0, about, device.Address{}, event.Int(event.AddressKind, device.Host),
			event.Text(event.Name, x.text(name)), event.Text(event.Protocol, "dhcp"))
	}
	// Bound to itself, a hardware address is known as the same device when a
	// server or ARP says later which address it has.
	if text := o.mac(x, mac); text != "" && o.told.fresh(place, []byte("mac"), mac) {
		x.noteAddr(event.BindingSeen, 0, about, device.Address{}, event.Text(event.MAC, text), event.Text(event.Protocol, "dhcp"))
	}
	if system.Confidence >= device.Medium && o.told.fresh(place, []byte("system"), []byte(system.OS)) {
		x.noteAddr(event.IdentitySeen, 0, about, device.Address{}, event.Text(event.OS, system.OS))
	}
}

// reply takes what a server says: its offers, and whose an address is now.
func (o *dhcpObserver) reply(x *exchange, m *dhcp.Message) {
	mac := o.mac(x, m.MAC)
	if (m.Type == dhcp.Offer || m.Type == dhcp.Ack) && usable(m.Your) { // an answer to INFORM offers no address
		server := x.addr(x.From)
		if id := m.Address(dhcp.OptionServerIdentifier); usable(id) {
			server = x.sh.address(wire.AddrFrom(id)) // the sender may be a relay
		}
		peer, target := device.Address{Kind: device.MAC, Value: mac}, x.sh.address(wire.AddrFrom(m.Your)).Value
		if o.told.fresh([]byte(server.Value), []byte("offer"), m.MAC, []byte(target)) {
			attrs := [4]event.Attr{event.Text(event.MAC, mac), event.Text(event.Target, target)}
			n := 2
			if mask := m.Option(dhcp.OptionSubnetMask); len(mask) == 4 && m.Your.Is4() {
				if ones, bits := net.IPMask(mask).Size(); bits > 0 {
					attrs[n] = event.Text(event.Network, x.sh.intern(netip.PrefixFrom(m.Your, ones).Masked().String()))
					n++
				}
			}
			if router, names := m.Option(dhcp.OptionRouter), m.Option(dhcp.OptionDomainNameServer); len(router)+len(names) > 0 {
				attrs[n] = event.Int(event.Settings, x.hash(router, names))
				n++
			}
			x.noteAddr(event.AddressOffered, 0, server, peer, attrs[:n]...)
		}
	}
	if m.Type != dhcp.Ack || mac == "" {
		return
	}
	for _, ip := range [...]netip.Addr{m.Your, m.Client} {
		if usable(ip) && o.told.fresh(m.MAC, ip.AsSlice()) {
			x.noteAddr(event.BindingSeen, 0, x.sh.address(wire.AddrFrom(ip)), device.Address{}, event.Text(event.MAC, mac), event.Text(event.Protocol, "dhcp"))
		}
	}
}

// v6 takes a DHCPv6 message. Its sender has a link-local address at least.
func (o *dhcpObserver) v6(x *exchange, b []byte) {
	m, err := dhcp.ParseV6(b)
	if err != nil {
		x.malformed(0, err)
		return
	}
	mac := dhcp.MAC(m.ClientID)
	if m.FromClient() {
		addr, _ := netip.ParseAddr(x.addr(x.From).Value)
		if m.Relays > 0 {
			addr = netip.Addr{} // the sender is a relay
		}
		if usable(addr) {
			mac = nil // the identifier may be that of another of its interfaces
		}
		o.client(x, addr, mac, m.HostName(), dhcp.Identify(m.VendorClass, nil))
		return
	}
	if m.Address.IsValid() && o.told.fresh([]byte("offer6"), m.ClientID, m.Address.AsSlice()) {
		x.note(event.AddressOffered, 0, x.From, event.Text(event.MAC, o.mac(x, mac)), event.Text(event.Target, m.Address.String()))
	}
}

// mac returns a hardware address in its usual spelling, or "".
func (o *dhcpObserver) mac(x *exchange, mac []byte) string {
	if len(mac) != 6 || [6]byte(mac) == [6]byte{} {
		return ""
	}
	return x.sh.intern(net.HardwareAddr(mac).String())
}

// usable reports whether an address is one that a device can have.
func usable(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
