// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/loopback"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/internal/testpeer/jetstream"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/serve/notify"
	"github.com/myelin-health/myelin/serve/uplink"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/postgres"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A hospitalConfig says how a hospital's servers are killed.
type hospitalConfig struct {
	most    time.Duration
	seed    uint64
	binary  string // "" builds one
	cluster bool   // two servers, PostgreSQL and three nodes; else one with all in it
	forget  bool   // break it: a sensor's disk forgets the last that it kept when it is killed
}

// A hospital is servers, nodes, sensors and a guard, each a process, and people and a
// program outside, which are in this one.
type hospital struct {
	cfg     hospitalConfig
	dir     string
	dsn     string // of PostgreSQL, or ""
	nodes   []*instance
	servers []*instance
	sensors []*sensor
	client  *http.Client
	peers   *peers
	books   Books

	mu   sync.Mutex // guards what follows
	told []int64    // numbers of the notices that the program outside has taken
	rng  *rand.Rand // of the program outside
	wg   sync.WaitGroup
	web  *http.Server
}

const (
	perSensor  = 40 // findings
	visits     = 5  // of a finding, after which it is worse, or better
	perItem    = 10 // observations beside the one that has its number
	perKeep    = 10 // items that are kept at once
	keepEvery  = 250 * time.Millisecond
	settleTime = 15 * time.Minute
	stillFor   = 5  // seconds after which nothing more comes, when all seems to be there
	deadFor    = 90 // or not: a server waits a minute before it does the work of one that died
	bearer     = "myelin_trial"
)

// hospitalize runs a hospital under load while its parts are killed, and returns what all
// sides have written down.
func hospitalize(ctx context.Context, dir string, cfg hospitalConfig) (_ *Books, err error) {
	h := &hospital{cfg: cfg, dir: dir, rng: rand.New(rand.NewPCG(cfg.seed, 1))}
	defer func() {
		h.close()
		switch r := recover().(type) {
		case nil:
		case peerError: // of a peer that is not there
			err = r.error
		default:
			panic(r)
		}
	}()
	if err := h.build(ctx); err != nil {
		return nil, err
	}
	if err := h.run(ctx); err != nil {
		return nil, err
	}
	return &h.books, nil
}

// An instance is a process that is killed and comes back.
type instance struct {
	name string
	make func() *exec.Cmd
	*process
}

func (i *instance) start() error {
	p := &process{ended: make(chan struct{}), cmd: i.make()}
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	i.process = p
	return nil
}

// A sensor is a process that keeps items, on the line to a server that can be cut.
type sensor struct {
	instance
	number int // from 1
	kind   string
	line   *line
	stdin  io.WriteCloser

	read sync.WaitGroup
	next int   // item; once read is done
	kept []int // that it said it has on its disk; once read is done
}

