// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
)

// A told keeps the events that were recorded.
type told struct {
	mu     sync.Mutex
	events []event.Event
	fail   bool
}

func (r *told) record(e *event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail {
		return errors.New("no disk")
	}
	r.events = append(r.events, *e)
	return nil
}

// of are the events of a kind.
func (r *told) of(k event.Kind) (out []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == k {
			out = append(out, e)
		}
	}
	return out
}

func (r *told) reasons(k event.Kind) (out []string) {
	for _, e := range r.of(k) {
		out = append(out, e.Text(event.Reason))
	}
	return out
}

// A rig is a guard that runs.
type rig struct {
	t      *testing.T
	file   string
	g      *Guard
	told   told
	hup    chan os.Signal
	ctx    context.Context
	ended  chan error
	cancel context.CancelFunc
}

// run starts the guard of a file.
func run(t *testing.T, file string) *rig {
	t.Helper()
	conf, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, file: file, ended: make(chan error, 1), hup: make(chan os.Signal)}
	if r.g, err = New(conf, Config{Record: r.told.record, Reload: r.hup}); err != nil {
		t.Fatal(err)
	}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	go func() { r.ended <- r.g.Run(r.ctx) }()
	t.Cleanup(r.stop)
	r.dial(conf.Fronts[0].Common().Listen.Address) // it listens
	return r
}

func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err != nil {
		r.t.Error(err)
	}
	if err := r.g.Close(); err != nil {
		r.t.Error(err)
	}
}

// until waits for something that another goroutine does.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// A talk is a connection to a stub.
type talk struct {
	net.Conn
	r *bufio.Reader
}

// dial connects when something listens, and returns its first word.
func (r *rig) dial(address string) (*talk, string) {
	r.t.Helper()
	var c net.Conn
	until(r.t, "nothing listens on "+address, func() (ok bool) {
		var err error
		c, err = net.Dial("tcp", address)
		return err == nil
	})
	r.t.Cleanup(func() { c.Close() })
	k := &talk{c, bufio.NewReader(c)}
	return k, k.word()
}

