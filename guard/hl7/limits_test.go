// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

func admission(control string, size int) string {
	m := "MSH|^~\\&|CastorEHR^ACDE48FFFE000105^EUI-64|StAda|FlowLink|StAda|20260303||ADT^A01^ADT_A01|" + control + "|P|2.6|||AL|NE\rPID|||ADA-1\rNTE|1||"
	return m + strings.Repeat("x", max(0, size-len(m)-1)) + "\r"
}

// TestSize: a message of as many bytes as allowed passes, and of one more it does not.
func TestSize(t *testing.T) {
	for _, most := range []int{1000, bufferBytes - blockBytes, bufferBytes, 16 << 10, hl7.MaxMessage} {
		for over := range 2 {
			b := newBench(t, func(p *Policy) { p.MessageBytes = most })
			c := b.dial("ehr.stada.example")
			m := admission("ADT-1", most+over)
			c.send(m)
			a := c.answer()
			if over == 0 && (a.code != "CA" || len(b.gateway.received()[0]) != most+blockBytes) {
				t.Errorf("%d of %d bytes: %v", most+over, most, a)
			}
			if over == 1 {
				if a.code != "CE" || a.control != "ADT-1" || len(b.gateway.received()) != 0 {
					t.Errorf("%d of %d bytes: %v, %d sent", most+over, most, a, len(b.gateway.received()))
				}
				c.closed()
			}
			b.stop()
		}
	}
}

// TestLists: each list, at a message that it does not have.
func TestLists(t *testing.T) {
	for _, test := range []struct {
		name, from, text, code, operation string
	}{
		{"listed", "ehr.stada.example", admission("1", 0), "CA", ""},
		{"another application", "ehr.stada.example", strings.Replace(admission("1", 0), "CastorEHR^ACDE48FFFE000105", "Elsewhere^ACDE48FFFE000999", 1), "CE", "sender"},
		{"another facility", "ehr.stada.example", strings.Replace(admission("1", 0), "|StAda|FlowLink", "|StEve|FlowLink", 1), "CE", "sender"},
		{"not proven", "ct-1.stada.example", admission("1", 0), "CE", "sender"},
		{"of another type", "ehr.stada.example", strings.Replace(admission("1", 0), "ADT^A01", "ADT^A08", 1), "CE", "message"},
		{"an order of pharmacy", "ehr.stada.example", strings.Replace(admission("1", 0), "ADT^A01^ADT_A01", "RDE^O11", 1), "CE", "message"},
		{"an order of one who gives none", "pharmacy.stada.example", strings.Replace(admission("1", 0), "CastorEHR^ACDE48FFFE000105^EUI-64", "Pharma", 1), "CE", "message"},
		{"to another receiver", "ehr.stada.example", strings.Replace(admission("1", 0), "|FlowLink|StAda|", "|XferLink|StAda|", 1), "CE", "receiver"},
		{"with a stray line", "ehr.stada.example", strings.Replace(admission("1", 0), "\rPID", "\r and\rPID", 1), "CE", "framing"},
		{"an order for elsewhere", "ehr.stada.example", strings.ReplaceAll(noradrenaline("1", "1").String(), "000303", "000999"), "CA", "device"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(p *Policy) { p.Receivers = []Party{{"FlowLink", "StAda"}} })
			c := b.dial(test.from)
			c.send(test.text)
			if a := c.answer(); a.code != test.code {
				t.Errorf("told %v", a)
			}
			if sent := len(b.gateway.received()); sent != 0 && test.operation != "" || sent == 0 && test.operation == "" {
				t.Errorf("%d sent", sent)
			}
			b.stop()
			got := ""
			for _, e := range b.events {
				got = e.Text(event.Operation)
				if strings.Contains(e.Text(event.Reason), "ADA-1") {
					t.Error("a patient in an event")
				}
			}
			if got != test.operation {
				t.Errorf("recorded %q, want %q", got, test.operation)
			}
		})
	}
}

// TestNothingRead: bytes that are no message of their own end the connection.
func TestNothingRead(t *testing.T) {
	whole := string(hl7.AppendBlock(nil, []byte(noradrenaline("1", "0.2").String())))
	for _, test := range []struct{ name, bytes string }{
		{"without a block", noradrenaline("1", "0.2").String()},
		{"no message", "\x0bhello\x1c\r"},
		{"a beginning in a block", "\x0bMSH|^~\\&|A\x0b" + whole[1:]},
		{"nothing but space", strings.Repeat("\r\n", 9<<10)},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			c := b.dial("ehr.stada.example")
			io.WriteString(c.Conn, test.bytes)
			c.closed()
			b.stop()
			if len(b.gateway.received()) != 0 || len(b.events) != 1 {
				t.Errorf("%d sent, %d events", len(b.gateway.received()), len(b.events))
			}
		})
	}
}