// build makes all that the processes need.
func (h *hospital) build(ctx context.Context) error {
	h.peers = &peers{ctx: ctx, dir: h.dir}
	if h.cfg.binary == "" {
		h.cfg.binary = filepath.Join(h.dir, "myelin")
		if out, err := exec.Command("go", "build", "-o", h.cfg.binary, "github.com/myelin-health/myelin/cmd/myelin").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	configuration := "serve: 1\nsite: St. Ada Hospital, the trial\n"
	servers := 1
	if h.cfg.cluster {
		servers = 2
		h.dsn = testpeer.PostgreSQL(h.peers)
		if err := os.WriteFile(filepath.Join(h.dir, "postgres.dsn"), []byte(h.dsn), 0o600); err != nil {
			return err
		}
		three, err := jetstream.Three(filepath.Join(h.dir, "nodes"))
		if err != nil {
			return err
		}
		var at []string
		for i := range three {
			doc, err := json.Marshal(&three[i])
			if err != nil {
				return err
			}
			h.nodes = append(h.nodes, &instance{name: "node " + three[i].Name, make: func() *exec.Cmd { return exec.Command(self, "node", string(doc)) }})
			at = append(at, fmt.Sprintf("%q", three[i].URL()))
		}
		configuration += "store: {postgres: postgres.dsn}\nbus: {servers: [" + strings.Join(at, ", ") + "]}\n"
	}
	var addresses []string
	for i := range servers {
		listen, err := loopback.Free("tcp")
		if err != nil {
			return err
		}
		addresses = append(addresses, listen)
		file := filepath.Join(h.dir, fmt.Sprintf("server-%d.yaml", i))
		if err := os.WriteFile(file, []byte(configuration+"listen: "+listen+"\n"), 0o600); err != nil {
			return err
		}
		h.servers = append(h.servers, &instance{name: fmt.Sprint("server ", i), make: func() *exec.Cmd {
			return exec.Command(h.cfg.binary, "serve", "--tls", "--data", h.data(i), "--config", file)
		}})
	}
	h.books.servers = addresses
	if err := h.furnish(ctx); err != nil {
		return err
	}
	for i, kind := range []string{"sensor", "sensor", "guard"} {
		s := &sensor{instance: instance{name: fmt.Sprint(kind, " ", i+1)}, number: i + 1, kind: kind, next: 1}
		if s.line, err = newLine(addresses[i%servers], addresses[(i+1)%servers]); err != nil {
			return err
		}
		if err := h.enrol(ctx, s, self); err != nil {
			return err
		}
		h.sensors = append(h.sensors, s)
	}
	return nil
}

func (h *hospital) data(server int) string {
	return filepath.Join(h.dir, fmt.Sprintf("server-%d", server))
}

// open opens the store beside the servers.
func (h *hospital) open(ctx context.Context) (*store.Store, error) {
	if h.dsn != "" {
		return postgres.Open(ctx, h.dsn, nil)
	}
	return sqlite.Open(ctx, filepath.Join(h.data(0), "myelin.db"), nil)
}

// furnish writes into an empty store who may act, and who outside is told; all servers
// have the same keys.
func (h *hospital) furnish(ctx context.Context) error {
	if err := os.MkdirAll(h.data(0), 0o700); err != nil {
		return err
	}
	ca, err := uplink.OpenAuthority(h.data(0), nil)
	if err != nil {
		return err
	}
	sealer, err := access.OpenSealer(h.data(0))
	if err != nil {
		return err
	}
	for i := 1; i < len(h.servers); i++ {
		if err := os.MkdirAll(h.data(i), 0o700); err != nil {
			return err
		}
		for _, name := range []string{"ca.pem", "ca.key", "secret.key"} {
			b, err := os.ReadFile(filepath.Join(h.data(0), name))
			if err == nil {
				err = os.WriteFile(filepath.Join(h.data(i), name), b, 0o600)
			}
			if err != nil {
				return err
			}
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.Certificate())
	h.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	s, err := h.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	te := &store.Person{Login: "te", Name: "Tessa Eriksen", Roles: uint32(access.Analyst)}
	if err := s.SavePerson(ctx, te); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(bearer))
	if err := s.AddToken(ctx, &store.Token{Person: te.ID, Name: "the trial", Hash: hash[:], Scopes: []string{"read", "triage"}, Expires: time.Now().Add(24 * time.Hour).UnixNano()}); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.web = &http.Server{Handler: http.HandlerFunc(h.outside)}
	h.wg.Go(func() { h.web.Serve(ln) })
	receivers, err := json.Marshal([]notify.Setting{{Kind: "webhook", ID: "outside", Address: "http://" + ln.Addr().String(), Secret: []byte(strings.Repeat("s", 32))}})
	if err != nil {
		return err
	}
	return sealer.SetSecret(ctx, s, notify.SettingName, receivers)
}

// outside is a program that is told of findings, and does not always take it.
func (h *hospital) outside(w http.ResponseWriter, r *http.Request) {
	var m notify.Message
	err := json.NewDecoder(r.Body).Decode(&m)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || h.rng.IntN(200) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.told = append(h.told, m.ID)
}

// enrol gives a sensor a token, and says how it is started.
func (h *hospital) enrol(ctx context.Context, s *sensor, self string) error {
	ca, err := uplink.OpenAuthority(h.data(0), nil)
	if err != nil {
		return err
	}
	st, err := h.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	token, err := uplink.NewEnrolment(ctx, st, ca, s.name, "north", s.kind, "te", time.Now().Add(24*time.Hour))
	if err != nil {
		return err
	}
	s.make = func() *exec.Cmd {
		doc, _ := json.Marshal(&watcher{Number: s.number, Guard: s.kind == "guard", Dir: filepath.Join(h.dir, fmt.Sprint("sensor-", s.number)), Server: "https://" + s.line.ln.Addr().String(), Token: token, From: s.next})
		return exec.Command(self, "sensor", string(doc))
	}
	return nil
}

// start starts a sensor, and writes down what it says that it has kept.
func (s *sensor) start() error {
	cmd := s.make()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process = p
	s.read.Go(func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			var last int
			if _, err := fmt.Sscan(in.Text(), &last); err != nil {
				continue
			}
			for n := last - perKeep + 1; n <= last; n++ {
				s.kept = append(s.kept, n)
			}
			s.next = last + 1
		}
		p.err = cmd.Wait()
		close(p.ended)
	})
	return nil
}

