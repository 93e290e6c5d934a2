// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// TestLedgerFirst ends the server at each moment of an act: whatever is changed, an
// entry that somebody was about to change it is there, and what the ledger does not take
// is not done.
func TestLedgerFirst(t *testing.T) {
	errFull := errors.New("the disk of the ledger is full")
	for _, act := range []struct {
		name, path string
		form       url.Values
		entry      string // operation
	}{
		{"triage", "/findings/triage", url.Values{"id": {""}, "state": {"acknowledged"}}, "triage acknowledged"},
		{"name", "/names", url.Values{"maker": {"Norra"}, "model": {"Flow 500"}, "as-maker": {"Norra Medical"}, "as-model": {"Flow500"}, "same": {"yes"}, "reason": {"the label"}}, "same product"},
		{"document", "", nil, "add document"},
	} {
		for _, end := range []string{"before the entry", "after the entry", "after the change"} {
			t.Run(act.name+" "+end, func(t *testing.T) {
				s := newShelf(t, 3)
				l, err := s.store.Findings(t.Context(), store.FindingQuery{Page: store.Page{Limit: 1}})
				if err != nil {
					t.Fatal(err)
				}
				id := l.Rows[0].ID
				u := s.reader("te", access.Analyst)
				changed := func() bool {
					f, _, err := s.store.Finding(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					names, err := s.pages.fleet.Namings(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					papers, err := s.store.Documents(t.Context(), nil, "", store.Page{})
					if err != nil {
						t.Fatal(err)
					}
					return f.State != store.Open || len(names) > 0 || papers.Total > 0
				}
				var kept []event.Result
				s.record = func(e *event.Event) error {
					if e.Text(event.Operation) != act.entry {
						t.Errorf("an entry of %q", e.Text(event.Operation))
					}
					outcome := event.Result(e.Int(event.Outcome))
					if outcome == event.Unknown && changed() {
						t.Error("it was changed before there was an entry")
					}
					if outcome != event.Unknown && !changed() {
						t.Error("it is in the ledger as done and was not")
					}
					if end == "before the entry" || end == "after the change" && outcome != event.Unknown {
						return errFull
					}
					if kept = append(kept, outcome); end == "after the entry" && outcome == event.Unknown {
						panic(http.ErrAbortHandler) // the server ends here
					}
					return nil
				}
				s.wrong = func(err error) bool { return errors.Is(err, errFull) }
				req := upload("http://x", "a.json", csafOf("ADA-1", "Norra Medical", "Flow 500", "2.1.4", "t"))
				if act.path != "" {
					if act.form.Has("id") {
						act.form.Set("id", id)
					}
					req = httptest.NewRequest("POST", act.path, strings.NewReader(act.form.Encode()))
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				at, _ := url.Parse(s.http.URL)
				for _, c := range u.c.Jar.Cookies(at) {
					req.AddCookie(c)
				}
				func() {
					defer func() { recover() }()
					s.handler.ServeHTTP(httptest.NewRecorder(), req)
				}()
				want := map[string][]event.Result{"after the entry": {event.Unknown}, "after the change": {event.Unknown}}[end]
				if !slices.Equal(kept, want) || changed() != (end == "after the change") {
					t.Errorf("entries %v, changed %v", kept, changed())
				}
			})
		}
	}
}
