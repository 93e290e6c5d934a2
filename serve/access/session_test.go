// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/store"
)

func TestSignIn(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	b := s.browser()
	b.want(401, "GET", "/")
	w := b.do("POST", "/sign-in", "login", " TE ", "password", goodPassword)
	if w.Code != 204 || s.last() != "sign-in|succeeded|te||password" {
		t.Fatal(w.Code, s.last())
	}
	c := w.Result().Cookies()[0]
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 0 || !c.Expires.IsZero() || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("%+v", c)
	}
	if w := b.do("GET", "/"); w.Header().Get("Who") != "te" || len(w.Result().Cookies()) != 0 {
		t.Error(w.Header())
	}
}

// What was typed as a login may be a password.
func TestSignInFails(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	gone := s.person("gone", Analyst)
	gone.Disabled = true
	if err := s.store.SavePerson(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := s.store.SavePerson(t.Context(), &store.Person{Login: "elsewhere"}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []struct{ login, password, ledger string }{
		{"te", goodPassword + " ", "sign-in|failed|te||password"},
		{"te", "", "sign-in|failed|te||password"},
		{"te", strings.Repeat("x", 10_000), "sign-in|failed|te||password"},
		{goodPassword, "te", "sign-in|failed|||password"},
		{"", goodPassword, "sign-in|failed|||password"},
		{"te\x00", goodPassword, "sign-in|failed|||password"},
		{"' OR 1=1 --", goodPassword, "sign-in|failed|||password"},
		{"gone", goodPassword, "sign-in|failed|gone||password"},
		{"elsewhere", "", "sign-in|failed|elsewhere||password"},
	} {
		b := s.browser()
		b.want(403, "POST", "/sign-in", "login", n.login, "password", n.password)
		if s.last() != n.ledger || b.cookie != "" {
			t.Errorf("%q: %s %q", n.login, s.last(), b.cookie)
		}
	}
	s.full = true
	b := s.browser()
	b.from = "192.0.2.9:1"
	b.want(500, "POST", "/sign-in", "login", "te", "password", goodPassword)
	b.want(401, "GET", "/") // nobody is in who is not in the ledger
}

// Whoever waits for the answer learns nothing of who there is: each takes argon2id's memory.
func TestUnknownLoginsTakeAsLong(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	gone := s.person("gone", Analyst)
	gone.Disabled = true
	if err := s.store.SavePerson(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"te", "gone", "nobody", "", "not a login"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.browser().want(403, "POST", "/sign-in", "login", login, "password", "this is not the one")
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n < argonMemory<<10 || n > 2*argonMemory<<10 {
			t.Errorf("%q takes %d bytes", login, n)
		}
	}
}

func TestWrongPasswordsAreSlowed(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	s.person("mh", Clinician)
	try := func(from, login, password string) int {
		b := s.browser()
		b.from = from
		return b.do("POST", "/sign-in", "login", login, "password", password).Code
	}
	at := func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i) }
	for i := range triesLogin {
		if c := try(at(i), "te", "wrong"); c != 403 {
			t.Fatal(i, c)
		}
	}
	if c := try(at(100), "te", goodPassword); c != 429 {
		t.Error("a sixth attempt at a login, from elsewhere", c)
	}
	if c := try(at(100), "mh", goodPassword); c != 204 {
		t.Error("somebody else waits, too", c)
	}
	s.later(triesEvery - time.Nanosecond)
	if c := try(at(101), "te", goodPassword); c != 429 {
		t.Error("too early", c)
	}
	s.later(time.Nanosecond)
	if c := try(at(101), "TE", goodPassword); c != 204 {
		t.Error("after ten seconds", c)
	}
	for i := range 3 * triesFrom { // one that succeeds is none
		if c := try(at(102), "te", goodPassword); c != 204 {
			t.Fatal(i, c)
		}
	}
	// Many logins from one address, which may have many ports, and of IPv6 64 bits.
	for i := range triesFrom {
		if c := try(fmt.Sprintf("[2001:db8::%x]:%d", i, i+1), "x"+string(rune('a'+i)), "wrong"); c != 403 {
			t.Fatal(i, c)
		}
	}
	if c := try("[2001:db8::ffff:1]:9", "mh", goodPassword); c != 429 {
		t.Error("from the same network", c)
	}
	if c := try("[2001:db8:0:1::1]:9", "mh", goodPassword); c != 204 {
		t.Error("from another network", c)
	}
	n := len(s.acted)
	if try("[2001:db8::ffff:1]:9", "mh", "wrong"); len(s.acted) != n {
		t.Error("a flood fills the ledger")
	}
}

