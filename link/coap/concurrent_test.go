// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// TestConcurrent: a request whose answer takes long holds up no other of the same peer,
// and is handled once however often it comes meanwhile.
func TestConcurrent(t *testing.T) {
	release := make(chan struct{})
	var slow atomic.Int32
	e, err := New(Config{
		Concurrent: true,
		Open:       func(*coap.Message) bool { return true },
		Handler: func(_ *Session, m *coap.Message) coap.Message {
			if Path(m) == "/slow" {
				slow.Add(1)
				<-release
			}
			return Response(coap.Content, 0, []byte(Path(m)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Serve(t.Context(), s) }()
	c, err := net.Dial("udp", s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(id uint16, path string) {
		m := Request(coap.GET, path, 0, nil)
		m.Type, m.ID, m.Token = coap.Confirmable, id, []byte{byte(id)}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() string {
		b := make([]byte, MaxMessage)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var m coap.Message
		if err := m.Parse(b[:n]); err != nil {
			t.Fatal(err)
		}
		return string(m.Payload)
	}
	ask(1, "/slow")
	ask(1, "/slow")
	ask(2, "/quick")
	if got := answer(); got != "/quick" {
		t.Error(got)
	}
	close(release)
	if got := answer(); got != "/slow" {
		t.Error(got)
	}
	ask(1, "/slow") // answered before: the same answer, and nothing is done
	if got := answer(); got != "/slow" || slow.Load() != 1 {
		t.Errorf("%s, handled %d times", got, slow.Load())
	}
	_ = e.Close()
	<-done
}
