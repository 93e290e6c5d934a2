// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/sim/update"
)

// hookScript keeps the device's life in files of a folder, its first argument.
const hookScript = `#!/bin/sh
dir=$1; shift
echo "$@" >>"$dir/calls"
sum() { sha256sum "$1" 2>/dev/null | cut -c1-64; }
case $1 in
state)
	echo "{\"doing\":\"$(cat "$dir/doing")\",\"known\":\"delivering dependent bolus charging episode mri programming alarming\",\"battery\":80,\"link\":90,\"settings\":\"$(sum "$dir/settings")\",\"saved\":\"$(sum "$dir/saved")\"}" ;;
save) cp "$dir/settings" "$dir/saved"; sum "$dir/saved" ;;
start) head -c 100 "$3" | sed -n 's/^version //p' >"$dir/version" ;;
selftest) if grep -q bad "$dir/version"; then echo "the memory is worn" >&2; exit 1; fi ;;
esac
`

// A bench is a Linux device, its folder, and the server that it asks.
type bench struct {
	t      *testing.T
	dir    string
	depot  *update.Depot
	maker  update.Maker
	cfg    *Config
	keys   *Keys
	lines  []string
	public string // folder that the server serves, beside the depot
	now    time.Time
}

func newKey(t *testing.T) (cose.Key, cose.Signer) {
	t.Helper()
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, s
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), public: t.TempDir(), now: time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)}
	own, _ := newKey(t)
	maker, makerSigner := newKey(t)
	hospital, hospitalSigner := newKey(t)
	kid := func(k cose.Key) []byte { return patch.KeyID(&k) }
	b.keys = &Keys{Own: own, Makers: []cose.Key{maker.Public()}, Hospital: []cose.Key{hospital.Public()}}
	b.depot = update.NewDepot(hospitalSigner, kid(hospital), func() time.Time { return b.now })
	b.depot.Devices["mon-3"] = own.Public()

	pki, err := testpki.New("updates")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pki.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(b.serve))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)

	for name, text := range map[string]string{
		"hook.sh": hookScript, "doing": "", "settings": "limit 120", "calls": "", "ca.pem": string(pki.PEM()),
		"image": string(update.Image("5.0", update.NoFault, 5000)),
		"agent.yaml": "agent: 1\ndevice: mon-3\nhardware: C\nvendor: veltis.example\nclass: M9\ncomponent: firmware\nserver: " + s.URL +
			"\nca: ca.pem\nkey: device.key\nmakers: [veltis.pub]\nhospital: [update.key.pub]\nstate: state\nslot: 131072\nhook: [./hook.sh, " + b.dir + "]\ntimeout: 10s\n",
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(b.dir, "agent.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.cfg, err = ParseConfig(file, src); err != nil {
		t.Fatal(err)
	}
	b.maker = update.Maker{Signer: makerSigner, KeyID: kid(maker), Vendor: b.cfg.Vendor, Class: b.cfg.Class, Component: b.cfg.Component}
	return b
}

func (b *bench) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/update/v1/")
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(io.LimitReader(r.Body, patch.MaxMessage+1))
		if err == nil {
			body, err = b.depot.Poll(r.Context(), body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
		return
	}
	whole := make([]byte, 1<<20)
	n, err := b.depot.ReadAt(r.Context(), path, whole, 0)
	if errors.Is(err, fs.ErrNotExist) {
		whole, err = os.ReadFile(filepath.Join(b.public, filepath.FromSlash(path)))
		if n = len(whole); err != nil {
			http.NotFound(w, r)
			return
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole[:n]))
}

// release puts a version on the server, and returns its files.
func (b *bench) release(version string, sequence uint64) (patch.Release, map[string][]byte) {
	b.t.Helper()
	r := patch.Release{
		Manufacturer: "Veltis", Model: "M9", Version: version, Sequence: sequence,
		Demands: patch.Demands{Hardware: []string{"C"}, From: []string{"5.0", "5.1"}, Backup: time.Second, Longest: time.Minute, Resume: 10 * time.Second, Battery: 40},
	}
	image := update.Image(version, update.NoFault, 90_000)
	envelope, err := b.maker.Release(&r, image, "m9.bin")
	if err != nil {
		b.t.Fatal(err)
	}
	b.depot.Put(r, "veltis/m9/"+version, envelope, map[string][]byte{"m9.bin": image})
	return r, map[string][]byte{"m9.bin": image, "envelope.suit": envelope}
}

