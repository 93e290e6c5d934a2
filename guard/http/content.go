// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/fhir"
)

// The bounds of what is understood of a body.
const (
	maxDepth   = 64      // arrays and objects in each other, as in proto/fhir
	maxValues  = 1 << 17 // values; a JSON tree of that many takes about 16 MB
	maxEntries = 1024    // of a bundle
	maxOrders  = 64      // in one body
	maxDrug    = 64      // bytes of a drug's name
)

// A content is what a body holds, as far as the guard judges it.
type content struct {
	typ     string // resourceType, or ""
	id      string
	bundle  string // its type
	entries []entry
	orders  []order
}

// An entry is one of a batch or transaction.
type entry struct {
	interaction
	typ string // of the resource that it carries
}

var errDuplicate = errors.New("a name stands twice in an object")

// readContent reads a body. why says in words what cannot be read; then what it
// asks for cannot be decided.
func readContent(mediaType string, b []byte, base string) (c *content, why string) {
	media, params, err := mime.ParseMediaType(mediaType)
	if mediaType != "" && err != nil {
		return nil, "its media type cannot be read"
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return nil, "it is not written in UTF-8"
	}
	// By whatever name: servers know more of them than the standard, such as text/json.
	if !strings.Contains(media, "json") || strings.Contains(media, "ndjson") {
		return readOther(media, b)
	}
	v, err := strictJSON(b)
	if err != nil {
		return nil, "its JSON cannot be read in one way only: " + err.Error()
	}
	c = &content{}
	top, _ := v.(map[string]any)
	c.typ, _ = top["resourceType"].(string)
	c.id, _ = top["id"].(string)
	if c.typ == "Bundle" {
		c.bundle, _ = top["type"].(string)
		if c.bundle == "batch" || c.bundle == "transaction" {
			if why := c.readEntries(top["entry"], base); why != "" {
				return nil, why
			}
		}
	}
	if why := c.findOrders(v); why != "" {
		return nil, why
	}
	return c, ""
}

// readOther reads what is not JSON, far enough to know that no order is in it. What says that it is something
// else, and is a resource all the same, may be read as one by a server that looks.
func readOther(media string, b []byte) (*content, string) {
	c := &content{}
	format := fhir.Recognise([]byte(media), b)
	if format == fhir.NoFormat {
		switch {
		case media == "" && len(b) > 0:
			return nil, "it has no media type"
		case strings.Contains(media, "xml") && !strings.HasPrefix(media, "image/"):
			format = fhir.XML
		case strings.Contains(media, "json"), isResource(b):
			format = fhir.JSON
		default:
			return c, ""
		}
	}
	orders := false
	err := fhir.Scan(b, format, func(r *fhir.Resource) {
		orders = orders || isOrder(r.Type)
		if r.Depth == 0 {
			c.typ, c.bundle = r.Type, string(r.Bundle.Type)
		}
	})
	switch {
	case err != nil:
		return nil, "it cannot be read"
	case format != fhir.XML || c.typ == "Bundle":
		return nil, "this front reads bundles written as application/fhir+json"
	case orders:
		return nil, "this front reads orders written as application/fhir+json"
	}
	return c, ""
}

// isResource reports whether a body is a resource in JSON, however far from its beginning it says so.
func isResource(b []byte) bool {
	if b = bytes.TrimLeft(b, "\ufeff \t\r\n"); !bytes.HasPrefix(b, []byte("{")) {
		return false
	}
	v, err := strictJSON(b)
	top, _ := v.(map[string]any)
	_, is := top["resourceType"]
	return is || err != nil && bytes.Contains(b, []byte(`"resourceType"`))
}

// readEntries reads the entries of a batch or transaction (R4 section 3.1.0.11).
func (c *content) readEntries(v any, base string) (why string) {
	list, ok := v.([]any)
	if v != nil && !ok || len(list) > maxEntries {
		return "its entries cannot be read, or are too many"
	}
	for _, e := range list {
		m, _ := e.(map[string]any)
		req, _ := m["request"].(map[string]any)
		method, ok1 := req["method"].(string)
		url, ok2 := req["url"].(string)
		if !ok1 || !ok2 {
			return "an entry does not say what it asks for"
		}
		r := request{method: method}
		if err := r.target("/" + url); err != nil {
			return "an entry's url: " + err.Error()
		}
		if method != "GET" && method != "HEAD" && method != "POST" && method != "PUT" && method != "PATCH" && method != "DELETE" {
			return "an entry has a method that FHIR does not have"
		}
		in, why := parseInteraction("", method, r.path, r.query)
		switch {
		case why != "":
			return "an entry: " + why
		case in.word == pathWord || in.word == "batch":
			return "an entry asks for what has no meaning in a bundle"
		}
		resource, _ := m["resource"].(map[string]any)
		typ, _ := resource["resourceType"].(string)
		id, _ := resource["id"].(string)
		if why := in.fits(typ, id); why != "" {
			return "an entry: " + why
		}
		c.entries = append(c.entries, entry{in, typ})
		if isOrder(in.typ) && in.undecidable() {
			c.orders = append(c.orders, order{undecided: undecidedEntry(in.word)})
		}
	}
	return ""
}

