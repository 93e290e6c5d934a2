// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/internal/testpeer"
)

func TestMain(m *testing.M) {
	kinds["stub"] = kindOf([]string{"word"}, readStub, newStub, nil)
	goleak.VerifyTestMain(m)
}

// A stub front says its word to who connects, and again for each line.
type stubPolicy struct {
	front.Settings
	word string
}

func readStub(r *strictyaml.Reader, s *strictyaml.Section, dir string) *stubPolicy {
	return &stubPolicy{front.ReadSettings(r, s, dir), r.Text(s.Need("word", "what it says"), "word")}
}

type stub struct {
	env    *front.Env
	policy atomic.Pointer[stubPolicy]
}

func newStub(env *front.Env, p *stubPolicy) *stub {
	s := &stub{env: env}
	s.policy.Store(p)
	return s
}

func (s *stub) Update(p front.Policy) { s.policy.Store(p.(*stubPolicy)) }

func (s *stub) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", s.policy.Load().Listen.Address)
	if err != nil {
		return err
	}
	l := front.Listener{Env: s.env, Settings: func() *front.Settings { return s.policy.Load().Common() }, Handle: func(ctx context.Context, c *front.Conn) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			select {
			case <-front.Draining(ctx):
				c.Conn.Close()
			case <-stop:
			}
		})
		defer wg.Wait()
		defer close(stop)
		b := make([]byte, 64)
		for {
			s.env.Learned.Saw(c.Settings.Name, "word", s.policy.Load().word)
			if _, err := io.WriteString(c, s.policy.Load().word+"\n"); err != nil {
				return
			}
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}}
	return l.Serve(ctx, ln)
}

// aHash is of "correct horse battery staple".
var aHash = sync.OnceValue(func() string {
	h, err := HashPassword("correct horse battery staple", rand.Reader)
	if err != nil {
		panic(err)
	}
	return h
})

// ward is a configuration with a page and one stub, in a folder of its own.
func ward(t *testing.T) (file string) {
	t.Helper()
	cert, key := testpeer.Certificate(t)
	dir := t.TempDir()
	for from, to := range map[string]string{cert: "page.pem", key: "page.key"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, to), string(b))
	}
	file = filepath.Join(dir, "guard.yaml")
	write(t, file, strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(wardText, "PAGE", freeAddress(t)), "FRONT", freeAddress(t)), "HASH", aHash()))
	return file
}

const wardText = `guard: 1
site: St. Ada Hospital, ICU
state: state
ledger: {folder: ledger, key: ledger.key}
page:
  listen: PAGE
  address: https://guard.icu.ada.example/
  tls: {certificate: page.pem, key: page.key}
people:
  - {id: mh, role: prescriber, password: "HASH", actors: [prog-1]}
  - {id: jr, role: nurse, password: "HASH"}
  - {id: te, role: analyst, password: "HASH"}
devices:
  - {id: pump-3, therapy: drug infusion}
fronts:
  - name: one
    kind: stub
    device: pump-3
    protects: server
    listen: {address: "FRONT", clear: this is a test}
    forward: 127.0.0.1:9
    bypass: there is nothing to go around here
    limits: {drain: 500ms}
    word: old
`

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freeAddress is one at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := loopback.Free("tcp")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// edit replaces text in a file.
func edit(t *testing.T, file string, old, new string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("%s has no %q", file, old)
	}
	write(t, file, strings.Replace(string(b), old, new, 1))
}

func TestLoad(t *testing.T) {
	file := ward(t)
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := c.Person("mh"); !ok || p.Clinical.String() != "prescriber" || p.Actors[0] != "prog-1" || c.Site != "St. Ada Hospital, ICU" ||
		c.State != filepath.Join(filepath.Dir(file), "state") || len(c.Fronts) != 1 || c.Fronts[0].(*stubPolicy).word != "old" {
		t.Errorf("%+v", c)
	}
	if p, _ := c.Person("te"); p.Clinical != 0 {
		t.Error("an analyst has a clinical role")
	}
	if len(c.named) != 2 { // the page's certificate and key
		t.Errorf("files that it names: %q", c.named)
	}
	before := c.Digest
	edit(t, filepath.Join(filepath.Dir(file), "page.pem"), "\n", "\n\n")
	if c, err = Load(file); err != nil || c.Digest == before {
		t.Errorf("another certificate is no change: %v", err)
	}
}

// Whatever is wrong is named with its place.
func TestLoadRefuses(t *testing.T) {
	for _, x := range []struct{ old, new, want string }{
		{"guard: 1", "guard: 2", ":1:8: guard has to be 1: there is no other version of this format"},
		{"site: ", "sight: ", `:2:1: the file has no key "sight"`},
		{"role: nurse", "role: doctor", `role cannot be "doctor"; it is one of prescriber, pharmacist, nurse, engineer`},
		{"id: jr", "id: mh", `there are two people with the id "mh"`},
		{"id: jr", "id: jon-reyes-of-the-icu", "initials or a number, never a name"},
		{"id: jr", "id: Jon", "small letters"},
		{aHash(), "hunter2", "the password has to be what 'myelin guard passwd' prints"},
		{"m=65536,t=3", "m=8,t=1", "its parameters are weak or very costly"},
		{"m=65536,t=3", "m=4000000,t=3", "its parameters are weak or very costly"},
		{"id: pump-3", "id: <script>", "id has to be a word"},
		{"therapy: drug infusion", "therapy: homeopathy", "therapy is one of pacing, defibrillation"},
		{"therapy: drug infusion}", "therapy: drug infusion, envelope: none.yaml}", "the envelope cannot be read: no such file"},
		{"device: pump-3", "device: pump-9", `:18:13: no device has the id "pump-9"; devices has pump-3`},
		{"kind: stub", "kind: fax", `there is no kind of front "fax"`},
		{`", clear: this is a test}`, `9999", clear: this is a test}`, "has to be host:port"},
		{"word: old", "sentence: old", `:24:5: a front of this kind has no key "sentence"`},
		{"    word: old\n", "", "lacks the key word"},
		{"name: one", "name: One Two", "name has to be a word"},
		{"address: https://guard", "address: http://guard", "address has to be https://"},
		{"key: page.key", "key: page.pem", "certificate and key cannot be used"},
		{"bypass: there is nothing to go around here", "mode: observe", "in words, what people do when the guard is away"},
	} {
		file := ward(t)
		edit(t, file, x.old, x.new)
		_, err := Load(file)
		var at *strictyaml.Error
		if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s -> %s: %v, want %s", x.old, x.new, err, x.want)
		}
	}
	file := ward(t)
	b, _ := os.ReadFile(file)
	text := string(b)
	write(t, file, text+text[strings.Index(text, "  - name: one"):])
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "there are two fronts with the name") {
		t.Errorf("the same front twice: %v", err)
	}
	write(t, file, text+strings.Replace(text[strings.Index(text, "  - name: one"):], "name: one", "name: two", 1))
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "two fronts listen on") {
		t.Errorf("two fronts at one place: %v", err)
	}
}

func TestPassword(t *testing.T) {
	h, err := parseHash(aHash())
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches("correct horse battery staple") || h.matches("correct horse battery stapl") || h.matches("") || nobody.matches("") {
		t.Error("matches what it should not, or not what it should")
	}
	if _, err := HashPassword("fourteen chars", rand.Reader); err == nil {
		t.Error("a password of fourteen bytes is taken")
	}
	for _, bad := range []string{"", "$", "$argon2i$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", strings.Replace(aHash(), "v=19", "v=18", 1), aHash()[:len(aHash())-30], aHash() + "$"} {
		if _, err := parseHash(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
