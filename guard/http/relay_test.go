// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/testpeer"
)

// answering is a device that answers each request with the bytes given, and
// then ends the connection where it says so.
func answering(t testing.TB, answer string, closes bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					io.WriteString(c, answer)
					if closes {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// TestAnswers: whatever a device answers is passed on byte for byte, and the
// connection goes on only where the answer has one end.
func TestAnswers(t *testing.T) {
	get := "GET /fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\n\r\n"
	for name, tt := range map[string]struct {
		answer string
		closes bool
		times  int // of two requests on one connection, how many are answered
	}{
		"length":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 2},
		"chunks":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n", false, 2},
		"empty":         {"HTTP/1.1 204 No Content\r\n\r\n", false, 2},
		"continue":      {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 2},
		"odd fields":    {"HTTP/1.1 200\r\nx_y:\t z\r\nContent-Length: 0\r\n\r\n", true, 1},
		"close":         {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", true, 1},
		"until the end": {"HTTP/1.0 200 OK\r\n\r\nhello", true, 1},
		"two lengths":   {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", true, 1},
		"both":          {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true, 1},
		"bad chunks":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello", true, 1},
		"bare LF":       {"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", true, 1},
		"no HTTP":       {"ALARM OCCLUSION PUMP 3\r\n", true, 1},
		"cut":           {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", true, 1},
		"no end":        {strings.Repeat("alarm ", 20000), true, 1},
	} {
		w := &ward{t: t}
		w.start(t, serverSide, answering(t, tt.answer, tt.closes))
		got := w.raw("castor.example", get, get)
		if want := strings.Repeat(tt.answer, tt.times); got != want {
			t.Errorf("%s: got %d bytes %.200q, want %d", name, len(got), got, len(want))
		}
	}
	w := &ward{t: t}
	w.start(t, serverSide, answering(t, "", true))
	if got := w.raw("castor.example", get); !strings.HasPrefix(got, "HTTP/1.1 502") || !strings.Contains(got, "what came of it is not known") {
		t.Errorf("silence: %q", got)
	}
	w = &ward{t: t}
	w.start(t, serverSide, "127.0.0.1:1")
	if got := w.raw("castor.example", get); !strings.HasPrefix(got, "HTTP/1.1 502") || !strings.Contains(got, "nothing of this request was done") {
		t.Errorf("unreachable: %q", got)
	}
	w = &ward{t: t}
	w.start(t, serverSide+"answer: 100ms\n", answering(t, "", false))
	if got := w.raw("castor.example", get); !strings.HasPrefix(got, "HTTP/1.1 504") {
		t.Errorf("slow: %q", got)
	}
}

// TestNeverTwice: a device that ends its connection between requests is
// connected to anew; one that ends it during a request is not asked again.
func TestNeverTwice(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	served := map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				mu.Lock()
				served[r.RequestURI]++
				mu.Unlock()
				if r.RequestURI != "/fhir/Patient/silent" {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}
			c.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	w := &ward{t: t}
	w.start(t, serverSide, ln.Addr().String())
	c := w.caller("castor.example")
	if got, _ := w.do(c, "GET", "/fhir/Patient/silent", "", ""); got != 502 {
		t.Errorf("no answer: %d", got)
	}
	again := 0
	for i := range 20 {
		// That the connection has ended may not be known yet: then it is 502, too.
		if got, _ := w.do(c, "GET", fmt.Sprintf("/fhir/Patient/%d", i), "", ""); got == 200 {
			again++
		}
	}
	if again < 2 {
		t.Errorf("%d of 20 requests were answered over new connections", again)
	}
	mu.Lock()
	defer mu.Unlock()
	for what, n := range served {
		if n != 1 {
			t.Errorf("%s reached the device %d times", what, n)
		}
	}
}

// TestRates holds the bound of a client at its edge.
func TestRates(t *testing.T) {
	at := time.Now()
	w := &ward{t: t, now: func() time.Time { return at }}
	w.start(t, strings.Replace(serverSide, "role: clinician}", "role: clinician, requests: 3}", 1),
		answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	c, other := w.caller("castor.example"), w.caller("viewer.example")
	for i, want := range []int{200, 200, 200, 429} {
		if got, text := w.do(c, "GET", "/fhir/Patient/1", "", ""); got != want {
			t.Errorf("request %d: %d %s", i, got, text)
		}
	}
	if got, _ := w.do(other, "GET", "/fhir/Observation/1", "", ""); got != 200 {
		t.Errorf("another client: %d", got)
	}
}

// TestSlow: who sends too slowly is given up, at each part of a message.
func TestSlow(t *testing.T) {
	w := guard(t, serverSide+"limits: {first: 100ms, idle: 100ms, unfinished: 100ms, progress: 1000000, handshake: 100ms}\n", nil)
	head := "POST /fhir/Observation HTTP/1.1\r\nHost: guard.example\r\nContent-Type: application/fhir+json\r\n"
	for _, part := range []string{"", "POST", head, head + "Content-Length: 30\r\n\r\n", head + "Content-Length: 30\r\n\r\n{", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n"} {
		c, err := tls.Dial("tcp", w.addr, w.as("castor.example"))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, part)
		b, err := io.ReadAll(c)
		if err != nil && errors.Is(err, context.DeadlineExceeded) || len(b) > 0 {
			t.Errorf("%q: %q, %v", part, b, err)
		}
		c.Close()
	}
	raw, err := net.Dial("tcp", w.addr) // a handshake that never comes
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadAll(raw); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if len(w.saw()) > 0 {
		t.Error("something reached the device")
	}
}

// TestMemory: messages that are under way share a bounded memory.
func TestMemory(t *testing.T) {
	w := guard(t, serverSide+"buffer: 8192\n", nil)
	head := "POST /fhir/Observation HTTP/1.1\r\nHost: guard.example\r\nContent-Type: application/fhir+json\r\nContent-Length: 4096\r\n\r\n"
	var open []*tls.Conn
	for range 2 {
		c, err := tls.Dial("tcp", w.addr, w.as("castor.example"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, head)
		open = append(open, c)
	}
	w.budget(8192)
	if got := w.raw("castor.example", head, "{"); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("%q", got)
	}
	for _, c := range open {
		c.Close()
	}
	w.budget(0)
}

// budget waits until so many bytes are in use.
func (w *ward) budget(want int) {
	w.t.Helper()
	for range 1000 {
		w.front.others.budget.mu.Lock()
		used := w.front.others.budget.used
		w.front.others.budget.mu.Unlock()
		if used == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("the messages under way never had %d bytes", want)
}

// TestDrainAndUpdate: a front that stops ends what was begun and waits for nobody
// who has begun nothing; an update drops no connection.
func TestDrainAndUpdate(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	w := guard(t, serverSide, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fhir/Patient/slow" {
			entered <- struct{}{}
			<-leave
		}
		io.WriteString(rw, "ok")
	}))
	c := w.caller("viewer.example")
	for _, want := range []int{403, 200} {
		if got, _ := w.do(c, "GET", "/fhir/Patient/1", "", ""); got != want {
			t.Errorf("%d, want %d", got, want)
		}
		p := *w.front.policy.Load()
		p.Allow = append(slices.Clone(p.Allow), Rule{Clients: []string{"viewer"}, Interactions: []string{"read"}, Types: []string{"*"}})
		w.front.Update(&p)
	}
	idle := w.caller("viewer.example")
	w.do(idle, "GET", "/fhir/Patient/1", "", "")
	got := make(chan int)
	go func() {
		status, _ := w.do(c, "GET", "/fhir/Patient/slow", "", "")
		got <- status
	}()
	<-entered
	w.stop()
	close(leave)
	if status := <-got; status != 200 {
		t.Errorf("what was begun: %d", status)
	}
	<-w.end
}

// TestObserve: what the lists would refuse is recorded, and passes.
func TestObserve(t *testing.T) {
	w := guard(t, serverSide+"mode: observe\n", nil)
	for _, who := range []string{"viewer.example", "stranger.example"} {
		if got, text := w.do(w.caller(who), "GET", "/fhir/Practitioner/1", "", ""); got != 200 {
			t.Errorf("%s: %d %s", who, got, text)
		}
	}
	if !settled(func() bool {
		r := w.refusals()
		return strings.Contains(r, "access-refused read Practitioner: no rule allows it to this client, 0\n") && strings.Contains(r, "the certificate is of no client that is listed here, 0\n")
	}) {
		t.Errorf("recorded:\n%s", w.refusals())
	}
	if got := w.raw("viewer.example", "GET /fhir//x HTTP/1.1\r\nHost: guard.example\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("what has no one meaning: %q", got)
	}
	rows, _ := w.front.env.Learned.Uses()
	if len(rows) != 2 || rows[1].Fields != [7]string{"viewer.example", "read", "Practitioner"} {
		t.Errorf("learned %v", rows)
	}
}

const clientSide = `guard: 1
name: out
kind: http
device: mon-3
protects: client
listen: 127.0.0.1:0
forward: {address: %s, clear: a test}
bypass: call the ward
host: guard.example
base: /fhir
body: 4096
allow:
  - {interactions: [create, read, search], types: Observation}
  - {interactions: [batch]}
`

// plain writes bytes on one connection without TLS and returns all that comes back.
func (w *ward) plain(parts ...string) string {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for _, p := range parts {
		io.WriteString(c, p)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}

// TestReports: what a device writes goes on, whatever it is; what is on no list
// gives it nothing back.
func TestReports(t *testing.T) {
	var mu sync.Mutex
	var arrived []string
	secret := `{"resourceType":"Patient","id":"secret"}`
	w := guard(t, clientSide, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		arrived = append(arrived, fmt.Sprintf("%s %s %d", r.Method, r.RequestURI, len(b)))
		mu.Unlock()
		rw.Header().Set("Content-Type", "application/fhir+json")
		if r.Method == "POST" {
			rw.WriteHeader(201)
		}
		io.WriteString(rw, secret)
	}))
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	obs := `{"resourceType":"Observation"}`
	for name, tt := range map[string]struct {
		in     string
		status string
		told   bool // more than the status
		line   string
	}{
		"listed":        {post("/fhir/Observation", obs), "201", true, "POST /fhir/Observation 30"},
		"read":          {"GET /fhir/Observation/1 HTTP/1.1\r\nHost: x\r\n\r\n", "200", true, "GET /fhir/Observation/1 0"},
		"unlisted":      {post("/fhir/Flag", obs), "201", false, "POST /fhir/Flag 30"},
		"no JSON":       {post("/fhir/Observation", "alarm!"), "201", true, "POST /fhir/Observation 6"},
		"no FHIR":       {post("/alarm", "alarm!"), "201", false, "POST /alarm 6"},
		"listed batch":  {post("/fhir", `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"POST","url":"Observation"},"resource":{"resourceType":"Observation"}}]}`), "201", true, "POST /fhir 142"},
		"read in batch": {post("/fhir", `{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1"}}]}`), "201", false, "POST /fhir 97"},
		"odd batch":     {post("/fhir", `{"resourceType":"Bundle","type":"batch","entry":7}`), "201", false, "POST /fhir 50"},
		"large":         {post("/fhir/Observation", strings.Repeat("x", 5000)), "201", false, "POST /fhir/Observation 5000"},
		"large chunks":  {"POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + strings.Repeat("x", 5000) + "\r\n0\r\n\r\n", "201", false, "POST /fhir/Observation 5000"},
		"folded":        {"POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\nContent-Length: 6\r\n\r\nalarm!", "201", false, "POST /fhir/Observation 6"},
		"bare LF":       {"POST /alarm HTTP/1.1\nHost: x\nContent-Length: 6\n\nalarm!", "201", false, "POST /alarm 6"},
		"two lengths":   {"POST /alarm HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nContent-Length: 6\r\n\r\nalarm!", "201", false, "POST /alarm 6"},
		"HTTP/1.0":      {"POST /alarm HTTP/1.0\r\nHost: x\r\nContent-Length: 6\r\n\r\nalarm!", "201", false, "POST /alarm 6"},
		"chunk ext":     {"POST /alarm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6;a=b\r\nalarm!\r\n0\r\n\r\n", "201", false, "POST /alarm 6"},
		"folded read":   {"GET /fhir/Patient/1 HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "200", false, "GET /fhir/Patient/1 0"},

		"unlisted read":   {"GET /fhir/Patient/1 HTTP/1.1\r\nHost: x\r\n\r\n", "403", false, ""},
		"unlisted search": {"POST /fhir/Patient/_search HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "403", false, ""},
		"unlisted delete": {"DELETE /fhir/Observation/1 HTTP/1.1\r\nHost: x\r\n\r\n", "403", false, ""},
	} {
		mu.Lock()
		arrived = nil
		mu.Unlock()
		got := w.plain(tt.in)
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) {
			t.Errorf("%s: %q", name, got)
		}
		if strings.Contains(got, "secret") != tt.told {
			t.Errorf("%s: told %q", name, got)
		}
		mu.Lock()
		if line := strings.Join(arrived, "; "); line != tt.line {
			t.Errorf("%s: arrived %q, want %q", name, line, tt.line)
		}
		mu.Unlock()
	}
	if !settled(func() bool {
		return strings.Contains(w.refusals(), "create : no rule allows it to this device; it was forwarded, and the device is told the status alone, 0")
	}) {
		t.Errorf("recorded:\n%s", w.refusals())
	}
}

// TestPolledOrders: an order in an answer to the device is a command as well.
func TestPolledOrders(t *testing.T) {
	bundle := `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":` + orderOf(paced, "") + `}]}`
	get := "GET /fhir/MedicationRequest?status=active HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
	config := strings.Replace(clientSide, "types: Observation", "types: [Observation, MedicationRequest]", 1)
	for name, tt := range map[string]struct {
		media, body string
		pass        bool
		want        string
		asked       string
	}{
		"allowed":   {fhirJSON, bundle, true, "200", "set-infusion-rate "},
		"refused":   {fhirJSON, bundle, false, "403", "set-infusion-rate "},
		"twice":     {fhirJSON, strings.Replace(bundle, `"value":0.2`, `"value":0.2,"value":9`, 1), false, "403", " its JSON"},
		"XML":       {"application/fhir+xml", `<Bundle xmlns="http://hl7.org/fhir"/>`, false, "403", " this front"},
		"no orders": {fhirJSON, `{"resourceType":"Bundle","type":"searchset"}`, false, "200", ""},
		"large":     {fhirJSON, strings.Repeat("x", 40000), true, "502", ""},
	} {
		w := guard(t, config, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("a packed answer was asked for")
			}
			rw.Header().Set("Content-Type", tt.media)
			io.WriteString(rw, tt.body)
		}))
		w.verify = func(a *gate.Ask) *gate.Answer {
			if got := a.Request.Command.Verb.String() + " " + a.Request.Undecided; tt.asked == "" || !strings.HasPrefix(got, tt.asked) {
				t.Errorf("%s: asked %q", name, got)
			}
			return &gate.Answer{Verdict: device.Deny, Pass: tt.pass, Enforced: true, Reason: "too much"}
		}
		got := w.plain(get)
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.want) || strings.Contains(got, "noradrenaline") != (tt.pass && tt.want == "200") {
			t.Errorf("%s: %q", name, got)
		}
		if (len(w.asked) > 0) != (tt.asked != "") {
			t.Errorf("%s: asked %d times", name, len(w.asked))
		}
	}
	// That a message arrived is told even when the answer is not.
	w := &ward{t: t}
	w.start(t, config, answering(t, "HTTP/1.1 201 Created\r\nContent-Length: 3\r\nContent-Type: application/fhir+json\r\n\r\n{\"}", false))
	w.verify = func(*gate.Ask) *gate.Answer { return &gate.Answer{Verdict: device.Deny, Enforced: true} }
	if got := w.plain("POST /fhir/Observation HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); got != "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n" {
		t.Errorf("answer to an alarm: %q", got)
	}
	// A cut answer is not completed.
	w = &ward{t: t}
	w.start(t, config, answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", true))
	if got := w.plain(get); !strings.HasPrefix(got, "HTTP/1.1 502") {
		t.Errorf("cut: %q", got)
	}
}

