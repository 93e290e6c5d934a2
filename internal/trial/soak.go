// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

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
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A soakConfig says how a guard is used for long.
type soakConfig struct {
	length      time.Duration
	connections int
	binary      string
	out         io.Writer
}

// What is held to be flat. The memory of the HL7 front for orders that came before fills to its
// bound, some 150 bytes for each of 131,072, and a short run measures noise.
const (
	mostGrowth  = 16 << 20 // bytes an hour of the live heap, by the slope of the second half, and
	leastGrowth = 4 << 20  // bytes at least within it,
	shortGrowth = 12 << 20 // or so many where the half is shorter than a minute: it is still getting warm
	mostMore    = 3        // goroutines and descriptors more than before: the page's own connection
	drainWithin = 15 * time.Second
)

// A sample is what a guard says of itself.
type sample struct {
	at                             time.Duration
	heap, rss, goroutines, handles float64
}

// soak uses a guard for a time, and returns what was wrong.
func soak(ctx context.Context, dir string, cfg soakConfig) (problems []string, err error) {
	p, err := newPlace(dir, cfg.binary, false, nil)
	if err != nil {
		return nil, err
	}
	defer p.close()
	g, err := p.start()
	if err != nil {
		return nil, err
	}
	defer func() {
		select {
		case <-g.ended:
		default:
			g.kill()
		}
	}()
	if _, err := p.ready(g, startWithin); err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	// Each way in is used once, so that what is made once is not taken for a leak.
	s := &soaking{load: newLoad(1), problems: map[string]int{}}
	s.p = p
	n := &life{Context: ctx}
	s.begin(n)
	if err := p.strangers(); err != nil {
		return nil, err
	}
	warm, cancel := context.WithTimeout(ctx, 2*time.Second)
	s.talk(warm, 8)
	cancel()
	if err := p.idle(ctx, g); err != nil {
		return nil, err
	}
	before, err := p.sample(g, 0)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	talking, end := context.WithTimeout(ctx, cfg.length)
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.talk(talking, cfg.connections)
	}()
	var samples []sample
	every := time.NewTicker(max(250*time.Millisecond, cfg.length/400))
	defer every.Stop()
	busy := 0.0
	for running := true; running; {
		select {
		case <-every.C:
			v, err := p.sample(g, time.Since(began))
			if err != nil {
				return nil, err
			}
			samples = append(samples, v)
			busy = max(busy, v.goroutines)
		case <-done:
			running = false
		case <-g.ended:
			return nil, fmt.Errorf("the guard ended by itself: %w: %s", g.err, g.log.String())
		}
	}
	if err := p.idle(ctx, g); err != nil {
		bad("%v", err)
	}
	after, err := p.settled(ctx, g, before)
	if err != nil {
		return nil, err
	}
	for what, n := range s.problems {
		bad("%d times: %s", n, what)
	}
	last := samples[len(samples)/2:]
	heap, rss := slope(last, func(s sample) float64 { return s.heap }), slope(last, func(s sample) float64 { return s.rss })
	within := last[len(last)-1].at - last[0].at
	least := float64(leastGrowth)
	if within < time.Minute {
		least = shortGrowth
	}
	if bound := max(mostGrowth*within.Hours(), least); heap*within.Hours() > bound {
		bad("the live heap grew by %.1f MB in the second half, %v; the bound is %.1f", heap*within.Hours()/1e6, within.Round(time.Second), bound/1e6)
	}
	if after.goroutines > before.goroutines+mostMore {
		bad("%.0f goroutines before, %.0f after", before.goroutines, after.goroutines)
	}
	if after.handles > before.handles+mostMore {
		bad("%.0f file descriptors before, %.0f after", before.handles, after.handles)
	}
	if s.answers.Load() == 0 || busy < before.goroutines+float64(cfg.connections) {
		bad("it was not used: %d answers, %.0f goroutines at most", s.answers.Load(), busy)
	}
	fmt.Fprintf(cfg.out, `%d connections for %v, %d answers
resident %.1f MB before, %.1f MB in the middle, %.1f MB at the end; second half %+.1f MB, its live heap %+.2f MB
goroutines %.0f before, %.0f at most, %.0f after; file descriptors %.0f before, %.0f after
`, cfg.connections, cfg.length, s.answers.Load(), before.rss/1e6, last[0].rss/1e6, last[len(last)-1].rss/1e6,
		rss*within.Hours()/1e6, heap*within.Hours()/1e6, before.goroutines, busy, after.goroutines, before.handles, after.handles)
	if p.flowlink.State().(legacy.FlowLinkState).Orders == 0 {
		bad("no order came to the gateway")
	}
	return problems, g.stop(30 * time.Second)
}