// fits says why a body's resource is not what its URL says.
func (in *interaction) fits(typ, id string) string {
	switch in.word {
	case "create", "update", "conditional-update":
		if typ != in.typ {
			return "its resource is not of the type that its URL says"
		}
		if in.word == "update" && id != in.id {
			return "its resource has not the id that its URL says"
		}
	}
	return ""
}

// undecidable reports whether an interaction with an order changes it in a way
// that the message alone does not tell.
func (in *interaction) undecidable() bool {
	switch in.word {
	case "patch", "conditional-patch", "delete", "conditional-delete":
		return true
	}
	return false
}

func undecidedEntry(word string) string {
	return "a " + word + " of an order: what the device then gives is not said"
}

// strictJSON reads one JSON value with no name twice in an object, within bounds.
func strictJSON(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not UTF-8")
	}
	if bytes.Contains(b, []byte(`\u0000`)) {
		return nil, errors.New("it has a character of no meaning")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	values := 0
	v, err := jsonValue(d, 0, &values)
	if err != nil {
		var s *json.SyntaxError
		if errors.As(err, &s) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("it is no JSON, or cut")
		}
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind its end")
	}
	return v, nil
}

func jsonValue(d *json.Decoder, depth int, values *int) (any, error) {
	if *values++; *values > maxValues || depth > maxDepth {
		return nil, errors.New("it is nested too deep, or has too many values")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		m := map[string]any{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := k.(string)
			if _, twice := m[name]; twice {
				return nil, errDuplicate
			}
			if m[name], err = jsonValue(d, depth+1, values); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := jsonValue(d, depth+1, values)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return t, nil
}

// An order is a MedicationRequest or DeviceRequest as the device will take it.
type order struct {
	verb      device.Verb
	value     device.Quantity
	limit     device.Quantity
	drug      string
	undecided string
}

func isOrder(typ string) bool { return typ == "MedicationRequest" || typ == "DeviceRequest" }

// findOrders finds the orders in a value, wherever they stand.
func (c *content) findOrders(v any) (why string) {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			if strings.EqualFold(name, "resourceType") && name != "resourceType" {
				return "a name that some programs read as resourceType"
			}
		}
		if t, _ := v["resourceType"].(string); isOrder(t) {
			if len(c.orders) == maxOrders {
				return "it has too many orders"
			}
			c.orders = append(c.orders, readOrder(t, v))
		}
		for _, child := range v {
			if why := c.findOrders(child); why != "" {
				return why
			}
		}
	case []any:
		for _, child := range v {
			if why := c.findOrders(child); why != "" {
				return why
			}
		}
	}
	return ""
}

