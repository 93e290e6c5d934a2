// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// Bounds of a front before a client.
const (
	maxReadings   = 64                // that the device waits for, and answers that are looked at
	maxJudged     = 8                 // commands at once
	maxAnswered   = 1024              // requests that are remembered, so that the same one is not done twice
	exchangeLives = 247 * time.Second // EXCHANGE_LIFETIME (RFC 7252 section 4.8.2)
	ackTimeout    = 2 * time.Second   // ACK_TIMEOUT (section 4.8)
	deviceWaits   = 93 * time.Second  // MAX_TRANSMIT_WAIT
)

// rawPath is where the server is told, byte for byte, what of the device nobody can read.
const rawPath = "/raw"

// unlistedPath is where the server is told what came from an address that is not the
// device's: perhaps it has another one since, perhaps it is somebody else. It is told as it
// came, and as nothing that the device said: a measurement that anybody forges is none.
const unlistedPath = "/unlisted"

// A Client is a front before a device that is a CoAP client, and calls its server in
// clear. It passes on what the device says under EDHOC and OSCORE, to that server alone:
//
//	device ──CoAP──▶ take ─▶ kept ─▶ outside ──EDHOC, OSCORE──▶ server
//	       ◀──────── reply ◀─ bounded, the gate ◀──────────────
//
// What the device writes is kept until the server has answered it, and the device gets
// no acknowledgement before: so it knows, and sends it again. What comes back is bounded
// by what is declared, and a command in it is the gate's to decide.
//
// It is for one [Client.Run].
type Client struct {
	env   *front.Env
	began time.Time
	now   atomic.Pointer[Policy] // that holds
	ack   time.Duration          // before a message is sent again

	socket net.PacketConn
	out    *outside
	kept   *kept
	bodies oscore.Assembler // of the device
	reads  chan struct{}    // holds as many as may be under way
	judged chan struct{}    // of these, those whose command is judged, but for rescues
	behind chan func()      // records that nothing waits for
	work   sync.WaitGroup
	inside context.Context // ends when nothing more may go either way

	mu       sync.Mutex // guards what follows
	asked    map[[sha256.Size]byte]*asked
	answered *list.List // of *asked, the first answered in front
	number   uint16     // Message ID of the front's own
	state    uint32     // Observe of the front's own
	tells    map[uint16]chan bool
	watches  map[string]*watch
}

// asked is a request of the device.
type asked struct {
	key      [sha256.Size]byte
	addr     net.Addr
	datagram []byte           // the last of them, where it came in blocks
	message  protocol.Message // whole
	path     string
	resource *declared // nil: none is declared at the path
	at       time.Time

	answer  []byte // nil: there is none yet
	command bool   // that it has: it is not said again when it is old
}

// reads reports whether a request only asks.
func (x *asked) reads() bool {
	return x.message.Code == protocol.GET || x.message.Code == protocol.FETCH
}

func newClient(env *front.Env, p *Policy) *Client {
	c := &Client{
		env: env, began: time.Now(), ack: ackTimeout, kept: newKept(), reads: make(chan struct{}, maxReadings), judged: make(chan struct{}, maxJudged), behind: make(chan func(), maxBehind), asked: map[[sha256.Size]byte]*asked{},
		answered: list.New(), tells: map[uint16]chan bool{}, watches: map[string]*watch{},
	}
	c.now.Store(p)
	return c
}

func (c *Client) policy() *Policy { return c.now.Load() }

// Update takes over another policy from the next message on. Another key, server or
// address needs a restart, and is told and left as it was.
func (c *Client) Update(to front.Policy) {
	p, ok := to.(*Policy)
	if !ok || p.calls == nil {
		return
	}
	old := c.policy()
	if p.Restarts(old) {
		c.env.Log.Warn("another device, key or server needs a restart of the front; the old one holds", "front", p.Name)
		n, calls := *p, *p.calls
		calls.peer, calls.server = old.calls.peer, old.calls.server
		n.Device, n.key, n.public, n.address, n.Forward, n.calls = old.Device, old.key, old.public, old.address, old.Forward, &calls
		p = &n
	}
	c.now.Store(p)
}

