// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/internal/testpeer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secured puts the names of files into a configuration.
func secured(t testing.TB, a *testpeer.Authority, config string) string {
	t.Helper()
	cert, key, authority := a.Files(t, "guard.example")
	return strings.NewReplacer("guard.example.pem", cert, "guard.example.key", key, "ca.pem", authority).Replace(config)
}

// as is how a client with a certificate of a name connects.
func (w *ward) as(name string) *tls.Config {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.certificates[name]
	if !ok {
		c = w.Issue(w.t, name)
		if w.certificates == nil {
			w.certificates = map[string]tls.Certificate{}
		}
		w.certificates[name] = c
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, RootCAs: w.Pool(), ServerName: "guard.example"}
}

// readPolicy reads a front's section.
func readPolicy(src string) (*Policy, error) {
	r := strictyaml.New("guard.yaml", strictyaml.Format{Name: "guard configuration", Marker: "guard: 1"})
	s := r.Section(r.Document([]byte(src)), "the front", slices.Concat([]string{"guard"}, front.Keys, Keys)...)
	p := Read(r, s, "")
	return p, r.Err()
}

// A ward is a front with what stands on both sides.
type ward struct {
	*testpeer.Authority
	t      testing.TB
	front  *Front
	addr   string
	stop   context.CancelFunc
	end    chan struct{} // the front has ended
	verify func(a *gate.Ask) *gate.Answer
	now    func() time.Time // nil: the machine's clock
	gate   *gate.Gate       // decides; nil: verify does
	state  string           // folder

	mu      sync.Mutex
	held    func() error // in the way of each record; nil: nothing
	events  []event.Event
	asked   []gate.Ask
	arrived []arrival

	certificates map[string]tls.Certificate // by name
}

// An arrival is a request that reached the device.
type arrival struct{ line, body string }

// hold puts something in the way of each record.
func (w *ward) hold(held func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = held
}

func (w *ward) saw() []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.arrived)
}

// refusals are those that were recorded: operation, destination, reason.
func (w *ward) refusals() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for i := range w.events {
		e := &w.events[i]
		fmt.Fprintf(&b, "%s %s %s: %s, %d\n", e.Kind, e.Text(event.Operation), e.Text(event.Destination), e.Text(event.Reason), e.Int(event.Enforced))
	}
	return b.String()
}

const serverSide = `guard: 1
name: ehr
kind: http
device: ehr
protects: server
listen: {address: 127.0.0.1:0, tls: {certificate: guard.example.pem, key: guard.example.key, authorities: ca.pem}}
forward: %s
bypass: call the ward
host: guard.example
base: /fhir
body: 4096
clients:
  castor: {certificate: castor.example, role: clinician}
  viewer: {certificate: viewer.example}
allow:
  - {clients: castor, interactions: [read, search, create, update, patch, delete, $process-message], types: [Patient, Observation, MedicationRequest, DeviceRequest, Binary]}
  - {clients: castor, interactions: [batch, transaction, capabilities]}
  - {clients: viewer, interactions: [read], types: Observation}
  - {clients: viewer, paths: [/system, /studies/]}
`

