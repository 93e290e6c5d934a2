// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/wire"
)

// A Frame is a captured frame and the input it comes from.
type Frame struct {
	capture.Frame
	Input   int32
	Dialect string // of a proprietary radio, as the capture names it; "" is not known
}

// A Source yields frames in the order in which they are to be watched: by
// time, then input, then packet.
type Source interface {
	// Next fills dst from its start and returns how many frames it put there.
	// Their bytes stay valid until release, which may be called from any
	// goroutine and is called once. No frame and no error means that there is
	// none at the moment. The end is io.EOF.
	Next(dst []Frame) (n int, release func(), err error)
}

// unitFrames is how many frames go through the house together. Where one unit
// ends has no influence on what comes out.
const unitFrames = 1024

// A unit is a number of frames on their way from the reading goroutine to the
// shards and, as events, to the ordered stage.
type unit struct {
	frames  [unitFrames]Frame
	items   [unitFrames]item
	shard   [unitFrames]uint8 // of each item; noShard for frames that have none
	n       int
	release func()
	said    []said // by worker
	left    sync.WaitGroup
}

// said is what a worker's shards said of a unit, in the order of packets, and
// how much of it has been handed to the ordered stage.
type said struct {
	events     []stamped
	ends       []ended
	event, end int
}

// An item is one decoded frame.
type item struct {
	packet    wire.Packet
	place     flow.Place
	differing bool // it is a fragment that overlaps another with other bytes
	air       bool // it was heard on the radio
}

const noShard = 255

// airShard is the shard of all that is heard on the radio.
const airShard = 0

// Run watches everything that src yields, until io.EOF or until ctx is done.
// It may be called again for a further source; conversations go on.
func (w *Watcher) Run(ctx context.Context, src Source) error {
	if w.jobs <= 1 {
		u := w.newUnit()
		for {
			err := w.fill(ctx, u, src)
			w.work(u, 0)
			if e := w.collect(u); err == nil {
				err = e
			}
			if err != nil {
				return end(err)
			}
		}
	}

	free := make(chan *unit, w.jobs+2)
	order := make(chan *unit, w.jobs+2)
	for range cap(free) {
		free <- w.newUnit()
	}
	work := make([]chan *unit, w.jobs)
	var workers sync.WaitGroup
	for i := range work {
		work[i] = make(chan *unit, cap(free))
		workers.Go(func() {
			for u := range work[i] {
				w.work(u, i)
				u.left.Done()
			}
		})
	}
	var failed error // of the collector; read after it has ended
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	workers.Go(func() {
		for u := range order {
			u.left.Wait()
			if err := w.collect(u); err != nil && failed == nil {
				failed = err
				cancel()
			}
			free <- u
		}
	})
	var err error
	for err == nil {
		u := <-free
		err = w.fill(stop, u, src)
		u.left.Add(w.jobs)
		for i := range work {
			work[i] <- u
		}
		order <- u
	}
	for i := range work {
		close(work[i])
	}
	close(order)
	workers.Wait()
	if failed != nil {
		return failed
	}
	return end(err)
}