// Ready reports whether the server answered what it was told last.
func (c *Client) Ready() bool { return c.env.Serving() && c.out.ready.Load() }

// Run serves until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	p := c.policy()
	endpoint, err := coap.New(coap.Config{
		EDHOC: &edhoc.Config{
			Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{p.key}, Peers: edhoc.Only(p.calls.peer),
		},
		Sessions: 4, MaxBody: oscore.DefaultMaxBody, AckTimeout: c.ack,
	})
	if err != nil {
		return fmt.Errorf("%v: %w", p, err)
	}
	c.out = newOutside(endpoint, p.address, c.ack, c.reached)
	c.socket, err = net.ListenPacket("udp", p.Listen.Address)
	if err != nil {
		return errors.Join(fmt.Errorf("%v: %w", p, err), endpoint.Close())
	}
	inside, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	c.inside = inside
	for l := range readings {
		c.work.Go(func() { c.deliver(l) })
	}
	c.work.Go(c.record)
	c.env.Serves(true)
	defer c.env.Serves(false)
	// What is read has its end by a deadline: the socket is still there for answers.
	stop := context.AfterFunc(ctx, func() { _ = c.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, 1<<16)
	for {
		n, addr, err := c.socket.ReadFrom(b)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, net.ErrClosed) {
			over()
			c.work.Wait()
			return errors.Join(fmt.Errorf("%v: %w", p, err), endpoint.Close())
		}
		if err == nil { // else it is about one datagram, such as ICMP's
			c.take(slices.Clone(b[:n]), addr)
		}
	}
	c.drain(c.policy().Limits.Drain)
	over()
	c.work.Wait()
	for len(c.behind) > 0 {
		(<-c.behind)()
	}
	return errors.Join(endpoint.Close(), c.socket.Close())
}

// reached tells people that the server cannot be reached, or can again.
func (c *Client) reached(yes bool) {
	p := c.policy()
	if yes {
		c.env.Log.Info("the server of the device answers again", "front", p.Name)
		return
	}
	const why = "it does not answer, or cannot prove its key: what the device says is kept, and not acknowledged"
	c.env.Log.Warn("the server of the device: "+why, "front", p.Name)
	c.later(func() { c.env.Refused(&p.Settings, p.Protected(), "server", "", why) })
}

// drain waits until nothing is kept any more, and not for longer than d. What is left
// the device was not told that it arrived.
func (c *Client) drain(d time.Duration) {
	end := time.NewTimer(d)
	defer end.Stop()
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for !c.kept.empty() || len(c.reads) > 0 {
		select {
		case <-end.C:
			c.env.Log.Warn("the front stops, and the server has not answered all that the device said; the device was not told that it arrived", "front", c.policy().Name)
			return
		case <-t.C:
		}
	}
}

// own reports whether an address is the device's.
func (c *calls) own(a net.Addr) bool {
	u, ok := a.(*net.UDPAddr)
	return ok && slices.Contains(c.from, u.AddrPort().Addr().Unmap().WithZone(""))
}

// unlisted takes a datagram of somebody who is perhaps the device, with another address:
// an alarm of it has to reach people. It has a few places of its own and a lane of its own,
// is acknowledged when the server has it, and is answered nothing else.
func (c *Client) unlisted(b []byte, addr net.Addr) {
	p := c.policy()
	host, _, _ := net.SplitHostPort(addr.String())
	refused := func(operation, why string) {
		c.later(func() {
			c.env.Refused(&p.Settings, device.Address{Kind: device.IP, Value: host}, operation, "", why)
		})
	}
	var m protocol.Message
	if m.Parse(b) == nil && (m.Code == protocol.Empty || m.Code == protocol.GET || m.Code == protocol.FETCH) {
		refused("datagram", "it is not from an address of the device")
		return
	}
	r := &report{message: coap.Request(protocol.POST, unlistedPath, formatBytes, b), lane: unlisted, addr: addr}
	if c.kept.has(r) {
		return
	}
	if len(c.kept.put(r)) > 0 {
		refused("datagram", "it is not from an address of the device, and the places of others are taken")
		return
	}
	refused("datagram", "it is not from an address of the device: the server is told so, at "+unlistedPath)
}

