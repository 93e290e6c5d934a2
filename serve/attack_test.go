// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/serve/uplink"
)

// at is the path of a route, with something in its wildcards.
func at(r *access.Route) (method, path string) {
	method, path, _ = strings.Cut(r.Pattern, " ")
	return method, wildcard.ReplaceAllStringFunc(path, func(w string) string { return map[bool]string{true: "", false: "1"}[w == "{$}"] })
}

// TestOtherSites: whatever another site's page makes a browser send, of no route that
// changes something it changes anything, nor is anything in the ledger.
func TestOtherSites(t *testing.T) {
	o := newOutside(t, Config{})
	o.person("al", everyRole)
	v := o.visitor("al")
	before := len(acted(t, o.s))
	n := 0
	for _, r := range o.s.Routes() {
		method, path := at(&r)
		if method == "GET" {
			continue
		}
		n++
		for _, head := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			for _, kind := range []string{"application/x-www-form-urlencoded", "text/plain"} {
				q := v.request(method, path, kind, strings.NewReader(`reason=x`))
				q.Header.Set(head[0], head[1])
				a := v.send(q)
				o.harmless(r.Pattern, a)
				if a.status != http.StatusForbidden {
					t.Errorf("%s with %s: %d", r.Pattern, head, a.status)
				}
			}
		}
	}
	if after := acted(t, o.s); len(after) != before || n < 40 {
		t.Errorf("%d routes; the ledger has %q", n, after[before:])
	}
	if a := v.get("/me"); a.status != 200 {
		t.Errorf("signed out: %d", a.status)
	}
	// A page of another site learns nothing by reading, either: it is never told that it may.
	q := v.request("GET", "/devices.json", "", nil)
	q.Header.Set("Origin", "https://evil.example")
	if a := v.send(q); a.head.Get("Access-Control-Allow-Origin") != "" {
		t.Error(a.head)
	}
}

// TestTooMuch: no route takes more than it says, whether a length says so before or not.
func TestTooMuch(t *testing.T) {
	o := newOutside(t, Config{})
	o.person("al", everyRole)
	v := o.visitor("al")
	sensor, _, _ := o.ward()
	for _, r := range o.s.Routes() {
		method, path := at(&r)
		if method == "GET" {
			continue
		}
		if method == "DELETE" {
			continue // it has no body
		}
		who, most := v, max(r.Most, 64<<10)
		if strings.HasPrefix(path, "/uplink") {
			who = sensor
		}
		if most > 8<<20 {
			continue // tests of the pages of documents and of the API upload that much
		}
		kinds := []string{"application/x-www-form-urlencoded"}
		if strings.HasPrefix(path, "/api") || strings.HasPrefix(path, "/uplink") {
			kinds = append(kinds, "application/json") // pages read none
		}
		for _, kind := range kinds {
			for _, chunked := range []bool{false, true} {
				var body io.Reader = bytes.NewReader(append([]byte("a="), make([]byte, most)...))
				if chunked {
					body = struct{ io.Reader }{body}
				}
				q := who.request(method, path, kind, body)
				q.Header.Set("If-Match", "*")
				a := who.send(q)
				if a.status < 400 || a.status >= 500 || kind[12] == 'x' && a.status != 413 && !strings.HasPrefix(path, "/uplink") {
					t.Errorf("%s, %s, %v: %d %.100s", r.Pattern, kind, chunked, a.status, a.body)
				}
			}
		}
	}
}