// kill ends a sensor. What it was about to keep may be kept or not, and is not tried again.
func (s *sensor) kill() {
	s.process.kill()
	s.read.Wait()
	s.next += perKeep
}

// serves waits until a server does.
func (h *hospital) serves(ctx context.Context, i int) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+h.books.servers[i]+"/readyz", nil)
		if err != nil {
			return err
		}
		if w, err := h.client.Do(r); err == nil {
			w.Body.Close()
			if w.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-h.servers[i].ended:
			return fmt.Errorf("server %d ended: %s", i, &h.servers[i].log)
		default:
			pause(ctx, 20*time.Millisecond)
		}
	}
	return fmt.Errorf("server %d does not serve: %s", i, &h.servers[i].log)
}

// listens waits until a node does.
func (i *instance) listens(ctx context.Context) error {
	var n jetstream.Node
	if err := json.Unmarshal([]byte(i.cmd.Args[2]), &n); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for ctx.Err() == nil {
		if c, err := net.Dial("tcp", n.Listen); err == nil {
			return c.Close()
		}
		pause(ctx, 20*time.Millisecond)
	}
	return fmt.Errorf("%s does not listen: %s", i.name, &i.log)
}

// run is the trial.
func (h *hospital) run(ctx context.Context) error {
	for _, n := range h.nodes {
		if err := n.start(); err != nil {
			return err
		}
		if err := n.listens(ctx); err != nil {
			return err
		}
	}
	for i, s := range h.servers {
		if err := s.start(); err != nil {
			return err
		}
		if err := h.serves(ctx, i); err != nil {
			return err
		}
	}
	for _, s := range h.sensors {
		if err := s.start(); err != nil {
			return err
		}
	}
	began := time.Now()
	acting, stop := context.WithCancel(ctx)
	defer stop()
	var people sync.WaitGroup
	defer people.Wait()
	analysts := []*analyst{newAnalyst(h, 0), newAnalyst(h, 1)}
	for _, a := range analysts {
		people.Go(func() { a.work(acting) })
	}
	rng := rand.New(rand.NewPCG(h.cfg.seed, 0))
	for time.Since(began) < h.cfg.most && ctx.Err() == nil {
		if err := h.harm(ctx, rng); err != nil {
			return err
		}
	}
	stop()
	people.Wait()
	for _, a := range analysts {
		h.books.Requests = append(h.books.Requests, a.done...)
	}
	return h.settle(ctx)
}