// guard starts a front before a handler. The configuration has one %s, where it forwards to.
func guard(t testing.TB, config string, h http.Handler) *ward {
	t.Helper()
	w := &ward{t: t}
	if h == nil {
		h = http.HandlerFunc(w.fhir)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	w.start(t, config, srv.Listener.Addr().String())
	return w
}

func (w *ward) start(t testing.TB, config, forward string) {
	t.Helper()
	w.Authority = testpeer.NewAuthority(t)
	w.state = cmp.Or(w.state, t.TempDir())
	p, err := readPolicy(secured(t, w.Authority, fmt.Sprintf(config, forward)))
	if err != nil {
		t.Fatal(err)
	}
	g := gate.New(gate.Config{Now: time.Now, Page: "https://guard.icu:8443/", Record: func(e *event.Event) error {
		w.mu.Lock()
		held := w.held
		w.mu.Unlock()
		if held != nil {
			if err := held(); err != nil {
				return err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, *e)
		return nil
	}})
	decides := g
	if w.gate != nil {
		decides = w.gate
	}
	env := &front.Env{
		Gate: decides, Metrics: front.NewMetrics(prometheus.NewRegistry()), Learned: &front.Learned{},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, State: w.state,
	}
	if w.now != nil {
		env.Now = w.now
	}
	if w.front = New(env, p); w.now != nil {
		w.front.clock = func() envelope.Reading {
			n := w.now().UnixNano()
			return envelope.Reading{Wall: n, Uptime: n, Boot: "of the ward"}
		}
	}
	w.front.ask = func(ctx context.Context, a *gate.Ask) *gate.Answer {
		w.mu.Lock()
		w.asked = append(w.asked, *a)
		w.mu.Unlock()
		switch {
		case w.gate != nil:
			return w.gate.Ask(ctx, a)
		case w.verify != nil:
			return w.verify(a)
		}
		return &gate.Answer{Verdict: device.Allow, Pass: true, Enforced: true}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	w.end = make(chan struct{})
	go func() {
		defer close(w.end)
		if err := w.front.Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { w.stop(); <-w.end; g.Close() })
}

// fhir is a server that takes everything.
func (w *ward) fhir(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	w.arrived = append(w.arrived, arrival{r.Method + " " + r.RequestURI, string(body)})
	w.mu.Unlock()
	rw.Header().Set("Content-Type", "application/fhir+json")
	if r.Method == "POST" {
		rw.WriteHeader(http.StatusCreated)
	}
	io.WriteString(rw, `{"resourceType":"Patient","id":"1"}`)
}

// caller makes requests as the holder of a certificate.
func (w *ward) caller(name string) *http.Client {
	tr := &http.Transport{
		TLSClientConfig: w.as(name),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr)
		},
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do makes a request and returns status and body.
func (w *ward) do(c *http.Client, method, path, mediaType, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "https://guard.example"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const fhirJSON = "application/fhir+json"

func TestLists(t *testing.T) {
	w := guard(t, serverSide, nil)
	castor, viewer, stranger := w.caller("castor.example"), w.caller("viewer.example"), w.caller("stranger.example")
	obs := `{"resourceType":"Observation","id":"7"}`
	for _, tt := range []struct {
		who                *http.Client
		method, path, body string
		want               int
	}{
		{castor, "GET", "/fhir/Patient/1", "", 200},
		{castor, "HEAD", "/fhir/Patient/1", "", 200},
		{castor, "GET", "/fhir/Patient?name=x%20y", "", 200},
		{castor, "GET", "/fhir/metadata", "", 200},
		{castor, "POST", "/fhir/Observation", obs, 201},
		{castor, "PUT", "/fhir/Observation/7", obs, 200},
		{castor, "DELETE", "/fhir/Observation/7", "", 200},
		{castor, "GET", "/fhir/Patient/1/Observation?code=x", "", 200},
		{castor, "POST", "/fhir/Observation/$process-message", obs, 201},
		{viewer, "GET", "/fhir/Observation/7", "", 200},
		{viewer, "GET", "/system", "", 200},
		{viewer, "GET", "/studies/1.2.3/series", "", 200},

		{stranger, "GET", "/fhir/Observation/7", "", 403},
		{viewer, "GET", "/fhir/Patient/1", "", 403},
		{viewer, "GET", "/fhir/Observation", "", 403},
		{viewer, "GET", "/fhir/Observation/7/_history/1", "", 403},
		{viewer, "POST", "/fhir/Observation", obs, 403},
		{viewer, "GET", "/systems", "", 403},
		{viewer, "GET", "/studies", "", 403},
		{viewer, "POST", "/system", "", 400},
		{castor, "GET", "/system", "", 403},
		{castor, "GET", "/fhir/Practitioner/1", "", 403},
		{castor, "GET", "/fhir/Patient/1/*", "", 400},
		{castor, "GET", "/fhir/Patient/1/_history", "", 403},
		{castor, "GET", "/fhir/_history", "", 403},
		{castor, "GET", "/fhir?_type=Patient", "", 403},
		{castor, "GET", "/fhirs/Patient/1", "", 403},
		{castor, "GET", "/fhir/Patient/$everything", "", 403},
		{castor, "GET", "/fhir/Observation?_include=Observation:subject", "", 403},
		{castor, "GET", "/fhir/Observation?_REVINCLUDE:iterate=x", "", 403},
		{castor, "GET", "/fhir/Observation?_method=DELETE", "", 400},
		{castor, "GET", "/fhir/Observation?_query=all", "", 400},
		{castor, "DELETE", "/fhir/Observation?code=x", "", 403},
		{castor, "PUT", "/fhir/Observation?code=x", obs, 403},
		{castor, "PUT", "/fhir/Observation/7?code=x", obs, 400},
		{castor, "PUT", "/fhir/Observation/8", obs, 422},
		{castor, "POST", "/fhir/Patient", obs, 422},
		{castor, "POST", "/fhir/Patient", "", 422},
		{castor, "POST", "/fhir/Patient", `{"resourceType":"Patient","resourceType":"Observation"}`, 422},
		{castor, "POST", "/fhir/Patient", `{"resourceType":"Patient"`, 422},
		{castor, "OPTIONS", "/fhir/Patient", "", 501},
	} {
		before := len(w.saw())
		mt := ""
		if tt.body != "" {
			mt = fhirJSON
		}
		got, text := w.do(tt.who, tt.method, tt.path, mt, tt.body)
		if got != tt.want {
			t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.path, got, tt.want, text)
		}
		if reached := len(w.saw()) > before; reached != (tt.want < 300) {
			t.Errorf("%s %s: reached the device: %v", tt.method, tt.path, reached)
		}
		if tt.want >= 300 && !strings.Contains(text, `"OperationOutcome"`) {
			t.Errorf("%s %s: no OperationOutcome: %s", tt.method, tt.path, text)
		}
	}
	if r := w.refusals(); !strings.Contains(r, "access-refused read Patient: no rule allows it to this client, 1") {
		t.Errorf("recorded:\n%s", r)
	}
}

// raw writes bytes on one connection and returns all that comes back.
func (w *ward) raw(name string, parts ...string) string {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.addr, w.as(name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for _, p := range parts {
		if _, err := io.WriteString(c, p); err != nil {
			break // the front has ended it
		}
	}
	_ = c.CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}

const inner = "GET /fhir/Practitioner/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n"

// TestSmuggling: what two programs could read in two ways reaches nobody.
func TestSmuggling(t *testing.T) {
	w := guard(t, serverSide, nil)
	head := "POST /fhir/Observation HTTP/1.1\r\nHost: guard.example\r\nContent-Type: application/fhir+json\r\n"
	get := "GET /fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n"
	body := `{"resourceType":"Observation"}`
	for name, in := range map[string]string{
		"CL.TE":              head + "Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"TE.CL":              head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + inner,
		"two lengths":        head + "Content-Length: 30\r\nContent-Length: 30\r\n\r\n" + body,
		"list of lengths":    head + "Content-Length: 30, 30\r\n\r\n" + body,
		"plus length":        head + "Content-Length: +30\r\n\r\n" + body,
		"hex length":         head + "Content-Length: 0x1e\r\n\r\n" + body,
		"zero length":        head + "Content-Length: 030\r\n\r\n" + body,
		"empty length":       head + "Content-Length:\r\n\r\n" + body,
		"huge length":        head + "Content-Length: 99999999999999999999\r\n\r\n" + body,
		"TE twice":           head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE list":            head + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
		"TE case":            head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"TE space":           head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"TE tab":             head + "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n",
		"TE underscore":      head + "Transfer_Encoding: chunked\r\nContent-Length: 30\r\n\r\n" + body,
		"obs-fold":           get + "X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
		"LF":                 "GET /fhir/Patient/1 HTTP/1.1\nHost: guard.example\n\n",
		"LF in head":         get + "X: a\nTransfer-Encoding: chunked\r\n\r\n",
		"CR":                 get + "X: a\rTransfer-Encoding: chunked\r\n\r\n",
		"NUL":                get + "X: a\x00b\r\n\r\n",
		"no name":            get + ": a\r\n\r\n",
		"no colon":           get + "abc\r\n\r\n",
		"two hosts":          get + "Host: guard.example\r\n\r\n",
		"no host":            "GET /fhir/Patient/1 HTTP/1.1\r\n\r\n",
		"absolute mismatch":  "GET https://other.example/fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"ftp":                "GET ftp://guard.example/fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"authority":          "GET guard.example:443 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"asterisk":           "GET * HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"encoded slash":      "GET /fhir%2fPatient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"encoded dots":       "GET /fhir/Patient/%2e%2e/Practitioner HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"dots":               "GET /fhir/Patient/../Practitioner HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"double slash":       "GET /fhir//Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"semicolon":          "GET /fhir/Patient/1;a=b HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"backslash":          "GET /fhir\\Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"fragment":           "GET /fhir/Patient/1?a#b HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"semicolon in query": "GET /fhir/Patient?a;_include=x HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"CRLF in query":      "GET /fhir/Patient?a=%0d%0a HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"cut escape":         "GET /fhir/Patient?a=%2 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"two spaces":         "GET  /fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"tab":                "GET\t/fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"HTTP/1.0":           "GET /fhir/Patient/1 HTTP/1.0\r\nHost: guard.example\r\n\r\n",
		"HTTP/0.9":           "GET /fhir/Patient/1\r\n",
		"HTTP/2":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"empty line":         "\r\n" + get + "\r\n",
		"method case":        "get /fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"CONNECT":            "CONNECT guard.example:443 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"override":           head + "X-HTTP-Method-Override: DELETE\r\nContent-Length: 30\r\n\r\n" + body,
		"rewrite":            get + "X-Original-URL: /fhir/Practitioner/1\r\n\r\n",
		"upgrade":            get + "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
		"connection drops":   get + "Connection: close, authorization\r\n\r\n",
		"expect":             get + "Expect: 200-ok\r\n\r\n",
		"GET with body":      get + "Content-Length: 58\r\n\r\n" + inner,
		"packed":             head + "Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + body,
		"chunk extension":    head + "Transfer-Encoding: chunked\r\n\r\n1e;a=b\r\n" + body + "\r\n0\r\n\r\n",
		"chunk size":         head + "Transfer-Encoding: chunked\r\n\r\n0x1e\r\n" + body + "\r\n0\r\n\r\n",
		"chunk sign":         head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + body + "\r\n0\r\n\r\n",
		"chunk long":         head + "Transfer-Encoding: chunked\r\n\r\n00000000000000001e\r\n" + body + "\r\n0\r\n\r\n",
		"chunk LF":           head + "Transfer-Encoding: chunked\r\n\r\n1e\n" + body + "\r\n0\r\n\r\n",
		"chunk end":          head + "Transfer-Encoding: chunked\r\n\r\n1e\r\n" + body + "X\r\n0\r\n\r\n",
		"trailer":            head + "Transfer-Encoding: chunked\r\n\r\n1e\r\n" + body + "\r\n0\r\nHost: other\r\n\r\n",
	} {
		before := len(w.saw())
		got := w.raw("castor.example", in, inner)
		if !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 50") || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q", name, got)
		}
		if after := w.saw(); len(after) > before {
			t.Errorf("%s: %q reached the device", name, after[before:])
		}
	}
	// The same, whole and clear, passes.
	for name, in := range map[string]string{
		"length":   head + "Content-Length: 30\r\n\r\n" + body,
		"chunked":  head + "Transfer-Encoding: chunked\r\n\r\n5\r\n" + body[:5] + "\r\n19\r\n" + body[5:] + "\r\n0\r\n\r\n",
		"absolute": "GET https://guard.example/fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n",
		"get":      get + "Connection: keep-alive\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
		"expect":   head + "Expect: 100-continue\r\nContent-Length: 30\r\n\r\n" + body,
	} {
		before := len(w.saw())
		got := w.raw("castor.example", in)
		if !strings.Contains(got, "HTTP/1.1 20") {
			t.Errorf("%s: %q", name, got)
		}
		if after := w.saw(); len(after) != before+1 {
			t.Errorf("%s: %d requests reached the device", name, len(after)-before)
		}
	}
}

// TestCut: nothing of a message that is cut reaches the device.
func TestCut(t *testing.T) {
	w := guard(t, serverSide, nil)
	whole := "POST /fhir/Observation HTTP/1.1\r\nHost: guard.example\r\nContent-Type: application/fhir+json\r\nContent-Length: 30\r\n\r\n" + `{"resourceType":"Observation"}`
	for i := range len(whole) {
		if got := w.raw("castor.example", whole[:i]); strings.Contains(got, "HTTP/1.1 20") {
			t.Fatalf("cut at %d: %q", i, got)
		}
	}
	if saw := w.saw(); len(saw) != 0 {
		t.Fatalf("%q reached the device", saw)
	}
	if got := w.raw("castor.example", whole, whole); strings.Count(got, "HTTP/1.1 201") != 2 {
		t.Errorf("whole, twice: %q", got)
	}
}

// TestBody holds the bound of a body at its edge.
func TestBody(t *testing.T) {
	w := guard(t, serverSide, nil)
	c := w.caller("castor.example")
	sized := func(n int) string {
		b := `{"resourceType":"Observation","id":"`
		return b + strings.Repeat("x", n-len(b)-2) + `"}`
	}
	if got, text := w.do(c, "POST", "/fhir/Observation", fhirJSON, sized(4096)); got != 201 {
		t.Errorf("4096 bytes: %d %s", got, text)
	}
	if got, text := w.do(c, "POST", "/fhir/Observation", fhirJSON, sized(4097)); got != 413 || !strings.Contains(text, "too-long") {
		t.Errorf("4097 bytes: %d %s", got, text)
	}
	if saw := w.saw(); len(saw) != 1 || len(saw[0].body) != 4096 {
		t.Errorf("%d requests reached the device", len(saw))
	}
	w.stop()
	<-w.end
	if w.front.others.budget.used != 0 {
		t.Errorf("%d bytes are still counted", w.front.others.budget.used)
	}
}
