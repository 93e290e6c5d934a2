// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/testpeer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stand is a listener under test, that answers every line with the same line.
type stand struct {
	*Settings
	addr  string
	stop  func()
	begun chan struct{} // a message has

	mu   sync.Mutex
	said []string // why it refused
	ends []error  // of reads
}

func start(t *testing.T, change func(*Settings)) *stand {
	t.Helper()
	s := &stand{Settings: &Settings{Name: "f", Kind: "tcp", Device: "d", Limits: DefaultLimits}, begun: make(chan struct{}, 100)}
	s.Limits.Drain = 100 * time.Millisecond
	if change != nil {
		change(s.Settings)
	}
	g := gate.New(gate.Config{Now: time.Now, Record: func(e *event.Event) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.said = append(s.said, e.Text(event.Reason))
		return nil
	}})
	env := &Env{Gate: g, Metrics: NewMetrics(prometheus.NewRegistry()), Learned: &Learned{}, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	l := &Listener{Env: env, Settings: func() *Settings { return s.Settings }, Handle: s.echo}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Serve(ctx, ln) }()
	s.stop = sync.OnceFunc(func() { cancel(); <-done; g.Close() })
	t.Cleanup(s.stop)
	return s
}

func (s *stand) echo(_ context.Context, c *Conn) {
	r := bufio.NewReaderSize(c, 16)
	for {
		b, err := r.ReadByte()
		if err == nil {
			c.Begin()
			s.begun <- struct{}{}
			var line string
			line, err = r.ReadString('\n')
			c.End()
			if err == nil {
				_, err = io.WriteString(c, string(b)+line)
			}
		}
		if err != nil {
			s.mu.Lock()
			s.ends = append(s.ends, err)
			s.mu.Unlock()
			return
		}
	}
}

func (s *stand) dial(t *testing.T) net.Conn {
	t.Helper()
	return s.dialFrom(t, "127.0.0.1")
}

func (s *stand) dialFrom(t *testing.T, host string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// says sends a line and reports whether it comes back.
func says(c net.Conn) bool {
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && line == "hello\n"
}

func (s *stand) refused(t *testing.T, want string) {
	t.Helper()
	defer s.stop()
	for {
		s.mu.Lock()
		said := s.said
		s.mu.Unlock()
		if len(said) > 0 {
			if !strings.Contains(said[0], want) {
				t.Errorf("%q; want %q", said, want)
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestConnections holds each limit at its edge.
func TestConnections(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"too many connections":                              func(s *Settings) { s.Limits.Connections = 2 },
		"too many connections of this address":              func(s *Settings) { s.Limits.PerPeer = 2 },
		"too many new connections a second of this address": func(s *Settings) { s.Limits.Rate = 0.2 }, // a burst of two
	} {
		t.Run(want, func(t *testing.T) {
			s := start(t, change)
			a, b := s.dial(t), s.dial(t)
			if !says(a) || !says(b) {
				t.Fatal("the second one is within the limit")
			}
			if says(s.dial(t)) {
				t.Fatal("the third one is beyond")
			}
			if !says(a) {
				t.Fatal("the first one ended")
			}
			s.refused(t, want)
		})
	}
}

// TestOwn: what others take of each bound, the device finds its places; when it has
// none left itself, neither do others lose theirs.
func TestOwn(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"connections": func(s *Settings) { s.Limits.Connections = 2 },
		"per peer":    func(s *Settings) { s.Limits.Connections, s.Limits.PerPeer = 2, 1 },
		"rate":        func(s *Settings) { s.Limits.Connections, s.Limits.Rate = 2, 0.1 }, // a burst of one
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *Settings) {
				s.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.8/30")}
				change(s)
			})
			for i := range 12 {
				says(s.dialFrom(t, fmt.Sprintf("127.0.0.%d", 20+i/4)))
			}
			if says(s.dial(t)) {
				t.Fatal("others have places left")
			}
			first := s.dialFrom(t, "127.0.0.9")
			if !says(first) || !says(s.dialFrom(t, "127.0.0.9")) {
				t.Fatal("the device is kept out")
			}
			if says(s.dialFrom(t, "127.0.0.10")) {
				t.Error("more than the device's own places")
			}
			if !says(first) {
				t.Error("its first connection ended")
			}
			s.mu.Lock()
			s.ends = s.ends[:0]
			s.mu.Unlock()
			first.Close()
			for done := false; !done; time.Sleep(time.Millisecond) {
				s.mu.Lock()
				done = len(s.ends) > 0
				s.mu.Unlock()
			}
			for !says(s.dialFrom(t, "127.0.0.11")) { // until its place is given back, or the test ends by its time
			}
		})
	}
	t.Run("others", func(t *testing.T) {
		s := start(t, func(s *Settings) {
			s.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
			s.Limits.Connections = 1
		})
		if !says(s.dialFrom(t, "127.0.0.9")) || says(s.dialFrom(t, "127.0.0.9")) {
			t.Fatal("the device has one place")
		}
		if !says(s.dialFrom(t, "127.0.0.1")) { // the device, perhaps, with another address
			t.Error("the others have none")
		}
	})
	t.Run("slow", func(t *testing.T) {
		s := start(t, func(s *Settings) {
			s.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
			s.Limits.First, s.Limits.Unfinished, s.Limits.Progress = 10*time.Millisecond, 10*time.Millisecond, 1<<20
		})
		c := s.dialFrom(t, "127.0.0.9")
		time.Sleep(30 * time.Millisecond)
		for _, part := range []string{"hel", "lo\n"} {
			if _, err := io.WriteString(c, part); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
			t.Error(line, err)
		}
	})
}

