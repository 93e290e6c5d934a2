// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

// expectOrder expects the answers to an order that owes both.
func (b *bench) expectOrder(sender, control string, answers []*gate.Answer) *pending {
	b.t.Helper()
	m, err := hl7.Parse([]byte(noradrenaline(control, "0.2").String()))
	if err != nil {
		b.t.Fatal(err)
	}
	h := m.Header()
	w := b.front.expect(sender, &m, &h, answers, nil)
	if w == nil {
		b.t.Fatalf("order %s of %s may not wait", control, sender)
	}
	return w
}

// TestOwedAnswers: a device that never sends the answers that it owes costs no sender
// an order: at the bound the oldest of that sender is in doubt, and of no other.
func TestOwedAnswers(t *testing.T) {
	b := newBench(t, nil)
	b.enveloped()
	waits := func(w *pending) bool {
		b.front.mu.Lock()
		defer b.front.mu.Unlock()
		return b.front.pending[w.key] == w
	}
	// The oldest order has a dose, so that the book can tell what becomes of it.
	c := b.dial("ehr.stada.example")
	c.send(noradrenaline("EHR-0", "0.4").String())
	if a := c.answer(); a.code != "CA" {
		t.Fatalf("told %v", a)
	}
	other := b.expectOrder("pharmacy", "PH-0", []*gate.Answer{{}})
	var second *pending
	for i := 1; i < maxPending; i++ {
		if w := b.expectOrder("ehr", fmt.Sprint("EHR-", i), []*gate.Answer{{}}); i == 1 {
			second = w
		}
	}
	if n := len(b.book.Doubts()); n != 0 {
		t.Fatalf("%d in doubt with as many as may wait", n)
	}
	last := b.expectOrder("ehr", fmt.Sprint("EHR-", maxPending), []*gate.Answer{{}})
	if n := len(b.book.Doubts()); n != 1 {
		t.Errorf("%d in doubt with one more than may wait, want the oldest", n)
	}
	if !waits(second) || !waits(last) || !waits(other) {
		t.Error("more than the oldest made room")
	}
	// Answered, it leaves room: nobody has to go.
	b.front.answered(last.key, "AA")
	b.expectOrder("ehr", "EHR-NEXT", []*gate.Answer{{}})
	if !waits(second) {
		t.Error("the oldest made room although there was some")
	}
	b.expectOrder("ehr", "EHR-LAST", []*gate.Answer{{}})
	if waits(second) || !waits(other) {
		t.Error("not the oldest of this sender made room")
	}
	// The same number again takes the place of the first, and of nobody else.
	again := b.expectOrder("ehr", "EHR-LAST", []*gate.Answer{{}})
	if b.front.queues["ehr\x00orders"].Len() != maxPending || !waits(again) {
		t.Errorf("%d wait", b.front.queues["ehr\x00orders"].Len())
	}
}