// run lets the machine live until done says so.
func (b *bench) run(done func() bool) error {
	b.t.Helper()
	m, err := Open(b.cfg, b.keys, func(format string, args ...any) { b.lines = append(b.lines, fmt.Sprintf(format, args...)) })
	if err != nil {
		return err
	}
	defer m.Close()
	if b.file("provisioned") == "" {
		if err := m.Provision(filepath.Join(b.dir, "image"), "5.0", 50); err != nil {
			b.t.Fatal(err)
		}
		b.put("provisioned", "yes")
	}
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	steps := 0
	m.pause = func(ctx context.Context, _ time.Duration) error { // there is nothing to wait for but the hook
		if steps++; done() || steps > 500 {
			stop()
		}
		return ctx.Err()
	}
	err = m.Run(ctx, false)
	if steps > 500 {
		b.t.Fatalf("it does not end: %q", b.lines)
	}
	return err
}

func (b *bench) file(name string) string {
	s, _ := os.ReadFile(filepath.Join(b.dir, name))
	return strings.TrimSpace(string(s))
}

func (b *bench) put(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) ended() bool { return len(b.depot.Results) > 0 }

// The hook is told each step of an update, in order, and what it says holds.
func TestMachine(t *testing.T) {
	b := newBench(t)
	r, _ := b.release("5.1", 51)
	b.put("doing", "delivering")
	waits := 0
	if err := b.run(func() bool {
		if n := len(b.depot.States); n > 0 && b.depot.States[n-1].Staged == r.Envelope {
			waits++
		}
		return waits > 2
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if b.file("version") != "5.0" || b.ended() || !slices.ContainsFunc(b.lines, func(l string) bool { return strings.Contains(l, "waits (therapy)") }) {
		t.Errorf("while therapy is given: %q, %q", b.file("version"), b.lines)
	}
	b.put("doing", "")
	if err := b.run(b.ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if r := b.depot.Results[0]; r.Outcome != patch.Installed || r.Version != "5.1" || b.file("version") != "5.1" {
		t.Errorf("it ends with %+v, and runs %s", r, b.file("version"))
	}
	var verbs []string
	for line := range strings.Lines(b.file("calls")) {
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb != "state" && (len(verbs) == 0 || verbs[len(verbs)-1] != verb) {
			verbs = append(verbs, verb)
		}
	}
	want := "start save start quiesce watch restart start watch quiesce selftest resumed watch release"
	if got := strings.Join(verbs, " "); got != want {
		t.Errorf("the hook is called\n%s, want\n%s", got, want)
	}
	receipts, err := os.ReadDir(filepath.Join(b.cfg.State, "receipts"))
	if err != nil || len(receipts) == 0 {
		t.Fatalf("%d receipts, %v", len(receipts), err)
	}
	signed, err := os.ReadFile(filepath.Join(b.cfg.State, "receipts", receipts[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	var s patch.State
	own := b.keys.Own.Public()
	if err := patch.Open(signed, &s, func([]byte) *cose.Key { return &own }); err != nil || s.Result == nil || s.Result.Outcome != patch.Installed {
		t.Errorf("a receipt that says %+v: %v", s.Result, err)
	}
}

func TestMachineFallsBack(t *testing.T) {
	b := newBench(t)
	b.release("5.1", 51)
	b.put("hook.sh", strings.Replace(hookScript, "grep -q bad", "grep -q 5.1", 1))
	os.Chmod(filepath.Join(b.dir, "hook.sh"), 0o700)
	if err := b.run(b.ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if r := b.depot.Results[0]; r.Outcome != patch.FellBack || !strings.Contains(r.Reason, "the memory is worn") || b.file("version") != "5.0" {
		t.Errorf("it ends with %+v, and runs %s", r, b.file("version"))
	}
}

// A hook that hangs, prints nonsense or fails lets nothing be installed.
func TestHookFails(t *testing.T) {
	for name, state := range map[string]string{
		"fails": "exit 1", "prints nonsense": "echo nonsense", "prints another key": `echo '{"charge":80}'`,
		"prints an impossible number": `echo '{"battery":200}'`, "prints nothing of therapy": `echo '{"battery":80,"link":90}'`,
		"prints without end": "yes", "complains without end": "yes >&2", "hangs": "sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if name == "hangs" {
				b.cfg.Timeout = 300 * time.Millisecond
			}
			b.release("5.1", 51)
			b.put("hook.sh", strings.Replace(hookScript, "state)\n", "state) "+state+"; exit 0\n", 1))
			os.Chmod(filepath.Join(b.dir, "hook.sh"), 0o700)
			polls := 0
			if err := b.run(func() bool { polls++; return polls > 2 }); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if b.file("version") == "5.1" || b.ended() || strings.Contains(b.file("calls"), "quiesce") {
				t.Errorf("it runs %s: %q", b.file("version"), b.lines)
			}
		})
	}
}

// An agent that is stopped while it holds therapy back lets it begin again, and leaves
// no watchdog behind.
func TestReleaseWhenStopped(t *testing.T) {
	b := newBench(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	h := &hook{ctx: ctx, argv: b.cfg.Hook, timeout: b.cfg.Timeout, say: t.Errorf}
	h.Release()
	if err := h.Watch(0); err != nil || b.file("calls") != "release\nwatch 0" {
		t.Errorf("the hook is called: %q, %v", b.file("calls"), err)
	}
}

// Two agents do not share a folder, and nothing runs that was not provisioned.
func TestOpen(t *testing.T) {
	b := newBench(t)
	m, err := Open(b.cfg, b.keys, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b.cfg, b.keys, func(string, ...any) {}); err == nil {
		t.Error("a second agent opens the folder")
	}
	if err := m.Run(t.Context(), true); err == nil || !strings.Contains(err.Error(), "--provision") {
		t.Errorf("without an image: %v", err)
	}
	if err := m.Provision(filepath.Join(b.dir, "image"), "5.0", 50); err != nil {
		t.Fatal(err)
	}
	if err := m.Provision(filepath.Join(b.dir, "image"), "4.0", 40); err == nil {
		t.Error("it is provisioned twice, with an older version")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// A repository is one of the two, with one key for each role.
type repository struct {
	*repo.Repository
	keys []*repo.Key
	dir  string
}

func (b *bench) repository(name string) *repository {
	b.t.Helper()
	p := &repository{dir: filepath.Join(b.t.TempDir(), name)}
	signers := map[string]repo.Signers{}
	for _, role := range []string{repo.Root, repo.Targets, repo.Snapshot, repo.Timestamp} {
		k, err := repo.GenerateKey()
		if err != nil {
			b.t.Fatal(err)
		}
		p.keys = append(p.keys, k)
		signers[role] = repo.Signers{Keys: []*repo.Key{k}, Threshold: 1}
	}
	var err error
	if p.Repository, err = repo.Create(p.dir, signers); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { p.Close() })
	p.Now = func() time.Time { return b.now }
	b.must(p.Renew(repo.Root))
	b.must(p.Renew(repo.Targets))
	b.publish(p, name)
	return p
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// publish signs, and puts what is public on the server.
func (b *bench) publish(p *repository, name string) {
	b.t.Helper()
	for _, k := range p.keys[:2] {
		_, err := p.Sign(k)
		b.must(err)
	}
	b.must(p.Publish(p.keys[2:]...))
	b.must(os.RemoveAll(filepath.Join(b.public, name)))
	b.must(os.CopyFS(filepath.Join(b.public, name), os.DirFS(filepath.Join(p.dir, "public"))))
}

// With repositories an offer is worth nothing that one of them does not say too.
func TestRepositories(t *testing.T) {
	b := newBench(t)
	maker, hospital := b.repository("veltis"), b.repository("hospital")
	b.cfg.Repositories = &Repositories{
		Manufacturer: "Veltis", Model: "M9", Maker: "veltis", Hospital: "hospital",
		MakerRoot: filepath.Join(maker.dir, "public/metadata/1.root.json"), HospitalRoot: filepath.Join(hospital.dir, "public/metadata/1.root.json"),
	}
	r, files := b.release("5.1", 51)
	runs := "5.0"
	refused := func(what string, want error) {
		t.Helper()
		b.lines = nil
		polls := 0
		if err := b.run(func() bool { polls++; return polls > 3 }); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if b.file("version") != runs || b.ended() || !slices.ContainsFunc(b.lines, func(l string) bool { return strings.Contains(l, want.Error()) }) {
			t.Errorf("%s: it runs %s, and says %q; want %v", what, b.file("version"), b.lines, want)
		}
	}
	refused("a release that nobody published", repo.ErrUnassigned)

	open := func(name string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files[name])), nil }
	}
	sbom := []byte("{}")
	files["sbom.json"] = sbom
	_, err := maker.AddRelease(repo.Targets, r, []repo.Attachment{
		{File: repo.File{Name: "envelope.suit", Kind: repo.Envelope}, Open: open("envelope.suit")},
		{File: repo.File{Name: "m9.bin", Kind: repo.Image}, Open: open("m9.bin")},
		{File: repo.File{Name: "sbom.json", Kind: repo.SBOM}, Open: open("sbom.json")},
	})
	b.must(err)
	b.publish(maker, "veltis")
	refused("a release that the hospital does not assign", repo.ErrUnassigned)

	dir := t.TempDir()
	root, err := os.ReadFile(b.cfg.Repositories.MakerRoot)
	b.must(err)
	b.must(repo.Trust(dir, root))
	public := repo.Dir{FS: os.DirFS(filepath.Join(b.public, "veltis"))}
	c, err := repo.NewClient(repo.Config{Dir: dir, Metadata: repo.Below(public, "metadata"), Targets: repo.Below(public, "targets"), Now: func() time.Time { return b.now }})
	b.must(err)
	b.must(c.Refresh(t.Context()))
	assigned, err := c.Assigns(t.Context(), repo.Folder(&r), nil)
	b.must(err)
	b.must(hospital.Assign(&repo.Assignment{Device: "mon-3", Releases: []repo.Assigned{assigned}}))
	b.publish(hospital, "hospital")

	// Another release than that, by a server that signs offers of its own accord.
	b.release("5.2", 52)
	refused("an offer of another release", errOffered)
	b.depot.Put(r, "veltis/m9/5.1", files["envelope.suit"], files)

	if err := b.run(b.ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if r := b.depot.Results[0]; r.Outcome != patch.Installed || b.file("version") != "5.1" {
		t.Errorf("it ends with %+v: %q", r, b.lines)
	}

	// A mirror that stands still.
	runs, b.depot.Results = "5.1", nil
	b.release("5.2", 52)
	b.now = b.now.Add(400 * 24 * time.Hour)
	refused("metadata that has expired", repo.ErrExpired)
}

func TestConfig(t *testing.T) {
	b := newBench(t)
	good := b.file("agent.yaml")
	if b.cfg.Vendor != suit.VendorUUID("veltis.example") || b.cfg.Slot != 131072 || b.cfg.Key != filepath.Join(b.dir, "device.key") || b.cfg.Hook[0] != filepath.Join(b.dir, "hook.sh") {
		t.Errorf("%+v", b.cfg)
	}
	for _, c := range [][3]string{
		{"device: mon-3\n", "", "lacks the key device"},
		{"hardware: C\n", "hardware: C\ncolour: red\n", "has no key"},
		{"https://", "http://", "https:// URL"},
		{"makers: [veltis.pub]", "makers: []", "makers has to name a key"},
		{"slot: 131072", "slot: 5", "slot"},
		{"hook: [./hook.sh", "hook: []\n#", "hook has to be a program"},
		{"timeout: 10s", "timeout: 10h", "timeout"},
		{"timeout: 10s", "repositories: {maker: x}", "lacks the key manufacturer"},
		{"agent: 1", "agent: 2", "agent"},
	} {
		src := strings.Replace(good, c[0], c[1], 1)
		if src == good {
			t.Fatalf("%q is not there", c[0])
		}
		if _, err := ParseConfig("agent.yaml", []byte(src)); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s -> %s: %v", c[0], c[1], err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("agent: 1\ndevice: mon-3\nhardware: C\nvendor: veltis.example\nclass: M9\ncomponent: firmware\nserver: https://x\nkey: k\nmakers: [m]\nhospital: [h]\nstate: s\nslot: 65536\nhook: [h]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig("agent.yaml", b)
		if err == nil && (c.Device == "" || len(c.Hook) == 0 || len(c.Makers) == 0 || len(c.Hospital) == 0) {
			t.Errorf("%+v", c)
		}
	})
}

func FuzzCondition(f *testing.F) {
	f.Add([]byte(`{"doing":"bolus","battery":80,"settings":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCondition(b); err == nil && (c.Battery > 100 || c.Link > 100 || c.Doing&^patch.All != 0) {
			t.Errorf("%+v", c)
		}
	})
}
