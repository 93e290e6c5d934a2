// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/plgd-dev/go-coap/v3/message/pool"
	coapnet "github.com/plgd-dev/go-coap/v3/net"
	"github.com/plgd-dev/go-coap/v3/udp/client"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// A Link carries whole CoAP messages to one peer and back. It may lose, double
// and reorder them. Send and Receive are called by different goroutines, each by
// one at a time.
type Link interface {
	// Send sends a message of at most [MaxMessage] bytes. It does not keep b.
	Send(b []byte) error
	// Receive waits for a message and copies it to b, which has room. An error
	// ends the connection.
	Receive(b []byte) (int, error)
	Close() error
	// Peer names who is at the other end, by what it cannot choose freely.
	Peer() string
}

// udpLink is a socket that is connected to one address.
type udpLink struct{ *net.UDPConn }

func (l udpLink) Send(b []byte) error {
	_, err := l.Write(b)
	return err
}

func (l udpLink) Receive(b []byte) (int, error) {
	for {
		n, err := l.Read(b)
		// That nobody listens there (ICMP) is a hint like any other.
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			return n, err
		}
	}
}

func (l udpLink) Peer() string { return hostOf(l.RemoteAddr()) }

func hostOf(a net.Addr) string {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.IP.String()
	}
	return a.String()
}

// transport is what go-coap writes its messages to: a client.Session.
type transport struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	send   func([]byte) error

	mu      sync.Mutex // guards what follows
	values  context.Context
	onClose []func()
	closed  bool
}

func newTransport(parent context.Context, send func([]byte) error) *transport {
	t := &transport{done: make(chan struct{}), send: send}
	t.ctx, t.cancel = context.WithCancel(parent)
	t.values = t.ctx
	return t
}

func (t *transport) Context() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.values
}

func (t *transport) SetContextValue(key, value any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values = context.WithValue(t.values, key, value)
}

func (t *transport) Close() error {
	t.mu.Lock()
	closed, fs := t.closed, t.onClose
	t.closed, t.onClose = true, nil
	t.mu.Unlock()
	if closed {
		return nil
	}
	t.cancel()
	close(t.done)
	for _, f := range fs {
		f()
	}
	return nil
}

func (t *transport) AddOnClose(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onClose = append(t.onClose, f)
}

func (t *transport) WriteMessage(m *pool.Message) error {
	b, err := m.MarshalWithEncoder(coder.DefaultCoder)
	if err != nil {
		return err
	}
	return t.write(b)
}

func (t *transport) write(b []byte) error {
	t.mu.Lock() // a Link sends one at a time
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	return t.send(b)
}

func (t *transport) WriteMulticastMessage(*pool.Message, *net.UDPAddr, ...coapnet.MulticastOption) error {
	return errors.ErrUnsupported
}

func (t *transport) Run(*client.Conn) error { return errors.ErrUnsupported }
func (t *transport) Done() <-chan struct{}  { return t.done }
func (t *transport) MaxMessageSize() uint32 { return MaxMessage }
func (t *transport) NetConn() net.Conn      { return nil }
func (t *transport) RemoteAddr() net.Addr   { return nil }
func (t *transport) LocalAddr() net.Addr    { return nil }
