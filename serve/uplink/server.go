// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store"
)

// The bounds of what sensors may do.
const (
	batchesPerSecond = 50 // of one sensor
	batchesAtOnce    = 100
	requestsOpen     = 4 // of one sensor, at the same time
	bodiesOpen       = 32
	bodyTime         = 30 * time.Second // to send a body
	putTime          = 20 * time.Second // for the bus to have it on disk
	enrolsPerSecond  = 10               // of all
	enrolsAtOnce     = 50
	maxEnrol         = 16 << 10 // bytes
	maxAnswer        = 4 << 10
	tokenBytes       = 20
)

// A ServerConfig is what the server's side is given.
type ServerConfig struct {
	Store     *store.Store
	Bus       *bus.Bus
	Authority *Authority
	Record    func(*event.Event) error // of the server's ledger: who was enrolled; nil: nobody
	Log       *slog.Logger             // nil: nothing is logged
	Now       func() time.Time         // nil: the machine's clock
}

// A Server takes what sensors and guards send.
type Server struct {
	cfg    ServerConfig
	enrols *rate.Limiter
	bodies chan struct{}
	slow   time.Duration // that a body may take

	mu    sync.Mutex
	links map[string]*peer // by sensor; as many as are enrolled
}

// A peer is a sensor that has been here since the server started.
type peer struct {
	batches *rate.Limiter
	open    chan struct{}
	desk    desk

	sending  sync.Mutex // one batch at a time
	accepted uint64     // number of the last batch that the bus has; with sending
}

// NewServer makes the server's side.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Record == nil {
		cfg.Record = func(*event.Event) error { return nil }
	}
	return &Server{cfg: cfg, enrols: rate.NewLimiter(enrolsPerSecond, enrolsAtOnce), bodies: make(chan struct{}, bodiesOpen), slow: bodyTime, links: map[string]*peer{}}
}

// Close ends what listens for decisions.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		l.desk.close()
	}
}

// Routes are the server's side. They are open to anyone: who asks, is known by the certificate.
func (s *Server) Routes() []access.Route {
	return []access.Route{
		{Pattern: "POST /uplink/v1/enrol", Needs: access.Anyone, Handle: s.enrol},
		{Pattern: "GET /uplink/v1/state", Needs: access.Anyone, Handle: s.sensor(s.state)},
		{Pattern: "POST /uplink/v1/batch", Needs: access.Anyone, Handle: s.sensor(s.batch), Most: store.MaxBatchBytes},
		{Pattern: "GET /uplink/v1/decisions", Needs: access.Anyone, Handle: s.sensor(s.decisions)},
		{Pattern: "POST /uplink/v1/decisions", Needs: access.Anyone, Handle: s.sensor(s.decided), Most: store.MaxBatchBytes},
	}
}

// Handler answers the routes where no other server does: on a port of their own, or
// before what bounds the forms of people. An error is RFC 9457's.
func (s *Server) Handler() http.Handler {
	return access.Mux(s.Routes(), access.Problem(s.cfg.Log))
}

// Enrolment makes a token with which one sensor ("sensor", "guard") enrols, until it expires.
func (s *Server) Enrolment(ctx context.Context, name, site, kind, by string, expires time.Time) (token string, err error) {
	return NewEnrolment(ctx, s.cfg.Store, s.cfg.Authority, name, site, kind, by, expires)
}

// NewEnrolment does so without a server that runs.
func NewEnrolment(ctx context.Context, st *store.Store, a *Authority, name, site, kind, by string, expires time.Time) (token string, err error) {
	if kind != "sensor" && kind != "guard" {
		return "", fmt.Errorf("what enrols is a sensor or a guard, not %q", kind)
	}
	secret := random(tokenBytes)
	if err := st.AddEnrolment(ctx, hashOf(secret), name, site, kind, by, expires.UnixNano()); err != nil {
		return "", err
	}
	return secret + "." + a.Pin(), nil
}

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte("myelin enrolment\x00" + secret))
	return sum[:]
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

type enrolRequest struct {
	Token string `json:"token,omitempty"` // of the enrolment, without the pin
	CSR   string `json:"csr"`
}

