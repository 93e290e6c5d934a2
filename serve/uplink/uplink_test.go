// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store"
)

func TestEndToEnd(t *testing.T) {
	s := newSite(t)
	c := s.client(t, "guard", nil)
	for n := range 20 {
		must(t, c.Put(item(n)))
	}
	worn := device.Device{ID: "d-1", Serial: "S-WORN-1", Product: device.Product{Manufacturer: "Norra", Therapy: device.Pacing}}
	other := device.Device{ID: "d-2", Serial: "S-BED-1", Product: device.Product{Manufacturer: "Norra", Therapy: device.DrugInfusion}}
	must(t, c.Put(&store.Batch{Devices: []device.Device{worn, other}, HeldToo: true, Held: []store.Held{{ID: "1", Device: "pump-3"}}}))
	must(t, c.Drain(t.Context()))
	s.settled(t)
	numbers, observations := items(t, s.store)
	if len(numbers) != 20 || !slices.IsSorted(numbers) || observations != 20*each {
		t.Errorf("%v, %d observations", numbers, observations)
	}
	held, err := s.store.HeldCommands(t.Context())
	must(t, err)
	if len(held) != 1 || held[0].Device != "pump-3" {
		t.Errorf("held: %+v", held)
	}
	list, err := s.store.Devices(t.Context(), store.DeviceQuery{})
	must(t, err)
	doc, err := json.Marshal(list)
	must(t, err)
	if strings.Contains(string(doc), worn.Serial) || !strings.Contains(string(doc), other.Serial) {
		t.Error("serial numbers: that of the pacemaker crosses, or that of the pump does not")
	}
	id, ok := c.Enrolled()
	all, err := s.store.Sensors(t.Context())
	must(t, err)
	if !ok || len(all) != 1 || all[0].ID != id.ID || all[0].Version != "test" || all[0].Sequence == 0 || id.Name != "ward 3" || id.Kind != "guard" {
		t.Errorf("%+v, %+v", id, all)
	}
}

// A caller is a sensor that says what it likes.
type caller struct {
	*http.Client
	url string
	id  string
}

// call asks the server, and returns the status.
func (c *caller) call(t testing.TB, method, what string, body io.Reader) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+"/uplink/v1/"+what, body)
	must(t, err)
	w, err := c.Do(r)
	must(t, err)
	io.Copy(io.Discard, w.Body)
	w.Body.Close()
	return w.StatusCode
}

func (c *caller) batch(t testing.TB, body string) int {
	return c.call(t, "POST", "batch", strings.NewReader(body))
}

// caller enrols somebody who says what he likes.
func (s *site) caller(t testing.TB, kind string) *caller {
	t.Helper()
	cfg := Config{Server: "https://" + s.http.Addr, Token: s.token(t, kind)}
	c, err := Open(t.TempDir(), cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.Enrol(t.Context()))
	id, _ := c.Enrolled()
	return &caller{c.http, c.url, id.ID}
}

// stranger is a caller with a certificate of another authority, or without.
func (s *site) stranger(t testing.TB, cert *tls.Certificate) *caller {
	conf := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	tr := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(tr.CloseIdleConnections)
	return &caller{&http.Client{Transport: tr}, "https://" + s.http.Addr, ""}
}

// TestWho: only an enrolled sensor that was not revoked is let in, and as itself.
func TestWho(t *testing.T) {
	s := newSite(t)
	a, b := s.caller(t, "sensor"), s.caller(t, "sensor")
	want := func(what string, got, status int) {
		t.Helper()
		if got != status {
			t.Errorf("%s: %d, not %d", what, got, status)
		}
	}
	want("a sensor", a.batch(t, `{"Sequence":1}`), 200)
	want("its state", a.call(t, "GET", "state", nil), 200)
	want("in its own name", a.batch(t, `{"Sequence":2,"Sensor":"`+a.id+`"}`), 200)
	want("in the name of another", a.batch(t, `{"Sequence":3,"Sensor":"`+b.id+`"}`), 403)
	want("a sensor with verdicts", a.batch(t, `{"Sequence":3,"HeldToo":true}`), 403)
	want("a sensor with a guard's state", a.batch(t, `{"Sequence":3,"State":{}}`), 403)
	want("a sensor that asks for decisions", a.call(t, "GET", "decisions", nil), 403)

	for _, what := range []string{"state", "decisions"} {
		want("nobody, "+what, s.stranger(t, nil).call(t, "GET", what, nil), 401)
	}
	want("nobody", s.stranger(t, nil).batch(t, `{"Sequence":1}`), 401)

	// Of another authority, with the name of a sensor; and of this one, but no sensor's.
	foreign, err := OpenAuthority(t.TempDir(), nil)
	must(t, err)
	for what, ca := range map[string]*Authority{"a foreign certificate": foreign, "a sensor's name with another key": s.ca} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		pem, err := ca.sensor(a.id, key.Public())
		must(t, err)
		leaf, err := certificateOf(pem)
		must(t, err)
		status := 401
		if ca == s.ca {
			status = 403
		}
		want(what, s.stranger(t, &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}).batch(t, `{"Sequence":9}`), status)
	}
	cert, key, err := s.ca.Server(a.id)
	must(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	want("the server's own certificate", s.stranger(t, &pair).batch(t, `{"Sequence":9}`), 401)

	must(t, s.store.RevokeSensor(t.Context(), a.id))
	want("a revoked sensor", a.batch(t, `{"Sequence":3}`), 403)
	want("its state", a.call(t, "GET", "state", nil), 403)
	want("another", b.batch(t, `{"Sequence":1}`), 200)
}