// TestCurl lets a real client read and write, and be refused.
func TestCurl(t *testing.T) {
	curl := testpeer.Tool(t, "curl", "curl")
	w := guard(t, serverSide, nil)
	_, port, _ := net.SplitHostPort(w.addr)
	run := func(who string, args ...string) string {
		cert, key, authority := w.Files(t, who)
		args = append([]string{
			"-sS", "--max-time", "20", "--cacert", authority, "--cert", cert,
			"--key", key, "--connect-to", "guard.example:443:127.0.0.1:" + port, "-w", " %{http_code}",
		}, args...)
		out, err := exec.Command(curl, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := run("castor.example", "https://guard.example/fhir/Patient/1"); got != `{"resourceType":"Patient","id":"1"} 200` {
		t.Error(got)
	}
	if got := run("viewer.example", "https://guard.example/fhir/Patient/1"); !strings.HasSuffix(got, " 403") || !strings.Contains(got, "OperationOutcome") {
		t.Error(got)
	}
	large := `{"resourceType":"Observation","id":"` + strings.Repeat("x", 3000) + `"}` // curl expects a 100 Continue
	if got := run("castor.example", "-H", "Expect: 100-continue", "-H", "Content-Type: "+fhirJSON, "-d", large, "https://guard.example/fhir/Observation"); !strings.HasSuffix(got, " 201") {
		t.Error(got)
	}
	if saw := w.saw(); len(saw) != 2 || saw[1].body != large {
		t.Errorf("%d requests reached the device", len(saw))
	}
}

// TestOrthanc reads an archive's REST interface through the front.
func TestOrthanc(t *testing.T) {
	_, port := testpeer.Orthanc(t, "ADAPACS", nil)
	w := &ward{t: t}
	w.start(t, serverSide, fmt.Sprintf("127.0.0.1:%d", port))
	viewer := w.caller("viewer.example")
	if got, text := w.do(viewer, "GET", "/system", "", ""); got != 200 || !strings.Contains(text, "ADAPACS") {
		t.Errorf("%d %s", got, text)
	}
	for _, path := range []string{"/instances", "/patients", "/tools"} {
		if got, _ := w.do(viewer, "GET", path, "", ""); got != 403 {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got, _ := w.do(viewer, "POST", "/tools/shutdown", "", ""); got != 400 {
		t.Errorf("shutdown: %d", got)
	}
	if got, _ := w.do(viewer, "GET", "/system", "", ""); got != 200 {
		t.Errorf("after the shutdown that was refused: %d", got)
	}
}

func TestRead(t *testing.T) {
	base := secured(t, testpeer.NewAuthority(t), fmt.Sprintf(serverSide, "127.0.0.1:9"))
	change := func(old, new string) string {
		if !strings.Contains(base, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(base, old, new, 1)
	}
	if _, err := readPolicy(base); err != nil {
		t.Fatal(err)
	}
	for src, want := range map[string]string{
		change("host: guard.example\n", ""):                       "lacks the key host",
		change("host: guard.example", "host: 'a b'"):              "9:7: host has to be a name",
		change("base: /fhir", "base: fhir"):                       "10:7: base has to be a path",
		change("base: /fhir", "base: /fhir/"):                     "10:7: base has to be a path",
		change("body: 4096", "body: 0"):                           "11:7: body has to be a whole number",
		change("body: 4096", "body: 4096\nbuffer: 4095"):          "12:9: buffer has to be a whole number from 4096",
		change("role: clinician", "role: boss"):                   "13:47: role has to be one of",
		change("viewer.example}", "Castor.example}"):              "14:25: client \"castor\" has the same certificate name",
		change("clients: viewer, int", "clients: nobody, int"):    "18:15: clients cannot have \"nobody\"",
		change("interactions: [read]", "interactions: [look]"):    "interactions cannot have \"look\"",
		change("types: Observation", "types: observation"):        "types cannot have \"observation\"",
		change("paths: [/system, /studies/]", "paths: [/a/../b]"): "paths cannot have",
		change("paths: [/system, /studies/]", "include: true"):    "a rule of allow has interactions or paths",
		change("bypass: call the ward\n", ""):                     "lacks the key bypass",
		change("protects: server", "protects: nobody"):            "5:11: protects cannot be",
		change("base: /fhir", "speed: 3"):                         "10:1: the front has no key \"speed\"",
	} {
		_, err := readPolicy(src)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	if _, err := readPolicy(fmt.Sprintf(clientSide, "127.0.0.1:9")); err != nil {
		t.Error(err)
	}
}

// FuzzRequest lets a whole connection's bytes through the reader of requests and,
// what it takes, written anew, through net/http's: both have to see the same, and
// only what the lists allow.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET /fhir/Patient/1?a=%20b HTTP/1.1\r\nHost: guard.example\r\nAccept: x\r\n\r\n"))
	f.Add([]byte("POST /fhir/Observation HTTP/1.1\r\nHost: guard.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /"))
	f.Add([]byte("POST https://guard.example/fhir HTTP/1.1\r\nHost: guard.example\r\nContent-Length: 52\r\n\r\n" +
		`{"resourceType":"Bundle","type":"batch","entry":[]}`))
	f.Add([]byte("PUT /fhir/Patient/1 HTTP/1.1\r\nHost: guard.example\r\nConnection: close\r\nContent-Length: 3\r\nContent-Type: application/fhir+json\r\n\r\n{\"}"))
	p := &Policy{Settings: front.Settings{Server: true}, Base: "/fhir", Body: 4096, Allow: []Rule{{
		Interactions: []string{"read", "search", "create", "batch"}, Types: []string{"*"},
	}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &source{br: bufio.NewReader(bytes.NewReader(b))}
		r, err := readRequest(s)
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.body(s), 8192))
		if err != nil || len(body) > 4096 {
			return
		}
		in, why := parseInteraction(p.Base, r.method, r.path, r.query)
		if why != "" || !p.allows("castor", &in) {
			return
		}
		_, _ = readContent(r.get("Content-Type"), body, p.Base)
		wire := append(r.head("inside:80", int64(len(body))), body...)
		br := bufio.NewReader(bytes.NewReader(wire))
		got, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%q is forwarded, and net/http cannot read it: %v", wire, err)
		}
		theirs, err := io.ReadAll(got.Body)
		if err != nil || !bytes.Equal(theirs, body) {
			t.Fatalf("%q: body %q, %v; want %q", wire, theirs, err, body)
		}
		if got.Method != r.method || got.URL.Path != r.path || got.URL.EscapedPath() != r.path || got.URL.RawQuery != r.query || got.Host != "inside:80" {
			t.Fatalf("%q reads as %s %s %s", wire, got.Method, got.URL, got.Host)
		}
		if br.Buffered() > 0 {
			t.Fatalf("%q: a second request", wire)
		}
		for name := range got.Header {
			if n := strings.ToLower(name); hop[n] && n != "content-length" || refused[n] != "" {
				t.Fatalf("%q: %s was forwarded", wire, name)
			}
		}
	})
}

// FuzzContent: whatever a body is, reading it twice is the same, and no order is
// missed that the watcher's reader finds.
func FuzzContent(f *testing.F) {
	f.Add([]byte(orderOf(paced, "")), fhirJSON)
	f.Add([]byte(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1?a=b"}}]}`), "application/json")
	f.Add([]byte(`<Patient xmlns="http://hl7.org/fhir"/>`), "application/fhir+xml")
	f.Fuzz(func(t *testing.T, b []byte, media string) {
		c, why := readContent(media, b, "/fhir")
		d, twice := readContent(media, b, "/fhir")
		if (why == "") != (twice == "") || why == "" && (len(c.orders) != len(d.orders) || c.typ != d.typ) {
			t.Fatal("the same body read twice differs")
		}
		if why == "" && len(c.orders) < orders(b, media) {
			t.Fatalf("an order in %q was missed", b)
		}
	})
}