func (k *talk) word() string {
	line, err := k.r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

func (k *talk) again() string {
	if _, err := io.WriteString(k, "x\n"); err != nil {
		return err.Error()
	}
	return k.word()
}

// changed asks for the files to be read, and waits until all of that is taken over or refused.
func (r *rig) changed() {
	r.t.Helper()
	r.changes(func() { r.hup <- syscall.SIGHUP })
}

// changes waits until what was done to the files is taken over or refused.
func (r *rig) changes(do func()) {
	r.t.Helper()
	taken := func() (time.Time, string) {
		r.g.mu.Lock()
		defer r.g.mu.Unlock()
		return r.g.taken, r.g.refused
	}
	recorded := len(r.told.reasons(event.ConfigurationChanged))
	before, _ := taken()
	do()
	until(r.t, "the change was not seen", func() bool {
		now, refused := taken()
		return len(r.told.reasons(event.ConfigurationChanged)) > recorded && (now != before || refused != "")
	})
}

func (r *rig) last() string {
	reasons := r.told.reasons(event.ConfigurationChanged)
	return reasons[len(reasons)-1]
}

// A change of the file holds at once, also for connections that stand, and none
// of them is dropped.
func TestReload(t *testing.T) {
	r := run(t, ward(t))
	first := r.g.conf.Load().Fronts[0].Common().Listen.Address
	c, word := r.dial(first)
	if word != "old" {
		t.Fatalf("it says %q", word)
	}
	r.changes(func() { edit(t, r.file, "word: old", "word: new") }) // nobody says so: it is seen
	if got := c.again(); got != "new" {
		t.Errorf("a connection that stood says %q", got)
	}
	if got := r.last(); got != "fronts that go on: one" {
		t.Errorf("recorded: %s", got)
	}

	// Another place: the new one listens, and the old one drains.
	second := freeAddress(t)
	edit(t, r.file, first, second)
	r.changed()
	d, word := r.dial(second)
	if word != "new" {
		t.Errorf("at the new place it says %q", word)
	}
	until(t, "the old place still listens", func() bool {
		k, err := net.Dial("tcp", first)
		if err == nil {
			k.Close()
		}
		return err != nil
	})
	if got := d.again(); got != "new" {
		t.Errorf("the new place says %q", got)
	}

	// A front more, and then only that.
	third := freeAddress(t)
	b, _ := os.ReadFile(r.file)
	text := string(b)
	one := text[strings.Index(text, "  - name: one"):]
	write(t, r.file, text+strings.NewReplacer("name: one", "name: two", second, third, "word: new", "word: two").Replace(one))
	r.changed()
	if _, word := r.dial(third); word != "two" {
		t.Errorf("the second front says %q", word)
	}
	b, _ = os.ReadFile(r.file)
	write(t, r.file, strings.Replace(string(b), one, "", 1))
	r.changed()
	if got := r.last(); got != "fronts that drain: one; fronts that go on: two" {
		t.Errorf("recorded: %s", got)
	}
	until(t, "the connection of a front that is gone stays", func() bool { return d.again() != "new" })
	if f := r.g.Fronts(); len(f) != 1 || f[0].Settings.Name != "two" {
		t.Errorf("fronts: %+v", f)
	}
}

// A device that calls is listened to at the new place while the old one, with a message of
// it under way, drains.
func TestReloadCalls(t *testing.T) {
	file := ward(t)
	others, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	first, second := freeAddress(t), freeAddress(t)
	b, _ := os.ReadFile(file)
	write(t, file, string(b)+fmt.Sprintf("  - {name: out, kind: hl7, device: pump-3, protects: client, listen: %q, forward: {address: %q, clear: a test}, bypass: call the ward at once}\n", first, others.Addr()))
	r := run(t, file)
	dial := func(address string) (c, o net.Conn) {
		t.Helper()
		until(t, "nothing listens", func() bool { c, err = net.Dial("tcp", address); return err == nil })
		t.Cleanup(func() { c.Close() })
		if o, err = others.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		return c, o
	}
	says := func(c, o net.Conn, what string) {
		t.Helper()
		io.WriteString(c, what)
		got := make([]byte, len(what))
		if _, err := io.ReadFull(o, got); err != nil || string(got) != what {
			t.Fatalf("%q came, %v", got, err)
		}
	}
	c, o := dial(first)
	says(c, o, "\x0bMSH|^~") // it is not whole
	edit(t, file, first, second)
	r.changed()
	d, p := dial(second)
	says(d, p, "\x0bMSH|^~")
	says(c, o, "\\&|\x1c\r")
}

// What is wrong, taken or cannot be recorded is refused whole, and the old goes on.
func TestReloadRefused(t *testing.T) {
	file := ward(t)
	r := run(t, file)
	good, _ := os.ReadFile(file)
	c, _ := r.dial(r.g.conf.Load().Fronts[0].Common().Listen.Address)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, x := range []struct{ old, new, want string }{
		{"word: old", "wort: neu", `guard.yaml:24:5: a front of this kind has no key "wort"`},
		{r.g.conf.Load().Fronts[0].Common().Listen.Address, taken.Addr().String(), "front one: listen tcp"},
		{r.g.conf.Load().Page.Listen, taken.Addr().String(), "page: listen tcp"},
		{"state: state", "state: other", "change with a restart only"},
	} {
		write(t, file, strings.Replace(string(good), x.old, x.new, 1))
		r.changed()
		if got := r.last(); !strings.Contains(got, x.want) || !strings.HasPrefix(got, "refused, and the old one goes on: ") {
			t.Errorf("%s: recorded %q", x.want, got)
		}
		if got := c.again(); got != "old" {
			t.Errorf("%s: the old one says %q", x.want, got)
		}
		if why := r.g.Unready(); len(why) != 1 || !strings.Contains(why[0], x.want) {
			t.Errorf("%s: not ready because of %q", x.want, why)
		}
	}
	write(t, file, string(good))
	r.hup <- syscall.SIGHUP
	until(t, "as it was, and still not ready", func() bool { return len(r.g.Unready()) == 0 })

	r.told.mu.Lock()
	r.told.fail = true
	r.told.mu.Unlock()
	edit(t, file, "word: old", "word: new")
	r.hup <- syscall.SIGHUP
	until(t, "a change that cannot be recorded is not refused", func() bool {
		why := r.g.Unready()
		return strings.Contains(strings.Join(why, "; "), "it cannot be recorded: no disk")
	})
	if got := c.again(); got != "old" {
		t.Errorf("a change that cannot be recorded was taken over: %q", got)
	}
	if why := strings.Join(r.g.Unready(), "; "); !strings.Contains(why, "the ledger cannot be written: it lacks ") {
		t.Errorf("nobody is told that the ledger lacks something: %s", why)
	}
	r.told.mu.Lock()
	r.told.fail = false
	r.told.mu.Unlock()
	until(t, "it is not said in the ledger what it lacks", func() bool { return strings.HasPrefix(r.last(), "the ledger is written again; it lacks ") })
}

// What cannot begin does not begin.
func TestRunRefuses(t *testing.T) {
	for what, break_ := range map[string]func(*Configuration, *told){
		"front": func(c *Configuration, _ *told) {
			c.Fronts[0].Common().Listen.Address = c.Page.Listen
		},
		"record": func(_ *Configuration, r *told) { r.fail = true },
	} {
		conf, err := Load(ward(t))
		if err != nil {
			t.Fatal(err)
		}
		var r told
		break_(conf, &r)
		taken, err := net.Listen("tcp", conf.Fronts[0].Common().Listen.Address)
		if err != nil {
			t.Fatal(err)
		}
		if what == "record" {
			taken.Close()
		}
		g, err := New(conf, Config{Record: r.record})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Run(t.Context()); err == nil {
			t.Errorf("%s: it runs", what)
		}
		g.Close()
		taken.Close()
	}
}

// A front that ends by itself is not hidden, and is started again.
func TestFrontEnds(t *testing.T) {
	var mu sync.Mutex
	times := 0
	kinds["weak"] = kindOf([]string{"word"}, readStub, func(env *front.Env, p *stubPolicy) front.Front {
		return weak{func(ctx context.Context) error {
			mu.Lock()
			times++
			n := times
			mu.Unlock()
			if n < 3 {
				return errors.New("its cable was pulled")
			}
			return newStub(env, p).Run(ctx)
		}}
	}, nil)
	defer delete(kinds, "weak")
	file := ward(t)
	edit(t, file, "kind: stub", "kind: weak")
	r := run(t, file)
	if why := r.g.Unready(); len(why) != 1 || !strings.Contains(why[0], "front one was started again 2 times") {
		t.Errorf("not ready because of %q", why)
	}
	if f := r.g.Fronts(); f[0].Restarts != 2 {
		t.Errorf("%+v", f)
	}
}

type weak struct{ run func(context.Context) error }

func (w weak) Run(ctx context.Context) error { return w.run(ctx) }
func (weak) Update(front.Policy)             {}

// What was learned outlives a restart, and is proposed.
func TestLearned(t *testing.T) {
	file := ward(t)
	for range 2 {
		r := run(t, file)
		r.stop()
	}
	conf, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Propose(conf, "one")
	if err != nil || len(p) != 1 || p[0].Seen < 2 || p[0].Kinds != 1 || len(p[0].Lines) != 1 || !strings.Contains(p[0].Lines[0], "word  old") {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := Propose(conf, "none"); err == nil {
		t.Error("a front that is not there has proposals")
	}
	write(t, filepath.Join(conf.State, learnedFile), "{")
	run(t, file).stop() // what is damaged does not keep a guard from its work
	if _, err := os.Stat(filepath.Join(conf.State, learnedFile+".damaged")); err != nil {
		t.Error(err)
	}
}

// A client of the page, as a browser is.
type client struct {
	*http.Client
	t    *testing.T
	base string
}

func (r *rig) browser() *client {
	jar, _ := cookiejar.New(nil)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &client{&http.Client{Jar: jar, Transport: tr}, r.t, "https://" + r.g.conf.Load().Page.Listen}
}

func (c *client) get(path string) (int, string) {
	c.t.Helper()
	a, err := c.Get(c.base + path)
	return c.body(a, err)
}

func (c *client) post(path string, form url.Values, header ...string) (int, string) {
	c.t.Helper()
	q, err := http.NewRequest(http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	a, err := c.Do(q)
	return c.body(a, err)
}

func (c *client) body(a *http.Response, err error) (int, string) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func (c *client) login(id, password string) (int, string) {
	c.t.Helper()
	return c.post("/login", url.Values{"id": {id}, "password": {password}})
}

const thePassword = "correct horse battery staple"

func TestPageDoors(t *testing.T) {
	r := run(t, ward(t))
	c := r.browser()
	for _, path := range []string{"/held.json", "/verdicts.json", "/devices.json"} {
		if code, _ := c.get(path); code != http.StatusUnauthorized {
			t.Errorf("%s without a login: %d", path, code)
		}
	}
	for _, path := range []string{"/", "/devices/pump-3", "/held/1"} {
		if _, body := c.get(path); !strings.Contains(body, "Who are you?") {
			t.Errorf("%s without a login shows something", path)
		}
	}
	if code, _ := c.post("/held/1/confirm", url.Values{}); code != http.StatusUnauthorized {
		t.Errorf("a decision without a login: %d", code)
	}
	for _, id := range []string{"jr", "nobody", ""} {
		if code, body := c.login(id, "wrong"); code != http.StatusForbidden || !strings.Contains(body, errWrong.Error()) {
			t.Errorf("%q with a wrong password: %d", id, code)
		}
	}
	if code, _ := c.post("/login", url.Values{"id": {"jr"}, "password": {thePassword}}, "Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("a login from another site: %d", code)
	}
	if code, _ := c.login("jr", strings.Repeat("x", 2*pageForm)); code != http.StatusBadRequest {
		t.Errorf("a form that is too long: %d", code)
	}
	a, err := c.Post(c.base+"/login", "application/x-www-form-urlencoded", strings.NewReader(url.Values{"id": {"jr"}, "password": {thePassword}}.Encode()))
	if code, body := c.body(a, err); code != http.StatusOK || !strings.Contains(body, "Nothing is waiting.") || !strings.Contains(body, "pump-3") {
		t.Errorf("logged in: %d %s", code, body)
	}
	if p := a.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; style-src 'self'") {
		t.Errorf("content policy %q", p)
	}
	for _, k := range c.Jar.Cookies(a.Request.URL) {
		if k.Name != cookieName {
			t.Errorf("cookie %s", k.Name)
		}
	}
	var list []map[string]any
	if code, body := c.get("/devices.json"); code != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil || list[0]["id"] != "pump-3" || list[0]["enforcing"] != false {
		t.Errorf("devices: %d %s", code, body)
	}
	for _, name := range []string{"held", "verdicts", "doubts", "fronts", "refusals", "emergencies"} {
		if code, body := c.get("/" + name + ".json"); code != http.StatusOK || !strings.HasPrefix(body, "[") {
			t.Errorf("%s: %d %s", name, code, body)
		}
		if code, body := c.get("/" + name + ".csv"); code != http.StatusOK || !strings.Contains(body, "front") && !strings.Contains(body, "since") {
			t.Errorf("%s.csv: %d %s", name, code, body)
		}
	}
	if code, body := c.post("/held/1/confirm", url.Values{"what": {"x"}}); code != http.StatusGone {
		t.Errorf("a decision on nothing: %d %s", code, body)
	}
	if code, body := c.post("/doubts/1", url.Values{"given": {"perhaps"}, "why": {"so"}}); code != http.StatusBadRequest {
		t.Errorf("a doubt that is settled by perhaps: %d %s", code, body)
	}
	if code, _ := c.get("/devices/pump-9"); code != http.StatusNotFound {
		t.Errorf("a device that is not there: %d", code)
	}
	if code, body := c.get("/healthz"); code != http.StatusOK || !strings.Contains(body, `"ready":true`) {
		t.Errorf("health: %d %s", code, body)
	}
	if code, body := c.get("/metrics"); code != http.StatusOK || !strings.Contains(body, "myelin_guard_ready 1") || !strings.Contains(body, `myelin_guard_connections{front="one"}`) {
		_, own, _ := strings.Cut(body, "# HELP myelin_")
		t.Errorf("metrics: %d %s; not ready: %q", code, own, r.g.Unready())
	}
	if code, body := c.post("/logout", nil); code != http.StatusOK || !strings.Contains(body, "Who are you?") {
		t.Errorf("logged out: %d", code)
	}
	if code, _ := c.get("/held.csv"); code != http.StatusUnauthorized {
		t.Errorf("a table after logging out: %d", code)
	}
	if code, _ := c.get("/held.json"); code != http.StatusUnauthorized {
		t.Errorf("after logging out: %d", code)
	}

	// An analyst sees, and decides nothing.
	if code, _ := c.login("te", thePassword); code != http.StatusOK {
		t.Errorf("the analyst: %d", code)
	}
	if code, _ := c.post("/held/1/confirm", url.Values{}); code != http.StatusForbidden {
		t.Errorf("the analyst decides: %d", code)
	}

	// Another password ends the session.
	h, err := HashPassword("another password", strings.NewReader(strings.Repeat("salt", 9)))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(r.file)
	write(t, r.file, strings.ReplaceAll(string(b), aHash(), h))
	r.changed()
	if code, _ := c.get("/held.json"); code != http.StatusUnauthorized {
		t.Errorf("a session of an old password: %d", code)
	}
}

// Who guesses is stopped; who has been here from the same place is not locked out
// by somebody elsewhere who guesses.
func TestTries(t *testing.T) {
	conf, err := Load(ward(t))
	if err != nil {
		t.Fatal(err)
	}
	s := newSessions()
	now := noon
	h := conf.People[1].password
	conf.People[1].password = hash{19 << 10, 2, 1, h.salt, nil}
	conf.People[1].password.sum = conf.People[1].password.of("right", 32)
	try := func(password, address string) error {
		_, err := s.check(conf, "jr", password, address, now)
		return err
	}
	if err := try("right", "10.20.3.7"); err != nil {
		t.Fatal(err)
	}
	s.begin(conf.People[1], "10.20.3.7", now)
	for range triesPerID {
		if err := try("wrong", "10.20.8.99"); !errors.Is(err, errWrong) {
			t.Fatal(err)
		}
	}
	if err := try("right", "10.20.8.99"); !errors.Is(err, errMany) {
		t.Errorf("the eleventh: %v", err)
	}
	if err := try("right", "10.20.3.7"); err != nil {
		t.Errorf("from where the person has been: %v", err)
	}
	now = now.Add(tryWindow - 1)
	if err := try("right", "10.20.8.99"); !errors.Is(err, errMany) {
		t.Errorf("just before the window is over: %v", err)
	}
	now = now.Add(1)
	if err := try("right", "10.20.8.99"); err != nil {
		t.Errorf("when the window is over: %v", err)
	}
	for i := range triesPerAddr {
		s.fail("addr 10.20.8.98", now)
		if over := s.over("addr 10.20.8.98", triesPerAddr, now); over != (i == triesPerAddr-1) {
			t.Errorf("address after %d: %v", i+1, over)
		}
	}
	for i := range 2 * maxTries {
		s.fail(strings.Repeat("x", i%7)+string(rune('a'+i%26))+time.Duration(i).String(), now)
	}
	if len(s.tries) > maxTries {
		t.Errorf("%d tries are kept", len(s.tries))
	}
}

// TestPageRoom: who opens as many connections to the page as there may be keeps nobody
// else from it.
func TestPageRoom(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bounded{Listener: ln, room: make(chan struct{}, pageConns), of: map[string]int{}}
	from := make(chan net.Conn, 2*pageConns)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			from <- c
		}
	}()
	defer func() { ln.Close(); <-done }()
	for range pageConns + 1 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := other.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Skip("no second address of loopback:", err)
	}
	defer c.Close()
	late := time.After(10 * time.Second)
	for n := 0; ; n++ {
		select {
		case got := <-from:
			defer got.Close()
			if host, _, _ := net.SplitHostPort(got.RemoteAddr().String()); host == "127.0.0.2" {
				if n > pagePeer {
					t.Errorf("%d connections of one address before", n)
				}
				return
			}
		case <-late:
			t.Fatal("another address is not let in")
		}
	}
}

// TestTriesForgotten: a login whose tries were forgotten while it was looked at, as
// there were many others, is a login.
func TestTriesForgotten(t *testing.T) {
	h := hash{19 << 10, 2, 1, make([]byte, saltBytes), nil}
	h.sum = h.of("right", sumBytes)
	c := &Configuration{People: []Person{{ID: "mh", password: h}}}
	s := newSessions()
	for range maxHashes {
		s.hashN <- struct{}{}
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.check(c, "mh", "right", "10.20.1.9", noon)
		done <- err
	}()
	for forgotten := false; !forgotten; runtime.Gosched() {
		s.mu.Lock()
		if forgotten = len(s.tries) == 2; forgotten {
			clear(s.tries)
		}
		s.mu.Unlock()
	}
	for range maxHashes {
		<-s.hashN
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
