// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

const goodPassword = "seven grey herons at noon"

// A server is one whose clock the test sets.
type server struct {
	*Access
	t      *testing.T
	store  *store.Store
	mu     sync.Mutex
	at     time.Time
	acted  []string // operation, outcome, actor, target, reason
	full   bool     // the ledger's disk
	handle http.Handler
}

func (s *server) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *server) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

func (s *server) record(e *event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return errors.New("no space left")
	}
	s.acted = append(s.acted, strings.Join([]string{e.Text(event.Operation), event.Result(e.Int(event.Outcome)).String(), e.Text(event.Actor), e.Text(event.Target), e.Text(event.Reason)}, "|"))
	return nil
}

// last is what was done last.
func (s *server) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acted) == 0 {
		return ""
	}
	return s.acted[len(s.acted)-1]
}

func newServer(t *testing.T, change ...func(*Config)) *server {
	t.Helper()
	s := &server{t: t, at: time.Now()}
	var err error
	if s.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "m.db"), s.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	c := Config{Store: s.store, Record: s.record, Now: s.now, Site: "ward", Secure: true}
	for _, f := range change {
		f(&c)
	}
	if s.Access, err = New(c); err != nil {
		t.Fatal(err)
	}
	ok := func(w http.ResponseWriter, _ *http.Request, who *Principal) error {
		if who.Person != nil {
			w.Header().Set("Who", who.Person.Login)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	s.handle = s.Identify(Mux([]Route{
		{Pattern: "GET /{$}", Needs: SignedIn, Handle: ok},
		{Pattern: "POST /do", Needs: Oneself, Handle: ok},
		{Pattern: "GET /open", Needs: Anyone, Handle: ok},
		{Pattern: "POST /much", Needs: Anyone, Handle: ok, Most: 1 << 20},
		{Pattern: "POST /sign-in", Needs: Anyone, Handle: func(w http.ResponseWriter, r *http.Request, who *Principal) error {
			if err := s.SignIn(r, r.FormValue("login"), r.FormValue("password")); err != nil {
				return err
			}
			return ok(w, r, who)
		}},
		{Pattern: "POST /sign-out", Needs: Oneself, Handle: func(w http.ResponseWriter, r *http.Request, who *Principal) error {
			return s.SignOut(r.Context(), who)
		}},
		{Pattern: "POST /set-up/{secret}", Needs: Anyone, Handle: func(w http.ResponseWriter, r *http.Request, who *Principal) error {
			return s.First(r, r.PathValue("secret"), &store.Person{Login: r.FormValue("login"), Name: "First"}, r.FormValue("password"))
		}},
		{Pattern: "POST /link/{secret}", Needs: Anyone, Handle: func(w http.ResponseWriter, r *http.Request, who *Principal) error {
			p, err := s.store.Person(r.Context(), r.FormValue("login"))
			if err != nil {
				return err
			}
			return s.UseLink(r, p.ID, r.PathValue("secret"), r.FormValue("password"))
		}},
		{Pattern: "GET /sign-in/provider", Needs: Anyone, Handle: func(w http.ResponseWriter, r *http.Request, who *Principal) error {
			at, err := s.AskProvider(r, "/to", r.FormValue("bind") != "")
			w.Header().Set("Location", at)
			return err
		}},
		{Pattern: "GET /sign-in/provider/back", Needs: Anyone, Handle: func(w http.ResponseWriter, r *http.Request, who *Principal) error {
			to, err := s.ProviderAnswered(r, who)
			w.Header().Set("Location", to)
			return err
		}},
	}, func(w http.ResponseWriter, _ *http.Request, err error) {
		var e *Error
		var too *http.MaxBytesError
		switch {
		case errors.Is(err, ErrForbidden):
			w.WriteHeader(http.StatusUnauthorized)
		case errors.As(err, &too):
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case errors.As(err, &e):
			w.WriteHeader(e.Status)
		default:
			t.Log(err)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	return s
}

var hashed = sync.OnceValues(func() (string, error) { return HashPassword(goodPassword) })

func (s *server) person(login string, roles Role) *store.Person {
	s.t.Helper()
	hash, err := hashed()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &store.Person{Login: login, Name: login, Roles: uint32(roles), Hash: hash}
	if err := s.store.SavePerson(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// A browser keeps one cookie.
type browser struct {
	s      *server
	from   string
	cookie string
	header http.Header
}

func (s *server) browser() *browser {
	return &browser{s: s, from: "192.0.2.1:1", header: http.Header{}}
}

func (b *browser) do(method, path string, form ...string) *httptest.ResponseRecorder {
	b.s.t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		v.Set(form[i], form[i+1])
	}
	r := httptest.NewRequest(method, "https://myelin.example"+path, strings.NewReader(v.Encode()))
	r.RemoteAddr = b.from
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range b.header {
		r.Header[k] = v
	}
	if b.cookie != "" {
		r.Header.Set("Cookie", "__Host-myelin="+b.cookie)
	}
	w := httptest.NewRecorder()
	b.s.handle.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name == "__Host-myelin" {
			b.cookie = c.Value
		}
	}
	return w
}

func (b *browser) want(status int, method, path string, form ...string) {
	b.s.t.Helper()
	if w := b.do(method, path, form...); w.Code != status {
		b.s.t.Fatalf("%s %s: %d, not %d", method, path, w.Code, status)
	}
}

func (b *browser) signIn(login string) {
	b.s.t.Helper()
	b.want(204, "POST", "/sign-in", "login", login, "password", goodPassword)
}
