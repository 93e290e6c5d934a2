// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/device"
)

// A Conn is a connection that a front accepted. Its deadlines are kept by the
// front's limits: whoever reads a message calls [Conn.Begin] with its first byte
// and [Conn.End] with its last.
type Conn struct {
	net.Conn
	Peer        device.Address    // by IP address
	Certificate *x509.Certificate // that it proved; nil without TLS or without one
	Settings    *Settings         // as they were when it was accepted

	begun    atomic.Int64 // nanoseconds since 1970; 0: no message is under way
	received atomic.Int64 // bytes of the message under way
	first    atomic.Bool  // a message has begun
	drained  atomic.Bool  // the front stops: nothing new begins
	own      bool         // of the device itself; see [Conn.Own]
	now      func() time.Time
}

// ErrDraining is what a connection reads between two messages when its front stops.
var ErrDraining = errors.New("front: the guard stops")

// NewConn gives a connection that a front opened itself the deadlines of the
// front's limits.
func NewConn(c net.Conn, s *Settings, now func() time.Time) *Conn {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return &Conn{Conn: c, Peer: device.Address{Kind: device.IP, Value: host}, Settings: s, now: now}
}

// Actor names who is at the other end by what it proved: "cert-" and sixteen
// hexadecimal digits of the certificate's SHA-256, or "".
func (c *Conn) Actor() string {
	if c.Certificate == nil {
		return ""
	}
	sum := sha256.Sum256(c.Certificate.Raw)
	return "cert-" + hex.EncodeToString(sum[:8])
}

// Names are those of the certificate that was proved: what [Conn.Actor] says, its
// DNS names and URIs, or, when it has neither, its common name.
func (c *Conn) Names() []string {
	if c.Certificate == nil {
		return nil
	}
	names := append([]string{c.Actor()}, c.Certificate.DNSNames...)
	for _, u := range c.Certificate.URIs {
		names = append(names, u.String())
	}
	if cn := c.Certificate.Subject.CommonName; len(names) == 1 && cn != "" {
		names = append(names, cn)
	}
	return names
}

// Known is the name by which a list knows the certificate that was proved, also when it
// is renewed: the first of its names, or else what [Conn.Actor] says; "" without one.
func (c *Conn) Known() string {
	names := c.Names()
	if len(names) > 1 {
		return names[1]
	}
	return c.Actor()
}

// CloseWrite says that nothing more will be sent, by the end of TLS's stream or of TCP's.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}

// Protection is what the connection proves of a message.
func (c *Conn) Protection() device.Protection {
	var p device.Protection
	if _, ok := c.Conn.(*tls.Conn); ok {
		p = device.Encrypted
		if c.Certificate != nil {
			p |= device.Authenticated | device.Fresh
		}
	}
	return p
}

// Own reports whether it is the device's own, by its address ([Settings.From]) when
// it was accepted.
func (c *Conn) Own() bool { return c.own }

// Begin says that a message has begun, and End that it is whole.
func (c *Conn) Begin() {
	if c.begun.Load() == 0 {
		c.received.Store(0)
		c.begun.Store(c.now().UnixNano())
		c.first.Store(true)
	}
}

// End says that a message is whole.
func (c *Conn) End() { c.begun.Store(0) }

// Read reads under the deadline that holds now.
func (c *Conn) Read(b []byte) (int, error) {
	l := &c.Settings.Limits
	var deadline time.Time
	switch begun := c.begun.Load(); {
	case c.own: // it keeps nobody's place, and what it is slow to say may be an alarm
		deadline = c.now().Add(l.Idle)
	case begun != 0: // who sends steadily may take as long as it takes at the least rate
		deadline = time.Unix(0, begun).Add(l.Unfinished + time.Duration(c.received.Load())*time.Second/time.Duration(l.Progress))
	case c.first.Load():
		deadline = c.now().Add(l.Idle)
	default:
		deadline = c.now().Add(l.First)
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	if c.drained.Load() && c.begun.Load() == 0 {
		return c.last(b)
	}
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	if err != nil && n == 0 && c.drained.Load() && c.begun.Load() == 0 {
		return c.last(b)
	}
	return n, err
}

// glance is how long a connection of a front that stops is looked at for a message
// that has come and was not read yet.
const glance = 10 * time.Millisecond

// last reads what has come already, of a front that stops.
func (c *Conn) last(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.now().Add(glance)); err != nil {
		return 0, err
	}
	if n, _ := c.Conn.Read(b); n > 0 {
		return n, nil
	}
	return 0, ErrDraining
}