// Who fails for somebody on purpose does not keep that person out.
func TestNobodyKeepsAnotherOut(t *testing.T) {
	s := newServer(t)
	s.person("mh", Clinician)
	try := func(from, password string) int {
		b := s.browser()
		b.from = from + ":1"
		return b.do("POST", "/sign-in", "login", "mh", "password", password).Code
	}
	ward, home, attacker := "192.0.2.1", "192.0.2.2", "192.0.2.3"
	if c := try(ward, goodPassword); c != 204 {
		t.Fatal(c)
	}
	for range triesLogin {
		try(attacker, "wrong")
	}
	if try(attacker, goodPassword) != 429 || try(home, goodPassword) != 429 {
		t.Error("an attacker is not slowed")
	}
	for i := range triesLogin { // of its own, and no more than these
		if c := try(ward, "wrong"); c != 403 {
			t.Error(i, c)
		}
		if i == 0 {
			if c := try(ward, goodPassword); c != 204 {
				t.Error("the ward is kept out", c)
			}
		}
	}
	if c := try(ward, goodPassword); c != 429 {
		t.Error("from the ward, nobody is slowed", c)
	}
}

// A flood of addresses and logins takes no memory, and leaves nearly everybody alone.
func TestFlood(t *testing.T) {
	var c tries
	c.seed = newServer(t).tries.seed
	now := time.Now().UnixNano()
	n := testing.AllocsPerRun(1, func() {
		for i := range 1000 {
			for range 2 * triesLogin {
				c.take(string([]byte{byte(i), byte(i >> 8)}), triesLogin, now)
			}
		}
	})
	if n > 1 {
		t.Error(n, "allocations")
	}
	waits := 0
	for i := range 1000 {
		if c.take(fmt.Sprint("somebody", i), triesLogin, now) > 0 {
			waits++
		}
	}
	if waits > 150 { // 1000 of 16,384 counters are full: 61 are to be expected
		t.Error(waits, "of 1000 others wait")
	}
	// A clock that was an hour ahead does not lock anybody out for an hour.
	for range triesLogin {
		c.take("te", triesLogin, now+int64(time.Hour))
	}
	if w := c.take("te", triesLogin, now); w > triesEvery {
		t.Error(w)
	}
}

