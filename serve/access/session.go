// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

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
	URL    string                   // where browsers find the server, "https://myelin.example"; "" is no passkeys and no OIDC
	OIDC   *OIDC                    // nil: nobody else says who somebody is
}

// How long a session lasts: a shift, and less when nobody is there.
const (
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour
	sessionNote = time.Minute      // how exactly it is known when it was used
	askLife     = 10 * time.Minute // between a question to who is not signed in yet and the answer
)

// Access knows who is behind a request. Its methods may be called from several goroutines.
type Access struct {
	cfg      Config
	sessions *scs.SessionManager
	hashing  chan struct{} // passwords that are being hashed at once
	tries    tries
	passkeys *passkeys // nil: there are none
	oidc     *provider // nil: there is none
}

// New makes what knows it.
func New(c Config) (*Access, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := scs.New()
	m.Lifetime = sessionLife
	m.Store = sessions{c.Store, m.Codec}
	m.HashTokenInStore = true
	m.Cookie.Name = "myelin"
	m.Cookie.HttpOnly = true
	m.Cookie.Persist = false // it ends with the browser: machines of a ward are shared
	m.Cookie.SameSite = http.SameSiteLaxMode
	m.Cookie.Secure = c.Secure
	if c.Secure {
		m.Cookie.Name = "__Host-myelin"
	}
	m.Cookie.Path = "/"
	m.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
		c.Log.Error("a session could not be read or kept", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
	a := &Access{cfg: c, sessions: m, hashing: make(chan struct{}, 2), tries: tries{seed: maphash.MakeSeed()}}
	var err error
	if a.passkeys, err = newPasskeys(c.URL, c.Site); err != nil {
		return nil, err
	}
	a.oidc, err = newProvider(&a.cfg)
	return a, err
}

// sessions are the store's, as scs wants them, which hashes the token.
type sessions struct {
	store *store.Store
	codec scs.Codec
}

func (s sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	return s.store.FindSession(ctx, token)
}

func (s sessions) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	_, values, err := s.codec.Decode(b)
	if err != nil {
		return err
	}
	person, _ := values[keyPerson].(int64)
	return s.store.KeepSession(ctx, token, person, b, expiry)
}

func (s sessions) DeleteCtx(ctx context.Context, token string) error {
	return s.store.EndSession(ctx, token)
}

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
	keySigned = "signed" // of the person, when it began
	keyBegan  = "began"
	keySeen   = "seen"
	keyFrom   = "from"
	keyWith   = "with"
	keySaid   = "said"
	keyUndo   = "undo"
	keyAsked  = "asked" // what was asked: of a passkey, of a provider
)

// Identify finds out who is behind a request, by session or bearer token, before next
// has it. It refuses what another site's page makes a browser send.
func (a *Access) Identify(next http.Handler) http.Handler {
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "This was sent by a page of another site. Nothing was changed.", http.StatusForbidden)
	}))
	return own.Handler(a.sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := a.who(r)
		if err != nil {
			a.cfg.Log.Error("nobody could be identified", "err", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), who)))
	})))
}

func (a *Access) who(r *http.Request) (*Principal, error) {
	ctx := r.Context()
	if scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		t, err := a.cfg.Store.TokenOf(ctx, sum(secret)) // or nobody: never the session beside it
		if errors.Is(err, store.ErrNotFound) {
			return &Principal{}, nil
		}
		if err != nil {
			return nil, err
		}
		who, err := a.person(ctx, t.Person)
		if err == nil && who.Person != nil {
			who.Token = t
		}
		return who, err
	}
	id := a.sessions.GetInt64(ctx, keyPerson)
	if id == 0 {
		return &Principal{}, nil
	}
	who, err := a.person(ctx, id)
	if err != nil {
		return nil, err
	}
	now, seen := a.cfg.Now().UnixNano(), a.sessions.GetInt64(ctx, keySeen)
	if who.Person == nil || a.sessions.GetInt64(ctx, keySigned) != who.Person.Signed ||
		now-a.sessions.GetInt64(ctx, keyBegan) > int64(sessionLife) || now-seen > int64(sessionIdle) {
		return &Principal{}, a.sessions.Destroy(ctx)
	}
	if now-seen >= int64(sessionNote) && !unattended(r) { // not a write for each page
		a.sessions.Put(ctx, keySeen, now)
	}
	return who, nil
}

