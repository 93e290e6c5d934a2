// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"maps"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
)

// TestStill: what waits may be asked for by the policy of now.
func TestStill(t *testing.T) {
	w := guard(t, serverSide, nil)
	c := w.caller("castor.example")
	var held *gate.Ask
	w.verify = func(a *gate.Ask) *gate.Answer {
		held = a
		return &gate.Answer{Verdict: device.Hold, Enforced: true, Hold: "1", Expires: time.Now().Add(time.Minute)}
	}
	transaction := `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"POST","url":"MedicationRequest"},"resource":` + orderOf(paced, "") + `}]}`
	for path, body := range map[string]string{"/fhir/MedicationRequest": orderOf(paced, ""), "/fhir": transaction} {
		if got, text := w.do(c, "POST", path, fhirJSON, body); got != 409 {
			t.Fatalf("%d %s", got, text)
		}
		before := w.front.policy.Load()
		for name, x := range map[string]struct {
			change func(p *Policy)
			still  bool
		}{
			"nothing":        {func(*Policy) {}, true},
			"another client": {func(p *Policy) { delete(p.Clients, "viewer") }, true},
			"client removed": {func(p *Policy) { delete(p.Clients, "castor") }, false},
			"certificate":    {func(p *Policy) { p.Clients["castor"] = &Client{Certificate: "other.example", Role: device.Clinician} }, false},
			"rule removed":   {func(p *Policy) { p.Allow = p.Allow[1:] }, false},
			"observed":       {func(p *Policy) { p.Allow, p.Mode = p.Allow[1:], front.Observe }, true},
			"device":         {func(p *Policy) { p.Device = "other" }, false},
		} {
			p := *before
			p.Clients = maps.Clone(before.Clients)
			x.change(&p)
			w.front.Update(&p)
			if why := held.Still(); (why == "") != x.still {
				t.Errorf("%s: %s: %q", path, name, why)
			}
		}
		p := *before
		p.Clients = map[string]*Client{"castor": {Certificate: "castor.example", Role: device.Patient, Requests: 50}}
		w.front.Update(&p)
		if held.Renew(&held.Request); held.Request.Command.Role != device.Patient {
			t.Errorf("judged by the role %v that it had", held.Request.Command.Role)
		}
		w.front.Update(before)
	}
	w.stop()
	<-w.end
	if held.Still() == "" {
		t.Error("a front that has ended lets it go out")
	}
}
