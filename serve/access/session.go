// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/store"
)

// A Config is what access is given.
type Config struct {
	Store  *store.Store
	Record func(*event.Event) error // into the server's ledger; returns when durable
	Now    func() time.Time         // nil: the machine's clock
	Log    *slog.Logger             // nil: nothing is logged
	Secure bool                     // cookies go over TLS alone: all but a server on loopback
	Site   string                   // the server's name in the ledger
}

// How long a session lasts: a shift, and less when nobody is there.
const (
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour
	setUpLife   = 24 * time.Hour
)

// Access knows who is behind a request.
type Access struct {
	cfg      Config
	sessions *scs.SessionManager
	hashing  chan struct{} // passwords that are being hashed at once

	mu    sync.Mutex
	tries map[string]*rate.Limiter // of passwords, by login and by address
	swept time.Time
}

// New makes what knows it.
func New(c Config) *Access {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := scs.New()
	m.Lifetime, m.IdleTimeout = sessionLife, sessionIdle
	m.Store = sessions{c.Store}
	m.HashTokenInStore = true
	m.Cookie.Name = "myelin"
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteLaxMode
	m.Cookie.Secure = c.Secure
	if c.Secure {
		m.Cookie.Name = "__Host-myelin"
	}
	m.Cookie.Path = "/"
	a := &Access{cfg: c, sessions: m, hashing: make(chan struct{}, 2), tries: map[string]*rate.Limiter{}}
	m.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
		c.Log.Error("a session could not be read", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
	return a
}

// sessions are the store's, as scs wants them.
type sessions struct{ *store.Store }

func (s sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

func (s sessions) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// The keys of a session.
const (
	keyPerson = "person"
	keyBegan  = "began"
	keySaid   = "said"
	keyUndo   = "undo"
	keyTo     = "to"
)

// Identify finds out who is behind a request, by session or bearer token, before next
// has it.
func (a *Access) Identify(next http.Handler) http.Handler {
	return a.sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := a.who(r)
		if err != nil {
			a.cfg.Log.Error("nobody could be identified", "err", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), who)))
	}))
}

func (a *Access) who(r *http.Request) (*Principal, error) {
	ctx := r.Context()
	if secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		sum := sha256.Sum256([]byte(secret))
		t, err := a.cfg.Store.TokenOf(ctx, sum[:])
		if errors.Is(err, store.ErrNotFound) {
			return &Principal{}, nil
		}
		if err != nil {
			return nil, err
		}
		return a.principal(ctx, t.Person, t, 0)
	}
	id := a.sessions.GetInt64(ctx, keyPerson)
	if id == 0 {
		return &Principal{}, nil
	}
	return a.principal(ctx, id, nil, a.sessions.GetInt64(ctx, keyBegan))
}

// principal is a person, with a token or a session that began at a time; nobody when
// the person may not sign in any more.
func (a *Access) principal(ctx context.Context, id int64, t *store.Token, began int64) (*Principal, error) {
	p, err := a.cfg.Store.PersonOf(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &Principal{}, nil
	case err != nil:
		return nil, err
	case p.Disabled, t == nil && began < p.Signed:
		return &Principal{}, nil
	}
	return &Principal{Person: p, Roles: Role(p.Roles), Token: t}, nil
}

// A SignInError says why somebody is not signed in, in words that tell nothing of
// who there is.
type SignInError struct {
	Text  string
	After time.Duration // when to try again; 0 is at once
}

func (e *SignInError) Error() string { return e.Text }

var errWrong = &SignInError{Text: "This login and password do not belong together."}

// SignIn begins a session for whoever has the password. It is slow on purpose, and
// slower for who tries often: five at once for a login or an address, then one in
// ten seconds.
func (a *Access) SignIn(r *http.Request, login, password string) error {
	ctx := r.Context()
	if d := a.slow("login "+login, "from "+host(r)); d > 0 {
		return &SignInError{"There were too many attempts. Wait for a moment.", d}
	}
	p, err := a.cfg.Store.Person(ctx, login)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	hash := ""
	if p != nil {
		hash = p.Hash
	}
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	ok, err := checkPassword(hash, password)
	<-a.hashing
	if err != nil {
		return err
	}
	if !ok || p == nil || hash == "" || p.Disabled {
		who := "" // what was typed may be a password
		if p != nil {
			who = p.Login
		}
		return errors.Join(errWrong, a.Acted(who, "sign-in", "", "password", 0, event.Failed))
	}
	return a.Begin(ctx, p, "password")
}

// Begin begins a session for somebody who has proven who it is.
func (a *Access) Begin(ctx context.Context, p *store.Person, how string) error {
	if err := a.Acted(p.Login, "sign-in", "", how, 0, event.Succeeded); err != nil {
		return err
	}
	if err := a.sessions.RenewToken(ctx); err != nil {
		return err
	}
	a.sessions.Put(ctx, keyPerson, p.ID)
	a.sessions.Put(ctx, keyBegan, a.cfg.Now().UnixNano())
	return nil
}

