// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) signRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /sign-in", Needs: access.Anyone, Handle: p.signInForm},
		{Pattern: "POST /sign-in", Needs: access.Anyone, Handle: p.signIn},
		{Pattern: "POST /sign-in/passkey/ask", Needs: access.Anyone, Handle: p.askSignIn},
		{Pattern: "POST /sign-in/passkey", Needs: access.Anyone, Handle: p.passkeySignIn},
		{Pattern: "GET /sign-in/provider", Needs: access.Anyone, Handle: p.askProvider},
		{Pattern: "GET /sign-in/provider/back", Needs: access.Anyone, Handle: p.providerAnswered},
		{Pattern: "POST /sign-out", Needs: access.Oneself, Handle: p.signOut},
		{Pattern: "GET /set-up/{secret}", Needs: access.Anyone, Handle: p.setUpForm},
		{Pattern: "POST /set-up/{secret}", Needs: access.Anyone, Handle: p.setUp},
		{Pattern: "GET /password/{id}/{secret}", Needs: access.Anyone, Handle: p.linkForm},
		{Pattern: "POST /password/{id}/{secret}", Needs: access.Anyone, Handle: p.useLink},
	}
}

// signPage asks who somebody is.
type signPage struct {
	frame       `json:"-"`
	To          string // path to go on to
	Wrong       string
	Login, Name string
	Least       int // characters of a password
	Passkeys    bool
	Provider    string // what it is called, or ""
}

// answer answers a form: again shows it with what was wrong, or the browser goes on
// to a path, where said is said.
func (p *Pages) answer(w http.ResponseWriter, r *http.Request, err error, said, to string, again func(*access.Error) error) error {
	var wrong *access.Error
	switch {
	case errors.As(err, &wrong):
		if wrong.After > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wrong.After.Seconds())+1))
		}
		return again(wrong)
	case err != nil:
		return err
	}
	if said != "" {
		p.Access.Say(r.Context(), said, "")
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (p *Pages) signInForm(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showSignIn(w, r, who, nil)
}

func (p *Pages) showSignIn(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error) error {
	page := &signPage{frame: p.framed(r, who, "Sign in"), To: inside(r.FormValue("to")), Passkeys: p.Access.HasPasskeys(), Provider: p.Access.ProviderName()}
	if wrong != nil {
		page.Wrong, page.status, page.Login = wrong.Text, wrong.Status, r.PostFormValue("login")
	}
	return p.show(w, r, "sign-in", page)
}

func (p *Pages) signIn(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	err := p.Access.SignIn(r, r.PostFormValue("login"), r.PostFormValue("password"))
	return p.answer(w, r, err, "", inside(r.FormValue("to")), func(wrong *access.Error) error { return p.showSignIn(w, r, who, wrong) })
}

func (p *Pages) askSignIn(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
	asked, err := p.Access.AskSignIn(r)
	if err != nil {
		return err
	}
	return asks(w, asked)
}

// asks answers what a browser asks an authenticator.
func asks(w http.ResponseWriter, asked any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	return json.NewEncoder(w).Encode(asked)
}

func (p *Pages) passkeySignIn(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	err := p.Access.PasskeySignIn(r, []byte(r.PostFormValue("answer")))
	return p.answer(w, r, err, "", inside(r.FormValue("to")), func(wrong *access.Error) error { return p.showSignIn(w, r, who, wrong) })
}

func (p *Pages) askProvider(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	at, err := p.Access.AskProvider(r, inside(r.FormValue("to")), false)
	return p.answer(w, r, err, "", at, func(wrong *access.Error) error { return p.showSignIn(w, r, who, wrong) })
}

func (p *Pages) providerAnswered(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	to, err := p.Access.ProviderAnswered(r, who)
	return p.answer(w, r, err, "", to, func(wrong *access.Error) error { return p.showSignIn(w, r, who, wrong) })
}

// inside is a path of this server, whatever somebody put into a link: "/" of what is
// none. Browsers take "\" for "/", and leave out tabs and ends of lines.
func inside(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "\\") {
		return "/"
	}
	return to
}

func (p *Pages) signOut(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if err := p.Access.SignOut(r.Context(), who); err != nil {
		return err
	}
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	return nil
}

func (p *Pages) setUpForm(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if ok, err := p.Access.Valid(r.Context(), r.PathValue("secret")); err != nil {
		return err
	} else if !ok {
		return store.ErrNotFound
	}
	return p.show(w, r, "set-up", &signPage{frame: p.framed(r, who, "Set up"), Least: access.MinPassword})
}

func (p *Pages) setUp(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	first := &store.Person{Login: r.PostFormValue("login"), Name: r.PostFormValue("name")}
	err := p.Access.First(r, r.PathValue("secret"), first, r.PostFormValue("password"))
	return p.answer(w, r, err, "", "/", func(wrong *access.Error) error {
		page := &signPage{frame: p.framed(r, who, "Set up"), Wrong: wrong.Text, Login: r.PostFormValue("login"), Name: r.PostFormValue("name"), Least: access.MinPassword}
		page.status = wrong.Status
		return p.show(w, r, "set-up", page)
	})
}

func (p *Pages) linkForm(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showLink(w, r, who, nil)
}

func (p *Pages) showLink(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error) error {
	person, err := p.Access.Linked(r.Context(), number(r, "id"), r.PathValue("secret"))
	if err != nil {
		return err
	}
	page := &signPage{frame: p.framed(r, who, "Set your password"), Login: person.Login, Name: person.Name, Least: access.MinPassword}
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	return p.show(w, r, "password", page)
}

func (p *Pages) useLink(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	err := p.Access.UseLink(r, number(r, "id"), r.PathValue("secret"), r.PostFormValue("password"))
	return p.answer(w, r, err, "", "/", func(wrong *access.Error) error { return p.showLink(w, r, who, wrong) })
}

// number is a number of a path; 0, which nothing has, when it is none.
func number(r *http.Request, name string) int64 {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
