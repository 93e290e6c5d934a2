// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"
)

// A Tap hears what goes over the network in both directions, as a port that mirrors it does:
// what is said to a device, and to what the device itself connects to. The zero value hears
// everything up to a bound. The nil Tap hears nothing.
type Tap struct {
	mu    sync.Mutex
	talks []*Talk
	size  int
}

// maxHeard bounds what a tap keeps, in bytes; what comes after is not heard.
const maxHeard = 4 << 20

// A Party is who opened a connection.
type Party uint8

// The parties.
const (
	User     Party = iota // somebody who may use the device
	Attacker              // somebody who may not
	Itself                // the device, to what lies upstream of it or says that it does
)

// A Talk is one connection that was heard.
type Talk struct {
	By      Party
	Network string // udp or tcp
	Said    []Saying
}

// A Saying is what one side of a connection said at once: of udp, a datagram.
type Saying struct {
	Answer bool // of who was connected to
	Bytes  []byte
}

// Talks returns what was heard, in the order in which the connections were opened.
func (t *Tap) Talks() []Talk {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Talk, len(t.talks))
	for i, talk := range t.talks {
		out[i] = *talk
		out[i].Said = slices.Clone(talk.Said)
	}
	return out
}

// dial connects, and hears what is said from then on.
func (t *Tap) dial(ctx context.Context, by Party, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if t == nil || err != nil {
		return c, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	talk := &Talk{By: by, Network: network}
	t.talks = append(t.talks, talk)
	return &heardConn{c, t, talk}, nil
}

func (t *Tap) hear(talk *Talk, answer bool, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size += len(b); len(b) > 0 && t.size <= maxHeard {
		talk.Said = append(talk.Said, Saying{answer, bytes.Clone(b)})
	}
}

type heardConn struct {
	net.Conn
	tap  *Tap
	talk *Talk
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tap.hear(c.talk, true, b[:n])
	return n, err
}

func (c *heardConn) Write(b []byte) (int, error) {
	c.tap.hear(c.talk, false, b) // before, or the answer could come first
	return c.Conn.Write(b)
}
