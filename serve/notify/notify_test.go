// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

var secret = []byte("a secret of 24 bytes ...")

// TestMain is also the server that is killed.
func TestMain(m *testing.M) {
	if db := os.Getenv("NOTIFY_DB"); db != "" {
		st, err := sqlite.Open(context.Background(), db, nil)
		if err != nil {
			panic(err)
		}
		h, err := NewWebhook(Webhook{ID: "a", URL: os.Getenv("NOTIFY_URL"), Secret: secret})
		if err != nil {
			panic(err)
		}
		Run(context.Background(), Config{Store: st, Receivers: []Receiver{h}, Holder: "one"})
	}
	os.Exit(m.Run())
}

// filled is a store with so many notices.
func filled(t *testing.T, n int) (*store.Store, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.db")
	st, err := sqlite.Open(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if err := st.AddEnrolment(t.Context(), []byte("x"), "s", "ada", "sensor", "test", time.Now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Enrol(t.Context(), []byte("x"), "s1", "key"); err != nil {
		t.Fatal(err)
	}
	b := &store.Batch{Sensor: "s1", Sequence: 1}
	for i := range n {
		b.Findings = append(b.Findings, finding.Finding{ID: fmt.Sprintf("f%03d", i), Title: "orders from anybody", Product: "Norra Flow", Decision: finding.Act, State: "open", First: 1, Last: 2})
	}
	if _, err := st.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return st, file
}

// TestKill kills the sender again and again: nothing is skipped, and order is kept.
func TestKill(t *testing.T) {
	const notices = 60
	st, file := filled(t, notices)
	st.Close()
	var mu sync.Mutex
	var got []int64
	more := make(chan struct{}, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if want := Sign(secret, r.Header.Get(SignedAt), b); r.Header.Get(SignedWith) != want {
			t.Errorf("signed %q, want %q", r.Header.Get(SignedWith), want)
		}
		var m Message
		if err := json.Unmarshal(b, &m); err != nil || m.Finding.ID == "" || m.Finding.Decision != "act" {
			t.Errorf("%v: %s", err, b)
		}
		mu.Lock()
		got = append(got, m.ID)
		mu.Unlock()
		more <- struct{}{}
	}))
	defer s.Close()
	highest := func() (n int64) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range got {
			n = max(n, id)
		}
		return n
	}
	kills := 0
	for highest() < notices {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "NOTIFY_DB="+file, "NOTIFY_URL="+s.URL)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for range 7 + kills { // the answer may have come to it or not
			if highest() < notices {
				<-more
			}
		}
		c.Process.Kill()
		c.Wait()
		kills++
	}
	var last int64
	for _, id := range got {
		if id > last+1 {
			t.Errorf("%d came after %d", id, last)
		}
		last = max(last, id)
	}
	if kills < 3 || last != notices {
		t.Errorf("%d kills, the last message is %d", kills, last)
	}
}

type fake struct {
	name string
	send func(*Message) error
}

func (f *fake) Name() string                             { return f.name }
func (f *fake) Send(_ context.Context, m *Message) error { return f.send(m) }

// TestRetry shows the wait that grows, its bound, and what becomes of a refusal.
func TestRetry(t *testing.T) {
	st, _ := filled(t, 3)
	ctx, stop := context.WithCancel(t.Context())
	var waits []time.Duration
	var got []int64
	fails := 12
	r := &fake{"r", func(m *Message) error {
		if fails > 0 {
			fails--
			return errors.New("down")
		}
		if m.ID == 2 {
			return &RefusedError{"not this one"}
		}
		if got = append(got, m.ID); m.ID == 3 {
			stop()
		}
		return nil
	}}
	Run(ctx, Config{Store: st, Receivers: []Receiver{r}, Holder: "one", After: func(_ context.Context, d time.Duration) { waits = append(waits, d) }})
	if fmt.Sprint(got) != "[1 3]" {
		t.Errorf("sent %v, want 1 and 3", got)
	}
	if len(waits) != 12+refusals-1 || waits[0] != firstWait || waits[1] != 2*firstWait || waits[11] != lastWait {
		t.Errorf("waited %v", waits)
	}
	// Another server has the lease: this one sends nothing.
	c := Config{Store: st, Holder: "two", Now: time.Now}
	n := 0
	if sent, err := c.some(t.Context(), &fake{"r", func(*Message) error { n++; return nil }}, new(int)); sent != 0 || err != nil || n != 0 {
		t.Errorf("two servers send: %d %v", n, err)
	}
	c.Settle = time.Hour
	if sent, err := c.some(t.Context(), &fake{"other", func(*Message) error { n++; return nil }}, new(int)); sent != 0 || err != nil {
		t.Errorf("sent %d before they settle: %v", sent, err)
	}
}

