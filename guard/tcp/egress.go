// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// An EgressPolicy is the configuration of a front of kind egress.
type EgressPolicy struct {
	front.Settings
	Peers    []netip.Prefix // who may use it, which are the device's addresses; empty: whoever reaches it
	Allow    []Destination
	Private  []netip.Prefix // networks of the house that names may lead to
	Resolver string         // host:port of the name server; "": the machine's
	Pin      time.Duration  // how long the addresses of a name are kept
	Zone     *time.Location // whose midnight begins the day
}

// A Destination is what the device may open. All that a row names shares its bound.
type Destination struct {
	Hosts    []string // names in lower case; "*.norra.example" is every name below that
	Networks []netip.Prefix
	Ports    []uint16
	PerDay   int64 // bytes that the device may send there in a day; 0: no bound
}

// Bounds and what holds without a word.
const (
	maxDestinations = 256
	defaultPin      = 5 * time.Minute
	maxPins         = 1024 // names whose addresses are kept
	maxConnectHead  = 8 << 10
	maxPerDay       = 1 << 50
)

// EgressKeys are those of an egress front, beside [front.Keys].
var EgressKeys = []string{"peers", "allow", "private", "resolver", "pin", "zone", "bytes-per-day"}

// hostPattern is a name of letters, digits and hyphens (RFC 1123 section 2.1)
// whose last label is no number, so that it is no address in disguise.
var hostPattern = lazyregexp.New(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

func isHost(h string) bool { return len(h) <= 253 && hostPattern().MatchString(h) }

// ReadEgress reads a front of kind egress.
func ReadEgress(r *strictyaml.Reader, s *strictyaml.Section, dir string) *EgressPolicy {
	p := &EgressPolicy{Settings: front.ReadSettings(r, s, dir), Pin: defaultPin, Zone: time.UTC}
	if p.Server && r.Err() == nil {
		r.Fail(s.Get("protects"), "an egress front is for what a device opens: protects has to be client")
	}
	p.Peers, p.Private = front.ReadNetworks(r, s, "peers"), front.ReadNetworks(r, s, "private")
	if s.Has("resolver") {
		p.Resolver = r.Text(s.Get("resolver"), "resolver")
		if _, err := netip.ParseAddrPort(p.Resolver); err != nil && r.Err() == nil {
			r.Fail(s.Get("resolver"), "resolver has to be an address and a port, such as 10.20.1.1:53")
		}
	}
	if s.Has("pin") {
		p.Pin = r.Duration(s.Get("pin"), "pin", time.Second, 24*time.Hour)
	}
	if s.Has("zone") {
		zone := r.Text(s.Get("zone"), "zone")
		loc, err := time.LoadLocation(zone)
		if r.Err() == nil && (err != nil || zone == "Local") {
			r.Fail(s.Get("zone"), "zone has to be a time zone that this machine knows, such as Europe/Stockholm or UTC")
		}
		p.Zone = loc
	}
	if p.Forward.Address != "" {
		p.readTarget(r, s)
		return p
	}
	if s.Has("bytes-per-day") && r.Err() == nil {
		r.Fail(s.Get("bytes-per-day"), "bytes-per-day stands in the rows of allow; here it is for a front with forward")
	}
	for _, n := range r.List(s.Need("allow", "what the device may open; an empty list is nothing"), "allow", maxDestinations) {
		p.Allow = append(p.Allow, readDestination(r, n))
	}
	return p
}

// readTarget makes the one row of a front with a fixed target.
func (p *EgressPolicy) readTarget(r *strictyaml.Reader, s *strictyaml.Section) {
	if r.Err() != nil {
		return
	}
	if s.Has("allow") {
		r.Fail(s.Get("allow"), "a front with forward has that one target; it has no allow")
		return
	}
	if p.Forward.TLS != nil {
		r.Fail(s.Get("forward"), "an egress front passes on the device's own bytes; forward has no tls")
		return
	}
	host, port, ok := splitTarget(p.Forward.Address)
	if !ok {
		r.Fail(s.Get("forward"), "forward has to be a name or an address, and a port")
		return
	}
	d := Destination{Ports: []uint16{port}}
	if a, err := netip.ParseAddr(host); err == nil {
		d.Networks = []netip.Prefix{netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}
	} else {
		d.Hosts = []string{host}
	}
	if s.Has("bytes-per-day") {
		d.PerDay = r.Number(s.Get("bytes-per-day"), "bytes-per-day", 1, maxPerDay)
	}
	p.Allow = []Destination{d}
}

func readDestination(r *strictyaml.Reader, n ast.Node) Destination {
	var d Destination
	s := r.Section(n, "a row of allow", "hosts", "networks", "ports", "bytes-per-day")
	for _, v := range r.List(s.Get("hosts"), "hosts", maxListed) {
		h := strings.ToLower(r.Text(v, "hosts"))
		if r.Err() == nil && !isHost(strings.TrimPrefix(h, "*.")) {
			r.Fail(v, "hosts has to have names, such as updates.norra.example, or *.norra.example for all below it; addresses stand in networks")
		}
		d.Hosts = append(d.Hosts, h)
	}
	d.Networks = front.ReadNetworks(r, s, "networks")
	for _, v := range r.List(s.Need("ports", "the ports, such as [443]"), "ports", maxListed) {
		d.Ports = append(d.Ports, uint16(r.Number(v, "ports", 1, 65535)))
	}
	if s.Has("bytes-per-day") {
		d.PerDay = r.Number(s.Get("bytes-per-day"), "bytes-per-day", 1, maxPerDay)
	}
	if r.Err() == nil && len(d.Hosts)+len(d.Networks) == 0 {
		r.Fail(n, "a row of allow has hosts or networks")
	}
	return d
}

// key tells one row from another, also after an update.
func (d *Destination) key() string { return fmt.Sprint(d.Hosts, d.Networks, d.Ports) }

// row returns the row that allows a target, or nil.
func (p *EgressPolicy) row(host string, addr netip.Addr, port uint16) *Destination {
	for i := range p.Allow {
		d := &p.Allow[i]
		if !slices.Contains(d.Ports, port) {
			continue
		}
		if addr.IsValid() && front.Within(d.Networks, addr) {
			return d
		}
		if !addr.IsValid() && slices.ContainsFunc(d.Hosts, func(l string) bool {
			below, wild := strings.CutPrefix(l, "*")
			return l == host || wild && strings.HasSuffix(host, below) && len(host) > len(below)
		}) {
			return d
		}
	}
	return nil
}

// inHouse are networks that the internet does not reach (RFC 6890), beside
// those that [netip.Addr] knows as private, loopback, link-local or multicast;
// and those under which an IPv4 address hides in an IPv6 one.
var inHouse = func() (list []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || front.Within(inHouse, a)
}

// An Egress is a front of kind egress.
type Egress struct {
	env    *front.Env
	policy atomic.Pointer[EgressPolicy]
	lookup func(ctx context.Context, server, host string) ([]netip.Addr, error)

	mu   sync.Mutex
	pins map[string]pin
	day  string           // whose bytes are counted
	sent map[volume]int64 // bytes
}

// A volume is what is counted together: by row of the list, the device's own apart
// from what others on its network send.
type volume struct {
	row string
	own bool
}

// A pin is what a name led to.
type pin struct {
	addrs []netip.Addr
	until time.Time
}

// NewEgress makes a front of kind egress.
func NewEgress(env *front.Env, p *EgressPolicy) *Egress {
	f := &Egress{env: env, lookup: lookup, pins: map[string]pin{}, sent: map[volume]int64{}}
	f.policy.Store(p)
	return f
}

// Update takes over a policy. What is open stays open; what was sent today stays counted.
func (f *Egress) Update(p front.Policy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.pins)
	f.policy.Store(p.(*EgressPolicy))
}

