// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent/https"
)

// overHTTPS puts the world's server behind HTTPS on loopback, and the device before it.
// Spoil may answer instead.
func (w *world) overHTTPS(t *testing.T, spoil func(http.ResponseWriter, *http.Request) bool) *https.Client {
	t.Helper()
	pki, err := testpki.New("updates")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pki.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /update/v1/poll", func(o http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, patch.MaxMessage+1))
		if err == nil {
			b, err = w.Poll(r.Context(), b)
		}
		if err != nil {
			http.Error(o, err.Error(), http.StatusBadRequest)
			return
		}
		o.Write(b)
	})
	mux.HandleFunc("GET /update/v1/{path...}", func(o http.ResponseWriter, r *http.Request) {
		b := make([]byte, 32<<10)
		n, err := w.ReadAt(r.Context(), r.PathValue("path"), b, 0)
		if errors.Is(err, fs.ErrNotExist) {
			http.NotFound(o, r)
			return
		}
		http.ServeContent(o, r, "", time.Time{}, bytes.NewReader(b[:n]))
	})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(o http.ResponseWriter, r *http.Request) {
		if spoil == nil || !spoil(o, r) {
			mux.ServeHTTP(o, r)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := https.New(s.URL, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pki.Pool()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w.server = c
	return c
}

func TestHTTPS(t *testing.T) {
	w := newWorld(t)
	w.overHTTPS(t, nil)
	if errs, err := w.run(w.heardOf(1)); err != nil || errs != nil {
		t.Fatal(err, errs)
	}
	if r := w.results[0]; r.Outcome != patch.Installed {
		t.Errorf("it ends with %+v", r)
	}
}

// A connection that is cut every few thousand bytes, in files and in polls, costs
// another one, and nothing is fetched twice but what was not in flash yet.
func TestHTTPSCut(t *testing.T) {
	w := newWorld(t)
	var asked, ranges atomic.Int32
	w.overHTTPS(t, func(o http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		n := asked.Add(1)
		if n%3 == 1 {
			return false
		}
		rec := httptest.NewRecorder()
		if r.Method == http.MethodGet {
			// What the server would say, but the first of it.
			b := make([]byte, 32<<10)
			k, err := w.ReadAt(r.Context(), strings.TrimPrefix(r.URL.Path, "/update/v1/"), b, 0)
			if err != nil && err != io.EOF {
				return false
			}
			http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(b[:k]))
		}
		for k, v := range rec.Header() {
			o.Header()[k] = v
		}
		o.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		o.Write(body[:min(len(body), 3000)])
		o.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	errs, err := w.run(w.heardOf(1))
	if err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.Installed || ranges.Load() == 0 || len(errs) == 0 {
		t.Errorf("%d requests go on where one was cut, %d errors, and it ends with %+v", ranges.Load(), len(errs), r)
	}
}

func TestHTTPSHostile(t *testing.T) {
	type answer = func(http.ResponseWriter, *http.Request) bool
	file := func(f func(http.ResponseWriter)) answer {
		return func(o http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				f(o)
			}
			return r.Method == http.MethodGet
		}
	}
	endless := func(o http.ResponseWriter) {
		b := make([]byte, 64<<10)
		for range 1 << 14 { // a gigabyte, unless somebody hangs up
			if _, err := o.Write(b); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name  string
		spoil answer
	}{
		{"an endless file", file(endless)},
		{"an endless answer", func(o http.ResponseWriter, r *http.Request) bool {
			endless(o)
			return true
		}},
		{"a redirect", func(o http.ResponseWriter, r *http.Request) bool {
			http.Redirect(o, r, "https://127.0.0.1:1/", http.StatusTemporaryRedirect)
			return true
		}},
		{"another part than was asked for", func(o http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			o.Header().Set("Content-Range", "bytes 0-9/10")
			o.WriteHeader(http.StatusPartialContent)
			o.Write(make([]byte, 10))
			return true
		}},
		{"the whole file where a part was asked for", func(o http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			o.Write(make([]byte, 20000))
			return true
		}},
		{"nothing at all", func(o http.ResponseWriter, r *http.Request) bool {
			c, _, err := o.(http.Hijacker).Hijack()
			if err == nil {
				c.Close()
			}
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			client := w.overHTTPS(t, c.spoil)
			w.answer = func(s *patch.State, _ *patch.Answer, o *patch.Offer) {
				if s.Result != nil {
					w.never = true
				}
			}
			if strings.HasPrefix(c.name, "another part") || strings.HasPrefix(c.name, "the whole") {
				if _, err := client.ReadAt(t.Context(), "flow500/2.2.0/firmware.bin", make([]byte, 100), 500); err == nil {
					t.Error("it is taken")
				}
				return
			}
			if _, err := w.run(func() bool { return w.clock > 2*time.Hour || len(w.results) > 0 }); err != nil {
				t.Fatal(err)
			}
			if s := w.agent.State(); s.Version != "2.1.4" || s.Staged != (patch.Digest{}) {
				t.Errorf("it is %+v", s)
			}
		})
	}
	for _, u := range []string{"http://127.0.0.1", "https://", "https://user:secret@127.0.0.1", "https://127.0.0.1/?x=1", "::"} {
		if _, err := https.New(u, nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", u, err)
		}
	}
	// A server that somebody else plays is nobody.
	w := newWorld(t)
	w.overHTTPS(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cert, err := testpki.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: nil}
	go s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	defer s.Close()
	other, err := https.New("https://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Poll(t.Context(), []byte{1}); err == nil {
		t.Error("an unknown certificate is believed")
	}
}
