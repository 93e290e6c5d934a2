// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package tcp is the guard's front for what it does not understand, and the
// front that says what a device may open.
//
// A front of kind tcp ([Front]) is a pipe of bytes: who may connect (by client
// certificate and address), when, and how fast. It does not know what goes
// through: a therapy command passes unjudged, and a message is not received
// whole before its first byte goes to the device. Whoever needs that needs
// another kind of front.
//
// A front of kind egress ([Egress]) is for the device that is to be no way into
// the hospital, and none out of it: what it may open, by name or network and port,
// and how much it may send there in a day. It is a proxy (HTTP CONNECT, RFC 9110
// section 9.3.6, and SOCKS5, RFC 1928) for devices that can use one, and a
// listener with one target for others.
//
// docs/guard-tcp.md describes the configuration.
//
// This API follows the server and may change.
package tcp

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// Understands is what a status page says of a tcp front.
const Understands = "a pipe of bytes: who, when and how fast; commands in it are not judged"

// A Policy is the configuration of a front of kind tcp.
type Policy struct {
	front.Settings
	Clients  []string       // names in client certificates; empty: whoever has one that is trusted
	Peers    []netip.Prefix // addresses; empty: every one
	Schedule *Schedule      // nil: always
	Rate     int            // bytes a second towards the device, of each connection; 0: no bound
}

// Keys are those of a tcp front, beside [front.Keys].
var Keys = []string{"clients", "peers", "schedule", "bytes-per-second"}

const (
	maxListed = 256
	maxRate   = 1 << 34
)

// Read reads a front of kind tcp.
func Read(r *strictyaml.Reader, s *strictyaml.Section, dir string) *Policy {
	p := &Policy{Settings: front.ReadSettings(r, s, dir)}
	for _, key := range []string{"clients", "peers", "schedule"} {
		if s.Has(key) && !p.Server && r.Err() == nil {
			r.Fail(s.Get(key), "what a device sends may be an alarm and is never refused; %s is for fronts that protect a server (from says which addresses are the device's)", key)
		}
	}
	for _, n := range r.List(s.Get("clients"), "clients", maxListed) {
		p.Clients = append(p.Clients, r.Text(n, "clients"))
	}
	if len(p.Clients) > 0 && p.Listen.TLS == nil && r.Err() == nil {
		r.Fail(s.Get("clients"), "clients are known by their certificates: listen needs tls")
	}
	p.Peers = front.ReadNetworks(r, s, "peers")
	p.Schedule = readSchedule(r, s.Get("schedule"))
	if s.Has("bytes-per-second") {
		p.Rate = int(r.Number(s.Get("bytes-per-second"), "bytes-per-second", 1, maxRate))
	}
	return p
}

// refusal says why a connection may not be, or "".
func (p *Policy) refusal(c *front.Conn, now time.Time) string {
	if len(p.Peers) > 0 {
		if a, err := netip.ParseAddr(c.Peer.Value); err != nil || !front.Within(p.Peers, a) {
			return "its address is of no peer that is listed"
		}
	}
	if len(p.Clients) > 0 && !slices.ContainsFunc(c.Names(), func(name string) bool {
		return slices.ContainsFunc(p.Clients, func(l string) bool { return strings.EqualFold(l, name) })
	}) {
		return "its certificate is of no client that is listed"
	}
	if !p.Schedule.Open(now) {
		return "it is outside the hours"
	}
	return ""
}

// A Front is a front of kind tcp.
type Front struct {
	env    *front.Env
	policy atomic.Pointer[Policy]

	mu   sync.Mutex
	open map[*pipe]struct{}
}

// New makes a front of kind tcp.
func New(env *front.Env, p *Policy) *Front {
	f := &Front{env: env, open: map[*pipe]struct{}{}}
	f.policy.Store(p)
	return f
}

// Update takes over a policy. What is open stays open, but for the hours: those
// of the new policy hold for it too.
func (f *Front) Update(p front.Policy) { f.policy.Store(p.(*Policy)) }

// Run serves until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", f.policy.Load().Listen.Address)
	if err != nil {
		return err
	}
	return f.Serve(ctx, ln)
}

// Serve is Run on a listener that is open already. It owns ln.
func (f *Front) Serve(ctx context.Context, ln net.Listener) error {
	l := front.Listener{
		Env: f.env, Settings: func() *front.Settings { return &f.policy.Load().Settings }, Handle: f.handle,
	}
	done := make(chan struct{})
	var clock sync.WaitGroup
	clock.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f.hours(f.env.Now())
			}
		}
	})
	err := l.Serve(ctx, ln)
	close(done)
	clock.Wait()
	return err
}

// hours ends what is open outside the hours, where the schedule says so.
func (f *Front) hours(now time.Time) {
	p := f.policy.Load()
	if p.Schedule == nil || p.Schedule.Finish || p.Schedule.Open(now) || p.Mode == front.Observe {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for pipe := range f.open {
		pipe.abort()
	}
}

func (f *Front) handle(ctx context.Context, c *front.Conn) {
	p := f.policy.Load()
	f.env.Learned.Saw(p.Name, "connect", c.Known(), c.Peer.Value)
	if why := p.refusal(c, f.env.Now()); why != "" && f.env.Refused(&p.Settings, c.Peer, "connect", "", why) {
		return
	}
	other, err := p.Dial(ctx)
	if err != nil {
		f.env.Log.Warn("cannot be reached", "front", p.Name, "err", err)
		front.Reset(c.Conn)
		return
	}
	w := &pipe{env: f.env, front: p.Name, idle: p.Limits.Idle, server: p.Server, near: c.Conn, far: other, rate: p.Rate}
	f.mu.Lock()
	f.open[w] = struct{}{}
	f.mu.Unlock()
	w.run(ctx, nil)
	f.mu.Lock()
	delete(f.open, w)
	f.mu.Unlock()
}
