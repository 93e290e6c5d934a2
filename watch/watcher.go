// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"crypto/rand"
	"maps"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/wire"
)

// A Config says how to watch. The zero value works.
type Config struct {
	Jobs      int                            // workers; below 2 everything runs in the caller's goroutine
	Key       []byte                         // of patients' pseudonyms; nil: a random one, and nobody sees the pseudonyms
	Baseline  *Baseline                      // what is expected here; nil: nothing is known to be
	Register  func([]device.Device)          // gives devices that were seen the therapy that the hospital's own list says, before findings are made of them; nil: there is no list
	Catalogue *device.Catalogue              // what products and their FDA codes mean; nil: what Myelin knows
	Dialects  func() *radio.Set              // of proprietary radios, asked for once, when there is a frame of one; nil: none is known
	Makes     func(maker, model string) bool // whether a dialect may be of a product, so that Dialects is to be asked; nil: it may
	Handles   *gatt.Cache                    // what a run over the same frames learned of attributes on the radio ([Watcher.Handles]); nil: nothing
	Record    func(*event.Event) error       // is told every event, in order; nil: nobody is
	Progress  func(packets, bytes uint64)    // is told how far reading has come; nil: nobody is
}

// A Watcher watches frames. Run, Flush and Result are called from one goroutine.
type Watcher struct {
	jobs      int
	shards    [flow.Shards]*shard
	stage     *stage
	fragments *flow.Defragmenter
	progress  func(packets, bytes uint64)
	stats     Stats
}

// Stats counts what was watched and everything that was not.
type Stats struct {
	Packets uint64
	Bytes   uint64 // on the wire
	NotIP   uint64 // frames of other network layers, or of a radio that no dialect knows
	Faults  map[Fault]uint64
	Flow    flow.Stats
	Frag    flow.DefragmenterStats
	Air     ble.Stats
	Dropped uint64 // entries that a bounded table of the ordered stage had no room for
	Unsaid  uint64 // events that were more than a shard may emit
	Crowded uint64 // addresses on the radio of which so little was heard that many are told as one
}

// A Fault is a header that did not follow its format.
type Fault struct{ Proto, Field string }

// New returns a watcher.
func New(c Config) *Watcher {
	key := c.Key
	if key == nil {
		key = make([]byte, 32)
		rand.Read(key)
	}
	w := &Watcher{
		jobs:      max(c.Jobs, 1),
		stage:     newStage(c),
		fragments: flow.NewDefragmenter(),
		progress:  c.Progress,
		stats:     Stats{Faults: make(map[Fault]uint64)},
	}
	for i := range w.shards {
		w.shards[i] = newShard(key)
		w.shards[i].verbose, w.shards[i].keyed = c.Record != nil, c.Key != nil
	}
	if w.shards[airShard].dialects = c.Dialects; c.Dialects == nil {
		w.shards[airShard].dialects = func() *radio.Set { return new(radio.Set) }
	}
	w.shards[airShard].makes, w.shards[airShard].handles = c.Makes, c.Handles
	return w
}

// Handles returns what was learned of the attributes of devices on the radio, if
// a second run over the same frames that has it in its [Config] would say more:
// what a handle is for may be discovered after it was used. Else it is nil. It is
// called after Flush.
func (w *Watcher) Handles() *gatt.Cache {
	if a := w.shards[airShard].air; a != nil && a.cache.Foresees() {
		return a.cache
	}
	return nil
}

func (w *Watcher) fault(p *wire.Packet) {
	w.stats.Faults[Fault{p.Fault.Proto, p.Fault.Field}]++
}

// A Result is what is known after watching.
type Result struct {
	Devices  []device.Device
	Joins    []inventory.Join
	Findings []finding.Finding // without decision and SSVC answers: assess gives these
	Sessions []Session
	Stats    Stats
}

// A Session is all conversations of one protocol between two addresses.
type Session struct {
	Protocol       string // package name under proto/; "" when it was not recognised
	Client, Server device.Address
	Port           uint16
	Count          uint64
	Bytes          uint64
	Encrypted      bool
	Inferred       bool             // from the registered port alone
	First          finding.Sighting // where the first of them begins; without a note
	readable       bool             // both sides agreed not to encrypt
}

// Result derives devices, findings and sessions from what was watched so far.
// It may be called again while watching goes on.
func (w *Watcher) Result() Result {
	r := w.stage.result()
	w.open(&r)
	r.Stats = w.stats
	for _, s := range w.shards {
		r.Stats.Flow.Add(s.table.Stats)
		r.Stats.Unsaid += s.lost
	}
	r.Stats.Frag = w.fragments.Stats
	if a := w.shards[airShard].air; a != nil {
		r.Stats.Faults = maps.Clone(w.stats.Faults)
		for f, n := range a.faults {
			r.Stats.Faults[f] += n
		}
		r.Stats.Air = a.follower.Stats()
		r.Stats.NotIP += a.unread
		r.Stats.Crowded = a.crowded
		r.Stats.Dropped = a.dropped + uint64(a.cache.Evicted())
		if a.unread > 0 {
			r.Stats.Faults[Fault{"link", "dialect"}] += a.unread
		}
	}
	r.Stats.Dropped += w.stage.dropped + w.stage.register.Dropped
	return r
}

// open counts conversations that have not ended among the sessions: a link for orders
// stays open for days. What is not recognised so far is counted when it ends.
func (w *Watcher) open(r *Result) {
	type key struct {
		client, server device.Address
		port           uint16
		protocol       string
	}
	at := map[key]int{}
	for i := range r.Sessions {
		x := &r.Sessions[i]
		at[key{x.Client, x.Server, x.Port, x.Protocol}] = i
	}
	for _, s := range w.shards {
		for c := range s.table.Open() {
			x, _ := c.User.(*exchange)
			if x == nil {
				continue
			}
			for _, id := range x.protocols {
				if id == proto.None {
					break
				}
				k := key{device.Address{Kind: device.IP, Value: c.Client.Addr.String()}, device.Address{Kind: device.IP, Value: c.Server.Addr.String()}, c.Server.Port, id.String()}
				first := (&ended{begin: c.Begin}).first().sighting()
				i, ok := at[k]
				if !ok {
					i, at[k] = len(r.Sessions), len(r.Sessions)
					r.Sessions = append(r.Sessions, Session{Protocol: k.protocol, Client: k.client, Server: k.server, Port: k.port, Encrypted: encrypted[id], First: first})
				}
				n := &r.Sessions[i]
				n.Count++
				n.Bytes += c.Bytes[flow.Client] + c.Bytes[flow.Server]
				if first.Less(n.First) {
					n.First = first
				}
			}
		}
	}
}
