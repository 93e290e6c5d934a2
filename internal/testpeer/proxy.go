// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"io"
	"net"
	"strconv"
	"sync"
)

// A Proxy listens on a loopback port, passes connections on to a server, and
// records what both sides say: a capture without a network interface.
type Proxy struct {
	Port  int
	l     net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []*Conversation
}

// A Conversation is what was said over one connection.
type Conversation struct {
	Pieces []Piece // in the order in which they passed
}

// A Piece is what one read of a socket returned.
type Piece struct {
	FromServer bool
	Bytes      []byte
}

// NewProxy starts a proxy in front of a server's loopback port. It stops at
// the end of the test.
func NewProxy(t TB, server int) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Port: l.Addr().(*net.TCPAddr).Port, l: l}
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(client, server) })
		}
	})
	t.Cleanup(func() { p.Conversations() })
	return p
}

// Conversations stops the proxy, waits until every connection is over, and
// returns them in the order in which they were opened.
func (p *Proxy) Conversations() []*Conversation {
	p.l.Close()
	p.wg.Wait()
	return p.conns
}

func (p *Proxy) pass(client net.Conn, port int) {
	defer client.Close()
	server, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return
	}
	defer server.Close()
	c := &Conversation{}
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, server, client, false) })
	both.Go(func() { p.copy(c, client, server, true) })
	both.Wait()
}

// copy passes on what src says until it has finished, and says so to dst.
func (p *Proxy) copy(c *Conversation, dst, src net.Conn, fromServer bool) {
	defer dst.(*net.TCPConn).CloseWrite()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			// Recorded before it is passed on, so that an answer comes later.
			p.mu.Lock()
			c.Pieces = append(c.Pieces, Piece{fromServer, append([]byte(nil), buf[:n]...)})
			p.mu.Unlock()
			if _, err := dst.Write(buf[:n]); err != nil {
				io.Copy(io.Discard, src)
				return
			}
		}
		if err != nil {
			return
		}
	}
}
