// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

type server struct {
	t     *testing.T
	at    time.Time
	store *store.Store
	api   *API
	http  *httptest.Server
	acted []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, at: time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC)}
	now := func() time.Time { return s.at }
	var err error
	if s.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "m.db"), now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	a, err := access.New(access.Config{Store: s.store, Site: "server", Now: now, Record: func(e *event.Event) error {
		s.acted = append(s.acted, fmt.Sprintf("%s|%s|%s|%d", e.Text(event.Actor), e.Text(event.Operation), e.Text(event.Target), e.Int(event.Count)))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.api, err = New(Config{Store: s.store, Access: a, Now: now, Most: 1 << 20, Add: func(ctx context.Context, by, name string, content []byte) (*store.Document, bool, error) {
		d := &store.Document{Digest: fmt.Sprintf("%x", sha256.Sum256(content)), Kind: "csaf", Name: name, By: by}
		fresh, err := s.store.AddDocument(ctx, d, content)
		return d, fresh, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	mux := access.Mux(s.api.Routes(), func(w http.ResponseWriter, r *http.Request, err error) {
		status := http.StatusInternalServerError
		var said *access.Error
		if e, ok := err.(*access.Error); ok {
			said = e
			status = said.Status
		} else if err == access.ErrForbidden {
			status = http.StatusForbidden
		} else {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		w.WriteHeader(status)
	})
	s.http = httptest.NewServer(a.Identify(mux))
	t.Cleanup(s.http.Close)

	if err := s.store.AddEnrolment(t.Context(), []byte("icu"), "icu", "", "sensor", "le", s.at.Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(t.Context(), []byte("icu"), "icu", "key"); err != nil {
		t.Fatal(err)
	}
	b := &store.Batch{Sensor: "icu", Sequence: 1, HeldToo: true, Held: []store.Held{{ID: "h1", Device: "pump-3", Expires: 9}}}
	for i := range 30 {
		d := device.Device{ID: device.IDOf("Norra Medical", "Flow", fmt.Sprint(i)), Serial: fmt.Sprint(i), Name: fmt.Sprintf("pump-%d", i), Product: device.Product{Manufacturer: "Norra Medical", Model: fmt.Sprintf("Flow %d", i%2)}}
		b.Devices = append(b.Devices, d)
		f := finding.Finding{ID: finding.IDOf(finding.LegacyOS, d.ID), Kind: finding.LegacyOS, Title: "<b>old</b>", Device: d.ID, Decision: finding.Decision(i % 4), Harm: device.Catastrophic, Count: 1, Last: s.at.UnixNano()}
		f.Add(finding.Sighting{Time: s.at.UnixNano(), Packet: 7, Offset: 66, Note: "x"})
		b.Findings = append(b.Findings, f)
	}
	e := event.Event{Kind: event.VerdictGiven, Time: s.at.UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	e.Add(event.Int(event.Verdict, device.Deny), event.Text(event.Reason, "line 12"))
	b.Events = append(b.Events, e)
	if _, err := s.store.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return s
}

// token makes a person and a token of it.
func (s *server) token(login string, roles access.Role, scopes ...string) string {
	s.t.Helper()
	p, err := s.store.Person(s.t.Context(), login)
	if err != nil {
		p = &store.Person{Login: login, Roles: uint32(roles), Products: []string{"Norra Medical Flow 1"}}
		if err := s.store.SavePerson(s.t.Context(), p); err != nil {
			s.t.Fatal(err)
		}
	}
	secret, err := s.api.Access.AddToken(s.t.Context(), &access.Principal{Person: p, Roles: roles}, "test", scopes, 24*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// ask sends a request; head is pairs of headers.
func (s *server) ask(token, method, path, body string, head ...string) (int, http.Header, map[string]any) {
	s.t.Helper()
	req, _ := http.NewRequest(method, s.http.URL+"/api/v1"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var out map[string]any
	if len(b) > 0 && json.Unmarshal(b, &out) != nil {
		s.t.Fatalf("%s %s: %d %q", method, path, res.StatusCode, b)
	}
	return res.StatusCode, res.Header, out
}

// TestDescription is valid by a validator that others wrote, and has each route.
func TestDescription(t *testing.T) {
	s := newServer(t)
	_, head, doc := s.ask("", "GET", "/openapi.json", "")
	if !strings.HasPrefix(doc["openapi"].(string), "3.1") || !strings.Contains(head.Get("Content-Type"), "openapi+json") {
		t.Fatalf("%v", doc["openapi"])
	}
	paths := doc["paths"].(map[string]any)
	for _, r := range s.api.Routes() {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if path == "/api/v1/openapi.json" {
			continue
		}
		at, _ := paths[path].(map[string]any)
		if at[strings.ToLower(method)] == nil {
			t.Errorf("%s is not described", r.Pattern)
		}
		if r.Needs == access.Nobody || r.Needs == access.Anyone {
			t.Errorf("%s needs nothing", r.Pattern)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	if exec.Command(python, "-c", "import openapi_spec_validator").Run() != nil {
		t.Skip("no openapi-spec-validator: pip install openapi-spec-validator")
	}
	file := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, s.api.spec, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-m", "openapi_spec_validator", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestLists are walked by their cursors.
func TestLists(t *testing.T) {
	s := newServer(t)
	read := s.token("te", access.Viewer, "read")
	for _, path := range []string{"/findings?limit=7", "/findings?limit=7&sort=device&state=open&state=fixed", "/devices?limit=7", "/devices?limit=7&sort=name"} {
		seen := map[string]bool{}
		cursor := ""
		for {
			status, _, l := s.ask(read, "GET", path+"&cursor="+cursor, "")
			if status != 200 || l["total"].(float64) != 30 {
				t.Fatalf("%s: %d %v", path, status, l)
			}
			for _, item := range l["items"].([]any) {
				id := item.(map[string]any)["id"].(string)
				if seen[id] {
					t.Fatalf("%s: %s twice", path, id)
				}
				seen[id] = true
			}
			next, _ := l["next"].(string)
			if cursor = next; cursor == "" {
				break
			}
		}
		if len(seen) != 30 {
			t.Errorf("%s: %d", path, len(seen))
		}
	}
	for path, n := range map[string]float64{"/verdicts?verdict=deny": 1, "/verdicts?until=2026-03-03T09:00:00Z": 0, "/held": 1, "/sensors": 1, "/documents": 0, "/tokens": 1, "/findings?decision=act": 7, "/findings?q=%27%20OR%201%3D1": 0} {
		status, _, l := s.ask(read, "GET", path, "")
		if status != 200 || l["total"] != n {
			t.Errorf("%s: %d %v", path, status, l)
		}
	}
	for path, want := range map[string]int{"/findings?limit=0": 422, "/findings?limit=1001": 422, "/findings?limit=1000": 200, "/findings?cursor=x": 400, "/findings?sort=x": 422, "/findings?no=1": 422, "/findings/none": 404, "/devices/none": 404, "/documents/x": 422} {
		status, head, body := s.ask(read, "GET", path, "")
		if status != want || status >= 400 && (head.Get("Content-Type") != "application/problem+json" || body["status"] != float64(want)) {
			t.Errorf("%s: %d %s %v", path, status, head.Get("Content-Type"), body)
		}
	}
}

// TestTriage needs the ETag that was read, is done once under its key, and can be undone.
func TestTriage(t *testing.T) {
	s := newServer(t)
	token := s.token("te", access.Analyst, "read", "triage")
	id := finding.IDOf(finding.LegacyOS, device.IDOf("Norra Medical", "Flow", "3"))
	one := "/findings/" + id
	_, head, _ := s.ask(token, "GET", one, "")
	tag := head.Get("ETag")
	if status, _, _ := s.ask(token, "GET", one, "", "If-None-Match", tag); status != http.StatusNotModified {
		t.Errorf("%d", status)
	}
	const body = `{"state":"mitigated","reason":"behind a guard","justification":"inline_mitigations_already_exist","comment":"ok"}`
	for _, c := range []struct {
		body, match string
		want        int
	}{
		{body, "", 428},
		{body, `"9-0"`, 412},
		{body, `x`, 412},
		{`{}`, "*", 422},
		{`{"state":"gone"}`, "*", 422},
		{`{"state":"fixed"}`, "*", 422},
		{`{"state":"false-positive","reason":"x"}`, "*", 422},
		{`{"state":"open","justification":"component_not_present"}`, "*", 422},
		{`{"assignee":"nobody"}`, "*", 422},
		{`{"other":1}`, "*", 422},
		{`{`, "*", 400},
	} {
		if status, _, _ := s.ask(token, "POST", one+"/triage", c.body, "If-Match", c.match); status != c.want {
			t.Errorf("%s %s: %d, want %d", c.body, c.match, status, c.want)
		}
	}
	acted := len(s.acted)
	send := func(key, body string) (int, http.Header, map[string]any) {
		return s.ask(token, "POST", one+"/triage", body, "If-Match", tag, "Idempotency-Key", key)
	}
	status, head, first := send("k1", body)
	if status != 200 || first["state"] != "mitigated" || len(s.acted) != acted+2 || s.acted[acted+1] != "te|triage mitigated|"+id+"|1" {
		t.Fatalf("%d %v %v", status, first, s.acted)
	}
	status, again, second := send("k1", body)
	if status != 200 || again.Get("Idempotent-Replayed") != "true" || again.Get("ETag") != head.Get("ETag") || fmt.Sprint(first) != fmt.Sprint(second) || len(s.acted) != acted+2 {
		t.Errorf("again: %d %v", status, second)
	}
	if status, _, _ := send("k1", `{"comment":"x"}`); status != 422 {
		t.Errorf("another request: %d", status)
	}
	if status, _, _ := send("k2", body); status != 412 {
		t.Errorf("a version from before: %d", status)
	}
	if status, _, _ := send(strings.Repeat("k", maxKey+1), body); status != 400 {
		t.Errorf("a long key: %d", status)
	}
	other := s.token("le", access.Engineer, "read", "triage")
	if status, _, _ := s.ask(other, "POST", one+"/triage", `{"comment":"mine"}`, "If-Match", "*", "Idempotency-Key", "k1"); status != 200 {
		t.Errorf("another's key: %d", status)
	}
	s.at = s.at.Add(keyLife - time.Second) // and the token has expired
	token = s.token("te", access.Analyst, "read", "triage")
	if _, head, _ := send("k1", body); head.Get("Idempotent-Replayed") != "true" {
		t.Error("not kept for a day")
	}
	s.at = s.at.Add(time.Second)
	if status, _, _ := send("k1", body); status != 412 {
		t.Errorf("kept for more than a day: %d", status)
	}

	_, _, l := s.ask(token, "GET", "/findings?state=open&limit=1000", "")
	var ids []string
	for _, item := range l["items"].([]any) {
		ids = append(ids, item.(map[string]any)["id"].(string))
	}
	b, _ := json.Marshal(map[string]any{"ids": ids, "state": "acknowledged"})
	status, _, done := s.ask(token, "POST", "/triages", string(b))
	if status != 200 || done["changed"] != float64(29) {
		t.Fatalf("%d %v", status, done)
	}
	status, _, undone := s.ask(token, "POST", fmt.Sprintf("/triages/%.0f/undo", done["triage"]), "")
	if status != 200 || undone["changed"] != float64(29) {
		t.Errorf("%d %v", status, undone)
	}
	if status, _, _ := s.ask(token, "POST", "/triages/9999/undo", ""); status != 404 {
		t.Error(status)
	}
}

// TestDevice is edited with the ETag that was read.
func TestDevice(t *testing.T) {
	s := newServer(t)
	token := s.token("te", access.Engineer, "read", "triage")
	one := "/devices/" + device.IDOf("Norra Medical", "Flow", "3")
	_, head, _ := s.ask(token, "GET", one, "")
	tag := head.Get("ETag")
	status, _, d := s.ask(token, "PATCH", one, `{"ward":"ICU <b>3</b>","criticality":"high"}`, "If-Match", tag)
	if status != 200 || d["ward"] != "ICU <b>3</b>" {
		t.Fatalf("%d %v", status, d)
	}
	for match, want := range map[string]int{"": 428, tag: 412, "*": 200} {
		if status, _, _ := s.ask(token, "PATCH", one, `{"ward":"x"}`, "If-Match", match); status != want {
			t.Errorf("%q: %d", match, status)
		}
	}
	if status, _, _ := s.ask(token, "PATCH", one, `{"criticality":"very"}`, "If-Match", "*"); status != 422 {
		t.Error(status)
	}
}

// TestScopes: a token does nothing beyond its scopes and its person's role, nobody
// sees another's products, and no token makes tokens.
func TestScopes(t *testing.T) {
	s := newServer(t)
	read, maker := s.token("te", access.Analyst, "read"), s.token("maker", access.Manufacturer, "read")
	for _, c := range []struct {
		token, method, path string
		want                int
	}{
		{"", "GET", "/findings", 403},
		{"x", "GET", "/findings", 403},
		{read, "POST", "/triages", 403},
		{read, "POST", "/documents", 403},
		{read, "POST", "/tokens", 403},
		{maker, "GET", "/verdicts", 403},
		{maker, "GET", "/held", 403},
		{maker, "GET", "/sensors", 403},
		{maker, "GET", "/devices/" + device.IDOf("Norra Medical", "Flow", "2"), 404},
		{maker, "GET", "/devices/" + device.IDOf("Norra Medical", "Flow", "3"), 200},
		{maker, "GET", "/findings/" + finding.IDOf(finding.LegacyOS, device.IDOf("Norra Medical", "Flow", "2")), 404},
	} {
		body := ""
		if c.path == "/tokens" {
			body = `{"name":"x","scopes":["admin"],"days":1}`
		}
		req, _ := http.NewRequest(c.method, s.http.URL+"/api/v1"+c.path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+c.token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, res.StatusCode, c.want)
		}
	}
	for path, n := range map[string]float64{"/findings": 15, "/devices": 15} {
		if _, _, l := s.ask(maker, "GET", path, ""); l["total"] != n {
			t.Errorf("%s: %v", path, l["total"])
		}
	}
	own, err := s.store.Tokens(t.Context(), 1)
	if err != nil || len(own) != 1 {
		t.Fatal(own, err)
	}
	if status, _, _ := s.ask(read, "DELETE", fmt.Sprintf("/tokens/%d", own[0].ID), ""); status != 403 {
		t.Error(status)
	}
}

// TestDocuments are added once, within their bound.
func TestDocuments(t *testing.T) {
	s := newServer(t)
	token := s.token("te", access.Analyst, "read", "ingest")
	for i, want := range []int{201, 200} {
		status, _, d := s.ask(token, "POST", "/documents?name=a.json", "content", "Content-Type", "application/octet-stream")
		if status != want || d["name"] != "a.json" {
			t.Errorf("%d: %d %v", i, status, d)
		}
	}
	big := strings.Repeat("x", 1<<20)
	if status, _, _ := s.ask(token, "POST", "/documents", big, "Content-Type", "application/octet-stream"); status != 201 {
		t.Errorf("as much as there may be: %d", status)
	}
	if status, _, _ := s.ask(token, "POST", "/documents", big+"x", "Content-Type", "application/octet-stream"); status != 413 {
		t.Errorf("more: %d", status)
	}
	if status, _, _ := s.ask(token, "POST", "/documents", big+"x", "Content-Type", "application/octet-stream", "Idempotency-Key", "k"); status != 413 {
		t.Errorf("more, under a key: %d", status)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte("content")))
	if status, _, d := s.ask(token, "GET", "/documents/"+digest, ""); status != 200 || d["digest"] != digest {
		t.Error(status)
	}
}

// TestSlowBodies has more senders of large bodies than may be in memory, which send and
// do not end: whoever comes then is served.
func TestSlowBodies(t *testing.T) {
	s := newServer(t)
	a := s.api
	a.Spool = t.TempDir()
	served := make(chan string, 1)
	h := a.spooled(func(_ http.ResponseWriter, r *http.Request, _ *access.Principal) error {
		b, err := io.ReadAll(r.Body)
		served <- string(b)
		return err
	})
	var slow sync.WaitGroup
	var ends []*io.PipeWriter
	for range 2*mostLarge + 1 {
		r, w := io.Pipe()
		ends = append(ends, w)
		slow.Go(func() {
			req := httptest.NewRequest("POST", "/", r)
			if err := h(httptest.NewRecorder(), req, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a body that broke off: %v", err)
			}
		})
		if _, err := w.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
	}
	if err := h(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("whole")), nil); err != nil {
		t.Fatal(err)
	}
	if got := <-served; got != "whole" {
		t.Errorf("%q", got)
	}
	for _, w := range ends {
		w.CloseWithError(io.ErrUnexpectedEOF)
	}
	slow.Wait()
	if left, _ := filepath.Glob(filepath.Join(a.Spool, "body-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
