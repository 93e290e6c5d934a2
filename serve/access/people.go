// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/store"
)

// What keeps an administrator from therapy, and what does not. Nobody changes the own
// roles, and nobody is administrator and clinician at once: whoever manages people
// never confirms a command. An administrator can still make a second account, or come
// in as somebody by a one-time link; a second pair of eyes for each would leave a
// hospital with one administrator on duty without new clinicians at night, and two who
// agree could do it all the same. So that is not prevented but seen: each of these is
// in the ledger under the administrator's name, and the person whose password went
// finds out at the next sign-in.

const (
	maxLogin    = 64  // bytes
	maxName     = 100 // characters
	maxProducts = 100
	maxTokens   = 50 // of a person
	maxPeople   = 10_000
	tokenLife   = 366 * 24 * time.Hour
)

func wrong(text string) *Error { return &Error{Status: http.StatusUnprocessableEntity, Text: text} }

// Clinical are what a clinician can be.
func Clinical() []string { return []string{"prescriber", "pharmacist", "nurse"} }

// Login returns a login as it is kept: in small letters, so that no two look alike.
func Login(typed string) (string, error) {
	login := strings.ToLower(strings.TrimSpace(typed))
	if login == "" || len(login) > maxLogin || strings.Trim(login, "abcdefghijklmnopqrstuvwxyz0123456789._@-") != "" {
		return "", wrong("A login has letters from a to z, digits, and . _ @ -, at most 64 of them.")
	}
	return login, nil
}

// named checks and tidies what a person is called.
func named(p *store.Person) (err error) {
	if p.Login, err = Login(p.Login); err != nil {
		return err
	}
	p.Name = strings.Join(strings.Fields(p.Name), " ")
	if p.Name == "" || !utf8.ValidString(p.Name) || utf8.RuneCountInString(p.Name) > maxName || strings.ContainsFunc(p.Name, unicode.IsControl) {
		return wrong("A name has 1 to 100 characters.")
	}
	return nil
}

// fit checks whether roles go together, and what belongs to them.
func fit(p *store.Person) error {
	roles := Role(p.Roles)
	switch {
	case roles>>len(roleNames) != 0:
		return wrong("There is no such role.")
	case roles&Administrator != 0 && roles&Clinician != 0:
		return wrong("Nobody is administrator and clinician: who manages people does not confirm therapy. Make two accounts for two people.")
	case roles&Clinician != 0 && !slices.Contains(Clinical(), p.Clinical):
		return wrong("Say what the clinician is: prescriber, pharmacist or nurse.")
	case roles&Clinician == 0:
		p.Clinical = ""
	}
	var products []string
	for _, m := range p.Products {
		if m = strings.Join(strings.Fields(m), " "); m != "" && !slices.Contains(products, m) {
			products = append(products, m)
		}
	}
	p.Products = products
	switch {
	case len(products) > maxProducts:
		return wrong("At most 100 products can be one manufacturer's here.")
	case roles&Manufacturer != 0 && len(products) == 0:
		return wrong("Say whose products the manufacturer sees: one a line, as maker and model.")
	case roles&Manufacturer == 0:
		p.Products = nil
	}
	return nil
}

// setPassword sets the hash of a person's password.
func (a *Access) setPassword(ctx context.Context, p *store.Person, password string) error {
	return a.hash(ctx, func() error {
		hash, err := HashPassword(password)
		if err != nil {
			return wrong("That cannot be: " + err.Error() + ".")
		}
		p.Hash = hash
		return nil
	})
}

// save keeps a person and ends the sessions that it had.
func (a *Access) save(ctx context.Context, p *store.Person) error {
	p.Signed = max(a.cfg.Now().UnixNano(), p.Signed+1)
	return a.cfg.Store.SavePerson(ctx, p)
}

// AddPerson adds one, and returns the secret of the link by which it sets its password.
func (a *Access) AddPerson(ctx context.Context, who *Principal, p *store.Person) (string, error) {
	if err := errors.Join(named(p), fit(p)); err != nil {
		return "", first(err)
	}
	if n, err := a.cfg.Store.Counts(ctx); err != nil {
		return "", err
	} else if n["people"] >= maxPeople {
		return "", wrong("There are 10,000 people. Let a provider of identities say who they are.")
	}
	p.ID, p.Added = 0, a.cfg.Now().UnixNano()
	link, kept := a.newLink()
	p.Link = kept
	err := a.cfg.Store.SavePerson(ctx, p)
	if errors.Is(err, store.ErrConflict) {
		return "", &Error{Status: http.StatusConflict, Text: "Somebody has the login " + p.Login + "."}
	}
	if err != nil {
		return "", err
	}
	return link, a.Acted(who.Person.Login, "add person", p.Login, roleText(p), 0, event.Succeeded)
}