// drain ends the wait for a next message. Whoever reads sets the deadline first and
// looks whether it may wait afterwards, so that one of the two sees the other.
func (c *Conn) drain() {
	c.drained.Store(true)
	if c.begun.Load() == 0 {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// Write writes; a peer that does not take it within the time of an unfinished
// message is given up.
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(c.now().Add(c.Settings.Limits.Unfinished)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// A Listener accepts a front's connections within its limits. It is for one
// [Listener.Serve].
type Listener struct {
	Env      *Env
	Settings func() *Settings // those that hold now
	Handle   func(ctx context.Context, c *Conn)

	mu      sync.Mutex
	peers   map[string]*peer
	open    map[*Conn]struct{}
	own     int  // of these, the device's own
	stopped bool // nothing new begins
}

// A peer is one address that connects.
type peer struct {
	open int
	rate *rate.Limiter
	last time.Time
}

const maxPeers = 4096 // addresses remembered

// Serve accepts until ctx ends. Then it takes no more connections, cancels
// nothing that was begun, and waits for the handlers until the drain time is over,
// when it closes what is left. It owns ln.
//
// A handler's context ends when the drain time is over. Whoever reads a [Conn]
// between two messages is told earlier, by [ErrDraining], and whoever asks by
// [Draining] of the context.
func (l *Listener) Serve(ctx context.Context, ln net.Listener) error {
	l.peers, l.open = map[string]*peer{}, map[*Conn]struct{}{}
	defer ln.Close()
	l.Env.Serves(true)
	defer l.Env.Serves(false)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	work, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), drainKey{}, ctx.Done()))
	defer cancel()
	var wg sync.WaitGroup
	var failed error
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			break
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				failed = err
				break
			}
			// Out of file descriptors, most often: what is open goes on, and some of it will end.
			l.Env.Log.Warn("accept", "front", l.Settings().Name, "err", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			l.serve(work, c)
		}()
	}
	l.mu.Lock()
	l.stopped = true
	for c := range l.open {
		c.drain()
	}
	l.mu.Unlock()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return failed
	case <-time.After(l.Settings().Limits.Drain):
	}
	cancel()
	l.mu.Lock()
	for c := range l.open {
		c.Conn.Close()
	}
	l.mu.Unlock()
	<-done
	return failed
}

type drainKey struct{}

// Draining returns a channel that closes when the front stops: whoever waits
// for a next message waits no more.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return c
}

func (l *Listener) serve(ctx context.Context, raw net.Conn) {
	s := l.Settings()
	below := newSocket(raw)
	c := NewConn(below, s, l.Env.Now)
	host := c.Peer.Value
	defer raw.Close()
	if why := l.enter(c, host); why != "" {
		raw.Close()
		l.Env.Gate.Noted(l.Env.refusal(s, c.Peer, "connect", "", why, true)) // no flood waits here for the disk
		return
	}
	defer l.leave(c, host)
	if s.Listen.TLS != nil {
		t := tls.Server(below, s.Listen.TLS)
		hs, cancel := context.WithTimeout(ctx, s.Limits.Handshake)
		err := t.HandshakeContext(hs)
		cancel()
		if err != nil {
			if !c.drained.Load() {
				l.Env.Refused(s, c.Peer, "connect", "", "no secure channel: "+tlsReason(err))
			}
			return
		}
		l.mu.Lock()
		c.Conn = t
		l.mu.Unlock()
		if chain := t.ConnectionState().PeerCertificates; len(chain) > 0 {
			c.Certificate = chain[0]
		}
	}
	l.Handle(ctx, c)
}

// A socket is a connection as the system has it, below TLS if there is TLS. It
// notes its end, has what it read acknowledged, and may read ahead.
type socket struct {
	net.Conn
	system syscall.RawConn // nil: it is none of the system's
	seen   atomic.Bool     // its end
	ahead  []byte          // what was read and not yet asked for; nil reads nothing ahead
	room   []byte
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c}
	if of, ok := c.(syscall.Conn); ok {
		s.system, _ = of.SyscallConn()
	}
	return s
}

