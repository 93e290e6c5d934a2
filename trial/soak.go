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
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/link/coap"
	wire "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/dicom"
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
	cutWithin   = 75 * time.Second // who sends nothing, or too slowly, is cut off
	renewEvery  = 5 * time.Second  // of the configuration
)

// A sample is what a guard says of itself.
type sample struct {
	at                             time.Duration
	heap, rss, goroutines, handles float64
	files                          int // that are there for a while only
}

// A use is what was seen while a guard was used.
type use struct {
	before, after sample
	samples       []sample
	busy          float64 // goroutines at most
	connections   int
	answers       map[string]int64
	problems      map[string]int // what went wrong, and how often
	stored        Evidence       // pieces, and what the archive has
	versions      int            // of the envelope
	slowest, late time.Duration  // by radio, and of this machine's own clock
}

// kinds are the ways in which a guard is used.
var kinds = []string{"orders", "fhir", "pipe", "radio", "store", "proxy", "slow", "half-open", "refused"}

// soak uses a guard for a time, and returns what was wrong.
func soak(ctx context.Context, dir string, cfg soakConfig) ([]string, error) {
	u, err := soaked(ctx, dir, cfg)
	if err != nil {
		return nil, err
	}
	return u.Problems(), nil
}

func soaked(ctx context.Context, dir string, cfg soakConfig) (*use, error) {
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
	// Each way in is used once, so that what is made once is not taken for a leak.
	s := &soaking{load: newLoad(1), g: g, use: use{connections: cfg.connections, problems: map[string]int{}, answers: map[string]int64{}}}
	s.p = p
	n := &life{Context: ctx}
	s.begin(n)
	if err := p.strangers(); err != nil {
		return nil, err
	}
	warm, cancel := context.WithTimeout(ctx, 2*time.Second)
	s.talk(warm, len(places), time.Second)
	cancel()
	if err := p.idle(ctx); err != nil {
		return nil, err
	}
	clear(s.answers)
	s.slowest, s.late = 0, 0
	u := &s.use
	if u.before, err = p.sample(0); err != nil {
		return nil, err
	}
	began := time.Now()
	talking, end := context.WithTimeout(ctx, cfg.length)
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.talk(talking, cfg.connections, min(renewEvery, cfg.length/4))
	}()
	every := time.NewTicker(max(250*time.Millisecond, cfg.length/400))
	defer every.Stop()
	for running := true; running; {
		select {
		case <-every.C:
			v, err := p.sample(time.Since(began))
			if err != nil {
				return nil, err
			}
			u.samples = append(u.samples, v)
			u.busy = max(u.busy, v.goroutines)
		case <-done:
			running = false
		case <-g.ended:
			return nil, fmt.Errorf("the guard ended by itself: %w: %s", g.err, g.log.String())
		}
	}
	if err := p.idle(ctx); err != nil {
		s.failed(ctx, "afterwards", err)
	}
	if u.after, err = p.settled(ctx, u.before); err != nil {
		return nil, err
	}
	if p.flowlink.State().(legacy.FlowLinkState).Orders == 0 {
		u.problems["no order came to the gateway"]++
	}
	u.stored, u.versions = s.ev, p.version
	u.stored.Arrivals = p.archive.all()
	u.print(cfg.out, cfg.length)
	return u, g.stop(30 * time.Second)
}

// half is the second half of the samples, and how long it took.
func (u *use) half() ([]sample, time.Duration) {
	last := u.samples[len(u.samples)/2:]
	return last, last[len(last)-1].at - last[0].at
}

