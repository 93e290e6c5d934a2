// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestAcknowledge: below TLS it is the socket that is told, and a connection that
// is none of the system's does without.
func TestAcknowledge(t *testing.T) {
	s := start(t, nil)
	c := NewConn(tls.Client(&ending{Conn: s.dial(t)}, &tls.Config{ServerName: "peer"}), &Settings{}, time.Now)
	quick := func() (v int) {
		c.system.Control(func(fd uintptr) { v, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK) })
		return v
	}
	c.system.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 0) })
	if quick() != 0 {
		t.Fatal("acknowledgements were not delayed")
	}
	if c.Acknowledge(); quick() != 1 {
		t.Error("acknowledgements are delayed still")
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	NewConn(near, &Settings{}, time.Now).Acknowledge()
}
