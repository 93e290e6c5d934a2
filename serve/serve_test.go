// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
)

func open(t *testing.T, c Config) *Server {
	t.Helper()
	if c.Data == "" {
		c.Data = filepath.Join(t.TempDir(), "data")
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// runs lets a server serve, and returns its address.
func runs(t *testing.T, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Run(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	address, _ := s.Address(ln)
	return address
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestCertificate(t *testing.T) {
	k := &clock{at: time.Now()}
	dir := t.TempDir()
	ca, err := uplink.OpenAuthority(dir, k.now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCertificate(&Config{Data: dir, Listen: "ada.example:8440", Now: k.now, Log: slog.New(slog.DiscardHandler)}, ca)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		t.Helper()
		got, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.String()
	}
	first := serial()
	leaf := c.current.Leaf
	for _, host := range []string{"ada.example", "localhost", "127.0.0.1", "::1"} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if leaf.PublicKeyAlgorithm != x509.ECDSA || leaf.NotAfter.Sub(k.now()) > uplink.ServerTime || leaf.NotAfter.Sub(k.now()) < uplink.ServerTime-time.Minute {
		t.Errorf("%v until %v", leaf.PublicKeyAlgorithm, leaf.NotAfter)
	}
	if info, err := os.Stat(filepath.Join(dir, "tls.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", info.Mode(), err)
	}
	k.pass(uplink.ServerTime - ownRenewal - time.Minute)
	if serial() != first {
		t.Error("renewed more than a month before its end")
	}
	k.pass(2 * time.Minute)
	second := serial()
	if second == first {
		t.Error("not renewed a month before its end")
	}
	// Others' files are read again when they change, and half a change is not taken.
	theirs, err := openCertificate(&Config{TLSCertificate: filepath.Join(dir, "tls.pem"), TLSKey: filepath.Join(dir, "tls.key"), Now: k.now, Log: slog.New(slog.DiscardHandler)}, ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.pem"), []byte("half a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	k.pass(time.Minute)
	if got, err := theirs.Get(nil); err != nil || got.Leaf.SerialNumber.String() != second {
		t.Errorf("while a file is damaged: %v", err)
	}
	if c, err = openCertificate(&Config{Data: dir, Listen: "0.0.0.0:1", Now: k.now, Log: slog.New(slog.DiscardHandler)}, ca); err != nil { // makes a pair anew
		t.Fatal(err)
	}
	k.pass(time.Minute)
	if got, err := theirs.Get(nil); err != nil || got.Leaf.SerialNumber.String() != serial() {
		t.Errorf("after the files changed: %v", err)
	}
	// Who copies the authority of another server has a certificate of that one.
	other := t.TempDir()
	if _, err := uplink.OpenAuthority(other, k.now); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "ca.key"} {
		b, err := os.ReadFile(filepath.Join(other, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if ca, err = uplink.OpenAuthority(dir, k.now); err != nil {
		t.Fatal(err)
	}
	if ca.Issued(c.current.Leaf) {
		t.Fatal("the old certificate is of the new authority")
	}
	if c, err = openCertificate(&Config{Data: dir, Listen: "0.0.0.0:1", Now: k.now, Log: slog.New(slog.DiscardHandler)}, ca); err != nil || !ca.Issued(c.current.Leaf) {
		t.Errorf("with another authority: %v", err)
	}
	if _, err := openCertificate(&Config{TLSCertificate: "x", Now: k.now, Log: slog.New(slog.DiscardHandler)}, ca); err == nil {
		t.Error("a certificate without a key was taken")
	}
}

func TestTLS(t *testing.T) {
	s := open(t, Config{Listen: "0.0.0.0:0"})
	address := runs(t, s)
	pool := x509.NewCertPool()
	pool.AddCert(s.certificate.current.Leaf)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %s", resp.Status, resp.Proto)
	}
	if resp, err := http.Get(strings.Replace(address, "https", "http", 1) + "/healthz"); err == nil && resp.StatusCode == 200 {
		t.Error("it answers in clear")
	}
}

func TestHealth(t *testing.T) {
	s := open(t, Config{})
	address := runs(t, s)
	get := func(path string) (int, string) {
		t.Helper()
		r, _ := http.NewRequest("GET", address+path, nil)
		r.Header.Set("Accept", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if status, _ := get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	if status, _ := get("/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	if status, _ := get("/metrics"); status != 401 {
		t.Errorf("/metrics for a stranger: %d, want 401", status)
	}
	get("/no/such/page-of-an-outsider?x=outsider")
	r, _ := http.NewRequest("GET", "/metrics", nil)
	w := &memory{header: http.Header{}}
	for _, route := range s.healthRoutes() {
		if route.Pattern == "GET /metrics" {
			if err := route.Handle(w, r, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := w.b.String()
	for _, want := range []string{`myelin_requests_total{route="GET /healthz",status="200"} 1`, `myelin_requests_total{route="GET /metrics",status="401"} 1`, `myelin_store_rows{of="devices"} 0`, "myelin_live_readers 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics does not say %s", want)
		}
	}
	if strings.Contains(text, "outsider") {
		t.Error("an outsider chose a label")
	}
	s.store.Close()
	if status, body := get("/readyz"); status != 503 || !strings.Contains(body, "not ready") || strings.Contains(body, "sql") {
		t.Errorf("/readyz without a store: %d %s", status, body)
	}
}

type memory struct {
	header http.Header
	b      bytes.Buffer
}

func (m *memory) Header() http.Header         { return m.header }
func (m *memory) Write(b []byte) (int, error) { return m.b.Write(b) }
func (m *memory) WriteHeader(int)             {}

// TestOnce shows that a job that is due is done by one of two servers of a database, and
// again when its time has come; one that a server died over is done by the other.
func TestOnce(t *testing.T) {
	k := &clock{at: time.Now()}
	dsn := testpeer.PostgreSQL(t, testpeer.Forgetful)
	dir := t.TempDir()
	a := open(t, Config{Data: filepath.Join(dir, "a"), Store: dsn, Now: k.now})
	if _, err := Open(t.Context(), Config{Data: filepath.Join(dir, "stranger"), Listen: "127.0.0.1:0", Store: dsn, Now: k.now}); err == nil || !strings.Contains(err.Error(), "copy ca.pem") {
		t.Errorf("a server with keys of its own: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "ca.key", "secret.key"} {
		if err := copyFile(filepath.Join(dir, "a", name), filepath.Join(dir, "b", name)); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, Config{Data: filepath.Join(dir, "b"), Store: dsn, Now: k.now})
	var mu sync.Mutex
	n := 0
	daily := job{"test", 24 * time.Hour, time.Hour, func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		return nil
	}}
	round := func(j *job, want int) {
		t.Helper()
		var both sync.WaitGroup
		for _, s := range []*Server{a, b} {
			both.Go(func() {
				if err := s.once(t.Context(), j); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if n != want {
			t.Errorf("done %d times, want %d", n, want)
		}
	}
	for day := range 3 {
		round(&daily, day+1)
		k.pass(23 * time.Hour)
		round(&daily, day+1)
		k.pass(2 * time.Hour)
	}
	n = 0
	late := daily
	late.name = "late"
	if mine, err := a.store.Lease(t.Context(), "done late", a.name, late.most); err != nil || !mine {
		t.Fatal(err)
	}
	if err := b.once(t.Context(), &late); err != nil || n != 0 {
		t.Errorf("done %d times while another does it: %v", n, err)
	}
	k.pass(2 * time.Hour) // which has died
	round(&late, 1)
	n = 0
	failed := job{"fails", 24 * time.Hour, time.Hour, func(context.Context) error { n++; return errors.New("no") }}
	a.once(t.Context(), &failed)
	a.once(t.Context(), &failed)
	if n != 2 {
		t.Error("a job that failed is not tried again")
	}
	for _, s := range []*Server{a, b} {
		if err := s.retain(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestBackup backs up a server while people act on it, and begins another from that.
func TestBackup(t *testing.T) {
	s := open(t, Config{})
	if err := s.store.SavePerson(t.Context(), &store.Person{Login: "ada", Name: "Ada", Roles: uint32(access.Viewer)}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.cfg.Data, "updates", "flow.suit"), []byte("an envelope"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if err := s.access.Acted("ada", "before", "", "", 0, event.Succeeded); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var acting sync.WaitGroup
	for range 3 {
		acting.Go(func() {
			for ctx.Err() == nil {
				e := event.Event{Kind: event.PersonActed, Device: device.Address{Kind: device.Host, Value: "server"}}
				e.Add(event.Text(event.Operation, "meanwhile"))
				if err := s.ledger.Record(&e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "b.tar")
	m, err := Backup(t.Context(), s.cfg.Data, file, "v0", nil)
	stop()
	acting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the keys: %v", info.Mode())
	}
	if _, err := Backup(t.Context(), s.cfg.Data, file, "v0", nil); err == nil {
		t.Error("a backup was written over another")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
	if len(left) > 0 {
		t.Errorf("it leaves %q", left)
	}
	data := filepath.Join(t.TempDir(), "restored")
	if _, err := Restore(t.Context(), file, data); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(data, "updates", "flow.suit")); err != nil || string(b) != "an envelope" {
		t.Errorf("an envelope: %q, %v", b, err)
	}
	if _, err := Restore(t.Context(), file, data); err == nil {
		t.Error("restored into a folder that is not empty")
	}
	again := open(t, Config{Data: data})
	if p, err := again.store.Person(t.Context(), "ada"); err != nil || p.Name != "Ada" {
		t.Errorf("the person: %v", err)
	}
	c, err := again.ledger.Checkpoint()
	if err != nil || c.Size < 300 {
		t.Errorf("the ledger has %d entries: %v", c.Size, err)
	}
	k, _ := ledger.ParseVerifier(again.shown.Key)
	if rep, err := ledger.Verify(again.shown.Dir, ledger.VerifyConfig{Ledger: k}); err != nil || !rep.OK() {
		t.Errorf("the ledger: %v %v", err, rep)
	}
	if len(m.Files) < 5 || !slices.ContainsFunc(m.Files, func(f struct {
		Name   string `json:"name"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
		Mode   uint32 `json:"mode"`
	},
	) bool {
		return f.Name == "ledger.key"
	}) {
		t.Errorf("the manifest: %+v", m.Files)
	}

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, b []byte) {
		t.Helper()
		file, data := filepath.Join(t.TempDir(), "x.tar"), filepath.Join(t.TempDir(), "x")
		os.WriteFile(file, b, 0o600)
		if _, err := Restore(t.Context(), file, data); !errors.Is(err, ErrBackup) {
			t.Errorf("%s: %v", what, err)
		}
		if list, _ := os.ReadDir(filepath.Dir(data)); len(list) > 0 {
			t.Errorf("%s: something was written: %v", what, list)
		}
	}
	for _, at := range []int{len(whole) / 2, len(whole) - 3000} {
		b := bytes.Clone(whole)
		b[at] ^= 1
		refused("one bit", b)
	}
	refused("half", whole[:len(whole)/2])
	refused("nothing", nil)
	for _, name := range []string{"../out", "/etc/x", "a/../../x", "a\\..\\x", "."} {
		refused(name, archive(t, `{"version":1,"made":"2026-01-01T00:00:00Z","by":"","files":[{"name":`+quoted(name)+`,"size":1,"sha256":"","mode":384}]}`, name))
	}
	refused("more than it says", archive(t, `{"version":1,"made":"2026-01-01T00:00:00Z","by":"","files":[]}`, "extra"))
	refused("a newer version", archive(t, `{"version":2,"made":"2026-01-01T00:00:00Z","by":"","files":[]}`, ""))
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `\`, `\\`) + `"` }

func archive(t *testing.T, manifest, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: manifestName, Size: int64(len(manifest)), Mode: 0o600})
	io.WriteString(w, manifest)
	if name != "" {
		w.WriteHeader(&tar.Header{Name: name, Size: 1, Mode: 0o600})
		io.WriteString(w, "x")
	}
	w.Close()
	return b.Bytes()
}
