// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A testProvider is a provider of identities: discovery, authorization code with PKCE
// (RFC 7636 section 4.6), client secret, ID tokens signed with ES256, keys.
type testProvider struct {
	t      *testing.T
	http   *httptest.Server
	key    *ecdsa.PrivateKey
	claims map[string]any                         // beside what each ID token has
	change func(head, claims map[string]any)      // what is wrong with it
	signer *ecdsa.PrivateKey                      // nil: key
	codes  map[string]url.Values                  // what was asked when it was given
	token  func(w http.ResponseWriter, id string) // nil: as it should be
	asked  int
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newTestProvider(t *testing.T) *testProvider {
	t.Helper()
	p := &testProvider{t: t, claims: map[string]any{}, codes: map[string]url.Values{}}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.http = httptest.NewServer(mux)
	t.Cleanup(p.http.Close)
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.http.URL, "authorization_endpoint": p.http.URL + "/authorize", "token_endpoint": p.http.URL + "/token", "jwks_uri": p.http.URL + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		point, err := p.key.PublicKey.Bytes()
		if err != nil {
			t.Error(err)
		}
		answer(w, map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1", "x": b64(point[1:33]), "y": b64(point[33:])}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.asked++
		asked, ok := p.codes[r.FormValue("code")]
		delete(p.codes, r.FormValue("code"))
		verifier := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		id, secret, _ := r.BasicAuth()
		secret, _ = url.QueryUnescape(secret) // RFC 6749 section 2.3.1
		if !ok || r.FormValue("grant_type") != "authorization_code" || asked.Get("code_challenge_method") != "S256" || asked.Get("code_challenge") != b64(verifier[:]) ||
			r.FormValue("redirect_uri") != asked.Get("redirect_uri") || id != "myelin" || secret != "client secret" {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]string{"error": "invalid_grant"})
			return
		}
		now := time.Now()
		head := map[string]any{"alg": "ES256", "kid": "k1"}
		claims := map[string]any{"iss": p.http.URL, "sub": "7", "aud": "myelin", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "nonce": asked.Get("nonce")}
		for k, v := range p.claims {
			claims[k] = v
		}
		if p.change != nil {
			p.change(head, claims)
		}
		h, _ := json.Marshal(head)
		c, _ := json.Marshal(claims)
		text := b64(h) + "." + b64(c)
		signer := p.key
		if p.signer != nil {
			signer = p.signer
		}
		sum := sha256.Sum256([]byte(text))
		x, y, err := ecdsa.Sign(rand.Reader, signer, sum[:])
		if err != nil {
			t.Error(err)
		}
		signature := append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
		if head["alg"] == "none" {
			signature = nil
		}
		token := text + "." + b64(signature)
		if p.token != nil {
			p.token(w, token)
			return
		}
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": token})
	})
	return p
}

// authorize is what a person's browser does there: it comes back with a code.
func (p *testProvider) authorize(at string) url.Values {
	p.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		p.t.Fatal(err)
	}
	asked := u.Query()
	if !strings.HasPrefix(at, p.http.URL+"/authorize?") || asked.Get("response_type") != "code" || asked.Get("client_id") != "myelin" ||
		asked.Get("redirect_uri") != "https://myelin.example/sign-in/provider/back" || !strings.Contains(asked.Get("scope"), "openid") || len(asked.Get("state")) < 22 || len(asked.Get("nonce")) < 22 {
		p.t.Fatal(at)
	}
	code := secret(12)
	p.codes[code] = asked
	return url.Values{"code": {code}, "state": {asked.Get("state")}, "iss": {p.http.URL}}
}

func (p *testProvider) server(roles map[string][]string) *server {
	return newServer(p.t, func(c *Config) {
		c.URL, c.Log = "https://myelin.example", slog.New(slog.NewTextHandler(p.t.Output(), nil))
		c.OIDC = &OIDC{Name: "Test", Issuer: p.http.URL, ClientID: "myelin", Claim: "groups", Roles: roles, Secret: func(context.Context) ([]byte, error) { return []byte("client secret"), nil }}
	})
}

// through signs in by the provider.
func (b *browser) through(p *testProvider) int {
	b.s.t.Helper()
	at := b.do("GET", "/sign-in/provider").Header().Get("Location")
	return b.do("GET", "/sign-in/provider/back?"+p.authorize(at).Encode()).Code
}

var testRoles = map[string][]string{"it": {"administrator"}, "soc": {"analyst", "auditor"}, "icu-doctors": {"prescriber"}, "icu-nurses": {"nurse"}}

