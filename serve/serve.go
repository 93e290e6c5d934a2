// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package serve is the server: what sensors and guards send, kept in one store, and
// shown to people who work through it.
//
//	sensors, guards -> uplink -> bus -> store -> pages, api -> people, programs
//	                                       \-> notify -> systems outside
//
// All data are in one folder; see [Config].
//
// This API follows the server and may change.
package serve

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/flock"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/api"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/serve/live"
	"github.com/myelin-health/myelin/serve/pages"
	"github.com/myelin-health/myelin/serve/update"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/postgres"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A Config is what a server is given. The folder has
//
//	myelin.db              the store, without PostgreSQL
//	ledger/, ledger.key    what people did; its key
//	secret.key             of what is sealed in the store: servers that share one share it
//	tls.pem, tls.key       made at the first start, when there are no others
//	update.key             of offers: servers that share a store share it
//	updates/               envelopes and payloads that devices fetch
//	bus/                   what is not in the store yet
//	coming/                documents while they are sent
type Config struct {
	Data    string // folder; made when it is not there
	Listen  string // address and port
	Sensors string // address and port for sensors and guards alone, by TLS, where Listen is in clear; "": none
	Site    string // the hospital's name
	URL     string // where browsers find it; "": no passkeys, no OIDC, no links in what others are told
	Store   string // address of a PostgreSQL database, or "": SQLite in the folder
	OIDC    *access.OIDC
	Watch   string // folder whose documents are taken in, or ""

	Proxies []netip.Prefix // that say in X-Forwarded-For for whom they ask; who else says so is not believed

	Bus            []string // addresses of a NATS cluster; none: in this process
	BusCredentials string   // file of this server's user there
	BusReplicas    int      // 0 is 3

	Log     *slog.Logger
	Now     func() time.Time
	Version string

	TLS                    bool   // also on loopback; elsewhere always. Sensors enrol only by TLS
	TLSCertificate, TLSKey string // PEM files; none: outside loopback a certificate is made in the folder
}

// A Server serves until its Run ends.
type Server struct {
	cfg    Config
	kept   *keptStore
	store  *store.Store // of kept
	ledger *ledger.Log
	access *access.Access
	pages  *pages.Pages
	api    *api.API
	fleet  *documents.Fleet
	intake *documents.Intake
	folder *documents.Folder // nil: none is watched
	sealer *access.Sealer
	live   *live.Hub
	shown  *pages.Ledger

	authority *uplink.Authority // of sensors
	bus       *bus.Bus
	uplink    *uplink.Server
	updates   *update.Service

	metrics     *metrics
	certificate *certificate // nil: in clear, on loopback
	sensing     *certificate // of Config.Sensors; nil: sensors come to where people do
	name        string       // of this server among those of a store: its ledger's, so that it has its leases again when it comes back

	headerTime, readTime time.Duration // that a request may take to come
}

// mine reports a folder that has folders of something else, and nothing of a server,
// whose own would be among them. What the configuration names may be there before.
func mine(c *Config) error {
	list, err := os.ReadDir(c.Data)
	if err != nil {
		return err
	}
	other := ""
	for _, e := range list {
		switch name := e.Name(); {
		case slices.Contains([]string{"myelin.db", "secret.key", "ca.key", "ledger.key"}, name):
			return nil
		case e.IsDir() && name != "lost+found":
			within := filepath.Join(c.Data, name) + string(filepath.Separator)
			if !slices.ContainsFunc([]string{c.Watch, c.TLSCertificate, c.TLSKey, c.BusCredentials}, func(file string) bool {
				return strings.HasPrefix(filepath.Clean(file)+string(filepath.Separator), within)
			}) {
				other = cmp.Or(other, name)
			}
		}
	}
	if other != "" {
		return fmt.Errorf("%s: is no server's folder: it has %s, and nothing of a server; name one that is empty, or not there yet", c.Data, other)
	}
	return nil
}