// Read has the system acknowledge at once what was all that had come. It delays that
// otherwise (RFC 1122 section 4.2.3.2), in the hope of an answer that carries it, and a
// peer whose own system waits for it before it sends another small segment (RFC 896),
// as DCMTK's does between the header of a PDU and its body, stands still for 40 ms.
func (s *socket) Read(b []byte) (n int, err error) {
	if len(s.ahead) == 0 {
		into := b
		if len(b) < len(s.room) {
			into = s.room
		}
		n, err = s.Conn.Read(into)
		if s.system != nil && 0 < n && n < len(into) {
			s.system.Control(acknowledge)
		}
		if errors.Is(err, io.EOF) {
			s.seen.Store(true)
		}
		if len(b) >= len(s.room) {
			return n, err
		}
		s.ahead = s.room[:n]
	}
	n = copy(b, s.ahead)
	s.ahead = s.ahead[n:]
	return n, err
}

// CloseWrite ends what is sent, where the connection can do that by itself.
func (s *socket) CloseWrite() error {
	if h, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return s.Close()
}

// NetConn returns the connection itself.
func (s *socket) NetConn() net.Conn { return s.Conn }

// maxRecord is more than the longest TLS record (RFC 8446 section 5.2).
const maxRecord = 5 + 1<<14 + 256

// ReadAhead lets a connection with TLS read into room, as long as it is used,
// what comes behind the record in hand: crypto/tls asks the system for each record
// alone. It is called before whoever reads next. Without TLS it does nothing.
func (c *Conn) ReadAhead(room []byte) {
	if t, ok := c.Conn.(*tls.Conn); ok {
		if s, ok := t.NetConn().(*socket); ok {
			s.room = room
		}
	}
}

// Ahead reports whether a further record is there, so that the next Read does
// not wait. It is for who reads.
func (c *Conn) Ahead() bool {
	if t, ok := c.Conn.(*tls.Conn); ok {
		if s, ok := t.NetConn().(*socket); ok {
			return len(s.ahead) >= maxRecord
		}
	}
	return false
}

// Cut reports whether the other side's stream, which ended with [io.EOF], was
// cut: its connection ended and its TLS did not. crypto/tls takes both for an end,
// as browsers do; whoever cuts a connection could so pass off a part as the whole.
func Cut(c net.Conn) bool {
	if f, ok := c.(*Conn); ok {
		c = f.Conn
	}
	t, ok := c.(*tls.Conn)
	if !ok {
		return false
	}
	s, ok := t.NetConn().(*socket)
	return ok && s.seen.Load()
}

// Reset cuts a connection, so that nobody takes what was sent for all of it. TLS
// would first say goodbye, and TCP would end it as usual.
func Reset(c net.Conn) {
	for {
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = below.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// tlsReason is why a handshake failed, in words of ours: the peer's bytes are not repeated.
func tlsReason(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "its certificate is from no authority that is trusted here"
	case errors.As(err, &invalid):
		return "its certificate has expired or is not for this"
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	}
	return "the handshake failed"
}

// enter counts a connection in, or says why it may not.
func (l *Listener) enter(c *Conn, host string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.own = c.Settings.Own(host); c.own {
		if l.own >= c.Settings.Limits.Connections {
			return "too many connections of the device itself"
		}
		l.own++
		l.admit(c)
		return ""
	}
	now := l.Env.Now()
	p := l.peers[host]
	if p == nil {
		if len(l.peers) >= maxPeers {
			l.forget()
		}
		lim := c.Settings.Limits.Rate
		p = &peer{rate: rate.NewLimiter(rate.Limit(lim), int(10*lim))}
		l.peers[host] = p
	}
	p.last = now
	switch {
	case len(l.open)-l.own >= c.Settings.Limits.Connections:
		return "too many connections"
	case p.open >= c.Settings.Limits.PerPeer:
		return "too many connections of this address"
	case !p.rate.AllowN(now, 1):
		return "too many new connections a second of this address"
	}
	p.open++
	l.admit(c)
	return ""
}

func (l *Listener) admit(c *Conn) {
	l.open[c] = struct{}{}
	c.drained.Store(l.stopped)
	l.Env.Metrics.Connections(c.Settings.Name, 1)
}

// forget drops the address without a connection that was heard longest ago.
func (l *Listener) forget() {
	var oldest string
	var at time.Time
	for h, p := range l.peers {
		if p.open == 0 && (oldest == "" || p.last.Before(at)) {
			oldest, at = h, p.last
		}
	}
	delete(l.peers, oldest)
}

func (l *Listener) leave(c *Conn, host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	if c.own {
		l.own--
	} else if p := l.peers[host]; p != nil {
		p.open--
	}
	l.Env.Metrics.Connections(c.Settings.Name, -1)
}
