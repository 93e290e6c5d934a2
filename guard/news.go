// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/event"
)

const maxNews = 200 // of each kind

// news are the last events of the kinds that the page shows, beside verdicts.
type news struct {
	mu                             sync.Mutex
	refusals, emergencies, changes []event.Event
}

// hear keeps what the page shows.
func (n *news) hear(e *event.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list *[]event.Event
	switch e.Kind {
	case event.AccessRefused:
		list = &n.refusals
	case event.EmergencyUsed:
		list = &n.emergencies
	case event.ConfigurationChanged:
		list = &n.changes
	default:
		return
	}
	if len(*list) == maxNews {
		*list = slices.Delete(*list, 0, 1)
	}
	*list = append(*list, *e)
}

// newest returns a copy of a list, the newest first.
func (n *news) newest(list *[]event.Event) []event.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := slices.Clone(*list)
	slices.Reverse(out)
	return out
}

// open are the emergencies that are open now: opened, and neither closed nor over.
func (n *news) open(now time.Time) (out []event.Event) {
	closed := map[string]bool{}
	for _, e := range n.newest(&n.emergencies) {
		key := e.Device.Value + "\x00" + e.Text(event.Actor) + "\x00" + e.Text(event.Target)
		if closed[key] {
			continue
		}
		closed[key] = true // only the newest of a session says how it is
		if event.Result(e.Int(event.Outcome)) == event.Succeeded && (e.Int(event.NotAfter) == 0 || now.Unix() < e.Int(event.NotAfter)) {
			out = append(out, e)
		}
	}
	return out
}
