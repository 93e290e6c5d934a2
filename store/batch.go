// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
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
	Held     bool     // what waits changed
}

// Write writes a batch and its number in one transaction. A batch whose number
// was written before changes nothing. Numbers of a part only grow.
//
// Observations are rolled up by device, peer, protocol and hour, with one upsert
// each. An identity that is not known becomes a device by the rules of package
// inventory; see devices.go.
func (s *Store) Write(ctx context.Context, b *Batch) (*Written, error) {
	if len(b.Observations) > maxObservations {
		return nil, fmt.Errorf("%d observations in a batch; at most %d", len(b.Observations), maxObservations)
	}
	w := &Written{}
	at := s.now().UnixNano()
	c := &changes{}
	err := s.tx(ctx, func(tx *sql.Tx) error {
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
		for i := range b.Devices {
			if _, err := s.said(ctx, tx, site, &b.Devices[i], at, c); err != nil {
				return err
			}
		}
		if err := s.talked(ctx, tx, site, b.Observations, at, c); err != nil {
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
	maxKnown        = 1 << 17 // names whose identities are remembered, some 20 MB
)

// settle keeps what a transaction learned of names, or forgets it.
func (s *Store) settle(c *changes, done bool) {
	if !s.d.Alone {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) > maxKnown {
		s.known = map[name]int64{}
	}
	for _, n := range c.moved {
		delete(s.known, n)
	}
	if done {
		maps.Copy(s.known, c.learned)
	}
}

// A hour of talk between two identities.
type hour struct {
	client, server int64
	protocol       string
	port           uint16
	hour           int64
}

// talked rolls observations up, and adds them to what is there with one upsert a row.
func (s *Store) talked(ctx context.Context, tx *sql.Tx, site string, list []Observation, at int64, c *changes) error {
	if len(list) == 0 {
		return nil
	}
	ids, err := s.identities(ctx, tx, site, list, at, c)
	if err != nil {
		return err
	}
	sums := make(map[hour]*Observation, len(list))
	keys := make([]hour, 0, len(list))
	for i := range list {
		o := &list[i]
		k := hour{ids[nameOf(site, o.Client)], ids[nameOf(site, o.Server)], o.Protocol, o.Port, o.Last - o.Last%int64(time.Hour)}
		sum, ok := sums[k]
		if !ok {
			sum = &Observation{First: o.First}
			sums[k] = sum
			keys = append(keys, k)
		}
		sum.First, sum.Last = min(sum.First, o.First), max(sum.Last, o.Last)
		sum.Packets += o.Packets
		sum.Bytes += o.Bytes
		if o.Encrypted {
			sum.sealed += o.Count
		} else {
			sum.Count += o.Count // in clear
		}
	}
	slices.SortFunc(keys, func(a, b hour) int { // in the order of the table: neighbours are on one page
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.hour, b.hour), cmp.Compare(a.server, b.server), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
	})
	const columns = 12
	for part := range slices.Chunk(keys, 64) {
		args := make([]any, 0, columns*len(part))
		for _, k := range part {
			o := sums[k]
			args = append(args, k.client, k.server, k.protocol, int64(k.port), k.hour, int64(o.Count+o.sealed), int64(o.Packets), int64(o.Bytes), int64(o.Count), int64(o.sealed), o.First, o.Last)
		}
		if _, err := tx.ExecContext(ctx, upsertTalk(len(part)), args...); err != nil {
			return err
		}
	}
	return nil
}

// upsertTalk is the statement for so many rows.
func upsertTalk(rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO talk AS t (client, server, protocol, port, hour, n, packets, bytes, clear, sealed, first, last) VALUES ")
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("(" + params(12*i+1, 12) + ")")
	}
	b.WriteString(` ON CONFLICT (client, hour, server, protocol, port) DO UPDATE SET n = t.n + excluded.n, packets = t.packets + excluded.packets, bytes = t.bytes + excluded.bytes,
		clear = t.clear + excluded.clear, sealed = t.sealed + excluded.sealed,
		first = CASE WHEN excluded.first < t.first THEN excluded.first ELSE t.first END, last = CASE WHEN excluded.last > t.last THEN excluded.last ELSE t.last END`)
	return b.String()
}

func nameOf(site string, a device.Address) name {
	if a.Kind == device.EUI64 || a.Kind == device.MAC && !localMAC(a.Value) {
		site = ""
	}
	return name{site, a.Kind.String(), a.Value}
}

// identities are those of all addresses of observations. One that nobody knows
// becomes a device of its own.
func (s *Store) identities(ctx context.Context, tx *sql.Tx, site string, list []Observation, at int64, c *changes) (map[name]int64, error) {
	ids := make(map[name]int64, len(list))
	address := map[name]device.Address{}
	s.mu.Lock()
	for i := range list {
		for _, a := range [...]device.Address{list[i].Client, list[i].Server} {
			n := nameOf(site, a)
			if _, ok := ids[n]; ok {
				continue
			}
			id, ok := s.known[n]
			if ok = ok && !slices.Contains(c.moved, n); !ok {
				address[n] = a
			}
			ids[n] = id
		}
	}
	s.mu.Unlock()
	if len(address) == 0 {
		return ids, nil
	}
	names := make([]name, 0, len(address))
	for n := range address {
		names = append(names, n)
	}
	held, err := s.holders(ctx, tx, names)
	if err != nil {
		return nil, err
	}
	var strange []name
	for _, n := range names {
		if _, ok := held[n]; !ok {
			strange = append(strange, n)
			d := device.Device{ID: device.IDOf(n.kind, n.value), Addresses: []device.Address{address[n]}}
			if _, err := s.said(ctx, tx, site, &d, at, c); err != nil {
				return nil, err
			}
		}
	}
	more, err := s.holders(ctx, tx, strange)
	if err != nil {
		return nil, err
	}
	maps.Copy(held, more)
	if c.learned == nil {
		c.learned = map[name]int64{}
	}
	for _, n := range names {
		ids[n] = held[n].id
		c.learned[n] = held[n].id
	}
	return ids, nil
}

// beat notes how a sensor is.
func (s *Store) beat(ctx context.Context, tx *sql.Tx, b *Batch, at int64) error {
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
