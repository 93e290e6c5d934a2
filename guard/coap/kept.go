// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"net"
	"slices"
	"sync"

	protocol "github.com/myelin-health/myelin/proto/coap"
)

// Bounds of what is kept while the server cannot be reached.
const (
	maxKept      = 1024
	maxKeptBytes = 4 << 20

	maxUnlisted      = 64 // of others than the device: the newest goes, so that none is pushed out
	maxUnlistedBytes = 256 << 10
)

// A lane is what goes out one after the other.
type lane uint8

const (
	alarms lane = iota // wait for nothing else
	measurements
	unlisted // from other addresses: perhaps the device's, and proven by nothing
	readings // what the device asks for: side by side, and never kept
	lanes
)

// A report is what the device says to its server, on the way there.
type report struct {
	asked   *asked   // that it came as; nil: it was no request that could be read
	addr    net.Addr // of a report that is unlisted
	message protocol.Message
	lane    lane
	number  uint64 // in the order in which they came
	tries   int
}

func (r *report) bytes() int { return len(r.message.Options) + len(r.message.Payload) }

// kept are the reports that the server has not answered. Where there are too many the
// oldest measurement goes first, and an alarm when nothing else is left; the device
// is not told that any of these arrived.
type kept struct {
	mu      sync.Mutex // guards what follows
	waiting [readings][]*report
	size    int // of what the device said
	others  int // of what is unlisted
	next    uint64

	more [readings]chan struct{} // holds one: there may be something
}

func newKept() *kept {
	k := &kept{}
	for i := range k.more {
		k.more[i] = make(chan struct{}, 1)
	}
	return k
}

// put keeps a report, and returns those that had to go for it, or that there is no place
// for it. What is unlisted takes no place of the device's.
func (k *kept) put(r *report) (dropped []*report) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.lane == unlisted {
		if len(k.waiting[unlisted]) >= maxUnlisted || k.others+r.bytes() > maxUnlistedBytes {
			return []*report{r}
		}
		k.others += r.bytes()
		k.add(r)
		return nil
	}
	k.size += r.bytes()
	k.add(r)
	for k.size > maxKeptBytes || len(k.waiting[alarms])+len(k.waiting[measurements]) > maxKept {
		from := measurements
		if len(k.waiting[from]) == 0 {
			from = alarms
		}
		dropped = append(dropped, k.waiting[from][0])
		k.size -= k.waiting[from][0].bytes()
		k.waiting[from] = slices.Delete(k.waiting[from], 0, 1)
	}
	return dropped
}

// add puts a report behind the others of its lane. The caller holds the lock.
func (k *kept) add(r *report) {
	r.number = k.next
	k.next++
	k.waiting[r.lane] = append(k.waiting[r.lane], r)
	select {
	case k.more[r.lane] <- struct{}{}:
	default:
	}
}

// has reports whether the very same is waiting: it was sent again.
func (k *kept) has(r *report) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.waiting[r.lane], func(o *report) bool {
		return o.addr.String() == r.addr.String() && bytes.Equal(o.message.Payload, r.message.Payload)
	})
}

// first is the report of a lane that is due: of those that were tried least often the
// oldest, so that one which the server does not answer holds up no other. Nil: there is none.
func (k *kept) first(l lane) (due *report) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.waiting[l] {
		if due == nil || r.tries < due.tries {
			due = r
		}
	}
	if due != nil {
		due.tries++
	}
	return due
}

// done forgets a report that was answered.
func (k *kept) done(r *report) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.Index(k.waiting[r.lane], r); i >= 0 {
		k.waiting[r.lane] = slices.Delete(k.waiting[r.lane], i, i+1)
		if r.lane == unlisted {
			k.others -= r.bytes()
		} else {
			k.size -= r.bytes()
		}
	}
}

func (k *kept) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.waiting[alarms])+len(k.waiting[measurements]) == 0
}