func TestProviderSignsIn(t *testing.T) {
	p := newTestProvider(t)
	s := p.server(testRoles)
	p.claims = map[string]any{"preferred_username": "Tomas.E", "name": "Tomas Eklund", "groups": []string{"soc", "everybody"}}
	b := s.browser()
	before := b.cookie
	if code := b.through(p); code != 200 || b.cookie == before {
		t.Fatal(code)
	}
	if w := b.do("GET", "/"); w.Header().Get("Who") != "tomas.e" {
		t.Fatal(w.Code, w.Header())
	}
	got, err := s.store.Person(t.Context(), "tomas.e")
	if err != nil || Role(got.Roles) != Analyst|Auditor || !got.Provided || got.Subject != p.http.URL+" 7" || got.Hash != "" {
		t.Fatal(got, err)
	}
	if s.last() != "sign-in|succeeded|tomas.e||oidc" {
		t.Error(s.last())
	}
	// Other groups: other roles, and the sessions of before end.
	p.claims["groups"] = "icu-doctors"
	p.claims["preferred_username"] = "renamed"
	c := s.browser()
	if code := c.through(p); code != 200 {
		t.Fatal(code)
	}
	b.want(401, "GET", "/")
	if got, err = s.store.Person(t.Context(), "tomas.e"); err != nil || Role(got.Roles) != Clinician || got.Clinical != "prescriber" {
		t.Fatal(got, err)
	}
	// No group any more: no session either.
	delete(p.claims, "groups")
	if code := s.browser().through(p); code != 403 {
		t.Error(code)
	}
	c.want(401, "GET", "/")
	if got, err = s.store.Person(t.Context(), "tomas.e"); err != nil || got.Roles != 0 {
		t.Error(got, err)
	}
	p.claims["groups"] = []any{"soc", 7, nil}
	if code := s.browser().through(p); code != 200 {
		t.Error(code)
	}
	admin := &Principal{Person: s.person("ad", Administrator), Roles: Administrator}
	to := *got
	if got, err = s.store.Person(t.Context(), "tomas.e"); err != nil {
		t.Fatal(err)
	}
	to = *got
	to.Roles, to.Clinical = uint32(Clinician), "nurse"
	if err := s.ChangePerson(t.Context(), admin, &to); err == nil {
		t.Error("an administrator changes what the provider says")
	}
	if _, _, err := s.NewLink(t.Context(), admin, got.ID); err == nil {
		t.Error("a password beside the provider")
	}
	if _, err := s.Disable(t.Context(), admin, got.ID, true); err != nil {
		t.Fatal(err)
	}
	if code := s.browser().through(p); code != 403 || s.last() != "sign-in|failed|tomas.e||oidc" {
		t.Error(code, s.last())
	}
}

func TestProviderGivesRolesByTheMapAlone(t *testing.T) {
	p := newTestProvider(t)
	s := p.server(testRoles)
	for i, n := range []struct {
		groups any
		code   int
		roles  Role
	}{
		{nil, 403, 0},
		{[]string{}, 403, 0},
		{"clinician", 403, 0}, // the name of a role is no group
		{[]string{"administrator", "prescriber"}, 403, 0},
		{map[string]any{"soc": true}, 403, 0},
		{"it", 200, Administrator},
		{[]string{"soc", "icu-nurses"}, 200, Analyst | Auditor | Clinician},
		{[]string{"it", "icu-nurses"}, 422, 0}, // nobody is both
		{[]string{"icu-doctors", "icu-nurses"}, 422, 0},
	} {
		login := string(rune('a' + i))
		p.claims = map[string]any{"sub": login, "preferred_username": login, "groups": n.groups}
		if code := s.browser().through(p); code != n.code {
			t.Errorf("%v: %d", n.groups, code)
		}
		got, err := s.store.Person(t.Context(), login)
		if (err == nil) != (n.code == 200) || err == nil && Role(got.Roles) != n.roles {
			t.Errorf("%v: %+v %v", n.groups, got, err)
		}
	}
	for name, roles := range map[string]map[string][]string{
		"clinician of no kind": {"a": {"clinician"}},
		"no such role":         {"a": {"boss"}},
		"both":                 {"a": {"administrator", "nurse"}},
		"manufacturer":         {"a": {"manufacturer"}},
	} {
		if _, err := New(Config{URL: "https://x.example", OIDC: &OIDC{Issuer: "https://id.example", Roles: roles}}); err == nil {
			t.Error(name)
		}
	}
	for _, issuer := range []string{"http://id.example", "ftp://127.0.0.1", "", "127.0.0.1"} {
		if _, err := New(Config{URL: "https://x.example", OIDC: &OIDC{Issuer: issuer}}); err == nil {
			t.Errorf("issuer %q", issuer)
		}
	}
}

