// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/hl7"
)

// dialFrom connects from an address of the loopback network.
func dialFrom(t *testing.T, host, to string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// strangers take the places that others than the device have.
func strangers(t *testing.T, to string) {
	t.Helper()
	for i := 2; ; i++ {
		c := dialFrom(t, fmt.Sprintf("127.0.1.%d", i), to)
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return // there was no place for it
		}
	}
}

// TestAlarmsPass: what a device says to people passes byte for byte in whatever
// state the guard is, whether it can be read or not, and however long it is; and what
// could not be judged is said. Both ways of a front are tried.
func TestAlarmsPass(t *testing.T) {
	const alarm = "MSH|^~\\&|FLOWLINK|StAda|CastorEHR|StAda|20260303||ORU^R40^ORU_R40|A-1|P|2.6\rOBR|1\rOBX|1|ST|196616^MDC_EVT_ALARM^MDC||occlusion\r"
	const unread = "it passes as it is"
	type place struct {
		*bench
		to string // where the device connects to
	}
	states := map[string]struct {
		host          string
		before, while func(p *place)
	}{
		"quiet":           {},
		"others took all": {before: func(p *place) { strangers(p.t.(*testing.T), p.to) }},
		"new address":     {host: "127.0.0.7"},
		"new address, own all used": {host: "127.0.0.7", before: func(p *place) {
			for range 2 {
				dialFrom(p.t.(*testing.T), "127.0.0.9", p.to)
			}
		}},
		"ledger fails": {before: func(p *place) {
			p.mu.Lock()
			p.ledger = func() error { return errors.New("no space left on device") }
			p.mu.Unlock()
		}},
		"ledger hangs": {before: func(p *place) {
			stuck := make(chan struct{})
			p.t.Cleanup(func() { close(stuck) })
			p.mu.Lock()
			p.ledger = func() error { <-stuck; return nil }
			p.mu.Unlock()
			strangers(p.t.(*testing.T), p.to)
		}},
		"stops": {while: func(p *place) { go p.stop() }}, // once: the test waits for it at its end
		"reload": {while: func(p *place) {
			now := *p.policy
			now.From, now.Returns = nil, nil
			p.front.Update(&now)
		}},
	}
	alarms := map[string]struct{ what, odd string }{
		"alarm":               {"\x0b" + alarm + "\x1c\r", ""},
		"no message":          {"\x0bALARM: OCCLUSION\x1c\r", unread},
		"in no block":         {"ALARM: OCCLUSION\r\n", unread},
		"without a block":     {alarm, unread},
		"longer than is read": {"\x0b" + alarm + strings.Repeat("OBX|2|ED|x\r", 3*hl7.MaxMessage/11) + "\x1c\r", unread},
		"without an end":      {"\x0b" + alarm, ""},
		"two beginnings":      {"\x0bMSH|^~" + "\x0b" + alarm + "\x1c\r", unread},
	}
	for _, way := range []string{"client", "returns"} {
		for state, at := range states {
			for name, says := range alarms {
				t.Run(way+"/"+state+"/"+name, func(t *testing.T) {
					addr, conns := listenWire(t, nil)
					p := &place{}
					p.bench = newBench(t, func(q *Policy) {
						q.Limits.Connections, q.Limits.PerPeer, q.Limits.Rate, q.Limits.Drain = 2, 1, 1, 50*time.Millisecond
						if at.while != nil {
							q.Limits.Drain = 20 * time.Second
						}
						s := &q.Settings
						if way == "client" {
							*q = Policy{Settings: q.Settings, AnswerWithin: time.Second, MessageBytes: 16 << 10}
							s.Server, s.Listen = false, front.Side{Address: "127.0.0.1:0"}
						} else {
							r := q.Returns["ehr"]
							r.Limits = q.Limits
							q.Returns = map[string]Return{"ehr": r}
							s = &r.Settings
							p.to = r.Listen.Address
							defer func() { q.Returns["ehr"] = r }()
						}
						s.Forward = front.Side{Address: addr, Clear: "a test"}
						s.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
					})
					if way == "client" {
						p.to = p.addr
					}
					if at.before != nil {
						at.before(p)
					}
					for len(conns) > 0 {
						c := <-conns
						t.Cleanup(func() { c.Close() })
					}
					host := "127.0.0.9"
					if at.host != "" {
						host = at.host
					}
					c := dialFrom(t, host, p.to)
					half := len(says.what) / 2
					io.WriteString(c, says.what[:half])
					others := p.other(conns, says.what[:1])
					if at.while != nil {
						at.while(p)
					}
					go io.WriteString(c, says.what[half:])
					got := make([]byte, len(says.what)-1)
					if n, err := io.ReadFull(others, got); err != nil || string(got) != says.what[1:] {
						t.Fatalf("%d of %d bytes came, %v", n, len(got), err)
					}
					for said := says.odd == "" || p.ledger != nil; !said; time.Sleep(time.Millisecond) {
						p.mu.Lock()
						for i := range p.events {
							said = said || strings.Contains(p.events[i].Text(event.Reason), says.odd)
						}
						p.mu.Unlock()
					}
				})
			}
		}
	}
}

// other returns the connection at which a first byte comes.
func (b *bench) other(conns <-chan net.Conn, first string) net.Conn {
	b.t.Helper()
	found := make(chan net.Conn, 16)
	over := time.After(20 * time.Second)
	for {
		select {
		case c := <-conns:
			b.t.Cleanup(func() { c.Close() })
			go func() {
				var one [1]byte
				if _, err := io.ReadFull(c, one[:]); err == nil && string(one[:]) == first {
					found <- c
				}
			}()
		case c := <-found:
			return c
		case <-over:
			b.t.Fatal("nothing came")
		}
	}
}
