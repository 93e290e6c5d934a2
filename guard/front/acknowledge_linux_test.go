// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"io"
	"net"
	"syscall"
	"testing"
)

// TestAcknowledgeSocket: it is a socket's own option that says so.
func TestAcknowledgeSocket(t *testing.T) {
	st := start(t, nil)
	c := st.dial(t)
	s := newSocket(c)
	quick := func() (v int) {
		s.system.Control(func(fd uintptr) { v, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK) })
		return v
	}
	s.system.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 0) })
	if quick() != 0 {
		t.Fatal("acknowledgements were not delayed")
	}
	io.WriteString(s, "hello\n")
	if _, err := s.Read(make([]byte, 16)); err != nil || quick() != 1 {
		t.Errorf("%v, or acknowledgements are delayed still", err)
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if newSocket(near).system != nil {
		t.Error("a pipe is none of the system's")
	}
}
