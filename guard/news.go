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

// why is the reason that was told first of the emergency that is open, and when: who comes
// again within its window has opened nothing.
func (n *news) why(device, actor string) (reason string, at time.Time) {
	token, found := int64(0), false
	for _, e := range n.newest(&n.emergencies) {
		if e.Device.Value != device || e.Text(event.Actor) != actor || event.Result(e.Int(event.Outcome)) != event.Succeeded {
			continue
		}
		if !found {
			token, found = e.Int(event.Digest), true
		}
		if e.Int(event.Digest) == token {
			reason, at = e.Text(event.Reason), time.Unix(0, e.Time)
		}
	}
	return reason, at
}
