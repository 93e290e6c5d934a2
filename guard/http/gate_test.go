// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
)

const flowEnvelope = `envelope: 1
name: heparin, intensive care
version: 2
author: {id: MH, role: prescriber}
approver: {id: JR, role: nurse}
risk: {record: RM-2026-014, manufacturer: "letter of 2 February 2026: no objection"}
enforce: true
therapy: drug infusion
sums:
  unit: mL
  windows:
    - {window: 1h, highest: 60 mL}
verbs:
  set-infusion-rate: {min: 1 mL/h, max: 40 mL/h, confirm: second-person, above: 20 mL/h, hold: 5m, takes: 1m}
`

// pumpOrder is an order for an infusion pump, as a hospital information system writes it.
func pumpOrder(rate string) string {
	return "{\n  \"resourceType\": \"DeviceRequest\", \"status\": \"active\", \"intent\": \"order\",\n" +
		"  \"codeReference\": {\"reference\": \"Device/pump-4\"}, \"subject\": {\"reference\": \"Patient/1\"},\n" +
		"  \"parameter\": [ {\"valueQuantity\": {\"value\": " + rate + ", \"unit\": \"mL/h\", \"system\": \"http://unitsofmeasure.org\", \"code\": \"mL/h\"}} ]\n}\n"
}

// TestGate: the front with the gate, an envelope and the book of doses, from an order in
// TLS to what the pump's own system gets.
func TestGate(t *testing.T) {
	e, err := envelope.Load("heparin.yaml", []byte(flowEnvelope))
	if err != nil {
		t.Fatal(err)
	}
	book, err := envelope.OpenBook(envelope.Config{Path: filepath.Join(t.TempDir(), "doses")})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	w := &ward{t: t, now: clock}
	nurse, prescriber := gate.Person{ID: "JR", Role: envelope.Nurse}, gate.Person{ID: "MH", Role: envelope.Prescriber}
	g := gate.New(gate.Config{
		Now: clock, Page: "https://guard.icu:8443/", Book: book, People: []gate.Person{nurse, prescriber},
		Devices: map[string]gate.Device{"ehr": {Therapy: device.DrugInfusion, Envelope: e}},
		Record: func(e *event.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, *e)
			return nil
		},
	})
	defer g.Close()
	w.gate = g
	srv := httptest.NewServer(http.HandlerFunc(w.fhir))
	defer srv.Close()
	w.start(t, serverSide, srv.Listener.Addr().String())
	c := w.caller("castor.example")
	order := func(rate string, status int, words ...string) {
		t.Helper()
		got, text := w.do(c, "POST", "/fhir/DeviceRequest", fhirJSON, pumpOrder(rate))
		if got != status {
			t.Fatalf("%s mL/h: %d, want %d: %s", rate, got, status, text)
		}
		if status < 300 {
			return
		}
		var outcome struct {
			ResourceType string
			Issue        []struct{ Details struct{ Text string } }
		}
		if json.Unmarshal([]byte(text), &outcome) != nil || outcome.ResourceType != "OperationOutcome" || len(outcome.Issue) != 1 {
			t.Fatalf("no OperationOutcome: %s", text)
		}
		for _, word := range words {
			if !strings.Contains(outcome.Issue[0].Details.Text, word) {
				t.Errorf("%s mL/h: %q does not say %q", rate, outcome.Issue[0].Details.Text, word)
			}
		}
	}
	reached := func(n int, rate string) {
		t.Helper()
		saw := w.saw()
		if len(saw) != n || saw[n-1].body != pumpOrder(rate) {
			t.Fatalf("%d reached the device, want %d, the last byte for byte: %q", len(saw), n, saw)
		}
	}

	order("10", 201)
	reached(1, "10")
	if v := book.View("ehr", e); v.Rate[1].String() != "10.000000 mL/h" {
		t.Errorf("the book has %s", v.Rate[1])
	}
	order("41", 403, "set-infusion-rate max 40 mL/h", "heparin, intensive care v2, line 14")
	reached(1, "10")

	// Above 20 mL/h somebody else confirms it.
	order("30", 409, "confirm it at https://guard.icu:8443/ before ")
	order("30", 409, "confirm it at https://guard.icu:8443/ before ") // a repeat is the same order
	held := g.Held()
	if len(held) != 1 {
		t.Fatalf("%d wait", len(held))
	}
	reached(1, "10")
	if err := g.Confirm(t.Context(), gate.Person{ID: "TE"}, held[0].ID); err == nil {
		t.Error("an analyst confirms it")
	}
	if err := g.Confirm(t.Context(), nurse, held[0].ID); err != nil {
		t.Fatal(err)
	}
	reached(2, "30")
	if v := book.View("ehr", e); v.Rate[1].String() != "30.000000 mL/h" || len(v.Doubts) != 0 {
		t.Errorf("the book has %s, %d doubts", v.Rate[1], len(v.Doubts))
	}
	if err := g.Confirm(t.Context(), prescriber, held[0].ID); err == nil {
		t.Error("it is confirmed twice")
	}
	order("30", 409, "confirmed and sent once", "answered 201") // its sender does not know
	order("30", 409, "confirmed and sent once", "answered 201")
	reached(2, "30")
	if n := len(g.Held()); n != 0 {
		t.Errorf("%d wait for a repeat", n)
	}

	// One that nobody confirms is never delivered, whoever comes too late.
	order("31", 409, "confirm it at ")
	late := g.Held()[0].ID
	mu.Lock()
	now = now.Add(5 * time.Minute)
	mu.Unlock()
	if err := g.Confirm(t.Context(), nurse, late); err == nil {
		t.Error("it is confirmed after its time")
	}
	order("32", 409, "confirm it at ")
	mu.Lock()
	now = now.Add(5 * time.Minute)
	mu.Unlock()
	g.Sweep(clock())
	if len(g.Held()) != 0 {
		t.Error("it waits after its time")
	}
	reached(2, "30")
	order("30", 409, "confirm it at ") // later the same order is another one
	if err := g.Refuse(prescriber, g.Held()[0].ID, "too much"); err != nil {
		t.Fatal(err)
	}
	reached(2, "30")
	order("10", 201) // and nothing of all this stands in the way of one that may pass
	reached(3, "10")
	if strings.Contains(w.refusals(), "Patient/1") {
		t.Error("a patient's id was recorded")
	}
}
