// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Who reaches the server, from where, and how much of it one of them can take.

// Bounds of a request, and of what an address has open. Of a connection of HTTP/2, each
// stream is a request.
const (
	maxHeader     = 32 << 10
	headerTime    = 10 * time.Second
	readTime      = time.Minute
	writeTime     = 30 * time.Second // for the other side to take what is written next
	idleTime      = 2 * time.Minute
	drainTime     = 10 * time.Second
	maxOpen       = 4096 // connections
	maxOpenOfOne  = 256  // of them, of one address, or of the 64 bits of IPv6 that a host has
	maxStreams    = 64
	maxForwarders = 32 // proxies that the configuration names
)

// A crowd accepts connections, and lets go at once what is over its bounds: who holds
// many of them open keeps nobody else out.
type crowd struct {
	net.Listener
	most, mostOfOne int
	free            []netip.Prefix // proxies: behind one of them is everybody

	mu   sync.Mutex
	open int
	of   map[netip.Prefix]int
}

func (s *Server) crowd(ln net.Listener) net.Listener {
	return &crowd{Listener: ln, most: maxOpen, mostOfOne: maxOpenOfOne, free: s.cfg.Proxies}
}

func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		at := host(conn.RemoteAddr().String())
		if c.enter(at) {
			return &member{Conn: conn, leave: sync.OnceFunc(func() { c.leave(at) })}, nil
		}
		conn.Close()
	}
}

func (c *crowd) enter(at netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.most || c.of[at] >= c.mostOfOne && !within(at.Addr(), c.free) {
		return false
	}
	if c.of == nil {
		c.of = map[netip.Prefix]int{}
	}
	c.open++
	c.of[at]++
	return true
}

func (c *crowd) leave(at netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.of[at]--; c.of[at] == 0 {
		delete(c.of, at)
	}
}

// A member is a connection of a crowd.
type member struct {
	net.Conn
	leave func()
}

func (m *member) Close() error {
	m.leave()
	return m.Conn.Close()
}

// host is the address of a host, or of IPv6 the network of 64 bits in which a host has
// as many addresses as it likes; the zero prefix of what is no address.
func host(address string) netip.Prefix {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return p
}

func within(ip netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// behind takes from a proxy's word where a request comes from, if the configuration
// names the proxy. It is the last address that a proxy of ours says (it appends the one
// that it sees): what stands before that, who sends the request may have made up.
func (s *Server) behind(next http.Handler) http.Handler {
	if len(s.cfg.Proxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for at := r.RemoteAddr; ; said = said[:len(said)-1] {
			from, err := netip.ParseAddrPort(at)
			if err != nil || !within(from.Addr().Unmap(), s.cfg.Proxies) || len(said) == 0 {
				break
			}
			ip, err := netip.ParseAddr(strings.TrimSpace(said[len(said)-1]))
			if err != nil {
				break
			}
			at = netip.AddrPortFrom(ip.WithZone(""), 0).String()
			r.RemoteAddr = at
		}
		next.ServeHTTP(w, r)
	})
}

// panics passes on what net/http logs of handlers that panicked; what else it logs is
// of what strangers send, and no news.
type panics struct{ log *slog.Logger }

func (p panics) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("panic serving")) {
		p.log.Error("a request failed", "err", string(bytes.TrimSpace(b)))
	}
	return len(b), nil
}