// harm does one thing to a part of the hospital, and heals it.
func (h *hospital) harm(ctx context.Context, rng *rand.Rand) error {
	pause(ctx, time.Duration(300+rng.IntN(2200))*time.Millisecond)
	down := time.Duration(rng.IntN(2000)) * time.Millisecond
	whats := 3
	if h.cfg.cluster {
		whats = 5 // each server and node less often
	}
	what := rng.IntN(whats)
	if h.cfg.forget {
		what = 0
	}
	switch {
	case what == 0:
		s := h.sensors[rng.IntN(len(h.sensors))]
		if h.cfg.forget { // what is sent cannot be forgotten
			s.line.cut(false)
			pause(ctx, 2*keepEvery)
			defer s.line.mend()
		}
		s.kill()
		if h.cfg.forget {
			if err := s.forget(filepath.Join(h.dir, fmt.Sprint("sensor-", s.number), "queue")); err != nil {
				return err
			}
		}
		pause(ctx, down)
		h.books.Kills[0]++
		return s.start()
	case what == 1:
		s := h.sensors[rng.IntN(len(h.sensors))]
		s.line.cut(rng.IntN(2) == 0)
		pause(ctx, 2*down)
		s.line.mend()
		h.books.Kills[1]++
	case what == 4:
		n := h.nodes[rng.IntN(len(h.nodes))]
		n.kill()
		pause(ctx, down)
		h.books.Kills[3]++
		if err := n.start(); err != nil {
			return err
		}
		if err := n.listens(ctx); err != nil {
			return err
		}
		pause(ctx, 2*time.Second) // the others have to know it before they lose another
	default:
		i := rng.IntN(len(h.servers))
		for early := true; early; early = rng.IntN(4) == 0 { // also while it starts
			h.servers[i].kill()
			h.books.Kills[2]++
			pause(ctx, down)
			if err := h.servers[i].start(); err != nil {
				return err
			}
			pause(ctx, time.Duration(rng.IntN(200))*time.Millisecond)
		}
		return h.serves(ctx, i)
	}
	return nil
}

// forget takes off a disk what was written to it last.
func (s *sensor) forget(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.batch"))
	if err != nil || len(files) == 0 {
		return err
	}
	return os.Remove(files[len(files)-1])
}

// settle lets all go to where it belongs, ends what runs, and reads the books.
func (h *hospital) settle(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, settleTime)
	defer stop()
	for _, s := range h.sensors {
		s.stdin.Close()
	}
	for _, s := range h.sensors {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return fmt.Errorf("%s cannot send the rest: %s", s.name, &s.log)
		}
		s.read.Wait()
		if s.err != nil {
			return fmt.Errorf("%s could not send the rest: %w: %s", s.name, s.err, &s.log)
		}
		left, _ := filepath.Glob(filepath.Join(h.dir, fmt.Sprint("sensor-", s.number), "queue", "*.batch"))
		refused, _ := filepath.Glob(filepath.Join(h.dir, fmt.Sprint("sensor-", s.number), "queue", "refused", "*"))
		h.books.Senders = append(h.books.Senders, Sender{Number: s.number, Guard: s.kind == "guard", Name: s.name, Kept: s.kept, Left: len(left) + len(refused)})
	}
	if err := h.written(ctx); err != nil {
		return err
	}
	for _, s := range h.servers {
		if err := s.stop(time.Minute); err != nil {
			return fmt.Errorf("%s: %w: %s", s.name, err, &s.log)
		}
	}
	h.mu.Lock()
	h.books.Told = h.told
	h.mu.Unlock()
	return h.read(ctx)
}

// written waits until nothing waits for the store, nor for the program outside.
func (h *hospital) written(ctx context.Context) error {
	var b *bus.Bus
	if h.cfg.cluster {
		var at []string
		for _, n := range h.nodes {
			var node jetstream.Node
			if err := json.Unmarshal([]byte(n.cmd.Args[2]), &node); err != nil {
				return err
			}
			at = append(at, node.URL())
		}
		var err error
		if b, err = bus.Open(ctx, bus.Config{Servers: at, Name: "the trial"}); err != nil {
			return err
		}
		defer b.Close()
	}
	s, err := h.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	for quiet, before := 0, ""; ; { // seconds
		waiting := uint64(0)
		if b != nil {
			if waiting, err = b.Waiting(ctx); err != nil {
				waiting = 1
			}
		}
		counts, err := s.Counts(ctx)
		if err != nil {
			return err
		}
		last, err := lastNotice(ctx, s)
		if err != nil {
			return err
		}
		h.mu.Lock()
		told := slices.Contains(h.told, last)
		now := fmt.Sprint(counts, last, len(h.told))
		h.mu.Unlock()
		if quiet++; waiting > 0 || now != before {
			quiet, before = 0, now
		}
		if told && quiet >= stillFor || quiet >= deadFor {
			return nil
		}
		if pause(ctx, time.Second); ctx.Err() != nil {
			return fmt.Errorf("it does not come to rest: %d messages wait on the bus, %d notices are written and %s", waiting, last, now)
		}
	}
}

