// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/myelin-health/myelin/store"
)

// How what devices say is written: together, after so long, or as soon as one waits for it.
const (
	keepEvery = 50 * time.Millisecond
	maxKept   = 1 << 15 // that wait to be written; then nobody is heard any more
	together  = 64      // entries of the ledger that are on their way at once
)

// errBusy says that the store does not keep up.
var errBusy = errors.New("the store does not keep up")

// A keeper writes what devices say, in the order in which it is given it, in
// transactions of many. What was decided is in the ledger before it is in the store.
type keeper struct {
	s       *Service
	urgent  chan struct{} // somebody waits
	stop    chan struct{}
	stopped chan struct{}

	mu   sync.Mutex
	next *batch
	err  error // why the last batch was not written; nil: it was
}

// A batch is written at once.
type batch struct {
	members []store.UpdateMember
	steps   [][]store.RolloutEvent // each list is recorded in its order
	waited  bool
	done    chan struct{}
	err     error // valid when done
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

func (k *keeper) init(s *Service) {
	k.s, k.next = s, newBatch()
	k.urgent, k.stop, k.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go k.run()
}

func (k *keeper) close() error {
	close(k.stop)
	<-k.stopped
	return k.err
}

// add takes what a device said, and what was decided of it. The batch is nil when
// nobody has to wait; otherwise it is to be waited for.
func (k *keeper) add(m *store.UpdateMember, steps []store.RolloutEvent, wait bool) (*batch, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.next
	if len(b.members)+len(b.steps) >= maxKept {
		return nil, errBusy
	}
	if m != nil {
		b.members = append(b.members, *m)
	}
	if len(steps) > 0 {
		b.steps = append(b.steps, steps)
	}
	if !wait {
		return nil, nil
	}
	b.waited = true
	select {
	case k.urgent <- struct{}{}:
	default:
	}
	return b, nil
}

// flush returns when all is durable that was given until now.
func (k *keeper) flush(ctx context.Context) error {
	b, err := k.add(nil, nil, true)
	if err != nil {
		return err
	}
	return b.wait(ctx)
}

// wait returns when a batch is durable, or is not going to be.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drop ends the batch that is being gathered: it is not written.
func (k *keeper) drop() {
	k.mu.Lock()
	b := k.next
	k.next = newBatch()
	k.mu.Unlock()
	b.err = errBusy
	close(b.done)
}

func (k *keeper) run() {
	defer close(k.stopped)
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-tick.C:
		case <-k.urgent:
		case <-k.stop:
			ended = true
		}
		k.mu.Lock()
		b := k.next
		if len(b.members)+len(b.steps) > 0 || b.waited {
			k.next = newBatch()
		} else {
			b = nil
		}
		k.mu.Unlock()
		if b != nil {
			b.err = k.write(b)
			if k.err = b.err; b.err != nil {
				if len(b.steps) > 0 {
					k.s.undone()
				}
				k.s.cfg.Log.Error("what devices say of updates is not kept", "err", b.err)
			}
			close(b.done)
		}
		if ended {
			return
		}
	}
}

// write writes a batch: what was decided into the ledger, then all into the store.
func (k *keeper) write(b *batch) error {
	var all sync.WaitGroup
	turn := make(chan struct{}, together)
	errs := make([]error, len(b.steps))
	var steps []store.RolloutEvent
	for i, list := range b.steps {
		steps = append(steps, list...)
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			for j := range list {
				if errs[i] = k.s.cfg.Record(&list[j].Event); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := k.s.cfg.Store.KeepUpdates(context.Background(), b.members, steps)
	if err == nil && len(steps) > 0 {
		k.s.cfg.Tell()
	}
	return err
}
