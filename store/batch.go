// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// A Batch is what a sensor or guard sends at once: all of it is written, or nothing.
type Batch struct {
	Sensor   string // its id
	Sequence uint64 // from 1
	Part     int    // of a batch that was taken apart, by device
	Sent     int64  // nanoseconds since 1970-01-01 UTC

	Observations []Observation // at most 1,000
	Devices      []device.Device
	Findings     []finding.Finding
	Events       []event.Event // verdicts of a guard, refusals, emergencies, doubts, changes of configuration
	Held         []Held        // all that wait at a guard now; valid iff HeldToo
	HeldToo      bool
	State        json.RawMessage `json:",omitempty"` // what holds at a guard now, at most [MaxStateBytes]; nil: it says nothing of that
	StateNews    bool            `json:",omitempty"` // more of it is new than what was given meanwhile
	Beat         *Beat
}

// An Observation is what a sensor saw two addresses say to each other, counted
// since it said so last.
type Observation struct {
	Client, Server device.Address
	Protocol       string // package name under proto/; "unknown"
	Port           uint16
	First, Last    int64 // nanoseconds since 1970-01-01 UTC
	Count          uint64
	Packets, Bytes uint64
	Encrypted      bool

	sealed uint64 // of a sum: the encrypted ones
}

// A Beat is how a sensor or guard is.
type Beat struct {
	Version  string
	Dropped  uint64 // packets that it could not look at, since it began
	Buffered uint64 // batches that wait on its disk
	Merged   uint64 // summaries that were put together because the disk was full
	Problem  string // in words, "" is none
}

// Written says what a batch changed, for those who look at it live.
type Written struct {
	Fresh    bool     // false: it was written before, and nothing was done now
	Findings []string // ids of those that are new, or whose decision or state changed
	Verdicts []Verdict
	Devices  []string // ids of those that are new
	Held     bool     // what waits or holds at a guard changed
}

