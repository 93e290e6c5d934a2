// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"crypto/tls"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/gate"
)

//go:embed page.tmpl style.css
var files embed.FS

// PictureFiles have how a [Picture] looks, for whoever shows one: the templates
// "picture", "legend" and, within the defs of an SVG of the page, "hatch"; and the style.
//
//go:embed picture.tmpl picture.css
var PictureFiles embed.FS

// The page's bounds.
const (
	pageHeader = 16 << 10
	pageForm   = 8 << 10
	pageConns  = 128
	pagePeer   = 32 // of pageConns, from one address
	pageDrain  = 5 * time.Second
	maxReason  = 200 // characters of a reason that somebody types
	renewEvery = 10  // seconds
)

// page is the guard's own page. It has no state but who is logged in.
type page struct {
	g        *Guard
	sessions *sessions
	handler  http.Handler
	tmpl     *template.Template

	mu      sync.Mutex
	address string
	tls     atomic.Pointer[tls.Config]
	server  *http.Server
	serving sync.WaitGroup
}

func newPage(g *Guard) *page {
	p := &page{g: g, sessions: newSessions()}
	p.tmpl = template.Must(template.New("").Funcs(template.FuncMap{"bar": func(i int) int { return 8 * i }}).ParseFS(files, "page.tmpl"))
	template.Must(p.tmpl.ParseFS(PictureFiles, "picture.tmpl"))
	p.handler = p.routes()
	return p
}

// routes are what the page has.
func (p *page) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", p.style)
	mux.HandleFunc("GET /healthz", p.health)
	mux.Handle("GET /metrics", p.monitored(promhttp.HandlerFor(prometheus.Gatherers{p.g.registry, p.g.counted}, promhttp.HandlerOpts{MaxRequestsInFlight: 4})))
	mux.HandleFunc("GET /login", p.loginForm)
	mux.HandleFunc("POST /login", p.login)
	mux.Handle("POST /logout", p.person(p.logout))
	mux.Handle("GET /{$}", p.person(p.today))
	mux.Handle("GET /held/{id}", p.person(p.held))
	mux.Handle("POST /held/{id}/confirm", p.clinician(p.confirm))
	mux.Handle("POST /held/{id}/refuse", p.clinician(p.refuse))
	mux.Handle("GET /doubts/{id}", p.person(p.doubt))
	mux.Handle("POST /doubts/{id}", p.clinician(p.settle))
	mux.Handle("GET /devices/{id}", p.person(p.device))
	mux.Handle("GET /verdicts", p.person(p.verdicts))
	mux.Handle("GET /refusals", p.person(p.refusals))
	for name, list := range p.lists() {
		mux.Handle("GET /"+name+".json", p.person(func(w http.ResponseWriter, _ *http.Request, _ *viewer) error {
			return writeJSON(w, list())
		}))
		mux.Handle("GET /"+name+".csv", p.person(func(w http.ResponseWriter, _ *http.Request, _ *viewer) error {
			return writeCSV(w, name, list())
		}))
	}
	return http.NewCrossOriginProtection().Handler(secure(mux))
}

// secure sets what every answer has.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, pageForm)
		next.ServeHTTP(w, r)
	})
}

// listen begins to serve; without a page there is nothing to do.
func (p *page) listen(c *Page) error {
	moved, err := p.move(c)
	if err != nil {
		return err
	}
	moved(true)
	return nil
}

// move prepares the page to be at another place. What it returns does it, or not.
func (p *page) move(c *Page) (func(yes bool), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ln net.Listener
	if c != nil && c.Listen != p.address {
		var err error
		if ln, err = net.Listen("tcp", c.Listen); err != nil {
			return nil, err
		}
	}
	return func(yes bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case !yes && ln != nil:
			ln.Close()
		case !yes:
		case c == nil:
			p.shut()
			p.address = ""
		default:
			p.tls.Store(c.TLS)
			if ln != nil {
				p.shut()
				p.address = c.Listen
				p.serve(ln)
			}
		}
	}, nil
}

// serve serves on a listener. The caller holds the lock.
func (p *page) serve(ln net.Listener) {
	s := &http.Server{
		Handler: p.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 40 * time.Second, // a release takes up to 20
		IdleTimeout:  time.Minute, MaxHeaderBytes: pageHeader,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // what strangers send is no news
	}
	p.server = s
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { // a renewed certificate holds at once
			c := p.tls.Load().Clone()
			c.NextProtos = []string{"h2", "http/1.1"}
			return c, nil
		},
	}
	p.serving.Go(func() {
		if err := s.Serve(tls.NewListener(&bounded{Listener: ln, room: make(chan struct{}, pageConns), of: map[string]int{}}, config)); !errors.Is(err, http.ErrServerClosed) {
			p.g.cfg.Log.Error("the page does not serve any more", "err", err)
		}
	})
}

// shut lets the requests that are under way end. The caller holds the lock.
func (p *page) shut() {
	if p.server == nil {
		return
	}
	s := p.server
	p.server = nil
	p.serving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), pageDrain)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	})
}

