// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/front"
)

func dialFrom(t testing.TB, host, to string) *net.TCPConn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// strangers take the places that others than the device have, and begin what they can.
func strangers(t testing.TB, to, say string) {
	t.Helper()
	for i := 2; ; i++ {
		c := dialFrom(t, fmt.Sprintf("127.0.1.%d", i), to)
		io.WriteString(c, say)
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for b := make([]byte, 100); ; {
			if _, err := c.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				return // there was no place for it
			}
		}
	}
}

// TestAlarmsPass: what a device sends passes in whatever state the guard is: through a
// pipe, and through both kinds of egress front to where it may go.
func TestAlarmsPass(t *testing.T) {
	const alarm = "ALARM: OCCLUSION AT BED 3\x00\xff"
	const head = "guard: 1\nname: out\ndevice: mon-3\nprotects: client\nlisten: 127.0.0.1:0\nbypass: call\n"
	const own = "from: 127.0.0.9\nlimits: {connections: 2, per-peer: 1, rate: 1, drain: 10s}\n"
	type server interface {
		front.Front
		Serve(context.Context, net.Listener) error
	}
	type bench struct {
		record
		server
		addr string
		stop func()
		ask  string // what the device says before
		bare front.Policy
	}
	kinds := map[string]func(b *bench, t *testing.T, to string){
		"tcp": func(b *bench, t *testing.T, to string) {
			read := func(more string) *Policy {
				r, s := section(head+fmt.Sprintf("kind: tcp\nforward: {address: %q, clear: a test}\n", to)+more, Keys)
				p := Read(r, s, "")
				if r.Err() != nil {
					t.Fatal(r.Err())
				}
				return p
			}
			b.server, b.bare = New(b.env(t), read(own)), read("")
		},
	}
	for name, row := range map[string]string{"proxy": "allow: [{networks: 127.0.0.1, ports: [%d], bytes-per-day: 40}]\n", "egress": "forward: 127.0.0.1:%d\nbytes-per-day: 40\n"} {
		kinds[name] = func(b *bench, t *testing.T, to string) {
			port := portOf(t, to)
			read := func(more string) *EgressPolicy {
				r, s := section(head+"kind: egress\n"+more, EgressKeys)
				p := ReadEgress(r, s, t.TempDir())
				if r.Err() != nil {
					t.Fatal(r.Err())
				}
				return p
			}
			b.server, b.bare = NewEgress(b.env(t), read(fmt.Sprintf(row, port)+own)), read("allow: []\n")
			if name == "proxy" {
				b.ask = "CONNECT " + to + " HTTP/1.1\r\n\r\n"
			}
		}
	}
	for state, at := range map[string]struct {
		host          string
		before, while func(t *testing.T, b *bench)
	}{
		"quiet": {},
		"others took all": {before: func(t *testing.T, b *bench) {
			strangers(t, b.addr, b.ask+strings.Repeat("x", 35)) // and, twice, nearly all of the day's volume
		}},
		"new address": {host: "127.0.0.7"},
		"new address, own all used": {host: "127.0.0.7", before: func(t *testing.T, b *bench) {
			dialFrom(t, "127.0.0.9", b.addr)
			dialFrom(t, "127.0.0.9", b.addr)
		}},
		"ledger hangs": {before: func(t *testing.T, b *bench) {
			stuck := make(chan struct{})
			t.Cleanup(func() { close(stuck) })
			b.hold(func() { <-stuck })
			strangers(t, b.addr, b.ask)
		}},
		"stops":  {while: func(_ *testing.T, b *bench) { go b.stop() }},
		"reload": {while: func(_ *testing.T, b *bench) { b.Update(b.bare) }},
	} {
		for kind, start := range kinds {
			t.Run(kind+"/"+state, func(t *testing.T) {
				to, conns := device(t)
				b := &bench{}
				start(b, t, to)
				b.addr, b.stop = serve(t, b.server)
				if at.before != nil {
					at.before(t, b)
				}
				host := "127.0.0.9"
				if at.host != "" {
					host = at.host
				}
				c := dialFrom(t, host, b.addr)
				io.WriteString(c, b.ask)
				for line := b.ask; line != ""; {
					var err error
					if line, err = readLine(c); err != nil || strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.1 200") {
						t.Fatalf("the device is told %q, %v", line, err)
					}
				}
				io.WriteString(c, alarm[:10])
				heard := make(chan *net.TCPConn, 1)
				go func() { // among those that were opened for others
					for {
						select {
						case d := <-conns:
							t.Cleanup(func() { d.Close() })
							go func() {
								if got := make([]byte, 10); ok(io.ReadFull(d, got)) && string(got) == alarm[:10] {
									heard <- d
								}
							}()
						case <-t.Context().Done():
							return
						}
					}
				}()
				var d *net.TCPConn
				select {
				case d = <-heard:
				case <-time.After(20 * time.Second):
					t.Fatal("nothing came")
				}
				if at.while != nil {
					at.while(t, b)
				}
				io.WriteString(c, alarm[10:])
				c.CloseWrite()
				if rest, err := io.ReadAll(d); err != nil || string(rest) != alarm[10:] {
					t.Errorf("%q came, %v", rest, err)
				}
			})
		}
	}
}

func ok(_ int, err error) bool { return err == nil }

// settled waits for what is recorded behind what passed, for a while.
func settled(is func() bool) bool {
	for ends := time.Now().Add(10 * time.Second); time.Now().Before(ends); time.Sleep(time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}
