// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
	"github.com/myelin-health/myelin/proto/coap"
)

// crowd is a socket that any number of addresses write to, in memory. It waits for a
// place, so that nothing is lost.
type crowd struct {
	in   chan datagram
	done chan struct{}
	once sync.Once

	mu    sync.Mutex
	links map[string]*member
	codes map[coap.Code]int // of answers to those who are no members
	total int               // of them
	told  *sync.Cond
}

type datagram struct {
	b    []byte
	from net.Addr
}

func newCrowd() *crowd {
	c := &crowd{in: make(chan datagram, 64), done: make(chan struct{}), links: map[string]*member{}, codes: map[coap.Code]int{}}
	c.told = sync.NewCond(&c.mu)
	return c
}

func (c *crowd) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d.b), d.from, nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *crowd) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.links[to.String()]; m != nil {
		m.out <- append([]byte(nil), b...)
	} else if len(b) > 1 {
		c.codes[coap.Code(b[1])]++
		c.total++
		c.told.Signal()
	}
	return len(b), nil
}

func (c *crowd) write(b []byte, from net.Addr) {
	select {
	case c.in <- datagram{append([]byte(nil), b...), from}:
	case <-c.done:
	}
}

// answered waits until strangers got so many answers.
func (c *crowd) answered(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.total < n {
		c.told.Wait()
	}
}

func (c *crowd) Close() error                     { c.once.Do(func() { close(c.done) }); return nil }
func (c *crowd) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (c *crowd) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *crowd) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *crowd) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// member is one who gets what is written to him: a Link.
type member struct {
	c    *crowd
	addr net.Addr
	out  chan []byte
	done chan struct{}
	once sync.Once
}

func address(n int) net.Addr {
	return &net.UDPAddr{IP: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n)), Port: 5683}
}

func (c *crowd) join(n int) *member {
	m := &member{c: c, addr: address(n), out: make(chan []byte, 64), done: make(chan struct{})}
	c.mu.Lock()
	c.links[m.addr.String()] = m
	c.mu.Unlock()
	return m
}

func (m *member) Send(b []byte) error { m.c.write(b, m.addr); return nil }
func (m *member) Peer() string        { return "server" }
func (m *member) Close() error        { m.once.Do(func() { close(m.done) }); return nil }
func (m *member) Receive(b []byte) (int, error) {
	select {
	case r := <-m.out:
		return copy(b, r), nil
	case <-m.done:
		return 0, net.ErrClosed
	}
}

// serveCrowd serves a crowd until the test ends.
func serveCrowd(t testing.TB, e *Endpoint) *crowd {
	c := newCrowd()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, c) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// halfOpen begins n handshakes, each from an address of its own, and none is ended.