// Run serves until ctx ends.
func (f *Egress) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", f.policy.Load().Listen.Address)
	if err != nil {
		return err
	}
	return f.Serve(ctx, ln)
}

// Serve is Run on a listener that is open already. It owns ln.
func (f *Egress) Serve(ctx context.Context, ln net.Listener) error {
	l := front.Listener{
		Env: f.env, Settings: func() *front.Settings { return &f.policy.Load().Settings }, Handle: f.handle,
	}
	return l.Serve(ctx, ln)
}

// A target is what a device wants to open.
type target struct {
	host string     // in lower case, when it is a name
	addr netip.Addr // when it is an address
	port uint16
}

// shown is the target as an event names it: a name only when it is on the list,
// since a name may say anything.
func (t *target) shown(listed bool) string {
	port := strconv.Itoa(int(t.port))
	switch {
	case t.addr.IsValid() && t.addr.Unmap().Is4():
		p, _ := t.addr.Unmap().Prefix(24)
		return p.String() + " port " + port
	case t.addr.IsValid():
		p, _ := t.addr.WithZone("").Prefix(48)
		return p.String() + " port " + port
	case listed:
		return t.host + " port " + port
	}
	return "a name that is not listed, port " + port
}

// learned is the target for a list to be proposed from.
func (t *target) learned(listed bool) string {
	port := strconv.Itoa(int(t.port))
	switch {
	case t.addr.IsValid():
		return net.JoinHostPort(t.addr.WithZone("").String(), port)
	case listed:
		return net.JoinHostPort(t.host, port)
	}
	return t.shown(false)
}

