// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/flock"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store"
)

// A Config is what a client is given.
type Config struct {
	Server  string // https://host:port
	Token   string // of an enrolment, for the first time
	CA      string // file of the authority that the server's certificate is from; "": the server's own, whose fingerprint is in the token
	Bytes   int64  // that may wait on the disk; 0 is 256 MiB
	Version string // of the program

	// Health says how many packets were not looked at since it began, and what is
	// wrong, in words; "" is nothing. nil: 0 and nothing.
	Health func() (dropped uint64, problem string)

	// Decide does what a clinician decided at the server, and returns when it is done
	// or with why it is not. nil: nobody there decides.
	Decide func(context.Context, *bus.Decision) error

	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // nil: the machine's clock
}

const (
	defaultBytes = 256 << 20
	cutTime      = 100 * time.Millisecond // after which what was put is a batch
	beatTime     = 10 * time.Second
	statesWait   = 4 // batches that wait, beyond which no state of a guard does
	retryMin     = 250 * time.Millisecond
	retryMax     = time.Minute
	requestTime  = time.Minute
	maxReply     = 64 << 10
	maxPending   = 50_000 // of each kind, before they are on the disk
)

// Why a client is not served. Others pass by themselves.
var (
	ErrToken   = errors.New("the enrolment is refused: its token is unknown, used or expired")
	ErrRevoked = errors.New("the server has revoked this sensor")
	ErrServer  = errors.New("this is not the server of the enrolment")
)

// A Client sends to a server what it is given, and keeps it on disk until the server
// has it. Its methods may be called from several goroutines.
type Client struct {
	cfg   Config
	dir   string
	url   string
	host  string
	lock  io.Closer
	key   crypto.Signer
	queue *queue
	wake  chan struct{} // something waits
	http  *http.Client

	mu      sync.Mutex
	pending *pending
	beat    time.Time // of the last one
	problem string    // of sending
	dropped uint64    // things that had no room
	cert    *tls.Certificate
	roots   *x509.CertPool // of the server; nil: not known yet
	id      Enrolled
}

// pending is what is not on the disk yet.
type pending struct {
	store.Batch
	done chan struct{}
	err  error
}

func newPending() *pending { return &pending{done: make(chan struct{})} }

// Open opens a client in a folder of its own, which one process at a time can have. It
// sends nothing before [Client.Run].
func Open(dir string, cfg Config) (_ *Client, err error) {
	u, err := url.Parse(cfg.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("the server's address has to be https://host:port")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = defaultBytes
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := flock.Take(filepath.Join(dir, "lock"))
	if errors.Is(err, flock.ErrHeld) {
		err = fmt.Errorf("%s: another process uses it", dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, dir: dir, url: "https://" + u.Host, host: u.Hostname(), lock: lock, wake: make(chan struct{}, 1), pending: newPending()}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	c.http = &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.tls(), MaxConnsPerHost: 3, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.key, err = keyOf(c.file("key.pem")); err != nil {
		return nil, err
	}
	if err = c.load(); err != nil {
		return nil, err
	}
	if c.queue, err = openQueue(c.file("queue"), cfg.Bytes); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Client) file(name string) string { return filepath.Join(c.dir, name) }

// load reads what the enrolment gave.
func (c *Client) load() error {
	roots := c.cfg.CA
	if roots == "" {
		roots = c.file("ca.pem")
	}
	switch b, err := os.ReadFile(roots); {
	case err == nil:
		c.roots = x509.NewCertPool()
		if !c.roots.AppendCertsFromPEM(b) {
			return fmt.Errorf("%s: there is no certificate in it", roots)
		}
	case c.cfg.CA != "" || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	b, err := os.ReadFile(c.file("cert.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	leaf, err := certificateOf(b)
	if err != nil {
		return fmt.Errorf("%s: %w", c.file("cert.pem"), err)
	}
	if b, err = os.ReadFile(c.file("id.json")); err == nil {
		err = json.Unmarshal(b, &c.id)
	}
	if err != nil {
		return err
	}
	c.cert = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: c.key, Leaf: leaf}
	return nil
}

// Close ends a client that does not run any more.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return c.lock.Close()
}

// Enrolled says whom the server knows this client as; false: it does not yet.
func (c *Client) Enrolled() (Enrolled, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id, c.cert != nil
}

// tls proves who the server is, and who we are.
func (c *Client) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.cert == nil {
				return &tls.Certificate{}, nil
			}
			return c.cert, nil
		},
		InsecureSkipVerify: true, // not so: see VerifyConnection
		VerifyConnection:   c.verify,
	}
}

