// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An UpdaterState is what a device with an updater runs, and what it believes.
type UpdaterState struct {
	Runs     string // version of the program that runs; "" where nothing does
	Mended   bool   // that program has the weakness of its row no more
	Genuine  bool   // its maker signed it, in these words
	Says     string // version that the updater shows: what an inventory writes down
	Newest   bool   // it was told that there is nothing newer, and believes it
	Installs int
}

// An Updater is a device that gets its programs over the network and believes what it gets. Each check that it makes
// is one that devices had whose updates were found to be open to others: it is named where it is made.
type Updater struct {
	box
	unit   *Unit
	mirror string // where updates are said to be
	s      UpdaterState
}

// NewUpdater returns a device of a model that runs a program and has such an updater. Upstream of cfg is where its
// updates are.
func NewUpdater(cfg Config, p Program) (*Updater, error) {
	if cfg.Upstream != "" {
		if err := hereText(cfg.Upstream); err != nil {
			return nil, err
		}
	}
	u := &Updater{mirror: cfg.Upstream, s: UpdaterState{Says: p.Version}}
	var err error
	if u.unit, err = NewUnit(p.Model, Config{Now: cfg.Now, Rand: cfg.Rand}, p.Image()); err != nil {
		return nil, err
	}
	return u, u.serve(cfg, map[string]func(context.Context, []string) string{"updates": u.resolve, "update": u.update, "version": u.version})
}

// Unit is the device itself.
func (u *Updater) Unit() *Unit { return u.unit }

// State returns an [UpdaterState].
func (u *Updater) State() any {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.s
	p, genuine := u.unit.Program()
	s.Runs, s.Mended, s.Genuine = p.Version, p.Mended, genuine
	return s
}

// resolve is an answer of the network to the question where the updates are.
func (u *Updater) resolve(_ context.Context, args []string) string {
	if hereText(given(args, 0)) != nil {
		return "no address"
	}
	u.mirror = given(args, 0)
	return "ok"
}

func (u *Updater) version(context.Context, []string) string { return "ok " + u.s.Says }

// update looks whether there is something newer, and installs it.
func (u *Updater) update(ctx context.Context, _ []string) string {
	ctx, stop := context.WithTimeout(ctx, cloudPatience)
	defer stop()
	newest, err := u.fetch(ctx, "newest")
	if err != nil {
		return "no updates"
	}
	version := strings.TrimSpace(string(newest))
	if u.s.Newest = version == u.s.Says; u.s.Newest { // whoever says so, and however long ago it was said
		return "ok nothing newer"
	}
	manifest, err := u.fetch(ctx, version+"/manifest") // of a version that need not be newer
	if err != nil {
		return "no updates"
	}
	m, good := readManifest(manifest) // which need not be of that version, and the model in it is nobody's concern
	if !good {
		return "no manifest"
	}
	// It has no room for an image in its memory: it is fetched once to be checked, and once more to be written. What
	// it is checked for stands in the manifest, which comes from where the image does.
	image, err := u.fetch(ctx, m.image)
	if err != nil || sha256.Sum256(image) != m.digest {
		return "no image of that digest"
	}
	if image, err = u.fetch(ctx, m.image); err != nil {
		return "no image"
	}
	u.s.Says, u.s.Installs = version, u.s.Installs+1
	u.note("version %s is installed", version)
	if err := u.unit.Start(image); err != nil {
		u.note("it does not start")
	}
	return "ok"
}

// fetch takes a file over HTTP.
func (u *Updater) fetch(ctx context.Context, path string) ([]byte, error) {
	return download(ctx, u.cfg.Tap, u.mirror, "/"+path)
}

// download is how a device here takes a file over HTTP: from this machine alone, without a proxy.
func download(ctx context.Context, tap *Tap, addr, path string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return tap.dial(ctx, Itself, network, addr)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	a, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, errRefused
	}
	return io.ReadAll(io.LimitReader(a.Body, MaxMessage))
}

