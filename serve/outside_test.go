// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

const goodPassword = "seven grey herons at noon"

var hashed = sync.OnceValues(func() (string, error) { return access.HashPassword(goodPassword) })

// An outside is a server that serves by TLS, as those see it who are not in it.
type outside struct {
	t       testing.TB
	s       *Server
	at      string // https://127.0.0.1:...
	pool    *x509.CertPool
	log     *logged
	checked map[string]bool // routes whose answers were looked at
}

// logged is what the server logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newOutside starts a server; prepare changes it before it serves.
func newOutside(t *testing.T, c Config, prepare ...func(*Server)) *outside {
	t.Helper()
	o := &outside{t: t, log: &logged{}, pool: x509.NewCertPool(), checked: map[string]bool{}}
	c.TLS, c.Log = true, slog.New(slog.NewTextHandler(o.log, nil))
	o.s = open(t, c)
	for _, f := range prepare {
		f(o.s)
	}
	o.pool.AddCert(o.s.certificate.current.Leaf)
	o.at = runs(t, o.s)
	return o
}

// person makes somebody who signs in with [goodPassword].
func (o *outside) person(login string, roles access.Role) *store.Person {
	o.t.Helper()
	hash, err := hashed()
	if err != nil {
		o.t.Fatal(err)
	}
	p := &store.Person{Login: login, Name: login, Roles: uint32(roles), Hash: hash, Added: time.Now().UnixNano()}
	if roles&access.Clinician != 0 {
		p.Clinical = "prescriber"
	}
	if roles&access.Manufacturer != 0 {
		p.Products = []string{"Norra Medical Flow 500"}
	}
	if err := o.s.store.SavePerson(o.t.Context(), p); err != nil {
		o.t.Fatal(err)
	}
	return p
}

// A visitor is a browser without script, or a program.
type visitor struct {
	o *outside
	*http.Client
	head http.Header // that it sends with each request
}

// visitor is somebody who is signed in; "" is nobody.
func (o *outside) visitor(login string) *visitor {
	o.t.Helper()
	jar, _ := cookiejar.New(nil)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.pool}, ForceAttemptHTTP2: true}
	o.t.(*testing.T).Cleanup(tr.CloseIdleConnections)
	v := &visitor{o, &http.Client{Transport: tr, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, http.Header{}}
	if login != "" {
		v.signIn(login)
	}
	return v
}

func (v *visitor) signIn(login string) {
	v.o.t.Helper()
	if a := v.post("/sign-in", "login", login, "password", goodPassword); a.status != http.StatusSeeOther {
		v.o.t.Fatalf("%s could not sign in: %d", login, a.status)
	}
}

// program is a program with a token of somebody.
func (o *outside) program(p *store.Person, scopes ...string) *visitor {
	o.t.Helper()
	secret, err := o.s.access.AddToken(o.t.Context(), &access.Principal{Person: p, Roles: access.Role(p.Roles)}, "test", scopes, time.Hour)
	if err != nil {
		o.t.Fatal(err)
	}
	v := o.visitor("")
	v.head.Set("Authorization", "Bearer "+secret)
	return v
}

// A reply is what a visitor was told.
type reply struct {
	status int
	head   http.Header
	body   string
}

func (v *visitor) send(r *http.Request) *reply {
	v.o.t.Helper()
	for k, list := range v.head {
		if _, has := r.Header[k]; !has {
			r.Header[k] = list
		}
	}
	a, err := v.Do(r)
	if err != nil {
		v.o.t.Fatalf("%s %.60s: %s", r.Method, r.URL.Path, tail(err))
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		v.o.t.Fatalf("%s %.60s: %s", r.Method, r.URL.Path, tail(err))
	}
	return &reply{a.StatusCode, a.Header, string(b)}
}

func (v *visitor) request(method, path, kind string, body io.Reader) *http.Request {
	v.o.t.Helper()
	r, err := http.NewRequestWithContext(v.o.t.Context(), method, v.o.at+path, body)
	if err != nil {
		v.o.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r
}

func (v *visitor) get(path string) *reply {
	v.o.t.Helper()
	r := v.request("GET", path, "", nil)
	r.Header.Set("Accept", "text/html")
	return v.send(r)
}

func (v *visitor) post(path string, form ...string) *reply {
	v.o.t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	r := v.request("POST", path, "application/x-www-form-urlencoded", strings.NewReader(values.Encode()))
	r.Header.Set("Accept", "text/html")
	return v.send(r)
}

func (v *visitor) json(method, path, body string, head ...string) *reply {
	v.o.t.Helper()
	r := v.request(method, path, "application/json", strings.NewReader(body))
	r.Header.Set("Accept", "application/json")
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	return v.send(r)
}

// sensor enrols a sensor or a guard, and returns it with its number.
func (o *outside) sensor(kind string) (v *visitor, id string) {
	o.t.Helper()
	token, err := o.s.uplink.Enrolment(o.t.Context(), kind+" of ICU", "ICU", kind, "le", time.Now().Add(time.Hour))
	if err != nil {
		o.t.Fatal(err)
	}
	key, _, csr := keyed(o.t)
	doc, _ := json.Marshal(map[string]string{"token": token, "csr": csr})
	a := o.visitor("").json("POST", "/uplink/v1/enrol", string(doc))
	var in struct{ ID, Certificate string }
	if err := json.Unmarshal([]byte(a.body), &in); err != nil || a.status != 200 {
		o.t.Fatalf("enrolment: %d %s", a.status, a.body)
	}
	block, _ := pem.Decode([]byte(in.Certificate))
	v = o.visitor("")
	v.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}
	return v, in.ID
}

// keyed makes a key and a certificate request of it.
func keyed(t testing.TB) (key *ecdsa.PrivateKey, der []byte, csr string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, der, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// deliver sends a batch, and waits until it is written.
func (o *outside) deliver(v *visitor, id string, b *store.Batch) *reply {
	o.t.Helper()
	doc, err := b.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	a := v.send(v.request("POST", "/uplink/v1/batch", "application/json", bytes.NewReader(doc)))
	for a.status == 200 {
		n, err := o.s.store.Sensor(o.t.Context(), id)
		if err != nil {
			o.t.Fatal(err)
		}
		if n.Sequence >= b.Sequence {
			break
		}
		o.soon()
	}
	return a
}

// soon lets others go on.
func (o *outside) soon() {
	ctx, stop := context.WithTimeout(o.t.Context(), 5*time.Millisecond)
	defer stop()
	<-ctx.Done()
}

// gone waits until the server has closed a connection.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server does not close it")
	}
}

// tail is the end of an error: its begin may be a long address.
func tail(err error) string {
	s := err.Error()
	return s[max(0, len(s)-300):]
}