// TestBombs: what is small and unpacks to much is not unpacked to more than a document.
func TestBombs(t *testing.T) {
	o := newOutside(t, Config{})
	o.person("al", everyRole)
	v := o.visitor("al")
	sensor, _, _ := o.ward()
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	z.Write([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","x":"`))
	blank := make([]byte, 1<<20)
	for range 512 {
		z.Write(blank)
	}
	z.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, path := range []string{"/api/v1/documents", "/api/v1/triages", "/uplink/v1/batch", "/sign-in"} {
		who, kind := v, "application/json"
		switch path {
		case "/api/v1/documents":
			kind = "application/octet-stream"
		case "/uplink/v1/batch":
			who = sensor
		case "/sign-in":
			kind = "application/x-www-form-urlencoded"
		}
		q := who.request("POST", path, kind, bytes.NewReader(bomb.Bytes()))
		q.Header.Set("Content-Encoding", "gzip")
		if a := who.send(q); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %.200s", path, a.status, a.body)
		}
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	f, _ := w.CreateFormFile("file", "a.json.gz")
	f.Write(bomb.Bytes())
	w.Close()
	if a := v.send(v.request("POST", "/documents", w.FormDataContentType(), &form)); a.status != 303 {
		t.Errorf("%d %.200s", a.status, a.body)
	}
	if a := v.get("/documents"); !strings.Contains(a.body, "0 documents added") {
		t.Errorf("%d %.200s", a.status, a.body)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4*documents.Most {
		t.Errorf("%d MiB for a bomb of %d KiB", n>>20, bomb.Len()>>10)
	}
}

// TestSessions: by TLS, as the whole server gives them out.
func TestSessions(t *testing.T) {
	o := newOutside(t, Config{})
	o.person("al", everyRole)
	home, _ := url.Parse(o.at)

	// Of somebody who was given a cookie before, nothing of that is left.
	v := o.visitor("")
	v.Jar.SetCookies(home, []*http.Cookie{{Name: "__Host-myelin", Value: "an-attackers-own-0123456789", Secure: true, Path: "/"}})
	q := v.request("POST", "/sign-in", "application/x-www-form-urlencoded", strings.NewReader(url.Values{"login": {"al"}, "password": {goodPassword}, "to": {"//evil.example"}}.Encode()))
	a := v.send(q)
	line := a.head.Get("Set-Cookie")
	for _, want := range []string{"__Host-myelin=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		if !strings.Contains(line, want) {
			t.Errorf("the cookie %q has no %q", line, want)
		}
	}
	if strings.Contains(line, "Domain") || strings.Contains(line, "Expires") || strings.Contains(line, "an-attackers-own") || a.head.Get("Location") != "/" {
		t.Errorf("%q leads to %q", line, a.head.Get("Location"))
	}
	with := func(cookie string) int {
		x := o.visitor("")
		q := x.request("GET", "/me", "", nil)
		q.Header.Set("Cookie", cookie)
		q.Header.Set("Accept", "application/json")
		return x.send(q).status
	}
	name, value, _ := strings.Cut(strings.SplitN(line, ";", 2)[0], "=")
	good := name + "=" + value
	if with(good) != 200 {
		t.Fatal("its own cookie")
	}
	stored, err := o.s.store.Sessions(t.Context(), 1)
	if err != nil || len(stored) == 0 {
		t.Fatal(stored, err)
	}
	for what, cookie := range map[string]string{
		"made up": name + "=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "what the database has": name + "=" + stored[0].Token, "without its prefix": "myelin=" + value,
		"another letter": name + "=" + map[bool]string{true: "B", false: "A"}[value[0] == 'A'] + value[1:], "SQL": name + "=' OR 1=1 --", "empty": name + "=", "given before": name + "=an-attackers-own-0123456789",
	} {
		if with(cookie) != 401 {
			t.Errorf("%s: is let in", what)
		}
	}
	if a := v.post("/sign-out"); a.status != 303 || with(good) != 401 {
		t.Error("replayed after signing out")
	}

	// An open screen makes nothing that lets somebody in later.
	k := &clock{at: time.Now()}
	o = newOutside(t, Config{Now: k.now})
	o.person("al", everyRole)
	v = o.visitor("al")
	const asked = `{"name":"x","scopes":["read"],"days":1}`
	if a := v.json("POST", "/api/v1/tokens", asked); a.status != 201 {
		t.Errorf("at once: %d %s", a.status, a.body)
	}
	k.pass(16 * time.Minute)
	if a := v.json("POST", "/api/v1/tokens", asked); a.status != 403 {
		t.Errorf("by the API, 16 minutes later: %d %s", a.status, a.body)
	}
	if a := v.post("/me/tokens", "name", "x", "scope", "read", "days", "1"); a.status != 403 {
		t.Errorf("by the page, 16 minutes later: %d", a.status)
	}
}

// TestFloods of wrong passwords are slowed, and are no flood of the ledger; whoever is
// in already is not kept out by them.
func TestFloods(t *testing.T) {
	o := newOutside(t, Config{})
	o.person("al", everyRole)
	v, x := o.visitor("al"), o.visitor("")
	codes := map[int]int{}
	for i := range 40 {
		a := x.post("/sign-in", "login", []string{"al", "root", "admin", "' OR 1=1 --"}[i%4], "password", fmt.Sprint("wrong password ", i))
		codes[a.status]++
		if a.status == 429 && a.head.Get("Retry-After") == "" {
			t.Error("does not say when to try again")
		}
	}
	if codes[403] > 21 || codes[429] < 19 {
		t.Errorf("%v", codes)
	}
	failed := 0
	for _, e := range acted(t, o.s) {
		if strings.HasSuffix(e, "|sign-in||failed") {
			failed++
		}
	}
	if failed != codes[403] {
		t.Errorf("the ledger has %d failures of %d", failed, codes[403])
	}
	if a := v.get("/me"); a.status != 200 {
		t.Error(a.status)
	}
	// Secrets of links and of sensors are not guessed, and each guess is refused alike.
	for range 30 {
		if a := x.get(access.LinkPath(1, "AAAAAAAAAAAAAAAAAAAAAAAA")); a.status != 410 {
			t.Fatal(a.status)
		}
	}
	_, _, csr := keyed(t)
	codes = map[int]int{}
	for i := range 80 {
		doc, _ := json.Marshal(map[string]string{"token": fmt.Sprint("guess", i, ".x"), "csr": csr})
		codes[x.json("POST", "/uplink/v1/enrol", string(doc)).status]++
	}
	if codes[403]+codes[429] != 80 || codes[429] == 0 {
		t.Errorf("guesses of enrolment: %v", codes)
	}
	if list, err := o.s.store.Sensors(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

// TestSensorsAreThemselves: a sensor is itself and no other, until it is revoked; who is none, is none.
func TestSensorsAreThemselves(t *testing.T) {
	o := newOutside(t, Config{})
	a, idA := o.sensor("sensor")
	b, idB := o.sensor("sensor")
	guard, idGuard := o.sensor("guard")
	batch := func(v *visitor, body string) int {
		return v.send(v.request("POST", "/uplink/v1/batch", "application/json", strings.NewReader(body))).status
	}
	for what, n := range map[string]struct {
		who  *visitor
		body string
		want int
	}{
		"as another":                {a, fmt.Sprintf(`{"Sensor":%q,"Sequence":1}`, idB), 403},
		"as a guard":                {a, fmt.Sprintf(`{"Sensor":%q,"Sequence":1}`, idGuard), 403},
		"what guards send":          {a, `{"Sequence":1,"HeldToo":true}`, 403},
		"held commands":             {a, `{"Sequence":1,"Held":[{"ID":"1","Device":"pump-3"}]}`, 403},
		"of nobody":                 {o.visitor(""), `{"Sequence":1}`, 401},
		"a number that is none":     {a, `{"Sequence":0}`, 400},
		"a number far ahead":        {a, `{"Sequence":9223372036854775807}`, 400},
		"no JSON":                   {a, `' OR 1=1`, 400},
		"as itself":                 {a, fmt.Sprintf(`{"Sensor":%q,"Sequence":1}`, idA), 200},
		"a guard, what guards send": {guard, `{"Sequence":1,"HeldToo":true}`, 200},
	} {
		if got := batch(n.who, n.body); got != n.want {
			t.Errorf("%s: %d", what, got)
		}
	}
	// Certificates that are none of a sensor: of another authority with the same number,
	// of the server itself.
	foreign, err := uplink.OpenAuthority(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for what, ca := range map[string]*uplink.Authority{"another authority": foreign, "a server's certificate": o.s.authority} {
		cert, key, err := ca.Server(idA)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		x := o.visitor("")
		x.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
		if got := batch(x, `{"Sequence":2}`); got != 401 {
			t.Errorf("%s: %d", what, got)
		}
	}
	// A certificate is no session, and a session no certificate.
	if a := a.get("/me"); a.status != 303 {
		t.Errorf("a sensor has a page: %d", a.status)
	}
	o.person("al", everyRole)
	if got := batch(o.visitor("al"), `{"Sequence":2}`); got != 401 {
		t.Errorf("a person sends a batch: %d", got)
	}
	if err := o.s.store.RevokeSensor(t.Context(), idB); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"GET /uplink/v1/state", "POST /uplink/v1/batch", "GET /uplink/v1/decisions", "POST /uplink/v1/decisions"} {
		method, path, _ := strings.Cut(path, " ")
		if got := b.send(b.request(method, path, "application/json", strings.NewReader(`{"Sequence":1}`))).status; got != 403 {
			t.Errorf("revoked, %s: %d", path, got)
		}
	}
}

// TestTokenScopes: a program does what a scope of its token names, and nothing more,
// also when its person might.
func TestTokenScopes(t *testing.T) {
	o := newOutside(t, Config{})
	p := o.person("al", everyRole)
	o.ward()
	programs := map[string]*visitor{}
	for _, scope := range access.Scopes() {
		programs[scope] = o.program(p, scope)
	}
	for _, r := range o.s.Routes() {
		method, path := at(&r)
		grant := access.Permissions[r.Needs]
		if r.Needs == access.Anyone || r.Pattern == "GET /live" {
			continue
		}
		for scope, v := range programs {
			q := v.request(method, path, "application/json", nil)
			q.Header.Set("Accept", "application/json")
			a := v.send(q)
			in := a.status != 401 && a.status != 403
			if may := grant.Scope == scope; in && !may || !in && may && !strings.HasSuffix(path, "/tokens") && !strings.HasSuffix(path, "/tokens/1") {
				t.Errorf("%s with %s: %d", r.Pattern, scope, a.status)
			}
			o.harmless(r.Pattern+" with "+scope, a)
		}
	}
	for _, bearer := range []string{"", "myelin_", "' OR 1=1 --", strings.Repeat("A", 10_000)} {
		v := o.visitor("")
		v.head.Set("Authorization", "Bearer "+bearer)
		if a := v.json("GET", "/api/v1/devices", ""); a.status != 401 || a.head.Get("WWW-Authenticate") == "" {
			t.Errorf("%.20q: %d", bearer, a.status)
		}
	}
}

// TestManufacturer: whatever way it asks, a manufacturer finds nothing of others.
func TestManufacturer(t *testing.T) {
	o := newOutside(t, Config{})
	p := o.person("norra", access.Manufacturer)
	o.person("al", everyRole)
	_, _, guard := o.ward()
	al, browser, program := o.visitor("al"), o.visitor("norra"), o.program(p, access.Scopes()...)
	const bom = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b7%d","version":1,"metadata":{"component":{"bom-ref":"p","type":"device","name":%q,"version":"2.1.4","supplier":{"name":%q}}},"components":[{"bom-ref":"c","type":"library","name":"qvarn-library","version":"1"}]}`
	digest := map[string]string{}
	for i, of := range [][2]string{{"Flow 500", "Norra Medical"}, {"Zephyr 9", "Qvarn"}, {"Flow 5000", "Norra Medical"}} {
		a := al.send(al.request("POST", "/api/v1/documents?name="+url.QueryEscape(of[1]+".json"), "application/octet-stream", strings.NewReader(fmt.Sprintf(bom, i, of[0], of[1]))))
		var d struct{ Digest string }
		if err := json.Unmarshal([]byte(a.body), &d); err != nil {
			t.Fatal(a.body)
		}
		digest[of[0]] = d.Digest
	}
	secret := []string{"Qvarn", "Zephyr", "qz-serial-1", "qvarn", "Flow 5000", "icd-anna", "Halden", "gw-icu", "line 12"}
	ids := []string{other, icd, findingOn(other, 1), digest["Zephyr 9"], digest["Flow 5000"], guard, "7", "1", "0"}
	for _, v := range []*visitor{browser, program} {
		for _, r := range o.s.Routes() {
			method, path, _ := strings.Cut(r.Pattern, " ")
			if method != "GET" || r.Pattern == "GET /live" && access.Permissions[r.Needs].Roles&access.Manufacturer != 0 {
				continue
			}
			paths := []string{path}
			if strings.Contains(path, "{") {
				paths = nil
				for _, id := range ids {
					paths = append(paths, wildcard.ReplaceAllLiteralString(strings.Replace(path, "{$}", "", 1), id))
				}
			}
			for _, path := range paths {
				for _, kind := range []string{"text/html", "application/json"} {
					q := v.request("GET", path+map[bool]string{true: "?q=qvarn", false: ""}[strings.Contains(path, "search")], "", nil)
					q.Header.Set("Accept", kind)
					a := v.send(q)
					for _, word := range secret {
						if strings.Contains(a.body, word) && !strings.HasPrefix(path, "/search") {
							t.Errorf("%s: %d shows %q", path, a.status, word)
						}
					}
					if strings.Contains(path, "search") && a.status != 403 {
						t.Errorf("%s: %d", path, a.status)
					}
				}
			}
		}
		// Nor by asking for it: what is counted, filtered and sorted is narrowed as well.
		for _, path := range []string{"/devices", "/findings", "/documents"} {
			q := v.request("GET", "/api/v1"+path+"?q=zephyr", "", nil)
			var l struct{ Total int }
			if a := v.send(q); a.status != 200 || json.Unmarshal([]byte(a.body), &l) != nil || l.Total != 0 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		q := v.request("GET", "/api/v1/findings?device="+other, "", nil)
		if a := v.send(q); a.status != 200 || !strings.Contains(a.body, `"total":0`) {
			t.Errorf("another's findings: %d %s", a.status, a.body)
		}
		own := v.request("GET", "/documents/"+digest["Flow 500"], "", nil)
		if a := v.send(own); a.status != 200 {
			t.Errorf("its own bill of materials: %d", a.status)
		}
	}
}

// TestFiles: what is beside the pages is not served, and a certificate that is replaced
// is shown without a new start.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	k := &clock{at: time.Now()}
	authority, err := uplink.OpenAuthority(dir, k.now)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "ada.pem"), filepath.Join(dir, "ada.key")
	issue := func() {
		t.Helper()
		c, x, err := authority.Server("127.0.0.1")
		if err == nil {
			err = os.WriteFile(key, x, 0o600)
		}
		if err == nil {
			err = os.WriteFile(cert, c, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	issue()
	o := newOutside(t, Config{TLSCertificate: cert, TLSKey: key, Now: k.now})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.Certificate())
	shown := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(o.at, "https://"), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := shown()
	issue()
	k.pass(lookEvery)
	if second := shown(); second == first {
		t.Error("the certificate of before is shown")
	}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(o.at, "https://"), &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1")
	}
	v := o.visitor("")
	v.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	for _, path := range []string{"/static/../secret.key", "/static/..%2fsecret.key", "/static/%2e%2e/%2e%2e/secret.key", "/static/", "/static/.", "/secret.key", "/data/secret.key", "/static/pages.css%00.key", "/static/templates%2fframe.tmpl"} {
		if a := v.get(path); a.status != 404 && (a.status < 300 || a.status >= 400 || !local(a.head.Get("Location"))) {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
