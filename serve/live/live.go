// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package live tells open pages that something changed, as server-sent events
// (HTML standard, section 9.2). An event says what changed and never what it is
// now: the page asks for that as who looks at it, so nothing passes here that
// somebody may not see, and an event that is lost costs a moment.
//
// This API follows the server and may change.
package live

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// The bounds of a hub and of a stream.
const (
	MaxReaders    = 512 // of one server
	MaxOfOne      = 8   // of them, of one person: browsers keep a stream for each page that is open
	queue         = 16  // events that wait for a reader; who is slower is let go, and comes back by itself
	beatEvery     = 15 * time.Second
	askEvery      = time.Second // whether who reads is still signed in
	writeTime     = 10 * time.Second
	streamLife    = 15 * time.Minute // then who reads is identified again
	retryInMillis = 3000
)

// What changed.
const (
	Verdict = "verdict"
	Held    = "held"
	Finding = "finding"
	Device  = "device"
	Rollout = "rollout" // something of a roll-out
)

// An Event says what changed. ID grows within a kind where it is a number of the store.
type Event struct {
	What string // one of those above
	ID   int64
}

// ErrFull is returned for one reader too many.
var ErrFull = errors.New("too many pages are open that renew themselves; this one can be reloaded")

// A Hub passes events on within one server. The zero Hub is ready.
type Hub struct {
	mu      sync.Mutex
	readers map[*Reader]struct{}
	of      map[int64]int // by person
	slow    int64
}

// A Reader has the events since it began.
type Reader struct {
	C      <-chan Event // closed when the reader was too slow, or is closed
	c      chan Event
	hub    *Hub
	person int64
}

// Tell passes an event on. It never waits: a reader whose queue is full is let go.
func (h *Hub) Tell(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers {
		select {
		case r.c <- e:
		default:
			h.slow++
			h.leave(r)
		}
	}
}

// Join begins to read, for a person. [ErrFull].
func (h *Hub) Join(person int64) (*Reader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= MaxReaders || h.of[person] >= MaxOfOne {
		return nil, ErrFull
	}
	if h.readers == nil {
		h.readers, h.of = map[*Reader]struct{}{}, map[int64]int{}
	}
	c := make(chan Event, queue)
	r := &Reader{C: c, c: c, hub: h, person: person}
	h.readers[r] = struct{}{}
	h.of[person]++
	return r, nil
}

// Close ends reading. It may be called more than once.
func (r *Reader) Close() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.hub.leave(r)
}

// leave lets a reader go. The caller holds the lock.
func (h *Hub) leave(r *Reader) {
	if _, ok := h.readers[r]; !ok {
		return
	}
	delete(h.readers, r)
	if h.of[r.person]--; h.of[r.person] == 0 {
		delete(h.of, r.person)
	}
	close(r.c)
}

// Readers is how many there are, and how many were too slow so far.
func (h *Hub) Readers() (now int, slow int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.readers), h.slow
}

// Serve writes the events as a stream until the reader leaves, is too slow, or has
// read for so long that it has to be identified again. Before it says anything it asks
// still whether who reads is signed in yet, at most once a second; then the stream ends
// with the event "out".
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, person int64, still func() (bool, error)) error {
	reader, err := h.Join(person)
	if err != nil {
		return err
	}
	defer reader.Close()
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Time{}); err != nil { // the server's own ends a request
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	say := func(format string, args ...any) error {
		if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return c.Flush()
	}
	// What fails from here on is that nobody reads any more, which is no error of ours.
	if say("retry: %d\nevent: here\ndata: {}\n\n", retryInMillis) != nil {
		return nil
	}
	asked := time.Now() // who began to read was identified for it
	beat, end := time.NewTicker(beatEvery), time.NewTimer(streamLife)
	defer beat.Stop()
	defer end.Stop()
	for {
		text := ": here\n\n"
		select {
		case e, ok := <-reader.C:
			if !ok {
				return nil
			}
			text = fmt.Sprintf("event: %s\nid: %d\ndata: {\"id\":%d}\n\n", e.What, e.ID, e.ID)
		case <-beat.C:
		case <-end.C:
			return nil
		case <-r.Context().Done():
			return nil
		}
		if now := time.Now(); now.Sub(asked) >= askEvery {
			asked = now
			if in, err := still(); err != nil || !in {
				if err == nil {
					say("event: out\ndata: {}\n\n")
				}
				return nil
			}
		}
		if say("%s", text) != nil {
			return nil
		}
	}
}
