// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/fhir"
)

// order returns an infusion with its dosage, and with what else stands in it.
func orderOf(dosage, more string) string {
	return `{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"reference":"Patient/1"},
	"medicationCodeableConcept":{"text":"noradrenaline"},"dosageInstruction":[` + dosage + `]` + more + `}`
}

const (
	paced = `{"doseAndRate":[{"rateQuantity":{"value":0.2,"unit":"ug/kg/min","system":"http://unitsofmeasure.org","code":"ug/kg/min"}}]}`
	bolus = `{"doseAndRate":[{"doseQuantity":{"value":4.0,"unit":"U"}}]}`
)

// TestOrders reads what orders have a device do; what has more than one reading
// is undecided.
func TestOrders(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		want string // verb value limit drug, or "?"
	}{
		"rate":      {orderOf(paced, ""), "set-infusion-rate 0.2 ug/kg/min  noradrenaline"},
		"bolus":     {orderOf(bolus, ""), "deliver-bolus 4.0 [iU]  noradrenaline"},
		"both":      {orderOf(`{"doseAndRate":[{"doseQuantity":{"value":50,"code":"mL"},"rateQuantity":{"value":10,"code":"mL/h"}}]}`, ""), "set-infusion-rate 10 mL/h 50 mL noradrenaline"},
		"ratio":     {orderOf(`{"doseAndRate":[{"rateRatio":{"numerator":{"value":10,"code":"mL"},"denominator":{"value":1,"code":"h"}}}]}`, ""), "set-infusion-rate 10 mL/h  noradrenaline"},
		"device":    {`{"resourceType":"DeviceRequest","status":"active","intent":"order","codeReference":{"reference":"Device/1"},"subject":{"reference":"Patient/1"},"parameter":[{"valueQuantity":{"value":12.5,"code":"mL/h"}}]}`, "set-infusion-rate 12.5 mL/h  "},
		"stopped":   {strings.Replace(orderOf(paced, ""), "active", "stopped", 1), "stop-infusion   "},
		"on hold":   {strings.Replace(orderOf(paced, ""), "active", "on-hold", 1), "stop-infusion   "},
		"contained": {`{"resourceType":"Task","contained":[` + orderOf(paced, "") + `]}`, "set-infusion-rate 0.2 ug/kg/min  noradrenaline"},

		"draft":          {strings.Replace(orderOf(paced, ""), "active", "draft", 1), "?"},
		"no status":      {strings.Replace(orderOf(paced, ""), `"status":"active",`, "", 1), "?"},
		"plan":           {strings.Replace(orderOf(paced, ""), `"intent":"order"`, `"intent":"plan"`, 1), "?"},
		"two dosages":    {orderOf(paced+","+strings.Replace(paced, "0.2", "20", 1), ""), "?"},
		"two rates":      {orderOf(strings.Replace(paced, `}]}`, `},{"rateQuantity":{"value":20,"code":"ug/kg/min"}}]}`, 1), ""), "?"},
		"rate and ratio": {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":1,"code":"mL/h"},"rateRatio":{"numerator":{"value":10,"code":"mL"},"denominator":{"value":1,"code":"h"}}}]}`, ""), "?"},
		"modifier":       {orderOf(paced, `,"modifierExtension":[{"url":"x"}]`), "?"},
		"do not":         {orderOf(paced, `,"doNotPerform":true`), "?"},
		"rules":          {orderOf(paced, `,"implicitRules":"x"`), "?"},
		"timing":         {orderOf(strings.Replace(paced, "{", `{"timing":{"repeat":{"frequency":3}},`, 1), ""), "?"},
		"as needed":      {orderOf(strings.Replace(bolus, "{", `{"asNeededBoolean":true,`, 1), ""), "?"},
		"range":          {orderOf(`{"doseAndRate":[{"rateRange":{"low":{"value":1},"high":{"value":9}}}]}`, ""), "?"},
		"comparator":     {orderOf(strings.Replace(paced, `"value"`, `"comparator":"<","value"`, 1), ""), "?"},
		"no unit":        {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":1}}]}`, ""), "?"},
		"other unit":     {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":1,"code":"furlong"}}]}`, ""), "?"},
		"units differ":   {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":1,"code":"mL/h","unit":"mL/min"}}]}`, ""), "?"},
		"a dose a rate":  {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":1,"code":"mL"}}]}`, ""), "?"},
		"text value":     {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":"1","code":"mL/h"}}]}`, ""), "?"},
		"huge":           {orderOf(`{"doseAndRate":[{"rateQuantity":{"value":1e999,"code":"mL/h"}}]}`, ""), "?"},
		"ratio of 8":     {orderOf(`{"doseAndRate":[{"rateRatio":{"numerator":{"value":10,"code":"mL"},"denominator":{"value":8,"code":"h"}}}]}`, ""), "?"},
		"nothing":        {orderOf(`{}`, ""), "?"},
		"no dosage":      {`{"resourceType":"MedicationRequest","status":"active","intent":"order"}`, "?"},
		"amplitude":      {`{"resourceType":"DeviceRequest","status":"active","intent":"order","parameter":[{"valueQuantity":{"value":3,"code":"mA"}}]}`, "?"},
		"switch":         {`{"resourceType":"DeviceRequest","status":"active","intent":"order","parameter":[{"valueBoolean":true}]}`, "?"},
	} {
		c, why := readContent(fhirJSON, []byte(tt.in), "/fhir")
		if why != "" || len(c.orders) != 1 {
			t.Errorf("%s: %s, %d orders", name, why, len(c.orders))
			continue
		}
		o := c.orders[0]
		got := fmt.Sprintf("%s %s %s %s", o.verb, o.value, o.limit, o.drug)
		if o.undecided != "" {
			got = "?"
		}
		if got != tt.want {
			t.Errorf("%s: %s (%s), want %s", name, got, o.undecided, tt.want)
		}
	}
	for name, in := range map[string]string{
		"duplicate":     strings.Replace(orderOf(paced, ""), `"value":0.2`, `"value":0.2,"value":20`, 1),
		"case":          strings.Replace(orderOf(paced, ""), "resourceType", "ResourceType", 1),
		"escaped twice": `{"resourceType":"Patient","\u0072esourceType":"MedicationRequest"}`,
		"trailing":      orderOf(paced, "") + "{}",
		"cut":           orderOf(paced, "")[:100],
		"not UTF-8":     "{\"resourceType\":\"\xff\"}",
		"BOM":           "\ufeff" + orderOf(paced, ""),
		"deep":          strings.Repeat("[", maxDepth+2) + strings.Repeat("]", maxDepth+2),
	} {
		if _, why := readContent(fhirJSON, []byte(in), "/fhir"); why == "" {
			t.Errorf("%s was read", name)
		}
	}
	xml := `<MedicationRequest xmlns="http://hl7.org/fhir"><status value="active"/></MedicationRequest>`
	for _, media := range []string{"application/fhir+xml", "text/xml", ""} {
		if _, why := readContent(media, []byte(xml), "/fhir"); why == "" {
			t.Errorf("an order in XML as %q was read", media)
		}
	}
	// Under another name, and with the name of what it is far from its beginning.
	for _, in := range []string{
		`{"id":"` + strings.Repeat("x", 300) + `","resourceType":"MedicationRequest","medicationCodeableConcept":{"text":"x"}}`,
		`{"resource\u0054ype":"MedicationRequest"}`, `{"id":"` + strings.Repeat("x", 300) + `","resourceType":"Patient","resourceType":"MedicationRequest"}`,
	} {
		for _, media := range []string{"text/json", "application/vnd.example+json", "application/x-ndjson", "text/plain", "application/octet-stream"} {
			if c, why := readContent(media, []byte(in), "/fhir"); why == "" && len(c.orders) == 0 {
				t.Errorf("an order as %q was missed", media)
			}
		}
	}
	for _, media := range []string{"text/xml+fhir", "application/vnd.example+xml"} {
		if _, why := readContent(media, []byte(`<?xml version="1.0"?><!--`+strings.Repeat("x", 300)+"-->"+xml), "/fhir"); why == "" {
			t.Errorf("an order in XML as %q was read", media)
		}
	}
	for media, in := range map[string]string{"application/rtf": `{\rtf1 "resource"}`, "image/svg+xml": `<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>`, "text/plain": "{", "application/pdf": "%PDF"} {
		if _, why := readContent(media, []byte(in), "/fhir"); why != "" {
			t.Errorf("a document as %q: %s", media, why)
		}
	}
	if _, why := readContent("application/fhir+xml", []byte(`<Patient xmlns="http://hl7.org/fhir"/>`), "/fhir"); why != "" {
		t.Error(why)
	}
	if _, why := readContent("application/fhir+json; charset=utf-16", []byte("{}"), "/fhir"); why == "" {
		t.Error("another character set was read")
	}
}

// TestCommands: orders go to the gate, and what it refuses does not go on.
func TestCommands(t *testing.T) {
	w := guard(t, serverSide, nil)
	c := w.caller("castor.example")
	w.verify = func(a *gate.Ask) *gate.Answer {
		if a.Request.Undecided == "" && a.Request.Command.Value.Coefficient < 5 {
			return &gate.Answer{Verdict: device.Allow, Pass: true, Enforced: true}
		}
		return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: "more than 1.0 ug/kg/min"}
	}
	if got, text := w.do(c, "POST", "/fhir/MedicationRequest", fhirJSON, orderOf(paced, "")); got != 201 {
		t.Fatalf("within the envelope: %d %s", got, text)
	}
	a := w.asked[0]
	cmd := a.Request.Command
	const proven = device.Encrypted | device.Authenticated | device.Fresh
	if a.Front != "ehr" || a.Device != "ehr" || a.Actor != "castor" || cmd.Verb != device.SetInfusionRate || cmd.Value.String() != "0.2 ug/kg/min" ||
		cmd.Role != device.Clinician || cmd.Channel != proven || cmd.Stage != device.Proposed || cmd.Drug != "noradrenaline" || a.Release == nil {
		t.Errorf("asked %+v", a)
	}
	steep := strings.Replace(orderOf(paced, ""), "0.2", "4", 1)
	steep = strings.Replace(steep, `"value":4`, `"value":40`, 1)
	entry := func(method, url, resource string) string {
		return `{"request":{"method":"` + method + `","url":"` + url + `"},"resource":` + resource + `}`
	}
	bundle := func(entries ...string) string {
		return `{"resourceType":"Bundle","type":"transaction","entry":[` + strings.Join(entries, ",") + `]}`
	}
	for name, tt := range map[string]struct {
		method, path, body string
		want               int
	}{
		"steep":         {"POST", "/fhir/MedicationRequest", steep, 403},
		"patch":         {"PATCH", "/fhir/MedicationRequest/1", `[{"op":"replace","path":"/status","value":"stopped"}]`, 403},
		"delete":        {"DELETE", "/fhir/MedicationRequest/1", "", 403},
		"in a bundle":   {"POST", "/fhir", bundle(entry("POST", "MedicationRequest", orderOf(paced, "")), entry("POST", "MedicationRequest", steep)), 403},
		"hidden":        {"POST", "/fhir/Observation", `{"resourceType":"Observation","contained":[` + steep + `]}`, 403},
		"operation":     {"POST", "/fhir/Observation/$process-message", `{"resourceType":"Bundle","type":"message","entry":[{"resource":` + steep + `}]}`, 403},
		"entry delete":  {"POST", "/fhir/", bundle(`{"request":{"method":"DELETE","url":"MedicationRequest/1"}}`), 403},
		"unlisted type": {"POST", "/fhir", bundle(entry("POST", "Practitioner", `{"resourceType":"Practitioner"}`)), 403},
		"type differs":  {"POST", "/fhir", bundle(entry("POST", "Patient", orderOf(paced, ""))), 422},
		"dots":          {"POST", "/fhir", bundle(entry("GET", "Patient/../Practitioner", "null")), 422},
		"absolute":      {"POST", "/fhir", bundle(entry("GET", "http://other/Patient/1", "null")), 422},
		"bundle in it":  {"POST", "/fhir", bundle(entry("POST", "", bundle())), 422},
		"no bundle":     {"POST", "/fhir", orderOf(paced, ""), 422},
		"message":       {"POST", "/fhir", `{"resourceType":"Bundle","type":"message"}`, 422},
		"include":       {"POST", "/fhir", bundle(entry("GET", "Observation?_include=*", "null")), 403},
		"XML":           {"POST", "/fhir/MedicationRequest", `<MedicationRequest xmlns="http://hl7.org/fhir"/>`, 422},
		"allowed":       {"POST", "/fhir", bundle(entry("POST", "MedicationRequest", orderOf(paced, "")), entry("GET", "Patient/1", "null")), 201},
	} {
		before, media := len(w.saw()), fhirJSON
		switch {
		case name == "XML":
			media = "application/fhir+xml"
		case tt.method == "PATCH":
			media = "application/json-patch+json"
		case tt.body == "":
			media = ""
		}
		got, text := w.do(c, tt.method, tt.path, media, tt.body)
		if got != tt.want {
			t.Errorf("%s: %d, want %d: %s", name, got, tt.want, text)
		}
		if reached := len(w.saw()) > before; reached != (tt.want < 300) {
			t.Errorf("%s: reached the device: %v", name, reached)
		}
		if name == "steep" && !strings.Contains(text, "the guard refused the order: more than 1.0 ug/kg/min") {
			t.Error(text)
		}
	}
	if strings.Contains(w.refusals(), "Patient/1") {
		t.Error("a patient's id was recorded")
	}
}

// TestHold: what waits is told so once, is not sent twice, and goes out when it
// is confirmed, or never.
func TestHold(t *testing.T) {
	w := guard(t, serverSide, nil)
	c := w.caller("castor.example")
	var mu sync.Mutex
	var held *gate.Ask
	asked := 0
	w.verify = func(a *gate.Ask) *gate.Answer {
		mu.Lock()
		defer mu.Unlock()
		held = a
		asked++
		return &gate.Answer{Verdict: device.Hold, Enforced: true, Hold: fmt.Sprint(asked), Expires: time.Now().Add(time.Minute)}
	}
	dosage := paced
	post := func() {
		t.Helper()
		got, text := w.do(c, "POST", "/fhir/MedicationRequest", fhirJSON, orderOf(dosage, ""))
		if got != 409 || !strings.Contains(text, "a second person has to confirm it at https://guard.icu:8443/ before ") {
			t.Fatalf("%d %s", got, text)
		}
	}
	post()
	post()
	if asked != 1 {
		t.Errorf("the same order was asked for %d times", asked)
	}
	if len(w.saw()) != 0 {
		t.Fatal("it reached the device before anybody confirmed it")
	}
	held.Release(t.Context(), &gate.Answer{Verdict: device.Allow, Pass: true})
	if saw := w.saw(); len(saw) != 1 || saw[0].body != orderOf(paced, "") {
		t.Errorf("released: %v", saw)
	}
	dosage = strings.Replace(paced, "0.2", "0.3", 1)
	post() // another order, once the first is done
	held.Gone("nobody confirmed it in time")
	if len(w.saw()) != 1 {
		t.Error("it reached the device after its time")
	}
	// Several orders at once cannot wait.
	two := `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"POST","url":"MedicationRequest"},"resource":` + orderOf(paced, "") +
		`},{"request":{"method":"POST","url":"MedicationRequest"},"resource":` + orderOf(bolus, "") + `}]}`
	w.verify = func(a *gate.Ask) *gate.Answer {
		if a.Release != nil {
			t.Error("one of two orders could be released alone")
		}
		return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: "it cannot wait for that here"}
	}
	if got, text := w.do(c, "POST", "/fhir", fhirJSON, two); got != 403 {
		t.Errorf("%d %s", got, text)
	}
	w.stop()
	<-w.end
	if w.front.others.budget.used != 0 || len(w.front.held) != 0 {
		t.Errorf("%d bytes and %d orders are still kept", w.front.others.budget.used, len(w.front.held))
	}
	held.Release(context.Background(), &gate.Answer{Verdict: device.Allow, Pass: true})
	if len(w.saw()) != 1 {
		t.Error("a front that has stopped sent an order")
	}
}

// orders counts those that the watcher's reader finds in JSON.
func orders(b []byte, media string) int {
	if !strings.Contains(media, "json") {
		return 0
	}
	n := 0
	_ = fhir.Scan(b, fhir.JSON, func(r *fhir.Resource) {
		if isOrder(r.Type) {
			n++
		}
	})
	return n
}
