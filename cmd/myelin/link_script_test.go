// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func scriptPort(ts *testscript.TestScript, _ bool, args []string) {
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], s.LocalAddr().String())
	ts.Check(s.Close())
}

// scriptAnswering sends CoAP pings (RFC 7252 section 4.3) until one is answered.
func scriptAnswering(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.Dial("udp", args[0])
	ts.Check(err)
	defer c.Close()
	b := make([]byte, 64)
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		c.Write([]byte{0x40, 0, 0, 1})
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Read(b); err == nil && bytes.Equal(b[:n], []byte{0x70, 0, 0, 1}) {
			return
		}
	}
	ts.Fatalf("nothing answers at %s", args[0])
}

// A relay is somebody in between.
type relay struct {
	front net.PacketConn
	back  net.Conn

	mu    sync.Mutex // guards what follows
	asked net.Addr
	came  [][]byte
}

var relays sync.Map // by address

func scriptRelay(ts *testscript.TestScript, _ bool, args []string) {
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	back, err := net.Dial("udp", args[1])
	ts.Check(err)
	r := &relay{front: front, back: back}
	relays.Store(front.LocalAddr().String(), r)
	ts.Setenv(args[0], front.LocalAddr().String())
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := make([]byte, 4096); ; {
			n, addr, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.asked, r.came = addr, append(r.came, bytes.Clone(b[:n]))
			r.mu.Unlock()
			back.Write(b[:n])
		}
	})
	wg.Go(func() {
		for b := make([]byte, 4096); ; {
			n, err := back.Read(b)
			if err != nil && strings.Contains(err.Error(), "closed") {
				return
			}
			if err != nil {
				continue // nobody listens there, for now
			}
			r.mu.Lock()
			front.WriteTo(b[:n], r.asked)
			r.mu.Unlock()
		}
	})
	ts.Defer(func() {
		front.Close()
		back.Close()
		wg.Wait()
	})
}

// scriptReplay sends all from an address that the device has not heard of, so that its
// message layer takes none for a repeat, and waits until the last was looked at.
func scriptReplay(ts *testscript.TestScript, _ bool, args []string) {
	v, _ := relays.Load(args[0])
	r := v.(*relay)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.came) == 0 {
		ts.Fatalf("nothing came")
	}
	c, err := net.Dial("udp", r.back.RemoteAddr().String())
	ts.Check(err)
	defer c.Close()
	answers := make([]byte, 4096)
	for _, b := range r.came {
		if b[0]&0x30 != 0 { // only what is confirmable is answered
			continue
		}
		_, err := c.Write(b)
		ts.Check(err)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(answers)
		ts.Check(err)
		ts.Logf("replayed %d bytes, answered %d.%02d", len(b), answers[1]>>5, answers[1]&31)
		_ = n
	}
}

func scriptLog(ts *testscript.TestScript, _ bool, args []string) {
	var all strings.Builder
	for next := 0; ; {
		ts.Check(ts.Exec("myelin", append([]string{"link", "get", fmt.Sprintf("%s?from=%d", args[0], next)}, args[1:]...)...))
		page := ts.ReadFile("stdout")
		before := next
		for line := range strings.Lines(page) {
			if n, _ := fmt.Sscanf(line, "next: %d", &next); n == 0 {
				all.WriteString(line)
			}
		}
		// Asking for it makes two entries: the session, and the token.
		if next <= before+4 {
			break
		}
	}
	fmt.Fprint(ts.Stdout(), all.String())
	ts.Check(writeLog(ts, all.String()))
}

var lastLogs sync.Map // by the script's folder

func writeLog(ts *testscript.TestScript, text string) error {
	lastLogs.Store(ts.MkAbs("."), text)
	return nil
}

func scriptCount(ts *testscript.TestScript, _ bool, args []string) {
	text, _ := lastLogs.Load(ts.MkAbs("."))
	if n := len(regexp.MustCompile(args[1]).FindAllString(text.(string), -1)); fmt.Sprint(n) != args[0] {
		ts.Fatalf("%d lines match, want %s", n, args[0])
	}
}
