// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"net/http"
	"sync"
	"time"

	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store"
)

const (
	pollTime     = 25 * time.Second // that a guard waits for a decision
	deskTime     = 10 * time.Second // that the desk is open after it has waited
	decisionTime = 8 * time.Second  // after which who decided is told that nobody knows
	decisionsMax = 16               // that wait for a guard
)

// A desk is where decisions wait for a guard that asks for them here.
type desk struct {
	mu    sync.Mutex
	stop  func() // of listening on the bus; nil: closed
	shut  *time.Timer
	queue chan *waiting
	open  map[string]*waiting // that the guard has and has not answered, by key
}

type waiting struct {
	key      string
	decision bus.Decision
	came     time.Time
	answer   func(why string)
}

// A Task is a decision on its way to a guard.
type Task struct {
	Key      string       `json:"key"`
	Decision bus.Decision `json:"decision"`
}

// begin opens the desk, or keeps it open.
func (d *desk) begin(b *bus.Bus, guard string) (<-chan *waiting, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.shut.Reset(pollTime + deskTime)
		return d.queue, nil
	}
	queue := make(chan *waiting, decisionsMax)
	stop, err := b.Hear(guard, func(decision *bus.Decision, answer func(string)) {
		select {
		case queue <- &waiting{random(tokenBytes), *decision, time.Now(), answer}:
		default:
			answer("too many decisions wait for the guard")
		}
	})
	if err != nil {
		return nil, err
	}
	d.stop, d.queue, d.open = stop, queue, map[string]*waiting{}
	d.shut = time.AfterFunc(pollTime+deskTime, d.close)
	return queue, nil
}

// close closes the desk.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.shut.Stop()
		d.stop()
		d.stop = nil
	}
}

// hand notes what a guard was given. It is not given what nobody waits for any more:
// who decided was told that it may not have been done.
func (d *desk) hand(w *waiting) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, o := range d.open {
		if time.Since(o.came) > decisionTime {
			delete(d.open, key)
		}
	}
	if time.Since(w.came) > decisionTime || len(d.open) >= decisionsMax {
		return false
	}
	d.open[w.key] = w
	return true
}

// take returns what a guard was given, once.
func (d *desk) take(key string) *waiting {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.open[key]
	delete(d.open, key)
	return w
}

// decisions gives a guard what was decided, when there is something.
func (s *Server) decisions(w http.ResponseWriter, r *http.Request, n *store.Sensor, l *peer) error {
	if n.Kind != "guard" {
		return fail(http.StatusForbidden, "decisions are for guards")
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pollTime + deskTime)) // where that is supported
	queue, err := l.desk.begin(s.cfg.Bus, n.ID)
	if err != nil {
		return err
	}
	over := time.NewTimer(pollTime)
	defer over.Stop()
	tasks := []Task{}
	for len(tasks) == 0 {
		select {
		case d := <-queue:
			if l.desk.hand(d) {
				tasks = append(tasks, Task{d.key, d.decision})
			}
		case <-over.C:
			return writeJSON(w, map[string][]Task{"do": {}})
		case <-r.Context().Done():
			return nil
		}
	}
	return writeJSON(w, map[string][]Task{"do": tasks})
}

// decided takes what a guard says of a decision.
func (s *Server) decided(w http.ResponseWriter, r *http.Request, n *store.Sensor, l *peer) error {
	var in answer
	if err := s.readJSON(w, r, maxAnswer, &in); err != nil {
		return err
	}
	if d := l.desk.take(in.Key); d != nil {
		d.answer(in.Why)
	}
	return writeJSON(w, struct{}{})
}

type answer struct {
	Key string `json:"key"`
	Why string `json:"why"` // it was not done; "": it was
}
