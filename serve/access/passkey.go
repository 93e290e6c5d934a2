// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/store"
)

// Passkeys are those of Web Authentication Level 3: discoverable, with user
// verification, so that one of them is who somebody is, without login and password.

// A Passkey is one that a person has.
type Passkey struct {
	Name        string
	Added, Used int64
	Key         webauthn.Credential // not embedded: it reads JSON in its own way
}

type passkeys struct{ *webauthn.WebAuthn }

const (
	maxPasskeys = 20 // of a person
	freshLife   = 15 * time.Minute
)

var (
	errNoPasskeys = &Error{Status: http.StatusNotFound, Text: "This server has no passkeys: its configuration names no URL with a host name."}
	errPasskey    = &Error{Status: http.StatusForbidden, Text: "This passkey is not known here, or it took too long. Try again."}
)

// newPasskeys returns nil when browsers would not have them: an address is no domain.
func newPasskeys(at, site string) (*passkeys, error) {
	if at == "" {
		return nil, nil
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, nil
	}
	limit := webauthn.TimeoutConfig{Enforce: true, Timeout: askLife, TimeoutUVD: askLife}
	w, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: site, RPOrigins: []string{u.Scheme + "://" + u.Host},
		AuthenticatorSelection: protocol.AuthenticatorSelection{UserVerification: protocol.VerificationRequired, ResidentKey: protocol.ResidentKeyRequirementRequired},
		Timeouts:               webauthn.TimeoutsConfig{Login: limit, Registration: limit},
	})
	return &passkeys{w}, err
}

// HasPasskeys reports whether people can use passkeys here.
func (a *Access) HasPasskeys() bool { return a.passkeys != nil }

// user is a person as go-webauthn wants it.
type user struct {
	*store.Person
	keys []Passkey
}

func asUser(p *store.Person) (*user, error) {
	u := &user{Person: p}
	if len(p.Passkeys) == 0 {
		return u, nil
	}
	return u, json.Unmarshal(p.Passkeys, &u.keys)
}

func (u *user) WebAuthnID() []byte          { return binary.BigEndian.AppendUint64(nil, uint64(u.ID)) }
func (u *user) WebAuthnName() string        { return u.Login }
func (u *user) WebAuthnDisplayName() string { return u.Name }
func (u *user) WebAuthnCredentials() []webauthn.Credential {
	out := make([]webauthn.Credential, len(u.keys))
	for i, k := range u.keys {
		out[i] = k.Key
	}
	return out
}

func (u *user) keep(ctx context.Context, s *store.Store) (err error) {
	if u.Passkeys, err = json.Marshal(u.keys); err != nil {
		return err
	}
	return s.SavePerson(ctx, u.Person)
}

// Passkeys lists the own ones.
func (a *Access) Passkeys(who *Principal) ([]Passkey, error) {
	u, err := asUser(who.Person)
	return u.keys, err
}

// Fresh is nil when the session began just now: what lets somebody in later (passkeys,
// tokens, another account) is not for whoever finds an open screen.
func (a *Access) Fresh(ctx context.Context) error {
	if a.cfg.Now().UnixNano()-a.sessions.GetInt64(ctx, keyBegan) > int64(freshLife) {
		return &Error{Status: http.StatusForbidden, Text: "You signed in more than 15 minutes ago. Sign out and in again, then do this: it lets somebody in later."}
	}
	return nil
}

// ask keeps what was asked of somebody until the answer comes.
func (a *Access) ask(ctx context.Context, asked any) error {
	b, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	a.sessions.Put(ctx, keyAsked, b)
	if a.sessions.GetInt64(ctx, keyPerson) == 0 {
		a.sessions.SetDeadline(ctx, a.cfg.Now().Add(askLife))
	}
	return nil
}

// asked takes what was asked: there is one answer to it.
func (a *Access) asked(ctx context.Context, asked any) bool {
	b := a.sessions.PopBytes(ctx, keyAsked)
	return b != nil && json.Unmarshal(b, asked) == nil
}