// TestBodies: bodies that are too long, too slow or no batch do no harm.
func TestBodies(t *testing.T) {
	s := newSite(t)
	a := s.caller(t, "sensor")
	for what, c := range map[string]struct {
		body   io.Reader
		status int
	}{
		"nothing":                       {nil, 400},
		"no batch":                      {strings.NewReader("<xml>"), 400},
		"a number that is none":         {strings.NewReader(`{"Sequence":-1}`), 400},
		"the longest":                   {strings.NewReader(`{"Sequence":1}` + strings.Repeat(" ", store.MaxBatchBytes-14)), 200},
		"one byte more":                 {strings.NewReader(`{"Sequence":2}` + strings.Repeat(" ", store.MaxBatchBytes-13)), 413},
		"one byte more, that is hidden": {io.MultiReader(strings.NewReader(`{"Sequence":2}`), bytes.NewReader(bytes.Repeat([]byte(" "), store.MaxBatchBytes-13))), 413},
		"many lists in lists":           {strings.NewReader(`{"Sequence":2,"Findings":` + strings.Repeat("[", 1<<20)), 400},
	} {
		if got := a.call(t, "POST", "batch", c.body); got != c.status {
			t.Errorf("%s: %d, not %d", what, got, c.status)
		}
	}
	// While one batch of a sensor comes slowly, no other does; those of others do.
	r, w := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	slow, err := http.NewRequestWithContext(ctx, "POST", a.url+"/uplink/v1/batch", r)
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		answer, err := a.Do(slow)
		if err == nil {
			answer.Body.Close()
		}
		ended <- err
	}()
	_, err = w.Write([]byte(`{"Sequence":`)) // it is read: the request is under way
	must(t, err)
	for a.batch(t, `{"Sequence":5}`) != 429 {
		if t.Context().Err() != nil {
			t.Fatal("a second batch at the same time is let in")
		}
	}
	if got := s.caller(t, "sensor").batch(t, `{"Sequence":1}`); got != 200 {
		t.Errorf("another sensor: %d", got)
	}
	stop()
	w.CloseWithError(errors.New("cut off"))
	if <-ended == nil {
		t.Error("the slow one had an answer")
	}
}

// TestSlow: a body that does not come is not waited for.
func TestSlow(t *testing.T) {
	s := newSite(t)
	a := s.caller(t, "sensor")
	s.server.slow = 20 * time.Millisecond
	r, w := io.Pipe()
	defer w.Close()
	go w.Write([]byte(`{"Sequence":1`))
	if got := a.call(t, "POST", "batch", io.NopCloser(r)); got != 408 {
		t.Errorf("%d", got)
	}
	s.server.slow = bodyTime
	if got := a.batch(t, `{"Sequence":1}`); got != 200 {
		t.Errorf("and then %d", got)
	}
}

// TestRate: who sends too often is told to wait.
func TestRate(t *testing.T) {
	s := newSite(t)
	a := s.caller(t, "sensor")
	for range batchesAtOnce * 3 {
		if got := a.batch(t, `{`); got == 429 {
			return
		}
	}
	t.Error("there is no end")
}

// TestRepeat: a batch that is sent again is taken, and written once.
func TestRepeat(t *testing.T) {
	s := newSite(t)
	a := s.caller(t, "guard")
	for _, n := range []uint64{1, 1, 2, 1, 2, 5, 4, 5} { // 3 was put into 5
		b := item(int(n))
		b.Sequence = n
		doc, err := b.Encode()
		must(t, err)
		if got := a.call(t, "POST", "batch", bytes.NewReader(doc)); got != 200 {
			t.Errorf("%d: %d", n, got)
		}
	}
	s.settled(t)
	if numbers, observations := items(t, s.store); !slices.Equal(numbers, []int{1, 2, 5}) || observations != 3*each {
		t.Errorf("%v, %d", numbers, observations)
	}
}

