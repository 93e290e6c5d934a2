// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ctStorage  = "1.2.840.10008.5.1.4.1.1.2"
	mrStorage  = "1.2.840.10008.5.1.4.1.1.4"
	studyFind  = "1.2.840.10008.5.1.4.1.2.2.1"
	studyMove  = "1.2.840.10008.5.1.4.1.2.2.2"
	studyGet   = "1.2.840.10008.5.1.4.1.2.2.3"
	commitment = "1.2.840.10008.1.20.1"
	echo       = "1.2.840.10008.1.1"
	implicitLE = "1.2.840.10008.1.2"
	explicitLE = "1.2.840.10008.1.2.1"
	jpeg       = "1.2.840.10008.1.2.4.50"
)

// policy reads a front's section as it would stand in guard.yaml.
func policy(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := read(text, ".")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

func read(text, dir string) (*Policy, error) {
	r := strictyaml.New("guard.yaml", strictyaml.Format{Name: "guard configuration", Marker: "guard: 1"})
	doc := r.Document([]byte("guard: 1\nfront:\n" + indent(text)))
	s := r.Section(doc, "the file", "guard", "front")
	p := Read(r, r.Section(s.Get("front"), "front", slices.Concat(front.Keys, Keys)...), dir)
	return p, r.Err()
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// A guard is one or more fronts of one test with what they share.
type guard struct {
	t   testing.TB
	env *front.Env

	stop func() // of the front that was started last: it begins to stop

	mu     sync.Mutex
	ledger func() // in the way of each record; nil: nothing
	events []event.Event
}

func newGuard(t testing.TB) *guard {
	g := &guard{t: t}
	record := func(e *event.Event) error {
		g.mu.Lock()
		wait := g.ledger
		g.mu.Unlock()
		if wait != nil {
			wait()
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.events) < 1000 {
			g.events = append(g.events, *e)
		}
		return nil
	}
	gt := gate.New(gate.Config{Devices: map[string]gate.Device{}, Book: new(envelope.Book), Record: record, Now: time.Now})
	t.Cleanup(gt.Close)
	g.env = &front.Env{
		Gate: gt, Record: record, Metrics: front.NewMetrics(prometheus.NewRegistry()), Learned: new(front.Learned),
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	return g
}

// start starts a front on a loopback port of its own, which it returns.
func (g *guard) start(p *Policy) (*Front, int) {
	g.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	f := New(g.env, p)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	g.stop = cancel
	go func() { done <- f.serve(ctx, ln) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Error(err)
		}
	})
	return f, ln.Addr().(*net.TCPAddr).Port
}

// refusals are the operations and reasons that were recorded.
func (g *guard) refusals() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.events {
		e := &g.events[i]
		if e.Kind == event.AccessRefused {
			all = append(all, strings.TrimSpace(e.Text(event.Operation)+" "+e.Text(event.Destination))+": "+e.Text(event.Reason))
		}
	}
	return all
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
