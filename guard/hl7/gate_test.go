// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"fmt"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/ward"
)

// TestOutcomes: what the device's system answers settles the dose.
func TestOutcomes(t *testing.T) {
	b := newBench(t, nil)
	b.enveloped()
	counted := func() string {
		t.Helper()
		v := b.book.View("pump-3", b.devices["pump-3"].Envelope)
		return fmt.Sprint(v.Rate[1], ", doubts: ", len(v.Doubts))
	}
	gw := b.wayBack()
	three, _ := ward.Pumps()
	gw.send(string(ward.Report(time.Now(), "FL-1", three)))
	gw.answer()
	<-b.ehr.got
	<-b.counted
	before := counted()
	c := b.dial("ehr.stada.example")
	send := func(control string) {
		t.Helper()
		c.send(noradrenaline(control, "0.4").String())
		if a := c.answer(); a.control != control {
			t.Fatalf("told %v", a)
		}
	}
	b.gateway.answer = commit("CE")
	send("1")
	if got := counted(); got != before {
		t.Errorf("not accepted: %s, before %s", got, before)
	}
	// Accepted, and then its application answers on a connection of its own that it
	// could not.
	b.gateway.answer = commit("CA")
	send("2")
	if got := counted(); got == before {
		t.Error("accepted, and not counted")
	}
	m, _ := hl7.Parse([]byte(noradrenaline("2", "0.4").String()))
	h := m.Header()
	gw.Write(testAnswers.application(&m, &h, "AE", "", "AL"))
	gw.answer()
	<-b.ehr.got
	for n := 0; counted() != before; n++ { // it goes on first, and is heard then
		if n == 5000 {
			t.Fatalf("rejected: %s, before %s", counted(), before)
		}
		time.Sleep(time.Millisecond)
	}
	send("3")
	if got := counted(); got == before {
		t.Error("accepted, and not counted")
	}
	b.stop() // with no answer of its application: in doubt
	if n := len(b.book.Doubts()); n != 1 {
		t.Errorf("%d doubts", n)
	}
}

// TestSharedNumber: what is answered to another message of the same number gives no
// dose back, whether its sender waits for the answer or wants none.
func TestSharedNumber(t *testing.T) {
	b := newBench(t, nil)
	defer b.stop()
	f := b.front
	ended := func(control, before string) front.Fate {
		t.Helper()
		if before != "" {
			m, err := hl7.Parse([]byte("MSH|^~\\&|CastorEHR|StAda|FlowLink|StAda|2026||ADT^A01|" + control + "|P|2.6|||" + before + "|NE\r"))
			if err != nil {
				t.Fatal(err)
			}
			h := m.Header()
			f.wanted(f.expect("ehr", &m, &h, nil, nil))
		}
		m, _ := hl7.Parse([]byte(noradrenaline(control, "0.4").String()))
		h := m.Header()
		key := digest([]byte(control))
		f.memory.Begin(key, front.Order{Source: 1, Digest: 1, Keep: rememberFor})
		f.expect("ehr", &m, &h, []*gate.Answer{{}}, &key)
		f.answered(pendingKey{"CastorEHR", control}, "CE")
		return f.memory.Look(key, front.Order{}).Known.Fate
	}
	for control, x := range map[string]struct {
		before string
		want   front.Fate
	}{"1": {"", front.Rejected}, "2": {"NE", front.Doubted}, "3": {"AL", front.Doubted}} {
		if got := ended(control, x.before); got != x.want {
			t.Errorf("after another message %q: %d, want %d", x.before, got, x.want)
		}
	}
}

// TestRoomForOrders: messages that are never answered leave room for orders.
func TestRoomForOrders(t *testing.T) {
	b := newBench(t, nil)
	defer b.stop()
	expect := func(control string, answers []*gate.Answer) *pending {
		m, _ := hl7.Parse([]byte(noradrenaline(control, "0.4").String()))
		h := m.Header()
		return b.front.expect("ehr", &m, &h, answers, nil)
	}
	order := expect("RGV-1", []*gate.Answer{{}})
	for n := range maxPending + 10 {
		expect(fmt.Sprint("ADT-", n), nil)
	}
	b.front.mu.Lock()
	defer b.front.mu.Unlock()
	if b.front.pending[order.key] != order || len(b.front.pending) != maxPending+1 {
		t.Errorf("%d wait, and the order: %v", len(b.front.pending), b.front.pending[order.key] == order)
	}
}

// TestConfirm: a prescriber confirms at the guard's page, and the order goes out.
func TestConfirm(t *testing.T) {
	b := newBench(t, nil)
	b.enveloped()
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "0.7").String()
	c.send(o)
	c.answer()
	if a := b.returned(); a.code != "AE" {
		t.Fatalf("told %v", a)
	}
	held := b.gate.Held()
	if len(held) != 1 || len(b.gateway.received()) != 0 {
		t.Fatalf("%d held, %d sent", len(held), len(b.gateway.received()))
	}
	if err := b.gate.Confirm(t.Context(), b.people[0], held[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := b.gateway.received(); len(got) != 1 || string(got[0]) != string(hl7.AppendBlock(nil, []byte(o))) {
		t.Errorf("%d sent", len(got))
	}
	// Another, that the person refuses.
	c.send(noradrenaline("RGV-2", "0.8").String())
	c.answer()
	b.returned()
	if err := b.gate.Refuse(b.people[0], b.gate.Held()[0].ID, "too early"); err != nil {
		t.Fatal(err)
	}
	c.send(noradrenaline("RGV-2", "0.8").String())
	c.answer()
	if a := b.returned(); a.code != "AE" || len(b.gateway.received()) != 1 {
		t.Errorf("told %v", a)
	}
}