// first is the first of several errors.
func first(err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return several.Unwrap()[0]
	}
	return err
}

func roleText(p *store.Person) string {
	text := Role(p.Roles).String()
	if p.Clinical != "" {
		text += " (" + p.Clinical + ")"
	}
	return text
}

// ChangePerson changes name, roles and what belongs to them of the person with to's
// number, if it is still at to's version. Other roles end its sessions.
func (a *Access) ChangePerson(ctx context.Context, who *Principal, to *store.Person) error {
	p, err := a.cfg.Store.PersonOf(ctx, to.ID)
	if err != nil {
		return err
	}
	before := *p
	p.Version, p.Name, p.Roles, p.Clinical, p.Products = to.Version, to.Name, to.Roles, to.Clinical, to.Products
	if err := errors.Join(named(p), fit(p)); err != nil {
		return first(err)
	}
	same := p.Roles == before.Roles && p.Clinical == before.Clinical && slices.Equal(p.Products, before.Products)
	switch {
	case !same && p.ID == who.Person.ID:
		return &Error{Status: http.StatusForbidden, Text: "Nobody changes the own roles. Ask another administrator."}
	case !same && p.Provided:
		return &Error{Status: http.StatusForbidden, Text: "The roles of this person come from the provider of identities. Change them there."}
	case same:
		err = a.cfg.Store.SavePerson(ctx, p)
	default:
		err = a.save(ctx, p)
	}
	if err != nil {
		return err
	}
	return a.Acted(who.Person.Login, "change person", p.Login, roleText(&before)+" -> "+roleText(p), 0, event.Succeeded)
}

// other is a person that who changes, who is somebody else.
func (a *Access) other(ctx context.Context, who *Principal, id int64) (*store.Person, error) {
	if id == who.Person.ID {
		return nil, &Error{Status: http.StatusForbidden, Text: "That is you. Ask another administrator, or use your own page."}
	}
	return a.cfg.Store.PersonOf(ctx, id)
}

// Disable ends what a person may do, or lets it sign in again.
func (a *Access) Disable(ctx context.Context, who *Principal, id int64, disabled bool) (*store.Person, error) {
	p, err := a.other(ctx, who, id)
	if err != nil {
		return nil, err
	}
	p.Disabled, p.Link = disabled, ""
	if err := a.save(ctx, p); err != nil {
		return nil, err
	}
	what := "enable person"
	if disabled {
		what = "disable person"
	}
	return p, a.Acted(who.Person.Login, what, p.Login, "", 0, event.Succeeded)
}

// NewLink ends a person's password, passkeys and sessions, and returns the secret of
// the link by which it sets a new password.
func (a *Access) NewLink(ctx context.Context, who *Principal, id int64) (*store.Person, string, error) {
	p, err := a.other(ctx, who, id)
	if err != nil {
		return nil, "", err
	}
	link, err := a.renew(ctx, who.Person.Login, p)
	return p, link, err
}

func (a *Access) renew(ctx context.Context, by string, p *store.Person) (string, error) {
	if p.Provided {
		return "", &Error{Status: http.StatusForbidden, Text: "This person signs in with the provider of identities. Change the password there."}
	}
	link, kept := a.newLink()
	p.Hash, p.Passkeys, p.Link = "", nil, kept
	if err := a.save(ctx, p); err != nil {
		return "", err
	}
	return link, a.Acted(by, "reset password", p.Login, "one-time link", 0, event.Succeeded)
}

// Recover does what [Access.NewLink] does for an administrator whom no other one can
// help: by is who has the server's folder, and with it all that is in it. Everybody
// else is helped by an administrator.
func (a *Access) Recover(ctx context.Context, by, login string) (*store.Person, string, error) {
	login, err := Login(login)
	if err != nil {
		return nil, "", err
	}
	p, err := a.cfg.Store.Person(ctx, login)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, "", &Error{Status: http.StatusNotFound, Text: "Nobody here has the login " + login + "."}
	case err != nil:
		return nil, "", err
	case Role(p.Roles)&Administrator == 0:
		return nil, "", &Error{Status: http.StatusForbidden, Text: login + " is no administrator. An administrator makes a link for everybody else, at Settings, People."}
	case p.Disabled:
		return nil, "", &Error{Status: http.StatusForbidden, Text: login + " is disabled. Another administrator can enable the account, at Settings, People."}
	}
	link, err := a.renew(ctx, by, p)
	return p, link, err
}

