// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/update"
	"github.com/myelin-health/myelin/store"
)

const everyRole = access.Viewer | access.Analyst | access.Engineer | access.Clinician | access.Auditor | access.Administrator

var (
	pump3 = device.IDOf("Norra Medical", "Flow 500", "p3")
	pump4 = device.IDOf("Norra Medical", "Flow 500", "p4")
	icd   = device.IDOf("Halden Cardio", "Rhythm S", "")
	other = device.IDOf("Qvarn", "Zephyr 9", "qz-serial-1")
)

func findingOn(device string, n int) string {
	return finding.IDOf(finding.LegacyOS, device, fmt.Sprint(n))
}

// ward has a sensor and a guard send what there is in a small ward.
func (o *outside) ward() (sensor, guard *visitor, guardID string) {
	o.t.Helper()
	now := time.Now()
	sensor, sensorID := o.sensor("sensor")
	b := &store.Batch{Sequence: 1, Sent: now.UnixNano(), Devices: []device.Device{
		{ID: pump3, Serial: "p3", Name: "pump-3", Ward: "ICU", Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.1.4", Therapy: device.DrugInfusion}},
		{ID: pump4, Serial: "p4", Name: "pump-4", Ward: "ICU", Addresses: []device.Address{{Kind: device.IP, Value: "10.0.0.4"}, {Kind: device.IP, Value: "10.0.0.5"}}, Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0", Therapy: device.DrugInfusion}},
		{ID: icd, Name: "icd-anna", Medical: true, Product: device.Product{Manufacturer: "Halden Cardio", Model: "Rhythm S", Version: "4.2", Therapy: device.Pacing}},
		{ID: other, Serial: "qz-serial-1", Name: "qvarn-host", Medical: true, Product: device.Product{Manufacturer: "Qvarn", Model: "Zephyr 9", Therapy: device.Ventilation}},
	}, Beat: &store.Beat{Version: "v0"}}
	for i := range 6 {
		on, product := pump3, "Norra Medical Flow 500"
		if i%2 == 1 {
			on, product = other, "Qvarn Zephyr 9"
		}
		f := finding.Finding{ID: findingOn(on, i), Kind: finding.LegacyOS, Title: "old system", Device: on, Product: product, Decision: finding.Act, Harm: device.Serious, State: "open", Count: 1, First: now.UnixNano(), Last: now.UnixNano()}
		f.Add(finding.Sighting{Time: now.UnixNano(), Packet: 7, Note: "x"})
		b.Findings = append(b.Findings, f)
	}
	if a := o.deliver(sensor, sensorID, b); a.status != 200 {
		o.t.Fatalf("the sensor's batch: %d %s", a.status, a.body)
	}
	guard, guardID = o.sensor("guard")
	e := event.Event{Kind: event.VerdictGiven, Time: now.UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	e.Add(event.Int(event.Verb, device.SetInfusionRate), event.Int(event.Verdict, device.Deny), event.Text(event.Reason, "line 12"))
	state := json.RawMessage(`{"confirms":true,"devices":[{"id":"pump-3","envelope":"pump","version":1,"author":"kp","digest":"0d0d"}],"doubts":[{"id":5,"device":"pump-3","verb":"deliver-bolus","value":"2 mL","why":"the link broke"}]}`)
	if a := o.deliver(guard, guardID, &store.Batch{Sequence: 1, Sent: now.UnixNano(), Events: []event.Event{e}, State: state, HeldToo: true, Held: []store.Held{
		{ID: "7", Front: "gw-icu", Device: "pump-3", Actor: "emr", Verb: "set-infusion-rate", Effect: "increases", Now: "0.2 ug/kg/min", Value: "0.8 ug/kg/min", Reason: "four times", Asked: now.UnixNano(), Expires: now.Add(time.Hour).UnixNano()},
	}, Beat: &store.Beat{Version: "v0"}}); a.status != 200 {
		o.t.Fatalf("the guard's batch: %d %s", a.status, a.body)
	}
	return sensor, guard, guardID
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// TestEveryRouteForEveryRole: who is let in is whom the table of permissions names, by
// session and by a token of each scope. A new route of the server is in here by itself.
func TestEveryRouteForEveryRole(t *testing.T) {
	s := open(t, Config{})
	const in, out = http.StatusTeapot, http.StatusForbidden
	routes := s.Routes()
	stubs := slices.Clone(routes)
	for i := range stubs {
		stubs[i].Handle = func(w http.ResponseWriter, _ *http.Request, _ *access.Principal) error {
			w.WriteHeader(in)
			return nil
		}
	}
	mux := access.Mux(stubs, func(w http.ResponseWriter, _ *http.Request, err error) {
		if !errors.Is(err, access.ErrForbidden) {
			t.Error(err)
		}
		w.WriteHeader(out)
	})
	type visit struct {
		name, scope string
		who         *access.Principal
	}
	visits := []visit{{name: "nobody", who: &access.Principal{}}}
	for i, name := range append([]string{"no role"}, access.Names()...) {
		p := &store.Person{Login: name, Roles: uint32(access.Role(1) << i >> 1)}
		who := access.Principal{Person: p, Roles: access.Role(p.Roles)}
		visits = append(visits, visit{name, "", &who})
		for _, scope := range access.Scopes() {
			with := who
			with.Token = &store.Token{Scopes: []string{scope}}
			visits = append(visits, visit{name + " with " + scope, scope, &with})
		}
	}
	for _, route := range routes {
		grant := access.Permissions[route.Needs]
		method, path, _ := strings.Cut(route.Pattern, " ")
		path = wildcard.ReplaceAllStringFunc(path, func(w string) string { return map[bool]string{true: "", false: "1"}[w == "{$}"] })
		for _, v := range visits {
			want := out
			has := grant.Roles&v.who.Roles != 0 || route.Needs == access.Oneself && v.who.Person != nil
			if route.Needs == access.Anyone || has && (v.scope == "" || v.scope == grant.Scope) {
				want = in
			}
			r := httptest.NewRequest(method, path, nil)
			w := httptest.NewRecorder()
			if mux.ServeHTTP(w, r.WithContext(access.With(r.Context(), v.who))); w.Code != want {
				t.Errorf("%s for %s: %d, not %d", route.Pattern, v.name, w.Code, want)
			}
		}
	}
	// What is open to anyone, beside the pages whose own test has a list of them.
	for _, route := range slices.Concat(s.api.Routes(), s.uplink.Routes(), s.updates.Routes(), s.healthRoutes()) {
		open := []string{"GET /api/v1/openapi.json", "POST /uplink/v1/enrol", "GET /uplink/v1/state", "POST /uplink/v1/batch", "GET /uplink/v1/decisions", "POST /uplink/v1/decisions", "GET /healthz", "GET /readyz", "POST /update/v1/poll", "GET /update/v1/{path...}"}
		if (route.Needs == access.Anyone) != slices.Contains(open, route.Pattern) {
			t.Errorf("%s is for anyone: %v", route.Pattern, route.Needs == access.Anyone)
		}
	}
}

// A deed is something that somebody does by a route, and what the ledger says of it.
type deed struct {
	route string
	do    func() *reply
	says  string // "operation|outcome" of an entry that is new after; "" is none, which why explains
	why   string
}

// release has somebody take in a release of the pumps, and returns its digest.
func (o *outside) release(v *visitor) (a *reply, digest string) {
	o.t.Helper()
	envelope := []byte("a SUIT envelope")
	if err := os.WriteFile(filepath.Join(o.s.cfg.Data, "updates", "flow.suit"), envelope, 0o600); err != nil {
		o.t.Fatal(err)
	}
	sum := sha256.Sum256(envelope)
	digest = hex.EncodeToString(sum[:])
	return v.json("POST", "/api/v1/releases", fmt.Sprintf(`{"path":"flow.suit","release":{"manufacturer":"Norra Medical","model":"Flow 500","version":"2.2.0","sequence":8,"envelope":%q,"size":%d,"demands":{"hardware":["C"],"from":["2.1.4"],"supervision":"unattended"},"urgency":"regular cycle"}}`, digest, len(envelope))), digest
}

const rolloutPlan = "rollout: 1\nconsent: {clinician: true, terms: \"1\"}\nrelax: [{gate: clinician's consent, urgency: regular cycle, by: [analyst], most: 1h}]\nrings: [{name: all}]\n"

// TestLedgerHasEveryDeed does by each route that changes or exports what it is for, and
// finds it in the ledger. A new route fails until it is in here.
func TestLedgerHasEveryDeed(t *testing.T) {
	o := newOutside(t, Config{URL: "https://localhost:8440"})
	link, err := o.s.SetUpLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nobody := o.visitor("")
	al, who := (*visitor)(nil), (*store.Person)(nil)
	other, named := (*store.Person)(nil), int64(0)
	_, _, guard := o.ward()
	find := func(a *reply, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(a.body + a.head.Get("Location"))
		if m == nil {
			t.Fatalf("no %s in %d %s", pattern, a.status, a.body)
		}
		return m[1]
	}
	upload := func(name, content string) *reply {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		f, _ := w.CreateFormFile("file", name)
		f.Write([]byte(content))
		w.Close()
		return al.send(al.request("POST", "/documents", w.FormDataContentType(), &b))
	}
	const bom = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b7%d","version":1,"metadata":{"component":{"bom-ref":"p","type":"device","name":"Flow 500","version":"2.1.4","supplier":{"name":"Norra Medical"}}},"components":[]}`
	document := func() string { return find(al.get("/documents"), `/documents/([0-9a-f]{64})`) }
	post := func(path string, form ...string) func() *reply {
		return func() *reply { return al.post(path, form...) }
	}
	get := func(path string) func() *reply { return func() *reply { return al.get(path) } }
	merge, split, release := "", "", ""
	rolls := func(what, body string) func() *reply {
		return func() *reply { return al.json("POST", "/api/v1/rollouts/r1/"+what, body) }
	}
	token := func() string { return find(al.get("/me"), `(?s)/me/tokens/remove.*?name="id" value="(\d+)"`) }
	triage := func(n int) string {
		return find(al.json("GET", "/api/v1/findings/"+findingOn(pump3, n), ""), `"triage":(\d+)`)
	}
	reason := []string{"do", "confirm", "reason", "checked at the bed"}

	deeds := []deed{
		{route: "POST /set-up/{secret}", says: "set-up|succeeded", do: func() *reply {
			a := nobody.post(link, "login", "first", "name", "First", "password", goodPassword)
			who = o.person("al", everyRole)
			other = o.person("other", access.Viewer)
			return a
		}},
		{route: "POST /sign-in", says: "sign-in|failed", do: func() *reply { return nobody.post("/sign-in", "login", "al", "password", "wrong") }},
		{route: "POST /sign-in", says: "sign-in|succeeded", do: func() *reply { al = o.visitor("al"); return &reply{status: 303} }},
		{route: "POST /sign-out", says: "sign-out|succeeded", do: post("/sign-out")},
		{route: "POST /sign-in", says: "sign-in|succeeded", do: func() *reply { al = o.visitor("al"); return &reply{status: 303} }},
		{route: "POST /sign-in/passkey/ask", why: "it asks, and changes nothing", do: func() *reply { return al.post("/sign-in/passkey/ask") }},
		{route: "POST /sign-in/passkey", says: "sign-in|failed", do: func() *reply {
			v := o.visitor("")
			v.post("/sign-in/passkey/ask")
			return v.post("/sign-in/passkey", "answer", "{}")
		}},
		{route: "GET /sign-in/provider", why: "it asks; serve/access tests what comes back"},
		{route: "GET /sign-in/provider/back", why: "TestProviderSignsIn of serve/access looks for the entry"},
		{route: "POST /me/provider", why: "TestProviderBinds of serve/access looks for the entry"},
		{route: "POST /me/passkeys/ask", why: "it asks, and changes nothing"},
		{route: "POST /me/passkeys", why: "TestPasskeyInABrowser of serve/pages looks for the entry"},
		{route: "POST /me/passkeys/remove", says: "remove passkey|succeeded", do: func() *reply {
			p, _ := o.s.store.Person(t.Context(), "al")
			p.Passkeys, _ = json.Marshal([]access.Passkey{{Name: "k"}})
			if err := o.s.store.SavePerson(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			return al.post("/me/passkeys/remove", "number", "0", "name", "k")
		}},
		{route: "POST /me/password", says: "set password|succeeded", do: post("/me/password", "old", goodPassword, "password", goodPassword)},
		{route: "POST /me/tokens", says: "add token|succeeded", do: post("/me/tokens", "name", "scan", "scope", "read", "days", "3")},
		{route: "POST /me/tokens/remove", says: "remove token|succeeded", do: func() *reply { return al.post("/me/tokens/remove", "id", token()) }},
		{route: "POST /me/sessions/end", says: "end session|succeeded", do: func() *reply {
			o.visitor("al")
			return al.post("/me/sessions/end", "id", find(al.get("/me"), `(?s)/me/sessions/end.*?name="id" value="([^"]+)"`))
		}},

		{route: "POST /settings/people", says: "add person|succeeded", do: post("/settings/people", "login", "new", "name", "New", "role", "viewer")},
		{route: "POST /settings/people/{id}", says: "change person|succeeded", do: func() *reply {
			return al.post(fmt.Sprintf("/settings/people/%d", other.ID), "name", "Other", "role", "auditor", "version", fmt.Sprint(other.Version))
		}},
		{route: "POST /settings/people/{id}/reset", says: "reset password|succeeded", do: func() *reply { return al.post(fmt.Sprintf("/settings/people/%d/reset", other.ID)) }},
		{route: "POST /password/{id}/{secret}", says: "set password|succeeded", do: func() *reply {
			_, secret, err := o.s.access.NewLink(t.Context(), &access.Principal{Person: who}, other.ID)
			if err != nil {
				t.Fatal(err)
			}
			return nobody.post(access.LinkPath(other.ID, secret), "password", goodPassword)
		}},
		{route: "POST /settings/people/{id}/disable", says: "disable person|succeeded", do: func() *reply { return al.post(fmt.Sprintf("/settings/people/%d/disable", other.ID)) }},
		{route: "POST /settings/people/{id}/enable", says: "enable person|succeeded", do: func() *reply { return al.post(fmt.Sprintf("/settings/people/%d/enable", other.ID)) }},
		{route: "POST /settings/people/{id}/token", says: "remove token|succeeded", do: func() *reply {
			o.program(other, "read")
			list, err := o.s.store.Tokens(t.Context(), other.ID)
			if err != nil {
				t.Fatal(err)
			}
			return al.post(fmt.Sprintf("/settings/people/%d/token", other.ID), "id", fmt.Sprint(list[0].ID))
		}},
		{route: "POST /settings/sensors", says: "make enrolment token|succeeded", do: post("/settings/sensors", "name", "ward 3", "kind", "sensor")},
		{route: "POST /uplink/v1/enrol", says: "enrol sensor|succeeded", do: func() *reply { _, _ = o.sensor("sensor"); return &reply{status: 200} }},
		{route: "POST /uplink/v1/batch", why: "what sensors see is in the store; what guards decide, in their own ledgers"},
		{route: "POST /uplink/v1/decisions", why: "a guard's answer: 'confirm: answer' of whoever asked"},
		{route: "POST /settings/retention", says: "set retention|succeeded", do: func() *reply {
			var form []string
			for _, kind := range store.Kept() {
				form = append(form, kind, "900")
			}
			return al.post("/settings/retention", form...)
		}},
		{route: "POST /settings/receivers", says: "add receiver|succeeded", do: post("/settings/receivers", "kind", "syslog", "id", "siem", "address", "127.0.0.1:9")},
		{route: "POST /settings/receivers/{kind}/{id}/remove", says: "remove receiver|succeeded", do: post("/settings/receivers/syslog/siem/remove")},

		{route: "POST /devices/{id}", says: "edit device|succeeded", do: func() *reply {
			return al.post("/devices/"+pump3, "owner", "le", "version", find(al.get("/devices/"+pump3), `name="version" value="(\d+)"`))
		}},
		{route: "POST /devices/{id}/merge", says: "merge devices|succeeded", do: func() *reply {
			a := al.post("/devices/"+icd+"/merge", "gone", pump4, "why", "a label")
			merge = find(al.get("/devices/"+icd), `/part/(\d+)`)
			return a
		}},
		{route: "POST /devices/{id}/part/{merge}", says: "part devices|succeeded", do: func() *reply { return al.post("/devices/"+icd+"/part/"+merge, "why", "two labels") }},
		{route: "POST /devices/{id}/split", says: "split device|succeeded", do: func() *reply {
			a := al.post("/devices/"+pump4+"/split", "why", "a hub", "name", find(al.get("/devices/"+pump4), `type="checkbox" name="name" value="(\d+)"`))
			split = find(al.get("/devices/"+pump4), `/split/(\d+)/undo`)
			return a
		}},
		{route: "POST /devices/{id}/split/{split}/undo", says: "undo split|succeeded", do: func() *reply {
			return al.post("/devices/"+pump4+"/split/"+split+"/undo", "why", "one label")
		}},
		{route: "POST /devices/{id}/body/add", says: "enter body-worn identity|succeeded", do: post("/devices/"+icd+"/body/add", "kind", "serial number", "value", "S1")},
		{route: "POST /devices/{id}/body", says: "see body-worn identities|succeeded", do: func() *reply {
			return al.post("/devices/"+icd+"/body", "reason", find(al.get("/devices/"+icd+"/body"), `<option>([^<]+)</option>`))
		}},
		{route: "POST /devices/{id}/body/remove", says: "remove body-worn identity|succeeded", do: post("/devices/"+icd+"/body/remove", "kind", "serial number", "device", icd)},

		{route: "POST /documents", says: "add document|succeeded", do: func() *reply { return upload("a.json", fmt.Sprintf(bom, 1)) }},
		{route: "GET /documents/{digest}/content", says: "export|succeeded", do: func() *reply { return al.get("/documents/" + document() + "/content") }},
		{route: "POST /documents/{digest}/remove", says: "remove document|succeeded", do: func() *reply { return al.post("/documents/"+document()+"/remove", "sure", "yes") }},
		{route: "POST /names", says: "same product|succeeded", do: func() *reply {
			a := al.post("/names", "maker", "Norra Medical", "model", "Flow 500", "as-maker", "Norra", "as-model", "Flow", "same", "yes", "reason", "the label")
			list, err := o.s.fleet.Namings(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			named = list[0].At
			return a
		}},
		{route: "POST /names/undo/{at}", says: "undo a decision about names|succeeded", do: func() *reply { return al.post(fmt.Sprintf("/names/undo/%d", named)) }},

		{route: "POST /findings/{id}", says: "triage acknowledged|succeeded", do: func() *reply {
			path := "/findings/" + findingOn(pump3, 0)
			return al.post(path, "state", "acknowledged", "version", find(al.get(path), `name="version" value="(\d+)"`))
		}},
		{route: "POST /findings/triage", says: "triage acknowledged|succeeded", do: post("/findings/triage", "id", findingOn(pump3, 2), "state", "acknowledged")},
		{route: "POST /findings/undo/{bulk}", says: "undo triage|succeeded", do: func() *reply {
			return al.post("/findings/undo/" + triage(2))
		}},
		{route: "GET /findings.csv", says: "export|succeeded", do: get("/findings.csv")},
		{route: "GET /findings.json", says: "export|succeeded", do: get("/findings.json")},
		{route: "GET /findings.ocsf", says: "export|succeeded", do: get("/findings.ocsf")},
		{route: "GET /findings.cef", says: "export|succeeded", do: get("/findings.cef")},
		{route: "GET /devices.csv", says: "export|succeeded", do: get("/devices.csv")},
		{route: "GET /guard.csv", says: "export|succeeded", do: get("/guard.csv")},
		{route: "GET /documents.csv", says: "export|succeeded", do: get("/documents.csv")},
		{route: "GET /map.csv", says: "export|succeeded", do: get("/map.csv")},
		{route: "GET /settings/sensors.csv", says: "export|succeeded", do: get("/settings/sensors.csv")},
		{route: "GET /settings/people.csv", says: "export|succeeded", do: get("/settings/people.csv")},

		// No guard listens here: that somebody asked, and what came of it, is there all the same.
		{route: "POST /guard/{guard}/held/{id}", says: "confirm|unknown", do: func() *reply {
			path := "/guard/" + guard + "/held/7"
			return al.post(path, append(reason, "what", find(al.get(path), `name="what" value="([0-9a-f]+)"`))...)
		}},
		{route: "POST /guard/{guard}/doubts/{id}", says: "given: answer|failed", do: func() *reply {
			return al.post("/guard/"+guard+"/doubts/5", "do", "given", "reason", "the pump's log")
		}},
		{route: "POST /guard/{guard}/limits/{device}", says: "approve limits|succeeded", do: func() *reply {
			return al.post("/guard/"+guard+"/limits/pump-3", "what", "0d0d", "reason", "read")
		}},
		{route: "GET /ledger.csv", says: "export|succeeded", do: get("/ledger.csv")},
		{route: "GET /ledger/export", says: "export|succeeded", do: get("/ledger/export")},
		{route: "GET /ledger/{index}/proof", says: "export|succeeded", do: get("/ledger/0/proof")},
		{route: "POST /ledger/verify", says: "verify|succeeded", do: post("/ledger/verify")},
		{route: "POST /settings/sensors/{id}/revoke", says: "revoke sensor|succeeded", do: post("/settings/sensors/" + guard + "/revoke")},

		{route: "POST /api/v1/findings/{id}/triage", says: "triage acknowledged|succeeded", do: func() *reply {
			return al.json("POST", "/api/v1/findings/"+findingOn(pump3, 2)+"/triage", `{"state":"acknowledged"}`, "If-Match", "*")
		}},
		{route: "POST /api/v1/triages", says: "triage acknowledged|succeeded", do: func() *reply {
			return al.json("POST", "/api/v1/triages", `{"ids":["`+findingOn(pump3, 4)+`"],"state":"acknowledged"}`)
		}},
		{route: "POST /api/v1/triages/{number}/undo", says: "undo triage|succeeded", do: func() *reply {
			return al.json("POST", "/api/v1/triages/"+triage(4)+"/undo", "")
		}},
		{route: "PATCH /api/v1/devices/{id}", says: "edit device|succeeded", do: func() *reply { return al.json("PATCH", "/api/v1/devices/"+pump3, `{"owner":"x"}`, "If-Match", "*") }},
		{route: "POST /api/v1/devices/{id}/split", says: "split device|succeeded", do: func() *reply {
			a := al.json("POST", "/api/v1/devices/"+pump4+"/split", `{"identities":[`+find(al.json("GET", "/api/v1/devices/"+pump4+"/identities", ""), `"number":(\d+),"site":"ICU","kind":"ip"`)+`],"reason":"a hub"}`)
			split = find(a, `"number":(\d+)`)
			return a
		}},
		{route: "POST /api/v1/devices/{id}/split/{number}/undo", says: "undo split|succeeded", do: func() *reply {
			return al.json("POST", "/api/v1/devices/"+pump4+"/split/"+split+"/undo", `{"reason":"one label"}`)
		}},
		{route: "POST /api/v1/documents", says: "add document|succeeded", do: func() *reply {
			return al.send(al.request("POST", "/api/v1/documents", "application/octet-stream", strings.NewReader(fmt.Sprintf(bom, 2))))
		}},
		{route: "POST /api/v1/tokens", says: "add token|succeeded", do: func() *reply { return al.json("POST", "/api/v1/tokens", `{"name":"x","scopes":["read"],"days":1}`) }},

		{route: "POST /update/v1/poll", why: "what came of it is an event of a roll-out: TestRollout of serve/update looks for these"},
		{route: "POST /api/v1/releases", says: "add release|succeeded", do: func() *reply {
			a, digest := o.release(al)
			release = digest
			return a
		}},
		{route: "POST /updates", says: "create roll-out|succeeded", do: func() *reply {
			return al.post("/updates", "id", "r0", "release", release, "plan", rolloutPlan, "reason", "ADA-2026-01")
		}},
		{route: "POST /updates/{rollout}/start", says: "start roll-out|succeeded", do: post("/updates/r0/start", "reason", "now")},
		{route: "POST /updates/{rollout}/pause", says: "pause roll-out|succeeded", do: post("/updates/r0/pause", "reason", "a call")},
		{route: "POST /updates/{rollout}/resume", says: "resume roll-out|succeeded", do: post("/updates/r0/resume", "reason", "all is well")},
		{route: "POST /updates/{rollout}/devices/{device}/consent", says: "consent to update|succeeded", do: post("/updates/r0/devices/"+pump3+"/consent", "whose", "clinician", "terms", "1", "reason", "asked")},
		{route: "POST /updates/{rollout}/devices/{device}/withdraw", says: "withdraw consent to update|succeeded", do: post("/updates/r0/devices/"+pump3+"/withdraw", "whose", "clinician", "reason", "asked")},
		{route: "POST /updates/{rollout}/devices/{device}/depends", says: "judge dependency|succeeded", do: post("/updates/r0/devices/"+pump3+"/depends", "word", "high", "reason", "seen")},
		{route: "POST /updates/{rollout}/devices/{device}/attend", says: "attend update|succeeded", do: post("/updates/r0/devices/"+pump3+"/attend", "as", "clinician present", "minutes", "30")},
		{route: "POST /updates/{rollout}/devices/{device}/rule-out", says: "rule device out of roll-out|succeeded", do: post("/updates/r0/devices/"+pump3+"/rule-out", "owner", "Lea Sommer", "control", "gw-icu", "reason", "hardware B")},
		{route: "POST /updates/{rollout}/devices/{device}/relax", says: "relax gate: clinician's consent|succeeded", do: post("/updates/r0/devices/"+pump3+"/relax", "gate", "clinician's consent", "hours", "1", "reason", "nobody is there")},
		{route: "POST /updates/{rollout}/relax", says: "relax gate: clinician's consent|succeeded", do: post("/updates/r0/relax", "gate", "clinician's consent", "hours", "1", "reason", "nobody is there")},
		{route: "POST /updates/{rollout}/halt", says: "halt roll-out|succeeded", do: post("/updates/r0/halt", "reason", "an alarm")},
		{route: "POST /updates/{rollout}/resume", says: "resume roll-out|succeeded", do: post("/updates/r0/resume", "reason", "it was a cable")},
		{route: "GET /updates.csv", says: "export|succeeded", do: get("/updates.csv")},
		{route: "POST /api/v1/rollouts", says: "create roll-out|succeeded", do: func() *reply {
			body, _ := json.Marshal(map[string]string{"id": "r1", "release": release, "plan": rolloutPlan, "reason": "ADA-2026-01"})
			return al.json("POST", "/api/v1/rollouts", string(body))
		}},
		{route: "POST /api/v1/rollouts/{id}/start", says: "start roll-out|succeeded", do: rolls("start", `{"reason":"now"}`)},
		{route: "POST /api/v1/rollouts/{id}/pause", says: "pause roll-out|succeeded", do: rolls("pause", `{"reason":"a call"}`)},
		{route: "POST /api/v1/rollouts/{id}/resume", says: "resume roll-out|succeeded", do: rolls("resume", `{"reason":"all is well"}`)},
		{route: "POST /api/v1/rollouts/{id}/devices/{device}/consent", says: "consent to update|succeeded", do: rolls("devices/"+pump3+"/consent", `{"whose":"clinician","terms":"1"}`)},
		{route: "POST /api/v1/rollouts/{id}/devices/{device}/withdraw", says: "withdraw consent to update|succeeded", do: rolls("devices/"+pump3+"/withdraw", `{"whose":"clinician"}`)},
		{route: "POST /api/v1/rollouts/{id}/devices/{device}/attend", says: "attend update|succeeded", do: rolls("devices/"+pump3+"/attend", `{"as":"clinician present","minutes":30}`)},
		{route: "POST /api/v1/rollouts/{id}/devices/{device}/rule-out", says: "rule device out of roll-out|succeeded", do: rolls("devices/"+pump3+"/rule-out", `{"owner":"Lea Sommer","control":"gw-icu","reason":"hardware B"}`)},
		{route: "POST /api/v1/rollouts/{id}/devices/{device}/report", says: "report update: loss of function|succeeded", do: rolls("devices/"+pump3+"/report", `{"outcome":"loss of function","reason":"it alarms"}`)},
		{route: "POST /api/v1/rollouts/{id}/override", says: "relax gate: clinician's consent|succeeded", do: rolls("override", `{"gate":"clinician's consent","minutes":5,"reason":"nobody is there"}`)},
		{route: "POST /api/v1/rollouts/{id}/halt", says: "halt roll-out|failed", do: rolls("halt", `{"reason":"again"}`)},
		{route: "POST /updates/{rollout}/devices/{device}/report", says: "report update: loss of function|succeeded", do: post("/updates/r0/devices/"+pump3+"/report", "outcome", "loss of function", "reason", "it alarms")},
		{route: "POST /api/v1/devices/{id}/dependency", says: "judge dependency|succeeded", do: func() *reply {
			return al.json("POST", "/api/v1/devices/"+pump3+"/dependency", `{"dependency":"high"}`)
		}},
		{route: "POST /api/v1/update-keys", says: "register update keys|succeeded", do: func() *reply {
			k, err := cose.GenerateKey(cose.P256, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			public := k.Public()
			body, _ := json.Marshal(map[string]any{"keys": []update.Key{{Device: pump3, Key: public.AppendPublic(nil)}}})
			return al.json("POST", "/api/v1/update-keys", string(body))
		}},
		{route: "POST /api/v1/update-keys/{key}/revoke", says: "revoke update key|succeeded", do: func() *reply {
			return al.json("POST", "/api/v1/update-keys/"+find(al.json("GET", "/api/v1/update-keys", ""), `"id":"([0-9a-f]{16})"`)+"/revoke", `{"reason":"lost"}`)
		}},
		{route: "POST /api/v1/receipts", says: "import receipts|succeeded", do: func() *reply { return al.json("POST", "/api/v1/receipts", `{"receipts":["AAAA"]}`) }},
		{route: "DELETE /api/v1/tokens/{id}", says: "remove token|succeeded", do: func() *reply { return al.json("DELETE", "/api/v1/tokens/"+token(), "") }},
	}
	known := map[string]bool{}
	before := len(acted(t, o.s))
	for _, d := range deeds {
		known[d.route] = true
		if d.do == nil {
			continue
		}
		a := d.do()
		entries := acted(t, o.s)
		fresh := entries[before:]
		has := slices.ContainsFunc(fresh, func(e string) bool {
			part := strings.Split(e, "|")
			return part[1]+"|"+part[3] == d.says
		})
		for d.route == "POST /ledger/verify" && !has { // it answers before it has read all
			o.soon()
			entries = acted(t, o.s)
			fresh = entries[before:]
			has = len(fresh) > 0
		}
		if has != (d.says != "") {
			t.Errorf("%s: %d, and the ledger has %q, not %q: %.300s", d.route, a.status, fresh, d.says, a.body)
		}
		before = len(entries)
	}
	for _, r := range o.s.Routes() {
		method, _, _ := strings.Cut(r.Pattern, " ")
		if (method != "GET" || r.Needs == access.Export) && !known[r.Pattern] {
			t.Errorf("%s changes or exports something, and is not in this table: what does the ledger say of it?", r.Pattern)
		}
	}
	if strings.Contains(o.log.String(), "a request failed") {
		t.Error(o.log)
	}
}

// TestEveryPageIsJSON: who asks for JSON has each page as JSON, whatever its path.
func TestEveryPageIsJSON(t *testing.T) {
	o := newOutside(t, Config{})
	_, _, guard := o.ward()
	o.person("al", everyRole)
	v := o.visitor("al")
	person, _ := o.s.store.Person(t.Context(), "al")
	const bom = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","version":1,"components":[]}`
	var d struct{ Digest string }
	a := v.send(v.request("POST", "/api/v1/documents", "application/octet-stream", strings.NewReader(bom)))
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatal(err, a.body)
	}
	_, digest := o.release(v)
	body, _ := json.Marshal(map[string]string{"id": "r1", "release": digest, "plan": rolloutPlan})
	if a := v.json("POST", "/api/v1/rollouts", string(body)); a.status != 201 {
		t.Fatal(a.status, a.body)
	}
	paths := map[string]string{
		"GET /updates/{rollout}": "/updates/r1", "GET /updates/{rollout}/devices/{device}": "/updates/r1/devices/" + pump3,
		"GET /devices/{id}": "/devices/" + pump3, "GET /devices/{id}/merge": "/devices/" + pump3 + "/merge", "GET /devices/{id}/body": "/devices/" + icd + "/body",
		"GET /documents/{digest}": "/documents/" + d.Digest, "GET /findings/{id}": "/findings/" + findingOn(pump3, 0),
		"GET /guard/{guard}/held/{id}": "/guard/" + guard + "/held/7", "GET /guard/{guard}/doubts/{id}": "/guard/" + guard + "/doubts/5",
		"GET /guard/{guard}/limits/{device}": "/guard/" + guard + "/limits/pump-3",
		"GET /ledger/{index}":                "/ledger/0", "GET /settings/people/{id}": fmt.Sprintf("/settings/people/%d", person.ID), "GET /{$}": "/",
	}
	// What is no page, or is there once.
	others := []string{
		"GET /static/{file}", "GET /live", "GET /sign-in/provider", "GET /sign-in/provider/back", "GET /set-up/{secret}", "GET /password/{id}/{secret}",
		"GET /ledger/{index}/proof", "GET /ledger/export", "GET /documents/{digest}/content", "GET /updates/{rollout}/steps/{step}",
	}
	acted(t, o.s) // the ledger shows its entries from now on, not in a second
	n := 0
	for _, r := range o.s.pages.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if method != "GET" || slices.Contains(others, r.Pattern) || strings.HasSuffix(path, ".csv") || strings.HasSuffix(path, ".ocsf") || strings.HasSuffix(path, ".cef") {
			continue
		}
		if paths[r.Pattern] != "" {
			path = paths[r.Pattern]
		}
		q := v.request("GET", path, "", nil)
		q.Header.Set("Accept", "application/json")
		a := v.send(q)
		if a.status != 200 || a.head.Get("Content-Type") != "application/json" || !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %d %s %.200s", r.Pattern, a.status, a.head.Get("Content-Type"), a.body)
		}
		if !strings.HasSuffix(path, ".json") {
			if a := v.get(path); a.status != 200 && !strings.HasPrefix(a.head.Get("Location"), path+"?") || !strings.HasPrefix(a.head.Get("Content-Type"), "text/html") {
				t.Errorf("%s for a browser: %d %s", r.Pattern, a.status, a.head.Get("Content-Type"))
			}
		}
		n++
	}
	if n < 25 {
		t.Errorf("%d pages", n)
	}
	q := v.request("GET", "/devices/none", "", nil)
	q.Header.Set("Accept", "application/json")
	if a := v.send(q); a.status != 404 || a.head.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a problem: %d %s", a.status, a.head.Get("Content-Type"))
	}
	for _, path := range []string{"/map?ward=" + url.QueryEscape("ICU"), "/search?q=pump"} {
		if a := v.get(path); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