// AskPasskey begins to add a passkey: what it returns is for the browser, as JSON.
func (a *Access) AskPasskey(ctx context.Context, who *Principal) (*protocol.CredentialCreation, error) {
	if a.passkeys == nil {
		return nil, errNoPasskeys
	}
	if err := a.Fresh(ctx); err != nil {
		return nil, err
	}
	u, err := asUser(who.Person)
	if err != nil {
		return nil, err
	}
	if len(u.keys) >= maxPasskeys {
		return nil, wrong("You have 20 passkeys. Remove one that you do not use.")
	}
	options, asked, err := a.passkeys.BeginRegistration(u, webauthn.WithExclusions(webauthn.Credentials(u.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return nil, err
	}
	return options, a.ask(ctx, asked)
}

// AddPasskey adds the passkey that the browser made.
func (a *Access) AddPasskey(ctx context.Context, who *Principal, name string, answer []byte) error {
	name = strings.Join(strings.Fields(name), " ")
	if name == "" || utf8.RuneCountInString(name) > maxName {
		return wrong("A passkey has a name of 1 to 100 characters: where is it?")
	}
	var asked webauthn.SessionData
	if a.passkeys == nil || !a.asked(ctx, &asked) {
		return errPasskey
	}
	made, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return a.noPasskey(err)
	}
	p, err := a.cfg.Store.PersonOf(ctx, who.Person.ID)
	if err != nil {
		return err
	}
	u, err := asUser(p)
	if err != nil {
		return err
	}
	c, err := a.passkeys.CreateCredential(u, asked, made)
	if err != nil {
		return a.noPasskey(err)
	}
	u.keys = append(u.keys, Passkey{Name: name, Added: a.cfg.Now().UnixNano(), Key: *c})
	if err := u.keep(ctx, a.cfg.Store); err != nil {
		return err
	}
	return a.Acted(p.Login, "add passkey", name, "", 0, event.Succeeded)
}

// noPasskey tells the peer nothing and the log everything.
func (a *Access) noPasskey(err error) error {
	a.cfg.Log.Warn("a passkey was refused", "err", err)
	return errPasskey
}

// RemovePasskey removes an own one, by its number in the list and its name.
func (a *Access) RemovePasskey(ctx context.Context, who *Principal, i int, name string) error {
	u, err := asUser(who.Person)
	if err != nil {
		return err
	}
	if i < 0 || i >= len(u.keys) || u.keys[i].Name != name {
		return store.ErrNotFound
	}
	u.keys = slices.Delete(u.keys, i, i+1)
	if err := u.keep(ctx, a.cfg.Store); err != nil {
		return err
	}
	return a.Acted(u.Login, "remove passkey", name, "", 0, event.Succeeded)
}

// AskSignIn begins to sign somebody in by a passkey: what it returns is for the browser.
func (a *Access) AskSignIn(r *http.Request) (*protocol.CredentialAssertion, error) {
	if a.passkeys == nil {
		return nil, errNoPasskeys
	}
	if _, err := a.try("from "+from(r), ""); err != nil {
		return nil, err
	}
	options, asked, err := a.passkeys.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, err
	}
	return options, a.ask(r.Context(), asked)
}

// PasskeySignIn begins a session for whoever has the passkey that signed the answer.
func (a *Access) PasskeySignIn(r *http.Request, answer []byte) error {
	ctx := r.Context()
	var asked webauthn.SessionData
	if a.passkeys == nil || !a.asked(ctx, &asked) {
		return errPasskey
	}
	signed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return a.failed("", "passkey", a.noPasskey(err))
	}
	var u *user
	c, err := a.passkeys.ValidateDiscoverableLogin(func(_, handle []byte) (webauthn.User, error) {
		if len(handle) != 8 {
			return nil, store.ErrNotFound
		}
		p, err := a.cfg.Store.PersonOf(ctx, int64(binary.BigEndian.Uint64(handle)))
		if err == nil {
			u, err = asUser(p)
		}
		return u, err
	}, asked, signed)
	if err == nil && c.Authenticator.CloneWarning {
		err = errors.New("its counter went back: there are two of it")
	}
	if err == nil && u.Disabled {
		err = errors.New("the person is disabled")
	}
	if err != nil {
		who := ""
		if u != nil {
			who = u.Login
		}
		return a.failed(who, "passkey", a.noPasskey(err))
	}
	a.tries.back("from " + from(r))
	for i := range u.keys {
		if string(u.keys[i].Key.ID) == string(c.ID) {
			u.keys[i].Key, u.keys[i].Used = *c, a.cfg.Now().UnixNano()
		}
	}
	if err := u.keep(ctx, a.cfg.Store); err != nil && !errors.Is(err, store.ErrConflict) { // changed meanwhile: the next use counts
		return err
	}
	return a.Begin(r, u.Person, "passkey")
}
