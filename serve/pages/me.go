// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) meRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /me", Needs: access.Oneself, Handle: p.me},
		{Pattern: "POST /me/password", Needs: access.Oneself, Handle: p.setPassword},
		{Pattern: "POST /me/passkeys/ask", Needs: access.Oneself, Handle: p.askPasskey},
		{Pattern: "POST /me/passkeys", Needs: access.Oneself, Handle: p.addPasskey},
		{Pattern: "POST /me/passkeys/remove", Needs: access.Oneself, Handle: p.removePasskey},
		{Pattern: "POST /me/tokens", Needs: access.Oneself, Handle: p.addToken},
		{Pattern: "POST /me/tokens/remove", Needs: access.Oneself, Handle: p.removeToken},
		{Pattern: "POST /me/sessions/end", Needs: access.Oneself, Handle: p.endSession},
		{Pattern: "POST /me/provider", Needs: access.Oneself, Handle: p.bindProvider},
	}
}

// mePage is what somebody can do about the own account.
type mePage struct {
	frame       `json:"-"`
	Wrong       string `json:",omitempty"`
	Login, Name string
	Roles       []string
	Clinical    string `json:",omitempty"`
	Password    bool   // there is one
	Least       int    // characters of a password
	CanPasskeys bool
	Passkeys    []passkeyLine
	Scopes      []scopeLine
	Tokens      []tokenLine
	Secret      string `json:",omitempty"` // of a token that was just made
	Provider    string `json:",omitempty"`
	Bound       bool   // the account of the provider signs in here
	Onward      string `json:",omitempty"` // to the provider
	Sessions    []sessionLine
}

type passkeyLine struct {
	Number      int
	Name        string
	Added, Used when
}

// A scopeLine is what a token with a scope may do for who.
type scopeLine struct{ Name, May string }

type tokenLine struct {
	ID            int64
	Name, Scopes  string
	Expires, Used when
	Over          bool
}

type sessionLine struct {
	ID, From, With string
	Began, Seen    when
	This           bool
}

func (p *Pages) me(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showMe(w, r, who, nil, nil)
}

// again shows the page with what was wrong.
func (p *Pages) meAgain(w http.ResponseWriter, r *http.Request, who *access.Principal) func(*access.Error) error {
	return func(wrong *access.Error) error { return p.showMe(w, r, who, wrong, nil) }
}

func (p *Pages) showMe(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error, change func(*mePage)) error {
	ctx := r.Context()
	page := &mePage{
		frame: p.framed(r, who, "Your account"), Login: who.Person.Login, Name: who.Person.Name, Roles: roleWords(who.Person), Clinical: who.Person.Clinical,
		Password: who.Person.Hash != "", Least: access.MinPassword, CanPasskeys: p.Access.HasPasskeys(), Provider: p.Access.ProviderName(), Bound: who.Person.Subject != "",
	}
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	keys, err := p.Access.Passkeys(who)
	if err != nil {
		return err
	}
	for i, k := range keys {
		page.Passkeys = append(page.Passkeys, passkeyLine{i, k.Name, p.when(k.Added), p.when(k.Used)})
	}
	for _, s := range access.Scopes() {
		var may []string
		for n, g := range access.Permissions {
			if g.Scope == s && access.Permission(n) > access.Oneself && who.Roles.May(access.Permission(n)) {
				may = append(may, g.Name)
			}
		}
		if may != nil {
			page.Scopes = append(page.Scopes, scopeLine{s, strings.Join(may, ", ")})
		}
	}
	tokens, err := p.Store.Tokens(ctx, who.Person.ID)
	if err != nil {
		return err
	}
	page.Tokens = p.tokenLines(tokens)
	sessions, err := p.Access.Sessions(ctx, who)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		page.Sessions = append(page.Sessions, sessionLine{s.ID, s.From, browser(s.With), p.when(s.Began), p.when(s.Seen), s.This})
	}
	if change != nil {
		change(page)
	}
	w.Header().Set("Cache-Control", "no-store")
	return p.show(w, r, "me", page)
}

