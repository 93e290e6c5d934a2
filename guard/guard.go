// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
)

// A Config is what a guard is given.
type Config struct {
	Record  func(*event.Event) error // returns when durable
	Log     *slog.Logger             // nil: nothing is logged
	Now     func() time.Time         // nil: the machine's clock
	Reload  <-chan os.Signal         // asks for the configuration to be read again; nil: nobody does
	Version string                   // of the program
}

// A Guard runs the fronts and the page of a configuration.
type Guard struct {
	cfg      Config
	began    time.Time
	registry *prometheus.Registry // of the guard itself
	counted  *prometheus.Registry // of its fronts
	metrics  *front.Metrics
	learned  front.Learned
	expected front.Expected
	book     *envelope.Book
	gate     *gate.Gate
	conf     atomic.Pointer[Configuration]
	seen     watched // the files as they were looked at last; of Run's goroutine
	page     *page
	news     news
	pictures pictures
	missing  atomic.Int64 // entries that the ledger did not take

	mu       sync.Mutex
	fronts   map[string]*running
	draining sync.WaitGroup
	refused  string    // why the newest configuration was not taken over, or ""
	taken    time.Time // when the configuration that holds was
	since    map[string]time.Time
}

// New makes a guard of a configuration, and opens what it keeps. It has to be
// closed, also after Run.
func New(conf *Configuration, cfg Config) (*Guard, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(conf.State, 0o700); err != nil {
		return nil, err
	}
	now := cfg.Now()
	g := &Guard{cfg: cfg, began: now, taken: now, registry: prometheus.NewRegistry(), counted: prometheus.NewRegistry(), fronts: map[string]*running{}, since: map[string]time.Time{}}
	g.conf.Store(conf)
	g.metrics = front.NewMetrics(g.counted)
	g.register()
	rows, lost, err := readLearned(filepath.Join(conf.State, learnedFile))
	if err != nil {
		cfg.Log.Error("what was learned cannot be read, and begins anew", "err", err)
	}
	g.learned.Restore(rows, lost)
	// The book tells of doubts while it is opened, before there is a gate to hear.
	var early []envelope.Notice
	if err := g.expected.Open(filepath.Join(conf.State, expectedFile)); err != nil {
		cfg.Log.Error(unexpected, "file", expectedFile, "err", err)
		early = append(early, envelope.Notice{Text: unexpected + ": " + err.Error()})
	}
	tell := func(n envelope.Notice) { early = append(early, n) }
	var mu sync.Mutex
	g.book, err = envelope.OpenBook(envelope.Config{Path: BookPath(conf), Anyway: true, Tell: func(n envelope.Notice) {
		mu.Lock()
		t := tell
		mu.Unlock()
		t(n)
	}})
	if err != nil {
		return nil, err
	}
	if err := g.book.Err(); err != nil { // alarms and rescues need a guard all the same
		cfg.Log.Error("nothing but rescues is let through until a person has looked", "file", BookPath(conf), "err", err)
	}
	devices, people := conf.gated()
	address := ""
	if conf.Page != nil {
		address = conf.Page.Address
	}
	g.gate = gate.New(gate.Config{
		Devices: devices, People: people, Book: g.book, Record: g.record, Now: cfg.Now, Log: cfg.Log, Page: address,
		Count: g.metrics.Verdict, Elsewhere: g.elsewhere,
	})
	mu.Lock()
	tell = g.gate.Notice
	mu.Unlock()
	for _, n := range early {
		g.gate.Notice(n)
	}
	for _, d := range conf.Devices {
		g.since[d.ID] = now
	}
	g.page = newPage(g)
	return g, nil
}

// BookPath is the journal of doses of a configuration.
func BookPath(c *Configuration) string { return filepath.Join(c.State, "doses") }

// expectedFile has what a front is to let pass because another was asked for it.
const (
	expectedFile = "expected"
	unexpected   = "answers that devices owe are not known over a restart, and may be refused"
)

// Close ends what New began.
func (g *Guard) Close() error {
	g.gate.Close()
	return errors.Join(g.book.Close(), g.expected.Close())
}

// record makes an event durable, and keeps it for the page.
func (g *Guard) record(e *event.Event) error {
	err := g.cfg.Record(e)
	if err != nil {
		g.missing.Add(1)
	}
	g.news.hear(e)
	return err
}