// A legacyManifest says where an image is, and what it is: lines "model", "image" with a path, "sha256".
type legacyManifest struct {
	model, image string
	digest       [sha256.Size]byte
}

func (m legacyManifest) text() []byte {
	return []byte("model " + m.model + "\nimage " + m.image + "\nsha256 " + hex.EncodeToString(m.digest[:]) + "\n")
}

func readManifest(b []byte) (m legacyManifest, ok bool) {
	for line := range strings.Lines(string(b)) {
		switch word, value, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "model":
			m.model = value
		case "image":
			m.image = value
		case "sha256":
			d, err := hex.DecodeString(value)
			ok = err == nil && copy(m.digest[:], d) == len(m.digest)
		}
	}
	return m, ok && m.image != ""
}

// Releases are what a maker released of a device's program: one with the weakness of its row, an older one, one
// in which it is mended; and a program of another device.
type Releases struct{ Older, Weak, Mended, Other Program }

// ReleasesOf makes releases of a model's program, of these versions.
func ReleasesOf(model, name, older, weak, mended string) Releases {
	other := "calm"
	if model == other {
		other = "rhythm-a"
	}
	return Releases{
		Program{name, model, older, false},
		Program{name, model, weak, false},
		Program{name, model, mended, true},
		Program{name, other, mended, true},
	}
}

// A mirror is the files of a maker, and whoever answers for him: a path, how often it was asked for before, and the file; nil is none.
type mirror func(path string, before int) []byte

// published is the honest mirror once a release is out: of it and of those before it.
func published(newest Program, all ...Program) mirror {
	files := map[string][]byte{"/newest": []byte(newest.Version + "\n")}
	for _, p := range append(all, newest) {
		m := legacyManifest{model: p.Model, image: p.Version + "/image", digest: sha256.Sum256(p.Image())}
		files["/"+p.Version+"/manifest"], files["/"+m.image] = m.text(), p.Image()
	}
	return func(path string, _ int) []byte { return files[path] }
}

// An UpdateAttack is an attack on the way by which a device gets its programs, whatever device it is. Those who run it have no key
// of the maker's: what is not altered is his own.
type UpdateAttack struct {
	Name  string
	About string

	fixed  bool // the device has the mended version already
	lie    func(r *Releases) mirror
	harmed func(r *Releases, s UpdaterState) string
}

// UpdateAttacks is the table of them.
var UpdateAttacks = []UpdateAttack{
	{
		Name: "altered", About: "an image that somebody changed, with a manifest to match",
		lie: func(r *Releases) mirror {
			honest, image := published(r.Mended), r.Mended.Altered()
			m := legacyManifest{model: r.Mended.Model, image: r.Mended.Version + "/image", digest: sha256.Sum256(image)}
			return func(path string, n int) []byte {
				switch path {
				case "/" + r.Mended.Version + "/manifest":
					return m.text()
				case "/" + m.image:
					return image
				}
				return honest(path, n)
			}
		},
		harmed: func(_ *Releases, s UpdaterState) string {
			if s.Runs == "" || s.Genuine {
				return ""
			}
			return "a program that nobody signed runs"
		},
	},
	{
		Name: "downgraded", About: "an old release, once more as the newest", fixed: true,
		lie: func(r *Releases) mirror { return published(r.Weak) },
		harmed: func(r *Releases, s UpdaterState) string {
			if s.Runs != r.Weak.Version || s.Mended {
				return ""
			}
			return "from " + r.Mended.Version + " back to " + s.Runs
		},
	},
	{
		Name: "wrong-model", About: "the maker's own image, of another device",
		lie: func(r *Releases) mirror { return published(r.Other) },
		harmed: func(_ *Releases, s UpdaterState) string {
			if s.Runs != "" {
				return ""
			}
			return "the program of another device was written over its own: nothing runs"
		},
	},
	{
		Name: "swapped", About: "the image is exchanged between its check and its installation",
		lie: func(r *Releases) mirror {
			honest := published(r.Mended)
			return func(path string, n int) []byte {
				if strings.HasSuffix(path, "/image") && n > 0 {
					return r.Mended.Altered()
				}
				return honest(path, n)
			}
		},
		harmed: func(_ *Releases, s UpdaterState) string {
			if s.Runs == "" || s.Genuine {
				return ""
			}
			return "the genuine image was checked, and another one runs"
		},
	},
	{
		Name: "frozen", About: "what was published before the weakness was mended, for ever",
		lie: func(r *Releases) mirror { return published(r.Weak, r.Older) },
		harmed: func(r *Releases, s UpdaterState) string {
			if !s.Newest || s.Mended {
				return ""
			}
			return "half a year after " + r.Mended.Version + " it believes that there is nothing newer than " + s.Says
		},
	},
	{
		Name: "mixed", About: "the index of the new release, and the manifest of the old one",
		lie: func(r *Releases) mirror {
			now, then := published(r.Mended, r.Weak), published(r.Weak)
			return func(path string, n int) []byte {
				if path == "/"+r.Mended.Version+"/manifest" {
					return then("/"+r.Weak.Version+"/manifest", n)
				}
				return now(path, n)
			}
		},
		harmed: func(r *Releases, s UpdaterState) string {
			if s.Says != r.Mended.Version || s.Mended {
				return ""
			}
			return "it says that it is " + s.Says + ", and runs " + s.Runs
		},
	},
}