// Paced, it does not go on before most were answered.
func halfOpen(t testing.TB, c *crowd, cfg *edhoc.Config, n int, paced bool) {
	t.Helper()
	i, err := edhoc.NewInitiator(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	message1, err := i.Message1(nil)
	if err != nil {
		t.Fatal(err)
	}
	for k := range n {
		m := Request(coap.POST, edhoc.Path, edhoc.CIDContentFormat, edhoc.AppendStart(nil, message1))
		m.Type, m.ID, m.Token = coap.Confirmable, uint16(k), []byte{1}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if paced {
			c.answered(k - 32)
		}
		c.write(b, address(1<<20+k))
	}
	if paced {
		c.answered(n)
	}
}

// TestFlood begins 10,000 handshakes from as many addresses. A peer with a session
// goes on meanwhile, and only as many are open as the limits say.
func TestFlood(t *testing.T) {
	for _, limits := range []edhoc.Limits{{}, many} {
		if testing.Short() && limits == many {
			continue // ten thousand handshakes are computed
		}
		a, b := two(t)
		b.Limits = limits
		eb := endpoint(t, b)
		c := serveCrowd(t, eb)
		ea := endpoint(t, a)
		ca := ea.Attach(c.join(1))
		s, err := ca.Handshake(within(t, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		mustGet(t, ca, s, "/therapy")
		flooded := make(chan struct{})
		go func() { defer close(flooded); halfOpen(t, c, a.EDHOC, 10000, limits == many) }()
		asked := 0
		for going := true; going; asked++ {
			select {
			case <-flooded:
				going = false
			default:
			}
			mustGet(t, ca, s, fmt.Sprintf("/therapy/%d", asked))
		}
		eb.mu.Lock()
		conns, pending := len(eb.byAddr), len(eb.pending)
		eb.mu.Unlock()
		if conns > 256 {
			t.Errorf("%d connections", conns)
		}
		if limits == many {
			if n := eb.HalfOpen(); n != 10000 {
				t.Errorf("%d are half open", n)
			}
		} else if n := eb.HalfOpen(); n > 32 || pending > 32+1 {
			t.Errorf("%d are half open, %d remembered", n, pending)
		} else if c.mu.Lock(); c.codes[coap.ServiceUnavailable] == 0 {
			c.mu.Unlock()
			t.Error("none was refused")
		} else {
			c.mu.Unlock()
		}
		if asked < 10 {
			t.Errorf("only %d requests went through meanwhile", asked)
		}
	}
}

// TestNewcomers has peers that went away in all places, and one of them observe. Two others then make
// their sessions at the same time, and neither takes the other's place, nor his who observes.
func TestNewcomers(t *testing.T) {
	a, b := two(t)
	b.Conns = 8
	b.Handler = PeerHandler(time.Now)
	var slow atomic.Bool
	began, goOn := make(chan struct{}), make(chan struct{})
	b.Accept = func(*Session, []edhoc.EAD) error {
		if slow.CompareAndSwap(true, false) {
			close(began)
			<-goOn
		}
		return nil
	}
	ea, eb := endpoint(t, a), endpoint(t, b)
	c := serveCrowd(t, eb)
	join := func(n int) (*Conn, *Session, error) {
		ca := ea.Attach(c.join(n))
		s, err := ca.Handshake(within(t, time.Minute))
		if err == nil {
			_, err = ca.Get(within(t, time.Minute), s, "/time")
		}
		return ca, s, err
	}
	for n := range b.Conns {
		ca, s, err := join(n)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			o, err := ca.Observe(within(t, time.Minute), s, "/time")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = o.Close(within(t, time.Minute)) }()
		}
	}
	place := func(n int) *Conn {
		eb.mu.Lock()
		defer eb.mu.Unlock()
		return eb.byAddr[address(n).String()]
	}
	observes := place(0)
	slow.Store(true)
	done := make(chan error, 1)
	go func() { _, _, err := join(b.Conns); done <- err }()
	<-began
	was := place(b.Conns)
	for n := range b.Conns {
		if _, _, err := join(b.Conns + 1 + n); err != nil {
			t.Fatal(err)
		}
	}
	if was == nil || place(b.Conns) != was {
		t.Error("a newcomer has lost his place while he made his session")
	}
	if observes == nil || place(0) != observes {
		t.Error("a peer that observes has lost its place")
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// peers is how many have a session with one [Endpoint] in a test.
const peers = 10000

// tenThousand is an endpoint with so many peers, and the bytes that they use.
func tenThousand(t testing.TB) (e *Endpoint, used uint64) {
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	a, b := two(t)
	done := new(edhoc.Session)
	e = endpoint(t, b)
	before := live()
	for i := range peers {
		h := &handshake{e: e}
		cfg, err := h.config()
		if err != nil {
			t.Fatal(err)
		}
		if i < 100 { // whole handshakes; what they leave is a session like those below
			if done, err = edhocPair(a.EDHOC, cfg); err != nil {
				t.Fatal(err)
			}
			if err := h.finish(done); err != nil {
				t.Fatal(err)
			}
			h.over(true)
			continue
		}
		id, err := h.reserve(nil)
		if err != nil {
			t.Fatal(err)
		}
		osc, err := oscore.New(oscore.Params{MasterSecret: peerSecret, MasterSalt: peerSalt, SenderID: []byte{0xff, 0, 1, 2}, RecipientID: id})
		if err != nil {
			t.Fatal(err)
		}
		s := &Session{Protection: OSCORE, Peer: b.EDHOC.Own[0].Credential(), CI: []byte{1}, CR: id, osc: osc, id: string(id)}
		s.confirmed.Store(true)
		if err := e.add(s); err != nil {
			t.Fatal(err)
		}
		h.over(true)
	}
	return e, live() - before
}

// TestTenThousand has 10,000 peers with a session in less than 40 MB.
func TestTenThousand(t *testing.T) {
	e, used := tenThousand(t)
	t.Logf("%d sessions, %d bytes each", len(e.Sessions()), used/peers)
	if len(e.Sessions()) != peers || used > 40<<20 {
		t.Errorf("%d sessions in %d bytes", len(e.Sessions()), used)
	}
	// One more makes room for itself.
	h := &handshake{e: e}
	id, _ := h.reserve(nil)
	if _, err := e.Add(oscore.Params{MasterSecret: peerSecret, SenderID: []byte{1}, RecipientID: append(id, 1)}); err != nil || len(e.Sessions()) != peers {
		t.Errorf("%d sessions: %v", len(e.Sessions()), err)
	}
	runtime.KeepAlive(e)
}

// edhocPair runs a handshake without anything between, and returns the Responder's.
func edhocPair(a, b *edhoc.Config) (*edhoc.Session, error) {
	i, err := edhoc.NewInitiator(a, nil)
	if err != nil {
		return nil, err
	}
	r, err := edhoc.NewResponder(b)
	if err != nil {
		return nil, err
	}
	m, err := i.Message1(nil)
	if err == nil {
		err = r.Message1(m)
	}
	if err == nil {
		m, err = r.Message2(nil)
	}
	if err == nil {
		err = i.Message2(m)
	}
	if err == nil {
		m, err = i.Message3(nil)
	}
	if err == nil {
		err = r.Message3(m)
	}
	if err != nil {
		return nil, err
	}
	return r.Session()
}

// TestBudget lets one peer begin as many handshakes as it has attempts, and one more
// that says that it is an emergency.
func TestBudget(t *testing.T) {
	a, b := two(t)
	b.Limits = edhoc.Limits{}
	b.Emergency = func(ead []edhoc.EAD) bool { return len(ead) == 1 && ead[0].Label == 9 }
	e := endpoint(t, b)
	l, _ := onAir(1, 0, 0, 0)
	c := e.newConn("10.0.0.9", l.Send)
	begin := func(ead ...edhoc.EAD) coap.Code {
		i, err := edhoc.NewInitiator(a.EDHOC, nil)
		if err != nil {
			t.Fatal(err)
		}
		message1, err := i.Message1(nil, ead...)
		if err != nil {
			t.Fatal(err)
		}
		m := Request(coap.POST, edhoc.Path, edhoc.CIDContentFormat, edhoc.AppendStart(nil, message1))
		return e.serve(c, &m).Code
	}
	emergency := edhoc.EAD{Label: 9, Value: []byte{1}}
	for i, want := range []coap.Code{coap.Changed, coap.Changed, coap.Changed, coap.Changed, coap.Changed, coap.ServiceUnavailable} {
		if got := begin(); got != want {
			t.Errorf("attempt %d: %v", i+1, got)
		}
	}
	if got := begin(emergency); got != coap.Changed {
		t.Errorf("an emergency: %v", got)
	}
	if got := begin(emergency); got != coap.ServiceUnavailable {
		t.Errorf("another at once: %v", got)
	}
	empty := Request(coap.POST, edhoc.Path, 0, nil)
	if got := e.serve(c, &empty).Code; got != coap.ServiceUnavailable {
		t.Errorf("the reverse flow: %v", got)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.pending) != 6 {
		t.Errorf("%d handshakes are remembered", len(e.pending))
	}
}
