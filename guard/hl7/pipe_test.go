// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/ward"
)

func (b *bench) wayBack() *client {
	b.t.Helper()
	c, err := net.Dial("tcp", b.policy.Returns["ehr"].Listen.Address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return newClient(b.t, c)
}

// TestReturns: the gateway's own connections pass, and what they report counts.
func TestReturns(t *testing.T) {
	b := newBench(t, nil)
	c := b.wayBack()
	three, _ := ward.Pumps()
	at := time.Date(2026, 3, 3, 7, 9, 0, 0, time.UTC)
	for _, msg := range [][]byte{ward.Report(at, "FL-1", three), ward.InfusionEvent(at, "FL-2", three, "MDC_EVT_PUMP_DELIV_START")} {
		c.send(string(msg))
		if a := c.answer(); a.code != "CA" {
			t.Errorf("acknowledged %v", a)
		}
		if got := <-b.ehr.got; !bytes.Equal(got, msg) {
			t.Error("not byte for byte")
		}
	}
	// What cannot be parsed passes too, and so does what is too long to be read.
	long := "MSH|^~\\&|A|B|C|D|2026||ORU^R40|9|P|2.6\rOBX|" + strings.Repeat("x", 2*hl7.MaxMessage)
	for _, junk := range []string{"no message at all", "\xff\xfe\x00", long[:hl7.MaxMessage]} {
		c.send(junk)
		if got := <-b.ehr.got; string(got) != junk {
			t.Errorf("%d bytes, not as sent", len(got))
		}
	}
	b.stop()
	if len(b.told) != 2 {
		t.Fatalf("reported %+v", b.told)
	}
	for _, told := range b.told {
		r := told.report
		if told.device != "pump-3" || r.Rate.String() != "0.2 ug/kg/min" || r.Weight.String() != "70 kg" || r.State != "pump-status-infusing" {
			t.Errorf("reported %+v", told)
		}
	}
	if len(b.events) != 2 || b.events[1].Int(event.Enforced) != 0 || !strings.Contains(b.events[1].Text(event.Reason), "it passes as it is") {
		t.Errorf("recorded %+v", b.events)
	}
}

// TestLast: what the pump reported is the value now, and the weight that an order
// has to have.
func TestLast(t *testing.T) {
	b := newBench(t, nil)
	c := b.dial("ehr.stada.example")
	order := func(control, weight string) (now, undecided string) {
		t.Helper()
		c.send(strings.Replace(noradrenaline(control, "0.3").String(), "||70|", "||"+weight+"|", 1))
		c.answer()
		r := b.asked[len(b.asked)-1].Request
		return r.Command.Now.String(), r.Undecided
	}
	if now, doubt := order("1", "700"); now != "" || doubt != "" {
		t.Errorf("before any report: now %q, %q", now, doubt)
	}
	gw := b.wayBack()
	three, _ := ward.Pumps()
	gw.send(string(ward.Report(time.Now(), "FL-1", three)))
	gw.answer()
	<-b.counted // it goes on first, and is heard then
	if now, doubt := order("2", "70.0"); now != "0.2 ug/kg/min" || doubt != "" {
		t.Errorf("as reported: now %q, %q", now, doubt)
	}
	if now, doubt := order("3", "700"); now != "0.2 ug/kg/min" || doubt == "" {
		t.Errorf("ten times the weight: now %q, %q", now, doubt)
	}
	b.front.mu.Lock()
	g := b.front.gives["pump-3"]
	g.at = g.at.Add(-reportAge - time.Second)
	b.front.gives["pump-3"] = g
	b.front.mu.Unlock()
	if now, doubt := order("4", "700"); now != "" || doubt != "" {
		t.Errorf("too long ago: now %q, %q", now, doubt)
	}
}

// TestDisbelieved: reports of others than the device pass, and count for nothing.
func TestDisbelieved(t *testing.T) {
	b := newBench(t, func(p *Policy) {
		r := p.Returns["ehr"]
		r.From = []netip.Prefix{netip.MustParsePrefix("10.20.3.10/32")}
		p.Returns["ehr"] = r
	})
	c := b.wayBack()
	three, _ := ward.Pumps()
	c.send(string(ward.Report(time.Now(), "FL-1", three)))
	if a := c.answer(); a.code != "CA" {
		t.Errorf("acknowledged %v", a)
	}
	b.stop()
	if len(b.told) != 0 {
		t.Error("it counts")
	}
}

// A wire is a peer that says what it is told to, and keeps what it hears.
func listenWire(t *testing.T, config *tls.Config) (addr string, conns <-chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	out := make(chan net.Conn, 8)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			out <- c
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
		for len(out) > 0 {
			(<-out).Close()
		}
	})
	return ln.Addr().String(), out
}

