// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/internal/testpeer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func section(src string, keys []string) (*strictyaml.Reader, *strictyaml.Section) {
	r := strictyaml.New("guard.yaml", strictyaml.Format{Name: "guard configuration", Marker: "guard: 1"})
	return r, r.Section(r.Document([]byte(src)), "the front", slices.Concat([]string{"guard"}, front.Keys, keys)...)
}

// A record has what was recorded, and the clock.
type record struct {
	mu     sync.Mutex
	held   func() // in the way of each record; nil: nothing
	events []event.Event
	now    time.Time // zero: the machine's
}

// hold puts something in the way of each record.
func (r *record) hold(held func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
}

func (r *record) add(e *event.Event) error {
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held != nil {
		held()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
	return nil
}

func (r *record) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now.IsZero() {
		return time.Now()
	}
	return r.now
}

func (r *record) set(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = t
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for i := range r.events {
		e := &r.events[i]
		fmt.Fprintf(&b, "%s [%s]: %s, %d\n", e.Text(event.Operation), e.Text(event.Destination), e.Text(event.Reason), e.Int(event.Enforced))
	}
	return b.String()
}

func (r *record) env(t testing.TB) *front.Env {
	g := gate.New(gate.Config{Now: time.Now, Record: r.add})
	t.Cleanup(g.Close)
	return &front.Env{
		Gate: g, Metrics: front.NewMetrics(prometheus.NewRegistry()), Learned: &front.Learned{},
		Log: slog.New(slog.DiscardHandler), Now: r.clock,
	}
}

// serve runs a front until the test ends or stop is called, which waits for it.
func serve(t testing.TB, f interface {
	Serve(context.Context, net.Listener) error
},
) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

// device listens, and hands each connection to the test.
func device(t testing.TB) (addr string, conns chan *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns = make(chan *net.TCPConn, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			conns <- c.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for len(conns) > 0 {
			(<-conns).Close()
		}
	})
	return ln.Addr().String(), conns
}

const outside = `guard: 1
name: lab
kind: tcp
device: lab-1
protects: server
listen: {address: 127.0.0.1:0, tls: {certificate: guard.example.pem, key: guard.example.key, authorities: ca.pem}}
forward: %s
bypass: call the laboratory
clients: [modem.example]
`

// A lab is a tcp front with TLS outside.
type lab struct {
	*testpeer.Authority
	record
	t      testing.TB
	front  *Front
	addr   string
	stop   func()
	device chan *net.TCPConn
}

func newLab(t testing.TB, more string) *lab {
	t.Helper()
	l := &lab{Authority: testpeer.NewAuthority(t), t: t}
	addr, conns := device(t)
	l.device = conns
	r, s := section(secured(t, l.Authority, fmt.Sprintf(outside, addr)+more), Keys)
	p := Read(r, s, "")
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	l.front = New(l.env(t), p)
	l.addr, l.stop = serve(t, l.front)
	return l
}

// secured puts the names of files into a configuration.
func secured(t testing.TB, a *testpeer.Authority, config string) string {
	t.Helper()
	cert, key, authority := a.Files(t, "guard.example")
	return strings.NewReplacer("guard.example.pem", cert, "guard.example.key", key, "ca.pem", authority).Replace(config)
}

// as is how a client with a certificate of a name connects.
func (l *lab) as(name string) *tls.Config {
	l.t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{l.Issue(l.t, name)}, RootCAs: l.Pool(), ServerName: "guard.example"}
}

func (l *lab) dial(name string) *tls.Conn {
	l.t.Helper()
	c, err := tls.Dial("tcp", l.addr, l.as(name))
	if err != nil {
		l.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	l.t.Cleanup(func() { c.Close() })
	return c
}

// pair opens a connection and returns both its ends.
func (l *lab) pair() (*tls.Conn, *net.TCPConn) {
	l.t.Helper()
	c := l.dial("modem.example")
	d := <-l.device
	l.t.Cleanup(func() { d.Close() })
	return c, d
}

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b, err := io.ReadAll(r)
	if string(b) != want || err != nil {
		t.Fatalf("read %q, %v; want %q and its end", b, err, want)
	}
}

// TestHalfClose: the end of one direction passes and leaves the other open.
func TestHalfClose(t *testing.T) {
	l := newLab(t, "")
	c, d := l.pair()
	io.WriteString(c, "question")
	c.CloseWrite()
	mustRead(t, d, "question")
	io.WriteString(d, "answer")
	d.CloseWrite()
	mustRead(t, c, "answer")

	c, d = l.pair() // and the other way round
	io.WriteString(d, "hello")
	d.CloseWrite()
	mustRead(t, c, "hello")
	io.WriteString(c, "goodbye")
	c.CloseWrite()
	mustRead(t, d, "goodbye")
}