// lastNotice is the number of the notice that is told last, or 0.
func lastNotice(ctx context.Context, s *store.Store) (last int64, err error) {
	for {
		list, err := s.Notices(ctx, last, 1000)
		if err != nil || len(list) == 0 {
			return last, err
		}
		last = list[len(list)-1].Seq
	}
}

func (h *hospital) close() {
	for _, s := range h.sensors {
		if s.process != nil {
			s.process.kill()
			s.read.Wait()
		}
		s.line.close()
	}
	for _, i := range append(h.servers, h.nodes...) {
		if i.process != nil {
			i.kill()
		}
	}
	if h.web != nil {
		h.web.Close()
	}
	h.wg.Wait()
	if h.peers != nil {
		h.peers.end()
	}
}

// peers starts what testpeer has, for a program that is no test.
type peers struct {
	ctx context.Context
	dir string
	all []func()
}

type peerError struct{ error }

func (p *peers) Helper()                  {}
func (p *peers) Context() context.Context { return p.ctx }
func (p *peers) TempDir() string          { return p.dir }
func (p *peers) Cleanup(f func())         { p.all = append(p.all, f) }
func (p *peers) Skipf(format string, args ...any) {
	panic(peerError{fmt.Errorf(format, args...)})
}

func (p *peers) Fatal(args ...any)                 { panic(peerError{errors.New(fmt.Sprint(args...))}) }
func (p *peers) Fatalf(format string, args ...any) { p.Skipf(format, args...) }

func (p *peers) end() {
	for i := len(p.all) - 1; i >= 0; i-- {
		p.all[i]()
	}
}

// A line is between a sensor and the first of its servers that is there. It can be cut.
type line struct {
	ln  net.Listener
	to  []string
	all sync.WaitGroup

	mu     sync.Mutex
	down   bool
	silent bool // nothing passes, and nobody is told
	conns  map[net.Conn]bool
}

func newLine(to ...string) (*line, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &line{ln: ln, to: to, conns: map[net.Conn]bool{}}
	l.all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.all.Go(func() { l.join(c) })
		}
	})
	return l, nil
}

func (l *line) join(a net.Conn) {
	defer a.Close()
	var b net.Conn
	for _, to := range l.to {
		var err error
		if b, err = net.Dial("tcp", to); err == nil {
			break
		}
	}
	if b == nil {
		return
	}
	defer b.Close()
	l.mu.Lock()
	l.conns[a], l.conns[b] = true, true
	off := l.down && !l.silent
	l.mu.Unlock()
	if off {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.pass(a, b) })
	both.Go(func() { l.pass(b, a) })
	both.Wait()
	l.mu.Lock()
	delete(l.conns, a)
	delete(l.conns, b)
	l.mu.Unlock()
}

// pass passes bytes on; what comes while the line is down is lost.
func (l *line) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		l.mu.Lock()
		down := l.down
		l.mu.Unlock()
		if down {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut cuts it in the middle of whatever is said: both ends see that, or neither does.
func (l *line) cut(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.silent = true, silent
	if !silent {
		l.drop()
	}
}

func (l *line) drop() {
	for c := range l.conns {
		c.Close()
	}
}

// mend lets new connections through; those that have lost something end.
func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
	l.drop()
}

func (l *line) close() {
	l.ln.Close()
	l.mu.Lock()
	l.drop()
	l.mu.Unlock()
	l.all.Wait()
}

// node is a node of the cluster, until it is killed.
func node(ctx context.Context, doc string) error {
	var n jetstream.Node
	if err := json.Unmarshal([]byte(doc), &n); err != nil {
		return err
	}
	s, err := n.Start()
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