// Unattended is the header of a request that a page makes by itself: nobody has to be
// there for it, so it does not keep a session from ending.
const Unattended = "Myelin-Unattended"

func unattended(r *http.Request) bool {
	return r.Header.Get(Unattended) != "" || r.Header.Get("Accept") == "text/event-stream" // a browser's EventSource
}

// person is a person of a number; nobody when there is none or it may not sign in.
func (a *Access) person(ctx context.Context, id int64) (*Principal, error) {
	p, err := a.cfg.Store.PersonOf(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &Principal{}, nil
	case err != nil:
		return nil, err
	case p.Disabled:
		return &Principal{}, nil
	}
	return &Principal{Person: p, Roles: Role(p.Roles)}, nil
}

// Still reports whether who is still signed in, for answers that last: a stream asks
// before each thing that it says, at most once a second.
func (a *Access) Still(ctx context.Context, who *Principal) (bool, error) {
	if who.Person == nil {
		return false, nil
	}
	now, err := a.person(ctx, who.Person.ID)
	if err != nil || now.Person == nil || now.Person.Signed != who.Person.Signed {
		return false, err
	}
	if who.Token != nil {
		t, err := a.cfg.Store.TokenOf(ctx, who.Token.Hash)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return t != nil, err
	}
	_, ok, err := a.cfg.Store.FindSession(ctx, a.session(ctx))
	return ok, err
}

// session is how the store calls the session of a request.
func (a *Access) session(ctx context.Context) string {
	return base64.RawURLEncoding.EncodeToString(sum(a.sessions.Token(ctx)))
}

func sum(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

var errWrong = &Error{Status: http.StatusForbidden, Text: "This login and password do not belong together."}

// SignIn begins a session for whoever has the password. It is slow on purpose, and
// slower for who fails often: see [triesEvery]. What it refuses is an [Error] that
// tells nothing of who there is.
func (a *Access) SignIn(r *http.Request, login, password string) error {
	ctx := r.Context()
	login, _ = Login(login) // "" is nobody's
	back, err := a.try("from "+from(r), a.tries.login(login, from(r)))
	if err != nil {
		return err
	}
	p, err := a.cfg.Store.Person(ctx, login)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	hash := ""
	if p != nil {
		hash = p.Hash
	}
	ok := false
	if err := a.hash(ctx, func() error { ok, err = checkPassword(hash, password); return err }); err != nil {
		return err
	}
	if !ok || p == nil || hash == "" || p.Disabled {
		who := "" // what was typed may be a password
		if p != nil {
			who = p.Login
		}
		return a.failed(who, "password", errWrong)
	}
	back()
	a.tries.meet(login, from(r))
	return a.Begin(r, p, "password")
}

// failed notes that somebody did not get in, "" for whom nobody knows, and returns why.
func (a *Access) failed(who, how string, why error) error {
	if err := a.Acted(who, "sign-in", "", how, 0, event.Failed); err != nil {
		return err
	}
	return why
}

// hash does what costs a core and 19 MiB, for a few at once.
func (a *Access) hash(ctx context.Context, f func() error) error {
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.hashing }()
	return f()
}

// Begin begins a session for somebody who has proven who it is. The cookie of before
// is worth nothing any more.
func (a *Access) Begin(r *http.Request, p *store.Person, how string) error {
	ctx := r.Context()
	if err := a.Acted(p.Login, "sign-in", "", how, 0, event.Succeeded); err != nil {
		return err
	}
	if err := a.sessions.RenewToken(ctx); err != nil {
		return err
	}
	now := a.cfg.Now().UnixNano()
	for key, v := range map[string]any{
		keyPerson: p.ID, keySigned: p.Signed, keyBegan: now, keySeen: now,
		keyFrom: from(r), keyWith: cut(r.UserAgent(), 160),
	} {
		a.sessions.Put(ctx, key, v)
	}
	return nil
}

