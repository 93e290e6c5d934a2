// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/proto/dicom"
)

// A hearer takes associations, and then whatever it is told.
type hearer struct {
	port int

	mu   sync.Mutex
	told bytes.Buffer // by all, behind their requests
	over chan struct{}
}

func newHearer(t testing.TB) *hearer {
	t.Helper()
	h := &hearer{over: make(chan struct{}, 100)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.port = ln.Addr().(*net.TCPAddr).Port
	s := store{t: t, maximum: 1 << 20}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				first := make([]byte, 1)
				if _, err := io.ReadFull(c, first); err != nil {
					return
				}
				if dicom.PDUType(first[0]) == dicom.AssociateRQ {
					pdu := readPDU(&joined{c, io.MultiReader(bytes.NewReader(first), c)})
					c.Write(s.accept(pdu))
					first = nil
				}
				io.Copy(h, io.MultiReader(bytes.NewReader(first), c))
				h.over <- struct{}{}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return h
}

type joined struct {
	net.Conn
	r io.Reader
}

func (j *joined) Read(b []byte) (int, error) { return j.r.Read(b) }

func (h *hearer) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told.Write(b)
}

func (h *hearer) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told.String()
}

// TestAlarmsPass: what a device says to people passes in whatever state the guard
// is, whether it can be read or not, and above every bound; and what could not be
// judged is said.
func TestAlarmsPass(t *testing.T) {
	const own = `
from: [127.0.0.9]
limits: {connections: 2, per-peer: 1, rate: 1, drain: 10s}
bounds: {pdu-bytes: 4096, object-bytes: 1000, associations: 1, per-ae: 1}`
	image := string(said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 60000), 16000))
	const junk = "ALARM: OCCLUSION AT BED 3"
	unfinished := string([]byte{byte(dicom.AssociateAC), 0, 0, 0, 1, 0}) + junk // it says that there is more, and there is not
	type ward struct {
		*guard
		front *Front
		port  int
		hears *hearer
	}
	// What others do: they take the connections that there are, and the association, in the device's name.
	strangers := func(w *ward) {
		p := dialTo(w.t, w.port)
		p.associate("CT1", "ADAPACS", usual...)
		for i := 2; ; i++ {
			c := dialFrom(w.t, fmt.Sprintf("127.0.1.%d", i), w.port).c
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				return // there was no place for it
			}
		}
	}
	for state, at := range map[string]struct {
		host          string        // of the device, if not its own
		before, while func(w *ward) // it speaks
	}{
		"quiet":                     {},
		"others took all":           {before: strangers},
		"new address":               {host: "127.0.0.7"},
		"new address, own all used": {host: "127.0.0.7", before: func(w *ward) { dialFrom(w.t, "127.0.0.9", w.port); dialFrom(w.t, "127.0.0.9", w.port) }},
		"ledger hangs": {before: func(w *ward) {
			stuck := make(chan struct{})
			w.t.Cleanup(func() { close(stuck) })
			w.mu.Lock()
			w.ledger = func() { <-stuck }
			w.mu.Unlock()
			strangers(w)
		}},
		"stops":  {while: func(w *ward) { w.stop() }},
		"reload": {while: func(w *ward) { w.front.Update(client(w.t, 1, readersOfClient)) }},
	} {
		for name, says := range map[string]struct {
			associates bool
			what, odd  string // odd: what is recorded
		}{
			"image":                      {true, image, ""},
			"no DICOM":                   {false, junk, "not DICOM; it passes as it is"},
			"no DICOM in an association": {true, image + junk, "not DICOM; it passes as it is"},
			"never whole":                {false, unfinished, "not DICOM; it passes as it is"},
		} {
			if name == "never whole" && at.host == "" && state != "quiet" {
				continue // the device itself may be slow for as long as it likes
			}
			t.Run(state+"/"+name, func(t *testing.T) {
				w := &ward{guard: newGuard(t), hears: newHearer(t)}
				more := own
				if name == "never whole" {
					more = strings.Replace(own, "drain: 10s", "drain: 10s, idle: 100ms, unfinished: 100ms", 1)
				}
				w.front, w.port = w.start(client(t, w.hears.port, readersOfClient+more))
				if at.before != nil {
					at.before(w)
				}
				host := "127.0.0.9"
				if at.host != "" {
					host = at.host
				}
				p := dialFrom(t, host, w.port)
				if says.associates {
					p.associate("CT1", "ADAPACS", usual...)
				}
				half := len(says.what) / 2
				p.write([]byte(says.what[:half]))
				if at.while != nil {
					for w.hears.heard() == "" { // it is under way, or the test ends by its time
						time.Sleep(time.Millisecond)
					}
					at.while(w)
				}
				p.write([]byte(says.what[half:]))
				for !strings.HasPrefix(w.hears.heard(), says.what) {
					if len(w.hears.over) > 0 && !strings.HasPrefix(w.hears.heard(), says.what) {
						t.Fatalf("of %d bytes %d came", len(says.what), len(w.hears.heard()))
					}
					time.Sleep(time.Millisecond)
				}
				for says.odd != "" && w.ledger == nil && !strings.Contains(strings.Join(w.refusals(), "\n"), says.odd) {
					time.Sleep(time.Millisecond)
				}
			})
		}
	}
}

// settled waits for what is recorded behind what passed, for a while.
func settled(is func() bool) bool {
	for ends := time.Now().Add(10 * time.Second); time.Now().Before(ends); time.Sleep(time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}