// slope is how much a value grows in an hour, by least squares.
func slope(all []sample, of func(sample) float64) float64 {
	var x, y, xx, xy float64
	for _, s := range all {
		h, v := s.at.Hours(), of(s)
		x, y, xx, xy = x+h, y+v, xx+h*h, xy+h*v
	}
	n := float64(len(all))
	if d := n*xx - x*x; d > 0 {
		return (n*xy - x*y) / d
	}
	return 0
}

// A soaking load counts what goes wrong by what it is.
type soaking struct {
	*load
	answers atomic.Int64

	errors   sync.Mutex
	problems map[string]int
}

func (s *soaking) failed(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || err == nil {
		return
	}
	s.errors.Lock()
	defer s.errors.Unlock()
	if len(s.problems) < 64 {
		s.problems[what+": "+err.Error()]++
	}
}

// talk has connections of all kinds talk until ctx ends.
func (s *soaking) talk(ctx context.Context, connections int) {
	var all sync.WaitGroup
	all.Go(func() { s.reports(ctx) })
	for i := range connections {
		pause(ctx, 5*time.Millisecond)
		switch i % 8 {
		case 0, 1, 2:
			all.Go(func() { s.steady(ctx, "orders", s.p.orders, 2*time.Second, s.hl7) })
		case 3, 4:
			all.Go(func() { s.steady(ctx, "fhir", s.p.fhir, 400*time.Millisecond, s.fhir) })
		case 5, 6:
			all.Go(func() { s.steady(ctx, "pipe", s.p.pipe, 400*time.Millisecond, s.fhir) })
		default:
			all.Go(func() { s.coap(ctx) })
		}
	}
	all.Wait()
}

// reports are the gateway's, on a connection each.
func (s *soaking) reports(ctx context.Context) {
	for ctx.Err() == nil {
		s.p.flowlink.Report(context.WithoutCancel(ctx))
		pause(ctx, 500*time.Millisecond)
	}
}

// steady talks on one connection, and on a new one after some time.
func (s *soaking) steady(ctx context.Context, what, addr string, every time.Duration, once func(ctx context.Context, c net.Conn, r *bufio.Reader) error) {
	const each = 50 // messages
	for ctx.Err() == nil {
		c, err := (&tls.Dialer{Config: s.p.client}).DialContext(ctx, "tcp", addr)
		if err != nil {
			s.failed(ctx, what, err)
			pause(ctx, time.Second)
			continue
		}
		r := bufio.NewReader(c)
		for range each {
			if ctx.Err() != nil {
				break
			}
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			if err := once(ctx, c, r); err != nil {
				s.failed(ctx, what, err)
				break
			}
			s.answers.Add(1)
			pause(ctx, every)
		}
		c.Close()
	}
}

func (s *soaking) hl7(_ context.Context, c net.Conn, r *bufio.Reader) error {
	s.mu.Lock()
	what := passes
	if s.number%4 == 3 {
		what = isRefused
	}
	s.mu.Unlock()
	o := s.order(s.random(0), what)
	defer func() { // what is asked is not looked at later
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ev.Orders, o.ID)
	}()
	if _, err := c.Write(o.Block); err != nil {
		return err
	}
	var msg []byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if msg = append(msg, b); bytes.HasSuffix(msg, []byte(endOfBlock)) {
			break
		}
	}
	m, err := hl7.Parse(msg[1 : len(msg)-len(endOfBlock)])
	if err != nil {
		return err
	}
	if a, ok := m.Answer(); !ok || a.ControlID.Text() != o.ID {
		return errOther
	}
	return nil
}

