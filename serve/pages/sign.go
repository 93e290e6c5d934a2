// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
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
		{Pattern: "POST /sign-out", Needs: access.Oneself, Handle: p.signOut},
		{Pattern: "GET /set-up/{secret}", Needs: access.Anyone, Handle: p.setUpForm},
		{Pattern: "POST /set-up/{secret}", Needs: access.Anyone, Handle: p.setUp},
	}
}

// signPage asks who somebody is.
type signPage struct {
	frame       `json:"-"`
	To          string // path to go on to
	Wrong       string
	Login, Name string
	Least       int // characters of a password
}

func (p *Pages) signInForm(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.show(w, r, "sign-in", &signPage{frame: p.framed(r, who, "Sign in"), To: inside(r.FormValue("to"))})
}

func (p *Pages) signIn(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	to := inside(r.FormValue("to"))
	err := p.Access.SignIn(r, strings.TrimSpace(r.FormValue("login")), r.FormValue("password"))
	var wrong *access.Error
	switch {
	case errors.As(err, &wrong):
		refused(w, wrong)
		return p.show(w, r, "sign-in", &signPage{frame: p.framed(r, who, "Sign in"), To: to, Wrong: wrong.Text, Login: r.FormValue("login")})
	case err != nil:
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// inside is a path of this server, whatever somebody put into a link: "/" of what is
// none. Browsers take "\\" for "/", and leave out tabs and ends of lines.
func inside(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "\\") {
		return "/"
	}
	return to
}

// refused begins an answer that shows the form again.
func refused(w http.ResponseWriter, why *access.Error) {
	if why.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(why.After.Seconds())+1))
	}
	w.WriteHeader(why.Status)
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
	first := &store.Person{Login: strings.TrimSpace(r.FormValue("login")), Name: strings.TrimSpace(r.FormValue("name"))}
	err := p.Access.First(r, r.PathValue("secret"), first, r.FormValue("password"))
	var wrong *access.Error
	switch {
	case errors.As(err, &wrong):
		refused(w, wrong)
		return p.show(w, r, "set-up", &signPage{frame: p.framed(r, who, "Set up"), Wrong: wrong.Text, Login: first.Login, Name: first.Name, Least: access.MinPassword})
	case err != nil:
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
