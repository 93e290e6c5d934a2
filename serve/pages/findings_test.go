// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
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
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/api"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A shelf is a server with a store that has findings in it.
type shelf struct {
	t      testing.TB
	store  *store.Store
	access *access.Access
	pages  *Pages
	http   *httptest.Server

	handler http.Handler
	record  func(e *event.Event) error // in place of acted
	wrong   func(err error) bool       // what may go wrong at the server

	mu    sync.Mutex
	acted []string
	sent  int // bytes of answers, for what has to come before them
}

var shelfTime = time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC)

const shelfPassword = "a heron stands in the reeds"

// hostile is what attackers put into every text that they can.
var hostile = []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'; DROP TABLE finding; --`, `=HYPERLINK("http://x","y")`, strings.Repeat("long-name-", 30), "מכשיר-3", "{{.Who}}"}

func newShelf(t testing.TB, n int) *shelf {
	t.Helper()
	s := &shelf{t: t}
	now := func() time.Time { return shelfTime }
	var err error
	if s.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "m.db"), now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	if s.access, err = access.New(access.Config{Store: s.store, Site: "server", Now: now, Record: func(e *event.Event) error {
		if s.record != nil {
			return s.record(e)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.acted = append(s.acted, fmt.Sprintf("%s|%s|%s|%s|%d|after %d bytes", e.Text(event.Actor), e.Text(event.Operation), e.Text(event.Target), e.Text(event.Reason), e.Int(event.Count), s.sent))
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if s.pages, err = New(Config{Store: s.store, Access: s.access, Now: now, Site: "St. Ada Hospital", Version: "0.7"}); err != nil {
		t.Fatal(err)
	}
	mux := access.Mux(s.pages.Routes(), func(w http.ResponseWriter, r *http.Request, err error) {
		if s.pages.Fail(w, r, err) && (s.wrong == nil || !s.wrong(err)) {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
	})
	h := s.access.Identify(mux)
	s.handler = h
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		s.mu.Lock()
		s.sent = 0
		s.mu.Unlock()
		h.ServeHTTP(&counted{w, s}, r)
	}))
	t.Cleanup(s.http.Close)
	s.fill(n)
	return s
}

// counted counts what is sent.
type counted struct {
	http.ResponseWriter
	s *shelf
}

func (c *counted) Write(b []byte) (int, error) {
	c.s.mu.Lock()
	c.s.sent += len(b)
	c.s.mu.Unlock()
	return c.ResponseWriter.Write(b)
}

func (s *shelf) fill(n int) {
	t := s.t
	t.Helper()
	ctx := t.Context()
	if err := s.store.AddEnrolment(ctx, []byte("icu"), "icu", "", "sensor", "le", shelfTime.Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(ctx, []byte("icu"), "icu", "key"); err != nil {
		t.Fatal(err)
	}
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	kinds := []finding.Kind{finding.TherapyCommandUnauthenticated, finding.PHIInClear, finding.VulnerableProduct, finding.LegacyOS}
	for i := range n {
		name, ward := fmt.Sprintf("pump-%d", i), fmt.Sprintf("ICU %d", i%3)
		model := "Flow 500"
		if i%5 == 4 {
			name, ward, model = hostile[i/5%len(hostile)], hostile[(i/5+1)%len(hostile)], "Flow 600"
		}
		d := device.Device{
			ID: device.IDOf("Norra Medical", model, fmt.Sprint(i)), Serial: fmt.Sprintf("A%d", i), Name: name, Ward: ward, Medical: true,
			Product: device.Product{Manufacturer: "Norra Medical", Model: model, Version: "2.1.4", Therapy: device.DrugInfusion, Harm: device.Catastrophic},
		}
		b.Devices = append(b.Devices, d)
		k := kinds[i%4]
		f := finding.Finding{
			ID: finding.IDOf(k, d.ID), Kind: k, Title: finding.Kinds[k].Title, Device: d.ID, Harm: device.Harm(1 + i%5), Decision: finding.Decision(i % 4), Count: 3,
			SSVC:  finding.SSVC{Exploitation: "active", Automatable: "yes", TechnicalImpact: "total", MissionWellBeing: "high", Exposure: "controlled", HumanImpact: "very high"},
			First: shelfTime.Add(-time.Hour).UnixNano(), Last: shelfTime.Add(-time.Duration(i) * time.Minute).UnixNano(), Advice: "Ask the maker for an update.",
		}
		f.Add(finding.Sighting{Time: f.Last, Packet: 1234, Offset: 66, Note: "an order in clear", Capture: "icu.pcapng"})
		if i%5 == 4 {
			f.Title, f.Component, f.Advice = hostile[i/5%len(hostile)], hostile[(i/5+2)%len(hostile)], hostile[(i/5+3)%len(hostile)]
			f.Why, f.Opinions, f.CVE = hostile, hostile, []string{"CVE-2026-0007"}
		}
		b.Findings = append(b.Findings, f)
	}
	if _, err := s.store.Write(ctx, b); err != nil {
		t.Fatal(err)
	}
}

var shelfHash = sync.OnceValues(func() (string, error) { return access.HashPassword(shelfPassword) })

// A reader is somebody with a browser without script.
type reader struct {
	s *shelf
	c *http.Client
}

func (s *shelf) reader(login string, roles access.Role, products ...string) *reader {
	s.t.Helper()
	hash, err := shelfHash()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.SavePerson(s.t.Context(), &store.Person{Login: login, Name: "Ada " + login, Roles: uint32(roles), Hash: hash, Products: products}); err != nil {
		s.t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	u := &reader{s, &http.Client{Jar: jar}}
	if status, _ := u.post("/sign-in", url.Values{"login": {login}, "password": {shelfPassword}, "to": {"/findings"}}); status != http.StatusOK {
		s.t.Fatalf("sign in: %d", status)
	}
	return u
}

func (u *reader) do(req *http.Request) (int, string, http.Header) {
	u.s.t.Helper()
	res, err := u.c.Do(req)
	if err != nil {
		u.s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		u.s.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func (u *reader) get(path string) (int, string) {
	u.s.t.Helper()
	req, _ := http.NewRequest("GET", u.s.http.URL+path, nil)
	status, body, _ := u.do(req)
	return status, body
}

func (u *reader) json(path string, to any) {
	u.s.t.Helper()
	req, _ := http.NewRequest("GET", u.s.http.URL+path, nil)
	req.Header.Set("Accept", "application/json")
	status, body, _ := u.do(req)
	if status != http.StatusOK {
		u.s.t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), to); err != nil {
		u.s.t.Fatalf("%s: %v", path, err)
	}
}

func (u *reader) post(path string, form url.Values) (int, string) {
	u.s.t.Helper()
	req, _ := http.NewRequest("POST", u.s.http.URL+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, _ := u.do(req)
	return status, body
}

func (s *shelf) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acted[len(s.acted)-1]
}

// TestFindingsList walks a list by its More, narrows it by facets whose counts are
// those of the lists behind them, and sorts it.
func TestFindingsList(t *testing.T) {
	s := newShelf(t, 120)
	u := s.reader("te", access.Analyst)
	type list struct {
		Total  int
		Next   string
		Rows   []struct{ ID, Decision, Harm, State, DeviceName, Ward string }
		Facets []facet
	}
	for _, sort := range []string{"", "urgency", "last", "first", "device", "kind"} {
		seen, path := map[string]bool{}, "/findings?sort="+sort+"&state=open"
		for pages := 0; path != ""; pages++ {
			var l list
			u.json(path, &l)
			if l.Total != 120 || pages > 3 {
				t.Fatalf("%s: %d of %d", path, pages, l.Total)
			}
			for _, r := range l.Rows {
				if seen[r.ID] {
					t.Fatalf("%s: %s twice", sort, r.ID)
				}
				seen[r.ID] = true
			}
			path = l.Next
		}
		if len(seen) != 120 {
			t.Errorf("%s: %d rows", sort, len(seen))
		}
	}
	var all list
	u.json("/findings?state=open", &all)
	facets := 0
	for _, f := range all.Facets {
		for _, v := range f.Values {
			var l list
			u.json(v.Path, &l)
			if v.On { // without it
				continue
			}
			facets++
			if l.Total != v.Count {
				t.Errorf("%s %q: facet %d, list %d", f.Of, v.Value, v.Count, l.Total)
			}
		}
	}
	if facets < 15 {
		t.Errorf("%d facets", facets)
	}
	for path, want := range map[string]int{
		"/findings?q=pump-117": 1, "/findings?q=CVE-2026": 24, "/findings?cve=cve-2026-0007": 24, "/findings?decision=act&decision=attend": 60, "/findings?since=1h": 120,
		"/findings?q=" + url.QueryEscape(`"*^:(`): 0, "/findings?q=%27%20OR%201=1%20--": 0, "/findings?assignee=me": 0, "/findings?ward=%27+OR+1%3D1": 0,
	} {
		var l list
		if u.json(path, &l); l.Total != want {
			t.Errorf("%s: %d, want %d", path, l.Total, want)
		}
	}
	for _, path := range []string{"/findings?after=x", "/findings?sort=x", "/findings?since=x", "/findings?q=" + strings.Repeat("x", maxWord+1), "/findings?ward=" + strings.Repeat("x", maxValue+1)} {
		if status, _ := u.get(path); status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, body := u.get("/findings"); status != 200 || !strings.Contains(body, "120 open findings") {
		t.Errorf("%d %s", status, body)
	}
}

// TestHostileText has nobody's text become markup, in any page.
func TestHostileText(t *testing.T) {
	s := newShelf(t, 40)
	u := s.reader("te", access.Analyst)
	var l struct{ Rows []struct{ ID string } }
	u.json("/findings?state=open", &l)
	paths := []string{"/findings?state=open", "/search?q=pump", "/search?q=" + url.QueryEscape(hostile[0]), "/findings?q=" + url.QueryEscape(hostile[1]), "/findings?ward=" + url.QueryEscape(hostile[1])}
	for _, r := range l.Rows {
		paths = append(paths, "/findings/"+r.ID)
	}
	if status, body := u.post("/findings/"+l.Rows[0].ID, url.Values{"comment": {hostile[0] + hostile[1]}, "state": {"fixed"}, "reason": {hostile[1]}}); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, path := range paths {
		status, body := u.get(path)
		if status != 200 {
			t.Errorf("%s: %d", path, status)
		}
		for _, bad := range []string{"<script>alert", "<img", "onerror=alert(1)>"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: has %s", path, bad)
			}
		}
		if strings.Count(body, "<script") != 1 {
			t.Errorf("%s: scripts", path)
		}
	}
	if n, err := s.store.Counts(t.Context()); err != nil || n["findings"] != 40 {
		t.Errorf("%v %v", n, err)
	}
}

var undoPath = regexp.MustCompile(`action="(/findings/undo/\d+)"`)

// TestTriage changes many findings, all of a list, and one; with what it needs to be
// told; and puts it back. The ledger has it before the answer.
func TestTriage(t *testing.T) {
	s := newShelf(t, 60)
	u := s.reader("te", access.Analyst)
	s.reader("le", access.Engineer)
	var l struct {
		Total int
		Rows  []struct{ ID string }
	}
	u.json("/findings?state=open&sort=urgency", &l)
	ids := []string{l.Rows[0].ID, l.Rows[1].ID, l.Rows[2].ID}
	for name, form := range map[string]url.Values{
		"nothing":          {"id": ids},
		"nobody chosen":    {"state": {"fixed"}, "reason": {"x"}},
		"no such state":    {"id": ids, "state": {"gone"}},
		"no reason":        {"id": ids, "state": {"fixed"}},
		"no justification": {"id": ids, "state": {"false-positive"}, "reason": {"x"}},
		"another":          {"id": ids, "state": {"mitigated"}, "reason": {"x"}, "justification": {"because"}},
		"nobody":           {"id": ids, "assignee": {"nobody-here"}},
		"long reason":      {"id": ids, "state": {"fixed"}, "reason": {strings.Repeat("x", maxTriageReason+1)}},
		"long comment":     {"id": ids, "comment": {strings.Repeat("x", maxComment+1)}},
	} {
		before := len(s.acted)
		if status, _ := u.post("/findings/triage", form); status != http.StatusUnprocessableEntity || len(s.acted) != before {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := u.post("/findings/triage", url.Values{"id": {ids[0], "no-such"}, "state": {"acknowledged"}}); status != http.StatusNotFound {
		t.Errorf("an unknown finding: %d", status)
	}
	form := url.Values{"id": ids, "state": {"mitigated"}, "reason": {"behind a guard"}, "justification": {"inline_mitigations_already_exist"}, "assignee": {"le"}, "comment": {"seen on the ward"}, "query": {"state=open"}}
	status, body := u.post("/findings/triage", form)
	if status != 200 || !strings.Contains(body, "3 findings are mitigated and are le&#39;s and have your comment now.") {
		t.Fatalf("%d %s", status, body)
	}
	if got := s.last(); got != "te|triage mitigated|chosen findings|behind a guard|3|after 0 bytes" {
		t.Error(got)
	}
	undo := undoPath.FindStringSubmatch(body)
	if undo == nil {
		t.Fatal("no undo")
	}
	f, steps, err := s.store.Finding(t.Context(), ids[0])
	if err != nil || f.State != "mitigated" || f.Assignee != "le" || len(steps) != 4 {
		t.Fatalf("%v %+v", f, steps)
	}
	if _, body := u.get("/findings/" + ids[0]); !strings.Contains(body, "something else already protects it") || !strings.Contains(body, "seen on the ward") || !strings.Contains(body, "frame.number == 1234") || strings.Count(body, `data-test="answer"`) != 4 {
		t.Error(body)
	}
	if status, body = u.post(undo[1], nil); status != 200 || !strings.Contains(body, "6 changes put back.") {
		t.Errorf("%d %s", status, body)
	}
	if status, body = u.post(undo[1], nil); !strings.Contains(body, "left as") {
		t.Errorf("again: %d %s", status, body)
	}
	if status, _ := u.post("/findings/undo/x", nil); status != http.StatusNotFound {
		t.Error(status)
	}
	form = url.Values{"of": {"all"}, "query": {"state=open&decision=act"}, "state": {"acknowledged"}}
	if _, body = u.post("/findings/triage", form); !strings.Contains(body, "15 findings are acknowledged now.") {
		t.Error(html.UnescapeString(body))
	}
	u.json("/findings?state=acknowledged", &l)
	if l.Total != 15 {
		t.Errorf("%d", l.Total)
	}
	// One, by two people at the same time.
	one := "/findings/" + ids[0]
	if status, _ := u.post(one, url.Values{"state": {"fixed"}, "reason": {"new firmware"}, "version": {"1"}}); status != http.StatusConflict {
		t.Errorf("a version from before: %d", status)
	}
	if status, body := u.post(one, url.Values{"comment": {"no more"}}); status != 200 || undoPath.MatchString(body) {
		t.Errorf("a comment: %d", status)
	}
	if status, _ := u.get("/findings/no-such"); status != http.StatusNotFound {
		t.Error(status)
	}
}

// TestExport has exactly the list, in both forms, with no formula in it, and its
// ledger entry before the first byte.
func TestExport(t *testing.T) {
	s := newShelf(t, 60)
	u := s.reader("te", access.Viewer)
	const filter = "state=open&decision=act&decision=track"
	var want struct{ Total int }
	u.json("/findings?"+filter, &want)
	_, body := u.get("/findings.csv?" + filter)
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) != want.Total+1 || want.Total != 30 {
		t.Fatalf("%v: %d rows, want %d", err, len(rows), want.Total)
	}
	if got := s.last(); got != "te|export|/findings.csv?decision=act&decision=track&state=open||30|after 0 bytes" {
		t.Error(got)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	var out []api.Finding
	if _, body = u.get("/findings.json?" + filter); json.Unmarshal([]byte(body), &out) != nil || len(out) != 30 || out[0].ID != rows[1][0] {
		t.Errorf("%d: %s", len(out), body)
	}
	// What a person gave as the reason of a state goes along, not that of one taken back.
	first, second := out[0].ID, out[1].ID
	for _, tr := range []store.Triage{
		{IDs: []string{first}, State: store.FalsePositive, Reason: "it is behind the guard", Justification: "inline_mitigations_already_exist", By: "te"},
		{IDs: []string{second}, State: store.Acknowledged, Reason: "we look at it", By: "te"},
	} {
		if _, _, err := s.store.Triage(t.Context(), tr); err != nil {
			t.Fatal(err)
		}
	}
	_, body = u.get("/findings.csv?state=false-positive&state=acknowledged")
	if rows, err = csv.NewReader(strings.NewReader(body)).ReadAll(); err != nil {
		t.Fatal(err)
	}
	given := map[string][]string{}
	for _, row := range rows {
		given[row[0]] = row[len(row)-2:]
	}
	if got := given[first]; !slices.Equal(got, []string{"it is behind the guard", "inline_mitigations_already_exist"}) {
		t.Error(got)
	}
	if got := given[second]; !slices.Equal(got, []string{"we look at it", ""}) {
		t.Error(got)
	}
	for _, id := range []string{first, second} {
		if _, _, err := s.store.Triage(t.Context(), store.Triage{IDs: []string{id}, State: store.Open, By: "te"}); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"/findings.ocsf?": `"class_uid":2004`, "/findings.cef?": "CEF:0|Myelin|myelin|"} {
		_, body := u.get(path + filter)
		lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
		if len(lines) != 30 {
			t.Errorf("%s: %d lines", path, len(lines))
		}
		for _, l := range lines {
			if !strings.Contains(l, want) {
				t.Errorf("%s: %s", path, l)
			}
		}
	}
	if _, body = u.get("/findings.json?q=nothing-has-this"); json.Unmarshal([]byte(body), &out) != nil || len(out) != 0 {
		t.Error(body)
	}
	if got := s.last(); strings.Contains(got, "nothing-has-this") {
		t.Errorf("what was searched for is in the ledger: %s", got)
	}
	for _, s := range []string{"=1", "+1", "-1", "@a", " =1", "\t=1", "\r=1", "＝1", "|x", "\u202e=1"} {
		if got := report.Cell(s); got[0] != '\'' && strings.TrimLeft(got, " ")[0] == '=' {
			t.Errorf("%q: %q", s, got)
		}
	}
	if got := report.Cell("a=b"); got != "a=b" {
		t.Error(got)
	}
}

// TestManufacturer sees its own products, and nothing of others: in no list, no
// count, no page.
func TestManufacturer(t *testing.T) {
	s := newShelf(t, 40)
	u := s.reader("maker", access.Manufacturer, "Norra Medical Flow 600")
	var l struct {
		Total int
		Rows  []struct{ ID string }
	}
	if u.json("/findings?state=open", &l); l.Total != 8 {
		t.Errorf("%d", l.Total)
	}
	own := l.Rows[0].ID
	s.reader("te", access.Viewer).json("/findings?q=pump-1", &l)
	if status, _ := u.get("/findings/" + own); status != 200 {
		t.Error(status)
	}
	if status, _ := u.get("/findings/" + l.Rows[0].ID); status != http.StatusNotFound {
		t.Errorf("another's: %d", status)
	}
	for _, path := range []string{"/findings.csv", "/findings.json", "/search?q=pump"} {
		if status, _ := u.get(path); status != http.StatusForbidden {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := u.post("/findings/triage", url.Values{"id": {own}, "state": {"acknowledged"}}); status != http.StatusForbidden {
		t.Error(status)
	}
}

// TestSearch finds devices, findings and documents by the beginning of words.
func TestSearch(t *testing.T) {
	s := newShelf(t, 40)
	u := s.reader("te", access.Viewer)
	doc := &store.Document{Digest: strings.Repeat("ab", 32), Kind: "csaf", Name: "x.json", ID: "NORRA-2026-1", Title: "Pumps of Norra"}
	if _, err := s.store.AddDocument(t.Context(), doc, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	var got searchPage
	u.json("/search?q=norra", &got)
	if got.Groups[0].Total != 40 || len(got.Groups[0].Rows) != hitsShown || got.Groups[2].Total != 1 {
		t.Errorf("%+v", got)
	}
	for _, q := range []string{"", "%00", `"`, "*", "a%20OR%20b", "NEAR(", hostileQuery(), strings.Repeat("x", maxWord)} {
		if status, body := u.get("/search?q=" + q); status != 200 {
			t.Errorf("%q: %d %s", q, status, body)
		}
	}
	if status, _ := u.get("/search?q=" + strings.Repeat("x", maxWord+1)); status != http.StatusBadRequest {
		t.Error(status)
	}
}

func hostileQuery() string { return url.QueryEscape(strings.Join(hostile[:4], " ")) }