func (u *use) print(out io.Writer, length time.Duration) {
	last, within := u.half()
	grown := func(of func(sample) float64) float64 { return slope(last, of) * within.Hours() / 1e6 }
	fmt.Fprintf(out, "%d connections for %v, %d configurations; answers and cuts:", u.connections, length, u.versions)
	for _, kind := range kinds {
		fmt.Fprintf(out, " %s %d", kind, u.answers[kind])
	}
	fmt.Fprintf(out, `
resident %.1f MB before, %.1f MB in the middle, %.1f MB at the end; second half %+.1f MB, its live heap %+.2f MB
goroutines %.0f before, %.0f at most, %.0f after; file descriptors %.0f before, %.0f after; files for a while %d before, %d after
by radio %d were put off, and let in later; the slowest took %v; this machine was late by %v at most
`, u.before.rss/1e6, last[0].rss/1e6, last[len(last)-1].rss/1e6, grown(func(s sample) float64 { return s.rss }),
		grown(func(s sample) float64 { return s.heap }), u.before.goroutines, u.busy, u.after.goroutines, u.before.handles, u.after.handles,
		u.before.files, u.after.files, u.answers[putOff], u.slowest.Round(time.Millisecond), u.late.Round(time.Millisecond))
}

// Problems are what was wrong; nothing when nothing was.
func (u *use) Problems() (all []string) {
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, what := range slices.Sorted(maps.Keys(u.problems)) {
		bad("%d times: %s", u.problems[what], what)
	}
	u.stored.pieces(bad)
	last, within := u.half()
	heap := slope(last, func(s sample) float64 { return s.heap }) * within.Hours()
	least := float64(leastGrowth)
	if within < time.Minute {
		least = shortGrowth
	}
	if bound := max(mostGrowth*within.Hours(), least); heap > bound {
		bad("the live heap grew by %.1f MB in the second half, %v; the bound is %.1f", heap/1e6, within.Round(time.Second), bound/1e6)
	}
	if u.after.goroutines > u.before.goroutines+mostMore {
		bad("%.0f goroutines before, %.0f after", u.before.goroutines, u.after.goroutines)
	}
	if u.after.handles > u.before.handles+mostMore {
		bad("%.0f file descriptors before, %.0f after", u.before.handles, u.after.handles)
	}
	if u.after.files > u.before.files {
		bad("%d files for a while before, %d after", u.before.files, u.after.files)
	}
	for _, kind := range kinds {
		// Who is slow or says nothing is cut off after seconds only.
		if u.answers[kind] == 0 && (within > cutWithin || kind != "slow" && kind != "half-open") {
			bad("it was not used: %s", kind)
		}
	}
	if u.busy < u.before.goroutines+float64(u.connections) {
		bad("it was not used: %.0f goroutines at most", u.busy)
	}
	return all
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
	g *process

	errors sync.Mutex
	use
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

// went counts what went as it should.
func (s *soaking) went(what string) {
	s.errors.Lock()
	defer s.errors.Unlock()
	s.answers[what]++
}

// places are what each of sixteen connections does.
var places = [16]string{
	"orders", "fhir", "pipe", "radio", "store", "proxy", "slow", "half-open", "refused", "orders", "orders", "orders", "fhir", "pipe", "radio", "store",
}

// talk has connections of all kinds talk until ctx ends, while the configuration changes.
func (s *soaking) talk(ctx context.Context, connections int, renew time.Duration) {
	var all sync.WaitGroup
	all.Go(func() { s.reports(ctx) })
	all.Go(func() { s.clock(ctx) })
	all.Go(func() {
		for n := 0; ; n++ {
			if pause(ctx, renew); ctx.Err() != nil {
				return
			}
			s.failed(ctx, "configuration", s.p.renew(s.g, n%4 == 3))
		}
	})
	p := s.p
	for i := range connections {
		pause(ctx, 5*time.Millisecond)
		switch places[i%len(places)] {
		case "orders":
			all.Go(func() { s.steady(ctx, "orders", p.tls(p.orders), 2*time.Second, s.hl7) })
		case "fhir":
			all.Go(func() { s.steady(ctx, "fhir", p.tls(p.fhir), 400*time.Millisecond, s.fhir) })
		case "pipe":
			all.Go(func() { s.steady(ctx, "pipe", p.tls(p.pipe), 400*time.Millisecond, s.fhir) })
		case "proxy":
			all.Go(func() {
				s.steady(ctx, "proxy", func(ctx context.Context) (net.Conn, error) { return p.through(ctx, p.server) }, 400*time.Millisecond, s.fhir)
			})
		case "store":
			all.Go(func() { s.stores(ctx, uint64(i)) })
		case "slow":
			all.Go(func() { s.cutOff(ctx, "slow", i, s.p.client) })
		case "half-open":
			all.Go(func() { s.cutOff(ctx, "half-open", i, nil) })
		case "refused":
			all.Go(func() { s.refused(ctx) })
		default:
			all.Go(func() { s.coap(ctx) })
		}
	}
	all.Wait()
}

// tls connects to a front as the hospital information system does.
func (p *place) tls(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return (&tls.Dialer{Config: p.client}).DialContext(ctx, "tcp", addr)
	}
}

