// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/store"
)

// An OIDC is a provider of identities: OpenID Connect Core 1.0, authorization code
// flow (section 3.1) with PKCE (RFC 7636), state and nonce.
type OIDC struct {
	Name     string                                // on the page where people sign in: "St. Ada account"
	Issuer   string                                // https, or http on loopback
	ClientID string                                // with Config.URL + "/sign-in/provider/back" as redirect URI
	Secret   func(context.Context) ([]byte, error) // nil: a public client
	Scopes   []string                              // beside "openid profile"
	Claim    string                                // of the ID token, with what Roles maps: "groups"
	Roles    map[string][]string                   // of a value of Claim: names of roles; "prescriber", "pharmacist" and "nurse" are clinicians
}

const (
	providerWait  = 10 * time.Second
	providerBytes = 1 << 20
	maxSubject    = 255 // OpenID Connect Core section 2
)

type provider struct {
	*OIDC
	cfg    *Config
	client *http.Client
	roles  map[string]store.Person // roles and what clinician of a value of the claim

	mu    sync.Mutex
	known *oidc.Provider
}

var errProvider = &Error{Status: http.StatusForbidden, Text: "The provider of identities did not say who you are. Try again."}

// newProvider returns nil when there is none.
func newProvider(c *Config) (*provider, error) {
	if c.OIDC == nil {
		return nil, nil
	}
	p := &provider{OIDC: c.OIDC, cfg: c, roles: map[string]store.Person{}}
	u, err := url.Parse(p.Issuer)
	switch {
	case err != nil:
		return nil, err
	case c.URL == "":
		return nil, errors.New("oidc: the configuration has no url, where the provider sends people back to")
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost"):
		return nil, fmt.Errorf("oidc: issuer %s is not https", p.Issuer)
	}
	for value, names := range p.Roles {
		var to store.Person
		for _, name := range names {
			role, ok := ParseRole(name)
			switch {
			case slices.Contains(Clinical(), name):
				role, to.Clinical = Clinician, name
			case !ok || role == Clinician || role == Manufacturer:
				return nil, fmt.Errorf("oidc: no role %q can be given to %q: a clinician is prescriber, pharmacist or nurse, and a manufacturer is a local account", name, value)
			}
			to.Roles |= uint32(role)
		}
		if err := fit(&to); err != nil {
			return nil, fmt.Errorf("oidc: roles of %q: %w", value, err)
		}
		p.roles[value] = to
	}
	p.client = &http.Client{Timeout: providerWait, Transport: bounded{}}
	return p, nil
}

// bounded reads no more of an answer than it may be long.
type bounded struct{}

func (bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		a.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(a.Body, providerBytes), a.Body}
	}
	return a, err
}

// ProviderName is what the page says where people sign in; "" is that there is no provider.
func (a *Access) ProviderName() string {
	if a.oidc == nil {
		return ""
	}
	return a.oidc.Name
}

// discover asks the provider what it is, until it has answered once.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		// Its keys are fetched later, with this context: not with that of one request.
		known, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.client), p.Issuer)
		if err != nil {
			return nil, nil, err
		}
		p.known = known
	}
	c := &oauth2.Config{
		ClientID: p.ClientID, Endpoint: p.known.Endpoint(), RedirectURL: strings.TrimSuffix(p.cfg.URL, "/") + "/sign-in/provider/back",
		Scopes: append([]string{oidc.ScopeOpenID, "profile"}, p.Scopes...),
	}
	if p.Secret != nil {
		b, err := p.Secret(ctx)
		if err != nil {
			return nil, nil, err
		}
		c.ClientSecret = string(b)
	}
	return p.known, c, nil
}

// providerAsked is what the answer has to fit to.
type providerAsked struct {
	State, Nonce, Verifier string
	To                     string // path to go on to
	Bind                   bool   // to who is signed in
}

// AskProvider returns where the provider says who somebody is. bind is that of
// somebody who is signed in, to whom the answer shall belong from then on.
func (a *Access) AskProvider(r *http.Request, to string, bind bool) (string, error) {
	if a.oidc == nil {
		return "", store.ErrNotFound
	}
	ctx := r.Context()
	if bind {
		if err := a.Fresh(ctx); err != nil {
			return "", err
		}
	} else if _, err := a.try("from "+from(r), ""); err != nil {
		return "", err
	}
	_, c, err := a.oidc.discover(ctx)
	if err != nil {
		a.cfg.Log.Error("the provider of identities cannot be reached", "err", err)
		return "", &Error{Status: http.StatusBadGateway, Text: "The provider of identities cannot be reached. Try again, or sign in with a password."}
	}
	asked := providerAsked{secret(linkSecret), secret(linkSecret), oauth2.GenerateVerifier(), to, bind}
	if err := a.ask(ctx, asked); err != nil {
		return "", err
	}
	return c.AuthCodeURL(asked.State, oidc.Nonce(asked.Nonce), oauth2.S256ChallengeOption(asked.Verifier)), nil
}

// said is what an ID token says of somebody.
type said struct {
	subject, login, name string
	values               []string // of the claim
}

