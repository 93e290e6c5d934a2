// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
)

const fhirType = "\r\nContent-Type: application/fhir+json"

func TestFHIRObserver(t *testing.T) {
	const order = `{"resourceType":"MedicationRequest","status":"%s","intent":"order","medicationCodeableConcept":{"text":"noradrenaline"},"subject":{"reference":"Patient/p-17"},` +
		`"dosageInstruction":[{"doseAndRate":[{%s}]}]}`
	// The first three parameters are for whom, for how long, and of what is no unit of a therapy.
	const deviceOrder = `{"resourceType":"DeviceRequest","status":"%s","intent":"order","subject":{"reference":"Patient/p-17"},"parameter":[` +
		`{"code":{"text":"weight"},"valueQuantity":{"value":80,"unit":"kg"}},{"valueQuantity":{"value":2,"code":"h"}},{"valueQuantity":{"value":-2.5,"code":"[diop]"}},` +
		`{"valueBoolean":true},{"valueQuantity":{"value":20,"unit":"ml/hr","code":"mL/h"}},{"valueQuantity":{"value":8,"code":"cm[H2O]"}}]}`
	spoke := []string{`protocol-seen 10.20.1.5 "fhir"`, `identity-seen 10.20.3.10 "record system"`}
	created := reply("201 Created", "")
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{
			"bulk export, told by the request",
			[]piece{ask("GET /fhir/$export HTTP/1.1", ""), reply("202 Accepted", "")},
			[]string{`records-requested 10.20.1.5 "fhir" "$export"`},
		},
		{
			"search",
			[]piece{
				ask("GET /fhir/Observation?patient=p-17 HTTP/1.1\r\nAccept: application/fhir+json", ""),
				reply("200 OK"+fhirType, `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p-17"}}},{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p-18"}}}]}`),
			},
			[]string{
				`records-requested 10.20.1.5 "fhir" "search Observation"`,
				`patient-data-seen 10.20.3.10 "fhir" "Observation"`, `patient-data-seen 10.20.3.10 "fhir" "Observation"`,
				`records-moved 10.20.3.10 "fhir" "search Observation"`, `records-moved 10.20.3.10 "fhir" "search Observation"`,
			},
		},
		{
			"results from a device",
			[]piece{ask("POST /fhir/Observation HTTP/1.1"+fhirType, `{"resourceType":"Observation","subject":{"reference":"Patient/p-17"}}`), created},
			[]string{`patient-data-seen 10.20.1.5 "fhir" "Observation"`, `report-seen 10.20.1.5 "fhir" "Observation"`},
		},
		{
			"an order with a rate",
			[]piece{ask("POST /fhir/MedicationRequest HTTP/1.1"+fhirType, fmt.Sprintf(order, "active", `"rateQuantity":{"value":4,"unit":"mcg/kg/min"}`)), created},
			[]string{`order-seen 10.20.3.10 "fhir"`, `command-seen 10.20.3.10 "4 ug/kg/min" "MedicationRequest"`, `patient-data-seen 10.20.1.5 "fhir" "MedicationRequest"`},
		},
		{
			"an order with a ratio",
			[]piece{ask("PUT /fhir/MedicationRequest/1 HTTP/1.1"+fhirType, fmt.Sprintf(order, "active", `"rateRatio":{"numerator":{"value":12.5,"code":"mL"},"denominator":{"value":1,"code":"h"}}`)), created},
			[]string{`order-seen 10.20.3.10 "fhir"`, `command-seen 10.20.3.10 "12.5 mL/h" "MedicationRequest"`, `patient-data-seen 10.20.1.5 "fhir" "MedicationRequest"`},
		},
		{
			"an order that is no rate",
			[]piece{ask("POST /fhir/MedicationRequest HTTP/1.1"+fhirType, fmt.Sprintf(order, "active", `"rateRatio":{"numerator":{"value":10,"code":"mL"},"denominator":{"value":8,"code":"h"}}`)), created},
			[]string{`patient-data-seen 10.20.1.5 "fhir" "MedicationRequest"`},
		},
		{
			"a draft",
			[]piece{ask("POST /fhir/MedicationRequest HTTP/1.1"+fhirType, fmt.Sprintf(order, "draft", `"rateQuantity":{"value":4,"unit":"mL/h"}`)), created},
			[]string{`patient-data-seen 10.20.1.5 "fhir" "MedicationRequest"`},
		},
		{
			"an order that is read",
			[]piece{ask("GET /fhir/MedicationRequest/1 HTTP/1.1", ""), reply("200 OK"+fhirType, fmt.Sprintf(order, "active", `"rateQuantity":{"value":4,"unit":"mL/h"}`))},
			[]string{`records-requested 10.20.1.5 "fhir" "read MedicationRequest"`, `patient-data-seen 10.20.3.10 "fhir" "MedicationRequest"`, `records-moved 10.20.3.10 "fhir" "read MedicationRequest"`},
		},
		{
			"a device order",
			[]piece{ask("POST /fhir/DeviceRequest HTTP/1.1"+fhirType, `{"resourceType":"DeviceRequest","status":"active","intent":"order","subject":{"reference":"Patient/p-17"}}`), created},
			[]string{`patient-data-seen 10.20.1.5 "fhir" "DeviceRequest"`},
		},
		{
			"a device order with settings",
			[]piece{ask("POST /fhir/DeviceRequest HTTP/1.1"+fhirType, fmt.Sprintf(deviceOrder, "active")), created},
			[]string{`order-seen 10.20.3.10 "fhir"`, `command-seen 10.20.3.10 "20 mL/h" "DeviceRequest"`, `command-seen 10.20.3.10 "8 cm[H2O]" "DeviceRequest"`, `patient-data-seen 10.20.1.5 "fhir" "DeviceRequest"`},
		},
		{
			"a device order of an alarm and a range of rates",
			[]piece{ask("POST /fhir/DeviceRequest HTTP/1.1"+fhirType, `{"resourceType":"DeviceRequest","status":"active","intent":"order","subject":{"reference":"Patient/p-17"},"parameter":[`+
				`{"code":{"coding":[{"system":"urn:iso:std:iso:11073:10101","code":"1"}]},"valueCodeableConcept":{"coding":[{"code":"off"}]}},`+
				`{"valueRange":{"low":{"value":2,"code":"mL/h"},"high":{"value":20,"code":"mL/h"}}}]}`), created},
			[]string{`order-seen 10.20.3.10 "fhir"`, `command-seen 10.20.3.10 "DeviceRequest"`, `command-seen 10.20.3.10 "2 mL/h" "DeviceRequest"`, `command-seen 10.20.3.10 "20 mL/h" "DeviceRequest"`, `patient-data-seen 10.20.1.5 "fhir" "DeviceRequest"`},
		},
		{
			"a device order that is over",
			[]piece{ask("POST /fhir/DeviceRequest HTTP/1.1"+fhirType, fmt.Sprintf(deviceOrder, "completed")), created},
			[]string{`patient-data-seen 10.20.1.5 "fhir" "DeviceRequest"`},
		},
		{
			"a device order that is read",
			[]piece{ask("GET /fhir/DeviceRequest/1 HTTP/1.1", ""), reply("200 OK"+fhirType, fmt.Sprintf(deviceOrder, "active"))},
			[]string{`records-requested 10.20.1.5 "fhir" "read DeviceRequest"`, `patient-data-seen 10.20.3.10 "fhir" "DeviceRequest"`, `records-moved 10.20.3.10 "fhir" "read DeviceRequest"`},
		},
		{
			"a device with an address",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Norra Medical","modelNumber":"Flow 500","serialNumber":"N-42","version":[{"value":"2.1.4"}],"url":"http://10.20.3.31:80/"}`), created},
			[]string{`identity-seen 10.20.3.31 "Norra Medical" "Flow 500" "N-42" "2.1.4"`},
		},
		{
			"a device by its EUI-64",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Norra Medical","identifier":[{"system":"urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680","value":"00-00-5e-ff-fe-00-53-01"}]}`), created},
			[]string{`identity-seen 00005EFFFE005301 "Norra Medical"`},
		},
		{
			"a device that is worn",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Okapi Health","modelNumber":"Dose One","serialNumber":"O-7","type":{"text":"insulin pump"},"url":"http://10.20.3.31/"}`), created},
			[]string{`identity-seen 10.20.3.31 "Okapi Health" "Dose One"`},
		},
		{
			"a device with an FDA product code",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Aeris","serialNumber":"A-7","type":{"coding":[{"system":"https://www.fda.gov/product-codes","code":"CBK"}]},"url":"http://10.20.3.31/"}`), created},
			[]string{`identity-seen 10.20.3.31 "Aeris" "A-7"`, `therapy-seen 10.20.3.31 "CBK"`},
		},
		{
			"a product code of what is worn",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Okapi Health","serialNumber":"O-7","type":{"coding":[{"system":"https://www.fda.gov/product-codes","code":"LZG"}]},"url":"http://10.20.3.31/"}`), created},
			[]string{`identity-seen 10.20.3.31 "Okapi Health"`, `therapy-seen 10.20.3.31 "LZG"`},
		},
		{"a device without an address", []piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Norra Medical","serialNumber":"N-42","url":"http://pump.example/"}`), created}, nil},
		{
			"a device without an address, of some model",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","manufacturer":"Norra Medical","modelNumber":"Flow 500","serialNumber":"N-42","version":[{"value":"2.1.4"}],"udiCarrier":[{"deviceIdentifier":"04012345000016"}]}`), created},
			[]string{"identity-seen Norra Medical\x00Flow 500\x0004012345000016\x00#N-42" + ` "Norra Medical" "Flow 500" "N-42" "2.1.4" "04012345000016"`},
		},
		{
			"a worn device without an address",
			[]piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":"Device","modelNumber":"Dose One","serialNumber":"O-7","type":{"text":"insulin pump"}}`), created},
			[]string{"identity-seen \x00Dose One\x00" + ` "Dose One"`},
		},
		{"not json", []piece{ask("PUT /fhir/Device/1 HTTP/1.1"+fhirType, `{"resourceType":}`), created}, []string{`malformed-seen 10.20.1.5 "fhir" "value" "invalid value"`}},
		{"the same twice", []piece{
			ask("POST /fhir/Observation HTTP/1.1"+fhirType, `{"resourceType":"Observation","subject":{"reference":"Patient/p-17"}}`), created,
			ask("POST /fhir/Observation HTTP/1.1"+fhirType, `{"resourceType":"Observation","subject":{"reference":"Patient/p-17"}}`), created,
		}, []string{`patient-data-seen 10.20.1.5 "fhir" "Observation"`, `report-seen 10.20.1.5 "fhir" "Observation"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := however(t, newHTTPObserver, tt.pieces...)
			if want := append(slices.Clone(spoke), tt.want...); !slices.Equal(got, want) {
				t.Errorf("said:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Nothing of a patient leaves the observer but kinds of field and a pseudonym.
func TestFHIRPrivacy(t *testing.T) {
	body := `{"resourceType":"Patient","id":"p-17","identifier":[{"value":"ADA-000117"}],"name":[{"family":"Lindqvist","given":["Anna"]}],"birthDate":"1961-04-02",` +
		`"address":[{"city":"Adaville"}],"telecom":[{"value":"+00 555 0117"}],"gender":"female"}`
	events := observe(t, newHTTPObserver(), ask("PUT /fhir/Patient/p-17 HTTP/1.1"+fhirType, body))
	fields, subject := int64(0), int64(0)
	for _, e := range events {
		for _, secret := range []string{"p-17", "ADA", "Lindqvist", "Anna", "1961", "555", "female"} {
			if strings.Contains(says(&e), secret) {
				t.Errorf("%s holds %q", says(&e), secret)
			}
		}
		fields |= e.Int(event.Fields)
		subject |= e.Int(event.Subject)
	}
	if want := int64(event.FieldName | event.FieldBirthDate | event.FieldRecordNumber | event.FieldAddress | event.FieldTelephone | event.FieldSex); fields != want || subject == 0 {
		t.Errorf("fields %b, want %b; subject %d", fields, want, subject)
	}
}

// An order whose sender proved itself is not unauthenticated.
func TestFHIRProtection(t *testing.T) {
	const order = `{"resourceType":"MedicationRequest","status":"active","intent":"order","dosageInstruction":[{"doseAndRate":[{"rateQuantity":{"value":4,"unit":"mL/h"}}]}]}`
	for head, want := range map[string]device.Protection{"": 0, "\r\nAuthorization: Bearer x": device.Authenticated} {
		for _, e := range observe(t, newHTTPObserver(), ask("POST /fhir/MedicationRequest HTTP/1.1"+fhirType+head, order)) {
			if e.Kind == event.CommandSeen && (device.Protection(e.Int(event.Protection)) != want || device.Verb(e.Int(event.Verb)) != device.SetInfusionRate || device.Effect(e.Int(event.Effect)) != device.Increases || e.Int(event.Therapy) != 0) {
				t.Errorf("%q: %+v", head, e)
			}
		}
	}
}

func TestFHIRManySubjects(t *testing.T) {
	var body strings.Builder
	body.WriteString(`{"resourceType":"Bundle","type":"searchset","entry":[`)
	for i := range maxFHIRSubjects + 50 {
		fmt.Fprintf(&body, `{"resource":{"resourceType":"Patient","id":"p-%d","gender":"male"}},`, i)
	}
	in := strings.TrimSuffix(body.String(), ",") + "]}"
	moved, count := 0, int64(0)
	for _, e := range observe(t, newHTTPObserver(), ask("GET /fhir/Patient HTTP/1.1", ""), reply("200 OK"+fhirType, in)) {
		if e.Kind == event.RecordsMoved {
			moved++
			count += e.Int(event.Count)
		}
	}
	if moved != maxFHIRSubjects || count != maxFHIRSubjects+50 {
		t.Errorf("%d records of %d subjects", count, moved)
	}
}

// What a user's table calls worn has no serial number in what is recorded.
func TestWornByTable(t *testing.T) {
	own, err := device.ParseCatalogue([]byte("code,class,therapy,worn,harm,manufacturer,model\nLZG,,,,,Okapi Health,Dose One\n"))
	if err != nil {
		t.Fatal(err)
	}
	recorded := 0
	s := newStage(Config{Catalogue: own, Record: func(e *event.Event) error {
		recorded++
		if strings.Contains(says(e), "O-7") {
			t.Errorf("%s", says(e))
		}
		return nil
	}})
	for _, about := range []device.Address{{Value: "Okapi Health\x00Dose One\x00" + unitOf + "O-7"}, {Kind: device.IP, Value: "10.20.3.31"}} {
		e := &event.Event{Kind: event.IdentitySeen, Device: about}
		e.Add(event.Text(event.Manufacturer, "Okapi Health"), event.Text(event.Model, "Dose One"), event.Text(event.Serial, "O-7"))
		if err := s.on(e); err != nil {
			t.Fatal(err)
		}
	}
	devices := s.result().Devices
	if len(devices) != 2 || recorded != 2 {
		t.Fatalf("%d devices, %d events", len(devices), recorded)
	}
	for _, d := range devices {
		if d.Therapy != device.InsulinInfusion || d.Serial != "" {
			t.Errorf("%+v", d)
		}
	}
}