// fill records that the ledger lacks something, once it can be written again.
func (g *Guard) fill() {
	n := g.missing.Load()
	if n == 0 {
		return
	}
	e := &event.Event{Kind: event.ConfigurationChanged, Time: g.cfg.Now().UnixNano()}
	e.Add(event.Text(event.Name, "ledger"), event.Text(event.Reason, fmt.Sprintf("the ledger is written again; it lacks %d entries, which only the log has", n)))
	if g.cfg.Record(e) == nil {
		g.missing.Add(-n)
	}
}

// A running front.
type running struct {
	policy front.Policy
	front  front.Front
	env    *front.Env
	cancel context.CancelFunc
	done   chan struct{}
	began  time.Time
	err    error // it ended by itself; it is started again
	times  int   // that it did
}

const (
	lookEvery  = 2 * time.Second // at the files of the configuration
	sweepEvery = time.Second
	keepEvery  = 10 * time.Second // what was learned
	restartMin = 100 * time.Millisecond
	restartMax = 30 * time.Second
)

// Run runs the fronts until ctx ends, and then lets what was begun end. It
// returns an error when it cannot begin; whatever happens later to one front does
// not end the others.
func (g *Guard) Run(ctx context.Context) error {
	conf := g.conf.Load()
	for _, p := range conf.Fronts {
		if err := free(p, nil); err != nil {
			return fmt.Errorf("front %s: %w", p.Common().Name, err)
		}
	}
	if err := g.page.listen(conf.Page); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	defer g.page.close()
	if err := g.announce(nil, conf, "the guard starts"); err != nil {
		return fmt.Errorf("the start cannot be recorded: %w", err)
	}
	g.seen = look(conf)
	g.mu.Lock()
	for _, p := range conf.Fronts {
		g.start(ctx, p, nil)
	}
	g.mu.Unlock()
	address := "none"
	if conf.Page != nil {
		address = conf.Page.Address
	}
	g.cfg.Log.Info("the guard runs", "page", address, "fronts", len(conf.Fronts), "devices", len(conf.Devices), "site", conf.Site)
	sweep, files, keep := time.NewTicker(sweepEvery), time.NewTicker(lookEvery), time.NewTicker(keepEvery)
	defer sweep.Stop()
	defer files.Stop()
	defer keep.Stop()
	for {
		select {
		case <-ctx.Done():
			return g.stop()
		case <-sweep.C:
			g.tick()
		case <-files.C:
			g.watch(ctx)
		case <-keep.C:
			g.keep()
		case <-g.cfg.Reload:
			g.reload(ctx, true)
		}
	}
}

// tick does what is due.
func (g *Guard) tick() {
	now := g.cfg.Now()
	g.gate.Sweep(now)
	g.fill()
	conf := g.conf.Load()
	g.pictures.sample(now, conf.Devices, func(d *Device) envelope.View { return g.book.View(d.ID, d.Envelope) })
}

// stop drains all fronts.
func (g *Guard) stop() error {
	g.cfg.Log.Info("the guard stops; what was begun ends")
	g.mu.Lock()
	for _, r := range g.fronts {
		r.cancel()
	}
	g.mu.Unlock()
	g.draining.Wait()
	return g.keep()
}

// keep writes down what was learned.
func (g *Guard) keep() error {
	rows, lost := g.learned.Uses()
	err := writeLearned(filepath.Join(g.conf.Load().State, learnedFile), rows, lost)
	if err != nil {
		g.cfg.Log.Error("what was learned could not be written", "err", err)
	}
	return err
}

// start starts a front, once after is closed if it is a channel. The caller
// holds the lock.
func (g *Guard) start(ctx context.Context, p front.Policy, after <-chan struct{}) {
	name := p.Common().Name
	ctx, cancel := context.WithCancel(ctx)
	r := &running{policy: p, cancel: cancel, done: make(chan struct{}), began: g.cfg.Now()}
	r.front, r.env = g.make(p)
	g.fronts[name] = r
	g.draining.Go(func() {
		defer close(r.done)
		defer cancel()
		if after != nil {
			select {
			case <-after:
			case <-ctx.Done():
				return
			}
		}
		g.serve(ctx, name, r)
	})
}

func (g *Guard) make(p front.Policy) (front.Front, *front.Env) {
	s := p.Common()
	state := filepath.Join(g.conf.Load().State, "fronts", s.Name)
	if err := os.MkdirAll(state, 0o700); err != nil {
		g.cfg.Log.Error("no folder for a front", "front", s.Name, "err", err)
	}
	env := &front.Env{
		Gate: g.gate, Record: g.record, Metrics: g.metrics, Learned: &g.learned,
		Log: g.cfg.Log, Now: g.cfg.Now, State: state, Expected: &g.expected,
	}
	return kinds[s.Kind].make(env, p), env
}

