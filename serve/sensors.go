// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/myelin-health/myelin/serve/access"
)

// serveSensors serves sensors, guards and devices that ask for updates alone, by TLS, at an address of their own,
// until ctx is done. It begins to listen before it returns; wait waits for its end.
func (s *Server) serveSensors(ctx context.Context) (wait func(), err error) {
	ln, err := net.Listen("tcp", s.cfg.Sensors)
	if err != nil {
		return nil, err
	}
	h := s.bounded(ctx, s.metrics.count(access.Mux(slices.Concat(s.uplink.Routes(), s.updates.Routes()), access.Problem(s.cfg.Log))))
	h.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.sensing.Get}
	s.authority.Ask(h.TLSConfig)
	var all sync.WaitGroup
	all.Go(func() {
		if err := h.ServeTLS(s.crowd(ln), "", ""); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("sensors are not served any more", "err", err)
		}
	})
	all.Go(func() {
		<-ctx.Done()
		drained(h)
	})
	return all.Wait, nil
}

// bounded is a server whose requests are bounded.
func (s *Server) bounded(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.headerTime, ReadTimeout: s.readTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:    log.New(panics{s.cfg.Log}, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
}

// drained ends a server when what was begun has ended.
func drained(h *http.Server) {
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if h.Shutdown(drain) != nil {
		h.Close()
	}
}
