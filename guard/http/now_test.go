// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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

// TestConfirmedAndRestarted: what a person confirmed and was sent is not sent again after a
// restart, also when the guard was killed before the device answered.
func TestConfirmedAndRestarted(t *testing.T) {
	arrived, answers := make(chan struct{}, 8), make(chan struct{}, 8)
	var w *ward
	device201 := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-answers
		w.fhir(rw, r)
	})
	srv := httptest.NewServer(device201)
	defer srv.Close()
	w = &ward{t: t, state: t.TempDir()}
	var held *gate.Ask
	w.verify = func(a *gate.Ask) *gate.Answer {
		if a.Release == nil {
			return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: "it cannot wait for that here"}
		}
		held = a
		return &gate.Answer{Verdict: device.Hold, Enforced: true, Hold: "1", Expires: time.Now().Add(time.Minute)}
	}
	w.start(t, serverSide, srv.Listener.Addr().String())
	file := filepath.Join(w.state, "ehr.orders")
	post := func(dosage string, want int, words string) {
		t.Helper()
		got, text := w.do(w.caller("castor.example"), "POST", "/fhir/MedicationRequest", fhirJSON, orderOf(dosage, ""))
		if got != want || !strings.Contains(text, words) {
			t.Fatalf("%d %s", got, text)
		}
	}
	restart := func(leaves []byte) {
		t.Helper()
		w.stop()
		<-w.end
		if leaves != nil {
			if err := os.WriteFile(file, leaves, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.certificates = nil
		w.start(t, serverSide, srv.Listener.Addr().String())
	}
	post(paced, 409, "a second person")
	answers <- struct{}{}
	held.Release(t.Context(), &gate.Answer{Verdict: device.Allow, Pass: true})
	<-arrived
	post(paced, 409, "confirmed and sent once, and the device answered 201")
	restart(nil)
	post(paced, 409, "confirmed and sent once, and the device took it")

	// Killed while it is sent.
	other := strings.Replace(paced, "0.2", "0.3", 1)
	post(other, 409, "a second person")
	done := make(chan struct{})
	go func() {
		defer close(done)
		held.Release(context.Background(), &gate.Answer{Verdict: device.Allow, Pass: true})
	}()
	<-arrived
	killed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	answers <- struct{}{}
	<-done
	restart(killed)
	post(other, 409, "confirmed and sent once, and it is in doubt what came of it")
	post(paced, 409, "confirmed and sent once, and the device took it")
	if n := len(arrived); n != 0 {
		t.Errorf("%d more came to the device", n)
	}

	// What is damaged is not believed: no order can wait, and what needs no person passes.
	killed[len(killed)/2] ^= 1
	restart(killed)
	post(paced, 403, "it cannot wait for that here")
	if why := w.front.env.Trouble(); !strings.Contains(why, "damaged") {
		t.Errorf("in trouble because of %q", why)
	}
	answers <- struct{}{}
	if got, text := w.do(w.caller("castor.example"), "GET", "/fhir/Patient/1", "", ""); got != 200 {
		t.Errorf("a read: %d %s", got, text)
	}
}
