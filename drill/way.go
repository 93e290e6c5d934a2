// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/testpki"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	agentcoap "github.com/myelin-health/myelin/patch/agent/coap"
	"github.com/myelin-health/myelin/patch/agent/https"
)

// serverName is that of the hospital's server.
const serverName = "updates.hospital.example"

// An asking server is asked without a lock that is held meanwhile.
type asking struct {
	agent.Server
	mu *sync.Mutex
}

func (s asking) Poll(ctx context.Context, state []byte) ([]byte, error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	return s.Server.Poll(ctx, state)
}

func (s asking) ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	return s.Server.ReadAt(ctx, path, p, off)
}

// overHTTPS is the way of a device that has an operating system: TLS to the bed's server, on loopback.
func (b *bed) overHTTPS(context.Context) (agent.Server, func(), error) {
	ca, err := testpki.New("hospital")
	if err != nil {
		return nil, nil, err
	}
	cert, err := ca.Issue(serverName)
	if err != nil {
		return nil, nil, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: serverName}} // and no proxy
	c, err := https.New("https://"+l.Addr().String(), transport)
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	s := &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	return c, func() {
		c.Close()
		s.Close()
		wg.Wait()
	}, nil
}

// ReadAt implements [agent.Server].
func (b *bed) ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hospital.ReadAt(ctx, path, p, off)
}

// ServeHTTP is the server over HTTPS.
func (b *bed) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	path, _ := strings.CutPrefix(q.URL.Path, "/update/v1/")
	if q.Method == http.MethodGet {
		b.mu.Lock()
		file, ok := b.files[path]
		b.mu.Unlock()
		if !ok {
			http.NotFound(w, q)
			return
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(file))
		return
	}
	state, err := io.ReadAll(io.LimitReader(q.Body, patch.MaxMessage))
	if err == nil {
		state, err = b.Poll(q.Context(), state)
	}
	if err != nil {
		http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		return
	}
	_, _ = w.Write(state) // who asked may be gone
}

// overCoAP is the way of a device that has little: CoAP, protected by OSCORE, to the bed's server on loopback.
func (b *bed) overCoAP(ctx context.Context) (agent.Server, func(), error) {
	it, err := newHolder("!")
	if err != nil {
		return nil, nil, err
	}
	own, err := newHolder("device")
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	server, err := coap.New(coap.Config{EDHOC: trusting(it.own, own.own), Handler: agentcoap.Handler(ctx, b)})
	if err != nil {
		stop()
		return nil, nil, err
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		stop()
		server.Close()
		return nil, nil, err
	}
	client, err := coap.New(coap.Config{EDHOC: trusting(own.own, it.own)})
	if err != nil {
		stop()
		socket.Close()
		server.Close()
		return nil, nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ctx, socket) })
	c := &agentcoap.Client{Connect: func(ctx context.Context) (*coap.Conn, *coap.Session, error) {
		conn, err := client.Dial(ctx, socket.LocalAddr().String())
		if err != nil {
			return nil, nil, err
		}
		s, err := conn.Handshake(ctx)
		if err != nil {
			conn.Close()
		}
		return conn, s, err
	}}
	return c, func() {
		c.Close()
		client.Close()
		stop()
		wg.Wait()
		server.Close()
	}, nil
}