func TestSessionEnds(t *testing.T) {
	admin := &Principal{Person: &store.Person{ID: 1000, Login: "ad"}, Roles: Administrator}
	for name, n := range map[string]struct {
		do   func(s *server, b *browser, p *store.Person)
		ends bool
	}{
		"nothing": {func(*server, *browser, *store.Person) {}, false},
		"idle":    {func(s *server, b *browser, _ *store.Person) { s.later(sessionIdle + time.Nanosecond) }, true},
		"not idle": {func(s *server, b *browser, _ *store.Person) {
			for range 5 {
				s.later(sessionIdle - sessionNote)
				b.want(204, "GET", "/")
			}
		}, false},
		"idle, and a page renews itself": {func(s *server, b *browser, _ *store.Person) {
			for range 4 {
				s.later(sessionIdle / 4)
				b.header.Set(Unattended, "1")
				b.want(204, "GET", "/")
				b.header.Del(Unattended)
				b.header.Set("Accept", "text/event-stream")
				b.want(204, "GET", "/")
				b.header.Del("Accept")
			}
			s.later(time.Nanosecond)
		}, true},
		"life": {func(s *server, b *browser, _ *store.Person) {
			for range 24 {
				s.later(sessionLife / 24)
				b.want(204, "GET", "/")
			}
			s.later(time.Nanosecond)
		}, true},
		"sign-out": {func(s *server, b *browser, _ *store.Person) {
			cookie := b.cookie
			b.want(200, "POST", "/sign-out")
			b.cookie = cookie
		}, true},
		"password": {func(s *server, b *browser, p *store.Person) {
			other := s.browser()
			other.signIn("te")
			r := httptest.NewRequest("POST", "/", nil).WithContext(mustLoad(s, other.cookie))
			if err := s.SetPassword(r, &Principal{Person: p}, goodPassword, goodPassword+"!"); err != nil {
				t.Fatal(err)
			}
			if s.last() != "sign-in|succeeded|te||password" {
				t.Error(s.last())
			}
		}, true},
		"roles": {func(s *server, b *browser, p *store.Person) {
			to := *p
			to.Roles = uint32(Viewer)
			if err := s.ChangePerson(t.Context(), admin, &to); err != nil {
				t.Fatal(err)
			}
		}, true},
		"name": {func(s *server, b *browser, p *store.Person) {
			to := *p
			to.Name = "Another Name"
			if err := s.ChangePerson(t.Context(), admin, &to); err != nil {
				t.Fatal(err)
			}
		}, false},
		"disabled": {func(s *server, b *browser, p *store.Person) {
			if _, err := s.Disable(t.Context(), admin, p.ID, true); err != nil {
				t.Fatal(err)
			}
		}, true},
		"disabled and enabled": {func(s *server, b *browser, p *store.Person) {
			for _, d := range []bool{true, false} {
				if _, err := s.Disable(t.Context(), admin, p.ID, d); err != nil {
					t.Fatal(err)
				}
			}
		}, true},
		"reset": {func(s *server, b *browser, p *store.Person) {
			if _, _, err := s.NewLink(t.Context(), admin, p.ID); err != nil {
				t.Fatal(err)
			}
		}, true},
		"ended elsewhere": {func(s *server, b *browser, p *store.Person) {
			list, err := s.Sessions(mustLoad(s, b.cookie), &Principal{Person: p})
			if err != nil || len(list) != 1 || !list[0].This || list[0].From != "192.0.2.1" {
				t.Fatal(list, err)
			}
			if err := s.EndSession(t.Context(), &Principal{Person: p}, list[0].ID); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			p := s.person("te", Analyst)
			b := s.browser()
			b.signIn("te")
			b.want(204, "GET", "/")
			ctx := mustLoad(s, b.cookie)
			n.do(s, b, p)
			still, err := s.Still(ctx, &Principal{Person: p})
			if !strings.HasPrefix(name, "idle") && name != "life" && (still == n.ends || err != nil) {
				t.Error("a stream goes on:", still, err)
			}
			want := 204
			if n.ends {
				want = 401
			}
			cookie := b.cookie
			b.want(want, "GET", "/")
			b.cookie = cookie
			b.want(want, "GET", "/") // also when it is sent again
		})
	}
}

// mustLoad is the context of a request with a cookie.
func mustLoad(s *server, cookie string) context.Context {
	ctx, err := s.sessions.Load(s.t.Context(), cookie)
	if err != nil {
		s.t.Fatal(err)
	}
	return ctx
}