// TestCutIsNoEnd: who goes away without the end of TLS is not taken to have ended.
func TestCutIsNoEnd(t *testing.T) {
	l := newLab(t, "")
	c, d := l.pair()
	io.WriteString(c, "half a mess")
	buf := make([]byte, 11)
	if _, err := io.ReadFull(d, buf); err != nil {
		t.Fatal(err)
	}
	c.NetConn().Close()
	if n, err := d.Read(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the device read %d bytes, %v; want a reset", n, err)
	}
	c, d = l.pair()
	d.SetLinger(0)
	d.Close()
	if _, err := c.Read(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client read %v; want a reset", err)
	}
}

func TestWhoMayConnect(t *testing.T) {
	l := newLab(t, "peers: 127.0.0.1\n")
	c := l.dial("stranger.example")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a stranger was let in")
	}
	if got := l.String(); got != "connect []: its certificate is of no client that is listed, 1\n" {
		t.Errorf("recorded %q", got)
	}
	l.pair()

	l = newLab(t, "peers: 10.0.0.0/8\n")
	c = l.dial("modem.example")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("another network was let in")
	}
	if got := l.String(); got != "connect []: its address is of no peer that is listed, 1\n" {
		t.Errorf("recorded %q", got)
	}
	if len(l.device) > 0 {
		t.Error("it reached the device")
	}

	l = newLab(t, "peers: 10.0.0.0/8\nmode: observe\n")
	l.pair()
	if !settled(func() bool { return l.String() == "connect []: its address is of no peer that is listed, 0\n" }) {
		t.Errorf("recorded %q", l)
	}
	rows, _ := l.front.env.Learned.Uses()
	if len(rows) != 1 || rows[0].Fields != [7]string{"connect", "modem.example", "127.0.0.1"} {
		t.Errorf("learned %v", rows)
	}
}

// TestHours holds the schedule at its edges, and closes or lets finish what is open.
func TestHours(t *testing.T) {
	for _, finish := range []bool{false, true} {
		end := map[bool]string{false: "close", true: "finish"}[finish]
		l := newLab(t, "schedule: {zone: UTC, open: mon-fri 07:00-19:00, at-end: "+end+"}\n")
		day := time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC) // a Tuesday
		l.set(day.Add(19*time.Hour - time.Second))
		l.front.hours(l.clock())
		c, d := newHour(l)
		l.set(day.Add(19 * time.Hour))
		l.front.hours(l.clock())
		if finish {
			l.set(time.Time{})
			io.WriteString(c, "more")
			c.CloseWrite()
			mustRead(t, d, "more")
			l.set(day.Add(19 * time.Hour))
		} else if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("at the end of the hours: %v", err)
		}
		if raw, err := net.Dial("tcp", l.addr); err != nil {
			t.Error(err)
		} else {
			raw.Close()
		}
		if p := l.front.policy.Load(); p.refusal(&front.Conn{}, l.clock()) == "" {
			t.Error("it is open outside the hours")
		}
		l.set(time.Time{})
	}
}

// newHour opens a connection while the clock stands: the deadlines of sockets
// are the machine's.
func newHour(l *lab) (*tls.Conn, *net.TCPConn) {
	at := l.clock()
	l.set(time.Time{})
	p := *l.front.policy.Load()
	hours := p.Schedule
	p.Schedule = nil
	l.front.Update(&p)
	c, d := l.pair()
	q := p
	q.Schedule = hours
	l.front.Update(&q)
	l.set(at)
	return c, d
}