func (p *page) close() {
	p.mu.Lock()
	p.shut()
	p.mu.Unlock()
	p.serving.Wait()
}

// A bounded listener has so many connections at once; more of them wait. One address
// has fewer, so that nobody alone keeps people from the page.
type bounded struct {
	net.Listener
	room chan struct{}

	mu sync.Mutex
	of map[string]int // by address
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		b.room <- struct{}{}
		c, err := b.Listener.Accept()
		if err != nil {
			<-b.room
			return nil, err
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		if b.count(host, 1) <= pagePeer {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { b.count(host, -1); <-b.room })}, nil
		}
		b.count(host, -1)
		c.Close()
		<-b.room
	}
}

// count adds to the connections of an address.
func (b *bounded) count(host string, n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of[host] += n
	if b.of[host] == 0 {
		delete(b.of, host)
	}
	return b.of[host]
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// A viewer is who looks at the page.
type viewer struct {
	Person
	Present bool   // has done something not long ago
	Flash   string // what is said once
}

// A statusError is an answer that is not a page.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// person lets in who has logged in.
func (p *page) person(h func(http.ResponseWriter, *http.Request, *viewer) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		acts := !r.URL.Query().Has("live")
		who, present, ok := p.sessions.who(p.g.conf.Load(), r, p.g.cfg.Now(), acts)
		if !ok {
			if r.Method != http.MethodGet || strings.HasSuffix(r.URL.Path, ".json") || strings.HasSuffix(r.URL.Path, ".csv") {
				http.Error(w, "log in at /login first", http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, "/login?"+url.Values{"to": {r.URL.Path}}.Encode(), http.StatusSeeOther)
			return
		}
		v := &viewer{Person: who, Present: present}
		err := h(w, r, v)
		var status *statusError
		switch {
		case err == nil:
		case errors.As(err, &status):
			p.render(w, status.status, "message", &messagePage{frame: p.frame(v, "Not done"), Text: status.text})
		default:
			p.g.cfg.Log.Error("page", "path", r.URL.Path, "err", err)
			p.render(w, http.StatusInternalServerError, "message", &messagePage{frame: p.frame(v, "Not done"), Text: "internal error; the log has more"})
		}
	})
}

// clinician lets in who may decide on a therapy, and is there to do so: after a
// while the password is asked for again, because somebody else may be at the screen.
func (p *page) clinician(h func(http.ResponseWriter, *http.Request, *viewer) error) http.Handler {
	return p.person(func(w http.ResponseWriter, r *http.Request, v *viewer) error {
		if v.Clinical == 0 {
			return &statusError{http.StatusForbidden, gate.ErrRole.Error()}
		}
		if err := r.ParseForm(); err != nil {
			return &statusError{http.StatusBadRequest, "the form is damaged or too long"}
		}
		if !v.Present {
			now := p.g.cfg.Now()
			if _, err := p.sessions.check(p.g.conf.Load(), v.ID, r.PostForm.Get("password"), remote(r), now); err != nil {
				return &statusError{http.StatusForbidden, "nothing was done: " + err.Error() + ". You have been away for a while: go back and type your password with the decision"}
			}
			p.sessions.prove(r, now)
		}
		return h(w, r, v)
	})
}

// monitored lets in the addresses of those who watch the guard.
func (p *page) monitored(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.monitor(r) {
			http.Error(w, "this address is not among the monitors of guard.yaml", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *page) monitor(r *http.Request) bool {
	a, err := netip.ParseAddr(remote(r))
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	c := p.g.conf.Load().Page
	return a.IsLoopback() || c != nil && slices.ContainsFunc(c.Monitors, func(m netip.Prefix) bool { return m.Contains(a) })
}

// remote is the address that a request came from.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// health says whether the guard lives, which it does if it answers, and is ready.
func (p *page) health(w http.ResponseWriter, r *http.Request) {
	why := p.g.Unready()
	status := http.StatusOK
	if len(why) > 0 {
		status = http.StatusServiceUnavailable
	}
	if !p.monitor(r) {
		why = nil // a stranger is told that, and not why
	}
	if why == nil {
		why = []string{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"live": true, "ready": status == http.StatusOK, "reasons": why})
}

func (p *page) style(w http.ResponseWriter, r *http.Request) {
	b, _ := files.ReadFile("style.css")
	pictures, _ := PictureFiles.ReadFile("picture.css")
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=600")
	w.Write(append(b, pictures...))
}

func (p *page) render(w http.ResponseWriter, status int, name string, data any) error {
	var b strings.Builder
	if err := p.tmpl.ExecuteTemplate(&b, name, data); err != nil {
		p.g.cfg.Log.Error("page", "template", name, "err", err)
		http.Error(w, "internal error; the log has more", http.StatusInternalServerError)
		return nil
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write([]byte(b.String()))
	return err
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(b, '\n'))
	return err
}

func (p *page) loginForm(w http.ResponseWriter, r *http.Request) {
	p.render(w, http.StatusOK, "login", &loginPage{frame: p.frame(nil, "Log in"), To: onward(r.URL.Query().Get("to"))})
}

// onward is where one goes after logging in: a page of ours, or the first.
func onward(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\?#\r\n") || strings.HasPrefix(to, "/log") || len(to) > 100 {
		return "/"
	}
	return to
}

func (p *page) login(w http.ResponseWriter, r *http.Request) {
	now := p.g.cfg.Now()
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form is damaged or too long", http.StatusBadRequest)
		return
	}
	id, to := strings.TrimSpace(r.PostForm.Get("id")), onward(r.PostForm.Get("to"))
	who, err := p.sessions.check(p.g.conf.Load(), id, r.PostForm.Get("password"), remote(r), now)
	if err != nil {
		p.g.refusedLogin(remote(r), err)
		status := http.StatusForbidden
		if !errors.Is(err, errWrong) {
			status = http.StatusTooManyRequests
		}
		p.render(w, status, "login", &loginPage{frame: p.frame(nil, "Log in"), To: to, Wrong: err.Error()})
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: p.sessions.begin(who, remote(r), now), Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLong / time.Second),
	})
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// refusedLogin records, or counts, who could not log in.
func (g *Guard) refusedLogin(address string, err error) {
	e := &event.Event{Kind: event.AccessRefused, Time: g.cfg.Now().UnixNano(), Peer: ip(address)}
	e.Add(event.Text(event.Front, "page"), event.Text(event.Operation, "login"), event.Text(event.Reason, err.Error()), event.Int(event.Count, 1), event.Bool(event.Enforced, true))
	g.gate.Refused(e)
}

