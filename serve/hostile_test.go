// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/store"
)

// mark stands in each hostile text: as the name of an element, an attribute, a header
// or a cookie it has no business anywhere.
const mark = "zq7"

// hostile are texts as an attacker would have them in the name of a device, a form, a
// path or a query.
var hostile = []string{
	`zq7'); DROP TABLE person; --` + `"><zq7 onload=zq7()></title></textarea></script><zq7>{{.Who}}${7*7}`,
	`x' OR '1'='1' UNION SELECT login, hash, 'zq7' FROM person -- `,
	`javascript:zq7()//`,
	`=cmd|'/C zq7'!A0`, `  @SUM(zq7)`, "-2+3|zq7", "\t=zq7()", "＝zq7()",
	"zq7\r\nSet-Cookie: zq7=1\r\nLocation: //zq7.example\r\n\r\n<zq7>",
	"zq7\u202egpj.exe\u2066\u200b\u2028<zq7>",
	"zq7\x00\x1b[2J\x07<zq7>",
	"zq7\xff\xfe\xc0\xbc<zq7>",
	"../../../zq7/..%2f%2e%2e/etc/passwd",
}

// harmless looks at an answer: it is no failure of ours, has its headers, and nothing in
// it that an attacker meant to be more than text.
func (o *outside) harmless(what string, a *reply) {
	t := o.t
	t.Helper()
	if a.status >= 500 {
		t.Errorf("%s: %d", what, a.status)
	}
	policy := a.head.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'self'") && policy != "sandbox" || policy != "sandbox" && !strings.Contains(policy, "frame-ancestors 'none'") ||
		a.head.Get("X-Content-Type-Options") != "nosniff" || a.head.Get("Strict-Transport-Security") == "" || a.head.Get("Referrer-Policy") == "" || a.head.Get("Cache-Control") == "" {
		t.Errorf("%s: %d without its headers: %v", what, a.status, a.head)
	}
	for k, list := range a.head {
		if strings.Contains(strings.ToLower(k), mark) || k == "Set-Cookie" && strings.Contains(strings.Join(list, " "), mark) {
			t.Errorf("%s: a header %s: %q", what, k, list)
		}
	}
	if to := a.head.Get("Location"); to != "" && !local(to) {
		t.Errorf("%s: leads to %q", what, to)
	}
	switch kind, _, _ := strings.Cut(a.head.Get("Content-Type"), ";"); kind {
	case "text/html":
		if wrong := markup(a.body); wrong != "" {
			t.Errorf("%s: %s", what, wrong)
		}
	case "application/json", "application/problem+json", "application/vnd.oai.openapi+json":
		if !json.Valid([]byte(a.body)) || !utf8.ValidString(a.body) {
			t.Errorf("%s: no JSON: %.200q", what, a.body)
		}
	case "text/csv":
		rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if c := strings.TrimLeftFunc(cell, unicode.IsSpace); c != "" && strings.ContainsAny(string([]rune(c)[:1]), "=+-@|%＝＋－＠") || strings.ContainsAny(cell, "\x00\x1b\r\u202e") {
					t.Errorf("%s: a cell %.80q", what, cell)
				}
			}
		}
	}
}

// local reports whether a link stays on this server.
func local(to string) bool {
	u, err := url.Parse(to)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && !strings.HasPrefix(to, "//") && !strings.ContainsAny(to, "\\\t\r\n\x00")
}