// A request that was on its way when the session ended does not bring it back.
func TestSessionDoesNotComeBack(t *testing.T) {
	s := newServer(t)
	p := s.person("te", Analyst)
	b := s.browser()
	b.signIn("te")
	slow := mustLoad(s, b.cookie)
	s.Say(slow, "done", "")
	cookie := b.cookie
	b.want(200, "POST", "/sign-out")
	if _, _, err := s.sessions.Commit(slow); err != nil {
		t.Fatal(err)
	}
	b.cookie = cookie
	b.want(401, "GET", "/")
	if list, err := s.Sessions(mustLoad(s, ""), &Principal{Person: p}); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

func TestForgedCookies(t *testing.T) {
	s := newServer(t)
	p := s.person("te", Analyst)
	b := s.browser()
	b.signIn("te")
	good := b.cookie
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil || len(raw) < 16 {
		t.Fatal("a cookie is less than 128 bits", err)
	}
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		b.cookie = base64.RawURLEncoding.EncodeToString(raw)
		raw[i/8] ^= 1 << (i % 8)
		b.want(401, "GET", "/")
	}
	stored, err := s.store.Sessions(t.Context(), p.ID) // what somebody with the database has
	if err != nil || len(stored) != 1 {
		t.Fatal(stored, err)
	}
	for _, c := range []string{stored[0].Token, good + "=", good[1:], strings.Repeat("A", 43), "1", "", strings.Repeat("x", 100_000)} {
		b.cookie = c
		b.want(401, "GET", "/")
	}
	b.cookie = good
	b.want(204, "GET", "/")
}