func (f *Egress) handle(ctx context.Context, c *front.Conn) {
	p := f.policy.Load()
	if a, err := netip.ParseAddr(c.Peer.Value); len(p.Peers) > 0 && (err != nil || !front.Within(p.Peers, a)) {
		if f.env.Refused(&p.Settings, c.Peer, "connect", "", "its address is of no peer that is listed") {
			return
		}
	}
	br := bufio.NewReaderSize(c, maxConnectHead)
	var t target
	tell := func(reply) error { return nil }
	if p.Forward.Address != "" {
		t.host, t.port, _ = splitTarget(p.Forward.Address)
		t.parse()
	} else {
		first, err := br.Peek(1)
		if err != nil {
			return
		}
		c.Begin()
		if first[0] == 5 {
			t, tell, err = socks(c, br)
		} else {
			t, tell, err = connect(c, br)
		}
		c.End()
		if err != nil {
			var bad badRequest
			if errors.As(err, &bad) {
				_ = tell(reply{failed: true, why: string(bad)})
				f.env.Refused(p.enforced(), c.Peer, "proxy", "", string(bad))
			}
			return
		}
	}
	far, row, why := f.open(ctx, p, c, &t)
	if far == nil {
		_ = tell(reply{refused: row == nil, failed: row != nil, why: why})
		return
	}
	if err := tell(reply{}); err != nil {
		far.Close()
		return
	}
	w := &pipe{env: f.env, front: p.Name, idle: p.Limits.Idle, near: c.Conn, far: far}
	if row.PerDay > 0 {
		var once sync.Once
		w.sends = func(n int) (room int, ok bool) {
			if room, ok = f.send(p, c, row, n); !ok {
				ok = p.Mode == front.Observe
				once.Do(func() {
					f.env.Refused(&p.Settings, c.Peer, "volume", t.shown(true), "the device has sent there what it may in a day")
				})
			}
			return room, ok
		}
	}
	begun, _ := br.Peek(br.Buffered())
	w.run(ctx, begun)
}

// enforced are the settings for what cannot be passed on, whatever the mode.
func (p *EgressPolicy) enforced() *front.Settings {
	s := p.Settings
	s.Mode = front.Enforce
	return &s
}