// TestSlowly: a receiver that fails now and then is not taken for one that is down.
func TestSlowly(t *testing.T) {
	st, _ := filled(t, 20)
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	r := &fake{"r", func(m *Message) error {
		if n++; n%3 == 0 {
			return errors.New("busy")
		}
		if m.ID == 20 {
			stop()
		}
		return nil
	}}
	Run(ctx, Config{Store: st, Receivers: []Receiver{r}, Holder: "one", After: func(_ context.Context, d time.Duration) {
		if d > firstWait {
			t.Errorf("it waits for %v", d)
		}
	}})
}

func TestWebhook(t *testing.T) {
	for _, u := range []string{"http://example.com/", "ftp://127.0.0.1/", "https://", "http://127.0.0.1.example.com/", "https://me:secret@example.com/", "://"} {
		if _, err := NewWebhook(Webhook{ID: "a", URL: u, Secret: secret}); err == nil {
			t.Errorf("%s was taken", u)
		} else if strings.Contains(err.Error(), "me:secret") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	if _, err := NewWebhook(Webhook{ID: "a", URL: "https://example.com", Secret: secret[:minSecret-1]}); err == nil {
		t.Error("a short secret was taken")
	}
	followed := false
	mux := http.NewServeMux()
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/there", func(http.ResponseWriter, *http.Request) { followed = true })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) })
	s := httptest.NewServer(mux)
	defer s.Close()
	for path, refused := range map[string]bool{"/away": false, "/bad": true, "/busy": false, "/nowhere": false} {
		h, err := NewWebhook(Webhook{ID: "a", URL: s.URL + path, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		err = h.Send(t.Context(), &Message{})
		var no *RefusedError
		if err == nil || errors.As(err, &no) != refused {
			t.Errorf("%s: %v", path, err)
		}
		if err != nil && strings.Contains(err.Error(), s.URL) {
			t.Errorf("the address, which may have a secret, is in %v", err)
		}
	}
	if followed {
		t.Error("a redirect was followed")
	}
}

func message() *Message {
	return &Message{Version: 1, ID: 7, What: "new", Time: time.Date(2026, 3, 3, 6, 9, 0, 5e8, time.UTC), Site: "St. Ada", Finding: Finding{
		ID: "f1", Kind: "clear-command", Title: "a]b\"c\\d|e=f\r\nInjected: yes", Decision: "act", Harm: "catastrophic", State: "open", Device: "pump]3", CVE: []string{"CVE-2020-1"}, decision: finding.Act,
	}}
}

func TestForms(t *testing.T) {
	m := message()
	got := string(appendSyslog(nil, m, "srv 1", "text"))
	want := `<106>1 2026-03-03T06:09:00.500000Z srv_1 myelin - new [finding@32473 id="f1" notice="7" kind="clear-command" decision="act" harm="catastrophic" state="open" device="pump\]3"] ` + "\ufefftext"
	if got != want {
		t.Errorf("syslog\n%q\n%q", got, want)
	}
	cef := CEF(m, "v0")
	if !strings.HasPrefix(cef, `CEF:0|Myelin|myelin|v0|clear-command|a]b"c\\d\|e=f  Injected: yes|10|rt=1772518140500 externalId=f1 act=new `) || strings.ContainsAny(cef, "\r\n") {
		t.Errorf("CEF %q", cef)
	}
	b, err := OCSF(m, "v0")
	var o struct {
		Class    int `json:"class_uid"`
		Type     int `json:"type_uid"`
		Severity int `json:"severity_id"`
		Time     int64
	}
	if err := errors.Join(err, json.Unmarshal(b, &o)); err != nil || o.Class != 2004 || o.Type != 200401 || o.Severity != 5 || o.Time != 1772518140500 {
		t.Errorf("OCSF: %v %s", err, b)
	}
	// What is the number of a message is of that alone: rows of an export have none.
	for id, want := range map[int64]bool{7: true, 0: false} {
		m := *m
		m.ID = id
		b, err := OCSF(&m, "v0")
		var o struct{ Metadata map[string]any }
		if err := errors.Join(err, json.Unmarshal(b, &o)); err != nil || (o.Metadata["uid"] == "7") != want || (o.Metadata["uid"] == nil) == want || strings.HasSuffix(CEF(&m, "v0"), " cn1Label=notice cn1=7") != want || strings.Contains(CEF(&m, "v0"), "cn1") != want {
			t.Errorf("%d: %v %v %s", id, err, o, CEF(&m, "v0"))
		}
	}
	text := (&Mail{From: "myelin@ada.example", To: []string{"it@ada.example"}}).text(m)
	parsed, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil || parsed.Header.Get("Injected") != "" || parsed.Header.Get("Subject") == "" {
		t.Errorf("mail: %v\n%s", err, text)
	}
}

// TestSyslog sends to a server on loopback, by octet counting.
func TestSyslog(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		length, _ := r.ReadString(' ')
		n, _ := strconv.Atoi(strings.TrimSpace(length))
		b := make([]byte, n)
		io.ReadFull(r, b)
		rest, _ := io.ReadAll(r)
		got <- string(b) + "|" + string(rest)
	}()
	s := &Syslog{ID: "a", Address: ln.Addr().String(), Form: "cef", Host: "srv", Version: "v0"}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Send(ctx, message()); err != nil {
		t.Fatal(err)
	}
	if text := <-got; !strings.HasPrefix(text, "<106>1 ") || !strings.HasSuffix(text, "cn1=7|") {
		t.Errorf("got %q", text)
	}
	if err := (&Syslog{Address: "192.0.2.1:6514"}).Send(ctx, message()); err == nil {
		t.Error("in clear to another machine")
	}
}

// TestSyslogByTLS sends to a server that shows a certificate (RFC 5425), and to none
// whose certificate is another's.
func TestSyslogByTLS(t *testing.T) {
	ca := testpeer.NewAuthority(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "siem.ada.example")}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan string, 2)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			c.Close()
			if len(b) > 0 {
				got <- string(b)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	held := &Message{ID: 8, What: "held", Time: time.Unix(1_772_518_140, 0), Command: &Command{Guard: "g1", ID: "7", Device: "pump]3", Verb: "set-infusion-rate", Expires: time.Unix(1_772_518_240, 0)}}
	for form, want := range map[string]string{"": `[finding@32473 id="g1/7" notice="8" kind="command-held" decision="act" harm="" state="open" device="pump\]3"]`, "cef": "|command-held|A command waits for a clinician: set-infusion-rate|10|", "ocsf": `"uid":"g1/7"`} {
		s := &Syslog{ID: "a", Address: ln.Addr().String(), Form: form, Host: "srv", Version: "v0", TLS: &tls.Config{RootCAs: ca.Pool(), ServerName: "siem.ada.example"}}
		if err := s.Send(ctx, held); err != nil {
			t.Fatal(err)
		}
		text := <-got
		length, rest, _ := strings.Cut(text, " ")
		if n, err := strconv.Atoi(length); err != nil || n != len(rest) || !strings.HasPrefix(rest, "<106>1 2026-03-03T06:09:00.000000Z srv myelin - held ") || !strings.Contains(rest, want) {
			t.Errorf("%q: got %q", form, text)
		}
	}
	for what, c := range map[string]*tls.Config{"another's": {RootCAs: ca.Pool(), ServerName: "other.ada.example"}, "nobody's": {ServerName: "siem.ada.example"}} {
		if err := (&Syslog{ID: "a", Address: ln.Addr().String(), TLS: c}).Send(ctx, held); err == nil {
			t.Errorf("a certificate that is %s is taken", what)
		}
	}
}

// TestUpdates: an update that went wrong is told, with what to do.
func TestUpdates(t *testing.T) {
	c := Config{Site: "St. Ada", URL: "https://m.example"}
	for what, n := range map[string]store.UpdateNotice{
		"rollout-halted": {Rollout: "flow-2.2.0", Version: "2.2.0", Why: "loss of function", Final: true},
		"update-ended":   {Rollout: "flow-2.2.0", Device: "dev-1", Version: "2.2.0", Outcome: "loss of function"},
		"update-silent":  {Rollout: "flow-2.2.0", Device: "dev-1", Version: "2.2.0"},
	} {
		body, _ := json.Marshal(n)
		m, err := c.message(&store.Notice{Seq: 7, What: what, Body: body, At: 1})
		if err != nil {
			t.Fatal(err)
		}
		f := m.about()
		if m.Update == nil || m.Link != "https://m.example/updates/flow-2.2.0" || f.Kind != what || f.Title == "" || f.Advice == "" || f.Device != n.Device || f.Decision != "act" {
			t.Errorf("%+v %+v", m, f)
		}
	}
}

// TestMail talks to a relay that plays its part of RFC 5321.
func TestMail(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan []string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewScanner(c)
		var lines []string
		data := false
		io.WriteString(c, "220 relay\r\n")
		for r.Scan() {
			l := r.Text()
			lines = append(lines, l)
			switch {
			case data && l == ".":
				data = false
				io.WriteString(c, "250 ok\r\n")
			case data:
			case l == "DATA":
				data = true
				io.WriteString(c, "354 go on\r\n")
			case l == "QUIT":
				io.WriteString(c, "221 bye\r\n")
				got <- lines
				return
			default:
				io.WriteString(c, "250 ok\r\n")
			}
		}
	}()
	m := &Mail{ID: "a", Relay: ln.Addr().String(), From: "myelin@ada.example", To: []string{"it@ada.example"}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.Send(ctx, message()); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(<-got, "\n"); !strings.Contains(text, "RCPT TO:<it@ada.example>") || !strings.Contains(text, "Decision: act") {
		t.Errorf("got %s", text)
	}
}