func TestWindows(t *testing.T) {
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Skip("this machine has no time zones: install tzdata")
	}
	for _, tt := range []struct {
		window, at string
		want       bool
	}{
		{"mon-fri 07:00-19:00", "2026-03-03 06:59:59", false},
		{"mon-fri 07:00-19:00", "2026-03-03 07:00:00", true},
		{"mon-fri 07:00-19:00", "2026-03-03 18:59:59", true},
		{"mon-fri 07:00-19:00", "2026-03-03 19:00:00", false},
		{"mon-fri 07:00-19:00", "2026-03-07 12:00:00", false},
		{"fri-mon 07:00-19:00", "2026-03-08 12:00:00", true},
		{"fri-mon 07:00-19:00", "2026-03-03 12:00:00", false},
		{"mon 22:00-06:00", "2026-03-02 21:59:00", false},
		{"mon 22:00-06:00", "2026-03-02 22:00:00", true},
		{"mon 22:00-06:00", "2026-03-03 05:59:59", true},
		{"mon 22:00-06:00", "2026-03-03 06:00:00", false},
		{"mon 22:00-06:00", "2026-03-02 05:00:00", false},
		{"sat,sun 00:00-24:00", "2026-03-08 23:59:59", true},
		{"sat,sun 00:00-24:00", "2026-03-09 00:00:00", false},
		{"sun 02:00-04:00", "2026-03-29 03:00:00", true}, // 02:00 does not come that night
	} {
		w, err := parseWindow(tt.window)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation(time.DateTime, tt.at, stockholm)
		if err != nil {
			t.Fatal(err)
		}
		s := &Schedule{Zone: stockholm, Windows: []Window{w}}
		if got := s.Open(at.UTC()); got != tt.want {
			t.Errorf("%s at %s: %v", tt.window, tt.at, got)
		}
	}
	for _, bad := range []string{"", "mon", "mon 7:00-19:00", "mon 07:00", "mon 07:00-07:00", "mon 24:00-06:00", "mon 07:00-24:01", "mon 07:60-08:00", "moon 07:00-08:00", "mon- 07:00-08:00", "mon  07:00-08:00", "mon +7:00-08:00"} {
		if _, err := parseWindow(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestDrain: what is open ends by itself within the drain time, then it is cut.
func TestDrain(t *testing.T) {
	l := newLab(t, "limits: {drain: 10s}\n")
	c, d := l.pair()
	stopped := make(chan struct{})
	go func() { l.stop(); close(stopped) }()
	for { // until it takes nothing new
		raw, err := net.Dial("tcp", l.addr)
		if err != nil {
			break
		}
		raw.Close()
	}
	io.WriteString(c, "last words")
	c.CloseWrite()
	mustRead(t, d, "last words")
	d.CloseWrite()
	mustRead(t, c, "")
	<-stopped

	l = newLab(t, "limits: {drain: 50ms}\n")
	c, d = l.pair()
	l.stop()
	if _, err := d.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after the drain time: %v", err)
	}
	_ = c
}

// TestIdle: a connection on which nobody says anything ends; one direction may
// be silent as long as the other is not.
func TestIdle(t *testing.T) {
	l := newLab(t, "limits: {idle: 300ms}\n")
	c, d := l.pair()
	buf := make([]byte, 1)
	began := time.Now()
	for time.Since(began) < time.Second { // only the device speaks
		if _, err := d.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Read(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("silent: %v", err)
	}
}

// TestUpdate: a new policy holds for what connects from now on.
func TestUpdate(t *testing.T) {
	l := newLab(t, "")
	c, d := l.pair()
	p := *l.front.policy.Load()
	p.Clients = []string{"other.example"}
	l.front.Update(&p)
	io.WriteString(c, "still here")
	c.CloseWrite()
	mustRead(t, d, "still here")
	refused := l.dial("modem.example")
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("the old list still holds")
	}
}

// TestRate: bytes towards the device are paced; those from it are not.
func TestRate(t *testing.T) {
	l := newLab(t, "bytes-per-second: 100\n")
	c, d := l.pair()
	io.WriteString(c, strings.Repeat("x", 150))
	c.CloseWrite()
	began := time.Now()
	mustRead(t, d, strings.Repeat("x", 150))
	if took := time.Since(began); took < 400*time.Millisecond { // a hundred at once, fifty more in half a second
		t.Errorf("150 bytes in %v", took)
	}
	big := bytes.Repeat([]byte{'y'}, 1<<20)
	go func() { d.Write(big); d.CloseWrite() }()
	if b, err := io.ReadAll(c); len(b) != len(big) || err != nil {
		t.Errorf("%d bytes from the device, %v", len(b), err)
	}
}

func TestRead(t *testing.T) {
	base := secured(t, testpeer.NewAuthority(t), fmt.Sprintf(outside, "127.0.0.1:9"))
	for more, want := range map[string]string{
		"peers: 10.20.8.1/24\n": "10:8: peers has to have addresses or networks",
		"peers: ward\n":         "10:8: peers has to have",
		"schedule: {zone: Mars, open: mon 07:00-08:00, at-end: close}\n": "10:18: zone has to be a time zone",
		"schedule: {zone: UTC, open: mon, at-end: close}\n":              "10:29: open has to have days and hours",
		"schedule: {zone: UTC, open: mon 07:00-08:00}\n":                 "10:11: schedule lacks the key at-end",
		"bytes-per-second: 0\n":                                          "10:19: bytes-per-second has to be",
		"depth: 3\n":                                                     "10:1: the front has no key \"depth\"",
	} {
		r, s := section(base+more, Keys)
		Read(r, s, "")
		if r.Err() == nil || !strings.Contains(r.Err().Error(), "guard.yaml:"+want) {
			t.Errorf("%q: %v; want %s", more, r.Err(), want)
		}
	}
	client := strings.NewReplacer("protects: server", "protects: client", "forward: 127.0.0.1:9", "forward: {address: 127.0.0.1:9, clear: a test}", "clients: [modem.example]\n", "").Replace(base)
	for more, want := range map[string]string{
		"schedule: {zone: UTC, open: mon 07:00-08:00, at-end: close}\n": "9:11: what a device sends may be an alarm and is never refused; schedule is for",
		"clients: [modem.example]\n":                                    "9:10: what a device sends may be an alarm",
		"peers: 127.0.0.1\n":                                            "9:8: what a device sends may be an alarm",
		"from: ward\n":                                                  "9:7: from has to have addresses",
		"from: [10.20.3.31, 10.20.3.128/25]\n":                          "",
	} {
		r, s := section(client+more, Keys)
		p := Read(r, s, "")
		if err := r.Err(); want == "" && (err != nil || !p.Own("10.20.3.31") || !p.Own("::ffff:10.20.3.200") || p.Own("10.20.3.30") || p.Own("")) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), "guard.yaml:"+want)) {
			t.Errorf("%q: %v; want %s", more, err, want)
		}
	}
}
