// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/internal/testpeer/jetstream"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/postgres"
)

// late is when something has not come that should: a message that a killed server had
// comes again after half a minute.
const late = 2 * time.Minute

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), late)
	defer stop()
	for try := time.NewTicker(50 * time.Millisecond); !holds(); {
		select {
		case <-try.C:
		case <-ctx.Done():
			t.Fatalf("not yet: %s", what)
		}
	}
}

// A member is one of several servers.
type member struct {
	dir, file, listen, url string

	cmd     *exec.Cmd
	out     noise
	errs    noise
	waiting sync.WaitGroup
}

// start starts it, and waits until it serves.
func (m *member) start(t *testing.T) {
	t.Helper()
	m.cmd = exec.Command("myelin", "serve", "--data", m.dir, "--config", m.file, "--tls")
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.errs
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	m.waiting.Go(func() { m.cmd.Wait(); close(over) })
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	until(t, m.url+" serves", func() bool {
		select {
		case <-over:
			t.Fatalf("it ended: %s", m.errs.String())
		default:
		}
		w, err := c.Get(m.url + "/readyz")
		if err != nil {
			return false
		}
		w.Body.Close()
		return w.StatusCode == http.StatusOK
	})
}

// kill ends it as a loss of power does.
func (m *member) kill() {
	m.cmd.Process.Kill()
	m.waiting.Wait()
}

// A balancer passes connections on to the first of several servers that is there.
func balancer(t *testing.T, to ...string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	pass := func(from net.Conn) {
		defer from.Close()
		for _, a := range to {
			c, err := net.Dial("tcp", a)
			if err != nil {
				continue
			}
			end := context.AfterFunc(ctx, func() { c.Close(); from.Close() })
			var both sync.WaitGroup
			both.Go(func() { io.Copy(c, from); c.Close() })
			both.Go(func() { io.Copy(from, c); from.Close() })
			both.Wait()
			end()
			return
		}
	}
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); stop(); all.Wait() })
	return "https://" + ln.Addr().String()
}

// A desk is the browser of one person.
type desk struct{ http.Client }

func newDesk(t *testing.T) *desk {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &desk{http.Client{Jar: jar, Transport: tr}}
}

// ask asks for a page, with a form unless that is nil, and returns its status and body.
func (b *desk) ask(t *testing.T, at string, form url.Values) (int, string) {
	t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(text)
}

// must is ask of what has to be answered.
func (b *desk) must(t *testing.T, at string, form url.Values) string {
	t.Helper()
	status, text := b.ask(t, at, form)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", at, status, text)
	}
	return text
}

// within is the one part of a text that an expression's group matches.
func within(t *testing.T, expression, text string) string {
	t.Helper()
	m := regexp.MustCompile(expression).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in %s", expression, text)
	}
	return m[1]
}

// listen hears what a server tells open pages, by kind, until it is killed or stop is called.
func (b *desk) listen(t *testing.T, at string) (events <-chan string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan string, 4096)
	var all sync.WaitGroup
	all.Go(func() {
		defer close(c)
		defer w.Body.Close()
		for in := bufio.NewScanner(w.Body); in.Scan(); {
			if what, ok := strings.CutPrefix(in.Text(), "event: "); ok {
				c <- what
			}
		}
	})
	if got := <-c; got != "here" {
		t.Fatalf("%s/live says %q", at, got)
	}
	return c, func() { cancel(); all.Wait() }
}

// hears waits for an event of a kind.
func hears(t *testing.T, events <-chan string, what string) {
	t.Helper()
	deadline := time.After(late)
	for {
		select {
		case got, ok := <-events:
			if !ok {
				t.Fatalf("the stream ended before %s", what)
			}
			if got == what {
				return
			}
		case <-deadline:
			t.Fatalf("no %s on the page", what)
		}
	}
}