// markup says what is in a page that nobody of us wrote, or "".
func markup(page string) string {
	if strings.ContainsAny(page, "\x00\x1b\x07") {
		return "a control character"
	}
	if !utf8.ValidString(page) {
		return "no UTF-8"
	}
	z := html.NewTokenizer(strings.NewReader(page))
	isolated, script := 0, false
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				return z.Err().Error()
			}
			return ""
		case html.TextToken:
			text := z.Token().Data
			if script && strings.TrimSpace(text) != "" {
				return "a script in the page: " + text
			}
			if isolated == 0 && strings.ContainsAny(text, "\u202a\u202b\u202d\u202e\u2066\u2067") {
				return fmt.Sprintf("text that turns the direction of what follows: %.80q", text)
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			script = tag.Data == "script"
			if strings.Contains(tag.Data, mark) || slices.Contains([]string{"style", "iframe", "object", "embed", "base"}, tag.Data) {
				return "an element " + tag.String()
			}
			if slices.Contains([]string{"bdi", "textarea", "title", "option", "code", "pre"}, tag.Data) && kind == html.StartTagToken {
				isolated++
			}
			for _, at := range tag.Attr {
				switch {
				case strings.Contains(at.Key, mark), strings.HasPrefix(at.Key, "on"), at.Key == "style", at.Key == "srcdoc":
					return fmt.Sprintf("an attribute %s of %s", at.Key, tag.Data)
				case slices.Contains([]string{"href", "src", "action", "formaction", "xlink:href"}, at.Key) && !local(at.Val):
					return fmt.Sprintf("%s=%.80q", at.Key, at.Val)
				}
			}
		case html.EndTagToken:
			if tag := z.Token(); slices.Contains([]string{"bdi", "textarea", "title", "option", "code", "pre"}, tag.Data) {
				isolated--
			}
			script = false
		}
	}
}

// fill puts a text into each string of a value.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	}
}

// hostileBatch has a text in each of its fields.
func hostileBatch(n int, text string, ids bool) *store.Batch {
	now := time.Now().UnixNano()
	b := &store.Batch{Sent: now, HeldToo: true}
	for _, therapy := range []device.Therapy{device.DrugInfusion, device.Pacing} {
		var d device.Device
		fill(reflect.ValueOf(&d).Elem(), text)
		d.Medical, d.Therapy = true, therapy
		d.Addresses = []device.Address{{Kind: device.Host, Value: text}, {Kind: device.AET, Value: text}, {Kind: device.BLE, Value: text}}
		if !ids {
			d.ID = device.IDOf("Norra Medical", "Flow 500", fmt.Sprint(n, therapy))
		}
		var f finding.Finding
		fill(reflect.ValueOf(&f).Elem(), text)
		f.Kind, f.Decision, f.Harm, f.State, f.Count, f.First, f.Last, f.Device = finding.LegacyOS, finding.Act, device.Catastrophic, "open", 1, now, now, d.ID
		if !ids {
			f.ID = findingOn(d.ID, n)
		}
		b.Devices, b.Findings = append(b.Devices, d), append(b.Findings, f)
	}
	o := store.Observation{Client: device.Address{Kind: device.Host, Value: text}, Server: device.Address{Kind: device.Host, Value: text + "2"}, Protocol: text, Port: 1, First: now, Last: now, Count: 1, Packets: 1, Bytes: 1}
	b.Observations = append(b.Observations, o)
	b.Beat = &store.Beat{Version: text, Problem: text}
	for _, kind := range []event.Kind{event.VerdictGiven, event.DoseDoubted, event.EmergencyUsed, event.AccessRefused, event.ConfigurationChanged, event.VerdictsCounted} {
		e := event.Event{Kind: kind, Time: now, Device: device.Address{Kind: device.Host, Value: text}, Peer: device.Address{Kind: device.Host, Value: text}}
		e.Add(event.Int(event.Verb, device.SetInfusionRate), event.Int(event.Verdict, device.Deny))
		for _, k := range []event.Key{event.Front, event.Value, event.Actor, event.Reason, event.Target} {
			e.Add(event.Text(k, text))
		}
		b.Events = append(b.Events, e)
	}
	var h store.Held
	fill(reflect.ValueOf(&h).Elem(), text)
	h.Asked, h.Expires = now, now+int64(time.Hour)
	if !ids {
		h.ID = fmt.Sprint(n)
	}
	b.Held = append(b.Held, h)
	var holds guard.State
	fill(reflect.ValueOf(&holds).Elem(), text)
	b.State, _ = json.Marshal(&holds)
	return b
}

// A form of a page.
type form struct {
	method, action string
	page           string // where it was found
	fields         []string
	values         url.Values // as the page has them
	files          bool
}

