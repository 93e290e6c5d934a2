// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

const patientJSON = `{"resourceType":"Patient","id":"p-17","text":{"div":"<div>Anna</div>"},
 "identifier":[{"system":"urn:ward:mrn","value":"ADA-000117"}],
 "name":[{"use":"official","family":"Lindqvist","given":["Anna"]}],
 "telecom":[{"system":"phone","value":"+00 555 0117"}],"gender":"female","birthDate":"1961-04-02",
 "address":[{"city":"Adaville"}],"active":true,"multipleBirthInteger":1}`

const patientXML = `<?xml version="1.0" encoding="UTF-8"?>
<Patient xmlns="http://hl7.org/fhir"><id value="p-17"/><text><div xmlns="http://www.w3.org/1999/xhtml">Anna</div></text>
<identifier><system value="urn:ward:mrn"/><value value="ADA-000117"/></identifier>
<name><use value="official"/><family value="Lindqvist"/><given value="Anna"/></name>
<telecom><value value="+00 555 0117"/></telecom><gender value="female"/><birthDate value="1961-04-02"/>
<address><city value="Adaville"/></address></Patient>`

const all = Name | RecordNumber | Telephone | Sex | BirthDate | Address

func ExampleScan() {
	body := []byte(`{"resourceType":"Bundle","type":"searchset","entry":[
		{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p-17"}}},
		{"resource":{"resourceType":"Device","manufacturer":"Norra Medical","modelNumber":"Flow 500","serialNumber":"N-42"}}]}`)
	err := Scan(body, JSON, func(r *Resource) {
		fmt.Printf("%s %b [%s%s]\n", r.Type, r.Fields, r.Subject, r.Device.Model)
	})
	fmt.Println(err)
	// Output:
	// Observation 100000000 [p-17]
	// Device 0 [Flow 500]
	// Bundle 0 []
	// <nil>
}

func ExampleParseInteraction() {
	i := ParseInteraction([]byte("GET"), []byte("/fhir/Patient/$export?_since=2026"))
	fmt.Println(i.Verb, i.Type, i.Operation, i.Bulk())
	// Output: operation Patient $export true
}

// scanned writes down what a scan says.
func scanned(b string, f Format) (string, error) {
	var s strings.Builder
	err := Scan([]byte(b), f, func(r *Resource) {
		fmt.Fprintf(&s, "%d%s(%b,%s)", r.Depth, r.Type, r.Fields, r.Subject)
		if r.Type == "Device" {
			fmt.Fprintf(&s, "%s", fmt.Sprintf("%q", []string{string(r.Device.Manufacturer), string(r.Device.Model), string(r.Device.Serial)}))
		}
		if r.Bundle.Entries > 0 {
			fmt.Fprintf(&s, "[%s %d %d]", r.Bundle.Type, r.Bundle.Entries, r.Bundle.Writes)
		}
		s.WriteString(" ")
	})
	return s.String(), err
}

func TestTypesAreSorted(t *testing.T) {
	if !slices.IsSorted(types) {
		t.Error("binary search needs order")
	}
	for _, e := range elements {
		name, _, _ := strings.Cut(e.path, ".")
		if name != "*" && typeOf([]byte(name)) == "" {
			t.Errorf("%s is no resource type", name)
		}
	}
	for name := range about {
		if typeOf([]byte(name)) == "" {
			t.Errorf("%s is no resource type", name)
		}
	}
}