// verify proves that a server's certificate is from the authority that is in the
// enrolment. That one is of this server alone, whatever it is called; of an authority that
// issues to others too, the name has to be right.
func (c *Client) verify(s tls.ConnectionState) error {
	o := x509.VerifyOptions{CurrentTime: c.cfg.Now(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	c.mu.Lock()
	o.Roots = c.roots
	c.mu.Unlock()
	if c.cfg.CA != "" {
		o.DNSName = c.host
	}
	want := c.pinned()
	for _, cert := range s.PeerCertificates {
		if o.Roots == nil && want != "" && cert.IsCA && strings.HasPrefix(pin(cert.PublicKey), want) {
			o.Roots = x509.NewCertPool()
			o.Roots.AddCert(cert)
		}
		o.Intermediates.AddCert(cert)
	}
	if o.Roots == nil || len(s.PeerCertificates) == 0 {
		return ErrServer
	}
	if _, err := s.PeerCertificates[0].Verify(o); err != nil {
		return fmt.Errorf("%w: %w", ErrServer, err)
	}
	return nil
}

// pinned is the fingerprint of the server's authority that is in the token, if it is one.
func (c *Client) pinned() string {
	_, p, _ := strings.Cut(c.cfg.Token, ".")
	if len(p) != 32 {
		return ""
	}
	return p
}

// Enrol makes this client a sensor of the server, or renews its certificate. Errors that
// do not pass are [ErrToken], [ErrRevoked] and [ErrServer].
func (c *Client) Enrol(ctx context.Context) error {
	if c.roots == nil && c.pinned() == "" {
		return fmt.Errorf("%w: the token has no fingerprint in it, and no authority is given", ErrToken)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, c.key)
	if err != nil {
		return err
	}
	secret, _, _ := strings.Cut(c.cfg.Token, ".")
	var out Enrolled
	err = c.ask(ctx, http.MethodPost, "enrol", &enrolRequest{Token: secret, CSR: string(pemOf("CERTIFICATE REQUEST", csr))}, &out)
	var s *statusError
	if errors.As(err, &s) && s.status == http.StatusForbidden {
		if c.cert != nil {
			return ErrRevoked
		}
		return ErrToken
	}
	if err != nil {
		return err
	}
	leaf, err := certificateOf([]byte(out.Certificate))
	if err != nil {
		return err
	}
	authority, err := certificateOf([]byte(out.Authority))
	if err != nil {
		return err
	}
	if pin(leaf.PublicKey) != pin(c.key.Public()) || c.cfg.CA == "" && c.roots == nil && !strings.HasPrefix(pin(authority.PublicKey), c.pinned()) {
		return ErrServer
	}
	out.Certificate, out.Authority = "", ""
	id, err := json.Marshal(&out)
	if err != nil {
		return err
	}
	// The certificate is written last: with it the enrolment is over.
	if c.cfg.CA == "" {
		err = writeFile(c.file("ca.pem"), pemOf("CERTIFICATE", authority.Raw))
	}
	if err == nil {
		err = writeFile(c.file("id.json"), id)
	}
	if err == nil {
		err = writeFile(c.file("cert.pem"), pemOf("CERTIFICATE", leaf.Raw))
	}
	if err != nil {
		return err
	}
	c.http.CloseIdleConnections() // which have no certificate
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

// Put takes something to be sent, and does not wait until it is on the disk. It is
// [ErrFull] when there is no room in memory.
func (c *Client) Put(b *store.Batch) error {
	_, err := c.put(b)
	return err
}

// Keep takes something to be sent, and returns when it is on the disk: from then on it
// is sent, whatever happens.
func (c *Client) Keep(ctx context.Context, b *store.Batch) error {
	p, err := c.put(b)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) put(b *store.Batch) (*pending, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending
	if max(len(p.Observations)+len(b.Observations), len(p.Devices)+len(b.Devices), len(p.Findings)+len(b.Findings), len(p.Events)+len(b.Events)) > maxPending {
		c.dropped++
		return nil, ErrFull
	}
	p.Observations = append(p.Observations, b.Observations...)
	p.Devices = append(p.Devices, b.Devices...)
	p.Findings = append(p.Findings, b.Findings...)
	p.Events = append(p.Events, b.Events...)
	if b.HeldToo {
		p.Held, p.HeldToo = b.Held, true
	}
	if b.State != nil {
		p.State, p.StateNews = b.State, p.StateNews || b.StateNews
	}
	return p, nil
}

// Run sends until ctx ends, and then writes to the disk what is not there yet.
func (c *Client) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { c.send(ctx) })
	if c.cfg.Decide != nil {
		all.Go(func() { c.decide(ctx) })
	}
	tick := time.NewTicker(cutTime)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			c.cut(true)
		case <-ctx.Done():
		}
	}
	all.Wait()
	c.cut(false)
	return nil
}