// ProviderAnswered begins a session for whoever the provider sent back, or binds what
// it says to who is signed in. It returns the path to go on to.
func (a *Access) ProviderAnswered(r *http.Request, who *Principal) (string, error) {
	ctx := r.Context()
	var asked providerAsked
	if a.oidc == nil || !a.asked(ctx, &asked) {
		return "", errProvider
	}
	s, err := a.oidc.said(ctx, r.URL.Query(), &asked)
	if err != nil {
		a.cfg.Log.Warn("the provider of identities signed nobody in", "err", err)
		return "", a.failed("", "oidc", errProvider)
	}
	if asked.Bind {
		return asked.To, a.bind(ctx, who, s)
	}
	p, err := a.provided(ctx, s)
	if err != nil {
		return "", err
	}
	a.tries.back("from " + from(r))
	return asked.To, a.Begin(r, p, "oidc")
}

// said asks the provider for what it has to say, and believes none of it before all fits.
func (p *provider) said(ctx context.Context, answer url.Values, asked *providerAsked) (*said, error) {
	if subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(asked.State)) != 1 {
		return nil, errors.New("another state")
	}
	if iss := answer.Get("iss"); iss != "" && iss != p.Issuer { // RFC 9207 section 2.4
		return nil, errors.New("another issuer")
	}
	if answer.Has("error") || answer.Get("code") == "" {
		return nil, fmt.Errorf("no code: %.64q", answer.Get("error"))
	}
	known, c, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	t, err := c.Exchange(oidc.ClientContext(ctx, p.client), answer.Get("code"), oauth2.VerifierOption(asked.Verifier))
	if err != nil {
		var no *oauth2.RetrieveError
		if errors.As(err, &no) { // its text has the provider's answer
			return nil, fmt.Errorf("no token: %d %.64q", no.Response.StatusCode, no.ErrorCode)
		}
		return nil, err
	}
	raw, _ := t.Extra("id_token").(string)
	id, err := known.Verifier(&oidc.Config{ClientID: p.ClientID, Now: p.cfg.Now}).Verify(oidc.ClientContext(ctx, p.client), raw)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(asked.Nonce)) != 1 {
		return nil, errors.New("another nonce")
	}
	if id.Subject == "" || len(id.Subject) > maxSubject {
		return nil, errors.New("no subject")
	}
	var all map[string]any
	if err := id.Claims(&all); err != nil {
		return nil, err
	}
	s := &said{subject: id.Issuer + " " + id.Subject}
	s.login, _ = all["preferred_username"].(string)
	s.name, _ = all["name"].(string)
	switch v := all[p.Claim].(type) {
	case string:
		s.values = []string{v}
	case []any:
		for _, e := range v {
			if e, ok := e.(string); ok {
				s.values = append(s.values, e)
			}
		}
	}
	return s, nil
}

// roled gives a person the roles that the provider's values map to, and no others.
func (p *provider) roled(to *store.Person, values []string) error {
	to.Roles, to.Clinical = 0, ""
	for _, v := range values {
		of, ok := p.roles[v]
		if !ok {
			continue
		}
		to.Roles |= of.Roles
		if of.Clinical != "" && to.Clinical != "" && of.Clinical != to.Clinical {
			return wrong("The provider of identities says that you are " + to.Clinical + " and " + of.Clinical + ". Ask who manages it.")
		}
		to.Clinical = cmp.Or(to.Clinical, of.Clinical)
	}
	return fit(to)
}

var errNoRole = &Error{Status: http.StatusForbidden, Text: "The provider of identities knows you, but none of your groups has a role here. Ask an administrator."}

// provided is the person that the provider spoke of, made at its first time. Its
// roles are those that the provider says today, unless it is a local account.
func (a *Access) provided(ctx context.Context, s *said) (*store.Person, error) {
	p, err := a.cfg.Store.PersonOfSubject(ctx, s.subject)
	if errors.Is(err, store.ErrNotFound) {
		p, err = &store.Person{Login: s.login, Name: s.name, Subject: s.subject, Provided: true, Added: a.cfg.Now().UnixNano()}, nil
		if p.Name == "" {
			p.Name = p.Login
		}
		if err := named(p); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if p.Disabled {
		return nil, a.failed(p.Login, "oidc", errNoRole)
	}
	if !p.Provided {
		return p, nil
	}
	before := *p
	if err := a.oidc.roled(p, s.values); err != nil {
		return nil, err
	}
	if p.ID != 0 && p.Roles == before.Roles && p.Clinical == before.Clinical {
		return p, none(p)
	}
	if p.ID == 0 && p.Roles == 0 {
		return nil, errNoRole // nothing is kept of who has no business here
	}
	err = a.save(ctx, p)
	if errors.Is(err, store.ErrConflict) {
		return nil, &Error{Status: http.StatusConflict, Text: "Somebody here has your login. If it is you, sign in with the password and bind the accounts on your own page."}
	}
	if err != nil {
		return nil, err
	}
	if err := a.Acted(p.Login, "roles by provider", p.Login, roleText(&before)+" -> "+roleText(p), 0, event.Succeeded); err != nil {
		return nil, err
	}
	return p, none(p)
}

func none(p *store.Person) error {
	if p.Roles == 0 {
		return errNoRole
	}
	return nil
}

// bind lets the provider's account sign in as who is signed in.
func (a *Access) bind(ctx context.Context, who *Principal, s *said) error {
	if who.Person == nil || who.Token != nil {
		return ErrForbidden
	}
	p := *who.Person
	p.Subject = s.subject
	err := a.cfg.Store.SavePerson(ctx, &p)
	if errors.Is(err, store.ErrConflict) {
		return &Error{Status: http.StatusConflict, Text: "That account is somebody else's here."}
	}
	if err != nil {
		return err
	}
	return a.Acted(p.Login, "bind account", p.Login, "oidc", 0, event.Succeeded)
}