// through connects to somewhere by the egress front (RFC 9110 section 9.3.6).
func (p *place) through(ctx context.Context, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.proxy)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", addr, addr); err == nil {
		var a *http.Response
		if a, err = http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect}); err == nil && a.StatusCode != http.StatusOK {
			err = errors.New(a.Status)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// stores sends objects, and asks whether the archive is there; at the end it leaves, in the middle of
// an object at times.
func (s *soaking) stores(ctx context.Context, worker uint64) {
	rng := s.random(worker)
	once := func(_ context.Context, c net.Conn, r *bufio.Reader) error {
		if rng.IntN(3) == 0 {
			q := dicom.Command{Field: dicom.CEchoRQ, MessageID: 1, SOPClass: dicom.MakeShort(echo)}
			if _, err := c.Write(dicom.AppendData(nil, 3, true, true, q.Append(nil))); err != nil {
				return err
			}
			return answered(r)
		}
		k := s.piece(rng, worker, true)
		k.Whole = true
		if err := object(c, r, k, func(b []byte) bool { _, err := c.Write(b); return err == nil }); err != nil {
			return err
		}
		k.Accepted = true
		return nil
	}
	for n := 0; ctx.Err() == nil; n++ {
		s.session(ctx, "store", s.p.tls(s.p.store), 300*time.Millisecond, func(c net.Conn, r *bufio.Reader) error {
			return associate(c, r, "TRIALCT")
		}, once, func(c net.Conn, r *bufio.Reader) error {
			switch n % 3 {
			case 0:
				return release(c, r)
			case 1:
				_ = object(c, r, s.piece(rng, worker, true), func(b []byte) bool { _, _ = c.Write(b[:len(b)/2]); return false })
			default:
				k := s.piece(rng, worker, true)
				k.Size = 2 * bit
				_ = object(c, r, k, func(b []byte) bool { _, _ = c.Write(b); return false })
				_, _ = c.Write(dicom.Control{Type: dicom.Abort}.Append(nil))
			}
			return nil
		})
	}
}

// cutOff connects, says nothing or a byte at a time, and is cut off by the guard.
func (s *soaking) cutOff(ctx context.Context, what string, which int, config *tls.Config) {
	addrs := []string{s.p.fhir, s.p.orders, s.p.store}
	begin := [][]byte{[]byte("GET /fhir/Observation/o1 HTTP/1.1\r\nHost:"), []byte("\vMSH|^~\\&|CastorEHR|St. Ada"), {1, 0, 0, 0, 0, 200, 0, 1}}
	for n := which / len(places); ctx.Err() == nil; n++ {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addrs[n%len(addrs)])
		if err != nil {
			s.failed(ctx, what, err)
			pause(ctx, time.Second)
			continue
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(cutWithin))
		t := c
		if config != nil {
			t = tls.Client(c, config)
			go func() { // until it is cut off
				for _, b := range begin[n%len(begin)] {
					if _, err := t.Write([]byte{b}); err != nil {
						return
					}
					pause(ctx, time.Second)
				}
			}()
		}
		_, err = io.Copy(io.Discard, t) // the guard may say why
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.failed(ctx, what, fmt.Errorf("not cut off within %v", cutWithin))
		} else if ctx.Err() == nil {
			s.went(what)
		}
		stop()
		c.Close()
	}
}