// Open opens what the server keeps. It has to be closed.
func Open(ctx context.Context, c Config) (_ *Server, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Site == "" {
		c.Site = "Myelin"
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, err
	}
	if err := mine(&c); err != nil {
		return nil, err
	}
	s := &Server{cfg: c, live: &live.Hub{}, headerTime: headerTime, readTime: readTime}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.authority, err = uplink.OpenAuthority(c.Data, c.Now); err != nil {
		return nil, err
	}
	if c.tls() {
		if s.certificate, err = openCertificate(&c, s.authority); err != nil {
			return nil, err
		}
	}
	if s.certificate != nil && c.Sensors != "" {
		return nil, errors.New("an address for sensors alone is for a server in clear, on loopback behind a proxy: this one speaks TLS, and sensors come to where people do")
	}
	if c.Sensors != "" {
		own := c
		own.Listen = c.Sensors
		if s.sensing, err = openCertificate(&own, s.authority); err != nil {
			return nil, err
		}
	}
	if s.kept, err = openStore(ctx, &c); err != nil {
		return nil, err
	}
	s.store = s.kept.Store
	if c.Store != "" {
		if err := s.sameAuthority(ctx); err != nil {
			return nil, err
		}
	}
	if s.ledger, err = openLedger(c.Data, c.Now); err != nil {
		return nil, err
	}
	public, err := os.ReadFile(filepath.Join(c.Data, "ledger.key.pub"))
	if err != nil {
		return nil, err
	}
	s.shown = &pages.Ledger{Dir: filepath.Join(c.Data, "ledger"), Key: strings.TrimSpace(string(public))}
	s.name, _, _ = strings.Cut(s.shown.Key, "+")
	if s.sealer, err = access.OpenSealer(c.Data); err == nil {
		err = s.sealer.Check(ctx, s.store)
	}
	if err != nil {
		return nil, err
	}
	s.access, err = access.New(access.Config{Store: s.store, Record: s.ledger.Record, Now: c.Now, Log: c.Log, Secure: s.secure(), Site: "server", URL: c.URL, OIDC: c.OIDC})
	if err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s.store, s.live)
	s.fleet = documents.NewFleet(s.store, c.Now, c.Log)
	coming := filepath.Join(c.Data, "coming") // documents; what a server left there that was ended goes
	if err := errors.Join(os.RemoveAll(coming), os.Mkdir(coming, 0o700)); err != nil {
		return nil, err
	}
	s.intake = documents.NewIntake(s.store, s.fleet, coming, c.Now, s.access.Act)
	if c.Watch != "" {
		s.folder = documents.NewFolder(c.Watch, s.name, s.intake)
	}
	if s.bus, err = bus.Open(ctx, bus.Config{Dir: filepath.Join(c.Data, "bus"), Servers: c.Bus, Credentials: c.BusCredentials, Replicas: c.BusReplicas, Store: s.store, Name: s.name, Log: c.Log}); err != nil {
		return nil, err
	}
	s.uplink = uplink.NewServer(uplink.ServerConfig{Store: s.store, Bus: s.bus, Authority: s.authority, Record: s.ledger.Record, Log: c.Log, Now: c.Now})
	s.updates, err = update.Open(ctx, update.Config{
		Data: c.Data, Store: s.store, Record: s.ledger.Record, Act: s.access.Act, Site: c.Site, Client: s.uplink.Client, Now: c.Now, Log: c.Log,
		Tell: func() { s.live.Tell(live.Event{What: live.Rollout}) }, Shared: c.Store != "",
	})
	if err != nil {
		return nil, err
	}
	shown := pages.Config{Store: s.store, Access: s.access, Live: s.live, Guards: s.bus, Ledger: s.shown, Updates: s.updates, Now: c.Now, Site: c.Site, Version: c.Version, Sealer: s.sealer, Fleet: s.fleet, Intake: s.intake}
	if s.certificate != nil || s.sensing != nil { // sensors prove themselves by TLS
		shown.Enrol = s.uplink.Enrolment
	}
	if s.sensing != nil {
		shown.Sensors = c.Sensors
	}
	s.pages, err = pages.New(shown)
	if err != nil {
		return nil, err
	}
	s.api, err = api.New(api.Config{Store: s.store, Access: s.access, Updates: s.updates, Now: c.Now, Log: c.Log, Version: c.Version, Most: documents.Most, Spool: filepath.Join(c.Data, "coming"), Add: s.addDocument})
	return s, err
}

// tls reports whether the server speaks TLS.
func (c *Config) tls() bool { return c.TLS || !loopback(c.Listen) || c.TLSCertificate != "" }

// ErrInUse says that another server has the store of a folder: what each remembers of it
// would not be so any more.
var ErrInUse = errors.New("another server has it open")

// A keptStore is a store, and the lock of its file.
type keptStore struct {
	*store.Store
	lock *os.File // nil: PostgreSQL, which several may have
}

// Close closes the store and lets others have it.
func (k *keptStore) Close() error {
	err := k.Store.Close()
	if k.lock != nil {
		err = errors.Join(err, k.lock.Close())
	}
	return err
}