// What may stand in an order beside what the guard reads: it says for whom, why
// and by whom, and changes nothing that is given. Any other element may, such as
// a modifierExtension, a doNotPerform or a timing, and the order cannot be decided.
var (
	besideOrder = words("resourceType id meta text language extension identifier instantiatesCanonical instantiatesUri basedOn priorRequest " +
		"groupIdentifier status statusReason intent category priority reportedBoolean reportedReference medicationCodeableConcept " +
		"medicationReference codeReference codeCodeableConcept subject encounter supportingInformation supportingInfo authoredOn requester performer " +
		"performerType recorder reasonCode reasonReference insurance note dosageInstruction parameter priorPrescription detectedIssue relevantHistory eventHistory")
	besideDosage    = words("id sequence text additionalInstruction patientInstruction site route method doseAndRate")
	besideRate      = words("id type doseQuantity rateQuantity rateRatio")
	besideQuantity  = words("id value unit system code")
	besideParameter = words("id code valueQuantity")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

func only(m map[string]any, names map[string]bool) bool {
	for name := range m {
		if !names[name] {
			return false
		}
	}
	return true
}

// readOrder reads what an order has a device do.
func readOrder(typ string, m map[string]any) order {
	no := func(why string) order { return order{undecided: why} }
	status, _ := m["status"].(string)
	intent, _ := m["intent"].(string)
	switch {
	case !only(m, besideOrder):
		return no("the order has an element whose effect this front does not know")
	case intent != "order" && intent != "original-order" && intent != "instance-order" && intent != "filler-order":
		return no("the order's intent does not say that it is to be done")
	}
	switch status {
	case "active":
	case "stopped", "cancelled", "revoked", "on-hold", "completed", "entered-in-error":
		return order{verb: device.StopInfusion}
	default:
		return no("the order's status does not say that it is to be done")
	}
	if typ == "DeviceRequest" {
		p, ok := single(m["parameter"])
		if !ok || !only(p, besideParameter) || m["dosageInstruction"] != nil {
			return no("the order has no single parameter that this front can read")
		}
		q, ok := readQuantity(p["valueQuantity"])
		if !ok || !isRate(q) {
			return no("the order's parameter is no rate; what it sets is not known")
		}
		return order{verb: device.SetInfusionRate, value: q}
	}
	d, ok1 := single(m["dosageInstruction"])
	r, ok2 := single(d["doseAndRate"])
	if !ok1 || !ok2 || m["parameter"] != nil || !only(d, besideDosage) || !only(r, besideRate) {
		return no("the order has no single dose and rate that this front can read")
	}
	var rate, dose device.Quantity
	rated := r["rateQuantity"] != nil || r["rateRatio"] != nil
	ok := true
	switch {
	case r["rateQuantity"] != nil && r["rateRatio"] != nil:
		return no("the order has two rates")
	case r["rateQuantity"] != nil:
		rate, ok = readQuantity(r["rateQuantity"])
	case rated:
		rate, ok = readRatio(r["rateRatio"])
	}
	if !ok || rated && !isRate(rate) {
		return no("the order's rate has no number, or no unit that is known")
	}
	if r["doseQuantity"] != nil {
		if dose, ok = readQuantity(r["doseQuantity"]); !ok {
			return no("the order's dose has no number, or no unit that is known")
		}
	}
	switch {
	case rated:
		return order{verb: device.SetInfusionRate, value: rate, limit: dose, drug: drugOf(m)}
	case r["doseQuantity"] != nil:
		return order{verb: device.DeliverBolus, value: dose, drug: drugOf(m)}
	}
	return no("the order has neither a dose nor a rate")
}

// drugOf returns what an order calls its drug, or "".
func drugOf(m map[string]any) string {
	concept, _ := m["medicationCodeableConcept"].(map[string]any)
	name, _ := concept["text"].(string)
	if coding, ok := single(concept["coding"]); ok {
		if display, _ := coding["display"].(string); display != "" {
			name = display
		}
	}
	if len(name) > maxDrug {
		return ""
	}
	return name
}

func isRate(q device.Quantity) bool { return q.Unit.IsRate() || q.Unit.IsDoseRate() }

// single returns the one object of a list.
func single(v any) (map[string]any, bool) {
	list, _ := v.([]any)
	if len(list) != 1 {
		return nil, false
	}
	m, ok := list[0].(map[string]any)
	return m, ok
}

// readQuantity reads a Quantity or SimpleQuantity (R4 section 2.24.0.9). Its unit
// is told as a code and for people, who have to be told the same.
func readQuantity(v any) (device.Quantity, bool) {
	m, ok := v.(map[string]any)
	if !ok || !only(m, besideQuantity) {
		return device.Quantity{}, false
	}
	n, ok := m["value"].(json.Number)
	if !ok {
		return device.Quantity{}, false
	}
	q, err := device.ParseDecimal(n.String())
	if err != nil {
		return device.Quantity{}, false
	}
	q.Unit, ok = unitOf(m)
	return q, ok
}

func unitOf(m map[string]any) (device.Unit, bool) {
	code, _ := m["code"].(string)
	text, _ := m["unit"].(string)
	a, ok1 := device.UnitOf(code)
	b, ok2 := device.UnitOf(text)
	switch {
	case code == "" && text == "" || code != "" && !ok1 || code == "" && !ok2:
		return device.NoUnit, false
	case code == "":
		return b, b != device.NoUnit
	case text != "" && ok2 && a != b:
		return device.NoUnit, false
	}
	return a, a != device.NoUnit
}

// readRatio reads a Ratio of a quantity and one unit of time.
func readRatio(v any) (device.Quantity, bool) {
	m, ok := v.(map[string]any)
	if !ok || !only(m, words("id numerator denominator")) {
		return device.Quantity{}, false
	}
	num, ok1 := readQuantity(m["numerator"])
	den, ok2 := readQuantity(m["denominator"])
	if !ok1 || !ok2 || den.Coefficient != 1 || den.Exponent != 0 {
		return device.Quantity{}, false // 10 mL in 8 hours is no rate that can be shown exactly
	}
	num.Unit, ok = device.UnitOf(num.Unit.String() + "/" + den.Unit.String())
	return num, ok && num.Unit != device.NoUnit
}