// refused asks for what nobody may.
func (s *soaking) refused(ctx context.Context) {
	strange := s.p.client.Clone()
	strange.Certificates = nil
	ask := []func(context.Context) error{
		func(ctx context.Context) error { // without a certificate
			c, err := (&tls.Dialer{Config: strange}).DialContext(ctx, "tcp", s.p.orders)
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, err = c.Read(make([]byte, 1)) // in TLS 1.3 the client hears of it afterwards
			return err
		},
		func(ctx context.Context) error { // another interaction than those listed
			c, err := s.p.tls(s.p.fhir)(ctx)
			if err != nil {
				return nil
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprint(c, "DELETE /fhir/Observation/o1 HTTP/1.1\r\nHost: guard.stada.example\r\n\r\n")
			a, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil && a.StatusCode == http.StatusForbidden {
				return errors.New(a.Status)
			}
			return nil
		},
		func(ctx context.Context) error { // an application entity that nobody knows
			c, err := s.p.tls(s.p.store)(ctx)
			if err != nil {
				return nil
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			return associate(c, c, "STRANGER")
		},
		func(ctx context.Context) error { // another destination than those listed
			c, err := s.p.through(ctx, "127.0.0.1:9")
			if err == nil {
				c.Close()
			}
			return err
		},
	}
	for n := 0; ctx.Err() == nil; n++ {
		if err := ask[n%len(ask)](ctx); err == nil {
			s.failed(ctx, "refused", fmt.Errorf("number %d of what is to be refused is not", n%len(ask)))
		} else {
			s.went("refused")
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// reports are the gateway's, on a connection each.
func (s *soaking) reports(ctx context.Context) {
	for ctx.Err() == nil {
		s.p.flowlink.Report(context.WithoutCancel(ctx))
		pause(ctx, 500*time.Millisecond)
	}
}

// An once is one message on a connection, and its answer.
type once func(ctx context.Context, c net.Conn, r *bufio.Reader) error

// steady talks on one connection, and on a new one after some time.
func (s *soaking) steady(ctx context.Context, what string, dial func(context.Context) (net.Conn, error), every time.Duration, do once) {
	nothing := func(net.Conn, *bufio.Reader) error { return nil }
	for ctx.Err() == nil {
		s.session(ctx, what, dial, every, nothing, do, nothing)
	}
}

// session is one connection.
func (s *soaking) session(ctx context.Context, what string, dial func(context.Context) (net.Conn, error), every time.Duration, begin func(net.Conn, *bufio.Reader) error, do once, end func(net.Conn, *bufio.Reader) error) {
	const each = 50 // messages
	c, err := dial(ctx)
	if err != nil {
		s.failed(ctx, what, err)
		pause(ctx, time.Second)
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	patient := func() { _ = c.SetDeadline(time.Now().Add(30 * time.Second)) }
	patient()
	if err = begin(c, r); err == nil {
		for i := 0; i < each && ctx.Err() == nil && err == nil; i++ {
			patient()
			if err = do(ctx, c, r); err == nil {
				s.went(what)
				pause(ctx, every)
			}
		}
	}
	if err == nil {
		patient()
		err = end(c, r)
	}
	s.failed(ctx, what, err)
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

// coap reads what the pump tells, in a session; after some time in a new one. A guard bounds how many
// handshakes of one address are under way, and of all stations here there is one: who is put off asks again, and has
// to be let in within patience. Nothing else may go wrong: what is lost of datagrams is sent again.
func (s *soaking) coap(ctx context.Context) {
	const each = 50
	const patience = 93 * time.Second // MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2)
	wanted, wait := time.Now(), time.Second
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		k, err := s.p.come(within)
		cancel()
		var hint *coap.Hint
		if errors.As(err, &hint) && hint.Code == wire.ServiceUnavailable && time.Since(wanted) < patience {
			s.went(putOff)
			pause(ctx, wait)
			wait = min(2*wait, 12*time.Second) // after which the guard gives an attempt back
			continue
		}
		s.lasted(wanted)
		wanted, wait = time.Now(), time.Second
		if err != nil {
			s.failed(ctx, "radio, a session", err)
			pause(ctx, time.Second)
			continue
		}
		for range each {
			if ctx.Err() != nil {
				break
			}
			asked := time.Now()
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
			s.lasted(asked)
			s.went("radio")
			pause(ctx, 500*time.Millisecond)
		}
		k.Close()
		wanted = time.Now()
	}
}

// putOff is what went so that a station was told to come later.
const putOff = "put off"

// lasted keeps how long something by radio took, if that is the longest.
func (s *soaking) lasted(since time.Time) {
	s.errors.Lock()
	defer s.errors.Unlock()
	s.slowest = max(s.slowest, time.Since(since))
}

// clock keeps how late this machine is: by that somebody can tell a guard that is slow from a machine that is.
func (s *soaking) clock(ctx context.Context) {
	const every = 50 * time.Millisecond
	for ctx.Err() == nil {
		from := time.Now()
		pause(ctx, every)
		late := time.Since(from) - every
		s.errors.Lock()
		s.late = max(s.late, late)
		s.errors.Unlock()
	}
}

// strangers fill the table of peers that speak CoAP. They have no connection that could
// end: each has its place, and a goroutine, until another needs it.
func (p *place) strangers() error {
	const places = 256 // coap.Config
	for i := range places + 8 {
		if err := p.ping(uint16(i)); err != nil {
			return fmt.Errorf("a ping by radio: %w", err)
		}
	}
	return nil
}

// ping pings the guard by radio until it is answered (RFC 7252 section 4.3): that front may begin to
// listen later than others.
func (p *place) ping(id uint16) error {
	c, err := net.Dial("udp", p.radio)
	if err != nil {
		return err
	}
	defer c.Close()
	for until := time.Now().Add(startWithin); ; time.Sleep(5 * time.Millisecond) {
		if _, err = c.Write([]byte{0x40, 0, byte(id >> 8), byte(id)}); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Read(make([]byte, 16))
		}
		if err == nil || time.Now().After(until) {
			return err
		}
	}
}

// idle waits until no front has a connection.
func (p *place) idle(ctx context.Context) error {
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
func (p *place) settled(ctx context.Context, before sample) (s sample, err error) {
	for until := time.Now().Add(drainWithin); ; {
		if s, err = p.sample(0); err != nil || time.Now().After(until) || ctx.Err() != nil {
			return s, err
		}
		if s.goroutines <= before.goroutines+mostMore && s.handles <= before.handles+mostMore && s.files <= before.files {
			return s, nil
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// sample reads the guard's metrics.
func (p *place) sample(at time.Duration) (sample, error) {
	m, err := p.metrics()
	if err != nil {
		return sample{}, err
	}
	s := sample{at: at, heap: m["go_memstats_heap_inuse_bytes"], rss: m["process_resident_memory_bytes"], goroutines: m["go_goroutines"], handles: m["process_open_fds"]}
	// The heap in use goes up and down with the collector. What lives is what it is set by.
	if next := m["go_memstats_next_gc_bytes"]; next > 0 {
		s.heap = next / 2
	}
	for _, root := range []string{p.temp(), filepath.Join(p.dir, "state"), filepath.Join(p.dir, "ledger")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			name := filepath.Base(path)
			if err == nil && !d.IsDir() && (root == p.temp() || strings.HasSuffix(name, ".new") || name[0] == '.') {
				s.files++
			}
			return nil // it may be gone already
		})
		if err != nil {
			return s, err
		}
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