func (s *soaking) fhir(_ context.Context, c net.Conn, r *bufio.Reader) error {
	q, err := http.NewRequest(http.MethodGet, "https://guard.stada.example/fhir/Observation/o1", nil)
	if err != nil {
		return err
	}
	q.Header.Set("Accept", "application/fhir+json")
	if err := q.Write(c); err != nil {
		return err
	}
	a, err := http.ReadResponse(r, q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil {
		return err
	}
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", a.Status)
	}
	return nil
}

// coap reads what the pump tells, in a session; after some time in a new one.
func (s *soaking) coap(ctx context.Context) {
	const each = 50
	const busy = 3 // times that a handshake is put off: the guard bounds how many there are at once
	turned := 0
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		k, err := s.p.come(within)
		cancel()
		if err != nil && strings.Contains(err.Error(), "5.03") && turned < busy {
			turned++
			pause(ctx, time.Duration(turned)*time.Second)
			continue
		}
		turned = 0
		if err != nil {
			s.failed(ctx, "radio", err)
			pause(ctx, time.Second)
			continue
		}
		for range each {
			if ctx.Err() != nil {
				break
			}
			within, cancel := context.WithTimeout(ctx, 30*time.Second)
			m, err := k.conn.Get(within, k.session, "/telemetry")
			cancel()
			if err == nil && m.Code.Class() != 2 {
				err = fmt.Errorf("%v", m.Code)
			}
			if err != nil {
				s.failed(ctx, "radio", err)
				break
			}
			s.answers.Add(1)
			pause(ctx, 500*time.Millisecond)
		}
		k.Close()
	}
}

// strangers fill the table of peers that speak CoAP. They have no connection that could
// end: each has its place, and a goroutine, until another needs it.
func (p *place) strangers() error {
	const places = 256 // coap.Config
	for i := range places + 8 {
		c, err := net.Dial("udp", p.radio)
		if err != nil {
			return err
		}
		_, err = c.Write([]byte{0x40, 0, byte(i >> 8), byte(i)}) // a ping (RFC 7252 section 4.3)
		c.Close()
		if err != nil {
			return err
		}
		if i%32 == 31 {
			time.Sleep(10 * time.Millisecond) // so that no datagram is lost
		}
	}
	return nil
}

// idle waits until no front has a connection.
func (p *place) idle(ctx context.Context, g *process) error {
	for until := time.Now().Add(drainWithin); ; {
		m, err := p.metrics()
		if err != nil {
			return err
		}
		open := 0.0
		for name, v := range m {
			if strings.HasPrefix(name, "myelin_guard_connections{") {
				open += v
			}
		}
		if open == 0 {
			return nil
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return fmt.Errorf("%.0f connections are open %v after everybody has left", open, drainWithin)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// settled is a sample once goroutines and descriptors are down to what they were, or
// will not be.
func (p *place) settled(ctx context.Context, g *process, before sample) (s sample, err error) {
	for until := time.Now().Add(drainWithin); ; {
		if s, err = p.sample(g, 0); err != nil || time.Now().After(until) || ctx.Err() != nil {
			return s, err
		}
		if s.goroutines <= before.goroutines+mostMore && s.handles <= before.handles+mostMore {
			return s, nil
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// sample reads the guard's metrics.
func (p *place) sample(g *process, at time.Duration) (sample, error) {
	m, err := p.metrics()
	if err != nil {
		return sample{}, err
	}
	s := sample{at: at, heap: m["go_memstats_heap_inuse_bytes"], rss: m["process_resident_memory_bytes"], goroutines: m["go_goroutines"], handles: m["process_open_fds"]}
	// The heap in use goes up and down with the collector. What lives is what it is set by.
	if next := m["go_memstats_next_gc_bytes"]; next > 0 {
		s.heap = next / 2
	}
	if s.goroutines == 0 || s.rss == 0 && exists("/proc/self/stat") {
		return s, errors.New("the page tells neither memory nor goroutines")
	}
	return s, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// metrics reads all of them, on a connection of its own.
func (p *place) metrics() (map[string]float64, error) {
	config := p.client.Clone()
	config.Certificates = nil
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	a, err := c.Get("https://" + p.page + "/metrics")
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", a.Status)
	}
	m := map[string]float64{}
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			m[name] = v
		}
	}
	return m, lines.Err()
}