// TestEnrol: a token is used once, by one key; the same key has its certificate again.
func TestEnrol(t *testing.T) {
	s := newSite(t)
	token := s.token(t, "sensor")
	open := func(dir, token string) *Client {
		c, err := Open(dir, Config{Server: "https://" + s.http.Addr, Token: token})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	dir := t.TempDir()
	a := open(dir, token)
	must(t, a.Enrol(t.Context()))
	first, _ := a.Enrolled()
	must(t, a.Enrol(t.Context())) // the answer might have been lost
	if again, _ := a.Enrolled(); again.ID != first.ID {
		t.Error("the same key is two sensors")
	}
	if err := open(t.TempDir(), token).Enrol(t.Context()); !errors.Is(err, ErrToken) {
		t.Errorf("a token that was used: %v", err)
	}
	other := random(tokenBytes) + token[strings.IndexByte(token, '.'):]
	if err := open(t.TempDir(), other).Enrol(t.Context()); !errors.Is(err, ErrToken) {
		t.Errorf("a token that never was: %v", err)
	}
	expired, err := s.server.Enrolment(t.Context(), "x", "x", "sensor", "le", time.Now().Add(-time.Second))
	must(t, err)
	if err := open(t.TempDir(), expired).Enrol(t.Context()); !errors.Is(err, ErrToken) {
		t.Errorf("an expired token: %v", err)
	}
	// Another server: its authority is not that of the token.
	elsewhere := newSite(t)
	if c, err := Open(t.TempDir(), Config{Server: "https://" + elsewhere.http.Addr, Token: s.token(t, "sensor")}); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
		if err := c.Enrol(t.Context()); !errors.Is(err, ErrServer) {
			t.Errorf("another server: %v", err)
		}
	}
	if c, err := Open(t.TempDir(), Config{Server: "https://" + s.http.Addr, Token: "no pin"}); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
		if err := c.Enrol(t.Context()); !errors.Is(err, ErrToken) {
			t.Errorf("no pin: %v", err)
		}
	}
	must(t, s.store.RevokeSensor(t.Context(), first.ID))
	if err := a.Enrol(t.Context()); !errors.Is(err, ErrRevoked) {
		t.Errorf("a revoked key is renewed: %v", err)
	}
	// Requests that are none.
	x := s.stranger(t, nil)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	must(t, err)
	good, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, a.key)
	must(t, err)
	good[len(good)-1] ^= 1
	for what, der := range map[string][]byte{"a weak key": csr, "a signature of another": good, "nothing": nil} {
		doc, err := json.Marshal(&enrolRequest{Token: s.token(t, "sensor"), CSR: string(pemOf("CERTIFICATE REQUEST", der))})
		must(t, err)
		if got := x.call(t, "POST", "enrol", bytes.NewReader(doc)); got != 400 {
			t.Errorf("%s: %d", what, got)
		}
	}
	if got := x.call(t, "POST", "enrol", strings.NewReader(strings.Repeat(" ", maxEnrol+1))); got != 413 {
		t.Errorf("a long request: %d", got)
	}
}

// TestDecide: what a clinician decided reaches the guard, and what became of it comes back.
func TestDecide(t *testing.T) {
	s := newSite(t)
	got := make(chan bus.Decision, 4)
	var refusal error
	c := s.client(t, "guard", func(cfg *Config) {
		cfg.Decide = func(_ context.Context, d *bus.Decision) error {
			got <- *d
			return refusal
		}
	})
	must(t, c.Keep(t.Context(), &store.Batch{}))
	d := &bus.Decision{ID: "7", Asked: 3, What: "confirm", By: "mh", Role: "nurse"}
	var guard string
	for {
		if id, ok := c.Enrolled(); ok {
			guard = id.ID
			if err := s.bus.Decide(t.Context(), guard, d); err == nil {
				break
			} else if !errors.Is(err, bus.ErrAway) {
				t.Fatal(err)
			}
		}
		pause(t.Context(), 10*time.Millisecond)
	}
	if x := <-got; x != *d {
		t.Errorf("%+v", x)
	}
	refusal = errors.New("its time is over")
	var r *bus.Refusal
	if err := s.bus.Decide(t.Context(), guard, d); !errors.As(err, &r) || r.Text != refusal.Error() {
		t.Errorf("%v", err)
	}
	// The answer of somebody else, or a second one, is of no decision.
	x := s.caller(t, "guard")
	if got := x.call(t, "POST", "decisions", strings.NewReader(`{"key":"x"}`)); got != 200 {
		t.Errorf("%d", got)
	}
}
