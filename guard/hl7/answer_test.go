// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

func deny(*gate.Ask) *gate.Answer {
	return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: "set-infusion-rate max 1.0 ug/kg/min"}
}

// TestRefused holds what a refused sender is told against section 7 of the rules of
// therapy safety.
func TestRefused(t *testing.T) {
	const reason = "refused: set-infusion-rate max 1.0 ug/kg/min"
	for _, test := range []struct {
		accept, application string
		same, back          string // kind and code on the same connection, and on one of its own
	}{
		{"AL", "AL", "ACK^O15 CA", "RRG^O16 AE"},
		{"AL", "ER", "ACK^O15 CA", "RRG^O16 AE"},
		{"AL", "NE", "ACK^O15 CE", ""},
		{"AL", "", "ACK^O15 CE", ""},
		{"AL", "SU", "ACK^O15 CE", ""},
		{"SU", "AL", "ACK^O15 CA", "RRG^O16 AE"},
		{"ER", "NE", "ACK^O15 CE", ""},
		{"ER", "AL", "", "RRG^O16 AE"},
		{"NE", "AL", "", "RRG^O16 AE"},
		{"", "AL", "", "RRG^O16 AE"},
		{"NE", "NE", "", ""},
		{"", "", "RRG^O16 AE", ""},
	} {
		t.Run(test.accept+"/"+test.application, func(t *testing.T) {
			b := newBench(t, nil)
			b.ask = func(a *gate.Ask) *gate.Answer {
				if a.Request.Command.Value.Coefficient == 4 {
					return deny(a)
				}
				return nil
			}
			c := b.dial("ehr.stada.example")
			o := noradrenaline("RGV-9", "4")
			o.accept, o.application = test.accept, test.application
			c.send(o.String())
			if test.back != "" {
				a := b.returned()
				if got := a.kind + " " + a.code; got != test.back || a.control != "RGV-9" || a.reason != reason {
					t.Errorf("on the way back %q %v", got, a)
				}
			}
			if test.same != "" {
				a := c.answer()
				if got := a.kind + " " + a.code; got != test.same || a.control != "RGV-9" || a.code[1] == 'E' && a.reason != reason {
					t.Errorf("on the same connection %q %v", got, a)
				}
			}
			// Nothing else was said: the next answer is of the next order.
			c.send(noradrenaline("RGV-10", "0.3").String())
			if a := c.answer(); a.control != "RGV-10" || a.code != "CA" {
				t.Errorf("then %v", a)
			}
			if n := len(b.gateway.received()); n != 1 {
				t.Errorf("the gateway has %d messages", n)
			}
			b.stop()
			select {
			case <-b.ehr.got:
				t.Error("one answer more on the way back")
			default:
			}
		})
	}
}

// TestNoWayBack: a sender without a way back, and one that is not proven.
func TestNoWayBack(t *testing.T) {
	b := newBench(t, nil)
	b.ask = deny
	o := noradrenaline("RGV-1", "4")
	o.app = "Pharma"
	c := b.dial("pharmacy.stada.example")
	c.send(o.String())
	if a := c.answer(); a.code != "CE" || !strings.Contains(a.reason, "max 1.0") {
		t.Errorf("without a way back: %v", a)
	}
	// From the scanner, in the name of the hospital information system: AE where it came
	// from, and nothing to the one that it names.
	c = b.dial("ct-1.stada.example")
	c.send(noradrenaline("RGV-90213", "4").String())
	if a := c.answer(); a.kind != "RRG^O16" || a.code != "AE" || a.control != "RGV-90213" {
		t.Errorf("not proven: %v", a)
	}
	if a := b.asked[1]; a.Actor != "" || a.Request.Command.Channel != device.Encrypted || a.Request.Command.Role != device.NoRole {
		t.Errorf("asked as %+v", a)
	}
	b.stop()
	if len(b.ehr.got) != 0 || len(b.gateway.received()) != 0 {
		t.Error("somebody else heard of it")
	}
}

// TestUnproven: the lists refuse who is not proven, whatever the envelope says.
func TestUnproven(t *testing.T) {
	b := newBench(t, nil)
	c := b.dial("ct-1.stada.example")
	c.send(noradrenaline("RGV-1", "0.2").String())
	if a := c.answer(); a.code != "AE" || !strings.Contains(a.reason, unproven) {
		t.Errorf("%v", a)
	}
	if len(b.gateway.received()) != 0 {
		t.Error("it passed")
	}
}