// open opens a target, or says why not. A row with no connection is one that
// allows it and could not be reached.
func (f *Egress) open(ctx context.Context, p *EgressPolicy, c *front.Conn, t *target) (net.Conn, *Destination, string) {
	row := p.row(t.host, t.addr, t.port)
	f.env.Learned.Saw(p.Name, "connect", t.learned(row != nil))
	if row == nil {
		why := "it is on no list of what this device may open"
		if f.env.Refused(&p.Settings, c.Peer, "open", t.shown(false), why) {
			return nil, nil, why
		}
		row = &Destination{}
	} else if row.PerDay > 0 {
		if _, ok := f.send(p, c, row, 1); !ok {
			why := "the device has sent there what it may in a day"
			if f.env.Refused(&p.Settings, c.Peer, "volume", t.shown(true), why) {
				return nil, nil, why
			}
		} else {
			f.send(p, c, row, -1)
		}
	}
	addrs := []netip.Addr{t.addr}
	if !t.addr.IsValid() {
		var err error
		if addrs, err = f.resolve(ctx, p, t.host); err != nil {
			return nil, row, "the name has no address"
		}
		all := len(addrs)
		addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
			return isPrivate(a) && !front.Within(p.Private, a) && !front.Within(row.Networks, a)
		})
		if len(addrs) < all {
			why := "its name leads to a network of the house that is not listed"
			enforced := f.env.Refused(&p.Settings, c.Peer, "open", t.shown(len(row.Ports) > 0), why)
			if len(addrs) == 0 && enforced {
				return nil, nil, why
			}
			if !enforced {
				addrs, _ = f.resolve(ctx, p, t.host)
			}
		}
	}
	for _, a := range addrs {
		dialing, cancel := context.WithTimeout(ctx, p.Limits.Handshake)
		far, err := new(net.Dialer).DialContext(dialing, "tcp", netip.AddrPortFrom(a, t.port).String())
		cancel()
		if err == nil {
			return far, row, ""
		}
		f.env.Log.Warn("cannot be reached", "front", p.Name, "err", err)
	}
	return nil, row, "it cannot be reached"
}

// send counts bytes that a device is about to send, and says how many of them
// there is room for.
func (f *Egress) send(p *EgressPolicy, c *front.Conn, row *Destination, n int) (room int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if day := f.env.Now().In(p.Zone).Format(time.DateOnly); day != f.day {
		f.day = day
		clear(f.sent)
	}
	key := volume{row.key(), c.Own()}
	left := row.PerDay - f.sent[key]
	if int64(n) > left {
		n = int(max(left, 0))
		f.sent[key] += int64(n)
		return n, false
	}
	f.sent[key] += int64(n)
	return n, true
}

// resolve returns the addresses of a name. They are kept, so that what was
// looked at is what is opened, and a name cannot lead elsewhere a moment later.
func (f *Egress) resolve(ctx context.Context, p *EgressPolicy, host string) ([]netip.Addr, error) {
	now := f.env.Now()
	f.mu.Lock()
	pinned, ok := f.pins[host]
	f.mu.Unlock()
	if ok && now.Before(pinned.until) {
		return pinned.addrs, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Handshake)
	defer cancel()
	addrs, err := f.lookup(ctx, p.Resolver, host)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if pinned, ok := f.pins[host]; ok && now.Before(pinned.until) { // somebody else was faster
		return pinned.addrs, nil
	}
	if len(f.pins) >= maxPins {
		clear(f.pins)
	}
	f.pins[host] = pin{addrs, now.Add(p.Pin)}
	return addrs, nil
}

// lookup asks a name server, or the machine's.
func lookup(ctx context.Context, server, host string) ([]netip.Addr, error) {
	r := net.DefaultResolver
	if server != "" {
		r = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		}}
	}
	return r.LookupNetIP(ctx, "ip", host+".") // the dot: no search list
}

// A reply is what the device is told of its request.
type reply struct {
	refused bool // by the list
	failed  bool
	why     string
}

// A badRequest is why a request to the proxy cannot be read.
type badRequest string

func (b badRequest) Error() string { return string(b) }

// parse makes an address of a host that is one, and a name in its one form of any other.
func (t *target) parse() bool {
	if a, err := netip.ParseAddr(t.host); err == nil {
		t.host, t.addr = "", a.Unmap()
		return a.Zone() == ""
	}
	t.host = strings.TrimSuffix(strings.ToLower(t.host), ".")
	return isHost(t.host)
}