// SignOut ends the session.
func (a *Access) SignOut(ctx context.Context, who *Principal) error {
	if who.Person != nil {
		if err := a.Acted(who.Person.Login, "sign-out", "", "", 0, event.Succeeded); err != nil {
			return err
		}
	}
	return a.sessions.Destroy(ctx)
}

// Say keeps a sentence for the next page, with the path of what undoes it.
func (a *Access) Say(ctx context.Context, said, undo string) {
	a.sessions.Put(ctx, keySaid, said)
	a.sessions.Put(ctx, keyUndo, undo)
}

// Said takes what was kept.
func (a *Access) Said(ctx context.Context) (said, undo string) {
	return a.sessions.PopString(ctx, keySaid), a.sessions.PopString(ctx, keyUndo)
}

// Acted writes into the ledger what somebody did.
func (a *Access) Acted(who, did, to, why string, count int, outcome event.Result) error {
	e := event.Event{Kind: event.PersonActed, Time: a.cfg.Now().UnixNano(), Device: device.Address{Kind: device.Host, Value: a.cfg.Site}}
	e.Add(event.Text(event.Actor, who), event.Text(event.Operation, did), event.Text(event.Target, to), event.Text(event.Reason, why), event.Int(event.Count, count), event.Int(event.Outcome, outcome))
	return a.cfg.Record(&e)
}

// How often a password may be tried.
const (
	triesAtOnce = 5
	triesEvery  = 10 * time.Second
	maxTries    = 1 << 16 // logins and addresses that are told apart
)

// slow says how long to wait before another attempt; 0 is not at all.
func (a *Access) slow(keys ...string) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.cfg.Now()
	if len(a.tries) >= maxTries || now.Sub(a.swept) > time.Hour {
		a.swept = now
		for k, l := range a.tries {
			if l.TokensAt(now) >= triesAtOnce {
				delete(a.tries, k)
			}
		}
	}
	for _, k := range keys {
		l := a.tries[k]
		if l == nil {
			if len(a.tries) >= maxTries {
				return triesEvery // a flood: everybody waits
			}
			l = rate.NewLimiter(rate.Every(triesEvery), triesAtOnce)
			a.tries[k] = l
		}
		if !l.AllowN(now, 1) {
			wait = triesEvery
		}
	}
	return wait
}

func host(r *http.Request) string {
	h, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return h
}

// setUp is the setting with the hash of the set-up link, and when it expires.
const setUp = "set-up"

// SetUpLink makes the secret of the link by which the first person is made, when
// there is nobody yet; "" when there is somebody. A new one replaces the one before.
func (a *Access) SetUpLink(ctx context.Context) (string, error) {
	if no, err := a.cfg.Store.Nobody(ctx); err != nil || !no {
		return "", err
	}
	b := make([]byte, 18)
	rand.Read(b)
	secret := base64.RawURLEncoding.EncodeToString(b)
	old, err := a.cfg.Store.Setting(ctx, setUp)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(secret))
	value := base64.RawURLEncoding.EncodeToString(sum[:]) + " " + a.cfg.Now().Add(setUpLife).UTC().Format(time.RFC3339)
	return secret, a.cfg.Store.SetSetting(ctx, setUp, old, []byte(value))
}

// Valid reports whether the secret is that of the set-up link, and nobody used it.
func (a *Access) Valid(ctx context.Context, secret string) (bool, error) {
	no, err := a.cfg.Store.Nobody(ctx)
	if err != nil || !no {
		return false, err
	}
	value, err := a.cfg.Store.Setting(ctx, setUp)
	if err != nil {
		return false, err
	}
	hash, until, _ := strings.Cut(string(value), " ")
	end, err := time.Parse(time.RFC3339, until)
	if err != nil || a.cfg.Now().After(end) {
		return false, nil
	}
	sum := sha256.Sum256([]byte(secret))
	return hash == base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// First makes the first person, an administrator, by the secret of the set-up link.
func (a *Access) First(ctx context.Context, secret string, p *store.Person, password string) error {
	if ok, err := a.Valid(ctx, secret); err != nil {
		return err
	} else if !ok {
		return &SignInError{Text: "This link was used or has expired. Restart the server: it prints another."}
	}
	hash, err := HashPassword(password)
	if err != nil {
		return &SignInError{Text: err.Error()}
	}
	value, err := a.cfg.Store.Setting(ctx, setUp)
	if err == nil {
		err = a.cfg.Store.SetSetting(ctx, setUp, value, []byte("used")) // by one alone, also of two at the same time
	}
	if errors.Is(err, store.ErrConflict) {
		return &SignInError{Text: "Somebody else uses this link just now."}
	}
	if err != nil {
		return err
	}
	p.Hash, p.Roles, p.Added = hash, uint32(Administrator), a.cfg.Now().UnixNano()
	if err := a.cfg.Store.SavePerson(ctx, p); err != nil {
		return err
	}
	if err := a.Acted(p.Login, "set-up", p.Login, "first administrator", 0, event.Succeeded); err != nil {
		return err
	}
	return a.Begin(ctx, p, "set-up link")
}