func openStore(ctx context.Context, c *Config) (*keptStore, error) {
	if c.Store != "" {
		s, err := postgres.OpenKeeping(ctx, c.Store, c.Data, c.Now)
		return &keptStore{s, nil}, err
	}
	file := filepath.Join(c.Data, "myelin.db")
	lock, err := flock.Take(file + ".lock")
	if errors.Is(err, flock.ErrHeld) {
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s, err := sqlite.Open(ctx, file, c.Now)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &keptStore{s, lock}, nil
}

// sameAuthority refuses an authority that is not that of the servers that have this store
// already: their sensors would take this one for a stranger.
func (s *Server) sameAuthority(ctx context.Context) error {
	const name = "authority of sensors"
	own := []byte(s.authority.Pin())
	err := s.store.SetSetting(ctx, name, nil, own)
	if !errors.Is(err, store.ErrConflict) {
		return err
	}
	theirs, err := s.store.Setting(ctx, name)
	if err == nil && !bytes.Equal(theirs, own) {
		err = fmt.Errorf("%s is not the authority of the servers of this store: copy ca.pem, ca.key and secret.key from the folder of one of them", filepath.Join(s.cfg.Data, "ca.pem"))
	}
	return err
}

// Close closes what the server keeps.
func (s *Server) Close() error {
	var errs []error
	if s.uplink != nil {
		s.uplink.Close()
	}
	if s.updates != nil {
		errs = append(errs, s.updates.Close())
	}
	if s.bus != nil {
		s.bus.Close()
	}
	if s.shown != nil {
		s.shown.Wait()
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	if s.kept != nil {
		errs = append(errs, s.kept.Close())
	}
	return errors.Join(errs...)
}

// openLedger opens the server's own ledger, whose key is made at the first start.
func openLedger(data string, now func() time.Time) (*ledger.Log, error) {
	file := filepath.Join(data, "ledger.key")
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		b := make([]byte, 4)
		rand.Read(b)
		private, public, err := ledger.GenerateKey(nil, fmt.Sprintf("myelin-server-%x", b), false)
		if err == nil {
			err = os.WriteFile(file+".pub", []byte(public+"\n"), 0o644)
		}
		if err == nil {
			err = os.WriteFile(file, []byte(private+"\n"), 0o600)
		}
		if err != nil {
			return nil, err
		}
		key = []byte(private)
	} else if err != nil {
		return nil, err
	}
	signer, verifier, err := ledger.ParseSigner(string(key), now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ledger.Open(filepath.Join(data, "ledger"), ledger.Config{Signer: signer, Verifier: verifier})
}

// loopback reports whether nobody but this machine reaches an address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Routes is the table of all routes.
func (s *Server) Routes() []access.Route {
	return slices.Concat(s.pages.Routes(), s.api.Routes(), s.uplink.Routes(), s.updates.Routes(), s.healthRoutes())
}

// addDocument takes in a document that a program sent.
func (s *Server) addDocument(ctx context.Context, by, name string, content []byte) (*store.Document, bool, error) {
	return s.intake.Add(ctx, by, name, bytes.NewReader(content))
}

// secure reports whether browsers reach the server by TLS alone: its own, or that of a
// proxy before it.
func (s *Server) secure() bool {
	return s.certificate != nil || strings.HasPrefix(s.cfg.URL, "https://")
}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	mux := access.Mux(s.Routes(), func(w http.ResponseWriter, r *http.Request, err error) {
		if s.pages.Fail(w, r, err) {
			s.cfg.Log.Error("a request failed", "method", r.Method, "path", r.Pattern, "err", err)
		}
	})
	return s.headers(s.behind(s.access.Identify(s.metrics.count(mux))))
}

// headers sets what every answer has.
func (s *Server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.secure() {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// SetUpLink is the path by which the first person begins, or "".
func (s *Server) SetUpLink(ctx context.Context) (string, error) {
	secret, err := s.access.SetUpLink(ctx)
	if err != nil || secret == "" {
		return "", err
	}
	return "/set-up/" + secret, nil
}

// Address is where a listener's server is found, and the fingerprint of its
// certificate, or "".
func (s *Server) Address(ln net.Listener) (address, fingerprint string) {
	if s.certificate == nil {
		return "http://" + ln.Addr().String(), ""
	}
	return "https://" + ln.Addr().String(), s.certificate.fingerprint()
}

// Run serves on a listener until ctx is done, and lets end what was begun.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	h := s.bounded(ctx, s.Handler())
	serve := h.Serve
	if s.certificate != nil {
		h.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate.Get}
		s.authority.Ask(h.TLSConfig)
		serve = func(ln net.Listener) error { return h.ServeTLS(ln, "", "") }
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	if s.sensing != nil {
		wait, err := s.serveSensors(ctx)
		if err != nil {
			stop()
			return err
		}
		defer wait()
	}
	beside.Go(func() { s.schedule(ctx) })
	beside.Go(func() { s.tell(ctx) })
	beside.Go(func() { s.fleet.Run(ctx) })
	beside.Go(func() { s.updates.Run(ctx) })
	beside.Go(func() {
		if err := s.bus.Run(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("what sensors send is not written any more", "err", err)
		}
	})
	quiet, err := s.bus.Listen(func(n *bus.News) {
		for _, seq := range n.Verdicts {
			s.live.Tell(live.Event{What: live.Verdict, ID: seq})
		}
		if n.Held {
			s.live.Tell(live.Event{What: live.Held})
		}
		if len(n.Devices) > 0 {
			s.fleet.Changed()
		}
	})
	if err != nil {
		stop()
		return err
	}
	defer quiet()
	defer beside.Wait()
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- serve(s.crowd(ln)) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drained(h)
	<-ended
	return nil
}
