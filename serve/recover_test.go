// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/access"
)

// acted lists what people did: actor, operation, target, outcome.
func acted(t testing.TB, s *Server) (out []string) {
	t.Helper()
	_, err := s.ledger.Checkpoint() // of all that is recorded
	key, keyErr := ledger.ParseVerifier(s.shown.Key)
	if err = errors.Join(err, keyErr); err != nil {
		t.Fatal(err)
	}
	r, err := ledger.Read(s.shown.Dir, key)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Entries(0, r.Checkpoint.Size, func(_ int64, b []byte) error {
		e, err := event.Parse(b)
		if err == nil && e.Kind == event.PersonActed {
			out = append(out, strings.Join([]string{e.Text(event.Actor), e.Text(event.Operation), e.Text(event.Target), event.Result(e.Int(event.Outcome)).String()}, "|"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRecover: the only administrator lost the password, and whoever has the folder has
// a link for that, on both engines.
func TestRecover(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { recovers(t, Config{}) })
	t.Run("PostgreSQL", func(t *testing.T) { recovers(t, Config{Store: testpeer.PostgreSQL(t, testpeer.Forgetful)}) })
}

func recovers(t *testing.T, c Config) {
	c.Data, c.Listen = filepath.Join(t.TempDir(), "data"), "127.0.0.1:8440"
	if _, err := Recover(t.Context(), c, "root", "ad"); err == nil || !strings.Contains(err.Error(), "no folder of a server") {
		t.Errorf("no folder: %v", err)
	}
	before := ""
	var cookies []string
	t.Run("before", func(t *testing.T) {
		o := newOutside(t, c)
		o.person("ad", access.Administrator)
		o.person("te", access.Analyst)
		gone := o.person("gone", access.Administrator)
		gone.Disabled = true
		if err := o.s.store.SavePerson(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		v := o.visitor("ad")
		at, _ := url.Parse(o.at)
		cookies = append(cookies, v.Jar.Cookies(at)[0].String())
		if _, err := Recover(t.Context(), c, "root", "ad"); err == nil || !strings.Contains(err.Error(), "stop it first") {
			t.Errorf("while a server runs: %v", err)
		}
		before = o.at
	})
	for login, says := range map[string]string{"te": "no administrator", "gone": "disabled", "nobody": "Nobody here", "../ad": "A login has"} {
		if _, err := Recover(t.Context(), c, "root", login); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", login, err)
		}
	}
	link, err := Recover(t.Context(), c, "root", "AD")
	if err != nil || !strings.HasPrefix(link, "http://127.0.0.1:8440/password/") {
		t.Fatal(link, err)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(link, "http://"), "/")
	o := newOutside(t, c)
	if log := acted(t, o.s); !slices.Contains(log, "root|reset password|ad|succeeded") {
		t.Errorf("the ledger: %q", log)
	}
	v := o.visitor("")
	if a := v.post("/sign-in", "login", "ad", "password", goodPassword); a.status != 403 {
		t.Errorf("the password of before: %d", a.status)
	}
	r := v.request("GET", "/settings/people", "", nil)
	r.Header.Set("Cookie", cookies[0])
	if a := v.send(r); a.status == 200 {
		t.Errorf("the session of before, at %s: %d", before, a.status)
	}
	if a := v.post("/"+path, "password", "nine white storks at dawn"); a.status != 303 {
		t.Errorf("the link: %d %s", a.status, a.body)
	}
	if a := v.get("/settings/people"); a.status != 200 {
		t.Errorf("the administrator is back: %d", a.status)
	}
	if a := o.visitor("").post("/"+path, "password", "nine white storks at dawn"); a.status != 410 {
		t.Errorf("the link a second time: %d", a.status)
	}
}