func end(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (w *Watcher) newUnit() *unit {
	return &unit{said: make([]said, w.jobs)}
}

// fill reads frames, decodes their headers and chooses their shards. With an
// error the unit holds what came before it.
func (w *Watcher) fill(ctx context.Context, u *unit, src Source) error {
	u.n, u.release = 0, nil
	if err := ctx.Err(); err != nil {
		return err
	}
	n, release, err := src.Next(u.frames[:])
	u.n, u.release = n, release
	for i := range n {
		f, it := &u.frames[i], &u.items[i]
		it.place = flow.Place{Time: f.Time, Packet: f.Packet, Input: f.Input}
		it.differing, it.air = false, false
		w.stats.Packets++
		w.stats.Bytes += uint64(f.OrigLen)
		if ble.Reads(f.Link) || Proprietary(f.Link) {
			u.shard[i], it.air = airShard, true
			continue
		}
		p := &it.packet
		p.Decode(f.Link, f.Data)
		if p.Fault.Err != nil {
			w.fault(p)
		}
		if p.Fragmented {
			_, it.differing = w.fragments.Add(p, f.Time)
		}
		u.shard[i] = uint8(flow.ShardOf(flow.Hash(p)))
		if p.IPVersion == 0 {
			u.shard[i] = w.unroutable(p)
		}
	}
	if w.progress != nil {
		w.progress(w.stats.Packets, w.stats.Bytes)
	}
	return err
}

// Proprietary reports whether frames of a link type are read by a dialect.
func Proprietary(link capture.LinkType) bool {
	return link == capture.LinkFrameLog || capture.LinkUser0 <= link && link <= capture.LinkUser15
}

// unroutable chooses the shard of a frame without a network layer: ARP goes to
// the one that owns the sender's address, everything else to none.
func (w *Watcher) unroutable(p *wire.Packet) uint8 {
	if p.EtherType != wire.EtherTypeARP || len(p.Payload) < 28 {
		w.stats.NotIP++
		return noShard
	}
	return p.Payload[17] % flow.Shards
}

// work lets one worker's shards take their packets of the unit.
func (w *Watcher) work(u *unit, worker int) {
	said := &u.said[worker]
	for i, shard := range u.shard[:u.n] {
		if shard == noShard || int(shard)%w.jobs != worker {
			continue
		}
		s := w.shards[shard]
		s.seq, s.out, s.ends = uint32(i), &said.events, &said.ends
		if it := &u.items[i]; it.air {
			s.heard(&u.frames[i], it.place)
		} else {
			s.packet(it)
		}
	}
}

// collect hands what the shards said of the unit to the ordered stage, in the
// order of the packets at which they said it.
func (w *Watcher) collect(u *unit) error {
	err := w.merge(u.said)
	for i := range u.said {
		u.said[i].reset()
	}
	if u.release != nil {
		u.release()
		u.release = nil
	}
	return err
}

func (w *Watcher) merge(all []said) error {
	const end = math.MaxUint32
	for {
		var from *said
		seq := uint32(end)
		ending := false
		for i := range all {
			s := &all[i]
			if s.end < len(s.ends) && s.ends[s.end].seq < seq {
				from, seq, ending = s, s.ends[s.end].seq, true
			}
			if s.event < len(s.events) && s.events[s.event].seq < seq {
				from, seq, ending = s, s.events[s.event].seq, false
			}
		}
		var err error
		switch {
		case from == nil:
			return nil
		case ending:
			err = w.stage.ended(&from.ends[from.end])
			from.end++
		default:
			err = w.stage.on(&from.events[from.event].e)
			from.event++
		}
		if err != nil {
			return err
		}
	}
}

func (s *said) reset() {
	if cap(s.events) > 4*unitFrames { // a burst is over
		s.events = nil
	}
	clear(s.events)
	s.events, s.ends = s.events[:0], s.ends[:0]
	s.event, s.end = 0, 0
}

// Flush ends every conversation, as at the end of the last input, in the order
// in which they began as far as each shard knows it.
func (w *Watcher) Flush() error {
	type next struct {
		begin flow.Place
		ok    bool
	}
	var heads [flow.Shards]next
	for i, s := range w.shards {
		heads[i].begin, heads[i].ok = s.table.Oldest()
	}
	said := make([]said, 1)
	for {
		first := -1
		for i := range heads {
			if heads[i].ok && (first < 0 || heads[i].begin.Before(heads[first].begin)) {
				first = i
			}
		}
		if first < 0 {
			return w.flushAir()
		}
		s := w.shards[first]
		s.seq, s.out, s.ends, s.left = 0, &said[0].events, &said[0].ends, maxEvents
		s.table.FlushOldest()
		if err := w.merge(said); err != nil {
			return err
		}
		said[0].reset()
		heads[first].begin, heads[first].ok = s.table.Oldest()
	}
}

// flushAir ends what is followed on the radio.
func (w *Watcher) flushAir() error {
	s := w.shards[airShard]
	if s.air == nil {
		return nil
	}
	said := make([]said, 1)
	s.seq, s.out, s.ends, s.left = 0, &said[0].events, &said[0].ends, maxEvents
	s.air.follower.Flush()
	s.left = maxEvents
	s.air.transmitters.sorted(s.air.talked)
	return w.merge(said)
}
