// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"net/http"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) signRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /sign-in", Needs: access.Anyone, Handle: p.signInForm},
		{Pattern: "POST /sign-in", Needs: access.Anyone, Handle: p.signIn},
		{Pattern: "POST /sign-out", Needs: access.SignedIn, Handle: p.signOut},
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
	var wrong *access.SignInError
	switch {
	case errors.As(err, &wrong):
		w.WriteHeader(http.StatusForbidden)
		return p.show(w, r, "sign-in", &signPage{frame: p.framed(r, who, "Sign in"), To: to, Wrong: wrong.Text, Login: r.FormValue("login")})
	case err != nil:
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// inside is a path of this server, whatever somebody put into a link.
func inside(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n") {
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
	first := &store.Person{Login: strings.TrimSpace(r.FormValue("login")), Name: strings.TrimSpace(r.FormValue("name"))}
	var err error
	if first.Login == "" || first.Name == "" {
		err = &access.SignInError{Text: "A login and a name are needed."}
	} else {
		err = p.Access.First(r.Context(), r.PathValue("secret"), first, r.FormValue("password"))
	}
	var wrong *access.SignInError
	switch {
	case errors.As(err, &wrong):
		w.WriteHeader(http.StatusUnprocessableEntity)
		return p.show(w, r, "set-up", &signPage{frame: p.framed(r, who, "Set up"), Wrong: wrong.Text, Login: first.Login, Name: first.Name, Least: access.MinPassword})
	case err != nil:
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