// forms are those of a page, with what they have in them.
func formsOf(page string) (out []form, links []string) {
	z := html.NewTokenizer(strings.NewReader(page))
	var f *form
	choice := ""
	for {
		switch z.Next() {
		case html.ErrorToken:
			return out, links
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			at := map[string]string{}
			for _, a := range tag.Attr {
				at[a.Key] = a.Val
			}
			switch tag.Data {
			case "a":
				links = append(links, at["href"])
			case "form":
				out = append(out, form{method: strings.ToUpper(at["method"]), action: at["action"], values: url.Values{}, files: at["enctype"] != ""})
				f = &out[len(out)-1]
			case "input", "textarea", "select", "button":
				if f == nil || at["name"] == "" {
					continue
				}
				choice = at["name"]
				if !slices.Contains(f.fields, at["name"]) {
					f.fields = append(f.fields, at["name"])
				}
				if v, has := at["value"]; has && !f.values.Has(at["name"]) {
					f.values.Set(at["name"], v)
				}
			case "option":
				if f != nil && choice != "" && at["value"] != "" {
					f.values.Set(choice, at["value"])
				}
			}
		case html.EndTagToken:
			if z.Token().Data == "form" {
				f = nil
			}
		}
	}
}

// crawl looks at all pages that links lead to, and at most a few of one shape.
func (o *outside) crawl(v *visitor) (all []form, queries map[string][]string) {
	o.t.Helper()
	const ofOneShape = 4
	seen, shapes, have := map[string]bool{}, map[string]int{}, map[string]int{}
	queries = map[string][]string{}
	next := []string{"/", "/me", "/settings/people", "/settings/sensors", "/settings/retention", "/settings/receivers", "/map", "/search?q=zq7", "/sign-in"}
	for len(next) > 0 {
		path := next[0]
		next = next[1:]
		u, err := url.Parse(path)
		if err != nil || seen[path] || !local(path) || u.Path == "" || u.Path == "/live" || strings.HasPrefix(u.Path, "/static/") {
			continue
		}
		seen[path] = true
		keys := []string{}
		for k := range u.Query() {
			keys = append(keys, k)
			if !slices.Contains(queries[u.Path], k) && !digits.MatchString(u.Path) {
				queries[u.Path] = append(queries[u.Path], k)
			}
		}
		slices.Sort(keys)
		shape := digits.ReplaceAllString(u.Path, "N") + "?" + strings.Join(keys, "&")
		if shapes[shape]++; shapes[shape] > ofOneShape || len(keys) > 3 {
			continue
		}
		a := v.get(path)
		o.harmless("GET "+path, a)
		if to := a.head.Get("Location"); to != "" {
			next = append(next, to)
		}
		forms, links := formsOf(a.body)
		next = append(next, links...)
		for _, f := range forms {
			if f.action == "" {
				f.action = u.Path
			}
			f.page = path
			shape := f.method + digits.ReplaceAllString(f.action, "N") + strings.Join(f.fields, "&")
			if have[shape]++; have[shape] <= 2 {
				all = append(all, f)
			}
			if f.method != "POST" {
				for _, k := range f.fields {
					if !slices.Contains(queries[f.action], k) {
						queries[f.action] = append(queries[f.action], k)
					}
				}
			}
		}
	}
	return all, queries
}

// digits are ids in paths.
var digits = regexp.MustCompile(`[a-z-]*-[a-z2-7]{16}|s-[a-z2-7]{16}|[0-9a-f]{64}|/\d+|held/[^/]+|doubts/[^/]+`)