// Whoever gave somebody a cookie before is not signed in with it after.
func TestSessionFixation(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	for _, first := range []string{"an attacker's own", ""} {
		victim := s.browser()
		if first == "" { // one that the server knows: an attacker's question, say
			ctx, err := s.sessions.Load(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ask(ctx, "x"); err != nil {
				t.Fatal(err)
			}
			if first, _, err = s.sessions.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
		victim.cookie = first
		victim.signIn("te")
		if victim.cookie == first {
			t.Error("the cookie stayed")
		}
		attacker := s.browser()
		attacker.cookie = first
		attacker.want(401, "GET", "/")
		victim.want(204, "GET", "/")
		second := victim.cookie
		victim.signIn("te") // again: the one before ends
		attacker.cookie = second
		attacker.want(401, "GET", "/")
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	b := s.browser()
	b.signIn("te")
	for _, n := range []struct {
		method, key, value string
		want               int
	}{
		{"POST", "Sec-Fetch-Site", "cross-site", 403},
		{"POST", "Sec-Fetch-Site", "same-site", 403},
		{"POST", "Sec-Fetch-Site", "same-origin", 204},
		{"POST", "Sec-Fetch-Site", "none", 204},
		{"POST", "Origin", "https://evil.example", 403},
		{"POST", "Origin", "null", 403},
		{"POST", "Origin", "https://myelin.example", 204},
		{"POST", "Origin", "https://myelin.example:444", 403},
		{"GET", "Sec-Fetch-Site", "cross-site", 204}, // a link in an e-mail
	} {
		b.header = http.Header{n.key: {n.value}}
		path := map[string]string{"POST": "/do", "GET": "/"}[n.method]
		b.want(n.want, n.method, path)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	s := newServer(t)
	s.person("te", Analyst)
	b := s.browser()
	b.signIn("te")
	b.want(204, "POST", "/do", "a", strings.Repeat("x", mostBody-2))
	b.want(413, "POST", "/do", "a", strings.Repeat("x", mostBody-1))
	b.want(400, "GET", "/?a=%zz")
	b.want(413, "POST", "/sign-in", "login", "te", "password", strings.Repeat("x", mostBody))
	// What a stranger may send much of is no form, which is held in memory.
	b.want(204, "POST", "/much", "a", strings.Repeat("x", mostBody-2))
	b.want(413, "POST", "/much", "a", strings.Repeat("x", mostBody-1))
}

func TestTokens(t *testing.T) {
	s := newServer(t)
	p := s.person("te", Analyst)
	who := &Principal{Person: p, Roles: Analyst}
	secret, err := s.AddToken(t.Context(), who, " nightly  report ", []string{"read", "read"}, time.Hour)
	if err != nil || s.last() != "add token|succeeded|te|nightly report|read" {
		t.Fatal(err, s.last())
	}
	get := func(header string) int {
		b := s.browser()
		b.header.Set("Authorization", header)
		return b.do("GET", "/").Code
	}
	if get("Bearer "+secret) != 204 || get("bearer "+secret) != 204 || get("Bearer "+secret[:len(secret)-1]) != 401 || get("Bearer ") != 401 || get(secret) != 401 {
		t.Error("wrong")
	}
	b := s.browser()
	b.signIn("te")
	b.want(204, "POST", "/do")
	b.header.Set("Authorization", "Bearer "+secret)
	b.want(401, "POST", "/do") // a token does not act as the person itself, also beside a session
	b.header.Set("Authorization", "Bearer x")
	b.want(401, "GET", "/")
	s.later(time.Hour)
	if get("Bearer "+secret) != 401 {
		t.Error("it did not expire")
	}
	for name, f := range map[string]func() (string, error){
		"no name":     func() (string, error) { return s.AddToken(t.Context(), who, " ", []string{"read"}, time.Hour) },
		"no scope":    func() (string, error) { return s.AddToken(t.Context(), who, "x", nil, time.Hour) },
		"other scope": func() (string, error) { return s.AddToken(t.Context(), who, "x", []string{"read", ""}, time.Hour) },
		"for ever":    func() (string, error) { return s.AddToken(t.Context(), who, "x", []string{"read"}, tokenLife+1) },
		"never":       func() (string, error) { return s.AddToken(t.Context(), who, "x", []string{"read"}, 0) },
	} {
		if got, err := f(); err == nil || got != "" {
			t.Error(name)
		}
	}
	for i := range maxTokens {
		_, err := s.AddToken(t.Context(), who, "x", []string{"read"}, tokenLife)
		if (err == nil) != (i < maxTokens-1) { // there is one already
			t.Error(i, err)
		}
	}
	secret, _ = func() (string, error) {
		list, _ := s.store.Tokens(t.Context(), p.ID)
		other := &Principal{Person: &store.Person{ID: 99}, Roles: Analyst}
		if err := s.RemoveToken(t.Context(), other, list[0].ID); err == nil {
			t.Error("somebody removes another's token")
		}
		if err := s.RemoveToken(t.Context(), who, list[0].ID); err != nil {
			t.Error(err)
		}
		return s.AddToken(t.Context(), who, "x", []string{"read"}, tokenLife)
	}()
	if _, err := s.Disable(t.Context(), &Principal{Person: &store.Person{ID: 99}, Roles: Administrator}, p.ID, true); err != nil {
		t.Fatal(err)
	}
	if get("Bearer "+secret) != 401 {
		t.Error("a token of who is disabled")
	}
}

func TestSetUpLink(t *testing.T) {
	s := newServer(t)
	link := func() string {
		l, err := s.SetUpLink(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	use := func(l string) int {
		return s.browser().do("POST", "/set-up/"+l, "login", "ad", "password", goodPassword).Code
	}
	old := link()
	l := link()
	if use(old) != 410 || use(l[1:]) != 410 || use("used") != 410 {
		t.Error("another link")
	}
	s.browser().want(422, "POST", "/set-up/"+l, "login", "ad", "password", "too short")
	s.browser().want(422, "POST", "/set-up/"+l, "login", "a d", "password", goodPassword)
	s.later(linkLife)
	if use(l) != 410 {
		t.Error("after 24 h")
	}
	l = link()
	s.later(linkLife - time.Second)
	var won sync.Map
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			w := s.browser().do("POST", "/set-up/"+l, "login", fmt.Sprint("ad", i), "password", goodPassword)
			if w.Code == 200 {
				won.Store(i, true)
			} else if w.Code != 410 {
				t.Error(w.Code)
			}
		})
	}
	wait.Wait()
	n := 0
	won.Range(func(any, any) bool { n++; return true })
	people, err := s.store.People(t.Context())
	if n != 1 || len(people) != 1 || err != nil || Role(people[0].Roles) != Administrator {
		t.Fatal(n, "won", people, err)
	}
	if use(l) != 410 || link() != "" {
		t.Error("used twice")
	}
}

func TestOneTimeLink(t *testing.T) {
	s := newServer(t)
	admin := &Principal{Person: s.person("ad", Administrator), Roles: Administrator}
	p := &store.Person{Login: "MH", Name: " Mina   Holm ", Roles: uint32(Clinician), Clinical: "nurse"}
	link, err := s.AddPerson(t.Context(), admin, p)
	if err != nil || p.Login != "mh" || p.Name != "Mina Holm" || s.last() != "add person|succeeded|ad|mh|clinician (nurse)" {
		t.Fatal(err, p, s.last())
	}
	s.browser().want(403, "POST", "/sign-in", "login", "mh", "password", "")
	b := s.browser()
	b.want(422, "POST", "/link/"+link, "login", "mh", "password", "short")
	b.want(410, "POST", "/link/"+link, "login", "ad", "password", goodPassword) // somebody else's
	b.want(200, "POST", "/link/"+link, "login", "mh", "password", goodPassword)
	if w := b.do("GET", "/"); w.Header().Get("Who") != "mh" {
		t.Error("not signed in")
	}
	s.browser().want(410, "POST", "/link/"+link, "login", "mh", "password", goodPassword)

	_, link, err = s.NewLink(t.Context(), admin, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.want(401, "GET", "/")
	s.browser().want(403, "POST", "/sign-in", "login", "mh", "password", goodPassword)
	s.later(linkLife)
	s.browser().want(410, "POST", "/link/"+link, "login", "mh", "password", goodPassword)
	if _, link, err = s.NewLink(t.Context(), admin, p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Disable(t.Context(), admin, p.ID, true); err != nil {
		t.Fatal(err)
	}
	s.browser().want(410, "POST", "/link/"+link, "login", "mh", "password", goodPassword)
	if _, err := s.Disable(t.Context(), admin, p.ID, false); err != nil {
		t.Fatal(err)
	}
	s.browser().want(410, "POST", "/link/"+link, "login", "mh", "password", goodPassword)
	if _, link, err = s.NewLink(t.Context(), admin, p.ID); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 4 {
		wait.Go(func() {
			if s.browser().do("POST", "/link/"+link, "login", "mh", "password", goodPassword).Code == 200 {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	if wait.Wait(); won != 1 {
		t.Error(won, "used one link")
	}
}

func TestRolesOfPeople(t *testing.T) {
	s := newServer(t)
	ctx := t.Context()
	admin := &Principal{Person: s.person("ad", Administrator), Roles: Administrator}
	own := *admin.Person
	for _, r := range []Role{Administrator | Analyst, Clinician, Viewer} {
		own.Roles, own.Clinical = uint32(r), "nurse"
		if err := s.ChangePerson(ctx, admin, &own); err == nil {
			t.Error("an administrator becomes", r)
		}
	}
	if _, err := s.Disable(ctx, admin, admin.Person.ID, true); err == nil {
		t.Error("the last administrator is gone")
	}
	if _, _, err := s.NewLink(ctx, admin, admin.Person.ID); err == nil {
		t.Error("a link for oneself")
	}
	for name, p := range map[string]store.Person{
		"both":                 {Login: "x", Name: "x", Roles: uint32(Administrator | Clinician), Clinical: "nurse"},
		"a clinician of none":  {Login: "x", Name: "x", Roles: uint32(Clinician)},
		"of another":           {Login: "x", Name: "x", Roles: uint32(Clinician), Clinical: "doctor"},
		"maker of nothing":     {Login: "x", Name: "x", Roles: uint32(Manufacturer), Products: []string{" "}},
		"maker of much":        {Login: "x", Name: "x", Roles: uint32(Manufacturer), Products: strings.Split(strings.Repeat("a,", 1)+manyProducts(101), ",")},
		"no such role":         {Login: "x", Name: "x", Roles: 1 << 7},
		"no login":             {Login: " ", Name: "x"},
		"login of other signs": {Login: "a/b", Name: "x"},
		"long login":           {Login: strings.Repeat("a", maxLogin+1), Name: "x"},
		"no name":              {Login: "x", Name: "\t"},
		"long name":            {Login: "x", Name: strings.Repeat("ä", maxName+1)},
		"control":              {Login: "x", Name: "a\x1b[0m"},
		"taken":                {Login: "AD", Name: "x"},
	} {
		if _, err := s.AddPerson(ctx, admin, &p); err == nil {
			t.Error(name)
		}
	}
	p := &store.Person{Login: strings.Repeat("a", maxLogin), Name: strings.Repeat("ä", maxName), Roles: uint32(Manufacturer), Products: []string{"Norra  Medical Flow 500", "Norra Medical Flow 500", ""}, Clinical: "nurse"}
	if _, err := s.AddPerson(ctx, admin, p); err != nil || len(p.Products) != 1 || p.Products[0] != "Norra Medical Flow 500" || p.Clinical != "" {
		t.Error(err, p)
	}
	stale := *p
	stale.Version--
	if err := s.ChangePerson(ctx, admin, &stale); err == nil {
		t.Error("changed what somebody else changed")
	}
	s.full = true
	if err := s.ChangePerson(ctx, admin, p); err == nil {
		t.Error("an answer before the ledger has it")
	}
}

func manyProducts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "p%d,", i)
	}
	return b.String()
}

func TestProducts(t *testing.T) {
	p := &store.Person{Products: []string{"Norra Medical Flow 500"}}
	for _, n := range []struct {
		who  *Principal
		only int // -1: all
		sees bool
	}{
		{nil, 0, false},
		{&Principal{}, 0, false},
		{&Principal{Person: p}, 1, true}, // no role: no route lets it in
		{&Principal{Person: p, Roles: Manufacturer}, 1, true},
		{&Principal{Person: &store.Person{}, Roles: Manufacturer}, 0, false},
		{&Principal{Person: p, Roles: Manufacturer | Viewer}, -1, true},
		{&Principal{Person: &store.Person{}, Roles: Analyst}, -1, true},
	} {
		only := n.who.Products()
		if (only == nil) != (n.only < 0) || only != nil && len(only) != n.only || n.who.Sees("Norra Medical Flow 500") != n.sees || n.only >= 0 && n.who.Sees("") {
			t.Errorf("%+v: %q", n.who, only)
		}
	}
}

func TestHashesOfPasswords(t *testing.T) {
	for _, n := range []struct {
		password string
		ok       bool
	}{{strings.Repeat("é", MinPassword-1), false}, {strings.Repeat("é", MinPassword), true}, {strings.Repeat("a", maxPassword), true}, {strings.Repeat("a", maxPassword+1), false}} {
		hash, err := HashPassword(n.password)
		if (err == nil) != n.ok {
			t.Error(len(n.password), err)
		}
		if ok, err := checkPassword(hash, n.password); n.ok && (!ok || err != nil) {
			t.Error(ok, err)
		}
	}
	good, err := HashPassword(goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := checkPassword(good, goodPassword+"."); ok || err != nil {
		t.Error(ok, err)
	}
	for _, hash := range []string{"x", "$argon2id$v=19$m=19456,t=2,p=1$AAAA", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "m=19456", "m=999999999", 1), strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), good + "!"} {
		if ok, err := checkPassword(hash, goodPassword); ok || err == nil {
			t.Errorf("%.40q: %v %v", hash, ok, err)
		}
	}
}
