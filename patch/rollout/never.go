// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
)

// A Never is the list of releases that are not offered, by any roll-out: those that
// halted, until a person let theirs go on; some for good. It is a fold over the events
// of all roll-outs; its zero value is empty. Roll-outs share one; it is not for several
// goroutines.
type Never struct {
	started map[string]event.Event // by roll-out
	list    []Halted
}

// A Halted is a release that is not offered.
type Halted struct {
	Rollout  string       `json:"rollout"`
	Product  string       `json:"product"`
	Version  string       `json:"version"`
	Sequence uint64       `json:"sequence"`
	Release  patch.Digest `json:"release"`
	Device   string       `json:"device,omitempty"` // that gave cause
	By       string       `json:"by,omitempty"`     // person; "": by itself
	Why      string       `json:"why"`
	Final    bool         `json:"final"` // for good
	At       int64        `json:"at"`    // nanoseconds since 1970
}

// Apply takes an event in, of whatever kind.
func (n *Never) Apply(e *event.Event) {
	id := e.Text(event.Rollout)
	switch e.Kind {
	case event.RolloutStarted:
		if n.started == nil {
			n.started = map[string]event.Event{}
		}
		if _, ok := n.started[id]; !ok {
			n.started[id] = *e
		}
	case event.RolloutHalted:
		s := n.started[id]
		h := Halted{
			Rollout: id, Product: s.Text(event.Manufacturer) + " " + s.Text(event.Model), Version: e.Text(event.Version),
			Sequence: uint64(e.Int(event.Sequence)), Device: e.Text(event.Target), By: e.Text(event.Actor),
			Why: e.Text(event.Reason), Final: e.Int(event.Final) != 0, At: e.Time,
		}
		if h.Release.UnmarshalText([]byte(e.Text(event.Release))) != nil {
			return
		}
		if !slices.Contains(n.list, h) { // it comes once from each roll-out that is told of it
			n.list = append(n.list, h)
		}
	case event.RolloutResumed:
		kept := n.list[:0]
		for _, h := range n.list {
			if h.Rollout != id || h.Final {
				kept = append(kept, h)
			}
		}
		n.list = kept
	}
}

// List is the releases that are not offered, oldest first. It belongs to n.
func (n *Never) List() []Halted {
	if n == nil {
		return nil
	}
	return n.list
}

// Refuses returns why a release is not offered, or nil: the same envelope, or the same
// version or sequence of the product, was halted.
func (n *Never) Refuses(r *patch.Release) *Halted {
	for i := range n.List() {
		h := &n.list[i]
		if h.Release == r.Envelope || h.Product == r.Product() && (h.Version == r.Version || h.Sequence == r.Sequence) {
			return h
		}
	}
	return nil
}