// acknowledge tells somebody unlisted that what was sent has arrived.
func (c *Client) acknowledge(r *report) {
	var m protocol.Message
	if m.Parse(r.message.Payload) != nil || !m.Code.Request() {
		return
	}
	a := protocol.Message{Type: protocol.Acknowledgement, Code: protocol.Changed, ID: m.ID, Token: m.Token}
	if m.Type != protocol.Confirmable {
		a.Type, a.ID = protocol.NonConfirmable, c.id()
	}
	if b, err := a.Append(nil); err == nil {
		_, _ = c.socket.WriteTo(b, r.addr)
	}
}

// take takes a datagram.
func (c *Client) take(b []byte, addr net.Addr) {
	p := c.policy()
	if !p.calls.own(addr) {
		c.unlisted(b, addr)
		return
	}
	c.env.Metrics.Bytes(p.Name, false, len(b))
	var m protocol.Message
	sealed := false // for somebody else than the guard
	if m.Parse(b) == nil {
		_, sealed = m.Options.Get(protocol.OSCOREOption)
	} else {
		m.Code = protocol.Abort // no request
	}
	switch {
	case m.Code == protocol.Empty && m.Type == protocol.Confirmable: // a ping (RFC 7252 section 4.3)
		pong := protocol.Message{Type: protocol.Reset, ID: m.ID}
		if a, err := pong.Append(nil); err == nil {
			_, _ = c.socket.WriteTo(a, addr)
		}
	case m.Code == protocol.Empty:
		c.told(m.ID, m.Type == protocol.Acknowledgement)
	case !m.Code.Request() || sealed:
		c.raw(b)
	default:
		c.request(b, addr)
	}
}

// raw keeps for the server what cannot be read.
func (c *Client) raw(b []byte) {
	c.env.Metrics.Message(c.policy().Name, false, "raw")
	c.keep(&report{message: coap.Request(protocol.POST, rawPath, formatBytes, b), lane: measurements})
}

// request takes a request of the device, which is done once however often it comes.
func (c *Client) request(b []byte, addr net.Addr) {
	x := &asked{addr: addr, datagram: b, at: time.Now()}
	x.key = sha256.Sum256(append([]byte(addr.String()+"\x00"), b...))
	if !c.first(x) {
		return
	}
	whole, answer, err := c.bodies.Add(addr.String(), b, time.Since(c.began))
	if whole == nil || err != nil {
		if err != nil {
			c.raw(b) // it is no block of a body here, and people may still make something of it
		}
		var m protocol.Message
		if m.Parse(answer) != nil || x.message.Parse(b) != nil {
			c.forget(x) // not reached: both were read, or made, before
			return
		}
		c.reply(x, m, false, func() {})
		return
	}
	if x.message.Parse(whole) != nil {
		c.forget(x) // not reached: it was put together here
		return
	}
	p := c.policy()
	x.path = coap.Path(&x.message)
	x.resource = p.calls.at(x.path)
	known := "other" // nobody has said that a path which is not declared is no patient's
	if x.resource != nil {
		known = x.path
	}
	if !x.reads() {
		r := &report{asked: x, message: forward(&x.message), lane: measurements}
		if x.resource != nil && x.resource.alarms {
			r.lane = alarms
		}
		c.env.Metrics.Message(p.Name, false, [...]string{"alarm", "report"}[r.lane])
		c.env.Learned.Saw(p.Name, "report", x.message.Code.String(), known)
		c.keep(r)
		return
	}
	c.env.Metrics.Message(p.Name, false, "read")
	c.env.Learned.Saw(p.Name, "read", x.message.Code.String(), known)
	select {
	case c.reads <- struct{}{}:
	default:
		c.reply(x, protocol.Message{Code: protocol.ServiceUnavailable}, false, func() {})
		return
	}
	c.work.Go(func() {
		defer func() { <-c.reads }()
		c.read(x)
	})
}