// clientBench has a front before a device that calls.
func clientBench(t *testing.T, answers ...string) (b *bench, device *client, others net.Conn) {
	addr, conns := listenWire(t, nil)
	b = newBench(t, func(p *Policy) {
		*p = Policy{Settings: p.Settings, Answers: answers, AnswerWithin: time.Second, MessageBytes: 16 << 10}
		p.Server = false
		p.Listen = front.Side{Address: "127.0.0.1:0"}
		p.Forward = front.Side{Address: addr, Clear: "a test"}
	})
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	others = <-conns
	t.Cleanup(func() { others.Close() })
	return b, newClient(t, c), others
}

// TestClient: all that the device says passes as it comes, in pieces; only answers
// come back.
func TestClient(t *testing.T) {
	const result = "MSH|^~\\&|BG200|StAda|CastorEHR|StAda|20260303||ORU^R01^ORU_R01|BG-1|P|2.6\rOBX|1|NM|pH||7.31\r"
	const ack = "MSH|^~\\&|CastorEHR|StAda|BG200|StAda|20260303||ACK^R01^ACK|1|P|2.6\rMSA|AA|BG-1\r"
	for _, test := range []struct {
		name, back string
		passes     bool
	}{
		{"an acknowledgement", ack, true},
		{"with line feeds", strings.ReplaceAll(ack, "\r", "\n"), true},
		{"a listed answer", strings.Replace(ack, "ACK^R01^ACK", "RSP^K11^RSP_K11", 1), true},
		{"an answer of no list", strings.Replace(ack, "ACK^R01^ACK", "RSP^K22", 1), false},
		{"an order", noradrenaline("RGV-1", "0.2").String(), false},
		{"an order as an acknowledgement", ack + "RXG|1\r", false},
		{"two messages", ack + ack, false},
		{"no message", "hello", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, device, others := clientBench(t, "RSP^K11")
			block := hl7.AppendBlock(nil, []byte(result))
			for i := range block { // a byte at a time: none waits for the next
				device.Write(block[i : i+1])
				got := make([]byte, 1)
				if _, err := io.ReadFull(others, got); err != nil || got[0] != block[i] {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
			others.Write(hl7.AppendBlock(nil, []byte(test.back)))
			_, msg, _, err := device.r.next()
			if test.passes && string(msg) != test.back {
				t.Errorf("did not pass: %v", err)
			}
			if !test.passes && err == nil {
				t.Errorf("passed: %q", msg)
			}
			b.stop()
			if refused := len(b.events) > 0; refused == test.passes {
				t.Errorf("%d events", len(b.events))
			}
		})
	}
}

// TestHalf: a device that has said all still gets its answer.
func TestHalf(t *testing.T) {
	_, device, others := clientBench(t)
	device.send("MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.6\r")
	device.Conn.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(others); err != nil || len(b) == 0 {
		t.Fatal(err)
	}
	others.Write(hl7.AppendBlock(nil, []byte("MSH|^~\\&|C|D|A|B|2026||ACK|1|P|2.6\rMSA|AA|1\r")))
	if a := device.answer(); a.code != "AA" {
		t.Errorf("%v", a)
	}
}

// TestBackCut: an answer that is cut off never begins towards the device.
func TestBackCut(t *testing.T) {
	b, device, others := clientBench(t)
	device.send("MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.6\r")
	block := hl7.AppendBlock(nil, []byte("MSH|^~\\&|C|D|A|B|2026||ACK|1|P|2.6\rMSA|AA|1\r"))
	others.Write(block[:len(block)-5])
	others.Close()
	if got, _ := io.ReadAll(device.Conn); len(got) != 0 {
		t.Errorf("%d bytes came", len(got))
	}
	b.stop()
	if len(b.events) != 1 {
		t.Errorf("%d events", len(b.events))
	}
}
