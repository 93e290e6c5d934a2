// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// TestMain is also the server that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killedEnv); dir != "" {
		fmt.Fprintln(os.Stderr, killed(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A site is a server of updates alone, by TLS.
type site struct {
	*Service
	dir   string
	store *store.Store
	ca    *uplink.Authority
	addr  string
	pool  *x509.CertPool
	cert  []byte
	clock
}

// A clock that the tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time // zero: the machine's
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.t.IsZero() {
		return time.Now()
	}
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), pool: x509.NewCertPool()}
	s.t = time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)
	var err error
	s.store, err = sqlite.Open(t.Context(), filepath.Join(s.dir, "myelin.db"), s.now)
	must(t, err)
	t.Cleanup(func() { s.store.Close() })
	s.ca, err = uplink.OpenAuthority(s.dir, nil)
	must(t, err)
	sensors := uplink.NewServer(uplink.ServerConfig{Store: s.store, Authority: s.ca})
	cfg := Config{Data: s.dir, Store: s.store, Now: s.now, Client: sensors.Client}
	for _, f := range change {
		f(&cfg)
	}
	s.Service, err = Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, s.Service.Close()) })
	cert, key, err := s.ca.Server("127.0.0.1")
	must(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	s.cert = pair.Certificate[0]
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	s.ca.Ask(conf)
	s.pool.AppendCertsFromPEM(s.ca.Certificate())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.addr = ln.Addr().String()
	h := &http.Server{Handler: access.Mux(s.Routes(), access.Problem(slog.New(slog.DiscardHandler))), TLSConfig: conf, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { h.ServeTLS(ln, "", "") })
	t.Cleanup(func() { h.Close(); serving.Wait() })
	return s
}

// A unit is a device, or who speaks for it.
type unit struct {
	patch.State
	signer cose.Signer
	kid    []byte
	key    cose.Key
}

func newUnit(t testing.TB, id string, curve cose.Curve) *unit {
	t.Helper()
	k, err := cose.GenerateKey(curve, rand.Reader)
	must(t, err)
	s, err := cose.NewSigner(k)
	must(t, err)
	return &unit{signer: s, kid: patch.KeyID(&k), key: k.Public(), State: patch.State{
		Device: id, Hardware: "C", Version: "2.1.4", Sequence: 7, Count: 1, Known: patch.All, Battery: 80, Longevity: -1, Link: 90, Free: 4 << 20,
		Settings: patch.Digest{1}, Saved: patch.Digest{1}, Slot: "A",
	}}
}

func (u *unit) registered(by string) store.UpdateKey {
	return store.UpdateKey{Device: u.Device, KID: u.kid, Key: u.key.AppendPublic(nil), By: by}
}

// device makes a device that is registered.
func (s *site) device(t testing.TB, id string) *unit {
	t.Helper()
	u := newUnit(t, id, cose.P256)
	_, err := s.store.AddUpdateKeys(t.Context(), []store.UpdateKey{u.registered("le")})
	must(t, err)
	return u
}

func (u *unit) sign(t testing.TB) []byte {
	t.Helper()
	b, err := patch.Sign(&u.State, u.signer, u.kid)
	must(t, err)
	return b
}

func (s *site) client(t testing.TB) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// post sends a State as it was signed.
func (s *site) post(t testing.TB, c *http.Client, b []byte) (int, []byte) {
	t.Helper()
	res, err := c.Post("https://"+s.addr+"/update/v1/poll", "application/cose", bytes.NewReader(b))
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, body
}

// say has a device poll, and reads the answer.
func (s *site) say(t testing.TB, c *http.Client, u *unit) *patch.Answer {
	t.Helper()
	status, b := s.post(t, c, u.sign(t))
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", u.Device, status, b)
	}
	a := &patch.Answer{}
	if u.Nonce != nil {
		must(t, patch.Open(b, a, func([]byte) *cose.Key { return &s.public }))
	} else {
		must(t, patch.Parse(b, a))
	}
	u.Count++
	u.Echo, u.Nonce = a.Challenge, nil
	return a
}

func id(n int) string { return fmt.Sprintf("dev-%06d", n) }

func FuzzHear(f *testing.F) {
	s := newSite(f)
	u := s.device(f, "pump-3")
	f.Add(u.sign(f))
	u.Result = &patch.Result{Envelope: patch.Digest{1}, Offer: 7, Version: "2.2.0", Outcome: patch.Installed}
	f.Add(u.sign(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := s.hear(t.Context(), b, s.now())
		var st patch.State
		if err == nil && patch.Open(b, &st, func([]byte) *cose.Key { return &u.key }) != nil {
			t.Errorf("what the device did not sign is answered: %x", a)
		}
	})
}