func TestScan(t *testing.T) {
	patient := fmt.Sprintf("0Patient(%b,p-17) ", all)
	for _, tt := range []struct {
		name   string
		in     string
		format Format
		want   string
	}{
		{"patient", patientJSON, JSON, patient},
		{"patient", patientXML, XML, patient},
		{"type not first", `{"id":"a","resourceType":"Patient","gender":"male"}`, JSON, fmt.Sprintf("0Patient(%b,a) ", Sex)},
		{"type only inside", `{"a":{"resourceType":"Patient"},"resource":1}`, JSON, ""},
		{"no id", `{"resourceType":"Patient","identifier":[{"value":"ADA-1"}]}`, JSON, fmt.Sprintf("0Patient(%b,ADA-1) ", RecordNumber)},
		{"national id", `{"resourceType":"Patient","identifier":[{"system":"http://hl7.org/fhir/sid/us-ssn","value":"1"}]}`, JSON, fmt.Sprintf("0Patient(%b,1) ", RecordNumber|NationalID)},
		{"empty", `{"resourceType":"Patient"}`, JSON, "0Patient(0,) "},
		{"null and empty values", `{"resourceType":"Patient","gender":null,"birthDate":""}`, JSON, "0Patient(0,) "},
		{"escapes", `{"resourceType":"Patient","id":"a\"\\\/\u0041\ud83d\ude00\n"}`, JSON, "0Patient(0,a\"\\/A\U0001f600 ) "},
		{"xml escapes", `<Patient xmlns="http://hl7.org/fhir"><id value="a&amp;&#65;"/></Patient>`, XML, "0Patient(0,a&A) "},
		{
			"bundle", `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Observation","subject":{"reference":"https://ehr/fhir/Patient/7/_history/2"}},"request":{"method":"POST"}},{"request":{"method":"GET"}}]}`, JSON,
			fmt.Sprintf("1Observation(%b,7) 0Bundle(0,)[transaction 2 1] ", Result),
		},
		{
			"bundle xml", `<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/><entry><resource><Condition><subject><reference value="urn:uuid:1"/></subject></Condition></resource></entry></Bundle>`, XML,
			fmt.Sprintf("1Condition(%b,urn:uuid:1) 0Bundle(0,)[searchset 1 0] ", Result),
		},
		{
			"contained", `{"resourceType":"ServiceRequest","contained":[{"resourceType":"Patient","id":"p","gender":"male"},{"resourceType":"Organization"}],"subject":{"reference":"#p"}}`, JSON,
			fmt.Sprintf("1Patient(%b,p) 1Organization(0,) 0ServiceRequest(%b,) ", Sex, Order),
		},
		{"about a device", `{"resourceType":"Observation","subject":{"reference":"Device/1"}}`, JSON, "0Observation(0,) "},
		{"logical reference", `{"resourceType":"Observation","subject":{"identifier":{"value":"ADA-1"},"display":"Anna"}}`, JSON, fmt.Sprintf("0Observation(%b,ADA-1) ", Result|RecordNumber|Name)},
		{"appointment", `{"resourceType":"Appointment","participant":[{"actor":{"reference":"Practitioner/1"}},{"actor":{"reference":"Patient/2"}}]}`, JSON, fmt.Sprintf("0Appointment(%b,2) ", Visit)},
		{"staff", `{"resourceType":"Practitioner","name":[{"family":"Holm"}]}`, JSON, fmt.Sprintf("0Practitioner(%b,) ", StaffName)},
		{"unknown type", `{"resourceType":"Pump","name":"x"}`, JSON, "0(0,) "},
		{"lines", "{\"resourceType\":\"Patient\",\"id\":\"1\"}\n{\"resourceType\":\"Patient\",\"id\":\"2\"}\r\n", NDJSON, "0Patient(0,1) 0Patient(0,2) "},
		{"not a resource", `[1,2,{"a":[{}]}]`, JSON, ""},
		{
			"deep resources", `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"1","contained":[{"resourceType":"Patient","id":"2"}]}}]}}]}}]}`, JSON,
			"3Patient(0,1) 2Bundle(0,)[ 1 0] 1Bundle(0,)[ 1 0] 0Bundle(0,)[ 1 0] ",
		},
	} {
		got, err := scanned(tt.in, tt.format)
		if got != tt.want || err != nil {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
}

func TestScanRefused(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	if _, err := scanned(deep(maxDepth), JSON); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	for _, tt := range []struct {
		in     string
		format Format
		err    error
	}{
		{deep(maxDepth + 1), JSON, wire.ErrTooDeep},
		{strings.Repeat(`{"a":[`, 100), JSON, wire.ErrTooDeep},
		{strings.Repeat("[", 100000), JSON, wire.ErrInvalid},
		{"", JSON, wire.ErrTruncated},
		{"{", JSON, wire.ErrTruncated},
		{`{"a`, JSON, wire.ErrTruncated},
		{`{"a\`, JSON, wire.ErrTruncated},
		{`{"a"`, JSON, wire.ErrTruncated},
		{`{"a":`, JSON, wire.ErrTruncated},
		{`{"a":1`, JSON, wire.ErrTruncated},
		{`{"a":tr`, JSON, wire.ErrTruncated},
		{`{"a":1,`, JSON, wire.ErrTruncated},
		{`[1`, JSON, wire.ErrTruncated},
		{`{"a":1}x`, JSON, wire.ErrTrailing},
		{`{"a" 1}`, JSON, wire.ErrInvalid},
		{`{"a":1 "b":2}`, JSON, wire.ErrInvalid},
		{`{"a":1,}`, JSON, wire.ErrInvalid},
		{`{a:1}`, JSON, wire.ErrInvalid},
		{`{"a":'1'}`, JSON, wire.ErrInvalid},
		{`{"a":truth}`, JSON, wire.ErrInvalid},
		{`{"a":[1,]}`, JSON, wire.ErrInvalid},
		{`{"a":[[1]]}`, JSON, wire.ErrInvalid},
		{"{\"a\":\"line\nbreak\"}", JSON, wire.ErrInvalid},
		{"{}\n{}", JSON, wire.ErrTrailing},
		{`<Patient xmlns="http://hl7.org/fhir">`, XML, wire.ErrTruncated},
		{`<Patient/>`, XML, wire.ErrInvalid},
		{`<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>`, XML, wire.ErrInvalid},
		{`{}`, NoFormat, wire.ErrReserved},
	} {
		_, err := scanned(tt.in, tt.format)
		var s *wire.SyntaxError
		if !errors.Is(err, tt.err) || !errors.As(err, &s) || s.Off > len(tt.in) {
			t.Errorf("%.40q: %v, want %v", tt.in, err, tt.err)
		}
	}
}

// What a cut body held is told all the same.
func TestScanCut(t *testing.T) {
	for _, tt := range []struct {
		in     string
		format Format
	}{{patientJSON, JSON}, {patientXML, XML}} {
		cut := tt.in[:strings.Index(tt.in, "irthDate")]
		got, err := scanned(cut, tt.format)
		if want := fmt.Sprintf("0Patient(%b,p-17) ", Name|RecordNumber|Telephone|Sex); got != want || !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

// A parameter's value never gets another's unit, in either format.
func TestSettings(t *testing.T) {
	const (
		inJSON = `{"resourceType":"DeviceRequest","parameter":[{"valueQuantity":{"value":1}},{"valueQuantity":{"unit":"h"}},{"valueBoolean":true},` +
			`{"valueQuantity":{"unit":"mL\u002fh","value":20,"code":"L/h"}}],"id":"7"}`
		inXML = `<DeviceRequest xmlns="http://hl7.org/fhir"><parameter><valueQuantity><value value="1"/></valueQuantity></parameter>` +
			`<parameter><valueQuantity><unit value="h"/></valueQuantity></parameter><parameter><valueBoolean value="true"/></parameter>` +
			`<parameter><valueQuantity><value value="20"/><unit value="mL/h"/></valueQuantity></parameter></DeviceRequest>`
	)
	const (
		rangeInJSON = `{"resourceType":"DeviceRequest","parameter":[{"valueRange":{"low":{"value":1,"unit":"mL/h"},"high":{"value":20,"code":"mL/h"}}},` +
			`{"valueQuantity":{"value":2,"unit":"V"},"code":{"coding":[{"system":"urn:iso:std:iso:11073:10101","code":"1"}]}},` +
			`{"code":{"coding":[{"system":"urn:iso:std:iso:11073:10101","code":"2"}]},"valueBoolean":false},` +
			`{"code":{"coding":[{"system":"http://snomed.info/sct","code":"3"}]},"valueBoolean":true},` +
			`{"code":{"coding":[{"system":"urn:iso:std:iso:11073:10101","code":"4"}]},"valueCodeableConcept":{"coding":[{"code":"off"}]}},{"valueRange":{}}]}`
		rangeInXML = `<DeviceRequest xmlns="http://hl7.org/fhir"><parameter><valueRange><low><value value="1"/><unit value="mL/h"/></low>` +
			`<high><value value="20"/><unit value="mL/h"/></high></valueRange></parameter><parameter><code><coding>` +
			`<system value="urn:iso:std:iso:11073:10101"/></coding></code><valueCodeableConcept><text value="off"/></valueCodeableConcept></parameter></DeviceRequest>`
	)
	many := `{"resourceType":"DeviceRequest","parameter":[` + strings.Repeat(`{"valueQuantity":{"value":1,"unit":"V"}},`, MaxSettings+1) + `{}]}`
	for _, tt := range []struct {
		in, want string
		format   Format
	}{
		{inJSON, "1() choice 20(mL/h) ", JSON},
		{inXML, "1() choice 20(mL/h) ", XML},
		{many, strings.Repeat("1(V) ", MaxSettings), JSON},
		{rangeInJSON, "1(mL/h) 20(mL/h) mdc:2(V) mdc:choice choice mdc:choice ", JSON},
		{rangeInXML, "1(mL/h) 20(mL/h) mdc:choice ", XML},
		{`{"resourceType":"ServiceRequest","parameter":[{"valueQuantity":{"value":1}}]}`, "", JSON},
	} {
		got := ""
		err := Scan([]byte(tt.in), tt.format, func(r *Resource) {
			for _, q := range r.Settings {
				if q.MDC {
					got += "mdc:"
				}
				if q.Choice {
					got += "choice "
				} else {
					got += fmt.Sprintf("%s(%s) ", q.Value, q.Unit)
				}
			}
		})
		if err != nil || got != tt.want {
			t.Errorf("%.80s: %q (%v), want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestDevice(t *testing.T) {
	for _, tt := range []struct {
		in    string
		check func(*Device) bool
	}{
		{
			`"manufacturer":"Norra Medical","deviceName":[{"name":"Flow","type":"user-friendly-name"}],"modelNumber":"Flow 500","serialNumber":"N-42","version":[{"value":"2.1.4"}],"udiCarrier":[{"deviceIdentifier":"04012345678901","carrierHRF":"(01)04012345678901(21)N-42"}],"type":{"text":"infusion pump"}`,
			func(d *Device) bool {
				return string(d.Manufacturer) == "Norra Medical" && string(d.Model) == "Flow 500" && string(d.Serial) == "N-42" &&
					string(d.Version) == "2.1.4" && string(d.DI) == "04012345678901" && bytes.HasPrefix(d.HRF, []byte("(01)")) && !d.Worn
			},
		},
		{`"deviceName":[{"name":"Flow"}]`, func(d *Device) bool { return string(d.Model) == "Flow" }},
		{`"deviceName":[{"name":"Flow","type":"model-name"}]`, func(d *Device) bool { return string(d.Model) == "Flow" }},
		{`"deviceName":[{"name":"Anna's pump","type":"user-friendly-name"}]`, func(d *Device) bool { return d.Model == nil }},
		{`"deviceName":[{"name":"Anna's","type":"patient-reported-name"}],"modelNumber":"Flow 500"`, func(d *Device) bool { return string(d.Model) == "Flow 500" }},
		{`"patient":{"reference":"Patient/1"}`, func(d *Device) bool { return d.Worn }},
		{`"type":{"coding":[{"code":"14106009"}]}`, func(d *Device) bool { return d.Worn }},
		{`"type":{"coding":[{"display":"Implantable defibrillator"}]}`, func(d *Device) bool { return d.Worn }},
		{`"deviceName":[{"name":"INSULIN PUMP"}]`, func(d *Device) bool { return d.Worn }},
		{
			`"identifier":[{"system":"urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680","value":"00-00-5E-FF-FE-00-53-01"},{"system":"x","value":"y"}]`,
			func(d *Device) bool { return string(d.EUI64) == "00-00-5E-FF-FE-00-53-01" },
		},
		{`"type":{"coding":[{"system":"https://www.accessdata.fda.gov/scripts/cdrh/cfdocs/cfPCD","code":"LZG"}]}`, func(d *Device) bool { return string(d.ProductCode) == "LZG" }},
		{`"type":{"coding":[{"system":"http://snomed.info/sct","code":"LZG"},{"code":"LZG"}]}`, func(d *Device) bool { return d.ProductCode == nil }},
		{`"identifier":[{"system":"x","value":"y"}]`, func(d *Device) bool { return d.EUI64 == nil }},
	} {
		err := Scan([]byte(`{"resourceType":"Device",`+tt.in+`}`), JSON, func(r *Resource) {
			if !tt.check(&r.Device) {
				t.Errorf("%s: %+v", tt.in, r.Device)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestDosage(t *testing.T) {
	const before = `{"resourceType":"MedicationRequest","status":"active","intent":"order","medicationCodeableConcept":{"text":"noradrenaline"},"subject":{"reference":"Patient/1"},"dosageInstruction":[{"doseAndRate":[{`
	for _, tt := range []struct{ in, want string }{
		{`"rateQuantity":{"value":4,"unit":"mcg/kg/min","code":"ug/kg/min"}`, "active order noradrenaline 4 mcg/kg/min  "},
		{`"rateRatio":{"numerator":{"value":12.5,"code":"mL"},"denominator":{"value":1,"code":"h"}}`, "active order noradrenaline 12.5 mL 1 h"},
		{`"doseQuantity":{"value":4,"unit":"mg"}`, "active order noradrenaline    "},
	} {
		err := Scan([]byte(before+tt.in+`}]}]}`), JSON, func(r *Resource) {
			o := r.Order
			if got := fmt.Sprintf("%s %s %s %s %s %s %s", o.Status, o.Intent, o.Drug, o.Rate, o.Unit, o.Per, o.PerUnit); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, tt := range []struct {
		mediaType, body string
		want            Format
	}{
		{"application/fhir+json", "", JSON},
		{"Application/FHIR+XML", "", XML},
		{"application/xml+fhir", "", XML},
		{"application/fhir+ndjson", "", NDJSON},
		{"application/json", " \n{ \"resourceType\" : \"Patient\"", JSON},
		{"application/json", "\ufeff{\"id\":\"1\",\"resourceType\":\"Patient\"", JSON},
		{"text/xml", `<Patient xmlns="http://hl7.org/fhir">`, XML},
		{"", `{"resourceType":"Patient"`, JSON},
		{"application/json", `{"type":"Patient"}`, NoFormat},
		{"application/json", `["resourceType"]`, NoFormat},
		{"text/xml", `<a xmlns="http://hl7.org/fhirpath">`, NoFormat},
		{"application/json", `{"a":"` + strings.Repeat("x", 300) + `","resourceType":"Patient"}`, NoFormat},
		{"", "", NoFormat},
	} {
		if got := Recognise([]byte(tt.mediaType), []byte(tt.body)); got != tt.want {
			t.Errorf("%s %.40s: %d, want %d", tt.mediaType, tt.body, got, tt.want)
		}
	}
}

func TestParseInteraction(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		want           Interaction
	}{
		// R4 section 3.1.0, the summary of interactions.
		{"GET", "/fhir/Patient/23", Interaction{Verb: Read, Type: "Patient", Instance: true}},
		{"GET", "/base/r4/Patient/23/_history/4", Interaction{Verb: History, Type: "Patient", Instance: true}},
		{"GET", "/Patient?name=x", Interaction{Verb: Search, Type: "Patient"}},
		{"GET", "/Patient/", Interaction{Verb: Search, Type: "Patient"}},
		{"POST", "/Patient/_search", Interaction{Verb: Search, Type: "Patient"}},
		{"GET", "/Patient/23/Observation", Interaction{Verb: Search, Type: "Observation"}},
		{"POST", "/Patient", Interaction{Verb: Create, Type: "Patient"}},
		{"PUT", "/Patient/23", Interaction{Verb: Update, Type: "Patient", Instance: true}},
		{"PATCH", "/Patient/23", Interaction{Verb: Patch, Type: "Patient", Instance: true}},
		{"DELETE", "/Patient/23", Interaction{Verb: Delete, Type: "Patient", Instance: true}},
		{"GET", "/fhir/metadata", Interaction{Verb: Capabilities}},
		{"GET", "/fhir/$export", Interaction{Verb: Operation, Operation: "$export"}},
		{"GET", "/fhir/Group/7/$export", Interaction{Verb: Operation, Type: "Group", Operation: "$export", Instance: true}},
		{"GET", "/fhir/Patient/23/$everything?x", Interaction{Verb: Operation, Type: "Patient", Operation: "$everything", Instance: true}},
		{"POST", "/fhir/Patient/$mine", Interaction{Verb: Operation, Type: "Patient", Operation: "$"}},
		{"GET", "/odata/$batch", Interaction{}},
		{"GET", "/", Interaction{}},
		{"GET", "/patient/23", Interaction{}},
		{"GET", "/?Patient/1", Interaction{}},
		{"POST", "/fhir", Interaction{}},
		{"", "", Interaction{}},
	} {
		if got := ParseInteraction([]byte(tt.method), []byte(tt.target)); got != tt.want {
			t.Errorf("%s %s: %+v, want %+v", tt.method, tt.target, got, tt.want)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, bb := range []struct {
		name string
		in   string
		f    Format
	}{{"json", patientJSON, JSON}, {"xml", patientXML, XML}} {
		b.Run(bb.name, func(b *testing.B) {
			in := []byte(bb.in)
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				Scan(in, bb.f, func(*Resource) {})
			}
		})
	}
}

func fuzzScan(f *testing.F, format Format) {
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := scanned(string(b), format)
		second, again := scanned(string(b), format)
		if first != second || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatal("the same input was read in two ways")
		}
		if format == JSON && err == nil && !json.Valid(b) {
			// Where we are laxer than RFC 8259 is stated: numbers, escapes, bytes that are no UTF-8.
			if v := bytes.TrimSpace(b); len(v) > 0 && !bytes.ContainsAny(v, `\0123456789-`) && v[0] == '{' && !bytes.HasPrefix(b, []byte("\ufeff")) {
				t.Fatalf("accepted %q", b)
			}
		}
	})
}

func FuzzScanJSON(f *testing.F) {
	f.Add([]byte(patientJSON))
	f.Add([]byte(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Device","type":{"text":"x"}}}]}`))
	fuzzScan(f, JSON)
}

func FuzzScanXML(f *testing.F) {
	f.Add([]byte(patientXML))
	f.Add([]byte(`{"resourceType":"DeviceRequest","parameter":[{"valueQuantity":{"value":1,"unit":"V"}},{"valueBoolean":true}]}`))
	f.Add([]byte(`<Bundle xmlns="http://hl7.org/fhir"><entry><resource><Device><id value="1"/></Device></resource></entry></Bundle>`))
	fuzzScan(f, XML)
}
