// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/ward"
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

// TestClockSet: an order that was given is not given again because the clock of the guard is set,
// nor when it comes again after it was forgotten.
func TestClockSet(t *testing.T) {
	b := newBench(t, nil)
	b.stop()
	now := envelope.ReadClock()
	b.clock = func() envelope.Reading { return now }
	b.ask = func(a *gate.Ask) *gate.Answer {
		if a.Request.Undecided != "" || a.Request.Replayed {
			return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: a.Request.Undecided}
		}
		return nil
	}
	b.start()
	order := noradrenaline("RGV-1", "0.2").String()
	ask := func(text string) answer {
		t.Helper()
		c := b.dial("ehr.stada.example")
		defer c.Close()
		c.send(text)
		return c.answer()
	}
	first := ask(order)
	for _, jump := range []time.Duration{25 * time.Hour, -50 * time.Hour, 1000 * time.Hour} {
		now.Wall += int64(jump)
		if a := ask(order); a != first {
			t.Errorf("with the clock set by %v: %v", jump, a)
		}
		b.stop()
		b.start()
		if a := ask(order); a != first {
			t.Errorf("with the clock set by %v, and a restart: %v", jump, a)
		}
	}
	if n := len(b.gateway.received()); n != 1 {
		t.Fatalf("%d sent", n)
	}
	// A day passes indeed, and the very same order comes again.
	now.Wall, now.Uptime = now.Wall+int64(25*time.Hour), now.Uptime+int64(25*time.Hour)
	ask(order)
	if a := b.returned(); a.code != "AE" || !strings.Contains(a.reason, "may be one of them") || len(b.gateway.received()) != 1 {
		t.Errorf("a day later: %v, %d sent", a, len(b.gateway.received()))
	}
	later := strings.Replace(noradrenaline("RGV-2", "0.2").String(), "20260303070914", "20260304081500", 1)
	if a := ask(later); a.code != "CA" || len(b.gateway.received()) != 2 {
		t.Errorf("a new one: %v", a)
	}
	// One without a time of its own cannot be told from an older one.
	ask(strings.Replace(noradrenaline("RGV-3", "0.2").String(), "20260303070914+0100", "", 1))
	if a := b.returned(); a.code != "AE" || !strings.Contains(a.reason, "MSH-7") {
		t.Errorf("without its own time: %v", a)
	}
}

// TestDamaged: when the memory is damaged, no order passes until a person has looked; what
// the device says to people does, and it is said loudly.
func TestDamaged(t *testing.T) {
	b := newBench(t, nil)
	c := b.dial("ehr.stada.example")
	for _, control := range []string{"RGV-1", "RGV-2", "RGV-3"} {
		c.send(noradrenaline(control, "0.2").String())
		c.answer()
	}
	b.stop()
	file := filepath.Join(b.state, "gw-icu.orders")
	bad, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad[len(bad)/2] ^= 1
	if err := os.WriteFile(file, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	if why := b.front.env.Trouble(); !strings.Contains(why, "damaged") {
		t.Errorf("in trouble because of %q", why)
	}
	b.mu.Lock()
	loud := slices.ContainsFunc(b.events, func(e event.Event) bool {
		return e.Kind == event.DoseDoubted && strings.Contains(e.Text(event.Reason), "damaged")
	})
	b.mu.Unlock()
	if !loud {
		t.Error("it is not recorded")
	}
	c = b.dial("ehr.stada.example")
	for _, control := range []string{"RGV-1", "RGV-3", "RGV-9"} {
		c.send(noradrenaline(control, "0.2").String())
		c.answer()
		if a := b.returned(); a.code != "AE" || !strings.Contains(a.reason, "does not know what came before") {
			t.Errorf("told %v", a)
		}
	}
	if n := len(b.gateway.received()); n != 3 {
		t.Errorf("%d sent", n)
	}
	// An admission passes, and so does what the pump reports.
	c.send("MSH|^~\\&|CastorEHR|StAda|FlowLink|StAda|20260303071000||ADT^A01|ADT-1|P|2.6|||AL|NE\rPID|||ADA-1\r")
	if a := c.answer(); a.code != "CA" || len(b.gateway.received()) != 4 {
		t.Errorf("an admission: %v", a)
	}
	gw := b.wayBack()
	three, _ := ward.Pumps()
	gw.send(string(ward.Report(time.Now(), "FL-1", three)))
	gw.answer()
	<-b.ehr.got
	// A person has looked, and put the file away.
	b.stop()
	os.Rename(file, file+".damaged")
	b.start()
	c = b.dial("ehr.stada.example")
	c.send(noradrenaline("RGV-10", "0.2").String())
	if a := c.answer(); a.code != "CA" || b.front.env.Trouble() != "" {
		t.Errorf("told %v, in trouble because of %q", a, b.front.env.Trouble())
	}
}

func TestTimeOf(t *testing.T) {
	day := time.Date(2026, 3, 3, 6, 9, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"20260303070900+0100": day, "202603030709+0100": day, "20260303060900": day, "20260303060900.5": day.Add(500 * time.Millisecond),
		"20260303060900.1234-0000": day.Add(123400 * time.Microsecond), "202603030609": day, "20260303010900-0500": day,
		"20260303": {}, "2026030306": {}, "": {}, "20261303060900": {}, "20260303060900+0100x": {}, "00010303060900": {}, "20260303060900^x": day,
		"99990303060900": {}, "yesterday": {},
	} {
		m, err := hl7.Parse([]byte("MSH|^~\\&|A|B|C|D|" + text + "||ADT^A01|1|P|2.6\r"))
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		if !want.IsZero() {
			n = want.UnixNano()
		}
		if got := timeOf(m.Header().Time); got != n {
			t.Errorf("%q: %v, want %v", text, time.Unix(0, got).UTC(), want)
		}
	}
}