// An Enrolled is what a sensor is told that it is.
type Enrolled struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Site        string `json:"site"`
	Kind        string `json:"kind"`
	Certificate string `json:"certificate,omitempty"`
	Authority   string `json:"authority,omitempty"`
	Sequence    uint64 `json:"sequence"` // of the last batch that the server has
}

func fail(status int, text string) error { return &access.Error{Status: status, Text: text} }

// enrol gives a certificate to who has a token, or the key of a sensor.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
	if !s.enrols.Allow() {
		return tooMany(w)
	}
	var in enrolRequest
	if err := s.readJSON(w, r, maxEnrol, &in); err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(in.CSR))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return fail(http.StatusBadRequest, "there is no certificate request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || !taken(csr.PublicKey) || csr.CheckSignature() != nil {
		return fail(http.StatusBadRequest, "the certificate request is damaged, or of a key that is not taken")
	}
	sensor, err := s.known(r.Context(), pin(csr.PublicKey))
	if err != nil {
		return err
	}
	switch {
	case sensor != nil && sensor.Revoked != 0:
		return fail(http.StatusForbidden, "this key was revoked")
	case sensor == nil:
		secret, _, _ := strings.Cut(in.Token, ".")
		sensor, err = s.cfg.Store.Enrol(r.Context(), hashOf(secret), "s-"+random(10), pin(csr.PublicKey))
		if errors.Is(err, store.ErrNotFound) {
			s.cfg.Log.Warn("an enrolment is refused: its token is unknown, used or expired", "from", r.RemoteAddr)
			return fail(http.StatusForbidden, "the token is unknown, used or expired")
		}
		if err != nil {
			return err
		}
		e := &event.Event{Kind: event.PersonActed, Time: s.cfg.Now().UnixNano(), Device: device.Address{Kind: device.Host, Value: "server"}}
		e.Add(event.Text(event.Actor, sensor.ID), event.Text(event.Operation, "enrol "+sensor.Kind), event.Text(event.Target, sensor.Name), event.Int(event.Outcome, event.Succeeded))
		if err := s.cfg.Record(e); err != nil {
			return err
		}
		s.cfg.Log.Info("enrolled", "sensor", sensor.ID, "kind", sensor.Kind)
	}
	cert, err := s.cfg.Authority.sensor(sensor.ID, csr.PublicKey)
	if err != nil {
		return err
	}
	out := enrolled(sensor)
	out.Certificate, out.Authority = string(cert), string(s.cfg.Authority.Certificate())
	return writeJSON(w, out)
}

func enrolled(n *store.Sensor) *Enrolled {
	return &Enrolled{ID: n.ID, Name: n.Name, Site: n.Site, Kind: n.Kind, Sequence: n.Sequence}
}

// known returns the sensor that has a key, or nil.
func (s *Server) known(ctx context.Context, key string) (*store.Sensor, error) {
	all, err := s.cfg.Store.Sensors(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Key == key {
			return &all[i], nil
		}
	}
	return nil, nil
}

// sensor lets in who shows the certificate of a sensor that was not revoked.
func (s *Server) sensor(h func(w http.ResponseWriter, r *http.Request, n *store.Sensor, l *peer) error) access.Handler {
	return func(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
		n, err := s.who(r)
		if err != nil {
			return err
		}
		l := s.link(n.ID)
		select {
		case l.open <- struct{}{}:
			defer func() { <-l.open }()
		default:
			return tooMany(w)
		}
		return h(w, r, n, l)
	}
}

// Client reports why the client of a request is not one that is enrolled here.
func (s *Server) Client(r *http.Request) error {
	_, err := s.who(r)
	return err
}

func (s *Server) who(r *http.Request) (*store.Sensor, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, fail(http.StatusUnauthorized, "a sensor shows the certificate that it was enrolled with")
	}
	leaf := r.TLS.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: s.cfg.Authority.pool, CurrentTime: s.cfg.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		s.cfg.Log.Warn("a certificate is refused", "from", r.RemoteAddr, "err", err)
		return nil, fail(http.StatusUnauthorized, "this certificate is none of a sensor here")
	}
	n, err := s.cfg.Store.Sensor(r.Context(), leaf.Subject.CommonName)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fail(http.StatusUnauthorized, "this certificate is none of a sensor here")
	case err != nil:
		return nil, err
	case n.Revoked != 0 || subtle.ConstantTimeCompare([]byte(n.Key), []byte(pin(leaf.PublicKey))) != 1:
		s.cfg.Log.Warn("a sensor is refused: it was revoked, or has another key", "sensor", n.ID, "from", r.RemoteAddr)
		return nil, fail(http.StatusForbidden, "this sensor was revoked")
	}
	return n, nil
}

