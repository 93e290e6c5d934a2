// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/myelin-health/myelin/serve/access"
)

// TestSlowly: heads and bodies that trickle in are not waited for, and whoever sends
// them keeps nobody else out. What sensors send has its own bound, and test (serve/uplink).
func TestSlowly(t *testing.T) {
	o := newOutside(t, Config{}, func(s *Server) { s.headerTime, s.readTime = 50*time.Millisecond, 50*time.Millisecond })
	for _, begun := range []string{
		"", "GET", "GET / HTTP/1.1\r\nHost: a\r\nX-", "POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nlogin=",
		"POST /uplink/v1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(o.at, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if begun != "" { // "" does not even begin TLS
			c := tls.Client(conn, &tls.Config{RootCAs: o.pool, ServerName: "127.0.0.1"})
			if _, err := io.WriteString(c, begun); err != nil {
				t.Fatal(err)
			}
			conn = c
		}
		gone(t, conn)
	}
	if a := o.visitor("").get("/healthz"); a.status != 200 {
		t.Error(a.status)
	}
}

// TestTakesNothing: whoever asks for much and reads nothing of it is let go.
func TestTakesNothing(t *testing.T) {
	done := make(chan error, 1)
	m := &metrics{}
	*m = *newMetrics(nil, nil)
	endless := m.count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				done <- err
				return
			}
		}
	}))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endless.ServeHTTP(hasty{w}, r)
	}))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if err := <-done; err == nil {
		t.Error("no end")
	}
}

// hasty is an answer whose deadlines are near.
type hasty struct{ http.ResponseWriter }

func (h hasty) SetWriteDeadline(at time.Time) error {
	if !at.IsZero() {
		at = time.Now().Add(50 * time.Millisecond)
	}
	return http.NewResponseController(h.ResponseWriter).SetWriteDeadline(at)
}

func (h hasty) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// TestCrowd: nobody has all connections; who has too many loses the new ones alone.
func TestCrowd(t *testing.T) {
	proxy := netip.MustParsePrefix("192.0.2.80/32")
	c := &crowd{most: 8, mostOfOne: 3, free: []netip.Prefix{proxy}}
	for _, n := range []struct {
		from string
		in   bool
	}{
		{"192.0.2.1:1", true},
		{"192.0.2.1:2", true},
		{"192.0.2.1:3", true},
		{"192.0.2.1:4", false},
		{"[::ffff:192.0.2.1]:5", false},
		{"[2001:db8::1]:1", true},
		{"[2001:db8::2]:1", true},
		{"[2001:db8::3%eth0]:1", true},
		{"[2001:db8::4]:1", false},
		{"[2001:db8:0:1::1]:1", true},
		{"192.0.2.2:1", true},
		{"192.0.2.3:1", false},
		{"192.0.2.80:1", false},
	} {
		if got := c.enter(host(n.from)); got != n.in {
			t.Errorf("%s: %v", n.from, got)
		}
	}
	for range 3 {
		c.leave(host("192.0.2.1:9"))
	}
	for i := range 3 {
		if !c.enter(proxy) {
			t.Errorf("the proxy's connection %d", i)
		}
	}
	if c.enter(host("192.0.2.1:1")) {
		t.Error("more than all")
	}
	c = &crowd{most: 8, mostOfOne: 1, free: []netip.Prefix{proxy}}
	for i := range 8 {
		if !c.enter(proxy) {
			t.Errorf("behind the proxy, %d", i)
		}
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Listener.Close()
	s.Listener = &crowd{Listener: ln, most: 2, mostOfOne: 2}
	s.Start()
	defer s.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ask := func(c net.Conn) bool {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		n, _ := c.Read(make([]byte, 12))
		return n == 12
	}
	one, two := dial(), dial()
	if !ask(one) || !ask(two) {
		t.Fatal("not even two")
	}
	three := dial()
	gone(t, three)
	one.Close()
	for !ask(dial()) { // as soon as the server has seen it
	}
	two.Close()
}

// TestStreams: of one connection of HTTP/2 so many requests are open and no more.
func TestStreams(t *testing.T) {
	o := newOutside(t, Config{})
	c, err := tls.Dial("tcp", strings.TrimPrefix(o.at, "https://"), &tls.Config{RootCAs: o.pool, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			if n, ok := s.Value(http2.SettingMaxConcurrentStreams); !ok || n != maxStreams {
				t.Errorf("%d streams", n)
			}
			return
		}
	}
}

// TestProxies: what a proxy of ours says of where a request comes from is believed, and
// no more than that: nobody escapes the bound on wrong passwords by a header.
func TestProxies(t *testing.T) {
	at := ""
	s := &Server{cfg: Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::1/128")}}}
	h := s.behind(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { at = r.RemoteAddr }))
	for _, n := range []struct {
		from  string
		said  []string
		taken string
	}{
		{"192.0.2.1:7", []string{"198.51.100.1"}, "192.0.2.1:7"}, // no proxy of ours
		{"127.0.0.1:7", nil, "127.0.0.1:7"},
		{"127.0.0.1:7", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"[::ffff:127.0.0.1]:7", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"[fd00::1]:7", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"127.0.0.1:7", []string{"203.0.113.1, 198.51.100.1"}, "198.51.100.1:0"}, // what stands before was made up
		{"127.0.0.1:7", []string{"203.0.113.1", "198.51.100.1"}, "198.51.100.1:0"},
		{"127.0.0.1:7", []string{"203.0.113.1, 198.51.100.1,10.0.0.2 , 10.0.0.3"}, "198.51.100.1:0"}, // by three proxies
		{"127.0.0.1:7", []string{"10.0.0.2"}, "10.0.0.2:0"},                                          // the proxy itself asks
		{"127.0.0.1:7", []string{"203.0.113.1, ' OR 1=1 --"}, "127.0.0.1:7"},
		{"127.0.0.1:7", []string{""}, "127.0.0.1:7"},
		{"127.0.0.1:7", []string{"fe80::1%zone"}, "[fe80::1]:0"}, // or each zone were another host
		{"no address", []string{"198.51.100.1"}, "no address"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = n.from
		r.Header["X-Forwarded-For"] = n.said
		if h.ServeHTTP(httptest.NewRecorder(), r); at != n.taken {
			t.Errorf("%s said by %s: %s", n.said, n.from, at)
		}
	}
	o := newOutside(t, Config{})
	slowed := false
	for i := range 21 {
		v := o.visitor("")
		v.head.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		slowed = v.post("/sign-in", "login", fmt.Sprint("x", i), "password", "wrong").status == http.StatusTooManyRequests
	}
	if !slowed {
		t.Error("whoever says that he is others is not slowed")
	}
	behind := newOutside(t, Config{Proxies: s.cfg.Proxies})
	behind.person("te", access.Analyst)
	v := behind.visitor("")
	v.head.Set("X-Forwarded-For", "203.0.113.7")
	v.signIn("te")
	if a := v.get("/me"); !strings.Contains(a.body, "203.0.113.7") {
		t.Error("the own page does not say where the session is from")
	}
}