func splitTarget(s string) (host string, port uint16, ok bool) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseUint(p, 10, 16)
	t := target{host: host}
	return strings.TrimSuffix(strings.ToLower(host), "."), uint16(n), err == nil && n > 0 && t.parse()
}

// connect reads an HTTP CONNECT (RFC 9110 section 9.3.6). Its fields are read over.
func connect(c io.Writer, br *bufio.Reader) (t target, tell func(reply) error, err error) {
	tell = func(r reply) error {
		status, text := "200 OK", ""
		switch {
		case r.refused:
			status, text = "403 Forbidden", "the guard of this device does not let it open this: "+r.why+"\n"
		case r.failed:
			status, text = "502 Bad Gateway", r.why+"\n"
		default:
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			return err
		}
		_, err := fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(text), text)
		return err
	}
	var line string
	for room := maxConnectHead; ; {
		b, err := br.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return t, tell, err
		}
		if room -= len(b); room < 0 || err != nil {
			return t, tell, badRequest("the head of the request is too long")
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if line == "" {
			if line = text; line == "" {
				return t, tell, badRequest("it is neither HTTP CONNECT nor SOCKS5")
			}
		}
		if text == "" {
			break
		}
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 || parts[0] != "CONNECT" || parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		return t, tell, badRequest("it is neither HTTP CONNECT nor SOCKS5")
	}
	var ok bool
	if t.host, t.port, ok = splitTarget(parts[1]); !ok || !t.parse() {
		return t, tell, badRequest("its target is no name or address with a port")
	}
	return t, tell, nil
}

// SOCKS5 replies (RFC 1928 section 6).
const (
	socksFailed      = 1
	socksNotAllowed  = 2
	socksUnreachable = 4
	socksNoCommand   = 7
	socksNoAddress   = 8
)

// socks reads a SOCKS5 request without a password: who asks is known by its address.
func socks(c io.Writer, br *bufio.Reader) (t target, tell func(reply) error, err error) {
	code := byte(socksUnreachable)
	tell = func(r reply) error {
		b := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
		switch {
		case r.refused:
			b[1] = socksNotAllowed
		case r.failed:
			b[1] = code
		}
		_, err := c.Write(b)
		return err
	}
	var b [4]byte
	if _, err := io.ReadFull(br, b[:2]); err != nil {
		return t, tell, err
	}
	methods := make([]byte, b[1])
	if _, err := io.ReadFull(br, methods); err != nil {
		return t, tell, err
	}
	if !slices.Contains(methods, 0) {
		_, _ = c.Write([]byte{5, 0xff})
		return t, func(reply) error { return nil }, badRequest("SOCKS5 with a password, which nobody asked for")
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return t, tell, err
	}
	if _, err := io.ReadFull(br, b[:4]); err != nil {
		return t, tell, err
	}
	code = socksFailed
	if b[0] != 5 || b[2] != 0 {
		return t, tell, badRequest("a request that is not SOCKS5")
	}
	n := 0
	switch b[3] {
	case 1:
		n = 4
	case 4:
		n = 16
	case 3:
		l, err := br.ReadByte()
		if err != nil {
			return t, tell, err
		}
		n = int(l)
	default:
		code = socksNoAddress
		return t, tell, badRequest("SOCKS5 with a kind of address that it does not have")
	}
	host := make([]byte, n+2)
	if _, err := io.ReadFull(br, host); err != nil {
		return t, tell, err
	}
	t.port = binary.BigEndian.Uint16(host[n:])
	if b[3] == 3 {
		t.host = string(host[:n])
	} else {
		a, _ := netip.AddrFromSlice(host[:n])
		t.host = a.String()
	}
	switch {
	case b[1] != 1:
		code = socksNoCommand
		return t, tell, badRequest("SOCKS5 for something else than a connection")
	case !t.parse() || t.port == 0:
		return t, tell, badRequest("its target is no name or address with a port")
	}
	code = socksUnreachable
	return t, tell, nil
}