// TestHostileText puts SQL, HTML, templates, formulas, ends of lines, directions, NUL
// and broken UTF-8 into every field of what sensors and guards send, of every form,
// query and path, and of every operation of the interface for programs; and looks at
// each answer, at all pages, exports, the log and the ledger after.
func TestHostileText(t *testing.T) {
	o := newOutside(t, Config{Site: hostile[0]})
	o.person("al", everyRole)
	v := o.visitor("al")
	sensor, holder, guardID := o.ward()
	sensorID := ""
	if list, err := o.s.store.Sensors(t.Context()); err != nil {
		t.Fatal(err)
	} else {
		for _, n := range list {
			if n.ID != guardID {
				sensorID = n.ID
			}
		}
	}
	sequence := uint64(1)
	for _, ids := range []bool{false, true} {
		for i, text := range hostile {
			sequence++
			b := hostileBatch(i, text, ids)
			b.Sequence = sequence
			g := &store.Batch{Sequence: sequence, Events: b.Events, Held: b.Held, HeldToo: true, Beat: b.Beat, State: b.State}
			b.Events, b.Held, b.HeldToo, b.State = nil, nil, false, nil
			if a := o.deliver(sensor, sensorID, b); a.status != 200 && (a.status != 400 || !ids) {
				t.Errorf("%q from a sensor: %d %s", text, a.status, a.body)
			} else {
				o.harmless("a batch", a)
			}
			if a := o.deliver(holder, guardID, g); a.status != 200 && (a.status != 400 || !ids) {
				t.Errorf("%q from a guard: %d %s", text, a.status, a.body)
			}
		}
	}
	const bom = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":%q,"version":1,"metadata":{"component":{"bom-ref":"p","type":"device","name":%[2]s,"version":%[2]s,"supplier":{"name":%[2]s}}},"components":[{"bom-ref":"c","type":"library","name":%[2]s,"version":%[2]s}]}`
	for i, text := range hostile {
		quoted, _ := json.Marshal(text)
		r := v.request("POST", "/api/v1/documents?name="+url.QueryEscape(text), "application/octet-stream", strings.NewReader(fmt.Sprintf(bom, fmt.Sprintf("urn:uuid:3e671687-395b-41f5-a30f-a58921a69b%02d", i), quoted)))
		if a := v.send(r); a.status != 201 && a.status != 422 {
			t.Errorf("a document of %q: %d %s", text, a.status, a.body)
		}
	}

	forms, queries := o.crawl(v)
	sent := map[string]bool{}
	for _, f := range forms {
		if f.method != "POST" || f.action == "/sign-out" || f.files {
			continue
		}
		sent[f.action] = true
		all := url.Values{}
		for k, list := range f.values {
			all[k] = list
		}
		for _, k := range f.fields {
			if all.Get(k) == "" {
				all.Set(k, "x")
			}
		}
		for _, k := range f.fields {
			for i, text := range append(slices.Clone(hostile), strings.Repeat("zq7<", 1<<18)) {
				if i > 0 && i%3 != len(k)%3 && i != len(hostile) { // all of them in all fields would take minutes
					continue
				}
				form := url.Values{}
				for k, list := range all {
					form[k] = list
				}
				form.Set(k, text)
				r := v.request("POST", f.action, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
				r.Header.Set("Accept", "text/html")
				a := v.send(r)
				o.harmless(fmt.Sprintf("POST %s with %s = %.30q", f.action, k, text), a)
				if a.status == 303 && strings.HasPrefix(a.head.Get("Location"), "/sign-in?") {
					t.Fatalf("signed out by %s", f.action)
				}
			}
		}
	}
	if len(sent) < 15 {
		t.Errorf("%d forms", len(sent))
	}
	for path, keys := range queries {
		for _, k := range keys {
			for _, text := range hostile {
				o.harmless("GET "+path+" with "+k, v.get(path+"?"+url.Values{k: {text}}.Encode()))
			}
		}
	}
	o.paths(v)
	o.operations(v)

	o.crawl(v)
	for _, path := range []string{"/devices.csv", "/findings.csv", "/guard.csv", "/devices.json", "/findings.json", "/guard.json", "/documents.json", "/search.json?q=zq7", "/ledger/export", "/api/v1/devices?limit=1000", "/api/v1/findings?limit=1000", "/api/v1/verdicts", "/api/v1/held", "/api/v1/sensors", "/api/v1/documents", "/metrics", "/api/v1/openapi.json"} {
		a := v.get(path)
		if o.harmless(path, a); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if people, err := o.s.store.People(t.Context()); err != nil || len(people) == 0 {
		t.Errorf("people: %d, %v", len(people), err)
	}
	acted(t, o.s)
	key, _ := ledger.ParseVerifier(o.s.shown.Key)
	if rep, err := ledger.Verify(o.s.shown.Dir, ledger.VerifyConfig{Ledger: key}); err != nil || !rep.OK() {
		t.Errorf("the ledger: %v %+v", err, rep)
	}
	for l := range strings.Lines(o.log.String()) {
		if !strings.HasPrefix(l, "time=") || strings.Contains(l, "a request failed") || strings.ContainsAny(strings.TrimSuffix(l, "\n"), "\x00\x1b\r") {
			t.Errorf("the log: %.300q", l)
		}
	}
}

// paths asks each route for ids that are none.
func (o *outside) paths(v *visitor) {
	ids := []string{"..", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%5c%2e%2e", "..%00", "%ff%fe", "-1", "99999999999999999999", "1e3", "0x1", strings.Repeat("a", 10_000), ""}
	for _, text := range hostile {
		ids = append(ids, url.PathEscape(text))
	}
	for _, r := range o.s.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if !strings.Contains(path, "{") || strings.HasPrefix(path, "/uplink") {
			continue
		}
		for _, id := range ids {
			at := wildcard.ReplaceAllLiteralString(path, id)
			q, err := http.NewRequestWithContext(o.t.(*testing.T).Context(), method, o.at+at, nil)
			if err != nil {
				continue
			}
			q.Header.Set("Accept", "text/html")
			a := v.send(q)
			o.harmless(fmt.Sprintf("%s %.60s", method, at), a)
			if strings.Contains(a.body, "root:x:0") || strings.Contains(a.body, "SPDX-License-Identifier") && strings.Contains(path, "{secret}") {
				o.t.Errorf("%s %.60s: a file", method, at)
			}
		}
	}
}

// operations sends hostile texts in each field that the API's own description has.
func (o *outside) operations(v *visitor) {
	t := o.t
	t.Helper()
	type schema struct {
		Ref        string            `json:"$ref"`
		Type       any               `json:"type"`
		Properties map[string]schema `json:"properties"`
		Items      *schema           `json:"items"`
		Enum       []any             `json:"enum"`
		Required   []string          `json:"required"`
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters  []struct{ Name, In string }
			RequestBody struct {
				Content map[string]struct{ Schema schema }
			} `json:"requestBody"`
		}
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal([]byte(v.get("/api/v1/openapi.json").body), &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			method = strings.ToUpper(method)
			at := strings.NewReplacer("{id}", findingOn(pump3, 0), "{digest}", strings.Repeat("0", 64), "{number}", "1").Replace(path)
			if strings.Contains(path, "/devices/{id}") {
				at = "/api/v1/devices/" + pump3
			}
			body := op.RequestBody.Content["application/json"].Schema
			if body.Ref != "" {
				body = doc.Components.Schemas[body.Ref[strings.LastIndexByte(body.Ref, '/')+1:]]
			}
			for _, text := range hostile {
				for _, p := range op.Parameters {
					switch p.In {
					case "query":
						n++
						o.harmless(method+" "+path+" with "+p.Name, v.json(method, at+"?"+url.Values{p.Name: {text}}.Encode(), "", "If-Match", "*"))
					case "header":
						n++
						o.harmless(method+" "+path+" with "+p.Name, v.json(method, at, "", p.Name, strings.Map(func(r rune) rune { return max(r, ' ') }, text)))
					}
				}
				for name := range body.Properties {
					if name == "$schema" {
						continue
					}
					in := map[string]any{}
					for other, s := range body.Properties {
						switch {
						case other == name && s.Items != nil:
							in[other] = []string{text}
						case other == name:
							in[other] = text
						case slices.Contains(body.Required, other) && s.Items != nil:
							in[other] = []string{"read"}
						case slices.Contains(body.Required, other):
							in[other] = "x"
						}
					}
					b, _ := json.Marshal(in)
					n++
					o.harmless(method+" "+path+" with "+name, v.json(method, at, string(b), "If-Match", "*"))
				}
			}
			if body.Properties != nil {
				for _, b := range []string{strings.Repeat("[", 60_000), `{"a":` + strings.Repeat(`{"a":`, 10_000), "\x00", "\xff", `{"` + strings.Repeat("a", 1<<20) + `":1}`, `"x"`, "null", "[]", "1e999999"} {
					a := v.json(method, at, b, "If-Match", "*")
					if o.harmless(method+" "+path, a); a.status < 400 {
						t.Errorf("%s %s takes %.20q: %d", method, path, b, a.status)
					}
				}
			}
		}
	}
	if n < 300 {
		t.Errorf("%d fields of the interface", n)
	}
}