// Drain waits until nothing waits any more; Run has to be running.
func (c *Client) Drain(ctx context.Context) error {
	if err := c.Keep(ctx, &store.Batch{}); err != nil {
		return err
	}
	for {
		n, _, _, _ := c.queue.status()
		if n == 0 {
			return nil
		}
		if pause(ctx, cutTime); ctx.Err() != nil {
			return fmt.Errorf("%d batches wait: %w", n, cmp.Or(c.trouble(), ctx.Err()))
		}
	}
}

func (c *Client) trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.problem == "" {
		return nil
	}
	return errors.New(c.problem)
}

// cut writes what was put since the last time to the disk, with a beat if it is time.
func (c *Client) cut(beats bool) {
	c.mu.Lock()
	p := c.pending
	c.pending = newPending()
	c.mu.Unlock()
	waiting, merged, lost, damaged := c.queue.status()
	if p.State != nil && beats && waiting >= statesWait { // the newest is enough when they can be sent
		c.mu.Lock()
		if c.pending.State == nil {
			c.pending.State = p.State
		}
		c.pending.StateNews = c.pending.StateNews || p.StateNews
		c.mu.Unlock()
		p.State, p.StateNews = nil, false
	}
	empty := len(p.Observations)+len(p.Devices)+len(p.Findings)+len(p.Events) == 0 && !p.HeldToo && p.State == nil
	if now := c.cfg.Now(); beats && now.Sub(c.beat) >= beatTime && (!empty || waiting == 0) {
		c.beat = now
		p.Beat = c.beatNow(waiting, merged, lost, damaged)
		empty = false
	}
	if !empty {
		p.Sent = c.cfg.Now().UnixNano()
		withoutWorn(&p.Batch)
		p.err = c.keep(&p.Batch)
		if p.err != nil {
			c.mu.Lock()
			c.dropped++
			c.mu.Unlock()
			c.cfg.Log.Error("what is to be sent cannot be kept, and is lost", "err", p.err)
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	close(p.done)
}

func (c *Client) beatNow(waiting int, merged, lost uint64, damaged int) *store.Beat {
	b := &store.Beat{Version: c.cfg.Version, Buffered: uint64(waiting), Merged: merged}
	if c.cfg.Health != nil {
		b.Dropped, b.Problem = c.cfg.Health()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, bad := range []struct {
		n    uint64
		what string
	}{
		{lost, "observations were given up: the folder of what waits was full"},
		{c.dropped, "things were lost: they could not be kept"},
		{uint64(damaged), "batches on the disk were damaged"},
	} {
		if bad.n > 0 {
			b.Problem = strings.TrimPrefix(fmt.Sprintf("%s; %d %s", b.Problem, bad.n, bad.what), "; ")
		}
	}
	return b
}

// keep writes batches with all that is in b.
func (c *Client) keep(b *store.Batch) error {
	for {
		one := store.Batch{
			Sent: b.Sent, Observations: cutOff(&b.Observations, store.MaxObservations), Devices: cutOff(&b.Devices, store.MaxDevices),
			Findings: cutOff(&b.Findings, store.MaxFindings), Events: cutOff(&b.Events, store.MaxEvents),
		}
		if len(b.Observations)+len(b.Devices)+len(b.Findings)+len(b.Events) == 0 {
			one.Held, one.HeldToo, one.State, one.StateNews, one.Beat = b.Held, b.HeldToo, b.State, b.StateNews, b.Beat // behind the events that led there
			return c.keepOne(&one)
		}
		if err := c.keepOne(&one); err != nil {
			return err
		}
	}
}

// keepOne writes a batch, or two when it is too large for one.
func (c *Client) keepOne(b *store.Batch) error {
	err := c.queue.add(b)
	if !errors.Is(err, errLarge) || len(b.Devices)+len(b.Findings)+len(b.Events) < 2 {
		return err
	}
	half := store.Batch{
		Sent: b.Sent, Observations: b.Observations, Devices: cutOff(&b.Devices, (len(b.Devices)+1)/2),
		Findings: cutOff(&b.Findings, (len(b.Findings)+1)/2), Events: cutOff(&b.Events, (len(b.Events)+1)/2),
	}
	b.Observations = nil
	if err := c.keepOne(&half); err != nil {
		return err
	}
	return c.keepOne(b)
}

// cutOff takes the first n off a list.
func cutOff[T any](list *[]T, n int) []T {
	n = min(n, len(*list))
	first := (*list)[:n:n]
	*list = (*list)[n:]
	return first
}

// send sends what waits, one batch after the other.
func (c *Client) send(ctx context.Context) {
	greeted := false
	wait := retryMin
	for ctx.Err() == nil {
		err := c.step(ctx, &greeted)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		before := c.problem
		if c.problem = ""; err != nil {
			c.problem = err.Error()
		}
		c.mu.Unlock()
		switch {
		case err == nil:
			if before != "" {
				c.cfg.Log.Info("the server takes what is sent again")
			}
			wait = retryMin
			continue
		case before != err.Error():
			c.cfg.Log.Warn("nothing is sent now; it waits on the disk", "err", err)
		}
		greeted = false
		if errors.Is(err, ErrRevoked) || errors.Is(err, ErrToken) {
			wait = retryMax
		}
		pause(ctx, wait/2+mathrand.N(wait/2+1))
		wait = min(2*wait, retryMax)
	}
}

// step does what is next: enrol, ask for the state, send a batch, or wait for one.
func (c *Client) step(ctx context.Context, greeted *bool) error {
	c.mu.Lock()
	cert := c.cert
	c.mu.Unlock()
	now := c.cfg.Now()
	if cert == nil || cert.Leaf.NotAfter.Sub(now) < sensorTime/3 && cert.Leaf.NotBefore.Add(clockSkew+time.Hour).Before(now) {
		if err := c.Enrol(ctx); err != nil {
			return err
		}
	}
	if !*greeted {
		var state Enrolled
		if err := c.ask(ctx, http.MethodGet, "state", nil, &state); err != nil {
			return sensible(err)
		}
		if err := c.queue.raise(state.Sequence); err != nil {
			return err
		}
		*greeted = true
	}
	body, number, err := c.queue.head()
	if err != nil {
		return err
	}
	if body == nil {
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
		return nil
	}
	var out struct {
		Sequence uint64 `json:"sequence"`
	}
	err = c.ask(ctx, http.MethodPost, "batch", json.RawMessage(body), &out)
	var s *statusError
	switch {
	case err == nil && out.Sequence != number:
		return ErrServer
	case err == nil:
		return c.queue.done()
	case errors.As(err, &s) && (s.status == http.StatusBadRequest || s.status == http.StatusRequestEntityTooLarge):
		c.cfg.Log.Error("the server does not take a batch, and it is set aside", "sequence", number, "err", err)
		return c.queue.refuse()
	}
	return sensible(err)
}

// sensible is what an answer means to a sensor.
func sensible(err error) error {
	var s *statusError
	if errors.As(err, &s) && (s.status == http.StatusForbidden || s.status == http.StatusUnauthorized) {
		return ErrRevoked
	}
	return err
}

// decide asks for what clinicians decided, and does it.
func (c *Client) decide(ctx context.Context) {
	wait := retryMin
	for ctx.Err() == nil {
		if _, ok := c.Enrolled(); !ok {
			pause(ctx, retryMin)
			continue
		}
		var out struct {
			Do []Task `json:"do"`
		}
		if err := c.ask(ctx, http.MethodGet, "decisions", nil, &out); err != nil {
			pause(ctx, wait/2+mathrand.N(wait/2+1))
			wait = min(2*wait, retryMax)
			continue
		}
		wait = retryMin
		for _, t := range out.Do {
			a := answer{Key: t.Key}
			if err := c.cfg.Decide(ctx, &t.Decision); err != nil {
				a.Why = err.Error()
			}
			if err := c.ask(ctx, http.MethodPost, "decisions", &a, nil); err != nil {
				c.cfg.Log.Warn("the server does not hear what became of a decision", "err", err)
			}
		}
	}
}

// A statusError is an answer that is no success.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.status, e.text)
}

// ask asks the server.
func (c *Client) ask(ctx context.Context, method, what string, in, out any) error {
	ctx, stop := context.WithTimeout(ctx, requestTime)
	defer stop()
	var body io.Reader
	if b, ok := in.(json.RawMessage); ok { // as it is: a marshaller would write it anew
		body = bytes.NewReader(b)
	} else if in != nil {
		doc, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(doc)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+"/uplink/v1/"+what, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	w, err := c.http.Do(r)
	if err != nil {
		return plain(err)
	}
	defer w.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(w.Body, maxReply))
	if err != nil {
		return err
	}
	if w.StatusCode != http.StatusOK {
		var p struct{ Detail, Title string }
		json.Unmarshal(doc, &p)
		return &statusError{w.StatusCode, cmp.Or(p.Detail, p.Title, http.StatusText(w.StatusCode))}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(doc, out)
}

// plain takes method and address off an error: they are the same each time.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