// An UpdateOutcome is what came of an attack on an updater.
type UpdateOutcome struct {
	Hurt bool // as the device's state shows
	How  string
	Unit *Unit
}

// Try makes a device with an [Updater], has it ask each month for half a year while the attacker answers, and says what
// came of it.
func (a *UpdateAttack) Try(ctx context.Context, r Releases, env *Env) (UpdateOutcome, error) {
	runs := r.Weak
	if a.fixed {
		runs = r.Mended
	}
	s, unit, err := halfYear(ctx, runs, a.lie(&r), env)
	if err != nil {
		return UpdateOutcome{}, err
	}
	how := a.harmed(&r, s)
	return UpdateOutcome{how != "", how, unit}, nil
}

// Honest has a device with an [Updater] ask an honest mirror, half a year long.
func (r Releases) Honest(ctx context.Context, env *Env) (UpdaterState, *Unit, error) {
	return halfYear(ctx, r.Weak, published(r.Mended, r.Weak, r.Older), env)
}

const months = 6

// halfYear is half a year of a device that asks a mirror each month.
func halfYear(ctx context.Context, runs Program, m mirror, env *Env) (UpdaterState, *Unit, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return UpdaterState{}, nil, err
	}
	var mu sync.Mutex
	before := map[string]int{}
	s := &http.Server{ReadHeaderTimeout: env.patience(), Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		n := before[q.URL.Path]
		before[q.URL.Path]++
		mu.Unlock()
		b := m(q.URL.Path, n)
		if b == nil {
			http.NotFound(w, q)
			return
		}
		_, _ = io.Copy(w, bytes.NewReader(b))
	})}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.Close()
	wg.Go(func() { _ = s.Serve(l) })
	u, err := NewUpdater(Config{Now: env.now, Rand: env.Rand, Upstream: l.Addr().String()}, runs)
	if err != nil {
		return UpdaterState{}, nil, err
	}
	err = served(ctx, "tcp", u, func(ctx context.Context, network, addr string) error {
		asks := *env
		asks.Target = address{network: network, addr: addr}
		c, err := asks.dial(ctx, lines)
		if err != nil {
			return err
		}
		defer c.Close()
		for range months {
			env.pause(30 * 24 * time.Hour)
			if _, err := (&terminal{c}).do("update"); err != nil {
				return err
			}
		}
		return nil
	})
	return u.State().(UpdaterState), u.unit, err
}
