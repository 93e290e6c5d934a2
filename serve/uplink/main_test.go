// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// childEnv says that this process is not the test, but a server or a sensor of it.
const childEnv = "MYELIN_UPLINK_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "server":
		exitWith(serverChild())
	case "sensor":
		exitWith(sensorChild())
	}
	goleak.VerifyTestMain(m)
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A site is a server with a store, a bus and an authority in one folder.
type site struct {
	dir    string
	store  *store.Store
	bus    *bus.Bus
	server *Server
	ca     *Authority
	http   *http.Server
	stop   context.CancelFunc
	all    sync.WaitGroup
}

// openSite starts one.
func openSite(dir, listen string) (*site, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &site{dir: dir, stop: stop}
	var err error
	if s.store, err = sqlite.Open(ctx, filepath.Join(dir, "myelin.db"), nil); err != nil {
		return nil, err
	}
	if s.ca, err = OpenAuthority(dir, nil); err != nil {
		return nil, err
	}
	if s.bus, err = bus.Open(ctx, bus.Config{Dir: filepath.Join(dir, "bus"), Store: s.store}); err != nil {
		return nil, err
	}
	s.server = NewServer(ServerConfig{Store: s.store, Bus: s.bus, Authority: s.ca})
	cert, key, err := s.ca.Server("127.0.0.1")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	s.ca.Ask(conf)
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{Addr: ln.Addr().String(), Handler: s.server.Handler(), TLSConfig: conf, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	s.all.Go(func() { s.bus.Run(ctx) })
	s.all.Go(func() { s.http.ServeTLS(ln, "", "") })
	return s, nil
}

func (s *site) close() {
	s.http.Close()
	s.server.Close()
	s.stop()
	s.all.Wait()
	s.bus.Close()
	s.store.Close()
}

func newSite(t testing.TB) *site {
	t.Helper()
	s, err := openSite(t.TempDir(), "127.0.0.1:0")
	must(t, err)
	t.Cleanup(s.close)
	return s
}

func (s *site) token(t testing.TB, kind string) string {
	t.Helper()
	token, err := s.server.Enrolment(t.Context(), "ward 3", "north", kind, "le", time.Now().Add(time.Hour))
	must(t, err)
	return token
}

// client opens a client of a site, which sends until the test ends.
func (s *site) client(t testing.TB, kind string, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{Server: "https://" + s.http.Addr, Token: s.token(t, kind), Version: "test"}
	if change != nil {
		change(&cfg)
	}
	return runClient(t, t.TempDir(), cfg)
}

func runClient(t testing.TB, dir string, cfg Config) *Client {
	t.Helper()
	c, err := Open(dir, cfg)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		stop()
		all.Wait()
		must(t, c.Close())
	})
	return c
}

// settled waits until all that is on the bus is in the store.
func (s *site) settled(t testing.TB) {
	t.Helper()
	for {
		n, err := s.bus.Waiting(t.Context())
		must(t, err)
		if n == 0 {
			return
		}
		pause(t.Context(), 5*time.Millisecond)
	}
}

// step is how many items are kept at once.
const step = 20

// each is how many observations an item has.
const each = 10

// item is something with a number: a verdict that is at that time, and observations.
func item(n int) *store.Batch {
	e := event.Event{Kind: event.VerdictGiven, Time: int64(n), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	e.Add(event.Int(event.Verdict, device.Deny))
	b := &store.Batch{Events: []event.Event{e}}
	for i := range each {
		b.Observations = append(b.Observations, store.Observation{Client: ip(i), Server: ip(1 << 15), Protocol: "hl7", Port: 2575, First: 1, Last: 2, Count: 1})
	}
	return b
}

func ip(n int) device.Address {
	return device.Address{Kind: device.IP, Value: fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)}
}

// items are the numbers of the items in a store, in the order of writing, and how
// many observations there are.
func items(t testing.TB, s *store.Store) (numbers []int, observations uint64) {
	t.Helper()
	page := store.Page{Limit: 1000}
	for {
		list, err := s.Verdicts(t.Context(), store.VerdictQuery{Page: page})
		must(t, err)
		for _, v := range list.Rows {
			numbers = append([]int{int(v.Time)}, numbers...)
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	links, err := s.Links(t.Context(), "", 0, 1000)
	must(t, err)
	for _, l := range links {
		observations += l.Count
	}
	return numbers, observations
}

// serverChild is a server until standard input ends.
func serverChild() error {
	s, err := openSite(os.Getenv("DIR"), os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	s.close()
	return nil
}

// sensorChild keeps items, some at once, and says the number of the last when they are kept, until standard
// input ends. Then it sends the rest.
func sensorChild() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := Open(os.Getenv("DIR"), Config{Server: os.Getenv("SERVER"), Token: os.Getenv("TOKEN"), Bytes: 64 << 20})
	if err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	defer end()
	var all sync.WaitGroup
	all.Go(func() { c.Run(running) })
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	var n int
	fmt.Sscan(os.Getenv("FROM"), &n)
	for ; ; n++ {
		select {
		case <-over:
			err := c.Drain(ctx)
			end()
			all.Wait()
			return err
		default:
		}
		for range step - 1 {
			if err := c.Put(item(n)); err != nil {
				return err
			}
			n++
		}
		if err := c.Keep(ctx, item(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}