// TestSlow: who does not end a message, or begins none, is not waited for.
func TestSlow(t *testing.T) {
	b := newBench(t, func(p *Policy) {
		p.Limits.Unfinished, p.Limits.First, p.Limits.Idle = 150*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
		p.Limits.Progress = 1 << 20
	})
	whole := hl7.AppendBlock(nil, []byte(admission("1", 0)))
	slow := b.dial("ehr.stada.example")
	go func() { // a byte at a time, for ever
		for i := range whole {
			if _, err := slow.Write(whole[i : i+1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	slow.closed()
	b.dial("ehr.stada.example").closed() // says nothing
	c := b.dial("ehr.stada.example")
	c.send(admission("2", 0))
	c.answer()
	c.closed() // says nothing more
	if n := len(b.gateway.received()); n != 1 {
		t.Errorf("%d sent", n)
	}
}

// TestConnections: as many as allowed.
func TestConnections(t *testing.T) {
	b := newBench(t, func(p *Policy) { p.Limits.Connections, p.Limits.PerPeer = 3, 3 })
	for i := range 3 {
		c := b.dial("ehr.stada.example")
		c.send(admission(fmt.Sprint(i), 0))
		c.answer()
	}
	c, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: b.ca.Pool(), ServerName: "guard.stada.example", Certificates: []tls.Certificate{b.ca.Issue(t, "ehr.stada.example")}})
	if err == nil {
		c.Close()
		t.Error("a fourth connection")
	}
}

// TestRate: as many orders at once as allowed, of one sender; another has its own.
func TestRate(t *testing.T) {
	b := newBench(t, func(p *Policy) { p.OrderRate, p.OrderBurst = 1e-9, 3 })
	c := b.dial("ehr.stada.example")
	for i := range 4 {
		c.send(noradrenaline(fmt.Sprint(i), "0.2").String())
		if a := c.answer(); a.code != "CA" {
			t.Errorf("%d: %v", i, a)
		}
	}
	if a := b.returned(); a.code != "AE" || a.control != "3" {
		t.Errorf("told %v", a)
	}
	o := noradrenaline("9", "0.2")
	o.app = "Pharma"
	c = b.dial("pharmacy.stada.example")
	c.send(o.String())
	if a := c.answer(); a.code != "CA" || len(b.gateway.received()) != 4 {
		t.Errorf("of another: %v", a)
	}
}

// TestCuts: wherever a sender is cut off, the device sees whole messages, and only
// those that were.
func TestCuts(t *testing.T) {
	b := newBench(t, func(p *Policy) { p.Limits.Rate = 1e9 })
	b.ask = func(a *gate.Ask) *gate.Answer {
		if a.Request.Undecided != "" { // the last byte of its block did not come
			return deny(a)
		}
		return nil
	}
	cert := b.ca.Issue(t, "ehr.stada.example")
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var blocks [][]byte
		for range rapid.IntRange(1, 3).Draw(t, "messages") {
			n++
			text := admission(fmt.Sprint(n), rapid.IntRange(0, 6000).Draw(t, "size"))
			if rapid.Bool().Draw(t, "order") {
				text = noradrenaline(fmt.Sprint(n), "0.2").String()
			}
			blocks = append(blocks, hl7.AppendBlock(nil, []byte(text)))
			stream = append(stream, blocks[len(blocks)-1]...)
		}
		cut := rapid.IntRange(0, len(stream)).Draw(t, "cut")
		before := len(b.gateway.received())
		c, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: b.ca.Pool(), ServerName: "guard.stada.example", Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		for at := 0; at < cut; {
			k := min(cut-at, rapid.IntRange(1, 3000).Draw(t, "piece"))
			if _, err := c.Write(stream[at : at+k]); err != nil {
				t.Fatal(err)
			}
			at += k
		}
		c.CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
		got := b.gateway.received()[before:]
		want := 0
		for end := 0; want < len(blocks) && end+len(blocks[want]) <= cut; want++ {
			end += len(blocks[want])
		}
		if len(got) != want {
			t.Fatalf("%d messages arrived of %d that were whole", len(got), want)
		}
		for i := range got {
			if !bytes.Equal(got[i], blocks[i]) {
				t.Fatalf("message %d is not as sent", i)
			}
		}
	})
}

// TestUpdate: another policy is followed from the next message on, and no connection
// is dropped; the ways back follow too.
func TestUpdate(t *testing.T) {
	b := newBench(t, nil)
	c := b.dial("ehr.stada.example")
	c.send(admission("1", 0))
	if a := c.answer(); a.code != "CA" {
		t.Fatalf("told %v", a)
	}
	b.wayBack()
	p := *b.policy
	p.Senders = append([]Sender(nil), p.Senders...)
	p.Senders[0].Messages = []string{"RGV^O15"}
	p.Returns = map[string]Return{"ehr": p.Returns["ehr"]}
	r := p.Returns["ehr"]
	r.Listen.Address = freeAddress(t)
	p.Returns["ehr"] = r
	b.front.Update(&p)
	c.send(admission("2", 0))
	if a := c.answer(); a.code != "CE" {
		t.Errorf("after the update: %v", a)
	}
	c.send(noradrenaline("3", "0.2").String())
	if a := c.answer(); a.code != "CA" {
		t.Errorf("after the update: %v", a)
	}
	b.policy = &p
	for i := 0; ; i++ { // the front opens it behind Update
		d, err := net.Dial("tcp", r.Listen.Address)
		if err == nil {
			d.Close()
			break
		}
		if i == 1000 {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestDrain: a front that stops ends the message in hand, and takes no other.
func TestDrain(t *testing.T) {
	b := newBench(t, func(p *Policy) { p.Limits.Drain = 10 * time.Second })
	hold := make(chan struct{}, 2)
	ca := b.gateway.answer
	b.gateway.answer = func(m *hl7.Message, raw []byte) []byte {
		<-hold
		return ca(m, raw)
	}
	idle := b.dial("ehr.stada.example")
	idle.send(admission("1", 0))
	c := b.dial("ehr.stada.example")
	<-b.gateway.arrived
	hold <- struct{}{}
	idle.answer()
	c.send(noradrenaline("2", "0.2").String())
	<-b.gateway.arrived
	stopped := make(chan struct{})
	go func() { b.stop(); close(stopped) }()
	idle.closed()
	hold <- struct{}{}
	if a := c.answer(); a.code != "CA" || a.control != "2" {
		t.Errorf("told %v", a)
	}
	c.closed()
	<-stopped
}
