// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/gate"
)

// TestHeldAndReload: an order that was held is held to the configuration of the moment in
// which it is confirmed, and its sender hears of it.
func TestHeldAndReload(t *testing.T) {
	for name, x := range map[string]struct {
		policy func(p *Policy)
		gate   func(b *bench)
		say    string // "": it goes out
	}{
		"nothing that matters": {policy: func(p *Policy) { p.Senders = p.Senders[:1] }},
		"sender removed":       {policy: func(p *Policy) { p.Senders = p.Senders[1:] }, say: "on no list"},
		"another's name":       {policy: func(p *Policy) { p.Senders[0].Name = "ehr-2" }, say: "only claimed"},
		"certificate":          {policy: func(p *Policy) { p.Senders[0].Certificates = []string{"ehr-2.stada.example"} }, say: "only claimed"},
		"type of message":      {policy: func(p *Policy) { p.Senders[0].Messages = []string{"ADT^A01"} }, say: "type of message"},
		"receiver":             {policy: func(p *Policy) { p.Receivers = []Party{{"Other", ""}} }, say: "receiving application"},
		"role":                 {policy: func(p *Policy) { p.Senders[0].Role = device.Technician }, say: "refused"},
		"pump removed":         {policy: func(p *Policy) { delete(p.Pumps, "pump-3") }, say: "which pump"},
		"pumps exchanged": {policy: func(p *Policy) {
			p.Pumps["pump-3"], p.Pumps["pump-4"] = p.Pumps["pump-4"], p.Pumps["pump-3"]
		}, say: "which pump"},
		"device removed": {gate: func(b *bench) { b.gate.Update(map[string]gate.Device{"pump-4": b.devices["pump-4"]}, b.people) }, say: "no longer guarded"},
		"no role":        {gate: func(b *bench) { b.gate.Update(b.devices, []gate.Person{{ID: "MH"}}) }, say: "-"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.enveloped()
			c := b.dial("ehr.stada.example")
			order := noradrenaline("RGV-1", "0.7").String()
			c.send(order)
			c.answer()
			b.returned()
			held := b.gate.Held()
			if len(held) != 1 {
				t.Fatalf("%d held", len(held))
			}
			next := *b.policy
			next.Senders, next.Pumps = slices.Clone(b.policy.Senders), maps.Clone(b.policy.Pumps)
			if x.policy != nil {
				x.policy(&next)
				b.front.Update(&next)
			} else {
				x.gate(b)
			}
			err := b.gate.Confirm(t.Context(), b.people[0], held[0].ID)
			if n := len(b.gateway.received()); (err == nil) != (x.say == "") || n != 0 && x.say != "" || n != 1 && x.say == "" {
				t.Fatalf("confirmed: %v, and %d came to the gateway", err, n)
			}
			switch x.say {
			case "":
				return
			case "-": // it goes on waiting for somebody who may
				if len(b.gate.Held()) != 1 {
					t.Error("it waits no more")
				}
				return
			}
			if got := b.events[len(b.events)-1]; device.Verdict(got.Int(event.Verdict)) != device.Deny || !strings.Contains(got.Text(event.Reason), "refused when it was judged again") {
				t.Errorf("recorded: %s", got.Text(event.Reason))
			}
			// Its sender, once more on the list, asks what came of it.
			b.front.Update(b.policy)
			c.send(order)
			c.answer()
			if a := b.returned(); a.code != "AE" || !strings.Contains(a.reason, "refused") || !strings.Contains(a.reason, strings.Trim(x.say, "-")) {
				t.Errorf("told %v", a)
			}
		})
	}
}

// TestHeldAndGone: what a front held that is no more goes nowhere.
func TestHeldAndGone(t *testing.T) {
	b := newBench(t, nil)
	b.enveloped()
	c := b.dial("ehr.stada.example")
	c.send(noradrenaline("RGV-1", "0.7").String())
	c.answer()
	b.returned()
	held := b.gate.Held()
	b.stop()
	if err := b.gate.Confirm(t.Context(), b.people[0], held[0].ID); err == nil || !strings.Contains(err.Error(), "the front that it came by is gone") || len(b.gateway.received()) != 0 {
		t.Errorf("confirmed: %v", err)
	}
}