// SetPassword changes the own password, and ends the own sessions but this one.
func (a *Access) SetPassword(r *http.Request, who *Principal, old, password string) error {
	ctx := r.Context()
	p, err := a.prove(r, who, old)
	if err != nil {
		return err
	}
	if err := a.setPassword(ctx, p, password); err != nil {
		return err
	}
	if err := a.save(ctx, p); err != nil {
		return err
	}
	if err := a.Acted(p.Login, "set password", p.Login, "", 0, event.Succeeded); err != nil {
		return err
	}
	return a.Begin(r, p, "password")
}

// prove asks for the own password once more, before what somebody at an open
// screen must not do.
func (a *Access) prove(r *http.Request, who *Principal, password string) (*store.Person, error) {
	ctx := r.Context()
	p, err := a.cfg.Store.PersonOf(ctx, who.Person.ID)
	if err != nil {
		return nil, err
	}
	back, err := a.try("from "+from(r), a.tries.login(p.Login, from(r)))
	if err != nil {
		return nil, err
	}
	ok := false
	if err := a.hash(ctx, func() error { ok, err = checkPassword(p.Hash, password); return err }); err != nil {
		return nil, err
	}
	if !ok || p.Hash == "" {
		return nil, a.failed(p.Login, "own password", &Error{Status: http.StatusForbidden, Text: "That is not your password of now."})
	}
	back()
	return p, nil
}

// AddToken makes a token of a program that acts for who, with fewer rights, and
// returns its secret, which nobody can see again.
func (a *Access) AddToken(ctx context.Context, who *Principal, name string, scopes []string, life time.Duration) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	have, err := a.cfg.Store.Tokens(ctx, who.Person.ID)
	switch {
	case err != nil:
		return "", err
	case name == "" || utf8.RuneCountInString(name) > maxName:
		return "", wrong("A token has a name of 1 to 100 characters: which program has it?")
	case len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(Scopes(), s) }):
		return "", wrong("Say what the token may do.")
	case life <= 0 || life > tokenLife:
		return "", wrong("A token lasts at least a day and at most a year.")
	case len(have) >= maxTokens:
		return "", wrong("You have 50 tokens. Remove one that no program uses.")
	}
	s := "myelin_" + secret(32) // known as one by programs that look for secrets
	t := &store.Token{Person: who.Person.ID, Name: name, Hash: sum(s), Scopes: slices.Compact(slices.Sorted(slices.Values(scopes))), Expires: a.cfg.Now().Add(life).UnixNano()}
	if err := a.cfg.Store.AddToken(ctx, t); err != nil {
		return "", err
	}
	return s, a.Acted(who.Person.Login, "add token", name, strings.Join(t.Scopes, " "), 0, event.Succeeded)
}

// RemoveToken ends a token of a person: who's own, or anybody's for who manages people.
func (a *Access) RemoveToken(ctx context.Context, who *Principal, id int64) error {
	list, err := a.cfg.Store.Tokens(ctx, 0)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(t store.Token) bool {
		return t.ID == id && (t.Person == who.Person.ID || who.May(ManagePeople))
	})
	if i < 0 {
		return store.ErrNotFound
	}
	if err := a.cfg.Store.RemoveToken(ctx, id); err != nil {
		return err
	}
	return a.Acted(who.Person.Login, "remove token", list[i].Name, "", 0, event.Succeeded)
}

// A Session is somewhere where somebody is signed in.
type Session struct {
	ID          string // which no cookie has
	Began, Seen int64
	From, With  string // address and browser
	This        bool
}

// Sessions lists the own sessions.
func (a *Access) Sessions(ctx context.Context, who *Principal) ([]Session, error) {
	list, err := a.cfg.Store.Sessions(ctx, who.Person.ID)
	if err != nil {
		return nil, err
	}
	var out []Session
	this, now := a.session(ctx), a.cfg.Now().UnixNano()
	for _, s := range list {
		_, v, err := a.sessions.Codec.Decode(s.Doc)
		if err != nil {
			return nil, err
		}
		n := Session{ID: s.Token, This: s.Token == this}
		signed, _ := v[keySigned].(int64)
		n.Began, _ = v[keyBegan].(int64)
		n.Seen, _ = v[keySeen].(int64)
		n.From, _ = v[keyFrom].(string)
		n.With, _ = v[keyWith].(string)
		if signed == who.Person.Signed && now-n.Seen <= int64(sessionIdle) && now-n.Began <= int64(sessionLife) {
			out = append(out, n)
		}
	}
	return out, nil
}

// EndSession ends one of the own sessions.
func (a *Access) EndSession(ctx context.Context, who *Principal, id string) error {
	list, err := a.cfg.Store.Sessions(ctx, who.Person.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s store.Session) bool { return s.Token == id }) {
		return store.ErrNotFound
	}
	if err := a.cfg.Store.EndSession(ctx, id); err != nil {
		return err
	}
	return a.Acted(who.Person.Login, "end session", who.Person.Login, "", 0, event.Succeeded)
}