// TestLast: what has come when a front stops is still taken, though nobody has read it.
func TestLast(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := NewConn(ours, &Settings{Limits: DefaultLimits}, time.Now)
	c.drain()
	go io.WriteString(theirs, "x")
	var b [1]byte
	for n, err := c.Read(b[:]); n == 0; n, err = c.Read(b[:]) {
		if !errors.Is(err, ErrDraining) {
			t.Fatal(err)
		}
	}
	if _, err := c.Read(b[:]); !errors.Is(err, ErrDraining) {
		t.Error(err)
	}
}

// TestGivesBack holds that a connection that ended makes room.
func TestGivesBack(t *testing.T) {
	s := start(t, func(s *Settings) { s.Limits.Connections, s.Limits.PerPeer = 1, 1 })
	for range 20 {
		c := s.dial(t)
		if !says(c) {
			t.Fatal("there is room")
		}
		c.Close()
		for { // until its end was seen
			s.mu.Lock()
			n := len(s.ends)
			s.ends = s.ends[:0]
			s.mu.Unlock()
			if n > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// TestSlow holds that nobody keeps a connection by sending little.
func TestSlow(t *testing.T) {
	ended := func(t *testing.T, s *stand, want error) {
		t.Helper()
		for {
			s.mu.Lock()
			ends := s.ends
			s.mu.Unlock()
			if len(ends) > 0 {
				if !errors.Is(ends[0], want) {
					t.Errorf("%v, want %v", ends[0], want)
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	t.Run("who says nothing", func(t *testing.T) {
		s := start(t, func(s *Settings) { s.Limits.First = 30 * time.Millisecond })
		s.dial(t)
		ended(t, s, os.ErrDeadlineExceeded)
	})
	t.Run("who says nothing more", func(t *testing.T) {
		s := start(t, func(s *Settings) { s.Limits.Idle = 30 * time.Millisecond })
		c := s.dial(t)
		if !says(c) {
			t.Fatal("the first line")
		}
		ended(t, s, os.ErrDeadlineExceeded)
	})
	t.Run("who does not end", func(t *testing.T) {
		s := start(t, func(s *Settings) { s.Limits.Unfinished, s.Limits.Progress = 30*time.Millisecond, 1<<20 })
		c := s.dial(t)
		if _, err := io.WriteString(c, "hel"); err != nil {
			t.Fatal(err)
		}
		ended(t, s, os.ErrDeadlineExceeded)
	})
	t.Run("who is slow, and sends steadily", func(t *testing.T) {
		s := start(t, func(s *Settings) { s.Limits.Unfinished, s.Limits.Progress = 30*time.Millisecond, 1 }) // a second for each byte
		c := s.dial(t)
		for _, b := range "hello\n" {
			time.Sleep(10 * time.Millisecond)
			if _, err := c.Write([]byte{byte(b)}); err != nil {
				t.Fatal(err)
			}
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
			t.Fatal(line, err)
		}
	})
}

// TestDrain holds that a front that stops lets a message end, waits for no new one, and does
// not wait for ever.
func TestDrain(t *testing.T) {
	s := start(t, func(s *Settings) { s.Limits.Drain = 10 * time.Second })
	idle, busy := s.dial(t), s.dial(t)
	if !says(idle) || !says(busy) {
		t.Fatal("both are served")
	}
	<-s.begun
	<-s.begun
	if _, err := io.WriteString(busy, "hel"); err != nil {
		t.Fatal(err)
	}
	<-s.begun
	began := make(chan struct{})
	stop := s.stop
	go func() { close(began); stop() }()
	<-began
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("who waits for nothing: %v", err)
	}
	if _, err := io.WriteString(busy, "lo\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(busy); err != nil || string(b) != "hello\n" {
		t.Errorf("a message under way: %q, %v", b, err)
	}

	s = start(t, func(s *Settings) { s.Limits.Drain = 30 * time.Millisecond })
	stuck := s.dial(t)
	if !says(stuck) {
		t.Fatal("it is served")
	}
	if _, err := io.WriteString(stuck, "hel"); err != nil {
		t.Fatal(err)
	}
	s.stop() // returns
	if _, err := stuck.Read(make([]byte, 1)); err == nil {
		t.Error("who does not end is still there")
	}
}

// TestTLS holds that without a certificate of a trusted authority nobody gets in, and that
// the reason is recorded.
func TestTLS(t *testing.T) {
	ours, theirs := testpeer.NewAuthority(t), testpeer.NewAuthority(t)
	secure := func(s *Settings) {
		s.Limits.Handshake = time.Second
		s.Listen.TLS = &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.Issue(t, "127.0.0.1")},
			ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		}
	}
	client := func(t *testing.T, s *stand, c *tls.Config) bool {
		t.Helper()
		c.RootCAs = ours.Pool()
		conn := tls.Client(s.dial(t), c)
		c.ServerName = "127.0.0.1"
		return says(conn)
	}
	t.Run("known", func(t *testing.T) {
		s := start(t, secure)
		if !client(t, s, &tls.Config{Certificates: []tls.Certificate{ours.Issue(t, "ehr")}}) {
			t.Error("a known client is refused")
		}
	})
	for want, c := range map[string]*tls.Config{
		"no authority that is trusted": {Certificates: []tls.Certificate{theirs.Issue(t, "ehr")}},
		"no secure channel":            {},
	} {
		s := start(t, secure)
		if client(t, s, c) {
			t.Errorf("%s: served", want)
		}
		s.refused(t, want)
	}
	s := start(t, secure)
	if says(s.dial(t)) {
		t.Error("in clear: served")
	}
	s.refused(t, "does not speak TLS")
	s = start(t, func(st *Settings) { secure(st); st.Limits.Handshake = 20 * time.Millisecond })
	c := s.dial(t)
	_, _ = c.Read(make([]byte, 1))
	s.refused(t, "took too long")
}

// TestReadAhead: with TLS what comes behind a record is read ahead, and nothing
// of it is lost, nor the end of the stream.
func TestReadAhead(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours := testpeer.NewAuthority(t)
	said := make([]byte, 100_000) // a socket has room for it
	for i := range said {
		said[i] = byte(i >> 8)
	}
	written := make(chan error)
	go func() {
		far, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1"})
		if err == nil {
			_, err = far.Write(said)
			far.Close()
		}
		written <- err
	}()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	secure := tls.Server(newSocket(near), &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.Issue(t, "127.0.0.1")}})
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	c := NewConn(secure, &Settings{Limits: DefaultLimits}, time.Now)
	c.ReadAhead(make([]byte, 64<<10))
	var got []byte
	b, records := make([]byte, 1<<14), 0
	for {
		ahead := c.Ahead()
		n, err := c.Read(b)
		if got = append(got, b[:n]...); err != nil {
			if err != io.EOF || Cut(c) || ahead {
				t.Errorf("%v, cut %t, ahead %t", err, Cut(c), ahead)
			}
			break
		}
		if ahead {
			records++
		}
	}
	if records == 0 {
		t.Error("nothing was read ahead")
	}
	if !bytes.Equal(got, said) {
		t.Errorf("%d of %d bytes", len(got), len(said))
	}
}

// A tape says what it was given, a piece a time, and counts how often the system is
// told to acknowledge.
type tape struct {
	net.Conn
	pieces []string
	system
}

type system struct {
	syscall.RawConn
	acknowledged int
}

func (s *system) Control(func(uintptr)) error         { s.acknowledged++; return nil }
func (c *tape) SyscallConn() (syscall.RawConn, error) { return &c.system, nil }
func (*tape) Write([]byte) (int, error)               { return 0, io.ErrClosedPipe }
func (c *tape) Read(b []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.pieces[0])
	c.pieces = c.pieces[1:]
	return n, nil
}

// TestAcknowledge: what is all that has come is acknowledged at once, and what
// fills the room is not, as more is there.
func TestAcknowledge(t *testing.T) {
	c := &tape{pieces: []string{"four", "eight---", "three", "end"}}
	s := newSocket(c)
	b := make([]byte, 8)
	for i, want := range []int{1, 1, 2, 3, 3} {
		s.Read(b)
		if c.acknowledged != want {
			t.Errorf("after read %d: acknowledged %d times, want %d", i, c.acknowledged, want)
		}
	}
	c.pieces = []string{"four", "sixteen---------"}
	s.room = make([]byte, 16)
	for i, want := range []int{4, 4, 4} { // the last has what was read ahead
		s.Read(b)
		if c.acknowledged != want {
			t.Errorf("after read %d ahead: acknowledged %d times, want %d", i, c.acknowledged, want)
		}
	}
}