// serve runs a front, and starts it again when it ended by itself: others
// depend on the connections of their own fronts, and somebody has to see that this
// one failed. A panic is a bug, and ends the program.
func (g *Guard) serve(ctx context.Context, name string, r *running) {
	for wait := restartMin; ; wait = min(2*wait, restartMax) {
		g.mu.Lock()
		f := r.front
		g.mu.Unlock()
		began := time.Now()
		err := f.Run(ctx)
		if ctx.Err() != nil {
			if err != nil {
				g.cfg.Log.Error("a front did not end well", "front", name, "err", err)
			}
			return
		}
		if time.Since(began) > time.Minute {
			wait = restartMin
		}
		err = cmp.Or(err, errors.New("it ended without saying why"))
		g.cfg.Log.Error("a front ended by itself, and is started again", "front", name, "in", wait, "err", err)
		g.mu.Lock()
		r.err = err
		r.times++
		g.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		g.mu.Lock()
		r.front, r.env = g.make(r.policy)
		r.began, r.err = g.cfg.Now(), nil
		g.mu.Unlock()
	}
}

// free reports whether nobody listens yet where a front is to, but for the
// addresses given, which are ours.
func free(p front.Policy, ours []string) error {
	for _, a := range listensOf(p) {
		if slices.Contains(ours, a) {
			continue
		}
		var l io.Closer
		var err error
		if kinds[p.Common().Kind].network == "udp" {
			l, err = net.ListenPacket("udp", a)
		} else {
			l, err = net.Listen("tcp", a)
		}
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

// announce records that other rules hold from now on, before they do.
func (g *Guard) announce(old, new *Configuration, reason string) error {
	now := g.cfg.Now().UnixNano()
	e := &event.Event{Kind: event.ConfigurationChanged, Time: now}
	e.Add(event.Text(event.Name, filepath.Base(new.File)), event.Text(event.Version, "1"), event.Int(event.Digest, short(new.Digest)), event.Text(event.Reason, reason))
	if err := g.record(e); err != nil {
		return err
	}
	for _, d := range new.Devices {
		if d.Envelope == nil {
			continue
		}
		sum := d.Envelope.Digest()
		again := ""
		if old != nil {
			if before, ok := old.Device(d.ID); ok && before.Envelope != nil {
				if before.Envelope.Digest() == sum {
					continue
				}
				if before.Envelope.Version == d.Envelope.Version {
					again = "; the file changed, and its version did not"
				}
			}
		}
		word := "observed"
		if ok, why := d.Envelope.Enforcing(); ok {
			word = "enforced"
		} else if why != "" {
			word += ": " + why
		}
		e := &event.Event{Kind: event.ConfigurationChanged, Time: now, Device: device.Address{Kind: device.Host, Value: d.ID}}
		e.Add(event.Text(event.Name, d.Envelope.Name), event.Text(event.Version, fmt.Sprint(d.Envelope.Version)), event.Int(event.Digest, short(sum)),
			event.Text(event.Reason, "its envelope is "+word+again), event.Text(event.Actor, d.Envelope.Approver.ID))
		if err := g.record(e); err != nil {
			return err
		}
	}
	return nil
}

// short is the number under which an event has a digest.
func short(sum [32]byte) int64 { return int64(binary.BigEndian.Uint64(sum[:8])) }

// emergencies are the break-glass sessions that are open.
func (g *Guard) emergencies() (all []emergency) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.fronts {
		if open := kinds[r.policy.Common().Kind].emergencies; open != nil {
			all = append(all, open(r.front)...)
		}
	}
	slices.SortFunc(all, func(a, b emergency) int { return cmp.Or(cmp.Compare(a.device, b.device), a.until.Compare(b.until)) })
	return all
}

// A FrontState is how a front does, for the page.
type FrontState struct {
	Settings    *front.Settings
	Serving     bool // it listens
	Since       time.Time
	Trouble     string // it ended by itself, or does not do all of its work: why
	Restarts    int
	Connections int
	Refused     int64
}

// Fronts says how the fronts do, in order of their names.
func (g *Guard) Fronts() []FrontState {
	open, refused := g.counts()
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []FrontState
	for name, r := range g.fronts {
		f := FrontState{Settings: r.policy.Common(), Serving: r.env.Serving(), Since: r.began, Restarts: r.times, Connections: int(open[name]), Refused: int64(refused[name])}
		if r.err != nil {
			f.Trouble = "it does not serve: " + r.err.Error()
		} else {
			f.Trouble = r.env.Trouble()
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b FrontState) int { return cmp.Compare(a.Settings.Name, b.Settings.Name) })
	return out
}
