// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/store"
)

// A Principal is who is behind a request. The zero Principal is not signed in.
type Principal struct {
	Person *store.Person // nil: nobody
	Roles  Role
	Token  *store.Token // a program that acts for the person; nil: the person
}

// May reports whether the principal has a permission, with the scopes of the token, if there is one.
func (who *Principal) May(p Permission) bool {
	switch {
	case p == Anyone:
		return true
	case who == nil || who.Person == nil || p != Oneself && !who.Roles.May(p):
		return false
	case who.Token == nil:
		return true
	}
	scope := Permissions[p].Scope
	for _, s := range who.Token.Scopes {
		if s == scope && scope != "" {
			return true
		}
	}
	return false
}

// Products are those that the principal sees nothing beside, as queries of the store
// take them: nil is all of them, an empty list is none. Whoever is a manufacturer's and
// has no other role sees its own products alone. Each list of devices, findings and
// documents is narrowed by it, and what is shown alone is asked for with [Principal.Sees].
func (who *Principal) Products() []string {
	switch {
	case who == nil || who.Person == nil:
		return []string{}
	case who.Roles&everybody != 0:
		return nil
	}
	return append([]string{}, who.Person.Products...) // never nil
}

// Sees reports whether a product, "maker model", is among those of [Principal.Products].
func (who *Principal) Sees(product string) bool {
	only := who.Products()
	return only == nil || slices.Contains(only, product)
}

// A Handler answers a request of somebody who may have the answer. An error becomes
// a status in one place.
type Handler func(w http.ResponseWriter, r *http.Request, who *Principal) error

// A Route is a row of the table of routes.
type Route struct {
	Pattern string // of http.ServeMux, with its method: "GET /findings/{id}"
	Needs   Permission
	Handle  Handler
	Most    int64 // bytes of a body; 0 is 64 KiB
}

type principalKey struct{}

// With returns a context that knows the principal.
func With(ctx context.Context, v *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, v)
}

// Of returns the principal of a request, never nil.
func Of(ctx context.Context) *Principal {
	if who, ok := ctx.Value(principalKey{}).(*Principal); ok {
		return who
	}
	return &Principal{}
}

// ErrForbidden is what somebody gets who may not have the answer.
var ErrForbidden = errors.New("forbidden")

// An Error is an answer that is no success, in words for who asked.
type Error struct {
	Status int
	Text   string
	After  time.Duration // when to try again; 0 is at once, when something else was changed
}

func (e *Error) Error() string { return e.Text }

// Problem answers programs: what went wrong, as RFC 9457 has it. What is ours is logged,
// and nobody is told more of it.
func Problem(log *slog.Logger) func(w http.ResponseWriter, r *http.Request, err error) {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		status, text := http.StatusInternalServerError, ""
		var said *Error
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &said):
			status, text = said.Status, said.Text
		case errors.As(err, &large):
			status = http.StatusRequestEntityTooLarge
		case errors.Is(err, store.ErrNotFound):
			status = http.StatusNotFound
		case errors.Is(err, ErrForbidden):
			status = http.StatusForbidden
		default:
			log.Error("a request failed", "method", r.Method, "path", r.Pattern, "err", err)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": text})
	}
}

const mostBody = 64 << 10

// Mux is the handler of a table of routes. fail answers what went wrong.
func Mux(routes []Route, fail func(w http.ResponseWriter, r *http.Request, err error)) http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			who := Of(r.Context())
			err := ErrForbidden
			if who.May(route.Needs) {
				if err = form(w, r, &route); err == nil {
					err = route.Handle(w, r, who)
				}
			}
			if err != nil {
				fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fail(w, r, store.ErrNotFound) })
	return mux
}

// form bounds the body of a request, and reads it when it is a form: half of one, or
// one that is none, is not acted on. Of a stranger no form is larger than most are,
// whatever else its route takes: it is read before anybody asks who sent it.
func form(w http.ResponseWriter, r *http.Request, route *Route) error {
	most := cmp.Or(route.Most, mostBody)
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); route.Needs == Anyone && strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		most = min(most, mostBody)
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	err := r.ParseForm()
	var too *http.MaxBytesError
	if err == nil || errors.As(err, &too) {
		return err
	}
	return &Error{Status: http.StatusBadRequest, Text: "The form could not be read."}
}