// sender opens a sensor or guard that runs until the test ends.
func sender(t *testing.T, at, token string, decide func(context.Context, *bus.Decision) error) *uplink.Client {
	t.Helper()
	c, err := uplink.Open(t.TempDir(), uplink.Config{Server: at, Token: token, Version: "test", Decide: decide, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		stop()
		all.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *uplink.Client, b *store.Batch) {
	t.Helper()
	if err := c.Keep(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// verdict is a guard's, with a number as its time.
func verdict(n int) *store.Batch {
	e := event.Event{Kind: event.VerdictGiven, Time: int64(n), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	e.Add(event.Int(event.Verdict, device.Deny), event.Text(event.Front, "gw-icu"))
	return &store.Batch{Events: []event.Event{e}}
}

// seen is what a sensor saw: one thing wrong, and ten times who talks to whom.
func seen(n int) *store.Batch {
	at, id := time.Now().UnixNano(), fmt.Sprintf("dev-%d", n)
	b := &store.Batch{
		Devices: []device.Device{{ID: id, Addresses: []device.Address{{Kind: device.Host, Value: fmt.Sprintf("pump-%d", n)}}}},
		Findings: []finding.Finding{{
			ID: finding.IDOf(finding.WeakTLS, id), Kind: finding.WeakTLS, Title: "a weak TLS", Device: id, Harm: device.Serious, Decision: finding.Attend, Count: 1, First: at, Last: at,
		}},
	}
	for i := range 10 {
		b.Observations = append(b.Observations, store.Observation{
			Client: device.Address{Kind: device.IP, Value: fmt.Sprintf("10.0.0.%d", i+1)}, Server: device.Address{Kind: device.IP, Value: "10.0.1.1"},
			Protocol: "hl7", Port: 2575, First: at, Last: at, Count: 1,
		})
	}
	return b
}

// TestSeveral lets two servers, each a process of its own, share a PostgreSQL database and
// a cluster of three nodes, as a hospital would that outgrew one: each is killed in its
// turn, and a node as well.
func TestSeveral(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	dsn := testpeer.PostgreSQL(t, testpeer.Forgetful)
	dir := t.TempDir()
	three, err := jetstream.Three(dir)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*server.Server
	var addresses []string
	for i := range three {
		n, err := three[i].Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
		nodes, addresses = append(nodes, n), append(addresses, fmt.Sprintf("%q", three[i].URL()))
	}
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("postgres.dsn", dsn+"\n")
	var a, b member
	for name, m := range map[string]*member{"a": &a, "b": &b} {
		m.listen = fmt.Sprintf("127.0.0.1:%d", testpeer.Port(t))
		m.dir, m.url = filepath.Join(dir, name), "https://"+m.listen
		m.file = write(name+".yaml", fmt.Sprintf("serve: 1\nsite: St. Ada Hospital\nlisten: %s\nstore: {postgres: postgres.dsn}\nbus: {servers: [%s]}\n", m.listen, strings.Join(addresses, ", ")))
	}
	a.start(t)
	defer func() {
		a.kill()
		b.kill()
		if t.Failed() {
			t.Logf("a says:\n%s\nb says:\n%s", a.errs.String(), b.errs.String())
		}
	}()

	// A second server needs the keys of the first.
	out, err := exec.Command("myelin", "serve", "--data", b.dir, "--config", b.file, "--tls").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "copy ca.pem, ca.key and secret.key") {
		t.Fatalf("a server with keys of its own: %v, %s", err, out)
	}
	for _, name := range []string{"ca.pem", "ca.key", "secret.key"} {
		key, err := os.ReadFile(filepath.Join(a.dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(b.dir, name), key, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.start(t)

	// A session that began at one holds at the other.
	le := newDesk(t)
	link := within(t, `/set-up/(\S+)`, b.out.String()) // that of the server that was started last
	le.must(t, a.url+"/set-up/"+link, url.Values{"login": {"le"}, "name": {"Lena Engel"}, "password": {"correct horse battery"}})
	le.must(t, b.url+"/today.json", nil)
	text := le.must(t, b.url+"/settings/people", url.Values{"login": {"kim"}, "name": {"Kim Park"}, "role": {"clinician"}, "clinical": {"prescriber"}})
	kim := newDesk(t)
	kim.must(t, a.url+within(t, `(/password/\d+/[\w-]+)`, text), url.Values{"password": {"staple battery horse"}})
	kim.must(t, b.url+"/guard.json", nil)

	// A program outside is told once.
	var mu sync.Mutex
	told := map[string]int{}
	outside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			What    string
			Finding struct{ ID string }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if m.What == "new" { // and not what waits at a guard
			told[m.Finding.ID]++
		}
	}))
	defer outside.Close()
	le.must(t, a.url+"/settings/receivers", url.Values{"kind": {"webhook"}, "id": {"itsm"}, "address": {outside.URL}})

	// A guard at one, a sensor at the other.
	token := func(kind, at string) string {
		t.Helper()
		return within(t, `\b([a-z2-7]{32}\.[0-9a-f]{32})\b`, le.must(t, at+"/settings/sensors", url.Values{"name": {"ICU " + kind}, "site": {"north"}, "kind": {kind}}))
	}
	decided := make(chan *bus.Decision, 8)
	guard := sender(t, balancer(t, a.listen, b.listen), token("guard", b.url), func(_ context.Context, d *bus.Decision) error {
		decided <- d
		return nil
	})
	sensor := sender(t, balancer(t, b.listen, a.listen), token("sensor", a.url), nil)

	verdicts, findings := 0, 0
	works := func(at *member) {
		t.Helper()
		events, end := kim.listen(t, at.url)
		defer end()
		held := store.Held{
			ID: fmt.Sprint(verdicts + 1), Front: "gw-icu", Device: "pump-3", Actor: "ehr", Verb: "set-infusion-rate", Effect: "more", Value: "0.6 ug/kg/min", Now: "0.4 ug/kg/min",
			Reason: "a second person", Asked: time.Now().UnixNano(), Expires: time.Now().Add(10 * time.Minute).UnixNano(),
		}
		for range 20 {
			verdicts++
			put(t, guard, verdict(verdicts))
			put(t, sensor, seen(findings))
			findings++
		}
		put(t, guard, &store.Batch{Held: []store.Held{held}, HeldToo: true})
		hears(t, events, "verdict")
		var page struct {
			Held []struct{ Path, What, ID string }
		}
		until(t, "the page shows what waits", func() bool {
			if err := json.Unmarshal([]byte(kim.must(t, at.url+"/guard.json", nil)), &page); err != nil {
				t.Fatal(err)
			}
			return len(page.Held) == 1 && page.Held[0].ID == held.ID
		})
		until(t, "a decision arrives", func() bool { // once the guard asks whoever is left
			status, text := kim.ask(t, at.url+page.Held[0].Path, url.Values{"do": {"confirm"}, "what": {page.Held[0].What}, "reason": {"as ordered"}})
			select {
			case d := <-decided:
				if d.ID != held.ID || d.What != "confirm" || d.By != "kim" || d.Role != "prescriber" || status != http.StatusOK {
					t.Errorf("%d %+v %s", status, d, text)
				}
				return true
			default:
				return false
			}
		})
		put(t, guard, &store.Batch{HeldToo: true})
		ctx, stop := context.WithTimeout(t.Context(), late)
		defer stop()
		for _, c := range []*uplink.Client{guard, sensor} {
			if err := c.Drain(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	works(&b)
	if !strings.Contains(a.errs.String(), "kind=guard") || !strings.Contains(b.errs.String(), "kind=sensor") {
		t.Fatal("the guard is not at a, or the sensor not at b")
	}

	b.kill()
	nodes[0].Shutdown()
	nodes[0].WaitForShutdown()
	le.must(t, a.url+"/today.json", nil)
	works(&a)

	b.start(t)
	a.kill()
	if nodes[0], err = three[0].Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { nodes[0].Shutdown(); nodes[0].WaitForShutdown() }()
	works(&b)
	a.start(t)

	// All is there once, and in its order.
	s, err := postgres.Open(t.Context(), dsn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var count uint64
	until(t, "all that was seen is in the store", func() bool {
		links, err := s.Links(t.Context(), "", 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		count = 0
		for _, l := range links {
			count += l.Count
		}
		return count >= uint64(10*findings)
	})
	list, err := s.Verdicts(t.Context(), store.VerdictQuery{Page: store.Page{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	var times []int64
	for _, v := range list.Rows {
		times = append(times, v.Time)
	}
	slices.Reverse(times)
	if count != uint64(10*findings) || len(times) != verdicts || !slices.IsSorted(times) || len(slices.Compact(slices.Clone(times))) != verdicts {
		t.Errorf("%d of %d observations, verdicts %v", count, 10*findings, times)
	}
	until(t, "who is outside knows all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == findings
	})
	mu.Lock()
	for id, n := range told {
		if n != 1 {
			t.Errorf("finding %s was told %d times", id, n)
		}
	}
	mu.Unlock()

	// Each has a ledger of its own, and what a schedule does is in one of them.
	did := map[string]int{}
	for _, m := range []*member{&a, &b} {
		m.kill()
		public, err := os.ReadFile(filepath.Join(m.dir, "ledger.key.pub"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := ledger.ParseVerifier(strings.TrimSpace(string(public)))
		if err != nil {
			t.Fatal(err)
		}
		if rep, err := ledger.Verify(filepath.Join(m.dir, "ledger"), ledger.VerifyConfig{Ledger: k}); err != nil || !rep.OK() {
			t.Errorf("%s: %v %+v", m.dir, err, rep)
		}
		l, err := ledger.Read(filepath.Join(m.dir, "ledger"), k)
		if err != nil {
			t.Fatal(err)
		}
		err = l.Entries(0, l.Checkpoint.Size, func(_ int64, entry []byte) error {
			e, err := event.Parse(entry)
			if err == nil && event.Result(e.Int(event.Outcome)) == event.Succeeded { // and not that it was begun
				did[e.Text(event.Operation)]++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, want := range map[string]int{"retention": 1, "set-up": 1, "enrol guard": 1, "enrol sensor": 1, "add receiver": 1, "confirm: answer": 3} {
		if did[what] != want {
			t.Errorf("%q was done %d times, not %d: %v", what, did[what], want, did)
		}
	}
}