// first reports whether a request is a new one. One that was answered is answered again.
func (c *Client) first(x *asked) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.answered.Front(); e != nil; e = c.answered.Front() {
		old := e.Value.(*asked)
		if c.answered.Len() <= maxAnswered && x.at.Sub(old.at) < exchangeLives {
			break
		}
		c.answered.Remove(e)
		delete(c.asked, old.key)
	}
	if old := c.asked[x.key]; old != nil {
		if old.answer != nil && (!old.command || x.at.Sub(old.at) < commandFresh) {
			_, _ = c.socket.WriteTo(old.answer, x.addr)
		}
		return false
	}
	c.asked[x.key] = x
	return true
}

// forget forgets a request that was not answered, and will not be: it may come again.
func (c *Client) forget(x *asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[x.key] == x {
		delete(c.asked, x.key)
	}
}

// keep keeps a report until the server has answered it.
func (c *Client) keep(r *report) {
	for _, d := range c.kept.put(r) {
		if d.asked != nil {
			c.forget(d.asked)
		}
		c.lost([...]string{"alarm", "report"}[d.lane], "the server is away, and there is no place to keep it: the oldest goes")
	}
}

// lost records that something of the device did not reach its server.
func (c *Client) lost(what, why string) {
	p := c.policy()
	c.env.Log.Warn("what the device said is lost", "front", p.Name, "what", what, "why", why)
	c.later(func() { c.env.Refused(&p.Settings, p.Protected(), what, "", why) })
}

// later records something behind what the device says, which waits for no disk.
func (c *Client) later(record func()) {
	select {
	case c.behind <- record:
	default:
		c.env.Log.Error("more happened than could be recorded", "front", c.policy().Name)
	}
}

func (c *Client) record() {
	for {
		select {
		case f := <-c.behind:
			f()
		case <-c.inside.Done():
			return
		}
	}
}

// deliver tells the server what the device says in a lane, the oldest first.
func (c *Client) deliver(l lane) {
	for c.inside.Err() == nil {
		r := c.kept.first(l)
		if r == nil {
			select {
			case <-c.kept.more[l]:
			case <-c.inside.Done():
			}
			continue
		}
		ctx, cancel := context.WithTimeout(c.inside, deliverWithin*c.ack)
		a, made, err := c.out.do(ctx, l, &r.message)
		cancel()
		switch {
		case err == nil && r.asked != nil:
			c.kept.done(r)
			c.arrived(r.asked, &a, made)
		case err == nil && r.lane == unlisted:
			if c.kept.done(r); a.Code.Class() == 2 {
				c.acknowledge(r)
			} else {
				c.lost("unlisted", "the server does not take what comes from another address: "+a.Code.String())
			}
		case err == nil:
			if c.kept.done(r); a.Code.Class() != 2 {
				c.lost("raw", "the server does not take what nobody can read: "+a.Code.String())
			}
		case errors.Is(err, oscore.ErrMessage) && r.asked != nil: // it cannot be said as it is
			c.kept.done(r)
			c.forget(r.asked)
			c.raw(r.asked.datagram)
		case errors.Is(err, oscore.ErrMessage) || errors.Is(err, oscore.ErrTooLarge):
			c.kept.done(r)
			c.lost("raw", "it does not fit what the server is told")
		default:
			select { // not at once: what failed may be here
			case <-time.After(100 * time.Millisecond):
			case <-c.inside.Done():
			}
		}
	}
}