func (s *Server) link(id string) *peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[id]
	if l == nil {
		l = &peer{batches: rate.NewLimiter(batchesPerSecond, batchesAtOnce), open: make(chan struct{}, requestsOpen)}
		s.links[id] = l
	}
	return l
}

// state tells a sensor who it is, and which of its batches is the last that is here.
func (s *Server) state(w http.ResponseWriter, r *http.Request, n *store.Sensor, l *peer) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	out := enrolled(n)
	out.Sequence = max(out.Sequence, l.accepted)
	return writeJSON(w, out)
}

// batch puts a batch on the bus.
func (s *Server) batch(w http.ResponseWriter, r *http.Request, n *store.Sensor, l *peer) error {
	if !l.batches.Allow() || !l.sending.TryLock() {
		return tooMany(w)
	}
	defer l.sending.Unlock()
	b, err := s.body(w, r)
	if err != nil {
		return err
	}
	switch {
	case b.Sensor != "" && b.Sensor != n.ID:
		s.cfg.Log.Warn("a sensor is refused: it says that it is another", "sensor", n.ID)
		return fail(http.StatusForbidden, "this batch is of another sensor")
	case n.Kind != "guard" && (len(b.Events) > 0 || len(b.Held) > 0 || b.HeldToo || b.State != nil):
		s.cfg.Log.Warn("a sensor is refused: it sends what guards send", "sensor", n.ID)
		return fail(http.StatusForbidden, "verdicts and held commands are a guard's to send")
	}
	b.Sensor, b.Part = n.ID, 0
	withoutWorn(b)
	// What it sent before the last batch is written: it sends the next one when it has
	// the acknowledgement of the one before. Of the last one, a part may be missing.
	if b.Sequence > l.accepted && b.Sequence >= n.Sequence {
		ctx, stop := context.WithTimeout(r.Context(), putTime)
		defer stop()
		err := s.cfg.Bus.Put(ctx, b)
		if errors.Is(err, store.ErrBatch) {
			return fail(http.StatusBadRequest, err.Error())
		}
		if err != nil {
			s.cfg.Log.Error("a batch is not taken: the bus does not", "sensor", n.ID, "err", err)
			w.Header().Set("Retry-After", "5")
			return fail(http.StatusServiceUnavailable, "the bus does not take it now; keep it")
		}
		l.accepted = b.Sequence
	}
	return writeJSON(w, map[string]uint64{"sequence": b.Sequence})
}

// body reads a batch. Only so many are read at the same time.
func (s *Server) body(w http.ResponseWriter, r *http.Request) (*store.Batch, error) {
	select {
	case s.bodies <- struct{}{}:
		defer func() { <-s.bodies }()
	case <-time.After(s.slow):
		return nil, tooMany(w)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	b, err := s.read(w, r, store.MaxBatchBytes)
	if err != nil {
		return nil, err
	}
	out, err := store.DecodeBatch(b)
	if err != nil {
		return nil, fail(http.StatusBadRequest, err.Error())
	}
	return out, nil
}

// read reads a body that is not too long and not too slow.
func (s *Server) read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("a body of more than %d bytes", most))
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.slow)) // where that is supported
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("a body of more than %d bytes", most))
	case err != nil:
		return nil, fail(http.StatusRequestTimeout, "the body did not arrive")
	}
	return b, nil
}

func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, most int64, v any) error {
	b, err := s.read(w, r, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fail(http.StatusBadRequest, "this is not what is asked for")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	return json.NewEncoder(w).Encode(v)
}

func tooMany(w http.ResponseWriter) error {
	w.Header().Set("Retry-After", "1")
	return fail(http.StatusTooManyRequests, "too much at once; wait a little")
}

// withoutWorn takes out what names a unit that is in or on a body: whose it is, is
// patient data.
func withoutWorn(b *store.Batch) {
	for i := range b.Devices {
		if d := &b.Devices[i]; d.Therapy.Info().Worn {
			d.Serial = ""
		}
	}
}
