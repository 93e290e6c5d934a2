// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/live"
	"github.com/myelin-health/myelin/store"
)

// healthTime is how long the store may take to answer that it is there.
const healthTime = 2 * time.Second

// metrics count for Prometheus. A route is a row of the table and a status a number
// of ours: no label is chosen by who asks.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(st *store.Store, hub *live.Hub) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "myelin_requests_total", Help: "Requests, by route and status."}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "myelin_request_seconds", Help: "How long an answer took.", Buckets: []float64{.005, .01, .02, .04, .06, .1, .25, 1, 5, 30},
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), rows{st},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "myelin_live_readers", Help: "Pages that renew themselves."}, func() float64 { n, _ := hub.Readers(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "myelin_live_slow_total", Help: "Of them, those that were too slow and let go."}, func() float64 { _, n := hub.Readers(); return float64(n) }))
	return m
}

// rows collects how much the store has.
type rows struct{ *store.Store }

var rowsDesc = prometheus.NewDesc("myelin_store_rows", "What the store has.", []string{"of"}, nil)

func (rows) Describe(out chan<- *prometheus.Desc) { out <- rowsDesc }

func (s rows) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	defer cancel()
	counts, err := s.Counts(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(rowsDesc, err)
		return
	}
	for of, n := range counts {
		out <- prometheus.MustNewConstMetric(rowsDesc, prometheus.GaugeValue, float64(n), strings.ReplaceAll(of, " ", "_"))
	}
}

// count counts what a table of routes answers.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, status: http.StatusOK}
		begin := time.Now()
		http.NewResponseController(w).SetWriteDeadline(time.Time{}) // of the request before
		defer func() {
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // of what is still on its way
			route := r.Pattern                                                        // which the table sets
			m.requests.WithLabelValues(route, strconv.Itoa(a.status)).Inc()
			if route != "GET /live" {
				m.seconds.WithLabelValues(route).Observe(time.Since(begin).Seconds())
			}
		}()
		next.ServeHTTP(a, r)
	})
}

// An answer remembers its status, and does not wait for who takes nothing of it.
type answer struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (a *answer) WriteHeader(status int) {
	if !a.begun && status >= 200 {
		a.status, a.begun = status, true
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	c := http.NewResponseController(a.ResponseWriter)
	c.SetWriteDeadline(time.Now().Add(writeTime))
	n, err := a.ResponseWriter.Write(b)
	c.SetWriteDeadline(time.Time{}) // what follows may be thought about for longer
	return n, err
}

// FlushError is what [http.ResponseController.Flush] calls.
func (a *answer) FlushError() error {
	a.begun = true
	c := http.NewResponseController(a.ResponseWriter)
	c.SetWriteDeadline(time.Now().Add(writeTime))
	defer c.SetWriteDeadline(time.Time{})
	return c.Flush()
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (s *Server) healthRoutes() []access.Route {
	scrape := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2})
	return []access.Route{
		{Pattern: "GET /healthz", Needs: access.Anyone, Handle: func(w http.ResponseWriter, _ *http.Request, _ *access.Principal) error {
			return plain(w, http.StatusOK, "alive")
		}},
		{Pattern: "GET /readyz", Needs: access.Anyone, Handle: s.ready},
		{Pattern: "GET /metrics", Needs: access.SeeAll, Handle: func(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
			scrape.ServeHTTP(w, r)
			return nil
		}},
	}
}

// ready says whether the store and the ledger can be used, and to strangers not why.
func (s *Server) ready(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
	ctx, cancel := context.WithTimeout(r.Context(), healthTime)
	defer cancel()
	_, err := s.store.Setting(ctx, "ready")
	if err == nil {
		_, err = s.ledger.Checkpoint()
	}
	if err != nil {
		s.cfg.Log.Error("not ready", "err", err)
		return plain(w, http.StatusServiceUnavailable, "not ready")
	}
	return plain(w, http.StatusOK, "ready")
}

func plain(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write([]byte(text + "\n"))
	return err
}