func (p *page) logout(w http.ResponseWriter, r *http.Request, _ *viewer) error {
	p.sessions.end(r)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// found returns the held command of a request.
func (p *page) found(r *http.Request) (gate.Held, error) {
	for _, h := range p.g.gate.Held() {
		if h.ID == r.PathValue("id") {
			return h, nil
		}
	}
	return gate.Held{}, &statusError{http.StatusGone, "nothing of that number waits: it was decided on, or its time is over. Nothing was done now"}
}

// seen returns the held command that somebody decides on, if it is the one that
// was on the screen: numbers begin anew when the guard does.
func (p *page) seen(r *http.Request) (gate.Held, error) {
	h, err := p.found(r)
	if err == nil && r.PostForm.Get("what") != fingerprint(&h) {
		err = &statusError{http.StatusConflict, "what waits under this number now is not what was on your screen. Nothing was done; look again"}
	}
	return h, err
}

func (p *page) confirm(w http.ResponseWriter, r *http.Request, v *viewer) error {
	h, err := p.seen(r)
	if err != nil {
		return err
	}
	if slices.Contains(v.Actors, h.Actor) || v.ID == h.Actor {
		return &statusError{http.StatusForbidden, gate.ErrSelf.Error()}
	}
	// Who closes the browser has confirmed all the same: the command is sent whole.
	err = p.g.gate.Confirm(context.WithoutCancel(r.Context()), v.gated(), h.ID)
	if err != nil {
		return &statusError{http.StatusConflict, "it was not sent: " + err.Error()}
	}
	p.sessions.say(r, fmt.Sprintf("You confirmed %s for %s.", commandWords(&h.Command), h.Device))
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (p *page) refuse(w http.ResponseWriter, r *http.Request, v *viewer) error {
	h, err := p.seen(r)
	if err != nil {
		return err
	}
	why, err := typed(r.PostForm.Get("why"))
	if err != nil {
		return err
	}
	if err := p.g.gate.Refuse(v.gated(), h.ID, why); err != nil {
		return &statusError{http.StatusConflict, err.Error()}
	}
	p.sessions.say(r, fmt.Sprintf("You refused %s for %s. Who asked is told so.", commandWords(&h.Command), h.Device))
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// typed is a reason that somebody typed.
func typed(s string) (string, error) {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	switch n := len([]rune(s)); {
	case n == 0:
		return "", &statusError{http.StatusBadRequest, "a reason is needed. Nothing was done; go back and say why"}
	case n > maxReason:
		return "", &statusError{http.StatusBadRequest, fmt.Sprintf("a reason of %d characters; it has at most %d. Nothing was done", n, maxReason)}
	}
	return s, nil
}

func (p *page) settle(w http.ResponseWriter, r *http.Request, v *viewer) error {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return &statusError{http.StatusNotFound, "there is no such dose"}
	}
	why, err := typed(r.PostForm.Get("why"))
	if err != nil {
		return err
	}
	given := r.PostForm.Get("given")
	if given != "yes" && given != "no" {
		return &statusError{http.StatusBadRequest, "was it given, or was it not? Nothing was done"}
	}
	if err := p.g.gate.Settle(v.gated(), id, given == "yes", why); err != nil {
		return &statusError{http.StatusConflict, err.Error()}
	}
	word := "not given"
	if given == "yes" {
		word = "given"
	}
	p.sessions.say(r, "You said that the dose was "+word+".")
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