// Write writes a batch and its number in one transaction. A batch whose number
// was written before changes nothing. Numbers of a part only grow. The texts in b
// are cleaned as [Text] does.
//
// Observations are rolled up by device, peer, protocol and hour, with one upsert
// each. An identity that is not known becomes a device by the rules of package
// inventory; see identity.go.
func (s *Store) Write(ctx context.Context, b *Batch) (*Written, error) {
	if len(b.Observations) > maxObservations {
		return nil, fmt.Errorf("%d observations in a batch; at most %d", len(b.Observations), maxObservations)
	}
	if b.Sequence > math.MaxInt64 {
		return nil, fmt.Errorf("batch %d: no batch has that number", b.Sequence)
	}
	b.tidy()
	w := &Written{}
	at := s.now().UnixNano()
	c := &changes{}
	err := s.tx(ctx, func(tx *transaction) error {
		*w, *c = Written{Fresh: true}, changes{}
		var site string
		if err := tx.QueryRowContext(ctx, "SELECT site FROM sensor WHERE id = $1 AND revoked = 0", b.Sensor).Scan(&site); err != nil {
			return fmt.Errorf("sensor %q: %w", b.Sensor, notFound(err))
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO written AS w (sensor, part, sequence) VALUES ($1,$2,$3)
			ON CONFLICT (sensor, part) DO UPDATE SET sequence = excluded.sequence WHERE excluded.sequence > w.sequence`, b.Sensor, b.Part, int64(b.Sequence))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			*w = Written{}
			return err
		}
		if len(b.Devices) > 0 {
			if err := s.inventory(ctx, tx); err != nil {
				return err
			}
		}
		for i := range b.Devices {
			if _, err := s.said(ctx, tx, site, &b.Devices[i], at, c); err != nil {
				return err
			}
		}
		if err := s.talked(ctx, tx, site, b.Observations, at, c); err != nil {
			return err
		}
		if err := s.deriveDevices(ctx, tx, c); err != nil { // findings are called as their devices
			return err
		}
		for i := range b.Findings {
			if err := s.found(ctx, tx, b.Sensor, site, &b.Findings[i], at, c); err != nil {
				return err
			}
		}
		if w.Verdicts, err = s.decided(ctx, tx, b.Sensor, b.Events); err != nil {
			return err
		}
		if b.HeldToo {
			if w.Held, err = s.waits(ctx, tx, b.Sensor, b.Held); err != nil {
				return err
			}
		}
		if b.State != nil {
			if err := s.holds(ctx, tx, b.Sensor, b.State, at); err != nil {
				return err
			}
			w.Held = w.Held || b.StateNews
		}
		if err := s.beat(ctx, tx, b, at); err != nil {
			return err
		}
		if err := s.derive(ctx, tx, c); err != nil {
			return err
		}
		w.Findings, w.Devices = c.findings, c.fresh
		return nil
	})
	s.settle(c, err == nil)
	if err != nil {
		return nil, err
	}
	return w, nil
}

const (
	maxObservations = 1000
	maxCount        = 1 << 40 // of what is said at once; eight million of them fit into a sum
)

// settle keeps what a transaction learned, or forgets it.
func (s *Store) settle(c *changes, done bool) {
	if !s.d.Alone {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range c.moved {
		s.known.Forget(n)
	}
	if done {
		for n, id := range c.learned {
			s.known.Put(n, id)
		}
		for p, id := range c.pairs {
			s.pairs.Put(p, id)
		}
	}
}

// A pair of identities talks a protocol.
type pair struct {
	client, server int64
	protocol       string
	port           uint16
}

// An hour of a pair.
type hour struct{ hour, pair int64 }

// talked rolls observations up, and adds them to what is there with one upsert a row.
// What was seen in the time to come was seen now: a sensor's clock is wrong. What is
// said to a group of addresses has no peer, and is left out.
func (s *Store) talked(ctx context.Context, tx *transaction, site string, list []Observation, at int64, c *changes) error {
	list = slices.DeleteFunc(slices.Clone(list), func(o Observation) bool { return !o.Client.Single() || !o.Server.Single() })
	if len(list) == 0 {
		return nil
	}
	ids, err := s.identities(ctx, tx, site, list, at, c)
	if err != nil {
		return err
	}
	of := make([]pair, len(list))
	for i := range list {
		o := &list[i]
		of[i] = pair{ids[2*i], ids[2*i+1], o.Protocol, o.Port}
	}
	pairs, err := s.pairsOf(ctx, tx, of, c)
	if err != nil {
		return err
	}
	sums := make(map[hour]*Observation, len(list))
	keys := make([]hour, 0, len(list))
	for i := range list {
		o := &list[i]
		last := min(o.Last, at)
		k := hour{last / int64(time.Hour), pairs[i]}
		sum, ok := sums[k]
		if !ok {
			sum = &Observation{First: min(o.First, last)}
			sums[k] = sum
			keys = append(keys, k)
		}
		sum.First, sum.Last = min(sum.First, o.First), max(sum.Last, last)
		sum.Packets += min(o.Packets, maxCount)
		sum.Bytes += min(o.Bytes, maxCount)
		if o.Encrypted {
			sum.sealed += min(o.Count, maxCount)
		} else {
			sum.Count += min(o.Count, maxCount) // in clear
		}
	}
	slices.SortFunc(keys, func(a, b hour) int { // in the order of the table: neighbours are on one page
		return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.pair, b.pair))
	})
	rows := make([][]any, len(keys))
	for i, k := range keys {
		o := sums[k]
		rows[i] = []any{k.hour, k.pair, int64(o.Packets), int64(o.Bytes), int64(o.Count), int64(o.sealed), o.First, o.Last}
	}
	return tx.insert(ctx, "talk AS t (hour, pair, packets, bytes, clear, sealed, first, last)", ` ON CONFLICT (hour, pair) DO UPDATE SET packets = t.packets + excluded.packets, bytes = t.bytes + excluded.bytes,
		clear = t.clear + excluded.clear, sealed = t.sealed + excluded.sealed,
		first = CASE WHEN excluded.first < t.first THEN excluded.first ELSE t.first END, last = CASE WHEN excluded.last > t.last THEN excluded.last ELSE t.last END`, 8, rows)
}

// pairsOf are the numbers of pairs, in their order. One that is new gets a number.
func (s *Store) pairsOf(ctx context.Context, tx *transaction, list []pair, c *changes) ([]int64, error) {
	out := make([]int64, len(list))
	strange := map[pair]int64{}
	s.mu.Lock()
	for i, p := range list {
		id, ok := s.pairs.Get(p)
		if !ok {
			strange[p] = 0
		}
		out[i] = id
	}
	s.mu.Unlock()
	if len(strange) == 0 {
		return out, nil
	}
	names := slices.SortedFunc(maps.Keys(strange), func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.server, b.server), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
	})
	rows := make([][]any, len(names))
	for i, p := range names {
		rows[i] = []any{p.client, p.server, p.protocol, int64(p.port)}
	}
	if err := tx.insert(ctx, "pair (client, server, protocol, port)", " ON CONFLICT (client, server, protocol, port) DO NOTHING", 4, rows); err != nil {
		return nil, err
	}
	const look = "SELECT id FROM pair WHERE client = $1 AND server = $2 AND protocol = $3 AND port = $4"
	if c.pairs == nil {
		c.pairs = map[pair]int64{}
	}
	if s.d.Alone {
		for i, p := range names {
			var id int64
			if err := tx.QueryRowContext(ctx, look, rows[i]...).Scan(&id); err != nil {
				return nil, err
			}
			strange[p], c.pairs[p] = id, id
		}
	} else if err := s.manyPairs(ctx, tx, rows, strange); err != nil {
		return nil, err
	}
	for i, p := range list {
		if out[i] == 0 {
			out[i] = strange[p]
		}
	}
	return out, nil
}

// manyPairs looks pairs up with one statement.
func (s *Store) manyPairs(ctx context.Context, tx *transaction, rows [][]any, out map[pair]int64) error {
	var values strings.Builder
	for i := range rows {
		if i > 0 {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, "(CAST($%d AS BIGINT),CAST($%d AS BIGINT),$%d,CAST($%d AS BIGINT))", 4*i+1, 4*i+2, 4*i+3, 4*i+4)
	}
	found, err := tx.QueryContext(ctx, "SELECT id, client, server, protocol, port FROM pair WHERE (client, server, protocol, port) IN (VALUES "+values.String()+")", slices.Concat(rows...)...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var p pair
		var id int64
		if err := found.Scan(&id, &p.client, &p.server, &p.protocol, &p.port); err != nil {
			return err
		}
		out[p] = id
	}
	return found.Err()
}

func nameOf(site string, a device.Address) name {
	if a.Kind == device.EUI64 || a.Kind == device.MAC && !localMAC(a.Value) {
		site = ""
	}
	return name{site, a.Kind.String(), a.Value}
}

// identities are those of all addresses of observations: client and server of the
// first, of the second, and so on. One that nobody knows becomes a device of its own.
func (s *Store) identities(ctx context.Context, tx *transaction, site string, list []Observation, at int64, c *changes) ([]int64, error) {
	ids := make([]int64, 2*len(list))
	address := map[name]device.Address{}
	s.mu.Lock()
	for i := range ids {
		a := addressOf(list, i)
		n := nameOf(site, a)
		id, ok := s.known.Get(n)
		if !ok || slices.Contains(c.moved, n) {
			address[n], id = a, 0
		}
		ids[i] = id
	}
	s.mu.Unlock()
	if len(address) == 0 {
		return ids, nil
	}
	names := slices.SortedFunc(maps.Keys(address), name.compare)
	held, err := s.holders(ctx, tx, names)
	if err != nil {
		return nil, err
	}
	var strange []name
	for _, n := range names {
		if _, ok := held[n]; !ok {
			strange = append(strange, n)
		}
	}
	if len(strange) > 0 {
		if err := s.inventory(ctx, tx); err != nil {
			return nil, err
		}
		for _, n := range strange {
			d := device.Device{ID: device.IDOf(n.kind, n.value), Addresses: []device.Address{address[n]}}
			if _, err := s.said(ctx, tx, site, &d, at, c); err != nil {
				return nil, err
			}
		}
		if held, err = s.holders(ctx, tx, names); err != nil {
			return nil, err
		}
	}
	if c.learned == nil {
		c.learned = map[name]int64{}
	}
	for _, n := range names {
		c.learned[n] = held[n].id
	}
	for i := range ids {
		if ids[i] == 0 {
			ids[i] = held[nameOf(site, addressOf(list, i))].id
		}
	}
	return ids, nil
}

func addressOf(list []Observation, i int) device.Address {
	if i%2 == 0 {
		return list[i/2].Client
	}
	return list[i/2].Server
}

// beat notes how a sensor is.
func (s *Store) beat(ctx context.Context, tx *transaction, b *Batch, at int64) error {
	if b.Beat == nil {
		_, err := tx.ExecContext(ctx, "UPDATE sensor SET seen = $1 WHERE id = $2 AND seen < $3", at, b.Sensor, at-int64(time.Second))
		return err
	}
	doc, err := json.Marshal(b.Beat)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE sensor SET seen = $1, beat = $2 WHERE id = $3", at, doc, b.Sensor)
	return err
}