// browser is what people call what a browser says that it is; what it says of itself
// when that is nothing they would know.
func browser(agent string) string {
	find := func(list ...string) string {
		for i := 0; i < len(list); i += 2 {
			if strings.Contains(agent, list[i]) {
				return list[i+1]
			}
		}
		return ""
	}
	name := find("Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari") // each says the later ones, too
	system := find("Windows", "Windows", "Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Mac OS X", "macOS", "CrOS", "ChromeOS", "Linux", "Linux")
	if name == "" || system == "" {
		return agent
	}
	return name + " on " + system
}

func (p *Pages) tokenLines(tokens []store.Token) (out []tokenLine) {
	for _, t := range tokens {
		out = append(out, tokenLine{t.ID, t.Name, strings.Join(t.Scopes, ", "), p.when(t.Expires), p.when(t.Used), t.Expires <= p.Now().UnixNano()})
	}
	return out
}

func roleWords(person *store.Person) (out []string) {
	for i, name := range access.Names() {
		if person.Roles&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func (p *Pages) setPassword(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	err := p.Access.SetPassword(r, who, r.PostFormValue("old"), r.PostFormValue("password"))
	return p.answer(w, r, err, "Your password is set. Wherever else you were signed in, you are not any more.", "/me", p.meAgain(w, r, who))
}

func (p *Pages) askPasskey(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	asked, err := p.Access.AskPasskey(r.Context(), who)
	if err != nil {
		return err
	}
	return asks(w, asked)
}

func (p *Pages) addPasskey(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	err := p.Access.AddPasskey(r.Context(), who, r.PostFormValue("name"), []byte(r.PostFormValue("answer")))
	return p.answer(w, r, err, "The passkey is added.", "/me", p.meAgain(w, r, who))
}

func (p *Pages) removePasskey(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	n, err := strconv.Atoi(r.PostFormValue("number"))
	if err != nil {
		return store.ErrNotFound
	}
	err = p.Access.RemovePasskey(r.Context(), who, n, r.PostFormValue("name"))
	return p.answer(w, r, err, "The passkey is removed.", "/me", p.meAgain(w, r, who))
}

// addToken shows the secret in its answer: it is kept nowhere, and cannot be asked for again.
func (p *Pages) addToken(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	days, _ := strconv.Atoi(r.PostFormValue("days"))
	life := time.Duration(min(max(days, 0), 10_000)) * 24 * time.Hour
	err := p.Access.Fresh(r.Context())
	secret := ""
	if err == nil {
		secret, err = p.Access.AddToken(r.Context(), who, r.PostFormValue("name"), r.PostForm["scope"], life)
	}
	if err != nil {
		return p.answer(w, r, err, "", "/me", p.meAgain(w, r, who))
	}
	return p.showMe(w, r, who, nil, func(page *mePage) { page.Secret = secret })
}

func (p *Pages) removeToken(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	id, _ := strconv.ParseInt(r.PostFormValue("id"), 10, 64)
	err := p.Access.RemoveToken(r.Context(), who, id)
	return p.answer(w, r, err, "The token is removed: the program that has it is nobody now.", "/me", p.meAgain(w, r, who))
}

func (p *Pages) endSession(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	err := p.Access.EndSession(r.Context(), who, r.PostFormValue("id"))
	return p.answer(w, r, err, "That session has ended.", "/me", p.meAgain(w, r, who))
}

// bindProvider asks the provider for whom it knows, and shows the way there: an
// answer that sends the browser on would not be let through by a policy for forms.
func (p *Pages) bindProvider(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	at, err := p.Access.AskProvider(r, "/me", true)
	if err != nil {
		return p.answer(w, r, err, "", "/me", p.meAgain(w, r, who))
	}
	return p.showMe(w, r, who, nil, func(page *mePage) { page.Onward = at })
}