// Whatever is wrong with an answer, nobody is in.
func TestProviderAnswersWrong(t *testing.T) {
	p := newTestProvider(t)
	s := p.server(testRoles)
	p.claims = map[string]any{"preferred_username": "te", "groups": "soc"}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(k string, v any) func() { return func() { p.change = func(_, c map[string]any) { c[k] = v } } }
	for name, wrong := range map[string]func(){
		"another key":      func() { p.signer = other },
		"no signature":     func() { p.change = func(h, _ map[string]any) { h["alg"] = "none" } },
		"a shared secret":  func() { p.change = func(h, _ map[string]any) { h["alg"] = "HS256" } },
		"another key's id": func() { p.change = func(h, _ map[string]any) { h["kid"] = "k2" }; p.signer = other },
		"another audience": claim("aud", "other"),
		"another issuer":   claim("iss", "https://evil.example"),
		"another nonce":    claim("nonce", "x"),
		"no nonce":         claim("nonce", ""),
		"expired":          claim("exp", time.Now().Add(-time.Minute).Unix()),
		"no subject":       claim("sub", ""),
		"a long subject":   claim("sub", strings.Repeat("x", maxSubject+1)),
		"no ID token": func() {
			p.token = func(w http.ResponseWriter, _ string) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"access_token":"a","token_type":"Bearer"}`))
			}
		},
		"no JSON": func() { p.token = func(w http.ResponseWriter, _ string) { w.Write([]byte("<html>")) } },
		"a long one": func() {
			p.token = func(w http.ResponseWriter, id string) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"access_token":"` + strings.Repeat("a", providerBytes) + `","id_token":"` + id + `"}`))
			}
		},
		"an error": func() { p.token = func(w http.ResponseWriter, _ string) { w.WriteHeader(500) } },
	} {
		p.change, p.signer, p.token = nil, nil, nil
		wrong()
		b := s.browser()
		b.from = "192.0.2." + string(rune('1'+len(name)%9)) + ":1"
		s.later(time.Minute)
		if code := b.through(p); code != 403 || s.last() != "sign-in|failed|||oidc" {
			t.Errorf("%s: %d %s", name, code, s.last())
		}
		b.want(401, "GET", "/")
	}
	p.change, p.signer, p.token = nil, nil, nil
	asked := p.asked
	for name, wrong := range map[string]func(url.Values){
		"another state":  func(v url.Values) { v.Set("state", "x") },
		"no state":       func(v url.Values) { v.Del("state") },
		"another issuer": func(v url.Values) { v.Set("iss", "https://evil.example") },
		"no code":        func(v url.Values) { v.Del("code") },
		"an error":       func(v url.Values) { v.Set("error", "access_denied") },
	} {
		s.later(time.Minute)
		b := s.browser()
		v := p.authorize(b.do("GET", "/sign-in/provider").Header().Get("Location"))
		wrong(v)
		b.want(403, "GET", "/sign-in/provider/back?"+v.Encode())
		b.want(401, "GET", "/")
		if p.asked != asked {
			t.Error(name, "went on to the provider")
		}
	}
	// An answer is for the browser that asked, once.
	s.later(time.Minute)
	victim, attacker := s.browser(), s.browser()
	answer := p.authorize(attacker.do("GET", "/sign-in/provider").Header().Get("Location")).Encode()
	victim.want(403, "GET", "/sign-in/provider/back?"+answer)
	p.authorize(victim.do("GET", "/sign-in/provider").Header().Get("Location"))
	victim.want(403, "GET", "/sign-in/provider/back?"+answer)
	attacker.want(200, "GET", "/sign-in/provider/back?"+answer)
	attacker.want(403, "GET", "/sign-in/provider/back?"+answer)
	// One that comes too late.
	b := s.browser()
	answer = p.authorize(b.do("GET", "/sign-in/provider").Header().Get("Location")).Encode()
	s.later(askLife)
	b.want(403, "GET", "/sign-in/provider/back?"+answer)
}

// A local account is the provider's when its person, signed in, says so, and no sooner.
func TestProviderBinds(t *testing.T) {
	p := newTestProvider(t)
	s := p.server(testRoles)
	te := s.person("te", Viewer)
	s.person("mh", Viewer)
	p.claims = map[string]any{"preferred_username": "te", "groups": "it"}
	if code := s.browser().through(p); code != 409 { // whoever has that name there is not te here
		t.Fatal(code)
	}
	b := s.browser()
	b.signIn("te")
	at := b.do("GET", "/sign-in/provider?bind=yes").Header().Get("Location")
	answer := p.authorize(at).Encode()
	s.browser().want(403, "GET", "/sign-in/provider/back?"+answer)
	b.want(200, "GET", "/sign-in/provider/back?"+answer)
	if s.last() != "bind account|succeeded|te|te|oidc" {
		t.Error(s.last())
	}
	c := s.browser()
	if code := c.through(p); code != 200 {
		t.Fatal(code)
	}
	if w := c.do("GET", "/"); w.Header().Get("Who") != "te" {
		t.Error(w.Header())
	}
	got, err := s.store.PersonOf(t.Context(), te.ID)
	if err != nil || Role(got.Roles) != Viewer || got.Provided { // its roles stay an administrator's
		t.Error(got, err)
	}
	m := s.browser()
	m.signIn("mh")
	at = m.do("GET", "/sign-in/provider?bind=yes").Header().Get("Location")
	m.want(409, "GET", "/sign-in/provider/back?"+p.authorize(at).Encode()) // somebody else's
	s.later(freshLife + time.Second)
	m.want(403, "GET", "/sign-in/provider?bind=yes")
	if _, err := s.store.Person(t.Context(), "te2"); err == nil {
		t.Error(err)
	}
}

func TestProviderIsAway(t *testing.T) {
	p := newTestProvider(t)
	s := p.server(testRoles)
	p.http.Close()
	s.person("te", Viewer)
	b := s.browser()
	b.want(502, "GET", "/sign-in/provider")
	b.signIn("te") // the local account still can
}