// arrived answers a report, beside those that come behind it: what is recorded of an
// answer holds up no alarm. When much waits for the disk the device is told that it
// arrived, and no more.
func (c *Client) arrived(x *asked, a *protocol.Message, made time.Time) {
	select {
	case c.reads <- struct{}{}:
		c.work.Go(func() {
			defer func() { <-c.reads }()
			c.answer(x, a, made)
		})
	default:
		c.later(func() { c.refused("answer", "too many answers wait for the disk") })
		c.reply(x, withheld(x, a.Code), false, func() {})
	}
}

// read asks the server for something that the device wants to know.
func (c *Client) read(x *asked) {
	d := x.resource
	o, ok := x.message.Options.Get(protocol.Observe)
	if v, fits := o.Uint(); ok && fits && x.message.Code == protocol.GET && d != nil && d.observe {
		switch {
		case v == 0 && c.watch(x):
			return
		case v == 1:
			c.unwatch(x)
		}
	}
	ctx, cancel := context.WithTimeout(c.inside, readWithin*c.ack)
	defer cancel()
	m := forward(&x.message)
	a, made, err := c.out.do(ctx, readings, &m)
	if err != nil {
		c.reply(x, protocol.Message{Code: protocol.GatewayTimeout}, false, func() {})
		return
	}
	c.answer(x, &a, made)
}

// forward is a request of the device as the server is asked: where to is the guard's to
// say, blocks and observations are of each side by itself.
func forward(m *protocol.Message) protocol.Message {
	out := protocol.Message{Code: m.Code, Payload: m.Payload}
	last := protocol.OptionNumber(0)
	for o := range m.Options.All() {
		switch o.Number {
		case protocol.URIHost, protocol.URIPort, protocol.ProxyURI, protocol.ProxyScheme, protocol.HopLimit, protocol.EDHOC, protocol.Observe,
			protocol.Block1, protocol.Block2, protocol.Size1, protocol.Size2, protocol.QBlock1, protocol.QBlock2, protocol.NoResponse,
			protocol.Echo, protocol.RequestTag:
			continue
		}
		out.Options = protocol.AppendOption(out.Options, last, o)
		last = o.Number
	}
	return out
}

// id is a Message ID of the front's own.
func (c *Client) id() uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	return c.number
}

// reply answers a request of the device, and reports whether the device may have heard
// it: a report that had to go for others is not answered. Sending is called when the
// answer is about to go out.
func (c *Client) reply(x *asked, m protocol.Message, command bool, sending func()) bool {
	m.Type, m.ID, m.Token = protocol.Acknowledgement, x.message.ID, x.message.Token
	if x.message.Type != protocol.Confirmable {
		m.Type, m.ID = protocol.NonConfirmable, c.id()
	}
	b, err := c.cut(x, m)
	if err != nil {
		c.forget(x)
		return false
	}
	c.mu.Lock()
	if c.asked[x.key] != x {
		c.mu.Unlock()
		return false
	}
	said := &asked{key: x.key, at: x.at, answer: b, command: command} // of the request nothing else is kept
	c.asked[x.key] = said
	c.answered.PushBack(said)
	c.mu.Unlock()
	sending()
	c.env.Metrics.Bytes(c.policy().Name, true, len(b))
	_, _ = c.socket.WriteTo(b, x.addr)
	return true
}

// cut is an answer as one datagram: the block of it that the device asks for, or the
// code alone where it cannot ask for more.
func (c *Client) cut(x *asked, m protocol.Message) ([]byte, error) {
	b, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	cut, err := oscore.AppendBlock(nil, x.datagram, b, 6)
	if err == nil {
		return cut, nil
	}
	c.refused("answer", "it does not fit what the device asked for")
	m.Options, m.Payload = nil, nil
	if errors.Is(err, oscore.ErrBlock) {
		m.Code = protocol.BadRequest
	}
	return m.Append(nil)
}
