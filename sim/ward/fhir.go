// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

const fhirPort = 8080

// fhirPatient is a resource of FHIR R4.
func fhirPatient(id string, p *person) string {
	gender := map[string]string{"F": "female", "M": "male"}[p.sex]
	return fmt.Sprintf(`{"resourceType":"Patient","id":"%s","identifier":[{"system":"urn:oid:2.25.26030300","value":"%s","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]}}],`+
		`"name":[{"family":"%s","given":["%s"]}],"gender":"%s","birthDate":"%s","telecom":[{"system":"phone","value":"%s"}],"address":[{"line":["%s"],"city":"Adaville"}]}`,
		id, p.record, p.family, p.given, gender, date(p.birth), p.phone, p.street)
}

// breakfast is the bolus that Ben gives himself every morning.
const breakfast = `{"resourceType":"MedicationAdministration","status":"completed","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"51428","display":"insulin aspart"}]},` +
	`"subject":{"reference":"Patient/p-44","display":"Ben Okafor"},"effectiveDateTime":"2026-03-03T07:01:00+01:00","dosage":{"text":"breakfast bolus","route":{"text":"subcutaneous"},"dose":{"value":4.0,"unit":"U","system":"http://unitsofmeasure.org","code":"U"}}}`

// fhir is the ward round's tablets with the hospital information system. Both
// sides are net/http.
func (s *span) fhir(t testpeer.TB) {
	const kind = "application/fhir+json"
	observation := func(p, code, display, value, unit string) string {
		return fmt.Sprintf(`{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"%s","display":"%s"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":"2026-03-03T06:58:00+01:00","valueQuantity":{"value":%s,"unit":"%s"}}`, code, display, p, value, unit)
	}
	bundle := `{"resourceType":"Bundle","type":"searchset","total":2,"entry":[{"resource":` + observation("p-44", "2339-0", "Glucose [Mass/volume] in Blood", "121", "mg/dL") +
		`},{"resource":` + observation("p-44", "8867-4", "Heart rate", "71", "/min") + `}]}`
	mux := http.NewServeMux()
	give := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Server", "Castor EHR")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	mux.Handle("GET /fhir/metadata", give(200, `{"resourceType":"CapabilityStatement","status":"active","kind":"instance","fhirVersion":"4.0.1","format":["json"],"software":{"name":"Castor EHR","version":"9.2"}}`))
	mux.Handle("GET /fhir/Patient/p-17", give(200, fhirPatient("p-17", &anna)))
	mux.Handle("GET /fhir/Patient/p-44", give(200, fhirPatient("p-44", &ben)))
	mux.Handle("GET /fhir/Observation", give(200, bundle))
	mux.Handle("POST /fhir/MedicationAdministration", give(201, strings.Replace(breakfast, `"status"`, `"id":"ma-9001","status"`, 1)))
	lines := web(t, dated("07:02:05", mux), nil, nil, func(c *http.Client, scheme string) {
		url := fmt.Sprintf("%s://%s:%d/fhir", scheme, ehr.fqdn(), fhirPort)
		send(t, c, "GET", url+"/metadata", kind, "")
		send(t, c, "GET", url+"/Patient/p-17", kind, "")
		send(t, c, "GET", url+"/Patient/p-44", kind, "")
		send(t, c, "GET", url+"/Observation?patient=p-44&_count=2", kind, "")
		send(t, c, "POST", url+"/MedicationAdministration", kind, breakfast)
	})
	s.tcp(talk{at: "07:02:05", client: round1, server: ehr, port: fhirPort}, spread(lines, 1, 2*time.Second))
}