// TestHeld: nobody waits for a person; what is released goes out byte for byte, and
// its answer to the sender's side.
func TestHeld(t *testing.T) {
	for _, mode := range []string{"enhanced", "original"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, nil)
			held := make(chan *gate.Ask, 1)
			b.ask = func(a *gate.Ask) *gate.Answer {
				held <- a
				return &gate.Answer{Verdict: device.Hold, Enforced: true, Hold: "17", Reason: "a second person confirms more than 0.5 ug/kg/min"}
			}
			c := b.dial("ehr.stada.example")
			o := noradrenaline("RGV-1", "0.7")
			if mode == "original" {
				o.accept, o.application = "", ""
				b.gateway.answer = func(m *hl7.Message, _ []byte) []byte {
					h := m.Header()
					return testAnswers.application(m, &h, "AA", "", "")
				}
			}
			c.send(o.String())
			told := func() answer {
				if mode == "original" {
					return c.answer()
				}
				if a := c.answer(); a.code != "CA" {
					t.Errorf("accept acknowledgement %v", a)
				}
				return b.returned()
			}
			want := "not given yet: confirm at https://guard.icu:8443/ (number 17): a second person confirms more than 0.5 ug/kg/min"
			if a := told(); a.code != "AE" || a.reason != want {
				t.Errorf("told %v", a)
			}
			// Again, while it waits: one is enough.
			c.send(o.String())
			if a := told(); a.code != "AE" || a.reason != want {
				t.Errorf("told %v", a)
			}
			ask := <-held
			ask.Release(t.Context(), &gate.Answer{Verdict: device.Allow, Pass: true, Enforced: true})
			got := b.gateway.received()
			if len(got) != 1 || string(got[0]) != string(hl7.AppendBlock(nil, []byte(o.String()))) {
				t.Fatalf("the gateway has %d messages", len(got))
			}
			if mode == "original" {
				if a := b.returned(); a.kind != "RRG^O16" || a.code != "AA" {
					t.Errorf("on the way back %v", a)
				}
			}
			c.send(o.String())
			want = map[string]string{"enhanced": "CA", "original": "AA"}[mode]
			if a := c.answer(); a.code != want {
				t.Errorf("again, after it was released: %v", a)
			}
			if len(b.gateway.received()) != 1 || len(held) != 0 {
				t.Error("it was given twice")
			}
		})
	}
}

// TestGone: what a person refuses, or nobody confirms, never goes out, and is
// answered so when it comes again.
func TestGone(t *testing.T) {
	b := newBench(t, nil)
	b.ask = func(a *gate.Ask) *gate.Answer {
		time.AfterFunc(0, func() { a.Gone("nobody confirmed it in time") })
		return &gate.Answer{Verdict: device.Hold, Enforced: true, Hold: "17", Reason: "a second person"}
	}
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "0.7")
	for i := range 50 {
		c.send(o.String())
		c.answer()
		if a := b.returned(); a.reason == "refused: nobody confirmed it in time" {
			return
		} else if i == 49 {
			t.Errorf("told %v", a)
		}
	}
}

// TestSteps: of several steps all pass, or nothing does, and no step waits for a
// person while the others go.
func TestSteps(t *testing.T) {
	b := newBench(t, nil)
	n := 0
	b.ask = func(a *gate.Ask) *gate.Answer {
		if a.Release != nil {
			t.Error("a step can be held")
		}
		if n++; n == 2 {
			return deny(a)
		}
		return nil
	}
	o := noradrenaline("RGV-1", "0.2").String()
	i, j := strings.Index(o, "RXG|"), strings.Index(o, "OBX|1")
	second := strings.Replace(o[i:j], "RXG|1", "RXG|2", 1)
	o = strings.Replace(o, "ORC|XO", "ORC|RE", 1) + second
	c := b.dial("ehr.stada.example")
	c.send(o)
	c.answer()
	if a := b.returned(); a.code != "AE" {
		t.Errorf("told %v", a)
	}
	if n != 2 || len(b.gateway.received()) != 0 {
		t.Errorf("%d asked, %d sent", n, len(b.gateway.received()))
	}
}

// TestUnreachable: a device that cannot be reached gets nothing later, and the
// order may come again.
func TestUnreachable(t *testing.T) {
	b := newBench(t, nil)
	addr := b.gateway.ln.Addr().String()
	b.gateway.stop()
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "0.2").String()
	for range 2 {
		c.send(o)
		if a := c.answer(); a.code != "CE" || !strings.Contains(a.reason, "cannot be reached") {
			t.Errorf("told %v", a)
		}
	}
	b.gateway = listenGateway(t, addr)
	c.send(o)
	if a := c.answer(); a.code != "CA" {
		t.Errorf("told %v", a)
	}
}

// TestInDoubt: a gateway that takes an order and says nothing. The sender is told
// in time, nothing is sent again, and a late answer settles it.
func TestInDoubt(t *testing.T) {
	b := newBench(t, func(p *Policy) { p.AnswerWithin = 100 * time.Millisecond })
	b.gateway.answer = nil
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "0.2").String()
	for range 2 { // the second is not sent
		c.send(o)
		if a := c.answer(); a.code != "CA" {
			t.Errorf("told %v", a)
		}
		if a := b.returned(); a.code != "AE" || a.reason != inDoubt {
			t.Errorf("told %v", a)
		}
	}
	if n := len(b.gateway.received()); n != 1 {
		t.Fatalf("the gateway has %d messages", n)
	}
	m, _ := hl7.Parse([]byte(o))
	late := commit("CA")(&m, nil)
	b.gateway.mu.Lock()
	for c := range b.gateway.conns {
		c.Write(late)
	}
	b.gateway.mu.Unlock()
	if a := c.answer(); a.code != "CA" || a.control != "RGV-1" { // passes, as all that the device says
		t.Errorf("late answer %v", a)
	}
	c.send(o)
	if a := c.answer(); a.code != "CA" {
		t.Errorf("again: %v", a)
	}
	b.stop()
	if len(b.ehr.got) != 0 {
		t.Error("still in doubt")
	}
}