func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(n, len(s))], "") }

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

// Act does something that changes what is kept. That somebody is about to do it is in
// the ledger before, with an unknown outcome, and what came of it after: if the server
// ends in between, nothing was done of which there is no entry. What the ledger does not
// take is not done. do returns how many it changed.
func (a *Access) Act(who, did, to, why string, do func() (count int, err error)) error {
	if err := a.Acted(who, did, to, why, 0, event.Unknown); err != nil {
		return err
	}
	n, err := do()
	outcome := event.Succeeded
	if err != nil {
		n, outcome = 0, event.Failed
	}
	if kept := a.Acted(who, did, to, why, n, outcome); kept != nil {
		return errors.Join(err, kept)
	}
	return err
}

// How often somebody may fail to sign in. Who succeeds has not tried: a ward behind one
// address is not slowed by its own people.
const (
	triesLogin = 5  // at once, of a login
	triesFrom  = 20 // at once, from an address: of IPv6 from its 64 bits
	triesEvery = 10 * time.Second
)

// tries count who failed to sign in. A login or an address has a counter by a hash
// that nobody outside can foresee: a flood of them takes no memory, and makes others
// wait iff it is of more than one a counter in ten seconds.
//
// Who fails for somebody else's login on purpose must not keep that person out of a
// ward at night: a login has a counter of its own for an address that it signed in
// from. The newest of these are remembered.
type tries struct {
	mu    sync.Mutex
	seed  maphash.Seed
	empty [1 << 14]int64  // when each has forgotten all
	met   [1 << 12]uint64 // hashes of a login and an address, at a place that follows from each
}

// login is the key of a login's counter.
func (t *tries) login(login, from string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.pair(login, from); t.met[h%uint64(len(t.met))] == h {
		return "login " + login + " from " + from
	}
	return "login " + login
}

// meet remembers that a login signed in from an address.
func (t *tries) meet(login, from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.pair(login, from)
	t.met[h%uint64(len(t.met))] = h
}

func (t *tries) pair(login, from string) uint64 { return maphash.String(t.seed, login+" from "+from) }

// take counts one for a key that may have n, or says how long to wait for that.
func (t *tries) take(key string, n, now int64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counter(key)
	at := min(max(*c, now), now+n*int64(triesEvery)) // also of a clock that was set back
	if wait := at - now - (n-1)*int64(triesEvery); wait > 0 {
		return time.Duration(wait)
	}
	*c = at + int64(triesEvery)
	return 0
}

func (t *tries) back(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.counter(key) -= int64(triesEvery)
}

func (t *tries) counter(key string) *int64 {
	return &t.empty[maphash.String(t.seed, key)%uint64(len(t.empty))]
}

// try counts an attempt from an address, and of a login unless it is "". back takes
// it back: it was none.
func (a *Access) try(from, login string) (back func(), err error) {
	now := a.cfg.Now().UnixNano()
	wait := a.tries.take(from, triesFrom, now)
	if wait == 0 && login != "" {
		wait = a.tries.take(login, triesLogin, now)
	}
	if wait > 0 {
		return nil, &Error{http.StatusTooManyRequests, "There were too many attempts. Wait for " + wait.Round(time.Second).String() + ", then try again.", wait}
	}
	return func() {
		a.tries.back(from)
		if login != "" {
			a.tries.back(login)
		}
	}, nil
}

// from is where a request comes from.
func from(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "elsewhere"
	}
	ip := at.Addr().Unmap()
	if ip.Is6() {
		net, err := ip.Prefix(64) // a host has as many as it likes of these
		if err == nil {
			return net.String()
		}
	}
	return ip.String()
}
