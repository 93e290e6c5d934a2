// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// libcoap is a program of libcoap that speaks OSCORE, which that of Debian 12 does
// not: 4.3.2 or later is needed.
func libcoap(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: libcoap, configured with --enable-oscore", name)
	}
	if out, _ := exec.CommandContext(t.Context(), path, "-?").CombinedOutput(); !bytes.Contains(out, []byte("(Have OSCORE)")) {
		t.Skipf("%s was built without OSCORE", path)
	}
	return path
}

// config writes what libcoap is to know of a peer.
func config(t *testing.T, own, peer string, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), own)
	text := fmt.Sprintf("master_secret,hex,\"%x\"\nmaster_salt,ascii,\"salt\"\nsender_id,ascii,\"%s\"\nrecipient_id,ascii,\"%s\"\naead_alg,integer,10\nhkdf_alg,integer,-10\nreplay_window,integer,30\n%s\n", secret, own, peer, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func ours(own, peer string) Params {
	return Params{MasterSecret: secret, MasterSalt: []byte("salt"), SenderID: []byte(own), RecipientID: []byte(peer)}
}

// A pump is a server on loopback, with what a server needs of this package.
type pump struct {
	*net.UDPConn
	p       Params
	c       *Context
	mu      sync.Mutex // guards renewer
	renewer *Renewer
	inner   Assembler
	update  []byte
	proven  int // requests that had an Echo value
	renewed int
}

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serve answers until the connection is closed.
func (p *pump) serve(t *testing.T) {
	b := make([]byte, 65536)
	echo := NewEcho([32]byte{1})
	for {
		n, from, err := p.ReadFromUDP(b)
		if err != nil {
			return
		}
		send := func(msg []byte) {
			if _, err := p.WriteToUDP(msg, from); err != nil {
				t.Error(err)
			}
		}
		var m coap.Message
		if m.Parse(b[:n]) != nil || !m.Code.Request() {
			continue
		}
		var x Exchange
		plain, err := p.c.UnprotectRequest(nil, b[:n], &x)
		p.mu.Lock()
		renewer := p.renewer
		p.mu.Unlock()
		if errors.Is(err, ErrContext) && renewer != nil {
			var c *Context
			plain, c, err = renewer.Receive(nil, b[:n], &x, [8]byte{1, byte(m.ID)}, 0)
			if c != nil {
				p.c, p.renewed = c, p.renewed+1
			}
			if errors.Is(err, ErrUnproven) {
				send(plain)
				continue
			}
		}
		if err != nil {
			if answer, aerr := AppendError(nil, b[:n], err); aerr == nil {
				send(answer)
			}
			t.Log("refused:", err)
			continue
		}
		_ = m.Parse(plain)
		path := string(m.Options.AppendPath(nil))
		respond := func(msg []byte) {
			answer, err := p.c.ProtectResponse(nil, msg, &x)
			if err != nil {
				t.Error(err)
				return
			}
			send(answer)
		}
		reply := func(code coap.Code, payload string, options ...coap.Option) []byte {
			r := answerTo(&m, code)
			r.Options, r.Payload = withOptions(nil, nil, options...), []byte(payload)
			b, err := r.Append(nil)
			if err != nil {
				t.Error(err)
			}
			return b
		}
		switch {
		case path == "/therapy":
			answer, err := echo.Require(nil, plain, p.c, &x, 0, time.Second)
			if err != nil {
				send(answer)
				continue
			}
			p.proven++
			respond(reply(coap.Changed, "given"))
		case path == "/telemetry" && x.Observe():
			m.Type = coap.Confirmable
			respond(reply(coap.Content, "reading 0", observe(1)))
			for i := 1; i < 4; i++ {
				m.Type, m.ID = coap.NonConfirmable, m.ID+1
				respond(reply(coap.Content, fmt.Sprint("reading ", i), observe(uint32(i+1))))
			}
		case path == "/log":
			whole := reply(coap.Content, filler(3000))
			cut, err := AppendBlock(nil, plain, whole, 4)
			if err != nil {
				t.Error(err)
			}
			respond(cut)
		case path == "/update":
			whole, answer, _ := p.inner.Add("client", plain, 0)
			if whole == nil {
				respond(answer)
				continue
			}
			_ = m.Parse(whole)
			p.update = bytes.Clone(m.Payload)
			answer, err := AppendBlock(nil, plain, reply(coap.Changed, "taken"), 6)
			if err != nil {
				t.Error(err)
			}
			respond(answer)
		default:
			respond(reply(coap.NotFound, ""))
		}
	}
}

// TestLibcoapClient has libcoap's client ask our server: a command that needs a
// proof of freshness, an observation, bodies in blocks both ways; and new keys
// by appendix B.2.
func TestLibcoapClient(t *testing.T) {
	client := libcoap(t, "coap-client")
	for _, renewal := range []bool{false, true} {
		p := &pump{UDPConn: listen(t), p: ours("pump", "prog")}
		var err error
		if p.c, err = New(p.p); err != nil {
			t.Fatal(err)
		}
		more := ""
		if renewal {
			more = "rfc8613_b_2,bool,true"
			p.c = &Context{}
		}
		ended := make(chan struct{})
		go func() { defer close(ended); p.serve(t) }()
		run := func(path, want string, args ...string) {
			if renewal { // each start of the client is a new one
				p.mu.Lock()
				p.renewer = NewRenewer(p.p, [32]byte{byte(len(path))}, 0)
				p.mu.Unlock()
			}
			conf := config(t, "prog", "pump", more)
			args = append(args, "-v", "5", "-B", "5", "-E", conf+","+filepath.Join(filepath.Dir(filepath.Dir(conf)), "seq"), fmt.Sprintf("coap://%s%s", p.LocalAddr(), path))
			out, err := exec.CommandContext(t.Context(), client, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("renewal %v: %s: %v\n%s", renewal, path, err, out)
			}
		}
		run("/therapy", "given", "-m", "post", "-e", "2 U")
		run("/telemetry", "reading 3", "-s", "1")
		run("/log", filler(3000)[2000:2100])
		big := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(big, []byte(filler(5000)), 0o600); err != nil {
			t.Fatal(err)
		}
		run("/update", "taken", "-m", "put", "-b", "64", "-f", big)
		p.Close()
		<-ended
		if p.proven != 1 || string(p.update) != filler(5000) || renewal != (p.renewed == 4) {
			t.Errorf("renewal %v: %d commands with a proof, %d bytes of an update, %d renewals", renewal, p.proven, len(p.update), p.renewed)
		}
	}
}

// TestLibcoapServer asks libcoap's server, which wants a proof of freshness first
// (appendix B.1.2): an observation, bodies in blocks both ways, and new keys.
func TestLibcoapServer(t *testing.T) {
	path := libcoap(t, "coap-server")
	for _, renewal := range []bool{false, true} {
		more := "rfc8613_b_1_2,bool,true"
		if renewal {
			more += "\nrfc8613_b_2,bool,true"
		}
		free := listen(t)
		_, port, _ := net.SplitHostPort(free.LocalAddr().String())
		free.Close()
		cmd := exec.CommandContext(t.Context(), path, "-A", "127.0.0.1", "-p", port, "-d", "10", "-E", config(t, "srv", "us", more))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("udp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		l := &libcoapServer{t: t, Conn: conn}
		if l.c, err = New(ours("us", "srv")); err != nil {
			t.Fatal(err)
		}
		if renewal {
			r, err := NewRenewal(ours("us", "srv"), r1)
			if err != nil {
				t.Fatal(err)
			}
			q, x := l.protect(r.ProtectRequest, l.message(coap.GET, "", option(coap.URIPath, "time")))
			if l.c, err = r.UnprotectResponse(l.exchange(q), x, r3); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.ask(l.message(coap.GET, "", option(coap.URIPath, "time"))); got.Code != coap.Content || len(got.Payload) == 0 {
			t.Errorf("renewal %v: /time: %v %q", renewal, got.Code, got.Payload)
		}
		if !l.challenged {
			t.Errorf("renewal %v: served without a proof", renewal)
		}
		for _, msg := range [][]byte{
			l.message(coap.PUT, filler(3000), option(coap.URIPath, "example_data")),
			l.message(coap.GET, "", option(coap.URIPath, "example_data")),
		} {
			tr, err := NewTransfer(msg, 4, []byte{9}, 4000)
			if err != nil {
				t.Fatal(err)
			}
			var whole []byte
			for done := false; !done; {
				part, err := tr.Next(nil)
				if err != nil {
					t.Fatal(err)
				}
				if whole, done, err = tr.Receive(l.plain(part)); err != nil {
					t.Fatal(err)
				}
			}
			var m coap.Message
			if err := m.Parse(whole); err != nil || m.Code.Class() != 2 || m.Code == coap.Content && string(m.Payload) != filler(3000) {
				t.Errorf("renewal %v: %v, %d bytes, %v", renewal, m.Code, len(m.Payload), err)
			}
		}
		// Each second it tells the time.
		q, x := l.protect(l.c.ProtectRequest, l.message(coap.GET, "", observe(0), option(coap.URIPath, "time")))
		b := l.exchange(q)
		for range 3 {
			if _, err := l.c.UnprotectResponse(nil, b, x); err != nil {
				t.Fatalf("renewal %v: a notification: %v", renewal, err)
			}
			if b = l.read(); b == nil {
				t.Fatalf("renewal %v: no notification", renewal)
			}
		}
		conn.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// A libcoapServer is what we ask.
type libcoapServer struct {
	net.Conn
	t          *testing.T
	c          *Context
	id         uint16
	challenged bool
}

func (l *libcoapServer) message(code coap.Code, payload string, options ...coap.Option) []byte {
	l.id += 100
	m := coap.Message{Code: code, ID: l.id, Token: []byte{byte(l.id >> 8), byte(l.id)}, Payload: []byte(payload), Options: withOptions(nil, nil, options...)}
	b, err := m.Append(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *libcoapServer) protect(f func(dst, msg []byte, x *Exchange) ([]byte, error), msg []byte) ([]byte, *Exchange) {
	l.t.Helper()
	x := new(Exchange)
	b, err := f(nil, msg, x)
	if err != nil {
		l.t.Fatal(err)
	}
	return b, x
}

// read acknowledges what has to be, and passes over what is empty.
func (l *libcoapServer) read() []byte {
	for {
		b := make([]byte, 65536)
		_ = l.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, err := l.Read(b)
		var m coap.Message
		if err != nil {
			return nil
		}
		if err := m.Parse(b[:n]); err != nil {
			l.t.Fatal(err)
		}
		if m.Type == coap.Confirmable {
			ack, _ := (&coap.Message{Type: coap.Acknowledgement, ID: m.ID}).Append(nil)
			_, _ = l.Write(ack)
		}
		if m.Code != coap.Empty {
			return b[:n]
		}
	}
}

// exchange sends a message until an answer comes, since the server may not listen
// yet.
func (l *libcoapServer) exchange(q []byte) []byte {
	l.t.Helper()
	for range 50 {
		if _, err := l.Write(q); err == nil {
			if b := l.read(); b != nil {
				return b
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.t.Fatal("no answer")
	return nil
}

func (l *libcoapServer) plain(msg []byte) []byte {
	l.t.Helper()
	q, x := l.protect(l.c.ProtectRequest, msg)
	got, err := l.c.UnprotectResponse(nil, l.exchange(q), x)
	if err != nil {
		l.t.Fatal(err)
	}
	return got
}

// ask answers a challenge.
func (l *libcoapServer) ask(msg []byte) (m coap.Message) {
	l.t.Helper()
	got := l.plain(msg)
	if v := EchoOf(got); v != nil {
		l.challenged = true
		again, err := AppendWithEcho(nil, msg, v)
		if err != nil {
			l.t.Fatal(err)
		}
		again[3]++ // another Message ID
		got = l.plain(again)
	}
	if err := m.Parse(got); err != nil {
		l.t.Fatal(err)
	}
	return m
}
