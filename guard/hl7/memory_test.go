// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/gate"
)

// TestDuplicate: what was acknowledged is not forwarded again, and is answered the
// same, also after a restart; from another source it is a replay.
func TestDuplicate(t *testing.T) {
	b := newBench(t, func(p *Policy) { p.Senders[0].Certificates = append(p.Senders[0].Certificates, "ehr-2.stada.example") })
	order := noradrenaline("RGV-1", "0.2").String()
	ask := func(name, text string) answer {
		t.Helper()
		c := b.dial(name)
		defer c.Close()
		c.send(text)
		return c.answer()
	}
	first := ask("ehr.stada.example", order)
	if first.code != "CA" {
		t.Fatalf("told %v", first)
	}
	later := strings.Replace(order, "20260303070914", "20260303070921", 1) // sent again, with another time in MSH-7
	for i, from := range []string{"ehr.stada.example", "ehr-2.stada.example", "ehr.stada.example"} {
		if i == 2 {
			b.stop()
			b.start()
		}
		if a := ask(from, later); a != first {
			t.Errorf("again, from %s: %v", from, a)
		}
	}
	if n := len(b.gateway.received()); n != 1 || len(b.asked) != 1 {
		t.Fatalf("%d sent, %d asked", n, len(b.asked))
	}
	// The same number for another order.
	b.ask = func(a *gate.Ask) *gate.Answer {
		if a.Request.Undecided != "" || a.Request.Replayed {
			return deny(a)
		}
		return nil
	}
	if a := ask("ehr.stada.example", strings.Replace(order, "|0.2|", "|0.4|", 1)); a.code != "CA" {
		t.Errorf("told %v", a)
	}
	if a := b.returned(); a.code != "AE" {
		t.Errorf("the same number for another order: %v", a)
	}
	if r := b.asked[1].Request; r.Undecided == "" || r.Replayed {
		t.Errorf("asked as %+v", r)
	}
	// From elsewhere.
	if a := ask("ct-1.stada.example", order); a.code != "AE" {
		t.Errorf("replayed: %v", a)
	}
	if r := b.asked[2].Request; !r.Replayed || b.asked[2].Actor != "" {
		t.Errorf("asked as %+v", r)
	}
	if n := len(b.gateway.received()); n != 1 {
		t.Errorf("%d sent", n)
	}
	// An order of another sender with the same numbers is of another application.
	o := noradrenaline("RGV-1", "0.2")
	o.app = "Pharma"
	if a := ask("pharmacy.stada.example", o.String()); a.code != "CA" || len(b.gateway.received()) != 2 {
		t.Errorf("of another application: %v", a)
	}
}

// TestRefusedAgain: what was refused is refused again, not judged once more.
func TestRefusedAgain(t *testing.T) {
	b := newBench(t, nil)
	b.ask = deny
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "4").String()
	var first answer
	for i := range 2 {
		c.send(o)
		c.answer()
		if a := b.returned(); i == 0 {
			first = a
		} else if a != first {
			t.Errorf("told %v, then %v", first, a)
		}
	}
	if len(b.asked) != 1 {
		t.Errorf("%d asked", len(b.asked))
	}
}

// TestKilled: an order that was written down and of which nothing more is known, as after
// kill -9, is in doubt: it is not sent.
func TestKilled(t *testing.T) {
	b := newBench(t, nil)
	b.gateway.answer = nil
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "0.2").String()
	c.send(o)
	<-b.gateway.arrived
	file := filepath.Join(b.state, "gw-icu.orders")
	killed, err := os.ReadFile(file) // what a killed process leaves
	if err != nil {
		t.Fatal(err)
	}
	b.stop()
	if err := os.WriteFile(file, append(killed, 1, 2, 3), 0o600); err != nil { // and a torn tail
		t.Fatal(err)
	}
	b.start()
	c = b.dial("ehr.stada.example")
	c.send(o)
	if a := c.answer(); a.code != "CA" {
		t.Errorf("told %v", a)
	}
	for {
		if a := b.returned(); a.reason == inDoubt {
			break
		}
	}
	if n := len(b.gateway.received()); n != 1 {
		t.Errorf("%d sent", n)
	}
}

func key(n int) (k orderKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n)+1)
	return k
}

// TestMemory: the memory at its bounds, and what a file leaves.
func TestMemory(t *testing.T) {
	now := time.Unix(1772517600, 0)
	path := filepath.Join(t.TempDir(), "x.orders")
	open := func() *memory {
		t.Helper()
		m, err := openMemory(path, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	for s := accepted; s < lastState; s++ {
		n := m.begin(key(int(s)), 1, 2)
		if n.known != nil {
			t.Fatal("known before")
		}
		if err := m.durable(n); err != nil {
			t.Fatal(err)
		}
		m.end(n.key, s, "why")
	}
	m.begin(key(0), 1, 2)
	m.close()
	m = open()
	for s := begun - 1; s < lastState; s++ {
		want := map[state]state{0: doubted, dropped: 0, held: 0, accepted: accepted, rejected: rejected, refused: refused, doubted: doubted}[s]
		if s == begun {
			continue
		}
		n := m.look(key(int(s)), 1, 2)
		if n.known == nil && want != 0 || n.known != nil && n.known.state != want {
			t.Errorf("%d is %v after the restart, want %d", s, n.known, want)
		}
		if n.known != nil && (!n.same || !n.equal || m.look(n.key, 2, 2).same || m.look(n.key, 1, 3).equal) {
			t.Error("source or contents are not told apart")
		}
	}
	// A day later they may come again, and the file shrinks.
	now = now.Add(rememberFor + 1)
	if n := m.begin(key(int(accepted)), 1, 2); n.known != nil {
		t.Error("remembered for more than a day")
	}
	m.close()
	m = open()
	if m.records != 1 { // what was begun again; the rest is a day old
		t.Errorf("%d records", m.records)
	}
	m.close()

	// As many as there is room for; one more, and the oldest is forgotten.
	os.Remove(path)
	m = open()
	for i := range maxRemembered {
		n := m.begin(key(i), 1, 2)
		m.end(n.key, accepted, "")
	}
	if m.look(key(0), 1, 2).known == nil {
		t.Error("forgotten too early")
	}
	m.end(m.begin(key(maxRemembered), 1, 2).key, accepted, "")
	if m.look(key(0), 1, 2).known != nil || m.look(key(1), 1, 2).known == nil || m.look(key(maxRemembered), 1, 2).known == nil {
		t.Error("not the oldest is forgotten")
	}
	if len(m.orders) != maxRemembered || m.records > 2*maxRemembered {
		t.Errorf("%d orders, %d records", len(m.orders), m.records)
	}
	m.close()

	// Each flipped bit cuts the file off there.
	os.Remove(path)
	m = open()
	m.begin(key(1), 1, 2)
	m.begin(key(2), 1, 2)
	m.close()
	good, _ := os.ReadFile(path)
	for bit := range recordBytes * 8 {
		if bit/8 >= 1 && bit/8 <= 3 {
			continue // bytes of zero that are not read
		}
		bad := append([]byte(nil), good...)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, _, ok := readRecord(bad); ok {
			t.Errorf("bit %d may be flipped", bit)
		}
	}
	// A disk that fails: nothing begins any more.
	m = open()
	m.file.Close()
	if n := m.begin(key(9), 1, 2); m.durable(n) == nil {
		t.Error("durable without a file")
	}
}
