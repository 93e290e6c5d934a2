// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

const goodPassword = "seven grey herons at noon"

// A whoServer is a server with pages, without the rest.
type whoServer struct {
	t     *testing.T
	store *store.Store
	*access.Access
	pages *Pages
	http  *httptest.Server

	mu    sync.Mutex
	at    time.Time
	acted []string
}

func (s *whoServer) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *whoServer) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acted[len(s.acted)-1]
}

func newWho(t *testing.T, change ...func(*access.Config)) *whoServer {
	t.Helper()
	s := &whoServer{t: t, at: time.Now()}
	dir := t.TempDir()
	var err error
	if s.store, err = sqlite.Open(t.Context(), filepath.Join(dir, "m.db"), s.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	var h http.Handler
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(s.http.Close)
	c := access.Config{Store: s.store, Now: s.now, Site: "St. Ada Hospital", URL: strings.Replace(s.http.URL, "127.0.0.1", "localhost", 1), Record: func(e *event.Event) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.acted = append(s.acted, strings.Join([]string{e.Text(event.Operation), event.Result(e.Int(event.Outcome)).String(), e.Text(event.Actor), e.Text(event.Target), e.Text(event.Reason)}, "|"))
		return nil
	}}
	for _, f := range change {
		f(&c)
	}
	if s.Access, err = access.New(c); err != nil {
		t.Fatal(err)
	}
	seal, err := access.OpenSealer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.pages, err = New(Config{
		Store: s.store, Access: s.Access, Now: s.now, Site: "St. Ada Hospital", Version: "0.7", Sealer: seal,
		Enrol: func(context.Context, string, string, string, string, time.Time) (string, error) {
			return "enrol-token", nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	mux := access.Mux(s.pages.Routes(), func(w http.ResponseWriter, r *http.Request, err error) {
		if s.pages.Fail(w, r, err) {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
	})
	h = s.Identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		mux.ServeHTTP(w, r)
	}))
	return s
}

var hashed = sync.OnceValues(func() (string, error) { return access.HashPassword(goodPassword) })

func (s *whoServer) person(login, name string, roles access.Role) *store.Person {
	s.t.Helper()
	hash, err := hashed()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &store.Person{Login: login, Name: name, Roles: uint32(roles), Hash: hash, Added: s.now().Add(-50 * 24 * time.Hour).UnixNano()}
	if roles&access.Clinician != 0 {
		p.Clinical = "prescriber"
	}
	if roles&access.Manufacturer != 0 {
		p.Products = []string{"Norra Medical Flow 500"}
	}
	if err := s.store.SavePerson(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// A visitor is a browser without script.
type visitor struct {
	s *whoServer
	c *http.Client
}

func (s *whoServer) visitor(login string) *visitor {
	s.t.Helper()
	jar, _ := cookiejar.New(nil)
	v := &visitor{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if login != "" {
		if status, _, _ := v.do("POST", "/sign-in", "login", login, "password", goodPassword); status != http.StatusSeeOther {
			s.t.Fatal(login, "could not sign in:", status)
		}
	}
	return v
}

func (v *visitor) do(method, path string, form ...string) (int, string, http.Header) {
	v.s.t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	r, err := http.NewRequest(method, v.s.http.URL+path, strings.NewReader(values.Encode()))
	if err != nil {
		v.s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	a, err := v.c.Do(r)
	if err != nil {
		v.s.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		v.s.t.Fatal(err)
	}
	return a.StatusCode, string(b), a.Header
}

func (v *visitor) want(status int, text, method, path string, form ...string) string {
	v.s.t.Helper()
	got, body, h := v.do(method, path, form...)
	if got != status || !strings.Contains(body+h.Get("Location"), text) {
		v.s.t.Fatalf("%s %s: %d, not %d with %q:\n%s", method, path, got, status, text, body)
	}
	if got == 200 && !strings.HasSuffix(path, "/ask") && !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		v.s.t.Errorf("%s %s is %s", method, path, h.Get("Content-Type"))
	}
	return body
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// at is the method and a path of a route.
func at(route access.Route) (method, path string) {
	method, path, _ = strings.Cut(route.Pattern, " ")
	return method, wildcard.ReplaceAllStringFunc(path, func(w string) string {
		if w == "{$}" {
			return ""
		}
		return "1"
	})
}

// Every route, for every role, by session, by a token of each scope, and for nobody:
// who gets in is whom the table of permissions names. A new route is in here by itself.
func TestEveryRouteForEveryRole(t *testing.T) {
	s := newWho(t)
	const in, out = http.StatusTeapot, http.StatusForbidden
	routes := s.pages.Routes()
	stubs := slices.Clone(routes)
	for i := range stubs {
		stubs[i].Handle = func(w http.ResponseWriter, _ *http.Request, _ *access.Principal) error {
			w.WriteHeader(in)
			return nil
		}
	}
	h := s.Identify(access.Mux(stubs, func(w http.ResponseWriter, _ *http.Request, err error) {
		if !errors.Is(err, access.ErrForbidden) {
			t.Error(err)
		}
		w.WriteHeader(out)
	}))
	type visit struct {
		name   string
		roles  access.Role
		scope  string // of a token; "" is a session
		person bool
		set    func(*http.Request)
	}
	visits := []visit{{name: "nobody", set: func(*http.Request) {}}, {name: "a false token", set: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }}}
	person := func(name string, roles access.Role) {
		login := fmt.Sprint("p", len(visits))
		p := s.person(login, name, roles)
		v := s.visitor(login)
		at, _ := url.Parse(s.http.URL)
		cookie := v.c.Jar.Cookies(at)[0]
		visits = append(visits, visit{name, roles, "", true, func(r *http.Request) { r.AddCookie(cookie) }})
		for _, scope := range access.Scopes() {
			secret, err := s.AddToken(t.Context(), &access.Principal{Person: p, Roles: roles}, name, []string{scope}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			visits = append(visits, visit{name + " with " + scope, roles, scope, true, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }})
		}
	}
	person("no role", 0)
	for i, name := range access.Names() {
		person(name, 1<<i)
	}
	for _, route := range routes {
		grant := access.Permissions[route.Needs]
		if route.Needs == access.Nobody {
			t.Errorf("%s: says not what it needs", route.Pattern)
		}
		method, path := at(route)
		for _, v := range visits {
			want := out
			switch {
			case route.Needs == access.Anyone,
				route.Needs == access.Oneself && v.person && v.scope == "",
				v.scope == "" && grant.Roles&v.roles != 0,
				v.scope != "" && grant.Roles&v.roles != 0 && grant.Scope == v.scope:
				want = in
			}
			r := httptest.NewRequest(method, s.http.URL+path, nil)
			v.set(r)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s for %s: %d, not %d", route.Pattern, v.name, w.Code, want)
			}
		}
	}
}

// What the table must say, whatever it says.
func TestPermissionsThatMatter(t *testing.T) {
	const v, a, e, c, m, u, d = access.Viewer, access.Analyst, access.Engineer, access.Clinician, access.Manufacturer, access.Auditor, access.Administrator
	const all = v | a | e | c | u | d
	for p, want := range map[access.Permission]struct {
		roles access.Role
		scope string
	}{
		access.Nobody:           {0, ""},
		access.Anyone:           {0, ""},
		access.ConfirmCommands:  {c, ""}, // therapy: a clinician, as a person
		access.ApproveEnvelopes: {c, ""},
		access.SettleDoubts:     {c, ""},
		access.SeeBodyWorn:      {c, ""},
		access.ManagePeople:     {d, ""}, // no token makes people
		access.Oneself:          {all | m, ""},
		access.ManageSettings:   {d, "admin"},
		access.ManageSensors:    {e | d, "admin"},
		access.SeeDevices:       {all | m, "read"},
		access.SeeDocuments:     {all | m, "read"},
		access.SeeAll:           {all, "read"}, // of everybody's products: no manufacturer
		access.SeeVerdicts:      {all, "read"},
		access.Export:           {all, "read"},
		access.SeeLedger:        {all &^ v, "read"},
		access.TriageFindings:   {a | e, "triage"}, // who looks on, or audits, changes nothing
		access.EditDevices:      {a | e, "triage"},
		access.AddDocuments:     {a | e, "ingest"},
		access.RunUpdates:       {e, "update"},
		access.HaltUpdates:      {a | e | c | d, "update"},
		access.ConsentUpdates:   {c, "update"}, // a clinician's word, and nobody else's
		access.AttendUpdates:    {e | c, "update"},
		access.RelaxUpdates:     {a | e | c, "update"},
	} {
		if g := access.Permissions[p]; g.Roles != want.roles || g.Scope != want.scope {
			t.Errorf("%s: %s with %q, not %s with %q", g.Name, g.Roles, g.Scope, want.roles, want.scope)
		}
	}
	if c.May(access.ManagePeople) || d.May(access.ConfirmCommands) || access.Role(0).May(access.SignedIn) {
		t.Error("wrong")
	}
	// Whoever acts on what a guard holds needs a permission that clinicians alone have,
	// and what is open to anyone is this.
	open := []string{
		"GET /static/{file}", "GET /sign-in", "POST /sign-in", "POST /sign-in/passkey/ask", "POST /sign-in/passkey", "GET /sign-in/provider", "GET /sign-in/provider/back",
		"GET /set-up/{secret}", "POST /set-up/{secret}", "GET /password/{id}/{secret}", "POST /password/{id}/{secret}",
	}
	therapy := regexp.MustCompile(`^POST .*(confirm|refuse|approve|settle|/held/|/doubts/)`)
	for _, route := range newWho(t).pages.Routes() {
		if (route.Needs == access.Anyone) != slices.Contains(open, route.Pattern) {
			t.Errorf("%s is for anyone: %v", route.Pattern, route.Needs == access.Anyone)
		}
		if therapy.MatchString(route.Pattern) && access.Permissions[route.Needs].Roles != c {
			t.Errorf("%s needs %q", route.Pattern, access.Permissions[route.Needs].Name)
		}
		if route.Pattern == "POST /ledger/verify" {
			continue // reads all of it, and changes nothing
		}
		if strings.HasPrefix(route.Pattern, "POST ") && slices.Contains([]access.Permission{access.SignedIn, access.SeeDevices, access.SeeAll, access.SeeDocuments, access.SeeVerdicts, access.SeeLedger}, route.Needs) {
			t.Errorf("%s changes something, and is for who may see", route.Pattern)
		}
	}
}

// Whatever a manufacturer can ask for, it finds nothing of another's products.
func TestManufacturerSeesItsOwn(t *testing.T) {
	s := newWho(t)
	secret := []string{"Qvarn", "Zephyr 9", "qz-serial-1", "qvarn-host"}
	other := device.Device{ID: device.IDOf("Qvarn", "Zephyr 9", "qz-serial-1"), Name: "qvarn-host", Serial: "qz-serial-1", Medical: true, Product: device.Product{Manufacturer: "Qvarn", Model: "Zephyr 9", Therapy: device.DrugInfusion}}
	own := device.Device{ID: device.IDOf("Norra Medical", "Flow 500", "n1"), Serial: "n1", Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Therapy: device.DrugInfusion}}
	if err := s.store.AddEnrolment(t.Context(), []byte("x"), "icu", "", "sensor", "le", s.now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(t.Context(), []byte("x"), "icu", "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{other, own}}); err != nil {
		t.Fatal(err)
	}
	s.person("norra", "Norra Field Service", access.Manufacturer)
	v := s.visitor("norra")
	for _, route := range s.pages.Routes() {
		if method, _ := at(route); method != "GET" || access.Permissions[route.Needs].Roles&access.Manufacturer == 0 || strings.Contains(route.Pattern, "/live") {
			continue
		}
		_, path, _ := strings.Cut(route.Pattern, " ")
		for _, id := range []string{other.ID, "1"} {
			path := wildcard.ReplaceAllLiteralString(path, url.PathEscape(id))
			status, body, _ := v.do("GET", path)
			for _, word := range secret {
				if strings.Contains(body, word) {
					t.Errorf("%s shows %q", route.Pattern, word)
				}
			}
			if id == other.ID && strings.Contains(route.Pattern, "{id}") && status == 200 {
				t.Errorf("%s: 200 for what is another's", route.Pattern)
			}
		}
	}
	v.want(403, "Your role does not allow this", "GET", "/map")
	if status, _, h := v.do("GET", "/"); status != 303 || h.Get("Location") != "/devices" {
		t.Errorf("after signing in: %d to %s", status, h.Get("Location"))
	}
}

// Where somebody goes on to after signing in is a page of this server.
func TestInside(t *testing.T) {
	for to, want := range map[string]string{
		"/":                             "/",
		"/findings?state=open&q=a%20b":  "/findings?state=open&q=a%20b",
		"/devices/x#talks":              "/devices/x#talks",
		"":                              "/",
		"findings":                      "/",
		"//evil.example":                "/",
		"///evil.example":               "/",
		"/\\evil.example":               "/",
		"\\\\evil.example":              "/",
		"/\t/evil.example":              "/",
		"/\n/evil.example":              "/",
		"\t//evil.example":              "/",
		" //evil.example":               "/",
		"https://evil.example":          "/",
		"https:evil.example":            "/",
		"javascript:alert(1)":           "/",
		"http:///evil.example":          "/",
		"/%zz":                          "/",
		"/\x00":                         "/",
		"/a\r\nSet-Cookie: myelin=evil": "/",
	} {
		if got := inside(to); got != want {
			t.Errorf("%q: %q, not %q", to, got, want)
		}
	}
	s := newWho(t)
	s.person("te", "Tomas Eklund", access.Analyst)
	for _, to := range []string{"//evil.example", "/\t/evil.example", "/..//evil.example", "/.//evil.example"} {
		v := s.visitor("")
		_, _, h := v.do("POST", "/sign-in", "login", "te", "password", goodPassword, "to", to)
		u, err := url.Parse(h.Get("Location"))
		if err != nil || u.Host != "" || strings.HasPrefix(h.Get("Location"), "//") || strings.ContainsAny(h.Get("Location"), "\t\\") {
			t.Errorf("%q leads to %q", to, h.Get("Location"))
		}
	}
}

func TestPeoplePages(t *testing.T) {
	s := newWho(t)
	link, err := s.SetUpLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin := s.visitor("")
	admin.want(303, "/sign-in?to=%2Fsettings%2Fpeople", "GET", "/settings/people")
	admin.want(404, "nothing here", "GET", "/set-up/x")
	admin.want(200, "You are the first here", "GET", "/set-up/"+link)
	admin.want(422, "15 characters", "POST", "/set-up/"+link, "login", "ad", "name", "Ada <script>", "password", "short")
	admin.want(303, "/", "POST", "/set-up/"+link, "login", "ad", "name", "Ada <script>", "password", goodPassword)
	admin.want(404, "nothing here", "GET", "/set-up/"+link)
	if body := admin.want(200, "nobody can confirm therapy", "GET", "/settings/people"); strings.Contains(body, "Ada <script>") {
		t.Error("a name is markup")
	}
	admin.want(422, "prescriber, pharmacist or nurse", "POST", "/settings/people", "login", "mh", "name", "Mina Holm", "role", "clinician")
	admin.want(422, "administrator and clinician", "POST", "/settings/people", "login", "mh", "name", "Mina Holm", "role", "clinician", "role", "administrator", "clinical", "nurse")
	body := admin.want(200, "shown this once", "POST", "/settings/people", "login", "MH", "name", "Mina Holm", "role", "clinician", "clinical", "nurse")
	way := regexp.MustCompile(`/password/2/[\w-]+`).FindString(body)
	if s.last() != "add person|succeeded|ad|mh|clinician (nurse)" || way == "" {
		t.Fatal(s.last(), way)
	}
	if body := admin.want(200, "has a one-time link", "GET", "/settings/people/2"); strings.Contains(body, way) {
		t.Error("the link is shown twice")
	}
	mina := s.visitor("")
	mina.want(410, "used or has expired", "GET", way+"x")
	mina.want(200, "Mina Holm", "GET", way)
	mina.want(422, "15 characters", "POST", way, "password", "short")
	mina.want(303, "/", "POST", way, "password", goodPassword)
	mina.want(200, "clinician", "GET", "/me")
	mina.want(403, "Your role does not allow this", "GET", "/settings/people")

	page := admin.want(200, "Mina Holm", "GET", "/settings/people/2")
	version := regexp.MustCompile(`name="version" value="(\d+)"`).FindStringSubmatch(page)[1]
	admin.want(409, "Somebody changed it", "POST", "/settings/people/2", "version", "1", "name", "Mina Holm", "role", "viewer")
	admin.want(303, "/settings/people/2", "POST", "/settings/people/2", "version", version, "name", "Mina Holm", "role", "viewer", "role", "auditor", "clinical", "nurse")
	if s.last() != "change person|succeeded|ad|mh|clinician (nurse) -> viewer, auditor" {
		t.Error(s.last())
	}
	admin.want(200, "Mina Holm is changed", "GET", "/settings/people/2")
	mina.want(303, "/sign-in", "GET", "/me") // other roles end sessions
	admin.want(303, "", "POST", "/settings/people/1", "version", "1", "name", "Ada Berg", "role", "clinician", "clinical", "nurse")
	if p, err := s.store.PersonOf(t.Context(), 1); err != nil || access.Role(p.Roles) != access.Administrator || p.Name != "Ada Berg" {
		t.Error(p, err)
	}
	for _, what := range []string{"disable", "reset"} {
		admin.want(403, "That is you", "POST", "/settings/people/1/"+what)
	}
	admin.want(303, "", "POST", "/settings/people/2/disable")
	mina.want(403, "do not belong together", "POST", "/sign-in", "login", "mh", "password", goodPassword)
	admin.want(303, "", "POST", "/settings/people/2/enable")
	mina.want(303, "/", "POST", "/sign-in", "login", "mh", "password", goodPassword)
	admin.want(200, "shown this once", "POST", "/settings/people/2/reset")
	mina.want(303, "/sign-in", "GET", "/me")
	admin.want(404, "nothing here", "GET", "/settings/people/99")
	admin.want(404, "nothing here", "GET", "/settings/people/x")
	if _, body, _ := admin.do("GET", "/settings/people.json"); !strings.Contains(body, `"Login": "mh"`) || strings.Contains(body, "argon2id") || strings.Contains(body, "Link") {
		t.Error(body)
	}
}

func TestMe(t *testing.T) {
	s := newWho(t)
	s.person("te", "Tomas Eklund", access.Analyst)
	s.person("mh", "Mina Holm", access.Clinician)
	te, elsewhere, mh := s.visitor("te"), s.visitor("te"), s.visitor("mh")
	te.want(422, "Say what the token may do", "POST", "/me/tokens", "name", "nightly", "days", "30")
	body := te.want(200, "shown this once", "POST", "/me/tokens", "name", "nightly", "days", "30", "scope", "read", "scope", "triage")
	secret := regexp.MustCompile(`myelin_[\w-]{43}`).FindString(body)
	if s.last() != "add token|succeeded|te|nightly|read triage" || secret == "" {
		t.Fatal(s.last())
	}
	if body := te.want(200, "nightly", "GET", "/me"); strings.Contains(body, secret) {
		t.Error("the token is shown twice")
	}
	r, _ := http.NewRequest("GET", s.http.URL+"/settings", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	r.Header.Set("Accept", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil || a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" {
		t.Error(a, err)
	}
	a.Body.Close()
	mh.want(404, "nothing here", "POST", "/me/tokens/remove", "id", "1")
	te.want(303, "/me", "POST", "/me/tokens/remove", "id", "1")

	page := te.want(200, "this one", "GET", "/me")
	if n := strings.Count(page, `data-test="session"`); n != 2 {
		t.Fatal(n, "sessions")
	}
	id := regexp.MustCompile(`sessions/end"><input type="hidden" name="id" value="([\w-]+)"`).FindStringSubmatch(page)[1]
	mh.want(404, "nothing here", "POST", "/me/sessions/end", "id", id)
	te.want(303, "/me", "POST", "/me/sessions/end", "id", id)
	elsewhere.want(303, "/sign-in", "GET", "/me")

	te.want(403, "not your password of now", "POST", "/me/password", "old", "x", "password", "a sentence that is new")
	te.want(422, "15 characters", "POST", "/me/password", "old", goodPassword, "password", "short")
	te.want(303, "/me", "POST", "/me/password", "old", goodPassword, "password", "a sentence that is new")
	te.want(200, "Your password is set", "GET", "/me") // this session goes on
	s.mu.Lock()
	s.at = s.at.Add(16 * time.Minute)
	s.mu.Unlock()
	te.want(403, "15 minutes", "POST", "/me/tokens", "name", "x", "days", "1", "scope", "read")
	te.want(303, "/sign-in", "POST", "/sign-out")
	te.want(303, "/sign-in", "GET", "/me")
}

func TestIdentitiesOnTheBody(t *testing.T) {
	s := newWho(t)
	dev := func(name string, th device.Therapy) device.Device {
		return device.Device{ID: device.IDOf("maker", name, "1"), Name: name, Medical: true, Product: device.Product{Manufacturer: "Maker", Model: name, Therapy: th}}
	}
	worn := dev("worn", device.Pacing)
	pump := dev("pump", device.DrugInfusion)
	if err := s.store.AddEnrolment(t.Context(), []byte("x"), "icu", "", "sensor", "le", s.now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(t.Context(), []byte("x"), "icu", "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{worn, pump}}); err != nil {
		t.Fatal(err)
	}
	s.person("mh", "Mina Holm", access.Clinician)
	s.person("ad", "Ada Berg", access.Administrator)
	mh, ad := s.visitor("mh"), s.visitor("ad")
	path := "/devices/" + worn.ID + "/body"
	const serial = "SN-4711-wörn"
	mh.want(404, "", "GET", "/devices/"+pump.ID+"/body") // what hangs on a pole is in the inventory
	mh.want(200, "No identity", "GET", path)
	mh.want(422, "at most 100", "POST", path+"/add", "kind", "serial number", "value", strings.Repeat("ö", maxWorn+1))
	mh.want(422, "Say which", "POST", path+"/add", "kind", "name of the patient", "value", "x")
	mh.want(303, path, "POST", path+"/add", "kind", "serial number", "value", serial)
	if s.last() != "enter body-worn identity|succeeded|mh|"+worn.ID+"|serial number" {
		t.Error(s.last())
	}
	if body := mh.want(200, "1 identity", "GET", path); strings.Contains(body, serial) {
		t.Error("shown without a reason")
	}
	n := len(s.acted)
	for _, why := range []string{"", "because", "Mrs. Svensson"} {
		if body := mh.want(422, "Say why", "POST", path, "reason", why); strings.Contains(body, serial) || len(s.acted) != n {
			t.Error("shown for", why)
		}
	}
	if body := mh.want(200, serial, "POST", path, "reason", bodyReasons[0]); !strings.Contains(body, "in the ledger") {
		t.Error(body)
	}
	if s.last() != "see body-worn identities|succeeded|mh|"+worn.ID+"|"+bodyReasons[0] {
		t.Error(s.last())
	}
	if _, _, h := mh.do("POST", path, "reason", bodyReasons[0]); h.Get("Cache-Control") != "no-store" {
		t.Error(h)
	}
	for _, m := range []string{"GET", "POST"} {
		ad.want(403, "Your role does not allow this", m, path)
	}
	// Whoever has the database has nothing.
	list, err := s.store.WornBy(t.Context(), worn.ID)
	if err != nil || len(list) != 1 || strings.Contains(string(list[0].Sealed), "4711") {
		t.Fatal(list, err)
	}
	moved := list[0]
	moved.Kind = "radio address"
	if err := s.store.KeepWorn(t.Context(), &moved); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pages.Sealer.Open("worn", wornRow(worn.ID, moved.Kind), moved.Sealed); !errors.Is(err, access.ErrSealed) {
		t.Error("moved to another row, it opens", err)
	}
	mh.want(303, path, "POST", path+"/remove", "kind", moved.Kind, "device", worn.ID)
	mh.want(303, path, "POST", path+"/remove", "kind", "serial number", "device", worn.ID)
	mh.want(404, "", "POST", path+"/remove", "kind", "serial number", "device", worn.ID)
	mh.want(200, "No identity", "GET", path)
}

func TestSettingsPages(t *testing.T) {
	s := newWho(t)
	s.person("ad", "Ada Berg", access.Administrator)
	s.person("vi", "Vi Lind", access.Viewer)
	ad, vi := s.visitor("ad"), s.visitor("vi")
	ad.want(200, "Retention", "GET", "/settings")
	if body := vi.want(200, "Your account", "GET", "/settings"); strings.Contains(body, `href="/settings/people"`) {
		t.Error("a viewer is led to where it may not go")
	}
	ad.want(200, "Nothing sends yet", "GET", "/settings/sensors")
	ad.want(422, "Say what enrols", "POST", "/settings/sensors", "name", "icu", "kind", "camera")
	ad.want(422, "has a name", "POST", "/settings/sensors", "name", " ", "kind", "sensor")
	ad.want(200, "enrolment: server.token", "POST", "/settings/sensors", "name", "icu", "kind", "guard")
	if s.last() != "make enrolment token|succeeded|ad|icu|guard" {
		t.Error(s.last())
	}
	if err := s.store.AddEnrolment(t.Context(), []byte("x"), "icu", "", "sensor", "le", s.now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(t.Context(), []byte("x"), "s1", "key"); err != nil {
		t.Fatal(err)
	}
	ad.want(200, "1 of 1 is alive", "GET", "/settings/sensors")
	ad.want(303, "", "POST", "/settings/sensors/s1/revoke")
	if s.last() != "revoke sensor|succeeded|ad|icu|" {
		t.Error(s.last())
	}
	ad.want(404, "", "POST", "/settings/sensors/s1/revoke")
	if s.last() != "revoke sensor|failed|ad|icu|" {
		t.Error(s.last())
	}
	form := func(n string) (out []string) {
		for _, k := range store.Kept() {
			out = append(out, k, n)
		}
		return out
	}
	for _, n := range []string{"-1", "x", "", "36526", "1e3"} {
		ad.want(422, "Nothing was changed", "POST", "/settings/retention", form(n)...)
	}
	for n, want := range map[string]time.Duration{"36525": 36_525 * 24 * time.Hour, "0": 0, "90": 90 * 24 * time.Hour} {
		ad.want(303, "", "POST", "/settings/retention", form(n)...)
		b, err := s.store.Setting(t.Context(), RetentionSetting)
		if err != nil {
			t.Fatal(err)
		}
		if keep, err := Retention(b); err != nil || keep["observations"] != want {
			t.Error(keep, err)
		}
	}
}
